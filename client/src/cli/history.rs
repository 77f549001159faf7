//! The history of operations for `raft-checker linearize`, as one JSON object per line.
//!
//! ```text
//! {"process":3,"op":{"put":{"key":"k0","value":"3-17"}},"invoke":1200,"return":1900,
//!  "result":{"written":{"version":12}}}
//! ```
//!
//! * `process` issues one operation at a time. After an operation with an unknown outcome, a process
//!   issues nothing else: the client continues under a new process number.
//! * `op` is `put` (key, value), `get` (key), `stale_get` (key), `delete` (key), `increment` (key, by)
//!   or `cas` (key, value, and the expected version of the key; null if the key must be absent).
//! * `invoke` and `return` are nanoseconds of one monotonic clock, counted from 1970; `return` and
//!   `result` are null if the outcome is unknown.
//! * `result` is `written` (version), `value` (value, version), `absent` (true), `number` (value,
//!   version), `condition_failed` (found: a version, or null if absent), or `unavailable` (true) for
//!   an operation that was certainly not executed. For a stale get it is `stale` (found: value and
//!   version, or null if absent; and applied_index).
//! * Keys and values are text; other bytes are `base64:` and their encoding.

use serde::Serialize;
use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// An operation.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Op {
    Put {
        key: String,
        value: String,
    },
    Get {
        key: String,
    },
    StaleGet {
        key: String,
    },
    Delete {
        key: String,
    },
    Increment {
        key: String,
        by: i64,
    },
    Cas {
        key: String,
        value: String,
        version: Option<u64>,
    },
}

/// The result of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Written {
        version: u64,
    },
    Value {
        value: String,
        version: u64,
    },
    Absent(bool),
    Number {
        value: i64,
        version: u64,
    },
    ConditionFailed {
        found: Option<u64>,
    },
    Unavailable(bool),
    Stale {
        found: Option<Held>,
        applied_index: u64,
    },
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Held {
    pub(crate) value: String,
    pub(crate) version: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    process: u64,
    op: &'a Op,
    invoke: u64,
    r#return: Option<u64>,
    result: Option<&'a Answer>,
}

/// A file to which completed operations are appended.
pub(crate) struct History {
    file: Mutex<BufWriter<File>>,
    processes: AtomicU64,
    started: Instant,
    started_ns: u64,
}

impl History {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = since.map_or(0, |since| since.as_nanos());
        Ok(Self {
            file: Mutex::new(BufWriter::new(File::create(path)?)),
            processes: AtomicU64::new(0),
            started: Instant::now(),
            started_ns: u64::try_from(nanos).unwrap_or(0),
        })
    }

    /// Returns a new process number.
    pub(crate) fn new_process(&self) -> u64 {
        self.processes.fetch_add(1, Relaxed)
    }

    /// Records an operation that has just ended; without a result its outcome is unknown. Returns the
    /// process number for the next operation.
    pub(crate) fn record(
        &self,
        process: u64,
        op: &Op,
        invoke: Instant,
        answer: Option<&Answer>,
    ) -> io::Result<u64> {
        let line = Line {
            process,
            op,
            invoke: self.nanos(invoke),
            r#return: answer.map(|_| self.nanos(Instant::now())),
            result: answer,
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_writer(&mut *file, &line)?;
        file.write_all(b"\n")?;
        Ok(match answer {
            Some(_) => process,
            None => self.new_process(),
        })
    }

    pub(crate) fn flush(&self) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush()
    }

    fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.started).as_nanos();
        self.started_ns
            .saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(op: &Op, result: Option<&Answer>) -> String {
        let line = Line {
            process: 3,
            op,
            invoke: 10,
            r#return: result.map(|_| 20),
            result,
        };
        serde_json::to_string(&line).unwrap()
    }

    #[test]
    fn process_ends_with_an_operation_whose_outcome_is_unknown() {
        let name = format!("raft-client-processes-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let history = History::create(&path).unwrap();
        let (first, other) = (history.new_process(), history.new_process());
        let op = Op::Get {
            key: "k".to_owned(),
        };
        let now = Instant::now();
        let answer = Answer::Absent(true);
        let same = history.record(first, &op, now, Some(&answer)).unwrap();
        let next = history.record(first, &op, now, None).unwrap();
        history.flush().unwrap();
        let lines = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(same, first);
        assert!(next != first && next != other);
        assert_eq!(lines.lines().count(), 2);
    }

    #[test]
    fn lines_have_the_form_that_the_checker_reads() {
        let (key, value) = ("k".to_owned(), "v".to_owned());
        let version = 7;
        for (op, result, expected) in [
            (
                Op::Put {
                    key: key.clone(),
                    value: value.clone(),
                },
                Some(Answer::Written { version }),
                r#"{"process":3,"op":{"put":{"key":"k","value":"v"}},"invoke":10,"return":20,"result":{"written":{"version":7}}}"#,
            ),
            (
                Op::Get { key: key.clone() },
                Some(Answer::Value {
                    value: value.clone(),
                    version,
                }),
                r#"{"process":3,"op":{"get":{"key":"k"}},"invoke":10,"return":20,"result":{"value":{"value":"v","version":7}}}"#,
            ),
            (
                Op::Get { key: key.clone() },
                Some(Answer::Absent(true)),
                r#"{"process":3,"op":{"get":{"key":"k"}},"invoke":10,"return":20,"result":{"absent":true}}"#,
            ),
            (
                Op::StaleGet { key: key.clone() },
                Some(Answer::Stale {
                    found: Some(Held {
                        value: value.clone(),
                        version,
                    }),
                    applied_index: 9,
                }),
                r#"{"process":3,"op":{"stale_get":{"key":"k"}},"invoke":10,"return":20,"result":{"stale":{"found":{"value":"v","version":7},"applied_index":9}}}"#,
            ),
            (
                Op::Delete { key: key.clone() },
                None,
                r#"{"process":3,"op":{"delete":{"key":"k"}},"invoke":10,"return":null,"result":null}"#,
            ),
            (
                Op::Increment {
                    key: key.clone(),
                    by: 1,
                },
                Some(Answer::Number { value: 5, version }),
                r#"{"process":3,"op":{"increment":{"key":"k","by":1}},"invoke":10,"return":20,"result":{"number":{"value":5,"version":7}}}"#,
            ),
            (
                Op::Cas {
                    key: key.clone(),
                    value: value.clone(),
                    version: None,
                },
                Some(Answer::ConditionFailed { found: Some(7) }),
                r#"{"process":3,"op":{"cas":{"key":"k","value":"v","version":null}},"invoke":10,"return":20,"result":{"condition_failed":{"found":7}}}"#,
            ),
            (
                Op::Cas {
                    key,
                    value,
                    version: Some(7),
                },
                Some(Answer::Unavailable(true)),
                r#"{"process":3,"op":{"cas":{"key":"k","value":"v","version":7}},"invoke":10,"return":20,"result":{"unavailable":true}}"#,
            ),
        ] {
            assert_eq!(line(&op, result.as_ref()), expected);
        }
    }
}
