//! Successors on their way to the visited set: those found again a short while later are left out,
//! the rest are gathered by shard, so that a shard is locked for many at once.

use super::visited::{SHARDS, fetch, shard_of};

/// How many successors are gathered for a shard before it is locked.
pub(crate) const BATCH: usize = 64;
/// How many successors are remembered to have been found: few enough for the processor's cache.
const RECENT: usize = 1 << 13;
/// How many wait for memory before they are looked for among the recent ones.
const STAGED: usize = 8;

/// What one thread has found and not yet delivered.
pub(crate) struct Outbox {
    /// Words of a state.
    words: usize,
    /// States found a short while ago, by hash. Most states are found several times, and often by
    /// states that are expanded one after another.
    recent: Vec<u64>,
    staged: Batch<STAGED>,
    /// Whose turn it is among the staged.
    turn: usize,
    boxes: Vec<Batch<BATCH>>,
}

/// Some packed states with their hashes and parents.
pub(crate) struct Batch<const N: usize> {
    words: usize,
    pub(crate) count: usize,
    states: Vec<u64>,
    pub(crate) hashes: [u64; N],
    pub(crate) parents: [u32; N],
}

impl<const N: usize> Batch<N> {
    fn new(words: usize) -> Self {
        Self {
            words,
            count: 0,
            states: vec![0; N * words],
            hashes: [0; N],
            parents: [0; N],
        }
    }

    pub(crate) fn state(&self, place: usize) -> &[u64] {
        &self.states[place * self.words..][..self.words]
    }

    #[inline]
    fn put(&mut self, place: usize, state: &[u64], hash: u64, parent: u32) {
        self.states[place * self.words..][..self.words].copy_from_slice(state);
        self.hashes[place] = hash;
        self.parents[place] = parent;
    }
}

impl Outbox {
    /// An empty one for states that are packed like this one, which was found before.
    pub(crate) fn new(found: &[u64]) -> Self {
        let words = found.len();
        Self {
            words,
            recent: found.repeat(RECENT),
            staged: Batch::new(words),
            turn: 0,
            boxes: (0..SHARDS).map(|_| Batch::new(words)).collect(),
        }
    }

    /// Takes a successor. If a shard's box is full now, that is to be emptied.
    #[inline]
    pub(crate) fn push(&mut self, state: &[u64], hash: u64, parent: u32) -> Option<usize> {
        let recent = self.recent_of(hash);
        fetch(&self.recent[recent]);
        fetch(&self.recent[recent + self.words - 1]);
        let place = self.turn;
        self.turn = (place + 1) % STAGED;
        let full = self.sift(place);
        self.staged.put(place, state, hash, parent);
        self.staged.count = self.staged.count.max(place + 1);
        full
    }

    /// Brings everything to its box, calling `deliver` for each box that is not empty.
    pub(crate) fn flush(&mut self, mut deliver: impl FnMut(usize, &mut Batch<BATCH>)) {
        for place in 0..STAGED {
            if let Some(shard) = self.sift(place) {
                deliver(shard, &mut self.boxes[shard]);
            }
        }
        self.staged.count = 0;
        for (shard, batch) in self.boxes.iter_mut().enumerate() {
            deliver(shard, batch);
        }
    }

    pub(crate) fn of_shard(&mut self, shard: usize) -> &mut Batch<BATCH> {
        &mut self.boxes[shard]
    }

    fn recent_of(&self, hash: u64) -> usize {
        hash as usize % RECENT * self.words
    }

    /// Puts a staged successor into its shard's box unless it was found a short while ago.
    #[inline]
    fn sift(&mut self, place: usize) -> Option<usize> {
        if place >= self.staged.count {
            return None;
        }
        let hash = self.staged.hashes[place];
        let recent = self.recent_of(hash);
        let recent = &mut self.recent[recent..][..self.words];
        let state = self.staged.state(place);
        if is_same(recent, state) {
            return None;
        }
        recent.copy_from_slice(state);
        let shard = shard_of(hash);
        let batch = &mut self.boxes[shard];
        batch.put(batch.count, state, hash, self.staged.parents[place]);
        batch.count += 1;
        (batch.count == BATCH).then_some(shard)
    }
}

/// Equality of short slices of one length without a call.
#[inline]
pub(crate) fn is_same(one: &[u64], other: &[u64]) -> bool {
    let differences = one.iter().zip(other).map(|(one, other)| one ^ other);
    differences.fold(0, |all, one| all | one) == 0
}
