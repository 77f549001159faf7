//! Linearizability of the few operations of a scope, by enumeration of all orders.
//!
//! An operation records the operations that had returned before its call. Linearizability depends only
//! on this partial order, the calls and the results; `specification` decides which results a call may
//! have at its place in an order. An operation without a result may take effect at any time after its
//! call, or never. Once its client has the response to a later write, the operation is *settled*: any
//! effect it had came before that write.

mod specification;

use crate::store::{self, Answer, Condition, Found, Page, Query};
use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::fmt;
use serde::{Deserialize, Serialize};
use specification::SequentialMap;

/// The id of an operation within a scope. It derives from the cause of the operation, not from a
/// counter, so that two orders of the same events give the same history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId(pub u64, pub u64);

/// The call of an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Call {
    /// A write.
    Write(store::Operation),
    /// A read.
    Read(Query),
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Result {
    /// The answer to a write that took effect, or that the store refused for the state of its key or
    /// for the quota.
    Answered(Answer),
    /// The result of a read.
    Found(Found),
}

/// The end of an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum End {
    /// The operation has not ended: it may still take effect, or never.
    Open,
    /// The operation returned this result.
    Returned(Result),
    /// The client received the response that the operation had no effect.
    Refused,
    /// The result is unknown, but the operation is over: a later write of its client was answered.
    Settled,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Operation {
    /// The id.
    pub id: OperationId,
    /// The call.
    pub call: Call,
    /// The operations that had returned before the call.
    pub after: BTreeSet<OperationId>,
    /// The end.
    pub end: End,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(store::Operation::Put {
                key,
                value,
                condition,
            }) => write!(
                f,
                "put {}={}{}",
                text(key),
                text(value),
                condition_suffix(*condition)
            ),
            Self::Write(store::Operation::Delete { key, condition }) => {
                write!(f, "delete {}{}", text(key), condition_suffix(*condition))
            }
            Self::Write(store::Operation::Increment { key, by }) => {
                write!(f, "increment {} by {by}", text(key))
            }
            Self::Read(Query::Get { key }) => write!(f, "get {}", text(key)),
            Self::Read(Query::Scan {
                prefix,
                after,
                limit,
                ..
            }) => {
                write!(f, "scan {}*", text(prefix))?;
                if let Some(after) = after {
                    write!(f, " after {}", text(after))?;
                }
                write!(f, ", limit {limit}")
            }
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("has not returned"),
            Self::Returned(Result::Answered(answer)) => fmt_answer(answer, f),
            Self::Returned(Result::Found(found)) => fmt_found(found, f),
            Self::Refused => f.write_str("was reported as not done"),
            Self::Settled => f.write_str("got no answer, and was settled by a later write"),
        }
    }
}

fn fmt_answer(answer: &Answer, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match answer {
        Answer::Written { version } => write!(f, "is done, version {version}"),
        Answer::Number { value, version } => write!(f, "left {value}, version {version}"),
        Answer::ConditionFailed { found: None } => f.write_str("was refused: the key is absent"),
        Answer::ConditionFailed {
            found: Some(version),
        } => write!(f, "was refused: the key has version {version}"),
        Answer::NotANumber => f.write_str("was refused: not a number"),
        Answer::Overflow => f.write_str("was refused: the sum overflows"),
        Answer::QuotaExceeded => f.write_str("was refused: the state quota is exceeded"),
        other => write!(f, "was answered {other:?}"),
    }
}

fn fmt_found(found: &Found, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match found {
        Found::Value(None) => f.write_str("found nothing"),
        Found::Value(Some(held)) => {
            write!(f, "found {}, version {}", text(&held.value), held.version)
        }
        Found::Pairs(Page { pairs, more }) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(key, held)| {
                    let (key, value) = (text(key), text(&held.value));
                    format!("{key}={value} (version {})", held.version)
                })
                .collect();
            let rest = if *more {
                ", and further keys follow"
            } else {
                ""
            };
            match pairs.as_slice() {
                [] => write!(f, "found no keys{rest}"),
                some => write!(f, "found {}{rest}", some.join(", ")),
            }
        }
    }
}

/// A condition, after the write that it belongs to. Empty if the write has none.
pub fn condition_suffix(condition: Condition) -> String {
    match condition {
        Condition::Always => String::new(),
        Condition::Absent => " if absent".into(),
        Condition::Present => " if present".into(),
        Condition::Version(version) => format!(" if version {version}"),
    }
}

fn text(bytes: &[u8]) -> alloc::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A description of each operation, numbered by position.
pub fn describe(operations: &[Operation]) -> Vec<String> {
    let number = |id: &OperationId| {
        let position = operations.iter().position(|other| other.id == *id);
        position.map(|position| format!("{}", position + 1))
    };
    let mut described = Vec::new();
    for (position, operation) in operations.iter().enumerate() {
        let earlier: Vec<String> = operation.after.iter().filter_map(number).collect();
        let called = match earlier.as_slice() {
            [] => String::new(),
            [one] => format!(", called after operation {one} had returned,"),
            [some @ .., last] => format!(
                ", called after operations {} and {last} had returned,",
                some.join(", ")
            ),
        };
        described.push(format!(
            "operation {} ({}){called} {}",
            position + 1,
            operation.call,
            operation.end
        ));
    }
    described
}

/// Begins an operation. A repeated call changes nothing.
pub(super) fn invoke(operations: &mut Vec<Operation>, id: OperationId, call: Call) {
    let Err(position) = operations.binary_search_by_key(&id, |operation| operation.id) else {
        return;
    };
    let after = operations
        .iter()
        .filter(|operation| operation.end != End::Open)
        .map(|operation| operation.id)
        .collect();
    let end = End::Open;
    operations.insert(
        position,
        Operation {
            id,
            call,
            after,
            end,
        },
    );
}

/// Ends an operation with a result.
pub(super) fn complete(operations: &mut [Operation], id: OperationId, result: Result) {
    end(operations, id, End::Returned(result));
}

/// Settles the earlier writes of a client whose write was answered: each took effect before it, or never
/// will.
pub(super) fn settle(operations: &mut [Operation], answered: OperationId) {
    let is_earlier = |id: OperationId| id.0 == answered.0 && id.1 < answered.1;
    let mut settled = BTreeSet::new();
    for operation in operations.iter_mut() {
        if operation.end == End::Open && is_earlier(operation.id) {
            operation.end = End::Settled;
            settled.insert(operation.id);
        }
    }
    if let Ok(position) = operations.binary_search_by_key(&answered, |operation| operation.id) {
        operations[position].after.extend(settled);
    }
}

/// Ends an operation that was reported as without effect.
pub(super) fn refuse(operations: &mut [Operation], id: OperationId) {
    end(operations, id, End::Refused);
}

fn end(operations: &mut [Operation], id: OperationId, end: End) {
    if let Ok(position) = operations.binary_search_by_key(&id, |operation| operation.id)
        && operations[position].end == End::Open
    {
        operations[position].end = end;
    }
}

/// Whether some order of the operations explains all results. `quota` is the maximum size of the state in
/// bytes.
pub fn is_linearizable(operations: &[Operation], quota: u64) -> bool {
    extend(
        operations,
        &mut Vec::new(),
        &SequentialMap::default(),
        quota,
    )
}

/// Depth-first search: `done` took effect in this order and left `map`.
fn extend(
    operations: &[Operation],
    done: &mut Vec<OperationId>,
    map: &SequentialMap,
    quota: u64,
) -> bool {
    let unexplained = operations.iter().any(|operation| {
        matches!(operation.end, End::Returned(_)) && !done.contains(&operation.id)
    });
    if !unexplained {
        return true;
    }
    for operation in operations {
        // An operation may come next if all operations that returned before its call, and had an effect,
        // are done. A settled operation may have had no effect. In that case it never has one.
        let ready = !done.contains(&operation.id)
            && operation.end != End::Refused
            && operations.iter().all(|other| {
                let is_over = other.end == End::Refused || other.end == End::Settled;
                !operation.after.contains(&other.id) || is_over || done.contains(&other.id)
            });
        let is_too_late = operation.end == End::Settled
            && operations
                .iter()
                .any(|other| done.contains(&other.id) && other.after.contains(&operation.id));
        if !ready || is_too_late {
            continue;
        }
        let result = match &operation.end {
            End::Returned(result) => Some(result),
            End::Open | End::Refused | End::Settled => None,
        };
        let Some(next) = map.after(&operation.call, result, quota) else {
            continue;
        };
        done.push(operation.id);
        if extend(operations, done, &next, quota) {
            return true;
        }
        done.pop();
    }
    false
}

#[cfg(test)]
mod tests;
