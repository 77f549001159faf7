//! The properties: what must hold of every reachable state and of every step.
//!
//! Those over the history are in `history`, those of one step here (`judge_step`), those that
//! compare two servers in [`judge_pair`]. None of them asks whether a server is up: a crash is a
//! step like any other, and what a server promised before it still binds.

use super::process::{Running, Server};
use crate::{
    Address, AppendOutcome, Durable, Envelope, HardState, Log, LogIndex, Message, NodeId, Payload,
    Role, SessionId, Term,
    store::{Command, Operation},
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! laws {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)+) => {
        /// A property.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Law {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Law {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The field's name for it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

laws! {
    /// At most one leader is ever elected in a term (Figure 3).
    ElectionSafety = "Election Safety";
    /// A leader never overwrites or removes entries of its log (Figure 3).
    LeaderAppendOnly = "Leader Append-Only";
    /// Two logs with an entry of the same index and term agree up to it (Figure 3).
    LogMatching = "Log Matching";
    /// A committed entry is in the log of every leader of a later term (Figure 3).
    LeaderCompleteness = "Leader Completeness";
    /// No two servers ever apply different entries at one index (Figure 3).
    StateMachineSafety = "State Machine Safety";
    /// No server's term or commit index falls while it runs, nor its term below what it had made
    /// durable.
    Monotone = "Terms and commit indexes never fall";
    /// A server votes for one candidate in a term, restarts or not; it speaks of no vote that
    /// its disk does not hold.
    OneVotePerTerm = "One vote per term";
    /// An acknowledged write is committed, and stays so.
    AcknowledgedWritesKept = "Acknowledged writes are kept";
    /// The store holds what the committed commands make, each applied once.
    ExactlyOnce = "Exactly-once application";
    /// Client operations appear to take effect one at a time, between call and return.
    Linearizability = "Linearizability";
    /// Terms never fall within a log.
    TermsOrderedInLog = "Terms never fall within a log";
    /// A leader's `match_index` never exceeds what that server holds durably, and a server
    /// acknowledges only entries its disk holds.
    MatchIsDurable = "match_index is durable";
    /// The laws every server checks after every step, in deployment too.
    Invariants = "Always-on invariants";
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A law that does not hold, and what broke it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Broken {
    /// The law.
    pub law: Law,
    /// What broke it, in a sentence.
    pub why: String,
}

/// A set of laws to judge by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Laws(u32);

impl Laws {
    /// Every law.
    pub const ALL: Self = Self(u32::MAX);

    /// No law: for whoever goes on after one is broken.
    pub const NONE: Self = Self(0);

    /// One law alone.
    pub const fn only(law: Law) -> Self {
        Self(1 << law as u32)
    }

    /// Whether the law is judged.
    pub const fn contains(self, law: Law) -> bool {
        self.0 & (1 << law as u32) != 0
    }

    /// Breaks `law` unless it holds or is not judged.
    pub(super) fn require(
        self,
        law: Law,
        holds: bool,
        why: impl FnOnce() -> String,
    ) -> Result<(), Broken> {
        if holds || !self.contains(law) {
            return Ok(());
        }
        Err(Broken { law, why: why() })
    }
}

/// Judges one step of a running server.
pub(super) fn judge_step(before: &Running, after: &Running, laws: Laws) -> Result<(), Broken> {
    let (old, new) = (&before.raft, &after.raft);
    let id = new.id;
    let monotone = new.current_term >= old.current_term && new.commit_index >= old.commit_index;
    laws.require(Law::Monotone, monotone, || {
        format!(
            "server {id} went from term {} and commit index {} back to {} and {}",
            old.current_term, old.commit_index, new.current_term, new.commit_index
        )
    })?;
    if let (Role::Leader(_), Role::Leader(_)) = (&old.role, &new.role)
        && old.current_term == new.current_term
    {
        let kept = new.log.continues(&old.log);
        laws.require(Law::LeaderAppendOnly, kept, || {
            format!(
                "server {id} changed its log while it led term {}",
                new.current_term
            )
        })?;
    }
    let first = new.log.entries().first();
    let ordered = new.log.entries().is_sorted_by_key(|entry| entry.term)
        && first.is_none_or(|first| first.term >= new.log.base().term);
    laws.require(Law::TermsOrderedInLog, ordered, || {
        format!("the log of server {id} has an entry of an older term after one of a newer term")
    })?;
    // Without its beginning, a log does not tell: then the history does (`Observation::Stands`).
    if new.commit_index > old.commit_index && new.log.base().index == LogIndex::ZERO {
        let expected = reference_pairs(
            new.log
                .slice(LogIndex::ZERO, new.commit_index.get() as usize),
        );
        let found: BTreeMap<_, _> = new
            .store
            .pairs()
            .map(|(key, held)| (key.to_vec(), held.value.to_vec()))
            .collect();
        laws.require(Law::ExactlyOnce, expected == found, || {
            format!(
                "the store of server {id} is not what its {} committed entries make when each command is applied once",
                new.commit_index
            )
        })?;
    }
    Ok(())
}

/// What the committed entries make of the store: an independent reading, without the sessions'
/// memory of answers. Each (session, sequence) takes effect the first time it is seen, unless the
/// session had said before that it needs no answer to it: then its client had given it up, and
/// went on. Nothing of a session takes effect that was never opened, or has made room for others.
/// Only the unconditional operations that the scopes use are read. The first entry is that of
/// index 1.
pub(super) fn reference_pairs<'a>(
    entries: impl IntoIterator<Item = &'a crate::Entry>,
) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut pairs = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut settled: BTreeMap<_, u64> = BTreeMap::new();
    // The one used last is the last.
    let mut open: Vec<SessionId> = Vec::new();
    for (index, entry) in (1..).zip(entries) {
        let write = match &entry.payload {
            Payload::Noop => continue,
            Payload::Command(Command::OpenSession { capacity }) => {
                let room = capacity.max(&1) - 1;
                let leave = open.len().saturating_sub(room as usize);
                open.drain(..leave);
                open.push(SessionId::new(index));
                continue;
            }
            Payload::Command(Command::Write(write)) => write,
        };
        let Some(place) = open.iter().position(|id| *id == write.session) else {
            continue;
        };
        open[place..].rotate_left(1);
        let settled = settled.entry(write.session).or_default();
        if write.sequence < *settled || !seen.insert((write.session, write.sequence)) {
            continue;
        }
        *settled = (*settled).max(write.acknowledged);
        match &write.operation {
            Operation::Put { key, value, .. } => {
                pairs.insert(key.clone(), value.to_vec());
            }
            Operation::Delete { key, .. } => {
                pairs.remove(key);
            }
            Operation::Increment { key, by } => {
                let held: i64 = pairs
                    .get(key)
                    .and_then(|value| core::str::from_utf8(value).ok()?.parse().ok())
                    .unwrap_or(0);
                pairs.insert(key.clone(), format!("{}", held + by).into_bytes());
            }
        }
    }
    pairs
}

/// Judges a disk write: a vote once cast stays cast.
pub(super) fn judge_disk(before: &Durable, after: &Durable, laws: Laws) -> Result<(), Broken> {
    let (old, new) = (before.hard_state, after.hard_state);
    let kept = new.current_term > old.current_term
        || (new.current_term == old.current_term
            && (old.voted_for.is_none() || old.voted_for == new.voted_for));
    laws.require(Law::OneVotePerTerm, kept, || {
        format!(
            "a disk that held {} now holds {}",
            promise(old),
            promise(new)
        )
    })
}

/// What a disk binds its server to. The candidate is not called a server: a reader marks the servers
/// that a sentence names, and this one is about the voter.
fn promise(held: HardState) -> String {
    match held.voted_for {
        Some(id) => format!("term {} and a vote for candidate {id}", held.current_term),
        None => format!("term {} and no vote", held.current_term),
    }
}

/// Judges a message as it leaves: it promises nothing that the disk does not hold.
pub(super) fn judge_send(envelope: &Envelope, disk: &Durable, laws: Laws) -> Result<(), Broken> {
    let hard_state = disk.hard_state;
    let held = |term, vote: Option<Address>| {
        hard_state.current_term == term && hard_state.voted_for.map(Address::Node) == vote
            // The disk may have moved on to a newer term since; then the vote was cast earlier.
            || hard_state.current_term > term
    };
    match &envelope.message {
        Message::RequestVoteResponse(vote) if vote.vote_granted => laws.require(
            Law::OneVotePerTerm,
            held(vote.term, Some(envelope.to)),
            || {
                format!(
                    "{} sent a vote in term {} that its disk does not hold",
                    envelope.from, vote.term
                )
            },
        ),
        Message::RequestVoteRequest(request) => laws.require(
            Law::OneVotePerTerm,
            held(request.term, Some(envelope.from)),
            || {
                format!(
                    "{} asked for votes in term {} before its own was durable",
                    envelope.from, request.term
                )
            },
        ),
        Message::AppendEntriesResponse(response) => match response.outcome {
            AppendOutcome::Matched { match_index } => {
                judge_acknowledgement(envelope, response.term, match_index, disk, laws)
            }
            _ => Ok(()),
        },
        Message::InstallSnapshotResponse(response) => {
            judge_acknowledgement(envelope, response.term, response.match_index, disk, laws)
        }
        _ => Ok(()),
    }
}

fn judge_acknowledgement(
    envelope: &Envelope,
    term: Term,
    match_index: LogIndex,
    disk: &Durable,
    laws: Laws,
) -> Result<(), Broken> {
    // In a later term the disk may have lost, rightly, what was acknowledged before.
    let durable = disk.hard_state.current_term > term || disk.last_index() >= match_index;
    laws.require(Law::MatchIsDurable, durable, || {
        format!(
            "{} acknowledged entry {match_index}, but its disk holds {} entries",
            envelope.from,
            disk.last_index()
        )
    })
}

/// What the laws about two servers read of each; they see nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facet {
    id: NodeId,
    log: Log,
    durable_log: Log,
    durable_term: Term,
    /// The term it leads, and what it believes the others to hold.
    leads: Option<(Term, BTreeMap<NodeId, LogIndex>)>,
}

impl Facet {
    /// Of a server.
    pub fn of(server: &Server) -> Self {
        let raft = server.running.as_ref().map(|running| &running.raft);
        let leads = raft.and_then(|raft| match &raft.role {
            Role::Leader(leader) => {
                let believed = leader.followers.iter();
                let believed = believed.map(|(id, progress)| (*id, progress.match_index));
                Some((raft.current_term, believed.collect()))
            }
            _ => None,
        });
        Self {
            id: server.id,
            log: Log::after(server.base(), server.log().to_vec()),
            durable_log: Log::after(server.disk.base(), server.disk.log.clone()),
            durable_term: server.disk.hard_state.current_term,
            leads,
        }
    }
}

/// Judges two servers against each other.
pub fn judge_pair(one: &Facet, other: &Facet, laws: Laws) -> Result<(), Broken> {
    for (a, b) in [(one, other), (other, one)] {
        if let Some((term, believed)) = &a.leads
            && b.durable_term == *term
            && let Some(match_index) = believed.get(&b.id)
        {
            let held = a.log.agrees(&b.durable_log, *match_index);
            laws.require(Law::MatchIsDurable, held, || {
                format!(
                    "server {} believes that server {} holds entries up to {match_index} durably, and it does not",
                    a.id, b.id
                )
            })?;
        }
    }
    let (a, b) = (&one.log, &other.log);
    let first = a.base().index.max(b.base().index).get();
    let last = a.last_index().min(b.last_index()).get();
    let same_term = |index: &u64| {
        let index = LogIndex::new(*index);
        a.term_at(index) == b.term_at(index)
    };
    let agree_from = (first..=last).rev().find(same_term).unwrap_or_default();
    let agree_from = LogIndex::new(agree_from);
    laws.require(Law::LogMatching, a.agrees(b, agree_from), || {
        format!(
            "servers {} and {} have the same term at index {agree_from} and differ at or before it",
            one.id, other.id
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeId, Term};

    fn disk(term: u64, voted_for: Option<u64>) -> Durable {
        let mut disk = Durable::default();
        disk.hard_state.current_term = Term::new(term);
        disk.hard_state.voted_for = voted_for.map(NodeId::new);
        disk
    }

    #[test]
    fn second_vote_in_a_term_is_told_in_a_sentence() {
        let judged = judge_disk(&disk(2, Some(1)), &disk(2, Some(3)), Laws::ALL);
        let broken = judged.expect_err("a vote is cast once in a term");
        assert_eq!(
            broken.why,
            "a disk that held term 2 and a vote for candidate 1 now holds term 2 and a vote for candidate 3"
        );
        let judged = judge_disk(&disk(2, Some(1)), &disk(1, None), Laws::ALL);
        let broken = judged.expect_err("the term on a disk never falls");
        assert!(broken.why.ends_with("now holds term 1 and no vote"));
    }
}
