//! The format of histories of client operations: one JSON object per line (`docs/histories.md`).
//!
//! ```text
//! {"process":3,"op":{"put":{"key":"k0","value":"3-17"}},"invoke":1200,"return":1900,
//!  "result":{"written":{"version":12}}}
//! ```
//!
//! The load generators write it, and `raft-checker linearize` reads it. The reader rejects unknown
//! fields: a guess about the meaning of a line could change a verdict. Keys and values are text; other
//! bytes are `base64:` and their encoding.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An operation and its result: a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The process that issued the operation. A process issues one operation at a time, and none after
    /// an operation with an unknown outcome: the client continues under a new process number.
    pub process: u64,
    /// The operation.
    pub op: Op,
    /// The time of the call, in nanoseconds of a clock that all processes share.
    pub invoke: u64,
    /// The time of the return by the same clock; null if the outcome is unknown.
    #[serde(rename = "return", deserialize_with = "present")]
    pub returned: Option<u64>,
    /// The result; null if the outcome is unknown.
    #[serde(deserialize_with = "present")]
    pub result: Option<OpResult>,
}

/// An operation on one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is named by the operation")]
pub enum Op {
    /// Sets the value.
    Put { key: String, value: String },
    /// Reads the value.
    Get { key: String },
    /// Reads the value in the local state of one server.
    StaleGet { key: String },
    /// Removes the key.
    Delete { key: String },
    /// Adds to the number in the key; an absent key counts as 0.
    Increment { key: String, by: i64 },
    /// Sets the value if the key has this version, or is absent if that is null.
    Cas {
        key: String,
        value: String,
        #[serde(deserialize_with = "present")]
        version: Option<u64>,
    },
}

/// The result of an operation. A version may be missing where it is optional and not found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is named by the result")]
pub enum OpResult {
    /// The operation took effect and created this version.
    Written {
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// The operation read this value.
    Value {
        value: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// The operation found no value.
    Absent(True),
    /// The operation left this number.
    Number {
        value: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
    },
    /// The condition did not hold: the key had this version, or was absent if that is null.
    ConditionFailed {
        #[serde(deserialize_with = "present")]
        found: Option<u64>,
    },
    /// The value was not a number, or the addition would overflow.
    NotANumber(True),
    /// The operation was certainly not executed.
    Unavailable(True),
    /// The result of a stale read; null if the server had no value.
    Stale {
        #[serde(deserialize_with = "present")]
        found: Option<Versioned>,
        applied_index: u64,
    },
}

/// A value and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versioned {
    /// The value.
    pub value: String,
    /// The log index of the write that created it.
    pub version: u64,
}

/// The constant `true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct True;

impl Serialize for True {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bool(true)
    }
}

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if bool::deserialize(from)? {
            Ok(Self)
        } else {
            Err(de::Error::custom("only true means anything here"))
        }
    }
}

/// Deserializes a field that may be null but not missing.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_written_and_read_in_one_form() {
        let (key, value, version) = ("k".to_owned(), "v".to_owned(), 7);
        for (op, result, expected) in [
            (
                Op::Put {
                    key: key.clone(),
                    value: value.clone(),
                },
                Some(OpResult::Written {
                    version: Some(version),
                }),
                r#"{"process":3,"op":{"put":{"key":"k","value":"v"}},"invoke":10,"return":20,"result":{"written":{"version":7}}}"#,
            ),
            (
                Op::Get { key: key.clone() },
                Some(OpResult::Value {
                    value: value.clone(),
                    version: Some(version),
                }),
                r#"{"process":3,"op":{"get":{"key":"k"}},"invoke":10,"return":20,"result":{"value":{"value":"v","version":7}}}"#,
            ),
            (
                Op::Get { key: key.clone() },
                Some(OpResult::Absent(True)),
                r#"{"process":3,"op":{"get":{"key":"k"}},"invoke":10,"return":20,"result":{"absent":true}}"#,
            ),
            (
                Op::StaleGet { key: key.clone() },
                Some(OpResult::Stale {
                    found: Some(Versioned {
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
                Some(OpResult::Number {
                    value: 5,
                    version: Some(version),
                }),
                r#"{"process":3,"op":{"increment":{"key":"k","by":1}},"invoke":10,"return":20,"result":{"number":{"value":5,"version":7}}}"#,
            ),
            (
                Op::Cas {
                    key: key.clone(),
                    value: value.clone(),
                    version: None,
                },
                Some(OpResult::ConditionFailed { found: Some(7) }),
                r#"{"process":3,"op":{"cas":{"key":"k","value":"v","version":null}},"invoke":10,"return":20,"result":{"condition_failed":{"found":7}}}"#,
            ),
            (
                Op::Cas {
                    key,
                    value,
                    version: Some(7),
                },
                Some(OpResult::Unavailable(True)),
                r#"{"process":3,"op":{"cas":{"key":"k","value":"v","version":7}},"invoke":10,"return":20,"result":{"unavailable":true}}"#,
            ),
        ] {
            let record = Record {
                process: 3,
                op,
                invoke: 10,
                returned: result.as_ref().map(|_| 20),
                result,
            };
            let line = serde_json::to_string(&record).expect("a line");
            assert_eq!(line, expected);
            let read: Record = serde_json::from_str(&line).expect("a record");
            assert_eq!(read, record);
        }
    }
}
