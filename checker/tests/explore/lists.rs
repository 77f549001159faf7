//! The lists of scopes, bounds, bugs and properties that the page offers.

use crate::{App, request, strings, world};
use axum::http::StatusCode;
use checker::{
    catalog,
    engine::Limits,
    explore::{Explore, Home},
};
use model::{
    invariants::Invariant,
    mutant::Mutant,
    system::{Property, Scope, Witness},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
            "trace_schema": "stateraft-trace/4",
        })
    );
    let (status, page) = App::new().ask(request("GET", "/", "")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.starts_with("<!doctype html>"));
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
    let known = spanish("explore") + &spanish("stage");
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

/// The page has a Spanish text for each invariant, and for no others. The diagnostics name them.
#[test]
fn every_invariant_is_in_spanish() {
    let texts = spanish("stage");
    let keys = texts.lines().filter_map(|line| {
        let key = line.trim_start().strip_prefix("'stage.invariant-")?;
        Some(key.split_once("':")?.0.to_owned())
    });
    let invariants = Invariant::ALL
        .iter()
        .map(|invariant| format!("{invariant:?}"));
    assert_eq!(
        keys.collect::<BTreeSet<_>>(),
        invariants.collect::<BTreeSet<_>>()
    );
}

/// The proxy rejects requests with a code and an English sentence; the page has a text for each code.
#[test]
fn every_code_of_the_proxy_is_in_spanish() {
    let docs = std::fs::read_to_string("../docs/http.md").expect("the document");
    let (_, table) = docs
        .split_once("| status | code |")
        .expect("the table of codes");
    let (table, _) = table.split_once("\n\n").expect("its end");
    let quoted = table.split('`').skip(1).step_by(2);
    let codes: BTreeSet<&str> = quoted
        .filter(|code| !code.starts_with(['/', '-']))
        .collect();
    assert!(codes.len() > 15, "{codes:?}");
    let texts = spanish("live");
    let missing = codes
        .iter()
        .filter(|code| !texts.contains(&format!("'live.code-{code}':")));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
}

/// The Spanish texts of a page.
fn spanish(page: &str) -> String {
    let file = format!("../ui/assets/js/lang/es/{page}.js");
    std::fs::read_to_string(file).expect("the Spanish texts are there")
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
        assert_eq!(done["verdict"], "violated", "{name}: {}", done["summary"]);
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
        let summary = done["summary"].as_str().expect("a sentence");
        let word = match method {
            "timed" => "timed simulation",
            "progress" => "progress check",
            _ => "recorded schedule",
        };
        assert!(summary.contains(word), "{name}: {summary}");
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
        assert_eq!(first["verdict"], "violated", "{}", first["summary"]);
        for _ in 0..4 {
            assert_eq!(app.job(&job).await["path"], first["path"]);
        }
    }
}

#[tokio::test]
async fn linearizability_is_listed_only_where_operations_are_checked() {
    let app = App::new();
    for (scope, checked) in [("crashes", false), ("end-to-end-reads", true)] {
        let walk = app.walk(&world(scope, json!({})), &[]).await;
        let properties = strings_of(&walk["here"]["properties"], "property");
        let listed = properties
            .iter()
            .any(|property| property == Property::Linearizability.name());
        assert_eq!(listed, checked, "{scope}");
        assert_eq!(
            properties.len(),
            Property::ALL.len() - usize::from(!checked),
            "{scope}"
        );
    }
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
