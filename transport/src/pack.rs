//! Frames for one receiver, put together into as few datagrams as they fit in, and datagrams into
//! batches that the system sends with one call.
//!
//! In such a batch all datagrams but the last must have the same length, so shorter ones are padded
//! to the longest of the batch.

use crate::{path_mtu::Destination, seal::Sealer};
use model::wire::{Frame, HEADER};
use std::ops::Range;

/// The system takes no more bytes than this with one call.
const BATCH: usize = 64_000;

/// Sealed datagrams for one receiver, one after the other.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) to: Destination,
    pub(crate) bytes: Vec<u8>,
    /// The length of each but the last, which may be shorter.
    pub(crate) segment: usize,
}

impl Batch {
    pub(crate) fn datagrams(&self) -> usize {
        self.bytes.len().div_ceil(self.segment)
    }
}

/// Collects frames for one receiver.
#[derive(Debug)]
pub(crate) struct PacketBuilder {
    /// The most bytes of a body.
    room: usize,
    bodies: Vec<u8>,
    /// Where each body ends.
    ends: Vec<usize>,
}

impl PacketBuilder {
    pub(crate) const fn new(room: usize) -> Self {
        Self {
            room,
            bodies: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// The most bytes of a body.
    pub(crate) const fn room(&self) -> usize {
        self.room
    }

    /// How many datagrams there are, and the most bytes of a body among them.
    pub(crate) fn contents(&self) -> (usize, usize) {
        let lengths = (0..self.ends.len()).map(|nth| self.body(nth).len());
        (self.ends.len(), lengths.max().unwrap_or(0))
    }

    /// Adds a frame, to the last datagram if it fits there.
    ///
    /// # Panics
    /// If it fits into no datagram.
    pub(crate) fn push(&mut self, frame: &Frame<'_>) {
        let length = frame.length();
        assert!(length <= self.room, "a frame fits into a datagram");
        let fits = |body: Range<usize>| body.len() + length <= self.room;
        if !self.ends.is_empty() && fits(self.body(self.ends.len() - 1)) {
            self.ends.pop();
        }
        // Room for whole datagrams, doubled: not byte for byte.
        if self.bodies.capacity() - self.bodies.len() < length {
            self.bodies.reserve(self.room.max(self.bodies.len()));
        }
        frame.encode(&mut self.bodies);
        self.ends.push(self.bodies.len());
    }

    fn body(&self, nth: usize) -> Range<usize> {
        let start = nth.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[nth]
    }

    /// Seals what was collected, in batches of so many datagrams at most.
    pub(crate) fn seal(
        self,
        sealer: &Sealer,
        to: Destination,
        segments: usize,
        mut emit: impl FnMut(Batch),
    ) {
        let key = to.1;
        let overhead = Sealer::overhead(key);
        let segments = segments.min(BATCH / (self.room + overhead)).max(1);
        let all: Vec<Range<usize>> = (0..self.ends.len()).map(|nth| self.body(nth)).collect();
        for bodies in all.chunks(segments) {
            let longest = bodies.iter().map(Range::len).max().unwrap_or(0);
            let segment = longest + overhead;
            let last = bodies.last().map_or(0, Range::len) + overhead;
            let mut bytes = vec![0; segment * (bodies.len() - 1) + last];
            for (body, datagram) in bodies.iter().zip(bytes.chunks_mut(segment)) {
                datagram[HEADER..HEADER + body.len()].copy_from_slice(&self.bodies[body.clone()]);
                sealer.seal(key, datagram);
            }
            emit(Batch { to, bytes, segment });
        }
    }
}
