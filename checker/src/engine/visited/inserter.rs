//! The insertions of one thread. Recent duplicates are dropped. The other states are batched by shard,
//! so that one lock of a shard serves many insertions.

use super::{
    SHARDS, VisitedSet,
    packing::{MAX_WORDS, Packing},
    shard::{Inserted, is_same},
    shard_and_position, shard_of,
};
use crate::engine::{control::SearchProgress, hash::hash, prefetch::prefetch};
use std::sync::atomic::Ordering;

/// The number of states in a batch for one shard.
const BATCH: usize = 64;
/// The number of recent states that are compared; few enough for the processor's cache.
const RECENT: usize = 1 << 13;
/// The number of states that wait for a prefetch before the comparison with recent ones.
const STAGED: usize = 8;

/// Inserts states into a visited set, and counts the new ones.
pub(crate) struct Inserter<'a, const S: usize> {
    visited: &'a VisitedSet<S>,
    progress: &'a SearchProgress,
    /// The number of words of a state.
    words: usize,
    /// The state that is packed.
    packed: [u64; MAX_WORDS],
    /// Recent states by hash. Most states are found several times, often from states that are expanded
    /// one after another.
    recent: Vec<u64>,
    staged: Batch<STAGED>,
    /// The next position in `staged`.
    turn: usize,
    batches: Vec<Batch<BATCH>>,
    /// The packing for a state that did not fit.
    wider: Option<Packing>,
}

/// Some packed states with their hashes and parents.
struct Batch<const N: usize> {
    words: usize,
    count: usize,
    states: Vec<u64>,
    hashes: [u64; N],
    parents: [u32; N],
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

    fn state(&self, position: usize) -> &[u64] {
        &self.states[position * self.words..][..self.words]
    }

    #[inline]
    fn put(&mut self, position: usize, state: &[u64], hash: u64, parent: u32) {
        self.states[position * self.words..][..self.words].copy_from_slice(state);
        self.hashes[position] = hash;
        self.parents[position] = parent;
    }
}

impl<'a, const S: usize> Inserter<'a, S> {
    /// `known` is the number of any state in the visited set.
    pub(crate) fn new(
        visited: &'a VisitedSet<S>,
        progress: &'a SearchProgress,
        known: u32,
    ) -> Self {
        let words = visited.packing.words();
        let (shard, position) = shard_and_position(known);
        Self {
            visited,
            progress,
            words,
            packed: [0; MAX_WORDS],
            recent: visited.shards[shard].lock().state(position).repeat(RECENT),
            staged: Batch::new(words),
            turn: 0,
            batches: (0..SHARDS).map(|_| Batch::new(words)).collect(),
            wider: None,
        }
    }

    /// Inserts a state, now or in [`Self::flush`]. Returns whether it fits the packing of the visited set.
    #[inline]
    pub(crate) fn insert(&mut self, state: &[u32; S], parent: u32) -> bool {
        let visited = self.visited;
        if !visited.packing.pack(state, &mut self.packed) {
            self.wider = Some(visited.packing.widened(&visited.layout, state));
            return false;
        }
        self.stage(hash(state), parent);
        true
    }

    /// The packing for the state that did not fit.
    pub(crate) fn take_wider(&mut self) -> Option<Packing> {
        self.wider.take()
    }

    /// Inserts all states that wait.
    pub(crate) fn flush(mut self) {
        for position in 0..STAGED {
            self.sift(position);
        }
        for shard in 0..SHARDS {
            self.insert_batch(shard);
        }
    }

    #[inline]
    fn stage(&mut self, hash: u64, parent: u32) {
        let recent = self.recent_of(hash);
        prefetch(&self.recent[recent]);
        prefetch(&self.recent[recent + self.words - 1]);
        let position = self.turn;
        self.turn = (position + 1) % STAGED;
        self.sift(position);
        self.staged
            .put(position, &self.packed[..self.words], hash, parent);
        self.staged.count = self.staged.count.max(position + 1);
    }

    fn recent_of(&self, hash: u64) -> usize {
        hash as usize % RECENT * self.words
    }

    /// Moves a staged state into its batch unless it is a recent duplicate.
    #[inline]
    fn sift(&mut self, position: usize) {
        if position >= self.staged.count {
            return;
        }
        let hash = self.staged.hashes[position];
        let recent = self.recent_of(hash);
        let recent = &mut self.recent[recent..][..self.words];
        let state = self.staged.state(position);
        if is_same(recent, state) {
            return;
        }
        recent.copy_from_slice(state);
        let shard = shard_of(hash);
        let batch = &mut self.batches[shard];
        batch.put(batch.count, state, hash, self.staged.parents[position]);
        batch.count += 1;
        if batch.count == BATCH {
            self.insert_batch(shard);
        }
    }

    /// Inserts the batch of a shard.
    fn insert_batch(&mut self, index: usize) {
        let batch = &mut self.batches[index];
        if batch.count == 0 {
            return;
        }
        let mut shard = self.visited.shards[index].lock();
        let before = shard.len();
        for hash in &batch.hashes[..batch.count] {
            shard.prefetch_entry(*hash);
        }
        for hash in &batch.hashes[..batch.count] {
            shard.prefetch_candidate(*hash);
        }
        for position in 0..batch.count {
            let state = batch.state(position);
            let (hash, parent) = (batch.hashes[position], batch.parents[position]);
            let inserted = shard.insert::<S>(&self.visited.packing, state, hash, parent);
            if inserted == Inserted::Full {
                self.visited.is_full.store(true, Ordering::Relaxed);
            }
        }
        batch.count = 0;
        let new = (shard.len() - before) as u64;
        drop(shard);
        self.progress.states.fetch_add(new, Ordering::Relaxed);
        self.progress.frontier.fetch_add(new, Ordering::Relaxed);
    }
}
