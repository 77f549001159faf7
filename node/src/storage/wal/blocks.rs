//! Aligned write buffers: frames are serialized in the layout that they will have on disk.

use postcard::ser_flavors::Flavor;
use std::ops::{Deref, DerefMut};

/// The alignment of direct I/O (`O_DIRECT`), in the file and in memory, in bytes.
pub(crate) const BLOCK: usize = 4096;

/// A buffer that can be written with direct I/O without copying, if the file offset was known
/// before the bytes were added.
#[derive(Default)]
pub(crate) struct Blocks {
    /// One block longer than needed, so that it contains an aligned start.
    memory: Vec<u8>,
    start: usize,
    /// The capacity from the start, in bytes: a whole number of blocks.
    room: usize,
    /// The number of bytes in the first block that precede the contents.
    inside: usize,
    /// The end of the contents, relative to the start.
    end: usize,
}

impl Blocks {
    pub(crate) fn with_room(room: usize) -> Self {
        let mut blocks = Self::default();
        blocks.make_room(room);
        blocks
    }

    /// A buffer of `length` zeros, for the beginning of a file.
    pub(crate) fn zeroed(length: usize) -> Self {
        let mut blocks = Self::with_room(length);
        blocks.end = length;
        blocks
    }

    /// The contents and the rest of their last block. They must be for the beginning of a file.
    pub(crate) fn whole(&mut self) -> &mut [u8] {
        let whole = self.end.next_multiple_of(BLOCK);
        &mut self.memory[self.start..self.start + whole]
    }

    /// The capacity before a reallocation, in bytes.
    pub(crate) const fn room(&self) -> usize {
        self.room
    }

    /// Clears the buffer. The next contents are for this file offset.
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

    /// Pads with zeros to a multiple of `multiple`, which is at most a block.
    pub(crate) fn pad(&mut self, multiple: usize) {
        let missing = self.len().next_multiple_of(multiple) - self.len();
        self.extend(&[0; BLOCK][..missing]);
    }

    /// The contents in whole blocks, for an offset of `inside` bytes within a block. The caller
    /// must fill in the bytes before the contents; those behind them are zero.
    pub(crate) fn laid_out(&mut self, inside: usize) -> &mut [u8] {
        let length = self.len();
        let whole = (inside + length).next_multiple_of(BLOCK);
        if whole > self.room {
            self.make_room(whole);
        }
        let blocks = &mut self.memory[self.start..];
        if inside != self.inside {
            // The actual offset differs from the expected one.
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

/// Appends the output of postcard.
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

    /// The expected file offset, the lengths of the contents, and the actual offset within a block.
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
                    // The caller may write to the bytes before the contents.
                    laid_out[..inside].fill(0xff);
                    prop_assert_eq!(&blocks[..], &expected[..]);
                }
            }
        }
    }
}
