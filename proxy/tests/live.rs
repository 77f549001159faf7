//! The endpoints of the browser app: the state as a stream, recent events, and fault injection. With
//! real servers in this process.

mod common;

use bytes::Bytes;
use common::{ask, get, ready, settings, within};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Incoming};
use hyper_util::rt::TokioIo;
use proxy::server::Server;
use serde_json::{Value, json};
use status::{Flow, Role, Status};
use std::{collections::VecDeque, net::SocketAddr};

/// A stream of server-sent events.
struct Events {
    body: Incoming,
    text: String,
    ready: VecDeque<Told>,
    /// The events that the test has not read yet.
    happened: VecDeque<Value>,
    /// The id of the last event that had one.
    id: Option<String>,
}

/// An item of the stream.
#[derive(Debug)]
struct Told {
    name: String,
    data: Value,
}

impl Events {
    async fn open(at: SocketAddr, last: Option<&str>) -> Self {
        let stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = Request::get("/v1/events").header("host", at.to_string());
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = within(sender.send_request(request)).await.unwrap();
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body(),
            text: String::new(),
            ready: VecDeque::new(),
            happened: VecDeque::new(),
            id: None,
        }
    }

    async fn next(&mut self) -> Told {
        loop {
            if let Some(told) = self.ready.pop_front() {
                return told;
            }
            let frame = within(self.body.frame()).await.unwrap().unwrap();
            self.text
                .push_str(str::from_utf8(&frame.into_data().unwrap()).unwrap());
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let mut told = Told {
                    name: "message".to_owned(),
                    data: Value::Null,
                };
                for line in event.lines() {
                    match line.split_once(": ") {
                        Some(("event", name)) => told.name = name.to_owned(),
                        Some(("data", data)) => told.data = serde_json::from_str(data).unwrap(),
                        Some(("id", id)) => self.id = Some(id.to_owned()),
                        _ => {}
                    }
                }
                self.ready.push_back(told);
                self.text = rest.to_owned();
            }
        }
    }

    /// Reads on until an event matches. Later events remain in the queue.
    async fn until(&mut self, what: &str, like: impl Fn(&Value) -> bool) -> Value {
        within(async {
            loop {
                while let Some(event) = self.happened.pop_front() {
                    if event["what"] == what && like(&event) {
                        return event;
                    }
                }
                let told = self.next().await;
                if told.name == "happened" {
                    self.happened.extend(told.data.as_array().unwrap().clone());
                }
            }
        })
        .await
    }
}

async fn chaos(at: SocketAddr, action: Value) -> Value {
    let json = [("content-type", "application/json")];
    let body = action.to_string();
    let answer = ask(at, "POST", "/v1/chaos", &json, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{action}: {answer:?}");
    answer.json()
}

/// The status of each server, in order; `None` if it does not respond.
async fn statuses(at: SocketAddr) -> Vec<Option<Status>> {
    let mut status = get(at, "/v1/status").await.json();
    let nodes = status["nodes"].as_array_mut().unwrap().iter_mut();
    nodes
        .map(|node| serde_json::from_value(node["status"].take()).unwrap())
        .collect()
}

/// Waits until the status of a server matches, and returns it.
async fn node(at: SocketAddr, id: u64, like: impl Fn(&Status) -> bool) -> Status {
    within(async {
        loop {
            if let Some(status) = statuses(at).await.swap_remove(id as usize - 1)
                && like(&status)
            {
                return status;
            }
        }
    })
    .await
}

/// Waits until a server does not respond.
async fn silence(at: SocketAddr, id: u64) {
    within(async { while statuses(at).await[id as usize - 1].is_some() {} }).await;
}

/// Waits for a leader in this term or a later one.
async fn leader(at: SocketAddr, term: u64) -> (u64, u64) {
    within(async {
        loop {
            let statuses = statuses(at).await;
            let leads = |status: &&Status| status.role == Role::Leader && status.term >= term;
            if let Some(leader) = statuses.iter().flatten().find(leads) {
                return (leader.id, leader.term);
            }
        }
    })
    .await
}

async fn put(at: SocketAddr, key: &str, value: &str) {
    let path = format!("/v1/kv/{key}");
    let answer = ask(at, "PUT", &path, &[], value.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn isolated_leader_is_replaced_and_follows_once_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 3 --chaos").await;
    let at = server.http.unwrap();
    put(at, "before", "1").await;
    let (old, term) = leader(at, 1).await;
    let mut events = Events::open(at, None).await;
    let elected = events
        .until("became_leader", |event| event["node"] == old)
        .await;
    assert_eq!(elected["term"], term);

    let active = chaos(at, json!({"do": "isolate", "node": old})).await;
    assert_eq!(
        active["isolated"],
        json!([{"node": old, "seconds_left": null}])
    );
    events
        .until("chaos", |event| {
            event["action"] == json!({"do": "isolate", "node": old}) && event["by_itself"] == false
        })
        .await;
    let elected = events
        .until("became_leader", |event| event["node"] != old)
        .await;
    assert!(elected["term"].as_u64() > Some(term), "{elected}");
    put(at, "during", "2").await;
    let status = get(at, "/v1/status").await.json();
    assert_eq!(status["chaos"]["isolated"][0]["node"], old);

    let active = chaos(at, json!({"do": "heal"})).await;
    assert_eq!(active["isolated"], json!([]));
    // The old leader follows the new one, and has the value that was written without it.
    let (new, term) = leader(at, term + 1).await;
    let follows = node(at, old, |node| {
        node.role == Role::Follower && node.leader == Some(new) && node.term == term
    })
    .await;
    assert_eq!(follows.boot.len(), 16);
    let caught_up = node(at, new, |node| {
        (node.followers.get(&old)).is_some_and(|progress| progress.lag == 0)
    })
    .await;
    assert_eq!(caught_up.followers[&old].flow, Flow::Pipeline);
    assert_eq!(get(at, "/v1/kv/before").await.json()["value"], "1");
    assert_eq!(get(at, "/v1/kv/during").await.json()["value"], "2");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_paused_servers_come_back_with_what_they_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 3 --chaos").await;
    let at = server.http.unwrap();
    put(at, "k", "1").await;
    let (first, term) = leader(at, 1).await;
    let active = chaos(
        at,
        json!({"do": "kill", "node": first, "for_seconds": 3600}),
    )
    .await;
    assert_eq!(active["halted"][0]["how"], "killed");
    assert_eq!(active["halted"][0]["seconds_left"], 3600.0);
    silence(at, first).await;
    put(at, "k", "2").await;
    let (second, term) = leader(at, term + 1).await;
    // A second server is paused: there is no majority, and nothing is executed until one server
    // returns.
    chaos(at, json!({"do": "pause", "node": second})).await;
    silence(at, second).await;
    chaos(at, json!({"do": "start", "node": first})).await;
    put(at, "k", "3").await;
    let active = chaos(at, json!({"do": "heal"})).await;
    assert_eq!(active["halted"], json!([]));
    node(at, second, |node| {
        node.role == Role::Follower && node.term > term
    })
    .await;
    assert_eq!(get(at, "/v1/kv/k").await.json()["value"], "3");

    // The events are available to a late client: two starts of the killed server.
    let mut events = Events::open(at, None).await;
    events
        .until("started", |event| {
            event["node"] == first && event["index"] == 0
        })
        .await;
    events
        .until("unreachable", |event| event["node"] == first)
        .await;
    let again = events
        .until("started", |event| event["node"] == first)
        .await;
    assert!(again["index"].as_u64() > Some(0), "{again}");

    // A paused server does not prevent the proxy from stopping.
    chaos(at, json!({"do": "pause", "node": second})).await;
    within(server.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_how_many_are_up_and_keeps_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 3 --chaos").await;
    let at = server.http.unwrap();
    put(at, "k", "1").await;
    leader(at, 1).await;
    let health = |wanted: &'static str, up: u64| async move {
        within(async {
            loop {
                let status = get(at, "/v1/status").await.json();
                let health = &status["health"];
                // A leader without a quorum stays leader until its quorum timer fires.
                let is_settled = wanted != "no_quorum" || health["leader"].is_null();
                if health["state"] == wanted && health["up"] == up && is_settled {
                    return status;
                }
            }
        })
        .await
    };
    // A majority can respond before the third server is admitted.
    let status = health("ok", 3).await;
    assert_eq!(status["health"]["margin"], json!(1));
    let committed = status["health"]["commit_index"].as_u64().unwrap();
    for node in [1, 2] {
        chaos(at, json!({"do": "kill", "node": node})).await;
    }
    let status = health("no_quorum", 1).await;
    let told = &status["health"];
    assert_eq!(told["margin"], json!(-1));
    assert_eq!(told["leader"], Value::Null);
    assert!(told["commit_index"].as_u64() >= Some(committed), "{told}");
    // The last status of a killed server is kept, with its age.
    let killed = &status["nodes"][0];
    assert!(
        killed["last"]["last_index"].as_u64() >= Some(committed),
        "{killed}"
    );
    assert!(killed["age_ms"].is_u64(), "{killed}");
    chaos(at, json!({"do": "heal"})).await;
    health("ok", 3).await;
    server.stop().await;
}

/// HTTP works in a partition of the servers, so a response proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn servers_that_do_not_hear_each_other_are_not_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 3 --chaos").await;
    let at = server.http.unwrap();
    put(at, "k", "1").await;
    leader(at, 1).await;
    let until = |wanted: &'static str, up: u64| async move {
        within(async {
            loop {
                let status = get(at, "/v1/status").await.json();
                let health = &status["health"];
                if health["state"] == wanted && health["up"] == up {
                    return status;
                }
            }
        })
        .await
    };
    let cut = |from: u64, to: u64| async move {
        let action = json!({"do": "link", "from": from, "to": to, "both": true, "cut": true});
        chaos(at, action).await;
    };
    let status = until("ok", 3).await;
    let leading = status["health"]["leader"].as_u64().unwrap();
    let cut_off = leading % 3 + 1;
    let third = 6 - leading - cut_off;
    cut(leading, cut_off).await;
    let status = until("ok", 2).await;
    assert_eq!(status["health"]["margin"], json!(0));
    let node = &status["nodes"][usize::try_from(cut_off).unwrap() - 1];
    assert!(node["status"].is_object(), "{node}");
    let why = node["problem"].as_str().unwrap();
    assert!(
        why.starts_with("responds over HTTP, but the leader has received no message from it"),
        "{why}"
    );
    cut(leading, third).await;
    cut(cut_off, third).await;
    until("no_quorum", 1).await;
    chaos(at, json!({"do": "heal"})).await;
    let status = until("ok", 3).await;
    assert!(
        status["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .all(|node| node["problem"].is_null())
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_the_page_itself_are_no_load() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1").await;
    let at = server.http.unwrap();
    put(at, "k", "v").await;
    let mut events = Events::open(at, None).await;
    // The page reads its keys in the background; then another client reads one.
    let read = within(async {
        loop {
            let told = events.next().await;
            if told.name == "message" && told.data["keys"]["fresh"] == true {
                break told.data["keys"]["items"][0]["value"].clone();
            }
        }
    })
    .await;
    assert_eq!(read, "v");
    let total = get(at, "/v1/status").await.json()["proxy"]["requests_total"].clone();
    assert_eq!(get(at, "/v1/kv/k").await.json()["value"], "v");
    let mut samples = 0;
    let mut reads = 0;
    within(async {
        while samples < 3 || reads == 0 {
            let told = events.next().await;
            if told.name != "samples" {
                continue;
            }
            for sample in told.data.as_array().unwrap() {
                samples += 1;
                assert_eq!(sample["operations"]["scan"], Value::Null, "{sample}");
                reads += sample["operations"]["get"]["answered"]
                    .as_u64()
                    .unwrap_or(0);
            }
        }
    })
    .await;
    assert_eq!(reads, 1);
    let after = get(at, "/v1/status").await.json()["proxy"]["requests_total"].clone();
    assert_eq!(after.as_u64().unwrap() - total.as_u64().unwrap(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_resumed_where_they_were_left() {
    let dir = tempfile::tempdir().unwrap();
    let server = ready(dir.path(), "--embedded 1 --chaos").await;
    let at = server.http.unwrap();
    let mut events = Events::open(at, None).await;
    let first = events.until("proxy_started", |_| true).await;
    assert_eq!(first["id"], 1);
    events.until("became_leader", |_| true).await;
    // The load samples, too.
    put(at, "k", "v").await;
    within(async {
        loop {
            let told = events.next().await;
            let samples = told.data.as_array().filter(|_| told.name == "samples");
            let put = |sample: &Value| sample["operations"]["put"]["answered"] == 1;
            if samples.is_some_and(|samples| samples.iter().any(put)) {
                break;
            }
        }
    })
    .await;
    let id = events.id.clone().unwrap();
    drop(events);
    chaos(at, json!({"do": "isolate", "node": 1})).await;
    let mut events = Events::open(at, Some(&id)).await;
    let mut happened = Vec::new();
    while happened.is_empty() {
        let told = events.next().await;
        assert_ne!(told.name, "gap");
        if told.name == "happened" {
            happened.extend(told.data.as_array().unwrap().clone());
        }
    }
    assert_eq!(
        happened[0]["what"], "chaos",
        "what was seen does not come again"
    );

    // An id of another run: the stream reports a gap, and then all available events.
    let mut events = Events::open(at, Some("0-1-1")).await;
    let told = events.next().await;
    assert_eq!(
        (&told.name[..], &told.data["missed"]),
        ("gap", &Value::Null)
    );
    events.until("proxy_started", |_| true).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_is_for_those_who_asked_for_it() {
    let server = Server::start(settings("--peer 1=127.0.0.1:9"))
        .await
        .unwrap();
    let at = server.http.unwrap();
    let json = [("content-type", "application/json")];
    let answer = ask(at, "POST", "/v1/chaos", &json, br#"{"do":"heal"}"#).await;
    assert_eq!(
        answer.shown(),
        (
            403,
            r#"{"error":{"code":"no_chaos","message":"fault injection is disabled: start raft-proxy with --chaos"}}"#
        )
    );
    let status = get(at, "/v1/status").await.json();
    assert!(status.get("chaos").is_none());
    server.stop().await;

    let server = Server::start(settings("--peer 1=127.0.0.1:9 --chaos"))
        .await
        .unwrap();
    let at = server.http.unwrap();
    let code = async |headers: &[(&str, &str)], body: &str| {
        let answer = ask(at, "POST", "/v1/chaos", headers, body.as_bytes()).await;
        let code = answer.json()["error"]["code"].as_str().unwrap().to_owned();
        (answer.status.as_u16(), code)
    };
    let is = |status: u16, code: &str| (status, code.to_owned());
    // Requests that a form on a foreign page can send are rejected.
    assert_eq!(code(&[], r#"{"do":"heal"}"#).await, is(415, "not_json"));
    let foreign = [json[0], ("sec-fetch-site", "cross-site")];
    assert_eq!(
        code(&foreign, r#"{"do":"heal"}"#).await,
        is(403, "foreign_site")
    );
    assert_eq!(
        code(&json, r#"{"do":"kill","node":1}"#).await,
        is(409, "elsewhere")
    );
    assert_eq!(
        code(&json, r#"{"do":"pause","node":2}"#).await,
        is(404, "no_such_server")
    );
    let link = r#"{"do":"link","from":1,"to":"proxy","drop":1.5}"#;
    assert_eq!(code(&json, link).await, is(422, "impossible"));
    assert_eq!(
        code(&json, r#"{"do":"dance"}"#).await,
        is(422, "bad_request")
    );
    // The proxy's own links can be disturbed.
    let active = chaos(at, json!({"do": "link", "from": "proxy", "to": 1, "drop": 0.5, "delay_ms": [10, 20], "for_seconds": 60})).await;
    assert_eq!(
        active["links"],
        json!([{
            "from": "proxy",
            "to": 1,
            "faults": {"cut": false, "drop": 0.5, "duplicate": 0.0, "reorder": 0.0, "delay_ms": [10, 20]},
            "seconds_left": 60.0,
        }])
    );
    assert_eq!(get(at, "/v1/chaos").await.json(), active);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn app_is_told_who_serves_it_and_nothing_of_the_cluster() {
    let server = Server::start(settings("--peer 1=127.0.0.1:9 --cluster hush --chaos"))
        .await
        .unwrap();
    let at = server.http.unwrap();
    let answer = get(at, "/api/app").await;
    assert_eq!(
        answer.json(),
        json!({
            "app": "raft-proxy",
            "version": env!("CARGO_PKG_VERSION"),
            "pages": ["live", "tour"],
            "home": "live",
            "trace_schema": "stateraft-trace/4",
            "chaos": true,
            "token": false,
        })
    );
    assert!(!answer.shown().1.contains("hush"));
    server.stop().await;
}
