//! Writes to stable storage, and the messages that wait for them.
//!
//! Each step makes at most one [`Write`], which is atomic: the hard state, a truncation, a snapshot
//! and an append. Writes become durable in order. For each write in progress the server records how
//! far the log's durable prefix will reach once that write is durable. A truncation lowers this
//! reach for all writes in progress, so that a late notification never credits entries that were
//! overwritten in the meantime (the ABA race of asynchronous storage writes).

use super::*;
use crate::{Entry, EntryId, mutant::planted};

/// The persistent state of Figure 2, without the log (etcd: `HardState`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct HardState {
    /// The latest term seen.
    pub current_term: Term,
    /// The candidate that received the vote in that term.
    pub voted_for: Option<NodeId>,
}

/// One atomic write to stable storage. The fields take effect in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Write {
    /// The number of this write.
    pub id: WriteId,
    /// The new hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// First truncate: remove this entry and all later entries.
    pub truncate_from: Option<LogIndex>,
    /// Atomically replace the previous snapshot and the whole log, so that one of the two is
    /// readable at any moment. `append` repeats the log entries that remain.
    pub snapshot: Option<Snapshot>,
    /// Then append these entries.
    pub append: Vec<Entry>,
}

/// The content of stable storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Durable {
    /// The term and the vote.
    pub hard_state: HardState,
    /// The snapshot that replaces the beginning of the log.
    pub snapshot: Option<Snapshot>,
    /// The log, from the entry after the snapshot, or from index 1.
    pub log: Vec<Entry>,
}

impl Durable {
    /// Applies a write.
    pub fn apply(&mut self, write: &Write) {
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(index) = write.truncate_from {
            let kept = index.get().saturating_sub(self.base().index.get() + 1);
            self.log
                .truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        }
        if let Some(snapshot) = &write.snapshot {
            self.snapshot = Some(snapshot.clone());
            self.log.clear();
        }
        self.log.extend_from_slice(&write.append);
    }

    /// The last entry that the snapshot covers; (0, 0) without a snapshot.
    pub fn base(&self) -> EntryId {
        let snapshot = self.snapshot.as_ref();
        snapshot.map_or(EntryId::default(), Snapshot::last_included)
    }

    /// The index of the last entry; 0 if there never was an entry.
    pub fn last_index(&self) -> LogIndex {
        self.base().index.plus(self.log.len() as u64)
    }
}

/// A write in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) id: WriteId,
    /// The last durable log index once this write is durable.
    pub(crate) reach: LogIndex,
    pub(crate) hard_state: bool,
    /// The last entry of the write's snapshot, if the log prefix is removed once the write is
    /// durable.
    pub(crate) compacts: Option<LogIndex>,
}

/// A message that waits for a write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct HeldMessage {
    pub(crate) after: WriteId,
    pub(crate) envelope: Envelope,
}

impl Raft {
    /// Completes a step: numbers its write and decides which sends must wait.
    pub(super) fn take_effects(&mut self, buffer: StepBuffer) -> Effects {
        let write = self.take_write(&buffer);
        let mut term_writes = self.pending.iter().rev();
        let term_write = term_writes
            .find(|pending| pending.hard_state)
            .map(|pending| pending.id);
        let mut sends = Vec::new();
        for (to, message, release) in buffer.sends {
            let from = Address::Node(self.id);
            let envelope = Envelope { from, to, message };
            let after = match release {
                Release::Now => None,
                Release::AfterTerm => term_write,
                Release::AfterEntries(last) => self.write_that_reaches(last).max(term_write),
            };
            match after {
                None => sends.push(envelope),
                Some(after) => self.hold(HeldMessage { after, envelope }),
            }
        }
        Effects {
            write,
            sends,
            timers: buffer.timers,
        }
    }

    /// The write in progress that makes the log durable up to this entry; none if it already is.
    fn write_that_reaches(&self, last: LogIndex) -> Option<WriteId> {
        if last <= self.durable_index {
            return None;
        }
        let covers = self.pending.iter().find(|pending| pending.reach >= last);
        covers.or(self.pending.back()).map(|pending| pending.id)
    }

    /// Holds a message back, in the order of the writes. The server holds at most one message per
    /// write, receiver and kind, so that their number stays bounded however many requests arrive
    /// while a disk is slow: the latest acknowledgement covers the earlier ones, and a later
    /// message of another kind replaces the earlier one.
    fn hold(&mut self, held: HeldMessage) {
        let start = self.held.partition_point(|other| other.after < held.after);
        let mut end = start;
        while let Some(other) = self.held.get_mut(end)
            && other.after == held.after
        {
            if other.envelope.to == held.envelope.to
                && other
                    .envelope
                    .message
                    .is_replaced_by(&held.envelope.message)
            {
                other.envelope.message.replace_by(held.envelope.message);
                return;
            }
            end += 1;
        }
        self.held.insert(end, held);
    }

    /// Builds the write of a step; `None` if the step wrote nothing.
    fn take_write(&mut self, buffer: &StepBuffer) -> Option<Write> {
        let hard_state = buffer.hard_state.then_some(HardState {
            current_term: self.current_term,
            voted_for: self.voted_for,
        });
        let append_from = match &buffer.snapshot {
            Some(_) if planted!(self.config, SnapshotWriteLosesSuffix) => None,
            Some(snapshot) => Some(snapshot.last_included_index.next()),
            None => buffer.append_from,
        };
        let append = match append_from {
            Some(_)
                if buffer.truncate_from.is_some()
                    && planted!(self.config, AppendLostWithTruncation) =>
            {
                Vec::new()
            }
            Some(index) => self.log.slice(index, usize::MAX).to_vec(),
            None => Vec::new(),
        };
        let truncate_from = if planted!(self.config, TruncationNotPersisted) {
            None
        } else {
            buffer.truncate_from
        };
        let snapshot = buffer.snapshot.clone();
        if hard_state.is_none()
            && truncate_from.is_none()
            && snapshot.is_none()
            && append.is_empty()
        {
            return None;
        }
        self.last_write = self.last_write.next();
        self.pending.push_back(Pending {
            id: self.last_write,
            reach: self.log.last_index(),
            hard_state: hard_state.is_some(),
            compacts: snapshot
                .as_ref()
                .map(|snapshot| snapshot.last_included_index),
        });
        Some(Write {
            id: self.last_write,
            hard_state,
            truncate_from,
            snapshot,
            append,
        })
    }

    /// Notes that the log was truncated from `index`. Neither durable writes nor writes in progress
    /// vouch for those positions after that.
    pub(super) fn forget_durable_from(&mut self, index: LogIndex) {
        let last = index.prev();
        if !planted!(self.config, DurableIndexSurvivesTruncation) {
            self.durable_index = self.durable_index.min(last);
        }
        if planted!(self.config, LateNoticeCreditsOverwrittenEntries) {
            return;
        }
        for pending in &mut self.pending {
            pending.reach = pending.reach.min(last);
        }
    }

    /// Handles the notification that all writes up to `durable` are durable: extends the durable
    /// prefix, compacts the log, sends the messages that waited, and counts this server's own
    /// vote and log.
    pub(super) fn persisted(&mut self, durable: WriteId, buffer: &mut StepBuffer) {
        while let Some(pending) = self.pending.pop_front_if(|pending| pending.id <= durable) {
            let reach = if planted!(self.config, SyncCreditsWholeLog) {
                self.log.last_index()
            } else {
                pending.reach
            };
            self.durable_index = self.durable_index.max(reach);
            if let Some(last_included) = pending.compacts {
                self.drop_prefix(last_included, buffer);
            }
        }
        let releases_all = planted!(self.config, AnySyncReleasesAll);
        let is_released = |held: &mut HeldMessage| held.after <= durable || releases_all;
        while let Some(held) = self.held.pop_front_if(is_released) {
            buffer
                .sends
                .push((held.envelope.to, held.envelope.message, Release::Now));
        }
        self.count_own_vote(durable, buffer);
        #[cfg(feature = "mutants")]
        self.answer_durable_writes(buffer);
        self.advance_commit_index(buffer);
    }

    /// Sorts the messages that wait for the same write. They leave together, and their order has no
    /// meaning. For the models only, where a permutation of server ids changes the order.
    #[cfg(feature = "system")]
    pub(crate) fn sort_held(&mut self) {
        let held = self.held.make_contiguous();
        let together = held.chunk_by_mut(|one, next| one.after == next.after);
        together.for_each(<[HeldMessage]>::sort_unstable);
    }

    /// Renumbers the writes in progress from 1. Write numbers are only compared, so behavior stays
    /// the same, but states that differ only in the number of earlier writes become equal. For the
    /// models only: a driver may hold notifications of earlier writes and must not call this.
    #[cfg(feature = "system")]
    pub(crate) fn renumber_writes(&mut self, unsynced: &mut [Write]) {
        let base = match self.pending.front() {
            Some(pending) => pending.id.get() - 1,
            None => self.last_write.get(),
        };
        let renumber = |id: &mut WriteId| *id = WriteId::new(id.get().saturating_sub(base));
        renumber(&mut self.last_write);
        for pending in &mut self.pending {
            renumber(&mut pending.id);
        }
        for held in &mut self.held {
            renumber(&mut held.after);
        }
        for write in unsynced {
            renumber(&mut write.id);
        }
        if let Role::Candidate(candidate) = &mut self.role {
            renumber(&mut candidate.vote_write);
        }
    }
}
