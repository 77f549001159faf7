//! Keeps out what pages of other sites make a browser send.
//!
//! The API is open to whoever reaches it, and by default only this machine does. But the browser of
//! whoever sits at it reaches it too, on behalf of any page: so a request must not say that another
//! site made it (`Sec-Fetch-Site`, `Origin`), and must call this machine by a name that can only
//! mean this machine (`Host`): a name of someone else's may be made to point here.

use super::{Explore, problem::Problem};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::{net::IpAddr, sync::Arc};

pub(super) async fn same_site(
    State(explore): State<Arc<Explore>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    // Following a link to the page itself is harmless.
    let is_page = request.uri().path() == "/";
    let is_foreign = !is_page && (is_cross_site(headers) || is_other_origin(headers));
    if is_foreign || explore.is_loopback && !has_local_name(headers) {
        return Problem::new(
            StatusCode::FORBIDDEN,
            "requests made by pages of other sites are refused; over loopback, call this server \
             localhost or by its address",
        )
        .into_response();
    }
    next.run(request).await
}

fn is_cross_site(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "same-origin" && site != "none")
}

fn is_other_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    let origin = origin.as_bytes();
    let authority = origin.strip_prefix(b"http://");
    authority.is_none() || authority != host
}

/// Whether the client called this machine by a name that can only mean this machine.
fn has_local_name(headers: &HeaderMap) -> bool {
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
