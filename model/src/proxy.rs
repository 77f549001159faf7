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
//! result ends a stale read, and a stale result ends no other request: `PendingRequest` holds the request,
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
        /// A random server of [`ProxyConfig::nodes`], used if the proxy has no cached leader.
        random_node: NodeId,
    },
    /// A request timed out.
    Timeout {
        /// The client that sent the request.
        client: ClientId,
        /// The number of the request.
        id: RequestId,
        /// A random server of [`ProxyConfig::nodes`], used if the proxy has no cached leader.
        random_node: NodeId,
    },
}

/// The work that a step leaves to the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The messages that may leave now.
    pub sends: Vec<Envelope>,
    /// The requests whose timers to rearm, replacing their running timers. The driver may disarm a
    /// timer once its request is no longer in flight; a timeout after that is ignored.
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
    pub(crate) in_flight: BTreeMap<(ClientId, RequestId), PendingRequest>,
}

/// A request in flight.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct PendingRequest {
    /// The request as received from the client and forwarded to the servers.
    pub(crate) request: ClientRequest,
    /// The server whose response is awaited; none after it refused without a usable hint.
    pub(crate) awaited: Option<NodeId>,
    /// The number of attempts so far, from 1.
    pub(crate) attempts: u32,
}

impl PendingRequest {
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
            Event::Receive {
                from,
                message,
                random_node,
            } => match (from, message) {
                (Address::Client(from), Message::ClientRequest(request))
                    if from == request.client =>
                {
                    self.handle_client_request(request, random_node, &mut effects);
                }
                (Address::Node(from), Message::ClientResponse(response))
                    if self.config.nodes.contains(&from) =>
                {
                    self.handle_client_response(from, response, &mut effects);
                }
                // No correct sender addresses these here; a forged or misrouted message has no
                // effect.
                // Executed by the test `lib::proxy::tests::message_of_no_concern_changes_nothing`.
                _ => {}
            },
            Event::Timeout {
                client,
                id,
                random_node,
            } => {
                self.request_timeout((client, id), random_node, &mut effects);
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

    /// The number of requests that wait for a response.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn handle_client_request(
        &mut self,
        request: ClientRequest,
        random_node: NodeId,
        effects: &mut Effects,
    ) {
        let key = (request.client, request.id);
        if self.in_flight.contains_key(&key) {
            return;
        }
        // Every server would refuse it, so its values need not be forwarded.
        // Executed by the test
        // `lib::proxy::tests::request_outside_of_the_limits_is_refused_and_never_sent`.
        if let Err(error) = request.body.check_limits() {
            self.respond(key, ResponseBody::OutsideLimits(error), effects);
            return;
        }
        let is_full = self.in_flight.len() >= self.config.max_in_flight;
        // Executed by the test
        // `lib::proxy::tests::one_command_at_a_time_probes_an_overloaded_leader_and_others_are_never_sent`.
        if is_full || (request.body.is_command() && self.rejects_commands()) {
            self.respond(key, ResponseBody::Overloaded, effects);
            return;
        }
        let pending = PendingRequest {
            request,
            awaited: None,
            attempts: 0,
        };
        let to = match self.leader {
            Some(leader) if !pending.is_stale_read() => leader,
            _ => random_node,
        };
        self.in_flight.insert(key, pending);
        self.send(key, to, effects);
    }

    /// Whether the leader is overloaded while a command in flight probes for the end of the
    /// overload.
    fn rejects_commands(&self) -> bool {
        // Executed by the test
        // `lib::proxy::tests::one_command_at_a_time_probes_an_overloaded_leader_and_others_are_never_sent`.
        self.overloaded.is_some()
            && self.overloaded == self.leader
            && self
                .in_flight
                .values()
                .any(|pending| pending.request.body.is_command())
    }

    fn handle_client_response(
        &mut self,
        from: NodeId,
        response: ClientResponse,
        effects: &mut Effects,
    ) {
        let mut key = (response.client, response.id);
        if planted!(self.config, ProxyMixesRequestsUp) {
            let of_client = |pending: &&(ClientId, RequestId)| pending.0 == response.client;
            key = self
                .in_flight
                .keys()
                .find(of_client)
                .copied()
                .unwrap_or(key);
        }
        if planted!(self.config, LateResponseForwarded) && !self.in_flight.contains_key(&key) {
            key = self.in_flight.keys().next().copied().unwrap_or(key);
        }
        #[cfg(feature = "mutants")]
        self.renumber_interrupted(key, from, &response.body);
        let Some(pending) = self.in_flight.get(&key) else {
            return;
        };
        // Executed by the tests
        // `lib::proxy::tests::stale_and_linearizable_answers_are_never_mixed_up` and
        // `lib::proxy::tests::stale_read_goes_to_anyone_and_says_nothing_about_who_leads`.
        if pending.is_stale_read() {
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
            // Executed by the test
            // `lib::proxy::tests::request_outside_of_the_limits_is_refused_and_never_sent`.
            body @ ResponseBody::OutsideLimits(_) => {
                self.respond(key, body, effects);
                self.in_flight.remove(&key);
            }
            ResponseBody::FoundStale(stale) if planted!(self.config, ProxyDowngradesReads) => {
                self.respond(key, ResponseBody::Found(stale.found), effects);
                self.in_flight.remove(&key);
            }
            // Never answers a request that only the leader may answer.
            // Executed by the test
            // `lib::proxy::tests::stale_and_linearizable_answers_are_never_mixed_up`.
            ResponseBody::FoundStale(_) => {}
            // The response to any attempt answers the request.
            body @ (ResponseBody::Applied(_)
            | ResponseBody::Found(_)
            | ResponseBody::Leads
            | ResponseBody::NotTransferred(_)) => {
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
                if pending.awaited == Some(from) =>
            {
                self.handle_refusal(key, from, hint, effects);
            }
            ResponseBody::NotLeader { .. } | ResponseBody::Interrupted { .. } => {}
            // The leader is overloaded. The request waits for its timeout and is retried there.
            // Executed by the test
            // `lib::proxy::tests::overloaded_leader_is_asked_again_when_the_timer_runs_out`.
            ResponseBody::Overloaded => {
                if pending.awaited == Some(from) {
                    self.handle_overload(key, from, effects);
                }
            }
            // Servers do not send this.
            // Executed by the test `lib::proxy::tests::message_of_no_concern_changes_nothing`.
            ResponseBody::Unavailable => {}
        }
    }

    /// Gives an interrupted write a new sequence number, if that bug is planted.
    #[cfg(feature = "mutants")]
    fn renumber_interrupted(
        &mut self,
        key: (ClientId, RequestId),
        from: NodeId,
        response: &ResponseBody,
    ) {
        if planted!(self.config, InterruptedWriteRenumbered)
            && matches!(response, ResponseBody::Interrupted { .. })
            && let Some(pending) = self.in_flight.get_mut(&key)
            && pending.awaited == Some(from)
            && let RequestBody::Write { sequence, .. } = &mut pending.request.body
        {
            *sequence += 1;
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
            // A refusal without a hint is no evidence against other servers: another cached leader stays.
            self.leader = None;
        }
        // Executed by the test
        // `lib::proxy::tests::one_command_at_a_time_probes_an_overloaded_leader_and_others_are_never_sent`.
        if self.overloaded == Some(from) {
            self.overloaded = None;
        }
        let Some(pending) = self.in_flight.get_mut(&key) else {
            unreachable!("the request is in flight");
        };
        pending.awaited = None;
        if pending.attempts >= self.config.max_attempts {
            if !planted!(self.config, ProxyNeverGivesUp) {
                self.give_up(key, effects);
            }
        } else if let Some(leader) = self.leader {
            self.send(key, leader, effects);
        }
    }

    /// Handles the overload of a leader, which did not accept the request. No other server would
    /// accept it, and an immediate retry would add to the load.
    // Executed by the tests
    // `lib::proxy::tests::overloaded_leader_is_asked_again_when_the_timer_runs_out` and
    // `lib::proxy::tests::write_that_was_sent_never_ends_as_overloaded`.
    fn handle_overload(&mut self, key: (ClientId, RequestId), from: NodeId, effects: &mut Effects) {
        self.leader = Some(from);
        let Some(pending) = self.in_flight.get_mut(&key) else {
            unreachable!("the request is in flight");
        };
        pending.awaited = None;
        let body = &pending.request.body;
        if body.is_command() {
            self.overloaded = Some(from);
        }
        if pending.attempts >= self.config.max_attempts {
            if matches!(body, RequestBody::Write { .. }) {
                self.give_up(key, effects);
            } else {
                self.in_flight.remove(&key);
                self.respond(key, ResponseBody::Overloaded, effects);
            }
        }
    }

    /// The proxy's retry: a request without a response in time goes to another server, up to
    /// [`ProxyConfig::max_attempts`] attempts.
    fn request_timeout(
        &mut self,
        key: (ClientId, RequestId),
        random_node: NodeId,
        effects: &mut Effects,
    ) {
        // Executed by the test `lib::proxy::tests::message_of_no_concern_changes_nothing`.
        let Some(pending) = self.in_flight.get(&key) else {
            return;
        };
        let stale = pending.is_stale_read();
        let stays = planted!(self.config, ProxyStaysWithSilentServer);
        if !stale && !stays && pending.awaited.is_some() && pending.awaited == self.leader {
            self.leader = None;
        }
        let to = match self.leader {
            // Executed by the test
            // `lib::proxy::tests::stale_read_goes_to_anyone_and_says_nothing_about_who_leads`.
            _ if stale => self.other_than(pending.awaited, random_node),
            _ if stays => pending.awaited.unwrap_or(random_node),
            leader => leader.unwrap_or(random_node),
        };
        if pending.attempts >= self.config.max_attempts {
            if !planted!(self.config, ProxyNeverGivesUp) {
                self.give_up(key, effects);
            }
        } else {
            self.send(key, to, effects);
        }
    }

    /// The drawn server, or the next one if the drawn server has just been silent.
    // Executed by the test
    // `lib::proxy::tests::stale_read_goes_to_anyone_and_says_nothing_about_who_leads`.
    fn other_than(&self, silent: Option<NodeId>, random_node: NodeId) -> NodeId {
        if silent != Some(random_node) {
            return random_node;
        }
        let nodes = &self.config.nodes;
        let mut after = nodes
            .iter()
            .filter(|node| **node > random_node)
            .chain(nodes);
        after.next().copied().unwrap_or(random_node)
    }

    fn send(&mut self, key: (ClientId, RequestId), to: NodeId, effects: &mut Effects) {
        let Some(pending) = self.in_flight.get_mut(&key) else {
            unreachable!("the request is in flight");
        };
        pending.awaited = Some(to);
        pending.attempts += 1;
        let mut request = pending.request.clone();
        if let RequestBody::Read { query } = &request.body
            && self.leader.is_none()
            && planted!(self.config, ProxyDowngradesReads)
        {
            let query = query.clone();
            request.body = RequestBody::StaleRead { query };
        }
        effects.sends.push(Envelope {
            from: Address::Proxy(self.id),
            to: Address::Node(to),
            message: Message::ClientRequest(request),
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
mod tests;
