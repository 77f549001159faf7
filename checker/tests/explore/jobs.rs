//! Searches in the background.

use crate::{App, check, path, request, strings, world};
use axum::http::StatusCode;
use checker::catalog;
use serde_json::{Value, json};

#[tokio::test]
async fn check_of_a_small_world_exhausts_it() {
    let app = App::new();
    let body = check("elections", json!({"terms": 1, "crashes": 0}), None);
    let done = app.job(&body).await;
    assert_eq!(done["verdict"], "exhausted");
    assert_eq!(done["path"], Value::Null);
    assert!(
        done["summary"]
            .as_str()
            .unwrap()
            .starts_with("Exhausted: all ")
    );
    // The reductions depend on other properties: all are checked, even if only one is requested.
    let mut one = body;
    one["property"] = "Election Safety".into();
    assert_eq!(app.job(&one).await["summary"], done["summary"]);
}

/// A few of the bugs, each in the scope where the catalog finds it; `raft-checker mutants` finds all.
#[tokio::test]
async fn planted_bug_is_found_where_the_catalog_finds_it_and_the_walk_ends_with_that_violation() {
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
        assert!(
            done["summary"]
                .as_str()
                .unwrap()
                .contains("no verdict on Raft")
        );
        let mut world = world(scope, bug["bounds"].clone());
        world["mutant"] = name.into();
        world["steps"] = done["steps"].clone();
        let keys = strings(&done["path"]);
        let walk = app.walk(&world, &keys).await;
        let last = walk["steps"]
            .as_array()
            .and_then(|steps| steps.last())
            .expect("a step");
        let mut violations = last["violations"].as_array().expect("a list").iter();
        assert!(
            violations.any(|violation| violation["property"] == bug["property"]),
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
            trace.violation.map(|violation| violation.property.name()),
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
    let summary = done["summary"].as_str().expect("a sentence");
    assert!(
        summary.contains("A bug is planted") && summary.contains("does not show it"),
        "{summary}"
    );
    assert!(summary.contains("no verdict on Raft"), "{summary}");
}

#[tokio::test]
async fn check_that_meets_a_limit_is_truncated_and_claims_nothing() {
    let done = App::within(Some(500))
        .job(&check("crashes", json!({}), None))
        .await;
    assert_eq!(done["verdict"], "truncated");
    assert!(
        done["summary"]
            .as_str()
            .unwrap()
            .contains("no claim is made")
    );
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
    assert!(
        done["summary"]
            .as_str()
            .unwrap()
            .contains("no claim is made")
    );
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
            !before["summary"].as_str().unwrap().contains("already"),
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
        app.job(&body).await["summary"]
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
    assert!(done["summary"].as_str().unwrap().starts_with("Not found: "));
    body["kind"] = "witness".into();
    body["witness"] = "vote refused as given".into();
    let done = App::new().job(&body).await;
    assert_eq!(done["verdict"], "found");
    assert!(strings(&done["witnesses"]).contains(&"vote refused as given".to_owned()));
}
