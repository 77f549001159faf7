//! `/v1/kv`: keys as resources.
//!
//! A key is everything behind `/v1/kv/`, percent-decoded; slashes are part of it. A version is the
//! index of the log entry that wrote the value: it is in the JSON and, quoted, in `ETag`.
//! Conditions are those of HTTP: `If-Match` with a version (or `?version=`), `If-Match: *`,
//! `If-None-Match: *`.

use super::{
    Http,
    problem::{Problem, value_too_large},
    query::Parameters,
};
use axum::{
    Json,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use model::{
    LogIndex,
    store::{Answer, Condition, Key, Page, Versioned},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};

/// A client that takes longer to send a value has gone.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The header of answers that may be old: the last entry that the server had applied.
const APPLIED_INDEX: &str = "stateraft-applied-index";
const DEFAULT_LIMIT: u32 = 100;
const PREFIX: &str = "/v1/kv/";
/// What must not stand for itself in a link.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

type Shared = State<Arc<Http>>;

/// `GET /v1/kv/{key}`
pub(crate) async fn read(
    State(http): Shared,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::new(uri.query(), &["consistency"])?;
    let key = key(&uri);
    if may_be_stale(&parameters)? {
        let stale = http.desk.get_stale(key.clone()).await?;
        let answer = match stale.found {
            Some(found) => value(&key, found, &headers, Some(stale.applied_index)),
            None => not_found()
                .with("applied_index", stale.applied_index.get())
                .into_response(),
        };
        return Ok(as_of(stale.applied_index, answer));
    }
    let Some(found) = http.desk.get(key.clone()).await? else {
        return Err(not_found());
    };
    Ok(value(&key, found, &headers, None))
}

/// The value of a key, as the request wants it.
fn value(
    key: &[u8],
    found: Versioned,
    headers: &HeaderMap,
    applied_index: Option<LogIndex>,
) -> Response {
    let tag = etag(found.version);
    if let Some(held) = headers.get(header::IF_NONE_MATCH)
        && (held == tag || held == "*")
    {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let vary = (header::VARY, HeaderValue::from_static("Accept"));
    if wants_raw(headers) {
        let kind = HeaderValue::from_static("application/octet-stream");
        let headers = [(header::ETAG, tag), (header::CONTENT_TYPE, kind), vary];
        return (headers, Bytes::from_owner(found.value)).into_response();
    }
    let mut body = pair(key, &found.value, found.version);
    if let Some(index) = applied_index {
        body.insert("applied_index".to_owned(), index.get().into());
    }
    ([(header::ETAG, tag), vary], Json(body)).into_response()
}

/// Says in a header that the answer may be old, and as of which entry of the log it is: whatever
/// the body is, if there is one.
fn as_of(applied_index: LogIndex, mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(APPLIED_INDEX, HeaderValue::from(applied_index.get()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// `PUT /v1/kv/{key}`
pub(crate) async fn write(State(http): Shared, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let parameters = Parameters::new(head.uri.query(), &["version"])?;
    let condition = condition(&head.headers, &parameters)?;
    let key = key(&head.uri);
    let value = body_of(body, http.desk.limits().value).await?;
    let answer = http
        .desk
        .put(key.clone(), value[..].into(), condition)
        .await?;
    written(&key, answer)
}

/// `DELETE /v1/kv/{key}`
pub(crate) async fn remove(
    State(http): Shared,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::new(uri.query(), &["version"])?;
    let asked = condition(&headers, &parameters)?;
    let condition = match asked {
        // So that there is something to remove is known, and told.
        Condition::Always => Condition::Present,
        Condition::Absent => return Err(Problem::bad("what is absent cannot be removed")),
        other => other,
    };
    let key = key(&uri);
    match http.desk.delete(key.clone(), condition).await? {
        Answer::ConditionFailed { found: None } if asked == Condition::Always => Err(not_found()),
        answer => written(&key, answer),
    }
}

/// `POST /v1/kv/{key}/increment`
pub(crate) async fn increment(State(http): Shared, uri: Uri) -> Result<Response, Problem> {
    let parameters = Parameters::new(uri.query(), &["by"])?;
    let by = parameters.number("by")?.unwrap_or(1);
    let Some(key) = raw_key(&uri).strip_suffix("/increment") else {
        return Err(Problem::bad(
            "POST is for POST /v1/kv/KEY/increment only; to write a value, use PUT /v1/kv/KEY",
        ));
    };
    let key: Key = percent_decode_str(key).collect();
    let answer = http.desk.increment(key.clone(), by).await?;
    let Answer::Number { value, version } = answer else {
        return written(&key, answer);
    };
    let mut body = named(&key);
    body.insert("value".to_owned(), value.into());
    body.insert("version".to_owned(), version.get().into());
    Ok(([(header::ETAG, etag(version))], Json(body)).into_response())
}

/// `GET /v1/kv`
pub(crate) async fn list(State(http): Shared, uri: Uri) -> Result<Response, Problem> {
    let known = ["prefix", "after", "limit", "consistency"];
    let parameters = Parameters::new(uri.query(), &known)?;
    let stale = may_be_stale(&parameters)?;
    let most = http.desk.limits().listing;
    let limit = parameters
        .number("limit")?
        .unwrap_or(DEFAULT_LIMIT.min(most));
    if limit == 0 || limit > most {
        return Err(Problem::bad(&format!("the limit is between 1 and {most}")));
    }
    let prefix = parameters.bytes("prefix").unwrap_or_default().to_vec();
    let after = parameters.bytes("after").map(<[u8]>::to_vec);
    let (Page { pairs, more }, applied_index) = if stale {
        let stale = http.desk.scan_stale(prefix.clone(), after, limit);
        let stale = stale.await?;
        (stale.found, Some(stale.applied_index))
    } else {
        (http.desk.scan(prefix.clone(), after, limit).await?, None)
    };
    let next = match pairs.last() {
        Some((last, _)) if more => Value::String(format!(
            "/v1/kv?prefix={}&after={}&limit={limit}{}",
            percent_encode(&prefix, ENCODED),
            percent_encode(last, ENCODED),
            if stale { "&consistency=stale" } else { "" }
        )),
        _ => Value::Null,
    };
    let items = pairs.iter();
    let items = items.map(|(key, found)| pair(key, &found.value, found.version));
    let items: Vec<_> = items.collect();
    let mut body = json!({ "items": items, "next": next });
    Ok(match applied_index {
        Some(index) => {
            body["applied_index"] = index.get().into();
            as_of(index, Json(body).into_response())
        }
        None => Json(body).into_response(),
    })
}

/// Anything but listing at `/v1/kv/`.
pub(crate) async fn empty_key() -> Problem {
    Problem::bad("the key is empty: give at least one byte")
}

/// A key and its value as JSON: text if it is text, else base64 with a mark beside it.
pub(crate) fn pair(key: &[u8], value: &[u8], version: LogIndex) -> Map<String, Value> {
    let mut body = named(key);
    insert_bytes(&mut body, "value", value);
    body.insert("version".to_owned(), version.get().into());
    body
}

fn named(key: &[u8]) -> Map<String, Value> {
    let mut body = Map::new();
    insert_bytes(&mut body, "key", key);
    body
}

fn insert_bytes(body: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match str::from_utf8(bytes) {
        Ok(text) => {
            body.insert(name.to_owned(), text.into());
        }
        Err(_) => {
            body.insert(name.to_owned(), STANDARD.encode(bytes).into());
            body.insert(format!("{name}_encoding"), "base64".into());
        }
    }
}

/// What became of a write that was applied.
fn written(key: &[u8], answer: Answer) -> Result<Response, Problem> {
    match answer {
        Answer::Written { version } => {
            let mut body = named(key);
            body.insert("version".to_owned(), version.get().into());
            Ok(([(header::ETAG, etag(version))], Json(body)).into_response())
        }
        Answer::ConditionFailed { found } => {
            let found = found.map(LogIndex::get);
            let message = match found {
                Some(version) => format!("the condition does not hold: the key has version {version}; nothing was changed"),
                None => "the condition does not hold: the key is absent; nothing was changed".to_owned(),
            };
            Err(
                Problem::new(StatusCode::PRECONDITION_FAILED, "condition_failed", &message)
                    .with("version", found)
                    .with("outcome", "not_done"),
            )
        }
        Answer::NotANumber => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "not_a_number",
            "the key holds no decimal number, or the sum would overflow 64 bits; nothing was changed",
        )
        .with("outcome", "not_done")),
        // The client turns the rest into outcomes of its own.
        _ => Err(crate::desk::Failure::Unknown.into()),
    }
}

fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such key")
}

fn raw_key(uri: &Uri) -> &str {
    uri.path().strip_prefix(PREFIX).unwrap_or_default()
}

fn key(uri: &Uri) -> Key {
    percent_decode_str(raw_key(uri)).collect()
}

fn etag(version: LogIndex) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

fn wants_raw(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let mut kinds = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds.any(|kind| kind.eq_ignore_ascii_case("application/octet-stream"))
}

/// Whether whoever asks is content with what any one server has.
fn may_be_stale(parameters: &Parameters) -> Result<bool, Problem> {
    match parameters.bytes("consistency") {
        None | Some(b"linearizable") => Ok(false),
        Some(b"stale") => Ok(true),
        Some(_) => Err(Problem::bad("consistency is linearizable or stale")),
    }
}

fn condition(headers: &HeaderMap, parameters: &Parameters) -> Result<Condition, Problem> {
    let mut conditions = Vec::new();
    if let Some(version) = parameters.number("version")? {
        conditions.push(Condition::Version(LogIndex::new(version)));
    }
    if let Some(tag) = headers.get(header::IF_MATCH) {
        conditions.push(match tag.to_str().map(str::trim) {
            Ok("*") => Condition::Present,
            tag => {
                let version = tag.ok().and_then(|tag| {
                    let bare = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                    bare.unwrap_or(tag).parse().ok()
                });
                let version = version.ok_or_else(|| {
                    Problem::bad("If-Match takes one version, as in If-Match: \"12\", or *")
                })?;
                Condition::Version(LogIndex::new(version))
            }
        });
    }
    if let Some(tag) = headers.get(header::IF_NONE_MATCH) {
        if tag != "*" {
            return Err(Problem::bad("a write takes If-None-Match: * only"));
        }
        conditions.push(Condition::Absent);
    }
    match conditions[..] {
        [] => Ok(Condition::Always),
        [condition] => Ok(condition),
        _ => Err(Problem::bad(
            "more than one condition: give one of version, If-Match and If-None-Match",
        )),
    }
}

async fn body_of(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, limit)).await;
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length(&error) => Err(value_too_large(
            limit,
            &format!("the value has more than {limit} bytes, which is the limit"),
        )),
        Ok(Err(_)) => Err(Problem::bad("the value did not arrive whole")),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow_body",
            "the value did not arrive in time",
        )),
    }
}

fn is_length(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(this) = error {
        if this.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        error = this.source();
    }
    false
}
