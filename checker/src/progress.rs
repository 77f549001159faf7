//! From every reachable state, a state in which a leader commits a new entry stays reachable.
//!
//! Servers that do nothing satisfy all safety properties. If every message may be delayed forever, no
//! algorithm can guarantee progress (FLP). But no state should be a dead end: with a few more terms and
//! without further faults, *some* continuation must commit an entry that was not committed before. This
//! module checks that for every state of a scope.
//!
//! # The extension
//! The continuations are runs of a larger scope. It has more terms, but no budget for crashes or client
//! operations, so that a new entry can only be a new leader's no-op. It delivers AppendEntries requests
//! even if the scope does not.
//!
//! * Every message sent before is lost: the network starts empty. A continuation must not depend on a
//!   message that some server sent once and will not retransmit.
//! * No message is sent early (`Reduction::send_early`). An eager send answers a request when the
//!   request is made. So it hides a server that refuses the same request a moment later.
//! * The budgets used and the leaders elected so far do not affect the continuations. They are cleared,
//!   so that states that differ only in these are checked once. The committed entries are kept.
//!   Properties are checked within the continuation (a violation ends it). Over the scope itself, the
//!   search checks them.
//!
//! # The stricter form
//! A new election often ends a stuck state, so a commit that needs a newer term proves little about
//! heartbeats and retries. The stricter form applies if all servers are up, and no server has a newer
//! term than a leader with uncommitted entries, or than a candidate that can still win a majority. Then
//! that leader or candidate must commit an entry without any further election timeout.
//!
//! # The search
//! From each state, a depth-first search tries the most promising step first, until an entry is
//! committed. A state from which a good state is reachable is also good: the entry committed after the
//! later state is also committed after the earlier one. So all states on a successful path are cached as
//! good, and most searches end after one or two steps. A state is stuck only if its whole extension
//! contains no commit.

use crate::{
    engine::{Explored, SearchOutcome},
    plural::counted,
    step_guard,
};
use model::{
    Address, AppendEntriesRequest, Envelope, LogIndex, Message, NodeId, Raft, RequestVoteRequest,
    Role, Term,
    system::{Action, Budget, Local, Reduction, Scope, System, TransitionSystem, Usage},
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::atomic::{AtomicBool, Ordering};

/// The maximum number of states of one extension. Each takes a few kilobytes.
const MAX_EXTENSION: usize = 100_000;

/// The result of the progress check.
#[derive(Clone, Debug)]
pub struct ProgressReport {
    /// States of the scope from which a commit was found, or whose extension was searched completely.
    pub states_checked: u64,
    /// States of the extension visited.
    pub extension_states: u64,
    /// The verdict.
    pub verdict: ProgressVerdict,
}

/// Whether progress stays possible.
#[derive(Clone, Debug)]
pub enum ProgressVerdict {
    /// Progress is possible from every state of the exhausted scope.
    Holds,
    /// Progress is impossible from this state.
    Stuck(Box<Stuck>),
    /// No claim, for this reason.
    Truncated(NoProgressClaim),
}

/// Why the progress check makes no claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoProgressClaim {
    /// It was interrupted.
    Interrupted,
    /// The extension of a state has too many states.
    LargeExtension,
    /// The extension of a state starts with a message that was sent early.
    EarlyMessage,
    /// The scope was not exhausted.
    NotExhausted,
    /// The scope has one server.
    OneServer,
}

model::diagnostics! {
    /// The reason why the progress check fails.
    pub enum NoProgress {
        /// The initial state is stuck.
        StuckAtStart { states: u64 }
            = "no entry can ever be committed from the initial state: no entry is committed in any of the {states} states that are reachable without faults";
        /// A later state is stuck.
        Stuck { steps: u64, states: u64 }
            = "no entry can be committed from a state {} from the start: no entry is committed in any of the {states} states that are reachable from it without faults",
            counted(*steps, "step");
    }
}

/// A state from which no new entry can be committed.
#[derive(Clone, Debug)]
pub struct Stuck {
    /// The state in the scope.
    pub system: System,
    /// The states on a shortest path, from the initial state to this one, up to a permutation of the
    /// servers. Empty if the search for the path was interrupted.
    pub path: Vec<System>,
    /// The number of states of its extension, all of them visited.
    pub extension_states: u64,
}

impl Stuck {
    /// The reason why this state violates progress.
    pub fn reason(&self) -> NoProgress {
        let states = self.extension_states;
        match self.path.len().saturating_sub(1) as u64 {
            0 => NoProgress::StuckAtStart { states },
            steps => NoProgress::Stuck { steps, states },
        }
    }
}

/// Checks that from every state visited by a search, with `granted_terms` more terms and no further
/// faults, a state in which a leader commits a new entry is reachable.
///
/// States are checked in breadth-first order, so the first stuck state is one with the shortest distance
/// from the initial state.
///
/// A single server gets no verdict: no other server can depose a lone leader, so it never appends
/// another no-op, and commits a new entry only on a client request.
pub fn check_progress(
    scope: &Scope,
    explored: &Explored,
    granted_terms: u64,
    interrupt: &AtomicBool,
) -> ProgressReport {
    let mut search = Search {
        extension: step_guard::transitions(extension(scope, granted_terms)),
        good: [FxHashSet::default(), FxHashSet::default()],
        visited: 0,
        interrupt,
    };
    let mut states_checked = 0;
    let report = |search: &Search<'_>, states_checked, verdict| ProgressReport {
        states_checked,
        extension_states: search.visited,
        verdict,
    };
    if scope.servers == 1 {
        return report(
            &search,
            0,
            ProgressVerdict::Truncated(NoProgressClaim::OneServer),
        );
    }
    // States that differ only in their messages have the same continuations.
    let mut asked: FxHashSet<Box<[u32]>> = FxHashSet::default();
    for position in 0..explored.states.len() {
        let key = explored.states.key(position);
        if !asked.insert(explored.tables.without_messages(&key).into()) {
            states_checked += 1;
            continue;
        }
        let system = explored.tables.system(&key);
        match search.from(&system) {
            Continuation::Commits => states_checked += 1,
            Continuation::Unknown(reason) => {
                return report(&search, states_checked, ProgressVerdict::Truncated(reason));
            }
            Continuation::Stuck(extension_states) => {
                let path = path_to(scope, &system, interrupt);
                let verdict = ProgressVerdict::Stuck(Box::new(Stuck {
                    system,
                    path,
                    extension_states,
                }));
                return report(&search, states_checked + 1, verdict);
            }
        }
    }
    let verdict = match explored.report.outcome {
        SearchOutcome::Exhausted => ProgressVerdict::Holds,
        SearchOutcome::Truncated(_) | SearchOutcome::Violated { .. } => {
            ProgressVerdict::Truncated(NoProgressClaim::NotExhausted)
        }
    };
    report(&search, states_checked, verdict)
}

/// Whether the visited states have at most this many distinct combinations of processes and history,
/// without the messages in flight. The check searches once from each combination, so this number decides
/// about its time.
pub fn has_at_most_combinations(explored: &Explored, limit: usize) -> bool {
    let mut distinct: FxHashSet<Box<[u32]>> = FxHashSet::default();
    (0..explored.states.len()).all(|position| {
        let key = explored.states.key(position);
        distinct.insert(explored.tables.without_messages(&key).into());
        distinct.len() <= limit
    })
}

fn extension(scope: &Scope, granted_terms: u64) -> Scope {
    Scope {
        terms: scope.terms + granted_terms,
        budget: Budget::default(),
        append_entries: true,
        reduction: Reduction {
            send_early: false,
            ..scope.reduction
        },
        ..scope.clone()
    }
}

/// The result of a search of the continuations.
enum Continuation {
    Commits,
    /// No entry is committed in any of this many states.
    Stuck(u64),
    /// The search of the continuations has no result.
    Unknown(NoProgressClaim),
}

struct Search<'a> {
    extension: TransitionSystem,
    /// The encodings of canonical states from which a commit is known to be reachable: with any steps,
    /// and without election timeouts. They are exact, so that no verdict depends on a hash.
    good: [FxHashSet<Box<[u8]>>; 2],
    visited: u64,
    interrupt: &'a AtomicBool,
}

/// A state on the current path, and its untried actions, the most promising last.
struct Frame {
    system: System,
    encoding: Box<[u8]>,
    untried: Vec<Action>,
}

impl Search<'_> {
    fn from(&mut self, system: &System) -> Continuation {
        let mut first = system.clone();
        first.spent = Usage::default();
        first.history.elected.clear();
        first.history.operations.clear();
        first.network.clear();
        self.extension.adopt(&mut first);
        if !first.network.is_empty() {
            // An early message would be mistaken for a retransmitted one.
            return Continuation::Unknown(NoProgressClaim::EarlyMessage);
        }
        let first = first.canonical();
        // The leader or the candidate of the newest term needs no further election.
        let is_strict = rafts(&first).count() as u64 == self.extension.scope().servers
            && matches!(
                Aim::from_system(&first),
                Aim::Replicate(..) | Aim::Elect(..)
            );
        self.search(first, is_strict)
    }

    fn search(&mut self, first: System, is_strict: bool) -> Continuation {
        let encoding = first.encode().into_boxed_slice();
        let good = usize::from(is_strict);
        if self.good[good].contains(&encoding) {
            return Continuation::Commits;
        }
        let mut seen = FxHashSet::from_iter([encoding.clone()]);
        let mut path = vec![self.frame(first, encoding)];
        while let Some(frame) = path.last_mut() {
            if self.interrupt.load(Ordering::Relaxed) {
                return Continuation::Unknown(NoProgressClaim::Interrupted);
            }
            if seen.len() > MAX_EXTENSION {
                return Continuation::Unknown(NoProgressClaim::LargeExtension);
            }
            let Some(action) = frame.untried.pop() else {
                path.pop();
                continue;
            };
            if is_strict && action.local == Local::ElectionTimeout {
                continue;
            }
            let Some((next, _)) = self.extension.next(&frame.system, &action) else {
                continue;
            };
            if next.violation.is_some() || next == frame.system {
                continue;
            }
            let commits = next.history.committed.len() > frame.system.history.committed.len();
            let next = next.canonical();
            let encoding = next.encode().into_boxed_slice();
            if commits || self.good[good].contains(&encoding) {
                let encodings = path.into_iter().map(|frame| frame.encoding);
                self.good[good].extend(encodings);
                return Continuation::Commits;
            }
            if seen.insert(encoding.clone()) {
                path.push(self.frame(next, encoding));
            }
        }
        Continuation::Stuck(seen.len() as u64)
    }

    fn frame(&mut self, system: System, encoding: Box<[u8]>) -> Frame {
        self.visited += 1;
        let aim = Aim::from_system(&system);
        let mut untried = self.extension.actions(&system);
        untried.sort_by_cached_key(|action| std::cmp::Reverse(aim.rank(&system, action)));
        Frame {
            system,
            encoding,
            untried,
        }
    }
}

/// The next intermediate goal of a search. It only orders the steps and excludes none.
enum Aim {
    /// This leader commits its entries.
    Replicate(NodeId, Term),
    /// This candidate is elected.
    Elect(NodeId, Term),
    /// This server, a pre-candidate for this term, can still get the pre-votes it needs.
    PreElect(NodeId, Term),
    /// This server, whose log is at least as up-to-date as every other, becomes a candidate in a new
    /// term.
    Stand(NodeId),
    /// No server is up.
    Nothing,
}

impl Aim {
    fn from_system(system: &System) -> Self {
        let servers: Vec<&Raft> = rafts(system).collect();
        let newest = servers.iter().map(|raft| raft.current_term()).max();
        let committed = system.history.committed.len() as u64;
        for raft in &servers {
            if Some(raft.current_term()) != newest {
                continue;
            }
            match raft.role() {
                Role::Leader(_) if raft.log().last_index().get() > committed => {
                    return Self::Replicate(raft.id(), raft.current_term());
                }
                Role::PreCandidate { votes } => {
                    let next = raft.current_term().next();
                    let votes = servers.iter().filter(|voter| {
                        votes.contains(&voter.id())
                            || (voter.current_term() < next
                                && voter.log().last_id() <= raft.log().last_id())
                    });
                    if votes.count() >= raft.config().majority() {
                        return Self::PreElect(raft.id(), next);
                    }
                }
                Role::Candidate(candidate) => {
                    let votes = servers.iter().filter(|voter| {
                        candidate.votes.contains(&voter.id()) || may_vote(voter, raft)
                    });
                    if votes.count() >= raft.config().majority() {
                        return Self::Elect(raft.id(), raft.current_term());
                    }
                }
                _ => {}
            }
        }
        let best = servers.iter().max_by_key(|raft| {
            let leads = matches!(raft.role(), Role::Leader(_));
            (raft.log().last_id(), !leads, raft.current_term())
        });
        best.map_or(Self::Nothing, |raft| Self::Stand(raft.id()))
    }

    /// The rank of an action. A lower rank is more promising.
    fn rank(&self, system: &System, action: &Action) -> u8 {
        let actor = system.processes[action.process]
            .server()
            .map(|server| server.id);
        match (&action.local, self) {
            (Local::Restart, _) => 0,
            (Local::Sync, _) => 1,
            (Local::ElectionTimeout, Self::Stand(id)) if actor == Some(*id) => 2,
            (Local::Deliver { envelope, .. }, _) => self.rank_delivery(system, envelope),
            // A server that follows a live leader votes for no other server.
            (Local::QuorumTimeout, Self::PreElect(..) | Self::Elect(..)) => 3,
            (Local::HeartbeatTimeout, _) => 6,
            (Local::ElectionTimeout, _) => 8,
            _ => 9,
        }
    }

    fn rank_delivery(&self, system: &System, envelope: &Envelope) -> u8 {
        let (Address::Node(from), Address::Node(to)) = (envelope.from, envelope.to) else {
            return 9;
        };
        let receiver = rafts(system).find(|raft| raft.id() == to);
        match (self, &envelope.message) {
            (Self::Replicate(id, term), Message::AppendEntriesResponse(response))
                if to == *id && response.term == *term =>
            {
                2
            }
            (Self::Replicate(id, term), Message::AppendEntriesRequest(request))
                if from == *id && request.term == *term =>
            {
                if receiver.is_some_and(|raft| is_news(raft, request)) {
                    3
                } else {
                    5
                }
            }
            (Self::Replicate(id, term), Message::InstallSnapshotResponse(response))
                if to == *id && response.term == *term =>
            {
                2
            }
            (Self::Replicate(id, term), Message::InstallSnapshotRequest(request))
                if from == *id && request.term == *term =>
            {
                let last = request.snapshot.last_included_index;
                if receiver.is_some_and(|raft| raft.commit_index() < last) {
                    3
                } else {
                    5
                }
            }
            (Self::PreElect(id, term), Message::PreVoteResponse(response))
                if to == *id && response.next_term == *term =>
            {
                if response.vote_granted {
                    2
                } else {
                    5
                }
            }
            (Self::PreElect(id, term), Message::PreVoteRequest(request))
                if from == *id && request.next_term == *term =>
            {
                3
            }
            (Self::Elect(id, term), Message::RequestVoteResponse(response))
                if to == *id && response.term == *term =>
            {
                2
            }
            (Self::Elect(id, term), Message::RequestVoteRequest(request))
                if from == *id && request.term == *term =>
            {
                if receiver.is_some_and(|raft| may_grant(raft, from, request)) {
                    3
                } else {
                    5
                }
            }
            // A leader that is behind must receive the newer term before it can become a candidate.
            (Self::Stand(id), _) if from == *id || to == *id => 4,
            _ => 7,
        }
    }
}

fn rafts(system: &System) -> impl Iterator<Item = &Raft> {
    let servers = system
        .processes
        .iter()
        .filter_map(|process| process.server());
    servers.filter_map(|server| server.running.as_ref().map(|running| &running.raft))
}

fn may_vote(voter: &Raft, candidate: &Raft) -> bool {
    let last = candidate.log().last_id();
    let request = RequestVoteRequest {
        term: candidate.current_term(),
        last_log_index: last.index,
        last_log_term: last.term,
        leadership_transfer: false,
    };
    voter.id() == candidate.id() || may_grant(voter, candidate.id(), &request)
}

fn may_grant(voter: &Raft, candidate: NodeId, request: &RequestVoteRequest) -> bool {
    let last = voter.log().last_id();
    let free = voter.current_term() < request.term
        || (voter.current_term() == request.term
            && voter
                .voted_for()
                .is_none_or(|voted_for| voted_for == candidate));
    free && (request.last_log_term, request.last_log_index) >= (last.term, last.index)
}

/// Whether the request fits the follower's log and contains a new entry or commit index for it.
fn is_news(follower: &Raft, request: &AppendEntriesRequest) -> bool {
    let fits = request.prev_log_index == LogIndex::ZERO
        || follower.log().term_at(request.prev_log_index) == Some(request.prev_log_term);
    let last = request.entries.last();
    let end = request.prev_log_index.plus(request.entries.len() as u64);
    let known = |entry: &model::Entry| {
        end < follower.log().base().index || follower.log().term_at(end) == Some(entry.term)
    };
    fits && last.is_some_and(|entry| !known(entry))
}

/// A shortest path to a state, by a breadth-first search of the readable model. Suitable only for small
/// scopes, and used only after a stuck state was found.
fn path_to(scope: &Scope, target: &System, interrupt: &AtomicBool) -> Vec<System> {
    let target = target.canonical();
    let transitions = step_guard::transitions(scope.clone());
    let mut states = vec![(transitions.start().canonical(), 0)];
    let mut indices: FxHashMap<System, usize> = FxHashMap::default();
    indices.insert(states[0].0.clone(), 0);
    let mut next = 0;
    while next < states.len() && !interrupt.load(Ordering::Relaxed) {
        let system = states[next].0.clone();
        if system == target {
            let mut path = vec![system];
            while next != 0 {
                next = states[next].1;
                path.push(states[next].0.clone());
            }
            path.reverse();
            return path;
        }
        for action in transitions.actions(&system) {
            let Some((found, _)) = transitions.next(&system, &action) else {
                continue;
            };
            let found = found.canonical();
            if found.violation.is_none() && !indices.contains_key(&found) {
                indices.insert(found.clone(), states.len());
                states.push((found, next));
            }
        }
        next += 1;
    }
    Vec::new()
}
