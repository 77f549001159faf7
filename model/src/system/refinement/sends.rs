//! The messages that leave.

use super::{AbstractAction, Image, RaftStep, incoming::acknowledged};
use crate::{
    Address, AppendEntriesRequest, Durable, EntryId, Envelope, LogIndex, Message, NodeId, Role,
    Term, system::properties::Cause,
};
use alloc::vec::Vec;

impl RaftStep<'_> {
    /// Checks the claims of each message as it leaves, against the disk at this moment.
    pub(super) fn check_sends(&self, actions: &mut Vec<AbstractAction>) -> Result<(), Cause> {
        let sends = self.effects.sends.iter();
        for envelope in sends {
            let Address::Node(to) = envelope.to else {
                continue;
            };
            let server = self.after.raft.id;
            if envelope.from != Address::Node(server) {
                return Err(Cause::SentForAnother { server });
            }
            self.check_send(to, envelope, actions)?;
        }
        Ok(())
    }

    fn check_send(
        &self,
        to: NodeId,
        envelope: &Envelope,
        actions: &mut Vec<AbstractAction>,
    ) -> Result<(), Cause> {
        let after = &self.after.raft;
        let server = after.id;
        match &envelope.message {
            Message::RequestVoteRequest(request) => {
                let last = EntryId {
                    term: request.last_log_term,
                    index: request.last_log_index,
                };
                self.check_request(request.term, last, actions)
            }
            Message::RequestVoteResponse(response) if response.vote_granted => {
                let held = self.disk_at_release(envelope).hard_state;
                if (held.current_term, held.voted_for) == (response.term, Some(to)) {
                    return Ok(());
                }
                Err(Cause::VoteNotDurable {
                    server,
                    term: response.term,
                })
            }
            Message::AppendEntriesRequest(request) => self.check_entries(request),
            Message::InstallSnapshotRequest(request) => {
                self.check_leads(request.term, request.snapshot.last_included_index)?;
                self.check_covered(request.snapshot.last_included(), after.commit_index)
            }
            message => match acknowledged(message) {
                Some((term, index)) => self.check_acknowledgement(term, index, actions),
                None => Ok(()),
            },
        }
    }

    /// A vote request claims a candidacy: the present one, or one that began in this step and is over already.
    fn check_request(
        &self,
        term: Term,
        last: EntryId,
        actions: &[AbstractAction],
    ) -> Result<(), Cause> {
        let after = &self.after.raft;
        let server = after.id;
        let stands = matches!(after.role, Role::Candidate(_))
            && after.current_term == term
            && self.has_own_vote(term)
            && after.log.last_id() == last;
        let stand = AbstractAction::Stand {
            server,
            term,
            log: last,
        };
        if stands || actions.contains(&stand) {
            return Ok(());
        }
        Err(Cause::CandidacyNotDurable { server, term })
    }

    /// AppendEntries claims that its entries are the leader's, and that a prefix of them is committed.
    fn check_entries(&self, request: &AppendEntriesRequest) -> Result<(), Cause> {
        let after = &self.after.raft;
        let first = request.prev_log_index.next();
        let last = request.prev_log_index.plus(request.entries.len() as u64);
        self.check_leads(request.term, last)?;
        let is_own = after.log.term_at(request.prev_log_index) == Some(request.prev_log_term)
            && after.log.slice(first, request.entries.len()) == request.entries;
        if !is_own {
            return Err(Cause::SentOtherLog {
                server: after.id,
                term: request.term,
                index: last,
            });
        }
        if request.leader_commit > after.commit_index {
            return Err(Cause::SentCommitIndexAhead {
                server: after.id,
                index: request.leader_commit,
                commit_index: after.commit_index,
            });
        }
        Ok(())
    }

    fn check_leads(&self, term: Term, index: LogIndex) -> Result<(), Cause> {
        let after = &self.after.raft;
        if matches!(after.role, Role::Leader(_)) && after.current_term == term {
            return Ok(());
        }
        Err(Cause::SentOtherLog {
            server: after.id,
            term,
            index,
        })
    }

    /// The disk at the moment when a message could leave: after the write that it waited for, if the step
    /// reports that write as durable, or else the present disk.
    fn disk_at_release(&self, envelope: &Envelope) -> &Durable {
        let mut held = self.before.raft.held.iter();
        let waited = held.find(|held| held.envelope == *envelope && self.is_persisted(held.after));
        let disk = waited.and_then(|held| self.disk_after(held.after));
        disk.unwrap_or(self.disk)
    }

    /// `accept`: the disk is in the term, and has the leader's log up to the index. The leader's log is known
    /// from the received message, or the acknowledgement waited for a write and had this claim.
    fn check_acknowledgement(
        &self,
        term: Term,
        index: LogIndex,
        actions: &mut Vec<AbstractAction>,
    ) -> Result<(), Cause> {
        let after = &self.after.raft;
        if index == LogIndex::ZERO {
            // It acknowledges the empty log.
            return Ok(());
        }
        // An acknowledgement that waited for a write names the log on the disk after this write.
        let before = self.before.raft.held.iter();
        let waited = before.filter(|held| {
            !after.held.contains(held)
                && acknowledged(&held.envelope.message)
                    .is_some_and(|(waited_in, waited)| waited_in == term && waited >= index)
        });
        let mut disks = waited.filter_map(|held| self.disk_after(held.after));
        let found = disks.find_map(|disk| {
            let image = Image::new(disk, []);
            let is_named =
                image.hard_state().current_term == term && image.last_id().index >= index;
            is_named.then(|| image.term_at(index).unwrap_or_default())
        });
        let image = Image::new(self.disk, []);
        let is_leaders = || {
            image.hard_state().current_term == term
                && self.incoming.vouches(term, &after.log) >= index
                && self.is_durable(index)
        };
        let found =
            found.or_else(|| is_leaders().then(|| image.term_at(index).unwrap_or_default()));
        let Some(entry_term) = found else {
            return Err(Cause::AcknowledgedOtherLog {
                server: after.id,
                term,
                index,
            });
        };
        let log = EntryId {
            term: entry_term,
            index,
        };
        actions.push(AbstractAction::Accept {
            server: after.id,
            term,
            log,
        });
        Ok(())
    }
}
