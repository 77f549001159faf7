//! The invariants of one server after every step, cheap enough to be checked in every build.
//!
//! The checker, the tests and the node call [`check`] after each step, with the [`Watermarks`]
//! taken before it. A violation is a bug in this code that may already have cost safety, so the
//! node stops.

use crate::{Effects, Flow, LogIndex, Raft, Role, Snapshot, Term};
use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! invariants {
    ($($name:ident = $text:literal;)+) => {
        /// An invariant of one server.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Invariant {
            $(#[doc = $text] $name,)+
        }

        impl Invariant {
            /// All invariants.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
        }

        impl fmt::Display for Invariant {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)+ })
            }
        }
    };
}

invariants! {
    TermNeverFalls = "the term never falls (Figure 2)";
    CommitIndexNeverFalls = "the commit index never falls (Figure 2)";
    CommittedIsInLog = "only entries in the log are committed";
    CommittedIsApplied = "exactly the committed entries are applied";
    SnapshotCoversApplied = "the log lacks only entries that a snapshot covers, and a snapshot covers only applied entries";
    SnapshotNeverFalls = "snapshots never go back";
    SnapshotIsOfLog = "a snapshot ends with an entry of the log";
    NoTermAboveOwn = "no entry and no snapshot is of a term above the server's (Raft §5.1)";
    TermsOrderedInLog = "terms never decrease within a log (Raft §5.3)";
    DurableIsInLog = "only entries in the log are durable";
    CommittedIsKept = "a committed entry is never removed (Raft §5.4)";
    LeaderAppendOnly = "a leader never removes entries of its own log (Leader Append-Only)";
    WritesAreInLog = "pending writes reach no further than the log";
    HeldBehindWrite = "a message is held only behind a pending write";
    ProgressIsInLog = "a leader's view of its followers stays within its log";
    MatchIndexNeverFalls = "match_index never falls (Figure 2)";
    WindowIsKept = "the entries in flight to a follower do not exceed its window";
}

/// State of a server before a step, for comparison after the step.
#[derive(Clone, Copy, Debug)]
pub struct Watermarks {
    current_term: Term,
    commit_index: LogIndex,
    last_index: LogIndex,
    snapshot_index: LogIndex,
    leads: bool,
    /// The sum of a leader's `match_index` values. One step changes at most one of them, so the sum
    /// decreases if one of them does.
    matches: u128,
}

impl Watermarks {
    /// Takes the watermarks of a server.
    pub fn new(raft: &Raft) -> Self {
        Self {
            current_term: raft.current_term,
            commit_index: raft.commit_index,
            last_index: raft.log.last_index(),
            snapshot_index: raft.snapshot_index,
            leads: matches!(raft.role, Role::Leader(_)),
            matches: sum_of_matches(raft),
        }
    }
}

/// Checks the invariants of one step.
///
/// # Errors
/// The first violated invariant.
pub fn check(before: Watermarks, raft: &Raft, effects: &Effects) -> Result<(), Invariant> {
    let invariants = [
        (
            raft.current_term >= before.current_term,
            Invariant::TermNeverFalls,
        ),
        (
            raft.commit_index >= before.commit_index,
            Invariant::CommitIndexNeverFalls,
        ),
        (
            raft.commit_index <= raft.log.last_index(),
            Invariant::CommittedIsInLog,
        ),
        (
            raft.store.last_applied() == raft.commit_index,
            Invariant::CommittedIsApplied,
        ),
        (
            raft.log.base().index <= raft.snapshot_index
                && raft.snapshot_index <= raft.commit_index,
            Invariant::SnapshotCoversApplied,
        ),
        (
            raft.snapshot_index >= before.snapshot_index,
            Invariant::SnapshotNeverFalls,
        ),
        (
            snapshot_in(effects).is_none_or(|snapshot| {
                snapshot.is_sound()
                    && snapshot.last_included_index == raft.snapshot_index
                    && raft.log.term_at(raft.snapshot_index) == Some(snapshot.last_included_term)
            }),
            Invariant::SnapshotIsOfLog,
        ),
        (
            raft.log.last_id().term <= raft.current_term,
            Invariant::NoTermAboveOwn,
        ),
        (
            written_terms_are_ordered(raft, effects),
            Invariant::TermsOrderedInLog,
        ),
        (
            raft.durable_index <= raft.log.last_index(),
            Invariant::DurableIsInLog,
        ),
        (
            removed_from(effects).is_none_or(|index| index > before.commit_index),
            Invariant::CommittedIsKept,
        ),
        (
            !before.leads
                || before.current_term != raft.current_term
                || (removed_from(effects).is_none() && raft.log.last_index() >= before.last_index),
            Invariant::LeaderAppendOnly,
        ),
        (
            raft.pending
                .iter()
                .all(|pending| pending.reach <= raft.log.last_index()),
            Invariant::WritesAreInLog,
        ),
        (
            raft.held.iter().all(|held| {
                raft.pending
                    .back()
                    .is_some_and(|pending| held.after <= pending.id)
            }),
            Invariant::HeldBehindWrite,
        ),
        (leader_is_sound(raft), Invariant::ProgressIsInLog),
        (
            !before.leads
                || before.current_term != raft.current_term
                || !matches!(raft.role, Role::Leader(_))
                || sum_of_matches(raft) >= before.matches,
            Invariant::MatchIndexNeverFalls,
        ),
        (windows_are_kept(raft), Invariant::WindowIsKept),
    ];
    match invariants.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, invariant)) => Err(*invariant),
    }
}

fn snapshot_in(effects: &Effects) -> Option<&Snapshot> {
    effects.write.as_ref()?.snapshot.as_ref()
}

/// Whether the entries written in this step continue the log before them.
fn written_terms_are_ordered(raft: &Raft, effects: &Effects) -> bool {
    let Some(write) = &effects.write else {
        return true;
    };
    let log = &raft.log;
    let first = log
        .last_index()
        .get()
        .checked_sub(write.append.len() as u64);
    let before = first.and_then(|before| log.term_at(LogIndex::new(before)));
    let terms = before
        .into_iter()
        .chain(write.append.iter().map(|entry| entry.term));
    write.append.is_empty() || terms.is_sorted()
}

fn removed_from(effects: &Effects) -> Option<LogIndex> {
    effects.write.as_ref()?.truncate_from
}

fn sum_of_matches(raft: &Raft) -> u128 {
    let Role::Leader(leader) = &raft.role else {
        return 0;
    };
    let matches = leader.followers.values();
    matches
        .map(|progress| u128::from(progress.match_index.get()))
        .sum()
}

fn windows_are_kept(raft: &Raft) -> bool {
    let Role::Leader(leader) = &raft.role else {
        return true;
    };
    let mut all = leader.followers.values();
    all.all(|progress| match progress.flow {
        Flow::Probe => progress.bytes_in_flight == 0,
        Flow::Pipeline => progress.in_flight() <= progress.window,
    })
}

fn leader_is_sound(raft: &Raft) -> bool {
    let Role::Leader(leader) = &raft.role else {
        return true;
    };
    let last_index = raft.log.last_index();
    leader.followers.values().all(|progress| {
        progress.match_index < progress.next_index
            && progress.next_index <= last_index.next()
            && progress.read_round <= leader.read_round
    })
}
