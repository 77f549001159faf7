//! The recheck: a second pass over some states of an exhausted search.
//!
//! The search computes successors from tables and caches. A fault there can lose states, and the search
//! still ends with an empty frontier. So the recheck expands a random sample of the stored states again,
//! with the readable model (`TransitionSystem::actions` and `TransitionSystem::next`), and looks up the
//! canonical form of every successor in the visited set. It uses the tables only for the ids of a
//! successor's components, and none of their results of steps.
//!
//! The sample bounds the share of the stored states that lack a successor. It does not bound the number
//! of states that only a missing successor reaches.

use super::{
    report::{SearchOutcome, StopCause},
    search::Explored,
    state_layout,
    successors::Worker,
};
use crate::step_guard;
use model::system::{Action, Scope, System, TransitionSystem, Violation};
use parking_lot::Mutex;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use rustc_hash::FxHashMap;
use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The probability that an upper bound is too low.
const ERROR_PROBABILITY: f64 = 0.05;

/// The states to recheck.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The maximum number of states.
    pub states: u64,
    /// The seed that determines the sample among the states in the order of the search. With one thread
    /// that order is the same in every run.
    pub seed: u64,
}

/// The result of a recheck.
#[derive(Clone, Debug)]
pub struct Recheck {
    /// The seed of the sample.
    pub seed: u64,
    /// The number of states whose successors are all in the visited set. It is smaller than the sample if
    /// the recheck was stopped early.
    pub rechecked: u64,
    /// The number of states in the visited set.
    pub stored: u64,
    /// Whether the recheck was interrupted.
    pub is_interrupted: bool,
    /// A step that the search does not have.
    pub disagreement: Option<Disagreement>,
    /// Wall time.
    pub elapsed: Duration,
}

/// A step of the readable model that the search does not have.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// A path from the initial system to the stored state, each up to a permutation of the servers.
    pub path: Vec<System>,
    /// The step from the last system of the path.
    pub action: Action,
    /// Its result. It is not in the visited set, or it violates a property.
    pub next: System,
}

impl Disagreement {
    /// The property that the step violates; `None` if its result is missing from the visited set.
    pub fn violation(&self) -> Option<&Violation> {
        self.next.violation.as_ref()
    }
}

impl Recheck {
    /// The upper 95 % confidence bound on the share of the stored states that lack a successor, if the
    /// sample has none of them. It is that of a sample with replacement, which is never lower.
    pub fn upper_bound(&self) -> f64 {
        if self.rechecked >= self.stored {
            return 0.0;
        }
        if self.rechecked == 0 {
            return 1.0;
        }
        1.0 - ERROR_PROBABILITY.powf(1.0 / self.rechecked as f64)
    }
}

/// Rechecks a sample of the states of a search with an empty frontier, until `interrupt` is set. If the search does
/// not have a step of the readable model, its outcome becomes [`StopCause::Recheck`].
pub fn recheck(
    explored: &mut Explored,
    sample: Sample,
    threads: usize,
    interrupt: &AtomicBool,
) -> Recheck {
    let started = Instant::now();
    let stored = explored.states.len();
    let size = usize::try_from(sample.states).map_or(stored, |size| size.min(stored));
    let run = Run {
        explored,
        transitions: step_guard::transitions(Scope {
            flaw: None,
            ..explored.tables.scope().clone()
        }),
        positions: drawn(stored, size, sample.seed),
        next: AtomicUsize::new(0),
        rechecked: AtomicU64::new(0),
        found: Mutex::new(None),
        interrupt,
    };
    let slots = explored.tables.layout().slots();
    state_layout::with_slots!(slots, S => run.spawn::<S>(threads));
    let rechecked = run.rechecked.into_inner();
    let disagreement = run.found.into_inner().map(|(_, found)| found);
    if disagreement.is_some() {
        explored.report.outcome = SearchOutcome::Truncated(StopCause::Recheck);
    }
    Recheck {
        seed: sample.seed,
        rechecked,
        stored: stored as u64,
        is_interrupted: disagreement.is_none() && rechecked < size as u64,
        disagreement,
        elapsed: started.elapsed(),
    }
}

/// Distinct numbers below `count`, in random order: every beginning of the list is a random sample too.
fn drawn(count: usize, size: usize, seed: u64) -> Vec<usize> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut generator = ChaCha8Rng::from_seed(bytes);
    // The first steps of a shuffle of all numbers; the map has the numbers that are not in their place.
    let mut moved: FxHashMap<usize, usize> = FxHashMap::default();
    let mut drawn = Vec::with_capacity(size);
    for first in 0..size {
        // The bias is below 2^-32, because there are fewer than 2^32 states.
        let rest = (count - first) as u128;
        let chosen = first + ((u128::from(generator.next_u64()) * rest) >> 64) as usize;
        let kept = moved.remove(&first).unwrap_or(first);
        drawn.push(if chosen == first {
            kept
        } else {
            moved.insert(chosen, kept).unwrap_or(chosen)
        });
    }
    drawn
}

/// A recheck in progress.
struct Run<'a> {
    explored: &'a Explored,
    transitions: TransitionSystem,
    /// The positions of the sample's states.
    positions: Vec<usize>,
    /// The number of positions that a thread has taken.
    next: AtomicUsize,
    rechecked: AtomicU64,
    /// The first disagreement in the order of the sample, with its number.
    found: Mutex<Option<(usize, Disagreement)>>,
    interrupt: &'a AtomicBool,
}

impl Run<'_> {
    fn spawn<const S: usize>(&self, threads: usize) {
        thread::scope(|scope| {
            for _ in 0..threads.clamp(1, self.positions.len().max(1)) {
                scope.spawn(|| self.work(&mut Worker::<S>::new(&self.explored.tables)));
            }
        });
    }

    fn work<const S: usize>(&self, worker: &mut Worker<'_, S>) {
        while !self.interrupt.load(Ordering::Relaxed) && self.found.lock().is_none() {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(position) = self.positions.get(number) else {
                return;
            };
            match self.expand(worker, *position) {
                None => {
                    self.rechecked.fetch_add(1, Ordering::Relaxed);
                }
                Some(disagreement) => {
                    let mut found = self.found.lock();
                    if found.as_ref().is_none_or(|(first, _)| number < *first) {
                        *found = Some((number, disagreement));
                    }
                }
            }
        }
    }

    /// Expands a state by the readable model. Returns a step that the search does not have.
    fn expand<const S: usize>(
        &self,
        worker: &mut Worker<'_, S>,
        position: usize,
    ) -> Option<Disagreement> {
        let Explored { tables, states, .. } = self.explored;
        let system = tables.system(&states.key(position));
        for action in self.transitions.actions(&system) {
            let Some((next, _)) = self.transitions.next(&system, &action) else {
                continue;
            };
            let is_known = next.violation.is_none() && {
                let key = tables.layout().padded(&tables.key_of(&next));
                states.contains(&worker.canonical(key))
            };
            if !is_known {
                let path = states.path(position);
                return Some(Disagreement {
                    path: path.iter().map(|key| tables.system(key)).collect(),
                    action,
                    next,
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn drawn_numbers_are_distinct_and_every_number_can_be_first() {
        let mut first = BTreeSet::new();
        for seed in 0..200 {
            let numbers = drawn(10, 7, seed);
            let distinct: BTreeSet<_> = numbers.iter().copied().collect();
            assert_eq!(distinct.len(), 7, "{numbers:?}");
            assert!(numbers.iter().all(|number| *number < 10), "{numbers:?}");
            // A smaller sample is the beginning of a larger one.
            assert_eq!(drawn(10, 3, seed), numbers[..3]);
            first.insert(numbers[0]);
        }
        assert_eq!(first.len(), 10);
        let all: BTreeSet<_> = drawn(10, 10, 1).into_iter().collect();
        assert_eq!(all, (0..10).collect());
        assert!(drawn(0, 0, 1).is_empty());
    }

    #[test]
    fn upper_bound_is_that_of_the_real_sample() {
        let bound = |rechecked, stored| {
            let result = Recheck {
                seed: 0,
                rechecked,
                stored,
                is_interrupted: false,
                disagreement: None,
                elapsed: Duration::ZERO,
            };
            result.upper_bound()
        };
        // The rule of three: about 3 / n.
        assert!((bound(1_000, 1_000_000) - 0.002_991).abs() < 1e-6);
        assert!((bound(1, 2) - 0.95).abs() < 1e-9);
        assert!(bound(0, 10) >= 1.0);
        assert!(bound(10, 10) <= 0.0);
    }
}
