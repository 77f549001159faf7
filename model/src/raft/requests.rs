//! What clients ask: writes through the log (thesis §6.3), linearizable reads beside it (§6.4).

use super::*;
use crate::{
    Payload,
    message::RequestBody,
    mutant::planted,
    store::{Command, Write},
};

impl Raft {
    /// Requests that arrived together share one write, one read round and one round of messages:
    /// what a cluster does for each of them is then little more than to carry it.
    pub(super) fn handle_client_requests(
        &mut self,
        requests: Vec<(Address, ClientRequest)>,
        turn: &mut Turn,
    ) {
        let requests = requests.into_iter().map(|(address, request)| {
            let waiter = Waiter {
                address,
                client: request.client,
                id: request.id,
            };
            (waiter, request.body)
        });
        let hint = match self.role {
            Role::Leader(_) => {
                let mut reads = Vec::new();
                for (waiter, body) in requests {
                    match self.command_of(body) {
                        Ok(command) => self.propose(waiter, command, turn),
                        Err(query) => reads.push((waiter, query)),
                    }
                }
                if reads.is_empty() {
                    self.replicate(turn);
                } else {
                    self.begin_reads(reads);
                    self.broadcast(turn);
                }
                self.advance_commit_index(turn);
                self.serve_reads(turn);
                return;
            }
            Role::Follower { leader, .. } => leader,
            Role::PreCandidate { .. } | Role::Candidate(_) => None,
        };
        for (waiter, _) in requests {
            turn.respond(waiter, ResponseBody::NotLeader { hint });
        }
    }

    /// What goes to the log, or the question that does not.
    fn command_of(&self, body: RequestBody) -> Result<Command, Query> {
        match body {
            RequestBody::Read { query } => Err(query),
            RequestBody::OpenSession => Ok(Command::OpenSession {
                capacity: self.config.max_sessions,
            }),
            RequestBody::Write {
                session,
                sequence,
                acknowledged,
                operation,
            } => Ok(Command::Write(Write {
                session,
                sequence,
                acknowledged,
                operation,
            })),
        }
    }

    /// A repeated request becomes a second entry; the session sees to it that it is applied once.
    fn propose(&mut self, waiter: Waiter, command: Command, turn: &mut Turn) {
        let index = self.append_as_leader(Payload::Command(command), turn);
        if let Role::Leader(leader) = &mut self.role {
            leader.writes.insert(index, waiter);
        }
    }

    /// Thesis §6.4. The read waits for two things: that this leader has applied all that was
    /// committed when the read arrived, and that a majority answered a message sent after that,
    /// so that no later leader can have committed anything before.
    fn begin_reads(&mut self, reads: Vec<(Waiter, Query)>) {
        let commit_index = self.commit_index;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        // Until its own no-op is committed a leader does not know what earlier leaders committed;
        // everything they did lies before that no-op.
        let read_index = if planted!(self.config, ReadBeforeCommitInTerm) {
            commit_index
        } else {
            commit_index.max(leader.first_index)
        };
        // A round of its own: what a follower answered before the read arrived may be older than a
        // write of the next leader.
        leader.read_round += 1;
        let round = if planted!(self.config, ReadJoinsEarlierRound) {
            leader.read_round.max(2) - 1
        } else {
            leader.read_round
        };
        let reads = reads.into_iter().map(|(waiter, query)| PendingRead {
            waiter,
            query,
            read_index,
            round,
        });
        leader.reads.extend(reads);
    }

    /// Answers the reads that waited long enough.
    pub(super) fn serve_reads(&mut self, turn: &mut Turn) {
        let majority = self.config.majority();
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
        let (commit_index, store) = (self.commit_index, &self.store);
        reads.retain(|read| {
            let confirmed = 1 + followers
                .values()
                .filter(|progress| {
                    progress.read_round >= read.round
                        || (unbound && progress.match_index > LogIndex::ZERO)
                })
                .count();
            let ready = (confirmed >= majority || unconfirmed)
                && (commit_index >= read.read_index || unapplied);
            if ready {
                turn.respond(read.waiter, ResponseBody::Found(store.query(&read.query)));
            }
            !ready
        });
    }
}
