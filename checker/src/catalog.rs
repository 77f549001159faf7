//! The mutants: the property that must detect each, and the scope.
//!
//! A checker that finds nothing proves nothing. Each planted bug is searched for in the smallest scope
//! known to show it. Only the property that the literature assigns to the bug is checked, not an
//! auxiliary property that happens to be stricter.
//!
//! The rules by which messages are dropped as dead (`Reduction::drop_dead`) hold for the correct
//! protocol. For a mutant that breaks one of these rules, all messages are kept.

use crate::{
    engine::{self, Limits, SearchOutcome, SearchProgress, StopCause},
    plural::counted,
    progress::{NoProgress, ProgressVerdict, check_progress},
    timed::{self, TimedFailure, TimedOutcome, TimedScenario},
    trace::{self, Trace},
};
use anyhow::{Context, Result};
use model::{
    Address, AppendOutcome, Message, NodeId,
    mutant::Mutant,
    system::{
        Action, Budget, Cause, Local, Properties, Property, Reduction, Scope, System,
        TransitionSystem, Violation,
    },
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

/// A step of a script.
#[derive(Clone, Copy, Debug)]
enum Directive {
    /// The election timer of a server fires.
    Timeout(u64),
    /// A client sends a write to a server.
    Propose(u64),
    /// A client sends a read to a server.
    Read(u64),
    /// A server's oldest write becomes durable.
    Sync(u64),
    /// Delivers a message of this kind and term from one server to another. If there are several, the
    /// one with the most entries is delivered.
    Deliver(MessageKind, u64, u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageKind {
    VoteRequest,
    Vote,
    Append,
    /// An AppendEntries request with a read round.
    ReadRound,
    Acknowledgement,
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
        }
    }
}

/// Follows a script with real messages, and stops at the first violation.
fn perform(scope: &Scope, script: &[Directive]) -> Result<Trace> {
    let scope = Scope {
        reduction: Reduction {
            drop_dead: false,
            send_early: false,
            trim_appends: false,
            ..scope.reduction
        },
        ..scope.clone()
    };
    let transitions = TransitionSystem::new(scope.clone());
    let mut system = transitions.start();
    let mut actions = Vec::new();
    for directive in script {
        let action = directive
            .action(&system)
            .with_context(|| format!("no message for {directive:?}"))?;
        transitions
            .advance(&mut system, &action)
            .with_context(|| format!("{directive:?} cannot happen"))?;
        actions.push(action);
        if system.violation.is_some() {
            break;
        }
    }
    Trace::run(&scope, &actions)
}

impl Directive {
    fn action(self, system: &System) -> Option<Action> {
        let (server, local) = match self {
            Self::Timeout(server) => (server, Local::ElectionTimeout),
            Self::Propose(server) => (server, Local::Propose),
            Self::Read(server) => (server, Local::Read),
            Self::Sync(server) => (server, Local::Sync),
            Self::Deliver(kind, term, from, to) => {
                let node = |server| Address::Node(NodeId::new(server));
                let envelope = system
                    .network
                    .iter()
                    .filter(|envelope| envelope.from == node(from) && envelope.to == node(to))
                    .filter(|envelope| {
                        described(&envelope.message) == Some((kind, term))
                            || (kind == MessageKind::Append
                                && described(&envelope.message)
                                    == Some((MessageKind::ReadRound, term)))
                    })
                    .max_by_key(|envelope| says(&envelope.message))?
                    .clone();
                (
                    to,
                    Local::Deliver {
                        envelope,
                        ask: None,
                    },
                )
            }
        };
        let process = server as usize - 1;
        Some(Action { process, local })
    }
}

fn described(message: &Message) -> Option<(MessageKind, u64)> {
    let (kind, term) = match message {
        Message::RequestVoteRequest(request) => (MessageKind::VoteRequest, request.term),
        Message::RequestVoteResponse(response) => (MessageKind::Vote, response.term),
        Message::AppendEntriesRequest(request) if request.read_round > 0 => {
            (MessageKind::ReadRound, request.term)
        }
        Message::AppendEntriesRequest(request) => (MessageKind::Append, request.term),
        Message::AppendEntriesResponse(response) => (MessageKind::Acknowledgement, response.term),
        Message::PreVoteRequest(_)
        | Message::PreVoteResponse(_)
        | Message::InstallSnapshotRequest(_)
        | Message::InstallSnapshotResponse(_)
        | Message::ClientRequest(_)
        | Message::ClientResponse(_)
        | Message::Identity(_) => return None,
    };
    Some((kind, term.get()))
}

/// The number of entries that a message contains or acknowledges.
fn says(message: &Message) -> u64 {
    match message {
        Message::AppendEntriesRequest(request) => request.entries.len() as u64,
        Message::AppendEntriesResponse(response) => match response.outcome {
            AppendOutcome::Matched { match_index } => match_index.get(),
            AppendOutcome::Conflict { .. } | AppendOutcome::StaleTerm => 0,
        },
        _ => 0,
    }
}

/// Three and four servers cannot show that an acknowledgment outlived its leadership: an entry that two
/// of three servers acknowledge is committed. With five servers: server 1 leads and server 2
/// acknowledges two entries; server 5 leads and replaces them by one; server 1 leads again, counts on
/// server 2 for its second entry, and commits it with server 3 alone; server 2 is elected without it.
#[rustfmt::skip]
const OUTLIVED: &[Directive] = {
    use Directive::*;
    use MessageKind::*;
    &[
        Timeout(1), Deliver(VoteRequest, 1, 1, 2), Deliver(VoteRequest, 1, 1, 3),
        Deliver(Vote, 1, 2, 1), Deliver(Vote, 1, 3, 1), Propose(1),
        Deliver(Append, 1, 1, 2), Deliver(Acknowledgement, 1, 2, 1),
        Deliver(Append, 1, 1, 2), Deliver(Acknowledgement, 1, 2, 1),
        Timeout(5), Timeout(5), Deliver(VoteRequest, 2, 5, 3), Deliver(VoteRequest, 2, 5, 4),
        Deliver(Vote, 2, 3, 5), Deliver(Vote, 2, 4, 5),
        Deliver(Append, 2, 5, 2), Deliver(Append, 2, 5, 1),
        Timeout(1), Deliver(VoteRequest, 3, 1, 3), Deliver(VoteRequest, 3, 1, 4),
        Deliver(Vote, 3, 3, 1), Deliver(Vote, 3, 4, 1), Sync(1),
        Deliver(Append, 3, 1, 3), Deliver(Acknowledgement, 3, 3, 1),
        Deliver(Append, 3, 1, 3), Deliver(Acknowledgement, 1, 2, 1),
        Deliver(Acknowledgement, 3, 3, 1),
        Timeout(2), Timeout(2), Deliver(VoteRequest, 4, 2, 5), Deliver(VoteRequest, 4, 2, 4),
        Deliver(Vote, 4, 5, 2), Deliver(Vote, 4, 4, 2),
    ]
};

/// Server 1 leads in term 2 and requests server 3 to confirm a read. It leads again in term 4, with
/// server 3's vote. Then the old request arrives and is refused, in term 4. Server 2 is elected in term
/// 5 and commits a write with server 3. Server 1 does not know this write, and must not mistake the
/// refusal for a confirmation of its next read.
#[rustfmt::skip]
const REFUSED: &[Directive] = {
    use Directive::*;
    use MessageKind::*;
    &[
        Timeout(1), Deliver(VoteRequest, 2, 1, 2), Deliver(Vote, 2, 2, 1),
        Deliver(Append, 2, 1, 2), Read(1),
        Timeout(2), Deliver(VoteRequest, 3, 2, 1),
        Timeout(1), Deliver(VoteRequest, 4, 1, 3), Deliver(Vote, 4, 3, 1),
        Deliver(ReadRound, 2, 1, 3),
        Sync(1), Deliver(Append, 4, 1, 2), Deliver(Acknowledgement, 4, 2, 1),
        Timeout(2), Deliver(VoteRequest, 5, 2, 3), Deliver(Vote, 5, 3, 2), Propose(2),
        Deliver(Append, 5, 2, 3), Deliver(Acknowledgement, 5, 3, 2),
        Sync(2), Sync(2),
        Deliver(Append, 5, 2, 3), Deliver(Acknowledgement, 5, 3, 2),
        Deliver(Append, 5, 2, 3), Deliver(Acknowledgement, 5, 3, 2),
        Read(1), Deliver(Acknowledgement, 4, 3, 1),
    ]
};

/// All mutants, in the order of [`Mutant::ALL`].
pub fn entries() -> Vec<CatalogEntry> {
    Mutant::ALL.iter().map(|mutant| entry(*mutant)).collect()
}

fn entry(mutant: Mutant) -> CatalogEntry {
    use Mutant::*;
    use Property::{
        AcknowledgedWritesKept, ElectionSafety, ExactlyOnce, Invariants, LeaderCompleteness,
        Linearizability, MatchIsDurable, Monotone, OneVotePerTerm, StateMachineSafety,
        TermsOrderedInLog,
    };
    let (violates, scope) = match mutant {
        VoteNotPersisted | VoteSentBeforeDurable | RejoinsWithWipedDisk => {
            (Violates::Property(ElectionSafety), elections(3, 1, 1))
        }
        CandidateForgetsOwnVote | VotesTwiceInATerm | QuorumOffByOne => {
            (Violates::Property(ElectionSafety), elections(3, 1, 0))
        }
        CountsStaleVotes | VotesInAnOlderTerm | StaysLeaderInNewTerm => {
            (Violates::Property(ElectionSafety), elections(3, 2, 0))
        }
        CountsRepeatedVotes => (Violates::Property(ElectionSafety), elections(4, 1, 0)),
        VotesRequestedBeforeDurable => (Violates::Property(OneVotePerTerm), elections(3, 1, 0)),
        VotesWithoutComparingLogs => (Violates::Property(LeaderCompleteness), logs(2, 0, 0)),
        ComparesLogsByLength => (Violates::Property(LeaderCompleteness), logs(3, 1, 0)),
        CommitsOlderTermByCounting => (
            Violates::Property(LeaderCompleteness),
            tidied(one_by_one(logs(4, 0, 0))),
        ),
        ConflictingSuffixKept => (Violates::Property(StateMachineSafety), logs(2, 0, 0)),
        PrevTermNotCompared => (
            Violates::Property(StateMachineSafety),
            tidied(logs(3, 0, 0)),
        ),
        CountsStaleAcknowledgements | MatchIndexSurvivesReElection => (
            Violates::Property(LeaderCompleteness),
            without_session(alone(5, logs(4, 1, 0))),
        ),
        AppendAcknowledgedBeforeDurable => (Violates::Property(LeaderCompleteness), logs(2, 0, 1)),
        AnsweredBeforeTermIsDurable => (Violates::Property(MatchIsDurable), split(logs(1, 0, 0))),
        HeartbeatAcknowledgesUndurable => {
            (Violates::Property(MatchIsDurable), split(logs(2, 1, 0)))
        }
        HeartbeatAnswerWaitsForDisk => (Violates::Stability, timed::scope()),
        LateNoticeCreditsOverwrittenEntries => {
            (Violates::Property(MatchIsDurable), split(logs(2, 0, 0)))
        }
        AcceptsStaleAppends => (Violates::Property(MatchIsDurable), logs(2, 0, 0)),
        TruncatesWithoutConflict => (Violates::Property(LeaderCompleteness), logs(2, 1, 0)),
        TruncationNotPersisted => (Violates::Property(MatchIsDurable), logs(2, 0, 0)),
        FollowerCommitsDespiteConflict => (
            Violates::Property(StateMachineSafety),
            tidied(logs(3, 0, 0)),
        ),
        LeaderCountsItselfBeforeDurable => (Violates::Property(LeaderCompleteness), logs(2, 0, 1)),
        ReadBeforeCommitInTerm | ReadWithoutConfirmation | ReadRoundNotCompared => {
            (Violates::Property(Linearizability), tidied(reads(2, 1, 1)))
        }
        ReadJoinsEarlierRound => (Violates::Property(Linearizability), tidied(reads(2, 1, 2))),
        ReadBeforeApplied => (Violates::Property(Linearizability), tidied(reads(2, 1, 1))),
        CommandAppliedTwice => (Violates::Property(ExactlyOnce), end_to_end(2, 1, 1)),
        AcknowledgedSequenceAppliedAgain => {
            (Violates::Property(ExactlyOnce), tidied(end_to_end(3, 2, 1)))
        }
        RetriesUnderNewSequence => (
            Violates::Property(Linearizability),
            tidied(end_to_end(2, 1, 2)),
        ),
        UnavailableTakenForNotDone => (
            Violates::Property(Linearizability),
            tidied(end_to_end(2, 2, 1)),
        ),
        ResponseIdNotCompared => (Violates::Property(Linearizability), end_to_end(2, 2, 1)),
        LeaderSkipsNoop => (Violates::Progress, alone(2, logs(1, 0, 0))),
        VoteKeptAcrossTerms | SplitVoteNeverRetried => (Violates::Progress, elections(2, 1, 0)),
        NextIndexNotMovedBack => (Violates::Progress, elections(2, 1, 1)),
        PreCandidateRefusesOthers => (Violates::Progress, quiet(elections(2, 1, 0))),
        PreVoteCountedAsVote => (
            Violates::Property(ElectionSafety),
            quiet(elections(3, 1, 0)),
        ),
        AckCountsEverythingSent => (
            Violates::Property(LeaderCompleteness),
            pipelined(logs(2, 1, 0)),
        ),
        StalePreVoteDropped | LeaderNeverChecksQuorum | QuorumContactNeverExpires => {
            (Violates::Progress, timed::scope())
        }
        SessionsLeftOutOfSnapshot => (Violates::Property(ExactlyOnce), snapshots(1, 0, 0)),
        PrefixRemovedBeforeSnapshotIsDurable => {
            (Violates::Property(ExactlyOnce), split(snapshots(1, 0, 1)))
        }
        SnapshotBeyondCommitted => (Violates::Property(StateMachineSafety), snapshots(1, 1, 0)),
        StaleSnapshotInstalled => (Violates::Property(Monotone), snapshots(1, 1, 0)),
        ConflictingSuffixKeptBehindSnapshot => {
            (Violates::Property(TermsOrderedInLog), snapshots(2, 1, 0))
        }
        SnapshotAcknowledgedBeforeDurable => {
            (Violates::Property(MatchIsDurable), snapshots(1, 0, 0))
        }
        VotesDespiteLiveLeader | PreVoteRaisesTerm | HeartbeatsNotSent | LeaderNotWaitedFor => {
            (Violates::Stability, timed::scope())
        }
        WaitersOutliveTheLead => (
            Violates::Property(AcknowledgedWritesKept),
            tidied(logs(2, 2, 0)),
        ),
        MatchIndexFalls => (Violates::Property(Invariants), logs(1, 1, 0)),
        WindowNotKept => (Violates::Property(Invariants), pipelined(logs(1, 3, 0))),
        StaleRefusalConfirmsReads => (Violates::Property(Linearizability), tidied(reads(4, 1, 2))),
        UnknownSessionApplied | SessionsNeverEvicted => (
            Violates::Property(ExactlyOnce),
            alone(1, tidied(sessions(4, 2))),
        ),
        SessionInUseEvicted | ClosedSessionKept => (
            Violates::Property(ExactlyOnce),
            alone(1, tidied(sessions(4, 2))),
        ),
        SessionInUseGivenToAnother => (
            Violates::Property(Linearizability),
            alone(1, tidied(sessions(4, 1))),
        ),
        ExpiredSessionWriteRepeated | AppliedSequencesForgotten => (
            Violates::Property(Linearizability),
            alone(1, tidied(sessions(6, 1))),
        ),
        EarlierWritesNotSettled => (
            Violates::Property(Linearizability),
            alone(1, tidied(end_to_end(3, 3, 1))),
        ),
        ProxyMixesRequestsUp => (Violates::Property(Linearizability), end_to_end(2, 2, 1)),
        VoteRequestsNotRepeated
        | RepeatedVoteRefused
        | ClientNeverRetries
        | ClientNeverGivesUp
        | ProxyStaysWithSilentServer
        | ProxyNeverGivesUp => (Violates::Progress, timed::scope()),
        ConflictHintIgnored
        | StepDownNotBelieved
        | LostLeadershipNotReported
        | ProxyIgnoresHints
        | ProxyForgetsLeader => (Violates::Latency, timed::scope()),
    };
    let scenario = match mutant {
        StalePreVoteDropped => Some(TimedScenario::Outdated),
        LeaderNeverChecksQuorum | QuorumContactNeverExpires => Some(TimedScenario::Unheard),
        VotesDespiteLiveLeader => Some(TimedScenario::Deaf),
        StepDownNotBelieved => Some(TimedScenario::StepsDown),
        HeartbeatAnswerWaitsForDisk => Some(TimedScenario::SlowDisks),
        PreVoteRaisesTerm | HeartbeatsNotSent | LeaderNotWaitedFor => Some(TimedScenario::Returns),
        ConflictHintIgnored => Some(TimedScenario::Behind),
        VoteRequestsNotRepeated | RepeatedVoteRefused | ClientNeverRetries => {
            Some(TimedScenario::Lossy)
        }
        ProxyStaysWithSilentServer => Some(TimedScenario::Silent),
        ProxyIgnoresHints | ProxyForgetsLeader => Some(TimedScenario::Redirected),
        LostLeadershipNotReported => Some(TimedScenario::Deposed),
        ClientNeverGivesUp | ProxyNeverGivesUp => Some(TimedScenario::Abandoned),
        _ => None,
    };
    let scope = scenario.map_or(scope, TimedScenario::scope);
    let properties = match violates {
        Violates::Property(property) => Properties::only(property),
        Violates::Progress | Violates::Stability | Violates::Latency => Properties::ALL,
    };
    let scope = Scope {
        mutant: Some(mutant),
        properties,
        expected: Vec::new(),
        ..scope
    };
    let script = match mutant {
        CountsStaleAcknowledgements | MatchIndexSurvivesReElection => Some(OUTLIVED),
        StaleRefusalConfirmsReads => Some(REFUSED),
        _ => None,
    };
    CatalogEntry {
        mutant,
        violates,
        scope,
        script,
        scenario,
    }
}

/// A scope of the catalog with other bounds, and with all messages kept unchanged.
fn bounded(name: &str, terms: u64, budget: Budget) -> Scope {
    let found = Scope::catalog()
        .into_iter()
        .find(|scope| scope.name == name);
    let base = found.expect("the scopes that mutants use are in the catalog");
    Scope {
        terms,
        budget,
        reduction: Reduction {
            drop_dead: false,
            trim_appends: false,
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

/// With one snapshot.
fn snapshots(terms: u64, entries: u8, crashes: u8) -> Scope {
    let budget = Budget {
        entries,
        crashes,
        snapshots: 1,
        ..Budget::default()
    };
    bounded("snapshots", terms, budget)
}

fn reads(terms: u64, entries: u8, reads: u8) -> Scope {
    let budget = Budget {
        entries,
        reads,
        ..Budget::default()
    };
    bounded("reads", terms, budget)
}

/// One client with `operations` increments, and the faults that make it retry.
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

/// The scope `sessions`, with a first client that increments a counter this many times.
fn sessions(entries: u8, operations: usize) -> Scope {
    let budget = Budget {
        entries,
        ..Budget::default()
    };
    let mut scope = bounded("sessions", 1, budget);
    scope.plans[0].truncate(operations);
    scope
}

fn alone(servers: u64, scope: Scope) -> Scope {
    Scope { servers, ..scope }
}

/// With servers that run a pre-vote before an election.
fn quiet(scope: Scope) -> Scope {
    Scope {
        pre_vote: true,
        ..scope
    }
}

fn pipelined(scope: Scope) -> Scope {
    Scope {
        window: 2,
        ..one_by_one(scope)
    }
}

fn one_by_one(scope: Scope) -> Scope {
    Scope { batch: 1, ..scope }
}

fn without_session(scope: Scope) -> Scope {
    Scope {
        with_session: false,
        ..scope
    }
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
        counted(scope.budget.crashes.into(), "crash"),
        counted(scope.budget.snapshots.into(), "snapshot")
    )
}
