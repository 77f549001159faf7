//! What operators ask over HTTP. Nothing here changes anything but the plan of faults, which is
//! served only where there is one.

use crate::node::{Glance, Inner, Node};
use axum::{
    Router,
    extract::{Query, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Json, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time,
};
use tracing::warn;
use transport::{Faults, Plan};

/// A driver that did nothing for so long is stuck. It has something to do ten times a second.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// How many connections are open at once. The disk needs file descriptors too.
const CONNECTIONS: usize = 256;
/// Who takes longer to say what it wants has gone.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the driver to say where it stands.
const PATIENCE: Duration = Duration::from_secs(1);

/// What may be asked, and by whom.
#[derive(Clone)]
pub(crate) struct Access {
    /// The bearer token, if one is needed.
    pub(crate) token: Option<Arc<str>>,
    /// The faults that may be changed.
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

/// Serves until the server is gone.
pub(crate) async fn serve(listener: TcpListener, node: Weak<Inner>, access: Access) {
    let shared = Shared { node, access };
    let guarded = Router::new()
        .route("/chaos", get(chaos).put(set_chaos))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/version", get(version))
        .layer(middleware::from_fn_with_state(shared.clone(), guard));
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .merge(guarded)
        .with_state(shared);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    // Dropped with this future, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        // Who comes while there is no room waits in the queue of the socket.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let serving = connection(router.clone(), stream);
                connections.spawn(async move {
                    serving.await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Most often no file descriptor is left. Trying again at once would only burn.
                warn!(%error, "cannot accept an HTTP connection");
                time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn connection(router: Router, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // That a client went away is nobody's fault.
    let _ = served.await;
}

async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Some(token) = &shared.access.token else {
        return next.run(request).await;
    };
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if given.is_some_and(|given| is_same(given, token.as_bytes())) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    let text = "this needs the header: Authorization: Bearer TOKEN\n";
    (StatusCode::UNAUTHORIZED, challenge, text).into_response()
}

/// Compares in a time that does not tell where the first difference is.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let differences = given.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == token.len() && std::hint::black_box(differences) == 0
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let Some(node) = shared.node() else {
        return gone();
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], node.metrics().await).into_response()
}

/// How closely to look: `?entries=24&since=0`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Look {
    entries: Option<usize>,
    since: Option<u64>,
}

async fn status(State(shared): State<Shared>, Query(look): Query<Look>) -> Response {
    let Some(node) = shared.node() else {
        return gone();
    };
    let all = Glance::default();
    let glance = Glance {
        entries: look.entries.unwrap_or(all.entries),
        since: look.since.unwrap_or(all.since),
    };
    match time::timeout(PATIENCE, node.look(glance)).await {
        Ok(Some(status)) => Json(status).into_response(),
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

/// Whether the process is worth keeping. A server without a quorum is: restarting it helps nobody.
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

/// Whether requests sent here have a chance.
async fn readyz(
    State(shared): State<Shared>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    let status = match shared.node() {
        Some(node) => time::timeout(PATIENCE, node.status()).await.ok().flatten(),
        None => None,
    };
    let checks = [
        (
            "disk",
            status.is_some(),
            "the server runs, so its disk has not failed",
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
