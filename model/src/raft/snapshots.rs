//! Log compaction: snapshots replace the beginning of the log. Raft §7, thesis ch. 5.
//!
//! The driver decides *when* to take a snapshot ([`Event::Compact`]). The core decides *what* it
//! contains: exactly the applied entries. The snapshot goes to the disk in a numbered write like
//! any other, together with the log entries that follow it, so this write replaces the whole log.
//! The log prefix leaves memory only once the write is durable. A snapshot covers committed entries
//! only, so no decision needs those entries again: votes compare last entries, and a leader's log
//! agrees with every snapshot of its term or of an earlier term (Leader Completeness).
//!
//! A leader whose log lacks the entries that a follower needs sends its current state as a
//! snapshot. This message is large, so the leader retransmits it only after a number of heartbeats;
//! the heartbeats beside it stay small. The snapshot shows the follower that all entries up to its
//! last entry are committed. That last entry is
//! * at or below the commit index: nothing changes;
//! * in the log: the message acts like AppendEntries. The log stays as it is, including the entries
//!   after this one, and the covered entries are applied from the log;
//! * neither: the snapshot replaces the whole log. Earlier entries are covered, and later entries,
//!   if any, follow a different history.
//!
//! The acknowledgement is held back until everything that it covers is durable.

use super::*;
use crate::{EntryId, InstallSnapshotRequest, InstallSnapshotResponse, mutant::planted};

impl Raft {
    /// Takes a snapshot, if there are newly applied entries and no snapshot is being written.
    pub(super) fn compact(&mut self, buffer: &mut StepBuffer) {
        if !self.may_compact() {
            // The models take a snapshot only if it is possible. Executed by the test
            // `snapshots::compaction_without_a_new_entry_writes_nothing`.
            return;
        }
        let snapshot = self.present_state();
        self.snapshot_index = snapshot.last_included_index;
        #[cfg(feature = "mutants")]
        if planted!(self.config, PrefixRemovedBeforeSnapshotIsDurable) {
            buffer.snapshot = Some(Snapshot {
                store: snapshot.store.emptied(),
                ..snapshot.clone()
            });
            self.late_snapshot = Some(snapshot);
            return;
        }
        buffer.snapshot = Some(snapshot);
    }

    /// Whether there are newly applied entries and no snapshot is being written.
    pub fn may_compact(&self) -> bool {
        let busy = self.pending.iter().any(|write| write.compacts.is_some());
        !busy && self.commit_index > self.snapshot_index
    }

    /// A snapshot of exactly the applied entries: an uncommitted entry may still be replaced.
    fn present_state(&self) -> Snapshot {
        let index = if planted!(self.config, SnapshotBeyondCommitted) {
            self.log.last_index()
        } else {
            self.commit_index
        };
        let mut store = self.store.clone();
        if planted!(self.config, SnapshotBeyondCommitted) {
            for entry in self.log.slice(self.commit_index.next(), usize::MAX) {
                store.apply(&entry.payload, &self.config);
            }
        }
        #[cfg(feature = "mutants")]
        if planted!(self.config, SessionsLeftOutOfSnapshot) {
            store = store.without_sessions();
        }
        Snapshot {
            last_included_index: index,
            last_included_term: if planted!(self.config, SnapshotTermIsCurrentTerm) {
                self.current_term
            } else {
                self.log.term_at(index).unwrap_or_default()
            },
            store,
        }
    }

    /// Removes the log prefix that a durable snapshot covers, except for some trailing entries that
    /// followers slightly behind may still need.
    pub(super) fn drop_prefix(&mut self, last_included: LogIndex, buffer: &mut StepBuffer) {
        #[cfg(feature = "mutants")]
        if let Some(snapshot) = self.late_snapshot.take()
            && snapshot.last_included_index == self.snapshot_index
        {
            buffer.snapshot = Some(snapshot);
        }
        #[cfg(not(feature = "mutants"))]
        let _ = buffer;
        let mut base = if planted!(self.config, CompactsBeyondSnapshot) {
            last_included.next()
        } else {
            last_included
        };
        let mut room = self.config.trailing_bytes;
        while let Some(entry) = self.log.get(base)
            && let Some(left) = room.checked_sub(entry.payload.size())
        {
            room = left;
            base = base.prev();
        }
        // The log may have been replaced by a later snapshot in the meantime.
        if base > self.log.base().index
            && let Some(term) = self.log.term_at(base)
        {
            self.log.compact_to(EntryId { term, index: base });
        }
    }

    /// Sends a follower the current state as a snapshot, unless the leader sent one recently.
    pub(super) fn send_snapshot(&mut self, to: NodeId, buffer: &mut StepBuffer) {
        let patience = self.config.snapshot_patience;
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("only a leader sends snapshots");
        };
        let Some(progress) = leader.followers.get_mut(&to) else {
            unreachable!("a leader has the progress of every other voter");
        };
        if progress.snapshot_pause > 0 {
            // Executed by the test `snapshots::snapshot_is_sent_again_only_after_some_heartbeats`.
            return;
        }
        progress.snapshot_pause = patience;
        let snapshot = self.present_state();
        buffer.send(
            to,
            Message::InstallSnapshotRequest(InstallSnapshotRequest {
                term: self.current_term,
                snapshot,
            }),
        );
    }

    /// Figure 13, InstallSnapshot receiver implementation (§7).
    pub(super) fn handle_install_snapshot_request(
        &mut self,
        from: NodeId,
        request: InstallSnapshotRequest,
        buffer: &mut StepBuffer,
    ) {
        let InstallSnapshotRequest { term, snapshot } = request;
        if term < self.current_term {
            // The refusal carries the current term, so that a deposed leader learns of it.
            let response = self.snapshot_response(LogIndex::ZERO);
            buffer.send_after_term(from, response);
            return;
        }
        if term == self.current_term && matches!(self.role, Role::Leader(_)) {
            // As with AppendEntries: two leaders in one term. Executed by the test
            // `step::ignored::second_leader_of_a_term_is_ignored`.
            return;
        }
        self.become_follower(term, Some(from), buffer);
        self.note_leader_contact(buffer);

        let last_included = snapshot.last_included();
        let is_stale = last_included.index <= self.commit_index
            && !planted!(self.config, StaleSnapshotInstalled);
        let is_held = self.log.term_at(last_included.index) == Some(last_included.term)
            && !planted!(self.config, StaleSnapshotInstalled);
        if is_held && !planted!(self.config, MatchingSuffixDiscarded) {
            // Log Matching: a log that contains this entry contains all entries that the snapshot
            // covers.
            self.commit_to(last_included.index, buffer);
        } else if !is_stale {
            self.install(snapshot, buffer);
        }
        let response = self.snapshot_response(last_included.index);
        if planted!(self.config, SnapshotAcknowledgedBeforeDurable) {
            buffer.send(from, response);
        } else {
            buffer.send_after_entries(from, response, last_included.index);
        }
    }

    fn snapshot_response(&self, match_index: LogIndex) -> Message {
        Message::InstallSnapshotResponse(InstallSnapshotResponse {
            term: self.current_term,
            match_index,
        })
    }

    /// Replaces the log and the store with the snapshot.
    fn install(&mut self, snapshot: Snapshot, buffer: &mut StepBuffer) {
        let last_included = snapshot.last_included();
        // Durable committed entries stay durable. Until this write is done, the other entries on
        // disk belong to a different log.
        self.forget_durable_from(self.commit_index.next());
        // Executed by the test `snapshots::log_goes_if_the_entry_differs`.
        if last_included.index < self.log.last_index()
            && !planted!(self.config, ConflictingSuffixKeptBehindSnapshot)
        {
            // The log has a different entry there, so its later entries do not continue the
            // snapshot.
            self.log.truncate_from(last_included.index.next());
        }
        self.log.compact_to(last_included);
        self.commit_index = last_included.index;
        self.snapshot_index = last_included.index;
        if !planted!(self.config, SnapshotKeepsOldStore) {
            self.store = snapshot.store.clone();
        }
        if !planted!(self.config, InstalledSnapshotNotPersisted) {
            buffer.snapshot = Some(snapshot);
        }
    }

    /// Updates the progress of a follower that acknowledged a snapshot.
    pub(super) fn handle_install_snapshot_response(
        &mut self,
        from: NodeId,
        response: &InstallSnapshotResponse,
        buffer: &mut StepBuffer,
    ) {
        self.observe_term(response.term, buffer);
        if response.term < self.current_term || response.match_index == LogIndex::ZERO {
            return;
        }
        // Executed by the test `step::ignored::acknowledged_snapshot_beyond_the_log_is_ignored`.
        if let Role::Leader(leader) = &mut self.role
            && self.config.check_quorum
        {
            leader.recently_active.insert(from);
        }
        self.note_match(from, response.match_index, buffer);
        self.advance_commit_index(buffer);
        self.serve_reads(buffer);
    }
}
