//! The axioms: the properties of quorums, orders and logs that the proof assumes.
//!
//! The proof needs each of them, and no others: it holds for structures that are no trees of logs, too.

use super::{
    super::{
        formula::{equal, exists, forall, last_term, length},
        signature::EMPTY,
        vocabulary::{length_at_most, member, prefix, symbols, term_at_most},
    },
    Statement, statement,
};
use alloc::{vec, vec::Vec};

pub(super) fn axioms() -> Vec<Statement> {
    symbols!(Server: s; Quorum: p, q; Term: t, u, v; Length: i, j; Log: a, b, c);
    vec![
        statement(
            "quorums-intersect",
            "Two quorums have a common server.",
            forall([p, q], exists([s], member(s, p) & member(s, q))),
        ),
        statement(
            "terms-total",
            "Any two terms are comparable.",
            forall([t, u], term_at_most(t, u) | term_at_most(u, t)),
        ),
        statement(
            "terms-antisymmetric",
            "Different terms are ordered in one way.",
            forall(
                [t, u],
                (term_at_most(t, u) & term_at_most(u, t)).implies(equal(t, u)),
            ),
        ),
        statement(
            "terms-transitive",
            "The order of terms is transitive.",
            forall(
                [t, u, v],
                (term_at_most(t, u) & term_at_most(u, v)).implies(term_at_most(t, v)),
            ),
        ),
        statement(
            "lengths-total",
            "Any two lengths are comparable.",
            forall([i, j], length_at_most(i, j) | length_at_most(j, i)),
        ),
        statement(
            "prefix-reflexive",
            "A log is a prefix of itself.",
            forall([a], prefix(a, a)),
        ),
        statement(
            "prefix-transitive",
            "A prefix of a prefix is a prefix.",
            forall(
                [a, b, c],
                (prefix(a, b) & prefix(b, c)).implies(prefix(a, c)),
            ),
        ),
        statement(
            "empty-first",
            "The empty log is a prefix of every log.",
            forall([a], prefix(EMPTY, a)),
        ),
        statement(
            "prefix-shorter",
            "A proper prefix is shorter.",
            forall(
                [a, b],
                (prefix(a, b) & !equal(a, b)).implies(!length_at_most(length(b), length(a))),
            ),
        ),
        statement(
            "empty-term",
            "The last term of the empty log is the lowest term.",
            forall([t], term_at_most(last_term(EMPTY), t)),
        ),
    ]
}
