//! Tests of the pool in front of the real store, over a network that the test controls.

mod random;

use super::*;
use crate::{
    ClientRequest, ClientResponse, Config, LogIndex, NodeId, Payload, ProxyId, RequestId,
    message::{FoundStale, ResponseBody},
    store::{Answer, Command, Condition, Found, Operation, Query, Store, Write},
};

const PROXY: Address = Address::Proxy(ProxyId::new(1));
const TIMEOUT: Duration = Duration::from_secs(1);
const NOT_CONFIRMED: Outcome = Outcome::Unknown(Unknown::NotConfirmed);
const NO_SESSION: Outcome = Outcome::NotDone(NotDone::NoSession);
const NO_LEADER: Outcome = Outcome::NotDone(NotDone::NoLeader);

fn put(key: &str) -> Invocation {
    Invocation::Write(Operation::Put {
        key: key.into(),
        value: "v".into(),
        condition: Condition::Always,
    })
}

fn increment() -> Invocation {
    let key = b"n".to_vec();
    Invocation::Write(Operation::Increment { key, by: 1 })
}

fn get(key: &str) -> Invocation {
    Invocation::Read(Query::Get { key: key.into() })
}

fn found_nothing() -> Outcome {
    Outcome::Done(Done::Found(Found::Value(None)))
}

fn number(outcome: &Outcome) -> Option<i64> {
    match outcome {
        Outcome::Done(Done::Answered(Answer::Number { value, .. })) => Some(*value),
        _ => None,
    }
}

/// A store that responds at once.
struct Server {
    store: Store,
    config: Config,
    /// The capacity of the session table, and the protection time of a session.
    capacity: u32,
    window: u64,
    /// The number of refused sessions.
    refused: usize,
}

impl Server {
    fn new() -> Self {
        Self {
            store: Store::default(),
            config: Config::production([NodeId::new(1)].into()),
            capacity: 1000,
            window: 0,
            refused: 0,
        }
    }

    fn answer(&mut self, request: &ClientRequest) -> Envelope {
        let body = match request.body.clone() {
            RequestBody::CloseSession { session } => self.apply(Command::CloseSession { session }),
            RequestBody::RenewSession { session } => self.apply(Command::RenewSession { session }),
            RequestBody::OpenSession => self.apply(Command::OpenSession {
                capacity: self.capacity,
                window: self.window,
            }),
            RequestBody::Write {
                session,
                sequence,
                acknowledged,
                operation,
            } => self.apply(Command::from(Write {
                quota: u64::MAX,
                session,
                sequence,
                acknowledged,
                operation,
            })),
            RequestBody::Read { query } => {
                ResponseBody::Found(self.store.query(&query, &self.config))
            }
            RequestBody::TransferLeadership { .. } => ResponseBody::Leads,
            RequestBody::StaleRead { query } => ResponseBody::FoundStale(FoundStale {
                found: self.store.query(&query, &self.config),
                applied_index: self.store.last_applied(),
            }),
        };
        response(request.client, request.id, body)
    }

    fn apply(&mut self, command: Command) -> ResponseBody {
        let answer = self.store.apply(&Payload::Command(command), &self.config);
        self.refused += usize::from(answer == Answer::SessionsInUse);
        ResponseBody::Applied(answer)
    }

    fn number(&self) -> i64 {
        let mut pairs = self.store.pairs();
        pairs.find(|(key, _)| *key == b"n").map_or(0, |(_, found)| {
            core::str::from_utf8(&found.value).unwrap().parse().unwrap()
        })
    }
}

fn response(client: ClientId, id: RequestId, body: ResponseBody) -> Envelope {
    Envelope {
        from: PROXY,
        to: Address::Client(client),
        message: Message::ClientResponse(ClientResponse { client, id, body }),
    }
}

/// A pool with a store. The test decides when requests arrive and how time passes.
struct World {
    pool: SessionPool,
    server: Server,
    now: Duration,
    tickets: u64,
    /// The requests that have not arrived yet.
    sent: Vec<ClientRequest>,
    outcomes: BTreeMap<Ticket, Outcome>,
}

impl World {
    fn new(max_sessions: usize, max_waiting: usize, max_attempts: u32) -> Self {
        let config = PoolConfig {
            proxy: PROXY,
            is_in_process: false,
            max_sessions,
            max_waiting,
            max_attempts,
            attempt_timeout: TIMEOUT,
        };
        Self {
            pool: SessionPool::new(config),
            server: Server::new(),
            now: Duration::ZERO,
            tickets: 0,
            sent: Vec::new(),
            outcomes: BTreeMap::new(),
        }
    }

    fn step(&mut self, event: Event) {
        let effects = self.pool.step(self.now, event);
        for envelope in effects.sends {
            assert_eq!(envelope.to, PROXY);
            let Message::ClientRequest(request) = envelope.message else {
                panic!("not a request: {:?}", envelope.message);
            };
            assert_eq!(envelope.from, Address::Client(request.client));
            self.sent.push(request);
        }
        for (ticket, outcome) in effects.outcomes {
            let earlier = self.outcomes.insert(ticket, outcome);
            assert_eq!(earlier, None, "a second outcome of {ticket:?}");
        }
    }

    fn submit(&mut self, invocation: Invocation) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.step(Event::Submit {
            ticket,
            invocation,
            // Equal ids, so that the pool has to avoid collisions.
            new_client: ClientId::new(7),
        });
        ticket
    }

    fn submit_all(&mut self, count: usize) -> Vec<Ticket> {
        (0..count).map(|_| self.submit(increment())).collect()
    }

    /// Lets time pass, in steps from one timeout to the next.
    fn elapse(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.pool.next_timeout()
            && next <= until
        {
            assert!(next > self.now, "an expired timer");
            self.now = next;
            self.step(Event::Timeout);
        }
        self.now = until;
    }

    /// Delivers requests and responses until none is left.
    fn serve(&mut self) {
        while !self.sent.is_empty() {
            for request in mem::take(&mut self.sent) {
                let answer = self.server.answer(&request);
                self.step(Event::Receive(answer));
            }
        }
    }

    /// The only request in flight.
    fn request(&mut self) -> ClientRequest {
        let mut sent = mem::take(&mut self.sent);
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    /// Executes an operation with a network that loses nothing.
    fn execute(&mut self, invocation: Invocation) -> Outcome {
        let ticket = self.submit(invocation);
        self.serve();
        self.outcomes[&ticket].clone()
    }

    fn numbers(&self, tickets: &[Ticket]) -> Vec<Option<i64>> {
        let outcome = |ticket| self.outcomes.get(ticket).and_then(number);
        tickets.iter().map(outcome).collect()
    }
}

#[test]
fn operations_are_answered_over_one_session() {
    let mut world = World::new(8, 0, 1);
    for version in 2..5 {
        let version = LogIndex::new(version);
        let written = Outcome::Done(Done::Answered(Answer::Written { version }));
        assert_eq!(world.execute(put("k")), written);
    }
    assert_eq!(world.execute(get("absent")), found_nothing());
    let idle = Load {
        sessions: 1,
        ..Load::default()
    };
    assert_eq!(world.pool.load(), idle);
    assert_eq!(world.pool.next_timeout(), None);
}

#[test]
fn request_unanswered_is_repeated_unchanged_then_given_up() {
    let mut world = World::new(1, 0, 3);
    world.execute(put("k"));
    for (invocation, outcome) in [(put("k"), NOT_CONFIRMED), (get("k"), NO_LEADER)] {
        let ticket = world.submit(invocation);
        world.elapse(3 * TIMEOUT - Duration::from_nanos(1));
        assert_eq!(world.outcomes.get(&ticket), None);
        world.elapse(Duration::from_nanos(1));
        assert_eq!(world.outcomes[&ticket], outcome);
        let sent = mem::take(&mut world.sent);
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|request| *request == sent[0]));
    }
    assert_eq!(world.pool.load().busy, 0);
}

#[test]
fn write_without_a_session_is_not_done() {
    let mut world = World::new(1, 0, 2);
    let ticket = world.submit(put("k"));
    world.elapse(2 * TIMEOUT);
    assert_eq!(world.outcomes[&ticket], NO_SESSION);
    assert!(!world.pool.has_sent_write());
}

#[test]
fn closing_pool_closes_idle_sessions_and_busy_ones_after_their_operations() {
    let mut world = World::new(8, 0, 1);
    // A client that only reads has no session to close.
    world.execute(get("k"));
    let mut reader = world.pool.clone();
    assert_eq!(reader.step(world.now, Event::Close), Effects::default());

    let tickets = world.submit_all(5);
    world.serve();
    assert!(world.numbers(&tickets).iter().all(Option::is_some));
    assert_eq!(world.server.store.session_count(), 5);
    let busy = world.submit(increment());
    let write = world.request();
    world.step(Event::Close);
    world.serve();
    assert_eq!(world.server.store.session_count(), 1);
    let answer = world.server.answer(&write);
    world.step(Event::Receive(answer));
    assert!(number(&world.outcomes[&busy]).is_some());
    // A store that does not respond gets one request to close.
    let close = world.request();
    assert!(matches!(close.body, RequestBody::CloseSession { .. }));
    world.elapse(TIMEOUT);
    assert_eq!((world.sent.len(), world.pool.load().busy), (0, 0));
}

#[test]
fn session_idle_for_long_is_renewed_before_a_write_and_only_then() {
    let mut world = World::new(1, 0, 1);
    world.execute(increment());
    world.elapse(RENEW_AFTER / 2);
    world.execute(increment());
    assert_eq!(world.server.store.last_applied().get(), 3);
    // The session was evicted while it was idle: the store received no write, and a read or a
    // leadership transfer does not use the session.
    world.elapse(RENEW_AFTER);
    world.execute(get("k"));
    let unanswered = world.submit(get("k"));
    world.sent.clear();
    world.elapse(TIMEOUT);
    assert_eq!(world.outcomes[&unanswered], NO_LEADER);
    let transfer = Invocation::TransferLeadership(NodeId::new(1));
    assert_eq!(world.execute(transfer), Outcome::Done(Done::Leads));
    world.server.store = Store::default();
    let outcome = world.execute(increment());
    assert_eq!(number(&outcome), Some(1));
    // Renew, open, write.
    assert_eq!(world.server.store.last_applied().get(), 3);
}

#[test]
fn operations_wait_for_a_session_of_the_pool_when_the_store_opens_no_more() {
    let mut world = World::new(16, 64, 1);
    (world.server.capacity, world.server.window) = (3, 1 << 20);
    let tickets = world.submit_all(40);
    world.serve();
    assert!(world.numbers(&tickets).iter().all(Option::is_some));
    assert_eq!(world.server.store.session_count(), 3);
    assert_eq!(world.pool.load().busy, 0);
    // No further session is opened for a while.
    let refused = world.server.refused;
    world.submit_all(8);
    world.serve();
    assert_eq!(world.server.refused, refused);
    // After that, the pool sends a new request to the store.
    world.elapse(OPEN_PAUSE);
    world.submit_all(8);
    world.serve();
    assert!(world.server.refused > refused);
    assert_eq!(world.server.number(), 56);
}

#[test]
fn pool_without_any_session_reports_that_all_are_in_use() {
    let mut world = World::new(4, 0, 1);
    (world.server.capacity, world.server.window) = (1, 1 << 20);
    // Another client has the only session.
    world.server.apply(Command::OpenSession {
        capacity: 1,
        window: 1 << 20,
    });
    let tickets = world.submit_all(4);
    world.serve();
    for ticket in tickets {
        let refused = Outcome::NotDone(NotDone::SessionsInUse);
        assert_eq!(world.outcomes[&ticket], refused);
    }
    assert_eq!(world.pool.load().busy, 0);
}

#[test]
fn session_of_an_unknown_write_stays_in_use_and_the_next_write_settles_it() {
    let mut world = World::new(1, 0, 1);
    world.execute(increment());
    let unknown = world.submit(increment());
    world.elapse(TIMEOUT);
    assert_eq!(world.outcomes[&unknown], NOT_CONFIRMED);
    let late = world.request();
    let outcome = world.execute(increment());
    assert_eq!(number(&outcome), Some(2));
    // The write with the unknown outcome arrives now, and is not applied.
    let answer = world.server.answer(&late);
    world.step(Event::Receive(answer));
    assert_eq!((world.server.number(), world.pool.load().sessions), (2, 1));
}

#[test]
fn operations_over_the_sessions_wait_in_order_and_over_the_queue_are_refused() {
    let mut world = World::new(1, 2, 1);
    let tickets = ["a", "b", "c"].map(|key| world.submit(get(key)));
    assert!(world.pool.queued().eq(tickets[1..].iter().copied()));
    let refused = world.submit(get("d"));
    let full = Outcome::NotDone(NotDone::QueueFull);
    assert_eq!(world.outcomes[&refused], full);
    for (key, ticket) in ["a", "b", "c"].into_iter().zip(tickets) {
        let request = world.request();
        let query = Query::Get { key: key.into() };
        assert_eq!(request.body, RequestBody::Read { query });
        let client = Address::Client(request.client);
        assert!(world.pool.owns(client));
        let answer = world.server.answer(&request);
        world.step(Event::Receive(answer));
        assert_eq!(world.outcomes[&ticket], found_nothing());
    }
}

#[test]
fn queued_operations_that_end_at_once_do_not_stop_the_queue() {
    let mut world = World::new(1, 100_000, 1);
    world.submit(get("k"));
    for _ in 0..50_000 {
        // The client refuses an empty key.
        world.submit(get(""));
    }
    let last = world.submit(get("k"));
    world.serve();
    assert_eq!(world.outcomes[&last], found_nothing());
    assert_eq!(world.outcomes.len(), 50_002);
}

#[test]
fn abandoned_operation_is_finished_before_its_session_is_used_again() {
    let mut world = World::new(1, 1, 1);
    world.execute(increment());
    let abandoned = world.submit(increment());
    world.step(Event::Abandon(abandoned));
    assert_eq!(world.outcomes[&abandoned], NOT_CONFIRMED);
    let request = world.request();
    let waiting = world.submit(increment());
    assert!(world.sent.is_empty(), "the session is busy");
    let answer = world.server.answer(&request);
    world.step(Event::Receive(answer));
    world.serve();
    assert_eq!(number(&world.outcomes[&waiting]), Some(3));
}

#[test]
fn write_abandoned_before_it_is_sent_is_never_sent() {
    let mut world = World::new(1, 1, 2);
    let ticket = world.submit(put("k"));
    world.step(Event::Abandon(ticket));
    assert_eq!(world.outcomes[&ticket], NO_SESSION);
    // The session opens only now.
    let request = world.request();
    let answer = world.server.answer(&request);
    world.step(Event::Receive(answer));
    assert!(world.sent.is_empty() && !world.pool.has_sent_write());
    // The session waits for no response.
    assert_eq!(
        (world.pool.load().busy, world.pool.next_timeout()),
        (0, None)
    );
    // The session remains usable.
    assert_eq!(world.execute(get("k")), found_nothing());
    let outcome = world.execute(put("k"));
    assert!(matches!(outcome, Outcome::Done(Done::Answered(_))));
    assert!(world.pool.has_sent_write());
}

#[test]
fn abandoned_operation_leaves_the_queue() {
    let mut world = World::new(1, 1, 1);
    world.submit(get("busy"));
    world.request();
    for (invocation, outcome) in [(get("k"), NO_LEADER), (put("k"), NO_SESSION)] {
        let queued = world.submit(invocation);
        world.step(Event::Abandon(queued));
        assert_eq!(world.outcomes[&queued], outcome);
        assert_eq!(world.pool.load().waiting, 0);
    }
    world.elapse(TIMEOUT);
    assert!(world.sent.is_empty(), "an abandoned operation was sent");
}

#[test]
fn message_of_no_concern_changes_nothing() {
    let mut world = World::new(1, 0, 1);
    let ticket = world.submit(get("k"));
    let request = world.request();
    let answer = world.server.answer(&request);
    let stranger = ClientId::new(request.client.get() ^ 1);
    for foreign in [
        response(stranger, request.id, ResponseBody::Unavailable),
        response(request.client, request.id.next(), ResponseBody::Unavailable),
        Envelope {
            from: Address::Proxy(ProxyId::new(2)),
            ..answer.clone()
        },
        Envelope {
            to: PROXY,
            ..answer.clone()
        },
    ] {
        let before = world.pool.clone();
        world.step(Event::Receive(foreign));
        assert_eq!(world.pool, before);
    }
    world.step(Event::Receive(answer.clone()));
    world.step(Event::Receive(answer));
    world.step(Event::Abandon(ticket));
    assert_eq!(world.outcomes[&ticket], found_nothing());
}
