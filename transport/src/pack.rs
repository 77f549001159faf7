//! Packs the frames for one receiver into as few datagrams as possible, and datagrams into batches
//! that one system call sends (GSO).
//!
//! All datagrams of a batch but the last must have the same length, so shorter ones are padded to
//! the longest of the batch.

use crate::{path_mtu::Destination, seal::Sealer};
use model::wire::{Frame, HEADER};
use std::ops::Range;

/// The maximum number of bytes in one system call.
const BATCH: usize = 64_000;

/// Sealed datagrams for one receiver, back to back.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) to: Destination,
    pub(crate) bytes: Vec<u8>,
    /// The length of each datagram. The last one may be shorter.
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
    /// The maximum body length, in bytes.
    room: usize,
    bodies: Vec<u8>,
    /// The end of each body.
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

    /// The maximum body length, in bytes.
    pub(crate) const fn room(&self) -> usize {
        self.room
    }

    /// The number of datagrams, and the length of the longest body.
    pub(crate) fn contents(&self) -> (usize, usize) {
        let lengths = (0..self.ends.len()).map(|nth| self.body(nth).len());
        (self.ends.len(), lengths.max().unwrap_or(0))
    }

    /// Adds a frame, to the last datagram if it fits there.
    ///
    /// # Panics
    /// If the frame does not fit into an empty datagram.
    pub(crate) fn push(&mut self, frame: &Frame<'_>) {
        let length = frame.length();
        assert!(length <= self.room, "a frame fits into a datagram");
        let fits = |body: Range<usize>| body.len() + length <= self.room;
        if !self.ends.is_empty() && fits(self.body(self.ends.len() - 1)) {
            self.ends.pop();
        }
        // Reserves room for whole datagrams and doubles it, which bounds the number of
        // reallocations.
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

    /// Seals the collected datagrams, in batches of at most `segments` datagrams.
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
