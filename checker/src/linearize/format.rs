//! Histories as JSON lines, one operation per line, as written by `raft-client bench --history`.
//! `docs/histories.md` describes the format, and the crate `history` defines it.
//!
//! The reader is strict: it rejects a line, with its number, unless it is exactly one operation with a
//! possible result. A guess about the meaning of a line could change the verdict.

use crate::{
    escape::escaped,
    lines::{FileLine, read_object},
};
use history::{Op, OpResult, Record, True};
use std::{
    fmt,
    io::BufRead,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// The maximum length of a line in bytes: a key, two values and some numbers, with a margin.
const LONGEST_LINE: u64 = 64 << 20;

const NO_SUCH_RESULT: &str = "such an operation cannot have this result";
const NO_RETURN: &str = "it has a result but did not return: \"return\" is null";

/// The recorded operations.
#[derive(Clone, Debug, Default)]
pub struct ClientHistory {
    /// The operations, in the order of the lines.
    pub operations: Vec<Operation>,
    /// The stale reads that were answered. They are not part of the order.
    pub stale_reads: Vec<StaleRead>,
    /// The number of operations that certainly had no effect and returned no information; they are
    /// omitted.
    pub without_effect: usize,
    /// The size of all lines in bytes.
    bytes: u64,
}

/// The limits of reading a history.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits<'a> {
    /// The maximum total size of all files in bytes. The parsed history takes a few times as much
    /// memory.
    pub max_bytes: u64,
    /// Set this to interrupt the reading.
    pub interrupt: &'a AtomicBool,
}

impl ReadLimits<'static> {
    /// No limit, for histories that are already in memory.
    pub const NONE: Self = {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self {
            max_bytes: u64::MAX,
            interrupt: &NEVER,
        }
    };
}

impl ClientHistory {
    /// Whether there is nothing to check: no operation, or only operations that certainly had no effect.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty() && self.stale_reads.is_empty()
    }
}

/// One operation on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The place where it was recorded.
    pub place: FileLine,
    /// The process that called it.
    pub process: u64,
    /// The key.
    pub key: String,
    /// The call.
    pub call: Call,
    /// The time of the call, in nanoseconds.
    pub invoke: u64,
    /// The time of the return; `None` if the operation never returned, or returned without a known
    /// outcome.
    pub returned: Option<u64>,
    /// The result.
    pub outcome: OperationOutcome,
}

/// A read of the local state of one server. It guarantees less than other reads and is checked
/// separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaleRead {
    /// The place where it was recorded.
    pub place: FileLine,
    /// The key.
    pub key: String,
    /// The time of the call.
    pub invoke: u64,
    /// The time of the return.
    pub returned: u64,
    /// The value read and its version; `None` if the server had no value.
    pub found: Option<(String, u64)>,
    /// The last entry that the server had applied.
    pub applied_index: u64,
}

/// The call of an operation on its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Sets the value.
    Put(String),
    /// Reads the value.
    Get,
    /// Removes the key.
    Delete,
    /// Adds to the number in the key; an absent key counts as 0.
    Increment(i64),
    /// Sets the value if the current version is the expected one.
    CompareAndSet {
        /// The new value.
        value: String,
        /// The expected version; `None` if the key must be absent.
        expected: Option<u64>,
    },
}

/// The result of an operation. A version is `None` if the history does not contain it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OperationOutcome {
    /// Unknown: the operation may take effect at any time after its call, or never.
    Unknown,
    /// The operation took effect and created this version.
    Written(Option<u64>),
    /// The operation read this value of this version.
    Found(String, Option<u64>),
    /// The operation found no value.
    Absent,
    /// The operation left this number and created this version.
    Number(i64, Option<u64>),
    /// The condition did not hold: the key had this version, or `None` if it was absent.
    ConditionFailed(Option<u64>),
    /// The value was not a number, or the addition would overflow.
    NotANumber,
}

/// The reason why a file is not a valid history.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {}", escaped(why))]
pub struct BadHistory {
    /// The line.
    pub place: FileLine,
    /// The problem.
    pub why: String,
}

impl ClientHistory {
    /// Adds the operations of one more file. All files together form one history, and their times must
    /// come from one clock.
    ///
    /// # Errors
    /// The first line that is not a valid operation.
    pub fn read(
        &mut self,
        file: &str,
        mut input: impl BufRead,
        limits: ReadLimits<'_>,
    ) -> Result<(), BadHistory> {
        let file: Arc<str> = file.into();
        let mut text = Vec::new();
        for line in 1.. {
            let place = FileLine {
                file: Arc::clone(&file),
                line,
            };
            let bad = |why: String| BadHistory {
                place: place.clone(),
                why,
            };
            text.clear();
            let read = read_object(&mut input, LONGEST_LINE, &mut text)
                .map_err(|error| bad(error.to_string()))?;
            if read == 0 {
                break;
            }
            if limits.interrupt.load(Ordering::Relaxed) {
                return Err(bad(
                    "reading was interrupted here; nothing was checked".into()
                ));
            }
            self.bytes += read as u64;
            if self.bytes > limits.max_bytes {
                return Err(bad(format!(
                    "the history is larger than {} bytes: raise --max-memory, or check a part",
                    limits.max_bytes
                )));
            }
            let record: Record =
                serde_json::from_slice(&text).map_err(|error| bad(parse_error(&error)))?;
            match parse(record, place.clone()).map_err(bad)? {
                Recorded::Operation(operation) => self.operations.push(operation),
                Recorded::StaleRead(read) => self.stale_reads.push(read),
                Recorded::Nothing => self.without_effect += 1,
            }
        }
        Ok(())
    }
}

/// The error without serde's own line number, which is always 1 here.
fn parse_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} (column {})", error.column()),
        None => text,
    }
}

/// The contents of a line.
enum Recorded {
    Operation(Operation),
    StaleRead(StaleRead),
    /// An operation that certainly had no effect and returned no information.
    Nothing,
}

/// Interprets a record.
fn parse(record: Record, place: FileLine) -> Result<Recorded, String> {
    if let Some(returned) = record.returned
        && returned < record.invoke
    {
        return Err("it returns before it is called".into());
    }
    match record.op {
        Op::StaleGet { key } => {
            let (found, applied_index) = match record.result {
                None | Some(OpResult::Unavailable(True)) => return Ok(Recorded::Nothing),
                Some(OpResult::Stale {
                    found,
                    applied_index,
                }) => (found, applied_index),
                Some(_) => return Err(NO_SUCH_RESULT.into()),
            };
            Ok(Recorded::StaleRead(StaleRead {
                place,
                key,
                invoke: record.invoke,
                returned: record.returned.ok_or(NO_RETURN)?,
                found: found.map(|held| (held.value, held.version)),
                applied_index,
            }))
        }
        _ => Ok(match parse_operation(record, place)? {
            Some(operation) => Recorded::Operation(operation),
            None => Recorded::Nothing,
        }),
    }
}

/// The operation; `None` if it certainly had no effect and returned no information.
fn parse_operation(record: Record, place: FileLine) -> Result<Option<Operation>, String> {
    let (key, call) = match record.op {
        Op::Put { key, value } => (key, Call::Put(value)),
        Op::Get { key } | Op::StaleGet { key } => (key, Call::Get),
        Op::Delete { key } => (key, Call::Delete),
        Op::Increment { key, by } => (key, Call::Increment(by)),
        Op::Cas {
            key,
            value,
            version: expected,
        } => (key, Call::CompareAndSet { value, expected }),
    };
    let outcome = match record.result {
        Some(OpResult::Unavailable(True)) => return Ok(None),
        None => OperationOutcome::Unknown,
        Some(OpResult::Written { version }) => OperationOutcome::Written(version),
        Some(OpResult::Value { value, version }) => OperationOutcome::Found(value, version),
        Some(OpResult::Absent(True)) => OperationOutcome::Absent,
        Some(OpResult::Number { value, version }) => OperationOutcome::Number(value, version),
        Some(OpResult::ConditionFailed { found }) => OperationOutcome::ConditionFailed(found),
        Some(OpResult::NotANumber(True)) => OperationOutcome::NotANumber,
        Some(OpResult::Stale { .. }) => return Err(NO_SUCH_RESULT.into()),
    };
    let fits = match (&call, &outcome) {
        (_, OperationOutcome::Unknown) => true,
        (Call::Put(_) | Call::Delete, outcome) => matches!(outcome, OperationOutcome::Written(_)),
        (Call::Get, outcome) => matches!(
            outcome,
            OperationOutcome::Found(..) | OperationOutcome::Absent
        ),
        (Call::Increment(_), outcome) => {
            matches!(
                outcome,
                OperationOutcome::Number(..) | OperationOutcome::NotANumber
            )
        }
        (Call::CompareAndSet { .. }, outcome) => {
            matches!(
                outcome,
                OperationOutcome::Written(_) | OperationOutcome::ConditionFailed(_)
            )
        }
    };
    if !fits {
        return Err(NO_SUCH_RESULT.into());
    }
    if outcome == OperationOutcome::Unknown {
        // A read without a result does not constrain the order.
        if call == Call::Get {
            return Ok(None);
        }
    } else if record.returned.is_none() {
        return Err(NO_RETURN.into());
    }
    Ok(Some(Operation {
        place,
        process: record.process,
        key,
        call,
        invoke: record.invoke,
        returned: record
            .returned
            .filter(|_| outcome != OperationOutcome::Unknown),
        outcome,
    }))
}

impl Operation {
    /// Whether the outcome is known.
    pub fn is_definite(&self) -> bool {
        self.outcome != OperationOutcome::Unknown
    }

    /// The version that the operation created, if recorded.
    pub fn made(&self) -> Option<u64> {
        match self.outcome {
            OperationOutcome::Written(version) | OperationOutcome::Number(_, version) => version,
            _ => None,
        }
    }

    /// The version that existed before the operation returned according to its result, if any.
    pub fn shows(&self) -> Option<u64> {
        match self.outcome {
            OperationOutcome::Found(_, version) => version,
            OperationOutcome::ConditionFailed(found) => found,
            _ => self.made(),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(value) => write!(f, "put {}", quoted(value)),
            Self::Get => f.write_str("get"),
            Self::Delete => f.write_str("delete"),
            Self::Increment(by) => write!(f, "increment by {by}"),
            Self::CompareAndSet {
                value,
                expected: None,
            } => write!(f, "put {} if absent", quoted(value)),
            Self::CompareAndSet {
                value,
                expected: Some(version),
            } => write!(f, "put {} if at version {version}", quoted(value)),
        }
    }
}

impl fmt::Display for OperationOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = |version: &Option<u64>| match version {
            Some(version) => format!(", version {version}"),
            None => String::new(),
        };
        match self {
            Self::Unknown => f.write_str("outcome unknown"),
            Self::Written(made) => write!(f, "done{}", version(made)),
            Self::Found(value, at) => write!(f, "found {}{}", quoted(value), version(at)),
            Self::Absent => f.write_str("found nothing"),
            Self::Number(number, made) => write!(f, "left {number}{}", version(made)),
            Self::ConditionFailed(None) => f.write_str("condition failed: absent"),
            Self::ConditionFailed(Some(found)) => write!(f, "condition failed: version {found}"),
            Self::NotANumber => f.write_str("refused: not a number"),
        }
    }
}

/// A value for display: quoted, and at most one line long.
pub(super) fn quoted(value: &str) -> String {
    const LONGEST: usize = 40;
    if value.chars().count() <= LONGEST {
        return format!("{value:?}");
    }
    let start: String = value.chars().take(LONGEST).collect();
    format!("{start:?}... ({} bytes)", value.len())
}
