//! The search loop: parallel breadth-first search to exhaustion.
//!
//! The search completes one level after another, so the first violation found has a shortest trace.
//! Within a level each thread takes one piece of the frontier at a time, expands its states, and inserts
//! the successors into the visited set.

use super::{
    control::{Limits, SearchProgress},
    frontier::{Frontier, Level, TASK},
    obligations::{Checked, ObligationChecks},
    report::{SearchOutcome, SearchReport, StopCause},
    state_layout,
    successors::Worker,
    tables::Tables,
    visited::{ExploredSet, Inserter, Packing, SHARDS, StateSet, VisitedSet},
};
use crate::{expected_counts::Counts, step_guard};
use model::system::{Scope, Violation, Witnesses};
use parking_lot::Mutex;
use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

/// The number of tasks between two checks of the memory limit.
const TASKS_PER_MEMORY_CHECK: u64 = 64;
/// The number of states of each level whose canonical form is checked.
const PERMUTED_STATES: usize = 64;

/// A finished search.
pub struct Explored {
    /// The result.
    pub report: SearchReport,
    /// The tables.
    pub tables: Tables,
    /// The states.
    pub states: Box<dyn StateSet>,
}

/// Searches a scope.
pub fn check(scope: &Scope, limits: &Limits, progress: &SearchProgress) -> Explored {
    let tables = Tables::new(scope.clone(), limits.symmetry);
    state_layout::with_slots!(tables.layout().slots(), S => run::<S>(tables, limits, progress))
}

fn run<const S: usize>(tables: Tables, limits: &Limits, progress: &SearchProgress) -> Explored {
    let started = Instant::now();
    let mut search = Search::<S>::new(&tables, limits, progress);
    let result = search.run();
    let peak_bytes = search.peak_bytes;
    let states = ExploredSet::new(search.visited);
    let outcome = match result.end {
        End::Exhausted => SearchOutcome::Exhausted,
        End::Stopped(cause) => SearchOutcome::Truncated(cause),
        End::Violation(parent, violation) => {
            let path = states.path_to(parent);
            let path = path.iter().map(|state| tables.system(state)).collect();
            SearchOutcome::Violated { violation, path }
        }
    };
    let found = Counts {
        states: states.len() as u64,
        transitions: result.transitions,
        depth: progress.depth.load(Ordering::Relaxed),
    };
    let expected = Counts::expected(tables.scope(), limits.symmetry);
    let report = SearchReport {
        outcome: outcome.compared(found, expected),
        states: found.states,
        transitions: found.transitions,
        depth: found.depth,
        expected,
        elapsed: started.elapsed(),
        bytes: peak_bytes.max(states.bytes()),
        witnesses: result.witnesses,
        sizes: tables.sizes(),
        checked: result.checked,
        actions: tables.actions(),
    };
    Explored {
        report,
        tables,
        states: Box::new(states),
    }
}

struct Search<'a, const S: usize> {
    tables: &'a Tables,
    limits: Limits,
    progress: &'a SearchProgress,
    visited: VisitedSet<S>,
    /// The peak size of visited set and frontier.
    peak_bytes: u64,
    /// The number of limit checks.
    limit_checks: AtomicU64,
}

/// The end of a search, with its totals.
struct RunResult {
    end: End,
    transitions: u64,
    witnesses: Witnesses,
    checked: Checked,
}

enum End {
    Exhausted,
    Stopped(StopCause),
    /// The property that a step from this state violates.
    Violation(u32, Violation),
}

/// Why the threads stop before the end of a level.
enum Halt {
    Stopped(StopCause),
    Violation(u32, Violation),
    /// An id does not fit the packing.
    Widen(Packing),
}

/// Stops the threads of a level.
#[derive(Default)]
struct HaltSignal {
    is_set: AtomicBool,
    reason: Mutex<Option<Halt>>,
}

impl HaltSignal {
    /// A violation replaces any other reason: the rest of the level cannot refute it.
    fn set(&self, halt: Halt) {
        let mut reason = self.reason.lock();
        if reason.is_none() || matches!(halt, Halt::Violation(..)) {
            *reason = Some(halt);
        }
        self.is_set.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }
}

impl<'a, const S: usize> Search<'a, S> {
    fn new(tables: &'a Tables, limits: &Limits, progress: &'a SearchProgress) -> Self {
        Self {
            tables,
            limits: *limits,
            progress,
            visited: VisitedSet::new(tables.layout()),
            peak_bytes: 0,
            limit_checks: AtomicU64::new(0),
        }
    }

    fn run(&mut self) -> RunResult {
        let mut workers: Vec<Worker<'a, S>> = (0..self.limits.threads.max(1))
            .map(|_| Worker::new(self.tables))
            .collect();
        let mut ledger = ObligationChecks::new(self.tables, &self.progress.interrupt);
        self.insert_root(&mut workers[0]);
        // Normalization already removed messages of the first state. Their obligations are checked too.
        let mut complete = self.tables.scope().clone();
        complete.reduction.drop_dead = false;
        complete.reduction.trim_appends = false;
        ledger.deliver_all(&step_guard::transitions(complete).start());
        let mut frontier = self.next_frontier();
        let mut end = loop {
            let (halt, left) = self.run_level(frontier, &mut workers);
            frontier = match halt {
                Some(Halt::Violation(parent, violation)) => {
                    break End::Violation(parent, violation);
                }
                // A state was left out, so no other result counts.
                _ if self.visited.is_full() => break End::Stopped(StopCause::Capacity),
                // A limit that was reached with the last piece does not matter: all states are expanded.
                Some(Halt::Stopped(cause)) if left.len() > 0 || self.visited.has_new() => {
                    break End::Stopped(cause);
                }
                Some(Halt::Widen(packing)) => {
                    self.visited.repack(packing);
                    left
                }
                Some(Halt::Stopped(_)) | None => {
                    assert_eq!(left.len(), 0, "a level that is done leaves nothing");
                    let frontier = self.next_frontier();
                    let started = Instant::now();
                    ledger.advance();
                    self.check_canonical_forms(&frontier, &mut workers[0], &mut ledger);
                    ledger.checked.elapsed += started.elapsed();
                    // With a planted bug the search looks for a violation, which needs no obligation.
                    let is_hunt = self.tables.scope().mutant.is_some();
                    if frontier.len() == 0 || (ledger.has_failed() && !is_hunt) {
                        break End::Exhausted;
                    }
                    self.progress.depth.fetch_add(1, Ordering::Relaxed);
                    frontier
                }
            };
        };
        if matches!(end, End::Exhausted) {
            if !ledger.has_failed() {
                let started = Instant::now();
                ledger.finish(self.limits.threads);
                ledger.checked.elapsed += started.elapsed();
            }
            if ledger.has_failed() {
                end = End::Stopped(StopCause::Obligation);
            } else if ledger.is_interrupted() {
                end = End::Stopped(StopCause::Interrupted);
            }
        }
        let mut witnesses = Witnesses::default();
        for worker in &workers {
            witnesses.add_all(worker.witnesses());
        }
        RunResult {
            end,
            transitions: workers.iter().map(|worker| worker.transitions).sum(),
            witnesses,
            checked: ledger.checked,
        }
    }

    /// Checks the canonical form of some states of a level under every permutation.
    fn check_canonical_forms(
        &self,
        frontier: &Frontier,
        worker: &mut Worker<'a, S>,
        ledger: &mut ObligationChecks<'a>,
    ) {
        let step = (frontier.len() / PERMUTED_STATES).max(1);
        for number in frontier.numbers(0..frontier.len()).step_by(step) {
            let state = self.visited.state(number);
            for permutation in 1..self.tables.permutations().count() {
                let is_same = worker.is_canonical_form(&state, permutation);
                ledger.note_canonical(is_same);
            }
        }
    }

    fn insert_root(&mut self, worker: &mut Worker<'a, S>) {
        let root = self.tables.key_of(&self.tables.transitions().start());
        let root = worker.canonical(self.tables.layout().padded(&root));
        self.visited.insert_root(&root);
        self.progress.states.store(1, Ordering::Relaxed);
        self.progress.frontier.store(1, Ordering::Relaxed);
        self.progress.depth.store(0, Ordering::Relaxed);
    }

    fn next_frontier(&mut self) -> Frontier {
        let frontier = Frontier::from_new(&mut self.visited, self.tables.layout());
        let bytes = self.visited.bytes() + frontier.sorting_bytes();
        self.peak_bytes = self.peak_bytes.max(bytes);
        frontier
    }

    /// Expands a level. Returns the reason if it was halted, and the states that are not expanded.
    fn run_level(
        &self,
        frontier: Frontier,
        workers: &mut [Worker<'a, S>],
    ) -> (Option<Halt>, Frontier) {
        let level = Level::new(frontier, workers.len());
        let halt = HaltSignal::default();
        if workers.len() == 1 || level.frontier.len() <= TASK {
            self.expand_pieces(&level, &halt, 0, &mut workers[0]);
        } else {
            std::thread::scope(|scope| {
                for (thread, worker) in workers.iter_mut().enumerate() {
                    let (level, halt) = (&level, &halt);
                    scope.spawn(move || {
                        let work = || self.expand_pieces(level, halt, thread, worker);
                        // A panic leaves states out, so there must be no verdict.
                        catch_unwind(AssertUnwindSafe(work))
                            .unwrap_or_else(|_| std::process::abort());
                    });
                }
            });
        }
        (halt.reason.into_inner(), level.into_unexpanded())
    }

    /// The work of one thread in a level.
    fn expand_pieces(
        &self,
        level: &Level,
        halt: &HaltSignal,
        thread: usize,
        worker: &mut Worker<'a, S>,
    ) {
        let Some(known) = level.frontier.any() else {
            return;
        };
        let mut inserter = Inserter::new(&self.visited, self.progress, known);
        let mut buffer = Vec::new();
        let mut piece = 0..0;
        while !halt.is_set() {
            if piece.is_empty() {
                match level.take(thread) {
                    Some(next) => piece = next,
                    None => break,
                }
            }
            if let Some(cause) = self.limit_reached() {
                halt.set(Halt::Stopped(cause));
                break;
            }
            let task = piece.start..piece.end.min(piece.start + TASK);
            let count = task.len() as u64;
            match self.expand(level, task.clone(), worker, &mut inserter, &mut buffer) {
                Ok(()) => piece.start = task.end,
                Err((expanded, reason)) => {
                    halt.set(reason);
                    piece.start += expanded;
                    break;
                }
            }
            self.progress.frontier.fetch_sub(count, Ordering::Relaxed);
        }
        level.give_back(piece);
        inserter.flush();
    }

    /// Expands the states at these positions. If it stops early, returns the number of states expanded,
    /// and the reason.
    fn expand(
        &self,
        level: &Level,
        positions: Range<usize>,
        worker: &mut Worker<'a, S>,
        inserter: &mut Inserter<'_, S>,
        buffer: &mut Vec<u64>,
    ) -> Result<(), (usize, Halt)> {
        let numbers = level.frontier.numbers(positions);
        let states = self.visited.read(numbers.clone(), buffer);
        for (index, (number, state)) in numbers.zip(states).enumerate() {
            match worker.successors(&state, |next| inserter.insert(next, number)) {
                Ok(true) => {}
                Ok(false) => {
                    let wider = inserter.take_wider();
                    let wider = wider.expect("a state is refused only if it does not fit");
                    return Err((index, Halt::Widen(wider)));
                }
                Err(violation) => return Err((index, Halt::Violation(number, violation))),
            }
        }
        Ok(())
    }

    fn limit_reached(&self) -> Option<StopCause> {
        let progress = self.progress;
        if self.visited.is_full() {
            return Some(StopCause::Capacity);
        }
        if progress.interrupt.load(Ordering::Relaxed) {
            return Some(StopCause::Interrupted);
        }
        let states = progress.states.load(Ordering::Relaxed);
        if self.limits.max_states.is_some_and(|most| states > most) {
            return Some(StopCause::MaxStates);
        }
        let checks = self.limit_checks.fetch_add(1, Ordering::Relaxed);
        if !checks.is_multiple_of(TASKS_PER_MEMORY_CHECK) {
            return None;
        }
        let bytes = self.visited.bytes();
        progress.bytes.store(bytes, Ordering::Relaxed);
        let resident = crate::machine::resident_bytes().unwrap_or(0).max(bytes);
        // While the index of a shard grows, a part of it exists twice.
        let needed = resident + bytes / SHARDS as u64;
        let max_memory = self.limits.max_memory;
        let is_reached = max_memory.is_some_and(|max_memory| needed >= max_memory);
        is_reached.then_some(StopCause::MaxMemory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search_with_shards_of(max_states: Option<usize>) -> (End, u64) {
        let scopes = Scope::catalog();
        let scope = scopes.iter().find(|scope| scope.name == "elections");
        let tables = Tables::new(scope.expect("a scope of the catalog").clone(), true);
        let limits = Limits {
            threads: 2,
            max_states: None,
            max_memory: None,
            symmetry: true,
        };
        let progress = SearchProgress::default();
        let mut search = Search::<10>::new(&tables, &limits, &progress);
        if let Some(max_states) = max_states {
            search.visited.limit_shards(max_states);
        }
        let end = search.run().end;
        (end, progress.states.load(Ordering::Relaxed))
    }

    #[test]
    fn state_without_a_number_left_for_it_makes_no_exhausted_scope() {
        let (end, all) = search_with_shards_of(None);
        assert!(matches!(end, End::Exhausted));
        for max_states in [1, 20, all as usize / SHARDS] {
            let (end, states) = search_with_shards_of(Some(max_states));
            let is_capacity = matches!(end, End::Stopped(StopCause::Capacity));
            assert!(is_capacity, "{max_states}");
            assert!(states < all, "{max_states}");
        }
    }
}
