//! The size limits of keys and values, which every client protocol shares.
//!
//! The limits are constants of the format: servers, proxies and clients with the same
//! [`crate::wire::VERSION`] apply the same limits. All servers therefore refuse a request that
//! exceeds them, and no copy of it is ever applied. A change of a limit requires a new version.

use super::{Operation, Query};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The maximum length of a key in bytes. The shortest key has one byte.
pub const MAX_KEY_BYTES: usize = 1024;
/// The maximum length of a value in bytes.
pub const MAX_VALUE_BYTES: usize = 256 * 1024;

/// A key or a value exceeds a limit. Nothing changed, and no copy of the request ever takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LimitError {
    /// The key is empty.
    EmptyKey,
    /// The key exceeds [`MAX_KEY_BYTES`].
    KeyTooLarge {
        /// The length of the key in bytes.
        length: u64,
    },
    /// The value exceeds [`MAX_VALUE_BYTES`].
    ValueTooLarge {
        /// The length of the value in bytes.
        length: u64,
    },
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyKey => write!(f, "the key is empty: give at least one byte"),
            Self::KeyTooLarge { length } => write!(
                f,
                "the key is too large: it has {length} bytes, the limit is {MAX_KEY_BYTES}"
            ),
            Self::ValueTooLarge { length } => write!(
                f,
                "the value is too large: it has {length} bytes, the limit is {MAX_VALUE_BYTES}"
            ),
        }
    }
}

impl core::error::Error for LimitError {}

/// Checks a key.
///
/// # Errors
/// If it is empty or longer than [`MAX_KEY_BYTES`].
pub fn check_key(key: &[u8]) -> Result<(), LimitError> {
    // Executed by the test
    // `lib::store::limits::tests::limits_include_their_bounds_and_nothing_beyond`.
    if key.is_empty() {
        return Err(LimitError::EmptyKey);
    }
    check_key_length(key)
}

/// Checks the length of a value.
///
/// # Errors
/// If it exceeds [`MAX_VALUE_BYTES`].
pub fn check_value_length(length: usize) -> Result<(), LimitError> {
    // Executed by the test
    // `lib::store::limits::tests::limits_include_their_bounds_and_nothing_beyond`.
    if length > MAX_VALUE_BYTES {
        let length = length as u64;
        return Err(LimitError::ValueTooLarge { length });
    }
    Ok(())
}

fn check_key_length(key: &[u8]) -> Result<(), LimitError> {
    // Executed by the test
    // `lib::store::limits::tests::limits_include_their_bounds_and_nothing_beyond`.
    if key.len() > MAX_KEY_BYTES {
        let length = key.len() as u64;
        return Err(LimitError::KeyTooLarge { length });
    }
    Ok(())
}

impl Operation {
    /// Checks the sizes of the key and the value.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub fn check_limits(&self) -> Result<(), LimitError> {
        // Executed by the test
        // `lib::store::limits::tests::limits_include_their_bounds_and_nothing_beyond`.
        check_key(self.key())?;
        match self {
            Self::Put { value, .. } => check_value_length(value.len()),
            Self::Delete { .. } | Self::Increment { .. } => Ok(()),
        }
    }
}

impl Query {
    /// Checks the sizes of the keys. The prefix of a scan may be empty.
    ///
    /// # Errors
    /// The first limit that is exceeded.
    pub fn check_limits(&self) -> Result<(), LimitError> {
        match self {
            Self::Get { key } => check_key(key),
            // Executed by the test
            // `lib::store::limits::tests::limits_include_their_bounds_and_nothing_beyond`.
            Self::Scan { prefix, after, .. } => {
                check_key_length(prefix)?;
                after.as_deref().map_or(Ok(()), check_key_length)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Condition, Key};
    use alloc::vec;

    fn put(key: Key, length: usize) -> Operation {
        Operation::Put {
            key,
            value: vec![0; length].into(),
            condition: Condition::Always,
        }
    }

    #[test]
    fn limits_include_their_bounds_and_nothing_beyond() {
        let (shortest, longest) = (vec![0], vec![0; MAX_KEY_BYTES]);
        for key in [shortest.clone(), longest.clone()] {
            assert_eq!(put(key.clone(), 0).check_limits(), Ok(()));
            assert_eq!(put(key, MAX_VALUE_BYTES).check_limits(), Ok(()));
        }
        let length = MAX_VALUE_BYTES as u64 + 1;
        assert_eq!(
            put(shortest, MAX_VALUE_BYTES + 1).check_limits(),
            Err(LimitError::ValueTooLarge { length })
        );
        let length = MAX_KEY_BYTES as u64 + 1;
        for (key, error) in [
            (vec![], LimitError::EmptyKey),
            (
                vec![0; MAX_KEY_BYTES + 1],
                LimitError::KeyTooLarge { length },
            ),
        ] {
            let condition = Condition::Always;
            let delete = Operation::Delete {
                key: key.clone(),
                condition,
            };
            let increment = Operation::Increment {
                key: key.clone(),
                by: 1,
            };
            for operation in [put(key.clone(), 1), delete, increment] {
                assert_eq!(operation.check_limits(), Err(error));
            }
            assert_eq!(Query::Get { key }.check_limits(), Err(error));
        }
        let scan = |prefix: Key, after: Option<Key>| {
            let (limit, bytes) = (1, 1);
            let scan = Query::Scan {
                prefix,
                after,
                limit,
                bytes,
            };
            scan.check_limits()
        };
        assert_eq!(scan(vec![], Some(vec![])), Ok(()));
        assert_eq!(scan(longest.clone(), Some(longest.clone())), Ok(()));
        let longer = vec![0; MAX_KEY_BYTES + 1];
        assert!(scan(longer.clone(), None).is_err());
        assert!(scan(longest, Some(longer)).is_err());
    }
}
