//! The state of the cluster, once (`/v1/status`) or as a stream (`/v1/events`); fault injection
//! (`/v1/chaos`); and the identity of this server for the browser app (`/api/app`).

use super::{Http, problem::Problem, query::Parameters};
use crate::{
    chaos::{Action, Chaos, ChaosError},
    cluster_view::ClusterView,
    event_log::{EventLog, Position},
};
use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, Uri},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use std::{collections::VecDeque, convert::Infallible, sync::Arc};
use tokio::sync::watch;

/// `GET /api/app`: the pages of the browser app that this server supports. Reveals nothing about the
/// cluster.
pub(crate) async fn app(State(http): State<Arc<Http>>) -> Response {
    let body = json!({
        "app": "raft-proxy",
        "version": env!("CARGO_PKG_VERSION"),
        "pages": ["live", "tour"],
        "home": "live",
        "trace_schema": "stateraft-trace/4",
        "chaos": http.chaos.is_some(),
        "token": http.has_token,
    });
    Json(body).into_response()
}

/// `GET /v1/status`
pub(crate) async fn status(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Problem> {
    Parameters::new(uri.query(), &[])?;
    Ok(Json(http.cluster_view.status().await).into_response())
}

/// `GET /v1/events`: a stream of states and events, beginning with the events after the id in
/// `Last-Event-ID`.
pub(crate) async fn events(
    State(http): State<Arc<Http>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(watching) = Arc::clone(&http.watchers).try_acquire_owned() else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_watchers",
            "half of the connections (--max-connections) are event streams: try again later",
        ));
    };
    let resumed = headers.get("last-event-id").map(|id| {
        id.to_str()
            .ok()
            .and_then(|id| http.cluster_view.event_log().position(id))
    });
    let unread = stream::unfold(Watcher::new(&http.cluster_view, resumed), Watcher::next);
    let closing = http.kv_service.closing().clone();
    let unread = unread.take_until(closing.cancelled_owned());
    let unread = unread.map(move |event| {
        // The permit lives as long as the stream.
        let _ = &watching;
        event
    });
    Ok(Sse::new(unread)
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// An observer of the event stream.
struct Watcher {
    event_log: Arc<EventLog>,
    position: Position,
    states: watch::Receiver<Arc<str>>,
    changes: watch::Receiver<()>,
    /// The events to send next.
    queue: VecDeque<Event>,
}

impl Watcher {
    /// `resumed` is `Some` if the client reconnects, and contains its last position if that is known.
    fn new(cluster_view: &ClusterView, resumed: Option<Option<Position>>) -> Self {
        let mut states = cluster_view.subscribe();
        if !states.borrow().is_empty() {
            states.mark_changed();
        }
        let event_log = Arc::clone(cluster_view.event_log());
        let mut changes = event_log.changes();
        changes.mark_changed();
        let mut queue = VecDeque::new();
        if resumed == Some(None) {
            // The id belongs to another run of the proxy, or was never issued.
            queue.push_back(event("gap", &json!({ "missed": null })));
        }
        Self {
            event_log,
            position: resumed.flatten().unwrap_or_default(),
            states,
            changes,
            queue,
        }
    }

    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some((Ok(event), self));
            }
            tokio::select! {
                changed = self.changes.changed() => {
                    changed.ok()?;
                    self.gather();
                }
                changed = self.states.changed() => {
                    changed.ok()?;
                    let state = Arc::clone(&self.states.borrow_and_update());
                    self.queue.push_back(Event::default().data(&state));
                }
            }
        }
    }

    fn gather(&mut self) {
        let unread = self.event_log.after(&mut self.position);
        if unread.missed > 0 {
            let missed = json!({ "missed": unread.missed });
            self.queue.push_back(event("gap", &missed));
        }
        if !unread.samples.is_empty() {
            self.queue.push_back(event("samples", &unread.samples));
        }
        if !unread.events.is_empty() {
            self.queue.push_back(event("happened", &unread.events));
        }
        // Only the last event carries the id, so a client that receives only the first events gets all
        // of them again.
        if let Some(last) = self.queue.pop_back() {
            self.queue
                .push_back(last.id(self.event_log.id(self.position)));
        }
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    let event = Event::default().event(name);
    // The data consist of strings and numbers, so serialization cannot fail.
    event.json_data(data).unwrap_or_default()
}

/// `GET /v1/chaos`
pub(crate) async fn chaos(State(http): State<Arc<Http>>) -> Result<Response, Problem> {
    Ok(Json(allowed(&http)?.status()).into_response())
}

/// `POST /v1/chaos`: executes one [`Action`]; the response lists the active faults.
pub(crate) async fn act(
    State(http): State<Arc<Http>>,
    action: Result<Json<Action>, JsonRejection>,
) -> Result<Response, Problem> {
    let chaos = allowed(&http)?;
    let Json(action) = action.map_err(|rejection| {
        let code = match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "not_json",
            _ => "bad_request",
        };
        Problem::new(rejection.status(), code, &rejection.body_text())
    })?;
    // A separate task, so that a client that disconnects does not interrupt an action.
    let (acting, chaos) = (Arc::clone(&chaos), chaos);
    let done = tokio::spawn(async move { acting.execute(action).await });
    match done.await {
        Ok(Ok(())) => Ok(Json(chaos.status()).into_response()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "internal error: see the log of the proxy",
        )),
    }
}

fn allowed(http: &Http) -> Result<Arc<Chaos>, Problem> {
    http.chaos.clone().ok_or_else(|| {
        Problem::new(
            StatusCode::FORBIDDEN,
            "no_chaos",
            "fault injection is disabled: start raft-proxy with --chaos",
        )
    })
}

impl From<ChaosError> for Problem {
    fn from(error: ChaosError) -> Self {
        let (status, code) = match error {
            ChaosError::NoSuchNode(_) => (StatusCode::NOT_FOUND, "no_such_server"),
            ChaosError::NoSuchLink(..) | ChaosError::Duration | ChaosError::LinkFault(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "impossible")
            }
            ChaosError::Elsewhere => (StatusCode::CONFLICT, "elsewhere"),
            ChaosError::Down(_) => (StatusCode::CONFLICT, "down"),
            ChaosError::Start(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_started"),
        };
        Self::new(status, code, &error.to_string())
    }
}
