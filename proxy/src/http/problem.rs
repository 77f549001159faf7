//! Errors as JSON: `{"error": {"code": "...", "message": "...", ...}}`.
//!
//! `code` is for programs and stable; `message` is for people and may change. Errors of reads and
//! writes state the outcome in `outcome`: `not_done` or `unknown`.

use crate::kv_service::{code, message};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use client::Error;
use model::{
    client::NotDone,
    store::{LimitError, MAX_KEY_BYTES, MAX_VALUE_BYTES},
};
use serde_json::{Map, Value, json};
use web::{body::BodyError, preconditions::BadTags};

/// An error response.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    body: Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, message: &str) -> Self {
        let mut body = Map::new();
        body.insert("code".to_owned(), code.into());
        body.insert("message".to_owned(), message.into());
        Self { status, body }
    }

    /// Adds a field.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// A malformed request.
    pub(crate) fn bad(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.body }));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                let scheme = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let message = message(error);
        match error {
            Error::NotDone(NotDone::OutsideLimits(error)) => error.into(),
            Error::NotDone(reason) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, code(reason), &message)
                    .with("outcome", "not_done")
            }
            Error::MismatchedRead => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &message)
                    .with("outcome", "not_done")
            }
            // Gateway timeout: not a failure, but a missing response, so the outcome is unknown.
            Error::Unknown(_) | Error::Mismatch => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "outcome_unknown", &message)
                    .with("outcome", "unknown")
            }
            Error::NotANumber | Error::Overflow => Self::new(
                StatusCode::BAD_REQUEST,
                "not_a_number",
                "the key holds no decimal number, or the sum would overflow 64 bits; nothing was changed",
            )
            .with("outcome", "not_done"),
            Error::QuotaExceeded => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "quota_exceeded", &message)
                    .with("outcome", "not_done")
            }
        }
    }
}

impl From<LimitError> for Problem {
    fn from(error: LimitError) -> Self {
        let message = error.to_string();
        match error {
            LimitError::EmptyKey => Self::bad(&message),
            LimitError::KeyTooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "key_too_large", &message)
                    .with("limit", MAX_KEY_BYTES)
            }
            LimitError::ValueTooLarge { .. } => value_too_large(MAX_VALUE_BYTES, &message),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let message = error.to_string();
        match error {
            BodyError::TooLarge(limit) => value_too_large(limit, &message),
            BodyError::Slow => Self::new(error.status(), "slow_body", &message),
            BodyError::Broken => Self::bad(&message),
        }
    }
}

impl From<BadTags> for Problem {
    fn from(error: BadTags) -> Self {
        Self::bad(&error.to_string())
    }
}

/// The body is larger than the maximum length of a value.
pub(crate) fn value_too_large(limit: usize, message: &str) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "value_too_large", message).with("limit", limit)
}
