//! The state of the cluster, once (`/v1/status`) or as it changes (`/v1/events`), and the page
//! that shows it.

use super::Http;
use axum::{
    Json,
    extract::State,
    http::header,
    response::{
        Html, IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{StreamExt, stream};
use std::{convert::Infallible, sync::Arc};

const PAGE: &str = include_str!("page.html");
/// The page is one file that asks nobody but this proxy for anything.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// `GET /`
pub(crate) async fn page() -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, Html(PAGE)).into_response()
}

/// `GET /v1/status`
pub(crate) async fn status(State(http): State<Arc<Http>>) -> Response {
    let fresh = [(header::CACHE_CONTROL, "no-store")];
    (fresh, Json(http.overview.status().await)).into_response()
}

/// `GET /v1/events`: an event with the state whenever there is something new.
pub(crate) async fn events(State(http): State<Arc<Http>>) -> impl IntoResponse {
    let mut shown = http.overview.look_on();
    if !shown.borrow().is_empty() {
        shown.mark_changed();
    }
    let states = stream::unfold(shown, |mut shown| async move {
        shown.changed().await.ok()?;
        let state = Arc::clone(&shown.borrow_and_update());
        Some((Ok::<_, Infallible>(Event::default().data(&state)), shown))
    });
    let closing = http.desk.closing().clone();
    let states = states.take_until(closing.cancelled_owned());
    Sse::new(states).keep_alive(KeepAlive::default())
}
