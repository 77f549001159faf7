//! Concurrent operations over a bounded set of sessions: the driver of a
//! [`model::session_pool::SessionPool`].
//!
//! The model decides which client executes an operation, which messages leave, and which outcome an
//! operation has. This module supplies the time, the ids of the clients, and the channels to the
//! callers.
//!
//! # One task
//! A pool has one task, which sleeps until the first timer expires, and sends the pending envelopes.
//! It first yields to all runnable tasks: concurrent operations leave together in one call of `carry`,
//! and so reach the cluster as one step. No operation has a separate task or timer.
//!
//! # Deliberate omissions
//! Sockets (they attach at `carry` and [`Pool::receive`]), and a wait for abandoned operations when
//! the last [`Pool`] is dropped: their requests may still take effect.

use model::{
    ClientId, Envelope,
    client::{Invocation, Outcome, Unknown},
    session_pool::{self, SessionPool, Ticket},
};
use rand::{RngExt as _, rngs::StdRng};
use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    task::{self, JoinHandle},
    time::{self, Instant},
};

pub use model::session_pool::{Load, OPEN_PAUSE, PoolConfig, RENEW_AFTER};

/// A pool of clients. Cheap to clone; its task ends when the last clone is dropped.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    /// The start of the pool's time.
    start: Instant,
    state: Mutex<State>,
    /// Wakes the task: envelopes are pending.
    wake: Notify,
    /// Wakes [`Pool::close`]: a session may be idle.
    idle: Notify,
    carry: Box<dyn Fn(Vec<Envelope>) + Send + Sync>,
}

struct State {
    pool: SessionPool,
    /// The source of the clients' ids.
    random: StdRng,
    last_ticket: u64,
    /// The callers that wait for an outcome.
    callers: HashMap<Ticket, oneshot::Sender<Outcome>>,
    outbox: Vec<Envelope>,
}

impl Pool {
    /// Creates a pool that sends through `carry`. `carry` may lose, duplicate and reorder envelopes.
    /// It should not block, and should not own a clone of the pool. No two pools of a cluster may
    /// have equal generators: the ids of their clients would be equal.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    pub fn new(
        config: PoolConfig,
        random: StdRng,
        carry: impl Fn(Vec<Envelope>) + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            state: Mutex::new(State {
                pool: SessionPool::new(config),
                random,
                last_ticket: 0,
                callers: HashMap::new(),
                outbox: Vec::new(),
            }),
            wake: Notify::new(),
            idle: Notify::new(),
            carry: Box::new(carry),
        });
        let task = tokio::spawn(Arc::clone(&shared).drive());
        Self {
            inner: Arc::new(Inner { shared, task }),
        }
    }

    /// Processes responses for the clients of this pool. Ignores all other envelopes.
    pub fn receive(&self, envelopes: Vec<Envelope>) {
        self.inner
            .shared
            .step(envelopes.into_iter().map(session_pool::Event::Receive));
        self.inner.shared.idle.notify_waiters();
    }

    /// Executes an operation and returns its outcome.
    ///
    /// Dropping the future abandons the operation: see [`model::session_pool`].
    pub async fn execute(&self, invocation: Invocation) -> Outcome {
        self.submit(invocation).outcome().await
    }

    /// Executes an operation and returns its outcome, at the latest after `limit`. Then the outcome of
    /// a write is [`Outcome::Unknown`] if a copy of it was sent, and [`Outcome::NotDone`] otherwise.
    pub async fn execute_within(&self, invocation: Invocation, limit: Duration) -> Outcome {
        let mut call = self.submit(invocation);
        if let Ok(outcome) = time::timeout(limit, call.outcome()).await {
            return outcome;
        }
        // The pool reports the outcome now, unless it has just reported it.
        call.abandon();
        call.outcome().await
    }

    fn submit(&self, invocation: Invocation) -> Call<'_> {
        let shared = &self.inner.shared;
        let (sender, receiver) = oneshot::channel();
        let mut state = shared.lock();
        state.last_ticket += 1;
        let ticket = Ticket(state.last_ticket);
        state.callers.insert(ticket, sender);
        let submitted = session_pool::Event::Submit {
            ticket,
            invocation,
            new_client: ClientId::new(state.random.random()),
        };
        shared.step_locked(state, [submitted]);
        Call {
            shared,
            ticket,
            receiver,
            is_over: false,
        }
    }

    /// Whether a write was ever sent.
    pub fn has_sent_write(&self) -> bool {
        self.inner.shared.lock().pool.has_sent_write()
    }

    /// Closes the sessions: idle sessions immediately, busy sessions after their operations. Returns
    /// when the store has closed all of them, or after `patience`; the requests sent may still close
    /// the rest.
    pub async fn close(&self, patience: Duration) {
        let shared = &self.inner.shared;
        shared.step([session_pool::Event::Close]);
        let all_idle = async {
            loop {
                let changed = shared.idle.notified();
                if self.load().busy == 0 {
                    return;
                }
                changed.await;
            }
        };
        // After this timeout the responses are ignored.
        let _ = time::timeout(patience, all_idle).await;
    }

    /// The current load.
    pub fn load(&self) -> Load {
        self.inner.shared.lock().pool.load()
    }
}

/// The wait for an outcome. Dropping it abandons the operation.
struct Call<'a> {
    shared: &'a Shared,
    ticket: Ticket,
    receiver: oneshot::Receiver<Outcome>,
    is_over: bool,
}

impl Call<'_> {
    async fn outcome(&mut self) -> Outcome {
        let outcome = (&mut self.receiver).await;
        self.is_over = true;
        // The pool keeps the sender until it has the outcome.
        outcome.unwrap_or(Outcome::Unknown(Unknown::NotConfirmed))
    }

    fn abandon(&self) {
        self.shared
            .step([session_pool::Event::Abandon(self.ticket)]);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.abandon();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, events: impl IntoIterator<Item = session_pool::Event>) {
        self.step_locked(self.lock(), events);
    }

    /// Steps the pool for each event, reports the outcomes, and wakes the task for pending envelopes.
    fn step_locked(
        &self,
        mut state: MutexGuard<'_, State>,
        events: impl IntoIterator<Item = session_pool::Event>,
    ) {
        let mut reports = Vec::new();
        let was_empty = state.outbox.is_empty();
        // Read under the lock, so that the pool's time never decreases.
        let now = self.start.elapsed();
        for event in events {
            let mut effects = state.pool.step(now, event);
            state.outbox.append(&mut effects.sends);
            for (ticket, outcome) in effects.outcomes {
                let caller = state.callers.remove(&ticket);
                reports.extend(caller.map(|caller| (caller, outcome)));
            }
        }
        let is_pending = was_empty && !state.outbox.is_empty();
        drop(state);
        if is_pending {
            self.wake.notify_one();
        }
        for (caller, outcome) in reports {
            // A caller that was dropped needs no outcome.
            let _ = caller.send(outcome);
        }
    }

    /// The task of the pool: sends pending envelopes and processes expired timers.
    async fn drive(self: Arc<Self>) {
        let sleep = time::sleep(Duration::ZERO);
        tokio::pin!(sleep);
        loop {
            let next = self.run_timers();
            if let Some(next) = next
                // An early wakeup is harmless: new deadlines are later than all earlier ones, so one
                // sleep serves all operations that began in between.
                && (sleep.is_elapsed() || next < sleep.deadline())
            {
                sleep.as_mut().reset(next);
            }
            tokio::select! {
                biased;
                () = self.wake.notified() => task::yield_now().await,
                () = &mut sleep, if next.is_some() => {}
            }
        }
    }

    /// Processes expired timers, sends all envelopes, and returns the next deadline.
    fn run_timers(&self) -> Option<Instant> {
        self.step([session_pool::Event::Timeout]);
        let mut state = self.lock();
        let outbox = mem::take(&mut state.outbox);
        let next = state.pool.next_timeout();
        drop(state);
        if !outbox.is_empty() {
            (self.carry)(outbox);
        }
        self.idle.notify_waiters();
        Some(self.start + next?)
    }
}

#[cfg(test)]
mod tests;
