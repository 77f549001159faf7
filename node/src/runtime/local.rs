//! Operations requested within this process: a bounded set of sessions, each a
//! [`model::client::Client`] that executes one operation at a time.
//!
//! A local request reaches the core exactly once, through a call instead of a datagram. There is
//! never a second copy of it, so a refusal is definite: an outcome that a network client must treat
//! as unknown is known here.

use crate::error::ProposeError;
use model::{
    Address, ClientId, ClientRequest, Envelope, Message, NodeId,
    client::{Ask, Client, ClientConfig, Effects, Event, Outcome},
    message::ResponseBody,
    store::Answer,
};
use rand::{RngExt as _, rngs::StdRng};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// The channel for the result of an operation.
pub(crate) type Reply = oneshot::Sender<Result<Outcome, ProposeError>>;

/// The local sessions.
pub(crate) struct Local {
    node: NodeId,
    /// The first client id of the local sessions, which are consecutive. Random for each run.
    base: u64,
    max_sessions: usize,
    max_waiting: usize,
    timeout: Duration,
    sessions: Vec<Session>,
    idle: Vec<usize>,
    waiting: VecDeque<QueuedOperation>,
}

struct Session {
    client: Client,
    /// The channel of the operation in progress, and its deadline.
    waiter: Option<(Reply, Instant)>,
}

struct QueuedOperation {
    ask: Ask,
    reply: Reply,
    deadline: Instant,
}

impl Local {
    pub(crate) fn new(
        node: NodeId,
        max_sessions: usize,
        max_waiting: usize,
        timeout: Duration,
        random: &mut StdRng,
    ) -> Self {
        Self {
            node,
            // Halved, so that adding the session number cannot overflow.
            base: random.random::<u64>() >> 1,
            max_sessions,
            max_waiting,
            timeout,
            sessions: Vec::new(),
            idle: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Whether this address belongs to a local session.
    pub(crate) fn owns(&self, address: Address) -> bool {
        self.index_of(address).is_some()
    }

    /// Whether no operation is in progress or waiting.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle.len() == self.sessions.len() && self.waiting.is_empty()
    }

    /// The number of operations that wait for a session.
    pub(crate) fn queued(&self) -> usize {
        self.waiting.len()
    }

    /// Starts an operation, or queues it. Adds the resulting requests for the core to `requests`.
    pub(crate) fn ask(
        &mut self,
        ask: Ask,
        reply: Reply,
        now: Instant,
        requests: &mut Vec<(Address, ClientRequest)>,
    ) {
        if self.waiting.len() >= self.max_waiting {
            answer(reply, Err(ProposeError::Overloaded));
            return;
        }
        let deadline = now + self.timeout;
        self.waiting.push_back(QueuedOperation {
            ask,
            reply,
            deadline,
        });
        self.begin(requests);
    }

    /// Processes the core's response to a request.
    pub(crate) fn receive(
        &mut self,
        envelope: Envelope,
        requests: &mut Vec<(Address, ClientRequest)>,
    ) {
        let Some(index) = self.index_of(envelope.to) else {
            return;
        };
        let verdict = match &envelope.message {
            Message::ClientResponse(response) => verdict(&response.body),
            _ => None,
        };
        let session = &mut self.sessions[index];
        let effects = session.client.step(Event::Receive {
            from: envelope.from,
            message: envelope.message,
        });
        self.settle(index, effects, verdict, requests);
        self.begin(requests);
    }

    /// Times out operations whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant, requests: &mut Vec<(Address, ClientRequest)>) {
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            let late = matches!(&session.waiter, Some((_, deadline)) if *deadline <= now);
            if late {
                let effects = session.client.step(Event::Timeout);
                self.settle(index, effects, None, requests);
            }
        }
        while let Some(first) = self.waiting.front()
            && first.deadline <= now
            && let Some(first) = self.waiting.pop_front()
        {
            answer(first.reply, Err(ProposeError::Overloaded));
        }
        self.begin(requests);
    }

    /// Rejects operations that have not started.
    pub(crate) fn refuse_waiting(&mut self) {
        for waiting in self.waiting.drain(..) {
            answer(waiting.reply, Err(ProposeError::Stopped));
        }
    }

    fn begin(&mut self, requests: &mut Vec<(Address, ClientRequest)>) {
        while !self.waiting.is_empty()
            && let Some(index) = self.free_session()
            && let Some(next) = self.waiting.pop_front()
        {
            let session = &mut self.sessions[index];
            session.waiter = Some((next.reply, next.deadline));
            let effects = session.client.step(Event::Invoke(next.ask));
            self.settle(index, effects, None, requests);
        }
    }

    fn free_session(&mut self) -> Option<usize> {
        if let Some(index) = self.idle.pop() {
            return Some(index);
        }
        let index = self.sessions.len();
        if index >= self.max_sessions {
            return None;
        }
        let id = ClientId::new(self.base + index as u64);
        // One attempt, because no copy can exist; see the module documentation.
        let mut config = ClientConfig::new(Address::Node(self.node), 1);
        config.is_in_process = true;
        self.sessions.push(Session {
            client: Client::new(id, config),
            waiter: None,
        });
        Some(index)
    }

    fn settle(
        &mut self,
        index: usize,
        effects: Effects,
        verdict: Option<ProposeError>,
        requests: &mut Vec<(Address, ClientRequest)>,
    ) {
        for envelope in effects.sends {
            if let Message::ClientRequest(request) = envelope.message {
                requests.push((envelope.from, request));
            }
        }
        let Some(outcome) = effects.outcome else {
            return;
        };
        self.idle.push(index);
        if let Some((reply, _)) = self.sessions[index].waiter.take() {
            let result = match (verdict, outcome) {
                (
                    None | Some(_),
                    done @ (Outcome::Answered(_) | Outcome::Found(_) | Outcome::FoundStale(_)),
                ) => Ok(done),
                (Some(verdict), _) => Err(verdict),
                (None, Outcome::SessionsInUse(_)) => Err(ProposeError::SessionsInUse),
                (None, Outcome::OutsideLimits(error)) => Err(ProposeError::OutsideLimits(error)),
                (None, Outcome::Overloaded) => Err(ProposeError::Overloaded),
                (None, Outcome::Unknown(_) | Outcome::Closed) => Err(ProposeError::Unknown),
                (None, Outcome::NotDone | Outcome::Unavailable) => Err(ProposeError::Unavailable),
            };
            answer(reply, result);
        }
    }

    fn index_of(&self, address: Address) -> Option<usize> {
        let Address::Client(id) = address else {
            return None;
        };
        let index = usize::try_from(id.get().checked_sub(self.base)?).ok()?;
        (index < self.sessions.len()).then_some(index)
    }
}

/// The definite meaning of a refusal, given that there is only one copy of the request.
fn verdict(body: &ResponseBody) -> Option<ProposeError> {
    match body {
        ResponseBody::NotLeader { hint } => Some(ProposeError::NotLeader { leader: *hint }),
        ResponseBody::Applied(Answer::SessionExpired) => Some(ProposeError::SessionExpired),
        ResponseBody::OutsideLimits(error) => Some(ProposeError::OutsideLimits(*error)),
        ResponseBody::Overloaded => Some(ProposeError::Overloaded),
        ResponseBody::Interrupted { .. }
        | ResponseBody::Unavailable
        | ResponseBody::Applied(_)
        | ResponseBody::Found(_)
        | ResponseBody::FoundStale(_) => None,
    }
}

fn answer(reply: Reply, result: Result<Outcome, ProposeError>) {
    // The caller may have dropped its future.
    let _ = reply.send(result);
}
