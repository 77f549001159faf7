//! Commit indexes and snapshots.

use super::{AbstractAction, RaftStep};
use crate::{EntryId, LogIndex, NodeId, Role, raft::Leader, system::properties::Cause};
use alloc::{collections::BTreeSet, vec::Vec};

impl RaftStep<'_> {
    /// Checks a commit index that rises, and a snapshot that is written.
    ///
    /// A server claims that its log up to the commit index is a prefix of a log that the leader of its term or
    /// of an earlier one committed.
    pub(super) fn check_commit(&self, actions: &mut Vec<AbstractAction>) -> Result<(), Cause> {
        let (before, after) = (&self.before.raft, &self.after.raft);
        let index = after.commit_index;
        if index > before.commit_index {
            let Some(term) = after.log.term_at(index) else {
                return Err(Cause::LearnedNotCommitted {
                    server: after.id,
                    index,
                });
            };
            let log = EntryId { term, index };
            match &after.role {
                Role::Leader(leader) => self.check_majority(leader, log, actions)?,
                _ if self.incoming.commits(after.current_term, &after.log) >= index => {}
                _ => {
                    return Err(Cause::LearnedNotCommitted {
                        server: after.id,
                        index,
                    });
                }
            }
            // Otherwise the server learns with its term (`disk`).
            if self.disk.hard_state.current_term >= after.current_term {
                let server = after.id;
                actions.push(AbstractAction::Learn { server, log });
            }
        }
        self.check_snapshot()
    }

    /// `commit`: the entry is of the leader's term, and a majority acknowledged it in this term.
    fn check_majority(
        &self,
        leader: &Leader,
        log: EntryId,
        actions: &mut Vec<AbstractAction>,
    ) -> Result<(), Cause> {
        let after = &self.after.raft;
        let (server, term) = (after.id, after.current_term);
        if log.term != term {
            return Err(Cause::CommittedOtherTerm {
                server,
                term,
                index: log.index,
                entry_term: log.term,
            });
        }
        let others = leader.followers.iter();
        let others = others.filter(|(_, progress)| progress.match_index >= log.index);
        let mut quorum: BTreeSet<NodeId> = others.map(|(follower, _)| *follower).collect();
        // The leader acknowledges by `accept`: its disk has its log, in this term.
        if self.disk.hard_state.current_term == term && self.is_durable(log.index) {
            quorum.insert(server);
            actions.push(AbstractAction::Accept { server, term, log });
        }
        quorum.retain(|voter| after.config.voters.contains(voter));
        let voters = after.config.voters.len();
        if 2 * quorum.len() <= voters {
            return Err(Cause::CommittedWithoutMajority {
                server,
                index: log.index,
                copies: quorum.len() as u64,
                voters: voters as u64,
            });
        }
        actions.push(AbstractAction::Commit { term, log, quorum });
        Ok(())
    }

    /// A snapshot claims that the log up to its last entry is committed.
    fn check_snapshot(&self) -> Result<(), Cause> {
        let after = &self.after.raft;
        let write = self.effects.write.as_ref();
        let Some(snapshot) = write.and_then(|write| write.snapshot.as_ref()) else {
            return Ok(());
        };
        self.check_covered(snapshot.last_included(), after.commit_index)
    }

    /// Requires that the log in memory has an entry, at or before the commit index.
    pub(super) fn check_covered(&self, last: EntryId, commit_index: LogIndex) -> Result<(), Cause> {
        let after = &self.after.raft;
        if last.index <= commit_index && after.log.term_at(last.index) == Some(last.term) {
            return Ok(());
        }
        Err(Cause::ServerSnapshotNotCommitted {
            server: after.id,
            index: last.index,
            term: last.term,
        })
    }
}
