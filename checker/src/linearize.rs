//! Judges what clients saw of a running cluster: is there one order of all operations, each taking
//! effect at one moment between its call and its return, that explains every answer?
//!
//! The search is that of Wing and Gong with Lowe's memory of what was tried (*Testing for
//! linearizability*, 2017): operations are taken in some order that their times allow, a dead end
//! takes the last one back, and no configuration (which operations were taken, and what the key
//! then holds) is entered twice. Operations on different keys are independent (linearizability is
//! local), so each key is searched by itself. `docs/histories.md` has the file format and what a
//! verdict means.
//!
//! * `format` reads histories;
//! * `object` is one key of the store as a sequential object, an independent reading of
//!   `model::store`;
//! * `search` decides one key;
//! * `versions` checks what no single key shows: versions are positions in one log, so they
//!   follow the order of time over all keys;
//! * `stale` judges stale reads, which promise less and are no part of that order;
//! * `explain` makes a history that has no order small enough to be read, and tells it.
//!
//! An operation of unknown outcome may take effect at any time after its call, or never. A search
//! that meets its bound decides nothing: it is never told as linearizable.
//!
//! Lacks: scans (they span keys), and clocks. Times are taken as recorded: histories of several
//! machines need one clock.

mod explain;
mod format;
mod object;
mod search;
mod stale;
mod versions;

pub use explain::Explanation;
pub use format::{BadHistory, Call, History, Operation, Outcome, Place, ReadLimits, StaleRead};
pub use search::Limits;
pub use stale::Invented;
pub use versions::Disorder;

use search::Decision;
use std::collections::BTreeMap;

/// What is known of one key.
#[derive(Clone, Debug)]
pub struct KeyVerdict {
    /// The key.
    pub key: String,
    /// How many operations on it.
    pub operations: usize,
    /// How many configurations were entered.
    pub configurations: u64,
    /// What was found.
    pub verdict: Verdict,
}

/// What was found of a key, or of all.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Some order explains every answer.
    Linearizable,
    /// No order does.
    Violated(Box<Explanation>),
    /// A bound was met, or a person stopped the search: nothing is claimed.
    Undecided,
}

/// What is known of a history.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// Each key, in order.
    pub keys: Vec<KeyVerdict>,
    /// Where the versions contradict the order of time, if anywhere.
    pub disorder: Option<Disorder>,
    /// The first stale read that shows what no prefix of the log makes, if there is one.
    pub invented: Option<Invented>,
}

/// The word on a whole history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Every key has an order, the versions agree with time, and the stale reads with the log.
    Linearizable,
    /// Something has no order.
    Violated,
    /// Nothing was found wrong, but not everything was decided.
    Undecided,
}

impl Judgement {
    /// The word on the whole. One key without an order is enough for a violation, whatever else
    /// was left undecided.
    pub fn word(&self) -> Word {
        let any = |wanted: fn(&Verdict) -> bool| self.keys.iter().any(|key| wanted(&key.verdict));
        if self.disorder.is_some()
            || self.invented.is_some()
            || any(|verdict| matches!(verdict, Verdict::Violated(_)))
        {
            Word::Violated
        } else if any(|verdict| matches!(verdict, Verdict::Undecided)) {
            Word::Undecided
        } else {
            Word::Linearizable
        }
    }
}

/// Judges a history. `watch` is told after each key how many operations are behind.
pub fn judge(history: &History, limits: &Limits<'_>, mut watch: impl FnMut(usize)) -> Judgement {
    let mut by_key: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    let mut behind = 0;
    let mut keys = Vec::new();
    for (key, operations) in by_key {
        behind += operations.len();
        keys.push(judge_key(key, &operations, limits));
        watch(behind);
    }
    Judgement {
        keys,
        disorder: versions::find_disorder(&history.operations),
        invented: stale::find_invented(history),
    }
}

fn judge_key(key: &str, operations: &[&Operation], limits: &Limits<'_>) -> KeyVerdict {
    let found = search::search(operations, limits);
    let verdict = match found.decision {
        Decision::Linearizable => Verdict::Linearizable,
        Decision::Undecided => Verdict::Undecided,
        Decision::Violated => {
            Verdict::Violated(Box::new(explain::explain(operations, limits.interrupt)))
        }
    };
    KeyVerdict {
        key: key.into(),
        operations: operations.len(),
        configurations: found.configurations,
        verdict,
    }
}
