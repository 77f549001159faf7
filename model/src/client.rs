//! A client as a pure step function: one operation at a time, exactly once or honestly unknown.
//!
//! [`Client::step`] takes one [`Event`] (an operation asked for, a message, the request timer) and
//! returns the [`Effects`] the driver must carry out. It is the client's half of thesis §6.3: the
//! servers remember the answer to each (session, sequence), and the client sees to it that one
//! write keeps one sequence however often it is sent.
//!
//! # Requests
//! A request is sent to one place, [`ClientConfig::proxy`], and sent again, the very same, whenever
//! the timer runs out, [`ClientConfig::max_attempts`] times in all. A write without a session
//! opens one first; that is a request of its own, with attempts of its own.
//!
//! A refusal (`NotLeader`, `Interrupted`, `Overloaded`, `Unavailable`) speaks of one copy of the request, and
//! other copies may be on their way, so it decides nothing. The exception is `Overloaded` from a proxy
//! that each copy reaches at most once ([`ClientConfig::is_in_process`]): it refused the only copy and
//! sent none on. It does not hasten the next attempt
//! either: a proxy that refuses has already tried the servers or is overloaded, and asking again
//! at once helps in neither case. The timer sets the pace. Only when no attempt is left does a
//! refusal end the wait early. The driver's timer should outlast the whole effort of a proxy.
//!
//! # What an outcome means
//! A network that delays and repeats may deliver a request long after everyone stopped waiting.
//! So a write that was sent, even once, is never reported as not done: it is [`Outcome::Unknown`],
//! unless the store itself says that no copy was or will be applied. [`Outcome::NotDone`] and
//! [`Outcome::SessionsInUse`] are kept for the write that never left, because no session could be
//! opened, and [`Outcome::Overloaded`] for the write of which no copy reached a server.
//! An unknown write is settled as soon as a later write of the same client is answered: every
//! write acknowledges all sequences below its own, and the store refuses those from then on; and
//! a session is left only when the store has refused a write in it, for a reason that holds for
//! every copy applied later, of this write and of those before it.
//!
//! # Sessions
//! The store evicts sessions that were not used for long when others need room. A write that finds
//! its session evicted is repeated in a new session only if the store answers that no copy of it was
//! applied before the eviction ([`Answer::NotApplied`]): then none ever will be. Otherwise the outcome
//! is unknown. A session that was idle for long is renewed before a write is sent in it
//! ([`Ask::WriteAfterIdle`]), so that an eviction meanwhile costs no write its outcome. A client that
//! ends closes its session ([`Ask::CloseSession`]).
//!
//! While all sessions of the store are in use, it refuses to open another. The client tries a few
//! times ([`ClientConfig::max_refusals`]), as each attempt brings the eviction of unused sessions
//! closer, and then reports it.
//!
//! # Invariants
//! * Every attempt of a request carries the same id, session, sequence and operation.
//! * Sequences of a session are given out once, in order, and no two writes share one.
//! * State grows with operations (ids, sequences) and attempts only, never with what arrives.
//! * A [`ClientId`] is for one run of one process. A client that starts anew counts its requests
//!   from 1 again, and a late response to its former self would match. Draw a new id instead.
//!
//! # What is left out
//! Several operations in flight, following a server's hint (a proxy's work), sharing a session
//! between clients, and keeping a session open while idle.

use crate::{
    Address, ClientId, ClientRequest, Envelope, Message, RequestId, SessionId,
    message::{FoundStale, RequestBody, ResponseBody},
    mutant::planted,
    store::{Answer, Found, LimitError, Operation, Query},
};
use alloc::{vec, vec::Vec};
use serde::{Deserialize, Serialize};

/// The settings of one client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientConfig {
    /// Where requests go: a proxy, or a server. Responses from anyone else are ignored.
    pub proxy: Address,
    /// How often a request is sent in all. At least once, whatever this says.
    pub max_attempts: u32,
    /// How many refusals to open a session end an operation. At least one does, whatever this says.
    pub max_refusals: u32,
    /// Whether the proxy is in the same process: each copy of a request reaches it at most once. Over
    /// a network a copy may arrive again.
    pub is_in_process: bool,
    /// The bug planted in this client, in checker builds.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl ClientConfig {
    /// A client that asks there, that often.
    pub fn new(proxy: Address, max_attempts: u32) -> Self {
        Self {
            proxy,
            max_attempts,
            max_refusals: 8,
            is_in_process: false,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// Something that happens to a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// The user wants something. Only while the client [is idle](Client::is_idle): an operation
    /// asked for while another is in flight is ignored, without effect or outcome.
    Invoke(Ask),
    /// A message arrived. It may be late, repeated or out of order.
    Receive {
        /// Who sent it.
        from: Address,
        /// What it says.
        message: Message,
    },
    /// The request timer ran out.
    Timeout,
}

/// What the user wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ask {
    /// To change something, once.
    Write(Operation),
    /// To change something, once, after the session may have been evicted.
    WriteAfterIdle(Operation),
    /// To know something, as of a moment between asking and hearing.
    Read(Query),
    /// To know something, as any one server happens to have it: perhaps old.
    StaleRead(Query),
    /// To close the session, if one is open.
    CloseSession,
}

impl Ask {
    fn check_limits(&self) -> Result<(), LimitError> {
        match self {
            Self::Write(operation) | Self::WriteAfterIdle(operation) => operation.check_limits(),
            Self::Read(query) | Self::StaleRead(query) => query.check_limits(),
            Self::CloseSession => Ok(()),
        }
    }
}

/// What became of the operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The write was applied, once, and this is what the store said. It may have said that the
    /// condition did not hold.
    Answered(Answer),
    /// The result of the read.
    Found(Found),
    /// A write that may have taken effect, or may yet, or never will; once at the most. It is
    /// settled when a later write of this client is answered.
    Unknown(Doubt),
    /// A read, or the closing of a session, that got no answer. Neither changes any pair.
    Unavailable,
    /// A write that was never sent: it had no effect and never will.
    NotDone,
    /// The result of a stale read.
    FoundStale(FoundStale),
    /// A key or a value is outside of the limits: the operation has no effect and never will.
    OutsideLimits(LimitError),
    /// A write that was never sent, because all sessions of the store are in use: it had no effect
    /// and never will. The operation, for another client that has a session.
    SessionsInUse(Operation),
    /// The session is closed, or none was open. All earlier writes of this client are settled.
    Closed,
    /// Refused because the cluster or the proxy has too much to do. No copy of a write reached a
    /// server: it had no effect and never will.
    Overloaded,
}

/// Why the outcome of a write is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Doubt {
    /// No leader confirmed it in time. It may take effect yet.
    NotConfirmed,
    /// The store answered that it no longer has the session or the answer. If the write has had no
    /// effect by now, it never will.
    Forgotten,
}

/// What the driver must do after a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// What may leave now.
    pub sends: Vec<Envelope>,
    /// What became of the operation, once it is decided. The client is idle again, and its timer
    /// may be disarmed; should it fire nevertheless, that is ignored.
    pub outcome: Option<Outcome>,
    /// Whether to arm the request timer anew, replacing the one that runs.
    pub timer: bool,
}

/// A client. See the module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Client {
    pub(crate) id: ClientId,
    pub(crate) config: ClientConfig,
    pub(crate) session: Option<Session>,
    /// The id of the last request begun; 0 before the first.
    pub(crate) last_request: RequestId,
    pub(crate) in_flight: Option<InFlight>,
}

/// The client's side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// The sequence of the next write.
    pub(crate) next_sequence: u64,
}

/// The request that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct InFlight {
    pub(crate) id: RequestId,
    pub(crate) task: Task,
    /// How often it was sent, from 1.
    pub(crate) attempts: u32,
}

/// What the request in flight is for. With the request's id it says all that is sent, so that a
/// retry cannot differ from the first attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Opens a session for the write that waits for it. So often all sessions were in use.
    OpenSession { then: Operation, refusals: u32 },
    /// Renews the session for the write that waits for it.
    RenewSession { session: SessionId, then: Operation },
    /// Closes the session.
    CloseSession { session: SessionId },
    /// Writes.
    Write {
        session: SessionId,
        sequence: u64,
        operation: Operation,
    },
    /// Reads.
    Read { query: Query },
    /// Reads what any one server has.
    StaleRead { query: Query },
}

impl Session {
    fn new(id: SessionId) -> Self {
        let next_sequence = 1;
        Self { id, next_sequence }
    }

    fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }
}

impl Client {
    /// A client that has no session yet. The id must be fresh: see the module's invariants.
    pub fn new(id: ClientId, config: ClientConfig) -> Self {
        Self {
            id,
            config,
            session: None,
            last_request: RequestId::default(),
            in_flight: None,
        }
    }

    /// A client that goes on with a session opened earlier, in which nothing was written yet.
    pub fn with_session(id: ClientId, config: ClientConfig, session: SessionId) -> Self {
        Self {
            session: Some(Session::new(session)),
            ..Self::new(id, config)
        }
    }

    /// Takes one event and says what to do about it.
    pub fn step(&mut self, event: Event) -> Effects {
        match event {
            Event::Invoke(ask) => self.invoke(ask),
            Event::Receive { from, message } => self.receive(from, message),
            Event::Timeout => self.timeout(),
        }
    }

    /// This client's name.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// The settings.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// The session writes go to, if one is open as far as the client knows.
    pub fn session(&self) -> Option<SessionId> {
        self.session.map(|session| session.id)
    }

    /// Whether the client is free to take on an operation.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    fn invoke(&mut self, ask: Ask) -> Effects {
        if !self.is_idle() {
            return Effects::default();
        }
        // Every server would refuse it, so it is refused here at once and never sent.
        if let Err(error) = ask.check_limits() {
            return self.finish(Outcome::OutsideLimits(error));
        }
        match ask {
            Ask::Write(operation) => self.begin_write(operation),
            Ask::WriteAfterIdle(then) => match self.session {
                Some(Session { id: session, .. }) => {
                    self.begin(Task::RenewSession { session, then })
                }
                None => self.begin_write(then),
            },
            // Until the store says so, the session is not closed: a late copy of an earlier write may
            // be applied, which only a later write of the same session settles.
            Ask::CloseSession => match self.session {
                Some(Session { id: session, .. }) => self.begin(Task::CloseSession { session }),
                None => self.finish(Outcome::Closed),
            },
            Ask::Read(query) => self.begin(Task::Read { query }),
            Ask::StaleRead(query) => self.begin(Task::StaleRead { query }),
        }
    }

    fn begin_write(&mut self, operation: Operation) -> Effects {
        let task = match &mut self.session {
            None => Task::OpenSession {
                then: operation,
                refusals: 0,
            },
            Some(session) => Task::Write {
                session: session.id,
                sequence: session.take_sequence(),
                operation,
            },
        };
        self.begin(task)
    }

    fn begin(&mut self, task: Task) -> Effects {
        self.last_request = self.last_request.next();
        self.in_flight = Some(InFlight {
            id: self.last_request,
            task,
            attempts: 1,
        });
        self.send()
    }

    /// Sends the request in flight, for the first time or again.
    fn send(&self) -> Effects {
        let Some(in_flight) = &self.in_flight else {
            return Effects::default();
        };
        let message = Message::ClientRequest(ClientRequest {
            client: self.id,
            id: in_flight.id,
            body: in_flight.task.request(&self.config),
        });
        Effects {
            sends: vec![Envelope {
                from: Address::Client(self.id),
                to: self.config.proxy,
                message,
            }],
            outcome: None,
            timer: true,
        }
    }

    fn timeout(&mut self) -> Effects {
        let Some(in_flight) = &mut self.in_flight else {
            return Effects::default();
        };
        if in_flight.attempts >= self.config.max_attempts {
            return self.give_up();
        }
        in_flight.attempts += 1;
        if planted!(self.config, ClientNeverRetries) {
            return Effects {
                timer: true,
                ..Effects::default()
            };
        }
        if planted!(self.config, RetriesUnderNewSequence)
            && let Task::Write { sequence, .. } = &mut in_flight.task
            && let Some(session) = &mut self.session
        {
            *sequence = session.take_sequence();
        }
        self.send()
    }

    fn receive(&mut self, from: Address, message: Message) -> Effects {
        let Message::ClientResponse(response) = message else {
            return Effects::default();
        };
        let Some(in_flight) = &self.in_flight else {
            return Effects::default();
        };
        if from != self.config.proxy || response.client != self.id {
            return Effects::default();
        }
        // A late answer to an earlier request says nothing about this one.
        if response.id != in_flight.id && !planted!(self.config, ResponseIdNotCompared) {
            return Effects::default();
        }
        match response.body {
            ResponseBody::Applied(answer) => self.handle_answer(answer),
            ResponseBody::Found(found) if matches!(in_flight.task, Task::Read { .. }) => {
                self.finish(Outcome::Found(found))
            }
            ResponseBody::FoundStale(found) if matches!(in_flight.task, Task::StaleRead { .. }) => {
                self.finish(Outcome::FoundStale(found))
            }
            // Every server refuses every copy of this request.
            ResponseBody::OutsideLimits(error) => self.finish(Outcome::OutsideLimits(error)),
            // An answer to a question that was not asked. Above all, a stale one is never taken
            // for the answer to a linearizable read.
            ResponseBody::Found(_) | ResponseBody::FoundStale(_) => Effects::default(),
            // Of one copy, not of the request: see the module. The timer runs already.
            ResponseBody::NotLeader { .. }
            | ResponseBody::Interrupted { .. }
            | ResponseBody::Unavailable => self.handle_refusal(),
            ResponseBody::Overloaded => self.handle_overload(),
        }
    }

    /// One copy of the request was refused; other copies may be on their way.
    fn handle_refusal(&mut self) -> Effects {
        match &self.in_flight {
            Some(in_flight) if in_flight.attempts >= self.config.max_attempts => self.give_up(),
            _ => Effects::default(),
        }
    }

    /// One copy of the request was refused because too much waits. Only of a write that may have been
    /// sent on is the outcome in doubt.
    fn handle_overload(&mut self) -> Effects {
        let Some(in_flight) = &self.in_flight else {
            return Effects::default();
        };
        let is_last = in_flight.attempts >= self.config.max_attempts;
        match in_flight.task {
            Task::Write { .. } if self.config.is_in_process && in_flight.attempts == 1 => {
                self.finish(Outcome::Overloaded)
            }
            Task::Write { .. } => self.handle_refusal(),
            _ if is_last => self.finish(Outcome::Overloaded),
            _ => Effects::default(),
        }
    }

    /// The store applied a log entry made from this request.
    fn handle_answer(&mut self, answer: Answer) -> Effects {
        let Some(in_flight) = &self.in_flight else {
            return Effects::default();
        };
        match (&in_flight.task, answer) {
            (Task::OpenSession { then, .. }, Answer::SessionOpened(id)) => {
                let operation = then.clone();
                self.session = Some(Session::new(id));
                self.begin_write(operation)
            }
            (Task::OpenSession { then, refusals }, Answer::SessionsInUse) => {
                let (then, refusals) = (then.clone(), refusals + 1);
                if refusals >= self.config.max_refusals {
                    return self.finish(Outcome::SessionsInUse(then));
                }
                self.begin(Task::OpenSession { then, refusals })
            }
            (Task::RenewSession { then, .. }, Answer::SessionRenewed) => {
                let operation = then.clone();
                self.begin_write(operation)
            }
            // Evicted meanwhile. The write was not sent in it.
            (Task::RenewSession { then, .. }, Answer::SessionExpired) => {
                let operation = then.clone();
                self.session = None;
                self.begin_write(operation)
            }
            (Task::CloseSession { .. }, Answer::SessionClosed) => {
                self.session = None;
                self.finish(Outcome::Closed)
            }
            // No copy was applied before the eviction, and none will be: this is another write.
            (Task::Write { operation, .. }, Answer::NotApplied) => {
                let operation = operation.clone();
                self.session = None;
                self.begin_write(operation)
            }
            // Not "nothing changed": that is true of the copy that was answered, but an earlier
            // one may have been applied before the session was evicted. And a sequence that was
            // never acknowledged is refused as such only if the session is not ours alone. No
            // copy applied from now on has an effect, and the session is of no more use.
            (Task::Write { .. }, Answer::SessionExpired | Answer::AlreadyAcknowledged) => {
                self.session = None;
                #[cfg(feature = "mutants")]
                if planted!(self.config, ExpiredSessionWriteRepeated)
                    && let Task::Write { operation, .. } = &in_flight.task
                {
                    let operation = operation.clone();
                    return self.begin_write(operation);
                }
                self.finish(Outcome::Unknown(Doubt::Forgotten))
            }
            (
                Task::Write { .. },
                answer @ (Answer::Written { .. }
                | Answer::Number { .. }
                | Answer::ConditionFailed { .. }
                | Answer::NotANumber
                | Answer::QuotaExceeded
                | Answer::Overflow),
            ) => self.finish(Outcome::Answered(answer)),
            // Of one copy, not of the request: another may be applied, so the timer goes on.
            (Task::Write { .. }, Answer::TooManyUnacknowledged) => self.handle_refusal(),
            // An answer to a question that was not asked.
            (_, _) => Effects::default(),
        }
    }

    /// No attempt is left. What can be said depends on what was ever sent, not on what came back.
    fn give_up(&mut self) -> Effects {
        let Some(in_flight) = &self.in_flight else {
            return Effects::default();
        };
        if planted!(self.config, ClientNeverGivesUp) {
            return Effects {
                timer: true,
                ..Effects::default()
            };
        }
        let outcome = match in_flight.task {
            // Only the request for a session left; the write itself never did.
            Task::OpenSession { .. } | Task::RenewSession { .. } => Outcome::NotDone,
            Task::Write { .. } if planted!(self.config, UnavailableTakenForNotDone) => {
                Outcome::NotDone
            }
            Task::Write { .. } => Outcome::Unknown(Doubt::NotConfirmed),
            Task::Read { .. } | Task::StaleRead { .. } | Task::CloseSession { .. } => {
                Outcome::Unavailable
            }
        };
        self.finish(outcome)
    }

    fn finish(&mut self, outcome: Outcome) -> Effects {
        self.in_flight = None;
        Effects {
            sends: Vec::new(),
            outcome: Some(outcome),
            timer: false,
        }
    }
}

impl Task {
    fn request(&self, config: &ClientConfig) -> RequestBody {
        match self {
            Self::OpenSession { .. } => RequestBody::OpenSession,
            Self::RenewSession { session, .. } => RequestBody::RenewSession { session: *session },
            Self::CloseSession { session } => RequestBody::CloseSession { session: *session },
            Self::Write {
                session,
                sequence,
                operation,
            } => RequestBody::Write {
                session: *session,
                sequence: *sequence,
                // One write at a time: all before this one are answered or abandoned. To
                // acknowledge the abandoned ones too is what settles them (see the module).
                acknowledged: match planted!(config, EarlierWritesNotSettled) {
                    true => 0,
                    false => *sequence,
                },
                operation: operation.clone(),
            },
            Self::Read { query } => RequestBody::Read {
                query: query.clone(),
            },
            Self::StaleRead { query } => RequestBody::StaleRead {
                query: query.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientResponse, LogIndex, NodeId, ProxyId, store::Condition};
    use alloc::collections::BTreeSet;

    const ID: ClientId = ClientId::new(7);
    const SESSION: SessionId = SessionId::new(2);
    const PROXY: Address = Address::Proxy(ProxyId::new(1));
    const WRITTEN: Answer = Answer::Written {
        version: LogIndex::new(3),
    };

    const NOT_CONFIRMED: Outcome = Outcome::Unknown(Doubt::NotConfirmed);

    fn config(max_attempts: u32) -> ClientConfig {
        ClientConfig::new(PROXY, max_attempts)
    }

    fn with_session(max_attempts: u32) -> Client {
        Client::with_session(ID, config(max_attempts), SESSION)
    }

    fn put() -> Operation {
        Operation::Put {
            key: b"k".to_vec(),
            value: "v".into(),
            condition: Condition::Always,
        }
    }

    fn write() -> Event {
        Event::Invoke(Ask::Write(put()))
    }

    fn get() -> Query {
        Query::Get { key: b"k".to_vec() }
    }

    fn read() -> Event {
        Event::Invoke(Ask::Read(get()))
    }

    fn stale_read() -> Event {
        Event::Invoke(Ask::StaleRead(get()))
    }

    fn found_stale() -> ResponseBody {
        ResponseBody::FoundStale(FoundStale {
            found: Found::Value(None),
            applied_index: LogIndex::new(9),
        })
    }

    fn response_for(client: ClientId, id: u64, body: ResponseBody) -> Message {
        Message::ClientResponse(ClientResponse {
            client,
            id: RequestId::new(id),
            body,
        })
    }

    fn response(id: u64, body: ResponseBody) -> Event {
        Event::Receive {
            from: PROXY,
            message: response_for(ID, id, body),
        }
    }

    fn applied(id: u64, answer: Answer) -> Event {
        response(id, ResponseBody::Applied(answer))
    }

    /// What was asked, of the one request that left together with a new timer.
    #[track_caller]
    fn sent(effects: Effects) -> (u64, RequestBody) {
        assert!(effects.timer && effects.outcome.is_none(), "{effects:?}");
        let [envelope] = effects.sends.try_into().unwrap();
        assert_eq!((envelope.from, envelope.to), (Address::Client(ID), PROXY));
        let Message::ClientRequest(request) = envelope.message else {
            panic!("not a request");
        };
        assert_eq!(request.client, ID);
        (request.id.get(), request.body)
    }

    #[track_caller]
    fn outcome(effects: Effects) -> Outcome {
        assert!(effects.sends.is_empty() && !effects.timer, "{effects:?}");
        effects.outcome.unwrap()
    }

    fn write_body(session: SessionId, sequence: u64) -> RequestBody {
        RequestBody::Write {
            session,
            sequence,
            acknowledged: sequence,
            operation: put(),
        }
    }

    #[test]
    fn write_without_session_opens_one_first() {
        let mut client = Client::new(ID, config(2));
        assert_eq!(sent(client.step(write())), (1, RequestBody::OpenSession));
        let effects = client.step(applied(1, Answer::SessionOpened(SESSION)));
        assert_eq!(sent(effects), (2, write_body(SESSION, 1)));
        assert_eq!(client.session(), Some(SESSION));
        // A second session opened by a repeated request is left alone.
        let other = Answer::SessionOpened(SessionId::new(9));
        let before = client.clone();
        assert_eq!(client.step(applied(1, other)), Effects::default());
        assert_eq!(client, before);
        let effects = client.step(applied(2, WRITTEN));
        assert_eq!(outcome(effects), Outcome::Answered(WRITTEN));
        assert_eq!(sent(client.step(write())), (3, write_body(SESSION, 2)));
    }

    #[test]
    fn operation_outside_of_the_limits_is_refused_at_once_and_never_sent() {
        let key = vec![b'k'; crate::store::MAX_KEY_BYTES + 1];
        let length = key.len() as u64;
        let too_large = Outcome::OutsideLimits(LimitError::KeyTooLarge { length });
        let query = || Query::Get { key: key.clone() };
        let write = Operation::Increment {
            key: key.clone(),
            by: 1,
        };
        for ask in [
            Ask::Write(write),
            Ask::Read(query()),
            Ask::StaleRead(query()),
        ] {
            let mut client = Client::new(ID, config(2));
            assert_eq!(outcome(client.step(Event::Invoke(ask))), too_large);
            assert!(client.is_idle());
        }
        // Should a server say so, it is as final: they all say so.
        let mut client = with_session(2);
        client.step(super::tests::write());
        let length = 9;
        let error = LimitError::ValueTooLarge { length };
        let effects = client.step(response(1, ResponseBody::OutsideLimits(error)));
        assert_eq!(outcome(effects), Outcome::OutsideLimits(error));
    }

    #[test]
    fn write_retried_is_the_same_request() {
        let mut client = with_session(3);
        let first = client.step(write());
        assert_eq!(client.step(Event::Timeout), first);
        assert_eq!(client.step(Event::Timeout), first);
        // The attempts are used up, and the write may be anywhere.
        assert_eq!(outcome(client.step(Event::Timeout)), NOT_CONFIRMED);
        assert!(client.is_idle());
        // The next write takes a new sequence and settles the abandoned one.
        assert_eq!(sent(client.step(write())), (2, write_body(SESSION, 2)));
    }

    #[test]
    fn write_never_sent_is_not_done() {
        let mut client = Client::new(ID, config(2));
        let first = client.step(write());
        assert_eq!(client.step(Event::Timeout), first);
        assert_eq!(outcome(client.step(Event::Timeout)), Outcome::NotDone);
        // The session that opens after all belongs to nobody.
        let late = client.step(applied(1, Answer::SessionOpened(SESSION)));
        assert_eq!(late, Effects::default());
        assert_eq!(sent(client.step(write())), (2, RequestBody::OpenSession));
    }

    #[test]
    fn attempts_are_counted_for_each_request() {
        let mut client = Client::new(ID, config(2));
        client.step(write());
        client.step(Event::Timeout);
        client.step(applied(1, Answer::SessionOpened(SESSION)));
        let (id, _) = sent(client.step(Event::Timeout));
        assert_eq!(id, 2);
        assert_eq!(outcome(client.step(Event::Timeout)), NOT_CONFIRMED);
    }

    #[test]
    fn attempts_of_zero_still_send_once() {
        let mut client = with_session(0);
        sent(client.step(write()));
        assert_eq!(outcome(client.step(Event::Timeout)), NOT_CONFIRMED);
    }

    #[test]
    fn read_unanswered_is_unavailable() {
        let mut client = Client::new(ID, config(1));
        let query = get();
        assert_eq!(sent(client.step(read())), (1, RequestBody::Read { query }));
        assert_eq!(outcome(client.step(Event::Timeout)), Outcome::Unavailable);
        sent(client.step(read()));
        let found = Found::Value(None);
        // The first read's answer is not the second's; a write's answer is no read's.
        let late = ResponseBody::Found(found.clone());
        assert_eq!(client.step(response(1, late.clone())), Effects::default());
        assert_eq!(client.step(applied(2, WRITTEN)), Effects::default());
        let effects = client.step(response(2, late));
        assert_eq!(outcome(effects), Outcome::Found(found));
    }

    #[test]
    fn refusal_leaves_the_pace_to_the_timer() {
        let hint = Some(NodeId::new(1));
        for refusal in [
            ResponseBody::NotLeader { hint },
            ResponseBody::Interrupted { hint },
            ResponseBody::Unavailable,
            ResponseBody::Overloaded,
        ] {
            let mut client = with_session(2);
            client.step(write());
            let before = client.clone();
            let effects = client.step(response(1, refusal.clone()));
            assert_eq!(effects, Effects::default());
            assert_eq!(client, before);
            // On the last attempt there is nothing left to wait for, and still nothing known.
            client.step(Event::Timeout);
            let effects = client.step(response(1, refusal));
            assert_eq!(outcome(effects), NOT_CONFIRMED);
        }
    }

    #[test]
    fn overload_is_definite_for_what_reached_no_server() {
        let in_process = |max_attempts| {
            let mut client = with_session(max_attempts);
            client.config.is_in_process = true;
            client
        };
        let overloaded = || response(1, ResponseBody::Overloaded);
        // The only copy was refused.
        let mut client = in_process(2);
        client.step(write());
        assert_eq!(outcome(client.step(overloaded())), Outcome::Overloaded);
        assert_eq!(sent(client.step(write())), (2, write_body(SESSION, 2)));
        // Another copy may have been sent on.
        let mut client = in_process(2);
        client.step(write());
        client.step(Event::Timeout);
        assert_eq!(outcome(client.step(overloaded())), NOT_CONFIRMED);
        // Over a network the copy that was refused may arrive again.
        let mut client = with_session(1);
        client.step(write());
        assert_eq!(outcome(client.step(overloaded())), NOT_CONFIRMED);
        // A read changes nothing, and without a session the write was never sent. Each waits for its
        // last attempt.
        for (mut client, ask) in [
            (with_session(2), read()),
            (with_session(2), stale_read()),
            (Client::new(ID, config(2)), write()),
            (with_session(2), Event::Invoke(Ask::WriteAfterIdle(put()))),
            (with_session(2), Event::Invoke(Ask::CloseSession)),
        ] {
            client.step(ask);
            assert_eq!(client.step(overloaded()), Effects::default());
            client.step(Event::Timeout);
            assert_eq!(outcome(client.step(overloaded())), Outcome::Overloaded);
        }
    }

    #[test]
    fn write_never_applied_before_its_session_was_evicted_is_repeated_in_another() {
        let mut client = with_session(2);
        client.step(write());
        client.step(Event::Timeout);
        // The store knows of every copy that was applied.
        let effects = client.step(applied(1, Answer::NotApplied));
        assert_eq!(sent(effects), (2, RequestBody::OpenSession));
        let other = SessionId::new(9);
        let effects = client.step(applied(2, Answer::SessionOpened(other)));
        assert_eq!(sent(effects), (3, write_body(other, 1)));
        assert_eq!(
            outcome(client.step(applied(3, WRITTEN))),
            Outcome::Answered(WRITTEN)
        );
    }

    #[test]
    fn session_refused_is_tried_again_at_once_and_then_reported() {
        let mut settings = config(2);
        settings.max_refusals = 3;
        let mut client = Client::new(ID, settings);
        assert_eq!(sent(client.step(write())), (1, RequestBody::OpenSession));
        for id in 1..=2 {
            let effects = client.step(applied(id, Answer::SessionsInUse));
            assert_eq!(sent(effects), (id + 1, RequestBody::OpenSession));
            assert_eq!(client.session(), None);
        }
        let effects = client.step(applied(3, Answer::SessionsInUse));
        assert_eq!(outcome(effects), Outcome::SessionsInUse(put()));
        // The next operation tries anew.
        assert_eq!(sent(client.step(write())), (4, RequestBody::OpenSession));
        let effects = client.step(applied(4, Answer::SessionOpened(SESSION)));
        assert_eq!(sent(effects), (5, write_body(SESSION, 1)));
    }

    #[test]
    fn session_idle_for_long_is_renewed_before_a_write_is_sent_in_it() {
        let after_idle = || Event::Invoke(Ask::WriteAfterIdle(put()));
        let session = SESSION;
        let renew = RequestBody::RenewSession { session };
        let mut client = with_session(2);
        assert_eq!(sent(client.step(after_idle())), (1, renew.clone()));
        let effects = client.step(applied(1, Answer::SessionRenewed));
        assert_eq!(sent(effects), (2, write_body(SESSION, 1)));
        client.step(applied(2, WRITTEN));
        // Evicted meanwhile: nothing was sent in it, so the write goes to another.
        assert_eq!(sent(client.step(after_idle())), (3, renew.clone()));
        let effects = client.step(applied(3, Answer::SessionExpired));
        assert_eq!(sent(effects), (4, RequestBody::OpenSession));
        client.step(applied(4, Answer::SessionOpened(SESSION)));
        client.step(applied(5, WRITTEN));
        // Without an answer the write was never sent.
        assert_eq!(sent(client.step(after_idle())), (6, renew));
        client.step(Event::Timeout);
        assert_eq!(outcome(client.step(Event::Timeout)), Outcome::NotDone);
        // Without a session there is nothing to renew.
        let mut client = Client::new(ID, config(2));
        assert_eq!(
            sent(client.step(after_idle())),
            (1, RequestBody::OpenSession)
        );
    }

    #[test]
    fn session_is_closed_when_the_store_says_so() {
        let close = || Event::Invoke(Ask::CloseSession);
        let session = SESSION;
        let mut client = Client::new(ID, config(1));
        assert_eq!(outcome(client.step(close())), Outcome::Closed);
        let mut client = with_session(1);
        let closing = RequestBody::CloseSession { session };
        assert_eq!(sent(client.step(close())), (1, closing.clone()));
        // Perhaps not closed: then it is still the one that settles earlier writes.
        assert_eq!(outcome(client.step(Event::Timeout)), Outcome::Unavailable);
        assert_eq!(client.session(), Some(SESSION));
        assert_eq!(sent(client.step(close())), (2, closing));
        let effects = client.step(applied(2, Answer::SessionClosed));
        assert_eq!(outcome(effects), Outcome::Closed);
        assert_eq!(sent(client.step(write())), (3, RequestBody::OpenSession));
    }

    #[test]
    fn answers_retained_without_acknowledgement_put_a_write_off() {
        let mut client = with_session(2);
        let first = client.step(write());
        let before = client.clone();
        let effects = client.step(applied(1, Answer::TooManyUnacknowledged));
        assert_eq!((effects, &client), (Effects::default(), &before));
        assert_eq!(client.step(Event::Timeout), first);
        // Another copy may be applied yet.
        let effects = client.step(applied(1, Answer::TooManyUnacknowledged));
        assert_eq!(outcome(effects), NOT_CONFIRMED);
    }

    #[test]
    fn session_lost_leaves_the_write_unknown_and_opens_another() {
        for answer in [Answer::SessionExpired, Answer::AlreadyAcknowledged] {
            let mut client = with_session(2);
            client.step(write());
            let effects = client.step(applied(1, answer));
            assert_eq!(outcome(effects), Outcome::Unknown(Doubt::Forgotten));
            assert_eq!(client.session(), None);
            assert_eq!(sent(client.step(write())), (2, RequestBody::OpenSession));
        }
    }

    #[test]
    fn response_of_no_concern_changes_nothing() {
        let mut client = with_session(2);
        client.step(write());
        let true_answer = ResponseBody::Applied(WRITTEN);
        let forged = |from, message| Event::Receive { from, message };
        let other = ClientId::new(8);
        let server = Address::Node(NodeId::new(1));
        let before = client.clone();
        for event in [
            response(0, true_answer.clone()),
            response(2, true_answer.clone()),
            forged(server, response_for(ID, 1, true_answer.clone())),
            forged(PROXY, response_for(other, 1, true_answer)),
            response(1, ResponseBody::Found(Found::Value(None))),
            applied(1, Answer::Nothing),
            applied(1, Answer::SessionOpened(SESSION)),
            forged(PROXY, client.send().sends[0].message.clone()),
        ] {
            assert_eq!(client.step(event), Effects::default());
            assert_eq!(client, before);
        }
    }

    #[test]
    fn stale_read_takes_stale_answers_and_only_a_stale_read_does() {
        let mut client = with_session(2);
        assert_eq!(
            sent(client.step(stale_read())),
            (1, RequestBody::StaleRead { query: get() })
        );
        let linearizable = ResponseBody::Found(Found::Value(None));
        assert_eq!(client.step(response(1, linearizable)), Effects::default());
        let Outcome::FoundStale(found) = outcome(client.step(response(1, found_stale()))) else {
            panic!("not stale");
        };
        assert_eq!(found.applied_index, LogIndex::new(9));
        for ask in [read(), write()] {
            let mut client = with_session(2);
            client.step(ask);
            let before = client.clone();
            assert_eq!(client.step(response(1, found_stale())), Effects::default());
            assert_eq!(client, before);
        }
        client.step(stale_read());
        sent(client.step(Event::Timeout));
        assert_eq!(outcome(client.step(Event::Timeout)), Outcome::Unavailable);
    }

    #[test]
    fn invoke_while_busy_and_timeout_while_idle_are_ignored() {
        let mut client = with_session(2);
        assert_eq!(client.step(Event::Timeout), Effects::default());
        client.step(read());
        let before = client.clone();
        assert_eq!(client.step(write()), Effects::default());
        assert_eq!(client, before);
    }

    /// Every event, in every state, until no new state appears, for three operations.
    #[test]
    fn outcome_is_honest_whatever_arrives() {
        let opened = Answer::SessionOpened(SESSION);
        let bodies = [opened, WRITTEN, Answer::SessionExpired, Answer::Nothing]
            .map(ResponseBody::Applied)
            .into_iter()
            .chain([
                ResponseBody::Found(Found::Value(None)),
                ResponseBody::Unavailable,
                ResponseBody::Overloaded,
                found_stale(),
            ]);
        let mut events = vec![Event::Timeout, write(), read(), stale_read()];
        for id in 1..=6 {
            events.extend(bodies.clone().map(|body| response(id, body)));
        }
        // The client, the operations left, and what was sent for the one in flight.
        let mut new = vec![(Client::new(ID, config(2)), 3, Vec::new())];
        let mut seen = BTreeSet::from_iter(new.clone());
        let mut outcomes = BTreeSet::new();
        while let Some((client, left, sent)) = new.pop() {
            for event in &events {
                let (mut client, mut left, mut sent) = (client.clone(), left, sent.clone());
                if matches!(event, Event::Invoke(_)) {
                    if left == 0 || !client.is_idle() {
                        continue;
                    }
                    left -= 1;
                }
                let effects = client.step(event.clone());
                for envelope in effects.sends {
                    let Message::ClientRequest(request) = envelope.message else {
                        panic!("not a request");
                    };
                    sent.push(request);
                }
                assert!(sent.len() <= 4, "two requests, two attempts each");
                let mut writes = sent
                    .iter()
                    .filter(|request| matches!(request.body, RequestBody::Write { .. }));
                let first = writes.next();
                assert!(
                    writes.all(|retry| Some(retry) == first),
                    "one write, one request"
                );
                match &effects.outcome {
                    None => assert_eq!(client.is_idle(), sent.is_empty()),
                    Some(Outcome::NotDone | Outcome::Overloaded) => {
                        assert_eq!(first, None, "sent, and so not undone");
                    }
                    Some(Outcome::Answered(_) | Outcome::Unknown(_)) => assert!(first.is_some()),
                    // No event here says so.
                    Some(
                        Outcome::OutsideLimits(_) | Outcome::SessionsInUse(_) | Outcome::Closed,
                    ) => panic!("not asked for"),
                    // Each kind of read has its own kind of answer, whatever arrives.
                    Some(Outcome::Found(_)) => {
                        assert!(matches!(sent[0].body, RequestBody::Read { .. }));
                    }
                    Some(Outcome::FoundStale(_)) => {
                        assert!(matches!(sent[0].body, RequestBody::StaleRead { .. }));
                    }
                    Some(Outcome::Unavailable) => assert!(matches!(
                        sent[0].body,
                        RequestBody::Read { .. } | RequestBody::StaleRead { .. }
                    )),
                }
                if let Some(outcome) = effects.outcome {
                    assert!(client.is_idle());
                    outcomes.insert(outcome);
                    sent.clear();
                }
                let next = (client, left, sent);
                if seen.insert(next.clone()) {
                    new.push(next);
                }
            }
        }
        assert_eq!(outcomes.len(), 8, "every outcome was reached: {outcomes:?}");
    }

    #[cfg(feature = "mutants")]
    mod planted {
        use super::*;
        use crate::mutant::Mutant;

        fn client(mutant: Mutant) -> Client {
            let mut config = config(2);
            config.mutant = Some(mutant);
            Client::with_session(ID, config, SESSION)
        }

        #[test]
        fn retry_takes_a_new_sequence() {
            let mut client = client(Mutant::RetriesUnderNewSequence);
            client.step(write());
            let (id, body) = sent(client.step(Event::Timeout));
            assert_eq!((id, body), (1, write_body(SESSION, 2)));
        }

        #[test]
        fn giving_up_is_taken_for_not_done() {
            let mut client = client(Mutant::UnavailableTakenForNotDone);
            client.step(write());
            client.step(Event::Timeout);
            let effects = client.step(response(1, ResponseBody::Unavailable));
            assert_eq!(outcome(effects), Outcome::NotDone);
        }

        #[test]
        fn late_response_is_taken_for_the_answer() {
            let mut client = client(Mutant::ResponseIdNotCompared);
            client.step(write());
            client.step(applied(1, WRITTEN));
            client.step(write());
            let effects = client.step(applied(1, WRITTEN));
            assert_eq!(outcome(effects), Outcome::Answered(WRITTEN));
        }
    }
}
