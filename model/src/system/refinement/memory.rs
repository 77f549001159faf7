//! The log in memory, and the promises that wait for the disk.

use super::{Image, Incoming, RaftStep, incoming::acknowledged};
use crate::{HardState, Raft, Role, system::properties::Cause};

impl RaftStep<'_> {
    /// Checks the beginning of the log in memory. The check of a message takes entries before it for
    /// committed, so it is an entry of the log before or the end of a received snapshot, and committed.
    pub(super) fn check_base(&self) -> Result<(), Cause> {
        let (before, after) = (&self.before.raft, &self.after.raft);
        let base = after.log.base();
        if base == before.log.base() {
            return Ok(());
        }
        let is_installed =
            matches!(self.incoming, Incoming::Snapshot { last, .. } if *last == base);
        let is_compacted = before.log.term_at(base.index) == Some(base.term);
        let is_later = base.index > before.log.base().index;
        if is_later && base.index <= after.commit_index && (is_installed || is_compacted) {
            return Ok(());
        }
        Err(Cause::ServerSnapshotNotCommitted {
            server: after.id,
            index: base.index,
            term: base.term,
        })
    }

    /// Checks the log in memory and the write of the step.
    ///
    /// The pending writes of a server claim that the disk will have the log in memory, that this log is the
    /// leader's in the term of the write, and that a candidate stands for each new vote.
    pub(super) fn check_memory(&self) -> Result<(), Cause> {
        let (before, after) = (&self.before.raft, &self.after.raft);
        let last = after.log.last_index();
        // Log compaction removes the beginning, and changes no claim.
        let is_kept = after.log == before.log
            || (last == before.log.last_index() && after.log.agrees(&before.log, last));
        let promise = |raft: &Raft| (raft.current_term, raft.voted_for);
        let is_promise_kept = promise(before) == promise(after);
        if is_kept && is_promise_kept && self.effects.write.is_none() {
            return self.check_durable_index(false);
        }
        let image = Image::new(self.disk, &self.after.unsynced);
        let written = image.hard_state();
        if (written.current_term, written.voted_for) != promise(after) {
            return Err(Cause::TermNotWritten {
                server: after.id,
                term: after.current_term,
            });
        }
        if !image.equals(&after.log) {
            return Err(Cause::DiskDiffersFromMemory {
                server: after.id,
                index: last,
            });
        }
        let previous = Image::new(self.disk, &self.before.unsynced);
        self.check_vote(previous.hard_state(), image.hard_state())?;
        let term = image.hard_state().current_term;
        // The log of a leader has its own checks.
        let leads = matches!(after.role, Role::Leader(_)) && after.current_term == term;
        let is_vouched = || {
            self.incoming.vouches(term, &after.log) >= last
                && self.incoming.keeps(&before.log, &after.log)
        };
        if !is_kept && !leads && !is_vouched() {
            return Err(Cause::LogNotFromLeader {
                server: after.id,
                term,
                index: last,
            });
        }
        self.check_durable_index(true)
    }

    /// A pending vote for another server needs a candidate whose log is at least as up-to-date. The log on the
    /// disk at the time of the vote is the one in memory now.
    fn check_vote(&self, before: HardState, after: HardState) -> Result<(), Cause> {
        let (server, term) = (self.after.raft.id, after.current_term);
        let Some(voted_for) = after.voted_for.filter(|_| after != before) else {
            return Ok(());
        };
        if voted_for == server {
            return Ok(());
        }
        match self.incoming {
            Incoming::Candidacy {
                from,
                term: stands_in,
                last,
            } if *from == voted_for && *stands_in == term => {
                let own = self.after.raft.log.last_id();
                if *last >= own {
                    return Ok(());
                }
                Err(Cause::VotedForOutdatedLog {
                    server,
                    term,
                    candidate: voted_for,
                    index: own.index,
                    entry_term: own.term,
                })
            }
            _ => Err(Cause::VotedWithoutRequest {
                server,
                term,
                candidate: voted_for,
            }),
        }
    }

    /// The server claims that its disk has the log in memory up to `durable_index`, and will have it up to the
    /// `reach` of each pending write.
    fn check_durable_index(&self, is_changed: bool) -> Result<(), Cause> {
        let after = &self.after.raft;
        let index = after.durable_index;
        let mut wrong = (!self.is_durable(index)).then_some(index);
        if is_changed {
            let pending = after.pending.iter();
            let mut pending =
                pending.filter(|pending| !self.will_be_durable(pending.id, pending.reach));
            wrong = wrong.or_else(|| pending.next().map(|pending| pending.reach));
        }
        wrong.map_or(Ok(()), |index| {
            Err(Cause::DurableIndexAhead {
                server: after.id,
                index,
            })
        })
    }

    /// Checks each acknowledgement that begins to wait for a write: once the write is durable, the disk
    /// will have the leader's log up to the index.
    pub(super) fn check_held(&self) -> Result<(), Cause> {
        let (before, after) = (&self.before.raft, &self.after.raft);
        for held in &after.held {
            let Some((term, index)) = acknowledged(&held.envelope.message) else {
                continue;
            };
            let is_claimed = before.held.iter().any(|other| {
                other.after == held.after
                    && acknowledged(&other.envelope.message)
                        .is_some_and(|(earlier, covered)| earlier == term && covered >= index)
            });
            if is_claimed {
                continue;
            }
            let is_leaders = self.incoming.vouches(term, &after.log) >= index;
            if !is_leaders || !self.will_be_durable(held.after, index) {
                return Err(Cause::AcknowledgedOtherLog {
                    server: after.id,
                    term,
                    index,
                });
            }
        }
        Ok(())
    }
}
