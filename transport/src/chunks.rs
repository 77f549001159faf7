//! Messages larger than a datagram: cut into chunks, acknowledged, repeated, put together again.
//!
//! What is on its way to one receiver is bounded by a window, which grows while chunks arrive and
//! halves when one is lost, as TCP's does. A chunk is taken for lost when three sent after it were
//! acknowledged, or when no word of it came for as long as round trips suggest (RFC 6298). A message
//! of which nothing new arrived for [`PATIENCE`] is given up: the protocol above repeats what
//! matters, and by then has something newer to say.
//!
//! A chunk names its place in the message by bytes, and is cut when it leaves, to the length that
//! the path carries at that moment. So a message under way survives a path that comes to carry less:
//! lost bytes are cut anew.
//!
//! A *bulk* message, the state of a server on its way to another, may be a thousand times as large
//! as any other. There is one for each receiver at most, and a receiver takes one from each run of
//! a peer. Whatever else goes there overtakes it. All others leave in the order in which they came:
//! to Raft, entries that were overtaken by later ones look lost, and are sent again. Chunks leave
//! no further than [`SPAN`] ahead of the first byte that is missing, so what is put in order stays
//! little however large the message, and so does an acknowledgement.
//!
//! Nothing here reads a clock or sends: time and chunks are passed in and out. Memory is bounded
//! whatever a peer sends: so much for each run of a peer, the oldest message going first, and so
//! much for all ([`crate::peers`]).

use crate::{config::room_in, path_mtu::FLOOR, ranges::Ranges};
use bytes::Bytes;
use model::wire::{ACKNOWLEDGEMENT, Acknowledgement, Chunk, FRAME, KeyId, RANGE, encode_range};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};
use tokio::time::Instant;

/// How many bytes ahead of the first missing one others leave.
const SPAN: u32 = 2 << 20;
/// The most ranges of an acknowledgement, so that it fits into the smallest datagram there is.
const RANGES: usize = 48;
const _: () = assert!(FRAME + ACKNOWLEDGEMENT + RANGES * RANGE <= room_in(FLOOR));
/// The most pieces of a message that are kept in front of a missing one: more than a sender has ahead
/// in the smallest datagrams there are.
const PIECES: usize = 8192;
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
    pub(crate) fn push_bulk(&mut self, to: Destination, bytes: Bytes, now: Instant) -> bool {
        self.release(to);
        // One is taken always.
        if self.bulk > 0 && self.bulk + bytes.len() > self.bulk_capacity {
            return false;
        }
        let added = self.add(to, bytes, true, now);
        if let Some(flow) = self.flows.get_mut(&to) {
            flow.fresh = Some(now);
        }
        added
    }

    /// Takes a message to be sent in chunks. False if too much is waiting already.
    ///
    /// # Panics
    /// If its bytes cannot be counted by 32 bits; the limit on messages prevents that.
    pub(crate) fn push(&mut self, to: Destination, bytes: Bytes, now: Instant) -> bool {
        if self.waiting + bytes.len() > WAITING_FOR_ALL {
            return false;
        }
        let waits = self.flows.get(&to).map_or(0, |flow| flow.waiting);
        // One message is taken always, however large.
        if waits > 0 && waits + bytes.len() > WAITING {
            return false;
        }
        self.add(to, bytes, false, now)
    }

    fn add(&mut self, to: Destination, bytes: Bytes, bulk: bool, now: Instant) -> bool {
        if self.flows.len() >= FLOWS && !self.flows.contains_key(&to) {
            self.flows.retain(|_, flow| !flow.messages.is_empty());
            if self.flows.len() >= FLOWS {
                return false;
            }
        }
        let length = u32::try_from(bytes.len()).expect("a message is no longer than allowed");
        let flow = self.flows.entry(to).or_insert_with(Flow::new);
        if bulk {
            self.bulk += bytes.len();
        } else {
            self.waiting += bytes.len();
            flow.waiting += bytes.len();
        }
        self.owners.insert(self.next_message, to);
        flow.messages.push_back(Message {
            id: self.next_message,
            arrived: Ranges::default(),
            first: 0,
            next: 0,
            length,
            bytes,
            bulk,
            heard: now,
        });
        self.next_message += 1;
        true
    }

    /// Whether a message that is no bulk is yet to leave, whole or in part, for this receiver.
    pub(crate) fn is_busy(&self, to: Destination) -> bool {
        let unsent = |message: &Message| !message.bulk && message.next < message.length;
        self.flows
            .get(&to)
            .is_some_and(|flow| flow.messages.iter().any(unsent))
    }

    /// The chunks that may leave now for this receiver, with up to `size` bytes of a message each.
    /// Returns whether chunks timed out.
    pub(crate) fn poll(
        &mut self,
        to: Destination,
        size: usize,
        now: Instant,
        mut emit: impl FnMut(Chunk<'_>),
    ) -> bool {
        let Some(flow) = self.flows.get_mut(&to) else {
            return false;
        };
        let mut ended = Vec::new();
        let timed_out = flow.poll(size, now, &mut self.tally, &mut ended, &mut emit);
        self.end(to, &ended);
        timed_out
    }

    /// A chunk did not leave: it was too long. It is cut anew.
    pub(crate) fn refused(&mut self, to: Destination, chunk: &Chunk<'_>) {
        if let Some(flow) = self.flows.get_mut(&to) {
            let (message, from) = (chunk.message, chunk.offset);
            flow.recut(|flight| flight.message == message && flight.from == from);
        }
    }

    /// The path to this receiver comes to carry no more than `size` bytes of a message in a chunk:
    /// longer ones under way are cut anew.
    pub(crate) fn shrunk(&mut self, to: Destination, size: usize) {
        if let Some(flow) = self.flows.get_mut(&to) {
            flow.recut(|flight| (flight.to - flight.from) as usize > size);
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
    /// Bytes to send again: of which message, from where, to where.
    lost: VecDeque<(u64, u32, u32)>,
    next_flight: u64,
    window: usize,
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
    length: u32,
    /// All bytes before this one arrived.
    first: u32,
    /// The first byte that was never sent.
    next: u32,
    /// The bytes after `first` that arrived.
    arrived: Ranges,
    bulk: bool,
    /// When something new of it arrived, or it was taken.
    heard: Instant,
}

impl Message {
    /// Whether bytes that were never sent may be now.
    fn may_go_on(&self) -> bool {
        self.next < self.length && self.next - self.first < SPAN
    }

    /// The first bytes between these that are not known to have arrived.
    fn missing(&self, from: u32, to: u32) -> Option<(u32, u32)> {
        self.arrived.gap(from.max(self.first), to)
    }
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    number: u64,
    message: u64,
    from: u32,
    to: u32,
    at: Instant,
    first: bool,
}

#[derive(Clone, Copy, Debug)]
struct RoundTrip {
    smooth: Duration,
    varies: Duration,
}

impl Flow {
    fn new() -> Self {
        Self {
            messages: VecDeque::new(),
            waiting: 0,
            flights: VecDeque::new(),
            lost: VecDeque::new(),
            next_flight: 0,
            window: WINDOW_FIRST,
            grown_by: 0,
            threshold: WINDOW_MOST,
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
        size: usize,
        now: Instant,
        tally: &mut Tally,
        ended: &mut Vec<Message>,
        emit: &mut impl FnMut(Chunk<'_>),
    ) -> bool {
        self.fresh = None;
        let silent = |message: &Message| now.duration_since(message.heard) >= PATIENCE;
        while let Some(place) = self.messages.iter().position(silent) {
            self.give_up(place, tally, ended);
        }
        let timed_out = self.expire(now);
        let window = self.window.min((WINDOW_BYTES / size).max(1));
        while self.flights.len() < window {
            let Some((place, from, to, first)) = self.next_chunk(size) else {
                break;
            };
            let message = &self.messages[place];
            tally.sent += usize::from(first);
            tally.repeated += usize::from(!first);
            self.flights.push_back(Flight {
                number: self.next_flight,
                message: message.id,
                from,
                to,
                at: now,
                first,
            });
            self.next_flight += 1;
            emit(Chunk {
                message: message.id,
                offset: from,
                length: message.length,
                bytes: &message.bytes[from as usize..to as usize],
            });
        }
        timed_out
    }

    /// Takes for lost what is overdue. Returns whether there was something.
    fn expire(&mut self, now: Instant) -> bool {
        let timeout = self.timeout();
        let overdue = |flight: &Flight| now.duration_since(flight.at) >= timeout;
        if !self.flights.front().is_some_and(overdue) {
            return false;
        }
        self.timeouts += 1;
        self.shrink();
        while self.flights.front().is_some_and(overdue) {
            if let Some(flight) = self.flights.pop_front() {
                self.lost
                    .push_back((flight.message, flight.from, flight.to));
            }
        }
        true
    }

    /// Takes these flights for lost, which is no sign of congestion.
    fn recut(&mut self, of: impl Fn(&Flight) -> bool) {
        let lost = &mut self.lost;
        self.flights.retain(|flight| {
            let goes = of(flight);
            if goes {
                lost.push_back((flight.message, flight.from, flight.to));
            }
            !goes
        });
        self.timeouts = 0;
    }

    /// The bytes to send next, up to so many: what was lost before what was never sent; and whether
    /// it is the latter.
    fn next_chunk(&mut self, size: usize) -> Option<(usize, u32, u32, bool)> {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        while let Some((id, from, to)) = self.lost.pop_front() {
            let Some(place) = self.place(id) else {
                continue;
            };
            let Some((from, end)) = self.messages[place].missing(from, to) else {
                continue;
            };
            let end = end.min(from.saturating_add(size));
            if end < to {
                self.lost.push_front((id, end, to));
            }
            return Some((place, from, end, false));
        }
        let ready = |of: &(usize, &Message)| of.1.may_go_on();
        let ready = self.messages.iter().enumerate().filter(ready);
        let (place, _) = ready.min_by_key(|(_, message)| message.bulk)?;
        let message = &mut self.messages[place];
        let from = message.next;
        message.next = message.length.min(from.saturating_add(size));
        Some((place, from, message.next, true))
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
        if message.length != of.length || of.first > message.next {
            return;
        }
        let mut new = message.arrived.insert(message.first, of.first);
        for (from, to) in of.ranges() {
            // Nothing that was never sent can have arrived.
            new += message.arrived.insert(from, to.min(message.next));
        }
        message.first = message.arrived.advance(message.first);
        if new > 0 {
            message.heard = now;
        }
        let mut latest = None;
        let mut landed = 0;
        let message = &self.messages[place];
        self.flights.retain(|flight| {
            let lands =
                flight.message == of.message && message.missing(flight.from, flight.to).is_none();
            if lands {
                latest = Some(*flight);
                landed += 1;
            }
            !lands
        });
        if message.first == message.length {
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
            self.lost
                .push_back((flight.message, flight.from, flight.to));
            self.flights.pop_front();
        }
        if cut {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        self.window = (self.window / 2).max(WINDOW_LEAST);
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
        self.window = self.window.min(WINDOW_MOST);
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
    /// It contradicts the others of its message, or is further ahead or in more pieces than any
    /// should be.
    Contradicts,
    /// Its message is larger than is taken.
    Oversized,
}

/// Messages of one run of a peer on their way in.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    assembling: VecDeque<Assembly>,
    /// Messages that are complete, and their lengths.
    finished: VecDeque<(u64, u32)>,
    bytes: usize,
    bulk: usize,
}

#[derive(Debug)]
struct Assembly {
    message: u64,
    length: u32,
    /// The bytes before the first that is missing.
    start: Vec<u8>,
    /// Pieces that overtook it, which do not overlap, by their positions; and their bytes.
    ahead: BTreeMap<u32, Box<[u8]>>,
    ahead_bytes: usize,
    bulk: bool,
}

/// What a chunk takes in memory besides its bytes, roughly.
const BESIDES: usize = 64;

impl Assembly {
    const fn new(message: u64, length: u32, bulk: bool) -> Self {
        Self {
            message,
            length,
            start: Vec::new(),
            ahead: BTreeMap::new(),
            ahead_bytes: 0,
            bulk,
        }
    }

    fn held(&self) -> usize {
        self.start.len() + self.ahead_bytes + self.ahead.len() * BESIDES
    }

    /// The position of the first byte that is missing.
    fn first(&self) -> u32 {
        u32::try_from(self.start.len()).unwrap_or(u32::MAX)
    }

    fn take(&mut self, chunk: &Chunk<'_>) -> Taken {
        let first = self.first();
        let length = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
        let end = chunk.offset.saturating_add(length);
        if self.length != chunk.length || end > self.length {
            return Taken::Contradicts;
        }
        if end <= first {
            return Taken::Known;
        }
        let Some(ahead) = chunk.offset.checked_sub(first).filter(|ahead| *ahead > 0) else {
            self.extend(&chunk.bytes[(first - chunk.offset) as usize..]);
            return Taken::Kept;
        };
        if ahead >= SPAN || self.ahead.len() >= PIECES {
            return Taken::Contradicts;
        }
        self.keep_ahead(chunk, end)
    }

    /// Keeps those bytes of a chunk that are not there yet.
    fn keep_ahead(&mut self, chunk: &Chunk<'_>, end: u32) -> Taken {
        let mut taken = Taken::Known;
        let mut from = chunk.offset;
        while from < end {
            let before = self.ahead.range(..=from).next_back();
            if let Some((start, piece)) = before
                && from - start < piece.len() as u32
            {
                from = start + piece.len() as u32;
                continue;
            }
            let next = self.ahead.range(from..end).next();
            let to = next.map_or(end, |(start, _)| *start);
            let piece = &chunk.bytes[(from - chunk.offset) as usize..(to - chunk.offset) as usize];
            self.ahead_bytes += piece.len();
            self.ahead.insert(from, piece.into());
            taken = Taken::Kept;
            from = to;
        }
        taken
    }

    fn extend(&mut self, bytes: &[u8]) {
        self.start.extend_from_slice(bytes);
        while let Some(next) = self.ahead.first_entry()
            && let Some(overlap) = (self.start.len() as u64).checked_sub(u64::from(*next.key()))
        {
            let piece = next.remove();
            self.ahead_bytes -= piece.len();
            let new = piece.get(overlap as usize..).unwrap_or_default();
            self.start.extend_from_slice(new);
        }
    }

    /// The ranges that arrived after the first missing byte: the first ones, if there are too many to
    /// name.
    fn ranges(&self) -> Vec<u8> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (from, piece) in &self.ahead {
            let to = from + piece.len() as u32;
            if let Some((_, end)) = ranges.last_mut()
                && end == from
            {
                *end = to;
            } else if ranges.len() < RANGES {
                ranges.push((*from, to));
            } else {
                break;
            }
        }
        let mut encoded = Vec::with_capacity(ranges.len() * RANGE);
        for range in ranges {
            encode_range(range, &mut encoded);
        }
        encoded
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
        let length = chunk.length as usize;
        // No word of it goes back, so that it is given up.
        if length > limits.message.max(limits.bulk) {
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
            .unwrap_or_else(|| {
                let bulk = length > limits.message;
                // Whoever sends one has given up the one before.
                dropped += usize::from(bulk && self.drop_first(|of| of.bulk));
                Assembly::new(chunk.message, chunk.length, bulk)
            });
        let taken = assembly.take(chunk);
        if assembly.first() == assembly.length {
            if self.finished.len() >= FINISHED {
                self.finished.pop_front();
            }
            self.finished.push_back((assembly.message, assembly.length));
            return (Taken::Whole(assembly.start), dropped);
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

    /// What arrived of this message: its length, the first byte that is missing, and the ranges
    /// after that one, as in [`Acknowledgement`].
    pub(crate) fn acknowledgement(&self, message: u64) -> Option<(u32, u32, Vec<u8>)> {
        if let Some(place) = self.place(message) {
            let of = &self.assembling[place];
            return Some((of.length, of.first(), of.ranges()));
        }
        let (_, length) = self.finished.iter().find(|(id, _)| *id == message)?;
        Some((*length, *length, Vec::new()))
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

    /// Message, offset, length of the message, bytes.
    type Owned = (u64, u32, u32, Vec<u8>);

    fn poll(outgoing: &mut Outgoing, now: Instant) -> Vec<Owned> {
        poll_in(outgoing, 1000, now)
    }

    fn poll_in(outgoing: &mut Outgoing, size: usize, now: Instant) -> Vec<Owned> {
        let mut chunks = Vec::new();
        outgoing.poll(to(), size, now, |chunk| {
            assert!(chunk.bytes.len() <= size);
            chunks.push((
                chunk.message,
                chunk.offset,
                chunk.length,
                chunk.bytes.to_vec(),
            ));
        });
        chunks
    }

    fn take(incoming: &mut Incoming, chunk: &Owned) -> Taken {
        take_within(incoming, chunk, LIMITS)
    }

    fn take_within(incoming: &mut Incoming, chunk: &Owned, limits: Limits) -> Taken {
        let (message, offset, length, ref bytes) = *chunk;
        let chunk = Chunk {
            message,
            offset,
            length,
            bytes,
        };
        incoming.take(&chunk, limits).0
    }

    fn acknowledge(outgoing: &mut Outgoing, incoming: &Incoming, message: u64, now: Instant) {
        if let Some((length, first, ranges)) = incoming.acknowledgement(message) {
            let of = Acknowledgement {
                message,
                length,
                first,
                ranges: &ranges,
            };
            outgoing.acknowledge(KeyId::Cluster, &of, now);
        }
    }

    /// Both directions lose a tenth, and the path carries more and less all the while; three messages
    /// still arrive whole, and nothing is left of them.
    #[test]
    fn lost_chunks_and_acknowledgements_are_made_up_for() {
        use rand_chacha::{
            ChaCha8Rng,
            rand_core::{RngCore, SeedableRng},
        };
        for seed in 0..100 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let lengths = [(); 3].map(|()| 1 + random.next_u32() as usize % 60_000);
            let mut sizes = random.clone();
            let mut lost = move || random.next_u32() % 10 == 0;
            let mut now = Instant::now();
            let (mut outgoing, mut incoming) = (Outgoing::new(0), Incoming::default());
            for length in lengths {
                assert!(outgoing.push(to(), content(length), now));
            }
            let mut whole = BTreeMap::new();
            while let Some(due) = outgoing.deadline() {
                let size = 100 + sizes.next_u32() as usize % 1900;
                let chunks = poll_in(&mut outgoing, size, now);
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
        assert!(outgoing.push(to(), content(100_000), now));
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
        outgoing.push(to(), content(3 << 20), now);
        let mut counts = Vec::new();
        for round in 0.. {
            let chunks = poll_in(&mut outgoing, 40_000, now);
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
        outgoing.push(to(), content(10_000), now);
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
        while outgoing.push(to(), content(1 << 20), now) {
            taken += 1;
        }
        assert_eq!(taken, WAITING >> 20);
        let other = (([127, 0, 0, 1], 2).into(), KeyId::Cluster);
        assert!(outgoing.push(other, content(1 << 20), now));
    }

    #[test]
    fn word_under_another_key_does_not_count() {
        let now = Instant::now();
        let mut outgoing = Outgoing::new(0);
        outgoing.push(to(), content(2000), now);
        poll(&mut outgoing, now);
        let of = Acknowledgement {
            message: 1,
            length: 2000,
            first: 2000,
            ranges: &[],
        };
        assert_eq!(outgoing.acknowledge(KeyId::Client, &of, now), None);
        assert_eq!(outgoing.tally().delivered, 0);
        assert_eq!(outgoing.acknowledge(KeyId::Cluster, &of, now), Some(to()));
        assert_eq!(outgoing.tally().delivered, 1);
        assert_eq!(outgoing.acknowledge(KeyId::Cluster, &of, now), None);
    }

    /// A path that comes to carry less: what is under way is cut anew at once, whatever its length
    /// was, and what had arrived already is not sent again.
    #[test]
    fn chunks_under_way_are_cut_anew_when_the_path_carries_less() {
        let now = Instant::now();
        let (mut outgoing, mut incoming) = (Outgoing::new(0), Incoming::default());
        outgoing.push(to(), content(10_000), now);
        let long = poll_in(&mut outgoing, 3000, now);
        assert_eq!(long.len(), 4);
        take(&mut incoming, &long[1]);
        acknowledge(&mut outgoing, &incoming, 1, now);
        outgoing.shrunk(to(), 700);
        let short = poll_in(&mut outgoing, 700, now);
        let lengths: Vec<usize> = short.iter().map(|of| of.3.len()).collect();
        assert_eq!(lengths.iter().sum::<usize>(), 7000, "{lengths:?}");
        assert!(short.iter().all(|of| !(3000..6000).contains(&of.1)));
        // The first of the long ones arrives late, and overlaps.
        take(&mut incoming, &long[0]);
        let whole = short.iter().map(|chunk| take(&mut incoming, chunk));
        let whole = whole.filter(|taken| *taken == Taken::Whole(content(10_000).to_vec()));
        assert_eq!(whole.count(), 1);
        acknowledge(&mut outgoing, &incoming, 1, now);
        assert_eq!(outgoing.tally().delivered, 1);
    }

    #[test]
    fn refused_chunk_is_cut_anew_at_once() {
        let now = Instant::now();
        let mut outgoing = Outgoing::new(0);
        let whole = content(1400);
        outgoing.push(to(), whole.clone(), now);
        assert_eq!(poll_in(&mut outgoing, 1400, now).len(), 1);
        let refused = Chunk {
            message: 1,
            offset: 0,
            length: 1400,
            bytes: &whole,
        };
        outgoing.refused(to(), &refused);
        let again = poll_in(&mut outgoing, 900, now);
        let cuts: Vec<_> = again.iter().map(|of| (of.1, of.3.len())).collect();
        assert_eq!(cuts, [(0, 900), (900, 500)]);
        assert_eq!(outgoing.tally().repeated, 2);
    }

    #[test]
    fn chunks_that_contradict_or_exceed_are_refused() {
        let mut incoming = Incoming::default();
        assert_eq!(take(&mut incoming, &(1, 0, 3, vec![1])), Taken::Kept);
        assert_eq!(take(&mut incoming, &(1, 0, 3, vec![1])), Taken::Known);
        assert_eq!(take(&mut incoming, &(1, 1, 4, vec![1])), Taken::Contradicts);
        assert_eq!(
            take(&mut incoming, &(1, 2, 3, vec![1, 2])),
            Taken::Contradicts
        );
        assert_eq!(
            take(&mut incoming, &(1, 1, 3, vec![2, 3])),
            Taken::Whole(vec![1, 2, 3])
        );
        assert_eq!(take(&mut incoming, &(1, 1, 3, vec![2])), Taken::Known);
        assert_eq!(incoming.acknowledgement(1), Some((3, 3, Vec::new())));
        assert_eq!(
            take(&mut incoming, &(2, 0, LIMITS.message as u32 + 1, vec![1])),
            Taken::Oversized
        );
        assert_eq!(incoming.acknowledgement(2), None);
        assert_eq!(incoming.bytes(), 0);
        // Further ahead than a sender goes.
        let length = 64 << 20;
        let far = (4, SPAN, length, vec![1]);
        assert_eq!(take_within(&mut incoming, &far, BULK), Taken::Contradicts);
        let near = (4, SPAN - 1, length, vec![1]);
        assert_eq!(take_within(&mut incoming, &near, BULK), Taken::Kept);
        assert_eq!(incoming.bulk(), 1 + BESIDES);
        // In more pieces than a sender has under way.
        let piece = |nth: usize| (4, 2 + 2 * nth as u32, length, vec![1]);
        for nth in 1..PIECES {
            let taken = take_within(&mut incoming, &piece(nth), BULK);
            assert_eq!(taken, Taken::Kept);
        }
        let taken = take_within(&mut incoming, &piece(PIECES), BULK);
        assert_eq!(taken, Taken::Contradicts);
        let (_, first, ranges) = incoming.acknowledgement(4).unwrap();
        assert_eq!((first, ranges.len()), (0, RANGES * RANGE));
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
        assert!(outgoing.push_bulk(to(), whole.clone(), now));
        assert!(!outgoing.promise(to()), "one is under way already");
        let mut arrived = None;
        while arrived.is_none() {
            let mut chunks = poll_in(&mut outgoing, 1300, now);
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
            if let Some((_, _, ranges)) = incoming.acknowledgement(1) {
                assert!(ranges.len() <= RANGES * RANGE);
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
        assert!(outgoing.push_bulk(to(), content(2 * WAITING), now));
        let first = poll(&mut outgoing, now);
        assert_eq!(first.len(), WINDOW_FIRST);
        assert!(outgoing.push(to(), content(10_000), now));
        assert!(outgoing.push(to(), content(5_000), now));
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
                let length = LIMITS.message as u32;
                let chunk = (message, index * length, 9 * length, piece.clone());
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
            outgoing.push_bulk(to, content(3 << 19), now)
        });
        assert_eq!(taken, [true, true, false]);
        assert!(outgoing.promise(receivers[2]), "it may be tried again");
    }

    proptest! {
        /// However a message is cut, in whatever order and however often its pieces come.
        #[test]
        fn pieces_that_overlap_make_the_message(
            length in 1..3000_usize,
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 1..700_usize), 0..60),
            sizes in prop::collection::vec(1..900_usize, 1..5),
        ) {
            let whole = content(length);
            let mut incoming = Incoming::default();
            let mut made = None;
            let tiled = sizes.iter().cycle().scan(0, |at, size| {
                let start = *at;
                *at += size;
                (start < length).then_some((start, *size))
            });
            let cuts = cuts.into_iter().map(|(at, size)| (at.index(length), size));
            for (start, size) in cuts.chain(tiled) {
                let bytes = &whole[start..length.min(start + size)];
                let chunk = (1, start as u32, length as u32, bytes.to_vec());
                if let Taken::Whole(bytes) = take(&mut incoming, &chunk) {
                    prop_assert!(made.replace(bytes).is_none());
                }
                let held: usize = incoming.assembling.iter().map(Assembly::held).sum();
                prop_assert_eq!(incoming.bytes(), held);
            }
            prop_assert_eq!(made.as_deref(), Some(&whole[..]));
        }

        #[test]
        fn memory_is_bounded_whatever_arrives(
            chunks in prop::collection::vec((0..200_u64, 0..40_000_u32, 1..40_000_u32, 1..1500_usize), 0..2000),
            bulk in prop::sample::select(vec![0, 60_000]),
        ) {
            let limits = Limits { message: 20_000, bytes: 50_000, bulk };
            let mut incoming = Incoming::default();
            for (message, offset, length, size) in chunks {
                let bytes = vec![0; size];
                let chunk = Chunk { message, offset, length, bytes: &bytes };
                incoming.take(&chunk, limits);
                prop_assert!(incoming.bytes() <= limits.bytes);
                prop_assert!(incoming.bulk() <= bulk + BESIDES * 2000);
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
