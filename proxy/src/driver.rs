//! Carries out what [`model::proxy::Proxy`] decides: one task, one loop, no decision of its own.
//!
//! What arrived together is stepped together and what follows from it leaves together, so that a
//! busy proxy pays for a batch, not for each request. Requests come from two sides, the UDP
//! endpoint and the doors of this process (HTTP, Redis), and are treated alike; where the answer
//! goes is the only difference, and it is remembered for as long as a request is in flight.
//!
//! # Names
//! Towards the servers a proxy has a name drawn at random, so that two proxies never take each
//! other's answers. Clients over UDP know addresses, not names: whatever name of a proxy they
//! call, they are answered under it.
//!
//! # What is left out
//! Anything that must survive: a proxy may lose all of its state without harm to anything but
//! time. Back-pressure: the pure proxy refuses beyond its bound, and says so.

use crate::load::{Kind, Load};
use model::{
    Address, ClientId, Envelope, Message, NodeId, ProxyId, RequestId,
    message::ResponseBody,
    proxy::{Event, Proxy, ProxyConfig},
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::{
    collections::{BTreeSet, HashMap, VecDeque, hash_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use transport::{Endpoint, Inbox};

/// How the driver and the proxy it drives are set up.
#[derive(Clone, Debug)]
pub struct DriverConfig {
    /// The servers.
    pub nodes: BTreeSet<NodeId>,
    /// How long a server may take to answer before the request goes elsewhere.
    pub attempt_timeout: Duration,
    /// How often one request is sent to servers. Times the timeout it must outlast an election,
    /// and a hint to a dead leader uses up an attempt without waiting.
    pub max_attempts: u32,
    /// How many requests may be in flight.
    pub max_in_flight: usize,
}

/// What is known about the driver from outside.
#[derive(Debug)]
pub struct Gauges {
    started: Instant,
    leader: AtomicU64,
    /// Requests waiting for an answer.
    pub in_flight: AtomicU64,
    /// Requests that came over UDP.
    pub requests_udp: AtomicU64,
    /// Requests that came from the doors of this process.
    pub requests_doors: AtomicU64,
    /// Requests sent to servers, first attempts and later ones.
    pub sends: AtomicU64,
    /// Requests whose timer ran out.
    pub timeouts: AtomicU64,
    /// Requests given up or refused.
    pub unavailable: AtomicU64,
    /// Milliseconds since the start, plus one, of the last answer from a server; 0 before it.
    last_answer: AtomicU64,
    /// Told when the belief about the leader changes.
    pub changed: Notify,
    /// What was answered and given up since the last sample.
    pub load: Load,
}

impl Gauges {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            leader: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            requests_udp: AtomicU64::new(0),
            requests_doors: AtomicU64::new(0),
            sends: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            last_answer: AtomicU64::new(0),
            changed: Notify::new(),
            load: Load::new(),
        }
    }

    /// Who is believed to lead.
    pub fn leader(&self) -> Option<NodeId> {
        // Stored one higher, so that 0 is nobody whatever servers are called.
        let stored = self.leader.load(Relaxed);
        stored.checked_sub(1).map(NodeId::new)
    }

    fn set_leader(&self, leader: Option<NodeId>) {
        let stored = leader.map_or(0, |id| id.get().saturating_add(1));
        if self.leader.swap(stored, Relaxed) != stored {
            self.changed.notify_waiters();
        }
    }

    /// How long ago a server last answered a request, `None` if none ever did.
    pub fn since_last_answer(&self) -> Option<Duration> {
        let at = self.last_answer.load(Relaxed).checked_sub(1)?;
        Some(
            self.started
                .elapsed()
                .saturating_sub(Duration::from_millis(at)),
        )
    }

    fn answered(&self, now: Instant) {
        let at = now.saturating_duration_since(self.started).as_millis();
        self.last_answer
            .store(u64::try_from(at).unwrap_or(u64::MAX - 1) + 1, Relaxed);
    }

    /// How long the driver has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The side of the driver that the doors hold.
#[derive(Clone, Debug)]
pub struct Handle {
    /// The driver's name towards the servers and the doors.
    pub id: ProxyId,
    /// What is going on.
    pub gauges: Arc<Gauges>,
    requests: mpsc::UnboundedSender<Batch>,
}

/// Requests of this process, and whether they belong to the load: what the proxy reads for its own
/// page does not.
type Batch = (Vec<Envelope>, bool);

impl Handle {
    /// Hands over requests of clients in this process. Never waits. The pool that calls this
    /// bounds how many there are.
    pub fn carry(&self, envelopes: Vec<Envelope>) {
        // Refused only once the driver is gone, when no answer can come: the caller's timer tells.
        let _ = self.requests.send((envelopes, true));
    }

    /// Hands over requests that the proxy makes for its own page. They are not part of the load.
    pub fn carry_uncounted(&self, envelopes: Vec<Envelope>) {
        let _ = self.requests.send((envelopes, false));
    }
}

/// How a driver is told to end, in two steps: an operation of a door may be several requests, so
/// the doors must have finished before the driver may.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// Clients over UDP are not heard any more, but for answers they wait for.
    pub refuse: CancellationToken,
    /// The driver ends once nothing is in flight.
    pub end: CancellationToken,
}

/// A driver that does not run yet.
#[derive(Debug)]
pub struct Driver {
    config: DriverConfig,
    handle: Handle,
    requests: mpsc::UnboundedReceiver<Batch>,
}

impl Driver {
    /// Prepares a driver: its [`Handle`] can be given out before it runs.
    ///
    /// # Panics
    /// Without servers.
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

    /// The side for the doors.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until the endpoint closes, or until it is told to end and nothing is in flight.
    /// `receive` gets the answers for the clients of this process.
    pub async fn run(
        mut self,
        endpoint: Endpoint,
        mut inbox: Inbox,
        receive: impl Fn(Vec<Envelope>) + Send,
        ending: Ending,
    ) {
        let mut turn = Turn::new(self.handle.id, self.config, Arc::clone(&self.handle.gauges));
        let mut from_doors = Vec::new();
        let alarm = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(alarm);
        let mut alarm_set = false;
        loop {
            if let Some(next) = turn.timers.next()
                && !alarm_set
            {
                // Deadlines only grow, so an alarm that is set is never too late.
                alarm.as_mut().reset(next);
                alarm_set = true;
            }
            tokio::select! {
                arrived = inbox.receive() => {
                    let Some(arrived) = arrived else { break };
                    turn.receive_datagrams(arrived, ending.refuse.is_cancelled());
                }
                _ = self.requests.recv_many(&mut from_doors, 1024) => {}
                () = alarm.as_mut(), if alarm_set => alarm_set = false,
                () = ending.end.cancelled(), if !ending.end.is_cancelled() => {}
            }
            while let Ok(more) = self.requests.try_recv() {
                from_doors.push(more);
            }
            turn.receive_from_doors(&mut from_doors);
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

/// Where the answer to a request goes.
#[derive(Clone, Copy, Debug)]
enum Door {
    /// To a client of this process.
    Here,
    /// To a client over UDP that called the proxy by this name.
    Udp(ProxyId),
}

/// A request in flight, as the driver sees it.
#[derive(Debug)]
struct Flight {
    door: Door,
    kind: Kind,
    since: Instant,
    deadline: Option<Instant>,
    /// Whether it belongs to the load.
    is_counted: bool,
}

type Key = (ClientId, RequestId);

/// The state of the loop.
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
                    self.expect(key, Door::Udp(called), Kind::of(request), true);
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

    fn receive_from_doors(&mut self, batches: &mut Vec<Batch>) {
        if batches.is_empty() {
            return;
        }
        self.now = Instant::now();
        for (envelopes, is_counted) in batches.drain(..) {
            for envelope in envelopes {
                if let Message::ClientRequest(request) = &envelope.message {
                    if is_counted {
                        self.gauges.requests_doors.fetch_add(1, Relaxed);
                    }
                    let key = (request.client, request.id);
                    self.expect(key, Door::Here, Kind::of(request), is_counted);
                }
                self.receive(envelope.from, envelope.message);
            }
        }
    }

    /// A request that is sent again while in flight is answered once, where it first came from.
    fn expect(&mut self, key: Key, door: Door, kind: Kind, is_counted: bool) {
        if let Entry::Vacant(entry) = self.flights.entry(key) {
            entry.insert(Flight {
                door,
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
            // Armed anew since, or answered.
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
            match flight.door {
                Door::Udp(called) => {
                    envelope.from = Address::Proxy(called);
                    self.out.push(envelope);
                }
                Door::Here => self.home.push(envelope),
            }
        }
    }

    /// What is to leave, for the endpoint and for this process.
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

/// Timers that all run equally long: a queue holds them in the order in which they run out.
/// Disarming leaves the timer where it is; whoever takes it out looks whether it still counts.
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
mod tests {
    use super::*;
    use crate::wire::loopback;
    use model::{
        ClientRequest, ClientResponse,
        message::RequestBody,
        store::{Found, Query},
    };
    use tokio::sync::mpsc::UnboundedReceiver;

    /// A driver on loopback with one server, which the test plays itself.
    struct Stage {
        handle: Handle,
        server: (Endpoint, Inbox),
        answers: UnboundedReceiver<Vec<Envelope>>,
        ending: Ending,
        task: tokio::task::JoinHandle<()>,
        at: std::net::SocketAddr,
    }

    const SERVER: NodeId = NodeId::new(1);
    const CLIENT: ClientId = ClientId::new(7);

    async fn stage(attempt_timeout: Duration, max_attempts: u32) -> Stage {
        let server = loopback().await;
        let (endpoint, inbox) = loopback().await;
        endpoint.set_peer(Address::Node(SERVER), server.0.local_addr().unwrap());
        let driver = Driver::new(DriverConfig {
            nodes: [SERVER].into(),
            attempt_timeout,
            max_attempts,
            max_in_flight: 2,
        });
        let handle = driver.handle();
        let at = endpoint.local_addr().unwrap();
        server.0.set_peer(Address::Proxy(handle.id), at);
        let (sender, answers) = mpsc::unbounded_channel();
        let ending = Ending::default();
        let receive = move |envelopes| {
            let _ = sender.send(envelopes);
        };
        let task = tokio::spawn(driver.run(endpoint, inbox, receive, ending.clone()));
        Stage {
            handle,
            server,
            answers,
            ending,
            task,
            at,
        }
    }

    fn request(id: u64, to: ProxyId) -> Envelope {
        Envelope {
            from: Address::Client(CLIENT),
            to: Address::Proxy(to),
            message: Message::ClientRequest(ClientRequest {
                client: CLIENT,
                id: RequestId::new(id),
                body: RequestBody::Read {
                    query: Query::Get { key: b"k".to_vec() },
                },
            }),
        }
    }

    fn found(id: u64, to: ProxyId) -> Envelope {
        Envelope {
            from: Address::Node(SERVER),
            to: Address::Proxy(to),
            message: Message::ClientResponse(ClientResponse {
                client: CLIENT,
                id: RequestId::new(id),
                body: ResponseBody::Found(Found::Value(None)),
            }),
        }
    }

    async fn within<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), future)
            .await
            .expect("nothing came within ten seconds")
    }

    #[tokio::test]
    async fn request_from_a_door_is_answered_there() {
        let mut stage = stage(Duration::from_millis(100), 1000).await;
        let id = stage.handle.id;
        stage.handle.carry(vec![request(1, id)]);
        let asked = within(stage.server.1.receive()).await.unwrap();
        assert_eq!(asked[0].message, request(1, id).message);
        stage.server.0.send(vec![found(1, id)]);
        let answer = within(stage.answers.recv()).await.unwrap();
        assert_eq!(answer[0].to, Address::Client(CLIENT));
        assert_eq!(stage.handle.gauges.leader(), Some(SERVER));
        assert!(stage.handle.gauges.since_last_answer().is_some());
    }

    #[tokio::test]
    async fn client_over_udp_is_answered_under_the_name_it_called() {
        let mut stage = stage(Duration::from_millis(100), 1000).await;
        let called = ProxyId::new(1);
        let mut client = loopback().await;
        client.0.set_peer(Address::Proxy(called), stage.at);
        // Sent again until it arrives: a datagram may be lost.
        let asked = async {
            let mut again = tokio::time::interval(Duration::from_millis(50));
            loop {
                tokio::select! {
                    asked = stage.server.1.receive() => break asked,
                    _ = again.tick() => client.0.send(vec![request(1, called)]),
                }
            }
        };
        within(asked).await.unwrap();
        stage.server.0.send(vec![found(1, stage.handle.id)]);
        let answer = within(client.1.receive()).await.unwrap();
        assert_eq!(answer[0].from, Address::Proxy(called));
        assert_eq!(answer[0].to, Address::Client(CLIENT));
    }

    #[tokio::test]
    async fn request_unanswered_is_sent_again_and_then_given_up() {
        let mut stage = stage(Duration::from_millis(5), 3).await;
        stage.handle.carry(vec![request(1, stage.handle.id)]);
        let answer = within(stage.answers.recv()).await.unwrap();
        let Message::ClientResponse(response) = &answer[0].message else {
            panic!("not a response");
        };
        assert_eq!(response.body, ResponseBody::Unavailable);
        // Of three datagrams, one at least arrives.
        within(stage.server.1.receive()).await.unwrap();
        assert_eq!(stage.handle.gauges.sends.load(Relaxed), 3);
        assert_eq!(stage.handle.gauges.timeouts.load(Relaxed), 3);
    }

    #[tokio::test]
    async fn request_beyond_the_bound_is_refused_at_once() {
        let mut stage = stage(Duration::from_millis(100), 1000).await;
        let id = stage.handle.id;
        stage
            .handle
            .carry((1..=3).map(|n| request(n, id)).collect());
        let refused = within(stage.answers.recv()).await.unwrap();
        assert_eq!(refused.len(), 1);
        assert_eq!(stage.handle.gauges.in_flight.load(Relaxed), 2);
    }

    #[tokio::test]
    async fn ending_waits_for_what_is_in_flight() {
        let mut stage = stage(Duration::from_millis(100), 1000).await;
        let id = stage.handle.id;
        stage.handle.carry(vec![request(1, id)]);
        within(stage.server.1.receive()).await.unwrap();
        stage.ending.refuse.cancel();
        stage.ending.end.cancel();
        // A new request over UDP is not heard any more.
        let client = loopback().await;
        client.0.set_peer(Address::Proxy(id), stage.at);
        client.0.send(vec![request(2, id)]);
        stage.server.0.send(vec![found(1, id)]);
        within(stage.answers.recv()).await.unwrap();
        within(stage.task).await.unwrap();
    }
}
