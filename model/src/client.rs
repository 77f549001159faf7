//! A client as a pure step function: one operation at a time, applied exactly once or reported as
//! unknown.
//!
//! [`Client::step`] takes one [`Event`] (an operation, a received message, a timeout) and returns
//! the [`Effects`] that the driver must carry out. This is the client's half of thesis §6.3: the
//! servers retain the answer to each (session, sequence), and the client ensures that a write keeps
//! its sequence number across retries.
//!
//! # Requests
//! A request goes to one address, [`ClientConfig::proxy`]. On each timeout the client retries it
//! unchanged, up to [`ClientConfig::max_attempts`] attempts in total. A write without a session
//! first opens one; that is a separate request with its own attempts.
//!
//! A refusal (`NotLeader`, `Interrupted`, `Overloaded`, `Unavailable`) concerns one copy of the
//! request. Other copies may be in flight, so a refusal decides nothing. The exception is the first
//! attempt to a proxy or server that each copy reaches at most once
//! ([`ClientConfig::is_in_process`]): its `Overloaded` or `NotLeader` refuses the only copy, which
//! was not forwarded. A refusal does not trigger an early retry either: a
//! proxy that refuses has already tried the servers or is overloaded, and an immediate retry helps
//! in neither case. The timer sets the pace. Only a refusal of the last attempt ends the wait
//! early. The driver's timeout should exceed the time that a proxy needs for all of its attempts.
//!
//! # The meaning of outcomes
//! A network that delays and duplicates may deliver a request long after all processes stopped
//! waiting. Therefore a write that was sent even once is never reported as not done. It is
//! [`Outcome::Unknown`], unless the store itself reports that no copy was or will be applied.
//! [`NotDone::NoSession`] and [`NotDone::SessionsInUse`] are reserved for a write that never left
//! because no session could be opened, and [`NotDone::Overloaded`] for a write whose copies all
//! failed to reach a server. An unknown write is settled as soon as a later write of the same
//! client is answered: every write acknowledges all sequence numbers below its own, and the store
//! refuses those from then on. A client leaves a session only after the store has refused a write
//! in it, closed it or reported it as expired. In each case no copy of this write or of an earlier
//! one can be applied later.
//!
//! # Sessions
//! The store evicts sessions that were unused for long when other clients need room. A write that
//! finds its session evicted is repeated in a new session only if the store answers that no copy of
//! it was applied before the eviction ([`Answer::NotApplied`]): then none ever will be. Otherwise
//! the outcome is unknown. The client renews a session that was idle for long before it sends a
//! write in it ([`Invocation::WriteAfterIdle`]), so that an eviction during the idle time costs no write
//! its outcome. A client that ends closes its session ([`Invocation::CloseSession`]).
//!
//! While all sessions of the store are in use, it refuses to open another. The client retries a few
//! times ([`ClientConfig::max_refusals`]), because each attempt brings the eviction of unused
//! sessions closer, and then reports the refusal.
//!
//! # Invariants
//! * Every attempt of a request carries the same id, session, sequence number and operation.
//! * Sequence numbers of a session are assigned once, in order, and no two writes share one.
//! * State grows only with operations (ids, sequence numbers) and attempts, never with received
//!   messages.
//! * A [`ClientId`] identifies one run of one process. A client that restarts counts its requests
//!   from 1 again, and a late response to its previous run would match. Draw a new id instead.
//!
//! # Omissions
//! Several operations in flight, following a server's leader hint (the proxy does that), sharing a
//! session between clients, and keeping a session open while idle.

use crate::{
    Address, ClientId, ClientRequest, Envelope, Message, NodeId, RequestId, SessionId,
    message::{FoundStale, NotTransferred, RequestBody, ResponseBody},
    mutant::planted,
    store::{Answer, Found, LimitError, Operation, Query},
};
use alloc::{vec, vec::Vec};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The configuration of one client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientConfig {
    /// The destination of requests: a proxy or a server. Responses from other addresses are
    /// ignored.
    pub proxy: Address,
    /// The maximum number of attempts per request. 0 counts as 1.
    pub max_attempts: u32,
    /// The number of refusals to open a session that ends an operation. 0 counts as 1.
    pub max_refusals: u32,
    /// Whether the proxy or server is in the same process, so that each copy of a request reaches
    /// it at most once. A network may duplicate a copy.
    pub is_in_process: bool,
    /// The bug planted in this client, in checker builds.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl ClientConfig {
    /// Configures a client that sends its requests to `proxy`, each at most `max_attempts` times.
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

/// An input of the step function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// The user starts an operation. Only while the client [is idle](Client::is_idle): an operation
    /// that starts while another is in flight is ignored, without effect or outcome.
    Invoke(Invocation),
    /// A message was received. It may be delayed, duplicated or reordered.
    Receive {
        /// The sender.
        from: Address,
        /// The message.
        message: Message,
    },
    /// The request timed out.
    Timeout,
}

/// An operation that the user requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Invocation {
    /// A write, applied at most once.
    Write(Operation),
    /// A write, applied at most once, after an idle time in which the session may have been
    /// evicted.
    WriteAfterIdle(Operation),
    /// A linearizable read: its result is current at some moment between invocation and response.
    Read(Query),
    /// A read of any one server's applied state, possibly outdated.
    StaleRead(Query),
    /// Closes the session, if one is open.
    CloseSession,
    /// Transfers the leadership to this server.
    TransferLeadership(NodeId),
}

impl Invocation {
    fn check_limits(&self) -> Result<(), LimitError> {
        match self {
            // Executed by the test
            // `lib::client::tests::session_idle_for_long_is_renewed_before_a_write_is_sent_in_it`.
            Self::Write(operation) | Self::WriteAfterIdle(operation) => operation.check_limits(),
            // Executed by the test
            // `lib::client::tests::stale_read_takes_stale_answers_and_only_a_stale_read_does`.
            Self::Read(query) | Self::StaleRead(query) => query.check_limits(),
            Self::CloseSession | Self::TransferLeadership(_) => Ok(()),
        }
    }
}

/// The outcome of an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The operation was executed, with this result.
    Done(Done),
    /// The operation had no effect and never will.
    NotDone(NotDone),
    /// The write may have taken effect, may take effect later, or may never take effect; it takes
    /// effect at most once. An answer to a later write of this client settles it.
    Unknown(Unknown),
}

/// The result of an operation that was executed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Done {
    /// The write was applied exactly once, with this answer of the store. The answer may be that
    /// the condition did not hold.
    Answered(Answer),
    /// The result of the read.
    Found(Found),
    /// The result of a stale read.
    FoundStale(FoundStale),
    /// The session is closed, or none was open. All earlier writes of this client are settled.
    SessionClosed,
    /// The target of the leadership transfer leads.
    Leads,
}

/// The reason why an operation had no effect and never will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NotDone {
    /// No session was available in time, so no copy of the write was or will be applied.
    NoSession,
    /// All sessions of the store are in use, so no copy of the write was or will be applied.
    SessionsInUse,
    /// A linearizable read, the closing of a session, or a leadership transfer received no answer.
    /// None changes any pair. The transfer may still take place.
    NoLeader,
    /// A stale read received no answer.
    NoServer,
    /// A key or a value exceeds a limit.
    OutsideLimits(LimitError),
    /// Refused because the cluster or the proxy is overloaded. No copy of a write was forwarded or
    /// appended to a log.
    Overloaded,
    /// Too many operations are queued for a session ([`crate::session_pool`]). The operation was
    /// never sent.
    QueueFull,
    /// The service that accepts operations is shutting down. The operation was never sent.
    ShuttingDown,
    /// The server of this process does not lead, and refused the only copy.
    NotLeader {
        /// The leader, as far as the server knows.
        hint: Option<NodeId>,
    },
    /// The target of a leadership transfer does not lead.
    NotTransferred(NotTransferred),
}

/// The cause, and an action that may help. The text does not state that nothing was done; the caller adds this.
impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = "check that a majority of the servers is up, and that addresses, cluster name and key are correct";
        match self {
            Self::NoLeader => write!(f, "no leader answered in time: {action}"),
            Self::NoServer => f.write_str(
                "no server answered in time: check that a server is up, and that addresses, cluster name and key are correct",
            ),
            Self::NoSession => write!(
                f,
                "no session could be opened, because no leader answered in time: {action}"
            ),
            Self::SessionsInUse => f.write_str(
                "all client sessions of the cluster are in use: try again in a moment, lower the number of clients, or raise --max-sessions of the servers",
            ),
            Self::QueueFull => f.write_str(
                "too many operations wait for a session: try again in a moment, lower the concurrency, or raise the maximum number of sessions or of queued operations",
            ),
            Self::Overloaded => f.write_str(
                "the cluster is overloaded, or the proxy has as many requests in flight as it accepts: try again in a moment",
            ),
            Self::ShuttingDown => f.write_str("the service is shutting down or has stopped: use another server, or try again once it runs"),
            Self::OutsideLimits(error) => error.fmt(f),
            Self::NotLeader { hint: Some(leader) } => {
                write!(f, "this server does not lead: execute it at server {leader}")
            }
            Self::NotTransferred(NotTransferred::NoVoter) => {
                f.write_str("the cluster has no such server: give the id of another of its servers")
            }
            Self::NotTransferred(NotTransferred::Aborted) => f.write_str(
                "the leader did not hand over in time, or another transfer was in progress: check that the server runs and is reachable, and try again",
            ),
            Self::NotLeader { hint: None } => {
                f.write_str("this server does not lead, and knows no leader: try again in a moment")
            }
        }
    }
}

/// The reason why the outcome of a write is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Unknown {
    /// No leader confirmed it in time. It may still take effect.
    NotConfirmed,
    /// The store no longer has the session or the answer. If the write has had no effect by now, it
    /// never will.
    Forgotten,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConfirmed => {
                "no leader confirmed the write in time; it may have taken effect, or may yet, at most once"
            }
            Self::Forgotten => {
                "the cluster no longer has the session of the write, which may have taken effect before, at most once"
            }
        })
    }
}

/// The work that a step leaves to the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The messages that may leave now.
    pub sends: Vec<Envelope>,
    /// The outcome of the operation, once it is decided. The client is then idle again, and the
    /// driver may disarm its timer; a timeout after that is ignored.
    pub outcome: Option<Outcome>,
    /// The write that ended as [`NotDone::SessionsInUse`]. Another client with a session may execute
    /// it.
    pub returned: Option<Operation>,
    /// Whether to rearm the request timer, replacing the running one.
    pub timer: bool,
}

/// A client. See the module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Client {
    pub(crate) id: ClientId,
    pub(crate) config: ClientConfig,
    pub(crate) session: Option<Session>,
    /// The id of the latest request; 0 before the first.
    pub(crate) last_request: RequestId,
    pub(crate) in_flight: Option<InFlight>,
}

/// The client's side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// The sequence number of the next write.
    pub(crate) next_sequence: u64,
}

/// The request in flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct InFlight {
    pub(crate) id: RequestId,
    pub(crate) task: Task,
    /// The number of attempts so far, from 1.
    pub(crate) attempts: u32,
}

/// The purpose of the request in flight. The task and the request's id determine the whole message,
/// so that a retry cannot differ from the first attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Opens a session for the pending write. `refusals` counts how often all sessions were in use.
    OpenSession { then: Operation, refusals: u32 },
    /// Renews the session for the pending write.
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
    /// Reads the applied state of any one server.
    StaleRead { query: Query },
    /// Transfers the leadership.
    TransferLeadership { target: NodeId },
}

impl Session {
    pub(crate) fn new(id: SessionId) -> Self {
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
    /// Creates a client without a session. The id must be new: see the module's invariants.
    pub fn new(id: ClientId, config: ClientConfig) -> Self {
        Self {
            id,
            config,
            session: None,
            last_request: RequestId::default(),
            in_flight: None,
        }
    }

    /// Creates a client that continues a session in which no write was sent yet.
    pub fn with_session(id: ClientId, config: ClientConfig, session: SessionId) -> Self {
        Self {
            session: Some(Session::new(session)),
            ..Self::new(id, config)
        }
    }

    /// Handles one event and returns its effects.
    pub fn step(&mut self, event: Event) -> Effects {
        match event {
            Event::Invoke(invocation) => self.invoke(invocation),
            Event::Receive { from, message } => self.receive(from, message),
            Event::Timeout => self.timeout(),
        }
    }

    /// This client's id.
    pub fn id(&self) -> ClientId {
        self.id
    }

    /// The configuration.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// The session for writes, if one is open as far as the client knows.
    // Executed by the test
    // `lib::client::tests::session_lost_leaves_the_write_unknown_and_opens_another`.
    pub fn session(&self) -> Option<SessionId> {
        self.session.map(|session| session.id)
    }

    /// Whether the client can start an operation.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    fn invoke(&mut self, invocation: Invocation) -> Effects {
        // Executed by the test
        // `lib::client::tests::invoke_while_busy_and_timeout_while_idle_are_ignored`.
        if !self.is_idle() {
            return Effects::default();
        }
        // Every server would refuse it, so the client refuses it at once and never sends it.
        // Executed by the test
        // `lib::client::tests::operation_outside_of_the_limits_is_refused_at_once_and_never_sent`.
        if let Err(error) = invocation.check_limits() {
            return self.finish(Outcome::NotDone(NotDone::OutsideLimits(error)));
        }
        match invocation {
            Invocation::Write(operation) => self.begin_write(operation),
            // Executed by the test
            // `lib::client::tests::session_idle_for_long_is_renewed_before_a_write_is_sent_in_it`.
            Invocation::WriteAfterIdle(then) => match self.session {
                Some(Session { id: session, .. }) => {
                    self.begin(Task::RenewSession { session, then })
                }
                None => self.begin_write(then),
            },
            // The session counts as open until the store confirms that it is closed: a late copy of
            // an earlier write may be applied, and only a later write of the same session settles
            // that.
            Invocation::CloseSession => match self.session {
                Some(Session { id: session, .. }) => self.begin(Task::CloseSession { session }),
                None => self.finish(Outcome::Done(Done::SessionClosed)),
            },
            Invocation::Read(query) => self.begin(Task::Read { query }),
            // Executed by the test
            // `lib::client::tests::stale_read_takes_stale_answers_and_only_a_stale_read_does`.
            Invocation::StaleRead(query) => self.begin(Task::StaleRead { query }),
            // Executed by the test `lib::client::tests::transfer_ends_with_the_answer_of_a_leader`.
            Invocation::TransferLeadership(target) => {
                self.begin(Task::TransferLeadership { target })
            }
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
                sequence: if planted!(self.config, SequenceReused) {
                    session.next_sequence
                } else {
                    session.take_sequence()
                },
                operation,
            },
        };
        self.begin(task)
    }

    fn begin(&mut self, task: Task) -> Effects {
        let is_first = self.last_request == RequestId::default();
        if is_first || !planted!(self.config, RequestIdReused) {
            self.last_request = self.last_request.next();
        }
        self.in_flight = Some(InFlight {
            id: self.last_request,
            task,
            attempts: 1,
        });
        self.send()
    }

    /// Sends the request in flight, as the first attempt or as a retry.
    fn send(&self) -> Effects {
        let Some(in_flight) = &self.in_flight else {
            unreachable!("a request is in flight");
        };
        let message = Message::ClientRequest(ClientRequest {
            client: self.id,
            id: in_flight.id,
            body: in_flight.task.request(&self.config, in_flight.attempts),
        });
        Effects {
            sends: vec![Envelope {
                from: Address::Client(self.id),
                to: self.config.proxy,
                message,
            }],
            timer: true,
            ..Effects::default()
        }
    }

    fn timeout(&mut self) -> Effects {
        // Executed by the test
        // `lib::client::tests::invoke_while_busy_and_timeout_while_idle_are_ignored`.
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
        // A forged message. Executed by the test
        // `lib::client::tests::response_of_no_concern_changes_nothing`.
        let Message::ClientResponse(response) = message else {
            return Effects::default();
        };
        let Some(in_flight) = &self.in_flight else {
            return Effects::default();
        };
        // A forged message, or a response to an earlier run.
        if from != self.config.proxy || response.client != self.id {
            return Effects::default();
        }
        // A late response to an earlier request does not answer this one.
        if response.id != in_flight.id && !planted!(self.config, ResponseIdNotCompared) {
            return Effects::default();
        }
        match response.body {
            ResponseBody::Applied(answer) => self.handle_answer(answer),
            // The result of an earlier task, executed by the test
            // `lib::client::tests::outcome_is_honest_whatever_arrives`.
            ResponseBody::Found(found) if matches!(in_flight.task, Task::Read { .. }) => {
                self.finish(Outcome::Done(Done::Found(found)))
            }
            // Executed by the test
            // `lib::client::tests::stale_read_takes_stale_answers_and_only_a_stale_read_does`.
            ResponseBody::FoundStale(found) if matches!(in_flight.task, Task::StaleRead { .. }) => {
                self.finish(Outcome::Done(Done::FoundStale(found)))
            }
            // Executed by the test `lib::client::tests::transfer_ends_with_the_answer_of_a_leader`.
            ResponseBody::Leads if matches!(in_flight.task, Task::TransferLeadership { .. }) => {
                self.finish(Outcome::Done(Done::Leads))
            }
            // Executed by the test `lib::client::tests::transfer_ends_with_the_answer_of_a_leader`.
            ResponseBody::NotTransferred(reason)
                if matches!(in_flight.task, Task::TransferLeadership { .. }) =>
            {
                self.finish(Outcome::NotDone(NotDone::NotTransferred(reason)))
            }
            // Every server refuses every copy of this request.
            // Executed by the test
            // `lib::client::tests::operation_outside_of_the_limits_is_refused_at_once_and_never_sent`.
            ResponseBody::OutsideLimits(error) => {
                self.finish(Outcome::NotDone(NotDone::OutsideLimits(error)))
            }
            // This result does not answer the current task. In particular, a stale result never
            // answers a linearizable read.
            // Executed by the test
            // `lib::client::tests::stale_read_takes_stale_answers_and_only_a_stale_read_does`.
            ResponseBody::Found(_)
            | ResponseBody::FoundStale(_)
            | ResponseBody::Leads
            | ResponseBody::NotTransferred(_) => Effects::default(),
            // A proxy never sends this, so the refused copy was not forwarded.
            // Executed by the test
            // `lib::client::tests::in_process::server_that_does_not_lead_did_nothing`.
            ResponseBody::NotLeader { hint } if self.has_one_copy() => {
                self.finish(Outcome::NotDone(NotDone::NotLeader { hint }))
            }
            // Concerns one copy, not the request: see the module. The timer is running.
            ResponseBody::NotLeader { .. }
            | ResponseBody::Interrupted { .. }
            | ResponseBody::Unavailable => self.handle_refusal(),
            // Executed by the test
            // `lib::client::tests::in_process::overload_is_definite_for_what_reached_no_server`.
            ResponseBody::Overloaded => self.handle_overload(),
        }
    }

    /// Whether the request has only one copy, and its destination has received it.
    // Executed by the test
    // `lib::client::tests::in_process::overload_is_definite_for_what_reached_no_server`.
    fn has_one_copy(&self) -> bool {
        let is_first = |in_flight: &InFlight| in_flight.attempts == 1;
        self.config.is_in_process && self.in_flight.as_ref().is_some_and(is_first)
    }

    /// Handles the refusal of one copy of the request; other copies may be in flight.
    fn handle_refusal(&mut self) -> Effects {
        match &self.in_flight {
            Some(in_flight) if in_flight.attempts >= self.config.max_attempts => self.give_up(),
            _ => Effects::default(),
        }
    }

    /// Handles the refusal of one copy because of overload. Only a write that may have been
    /// forwarded has a doubtful outcome.
    // Executed by the test
    // `lib::client::tests::in_process::overload_is_definite_for_what_reached_no_server`.
    fn handle_overload(&mut self) -> Effects {
        let Some(in_flight) = &self.in_flight else {
            unreachable!("a request is in flight");
        };
        let is_last = in_flight.attempts >= self.config.max_attempts;
        match in_flight.task {
            Task::Write { .. } if self.has_one_copy() => {
                self.finish(Outcome::NotDone(NotDone::Overloaded))
            }
            Task::Write { .. } => self.handle_refusal(),
            _ if is_last => self.finish(Outcome::NotDone(NotDone::Overloaded)),
            _ => Effects::default(),
        }
    }

    /// Handles the store's answer to an applied log entry of this request.
    fn handle_answer(&mut self, answer: Answer) -> Effects {
        let Some(in_flight) = &self.in_flight else {
            unreachable!("a request is in flight");
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
                    return Effects {
                        returned: Some(then),
                        ..self.finish(Outcome::NotDone(NotDone::SessionsInUse))
                    };
                }
                self.begin(Task::OpenSession { then, refusals })
            }
            // Executed by the test
            // `lib::client::tests::session_idle_for_long_is_renewed_before_a_write_is_sent_in_it`.
            (Task::RenewSession { then, .. }, Answer::SessionRenewed) => {
                let operation = then.clone();
                self.begin_write(operation)
            }
            // The session was evicted during the idle time. The write was not sent in it.
            // Executed by the test
            // `lib::client::tests::session_idle_for_long_is_renewed_before_a_write_is_sent_in_it`.
            (Task::RenewSession { then, .. }, Answer::SessionExpired) => {
                let operation = then.clone();
                self.session = None;
                self.begin_write(operation)
            }
            (Task::CloseSession { .. }, Answer::SessionClosed) => {
                self.session = None;
                self.finish(Outcome::Done(Done::SessionClosed))
            }
            // No copy was applied before the eviction, and none will be, so a new write is safe.
            (Task::Write { operation, .. }, Answer::NotApplied) => {
                let operation = operation.clone();
                self.session = None;
                self.begin_write(operation)
            }
            // The store was given the only copy and did not apply it. A proxy may send several
            // copies to servers.
            // Executed by the test
            // `lib::client::tests::in_process::only_copy_that_the_store_refuses_is_repeated_in_another_session`.
            (Task::Write { operation, .. }, Answer::SessionExpired)
                if self.has_one_copy() && matches!(self.config.proxy, Address::Node(_)) =>
            {
                let operation = operation.clone();
                self.session = None;
                self.begin_write(operation)
            }
            // Not "nothing changed": that holds for the copy that was answered, but an earlier copy
            // may have been applied before the session was evicted. And a sequence number that this
            // client never acknowledged is refused as acknowledged only if another client shares
            // the session. No copy applied from now on has an effect, and the session is of no
            // further use.
            (Task::Write { .. }, Answer::SessionExpired | Answer::AlreadyAcknowledged) => {
                self.session = None;
                #[cfg(feature = "mutants")]
                if planted!(self.config, ExpiredSessionWriteRepeated)
                    && let Task::Write { operation, .. } = &in_flight.task
                {
                    let operation = operation.clone();
                    return self.begin_write(operation);
                }
                if planted!(self.config, ExpiredTakenForNotDone) {
                    return self.finish(Outcome::NotDone(NotDone::NoSession));
                }
                self.finish(Outcome::Unknown(Unknown::Forgotten))
            }
            (
                Task::Write { .. },
                answer @ (Answer::Written { .. }
                | Answer::Number { .. }
                | Answer::ConditionFailed { .. }
                | Answer::NotANumber
                | Answer::QuotaExceeded
                | Answer::Overflow),
            ) => self.finish(Outcome::Done(Done::Answered(answer))),
            // Concerns one copy, not the request: another copy may be applied, so the timer keeps
            // running.
            // Executed by the test
            // `lib::client::tests::answers_retained_without_acknowledgement_put_a_write_off`.
            (Task::Write { .. }, Answer::TooManyUnacknowledged) => self.handle_refusal(),
            // This answer does not match the current task.
            // Executed by the test `lib::client::tests::response_of_no_concern_changes_nothing`.
            (_, _) => Effects::default(),
        }
    }

    /// Ends the request after its last attempt. The outcome depends on the messages that were sent,
    /// not on the responses.
    fn give_up(&mut self) -> Effects {
        let Some(in_flight) = &self.in_flight else {
            unreachable!("a request is in flight");
        };
        if planted!(self.config, ClientNeverGivesUp) {
            return Effects {
                timer: true,
                ..Effects::default()
            };
        }
        let outcome = match in_flight.task {
            // Only the session request left; the write itself was never sent.
            Task::OpenSession { .. } | Task::RenewSession { .. } => {
                Outcome::NotDone(NotDone::NoSession)
            }
            Task::Write { .. } if planted!(self.config, UnavailableTakenForNotDone) => {
                Outcome::NotDone(NotDone::NoSession)
            }
            Task::Write { .. } => {
                if planted!(self.config, SessionLeftAfterUnknown) {
                    self.session = None;
                }
                Outcome::Unknown(Unknown::NotConfirmed)
            }
            Task::Read { .. } | Task::CloseSession { .. } | Task::TransferLeadership { .. } => {
                Outcome::NotDone(NotDone::NoLeader)
            }
            // Executed by the test
            // `lib::client::tests::stale_read_takes_stale_answers_and_only_a_stale_read_does`.
            Task::StaleRead { .. } => Outcome::NotDone(NotDone::NoServer),
        };
        self.finish(outcome)
    }

    fn finish(&mut self, outcome: Outcome) -> Effects {
        self.in_flight = None;
        Effects {
            outcome: Some(outcome),
            ..Effects::default()
        }
    }
}

impl Task {
    fn request(&self, config: &ClientConfig, attempts: u32) -> RequestBody {
        match self {
            Self::OpenSession { .. } => RequestBody::OpenSession,
            // Executed by the test
            // `lib::client::tests::session_idle_for_long_is_renewed_before_a_write_is_sent_in_it`.
            Self::RenewSession { session, .. } => RequestBody::RenewSession { session: *session },
            Self::CloseSession { session } => RequestBody::CloseSession { session: *session },
            Self::Write {
                session,
                sequence,
                operation,
            } => RequestBody::Write {
                session: *session,
                sequence: *sequence,
                // The client sends one write at a time, so all earlier writes are answered or
                // abandoned. To acknowledge the abandoned ones too settles them (see the module).
                acknowledged: match *sequence {
                    _ if planted!(config, EarlierWritesNotSettled) => 0,
                    sequence if attempts > 1 && planted!(config, RetryAcknowledgesItself) => {
                        sequence + 1
                    }
                    sequence => sequence,
                },
                operation: operation.clone(),
            },
            Self::Read { query } => RequestBody::Read {
                query: query.clone(),
            },
            // Executed by the test
            // `lib::client::tests::stale_read_takes_stale_answers_and_only_a_stale_read_does`.
            Self::StaleRead { query } => RequestBody::StaleRead {
                query: query.clone(),
            },
            // Executed by the test `lib::client::tests::transfer_ends_with_the_answer_of_a_leader`.
            Self::TransferLeadership { target } => {
                RequestBody::TransferLeadership { target: *target }
            }
        }
    }
}

#[cfg(test)]
mod tests;
