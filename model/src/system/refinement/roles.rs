//! Candidates and leaders.

use super::{AbstractAction, Image, Incoming, RaftStep};
use crate::{
    EntryId, LogIndex, NodeId, Role, Term,
    raft::{Candidate, Leader},
    system::properties::Cause,
};
use alloc::{collections::BTreeSet, vec::Vec};

impl RaftStep<'_> {
    /// Checks the claims of a candidate and of a leader. The other roles have none.
    pub(super) fn check_role(&self, actions: &mut Vec<AbstractAction>) -> Result<(), Cause> {
        match &self.after.raft.role {
            Role::Follower { .. } | Role::PreCandidate { .. } => Ok(()),
            Role::Candidate(candidate) => self.check_candidate(candidate),
            Role::Leader(leader) => self.check_leader(leader, actions),
        }
    }

    /// A candidate claims, once its own vote is durable, that it stands with its log in memory and was not
    /// elected in its term. It claims each vote that it counts.
    fn check_candidate(&self, candidate: &Candidate) -> Result<(), Cause> {
        let (before, after) = (&self.before.raft, &self.after.raft);
        let (server, term) = (after.id, after.current_term);
        // In a term that its disk has or will have, the server may have been a candidate before, with
        // another log, or even the leader.
        let pending = || Image::new(self.disk, &self.before.unsynced).hard_state();
        let is_late = self.candidacy().is_none() && pending().current_term >= term;
        if is_late || after.log.last_id() != before.log.last_id() {
            return Err(Cause::BecameCandidateTwice { server, term });
        }
        let known = self.known_votes();
        let unknown = candidate.votes.difference(&known).next();
        unknown.map_or(Ok(()), |other| {
            Err(Cause::CountedMissingVote {
                server,
                other: *other,
                term,
            })
        })
    }

    /// The role before the step, if the server was a candidate of the present term with the present log.
    /// A candidate that wins appends entries to it.
    fn candidacy(&self) -> Option<&Candidate> {
        let (before, after) = (&self.before.raft, &self.after.raft);
        match &before.role {
            Role::Candidate(candidate)
                if before.current_term == after.current_term
                    && after.log.continues(&before.log) =>
            {
                Some(candidate)
            }
            _ => None,
        }
    }

    /// The votes that the candidate may count: those that it counted before, that of the received message, and
    /// its own vote if it is durable.
    fn known_votes(&self) -> BTreeSet<NodeId> {
        let after = &self.after.raft;
        let mut known = self
            .candidacy()
            .map_or_else(BTreeSet::new, |candidate| candidate.votes.clone());
        if let Incoming::Vote { from, term } = self.incoming
            && *term == after.current_term
        {
            known.insert(*from);
        }
        if self.has_own_vote(after.current_term) {
            known.insert(after.id);
        }
        known
    }

    /// Whether the server's vote for itself is durable.
    pub(super) fn has_own_vote(&self, term: Term) -> bool {
        let held = self.disk.hard_state;
        held.current_term == term && held.voted_for == Some(self.after.raft.id)
    }

    /// A leader claims that it was elected, that its log is the leader's log, and each `match_index`.
    fn check_leader(
        &self,
        leader: &Leader,
        actions: &mut Vec<AbstractAction>,
    ) -> Result<(), Cause> {
        let (before, after) = (&self.before.raft, &self.after.raft);
        let (server, term) = (after.id, after.current_term);
        let led = match &before.role {
            Role::Leader(led) if before.current_term == term => Some(led),
            _ => None,
        };
        if led.is_none() {
            self.check_election(actions)?;
        }
        self.check_appended(actions)?;
        for (follower, progress) in &leader.followers {
            let known = led.and_then(|led| led.followers.get(follower));
            let known = known.map_or(LogIndex::ZERO, |known| known.match_index);
            let index = progress.match_index;
            let is_received = matches!(self.incoming, Incoming::Acknowledgement {
                from, term: acknowledged_in, index: acknowledged,
            } if from == follower && *acknowledged_in == term && *acknowledged >= index);
            if index > known && !is_received {
                return Err(Cause::MatchedWithoutAcknowledgement {
                    server,
                    other: *follower,
                    term,
                    index,
                });
            }
        }
        Ok(())
    }

    /// `elect`: the server stands, was not elected yet, and has the votes of a majority. The majority follows
    /// from the number of servers, so that a wrong majority in the core is a failure.
    fn check_election(&self, actions: &mut Vec<AbstractAction>) -> Result<(), Cause> {
        let (before, after) = (&self.before.raft, &self.after.raft);
        let (server, term) = (after.id, after.current_term);
        if self.candidacy().is_none() || !self.has_own_vote(term) {
            return Err(Cause::LedWithoutCandidacy { server, term });
        }
        let mut quorum = self.known_votes();
        quorum.retain(|voter| after.config.voters.contains(voter));
        let voters = after.config.voters.len();
        if 2 * quorum.len() <= voters {
            return Err(Cause::ElectedWithoutMajority {
                server,
                term,
                votes: quorum.len() as u64,
                voters: voters as u64,
            });
        }
        actions.push(AbstractAction::Elect {
            leader: server,
            term,
            log: before.log.last_id(),
            quorum,
        });
        Ok(())
    }

    /// `client-request`, for each new entry of the leader's log.
    fn check_appended(&self, actions: &mut Vec<AbstractAction>) -> Result<(), Cause> {
        let (before, after) = (&self.before.raft, &self.after.raft);
        let (server, term) = (after.id, after.current_term);
        if !after.log.continues(&before.log) {
            return Err(Cause::LeaderChangedLog { server, term });
        }
        let mut log = before.log.last_id();
        for entry in after.log.slice(log.index.next(), usize::MAX) {
            let longer = EntryId {
                term: entry.term,
                index: log.index.next(),
            };
            if entry.term != term {
                return Err(Cause::AppendedOtherTerm {
                    server,
                    term,
                    index: longer.index,
                    entry_term: entry.term,
                });
            }
            actions.push(AbstractAction::ClientRequest {
                leader: server,
                term,
                log,
                longer,
            });
            log = longer;
        }
        Ok(())
    }
}
