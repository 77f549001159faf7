//! Messages larger than a datagram: cut into chunks, acknowledged, repeated, put together again.
//!
//! What is on its way to one receiver is bounded by a window, which grows while chunks arrive and
//! halves when one is lost, as TCP's does. A chunk is taken for lost when three sent after it were
//! acknowledged, or when no word of it came for as long as round trips suggest (RFC 6298). After a
//! few repeats, or after [`PATIENCE`], the message is given up: the protocol above repeats what
//! matters, and by then has something newer to say.
//!
//! Nothing here reads a clock or sends: time and chunks are passed in and out. Memory is bounded
//! whatever a peer sends: so much for each run of a peer, the oldest message going first, and so
//! much for all ([`crate::peers`]).

use bytes::Bytes;
use model::wire::{Acknowledgement, Chunk, KeyId, bitmap_length};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};
use tokio::time::Instant;

/// How often a chunk is sent at most.
const ATTEMPTS: u8 = 10;
/// How long a message is kept trying.
const PATIENCE: Duration = Duration::from_secs(5);
/// A chunk is lost if so many sent after it arrived.
const OVERTAKEN_BY: u64 = 3;
const WINDOW_FIRST: usize = 32;
const WINDOW_LEAST: usize = 4;
const WINDOW_MOST: usize = 128;
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
    tally: Tally,
}

impl Outgoing {
    pub(crate) fn new() -> Self {
        Self {
            flows: HashMap::new(),
            owners: HashMap::new(),
            next_message: 1,
            waiting: 0,
            tally: Tally::default(),
        }
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
        if self.flows.len() >= FLOWS && !self.flows.contains_key(&to) {
            self.flows.retain(|_, flow| !flow.messages.is_empty());
            if self.flows.len() >= FLOWS {
                return false;
            }
        }
        let flow = self.flows.entry(to).or_insert_with(Flow::new);
        // One message is taken always, however large.
        if !flow.messages.is_empty() && flow.waiting + bytes.len() > WAITING {
            return false;
        }
        let count = u16::try_from(bytes.len().div_ceil(size))
            .expect("a message has no more chunks than a message may have");
        self.waiting += bytes.len();
        flow.waiting += bytes.len();
        self.owners.insert(self.next_message, to);
        flow.messages.push_back(Message {
            id: self.next_message,
            attempts: vec![0; count.into()],
            arrived: vec![false; count.into()],
            missing: count,
            next: 0,
            count,
            size,
            bytes,
            since: now,
        });
        self.next_message += 1;
        true
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
            self.waiting -= message.bytes.len();
            if let Some(flow) = self.flows.get_mut(&to) {
                flow.waiting -= message.bytes.len();
            }
        }
    }
}

/// What is on its way to one receiver.
#[derive(Debug)]
struct Flow {
    messages: VecDeque<Message>,
    waiting: usize,
    /// Chunks of which no word has come, in the order they left.
    flights: VecDeque<Flight>,
    lost: VecDeque<(u64, u16)>,
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
}

#[derive(Debug)]
struct Message {
    id: u64,
    bytes: Bytes,
    size: usize,
    count: u16,
    /// The first chunk that was never sent.
    next: u16,
    attempts: Vec<u8>,
    arrived: Vec<bool>,
    missing: u16,
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    number: u64,
    message: u64,
    index: u16,
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
        let give_up = self.messages.front().map(|oldest| oldest.since + PATIENCE);
        repeat.into_iter().chain(give_up).min()
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
        while self
            .messages
            .front()
            .is_some_and(|oldest| now.duration_since(oldest.since) >= PATIENCE)
        {
            self.give_up(0, tally, ended);
        }
        self.expire(now);
        while self.flights.len() < self.window {
            let Some((place, index)) = self.next_chunk(tally, ended) else {
                break;
            };
            let message = &mut self.messages[place];
            let attempts = &mut message.attempts[usize::from(index)];
            *attempts += 1;
            let first = *attempts == 1;
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
            let start = usize::from(index) * message.size;
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

    /// What to send next: what was lost before what was never sent.
    fn next_chunk(&mut self, tally: &mut Tally, ended: &mut Vec<Message>) -> Option<(usize, u16)> {
        while let Some((id, index)) = self.lost.pop_front() {
            let Some(place) = self.place(id) else {
                continue;
            };
            let message = &self.messages[place];
            if message.arrived[usize::from(index)] {
                continue;
            }
            if message.attempts[usize::from(index)] < ATTEMPTS {
                return Some((place, index));
            }
            self.give_up(place, tally, ended);
        }
        let place = self.messages.iter().position(|of| of.next < of.count)?;
        let message = &mut self.messages[place];
        message.next += 1;
        Some((place, message.next - 1))
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
        if message.count != of.count {
            return;
        }
        for index in 0..message.next {
            let arrived = &mut message.arrived[usize::from(index)];
            if of.has(index) && !*arrived {
                *arrived = true;
                message.missing -= 1;
            }
        }
        let mut latest = None;
        let mut landed = 0;
        let arrived = &message.arrived;
        self.flights.retain(|flight| {
            let lands = flight.message == of.message && arrived[usize::from(flight.index)];
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
    /// The longest message.
    pub(crate) message: usize,
    /// The most chunks of one message.
    pub(crate) chunks: u16,
    /// Bytes of unfinished messages.
    pub(crate) bytes: usize,
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
    /// It says otherwise than the others of its message.
    Contradicts,
    /// Its message is larger than is taken.
    Oversized,
}

/// Messages of one run of a peer on their way in.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    assembling: VecDeque<Assembly>,
    finished: VecDeque<(u64, u16)>,
    bytes: usize,
}

#[derive(Debug)]
struct Assembly {
    message: u64,
    count: u16,
    bytes: usize,
    chunks: BTreeMap<u16, Box<[u8]>>,
}

/// What a chunk takes in memory besides its bytes, roughly.
const BESIDES: usize = 64;

impl Incoming {
    /// Bytes held.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a chunk. Also says how many unfinished messages were dropped to make room.
    pub(crate) fn take(&mut self, chunk: &Chunk<'_>, limits: Limits) -> (Taken, usize) {
        if self.finished.iter().any(|(id, _)| *id == chunk.message) {
            return (Taken::Known, 0);
        }
        if chunk.count > limits.chunks {
            return (Taken::Oversized, 0);
        }
        let mut dropped = 0;
        let found = self
            .assembling
            .iter()
            .position(|of| of.message == chunk.message);
        let place = found.unwrap_or_else(|| {
            if self.assembling.len() >= ASSEMBLING {
                self.drop_assembly(0);
                dropped += 1;
            }
            self.assembling.push_back(Assembly {
                message: chunk.message,
                count: chunk.count,
                bytes: 0,
                chunks: BTreeMap::new(),
            });
            self.assembling.len() - 1
        });
        let assembly = &mut self.assembling[place];
        if assembly.count != chunk.count {
            return (Taken::Contradicts, dropped);
        }
        if assembly.chunks.contains_key(&chunk.index) {
            return (Taken::Known, dropped);
        }
        assembly.bytes += chunk.bytes.len();
        if assembly.bytes > limits.message {
            // What was held of it has been added to the sum, this chunk has not.
            assembly.bytes -= chunk.bytes.len();
            self.drop_assembly(place);
            return (Taken::Oversized, dropped);
        }
        assembly.chunks.insert(chunk.index, chunk.bytes.into());
        self.bytes += chunk.bytes.len() + BESIDES;
        if assembly.chunks.len() == usize::from(assembly.count) {
            return (Taken::Whole(self.finish(place)), dropped);
        }
        // The oldest goes first; the one just added to goes last of all.
        while self.bytes > limits.bytes && self.assembling.len() > 1 {
            let oldest = usize::from(self.assembling[0].message == chunk.message);
            self.drop_assembly(oldest);
            dropped += 1;
        }
        (Taken::Kept, dropped)
    }

    /// Drops everything unfinished. Says how many messages that were.
    pub(crate) fn clear(&mut self) -> usize {
        self.bytes = 0;
        let dropped = self.assembling.len();
        self.assembling.clear();
        dropped
    }

    /// Which chunks of this message arrived: how many it has, and a bit for each.
    pub(crate) fn acknowledgement(&self, message: u64) -> Option<(u16, Vec<u8>)> {
        let mark = |count: u16, arrived: &mut dyn Iterator<Item = u16>| {
            let mut bitmap = vec![0; bitmap_length(count)];
            for index in arrived {
                bitmap[usize::from(index / 8)] |= 1 << (index % 8);
            }
            (count, bitmap)
        };
        if let Some(of) = self.assembling.iter().find(|of| of.message == message) {
            return Some(mark(of.count, &mut of.chunks.keys().copied()));
        }
        let (_, count) = self.finished.iter().find(|(id, _)| *id == message)?;
        Some(mark(*count, &mut (0..*count)))
    }

    fn finish(&mut self, place: usize) -> Vec<u8> {
        let Some(assembly) = self.assembling.remove(place) else {
            return Vec::new();
        };
        self.bytes -= assembly.bytes + assembly.chunks.len() * BESIDES;
        if self.finished.len() >= FINISHED {
            self.finished.pop_front();
        }
        self.finished.push_back((assembly.message, assembly.count));
        let mut whole = Vec::with_capacity(assembly.bytes);
        for chunk in assembly.chunks.values() {
            whole.extend_from_slice(chunk);
        }
        whole
    }

    fn drop_assembly(&mut self, place: usize) {
        if let Some(assembly) = self.assembling.remove(place) {
            self.bytes -= assembly.bytes + assembly.chunks.len() * BESIDES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits {
        message: 1 << 20,
        chunks: 10_000,
        bytes: 2 << 20,
    };

    fn to() -> Destination {
        (([127, 0, 0, 1], 1).into(), KeyId::Cluster)
    }

    fn content(length: usize) -> Bytes {
        (0..length).map(|nth| (nth * 7 % 251) as u8).collect()
    }

    type Owned = (u64, u16, u16, Vec<u8>);

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
        let (message, index, count, ref bytes) = *chunk;
        let chunk = Chunk {
            message,
            index,
            count,
            bytes,
        };
        incoming.take(&chunk, LIMITS).0
    }

    fn acknowledge(outgoing: &mut Outgoing, incoming: &Incoming, message: u64, now: Instant) {
        if let Some((count, bitmap)) = incoming.acknowledgement(message) {
            let of = Acknowledgement {
                message,
                count,
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
            let (mut outgoing, mut incoming) = (Outgoing::new(), Incoming::default());
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
        let mut outgoing = Outgoing::new();
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

    #[test]
    fn chunk_overtaken_by_three_is_repeated_at_once() {
        let now = Instant::now();
        let (mut outgoing, mut incoming) = (Outgoing::new(), Incoming::default());
        outgoing.push(to(), content(10_000), 1000, now);
        let chunks = poll(&mut outgoing, now);
        for chunk in &chunks[1..3] {
            take(&mut incoming, chunk);
        }
        acknowledge(&mut outgoing, &incoming, 1, now);
        assert!(poll(&mut outgoing, now).is_empty());
        take(&mut incoming, &chunks[3]);
        acknowledge(&mut outgoing, &incoming, 1, now);
        let again: Vec<u16> = poll(&mut outgoing, now).iter().map(|of| of.1).collect();
        assert_eq!(again, [0]);
        assert_eq!(outgoing.tally().repeated, 1);
    }

    #[test]
    fn what_waits_for_a_receiver_is_bounded() {
        let now = Instant::now();
        let mut outgoing = Outgoing::new();
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
        let mut outgoing = Outgoing::new();
        outgoing.push(to(), content(2000), 1000, now);
        poll(&mut outgoing, now);
        let of = Acknowledgement {
            message: 1,
            count: 2,
            bitmap: &[0b11],
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
        assert_eq!(incoming.acknowledgement(1), Some((2, vec![0b11])));
        assert_eq!(
            take(&mut incoming, &(2, 0, 10_001, vec![1])),
            Taken::Oversized
        );
        let large = vec![0; LIMITS.message / 2 + 1];
        assert_eq!(take(&mut incoming, &(3, 0, 3, large.clone())), Taken::Kept);
        assert_eq!(take(&mut incoming, &(3, 1, 3, large)), Taken::Oversized);
        assert_eq!(incoming.bytes(), 0);
        assert_eq!(incoming.acknowledgement(3), None);
    }

    proptest! {
        #[test]
        fn memory_is_bounded_whatever_arrives(
            chunks in prop::collection::vec((0..200_u64, 0..50_u16, 1..100_u16, 1..1500_usize), 0..2000),
        ) {
            let limits = Limits { message: 20_000, chunks: 80, bytes: 50_000 };
            let mut incoming = Incoming::default();
            for (message, index, more, length) in chunks {
                let bytes = vec![0; length];
                let chunk = Chunk { message, index, count: index + more, bytes: &bytes };
                incoming.take(&chunk, limits);
                prop_assert!(incoming.bytes() <= limits.bytes);
                prop_assert!(incoming.assembling.len() <= ASSEMBLING);
                let held: usize = incoming.assembling.iter().map(|of| of.bytes + of.chunks.len() * BESIDES).sum();
                prop_assert_eq!(held, incoming.bytes());
            }
        }
    }
}
