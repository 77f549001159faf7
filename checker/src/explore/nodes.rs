//! Traces of nodes as the lines of a timeline: the same fields as in a trace of a scope, with the
//! end of long logs alone, and without what would be the same for minutes (a whole store).
//!
//! A run that begins after another is a crash and a restart. When the crash was, no trace says: it is
//! shown just before the restart.

use super::traces::Steps;
use crate::{replay::Seen, story};
use model::{Address, Entry, Envelope, Event, LogIndex, NodeId, Raft, Role};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The most entries shown of a log.
const TAIL: usize = 24;
/// The most keys shown of a store.
const KEYS: usize = 16;

/// What was seen of all nodes.
#[derive(Default)]
pub(super) struct Nodes {
    start: BTreeMap<NodeId, Value>,
    pub(super) steps: Steps,
}

impl Nodes {
    /// How many nodes there are.
    pub(super) fn count(&self) -> usize {
        self.start.len()
    }

    /// What each starts from, in the order of their names.
    pub(super) fn start(&self) -> Vec<&Value> {
        self.start.values().collect()
    }

    /// Takes note of a line.
    pub(super) fn see(&mut self, seen: &Seen<'_>) {
        let who = Address::Node(seen.id()).to_string();
        let Some(event) = seen.event else {
            if seen.run() <= 1 {
                self.start.insert(seen.id(), snapshot(seen));
                return;
            }
            let down = |_: &Seen<'_>| {
                let mut down = snapshot(seen);
                down["running"] = Value::Null;
                down
            };
            let told = format!("{who} crashes: what is not on its disk is lost");
            self.steps
                .push(|step| line(step, &who, json!("Crash"), &[], down(seen), &told));
            let told = format!("{who} starts again from its disk");
            self.steps
                .push(|step| line(step, &who, json!("Restart"), &[], snapshot(seen), &told));
            return;
        };
        self.steps.push(|step| {
            let (event, told) = happened(seen.id(), event);
            let mut line = line(step, &who, event, seen.sends, snapshot(seen), &told);
            if let Some(broken) = seen.broken {
                line["broken"] = json!([{"law": broken.law.name(), "why": broken.why}]);
            }
            line
        });
    }
}

fn line(
    step: usize,
    process: &str,
    event: Value,
    sends: &[Envelope],
    state: Value,
    story: &str,
) -> Value {
    let between = |envelope: &&Envelope| matches!(envelope.to, Address::Node(_));
    let sent: Vec<&Envelope> = sends.iter().filter(between).collect();
    json!({
        "step": step,
        "process": process,
        "event": event,
        "sent": sent,
        "witnesses": [],
        "state": state,
        "story": story,
    })
}

/// An event as a trace of a scope writes it, and in words.
fn happened(id: NodeId, event: &Event) -> (Value, String) {
    let who = Address::Node(id);
    match event {
        Event::Receive { from, message } => {
            let told = format!("{who} receives {} from {from}", story::message(message));
            let envelope = Envelope {
                from: *from,
                to: who,
                message: message.clone(),
            };
            let event = json!({"Deliver": {"envelope": envelope, "ask": null}});
            (event, told)
        }
        Event::Requests(requests) => {
            let asked: Vec<Value> = requests
                .iter()
                .map(|(from, request)| json!({"from": from, "request": request}))
                .collect();
            let told = match requests.len() {
                1 => format!("a request reaches {who}"),
                many => format!("{many} requests reach {who} at once"),
            };
            (json!({"Requests": asked}), told)
        }
        Event::ElectionTimeout => (
            json!("ElectionTimeout"),
            format!("the election timer of {who} fires"),
        ),
        Event::HeartbeatTimeout => (
            json!("HeartbeatTimeout"),
            format!("the heartbeat timer of {who} fires"),
        ),
        Event::QuorumTimeout => (
            json!("QuorumTimeout"),
            format!("the quorum timer of {who} fires"),
        ),
        Event::Compact => (
            json!("Compact"),
            format!("{who} takes a snapshot of what it has applied"),
        ),
        Event::Persisted(write) => (
            json!("Sync"),
            format!("{who} has everything up to write {write} on its disk"),
        ),
    }
}

/// A node as a trace's snapshot of a server.
fn snapshot(seen: &Seen<'_>) -> Value {
    let disk = seen.disk_tail(TAIL);
    let disk_start = seen.disk_len() - disk.len() + 1;
    let running = seen.raft().map(|raft| running(raft, seen.unsynced()));
    json!({
        "kind": "server",
        "id": seen.id(),
        "disk": {"hard_state": seen.hard_state(), "log": disk, "log_start": disk_start},
        "running": running,
    })
}

fn running(raft: &Raft, unsynced: usize) -> Value {
    let last = raft.log().last_index().get();
    let first = last.saturating_sub(TAIL as u64) + 1;
    let log: Vec<&Entry> = (first..=last)
        .filter_map(|index| raft.log().get(LogIndex::new(index)))
        .collect();
    let store: Vec<Value> = raft
        .store()
        .pairs()
        .take(KEYS)
        .map(|(key, held)| json!({"key": key, "value": held.value, "version": held.version}))
        .collect();
    let mut told = json!({
        "role": "follower",
        "term": raft.current_term(),
        "voted_for": raft.voted_for(),
        "leader": null,
        "votes": [],
        "log": log,
        "log_start": last + 1 - log.len() as u64,
        "commit_index": raft.commit_index(),
        "durable_index": raft.durable_index(),
        "unsynced": [],
        "pending": unsynced,
        "followers": [],
        "writes": [],
        "reads": [],
        "read_round": 0,
        "store": store,
    });
    match raft.role() {
        Role::Follower { leader, .. } => told["leader"] = json!(leader),
        Role::PreCandidate { votes } => {
            told["role"] = "pre-candidate".into();
            told["votes"] = json!(votes);
        }
        Role::Candidate(candidate) => {
            told["role"] = "candidate".into();
            told["votes"] = json!(candidate.votes);
        }
        Role::Leader(leader) => {
            told["role"] = "leader".into();
            told["leader"] = json!(raft.id());
            told["read_round"] = leader.read_round.into();
            told["followers"] = leader
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
    told
}
