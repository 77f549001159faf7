//! The HTTP frontend: the store as resources, the state of the cluster, and endpoints for operators.
//!
//! `/v1/kv` is the store (`kv`). `/v1/status` and `/v1/events` report the state of the cluster, and
//! `/v1/chaos` injects faults (`live`). `/` is the browser app. `/livez`, `/readyz`, `/version` and
//! `/metrics` serve machines (`operators`). All errors are JSON of one form (`problem`).
//!
//! # Access control
//! If a token is configured, everything under `/v1` and `/metrics` requires it. Without a token, the
//! Host header of a request must have an allowed name. Cross-site requests are rejected in both cases
//! ([`web::site`]).
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
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use problem::Problem;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use transport::Endpoint;
use web::{Secret, body, site::Policy};

/// The maximum length of a request body: a value. An action of `/v1/chaos` is shorter.
const MAX_BODY: usize = model::store::MAX_VALUE_BYTES;

/// The shared state of all requests.
pub struct Http {
    /// The key-value service.
    pub kv_service: KvService,
    /// The key-value service for readiness probes, which do not count as load.
    pub uncounted: KvService,
    /// The bearer token that requests must carry, if configured.
    pub token: Option<Secret>,
    /// The allowed host names.
    pub policy: Policy,
    /// The timeout for the body of a request.
    pub client_timeout: Duration,
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

/// Builds the router with all routes.
pub fn router(http: Http) -> Router {
    let http = Arc::new(http);
    let bounds = body::Bounds {
        bytes: MAX_BODY,
        timeout: http.client_timeout,
        render: |error| Problem::from(error).into_response(),
    };
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
        .route("/metrics", get(operators::metrics))
        .layer(middleware::from_fn(move |request, next| {
            body::buffer(bounds, request, next)
        }))
        .layer(middleware::from_fn_with_state(Arc::clone(&http), guard));
    Router::new()
        .merge(guarded)
        .merge(ui::app())
        .route("/api/app", get(live::app))
        .route("/livez", get(operators::livez))
        .route("/readyz", get(operators::readyz))
        .route("/version", get(operators::version))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&http), same_site))
        .layer(middleware::from_fn(web::no_store))
        .with_state(http)
}

/// The response if all connections are in use.
pub(crate) fn overloaded() -> Response {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too_many_connections",
        "all connections are busy (--max-connections): try again in a moment; nothing was done",
    )
    .with("outcome", "not_done")
    .into_response()
}

/// Admits requests with the token only.
async fn guard(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    if let Some(token) = &http.token
        && !web::bearer_token(request.headers()).is_some_and(|offered| token.is(offered))
    {
        return Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a token is needed: send the header 'Authorization: Bearer TOKEN'",
        )
        .into_response();
    }
    next.run(request).await
}

/// Rejects cross-site requests of browsers.
async fn same_site(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    match http.policy.check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let status = error.status();
            let code = match status {
                StatusCode::BAD_REQUEST => "bad_request",
                _ => "foreign_site",
            };
            let response = Problem::new(status, code, &error.to_string()).into_response();
            match status {
                StatusCode::BAD_REQUEST => body::closing(response),
                _ => response,
            }
        }
    }
}

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_route",
        "there is nothing here: the store is under /v1/kv/KEY, the state under /v1/status",
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
        "this resource does not take that method: see the header Allow",
    )
    .into_response()
}
