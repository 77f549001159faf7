//! "Find me a state where ...": the predicates.
//!
//! A predicate depends on processes, on the history, and on the witnesses of the last step. It never
//! depends on the network, which the search keeps reduced.

use model::{
    Entry, LogIndex, NodeId, Raft, Role, Term,
    system::{Process, System, Witness, Witnesses},
};
use std::collections::{BTreeMap, BTreeSet};

/// A condition on a state, or on the step into it.
pub(super) struct Predicate {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) holds: fn(&System, Witnesses) -> bool,
}

/// All predicates, from simple to advanced.
pub(super) const PREDICATES: &[Predicate] = &[
    Predicate {
        name: "leader",
        about: "A server leads.",
        holds: |system, _| leaders(system).next().is_some(),
    },
    Predicate {
        name: "split-vote",
        about: "Two candidates share the votes of a term, and neither can still win it.",
        holds: |system, _| is_split(system),
    },
    Predicate {
        name: "two-leaders",
        about: "Two servers lead at the same time, in different terms. Raft permits this.",
        holds: |system, _| {
            let terms: BTreeSet<Term> = leaders(system).map(Raft::current_term).collect();
            terms.len() > 1
        },
    },
    Predicate {
        name: "deposed-leader",
        about: "A server still leads an old term, and a leader of a newer term was elected.",
        holds: |system, _| {
            let newest = system.history.elected.keys().next_back();
            leaders(system).any(|raft| newest.is_some_and(|newest| raft.current_term() < *newest))
        },
    },
    Predicate {
        name: "logs-differ",
        about: "Two logs hold different entries at one index.",
        holds: |system, _| {
            let logs = logs(system);
            let differ = |one: &[Entry], other: &[Entry]| {
                one.iter().zip(other).any(|(one, other)| one != other)
            };
            logs.iter()
                .any(|one| logs.iter().any(|other| differ(one, other)))
        },
    },
    Predicate {
        name: "majority-not-committed",
        about: "An entry is on the disks of a majority, and no server has committed it.",
        holds: |system, _| !uncommitted_on_majority(system).is_empty(),
    },
    Predicate {
        name: "older-term-on-majority",
        about: "An entry of an older term is on the disks of a majority under a leader of a newer \
                term, and is not committed (Figure 8, state c).",
        holds: |system, _| {
            let waiting = uncommitted_on_majority(system);
            leaders(system).any(|raft| {
                let holds = |(index, term): &(usize, Term)| {
                    *term < raft.current_term()
                        && raft
                            .log()
                            .get(LogIndex::new(*index as u64))
                            .is_some_and(|entry| entry.term == *term)
                };
                waiting.iter().any(holds)
            })
        },
    },
    Predicate {
        name: "older-term-committed",
        about: "An entry of an older term is committed, together with a later entry of the leader's term.",
        holds: |system, _| {
            let mut committed = system.history.committed.iter();
            committed.any(|committed| committed.in_term > committed.entry.term)
        },
    },
    Predicate {
        name: "entry-overwritten",
        about: "A follower removes entries that its leader does not have.",
        holds: |_, witnesses| witnesses.contains(Witness::ConflictRemoved),
    },
    Predicate {
        name: "follower-lacks-committed",
        about: "An entry is committed, and a running server does not have it.",
        holds: |system, _| {
            let committed = system.history.committed.len();
            rafts(system).any(|raft| (raft.log().last_index().get() as usize) < committed)
        },
    },
    Predicate {
        name: "all-agree",
        about: "Every server is running and has the same log, and its commit index is its last index, \
                after at least one election.",
        holds: |system, _| {
            let logs = logs(system);
            let all = rafts(system).count() == logs.len();
            let known = |raft: &Raft| raft.commit_index() == raft.log().last_index();
            let same = logs.windows(2).all(|pair| pair[0] == pair[1]);
            all && same && !system.history.elected.is_empty() && rafts(system).all(known)
        },
    },
    Predicate {
        name: "write-lost",
        about: "A crash loses a write that had not reached the disk.",
        holds: |_, witnesses| witnesses.contains(Witness::UnsyncedWriteLost),
    },
    Predicate {
        name: "leader-crashed",
        about: "The leader crashes.",
        holds: |_, witnesses| witnesses.contains(Witness::LeaderCrashed),
    },
    Predicate {
        name: "commit-without-own-disk",
        about: "A leader commits an entry that is durable on other servers, but not yet on its own disk.",
        holds: |_, witnesses| witnesses.contains(Witness::CommittedWithoutOwnDisk),
    },
    Predicate {
        name: "write-acknowledged",
        about: "A client receives the confirmation of its write.",
        holds: |_, witnesses| witnesses.contains(Witness::WriteAcknowledged),
    },
    Predicate {
        name: "read-served",
        about: "A read is served without a log entry.",
        holds: |_, witnesses| witnesses.contains(Witness::ReadServed),
    },
    Predicate {
        name: "outcome-unknown",
        about: "A client abandons a write, and its outcome is unknown.",
        holds: |_, witnesses| witnesses.contains(Witness::OutcomeUnknown),
    },
    Predicate {
        name: "retry-applied-once",
        about: "A write is in the log twice, and the second is answered from the session's saved answer.",
        holds: |_, witnesses| witnesses.contains(Witness::DuplicateAnswered),
    },
];

fn rafts(system: &System) -> impl Iterator<Item = &Raft> {
    let servers = system.processes.iter().filter_map(Process::server);
    servers.filter_map(|server| Some(&server.running.as_ref()?.raft))
}

fn leaders(system: &System) -> impl Iterator<Item = &Raft> {
    rafts(system).filter(|raft| matches!(raft.role(), Role::Leader(_)))
}

fn logs(system: &System) -> Vec<&[Entry]> {
    let servers = system.processes.iter().filter_map(Process::server);
    servers.map(|server| server.log()).collect()
}

/// Entries that a majority holds durably but that are not committed, by index and term.
fn uncommitted_on_majority(system: &System) -> Vec<(usize, Term)> {
    let servers = system.processes.iter().filter_map(Process::server);
    let disks: Vec<&[Entry]> = servers.map(|server| server.disk.log.as_slice()).collect();
    // The initial entries are in every log, but no server has committed them yet.
    let led: BTreeSet<Term> = system.history.elected.keys().copied().collect();
    let mut counts: BTreeMap<(usize, Term), usize> = BTreeMap::new();
    for disk in &disks {
        let beyond = disk.iter().enumerate().skip(system.history.committed.len());
        for (position, entry) in beyond.filter(|(_, entry)| led.contains(&entry.term)) {
            *counts.entry((position + 1, entry.term)).or_default() += 1;
        }
    }
    let majority = disks.len() / 2 + 1;
    let held = counts.into_iter().filter(|(_, count)| *count >= majority);
    held.map(|(entry, _)| entry).collect()
}

/// Whether there are two candidates in one term, and none of them can still win a majority.
fn is_split(system: &System) -> bool {
    let candidates: Vec<&Raft> = rafts(system)
        .filter(|raft| matches!(raft.role(), Role::Candidate(_)))
        .collect();
    let servers: Vec<_> = system
        .processes
        .iter()
        .filter_map(Process::server)
        .collect();
    let majority = servers.len() / 2 + 1;
    let could_vote = |term: Term, candidate: NodeId| {
        let could = |server: &&&model::system::Server| {
            let (at, vote) = match &server.running {
                Some(running) => (running.raft.current_term(), running.raft.voted_for()),
                None => {
                    let held = server.disk.hard_state;
                    (held.current_term, held.voted_for)
                }
            };
            // A server that is in a newer term may have voted in this term before.
            at != term || vote.is_none_or(|vote| vote == candidate)
        };
        servers.iter().filter(could).count()
    };
    candidates.iter().any(|one| {
        let term = one.current_term();
        let rivals: Vec<NodeId> = candidates
            .iter()
            .filter(|rival| rival.current_term() == term)
            .map(|rival| rival.id())
            .collect();
        rivals.len() > 1
            && !system.history.elected.contains_key(&term)
            && rivals
                .iter()
                .all(|rival| could_vote(term, *rival) < majority)
    })
}
