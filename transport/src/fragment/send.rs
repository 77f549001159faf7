//! Sends messages in fragments: queues, fragments in flight, loss detection and retransmission.

use super::{Destination, GIVE_UP_AFTER, MAX_AHEAD, congestion::Congestion};
use crate::ranges::Ranges;
use bytes::Bytes;
use model::wire::{Acknowledgement, Fragment, KeyId};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use tokio::time::Instant;

/// A fragment is lost once a fragment with a number this much higher was acknowledged (the packet
/// threshold of RFC 9002 section 6.1.1).
const PACKET_THRESHOLD: u64 = 3;
/// The maximum number of bytes queued for one receiver, and for all receivers.
pub(super) const MAX_QUEUED: usize = 8 << 20;
const MAX_QUEUED_TOTAL: usize = 64 << 20;
/// The maximum number of receivers with a congestion state.
const MAX_RECEIVERS: usize = 1024;

/// Counts since the last call of [`FragmentSender::counts`]. The last two count messages, the others
/// fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FragmentCounts {
    pub(crate) sent: usize,
    pub(crate) retransmitted: usize,
    pub(crate) delivered: usize,
    pub(crate) given_up: usize,
}

/// The messages that are sent in fragments, for all receivers.
#[derive(Debug)]
pub(crate) struct FragmentSender {
    receivers: BTreeMap<Destination, SendState>,
    /// The receiver of each message.
    pub(super) destinations: HashMap<u64, Destination>,
    next_message: u64,
    pub(super) queued: usize,
    /// Bytes of bulk messages, and their maximum.
    pub(super) bulk: usize,
    bulk_capacity: usize,
    /// Receivers for which a bulk message is being encoded.
    reserved: HashSet<Destination>,
    counts: FragmentCounts,
}

impl FragmentSender {
    /// `bulk_capacity`: the maximum number of bytes of all bulk messages.
    pub(crate) fn new(bulk_capacity: usize) -> Self {
        Self {
            receivers: BTreeMap::new(),
            destinations: HashMap::new(),
            next_message: 1,
            queued: 0,
            bulk: 0,
            bulk_capacity,
            reserved: HashSet::new(),
            counts: FragmentCounts::default(),
        }
    }

    /// Reserves the bulk message of a receiver. If this returns true, [`Self::push_bulk`] or
    /// [`Self::release_bulk`] must follow.
    pub(crate) fn reserve_bulk(&mut self, to: Destination) -> bool {
        let busy = |state: &SendState| state.messages.iter().any(|message| message.bulk);
        !self.receivers.get(&to).is_some_and(busy) && self.reserved.insert(to)
    }

    /// Cancels a reservation.
    pub(crate) fn release_bulk(&mut self, to: Destination) {
        self.reserved.remove(&to);
    }

    /// Queues the reserved bulk message. Returns false if all bulk messages together are too large. Its
    /// first fragments are due at once.
    pub(crate) fn push_bulk(&mut self, to: Destination, bytes: Bytes, now: Instant) -> bool {
        self.release_bulk(to);
        // A single message always fits.
        if self.bulk > 0 && self.bulk + bytes.len() > self.bulk_capacity {
            return false;
        }
        let added = self.add(to, bytes, true, now);
        if let Some(state) = self.receivers.get_mut(&to) {
            state.unpolled_since = Some(now);
        }
        added
    }

    /// Queues a message. Returns false if too many bytes are queued.
    ///
    /// # Panics
    /// If the message has more than 2^32 bytes; the limit on messages prevents that.
    pub(crate) fn push(&mut self, to: Destination, bytes: Bytes, now: Instant) -> bool {
        if self.queued + bytes.len() > MAX_QUEUED_TOTAL {
            return false;
        }
        let waits = self.receivers.get(&to).map_or(0, |state| state.queued);
        // A single message always fits.
        if waits > 0 && waits + bytes.len() > MAX_QUEUED {
            return false;
        }
        self.add(to, bytes, false, now)
    }

    fn add(&mut self, to: Destination, bytes: Bytes, bulk: bool, now: Instant) -> bool {
        if self.receivers.len() >= MAX_RECEIVERS && !self.receivers.contains_key(&to) {
            self.receivers.retain(|_, state| !state.messages.is_empty());
            if self.receivers.len() >= MAX_RECEIVERS {
                return false;
            }
        }
        let length = u32::try_from(bytes.len()).expect("the limit on messages is below 4 GiB");
        let state = self.receivers.entry(to).or_insert_with(SendState::new);
        if bulk {
            self.bulk += bytes.len();
        } else {
            self.queued += bytes.len();
            state.queued += bytes.len();
        }
        self.destinations.insert(self.next_message, to);
        state.messages.push_back(OutgoingMessage {
            id: self.next_message,
            arrived: Ranges::default(),
            first: 0,
            next: 0,
            length,
            bytes,
            bulk,
            last_progress: now,
        });
        self.next_message += 1;
        true
    }

    /// Whether a message to this receiver, bulk excluded, has bytes that were never sent.
    pub(crate) fn has_unsent(&self, to: Destination) -> bool {
        let unsent = |message: &OutgoingMessage| !message.bulk && message.next < message.length;
        self.receivers
            .get(&to)
            .is_some_and(|state| state.messages.iter().any(unsent))
    }

    /// Emits the fragments that the congestion window of this receiver allows now, with up to `size` bytes
    /// each. Returns whether fragments timed out.
    pub(crate) fn poll(
        &mut self,
        to: Destination,
        size: usize,
        now: Instant,
        mut emit: impl FnMut(Fragment<'_>),
    ) -> bool {
        let Some(state) = self.receivers.get_mut(&to) else {
            return false;
        };
        let mut ended = Vec::new();
        let timed_out = state.poll(size, now, &mut self.counts, &mut ended, &mut emit);
        self.end(to, &ended);
        timed_out
    }

    /// The kernel refused a fragment as too long, so it is fragmented again.
    pub(crate) fn on_refused(&mut self, to: Destination, fragment: &Fragment<'_>) {
        if let Some(state) = self.receivers.get_mut(&to) {
            let (message, from) = (fragment.message, fragment.offset);
            state.refragment(|fragment| fragment.message == message && fragment.from == from);
        }
    }

    /// The path MTU to this receiver decreased: fragments in flight with more than `size` bytes are
    /// fragmented again.
    pub(crate) fn on_path_shrunk(&mut self, to: Destination, size: usize) {
        if let Some(state) = self.receivers.get_mut(&to) {
            state.refragment(|fragment| (fragment.to - fragment.from) as usize > size);
        }
    }

    /// The receivers with an expired deadline.
    pub(crate) fn due(&self, now: Instant) -> Vec<Destination> {
        let due = |state: &SendState| state.deadline().is_some_and(|at| at <= now);
        self.receivers
            .iter()
            .filter(|(_, state)| due(state))
            .map(|(to, _)| *to)
            .collect()
    }

    /// The earliest deadline.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.receivers
            .values()
            .filter_map(SendState::deadline)
            .min()
    }

    /// Handles an acknowledgement under this key. Returns the receiver, whose window may have room now.
    pub(crate) fn acknowledge(
        &mut self,
        key: KeyId,
        of: &Acknowledgement<'_>,
        now: Instant,
    ) -> Option<Destination> {
        let to = *self.destinations.get(&of.message)?;
        // A holder of the client key must not acknowledge fragments under the cluster key.
        if to.1 != key {
            return None;
        }
        let state = self.receivers.get_mut(&to)?;
        let mut ended = Vec::new();
        state.acknowledge(of, now, &mut self.counts, &mut ended);
        self.end(to, &ended);
        Some(to)
    }

    /// The counts since the last call.
    pub(crate) fn counts(&mut self) -> FragmentCounts {
        std::mem::take(&mut self.counts)
    }

    fn end(&mut self, to: Destination, ended: &[OutgoingMessage]) {
        for message in ended {
            self.destinations.remove(&message.id);
            let length = message.bytes.len();
            if message.bulk {
                self.bulk -= length;
                continue;
            }
            self.queued -= length;
            if let Some(state) = self.receivers.get_mut(&to) {
                state.queued -= length;
            }
        }
    }
}

/// The messages to one receiver, in order, and its congestion state.
#[derive(Debug)]
struct SendState {
    messages: VecDeque<OutgoingMessage>,
    /// Queued bytes, bulk excluded.
    queued: usize,
    /// Fragments without an acknowledgement, in the order sent.
    in_flight: VecDeque<InFlight>,
    /// Byte ranges to retransmit: message, start, end.
    retransmissions: VecDeque<(u64, u32, u32)>,
    next_number: u64,
    congestion: Congestion,
    /// Set when a message was queued, until the next poll.
    unpolled_since: Option<Instant>,
}

#[derive(Debug)]
struct OutgoingMessage {
    id: u64,
    bytes: Bytes,
    length: u32,
    /// The first byte that is not acknowledged.
    first: u32,
    /// The first byte that was never sent.
    next: u32,
    /// The acknowledged ranges after `first`.
    arrived: Ranges,
    bulk: bool,
    /// The time of the last new acknowledgement, or of queueing.
    last_progress: Instant,
}

impl OutgoingMessage {
    /// Whether a byte that was never sent may be sent now.
    fn can_continue(&self) -> bool {
        self.next < self.length && self.next - self.first < MAX_AHEAD
    }

    /// The first unacknowledged range within `from..to`.
    fn missing(&self, from: u32, to: u32) -> Option<(u32, u32)> {
        self.arrived.gap(from.max(self.first), to)
    }
}

/// A fragment without an acknowledgement.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    number: u64,
    message: u64,
    from: u32,
    to: u32,
    sent_at: Instant,
    /// Whether its bytes were sent for the first time.
    first: bool,
}

impl SendState {
    fn new() -> Self {
        Self {
            messages: VecDeque::new(),
            queued: 0,
            in_flight: VecDeque::new(),
            retransmissions: VecDeque::new(),
            next_number: 0,
            congestion: Congestion::new(),
            unpolled_since: None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let retransmission = self
            .in_flight
            .front()
            .map(|oldest| oldest.sent_at + self.congestion.retransmission_timeout());
        let silent = self
            .messages
            .iter()
            .map(|message| message.last_progress)
            .min();
        let give_up = silent.map(|last_progress| last_progress + GIVE_UP_AFTER);
        retransmission
            .into_iter()
            .chain(give_up)
            .chain(self.unpolled_since)
            .min()
    }

    fn index(&self, id: u64) -> Option<usize> {
        self.messages.binary_search_by_key(&id, |of| of.id).ok()
    }

    fn poll(
        &mut self,
        size: usize,
        now: Instant,
        counts: &mut FragmentCounts,
        ended: &mut Vec<OutgoingMessage>,
        emit: &mut impl FnMut(Fragment<'_>),
    ) -> bool {
        self.unpolled_since = None;
        let silent =
            |message: &OutgoingMessage| now.duration_since(message.last_progress) >= GIVE_UP_AFTER;
        while let Some(index) = self.messages.iter().position(silent) {
            self.give_up(index, counts, ended);
        }
        let timed_out = self.detect_timeouts(now);
        let window = self.congestion.window(size);
        while self.in_flight.len() < window {
            let Some((index, from, to, first)) = self.next_fragment(size) else {
                break;
            };
            let message = &self.messages[index];
            counts.sent += usize::from(first);
            counts.retransmitted += usize::from(!first);
            self.in_flight.push_back(InFlight {
                number: self.next_number,
                message: message.id,
                from,
                to,
                sent_at: now,
                first,
            });
            self.next_number += 1;
            emit(Fragment {
                message: message.id,
                offset: from,
                length: message.length,
                bytes: &message.bytes[from as usize..to as usize],
            });
        }
        timed_out
    }

    /// Queues fragments for retransmission whose timeout expired. Returns whether there were any.
    fn detect_timeouts(&mut self, now: Instant) -> bool {
        let timeout = self.congestion.retransmission_timeout();
        let overdue = |fragment: &InFlight| now.duration_since(fragment.sent_at) >= timeout;
        if !self.in_flight.front().is_some_and(overdue) {
            return false;
        }
        self.congestion.on_timeout(self.next_number);
        while self.in_flight.front().is_some_and(overdue) {
            if let Some(fragment) = self.in_flight.pop_front() {
                self.retransmissions
                    .push_back((fragment.message, fragment.from, fragment.to));
            }
        }
        true
    }

    /// Queues fragments for retransmission in other sizes. This is no sign of congestion.
    fn refragment(&mut self, of: impl Fn(&InFlight) -> bool) {
        let retransmissions = &mut self.retransmissions;
        self.in_flight.retain(|fragment| {
            let goes = of(fragment);
            if goes {
                retransmissions.push_back((fragment.message, fragment.from, fragment.to));
            }
            !goes
        });
        self.congestion.on_refragmented();
    }

    /// The next range to send, up to `size` bytes: the message's index, start, end, and whether it is sent
    /// for the first time. Retransmissions come first.
    fn next_fragment(&mut self, size: usize) -> Option<(usize, u32, u32, bool)> {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        while let Some((id, from, to)) = self.retransmissions.pop_front() {
            let Some(index) = self.index(id) else {
                continue;
            };
            let Some((from, end)) = self.messages[index].missing(from, to) else {
                continue;
            };
            let end = end.min(from.saturating_add(size));
            if end < to {
                self.retransmissions.push_front((id, end, to));
            }
            return Some((index, from, end, false));
        }
        let ready = |of: &(usize, &OutgoingMessage)| of.1.can_continue();
        let ready = self.messages.iter().enumerate().filter(ready);
        let (index, _) = ready.min_by_key(|(_, message)| message.bulk)?;
        let message = &mut self.messages[index];
        let from = message.next;
        message.next = message.length.min(from.saturating_add(size));
        Some((index, from, message.next, true))
    }

    fn give_up(
        &mut self,
        index: usize,
        counts: &mut FragmentCounts,
        ended: &mut Vec<OutgoingMessage>,
    ) {
        if let Some(message) = self.messages.remove(index) {
            self.in_flight
                .retain(|fragment| fragment.message != message.id);
            counts.given_up += 1;
            ended.push(message);
        }
    }

    fn acknowledge(
        &mut self,
        of: &Acknowledgement<'_>,
        now: Instant,
        counts: &mut FragmentCounts,
        ended: &mut Vec<OutgoingMessage>,
    ) {
        let Some(index) = self.index(of.message) else {
            return;
        };
        let message = &mut self.messages[index];
        if message.length != of.length || of.first > message.next {
            return;
        }
        let mut new = message.arrived.insert(message.first, of.first);
        for (from, to) in of.ranges() {
            // A byte that was never sent cannot have arrived.
            new += message.arrived.insert(from, to.min(message.next));
        }
        message.first = message.arrived.advance(message.first);
        if new > 0 {
            message.last_progress = now;
        }
        let mut latest = None;
        let mut landed = 0;
        let message = &self.messages[index];
        self.in_flight.retain(|fragment| {
            let lands = fragment.message == of.message
                && message.missing(fragment.from, fragment.to).is_none();
            if lands {
                latest = Some(*fragment);
                landed += 1;
            }
            !lands
        });
        if message.first == message.length {
            counts.delivered += 1;
            ended.extend(self.messages.remove(index));
        }
        if let Some(latest) = latest {
            let sample = latest.first.then(|| now.duration_since(latest.sent_at));
            self.congestion.on_acknowledged(landed, sample);
            self.detect_losses(latest.number);
        }
    }

    /// Loss detection (RFC 9002 §6.1.1): queues for retransmission each fragment whose number is at
    /// least [`PACKET_THRESHOLD`] below `latest`, the number of an acknowledged fragment.
    fn detect_losses(&mut self, latest: u64) {
        let mut last = None;
        while let Some(fragment) = self.in_flight.front() {
            if fragment.number + PACKET_THRESHOLD > latest {
                break;
            }
            last = Some(fragment.number);
            self.retransmissions
                .push_back((fragment.message, fragment.from, fragment.to));
            self.in_flight.pop_front();
        }
        if let Some(last) = last {
            self.congestion.on_loss(last, self.next_number);
        }
    }
}
