//! Real steps as facts and steps of a finite universe of the abstract protocol.
//!
//! [`super`] checks the guards by code of its own. This module states the claims once more, as facts, and lets
//! the [`Evaluator`] execute the actions. So tests compare the two, and a solver can judge the same
//! steps ([`super::super::spec::smt`]).
//!
//! A log is known here by the terms of its entries. Where a message names a log only by its last entry, any log
//! with this entry represents it: the guards depend on no other. A log that begins after a snapshot continues
//! the committed entries of the history.

mod claims;

use super::{AbstractAction, Image, incoming::acknowledged};
use crate::{
    EntryId, Log, LogIndex, Message, NodeId, Term,
    system::{
        Action, History, System,
        process::{Local, LocalStep, Server},
        spec::{
            Evaluator, Facts,
            evaluation::{Step, Transition},
            signature::{Relation, Sort},
        },
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};

/// A fact: a relation and its arguments.
type Fact = (Relation, Vec<u8>);

/// The terms of the entries of a log.
type Terms = Vec<u8>;

/// A step of a server in a universe.
#[derive(Clone, Debug)]
pub struct GroundStep {
    /// The steps of the abstract protocol, in order.
    pub transitions: Vec<Transition>,
    /// The differences from the abstract protocol: an action that is not enabled, a claim that no action
    /// explains, or a disk that differs from the facts.
    pub differences: Vec<String>,
}

impl GroundStep {
    /// The step of a server in a system. Returns `None` if the process is no server, or if the universe lacks
    /// one of its servers, terms or logs.
    pub fn new(
        evaluator: &Evaluator,
        system: &System,
        action: &Action,
        step: &LocalStep,
    ) -> Option<Self> {
        let old = system.processes[action.process].server()?;
        let new = step.next.server()?;
        let mut ground = Ground::new(evaluator, &system.history)?;
        ground.know_server(old)?;
        ground.know_server(new)?;
        let mut claims = ground.server(old)?;
        if let Local::Deliver { envelope, .. } = &action.local {
            ground.know_message(&envelope.message);
            claims.extend(ground.message(envelope, &[])?);
        }
        let mut facts = ground.state(&claims);
        let (mut transitions, mut differences) = (Vec::new(), Vec::new());
        for action in &step.actions {
            let Some(step) = ground.instance(action, &facts)? else {
                differences.push(format!("{action:?} is not enabled"));
                continue;
            };
            let after = evaluator.effect(step, &facts);
            transitions.push(Transition {
                step,
                before: facts,
                after: after.clone(),
            });
            facts = after;
        }
        let mut claims = ground.server(new)?;
        for envelope in &step.sent {
            ground.know_message(&envelope.message);
            claims.extend(ground.message(envelope, &step.actions)?);
        }
        let is_missing = |fact: &&Fact| !ground.is_claimed(fact, &facts);
        let missing = claims.iter().filter(is_missing);
        differences.extend(missing.map(|(relation, values)| {
            format!("no action explains {} {values:?}", relation.name())
        }));
        differences.extend(ground.inexact(new, &claims, &facts));
        Some(Self {
            transitions,
            differences,
        })
    }
}

/// The logs of a universe, and those that occur in a step.
struct Ground<'a> {
    evaluator: &'a Evaluator,
    logs: BTreeMap<Terms, u8>,
    known: Vec<Terms>,
    committed: Terms,
}

impl<'a> Ground<'a> {
    fn new(evaluator: &'a Evaluator, history: &History) -> Option<Self> {
        let universe = evaluator.universe();
        let logs = 0..universe.size(Sort::Log);
        let committed = history.committed.iter();
        let committed = committed.map(|committed| small(committed.entry.term.get()));
        Some(Self {
            evaluator,
            logs: logs.map(|log| (universe.terms_of(log), log)).collect(),
            known: Vec::new(),
            committed: committed.collect::<Option<_>>()?,
        })
    }

    /// Notes the logs of a server, so that an index and a term name them.
    fn know_server(&mut self, server: &Server) -> Option<()> {
        let unsynced = server.running.iter().flat_map(|one| &one.unsynced);
        for count in 0..=unsynced.clone().count() {
            let image = Image::new(&server.disk, unsynced.clone().take(count));
            self.known.push(self.terms_of(&image)?);
        }
        if let Some(running) = &server.running {
            self.known.push(self.memory(&running.raft.log)?);
        }
        Some(())
    }

    /// The log on a disk.
    fn terms_of(&self, image: &Image<'_>) -> Option<Terms> {
        let mut terms = self.covered(image.base())?;
        let indexes = image.base().index.get() + 1..=image.last_id().index.get();
        for index in indexes {
            terms.push(small(image.term_at(LogIndex::new(index))?.get())?);
        }
        Some(terms)
    }

    /// The log in memory.
    fn memory(&self, log: &Log) -> Option<Terms> {
        let mut terms = self.covered(log.base())?;
        for entry in log.entries() {
            terms.push(small(entry.term.get())?);
        }
        Some(terms)
    }

    /// The committed entries that a snapshot covers.
    fn covered(&self, base: EntryId) -> Option<Terms> {
        let count = usize::try_from(base.index.get()).ok()?;
        let covered = self.committed.get(..count)?;
        let last = covered.last().copied().unwrap_or_default();
        (small(base.term.get())? == last).then(|| covered.to_vec())
    }

    fn know_message(&mut self, message: &Message) {
        if let Message::AppendEntriesRequest(request) = message
            && let Some(mut terms) = self.named(EntryId {
                term: request.prev_log_term,
                index: request.prev_log_index,
            })
        {
            let entries = request.entries.iter();
            terms.extend(entries.filter_map(|entry| small(entry.term.get())));
            self.known.push(terms);
        }
    }

    /// The log that ends with an entry; any such log if none is known.
    fn named(&self, id: EntryId) -> Option<Terms> {
        let (length, term) = (usize::try_from(id.index.get()).ok()?, small(id.term.get())?);
        let ends = |terms: &&Terms| length == 0 || terms.get(length - 1) == Some(&term);
        let known = self.known.iter().chain([&self.committed]).find(ends);
        Some(known.map_or_else(|| vec![term; length], |terms| terms[..length].to_vec()))
    }

    fn log(&self, terms: &[u8]) -> Option<u8> {
        self.logs.get(terms).copied()
    }

    fn log_named(&self, id: EntryId) -> Option<u8> {
        self.log(&self.named(id)?)
    }

    fn prefixes(&self, terms: &[u8]) -> Option<Vec<u8>> {
        (0..=terms.len())
            .map(|count| self.log(&terms[..count]))
            .collect()
    }

    fn node(&self, id: NodeId) -> Option<u8> {
        let index = small(id.get().checked_sub(1)?)?;
        (index < self.evaluator.universe().size(Sort::Server)).then_some(index)
    }

    fn term(&self, term: Term) -> Option<u8> {
        let term = small(term.get())?;
        (term < self.evaluator.universe().size(Sort::Term)).then_some(term)
    }

    fn state(&self, claims: &[Fact]) -> Facts {
        let mut facts = self.evaluator.nothing();
        for (relation, values) in claims {
            let fact = self.evaluator.fact(*relation, values);
            if !facts.contains(fact) {
                facts.flip(fact);
            }
        }
        facts
    }

    /// Whether a claim follows from the facts. A log is claimed to be a prefix of a committed log.
    fn is_claimed(&self, (relation, values): &Fact, facts: &Facts) -> bool {
        let is_true = |values: &[u8]| facts.contains(self.evaluator.fact(*relation, values));
        let Some((log, others)) = values
            .split_last()
            .filter(|_| matches!(relation, Relation::Committed | Relation::Learned))
        else {
            return is_true(values);
        };
        let universe = self.evaluator.universe();
        let mut longer =
            (0..universe.size(Sort::Log)).filter(|longer| universe.has_prefix(*longer, *log));
        longer.any(|longer| is_true(&[others, &[longer]].concat()))
    }

    fn leader_log(&self, term: Term, terms: &[u8]) -> Option<Vec<Fact>> {
        let term = self.term(term)?;
        let logs = self.prefixes(terms)?.into_iter();
        Some(
            logs.map(|log| (Relation::LeaderLog, vec![term, log]))
                .collect(),
        )
    }

    fn acked(&self, server: NodeId, term: Term, terms: &[u8]) -> Option<Vec<Fact>> {
        let (server, term) = (self.node(server)?, self.term(term)?);
        // Every server acknowledges the empty log at any time: that is no claim.
        let logs = self.prefixes(terms)?.into_iter().skip(1);
        Some(
            logs.map(|log| (Relation::Acked, vec![server, term, log]))
                .collect(),
        )
    }

    /// The instance of an action that is enabled in a state, if there is one. The action leaves open the log of
    /// the candidate, and which quorum of its servers is meant.
    fn instance(&self, action: &AbstractAction, facts: &Facts) -> Option<Option<Step>> {
        let parameters = self.parameters(action)?.into_iter();
        let action = action.kind() as usize;
        let mut steps = parameters.map(|parameters| Step { action, parameters });
        Some(steps.find(|step| self.evaluator.is_enabled(*step, facts)))
    }

    /// The parameters of all instances of an action.
    fn parameters(&self, action: &AbstractAction) -> Option<Vec<[u8; 4]>> {
        let node = |id: &NodeId| self.node(*id);
        let term = |term: &Term| self.term(*term);
        let log = |id: &EntryId| self.log_named(*id);
        Some(match action {
            AbstractAction::Stand {
                server,
                term: new,
                log: own,
            } => {
                vec![[node(server)?, term(new)?, log(own)?, 0]]
            }
            AbstractAction::Vote {
                server,
                candidate,
                term: new,
                ..
            } => {
                let (server, candidate, term) = (node(server)?, node(candidate)?, term(new)?);
                let logs = 0..self.evaluator.universe().size(Sort::Log);
                logs.map(|log| [server, candidate, term, log]).collect()
            }
            AbstractAction::UpdateTerm { server, term: new } => {
                vec![[node(server)?, term(new)?, 0, 0]]
            }
            AbstractAction::Elect {
                leader,
                term: new,
                log: own,
                quorum,
            } => {
                let (leader, term, log) = (node(leader)?, term(new)?, log(own)?);
                let quorums = self.quorums_in(quorum);
                quorums.map(|quorum| [leader, term, log, quorum]).collect()
            }
            AbstractAction::ClientRequest {
                leader,
                term: own,
                log: short,
                longer,
            } => vec![[node(leader)?, term(own)?, log(short)?, log(longer)?]],
            AbstractAction::Accept {
                server,
                term: own,
                log: prefix,
            } => vec![[node(server)?, term(own)?, log(prefix)?, 0]],
            AbstractAction::Commit {
                term: own,
                log: committed,
                quorum,
            } => {
                let (term, log) = (term(own)?, log(committed)?);
                let quorums = self.quorums_in(quorum);
                quorums.map(|quorum| [term, log, quorum, 0]).collect()
            }
            AbstractAction::Learn {
                server,
                log: learned,
            } => vec![[node(server)?, log(learned)?, 0, 0]],
        })
    }

    /// The quorums that consist of some of these servers.
    fn quorums_in(&self, servers: &BTreeSet<NodeId>) -> impl Iterator<Item = u8> {
        let universe = self.evaluator.universe();
        (0..universe.size(Sort::Quorum)).filter(move |quorum| {
            let mut members = (0..universe.size(Sort::Server))
                .filter(|server| universe.is_member(*server, *quorum));
            members.all(|server| servers.contains(&NodeId::new(u64::from(server) + 1)))
        })
    }

    /// The facts about the disk of a server that are true although the server does not claim them.
    fn inexact(&self, server: &Server, claims: &[Fact], facts: &Facts) -> Vec<String> {
        let universe = self.evaluator.universe();
        let mut wrong = Vec::new();
        let mut require = |relation: Relation, values: Vec<u8>| {
            let is_true = facts.contains(self.evaluator.fact(relation, &values));
            let fact = (relation, values);
            if is_true && !claims.contains(&fact) {
                wrong.push(format!(
                    "the disk contradicts {} {:?}",
                    relation.name(),
                    fact.1
                ));
            }
        };
        let (Some(id), Some(term)) = (
            self.node(server.id),
            self.term(server.disk.hard_state.current_term),
        ) else {
            return wrong;
        };
        for log in 0..universe.size(Sort::Log) {
            require(Relation::Has, vec![id, log]);
        }
        for later in term..universe.size(Sort::Term) {
            require(Relation::Left, vec![id, later]);
            for candidate in 0..universe.size(Sort::Server) {
                require(Relation::Voted, vec![id, later, candidate]);
            }
        }
        wrong
    }
}

fn small(number: u64) -> Option<u8> {
    u8::try_from(number).ok()
}
