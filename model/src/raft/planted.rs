//! The parts of planted bugs that would interrupt the rules that they break. The switches are at the
//! rules; this module exists in checker builds only.

use super::*;
use crate::{AppendEntriesResponse, EntryId, TimeoutNowRequest, mutant::planted, store::Answer};

impl Raft {
    /// The last committed entry, in place of the last entry of the log.
    pub(super) fn committed_id(&self) -> EntryId {
        let index = self.commit_index;
        let term = self.log.term_at(index).unwrap_or_default();
        EntryId { term, index }
    }

    /// The votes of the candidacy that ends, if the bug that counts them again is planted.
    pub(super) fn votes_of_earlier_election(&mut self) -> BTreeSet<NodeId> {
        let mut votes = match &mut self.role {
            Role::Candidate(candidate) if planted!(self.config, VotesSurviveNextElection) => {
                core::mem::take(&mut candidate.votes)
            }
            _ => BTreeSet::new(),
        };
        votes.remove(&self.id);
        votes
    }

    /// Obeys TimeoutNow with one of the planted bugs. Returns whether one is planted.
    pub(super) fn obey_planted_transfer(
        &mut self,
        from: NodeId,
        request: &TimeoutNowRequest,
        buffer: &mut StepBuffer,
    ) -> bool {
        let obeys = request.term == self.current_term && matches!(self.role, Role::Follower { .. });
        if !obeys {
            return false;
        }
        if planted!(self.config, TransferTargetLeadsAtOnce) {
            self.current_term = self.current_term.next();
            self.voted_for = Some(self.id);
            buffer.hard_state = true;
            self.become_leader(buffer);
            return true;
        }
        if planted!(self.config, TransferKeepsTerm) {
            self.current_term = Term::new(self.current_term.get() - 1);
            self.become_candidate(true, buffer);
            return true;
        }
        if planted!(self.config, TransferCountsLeadersVote) {
            self.become_candidate(true, buffer);
            if let Role::Candidate(candidate) = &mut self.role {
                candidate.votes.insert(from);
            }
            return true;
        }
        false
    }

    /// Answers the requests of a leader that steps down as if it still led.
    pub(super) fn answer_requests_of_lost_leadership(&mut self, buffer: &mut StepBuffer) {
        let is_planted = planted!(self.config, DeposedLeaderAnswersReads)
            || planted!(self.config, DeposedLeaderAnswersWrites);
        if !is_planted {
            return;
        }
        let answers = self.future_answers(self.log.last_index());
        let Role::Leader(old) = &mut self.role else {
            return;
        };
        if planted!(self.config, DeposedLeaderAnswersReads) {
            for read in old.reads.drain(..) {
                let found = self.store.query(&read.query, &self.config);
                buffer.respond(read.waiter, ResponseBody::Found(found));
            }
        }
        if planted!(self.config, DeposedLeaderAnswersWrites) {
            for (index, answer) in answers {
                if let Some(waiter) = old.writes.remove(&index) {
                    buffer.respond(waiter, ResponseBody::Applied(answer));
                }
            }
        }
    }

    /// Answers the writes whose entries are durable on the leader's own disk.
    pub(super) fn answer_durable_writes(&mut self, buffer: &mut StepBuffer) {
        if !planted!(self.config, AnsweredWhenDurableOnLeader) {
            return;
        }
        let answers = self.future_answers(self.durable_index);
        if let Role::Leader(leader) = &mut self.role {
            for (index, answer) in answers {
                if let Some(waiter) = leader.writes.remove(&index) {
                    buffer.respond(waiter, ResponseBody::Applied(answer));
                }
            }
        }
    }

    /// The answers that the uncommitted entries up to `last` would receive.
    fn future_answers(&self, last: LogIndex) -> Vec<(LogIndex, Answer)> {
        let first = self.commit_index.next();
        let count = last.get().saturating_sub(self.commit_index.get());
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut store = self.store.clone();
        let entries = self.log.slice(first, count).iter();
        let answers = entries.map(|entry| {
            let answer = store.apply(&entry.payload, &self.config);
            (store.last_applied(), answer)
        });
        answers.collect()
    }

    /// Takes the read round of an acknowledgement of an older term for one of this leadership.
    pub(super) fn confirm_with_older_round(
        &mut self,
        from: NodeId,
        response: &AppendEntriesResponse,
        buffer: &mut StepBuffer,
    ) {
        if !planted!(self.config, StaleAcknowledgementConfirmsReads)
            || response.term >= self.current_term
        {
            return;
        }
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.followers.get_mut(&from)
        {
            let round = response.read_round.min(leader.read_round);
            progress.read_round = progress.read_round.max(round);
            self.serve_reads(buffer);
        }
    }

    /// Credits the acknowledgement of one follower to all of them.
    pub(super) fn credit_to_every_follower(
        &mut self,
        match_index: LogIndex,
        buffer: &mut StepBuffer,
    ) {
        if planted!(self.config, AckCreditedToEveryFollower) {
            for id in self.others().collect::<Vec<_>>() {
                self.note_match(id, match_index, buffer);
            }
        }
    }
}
