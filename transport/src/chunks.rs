//! Messages larger than a datagram: cut into chunks, acknowledged, repeated, put together again.
//!
//! What is on its way to one receiver is bounded by a window, which grows while chunks arrive and
//! halves when one is lost, as TCP's does. A chunk is taken for lost when three sent after it were
//! acknowledged, or when no word of it came for as long as round trips suggest (RFC 6298). A message
//! of which nothing new arrived for [`PATIENCE`] is given up: the protocol above repeats what
//! matters, and by then has something newer to say.
//!
//! A *bulk* message, the state of a server on its way to another, may be a thousand times as large
//! as any other. There is one for each receiver at most, and a receiver takes one from each run of
//! a peer. Whatever else goes there overtakes it. All others leave in the order in which they came:
//! to Raft, entries that were overtaken by later ones look lost, and are sent again. Chunks leave
//! no further than [`SPAN`] ahead of the first that is missing, so what is put in order stays
//! little however large the message, and so does an acknowledgement.
//!
//! Nothing here reads a clock or sends: time and chunks are passed in and out. Memory is bounded
//! whatever a peer sends: so much for each run of a peer, the oldest message going first, and so
//! much for all ([`crate::peers`]).

use bytes::Bytes;
use model::wire::{Acknowledgement, Chunk, KeyId};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};
use tokio::time::Instant;

/// How far ahead of the first missing chunk others leave: what an acknowledgement can speak of, in
/// the smallest datagram there is.
const SPAN: u32 = 2048;
/// How long a message is kept trying after the last news of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// A chunk is lost if so many sent after it arrived.
const OVERTAKEN_BY: u64 = 3;
const WINDOW_FIRST: usize = 32;
/// Less would not fill a round trip with enough to notice what was overtaken, so that each loss
/// would cost a timeout.
const WINDOW_LEAST: usize = 16;
const WINDOW_MOST: usize = 128;
/// Nor more bytes than this, roughly: what a receiver has room for that is busy, where the system
/// grants it little.
const WINDOW_BYTES: usize = 256 << 10;
const TIMEOUT_FIRST: Duration = Duration::from_millis(100);
const TIMEOUT_LEAST: Duration = Duration::from_millis(20);
const TIMEOUT_MOST: Duration = Duration::from_secs(1);
/// How many bytes may wait for one receiver, and for all together.
const WAITING: usize = 8 << 20;
const WAITING_FOR_ALL: usize = 64 << 20;
/// Receivers whose round trips are remembered.
const FLOWS: usize = 1024;
/// So many finished messages of a peer are remembered, to acknowledge them once more if asked.
const FINISHED: usize = 256;
/// So many messages of a peer are put together at a time.
const ASSEMBLING: usize = 64;

/// To whom, and under which key.
pub(crate) type Destination = (SocketAddr, KeyId);

/// What became of chunks, to be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sent: usize,
    pub(crate) repeated: usize,
    pub(crate) delivered: usize,
    pub(crate) given_up: usize,
}

/// Messages on their way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    flows: HashMap<Destination, Flow>,
    owners: HashMap<u64, Destination>,
    next_message: u64,
    waiting: usize,
    /// Bytes of bulk messages, and how many may be.
    bulk: usize,
    bulk_capacity: usize,
    /// For whom a bulk message is being made.
    promised: HashSet<Destination>,
    tally: Tally,
}

impl Outgoing {
    /// Takes bulk messages of so many bytes together.
    pub(crate) fn new(bulk_capacity: usize) -> Self {
        Self {
            flows: HashMap::new(),
            owners: HashMap::new(),
            next_message: 1,
            waiting: 0,
            bulk: 0,
            bulk_capacity,
            promised: HashSet::new(),
            tally: Tally::default(),
        }
    }

    /// Whether a bulk message may be made for this receiver. If so, [`Self::push_bulk`] or
    /// [`Self::release`] must follow.
    pub(crate) fn promise(&mut self, to: Destination) -> bool {
        let busy = |flow: &Flow| flow.messages.iter().any(|message| message.bulk);
        !self.flows.get(&to).is_some_and(busy) && self.promised.insert(to)
    }

    /// There will be no such message.
    pub(crate) fn release(&mut self, to: Destination) {
        self.promised.remove(&to);
    }

    /// Takes the bulk message that was promised. False if too much is under way already. Its first
    /// chunks are due at once.
    pub(crate) fn push_bulk(
        &mut self,
        to: Destination,
        bytes: Bytes,
        size: usize,
        now: Instant,
    ) -> bool {
        self.release(to);
        // One is taken always.
        if self.bulk > 0 && self.bulk + bytes.len() > self.bulk_capacity {
            return false;
        }
        let added = self.add(to, bytes, size, true, now);
        if let Some(flow) = self.flows.get_mut(&to) {
            flow.fresh = Some(now);
        }
        added
    }

    /// Takes a message to be sent in chunks of this size. False if too much is waiting already.
    ///
    /// # Panics
    /// If it makes more chunks than can be counted; the limit on messages prevents that.
    pub(crate) fn push(
        &mut self,
        to: Destination,
        bytes: Bytes,
        size: usize,
        now: Instant,
    ) -> bool {
        if self.waiting + bytes.len() > WAITING_FOR_ALL {
            return false;
        }
        let waits = self.flows.get(&to).map_or(0, |flow| flow.waiting);
        // One message is taken always, however large.
        if waits > 0 && waits + bytes.len() > WAITING {
            return false;
        }
        self.add(to, bytes, size, false, now)
    }

    fn add(
        &mut self,
        to: Destination,
        bytes: Bytes,
        size: usize,
        bulk: bool,
        now: Instant,
    ) -> bool {
        if self.flows.len() >= FLOWS && !self.flows.contains_key(&to) {
            self.flows.retain(|_, flow| !flow.messages.is_empty());
            if self.flows.len() >= FLOWS {
                return false;
            }
        }
        let count = u32::try_from(bytes.len().div_ceil(size))
            .expect("a message has no more chunks than a message may have");
        let flow = self.flows.entry(to).or_insert_with(|| Flow::new(size));
        if bulk {
            self.bulk += bytes.len();
        } else {
            self.waiting += bytes.len();
            flow.waiting += bytes.len();
        }
        self.owners.insert(self.next_message, to);
        flow.messages.push_back(Message {
            id: self.next_message,
            arrived: vec![false; count as usize],
            missing: count,
            first: 0,
            next: 0,
            count,
            size,
            bytes,
            bulk,
            heard: now,
        });
        self.next_message += 1;
        true
    }

    /// Whether a message that is no bulk is yet to leave, whole or in part, for this receiver.
    pub(crate) fn is_busy(&self, to: Destination) -> bool {
        let unsent = |message: &Message| !message.bulk && message.next < message.count;
        self.flows
            .get(&to)
            .is_some_and(|flow| flow.messages.iter().any(unsent))
    }

    /// The chunks that may leave now for this receiver.
    pub(crate) fn poll(&mut self, to: Destination, now: Instant, mut emit: impl FnMut(Chunk<'_>)) {
        if let Some(flow) = self.flows.get_mut(&to) {
            let mut ended = Vec::new();
            flow.poll(now, &mut self.tally, &mut ended, &mut emit);
            self.end(to, &ended);
        }
    }

    /// The receivers for whom something is due.
    pub(crate) fn due(&self, now: Instant) -> Vec<Destination> {
        let due = |flow: &Flow| flow.deadline().is_some_and(|at| at <= now);
        self.flows
            .iter()
            .filter(|(_, flow)| due(flow))
            .map(|(to, _)| *to)
            .collect()
    }

    /// When something is due next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.flows.values().filter_map(Flow::deadline).min()
    }

    /// Word of chunks, under this key. Says for whom there may be room again.
    pub(crate) fn acknowledge(
        &mut self,
        key: KeyId,
        of: &Acknowledgement<'_>,
        now: Instant,
    ) -> Option<Destination> {
        let to = *self.owners.get(&of.message)?;
        // Who holds the client key alone has no say in what goes under the cluster key.
        if to.1 != key {
            return None;
        }
        let flow = self.flows.get_mut(&to)?;
        let mut ended = Vec::new();
        flow.acknowledge(of, now, &mut self.tally, &mut ended);
        self.end(to, &ended);
        Some(to)
    }

    /// What became of chunks since the last call.
    pub(crate) fn tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn end(&mut self, to: Destination, ended: &[Message]) {
        for message in ended {
            self.owners.remove(&message.id);
            let length = message.bytes.len();
            if message.bulk {
                self.bulk -= length;
                continue;
            }
            self.waiting -= length;
            if let Some(flow) = self.flows.get_mut(&to) {
                flow.waiting -= length;
            }
        }
    }
}

/// What is on its way to one receiver.
#[derive(Debug)]
struct Flow {
    messages: VecDeque<Message>,
    /// Bytes of messages that are no bulk.
    waiting: usize,
    /// Chunks of which no word has come, in the order they left.
    flights: VecDeque<Flight>,
    lost: VecDeque<(u64, u32)>,
    next_flight: u64,
    window: usize,
    window_most: usize,
    /// Chunks that arrived since the window last grew, once it was cut.
    grown_by: usize,
    /// Below this the window grows with each chunk that arrives.
    threshold: usize,
    /// A loss of a flight before this one has been answered for already.
    recovered_from: u64,
    round_trip: Option<RoundTrip>,
    timeouts: u32,
    /// Set while a message was taken and nobody has looked what may leave.
    fresh: Option<Instant>,
}

#[derive(Debug)]
struct Message {
    id: u64,
    bytes: Bytes,
    size: usize,
    count: u32,
    /// The first chunk of which there is no word that it arrived, but for those that are known to
    /// have overtaken it.
    first: u32,
    /// The first chunk that was never sent.
    next: u32,
    arrived: Vec<bool>,
    missing: u32,
    bulk: bool,
    /// When something new of it arrived, or it was taken.
    heard: Instant,
}

impl Message {
    /// Whether a chunk that was never sent may be now.
    fn may_go_on(&self) -> bool {
        self.next < self.count && self.next - self.first < SPAN
    }
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    number: u64,
    message: u64,
    index: u32,
    at: Instant,
    first: bool,
}

#[derive(Clone, Copy, Debug)]
struct RoundTrip {
    smooth: Duration,
    varies: Duration,
}

impl Flow {
    /// With chunks of this size.
    fn new(size: usize) -> Self {
        let window_most = (WINDOW_BYTES / size).clamp(1, WINDOW_MOST);
        Self {
            messages: VecDeque::new(),
            waiting: 0,
            flights: VecDeque::new(),
            lost: VecDeque::new(),
            next_flight: 0,
            window: WINDOW_FIRST.min(window_most),
            window_most,
            grown_by: 0,
            threshold: window_most,
            recovered_from: 0,
            round_trip: None,
            timeouts: 0,
            fresh: None,
        }
    }

    fn timeout(&self) -> Duration {
        let base = self.round_trip.map_or(TIMEOUT_FIRST, |of| {
            (of.smooth + of.varies * 4).max(TIMEOUT_LEAST)
        });
        (base * 2_u32.pow(self.timeouts.min(6))).min(TIMEOUT_MOST)
    }

    fn deadline(&self) -> Option<Instant> {
        let repeat = self
            .flights
            .front()
            .map(|oldest| oldest.at + self.timeout());
        let silent = self.messages.iter().map(|message| message.heard).min();
        let give_up = silent.map(|heard| heard + PATIENCE);
        repeat.into_iter().chain(give_up).chain(self.fresh).min()
    }

    fn place(&self, id: u64) -> Option<usize> {
        self.messages.binary_search_by_key(&id, |of| of.id).ok()
    }

    fn poll(
        &mut self,
        now: Instant,
        tally: &mut Tally,
        ended: &mut Vec<Message>,
        emit: &mut impl FnMut(Chunk<'_>),
    ) {
        self.fresh = None;
        let silent = |message: &Message| now.duration_since(message.heard) >= PATIENCE;
        while let Some(place) = self.messages.iter().position(silent) {
            self.give_up(place, tally, ended);
        }
        self.expire(now);
        while self.flights.len() < self.window {
            let Some((place, index, first)) = self.next_chunk() else {
                break;
            };
            let message = &self.messages[place];
            tally.sent += usize::from(first);
            tally.repeated += usize::from(!first);
            self.flights.push_back(Flight {
                number: self.next_flight,
                message: message.id,
                index,
                at: now,
                first,
            });
            self.next_flight += 1;
            let start = index as usize * message.size;
            let end = message.bytes.len().min(start + message.size);
            emit(Chunk {
                message: message.id,
                index,
                count: message.count,
                bytes: &message.bytes[start..end],
            });
        }
    }

    /// Takes for lost what is overdue.
    fn expire(&mut self, now: Instant) {
        let timeout = self.timeout();
        let overdue = |flight: &Flight| now.duration_since(flight.at) >= timeout;
        if !self.flights.front().is_some_and(overdue) {
            return;
        }
        self.timeouts += 1;
        self.shrink();
        while self.flights.front().is_some_and(overdue) {
            if let Some(flight) = self.flights.pop_front() {
                self.lost.push_back((flight.message, flight.index));
            }
        }
    }

    /// What to send next: what was lost before what was never sent; and whether it is the latter.
    fn next_chunk(&mut self) -> Option<(usize, u32, bool)> {
        while let Some((id, index)) = self.lost.pop_front() {
            if let Some(place) = self.place(id)
                && !self.messages[place].arrived[index as usize]
            {
                return Some((place, index, false));
            }
        }
        let ready = |of: &(usize, &Message)| of.1.may_go_on();
        let ready = self.messages.iter().enumerate().filter(ready);
        let (place, _) = ready.min_by_key(|(_, message)| message.bulk)?;
        let message = &mut self.messages[place];
        message.next += 1;
        Some((place, message.next - 1, true))
    }

    fn give_up(&mut self, place: usize, tally: &mut Tally, ended: &mut Vec<Message>) {
        if let Some(message) = self.messages.remove(place) {
            self.flights.retain(|flight| flight.message != message.id);
            tally.given_up += 1;
            ended.push(message);
        }
    }

    fn acknowledge(
        &mut self,
        of: &Acknowledgement<'_>,
        now: Instant,
        tally: &mut Tally,
        ended: &mut Vec<Message>,
    ) {
        let Some(place) = self.place(of.message) else {
            return;
        };
        let message = &mut self.messages[place];
        if message.count != of.count || of.first > message.next {
            return;
        }
        for index in message.first..message.next {
            let arrived = &mut message.arrived[index as usize];
            if of.has(index) && !*arrived {
                *arrived = true;
                message.missing -= 1;
                message.heard = now;
            }
        }
        message.first = message.first.max(of.first);
        let mut latest = None;
        let mut landed = 0;
        let arrived = &message.arrived;
        self.flights.retain(|flight| {
            let lands = flight.message == of.message && arrived[flight.index as usize];
            if lands {
                latest = Some(*flight);
                landed += 1;
            }
            !lands
        });
        if message.missing == 0 {
            tally.delivered += 1;
            ended.extend(self.messages.remove(place));
        }
        if let Some(latest) = latest {
            self.timeouts = 0;
            // What was sent twice does not tell which of the two arrived (Karn).
            if latest.first {
                self.measure(now.duration_since(latest.at));
            }
            self.grow(landed);
            self.find_overtaken(latest.number);
        }
    }

    fn find_overtaken(&mut self, latest: u64) {
        let mut cut = false;
        while let Some(flight) = self.flights.front() {
            if flight.number + OVERTAKEN_BY > latest {
                break;
            }
            cut |= flight.number >= self.recovered_from;
            self.lost.push_back((flight.message, flight.index));
            self.flights.pop_front();
        }
        if cut {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        self.window = (self.window / 2).max(WINDOW_LEAST.min(self.window_most));
        self.threshold = self.window;
        self.grown_by = 0;
        self.recovered_from = self.next_flight;
    }

    fn grow(&mut self, landed: usize) {
        if self.window < self.threshold {
            self.window += landed;
        } else {
            self.grown_by += landed;
            if self.grown_by >= self.window {
                self.grown_by = 0;
                self.window += 1;
            }
        }
        self.window = self.window.min(self.window_most);
    }

    fn measure(&mut self, sample: Duration) {
        self.round_trip = Some(match self.round_trip {
            None => RoundTrip {
                smooth: sample,
                varies: sample / 2,
            },
            Some(RoundTrip { smooth, varies }) => RoundTrip {
                varies: (varies * 3 + smooth.abs_diff(sample)) / 4,
                smooth: (smooth * 7 + sample) / 8,
            },
        });
    }
}

/// What may be put together for one run of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The longest message that is no bulk.
    pub(crate) message: usize,
    /// Bytes of unfinished messages, bulk not counted.
    pub(crate) bytes: usize,
    /// The longest bulk message; 0 if none is taken.
    pub(crate) bulk: usize,
}

/// What a chunk led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// More are needed.
    Kept,
    /// It was there before.
    Known,
    /// It was the last missing one: the message.
    Whole(Vec<u8>),
    /// It says otherwise than the others of its message, or is further ahead than any should be.
    Contradicts,
    /// Its message is larger than is taken.
    Oversized,
}

/// Messages of one run of a peer on their way in.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    assembling: VecDeque<Assembly>,
    finished: VecDeque<(u64, u32)>,
    /// Messages found too large. No word of them goes back, so that they are given up.
    refused: VecDeque<u64>,
    bytes: usize,
    bulk: usize,
}

#[derive(Debug)]
struct Assembly {
    message: u64,
    count: u32,
    /// The chunks before the first that is missing, and how many those are.
    start: Vec<u8>,
    first: u32,
    /// Chunks that overtook it, and their bytes.
    ahead: BTreeMap<u32, Box<[u8]>>,
    ahead_bytes: usize,
    bulk: bool,
}

/// What a chunk takes in memory besides its bytes, roughly.
const BESIDES: usize = 64;

impl Assembly {
    const fn new(message: u64, count: u32) -> Self {
        Self {
            message,
            count,
            start: Vec::new(),
            first: 0,
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
            bulk: false,
        }
    }

    fn length(&self) -> usize {
        self.start.len() + self.ahead_bytes
    }

    fn held(&self) -> usize {
        self.length() + self.ahead.len() * BESIDES
    }

    fn take(&mut self, chunk: &Chunk<'_>) -> Taken {
        if self.count != chunk.count {
            return Taken::Contradicts;
        }
        let Some(ahead) = chunk.index.checked_sub(self.first) else {
            return Taken::Known;
        };
        match ahead {
            0 => self.extend(chunk.bytes),
            SPAN.. => return Taken::Contradicts,
            _ if self.ahead.contains_key(&chunk.index) => return Taken::Known,
            _ => {
                self.ahead_bytes += chunk.bytes.len();
                self.ahead.insert(chunk.index, chunk.bytes.into());
            }
        }
        Taken::Kept
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.start.extend_from_slice(bytes);
        self.first += 1;
        while let Some(next) = self.ahead.remove(&self.first) {
            self.ahead_bytes -= next.len();
            self.start.extend_from_slice(&next);
            self.first += 1;
        }
    }

    fn bitmap(&self) -> Vec<u8> {
        let mut bitmap = Vec::new();
        for index in self.ahead.keys() {
            let nth = index - self.first;
            let byte = (nth / 8) as usize;
            bitmap.resize(byte + 1, 0);
            bitmap[byte] |= 1 << (nth % 8);
        }
        bitmap
    }
}

impl Incoming {
    /// Bytes held of messages that are no bulk.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes held of a bulk message.
    pub(crate) const fn bulk(&self) -> usize {
        self.bulk
    }

    /// Takes a chunk. Also says how many unfinished messages were dropped to make room.
    pub(crate) fn take(&mut self, chunk: &Chunk<'_>, limits: Limits) -> (Taken, usize) {
        if self.finished.iter().any(|(id, _)| *id == chunk.message) {
            return (Taken::Known, 0);
        }
        let longest = limits.message.max(limits.bulk);
        // No chunk is empty.
        if chunk.count as usize > longest || self.refused.contains(&chunk.message) {
            return (Taken::Oversized, 0);
        }
        let mut dropped = 0;
        let found = self.place(chunk.message);
        if found.is_none() && self.assembling.len() >= ASSEMBLING {
            self.drop_first(|_| true);
            dropped += 1;
        }
        // While it is added to, it is not among the others.
        let mut assembly = found
            .and_then(|place| self.remove(place))
            .unwrap_or_else(|| Assembly::new(chunk.message, chunk.count));
        let taken = assembly.take(chunk);
        if assembly.length() > longest {
            if self.refused.len() >= FINISHED {
                self.refused.pop_front();
            }
            self.refused.push_back(chunk.message);
            return (Taken::Oversized, dropped);
        }
        if assembly.first == assembly.count {
            if self.finished.len() >= FINISHED {
                self.finished.pop_front();
            }
            self.finished.push_back((assembly.message, assembly.count));
            return (Taken::Whole(assembly.start), dropped);
        }
        if assembly.length() > limits.message && !assembly.bulk {
            assembly.bulk = true;
            // Whoever sends one has given up the one before.
            dropped += usize::from(self.drop_first(|of| of.bulk));
        }
        // The oldest goes first; the one just added to goes last of all.
        while !assembly.bulk
            && self.bytes + assembly.held() > limits.bytes
            && self.drop_first(|of| !of.bulk)
        {
            dropped += 1;
        }
        let place = found.unwrap_or(self.assembling.len());
        self.insert(place.min(self.assembling.len()), assembly);
        (taken, dropped)
    }

    /// Drops everything unfinished but for bulk messages. Says how many messages that were.
    pub(crate) fn clear(&mut self) -> usize {
        self.clear_of(|of| !of.bulk)
    }

    /// Drops the bulk message that is unfinished. Says whether there was one.
    pub(crate) fn clear_bulk(&mut self) -> usize {
        self.clear_of(|of| of.bulk)
    }

    /// What arrived of this message: how many chunks it has, the first that is missing, and a bit
    /// for each from there on, as in [`Acknowledgement`].
    pub(crate) fn acknowledgement(&self, message: u64) -> Option<(u32, u32, Vec<u8>)> {
        if let Some(place) = self.place(message) {
            let of = &self.assembling[place];
            return Some((of.count, of.first, of.bitmap()));
        }
        let (_, count) = self.finished.iter().find(|(id, _)| *id == message)?;
        Some((*count, *count, Vec::new()))
    }

    fn place(&self, message: u64) -> Option<usize> {
        self.assembling.iter().position(|of| of.message == message)
    }

    fn insert(&mut self, place: usize, assembly: Assembly) {
        *self.sum(assembly.bulk) += assembly.held();
        self.assembling.insert(place, assembly);
    }

    fn remove(&mut self, place: usize) -> Option<Assembly> {
        let assembly = self.assembling.remove(place)?;
        *self.sum(assembly.bulk) -= assembly.held();
        Some(assembly)
    }

    const fn sum(&mut self, bulk: bool) -> &mut usize {
        if bulk {
            &mut self.bulk
        } else {
            &mut self.bytes
        }
    }

    /// Drops the oldest of these, if there is one.
    fn drop_first(&mut self, of: impl Fn(&Assembly) -> bool) -> bool {
        let place = self.assembling.iter().position(of);
        place.is_some_and(|place| self.remove(place).is_some())
    }

    fn clear_of(&mut self, of: impl Fn(&Assembly) -> bool) -> usize {
        let mut dropped = 0;
        while self.drop_first(&of) {
            dropped += 1;
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        message: 1 << 20,
        bytes: 2 << 20,
        bulk: 0,
    };
    const BULK: Limits = Limits {
        bulk: 64 << 20,
        ..LIMITS
    };

    fn to() -> Destination {
        (([127, 0, 0, 1], 1).into(), KeyId::Cluster)
    }

    fn content(length: usize) -> Bytes {
        (0..length).map(|nth| (nth * 7 % 251) as u8).collect()
    }

    type Owned = (u64, u32, u32, Vec<u8>);

    fn poll(outgoing: &mut Outgoing, now: Instant) -> Vec<Owned> {
        let mut chunks = Vec::new();
        outgoing.poll(to(), now, |chunk| {
            chunks.push((
                chunk.message,
                chunk.index,
                chunk.count,
                chunk.bytes.to_vec(),
            ));
        });
        chunks
    }

    fn take(incoming: &mut Incoming, chunk: &Owned) -> Taken {
        take_within(incoming, chunk, LIMITS)
    }

    fn take_within(incoming: &mut Incoming, chunk: &Owned, limits: Limits) -> Taken {
        let (message, index, count, ref bytes) = *chunk;
        let chunk = Chunk {
            message,
            index,
            count,
            bytes,
        };
        incoming.take(&chunk, limits).0
    }

    fn acknowledge(outgoing: &mut Outgoing, incoming: &Incoming, message: u64, now: Instant) {
        if let Some((count, first, bitmap)) = incoming.acknowledgement(message) {
            let of = Acknowledgement {
                message,
                count,
                first,
                bitmap: &bitmap,
            };
            outgoing.acknowledge(KeyId::Cluster, &of, now);
        }
    }

    /// Both directions lose a tenth; three messages still arrive whole, and nothing is left of
    /// them.
    #[test]
    fn lost_chunks_and_acknowledgements_are_made_up_for() {
        use rand_chacha::{
            ChaCha8Rng,
            rand_core::{RngCore, SeedableRng},
        };
        for seed in 0..100 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let lengths = [(); 3].map(|()| 1 + random.next_u32() as usize % 60_000);
            let mut lost = move || random.next_u32() % 10 == 0;
            let mut now = Instant::now();
            let (mut outgoing, mut incoming) = (Outgoing::new(0), Incoming::default());
            for length in lengths {
                assert!(outgoing.push(to(), content(length), 1000, now));
            }
            let mut whole = BTreeMap::new();
            while let Some(due) = outgoing.deadline() {
                let chunks = poll(&mut outgoing, now);
                if chunks.is_empty() {
                    now = due.max(now);
                }
                for chunk in chunks {
                    if lost() {
                        continue;
                    }
                    if let Taken::Whole(bytes) = take(&mut incoming, &chunk) {
                        assert!(whole.insert(chunk.0, bytes).is_none());
                    }
                    if !lost() {
                        now += Duration::from_micros(50);
                        acknowledge(&mut outgoing, &incoming, chunk.0, now);
                    }
                }
            }
            let tally = outgoing.tally();
            assert_eq!((tally.given_up, tally.delivered), (0, 3), "seed {seed}");
            assert!(tally.repeated > 0, "seed {seed}");
            assert_eq!(outgoing.waiting, 0);
            assert!(outgoing.owners.is_empty());
            assert_eq!(incoming.bytes(), 0);
            for (bytes, length) in whole.values().zip(lengths) {
                assert_eq!(bytes, &content(length), "seed {seed}");
            }
            assert_eq!(whole.len(), 3);
        }
    }

    #[test]
    fn silent_receiver_is_given_up_after_a_few_repeats() {
        let start = Instant::now();
        let mut now = start;
        let mut outgoing = Outgoing::new(0);
        assert!(outgoing.push(to(), content(100_000), 1000, now));
        let mut most = poll(&mut outgoing, now).len();
        while let Some(due) = outgoing.deadline() {
            now = due.max(now);
            most = most.max(poll(&mut outgoing, now).len());
        }
        assert_eq!(now - start, PATIENCE);
        let tally = outgoing.tally();
        assert_eq!((tally.given_up, tally.delivered), (1, 0));
        assert!(tally.repeated > 0);
        assert_eq!(most, WINDOW_FIRST);
        assert_eq!(outgoing.waiting, 0);
    }

    /// However well it goes, and however badly.
    #[test]
    fn of_large_chunks_fewer_are_under_way() {
        let mut now = Instant::now();
        let (mut outgoing, mut incoming) = (Outgoing::new(0), Incoming::default());
        outgoing.push(to(), content(3 << 20), 40_000, now);
        let mut counts = Vec::new();
        for round in 0.. {
            let chunks = poll(&mut outgoing, now);
            if chunks.is_empty() {
                break;
            }
            counts.push(chunks.len());
            now += Duration::from_secs(1);
            if round % 4 == 3 {
                continue;
            }
            for chunk in &chunks {
                take_within(
                    &mut incoming,
                    chunk,
                    Limits {
                        message: 4 << 20,
                        ..LIMITS
                    },
                );
            }
            acknowledge(&mut outgoing, &incoming, 1, now);
        }
        assert_eq!(outgoing.tally().delivered, 1);
        counts.pop();
        assert!(
            counts.len() > 12 && counts.iter().all(|count| *count == 6),
            "{counts:?}"
        );
    }

    #[test]
    fn chunk_overtaken_by_three_is_repeated_at_once() {
        let now = Instant::now();
        let (mut outgoing, mut incoming) = (Outgoing::new(0), Incoming::default());
        outgoing.push(to(), content(10_000), 1000, now);
        let chunks = poll(&mut outgoing, now);
        for chunk in &chunks[1..3] {
            take(&mut incoming, chunk);
        }
        acknowledge(&mut outgoing, &incoming, 1, now);
        assert!(poll(&mut outgoing, now).is_empty());
        take(&mut incoming, &chunks[3]);
        acknowledge(&mut outgoing, &incoming, 1, now);
        let again: Vec<u32> = poll(&mut outgoing, now).iter().map(|of| of.1).collect();
        assert_eq!(again, [0]);
        assert_eq!(outgoing.tally().repeated, 1);
    }

    #[test]
    fn what_waits_for_a_receiver_is_bounded() {
        let now = Instant::now();
        let mut outgoing = Outgoing::new(0);
        let mut taken = 0;
        while outgoing.push(to(), content(1 << 20), 1000, now) {
            taken += 1;
        }
        assert_eq!(taken, WAITING >> 20);
        let other = (([127, 0, 0, 1], 2).into(), KeyId::Cluster);
        assert!(outgoing.push(other, content(1 << 20), 1000, now));
    }

    #[test]
    fn word_under_another_key_does_not_count() {
        let now = Instant::now();
        let mut outgoing = Outgoing::new(0);
        outgoing.push(to(), content(2000), 1000, now);
        poll(&mut outgoing, now);
        let of = Acknowledgement {
            message: 1,
            count: 2,
            first: 2,
            bitmap: &[],
        };
        assert_eq!(outgoing.acknowledge(KeyId::Client, &of, now), None);
        assert_eq!(outgoing.tally().delivered, 0);
        assert_eq!(outgoing.acknowledge(KeyId::Cluster, &of, now), Some(to()));
        assert_eq!(outgoing.tally().delivered, 1);
        assert_eq!(outgoing.acknowledge(KeyId::Cluster, &of, now), None);
    }

    #[test]
    fn chunks_that_contradict_or_exceed_are_refused() {
        let mut incoming = Incoming::default();
        assert_eq!(take(&mut incoming, &(1, 0, 2, vec![1])), Taken::Kept);
        assert_eq!(take(&mut incoming, &(1, 0, 2, vec![1])), Taken::Known);
        assert_eq!(take(&mut incoming, &(1, 1, 3, vec![1])), Taken::Contradicts);
        assert_eq!(
            take(&mut incoming, &(1, 1, 2, vec![2, 3])),
            Taken::Whole(vec![1, 2, 3])
        );
        assert_eq!(take(&mut incoming, &(1, 1, 2, vec![2])), Taken::Known);
        assert_eq!(incoming.acknowledgement(1), Some((2, 2, Vec::new())));
        assert_eq!(
            take(&mut incoming, &(2, 0, LIMITS.message as u32 + 1, vec![1])),
            Taken::Oversized
        );
        let large = vec![0; LIMITS.message / 2 + 1];
        assert_eq!(take(&mut incoming, &(3, 0, 3, large.clone())), Taken::Kept);
        assert_eq!(take(&mut incoming, &(3, 1, 3, large)), Taken::Oversized);
        assert_eq!(incoming.bytes(), 0);
        assert_eq!(incoming.acknowledgement(3), None);
        assert_eq!(take(&mut incoming, &(3, 2, 3, vec![1])), Taken::Oversized);
        assert_eq!(incoming.acknowledgement(3), None);
        // Further ahead than a sender goes.
        assert_eq!(
            take(&mut incoming, &(4, SPAN, 9000, vec![1])),
            Taken::Contradicts
        );
        assert_eq!(
            take(&mut incoming, &(4, SPAN - 1, 9000, vec![1])),
            Taken::Kept
        );
        assert_eq!(incoming.bytes(), 1 + BESIDES);
    }

    /// A bulk message of 64 MiB over a way that loses a fifth, repeats a twentieth and lets a tenth
    /// overtake: it arrives whole, and what is said and remembered meanwhile stays little.
    #[test]
    fn bulk_message_arrives_over_a_bad_way_in_bounded_memory() {
        use rand_chacha::{
            ChaCha8Rng,
            rand_core::{RngCore, SeedableRng},
        };
        const LENGTH: usize = 64 << 20;
        const ROUND_TRIP: Duration = Duration::from_millis(1);
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut one_in = move |of: u32| random.next_u32() % of == 0;
        let begun = Instant::now();
        let mut now = begun;
        let (mut outgoing, mut incoming) = (Outgoing::new(0), Incoming::default());
        let whole = content(LENGTH);
        assert!(outgoing.promise(to()));
        assert!(!outgoing.promise(to()), "one is being made already");
        assert!(outgoing.push_bulk(to(), whole.clone(), 1300, now));
        assert!(!outgoing.promise(to()), "one is under way already");
        let mut arrived = None;
        while arrived.is_none() {
            let mut chunks = poll(&mut outgoing, now);
            if chunks.is_empty() {
                now = outgoing.deadline().expect("it is under way").max(now);
                continue;
            }
            for nth in 1..chunks.len() {
                if one_in(10) {
                    chunks.swap(nth - 1, nth);
                }
            }
            now += ROUND_TRIP;
            for chunk in chunks {
                let times = if one_in(5) {
                    0
                } else {
                    1 + usize::from(one_in(20))
                };
                for _ in 0..times {
                    if let Taken::Whole(bytes) = take_within(&mut incoming, &chunk, BULK) {
                        assert!(arrived.replace(bytes).is_none(), "it arrived twice");
                    }
                }
            }
            if let Some((_, _, bitmap)) = incoming.acknowledgement(1) {
                assert!(bitmap.len() <= SPAN as usize / 8);
            }
            assert!(incoming.bytes() <= LIMITS.bytes && incoming.bulk() <= LENGTH + (1 << 20));
            if !one_in(5) {
                acknowledge(&mut outgoing, &incoming, 1, now);
            }
        }
        assert!(arrived.is_some_and(|bytes| bytes == whole));
        let mut tally = outgoing.tally();
        while tally.delivered == 0 {
            assert_eq!(tally.given_up, 0);
            now = outgoing
                .deadline()
                .expect("the last word was lost")
                .max(now);
            poll(&mut outgoing, now);
            acknowledge(&mut outgoing, &incoming, 1, now);
            tally = outgoing.tally();
        }
        assert_eq!((outgoing.bulk, incoming.bulk()), (0, 0));
        assert!(outgoing.promise(to()));
        eprintln!("{:?} of virtual time", now - begun);
    }

    /// What is small does not wait behind what is large, and is not refused because of it.
    #[test]
    fn bulk_message_is_overtaken() {
        let now = Instant::now();
        let (mut outgoing, mut incoming) = (Outgoing::new(0), Incoming::default());
        outgoing.promise(to());
        assert!(outgoing.push_bulk(to(), content(2 * WAITING), 1000, now));
        let first = poll(&mut outgoing, now);
        assert_eq!(first.len(), WINDOW_FIRST);
        assert!(outgoing.push(to(), content(10_000), 1000, now));
        assert!(outgoing.push(to(), content(5_000), 1000, now));
        for chunk in &first {
            take_within(&mut incoming, chunk, BULK);
        }
        acknowledge(&mut outgoing, &incoming, 1, now);
        let then: Vec<u64> = poll(&mut outgoing, now).iter().map(|of| of.0).collect();
        // In the order in which they were sent, though the second is shorter.
        let expected = [[2; 10].as_slice(), &[3; 5]].concat();
        assert_eq!(then[..15], expected);
        assert!(then[15..].iter().all(|message| *message == 1));
    }

    /// A later bulk message of the same run takes the place of one that was given up.
    #[test]
    fn one_bulk_message_of_a_run_is_put_together_at_a_time() {
        let mut incoming = Incoming::default();
        let piece = vec![0; LIMITS.message];
        for message in 1..=2 {
            for index in 0..3 {
                let chunk = (message, index, 9, piece.clone());
                assert_eq!(take_within(&mut incoming, &chunk, BULK), Taken::Kept);
            }
            assert_eq!(incoming.bulk(), 3 * LIMITS.message);
        }
        assert_eq!(incoming.assembling.len(), 1);
        assert_eq!(incoming.clear(), 0);
        assert_eq!(incoming.clear_bulk(), 1);
        assert_eq!((incoming.bytes(), incoming.bulk()), (0, 0));
    }

    #[test]
    fn bulk_messages_together_are_bounded() {
        let now = Instant::now();
        let mut outgoing = Outgoing::new(3 << 20);
        let receivers = [1, 2, 3].map(|port| (([127, 0, 0, 1], port).into(), KeyId::Cluster));
        let taken = receivers.map(|to| {
            assert!(outgoing.promise(to));
            outgoing.push_bulk(to, content(3 << 19), 1000, now)
        });
        assert_eq!(taken, [true, true, false]);
        assert!(outgoing.promise(receivers[2]), "it may be tried again");
    }

    proptest! {
        #[test]
        fn memory_is_bounded_whatever_arrives(
            chunks in prop::collection::vec((0..200_u64, 0..50_u32, 1..100_u32, 1..1500_usize), 0..2000),
            bulk in prop::sample::select(vec![0, 60_000]),
        ) {
            let limits = Limits { message: 20_000, bytes: 50_000, bulk };
            let mut incoming = Incoming::default();
            for (message, index, more, length) in chunks {
                let bytes = vec![0; length];
                let chunk = Chunk { message, index, count: index + more, bytes: &bytes };
                incoming.take(&chunk, limits);
                prop_assert!(incoming.bytes() <= limits.bytes);
                prop_assert!(incoming.bulk() <= bulk + BESIDES * 50);
                prop_assert!(incoming.assembling.len() <= ASSEMBLING);
                let held = |bulk| -> usize {
                    let of = incoming.assembling.iter().filter(|of| of.bulk == bulk);
                    of.map(Assembly::held).sum()
                };
                prop_assert_eq!(held(false), incoming.bytes());
                prop_assert_eq!(held(true), incoming.bulk());
            }
        }
    }
}
