//! The properties over all servers together, updated step by step.
//!
//! These are the properties that `model::system` checks on whole states (`history` and `properties` there),
//! over the whole history: leaders ever elected, entries ever committed, votes ever cast. Nothing is
//! copied or compared as a whole here: a log prefix is one number, so two logs agree up to an index if
//! their numbers there are equal.
//!
//! A commit by the leader of a term implies that all entries up to its commit index were committed in
//! that term or before. So for Leader Completeness it is sufficient to keep, for each term, the commit
//! index of its leader.

use super::{
    disk::ClusterHistory,
    exactly_once::Evaluations,
    prefixes::{Prefix, Prefixes},
    server::{Led, Server},
};
use model::{
    Address, AppendOutcome, Config, Entry, Envelope, HardState, LogIndex, Message, NodeId, Raft,
    Role, Snapshot, Store, Term,
    system::{Cause, Property, Violation},
};
use std::collections::{BTreeMap, BTreeSet};

/// The history of the cluster so far.
pub(super) struct Cluster {
    prefixes: Prefixes,
    /// Leaders ever elected, and the log of each at its election.
    elected: BTreeMap<Term, (NodeId, Prefix)>,
    /// Entries ever committed: the prefix up to each.
    committed: Vec<Prefix>,
    /// The commit index of the leader of each term.
    committed_in: BTreeMap<Term, usize>,
    /// Votes ever cast.
    votes: BTreeMap<(Term, NodeId), NodeId>,
    evaluations: Evaluations,
    /// The state after the committed entries, up to the last snapshot.
    applied: Store,
    /// The number of times a server became leader.
    pub(super) elections: u64,
    /// The highest term of any server.
    pub(super) highest_term: Term,
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self {
            prefixes: Prefixes::new(),
            elected: BTreeMap::new(),
            committed: Vec::new(),
            committed_in: BTreeMap::new(),
            votes: BTreeMap::new(),
            evaluations: Evaluations::default(),
            applied: Store::default(),
            elections: 0,
            highest_term: Term::ZERO,
        }
    }

    /// The number of committed entries.
    pub(super) fn committed(&self) -> usize {
        self.committed.len()
    }

    /// Checks a step of a server: its election and its commits.
    pub(super) fn check_step(&mut self, server: &Server, led: &Led) -> Result<(), Violation> {
        let Some(raft) = server.raft() else {
            return Ok(());
        };
        self.highest_term = self.highest_term.max(raft.current_term());
        if let Some(log) = led.elected_with {
            self.elect(raft, log)?;
        }
        let commit_index = raft.commit_index().get() as usize;
        if commit_index > led.committed_before {
            self.commit(raft, &server.log, commit_index)?;
            self.check_commit(server, raft)?;
            self.check_store(raft, false)?;
        }
        Ok(())
    }

    /// Notes the start of a server.
    pub(super) fn start(&mut self, server: NodeId) {
        self.evaluations.start(server);
    }

    /// Checks a server where its run or its trace ends: its whole log and store.
    pub(super) fn check_end(&mut self, server: &Server) -> Result<(), Violation> {
        let Some(raft) = server.raft() else {
            return Ok(());
        };
        server.check_memory(self)?;
        self.check_store(raft, true)
    }

    fn check_store(&mut self, raft: &Raft, ends: bool) -> Result<(), Violation> {
        self.evaluations
            .check_store(raft, &self.committed, &self.prefixes, ends)
    }

    fn elect(&mut self, raft: &Raft, log: Prefix) -> Result<(), Violation> {
        let (term, id) = (raft.current_term(), raft.id());
        self.elections += 1;
        if let Some((rival, _)) = self.elected.get(&term)
            && *rival != id
        {
            return violated(
                Property::ElectionSafety,
                Cause::TwoLeaders {
                    server: *rival,
                    other: id,
                    term,
                },
            );
        }
        let earlier = self.committed_in.range(..term);
        if let Some((in_term, count)) = earlier.max_by_key(|(_, count)| **count)
            && self.prefixes.beginning(log, *count) != Some(self.committed[count - 1])
        {
            return violated(
                Property::LeaderCompleteness,
                Cause::LeaderLacksEntries {
                    server: id,
                    term,
                    index: LogIndex::new(*count as u64),
                    committed_in: *in_term,
                },
            );
        }
        self.elected.entry(term).or_insert((id, log));
        Ok(())
    }

    fn commit(&mut self, raft: &Raft, log: &[Prefix], count: usize) -> Result<(), Violation> {
        let id = raft.id();
        let both = count.min(self.committed.len());
        if both > 0 && log[both - 1] != self.committed[both - 1] {
            let position = (0..both).find(|position| log[*position] != self.committed[*position]);
            return violated(
                Property::StateMachineSafety,
                Cause::AppliedEntryDiffers {
                    server: id,
                    index: LogIndex::new(position.map_or(both, |position| position + 1) as u64),
                },
            );
        }
        for prefix in &log[both..count] {
            self.committed.push(*prefix);
            if let Some(entry) = self.prefixes.entry(*prefix) {
                self.evaluations.commit(entry);
            }
        }
        if !matches!(raft.role(), Role::Leader(_)) {
            return Ok(());
        }
        let term = raft.current_term();
        let furthest = self.committed_in.entry(term).or_default();
        *furthest = count.max(*furthest);
        for (elected, (leader, log)) in self.elected.range(term.next()..) {
            if self.prefixes.beginning(*log, count) != Some(self.committed[count - 1]) {
                return violated(
                    Property::LeaderCompleteness,
                    Cause::LaterLeaderLacksEntries {
                        server: id,
                        index: LogIndex::new(count as u64),
                        term,
                        other: *leader,
                        elected_in: *elected,
                    },
                );
            }
        }
        Ok(())
    }

    /// Checks a leader's commit: a majority has the entry durably, and the entry is of the leader's own
    /// term. The majority follows from the number of servers.
    fn check_commit(&self, server: &Server, raft: &Raft) -> Result<(), Violation> {
        if !matches!(raft.role(), Role::Leader(_)) {
            return Ok(());
        }
        let (id, index) = (server.id, raft.commit_index());
        let (copies, voters) = durable_copies(server, index);
        if 2 * copies <= voters {
            return violated(
                Property::CommitIsDurable,
                Cause::CommittedWithoutMajority {
                    server: id,
                    index,
                    copies: copies as u64,
                    voters: voters as u64,
                },
            );
        }
        let prefix = server.log[index.get() as usize - 1];
        let (term, entry_term) = (raft.current_term(), self.prefixes.term(prefix));
        if entry_term != term {
            return violated(
                Property::CommitsOwnTerm,
                Cause::CommittedOtherTerm {
                    server: id,
                    term,
                    index,
                    entry_term,
                },
            );
        }
        Ok(())
    }

    /// Checks a message when it is sent: it promises nothing that is not on the disk, and contradicts no
    /// earlier promise. Its term is on the disk.
    pub(super) fn check_send(
        &mut self,
        server: &Server,
        envelope: &Envelope,
    ) -> Result<(), Violation> {
        self.check_promise(server, envelope)?;
        let durable_term = server.disk.hard_state.current_term;
        if envelope.message.is_term_durable(durable_term) {
            return Ok(());
        }
        violated(
            Property::TermIsDurable,
            Cause::SentTermNotDurable {
                server: server.id,
                term: envelope.message.sender_term(),
                durable_term,
            },
        )
    }

    /// Checks the vote or the acknowledgement in a message.
    fn check_promise(&mut self, server: &Server, envelope: &Envelope) -> Result<(), Violation> {
        let id = server.id;
        let (term, candidate) = match &envelope.message {
            Message::RequestVoteRequest(request) => (request.term, id),
            Message::RequestVoteResponse(response) if response.vote_granted => {
                let term = response.term;
                let Address::Node(candidate) = envelope.to else {
                    let cause = Cause::VoteNotDurable { server: id, term };
                    return violated(Property::OneVotePerTerm, cause);
                };
                (term, candidate)
            }
            Message::AppendEntriesResponse(response) => {
                let AppendOutcome::Matched { match_index } = response.outcome else {
                    return Ok(());
                };
                return check_acknowledgement(server, response.term, match_index);
            }
            Message::InstallSnapshotResponse(response) => {
                return check_acknowledgement(server, response.term, response.match_index);
            }
            _ => return Ok(()),
        };
        let held = server.disk.hard_state;
        let is_held = held.current_term > term
            || (held.current_term == term && held.voted_for == Some(candidate));
        if !is_held {
            return violated(
                Property::OneVotePerTerm,
                if candidate == id {
                    Cause::CandidacyNotDurable { server: id, term }
                } else {
                    Cause::VoteNotDurable { server: id, term }
                },
            );
        }
        let cast = *self.votes.entry((term, id)).or_insert(candidate);
        if cast != candidate {
            return violated(
                Property::OneVotePerTerm,
                Cause::VotedTwice {
                    server: id,
                    term,
                    candidate: cast,
                    other_candidate: candidate,
                },
            );
        }
        Ok(())
    }

    /// Checks the answers that a step sent. The entry of an answer is committed, a majority has it durably,
    /// and the answer is the result of the committed entries up to it.
    pub(super) fn check_answers(&self, server: &Server) -> Result<(), Violation> {
        let (id, kept) = (server.id, Property::AcknowledgedWritesKept);
        for answered in &server.answered {
            let Some(index) = answered.index else {
                return violated(kept, Cause::AnsweredWithoutRequest { server: id });
            };
            if index.get() as usize > self.committed.len() {
                return violated(kept, Cause::AnsweredNotCommitted { index });
            }
            let (copies, voters) = durable_copies(server, index);
            if 2 * copies <= voters {
                return violated(
                    kept,
                    Cause::AcknowledgedWithoutMajority {
                        server: id,
                        index,
                        copies: copies as u64,
                        voters: voters as u64,
                    },
                );
            }
            self.evaluations.check_answer(index, &answered.answer)?;
        }
        Ok(())
    }

    /// Checks a leader's progress for the follower that sent the received message against that
    /// follower's disk.
    pub(super) fn check_belief(&self, leader: &Server, follower: &Server) -> Result<(), Violation> {
        let Some(raft) = leader.raft() else {
            return Ok(());
        };
        let Role::Leader(role) = raft.role() else {
            return Ok(());
        };
        let Some(progress) = role.followers.get(&follower.id) else {
            return Ok(());
        };
        let count = progress.match_index.get() as usize;
        if count == 0 || follower.disk.hard_state.current_term != raft.current_term() {
            return Ok(());
        }
        let (own, held) = (leader.log.get(count - 1), follower.disk.log.get(count - 1));
        if own.is_some() && own == held {
            return Ok(());
        }
        violated(
            Property::MatchIsDurable,
            Cause::MatchIndexNotDurable {
                server: leader.id,
                other: follower.id,
                index: LogIndex::new(count as u64),
            },
        )
    }
}

impl ClusterHistory for Cluster {
    fn intern(&mut self, mut last: Prefix, entries: &[Entry]) -> Result<Vec<Prefix>, Violation> {
        let mut prefixes = Vec::with_capacity(entries.len());
        for entry in entries {
            last = self.prefixes.longer(last, entry)?;
            prefixes.push(last);
        }
        Ok(prefixes)
    }

    fn entry(&self, prefix: Prefix) -> Option<&Entry> {
        self.prefixes.entry(prefix)
    }

    fn check_disk(&mut self, id: NodeId, old: HardState, new: HardState) -> Result<(), Violation> {
        let kept = new.current_term > old.current_term
            || (new.current_term == old.current_term
                && (old.voted_for.is_none() || old.voted_for == new.voted_for));
        if !kept {
            return violated(
                Property::OneVotePerTerm,
                Cause::DurableVoteChanged {
                    server: id,
                    before: old,
                    after: new,
                },
            );
        }
        Ok(())
    }

    fn check_snapshot(&mut self, id: NodeId, snapshot: &Snapshot) -> Result<&[Prefix], Violation> {
        let last = snapshot.last_included();
        let count = last.index.get() as usize;
        let covered = self.committed.get(..count).unwrap_or_default();
        let ends = covered.last().map(|prefix| self.prefixes.term(*prefix));
        if ends != Some(last.term) {
            let cause = Cause::ServerSnapshotNotCommitted {
                server: id,
                index: last.index,
                term: last.term,
            };
            return Err(Violation::new(Property::StateMachineSafety, cause));
        }
        // Snapshots mostly come in ascending order, so the applied state is kept for the next one.
        if self.applied.last_applied() > last.index {
            self.applied = Store::default();
        }
        let from = self.applied.last_applied().get() as usize;
        let config = Config::production(BTreeSet::new());
        for prefix in &self.committed[from..count] {
            if let Some(entry) = self.prefixes.entry(*prefix) {
                self.applied.apply(&entry.payload, &config);
            }
        }
        if self.applied != snapshot.store {
            let cause = Cause::SnapshotDiffers {
                server: id,
                index: last.index,
            };
            return Err(Violation::new(Property::ExactlyOnce, cause));
        }
        Ok(&self.committed[..count])
    }
}

/// The number of servers that have the entry durably, as far as the leader knows, and the number of all
/// servers: its own disk counts, and each follower that acknowledged the entry.
fn durable_copies(server: &Server, index: LogIndex) -> (usize, usize) {
    let Some(raft) = server.raft() else {
        return (0, 0);
    };
    let voters = raft.config().voters.len();
    let Role::Leader(leader) = raft.role() else {
        return (0, voters);
    };
    let position = index.get() as usize - 1;
    let (own, disk) = (server.log.get(position), server.disk.log.get(position));
    let followers = leader.followers.iter();
    let copies = followers
        .filter(|(id, progress)| **id != server.id && progress.match_index >= index)
        .count();
    (copies + usize::from(own.is_some() && own == disk), voters)
}

fn check_acknowledgement(
    server: &Server,
    term: Term,
    match_index: LogIndex,
) -> Result<(), Violation> {
    // In a later term, the disk may have lost acknowledged entries legitimately.
    let durable = server.disk.hard_state.current_term > term
        || server.disk.log.len() as u64 >= match_index.get();
    if durable {
        return Ok(());
    }
    violated(
        Property::MatchIsDurable,
        Cause::AcknowledgedEntryNotDurable {
            server: server.id,
            index: match_index,
            last_index: LogIndex::new(server.disk.log.len() as u64),
        },
    )
}

fn violated(property: Property, cause: Cause) -> Result<(), Violation> {
    Err(Violation::new(property, cause))
}
