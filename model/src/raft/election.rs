//! Leader election (Raft §5.2): a server whose election timeout elapses becomes a candidate and requests
//! votes. The module `vote` grants and counts them.

use super::*;
use crate::{RequestVoteRequest, mutant::planted};

impl Raft {
    /// Starts an election after the election timeout, on followers and candidates (§5.2). A leader aborts
    /// its leadership transfer.
    pub(super) fn election_timeout(&mut self, buffer: &mut StepBuffer) {
        match self.role {
            // The transfer took too long, so it is aborted.
            Role::Leader(ref mut leader) => leader.transfer = None,
            // No majority of its voters includes this server. Executed by the test
            // `paper::elections::server_outside_its_voters_does_not_campaign`.
            _ if !self.is_voter() => {}
            // Only forged messages can raise the term this far. Executed by the test
            // `step::ignored::server_in_the_last_term_does_not_campaign`.
            _ if self.current_term == Term::LAST => {}
            Role::Candidate(_) if planted!(self.config, SplitVoteNeverRetried) => {}
            // The candidate's own vote is not durable yet, so no vote request has left: a slow disk
            // is no split vote.
            Role::Candidate(ref candidate) if !candidate.votes.contains(&self.id) => {
                buffer.arm(Timer::Election);
            }
            _ if self.config.pre_vote => self.become_pre_candidate(buffer),
            _ => self.become_candidate(false, buffer),
        }
    }

    /// Starts an election (§5.2): increments the term, votes for itself and requests votes from all
    /// other servers. `leadership_transfer` is whether the leader told this server to.
    pub(super) fn become_candidate(&mut self, leadership_transfer: bool, buffer: &mut StepBuffer) {
        if !(planted!(self.config, RetryKeepsTerm) && matches!(self.role, Role::Candidate(_))) {
            self.current_term = self.current_term.next();
        }
        self.voted_for = if planted!(self.config, CandidateForgetsOwnVote) {
            None
        } else {
            Some(self.id)
        };
        buffer.hard_state = !planted!(self.config, CandidacyNotPersisted);
        buffer.arm(Timer::Election);
        #[cfg(feature = "mutants")]
        let kept = self.votes_of_earlier_election();
        #[cfg(not(feature = "mutants"))]
        let kept = BTreeSet::new();
        self.role = Role::Candidate(Candidate {
            // The candidate's own vote counts like any other: once it is durable (`persisted`).
            votes: kept,
            vote_write: self.last_write.next(),
            leadership_transfer,
            #[cfg(feature = "mutants")]
            repeated_votes: 0,
        });
        self.request_votes(buffer);
    }

    /// Sends RequestVote to every server that has not granted its vote. The requests leave after
    /// the candidate's own vote is durable. A candidate that lost its candidacy in a crash could
    /// otherwise run again in the same term with a shorter log, and count the votes that its longer
    /// log earned.
    pub(super) fn request_votes(&mut self, buffer: &mut StepBuffer) {
        let Role::Candidate(candidate) = &self.role else {
            unreachable!("only a candidate requests votes");
        };
        let is_repeated = candidate.vote_write <= self.last_write;
        if is_repeated && planted!(self.config, VoteRequestsNotRepeated) {
            return;
        }
        let last = self.log.last_id();
        #[cfg(feature = "mutants")]
        let last = if planted!(self.config, CandidateReportsCommittedLog) {
            self.committed_id()
        } else {
            last
        };
        let request = Message::RequestVoteRequest(RequestVoteRequest {
            term: self.current_term,
            last_log_index: last.index,
            last_log_term: last.term,
            leadership_transfer: candidate.leadership_transfer,
        });
        for id in self.others() {
            if candidate.votes.contains(&id) {
                continue;
            }
            if planted!(self.config, VotesRequestedBeforeDurable) {
                buffer.send(id, request.clone());
            } else {
                buffer.send_after_term(id, request.clone());
            }
        }
    }

    /// Whether this server is the leader. A leader has voted for itself, so `voted_for` implies
    /// this test unless a planted bug changes it.
    pub(super) fn leads(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }
}
