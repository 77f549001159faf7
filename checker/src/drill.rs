//! Drills: runs in which time passes.
//!
//! The search knows no clock: a timer that is armed may fire whenever it likes. That is right for
//! safety, and too generous for what PreVote, the check of the quorum and stickiness are for: they
//! make no bad thing impossible, they make it not last. So here the same servers run by a clock, as
//! a node runs them: heartbeats at regular times, election timers drawn at random, messages that
//! take a moment or, on a link that is cut, never arrive. A drill sets the stage, waits, and looks.
//!
//! A drill that fails proves that something is wrong. One that passes proves nothing but itself: it
//! is a test, run with several seeds, and no exhaustive verdict.
//!
//! Whatever happens in a drill is a step of the model; so the run is a [`Trace`] like any other.

use crate::trace::Trace;
use model::{
    Address, Envelope, NodeId, Raft, Role, Term, Timer,
    system::{Action, Budget, Local, Reduction, Scope, System},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::collections::{BTreeMap, BTreeSet};

const HEARTBEAT: u64 = 10;
/// The least an election timer takes; the most is twice that. Also what the quorum timer takes.
const ELECTION: u64 = 30;
/// The most a message takes.
const DELAY: u64 = 2;
/// How long a drill waits for what must come, or watches what must not.
const PATIENCE: u64 = 20 * ELECTION;
const SEEDS: u64 = 20;

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// A leader that is heard and hears nobody makes way for another.
    Unheard,
    /// Of two servers left, one is in a newer term and the other has the longer log: one of them is
    /// elected.
    Outdated,
    /// A server that was cut off comes back, and the leader of the others goes on leading.
    Returns,
    /// A server that cannot hear the leader, and is heard by the others, does not depose it.
    Deaf,
}

/// How a drill ended.
#[derive(Clone, Debug)]
pub enum Drilled {
    /// As it should, with every seed.
    Passed {
        /// How many steps were taken.
        steps: u64,
    },
    /// Not as it should.
    Failed {
        /// What went wrong, in a sentence.
        why: String,
        /// What happened.
        trace: Box<Trace>,
    },
}

/// The scope drills are played in: all that a node does, and every message.
pub fn scope() -> Scope {
    Scope {
        terms: 9,
        window: 64,
        budget: Budget {
            crashes: 1,
            ..Budget::default()
        },
        pre_vote: true,
        check_quorum: true,
        reduction: Reduction::NONE,
        ..Scope::new("drill", "servers run by a clock")
    }
}

impl Drill {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unheard, Self::Outdated, Self::Returns, Self::Deaf];

    /// Plays the drill with several seeds until it fails.
    ///
    /// # Panics
    /// If a step is none of the model: a bug of ours.
    pub fn find(self, scope: &Scope) -> Drilled {
        let mut steps = 0;
        for seed in 0..SEEDS {
            let mut stage = Stage::new(scope, seed);
            let played = self.play(&mut stage);
            steps += stage.actions.len() as u64;
            if let Err(why) = played {
                let trace = Trace::run(scope, &stage.actions);
                let trace = trace.expect("a drill takes only steps that the model allows");
                let trace = Box::new(trace);
                return Drilled::Failed { why, trace };
            }
        }
        Drilled::Passed { steps }
    }

    fn play(self, stage: &mut Stage<'_>) -> Result<(), String> {
        match self {
            Self::Unheard => unheard(stage),
            Self::Outdated => outdated(stage),
            Self::Returns => returns(stage),
            Self::Deaf => deaf(stage),
        }
    }
}

fn unheard(stage: &mut Stage<'_>) -> Result<(), String> {
    let (leader, _) = stage.elect()?;
    for other in stage.others(leader) {
        stage.cut.insert((other, leader));
    }
    stage.expect_commit(&format!("server {leader} hears nobody any more"))
}

fn outdated(stage: &mut Stage<'_>) -> Result<(), String> {
    // Nobody hears of the leader's first entry.
    stage.wait_for(PATIENCE, |stage| stage.leader().is_some());
    let (leader, _) = stage.leader().ok_or("nobody was elected at first")?;
    stage.flight.clear();
    stage.cut_off(leader);
    // One of the others gets its pre-vote and enters a newer term, of which nobody hears.
    let candidate = |stage: &Stage<'_>| {
        let runs = |raft: &&Raft| matches!(raft.role(), Role::Candidate(_));
        stage.rafts().find(runs).map(Raft::id)
    };
    stage.wait_for(PATIENCE, |stage| candidate(stage).is_some());
    let newer = candidate(stage).ok_or_else(|| format!("nobody ran without server {leader}"))?;
    stage.flight.clear();
    stage.cut_off(newer);
    let absent = stage.others(leader).into_iter().find(|id| *id != newer);
    let absent = absent.ok_or("this drill is for three servers")?;
    stage.act(absent, Local::Crash);
    // Nor does anybody ask or lead on when the two meet again: all they do is put out feelers.
    let calm = |stage: &Stage<'_>| {
        let mut rafts = stage.rafts();
        rafts.all(|raft| {
            matches!(
                raft.role(),
                Role::PreCandidate { .. } | Role::Follower { .. }
            )
        })
    };
    stage.wait_for(PATIENCE, calm);
    stage.cut.clear();
    stage.expect_commit(&format!(
        "server {absent} is down, server {newer} is in a newer term and server {leader} has the longer log"
    ))
}

fn returns(stage: &mut Stage<'_>) -> Result<(), String> {
    let (leader, term) = stage.elect()?;
    let Some(lost) = stage.others(leader).first().copied() else {
        return Ok(());
    };
    stage.cut_off(lost);
    stage.wait(PATIENCE);
    stage.cut.clear();
    stage.expect_peace(leader, term, &format!("server {lost} came back"))
}

fn deaf(stage: &mut Stage<'_>) -> Result<(), String> {
    let (leader, term) = stage.elect()?;
    let Some(deaf) = stage.others(leader).first().copied() else {
        return Ok(());
    };
    stage.cut.insert((leader, deaf));
    stage.expect_peace(
        leader,
        term,
        &format!("server {deaf} cannot hear its leader"),
    )
}

/// Servers, links and a clock.
struct Stage<'a> {
    scope: &'a Scope,
    system: System,
    now: u64,
    /// When each timer fires.
    timers: BTreeMap<(NodeId, Timer), u64>,
    /// When each message arrives; the number keeps apart those that arrive together.
    flight: BTreeMap<(u64, u64), Envelope>,
    sent: u64,
    /// The links, from and to, on which nothing arrives.
    cut: BTreeSet<(NodeId, NodeId)>,
    actions: Vec<Action>,
    dice: ChaCha8Rng,
}

impl<'a> Stage<'a> {
    fn new(scope: &'a Scope, seed: u64) -> Self {
        let mut stage = Self {
            scope,
            system: scope.start(),
            now: 0,
            timers: BTreeMap::new(),
            flight: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            actions: Vec::new(),
            dice: ChaCha8Rng::seed_from_u64(seed),
        };
        for id in scope.nodes() {
            for timer in [Timer::Election, Timer::Heartbeat] {
                stage.arm(id, timer);
            }
        }
        stage
    }

    /// Waits until a leader is known to all and has committed its first entry.
    fn elect(&mut self) -> Result<(NodeId, Term), String> {
        let settled = |stage: &Self| {
            let leader = stage.leader().map(|(id, _)| id);
            let mut rafts = stage.rafts();
            !stage.system.history.committed.is_empty()
                && rafts.all(|raft| match raft.role() {
                    Role::Leader(_) => true,
                    Role::Follower { leader: known, .. } => *known == leader,
                    _ => false,
                })
        };
        self.wait_for(PATIENCE, settled);
        let leader = self.leader().filter(|_| settled(self));
        leader.ok_or_else(|| format!("no leader in {PATIENCE} ticks, with nothing in its way"))
    }

    fn expect_commit(&mut self, why: &str) -> Result<(), String> {
        let committed = self.system.history.committed.len();
        let more = |stage: &Self| stage.system.history.committed.len() > committed;
        self.wait_for(PATIENCE, more);
        if more(self) {
            return Ok(());
        }
        Err(format!(
            "{why}, and in {PATIENCE} ticks, each heartbeat taking {HEARTBEAT}, nothing new was committed"
        ))
    }

    fn expect_peace(&mut self, leader: NodeId, term: Term, why: &str) -> Result<(), String> {
        self.wait(PATIENCE);
        match self.leader() {
            Some((id, found)) if (id, found) == (leader, term) => Ok(()),
            Some((id, found)) => Err(format!(
                "{why}, and server {id} leads in term {found} in place of server {leader} in term {term}"
            )),
            None => Err(format!("{why}, and server {leader} leads no longer")),
        }
    }

    fn others(&self, one: NodeId) -> Vec<NodeId> {
        self.scope.nodes().filter(|id| *id != one).collect()
    }

    /// Cuts all links of a server, both ways.
    fn cut_off(&mut self, one: NodeId) {
        for other in self.others(one) {
            self.cut.extend([(one, other), (other, one)]);
        }
    }

    fn rafts(&self) -> impl Iterator<Item = &Raft> {
        let servers = self.system.processes.iter();
        let servers = servers.filter_map(|process| process.server());
        servers.filter_map(|server| server.running.as_ref().map(|running| &running.raft))
    }

    /// The leader of the newest term that has one.
    fn leader(&self) -> Option<(NodeId, Term)> {
        let leaders = self
            .rafts()
            .filter(|raft| matches!(raft.role(), Role::Leader(_)));
        let newest = leaders.max_by_key(|raft| raft.current_term())?;
        Some((newest.id(), newest.current_term()))
    }

    fn wait(&mut self, ticks: u64) {
        self.wait_for(ticks, |_| false);
    }

    /// Lets time pass until something is so, or for so long.
    fn wait_for(&mut self, ticks: u64, is_so: impl Fn(&Self) -> bool) {
        let end = self.now + ticks;
        while !is_so(self) && self.system.broken.is_none() {
            let arrival = self.flight.keys().next().copied();
            let alarm = self.timers.iter().map(|(timer, due)| (*due, *timer)).min();
            let arrives =
                arrival.is_some_and(|(due, _)| alarm.is_none_or(|(alarm, _)| due <= alarm));
            let due = if arrives {
                arrival.map(|(due, _)| due)
            } else {
                alarm.map(|(due, _)| due)
            };
            match due {
                Some(due) if due <= end => self.now = due,
                _ => {
                    self.now = end;
                    break;
                }
            }
            if let (true, Some(key)) = (arrives, arrival) {
                if let Some(envelope) = self.flight.remove(&key) {
                    self.arrive(envelope);
                }
            } else if let Some((_, (id, timer))) = alarm {
                self.ring(id, timer);
            }
        }
    }

    fn arrive(&mut self, envelope: Envelope) {
        if let (Address::Node(from), Address::Node(to)) = (envelope.from, envelope.to)
            && !self.cut.contains(&(from, to))
        {
            self.act(
                to,
                Local::Deliver {
                    envelope,
                    ask: None,
                },
            );
        }
    }

    fn ring(&mut self, id: NodeId, timer: Timer) {
        self.timers.remove(&(id, timer));
        let local = match timer {
            Timer::Election => Local::ElectionTimeout,
            Timer::Heartbeat => {
                self.arm(id, Timer::Heartbeat);
                Local::HeartbeatTimeout
            }
            Timer::Quorum => Local::QuorumTimeout,
        };
        let process = &self.system.processes[place(id)];
        // A timer that means nothing to the server rings unheard.
        if self.scope.local_events(process).contains(&local) {
            self.act(id, local);
        }
    }

    /// Lets something happen to a server, and its disk do its work at once.
    fn act(&mut self, id: NodeId, local: Local) {
        let process = place(id);
        let mut next = Some(local);
        while let Some(local) = next.take() {
            let Some(step) = self
                .scope
                .local_step(&self.system.processes[process], &local)
            else {
                return;
            };
            for envelope in step.sent {
                let due = self.now + self.below(DELAY) + 1;
                self.sent += 1;
                self.flight.insert((due, self.sent), envelope);
            }
            for timer in step.timers {
                self.arm(id, timer);
            }
            let action = Action { process, local };
            if self.scope.advance(&mut self.system, &action).is_none() {
                return;
            }
            self.actions.push(action);
            let running = self.system.processes[process].server();
            let running = running.and_then(|server| server.running.as_ref());
            match running {
                Some(running) if !running.unsynced.is_empty() => next = Some(Local::Sync),
                Some(_) => {}
                None => self.timers.retain(|(owner, _), _| *owner != id),
            }
        }
    }

    fn arm(&mut self, id: NodeId, timer: Timer) {
        let takes = match timer {
            Timer::Election => ELECTION + self.below(ELECTION + 1),
            Timer::Heartbeat => HEARTBEAT,
            Timer::Quorum => ELECTION,
        };
        self.timers.insert((id, timer), self.now + takes);
    }

    fn below(&mut self, bound: u64) -> u64 {
        (u64::from(self.dice.next_u32()) * bound) >> 32
    }
}

fn place(id: NodeId) -> usize {
    id.get() as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correct_core_passes_every_drill() {
        for drill in Drill::ALL {
            match drill.find(&scope()) {
                Drilled::Passed { steps } => assert!(steps > 500, "{drill:?}: {steps}"),
                Drilled::Failed { why, .. } => panic!("{drill:?}: {why}"),
            }
        }
    }

    /// What each drill is for is seen to be needed.
    #[test]
    fn drills_fail_without_what_they_are_for() {
        let plain = |pre_vote, check_quorum| Scope {
            pre_vote,
            check_quorum,
            ..scope()
        };
        for (drill, scope) in [
            (Drill::Returns, plain(false, false)),
            (Drill::Deaf, plain(true, false)),
        ] {
            let drilled = drill.find(&scope);
            assert!(matches!(drilled, Drilled::Failed { .. }), "{drill:?}");
        }
    }
}
