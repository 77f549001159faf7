//! Traces as timelines.

#![expect(
    clippy::disallowed_methods,
    reason = "these servers record the steps that a replay executes under the guard"
)]

use crate::{App, golden, scope};
use axum::http::StatusCode;
use checker::{
    engine::Limits,
    explore::{Explore, Home, Input},
    simulate,
};
use model::{Address, Config, Durable, Envelope, Event, NodeId, Raft, mutant::Mutant};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::Arc,
};

fn trace_of(name: &str, seed: u64, steps: usize) -> String {
    let mut text = Vec::new();
    let trace = simulate::walk(&scope(name), seed, steps);
    trace.write_jsonl(&mut text).expect("memory takes all");
    String::from_utf8(text).expect("text")
}

#[tokio::test]
async fn rejected_trace_shows_what_was_good_of_it() {
    let app = App::new();
    let text = trace_of("crashes", 1, 12);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[5] = lines[5].replace("\"step\":5", "\"step\":6");
    let files = json!({"files": [{"name": "b.jsonl", "text": lines.join("\n")}]});
    let (status, read) = app.post("/api/traces", &files).await;
    assert_eq!(status, StatusCode::OK);
    let verdict = &read["verdict"];
    assert_eq!(verdict["accepted"], false);
    assert_eq!(
        (&verdict["file"], &verdict["line"]),
        (&json!("b.jsonl"), &json!(6))
    );
    assert_eq!(read["steps"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn files_that_are_no_traces_are_refused() {
    let app = App::new();
    let text = trace_of("crashes", 1, 3);
    let other = text.replace("stateraft-trace/4", "stateraft-trace/9");
    let files = |files: &[(&str, &str)]| {
        let files = files
            .iter()
            .map(|(name, text)| json!({"name": name, "text": text}));
        json!({"files": files.collect::<Vec<_>>()})
    };
    let (status, read) = app
        .post("/api/traces", &files(&[("c.jsonl", &other)]))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(read["verdict"]["line"], 1);
    for (asked, why) in [
        (files(&[]), "no file"),
        (files(&[("d", "hello")]), "d is not a trace"),
        (files(&[("e", "")]), "e is not a trace"),
        (
            files(&[("f", &text), ("g", &text)]),
            "do not belong together",
        ),
    ] {
        let (status, answer) = app.post("/api/traces", &asked).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
    }
    let node = r#"{"trace":"stateraft-node","version":7,"node":1,"boot":"00c0ffee00c0ffee","config":{},"durable":{}}"#;
    let (_, read) = app.post("/api/traces", &files(&[("h", node)])).await;
    let why = read["verdict"]["why"].as_str().expect("a reason");
    assert!(
        why.contains("only stateraft-node version 4 is supported"),
        "{why}"
    );
}

/// Traces of three nodes. One wins an election and replicates its no-op to the other nodes. Before that,
/// it receives `idle` events without effect.
fn node_traces(mutant: Option<Mutant>, idle: usize) -> Vec<(String, String)> {
    let first = NodeId::new(1);
    let mut events = vec![(first, Event::HeartbeatTimeout); idle];
    events.push((first, Event::ElectionTimeout));
    traces_of_events(mutant, events)
}

/// Traces of three nodes. Each event happens when the earlier ones have no more effects.
fn traces_of_events(mutant: Option<Mutant>, events: Vec<(NodeId, Event)>) -> Vec<(String, String)> {
    let ids: Vec<NodeId> = (1..=3).map(NodeId::new).collect();
    let mut config = Config::production(ids.iter().copied().collect());
    config.pre_vote = false;
    config.mutant = mutant;
    let mut files: BTreeMap<NodeId, (Raft, String, u64)> = ids
        .iter()
        .map(|id| {
            let durable = Durable::default();
            let header = json!({
                "trace": "stateraft-node",
                "version": 4,
                "node": id,
                "boot": format!("{:016x}", id.get()),
                "config": config,
                "durable": durable,
            });
            let raft = Raft::recover(*id, config.clone(), durable);
            (*id, (raft, format!("{header}\n"), 0))
        })
        .collect();
    let mut events = events.into_iter();
    let mut todo = VecDeque::new();
    while let Some((id, event)) = todo.pop_front().or_else(|| events.next()) {
        let (raft, text, step) = files.get_mut(&id).expect("a node");
        *step += 1;
        let effects = raft.step(event.clone());
        let timers: Vec<String> = effects
            .timers
            .iter()
            .map(|timer| format!("{timer:?}"))
            .collect();
        let line = json!({
            "step": *step,
            "event": event,
            "effects": {"write": effects.write, "sends": effects.sends, "timers": timers},
        });
        *text += &format!("{line}\n");
        if let Some(write) = effects.write {
            todo.push_back((id, Event::Persisted(write.id)));
        }
        for Envelope { from, to, message } in effects.sends {
            if let Address::Node(to) = to {
                todo.push_back((to, Event::Receive { from, message }));
            }
        }
    }
    let named = files.into_iter();
    named
        .map(|(id, (_, text, _))| (format!("node-{id}.jsonl"), sealed(&text)))
        .collect()
}

/// Adds the digest chain of docs/replay.md.
fn sealed(text: &str) -> String {
    let mut digest = String::new();
    let mut sealed = String::new();
    for line in text.lines() {
        let body = line.strip_suffix('}').expect("an object");
        let hash = Sha256::digest(digest.clone() + body);
        digest = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        sealed += &format!("{body},\"digest\":\"{digest}\"}}\n");
    }
    sealed
}

#[tokio::test]
async fn traces_of_nodes_become_one_timeline_in_the_order_of_their_causes() {
    let app = App::new();
    let traces = node_traces(None, 0);
    let files = |traces: &[(String, String)]| {
        let files = traces
            .iter()
            .map(|(name, text)| json!({"name": name, "text": text}));
        json!({"files": files.collect::<Vec<_>>()})
    };
    let (status, read) = app.post("/api/traces", &files(&traces)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(read["kind"], "nodes");
    assert_eq!(read["verdict"]["accepted"], true, "{}", read["verdict"]);
    assert_eq!(read["start"].as_array().map(Vec::len), Some(3));
    let steps = read["steps"].as_array().expect("a list");
    let lines: usize = traces
        .iter()
        .map(|(_, text)| text.lines().count() - 1)
        .sum();
    assert_eq!(steps.len(), lines);
    let mut sent: Vec<&Value> = Vec::new();
    for step in steps {
        if let Some(envelope) = step["event"]["Deliver"]["envelope"].as_object() {
            let envelope = Value::Object(envelope.clone());
            assert!(sent.contains(&&envelope), "received before it was sent");
        }
        sent.extend(step["sent"].as_array().expect("a list"));
    }
    let states = states(&read);
    let leader = &states[&steps.len()]["server 1"];
    assert_eq!(leader["running"]["role"], "leader");
    assert_eq!(leader["running"]["commit_index"], 1);
    assert_eq!(leader["running"]["log_start"], 1);
    assert_eq!(leader["running"]["log"][0]["term"], 1);
    // Without one of the traces, the other servers continue as far as possible.
    let (_, read) = app.post("/api/traces", &files(&traces[..2])).await;
    assert_eq!(read["verdict"]["accepted"], false);
    assert!(
        read["verdict"]["why"]
            .as_str()
            .unwrap()
            .contains("server 3")
    );
}

/// The states of all nodes before each step shown and after the last one, by the number of the previous
/// step. A step contains only its changes.
fn states(read: &Value) -> BTreeMap<usize, BTreeMap<String, Value>> {
    let number = |value: &Value| usize::try_from(value.as_u64().expect("a number")).expect("small");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut now: BTreeMap<String, Value> = list(&read["start"])
        .into_iter()
        .map(|state| (format!("server {}", state["id"]), state))
        .collect();
    let before = number(&read["from"]) - 1;
    let mut all = BTreeMap::from([(before, now.clone())]);
    for (step, line) in list(&read["steps"]).iter().enumerate() {
        assert_eq!(number(&line["step"]), before + step + 1);
        let process = line["process"].as_str().expect("a name");
        let state = now.get_mut(process).expect("it was there at the start");
        for part in ["disk", "running"] {
            let (is, was) = (&line["state"][part], &mut state[part]);
            if is.is_null() || was.is_null() {
                *was = is.clone();
                continue;
            }
            for (name, value) in is.as_object().expect("fields") {
                if name == "log" {
                    let kept = number(&is["log_from"]) - number(&was["log_start"]);
                    let gone = number(&is["log_start"]) - number(&was["log_start"]);
                    let log = list(&was["log"]);
                    let log = [&log[gone.min(kept)..kept], &list(value)].concat();
                    was["log"] = log.into();
                }
            }
            for (name, value) in is.as_object().expect("fields") {
                if !["log", "log_from"].contains(&name.as_str()) {
                    was[name] = value.clone();
                }
            }
        }
        all.insert(before + step + 1, now.clone());
    }
    all
}

/// A step contains only the fields that changed, so the page learns of the end of a transfer from a null.
#[tokio::test]
async fn leadership_transfer_of_a_node_is_shown_until_its_end() {
    let (first, second) = (NodeId::new(1), NodeId::new(2));
    let events = vec![
        (first, Event::ElectionTimeout),
        (first, Event::TransferLeadership(second)),
    ];
    let traces = traces_of_events(None, events);
    let files: Vec<_> = traces
        .iter()
        .map(|(name, text)| json!({"name": name, "text": text}))
        .collect();
    let (_, read) = App::new()
        .post("/api/traces", &json!({"files": files}))
        .await;
    assert_eq!(read["verdict"]["accepted"], true, "{}", read["verdict"]);
    let steps = states(&read);
    let mut transfers: Vec<&Value> = steps
        .values()
        .map(|all| &all["server 1"]["running"]["transfer"])
        .collect();
    transfers.dedup();
    let requested = json!({"target": 2, "is_requested": true});
    assert_eq!(transfers, [&Value::Null, &requested, &Value::Null]);
    let (_, last) = steps.last_key_value().expect("a state");
    let last = &last["server 2"]["running"];
    assert_eq!(
        (&last["role"], &last["term"]),
        (&json!("leader"), &json!(2))
    );
}

#[tokio::test]
async fn part_of_what_nodes_did_is_as_it_is_in_the_whole() {
    let app = App::new();
    let files = json!(
        node_traces(None, 0)
            .iter()
            .map(|(name, text)| json!({"name": name, "text": text}))
            .collect::<Vec<_>>()
    );
    let (_, whole) = app.post("/api/traces", &json!({"files": files})).await;
    let of = whole["of"].as_u64().expect("a number") as usize;
    assert!(of > 10, "{of} steps");
    let every = states(&whole);
    for step in 1..=of {
        let asked = json!({"files": files, "from": step});
        let (_, part) = app.post("/api/traces", &asked).await;
        assert_eq!((&part["from"], &part["of"]), (&json!(step), &json!(of)));
        assert_eq!(part["shown"], json!(of - step + 1));
        let after = every.range(step - 1..);
        assert!(states(&part).iter().eq(after), "from {step}");
        let asked = json!({"files": files, "to": step});
        let (_, part) = app.post("/api/traces", &asked).await;
        assert_eq!(part["shown"], json!(step));
        assert!(states(&part).iter().eq(every.range(..=step)), "to {step}");
    }
}

#[tokio::test]
async fn property_that_is_violated_after_more_steps_than_are_shown_is_shown() {
    let idle = 60_000;
    let traces = node_traces(Some(Mutant::VoteSentBeforeDurable), idle);
    let files = traces
        .iter()
        .map(|(name, text)| json!({"name": name, "text": text}));
    let mut files = json!({"files": files.collect::<Vec<_>>()});
    let app = App::new();
    let (_, read) = app.post("/api/traces", &files).await;
    let number = |name: &str| read[name].as_u64().expect("a number") as usize;
    assert_eq!(number("of"), idle + 3);
    assert!(number("shown") < number("of"), "all of it is shown");
    assert_eq!(number("from") + number("shown"), number("of") + 1);
    let steps = read["steps"].as_array().expect("a list");
    assert_eq!(steps.len(), number("shown"));
    let last = steps.last().expect("there are steps");
    assert_eq!(last["step"], read["of"]);
    assert_eq!(last["violations"][0]["property"], "One vote per term");
    // An earlier part of the trace is truncated in the same way.
    files["from"] = 2.into();
    let (_, read) = app.post("/api/traces", &files).await;
    assert_eq!(read["steps"][0]["step"], 2);
    assert_eq!(read["shown"], steps.len());
    assert_eq!(read["header"]["property"], "One vote per term");
}

#[tokio::test]
async fn step_of_a_node_that_violates_a_property_is_shown_with_it() {
    let traces = node_traces(Some(Mutant::VoteSentBeforeDurable), 0);
    // The browser's tests use these files.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explore");
    for (name, text) in &traces {
        golden(&folder.join(format!("violation-{name}")), text);
    }
    let files = traces
        .iter()
        .map(|(name, text)| json!({"name": name, "text": text}));
    let files = json!({"files": files.collect::<Vec<_>>()});
    let (status, read) = App::new().post("/api/traces", &files).await;
    assert_eq!(status, StatusCode::OK);
    let verdict = &read["verdict"];
    assert_eq!(verdict["accepted"], false);
    let place = (&verdict["file"], &verdict["line"]);
    assert_eq!(place, (&json!("node-2.jsonl"), &json!(2)), "{verdict}");
    // All nodes are included, even the node without steps so far.
    assert_eq!(read["start"].as_array().map(Vec::len), Some(3));
    let steps = read["steps"].as_array().expect("a list");
    let (last, before) = steps.split_last().expect("there are steps");
    assert!(before.iter().all(|step| step["violations"].is_null()));
    assert_eq!(last["process"], "server 2");
    assert_eq!(
        last["violations"],
        json!([{
            "property": "One vote per term",
            "why": "server 2 sent a vote in term 1 that its disk does not hold",
            "cause": {"code": "VoteNotDurable", "server": 2, "term": 1},
        }])
    );
    // The effects of the violating step are included, not only the state before it.
    assert_eq!(states(&read)[&3]["server 2"]["running"]["voted_for"], 1);
    assert_eq!(last["sent"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn served_traces_are_there_from_the_start() {
    let limits = Limits {
        threads: 1,
        max_states: None,
        max_memory: None,
        symmetry: true,
    };
    let text = trace_of("crashes", 1, 3);
    let file = Input::from_bytes("a.jsonl".into(), text.into());
    let explore = Explore::new(Home::Replay, [], limits)
        .with_traces(vec![file], false)
        .expect("it is a trace");
    let app = App(Arc::new(explore).router());
    let (status, read) = app.get("/api/traces/served").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(read["steps"].as_array().map(Vec::len), Some(3));
    // A request for a part of a run that is short enough to be shown completely.
    let (status, again) = app.get("/api/traces/served?from=2").await;
    assert_eq!((status, &again["of"]), (StatusCode::OK, &read["of"]));
    let (status, wrong) = app.get("/api/traces/served?from=nowhere").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(wrong["error"].is_string());
    let (_, told) = app.get("/api/app").await;
    assert_eq!(told["home"], "replay");
    assert_eq!(told["traces_served"], true);
}
