//! Operation without a proxy: the proxy's logic runs in this process.
//!
//! [`model::proxy::Proxy`] finds the leader, follows hints and retries, as it does in a proxy. There
//! is one difference: its requests leave under the id of the client. So the servers see clients that
//! contact them directly, and the clients' key is sufficient. The protocol does not depend on the
//! sender: a server responds to the sender of a request, a request has the same meaning from every
//! sender, and two clients never share an id. The proxy's own id never leaves the process.
//!
//! The network between client and proxy is an in-memory queue here. The queue loses nothing, so the
//! client sends each request once, and the proxy performs all retries.

use crate::timers::Timers;
use model::{
    Address, ClientId, Envelope, Message, NodeId, ProxyId, RequestId,
    proxy::{Effects, Event, Proxy, ProxyConfig},
};
use std::time::Duration;
use tokio::time::Instant;

/// The id of the proxy in this process.
pub(crate) const NAME: Address = Address::Proxy(ID);
const ID: ProxyId = ProxyId::new(0);

/// The output of a step.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Out {
    /// Envelopes for the servers.
    pub(crate) servers: Vec<Envelope>,
    /// Envelopes for the clients of this process.
    pub(crate) clients: Vec<Envelope>,
}

/// Keeps responses only: a peer on the network must not send requests under the ids of our clients.
pub(crate) fn only_answers(mut arrived: Vec<Envelope>) -> Vec<Envelope> {
    arrived.retain(|envelope| matches!(envelope.message, Message::ClientResponse(_)));
    arrived
}

/// The in-process proxy and its timers.
pub(crate) struct Direct {
    proxy: Proxy,
    nodes: Vec<NodeId>,
    attempt_timeout: Duration,
    timers: Timers<(ClientId, RequestId)>,
}

impl Direct {
    pub(crate) fn new(config: ProxyConfig, attempt_timeout: Duration) -> Self {
        Self {
            nodes: config.nodes.iter().copied().collect(),
            proxy: Proxy::new(ID, config),
            attempt_timeout,
            timers: Timers::default(),
        }
    }

    /// Processes requests of clients or responses of servers.
    pub(crate) fn receive(&mut self, envelopes: Vec<Envelope>, now: Instant, out: &mut Out) {
        for Envelope { from, message, .. } in envelopes {
            let key = match &message {
                Message::ClientRequest(request) => (request.client, request.id),
                Message::ClientResponse(response) => (response.client, response.id),
                _ => continue,
            };
            let ask = self.anyone();
            let effects = self.proxy.step(Event::Receive { from, message, ask });
            self.carry_out(effects, now, out);
            if !self.proxy.is_in_flight(key.0, key.1) {
                self.timers.disarm(&key);
            }
        }
    }

    /// Processes the expired timers.
    pub(crate) fn run_timers(&mut self, now: Instant, out: &mut Out) {
        while let Some((client, id)) = self.timers.pop_due(now) {
            let ask = self.anyone();
            let effects = self.proxy.step(Event::Timeout { client, id, ask });
            self.carry_out(effects, now, out);
        }
    }

    /// The deadline of the first timer.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn anyone(&self) -> NodeId {
        self.nodes[rand::random_range(0..self.nodes.len())]
    }

    fn carry_out(&mut self, effects: Effects, now: Instant, out: &mut Out) {
        for key in effects.timers {
            self.timers.arm(key, now + self.attempt_timeout);
        }
        for mut envelope in effects.sends {
            match (&envelope.to, &envelope.message) {
                (Address::Client(_), _) => out.clients.push(envelope),
                (_, Message::ClientRequest(request)) => {
                    envelope.from = Address::Client(request.client);
                    out.servers.push(envelope);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{
        ClientRequest, ClientResponse,
        message::{RequestBody, ResponseBody},
        store::Found,
    };

    const CLIENT: ClientId = ClientId::new(7);
    const REQUEST: RequestId = RequestId::new(1);
    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);

    fn direct() -> Direct {
        let config = ProxyConfig {
            nodes: [N1, N2].into(),
            max_attempts: 3,
            max_in_flight: 1,
        };
        Direct::new(config, Duration::from_secs(1))
    }

    fn request() -> Message {
        Message::ClientRequest(ClientRequest {
            client: CLIENT,
            id: REQUEST,
            body: RequestBody::OpenSession,
        })
    }

    fn response(body: ResponseBody) -> Message {
        Message::ClientResponse(ClientResponse {
            client: CLIENT,
            id: REQUEST,
            body,
        })
    }

    fn envelope(from: Address, to: Address, message: Message) -> Envelope {
        Envelope { from, to, message }
    }

    #[test]
    fn network_may_answer_and_not_ask() {
        let client = Address::Client(CLIENT);
        let forged = envelope(client, NAME, request());
        let answer = response(ResponseBody::Found(Found::Value(None)));
        let answer = envelope(Address::Node(N1), client, answer);
        assert_eq!(only_answers(vec![forged, answer.clone()]), [answer]);
    }

    #[test]
    fn servers_are_asked_in_the_name_of_the_client_until_one_answers() {
        let (mut direct, now) = (direct(), Instant::now());
        let client = Address::Client(CLIENT);
        let mut out = Out::default();
        direct.receive(vec![envelope(client, NAME, request())], now, &mut out);
        let [asked] = &out.servers[..] else {
            panic!("one request");
        };
        assert_eq!((asked.from, &asked.message), (client, &request()));
        let first = asked.to;
        let other = if first == Address::Node(N1) { N2 } else { N1 };

        // The first server names the other one as leader. The other one does not respond before the
        // timer expires.
        let hint = Some(other);
        let refusal = response(ResponseBody::NotLeader { hint });
        let mut out = Out::default();
        direct.receive(vec![envelope(first, client, refusal)], now, &mut out);
        assert_eq!(
            out.servers,
            [envelope(client, Address::Node(other), request())]
        );
        assert_eq!(direct.next_timer(), Some(now + Duration::from_secs(1)));

        let now = now + Duration::from_secs(1);
        let mut out = Out::default();
        direct.run_timers(now, &mut out);
        assert_eq!(out.servers.len(), 1);

        let found = response(ResponseBody::Found(Found::Value(None)));
        let mut out = Out::default();
        direct.receive(vec![envelope(first, client, found.clone())], now, &mut out);
        assert_eq!(out.clients, [envelope(NAME, client, found)]);
        assert_eq!(direct.next_timer(), None);
    }
}
