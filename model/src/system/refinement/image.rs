//! The content of a disk after pending writes, without copies of its entries and snapshots.

use crate::{Durable, Entry, EntryId, HardState, Log, LogIndex, Term, Write};
use alloc::vec::Vec;

/// The content of a disk, without the state in its snapshot.
pub(super) struct Image<'a> {
    hard_state: HardState,
    base: EntryId,
    entries: Vec<&'a Entry>,
}

impl<'a> Image<'a> {
    /// The content of a disk after these writes; the same as with [`Durable::apply`].
    pub(super) fn new(disk: &'a Durable, writes: impl IntoIterator<Item = &'a Write>) -> Self {
        let mut image = Self {
            hard_state: disk.hard_state,
            base: disk.base(),
            entries: disk.log.iter().collect(),
        };
        for write in writes {
            if let Some(hard_state) = write.hard_state {
                image.hard_state = hard_state;
            }
            if let Some(index) = write.truncate_from {
                let kept = index.get().saturating_sub(image.base.index.get() + 1);
                let kept = usize::try_from(kept).unwrap_or(usize::MAX);
                image.entries.truncate(kept);
            }
            if let Some(snapshot) = &write.snapshot {
                image.base = snapshot.last_included();
                image.entries.clear();
            }
            image.entries.extend(&write.append);
        }
        image
    }

    /// The term and the vote.
    pub(super) fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The last entry that the snapshot covers; (0, 0) without a snapshot.
    pub(super) fn base(&self) -> EntryId {
        self.base
    }

    /// The last entry.
    pub(super) fn last_id(&self) -> EntryId {
        EntryId {
            term: self.entries.last().map_or(self.base.term, |last| last.term),
            index: self.base.index.plus(self.entries.len() as u64),
        }
    }

    /// The term of the entry at an index; `None` before the base and past the end.
    pub(super) fn term_at(&self, index: LogIndex) -> Option<Term> {
        let position = index.get().checked_sub(self.base.index.get())?;
        match usize::try_from(position).ok()?.checked_sub(1) {
            None => Some(self.base.term),
            Some(position) => self.entries.get(position).map(|entry| entry.term),
        }
    }

    /// Whether this log and another one are equal, as far as both retain their entries.
    pub(super) fn equals(&self, log: &Log) -> bool {
        let start = self.base.index.max(log.base().index);
        let retained = start.get() - self.base.index.get();
        let retained = usize::try_from(retained).unwrap_or(usize::MAX);
        self.last_id() == log.last_id()
            && self.term_at(start) == log.term_at(start)
            && (self.entries.iter().skip(retained).copied()).eq(log.slice(start.next(), usize::MAX))
    }
}
