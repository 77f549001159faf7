//! The HTTP shell of a program: everything between a listener and the routes.
//!
//! ```text
//!   listener ──► server: connections, timeouts, closing
//!                  └──► no-store ──► Host and Origin ──┬──► open routes
//!                                                      └──► token ──► body ──► guarded routes
//! ```
//!
//! A program builds a [`Shell`], passes the routes that need the token through [`Shell::guard`], and
//! calls [`Shell::serve`] with all its routes. It renders every [`Rejection`] in the format of its API.

use crate::{
    Secret,
    body::{self, Bounds},
    rejection::{Reject, Rejection},
    response::{closing, uncached},
    server::{self, Limits},
    site::Policy,
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state, map_response},
    response::Response,
};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The rules of a listener.
#[derive(Clone, Debug)]
pub struct Shell {
    /// The allowed host names and origins.
    pub policy: Policy,
    /// The bearer token that guarded routes require, if any.
    pub token: Option<Secret>,
    /// The limits of connections and request bodies.
    pub limits: Limits,
    /// Renders a rejected request.
    pub reject: Reject,
}

impl Shell {
    /// Guards routes: they require the token, and run after the whole body was received.
    pub fn guard<S: Clone + Send + Sync + 'static>(&self, routes: Router<S>) -> Router<S> {
        let shell = Arc::new(self.clone());
        routes
            // The body is in memory already, within the limits of this shell.
            .layer(DefaultBodyLimit::disable())
            .layer(from_fn_with_state(Arc::clone(&shell), read_body))
            .layer(from_fn_with_state(shell, require_token))
    }

    /// Adds the checks that every route needs: `Host` and `Origin`, and no caching.
    pub fn router(&self, routes: Router) -> Router {
        let shell = Arc::new(self.clone());
        routes
            .layer(from_fn_with_state(shell, check_site))
            .layer(map_response(forbid_caching))
    }

    /// Serves the routes until `closing` is cancelled, and then until the pending requests are
    /// answered. Dropping the future drops all connections. `count` receives each change of the number
    /// of connections.
    pub async fn serve(
        &self,
        listener: TcpListener,
        routes: Router,
        count: impl Fn(i64) + Clone + Send + 'static,
        closing: CancellationToken,
    ) {
        let router = self.router(routes);
        server::serve(listener, router, self.limits, self.reject, count, closing).await;
    }

    /// Middleware for routes outside [`Self::guard`] whose bodies have other bounds: reads the whole
    /// body before the route runs.
    pub async fn buffer(&self, bounds: Bounds, request: Request, next: Next) -> Response {
        match body::buffer(bounds, request, next).await {
            Ok(response) => response,
            Err(error) => closing((self.reject)(Rejection::Body(error))),
        }
    }
}

async fn read_body(State(shell): State<Arc<Shell>>, request: Request, next: Next) -> Response {
    let bounds = Bounds {
        bytes: shell.limits.max_body,
        timeout: shell.limits.timeout,
    };
    shell.buffer(bounds, request, next).await
}

async fn require_token(State(shell): State<Arc<Shell>>, request: Request, next: Next) -> Response {
    let is_authorized = shell
        .token
        .as_ref()
        .is_none_or(|token| bearer_token(request.headers()).is_some_and(|given| token.is(given)));
    if is_authorized {
        next.run(request).await
    } else {
        (shell.reject)(Rejection::Unauthorized)
    }
}

async fn check_site(State(shell): State<Arc<Shell>>, request: Request, next: Next) -> Response {
    let Err(error) = shell.policy.check(&request) else {
        return next.run(request).await;
    };
    let response = (shell.reject)(Rejection::Site(error));
    match error.status() {
        // The following bytes may be a request that was intended for another server.
        StatusCode::BAD_REQUEST => closing(response),
        _ => response,
    }
}

async fn forbid_caching(response: Response) -> Response {
    uncached(response)
}

/// The token of `Authorization: Bearer TOKEN`. `None` also if the header occurs twice.
fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).into_iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        body::Body,
        http::HeaderValue,
        response::IntoResponse as _,
        routing::{get, put},
    };
    use std::time::Duration;
    use tower::ServiceExt as _;

    #[test]
    fn bearer_token_is_found_once() {
        let token = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer_token(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(token(&["bearer  abc "]), Some(b"abc".to_vec()));
        assert_eq!(token(&["Bearer a", "Bearer b"]), None);
        assert_eq!(token(&["Basic abc"]), None);
        assert_eq!(token(&["Bearer"]), None);
        assert_eq!(token(&[]), None);
    }

    #[tokio::test]
    async fn every_rejection_has_its_place_in_the_order_of_checks() {
        let shell = Shell {
            policy: Policy::new(["raft.example".to_owned()], true),
            token: Some(Secret::from("t")),
            limits: Limits {
                connections: 1,
                reserve: 1,
                timeout: Duration::from_secs(60),
                max_body: 4,
            },
            reject: |rejection| format!("{rejection:?}").into_response(),
        };
        let guarded = Router::new().route("/guarded", put(|| async { "done" }));
        let routes = Router::new()
            .route("/open", get(|| async { "open" }))
            .merge(shell.guard(guarded));
        let router = shell.router(routes);
        for (method, path, host, token, body, expected) in [
            ("GET", "/open", "localhost", "", "", "open"),
            ("GET", "/open", "evil.example", "", "", "Site(ForeignHost)"),
            ("GET", "/open", "a b", "", "", "Site(BadHost)"),
            ("PUT", "/guarded", "localhost", "Bearer t", "1234", "done"),
            (
                "PUT",
                "/guarded",
                "localhost",
                "Bearer u",
                "",
                "Unauthorized",
            ),
            (
                "PUT",
                "/guarded",
                "localhost",
                "Bearer u",
                "12345",
                "Unauthorized",
            ),
            (
                "PUT",
                "/guarded",
                "evil.example",
                "Bearer u",
                "",
                "Site(ForeignHost)",
            ),
            (
                "PUT",
                "/guarded",
                "localhost",
                "Bearer t",
                "12345",
                "Body(TooLarge(4))",
            ),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::HOST, host)
                .header(header::AUTHORIZATION, token)
                .body(Body::from(body))
                .unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let headers = response.headers();
            assert_eq!(headers[header::CACHE_CONTROL], "no-store");
            let is_last = headers.contains_key(header::CONNECTION);
            assert_eq!(
                is_last,
                expected.contains("BadHost") || expected.contains("Body")
            );
            let text = axum::body::to_bytes(response.into_body(), 1024).await;
            assert_eq!(
                text.unwrap(),
                expected,
                "{method} {path} {host} {token} {body}"
            );
        }
    }
}
