//! Linearizability of the few operations of a scope, by enumeration of all orders.
//!
//! An operation records the operations that had returned before its call. Linearizability depends only
//! on this partial order, the calls and the results. An operation without a result may take effect at
//! any time after its call, or never. Once its client has the response to a later write, the operation
//! is *settled*: any effect it had came before that write.

use super::reference::canonical_integer;
use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The id of an operation within a scope. It derives from the cause of the operation, not from a
/// counter, so that two orders of the same events give the same history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId(pub u64, pub u64);

/// The call of an operation on the single key of the scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Call {
    /// Sets the value.
    Put(Vec<u8>),
    /// Adds to the value.
    Increment(i64),
    /// Removes the key.
    Delete,
    /// Reads the value.
    Get,
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Result {
    /// A put or a delete took effect.
    Done,
    /// An increment took effect and left this value.
    Number(i64),
    /// A read returned this value.
    Found(Option<Vec<u8>>),
    /// An increment had no effect: the value was not a number.
    NotANumber,
    /// An increment had no effect: the sum would overflow.
    Overflow,
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
            Self::Put(value) => write!(f, "put {}", String::from_utf8_lossy(value)),
            Self::Increment(by) => write!(f, "increment by {by}"),
            Self::Delete => f.write_str("delete"),
            Self::Get => f.write_str("get"),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("has not returned"),
            Self::Returned(Result::Done) => f.write_str("is done"),
            Self::Returned(Result::Number(number)) => write!(f, "left {number}"),
            Self::Returned(Result::Found(None)) => f.write_str("found nothing"),
            Self::Returned(Result::Found(Some(value))) => {
                write!(f, "found {}", String::from_utf8_lossy(value))
            }
            Self::Returned(Result::NotANumber) => f.write_str("was refused: not a number"),
            Self::Returned(Result::Overflow) => f.write_str("was refused: the sum overflows"),
            Self::Refused => f.write_str("was reported as not done"),
            Self::Settled => f.write_str("got no answer, and was settled by a later write"),
        }
    }
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

/// Whether some order of the operations explains all results.
pub fn is_linearizable(operations: &[Operation]) -> bool {
    extend(operations, &mut Vec::new(), None)
}

/// Depth-first search: `done` took effect in this order and left `value`.
fn extend(operations: &[Operation], done: &mut Vec<OperationId>, value: Option<&[u8]>) -> bool {
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
        let ready = ready && !is_too_late;
        if !ready {
            continue;
        }
        let (result, next) = perform(&operation.call, value);
        if let End::Returned(returned) = &operation.end
            && *returned != result
        {
            continue;
        }
        done.push(operation.id);
        if extend(operations, done, next.as_deref()) {
            return true;
        }
        done.pop();
    }
    false
}

fn perform(call: &Call, value: Option<&[u8]>) -> (Result, Option<Vec<u8>>) {
    match call {
        Call::Put(new) => (Result::Done, Some(new.clone())),
        Call::Delete => (Result::Done, None),
        Call::Get => (
            Result::Found(value.map(<[u8]>::to_vec)),
            value.map(<[u8]>::to_vec),
        ),
        Call::Increment(by) => {
            let held = value.map_or(Some(0), canonical_integer);
            let sum = held.map(|held| held.checked_add(*by));
            let unchanged = value.map(<[u8]>::to_vec);
            match sum {
                None => (Result::NotANumber, unchanged),
                Some(None) => (Result::Overflow, unchanged),
                Some(Some(sum)) => (Result::Number(sum), Some(format!("{sum}").into_bytes())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(steps: &[(u64, Option<Call>, Option<Result>)]) -> Vec<Operation> {
        let mut operations = Vec::new();
        for (id, call, result) in steps {
            let id = OperationId(*id, 0);
            if let Some(call) = call {
                invoke(&mut operations, id, call.clone());
            }
            if let Some(result) = result {
                complete(&mut operations, id, result.clone());
            }
        }
        operations
    }

    fn put(text: &str) -> Option<Call> {
        Some(Call::Put(text.as_bytes().to_vec()))
    }

    fn found(text: &str) -> Option<Result> {
        Some(Result::Found(Some(text.as_bytes().to_vec())))
    }

    #[test]
    fn increment_is_refused_exactly_where_the_store_refuses_it() {
        let value = |text: &str| Some(Call::Put(text.as_bytes().to_vec()));
        let increment = |result| (2, Some(Call::Increment(1)), Some(result));
        for (text, result) in [
            ("b", Result::NotANumber),
            ("007", Result::NotANumber),
            ("9223372036854775807", Result::Overflow),
            ("7", Result::Number(8)),
        ] {
            for answer in [
                Result::NotANumber,
                Result::Overflow,
                Result::Number(1),
                Result::Number(8),
            ] {
                let expected = answer == result;
                let put = (1, value(text), Some(Result::Done));
                let operations = history(&[put, increment(answer)]);
                assert_eq!(is_linearizable(&operations), expected, "{operations:?}");
            }
        }
    }

    #[test]
    fn stale_read_after_an_acknowledged_write_is_rejected() {
        let stale = history(&[
            (1, put("a"), Some(Result::Done)),
            (2, Some(Call::Get), Some(Result::Found(None))),
        ]);
        assert!(!is_linearizable(&stale));
    }

    #[test]
    fn settled_write_takes_effect_before_the_one_that_settles_it_or_never() {
        let id = |number| OperationId(1, number);
        let counted = |results: &[i64]| {
            let mut operations = Vec::new();
            let increment = || Call::Increment(1);
            // The first operation got no response, and its client continued.
            invoke(&mut operations, id(1), increment());
            for (number, result) in (2..).zip(results) {
                invoke(&mut operations, id(number), increment());
                settle(&mut operations, id(number));
                complete(&mut operations, id(number), Result::Number(*result));
            }
            is_linearizable(&operations)
        };
        assert!(counted(&[1, 2]), "it had no effect");
        assert!(counted(&[2, 3]), "it took effect first");
        assert!(!counted(&[1, 3]), "it took effect when it was settled");
    }

    #[test]
    fn operations_are_described_with_their_order() {
        let mut operations = history(&[
            (1, put("a"), Some(Result::Done)),
            (2, Some(Call::Get), Some(Result::Found(None))),
            (3, Some(Call::Increment(1)), None),
        ]);
        assert_eq!(
            describe(&operations).join("; "),
            "operation 1 (put a) is done; \
             operation 2 (get), called after operation 1 had returned, found nothing; \
             operation 3 (increment by 1), called after operations 1 and 2 had returned, has not returned"
        );
        refuse(&mut operations, OperationId(3, 0));
        assert!(describe(&operations)[2].ends_with("was reported as not done"));
    }

    #[test]
    fn open_write_may_be_seen_or_not_but_not_unseen_again() {
        for results in [
            [Some(Result::Found(None)), found("a")],
            [Some(Result::Found(None)), Some(Result::Found(None))],
            [found("a"), found("a")],
        ] {
            let [first, second] = results;
            let history = history(&[
                (1, put("a"), None),
                (2, Some(Call::Get), first),
                (3, Some(Call::Get), second),
            ]);
            assert!(is_linearizable(&history));
        }
        let unseen_again = history(&[
            (1, put("a"), None),
            (2, Some(Call::Get), found("a")),
            (3, Some(Call::Get), Some(Result::Found(None))),
        ]);
        assert!(!is_linearizable(&unseen_again));
    }

    #[test]
    fn refused_write_that_is_seen_is_rejected() {
        let mut operations = Vec::new();
        invoke(&mut operations, OperationId(1, 0), Call::Increment(1));
        refuse(&mut operations, OperationId(1, 0));
        invoke(&mut operations, OperationId(2, 0), Call::Increment(1));
        complete(&mut operations, OperationId(2, 0), Result::Number(2));
        assert!(!is_linearizable(&operations));
    }

    #[test]
    fn concurrent_increments_must_not_share_a_result() {
        let mut operations = Vec::new();
        for id in [1, 2] {
            invoke(&mut operations, OperationId(id, 0), Call::Increment(1));
        }
        for id in [1, 2] {
            complete(&mut operations, OperationId(id, 0), Result::Number(1));
        }
        assert!(!is_linearizable(&operations));
        assert_eq!(operations[1].after, BTreeSet::new());
    }
}
