//! Messages that no correct server sends: they are dropped before they change anything.
//!
//! The transport authenticates servers, but a server may be misconfigured, run on damaged memory, or
//! be hostile. Such a message must not stop this server or break its invariants. Two kinds are
//! recognized:
//! * *Inconsistent*: terms within a log never decrease, and no entry or snapshot is newer than its
//!   leader's term.
//! * *Contradicting*: every leader of this or a later term has all committed entries (Leader
//!   Completeness), so a request that replaces one of ours cannot come from such a leader.
//!
//! Deviation: the paper assumes servers that fail only by stopping, and etcd panics on the second
//! kind. Dropping the message is as safe, for the committed entry stays, and keeps the server up.

use super::*;
use crate::{AppendEntriesRequest, InstallSnapshotRequest};

impl Raft {
    /// Whether a message from a server is one that no correct server sends to this one. The core
    /// drops it; a driver may count it.
    pub fn is_impossible(&self, message: &Message) -> bool {
        match message {
            Message::AppendEntriesRequest(request) => {
                !is_consistent(request)
                    || (request.term >= self.current_term && self.contradicts_entries(request))
            }
            Message::InstallSnapshotRequest(request) => {
                request.snapshot.last_included_term > request.term
                    || request.snapshot.last_included_term == Term::ZERO
                    || !request.snapshot.is_sound()
                    || (request.term >= self.current_term && self.contradicts_snapshot(request))
            }
            _ => false,
        }
    }

    /// Whether a committed entry here differs from the one in the request.
    fn contradicts_entries(&self, request: &AppendEntriesRequest) -> bool {
        let prev = (request.prev_log_index, request.prev_log_term);
        let first = request.prev_log_index.get().saturating_add(1);
        let entries = (first..).zip(&request.entries);
        let entries = entries.map(|(index, entry)| (LogIndex::new(index), entry.term));
        core::iter::once(prev)
            .chain(entries)
            .skip_while(|(index, _)| *index < self.log.base().index)
            .take_while(|(index, _)| *index <= self.commit_index)
            .any(|(index, term)| self.log.term_at(index) != Some(term))
    }

    /// Whether the snapshot's last entry cannot be in one log with a committed entry here.
    fn contradicts_snapshot(&self, request: &InstallSnapshotRequest) -> bool {
        let last_included = request.snapshot.last_included();
        let committed = self.log.term_at(self.commit_index).unwrap_or_default();
        if last_included.index > self.commit_index {
            return last_included.term < committed;
        }
        last_included.term > committed
            || self
                .log
                .term_at(last_included.index)
                .is_some_and(|term| term != last_included.term)
    }
}

/// Whether the entries in a request can be those of one log of its leader.
fn is_consistent(request: &AppendEntriesRequest) -> bool {
    let fits = u64::MAX - request.prev_log_index.get() >= request.entries.len() as u64;
    // Term 0 is that of the position before the log, and no other.
    let is_first = request.prev_log_index == LogIndex::ZERO;
    let starts_right = (request.prev_log_term == Term::ZERO) == is_first;
    let is_after_term_0 = |entry: &crate::Entry| entry.term > Term::ZERO;
    let terms = core::iter::once(request.prev_log_term)
        .chain(request.entries.iter().map(|entry| entry.term))
        .chain([request.term]);
    fits && starts_right && request.entries.first().is_none_or(is_after_term_0) && terms.is_sorted()
}
