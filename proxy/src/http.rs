//! The HTTP door: the store as resources, the state of the cluster, and what operators ask.
//!
//! `/v1/kv` is the store (`kv`), `/v1/status` and `/v1/events` tell what goes on and `/v1/chaos`
//! makes it go wrong (`live`), `/` is the browser app; `/livez`, `/readyz`, `/version` and `/metrics` are for machines
//! (`operators`). All errors are JSON of one shape (`problem`).
//!
//! # Who may ask
//! With a token, everything under `/v1` and `/metrics` needs it. Without one, requests must call the
//! proxy by an allowed name. Requests of foreign pages are refused either way ([`web::site`]).
//!
//! No response may be cached, errors included: each is true at one moment only.

pub(crate) mod kv;
pub(crate) mod live;
pub(crate) mod operators;
pub(crate) mod problem;
pub(crate) mod query;

use crate::{chaos::Chaos, desk::Desk, driver::Gauges, overview::Overview};
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

/// The longest body: a value. An action of `/v1/chaos` is shorter.
const MAX_BODY: usize = model::store::MAX_VALUE_BYTES;

/// What all requests share.
pub struct Http {
    /// Where operations go.
    pub desk: Desk,
    /// Where readiness probes go: no load of clients.
    pub uncounted: Desk,
    /// What requests must show, if anything.
    pub token: Option<Secret>,
    /// By which names the proxy may be called.
    pub policy: Policy,
    /// How long the body of a request may take to arrive.
    pub client_timeout: Duration,
    /// Event streams that may still be opened.
    pub watchers: Arc<Semaphore>,
    /// What the driver knows.
    pub gauges: Arc<Gauges>,
    /// What counts datagrams.
    pub endpoint: Endpoint,
    /// What is shown to those who look on.
    pub overview: Arc<Overview>,
    /// What goes wrong on purpose, if that is allowed.
    pub chaos: Option<Arc<Chaos>>,
}

/// All routes.
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

/// The response when every connection is busy.
pub(crate) fn overloaded() -> Response {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "too_many_connections",
        "all connections are busy (--max-connections): try again in a moment; nothing was done",
    )
    .with("outcome", "not_done")
    .into_response()
}

/// Lets those in who know the token.
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

/// Keeps out what pages of other sites make a browser send.
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
    // What a resource allows is in the header Allow, which the router adds.
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
