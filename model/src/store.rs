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
//! it is not applied again.
//!
//! A copy of a store costs nothing, and what is changed after it costs little: a snapshot is such a
//! copy, and is still being written while entries are applied (`pairs`).

mod limits;
mod pairs;
mod value;

use crate::{LogIndex, Payload, SessionId, config::Config, mutant::planted};
use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::ops::Bound;
use pairs::Pairs;
use serde::{Deserialize, Serialize};

pub use limits::{LimitError, MAX_KEY_BYTES, MAX_VALUE_BYTES, check_key, check_value_length};
pub use value::Value;

/// A key: 1 to [`MAX_KEY_BYTES`] bytes of any values.
pub type Key = Vec<u8>;

/// What a log entry asks of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Command {
    /// Opens a session. The proposing leader writes down how many sessions the store may hold, so
    /// that eviction is the same everywhere.
    OpenSession {
        /// The most sessions the store keeps; the least recently used one makes room.
        capacity: u32,
    },
    /// One operation of a session. Log, disk and messages share it: the bytes of a value are copied
    /// for none of them.
    Write(Arc<Write>),
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
/// What a pair of a page counts beside its key and its value.
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
    /// The key holds no decimal number, or adding would overflow; nothing changed.
    NotANumber,
    /// The session is not known (never opened, or evicted); nothing changed.
    SessionExpired,
    /// The session had already acknowledged this sequence; nothing changed now, and the earlier
    /// answer is forgotten.
    AlreadyAcknowledged,
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

/// What the store remembers of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Session {
    acknowledged: u64,
    answers: BTreeMap<u64, Answer>,
    last_used: LogIndex,
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
    sessions: BTreeMap<SessionId, Session>,
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
            Payload::Command(Command::OpenSession { capacity }) => {
                self.open_session(index, *capacity, config)
            }
            Payload::Command(Command::Write(write)) => self.apply_write(index, write, config),
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

    fn open_session(&mut self, index: LogIndex, capacity: u32, config: &Config) -> Answer {
        let sessions = &mut Arc::make_mut(&mut self.contents).sessions;
        let unbound = planted!(config, SessionsNeverEvicted);
        while sessions.len() >= capacity.max(1) as usize && !unbound {
            let Some(oldest) = sessions
                .iter()
                .min_by_key(|(id, session)| (session.last_used, **id))
                .map(|(id, _)| *id)
            else {
                break;
            };
            sessions.remove(&oldest);
        }
        let id = SessionId::new(index.get());
        sessions.insert(
            id,
            Session {
                acknowledged: 1,
                answers: BTreeMap::new(),
                last_used: index,
            },
        );
        Answer::SessionOpened(id)
    }

    fn apply_write(&mut self, index: LogIndex, write: &Write, config: &Config) -> Answer {
        let Contents { pairs, sessions } = Arc::make_mut(&mut self.contents);
        // What such a session had applied is forgotten with it, so nothing more may be.
        let Some(session) = sessions.get_mut(&write.session) else {
            if planted!(config, UnknownSessionApplied) {
                return operate(pairs, index, &write.operation);
            }
            return Answer::SessionExpired;
        };
        session.last_used = index;
        if planted!(config, CommandAppliedTwice) {
            return operate(pairs, index, &write.operation);
        }
        if let Some(answer) = session.answers.get(&write.sequence) {
            return answer.clone();
        }
        // Forgotten answers: the command may have been applied, and must not be again.
        if write.sequence < session.acknowledged
            && !planted!(config, AcknowledgedSequenceAppliedAgain)
        {
            return Answer::AlreadyAcknowledged;
        }
        let answer = operate(pairs, index, &write.operation);
        session.answers.insert(write.sequence, answer.clone());
        session.acknowledged = session.acknowledged.max(write.acknowledged);
        while let Some(first) = session.answers.first_entry()
            && *first.key() < session.acknowledged
        {
            first.remove();
        }
        answer
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

fn operate(pairs: &mut Pairs, index: LogIndex, operation: &Operation) -> Answer {
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
                Some(held) => core::str::from_utf8(&held.value)
                    .ok()
                    .and_then(|text| text.parse::<i64>().ok()),
            };
            let Some(sum) = held.and_then(|number| number.checked_add(*by)) else {
                return Answer::NotANumber;
            };
            let value = Value::from(alloc::format!("{sum}"));
            pairs.insert(place, key, Versioned { value, version });
            Answer::Number {
                value: sum,
                version,
            }
        }
    }
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
