//! The eight actions.

use super::{
    super::{
        formula::{equal, exists, forall, last_term},
        vocabulary::{
            acked, before, candidate, committed, created_in, elected, has, leader_log, learned,
            left, member, prefix, symbols, up_to_date, voted,
        },
    },
    Action,
};
use alloc::{vec, vec::Vec};

pub(super) fn actions() -> Vec<Action> {
    symbols!(Server: server, leader, s, m; Term: term, t; Log: log, longer, a; Quorum: quorum);
    // All parameters have long names, and all variables have short ones: no variable hides a parameter.
    vec![
        Action::new(
            "stand",
            "A server starts an election with its log, and votes for itself (§5.2).",
            [server, term, log],
        )
        .guard(
            "newer-term",
            "The term exceeds the term of the server.",
            exists([t], before(t, term) & !left(server, t)),
        )
        .guard("own-log", "The server has the log.", has(server, log))
        .guard(
            "whole-log",
            "The server has nothing beyond the log.",
            forall([a], has(server, a).implies(prefix(a, log))),
        )
        .enters(server, term)
        .adds(
            voted(s, t, m),
            equal(s, server) & equal(t, term) & equal(m, server),
        )
        .adds(
            candidate(s, t, a),
            equal(s, server) & equal(t, term) & equal(a, log),
        ),
        Action::new(
            "vote",
            "A server votes for a candidate (§5.2, §5.4.1).",
            [server, leader, term, log],
        )
        .guard(
            "not-left",
            "The server has not left the term.",
            !left(server, term),
        )
        .guard(
            "candidate",
            "The candidate stands with this log.",
            candidate(leader, term, log),
        )
        .guard(
            "one-vote",
            "The server voted for no other candidate of the term.",
            forall([m], voted(server, term, m).implies(equal(m, leader))),
        )
        .guard(
            "up-to-date",
            "The log of the candidate is at least as up-to-date as that of the server.",
            forall([a], has(server, a).implies(up_to_date(log, a))),
        )
        .enters(server, term)
        .adds(
            voted(s, t, m),
            equal(s, server) & equal(t, term) & equal(m, leader),
        ),
        Action::new(
            "update-term",
            "A server enters a later term (§5.1).",
            [server, term],
        )
        .enters(server, term),
        Action::new(
            "elect",
            "A candidate with the votes of a quorum becomes the leader (§5.2).",
            [leader, term, log, quorum],
        )
        .guard(
            "candidate",
            "The candidate stands with this log.",
            candidate(leader, term, log),
        )
        .guard(
            "once",
            "The server was not elected in the term yet.",
            !elected(term, leader),
        )
        .guard(
            "majority",
            "Every server of the quorum voted for the candidate.",
            forall([s], member(s, quorum).implies(voted(s, term, leader))),
        )
        .adds(elected(t, s), equal(t, term) & equal(s, leader))
        .adds(leader_log(t, a), equal(t, term) & prefix(a, log)),
        Action::new(
            "client-request",
            "A leader appends one entry of its term to its log (§5.3).",
            [leader, term, log, longer],
        )
        .guard(
            "leader",
            "The server is the leader of the term.",
            elected(term, leader),
        )
        .guard("own-log", "The leader has the log.", leader_log(term, log))
        .guard(
            "whole-log",
            "The leader has nothing beyond the log.",
            forall([a], leader_log(term, a).implies(prefix(a, log))),
        )
        .guard(
            "extends",
            "The new log extends the log.",
            prefix(log, longer) & !equal(log, longer),
        )
        .guard(
            "one-entry",
            "It does so by one entry.",
            forall(
                [a],
                prefix(a, longer).implies(equal(a, longer) | prefix(a, log)),
            ),
        )
        .guard(
            "own-term",
            "The entry has the term of the leader.",
            equal(last_term(longer), term),
        )
        .adds(leader_log(t, a), equal(t, term) & equal(a, longer)),
        Action::new(
            "accept",
            "A server acknowledges a prefix of the leader's log, and removes a conflict (§5.3).",
            [server, term, log],
        )
        .guard(
            "not-left",
            "The server has not left the term.",
            !left(server, term),
        )
        .guard(
            "sent",
            "The leader of the term has the log.",
            leader_log(term, log),
        )
        .enters(server, term)
        .sets(
            has(s, a),
            (equal(s, server) & !has(server, log) & prefix(a, log))
                | (has(s, a) & (!equal(s, server) | has(server, log))),
        )
        .adds(
            acked(s, t, a),
            equal(s, server) & equal(t, term) & prefix(a, log),
        ),
        Action::new(
            "commit",
            "A leader commits an entry of its term that a quorum acknowledged (§5.3, §5.4.2).",
            [term, log, quorum],
        )
        .guard(
            "own-term",
            "The last entry has the term of the leader.",
            created_in(log, term),
        )
        .guard(
            "leader-log",
            "The leader has the log.",
            leader_log(term, log),
        )
        .guard(
            "majority",
            "Every server of the quorum acknowledged the log in the term.",
            forall([s], member(s, quorum).implies(acked(s, term, log))),
        )
        .adds(committed(a), equal(a, log)),
        Action::new(
            "learn",
            "A server receives the commit index of a leader (§5.3).",
            [server, log],
        )
        .guard("committed", "The log is committed.", committed(log))
        .guard(
            "reached-term",
            "The server is in the term of the last entry, or in a later one.",
            forall([t], before(t, last_term(log)).implies(left(server, t))),
        )
        .adds(learned(s, a), equal(s, server) & equal(a, log)),
    ]
}
