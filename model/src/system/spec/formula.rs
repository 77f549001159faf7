//! First-order formulas, as data.

use super::signature::{Relation, Sort, Symbol, Value};
use alloc::{boxed::Box, vec::Vec};
use core::ops::{BitAnd, BitOr, Not};

/// A formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Formula {
    /// A relation holds between values.
    Holds(Relation, Vec<Value>),
    /// Two values are equal.
    Equal(Value, Value),
    /// The formula is false.
    Not(Box<Self>),
    /// All are true.
    And(Vec<Self>),
    /// At least one is true.
    Or(Vec<Self>),
    /// If the first is true, so is the second.
    Implies(Box<Self>, Box<Self>),
    /// True for all values of the symbols.
    ForAll(Vec<Symbol>, Box<Self>),
    /// True for some values of the symbols.
    Exists(Vec<Symbol>, Box<Self>),
}

impl Formula {
    /// The formula that is always true.
    pub const TRUE: Self = Self::And(Vec::new());
    /// The formula that is always false.
    pub const FALSE: Self = Self::Or(Vec::new());

    /// If this is true, so is the conclusion.
    #[must_use]
    pub fn implies(self, conclusion: Self) -> Self {
        Self::Implies(Box::new(self), Box::new(conclusion))
    }
}

impl BitAnd for Formula {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        let mut all = match self {
            Self::And(all) => all,
            single => Vec::from([single]),
        };
        all.push(other);
        Self::And(all)
    }
}

impl BitOr for Formula {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        let mut all = match self {
            Self::Or(all) => all,
            single => Vec::from([single]),
        };
        all.push(other);
        Self::Or(all)
    }
}

impl Not for Formula {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }
}

/// True for all values of the symbols.
pub fn forall(symbols: impl Into<Vec<Symbol>>, body: Formula) -> Formula {
    Formula::ForAll(symbols.into(), Box::new(body))
}

/// True for some values of the symbols.
pub fn exists(symbols: impl Into<Vec<Symbol>>, body: Formula) -> Formula {
    Formula::Exists(symbols.into(), Box::new(body))
}

/// The values are equal.
///
/// # Panics
/// If their sorts differ.
pub fn equal(left: impl Into<Value>, right: impl Into<Value>) -> Formula {
    let (left, right) = (left.into(), right.into());
    assert_eq!(left.sort(), right.sort(), "{left:?} = {right:?}");
    Formula::Equal(left, right)
}

/// The term of the last entry of a log.
pub fn last_term(log: Symbol) -> Value {
    assert_eq!(log.sort, Sort::Log, "{log:?}");
    Value::LastTerm(log)
}

/// The number of entries of a log.
pub fn length(log: Symbol) -> Value {
    assert_eq!(log.sort, Sort::Log, "{log:?}");
    Value::Length(log)
}

impl Relation {
    /// The relation holds between these values.
    ///
    /// # Panics
    /// If the sorts of the values are not those of the relation.
    pub fn holds(self, values: impl Into<Vec<Value>>) -> Formula {
        let values = values.into();
        let sorts = values.iter().map(|value| value.sort());
        assert!(
            sorts.eq(self.sorts().iter().copied()),
            "{self:?} {values:?}"
        );
        Formula::Holds(self, values)
    }
}
