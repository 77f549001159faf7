//! The frontier: the states of a level that are not expanded yet, and their distribution to threads.

use super::{hash::fold, state_layout::StateLayout, visited::VisitedSet};
use parking_lot::Mutex;
use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// The number of states that a thread expands between two checks of the limits.
pub(crate) const TASK: usize = 256;
/// The number of pieces per thread, and the maximum number of states of a piece.
const PIECES: usize = 8;
const MAX_PIECE: usize = 1 << 16;

/// The numbers of some states of a level, each with its sort key.
///
/// They are sorted by their processes and then by their shared part. Neighbors use the same cached
/// steps, and the effect of a step on their processes is computed once. That saves several times the
/// cost of the sort.
#[derive(Default)]
pub(crate) struct Frontier(Vec<(u64, u32)>);

/// The bits of the sort key for everything but the servers.
const MIXED_BITS: u32 = 16;

impl Frontier {
    /// The states found since the last call: the next level.
    pub(crate) fn from_new<const S: usize>(
        visited: &mut VisitedSet<S>,
        layout: &StateLayout,
    ) -> Self {
        let mut frontier = Self::default();
        visited.begin_level(|number, state| {
            let servers = &state[layout.servers_range()];
            let others = &state[layout.servers..layout.addresses.len()];
            frontier.push(servers, others, state[layout.shared()], number);
        });
        radsort::sort_by_key(&mut frontier.0, |(key, _)| *key);
        frontier
    }

    fn push(&mut self, servers: &[u32], others: &[u32], shared: u32, number: u32) {
        // The key only sorts: different processes may have the same key.
        let width = (u64::BITS - MIXED_BITS) / servers.len() as u32;
        let key = servers.iter().fold(0_u64, |key, process| {
            key << width | u64::from(*process) & ((1 << width) - 1)
        });
        let mixed = others.iter().fold(u64::from(shared), |mixed, process| {
            fold(mixed << 32 | u64::from(*process))
        });
        let mixed = fold(mixed) >> (u64::BITS - MIXED_BITS);
        self.0.push((key << MIXED_BITS | mixed, number));
    }

    /// The numbers of the states at these positions.
    pub(crate) fn numbers(
        &self,
        positions: Range<usize>,
    ) -> impl Iterator<Item = u32> + Clone + '_ {
        self.0[positions].iter().map(|(_, number)| *number)
    }

    /// The number of any state.
    pub(crate) fn any(&self) -> Option<u32> {
        self.0.first().map(|(_, number)| *number)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The size in bytes while it is sorted: the sort needs a second buffer of the same size.
    pub(crate) fn sorting_bytes(&self) -> u64 {
        (2 * self.0.capacity() * size_of::<(u64, u32)>()) as u64
    }
}

/// A level, and the parts of it that no thread has taken.
pub(crate) struct Level {
    pub(crate) frontier: Frontier,
    /// The number of states that a thread takes at once.
    piece: usize,
    /// The share of each thread.
    shares: Vec<UnclaimedRange>,
    /// States that were taken and not expanded.
    returned: Mutex<Frontier>,
}

impl Level {
    pub(crate) fn new(frontier: Frontier, threads: usize) -> Self {
        let len = frontier.len();
        let end = |thread: usize| len * thread / threads;
        Self {
            piece: (len / threads / PIECES).clamp(TASK, MAX_PIECE),
            shares: (0..threads)
                .map(|thread| UnclaimedRange::new(end(thread)..end(thread + 1)))
                .collect(),
            frontier,
            returned: Mutex::default(),
        }
    }

    /// The next piece for a thread. A thread whose share is empty takes from the end of the largest share.
    pub(crate) fn take(&self, thread: usize) -> Option<Range<usize>> {
        if let Some(positions) = self.shares[thread].take_first(self.piece) {
            return Some(positions);
        }
        loop {
            let largest = self.shares.iter().max_by_key(|share| share.rest().len())?;
            if largest.rest().is_empty() {
                return None;
            }
            // The owner may have taken the rest meanwhile.
            if let Some(positions) = largest.take_last(self.piece) {
                return Some(positions);
            }
        }
    }

    /// Returns the part of a piece that was not expanded.
    pub(crate) fn give_back(&self, positions: Range<usize>) {
        self.returned.lock().0.extend(&self.frontier.0[positions]);
    }

    /// The states that are not expanded.
    pub(crate) fn into_unexpanded(self) -> Frontier {
        let mut unexpanded = self.returned.into_inner();
        for share in &self.shares {
            unexpanded.0.extend(&self.frontier.0[share.rest()]);
        }
        unexpanded
    }
}

/// A range of the frontier that no thread has taken yet. Neighbors in the frontier share processes, also
/// from one level to the next. So a thread that stays in its share loads less into its step cache.
#[repr(align(128))]
struct UnclaimedRange(AtomicU64);

impl UnclaimedRange {
    fn new(positions: Range<usize>) -> Self {
        Self(AtomicU64::new(Self::packed(positions)))
    }

    fn packed(positions: Range<usize>) -> u64 {
        (positions.start as u64) << 32 | positions.end as u64
    }

    fn unpacked(packed: u64) -> Range<usize> {
        (packed >> 32) as usize..(packed & u64::from(u32::MAX)) as usize
    }

    fn rest(&self) -> Range<usize> {
        Self::unpacked(self.0.load(Ordering::Relaxed))
    }

    fn take_first(&self, most: usize) -> Option<Range<usize>> {
        self.take(|rest| {
            let end = rest.start + most.min(rest.len());
            (rest.start..end, end..rest.end)
        })
    }

    fn take_last(&self, most: usize) -> Option<Range<usize>> {
        self.take(|rest| {
            let start = rest.end - most.min(rest.len());
            (start..rest.end, rest.start..start)
        })
    }

    /// `split` divides the rest into the range taken and the new rest.
    fn take(
        &self,
        split: impl Fn(Range<usize>) -> (Range<usize>, Range<usize>),
    ) -> Option<Range<usize>> {
        let split = |packed| split(Self::unpacked(packed));
        let order = Ordering::Relaxed;
        let before = self.0.fetch_update(order, order, |packed| {
            let (taken, rest) = split(packed);
            (!taken.is_empty()).then(|| Self::packed(rest))
        });
        before.ok().map(|packed| split(packed).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn level(states: u32, threads: usize) -> Level {
        let mut frontier = Frontier::default();
        (0..states).for_each(|number| frontier.push(&[0], &[], 0, number));
        Level::new(frontier, threads)
    }

    #[test]
    fn every_state_of_a_level_is_taken_once() {
        for (states, threads) in [(1, 1), (1, 3), (300, 2), (10_000, 2), (10_001, 3)] {
            let level = level(states, threads);
            let taken = Mutex::new(Vec::new());
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let (level, taken) = (&level, &taken);
                    scope.spawn(move || {
                        while let Some(positions) = level.take(thread) {
                            assert!(!positions.is_empty());
                            taken.lock().extend(positions);
                        }
                    });
                }
            });
            let mut taken = taken.into_inner();
            taken.sort_unstable();
            assert!(taken.into_iter().eq(0..states as usize));
            assert_eq!(level.into_unexpanded().len(), 0);
        }
    }

    #[test]
    fn states_that_no_thread_took_are_left() {
        let level = level(10_000, 2);
        let mut found: HashSet<u32> = HashSet::new();
        // The second thread finishes its share and takes from the first one's.
        for thread in [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] {
            let positions = level.take(thread).expect("there is more");
            found.extend(level.frontier.numbers(positions));
        }
        let left = level.into_unexpanded();
        found.extend(left.numbers(0..left.len()));
        assert_eq!((found.len(), left.len() > 0), (10_000, true));
    }
}
