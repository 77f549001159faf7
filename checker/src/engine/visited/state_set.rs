//! The visited set of a finished search, in level order.

use super::{MAX_WORDS, Packing, ROOT, Shard, VisitedSet, number_of, shard_and_position, shard_of};
use crate::engine::hash::hash;
use parking_lot::Mutex;

/// The visited states, in breadth-first order.
pub trait StateSet: Send + Sync {
    /// The number of states.
    fn len(&self) -> usize;

    /// Whether the set is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A state in ids of the tables.
    fn key(&self, position: usize) -> Vec<u32>;

    /// The states from the initial one to a state, by which the search first reached it, in ids of the
    /// tables.
    fn path(&self, position: usize) -> Vec<Vec<u32>>;

    /// Whether the set has a state. `state` has as many slots as the search is compiled for.
    fn contains(&self, state: &[u32]) -> bool;
}

/// The states of one level in one shard.
pub(super) struct Segment {
    pub(super) shard: usize,
    /// The position of the first in its shard.
    pub(super) first: usize,
    /// The number of states in this segment and all segments before it.
    pub(super) end: usize,
}

/// A visited set without locks.
pub(crate) struct ExploredSet<const S: usize> {
    shards: Vec<Shard>,
    packing: Packing,
    /// In level order.
    segments: Vec<Segment>,
    slots: usize,
}

impl<const S: usize> ExploredSet<S> {
    /// The states of an unfinished level are its last level.
    pub(crate) fn new(mut visited: VisitedSet<S>) -> Self {
        visited.begin_level(|_, _| {});
        Self {
            shards: visited.shards.into_iter().map(Mutex::into_inner).collect(),
            packing: visited.packing,
            segments: visited.segments,
            slots: visited.layout.slots(),
        }
    }

    /// The size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.bytes() as u64).sum()
    }

    /// The states from the initial one to the state with this number.
    pub(crate) fn path_to(&self, last: u32) -> Vec<Vec<u32>> {
        let mut path = Vec::new();
        let mut number = last;
        while number != ROOT {
            let (shard, position) = shard_and_position(number);
            path.push(self.unpacked(shard, position));
            number = self.shards[shard].parent(position);
        }
        path.reverse();
        path
    }

    /// The shard of the state at a position in level order, and its position in the shard.
    fn location(&self, position: usize) -> (usize, usize) {
        let number = self
            .segments
            .partition_point(|segment| segment.end <= position);
        let before = number
            .checked_sub(1)
            .map_or(0, |last| self.segments[last].end);
        let segment = &self.segments[number];
        (segment.shard, segment.first + position - before)
    }

    fn unpacked(&self, shard: usize, position: usize) -> Vec<u32> {
        let state: [u32; S] = self.packing.unpack(self.shards[shard].state(position));
        state[..self.slots].to_vec()
    }
}

impl<const S: usize> StateSet for ExploredSet<S> {
    fn len(&self) -> usize {
        self.shards.iter().map(Shard::len).sum()
    }

    fn key(&self, position: usize) -> Vec<u32> {
        let (shard, position) = self.location(position);
        self.unpacked(shard, position)
    }

    fn path(&self, position: usize) -> Vec<Vec<u32>> {
        let (shard, position) = self.location(position);
        self.path_to(number_of(shard, position))
    }

    fn contains(&self, state: &[u32]) -> bool {
        let state: &[u32; S] = state.try_into().expect("a state of this search");
        let mut words = [0; MAX_WORDS];
        // The packing holds every stored state, so a state that does not fit is not stored.
        if !self.packing.pack(state, &mut words) {
            return false;
        }
        let hash = hash(state);
        self.shards[shard_of(hash)].contains(&words[..self.packing.words()], hash)
    }
}
