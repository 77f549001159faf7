//! The bounds that the command line, the page and the tours may replace: the only table of them.
//!
//! Validation, the options of the command line with their help, the bounds in JSON and the form of the
//! page derive from it. A certificate does not: its writer and its verifier list the fields in the
//! order of the format, and the verifier stays independent of the search on purpose.

use super::{BadBound, Scope};

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
    /// The maximum.
    pub max: u64,
    /// Returns the value in a scope.
    pub get: fn(&Scope) -> u64,
    set: fn(&mut Scope, u64),
}

impl Bound {
    /// The bound with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        BOUNDS.iter().find(|bound| bound.name == name)
    }

    /// Replaces the value in a scope.
    ///
    /// # Errors
    /// If the value is out of range.
    pub fn replace(&self, scope: &mut Scope, value: u64) -> Result<(), BadBound> {
        BadBound::within(self.name, value, self.min, self.max)?;
        (self.set)(scope, value);
        Ok(())
    }
}

/// All bounds, in the order of the command line.
pub const BOUNDS: &[Bound] = &[
    Bound {
        name: "servers",
        help: "Number of servers",
        min: 1,
        max: MAX_SERVERS,
        get: |scope| scope.servers,
        set: |scope, value| scope.servers = value,
    },
    Bound {
        name: "terms",
        help: "Number of terms that servers may enter",
        min: 1,
        max: MAX_TERMS,
        get: |scope| scope.terms,
        set: |scope, value| scope.terms = value,
    },
    Bound {
        name: "entries",
        help: "Number of entries that clients request",
        min: 0,
        max: MAX_BUDGET as u64,
        get: |scope| scope.budget.entries.into(),
        set: |scope, value| scope.budget.entries = value as u8,
    },
    Bound {
        name: "reads",
        help: "Number of reads that leaders accept",
        min: 0,
        max: MAX_BUDGET as u64,
        get: |scope| scope.budget.reads.into(),
        set: |scope, value| scope.budget.reads = value as u8,
    },
    Bound {
        name: "crashes",
        help: "Number of server crashes",
        min: 0,
        max: MAX_BUDGET as u64,
        get: |scope| scope.budget.crashes.into(),
        set: |scope, value| scope.budget.crashes = value as u8,
    },
    Bound {
        name: "snapshots",
        help: "Number of snapshots that servers take",
        min: 0,
        max: MAX_BUDGET as u64,
        get: |scope| scope.budget.snapshots.into(),
        set: |scope, value| scope.budget.snapshots = value as u8,
    },
    Bound {
        name: "batch",
        help: "Maximum number of entries in one message",
        min: 1,
        max: 1024,
        get: |scope| scope.batch as u64,
        set: |scope, value| scope.batch = value as usize,
    },
    Bound {
        name: "attempts",
        help: "Number of times that a client sends a request",
        min: 1,
        max: 8,
        get: |scope| scope.attempts.into(),
        set: |scope, value| scope.attempts = value as u32,
    },
];
