//! What every door does: takes an operation, asks the cluster, tells what became of it.
//!
//! The doors differ in how they speak; here is what they have in common, so that the same request
//! means the same through each: limits on keys and values, refusing while closing, and the one
//! distinction that matters, between an operation that certainly was not carried out and one
//! whose outcome nobody knows.

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

/// What one request may hold, through every door.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a key.
    pub key: usize,
    /// Bytes of a value.
    pub value: usize,
    /// Keys in one listing. The servers bound their bytes.
    pub listing: u32,
}

const LIMITS: Limits = Limits {
    key: MAX_KEY_BYTES,
    value: MAX_VALUE_BYTES,
    listing: 1000,
};

/// Why an operation did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It was not carried out and never will be.
    #[error("{0}; nothing was done")]
    NotDone(Reason),
    /// A write that may have been carried out, or may yet be, or never will; at most once.
    #[error("the outcome is unknown: {}; read the key to find out", doubt(*.0))]
    Unknown(Doubt),
    /// The write would make the state larger than its quota. It was not carried out and never will be.
    #[error("{QUOTA}; nothing was done")]
    QuotaExceeded,
    /// A key or a value is outside of the limits of the cluster.
    #[error("{0}")]
    OutsideLimits(LimitError),
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A read or a session needs a leader.
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
    /// All sessions belong to others.
    #[error(
        "all client sessions of the cluster are in use: try again in a moment, lower the number of clients, or raise --max-sessions of the servers"
    )]
    SessionsInUse,
    /// Too many operations wait in the proxy.
    #[error("the proxy has as much to do as it takes on: try again in a moment")]
    ProxyOverloaded,
    /// The leader accepts no more, or too many requests are in flight.
    #[error(
        "the cluster is overloaded, or the proxy has as many requests in flight as it accepts: try again in a moment"
    )]
    ClusterOverloaded,
    /// The proxy stops.
    #[error("the proxy is shutting down: try again in a moment")]
    ShuttingDown,
}

impl Reason {
    /// The name for programs.
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

/// Where the doors take their operations. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
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

impl Desk {
    /// A desk before this pool. Once `closing` is cancelled it refuses new operations.
    pub fn new(pool: Pool, metrics: Arc<Metrics>, closing: CancellationToken) -> Self {
        let inner = Arc::new(Inner {
            pool,
            metrics,
            closing,
            written: Notify::new(),
        });
        Self { inner }
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        LIMITS
    }

    /// Cancelled when the proxy shuts down.
    pub fn closing(&self) -> &CancellationToken {
        &self.inner.closing
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Told after every write that took effect through this desk.
    pub fn written(&self) -> &Notify {
        &self.inner.written
    }

    /// Reads one key.
    ///
    /// # Errors
    /// See [`Failure`]; a read is never unknown.
    pub async fn get(&self, key: Key) -> Result<Option<Versioned>, Failure> {
        let query = Query::Get { key };
        match self.read(Verb::Get, query).await? {
            Found::Value(value) => Ok(value),
            Found::Pairs(_) => Err(Failure::NotDone(Reason::NoLeader)),
        }
    }

    /// Reads one key as any one server has it: perhaps old.
    ///
    /// # Errors
    /// See [`Failure`]; a read is never unknown.
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

    /// Lists keys as any one server has them: perhaps old.
    ///
    /// # Errors
    /// See [`Failure`]; a read is never unknown.
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

    /// Lists keys with a prefix after a key: a page, which may have fewer than `limit` and say that
    /// there are more.
    ///
    /// # Errors
    /// See [`Failure`]; a read is never unknown.
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

    /// Removes a key.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn delete(&self, key: Key, condition: Condition) -> Result<Answer, Failure> {
        let operation = Operation::Delete { key, condition };
        self.write(Verb::Delete, operation).await
    }

    /// Adds to the number a key holds.
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
            // A read changes nothing, whatever became of it.
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
            // Everything else is not known to be undone, and so not said to be.
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
