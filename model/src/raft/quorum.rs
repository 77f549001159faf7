//! PreVote (thesis §9.6), CheckQuorum (a leader steps down without a majority, §6.2) and leader
//! stickiness (a server that has a leader refuses its vote, §4.2.3) keep elections rare.
//!
//! Safety does not depend on them. PreVote delays a candidacy that could have begun at once.
//! Stickiness ignores a request that could have been lost. A leader that steps down commits
//! nothing, exactly like a leader that is cut off. They add stability. A server that returns from a
//! partition cannot have raised its term in the meantime, and a leader that no majority can reach
//! makes way for a leader that a majority can reach.
//!
//! The three must not deadlock each other. Therefore:
//! * a server that refuses a pre-vote responds with its term, however old the term of the
//!   pre-candidate is;
//! * stickiness never holds back a refusal for an old term: a leader whose follower is in a newer
//!   term steps down, and the next election has a term above both;
//! * stickiness ends with the quorum timer, with the follower's own candidacy and with its term. It
//!   never applies to the leader itself: a leader that campaigns has stepped down.

use super::*;
use crate::{EntryId, PreVoteRequest, PreVoteResponse, mutant::planted};

impl Raft {
    /// CheckQuorum (thesis §6.2): a leader steps down unless a majority responded since the last
    /// quorum timeout. A follower no longer sticks to its silent leader.
    pub(super) fn quorum_timeout(&mut self, buffer: &mut StepBuffer) {
        if !self.config.check_quorum {
            // No timer was armed. Executed by the test
            // `step::ignored::quorum_timer_without_check_quorum_changes_nothing`.
            return;
        }
        let majority = self.config.majority();
        let itself = usize::from(self.is_voter());
        match &mut self.role {
            Role::Follower {
                recently_active, ..
            } => *recently_active = false,
            // Executed by the test `step::ignored::timer_of_another_role_changes_nothing`.
            Role::PreCandidate { .. } | Role::Candidate(_) => {}
            Role::Leader(_) if planted!(self.config, LeaderNeverChecksQuorum) => {
                buffer.arm(Timer::Quorum);
            }
            Role::Leader(leader) if itself + leader.recently_active.len() >= majority => {
                if !planted!(self.config, QuorumContactNeverExpires) {
                    leader.recently_active.clear();
                }
                buffer.arm(Timer::Quorum);
            }
            Role::Leader(leader)
                if !leader.reads.is_empty() && planted!(self.config, PendingReadKeepsLeader) =>
            {
                buffer.arm(Timer::Quorum);
            }
            // A server that can reach a majority may now become leader.
            Role::Leader(_) => self.become_follower(self.current_term, None, buffer),
        }
    }

    /// Notes that a message of the current leader arrived, and rearms the election timer.
    pub(super) fn note_leader_contact(&mut self, buffer: &mut StepBuffer) {
        if !planted!(self.config, LeaderNotWaitedFor) {
            buffer.arm(Timer::Election);
        }
        if self.config.check_quorum
            && let Role::Follower {
                recently_active, ..
            } = &mut self.role
        {
            *recently_active = true;
            buffer.arm(Timer::Quorum);
        }
    }

    /// Whether this server must refuse a candidate because of its current leader. The leader's own
    /// candidacy proves that it stepped down (hashicorp/raft grants that vote too).
    pub(crate) fn sticks_against(&self, candidate: NodeId) -> bool {
        let follows_candidate = matches!(
            self.role,
            Role::Follower { leader, .. } if leader == Some(candidate)
        );
        self.sticks_to_leader()
            && (!follows_candidate || planted!(self.config, StepDownNotBelieved))
    }

    /// Whether a majority may be following the leader of this term, as far as this server knows.
    pub(crate) fn sticks_to_leader(&self) -> bool {
        match self.role {
            _ if planted!(self.config, VotesDespiteLiveLeader) => false,
            Role::Follower {
                recently_active, ..
            } => recently_active,
            Role::Leader(_) => self.config.check_quorum,
            Role::PreCandidate { .. } | Role::Candidate(_) => false,
        }
    }

    /// Starts PreVote (thesis §9.6): requests pre-votes without a change of term.
    pub(super) fn become_pre_candidate(&mut self, buffer: &mut StepBuffer) {
        buffer.arm(Timer::Election);
        self.role = Role::PreCandidate {
            votes: [self.id].into(),
        };
        self.request_pre_votes(buffer);
        self.count_pre_votes(buffer);
    }

    /// Sends PreVote to every server that has not granted its pre-vote.
    pub(super) fn request_pre_votes(&mut self, buffer: &mut StepBuffer) {
        let Role::PreCandidate { votes } = &self.role else {
            unreachable!("only a pre-candidate requests pre-votes");
        };
        let last = self.log.last_id();
        let request = Message::PreVoteRequest(PreVoteRequest {
            next_term: self.current_term.next(),
            last_log_index: last.index,
            last_log_term: last.term,
        });
        for id in self.others() {
            if !votes.contains(&id) {
                buffer.send_after_term(id, request.clone());
            }
        }
    }

    /// Responds as it would to a candidate, but changes neither its term nor its vote.
    pub(super) fn handle_pre_vote_request(
        &mut self,
        from: NodeId,
        request: &PreVoteRequest,
        buffer: &mut StepBuffer,
    ) {
        let newer = request.next_term > self.current_term;
        if !newer && planted!(self.config, StalePreVoteDropped) {
            return;
        }
        let up_to_date = self.is_up_to_date(EntryId {
            term: request.last_log_term,
            index: request.last_log_index,
        });
        let response = PreVoteResponse {
            term: self.current_term,
            next_term: request.next_term,
            vote_granted: newer
                && up_to_date
                && !self.sticks_against(from)
                && !self.leads()
                && !(matches!(self.role, Role::PreCandidate { .. })
                    && planted!(self.config, PreCandidateRefusesOthers)),
        };
        if response.vote_granted && planted!(self.config, PreVoteRecordedAsVote) {
            self.voted_for = Some(from);
            buffer.hard_state = true;
        }
        if planted!(self.config, PreVoteRaisesTerm) {
            self.observe_term(request.next_term, buffer);
        }
        buffer.send_after_term(from, Message::PreVoteResponse(response));
    }

    /// Collects a pre-vote. A response with a newer term turns the pre-candidate into a follower.
    pub(super) fn handle_pre_vote_response(
        &mut self,
        from: NodeId,
        response: &PreVoteResponse,
        buffer: &mut StepBuffer,
    ) {
        if !planted!(self.config, RefusedPreCandidateKeepsTerm) {
            self.observe_term(response.term, buffer);
        }
        if !response.vote_granted {
            return;
        }
        #[cfg(feature = "mutants")]
        if planted!(self.config, PreVoteCountedAsVote)
            && response.next_term == self.current_term
            && let Role::Candidate(candidate) = &mut self.role
        {
            candidate.votes.insert(from);
            self.count_votes(buffer);
            return;
        }
        // No server is a pre-candidate in the last term, so a next term exists.
        if let Role::PreCandidate { votes } = &mut self.role
            && response.next_term == self.current_term.next()
        {
            votes.insert(from);
            self.count_pre_votes(buffer);
        }
    }

    /// A pre-candidate with the pre-votes of a majority becomes a candidate.
    fn count_pre_votes(&mut self, buffer: &mut StepBuffer) {
        if let Role::PreCandidate { votes } = &self.role
            && votes.len() >= self.config.majority()
        {
            self.become_candidate(false, buffer);
        }
    }
}
