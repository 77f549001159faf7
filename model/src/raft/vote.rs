//! The vote (Raft §5.2, §5.4.1; Figure 2): a server grants it to a candidate, and the candidate counts
//! it.

use super::*;
use crate::{EntryId, RequestVoteRequest, mutant::planted};

impl Raft {
    /// Grants or refuses the vote (Figure 2, RequestVote receiver implementation; §5.2, §5.4.1).
    pub(super) fn handle_request_vote_request(
        &mut self,
        from: NodeId,
        request: &RequestVoteRequest,
        buffer: &mut StepBuffer,
    ) {
        let permitted = request.leadership_transfer;
        if request.term > self.current_term && self.sticks_against(from) && !permitted {
            // Thesis §4.2.3: the request is dropped, as if the network had lost it. A request of the current
            // or an older term still gets a response, and so does the target of a leadership transfer.
            return;
        }
        self.observe_term(request.term, buffer);
        let up_to_date = self.is_up_to_date(EntryId {
            term: request.last_log_term,
            index: request.last_log_index,
        });
        let up_to_date = up_to_date || (permitted && planted!(self.config, TransferVoteSkipsLog));
        // §5.2: at most one vote per term, first come, first served. A retransmitted request from
        // the same candidate gets the same response, because the first response may be lost.
        let free = match self.voted_for {
            None => true,
            Some(_) if planted!(self.config, VotesTwiceInATerm) => true,
            Some(_) if permitted && planted!(self.config, TransferVoteGivenTwice) => true,
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
        let refuses_early = planted!(self.config, RefusedBeforeTermIsDurable) && !vote_granted;
        if planted!(self.config, VoteSentBeforeDurable) || refuses_early {
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
            own if planted!(self.config, ComparesLogsByTerm) => last.term >= own.term,
            #[cfg(feature = "mutants")]
            _ if planted!(self.config, ComparesWithCommittedLog) => last >= self.committed_id(),
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
        if response.vote_granted || planted!(self.config, CountsRefusalsAsVotes) {
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
            unreachable!("only a candidate counts votes");
        };
        #[cfg(feature = "mutants")]
        let repeated = candidate.repeated_votes;
        #[cfg(not(feature = "mutants"))]
        let repeated = 0;
        if candidate.votes.len() + repeated >= self.config.majority() {
            self.become_leader(buffer);
        }
    }
}
