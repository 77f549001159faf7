//! The replicated log, in memory: a sequence of entries with indexes from 1.
//!
//! A log may begin after a *base*, the last entry that a snapshot covers (Raft §7). The entries
//! before the base are only known to be committed; of the base itself, the term is known.
//!
//! Deliberate omissions: the log does not know which entries are committed or durable, nor when log
//! compaction may remove a prefix. The server decides both.

use crate::{EntryId, LogIndex, Term, store::Payload};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// An entry of the log. Its index is its position in the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The term of the leader that created the entry.
    pub term: Term,
    /// The content for the store.
    pub payload: Payload,
}

/// The log of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Log {
    /// The last entry that log compaction removed; (0, 0) if the log is complete.
    base: EntryId,
    entries: Vec<Entry>,
}

impl Log {
    /// Creates a log of these entries; the first follows `base` immediately.
    pub fn after(base: EntryId, entries: Vec<Entry>) -> Self {
        Self { base, entries }
    }

    /// The entry before the first retained entry; (0, 0) if the log is complete.
    pub fn base(&self) -> EntryId {
        self.base
    }

    /// The index of the last entry; 0 if there never was an entry.
    pub fn last_index(&self) -> LogIndex {
        self.base.index.plus(self.entries.len() as u64)
    }

    /// The id of the last entry; (0, 0) if there never was an entry.
    pub fn last_id(&self) -> EntryId {
        EntryId {
            term: self.entries.last().map_or(self.base.term, |last| last.term),
            index: self.last_index(),
        }
    }

    /// The entry at `index`, if it is retained.
    pub fn get(&self, index: LogIndex) -> Option<&Entry> {
        let position = index.get().checked_sub(self.base.index.get() + 1)?;
        self.entries
            .get(usize::try_from(position).unwrap_or(usize::MAX))
    }

    /// The term of the entry at `index`; term 0 at index 0; `None` before the base and past the
    /// end.
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.term)
    }

    /// Up to `limit` retained entries from `index` on.
    pub fn slice(&self, index: LogIndex, limit: usize) -> &[Entry] {
        let start = self.offset(index).min(self.entries.len());
        let end = start.saturating_add(limit).min(self.entries.len());
        &self.entries[start..end]
    }

    /// The retained entries, from the one after the base.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Appends entries.
    pub fn append(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.extend(entries);
    }

    /// Truncates the log: removes the entry at `index` and all later entries. The base stays.
    pub fn truncate_from(&mut self, index: LogIndex) {
        self.entries.truncate(self.offset(index));
    }

    /// Compacts the log: removes all entries up to `base`, which becomes the new base. Later
    /// entries stay.
    pub fn compact_to(&mut self, base: EntryId) {
        let gone = self.offset(base.index.next()).min(self.entries.len());
        self.entries.drain(..gone);
        // The vector would otherwise keep the removed entries' capacity forever.
        self.entries.shrink_to(2 * self.entries.len());
        self.base = base;
    }

    /// The last position up to `index` that can hold an entry of `term` or an earlier term. Terms
    /// never decrease within a log, so all entries after that position, up to `index`, are of later
    /// terms. If the log starts after that position, the result is a position before the base.
    pub fn last_index_up_to(&self, index: LogIndex, term: Term) -> LogIndex {
        let index = index.min(self.last_index());
        if index < self.base.index {
            return index;
        }
        let kept = &self.entries[..self.offset(index.next())];
        match kept.partition_point(|entry| entry.term <= term) {
            // Executed by the test
            // `lib::log::tests::last_index_up_to_a_term_can_precede_the_base`: it needs three terms
            // beside snapshots.
            0 if self.base.term > term => self.base.index.prev(),
            count => self.base.index.plus(count as u64),
        }
    }

    /// Whether this log contains every entry of `earlier`, as far as both retain them.
    pub fn continues(&self, earlier: &Self) -> bool {
        let start = self.base.index.max(earlier.base.index);
        self.last_index() >= earlier.last_index()
            && self
                .slice(start.next(), usize::MAX)
                .starts_with(earlier.slice(start.next(), usize::MAX))
    }

    /// Whether this log and `other` are equal up to and including `last`, as far as both retain
    /// their entries; false if one of them ends before `last`.
    pub fn agrees(&self, other: &Self, last: LogIndex) -> bool {
        let start = self.base.index.max(other.base.index);
        if self.last_index().min(other.last_index()) < last {
            return false;
        }
        let count = last.get().saturating_sub(start.get());
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        (last < start || self.term_at(start) == other.term_at(start))
            && self.slice(start.next(), count) == other.slice(start.next(), count)
    }

    /// The position in `entries` of the entry at `index`, present or not; 0 before the first.
    fn offset(&self, index: LogIndex) -> usize {
        let position = index.get().saturating_sub(self.base.index.get() + 1);
        usize::try_from(position).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// A log with a base of term 2 at index 4, and two entries of term 3.
    #[test]
    fn last_index_up_to_a_term_can_precede_the_base() {
        let base = EntryId {
            term: Term::new(2),
            index: LogIndex::new(4),
        };
        let payload = Payload::Noop;
        let term = Term::new(3);
        let log = Log::after(base, vec![Entry { term, payload }; 2]);
        let last = |index, term| {
            log.last_index_up_to(LogIndex::new(index), Term::new(term))
                .get()
        };
        assert_eq!((last(6, 3), last(5, 3), last(9, 4)), (6, 5, 6));
        // The entries after the base are of a later term, and the base is not.
        assert_eq!((last(6, 2), last(4, 2)), (4, 4));
        // The base is of a later term too.
        assert_eq!(last(6, 1), 3);
        // Of positions before the base, no term is known.
        assert_eq!((last(3, 1), last(2, 3)), (3, 2));
    }
}
