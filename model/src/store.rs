//! The replicated state machine: an ordered key-value map with client sessions (thesis §6.3).
//!
//! Every server applies the same committed entries in the same order, so the log alone determines
//! the state: versions are log indexes, a session id is the index of the entry that opened it, and
//! log entries evict sessions, never a clock.
//!
//! Exactly-once semantics: a command carries (session, sequence). The store retains the answer to
//! each sequence number until the client acknowledges it (`acknowledged`: all lower sequence
//! numbers are settled). A duplicate command receives the retained answer; a command below
//! `acknowledged` is refused. Neither is applied again (`sessions`).
//!
//! The state has a quota, far below the maximum size of a snapshot. A write that would exceed it is
//! refused, so deletes are always possible and a follower can always catch up.
//!
//! A copy of a store is cheap, and so are changes after it (copy-on-write): a snapshot is such a
//! copy, and it is written while the store applies further entries (`pairs`).

mod command;
mod integer;
mod limits;
mod pairs;
mod sessions;
mod value;

use crate::{LogIndex, SessionId, config::Config, mutant::planted};
use alloc::{sync::Arc, vec::Vec};
use core::ops::Bound;
use pairs::{Pairs, Position};
use serde::{Deserialize, Serialize};
use sessions::Sessions;

pub use command::{Command, Condition, Operation, Payload, Write};
pub use integer::parse_integer;
pub use limits::{LimitError, MAX_KEY_BYTES, MAX_VALUE_BYTES, check_key, check_value_length};
pub use sessions::{MAX_EVICTED, MAX_RETAINED_ANSWERS, MAX_SESSIONS, REFUSALS_PER_WINDOW};
pub use value::Value;

/// A key: 1 to [`MAX_KEY_BYTES`] arbitrary bytes.
pub type Key = Vec<u8>;

/// A read-only query of the store, which never enters the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Query {
    /// Reads one key.
    Get {
        /// The key.
        #[serde(with = "serde_bytes")]
        key: Key,
    },
    /// Reads a page of the keys with a prefix, in order.
    Scan {
        /// The prefix of the keys.
        #[serde(with = "serde_bytes")]
        prefix: Key,
        /// Only keys after this one.
        after: Option<Key>,
        /// The maximum number of pairs.
        limit: u32,
        /// The maximum number of bytes: keys and values, with [`PAIR_BYTES`] for each pair. Values
        /// above [`MAX_SCAN_BYTES`] are reduced to it. A page contains its first pair however large
        /// it is, so that every page makes progress.
        bytes: u32,
    },
}

/// The maximum size of the keys and values on one page in bytes, except for its first pair. It
/// keeps every response small enough to be sent, regardless of the request.
pub const MAX_SCAN_BYTES: u32 = 1 << 20;
/// The largest permitted quota of the state: a snapshot of that size, with all sessions, is far
/// below the 1 GiB that can be sent to a follower.
pub const MAX_STATE_QUOTA: u64 = 768 << 20;
/// The maximum size of an encoded state in bytes: pairs within the quota, all sessions, and the
/// applied index. The overhead that is counted per pair exceeds the encoded size of its lengths and
/// its version.
pub const MAX_ENCODED_STATE: u64 = MAX_STATE_QUOTA + sessions::MAX_ENCODED_BYTES + 1024;
/// The overhead counted for each pair, in a page and in the state, in bytes.
pub const PAIR_BYTES: usize = 32;

/// A value and the entry that last wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Versioned {
    /// The value.
    pub value: Value,
    /// The index of the log entry that wrote it.
    pub version: LogIndex,
}

/// The store's answer to an applied entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// The entry was a no-op.
    Nothing,
    /// The session is open.
    SessionOpened(SessionId),
    /// The write took effect and created this version.
    Written {
        /// The index of the entry that wrote.
        version: LogIndex,
    },
    /// The increment took effect.
    Number {
        /// The new value of the key.
        value: i64,
        /// The index of the entry that wrote.
        version: LogIndex,
    },
    /// The condition did not hold; nothing changed.
    ConditionFailed {
        /// The current version of the key; `None` if absent.
        found: Option<LogIndex>,
    },
    /// The value of the key is not a decimal integer ([`parse_integer`]); nothing changed.
    NotANumber,
    /// The session is not open (never opened, closed, or evicted), and an earlier copy of the write
    /// may have been applied; nothing changed.
    SessionExpired,
    /// The session had already acknowledged this sequence number; nothing changed now, and the
    /// earlier answer is discarded.
    AlreadyAcknowledged,
    /// The session was evicted before any copy of this write was applied. None ever is, so the
    /// client may repeat the write in another session.
    NotApplied,
    /// No session was opened: the maximum number is open, and all of them are in use.
    SessionsInUse,
    /// The session is closed.
    SessionClosed,
    /// The session is open and is now marked as used.
    SessionRenewed,
    /// The session retains [`MAX_RETAINED_ANSWERS`] unacknowledged answers; nothing changed.
    /// Another copy of this write may be applied once the client has acknowledged some.
    TooManyUnacknowledged,
    /// The write would make the state exceed its quota; nothing changed. Writes that shrink the
    /// state are never refused.
    QuotaExceeded,
    /// The sum would exceed 64 bits; nothing changed.
    Overflow,
}

/// The store's result of a query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Found {
    /// The key's value; `None` if absent.
    Value(Option<Versioned>),
    /// The matching pairs, in key order.
    Pairs(Page),
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Page {
    /// The keys with their values, in order.
    pub pairs: Vec<(Key, Versioned)>,
    /// Whether further keys follow. The next page starts after the last of these keys.
    pub more: bool,
}

/// The replicated state machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Store {
    contents: Arc<Contents>,
    last_applied: LogIndex,
}

/// The contents that copies of a store share until one of them changes (copy-on-write).
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

    /// The number of open sessions.
    pub fn session_count(&self) -> usize {
        self.contents.sessions.len()
    }

    /// The size of all keys and values in bytes, with [`PAIR_BYTES`] for each pair.
    // Executed by the test
    // `clients::writes::state_at_its_quota_refuses_growing_writes_and_nothing_else`.
    pub fn state_bytes(&self) -> u64 {
        self.contents.pairs.bytes()
    }

    /// The same pairs without the sessions, for a planted bug.
    #[cfg(feature = "mutants")]
    pub(crate) fn without_sessions(&self) -> Self {
        let mut bare = self.clone();
        Arc::make_mut(&mut bare.contents).sessions.clear();
        bare
    }

    /// An empty store with the same applied index, for a planted bug.
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
                // Executed by the test `clients::writes::session_is_renewed_by_the_leader`.
                Command::RenewSession { session } => self.sessions().renew(index, *session, config),
            },
        }
    }

    /// Answers a query from the applied state.
    pub fn query(&self, query: &Query, config: &Config) -> Found {
        match query {
            Query::Get { key } => Found::Value(self.contents.pairs.get(key).cloned()),
            // Executed by the test
            // `clients::scans::scan_pages_are_bounded_in_bytes_and_go_on_where_they_stopped`.
            Query::Scan {
                prefix,
                after,
                limit,
                bytes,
            } => {
                // The larger of the two lower bounds: the prefix itself, or the position after
                // `after`.
                let start = match after {
                    Some(after) if after >= prefix => Bound::Excluded(after),
                    _ => Bound::Included(prefix),
                };
                let matching = self
                    .contents
                    .pairs
                    .from(start)
                    .take_while(|(key, _)| key.starts_with(prefix));
                let page = page(matching, *limit as usize, *bytes, config);
                Found::Pairs(page)
            }
        }
    }

    fn apply_write(&mut self, index: LogIndex, write: &Write, config: &Config) -> Answer {
        let Contents { pairs, sessions } = Arc::make_mut(&mut self.contents);
        sessions.write(index, write, config, || {
            operate(pairs, index, write, config)
        })
    }

    fn sessions(&mut self) -> &mut Sessions {
        &mut Arc::make_mut(&mut self.contents).sessions
    }
}

/// The first of these pairs, up to the limits of a page.
// Executed by the test
// `clients::scans::scan_pages_are_bounded_in_bytes_and_go_on_where_they_stopped`.
fn page<'a>(
    matching: impl Iterator<Item = (&'a [u8], &'a Versioned)>,
    limit: usize,
    bytes: u32,
    config: &Config,
) -> Page {
    let bytes = bytes.min(MAX_SCAN_BYTES) as usize;
    let limit = limit + usize::from(planted!(config, ScanExceedsLimit));
    let (mut page, mut taken) = (Page::default(), 0);
    for (key, found) in matching {
        taken += key.len() + found.value.len() + PAIR_BYTES;
        if page.pairs.len() >= limit || (taken > bytes && !page.pairs.is_empty()) {
            page.more = !planted!(config, ScanHidesRest);
            break;
        }
        page.pairs.push((key.to_vec(), found.clone()));
    }
    if planted!(config, ScanOmitsLastKey) && !page.more {
        page.pairs.pop();
    }
    page
}

fn operate(pairs: &mut Pairs, index: LogIndex, write: &Write, config: &Config) -> Answer {
    // The leader's quota is part of the entry: all servers must answer alike.
    let quota = if planted!(config, QuotaOfOwnServer) {
        config.state_quota
    } else {
        write.quota
    };
    let quota = if planted!(config, QuotaNotEnforced) {
        u64::MAX
    } else {
        quota
    };
    let version = if planted!(config, VersionsCountPerKey) {
        let held = pairs.get(write.operation.key());
        held.map_or(LogIndex::new(1), |held| held.version.next())
    } else {
        index
    };
    match &write.operation {
        Operation::Put {
            key,
            value,
            condition,
        } => {
            let position = pairs.find(key);
            if let Err(found) = check(pairs.at(position), *condition, config) {
                return Answer::ConditionFailed { found };
            }
            if exceeds(pairs, position, key, value, quota) {
                return Answer::QuotaExceeded;
            }
            let value = value.clone();
            pairs.insert(position, key, Versioned { value, version });
            Answer::Written { version }
        }
        Operation::Delete { key, condition } => {
            let position = pairs.find(key);
            if let Err(found) = check(pairs.at(position), *condition, config)
                && !planted!(config, DeleteIgnoresCondition)
            {
                return Answer::ConditionFailed { found };
            }
            if !planted!(config, DeleteKeepsKey) {
                pairs.remove(position);
            }
            Answer::Written { version }
        }
        Operation::Increment { key, by } => {
            let position = pairs.find(key);
            let held = match pairs.at(position) {
                None => Some(0),
                Some(held) if planted!(config, TextCountsAsZero) => {
                    parse_integer(&held.value).or(Some(0))
                }
                Some(held) => parse_integer(&held.value),
            };
            // Executed by the test `clients::writes::condition_or_sum_that_fails_changes_nothing`.
            let Some(held) = held else {
                return Answer::NotANumber;
            };
            let sum = match held.checked_add(*by) {
                Some(sum) => sum,
                None if planted!(config, IncrementWraps) => held.wrapping_add(*by),
                // Executed by the test
                // `clients::writes::condition_or_sum_that_fails_changes_nothing`.
                None => return Answer::Overflow,
            };
            let value = Value::from(alloc::format!("{sum}"));
            // Executed by the test
            // `clients::writes::state_at_its_quota_refuses_growing_writes_and_nothing_else`.
            if exceeds(pairs, position, key, &value, quota) {
                return Answer::QuotaExceeded;
            }
            pairs.insert(position, key, Versioned { value, version });
            Answer::Number {
                value: sum,
                version,
            }
        }
    }
}

/// Whether a pair with this value would make the state grow beyond the quota.
fn exceeds(pairs: &Pairs, position: Position, key: &[u8], value: &Value, quota: u64) -> bool {
    let after = pair_bytes(key.len(), value.len());
    let before = pairs
        .at(position)
        .map_or(0, |held| pair_bytes(key.len(), held.value.len()));
    after > before && (pairs.bytes() - before).saturating_add(after) > quota
}

/// The size of a pair as counted in the state, in bytes.
fn pair_bytes(key: usize, value: usize) -> u64 {
    (key + value + PAIR_BYTES) as u64
}

fn check(
    held: Option<&Versioned>,
    condition: Condition,
    config: &Config,
) -> Result<(), Option<LogIndex>> {
    let found = held.map(|held| held.version);
    let holds = match condition {
        Condition::Always => true,
        Condition::Absent => found.is_none(),
        // Executed by the test
        // `clients::writes::state_at_its_quota_refuses_growing_writes_and_nothing_else`.
        Condition::Present => found.is_some(),
        Condition::Version(version) if planted!(config, LaterVersionAccepted) => {
            found >= Some(version)
        }
        Condition::Version(version) => found == Some(version),
    };
    if holds { Ok(()) } else { Err(found) }
}
