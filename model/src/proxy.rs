//! A proxy as a pure step function: it brings clients' requests to the leader, wherever that is.
//!
//! [`Proxy::step`] takes one [`Event`] (a message, a request's timer) and returns the [`Effects`]
//! the driver must carry out. The proxy changes nothing in a request and decides nothing about
//! it: exactly-once is the client's and the store's work (thesis §6.3), and the proxy may lose
//! all of its state at any moment without harm to anything but time.
//!
//! # Finding the leader (thesis §6.2)
//! The proxy holds one belief about who leads. A server that answers leads, or did; a server that
//! refuses may name the leader it follows; a server that stays silent is believed in no longer.
//! Without a belief a request goes to the server the driver drew at random: drawn outside because
//! nothing here is random, random so that many proxies do not fall upon one server together.
//!
//! * *Refused with a hint*: follow it at once. A server that no longer leads the term it is hinted
//!   for has moved on to a later one, so each hint leads to a later term than the last, and the
//!   chase ends. (A late message may break the chain; the attempts are counted anyway.)
//! * *Refused without a hint*: an election is probably under way. Asking all servers round and
//!   round would use up the attempts long before it ends, so the request waits for its timer.
//! * *Refused for overload*: the server leads. The request waits for its timer, and goes there again.
//!   See *Backpressure*.
//! * *No answer*: when the timer runs out the request goes elsewhere.
//!
//! # Stale reads
//! Any server answers those, so they go to the server that was drawn, whoever is believed to lead,
//! and after a silence to another one. What becomes of them says nothing about who leads. Only the
//! answer to a stale read ends one, and it ends nothing else: `Flight` holds the request, and an
//! answer of the other kind is not looked at.
//!
//! # Giving up
//! After [`ProxyConfig::max_attempts`] sends the proxy gives up and says `Unavailable`, which
//! means that it knows nothing: what it sent may be carried out yet. A read or a request about a
//! session whose last attempt was refused for overload ends as `Overloaded`.
//!
//! # Backpressure
//! `Overloaded` is the response to a write of which this proxy sent no copy. A write that was sent
//! never ends that way, even if servers refused all of its copies: the network repeats datagrams, so a
//! copy that was refused may arrive again and be carried out. The proxy therefore refuses early:
//! * at its own bound of requests in flight;
//! * while the leader is overloaded and some command is in flight. That command probes the leader:
//!   its timer sends it again, and the first command that the leader carries out ends the overload.
//!   Silence of the leader, or a belief in another one, ends it too.
//!
//! # Invariants
//! * At most [`ProxyConfig::max_in_flight`] requests are in flight. One more is refused at once,
//!   so that overload shows as refusals, not as memory.
//! * A request is named by its client and that client's number for it. Sent again while in
//!   flight, it is absorbed: its attempts are under way already.
//! * State grows with distinct requests in flight only. A late copy of a finished request is
//!   brought to the servers once more, with the same messages as before.
//! * A client's requests come from that client, and the answer goes there, so that none can
//!   occupy the name of another's request. A proxy behind a proxy is not provided for.
//! * An answer nobody waits for changes nothing, the belief neither: it is old, and so perhaps is
//!   the leader it came from.
//!
//! # What is left out
//! Linearizable reads at followers, batching, hedging (two servers asked at once), and waking the requests
//! that wait when another finds the leader: their timers do that a little later.

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

/// The settings of one proxy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProxyConfig {
    /// The servers of the cluster. Hints and responses that name or come from others are ignored.
    pub nodes: BTreeSet<NodeId>,
    /// How often one request is sent to servers before the proxy gives up. At least once,
    /// whatever this says.
    pub max_attempts: u32,
    /// How many requests may be in flight.
    pub max_in_flight: usize,
    /// The bug planted in this proxy, in checker builds.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl ProxyConfig {
    /// A proxy of these servers, that tries so often and holds so many requests.
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

/// Something that happens to a proxy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// A message arrived. It may be late, repeated or out of order.
    Receive {
        /// Who sent it.
        from: Address,
        /// What it says.
        message: Message,
        /// One of [`ProxyConfig::nodes`], drawn at random: whom to ask if the proxy has no idea.
        ask: NodeId,
    },
    /// The timer of a request ran out.
    Timeout {
        /// The client that asked.
        client: ClientId,
        /// Which of its requests.
        id: RequestId,
        /// One of [`ProxyConfig::nodes`], drawn at random: whom to ask if the proxy has no idea.
        ask: NodeId,
    },
}

/// What the driver must do after a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// What may leave now.
    pub sends: Vec<Envelope>,
    /// The requests whose timers to arm anew, replacing those that run for them. A timer may be
    /// disarmed once its request is no longer [in flight](Proxy::is_in_flight); should it fire
    /// nevertheless, that is ignored.
    pub timers: Vec<(ClientId, RequestId)>,
}

/// A proxy. See the module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Proxy {
    pub(crate) id: ProxyId,
    pub(crate) config: ProxyConfig,
    /// Who is believed to lead.
    pub(crate) leader: Option<NodeId>,
    /// The server that refused a command for overload, until one is carried out.
    pub(crate) overloaded: Option<NodeId>,
    pub(crate) in_flight: BTreeMap<(ClientId, RequestId), Flight>,
}

/// A request on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Flight {
    /// What goes to the servers, as it came from the client.
    pub(crate) request: ClientRequest,
    /// Whose turn it is to answer; nobody's if the last server asked refused and knew no better.
    pub(crate) asked: Option<NodeId>,
    /// How often it was sent, from 1.
    pub(crate) attempts: u32,
}

impl Flight {
    fn is_stale_read(&self) -> bool {
        matches!(self.request.body, RequestBody::StaleRead { .. })
    }
}

impl Proxy {
    /// A proxy that starts, or starts again: it remembers nothing.
    pub fn new(id: ProxyId, config: ProxyConfig) -> Self {
        Self {
            id,
            config,
            leader: None,
            overloaded: None,
            in_flight: BTreeMap::new(),
        }
    }

    /// Takes one event and says what to do about it.
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
                // Nobody sends these here; a forged or misrouted message is nothing to act on.
                _ => {}
            },
            Event::Timeout { client, id, ask } => {
                self.request_timeout((client, id), ask, &mut effects);
            }
        }
        effects
    }

    /// This proxy's name.
    pub fn id(&self) -> ProxyId {
        self.id
    }

    /// The settings.
    pub fn config(&self) -> &ProxyConfig {
        &self.config
    }

    /// Who is believed to lead.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Whether this request waits for an answer.
    pub fn is_in_flight(&self, client: ClientId, id: RequestId) -> bool {
        self.in_flight.contains_key(&(client, id))
    }

    /// How many requests wait for an answer.
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
        // Every server would refuse it: the values of such a request need not travel on.
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

    /// Whether the leader is overloaded, and a command in flight will show when that ends.
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
            // Any server answers these, so there is no other answer.
            if let body @ (ResponseBody::FoundStale(_) | ResponseBody::OutsideLimits(_)) =
                response.body
            {
                self.respond(key, body, effects);
                self.in_flight.remove(&key);
            }
            return;
        }
        match response.body {
            // All servers refuse alike, whether they lead or not.
            body @ ResponseBody::OutsideLimits(_) => {
                self.respond(key, body, effects);
                self.in_flight.remove(&key);
            }
            // Never for a request that was to be answered by who leads.
            ResponseBody::FoundStale(_) => {}
            // Whichever attempt this answers, it is the same request.
            body @ (ResponseBody::Applied(_) | ResponseBody::Found(_)) => {
                let is_kept = !planted!(self.config, ProxyForgetsLeader);
                self.leader = is_kept.then_some(from);
                if matches!(body, ResponseBody::Applied(_)) {
                    self.overloaded = None;
                }
                self.respond(key, body, effects);
                self.in_flight.remove(&key);
            }
            // A refusal by anyone else is of an earlier attempt, and has been dealt with.
            ResponseBody::NotLeader { hint } | ResponseBody::Interrupted { hint }
                if flight.asked == Some(from) =>
            {
                self.handle_refusal(key, from, hint, effects);
            }
            ResponseBody::NotLeader { .. } | ResponseBody::Interrupted { .. } => {}
            // The leader has too much to do. The request waits for its timer and goes there again.
            ResponseBody::Overloaded => {
                if flight.asked == Some(from) {
                    self.handle_overload(key, from, effects);
                }
            }
            // Servers do not say this.
            ResponseBody::Unavailable => {}
        }
    }

    /// The server asked is not the leader, or no longer.
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
            // A server that knows no leader speaks for itself only: a belief in another stands.
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

    /// The server asked leads, but did not take the request. Nobody else would take it, and sending it
    /// again at once would add to the load.
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

    /// The server drawn, or the one after it if that one was silent just now.
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

    /// The client asks for a stale read; the driver drew `ask`.
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

    /// The client asks; the driver drew `ask`.
    fn asks(proxy: &mut Proxy, id: u64, ask: NodeId) -> Effects {
        proxy.step(Event::Receive {
            from: Address::Client(CLIENT),
            message: Message::ClientRequest(request(id)),
            ask,
        })
    }

    /// A server answers; the driver drew `STRANGER`, which nobody must be sent to.
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
        // Once finished, a late copy is brought again, as before.
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
        // The same refusal once more is no news.
        let before = proxy.clone();
        assert_eq!(answers(&mut proxy, N1, 1, refusal), Effects::default());
        assert_eq!(proxy, before);
        let interrupted = ResponseBody::Interrupted { hint: Some(N3) };
        assert_eq!(answers(&mut proxy, N2, 1, interrupted), sent(1, N3));
        // No attempt is left. The hint is worth remembering all the same.
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
        // Once more it says nothing new, and neither does another server.
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

    /// Copies of a write that servers refused may arrive again, so its end is never a definite refusal.
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
        // That reads are served says nothing about writes.
        answers(&mut proxy, N1, 3, ResponseBody::Found(Found::Value(None)));
        assert_eq!(
            asks(&mut proxy, 2, N2),
            responded(2, ResponseBody::Overloaded)
        );
        // One command that is carried out ends the overload.
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
        // Without a command in flight the next one probes.
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
        // The believed one itself knows no better: then nobody does.
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
        // Meanwhile the same server was elected, and answered another request.
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
        // A late refusal by the first is not one by the second.
        let effects = answers(&mut proxy, N1, 1, not_leader(Some(N3)));
        assert_eq!((effects, proxy.leader()), (Effects::default(), None));
        let effects = answers(&mut proxy, N1, 1, applied());
        assert_eq!(effects, responded(1, applied()));
        // The second's, later, is nobody's.
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
        // One in flight is not over capacity when it comes again.
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
        // A server's word ends the request too, whoever leads.
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
        // Not to the leader, but to whom was drawn; after a silence to another, be it drawn or not.
        assert_eq!(asks_stale(&mut proxy, 2, N2), stale_sent(2, N2));
        assert_eq!(timeout(&mut proxy, 2, N2), stale_sent(2, N3));
        assert_eq!(timeout(&mut proxy, 2, N1), stale_sent(2, N1));
        assert_eq!(proxy.leader(), Some(N1));
        let effects = answers(&mut proxy, N2, 2, found_stale());
        assert_eq!(effects, responded(2, found_stale()));
        assert_eq!((proxy.leader(), proxy.in_flight()), (Some(N1), 0));
        // The last server is followed by the first.
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

    /// Every event, in every state, until no new state appears.
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
        // Each of three requests is absent, or asked of one of three or waits (but for the last
        // attempt), and at most two are there; with each belief, and each server overloaded or none.
        let flight = (3 + 1) + 3;
        assert!(seen.len() <= 4 * 4 * (1 + 3 * flight + 3 * flight * flight));
        assert!(seen.len() > 100, "{}", seen.len());
    }

    /// A client, a proxy and a cluster of one server, with a network that loses nothing.
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
