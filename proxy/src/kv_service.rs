//! The key-value service behind every frontend: it accepts an operation, sends it to the cluster, and
//! reports the outcome.
//!
//! The frontends differ in their protocols. This module contains the shared semantics, so that a
//! request means the same through each frontend: limits on keys and values, rejection during shutdown,
//! and the distinction between an operation that was certainly not executed and an operation with an
//! unknown outcome.

use crate::metrics::{Metrics, Verb};
use client::{Error, KeyValue, pool::Pool};
use model::{
    client::{Done, Invocation, NotDone, Outcome, Unknown},
    store::{Answer, MAX_KEY_BYTES, MAX_VALUE_BYTES},
};
use std::sync::Arc;
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

/// Describes a failure for a client of the proxy, with its meaning for the outcome. A response that
/// does not match its request leaves the outcome of a write unknown; a read has no effect.
pub(crate) fn message(error: Error) -> String {
    let reason = reason(error);
    match error {
        Error::NotDone(NotDone::OutsideLimits(_)) => reason,
        Error::Unknown(_) | Error::Mismatch => {
            format!("the outcome is unknown: {reason}; read the key to find out")
        }
        _ => format!("{reason}; nothing was done"),
    }
}

/// The reason of a failure, without its meaning for the outcome.
pub(crate) fn reason(error: Error) -> String {
    let text = match error {
        Error::NotDone(reason) => match reason {
            NotDone::NoLeader => "no leader answered in time: is a majority of the servers up?",
            NotDone::NoServer => "no server answered in time: is any of the servers up?",
            NotDone::NoSession => {
                "no session could be opened, as no leader answered in time: is a majority of the servers up?"
            }
            NotDone::SessionsInUse => {
                "all client sessions of the cluster are in use: try again in a moment, lower the number of clients, or raise --max-sessions of the servers"
            }
            NotDone::QueueFull => {
                "the queue of the proxy is full (--max-waiting): try again in a moment"
            }
            NotDone::Overloaded => {
                "the cluster is overloaded, or the proxy has as many requests in flight as it accepts: try again in a moment"
            }
            NotDone::ShuttingDown => "the proxy is shutting down: try again in a moment",
            NotDone::OutsideLimits(error) => return error.to_string(),
        },
        Error::MismatchedRead => {
            "the response does not match the request: the proxy and the servers may have different versions"
        }
        Error::QuotaExceeded => {
            "the state has reached its quota: delete keys, or raise --state-quota of the servers"
        }
        // The words of Redis.
        Error::NotANumber => "value is not an integer or out of range",
        Error::Overflow => "increment or decrement would overflow",
        Error::Unknown(Unknown::NotConfirmed) | Error::Mismatch => {
            "no leader confirmed the write in time; it may have taken effect, or may yet, at most once"
        }
        Error::Unknown(Unknown::Forgotten) => {
            "the cluster no longer has the session of the write, which may have taken effect before, at most once"
        }
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
}

impl KeyValue for KvService {
    /// Executes an operation and counts its outcome. Rejects it during a shutdown.
    async fn execute(&self, invocation: Invocation) -> Outcome {
        if self.inner.closing.is_cancelled() {
            return Outcome::NotDone(NotDone::ShuttingDown);
        }
        let verb = Verb::from_invocation(&invocation);
        let started = Instant::now();
        let outcome = self.inner.pool.execute(invocation).await;
        let metrics = &self.inner.metrics;
        if let Some(verb) = verb {
            metrics.operation(verb, &outcome, started.elapsed());
        }
        if let Outcome::Done(Done::Answered(Answer::Written { .. } | Answer::Number { .. })) =
            outcome
        {
            self.inner.written.notify_waiters();
        }
        outcome
    }
}
