//! Bytes on their way to the disk, laid out in memory as they will lie there.

use postcard::ser_flavors::Flavor;
use std::ops::{Deref, DerefMut};

/// What is written past the system's cache begins and ends at multiples of this, in the file and in
/// memory.
pub(crate) const BLOCK: usize = 4096;

/// Bytes that can be written past the system's cache from where they are, if it was known for which
/// place in a file they are when they were put here.
#[derive(Default)]
pub(crate) struct Blocks {
    /// Longer than needed, so that there is a multiple of [`BLOCK`] to begin at.
    memory: Vec<u8>,
    start: usize,
    /// How many bytes there may be from there on: whole blocks.
    room: usize,
    /// How much of the first block is not ours.
    inside: usize,
    /// Where the bytes end, counted from the start.
    end: usize,
}

impl Blocks {
    pub(crate) fn with_room(room: usize) -> Self {
        let mut blocks = Self::default();
        blocks.make_room(room);
        blocks
    }

    /// So many zeros, for the beginning of a file.
    pub(crate) fn zeroed(length: usize) -> Self {
        let mut blocks = Self::with_room(length);
        blocks.end = length;
        blocks
    }

    /// The bytes and the rest of their last block, which are for the beginning of a file.
    pub(crate) fn whole(&mut self) -> &mut [u8] {
        let whole = self.end.next_multiple_of(BLOCK);
        &mut self.memory[self.start..self.start + whole]
    }

    /// How many bytes there may be before memory is asked for.
    pub(crate) const fn room(&self) -> usize {
        self.room
    }

    /// Forgets all bytes. The next ones are for this place in a file.
    pub(crate) fn begin(&mut self, offset: u64) {
        if self.room == 0 {
            self.make_room(BLOCK);
        }
        self.inside = (offset % BLOCK as u64) as usize;
        self.end = self.inside;
    }

    #[inline]
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        if end > self.room {
            self.make_room(end.max(2 * self.room));
        }
        self.memory[self.start + self.end..self.start + end].copy_from_slice(bytes);
        self.end = end;
    }

    /// Adds zeros, up to a multiple of this, which is no longer than a block.
    pub(crate) fn pad(&mut self, multiple: usize) {
        let missing = self.len().next_multiple_of(multiple) - self.len();
        self.extend(&[0; BLOCK][..missing]);
    }

    /// The bytes in their blocks, for a place that begins so far inside of one. What comes before
    /// them is yet to be filled in; what comes behind is zero.
    pub(crate) fn laid_out(&mut self, inside: usize) -> &mut [u8] {
        let length = self.len();
        let whole = (inside + length).next_multiple_of(BLOCK);
        if whole > self.room {
            self.make_room(whole);
        }
        let blocks = &mut self.memory[self.start..];
        if inside != self.inside {
            // It came to lie elsewhere than was thought.
            blocks.copy_within(self.inside..self.end, inside);
            (self.inside, self.end) = (inside, inside + length);
        }
        blocks[self.end..whole].fill(0);
        &mut blocks[..whole]
    }

    fn make_room(&mut self, room: usize) {
        let room = room.next_multiple_of(BLOCK);
        let mut memory = vec![0; room + BLOCK];
        let start = memory.as_ptr().align_offset(BLOCK);
        memory[start..start + self.end]
            .copy_from_slice(&self.memory[self.start..self.start + self.end]);
        (self.memory, self.start, self.room) = (memory, start, room);
    }
}

impl Deref for Blocks {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.start + self.inside..self.start + self.end]
    }
}

impl DerefMut for Blocks {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start + self.inside..self.start + self.end]
    }
}

/// Postcard adds what it makes.
impl Flavor for &mut Blocks {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.extend(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.extend(&[data]);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// For which place in a file, the lengths of what is added, and where it comes to lie instead.
    fn rounds() -> impl Strategy<Value = Vec<(u64, Vec<usize>, usize)>> {
        let lengths = prop::collection::vec(0_usize..6000, 0..5);
        prop::collection::vec((0_u64..9000, lengths, 0..BLOCK), 1..6)
    }

    proptest! {
        #[test]
        fn bytes_stay_what_they_are_wherever_they_come_to_lie(rounds in rounds()) {
            let mut blocks = Blocks::default();
            for (nth, (offset, lengths, elsewhere)) in rounds.into_iter().enumerate() {
                blocks.begin(offset);
                let mut expected = Vec::new();
                for length in lengths {
                    let byte = |at: usize| 1 + ((nth + at * 7) % 255) as u8;
                    let bytes: Vec<u8> = (0..length).map(byte).collect();
                    blocks.extend(&bytes);
                    expected.extend_from_slice(&bytes);
                    prop_assert_eq!(&blocks[..], &expected[..]);
                }
                blocks.pad(8);
                expected.resize(expected.len().next_multiple_of(8), 0);
                for inside in [offset as usize % BLOCK, elsewhere, 0, elsewhere] {
                    let laid_out = blocks.laid_out(inside);
                    prop_assert_eq!(laid_out.as_ptr().align_offset(BLOCK), 0);
                    let whole = (inside + expected.len()).next_multiple_of(BLOCK);
                    prop_assert_eq!(laid_out.len(), whole);
                    let (ours, behind) = laid_out[inside..].split_at(expected.len());
                    prop_assert_eq!(ours, &expected[..]);
                    prop_assert!(behind.iter().all(|byte| *byte == 0));
                    // Others may write before them.
                    laid_out[..inside].fill(0xff);
                    prop_assert_eq!(&blocks[..], &expected[..]);
                }
            }
        }
    }
}
