//! The 21 lemmas. Together they are an inductive invariant.

use super::{
    super::{
        formula::{equal, exists, forall, last_term},
        vocabulary::{
            abandoned, acked, agree, before, candidate, committed, created_in, elected, has,
            is_empty, leader_log, learned, left, member, prefix, symbols, term_at_most, voted,
        },
    },
    Statement, statement,
};
use alloc::{vec, vec::Vec};

pub(super) fn lemmas() -> Vec<Statement> {
    symbols!(Server: n, m, c, d; Quorum: q; Term: t, u; Log: a, b);
    vec![
        // The shape of the state.
        statement(
            "server-prefixes",
            "A server that has a log has its prefixes.",
            forall([n, a, b], (has(n, b) & prefix(a, b)).implies(has(n, a))),
        ),
        statement(
            "leader-prefixes",
            "A leader that has a log has its prefixes.",
            forall(
                [t, a, b],
                (leader_log(t, b) & prefix(a, b)).implies(leader_log(t, a)),
            ),
        ),
        statement(
            "leader-chain",
            "The leader of a term has one log.",
            forall(
                [t, a, b],
                (leader_log(t, a) & leader_log(t, b)).implies(agree(a, b)),
            ),
        ),
        statement(
            "one-vote",
            "A server votes once per term.",
            forall(
                [n, t, c, d],
                (voted(n, t, c) & voted(n, t, d)).implies(equal(c, d)),
            ),
        ),
        statement(
            "one-candidacy",
            "A candidate of a term stands with one log.",
            forall(
                [c, t, a, b],
                (candidate(c, t, a) & candidate(c, t, b)).implies(equal(a, b)),
            ),
        ),
        // Terms.
        statement(
            "vote-leaves",
            "A server that voted in a term left the earlier ones.",
            forall(
                [n, t, u, c],
                (voted(n, u, c) & before(t, u)).implies(left(n, t)),
            ),
        ),
        statement(
            "candidate-term",
            "The log of a candidate has entries of earlier terms only.",
            forall(
                [c, t, a],
                candidate(c, t, a).implies(is_empty(a) | before(last_term(a), t)),
            ),
        ),
        statement(
            "leader-term",
            "The log of a leader has entries of its own and of earlier terms only.",
            forall(
                [t, a],
                (leader_log(t, a) & !is_empty(a)).implies(term_at_most(last_term(a), t)),
            ),
        ),
        statement(
            "server-term",
            "The term of a server is at least that of its last entry.",
            forall(
                [n, a, t],
                (has(n, a) & before(t, last_term(a))).implies(left(n, t)),
            ),
        ),
        // Votes.
        statement(
            "candidate-voted",
            "A candidate voted for itself.",
            forall([c, t, a], candidate(c, t, a).implies(voted(c, t, c))),
        ),
        statement(
            "voted-for-voter",
            "A server that received a vote voted for itself.",
            forall([n, c, t], voted(n, t, c).implies(voted(c, t, c))),
        ),
        statement(
            "elected-by-quorum",
            "A quorum voted for every elected server.",
            forall(
                [t],
                exists(
                    [q],
                    forall(
                        [n, c],
                        (elected(t, c) & member(n, q)).implies(voted(n, t, c)),
                    ),
                ),
            ),
        ),
        statement(
            "leader-elected",
            "A term whose leader has a log has an elected leader.",
            forall([t, a], leader_log(t, a).implies(exists([c], elected(t, c)))),
        ),
        // The origin of entries: the leader of its term created each, after the same prefix.
        statement(
            "candidate-origin",
            "The leader of its term created each entry of a candidate.",
            forall(
                [c, t, a, b],
                (candidate(c, t, b) & prefix(a, b) & !is_empty(a))
                    .implies(leader_log(last_term(a), a)),
            ),
        ),
        statement(
            "leader-origin",
            "The leader of its term created each entry of a leader.",
            forall(
                [t, a],
                (leader_log(t, a) & !is_empty(a)).implies(leader_log(last_term(a), a)),
            ),
        ),
        statement(
            "server-origin",
            "The leader of its term created each entry of a server.",
            forall(
                [n, a],
                (has(n, a) & !is_empty(a)).implies(leader_log(last_term(a), a)),
            ),
        ),
        // The key: an entry can be missing in a later term only if it was never committed in its own.
        statement(
            "leader-lacks",
            "If the leader of a later term lacks an entry, the entry is abandoned.",
            forall(
                [t, a],
                abandoned(t, a)
                    | forall(
                        [u, c],
                        !(elected(u, c)
                            & before(t, u)
                            & leader_log(t, a)
                            & created_in(a, t)
                            & !leader_log(u, a)),
                    ),
            ),
        ),
        statement(
            "voter-elects",
            "If a server that acknowledged an entry votes for a candidate without it, the entry is \
             abandoned.",
            forall(
                [t, a],
                abandoned(t, a)
                    | forall(
                        [n, u, c, b],
                        !(voted(n, u, c)
                            & candidate(c, u, b)
                            & before(t, u)
                            & acked(n, t, a)
                            & created_in(a, t)
                            & !prefix(a, b)),
                    ),
            ),
        ),
        statement(
            "server-loses",
            "If a server that acknowledged an entry lacks it, the entry is abandoned.",
            forall(
                [t, a],
                abandoned(t, a) | forall([n], !(acked(n, t, a) & created_in(a, t) & !has(n, a))),
            ),
        ),
        // Commitment.
        statement(
            "committed-by-quorum",
            "A quorum acknowledged each committed log in the term of its last entry.",
            forall(
                [a],
                committed(a).implies(exists(
                    [q],
                    forall([m], member(m, q).implies(acked(m, last_term(a), a))),
                )),
            ),
        ),
        statement(
            "learned-committed",
            "A log that a server learned is committed, and the server reached its term.",
            forall(
                [n, a],
                learned(n, a).implies(
                    committed(a) & forall([t], before(t, last_term(a)).implies(left(n, t))),
                ),
            ),
        ),
    ]
}
