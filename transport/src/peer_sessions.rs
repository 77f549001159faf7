//! The state of each peer session (a run of a peer under one key): its anti-replay window and its
//! incomplete messages.
//!
//! A session is identified by its boot id and its key, so that a sender with the client key cannot
//! interfere with traffic under the cluster key. The table is bounded; it evicts the longest silent
//! sessions first.

use crate::{
    fragment::{Reassembler, Reassembly, ReassemblyLimits},
    replay_window::ReplayWindow,
};
use model::wire::{BootId, Fragment, KeyId};
use std::collections::HashMap;
use tokio::time::Instant;

/// The maximum number of sessions.
const RUNS: usize = 4096;

/// The identity of a session: a run of a peer, and the key that it uses.
pub(crate) type SessionId = (BootId, KeyId);

/// The table of peer sessions.
#[derive(Debug)]
pub(crate) struct PeerSessions {
    peers: HashMap<SessionId, Peer>,
    limits: ReassemblyLimits,
    /// The limit on bytes of incomplete messages for all sessions together, not counting bulk.
    capacity: usize,
    bytes: usize,
    /// Bytes of incomplete bulk messages for all sessions together. Their limit is that of one
    /// session.
    bulk: usize,
}

#[derive(Debug)]
struct Peer {
    window: ReplayWindow,
    incoming: Reassembler,
    last_datagram: Instant,
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

    /// Records a datagram. Returns false if it was received before.
    ///
    /// Without a key, any sender could forge a sequence number, and an excessive number would make
    /// all later datagrams look old. Such numbers are therefore not recorded: the protocol
    /// tolerates duplicates.
    pub(crate) fn admit(&mut self, run: SessionId, sequence: u64, now: Instant) -> bool {
        if self.peers.len() >= RUNS && !self.peers.contains_key(&run) {
            self.forget();
        }
        let peer = self.peers.entry(run).or_insert_with(|| Peer {
            window: ReplayWindow::default(),
            incoming: Reassembler::default(),
            last_datagram: now,
        });
        let new = run.1 == KeyId::None || peer.window.take(sequence);
        if new {
            peer.last_datagram = now;
        }
        new
    }

    /// Adds a fragment. Also returns how many incomplete messages were dropped to make room.
    pub(crate) fn take(&mut self, run: SessionId, fragment: &Fragment<'_>) -> (Reassembly, usize) {
        let Some(peer) = self.peers.get_mut(&run) else {
            return (Reassembly::Duplicate, 0);
        };
        let mut limits = self.limits;
        if run.1 == KeyId::Client {
            // Clients send no bulk messages.
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
        let silent = holding.min_by_key(|peer| peer.last_datagram)?;
        Some(&mut silent.incoming)
    }

    /// The acknowledgement of this message: its length and the fragments received.
    pub(crate) fn acknowledgement(
        &self,
        run: SessionId,
        message: u64,
    ) -> Option<(u32, u32, Vec<u8>)> {
        self.peers.get(&run)?.incoming.acknowledgement(message)
    }

    /// Evicts an eighth of the sessions, the longest silent ones, so that the search is not
    /// repeated for each newcomer.
    fn forget(&mut self) {
        let mut times: Vec<Instant> = self.peers.values().map(|peer| peer.last_datagram).collect();
        let nth = times.len() / 8;
        let (_, last, _) = times.select_nth_unstable(nth);
        let last = *last;
        let mut going = nth + 1;
        self.peers.retain(|_, peer| {
            let goes = going > 0 && peer.last_datagram <= last;
            if goes {
                going -= 1;
                self.bytes -= peer.incoming.bytes();
                self.bulk -= peer.incoming.bulk();
            }
            !goes
        });
    }
}
