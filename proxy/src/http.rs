//! The HTTP door: the store as resources, the state of the cluster, and what operators ask.
//!
//! `/v1/kv` is the store (`kv`), `/v1/status` and `/v1/events` tell what goes on and `/v1/chaos`
//! makes it go wrong (`live`), `/` is the browser app; `/livez`, `/readyz`, `/version` and `/metrics` are for machines
//! (`operators`). All errors are JSON of one shape (`problem`).
//!
//! # Who may ask
//! With a token, everything under `/v1` and `/metrics` needs it. Without one the door is open to
//! whoever reaches it, so by default it listens on loopback only; and as the browser of whoever
//! sits at the machine reaches loopback too, requests that a page of another site makes are
//! refused, by `Sec-Fetch-Site` and by the name in `Host`.

pub(crate) mod kv;
pub(crate) mod live;
pub(crate) mod operators;
pub(crate) mod problem;
pub(crate) mod query;

use crate::{chaos::Chaos, desk::Desk, driver::Gauges, overview::Overview, secret::Secret};
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use problem::Problem;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use transport::Endpoint;

/// A client that takes longer to say what it wants has gone.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What all requests share.
pub struct Http {
    /// Where operations go.
    pub desk: Desk,
    /// What requests must show, if anything.
    pub token: Option<Secret>,
    /// Whether only this machine reaches the door.
    pub loopback: bool,
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
    let guarded = Router::new()
        .route("/v1/kv", get(kv::list))
        .route("/v1/kv/", get(kv::list).fallback(kv::empty_key))
        .route(
            "/v1/kv/{*key}",
            get(kv::read)
                .put(kv::write)
                .delete(kv::remove)
                .post(kv::increment),
        )
        .route("/v1/status", get(live::status))
        .route("/v1/events", get(live::events))
        .route("/v1/chaos", get(live::chaos).post(live::act))
        .route("/metrics", get(operators::metrics))
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
        .with_state(http)
}

/// Serves one connection until it ends, or until `closing` and the request under way is answered.
pub(crate) async fn serve(router: Router, stream: TcpStream, closing: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        // That a client went away is nobody's fault.
        _ = connection.as_mut() => return,
        () = closing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Lets those in who know the token.
async fn guard(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    if let Some(token) = &http.token {
        let offered = request
            .headers()
            .get(header::AUTHORIZATION)
            .map(|value| value.as_bytes())
            .and_then(|value| value.split_at_checked(7))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
            .map(|(_, offered)| offered.trim_ascii());
        if !offered.is_some_and(|offered| token.is(offered)) {
            return Problem::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "a token is needed: send the header 'Authorization: Bearer TOKEN'",
            )
            .into_response();
        }
    }
    next.run(request).await
}

/// Keeps out what pages of other sites make a browser send.
async fn same_site(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let foreign = headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none");
    // Following a link to the page itself is harmless.
    let navigation = request.uri().path() == "/";
    if foreign && !navigation || http.token.is_none() && http.loopback && !local_name(headers) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "foreign_site",
            "requests made by pages of other sites are refused; over loopback, call the proxy \
             localhost or by its address",
        )
        .into_response();
    }
    next.run(request).await
}

/// Whether the client called this machine by a name that can only mean this machine.
fn local_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return true;
    };
    let Ok(host) = host.to_str() else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_such_route",
        "there is nothing here: the store is under /v1/kv/KEY, the state under /v1/status",
    )
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        "this resource does not take that method: see the header Allow",
    )
}
