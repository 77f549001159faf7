//! Steps by hand, and their export.

use crate::{App, check, golden, path, request, scope, strings, world};
use axum::http::StatusCode;
use checker::simulate;
use model::system::Scope;
use serde_json::{Value, json};
use std::path::Path;

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
        ("transfers", "merged"),
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

#[tokio::test]
async fn transfer_is_offered_with_its_target_and_can_be_aborted() {
    let app = App::new();
    let world = world("transfers", json!({}));
    let start = app.walk(&world, &[]).await;
    let key_of = |walk: &Value, kind: &str| {
        let actions = walk["here"]["actions"].as_array().expect("a list");
        let of_kind = actions.iter().filter(|action| action["kind"] == kind);
        let keys: Vec<String> = of_kind
            .map(|action| action["key"].as_str().expect("a key").to_owned())
            .collect();
        keys
    };
    assert_eq!(key_of(&start, "transfer"), ["1l2", "1l3"]);
    assert!(key_of(&start, "abort-transfer").is_empty());
    let moving = app.walk(&world, &path("1l2")).await;
    let step = &moving["steps"][0];
    assert_eq!(step["event"], json!({"TransferLeadership": 2}));
    let waits = json!({"target": 2, "is_requested": false});
    assert_eq!(step["state"]["running"]["transfer"], waits);
    assert!(key_of(&moving, "transfer").is_empty());
    assert_eq!(key_of(&moving, "abort-transfer"), ["1e"]);
    let budgets = moving["here"]["budgets"].as_array().expect("a list");
    assert_eq!(
        budgets.last().expect("a budget"),
        &json!({"name": "transfers", "used": 0, "of": "any"})
    );
    let aborted = app.walk(&world, &path("1l2 1e")).await;
    assert_eq!(
        aborted["steps"][1]["witnesses"],
        json!(["transfer aborted"])
    );
    assert_eq!(
        aborted["steps"][1]["state"]["running"]["transfer"],
        Value::Null
    );
    assert_eq!(key_of(&aborted, "transfer"), ["1l2", "1l3"]);
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
        ("1e 1g", 1, "the state of server 1 does not allow this"),
        ("1c", 0, "this scope has no crashes"),
        ("1e 1e 1e", 2, "no term after 3"),
        ("1e 2d1-2", 1, "cannot be delivered with this key"),
        ("1i", 0, "the state of server 1 does not allow this"),
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
            "cannot be parsed",
        ),
        (with("mutant", "no-such-bug".into()), 404, "no bug"),
        (with("steps", "tiny".into()), 400, "cannot be parsed"),
        (with("path", json!(["1z"])), 400, "1z"),
        (with("path", json!("1e")), 400, "cannot be parsed"),
        (with("path", json!(vec!["1e"; 50_001])), 400, "50001 steps"),
        (json!([]), 400, "cannot be parsed"),
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

#[tokio::test]
async fn walk_goes_on_after_a_violation() {
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
    let violated = keys.len();
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
        (&json!(false), &json!(violated))
    );
    assert_eq!(property["cause"]["code"], "TwoLeaders");
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
        ("pipelining", None, "1e", "requests that arrive together"),
        ("mixed-settings", None, "1e", "different settings"),
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
