//! What clients ask: writes through the log (thesis §6.3), linearizable reads beside it (§6.4).

use super::*;
use crate::{
    Payload,
    message::RequestBody,
    mutant::planted,
    store::{Command, Write},
};

impl Raft {
    pub(super) fn handle_client_request(
        &mut self,
        from: Address,
        request: ClientRequest,
        turn: &mut Turn,
    ) {
        let waiter = Waiter {
            address: from,
            client: request.client,
            id: request.id,
        };
        if let Role::Follower { .. } | Role::Candidate(_) = self.role {
            let hint = match self.role {
                Role::Follower { leader } => leader,
                _ => None,
            };
            turn.respond(waiter, ResponseBody::NotLeader { hint });
            return;
        }
        match request.body {
            RequestBody::Read { query } => self.begin_read(waiter, query, turn),
            RequestBody::OpenSession => {
                let capacity = self.config.max_sessions;
                self.propose(waiter, Command::OpenSession { capacity }, turn);
            }
            RequestBody::Write {
                session,
                sequence,
                acknowledged,
                operation,
            } => {
                let write = Write {
                    session,
                    sequence,
                    acknowledged,
                    operation,
                };
                self.propose(waiter, Command::Write(write), turn);
            }
        }
    }

    /// A repeated request becomes a second entry; the session sees to it that it is applied once.
    fn propose(&mut self, waiter: Waiter, command: Command, turn: &mut Turn) {
        let index = self.append_as_leader(Payload::Command(command), turn);
        if let Role::Leader(leader) = &mut self.role {
            leader.writes.insert(index, waiter);
        }
        self.broadcast(turn);
        self.advance_commit_index(turn);
    }

    /// Thesis §6.4. The read waits for two things: that this leader has applied all that was
    /// committed when the read arrived, and that a majority answered a message sent after that,
    /// so that no later leader can have committed anything before.
    fn begin_read(&mut self, waiter: Waiter, query: Query, turn: &mut Turn) {
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
        leader.read_round += 1;
        leader.reads.push(PendingRead {
            waiter,
            query,
            read_index,
            round: leader.read_round,
        });
        self.broadcast(turn);
        self.serve_reads(turn);
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
