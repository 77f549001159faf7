//! The visited set: states stored exactly, each with the state it was first reached from.
//!
//! States lie in the order of discovery, so that the frontier is a range of them and needs no
//! memory of its own. The index holds, for each state, 32 bits of its hash and its place; two
//! states are the same only if all their words are. Each shard belongs to one thread.

/// A part of the visited set. `W` is the number of words of a state.
pub(crate) struct Shard<const W: usize> {
    states: Chunks<[u32; W]>,
    parents: Chunks<u32>,
    /// 0 is empty; otherwise the hash's upper half, and the place plus one.
    index: Vec<u64>,
}

/// How full the index may get, in eighths: linear probing stays short.
const MAX_LOAD_EIGHTHS: usize = 6;

/// Mixes the words of a state. Used to find a state, never to identify it.
pub(crate) fn hash<const W: usize>(state: &[u32; W]) -> u64 {
    let mut mixed = 0x9e37_79b9_7f4a_7c15_u64;
    for word in state {
        let product = u128::from(mixed ^ u64::from(*word)) * 0xe703_7ed1_a0b4_28db;
        mixed = (product as u64) ^ ((product >> 64) as u64);
    }
    mixed
}

impl<const W: usize> Shard<W> {
    pub(crate) fn new() -> Self {
        Self {
            states: Chunks::new(),
            parents: Chunks::new(),
            index: vec![0; 1 << 12],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    pub(crate) fn state(&self, place: usize) -> &[u32; W] {
        self.states.get(place)
    }

    pub(crate) fn parent(&self, place: usize) -> u32 {
        *self.parents.get(place)
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.states.bytes() + self.parents.bytes() + self.index.capacity() * 8
    }

    /// Bytes the next growth of the index will need beside those held.
    pub(crate) fn growth_bytes(&self) -> usize {
        self.index.len() * 4
    }

    fn slot(&self, hash: u64) -> usize {
        // The lower half picks the slot; the upper half is compared.
        (((hash & 0xffff_ffff) * self.index.len() as u64) >> 32) as usize
    }

    /// Asks the processor to fetch what [`Self::insert`] will look at first.
    pub(crate) fn prefetch(&self, hash: u64) {
        fetch(&self.index[self.slot(hash)]);
    }

    /// Asks the processor to fetch the state that [`Self::insert`] will most likely compare with.
    pub(crate) fn prefetch_state(&self, hash: u64) {
        let held = self.index[self.slot(hash)];
        if held != 0 && held >> 32 == hash >> 32 {
            fetch(self.states.get((held as u32 - 1) as usize));
        }
    }

    /// Adds a state unless it is there. Says whether it is new.
    ///
    /// # Panics
    /// If the shard is full: `2^32 - 2` states. The search stops before.
    pub(crate) fn insert(&mut self, state: &[u32; W], hash: u64, parent: u32) -> bool {
        let mut slot = self.slot(hash);
        let tag = hash >> 32;
        loop {
            let held = self.index[slot];
            if held == 0 {
                break;
            }
            if held >> 32 == tag && self.states.get((held as u32 - 1) as usize) == state {
                return false;
            }
            slot += 1;
            if slot == self.index.len() {
                slot = 0;
            }
        }
        self.states.push(*state);
        self.parents.push(parent);
        let place = u32::try_from(self.states.len()).expect("a shard holds fewer than 2^32 states");
        self.index[slot] = tag << 32 | u64::from(place);
        if self.states.len() >= self.index.len() / 8 * MAX_LOAD_EIGHTHS {
            self.grow();
        }
        true
    }

    /// Makes the index half as large again, from the states themselves: old and new index never
    /// exist together.
    fn grow(&mut self) {
        let size = self.index.len() / 2 * 3;
        self.index = Vec::new();
        self.index = vec![0; size];
        for place in 0..self.states.len() {
            let hash = hash(self.states.get(place));
            let mut slot = self.slot(hash);
            while self.index[slot] != 0 {
                slot += 1;
                if slot == size {
                    slot = 0;
                }
            }
            self.index[slot] = (hash >> 32) << 32 | (place as u64 + 1);
        }
    }
}

fn fetch<T>(item: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching has no effect but on caches, and the address is of a live value.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = item;
}

/// A vector that grows without moving or doubling.
struct Chunks<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

const CHUNK: usize = 1 << 16;

impl<T> Chunks<T> {
    fn new() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, place: usize) -> &T {
        &self.chunks[place / CHUNK][place % CHUNK]
    }

    fn push(&mut self, item: T) {
        if self.len.is_multiple_of(CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.last_mut().expect("a chunk was just made");
        last.push(item);
        self.len += 1;
    }

    fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn set_agrees_with_the_standard_one_through_growth() {
        let mut shard = Shard::<2>::new();
        let mut plain = HashSet::new();
        for number in 0..200_000_u32 {
            let state = [number % 70_000, number % 3];
            let fresh = shard.insert(&state, hash(&state), number);
            assert_eq!(fresh, plain.insert(state));
        }
        assert_eq!(shard.len(), plain.len());
    }

    #[test]
    fn states_with_equal_hashes_stay_apart() {
        let mut shard = Shard::<1>::new();
        for number in 0..100 {
            assert!(shard.insert(&[number], 7, 0));
            assert!(!shard.insert(&[number], 7, 0));
        }
        assert_eq!(shard.len(), 100);
    }
}
