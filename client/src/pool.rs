//! Many operations at once over a bounded set of sessions.
//!
//! A [`model::client::Client`] does one operation at a time. A [`Pool`] holds up to
//! [`PoolConfig::max_sessions`] of them, opened as they are needed, and gives each operation to an
//! idle one. When none is idle the operation waits its turn, in order; when
//! [`PoolConfig::max_waiting`] wait already, it is refused as [`Outcome::Overloaded`] at once, so
//! that overload shows as refusals, not as memory.
//!
//! The pool decides nothing about an operation: what is sent, when it is sent again, and what an
//! outcome means is [`model::client`]'s. In particular a session whose write ended
//! [`Outcome::Unknown`] stays in use, because its next write is what settles the unknown one; and
//! sessions are taken last in, first out, so that few are kept busy rather than many half idle
//! (the store evicts the session least recently used). A session that was idle for [`RENEW_AFTER`] is
//! renewed before it is used for a write.
//!
//! When the store refuses to open a session, because all of them are in use, the operation is given
//! to a session that this pool has; only a pool without any reports [`Outcome::SessionsInUse`]. For
//! [`OPEN_PAUSE`] after a refusal a pool that has sessions opens no more.
//!
//! [`Pool::close`] closes the sessions, so that others can use their places.
//!
//! # Names
//! Each client's name is 64 bits drawn at random when it is made, never written down and never
//! used by another run: see the invariants of [`model::client`].
//!
//! # One task
//! A pool has one task, which sleeps until the first timer and carries what is to be sent. It lets
//! every task that can run do so first: operations that are asked for together leave together, in
//! one call of `carry`, and so reach the cluster as one step. No operation has a task or a timer
//! of its own.
//!
//! # What is left out
//! Sockets (`carry` and [`Pool::receive`] are where they attach), and waiting for abandoned operations
//! when the last [`Pool`] is dropped: what they sent may yet take effect.

use crate::timers::Timers;
use model::{
    Address, ClientId, Envelope, FoundStale,
    client::{self, Ask, Client, ClientConfig, Doubt, Event},
    store::{Answer, Found, LimitError},
};
use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    task::{self, JoinHandle},
    time::{self, Instant},
};

/// After how long without use a session is renewed before a write.
pub const RENEW_AFTER: Duration = Duration::from_secs(5);
/// For how long a pool that has sessions opens no more after the store refused one.
pub const OPEN_PAUSE: Duration = Duration::from_secs(1);

/// The settings of a pool.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Where requests go. Responses from anyone else are ignored.
    pub proxy: Address,
    /// Whether the proxy is in this process, and `carry` repeats nothing.
    pub is_in_process: bool,
    /// How many clients, and so sessions, there are at most; at least one, whatever this says.
    /// All pools of a cluster together should stay below the sessions its store keeps.
    pub max_sessions: usize,
    /// How many operations may wait for a session.
    pub max_waiting: usize,
    /// How often a request is sent in all.
    pub max_attempts: u32,
    /// After how long without an answer a request is sent again, or given up. It should outlast
    /// the whole effort of a proxy.
    pub attempt_timeout: Duration,
}

/// What became of an operation: [`model::client::Outcome`], or refused by the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The write was applied, once, and this is what the store said. It may have said that the
    /// condition did not hold.
    Answered(Answer),
    /// The result of the read.
    Found(Found),
    /// A write that may have taken effect, or may yet, or never will; once at the most.
    Unknown(Doubt),
    /// A read that got no answer. A read changes nothing.
    Unavailable,
    /// A write that was never sent: it had no effect and never will.
    NotDone,
    /// Too many operations wait for a session. It was never sent: it had no effect and never will.
    Overloaded,
    /// The result of a stale read.
    FoundStale(FoundStale),
    /// A key or a value is outside of the limits: the operation has no effect and never will.
    OutsideLimits(LimitError),
    /// All sessions of the store are in use, and this pool has none. The write was never sent: it had
    /// no effect and never will.
    SessionsInUse,
    /// The session is closed.
    Closed,
    /// The cluster or the proxy has too much to do. No copy of a write reached a server: it had no
    /// effect and never will.
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

/// How busy a pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Clients made so far.
    pub sessions: usize,
    /// Those that are busy with an operation.
    pub busy: usize,
    /// Operations that wait for one.
    pub waiting: usize,
}

/// A pool of clients. Cheap to clone; its task ends when the last clone is gone.
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
    /// Wakes the driver: there is something to send.
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
    /// Idle clients that got no session, and are not used before `opens_again`.
    refused: Vec<usize>,
    opens_again: Option<Instant>,
    /// By ticket, which counts up: the first is the one that waits longest. Operations that come back
    /// from a client without a session go first.
    waiting: BTreeMap<i64, (Ask, Waiter)>,
    last_ticket: i64,
    /// Whether sessions are closed as soon as they are idle.
    closing: bool,
    timers: Timers<usize>,
    outbox: Vec<Envelope>,
}

struct Session {
    client: Client,
    /// Who is told. Nobody, if the client is idle; perhaps nobody any more, if it is not.
    waiter: Option<Waiter>,
    last_used: Instant,
    /// Whether it is busy with closing its session.
    closing: bool,
}

type Waiter = oneshot::Sender<Outcome>;

/// What is to be told once the state is no longer locked.
type Told = Vec<(Waiter, Outcome)>;

impl Pool {
    /// A pool that sends through `carry`, which may lose, repeat and reorder but should not wait,
    /// and should hold no clone of the pool.
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

    /// Takes responses for the clients of this pool. What is meant for others is ignored.
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

    /// Asks, and waits for the outcome.
    ///
    /// Dropping the future abandons the wait, not the operation: the session finishes it before it
    /// is used again. Only an operation that still waits for a session is taken back.
    pub async fn ask(&self, ask: Ask) -> Outcome {
        let is_write = matches!(ask, Ask::Write(_));
        let (waiter, outcome) = oneshot::channel();
        let Some(ticket) = self.inner.shared.begin(ask, waiter) else {
            return Outcome::Overloaded;
        };
        let _turn = ticket.map(|ticket| Turn {
            shared: &self.inner.shared,
            ticket,
        });
        match outcome.await {
            Ok(outcome) => outcome,
            // Only if the driver was killed with its runtime. What was sent is not known here.
            Err(_) if is_write => Outcome::Unknown(Doubt::NotConfirmed),
            Err(_) => Outcome::Unavailable,
        }
    }

    /// Closes the sessions: those that are idle at once, the others after their operations. Returns
    /// when the store has closed all of them, or after `patience`: what was sent may still close them.
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
        // Beyond its patience nobody waits for the answers.
        let _ = time::timeout(patience, all_idle).await;
    }

    /// How busy the pool is.
    pub fn load(&self) -> Load {
        let state = self.inner.shared.lock();
        Load {
            sessions: state.sessions.len(),
            busy: state.sessions.len() - state.idle.len() - state.refused.len(),
            waiting: state.waiting.len(),
        }
    }
}

/// A place in the queue, given up when nobody waits for it.
struct Turn<'a> {
    shared: &'a Shared,
    ticket: i64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.lock().waiting.remove(&self.ticket);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the operation to a client, or a ticket to wait with, or neither if too many wait.
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

    /// Closes the sessions that are idle, and from now on every session once it is idle.
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

    /// The pool's task: carries what is to be sent, and lets the timers run out.
    async fn drive(self: Arc<Self>) {
        let sleep = time::sleep(Duration::ZERO);
        tokio::pin!(sleep);
        loop {
            let next = self.run_timers();
            if let Some(next) = next
                // A sleep that ends too early does no harm: each deadline is later than the ones
                // before, so one sleep serves all operations begun meanwhile.
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

    /// Lets the timers that have run out do so, sends everything, and says when to look again.
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
    /// An idle client, or a new one if there may be one more.
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

    /// One step of one client, and of the next operation if that ends the one it is busy with.
    fn step(&mut self, config: &PoolConfig, index: usize, event: Event, told: &mut Told) {
        let session = &mut self.sessions[index];
        let effects = session.client.step(event);
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
            // Once: a store that does not answer is not asked for ever.
            None if was_closing => self.idle.push(index),
            None => self.rest(config, index, told),
        }
    }

    /// Gives an operation to a client that is idle, or else to the first that will be: some client
    /// has a session, and if it is not idle it is busy.
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

    /// A client has nothing to do.
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

/// Wakes those who wait. Whoever does not wait any more is not told.
fn tell(told: Told) {
    for (waiter, outcome) in told {
        let _ = waiter.send(outcome);
    }
}

#[cfg(test)]
mod tests;
