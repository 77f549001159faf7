//! Keys: generation, storage in a file, and protection from being printed.

use crate::secret_file::read_text;
use std::{fmt, io, path::Path, path::PathBuf, str::FromStr};

const PREFIX: &str = "stateraft-key-1:";
const LENGTH: usize = 32;

/// A secret that seals datagrams: 32 random bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; LENGTH]);

/// The keys of an endpoint. Without keys, datagrams are not sealed, and any sender that reaches the
/// socket can impersonate any process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The key that servers and proxies share. Its holder may send any message.
    pub cluster: Option<Key>,
    /// The key that clients hold too. On its own it only permits requests and their responses.
    pub client: Option<Key>,
}

impl Keys {
    /// No keys: datagrams are sent in the clear.
    pub const INSECURE: Self = Self {
        cluster: None,
        client: None,
    };

    /// Whether datagrams are sent in the clear.
    pub const fn are_insecure(&self) -> bool {
        self.cluster.is_none() && self.client.is_none()
    }

    /// Checks that clients do not hold the key of the servers.
    ///
    /// # Errors
    /// [`KeyPairError::SameKey`] if both keys are equal.
    pub fn check_distinct(&self) -> Result<(), KeyPairError> {
        if self.cluster.is_some() && self.cluster == self.client {
            return Err(KeyPairError::SameKey);
        }
        Ok(())
    }
}

/// The keys of a server or a proxy do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyPairError {
    /// The client key permits no messages between servers and proxies.
    #[error(
        "--client-key-file needs --key-file: servers and proxies need a key that clients do not \
         have. Generate one with `raft-node keygen`, and pass it to all servers and proxies with \
         --key-file"
    )]
    NoClusterKey,
    /// Clients would hold the key of the servers.
    #[error(
        "--key-file and --client-key-file name the same key, so every client could impersonate a \
         server: generate two keys with `raft-node keygen`, and give clients only the second one"
    )]
    SameKey,
}

/// Checks the key files of a server or a proxy, without reading them.
///
/// # Errors
/// If there is a client key without a cluster key, or both are in one file.
pub fn check_key_files(cluster: Option<&Path>, client: Option<&Path>) -> Result<(), KeyPairError> {
    let Some(client) = client else {
        return Ok(());
    };
    let cluster = cluster.ok_or(KeyPairError::NoClusterKey)?;
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real(cluster) == real(client) {
        return Err(KeyPairError::SameKey);
    }
    Ok(())
}

/// An error of reading or generating a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read.
    #[error("cannot read the key file {}; `raft-node keygen` generates a key", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error from the system.
        source: io::Error,
    },
    /// The file contains no valid key.
    #[error("{} does not contain a key", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error in its contents.
        source: KeyTextError,
    },
    /// The system provided no random bytes.
    #[error("the system provided no random bytes for a key")]
    Random(#[source] getrandom::Error),
}

/// An error in the text of a key. It reveals no part of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyTextError {
    /// The prefix is missing.
    #[error("a key is one line that begins with {PREFIX:?}")]
    Prefix,
    /// The text has more than one line.
    #[error("a key is a single line, and more lines follow it")]
    Lines,
    /// The key is too short or too long.
    #[error("a key has {} hexadecimal digits after {PREFIX:?}, this one has {found}", 2 * LENGTH)]
    Length {
        /// The number of characters after the prefix.
        found: usize,
    },
    /// A character that is not a hexadecimal digit.
    #[error("character {position} after {PREFIX:?} is not a hexadecimal digit")]
    Digit {
        /// The position of the character, from 1.
        position: usize,
    },
}

impl Key {
    /// Generates a key from the system's random number generator.
    ///
    /// # Errors
    /// If the system provides no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = [0; LENGTH];
        getrandom::fill(&mut bytes).map_err(KeyError::Random)?;
        Ok(Self(bytes))
    }

    /// Reads a key from a file or a pipe of one line, in the format of [`Self::to_text`]. If other users may
    /// read the file, it only logs a warning.
    ///
    /// # Errors
    /// If the file cannot be read, or does not contain a key.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let text = read_text(path).map_err(|source| KeyError::Read {
            path: path.to_owned(),
            source,
        })?;
        text.parse().map_err(|source| KeyError::File {
            path: path.to_owned(),
            source,
        })
    }

    /// The line that [`Self::read`] and [`str::parse`] accept. It contains the secret.
    pub fn to_text(&self) -> String {
        use fmt::Write;
        let mut text = String::from(PREFIX);
        for byte in self.0 {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    pub(crate) const fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl FromStr for Key {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        let digits = text
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(KeyTextError::Prefix)?;
        if digits.contains('\n') {
            return Err(KeyTextError::Lines);
        }
        if digits.len() != 2 * LENGTH {
            return Err(KeyTextError::Length {
                found: digits.chars().count(),
            });
        }
        let mut bytes = [0; LENGTH];
        for (index, digit) in digits.chars().enumerate() {
            let value = digit.to_digit(16).ok_or(KeyTextError::Digit {
                position: index + 1,
            })?;
            bytes[index / 2] = bytes[index / 2] << 4 | value as u8;
        }
        Ok(Self(bytes))
    }
}

/// Hides the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_file_give_the_same_key_back() {
        let key = Key::generate().unwrap();
        assert_eq!(key.to_text().parse(), Ok(key.clone()));
        assert_ne!(key, Key::generate().unwrap());

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, format!("{}\n", key.to_text())).unwrap();
        assert_eq!(Key::read(&path).unwrap(), key);
    }

    #[test]
    fn a_key_is_never_shown() {
        let key = Key::generate().unwrap();
        let secret = key.to_text();
        let keys = Keys {
            cluster: Some(key.clone()),
            client: None,
        };
        let shown = format!("{key:?} {keys:?}");
        assert!(!shown.contains(&secret[PREFIX.len()..]));
        assert_eq!(
            shown,
            "Key(secret) Keys { cluster: Some(Key(secret)), client: None }"
        );
    }

    #[test]
    fn each_fault_of_a_text_has_its_own_error() {
        let fault = |text: &str| text.parse::<Key>().unwrap_err();
        let digits = "0".repeat(64);
        assert_eq!(fault(""), KeyTextError::Prefix);
        assert_eq!(fault(&digits), KeyTextError::Prefix);
        assert_eq!(
            fault(&format!("{PREFIX}{}", &digits[1..])),
            KeyTextError::Length { found: 63 }
        );
        assert_eq!(
            fault(&format!("{PREFIX}{digits}\n{PREFIX}{digits}")),
            KeyTextError::Lines
        );
        assert_eq!(
            fault(&format!("{PREFIX}x{}", &digits[1..])),
            KeyTextError::Digit { position: 1 }
        );
        assert_eq!(
            fault(&format!("{PREFIX}é{}", &digits[2..])),
            KeyTextError::Digit { position: 1 }
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Key::read("/nowhere/key").unwrap_err();
        assert!(error.to_string().contains("/nowhere/key"), "{error}");
        assert!(matches!(error, KeyError::Read { .. }));
    }
}
