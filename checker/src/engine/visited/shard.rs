//! A shard of the visited set: packed states, their parents, and an index by hash.
//!
//! States are stored in the order of discovery, so each level is a range of positions. The index holds
//! the position and a few hash bits of each state. Two states are equal only if all their words are.

use super::packing::{MAX_WORDS, Packing};
use crate::engine::{hash::hash, prefetch::prefetch};

/// The bits of an index entry for the position; the rest are hash bits.
const POSITION_BITS: u32 = 26;
/// The maximum number of states of a shard: positions count from 1, and 0 is an empty entry.
const MAX_STATES: usize = (1 << POSITION_BITS) - 1;

/// The maximum load of the index, in eighths: keeps linear probing short.
const MAX_LOAD_EIGHTHS: usize = 6;

/// A part of the visited set.
pub(super) struct Shard {
    /// The number of words of a state.
    words: usize,
    states: Chunks<u64>,
    parents: Chunks<u32>,
    index: Vec<u32>,
    /// The maximum number of states.
    max_states: usize,
}

/// The result of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    /// The state is new.
    New,
    /// The state was already in the set.
    Known,
    /// The state is new, and the shard is full.
    Full,
}

/// The bits of a hash that an index entry holds, in their place.
fn tag_of(hash: u64) -> u32 {
    ((hash >> 32) as u32) << POSITION_BITS
}

impl Shard {
    pub(super) fn new(words: usize) -> Self {
        Self {
            words,
            states: Chunks::new(words),
            parents: Chunks::new(1),
            index: vec![0; 1 << 8],
            max_states: MAX_STATES,
        }
    }

    /// A shard with a low maximum.
    #[cfg(test)]
    pub(super) fn with_max_states(words: usize, max_states: usize) -> Self {
        Self {
            max_states,
            ..Self::new(words)
        }
    }

    pub(super) fn len(&self) -> usize {
        self.parents.len()
    }

    pub(super) fn state(&self, position: usize) -> &[u64] {
        self.states.get(position)
    }

    /// Prefetches a state.
    pub(super) fn prefetch_state(&self, position: usize) {
        let state = self.states.get(position);
        prefetch(&state[0]);
        prefetch(&state[state.len() - 1]);
    }

    pub(super) fn parent(&self, position: usize) -> u32 {
        self.parents.get(position)[0]
    }

    /// The size in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.states.bytes() + self.parents.bytes() + self.index.len() * size_of::<u32>()
    }

    fn slot(&self, hash: u64) -> usize {
        (((hash & 0xffff_ffff) * self.index.len() as u64) >> 32) as usize
    }

    /// Prefetches the index entry that [`Self::insert`] reads first.
    pub(super) fn prefetch_entry(&self, hash: u64) {
        prefetch(&self.index[self.slot(hash)]);
    }

    /// Prefetches the state that [`Self::insert`] most likely compares with.
    pub(super) fn prefetch_candidate(&self, hash: u64) {
        let entry = self.index[self.slot(hash)];
        if entry != 0 && (entry ^ tag_of(hash)) >> POSITION_BITS == 0 {
            self.prefetch_state(position_of(entry));
        }
    }

    /// Inserts a state unless it is in the set.
    pub(super) fn insert<const S: usize>(
        &mut self,
        packing: &Packing,
        state: &[u64],
        hash: u64,
        parent: u32,
    ) -> Inserted {
        let Some(slot) = self.free_slot(state, hash) else {
            return Inserted::Known;
        };
        if self.len() >= self.max_states {
            return Inserted::Full;
        }
        self.states.push(state);
        self.parents.push(&[parent]);
        self.index[slot] = tag_of(hash) | self.len() as u32;
        if self.len() >= self.index.len() / 8 * MAX_LOAD_EIGHTHS {
            self.grow::<S>(packing);
        }
        Inserted::New
    }

    /// Whether the shard has a state.
    pub(super) fn contains(&self, state: &[u64], hash: u64) -> bool {
        self.free_slot(state, hash).is_none()
    }

    /// The index slot for a state; `None` if the shard has the state.
    #[inline]
    fn free_slot(&self, state: &[u64], hash: u64) -> Option<usize> {
        let mut slot = self.slot(hash);
        let tag = tag_of(hash);
        loop {
            let entry = self.index[slot];
            if entry == 0 {
                return Some(slot);
            }
            let may_be_equal = (entry ^ tag) >> POSITION_BITS == 0;
            if may_be_equal && is_same(self.states.get(position_of(entry)), state) {
                return None;
            }
            slot += 1;
            if slot == self.index.len() {
                slot = 0;
            }
        }
    }

    /// Grows the index by half. It is rebuilt from the states, so that the old and the new index never
    /// exist together.
    fn grow<const S: usize>(&mut self, packing: &Packing) {
        let size = self.index.len() / 2 * 3;
        self.index = Vec::new();
        self.index = vec![0; size];
        for position in 0..self.len() {
            let hash = hash::<S>(&packing.unpack(self.states.get(position)));
            let mut slot = self.slot(hash);
            while self.index[slot] != 0 {
                slot += 1;
                if slot == size {
                    slot = 0;
                }
            }
            self.index[slot] = tag_of(hash) | (position as u32 + 1);
        }
    }

    /// Packs all states again. Positions and index do not change.
    pub(super) fn repack<const S: usize>(&mut self, from: &Packing, to: &Packing) {
        let mut states = Chunks::new(to.words());
        let mut words = [0; MAX_WORDS];
        for position in 0..self.len() {
            let state: [u32; S] = from.unpack(self.states.get(position));
            let fits = to.pack(&state, &mut words);
            assert!(fits, "a wider packing holds what a narrower one held");
            states.push(&words[..to.words()]);
        }
        self.words = to.words();
        self.states = states;
    }
}

fn position_of(entry: u32) -> usize {
    (entry & MAX_STATES as u32) as usize - 1
}

/// Equality of short slices of equal length, without a call to `memcmp`.
#[inline]
pub(super) fn is_same(one: &[u64], other: &[u64]) -> bool {
    let differences = one.iter().zip(other).map(|(one, other)| one ^ other);
    differences.fold(0, |all, one| all | one) == 0
}

/// A vector of records that grows without moving or doubling.
struct Chunks<T> {
    chunks: Vec<Vec<T>>,
    /// The number of items of a record.
    width: usize,
    len: usize,
}

/// The number of records of a chunk.
const CHUNK: usize = 1 << 10;

impl<T: Copy> Chunks<T> {
    fn new(width: usize) -> Self {
        Self {
            chunks: Vec::new(),
            width,
            len: 0,
        }
    }

    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn get(&self, position: usize) -> &[T] {
        &self.chunks[position / CHUNK][position % CHUNK * self.width..][..self.width]
    }

    fn push(&mut self, record: &[T]) {
        debug_assert_eq!(record.len(), self.width);
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK * self.width));
        }
        let last = self.chunks.last_mut().expect("a chunk was just added");
        last.extend_from_slice(record);
        self.len += 1;
    }

    fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * self.width * size_of::<T>()
    }
}
