//! The key-value service behind every frontend: it accepts an operation, sends it to the cluster, and
//! reports the outcome.
//!
//! The frontends differ in their protocols. This module contains the shared semantics, so that a
//! request means the same through each frontend: limits on keys and values, rejection during shutdown,
//! and the distinction between an operation that was certainly not executed and an operation with an
//! unknown outcome.

use crate::metrics::{Metrics, Verb};
use client::{Stale, pool::Pool};
use model::{
    FoundStale,
    client::{Done, Invocation, NotDone, Outcome, Unknown},
    store::{
        Answer, Condition, Found, Key, MAX_KEY_BYTES, MAX_SCAN_BYTES, MAX_VALUE_BYTES, Operation,
        Page, Query, Value, Versioned,
    },
};
use std::{fmt, sync::Arc};
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// The limits on one request, equal for all frontends.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The maximum length of a key in bytes.
    pub key: usize,
    /// The maximum length of a value in bytes.
    pub value: usize,
    /// The maximum number of keys in one listing. The servers bound its bytes.
    pub listing: u32,
}

const LIMITS: Limits = Limits {
    key: MAX_KEY_BYTES,
    value: MAX_VALUE_BYTES,
    listing: 1000,
};

/// Why an operation returned no result. `Display` describes the failure for a client of the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The operation was not executed and never will be.
    NotDone(NotDone),
    /// The outcome of a write is unknown: it may have been executed, may still be executed, or may
    /// never be executed. It is executed at most once.
    Unknown(Unknown),
    /// The write would make the state larger than its quota. It was not executed and never will be.
    QuotaExceeded,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDone(NotDone::OutsideLimits(error)) => write!(f, "{error}"),
            Self::NotDone(reason) => write!(f, "{}; nothing was done", describe(*reason)),
            Self::Unknown(reason) => write!(
                f,
                "the outcome is unknown: {}; read the key to find out",
                describe_unknown(*reason)
            ),
            Self::QuotaExceeded => write!(f, "{QUOTA}; nothing was done"),
        }
    }
}

impl std::error::Error for Failure {}

/// Why an operation was not executed.
pub(crate) fn describe(reason: NotDone) -> String {
    let text = match reason {
        NotDone::NoLeader => "no leader answered in time: is a majority of the servers up?",
        NotDone::NoServer => "no server answered in time: is any of the servers up?",
        NotDone::NoSession => {
            "no session could be opened, as no leader answered in time: is a majority of the servers up?"
        }
        NotDone::SessionsInUse => {
            "all client sessions of the cluster are in use: try again in a moment, lower the number of clients, or raise --max-sessions of the servers"
        }
        NotDone::QueueFull => "the proxy has as much to do as it takes on: try again in a moment",
        NotDone::Overloaded => {
            "the cluster is overloaded, or the proxy has as many requests in flight as it accepts: try again in a moment"
        }
        NotDone::ShuttingDown => "the proxy is shutting down: try again in a moment",
        NotDone::OutsideLimits(error) => return error.to_string(),
    };
    text.to_owned()
}

/// The machine-readable code of a reason. A violated limit has its own codes.
pub(crate) fn code(reason: NotDone) -> &'static str {
    match reason {
        NotDone::NoLeader | NotDone::NoServer | NotDone::NoSession => "unavailable",
        NotDone::SessionsInUse => "sessions_in_use",
        NotDone::QueueFull | NotDone::Overloaded => "overloaded",
        NotDone::ShuttingDown => "shutting_down",
        NotDone::OutsideLimits(_) => "outside_limits",
    }
}

fn describe_unknown(reason: Unknown) -> &'static str {
    match reason {
        Unknown::NotConfirmed => {
            "no leader confirmed the write in time, and it may have been carried out, or may yet be, at most once"
        }
        Unknown::Forgotten => {
            "the cluster answered that it no longer has the session of the write, which may have been carried out before that, at most once"
        }
    }
}

/// The key-value service. Cheap to clone.
#[derive(Clone)]
pub struct KvService {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    metrics: Arc<Metrics>,
    closing: CancellationToken,
    written: Notify,
}

pub(crate) const QUOTA: &str =
    "the state has reached its quota: delete keys, or raise --state-quota of the servers";

impl KvService {
    /// Creates a service on top of this pool. After `closing` is cancelled, it rejects new operations.
    pub fn new(pool: Pool, metrics: Arc<Metrics>, closing: CancellationToken) -> Self {
        let inner = Arc::new(Inner {
            pool,
            metrics,
            closing,
            written: Notify::new(),
        });
        Self { inner }
    }

    /// The limits on requests.
    pub fn limits(&self) -> Limits {
        LIMITS
    }

    /// The token that is cancelled when the proxy shuts down.
    pub fn closing(&self) -> &CancellationToken {
        &self.inner.closing
    }

    /// The counters of operations.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Notified after every write that took effect through this service.
    pub fn written(&self) -> &Notify {
        &self.inner.written
    }

    /// Reads one key.
    ///
    /// # Errors
    /// See [`Failure`]; a read never returns [`Failure::Unknown`].
    pub async fn get(&self, key: Key) -> Result<Option<Versioned>, Failure> {
        let query = Query::Get { key };
        match self.read(Verb::Get, query).await? {
            Found::Value(value) => Ok(value),
            Found::Pairs(_) => Err(Failure::NotDone(NotDone::NoLeader)),
        }
    }

    /// Reads one key from any server; the value may be stale.
    ///
    /// # Errors
    /// See [`Failure`]; a read never returns [`Failure::Unknown`].
    pub async fn get_stale(&self, key: Key) -> Result<Stale<Option<Versioned>>, Failure> {
        match self.read_stale(Verb::Get, Query::Get { key }).await? {
            FoundStale {
                found: Found::Value(found),
                applied_index,
            } => Ok(Stale {
                found,
                applied_index,
            }),
            _ => Err(Failure::NotDone(NotDone::NoLeader)),
        }
    }

    /// Lists keys from any server; the result may be stale.
    ///
    /// # Errors
    /// See [`Failure`]; a read never returns [`Failure::Unknown`].
    pub async fn scan_stale(
        &self,
        prefix: Key,
        after: Option<Key>,
        limit: u32,
    ) -> Result<Stale<Page>, Failure> {
        let query = Query::Scan {
            prefix,
            after,
            limit,
            bytes: MAX_SCAN_BYTES,
        };
        match self.read_stale(Verb::Scan, query).await? {
            FoundStale {
                found: Found::Pairs(found),
                applied_index,
            } => Ok(Stale {
                found,
                applied_index,
            }),
            _ => Err(Failure::NotDone(NotDone::NoLeader)),
        }
    }

    /// Lists one page of keys with a prefix, after a key. A page may contain fewer than `limit` keys
    /// even if more keys follow; it then sets a flag.
    ///
    /// # Errors
    /// See [`Failure`]; a read never returns [`Failure::Unknown`].
    pub async fn scan(&self, prefix: Key, after: Option<Key>, limit: u32) -> Result<Page, Failure> {
        let query = Query::Scan {
            prefix,
            after,
            limit,
            bytes: MAX_SCAN_BYTES,
        };
        match self.read(Verb::Scan, query).await? {
            Found::Pairs(page) => Ok(page),
            Found::Value(_) => Err(Failure::NotDone(NotDone::NoLeader)),
        }
    }

    /// Sets a key.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn put(
        &self,
        key: Key,
        value: Value,
        condition: Condition,
    ) -> Result<Answer, Failure> {
        let operation = Operation::Put {
            key,
            value,
            condition,
        };
        self.write(Verb::Put, operation).await
    }

    /// Deletes a key.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn delete(&self, key: Key, condition: Condition) -> Result<Answer, Failure> {
        let operation = Operation::Delete { key, condition };
        self.write(Verb::Delete, operation).await
    }

    /// Adds to the integer value of a key.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn increment(&self, key: Key, by: i64) -> Result<Answer, Failure> {
        let operation = Operation::Increment { key, by };
        self.write(Verb::Increment, operation).await
    }

    async fn read(&self, verb: Verb, query: Query) -> Result<Found, Failure> {
        match self.execute(verb, Invocation::Read(query)).await? {
            Done::Found(found) => Ok(found),
            // A read changes nothing, regardless of its outcome.
            _ => Err(Failure::NotDone(NotDone::NoLeader)),
        }
    }

    async fn read_stale(&self, verb: Verb, query: Query) -> Result<FoundStale, Failure> {
        match self.execute(verb, Invocation::StaleRead(query)).await? {
            Done::FoundStale(found) => Ok(found),
            _ => Err(Failure::NotDone(NotDone::NoServer)),
        }
    }

    async fn write(&self, verb: Verb, operation: Operation) -> Result<Answer, Failure> {
        match self.execute(verb, Invocation::Write(operation)).await? {
            Done::Answered(Answer::QuotaExceeded) => Err(Failure::QuotaExceeded),
            Done::Answered(answer) => {
                if matches!(answer, Answer::Written { .. } | Answer::Number { .. }) {
                    self.inner.written.notify_waiters();
                }
                Ok(answer)
            }
            // The write may have been executed, so its outcome is unknown.
            _ => Err(Failure::Unknown(Unknown::NotConfirmed)),
        }
    }

    async fn execute(&self, verb: Verb, invocation: Invocation) -> Result<Done, Failure> {
        if self.inner.closing.is_cancelled() {
            return Err(Failure::NotDone(NotDone::ShuttingDown));
        }
        let started = Instant::now();
        let outcome = self.inner.pool.execute(invocation).await;
        self.inner
            .metrics
            .operation(verb, &outcome, started.elapsed());
        match outcome {
            Outcome::Done(done) => Ok(done),
            Outcome::NotDone(reason) => Err(Failure::NotDone(reason)),
            Outcome::Unknown(reason) => Err(Failure::Unknown(reason)),
        }
    }
}
