//! Concurrent operations over a bounded set of sessions, as a pure step function.
//!
//! A [`Client`] executes one operation at a time. A [`SessionPool`] has up to
//! [`PoolConfig::max_sessions`] clients, opened on demand, and assigns each operation to an idle
//! client. If no client is idle, the operation waits in a FIFO queue. If
//! [`PoolConfig::max_waiting`] operations are queued already, the pool rejects it immediately as
//! [`NotDone::QueueFull`], so that overload causes rejections and not memory growth.
//!
//! [`SessionPool::step`] takes the time and one [`Event`] and returns the [`Effects`] that the
//! driver must carry out. [`SessionPool::next_timeout`] is the time of the next [`Event::Timeout`].
//!
//! The pool makes no decisions about the protocol: [`crate::client`] decides about requests,
//! retries and outcomes. In particular, a session whose write ended as [`Outcome::Unknown`] stays
//! in use, because its next write settles the unknown one. Sessions are reused last in, first out,
//! so that a few sessions are busy instead of many sessions half idle (the store evicts the least
//! recently used session). A session that was idle for [`RENEW_AFTER`] is renewed before its next
//! write.
//!
//! If the store refuses to open a session because all sessions are in use, an existing session of
//! this pool executes the operation. Only a pool without any session reports
//! [`NotDone::SessionsInUse`]. For [`OPEN_PAUSE`] after a refusal, a pool with sessions opens no
//! further session.
//!
//! [`Event::Close`] closes the sessions, so that other clients can open sessions.
//!
//! # Abandoned operations
//! A caller that stops waiting abandons its operation. An operation that is still queued leaves the
//! queue. A client cannot withdraw its operation, so it finishes it before its next one. A write that
//! was not sent yet is never sent, and its client is idle again at once.
//!
//! # Invariants
//! * An operation has exactly one outcome, also if it is abandoned.
//! * No copy of a write that ends as not done was applied, and none ever will be.
//! * State grows only with clients and with queued operations. Both are bounded: besides the
//!   [`PoolConfig::max_waiting`] operations, the queue contains at most one operation of each client,
//!   for which the store refused to open a session.
//!
//! # Ids
//! Each client has a random id of 64 bits, which the driver draws. It is never stored and never
//! reused by another run: see the invariants of [`crate::client`].

use crate::{
    Address, ClientId, Envelope, Message,
    client::{self, Client, ClientConfig, Done, Invocation, NotDone, Outcome, Unknown},
    message::RequestBody,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{mem, time::Duration};

/// The idle time after which a session is renewed before a write.
pub const RENEW_AFTER: Duration = Duration::from_secs(5);
/// The time for which a pool with sessions opens no further session after the store refused one.
pub const OPEN_PAUSE: Duration = Duration::from_secs(1);

/// The configuration of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PoolConfig {
    /// The destination of requests. Responses from other addresses are ignored.
    pub proxy: Address,
    /// Whether the proxy is in this process, and the way to it never duplicates messages.
    pub is_in_process: bool,
    /// The maximum number of clients, and so of sessions; values below 1 count as 1. The total of
    /// all pools of a cluster should stay below the session limit of its store.
    pub max_sessions: usize,
    /// The maximum number of operations that are queued for a session.
    pub max_waiting: usize,
    /// The maximum number of attempts per request.
    pub max_attempts: u32,
    /// The timeout of one attempt, after which the request is retransmitted or given up. It should
    /// exceed the total time of a proxy's attempts.
    pub attempt_timeout: Duration,
}

/// The number of an operation. The driver assigns the numbers in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// An input of the step function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A caller submits an operation.
    Submit {
        /// The number of the operation, greater than all earlier ones.
        ticket: Ticket,
        /// The operation.
        invocation: Invocation,
        /// A random id, for the client that the pool may create.
        new_client: ClientId,
    },
    /// The caller of an operation stops waiting.
    Abandon(Ticket),
    /// A message was received. It may be delayed, duplicated or reordered.
    Receive(Envelope),
    /// [`SessionPool::next_timeout`] has passed.
    Timeout,
    /// The sessions close: idle sessions immediately, busy sessions after their operations.
    Close,
}

/// The work that a step leaves to the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The messages that may leave now.
    pub sends: Vec<Envelope>,
    /// The outcomes of operations that ended. For an abandoned operation this is its outcome as far
    /// as it is known then.
    pub outcomes: Vec<(Ticket, Outcome)>,
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

/// A pool of clients. See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionPool {
    config: PoolConfig,
    sessions: Vec<Session>,
    by_id: BTreeMap<ClientId, usize>,
    /// The idle clients, by index.
    idle: Vec<usize>,
    /// Idle clients that got no session. They are not used before `opens_again`.
    refused: Vec<usize>,
    opens_again: Option<Duration>,
    /// The queue. An operation that a client without a session returned goes back to its
    /// position, by ticket.
    waiting: BTreeMap<Ticket, Invocation>,
    /// The operations that clients execute and callers wait for, with the index of the client.
    assigned: BTreeMap<Ticket, usize>,
    /// The armed timers: deadlines of attempts, with the index of the client.
    timers: BTreeSet<(Duration, usize)>,
    /// Whether each session is closed as soon as it is idle.
    is_closing: bool,
    has_sent_write: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Session {
    client: Client,
    /// The current use of the client. `None` if it is idle.
    running: Option<Running>,
    /// The time of the last response to a write.
    last_used: Duration,
    /// The deadline of the current attempt.
    deadline: Option<Duration>,
}

/// The current use of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Running {
    Operation {
        /// The operation whose caller waits. `None` once it is abandoned.
        ticket: Option<Ticket>,
        /// The reason to give if it was not done.
        not_done: NotDone,
        /// Whether a copy of the write was sent.
        is_sent: bool,
    },
    /// The pool closes the session.
    Closing,
}

impl SessionPool {
    /// Creates a pool without sessions.
    pub fn new(config: PoolConfig) -> Self {
        Self {
            config,
            sessions: Vec::new(),
            by_id: BTreeMap::new(),
            idle: Vec::new(),
            refused: Vec::new(),
            opens_again: None,
            waiting: BTreeMap::new(),
            assigned: BTreeMap::new(),
            timers: BTreeSet::new(),
            is_closing: false,
            has_sent_write: false,
        }
    }

    /// Handles one event and returns its effects. `now` is the time since an arbitrary start. It
    /// should not decrease: a decrease delays timeouts.
    pub fn step(&mut self, now: Duration, event: Event) -> Effects {
        let mut effects = Effects::default();
        match event {
            Event::Submit {
                ticket,
                invocation,
                new_client,
            } => self.submit(now, ticket, invocation, new_client, &mut effects),
            Event::Abandon(ticket) => self.abandon(ticket, &mut effects),
            Event::Receive(Envelope { from, to, message }) => {
                if let Some(index) = self.index_of(to) {
                    let event = client::Event::Receive { from, message };
                    self.advance(now, index, event, &mut effects);
                }
            }
            Event::Timeout => {
                while let Some((deadline, index)) = self.timers.first().copied()
                    && deadline <= now
                {
                    self.disarm(index);
                    self.advance(now, index, client::Event::Timeout, &mut effects);
                }
            }
            Event::Close => {
                self.is_closing = true;
                for index in mem::take(&mut self.idle) {
                    if let Some(event) = self.make_idle(index) {
                        self.advance(now, index, event, &mut effects);
                    }
                }
            }
        }
        effects
    }

    /// The time of the next timeout. `None` if no request is in flight.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.timers.first().map(|(deadline, _)| *deadline)
    }

    /// The current load.
    pub fn load(&self) -> Load {
        Load {
            sessions: self.sessions.len(),
            busy: self.sessions.len() - self.idle.len() - self.refused.len(),
            waiting: self.waiting.len(),
        }
    }

    /// Whether a write was ever sent.
    pub fn has_sent_write(&self) -> bool {
        self.has_sent_write
    }

    /// Whether this address belongs to a client of this pool.
    pub fn owns(&self, address: Address) -> bool {
        self.index_of(address).is_some()
    }

    /// The queued operations, in order.
    pub fn queued(&self) -> impl Iterator<Item = Ticket> {
        self.waiting.keys().copied()
    }

    fn index_of(&self, address: Address) -> Option<usize> {
        match address {
            Address::Client(id) => self.by_id.get(&id).copied(),
            _ => None,
        }
    }

    fn submit(
        &mut self,
        now: Duration,
        ticket: Ticket,
        invocation: Invocation,
        new_client: ClientId,
        effects: &mut Effects,
    ) {
        if let Some(index) = self.free_session(now, new_client) {
            let event = self.assign(now, index, ticket, invocation);
            self.advance(now, index, event, effects);
        } else if self.waiting.len() < self.config.max_waiting {
            self.waiting.insert(ticket, invocation);
        } else {
            let outcome = Outcome::NotDone(NotDone::QueueFull);
            effects.outcomes.push((ticket, outcome));
        }
    }

    /// Ends the wait for an operation. The client cannot take the operation back, so it finishes it
    /// before its next one.
    fn abandon(&mut self, abandoned: Ticket, effects: &mut Effects) {
        let outcome = match self.waiting.remove(&abandoned) {
            Some(invocation) => Outcome::NotDone(invocation.not_done()),
            None => match self.withdraw(abandoned) {
                Some(outcome) => outcome,
                None => return,
            },
        };
        effects.outcomes.push((abandoned, outcome));
    }

    /// Marks a client's operation as abandoned. Returns its outcome as far as it is known.
    fn withdraw(&mut self, abandoned: Ticket) -> Option<Outcome> {
        let index = self.assigned.remove(&abandoned)?;
        let Some(Running::Operation {
            ticket,
            not_done,
            is_sent,
        }) = &mut self.sessions[index].running
        else {
            return None;
        };
        *ticket = None;
        Some(if *is_sent {
            Outcome::Unknown(Unknown::NotConfirmed)
        } else {
            Outcome::NotDone(*not_done)
        })
    }

    /// Returns an idle client, or a new client if the limit permits.
    fn free_session(&mut self, now: Duration, new_client: ClientId) -> Option<usize> {
        if let Some(index) = self.idle.pop() {
            return Some(index);
        }
        if let Some(again) = self.opens_again {
            if now < again && self.has_session() {
                return None;
            }
            self.opens_again = None;
        }
        if let Some(index) = self.refused.pop() {
            return Some(index);
        }
        let index = self.sessions.len();
        if index >= self.config.max_sessions.max(1) {
            return None;
        }
        let mut id = new_client;
        while self.by_id.contains_key(&id) {
            id = id.next();
        }
        let mut config = ClientConfig::new(self.config.proxy, self.config.max_attempts);
        config.is_in_process = self.config.is_in_process;
        self.by_id.insert(id, index);
        self.sessions.push(Session {
            client: Client::new(id, config),
            running: None,
            last_used: now,
            deadline: None,
        });
        Some(index)
    }

    /// Assigns an operation to an idle client. Returns the event that starts it.
    fn assign(
        &mut self,
        now: Duration,
        index: usize,
        ticket: Ticket,
        invocation: Invocation,
    ) -> client::Event {
        let session = &mut self.sessions[index];
        assert!(
            session.client.is_idle(),
            "one operation of a client at a time"
        );
        self.assigned.insert(ticket, index);
        session.running = Some(Running::Operation {
            ticket: Some(ticket),
            not_done: invocation.not_done(),
            is_sent: false,
        });
        client::Event::Invoke(match invocation {
            Invocation::Write(operation)
                if now.saturating_sub(session.last_used) >= RENEW_AFTER =>
            {
                Invocation::WriteAfterIdle(operation)
            }
            invocation => invocation,
        })
    }

    /// Executes one step of one client. Each operation that ends makes room for the next one, which
    /// may end at once.
    fn advance(
        &mut self,
        now: Duration,
        index: usize,
        event: client::Event,
        effects: &mut Effects,
    ) {
        let mut next = Some((index, event));
        while let Some((index, event)) = next {
            let ended = self.step_client(now, index, event, effects);
            next = ended.and_then(|ended| self.finish(now, index, ended, effects));
        }
    }

    fn step_client(
        &mut self,
        now: Duration,
        index: usize,
        event: client::Event,
        effects: &mut Effects,
    ) -> Option<client::Effects> {
        let session = &mut self.sessions[index];
        let mut stepped = session.client.step(event);
        if stepped.sends.iter().any(is_write_request)
            && let Some(Running::Operation {
                ticket, is_sent, ..
            }) = &mut session.running
        {
            // An abandoned write is never sent. A write that was sent before keeps its
            // retransmissions.
            if ticket.is_none() && !*is_sent {
                // No response can arrive, so the client need not wait for its timeouts.
                while stepped.outcome.is_none() {
                    stepped = session.client.step(client::Event::Timeout);
                }
                stepped.sends.clear();
            } else {
                *is_sent = true;
                self.has_sent_write = true;
            }
        }
        effects.sends.append(&mut stepped.sends);
        if stepped.timer || stepped.outcome.is_some() {
            self.disarm(index);
        }
        if stepped.timer {
            let deadline = now + self.config.attempt_timeout;
            self.sessions[index].deadline = Some(deadline);
            self.timers.insert((deadline, index));
        }
        stepped.outcome.is_some().then_some(stepped)
    }

    /// Handles the end of a client's operation. Returns a client and the event that starts its next
    /// operation.
    fn finish(
        &mut self,
        now: Duration,
        index: usize,
        ended: client::Effects,
        effects: &mut Effects,
    ) -> Option<(usize, client::Event)> {
        let session = &mut self.sessions[index];
        let running = session.running.take();
        let outcome = ended.outcome?;
        // Other outcomes do not show that a write used the session.
        if matches!(
            outcome,
            Outcome::Done(Done::Answered(_)) | Outcome::Unknown(_)
        ) {
            session.last_used = now;
        }
        let ticket = match running {
            Some(Running::Operation { ticket, .. }) => ticket,
            _ => None,
        };
        if let Some(ticket) = ticket {
            self.assigned.remove(&ticket);
        }
        if let Some(operation) = ended.returned
            && self.has_session()
        {
            self.opens_again = Some(now + OPEN_PAUSE);
            self.refused.push(index);
            // At least one client has a session. If it is not idle, it is busy, and will take the
            // operation from the queue.
            let (ticket, invocation) = (ticket?, Invocation::Write(operation));
            let Some(index) = self.idle.pop() else {
                self.waiting.insert(ticket, invocation);
                return None;
            };
            return Some((index, self.assign(now, index, ticket, invocation)));
        }
        if let Some(ticket) = ticket {
            effects.outcomes.push((ticket, outcome));
        }
        if let Some((ticket, invocation)) = self.waiting.pop_first() {
            return Some((index, self.assign(now, index, ticket, invocation)));
        }
        if running == Some(Running::Closing) {
            // Only one attempt: a store that does not respond gets no further request to close.
            self.idle.push(index);
            return None;
        }
        Some((index, self.make_idle(index)?))
    }

    /// Handles a client that has no operation. Returns the event that closes its session, if the
    /// pool is closing.
    fn make_idle(&mut self, index: usize) -> Option<client::Event> {
        let session = &mut self.sessions[index];
        if self.is_closing && session.client.session().is_some() {
            session.running = Some(Running::Closing);
            return Some(client::Event::Invoke(Invocation::CloseSession));
        }
        self.idle.push(index);
        None
    }

    fn disarm(&mut self, index: usize) {
        if let Some(deadline) = self.sessions[index].deadline.take() {
            self.timers.remove(&(deadline, index));
        }
    }

    fn has_session(&self) -> bool {
        let mut sessions = self.sessions.iter();
        sessions.any(|session| session.client.session().is_some())
    }
}

impl Invocation {
    /// The reason to give for an operation that received no answer, or, if it is a write, was never
    /// sent.
    fn not_done(&self) -> NotDone {
        match self {
            Self::Write(_) | Self::WriteAfterIdle(_) => NotDone::NoSession,
            Self::Read(_) | Self::CloseSession | Self::TransferLeadership(_) => NotDone::NoLeader,
            Self::StaleRead(_) => NotDone::NoServer,
        }
    }
}

fn is_write_request(envelope: &Envelope) -> bool {
    matches!(
        &envelope.message,
        Message::ClientRequest(request) if matches!(request.body, RequestBody::Write { .. })
    )
}

#[cfg(test)]
mod tests;
