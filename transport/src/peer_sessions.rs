//! What is remembered of each run of a peer: which datagrams were received, and messages on their
//! way in.
//!
//! A run is known by its boot id and by the key it speaks under, so that nobody with the client key
//! gets at what travels under the cluster key. The table is bounded; who was silent for longest is
//! forgotten first.

use crate::{
    fragment::{Reassembler, Reassembly, ReassemblyLimits},
    replay_window::ReplayWindow,
};
use model::wire::{BootId, Fragment, KeyId};
use std::collections::HashMap;
use tokio::time::Instant;

/// Runs that are remembered.
const RUNS: usize = 4096;

/// A run of a peer, under one of the keys.
pub(crate) type SessionId = (BootId, KeyId);

/// What is remembered of peers.
#[derive(Debug)]
pub(crate) struct PeerSessions {
    peers: HashMap<SessionId, Peer>,
    limits: ReassemblyLimits,
    /// Bytes of unfinished messages for all together, bulk not counted.
    capacity: usize,
    bytes: usize,
    /// Bytes of unfinished bulk messages for all together; as many as one may have are kept.
    bulk: usize,
}

#[derive(Debug)]
struct Peer {
    window: ReplayWindow,
    incoming: Reassembler,
    heard: Instant,
}

impl PeerSessions {
    pub(crate) fn new(limits: ReassemblyLimits, capacity: usize) -> Self {
        Self {
            peers: HashMap::new(),
            limits,
            capacity,
            bytes: 0,
            bulk: 0,
        }
    }

    /// Notes that this datagram arrived. False if it had before.
    ///
    /// Without a key anyone could have written the number of a datagram, and one that is too high
    /// would make all that follow look old. So such numbers are not noted: the protocol tolerates
    /// duplicates.
    pub(crate) fn admit(&mut self, run: SessionId, sequence: u64, now: Instant) -> bool {
        if self.peers.len() >= RUNS && !self.peers.contains_key(&run) {
            self.forget();
        }
        let peer = self.peers.entry(run).or_insert_with(|| Peer {
            window: ReplayWindow::default(),
            incoming: Reassembler::default(),
            heard: now,
        });
        let new = run.1 == KeyId::None || peer.window.take(sequence);
        if new {
            peer.heard = now;
        }
        new
    }

    /// Takes a fragment. Also says how many unfinished messages were dropped to make room.
    pub(crate) fn take(&mut self, run: SessionId, fragment: &Fragment<'_>) -> (Reassembly, usize) {
        let Some(peer) = self.peers.get_mut(&run) else {
            return (Reassembly::Duplicate, 0);
        };
        let mut limits = self.limits;
        if run.1 == KeyId::Client {
            // A client has nothing to say that long.
            limits.bulk = 0;
        }
        self.bytes -= peer.incoming.bytes();
        self.bulk -= peer.incoming.bulk();
        let (taken, mut dropped) = peer.incoming.take(fragment, limits);
        self.bytes += peer.incoming.bytes();
        self.bulk += peer.incoming.bulk();
        while self.bytes > self.capacity
            && let Some(silent) = self.longest_silent(|of| of.bytes() > 0)
        {
            let before = silent.bytes();
            dropped += silent.clear();
            self.bytes -= before;
        }
        while self.bulk > self.limits.bulk
            && let Some(silent) = self.longest_silent(|of| of.bulk() > 0)
        {
            let before = silent.bulk();
            dropped += silent.clear_bulk();
            self.bulk -= before;
        }
        (taken, dropped)
    }

    fn longest_silent(&mut self, of: impl Fn(&Reassembler) -> bool) -> Option<&mut Reassembler> {
        let holding = self.peers.values_mut().filter(|peer| of(&peer.incoming));
        let silent = holding.min_by_key(|peer| peer.heard)?;
        Some(&mut silent.incoming)
    }

    /// Which fragments of this message arrived.
    pub(crate) fn acknowledgement(
        &self,
        run: SessionId,
        message: u64,
    ) -> Option<(u32, u32, Vec<u8>)> {
        self.peers.get(&run)?.incoming.acknowledgement(message)
    }

    /// Makes room: an eighth go at once, so that it need not be looked for whom to forget with
    /// each newcomer.
    fn forget(&mut self) {
        let mut times: Vec<Instant> = self.peers.values().map(|peer| peer.heard).collect();
        let nth = times.len() / 8;
        let (_, last, _) = times.select_nth_unstable(nth);
        let last = *last;
        let mut going = nth + 1;
        self.peers.retain(|_, peer| {
            let goes = going > 0 && peer.heard <= last;
            if goes {
                going -= 1;
                self.bytes -= peer.incoming.bytes();
                self.bulk -= peer.incoming.bulk();
            }
            !goes
        });
    }
}
