//! The key-value service behind every frontend: it accepts an operation, sends it to the cluster, and
//! reports the outcome.
//!
//! The frontends differ in their protocols. This module contains the shared semantics, so that a
//! request means the same through each frontend: limits on keys and values, rejection during shutdown,
//! and the distinction between an operation that was certainly not executed and an operation with an
//! unknown outcome.

use crate::metrics::{Metrics, Verb};
use client::{KeyValue, pool::Pool};
use model::{
    client::{Done, Invocation, NotDone, Outcome},
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

/// The machine-readable code of a reason. A violated limit has its own codes.
pub(crate) fn code(reason: NotDone) -> &'static str {
    match reason {
        NotDone::NoLeader
        | NotDone::NoServer
        | NotDone::NoSession
        | NotDone::NotLeader { .. }
        | NotDone::NotTransferred(_) => "unavailable",
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
