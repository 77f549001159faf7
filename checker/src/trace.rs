//! Traces: real runs of a scope, step by step.
//!
//! The search works on a reduced model: canonical forms, dropped messages, and early sends. A [`Trace`]
//! has none of these. Its steps are steps over the unreduced network: each message delivered in a trace
//! was sent by an earlier step of the same trace, and server ids do not change. [`concrete`] makes a
//! trace from the path that a search found. [`crate::simulate`] makes traces by random walks.
//!
//! Invariants:
//! * a `Trace` was executed: the only way to make one is to run its actions in the model;
//! * only its last step may violate a property.
//!
//! Merged syncs, merged restarts and forgotten hints stay as the scope defines them: they belong to the
//! steps of a server, not to the network.
//!
//! `snapshot` serializes the state of a process, `jsonl` whole traces.

mod jsonl;
mod snapshot;

pub use jsonl::{BadTrace, BadTraceLine, SCHEMA, read_jsonl};
pub(crate) use jsonl::{Read, TraceKind, read_each, write_run};
pub use snapshot::ProcessSnapshot;

use crate::step_guard;
use anyhow::{Context, Result, ensure};
use model::{
    Envelope,
    system::{Action, Local, Property, Scope, System, TransitionSystem, Violation, Witnesses},
};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

/// A real run.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The scope of the run.
    pub scope: Scope,
    /// The steps, in order.
    pub steps: Vec<TraceStep>,
    /// The property that the last step violates, if any.
    pub violation: Option<Violation>,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// The action.
    pub action: Action,
    /// The messages that it sent, repetitions included.
    pub sent: Vec<Envelope>,
    /// The state after the step. The network contains every message ever sent.
    pub state: System,
    /// The witnesses that the step reached.
    pub witnesses: Witnesses,
}

impl Trace {
    /// Executes actions from the initial state of a scope.
    ///
    /// # Errors
    /// The first action that the model does not allow, counted from 1.
    pub fn run(scope: &Scope, actions: &[Action]) -> Result<Self> {
        let real = real_system(scope);
        let mut trace = Self {
            scope: scope.clone(),
            steps: Vec::new(),
            violation: None,
        };
        for (index, action) in actions.iter().enumerate() {
            let step = trace
                .advance(&real, action)
                .with_context(|| format!("step {}", index + 1))?;
            trace.push(step);
        }
        Ok(trace)
    }

    /// The initial system.
    pub fn start(&self) -> System {
        real_system(&self.scope).start()
    }

    /// The final system.
    pub fn end(&self) -> System {
        match self.steps.last() {
            Some(step) => step.state.clone(),
            None => self.start(),
        }
    }

    /// The actions alone. Together with the scope, they reproduce the trace.
    pub fn actions(&self) -> Vec<Action> {
        self.steps.iter().map(|step| step.action.clone()).collect()
    }

    /// The witnesses reached on the way.
    pub fn witnesses(&self) -> Witnesses {
        let mut witnesses = Witnesses::default();
        for step in &self.steps {
            witnesses.add_all(step.witnesses);
        }
        witnesses
    }

    /// Returns a run that violates the same property and from which no single step can be removed. Tries
    /// to remove halves, then quarters, down to single steps (Zeller's ddmin). Steps that depend on a
    /// removed step are removed with it. A run without a violation is returned unchanged.
    ///
    /// # Panics
    /// Never: a run that was executed once can be executed again.
    #[must_use]
    pub fn shrink(&self) -> Self {
        self.shrink_until(&AtomicBool::new(false))
    }

    /// The same as [`Self::shrink`], but returns the best result so far once `interrupt` is set.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn shrink_until(&self, interrupt: &AtomicBool) -> Self {
        let Some(violation) = &self.violation else {
            return self.clone();
        };
        let actions = shrink(
            &real_system(&self.scope),
            self.actions(),
            violation.property,
            interrupt,
        );
        Self::run(&self.scope, &actions).expect("the actions were executed before")
    }

    /// Executes one more step without adding it.
    fn advance(
        &self,
        real: &TransitionSystem,
        action: &Action,
    ) -> Result<TraceStep, ImpossibleStep> {
        TraceStep::take(real, self.end(), action)
    }

    fn push(&mut self, step: TraceStep) {
        self.violation.clone_from(&step.state.violation);
        self.steps.push(step);
    }
}

model::diagnostics! {
    /// The reason why the model does not allow a step.
    pub enum ImpossibleStep {
        /// A property is violated already.
        StepAfterViolation { property: &'static str }
            = "no step follows a violation, and {property} is violated";
        /// The step is not possible, or exceeds a bound.
        StepOutOfBounds = "this step is impossible, or exceeds the bounds of the scope";
        /// The system has no such process.
        NoProcessAt { index: usize } = "there is no process with index {index}";
        /// The message has another receiver.
        DeliveredElsewhere { process: String, receiver: String }
            = "a message to {process} is delivered to {receiver}";
        /// The message is not in the network.
        DeliveredUnsent { receiver: String }
            = "the message delivered to {receiver} was never sent";
        /// The delivery draws a server, or none.
        NoSuchDelivery { receiver: String }
            = "the message cannot be delivered to {receiver} in this way";
        /// The event is not enabled.
        StepNotEnabled { process: String } = "the state of {process} does not allow this";
    }
}

impl TraceStep {
    /// Takes a step from a system, over the unreduced network.
    fn take(
        real: &TransitionSystem,
        before: System,
        action: &Action,
    ) -> Result<Self, ImpossibleStep> {
        if let Some(violation) = &before.violation {
            return Err(ImpossibleStep::StepAfterViolation {
                property: violation.property.name(),
            });
        }
        enabled(real, &before, action)?;
        let sent = real
            .local_step(&before.processes[action.process], &action.local)
            .map(|step| step.sent)
            .unwrap_or_default();
        let mut state = before;
        let witnesses = real
            .advance(&mut state, action)
            .ok_or(ImpossibleStep::StepOutOfBounds)?;
        Ok(Self {
            action: action.clone(),
            sent,
            state,
            witnesses,
        })
    }
}

/// The scope with the unreduced network: only steps send messages, and no message is dropped.
pub(crate) fn real_network(scope: &Scope) -> Scope {
    let mut real = scope.clone();
    real.reduction.send_early = false;
    real.reduction.drop_dead = false;
    real.reduction.trim_appends = false;
    real
}

/// The transition system over the unreduced network.
pub(crate) fn real_system(scope: &Scope) -> TransitionSystem {
    step_guard::transitions(real_network(scope))
}

/// Checks whether an action can be tried: its process exists, the message was sent to it, the timer is
/// armed. The action may still be impossible or exceed the budget.
pub(crate) fn enabled(
    real: &TransitionSystem,
    system: &System,
    action: &Action,
) -> Result<(), ImpossibleStep> {
    let process = system.processes.get(action.process);
    let process = process.ok_or(ImpossibleStep::NoProcessAt {
        index: action.process,
    })?;
    let address = process.address();
    let receiver = || address.to_string();
    match &action.local {
        Local::Deliver { envelope, .. } if !process.receives_at(envelope.to) => {
            Err(ImpossibleStep::DeliveredElsewhere {
                process: envelope.to.to_string(),
                receiver: receiver(),
            })
        }
        Local::Deliver { envelope, .. } if !system.network.contains(envelope) => {
            Err(ImpossibleStep::DeliveredUnsent {
                receiver: receiver(),
            })
        }
        Local::Deliver { envelope, .. } if !real.deliveries(envelope).contains(&action.local) => {
            Err(ImpossibleStep::NoSuchDelivery {
                receiver: receiver(),
            })
        }
        Local::Deliver { .. } => Ok(()),
        local if real.local_events(process).contains(local) => Ok(()),
        _ => Err(ImpossibleStep::StepNotEnabled {
            process: receiver(),
        }),
    }
}

/// Makes a real run from the path that a search found. `path` are the systems of the reduced model, up
/// to a permutation of the servers, from the initial one to the one whose step violates the property.
///
/// # Errors
/// If the path is not a path of the scope, or the reduced model allowed a step that the real network
/// does not: a bug in a reduction.
pub fn concrete(scope: &Scope, path: &[System], violation: &Violation) -> Result<Trace> {
    let reduced = step_guard::transitions(scope.clone());
    let (mut decisions, system) = decisions(&reduced, path)?;
    decisions.push(violating(&reduced, &system, violation)?);
    let trace = real_run(scope, &decisions)?;
    let property = trace.violation.as_ref().map(|violation| violation.property);
    ensure!(
        property == Some(violation.property),
        "the reduced model violates {}, its real run {}",
        violation.property,
        property.map_or("no property", Property::name)
    );
    Ok(postpone_sends(trace.shrink()))
}

/// Makes a real run from a path without a violation. `path` are the systems of the reduced model, up to
/// a permutation of the servers, from the initial one to the last one of the run.
///
/// # Errors
/// If the path is not a path of the scope, or the reduced model allowed a step that the real network
/// does not: a bug in a reduction.
pub fn concrete_path(scope: &Scope, path: &[System]) -> Result<Trace> {
    let (decisions, _) = decisions(&step_guard::transitions(scope.clone()), path)?;
    Ok(postpone_sends(real_run(scope, &decisions)?))
}

/// Makes a real continuation from the decisions that a search over the reduced model took from `shown`,
/// a system with its whole network. It ends with the first step after which `goal` holds for the system
/// and the witnesses of the step.
///
/// # Errors
/// If the reduced model allowed a step that the real network does not, or the goal is not reached: a bug
/// in a reduction.
pub(crate) fn continuation(
    scope: &Scope,
    shown: &System,
    decisions: &[Action],
    goal: &dyn Fn(&System, Witnesses) -> bool,
) -> Result<Vec<Action>> {
    let real = real_system(scope);
    let mut steps = early_sends_from(scope, shown.clone(), decisions)?;
    // A message that can be sent after the last decision may reach the goal.
    let mut system = shown.clone();
    for step in &steps {
        real.advance(&mut system, &step.action)
            .context("a step of the continuation cannot happen")?;
    }
    send_early(&real, &mut system, &mut steps);
    let mut system = shown.clone();
    let mut last = None;
    for (index, step) in steps.iter().enumerate() {
        let witnesses = real
            .advance(&mut system, &step.action)
            .context("a step of the continuation cannot happen")?;
        if goal(&system, witnesses) {
            last = Some(index);
            break;
        }
    }
    let last = last.context("the continuation does not reach the result found")?;
    steps.truncate(last + 1);
    steps[last].only_sends = false;
    Ok(needed(&steps))
}

fn real_run(scope: &Scope, decisions: &[Action]) -> Result<Trace> {
    let sends = with_early_sends(scope, decisions)?;
    Trace::run(scope, &needed(&sends)).context("the real run of the path")
}

/// The actions of the reduced model along the path, with fixed server ids, and the system that they lead
/// to.
fn decisions(reduced: &TransitionSystem, path: &[System]) -> Result<(Vec<Action>, System)> {
    let mut system = reduced.start();
    let mut decisions = Vec::new();
    for (index, next) in path.iter().enumerate().skip(1) {
        let wanted = next.canonical();
        let found = reduced.actions(&system).into_iter().find_map(|action| {
            let (next, _) = reduced.next(&system, &action)?;
            let same = resembles(&next, &wanted) && next.canonical() == wanted;
            same.then_some((action, next))
        });
        let (action, next) = found.with_context(|| {
            format!("no action of the scope takes step {index} of the path found")
        })?;
        decisions.push(action);
        system = next;
    }
    Ok((decisions, system))
}

/// An action that violates the property.
fn violating(reduced: &TransitionSystem, system: &System, violation: &Violation) -> Result<Action> {
    let mut actions = reduced.actions(system).into_iter();
    let found = actions.find(|action| {
        reduced.next(system, action).is_some_and(|(next, _)| {
            next.violation
                .is_some_and(|found| found.property == violation.property)
        })
    });
    found.with_context(|| {
        format!(
            "no action after the path found violates {}",
            violation.property
        )
    })
}

/// A cheap necessary condition for equality up to a permutation of the servers. Canonical forms are
/// expensive.
fn resembles(one: &System, other: &System) -> bool {
    one.spent == other.spent
        && one.violation.is_none()
        && one.network.len() == other.network.len()
        && one.history.committed == other.history.committed
        && one.history.operations == other.history.operations
}

/// A step that may become part of a trace.
struct Candidate {
    action: Action,
    sent: Vec<Envelope>,
    /// Whether the step only sends.
    only_sends: bool,
}

/// The decisions, and before each the steps that only send and were possible by then. The network of the
/// reduced model already contains their messages.
fn with_early_sends(scope: &Scope, decisions: &[Action]) -> Result<Vec<Candidate>> {
    early_sends_from(scope, real_system(scope).start(), decisions)
}

fn early_sends_from(
    scope: &Scope,
    mut system: System,
    decisions: &[Action],
) -> Result<Vec<Candidate>> {
    let real = real_system(scope);
    let reduced = step_guard::transitions(scope.clone());
    let mut steps = Vec::new();
    for (index, decision) in decisions.iter().enumerate() {
        send_early(&real, &mut system, &mut steps);
        let decision = really_sent(&reduced, &system, decision);
        enabled(&real, &system, &decision)
            .with_context(|| format!("decision {} of the path", index + 1))?;
        let step = real
            .local_step(&system.processes[decision.process], &decision.local)
            .with_context(|| format!("decision {} of the path cannot happen", index + 1))?;
        real.advance(&mut system, &decision)
            .with_context(|| format!("decision {} of the path is not allowed", index + 1))?;
        steps.push(Candidate {
            action: decision,
            sent: step.sent,
            only_sends: false,
        });
    }
    Ok(steps)
}

/// Replaces the delivery of a trimmed message, which was never sent, by the delivery of a message that
/// was sent. The sent message has the same effect: its additional entries are already in the receiver's
/// log.
fn really_sent(reduced: &TransitionSystem, system: &System, decision: &Action) -> Action {
    let Local::Deliver { envelope, ask } = &decision.local else {
        return decision.clone();
    };
    let receiver = &system.processes[decision.process];
    let is_it = |sent: &&Envelope| {
        sent.from == envelope.from
            && sent.to == envelope.to
            && reduced.trimmed(receiver, &sent.message).as_ref() == Some(&envelope.message)
    };
    if system.network.contains(envelope) {
        return decision.clone();
    }
    let Some(sent) = system.network.iter().find(is_it) else {
        return decision.clone();
    };
    Action {
        process: decision.process,
        local: Local::Deliver {
            envelope: sent.clone(),
            ask: *ask,
        },
    }
}

fn send_early(real: &TransitionSystem, system: &mut System, steps: &mut Vec<Candidate>) {
    let mut tried = BTreeSet::new();
    loop {
        let before = system.network.len();
        for action in real.actions(system) {
            if !tried.insert(action.clone()) {
                continue;
            }
            let process = &system.processes[action.process];
            let Some(step) = real.local_step(process, &action.local) else {
                continue;
            };
            let new = step.sent.iter().any(|sent| !system.network.contains(sent));
            if step.only_sends(process) && new {
                system.network.extend(step.sent.iter().cloned());
                steps.push(Candidate {
                    action,
                    sent: step.sent,
                    only_sends: true,
                });
            }
        }
        if system.network.len() == before {
            return;
        }
    }
}

/// The actions without the sends that no later delivery needs.
fn needed(steps: &[Candidate]) -> Vec<Action> {
    let mut wanted: BTreeSet<&Envelope> = BTreeSet::new();
    let mut kept = Vec::new();
    for step in steps.iter().rev() {
        if step.only_sends && !step.sent.iter().any(|sent| wanted.contains(sent)) {
            continue;
        }
        for sent in &step.sent {
            wanted.remove(sent);
        }
        if let Local::Deliver { envelope, .. } = &step.action.local {
            wanted.insert(envelope);
        }
        kept.push(step.action.clone());
    }
    kept.reverse();
    kept
}

/// Moves each step that only sends to just before the first delivery of its messages, where the model
/// allows it. An explanation is easier to follow if few messages are in flight.
fn postpone_sends(mut trace: Trace) -> Trace {
    for index in (0..trace.steps.len()).rev() {
        let before = match index.checked_sub(1) {
            Some(before) => trace.steps[before].state.clone(),
            None => trace.start(),
        };
        let step = &trace.steps[index];
        let moved = step.action.process;
        if before.processes[moved] != step.state.processes[moved] {
            continue;
        }
        let user = trace.steps[index + 1..].iter().position(|later| {
            matches!(&later.action.local, Local::Deliver { envelope, .. } if step.sent.contains(envelope))
        });
        let Some(user) = user.filter(|user| *user > 0) else {
            continue;
        };
        let mut actions = trace.actions();
        actions[index..=index + user].rotate_left(1);
        let property = |trace: &Trace| trace.violation.as_ref().map(|violation| violation.property);
        if let Ok(later) = Trace::run(&trace.scope, &actions)
            && property(&later) == property(&trace)
        {
            trace = later;
        }
    }
    trace
}

fn shrink(
    real: &TransitionSystem,
    actions: Vec<Action>,
    property: Property,
    interrupt: &AtomicBool,
) -> Vec<Action> {
    let mut best = survivors(real, &actions, property).unwrap_or(actions);
    let mut piece = best.len().div_ceil(2).max(1);
    loop {
        let (mut start, mut shorter) = (0, false);
        while start < best.len() {
            if interrupt.load(Ordering::Relaxed) {
                return best;
            }
            let mut rest = best.clone();
            rest.drain(start..best.len().min(start + piece));
            match survivors(real, &rest, property) {
                Some(found) => {
                    best = found;
                    shorter = true;
                }
                None => start += piece,
            }
        }
        if piece == 1 && !shorter {
            return best;
        }
        piece = (piece / 2).max(1);
    }
}

/// The actions that are still possible and have an effect, up to the one that violates the property.
/// Returns `None` if the property is not violated. If a message was not sent, the last similar message
/// replaces it: the removal of an earlier step changes the contents of many messages, but their
/// deliveries may still be useful.
fn survivors(
    real: &TransitionSystem,
    actions: &[Action],
    property: Property,
) -> Option<Vec<Action>> {
    let mut system = real.start();
    let mut sent: Vec<Envelope> = Vec::new();
    let mut done = Vec::new();
    for action in actions {
        let Some(action) = stand_in(&sent, &system, action) else {
            continue;
        };
        if enabled(real, &system, &action).is_err() {
            continue;
        }
        let process = &system.processes[action.process];
        let Some(step) = real.local_step(process, &action.local) else {
            continue;
        };
        if !advance(real, &mut system, &action) {
            continue;
        }
        sent.extend(step.sent);
        done.push(action);
        if let Some(violation) = &system.violation {
            return (violation.property == property).then_some(done);
        }
    }
    None
}

/// The action itself, or the delivery of the last message of the same kind on the same channel.
fn stand_in(sent: &[Envelope], system: &System, action: &Action) -> Option<Action> {
    let Local::Deliver { envelope, ask } = &action.local else {
        return Some(action.clone());
    };
    if system.network.contains(envelope) {
        return Some(action.clone());
    }
    let alike = |other: &&Envelope| {
        let kind = |envelope: &Envelope| std::mem::discriminant(&envelope.message);
        other.from == envelope.from && other.to == envelope.to && kind(other) == kind(envelope)
    };
    Some(Action {
        process: action.process,
        local: Local::Deliver {
            envelope: sent.iter().rev().find(alike)?.clone(),
            ask: *ask,
        },
    })
}

/// Executes an action. Returns whether it was possible and had an effect.
fn advance(real: &TransitionSystem, system: &mut System, action: &Action) -> bool {
    let before = system.processes[action.process].clone();
    let (network, spent) = (system.network.len(), system.spent);
    if real.advance(system, action).is_none() {
        return false;
    }
    system.violation.is_some()
        || system.network.len() != network
        || system.spent != spent
        || system.processes[action.process] != before
}
