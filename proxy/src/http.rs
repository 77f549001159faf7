//! The HTTP frontend: the store as resources, the state of the cluster, and endpoints for operators.
//!
//! `/v1/kv` is the store (`kv`). `/v1/status` and `/v1/events` report the state of the cluster, and
//! `/v1/chaos` injects faults (`live`). `/` is the browser app. `/livez`, `/readyz`, `/version` and
//! `/metrics` serve machines (`operators`). All errors are JSON of one form (`problem`).
//!
//! # Access control
//! If a token is configured, everything under `/v1` and `/metrics` requires it. Without a token, the
//! Host header of a request must have an allowed name. Cross-site requests are rejected in both cases
//! ([`web::shell`]).
//!
//! No response is cacheable, errors included: each response is valid at one moment only.

pub(crate) mod kv;
pub(crate) mod live;
pub(crate) mod operators;
pub(crate) mod problem;
pub(crate) mod query;

use crate::{chaos::Chaos, cluster_view::ClusterView, gauges::Gauges, kv_service::KvService};
use axum::{
    Router,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use problem::Problem;
use std::sync::Arc;
use tokio::sync::Semaphore;
use transport::Endpoint;
use web::{Rejection, shell::Shell};

/// The maximum length of a request body: a value. An action of `/v1/chaos` is shorter.
pub(crate) const MAX_BODY: usize = model::store::MAX_VALUE_BYTES;

/// The shared state of all requests.
pub struct Http {
    /// The key-value service.
    pub kv_service: KvService,
    /// The key-value service for readiness probes, which do not count as load.
    pub uncounted: KvService,
    /// Whether requests must carry a token.
    pub has_token: bool,
    /// The permits for further event streams.
    pub watchers: Arc<Semaphore>,
    /// The counters and gauges of the driver.
    pub gauges: Arc<Gauges>,
    /// The UDP endpoint, for its datagram counters.
    pub endpoint: Endpoint,
    /// The view of the cluster.
    pub cluster_view: Arc<ClusterView>,
    /// Fault injection, if enabled.
    pub chaos: Option<Arc<Chaos>>,
}

/// Builds the router with all routes. The shell serves it. CONTRIBUTING.md has the recipe "Adding an
/// HTTP route".
pub(crate) fn router(http: Http, shell: &Shell) -> Router {
    let key = || {
        get(kv::read)
            .put(kv::write)
            .delete(kv::remove)
            .post(kv::increment)
    };
    let guarded = Router::new()
        .route("/v1/kv", get(kv::list))
        .route("/v1/kv/", get(kv::list).fallback(kv::empty_key))
        .route("/v1/kv/{*key}", key())
        .route("/v1/key/{*key}", key())
        .route("/v1/status", get(live::status))
        .route("/v1/events", get(live::events))
        .route("/v1/chaos", get(live::chaos).post(live::act))
        .route("/metrics", get(operators::metrics));
    Router::new()
        .merge(shell.guard(guarded))
        .merge(ui::app())
        .route("/api/app", get(live::app))
        .route("/livez", get(operators::livez))
        .route("/readyz", get(operators::readyz))
        .route("/version", get(operators::version))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::new(http))
}

/// Renders a request that the shell rejects.
pub(crate) fn reject(rejection: Rejection) -> Response {
    let problem = match rejection {
        Rejection::Site(error) => {
            let code = match error.status() {
                StatusCode::BAD_REQUEST => "bad_request",
                _ => "foreign_site",
            };
            Problem::new(error.status(), code, &error.to_string())
        }
        Rejection::Unauthorized => Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a token is needed: send the header 'Authorization: Bearer TOKEN'",
        ),
        Rejection::Body(error) => Problem::from(error),
        Rejection::Overloaded => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_connections",
            "all connections are busy (--max-connections): try again in a moment; nothing was done",
        )
        .with("outcome", "not_done"),
    };
    problem.into_response()
}

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_route",
        "no such route: the store is under /v1/kv/KEY, the state under /v1/status",
    )
}

async fn wrong_method(method: Method) -> Response {
    // The header Allow, which the router adds, lists the allowed methods.
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        "this resource does not support the method: see the header Allow",
    )
    .into_response()
}
