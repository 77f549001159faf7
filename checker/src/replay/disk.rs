//! The disk of a server in a replay, and its pending writes.

use super::prefixes::Prefix;
use model::{Durable, Entry, HardState, NodeId, Snapshot, Write, system::Violation};

/// The history of the cluster (leaders, commits and log prefixes), as far as the replay of one server needs it.
pub(super) trait ClusterHistory {
    /// The prefixes that result when these entries are appended one by one.
    fn intern(&mut self, last: Prefix, entries: &[Entry]) -> Result<Vec<Prefix>, Violation>;

    /// The last entry of a prefix.
    fn entry(&self, prefix: Prefix) -> Option<&Entry>;

    /// Checks the hard state of a disk: a vote never changes within a term.
    fn check_disk(&mut self, id: NodeId, old: HardState, new: HardState) -> Result<(), Violation>;

    /// Checks a snapshot that is written to a disk: it ends with a committed entry, and its state is the
    /// result of the entries up to there. Returns the prefixes of these entries.
    fn check_snapshot(&mut self, id: NodeId, snapshot: &Snapshot) -> Result<&[Prefix], Violation>;
}

/// The contents of a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) hard_state: HardState,
    /// The prefix up to each entry.
    pub(super) log: Vec<Prefix>,
    /// The snapshot that replaces the beginning of the log.
    pub(super) snapshot: Option<Snapshot>,
}

/// A pending write.
pub(super) struct Unsynced {
    /// The write, without the state in its snapshot.
    pub(super) write: Write,
    /// A snapshot that replaces the log, and the prefixes it covers.
    pub(super) snapshot: Option<(Snapshot, Vec<Prefix>)>,
    pub(super) append: Vec<Prefix>,
}

impl Disk {
    /// Applies a write.
    pub(super) fn apply(&mut self, pending: &Unsynced) {
        if let Some(hard_state) = pending.write.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(index) = pending.write.truncate_from {
            self.log.truncate((index.get() as usize).saturating_sub(1));
        }
        if let Some((snapshot, covered)) = &pending.snapshot {
            self.snapshot = Some(snapshot.clone());
            self.log.clone_from(covered);
        }
        self.log.extend_from_slice(&pending.append);
    }

    /// Whether this is the disk that a run found.
    pub(super) fn holds(&self, found: &Durable, cluster: &impl ClusterHistory) -> bool {
        let same = |(entry, prefix): (&Entry, &Prefix)| cluster.entry(*prefix) == Some(entry);
        let covered = found.base().index.get() as usize;
        self.hard_state == found.hard_state
            && self.snapshot == found.snapshot
            && self.log.len() == covered + found.log.len()
            && found.log.iter().zip(&self.log[covered..]).rev().all(same)
    }
}
