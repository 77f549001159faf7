//! Servers with a part of their log.

use crate::{Log, LogIndex, Raft, Store};
#[cfg(feature = "mutants")]
use alloc::collections::BTreeMap;

/// A copy of a server whose log begins after this entry, and whose store is empty. The checks of a step
/// compare logs only as far as both retain their entries, and read no store. So the check of a copy costs
/// less, and is weaker only for the entries that it lacks. If the log begins later or ends before the entry,
/// the copy has the whole log.
pub fn suffix(raft: &Raft, base: LogIndex) -> Raft {
    let log = match raft.log.term_at(base) {
        Some(term) => {
            let entries = raft.log.slice(base.next(), usize::MAX).to_vec();
            Log::after(crate::EntryId { term, index: base }, entries)
        }
        None => raft.log.clone(),
    };
    Raft {
        id: raft.id,
        config: raft.config.clone(),
        current_term: raft.current_term,
        voted_for: raft.voted_for,
        log,
        commit_index: raft.commit_index,
        role: raft.role.clone(),
        store: Store::default(),
        durable_index: raft.durable_index,
        snapshot_index: raft.snapshot_index,
        last_write: raft.last_write,
        pending: raft.pending.clone(),
        held: raft.held.clone(),
        #[cfg(feature = "mutants")]
        remembered_progress: BTreeMap::new(),
        #[cfg(feature = "mutants")]
        late_snapshot: None,
        #[cfg(feature = "mutants")]
        remembered_writes: BTreeMap::new(),
    }
}
