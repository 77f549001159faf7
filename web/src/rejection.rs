//! The reasons to reject a request before it reaches a route.

use crate::{body::BodyError, site::SiteError};
use axum::response::Response;

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// A page of another site may have sent it.
    Site(SiteError),
    /// It lacks the token.
    Unauthorized,
    /// Its body was not read.
    Body(BodyError),
    /// All connections are in use.
    Overloaded,
}

/// Renders a rejection in the format of a program's API.
pub type Reject = fn(Rejection) -> Response;
