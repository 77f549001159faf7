//! The visited set: exact states, each with its parent (the state from which it was first reached).
//!
//! States are packed and stored in the order of discovery, so each level is a range of positions. The
//! index holds the position and a few hash bits of each state. Two states are equal only if all their
//! words are.

use super::state_layout::{MAX_WORDS, Packing, hash};

/// The number of shards. Each has its own lock and grows independently.
pub(crate) const SHARDS: usize = 64;

/// The bits of an index entry for the position; the rest are hash bits.
const POSITION_BITS: u32 = 26;
/// The maximum number of states of a shard: positions count from 1, and 0 is an empty entry.
const MOST: usize = (1 << POSITION_BITS) - 1;

/// The maximum load of the index, in eighths: keeps linear probing short.
const MAX_LOAD_EIGHTHS: usize = 6;

/// A part of the visited set.
pub(crate) struct Shard {
    /// The number of words of a state.
    words: usize,
    states: Chunks<u64>,
    parents: Chunks<u32>,
    index: Vec<u32>,
    /// The maximum number of states.
    most: usize,
}

/// The result of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// The state is new.
    New,
    /// The state was already in the set.
    Known,
    /// The state is new, and the shard is full.
    Full,
}

/// The shard of a state, by its hash.
pub(crate) fn shard_of(hash: u64) -> usize {
    (hash >> 58) as usize % SHARDS
}

fn tag_of(hash: u64) -> u32 {
    ((hash >> 32) as u32) << POSITION_BITS
}

impl Shard {
    pub(crate) fn new(words: usize) -> Self {
        Self {
            words,
            states: Chunks::new(words),
            parents: Chunks::new(1),
            index: vec![0; 1 << 8],
            most: MOST,
        }
    }

    /// A shard with a low maximum.
    #[cfg(test)]
    pub(crate) fn of_at_most(words: usize, most: usize) -> Self {
        Self {
            most,
            ..Self::new(words)
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.parents.len()
    }

    pub(crate) fn state(&self, position: usize) -> &[u64] {
        self.states.get(position)
    }

    /// Prefetches a state.
    pub(crate) fn prefetch_at(&self, position: usize) {
        let state = self.states.get(position);
        fetch(&state[0]);
        fetch(&state[state.len() - 1]);
    }

    pub(crate) fn parent(&self, position: usize) -> u32 {
        self.parents.get(position)[0]
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.states.bytes() + self.parents.bytes() + self.index.len() * size_of::<u32>()
    }

    fn slot(&self, hash: u64) -> usize {
        (((hash & 0xffff_ffff) * self.index.len() as u64) >> 32) as usize
    }

    /// Prefetches the index entry that [`Self::insert`] reads first.
    pub(crate) fn prefetch(&self, hash: u64) {
        fetch(&self.index[self.slot(hash)]);
    }

    /// Prefetches the state that [`Self::insert`] most likely compares with.
    pub(crate) fn prefetch_state(&self, hash: u64) {
        let held = self.index[self.slot(hash)];
        if held != 0 && (held ^ tag_of(hash)) >> POSITION_BITS == 0 {
            self.prefetch_at(index_of(held));
        }
    }

    /// Inserts a state unless it is in the set.
    pub(crate) fn insert<const S: usize>(
        &mut self,
        packing: &Packing,
        state: &[u64],
        hash: u64,
        parent: u32,
    ) -> Inserted {
        let mut slot = self.slot(hash);
        let tag = tag_of(hash);
        loop {
            let held = self.index[slot];
            if held == 0 {
                break;
            }
            if (held ^ tag) >> POSITION_BITS == 0 && is_same(self.states.get(index_of(held)), state)
            {
                return Inserted::Known;
            }
            slot += 1;
            if slot == self.index.len() {
                slot = 0;
            }
        }
        if self.len() >= self.most {
            return Inserted::Full;
        }
        self.states.push(state);
        self.parents.push(&[parent]);
        self.index[slot] = tag | self.len() as u32;
        if self.len() >= self.index.len() / 8 * MAX_LOAD_EIGHTHS {
            self.grow::<S>(packing);
        }
        Inserted::New
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
    pub(crate) fn repack<const S: usize>(&mut self, from: &Packing, to: &Packing) {
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

fn index_of(held: u32) -> usize {
    (held & MOST as u32) as usize - 1
}

/// Prefetches a value.
#[inline]
pub(crate) fn fetch<T>(item: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch affects only caches, and the address is that of a live value.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = item;
}

/// Equality of short slices of equal length, without a call to `memcmp`.
#[inline]
pub(crate) fn is_same(one: &[u64], other: &[u64]) -> bool {
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
        let last = self.chunks.last_mut().expect("a chunk was just made");
        last.extend_from_slice(record);
        self.len += 1;
    }

    fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * self.width * size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::state_layout::StateLayout, *};
    use model::system::{Scope, TransitionSystem};
    use std::collections::HashSet;

    fn layout() -> StateLayout {
        let scope = Scope::new("test", "three servers");
        StateLayout::of(&TransitionSystem::new(scope).initial())
    }

    /// Three servers have ten slots.
    type State = [u32; 10];

    fn insert(shard: &mut Shard, packing: &Packing, state: &State, hash: u64) -> bool {
        let mut words = [0; MAX_WORDS];
        assert!(packing.pack(state, &mut words));
        shard.insert::<10>(packing, &words[..packing.words()], hash, 0) == Inserted::New
    }

    #[test]
    fn set_agrees_with_the_standard_one_through_growth() {
        let layout = layout();
        let packing = Packing::new(&layout);
        let mut shard = Shard::new(packing.words());
        let mut plain = HashSet::new();
        for number in 0..200_000_u32 {
            let mut state: State = [0; 10];
            state[0] = number % 1000;
            state[4] = number % 70;
            state[9] = number % 3;
            let is_new = insert(&mut shard, &packing, &state, hash(&state));
            assert_eq!(is_new, plain.insert(state));
        }
        assert_eq!(shard.len(), plain.len());
    }

    #[test]
    fn states_with_equal_hashes_stay_apart() {
        let layout = layout();
        let packing = Packing::new(&layout);
        let mut shard = Shard::new(packing.words());
        for number in 0..100 {
            let mut state: State = [0; 10];
            state[1] = number;
            assert!(insert(&mut shard, &packing, &state, 7));
            assert!(!insert(&mut shard, &packing, &state, 7));
        }
        assert_eq!(shard.len(), 100);
    }

    #[test]
    fn states_are_the_same_after_repacking() {
        let layout = layout();
        let narrow = Packing::new(&layout);
        let mut shard = Shard::new(narrow.words());
        let state = |number: u32| {
            let mut state: State = [number % 7; 10];
            state[2] = number % 1000;
            state
        };
        for number in 0..1000 {
            let state = state(number);
            assert!(insert(&mut shard, &narrow, &state, hash(&state)));
        }
        let mut large = state(0);
        large[5] = 1 << 20;
        let wide = narrow.widened(&layout, &large);
        shard.repack::<10>(&narrow, &wide);
        for number in 0..1000 {
            let state = state(number);
            assert!(!insert(&mut shard, &wide, &state, hash(&state)));
        }
        assert!(insert(&mut shard, &wide, &large, hash(&large)));
    }
}
