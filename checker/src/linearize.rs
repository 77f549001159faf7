//! Checks the histories that clients of a running cluster recorded. Is there one order of all
//! operations, each taking effect at one moment between its call and its return, that explains every
//! response?
//!
//! The search is the algorithm of Wing and Gong with Lowe's cache of configurations (*Testing for
//! linearizability*, 2017). It takes operations in an order that their times allow, and backtracks at a
//! dead end. It never enters a configuration twice (the set of operations taken, and the state of the
//! key after them). Operations on different keys are independent (linearizability is local), so each key
//! is searched separately. `docs/histories.md` describes the file format and the meaning of a verdict.
//!
//! * `format` reads histories;
//! * `object` is one key of the store as a sequential object, independent of `model::store`;
//! * `search` decides one key;
//! * `versions` checks a property of all keys together: versions are positions in one log, so their
//!   order must agree with the order in time;
//! * `stale` checks stale reads, which guarantee less and are not part of that order;
//! * `explain` reduces a history without an order until a person can read it, and describes it.
//!
//! An operation of unknown outcome may take effect at any time after its call, or never. A search that
//! reaches its limit decides nothing: it never reports linearizability.
//!
//! Deliberate omissions: scans (they span several keys), and clocks. Times are used as recorded:
//! histories of several machines need one clock.

mod explain;
mod format;
mod object;
mod search;
mod stale;
mod versions;

pub use crate::lines::FileLine;
pub use explain::Explanation;
pub use format::{
    BadHistory, Call, ClientHistory, Operation, OperationOutcome, ReadLimits, StaleRead,
};
pub use search::{Limits, UndecidedCause};
pub use stale::Invented;
pub use versions::Disorder;

use search::Decision;
use std::collections::BTreeMap;

/// The result of the check of one key.
#[derive(Clone, Debug)]
pub struct KeyReport {
    /// The key.
    pub key: String,
    /// The number of operations on it.
    pub operations: usize,
    /// The number of configurations entered.
    pub configurations: u64,
    /// The verdict.
    pub verdict: KeyVerdict,
}

/// The verdict on a key.
#[derive(Clone, Debug)]
pub enum KeyVerdict {
    /// Some order explains every response.
    Linearizable,
    /// No order explains every response.
    Violated(Box<Explanation>),
    /// A limit was reached or the search was interrupted: no claim.
    Undecided(UndecidedCause),
}

/// The verdict on a history.
#[derive(Clone, Debug)]
pub struct LinearizabilityReport {
    /// The keys, in order.
    pub keys: Vec<KeyReport>,
    /// The first contradiction between versions and time, if any.
    pub disorder: Option<Disorder>,
    /// The first stale read whose value no prefix of the log produces, if any.
    pub invented: Option<Invented>,
}

/// The overall verdict on a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Every key has an order, the versions agree with time, and the stale reads agree with the log.
    Linearizable,
    /// Some check failed.
    Violated,
    /// No violation was found, but not everything was decided.
    Undecided,
}

impl LinearizabilityReport {
    /// The overall verdict. One key without an order is a violation, even if other keys are undecided.
    pub fn word(&self) -> Word {
        let any =
            |wanted: fn(&KeyVerdict) -> bool| self.keys.iter().any(|key| wanted(&key.verdict));
        if self.disorder.is_some()
            || self.invented.is_some()
            || any(|verdict| matches!(verdict, KeyVerdict::Violated(_)))
        {
            Word::Violated
        } else if any(|verdict| matches!(verdict, KeyVerdict::Undecided(_))) {
            Word::Undecided
        } else {
            Word::Linearizable
        }
    }
}

/// Checks a history. After each key, calls `watch` with the number of operations checked so far.
pub fn check(
    history: &ClientHistory,
    limits: &Limits<'_>,
    mut watch: impl FnMut(usize),
) -> LinearizabilityReport {
    let mut by_key: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    let mut behind = 0;
    let mut keys = Vec::new();
    for (key, operations) in by_key {
        behind += operations.len();
        keys.push(check_key(key, &operations, limits));
        watch(behind);
    }
    LinearizabilityReport {
        keys,
        disorder: versions::find_disorder(&history.operations),
        invented: stale::find_invented(history),
    }
}

fn check_key(key: &str, operations: &[&Operation], limits: &Limits<'_>) -> KeyReport {
    let found = search::search(operations, limits);
    let verdict = match found.decision {
        Decision::Linearizable => KeyVerdict::Linearizable,
        Decision::Undecided(cause) => KeyVerdict::Undecided(cause),
        Decision::Violated => {
            KeyVerdict::Violated(Box::new(explain::explain(operations, limits.interrupt)))
        }
    };
    KeyReport {
        key: key.into(),
        operations: operations.len(),
        configurations: found.configurations,
        verdict,
    }
}
