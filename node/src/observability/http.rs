//! The HTTP interface for operators. All of it is read-only except the fault plan, which is served
//! only if the server was started with one.
//!
//! Cross-site requests are refused. Without a token, so are requests that address the server by a
//! name that is not allowed ([`web::site`]), and `/status` omits keys and values.

use crate::{
    error::StartError,
    node::{Inner, Node},
    observability::log_excerpt,
    observability::status_query::StatusQuery,
};
use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Json, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::json;
use status::AlertKind;
use std::{collections::BTreeMap, net::SocketAddr, sync::Weak, time::Duration};
use tokio::{net::TcpListener, time};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use transport::{Faults, Plan};
use web::{Rejection, Secret, server::Limits, shell::Shell, site::Policy};

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
pub(crate) struct Access {
    /// The bearer token, if one is required.
    pub(crate) token: Option<Secret>,
    /// The names under which the server may be addressed.
    pub(crate) policy: Policy,
    /// The fault plan, if it may be changed.
    pub(crate) faults: Option<Faults>,
}

#[derive(Clone)]
struct Shared {
    node: Weak<Inner>,
    has_token: bool,
    faults: Option<Faults>,
}

impl Shared {
    fn node(&self) -> Option<Node> {
        Node::upgrade(&self.node)
    }
}

/// Binds the listener, and returns it with its actual address.
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen {
        address,
        purpose: "HTTP",
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Serves HTTP until the server is gone. Dropping the future closes all connections.
pub(crate) async fn serve(listener: TcpListener, node: Weak<Inner>, access: Access) {
    let shared = Shared {
        node,
        has_token: access.token.is_some(),
        faults: access.faults,
    };
    let shell = Shell {
        policy: access.policy,
        token: access.token,
        limits: Limits {
            connections: CONNECTIONS,
            reserve: RESERVE,
            timeout: CLIENT_TIMEOUT,
            max_body: MAX_BODY,
        },
        reject,
    };
    let guarded = Router::new()
        .route("/chaos", get(chaos).put(set_chaos))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/version", get(version));
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .merge(shell.guard(guarded))
        .with_state(shared);
    let never = CancellationToken::new();
    shell.serve(listener, routes, |_| {}, never).await;
}

/// Renders a request that the shell rejects.
fn reject(rejection: Rejection) -> Response {
    match rejection {
        Rejection::Site(error) => (error.status(), format!("{error}\n")).into_response(),
        Rejection::Body(error) => (error.status(), format!("{error}\n")).into_response(),
        Rejection::Unauthorized => {
            let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
            let text = "this request needs the header: Authorization: Bearer TOKEN\n";
            (StatusCode::UNAUTHORIZED, challenge, text).into_response()
        }
        Rejection::Overloaded => {
            let text = "all connections are busy: try again in a moment\n";
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
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
struct StatusParameters {
    entries: Option<usize>,
    since: Option<u64>,
}

async fn status(
    State(shared): State<Shared>,
    Query(parameters): Query<StatusParameters>,
) -> Response {
    let Some(node) = shared.node() else {
        return gone();
    };
    let all = StatusQuery::default();
    let query = StatusQuery {
        entries: parameters.entries.unwrap_or(all.entries),
        since: parameters.since.unwrap_or(all.since),
    };
    match time::timeout(PATIENCE, node.query_status(query)).await {
        Ok(Some(mut status)) => {
            if !shared.has_token {
                status.log.iter_mut().for_each(log_excerpt::redact);
            }
            Json(status).into_response()
        }
        Ok(None) => gone(),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the server did not respond in time\n",
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
    match &shared.faults {
        Some(faults) => Json(faults.plan()).into_response(),
        None => no_chaos(),
    }
}

async fn set_chaos(State(shared): State<Shared>, Json(plan): Json<Plan>) -> Response {
    let Some(faults) = &shared.faults else {
        return no_chaos();
    };
    match faults.set(plan) {
        Ok(()) => {
            warn!("fault plan replaced");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, format!("{error}\n")).into_response(),
    }
}

fn no_chaos() -> Response {
    let text = "fault injection is disabled: start raft-node with --chaos\n";
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
            "the cluster has recorded this server's disk identity",
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
