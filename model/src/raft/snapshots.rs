//! How the log stays short: snapshots in the place of its beginning. Raft §7, thesis ch. 5.
//!
//! The driver says *when* ([`Event::Compact`]); the core says *what*: everything applied, no more.
//! The snapshot goes to the disk with a numbered write like any other, together with the entries that
//! follow it: the write stands for the whole log. Only when it is durable does the prefix leave
//! memory. What a snapshot covers is committed, so nothing that is decided
//! ever needs it again: votes look at last entries, and a leader's log agrees with every snapshot of
//! its term or before (Leader Completeness).
//!
//! A follower that needs entries its leader has no more is sent the leader's state as it stands. Such
//! a message is large, so it is sent once and then again only after a number of heartbeats; the
//! heartbeats beside it stay small. To the follower it says that everything up to its last entry is
//! committed, and, if its own log does not hold that entry, what came of it:
//! * an entry at or below the commit index: nothing new;
//! * an entry in the log: an AppendEntries in disguise. The log stays as it is, what follows the
//!   entry too, and what it covers is applied from the log;
//! * neither: the whole log makes room, for what lies before that entry is covered, and what lies
//!   after it follows another history, or nothing.
//!
//! An answer is held until all that it speaks of is durable.

use super::*;
use crate::{EntryId, InstallSnapshotRequest, InstallSnapshotResponse, mutant::planted};

/// The state after an entry, in place of all entries up to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last entry it covers.
    pub last_included_index: LogIndex,
    /// The term of that entry.
    pub last_included_term: Term,
    /// What the entries up to there make of the store, its sessions included.
    pub store: Store,
}

impl Snapshot {
    /// The last entry it covers.
    pub fn last_included(&self) -> EntryId {
        EntryId {
            term: self.last_included_term,
            index: self.last_included_index,
        }
    }

    /// Whether it can be a snapshot of any server: what a peer or a file says may be anything. (An
    /// index in the upper half can only be forged, and leaves no room to count on.)
    pub fn is_sound(&self) -> bool {
        self.store.last_applied() == self.last_included_index
            && self.last_included_index > LogIndex::ZERO
            && self.last_included_index.get() <= u64::MAX / 2
    }
}

impl Raft {
    /// Takes a snapshot, if there is anything new to put into one and none is on its way.
    pub(super) fn compact(&mut self, turn: &mut Turn) {
        if !self.may_compact() {
            return;
        }
        let snapshot = self.present_state();
        self.snapshot_index = snapshot.last_included_index;
        #[cfg(feature = "mutants")]
        if planted!(self.config, PrefixRemovedBeforeSnapshotIsDurable) {
            turn.snapshot = Some(Snapshot {
                store: snapshot.store.emptied(),
                ..snapshot.clone()
            });
            self.late_snapshot = Some(snapshot);
            return;
        }
        turn.snapshot = Some(snapshot);
    }

    /// Whether there is anything to put into a snapshot, and none is on its way to the disk.
    pub fn may_compact(&self) -> bool {
        let busy = self.pending.iter().any(|write| write.compacts.is_some());
        !busy && self.commit_index > self.snapshot_index
    }

    /// Everything applied, and nothing else: an entry that is not committed may still be replaced.
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
        if planted!(self.config, SessionsLeftOutOfSnapshot) {
            store = store.without_sessions();
        }
        Snapshot {
            last_included_index: index,
            last_included_term: self.log.term_at(index).unwrap_or_default(),
            store,
        }
    }

    /// A snapshot is durable: the entries it covers may go, but for some that followers a little
    /// behind may still ask for.
    pub(super) fn drop_prefix(&mut self, last_included: LogIndex, turn: &mut Turn) {
        #[cfg(feature = "mutants")]
        if let Some(snapshot) = self.late_snapshot.take()
            && snapshot.last_included_index == self.snapshot_index
        {
            turn.snapshot = Some(snapshot);
        }
        #[cfg(not(feature = "mutants"))]
        let _ = turn;
        let mut base = last_included;
        let mut room = self.config.trailing_bytes;
        while let Some(entry) = self.log.get(base)
            && let Some(left) = room.checked_sub(entry.payload.size())
        {
            room = left;
            base = base.prev();
        }
        // The log may have begun anew behind a later snapshot since.
        if base > self.log.base().index
            && let Some(term) = self.log.term_at(base)
        {
            self.log.compact_to(EntryId { term, index: base });
        }
    }

    /// Sends a follower everything there is, as a snapshot, unless it was sent one just now.
    pub(super) fn send_snapshot(&mut self, to: NodeId, turn: &mut Turn) {
        let patience = self.config.snapshot_patience;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(progress) = leader.followers.get_mut(&to) else {
            return;
        };
        if progress.snapshot_pause > 0 {
            return;
        }
        progress.snapshot_pause = patience;
        let snapshot = self.present_state();
        turn.send(
            to,
            Message::InstallSnapshotRequest(InstallSnapshotRequest {
                term: self.current_term,
                snapshot,
            }),
        );
    }

    pub(super) fn handle_install_snapshot_request(
        &mut self,
        from: NodeId,
        request: InstallSnapshotRequest,
        turn: &mut Turn,
    ) {
        let InstallSnapshotRequest { term, snapshot } = request;
        if term < self.current_term {
            // Refused, with our term, so that a deposed leader learns of it.
            let response = self.snapshot_response(LogIndex::ZERO);
            turn.send_after_term(from, response);
            return;
        }
        if term == self.current_term && matches!(self.role, Role::Leader(_)) {
            // As with AppendEntries: two leaders in one term.
            return;
        }
        self.become_follower(term, Some(from), turn);
        self.hear_leader(turn);

        let last_included = snapshot.last_included();
        let is_stale = last_included.index <= self.commit_index
            && !planted!(self.config, StaleSnapshotInstalled);
        let is_held = self.log.term_at(last_included.index) == Some(last_included.term)
            && !planted!(self.config, StaleSnapshotInstalled);
        if is_held {
            // Log Matching: with this entry we hold all that the snapshot covers.
            self.commit_to(last_included.index, turn);
        } else if !is_stale {
            self.install(snapshot, turn);
        }
        let response = self.snapshot_response(last_included.index);
        if planted!(self.config, SnapshotAcknowledgedBeforeDurable) {
            turn.send(from, response);
        } else {
            turn.send_after_entries(from, response, last_included.index);
        }
    }

    fn snapshot_response(&self, match_index: LogIndex) -> Message {
        Message::InstallSnapshotResponse(InstallSnapshotResponse {
            term: self.current_term,
            match_index,
        })
    }

    /// The snapshot takes the place of the log and the store.
    fn install(&mut self, snapshot: Snapshot, turn: &mut Turn) {
        let last_included = snapshot.last_included();
        // What was durable and committed stays so; about anything else the disk speaks of another
        // log, until this write is done.
        self.forget_durable_from(self.commit_index.next());
        if last_included.index < self.log.last_index()
            && !planted!(self.config, ConflictingSuffixKeptBehindSnapshot)
        {
            // The entry there is another one, so what follows it is no continuation of this one.
            self.log.truncate_from(last_included.index.next());
        }
        self.log.compact_to(last_included);
        self.commit_index = last_included.index;
        self.snapshot_index = last_included.index;
        self.store = snapshot.store.clone();
        turn.snapshot = Some(snapshot);
    }

    pub(super) fn handle_install_snapshot_response(
        &mut self,
        from: NodeId,
        response: &InstallSnapshotResponse,
        turn: &mut Turn,
    ) {
        self.observe_term(response.term, turn);
        if response.term < self.current_term || response.match_index == LogIndex::ZERO {
            return;
        }
        if let Role::Leader(leader) = &mut self.role
            && self.config.check_quorum
            && leader.followers.contains_key(&from)
        {
            leader.heard.insert(from);
        }
        self.note_match(from, response.match_index, turn);
        self.advance_commit_index(turn);
        self.serve_reads(turn);
    }
}
