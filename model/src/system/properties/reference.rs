//! The state and the answers that committed entries must produce, computed without the store's code.

use crate::{
    Entry, LogIndex, Payload, SessionId, Store,
    store::{
        Answer, Command, Condition, MAX_RETAINED_ANSWERS, Operation, PAIR_BYTES,
        REFUSALS_PER_WINDOW, Write,
    },
};
use alloc::{collections::BTreeMap, format, string::ToString, vec::Vec};

/// The values of the keys, each with its version.
pub(in crate::system) type ReferencePairs = BTreeMap<Vec<u8>, (Vec<u8>, LogIndex)>;

/// The pairs of a store, in the form of the reference.
pub(in crate::system) fn pairs_of(store: &Store) -> ReferencePairs {
    let pairs = store.pairs();
    pairs
        .map(|(key, held)| (key.to_vec(), (held.value.to_vec(), held.version)))
        .collect()
}

/// The pairs of the store after the committed entries.
pub(in crate::system) fn reference_pairs<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
) -> ReferencePairs {
    let mut reference = Reference::default();
    for entry in entries {
        reference.apply(&entry.payload);
    }
    reference.pairs
}

/// The answer to the last of the committed entries; `None` without an entry.
pub(in crate::system) fn reference_answer<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
) -> Option<ExpectedAnswer> {
    let mut reference = Reference::default();
    let answers = entries.into_iter();
    answers.map(|entry| reference.apply(&entry.payload)).last()
}

/// The answer that an entry must receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedAnswer {
    /// This one.
    Exactly(Answer),
    /// The session of the write is gone. The store may report that no copy of the write was applied only
    /// if that is true.
    SessionGone {
        /// Whether a copy of the write was applied, or may have been.
        is_applied: bool,
    },
}

impl ExpectedAnswer {
    /// Whether the answer is correct.
    pub fn permits(&self, answer: &Answer) -> bool {
        match self {
            Self::Exactly(expected) => answer == expected,
            Self::SessionGone { is_applied } => match answer {
                Answer::SessionExpired => true,
                Answer::NotApplied => !is_applied,
                _ => false,
            },
        }
    }
}

/// An independent evaluation of the committed entries. It shares only constants with the store:
/// * Each (session, sequence) takes effect when it first occurs, unless the session has acknowledged it
///   earlier: in that case its client had given up the write and continued. Every further copy receives
///   the answer of the first.
/// * Writes of a session that is not open have no effect. Such a session was never opened, was closed by
///   its client, or was evicted. A session may be evicted when another is opened, if it has been unused
///   for longer than the window.
/// * Writes of a session with too many unacknowledged responses have no effect, nor do writes that would
///   grow the pairs beyond the quota.
/// * A write whose condition does not hold has no effect. Nor has an increment of a value that is not an
///   integer in its shortest form, or of a number that would overflow.
#[derive(Debug, Default)]
pub struct Reference {
    pairs: ReferencePairs,
    /// The size of the pairs in bytes.
    size: usize,
    /// The answer to the first copy of each write.
    answers: BTreeMap<(SessionId, u64), Answer>,
    /// The lowest sequence number that a session has not acknowledged.
    settled: BTreeMap<SessionId, u64>,
    /// The open sessions in order of last use, each with the age of the log at that use.
    open: Vec<(SessionId, u64)>,
    /// The number of entries applied, and of those by which refused openings aged the sessions.
    age: u64,
    /// The index of the last entry; the first entry has index 1.
    index: u64,
}

impl Reference {
    /// The index of the last entry applied; 0 before the first.
    pub fn index(&self) -> LogIndex {
        LogIndex::new(self.index)
    }

    /// The number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether a store has these pairs.
    pub fn equals(&self, store: &Store) -> bool {
        pairs_of(store) == self.pairs
    }

    /// Applies the next committed entry, and returns its answer.
    pub fn apply(&mut self, payload: &Payload) -> ExpectedAnswer {
        self.index += 1;
        self.age = self.age.saturating_add(1);
        let Payload::Command(command) = payload else {
            return ExpectedAnswer::Exactly(Answer::Nothing);
        };
        ExpectedAnswer::Exactly(match command {
            Command::OpenSession { capacity, window } => self.open(*capacity, *window),
            Command::CloseSession { session } => {
                self.open.retain(|(id, _)| id != session);
                Answer::SessionClosed
            }
            Command::RenewSession { session } if self.uses(*session) => Answer::SessionRenewed,
            Command::RenewSession { .. } => Answer::SessionExpired,
            Command::Write(write) if self.uses(write.session) => self.write(write),
            Command::Write(write) => {
                let settled = self.settled.get(&write.session).copied();
                let is_applied = settled.is_some_and(|settled| write.sequence < settled)
                    || self.answers.contains_key(&(write.session, write.sequence));
                return ExpectedAnswer::SessionGone { is_applied };
            }
        })
    }

    fn open(&mut self, capacity: u32, window: u64) -> Answer {
        let capacity = capacity.max(1) as usize;
        while self.open.len() >= capacity && self.age - self.open[0].1 > window {
            self.open.remove(0);
        }
        if self.open.len() >= capacity {
            let more = (window / REFUSALS_PER_WINDOW).max(1) - 1;
            self.age = self.age.saturating_add(more);
            return Answer::SessionsInUse;
        }
        let session = SessionId::new(self.index);
        self.open.push((session, self.age));
        Answer::SessionOpened(session)
    }

    /// Marks a session as used. Returns false if it is not open.
    fn uses(&mut self, session: SessionId) -> bool {
        let Some(position) = self.open.iter().position(|(id, _)| *id == session) else {
            return false;
        };
        self.open.remove(position);
        self.open.push((session, self.age));
        true
    }

    fn write(&mut self, write: &Write) -> Answer {
        let id = (write.session, write.sequence);
        // Sequence numbers begin at 1.
        let settled = self.settled.entry(write.session).or_insert(1);
        *settled = (*settled).max(write.acknowledged);
        if write.sequence < *settled {
            return Answer::AlreadyAcknowledged;
        }
        if let Some(first) = self.answers.get(&id) {
            return first.clone();
        }
        let retained = (write.session, *settled)..=(write.session, u64::MAX);
        if self.answers.range(retained).count() >= MAX_RETAINED_ANSWERS {
            return Answer::TooManyUnacknowledged;
        }
        let answer = self.operate(&write.operation, write.quota);
        self.answers.insert(id, answer.clone());
        answer
    }

    fn operate(&mut self, operation: &Operation, quota: u64) -> Answer {
        let version = LogIndex::new(self.index);
        let (Operation::Put { key, .. }
        | Operation::Delete { key, .. }
        | Operation::Increment { key, .. }) = operation;
        let held = self.pairs.get(key);
        let found = held.map(|(_, version)| *version);
        match operation {
            Operation::Put { condition, .. } | Operation::Delete { condition, .. }
                if !holds(*condition, found) =>
            {
                Answer::ConditionFailed { found }
            }
            Operation::Put { value, .. } => {
                self.put(key, value.to_vec(), quota, Answer::Written { version })
            }
            Operation::Delete { .. } => {
                if let Some((value, _)) = self.pairs.remove(key) {
                    self.size -= size_of(key, &value);
                }
                Answer::Written { version }
            }
            Operation::Increment { by, .. } => {
                let number = held.map_or(Some(0), |(value, _)| canonical_integer(value));
                let Some(number) = number else {
                    return Answer::NotANumber;
                };
                let Some(value) = number.checked_add(*by) else {
                    return Answer::Overflow;
                };
                let text = format!("{value}").into_bytes();
                self.put(key, text, quota, Answer::Number { value, version })
            }
        }
    }

    /// Sets a value, unless the pairs grow beyond the quota, and returns the answer.
    fn put(&mut self, key: &[u8], value: Vec<u8>, quota: u64, done: Answer) -> Answer {
        let replaced = self.pairs.get(key);
        let replaced = replaced.map_or(0, |(value, _)| size_of(key, value));
        let size = self.size - replaced + size_of(key, &value);
        if size > self.size && size as u64 > quota {
            return Answer::QuotaExceeded;
        }
        self.size = size;
        let version = LogIndex::new(self.index);
        self.pairs.insert(key.to_vec(), (value, version));
        done
    }
}

/// The size of a pair in bytes.
fn size_of(key: &[u8], value: &[u8]) -> usize {
    key.len() + value.len() + PAIR_BYTES
}

/// Whether the condition holds for a key with this version.
fn holds(condition: Condition, found: Option<LogIndex>) -> bool {
    match condition {
        Condition::Always => true,
        Condition::Absent => found.is_none(),
        Condition::Present => found.is_some(),
        Condition::Version(expected) => found == Some(expected),
    }
}

/// The integer that is written exactly like this. It shares no code with the store's parser.
pub(in crate::system) fn canonical_integer(text: &[u8]) -> Option<i64> {
    let number: i64 = core::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

#[cfg(test)]
mod tests;
