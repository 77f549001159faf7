//! The HTTP interface for operators. All of it is read-only except the fault plan, which is served
//! only if the server was started with one.
//!
//! Cross-site requests are refused. Without a token, so are requests that address the server by a
//! name that is not allowed ([`web::site`]), and `/status` omits keys and values.

use crate::{
    node::{Inner, Node},
    observability::alerts::AlertKind,
    observability::log_excerpt::LogExcerptEntry,
    observability::status::StatusQuery,
};
use axum::{
    Router,
    extract::{Query, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Json, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use transport::{Faults, Plan};
use web::{Secret, body, server::Limits, site::Policy};

/// A driver without a turn for this long is stuck. It has work ten times a second.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// The maximum number of open connections. The disk needs file descriptors too.
const CONNECTIONS: usize = 240;
/// The number of additional connections reserved for health checks.
const RESERVE: usize = 16;
/// The timeout for a client to send a request, or to accept a part of the response.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of a request body, which is a fault plan, in bytes.
const MAX_BODY: usize = 1 << 20;
/// The timeout for a status query to the driver.
const PATIENCE: Duration = Duration::from_secs(1);

/// Access control.
#[derive(Clone)]
pub(crate) struct Access {
    /// The bearer token, if one is required.
    pub(crate) token: Option<Secret>,
    /// The names under which the server may be addressed.
    pub(crate) policy: Arc<Policy>,
    /// The fault plan, if it may be changed.
    pub(crate) faults: Option<Faults>,
}

#[derive(Clone)]
struct Shared {
    node: Weak<Inner>,
    access: Access,
}

impl Shared {
    fn node(&self) -> Option<Node> {
        Node::upgrade(&self.node)
    }
}

/// Serves HTTP until the server is gone. Dropping the future closes all connections.
pub(crate) async fn serve(listener: TcpListener, node: Weak<Inner>, access: Access) {
    let shared = Shared { node, access };
    let bounds = body::Bounds {
        bytes: MAX_BODY,
        timeout: CLIENT_TIMEOUT,
        render: |error| (error.status(), format!("{error}\n")).into_response(),
    };
    let guarded = Router::new()
        .route("/chaos", get(chaos).put(set_chaos))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/version", get(version))
        .layer(middleware::from_fn(move |request, next| {
            body::buffer(bounds, request, next)
        }))
        .layer(middleware::from_fn_with_state(shared.clone(), guard));
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .merge(guarded)
        .layer(middleware::from_fn_with_state(shared.clone(), same_site))
        .layer(middleware::from_fn(web::no_store))
        .with_state(shared);
    let limits = Limits {
        connections: CONNECTIONS,
        reserve: RESERVE,
        timeout: CLIENT_TIMEOUT,
        overloaded,
    };
    web::server::serve(listener, router, limits, |_| {}, CancellationToken::new()).await;
}

fn overloaded() -> Response {
    let text = "all connections are busy: try again in a moment\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

/// Rejects cross-site requests by browsers.
async fn same_site(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match shared.access.policy.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let response = (error.status(), format!("{error}\n")).into_response();
            match error.status() {
                StatusCode::BAD_REQUEST => body::closing(response),
                _ => response,
            }
        }
    }
}

async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(token) = &shared.access.token else {
        return next.run(request).await;
    };
    if web::bearer_token(request.headers()).is_some_and(|given| token.is(given)) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    let text = "this needs the header: Authorization: Bearer TOKEN\n";
    (StatusCode::UNAUTHORIZED, challenge, text).into_response()
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let Some(node) = shared.node() else {
        return gone();
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], node.metrics().await).into_response()
}

/// The parameters of a status query: `?entries=24&since=0`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TurnScope {
    entries: Option<usize>,
    since: Option<u64>,
}

async fn status(State(shared): State<Shared>, Query(look): Query<TurnScope>) -> Response {
    let Some(node) = shared.node() else {
        return gone();
    };
    let all = StatusQuery::default();
    let query = StatusQuery {
        entries: look.entries.unwrap_or(all.entries),
        since: look.since.unwrap_or(all.since),
    };
    match time::timeout(PATIENCE, node.look(query)).await {
        Ok(Some(mut status)) => {
            if shared.access.token.is_none() {
                status.log.iter_mut().for_each(LogExcerptEntry::redact);
            }
            Json(status).into_response()
        }
        Ok(None) => gone(),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the server does not answer\n",
        )
            .into_response(),
    }
}

async fn version(State(shared): State<Shared>) -> Response {
    let id = shared.node().map(|node| node.id().get());
    Json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "node": id,
    }))
    .into_response()
}

async fn chaos(State(shared): State<Shared>) -> Response {
    match &shared.access.faults {
        Some(faults) => Json(faults.plan()).into_response(),
        None => no_chaos(),
    }
}

async fn set_chaos(State(shared): State<Shared>, Json(plan): Json<Plan>) -> Response {
    let Some(faults) = &shared.access.faults else {
        return no_chaos();
    };
    match faults.set(plan) {
        Ok(()) => {
            warn!("another plan of faults is in force");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")).into_response(),
    }
}

fn no_chaos() -> Response {
    let text = "faults are made only by a server started with --chaos\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

/// Whether the process should keep running. A server without a quorum should: a restart does not
/// help.
async fn livez(State(shared): State<Shared>) -> Response {
    match shared.node() {
        Some(node) if node.has_ended() => gone(),
        Some(node) if node.idle_for() > STUCK_AFTER => {
            (StatusCode::SERVICE_UNAVAILABLE, "the driver is stuck\n").into_response()
        }
        Some(_) => "ok\n".into_response(),
        None => gone(),
    }
}

/// Whether the server can serve requests.
async fn readyz(
    State(shared): State<Shared>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    let status = match shared.node() {
        Some(node) => time::timeout(PATIENCE, node.status()).await.ok().flatten(),
        None => None,
    };
    let alerts = status.as_ref().map(|status| &status.alerts[..]);
    let slow_disk = alerts
        .unwrap_or_default()
        .iter()
        .find(|alert| alert.kind == AlertKind::SlowDisk);
    let checks = [
        (
            "disk",
            status.is_some() && slow_disk.is_none(),
            slow_disk.map_or("the server runs, so its disk has not failed", |alert| {
                &alert.text
            }),
        ),
        (
            "leader",
            status
                .as_ref()
                .is_some_and(|status| status.leader.is_some()),
            "a leader is known",
        ),
        (
            "applied",
            status
                .as_ref()
                .is_some_and(|status| status.applied_index == status.commit_index),
            "everything known to be committed is applied",
        ),
        (
            "identity",
            status
                .as_ref()
                .is_some_and(|status| status.suspended.is_none() && status.is_known),
            "the cluster knows this server by its disk",
        ),
    ];
    let ready = checks.iter().all(|(_, holds, _)| *holds);
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut text = String::new();
    if parameters.contains_key("verbose") || !ready {
        for (name, holds, what) in checks {
            let sign = if holds { '+' } else { '-' };
            text += &format!("[{sign}] {name}: {what}\n");
        }
    }
    text += if ready { "ok\n" } else { "not ready\n" };
    (code, text).into_response()
}

fn gone() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the server has stopped\n").into_response()
}
