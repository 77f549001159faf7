//! Reassembles messages from fragments, in bounded memory for each session of a peer.

use super::{MAX_AHEAD, MAX_RANGES};
use model::wire::{Fragment, RANGE, encode_range};
use std::collections::{BTreeMap, VecDeque};

/// The maximum number of pieces of a message after its first missing byte: more than a sender has in
/// flight with the smallest datagrams.
pub(super) const MAX_PIECES: usize = 8192;
/// The number of complete messages per session whose ids are kept, to acknowledge them again.
const MAX_FINISHED: usize = 256;
/// The maximum number of partial messages per session.
pub(super) const MAX_PARTIAL: usize = 64;

/// The limits of one session of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReassemblyLimits {
    /// The maximum length of a message, bulk excluded.
    pub(crate) message: usize,
    /// The maximum memory of partial messages, bulk excluded.
    pub(crate) bytes: usize,
    /// The maximum length of a bulk message; 0 refuses them.
    pub(crate) bulk: usize,
}

/// The result of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reassembly {
    /// It is buffered; the message is not complete.
    Buffered,
    /// All its bytes were received before.
    Duplicate,
    /// It completed this message.
    Complete(Vec<u8>),
    /// It contradicts earlier fragments of the message, or exceeds [`MAX_AHEAD`] or [`MAX_PIECES`].
    Inconsistent,
    /// Its message exceeds the limits.
    Oversized,
}

/// The partial messages of one session of a peer.
#[derive(Debug, Default)]
pub(crate) struct Reassembler {
    pub(super) partial: VecDeque<PartialMessage>,
    /// The latest complete messages, with their lengths.
    finished: VecDeque<(u64, u32)>,
    bytes: usize,
    bulk: usize,
}

/// A message with missing bytes.
#[derive(Debug)]
pub(super) struct PartialMessage {
    message: u64,
    length: u32,
    /// The bytes before the first missing one.
    start: Vec<u8>,
    /// Pieces after the first missing byte, by offset. They do not overlap.
    ahead: BTreeMap<u32, Box<[u8]>>,
    ahead_bytes: usize,
    pub(super) bulk: bool,
}

/// The approximate memory overhead of a piece, in bytes.
pub(super) const PIECE_OVERHEAD: usize = 64;

impl PartialMessage {
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

    pub(super) fn memory(&self) -> usize {
        self.start.len() + self.ahead_bytes + self.ahead.len() * PIECE_OVERHEAD
    }

    /// The offset of the first missing byte.
    fn first(&self) -> u32 {
        u32::try_from(self.start.len()).unwrap_or(u32::MAX)
    }

    fn take(&mut self, fragment: &Fragment<'_>) -> Reassembly {
        let first = self.first();
        let length = u32::try_from(fragment.bytes.len()).unwrap_or(u32::MAX);
        let end = fragment.offset.saturating_add(length);
        if self.length != fragment.length || end > self.length {
            return Reassembly::Inconsistent;
        }
        if end <= first {
            return Reassembly::Duplicate;
        }
        let Some(ahead) = fragment
            .offset
            .checked_sub(first)
            .filter(|ahead| *ahead > 0)
        else {
            self.extend(&fragment.bytes[(first - fragment.offset) as usize..]);
            return Reassembly::Buffered;
        };
        if ahead >= MAX_AHEAD || self.ahead.len() >= MAX_PIECES {
            return Reassembly::Inconsistent;
        }
        self.keep_ahead(fragment, end)
    }

    /// Buffers the bytes of a fragment that are new.
    fn keep_ahead(&mut self, fragment: &Fragment<'_>, end: u32) -> Reassembly {
        let mut taken = Reassembly::Duplicate;
        let mut from = fragment.offset;
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
            let piece =
                &fragment.bytes[(from - fragment.offset) as usize..(to - fragment.offset) as usize];
            self.ahead_bytes += piece.len();
            self.ahead.insert(from, piece.into());
            taken = Reassembly::Buffered;
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

    /// The received ranges after the first missing byte, encoded; at most [`MAX_RANGES`].
    fn ranges(&self) -> Vec<u8> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (from, piece) in &self.ahead {
            let to = from + piece.len() as u32;
            if let Some((_, end)) = ranges.last_mut()
                && end == from
            {
                *end = to;
            } else if ranges.len() < MAX_RANGES {
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

impl Reassembler {
    /// The memory of partial messages, bulk excluded.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The memory of a partial bulk message.
    pub(crate) const fn bulk(&self) -> usize {
        self.bulk
    }

    /// Adds a fragment. Also returns the number of partial messages dropped to make room.
    pub(crate) fn take(
        &mut self,
        fragment: &Fragment<'_>,
        limits: ReassemblyLimits,
    ) -> (Reassembly, usize) {
        if self.finished.iter().any(|(id, _)| *id == fragment.message) {
            return (Reassembly::Duplicate, 0);
        }
        let length = fragment.length as usize;
        // Without an acknowledgement, the sender's message times out.
        if length > limits.message.max(limits.bulk) {
            return (Reassembly::Oversized, 0);
        }
        let mut dropped = 0;
        let found = self.index(fragment.message);
        if found.is_none() && self.partial.len() >= MAX_PARTIAL {
            self.drop_first(|_| true);
            dropped += 1;
        }
        // Removed first, so that it is not dropped to make room for itself.
        let mut partial = found
            .and_then(|index| self.remove(index))
            .unwrap_or_else(|| {
                let bulk = length > limits.message;
                // A sender has one bulk message at a time, so it has dropped the earlier one.
                dropped += usize::from(bulk && self.drop_first(|of| of.bulk));
                PartialMessage::new(fragment.message, fragment.length, bulk)
            });
        let taken = partial.take(fragment);
        if partial.first() == partial.length {
            if self.finished.len() >= MAX_FINISHED {
                self.finished.pop_front();
            }
            self.finished.push_back((partial.message, partial.length));
            return (Reassembly::Complete(partial.start), dropped);
        }
        // The oldest messages are dropped first; this one stays.
        while !partial.bulk
            && self.bytes + partial.memory() > limits.bytes
            && self.drop_first(|of| !of.bulk)
        {
            dropped += 1;
        }
        let index = found.unwrap_or(self.partial.len());
        self.insert(index.min(self.partial.len()), partial);
        (taken, dropped)
    }

    /// Drops all partial messages, bulk excluded. Returns their number.
    pub(crate) fn clear(&mut self) -> usize {
        self.clear_of(|of| !of.bulk)
    }

    /// Drops the partial bulk message. Returns the number dropped, 0 or 1.
    pub(crate) fn clear_bulk(&mut self) -> usize {
        self.clear_of(|of| of.bulk)
    }

    /// The content of an acknowledgement: the message's length, the first missing byte, and the received
    /// ranges after it.
    pub(crate) fn acknowledgement(&self, message: u64) -> Option<(u32, u32, Vec<u8>)> {
        if let Some(index) = self.index(message) {
            let of = &self.partial[index];
            return Some((of.length, of.first(), of.ranges()));
        }
        let (_, length) = self.finished.iter().find(|(id, _)| *id == message)?;
        Some((*length, *length, Vec::new()))
    }

    fn index(&self, message: u64) -> Option<usize> {
        self.partial.iter().position(|of| of.message == message)
    }

    fn insert(&mut self, index: usize, partial: PartialMessage) {
        *self.sum(partial.bulk) += partial.memory();
        self.partial.insert(index, partial);
    }

    fn remove(&mut self, index: usize) -> Option<PartialMessage> {
        let partial = self.partial.remove(index)?;
        *self.sum(partial.bulk) -= partial.memory();
        Some(partial)
    }

    const fn sum(&mut self, bulk: bool) -> &mut usize {
        if bulk {
            &mut self.bulk
        } else {
            &mut self.bytes
        }
    }

    /// Drops the oldest message that satisfies `of`. Returns whether there was one.
    fn drop_first(&mut self, of: impl Fn(&PartialMessage) -> bool) -> bool {
        let index = self.partial.iter().position(of);
        index.is_some_and(|index| self.remove(index).is_some())
    }

    fn clear_of(&mut self, of: impl Fn(&PartialMessage) -> bool) -> usize {
        let mut dropped = 0;
        while self.drop_first(&of) {
            dropped += 1;
        }
        dropped
    }
}
