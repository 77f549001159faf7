//! The bounds that the command line, the page and the tours may replace: the only table of them.
//!
//! Validation, the options of the command line with their help, the bounds in JSON and the form of the
//! page derive from it. A certificate does not: its writer and its verifier list the fields in the
//! order of the format, and the verifier stays independent of the search on purpose.

use super::{BadBound, BoundValue, Limit, Scope};

/// The maximum number of servers of a scope. The search tries all their permutations.
pub const MAX_SERVERS: u64 = 5;
/// The maximum number of terms of a scope.
pub const MAX_TERMS: u64 = 9;
/// The maximum number of client entries, reads, crashes or snapshots of a scope: ids of operations have
/// two digits.
pub const MAX_BUDGET: u8 = 20;

/// A bound of a scope.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The name: the option of the command line without its dashes, and the key in JSON.
    pub name: &'static str,
    /// A description without a period, as in the help of the command line.
    pub help: &'static str,
    /// The minimum.
    pub min: u64,
    /// The maximum of a number.
    pub max: u64,
    access: Access,
}

/// Reads and replaces a bound of a scope.
#[derive(Clone, Copy, Debug)]
enum Access {
    Number(fn(&Scope) -> u64, fn(&mut Scope, u64)),
    Limit(fn(&Scope) -> Limit, fn(&mut Scope, Limit)),
}

impl Bound {
    /// The bound with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BOUNDS.iter().find(|bound| bound.name == name)
    }

    /// Whether the value may be [`BoundValue::Any`].
    pub fn may_be_any(&self) -> bool {
        matches!(self.access, Access::Limit(..))
    }

    /// The value in a scope.
    pub fn value(&self, scope: &Scope) -> BoundValue {
        match self.access {
            Access::Number(get, _) => BoundValue::Number(get(scope)),
            Access::Limit(get, _) => get(scope).into(),
        }
    }

    /// Replaces the value in a scope.
    ///
    /// # Errors
    /// If the value is out of range, or [`BoundValue::Any`] where the bound needs a number.
    pub fn replace(&self, scope: &mut Scope, value: BoundValue) -> Result<(), BadBound> {
        self.check(value)?;
        match (self.access, value) {
            (Access::Number(_, set), BoundValue::Number(number)) => set(scope, number),
            (Access::Number(..), BoundValue::Any) => {}
            (Access::Limit(_, set), BoundValue::Number(number)) => {
                set(scope, Limit::at_most(number as u8));
            }
            (Access::Limit(_, set), BoundValue::Any) => set(scope, Limit::Any),
        }
        Ok(())
    }

    /// Checks a value.
    ///
    /// # Errors
    /// As of [`replace`](Self::replace).
    pub(super) fn check(&self, value: BoundValue) -> Result<(), BadBound> {
        match value {
            BoundValue::Number(number) => BadBound::within(self.name, number, self.min, self.max),
            BoundValue::Any if self.may_be_any() => Ok(()),
            BoundValue::Any => Err(BadBound::BoundNeedsNumber {
                bound: self.name,
                min: self.min,
                max: self.max,
            }),
        }
    }
}

/// All bounds, in the order of the command line.
pub const BOUNDS: &[Bound] = &[
    Bound {
        name: "servers",
        help: "Number of servers",
        min: 1,
        max: MAX_SERVERS,
        access: Access::Number(|scope| scope.servers, |scope, value| scope.servers = value),
    },
    Bound {
        name: "terms",
        help: "Number of terms that servers may enter",
        min: 1,
        max: MAX_TERMS,
        access: Access::Number(|scope| scope.terms, |scope, value| scope.terms = value),
    },
    Bound {
        name: "entries",
        help: "Number of entries that clients request",
        min: 0,
        max: MAX_BUDGET as u64,
        access: Access::Number(
            |scope| scope.budget.entries.into(),
            |scope, value| scope.budget.entries = value as u8,
        ),
    },
    Bound {
        name: "reads",
        help: "Number of reads that leaders accept",
        min: 0,
        max: MAX_BUDGET as u64,
        access: Access::Number(
            |scope| scope.budget.reads.into(),
            |scope, value| scope.budget.reads = value as u8,
        ),
    },
    Bound {
        name: "crashes",
        help: "Number of server crashes, or any",
        min: 0,
        max: MAX_BUDGET as u64,
        access: Access::Limit(
            |scope| scope.budget.crashes,
            |scope, limit| scope.budget.crashes = limit,
        ),
    },
    Bound {
        name: "snapshots",
        help: "Number of snapshots that servers take, or any",
        min: 0,
        max: MAX_BUDGET as u64,
        access: Access::Limit(
            |scope| scope.budget.snapshots,
            |scope, limit| scope.budget.snapshots = limit,
        ),
    },
    Bound {
        name: "client-crashes",
        help: "Number of crashes of client processes, or any",
        min: 0,
        max: MAX_BUDGET as u64,
        access: Access::Limit(
            |scope| scope.budget.client_crashes,
            |scope, limit| scope.budget.client_crashes = limit,
        ),
    },
    Bound {
        name: "proxy-crashes",
        help: "Number of crashes of the proxy, or any",
        min: 0,
        max: MAX_BUDGET as u64,
        access: Access::Limit(
            |scope| scope.budget.proxy_crashes,
            |scope, limit| scope.budget.proxy_crashes = limit,
        ),
    },
    Bound {
        name: "transfers",
        help: "Number of leadership transfers, or any",
        min: 0,
        max: MAX_BUDGET as u64,
        access: Access::Limit(
            |scope| scope.budget.transfers,
            |scope, limit| scope.budget.transfers = limit,
        ),
    },
    Bound {
        name: "batch",
        help: "Maximum number of entries in one message",
        min: 1,
        max: 1024,
        access: Access::Number(
            |scope| scope.batch as u64,
            |scope, value| scope.batch = value as usize,
        ),
    },
    Bound {
        name: "attempts",
        help: "Number of times that a client sends a request",
        min: 1,
        max: 8,
        access: Access::Number(
            |scope| scope.attempts.into(),
            |scope, value| scope.attempts = value as u32,
        ),
    },
];
