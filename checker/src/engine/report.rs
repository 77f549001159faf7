//! The result of a search.

use super::{obligations::Checked, tables::Sizes};
use crate::expected_counts::Counts;
use model::system::{ActionCounts, Scope, System, Violation, Witness, Witnesses};
use serde::Serialize;
use std::time::Duration;

/// Why a search makes no claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopCause {
    /// The limit of states was reached.
    MaxStates,
    /// The limit of memory was reached.
    MaxMemory,
    /// It was interrupted.
    Interrupted,
    /// There are more states than state numbers.
    Capacity,
    /// An obligation of a reduction failed; see [`SearchReport::checked`].
    Obligation,
    /// The frontier is empty, and the counts are not those that the scope must have; see
    /// [`SearchReport::expected`].
    UnexpectedCounts,
    /// The readable model has a step that the search does not have; see [`super::recheck()`].
    Recheck,
}

/// How a search ended.
#[derive(Clone, Debug)]
pub enum SearchOutcome {
    /// Every state within the bounds was visited, and every property holds in all of them.
    Exhausted,
    /// No claim: stopped early, or the result fails a check of the search itself.
    Truncated(StopCause),
    /// A property is violated. `path` is a shortest path to the violation, up to a permutation of the
    /// servers, without the last system.
    Violated {
        /// The property and the reason.
        violation: Violation,
        /// From an initial system to the one with the violating step.
        path: Vec<System>,
    },
}

/// The result of a search.
#[derive(Clone, Debug)]
pub struct SearchReport {
    /// How the search ended.
    pub outcome: SearchOutcome,
    /// Distinct states.
    pub states: u64,
    /// Steps enabled in the states expanded.
    pub transitions: u64,
    /// The number of steps to the farthest state.
    pub depth: u64,
    /// Wall time.
    pub elapsed: Duration,
    /// The peak size in bytes of visited set, parents, index and frontier.
    pub bytes: u64,
    /// The counts that the search must have if it visits every state; `None` unless the scope is one of
    /// the catalog, without any change.
    pub expected: Option<Counts>,
    /// The witnesses reached.
    pub witnesses: Witnesses,
    /// The sizes of the tables.
    pub sizes: Sizes,
    /// The checks of the reductions' obligations.
    pub checked: Checked,
    /// The actions of the abstract Raft that the distinct steps are mapped to.
    pub actions: ActionCounts,
}

impl SearchOutcome {
    /// The outcome of a search with these counts: a search that should have others is not exhausted.
    pub(crate) fn compared(self, found: Counts, expected: Option<Counts>) -> Self {
        match (self, expected) {
            (Self::Exhausted, Some(expected)) if expected != found => {
                Self::Truncated(StopCause::UnexpectedCounts)
            }
            (outcome, _) => outcome,
        }
    }
}

impl SearchReport {
    /// The expected witnesses of the scope that were not reached.
    pub fn missing(&self, scope: &Scope) -> Vec<Witness> {
        let expected = scope.expected.iter().copied();
        expected
            .filter(|witness| !self.witnesses.contains(*witness))
            .collect()
    }

    /// Whether the scope is exhausted, every property holds and every witness was reached.
    pub fn passed(&self, scope: &Scope) -> bool {
        matches!(self.outcome, SearchOutcome::Exhausted) && self.missing(scope).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_with_a_wrong_count_is_not_exhausted() {
        let expected = Counts {
            states: 10,
            transitions: 30,
            depth: 4,
        };
        let compared = |found, expected| SearchOutcome::Exhausted.compared(found, expected);
        for known in [None, Some(expected)] {
            assert!(matches!(
                compared(expected, known),
                SearchOutcome::Exhausted
            ));
        }
        let wrong = [
            Counts {
                states: 9,
                ..expected
            },
            Counts {
                transitions: 31,
                ..expected
            },
            Counts {
                depth: 5,
                ..expected
            },
        ];
        for found in wrong {
            assert!(matches!(
                compared(found, Some(expected)),
                SearchOutcome::Truncated(StopCause::UnexpectedCounts)
            ));
            // No other outcome becomes weaker or stronger.
            let stopped = SearchOutcome::Truncated(StopCause::Interrupted);
            assert!(matches!(
                stopped.compared(found, Some(expected)),
                SearchOutcome::Truncated(StopCause::Interrupted)
            ));
        }
    }
}
