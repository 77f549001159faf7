//! The mutants: the property that must detect each, and the scope.
//!
//! A checker that finds nothing proves nothing. Each planted bug is searched for in the smallest scope
//! known to show it. Only the property that the literature assigns to the bug is checked, not an
//! auxiliary property that happens to be stricter.
//!
//! The rules by which messages are dropped or trimmed (`Reduction::drop_dead`, `trim_appends`) hold for
//! the correct protocol. A mutant that breaks one of these rules fails an obligation, which may be all
//! that the search shows of it. So that the violation shows, all messages are kept for such a mutant.

mod entries;
mod scopes;
mod script;

pub use entries::entries;

use self::script::{Directive, perform};
use crate::{
    engine::{self, Limits, SearchOutcome, SearchProgress, StopCause},
    plural::{bounded, counted},
    progress::{NoProgress, ProgressVerdict, check_progress},
    timed::{TimedFailure, TimedOutcome, TimedScenario},
    trace::{self, Trace},
};
use anyhow::Result;
use model::{
    mutant::Mutant,
    system::{Cause, Property, Scope, System, Unmet, Violation},
};
use serde::Serialize;
use std::{
    fmt,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// The property that a mutant violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violates {
    /// A property of [`Property::ALL`].
    Property(Property),
    /// No safety property. But from some state no leader can ever commit a new entry, or, in a scenario, a
    /// required event does not occur.
    Progress,
    /// No safety property, but a leader in contact with a majority is deposed.
    Stability,
    /// No safety property, but a fast operation takes a long time.
    Latency,
}

impl Violates {
    /// The properties that are not in [`Property::ALL`].
    pub const LIVENESS: [Self; 3] = [Self::Progress, Self::Stability, Self::Latency];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Property(property) => property.name(),
            Self::Progress => "Progress",
            Self::Stability => "Stability",
            Self::Latency => "Latency",
        }
    }

    /// The requirement of the property, in a sentence; `None` for a [`Property`], which describes itself.
    pub fn about(self) -> Option<&'static str> {
        match self {
            Self::Property(_) => None,
            Self::Progress => Some(
                "Without further faults the cluster can always elect a leader, commit a new entry and \
                 answer its clients.",
            ),
            Self::Stability => Some("A leader in contact with a majority remains leader."),
            Self::Latency => {
                Some("An operation that needs a few round trips does not take many more.")
            }
        }
    }
}

/// The method that finds a planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// An exhaustive search of the scope, until the first violation.
    Search,
    /// A recorded schedule, in a scope too large to search.
    Schedule,
    /// An exhaustive search, then the progress check from every state.
    Progress,
    /// A simulation with a clock, with several seeds.
    Timed,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 4] = [Self::Search, Self::Schedule, Self::Progress, Self::Timed];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Schedule => "schedule",
            Self::Progress => "progress",
            Self::Timed => "timed",
        }
    }

    /// A description of the method and its possible conclusions, in a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Self::Search => {
                "Exhaustive search: every run within the bounds, shortest first, until one violates \
                 the property."
            }
            Self::Schedule => {
                "Recorded schedule: the scope is too large to search, so a fixed sequence of steps is \
                 replayed. Nothing is claimed about other runs."
            }
            Self::Progress => {
                "Progress check: every state within the bounds is visited, and from each one the checker \
                 looks for a run without faults that commits a new entry. It finds a state from which \
                 there is none."
            }
            Self::Timed => {
                "Timed simulation: the servers run by a clock, with random timers and several seeds. \
                 Nothing is claimed about other runs."
            }
        }
    }
}

/// A mutant, and the scope where it must be found.
#[derive(Clone, Debug)]
pub struct CatalogEntry {
    /// The bug.
    pub mutant: Mutant,
    /// The property that must detect it.
    pub violates: Violates,
    /// The scope.
    pub scope: Scope,
    /// The schedule that shows it, if the scope is too large to search.
    script: Option<&'static [Directive]>,
    /// The scenario that shows it, if the bug depends on time.
    scenario: Option<TimedScenario>,
}

impl Hunt {
    /// The failed obligation that shows the bug, if the search ended without a violation.
    pub fn failed_obligation(&self) -> Option<&Unmet> {
        let is_all = matches!(self.end, HuntEnd::Truncated(StopCause::Obligation));
        self.unmet.first().filter(|_| is_all)
    }

    /// Whether the bug was found: a property is violated, or an obligation failed.
    pub fn is_found(&self) -> bool {
        matches!(self.end, HuntEnd::Found { .. }) || self.failed_obligation().is_some()
    }
}

/// The result of a search for a mutant.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Whether it was found, survived, or the search ended early.
    pub end: HuntEnd,
    /// Distinct states visited.
    pub states: u64,
    /// The time that the search took.
    pub elapsed: Duration,
    /// The obligations of reductions that failed. The mutant breaks their assumptions.
    pub unmet: Vec<Unmet>,
}

/// How a search for a mutant ended.
#[derive(Clone, Debug)]
pub enum HuntEnd {
    /// The mutant was found.
    Found {
        /// The reason why the property is violated.
        why: Reason,
        /// The number of steps to the violation; the minimum, unless they are a script.
        steps: usize,
        /// The evidence.
        evidence: Box<Evidence>,
    },
    /// The scope was exhausted without finding it.
    Survived,
    /// Stopped early: no claim.
    Truncated(StopCause),
}

/// The reason why a mutant violates its property. In JSON it is the diagnostic alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Reason {
    /// A property of [`Property::ALL`] is violated.
    Violation(Box<Cause>),
    /// The progress check fails.
    Progress(NoProgress),
    /// A timed simulation fails.
    Timed(TimedFailure),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(cause) => cause.fmt(f),
            Self::Progress(reason) => reason.fmt(f),
            Self::Timed(failure) => failure.fmt(f),
        }
    }
}

/// The evidence that a mutant violates its property.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// The systems before the violating step, up to a permutation of the servers.
    Path(Vec<System>, Violation),
    /// The systems up to a stuck one, up to a permutation of the servers.
    Stuck(Vec<System>),
    /// The run of a script.
    Script(Trace),
    /// The run of a scenario, and the clock tick of each step.
    Timed(Trace, Vec<u64>),
}

impl CatalogEntry {
    /// The run that shows the mutant, step by step.
    ///
    /// # Errors
    /// If the reduced search's path is not a path of the real system.
    pub fn trace(&self, evidence: &Evidence) -> Result<Trace> {
        match evidence {
            Evidence::Path(path, violation) => trace::concrete(&self.scope, path, violation),
            Evidence::Stuck(path) => trace::concrete_path(&self.scope, path),
            Evidence::Script(trace) | Evidence::Timed(trace, _) => Ok(trace.clone()),
        }
    }

    /// The method that finds it.
    pub fn method(&self) -> Method {
        if self.script.is_some() {
            Method::Schedule
        } else if self.scenario.is_some() {
            Method::Timed
        } else if self.violates == Violates::Progress {
            Method::Progress
        } else {
            Method::Search
        }
    }

    /// The timed simulation that shows it, if there is one.
    pub fn scenario(&self) -> Option<TimedScenario> {
        self.scenario
    }

    /// Searches for the mutant, or follows its script.
    ///
    /// # Panics
    /// If a step of a script is impossible: the script is then not a script of this protocol.
    pub fn hunt(&self, limits: &Limits, progress: &SearchProgress) -> Hunt {
        let started = Instant::now();
        if let Some(script) = self.script {
            let trace = perform(&self.scope, script).expect("the script is of this protocol");
            let states = trace.steps.len() as u64 + 1;
            let end = match trace.violation.clone() {
                Some(violation) => HuntEnd::Found {
                    why: Reason::Violation(violation.cause.clone()),
                    steps: trace.steps.len(),
                    evidence: Box::new(Evidence::Script(trace)),
                },
                None => HuntEnd::Survived,
            };
            let elapsed = started.elapsed();
            return Hunt {
                end,
                states,
                elapsed,
                unmet: Vec::new(),
            };
        }
        if let Some(scenario) = self.scenario {
            let (end, states) = match scenario.find(&self.scope) {
                TimedOutcome::Failed { why, trace, ticks } => {
                    let steps = trace.steps.len();
                    let evidence = Box::new(Evidence::Timed(*trace, ticks));
                    let end = HuntEnd::Found {
                        why: Reason::Timed(why),
                        steps,
                        evidence,
                    };
                    (end, steps as u64 + 1)
                }
                TimedOutcome::Passed { steps } => (HuntEnd::Survived, steps),
            };
            let elapsed = started.elapsed();
            return Hunt {
                end,
                states,
                elapsed,
                unmet: Vec::new(),
            };
        }
        let explored = engine::check(&self.scope, limits, progress);
        let states = explored.report.states;
        let end = match (&explored.report.outcome, self.violates) {
            (SearchOutcome::Violated { violation, path }, Violates::Property(_)) => {
                HuntEnd::Found {
                    why: Reason::Violation(violation.cause.clone()),
                    steps: path.len(),
                    evidence: Box::new(Evidence::Path(path.clone(), violation.clone())),
                }
            }
            (SearchOutcome::Exhausted, Violates::Property(_)) => HuntEnd::Survived,
            // A stuck state is stuck regardless of the assumptions of the reductions.
            (
                SearchOutcome::Exhausted | SearchOutcome::Truncated(StopCause::Obligation),
                Violates::Progress,
            ) => {
                let report = check_progress(&self.scope, &explored, 1, &progress.interrupt);
                match report.verdict {
                    ProgressVerdict::Holds => HuntEnd::Survived,
                    ProgressVerdict::Truncated(_) => {
                        let is_interrupted = progress.interrupt.load(Ordering::Relaxed);
                        HuntEnd::Truncated(match explored.report.outcome {
                            SearchOutcome::Truncated(cause) if !is_interrupted => cause,
                            _ if is_interrupted => StopCause::Interrupted,
                            _ => StopCause::MaxStates,
                        })
                    }
                    ProgressVerdict::Stuck(stuck) => {
                        let steps = stuck.path.len().saturating_sub(1);
                        HuntEnd::Found {
                            why: Reason::Progress(stuck.reason()),
                            steps,
                            evidence: Box::new(Evidence::Stuck(stuck.path)),
                        }
                    }
                }
            }
            // This mutant should violate progress alone, but it violates a safety property: its entry is
            // wrong.
            (SearchOutcome::Violated { .. }, Violates::Progress) => HuntEnd::Survived,
            // These depend on time, and the search has no clock: scenarios show them.
            (_, Violates::Stability | Violates::Latency) => HuntEnd::Survived,
            (SearchOutcome::Truncated(cause), _) => HuntEnd::Truncated(*cause),
        };
        let elapsed = started.elapsed();
        Hunt {
            end,
            states,
            elapsed,
            unmet: explored.report.checked.unmet.clone(),
        }
    }
}

/// The property that a bug violates, and the scope that is known to show it.
pub(crate) fn shown_by(mutant: Mutant) -> String {
    let mut entries = entries().into_iter();
    let entry = entries.find(|entry| entry.mutant == mutant);
    let entry = entry.expect("the catalog names every bug");
    let scope = &entry.scope;
    format!(
        "it violates {} in {} with {}, {}, {}, {}, {} and {}",
        entry.violates.name(),
        scope.name,
        counted(scope.servers, "server"),
        counted(scope.terms, "term"),
        counted(scope.budget.entries.into(), "entry"),
        counted(scope.budget.reads.into(), "read"),
        bounded(scope.budget.crashes.into(), "crash"),
        bounded(scope.budget.snapshots.into(), "snapshot")
    )
}
