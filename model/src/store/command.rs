//! The input of the store: the contents of log entries.

use super::{Key, Value};
use crate::{LogIndex, SessionId};
use alloc::sync::Arc;
use serde::{Deserialize, Serialize};

/// The content of an entry for the replicated store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Payload {
    /// The no-op that a leader appends first. Its commitment shows which earlier entries are
    /// committed (Raft §8).
    Noop,
    /// A command for the store.
    Command(Command),
}

impl Payload {
    /// The approximate encoded size in bytes, accurate enough to keep messages small.
    pub fn size(&self) -> usize {
        let Self::Command(Command::Write(write)) = self else {
            return 8;
        };
        24 + match &write.operation {
            Operation::Put { key, value, .. } => key.len() + value.len(),
            operation @ (Operation::Delete { .. } | Operation::Increment { .. }) => {
                operation.key().len()
            }
        }
    }
}

/// The command in a log entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Command {
    /// Opens a session. The proposing leader records its settings in the entry, so that every
    /// replica makes the same decision about an eviction.
    OpenSession {
        /// The maximum number of sessions in the store.
        capacity: u32,
        /// The number of applied entries after its last use during which a session is in use and
        /// stays.
        window: u64,
    },
    /// One operation of a session. Log, disk and messages share it, so the bytes of a value are
    /// never copied for them.
    Write(Arc<Write>),
    /// Closes a session that its client no longer needs.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// Checks that a session is still open, and marks it as used.
    RenewSession {
        /// The session.
        session: SessionId,
    },
}

impl From<Write> for Command {
    fn from(write: Write) -> Self {
        Self::Write(Arc::new(write))
    }
}

/// One operation of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Write {
    /// The session.
    pub session: SessionId,
    /// The sequence number of this operation within the session, from 1.
    pub sequence: u64,
    /// The client needs no answer to any sequence number below this one.
    pub acknowledged: u64,
    /// The operation.
    pub operation: Operation,
    /// The maximum size of the state in bytes ([`super::Store::state_bytes`]). The proposing leader
    /// records it in the entry, so that every replica makes the same decision.
    pub quota: u64,
}

/// The change that a write makes to one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Sets the key, if the condition holds.
    Put {
        /// The key.
        #[serde(with = "serde_bytes")]
        key: Key,
        /// The new value.
        value: Value,
        /// The condition.
        condition: Condition,
    },
    /// Removes the key, if the condition holds.
    Delete {
        /// The key.
        #[serde(with = "serde_bytes")]
        key: Key,
        /// The condition.
        condition: Condition,
    },
    /// Adds to the decimal integer in the key; an absent key counts as 0.
    Increment {
        /// The key.
        #[serde(with = "serde_bytes")]
        key: Key,
        /// The summand.
        by: i64,
    },
}

impl Operation {
    /// The key that is written.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } | Self::Increment { key, .. } => key,
        }
    }
}

/// The condition under which a put or a delete takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// Always.
    Always,
    /// If the key is absent.
    Absent,
    /// If the key is present.
    Present,
    /// If the key is present and was last written by the entry at this index (compare-and-set).
    Version(LogIndex),
}
