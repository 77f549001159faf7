//! Random walks through a scope, also through one that is too large to exhaust.
//!
//! A walk is a real run (see [`crate::trace`]): its network drops no message, and sends none without a
//! step. It finds violations by chance and proves nothing. It is useful for scopes that no search can
//! complete, and as a test of the reductions, because it uses none of them.
//!
//! Each walk first draws its own probabilities (of timers, crashes, and late or lost messages). Walks
//! with the same probabilities would all look alike (swarm testing).
//!
//! Invariants:
//! * the same seed gives the same walks, on every machine and with every version of every library: the
//!   generator is explicitly ChaCha with 8 rounds, and every draw uses only its plain numbers;
//! * the seed of a walk depends only on (seed, number of the walk), so [`walk`] can replay each of them
//!   alone.

use crate::trace::{self, Trace};
use model::{
    Envelope,
    system::{Action, Local, Scope, System, TransitionSystem, Witnesses},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The maximum number of consecutive draws without effect before a walk ends.
const FRUITLESS: u32 = 100;

/// The parameters of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomWalks {
    /// The seed that determines the whole simulation.
    pub seed: u64,
    /// The number of walks.
    pub walks: u64,
    /// The maximum number of steps of a walk.
    pub max_steps: usize,
}

/// The progress of a running simulation, for other threads.
#[derive(Debug, Default)]
pub struct RandomWalksProgress {
    /// Set this to end the simulation after the current walk, or to stop the shrinking of a violation.
    pub interrupt: AtomicBool,
    /// Walks completed.
    pub walks: AtomicU64,
    /// Steps completed.
    pub steps: AtomicU64,
}

/// The result of a simulation.
#[derive(Clone, Debug)]
pub struct RandomWalksReport {
    /// Walks completed: fewer than requested after a violation or an interrupt.
    pub walks: u64,
    /// Steps completed.
    pub steps: u64,
    /// The witnesses reached.
    pub witnesses: Witnesses,
    /// The first walk that violated a property.
    pub violation: Option<ViolatingWalk>,
}

/// A walk that violates a property.
#[derive(Clone, Debug)]
pub struct ViolatingWalk {
    /// Its number, counted from 0.
    pub walk: u64,
    /// Its own seed, for [`walk`].
    pub seed: u64,
    /// Its number of steps.
    pub steps: usize,
    /// The shrunk walk: the steps that the violation needs.
    pub trace: Trace,
    /// Whether no further step can be removed. An interrupt may have ended the shrinking earlier.
    pub is_shortest: bool,
}

/// Walks until a property is violated, all walks are completed, or the simulation is interrupted.
pub fn simulate(
    scope: &Scope,
    simulation: &RandomWalks,
    progress: &RandomWalksProgress,
) -> RandomWalksReport {
    let mut report = RandomWalksReport {
        walks: 0,
        steps: 0,
        witnesses: Witnesses::default(),
        violation: None,
    };
    for number in 0..simulation.walks {
        if progress.interrupt.load(Ordering::Relaxed) {
            break;
        }
        let seed = seed_of_walk(simulation.seed, number);
        let walked = Walk::new(scope, seed).go(simulation.max_steps);
        report.walks += 1;
        report.steps += walked.actions.len() as u64;
        report.witnesses.add_all(walked.witnesses);
        progress.walks.store(report.walks, Ordering::Relaxed);
        progress.steps.store(report.steps, Ordering::Relaxed);
        if walked.system.violation.is_some() {
            let trace = walked.trace(scope).shrink_until(&progress.interrupt);
            report.violation = Some(ViolatingWalk {
                walk: number,
                seed,
                steps: walked.actions.len(),
                trace,
                is_shortest: !progress.interrupt.load(Ordering::Relaxed),
            });
            break;
        }
    }
    report
}

/// One walk with all its steps.
pub fn walk(scope: &Scope, seed: u64, max_steps: usize) -> Trace {
    Walk::new(scope, seed).go(max_steps).trace(scope)
}

/// The seed of one walk of a simulation.
pub fn seed_of_walk(seed: u64, number: u64) -> u64 {
    let mut generator = generator(seed);
    generator.set_stream(number);
    generator.next_u64()
}

fn generator(seed: u64) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    ChaCha8Rng::from_seed(bytes)
}

/// A walk in progress.
struct Walk {
    real: TransitionSystem,
    dice: Dice,
    weights: StepWeights,
    system: System,
    /// Messages sent and not delivered since.
    fresh: Vec<Envelope>,
    /// Every message ever sent, in order.
    sent: Vec<Envelope>,
    actions: Vec<Action>,
    witnesses: Witnesses,
}

/// The probabilities of deliveries in a walk, and the weights of all other steps.
struct StepWeights {
    /// The probability of a delivery, in sixteenths. Otherwise a process has an event of its own.
    deliveries: u64,
    /// The probability that a delivery is of any message ever sent, in sixteenths; otherwise it is of a
    /// fresh one.
    late: u64,
    /// The probability that a fresh message is set aside instead, in sixteenths; it may still be
    /// delivered late.
    lost: u64,
    /// The weight of election timeouts, relative to the weights below.
    elections: u64,
    /// The weights of heartbeats, client operations, syncs, snapshots, and crashes.
    heartbeats: u64,
    clients: u64,
    syncs: u64,
    snapshots: u64,
    crashes: u64,
}

impl Walk {
    fn new(scope: &Scope, seed: u64) -> Self {
        let mut dice = Dice(generator(seed));
        let weights = StepWeights {
            deliveries: dice.one_of(&[8, 12, 14]),
            late: dice.one_of(&[0, 1, 4]),
            lost: dice.one_of(&[0, 1, 4]),
            elections: dice.one_of(&[1, 2, 4]),
            heartbeats: dice.one_of(&[1, 2, 4]),
            clients: dice.one_of(&[1, 4, 8]),
            syncs: dice.one_of(&[2, 8]),
            snapshots: 2,
            crashes: dice.one_of(&[0, 1, 4]),
        };
        let real = trace::real_system(scope);
        Self {
            system: real.start(),
            real,
            dice,
            weights,
            fresh: Vec::new(),
            sent: Vec::new(),
            actions: Vec::new(),
            witnesses: Witnesses::default(),
        }
    }

    fn go(mut self, max_steps: usize) -> Self {
        let mut fruitless = 0;
        while self.actions.len() < max_steps
            && self.system.violation.is_none()
            && fruitless < FRUITLESS
        {
            let done = self.draw().is_some_and(|action| self.take(action));
            fruitless = if done { 0 } else { fruitless + 1 };
        }
        self
    }

    /// Draws an action that may be possible next.
    fn draw(&mut self) -> Option<Action> {
        if self.dice.chance(self.weights.deliveries) {
            return self.draw_delivery();
        }
        let process = self.dice.below(self.system.processes.len());
        let events = self.real.local_events(&self.system.processes[process]);
        let weights: Vec<u64> = events
            .iter()
            .map(|event| self.weights.weight(event))
            .collect();
        let mut rest = self.dice.below(weights.iter().sum::<u64>() as usize) as u64;
        for (local, weight) in events.into_iter().zip(weights) {
            if rest < weight {
                return Some(Action { process, local });
            }
            rest -= weight;
        }
        None
    }

    fn draw_delivery(&mut self) -> Option<Action> {
        let late = self.fresh.is_empty() || self.dice.chance(self.weights.late);
        let envelope = if late {
            let index = self.dice.below(self.sent.len());
            self.sent.get(index)?.clone()
        } else {
            let index = self.dice.below(self.fresh.len());
            self.fresh.swap_remove(index)
        };
        if !late && self.dice.chance(self.weights.lost) {
            return None;
        }
        let addresses = self.system.processes.iter();
        let process = addresses
            .map(model::system::Process::address)
            .position(|address| address == envelope.to)?;
        let mut ways = self.real.deliveries(&envelope);
        let way = self.dice.below(ways.len());
        let local = ways.swap_remove(way);
        Some(Action { process, local })
    }

    /// Executes an action. Returns whether it was possible and had an effect.
    fn take(&mut self, action: Action) -> bool {
        let process = &self.system.processes[action.process];
        let Some(step) = self.real.local_step(process, &action.local) else {
            return false;
        };
        let unsent = step
            .sent
            .iter()
            .filter(|envelope| !self.system.network.contains(envelope));
        let new: Vec<Envelope> = unsent.cloned().collect();
        if step.only_sends(process) && new.is_empty() {
            // The message was sent again: a duplicate is in flight and may be delivered.
            self.refresh(step.sent);
            return false;
        }
        let Some(witnesses) = self.real.advance(&mut self.system, &action) else {
            return false;
        };
        self.sent.extend(new);
        self.refresh(step.sent);
        self.witnesses.add_all(witnesses);
        self.actions.push(action);
        true
    }

    fn refresh(&mut self, sent: Vec<Envelope>) {
        for envelope in sent {
            if !self.fresh.contains(&envelope) {
                self.fresh.push(envelope);
            }
        }
    }

    fn trace(&self, scope: &Scope) -> Trace {
        Trace::run(scope, &self.actions).expect("a walk takes only steps that the model allows")
    }
}

impl StepWeights {
    fn weight(&self, event: &Local) -> u64 {
        match event {
            Local::ElectionTimeout => self.elections,
            Local::HeartbeatTimeout | Local::QuorumTimeout => self.heartbeats,
            Local::Propose | Local::ProposeTogether | Local::Read | Local::Invoke => self.clients,
            Local::ClientTimeout | Local::ProxyTimeout { .. } => 1,
            Local::Sync | Local::Restart => self.syncs,
            Local::Compact => self.snapshots,
            Local::TransferLeadership(_) => self.snapshots,
            Local::Crash => self.crashes,
            Local::Deliver { .. } => 0,
        }
    }
}

/// The generator, and the few ways to draw from it.
struct Dice(ChaCha8Rng);

impl Dice {
    /// A number below `bound`; 0 if `bound` is 0. The bias is below one in a million for the small
    /// bounds in use.
    fn below(&mut self, bound: usize) -> usize {
        ((u64::from(self.0.next_u32()) * bound as u64) >> 32) as usize
    }

    /// True with a probability of `sixteenths` / 16.
    fn chance(&mut self, sixteenths: u64) -> bool {
        (self.below(16) as u64) < sixteenths
    }

    fn one_of(&mut self, choices: &[u64]) -> u64 {
        choices[self.below(choices.len())]
    }
}
