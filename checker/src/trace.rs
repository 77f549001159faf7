//! Traces: real runs of a scope, step by step.
//!
//! The search works on a reduced model: servers renamed, messages forgotten that nobody will act
//! on, messages sent at once that could be sent at any time. A [`Trace`] has none of that. Its
//! steps are steps of the network as it is: every message delivered in it was sent by an earlier
//! step of it, and names stay what they are. [`concrete`] makes one from the path that a search
//! found; [`crate::simulate`] makes them by walking.
//!
//! Invariants:
//! * a `Trace` was executed: there is no way to make one but to run its actions in the model;
//! * only its last step may break a law.
//!
//! What the scope merges (syncs, restarts) and forgets within a server (hints) stays merged: that
//! belongs to how a server steps, not to the network.
//!
//! `bounds` writes a scope down, `snapshot` the state of a process, `jsonl` whole traces.

mod bounds;
mod jsonl;
mod snapshot;

pub use bounds::ScopeBounds;
pub use jsonl::{BadTrace, SCHEMA, read_jsonl};
pub(crate) use jsonl::{Read, read_each, write_run};
pub use snapshot::Snapshot;

use anyhow::{Context, Result, bail, ensure};
use model::{
    Envelope,
    system::{Action, Broken, Law, Local, Scope, System, Witnesses},
};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

/// A real run.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The scope it is a run of.
    pub scope: Scope,
    /// What happened, in order.
    pub steps: Vec<TraceStep>,
    /// The law that the last step broke, if it broke one.
    pub broken: Option<Broken>,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// What happened.
    pub action: Action,
    /// What it sent, repetitions included.
    pub sent: Vec<Envelope>,
    /// Everything afterwards; the network holds every message ever sent.
    pub state: System,
    /// What it bore witness to.
    pub witnesses: Witnesses,
}

impl Trace {
    /// Executes actions from the start of a scope.
    ///
    /// # Errors
    /// The first action that the model does not allow, counted from 1.
    pub fn run(scope: &Scope, actions: &[Action]) -> Result<Self> {
        let real = real_network(scope);
        let mut trace = Self {
            scope: scope.clone(),
            steps: Vec::new(),
            broken: None,
        };
        for (place, action) in actions.iter().enumerate() {
            let step = trace
                .advance(&real, action)
                .with_context(|| format!("step {}", place + 1))?;
            trace.push(step);
        }
        Ok(trace)
    }

    /// The system it starts from.
    pub fn start(&self) -> System {
        real_network(&self.scope).start()
    }

    /// The system it ends in.
    pub fn end(&self) -> System {
        match self.steps.last() {
            Some(step) => step.state.clone(),
            None => self.start(),
        }
    }

    /// What happened, alone: with the scope it makes the trace again.
    pub fn actions(&self) -> Vec<Action> {
        self.steps.iter().map(|step| step.action.clone()).collect()
    }

    /// What was witnessed on the way.
    pub fn witnesses(&self) -> Witnesses {
        let mut witnesses = Witnesses::default();
        for step in &self.steps {
            witnesses.add_all(step.witnesses);
        }
        witnesses
    }

    /// A run that breaks the same law and from which no single step can be left out. Tries to
    /// leave out halves, then quarters, down to single steps (Zeller's ddmin); what depended on a
    /// step that is gone is left out with it. A run that breaks no law is returned as it is.
    ///
    /// # Panics
    /// Never: what was executed once is executed again.
    #[must_use]
    pub fn shrink(&self) -> Self {
        self.shrink_until(&AtomicBool::new(false))
    }

    /// The same, but what was left out so far is enough once `interrupt` is set.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn shrink_until(&self, interrupt: &AtomicBool) -> Self {
        let Some(broken) = &self.broken else {
            return self.clone();
        };
        let actions = shrink(
            &real_network(&self.scope),
            self.actions(),
            broken.law,
            interrupt,
        );
        Self::run(&self.scope, &actions).expect("the actions were executed before")
    }

    /// One more step, not added yet.
    fn advance(&self, real: &Scope, action: &Action) -> Result<TraceStep> {
        TraceStep::take(real, self.end(), action)
    }

    fn push(&mut self, step: TraceStep) {
        self.broken.clone_from(&step.state.broken);
        self.steps.push(step);
    }
}

impl TraceStep {
    /// A step from a system, over the network as it is.
    fn take(real: &Scope, before: System, action: &Action) -> Result<Self> {
        if let Some(broken) = &before.broken {
            bail!(
                "nothing happens after a law is broken, and {} is",
                broken.law
            );
        }
        enabled(real, &before, action)?;
        let sent = real
            .local_step(&before.processes[action.process], &action.local)
            .map(|step| step.sent)
            .unwrap_or_default();
        let mut state = before;
        let witnesses = real
            .advance(&mut state, action)
            .context("this cannot happen, or not within the bounds of the scope")?;
        Ok(Self {
            action: action.clone(),
            sent,
            state,
            witnesses,
        })
    }
}

/// The scope with its network as it is: nothing is sent but by a step, nothing is forgotten.
pub(crate) fn real_network(scope: &Scope) -> Scope {
    let mut real = scope.clone();
    real.reduction.send_early = false;
    real.reduction.drop_dead = false;
    real
}

/// Whether something may be tried: its process exists, a message was sent to it, a timer is armed.
/// It may still turn out impossible, or not within the budget.
pub(crate) fn enabled(scope: &Scope, system: &System, action: &Action) -> Result<()> {
    let process = system
        .processes
        .get(action.process)
        .with_context(|| format!("there is no process at place {}", action.process))?;
    let address = process.address();
    match &action.local {
        Local::Deliver { envelope, .. } => {
            ensure!(
                envelope.to == address,
                "a message to {} is delivered to {address}",
                envelope.to
            );
            ensure!(
                system.network.contains(envelope),
                "the message delivered to {address} was never sent"
            );
            ensure!(
                scope.deliveries(envelope).contains(&action.local),
                "{address} cannot take the message in this way"
            );
        }
        local => ensure!(
            scope.local_events(process).contains(local),
            "{address} is in no state for this"
        ),
    }
    Ok(())
}

/// Makes a real run of the path that a search found: `path` are the systems of the reduced model,
/// up to the renaming of servers, from the start to the one whose step breaks the law.
///
/// # Errors
/// If the path is not one of the scope, or the reduced model allowed what the real network does
/// not: a fault of a reduction.
pub fn concrete(scope: &Scope, path: &[System], broken: &Broken) -> Result<Trace> {
    let (mut decisions, system) = decisions(scope, path)?;
    decisions.push(breaking(scope, &system, broken)?);
    let trace = real_run(scope, &decisions)?;
    let law = trace.broken.as_ref().map(|broken| broken.law);
    ensure!(
        law == Some(broken.law),
        "the reduced model breaks {}, its real run {}",
        broken.law,
        law.map_or("no law", Law::name)
    );
    Ok(postpone_sends(trace.shrink()))
}

/// Makes a real run of a path on which no law breaks: `path` are the systems of the reduced model,
/// up to the renaming of servers, from the start to the last of the run.
///
/// # Errors
/// If the path is not one of the scope, or the reduced model allowed what the real network does
/// not: a fault of a reduction.
pub fn concrete_path(scope: &Scope, path: &[System]) -> Result<Trace> {
    let (decisions, _) = decisions(scope, path)?;
    Ok(postpone_sends(real_run(scope, &decisions)?))
}

/// Makes a real continuation of the decisions that a search over the reduced model took from
/// `shown`, a system with its whole network. It ends with the first step after which `goal` holds
/// of the system and of what the step bore witness to.
///
/// # Errors
/// If the reduced model allowed what the real network does not, or the goal is not reached: a fault
/// of a reduction.
pub(crate) fn continuation(
    scope: &Scope,
    shown: &System,
    decisions: &[Action],
    goal: &dyn Fn(&System, Witnesses) -> bool,
) -> Result<Vec<Action>> {
    let real = real_network(scope);
    let mut steps = early_sends_from(scope, shown.clone(), decisions)?;
    // What could be sent after the last decision may be what is looked for.
    let mut system = shown.clone();
    for step in &steps {
        real.advance(&mut system, &step.action)
            .context("a step of the continuation cannot happen")?;
    }
    send_early(&real, &mut system, &mut steps);
    let mut system = shown.clone();
    let mut last = None;
    for (place, step) in steps.iter().enumerate() {
        let witnesses = real
            .advance(&mut system, &step.action)
            .context("a step of the continuation cannot happen")?;
        if goal(&system, witnesses) {
            last = Some(place);
            break;
        }
    }
    let last = last.context("the continuation does not reach what was found")?;
    steps.truncate(last + 1);
    steps[last].only_sends = false;
    Ok(needed(&steps))
}

fn real_run(scope: &Scope, decisions: &[Action]) -> Result<Trace> {
    let sends = with_early_sends(scope, decisions)?;
    Trace::run(scope, &needed(&sends)).context("the real run of the path")
}

/// The actions of the reduced model along the path, with names that stay what they are, and the
/// system they lead to.
fn decisions(scope: &Scope, path: &[System]) -> Result<(Vec<Action>, System)> {
    let mut system = scope.start();
    let mut decisions = Vec::new();
    for (place, next) in path.iter().enumerate().skip(1) {
        let wanted = next.canonical();
        let found = scope.actions(&system).into_iter().find_map(|action| {
            let (next, _) = scope.next(&system, &action)?;
            let same = resembles(&next, &wanted) && next.canonical() == wanted;
            same.then_some((action, next))
        });
        let (action, next) = found.with_context(|| {
            format!("no action of the scope makes step {place} of the path that was found")
        })?;
        decisions.push(action);
        system = next;
    }
    Ok((decisions, system))
}

/// An action that breaks the law.
fn breaking(scope: &Scope, system: &System, broken: &Broken) -> Result<Action> {
    let mut actions = scope.actions(system).into_iter();
    let found = actions.find(|action| {
        scope
            .next(system, action)
            .is_some_and(|(next, _)| next.broken.is_some_and(|found| found.law == broken.law))
    });
    found.with_context(|| {
        format!(
            "no action after the path that was found breaks {}",
            broken.law
        )
    })
}

/// What equal systems have in common whatever their servers are called: canonical forms are dear.
fn resembles(one: &System, other: &System) -> bool {
    one.spent == other.spent
        && one.broken.is_none()
        && one.network.len() == other.network.len()
        && one.history.committed == other.history.committed
        && one.history.operations == other.history.operations
}

/// A step on the way to a trace.
struct Candidate {
    action: Action,
    sent: Vec<Envelope>,
    /// Whether it does nothing but send.
    only_sends: bool,
}

/// The decisions, and before each whatever could have been sent by steps that do nothing else: the
/// reduced model has all of it in its network already.
fn with_early_sends(scope: &Scope, decisions: &[Action]) -> Result<Vec<Candidate>> {
    early_sends_from(scope, real_network(scope).start(), decisions)
}

fn early_sends_from(
    scope: &Scope,
    mut system: System,
    decisions: &[Action],
) -> Result<Vec<Candidate>> {
    let real = real_network(scope);
    let mut steps = Vec::new();
    for (place, decision) in decisions.iter().enumerate() {
        send_early(&real, &mut system, &mut steps);
        enabled(&real, &system, decision)
            .with_context(|| format!("decision {} of the path", place + 1))?;
        let step = real
            .local_step(&system.processes[decision.process], &decision.local)
            .with_context(|| format!("decision {} of the path cannot happen", place + 1))?;
        steps.push(Candidate {
            action: decision.clone(),
            sent: step.sent,
            only_sends: false,
        });
        real.advance(&mut system, decision)
            .with_context(|| format!("decision {} of the path is not allowed", place + 1))?;
    }
    Ok(steps)
}

fn send_early(real: &Scope, system: &mut System, steps: &mut Vec<Candidate>) {
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

/// Moves each step that only sends to just before the first delivery of what it sent, where the
/// model allows it: a story is easier to follow when nothing waits in the air.
fn postpone_sends(mut trace: Trace) -> Trace {
    for place in (0..trace.steps.len()).rev() {
        let before = match place.checked_sub(1) {
            Some(before) => trace.steps[before].state.clone(),
            None => trace.start(),
        };
        let step = &trace.steps[place];
        let moved = step.action.process;
        if before.processes[moved] != step.state.processes[moved] {
            continue;
        }
        let user = trace.steps[place + 1..].iter().position(|later| {
            matches!(&later.action.local, Local::Deliver { envelope, .. } if step.sent.contains(envelope))
        });
        let Some(user) = user.filter(|user| *user > 0) else {
            continue;
        };
        let mut actions = trace.actions();
        actions[place..=place + user].rotate_left(1);
        let law = |trace: &Trace| trace.broken.as_ref().map(|broken| broken.law);
        if let Ok(later) = Trace::run(&trace.scope, &actions)
            && law(&later) == law(&trace)
        {
            trace = later;
        }
    }
    trace
}

fn shrink(real: &Scope, actions: Vec<Action>, law: Law, interrupt: &AtomicBool) -> Vec<Action> {
    let mut best = survivors(real, &actions, law).unwrap_or(actions);
    let mut piece = best.len().div_ceil(2).max(1);
    loop {
        let (mut start, mut shorter) = (0, false);
        while start < best.len() {
            if interrupt.load(Ordering::Relaxed) {
                return best;
            }
            let mut rest = best.clone();
            rest.drain(start..best.len().min(start + piece));
            match survivors(real, &rest, law) {
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

/// The actions that still happen and do something, up to the one that breaks the law; `None` if
/// none does. Where a message was not sent, the last one like it stands in: what is left out
/// earlier shows in the contents of many messages, and their deliveries need not go with it.
fn survivors(real: &Scope, actions: &[Action], law: Law) -> Option<Vec<Action>> {
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
        if let Some(broken) = &system.broken {
            return (broken.law == law).then_some(done);
        }
    }
    None
}

/// The action itself, or one that delivers the last message of the same kind on the same way.
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

/// Lets something happen; says whether it did, and whether it left a trace.
fn advance(real: &Scope, system: &mut System, action: &Action) -> bool {
    let before = system.processes[action.process].clone();
    let (network, spent) = (system.network.len(), system.spent);
    if real.advance(system, action).is_none() {
        return false;
    }
    system.broken.is_some()
        || system.network.len() != network
        || system.spent != spent
        || system.processes[action.process] != before
}
