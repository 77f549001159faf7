//! Traces of nodes as the lines of a timeline. The fields are those of a trace of a scope, but only the
//! end of a long log is included, and large constant parts (a whole store) are omitted. A step contains
//! only the parts of the state that changed.
//!
//! A run that begins after another run is a crash and a restart. A trace does not contain the time of
//! the crash, so it is shown just before the restart.

use crate::{explain, replay::Seen};
use model::{
    Address, ClientRequest, Entry, Envelope, Event, LogIndex, NodeId, Raft, Role, system::Cause,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};

/// The maximum number of steps of a timeline.
pub(super) const MAX_SHOWN: usize = 50_000;
/// The maximum size in bytes of the steps of a timeline: a browser parses them as a whole.
pub(super) const MAX_BYTES: usize = 192 << 20;
/// The maximum number of log entries shown.
const TAIL: usize = 24;
/// The maximum number of store keys shown.
const KEYS: usize = 16;
/// The number of steps that are dropped together if later steps do not fit.
const CHUNK: usize = 1 << 10;

/// The recorded part of a run of all nodes: the states before it, and its steps.
pub(super) struct Nodes {
    /// The number of the first step that may be shown.
    first: usize,
    /// The number of the last step that may be shown.
    last: usize,
    /// Whether the earlier steps are dropped if not all fit.
    keeps_end: bool,
    /// The number of all steps, shown or not.
    all: usize,
    bytes: usize,
    chunks: VecDeque<Chunk>,
    /// Every node after the last step recorded for it.
    known: BTreeMap<NodeId, Node>,
}

/// Consecutive steps.
struct Chunk {
    /// The number of the first step.
    from: usize,
    /// Every node before the first step.
    start: BTreeMap<NodeId, Node>,
    lines: Vec<String>,
    bytes: usize,
}

impl Nodes {
    /// Records from this step on, as many steps as fit.
    pub(super) fn starting_with(first: usize) -> Self {
        Self {
            first: first.max(1),
            last: first.max(1).saturating_add(MAX_SHOWN - 1),
            keeps_end: false,
            all: 0,
            bytes: 0,
            chunks: VecDeque::new(),
            known: BTreeMap::new(),
        }
    }

    /// Records up to this step, as many steps as fit.
    pub(super) fn up_to(last: usize) -> Self {
        Self {
            last,
            keeps_end: true,
            ..Self::starting_with((last + 1).saturating_sub(MAX_SHOWN))
        }
    }

    /// The number of nodes.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }

    /// The number of all steps.
    pub(super) fn all(&self) -> usize {
        self.all
    }

    /// The number of the first step shown.
    pub(super) fn from(&self) -> usize {
        self.chunks.front().map_or(1, |chunk| chunk.from)
    }

    /// Whether the shown steps include the last step.
    pub(super) fn shows_the_end(&self) -> bool {
        let end = self.chunks.back();
        self.all == end.map_or(0, |chunk| chunk.from - 1 + chunk.lines.len())
    }

    /// The initial state of each node, in the order of their ids.
    pub(super) fn start(&self) -> Value {
        let start = self
            .chunks
            .front()
            .map_or(&self.known, |chunk| &chunk.start);
        let start: Vec<_> = start.values().map(|node| node.to_json(None)).collect();
        json!(start)
    }

    /// The steps, as JSON.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        let lines = self.chunks.iter().flat_map(|chunk| &chunk.lines);
        lines.map(String::as_str)
    }

    /// Records a line of a trace.
    pub(super) fn see(&mut self, seen: &Seen<'_>) {
        let who = Address::Node(seen.id());
        let up = || Node::from_seen(seen);
        match seen.event {
            Some(event) => self.push(seen, up, || happened(who, event)),
            None if seen.run() <= 1 => {
                self.known.insert(seen.id(), up());
            }
            None => {
                let down = || Node::from_seen(seen).down();
                self.push(seen, down, || (Happened::Crash, explain::crashes(who)));
                self.push(seen, up, || (Happened::Restart, explain::restarts(who)));
            }
        }
    }

    /// Adds a step, if it is shown: the node after it, the event, and its description.
    fn push<'a>(
        &mut self,
        seen: &Seen<'a>,
        state: impl Fn() -> Node,
        happened: impl FnOnce() -> (Happened<'a>, String),
    ) {
        self.all += 1;
        if self.all + 1 == self.first {
            let every = seen.every().map(|node| (node.id(), Node::from_seen(&node)));
            self.known = every.collect();
            self.known.insert(seen.id(), state());
        }
        let is_full = !self.keeps_end && self.bytes >= MAX_BYTES;
        if !(self.first..=self.last).contains(&self.all) || is_full {
            return;
        }
        let is_long = |chunk: &Chunk| chunk.lines.len() >= CHUNK || chunk.bytes >= MAX_BYTES / 16;
        if self.chunks.back().is_none_or(is_long) {
            self.chunks.push_back(Chunk {
                from: self.all,
                start: self.known.clone(),
                lines: Vec::new(),
                bytes: 0,
            });
        }
        let state = state();
        let (event, text) = happened();
        let line = Line {
            step: self.all,
            process: &Address::Node(seen.id()).to_string(),
            event,
            sent: seen.sends.iter().filter(between_servers).collect(),
            witnesses: [],
            state: state.to_json(self.known.get(&seen.id())),
            text: &text,
            violations: seen.violation.map(|violation| {
                [ShownViolation {
                    property: violation.property.name(),
                    why: violation.cause.to_string(),
                    cause: &violation.cause,
                }]
            }),
        };
        let line = serde_json::to_string(&line).expect("JSON has a place for all of it");
        self.known.insert(seen.id(), state);
        self.bytes += line.len();
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.bytes += line.len();
            chunk.lines.push(line);
        }
        while self.keeps_end && self.bytes > MAX_BYTES && self.chunks.len() > 1 {
            let left_out = self.chunks.pop_front();
            self.bytes -= left_out.map_or(0, |chunk| chunk.bytes);
        }
    }
}

fn between_servers(envelope: &&Envelope) -> bool {
    matches!(envelope.to, Address::Node(_))
}

/// A line of the timeline.
#[derive(Serialize)]
struct Line<'a> {
    step: usize,
    process: &'a str,
    event: Happened<'a>,
    sent: Vec<&'a Envelope>,
    witnesses: [(); 0],
    state: NodeJson<'a>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    violations: Option<[ShownViolation<'a>; 1]>,
}

#[derive(Serialize)]
struct ShownViolation<'a> {
    property: &'a str,
    why: String,
    cause: &'a Cause,
}

/// An event as a trace of a scope writes it.
#[derive(Serialize)]
enum Happened<'a> {
    Crash,
    Restart,
    Deliver { envelope: Envelope, ask: Option<()> },
    Requests(Vec<ReceivedRequest<'a>>),
    ElectionTimeout,
    HeartbeatTimeout,
    QuorumTimeout,
    Compact,
    TransferLeadership(NodeId),
    Sync,
}

#[derive(Serialize)]
struct ReceivedRequest<'a> {
    from: &'a Address,
    request: &'a ClientRequest,
}

/// The event and its description.
fn happened(who: Address, event: &Event) -> (Happened<'_>, String) {
    match event {
        Event::Receive { from, message } => {
            let envelope = Envelope {
                from: *from,
                to: who,
                message: message.clone(),
            };
            let text = format!("{who} receives {}", explain::received(&envelope));
            (
                Happened::Deliver {
                    envelope,
                    ask: None,
                },
                text,
            )
        }
        Event::Requests(requests) => {
            let (requests, text) = received(who, requests);
            (Happened::Requests(requests), text)
        }
        Event::RequestsUnderBackpressure(requests) => {
            let (requests, text) = received(who, requests);
            let text = format!("{text} while its disk is behind: a leader accepts no write");
            (Happened::Requests(requests), text)
        }
        Event::ElectionTimeout => (
            Happened::ElectionTimeout,
            explain::timer_fires(who, "election"),
        ),
        Event::TransferLeadership(target) => (
            Happened::TransferLeadership(*target),
            explain::transfers(who, *target),
        ),
        Event::HeartbeatTimeout => (
            Happened::HeartbeatTimeout,
            explain::timer_fires(who, "heartbeat"),
        ),
        Event::QuorumTimeout => (Happened::QuorumTimeout, explain::timer_fires(who, "quorum")),
        Event::Compact => (Happened::Compact, explain::takes_snapshot(who)),
        Event::Persisted(write) => (
            Happened::Sync,
            format!("all writes of {who} up to write {write} reach its disk"),
        ),
    }
}

fn received(
    who: Address,
    requests: &[(Address, ClientRequest)],
) -> (Vec<ReceivedRequest<'_>>, String) {
    let text = match requests.len() {
        1 => format!("{who} receives a request"),
        many => format!("{who} receives {many} requests at once"),
    };
    let requests = requests.iter();
    let requests = requests.map(|(from, request)| ReceivedRequest { from, request });
    (requests.collect(), text)
}

/// The shown state of a node.
#[derive(Clone)]
struct Node {
    id: NodeId,
    disk: Part,
    running: Option<Part>,
}

/// The shown state of a node's disk or memory.
#[derive(Clone)]
struct Part {
    /// The short fields.
    fields: Map<String, Value>,
    log_start: usize,
    log: Vec<Entry>,
    store: Option<Vec<StoredPair>>,
}

#[derive(Clone, PartialEq, Serialize)]
struct StoredPair {
    key: Vec<u8>,
    value: Vec<u8>,
    version: LogIndex,
}

/// A node, in the format of a server snapshot in a trace, with only the parts that changed. Most steps
/// change only a small part, and the whole is long.
#[derive(Serialize)]
struct NodeJson<'a> {
    kind: &'static str,
    id: NodeId,
    disk: PartJson<'a>,
    running: Option<PartJson<'a>>,
}

#[derive(Serialize)]
struct PartJson<'a> {
    #[serde(flatten)]
    fields: Map<String, Value>,
    #[serde(flatten)]
    log: Option<LogJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'a [StoredPair]>,
}

/// The entries of a log from `log_from` on, the first index that differs from the previous state.
#[derive(Serialize)]
struct LogJson<'a> {
    log_start: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_from: Option<usize>,
    log: &'a [Entry],
}

impl Node {
    fn from_seen(seen: &Seen<'_>) -> Self {
        let log: Vec<Entry> = seen.disk_tail(TAIL).into_iter().cloned().collect();
        let hard_state = json!({"hard_state": seen.hard_state()});
        Self {
            id: seen.id(),
            disk: Part {
                fields: fields(hard_state),
                log_start: seen.disk_len() - log.len() + 1,
                log,
                store: None,
            },
            running: seen
                .raft()
                .map(|raft| Part::from_raft(raft, seen.unsynced())),
        }
    }

    /// The same node, not running.
    fn down(self) -> Self {
        Self {
            running: None,
            ..self
        }
    }

    fn to_json(&self, before: Option<&Self>) -> NodeJson<'_> {
        let was_running = before.and_then(|before| before.running.as_ref());
        NodeJson {
            kind: "server",
            id: self.id,
            disk: self.disk.to_json(before.map(|before| &before.disk)),
            running: self.running.as_ref().map(|is| is.to_json(was_running)),
        }
    }
}

impl Part {
    fn from_raft(raft: &Raft, unsynced: usize) -> Self {
        let last = raft.log().last_index().get();
        let first = last.saturating_sub(TAIL as u64) + 1;
        let log: Vec<Entry> = (first..=last)
            .filter_map(|index| raft.log().get(LogIndex::new(index)).cloned())
            .collect();
        let store = raft.store().pairs().take(KEYS);
        let store = store.map(|(key, held)| StoredPair {
            key: key.to_vec(),
            value: held.value.to_vec(),
            version: held.version,
        });
        Self {
            fields: fields(running(raft, unsynced)),
            log_start: last as usize + 1 - log.len(),
            log,
            store: Some(store.collect()),
        }
    }

    fn to_json(&self, before: Option<&Self>) -> PartJson<'_> {
        let is_other = |name: &str, value: &Value| {
            before.is_none_or(|before| before.fields.get(name) != Some(value))
        };
        let fields = self.fields.iter();
        let fields = fields.filter(|(name, value)| is_other(name, value));
        let is_same = |before: &Self| before.store == self.store;
        PartJson {
            fields: fields
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            log: self.log_to_json(before),
            store: (!before.is_some_and(is_same))
                .then_some(self.store.as_deref())
                .flatten(),
        }
    }

    fn log_to_json(&self, before: Option<&Self>) -> Option<LogJson<'_>> {
        let Some(before) = before else {
            return Some(LogJson {
                log_start: self.log_start,
                log_from: None,
                log: &self.log,
            });
        };
        if (before.log_start, &before.log) == (self.log_start, &self.log) {
            return None;
        }
        let is_same = |(position, entry): &(usize, &Entry)| {
            let position = (self.log_start + position).checked_sub(before.log_start);
            position.and_then(|position| before.log.get(position)) == Some(*entry)
        };
        let same = self.log.iter().enumerate().take_while(is_same).count();
        Some(LogJson {
            log_start: self.log_start,
            log_from: Some(self.log_start + same),
            log: &self.log[same..],
        })
    }
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The short fields of a node's state in memory.
fn running(raft: &Raft, unsynced: usize) -> Value {
    let mut fields = json!({
        "role": "follower",
        "term": raft.current_term(),
        "voted_for": raft.voted_for(),
        "leader": null,
        "votes": [],
        "commit_index": raft.commit_index(),
        "durable_index": raft.durable_index(),
        "unsynced": [],
        "pending": unsynced,
        "followers": [],
        "writes": [],
        "reads": [],
        "read_round": 0,
        // A step has only the fields that changed, so the end of a transfer is a null.
        "transfer": null,
    });
    match raft.role() {
        Role::Follower { leader, .. } => fields["leader"] = json!(leader),
        Role::PreCandidate { votes } => {
            fields["role"] = "pre-candidate".into();
            fields["votes"] = json!(votes);
        }
        Role::Candidate(candidate) => {
            fields["role"] = "candidate".into();
            fields["votes"] = json!(candidate.votes);
        }
        Role::Leader(leader) => {
            fields["role"] = "leader".into();
            fields["leader"] = json!(raft.id());
            fields["read_round"] = leader.read_round.into();
            fields["transfer"] = json!(leader.transfer);
            fields["followers"] = leader
                .followers
                .iter()
                .map(|(id, progress)| {
                    json!({
                        "id": id,
                        "next_index": progress.next_index,
                        "match_index": progress.match_index,
                        "read_round": progress.read_round,
                    })
                })
                .collect();
        }
    }
    fields
}
