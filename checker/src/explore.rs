//! The explorer: walks through a scope step by step, in a browser (`docs/explore.md`).
//!
//! The page (crate `ui`) keeps what a person looks at; this keeps nothing but what makes an answer
//! quick. Every request names its world and its whole path, and what it gets is what the real core
//! does along it: a walk is executed, never remembered from the page.
//!
//! * `world` is what is walked through, `keys` how steps are written, `walk` the walking, `view` what
//!   the page gets of it, `labels` its short names, `cache` the walks taken lately;
//! * `jobs` are searches in the background, `find` looks for a state where one of the `predicates`
//!   holds;
//! * `traces` reads what was recorded, `nodes` that of running servers; `script` tells a walk as a
//!   golden script;
//! * `menu` is what there is to choose from;
//! * `guard` keeps other sites out, `problem` is how errors look.
//!
//! Connections, request bodies and slow clients are bounded by crate `web`. Two kinds of requests hold
//! resources for long and have bounds of their own: event streams and uploads of traces.
//!
//! Lacks, on purpose: any drawing, any state of a session, any way to reach it from another site.

mod cache;
mod find;
mod guard;
mod jobs;
mod keys;
mod labels;
mod menu;
mod nodes;
mod predicates;
mod problem;
mod script;
mod traces;
mod view;
mod walk;
mod world;

use crate::{engine::Limits, trace};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::{delete, get, post},
};
use cache::Cache;
use futures_util::{StreamExt, stream};
use jobs::{AskedJob, Jobs};
use keys::Key;
use model::system::Laws;
use problem::Problem;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{any::Any, convert::Infallible, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use traces::{AskedTraces, Part};
pub use traces::{Input, Open};
use walk::Walk;
use web::{
    body::{self, BodyError},
    server::Limits as ConnectionLimits,
    site::Policy,
};
use world::{Asked, World};

/// The most bytes of an ordinary request.
const MAX_BODY: usize = 1 << 20;
/// The most steps of a walk.
const MAX_STEPS: usize = 50_000;
/// The most bytes of traces.
const MAX_TRACES: usize = 64 << 20;
/// How many uploads of traces are in memory at once.
const UPLOADS: usize = 4;
/// How many connections are open at once.
const CONNECTIONS: usize = 240;
/// Further connections, on which a request is refused with an error.
const RESERVE: usize = 16;
/// How long a client may take to send a request, or to take 32 KiB of the response.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send traces.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long answers under way may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(2);

/// Everything the handlers share.
pub struct Explore {
    home: Home,
    policy: Policy,
    cache: Cache,
    jobs: Jobs,
    closing: CancellationToken,
    /// The traces that the command was given.
    served: Option<Arc<Served>>,
    /// Traces are read one after another: each may take a lot of memory.
    reading: Semaphore,
    connections: usize,
    client_timeout: Duration,
    upload_timeout: Duration,
    /// Event streams that may still be opened.
    streams: Arc<Semaphore>,
    /// Uploads of traces that may still begin.
    uploads: Semaphore,
}

/// Traces that were given, and their timeline.
struct Served {
    inputs: Vec<Input>,
    used_disks: bool,
    timeline: Bytes,
}

/// The page to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// A scope to walk through.
    Explore,
    /// Traces to look at.
    Replay,
}

impl Explore {
    /// An explorer whose searches keep to the limits. Browsers may call it `localhost`, by an IP address
    /// or by one of these names.
    pub fn new(home: Home, names: impl IntoIterator<Item = String>, limits: Limits) -> Self {
        Self {
            home,
            policy: Policy::new(names, false),
            cache: Cache::default(),
            jobs: Jobs::new(limits),
            closing: CancellationToken::new(),
            served: None,
            reading: Semaphore::new(1),
            connections: CONNECTIONS,
            client_timeout: CLIENT_TIMEOUT,
            upload_timeout: UPLOAD_TIMEOUT,
            streams: Arc::new(Semaphore::new(CONNECTIONS / 2)),
            uploads: Semaphore::new(UPLOADS),
        }
    }

    /// The same with other bounds: connections that are open at once, and how long a client may take to
    /// send a request or to take a part of the response.
    pub fn with_connections(mut self, connections: usize, client_timeout: Duration) -> Self {
        self.connections = connections;
        self.client_timeout = client_timeout;
        self.upload_timeout = client_timeout;
        self.streams = Arc::new(Semaphore::new((connections / 2).max(1)));
        self
    }

    /// The same with the timeline of these traces.
    ///
    /// # Errors
    /// If they are no traces, or none that go together. A trace that is rejected is no error: the
    /// page shows it, and why.
    pub fn with_traces(mut self, inputs: Vec<Input>, used_disks: bool) -> Result<Self, String> {
        let timeline = traces::timeline(&inputs, used_disks, Part::default())?;
        self.served = Some(Arc::new(Served {
            inputs,
            used_disks,
            timeline: timeline.into(),
        }));
        Ok(self)
    }

    /// All routes: the API, and the page.
    pub fn router(self: Arc<Self>) -> Router {
        let explore = self;
        let bounds = body::Bounds {
            bytes: MAX_BODY,
            timeout: explore.client_timeout,
            render: refused_body,
        };
        Router::new()
            .route("/api/app", get(app))
            .route("/api/catalogue", get(catalogue))
            .route("/api/walk", post(walk_along))
            .route("/api/jobs", post(start_job))
            .route("/api/jobs/{job}", delete(stop_job))
            .route("/api/jobs/{job}/events", get(job_events))
            .route("/api/export", post(export))
            .route("/api/traces/served", get(served_traces))
            .layer(middleware::from_fn(move |request, next| {
                body::buffer(bounds, request, next)
            }))
            .merge(
                Router::new()
                    .route("/api/traces", post(read_traces))
                    .layer(middleware::from_fn_with_state(Arc::clone(&explore), upload)),
            )
            // The bounds of `body::buffer` replace it.
            .layer(DefaultBodyLimit::disable())
            .merge(ui::app())
            .fallback(not_found)
            .method_not_allowed_fallback(wrong_method)
            .layer(middleware::from_fn_with_state(
                Arc::clone(&explore),
                guard::same_site,
            ))
            .layer(middleware::from_fn(web::no_store))
            .with_state(explore)
    }

    /// Serves until `closing`; then what is under way has a moment to end.
    pub async fn serve(self, listener: TcpListener, closing: CancellationToken) {
        let explore = Arc::new(self);
        let limits = ConnectionLimits {
            connections: explore.connections,
            reserve: RESERVE,
            timeout: explore.client_timeout,
            overloaded,
        };
        let router = Arc::clone(&explore).router();
        let serving = web::server::serve(listener, router, limits, |_| {}, closing.clone());
        let late = async {
            closing.cancelled().await;
            explore.jobs.stop();
            explore.closing.cancel();
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            () = serving => {}
            () = late => {}
        }
        explore.jobs.stop();
    }

    /// The walk along a path, as far as it leads somewhere.
    fn walk(&self, world: World, path: &[Key]) -> Result<Walk, Box<Astray>> {
        let name = world.name();
        let known = self.cache.take(&name, path);
        let mut walk = known.unwrap_or_else(|| Walk::new(Arc::new(world)));
        for key in &path[walk.steps.len()..] {
            if let Err(why) = walk.take(*key) {
                let good = walk.steps.len();
                let error = format!(
                    "step {} ({key}) of this path cannot be taken: {why}",
                    good + 1
                );
                return Err(Box::new(Astray { error, walk, name }));
            }
        }
        Ok(walk)
    }
}

/// A path that leads nowhere, and the walk as far as it leads somewhere.
struct Astray {
    error: String,
    walk: Walk,
    name: String,
}

/// An answer that is never kept by a browser.
fn fresh(answer: impl IntoResponse) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], answer).into_response()
}

/// The JSON of a request.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad(format!("the request cannot be read: {error}")))
}

/// The response to a body that is too large or does not arrive.
fn refused_body(error: BodyError) -> Response {
    let text = match error {
        BodyError::TooLarge(_) => "the request is too large: send less at once",
        BodyError::Slow => "the request did not arrive in time: send it again",
        BodyError::Broken => "the request did not arrive whole: send it again",
    };
    Problem::new(error.status(), text).into_response()
}

/// The response when every connection is busy.
fn overloaded() -> Response {
    Problem::busy("all connections are busy: try again in a moment").into_response()
}

/// Reads an upload of traces, unless too many are in memory.
async fn upload(State(explore): State<Arc<Explore>>, request: Request, next: Next) -> Response {
    let Ok(_upload) = explore.uploads.try_acquire() else {
        let busy = "other traces are being opened: try again in a moment";
        return body::closing(Problem::busy(busy).into_response());
    };
    let bounds = body::Bounds {
        bytes: MAX_TRACES,
        timeout: explore.upload_timeout,
        render: refused_body,
    };
    body::buffer(bounds, request, next).await
}

/// Does what takes the processor a while, off the threads that serve.
async fn work<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(task).await;
    done.unwrap_or_else(|failure| Err(Problem::broken(told(failure))))
}

/// What went wrong in a task. A planted bug may trip an assertion of the core itself.
fn told(failure: tokio::task::JoinError) -> String {
    let Ok(panic) = failure.try_into_panic() else {
        return "the server is stopping".into();
    };
    format!(
        "the core stopped at an assertion of its own: {}",
        panic_text(&*panic)
    )
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given")
}

async fn not_found() -> Problem {
    Problem::unknown("there is nothing here: the page is at /, the API is in docs/explore.md")
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this resource does not take that method: see the header Allow",
    )
}

/// `GET /api/app`
async fn app(State(explore): State<Arc<Explore>>) -> Response {
    let home = match explore.home {
        Home::Explore => "explore",
        Home::Replay => "replay",
    };
    fresh(Json(json!({
        "app": "raft-checker",
        "version": env!("CARGO_PKG_VERSION"),
        "pages": ["explore", "replay", "tour"],
        "home": home,
        // So that the page need not ask for what is not there.
        "traces_served": explore.served.is_some(),
        "trace_schema": crate::trace::SCHEMA,
    })))
}

/// `GET /api/catalogue`
async fn catalogue() -> Response {
    fresh(Json(menu::catalogue()))
}

#[derive(Deserialize)]
struct AskedWalk {
    #[serde(flatten)]
    world: Asked,
    #[serde(default)]
    path: Vec<String>,
    #[serde(default)]
    from: usize,
}

/// `POST /api/walk`
async fn walk_along(State(explore): State<Arc<Explore>>, body: Bytes) -> Result<Response, Problem> {
    let asked: AskedWalk = read(&body)?;
    let answer = work(move || {
        let world = World::find(&asked.world)?;
        let path = read_path(&asked.path)?;
        match explore.walk(world, &path) {
            Ok(walk) => {
                let name = walk.world.name();
                let answer = view::walk(&walk, asked.from);
                explore.cache.keep(&name, walk);
                Ok(answer)
            }
            Err(astray) => {
                let Astray { error, walk, name } = *astray;
                let mut told = view::walk(&walk, asked.from);
                told["good"] = walk.steps.len().into();
                explore.cache.keep(&name, walk);
                Err(Problem::impossible(error).with(told))
            }
        }
    });
    Ok(fresh(Json::<Value>(answer.await?)))
}

#[derive(Deserialize)]
struct AskedJobIn {
    #[serde(flatten)]
    world: Asked,
    #[serde(default)]
    path: Vec<String>,
    #[serde(flatten)]
    job: AskedJob,
}

/// `POST /api/jobs`
async fn start_job(State(explore): State<Arc<Explore>>, body: Bytes) -> Result<Response, Problem> {
    let asked: AskedJobIn = read(&body)?;
    let job = work(move || {
        let world = World::find(&asked.world)?;
        let path = read_path(&asked.path)?;
        let task = asked.job.task(world, |world| {
            let walked = explore.walk(world, &path);
            walked.map_err(|astray| Problem::impossible(astray.error))
        })?;
        explore.jobs.start(task)
    });
    let answer = Json(json!({"job": job.await?.to_string()}));
    Ok((StatusCode::ACCEPTED, fresh(answer)).into_response())
}

/// `DELETE /api/jobs/{job}`
async fn stop_job(
    State(explore): State<Arc<Explore>>,
    Path(job): Path<String>,
) -> Result<StatusCode, Problem> {
    explore.jobs.get(&job)?.stop();
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/jobs/{job}/events`: what the job says, from what the listener heard last on.
async fn job_events(
    State(explore): State<Arc<Explore>>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let listening = explore.jobs.get(&job)?.listen();
    let Ok(permit) = Arc::clone(&explore.streams).try_acquire_owned() else {
        return Err(Problem::busy(
            "too many event streams are open: close another page first",
        ));
    };
    let heard = headers.get("last-event-id");
    let heard: u64 = heard
        .and_then(|heard| heard.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let said = listening.said.borrow().clone();
    if said.is_done && said.number <= heard {
        // All was heard: to ask again would bring nothing more.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let events = stream::unfold(Some((listening, heard)), |listening| async move {
        let (mut listening, heard) = listening?;
        loop {
            listening.said.changed().await.ok()?;
            let said = listening.said.borrow_and_update().clone();
            if said.number > heard {
                let event = Event::default()
                    .id(said.number.to_string())
                    .event(said.event)
                    .data(said.data.to_string());
                let rest = (!said.is_done).then_some((listening, said.number));
                return Some((Ok::<_, Infallible>(event), rest));
            }
        }
    });
    let events = events.take_until(explore.closing.clone().cancelled_owned());
    let events = events.map(move |event| {
        // Held as long as the stream is.
        let _ = &permit;
        event
    });
    Ok(fresh(Sse::new(events).keep_alive(KeepAlive::default())))
}

/// `POST /api/traces`
async fn read_traces(
    State(explore): State<Arc<Explore>>,
    body: Bytes,
) -> Result<Response, Problem> {
    let _one = explore.reading.acquire().await;
    let timeline = work(move || read::<AskedTraces>(&body)?.read()).await?;
    Ok(fresh(as_json(timeline.into())))
}

/// `GET /api/traces/served`
async fn served_traces(
    State(explore): State<Arc<Explore>>,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Response, Problem> {
    let Some(served) = explore.served.clone() else {
        return Err(Problem::unknown(
            "no traces were given: `raft-checker replay --serve FILE...` serves some, and this \
             page opens others",
        ));
    };
    let Query(part) = part.map_err(|rejection| Problem::bad(rejection.body_text()))?;
    if part.is_whole() {
        return Ok(fresh(as_json(served.timeline.clone())));
    }
    let _one = explore.reading.acquire().await;
    let timeline = work(move || {
        traces::timeline(&served.inputs, served.used_disks, part).map_err(Problem::bad)
    });
    Ok(fresh(as_json(timeline.await?.into())))
}

fn as_json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[derive(Deserialize)]
struct AskedExport {
    #[serde(flatten)]
    world: Asked,
    #[serde(default)]
    path: Vec<String>,
    format: Format,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Jsonl,
    Script,
}

/// `POST /api/export`
async fn export(State(explore): State<Arc<Explore>>, body: Bytes) -> Result<Response, Problem> {
    let asked: AskedExport = read(&body)?;
    let format = asked.format;
    let text = work(move || {
        let world = World::find(&asked.world)?;
        let path = read_path(&asked.path)?;
        let walk = explore.walk(world, &path);
        let walk = walk.map_err(|astray| Problem::impossible(astray.error))?;
        let text = match asked.format {
            Format::Jsonl => jsonl(&walk),
            Format::Script => script::script(&walk).map(String::into_bytes),
        };
        text.map_err(|error| Problem::impossible(format!("{error:#}")))
    });
    let kind = match format {
        Format::Jsonl => "application/jsonl; charset=utf-8",
        Format::Script => "text/plain; charset=utf-8",
    };
    Ok(fresh(([(header::CONTENT_TYPE, kind)], text.await?)))
}

/// The walk as a trace. A trace ends with the first law that breaks. Where the last step breaks a
/// law and others broke before, it is a trace judged by that law alone.
fn jsonl(walk: &Walk) -> anyhow::Result<Vec<u8>> {
    let mut scope = walk.world.scope.clone();
    let actions = walk.actions();
    let (broken, last) = (walk.broken(), walk.steps.len());
    if let Some((step, first)) = broken.first()
        && *step < last
    {
        let Some((_, fresh)) = broken.iter().find(|(step, _)| *step == last) else {
            anyhow::bail!(
                "a trace ends with the first law that breaks, and step {step} breaks {}: go back to step {step} and export from there",
                first.law
            );
        };
        scope.laws = Laws::only(fresh.law);
    }
    let mut text = Vec::new();
    trace::write_run(&scope, &actions, &mut text)?;
    Ok(text)
}

/// The steps of a path.
fn read_path(path: &[String]) -> Result<Vec<Key>, Problem> {
    if path.len() > MAX_STEPS {
        return Err(Problem::bad(format!(
            "the path has {} steps: give at most {MAX_STEPS}",
            path.len()
        )));
    }
    let keys = path.iter().enumerate().map(|(place, text)| {
        text.parse()
            .map_err(|why| Problem::bad(format!("step {} of the path: {why}", place + 1)))
    });
    keys.collect()
}
