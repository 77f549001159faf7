//! *Exactly-once application* in traces: the stores and the answers of the servers against an independent
//! evaluation of the committed entries (`model::system::properties::reference`).
//!
//! To compare a whole store costs as much as its size. So the store of a server is compared after as many
//! commits as it has pairs, and where a run ends. The work is linear in the length of the traces, except for
//! a run that ends before it applies again all entries of the run before: its evaluation begins at the first.

use super::prefixes::{Prefix, Prefixes};
use model::{
    Entry, LogIndex, NodeId, Raft,
    store::Answer,
    system::{
        Cause, Property, Violation,
        properties::reference::{ExpectedAnswer, Reference},
    },
};
use std::collections::BTreeMap;

/// The evaluations of the committed entries.
#[derive(Default)]
pub(super) struct Evaluations {
    /// The evaluation of all committed entries.
    all: Reference,
    /// The answer to each of them.
    answers: Vec<ExpectedAnswer>,
    /// The evaluations up to the commit index of each server.
    servers: BTreeMap<NodeId, Evaluation>,
}

#[derive(Default)]
struct Evaluation {
    reference: Reference,
    /// The number of entries applied, and of starts of the server, since the store was compared.
    uncompared: usize,
}

impl Evaluations {
    /// Applies the next committed entry.
    pub(super) fn commit(&mut self, entry: &Entry) {
        self.answers.push(self.all.apply(&entry.payload));
    }

    /// Checks the answer to a committed entry.
    pub(super) fn check_answer(&self, index: LogIndex, answer: &Answer) -> Result<(), Violation> {
        let position = (index.get() as usize).checked_sub(1);
        let expected = position.and_then(|position| self.answers.get(position));
        if expected.is_some_and(|expected| expected.permits(answer)) {
            return Ok(());
        }
        let cause = Cause::AnswerDiffers { index };
        Err(Violation::new(Property::ExactlyOnce, cause))
    }

    /// Notes the start of a server: its store is compared again, even if it commits nothing more.
    pub(super) fn start(&mut self, server: NodeId) {
        self.servers.entry(server).or_default().uncompared += 1;
    }

    /// Evaluates the entries that a server has committed, and compares its store if that is due. `committed`
    /// are all committed entries.
    pub(super) fn check_store(
        &mut self,
        raft: &Raft,
        committed: &[Prefix],
        prefixes: &Prefixes,
        ends: bool,
    ) -> Result<(), Violation> {
        let Evaluation {
            reference,
            uncompared,
        } = self.servers.entry(raft.id()).or_default();
        let commit = raft.commit_index().get() as usize;
        let apply = |reference: &mut Reference| {
            let range = reference.index().get() as usize..commit;
            let new = committed.get(range).unwrap_or_default();
            for entry in new.iter().filter_map(|prefix| prefixes.entry(*prefix)) {
                reference.apply(&entry.payload);
            }
            new.len()
        };
        // After a restart, a server applies entries again. A store in between is compared only where the run
        // ends: the evaluation begins anew for it.
        let is_behind = reference.index() > raft.commit_index();
        if !is_behind {
            *uncompared += apply(reference);
        }
        let is_due = *uncompared > 0 && (ends || (!is_behind && *uncompared >= reference.len()));
        if !is_due {
            return Ok(());
        }
        *uncompared = 0;
        let mut earlier = Reference::default();
        let reference = if is_behind {
            apply(&mut earlier);
            &earlier
        } else {
            &*reference
        };
        if reference.index() != raft.commit_index() || reference.equals(raft.store()) {
            return Ok(());
        }
        let cause = Cause::StoreDiffers {
            server: raft.id(),
            index: raft.commit_index(),
        };
        Err(Violation::new(Property::ExactlyOnce, cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{replay::prefixes::EMPTY, step_guard};
    use model::{
        Config, Durable, Payload, SessionId, Snapshot, Store, Term,
        store::{Command, Operation, Write},
    };

    /// A server commits an entry, starts again from a snapshot with another pair, and commits nothing more.
    #[test]
    fn store_is_compared_after_a_start() {
        let id = NodeId::new(1);
        let config = Config::production([id].into());
        let opening = Payload::Command(Command::OpenSession {
            capacity: 8,
            window: 1,
        });
        let increment = |by| {
            Payload::Command(Command::from(Write {
                session: SessionId::new(1),
                sequence: 1,
                acknowledged: 0,
                operation: Operation::Increment {
                    key: b"x".to_vec(),
                    by,
                },
                quota: u64::MAX,
            }))
        };
        let (mut prefixes, mut committed) = (Prefixes::new(), Vec::new());
        let mut evaluations = Evaluations::default();
        for payload in [opening.clone(), increment(1)] {
            let term = Term::new(1);
            let entry = Entry { term, payload };
            let parent = committed.last().copied().unwrap_or(EMPTY);
            committed.push(prefixes.longer(parent, &entry).expect("one log"));
            evaluations.commit(&entry);
        }
        for (by, is_correct) in [(1, true), (2, false)] {
            let mut store = Store::default();
            store.apply(&opening, &config);
            store.apply(&increment(by), &config);
            let disk = Durable {
                snapshot: Some(Snapshot {
                    last_included_index: LogIndex::new(2),
                    last_included_term: Term::new(1),
                    store,
                }),
                ..Durable::default()
            };
            let raft = step_guard::recover(id, config.clone(), disk, None).expect("it starts");
            evaluations.start(id);
            let checked = evaluations.check_store(&raft, &committed, &prefixes, true);
            assert_eq!(checked.is_ok(), is_correct);
        }
    }
}
