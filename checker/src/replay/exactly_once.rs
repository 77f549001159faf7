//! *Exactly-once application* in traces: the stores and the answers of the servers against an independent
//! evaluation of the committed entries (`model::system::properties::reference`).
//!
//! To compare a whole store costs as much as its size. So the store of a server is compared after as many
//! commits as it has pairs, and where a run ends: the work stays linear in the length of the traces.

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
    /// The number of entries applied since the store was compared.
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
        // After a restart, a server applies entries again.
        if reference.index() > raft.commit_index() {
            *reference = Reference::default();
        }
        let range = reference.index().get() as usize..raft.commit_index().get() as usize;
        let new = committed.get(range).unwrap_or_default();
        for entry in new.iter().filter_map(|prefix| prefixes.entry(*prefix)) {
            reference.apply(&entry.payload);
        }
        *uncompared += new.len();
        let is_due = *uncompared > 0 && (ends || *uncompared >= reference.len());
        if !is_due {
            return Ok(());
        }
        *uncompared = 0;
        if reference.equals(raft.store()) {
            return Ok(());
        }
        let cause = Cause::StoreDiffers {
            server: raft.id(),
            index: raft.commit_index(),
        };
        Err(Violation::new(Property::ExactlyOnce, cause))
    }
}
