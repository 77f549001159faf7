//! stateright's checkers on whole systems: an independent check of the built-in engine.
//!
//! stateright's own limits are not used: a run that one of them stopped reports completion. Instead, a
//! wrapper of the model can close the supply of actions, for a limit or an interrupt. A run counts as
//! exhausted only if the wrapper was never closed, no property is violated, and every state found was
//! expanded. stateright keeps visited states as 64-bit hashes: unlike the verdict of the built-in engine,
//! its verdict holds only up to hash collisions.

use crate::{
    engine::{Limits, SearchOutcome, SearchProgress, StopCause},
    expected_counts::Counts,
    machine, step_guard,
};
use model::system::{Action, RaftModel, Scope, System, Witnesses};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

/// The polling interval of a run.
const POLL: Duration = Duration::from_millis(5);
/// The number of polls between two checks of the memory.
const POLLS_PER_MEMORY_LOOK: u32 = 10;

/// The order in which states are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Depth first.
    Depth,
    /// Approximately breadth first.
    Breadth,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct StaterightReport {
    /// How the run ended. A path to a violation is not necessarily a shortest one.
    pub outcome: SearchOutcome,
    /// Distinct states.
    pub states: u64,
    /// Steps taken, including steps to known states.
    pub transitions: u64,
    /// The length of the longest path followed.
    pub depth: u64,
    /// The counts that an exhausted search must have. The depth is that of this run, because a
    /// depth-first search has another.
    pub expected: Option<Counts>,
    /// Wall time.
    pub elapsed: Duration,
    /// The witnesses reached.
    pub witnesses: Witnesses,
}

/// Searches a scope with stateright.
///
/// # Panics
/// If an invariant of the model or of stateright's search does not hold. In that case there is no
/// verdict.
pub fn check(
    scope: &Scope,
    order: Order,
    limits: &Limits,
    progress: &SearchProgress,
) -> StaterightReport {
    let model = Tapped {
        model: RaftModel::new(step_guard::transitions(scope.clone()), limits.symmetry),
        expanded: AtomicU64::new(0),
        most: AtomicU64::new(limits.max_states.unwrap_or(u64::MAX)),
    };
    let expected = Counts::expected(scope, limits.symmetry);
    let builder = model
        .checker()
        .threads(limits.threads.max(1))
        .finish_when(HasDiscoveries::AnyFailures);
    match order {
        Order::Depth => run(builder.spawn_dfs(), limits, progress, expected),
        Order::Breadth => run(builder.spawn_bfs(), limits, progress, expected),
    }
}

/// The model with a limit: after `most` states were expanded, no state has actions.
struct Tapped {
    model: RaftModel,
    expanded: AtomicU64,
    most: AtomicU64,
}

impl Model for Tapped {
    type State = System;
    type Action = Action;

    fn init_states(&self) -> Vec<System> {
        self.model.init_states()
    }

    fn actions(&self, state: &System, actions: &mut Vec<Action>) {
        // stateright calls this function once for each state that it removes from its queue.
        if self.expanded.fetch_add(1, Ordering::Relaxed) < self.most.load(Ordering::Relaxed) {
            self.model.actions(state, actions);
        }
    }

    fn next_state(&self, state: &System, action: Action) -> Option<System> {
        self.model.next_state(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // The system itself contains the violated property.
        vec![Property::always(
            "every property holds",
            |_, state: &System| state.violation.is_none(),
        )]
    }
}

fn run(
    mut checker: impl Checker<Tapped>,
    limits: &Limits,
    progress: &SearchProgress,
    expected: Option<Counts>,
) -> StaterightReport {
    let started = Instant::now();
    let handles = checker.handles();
    let mut stopped = None;
    let mut looks = 0_u32;
    while !handles.iter().all(thread::JoinHandle::is_finished) {
        thread::sleep(POLL);
        looks = looks.wrapping_add(1);
        show(&checker, progress);
        let is_full = || {
            looks.is_multiple_of(POLLS_PER_MEMORY_LOOK)
                && limits
                    .max_memory
                    .zip(machine::resident_bytes())
                    .is_some_and(|(most, held)| held >= most)
        };
        if progress.interrupt.load(Ordering::Relaxed) {
            stopped = Some(StopCause::Interrupted);
        } else if stopped.is_none() && is_full() {
            stopped = Some(StopCause::MaxMemory);
        }
        if stopped.is_some() {
            checker.model().most.store(0, Ordering::Relaxed);
        }
    }
    for handle in handles {
        handle.join().expect("no thread of stateright panicked");
    }
    let elapsed = started.elapsed();
    show(&checker, progress);
    let expanded = checker.model().expanded.load(Ordering::Relaxed);
    let is_cut = stopped.is_none() && limits.max_states.is_some_and(|most| expanded > most);
    if is_cut {
        stopped = Some(StopCause::MaxStates);
    }
    let states = checker.unique_state_count() as u64;
    // stateright counts initial states too, but no step leads to them.
    let transitions = (checker.state_count() as u64).saturating_sub(1);
    let witnesses = checker.model().model.witnesses();
    let outcome = match (violation(&checker), stopped) {
        (Some(violated), _) => violated,
        (None, Some(cause)) => SearchOutcome::Truncated(cause),
        (None, None) => {
            assert_eq!(expanded, states, "every state found is expanded once");
            SearchOutcome::Exhausted
        }
    };
    let depth = (checker.max_depth() as u64).saturating_sub(1);
    let found = Counts {
        states,
        transitions,
        depth,
    };
    let expected = expected.map(|expected| Counts { depth, ..expected });
    StaterightReport {
        outcome: outcome.compared(found, expected),
        states,
        transitions,
        depth,
        expected,
        elapsed,
        witnesses,
    }
}

fn show(checker: &impl Checker<Tapped>, progress: &SearchProgress) {
    let states = checker.unique_state_count() as u64;
    let expanded = checker.model().expanded.load(Ordering::Relaxed);
    let depth = (checker.max_depth() as u64).saturating_sub(1);
    progress.states.store(states, Ordering::Relaxed);
    let frontier = states.saturating_sub(expanded);
    progress.frontier.store(frontier, Ordering::Relaxed);
    progress.depth.store(depth, Ordering::Relaxed);
    let held = machine::resident_bytes().unwrap_or(0);
    progress.bytes.store(held, Ordering::Relaxed);
}

fn violation(checker: &impl Checker<Tapped>) -> Option<SearchOutcome> {
    // stateright replays the path, which requires the actions again.
    checker.model().most.store(u64::MAX, Ordering::Relaxed);
    let (_, found) = checker.discoveries().into_iter().next()?;
    let mut path = found.into_states();
    let last = path.pop().expect("a path has a last state");
    Some(SearchOutcome::Violated {
        violation: last.violation.expect("the last state violates a property"),
        path,
    })
}
