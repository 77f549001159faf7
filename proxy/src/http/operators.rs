//! Endpoints for machines: liveness, readiness, version, metrics.

use super::Http;
use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use client::KeyValue as _;
use serde_json::json;
use std::{fmt::Write as _, sync::Arc, time::Duration};

/// A response from the cluster of at most this age proves readiness as well as a new probe.
const RECENT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(2);

/// `GET /livez`: the process responds.
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the cluster responds through this proxy, and the proxy is not shutting down.
pub(crate) async fn readyz(State(http): State<Arc<Http>>, uri: Uri) -> Response {
    let open = !http.kv_service.closing().is_cancelled();
    let recent = http.gauges.since_last_answer();
    let answers = open && (recent.is_some_and(|since| since < RECENT) || probe(&http).await);
    let ready = open && answers;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let mut text = String::new();
    if uri.query().is_some_and(|query| query.contains("verbose")) {
        let mark = |good| if good { "[+]" } else { "[-]" };
        let leader = http
            .gauges
            .leader()
            .map_or_else(|| "none known".to_owned(), |id| format!("server {id}"));
        let _ = writeln!(text, "{} open: not shutting down", mark(open));
        let _ = writeln!(
            text,
            "{} cluster: a server answers; leader: {leader}",
            mark(answers)
        );
    }
    text.push_str(if ready { "ok\n" } else { "not ready\n" });
    (status, text).into_response()
}

/// Reads a key that need not exist: any result proves that the cluster responds.
async fn probe(http: &Http) -> bool {
    let read = http.uncounted.get(b"readyz".to_vec());
    matches!(tokio::time::timeout(PATIENCE, read).await, Ok(Ok(_)))
}

/// `GET /version`
pub(crate) async fn version() -> Response {
    Json(json!({ "name": "raft-proxy", "version": env!("CARGO_PKG_VERSION") })).into_response()
}

/// `GET /metrics`
pub(crate) async fn metrics(State(http): State<Arc<Http>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match http
        .kv_service
        .metrics()
        .encode(&http.gauges, &http.endpoint)
    {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
