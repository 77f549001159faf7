//! Scenarios: timed simulations.
//!
//! The search has no clock: an armed timer can fire at any time. This is right for safety, but too
//! general for the purpose of PreVote, CheckQuorum and leader stickiness: they do not exclude a bad
//! state, they prevent it from lasting. So a scenario runs the same servers with a clock, as a node does.
//! Heartbeats are periodic and election timers are random. Messages take a short time, or never arrive
//! if their link is cut. A scenario sets up a situation, waits, and checks the result.
//!
//! The behavior of a proxy and the timeouts of a client are similar. No error in either can make a
//! response wrong, so no safety property covers them, but responses may come late or never. Some scenarios
//! have a client and a proxy, with timers of their own.
//!
//! A scenario that fails proves a bug. A scenario that passes proves nothing beyond itself: it is a test with
//! several seeds, not an exhaustive verdict.
//!
//! Every event of a scenario is a step of the model, so the run is a [`Trace`] like any other.

use crate::{plural::counted, step_guard, trace::Trace};
use model::{
    Address, ClientId, Envelope, Message, NodeId, Raft, RequestId, Role, Term, Timer,
    client::Invocation,
    store::Operation,
    system::{
        Action, Budget, Limit, Local, Process, Reduction, Scope, System, TransitionSystem,
        properties::linearizability::End,
    },
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use std::collections::{BTreeMap, BTreeSet};

const HEARTBEAT: u64 = 10;
/// The minimum election timeout; the maximum is twice as long. Also the quorum timeout.
const ELECTION: u64 = 30;
/// The maximum delay of a message.
const DELAY: u64 = 2;
/// The time that a scenario waits for a required event, or watches for a forbidden one.
const PATIENCE: u64 = 20 * ELECTION;
const SEEDS: u64 = 20;
/// A proxy's timeout: longer than the time for a redirect and a response.
const ATTEMPT: u64 = 50;
/// The maximum time until a follower's log equals the leader's, however far behind it is: two round
/// trips and a margin.
const CATCH_UP: u64 = 5 * DELAY;
/// The maximum number of ticks until a leader that stepped down is elected again: pre-votes and votes,
/// two round trips with at most [`DELAY`] one way, and one more delay.
const RETURN: u64 = 5 * DELAY;
/// The number of entries that a follower is behind.
const BEHIND: usize = 12;

/// The situation of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimedScenario {
    /// A leader whose messages arrive but who receives none is replaced by another leader.
    UnreachableLeader,
    /// The same, with a read that waits at that leader.
    UnreachableLeaderWithRead,
    /// Of two remaining servers, one is in a newer term and the other has the longer log: one of them is
    /// elected.
    Outdated,
    /// A disconnected server returns, and the leader of the other servers stays leader.
    Returns,
    /// A server that receives no messages of the leader, but whose messages arrive at the other servers,
    /// does not depose the leader.
    Deaf,
    /// A leader whose followers' disks stall stays leader, and commits once the disks work again.
    SlowDisks,
    /// A leader that stepped down is elected again immediately, by followers that still follow it.
    StepsDown,
    /// A follower that is many entries behind has all entries after two round trips.
    Behind,
    /// The network loses every message when it is first sent; a client still gets a response.
    Lossy,
    /// The server that a proxy uses is down permanently; the client gets a response from another server.
    Silent,
    /// A proxy sends to a server that is not the leader, is redirected immediately, and remembers the
    /// leader.
    Redirected,
    /// The server that a proxy uses loses its leadership and reports it, and the proxy uses the new
    /// leader.
    Deposed,
    /// No server is up; client and proxy do not wait forever.
    Abandoned,
}

model::diagnostics! {
    /// The reason why a scenario failed.
    pub enum TimedFailure {
        /// No leader was elected and committed an entry at the start.
        NotSettled { ticks: u64 }
            = "no leader was elected and committed an entry in {ticks} ticks, although there is no fault";
        /// No leader was elected at the start.
        NoFirstLeader = "no leader was elected at the start";
        /// No other server became a candidate.
        NoCandidate { server: NodeId } = "no server became a candidate without server {server}";
        /// The scope has another number of servers.
        NotThreeServers = "this scenario needs three servers";
        /// No leader was elected.
        NoLeader { situation: Situation, ticks: u64 }
            = "{situation}, and no leader was elected in {ticks} ticks";
        /// No entry was committed.
        NoCommit { situation: Situation, ticks: u64, heartbeat: u64 }
            = "{situation}, and no new entry was committed in {ticks} ticks, with a heartbeat interval of {heartbeat} ticks";
        /// Another server leads, or the same server in another term.
        LeaderReplaced { situation: Situation, server: NodeId, term: Term, other: NodeId, other_term: Term }
            = "{situation}, and server {server} leads in term {term} in place of server {other} in term {other_term}";
        /// The server stepped down.
        LeaderSteppedDown { situation: Situation, server: NodeId }
            = "{situation}, and server {server} no longer leads";
        /// A leader that stepped down was not elected again.
        NotReelected { server: NodeId, ticks: u64 }
            = "server {server} stepped down, sent pre-vote requests to its followers, and did not lead again within {ticks} ticks";
        /// A follower received the missing entries too late.
        SlowCatchUp { server: NodeId, entries: usize, delay: u64, other: NodeId, ticks: u64, limit: u64 }
            = "server {server} lacks {entries} entries, each message takes up to {delay} ticks, and server {other} committed an entry with it {ticks} ticks after its election: more than {limit}";
        /// An operation has no response.
        NoResponse { situation: Situation, ticks: u64, operation: u64 }
            = "{situation}, and operation {operation} of the client has no response after {ticks} ticks";
        /// The proxy does not remember the leader.
        LeaderForgotten { server: NodeId, requests: u64 }
            = "every server follows server {server}, which responded to the previous request, and the proxy needed {requests} requests to reach it again";
        /// A client waits forever.
        ClientWaits { ticks: u64 }
            = "no server is up, and the client still waits after {ticks} ticks";
        /// A proxy keeps a request forever.
        ProxyKeepsRequests { requests: u64 }
            = "no server is up and the client timed out, and the proxy still has {} in flight", counted(*requests, "request");
    }
}

model::diagnostics! {
    /// The situation in which a scenario failed.
    pub enum Situation {
        /// No fault.
        NoFault = "there is no fault";
        /// The network loses the first copy of each message.
        FirstCopiesLost = "the network loses only the first copy of each message";
        /// The leader receives no messages.
        LeaderUnreachable { server: NodeId } = "server {server} no longer receives messages";
        /// The two servers that are up can only elect one of them in a newer term.
        LongerLogInOlderTerm { server: NodeId, other: NodeId, third: NodeId }
            = "server {server} is down, server {other} is in a newer term and server {third} has the longer log";
        /// A server is connected again.
        Reconnected { server: NodeId } = "server {server} was reconnected";
        /// A follower receives no messages of the leader.
        FollowerUnreachable { server: NodeId }
            = "server {server} receives no messages from its leader";
        /// The disks of the followers complete no writes.
        DisksStalled = "the disks of the followers are stalled";
        /// The disks of the followers complete writes again.
        DisksRecovered { server: NodeId }
            = "the disks of the followers of server {server} complete writes again";
        /// The server that responded before is down.
        ResponderDown { server: NodeId }
            = "server {server}, which responded before, is down, and the other servers are up";
        /// All servers follow the leader.
        LeaderFollowed { server: NodeId } = "every server follows server {server}";
        /// A deposed leader is about to receive a message of the next leader.
        DeposedReachable { server: NodeId }
            = "server {server} receives a heartbeat of the next leader, and a client waits for server {server}";
    }
}

/// How a scenario ended.
#[derive(Clone, Debug)]
pub enum TimedOutcome {
    /// It passed, with every seed.
    Passed {
        /// The number of steps taken.
        steps: u64,
    },
    /// It failed.
    Failed {
        /// The problem.
        why: TimedFailure,
        /// The run.
        trace: Box<Trace>,
        /// The clock tick of each step.
        ticks: Vec<u64>,
    },
}

/// The scope of scenarios: all steps of a node, and all messages.
pub fn scope() -> Scope {
    Scope {
        terms: 9,
        window: 64,
        budget: Budget {
            crashes: Limit::at_most(1),
            ..Budget::default()
        },
        pre_vote: true,
        check_quorum: true,
        reduction: Reduction::NONE,
        ..Scope::new("timed", "servers run by a clock")
    }
}

/// The scope of scenarios with clients: one client increments a counter twice, through a proxy.
pub fn client_scope() -> Scope {
    let increment = Invocation::Write(Operation::Increment {
        key: b"x".to_vec(),
        by: 1,
    });
    Scope {
        budget: Budget {
            entries: 20,
            crashes: Limit::at_most(3),
            ..Budget::default()
        },
        with_session: true,
        direct_clients: false,
        tracks_operations: true,
        plans: vec![vec![increment.clone(), increment]],
        attempts: 4,
        ..scope()
    }
}

/// The scope without the features that keep elections rare.
fn plain(scope: Scope) -> Scope {
    Scope {
        pre_vote: false,
        check_quorum: false,
        ..scope
    }
}

impl TimedScenario {
    /// All scenarios.
    pub const ALL: [Self; 13] = [
        Self::UnreachableLeader,
        Self::UnreachableLeaderWithRead,
        Self::Outdated,
        Self::Returns,
        Self::Deaf,
        Self::SlowDisks,
        Self::StepsDown,
        Self::Behind,
        Self::Lossy,
        Self::Silent,
        Self::Redirected,
        Self::Deposed,
        Self::Abandoned,
    ];

    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnreachableLeader => "unreachable-leader",
            Self::UnreachableLeaderWithRead => "unreachable-leader-with-read",
            Self::Outdated => "outdated",
            Self::Returns => "returns",
            Self::Deaf => "deaf",
            Self::SlowDisks => "slow-disks",
            Self::StepsDown => "steps-down",
            Self::Behind => "behind",
            Self::Lossy => "lossy",
            Self::Silent => "silent",
            Self::Redirected => "redirected",
            Self::Deposed => "deposed",
            Self::Abandoned => "abandoned",
        }
    }

    /// A description of the scenario, in a sentence.
    pub const fn about(self) -> &'static str {
        match self {
            Self::UnreachableLeader => {
                "A leader is elected, and then receives no messages from the other servers."
            }
            Self::UnreachableLeaderWithRead => {
                "A leader with a pending read receives no messages from the other servers."
            }
            Self::Outdated => {
                "Only two servers remain: one in a newer term, the other with the longer log."
            }
            Self::Returns => {
                "A follower is disconnected for 600 ticks and returns; the leader must remain."
            }
            Self::Deaf => {
                "One follower receives no messages from the leader; the leader must remain."
            }
            Self::SlowDisks => {
                "The disks of the followers stall for 600 ticks; the leader must remain."
            }
            Self::StepsDown => {
                "A leader steps down and sends pre-vote requests to the servers that still follow it."
            }
            Self::Behind => "A new leader replicates to a follower that lacks 12 entries.",
            Self::Lossy => "The network loses the first copy of every message.",
            Self::Silent => "The server that a proxy uses is permanently down.",
            Self::Redirected => {
                "A proxy sends two requests, the first to a server that does not lead."
            }
            Self::Deposed => "The server that a proxy uses loses its leadership.",
            Self::Abandoned => "Every server is down, and a client sends a request.",
        }
    }

    /// The scope of the scenario.
    pub fn scope(self) -> Scope {
        match self {
            Self::UnreachableLeader
            | Self::Outdated
            | Self::Returns
            | Self::Deaf
            | Self::StepsDown => scope(),
            Self::UnreachableLeaderWithRead => Scope {
                budget: Budget {
                    reads: 1,
                    ..Budget::default()
                },
                ..scope()
            },
            Self::SlowDisks | Self::Behind => Scope {
                budget: Budget {
                    entries: 20,
                    crashes: Limit::at_most(1),
                    ..Budget::default()
                },
                with_session: true,
                ..scope()
            },
            Self::Silent | Self::Redirected | Self::Abandoned => client_scope(),
            Self::Deposed => plain(client_scope()),
            // Many attempts, because few messages arrive.
            Self::Lossy => plain(Scope {
                attempts: 8,
                window: 0,
                ..client_scope()
            }),
        }
    }

    /// Runs the scenario with several seeds until it fails.
    ///
    /// # Panics
    /// If a step is not a step of the model, which is a bug in the scenario.
    pub fn find(self, scope: &Scope) -> TimedOutcome {
        let mut steps = 0;
        for seed in 0..SEEDS {
            let mut stage = TimedRun::new(scope, seed);
            let played = self.play(&mut stage);
            steps += stage.actions.len() as u64;
            if let Err(why) = played {
                let trace = Trace::run(scope, &stage.actions);
                let trace = trace.expect("a scenario takes only steps that the model allows");
                let trace = Box::new(trace);
                let ticks = stage.ticks;
                return TimedOutcome::Failed { why, trace, ticks };
            }
        }
        TimedOutcome::Passed { steps }
    }

    fn play(self, stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
        match self {
            Self::UnreachableLeader => unreachable_leader(stage, false),
            Self::UnreachableLeaderWithRead => unreachable_leader(stage, true),
            Self::Outdated => outdated(stage),
            Self::Returns => returns(stage),
            Self::Deaf => deaf(stage),
            Self::SlowDisks => slow_disks(stage),
            Self::StepsDown => steps_down(stage),
            Self::Behind => behind(stage),
            Self::Lossy => lossy(stage),
            Self::Silent => silent(stage),
            Self::Redirected => redirected(stage),
            Self::Deposed => deposed(stage),
            Self::Abandoned => abandoned(stage),
        }
    }
}

fn unreachable_leader(stage: &mut TimedRun<'_>, reads: bool) -> Result<(), TimedFailure> {
    let (leader, _) = stage.elect()?;
    for other in stage.others(leader) {
        stage.cut.insert((other, leader));
    }
    if reads {
        stage.act(leader, Local::Read);
    }
    stage.expect_commit(Situation::LeaderUnreachable { server: leader })
}

fn outdated(stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
    // The leader's first entry reaches no other server.
    stage.wait_for(PATIENCE, |stage| stage.leader().is_some());
    let (leader, _) = stage.leader().ok_or(TimedFailure::NoFirstLeader)?;
    stage.flight.clear();
    stage.cut_off(leader);
    // One of the other servers wins its pre-vote and enters a newer term. Its messages do not arrive.
    let candidate = |stage: &TimedRun<'_>| {
        let runs = |raft: &&Raft| matches!(raft.role(), Role::Candidate(_));
        stage.rafts().find(runs).map(Raft::id)
    };
    stage.wait_for(PATIENCE, |stage| candidate(stage).is_some());
    let newer = candidate(stage).ok_or(TimedFailure::NoCandidate { server: leader })?;
    stage.flight.clear();
    stage.cut_off(newer);
    let absent = stage.others(leader).into_iter().find(|id| *id != newer);
    let absent = absent.ok_or(TimedFailure::NotThreeServers)?;
    stage.act(absent, Local::Crash);
    // When the two are connected again, neither is a candidate or leader: they only send pre-votes.
    let calm = |stage: &TimedRun<'_>| {
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
    stage.expect_commit(Situation::LongerLogInOlderTerm {
        server: absent,
        other: newer,
        third: leader,
    })
}

fn returns(stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
    let (leader, term) = stage.elect()?;
    let Some(lost) = stage.others(leader).first().copied() else {
        return Ok(());
    };
    stage.cut_off(lost);
    stage.wait(PATIENCE);
    stage.cut.clear();
    stage.expect_stability(leader, term, Situation::Reconnected { server: lost })
}

fn deaf(stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
    let (leader, term) = stage.elect()?;
    let Some(deaf) = stage.others(leader).first().copied() else {
        return Ok(());
    };
    stage.cut.insert((leader, deaf));
    stage.expect_stability(
        leader,
        term,
        Situation::FollowerUnreachable { server: deaf },
    )
}

fn slow_disks(stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
    let (leader, term) = stage.elect()?;
    stage.stalled.extend(stage.others(leader));
    stage.act(leader, Local::Propose);
    stage.expect_stability(leader, term, Situation::DisksStalled)?;
    for id in std::mem::take(&mut stage.stalled) {
        stage.sync_all(id);
    }
    stage.expect_commit(Situation::DisksRecovered { server: leader })
}

fn steps_down(stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
    let (leader, term) = stage.elect()?;
    // The followers have just received a heartbeat, and the leader finds no quorum.
    stage.act(leader, Local::HeartbeatTimeout);
    stage.wait(DELAY);
    for _ in 0..2 {
        stage.act(leader, Local::QuorumTimeout);
    }
    stage.flight.clear();
    stage.act(leader, Local::ElectionTimeout);
    let leads_again = |stage: &TimedRun<'_>| {
        stage
            .leader()
            .is_some_and(|(id, now)| id == leader && now > term)
    };
    stage.wait_for(RETURN, leads_again);
    if leads_again(stage) {
        return Ok(());
    }
    Err(TimedFailure::NotReelected {
        server: leader,
        ticks: RETURN,
    })
}

fn behind(stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
    let (leader, _) = stage.elect()?;
    let [lost, other] = stage.others(leader)[..] else {
        return Err(TimedFailure::NotThreeServers);
    };
    stage.cut_off(lost);
    let before = stage.system.history.committed.len();
    for _ in 0..BEHIND {
        stage.act(leader, Local::Propose);
    }
    stage.wait_for(PATIENCE, |stage| {
        stage.system.history.committed.len() >= before + BEHIND
    });
    // The next leader does not know the progress of the follower that was disconnected.
    stage.wait(2 * HEARTBEAT);
    stage.act(leader, Local::Crash);
    stage.cut.clear();
    let elected = |stage: &TimedRun<'_>| stage.leader().is_some_and(|(id, _)| id == other);
    stage.wait_for(PATIENCE, elected);
    let (before, began) = (stage.system.history.committed.len(), stage.now);
    let caught_up = |stage: &TimedRun<'_>| stage.system.history.committed.len() > before;
    stage.wait_for(PATIENCE, caught_up);
    let took = stage.now - began;
    if elected(stage) && caught_up(stage) && took <= CATCH_UP {
        return Ok(());
    }
    Err(TimedFailure::SlowCatchUp {
        server: lost,
        entries: BEHIND,
        delay: DELAY,
        other,
        ticks: took,
        limit: CATCH_UP,
    })
}

fn lossy(stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
    stage.loses_first = true;
    stage.wait_for(PATIENCE, |stage| stage.leader().is_some());
    if stage.leader().is_none() {
        return Err(TimedFailure::NoLeader {
            situation: Situation::FirstCopiesLost,
            ticks: PATIENCE,
        });
    }
    stage.invoke();
    let patience = stage.client_patience();
    stage.expect_response(1, patience, Situation::FirstCopiesLost)
}

fn silent(stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
    let (leader, _) = stage.elect()?;
    stage.ask = Some(leader);
    stage.invoke();
    stage.expect_response(1, ATTEMPT, Situation::NoFault)?;
    stage.ask = None;
    stage.act(leader, Local::Crash);
    stage.invoke();
    let patience = stage.client_patience();
    stage.expect_response(2, patience, Situation::ResponderDown { server: leader })
}

fn redirected(stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
    let (leader, _) = stage.elect()?;
    let follower = stage.others(leader).first().copied();
    // The server that a proxy without a leader hint uses.
    stage.ask = follower;
    let situation = Situation::LeaderFollowed { server: leader };
    stage.invoke();
    stage.expect_response(1, ATTEMPT - 1, situation.clone())?;
    let before = stage.requests;
    stage.invoke();
    stage.expect_response(2, ATTEMPT - 1, situation)?;
    match stage.requests - before {
        1 => Ok(()),
        requests => Err(TimedFailure::LeaderForgotten {
            server: leader,
            requests,
        }),
    }
}

fn deposed(stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
    let (leader, term) = stage.elect()?;
    stage.ask = Some(leader);
    stage.invoke();
    stage.expect_response(1, ATTEMPT, Situation::NoFault)?;
    stage.cut_off(leader);
    let newer = |stage: &TimedRun<'_>| stage.leader().is_some_and(|(_, found)| found > term);
    stage.wait_for(PATIENCE, newer);
    // The old leader does not know that it was deposed, and accepts the request.
    stage.invoke();
    stage.wait(2 * DELAY);
    // The old leader receives messages again. If its own messages arrived too, a refusal without a
    // leader hint could come first.
    stage.cut.retain(|(from, _)| *from == leader);
    let situation = Situation::DeposedReachable { server: leader };
    stage.expect_response(2, ATTEMPT - 2 * DELAY - 1, situation)
}

fn abandoned(stage: &mut TimedRun<'_>) -> Result<(), TimedFailure> {
    for id in stage.scope.nodes() {
        stage.act(id, Local::Crash);
    }
    stage.invoke();
    let patience = stage.client_patience();
    stage.wait_for(patience, |stage| stage.client_is_idle());
    // The client's last attempt may have started recently when the client gives up.
    stage.wait(stage.request_takes());
    if !stage.client_is_idle() {
        return Err(TimedFailure::ClientWaits { ticks: patience });
    }
    match stage.in_flight() {
        0 => Ok(()),
        requests => Err(TimedFailure::ProxyKeepsRequests {
            requests: requests as u64,
        }),
    }
}

/// Servers, links and a clock.
struct TimedRun<'a> {
    scope: &'a Scope,
    transitions: TransitionSystem,
    system: System,
    now: u64,
    /// The deadline of each timer.
    timers: BTreeMap<Alarm, u64>,
    /// The arrival time of each message. The number separates messages that arrive at the same time.
    flight: BTreeMap<(u64, u64), Envelope>,
    sent: u64,
    /// The cut links between servers, from and to.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// The servers whose disks are stalled.
    stalled: BTreeSet<NodeId>,
    /// Whether each message is lost when it is first sent, and the messages sent so far.
    loses_first: bool,
    said: BTreeSet<Envelope>,
    /// The server that a proxy without a leader hint uses; drawn at random if `None`.
    ask: Option<NodeId>,
    /// The number of client requests sent to servers.
    requests: u64,
    actions: Vec<Action>,
    /// The tick of each action.
    ticks: Vec<u64>,
    dice: ChaCha8Rng,
}

/// A running timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Server(NodeId, Timer),
    Proxy(ClientId, RequestId),
    Client(ClientId),
}

impl<'a> TimedRun<'a> {
    fn new(scope: &'a Scope, seed: u64) -> Self {
        let transitions = step_guard::transitions(scope.clone());
        let mut stage = Self {
            scope,
            system: transitions.start(),
            transitions,
            now: 0,
            timers: BTreeMap::new(),
            flight: BTreeMap::new(),
            sent: 0,
            cut: BTreeSet::new(),
            stalled: BTreeSet::new(),
            loses_first: false,
            said: BTreeSet::new(),
            ask: None,
            requests: 0,
            actions: Vec::new(),
            ticks: Vec::new(),
            dice: ChaCha8Rng::seed_from_u64(seed),
        };
        for id in scope.nodes() {
            for timer in [Timer::Election, Timer::Heartbeat] {
                stage.arm(Alarm::Server(id, timer));
            }
        }
        stage
    }

    /// Waits until all servers know a leader and it has committed its first entry.
    fn elect(&mut self) -> Result<(NodeId, Term), TimedFailure> {
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
        leader.ok_or(TimedFailure::NotSettled { ticks: PATIENCE })
    }

    fn expect_commit(&mut self, situation: Situation) -> Result<(), TimedFailure> {
        let committed = self.system.history.committed.len();
        let more = |stage: &Self| stage.system.history.committed.len() > committed;
        self.wait_for(PATIENCE, more);
        if more(self) {
            return Ok(());
        }
        Err(TimedFailure::NoCommit {
            situation,
            ticks: PATIENCE,
            heartbeat: HEARTBEAT,
        })
    }

    fn expect_stability(
        &mut self,
        leader: NodeId,
        term: Term,
        situation: Situation,
    ) -> Result<(), TimedFailure> {
        self.wait(PATIENCE);
        match self.leader() {
            Some((id, found)) if (id, found) == (leader, term) => Ok(()),
            Some((server, found)) => Err(TimedFailure::LeaderReplaced {
                situation,
                server,
                term: found,
                other: leader,
                other_term: term,
            }),
            None => Err(TimedFailure::LeaderSteppedDown {
                situation,
                server: leader,
            }),
        }
    }

    /// The client invokes the next operation of its plan.
    fn invoke(&mut self) {
        self.act_at(self.client_place(), Local::Invoke);
    }

    fn expect_response(
        &mut self,
        operation: u64,
        ticks: u64,
        situation: Situation,
    ) -> Result<(), TimedFailure> {
        let began = self.now;
        let is_answered = |stage: &Self| {
            let mut operations = stage.system.history.operations.iter();
            operations.any(|found| found.id.1 == operation && matches!(found.end, End::Returned(_)))
        };
        self.wait_for(ticks, is_answered);
        if is_answered(self) {
            return Ok(());
        }
        Err(TimedFailure::NoResponse {
            situation,
            ticks: self.now - began,
            operation,
        })
    }

    /// The client's request timeout: longer than all attempts of a proxy.
    fn request_takes(&self) -> u64 {
        u64::from(self.scope.attempts) * ATTEMPT + HEARTBEAT
    }

    /// The maximum time until a client gets a response or gives up.
    fn client_patience(&self) -> u64 {
        u64::from(self.scope.attempts) * self.request_takes() + ATTEMPT
    }

    fn client_place(&self) -> usize {
        self.system.processes.len() - 1
    }

    fn client_is_idle(&self) -> bool {
        matches!(&self.system.processes[self.client_place()],
            Process::Client(process) if process.client.is_idle())
    }

    fn in_flight(&self) -> usize {
        let proxies = self.system.processes.iter();
        let held = proxies.map(|process| match process {
            Process::Proxy(proxy) => proxy.in_flight(),
            _ => 0,
        });
        held.sum()
    }

    fn others(&self, one: NodeId) -> Vec<NodeId> {
        self.scope.nodes().filter(|id| *id != one).collect()
    }

    /// Cuts all links of a server in both directions.
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

    /// The leader with the newest term.
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

    /// Advances the clock until a condition holds, but at most by `ticks`.
    fn wait_for(&mut self, ticks: u64, is_so: impl Fn(&Self) -> bool) {
        let end = self.now + ticks;
        while !is_so(self) && self.system.violation.is_none() {
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
            } else if let Some((_, alarm)) = alarm {
                self.ring(alarm);
            }
        }
    }

    fn arrive(&mut self, envelope: Envelope) {
        if let (Address::Node(from), Address::Node(to)) = (envelope.from, envelope.to)
            && self.cut.contains(&(from, to))
        {
            return;
        }
        let receiver = |process: &Process| process.receives_at(envelope.to);
        let Some(process) = self.system.processes.iter().position(receiver) else {
            return;
        };
        let is_new = matches!(envelope.to, Address::Proxy(_))
            && matches!(envelope.message, Message::ClientRequest(_));
        let ask = is_new.then(|| self.draw());
        self.act_at(process, Local::Deliver { envelope, ask });
    }

    fn ring(&mut self, alarm: Alarm) {
        self.timers.remove(&alarm);
        let (process, local) = match alarm {
            Alarm::Server(id, timer) => {
                let local = match timer {
                    Timer::Election => Local::ElectionTimeout,
                    Timer::Heartbeat => {
                        self.arm(alarm);
                        Local::HeartbeatTimeout
                    }
                    Timer::Quorum => Local::QuorumTimeout,
                };
                (index_of(id), local)
            }
            Alarm::Proxy(client, id) => {
                let ask = self.draw();
                let local = Local::ProxyTimeout { client, id, ask };
                (self.client_place() - 1, local)
            }
            Alarm::Client(_) => (self.client_place(), Local::ClientTimeout),
        };
        // A timer without effect is ignored.
        let events = self
            .transitions
            .local_events(&self.system.processes[process]);
        if events.contains(&local) {
            self.act_at(process, local);
        }
    }

    /// The server for a proxy without a leader hint.
    fn draw(&mut self) -> NodeId {
        let drawn = NodeId::new(self.below(self.scope.servers) + 1);
        self.ask.unwrap_or(drawn)
    }

    fn act(&mut self, id: NodeId, local: Local) {
        self.act_at(index_of(id), local);
    }

    /// Makes all pending writes of a server durable.
    fn sync_all(&mut self, id: NodeId) {
        let writes = |stage: &Self| {
            let server = stage.system.processes[index_of(id)].server();
            let running = server.and_then(|server| server.running.as_ref());
            running.is_some_and(|running| !running.unsynced.is_empty())
        };
        while writes(self) {
            self.act(id, Local::Sync);
        }
    }

    /// Executes an event at a process. If the process is a server, its disk completes its writes
    /// immediately.
    fn act_at(&mut self, process: usize, local: Local) {
        let mut next = Some(local);
        while let Some(local) = next.take() {
            let Some(step) = self
                .transitions
                .local_step(&self.system.processes[process], &local)
            else {
                return;
            };
            for envelope in step.sent {
                self.send(envelope);
            }
            if let Address::Node(id) = self.system.processes[process].address() {
                for timer in step.timers {
                    self.arm(Alarm::Server(id, timer));
                }
            }
            let waits = matches!(local, Local::Invoke | Local::ClientTimeout);
            let action = Action { process, local };
            if self
                .transitions
                .advance(&mut self.system, &action)
                .is_none()
            {
                return;
            }
            self.actions.push(action);
            self.ticks.push(self.now);
            match &self.system.processes[process] {
                Process::Server(server) if self.stalled.contains(&server.id) => {}
                Process::Server(server) => match &server.running {
                    Some(running) if !running.unsynced.is_empty() => next = Some(Local::Sync),
                    Some(_) => {}
                    None => {
                        let down = server.id;
                        self.timers.retain(
                            |alarm, _| !matches!(alarm, Alarm::Server(id, _) if *id == down),
                        );
                    }
                },
                Process::Client(process) if waits && !process.client.is_idle() => {
                    self.arm(Alarm::Client(process.client.id()));
                }
                Process::Client(_) | Process::Proxy(_) => {}
            }
        }
    }

    fn send(&mut self, envelope: Envelope) {
        if let (Address::Proxy(_), Message::ClientRequest(request)) =
            (envelope.from, &envelope.message)
        {
            self.requests += 1;
            self.arm(Alarm::Proxy(request.client, request.id));
        }
        if self.loses_first && self.said.insert(envelope.clone()) {
            return;
        }
        let due = self.now + self.below(DELAY) + 1;
        self.sent += 1;
        self.flight.insert((due, self.sent), envelope);
    }

    fn arm(&mut self, alarm: Alarm) {
        let takes = match alarm {
            Alarm::Server(_, Timer::Election) => ELECTION + self.below(ELECTION + 1),
            Alarm::Server(_, Timer::Heartbeat) => HEARTBEAT,
            Alarm::Server(_, Timer::Quorum) => ELECTION,
            Alarm::Proxy(..) => ATTEMPT,
            Alarm::Client(_) => self.request_takes(),
        };
        self.timers.insert(alarm, self.now + takes);
    }

    fn below(&mut self, bound: u64) -> u64 {
        (u64::from(self.dice.next_u32()) * bound) >> 32
    }
}

fn index_of(id: NodeId) -> usize {
    id.get() as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correct_core_passes_every_scenario() {
        for scenario in TimedScenario::ALL {
            match scenario.find(&scenario.scope()) {
                TimedOutcome::Passed { steps } => assert!(steps > 300, "{scenario:?}: {steps}"),
                TimedOutcome::Failed { why, .. } => panic!("{scenario:?}: {why}"),
            }
        }
    }

    /// Each scenario fails without the feature that it tests.
    #[test]
    fn scenarios_fail_without_what_they_are_for() {
        let without = |pre_vote, check_quorum| Scope {
            pre_vote,
            check_quorum,
            ..scope()
        };
        for (scenario, scope) in [
            (TimedScenario::Returns, without(false, false)),
            (TimedScenario::Deaf, without(true, false)),
        ] {
            let outcome = scenario.find(&scope);
            assert!(
                matches!(outcome, TimedOutcome::Failed { .. }),
                "{scenario:?}"
            );
        }
    }
}
