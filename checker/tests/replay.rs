//! Traces of servers, in the format of `raft-node --trace`: correct ones are accepted, and altered ones
//! are rejected.

use checker::replay::{Conditions, Rejection, Report, Source, replay};
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
        properties::pair::judge_pair,
    },
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    io::Cursor,
    process::{Command, Output},
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
            "version": 2,
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
    broken: Option<Property>,
    judges: bool,
    /// Whether clients send requests.
    busy: bool,
}

impl World {
    fn new(servers: u64, mutant: Option<Mutant>, seed: u64) -> Self {
        let mut config = Config::new((1..=servers).map(NodeId::new).collect());
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
            broken: None,
            judges: false,
            busy: true,
        }
    }

    fn run(&mut self, turns: usize) {
        for _ in 0..turns {
            if self.broken.is_some() {
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
                self.step(leader.unwrap_or(at), Event::Requests(requests));
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
        let before = self.judges.then(|| self.nodes[at].raft.clone());
        let watermarks = Watermarks::of(&self.nodes[at].raft);
        let effects = self.nodes[at].step(event);
        if invariants::check(watermarks, &self.nodes[at].raft, &effects).is_err() {
            self.broken = Some(Property::Invariants);
        }
        if let Some(before) = before {
            self.judge(at, &before);
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
    fn judge(&mut self, at: usize, before: &Raft) {
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
            let judged = self
                .history
                .observe(observation, Properties::ALL, &mut witnesses);
            if let Err(broken) = judged {
                self.broken.get_or_insert(broken.property);
            }
        }
        let facet = Facet::of(&self.nodes[at].as_server());
        for (other, node) in self.nodes.iter().enumerate() {
            if other != at
                && let Err(broken) =
                    judge_pair(&facet, &Facet::of(&node.as_server()), Properties::ALL)
            {
                self.broken.get_or_insert(broken.property);
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

/// Checks the given traces of a cluster.
fn judged_texts(texts: &BTreeMap<String, String>) -> Result<Report, Rejection> {
    let sources = texts
        .iter()
        .map(|(file, text)| Source::new(file, Cursor::new(text.clone().into_bytes())));
    let (lines, interrupt) = (AtomicU64::new(0), AtomicBool::new(false));
    let conditions = Conditions {
        used_disks: false,
        lines: &lines,
        interrupt: &interrupt,
    };
    replay(sources.collect(), conditions)
}

/// Traces by file name.
#[derive(Clone)]
struct Files(BTreeMap<String, Vec<String>>);

impl Files {
    fn judged(&self) -> Result<Report, Rejection> {
        self.judged_from(false)
    }

    fn judged_from(&self, used_disks: bool) -> Result<Report, Rejection> {
        let sources = self
            .0
            .iter()
            .map(|(file, lines)| Source::new(file, Cursor::new(sealed(lines).into_bytes())));
        let (lines, interrupt) = (AtomicU64::new(0), AtomicBool::new(false));
        let conditions = Conditions {
            used_disks,
            lines: &lines,
            interrupt: &interrupt,
        };
        replay(sources.collect(), conditions)
    }

    fn rejected(&self) -> String {
        match self.judged() {
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

#[test]
fn honest_traces_are_accepted() {
    let (mut elections, mut committed, mut runs) = (0, 0, 0);
    for seed in 0..60 {
        let mut world = World::new(if seed % 5 == 0 { 5 } else { 3 }, None, seed);
        world.judges = seed < 20;
        world.run(1500);
        assert_eq!(world.broken, None, "seed {seed}");
        let report = match world.files().judged() {
            Ok(report) => report,
            Err(rejection) => panic!("seed {seed}: {rejection}"),
        };
        let steps: u64 = world
            .nodes
            .iter()
            .map(|node| node.lines.len() as u64 - node.runs)
            .sum();
        assert_eq!((report.steps, report.servers), (steps, world.nodes.len()));
        elections += report.elections;
        committed += report.committed;
        runs += report.runs;
    }
    assert!(
        elections > 100 && committed > 1000 && runs > 300,
        "{elections} {committed} {runs}"
    );
}

/// An independent definition of the steps inside a world that can be exhausted: the largest set of steps
/// of this world that contains, for each step, the previous steps of its server and a step that sent the
/// message it receives.
#[test]
fn steps_inside_are_those_that_nothing_outside_caused() {
    let (mut all, mut some) = (0, 0);
    for seed in 0..40 {
        let mut world = World::new(3, None, seed);
        world.busy = seed % 2 == 0;
        world.run(if world.busy { 400 } else { 60 });
        let report = world.files().judged().expect("accepted");
        let inside = inside_by_definition(&world);
        assert_eq!(report.coverage.inside, inside, "seed {seed}");
        all += u64::from(inside == report.steps);
        some += u64::from(inside > 10 && inside < report.steps);
    }
    assert!(all > 0 && some > 5, "{all} {some}");
}

fn inside_by_definition(world: &World) -> u64 {
    let mut steps: Vec<(usize, Value)> = Vec::new();
    let mut outside = Vec::new();
    for (server, node) in world.nodes.iter().enumerate() {
        let (mut runs, mut term) = (0, 0);
        for line in &node.lines {
            let line: Value = serde_json::from_str(line).expect("JSON");
            if line["trace"].is_string() {
                runs += 1;
                continue;
            }
            let written = &line["effects"]["write"]["hard_state"]["current_term"];
            term = written.as_u64().unwrap_or(term);
            let event = &line["event"];
            let timers = ["ElectionTimeout", "HeartbeatTimeout", "QuorumTimeout"];
            let is_of_this_world = timers.iter().any(|timer| event == timer)
                || event["Persisted"].is_u64()
                || event["Receive"]["from"]["Node"].is_u64();
            // A request that a server refuses because it is not the leader does not count.
            let sends = line["effects"]["sends"].as_array().expect("sends");
            let is_told = sends.iter().any(|envelope| envelope["to"]["Node"].is_u64());
            if event["Requests"].is_array() && line["effects"]["write"].is_null() && !is_told {
                continue;
            }
            outside.push(runs > 1 || term > 2 || !is_of_this_world);
            steps.push((server, line));
        }
    }
    loop {
        let sent: BTreeSet<String> = steps
            .iter()
            .zip(&outside)
            .filter(|(_, outside)| !**outside)
            .flat_map(|((_, line), _)| line["effects"]["sends"].as_array().expect("sends"))
            .map(ToString::to_string)
            .collect();
        let mut changed = false;
        for place in 0..steps.len() {
            let (server, line) = &steps[place];
            let follows = place > 0 && steps[place - 1].0 == *server && outside[place - 1];
            let received = &line["event"]["Receive"];
            let is_unsent = received.is_object() && {
                let to = json!({ "Node": server + 1 });
                let envelope =
                    json!({ "from": received["from"], "to": to, "message": received["message"] });
                !sent.contains(&envelope.to_string())
            };
            if !outside[place] && (follows || is_unsent) {
                outside[place] = true;
                changed = true;
            }
        }
        if !changed {
            return outside.iter().filter(|outside| !**outside).count() as u64;
        }
    }
}

/// The alteration of any field of any line is rejected with this line: the digest is wrong, or the line
/// cannot be parsed.
#[test]
fn any_altered_field_of_any_line_is_rejected_with_just_that_line() {
    let mut world = World::new(3, None, 7);
    world.run(150);
    let files = world.files();
    let texts: BTreeMap<_, _> = files
        .0
        .iter()
        .map(|(file, lines)| (file.clone(), sealed(lines)))
        .collect();
    judged_texts(&texts).expect("honest");
    let mut tried = 0;
    for (file, text) in &texts {
        let lines = Vec::from_iter(text.lines().map(str::to_owned));
        for (place, line) in lines.iter().enumerate() {
            let value: Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(rewritten(value.clone()), *line, "nothing altered");
            // One alteration of each field: for a digest, all alterations are equivalent.
            let mut paths = BTreeSet::new();
            let each_field = alterations(&value)
                .into_iter()
                .filter(|(path, _)| paths.insert(path.clone()));
            for (path, other) in each_field {
                tried += 1;
                let mut lines = lines.clone();
                lines[place] = rewritten(other);
                let mut texts = texts.clone();
                texts.insert(file.clone(), lines.join("\n") + "\n");
                let rejection = judged_texts(&texts).expect_err("altered");
                let told = rejection.to_string();
                let named = format!("{file}:{}: ", place + 1);
                assert!(told.starts_with(&named), "{named}{path}: {told}");
                // The kind of the file is checked before its contents.
                let is_header = line.contains("\"trace\":");
                let is_kind = is_header && ["/trace", "/version"].contains(&path.as_str());
                let why = if is_kind {
                    "this is a trace of"
                } else {
                    "digest"
                };
                assert!(told.contains(why), "{named}{path}: {told}");
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
}

/// A line as it was written: its digest comes last.
fn rewritten(mut line: Value) -> String {
    let digest = line.as_object_mut().expect("a line").remove("digest");
    let text = line.to_string();
    let body = text.strip_suffix('}').expect("an object");
    format!("{body},\"digest\":{}}}", digest.unwrap_or_default())
}

/// Every alteration of one field of a value, with the path to the field: numbers plus and minus one,
/// texts changed, flags inverted, elements removed.
fn alterations(value: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    match value {
        Value::Null => {}
        Value::Bool(flag) => found.push((String::new(), (!flag).into())),
        Value::Number(number) => {
            let number = number.as_i64().expect("a small number");
            found.push((String::new(), (number + 1).into()));
            if number > 0 {
                found.push((String::new(), (number - 1).into()));
            }
        }
        Value::String(text) => {
            // An alteration of every character would take too long: only the first and the last.
            for place in [0, text.len() - 1] {
                let mut bytes = text.clone().into_bytes();
                bytes[place] = if bytes[place] == b'7' { b'8' } else { b'7' };
                let other = String::from_utf8(bytes).expect("text");
                found.push((String::new(), other.into()));
            }
        }
        Value::Array(elements) => {
            for place in 0..elements.len() {
                let mut fewer = elements.clone();
                fewer.remove(place);
                found.push((format!("/{place} left out"), fewer.into()));
                for (path, other) in alterations(&elements[place]) {
                    let mut changed = elements.clone();
                    changed[place] = other;
                    found.push((format!("/{place}{path}"), changed.into()));
                }
            }
        }
        Value::Object(fields) => {
            for (name, inner) in fields {
                for (path, other) in alterations(inner) {
                    let mut changed = fields.clone();
                    changed[name] = other;
                    found.push((format!("/{name}{path}"), changed.into()));
                }
            }
        }
    }
    found
}

/// Whether an alteration gives another valid trace, because the rest of the trace does not depend on it:
/// * Nothing else depends on the name of a run.
/// * Client requests come from outside. If a request had no effect in the trace (a server refused it
///   because it was not the leader, or a read returned the same value), it could have been different.
/// * Of several writes, fewer may have been reported durable first.
/// * Another message of the same server may have been received in place of this one, and also been
///   ignored.
fn is_free(files: &Files, file: &str, path: &str, step: &Value) -> bool {
    path == "/boot"
        || path == "/event/Persisted"
        || (path.starts_with("/event/Requests/")
            && (step["effects"]["write"].is_null() || !path.contains("/operation/")))
        || files.have_sent(file, step)
}

#[test]
fn any_altered_field_is_rejected_with_its_line() {
    let mut world = World::new(3, None, 7);
    world.run(500);
    let files = world.files();
    let report = files.judged().expect("honest");
    assert!(report.runs > 3 && report.committed > 5, "{report:?}");
    let (mut tried, mut exact, mut free) = (0, 0, 0);
    for (file, lines) in &files.0 {
        for line in (0..lines.len()).step_by(23).chain([lines.len() - 1]) {
            let value: Value = serde_json::from_str(&lines[line]).expect("JSON");
            for (path, other) in alterations(&value) {
                tried += 1;
                let place = format!("{file}:{}", line + 1);
                match files.altered(file, line, &other).judged() {
                    Ok(_) => {
                        let is_free = is_free(&files, file, &path, &other);
                        assert!(is_free, "{place}{path} altered is accepted: {other}");
                        free += 1;
                    }
                    Err(rejection) => {
                        let told = rejection.to_string();
                        let names = |end: char| told.contains(&format!("{place}{end}"));
                        exact += u32::from(names(':') || names(' '));
                    }
                }
            }
        }
    }
    // An alteration of an input whose effect the server sends only later is found later.
    assert!(tried > 500, "{tried}");
    assert!(free * 10 < tried, "{free} of {tried} accepted");
    assert!(
        (exact + free) * 100 > tried * 97,
        "{exact} of {tried} by their line, {free} accepted"
    );
}

#[test]
fn lines_left_out_or_doubled_are_rejected() {
    let files = sample();
    for (file, lines) in &files.0 {
        for line in (0..lines.len() - 1).step_by(17) {
            // A run may have ended one step earlier: then no other server received a message of its last
            // step.
            if lines[line + 1].contains("\"trace\"") {
                continue;
            }
            let mut fewer = files.clone();
            fewer.0.get_mut(file).expect("a file").remove(line);
            fewer.rejected();
            let mut more = files.clone();
            more.0
                .get_mut(file)
                .expect("a file")
                .insert(line, lines[line].clone());
            more.rejected();
        }
    }
}

#[test]
fn a_run_starts_from_what_the_one_before_left() {
    // A cluster of one server needs no messages.
    let config = Config::new([NodeId::new(1)].into());
    let recorded = || {
        let mut node = Node::start(NodeId::new(1), &config, Durable::default());
        node.step(Event::ElectionTimeout);
        let ballot = node.unsynced[0].clone();
        node.step(Event::Persisted(ballot.id));
        let mut writes = vec![ballot];
        for id in 1..4 {
            let client = ClientId::new(5);
            let request = ClientRequest {
                client,
                id: RequestId::new(id),
                body: RequestBody::OpenSession,
            };
            node.step(Event::Requests(vec![(Address::Client(client), request)]));
        }
        writes.extend(node.unsynced.iter().cloned());
        assert!(writes.len() > 3, "there are writes");
        // The first three are reported durable.
        node.step(Event::Persisted(writes[2].id));
        (node, writes)
    };
    for reached in 0..=recorded().1.len() {
        let (mut node, writes) = recorded();
        let mut disk = Durable::default();
        for write in &writes[..reached] {
            disk.apply(write);
        }
        node.disk = disk.clone();
        node.begin(&config);
        let line = node.lines.len();
        let files = Files([("one".to_owned(), node.lines.clone())].into());
        if reached < 3 {
            let told = files.rejected();
            let place = format!("one:{line}: ");
            assert!(
                told.starts_with(&place) && told.contains("does not start from"),
                "{told}"
            );
        } else {
            files.judged().expect("some of the writes reached the disk");
        }
        // Only the last run, which starts from a used disk.
        let files = Files([("one".to_owned(), node.lines[line - 1..].to_vec())].into());
        if disk != Durable::default() {
            let told = files.rejected();
            assert!(
                told.starts_with("one:1: ") && told.contains("--used-disks"),
                "{told}"
            );
        }
        files
            .judged_from(true)
            .expect("told that the disk was in use");
    }
}

#[test]
fn what_nobody_sent_is_not_received() {
    let files = sample();
    let mut alone = files.clone();
    alone.0.remove("node-2");
    let told = alone.rejected();
    assert!(told.contains("whose trace is not here"), "{told}");
    // The last step receives a message that its sender never sent, and no other step depends on it.
    let config = Config::new([1, 2].map(NodeId::new).into());
    let mut one = Node::start(NodeId::new(1), &config, Durable::default());
    let two = Node::start(NodeId::new(2), &config, Durable::default());
    let message = Message::RequestVoteResponse(model::RequestVoteResponse {
        term: model::Term::new(0),
        vote_granted: false,
    });
    let from = Address::Node(two.id);
    one.step(Event::Receive { from, message });
    let files = Files([("one".into(), one.lines), ("two".into(), two.lines)].into());
    let told = files.rejected();
    assert!(
        told.starts_with("one:2: ") && told.contains("no step of its trace sends"),
        "{told}"
    );
}

/// Two servers: the first becomes leader, writes an entry, and receives the second server's
/// acknowledgment of it. The leader receives `foreseen` before it writes the entry. Returns the traces
/// and the acknowledgment.
fn conversation(foreseen: Option<&Message>) -> (Files, Message) {
    let config = Config::new([1, 2].map(NodeId::new).into());
    let mut nodes = [1, 2].map(|id| Node::start(NodeId::new(id), &config, Durable::default()));
    let mut mail = VecDeque::new();
    let settle = |nodes: &mut [Node; 2], mail: &mut VecDeque<Envelope>| {
        let mut last = None;
        loop {
            for node in nodes.iter_mut() {
                while let Some(write) = node.unsynced.front() {
                    let id = write.id;
                    mail.extend(node.step(Event::Persisted(id)).sends);
                }
            }
            let Some(Envelope { from, to, message }) = mail.pop_front() else {
                return last;
            };
            let Address::Node(to) = to else {
                continue;
            };
            if to.get() == 1 {
                last = Some(message.clone());
            }
            let effects = nodes[to.get() as usize - 1].step(Event::Receive { from, message });
            mail.extend(effects.sends);
        }
    };
    mail.extend(nodes[0].step(Event::ElectionTimeout).sends);
    settle(&mut nodes, &mut mail);
    assert!(matches!(nodes[0].raft.role(), Role::Leader(_)));
    if let Some(message) = foreseen {
        let from = Address::Node(NodeId::new(2));
        let message = message.clone();
        mail.extend(nodes[0].step(Event::Receive { from, message }).sends);
        settle(&mut nodes, &mut mail);
    }
    let request = ClientRequest {
        client: ClientId::new(5),
        id: RequestId::new(1),
        body: RequestBody::OpenSession,
    };
    let asked = Event::Requests(vec![(Address::Client(ClientId::new(5)), request)]);
    mail.extend(nodes[0].step(asked).sends);
    let last = settle(&mut nodes, &mut mail).expect("an acknowledgement");
    let files = nodes.map(|node| (format!("node-{}", node.id), node.lines));
    (Files(files.into()), last)
}

#[test]
fn an_answer_received_before_its_question_was_sent_is_rejected() {
    let (honest, answer) = conversation(None);
    honest.judged().expect("honest");
    let (forged, again) = conversation(Some(&answer));
    assert_eq!(answer, again, "the answer is sent, but only later");
    let told = forged.rejected();
    assert!(
        told.starts_with("node-1:") && told.contains("sent only after it was received"),
        "{told}"
    );
}

#[test]
fn properties_that_break_by_definition_break_in_traces() {
    let mut broken_by: BTreeMap<&str, u32> = BTreeMap::new();
    for mutant in [
        Mutant::QuorumOffByOne,
        Mutant::VotesTwiceInATerm,
        Mutant::VotesWithoutComparingLogs,
        Mutant::ComparesLogsByLength,
        Mutant::PrevTermNotCompared,
        Mutant::ConflictingSuffixKept,
        Mutant::AppendAcknowledgedBeforeDurable,
        Mutant::CommitsOlderTermByCounting,
        Mutant::VoteNotPersisted,
        Mutant::CountsStaleVotes,
        Mutant::FollowerCommitsDespiteConflict,
    ] {
        for seed in 0..12 {
            let mut world = World::new(3, Some(mutant), 1000 + seed);
            world.judges = true;
            world.run(1200);
            let judged = world.files().judged();
            match (world.broken, judged) {
                (None, Ok(report)) => assert_eq!(report.planted.as_deref(), Some(mutant.name())),
                (Some(property), Ok(_)) => {
                    panic!("{mutant:?} seed {seed}: {property} is broken, accepted")
                }
                (property, Err(rejection)) => {
                    let found = rejection
                        .property()
                        .unwrap_or_else(|| panic!("{mutant:?} seed {seed}: {rejection}"));
                    // If a server makes a promise before it is on its disk, the traces show it earlier.
                    let of_disks =
                        [Property::OneVotePerTerm, Property::MatchIsDurable].contains(&found);
                    assert!(
                        property.is_some() || of_disks,
                        "{mutant:?} seed {seed}: {rejection}"
                    );
                    *broken_by.entry(found.name()).or_default() += 1;
                }
            }
        }
    }
    assert!(broken_by.len() > 4, "{broken_by:?}");
}

#[test]
fn a_long_trace_is_replayed() {
    let mut world = World::new(3, None, 99);
    world.run(12_000);
    let report = world.files().judged().expect("honest");
    assert!(report.steps > 6_000, "{report:?}");
}

#[test]
fn lines_cut_short_where_a_run_ended_are_left_out() {
    let mut files = sample();
    let lines = files.0.get_mut("node-1").expect("a file");
    lines.push("{\"step\":12,\"ev".into());
    let report = files.judged().expect("cut short at its end");
    assert_eq!(report.cut_short.len(), 1);
    let lines = files.0.get_mut("node-1").expect("a file");
    let middle = lines.len() / 2;
    lines.insert(middle, "{\"step\":12,\"ev".into());
    let told = files.rejected();
    assert!(
        told.starts_with(&format!("node-1:{}: ", middle + 1)),
        "{told}"
    );
}

fn program(arguments: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_raft-checker"))
        .arg("replay")
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn program_ends_with_the_code_of_its_verdict() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |files: &Files| -> Vec<String> {
        let mut paths = Vec::new();
        for (file, lines) in &files.0 {
            let path = directory.path().join(file);
            fs::write(&path, sealed(lines)).expect("written");
            paths.push(path.display().to_string());
        }
        paths
    };
    let told = |output: &Output| {
        let (out, err) = (&output.stdout, &output.stderr);
        String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
    };
    let files = sample();
    let paths = write(&files);
    let output = program(&paths);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    assert!(told(&output).starts_with("accepted\n"), "{}", told(&output));
    assert!(
        told(&output).contains("lie inside the world of 3 servers")
            && told(&output).contains("It was exhausted now: "),
        "{}",
        told(&output)
    );

    let mut value: Value = serde_json::from_str(&files.0["node-2"][4]).expect("JSON");
    value["step"] = 77.into();
    let output = program(&write(&files.altered("node-2", 4, &value)));
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("node-2:5: "), "{}", told(&output));

    value["step"] = "77".into();
    let output = program(&write(&files.altered("node-2", 4, &value)));
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("node-2:5: "), "{}", told(&output));

    let output = program(&[]);
    assert_eq!(output.status.code(), Some(2));
    let output = program(&["/nowhere".into()]);
    assert_eq!(output.status.code(), Some(2));

    let mut json = write(&files);
    json.push("--json".into());
    let output = program(&json);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["verdict"], "accepted");
    assert_eq!(report["inside"]["search"], "exhausted");
    let inside = report["inside"]["steps"].as_u64();
    assert!(inside.is_some_and(|steps| steps > 0), "{report}");
    json.push("--no-search".into());
    let output = program(&json);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["inside"]["search"], "not searched");
    assert_eq!(report["inside"]["steps"].as_u64(), inside);
}
