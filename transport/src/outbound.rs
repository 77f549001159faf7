//! The send path: apply the fault plan, resolve the destination and its key, encode each message
//! once, and pack it with others or split it into fragments.

use crate::{
    config::{fragment_in, room_in},
    counters::{Cause, Count},
    delay_queue::Dispatch,
    fragment::FragmentSender,
    pack::{Batch, PacketBuilder},
    path_mtu::{Change, Destination, Paths, ProbeToSend, Reason},
    seal::Sealer,
    shared::{Shared, lock},
};
use bytes::Bytes;
use model::{
    Envelope, Message,
    wire::{FRAME, Frame, Frames, HEADER, Probe, encode_addresses, encode_message},
};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::time::Instant;

/// The scratch buffer for encoding is kept for reuse up to this capacity, in bytes.
const SCRATCH: usize = 512 << 10;

/// Frames for several receivers, packed into datagrams of the size that each path carries.
pub(crate) struct PacketBuilders<'a> {
    builders: Vec<(Destination, PacketBuilder)>,
    indices: HashMap<Destination, usize>,
    paths: &'a Mutex<Paths>,
}

impl<'a> PacketBuilders<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self {
            builders: Vec::new(),
            indices: HashMap::new(),
            paths: &shared.transmission.paths,
        }
    }

    pub(crate) fn to(&mut self, to: Destination) -> &mut PacketBuilder {
        // The common case is one receiver, or consecutive messages for the same receiver.
        let index = match self.builders.last() {
            Some((last, _)) if *last == to => self.builders.len() - 1,
            _ => *self.indices.entry(to).or_insert_with(|| {
                let room = room_in(lock(self.paths).size(to));
                self.builders.push((to, PacketBuilder::new(room)));
                self.builders.len() - 1
            }),
        };
        &mut self.builders[index].1
    }

    fn send(self, shared: &Shared, now: Instant) {
        let segments = shared.segments();
        let mut probed = Vec::new();
        for (to, builder) in self.builders {
            let (datagrams, longest) = builder.contents();
            if datagrams == 0 {
                continue;
            }
            let longest = longest + Sealer::overhead(to.1);
            if lock(self.paths).sent(to, longest, datagrams > 1, now) {
                probed.push(to);
            }
            builder.seal(&shared.sealer, to, segments, |batch| shared.transmit(batch));
        }
        if !probed.is_empty() {
            shared.send_probes(probed, now);
        }
    }
}

impl Shared {
    /// Sends messages, subject to the fault plan: to `at`, or to the addresses of the receivers if
    /// it is `None`.
    pub(crate) fn send(self: &Arc<Self>, envelopes: Vec<Envelope>, at: Option<SocketAddr>) {
        if self.config.faults.is_none() {
            return self.send_past_faults(&envelopes, at);
        }
        let mut through = Vec::new();
        for envelope in envelopes {
            self.apply_faults(Dispatch::Send(at), envelope, |envelope| {
                through.push(envelope);
            });
        }
        self.send_past_faults(&through, at);
    }

    /// Applies the fault plan, if there is one, to a message: passes it on at once, once or twice,
    /// delays it, or drops it.
    pub(crate) fn apply_faults(
        &self,
        dispatch: Dispatch,
        envelope: Envelope,
        mut pass: impl FnMut(Envelope),
    ) {
        let Some(faults) = &self.config.faults else {
            return pass(envelope);
        };
        let fate = faults.fate(dispatch.side(), envelope.from, envelope.to);
        let Some(first) = fate.first else {
            let (from, to) = (envelope.from, envelope.to);
            return self
                .counters
                .drop(Cause::Faults, 1, format_args!("{from} to {to}"));
        };
        let copy = fate.second.map(|by| (by, envelope.clone()));
        self.counters
            .add(Count::DuplicatedByFaults, usize::from(copy.is_some()));
        for (by, envelope) in std::iter::once((first, envelope)).chain(copy) {
            if by.is_zero() {
                pass(envelope);
            } else {
                self.hold(dispatch, self.now() + by, envelope);
            }
        }
    }

    fn hold(&self, dispatch: Dispatch, due: Instant, envelope: Envelope) {
        if lock(&self.delays.held).push(due, dispatch, envelope) {
            self.counters.add(Count::DelayedByFaults, 1);
            self.wake_by(Some(due));
        } else {
            let about = format_args!("delay queue full: the fault plan delays too many messages");
            self.counters.drop(Cause::DelayFull, 1, about);
        }
    }

    /// Sends messages without applying the fault plan.
    pub(crate) fn send_past_faults(
        self: &Arc<Self>,
        envelopes: &[Envelope],
        at: Option<SocketAddr>,
    ) {
        if envelopes.is_empty() {
            return;
        }
        let now = self.now();
        let mut builders = PacketBuilders::new(self);
        let mut large: Vec<(Destination, Bytes)> = Vec::new();
        let mut encoded = Vec::new();
        let mut message = std::mem::take(&mut *lock(&self.transmission.scratch));
        let mut sent = 0;
        for (nth, envelope) in envelopes.iter().enumerate() {
            if matches!(envelope.message, Message::InstallSnapshotRequest(_)) {
                self.send_apart(envelope, at, now);
                continue;
            }
            // A message for several receivers is encoded once.
            let same = nth > 0 && envelopes[nth - 1].message == envelope.message;
            if !same {
                message.clear();
                encode_message(&envelope.message, &mut message);
            }
            let Some(to) = self.destination(envelope, at, now) else {
                continue;
            };
            encoded.clear();
            encode_addresses(envelope.from, envelope.to, &mut encoded);
            if encoded.len() + message.len() > self.config.max_message {
                let length = message.len();
                let about = format_args!("a message of {length} bytes to {}", envelope.to);
                self.counters.drop(Cause::Oversized, 1, about);
                continue;
            }
            sent += 1;
            let behind = || {
                let waits = large.iter().any(|(receiver, _)| *receiver == to);
                carries_entries(&envelope.message)
                    && (waits || lock(&self.transmission.outgoing).has_unsent(to))
            };
            let builder = builders.to(to);
            if FRAME + encoded.len() + message.len() <= builder.room() && !behind() {
                encoded.extend_from_slice(&message);
                builder.push(&Frame::Envelope(&encoded));
            } else {
                large.push((to, Bytes::from([&encoded[..], &message].concat())));
            }
        }
        if message.capacity() <= SCRATCH {
            *lock(&self.transmission.scratch) = message;
        }
        if !large.is_empty() {
            sent -= self.push_fragments(large, &mut builders, now);
        }
        self.counters.add(Count::MessagesSent, sent);
        builders.send(self, now);
    }

    fn destination(
        &self,
        envelope: &Envelope,
        at: Option<SocketAddr>,
        now: Instant,
    ) -> Option<Destination> {
        let Some(key) = self.sealer.key_for(envelope) else {
            let (from, to) = (envelope.from, envelope.to);
            let about = format_args!("no key for messages from {from} to {to}");
            self.counters.drop(Cause::NoKey, 1, about);
            return None;
        };
        let Some(at) = at.or_else(|| lock(&self.routes).find(envelope.to, now)) else {
            let about = format_args!("no route to {}", envelope.to);
            self.counters.drop(Cause::NoRoute, 1, about);
            return None;
        };
        Some((at, key))
    }

    /// Sends a snapshot. A thread of its own encodes it, because encoding may take long.
    fn send_apart(self: &Arc<Self>, envelope: &Envelope, at: Option<SocketAddr>, now: Instant) {
        let Some(to) = self.destination(envelope, at, now) else {
            return;
        };
        if !lock(&self.transmission.outgoing).reserve_bulk(to) {
            let about = format_args!(
                "the previous snapshot to {} is still being sent",
                envelope.to
            );
            return self.counters.drop(Cause::FragmentQueueFull, 1, about);
        }
        let (shared, envelope) = (Arc::clone(self), envelope.clone());
        let encoding = move || {
            shared.push_bulk(to, envelope);
            shared.wake_owner();
        };
        let threads = &self.config.environment.threads;
        if let Err(error) = threads.spawn("raft-encode", Box::new(encoding)) {
            lock(&self.transmission.outgoing).release_bulk(to);
            let about = format_args!("cannot start a thread to encode a snapshot: {error}");
            self.counters.drop(Cause::FragmentQueueFull, 1, about);
        }
    }

    /// Encodes a snapshot and queues it for sending in fragments.
    fn push_bulk(&self, to: Destination, envelope: Envelope) {
        let receiver = envelope.to;
        let mut bytes = Vec::new();
        encode_addresses(envelope.from, receiver, &mut bytes);
        encode_message(&envelope.message, &mut bytes);
        // A store that is shared is copied when it changes, so the reference is dropped early.
        drop(envelope);
        let (length, now) = (bytes.len(), self.now());
        let mut outgoing = lock(&self.transmission.outgoing);
        if length > self.config.max_bulk {
            outgoing.release_bulk(to);
            drop(outgoing);
            let about = format_args!("a snapshot of {length} bytes to {receiver}");
            return self.counters.drop(Cause::Oversized, 1, about);
        }
        let taken = outgoing.push_bulk(to, Bytes::from(bytes), now);
        self.after_fragments(outgoing);
        self.counters.add(Count::MessagesSent, usize::from(taken));
        let about = format_args!("snapshot queue full: {length} bytes to {receiver}");
        self.counters
            .drop(Cause::FragmentQueueFull, usize::from(!taken), about);
    }

    /// Starts sending large messages. Returns how many were refused for lack of room.
    fn push_fragments(
        &self,
        large: Vec<(Destination, Bytes)>,
        builders: &mut PacketBuilders<'_>,
        now: Instant,
    ) -> usize {
        let mut refused = 0;
        let mut outgoing = lock(&self.transmission.outgoing);
        for (to, bytes) in large {
            refused += usize::from(!outgoing.push(to, bytes, now));
            self.pack_fragments(&mut outgoing, to, now, builders);
        }
        self.after_fragments(outgoing);
        let about = format_args!("fragment queue full: no room for large messages");
        self.counters.drop(Cause::FragmentQueueFull, refused, about);
        refused
    }

    /// Updates the fragment counters, and schedules the next retransmission.
    fn after_fragments(&self, mut outgoing: std::sync::MutexGuard<'_, FragmentSender>) {
        let counts = outgoing.counts();
        let deadline = outgoing.deadline();
        drop(outgoing);
        self.wake_by(deadline);
        self.counters.add(Count::FragmentsSent, counts.sent);
        self.counters
            .add(Count::FragmentsRetransmitted, counts.retransmitted);
        self.counters
            .add(Count::FragmentedMessagesDelivered, counts.delivered);
        let about = format_args!("large messages timed out despite retransmissions");
        self.counters.drop(Cause::GaveUp, counts.given_up, about);
    }

    /// Sends the fragments that are due.
    pub(crate) fn send_due_fragments(&self, now: Instant) {
        let due = lock(&self.transmission.outgoing).due(now);
        self.send_fragments(due, PacketBuilders::new(self), now);
    }

    /// Sends the fragments that these receivers may get now, together with the frames packed
    /// already.
    pub(crate) fn send_fragments(
        &self,
        to: impl IntoIterator<Item = Destination>,
        mut builders: PacketBuilders<'_>,
        now: Instant,
    ) {
        let mut outgoing = lock(&self.transmission.outgoing);
        for to in to {
            self.pack_fragments(&mut outgoing, to, now, &mut builders);
        }
        self.after_fragments(outgoing);
        builders.send(self, now);
    }

    fn pack_fragments(
        &self,
        outgoing: &mut FragmentSender,
        to: Destination,
        now: Instant,
        builders: &mut PacketBuilders<'_>,
    ) {
        let builder = builders.to(to);
        let size = fragment_in(builder.room());
        if outgoing.poll(to, size, now, |fragment| {
            builder.push(&Frame::Fragment(fragment));
        }) {
            // The next datagrams that are sent probe the path.
            lock(&self.transmission.paths).suspect(to, now);
        }
    }

    /// Sends the probes of these paths, and of paths whose next probe round is due.
    pub(crate) fn send_probes(&self, to: impl IntoIterator<Item = Destination>, now: Instant) {
        let network = &self.config.environment.network;
        let link = |at| network.path_payload(self.local, at);
        let (probes, deadline) = {
            let mut paths = lock(&self.transmission.paths);
            let probes = paths.poll(now, to, link);
            (probes, paths.deadline())
        };
        self.wake_by(deadline);
        self.after_changes(now);
        self.counters.add(Count::ProbesSent, probes.len());
        for ProbeToSend { to, id, length } in probes {
            let mut bytes = vec![0; length];
            // Padding fills the rest of the body.
            Frame::Probe(Probe { id }).encode(&mut &mut bytes[HEADER..]);
            self.sealer.seal(to.1, &mut bytes);
            self.transmit(Batch {
                to,
                bytes,
                segment: length,
            });
        }
    }

    /// Logs paths whose datagram size changed, and fragments again the messages whose fragments are too
    /// long for them.
    pub(crate) fn after_changes(&self, now: Instant) {
        let changes = lock(&self.transmission.paths).changes();
        let mut shrunk = Vec::new();
        for Change {
            to,
            from,
            size,
            reason,
        } in changes
        {
            let peer = to.0;
            match reason {
                Reason::BlackHole => {
                    self.counters.add(Count::BlackHoles, 1);
                    tracing::warn!(
                        %peer, from, to = size,
                        "datagrams of this length no longer reach the peer; switching to shorter ones"
                    );
                }
                Reason::Kernel => tracing::info!(
                    %peer, from, to = size,
                    "the MTU of the interface or of the route requires shorter datagrams"
                ),
                Reason::Probe | Reason::NewRun => {
                    tracing::debug!(%peer, from, to = size, "datagram length changed");
                }
            }
            if size < from {
                shrunk.push((to, size));
            }
        }
        if shrunk.is_empty() {
            return;
        }
        let mut builders = PacketBuilders::new(self);
        let mut outgoing = lock(&self.transmission.outgoing);
        for (to, size) in shrunk {
            outgoing.on_path_shrunk(to, fragment_in(room_in(size)));
            self.pack_fragments(&mut outgoing, to, now, &mut builders);
        }
        self.after_fragments(outgoing);
        builders.send(self, now);
    }

    /// Handles datagrams that the kernel refused as too long: sends their frames in shorter
    /// datagrams.
    pub(crate) fn send_shorter(&self, mut batch: Batch, length: usize) {
        let (to, now) = (batch.to, self.now());
        let network = &self.config.environment.network;
        let link = network.path_payload(self.local, to.0);
        if !lock(&self.transmission.paths).refused(to, length, link, now) {
            let about = format_args!(
                "{length} bytes to {} are too long for the interface: raise its MTU to 576 at least",
                to.0
            );
            return self.counters.drop(Cause::TooLong, batch.datagrams(), about);
        }
        self.counters
            .add(Count::DatagramsResplit, batch.datagrams());
        self.after_changes(now);
        let mut builders = PacketBuilders::new(self);
        let mut large = Vec::new();
        for datagram in batch.bytes.chunks_mut(batch.segment) {
            // They were sealed here a moment ago.
            let Ok((_, body)) = self.sealer.unseal(datagram) else {
                continue;
            };
            for frame in Frames::new(body).flatten() {
                match frame {
                    Frame::Probe(_) => {}
                    Frame::Fragment(fragment) => {
                        lock(&self.transmission.outgoing).on_refused(to, &fragment);
                    }
                    Frame::Envelope(bytes) if frame.length() > builders.to(to).room() => {
                        large.push((to, Bytes::copy_from_slice(bytes)));
                    }
                    frame => builders.to(to).push(&frame),
                }
            }
        }
        self.push_fragments(large, &mut builders, now);
        self.send_fragments([to], builders, now);
        self.send_probes([to], now);
    }
}

/// Whether this message must arrive after earlier ones: a follower rejects entries that overtake
/// their predecessors, because of the gap, and the leader resends them. All other messages may
/// overtake entries, and should: votes and heartbeats are worth most when they are fast.
fn carries_entries(message: &Message) -> bool {
    matches!(message, Message::AppendEntriesRequest(request) if !request.entries.is_empty())
}
