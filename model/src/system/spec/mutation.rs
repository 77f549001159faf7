//! Wrong variants of the protocol, and the query that rejects each.
//!
//! Every axiom, every lemma and every guard is removed once, and further mistakes change an effect. A variant that no
//! query rejects needs a reason.

use super::{
    formula::{Formula, equal, exists, forall, last_term, length},
    protocol::{Action, Protocol, Statement},
    signature::{EMPTY, Relation},
    smt::{Expected, Group, VACUITY},
    vocabulary::{
        acked, agree, committed, has, leader_log, learned, left, length_at_most, member, prefix,
        symbols, term_at_most, voted,
    },
};
use alloc::{format, string::String, vec::Vec};

/// The expected result of a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A counterexample exists to this query (the second) of this group.
    Found(&'static str, &'static str),
    /// All queries hold, for this reason.
    Harmless(&'static str),
}

/// A wrong variant of the protocol.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// The name.
    pub name: String,
    /// The mistake in a sentence.
    pub about: String,
    /// The protocol with the mistake.
    pub protocol: Protocol,
    /// The expected result.
    pub outcome: Outcome,
}

use Outcome::{Found, Harmless};

/// For each axiom, the query that fails without it.
const AXIOMS: &[(&str, Outcome)] = &[
    ("quorums-intersect", Found("safety", "election-safety")),
    ("terms-total", Found("elect", "leader-term")),
    ("terms-antisymmetric", Found("accept", "server-loses")),
    ("terms-transitive", Found("stand", "candidate-term")),
    ("lengths-total", Found("safety", "log-matching")),
    ("prefix-reflexive", Found("client-request", "leader-chain")),
    ("prefix-transitive", Found("accept", "server-prefixes")),
    ("empty-first", Found("initial", "server-prefixes")),
    ("prefix-shorter", Found("safety", "log-matching")),
    ("empty-term", Found("initial", "server-term")),
];

/// For each lemma, the query that fails without it.
const LEMMAS: &[(&str, Outcome)] = &[
    ("server-prefixes", Found("accept", "server-loses")),
    ("leader-prefixes", Found("accept", "server-term")),
    ("leader-chain", Found("safety", "log-matching")),
    ("one-vote", Found("elect", "leader-chain")),
    ("one-candidacy", Found("vote", "voter-elects")),
    ("vote-leaves", Found("stand", "one-vote")),
    ("candidate-term", Found("elect", "leader-term")),
    ("leader-term", Found("accept", "server-term")),
    ("server-term", Found("stand", "candidate-term")),
    ("candidate-voted", Found("stand", "one-candidacy")),
    ("voted-for-voter", Found("stand", "voter-elects")),
    ("elected-by-quorum", Found("elect", "leader-chain")),
    ("leader-elected", Found("accept", "server-loses")),
    ("candidate-origin", Found("elect", "leader-term")),
    ("leader-origin", Found("accept", "server-origin")),
    ("server-origin", Found("stand", "candidate-origin")),
    ("leader-lacks", Found("safety", "leader-completeness")),
    ("voter-elects", Found("elect", "leader-lacks")),
    ("server-loses", Found("stand", "voter-elects")),
    (
        "committed-by-quorum",
        Found("safety", "leader-completeness"),
    ),
    ("learned-committed", Found("safety", "learned-agree")),
];

/// For each guard of each action, the query that fails without it.
const GUARDS: &[(&str, &str, Outcome)] = &[
    ("stand", "newer-term", Found("stand", "one-vote")),
    ("stand", "own-log", Found("stand", "candidate-term")),
    ("stand", "whole-log", Found("stand", "voter-elects")),
    (
        "vote",
        "not-left",
        Harmless("a late vote is remembered too, and the voter compares its current log"),
    ),
    ("vote", "candidate", Found("vote", "voted-for-voter")),
    ("vote", "one-vote", Found("vote", "one-vote")),
    ("vote", "up-to-date", Found("vote", "voter-elects")),
    ("elect", "candidate", Found("elect", "leader-term")),
    ("elect", "once", Found("elect", "leader-chain")),
    ("elect", "majority", Found("elect", "leader-chain")),
    (
        "client-request",
        "leader",
        Harmless("a term in which a leader has a log has an elected leader (leader-elected)"),
    ),
    (
        "client-request",
        "own-log",
        Found("client-request", "leader-prefixes"),
    ),
    (
        "client-request",
        "whole-log",
        Found("client-request", "leader-chain"),
    ),
    (
        "client-request",
        "extends",
        Found("client-request", "leader-chain"),
    ),
    (
        "client-request",
        "one-entry",
        Found("client-request", "leader-prefixes"),
    ),
    (
        "client-request",
        "own-term",
        Found("client-request", "leader-term"),
    ),
    ("accept", "not-left", Found("accept", "leader-lacks")),
    ("accept", "sent", Found("accept", "server-term")),
    ("commit", "own-term", Found("commit", "committed-by-quorum")),
    (
        "commit",
        "leader-log",
        Harmless("servers acknowledge only logs that the leader of the term has"),
    ),
    ("commit", "majority", Found("commit", "committed-by-quorum")),
    ("learn", "committed", Found("learn", "learned-committed")),
    ("learn", "reached-term", Found("learn", "learned-committed")),
];

/// A mistake in an effect or in a condition.
struct Change {
    name: &'static str,
    about: &'static str,
    outcome: Outcome,
    apply: fn(&mut Protocol),
}

const CHANGES: &[Change] = &[
    Change {
        name: "stand-in-own-term",
        about: "A server stands in a term that it has not left, its own included.",
        outcome: Found("stand", "one-vote"),
        apply: |protocol| {
            symbols!(Server: server; Term: term);
            protocol
                .action("stand")
                .replace_guard("newer-term", !left(server, term));
        },
    },
    Change {
        name: "stand-without-entering",
        about: "A candidate stays in its earlier term.",
        outcome: Found("stand", "vote-leaves"),
        apply: |protocol| protocol.action("stand").drop_update(Relation::Left),
    },
    Change {
        name: "stand-without-own-vote",
        about: "A candidate does not vote for itself.",
        outcome: Found("stand", "candidate-voted"),
        apply: |protocol| protocol.action("stand").drop_update(Relation::Voted),
    },
    Change {
        name: "vote-without-entering",
        about: "A voter stays in its earlier term.",
        outcome: Found("vote", "vote-leaves"),
        apply: |protocol| protocol.action("vote").drop_update(Relation::Left),
    },
    Change {
        name: "vote-compares-lengths",
        about: "A voter compares the lengths of the logs only.",
        outcome: Found("vote", "voter-elects"),
        apply: |protocol| {
            symbols!(Server: server; Log: log, a);
            let up_to_date = length_at_most(length(a), length(log));
            let all = forall([a], has(server, a).implies(up_to_date));
            protocol.action("vote").replace_guard("up-to-date", all);
        },
    },
    Change {
        name: "vote-compares-terms",
        about: "A voter compares the last terms of the logs only.",
        outcome: Found("vote", "voter-elects"),
        apply: |protocol| {
            symbols!(Server: server; Log: log, a);
            let up_to_date = term_at_most(last_term(a), last_term(log));
            let all = forall([a], has(server, a).implies(up_to_date));
            protocol.action("vote").replace_guard("up-to-date", all);
        },
    },
    Change {
        name: "elect-counts-any-term",
        about: "A candidate counts votes of any term.",
        outcome: Found("elect", "leader-chain"),
        apply: |protocol| {
            symbols!(Server: leader, s; Quorum: quorum; Term: t);
            let vote = exists([t], voted(s, t, leader));
            let all = forall([s], member(s, quorum).implies(vote));
            protocol.action("elect").replace_guard("majority", all);
        },
    },
    Change {
        name: "elect-without-prefixes",
        about: "The log of a new leader lacks its prefixes.",
        outcome: Found("elect", "leader-prefixes"),
        apply: |protocol| {
            symbols!(Term: term, t; Log: log, a);
            let value = leader_log(t, a) | (equal(t, term) & equal(a, log));
            protocol
                .action("elect")
                .replace_update(Relation::LeaderLog, value);
        },
    },
    Change {
        name: "client-request-replaces",
        about: "A leader replaces its last entry by the new one.",
        outcome: Found("client-request", "leader-prefixes"),
        apply: |protocol| {
            symbols!(Term: term, t; Log: log, longer, a);
            let value = (leader_log(t, a) & !(equal(t, term) & equal(a, log) & !equal(a, EMPTY)))
                | (equal(t, term) & equal(a, longer));
            protocol
                .action("client-request")
                .replace_update(Relation::LeaderLog, value);
        },
    },
    Change {
        name: "accept-without-entering",
        about: "A server that accepts stays in its earlier term.",
        outcome: Found("accept", "server-term"),
        apply: |protocol| protocol.action("accept").drop_update(Relation::Left),
    },
    Change {
        name: "accept-without-storing",
        about: "A server acknowledges a log that it does not store.",
        outcome: Found("accept", "server-loses"),
        apply: |protocol| protocol.action("accept").drop_update(Relation::Has),
    },
    Change {
        name: "accept-truncates-always",
        about: "A server removes the entries after an accepted log that it already has.",
        outcome: Found("accept", "server-loses"),
        apply: |protocol| {
            symbols!(Server: server, s; Log: log, a);
            let value = (equal(s, server) & prefix(a, log)) | (has(s, a) & !equal(s, server));
            protocol
                .action("accept")
                .replace_update(Relation::Has, value);
        },
    },
    Change {
        name: "accept-keeps-conflict",
        about: "A server keeps a conflicting suffix beside the accepted log.",
        outcome: Harmless(
            "a server with two branches has no whole log, so it never stands, and it compares both when it votes",
        ),
        apply: |protocol| {
            symbols!(Server: server, s; Log: log, a);
            let value = has(s, a) | (equal(s, server) & prefix(a, log));
            protocol
                .action("accept")
                .replace_update(Relation::Has, value);
        },
    },
    Change {
        name: "accept-acknowledges-all",
        about: "A server acknowledges its whole log, with entries that the leader may lack.",
        outcome: Harmless(
            "an acknowledgement names a log, so it counts for no other entry at the same index",
        ),
        apply: |protocol| {
            symbols!(Server: server, s; Term: term, t; Log: log, a);
            let value = acked(s, t, a)
                | (equal(s, server) & equal(t, term) & (prefix(a, log) | has(server, a)));
            protocol
                .action("accept")
                .replace_update(Relation::Acked, value);
        },
    },
    Change {
        name: "accept-acknowledges-extensions",
        about: "A server acknowledges an extension of the log that it accepted.",
        outcome: Found("accept", "server-loses"),
        apply: |protocol| {
            symbols!(Server: server, s; Term: term, t; Log: log, a);
            let value = acked(s, t, a) | (equal(s, server) & equal(t, term) & agree(a, log));
            protocol
                .action("accept")
                .replace_update(Relation::Acked, value);
        },
    },
    Change {
        name: "commit-older-term",
        about: "A leader commits an entry of an older term by counting replicas (Figure 8).",
        outcome: Found("commit", "committed-by-quorum"),
        apply: |protocol| {
            symbols!(Log: log);
            protocol
                .action("commit")
                .replace_guard("own-term", !equal(log, EMPTY));
        },
    },
    Change {
        name: "commit-counts-any-term",
        about: "A leader counts acknowledgements of any term.",
        outcome: Found("commit", "committed-by-quorum"),
        apply: |protocol| {
            symbols!(Server: s; Quorum: quorum; Term: t; Log: log);
            let all = forall(
                [s],
                member(s, quorum).implies(exists([t], acked(s, t, log))),
            );
            protocol.action("commit").replace_guard("majority", all);
        },
    },
    Change {
        name: "commit-extensions",
        about: "A leader commits the extensions of an acknowledged log, too.",
        outcome: Found("commit", "committed-by-quorum"),
        apply: |protocol| {
            symbols!(Term: term; Log: log, a);
            let value = committed(a) | (prefix(log, a) & leader_log(term, a));
            protocol
                .action("commit")
                .replace_update(Relation::Committed, value);
        },
    },
    Change {
        name: "learn-extensions",
        about: "A server applies entries after the committed ones.",
        outcome: Found("learn", "learned-committed"),
        apply: |protocol| {
            symbols!(Server: server, s; Log: log, a);
            let value = learned(s, a) | (equal(s, server) & prefix(log, a) & has(server, a));
            protocol
                .action("learn")
                .replace_update(Relation::Learned, value);
        },
    },
    Change {
        name: "restart-loses-term",
        about: "A server that restarts is in an earlier term.",
        outcome: Found("update-term", "vote-leaves"),
        apply: |protocol| {
            symbols!(Server: server, s; Term: t);
            let value = left(s, t) & !equal(s, server);
            protocol
                .action("update-term")
                .replace_update(Relation::Left, value);
        },
    },
    Change {
        name: "restart-loses-vote",
        about: "A server that restarts forgets its votes.",
        outcome: Found("update-term", "candidate-voted"),
        apply: |protocol| {
            symbols!(Server: server, s, m; Term: t);
            let value = voted(s, t, m) & !equal(s, server);
            protocol.action("update-term").set(voted(s, t, m), value);
        },
    },
    Change {
        name: "restart-loses-log",
        about: "A server that restarts has an empty log.",
        outcome: Found("update-term", "server-loses"),
        apply: |protocol| {
            symbols!(Server: server, s; Log: a);
            let value = has(s, a) & (equal(a, EMPTY) | !equal(s, server));
            protocol.action("update-term").set(has(s, a), value);
        },
    },
];

impl Mutation {
    /// All variants.
    pub fn all() -> Vec<Self> {
        let axioms = AXIOMS.iter().map(|(axiom, outcome)| {
            let mut protocol = Protocol::raft();
            let about = remove(&mut protocol.axioms, axiom);
            Self {
                name: format!("without axiom {axiom}"),
                about: format!("The proof does not assume: {about}"),
                protocol,
                outcome: *outcome,
            }
        });
        let lemmas = LEMMAS.iter().map(|(lemma, outcome)| {
            let mut protocol = Protocol::raft();
            let about = remove(&mut protocol.lemmas, lemma);
            Self {
                name: format!("without lemma {lemma}"),
                about: format!("The invariant lacks: {about}"),
                protocol,
                outcome: *outcome,
            }
        });
        let guards = GUARDS.iter().map(|(action, guard, outcome)| {
            let mut protocol = Protocol::raft();
            let about = remove(&mut protocol.action(action).guards, guard);
            Self {
                name: format!("{action} without {guard}"),
                about: format!("{action} lacks the condition: {about}"),
                protocol,
                outcome: *outcome,
            }
        });
        let changes = CHANGES.iter().map(|change| {
            let mut protocol = Protocol::raft();
            (change.apply)(&mut protocol);
            Self {
                name: change.name.into(),
                about: change.about.into(),
                protocol,
                outcome: change.outcome,
            }
        });
        axioms.chain(lemmas).chain(guards).chain(changes).collect()
    }
}

impl Mutation {
    /// The queries that decide about the variant, with the answers that confirm the expected result. For a
    /// harmless variant these are all queries of a group that the mistake changes.
    ///
    /// # Panics
    /// If the expected query does not exist.
    pub fn queries(&self) -> Vec<Group> {
        let mut groups = self.protocol.queries();
        match self.outcome {
            Found(group, query) => {
                groups.retain(|other| other.name == group);
                for group in &mut groups {
                    group.bound();
                    group.queries.retain(|other| other.name == query);
                    for query in &mut group.queries {
                        query.expected = Expected::Sat;
                    }
                }
                let count: usize = groups.iter().map(|group| group.queries.len()).sum();
                assert_eq!(count, 1, "{}: {group} {query}", self.name);
            }
            Harmless(_) => {
                let correct = Protocol::raft().queries();
                groups.retain(|group| group.name != VACUITY && !correct.contains(group));
            }
        }
        groups
    }
}

/// Removes a statement, and returns its description.
fn remove(statements: &mut Vec<Statement>, name: &str) -> &'static str {
    let position = statements
        .iter()
        .position(|statement| statement.name == name);
    statements
        .remove(position.expect("a statement has this name"))
        .about
}

impl Protocol {
    fn action(&mut self, name: &str) -> &mut Action {
        let mut actions = self.actions.iter_mut();
        actions
            .find(|action| action.name == name)
            .expect("an action has this name")
    }
}

impl Action {
    fn replace_guard(&mut self, name: &str, formula: Formula) {
        let mut guards = self.guards.iter_mut();
        let guard = guards.find(|guard| guard.name == name);
        guard.expect("a guard has this name").formula = formula;
    }

    fn replace_update(&mut self, relation: Relation, value: Formula) {
        let mut updates = self.updates.iter_mut();
        let update = updates.find(|update| update.relation == relation);
        update.expect("the action changes this relation").value = value;
    }

    fn drop_update(&mut self, relation: Relation) {
        self.updates.retain(|update| update.relation != relation);
    }
}
