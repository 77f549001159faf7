//! The safety properties that the invariant implies, and situations that it permits.

use super::{
    super::{
        formula::{Formula, equal, exists, forall, last_term, length},
        vocabulary::{
            acked, agree, before, committed, created_in, elected, has, is_empty, leader_log,
            learned, left, prefix, symbols,
        },
    },
    Statement, statement,
};
use alloc::{vec, vec::Vec};

pub(super) fn consequences() -> Vec<Statement> {
    symbols!(Server: n, m, c, d; Term: t, u; Log: a, b, x, y);
    let same_last_entry = |a, b| {
        equal(last_term(a), last_term(b))
            & equal(length(a), length(b))
            & !is_empty(a)
            & !is_empty(b)
    };
    vec![
        statement(
            "election-safety",
            "A term has at most one leader (Figure 3).",
            forall(
                [t, c, d],
                (elected(t, c) & elected(t, d)).implies(equal(c, d)),
            ),
        ),
        statement(
            "log-matching",
            "Two logs with an entry of the same index and term agree up to it (Figure 3).",
            forall(
                [n, m, a, b],
                (has(n, a) & has(m, b) & same_last_entry(a, b)).implies(equal(a, b)),
            ),
        ),
        statement(
            "leader-completeness",
            "Every leader of a later term has each committed entry (Figure 3).",
            forall(
                [a, u, c],
                (committed(a) & !is_empty(a) & elected(u, c) & before(last_term(a), u))
                    .implies(leader_log(u, a)),
            ),
        ),
        statement(
            "committed-agree",
            "Of two committed logs, one is a prefix of the other (State Machine Safety, Figure 3).",
            forall([a, b], (committed(a) & committed(b)).implies(agree(a, b))),
        ),
        statement(
            "learned-agree",
            "Of two sequences of entries that servers may apply, one is a prefix of the other.",
            forall(
                [n, m, x, y, a, b],
                (learned(n, x) & learned(m, y) & prefix(a, x) & prefix(b, y)).implies(agree(a, b)),
            ),
        ),
        statement(
            "previous-entry",
            "An index and a term identify a prefix of the leader's log (the check of AppendEntries, \
             §5.3).",
            forall(
                [n, u, a, b],
                (has(n, a) & leader_log(u, b) & same_last_entry(a, b)).implies(equal(a, b)),
            ),
        ),
        statement(
            "learned-kept",
            "A log that a server accepts agrees with the logs that it learned: no applied entry is \
             removed.",
            forall(
                [n, u, a, b],
                (learned(n, a) & !left(n, u) & leader_log(u, b)).implies(agree(a, b)),
            ),
        ),
    ]
}

pub(super) fn witnesses() -> Vec<Statement> {
    symbols!(Server: n, c, d; Term: t, u; Log: a, b);
    vec![
        statement(
            "invariant",
            "A state satisfies the invariant.",
            Formula::TRUE,
        ),
        statement(
            "later-leader",
            "A leader of a later term extends a committed log.",
            exists(
                [c, d, t, u, a, b],
                elected(t, c)
                    & elected(u, d)
                    & before(t, u)
                    & !equal(c, d)
                    & committed(a)
                    & created_in(a, t)
                    & leader_log(u, b)
                    & created_in(b, u)
                    & prefix(a, b),
            ),
        ),
        statement(
            "lost-entry",
            "A server lost an entry that it had acknowledged.",
            exists([n, t, a], acked(n, t, a) & created_in(a, t) & !has(n, a)),
        ),
        statement(
            "conflict",
            "Two servers have logs with a conflict.",
            exists([n, c, a, b], has(n, a) & has(c, b) & !agree(a, b)),
        ),
    ]
}
