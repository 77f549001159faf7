//! Client requests: writes through the log (thesis §6.3), linearizable reads beside the log
//! (ReadIndex, §6.4) and stale reads of the entries applied on this server.

use super::*;
use crate::{
    Payload,
    message::{FoundStale, RequestBody},
    mutant::planted,
    store::{Command, Write},
};

/// A request that only a leader can serve.
enum LeaderRequest {
    /// Goes through the log.
    Command(Command),
    /// Is answered without a log entry.
    Read(Query),
}

impl Raft {
    /// Handles a batch of requests. They share one write, one read round and one round of messages,
    /// so the cluster does little more per request than carry it. Under backpressure a leader appends
    /// nothing.
    pub(super) fn handle_client_requests(
        &mut self,
        requests: Vec<(Address, ClientRequest)>,
        is_under_backpressure: bool,
        buffer: &mut StepBuffer,
    ) {
        let all = requests.len();
        let mut requests = self.serve_stale_reads(requests, buffer);
        // Executed by the test
        // `bounds::leader_under_backpressure_refuses_commands_and_serves_reads`.
        if is_under_backpressure && matches!(self.role, Role::Leader(_)) {
            requests.retain(|(waiter, request)| {
                let is_command = matches!(request, LeaderRequest::Command(_));
                if is_command {
                    buffer.respond(*waiter, ResponseBody::Overloaded);
                }
                !is_command
            });
        }
        // Stale reads and refused requests involve no other server and change nothing on this
        // server. Executed by the test `clients::reads::stale_read_is_answered_by_any_server_alone`.
        if requests.is_empty() && all > 0 {
            return;
        }
        let hint = match self.role {
            // Requests would delay the transfer. The target will lead next.
            Role::Leader(Leader {
                transfer: Some(transfer),
                ..
            }) if !planted!(self.config, WritesAcceptedDuringTransfer) => Some(transfer.target),
            Role::Leader(_) => {
                let mut reads = Vec::new();
                for (waiter, request) in requests {
                    match request {
                        // Executed by the test
                        // `bounds::leader_refuses_writes_beyond_its_bound_of_entries`.
                        LeaderRequest::Command(_) if self.has_too_many_writes() => {
                            buffer.respond(waiter, ResponseBody::Overloaded);
                        }
                        // Executed by the test `bounds::leader_refuses_reads_that_nobody_confirms`.
                        LeaderRequest::Read(_) if self.has_too_many_reads(reads.len()) => {
                            buffer.respond(waiter, ResponseBody::Overloaded);
                        }
                        LeaderRequest::Command(command) => self.propose(waiter, command, buffer),
                        LeaderRequest::Read(query) => reads.push((waiter, query)),
                    }
                }
                if reads.is_empty() {
                    self.replicate(buffer);
                } else {
                    self.begin_reads(reads);
                    self.broadcast(buffer);
                }
                self.advance_commit_index(buffer);
                self.serve_reads(buffer);
                return;
            }
            Role::Follower { leader, .. } => leader,
            Role::PreCandidate { .. } | Role::Candidate(_) => None,
        };
        for (waiter, request) in requests {
            // A read.
            let body = match request {
                LeaderRequest::Read(query) if planted!(self.config, FollowerAnswersReads) => {
                    ResponseBody::Found(self.store.query(&query, &self.config))
                }
                _ => ResponseBody::NotLeader { hint },
            };
            buffer.respond(waiter, body);
        }
    }

    /// Answers stale reads from the applied state in any role, refuses requests that exceed a
    /// limit, and returns the remaining requests.
    ///
    /// Applied entries are committed, so the result reflects a prefix of the log. The prefix may be
    /// short: a server that is cut off or has just started answers from an old or empty prefix, and
    /// the response carries its applied index.
    fn serve_stale_reads(
        &self,
        requests: Vec<(Address, ClientRequest)>,
        buffer: &mut StepBuffer,
    ) -> Vec<(Waiter, LeaderRequest)> {
        let mut rest = Vec::with_capacity(requests.len());
        for (address, request) in requests {
            let waiter = Waiter {
                address,
                client: request.client,
                id: request.id,
            };
            // Executed by the test
            // `clients::reads::request_outside_of_the_limits_is_refused_by_every_server`.
            if let Err(error) = request.body.check_limits() {
                buffer.respond(waiter, ResponseBody::OutsideLimits(error));
                continue;
            }
            let request = match request.body {
                // Executed by the test `clients::reads::stale_read_is_answered_by_any_server_alone`.
                RequestBody::StaleRead { query } => {
                    let found = FoundStale {
                        found: self.store.query(&query, &self.config),
                        applied_index: self.store.last_applied(),
                    };
                    buffer.respond(waiter, ResponseBody::FoundStale(found));
                    continue;
                }
                // Executed by the test `clients::transfers::answer_names_the_leader`.
                RequestBody::TransferLeadership { target } => {
                    buffer.respond(waiter, self.transfer_answer(target));
                    continue;
                }
                RequestBody::Read { query } => LeaderRequest::Read(query),
                RequestBody::OpenSession => LeaderRequest::Command(Command::OpenSession {
                    capacity: self.config.max_sessions,
                    window: self.config.session_window,
                }),
                RequestBody::CloseSession { session } => {
                    LeaderRequest::Command(Command::CloseSession { session })
                }
                // Executed by the test `clients::writes::session_is_renewed_by_the_leader`.
                RequestBody::RenewSession { session } => {
                    LeaderRequest::Command(Command::RenewSession { session })
                }
                RequestBody::Write {
                    session,
                    sequence,
                    acknowledged,
                    operation,
                } => LeaderRequest::Command(Command::from(Write {
                    session,
                    sequence,
                    acknowledged,
                    operation,
                    quota: self.config.state_quota,
                })),
            };
            rest.push((waiter, request));
        }
        rest
    }

    /// Whether the uncommitted entries have reached their limit. Unresponsive followers must not
    /// make a leader grow without bound.
    fn has_too_many_writes(&self) -> bool {
        let Role::Leader(leader) = &self.role else {
            unreachable!("only a leader appends writes");
        };
        let entries = self.log.last_index().get() - self.commit_index.get();
        leader.uncommitted_bytes >= self.config.max_uncommitted_bytes
            || usize::try_from(entries).unwrap_or(usize::MAX) >= self.config.max_uncommitted_entries
    }

    /// Whether the pending reads, with `new` further reads, have reached their limit.
    fn has_too_many_reads(&self, new: usize) -> bool {
        let Role::Leader(leader) = &self.role else {
            unreachable!("only a leader begins reads");
        };
        leader.reads.len() + new >= self.config.max_pending_reads
    }

    /// Appends a command to the log. A retried request becomes a second entry; its session ensures
    /// that it is applied once.
    fn propose(&mut self, waiter: Waiter, command: Command, buffer: &mut StepBuffer) {
        let index = self.append_as_leader(Payload::Command(command), buffer);
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("only a leader appends writes");
        };
        leader.writes.insert(index, waiter);
    }

    /// Begins a read round (ReadIndex, thesis §6.4). A read waits for two conditions: this leader
    /// has applied all entries that were committed when the read arrived, and a majority responded
    /// to a message sent after that, so that no later leader can have committed an entry before.
    fn begin_reads(&mut self, reads: Vec<(Waiter, Query)>) {
        let commit_index = self.commit_index;
        let Role::Leader(leader) = &mut self.role else {
            unreachable!("only a leader begins reads");
        };
        // Until its own no-op is committed, a leader does not know the entries that earlier leaders
        // committed. All of them precede that no-op.
        let read_index = if planted!(self.config, ReadBeforeCommitInTerm) {
            commit_index
        } else {
            commit_index.max(leader.first_index)
        };
        // Each batch needs its own round: a response that a follower sent before the read arrived
        // may be older than a write of the next leader.
        leader.read_round += 1;
        let round = if planted!(self.config, ReadJoinsEarlierRound) {
            leader.read_round.max(2) - 1
        } else {
            leader.read_round
        };
        let pending = reads.into_iter().map(|(waiter, query)| PendingRead {
            waiter,
            query,
            read_index,
            round,
        });
        leader.reads.extend(pending);
    }

    /// Answers the reads whose round is confirmed and whose read index is applied.
    pub(super) fn serve_reads(&mut self, buffer: &mut StepBuffer) {
        let majority = self.config.majority();
        let itself = usize::from(self.is_voter());
        let unbound = planted!(self.config, ReadRoundNotCompared);
        let unconfirmed = planted!(self.config, ReadWithoutConfirmation);
        let unapplied = planted!(self.config, ReadBeforeApplied);
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        if leader.reads.is_empty() {
            return;
        }
        let Leader {
            followers, reads, ..
        } = leader;
        let (commit_index, store, config) = (self.commit_index, &self.store, &self.config);
        reads.retain(|read| {
            let confirmed = itself
                + followers
                    .values()
                    .filter(|progress| {
                        progress.read_round >= read.round
                            || (unbound && progress.match_index > LogIndex::ZERO)
                    })
                    .count();
            let ready = (confirmed >= majority || unconfirmed)
                && (commit_index >= read.read_index || unapplied);
            if ready {
                let found = store.query(&read.query, config);
                buffer.respond(read.waiter, ResponseBody::Found(found));
            }
            !ready
        });
    }
}
