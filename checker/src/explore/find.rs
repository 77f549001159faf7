//! Searches from the state shown for the nearest state where a predicate holds.
//!
//! The search is breadth-first over the readable model, with the reductions of the scope: dead messages
//! are dropped, and messages that can be sent at any time are sent immediately. So "nearest" counts
//! decisions, not messages sent. The path found is then converted into a real continuation of the walk,
//! with the steps that send the delivered messages. The walk itself executes this continuation, and only
//! the state that it reaches is reported.
//!
//! Visited states are stored as 128 bits of their SHA-256. A negative result assumes that no two of
//! these collide; a positive result assumes nothing.
//!
//! No property is checked: with a planted bug, a state after a violation can also be found.

use super::walk::{StepRefusal, Walk};
use crate::{
    engine::{SearchProgress, StopCause},
    step_guard, trace,
};
use model::system::{Action, Properties, System, TransitionSystem, Witnesses};
use rustc_hash::FxHashSet;
use sha2::{Digest, Sha256};
use std::sync::atomic::Ordering;

/// The maximum number of states of a search.
const MAX_STATES: usize = 1_500_000;
/// The maximum size in bytes of the states found and not yet expanded.
const MAX_FRONTIER: usize = 512 << 20;

/// The goal of a search: a predicate of a state and the witnesses of the step into it.
pub(super) type Goal<'a> = &'a (dyn Fn(&System, Witnesses) -> bool + Sync);

/// How a search ended.
pub(super) enum FindResult {
    /// The walk, continued to a state where the predicate holds.
    Here(Box<Walk>),
    /// Every state reachable from the one shown was visited.
    Nowhere,
    /// Stopped early.
    Stopped(StopCause),
}

model::diagnostics! {
    /// The reason why the path found is not a continuation of the walk: a bug in a reduction.
    pub(super) enum NoContinuation {
        /// The decisions have no run over the unreduced network.
        NoRealRun { error: String } = "the path found is not a real run: {error}";
        /// The walk refuses a step of the run.
        StepRefused { refusal: StepRefusal } = "the walk cannot follow the path found: {refusal}";
        /// The goal does not hold at the end.
        GoalMissed = "the walk along the path found ends in another state";
    }
}

/// The counters of a search.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) transitions: u64,
    pub(super) depth: u64,
}

/// Searches from the last state of the walk.
///
/// # Errors
/// If the reduced model allowed a step that the real network does not: a bug in a reduction.
pub(super) fn find(
    walk: &Walk,
    goal: Goal<'_>,
    progress: &SearchProgress,
    counts: &mut Counts,
) -> Result<FindResult, NoContinuation> {
    let mut scope = walk.world.scope.clone();
    scope.properties = Properties::NONE;
    if walk.holds(goal) {
        return Ok(FindResult::Here(Box::new(walk.clone())));
    }
    let shown = walk.system_without_dropped();
    let transitions = step_guard::transitions(scope.clone());
    match search(&transitions, &shown, goal, progress, counts) {
        Search::Path(decisions) => {
            let steps = trace::continuation(&scope, &shown, &decisions, goal);
            let steps = steps.map_err(|error| NoContinuation::NoRealRun {
                error: format!("{error:#}"),
            })?;
            let mut walk = walk.clone();
            for action in &steps {
                let taken = walk.take_action(action);
                taken.map_err(|refusal| NoContinuation::StepRefused { refusal })?;
            }
            if !walk.holds(goal) {
                return Err(NoContinuation::GoalMissed);
            }
            Ok(FindResult::Here(Box::new(walk)))
        }
        Search::Nowhere => Ok(FindResult::Nowhere),
        Search::Stopped(cause) => Ok(FindResult::Stopped(cause)),
    }
}

enum Search {
    Path(Vec<Action>),
    Nowhere,
    Stopped(StopCause),
}

fn search(
    transitions: &TransitionSystem,
    shown: &System,
    goal: Goal<'_>,
    progress: &SearchProgress,
    counts: &mut Counts,
) -> Search {
    let mut root = shown.clone();
    transitions.adopt(&mut root);
    let mut visited = FxHashSet::default();
    let bytes = root.encode();
    visited.insert(digest(&bytes));
    // For each state, its parent and the index of the parent's action that led to it.
    let mut parents: Vec<(u32, u32)> = vec![(0, 0)];
    let mut level = vec![(0_u32, bytes)];
    while !level.is_empty() {
        let mut next = Vec::new();
        let mut held = 0;
        for (index, (state, bytes)) in level.iter().enumerate() {
            if progress.interrupt.load(Ordering::Relaxed) {
                return Search::Stopped(StopCause::Interrupted);
            }
            let system = System::decode(bytes).expect("it was encoded here");
            for (number, action) in transitions.actions(&system).into_iter().enumerate() {
                let Some((reached, witnesses)) = transitions.next(&system, &action) else {
                    continue;
                };
                counts.transitions += 1;
                if goal(&reached, witnesses) {
                    parents.push((*state, number as u32));
                    counts.depth += 1;
                    return Search::Path(path(transitions, root, &parents));
                }
                let bytes = reached.encode();
                if !visited.insert(digest(&bytes)) {
                    continue;
                }
                held += bytes.len();
                let id = parents.len() as u32;
                parents.push((*state, number as u32));
                next.push((id, bytes));
            }
            progress
                .states
                .store(visited.len() as u64, Ordering::Relaxed);
            let frontier = level.len() - index - 1 + next.len();
            progress.frontier.store(frontier as u64, Ordering::Relaxed);
            let bytes = (held + visited.len() * 32 + parents.len() * 8) as u64;
            progress.bytes.store(bytes, Ordering::Relaxed);
            if visited.len() > MAX_STATES {
                return Search::Stopped(StopCause::MaxStates);
            }
            if held > MAX_FRONTIER {
                return Search::Stopped(StopCause::MaxMemory);
            }
        }
        if !next.is_empty() {
            counts.depth += 1;
            progress.depth.store(counts.depth, Ordering::Relaxed);
        }
        level = next;
    }
    Search::Nowhere
}

fn path(transitions: &TransitionSystem, root: System, parents: &[(u32, u32)]) -> Vec<Action> {
    let mut numbers = Vec::new();
    let mut state = parents.len() - 1;
    while state != 0 {
        let (parent, number) = parents[state];
        numbers.push(number);
        state = parent as usize;
    }
    let mut system = root;
    let mut path = Vec::new();
    for number in numbers.into_iter().rev() {
        let mut actions = transitions.actions(&system);
        let action = actions.swap_remove(number as usize);
        let next = transitions.next(&system, &action);
        system = next.expect("it was taken in the search").0;
        path.push(action);
    }
    path
}

fn digest(bytes: &[u8]) -> [u8; 16] {
    let hash = Sha256::digest(bytes);
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}
