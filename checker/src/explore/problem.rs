//! Errors as JSON, with a suitable status: `error` is a sentence with the remedy, and `cause` is the same
//! as data ([`Diagnostic`]).

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use model::system::Diagnostic;
use serde_json::{Map, Value, json};

/// An error response.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    status: StatusCode,
    body: Map<String, Value>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, cause: impl Diagnostic) -> Self {
        let mut body = Map::new();
        body.insert("error".into(), cause.to_string().into());
        body.insert("cause".into(), json!(cause));
        Self { status, body }
    }

    /// An invalid request (400).
    pub(super) fn bad(cause: impl Diagnostic) -> Self {
        Self::new(StatusCode::BAD_REQUEST, cause)
    }

    /// A valid request that is impossible in this world (422).
    pub(super) fn impossible(cause: impl Diagnostic) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, cause)
    }

    /// An unknown name (404).
    pub(super) fn unknown(cause: impl Diagnostic) -> Self {
        Self::new(StatusCode::NOT_FOUND, cause)
    }

    /// Too many requests at the same time (503).
    pub(super) fn busy(cause: impl Diagnostic) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, cause)
    }

    /// An error of the server itself, such as a planted bug that triggers an assertion (500).
    pub(super) fn internal(cause: impl Diagnostic) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, cause)
    }

    /// Adds the fields of a JSON object.
    pub(super) fn with(mut self, fields: Value) -> Self {
        if let Value::Object(fields) = fields {
            self.body.extend(fields);
        }
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(Value::Object(self.body))).into_response()
    }
}
