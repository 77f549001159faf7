//! A proxy with its clients, timers and shutdown, as a pure step function.
//!
//! [`Proxy`] decides to which server a request goes. A [`Router`] adds the rest of a proxy: it
//! accepts requests from the network and from clients in its own process, remembers where each
//! response must go, arms the timers of attempts, and refuses new requests while it drains.
//! [`Router::step`] takes the time, a random number and one [`Event`] and returns the [`Effects`]
//! that the driver must carry out. [`Router::next_timeout`] is the time of the next
//! [`Event::Timeout`].
//!
//! # Ids
//! A proxy uses a random id in its messages to the servers, so that two proxies never accept each other's
//! responses. Clients on the network have the address of a proxy but not its id. The router responds
//! to each of them under the id that it used.
//!
//! A client without a proxy runs a router in its own process. Its requests leave under the id of
//! the client ([`Sender::Client`]), so that the servers see clients that contact them directly, and
//! the clients' key is sufficient. The protocol does not depend on the sender: a server responds to
//! the sender of a request, a request has the same meaning from every sender, and two clients never
//! share an id.
//!
//! # Invariants
//! * Each accepted request has exactly one response, which goes to the source of its first
//!   transmission. A retransmission of a request in flight changes nothing.
//! * A client without a proxy ([`Sender::Client`]) accepts no requests from the network. No router
//!   accepts responses under the id of an unknown server.
//! * State grows only with requests in flight, which the proxy bounds, and with the timers that
//!   were armed within one timeout.
//!
//! # Omissions
//! Durable state: a proxy may lose all of its state at the cost of time only. Backpressure: the
//! proxy rejects requests beyond its bound with an explicit response.

use crate::{
    Address, ClientId, Envelope, Message, NodeId, ProxyId, RequestId,
    message::{RequestKind, ResponseBody},
    proxy::{self, Proxy, ProxyConfig},
};
use alloc::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    vec::Vec,
};
use core::time::Duration;

/// The configuration of a router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouterConfig {
    /// The servers and limits of the proxy. There is at least one server.
    pub proxy: ProxyConfig,
    /// The timeout of one attempt. After it, the request goes to another server.
    pub attempt_timeout: Duration,
    /// The sender of requests to servers.
    pub sender: Sender,
}

/// The sender of requests to servers, to which they respond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The proxy.
    Proxy,
    /// The client of the request.
    Client,
}

/// The source of a request, and the destination of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A client in this process.
    Local,
    /// This process itself, for its own status. It does not count as load.
    Internal,
    /// A client on the network that used this id for the proxy.
    Network(ProxyId),
}

/// An input of the step function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Envelopes arrived from the network.
    Datagrams(Vec<Envelope>),
    /// Clients in this process send requests.
    Requests {
        /// The requests.
        envelopes: Vec<Envelope>,
        /// Whether they come from this process itself ([`Origin::Internal`]).
        is_internal: bool,
    },
    /// [`Router::next_timeout`] has passed.
    Timeout,
    /// From now on, requests from the network are ignored. Requests in flight are finished.
    Drain,
}

/// The work that a step leaves to the driver, and the numbers for its metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The envelopes for the network.
    pub sends: Vec<Envelope>,
    /// The responses to the clients in this process.
    pub responses: Vec<Envelope>,
    /// The requests that ended.
    pub completed: Vec<Completed>,
    /// The number of requests that were received, including retransmissions; internal ones do not
    /// count.
    pub received: usize,
    /// The number of requests sent to servers, including retries.
    pub sent: usize,
    /// The number of attempts that timed out.
    pub timed_out: usize,
    /// Whether a leader answered.
    pub has_answer: bool,
}

/// A request that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The source of the request.
    pub origin: Origin,
    /// The kind of the request.
    pub kind: RequestKind,
    /// The time from the arrival of the request to its response.
    pub took: Duration,
    /// Whether the proxy gave up or rejected the request.
    pub is_given_up: bool,
}

/// A router. See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Router {
    proxy: Proxy,
    nodes: Vec<NodeId>,
    attempt_timeout: Duration,
    sender: Sender,
    /// The requests in flight.
    routes: BTreeMap<Key, Route>,
    /// The armed timers. All have the same duration, so the order of arming is the order of expiry.
    /// A timer is valid while it is the deadline of its request.
    timers: VecDeque<(Duration, Key)>,
    is_draining: bool,
}

type Key = (ClientId, RequestId);

/// The return route of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Route {
    origin: Origin,
    kind: RequestKind,
    received: Duration,
    deadline: Option<Duration>,
}

impl Router {
    /// Creates a router without requests.
    ///
    /// # Panics
    /// If there are no servers.
    pub fn new(id: ProxyId, config: RouterConfig) -> Self {
        let nodes: Vec<NodeId> = config.proxy.nodes.iter().copied().collect();
        assert!(!nodes.is_empty(), "a proxy has at least one server");
        Self {
            proxy: Proxy::new(id, config.proxy),
            nodes,
            attempt_timeout: config.attempt_timeout,
            sender: config.sender,
            routes: BTreeMap::new(),
            timers: VecDeque::new(),
            is_draining: false,
        }
    }

    /// Handles one event and returns its effects. `now` is the time since an arbitrary start, and
    /// never decreases. `random` selects the servers of requests while no leader is known.
    pub fn step(&mut self, now: Duration, random: u64, event: Event) -> Effects {
        let mut effects = Effects::default();
        let mut context = Context {
            now,
            random,
            effects: &mut effects,
        };
        match event {
            Event::Datagrams(envelopes) => {
                for envelope in envelopes {
                    self.receive_datagram(envelope, &mut context);
                }
            }
            Event::Requests {
                envelopes,
                is_internal,
            } => {
                for envelope in envelopes {
                    self.receive_local(envelope, is_internal, &mut context);
                }
            }
            Event::Timeout => self.time_out(&mut context),
            Event::Drain => self.is_draining = true,
        }
        while let Some((deadline, key)) = self.timers.front()
            && !self.is_armed(*key, *deadline)
        {
            self.timers.pop_front();
        }
        effects
    }

    /// The time of the next timeout. `None` if no request is in flight.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.timers.front().map(|(deadline, _)| *deadline)
    }

    /// The leader that the proxy has cached.
    pub fn leader(&self) -> Option<NodeId> {
        self.proxy.leader()
    }

    /// The number of requests in flight.
    pub fn in_flight(&self) -> usize {
        self.proxy.in_flight()
    }

    /// Whether requests from the network are ignored.
    pub fn is_draining(&self) -> bool {
        self.is_draining
    }

    fn receive_datagram(&mut self, envelope: Envelope, context: &mut Context<'_>) {
        let Envelope { from, to, message } = envelope;
        match (from, to, &message) {
            (Address::Client(client), Address::Proxy(called), Message::ClientRequest(request))
                if client == request.client
                    && self.sender == Sender::Proxy
                    && !self.is_draining =>
            {
                context.effects.received += 1;
                let key = (request.client, request.id);
                self.add_route(
                    key,
                    Origin::Network(called),
                    request.body.kind(),
                    context.now,
                );
            }
            (Address::Node(_), to, Message::ClientResponse(response))
                if to == self.address_of(response.client) =>
            {
                context.effects.has_answer |= matches!(
                    response.body,
                    ResponseBody::Applied(_) | ResponseBody::Found(_)
                );
            }
            _ => return,
        }
        self.receive(from, message, context);
    }

    fn receive_local(&mut self, envelope: Envelope, is_internal: bool, context: &mut Context<'_>) {
        let Message::ClientRequest(request) = &envelope.message else {
            return;
        };
        context.effects.received += usize::from(!is_internal);
        let origin = if is_internal {
            Origin::Internal
        } else {
            Origin::Local
        };
        let key = (request.client, request.id);
        self.add_route(key, origin, request.body.kind(), context.now);
        self.receive(envelope.from, envelope.message, context);
    }

    /// The address to which servers respond.
    fn address_of(&self, client: ClientId) -> Address {
        match self.sender {
            Sender::Proxy => Address::Proxy(self.proxy.id()),
            Sender::Client => Address::Client(client),
        }
    }

    fn add_route(&mut self, key: Key, origin: Origin, kind: RequestKind, now: Duration) {
        if let Entry::Vacant(entry) = self.routes.entry(key) {
            entry.insert(Route {
                origin,
                kind,
                received: now,
                deadline: None,
            });
        }
    }

    fn receive(&mut self, from: Address, message: Message, context: &mut Context<'_>) {
        let random_node = context.random_node(&self.nodes);
        let event = proxy::Event::Receive {
            from,
            message,
            random_node,
        };
        self.step_proxy(event, context);
    }

    fn time_out(&mut self, context: &mut Context<'_>) {
        while let Some((deadline, key)) = self
            .timers
            .pop_front_if(|(deadline, _)| *deadline <= context.now)
        {
            // The timer was armed again since, or the request was answered.
            if !self.is_armed(key, deadline) {
                continue;
            }
            context.effects.timed_out += 1;
            let (client, id) = key;
            let random_node = context.random_node(&self.nodes);
            let event = proxy::Event::Timeout {
                client,
                id,
                random_node,
            };
            self.step_proxy(event, context);
        }
    }

    fn is_armed(&self, key: Key, deadline: Duration) -> bool {
        let route = self.routes.get(&key);
        route.and_then(|route| route.deadline) == Some(deadline)
    }

    fn step_proxy(&mut self, event: proxy::Event, context: &mut Context<'_>) {
        let stepped = self.proxy.step(event);
        for key in stepped.timers {
            let deadline = context.now + self.attempt_timeout;
            if let Some(route) = self.routes.get_mut(&key) {
                route.deadline = Some(deadline);
                self.timers.push_back((deadline, key));
            }
        }
        for mut envelope in stepped.sends {
            match &envelope.message {
                Message::ClientRequest(request) => {
                    envelope.from = self.address_of(request.client);
                    context.effects.sent += 1;
                    context.effects.sends.push(envelope);
                }
                Message::ClientResponse(response) => {
                    let key = (response.client, response.id);
                    let is_given_up = response.body.is_given_up();
                    self.respond(key, envelope, is_given_up, context);
                }
                _ => {}
            }
        }
    }

    /// Sends a response to the source of its request.
    fn respond(
        &mut self,
        key: Key,
        mut envelope: Envelope,
        is_given_up: bool,
        context: &mut Context<'_>,
    ) {
        let Some(route) = self.routes.remove(&key) else {
            return;
        };
        context.effects.completed.push(Completed {
            origin: route.origin,
            kind: route.kind,
            took: context.now.saturating_sub(route.received),
            is_given_up,
        });
        match route.origin {
            Origin::Network(called) => {
                envelope.from = Address::Proxy(called);
                context.effects.sends.push(envelope);
            }
            Origin::Local | Origin::Internal => context.effects.responses.push(envelope),
        }
    }
}

/// One step: its inputs and its effects so far.
struct Context<'a> {
    now: Duration,
    random: u64,
    effects: &'a mut Effects,
}

impl Context<'_> {
    /// A random server. The requests of one step go to consecutive servers.
    fn random_node(&mut self, nodes: &[NodeId]) -> NodeId {
        self.random = self.random.wrapping_add(1);
        nodes[(self.random % nodes.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests;
