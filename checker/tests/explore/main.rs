//! The explorer's API, as the page uses it. `UPDATE_GOLDENFILES=1` rewrites `explore/walk.json` and the
//! scripts of `model/tests/scripts` that are exported here. Read them before you commit them.

mod connections;
mod jobs;
mod lists;
mod traces;
mod walk;

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use checker::{
    engine::Limits,
    explore::{Explore, Home},
};
use http_body_util::BodyExt;
use model::system::Scope;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use tower::ServiceExt;

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

fn check(name: &str, bounds: Value, mutant: Option<&str>) -> Value {
    let mut body = world(name, bounds);
    body["kind"] = "check".into();
    body["mutant"] = json!(mutant);
    body
}
