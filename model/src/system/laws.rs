//! The properties: conditions on every reachable state and every step.
//!
//! `history` has the properties of the history, `judge_step` the properties of one step, and
//! [`judge_pair`] the properties of two servers. None depends on whether a server is up: a crash is a
//! step like any other, and it does not cancel the server's earlier promises.

use super::process::{Running, Server};
use crate::{
    Address, AppendOutcome, Durable, Envelope, HardState, Log, LogIndex, Message, NodeId, Payload,
    Role, SessionId, Term,
    store::{Command, MAX_RETAINED_ANSWERS, Operation, PAIR_BYTES, REFUSALS_PER_WINDOW},
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
            /// All properties.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The established name of the property.
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
    /// The term and the commit index of a server never decrease while it runs, and its term never falls
    /// below its durable term.
    Monotone = "Terms and commit indexes never fall";
    /// A server votes for at most one candidate in a term, across restarts, and sends no vote that is
    /// not on its disk.
    OneVotePerTerm = "One vote per term";
    /// An acknowledged write is committed and stays committed.
    AcknowledgedWritesKept = "Acknowledged writes are kept";
    /// The store is the result of the committed commands, each applied once.
    ExactlyOnce = "Exactly-once application";
    /// Client operations appear to take effect one at a time, between call and return.
    Linearizability = "Linearizability";
    /// Terms never decrease within a log.
    TermsOrderedInLog = "Terms never fall within a log";
    /// A leader's `match_index` never exceeds the durable log of that server, and a server acknowledges
    /// only entries on its disk.
    MatchIsDurable = "match_index is durable";
    /// The invariants that every server checks after every step, in deployment too.
    Invariants = "Always-on invariants";
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A violation: the property and the cause.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Broken {
    /// The property.
    pub law: Law,
    /// The cause, in a sentence.
    pub why: String,
}

/// A set of properties to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Laws(u32);

impl Laws {
    /// All properties.
    pub const ALL: Self = Self(u32::MAX);

    /// No property, for a run that continues after a violation.
    pub const NONE: Self = Self(0);

    /// A single property.
    pub const fn only(law: Law) -> Self {
        Self(1 << law as u32)
    }

    /// Whether the property is checked.
    pub const fn contains(self, law: Law) -> bool {
        self.0 & (1 << law as u32) != 0
    }

    /// Requires a property. Returns a violation if the property is checked and does not hold.
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

/// Checks one step of a running server.
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
    // Without its first entries a log is not sufficient; the history checks this case
    // (`Observation::Stands`).
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

/// The pairs of the store after the committed entries. This is an independent reference without the
/// cached responses of the sessions:
/// * Each (session, sequence) takes effect when it first occurs, unless the session has acknowledged it
///   earlier: in that case its client had given up the write and continued.
/// * Writes of a session that is not open have no effect. Such a session was never opened, was closed by
///   its client, or was evicted. A session may be evicted when another is opened, if it has been unused
///   for longer than the window.
/// * Writes of a session with too many unacknowledged responses have no effect, nor do writes that would
///   grow the pairs beyond the quota.
/// * The reference covers only the unconditional operations that the scopes use.
///
/// The first entry has index 1.
pub(super) fn reference_pairs<'a>(
    entries: impl IntoIterator<Item = &'a crate::Entry>,
) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut pairs = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut settled: BTreeMap<_, u64> = BTreeMap::new();
    // In order of last use, each with the age of the log at that use.
    let mut open: Vec<(SessionId, u64)> = Vec::new();
    let mut age: u64 = 0;
    for (index, entry) in (1..).zip(entries) {
        age = age.saturating_add(1);
        let Payload::Command(command) = &entry.payload else {
            continue;
        };
        let (used, write) = match command {
            Command::OpenSession { capacity, window } => {
                let too_many = |open: &Vec<_>| open.len() >= (*capacity).max(1) as usize;
                while too_many(&open) && age - open[0].1 > *window {
                    open.remove(0);
                }
                if too_many(&open) {
                    age = age.saturating_add((window / REFUSALS_PER_WINDOW).max(1) - 1);
                } else {
                    open.push((SessionId::new(index), age));
                }
                continue;
            }
            Command::CloseSession { session } => {
                open.retain(|(id, _)| id != session);
                continue;
            }
            Command::RenewSession { session } => (session, None),
            Command::Write(write) => (&write.session, Some(write)),
        };
        let Some(place) = open.iter().position(|(id, _)| id == used) else {
            continue;
        };
        open.remove(place);
        open.push((*used, age));
        let Some(write) = write else {
            continue;
        };
        let settled = settled.entry(write.session).or_default();
        *settled = (*settled).max(write.acknowledged);
        let unacknowledged = seen.range((write.session, *settled)..=(write.session, u64::MAX));
        if write.sequence < *settled
            || seen.contains(&(write.session, write.sequence))
            || unacknowledged.count() >= MAX_RETAINED_ANSWERS
        {
            continue;
        }
        seen.insert((write.session, write.sequence));
        let (key, value) = match &write.operation {
            Operation::Put { key, value, .. } => (key, value.to_vec()),
            Operation::Delete { key, .. } => {
                pairs.remove(key);
                continue;
            }
            Operation::Increment { key, by } => {
                let held: i64 = pairs
                    .get(key)
                    .and_then(|value: &Vec<u8>| core::str::from_utf8(value).ok()?.parse().ok())
                    .unwrap_or(0);
                (key, format!("{}", held + by).into_bytes())
            }
        };
        let size = |pairs: &BTreeMap<Vec<u8>, Vec<u8>>| -> usize {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| key.len() + value.len() + PAIR_BYTES)
                .sum()
        };
        let before = size(&pairs);
        let replaced = pairs.insert(key.clone(), value);
        let after = size(&pairs);
        if after > before && after as u64 > write.quota {
            match replaced {
                Some(value) => pairs.insert(key.clone(), value),
                None => pairs.remove(key),
            };
        }
    }
    pairs
}

/// Checks a disk write: a vote never changes within a term.
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

/// The promise that a disk holds. The text does not call the candidate a server: a reader marks the
/// servers that a sentence names, and this sentence is about the voter.
fn promise(held: HardState) -> String {
    match held.voted_for {
        Some(id) => format!("term {} and a vote for candidate {id}", held.current_term),
        None => format!("term {} and no vote", held.current_term),
    }
}

/// Checks a message when it is sent: it promises nothing that is not on the disk.
pub(super) fn judge_send(envelope: &Envelope, disk: &Durable, laws: Laws) -> Result<(), Broken> {
    let hard_state = disk.hard_state;
    let held = |term, vote: Option<Address>| {
        hard_state.current_term == term && hard_state.voted_for.map(Address::Node) == vote
            // The disk may hold a newer term by now; in that case the vote was cast earlier.
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
    // In a later term, the disk may have lost acknowledged entries legitimately.
    let on_disk = disk.hard_state.current_term;
    laws.require(Law::MatchIsDurable, on_disk >= term, || {
        format!(
            "{} acknowledged entries in term {term}, but its disk holds term {on_disk}",
            envelope.from
        )
    })?;
    let durable = on_disk > term || disk.last_index() >= match_index;
    laws.require(Law::MatchIsDurable, durable, || {
        format!(
            "{} acknowledged entry {match_index}, but its disk holds {} entries",
            envelope.from,
            disk.last_index()
        )
    })
}

/// The parts of a server that the properties of two servers depend on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facet {
    id: NodeId,
    log: Log,
    durable_log: Log,
    durable_term: Term,
    /// The leader's term and the `match_index` of each follower; `None` if the server is not the leader.
    leads: Option<(Term, BTreeMap<NodeId, LogIndex>)>,
}

impl Facet {
    /// The facet of a server.
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

/// Checks two servers against each other.
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
    use crate::{
        Config, Entry, NodeId, Store, Term,
        store::{Condition, Write},
    };
    use alloc::vec;
    use proptest::prelude::*;

    /// Commands over few sessions, sequences and keys, so that all rules interact.
    fn command() -> impl Strategy<Value = Command> {
        let session = || (1..12_u64).prop_map(SessionId::new);
        let key = || (0..2_u8).prop_map(|key| vec![b'a' + key]);
        let operation = prop_oneof![
            (key(), 0..12_usize).prop_map(|(key, length)| Operation::Put {
                key,
                value: vec![b'1'; length].into(),
                condition: Condition::Always,
            }),
            key().prop_map(|key| Operation::Delete {
                key,
                condition: Condition::Always,
            }),
        ];
        prop_oneof![
            2 => (1..3_u32, prop_oneof![0..4_u64, 100..300_u64])
                .prop_map(|(capacity, window)| Command::OpenSession { capacity, window }),
            1 => session().prop_map(|session| Command::CloseSession { session }),
            1 => session().prop_map(|session| Command::RenewSession { session }),
            8 => (session(), 1..5_u64, 0..5_u64, operation, 40..90_u64).prop_map(
                |(session, sequence, acknowledged, operation, quota)| {
                    Command::from(Write {
                        session,
                        sequence,
                        acknowledged,
                        operation,
                        quota,
                    })
                }
            ),
        ]
    }

    proptest! {
        /// The store and the reference produce the same pairs for any commands.
        #[test]
        fn store_agrees_with_the_reference(commands in prop::collection::vec(command(), 0..60)) {
            let (mut store, config) = (Store::default(), Config::new([NodeId::new(1)].into()));
            let mut log = Vec::new();
            for command in commands {
                let payload = Payload::Command(command);
                store.apply(&payload, &config);
                log.push(Entry { term: Term::new(1), payload });
                let pairs = store.pairs();
                let pairs = pairs.map(|(key, held)| (key.to_vec(), held.value.to_vec()));
                prop_assert_eq!(reference_pairs(&log), pairs.collect());
            }
        }
    }

    #[test]
    fn reference_refuses_a_session_that_leaves_too_much_unacknowledged() {
        let (mut store, config) = (Store::default(), Config::new([NodeId::new(1)].into()));
        let mut log = vec![Command::OpenSession {
            capacity: 1,
            window: 0,
        }];
        let more = MAX_RETAINED_ANSWERS as u64 + 2;
        for (sequence, acknowledged) in (1..=more).map(|nth| (nth, 1)).chain([(more, 3)]) {
            log.push(Command::from(Write {
                session: SessionId::new(1),
                sequence,
                acknowledged,
                operation: Operation::Increment {
                    key: b"n".to_vec(),
                    by: 1,
                },
                quota: u64::MAX,
            }));
        }
        let log: Vec<_> = log
            .into_iter()
            .map(|command| Entry {
                term: Term::new(1),
                payload: Payload::Command(command),
            })
            .collect();
        for entry in &log {
            store.apply(&entry.payload, &config);
        }
        let expected = format!("{}", MAX_RETAINED_ANSWERS + 1).into_bytes();
        assert_eq!(reference_pairs(&log)[&b"n".to_vec()], expected);
        let found = store.pairs().next().map(|(_, held)| held.value.to_vec());
        assert_eq!(found, Some(expected));
    }

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
