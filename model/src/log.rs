//! The replicated log, in memory: a sequence of entries, positions counted from 1.
//!
//! Lacks, on purpose: any notion of what is committed or durable (that is the server's), and
//! compaction.

use crate::{
    EntryId, LogIndex, Term,
    store::{Command, Operation},
};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What an entry asks of the replicated store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing: a leader's first entry, whose commitment tells it what is committed (Raft §8).
    Noop,
    /// Something for the store to do.
    Command(Command),
}

impl Payload {
    /// About how many bytes it takes on the way: enough to keep messages small.
    pub fn size(&self) -> usize {
        let Self::Command(Command::Write(write)) = self else {
            return 8;
        };
        24 + match &write.operation {
            Operation::Put { key, value, .. } => key.len() + value.len(),
            Operation::Delete { key, .. } | Operation::Increment { key, .. } => key.len(),
        }
    }
}

/// An entry of the log. Its index is its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The term of the leader that created it.
    pub term: Term,
    /// What it asks of the store.
    pub payload: Payload,
}

/// The log of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Log {
    entries: Vec<Entry>,
}

impl Log {
    /// A log of these entries, the first at index 1.
    pub fn new(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// The index of the last entry, 0 if there is none.
    pub fn last_index(&self) -> LogIndex {
        LogIndex::new(self.entries.len() as u64)
    }

    /// Which entry is the last; (0, 0) if there is none.
    pub fn last_id(&self) -> EntryId {
        EntryId {
            term: self.entries.last().map_or(Term::ZERO, |entry| entry.term),
            index: self.last_index(),
        }
    }

    /// The entry at `index`, if there is one.
    pub fn get(&self, index: LogIndex) -> Option<&Entry> {
        let place = usize::try_from(index.get().checked_sub(1)?).ok()?;
        self.entries.get(place)
    }

    /// The term of the entry at `index`; term 0 at index 0; `None` past the end.
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == LogIndex::ZERO {
            return Some(Term::ZERO);
        }
        self.get(index).map(|entry| entry.term)
    }

    /// Up to `limit` entries from `index` on.
    pub fn slice(&self, index: LogIndex, limit: usize) -> &[Entry] {
        let start = (index.get().max(1) as usize - 1).min(self.entries.len());
        let end = start.saturating_add(limit).min(self.entries.len());
        &self.entries[start..end]
    }

    /// All entries, from index 1.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Adds entries at the end.
    pub fn append(&mut self, entries: &[Entry]) {
        self.entries.extend_from_slice(entries);
    }

    /// Removes the entry at `index` and all that follow.
    pub fn truncate_from(&mut self, index: LogIndex) {
        self.entries
            .truncate((index.get() as usize).saturating_sub(1));
    }

    /// The first index that holds an entry of `term`.
    pub fn first_index_of(&self, term: Term) -> Option<LogIndex> {
        // Terms never fall within a log.
        let place = self.entries.partition_point(|entry| entry.term < term);
        let found = self.entries.get(place)?.term == term;
        found.then(|| LogIndex::new(place as u64 + 1))
    }

    /// The last index that holds an entry of `term`.
    pub fn last_index_of(&self, term: Term) -> Option<LogIndex> {
        let past = self.entries.partition_point(|entry| entry.term <= term);
        let last = past.checked_sub(1)?;
        let found = self.entries[last].term == term;
        found.then(|| LogIndex::new(past as u64))
    }
}
