//! Leader election, terms and votes: Raft §5.1, §5.2, §5.4.1.

use super::*;
use crate::{EntryId, RequestVoteRequest, mutant::planted};

impl Raft {
    /// Starts an election after the election timeout, on followers and candidates (§5.2).
    pub(super) fn election_timeout(&mut self, buffer: &mut StepBuffer) {
        match self.role {
            Role::Leader(_) => {}
            // No majority of its voters includes this server.
            _ if !self.is_voter() => {}
            // Only forged messages can raise the term this far.
            _ if self.current_term == Term::LAST => {}
            Role::Candidate(_) if planted!(self.config, SplitVoteNeverRetried) => {}
            // The candidate's own vote is not durable yet, so no vote request has left: a slow disk
            // is no split vote.
            Role::Candidate(ref candidate) if !candidate.votes.contains(&self.id) => {
                buffer.arm(Timer::Election);
            }
            _ if self.config.pre_vote => self.become_pre_candidate(buffer),
            _ => self.become_candidate(buffer),
        }
    }

    /// Starts an election (§5.2): increments the term, votes for itself and requests votes from all
    /// other servers.
    pub(super) fn become_candidate(&mut self, buffer: &mut StepBuffer) {
        self.current_term = self.current_term.next();
        self.voted_for = if planted!(self.config, CandidateForgetsOwnVote) {
            None
        } else {
            Some(self.id)
        };
        buffer.hard_state = true;
        buffer.arm(Timer::Election);
        self.role = Role::Candidate(Candidate {
            // The candidate's own vote counts like any other: once it is durable (`persisted`).
            votes: BTreeSet::new(),
            vote_write: self.last_write.next(),
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
            return;
        };
        let is_repeated = candidate.vote_write <= self.last_write;
        if is_repeated && planted!(self.config, VoteRequestsNotRepeated) {
            return;
        }
        let last = self.log.last_id();
        let request = Message::RequestVoteRequest(RequestVoteRequest {
            term: self.current_term,
            last_log_index: last.index,
            last_log_term: last.term,
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

    /// The vote (Figure 2, RequestVote receiver implementation; §5.2, §5.4.1): grants or refuses it.
    pub(super) fn handle_request_vote_request(
        &mut self,
        from: NodeId,
        request: &RequestVoteRequest,
        buffer: &mut StepBuffer,
    ) {
        if request.term > self.current_term && self.sticks_against(from) {
            // Thesis §4.2.3: the request is dropped, as if the network had lost it. A request of the current
            // or an older term still gets a response.
            return;
        }
        self.observe_term(request.term, buffer);
        let up_to_date = self.is_up_to_date(EntryId {
            term: request.last_log_term,
            index: request.last_log_index,
        });
        // §5.2: at most one vote per term, first come, first served. A retransmitted request from
        // the same candidate gets the same response, because the first response may be lost.
        let free = match self.voted_for {
            None => true,
            Some(_) if planted!(self.config, VotesTwiceInATerm) => true,
            Some(_) if planted!(self.config, RepeatedVoteRefused) => false,
            Some(candidate) => candidate == from,
        };
        let current = request.term == self.current_term;
        let vote_granted = if !current && planted!(self.config, VotesInAnOlderTerm) {
            true
        } else {
            current && free && up_to_date && !self.leads()
        };
        if vote_granted {
            if self.voted_for != Some(from) {
                self.voted_for = Some(from);
                buffer.hard_state = !planted!(self.config, VoteNotPersisted);
            }
            buffer.arm(Timer::Election);
        }
        let term = if planted!(self.config, VotesInAnOlderTerm) {
            request.term
        } else {
            self.current_term
        };
        let response = Message::RequestVoteResponse(RequestVoteResponse { term, vote_granted });
        if planted!(self.config, VoteSentBeforeDurable) {
            buffer.send(from, response);
        } else {
            buffer.send_after_term(from, response);
        }
    }

    /// §5.4.1: a server grants its vote only to a candidate whose log is at least as up-to-date as
    /// its own. A leader therefore holds every committed entry: the majority that committed it and
    /// the majority that votes share a server, and that server refuses its vote otherwise.
    pub(super) fn is_up_to_date(&self, last: EntryId) -> bool {
        match self.log.last_id() {
            _ if planted!(self.config, VotesWithoutComparingLogs) => true,
            own if planted!(self.config, ComparesLogsByLength) => last.index >= own.index,
            own => last >= own,
        }
    }

    /// Collects a vote (§5.2).
    pub(super) fn handle_request_vote_response(
        &mut self,
        from: NodeId,
        response: &RequestVoteResponse,
        buffer: &mut StepBuffer,
    ) {
        self.observe_term(response.term, buffer);
        // A vote counts only in the election it was cast in.
        if response.term < self.current_term && !planted!(self.config, CountsStaleVotes) {
            return;
        }
        let Role::Candidate(candidate) = &mut self.role else {
            return;
        };
        if response.vote_granted {
            // A set, because the same vote may arrive twice.
            let _new = candidate.votes.insert(from);
            #[cfg(feature = "mutants")]
            if !_new && planted!(self.config, CountsRepeatedVotes) {
                candidate.repeated_votes += 1;
            }
            self.count_votes(buffer);
        }
    }

    /// Counts the candidate's own vote once it is durable.
    pub(super) fn count_own_vote(&mut self, durable: WriteId, buffer: &mut StepBuffer) {
        if let Role::Candidate(candidate) = &mut self.role
            && candidate.vote_write <= durable
            && candidate.votes.insert(self.id)
        {
            self.count_votes(buffer);
        }
    }

    /// A candidate with the votes of a majority becomes leader (§5.2).
    pub(super) fn count_votes(&mut self, buffer: &mut StepBuffer) {
        let Role::Candidate(candidate) = &self.role else {
            return;
        };
        #[cfg(feature = "mutants")]
        let repeated = candidate.repeated_votes;
        #[cfg(not(feature = "mutants"))]
        let repeated = 0;
        if candidate.votes.len() + repeated >= self.config.majority() {
            self.become_leader(buffer);
        }
    }

    /// Whether this server is the leader. A leader has voted for itself, so `voted_for` implies
    /// this test unless a planted bug changes it.
    pub(super) fn leads(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }
}
