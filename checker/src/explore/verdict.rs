//! The verdict of a job, as data and in a sentence.
//!
//! `exhausted`, `violated` and `truncated` are the results of the engine. A job that was stopped is
//! `stopped` and makes no claim. With a planted bug, `exhausted` means only that this scope does not show
//! the bug, and the sentence states this.
//!
//! A violation is reported as a path, and only if a walk along it really ends with a violation of that
//! property. The progress check finds a state; the path continues from there for some steps without
//! faults, so that a reader sees that no entry is committed. The result of a timed simulation has the
//! tick of each step.

use super::{
    find::NoContinuation,
    predicates::PREDICATES,
    view,
    walk::{Effect, StepRefusal, Walk},
    world::World,
};
use crate::{
    catalog::{Method, Reason},
    engine::StopCause,
    plural::counted,
    trace::Trace,
};
use model::{
    mutant::Mutant,
    system::{Property, Scope, Witnesses},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// The maximum number of steps shown after a stuck state.
const SHOWN: usize = 24;

model::diagnostics! {
    /// The result of a search.
    pub(super) enum SearchResult {
        /// Every state was visited.
        Exhausted { states: u64 }
            = "Exhausted: all {states} states within these bounds were visited, and every property holds in each.";
        /// Every state was visited, and no step reached some witnesses.
        ExhaustedWithoutWitnesses { states: u64, witnesses: Vec<&'static str> }
            = "Exhausted: all {states} states within these bounds were visited, and every property holds in each. Witnesses not reached within these bounds: {}.",
            witnesses.join(", ");
        /// Every state was visited, and no property is violated in spite of a planted bug.
        BugNotShown { mutant: &'static str, states: u64 }
            = "A bug is planted ({mutant}), and this scope does not show it: in all {states} states every property holds. This is no verdict on Raft; select the scope that the catalog names for this bug.";
        /// The same, with a single property.
        BugNotShownByProperty { mutant: &'static str, states: u64, property: &'static str }
            = "A bug is planted ({mutant}), and this scope does not show it: in all {states} states {property} holds, and no other property was checked. This is no verdict on Raft; select the scope that the catalog names for this bug.";
        /// A property is violated.
        Violated { property: &'static str, steps: u64 }
            = "{property} is violated, {} from the start.", counted(*steps, "step");
        /// The search found a planted bug.
        BugFound { mutant: &'static str, property: &'static str, steps: u64 }
            = "The planted bug ({mutant}) is caught: {property} is violated, {} from the start. This is no verdict on Raft.",
            counted(*steps, "step");
        /// The progress check found a planted bug.
        BugStuck { mutant: &'static str, steps: u64 }
            = "The planted bug ({mutant}) is caught by the progress check: the cluster is stuck {} from the start. This is no verdict on Raft.",
            counted(*steps, "step");
        /// A timed simulation found a planted bug.
        BugInSimulation { mutant: &'static str, property: &'static str, steps: u64 }
            = "The planted bug ({mutant}) is caught by a timed simulation: {property} is violated after {}. This is no verdict on Raft.",
            counted(*steps, "step");
        /// A recorded schedule shows a planted bug.
        BugInSchedule { mutant: &'static str, property: &'static str, steps: u64 }
            = "The planted bug ({mutant}) is caught by a recorded schedule of {}, which violates {property}. This is no verdict on Raft.",
            counted(*steps, "step");
        /// The goal holds in the state shown.
        HoldsHere { goal: SearchGoal } = "It holds here already: {goal}.";
        /// The goal holds after one step.
        FoundNext { goal: SearchGoal } = "Found one step from here: {goal}.";
        /// The goal holds after some steps.
        Found { steps: u64, decisions: u64, goal: SearchGoal }
            = "Found {} from here, {decisions} of them decisions, the minimum: {goal}.",
            counted(*steps, "step");
        /// The goal holds in no state.
        NotFound { states: u64, goal: SearchGoal }
            = "Not found: the goal holds in none of the {states} states reachable from here: {goal}.";
        /// The user stopped the search.
        Stopped { states: u64 }
            = "Stopped after {}: no claim is made about other states.", counted(*states, "state");
        /// The search ended at a limit.
        Truncated { states: u64, limit: Limit }
            = "Truncated after {}, {limit}: no claim is made about other states.",
            counted(*states, "state");
        /// The path of a violation is not a run of the system.
        NotReal { property: &'static str, reason: NotConfirmed }
            = "The search reports that {property} is violated, but its path is not a real run: {reason}. This is a fault of the checker.";
        /// The path to a goal is not a run of the system.
        Failed { reason: NoContinuation } = "The search failed without a conclusion: {reason}.";
        /// An assertion failed.
        Panicked { assertion: String }
            = "The search ended at an assertion, without a conclusion: {assertion}.";
        /// The thread that reports progress failed.
        ProgressLost = "The search could not report its progress.";
    }
}

model::diagnostics! {
    /// The goal of a search, as a sentence without a period.
    pub(super) enum SearchGoal {
        /// A predicate holds.
        PredicateHolds { predicate: &'static str } = "{}", predicate_sentence(predicate);
        /// A step reaches a witness.
        WitnessReached { witness: &'static str } = "the witness \"{witness}\" is reached";
    }
}

model::diagnostics! {
    /// The limit that ended a search.
    pub(super) enum Limit {
        /// [`crate::engine::Limits::max_states`], or the limit of a search for a state.
        MaxStates = "at the state limit";
        /// [`crate::engine::Limits::max_memory`], or the limit of a search for a state.
        MaxMemory = "at the memory limit";
        /// The ids of states or parts are used up.
        OutOfIds = "because its state ids are used up";
        /// The search was interrupted.
        Interrupted = "early";
        /// The protocol violates an obligation of a reduction.
        ObligationViolated = "because the protocol violates an assumption of a reduction";
        /// The search ended, and did not count as many states and steps as it must.
        UnexpectedCounts = "because the counts of states and steps are not those that this scope must have";
    }
}

impl From<StopCause> for Limit {
    fn from(cause: StopCause) -> Self {
        match cause {
            StopCause::MaxStates => Self::MaxStates,
            StopCause::MaxMemory => Self::MaxMemory,
            StopCause::Capacity => Self::OutOfIds,
            StopCause::Interrupted => Self::Interrupted,
            StopCause::Obligation => Self::ObligationViolated,
            // The page does not run the recheck. A missing state changes the counts.
            StopCause::UnexpectedCounts | StopCause::Recheck => Self::UnexpectedCounts,
        }
    }
}

model::diagnostics! {
    /// The reason why a walk does not confirm a violation.
    pub(super) enum NotConfirmed {
        /// The path has no run over the unreduced network.
        NoRun { error: String } = "{error}";
        /// The walk refuses a step of the run.
        WalkRefused { refusal: StepRefusal } = "the walk cannot take one of its steps: {refusal}";
        /// The last step of the walk does not violate the property.
        NotViolated = "the walk along it does not end with a violation of this property";
    }
}

/// The sentence of a predicate, without its period.
fn predicate_sentence(name: &str) -> &'static str {
    let predicate = PREDICATES.iter().find(|known| known.name == name);
    predicate.map_or("", |known| known.about.trim_end_matches('.'))
}

/// How a job ended.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) verdict: &'static str,
    pub(super) property: Option<&'static str>,
    /// The cause of a violation.
    pub(super) why: Option<Reason>,
    /// The method that found it.
    pub(super) method: Option<Method>,
    /// For a stuck state: the number of steps to it. The remaining steps show that no entry is
    /// committed.
    pub(super) stuck_after: Option<usize>,
    /// For a timed simulation: the tick of each step.
    pub(super) ticks: Option<Vec<u64>>,
    pub(super) path: Option<Vec<String>>,
    pub(super) steps: Option<&'static str>,
    pub(super) states: u64,
    pub(super) transitions: Option<u64>,
    pub(super) depth: u64,
    pub(super) witnesses: Witnesses,
    pub(super) result: Option<SearchResult>,
}

impl Verdict {
    pub(super) fn failed(result: SearchResult) -> Self {
        Self {
            verdict: "failed",
            result: Some(result),
            ..Self::default()
        }
    }

    pub(super) fn path(&mut self, walk: &Walk) {
        let keys = walk.steps.iter().map(|step| step.key.to_string());
        self.path = Some(keys.collect());
        self.steps = Some(walk.world.steps.name());
    }

    /// Sets the verdict of an exhausted search without a violation. `missing`: the required witnesses that
    /// no step reached.
    pub(super) fn exhausted(
        &mut self,
        scope: &Scope,
        property: Option<&'static str>,
        missing: Vec<&'static str>,
    ) {
        self.verdict = "exhausted";
        let states = self.states;
        let mutant = scope.mutant.map(Mutant::name);
        self.result = Some(match (mutant, property) {
            (None, _) if missing.is_empty() => SearchResult::Exhausted { states },
            (None, _) => SearchResult::ExhaustedWithoutWitnesses {
                states,
                witnesses: missing,
            },
            (Some(mutant), None) => SearchResult::BugNotShown { mutant, states },
            (Some(mutant), Some(property)) => SearchResult::BugNotShownByProperty {
                mutant,
                states,
                property,
            },
        });
    }

    /// Sets the verdict of a violation, if a walk confirms it.
    pub(super) fn violated(
        &mut self,
        trace: anyhow::Result<Trace>,
        world: &World,
        property: Option<Property>,
    ) {
        let name = self.property.unwrap_or_default();
        match self.confirm(trace, world, property) {
            Err(reason) => {
                self.verdict = "failed";
                self.result = Some(SearchResult::NotReal {
                    property: name,
                    reason,
                });
            }
            Ok((walk, steps)) => {
                self.verdict = "violated";
                self.path(&walk);
                self.witnesses.add_all(walk.witnesses());
                if self.method == Some(Method::Progress) {
                    self.stuck_after = Some(steps);
                }
                let mutant = world.scope.mutant.map(Mutant::name);
                self.result = Some(found(mutant, self.method, name, steps as u64));
            }
        }
    }

    /// The walk along a trace, which ends with a violation of the property, and the number of steps to
    /// it. After a stuck state, the walk continues without faults.
    fn confirm(
        &self,
        trace: anyhow::Result<Trace>,
        world: &World,
        property: Option<Property>,
    ) -> Result<(Walk, usize), NotConfirmed> {
        let trace = trace.map_err(|error| NotConfirmed::NoRun {
            error: format!("{error:#}"),
        })?;
        let refused = |refusal| NotConfirmed::WalkRefused { refusal };
        let mut walk = Walk::new(Arc::new(world.clone()));
        for action in trace.actions() {
            walk.take_action(&action).map_err(refused)?;
        }
        let last = walk.steps.last();
        let is_violated = |property| {
            last.is_some_and(|step| {
                step.violations
                    .iter()
                    .any(|violation| violation.property == property)
            })
        };
        if !property.is_none_or(is_violated) {
            return Err(NotConfirmed::NotViolated);
        }
        let steps = walk.steps.len();
        if self.method == Some(Method::Progress) {
            go_on(&mut walk, SHOWN).map_err(refused)?;
        }
        Ok((walk, steps))
    }

    pub(super) fn to_json(&self, elapsed: Duration) -> Value {
        json!({
            "verdict": self.verdict,
            "property": self.property,
            "why": self.why.as_ref().map(ToString::to_string),
            "cause": self.why,
            "method": self.method.map(Method::name),
            "stuck_after": self.stuck_after,
            "ticks": self.ticks,
            "path": self.path,
            "steps": self.steps,
            "states": self.states,
            "transitions": self.transitions,
            "depth": self.depth,
            "elapsed_seconds": (elapsed.as_secs_f64() * 100.0).round() / 100.0,
            "witnesses": view::names(self.witnesses),
            "summary": self.result.as_ref().map(ToString::to_string),
            "result": self.result,
        })
    }
}

/// The result of a search that found a violation, or a stuck state, after this number of steps.
fn found(
    mutant: Option<&'static str>,
    method: Option<Method>,
    property: &'static str,
    steps: u64,
) -> SearchResult {
    let Some(mutant) = mutant else {
        return SearchResult::Violated { property, steps };
    };
    match method {
        Some(Method::Progress) => SearchResult::BugStuck { mutant, steps },
        Some(Method::Timed) => SearchResult::BugInSimulation {
            mutant,
            property,
            steps,
        },
        Some(Method::Schedule) => SearchResult::BugInSchedule {
            mutant,
            property,
            steps,
        },
        Some(Method::Search) | None => SearchResult::BugFound {
            mutant,
            property,
            steps,
        },
    }
}

/// Continues a walk without faults, up to a number of steps or until there is no further event. Disks
/// sync, servers that are down restart, new messages are delivered, and heartbeat timers fire. Election
/// timers fire only if there is no leader. Stops before an entry is committed.
fn go_on(walk: &mut Walk, steps: usize) -> Result<(), StepRefusal> {
    let from = walk.steps.len();
    let committed = walk.committed();
    while walk.steps.len() < from + steps {
        let mut possible: Vec<_> = walk
            .choices()
            .into_iter()
            .filter(|choice| matches!(choice.outcome, Ok(Effect::Something)))
            .filter_map(|choice| Some((walk.urgency(&choice, from)?, choice.key)))
            .collect();
        possible.sort_by_key(|(urgency, _)| *urgency);
        let Some((_, key)) = possible.first().copied() else {
            break;
        };
        walk.take(key)?;
        if walk.committed() > committed {
            walk.cut(walk.steps.len() - 1);
            break;
        }
    }
    Ok(())
}
