//! The explorer: walks through a scope step by step, in a browser (`docs/explore.md`).
//!
//! The page (crate `ui`) keeps the state of the view. The server keeps only caches. Every request
//! contains its world and its whole path, and the response is the result of the real core along this
//! path: a walk is executed, never taken from the page.
//!
//! * `world` defines the world of a walk, `keys` the encoding of steps, `walk` the walk itself, `view`
//!   its JSON for the page, `labels` its short names, `cache` the recent walks;
//! * `jobs` are searches in the background, `verdict` their results, `find` searches for a state where a
//!   predicate of `predicates` holds;
//! * `traces` reads recorded traces, `nodes` the traces of running servers; `script` writes a walk as a
//!   golden script;
//! * `offerings` lists the scopes, bugs and predicates to choose from;
//! * `problem` formats errors.
//!
//! [`web::shell`] rejects requests of other sites, and bounds connections, request bodies and slow
//! clients. Two kinds of requests hold resources
//! for a long time and have bounds of their own: event streams and uploads of traces.
//!
//! Deliberate omissions: drawing, session state, and access from other sites.

mod cache;
mod find;
mod jobs;
mod keys;
mod labels;
mod nodes;
mod offerings;
mod predicates;
mod problem;
mod script;
mod traces;
mod verdict;
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
use jobs::{JobRequest, Jobs};
use keys::{BadKey, Key};
use model::system::Properties;
use problem::Problem;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{any::Any, convert::Infallible, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
pub use traces::{BadFiles, Input, Open};
use traces::{Part, TracesRequest};
use walk::{StepRefusal, Walk};
use web::{
    Rejection,
    body::{BodyError, Bounds},
    server::Limits as ConnectionLimits,
    shell::Shell,
    site::{Policy, SiteError},
};
use world::{World, WorldRequest};

/// The maximum size in bytes of an ordinary request.
const MAX_BODY: usize = 1 << 20;
/// The maximum number of steps of a walk.
const MAX_STEPS: usize = 50_000;
/// The maximum size in bytes of uploaded traces.
const MAX_TRACES: usize = 64 << 20;
/// The maximum number of uploads in memory at the same time.
const UPLOADS: usize = 4;
/// The maximum number of open connections.
const CONNECTIONS: usize = 240;
/// The number of additional connections on which a request is rejected with an error.
const RESERVE: usize = 16;
/// The timeout for a client to send a request, or to receive 32 KiB of the response.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout for a client to send traces.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The time that responses in progress have to complete when the server stops.
const GRACE: Duration = Duration::from_secs(2);

model::diagnostics! {
    /// The reason why a request has no result.
    enum BadRequest {
        /// The `Host` header is missing, duplicated or malformed.
        HostHeader = "{}", SiteError::BadHost;
        /// The host name is not allowed.
        ForeignHost = "{}", SiteError::ForeignHost;
        /// The request comes from a page of another site.
        ForeignOrigin = "{}", SiteError::ForeignOrigin;
        /// A token is missing. The explorer has none, so this does not occur.
        Unauthorized = "the request needs a token";
        /// The body is too large.
        BodyTooLarge = "the request is too large: send fewer bytes per request";
        /// The body did not arrive within the timeout.
        BodyTimeout = "the request did not arrive in time: retry";
        /// The connection ended within the body.
        BodyIncomplete = "the request did not arrive completely: retry";
        /// All connections are busy.
        ConnectionsBusy = "all connections are busy: retry in a few seconds";
        /// All uploads are busy.
        UploadsBusy = "other traces are being opened: retry in a few seconds";
        /// All event streams are busy.
        StreamsBusy = "too many event streams are open: close another page first";
        /// The body or the query does not have the form of this request.
        RequestMalformed { error: String } = "the request cannot be parsed: {error}";
        /// The server stops.
        Stopping = "the server is shutting down";
        /// An assertion failed, possibly because of a planted bug.
        CoreAssertion { assertion: String }
            = "the core stopped at an assertion of its own: {assertion}";
        /// The path of the URL is unknown.
        NoResource = "this path does not exist: the page is at /, the API is in docs/explore.md";
        /// The resource has other methods.
        WrongMethod = "this resource does not support that method: see the header Allow";
        /// The server was started without traces.
        NoTraces
            = "no traces were given: start `raft-checker replay --serve FILE...`, or open files on this page";
        /// The path of the walk is too long.
        PathTooLong { steps: usize, limit: usize }
            = "the path has {steps} steps: give at most {limit}";
        /// A step of the path is not a key.
        MalformedStep { step: usize, error: BadKey } = "step {step} of the path: {error}";
        /// A step of the path is impossible.
        ImpossibleStep { step: usize, key: String, refusal: StepRefusal }
            = "step {step} ({key}) of this path is impossible: {refusal}";
        /// The walk continues after a violation, and a trace does not.
        AfterViolation { step: usize, property: &'static str }
            = "a trace ends with the first violation, and step {step} violates {property}: go back to step {step} and export from there";
        /// The walk cannot be written.
        NotWritten { error: String } = "the walk cannot be written: {error}";
    }
}

/// The state that all handlers share.
pub struct Explore {
    home: Home,
    shell: Shell,
    cache: Cache,
    jobs: Jobs,
    closing: CancellationToken,
    /// The traces given on the command line.
    served: Option<Arc<Served>>,
    /// Traces are read one at a time, because each may need a lot of memory.
    reading: Semaphore,
    upload_timeout: Duration,
    /// Permits for further event streams.
    streams: Arc<Semaphore>,
    /// Permits for further uploads of traces.
    uploads: Semaphore,
}

/// The given traces and their timeline.
struct Served {
    inputs: Vec<Input>,
    used_disks: bool,
    timeline: Bytes,
}

/// The initial page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// A scope to walk through.
    Explore,
    /// Traces to view.
    Replay,
}

impl Explore {
    /// An explorer whose searches obey the limits. Browsers may address it as `localhost`, by an IP
    /// address or by one of these names.
    pub fn new(home: Home, names: impl IntoIterator<Item = String>, limits: Limits) -> Self {
        Self {
            home,
            shell: Shell {
                policy: Policy::new(names, false),
                token: None,
                limits: ConnectionLimits {
                    connections: CONNECTIONS,
                    reserve: RESERVE,
                    timeout: CLIENT_TIMEOUT,
                    max_body: MAX_BODY,
                },
                reject,
            },
            cache: Cache::default(),
            jobs: Jobs::new(limits),
            closing: CancellationToken::new(),
            served: None,
            reading: Semaphore::new(1),
            upload_timeout: UPLOAD_TIMEOUT,
            streams: Arc::new(Semaphore::new(CONNECTIONS / 2)),
            uploads: Semaphore::new(UPLOADS),
        }
    }

    /// Sets the maximum number of open connections, and the timeout for a client to send a request or to
    /// receive a part of the response.
    pub fn with_connections(mut self, connections: usize, client_timeout: Duration) -> Self {
        self.shell.limits.connections = connections;
        self.shell.limits.timeout = client_timeout;
        self.upload_timeout = client_timeout;
        self.streams = Arc::new(Semaphore::new((connections / 2).max(1)));
        self
    }

    /// Adds the timeline of these traces.
    ///
    /// # Errors
    /// If the files are not traces, or do not belong together. A rejected trace is not an error: the
    /// page shows it with the reason.
    pub fn with_traces(mut self, inputs: Vec<Input>, used_disks: bool) -> Result<Self, BadFiles> {
        let timeline = traces::timeline(&inputs, used_disks, Part::default())?;
        self.served = Some(Arc::new(Served {
            inputs,
            used_disks,
            timeline: timeline.into(),
        }));
        Ok(self)
    }

    /// All routes: the API and the page, behind the checks of the shell.
    pub fn router(self: Arc<Self>) -> Router {
        self.shell.router(Arc::clone(&self).routes())
    }

    fn routes(self: Arc<Self>) -> Router {
        let api = Router::new()
            .route("/api/app", get(app))
            .route("/api/catalog", get(catalog))
            .route("/api/walk", post(walk_along))
            .route("/api/jobs", post(start_job))
            .route("/api/jobs/{job}", delete(stop_job))
            .route("/api/jobs/{job}/events", get(job_events))
            .route("/api/export", post(export))
            .route("/api/traces/served", get(served_traces));
        let uploads = Router::new()
            .route("/api/traces", post(read_traces))
            // `upload` enforces the limits instead.
            .layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(Arc::clone(&self), upload));
        self.shell
            .guard(api)
            .merge(uploads)
            .merge(ui::app())
            .fallback(not_found)
            .method_not_allowed_fallback(wrong_method)
            .with_state(self)
    }

    /// Serves requests until `closing`. Then responses in progress have a short time to complete.
    pub async fn serve(self, listener: TcpListener, closing: CancellationToken) {
        let explore = Arc::new(self);
        let routes = Arc::clone(&explore).routes();
        let serving = explore
            .shell
            .serve(listener, routes, |_| {}, closing.clone());
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

    /// The walk along a path. Fails at the first step that is impossible.
    fn walk(&self, world: World, path: &[Key]) -> Result<Walk, Box<InvalidPath>> {
        let name = world.name();
        let known = self.cache.take(&name, path);
        let mut walk = known.unwrap_or_else(|| Walk::new(Arc::new(world)));
        for key in &path[walk.steps.len()..] {
            if let Err(refusal) = walk.take(*key) {
                let error = BadRequest::ImpossibleStep {
                    step: walk.steps.len() + 1,
                    key: key.to_string(),
                    refusal,
                };
                return Err(Box::new(InvalidPath { error, walk, name }));
            }
        }
        Ok(walk)
    }
}

/// A path with an impossible step, and the walk up to that step.
struct InvalidPath {
    error: BadRequest,
    walk: Walk,
    name: String,
}

/// Parses the JSON of a request.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::bad(malformed(error)))
}

fn malformed(error: impl ToString) -> BadRequest {
    BadRequest::RequestMalformed {
        error: error.to_string(),
    }
}

/// Renders a request that the shell rejects.
fn reject(rejection: Rejection) -> Response {
    let problem = match rejection {
        Rejection::Site(error) => {
            let cause = match error {
                SiteError::BadHost => BadRequest::HostHeader,
                SiteError::ForeignHost => BadRequest::ForeignHost,
                SiteError::ForeignOrigin => BadRequest::ForeignOrigin,
            };
            Problem::new(error.status(), cause)
        }
        Rejection::Unauthorized => Problem::new(StatusCode::UNAUTHORIZED, BadRequest::Unauthorized),
        Rejection::Body(error) => {
            let cause = match error {
                BodyError::TooLarge(_) => BadRequest::BodyTooLarge,
                BodyError::Slow => BadRequest::BodyTimeout,
                BodyError::Broken => BadRequest::BodyIncomplete,
            };
            Problem::new(error.status(), cause)
        }
        Rejection::Overloaded => Problem::busy(BadRequest::ConnectionsBusy),
    };
    problem.into_response()
}

/// Reads an upload of traces, unless too many are in memory.
async fn upload(State(explore): State<Arc<Explore>>, request: Request, next: Next) -> Response {
    let Ok(_upload) = explore.uploads.try_acquire() else {
        return web::closing(Problem::busy(BadRequest::UploadsBusy).into_response());
    };
    let bounds = Bounds {
        bytes: MAX_TRACES,
        timeout: explore.upload_timeout,
    };
    explore.shell.buffer(bounds, request, next).await
}

/// Runs a CPU-bound task on a blocking thread, so that it does not block the threads that serve.
async fn work<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(task).await;
    done.unwrap_or_else(|failure| Err(Problem::internal(task_error(failure))))
}

/// The error of a failed task. A planted bug may trigger an assertion of the core itself.
fn task_error(failure: tokio::task::JoinError) -> BadRequest {
    match failure.try_into_panic() {
        Ok(panic) => BadRequest::CoreAssertion {
            assertion: panic_text(&*panic).into(),
        },
        Err(_) => BadRequest::Stopping,
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason was given")
}

async fn not_found() -> Problem {
    Problem::unknown(BadRequest::NoResource)
}

async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, BadRequest::WrongMethod)
}

/// `GET /api/app`
async fn app(State(explore): State<Arc<Explore>>) -> Response {
    let home = match explore.home {
        Home::Explore => "explore",
        Home::Replay => "replay",
    };
    Json(json!({
        "app": "raft-checker",
        "version": env!("CARGO_PKG_VERSION"),
        "pages": ["explore", "replay", "tour"],
        "home": home,
        // So that the page does not request traces that are not there.
        "traces_served": explore.served.is_some(),
        "trace_schema": crate::trace::SCHEMA,
    }))
    .into_response()
}

/// `GET /api/catalog`
async fn catalog() -> Response {
    Json(offerings::catalog()).into_response()
}

#[derive(Deserialize)]
struct WalkRequest {
    #[serde(flatten)]
    world: WorldRequest,
    #[serde(default)]
    path: Vec<String>,
    #[serde(default)]
    from: usize,
}

/// `POST /api/walk`
async fn walk_along(State(explore): State<Arc<Explore>>, body: Bytes) -> Result<Response, Problem> {
    let asked: WalkRequest = read(&body)?;
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
            Err(invalid) => {
                let InvalidPath { error, walk, name } = *invalid;
                let mut shown = view::walk(&walk, asked.from);
                shown["good"] = walk.steps.len().into();
                explore.cache.keep(&name, walk);
                Err(Problem::impossible(error).with(shown))
            }
        }
    });
    Ok(Json::<Value>(answer.await?).into_response())
}

#[derive(Deserialize)]
struct JobAtStepRequest {
    #[serde(flatten)]
    world: WorldRequest,
    #[serde(default)]
    path: Vec<String>,
    #[serde(flatten)]
    job: JobRequest,
}

/// `POST /api/jobs`
async fn start_job(State(explore): State<Arc<Explore>>, body: Bytes) -> Result<Response, Problem> {
    let asked: JobAtStepRequest = read(&body)?;
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
    Ok((StatusCode::ACCEPTED, answer).into_response())
}

/// `DELETE /api/jobs/{job}`
async fn stop_job(
    State(explore): State<Arc<Explore>>,
    Path(job): Path<String>,
) -> Result<StatusCode, Problem> {
    explore.jobs.get(&job)?.stop();
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/jobs/{job}/events`: the events of the job after the last event that the client received.
async fn job_events(
    State(explore): State<Arc<Explore>>,
    Path(job): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let listening = explore.jobs.get(&job)?.listen();
    let Ok(permit) = Arc::clone(&explore.streams).try_acquire_owned() else {
        return Err(Problem::busy(BadRequest::StreamsBusy));
    };
    let received = headers.get("last-event-id");
    let received: u64 = received
        .and_then(|id| id.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let latest = listening.latest.borrow().clone();
    if latest.is_done && latest.number <= received {
        // The client has received all events. The status 204 stops its reconnection attempts.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let events = stream::unfold(Some((listening, received)), |listening| async move {
        let (mut listening, received) = listening?;
        loop {
            listening.latest.changed().await.ok()?;
            let latest = listening.latest.borrow_and_update().clone();
            if latest.number > received {
                let event = Event::default()
                    .id(latest.number.to_string())
                    .event(latest.event)
                    .data(latest.data.to_string());
                let rest = (!latest.is_done).then_some((listening, latest.number));
                return Some((Ok::<_, Infallible>(event), rest));
            }
        }
    });
    let events = events.take_until(explore.closing.clone().cancelled_owned());
    let events = events.map(move |event| {
        // The stream holds the permit until it ends.
        let _ = &permit;
        event
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// `POST /api/traces`
async fn read_traces(
    State(explore): State<Arc<Explore>>,
    body: Bytes,
) -> Result<Response, Problem> {
    let _one = explore.reading.acquire().await;
    let timeline = work(move || read::<TracesRequest>(&body)?.read()).await?;
    Ok(as_json(timeline.into()))
}

/// `GET /api/traces/served`
async fn served_traces(
    State(explore): State<Arc<Explore>>,
    part: Result<Query<Part>, QueryRejection>,
) -> Result<Response, Problem> {
    let Some(served) = explore.served.clone() else {
        return Err(Problem::unknown(BadRequest::NoTraces));
    };
    let Query(part) = part.map_err(|rejection| Problem::bad(malformed(rejection.body_text())))?;
    if part.is_whole() {
        return Ok(as_json(served.timeline.clone()));
    }
    let _one = explore.reading.acquire().await;
    let timeline = work(move || {
        traces::timeline(&served.inputs, served.used_disks, part).map_err(Problem::bad)
    });
    Ok(as_json(timeline.await?.into()))
}

fn as_json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[derive(Deserialize)]
struct ExportRequest {
    #[serde(flatten)]
    world: WorldRequest,
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
    let asked: ExportRequest = read(&body)?;
    let format = asked.format;
    let text = work(move || {
        let world = World::find(&asked.world)?;
        let path = read_path(&asked.path)?;
        let walk = explore.walk(world, &path);
        let walk = walk.map_err(|astray| Problem::impossible(astray.error))?;
        match asked.format {
            Format::Jsonl => jsonl(&walk).map_err(Problem::impossible),
            Format::Script => script::script(&walk)
                .map(String::into_bytes)
                .map_err(Problem::impossible),
        }
    });
    let kind = match format {
        Format::Jsonl => "application/jsonl; charset=utf-8",
        Format::Script => "text/plain; charset=utf-8",
    };
    Ok(([(header::CONTENT_TYPE, kind)], text.await?).into_response())
}

/// The walk as a trace. A trace ends with the first violation. If the last step violates a property and
/// others were violated before, the trace is checked for that property alone.
fn jsonl(walk: &Walk) -> Result<Vec<u8>, BadRequest> {
    let mut scope = walk.world.scope.clone();
    let actions = walk.actions();
    let (violations, last) = (walk.violations(), walk.steps.len());
    if let Some((step, first)) = violations.first()
        && *step < last
    {
        let Some((_, fresh)) = violations.iter().find(|(step, _)| *step == last) else {
            return Err(BadRequest::AfterViolation {
                step: *step,
                property: first.property.name(),
            });
        };
        scope.properties = Properties::only(fresh.property);
    }
    let mut text = Vec::new();
    let written = trace::write_run(&scope, &actions, &mut text);
    written.map_err(|error| BadRequest::NotWritten {
        error: format!("{error:#}"),
    })?;
    Ok(text)
}

/// Parses the steps of a path.
fn read_path(path: &[String]) -> Result<Vec<Key>, Problem> {
    if path.len() > MAX_STEPS {
        return Err(Problem::bad(BadRequest::PathTooLong {
            steps: path.len(),
            limit: MAX_STEPS,
        }));
    }
    let keys = path.iter().enumerate().map(|(index, text)| {
        let step = index + 1;
        text.parse()
            .map_err(|error| Problem::bad(BadRequest::MalformedStep { step, error }))
    });
    keys.collect()
}

/// The page has a text for each code of a diagnostic, with the parameters of that code.
#[cfg(test)]
mod tests {
    use super::{
        BadFiles, BadRequest,
        find::NoContinuation,
        jobs::BadJob,
        keys::BadKey,
        script::NoScript,
        verdict::{Limit, NotConfirmed, SearchGoal, SearchResult},
        walk::StepRefusal,
        world::BadWorld,
    };
    use crate::{
        digest_chain::BadDigest,
        progress::NoProgress,
        replay::{Disagreement, ReplayStop, Unreadable},
        timed::{Situation, TimedFailure},
        trace::{BadTraceLine, ImpossibleStep},
    };
    use model::system::{Cause, Diagnostic, scope::BadBound};
    use std::{
        collections::{BTreeMap, BTreeSet},
        fs,
        path::Path,
    };

    /// All codes, each with its parameters.
    fn codes() -> Vec<(&'static str, &'static [&'static str])> {
        let types = [
            BadBound::CODES,
            BadDigest::CODES,
            BadFiles::CODES,
            BadJob::CODES,
            BadKey::CODES,
            BadRequest::CODES,
            BadTraceLine::CODES,
            BadWorld::CODES,
            Cause::CODES,
            Disagreement::CODES,
            ImpossibleStep::CODES,
            Limit::CODES,
            NoContinuation::CODES,
            NoProgress::CODES,
            NoScript::CODES,
            NotConfirmed::CODES,
            StepRefusal::CODES,
            ReplayStop::CODES,
            SearchGoal::CODES,
            SearchResult::CODES,
            Situation::CODES,
            TimedFailure::CODES,
            Unreadable::CODES,
        ];
        types.concat()
    }

    /// The texts of the page by code.
    fn texts() -> BTreeMap<String, String> {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/assets/js/lang/es/diagnostic.js");
        let source = fs::read_to_string(file).expect("the texts");
        let entries = source.split("\n  'diagnostic.").skip(1);
        entries
            .map(|entry| {
                let (code, text) = entry.split_once("':").expect("a key");
                (code.to_owned(), text.to_owned())
            })
            .collect()
    }

    /// The parameters that a text inserts: `{name}`, or `{name|one|other}` for its number.
    fn parameters(text: &str) -> BTreeSet<&str> {
        let inserted = text.split('{').skip(1).filter_map(|rest| {
            let (inside, _) = rest.split_once('}')?;
            Some(inside.split('|').next().unwrap_or(inside))
        });
        inserted.collect()
    }

    #[test]
    fn codes_are_unique() {
        let codes = codes();
        let names: BTreeSet<&str> = codes.iter().map(|(code, _)| *code).collect();
        assert_eq!(names.len(), codes.len());
    }

    #[test]
    fn page_has_a_text_for_each_code_and_for_no_other() {
        let texts = texts();
        let known: BTreeSet<&str> = texts.keys().map(String::as_str).collect();
        let codes: BTreeSet<&str> = codes().into_iter().map(|(code, _)| code).collect();
        assert_eq!(known, codes);
    }

    #[test]
    fn texts_insert_the_parameters_of_their_code() {
        let texts = texts();
        for (code, expected) in codes() {
            let expected: BTreeSet<&str> = expected.iter().copied().collect();
            let text = &texts[code];
            assert_eq!(parameters(text), expected, "{code}: {text}");
        }
    }
}
