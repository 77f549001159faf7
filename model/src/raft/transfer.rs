//! Leadership transfer (thesis §3.10): a leader hands its leadership over to a server of the driver's
//! choice, for example before it is stopped.
//!
//! The leader stops accepting client requests and brings the target's log up to date. Then it sends
//! TimeoutNow, and the target starts an election at once, without PreVote. A flag in its RequestVote
//! overrides the leader stickiness of the voters. The target is an ordinary candidate in a new term:
//! safety depends on the vote alone.
//!
//! The leader sends TimeoutNow only once it has no pending request: every entry is committed, and every
//! read is answered. So a transfer leaves no client with an unknown outcome.
//!
//! A transfer that fails ends by itself. The leader arms its election timer, and accepts requests again
//! when that timer fires. (The thesis and etcd wait for an election timeout, too.)

use super::*;
use crate::{
    TimeoutNowRequest,
    message::{NotTransferred, ResponseBody},
    mutant::planted,
};

impl Raft {
    /// Starts a leadership transfer.
    pub(super) fn transfer_leadership(&mut self, target: NodeId, buffer: &mut StepBuffer) {
        // Executed by the test `paper::transfer::transfer_needs_a_leader_and_another_voter`.
        if !self.may_transfer_to(target) {
            return;
        }
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("only a leader may transfer");
        };
        leader.transfer = Some(Transfer {
            target,
            is_requested: false,
        });
        buffer.arm(Timer::Election);
    }

    /// Whether this server leads, has no transfer in progress, and the target is another voter.
    pub fn may_transfer_to(&self, target: NodeId) -> bool {
        match &self.role {
            Role::Leader(leader) => {
                leader.transfer.is_none() && leader.followers.contains_key(&target)
            }
            // Executed by the test `paper::transfer::transfer_needs_a_leader_and_another_voter`.
            _ => false,
        }
    }

    /// The answer to a request that asks for a leadership transfer. It starts none: the driver did, or could
    /// not.
    // Executed by the test `clients::transfers::answer_names_the_leader`.
    pub(super) fn transfer_answer(&self, target: NodeId) -> ResponseBody {
        let hint = match &self.role {
            Role::Leader(_) if target == self.id => return ResponseBody::Leads,
            Role::Leader(leader) => match leader.transfer {
                Some(transfer) => Some(transfer.target),
                None if self.config.voters.contains(&target) => {
                    return ResponseBody::NotTransferred(NotTransferred::Aborted);
                }
                None => return ResponseBody::NotTransferred(NotTransferred::NoVoter),
            },
            Role::Follower { leader, .. } => *leader,
            Role::PreCandidate { .. } | Role::Candidate(_) => None,
        };
        ResponseBody::NotLeader { hint }
    }

    /// Sends TimeoutNow once the target has the whole log durably and no request is pending. Called after
    /// every event, because many change one of these conditions.
    pub(super) fn advance_transfer(&mut self, buffer: &mut StepBuffer) {
        let last_index = self.log.last_index();
        let is_idle = self.commit_index == last_index;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let Some(transfer) = &mut leader.transfer else {
            return;
        };
        if transfer.is_requested {
            return;
        }
        let progress = leader.followers.get(&transfer.target);
        let is_complete = progress.is_some_and(|progress| progress.match_index == last_index)
            || planted!(self.config, TransfersToLaggingServer);
        if is_complete && is_idle && leader.reads.is_empty() {
            transfer.is_requested = true;
            self.request_timeout_now(buffer);
        }
    }

    /// Sends TimeoutNow, or repeats it.
    pub(super) fn request_timeout_now(&mut self, buffer: &mut StepBuffer) {
        if let Role::Leader(leader) = &self.role
            && let Some(transfer) = leader.transfer
            && transfer.is_requested
        {
            let term = self.current_term;
            let request = Message::TimeoutNowRequest(TimeoutNowRequest { term });
            buffer.send(transfer.target, request);
        }
    }

    /// Starts an election because the leader of this term requests it. No pre-vote is needed: the leader
    /// has given permission, and the log is up to date.
    pub(super) fn handle_timeout_now_request(
        &mut self,
        request: &TimeoutNowRequest,
        buffer: &mut StepBuffer,
    ) {
        // A leader sends TimeoutNow only to a server that acknowledged an entry in the leader's term. A
        // server in a newer term received a delayed message.
        if request.term != self.current_term || !self.is_voter() {
            return;
        }
        match self.role {
            Role::Follower { .. } | Role::PreCandidate { .. } => {
                self.become_candidate(true, buffer);
            }
            // It acknowledged the leader's entries as a follower, and has campaigned in no newer term since.
            // A forged message, executed by the test `step::ignored::timeout_now_concerns_followers`.
            Role::Candidate(_) | Role::Leader(_) => {}
        }
    }
}
