//! Errors as JSON: `{"error": {"code": "...", "message": "...", ...}}`.
//!
//! `code` is for programs and stable; `message` is for people and may change. Errors of reads and
//! writes state the outcome in `outcome`: `not_done` or `unknown`. `not_done` is an operation that had
//! no effect and never will. This includes a write that the store executed without an effect, for
//! example because its condition did not hold.

use crate::kv_service::code;
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
        let (status, code) = match error {
            Error::NotDone(NotDone::OutsideLimits(error)) => return error.into(),
            Error::NotDone(reason) | Error::NotTransferred { reason, .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, code(reason))
            }
            Error::MismatchedRead | Error::NotPermitted => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            // Gateway timeout: not a failure, but a missing response, so the outcome is unknown.
            Error::Unknown(_) | Error::Mismatch => (StatusCode::GATEWAY_TIMEOUT, "outcome_unknown"),
            Error::NotANumber | Error::Overflow => (StatusCode::BAD_REQUEST, "not_a_number"),
            Error::QuotaExceeded => (StatusCode::INSUFFICIENT_STORAGE, "quota_exceeded"),
        };
        let outcome = if error.is_unknown() {
            "unknown"
        } else {
            "not_done"
        };
        Self::new(status, code, &error.to_string()).with("outcome", outcome)
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

#[cfg(test)]
mod tests {
    use super::*;
    use client::KeyValue as _;
    use model::{
        client::{Done, Outcome, Unknown},
        store::Answer,
    };

    /// Each outcome of a write in the model, and its outcome in the body of an error.
    #[tokio::test]
    async fn write_without_an_effect_is_not_done() {
        let found = None;
        for (outcome, expected) in [
            (
                Outcome::Done(Done::Answered(Answer::NotANumber)),
                "not_done",
            ),
            (Outcome::Done(Done::Answered(Answer::Overflow)), "not_done"),
            (
                Outcome::Done(Done::Answered(Answer::QuotaExceeded)),
                "not_done",
            ),
            (Outcome::NotDone(NotDone::NoSession), "not_done"),
            (Outcome::NotDone(NotDone::Overloaded), "not_done"),
            (Outcome::Unknown(Unknown::Forgotten), "unknown"),
            (Outcome::Unknown(Unknown::NotConfirmed), "unknown"),
            // The answer to another operation: the increment may have been executed.
            (
                Outcome::Done(Done::Answered(Answer::ConditionFailed { found })),
                "unknown",
            ),
        ] {
            let store = |_| std::future::ready(outcome.clone());
            let error = store.increment("n", 1).await.unwrap_err();
            assert_eq!(
                Problem::from(error).body["outcome"],
                expected,
                "{outcome:?}"
            );
        }
    }
}
