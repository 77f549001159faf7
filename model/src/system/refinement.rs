//! Refinement: each step of a server is a sequence of actions of the abstract Raft ([`super::spec`]), or
//! changes none of its facts.
//!
//! The state of a server and each message *claim* facts of the abstract protocol. Facts stay true, so a
//! claim stays true: messages that are lost, delayed, repeated or reordered need no description. A
//! step refines the protocol if every claim of the server after the step, and of each message that it sends,
//! * was claimed before, by the server or by the message that it receives, or
//! * is the effect of an action whose guards follow from those claims and from the disk of the server.
//!
//! So the check of a step depends on one server and one message, and the search checks each pair once.
//! `docs/proof.md` has the claims and the argument.
//!
//! * `disk`: durable writes and restarts. They enter terms, vote, stand and accept.
//! * `memory`: the log in memory and the promises that wait for the disk
//! * `roles`: candidates and leaders. They are elected and append client requests.
//! * `commit`: commit indexes and snapshots
//! * `sends`: the messages that leave
//! * `suffix`: servers with a part of their log, for the check of recorded steps
//!
//! An entry is named by its index and its term. By *Log Matching* and *previous entry*, which
//! the proof shows, an index and a term identify one log of the abstract tree. A log that begins after a
//! snapshot is named by its last entry, too.

mod actions;
mod commit;
mod disk;
pub mod ground;
mod image;
mod incoming;
mod memory;
mod roles;
mod sends;
mod suffix;

#[cfg(test)]
mod tests;

pub use actions::{AbstractAction, ActionCounts, ActionKind};
pub use disk::{check_restart, check_sync};
pub use incoming::Incoming;
pub use suffix::suffix;

use super::{process::Running, properties::Cause};
use crate::{Durable, Effects, LogIndex, WriteId};
use alloc::vec::Vec;
use image::Image;

/// One call of [`crate::Raft::step`].
#[derive(Debug)]
pub struct RaftStep<'a> {
    /// The server before the step.
    pub before: &'a Running,
    /// The server after the step, with the write of the step.
    pub after: &'a Running,
    /// The disk, which the step does not change. It has the writes that the step reports as durable.
    pub disk: &'a Durable,
    /// The claims of the received message.
    pub incoming: &'a Incoming,
    /// The writes that the step reports as durable, in order, and the disk after each. In a scope there is
    /// at most one; a driver may report several at once.
    pub persisted: &'a [(WriteId, &'a Durable)],
    /// The effects of the step.
    pub effects: &'a Effects,
}

impl RaftStep<'_> {
    /// Checks that the step refines the abstract protocol, and appends its actions.
    ///
    /// # Errors
    /// The claim that no earlier claim and no action explains.
    pub fn check(&self, actions: &mut Vec<AbstractAction>) -> Result<(), Cause> {
        self.check_base()?;
        self.check_memory()?;
        self.check_role(actions)?;
        self.check_commit(actions)?;
        self.check_held()?;
        self.check_sends(actions)
    }

    /// Whether this step reports the write as durable.
    fn is_persisted(&self, write: WriteId) -> bool {
        self.disk_after(write).is_some()
    }

    /// The disk after a write that this step reports as durable.
    fn disk_after(&self, write: WriteId) -> Option<&Durable> {
        let mut persisted = self.persisted.iter();
        let found = persisted.find(|(reported, _)| write <= *reported);
        found.map(|(_, disk)| *disk)
    }

    /// Whether the disk contains the log in memory up to this index.
    fn is_durable(&self, index: LogIndex) -> bool {
        self.is_on(&Image::new(self.disk, []), WriteId::default(), index)
    }

    /// Whether the disk will contain the log in memory up to this index once a pending write is durable.
    fn will_be_durable(&self, write: WriteId, index: LogIndex) -> bool {
        let writes = self.after.unsynced.iter();
        let writes = writes.take_while(|pending| pending.id <= write);
        self.is_on(&Image::new(self.disk, writes), write, index)
    }

    /// Whether the content of the disk after a write contains the log in memory up to this index. The snapshot
    /// on a disk is committed, so it agrees with the log.
    fn is_on(&self, image: &Image<'_>, write: WriteId, index: LogIndex) -> bool {
        let (before, after) = (&self.before.raft, &self.after.raft);
        if index <= image.base().index {
            return true;
        }
        if let Some(term) = after.log.term_at(index) {
            return image.term_at(index) == Some(term);
        }
        // The entry left memory behind a snapshot. The disk still has it if the server claimed so before,
        // and if it was committed: the snapshot continues the committed log.
        let reached = before.pending.iter();
        let reached =
            reached.filter(|pending| pending.id <= write || self.is_persisted(pending.id));
        let claimed = reached.map(|pending| pending.reach).max();
        index < after.log.base().index
            && index <= image.last_id().index
            && index <= claimed.unwrap_or_default().max(before.durable_index)
            && index <= before.commit_index
    }
}
