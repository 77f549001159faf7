//! The replicated state machine: an ordered key-value map with client sessions (thesis §6.3).
//!
//! Every server applies the same committed entries in the same order, so everything here is
//! decided by the log alone: versions are log indexes, sessions are named by the index of the
//! entry that opened them, and a session is evicted because of what the log holds, never because
//! of a clock.
//!
//! Exactly-once: a command carries (session, sequence). The answer to each sequence is remembered
//! until the client says that it has it (`acknowledged`: all sequences below are settled). A
//! command seen before is answered from memory; one below `acknowledged` is refused; either way
//! it is not applied again (`sessions`).
//!
//! The state has a quota, far below what a snapshot can carry. A write that would make it larger than
//! that is refused, so that deletes are always possible and a follower can always be caught up.
//!
//! A copy of a store costs nothing, and what is changed after it costs little: a snapshot is such a
//! copy, and is still being written while entries are applied (`pairs`).

mod integer;
mod limits;
mod pairs;
mod sessions;
mod value;

use crate::{LogIndex, Payload, SessionId, config::Config};
use alloc::{sync::Arc, vec::Vec};
use core::ops::Bound;
use pairs::{Pairs, Place};
use serde::{Deserialize, Serialize};
use sessions::Sessions;

pub use integer::parse_integer;
pub use limits::{LimitError, MAX_KEY_BYTES, MAX_VALUE_BYTES, check_key, check_value_length};
pub use sessions::{MAX_EVICTED, MAX_RETAINED_ANSWERS, MAX_SESSIONS, REFUSALS_PER_WINDOW};
pub use value::Value;

/// A key: 1 to [`MAX_KEY_BYTES`] bytes of any values.
pub type Key = Vec<u8>;

/// What a log entry asks of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Command {
    /// Opens a session. The proposing leader writes down its settings, so that every replica decides
    /// alike whether another session makes room.
    OpenSession {
        /// The most sessions the store keeps.
        capacity: u32,
        /// For how many applied entries after its last use a session is in use, and stays.
        window: u64,
    },
    /// One operation of a session. Log, disk and messages share it: the bytes of a value are copied
    /// for none of them.
    Write(Arc<Write>),
    /// Closes a session whose client needs it no more.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// Asks whether a session is still open, and marks it as used.
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
    /// The session that asks.
    pub session: SessionId,
    /// The place of this operation among those of the session, from 1.
    pub sequence: u64,
    /// The session needs no answer to any sequence below this one.
    pub acknowledged: u64,
    /// What to do.
    pub operation: Operation,
    /// How many bytes the state may have ([`Store::state_bytes`]). The proposing leader writes it
    /// down, so that every replica decides alike.
    pub quota: u64,
}

/// What a write does to one key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Sets the key, if the condition holds.
    Put {
        /// The key.
        #[serde(with = "serde_bytes")]
        key: Key,
        /// Its new value.
        value: Value,
        /// When to do it.
        condition: Condition,
    },
    /// Removes the key, if the condition holds.
    Delete {
        /// The key.
        #[serde(with = "serde_bytes")]
        key: Key,
        /// When to do it.
        condition: Condition,
    },
    /// Adds to the decimal number the key holds; an absent key counts as 0.
    Increment {
        /// The key.
        #[serde(with = "serde_bytes")]
        key: Key,
        /// What to add.
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

/// When a put or a delete takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// Always.
    Always,
    /// If the key is absent.
    Absent,
    /// If the key is present.
    Present,
    /// If the key is present and was last written by the entry at this index.
    Version(LogIndex),
}

/// A question about the store that changes nothing and never enters the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Query {
    /// One key.
    Get {
        /// The key.
        #[serde(with = "serde_bytes")]
        key: Key,
    },
    /// A page of the keys with a prefix, in order.
    Scan {
        /// What the keys start with.
        #[serde(with = "serde_bytes")]
        prefix: Key,
        /// Only keys after this one.
        after: Option<Key>,
        /// How many at most.
        limit: u32,
        /// How many bytes at most, keys and values with [`PAIR_BYTES`] for each; no more than
        /// [`MAX_SCAN_BYTES`], whatever this says. The first pair is found however large it is, so
        /// that every page gets further.
        bytes: u32,
    },
}

/// The most bytes of keys and values that one page has, but for its first pair: what anyone asks,
/// an answer stays small enough to be sent.
pub const MAX_SCAN_BYTES: u32 = 1 << 20;
/// The largest quota of the state: a snapshot of so much, with all sessions, is far below the 1 GiB that
/// can be sent to a follower.
pub const MAX_STATE_QUOTA: u64 = 768 << 20;
/// The most bytes of an encoded state: pairs within the quota, all sessions, and what was applied. What
/// a pair counts beside its key and its value is more than its lengths and its version take.
pub const MAX_ENCODED_STATE: u64 = MAX_STATE_QUOTA + sessions::MAX_ENCODED_BYTES + 1024;
/// What a pair counts beside its key and its value, in a page and in the state.
pub const PAIR_BYTES: usize = 32;

/// A value and the entry that last wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Versioned {
    /// The value.
    pub value: Value,
    /// The index of the log entry that wrote it.
    pub version: LogIndex,
}

/// What the store answers to an applied entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// A no-op entry.
    Nothing,
    /// The session is open.
    SessionOpened(SessionId),
    /// The write took effect, making this version.
    Written {
        /// The index of the entry that wrote.
        version: LogIndex,
    },
    /// The increment took effect.
    Number {
        /// What the key holds now.
        value: i64,
        /// The index of the entry that wrote.
        version: LogIndex,
    },
    /// The condition did not hold; nothing changed.
    ConditionFailed {
        /// The version the key had, `None` if absent.
        found: Option<LogIndex>,
    },
    /// The key holds no decimal integer ([`parse_integer`]); nothing changed.
    NotANumber,
    /// The session is not open (never opened, closed, or evicted), and an earlier copy of the write may
    /// have been applied; nothing changed.
    SessionExpired,
    /// The session had already acknowledged this sequence; nothing changed now, and the earlier
    /// answer is forgotten.
    AlreadyAcknowledged,
    /// The session was evicted before any copy of this write was applied. None ever is, so the client
    /// may repeat the write in another session.
    NotApplied,
    /// No session was opened: as many as may be are open, and all of them are in use.
    SessionsInUse,
    /// The session is closed.
    SessionClosed,
    /// The session is open, and counts as used now.
    SessionRenewed,
    /// The session retains [`MAX_RETAINED_ANSWERS`] answers that its client did not acknowledge;
    /// nothing changed. Another copy of this write may be applied once the client acknowledged some.
    TooManyUnacknowledged,
    /// The write would make the state larger than its quota; nothing changed. Writes that make it
    /// smaller are not refused.
    QuotaExceeded,
    /// The sum would exceed 64 bits; nothing changed.
    Overflow,
}

/// What the store answers to a query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Found {
    /// The key's value, `None` if absent.
    Value(Option<Versioned>),
    /// The keys that matched, in order.
    Pairs(Page),
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Page {
    /// The keys and what they hold, in order.
    pub pairs: Vec<(Key, Versioned)>,
    /// Whether the page ended before the keys did. The next page is the one after the last of
    /// these keys.
    pub more: bool,
}

/// The state machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Store {
    contents: Arc<Contents>,
    last_applied: LogIndex,
}

/// What copies of a store share until one of them changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Contents {
    pairs: Pairs,
    sessions: Sessions,
}

impl Store {
    /// The index of the last applied entry.
    pub fn last_applied(&self) -> LogIndex {
        self.last_applied
    }

    /// All pairs, in key order.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &Versioned)> {
        self.contents.pairs.iter()
    }

    /// How many sessions are open.
    pub fn session_count(&self) -> usize {
        self.contents.sessions.len()
    }

    /// How many bytes of keys and values the state has, with [`PAIR_BYTES`] for each pair.
    pub fn state_bytes(&self) -> u64 {
        self.contents.pairs.bytes()
    }

    /// The same pairs without the sessions, for a bug.
    pub(crate) fn without_sessions(&self) -> Self {
        let mut bare = self.clone();
        Arc::make_mut(&mut bare.contents).sessions.clear();
        bare
    }

    /// As far applied and empty, for a bug.
    #[cfg(feature = "mutants")]
    pub(crate) fn emptied(&self) -> Self {
        Self {
            contents: Arc::default(),
            last_applied: self.last_applied,
        }
    }

    /// Applies the next entry.
    pub fn apply(&mut self, payload: &Payload, config: &Config) -> Answer {
        let index = self.last_applied.next();
        self.last_applied = index;
        match payload {
            Payload::Noop => Answer::Nothing,
            Payload::Command(command) => match command {
                Command::OpenSession { capacity, window } => {
                    self.sessions().open(index, *capacity, *window, config)
                }
                Command::Write(write) => self.apply_write(index, write, config),
                Command::CloseSession { session } => self.sessions().close(*session, config),
                Command::RenewSession { session } => self.sessions().renew(index, *session),
            },
        }
    }

    /// Answers a query from what is applied so far.
    pub fn query(&self, query: &Query) -> Found {
        match query {
            Query::Get { key } => Found::Value(self.contents.pairs.get(key).cloned()),
            Query::Scan {
                prefix,
                after,
                limit,
                bytes,
            } => {
                // The larger of the two lower bounds: the prefix itself, or just past `after`.
                let start = match after {
                    Some(after) if after >= prefix => Bound::Excluded(after),
                    _ => Bound::Included(prefix),
                };
                let matching = self
                    .contents
                    .pairs
                    .from(start)
                    .take_while(|(key, _)| key.starts_with(prefix));
                Found::Pairs(page(matching, *limit as usize, *bytes))
            }
        }
    }

    fn apply_write(&mut self, index: LogIndex, write: &Write, config: &Config) -> Answer {
        let Contents { pairs, sessions } = Arc::make_mut(&mut self.contents);
        sessions.write(index, write, config, || {
            operate(pairs, index, &write.operation, write.quota)
        })
    }

    fn sessions(&mut self) -> &mut Sessions {
        &mut Arc::make_mut(&mut self.contents).sessions
    }
}

/// As many of these pairs as a page may have.
fn page<'a>(
    matching: impl Iterator<Item = (&'a [u8], &'a Versioned)>,
    limit: usize,
    bytes: u32,
) -> Page {
    let bytes = bytes.min(MAX_SCAN_BYTES) as usize;
    let (mut page, mut taken) = (Page::default(), 0);
    for (key, found) in matching {
        taken += key.len() + found.value.len() + PAIR_BYTES;
        if page.pairs.len() >= limit || (taken > bytes && !page.pairs.is_empty()) {
            page.more = true;
            break;
        }
        page.pairs.push((key.to_vec(), found.clone()));
    }
    page
}

fn operate(pairs: &mut Pairs, index: LogIndex, operation: &Operation, quota: u64) -> Answer {
    let version = index;
    match operation {
        Operation::Put {
            key,
            value,
            condition,
        } => {
            let place = pairs.find(key);
            if let Err(found) = check(pairs.at(place), *condition) {
                return Answer::ConditionFailed { found };
            }
            if exceeds(pairs, place, key, value, quota) {
                return Answer::QuotaExceeded;
            }
            let value = value.clone();
            pairs.insert(place, key, Versioned { value, version });
            Answer::Written { version }
        }
        Operation::Delete { key, condition } => {
            let place = pairs.find(key);
            if let Err(found) = check(pairs.at(place), *condition) {
                return Answer::ConditionFailed { found };
            }
            pairs.remove(place);
            Answer::Written { version }
        }
        Operation::Increment { key, by } => {
            let place = pairs.find(key);
            let held = match pairs.at(place) {
                None => Some(0),
                Some(held) => parse_integer(&held.value),
            };
            let Some(held) = held else {
                return Answer::NotANumber;
            };
            let Some(sum) = held.checked_add(*by) else {
                return Answer::Overflow;
            };
            let value = Value::from(alloc::format!("{sum}"));
            if exceeds(pairs, place, key, &value, quota) {
                return Answer::QuotaExceeded;
            }
            pairs.insert(place, key, Versioned { value, version });
            Answer::Number {
                value: sum,
                version,
            }
        }
    }
}

/// Whether a pair with this value would make the state grow beyond the quota.
fn exceeds(pairs: &Pairs, place: Place, key: &[u8], value: &Value, quota: u64) -> bool {
    let after = pair_bytes(key.len(), value.len());
    let before = pairs
        .at(place)
        .map_or(0, |held| pair_bytes(key.len(), held.value.len()));
    after > before && (pairs.bytes() - before).saturating_add(after) > quota
}

/// What a pair counts in the state.
fn pair_bytes(key: usize, value: usize) -> u64 {
    (key + value + PAIR_BYTES) as u64
}

fn check(held: Option<&Versioned>, condition: Condition) -> Result<(), Option<LogIndex>> {
    let found = held.map(|held| held.version);
    let holds = match condition {
        Condition::Always => true,
        Condition::Absent => found.is_none(),
        Condition::Present => found.is_some(),
        Condition::Version(version) => found == Some(version),
    };
    if holds { Ok(()) } else { Err(found) }
}
