//! Operations requested within this process, over a
//! [`model::session_pool::SessionPool`] of local sessions.
//!
//! A local request reaches the core exactly once, through a call instead of a datagram. The pool
//! therefore treats a refusal as definite ([`PoolConfig::is_in_process`]).

use model::{
    Address, ClientId, ClientRequest, Envelope, Message, NodeId,
    client::{Invocation, NotDone, Outcome},
    session_pool::{self, PoolConfig, SessionPool, Ticket},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// The channel for the outcome of an operation.
pub(crate) type Reply = oneshot::Sender<Outcome>;

/// The local sessions.
pub(crate) struct Local {
    pool: SessionPool,
    /// The source of client ids.
    random: StdRng,
    /// The start of the pool's time.
    start: Instant,
    timeout: Duration,
    last_ticket: u64,
    /// The operations without an outcome. Later operations have later deadlines.
    operations: BTreeMap<Ticket, PendingOperation>,
}

struct PendingOperation {
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
        now: Instant,
    ) -> Self {
        Self {
            pool: SessionPool::new(PoolConfig {
                proxy: Address::Node(node),
                is_in_process: true,
                max_sessions,
                max_waiting,
                // No copy can exist; see the module documentation.
                max_attempts: 1,
                attempt_timeout: timeout,
            }),
            random: StdRng::from_rng(random),
            start: now,
            timeout,
            last_ticket: 0,
            operations: BTreeMap::new(),
        }
    }

    /// Whether this address belongs to a local session.
    pub(crate) fn owns(&self, address: Address) -> bool {
        self.pool.owns(address)
    }

    /// Whether no operation is in progress or waiting.
    pub(crate) fn is_idle(&self) -> bool {
        self.operations.is_empty()
    }

    /// The number of operations that wait for a session.
    pub(crate) fn queued(&self) -> usize {
        self.pool.load().waiting
    }

    /// Starts an operation, or queues it. Adds the resulting requests for the core to `requests`.
    pub(crate) fn execute(
        &mut self,
        invocation: Invocation,
        reply: Reply,
        now: Instant,
        requests: &mut Vec<(Address, ClientRequest)>,
    ) {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let deadline = now + self.timeout;
        self.operations
            .insert(ticket, PendingOperation { reply, deadline });
        let submitted = session_pool::Event::Submit {
            ticket,
            invocation,
            new_client: ClientId::new(self.random.random()),
        };
        self.step(submitted, now, requests);
    }

    /// Processes the core's response to a request.
    pub(crate) fn receive(
        &mut self,
        envelope: Envelope,
        now: Instant,
        requests: &mut Vec<(Address, ClientRequest)>,
    ) {
        self.step(session_pool::Event::Receive(envelope), now, requests);
    }

    /// Times out operations whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant, requests: &mut Vec<(Address, ClientRequest)>) {
        // First the operations: a client that times out would start the next one of the queue, whose
        // deadline may have passed too.
        while let Some((ticket, first)) = self.operations.first_key_value()
            && first.deadline <= now
        {
            let ticket = *ticket;
            self.step(session_pool::Event::Abandon(ticket), now, requests);
        }
        self.step(session_pool::Event::Timeout, now, requests);
    }

    /// Rejects operations that have not started.
    pub(crate) fn refuse_waiting(&mut self, now: Instant) {
        let queued: Vec<_> = self.pool.queued().collect();
        for ticket in queued {
            self.report(ticket, Outcome::NotDone(NotDone::ShuttingDown));
            self.step(session_pool::Event::Abandon(ticket), now, &mut Vec::new());
        }
    }

    /// Steps the pool, passes requests to the core and outcomes to the callers.
    fn step(
        &mut self,
        event: session_pool::Event,
        now: Instant,
        requests: &mut Vec<(Address, ClientRequest)>,
    ) {
        let effects = self.pool.step(now.duration_since(self.start), event);
        for envelope in effects.sends {
            if let Message::ClientRequest(request) = envelope.message {
                requests.push((envelope.from, request));
            }
        }
        for (ticket, outcome) in effects.outcomes {
            self.report(ticket, outcome);
        }
    }

    fn report(&mut self, ticket: Ticket, outcome: Outcome) {
        if let Some(operation) = self.operations.remove(&ticket) {
            // The caller may have dropped its future.
            let _ = operation.reply.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::store::{Condition, Operation};

    const TIMEOUT: Duration = Duration::from_secs(5);

    fn put() -> Invocation {
        Invocation::Write(Operation::Put {
            key: b"k".to_vec(),
            value: "v".into(),
            condition: Condition::Always,
        })
    }

    /// All deadlines pass in one turn: the operation in the queue never reaches the core.
    #[test]
    fn queued_operation_past_its_deadline_is_refused_and_not_started() {
        let start = Instant::now();
        let mut random = StdRng::seed_from_u64(1);
        let mut local = Local::new(NodeId::new(1), 1, 10, TIMEOUT, &mut random, start);
        let mut requests = Vec::new();
        let results = [0, 1].map(|_| {
            let (reply, result) = oneshot::channel();
            local.execute(put(), reply, start, &mut requests);
            result
        });
        assert_eq!((requests.len(), local.queued()), (1, 1));
        requests.clear();
        local.expire(start + TIMEOUT, &mut requests);
        assert!(requests.is_empty(), "{requests:?}");
        // The first one has only opened a session, so it was not sent either.
        let not_sent = Outcome::NotDone(NotDone::NoSession);
        for mut result in results {
            assert_eq!(result.try_recv().as_ref(), Ok(&not_sent));
        }
        assert!(local.is_idle());
    }
}
