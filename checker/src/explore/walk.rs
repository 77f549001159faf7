//! A walk: steps of a world, one after another, over the unreduced network ([`crate::trace`]).
//!
//! Messages are numbered in the order in which they were first sent. The network never removes a
//! message, so a delivered message can be delivered again. Dropping a message changes nothing in the
//! model; it only means that this walk does not deliver the message before it is sent again.
//!
//! A walk continues after a violation, so that the state after it can be examined. From there on, the
//! history is recorded without checks, and every step is checked for each property separately.
//!
//! A walk can be cut back to any step and continued from there; the cost is proportional to the steps
//! that are cut off. The cost of one more step does not depend on the length of the walk.

use super::{
    keys::{Key, StepKind},
    world::World,
};
use crate::{explain, step_guard, trace};
use model::{
    Envelope, Term,
    system::{
        Action, Budget, Facet, History, Limit, Local, LocalStep, Process, Properties, Property,
        Scope, System, TransitionSystem, Usage, Violation, Witnesses, properties,
    },
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// A walk.
#[derive(Clone)]
pub(super) struct Walk {
    pub(super) world: Arc<World>,
    real: TransitionSystem,
    /// The same scope with an unlimited budget, to determine the cost of an action.
    generous: TransitionSystem,
    start: Arc<System>,
    pub(super) steps: Vec<WalkStep>,
    /// The current processes. The network is not stored here but in `messages`.
    system: System,
    pub(super) messages: Vec<Sent>,
    numbers: HashMap<Arc<Envelope>, u32>,
    /// The estimated size of the steps in bytes.
    bytes: usize,
}

/// One step.
#[derive(Clone)]
pub(super) struct WalkStep {
    pub(super) key: Key,
    /// The index of the process, or of the receiver if a message is dropped.
    pub(super) process: usize,
    /// `None` if a message is dropped.
    pub(super) local: Option<Local>,
    /// The numbers of the messages that it sent, duplicates included.
    pub(super) sent: Vec<u32>,
    /// Its process after the step.
    pub(super) after: Arc<Process>,
    pub(super) witnesses: Witnesses,
    pub(super) text: String,
    pub(super) violations: Vec<Violation>,
    spent: Usage,
    history: Arc<History>,
    /// The number of messages after the step.
    messages: usize,
}

impl WalkStep {
    /// The estimated size in bytes.
    fn bytes(&self) -> usize {
        let entries = self
            .after
            .server()
            .map_or(0, |server| server.log().len() + server.disk.log.len());
        1024 + entries * 256 + self.sent.len() * 32 + self.text.len()
    }
}

/// A message and its fate.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) envelope: Arc<Envelope>,
    /// The events of the message, each with its step, counted from 1. Step 0 sent the messages of the
    /// initial state.
    fates: Vec<(usize, Fate)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Sent,
    Delivered,
    Dropped,
}

impl Sent {
    pub(super) fn sent_at(&self) -> usize {
        self.fates.first().map_or(0, |(step, _)| *step)
    }

    /// The step that sent it last.
    pub(super) fn last_sent_at(&self) -> usize {
        let mut late = self.fates.iter().rev();
        let last = late.find(|(_, fate)| *fate == Fate::Sent);
        last.map_or(0, |(step, _)| *step)
    }

    pub(super) fn delivered(&self) -> impl Iterator<Item = usize> {
        let delivered = self
            .fates
            .iter()
            .filter(|(_, fate)| *fate == Fate::Delivered);
        delivered.map(|(step, _)| *step)
    }

    /// The step that dropped it, unless it was sent again since.
    pub(super) fn dropped_at(&self) -> Option<usize> {
        let mut late = self.fates.iter().rev();
        let last = late.find(|(_, fate)| *fate != Fate::Delivered)?;
        (last.1 == Fate::Dropped).then_some(last.0)
    }
}

/// An action that may be possible, or the reason why it is not.
pub(super) struct Choice {
    pub(super) key: Key,
    pub(super) action: Option<Action>,
    pub(super) message: Option<u32>,
    /// The effect of the action.
    pub(super) outcome: Result<Effect, StepRefusal>,
}

/// Whether a step has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Something,
    Nothing,
}

model::diagnostics! {
    /// The reason why a step is impossible.
    pub(super) enum StepRefusal {
        /// The world has no such process.
        NoProcess { process: usize, processes: usize }
            = "there is no process {process}: this world has {processes}";
        /// No step on the path sent such a message.
        NoMessage { message: u32 } = "there is no message {message} at this point";
        /// The message has another receiver.
        WrongReceiver { message: u32, receiver: String, process: String }
            = "message {message} is for {receiver}, not for {process}";
        /// The key names a server for a message that needs none, or names none.
        WrongDelivery { message: u32 }
            = "message {message} cannot be delivered with this key: only the key of a client's request to a proxy names a server (4d1-2)";
        /// The letter of the key is unknown.
        NoEvent = "there is no such event";
        /// The message of a delivery is not in the network.
        NotSent = "the message was never sent";
        /// The message is dropped twice.
        DroppedAlready { step: usize } = "it was dropped in step {step} already";
        /// The message is delivered after it was dropped.
        Dropped { step: usize } = "dropped in step {step}: it can arrive after it is resent";
        /// No process has the address of the receiver.
        NoReceiver = "no process has this address";
        /// The event is not enabled.
        NotEnabled { process: String } = "the state of {process} does not allow this";
        /// The server is down.
        Down { process: String } = "{process} is down";
        /// The server is in the last term.
        LastTerm { term: Term } = "this scope has no term after {term}";
        /// The scope allows no such event.
        NoBudget { budget: &'static str } = "this scope has no {budget}";
        /// The path has as many such events as the scope allows.
        BudgetSpent { budget: &'static str, limit: u8 }
            = "the {budget} budget of this scope ({limit}) is used up";
        /// The step exceeds another bound.
        OutOfBounds = "it is not within the bounds of this scope";
    }
}

/// The limit of a walk that offers the event also beyond the limit, with the reason that forbids it.
fn unexhausted(limit: Limit) -> Limit {
    match limit {
        Limit::AtMost(_) => Limit::AtMost(u8::MAX),
        limit => limit,
    }
}

impl Walk {
    pub(super) fn new(world: Arc<World>) -> Self {
        let real = trace::real_system(&world.scope);
        let mut start = real.start();
        let network = std::mem::take(&mut start.network);
        let budget = real.scope().budget;
        let generous = step_guard::transitions(Scope {
            budget: Budget {
                entries: u8::MAX,
                reads: u8::MAX,
                // A crash is always offered, if need be with the reason that forbids it.
                crashes: match budget.crashes {
                    Limit::Any => Limit::Any,
                    Limit::Never | Limit::AtMost(_) => Limit::AtMost(u8::MAX),
                },
                snapshots: unexhausted(budget.snapshots),
                client_crashes: unexhausted(budget.client_crashes),
                proxy_crashes: unexhausted(budget.proxy_crashes),
                transfers: unexhausted(budget.transfers),
            },
            ..real.scope().clone()
        });
        let mut walk = Self {
            world,
            real,
            generous,
            system: start.clone(),
            start: Arc::new(start),
            steps: Vec::new(),
            messages: Vec::new(),
            numbers: HashMap::new(),
            bytes: 0,
        };
        for envelope in network {
            walk.send(envelope, 0);
        }
        walk
    }

    /// The processes at the start.
    pub(super) fn start(&self) -> &[Process] {
        &self.start.processes
    }

    pub(super) fn spent(&self) -> &Usage {
        &self.system.spent
    }

    /// The whole current system, with its network.
    pub(super) fn system(&self) -> System {
        let network = self.messages.iter();
        System {
            network: network
                .map(|sent| Envelope::clone(&sent.envelope))
                .collect(),
            ..self.system.clone()
        }
    }

    /// The same without the messages that were dropped and not sent again.
    pub(super) fn system_without_dropped(&self) -> System {
        let kept = self.messages.iter();
        let kept = kept.filter(|sent| sent.dropped_at().is_none());
        System {
            network: kept.map(|sent| Envelope::clone(&sent.envelope)).collect(),
            ..self.system.clone()
        }
    }

    /// Whether a predicate holds for the current state and the witnesses of the last step.
    pub(super) fn holds(&self, goal: &dyn Fn(&System, Witnesses) -> bool) -> bool {
        let last = self.steps.last();
        goal(
            &self.system,
            last.map_or(Witnesses::default(), |step| step.witnesses),
        )
    }

    /// The number of committed entries.
    pub(super) fn committed(&self) -> usize {
        self.system.history.committed.len()
    }

    /// The urgency of a choice in a run without faults that begins after step `from`; lower values come
    /// first. Returns `None` for faults, for client operations, and for messages sent before that step,
    /// which may be lost.
    pub(super) fn urgency(&self, choice: &Choice, from: usize) -> Option<u8> {
        let local = &choice.action.as_ref()?.local;
        let raft = |process: &Process| {
            let running = process.server()?.running.as_ref()?;
            Some((
                running.raft.current_term(),
                matches!(running.raft.role(), model::Role::Leader(_)),
            ))
        };
        let newest = self.system.processes.iter().filter_map(raft).max();
        let has_leader = newest.is_some_and(|(_, leads)| leads);
        match local {
            Local::Sync => Some(0),
            Local::Restart => Some(1),
            Local::Deliver { .. } => {
                let sent = self.message(choice.message?)?;
                let is_new = sent.last_sent_at() > from;
                let was_delivered = sent
                    .delivered()
                    .last()
                    .is_some_and(|step| step > sent.last_sent_at());
                (is_new && !was_delivered).then_some(2)
            }
            Local::HeartbeatTimeout => Some(3),
            Local::ElectionTimeout if !has_leader => Some(4),
            _ => None,
        }
    }

    /// The estimated size of the walk in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.messages.len() * 512
    }

    /// The number of terms used: the highest term of any server, counted from the start.
    pub(super) fn terms_used(&self) -> u64 {
        let last = self.real.scope().last_term().get() - self.real.scope().terms;
        let servers = self.system.processes.iter().filter_map(Process::server);
        let terms = servers.map(|server| {
            let held = server.disk.hard_state.current_term;
            server
                .running
                .as_ref()
                .map_or(held, |running| running.raft.current_term())
        });
        terms.max().unwrap_or(Term::ZERO).get().saturating_sub(last)
    }

    /// The number of a message, if it was sent.
    pub(super) fn number(&self, envelope: &Envelope) -> Option<u32> {
        self.numbers.get(envelope).copied()
    }

    fn message(&self, number: u32) -> Option<&Sent> {
        self.messages.get((number as usize).checked_sub(1)?)
    }

    /// The witnesses reached.
    pub(super) fn witnesses(&self) -> Witnesses {
        let mut all = Witnesses::default();
        for step in &self.steps {
            all.add_all(step.witnesses);
        }
        all
    }

    /// The first violation of each property, with its step.
    pub(super) fn violations(&self) -> Vec<(usize, &Violation)> {
        let mut seen = BTreeSet::new();
        let steps = self.steps.iter().enumerate();
        let all =
            steps.flat_map(|(index, step)| step.violations.iter().map(move |it| (index + 1, it)));
        all.filter(|(_, violation)| seen.insert(violation.property))
            .collect()
    }

    /// The actions of the model, without dropped messages.
    pub(super) fn actions(&self) -> Vec<Action> {
        let steps = self.steps.iter();
        steps
            .filter_map(|step| {
                Some(Action {
                    process: step.process,
                    local: step.local.clone()?,
                })
            })
            .collect()
    }

    /// Takes a step. Returns the reason if it is impossible.
    pub(super) fn take(&mut self, key: Key) -> Result<(), StepRefusal> {
        match key {
            Key::Drop(message) => self.drop_message(key, message),
            Key::Step { process, what } => {
                let index = (process as usize).wrapping_sub(1);
                let action = self.action(index, what)?;
                self.act(key, action)
            }
        }
    }

    /// Takes a step of the model.
    pub(super) fn take_action(&mut self, action: &Action) -> Result<Key, StepRefusal> {
        let key = self.key(action).ok_or(StepRefusal::NotSent)?;
        self.take(key)?;
        Ok(key)
    }

    /// The key of an action.
    pub(super) fn key(&self, action: &Action) -> Option<Key> {
        Some(Key::Step {
            process: action.process as u32 + 1,
            what: StepKind::from_local(&action.local, |envelope| self.number(envelope))?,
        })
    }

    /// Removes the steps after the first `count`.
    pub(super) fn cut(&mut self, count: usize) {
        if count >= self.steps.len() {
            return;
        }
        let gone = self.steps.split_off(count);
        self.bytes -= gone.iter().map(WalkStep::bytes).sum::<usize>();
        let changed: BTreeSet<usize> = gone.iter().map(|step| step.process).collect();
        for index in changed {
            let last = self.steps.iter().rev().find(|step| step.process == index);
            self.system.processes[index] = match last {
                Some(step) => Process::clone(&step.after),
                None => self.start.processes[index].clone(),
            };
        }
        let kept = match self.steps.last() {
            Some(step) => {
                self.system.spent = step.spent;
                self.system.history = History::clone(&step.history);
                step.messages
            }
            None => {
                self.system.spent = self.start.spent;
                self.system.history = self.start.history.clone();
                let at_start = |sent: &&Sent| sent.sent_at() == 0;
                self.messages.iter().take_while(at_start).count()
            }
        };
        for sent in self.messages.drain(kept..) {
            self.numbers.remove(&sent.envelope);
        }
        for sent in &mut self.messages {
            while sent.fates.pop_if(|(step, _)| *step > count).is_some() {}
        }
    }

    /// All candidate steps: first the events of a process without a message, then deliveries, then
    /// drops.
    pub(super) fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for index in 0..self.system.processes.len() {
            self.choices_of(index, &mut choices);
        }
        choices
    }

    fn choices_of(&self, index: usize, choices: &mut Vec<Choice>) {
        let process = &self.system.processes[index];
        let locals = self.generous.local_events(process);
        let run = Local::ElectionTimeout;
        let has_run = locals.contains(&run);
        for local in locals {
            choices.push(self.choice(index, local, None));
        }
        if !has_run
            && let Some(server) = process.server()
            && let Some(running) = &server.running
            && !matches!(running.raft.role(), model::Role::Leader(_))
        {
            let key = Key::Step {
                process: index as u32 + 1,
                what: StepKind::Plain('e'),
            };
            choices.push(Choice {
                key,
                action: Some(Action {
                    process: index,
                    local: run,
                }),
                message: None,
                outcome: Err(self.last_term()),
            });
        }
        let mine = || {
            let numbered = (1..).zip(&self.messages);
            numbered.filter(|(_, sent)| process.receives_at(sent.envelope.to))
        };
        for (number, sent) in mine() {
            for local in self.real.deliveries(&sent.envelope) {
                choices.push(self.choice(index, local, Some(number)));
            }
        }
        for (number, sent) in mine() {
            let outcome = match sent.dropped_at() {
                Some(step) => Err(StepRefusal::DroppedAlready { step }),
                None => Ok(Effect::Nothing),
            };
            choices.push(Choice {
                key: Key::Drop(number),
                action: None,
                message: Some(number),
                outcome,
            });
        }
    }

    fn choice(&self, index: usize, local: Local, message: Option<u32>) -> Choice {
        let what =
            StepKind::from_local(&local, |_| message).expect("a delivery has its message's number");
        let action = Action {
            process: index,
            local,
        };
        let outcome = self
            .allowed(&action)
            .map(|step| self.effect(&action, &step));
        Choice {
            key: Key::Step {
                process: index as u32 + 1,
                what,
            },
            action: Some(action),
            message,
            outcome,
        }
    }

    fn effect(&self, action: &Action, step: &LocalStep) -> Effect {
        let is_new = |sent: &Envelope| !self.numbers.contains_key(sent);
        let is_idle = step.only_sends(&self.system.processes[action.process])
            && !step.sent.iter().any(is_new);
        if is_idle {
            Effect::Nothing
        } else {
            Effect::Something
        }
    }

    fn action(&self, index: usize, what: StepKind) -> Result<Action, StepRefusal> {
        let process = self.system.processes.get(index);
        let process = process.ok_or_else(|| StepRefusal::NoProcess {
            process: index.wrapping_add(1),
            processes: self.system.processes.len(),
        })?;
        let local = match what {
            StepKind::Deliver { message, ask } => {
                let sent = self
                    .message(message)
                    .ok_or(StepRefusal::NoMessage { message })?;
                let envelope = Envelope::clone(&sent.envelope);
                if !process.receives_at(envelope.to) {
                    return Err(StepRefusal::WrongReceiver {
                        message,
                        receiver: envelope.to.to_string(),
                        process: process.address().to_string(),
                    });
                }
                let local = Local::Deliver { envelope, ask };
                let is_way = matches!(&local, Local::Deliver { envelope, .. }
                    if self.real.deliveries(envelope).contains(&local));
                if !is_way {
                    return Err(StepRefusal::WrongDelivery { message });
                }
                local
            }
            other => other.local().ok_or(StepRefusal::NoEvent)?,
        };
        Ok(Action {
            process: index,
            local,
        })
    }

    /// The result of a step, if it is possible.
    fn allowed(&self, action: &Action) -> Result<LocalStep, StepRefusal> {
        let process = &self.system.processes[action.process];
        let not_enabled = || StepRefusal::NotEnabled {
            process: process.address().to_string(),
        };
        match &action.local {
            Local::Deliver { envelope, .. } => {
                let number = self.number(envelope);
                let sent = number.and_then(|number| self.message(number));
                if let Some(step) = sent.and_then(Sent::dropped_at) {
                    return Err(StepRefusal::Dropped { step });
                }
            }
            Local::ElectionTimeout if self.at_last_term(process) => return Err(self.last_term()),
            local => {
                if !self.generous.local_events(process).contains(local) {
                    return Err(not_enabled());
                }
            }
        }
        let step = self.generous.local_step(process, &action.local);
        let step = step.ok_or_else(|| match process.server() {
            Some(server) if server.running.is_none() => StepRefusal::Down {
                process: process.address().to_string(),
            },
            _ => not_enabled(),
        })?;
        match self.lacking(&step.cost) {
            None => Ok(step),
            Some(why) => Err(why),
        }
    }

    fn at_last_term(&self, process: &Process) -> bool {
        let running = process.server().and_then(|server| server.running.as_ref());
        running.is_some_and(|running| {
            !matches!(running.raft.role(), model::Role::Leader(_))
                && running.raft.current_term() >= self.real.scope().last_term()
        })
    }

    fn last_term(&self) -> StepRefusal {
        StepRefusal::LastTerm {
            term: self.real.scope().last_term(),
        }
    }

    /// The part of the cost that exceeds the budget.
    fn lacking(&self, cost: &Usage) -> Option<StepRefusal> {
        let after = self.system.spent.plus(cost);
        let Budget {
            entries,
            reads,
            crashes,
            snapshots,
            client_crashes,
            proxy_crashes,
            transfers,
        } = self.real.scope().budget;
        let counts = [
            ("entries", after.entries, Limit::at_most(entries)),
            ("reads", after.reads, Limit::at_most(reads)),
            ("crashes", after.crashes, crashes),
            ("snapshots", after.snapshots, snapshots),
            ("client-crashes", after.client_crashes, client_crashes),
            ("proxy-crashes", after.proxy_crashes, proxy_crashes),
            ("transfers", after.transfers, transfers),
        ];
        counts
            .into_iter()
            .find_map(|(budget, after, limit)| match limit {
                Limit::Never if after > 0 => Some(StepRefusal::NoBudget { budget }),
                Limit::AtMost(limit) if after > limit => {
                    Some(StepRefusal::BudgetSpent { budget, limit })
                }
                _ => None,
            })
    }

    fn act(&mut self, key: Key, action: Action) -> Result<(), StepRefusal> {
        let step = self.allowed(&action)?;
        let text = explain::describe_action(&action, &self.system);
        let (spent, mut history, witnesses, mut violation) = self
            .real
            .record(&self.system.spent, &self.system.history, &step)
            .ok_or(StepRefusal::OutOfBounds)?;
        violation = violation.or_else(|| self.check_pairs(&action, &step.next, Properties::ALL));
        let mut all = Vec::new();
        if violation.is_some() {
            all = self.check_separately(&action);
            let unchecked = self.with_properties(Properties::NONE);
            if let Some((_, whole, _, _)) =
                unchecked.record(&self.system.spent, &self.system.history, &step)
            {
                history = whole;
            }
        }
        let number = self.steps.len() + 1;
        if let Local::Deliver { envelope, .. } = &action.local
            && let Some(message) = self.number(envelope)
        {
            let sent = &mut self.messages[message as usize - 1];
            sent.fates.push((number, Fate::Delivered));
        }
        let sent = step.sent.into_iter();
        let sent = sent.map(|envelope| self.send(envelope, number)).collect();
        self.system.spent = spent;
        self.system.history = history.clone();
        self.system.processes[action.process] = step.next.clone();
        let history = match self.steps.last() {
            Some(last) if *last.history == history => Arc::clone(&last.history),
            _ => Arc::new(history),
        };
        self.push(WalkStep {
            key,
            process: action.process,
            local: Some(action.local),
            sent,
            after: Arc::new(step.next),
            witnesses,
            text,
            violations: all,
            spent,
            history,
            messages: self.messages.len(),
        });
        Ok(())
    }

    /// The same transitions with other properties.
    fn with_properties(&self, properties: Properties) -> TransitionSystem {
        step_guard::transitions(Scope {
            properties,
            ..self.real.scope().clone()
        })
    }

    /// All violations of the step. Each property is checked as if it were the only one.
    fn check_separately(&self, action: &Action) -> Vec<Violation> {
        let check = |property| {
            let properties = Properties::only(property);
            let real = self.with_properties(properties);
            let step = real.local_step(&self.system.processes[action.process], &action.local)?;
            let (_, _, _, violation) =
                real.record(&self.system.spent, &self.system.history, &step)?;
            violation.or_else(|| self.check_pairs(action, &step.next, properties))
        };
        Property::ALL
            .iter()
            .filter_map(|property| check(*property))
            .collect()
    }

    fn check_pairs(
        &self,
        action: &Action,
        next: &Process,
        properties: Properties,
    ) -> Option<Violation> {
        let facet = Facet::new(next.server()?);
        let others = self.system.processes.iter().enumerate();
        let others = others.filter(|(index, _)| *index != action.process);
        others
            .filter_map(|(_, other)| other.server())
            .find_map(|other| {
                properties::pair::check_pair(&facet, &Facet::new(other), properties).err()
            })
    }

    /// The properties of two servers that are violated in the current state.
    pub(super) fn current_violations(&self) -> Vec<Violation> {
        let servers: Vec<Facet> = self
            .system
            .processes
            .iter()
            .filter_map(Process::server)
            .map(Facet::new)
            .collect();
        let pairs = || {
            let places = servers.iter().enumerate();
            places
                .flat_map(|(index, one)| servers[index + 1..].iter().map(move |other| (one, other)))
        };
        let check = |property: &Property| {
            pairs().find_map(|(one, other)| {
                properties::pair::check_pair(one, other, Properties::only(*property)).err()
            })
        };
        Property::ALL.iter().filter_map(check).collect()
    }

    fn drop_message(&mut self, key: Key, message: u32) -> Result<(), StepRefusal> {
        let sent = self
            .message(message)
            .ok_or(StepRefusal::NoMessage { message })?;
        if let Some(step) = sent.dropped_at() {
            return Err(StepRefusal::DroppedAlready { step });
        }
        let to = sent.envelope.to;
        let mut processes = self.system.processes.iter();
        let process = processes
            .position(|process| process.receives_at(to))
            .ok_or(StepRefusal::NoReceiver)?;
        let text = format!(
            "the network drops {} from {} to {to}",
            explain::message(&sent.envelope.message),
            sent.envelope.from
        );
        let number = self.steps.len() + 1;
        self.messages[message as usize - 1]
            .fates
            .push((number, Fate::Dropped));
        let last = self.steps.iter().rev().find(|step| step.process == process);
        let after = match last {
            Some(step) => Arc::clone(&step.after),
            None => Arc::new(self.start.processes[process].clone()),
        };
        self.push(WalkStep {
            key,
            process,
            local: None,
            sent: Vec::new(),
            after,
            witnesses: Witnesses::default(),
            text,
            violations: Vec::new(),
            spent: self.system.spent,
            history: Arc::new(self.system.history.clone()),
            messages: self.messages.len(),
        });
        Ok(())
    }

    fn push(&mut self, step: WalkStep) {
        self.bytes += step.bytes();
        self.steps.push(step);
    }

    fn send(&mut self, envelope: Envelope, step: usize) -> u32 {
        let number = match self.number(&envelope) {
            Some(number) => number,
            None => {
                let envelope = Arc::new(envelope);
                self.messages.push(Sent {
                    envelope: Arc::clone(&envelope),
                    fates: Vec::new(),
                });
                let number = self.messages.len() as u32;
                self.numbers.insert(envelope, number);
                number
            }
        };
        self.messages[number as usize - 1]
            .fates
            .push((step, Fate::Sent));
        number
    }
}
