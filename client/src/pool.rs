//! Concurrent operations over a bounded set of sessions.
//!
//! A [`model::client::Client`] executes one operation at a time. A [`Pool`] has up to
//! [`PoolConfig::max_sessions`] clients, opened on demand, and assigns each operation to an idle
//! client. If no client is idle, the operation waits in a FIFO queue. If [`PoolConfig::max_waiting`]
//! operations are queued already, the pool rejects it immediately as [`Outcome::Overloaded`], so that
//! overload causes rejections and not memory growth.
//!
//! The pool makes no protocol decisions: [`model::client`] decides about requests, retries and
//! outcomes. In particular, a session whose write ended as [`Outcome::Unknown`] stays in use, because
//! its next write settles the unknown one. Sessions are reused last in, first out, so that a few
//! sessions are busy instead of many sessions half idle (the store evicts the least recently used
//! session). A session that was idle for [`RENEW_AFTER`] is renewed before its next write.
//!
//! If the store refuses to open a session because all sessions are in use, an existing session of this
//! pool executes the operation. Only a pool without any session reports [`Outcome::SessionsInUse`].
//! For [`OPEN_PAUSE`] after a refusal, a pool with sessions opens no further session.
//!
//! [`Pool::close`] closes the sessions, so that other clients can use their places.
//!
//! # Ids
//! Each client has a random id of 64 bits, which is never stored and never reused by another run: see
//! the invariants of [`model::client`].
//!
//! # One task
//! A pool has one task, which sleeps until the first timer expires, and sends the pending envelopes.
//! It first yields to all runnable tasks: concurrent operations leave together in one call of `carry`,
//! and so reach the cluster as one step. No operation has a separate task or timer.
//!
//! # Deliberate omissions
//! Sockets (they attach at `carry` and [`Pool::receive`]), and a wait for abandoned operations when
//! the last [`Pool`] is dropped: their requests may still take effect.

use crate::timers::Timers;
use model::{
    Address, ClientId, Envelope, FoundStale, Message,
    client::{self, Ask, Client, ClientConfig, Doubt, Event},
    message::RequestBody,
    store::{Answer, Found, LimitError},
};
use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    task::{self, JoinHandle},
    time::{self, Instant},
};

/// The idle time after which a session is renewed before a write.
pub const RENEW_AFTER: Duration = Duration::from_secs(5);
/// The time for which a pool with sessions opens no further session after the store refused one.
pub const OPEN_PAUSE: Duration = Duration::from_secs(1);

/// The configuration of a pool.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// The destination of requests. Responses from other addresses are ignored.
    pub proxy: Address,
    /// Whether the proxy is in this process and `carry` never duplicates messages.
    pub is_in_process: bool,
    /// The maximum number of clients, and so of sessions; values below 1 count as 1. The total of all
    /// pools of a cluster should stay below the session limit of its store.
    pub max_sessions: usize,
    /// The maximum number of operations that are queued for a session.
    pub max_waiting: usize,
    /// The maximum number of attempts per request.
    pub max_attempts: u32,
    /// The timeout of one attempt, after which the request is retransmitted or given up. It should
    /// exceed the total time of a proxy's attempts.
    pub attempt_timeout: Duration,
}

/// The outcome of an operation: [`model::client::Outcome`], or a rejection by the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write was applied exactly once, with this result. The result may be a condition that did
    /// not hold.
    Answered(Answer),
    /// The result of the read.
    Found(Found),
    /// The outcome of a write is unknown: it may have taken effect, may still take effect, or may
    /// never take effect. It takes effect at most once.
    Unknown(Doubt),
    /// A read without a response. A read has no effect.
    Unavailable,
    /// A write that was never sent. It has no effect and never will.
    NotDone,
    /// Too many operations are queued. The operation was never sent: it has no effect and never will.
    Overloaded,
    /// The result of a stale read.
    FoundStale(FoundStale),
    /// A key or a value exceeds the limits: the operation has no effect and never will.
    OutsideLimits(LimitError),
    /// All sessions of the store are in use, and this pool has none. The write was never sent: it has
    /// no effect and never will.
    SessionsInUse,
    /// The session is closed.
    Closed,
    /// The cluster or the proxy is overloaded. No copy of a write reached a server: it has no effect
    /// and never will.
    ClusterOverloaded,
}

impl From<client::Outcome> for Outcome {
    fn from(outcome: client::Outcome) -> Self {
        match outcome {
            client::Outcome::Answered(answer) => Self::Answered(answer),
            client::Outcome::Found(found) => Self::Found(found),
            client::Outcome::Unknown(doubt) => Self::Unknown(doubt),
            client::Outcome::Unavailable => Self::Unavailable,
            client::Outcome::NotDone => Self::NotDone,
            client::Outcome::FoundStale(found) => Self::FoundStale(found),
            client::Outcome::OutsideLimits(error) => Self::OutsideLimits(error),
            client::Outcome::SessionsInUse(_) => Self::SessionsInUse,
            client::Outcome::Closed => Self::Closed,
            client::Outcome::Overloaded => Self::ClusterOverloaded,
        }
    }
}

/// The current load of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The number of clients.
    pub sessions: usize,
    /// The number of clients that are executing an operation.
    pub busy: usize,
    /// The number of queued operations.
    pub waiting: usize,
}

/// A pool of clients. Cheap to clone; its task ends when the last clone is dropped.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    driver: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

struct Shared {
    config: PoolConfig,
    state: Mutex<State>,
    /// Wakes the task: envelopes are pending.
    wake: Notify,
    /// Wakes [`Pool::close`]: a session became idle.
    idle: Notify,
    carry: Box<dyn Fn(Vec<Envelope>) + Send + Sync>,
}

#[derive(Default)]
struct State {
    sessions: Vec<Session>,
    by_id: HashMap<ClientId, usize>,
    idle: Vec<usize>,
    /// Idle clients that got no session. They are not used before `opens_again`.
    refused: Vec<usize>,
    opens_again: Option<Instant>,
    /// The queue, by ticket; the lowest ticket has waited longest. An operation that a client without
    /// a session returns goes to the front.
    waiting: BTreeMap<i64, (Ask, Waiter)>,
    last_ticket: i64,
    /// Whether each session is closed as soon as it is idle.
    closing: bool,
    /// Whether a write was ever sent.
    has_sent_write: bool,
    timers: Timers<usize>,
    outbox: Vec<Envelope>,
}

struct Session {
    client: Client,
    /// The receiver of the outcome. `None` if the client is idle; a busy client's receiver may be
    /// dropped.
    waiter: Option<Waiter>,
    last_used: Instant,
    /// Whether the client is closing its session.
    closing: bool,
}

/// The receiver of an outcome.
struct Waiter {
    sender: oneshot::Sender<Outcome>,
    progress: Arc<Progress>,
}

/// The progress of an operation. Changes under the lock of the pool only.
#[derive(Debug, Default)]
struct Progress {
    /// Whether a copy of the write was sent.
    has_sent_write: AtomicBool,
    /// Whether the write must not be sent any more.
    is_withdrawn: AtomicBool,
}

/// Outcomes to report after the lock is released.
type Told = Vec<(Waiter, Outcome)>;

impl Pool {
    /// Creates a pool that sends through `carry`. `carry` may lose, duplicate and reorder envelopes.
    /// It should not block, and should not own a clone of the pool.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    pub fn new(config: PoolConfig, carry: impl Fn(Vec<Envelope>) + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            config,
            state: Mutex::default(),
            wake: Notify::new(),
            idle: Notify::new(),
            carry: Box::new(carry),
        });
        let driver = tokio::spawn(Arc::clone(&shared).drive());
        Self {
            inner: Arc::new(Inner { shared, driver }),
        }
    }

    /// Processes responses for the clients of this pool. Ignores all other envelopes.
    pub fn receive(&self, envelopes: Vec<Envelope>) {
        let shared = &self.inner.shared;
        let mut told = Told::new();
        let mut state = shared.lock();
        let was_empty = state.outbox.is_empty();
        for Envelope { from, to, message } in envelopes {
            if let Address::Client(id) = to
                && let Some(index) = state.by_id.get(&id).copied()
            {
                let event = Event::Receive { from, message };
                state.step(&shared.config, index, event, &mut told);
            }
        }
        let wake = was_empty && !state.outbox.is_empty();
        drop(state);
        if wake {
            shared.wake.notify_one();
        }
        shared.idle.notify_waiters();
        tell(told);
    }

    /// Executes an operation and returns its outcome.
    ///
    /// Dropping the future abandons the wait. An operation that is still queued is withdrawn, and a
    /// write that was not sent yet is never sent. Otherwise the session finishes the operation before
    /// its next use.
    pub async fn ask(&self, ask: Ask) -> Outcome {
        self.begin(ask, None).await
    }

    /// Executes an operation and returns its outcome, at the latest after `limit`. Then the outcome of
    /// a write is [`Outcome::Unknown`] if a copy of it was sent, and [`Outcome::NotDone`] otherwise.
    pub async fn ask_within(&self, ask: Ask, limit: Duration) -> Outcome {
        self.begin(ask, Some(limit)).await
    }

    async fn begin(&self, ask: Ask, limit: Option<Duration>) -> Outcome {
        let is_write = matches!(ask, Ask::Write(_));
        let (sender, outcome) = oneshot::channel();
        let shared = &self.inner.shared;
        let mut wait = Wait {
            shared,
            progress: Arc::default(),
            ticket: None,
            is_over: false,
        };
        let progress = Arc::clone(&wait.progress);
        let Some(ticket) = shared.begin(ask, Waiter { sender, progress }) else {
            return Outcome::Overloaded;
        };
        wait.ticket = ticket;
        let outcome = match limit {
            Some(limit) => time::timeout(limit, outcome).await,
            None => Ok(outcome.await),
        };
        wait.is_over = outcome.is_ok();
        match outcome {
            Ok(Ok(outcome)) => outcome,
            // This happens only if the task was killed with its runtime. The pool does not know then
            // whether the write was sent.
            Ok(Err(_)) if is_write => Outcome::Unknown(Doubt::NotConfirmed),
            Err(_) if is_write && wait.withdraw() => Outcome::NotDone,
            Err(_) if is_write => Outcome::Unknown(Doubt::NotConfirmed),
            _ => Outcome::Unavailable,
        }
    }

    /// Whether a write was ever sent.
    pub fn has_sent_write(&self) -> bool {
        self.inner.shared.lock().has_sent_write
    }

    /// Closes the sessions: idle sessions immediately, busy sessions after their operations. Returns
    /// when the store has closed all of them, or after `patience`; the requests sent may still close
    /// the rest.
    pub async fn close(&self, patience: Duration) {
        let shared = &self.inner.shared;
        shared.close_idle();
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
        let state = self.inner.shared.lock();
        Load {
            sessions: state.sessions.len(),
            busy: state.sessions.len() - state.idle.len() - state.refused.len(),
            waiting: state.waiting.len(),
        }
    }
}

/// The wait for an outcome. Dropping it withdraws the operation as far as possible.
struct Wait<'a> {
    shared: &'a Shared,
    progress: Arc<Progress>,
    /// The position in the queue.
    ticket: Option<i64>,
    is_over: bool,
}

impl Wait<'_> {
    /// Makes sure that the write is not sent any more. Returns whether it was never sent.
    fn withdraw(&self) -> bool {
        let mut state = self.shared.lock();
        self.progress.is_withdrawn.store(true, Relaxed);
        if let Some(ticket) = &self.ticket {
            state.waiting.remove(ticket);
        }
        !self.progress.has_sent_write.load(Relaxed)
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.withdraw();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Assigns the operation to a client (`Some(None)`), or queues it (`Some(Some(ticket))`). Returns
    /// `None` if the queue is full.
    fn begin(&self, ask: Ask, waiter: Waiter) -> Option<Option<i64>> {
        let mut told = Told::new();
        let mut state = self.lock();
        let Some(index) = state.free_session(&self.config) else {
            if state.waiting.len() >= self.config.max_waiting {
                return None;
            }
            state.last_ticket += 1;
            let ticket = state.last_ticket;
            state.waiting.insert(ticket, (ask, waiter));
            return Some(Some(ticket));
        };
        let was_empty = state.outbox.is_empty();
        state.invoke(&self.config, index, ask, waiter, &mut told);
        let wake = was_empty && !state.outbox.is_empty();
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        tell(told);
        Some(None)
    }

    /// Closes all idle sessions, and from now on every session as soon as it is idle.
    fn close_idle(&self) {
        let mut told = Told::new();
        let mut state = self.lock();
        state.closing = true;
        for index in mem::take(&mut state.idle) {
            state.rest(&self.config, index, &mut told);
        }
        drop(state);
        self.wake.notify_one();
        tell(told);
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
        let mut told = Told::new();
        let mut state = self.lock();
        let now = Instant::now();
        while let Some(index) = state.timers.pop_due(now) {
            state.step(&self.config, index, Event::Timeout, &mut told);
        }
        let outbox = mem::take(&mut state.outbox);
        let next = state.timers.next();
        drop(state);
        if !outbox.is_empty() {
            (self.carry)(outbox);
        }
        self.idle.notify_waiters();
        tell(told);
        next
    }
}

impl State {
    /// Returns an idle client, or a new client if the limit permits.
    fn free_session(&mut self, config: &PoolConfig) -> Option<usize> {
        if let Some(index) = self.idle.pop() {
            return Some(index);
        }
        if let Some(again) = self.opens_again {
            if Instant::now() < again && self.has_session() {
                return None;
            }
            self.opens_again = None;
        }
        if let Some(index) = self.refused.pop() {
            return Some(index);
        }
        let index = self.sessions.len();
        if index >= config.max_sessions.max(1) {
            return None;
        }
        let id = loop {
            let id = ClientId::new(rand::random());
            if !self.by_id.contains_key(&id) {
                break id;
            }
        };
        let mut client = ClientConfig::new(config.proxy, config.max_attempts);
        client.is_in_process = config.is_in_process;
        let client = Client::new(id, client);
        self.by_id.insert(id, index);
        self.sessions.push(Session {
            client,
            waiter: None,
            last_used: Instant::now(),
            closing: false,
        });
        Some(index)
    }

    fn invoke(
        &mut self,
        config: &PoolConfig,
        index: usize,
        ask: Ask,
        waiter: Waiter,
        told: &mut Told,
    ) {
        let session = &mut self.sessions[index];
        assert!(
            session.client.is_idle(),
            "one operation of a client at a time"
        );
        session.waiter = Some(waiter);
        let ask = match ask {
            Ask::Write(operation) if session.last_used.elapsed() >= RENEW_AFTER => {
                Ask::WriteAfterIdle(operation)
            }
            ask => ask,
        };
        self.step(config, index, Event::Invoke(ask), told);
    }

    /// Executes one step of one client. If the step completes its operation, starts the next one.
    fn step(&mut self, config: &PoolConfig, index: usize, event: Event, told: &mut Told) {
        let session = &mut self.sessions[index];
        let mut effects = session.client.step(event);
        if effects.sends.iter().any(is_write) {
            match &session.waiter {
                // The client cannot take an operation back, so the write is lost like a datagram. A
                // write that was sent before keeps its retransmissions.
                Some(waiter) if waiter.progress.is_lost() => {
                    effects.sends.retain(|envelope| !is_write(envelope));
                }
                waiter => {
                    self.has_sent_write = true;
                    if let Some(waiter) = waiter {
                        waiter.progress.has_sent_write.store(true, Relaxed);
                    }
                }
            }
        }
        self.outbox.extend(effects.sends);
        if effects.timer {
            let deadline = Instant::now() + config.attempt_timeout;
            self.timers.arm(index, deadline);
        }
        let Some(outcome) = effects.outcome else {
            return;
        };
        self.timers.disarm(&index);
        let waiter = session.waiter.take();
        let was_closing = mem::take(&mut session.closing);
        if !matches!(
            outcome,
            client::Outcome::Found(_) | client::Outcome::FoundStale(_)
        ) {
            session.last_used = Instant::now();
        }
        let outcome = match outcome {
            client::Outcome::SessionsInUse(operation) if self.has_session() => {
                self.opens_again = Some(Instant::now() + OPEN_PAUSE);
                self.refused.push(index);
                if let Some(waiter) = waiter {
                    self.give_to_another(config, Ask::Write(operation), waiter, told);
                }
                return;
            }
            outcome => outcome,
        };
        if let Some(waiter) = waiter {
            told.push((waiter, outcome.into()));
        }
        match self.waiting.pop_first() {
            Some((_, (ask, waiter))) => self.invoke(config, index, ask, waiter, told),
            // Only one attempt: a store that does not respond gets no further request to close.
            None if was_closing => self.idle.push(index),
            None => self.rest(config, index, told),
        }
    }

    /// Assigns an operation to an idle client, or else queues it at the front. At least one client has
    /// a session; if that client is not idle, it is busy.
    fn give_to_another(&mut self, config: &PoolConfig, ask: Ask, waiter: Waiter, told: &mut Told) {
        match self.idle.pop() {
            Some(index) => self.invoke(config, index, ask, waiter, told),
            None => {
                let first = self
                    .waiting
                    .first_key_value()
                    .map_or(0, |(first, _)| *first);
                self.waiting.insert(first.min(0) - 1, (ask, waiter));
            }
        }
    }

    /// Handles a client that has become idle.
    fn rest(&mut self, config: &PoolConfig, index: usize, told: &mut Told) {
        let session = &mut self.sessions[index];
        if self.closing && session.client.session().is_some() {
            session.closing = true;
            self.step(config, index, Event::Invoke(Ask::CloseSession), told);
        } else {
            self.idle.push(index);
        }
    }

    fn has_session(&self) -> bool {
        let mut sessions = self.sessions.iter();
        sessions.any(|session| session.client.session().is_some())
    }
}

impl Progress {
    /// Whether the write was withdrawn before a copy of it was sent.
    fn is_lost(&self) -> bool {
        self.is_withdrawn.load(Relaxed) && !self.has_sent_write.load(Relaxed)
    }
}

fn is_write(envelope: &Envelope) -> bool {
    matches!(
        &envelope.message,
        Message::ClientRequest(request) if matches!(request.body, RequestBody::Write { .. })
    )
}

/// Reports outcomes. A dropped receiver is ignored.
fn tell(told: Told) {
    for (waiter, outcome) in told {
        let _ = waiter.sender.send(outcome);
    }
}

#[cfg(test)]
mod tests;
