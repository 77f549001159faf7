//! The history variables, separate from the state of the processes: leaders ever elected, entries ever
//! committed, operations invoked and returned (as in raft.tla and LogCabin).
//!
//! A property over the history covers all events of a run, including those at servers that crashed
//! later. It is not limited to processes that are up at the same moment.

use super::{
    Cause, Properties, Property, Violation,
    linearizability::{self, End, Operation, OperationId},
    reference::{pairs_of, reference_answer, reference_pairs},
};
use crate::{
    ClientId, Config, Entry, EntryId, Log, LogIndex, NodeId, Payload, SessionId, Store, Term,
    store::{Answer, Command},
    system::{
        client_run::is_earlier_run,
        witness::{Witness, Witnesses},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use serde::{Deserialize, Serialize};

/// An event of a step that the properties refer to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Observation {
    /// A server became leader.
    Elected {
        /// The term.
        term: Term,
        /// The server.
        leader: NodeId,
        /// The leader's log before it appended anything.
        log: Log,
    },
    /// A server advanced its commit index.
    Committed {
        /// The server's term if it is the leader, which means that it committed the entries; `None` for
        /// a follower.
        by_leader: Option<Term>,
        /// The index of the first newly committed entry.
        first: LogIndex,
        /// The newly committed entries.
        entries: Vec<Entry>,
    },
    /// The state machine of a server or a snapshot after all entries up to `at`, where the log does not
    /// start with the first entry.
    AppliedState {
        /// The last applied entry.
        at: EntryId,
        /// The state after this entry.
        store: Store,
    },
    /// A server answered the client of an entry.
    Acknowledged {
        /// The entry that the client waited for.
        index: LogIndex,
        /// The session and the sequence number of the requested write; `None` if the request was not a
        /// write.
        write: Option<(SessionId, u64)>,
        /// The answer.
        answer: Answer,
    },
    /// A client's operation began.
    Invoked {
        /// The operation.
        id: OperationId,
        /// The call.
        call: linearizability::Call,
    },
    /// A client's operation ended with a known result.
    Returned {
        /// The operation.
        id: OperationId,
        /// The result.
        result: linearizability::Result,
    },
    /// A client received the response that its operation did not take effect and never will.
    Refused {
        /// The operation.
        id: OperationId,
    },
    /// A client received the response to this write, which settles its earlier writes.
    Settles {
        /// The write.
        id: OperationId,
    },
}

/// The election of a leader.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Election {
    /// The leader.
    pub leader: NodeId,
    /// Its log when it was elected.
    pub log: Vec<Entry>,
}

/// An entry that was committed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommittedEntry {
    /// The entry.
    pub entry: Entry,
    /// The lowest term in which a leader committed it.
    pub in_term: Term,
}

/// The history of a run, as far as the properties need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct History {
    /// Leaders ever elected.
    pub elected: BTreeMap<Term, Election>,
    /// Entries ever committed, from index 1.
    pub committed: Vec<CommittedEntry>,
    /// Operations of clients, if the scope tracks them.
    pub operations: Vec<Operation>,
}

impl History {
    /// Records an observation. `quota` is the maximum size of the state in bytes, by which the results of
    /// writes are judged.
    ///
    /// # Errors
    /// The property that the observation violates, if that property is in `properties`.
    pub fn observe(
        &mut self,
        observation: &Observation,
        properties: Properties,
        quota: u64,
        witnesses: &mut Witnesses,
    ) -> Result<(), Violation> {
        match observation {
            Observation::Elected { term, leader, log } => {
                self.elect(*term, *leader, log, properties, witnesses)
            }
            Observation::Committed {
                by_leader,
                first,
                entries,
            } => {
                let mut index = *first;
                for entry in entries {
                    self.commit(index, entry, *by_leader, properties, witnesses)?;
                    index = index.next();
                }
                Ok(())
            }
            Observation::AppliedState { at, store } => self.stand(*at, store, properties),
            Observation::Acknowledged {
                index,
                write,
                answer,
            } => self.acknowledge(*index, *write, answer, properties),
            Observation::Invoked { id, call } => {
                linearizability::invoke(&mut self.operations, *id, call.clone());
                Ok(())
            }
            Observation::Returned { id, result } => {
                linearizability::complete(&mut self.operations, *id, result.clone());
                let holds = linearizability::is_linearizable(&self.operations, quota);
                if holds && self.shows_abandoned_write(*id, quota) {
                    witnesses.add(Witness::AbandonedTookEffect);
                }
                properties.require(Property::Linearizability, holds, || {
                    Cause::NotLinearizable {
                        operations: self.operations.clone(),
                    }
                })
            }
            Observation::Settles { id } => {
                linearizability::settle(&mut self.operations, *id);
                Ok(())
            }
            Observation::Refused { id } => {
                linearizability::refuse(&mut self.operations, *id);
                let holds = linearizability::is_linearizable(&self.operations, quota);
                properties.require(Property::Linearizability, holds, || {
                    Cause::RefusedTookEffect {
                        operations: self.operations.clone(),
                    }
                })
            }
        }
    }

    /// Whether only the effect of a write that an earlier run of this client abandoned explains the
    /// results.
    fn shows_abandoned_write(&self, returned: OperationId, quota: u64) -> bool {
        let client = |id: OperationId| ClientId::new(id.0);
        let mut abandoned = self.operations.iter().filter(|operation| {
            operation.end == End::Open && is_earlier_run(client(operation.id), client(returned))
        });
        abandoned.any(|abandoned| {
            let others = self.operations.iter();
            let others = others.filter(|operation| operation.id != abandoned.id);
            !linearizability::is_linearizable(&others.cloned().collect::<Vec<_>>(), quota)
        })
    }

    fn elect(
        &mut self,
        term: Term,
        leader: NodeId,
        log: &Log,
        properties: Properties,
        witnesses: &mut Witnesses,
    ) -> Result<(), Violation> {
        let rival = self.elected.get(&term).map(|election| election.leader);
        let alone = rival.is_none_or(|rival| rival == leader);
        properties.require(Property::ElectionSafety, alone, || Cause::TwoLeaders {
            server: rival.unwrap_or_default(),
            other: leader,
            term,
        })?;
        let log = self.whole(log, properties)?;
        for (position, committed) in self.committed.iter().enumerate() {
            let present = committed.in_term >= term || log.get(position) == Some(&committed.entry);
            properties.require(Property::LeaderCompleteness, present, || {
                Cause::LeaderLacksEntry {
                    server: leader,
                    term,
                    index: LogIndex::new(position as u64 + 1),
                    committed_in: committed.in_term,
                }
            })?;
        }
        witnesses.add(Witness::LeaderElected);
        if self.elected.keys().any(|earlier| *earlier < term) {
            witnesses.add(Witness::ReElection);
        }
        self.elected
            .entry(term)
            .or_insert_with(|| Election { leader, log });
        Ok(())
    }

    /// A log from index 1. The entries up to its base must be the committed entries.
    fn whole(&self, log: &Log, properties: Properties) -> Result<Vec<Entry>, Violation> {
        self.require_committed(log.base(), properties)?;
        let gone = self.committed.iter().take(log.base().index.get() as usize);
        let gone = gone.map(|committed| committed.entry.clone());
        Ok(gone.chain(log.entries().iter().cloned()).collect())
    }

    /// Requires that the last entry of a snapshot is the entry committed at its index.
    fn require_committed(&self, at: EntryId, properties: Properties) -> Result<(), Violation> {
        let position = (at.index.get() as usize).checked_sub(1);
        let is_committed = position.is_none_or(|position| {
            let committed = self.committed.get(position);
            committed.is_some_and(|committed| committed.entry.term == at.term)
        });
        properties.require(Property::StateMachineSafety, is_committed, || {
            Cause::SnapshotNotCommitted {
                index: at.index,
                term: at.term,
            }
        })
    }

    /// Requires that a state without a complete log is the result of the committed entries.
    fn stand(&self, at: EntryId, store: &Store, properties: Properties) -> Result<(), Violation> {
        self.require_committed(at, properties)?;
        let applied = self.committed.iter().take(at.index.get() as usize);
        let applied = applied.map(|committed| &committed.entry);
        let expected = reference_pairs(applied.clone());
        let found = pairs_of(store);
        properties.require(Property::ExactlyOnce, expected == found, || {
            Cause::AppliedStateDiffers { index: at.index }
        })?;
        // The reference covers only the pairs and their versions. The sessions must equal the result of a replay.
        let config = Config::production(BTreeSet::new());
        let mut replayed = Store::default();
        for entry in applied {
            replayed.apply(&entry.payload, &config);
        }
        properties.require(Property::ExactlyOnce, replayed == *store, || {
            Cause::SessionsDiffer { index: at.index }
        })
    }

    fn commit(
        &mut self,
        index: LogIndex,
        entry: &Entry,
        by_leader: Option<Term>,
        properties: Properties,
        witnesses: &mut Witnesses,
    ) -> Result<(), Violation> {
        let position = index.get() as usize - 1;
        let in_term = by_leader.unwrap_or(entry.term);
        if let Some(committed) = self.committed.get_mut(position) {
            properties.require(
                Property::StateMachineSafety,
                committed.entry == *entry,
                || Cause::AppliedEntriesDiffer {
                    index,
                    term: committed.entry.term,
                    other_term: entry.term,
                },
            )?;
            if by_leader.is_some() {
                committed.in_term = committed.in_term.min(in_term);
            }
        } else {
            // Commit indexes advance entry by entry, so a new index is the successor of the last
            // recorded one.
            self.committed.push(CommittedEntry {
                entry: entry.clone(),
                in_term,
            });
            witnesses.add(Witness::EntryCommitted);
            if in_term > entry.term {
                witnesses.add(Witness::OlderTermEntryCommitted);
            }
        }
        if let Some(term) = by_leader {
            for (elected, election) in self.elected.range(term.next()..) {
                let present = election.log.get(position) == Some(entry);
                properties.require(Property::LeaderCompleteness, present, || {
                    Cause::LaterLeaderLacksEntry {
                        index,
                        term,
                        server: election.leader,
                        elected_in: *elected,
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Requires that the entry of an answer is committed and is the requested write, and that the answer is
    /// the result of the committed entries up to there.
    fn acknowledge(
        &self,
        index: LogIndex,
        write: Option<(SessionId, u64)>,
        answer: &Answer,
        properties: Properties,
    ) -> Result<(), Violation> {
        let applied = self.committed.get(..index.get() as usize);
        let last = applied.and_then(<[CommittedEntry]>::last);
        let is_committed = last.is_some_and(|committed| match &committed.entry.payload {
            Payload::Command(Command::Write(found)) => {
                write == Some((found.session, found.sequence))
            }
            _ => write.is_none(),
        });
        properties.require(
            Property::AcknowledgedWritesKept,
            is_committed,
            || match write {
                Some((session, sequence)) => Cause::AcknowledgedNotCommitted { session, sequence },
                None => Cause::AnsweredNotCommitted { index },
            },
        )?;
        let applied = applied.into_iter().flatten();
        let expected = reference_answer(applied.map(|committed| &committed.entry));
        let is_expected = expected.is_none_or(|expected| expected.permits(answer));
        properties.require(Property::ExactlyOnce, is_expected, || {
            Cause::AnswerDiffers { index }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Operation, Write};
    use alloc::vec;

    /// The entries 1 and 2 are committed: a session is opened, and its first write increments a key.
    fn history() -> History {
        let increment = Write {
            session: SessionId::new(1),
            sequence: 1,
            acknowledged: 1,
            operation: Operation::Increment {
                key: vec![b'x'],
                by: 1,
            },
            quota: u64::MAX,
        };
        let opening = Command::OpenSession {
            capacity: 1,
            window: 0,
        };
        let commands = [opening, Command::from(increment)];
        let committed = commands.map(|command| CommittedEntry {
            entry: Entry {
                term: Term::new(1),
                payload: Payload::Command(command),
            },
            in_term: Term::new(1),
        });
        History {
            committed: committed.into(),
            ..History::default()
        }
    }

    /// The property that the answer to the client of an entry violates.
    fn violated(index: u64, write: Option<u64>, answer: Answer) -> Option<Property> {
        let answered = Observation::Acknowledged {
            index: LogIndex::new(index),
            write: write.map(|sequence| (SessionId::new(1), sequence)),
            answer,
        };
        let mut witnesses = Witnesses::default();
        let observed = history().observe(&answered, Properties::ALL, u64::MAX, &mut witnesses);
        observed.err().map(|violation| violation.property)
    }

    #[test]
    fn answer_to_a_committed_write_is_compared_with_its_effect() {
        let number = |value, version| Answer::Number {
            value,
            version: LogIndex::new(version),
        };
        assert_eq!(violated(2, Some(1), number(1, 2)), None);
        for wrong in [number(2, 2), number(1, 1), Answer::NotANumber] {
            assert_eq!(violated(2, Some(1), wrong), Some(Property::ExactlyOnce));
        }
        let kept = Some(Property::AcknowledgedWritesKept);
        assert_eq!(violated(2, Some(3), number(1, 2)), kept, "another write");
        assert_eq!(violated(3, Some(2), number(2, 3)), kept, "not committed");
        assert_eq!(violated(1, Some(1), number(1, 2)), kept, "not a write");
    }

    #[test]
    fn answer_to_an_opened_session_is_compared_with_its_effect() {
        let opened = |id| Answer::SessionOpened(SessionId::new(id));
        assert_eq!(violated(1, None, opened(1)), None);
        assert_eq!(violated(1, None, opened(2)), Some(Property::ExactlyOnce));
        let kept = Some(Property::AcknowledgedWritesKept);
        assert_eq!(violated(2, None, opened(2)), kept, "a write");
        assert_eq!(violated(3, None, opened(3)), kept, "not committed");
    }
}
