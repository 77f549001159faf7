//! The driver executes the decisions of [`model::proxy::Proxy`]: one task, one event loop, no protocol
//! decisions.
//!
//! The driver steps all pending input together, and sends the resulting output together, so that a
//! busy proxy pays per batch and not per request. Requests arrive from two sources: the UDP endpoint,
//! and the frontends of this process (HTTP, Redis). The driver treats them alike. They differ only in
//! the destination of the response, which the driver stores while the request is in flight.
//!
//! # Ids
//! A proxy uses a random id towards the servers, so that two proxies never accept each other's
//! responses. UDP clients know an address but no id. The proxy responds to them under the id that they
//! used.
//!
//! # Deliberate omissions
//! Durable state: a proxy may lose all of its state at the cost of time only. Backpressure: the pure
//! proxy rejects requests beyond its bound with an explicit response.

use crate::{gauges::Gauges, throughput::Kind};
use model::{
    Address, ClientId, Envelope, Message, NodeId, ProxyId, RequestId,
    message::ResponseBody,
    proxy::{Event, Proxy, ProxyConfig},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::{BTreeSet, HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;
use transport::{Endpoint, Inbox};

/// The configuration of the driver and its proxy.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// The servers.
    pub nodes: BTreeSet<NodeId>,
    /// The timeout of one attempt. After it, the request goes to another server.
    pub attempt_timeout: Duration,
    /// The maximum number of attempts per request. This number times the timeout must exceed the
    /// duration of an election, and a hint to a dead leader uses up an attempt without waiting.
    pub max_attempts: u32,
    /// The maximum number of requests in flight.
    pub max_in_flight: usize,
}

/// The handle with which frontends use the driver.
#[derive(Clone, Debug)]
pub struct Handle {
    /// The id of the driver towards the servers and the frontends.
    pub id: ProxyId,
    /// The counters and gauges of the driver.
    pub gauges: Arc<Gauges>,
    requests: mpsc::UnboundedSender<Batch>,
}

/// Requests of this process, and whether they count as load. Reads for the proxy's own page do not
/// count.
type Batch = (Vec<Envelope>, bool);

impl Handle {
    /// Submits requests of clients in this process. Never blocks. The calling pool bounds their
    /// number.
    pub fn carry(&self, envelopes: Vec<Envelope>) {
        // The send fails only after the driver has ended. Then no response follows, and the caller's
        // timer expires.
        let _ = self.requests.send((envelopes, true));
    }

    /// Submits requests for the proxy's own page. They do not count as load.
    pub fn carry_uncounted(&self, envelopes: Vec<Envelope>) {
        let _ = self.requests.send((envelopes, false));
    }
}

/// The two steps of a shutdown. An operation of a frontend may consist of several requests, so the
/// frontends must finish before the driver ends.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// The driver ignores requests from UDP clients, but still sends the responses to their requests in
    /// flight.
    pub refuse: CancellationToken,
    /// The driver ends as soon as no request is in flight.
    pub end: CancellationToken,
}

/// A driver that is not running yet.
#[derive(Debug)]
pub struct Driver {
    config: DriverConfig,
    handle: Handle,
    requests: mpsc::UnboundedReceiver<Batch>,
}

impl Driver {
    /// Creates a driver. Its [`Handle`] is usable before the driver runs.
    ///
    /// # Panics
    /// If there are no servers.
    pub fn new(config: DriverConfig) -> Self {
        assert!(!config.nodes.is_empty(), "a proxy has servers to ask");
        let (sender, requests) = mpsc::unbounded_channel();
        let handle = Handle {
            id: ProxyId::new(rand::random()),
            gauges: Arc::new(Gauges::new()),
            requests: sender,
        };
        Self {
            config,
            handle,
            requests,
        }
    }

    /// Returns the handle for the frontends.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until the endpoint closes, or until `ending` requests the end and no request is in flight.
    /// `receive` gets the responses for the clients of this process.
    pub async fn run(
        mut self,
        endpoint: Endpoint,
        mut inbox: Inbox,
        receive: impl Fn(Vec<Envelope>) + Send,
        ending: Ending,
    ) {
        let mut turn = Turn::new(self.handle.id, self.config, Arc::clone(&self.handle.gauges));
        let mut from_frontends = Vec::new();
        let alarm = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(alarm);
        let mut alarm_set = false;
        loop {
            if let Some(next) = turn.timers.next()
                && !alarm_set
            {
                // Deadlines only increase, so an armed timer never fires too late.
                alarm.as_mut().reset(next);
                alarm_set = true;
            }
            tokio::select! {
                arrived = inbox.receive() => {
                    let Some(arrived) = arrived else { break };
                    turn.receive_datagrams(arrived, ending.refuse.is_cancelled());
                }
                _ = self.requests.recv_many(&mut from_frontends, 1024) => {}
                () = alarm.as_mut(), if alarm_set => alarm_set = false,
                () = ending.end.cancelled(), if !ending.end.is_cancelled() => {}
            }
            while let Ok(more) = self.requests.try_recv() {
                from_frontends.push(more);
            }
            turn.receive_from_frontends(&mut from_frontends);
            turn.fire_timers();
            let (out, home) = turn.take();
            if !out.is_empty() {
                endpoint.send(out);
            }
            if !home.is_empty() {
                receive(home);
            }
            if ending.end.is_cancelled() && turn.is_idle() && self.requests.is_empty() {
                break;
            }
        }
    }
}

/// The destination of a response.
#[derive(Clone, Copy, Debug)]
enum Frontend {
    /// A client in this process.
    Here,
    /// A UDP client that used this id for the proxy.
    Udp(ProxyId),
}

/// The driver's state of one request in flight.
#[derive(Debug)]
struct Flight {
    frontend: Frontend,
    kind: Kind,
    since: Instant,
    deadline: Option<Instant>,
    /// Whether the request counts as load.
    is_counted: bool,
}

type Key = (ClientId, RequestId);

/// The state of the event loop.
struct Turn {
    proxy: Proxy,
    nodes: Vec<NodeId>,
    random: SmallRng,
    flights: HashMap<Key, Flight>,
    timers: Timers,
    gauges: Arc<Gauges>,
    now: Instant,
    out: Vec<Envelope>,
    home: Vec<Envelope>,
}

impl Turn {
    fn new(id: ProxyId, config: DriverConfig, gauges: Arc<Gauges>) -> Self {
        Self {
            nodes: config.nodes.iter().copied().collect(),
            proxy: Proxy::new(
                id,
                ProxyConfig {
                    nodes: config.nodes,
                    max_attempts: config.max_attempts,
                    max_in_flight: config.max_in_flight,
                },
            ),
            random: SmallRng::from_rng(&mut rand::rng()),
            flights: HashMap::new(),
            timers: Timers::new(config.attempt_timeout),
            gauges,
            now: Instant::now(),
            out: Vec::new(),
            home: Vec::new(),
        }
    }

    fn is_idle(&self) -> bool {
        self.proxy.in_flight() == 0
    }

    fn receive_datagrams(&mut self, envelopes: Vec<Envelope>, closing: bool) {
        self.now = Instant::now();
        for envelope in envelopes {
            let Address::Proxy(called) = envelope.to else {
                continue;
            };
            match (envelope.from, &envelope.message) {
                (Address::Client(from), Message::ClientRequest(request))
                    if from == request.client && !closing =>
                {
                    self.gauges.requests_udp.fetch_add(1, Relaxed);
                    let key = (request.client, request.id);
                    self.expect(key, Frontend::Udp(called), Kind::of(request), true);
                }
                (Address::Node(_), Message::ClientResponse(response))
                    if called == self.proxy.id() =>
                {
                    if matches!(
                        response.body,
                        ResponseBody::Applied(_) | ResponseBody::Found(_)
                    ) {
                        self.gauges.answered(self.now);
                    }
                }
                _ => continue,
            }
            self.receive(envelope.from, envelope.message);
        }
    }

    fn receive_from_frontends(&mut self, batches: &mut Vec<Batch>) {
        if batches.is_empty() {
            return;
        }
        self.now = Instant::now();
        for (envelopes, is_counted) in batches.drain(..) {
            for envelope in envelopes {
                if let Message::ClientRequest(request) = &envelope.message {
                    if is_counted {
                        self.gauges.requests_frontends.fetch_add(1, Relaxed);
                    }
                    let key = (request.client, request.id);
                    self.expect(key, Frontend::Here, Kind::of(request), is_counted);
                }
                self.receive(envelope.from, envelope.message);
            }
        }
    }

    /// Registers a request. A retransmission of a request in flight changes nothing: the only response
    /// goes to the source of the first transmission.
    fn expect(&mut self, key: Key, frontend: Frontend, kind: Kind, is_counted: bool) {
        if let Entry::Vacant(entry) = self.flights.entry(key) {
            entry.insert(Flight {
                frontend,
                kind,
                since: self.now,
                deadline: None,
                is_counted,
            });
        }
    }

    fn receive(&mut self, from: Address, message: Message) {
        let ask = self.draw();
        self.step(Event::Receive { from, message, ask });
    }

    fn fire_timers(&mut self) {
        let Some(next) = self.timers.next() else {
            return;
        };
        self.now = Instant::now();
        if next > self.now {
            return;
        }
        while let Some((deadline, key)) = self.timers.expired(self.now) {
            // The timer was armed again since, or the request was answered.
            if self.flights.get(&key).and_then(|flight| flight.deadline) != Some(deadline) {
                continue;
            }
            self.gauges.timeouts.fetch_add(1, Relaxed);
            let ((client, id), ask) = (key, self.draw());
            self.step(Event::Timeout { client, id, ask });
        }
    }

    fn draw(&mut self) -> NodeId {
        self.nodes[self.random.random_range(0..self.nodes.len())]
    }

    fn step(&mut self, event: Event) {
        let effects = self.proxy.step(event);
        for key in effects.timers {
            if let Some(flight) = self.flights.get_mut(&key) {
                flight.deadline = Some(self.timers.arm(key, self.now));
            }
        }
        for mut envelope in effects.sends {
            let Message::ClientResponse(response) = &envelope.message else {
                self.gauges.sends.fetch_add(1, Relaxed);
                self.out.push(envelope);
                continue;
            };
            let given_up = matches!(
                response.body,
                ResponseBody::Unavailable | ResponseBody::Overloaded
            );
            if given_up {
                self.gauges.unavailable.fetch_add(1, Relaxed);
            }
            let Some(flight) = self.flights.remove(&(response.client, response.id)) else {
                continue;
            };
            if flight.is_counted && given_up {
                self.gauges.load.unavailable(flight.kind);
            } else if flight.is_counted {
                let took = self.now.saturating_duration_since(flight.since);
                self.gauges.load.answered(flight.kind, took);
            }
            match flight.frontend {
                Frontend::Udp(called) => {
                    envelope.from = Address::Proxy(called);
                    self.out.push(envelope);
                }
                Frontend::Here => self.home.push(envelope),
            }
        }
    }

    /// Takes the pending output: envelopes for the endpoint, and envelopes for this process.
    fn take(&mut self) -> (Vec<Envelope>, Vec<Envelope>) {
        self.gauges
            .in_flight
            .store(self.proxy.in_flight() as u64, Relaxed);
        self.gauges.set_leader(self.proxy.leader());
        (
            std::mem::take(&mut self.out),
            std::mem::take(&mut self.home),
        )
    }
}

/// Timers with the same duration. A queue holds them in order of expiry. A disarmed timer stays in the
/// queue; the consumer checks whether it is still valid.
struct Timers {
    after: Duration,
    queue: VecDeque<(Instant, Key)>,
}

impl Timers {
    fn new(after: Duration) -> Self {
        let queue = VecDeque::new();
        Self { after, queue }
    }

    fn arm(&mut self, key: Key, now: Instant) -> Instant {
        let mut deadline = now + self.after;
        if let Some((last, _)) = self.queue.back() {
            deadline = deadline.max(*last);
        }
        self.queue.push_back((deadline, key));
        deadline
    }

    fn next(&self) -> Option<Instant> {
        self.queue.front().map(|(deadline, _)| *deadline)
    }

    fn expired(&mut self, now: Instant) -> Option<(Instant, Key)> {
        self.queue.pop_front_if(|(deadline, _)| *deadline <= now)
    }
}

#[cfg(test)]
mod tests;
