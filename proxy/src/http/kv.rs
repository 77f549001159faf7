//! `/v1/kv`: keys as resources.
//!
//! A key is the percent-decoded rest of the path after `/v1/kv/`, including slashes. Browsers and many
//! libraries normalize paths, so this path cannot address the keys `.` and `..`, or keys with such
//! segments: `/v1/key/BASE64URL` is a second path of every key. A version is the index of the log
//! entry that wrote the value. It is in the JSON and, quoted, in `ETag`. Conditional requests follow
//! RFC 9110: `If-Match` and `If-None-Match`, or `?version=`.

use super::{
    Http,
    problem::Problem,
    query::{Parameters, decode},
};
use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use client::{Error, KeyValue as _, Number, Written};
use model::{
    LogIndex,
    store::{Condition, Key, Page, Versioned},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::{Map, Value};
use std::sync::Arc;
use web::{negotiate, preconditions::Tags};

/// The header of stale responses: the index of the last entry that the server had applied.
const APPLIED_INDEX: &str = "stateraft-applied-index";
/// The maximum number of retries of a write whose condition needs a read, if the key changes in
/// between.
const CONTENTION: usize = 16;
const JSON: &str = "application/json";
const RAW: &str = "application/octet-stream";
/// Base64url; padding is optional.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
const DEFAULT_LIMIT: u32 = 100;
/// The maximum size of a page in bytes, unless its first item alone is larger. The servers bound the
/// bytes of keys and values, and JSON expands them by a factor of up to six.
const MAX_PAGE: usize = 1 << 20;
const PREFIX: &str = "/v1/kv/";
const BASE64_PREFIX: &str = "/v1/key/";
/// The characters that must be percent-encoded in a link.
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
    let key = key(&uri)?;
    let representation = Representation::new(&headers)?;
    let preconditions = Preconditions::new(&headers, &parameters)?;
    if may_be_stale(&parameters)? {
        let stale = http.kv_service.get_stale(key.clone()).await?;
        let index = stale.applied_index;
        let answer = match stale.found {
            Some(found) => value(&key, found, representation, &preconditions, Some(index)),
            None => not_found()
                .with("applied_index", index.get())
                .into_response(),
        };
        return Ok(as_of(index, answer));
    }
    let Some(found) = http.kv_service.get(key.clone()).await? else {
        return Err(not_found());
    };
    Ok(value(&key, found, representation, &preconditions, None))
}

/// The representation that a client wants of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Representation {
    Json,
    Raw,
}

impl Representation {
    /// The raw value if the client accepts its media type with at least the weight of JSON.
    fn new(headers: &HeaderMap) -> Result<Self, Problem> {
        let [json, raw] = [JSON, RAW].map(|kind| negotiate::media_weight(headers, kind));
        let is_excluded = |kind: &str, weight| weight == 0 && negotiate::mentions(headers, kind);
        if !negotiate::accepts_identity(headers) || is_excluded(JSON, json) && raw == 0 {
            return Err(Problem::new(
                StatusCode::NOT_ACCEPTABLE,
                "not_acceptable",
                "a value is sent as application/json or application/octet-stream, without content \
                 coding; the request excludes that by q=0",
            ));
        }
        if is_excluded(JSON, json) || negotiate::names_media(headers, RAW) && raw >= json {
            return Ok(Self::Raw);
        }
        Ok(Self::Json)
    }
}

/// The response with the value of a key, in the requested representation.
fn value(
    key: &[u8],
    found: Versioned,
    representation: Representation,
    preconditions: &Preconditions,
    applied_index: Option<LogIndex>,
) -> Response {
    let version = found.version;
    if !preconditions.if_match_holds(Some(version)) {
        return condition_failed(Some(version)).into_response();
    }
    let tag = etag(version);
    let vary = (
        header::VARY,
        HeaderValue::from_static("Accept, Accept-Encoding"),
    );
    if !preconditions.if_none_match_holds(Some(version)) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag), vary]).into_response();
    }
    if representation == Representation::Raw {
        let kind = HeaderValue::from_static(RAW);
        let headers = [(header::ETAG, tag), (header::CONTENT_TYPE, kind), vary];
        return (headers, Bytes::from_owner(found.value)).into_response();
    }
    let mut body = pair(key, &found.value, version);
    if let Some(index) = applied_index {
        body.insert("applied_index".to_owned(), index.get().into());
    }
    ([(header::ETAG, tag), vary], Json(body)).into_response()
}

/// Marks a response as possibly stale, with a header that names the last applied log entry. The header
/// is set regardless of the body.
fn as_of(applied_index: LogIndex, mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(APPLIED_INDEX, HeaderValue::from(applied_index.get()));
    answer
}

/// `PUT /v1/kv/{key}`
pub(crate) async fn write(
    State(http): Shared,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let parameters = Parameters::new(uri.query(), &["version"])?;
    let preconditions = Preconditions::new(&headers, &parameters)?;
    refuse_dates(&headers)?;
    refuse_partial(&headers)?;
    let key = key(&uri)?;
    let change = Change::Put(body[..].into());
    let outcome = conditionally(&http, &key, &preconditions, change).await?;
    written(&key, outcome)
}

/// `DELETE /v1/kv/{key}`
pub(crate) async fn remove(
    State(http): Shared,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::new(uri.query(), &["version"])?;
    let preconditions = Preconditions::new(&headers, &parameters)?;
    refuse_dates(&headers)?;
    let key = key(&uri)?;
    let outcome = conditionally(&http, &key, &preconditions, Change::Delete).await?;
    match outcome {
        // Without a condition, or with a condition that an absent key satisfies: the key does not
        // exist.
        Written::ConditionFailed { found: None } if preconditions.hold(None) => Err(not_found()),
        outcome => written(&key, outcome),
    }
}

/// The effect of a write on a key.
enum Change {
    Put(model::store::Value),
    Delete,
}

impl Change {
    async fn execute(
        &self,
        http: &Http,
        key: &Key,
        condition: Condition,
    ) -> Result<Written, Error> {
        match (self, condition) {
            (Self::Put(value), _) => {
                http.kv_service
                    .cas(key.clone(), value.clone(), condition)
                    .await
            }
            // The condition makes the deletion of an absent key detectable, so that the response can
            // report it.
            (Self::Delete, Condition::Always) => {
                http.kv_service
                    .delete(key.clone(), Condition::Present)
                    .await
            }
            (Self::Delete, Condition::Absent) => Ok(Written::ConditionFailed { found: None }),
            (Self::Delete, _) => http.kv_service.delete(key.clone(), condition).await,
        }
    }

    /// Converts the preconditions to one condition of the store, if the store can evaluate them.
    fn direct(&self, preconditions: &Preconditions) -> Option<Condition> {
        match (self, preconditions.direct()) {
            // A read checks the absence of a key, without a write.
            (Self::Delete, Some(Condition::Absent)) => None,
            (_, direct) => direct,
        }
    }
}

/// Executes a write under its preconditions. If the store cannot evaluate them, a read checks them,
/// and the write is then conditional on the version read. If the version has changed, the operation is
/// retried.
async fn conditionally(
    http: &Http,
    key: &Key,
    preconditions: &Preconditions,
    change: Change,
) -> Result<Written, Problem> {
    if let Some(condition) = change.direct(preconditions) {
        return Ok(change.execute(http, key, condition).await?);
    }
    let found = http.kv_service.get(key.clone()).await?;
    let mut version = found.map(|found| found.version);
    for _ in 0..CONTENTION {
        if !preconditions.hold(version) {
            return Ok(Written::ConditionFailed { found: version });
        }
        let condition = version.map_or(Condition::Absent, Condition::Version);
        match change.execute(http, key, condition).await? {
            Written::ConditionFailed { found } if found != version => version = found,
            outcome => return Ok(outcome),
        }
    }
    Err(Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "the key is being changed by others all the time: try again; nothing was done",
    )
    .with("outcome", "not_done"))
}

/// Rejects a body that is a part of a value or an encoded value: it must not be stored as the value
/// (RFC 9110 §14.4, §15.5.16).
fn refuse_partial(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(Problem::bad(
            "a value is written whole: send it without Content-Range",
        ));
    }
    let is_encoded = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|coding| coding != "identity");
    if is_encoded {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "a value is stored as it is sent: send it without Content-Encoding",
        ));
    }
    Ok(())
}

/// Rejects a write under a condition on a date. Versions have no dates, and a dropped condition could
/// cost another client its write.
fn refuse_dates(headers: &HeaderMap) -> Result<(), Problem> {
    let dates = [header::IF_UNMODIFIED_SINCE, header::IF_MODIFIED_SINCE];
    match dates.iter().find(|name| headers.contains_key(*name)) {
        Some(name) => Err(Problem::bad(&format!(
            "{name} is not supported, because versions have no dates: use If-Match or If-None-Match"
        ))),
        None => Ok(()),
    }
}

/// `POST /v1/kv/{key}/increment`
pub(crate) async fn increment(
    State(http): Shared,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let parameters = Parameters::new(uri.query(), &["by"])?;
    let by = parameters.number("by")?.unwrap_or(1);
    refuse_dates(&headers)?;
    if headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_NONE_MATCH) {
        return Err(Problem::bad(
            "an increment takes no condition: read the value and write the sum with If-Match",
        ));
    }
    let Some(path) = uri.path().strip_suffix("/increment") else {
        return Err(Problem::bad(
            "POST is for POST /v1/kv/KEY/increment only; to write a value, use PUT /v1/kv/KEY",
        ));
    };
    let key = key_of_path(path)?;
    let Number { value, version } = http.kv_service.increment(key.clone(), by).await?;
    let mut body = named(&key);
    body.insert("value".to_owned(), value.into());
    body.insert("version".to_owned(), version.get().into());
    Ok(([(header::ETAG, etag(version))], Json(body)).into_response())
}

/// `GET /v1/kv`
pub(crate) async fn list(
    State(http): Shared,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let is_excluded =
        negotiate::media_weight(&headers, JSON) == 0 && negotiate::mentions(&headers, JSON);
    if is_excluded || !negotiate::accepts_identity(&headers) {
        return Err(Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            "a listing is sent as application/json, without content coding; the request excludes \
             that by q=0",
        ));
    }
    let known = ["prefix", "after", "limit", "consistency"];
    let parameters = Parameters::new(uri.query(), &known)?;
    let stale = may_be_stale(&parameters)?;
    let most = http.kv_service.limits().listing;
    let limit = parameters
        .number("limit")?
        .unwrap_or(DEFAULT_LIMIT.min(most));
    if limit == 0 || limit > most {
        return Err(Problem::bad(&format!("the limit is between 1 and {most}")));
    }
    let prefix = parameters.bytes("prefix").unwrap_or_default().to_vec();
    let after = parameters.bytes("after").map(<[u8]>::to_vec);
    let (Page { pairs, more }, applied_index) = if stale {
        let stale = http.kv_service.scan_stale(prefix.clone(), after, limit);
        let stale = stale.await?;
        (stale.found, Some(stale.applied_index))
    } else {
        (
            http.kv_service.scan(prefix.clone(), after, limit).await?,
            None,
        )
    };
    let (items, listed) = items(&pairs);
    let next = match pairs[..listed].last() {
        Some((last, _)) if more || listed < pairs.len() => Value::String(format!(
            "/v1/kv?prefix={}&after={}&limit={limit}{}",
            percent_encode(&prefix, ENCODED),
            percent_encode(last, ENCODED),
            if stale { "&consistency=stale" } else { "" }
        )),
        _ => Value::Null,
    };
    let index = applied_index.map(|index| format!(r#""applied_index":{index},"#));
    let index = index.unwrap_or_default();
    let body = format!(r#"{{{index}"items":[{items}],"next":{next}}}"#);
    // Release spare capacity: a slow reader keeps the body in memory.
    let body = Bytes::from(body.into_boxed_str().into_boxed_bytes());
    let answer = ([(header::CONTENT_TYPE, JSON)], body).into_response();
    Ok(match applied_index {
        Some(index) => as_of(index, answer),
        None => answer,
    })
}

/// Formats the items of a page. Returns them with the number of pairs that fit.
fn items(pairs: &[(Key, Versioned)]) -> (String, usize) {
    let mut items = String::new();
    for (listed, (key, found)) in pairs.iter().enumerate() {
        let item = Value::Object(pair(key, &found.value, found.version)).to_string();
        if listed > 0 {
            if items.len() + item.len() >= MAX_PAGE {
                return (items, listed);
            }
            items.push(',');
        }
        items.push_str(&item);
    }
    (items, pairs.len())
}

/// Any method except listing at `/v1/kv/`.
pub(crate) async fn empty_key() -> Problem {
    Problem::bad("the key is empty: give at least one byte")
}

/// Formats a key and its value as JSON: text if it is valid UTF-8, otherwise base64 with a marker
/// field.
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

/// The response to an applied write.
fn written(key: &[u8], outcome: Written) -> Result<Response, Problem> {
    match outcome {
        Written::Done { version } => {
            let mut body = named(key);
            body.insert("version".to_owned(), version.get().into());
            Ok(([(header::ETAG, etag(version))], Json(body)).into_response())
        }
        Written::ConditionFailed { found } => Err(condition_failed(found)),
    }
}

fn condition_failed(found: Option<LogIndex>) -> Problem {
    let found = found.map(LogIndex::get);
    let message = match found {
        Some(version) => format!(
            "the condition does not hold: the key has version {version}; nothing was changed"
        ),
        None => "the condition does not hold: the key is absent; nothing was changed".to_owned(),
    };
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "condition_failed",
        &message,
    )
    .with("version", found)
    .with("outcome", "not_done")
}

fn not_found() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is no such key")
}

fn key(uri: &Uri) -> Result<Key, Problem> {
    key_of_path(uri.path())
}

fn key_of_path(path: &str) -> Result<Key, Problem> {
    if let Some(text) = path.strip_prefix(BASE64_PREFIX) {
        return BASE64URL.decode(decode(text)?).map_err(|_| {
            Problem::bad(
                "the key is not base64url: after /v1/key/, give the bytes of the key as RFC 4648 \
                 section 5 has it",
            )
        });
    }
    decode(path.strip_prefix(PREFIX).unwrap_or_default())
}

fn etag(version: LogIndex) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether the client accepts a stale read from any server.
fn may_be_stale(parameters: &Parameters) -> Result<bool, Problem> {
    match parameters.bytes("consistency") {
        None | Some(b"linearizable") => Ok(false),
        Some(b"stale") => Ok(true),
        Some(_) => Err(Problem::bad("consistency is linearizable or stale")),
    }
}

/// The preconditions of a request. All of them must hold (RFC 9110 §13.2.2).
#[derive(Debug)]
struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    version: Option<u64>,
}

impl Preconditions {
    fn new(headers: &HeaderMap, parameters: &Parameters) -> Result<Self, Problem> {
        Ok(Self {
            if_match: Tags::read(headers, header::IF_MATCH)?,
            if_none_match: Tags::read(headers, header::IF_NONE_MATCH)?,
            version: parameters.number("version")?,
        })
    }

    /// Whether they hold for a key with this version, or for an absent key.
    fn hold(&self, found: Option<LogIndex>) -> bool {
        let is_version = |representation| found.is_some_and(|found| found.get() == representation);
        self.version.is_none_or(is_version)
            && self.if_match_holds(found)
            && self.if_none_match_holds(found)
    }

    fn if_match_holds(&self, found: Option<LogIndex>) -> bool {
        let tag = found.map(|version| version.to_string());
        let tag = tag.as_ref().map(String::as_bytes);
        let tags = self.if_match.as_ref();
        tags.is_none_or(|tags| tags.match_strongly(tag))
    }

    fn if_none_match_holds(&self, found: Option<LogIndex>) -> bool {
        let tag = found.map(|version| version.to_string());
        let tag = tag.as_ref().map(String::as_bytes);
        let tags = self.if_none_match.as_ref();
        tags.is_none_or(|tags| !tags.match_weakly(tag))
    }

    /// Converts them to one condition of the store, if there is an equivalent.
    fn direct(&self) -> Option<Condition> {
        match (self.version, &self.if_match, &self.if_none_match) {
            (None, None, None) => Some(Condition::Always),
            (Some(version), None, None) => Some(Condition::Version(LogIndex::new(version))),
            (None, Some(Tags::Any), None) => Some(Condition::Present),
            (None, None, Some(Tags::Any)) => Some(Condition::Absent),
            (None, Some(Tags::List(tags)), None) => match &tags[..] {
                [tag] if !tag.weak => {
                    let version: u64 = str::from_utf8(&tag.opaque).ok()?.parse().ok()?;
                    let is_ours = version.to_string().as_bytes() == tag.opaque;
                    is_ours.then(|| Condition::Version(LogIndex::new(version)))
                }
                _ => None,
            },
            _ => None,
        }
    }
}
