//! The mutants: which property each must be caught by, and in which scope.
//!
//! A checker that finds nothing proves nothing. Each planted bug is searched for in the smallest
//! scope known to show it, judged by the one property that the field says it breaks: not by a
//! helper that happens to look closer.
//!
//! Messages are dropped as dead (`Reduction::drop_dead`) by rules of the correct protocol. Where a
//! mutant breaks one of those very rules, every message stays.

use crate::{
    engine::{self, Limits, Outcome, Progress},
    progress::{ProgressVerdict, check_progress},
};
use model::{
    mutant::Mutant,
    system::{Budget, Law, Laws, Reduction, Scope, System},
};
use std::time::{Duration, Instant};

/// What a mutant breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaks {
    /// A law of [`Law::ALL`].
    Law(Law),
    /// No law; but from some state no leader can ever commit a new entry.
    Progress,
}

impl Breaks {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Law(law) => law.name(),
            Self::Progress => "Progress",
        }
    }
}

/// A mutant, and where it must be found.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The bug.
    pub mutant: Mutant,
    /// What must catch it.
    pub breaks: Breaks,
    /// Where.
    pub scope: Scope,
}

/// What became of a search for a mutant.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Whether it was found, survived, or the search ended early.
    pub end: HuntEnd,
    /// Distinct states visited.
    pub states: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// How a search for a mutant ended.
#[derive(Clone, Debug)]
pub enum HuntEnd {
    /// Found: the systems on a shortest way, and why the last step breaks the property.
    Found {
        /// Up to the renaming of servers; the step that breaks a law is not among them.
        path: Vec<System>,
        /// In a sentence.
        why: String,
        /// How many steps.
        steps: usize,
    },
    /// The scope was exhausted without finding it.
    Survived,
    /// Stopped early: no claim.
    Truncated,
}

impl Entry {
    /// Searches for the mutant.
    pub fn hunt(&self, limits: &Limits, progress: &Progress) -> Hunt {
        let started = Instant::now();
        let explored = engine::check(&self.scope, limits, progress);
        let states = explored.report.states;
        let end = match (&explored.report.outcome, self.breaks) {
            (Outcome::Violated { broken, path }, Breaks::Law(_)) => HuntEnd::Found {
                why: broken.why.clone(),
                steps: path.len(),
                path: path.clone(),
            },
            (Outcome::Exhausted, Breaks::Law(_)) => HuntEnd::Survived,
            (Outcome::Exhausted, Breaks::Progress) => {
                let report = check_progress(&self.scope, &explored, 1, &progress.interrupt);
                match report.verdict {
                    ProgressVerdict::Holds => HuntEnd::Survived,
                    ProgressVerdict::Truncated => HuntEnd::Truncated,
                    ProgressVerdict::Stuck(stuck) => HuntEnd::Found {
                        why: format!(
                            "from a state {} steps away no entry can be committed any more: none of the {} states reachable without faults does",
                            stuck.path.len().saturating_sub(1),
                            stuck.extension_states
                        ),
                        steps: stuck.path.len().saturating_sub(1),
                        path: stuck.path,
                    },
                }
            }
            // A mutant that was to break progress alone broke a law: it is not what it says.
            (Outcome::Violated { .. }, Breaks::Progress) => HuntEnd::Survived,
            (Outcome::Truncated(_), _) => HuntEnd::Truncated,
        };
        let elapsed = started.elapsed();
        Hunt {
            end,
            states,
            elapsed,
        }
    }
}

/// Every mutant, in the order of [`Mutant::ALL`].
pub fn entries() -> Vec<Entry> {
    Mutant::ALL.iter().map(|mutant| entry(*mutant)).collect()
}

fn entry(mutant: Mutant) -> Entry {
    use Law::{
        ElectionSafety, ExactlyOnce, LeaderCompleteness, Linearizability, MatchIsDurable,
        OneVotePerTerm, StateMachineSafety,
    };
    use Mutant::*;
    let (breaks, scope) = match mutant {
        VoteNotPersisted | VoteSentBeforeDurable | RejoinsWithWipedDisk => {
            (Breaks::Law(ElectionSafety), elections(3, 1, 1))
        }
        CandidateForgetsOwnVote | VotesTwiceInATerm | QuorumOffByOne => {
            (Breaks::Law(ElectionSafety), elections(3, 1, 0))
        }
        CountsStaleVotes | VotesInAnOlderTerm | StaysLeaderInNewTerm => {
            (Breaks::Law(ElectionSafety), elections(3, 2, 0))
        }
        CountsRepeatedVotes => (Breaks::Law(ElectionSafety), elections(4, 1, 0)),
        VotesRequestedBeforeDurable => (Breaks::Law(OneVotePerTerm), elections(3, 1, 0)),
        VotesWithoutComparingLogs => (Breaks::Law(LeaderCompleteness), logs(2, 0, 0)),
        ComparesLogsByLength => (Breaks::Law(LeaderCompleteness), logs(3, 1, 0)),
        CommitsOlderTermByCounting => (
            Breaks::Law(LeaderCompleteness),
            tidied(one_by_one(logs(4, 0, 0))),
        ),
        ConflictingSuffixKept => (Breaks::Law(StateMachineSafety), logs(2, 0, 0)),
        PrevTermNotCompared => (Breaks::Law(StateMachineSafety), tidied(logs(3, 0, 0))),
        CountsStaleAcknowledgements => (Breaks::Law(MatchIsDurable), logs(3, 0, 0)),
        MatchIndexSurvivesReElection => (Breaks::Law(MatchIsDurable), tidied(logs(3, 0, 0))),
        AppendAcknowledgedBeforeDurable => (Breaks::Law(LeaderCompleteness), logs(2, 0, 1)),
        LateNoticeCreditsOverwrittenEntries => (Breaks::Law(MatchIsDurable), split(logs(2, 0, 0))),
        AcceptsStaleAppends => (Breaks::Law(MatchIsDurable), logs(2, 0, 0)),
        TruncatesWithoutConflict => (Breaks::Law(LeaderCompleteness), logs(2, 1, 0)),
        TruncationNotPersisted => (Breaks::Law(MatchIsDurable), logs(2, 0, 0)),
        FollowerCommitsDespiteConflict => (Breaks::Law(StateMachineSafety), tidied(logs(3, 0, 0))),
        LeaderCountsItselfBeforeDurable => (Breaks::Law(LeaderCompleteness), logs(2, 0, 1)),
        ReadBeforeCommitInTerm | ReadWithoutConfirmation | ReadRoundNotCompared => {
            (Breaks::Law(Linearizability), reads(2, 1, 1))
        }
        ReadBeforeApplied => (Breaks::Law(Linearizability), reads(2, 1, 1)),
        CommandAppliedTwice => (Breaks::Law(ExactlyOnce), end_to_end(2, 1, 1)),
        AcknowledgedSequenceAppliedAgain => (Breaks::Law(Linearizability), end_to_end(3, 2, 1)),
        RetriesUnderNewSequence => (Breaks::Law(Linearizability), end_to_end(2, 1, 3)),
        UnavailableTakenForNotDone => (Breaks::Law(Linearizability), end_to_end(2, 2, 1)),
        ResponseIdNotCompared => (Breaks::Law(Linearizability), end_to_end(2, 2, 1)),
        LeaderSkipsNoop => (Breaks::Progress, alone(2, logs(1, 0, 0))),
        VoteKeptAcrossTerms | SplitVoteNeverRetried => (Breaks::Progress, elections(2, 1, 0)),
        NextIndexNotMovedBack => (Breaks::Progress, elections(2, 1, 1)),
    };
    let laws = match breaks {
        Breaks::Law(law) => Laws::only(law),
        Breaks::Progress => Laws::ALL,
    };
    let scope = Scope {
        mutant: Some(mutant),
        laws,
        expected: Vec::new(),
        ..scope
    };
    Entry {
        mutant,
        breaks,
        scope,
    }
}

/// A scope of the catalogue with other bounds, and every message kept.
fn bounded(name: &str, terms: u64, budget: Budget) -> Scope {
    let found = Scope::catalogue()
        .into_iter()
        .find(|scope| scope.name == name);
    let base = found.expect("the scopes that mutants use are in the catalogue");
    Scope {
        terms,
        budget,
        reduction: Reduction {
            drop_dead: false,
            ..base.reduction
        },
        ..base
    }
}

fn elections(servers: u64, terms: u64, crashes: u8) -> Scope {
    let budget = Budget {
        crashes,
        ..Budget::default()
    };
    alone(servers, bounded("elections", terms, budget))
}

fn logs(terms: u64, entries: u8, crashes: u8) -> Scope {
    let budget = Budget {
        entries,
        crashes,
        ..Budget::default()
    };
    bounded("crashes", terms, budget)
}

fn reads(terms: u64, entries: u8, reads: u8) -> Scope {
    let budget = Budget {
        entries,
        reads,
        ..Budget::default()
    };
    bounded("reads", terms, budget)
}

/// One client with `operations` increments, and the faults that make it try again.
fn end_to_end(entries: u8, operations: usize, attempts: u32) -> Scope {
    let budget = Budget {
        entries,
        ..Budget::default()
    };
    let base = bounded("end-to-end", 1, budget);
    let plans = base
        .plans
        .iter()
        .take(1)
        .map(|plan| plan.iter().cycle().take(operations).cloned().collect())
        .collect();
    Scope {
        plans,
        attempts,
        ..base
    }
}

fn alone(servers: u64, scope: Scope) -> Scope {
    Scope { servers, ..scope }
}

fn one_by_one(scope: Scope) -> Scope {
    Scope { batch: 1, ..scope }
}

/// For mutants that break no rule by which messages are dropped.
fn tidied(scope: Scope) -> Scope {
    Scope {
        reduction: Reduction {
            drop_dead: true,
            ..scope.reduction
        },
        ..scope
    }
}

fn split(scope: Scope) -> Scope {
    Scope {
        reduction: Reduction {
            merge_syncs: false,
            ..scope.reduction
        },
        ..scope
    }
}
