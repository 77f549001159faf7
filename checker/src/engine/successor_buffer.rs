//! Buffers successors before their insertion into the visited set. It drops recent duplicates, and
//! batches the rest by shard, so that one lock of a shard serves many insertions.

use super::visited::{SHARDS, fetch, is_same, shard_of};

/// The number of successors in a batch for one shard.
pub(crate) const BATCH: usize = 64;
/// The number of recent successors that are compared; few enough for the processor's cache.
const RECENT: usize = 1 << 13;
/// The number of successors that wait for a prefetch before the comparison with recent ones.
const STAGED: usize = 8;

/// The successors of one thread that are not inserted yet.
pub(crate) struct SuccessorBuffer {
    /// The number of words of a state.
    words: usize,
    /// Recent successors by hash. Most states are found several times, often from states that are
    /// expanded one after another.
    recent: Vec<u64>,
    staged: Batch<STAGED>,
    /// The next position in `staged`.
    turn: usize,
    batches: Vec<Batch<BATCH>>,
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

    pub(crate) fn state(&self, position: usize) -> &[u64] {
        &self.states[position * self.words..][..self.words]
    }

    #[inline]
    fn put(&mut self, position: usize, state: &[u64], hash: u64, parent: u32) {
        self.states[position * self.words..][..self.words].copy_from_slice(state);
        self.hashes[position] = hash;
        self.parents[position] = parent;
    }
}

impl SuccessorBuffer {
    /// An empty buffer. `found` is any packed state that is already in the visited set.
    pub(crate) fn new(found: &[u64]) -> Self {
        let words = found.len();
        Self {
            words,
            recent: found.repeat(RECENT),
            staged: Batch::new(words),
            turn: 0,
            batches: (0..SHARDS).map(|_| Batch::new(words)).collect(),
        }
    }

    /// Adds a successor. Returns the shard whose batch is full, which the caller must insert.
    #[inline]
    pub(crate) fn push(&mut self, state: &[u64], hash: u64, parent: u32) -> Option<usize> {
        let recent = self.recent_of(hash);
        fetch(&self.recent[recent]);
        fetch(&self.recent[recent + self.words - 1]);
        let position = self.turn;
        self.turn = (position + 1) % STAGED;
        let full = self.sift(position);
        self.staged.put(position, state, hash, parent);
        self.staged.count = self.staged.count.max(position + 1);
        full
    }

    /// Empties the buffer: calls `deliver` for the batch of each shard.
    pub(crate) fn flush(&mut self, mut deliver: impl FnMut(usize, &mut Batch<BATCH>)) {
        for position in 0..STAGED {
            if let Some(shard) = self.sift(position) {
                deliver(shard, &mut self.batches[shard]);
            }
        }
        self.staged.count = 0;
        for (shard, batch) in self.batches.iter_mut().enumerate() {
            deliver(shard, batch);
        }
    }

    pub(crate) fn batch_of(&mut self, shard: usize) -> &mut Batch<BATCH> {
        &mut self.batches[shard]
    }

    fn recent_of(&self, hash: u64) -> usize {
        hash as usize % RECENT * self.words
    }

    /// Moves a staged successor into its batch unless it is a recent duplicate.
    #[inline]
    fn sift(&mut self, position: usize) -> Option<usize> {
        if position >= self.staged.count {
            return None;
        }
        let hash = self.staged.hashes[position];
        let recent = self.recent_of(hash);
        let recent = &mut self.recent[recent..][..self.words];
        let state = self.staged.state(position);
        if is_same(recent, state) {
            return None;
        }
        recent.copy_from_slice(state);
        let shard = shard_of(hash);
        let batch = &mut self.batches[shard];
        batch.put(batch.count, state, hash, self.staged.parents[position]);
        batch.count += 1;
        (batch.count == BATCH).then_some(shard)
    }
}
