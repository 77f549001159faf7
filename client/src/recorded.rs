//! Operations of a history, executed on a [`KeyValue`] store, with their results in the format of the
//! history ([`history`]). Load generators use it.

use crate::{Error, KeyValue, Written};
use base64::{Engine, engine::general_purpose::STANDARD};
use history::{Op, OpResult, True};
use model::{
    LogIndex,
    store::{Condition, Versioned},
};

/// The prefix of encoded bytes that are not valid text.
const BASE64: &str = "base64:";

/// Executes an operation and returns its result.
///
/// # Errors
/// See [`Error`]; [`settle`] converts it to the format of a history.
pub async fn execute(kv: &impl KeyValue, op: &Op) -> Result<OpResult, Error> {
    Ok(match op {
        Op::Put { key, value } => {
            let put = kv.cas(key.as_str(), value.as_str(), Condition::Always);
            written(put.await?)
        }
        Op::Get { key } => match kv.get(key.as_str()).await? {
            None => OpResult::Absent(True),
            Some(found) => OpResult::Value {
                value: show(&found.value),
                version: Some(found.version.get()),
            },
        },
        Op::StaleGet { key } => {
            let stale = kv.get_stale(key.as_str()).await?;
            let found = |found: Versioned| history::Versioned {
                value: show(&found.value),
                version: found.version.get(),
            };
            OpResult::Stale {
                found: stale.found.map(found),
                applied_index: stale.applied_index.get(),
            }
        }
        Op::Delete { key } => written(kv.delete(key.as_str(), Condition::Always).await?),
        Op::Increment { key, by } => {
            let number = kv.increment(key.as_str(), *by).await?;
            OpResult::Number {
                value: number.value,
                version: Some(number.version.get()),
            }
        }
        Op::Cas {
            key,
            value,
            version,
        } => {
            let condition = version.map_or(Condition::Absent, |version| {
                Condition::Version(LogIndex::new(version))
            });
            written(kv.cas(key.as_str(), value.as_str(), condition).await?)
        }
    })
}

/// Converts the outcome of an operation to the format of a history: `None` if it is unknown.
///
/// # Errors
/// If the workload is wrong: the operation has a result that a history does not express, or exceeds a
/// limit.
pub fn settle(result: Result<OpResult, Error>) -> Result<Option<OpResult>, Error> {
    match result {
        Ok(result) => Ok(Some(result)),
        Err(Error::Unknown(_)) => Ok(None),
        Err(error) if error.is_unavailable() => Ok(Some(OpResult::Unavailable(True))),
        Err(error) => Err(error),
    }
}

fn written(written: Written) -> OpResult {
    match written {
        Written::Done { version } => OpResult::Written {
            version: Some(version.get()),
        },
        Written::ConditionFailed { found } => OpResult::ConditionFailed {
            found: found.map(LogIndex::get),
        },
    }
}

/// Formats bytes as text: valid UTF-8 stays as it is, other bytes become `base64:` and their encoding.
/// Text that begins with `base64:` is encoded too, so that the result is unambiguous.
pub fn show(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with(BASE64) => text.to_owned(),
        _ => format!("{BASE64}{}", STANDARD.encode(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_without_ambiguity() {
        assert_eq!(show("größer".as_bytes()), "größer");
        assert_eq!(show(&[0xff, 0]), "base64:/wA=");
        assert_eq!(show(b"base64:"), "base64:YmFzZTY0Og==");
    }
}
