//! Messages that no correct server sends. They are dropped before they change anything.
//!
//! The transport authenticates servers, but a server may be misconfigured, run on faulty memory or
//! be hostile. Its messages must neither stop this server nor break its invariants. Two kinds are
//! recognized:
//! * *Inconsistent*: terms within a log never decrease, and no entry or snapshot is newer than its
//!   leader's term.
//! * *Contradicting*: every leader of this or a later term has all committed entries (Leader
//!   Completeness), so such a leader never sends a request that replaces one of them.
//!
//! Deviation: the paper assumes that servers fail only by stopping, and etcd panics on the second
//! kind. Dropping the message is equally safe, because the committed entry stays, and it keeps the
//! server up.

use super::*;
use crate::{AppendEntriesRequest, InstallSnapshotRequest};

impl Raft {
    /// Whether no correct server sends this message to this server. The core drops such a message;
    /// a driver may count it.
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

    /// Whether a committed entry of this server differs from the entry in the request.
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

    /// Whether no single log can contain both the snapshot's last entry and this server's committed
    /// entries.
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

/// Whether the entries of a request can come from one log of its leader.
fn is_consistent(request: &AppendEntriesRequest) -> bool {
    let fits = u64::MAX - request.prev_log_index.get() >= request.entries.len() as u64;
    // Only the position before the first entry has term 0.
    let is_first = request.prev_log_index == LogIndex::ZERO;
    let starts_right = (request.prev_log_term == Term::ZERO) == is_first;
    let is_after_term_0 = |entry: &crate::Entry| entry.term > Term::ZERO;
    let terms = core::iter::once(request.prev_log_term)
        .chain(request.entries.iter().map(|entry| entry.term))
        .chain([request.term]);
    fits && starts_right && request.entries.first().is_none_or(is_after_term_0) && terms.is_sorted()
}
