//! The state that replaces a prefix of the log. Raft §7, thesis ch. 5.
//!
//! `raft/snapshots.rs` takes, sends and installs snapshots.

use crate::{EntryId, LogIndex, Store, Term};
use serde::{Deserialize, Serialize};

/// The state after an entry, which replaces all entries up to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Snapshot {
    /// The last entry that the snapshot covers.
    pub last_included_index: LogIndex,
    /// The term of that entry.
    pub last_included_term: Term,
    /// The store after these entries were applied, including its sessions.
    pub store: Store,
}

impl Snapshot {
    /// The last entry that the snapshot covers.
    pub fn last_included(&self) -> EntryId {
        EntryId {
            term: self.last_included_term,
            index: self.last_included_index,
        }
    }

    /// Whether this can be a snapshot of a correct server; a peer or a file may hold arbitrary
    /// data. (Only a forged index lies in the upper half of the range, and it would leave no room
    /// to count on.)
    pub fn is_sound(&self) -> bool {
        self.store.last_applied() == self.last_included_index
            && self.last_included_index > LogIndex::ZERO
            && self.last_included_index.get() <= u64::MAX / 2
    }
}
