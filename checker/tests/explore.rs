//! The explorer's API, as the page uses it. `UPDATE_GOLDENFILES=1` rewrites `explore/walk.json` and the
//! scripts of `model/tests/scripts` that are exported here. Read them before you commit them.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use checker::{
    catalog,
    engine::Limits,
    explore::{Explore, Home, Input},
    simulate,
};
use http_body_util::BodyExt;
use model::{
    Address, Config, Durable, Envelope, Event, NodeId, Raft,
    mutant::Mutant,
    system::{Property, Scope, Witness},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// The timeout of any operation.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that receives requests without a network.
struct App(Router);

impl App {
    fn new() -> Self {
        Self::within(None)
    }

    fn within(max_states: Option<u64>) -> Self {
        let limits = Limits {
            threads: 1,
            max_states,
            max_memory: None,
            symmetry: true,
        };
        let explore = Explore::new(Home::Explore, [], limits);
        Self(Arc::new(explore).router())
    }

    async fn ask(&self, request: Request<Body>) -> (StatusCode, String) {
        let answer = self.0.clone().oneshot(request).await.expect("an answer");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a body");
        let text = String::from_utf8(body.to_bytes().to_vec()).expect("text");
        (status, text)
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, text) = self.ask(request("GET", path, "")).await;
        (status, serde_json::from_str(&text).expect("JSON"))
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let (status, text) = self.ask(request("POST", path, &body.to_string())).await;
        (status, serde_json::from_str(&text).expect("JSON"))
    }

    /// A walk whose steps are all possible.
    async fn walk(&self, world: &Value, path: &[String]) -> Value {
        let mut body = world.clone();
        body["path"] = json!(path);
        let (status, walk) = self.post("/api/walk", &body).await;
        assert_eq!(status, StatusCode::OK, "{}", walk["error"]);
        walk
    }

    /// Starts a job and waits for its end.
    async fn job(&self, body: &Value) -> Value {
        let (status, started) = self.post("/api/jobs", body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{started}");
        let events = self
            .events(started["job"].as_str().expect("a name"), None)
            .await;
        let (_, kind, done) = events.last().expect("an event").clone();
        assert_eq!(kind, "done");
        done
    }

    /// The events of a job until its end: the id, name and data of each.
    async fn events(&self, job: &str, heard: Option<u64>) -> Vec<(u64, String, Value)> {
        let mut request = request("GET", &format!("/api/jobs/{job}/events"), "");
        if let Some(heard) = heard {
            let heard = heard.to_string().parse().expect("a header");
            request.headers_mut().insert("last-event-id", heard);
        }
        let (_, text) = self.ask(request).await;
        let field = |event: &str, name: &str| {
            let mut lines = event.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        text.split("\n\n")
            .filter_map(|event| {
                let data = serde_json::from_str(&field(event, "data:")?).expect("JSON");
                let id = field(event, "id:")?.parse().expect("a number");
                Some((id, field(event, "event:")?, data))
            })
            .collect()
    }
}

fn request(method: &str, path: &str, body: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1:3000")
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

fn world(name: &str, bounds: Value) -> Value {
    json!({"scope": {"name": name, "bounds": bounds}})
}

fn path(keys: &str) -> Vec<String> {
    keys.split_whitespace().map(str::to_owned).collect()
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().expect("a list").iter();
    list.map(|text| text.as_str().expect("text").to_owned())
        .collect()
}

fn scope(name: &str) -> Scope {
    let found = Scope::catalog()
        .into_iter()
        .find(|scope| scope.name == name);
    found.expect("the catalog has it")
}

/// Compares a text with a file, or writes the file.
fn golden(file: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::write(file, text).expect("the file can be written");
    }
    let held = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(text, held, "{} differs", file.display());
}

#[tokio::test]
async fn app_says_who_serves_the_page() {
    let (status, app) = App::new().get("/api/app").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        app,
        json!({
            "app": "raft-checker",
            "version": env!("CARGO_PKG_VERSION"),
            "pages": ["explore", "replay", "tour"],
            "home": "explore",
            "traces_served": false,
            "trace_schema": "stateraft-trace/2",
        })
    );
    let (status, page) = App::new().ask(request("GET", "/", "")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.starts_with("<!doctype html>"));
}

#[tokio::test]
async fn catalog_has_everything_there_is_to_choose_from() {
    let (_, menu) = App::new().get("/api/catalog").await;
    let names = |list: &str| -> Vec<String> {
        let list = menu[list].as_array().expect("a list").iter();
        list.map(|one| one["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    for scope in Scope::catalog() {
        assert!(names("scopes").contains(&scope.name), "{}", scope.name);
    }
    let bugs: Vec<&str> = Mutant::ALL.iter().map(|bug| bug.name()).collect();
    assert_eq!(names("mutants"), bugs);
    let properties: Vec<&str> = Property::ALL
        .iter()
        .map(|property| property.name())
        .collect();
    assert_eq!(names("properties"), properties);
    for list in ["scopes", "bounds", "mutants", "properties", "predicates"] {
        for one in menu[list].as_array().expect("a list") {
            assert!(one["about"].as_str().is_some_and(|about| !about.is_empty()));
        }
    }
    for bug in menu["mutants"].as_array().expect("a list") {
        assert!(names("scopes").contains(&bug["scope"].as_str().expect("a name").to_owned()));
        assert_eq!(
            bug["bounds"].as_object().map(|all| all.len()),
            Some(names("bounds").len())
        );
    }
    let is_default = |scope: &&Value| scope["default"] == true;
    let scopes = menu["scopes"].as_array().expect("a list");
    assert!(scopes.iter().filter(is_default).count() >= 10);
}

/// Detects a bound that only the command line or only the page has.
#[tokio::test]
async fn bounds_are_those_of_the_command_line() {
    let program = env!("CARGO_BIN_EXE_raft-checker");
    let help = std::process::Command::new(program)
        .args(["explore", "--help"])
        .output()
        .expect("the program starts");
    let help = String::from_utf8(help.stdout).expect("text");
    let (_, bounds) = help.split_once("Bounds, in place").expect("the heading");
    let typed: Vec<&str> = bounds
        .lines()
        .filter_map(|line| line.trim().strip_prefix("--")?.split(' ').next())
        .collect();
    let (_, menu) = App::new().get("/api/catalog").await;
    let known = menu["bounds"].as_array().expect("a list").iter();
    let known: Vec<&str> = known.filter_map(|bound| bound["name"].as_str()).collect();
    assert_eq!(known, typed);
}

/// Every English text that the page receives from the server has a translation in every other language
/// of the page.
#[tokio::test]
async fn every_name_and_sentence_of_the_catalog_is_in_spanish() {
    let (_, menu) = App::new().get("/api/catalog").await;
    let text = |name: &str| {
        let file = format!("../ui/assets/js/lang/es/{name}.js");
        std::fs::read_to_string(file).expect("the Spanish texts are there")
    };
    let known = text("explore") + &text("stage");
    let plain = |name: &str| -> String {
        let letters = name.chars().filter(char::is_ascii_alphabetic);
        letters.collect::<String>().to_lowercase()
    };
    let mut wanted = Vec::new();
    let names = |list: &str| strings_of(&menu[list], "name");
    for (list, key) in [
        ("mutants", "explore.mutant-"),
        ("scopes", "explore.scope-"),
        ("predicates", "explore.predicate-"),
        ("methods", "explore.method-"),
        ("methods", "explore.by-"),
        ("scenarios", "explore.scenario-"),
        ("bounds", "explore.bound-"),
        ("bounds", "explore.about-bound-"),
    ] {
        wanted.extend(names(list).iter().map(|name| format!("{key}{name}")));
    }
    for name in names("properties").iter().chain(&names("liveness")) {
        wanted.push(format!("stage.property-{}", plain(name)));
        wanted.push(format!("explore.about-property-{}", plain(name)));
    }
    let witnesses = Witness::ALL.iter().map(|witness| witness.name());
    wanted.extend(witnesses.map(|name| format!("stage.witness-{}", name.replace(' ', "-"))));
    assert!(wanted.len() > 200, "{}", wanted.len());
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|key| !known.contains(&format!("'{key}':")))
        .collect();
    assert_eq!(missing, Vec::<&String>::new());
}

fn strings_of(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|one| one[field].as_str().expect("text").to_owned())
        .collect()
}

/// A bug that violates no safety property is shown by a run like any other: with its method, and with
/// steps to walk.
#[tokio::test]
async fn bug_found_by_other_means_than_a_search_names_them_and_can_be_walked() {
    let app = App::new();
    let (_, menu) = app.get("/api/catalog").await;
    let mut seen = BTreeMap::new();
    for bug in menu["mutants"].as_array().expect("a list") {
        let method = bug["method"].as_str().expect("a method");
        if method == "search" {
            continue;
        }
        *seen.entry(method.to_owned()).or_insert(0) += 1;
        let name = bug["name"].as_str().expect("a name");
        let mut body = world(
            bug["scope"].as_str().expect("a scope"),
            bug["bounds"].clone(),
        );
        body["mutant"] = name.into();
        let mut job = body.clone();
        job["kind"] = "check".into();
        let done = app.job(&job).await;
        assert_eq!(done["verdict"], "violated", "{name}: {}", done["say"]);
        assert_eq!(done["method"], method, "{name}");
        let keys = strings(&done["path"]);
        assert!(!keys.is_empty(), "{name} has nothing to walk");
        let walk = app.walk(&body, &keys).await;
        assert_eq!(walk["steps"].as_array().map(Vec::len), Some(keys.len()));
        let ticks = done["ticks"].as_array();
        assert_eq!(
            ticks.map(Vec::len),
            (method == "timed").then_some(keys.len()),
            "{name}"
        );
        let stuck = done["stuck_after"].as_u64();
        assert_eq!(stuck.is_some(), method == "progress", "{name}");
        let say = done["say"].as_str().expect("a sentence");
        let word = match method {
            "timed" => "timed simulation",
            "progress" => "progress check",
            _ => "recorded schedule",
        };
        assert!(say.contains(word), "{name}: {say}");
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
}

/// The result does not depend on the scheduling of threads.
#[tokio::test]
async fn same_check_gives_the_same_counterexample() {
    let limits = Limits {
        threads: 4,
        max_states: None,
        max_memory: None,
        symmetry: true,
    };
    let explore = Explore::new(Home::Explore, [], limits);
    let app = App(Arc::new(explore).router());
    let entries = catalog::entries();
    let asked = |bug: Mutant, terms: u64| {
        let entry = entries.iter().find(|entry| entry.mutant == bug);
        let name = &entry.expect("the catalog has it").scope.name;
        let mut job = world(name, json!({"terms": terms, "crashes": 0, "entries": 0}));
        job["mutant"] = bug.name().into();
        job["kind"] = "check".into();
        job
    };
    for job in [
        asked(Mutant::QuorumOffByOne, 1),
        asked(Mutant::VotesWithoutComparingLogs, 2),
        asked(Mutant::ConflictingSuffixKept, 2),
    ] {
        let first = app.job(&job).await;
        assert_eq!(first["verdict"], "violated", "{}", first["say"]);
        for _ in 0..4 {
            assert_eq!(app.job(&job).await["path"], first["path"]);
        }
    }
}

#[tokio::test]
async fn linearizability_is_listed_only_where_operations_are_judged() {
    let app = App::new();
    for (scope, judged) in [("crashes", false), ("end-to-end-reads", true)] {
        let walk = app.walk(&world(scope, json!({})), &[]).await;
        let properties = strings_of(&walk["here"]["properties"], "property");
        let listed = properties
            .iter()
            .any(|property| property == Property::Linearizability.name());
        assert_eq!(listed, judged, "{scope}");
        assert_eq!(
            properties.len(),
            Property::ALL.len() - usize::from(!judged),
            "{scope}"
        );
    }
}

#[tokio::test]
async fn walk_is_pinned() {
    let bounds = json!({"terms": 1, "crashes": 1});
    let walk = App::new()
        .walk(&world("elections", bounds), &path("1e 2d1 x2 1d3 1c"))
        .await;
    let text = serde_json::to_string_pretty(&walk).expect("JSON") + "\n";
    golden(Path::new("tests/explore/walk.json"), &text);
}

#[tokio::test]
async fn simulated_walk_is_walked_again_and_exported_as_it_was() {
    let app = App::new();
    for scope in Scope::catalog() {
        for seed in 0..3 {
            let trace = simulate::walk(&scope, seed, 60);
            let mut text = Vec::new();
            trace.write_jsonl(&mut text).expect("memory takes all");
            let text = String::from_utf8(text).expect("text");
            let files = json!({"files": [{"name": "a.jsonl", "text": text}]});
            let (status, read) = app.post("/api/traces", &files).await;
            assert_eq!(status, StatusCode::OK);
            assert_eq!(read["verdict"]["accepted"], true, "{}", read["verdict"]);
            let mut world = read["walk"].clone();
            let keys = strings(&world["path"]);
            assert_eq!(keys.len(), trace.steps.len());
            let walk = app.walk(&world, &keys).await;
            assert_eq!(walk["steps"], read["steps"], "{} {seed}", scope.name);
            assert_eq!(walk["start"], read["start"]);
            for (line, step) in text.lines().skip(1).zip(walk["steps"].as_array().unwrap()) {
                let line: Value = serde_json::from_str(line).expect("JSON");
                for field in ["step", "process", "event", "sent", "witnesses", "state"] {
                    assert_eq!(line[field], step[field], "{} {seed}", scope.name);
                }
            }
            world["format"] = "jsonl".into();
            let asked = request("POST", "/api/export", &world.to_string());
            assert_eq!(app.ask(asked).await, (StatusCode::OK, text));
        }
    }
}

#[tokio::test]
async fn every_action_offered_can_be_taken_and_no_other() {
    let app = App::new();
    for (name, steps) in [
        ("crashes", "split"),
        ("fail-over", "merged"),
        ("reads", "merged"),
    ] {
        let trace = simulate::walk(&scope(name), 5, 24);
        let mut text = Vec::new();
        trace.write_jsonl(&mut text).expect("memory takes all");
        let text = String::from_utf8(text).expect("text");
        let files = json!({"files": [{"name": "a.jsonl", "text": text}]});
        let (_, read) = app.post("/api/traces", &files).await;
        let mut world = read["walk"].clone();
        let mut keys = strings(&world["path"]);
        if steps == "split" {
            world["steps"] = "split".into();
            keys = path("1e 1s 2d1 2s 1d3 1s 2d4 2s x2");
        }
        let here = app.walk(&world, &keys).await["here"].clone();
        let actions = here["actions"].as_array().expect("a list");
        assert!(actions.iter().any(|action| action["allowed"] == false));
        for action in actions {
            let mut further = keys.clone();
            further.push(action["key"].as_str().expect("a key").to_owned());
            let mut body = world.clone();
            body["path"] = json!(further);
            let (status, walk) = app.post("/api/walk", &body).await;
            if action["allowed"] == true {
                assert_eq!(status, StatusCode::OK, "{action}: {}", walk["error"]);
                assert_eq!(action["why_not"], Value::Null);
            } else {
                assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{action}");
                let why = action["why_not"].as_str().expect("a reason");
                let error = walk["error"].as_str().expect("an error");
                assert!(error.ends_with(why), "{error} is not {why}");
            }
        }
    }
}

/// Cached walks do not affect the result.
#[tokio::test]
async fn walk_taken_back_and_branched_is_as_if_taken_anew() {
    let trace = simulate::walk(&scope("crashes"), 11, 120);
    let mut text = Vec::new();
    trace.write_jsonl(&mut text).expect("memory takes all");
    let text = String::from_utf8(text).expect("text");
    let files = json!({"files": [{"name": "a.jsonl", "text": text}]});
    let app = App::new();
    let (_, read) = app.post("/api/traces", &files).await;
    let world = read["walk"].clone();
    let keys = strings(&world["path"]);
    for (end, dropped) in [
        (120, false),
        (40, false),
        (40, true),
        (119, false),
        (3, true),
        (77, false),
        (0, false),
    ] {
        let mut keys = keys[..end.min(keys.len())].to_vec();
        if dropped {
            keys.push("x1".into());
            keys.push("1h".into());
            let mut body = world.clone();
            body["path"] = json!(keys);
            let remembered = app.post("/api/walk", &body).await;
            assert_eq!(remembered, App::new().post("/api/walk", &body).await);
            continue;
        }
        let anew = App::new().walk(&world, &keys).await;
        assert_eq!(app.walk(&world, &keys).await, anew);
    }
}

#[tokio::test]
async fn only_the_steps_asked_for_come() {
    let app = App::new();
    let mut body = world("crashes", json!({}));
    body["path"] = json!(["1e", "2d1", "1d3"]);
    body["from"] = 2.into();
    let (_, walk) = app.post("/api/walk", &body).await;
    let steps = walk["steps"].as_array().expect("a list");
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0]["step"], 3);
    body["from"] = 99.into();
    let (_, walk) = app.post("/api/walk", &body).await;
    assert_eq!(walk["steps"], json!([]));
}

#[tokio::test]
async fn dropped_message_arrives_only_once_it_is_sent_again() {
    let app = App::new();
    let world = world("crashes", json!({}));
    let walk = app.walk(&world, &path("1e x1")).await;
    let step = &walk["steps"][1];
    assert_eq!(step["process"], "server 2");
    assert_eq!(step["state"], walk["start"][1]);
    assert_eq!(walk["here"]["messages"][0]["dropped_at"], 2);
    let mut body = world.clone();
    for again in ["2d1", "x1"] {
        body["path"] = json!(["1e", "x1", again]);
        let (status, walk) = app.post("/api/walk", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            walk["error"]
                .as_str()
                .unwrap()
                .contains("dropped in step 2")
        );
    }
    // The heartbeat timer of a candidate retransmits its vote requests.
    let walk = app.walk(&world, &path("1e x1 1h 2d1")).await;
    assert_eq!(walk["here"]["messages"][0]["dropped_at"], Value::Null);
    assert_eq!(walk["here"]["messages"][0]["delivered"], json!([4]));
}

#[tokio::test]
async fn path_that_leads_nowhere_tells_how_far_it_is_good() {
    let app = App::new();
    let mut body = world("crashes", json!({"crashes": 0}));
    for (keys, good, why) in [
        ("1e 2d9", 1, "there is no message 9"),
        ("1e 3d1", 1, "message 1 is for server 2, not for server 3"),
        ("9e", 0, "there is no process 9"),
        ("1e 1g", 1, "server 1 is in no state for this"),
        ("1c", 0, "this scope has no crashes"),
        ("1e 1e 1e", 2, "no term after 3"),
        ("1e 2d1-2", 1, "cannot be taken in this way"),
        ("1i", 0, "server 1 is in no state for this"),
    ] {
        body["path"] = json!(path(keys));
        let (status, walk) = app.post("/api/walk", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{keys}");
        assert_eq!(walk["good"], good, "{keys}");
        assert_eq!(walk["steps"].as_array().map(Vec::len), Some(good), "{keys}");
        let error = walk["error"].as_str().expect("an error");
        assert!(error.contains(why), "{keys}: {error}");
        assert!(walk["here"]["actions"].is_array());
    }
}

#[tokio::test]
async fn bad_requests_are_refused_with_a_reason() {
    let app = App::new();
    let good = world("crashes", json!({}));
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let cases = [
        (world("nowhere", json!({})), 404, "no scope"),
        (world("crashes", json!({"terms": 0})), 400, "terms 0"),
        (world("crashes", json!({"servers": 6})), 400, "servers 6"),
        (world("crashes", json!({"luck": 1})), 400, "no bound"),
        (
            world("crashes", json!({"terms": -1})),
            400,
            "cannot be read",
        ),
        (with("mutant", "no-such-bug".into()), 404, "no bug"),
        (with("steps", "tiny".into()), 400, "cannot be read"),
        (with("path", json!(["1z"])), 400, "1z"),
        (with("path", json!("1e")), 400, "cannot be read"),
        (with("path", json!(vec!["1e"; 50_001])), 400, "50001 steps"),
        (json!([]), 400, "cannot be read"),
        (json!({}), 400, "scope"),
    ];
    for (body, status, why) in cases {
        let (found, answer) = app.post("/api/walk", &body).await;
        let error = answer["error"].as_str().expect("an error");
        assert_eq!(found.as_u16(), status, "{error}");
        assert!(error.contains(why), "{error}");
    }
    let (status, answer) = app.ask(request("POST", "/api/walk", "{\"scope\":")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let large = " ".repeat((1 << 20) + 1);
    let (status, answer) = app.ask(request("POST", "/api/walk", &large)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
    assert!(answer.contains("too large"));
    let (status, _) = app.get("/api/nothing").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, answer) = app.get("/api/walk").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{answer}");
    let (status, answer) = app.get("/api/traces/served").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(answer["error"].as_str().unwrap().contains("replay --serve"));
}

#[tokio::test]
async fn requests_of_other_sites_are_refused() {
    let app = App::new();
    for (header, value, status) in [
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "same-origin", 200),
        ("origin", "http://elsewhere.example", 403),
        ("origin", "null", 403),
        ("origin", "http://127.0.0.1:3000", 200),
        ("host", "elsewhere.example:3000", 403),
        ("host", "localhost:3000", 200),
        ("host", "[::1]:3000", 200),
    ] {
        let mut asked = request("GET", "/api/app", "");
        asked
            .headers_mut()
            .insert(header, value.parse().expect("a header"));
        let (found, answer) = app.ask(asked).await;
        assert_eq!(found.as_u16(), status, "{header}: {value}: {answer}");
    }
    // A link to the page from any site may be followed, but not with a foreign host name.
    let mut asked = request("GET", "/", "");
    let cross = "cross-site".parse().expect("a header");
    asked.headers_mut().insert("sec-fetch-site", cross);
    assert_eq!(app.ask(asked).await.0, StatusCode::OK);
    let mut asked = request("GET", "/", "");
    let host = "elsewhere.example".parse().expect("a header");
    asked.headers_mut().insert("host", host);
    assert_eq!(app.ask(asked).await.0, StatusCode::FORBIDDEN);
}

fn check(name: &str, bounds: Value, mutant: Option<&str>) -> Value {
    let mut body = world(name, bounds);
    body["kind"] = "check".into();
    body["mutant"] = json!(mutant);
    body
}

#[tokio::test]
async fn check_of_a_small_world_exhausts_it() {
    let app = App::new();
    let body = check("elections", json!({"terms": 1, "crashes": 0}), None);
    let done = app.job(&body).await;
    assert_eq!(done["verdict"], "exhausted");
    assert_eq!(done["path"], Value::Null);
    assert!(done["say"].as_str().unwrap().starts_with("Exhausted: all "));
    // The reductions depend on other properties: all are checked, even if only one is requested.
    let mut one = body;
    one["property"] = "Election Safety".into();
    assert_eq!(app.job(&one).await["say"], done["say"]);
}

/// A few of the bugs, each in the scope where the catalog finds it; `raft-checker mutants` finds all.
#[tokio::test]
async fn planted_bug_is_found_where_the_catalog_finds_it_and_the_walk_ends_with_that_property_broken()
 {
    let app = App::new();
    let (_, menu) = app.get("/api/catalog").await;
    for name in [
        "votes-twice-in-a-term",
        "vote-not-persisted",
        "command-applied-twice",
        "late-notice-credits-overwritten-entries",
        "read-without-confirmation",
        "counts-stale-acknowledgements",
        "pre-vote-counted-as-vote",
    ] {
        let mut bugs = menu["mutants"].as_array().expect("a list").iter();
        let bug = bugs.find(|bug| bug["name"] == name).expect("it is there");
        let scope = bug["scope"].as_str().expect("a name");
        let done = app
            .job(&check(scope, bug["bounds"].clone(), Some(name)))
            .await;
        assert_eq!(done["verdict"], "violated", "{done}");
        assert_eq!(done["property"], bug["property"]);
        assert!(done["say"].as_str().unwrap().contains("no verdict on Raft"));
        let mut world = world(scope, bug["bounds"].clone());
        world["mutant"] = name.into();
        world["steps"] = done["steps"].clone();
        let keys = strings(&done["path"]);
        let walk = app.walk(&world, &keys).await;
        let last = walk["steps"]
            .as_array()
            .and_then(|steps| steps.last())
            .expect("a step");
        let mut broken = last["broken"].as_array().expect("a list").iter();
        assert!(
            broken.any(|broken| broken["property"] == bug["property"]),
            "{name}: {last}"
        );
        let properties = walk["here"]["properties"]
            .as_array()
            .expect("a list")
            .iter();
        let here = properties
            .clone()
            .find(|property| property["property"] == bug["property"])
            .expect("the property");
        assert_eq!(
            (&here["holds"], &here["step"]),
            (&json!(false), &json!(keys.len()))
        );
        // The walk can be exported and read again.
        world["path"] = json!(keys);
        world["format"] = "jsonl".into();
        let (status, text) = app
            .ask(request("POST", "/api/export", &world.to_string()))
            .await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let trace = checker::trace::read_jsonl(text.as_bytes()).expect("it can be executed");
        assert_eq!(
            trace.broken.map(|broken| broken.property.name()),
            bug["property"].as_str()
        );
    }
}

#[tokio::test]
async fn every_way_of_finding_a_bug_leads_to_a_walk() {
    let app = App::new();
    // The methods are progress, a script and a scenario: none of these is a search for a violation.
    for name in [
        "leader-skips-noop",
        "match-index-survives-re-election",
        "pre-vote-raises-term",
    ] {
        let entry = catalog::entries()
            .into_iter()
            .find(|entry| entry.mutant.name() == name);
        let entry = entry.expect("it is there");
        let (_, menu) = app.get("/api/catalog").await;
        let mut bugs = menu["mutants"].as_array().expect("a list").iter();
        let bug = bugs.find(|bug| bug["name"] == name).expect("it is there");
        let body = check(&entry.scope.name, bug["bounds"].clone(), Some(name));
        let done = app.job(&body).await;
        assert_eq!(done["verdict"], "violated", "{done}");
        let mut world = body.clone();
        world["steps"] = done["steps"].clone();
        app.walk(&world, &strings(&done["path"])).await;
    }
}

#[tokio::test]
async fn scope_that_does_not_show_a_planted_bug_says_so() {
    let bounds = json!({"terms": 1, "crashes": 0});
    let body = check("elections", bounds, Some("conflicting-suffix-kept"));
    let done = App::new().job(&body).await;
    assert_eq!(done["verdict"], "exhausted");
    let say = done["say"].as_str().expect("a sentence");
    assert!(
        say.contains("A bug is planted") && say.contains("does not show it"),
        "{say}"
    );
    assert!(say.contains("no verdict on Raft"), "{say}");
}

#[tokio::test]
async fn check_that_meets_a_limit_is_truncated_and_claims_nothing() {
    let done = App::within(Some(500))
        .job(&check("crashes", json!({}), None))
        .await;
    assert_eq!(done["verdict"], "truncated");
    assert!(done["say"].as_str().unwrap().contains("no claim is made"));
}

#[tokio::test]
async fn job_that_is_stopped_is_stopped_and_no_more() {
    let app = App::new();
    let (_, started) = app
        .post("/api/jobs", &check("crashes", json!({"terms": 3}), None))
        .await;
    let job = started["job"].as_str().expect("a name");
    let stop = request("DELETE", &format!("/api/jobs/{job}"), "");
    assert_eq!(app.ask(stop).await.0, StatusCode::NO_CONTENT);
    let events = app.events(job, None).await;
    let (last, kind, done) = events.last().expect("an event").clone();
    assert_eq!(kind, "done");
    assert_eq!(done["verdict"], "stopped", "{done}");
    assert!(done["say"].as_str().unwrap().contains("nothing is claimed"));
    assert!(events.is_sorted_by_key(|(id, ..)| *id));
    // A client that received half of the events gets the rest; a client that received all gets no event.
    assert_eq!(app.events(job, Some(last - 1)).await.len(), 1);
    assert!(app.events(job, Some(last)).await.is_empty());
}

#[tokio::test]
async fn only_a_few_jobs_run_at_once() {
    let app = App::new();
    let body = check("crashes", json!({"terms": 3}), None);
    let mut jobs = Vec::new();
    let refused = loop {
        let (status, answer) = app.post("/api/jobs", &body).await;
        match answer["job"].as_str() {
            Some(job) => jobs.push(job.to_owned()),
            None => break (status, answer),
        }
        assert!(jobs.len() < 10);
    };
    assert_eq!(refused.0, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.1["error"].as_str().unwrap().contains("stop one"));
    for job in &jobs {
        app.ask(request("DELETE", &format!("/api/jobs/{job}"), ""))
            .await;
        app.events(job, None).await;
    }
    let small = check("elections", json!({"terms": 1, "crashes": 0}), None);
    assert_eq!(app.job(&small).await["verdict"], "exhausted");
}

#[tokio::test]
async fn bad_jobs_are_refused_with_a_reason() {
    let app = App::new();
    let good = check("crashes", json!({}), None);
    let with = |kind: &str, field: &str, value: Value| {
        let mut body = good.clone();
        body["kind"] = kind.into();
        body[field] = value;
        body
    };
    for (body, status) in [
        (with("check", "property", "Murphy".into()), 404),
        (with("find", "predicate", "luck".into()), 404),
        (with("find", "predicate", Value::Null), 400),
        (with("witness", "witness", "luck".into()), 404),
        (with("witness", "witness", Value::Null), 400),
        (with("guess", "property", Value::Null), 400),
        (with("find", "path", json!(["1d1"])), 400),
    ] {
        let (found, answer) = app.post("/api/jobs", &body).await;
        assert_eq!(found.as_u16(), status, "{answer}");
    }
    let mut nowhere = with("find", "predicate", "leader".into());
    nowhere["path"] = json!(["1e", "2d7"]);
    let (found, _) = app.post("/api/jobs", &nowhere).await;
    assert_eq!(found, StatusCode::UNPROCESSABLE_ENTITY);
    for path in ["/api/jobs/7/events", "/api/jobs/x/events"] {
        assert_eq!(app.get(path).await.0, StatusCode::NOT_FOUND);
    }
    let stop = request("DELETE", "/api/jobs/7", "");
    assert_eq!(app.ask(stop).await.0, StatusCode::NOT_FOUND);
}

/// The scope in which each predicate is reachable.
const REACHABLE: &[(&str, &str)] = &[
    ("leader", "elections"),
    ("split-vote", "elections"),
    ("two-leaders", "elections"),
    ("deposed-leader", "elections"),
    ("logs-differ", "replication"),
    ("majority-not-committed", "replication"),
    ("older-term-on-majority", "older-term"),
    ("older-term-committed", "older-term"),
    ("entry-overwritten", "replication"),
    ("follower-lacks-committed", "replication"),
    ("all-agree", "replication"),
    ("write-lost", "crashes"),
    ("leader-crashed", "elections"),
    ("commit-without-own-disk", "split-entries"),
    ("write-acknowledged", "pipelining"),
    ("read-served", "reads"),
    ("outcome-unknown", "end-to-end"),
    ("retry-applied-once", "end-to-end"),
];

#[tokio::test]
async fn every_predicate_is_found_somewhere_and_the_walk_goes_there() {
    let app = App::new();
    let (_, menu) = app.get("/api/catalog").await;
    let known = menu["predicates"].as_array().expect("a list").iter();
    let known: Vec<&str> = known.filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(
        known,
        REACHABLE.iter().map(|(name, _)| *name).collect::<Vec<_>>()
    );
    for (predicate, scope) in REACHABLE {
        let mut body = world(scope, json!({}));
        body["kind"] = "find".into();
        body["predicate"] = (*predicate).into();
        let done = app.job(&body).await;
        assert_eq!(done["verdict"], "found", "{predicate}: {done}");
        let keys = strings(&done["path"]);
        app.walk(&body, &keys).await;
        // The predicate does not hold one step earlier, so the walk ends at the first state where it
        // holds.
        body["path"] = json!(keys[..keys.len() - 1]);
        let before = app.job(&body).await;
        assert!(
            !before["say"].as_str().unwrap().contains("already"),
            "{predicate}"
        );
    }
}

#[tokio::test]
async fn search_goes_on_from_the_state_shown() {
    let app = App::new();
    let mut body = world("crashes", json!({}));
    body["kind"] = "find".into();
    body["predicate"] = "leader".into();
    body["path"] = json!(path("2e x1 3d2"));
    let done = app.job(&body).await;
    let keys = strings(&done["path"]);
    assert_eq!(keys[..3], path("2e x1 3d2"));
    assert_eq!(keys.len(), 4, "{keys:?}");
    body["path"] = json!(keys);
    assert!(
        app.job(&body).await["say"]
            .as_str()
            .unwrap()
            .contains("already")
    );
}

#[tokio::test]
async fn what_is_nowhere_is_not_found_only_when_all_was_visited() {
    let mut body = world("elections", json!({"terms": 1, "crashes": 0}));
    body["kind"] = "find".into();
    body["predicate"] = "two-leaders".into();
    let done = App::new().job(&body).await;
    assert_eq!(done["verdict"], "not_found");
    assert!(
        done["say"]
            .as_str()
            .unwrap()
            .starts_with("Nowhere: none of the ")
    );
    body["kind"] = "witness".into();
    body["witness"] = "vote refused as given".into();
    let done = App::new().job(&body).await;
    assert_eq!(done["verdict"], "found");
    assert!(strings(&done["witnesses"]).contains(&"vote refused as given".to_owned()));
}

#[tokio::test]
async fn walk_goes_on_after_a_property_is_broken() {
    let app = App::new();
    let mut world = world("elections", json!({"terms": 1, "crashes": 0}));
    world["mutant"] = "votes-twice-in-a-term".into();
    let done = app
        .job(&check(
            "elections",
            json!({"terms": 1, "crashes": 0}),
            Some("votes-twice-in-a-term"),
        ))
        .await;
    let mut keys = strings(&done["path"]);
    let broken = keys.len();
    let shown = app.walk(&world, &keys).await;
    let mut actions = shown["here"]["actions"].as_array().expect("a list").iter();
    let next = actions.find(|action| action["allowed"] == true && action["effect"] == true);
    keys.push(
        next.expect("life goes on")["key"]
            .as_str()
            .expect("a key")
            .to_owned(),
    );
    let walk = app.walk(&world, &keys).await;
    assert_eq!(walk["header"]["property"], Value::Null);
    let mut properties = walk["here"]["properties"]
        .as_array()
        .expect("a list")
        .iter();
    let property = properties
        .find(|property| property["property"] == "Election Safety")
        .expect("the property");
    assert_eq!(
        (&property["holds"], &property["step"]),
        (&json!(false), &json!(broken))
    );
    assert!(
        property["why"]
            .as_str()
            .unwrap()
            .starts_with(&format!("broken by step {broken}: "))
    );
    world["path"] = json!(keys);
    world["format"] = "jsonl".into();
    let (status, answer) = app.post("/api/export", &world).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("go back to step"),
        "{answer}"
    );
}

/// `model/tests/scripts.rs` runs each script and lists it.
#[tokio::test]
async fn exported_scripts_are_those_that_the_model_runs() {
    let app = App::new();
    for ((script, scope, bounds), steps, keys) in [
        (
            (
                "explored_crash_and_reordering",
                "crashes",
                json!({"terms": 3}),
            ),
            "merged",
            "3c 3e 3e 1d1 2d2 3e x7 2d4 1e 1d1 2d8 3d11 2d2 3d13 2d10 1d16 1d3 2d17 3d21 3d19 3w \
             2d23 3d24",
        ),
        (
            ("explored_older_term", "older-term", json!({})),
            "merged",
            "2e 3d2 1d1 2d4 3e 3d2 1d5 2d8 1d7 3d6 2e x1 3d15 1d14 2d16 1d5 2s x4 3d19 2d21 3d22 \
             2d23 1d7 1d18 2d8 2d25",
        ),
        (
            ("explored_split_writes", "split-writes", json!({})),
            "split",
            "1h 2c 3d2 1d3 3d4 3s 1d5 2r 2d1 1d6 2d7 2s 1d8 1h 3e 2d9 3s 2d12 1d11 3d10 2d1 1s \
             3d14 1d15 3s 2d16 1d11 2d12 2d9 2s 2s 3d20",
        ),
    ] {
        let mut body = world(scope, bounds);
        body["steps"] = steps.into();
        body["format"] = "script".into();
        body["path"] = json!(path(keys));
        let (status, text) = app
            .ask(request("POST", "/api/export", &body.to_string()))
            .await;
        assert_eq!(status, StatusCode::OK, "{text}");
        golden(
            Path::new(&format!("../model/tests/scripts/{script}")),
            &text,
        );
    }
}

#[tokio::test]
async fn what_scripts_cannot_tell_is_refused() {
    let app = App::new();
    for (scope, mutant, keys, why) in [
        ("end-to-end", None, "5i", "clients and a proxy"),
        ("crashes", Some("vote-not-persisted"), "1e", "planted bug"),
        ("quorum", None, "1e", "PreVote"),
        ("pipelining", None, "1e 2d1 1d3 1b", "two clients ask"),
    ] {
        let mut body = world(scope, json!({}));
        body["mutant"] = json!(mutant);
        body["format"] = "script".into();
        body["path"] = json!(path(keys));
        let (status, answer) = app.post("/api/export", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{scope}");
        let error = answer["error"].as_str().expect("an error");
        assert!(error.contains(why), "{error}");
    }
}

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
    let other = text.replace("stateraft-trace/2", "stateraft-trace/9");
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
        (files(&[("d", "hello")]), "d is no trace"),
        (files(&[("e", "")]), "e is no trace"),
        (files(&[("f", &text), ("g", &text)]), "do not go together"),
    ] {
        let (status, answer) = app.post("/api/traces", &asked).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
    }
    let node = r#"{"trace":"stateraft-node","version":7,"node":1,"boot":"00c0ffee00c0ffee","config":{},"durable":{}}"#;
    let (_, read) = app.post("/api/traces", &files(&[("h", node)])).await;
    let why = read["verdict"]["why"].as_str().expect("a reason");
    assert!(
        why.contains("only stateraft-node version 2 is known"),
        "{why}"
    );
}

/// Traces of three nodes. One wins an election and replicates its no-op to the other nodes. Before that,
/// it receives `idle` events without effect.
fn node_traces(mutant: Option<Mutant>, idle: usize) -> Vec<(String, String)> {
    let ids: Vec<NodeId> = (1..=3).map(NodeId::new).collect();
    let mut config = Config::new(ids.iter().copied().collect());
    config.pre_vote = false;
    config.mutant = mutant;
    let mut files: BTreeMap<NodeId, (Raft, String, u64)> = ids
        .iter()
        .map(|id| {
            let durable = Durable::default();
            let header = json!({
                "trace": "stateraft-node",
                "version": 2,
                "node": id,
                "boot": format!("{:016x}", id.get()),
                "config": config,
                "durable": durable,
            });
            let raft = Raft::recover(*id, config.clone(), durable);
            (*id, (raft, format!("{header}\n"), 0))
        })
        .collect();
    let mut todo: VecDeque<_> = vec![(NodeId::new(1), Event::HeartbeatTimeout); idle].into();
    todo.push_back((NodeId::new(1), Event::ElectionTimeout));
    while let Some((id, event)) = todo.pop_front() {
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
async fn property_that_breaks_after_more_steps_than_are_shown_is_shown() {
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
    assert_eq!(last["broken"][0]["property"], "One vote per term");
    // An earlier part of the trace is truncated in the same way.
    files["from"] = 2.into();
    let (_, read) = app.post("/api/traces", &files).await;
    assert_eq!(read["steps"][0]["step"], 2);
    assert_eq!(read["shown"], steps.len());
    assert_eq!(read["header"]["property"], "One vote per term");
}

#[tokio::test]
async fn step_of_a_node_that_breaks_a_property_is_shown_with_it() {
    let traces = node_traces(Some(Mutant::VoteSentBeforeDurable), 0);
    // The browser's tests use these files.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explore");
    for (name, text) in &traces {
        golden(&folder.join(format!("broken-{name}")), text);
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
    assert!(before.iter().all(|step| step["broken"].is_null()));
    assert_eq!(last["process"], "server 2");
    assert_eq!(
        last["broken"],
        json!([{
            "property": "One vote per term",
            "why": "server 2 spoke of a vote in term 1 that its disk does not hold",
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
    let file = Input::of_bytes("a.jsonl".into(), text.into());
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

/// A server on a socket.
struct Served {
    address: SocketAddr,
    closing: CancellationToken,
    runtime: Runtime,
    serving: Option<JoinHandle<()>>,
}

impl Served {
    fn start(connections: usize, client_timeout: Duration) -> Self {
        let limits = Limits {
            threads: 1,
            max_states: None,
            max_memory: None,
            symmetry: true,
        };
        let explore =
            Explore::new(Home::Explore, [], limits).with_connections(connections, client_timeout);
        let runtime = Runtime::new().expect("threads");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a listener");
        let closing = CancellationToken::new();
        let until = closing.clone();
        let serving = runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            explore.serve(listener, until).await;
        });
        Self {
            address,
            closing,
            runtime,
            serving: Some(serving),
        }
    }

    /// Sends the beginning of a request, with fewer bytes of the body than announced.
    fn begin(&self, method: &str, path: &str, length: usize, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time to wait");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("a request");
        stream
    }

    /// The status of the response to a complete request.
    fn status(&self, method: &str, path: &str, body: &str) -> u16 {
        status_of(self.begin(method, path, body.len(), body)).0
    }

    /// Waits until the response to a request has this status.
    fn await_status(&self, path: &str, status: u16) {
        until(path, || {
            (self.status("GET", path, "") == status).then_some(())
        });
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        // The polling interval.
        thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Ends running searches.
        self.closing.cancel();
        if let Some(serving) = self.serving.take() {
            let _ = self.runtime.block_on(serving);
        }
    }
}

/// The status of a response, and the stream after its first line.
fn status_of(stream: TcpStream) -> (u16, BufReader<TcpStream>) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).expect("a response");
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    (
        status.unwrap_or_else(|| panic!("no status: {line:?}")),
        stream,
    )
}

#[test]
fn clients_that_stall_are_given_up() {
    let server = Served::start(8, Duration::from_millis(500));
    let posts = ["/api/walk", "/api/jobs", "/api/export", "/api/traces"];
    let mut slow: Vec<_> = posts.map(|path| ("POST", path)).to_vec();
    slow.push(("DELETE", "/api/jobs/1"));
    for (method, path) in slow {
        let (status, mut rest) = status_of(server.begin(method, path, 9, "x"));
        assert_eq!(status, 408, "{path}");
        // The rest of the connection is not parsed as another request.
        let mut text = String::new();
        rest.read_to_string(&mut text).expect("the end");
        assert!(text.contains("\"error\""), "{text}");
        let (status, _) = status_of(server.begin(method, path, 999_999_999, ""));
        assert_eq!(status, 413, "{path}");
    }
    // Neither silent connections nor incomplete requests block other clients.
    let silent = [(); 20].map(|()| TcpStream::connect(server.address).expect("it listens"));
    assert_eq!(server.status("GET", "/api/app", ""), 200);
    let stalled = [(); 20].map(|()| server.begin("POST", "/api/walk", 9, "x"));
    server.await_status("/api/app", 200);
    drop((silent, stalled));
}

#[test]
fn uploads_of_traces_are_bounded_in_number() {
    let server = Served::start(8, PATIENCE);
    let mut begun: Vec<_> = (0..5)
        .map(|_| server.begin("POST", "/api/traces", 9, "x"))
        .collect();
    let has_response = |stream: &TcpStream| {
        stream.set_nonblocking(true).expect("a socket");
        let has_response = stream.peek(&mut [0]).is_ok();
        stream.set_nonblocking(false).expect("a socket");
        has_response
    };
    let refused = until("a response", || begun.iter().position(has_response));
    assert_eq!(status_of(begun.swap_remove(refused)).0, 503);
    assert_eq!(server.status("GET", "/api/app", ""), 200);
    for mut stream in begun {
        assert!(!has_response(&stream));
        stream.write_all(b"12345678").expect("the rest");
        // The body is not JSON.
        assert_eq!(status_of(stream).0, 400);
    }
}

#[test]
fn event_streams_leave_connections_to_others() {
    let server = Served::start(8, PATIENCE);
    let large = world("crashes", json!({"terms": 4, "entries": 4}));
    let mut job = large.clone();
    job["kind"] = json!("check");
    assert_eq!(server.status("POST", "/api/jobs", &job.to_string()), 202);
    let open: Vec<_> = (0..4)
        .map(|_| {
            let stream = server.begin("GET", "/api/jobs/1/events", 0, "");
            let (status, stream) = status_of(stream);
            assert_eq!(status, 200);
            stream
        })
        .collect();
    assert_eq!(server.status("GET", "/api/jobs/1/events", ""), 503);
    assert_eq!(server.status("GET", "/api/app", ""), 200);
    drop(open);
    // Their permits are available again.
    server.await_status("/api/jobs/1/events", 200);
}
