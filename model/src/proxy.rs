//! A proxy as a pure step function: it forwards client requests to the leader.
//!
//! [`Proxy::step`] takes one [`Event`] (a received message, a request timeout) and returns the
//! [`Effects`] that the driver must carry out. The proxy neither changes a request nor decides its
//! outcome: client and store ensure exactly-once semantics (thesis §6.3). The proxy may lose all of
//! its state at any moment; that costs only time.
//!
//! # Finding the leader (thesis §6.2)
//! The proxy caches one server as the leader. A server that answers is or was the leader. A server
//! that refuses may name the leader that it follows (a leader hint). A server that stays silent is
//! removed from the cache. Without a cached leader, a request goes to the server that the driver
//! drew. The driver draws because this module has no randomness, and at random so that many proxies
//! do not converge on one server.
//!
//! * *Refused with a hint*: the proxy follows the hint at once. A server that no longer leads the
//!   term of the hint has moved on to a later term, so each hint leads to a later term than the
//!   last, and the search ends. (A late message may break the chain; attempts are limited anyway.)
//! * *Refused without a hint*: an election is probably in progress. Trying all servers in turn
//!   would use up the attempts long before it ends, so the request waits for its timeout.
//! * *Refused for overload*: the server is the leader. The request waits for its timeout and is
//!   retried there. See *Backpressure*.
//! * *No response*: after the timeout the request goes to another server.
//!
//! # Stale reads
//! Any server answers stale reads. They go to the drawn server, regardless of the cached leader,
//! and after a timeout to another one. Their outcome does not reveal the leader. Only a stale
//! result ends a stale read, and a stale result ends no other request: `Flight` holds the request,
//! and the proxy ignores responses of the other kind.
//!
//! # Giving up
//! After [`ProxyConfig::max_attempts`] attempts the proxy gives up and responds `Unavailable`. The
//! outcome is then unknown: a request that it forwarded may still take effect. A read or a session
//! request whose last attempt was refused for overload ends as `Overloaded`.
//!
//! # Backpressure
//! The proxy responds `Overloaded` to a write only if it forwarded no copy of that write. A
//! forwarded write never ends that way, even if servers refused all of its copies: the network
//! duplicates datagrams, so a refused copy may arrive again and take effect. The proxy therefore
//! refuses early:
//! * at its own limit of requests in flight;
//! * while the leader is overloaded and a command is in flight. That command probes the leader: its
//!   timeout retries it, and the first command that the leader applies ends the overload. Silence
//!   of the leader, or a new cached leader, ends it too.
//!
//! # Invariants
//! * At most [`ProxyConfig::max_in_flight`] requests are in flight. Further requests are refused at
//!   once, so that overload causes refusals, not memory growth.
//! * A request is identified by its client and by that client's request id. A duplicate of a
//!   request in flight is ignored: the attempts of that request are in progress.
//! * State grows only with distinct requests in flight. A late copy of a finished request is
//!   forwarded again, with the same messages as before.
//! * A client's requests come from that client, and the response goes there, so that no client can
//!   occupy the id of another client's request. A proxy behind a proxy is not supported.
//! * A response to no request in flight changes nothing, not even the cached leader: it is old, and
//!   its sender may no longer be the leader.
//!
//! # Omissions
//! Linearizable reads at followers, batching, hedging (one request to two servers at once), and an
//! immediate retry of the waiting requests when another request finds the leader: their timers do
//! that slightly later.

use crate::{
    Address, ClientId, ClientRequest, ClientResponse, Envelope, Message, NodeId, ProxyId,
    RequestId,
    message::{RequestBody, ResponseBody},
    mutant::planted,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use serde::{Deserialize, Serialize};

/// The configuration of one proxy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProxyConfig {
    /// The servers of the cluster. Hints and responses that name or come from others are ignored.
    pub nodes: BTreeSet<NodeId>,
    /// The maximum number of attempts per request. 0 counts as 1.
    pub max_attempts: u32,
    /// The maximum number of requests in flight.
    pub max_in_flight: usize,
    /// The bug planted in this proxy, in checker builds.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl ProxyConfig {
    /// Configures a proxy for these servers, with these limits.
    pub fn new(nodes: BTreeSet<NodeId>, max_attempts: u32, max_in_flight: usize) -> Self {
        Self {
            nodes,
            max_attempts,
            max_in_flight,
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// An input of the step function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// A message was received. It may be delayed, duplicated or reordered.
    Receive {
        /// The sender.
        from: Address,
        /// The message.
        message: Message,
        /// A random server of [`ProxyConfig::nodes`], used if the proxy knows no leader.
        ask: NodeId,
    },
    /// A request timed out.
    Timeout {
        /// The client that sent the request.
        client: ClientId,
        /// The number of the request.
        id: RequestId,
        /// A random server of [`ProxyConfig::nodes`], used if the proxy knows no leader.
        ask: NodeId,
    },
}

/// The work that a step leaves to the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The messages that may leave now.
    pub sends: Vec<Envelope>,
    /// The requests whose timers to rearm, replacing their running timers. The driver may disarm a
    /// timer once its request is no longer [in flight](Proxy::is_in_flight); a timeout after that
    /// is ignored.
    pub timers: Vec<(ClientId, RequestId)>,
}

/// A proxy. See the module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Proxy {
    pub(crate) id: ProxyId,
    pub(crate) config: ProxyConfig,
    /// The cached leader.
    pub(crate) leader: Option<NodeId>,
    /// The server that refused a command for overload, until a command is applied.
    pub(crate) overloaded: Option<NodeId>,
    pub(crate) in_flight: BTreeMap<(ClientId, RequestId), Flight>,
}

/// A request in flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Flight {
    /// The request as received from the client and forwarded to the servers.
    pub(crate) request: ClientRequest,
    /// The server whose response is awaited; none after it refused without a usable hint.
    pub(crate) asked: Option<NodeId>,
    /// The number of attempts so far, from 1.
    pub(crate) attempts: u32,
}

impl Flight {
    fn is_stale_read(&self) -> bool {
        matches!(self.request.body, RequestBody::StaleRead { .. })
    }
}

impl Proxy {
    /// Starts or restarts a proxy, without any state.
    pub fn new(id: ProxyId, config: ProxyConfig) -> Self {
        Self {
            id,
            config,
            leader: None,
            overloaded: None,
            in_flight: BTreeMap::new(),
        }
    }

    /// Handles one event and returns its effects.
    pub fn step(&mut self, event: Event) -> Effects {
        let mut effects = Effects::default();
        match event {
            Event::Receive { from, message, ask } => match (from, message) {
                (Address::Client(from), Message::ClientRequest(request))
                    if from == request.client =>
                {
                    self.handle_client_request(request, ask, &mut effects);
                }
                (Address::Node(from), Message::ClientResponse(response))
                    if self.config.nodes.contains(&from) =>
                {
                    self.handle_client_response(from, response, &mut effects);
                }
                // No correct sender addresses these here; a forged or misrouted message has no
                // effect.
                _ => {}
            },
            Event::Timeout { client, id, ask } => {
                self.request_timeout((client, id), ask, &mut effects);
            }
        }
        effects
    }

    /// This proxy's id.
    pub fn id(&self) -> ProxyId {
        self.id
    }

    /// The configuration.
    pub fn config(&self) -> &ProxyConfig {
        &self.config
    }

    /// The cached leader.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Whether this request waits for a response.
    pub fn is_in_flight(&self, client: ClientId, id: RequestId) -> bool {
        self.in_flight.contains_key(&(client, id))
    }

    /// The number of requests that wait for a response.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn handle_client_request(
        &mut self,
        request: ClientRequest,
        ask: NodeId,
        effects: &mut Effects,
    ) {
        let key = (request.client, request.id);
        if self.in_flight.contains_key(&key) {
            return;
        }
        // Every server would refuse it, so its values need not be forwarded.
        if let Err(error) = request.body.check_limits() {
            self.respond(key, ResponseBody::OutsideLimits(error), effects);
            return;
        }
        let is_full = self.in_flight.len() >= self.config.max_in_flight;
        if is_full || (request.body.is_command() && self.sends_no_command()) {
            self.respond(key, ResponseBody::Overloaded, effects);
            return;
        }
        let flight = Flight {
            request,
            asked: None,
            attempts: 0,
        };
        let to = match self.leader {
            Some(leader) if !flight.is_stale_read() => leader,
            _ => ask,
        };
        self.in_flight.insert(key, flight);
        self.send(key, to, effects);
    }

    /// Whether the leader is overloaded while a command in flight probes for the end of the
    /// overload.
    fn sends_no_command(&self) -> bool {
        self.overloaded.is_some()
            && self.overloaded == self.leader
            && self
                .in_flight
                .values()
                .any(|flight| flight.request.body.is_command())
    }

    fn handle_client_response(
        &mut self,
        from: NodeId,
        response: ClientResponse,
        effects: &mut Effects,
    ) {
        let mut key = (response.client, response.id);
        if planted!(self.config, ProxyMixesRequestsUp) {
            let of_client = |flight: &&(ClientId, RequestId)| flight.0 == response.client;
            key = self
                .in_flight
                .keys()
                .find(of_client)
                .copied()
                .unwrap_or(key);
        }
        let Some(flight) = self.in_flight.get(&key) else {
            return;
        };
        if flight.is_stale_read() {
            // Any server answers stale reads, so no other response applies.
            if let body @ (ResponseBody::FoundStale(_) | ResponseBody::OutsideLimits(_)) =
                response.body
            {
                self.respond(key, body, effects);
                self.in_flight.remove(&key);
            }
            return;
        }
        match response.body {
            // All servers refuse alike, leader or not.
            body @ ResponseBody::OutsideLimits(_) => {
                self.respond(key, body, effects);
                self.in_flight.remove(&key);
            }
            // Never answers a request that only the leader may answer.
            ResponseBody::FoundStale(_) => {}
            // The response to any attempt answers the request.
            body @ (ResponseBody::Applied(_) | ResponseBody::Found(_)) => {
                let is_kept = !planted!(self.config, ProxyForgetsLeader);
                self.leader = is_kept.then_some(from);
                if matches!(body, ResponseBody::Applied(_)) {
                    self.overloaded = None;
                }
                self.respond(key, body, effects);
                self.in_flight.remove(&key);
            }
            // A refusal by another server belongs to an earlier attempt, which is already handled.
            ResponseBody::NotLeader { hint } | ResponseBody::Interrupted { hint }
                if flight.asked == Some(from) =>
            {
                self.handle_refusal(key, from, hint, effects);
            }
            ResponseBody::NotLeader { .. } | ResponseBody::Interrupted { .. } => {}
            // The leader is overloaded. The request waits for its timeout and is retried there.
            ResponseBody::Overloaded => {
                if flight.asked == Some(from) {
                    self.handle_overload(key, from, effects);
                }
            }
            // Servers do not send this.
            ResponseBody::Unavailable => {}
        }
    }

    /// Handles the refusal of a server that is not the leader, or no longer.
    fn handle_refusal(
        &mut self,
        key: (ClientId, RequestId),
        from: NodeId,
        hint: Option<NodeId>,
        effects: &mut Effects,
    ) {
        let hint = hint
            .filter(|hint| *hint != from && self.config.nodes.contains(hint))
            .filter(|_| !planted!(self.config, ProxyIgnoresHints));
        if hint.is_some() {
            self.leader = hint;
        } else if self.leader == Some(from) {
            // A server without a leader knows only about itself: another cached leader stays.
            self.leader = None;
        }
        if self.overloaded == Some(from) {
            self.overloaded = None;
        }
        let Some(flight) = self.in_flight.get_mut(&key) else {
            return;
        };
        flight.asked = None;
        if flight.attempts >= self.config.max_attempts {
            if !planted!(self.config, ProxyNeverGivesUp) {
                self.give_up(key, effects);
            }
        } else if let Some(leader) = self.leader {
            self.send(key, leader, effects);
        }
    }

    /// Handles the overload of a leader, which did not accept the request. No other server would
    /// accept it, and an immediate retry would add to the load.
    fn handle_overload(&mut self, key: (ClientId, RequestId), from: NodeId, effects: &mut Effects) {
        self.leader = Some(from);
        let Some(flight) = self.in_flight.get_mut(&key) else {
            return;
        };
        flight.asked = None;
        let body = &flight.request.body;
        if body.is_command() {
            self.overloaded = Some(from);
        }
        if flight.attempts >= self.config.max_attempts {
            if matches!(body, RequestBody::Write { .. }) {
                self.give_up(key, effects);
            } else {
                self.in_flight.remove(&key);
                self.respond(key, ResponseBody::Overloaded, effects);
            }
        }
    }

    fn request_timeout(&mut self, key: (ClientId, RequestId), ask: NodeId, effects: &mut Effects) {
        let Some(flight) = self.in_flight.get(&key) else {
            return;
        };
        let stale = flight.is_stale_read();
        let stays = planted!(self.config, ProxyStaysWithSilentServer);
        if !stale && !stays && flight.asked.is_some() && flight.asked == self.leader {
            self.leader = None;
        }
        let to = match self.leader {
            _ if stale => self.other_than(flight.asked, ask),
            _ if stays => flight.asked.unwrap_or(ask),
            leader => leader.unwrap_or(ask),
        };
        if flight.attempts >= self.config.max_attempts {
            if !planted!(self.config, ProxyNeverGivesUp) {
                self.give_up(key, effects);
            }
        } else {
            self.send(key, to, effects);
        }
    }

    /// The drawn server, or the next one if the drawn server has just been silent.
    fn other_than(&self, silent: Option<NodeId>, ask: NodeId) -> NodeId {
        if silent != Some(ask) {
            return ask;
        }
        let nodes = &self.config.nodes;
        let mut after = nodes.iter().filter(|node| **node > ask).chain(nodes);
        after.next().copied().unwrap_or(ask)
    }

    fn send(&mut self, key: (ClientId, RequestId), to: NodeId, effects: &mut Effects) {
        let Some(flight) = self.in_flight.get_mut(&key) else {
            return;
        };
        flight.asked = Some(to);
        flight.attempts += 1;
        effects.sends.push(Envelope {
            from: Address::Proxy(self.id),
            to: Address::Node(to),
            message: Message::ClientRequest(flight.request.clone()),
        });
        effects.timers.push(key);
    }

    fn give_up(&mut self, key: (ClientId, RequestId), effects: &mut Effects) {
        self.in_flight.remove(&key);
        self.respond(key, ResponseBody::Unavailable, effects);
    }

    fn respond(
        &self,
        (client, id): (ClientId, RequestId),
        body: ResponseBody,
        effects: &mut Effects,
    ) {
        effects.sends.push(Envelope {
            from: Address::Proxy(self.id),
            to: Address::Client(client),
            message: Message::ClientResponse(ClientResponse { client, id, body }),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Config, LogIndex, Raft,
        client::{self, Ask, Client, ClientConfig, Outcome},
        message::FoundStale,
        raft::{self, Durable},
        store::{Answer, Condition, Found, LimitError, Operation, Query, Versioned},
    };
    use alloc::{collections::VecDeque, vec};

    const ID: ProxyId = ProxyId::new(1);
    const CLIENT: ClientId = ClientId::new(7);
    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
    const N3: NodeId = NodeId::new(3);
    const STRANGER: NodeId = NodeId::new(9);

    fn proxy(max_attempts: u32) -> Proxy {
        let config = ProxyConfig::new([N1, N2, N3].into(), max_attempts, 2);
        Proxy::new(ID, config)
    }

    fn request(id: u64) -> ClientRequest {
        ClientRequest {
            client: CLIENT,
            id: RequestId::new(id),
            body: RequestBody::OpenSession,
        }
    }

    fn write_request(id: u64) -> ClientRequest {
        let body = RequestBody::Write {
            session: crate::SessionId::new(1),
            sequence: 1,
            acknowledged: 1,
            operation: Operation::Increment {
                key: b"n".to_vec(),
                by: 1,
            },
        };
        ClientRequest {
            body,
            ..request(id)
        }
    }

    fn stale_request(id: u64) -> ClientRequest {
        let query = Query::Get { key: b"k".to_vec() };
        let body = RequestBody::StaleRead { query };
        ClientRequest {
            body,
            ..request(id)
        }
    }

    /// The client sends a stale read; the driver drew `ask`.
    fn asks_stale(proxy: &mut Proxy, id: u64, ask: NodeId) -> Effects {
        proxy.step(Event::Receive {
            from: Address::Client(CLIENT),
            message: Message::ClientRequest(stale_request(id)),
            ask,
        })
    }

    fn stale_sent(id: u64, to: NodeId) -> Effects {
        let mut effects = sent(id, to);
        effects.sends[0].message = Message::ClientRequest(stale_request(id));
        effects
    }

    fn found_stale() -> ResponseBody {
        ResponseBody::FoundStale(FoundStale {
            found: Found::Value(None),
            applied_index: LogIndex::new(9),
        })
    }

    /// The client sends a request; the driver drew `ask`.
    fn asks(proxy: &mut Proxy, id: u64, ask: NodeId) -> Effects {
        proxy.step(Event::Receive {
            from: Address::Client(CLIENT),
            message: Message::ClientRequest(request(id)),
            ask,
        })
    }

    /// A server responds; the driver drew `STRANGER`, which must not receive a message.
    fn answers(proxy: &mut Proxy, from: NodeId, id: u64, body: ResponseBody) -> Effects {
        proxy.step(Event::Receive {
            from: Address::Node(from),
            message: response(id, body),
            ask: STRANGER,
        })
    }

    fn timeout(proxy: &mut Proxy, id: u64, ask: NodeId) -> Effects {
        proxy.step(Event::Timeout {
            client: CLIENT,
            id: RequestId::new(id),
            ask,
        })
    }

    fn response(id: u64, body: ResponseBody) -> Message {
        Message::ClientResponse(ClientResponse {
            client: CLIENT,
            id: RequestId::new(id),
            body,
        })
    }

    fn applied() -> ResponseBody {
        ResponseBody::Applied(Answer::Written {
            version: LogIndex::new(3),
        })
    }

    fn not_leader(hint: Option<NodeId>) -> ResponseBody {
        ResponseBody::NotLeader { hint }
    }

    fn sent(id: u64, to: NodeId) -> Effects {
        Effects {
            sends: vec![Envelope {
                from: Address::Proxy(ID),
                to: Address::Node(to),
                message: Message::ClientRequest(request(id)),
            }],
            timers: vec![(CLIENT, RequestId::new(id))],
        }
    }

    fn responded(id: u64, body: ResponseBody) -> Effects {
        Effects {
            sends: vec![Envelope {
                from: Address::Proxy(ID),
                to: Address::Client(CLIENT),
                message: response(id, body),
            }],
            timers: vec![],
        }
    }

    #[test]
    fn request_goes_to_the_drawn_server_then_to_the_one_that_answered() {
        let mut proxy = proxy(3);
        assert_eq!(asks(&mut proxy, 1, N2), sent(1, N2));
        let effects = answers(&mut proxy, N2, 1, applied());
        assert_eq!(effects, responded(1, applied()));
        assert_eq!((proxy.leader(), proxy.in_flight()), (Some(N2), 0));
        assert_eq!(asks(&mut proxy, 2, N1), sent(2, N2));
        // Reads find the leader too.
        let found = ResponseBody::Found(Found::Value(None));
        let effects = answers(&mut proxy, N2, 2, found.clone());
        assert_eq!(effects, responded(2, found));
    }

    #[test]
    fn request_repeated_in_flight_is_absorbed() {
        let mut proxy = proxy(3);
        asks(&mut proxy, 1, N1);
        let before = proxy.clone();
        assert_eq!(asks(&mut proxy, 1, N2), Effects::default());
        assert_eq!(proxy, before);
        // Once the request is finished, a late copy is forwarded again, as before.
        answers(&mut proxy, N1, 1, applied());
        let idle = proxy.clone();
        assert_eq!(asks(&mut proxy, 1, N1), sent(1, N1));
        answers(&mut proxy, N1, 1, applied());
        assert_eq!(proxy, idle);
    }

    #[test]
    fn refusal_with_hint_is_followed_at_once() {
        let mut proxy = proxy(3);
        asks(&mut proxy, 1, N1);
        let refusal = not_leader(Some(N2));
        assert_eq!(answers(&mut proxy, N1, 1, refusal.clone()), sent(1, N2));
        assert_eq!(proxy.leader(), Some(N2));
        // A duplicate of the refusal has no effect.
        let before = proxy.clone();
        assert_eq!(answers(&mut proxy, N1, 1, refusal), Effects::default());
        assert_eq!(proxy, before);
        let interrupted = ResponseBody::Interrupted { hint: Some(N3) };
        assert_eq!(answers(&mut proxy, N2, 1, interrupted), sent(1, N3));
        // No attempts are left, but the hint still updates the cached leader.
        let effects = answers(&mut proxy, N3, 1, not_leader(Some(N1)));
        assert_eq!(effects, responded(1, ResponseBody::Unavailable));
        assert_eq!((proxy.leader(), proxy.in_flight()), (Some(N1), 0));
    }

    #[test]
    fn refusal_without_usable_hint_waits_for_the_timer() {
        for hint in [None, Some(N1), Some(STRANGER)] {
            let mut proxy = proxy(2);
            asks(&mut proxy, 1, N1);
            let effects = answers(&mut proxy, N1, 1, not_leader(hint));
            assert_eq!(effects, Effects::default());
            assert_eq!(proxy.leader(), None);
            assert_eq!(timeout(&mut proxy, 1, N3), sent(1, N3));
            let effects = answers(&mut proxy, N3, 1, not_leader(None));
            assert_eq!(effects, responded(1, ResponseBody::Unavailable));
        }
    }

    #[test]
    fn overloaded_leader_is_asked_again_when_the_timer_runs_out() {
        let mut proxy = proxy(2);
        asks(&mut proxy, 1, N1);
        let effects = answers(&mut proxy, N1, 1, ResponseBody::Overloaded);
        assert_eq!((effects, proxy.leader()), (Effects::default(), Some(N1)));
        // A duplicate has no effect, nor has a response of another server.
        let before = proxy.clone();
        for from in [N1, N2] {
            let effects = answers(&mut proxy, from, 1, ResponseBody::Overloaded);
            assert_eq!((effects, &proxy), (Effects::default(), &before));
        }
        assert_eq!(timeout(&mut proxy, 1, N3), sent(1, N1));
        let effects = answers(&mut proxy, N1, 1, ResponseBody::Overloaded);
        assert_eq!(effects, responded(1, ResponseBody::Overloaded));
        assert_eq!((proxy.leader(), proxy.in_flight()), (Some(N1), 0));
    }

    /// Refused copies of a write may arrive again, so its outcome is never a definite refusal.
    #[test]
    fn write_that_was_sent_never_ends_as_overloaded() {
        let mut proxy = proxy(2);
        let write = write_request(1);
        let effects = proxy.step(Event::Receive {
            from: Address::Client(CLIENT),
            message: Message::ClientRequest(write),
            ask: N1,
        });
        assert_eq!(effects.sends.len(), 1);
        answers(&mut proxy, N1, 1, ResponseBody::Overloaded);
        timeout(&mut proxy, 1, N3);
        let effects = answers(&mut proxy, N1, 1, ResponseBody::Overloaded);
        assert_eq!(effects, responded(1, ResponseBody::Unavailable));
    }

    #[test]
    fn one_command_at_a_time_probes_an_overloaded_leader_and_others_are_never_sent() {
        let mut proxy = Proxy::new(ID, ProxyConfig::new([N1, N2, N3].into(), 9, 9));
        asks(&mut proxy, 1, N1);
        answers(&mut proxy, N1, 1, ResponseBody::Overloaded);
        let before = proxy.clone();
        assert_eq!(
            asks(&mut proxy, 2, N2),
            responded(2, ResponseBody::Overloaded)
        );
        assert_eq!(proxy, before);
        // Reads need no room in the log.
        let query = Query::Get { key: b"k".to_vec() };
        let read = ClientRequest {
            body: RequestBody::Read { query },
            ..request(3)
        };
        let effects = proxy.step(Event::Receive {
            from: Address::Client(CLIENT),
            message: Message::ClientRequest(read),
            ask: N2,
        });
        assert_eq!(effects.sends[0].to, Address::Node(N1));
        assert_eq!(asks_stale(&mut proxy, 4, N2), stale_sent(4, N2));
        // A served read does not show that writes are accepted.
        answers(&mut proxy, N1, 3, ResponseBody::Found(Found::Value(None)));
        assert_eq!(
            asks(&mut proxy, 2, N2),
            responded(2, ResponseBody::Overloaded)
        );
        // One applied command ends the overload.
        let mut recovered = proxy.clone();
        timeout(&mut recovered, 1, N3);
        answers(&mut recovered, N1, 1, applied());
        assert_eq!(asks(&mut recovered, 2, N2), sent(2, N1));
        assert_eq!(asks(&mut recovered, 5, N2), sent(5, N1));
        // So does another leader, and the silence of this one.
        let mut replaced = proxy.clone();
        timeout(&mut replaced, 1, N3);
        answers(&mut replaced, N1, 1, not_leader(Some(N2)));
        assert_eq!(asks(&mut replaced, 2, N3), sent(2, N2));
        let mut silent = proxy.clone();
        timeout(&mut silent, 1, N3);
        timeout(&mut silent, 1, N3);
        assert_eq!(asks(&mut silent, 2, N2), sent(2, N2));
        // Without a command in flight the next command probes.
        let mut idle = proxy;
        idle.in_flight.remove(&(CLIENT, RequestId::new(1)));
        assert_eq!(asks(&mut idle, 2, N2), sent(2, N1));
        assert_eq!(
            asks(&mut idle, 5, N2),
            responded(5, ResponseBody::Overloaded)
        );
    }

    #[test]
    fn refusal_without_hint_leaves_a_belief_in_another() {
        let mut proxy = proxy(3);
        asks(&mut proxy, 1, N1);
        asks(&mut proxy, 2, N2);
        answers(&mut proxy, N2, 2, applied());
        assert_eq!(answers(&mut proxy, N1, 1, not_leader(None)), sent(1, N2));
        assert_eq!(proxy.leader(), Some(N2));
        // The cached leader itself refuses without a hint: no leader is known.
        let effects = answers(&mut proxy, N2, 1, not_leader(None));
        assert_eq!((effects, proxy.leader()), (Effects::default(), None));
    }

    #[test]
    fn silence_ends_the_belief_and_then_the_request() {
        let mut proxy = proxy(3);
        asks(&mut proxy, 1, N1);
        answers(&mut proxy, N1, 1, applied());
        assert_eq!(asks(&mut proxy, 2, N3), sent(2, N1));
        assert_eq!(timeout(&mut proxy, 2, N3), sent(2, N3));
        assert_eq!(proxy.leader(), None);
        assert_eq!(timeout(&mut proxy, 2, N2), sent(2, N2));
        let effects = timeout(&mut proxy, 2, N1);
        assert_eq!(effects, responded(2, ResponseBody::Unavailable));
        assert_eq!(timeout(&mut proxy, 2, N1), Effects::default());
    }

    #[test]
    fn timeout_of_a_refused_request_keeps_the_belief() {
        let mut proxy = proxy(3);
        asks(&mut proxy, 1, N1);
        answers(&mut proxy, N1, 1, not_leader(None));
        // In the meantime the same server was elected and answered another request.
        asks(&mut proxy, 2, N1);
        answers(&mut proxy, N1, 2, applied());
        assert_eq!(timeout(&mut proxy, 1, N3), sent(1, N1));
        assert_eq!(proxy.leader(), Some(N1));
    }

    #[test]
    fn answer_to_an_earlier_attempt_is_the_answer() {
        let mut proxy = proxy(3);
        asks(&mut proxy, 1, N1);
        timeout(&mut proxy, 1, N2);
        // A late refusal by the first server is not a refusal by the second.
        let effects = answers(&mut proxy, N1, 1, not_leader(Some(N3)));
        assert_eq!((effects, proxy.leader()), (Effects::default(), None));
        let effects = answers(&mut proxy, N1, 1, applied());
        assert_eq!(effects, responded(1, applied()));
        // The late response of the second server answers no request.
        let before = proxy.clone();
        assert_eq!(answers(&mut proxy, N2, 1, applied()), Effects::default());
        assert_eq!(proxy, before);
    }

    #[test]
    fn request_over_capacity_is_refused_and_never_sent() {
        let mut proxy = proxy(1);
        asks(&mut proxy, 1, N1);
        asks(&mut proxy, 2, N1);
        let before = proxy.clone();
        let effects = asks(&mut proxy, 3, N1);
        assert_eq!(effects, responded(3, ResponseBody::Overloaded));
        // A duplicate of a request in flight is not over the limit.
        assert_eq!(asks(&mut proxy, 2, N1), Effects::default());
        assert_eq!(proxy, before);
        answers(&mut proxy, N1, 1, applied());
        assert_eq!(asks(&mut proxy, 3, N1), sent(3, N1));
    }

    #[test]
    fn request_outside_of_the_limits_is_refused_and_never_sent() {
        let mut proxy = proxy(3);
        let query = Query::Get { key: vec![] };
        let before = proxy.clone();
        for body in [
            RequestBody::Read {
                query: query.clone(),
            },
            RequestBody::StaleRead { query },
        ] {
            let effects = proxy.step(Event::Receive {
                from: Address::Client(CLIENT),
                message: Message::ClientRequest(ClientRequest { body, ..request(1) }),
                ask: N1,
            });
            let refused = ResponseBody::OutsideLimits(LimitError::EmptyKey);
            assert_eq!(effects, responded(1, refused));
            assert_eq!(proxy, before);
        }
        // The refusal of any server ends the request too, leader or not.
        let refused = ResponseBody::OutsideLimits(LimitError::ValueTooLarge { length: 9 });
        asks(&mut proxy, 1, N1);
        let effects = answers(&mut proxy, N1, 1, refused.clone());
        assert_eq!(effects, responded(1, refused.clone()));
        asks_stale(&mut proxy, 2, N1);
        let effects = answers(&mut proxy, N1, 2, refused.clone());
        assert_eq!(effects, responded(2, refused));
        assert_eq!(proxy, before);
    }

    #[test]
    fn message_of_no_concern_changes_nothing() {
        let mut proxy = proxy(3);
        asks(&mut proxy, 1, N1);
        let before = proxy.clone();
        let other = Address::Client(ClientId::new(8));
        for (from, message) in [
            (Address::Node(STRANGER), response(1, applied())),
            (Address::Proxy(ProxyId::new(2)), response(1, applied())),
            (Address::Client(CLIENT), response(1, applied())),
            (Address::Node(N1), response(2, applied())),
            (Address::Node(N1), response(1, ResponseBody::Unavailable)),
            (other, Message::ClientRequest(request(2))),
            (Address::Node(N1), Message::ClientRequest(request(2))),
        ] {
            let ask = N1;
            let effects = proxy.step(Event::Receive { from, message, ask });
            assert_eq!(effects, Effects::default());
            assert_eq!(proxy, before);
        }
        assert_eq!(timeout(&mut proxy, 2, N2), Effects::default());
        assert_eq!(proxy, before);
    }

    #[test]
    fn stale_read_goes_to_anyone_and_says_nothing_about_who_leads() {
        let mut proxy = proxy(3);
        asks(&mut proxy, 1, N1);
        answers(&mut proxy, N1, 1, applied());
        // The request goes to the drawn server, not to the leader; after a timeout to another one,
        // drawn or not.
        assert_eq!(asks_stale(&mut proxy, 2, N2), stale_sent(2, N2));
        assert_eq!(timeout(&mut proxy, 2, N2), stale_sent(2, N3));
        assert_eq!(timeout(&mut proxy, 2, N1), stale_sent(2, N1));
        assert_eq!(proxy.leader(), Some(N1));
        let effects = answers(&mut proxy, N2, 2, found_stale());
        assert_eq!(effects, responded(2, found_stale()));
        assert_eq!((proxy.leader(), proxy.in_flight()), (Some(N1), 0));
        // The first server follows the last.
        asks_stale(&mut proxy, 3, N3);
        assert_eq!(timeout(&mut proxy, 3, N3), stale_sent(3, N1));
        timeout(&mut proxy, 3, N2);
        let effects = timeout(&mut proxy, 3, N2);
        assert_eq!(effects, responded(3, ResponseBody::Unavailable));
        assert_eq!(proxy.leader(), Some(N1), "its silence was not looked at");
    }

    #[test]
    fn stale_and_linearizable_answers_are_never_mixed_up() {
        let mut proxy = proxy(3);
        asks(&mut proxy, 1, N1);
        asks_stale(&mut proxy, 2, N1);
        let before = proxy.clone();
        for (id, body) in [
            (1, found_stale()),
            (2, ResponseBody::Found(Found::Value(None))),
            (2, applied()),
            (2, not_leader(Some(N2))),
            (2, ResponseBody::Interrupted { hint: None }),
        ] {
            assert_eq!(answers(&mut proxy, N1, id, body), Effects::default());
            assert_eq!(proxy, before);
        }
    }

    /// Exhaustive: every event in every state, until no new state appears.
    #[test]
    fn state_stays_within_its_bounds_whatever_arrives() {
        let bodies = [None, Some(N1), Some(N2), Some(STRANGER)]
            .into_iter()
            .flat_map(|hint| [not_leader(hint), ResponseBody::Interrupted { hint }])
            .chain([
                applied(),
                ResponseBody::Unavailable,
                ResponseBody::Overloaded,
            ]);
        let mut events = Vec::new();
        for (ask, id) in [N1, N2, N3]
            .into_iter()
            .flat_map(|ask| [1, 2, 3].map(|id| (ask, id)))
        {
            let message = Message::ClientRequest(request(id));
            let from = Address::Client(CLIENT);
            events.push(Event::Receive { from, message, ask });
            let (client, id) = (CLIENT, RequestId::new(id));
            events.push(Event::Timeout { client, id, ask });
            for body in bodies.clone() {
                let (message, from) = (response(id.get(), body), Address::Node(ask));
                events.push(Event::Receive { from, message, ask });
            }
        }
        let mut seen = BTreeSet::from([proxy(2)]);
        let mut new = Vec::from_iter(seen.clone());
        while let Some(state) = new.pop() {
            for event in &events {
                let mut next = state.clone();
                let effects = next.step(event.clone());
                assert!(next.in_flight() <= 2, "capacity");
                assert!(effects.sends.len() <= 1, "one step, one message");
                assert!(next.leader.is_none_or(|id| next.config.nodes.contains(&id)));
                for (key, flight) in &next.in_flight {
                    assert!((1..=2).contains(&flight.attempts), "attempts");
                    let was = state.in_flight.get(key).map_or(0, |was| was.attempts);
                    let armed = effects.timers.contains(key);
                    assert_eq!(
                        flight.attempts,
                        was + u32::from(armed),
                        "a timer for each send"
                    );
                }
                for key in state
                    .in_flight
                    .keys()
                    .filter(|key| !next.in_flight.contains_key(key))
                {
                    let [envelope] = &effects.sends[..] else {
                        panic!("a request ended without a response");
                    };
                    assert_eq!(envelope.to, Address::Client(key.0));
                }
                if seen.insert(next.clone()) {
                    new.push(next);
                }
            }
        }
        // Each of three requests is absent, or in flight to one of three servers, or waits (except
        // after the last attempt), and at most two are present; with each cached leader, and with
        // each server or none overloaded.
        let flight = (3 + 1) + 3;
        assert!(seen.len() <= 4 * 4 * (1 + 3 * flight + 3 * flight * flight));
        assert!(seen.len() > 100, "{}", seen.len());
    }

    /// A client, a proxy and a cluster of one server, with a reliable network.
    struct World {
        client: Client,
        proxy: Proxy,
        server: Raft,
        outcome: Option<Outcome>,
    }

    impl World {
        fn new() -> Self {
            let mut server = Raft::recover(N1, Config::new([N1].into()), Durable::default());
            let mut write = server.step(raft::Event::ElectionTimeout).write;
            while let Some(done) = write {
                write = server.step(raft::Event::Persisted(done.id)).write;
            }
            let config = ClientConfig::new(Address::Proxy(ID), 2);
            Self {
                client: Client::new(CLIENT, config),
                proxy: proxy(2),
                server,
                outcome: None,
            }
        }

        fn run(&mut self, event: client::Event) -> Option<Outcome> {
            let mut mail = VecDeque::new();
            let effects = self.client.step(event);
            self.outcome = effects.outcome;
            mail.extend(effects.sends);
            while let Some(Envelope { from, to, message }) = mail.pop_front() {
                match to {
                    Address::Client(_) => {
                        let event = client::Event::Receive { from, message };
                        let effects = self.client.step(event);
                        self.outcome = effects.outcome.or(self.outcome.take());
                        mail.extend(effects.sends);
                    }
                    Address::Proxy(_) => {
                        let ask = N1;
                        let effects = self.proxy.step(Event::Receive { from, message, ask });
                        mail.extend(effects.sends);
                    }
                    Address::Node(_) => {
                        let effects = self.server.step(raft::Event::Receive { from, message });
                        mail.extend(effects.sends);
                        if let Some(write) = effects.write {
                            let effects = self.server.step(raft::Event::Persisted(write.id));
                            mail.extend(effects.sends);
                        }
                    }
                }
            }
            self.outcome.take()
        }
    }

    #[test]
    fn operations_run_from_client_through_proxy_to_server_and_back() {
        let mut world = World::new();
        let key = b"k".to_vec();
        let value = crate::store::Value::from("v");
        // Entry 1 is the leader's no-op, 2 opens the session.
        let version = LogIndex::new(3);
        let put = Operation::Put {
            key: key.clone(),
            value: value.clone(),
            condition: Condition::Absent,
        };
        let outcome = world.run(client::Event::Invoke(Ask::Write(put)));
        let written = Answer::Written { version };
        assert_eq!(outcome, Some(Outcome::Answered(written)));
        let outcome = world.run(client::Event::Invoke(Ask::Read(Query::Get { key })));
        let found = Found::Value(Some(Versioned { value, version }));
        assert_eq!(outcome, Some(Outcome::Found(found)));
        assert_eq!(
            (world.proxy.in_flight(), world.proxy.leader()),
            (0, Some(N1))
        );
    }
}
