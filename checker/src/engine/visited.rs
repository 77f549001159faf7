//! The visited set: exact states, each with its parent (the state from which it was first reached).
//!
//! It takes and returns states in ids. It stores them packed into words ([`packing`]), in shards by hash
//! ([`shard`]). Each thread inserts through its own [`Inserter`].

mod inserter;
mod packing;
mod shard;
mod state_set;
use super::{hash::hash, state_layout::StateLayout};
pub(crate) use inserter::Inserter;
use packing::MAX_WORDS;
pub(crate) use packing::Packing;
use parking_lot::Mutex;
use shard::Shard;
pub(crate) use state_set::ExploredSet;
use state_set::Segment;
pub use state_set::StateSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// The number of shards. Each has its own lock and grows independently.
pub(crate) const SHARDS: usize = 64;

/// The parent of the initial state.
const ROOT: u32 = u32::MAX;

/// The states found so far. `S` is the number of slots that the search is compiled for.
pub(crate) struct VisitedSet<const S: usize> {
    layout: StateLayout,
    packing: Packing,
    shards: Vec<Mutex<Shard>>,
    /// The number of states of each shard in the levels begun so far.
    begun: [usize; SHARDS],
    segments: Vec<Segment>,
    /// Whether a state was found after all state numbers were used.
    is_full: AtomicBool,
}

impl<const S: usize> VisitedSet<S> {
    pub(crate) fn new(layout: &StateLayout) -> Self {
        let packing = Packing::new(layout);
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::new(packing.words())));
        Self {
            layout: layout.clone(),
            shards: shards.collect(),
            packing,
            begun: [0; SHARDS],
            segments: Vec::new(),
            is_full: AtomicBool::new(false),
        }
    }

    /// Lowers the maximum number of states of each shard; the set must be empty.
    #[cfg(test)]
    pub(crate) fn limit_shards(&mut self, max_states: usize) {
        for shard in &mut self.shards {
            *shard.get_mut() = Shard::with_max_states(self.packing.words(), max_states);
        }
    }

    /// Inserts the initial state.
    pub(crate) fn insert_root(&mut self, state: &[u32; S]) {
        self.repack(self.packing.widened(&self.layout, state));
        let mut words = [0; MAX_WORDS];
        let fits = self.packing.pack(state, &mut words);
        assert!(fits, "the packing was widened for it");
        let (hash, words) = (hash(state), &words[..self.packing.words()]);
        let mut shard = self.shards[shard_of(hash)].lock();
        shard.insert::<S>(&self.packing, words, hash, ROOT);
    }

    /// Reads states by their numbers. `buffer` only keeps its memory between two calls.
    #[inline]
    pub(crate) fn read<'b>(
        &'b self,
        numbers: impl Iterator<Item = u32> + Clone,
        buffer: &'b mut Vec<u64>,
    ) -> impl Iterator<Item = [u32; S]> + 'b {
        for number in numbers.clone() {
            let (shard, position) = shard_and_position(number);
            self.shards[shard].lock().prefetch_state(position);
        }
        buffer.clear();
        for number in numbers {
            let (shard, position) = shard_and_position(number);
            buffer.extend_from_slice(self.shards[shard].lock().state(position));
        }
        let packing = &self.packing;
        let states = buffer.chunks_exact(packing.words());
        states.map(move |words| packing.unpack(words))
    }

    /// A state by its number.
    pub(crate) fn state(&self, number: u32) -> [u32; S] {
        let (shard, position) = shard_and_position(number);
        self.packing
            .unpack(self.shards[shard].lock().state(position))
    }

    /// Calls `each` with the number and the ids of every state found since the last call: a new level.
    pub(crate) fn begin_level(&mut self, mut each: impl FnMut(u32, &[u32; S])) {
        for (index, begun) in self.begun.iter_mut().enumerate() {
            let shard = self.shards[index].get_mut();
            let first = self.segments.last().map_or(0, |segment| segment.end);
            self.segments.push(Segment {
                shard: index,
                first: *begun,
                end: first + shard.len() - *begun,
            });
            for position in *begun..shard.len() {
                let state = self.packing.unpack(shard.state(position));
                each(number_of(index, position), &state);
            }
            *begun = shard.len();
        }
    }

    /// Whether a state was found since the last level began.
    pub(crate) fn has_new(&self) -> bool {
        let mut shards = self.shards.iter().zip(&self.begun);
        shards.any(|(shard, begun)| shard.lock().len() > *begun)
    }

    /// Whether a state was left out, because all state numbers were used.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Packs all states again. Their numbers do not change.
    pub(crate) fn repack(&mut self, packing: Packing) {
        let from = std::mem::replace(&mut self.packing, packing);
        for shard in &mut self.shards {
            shard.get_mut().repack::<S>(&from, &self.packing);
        }
    }

    /// The size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().bytes() as u64).sum()
    }
}

/// The shard of a state, by its hash.
fn shard_of(hash: u64) -> usize {
    (hash >> 58) as usize % SHARDS
}

/// The number of a state among all shards.
fn number_of(shard: usize, position: usize) -> u32 {
    (position * SHARDS + shard) as u32
}

/// The shard of a state, and its position in the shard.
fn shard_and_position(number: u32) -> (usize, usize) {
    (number as usize % SHARDS, number as usize / SHARDS)
}

#[cfg(test)]
mod tests {
    use super::{
        packing::{MAX_WORDS, Packing},
        shard::{Inserted, Shard},
    };
    use crate::engine::{hash::hash, state_layout::StateLayout};
    use crate::step_guard;
    use model::system::Scope;
    use std::collections::HashSet;

    fn layout() -> StateLayout {
        StateLayout::new(&step_guard::transitions(Scope::new("test", "three servers")).initial())
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
