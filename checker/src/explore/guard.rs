//! Rejects requests that pages of other sites make a browser send: see [`web::site`].

use super::{Explore, problem::Problem};
use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::sync::Arc;

pub(super) async fn same_site(
    State(explore): State<Arc<Explore>>,
    request: Request,
    next: Next,
) -> Response {
    let Err(error) = explore.policy.check(&request) else {
        return next.run(request).await;
    };
    let response = Problem::new(error.status(), error.to_string()).into_response();
    match error.status() {
        StatusCode::BAD_REQUEST => web::body::closing(response),
        _ => response,
    }
}
