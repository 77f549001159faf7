//! The results of local steps, in ids.

use super::{Shared, Tables};
use model::{
    Envelope, Role,
    system::{
        ActionCounts, Flaw, Local, LocalStep, Observation, Permutation, Process, Relabel,
        Relevance, Usage, Violation, Witness, Witnesses, message_address,
    },
};
use std::{collections::BTreeSet, sync::Arc};

/// In place of a message: the process's own events.
pub(crate) const OWN: u32 = u32::MAX;

/// The empty effect.
pub(crate) const NO_EFFECT: u32 = 0;

/// The effect of a step on the shared part and on the verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Effect {
    cost: Usage,
    observed: Vec<Observation>,
    witnesses: Witnesses,
    violation: Option<Violation>,
}

impl Relabel for Effect {
    /// The text about a violation keeps its server ids: the path to it is also one up to a
    /// permutation.
    fn relabel(&self, permutations: &Permutation) -> Self {
        let observed = self.observed.iter();
        Self {
            observed: observed.map(|seen| seen.relabel(permutations)).collect(),
            ..self.clone()
        }
    }
}

/// The shared part after an effect.
#[derive(Clone, Debug)]
pub(crate) enum SharedStep {
    /// The budget does not allow it.
    Disabled,
    /// The effect is allowed.
    To {
        /// The shared part afterwards.
        shared: u32,
        /// The witnesses of the step.
        witnesses: Witnesses,
    },
    /// The step violates a property.
    Violation(Violation),
}

/// The results of delivering a message to a process, or of a process's own events.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) relevance: Relevance,
    /// The message without the entries that the process already holds.
    pub(crate) trimmed: u32,
    /// The results, except those that only send where these are taken eagerly.
    pub(crate) steps: Vec<ProcessStep>,
    /// The number of results that only send and are taken eagerly.
    pub(crate) eager_count: u32,
    /// Their sends.
    pub(crate) eager: Sends,
    /// Their witnesses.
    pub(crate) eager_witnesses: Witnesses,
    /// The actions of the abstract Raft that the results are mapped to.
    pub(super) actions: ActionCounts,
}

/// A [`LocalStep`] in ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStep {
    pub(crate) next: u32,
    pub(crate) effect: u32,
    pub(crate) sends: Sends,
}

/// Messages sent: for each receiver's process index a channel to add, ascending.
pub(crate) type Sends = Vec<(usize, u32)>;

impl Tables {
    /// The results of delivering a message of `sender` to a process, or of its own events ([`OWN`]). The
    /// first call runs the model's code.
    pub(crate) fn delivery(&self, process: u32, sender: usize, message: u32) -> Arc<Delivery> {
        let key = (process, sender, message);
        if let Some(known) = self.deliveries.read().get(&key) {
            return Arc::clone(known);
        }
        let state = self.process(process);
        let (relevance, trimmed, locals) = if message == OWN {
            (Relevance::Live, OWN, self.locals(&state, sender, message))
        } else {
            let envelope = self.envelope(sender, self.index_of(&state), message);
            let relevance = self.transitions.relevance(&state, &envelope);
            let trimmed = self.transitions.trimmed(&state, &envelope.message);
            let trimmed = trimmed.map_or(message, |trimmed| self.message_id(trimmed));
            // A dead message is dropped, so its results are not needed.
            let locals = match relevance {
                Relevance::Dead => Vec::new(),
                _ => self.transitions.deliveries(&envelope),
            };
            (relevance, trimmed, locals)
        };
        let mut delivery = Delivery {
            relevance,
            trimmed,
            steps: Vec::new(),
            eager_count: 0,
            eager: Sends::new(),
            eager_witnesses: Witnesses::default(),
            actions: ActionCounts::default(),
        };
        let mut eager: Vec<Envelope> = Vec::new();
        for local in &locals {
            let Some(step) = self.transitions.local_step(&state, local) else {
                continue;
            };
            delivery.actions.add_all(&step.actions);
            if self.scope().reduction.send_early && self.transitions.is_eager(&step, &state) {
                delivery.eager_count += 1;
                delivery.eager_witnesses.add_all(step.witnesses);
                eager.extend(step.sent);
            } else {
                delivery.steps.push(self.step(step));
            }
        }
        delivery.eager = self.sends(eager);
        // Another thread may have inserted the same result.
        let mut deliveries = self.deliveries.write();
        Arc::clone(deliveries.entry(key).or_insert_with(|| {
            self.delivered.write().push(key);
            Arc::new(delivery)
        }))
    }

    /// The number of actions of the abstract Raft of all results. Each step counts once, however many states
    /// have it.
    pub(crate) fn actions(&self) -> ActionCounts {
        let mut all = ActionCounts::default();
        for delivery in self.deliveries.read().values() {
            all += delivery.actions;
        }
        all
    }

    /// The keys inserted after the first `seen`: process, sender's process index and message.
    pub(crate) fn delivered_since(&self, seen: usize) -> Vec<(u32, usize, u32)> {
        self.delivered.read()[seen..].to_vec()
    }

    /// The ways to deliver a message to a process, or its own events.
    pub(crate) fn locals(&self, process: &Process, sender: usize, message: u32) -> Vec<Local> {
        if message == OWN {
            let mut events = self.transitions.local_events(process);
            if self.scope().flaw == Some(Flaw::OnlyLeadersCrash) && !is_leader(process) {
                events.retain(|event| *event != Local::Crash);
            }
            return events;
        }
        let envelope = self.envelope_to(process, sender, message);
        self.transitions.deliveries(&envelope)
    }

    /// A message from the process at `sender` to this one.
    pub(crate) fn envelope_to(&self, process: &Process, sender: usize, message: u32) -> Envelope {
        self.envelope(sender, self.index_of(process), message)
    }

    /// The budget that an effect uses.
    pub(crate) fn cost_of(&self, effect: u32) -> Usage {
        self.effects.read().value(effect).cost
    }

    /// Whether the step of an effect is a crash.
    pub(crate) fn is_crash(&self, effect: u32) -> bool {
        let effects = self.effects.read();
        effects.value(effect).witnesses.contains(Witness::Crashed)
    }

    fn step(&self, step: LocalStep) -> ProcessStep {
        let effect = Effect {
            cost: step.cost,
            observed: step.observed,
            witnesses: step.witnesses,
            violation: step.violation,
        };
        ProcessStep {
            next: self.process_id(step.next),
            effect: self.id_in(&self.effects, effect),
            sends: self.sends(step.sent),
        }
    }

    fn sends(&self, sent: Vec<Envelope>) -> Sends {
        let mut by_receiver = vec![BTreeSet::new(); self.layout.addresses.len()];
        for envelope in sent {
            // A message to a process that is not part of the system is lost.
            if let Some(index) = self.layout.index_of(envelope.to) {
                // A channel stores messages without their addresses.
                let to = message_address(self.layout.addresses[index], &envelope.message);
                assert_eq!(to, envelope.to, "the message implies its receiver");
                by_receiver[index].insert(self.message_id(envelope.message));
            }
        }
        let channels = by_receiver.into_iter().enumerate();
        channels
            .filter(|(_, messages)| !messages.is_empty())
            .map(|(index, messages)| (index, self.channel_of(messages)))
            .collect()
    }

    /// Combines sends to the same receiver.
    pub(crate) fn gather(&self, mut sends: Sends) -> Sends {
        if sends.len() < 2 {
            return sends;
        }
        sends.sort_unstable();
        sends.dedup();
        let same_receiver = sends.chunk_by(|(one, _), (other, _)| one == other);
        let gathered = same_receiver.map(|sends| match sends {
            [send] => *send,
            _ => {
                let channels = sends.iter().map(|(_, channel)| self.messages(*channel));
                let messages = channels.flat_map(|channel| channel.to_vec());
                (sends[0].0, self.channel_of(messages.collect()))
            }
        });
        gathered.collect()
    }

    /// The shared part after an effect.
    pub(crate) fn apply(&self, shared: u32, effect: u32) -> SharedStep {
        let effect = Arc::clone(self.effects.read().value(effect));
        let before = Arc::clone(self.shared_parts.read().value(shared));
        let step = LocalStep {
            // The history does not record the process.
            next: self.process(0).as_ref().clone(),
            sent: Vec::new(),
            timers: Vec::new(),
            observed: effect.observed.clone(),
            cost: effect.cost,
            witnesses: effect.witnesses,
            actions: Vec::new(),
            violation: effect.violation.clone(),
        };
        match self
            .transitions
            .record(&before.spent, &before.history, &step)
        {
            None => SharedStep::Disabled,
            Some((_, _, _, Some(violation))) => SharedStep::Violation(violation),
            Some((spent, history, witnesses, None)) => SharedStep::To {
                shared: self.shared_id(Shared { spent, history }),
                witnesses,
            },
        }
    }
}

fn is_leader(process: &Process) -> bool {
    let running = process.server().and_then(|server| server.running.as_ref());
    running.is_some_and(|running| matches!(running.raft.role(), Role::Leader(_)))
}
