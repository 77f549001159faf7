//! The words of the definition: atoms, and formulas with a name.

use super::{
    formula::{Formula, equal, exists, forall, last_term, length},
    signature::{EMPTY, Relation, Symbol, Value},
};

/// Defines variables: `symbols!(Server: n, m; Log: a)`.
macro_rules! symbols {
    ($($sort:ident: $($name:ident),+);+) => {
        $($(let $name = $crate::system::spec::signature::Symbol {
            name: stringify!($name),
            sort: $crate::system::spec::signature::Sort::$sort,
        };)+)+
    };
}
pub(super) use symbols;

macro_rules! atoms {
    ($($name:ident($($value:ident),+) = $relation:ident;)+) => {
        $(pub(super) fn $name($($value: impl Into<Value>),+) -> Formula {
            Relation::$relation.holds([$($value.into()),+])
        })+
    };
}

atoms! {
    member(server, quorum) = Member;
    term_at_most(low, high) = TermAtMost;
    length_at_most(low, high) = LengthAtMost;
    prefix(short, long) = Prefix;
    left(server, term) = Left;
    has(server, log) = Has;
    voted(server, term, candidate) = Voted;
    candidate(server, term, log) = Candidate;
    elected(term, server) = Elected;
    leader_log(term, log) = LeaderLog;
    acked(server, term, log) = Acked;
    committed(log) = Committed;
    learned(server, log) = Learned;
}

/// The first term is less than the second.
pub(super) fn before(low: impl Into<Value>, high: impl Into<Value>) -> Formula {
    !term_at_most(high, low)
}

pub(super) fn is_empty(log: Symbol) -> Formula {
    equal(log, EMPTY)
}

/// One of the logs is a prefix of the other.
pub(super) fn agree(a: Symbol, b: Symbol) -> Formula {
    prefix(a, b) | prefix(b, a)
}

/// Every server of some quorum left the term without acknowledging the log in it. So no quorum will
/// acknowledge the log in this term: it is not committed there, and never will be.
pub(super) fn abandoned(term: Symbol, log: Symbol) -> Formula {
    symbols!(Quorum: lost; Server: voter);
    let without = left(voter, term) & !acked(voter, term, log);
    exists(
        [lost],
        forall([voter], member(voter, lost).implies(without)),
    )
}

/// The log is not empty, and the term created its last entry.
pub(super) fn created_in(log: Symbol, term: Symbol) -> Formula {
    equal(last_term(log), term) & !is_empty(log)
}

/// The first log is at least as up-to-date as the second (§5.4.1).
pub(super) fn up_to_date(log: Symbol, other: Symbol) -> Formula {
    before(last_term(other), last_term(log))
        | (equal(last_term(other), last_term(log)) & length_at_most(length(other), length(log)))
}
