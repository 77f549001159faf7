//! The key-value service behind every frontend: it accepts an operation, sends it to the cluster, and
//! reports the outcome.
//!
//! The frontends differ in their protocols. This module contains the shared semantics, so that a
//! request means the same through each frontend: limits on keys and values, rejection during shutdown,
//! and the distinction between an operation that was certainly not executed and an operation with an
//! unknown outcome.

use crate::metrics::{Metrics, Verb};
use client::{
    Stale,
    pool::{Outcome, Pool},
};
use model::{
    FoundStale,
    client::{Ask, Doubt},
    store::{
        Answer, Condition, Found, Key, LimitError, MAX_KEY_BYTES, MAX_SCAN_BYTES, MAX_VALUE_BYTES,
        Operation, Page, Query, Value, Versioned,
    },
};
use std::{sync::Arc, time::Instant};
use tokio::sync::Notify;
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

/// Why an operation returned no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The operation was not executed and never will be.
    #[error("{0}; nothing was done")]
    NotDone(Reason),
    /// The outcome of a write is unknown: it may have been executed, may still be executed, or may
    /// never be executed. It is executed at most once.
    #[error("the outcome is unknown: {}; read the key to find out", doubt(*.0))]
    Unknown(Doubt),
    /// The write would make the state larger than its quota. It was not executed and never will be.
    #[error("{QUOTA}; nothing was done")]
    QuotaExceeded,
    /// A key or a value exceeds the limits of the cluster.
    #[error("{0}")]
    OutsideLimits(LimitError),
}

/// Why an operation was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A read or a new session needs a leader.
    #[error("no leader answered in time: is a majority of the servers up?")]
    NoLeader,
    /// A stale read needs a server.
    #[error("no server answered in time: is any of the servers up?")]
    NoServer,
    /// A write needs a session.
    #[error(
        "no session could be opened, as no leader answered in time: is a majority of the servers up?"
    )]
    NoSession,
    /// All sessions belong to other clients.
    #[error(
        "all client sessions of the cluster are in use: try again in a moment, lower the number of clients, or raise --max-sessions of the servers"
    )]
    SessionsInUse,
    /// Too many operations are queued in the proxy.
    #[error("the proxy has as much to do as it takes on: try again in a moment")]
    ProxyOverloaded,
    /// The leader is overloaded, or too many requests are in flight.
    #[error(
        "the cluster is overloaded, or the proxy has as many requests in flight as it accepts: try again in a moment"
    )]
    ClusterOverloaded,
    /// The proxy is shutting down.
    #[error("the proxy is shutting down: try again in a moment")]
    ShuttingDown,
}

impl Reason {
    /// The machine-readable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoLeader | Self::NoServer | Self::NoSession => "unavailable",
            Self::SessionsInUse => "sessions_in_use",
            Self::ProxyOverloaded | Self::ClusterOverloaded => "overloaded",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

fn doubt(doubt: Doubt) -> &'static str {
    match doubt {
        Doubt::NotConfirmed => {
            "no leader confirmed the write in time, and it may have been carried out, or may yet be, at most once"
        }
        Doubt::Forgotten => {
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
            Found::Pairs(_) => Err(Failure::NotDone(Reason::NoLeader)),
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
            _ => Err(Failure::NotDone(Reason::NoLeader)),
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
            _ => Err(Failure::NotDone(Reason::NoLeader)),
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
            Found::Value(_) => Err(Failure::NotDone(Reason::NoLeader)),
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
        match self.ask(verb, Ask::Read(query)).await? {
            Outcome::Found(found) => Ok(found),
            Outcome::Overloaded => Err(Failure::NotDone(Reason::ProxyOverloaded)),
            Outcome::ClusterOverloaded => Err(Failure::NotDone(Reason::ClusterOverloaded)),
            // A read changes nothing, regardless of its outcome.
            _ => Err(Failure::NotDone(Reason::NoLeader)),
        }
    }

    async fn read_stale(&self, verb: Verb, query: Query) -> Result<FoundStale, Failure> {
        match self.ask(verb, Ask::StaleRead(query)).await? {
            Outcome::FoundStale(found) => Ok(found),
            Outcome::Overloaded => Err(Failure::NotDone(Reason::ProxyOverloaded)),
            Outcome::ClusterOverloaded => Err(Failure::NotDone(Reason::ClusterOverloaded)),
            _ => Err(Failure::NotDone(Reason::NoServer)),
        }
    }

    async fn write(&self, verb: Verb, operation: Operation) -> Result<Answer, Failure> {
        match self.ask(verb, Ask::Write(operation)).await? {
            Outcome::Answered(Answer::QuotaExceeded) => Err(Failure::QuotaExceeded),
            Outcome::Answered(answer) => {
                if matches!(answer, Answer::Written { .. } | Answer::Number { .. }) {
                    self.inner.written.notify_waiters();
                }
                Ok(answer)
            }
            Outcome::NotDone => Err(Failure::NotDone(Reason::NoSession)),
            Outcome::SessionsInUse => Err(Failure::NotDone(Reason::SessionsInUse)),
            Outcome::Overloaded => Err(Failure::NotDone(Reason::ProxyOverloaded)),
            Outcome::ClusterOverloaded => Err(Failure::NotDone(Reason::ClusterOverloaded)),
            Outcome::Unknown(doubt) => Err(Failure::Unknown(doubt)),
            // In all other cases the write may have been executed, so its outcome is unknown.
            _ => Err(Failure::Unknown(Doubt::NotConfirmed)),
        }
    }

    async fn ask(&self, verb: Verb, ask: Ask) -> Result<Outcome, Failure> {
        if self.inner.closing.is_cancelled() {
            return Err(Failure::NotDone(Reason::ShuttingDown));
        }
        let started = Instant::now();
        let outcome = self.inner.pool.ask(ask).await;
        self.inner
            .metrics
            .operation(verb, &outcome, started.elapsed());
        match outcome {
            Outcome::OutsideLimits(error) => Err(Failure::OutsideLimits(error)),
            outcome => Ok(outcome),
        }
    }
}
