//! Traces of servers, in the format of `raft-node --trace`: correct ones are accepted, and altered ones
//! are rejected.

#![expect(
    clippy::disallowed_methods,
    reason = "these servers record the steps that a replay executes under the guard"
)]

mod alterations;
mod causes;
mod exactly_once;
mod program;
mod refinement;

use checker::replay::{Conditions, Rejection, ReplayReport, Source, replay};
use model::{
    Address, ClientId, ClientRequest, Config, Durable, Effects, Envelope, Event, Message, NodeId,
    Raft, RequestId, Role, SessionId, Write,
    invariants::{self, Watermarks},
    message::{RequestBody, ResponseBody},
    mutant::Mutant,
    store::{Answer, Condition, Operation, Query},
    system::{
        Facet, History, Observation, Properties, Property, Witnesses,
        process::{Running, Server},
        properties::pair::check_pair,
    },
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, VecDeque},
    io::Cursor,
    sync::atomic::{AtomicBool, AtomicU64},
};

/// A generator of small numbers.
struct Dice(ChaCha8Rng);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A server with its disk, and its trace.
struct Node {
    id: NodeId,
    raft: Raft,
    disk: Durable,
    unsynced: VecDeque<Write>,
    lines: Vec<String>,
    steps: u64,
    runs: u64,
}

impl Node {
    fn start(id: NodeId, config: &Config, disk: Durable) -> Self {
        let mut node = Self {
            id,
            raft: Raft::recover(id, config.clone(), disk.clone()),
            disk,
            unsynced: VecDeque::new(),
            lines: Vec::new(),
            steps: 0,
            runs: 0,
        };
        node.begin(config);
        node
    }

    fn begin(&mut self, config: &Config) {
        self.runs += 1;
        self.steps = 0;
        let mut config = json!(config);
        // As a node writes it: its build has no planted bugs.
        if config["mutant"].is_null() {
            config.as_object_mut().expect("settings").remove("mutant");
        }
        let header = json!({
            "trace": "stateraft-node",
            "version": 4,
            "node": self.id,
            "boot": format!("{:08x}{:08x}", self.id.get(), self.runs),
            "config": config,
            "durable": self.disk,
        });
        self.lines.push(header.to_string());
    }

    /// A crash: some of the pending writes may have reached the disk.
    fn crash(&mut self, config: &Config, reached: usize) {
        for write in self.unsynced.drain(..).take(reached) {
            self.disk.apply(&write);
        }
        self.raft = Raft::recover(self.id, config.clone(), self.disk.clone());
        self.begin(config);
    }

    fn step(&mut self, event: Event) -> Effects {
        let told = json!(event);
        if let Event::Persisted(id) = &event {
            while let Some(write) = self.unsynced.pop_front_if(|write| write.id <= *id) {
                self.disk.apply(&write);
            }
        }
        let effects = self.raft.step(event);
        self.unsynced.extend(effects.write.clone());
        self.steps += 1;
        let timers: Vec<String> = effects
            .timers
            .iter()
            .map(|timer| format!("{timer:?}"))
            .collect();
        let line = json!({
            "step": self.steps,
            "event": told,
            "effects": {
                "write": effects.write,
                "sends": effects.sends,
                "timers": timers,
            },
        });
        self.lines.push(line.to_string());
        effects
    }

    fn as_server(&self) -> Server {
        Server {
            id: self.id,
            disk: self.disk.clone(),
            running: Some(Running {
                raft: self.raft.clone(),
                unsynced: self.unsynced.iter().cloned().collect(),
            }),
        }
    }
}

/// Servers and a network that loses, duplicates and delays messages at random.
struct World {
    config: Config,
    nodes: Vec<Node>,
    network: Vec<Envelope>,
    sessions: Vec<(SessionId, u64)>,
    requests: u64,
    dice: Dice,
    /// The properties by their definition, on whole states.
    history: History,
    violation: Option<Property>,
    checks: bool,
    /// Whether clients send requests.
    busy: bool,
}

impl World {
    fn new(servers: u64, mutant: Option<Mutant>, seed: u64) -> Self {
        let mut config = Config::production((1..=servers).map(NodeId::new).collect());
        // Bugs show more often with more elections.
        config.pre_vote = mutant.is_none();
        config.check_quorum = mutant.is_none();
        config.mutant = mutant;
        // Some entries that a snapshot covers are discarded immediately.
        config.trailing_bytes = 100;
        config.snapshot_patience = 1;
        let start = |id| Node::start(NodeId::new(id), &config, Durable::default());
        Self {
            nodes: (1..=servers).map(start).collect(),
            config,
            network: Vec::new(),
            sessions: Vec::new(),
            requests: 0,
            dice: Dice::new(seed),
            history: History::default(),
            violation: None,
            checks: false,
            busy: true,
        }
    }

    fn run(&mut self, turns: usize) {
        for _ in 0..turns {
            if self.violation.is_some() {
                return;
            }
            self.turn();
        }
    }

    fn turn(&mut self) {
        let at = self.dice.below(self.nodes.len());
        match self.dice.below(100) {
            0..=59 if !self.network.is_empty() => {
                let place = self.dice.below(self.network.len());
                let envelope = match self.dice.below(10) {
                    // Delivered, and may be delivered again.
                    0 => self.network[place].clone(),
                    // Lost.
                    1 => {
                        self.network.swap_remove(place);
                        return;
                    }
                    _ => self.network.swap_remove(place),
                };
                let Address::Node(to) = envelope.to else {
                    return;
                };
                let at = to.get() as usize - 1;
                let (from, message) = (envelope.from, envelope.message);
                self.step(at, Event::Receive { from, message });
            }
            60..=79 => {
                let waiting = self.nodes[at].unsynced.len();
                if waiting > 0 {
                    let last = self.dice.below(waiting);
                    let id = self.nodes[at].unsynced[last].id;
                    self.step(at, Event::Persisted(id));
                }
            }
            80..=89 if self.busy => {
                let requests = 1 + self.dice.below(3);
                let requests = (0..requests).map(|_| self.request()).collect();
                let leader = self
                    .nodes
                    .iter()
                    .position(|node| matches!(node.raft.role(), Role::Leader(_)));
                let event = if self.requests.is_multiple_of(4) {
                    Event::RequestsUnderBackpressure(requests)
                } else {
                    Event::Requests(requests)
                };
                self.step(leader.unwrap_or(at), event);
            }
            90..=93 => self.step(at, Event::HeartbeatTimeout),
            94 | 95 => self.step(at, Event::QuorumTimeout),
            96 | 97 => self.step(at, Event::ElectionTimeout),
            98 if self.dice.one_in(3) => {
                let waiting = self.nodes[at].unsynced.len();
                let reached = self.dice.below(waiting + 1);
                let config = self.config.clone();
                self.nodes[at].crash(&config, reached);
            }
            99 => self.step(at, Event::Compact),
            _ => {}
        }
    }

    fn request(&mut self) -> (Address, ClientRequest) {
        self.requests += 1;
        let client = ClientId::new(100 + self.requests % 5);
        let key = format!("key {}", self.dice.below(4)).into_bytes();
        let session = match self.sessions.len() {
            0 => None,
            count => Some(self.dice.below(count)),
        };
        let body = match (session, self.dice.below(10)) {
            (None, 0..=7) | (_, 8) => RequestBody::OpenSession,
            (Some(place), 0..=5) => {
                let (session, sequence) = &mut self.sessions[place];
                *sequence += 1;
                let (session, sequence) = (*session, *sequence);
                let operation = match self.dice.below(4) {
                    0 => Operation::Increment { key, by: 2 },
                    1 => Operation::Delete {
                        key,
                        condition: Condition::Present,
                    },
                    _ => Operation::Put {
                        key,
                        value: format!("value {}", self.requests).into(),
                        condition: Condition::Always,
                    },
                };
                RequestBody::Write {
                    session,
                    sequence,
                    acknowledged: sequence.saturating_sub(2),
                    operation,
                }
            }
            (_, 7) => RequestBody::Read {
                query: Query::Scan {
                    prefix: b"key".to_vec(),
                    after: None,
                    limit: 3,
                    bytes: 1000,
                },
            },
            _ => RequestBody::Read {
                query: Query::Get { key },
            },
        };
        let request = ClientRequest {
            client,
            id: RequestId::new(self.requests),
            body,
        };
        (Address::Client(client), request)
    }

    fn step(&mut self, at: usize, event: Event) {
        let before = self.checks.then(|| self.nodes[at].raft.clone());
        let watermarks = Watermarks::new(&self.nodes[at].raft);
        let effects = self.nodes[at].step(event);
        if invariants::check(watermarks, &self.nodes[at].raft, &effects).is_err() {
            self.violation = Some(Property::Invariants);
        }
        if let Some(before) = before {
            self.check(at, &before);
        }
        for envelope in effects.sends {
            if let Message::ClientResponse(response) = &envelope.message {
                if let ResponseBody::Applied(Answer::SessionOpened(session)) = response.body {
                    self.sessions.push((session, 0));
                }
            } else {
                self.network.push(envelope);
            }
        }
        if self.network.len() > 60 {
            let place = self.dice.below(self.network.len());
            self.network.swap_remove(place);
        }
    }

    /// Checks the step by the definitions of the model, on whole states.
    fn check(&mut self, at: usize, before: &Raft) {
        let after = &self.nodes[at].raft;
        let leads = |raft: &Raft| matches!(raft.role(), Role::Leader(_));
        let mut observed = Vec::new();
        if leads(after) && (!leads(before) || before.current_term() != after.current_term()) {
            let mut log = after.log().clone();
            log.truncate_from(before.log().last_index().next());
            observed.push(Observation::Elected {
                term: after.current_term(),
                leader: after.id(),
                log,
            });
        }
        if after.commit_index() > before.commit_index() {
            let first = before.commit_index().max(after.log().base().index).next();
            let count = after.commit_index().get() + 1 - first.get();
            observed.push(Observation::Committed {
                by_leader: leads(after).then_some(after.current_term()),
                first,
                entries: after.log().slice(first, count as usize).to_vec(),
            });
        }
        let mut witnesses = Witnesses::default();
        for observation in &observed {
            let checked =
                self.history
                    .observe(observation, Properties::ALL, u64::MAX, &mut witnesses);
            if let Err(violation) = checked {
                self.violation.get_or_insert(violation.property);
            }
        }
        let facet = Facet::new(&self.nodes[at].as_server());
        for (other, node) in self.nodes.iter().enumerate() {
            if other != at
                && let Err(violation) =
                    check_pair(&facet, &Facet::new(&node.as_server()), Properties::ALL)
            {
                self.violation.get_or_insert(violation.property);
            }
        }
    }

    fn files(&self) -> Files {
        let file = |node: &Node| (format!("node-{}", node.id), node.lines.clone());
        Files(self.nodes.iter().map(file).collect())
    }
}

/// The lines with correct digests. So the tests with these lines cover alterations that the digests do
/// not detect, because the digests were computed again.
fn sealed(lines: &[String]) -> String {
    let mut digest = String::new();
    let mut text = String::new();
    for line in lines {
        let Some(body) = line.strip_suffix('}') else {
            // Truncated.
            text += &format!("{line}\n");
            continue;
        };
        let hash = Sha256::digest(digest.clone() + body);
        digest = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("{body},\"digest\":\"{digest}\"}}\n");
    }
    text
}

/// Traces by file name.
#[derive(Clone)]
struct Files(BTreeMap<String, Vec<String>>);

impl Files {
    fn checked(&self) -> Result<ReplayReport, Rejection> {
        self.checked_if(false, true)
    }

    fn checked_from(&self, used_disks: bool) -> Result<ReplayReport, Rejection> {
        self.checked_if(used_disks, true)
    }

    /// Checks all properties except the refinement, which mostly fails first.
    fn checked_without_refinement(&self) -> Result<ReplayReport, Rejection> {
        self.checked_if(false, false)
    }

    fn checked_if(
        &self,
        used_disks: bool,
        checks_refinement: bool,
    ) -> Result<ReplayReport, Rejection> {
        let sources = self
            .0
            .iter()
            .map(|(file, lines)| Source::new(file, Cursor::new(sealed(lines).into_bytes())));
        let (lines, interrupt) = (AtomicU64::new(0), AtomicBool::new(false));
        let conditions = Conditions {
            used_disks,
            checks_refinement,
            lines: &lines,
            interrupt: &interrupt,
        };
        replay(sources.collect(), conditions)
    }

    fn rejected(&self) -> String {
        match self.checked() {
            Ok(report) => panic!("accepted: {report:?}"),
            Err(rejection) => rejection.to_string(),
        }
    }

    /// Whether the server that a step names as the sender sent the received message: then the altered
    /// step is as valid as the original one.
    fn have_sent(&self, to: &str, step: &Value) -> bool {
        let received = &step["event"]["Receive"];
        let from = &self.0[&format!("node-{}", received["from"]["Node"])];
        from.iter().any(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let sends = line["effects"]["sends"].as_array();
            sends.into_iter().flatten().any(|sent| {
                let is_to = format!("node-{}", sent["to"]["Node"]) == to;
                is_to && sent["message"] == received["message"]
            })
        })
    }

    fn altered(&self, file: &str, line: usize, value: &Value) -> Self {
        let mut altered = self.clone();
        altered.0.get_mut(file).expect("a file")[line] = value.to_string();
        altered
    }
}

/// Some hundred steps with all kinds of events.
fn sample() -> Files {
    let mut world = World::new(3, None, 7);
    world.run(900);
    world.files()
}
