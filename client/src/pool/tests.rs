//! Tests of the pool with a fake carrier: a network that loses, duplicates and reorders as determined
//! by a seed, in front of the real store.

mod random;

use super::*;
use model::{
    ClientRequest, ClientResponse, Config, LogIndex, Message, NodeId, Payload, ProxyId, RequestId,
    message::{RequestBody, ResponseBody},
    store::{Command, Condition, Operation, Query, Store, Write},
};
use tokio::task::JoinSet;

const PROXY: Address = Address::Proxy(ProxyId::new(1));

const TIMEOUT: Duration = Duration::from_secs(1);

fn config(max_sessions: usize, max_waiting: usize, max_attempts: u32) -> PoolConfig {
    PoolConfig {
        proxy: PROXY,
        is_in_process: false,
        max_sessions,
        max_waiting,
        max_attempts,
        attempt_timeout: TIMEOUT,
    }
}

fn put(key: &str) -> Ask {
    Ask::Write(Operation::Put {
        key: key.into(),
        value: "v".into(),
        condition: Condition::Always,
    })
}

fn increment() -> Ask {
    let key = b"n".to_vec();
    Ask::Write(Operation::Increment { key, by: 1 })
}

fn get(key: &str) -> Ask {
    Ask::Read(Query::Get { key: key.into() })
}

/// The batches that a pool has sent and the test has not read yet.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Vec<Vec<Envelope>>>>);

impl Wire {
    fn pool(&self, config: PoolConfig) -> Pool {
        let wire = self.clone();
        Pool::new(config, move |envelopes| {
            assert!(!envelopes.is_empty(), "nothing is not carried");
            wire.0.lock().unwrap().push(envelopes);
        })
    }

    fn take(&self) -> Vec<Vec<Envelope>> {
        mem::take(&mut self.0.lock().unwrap())
    }

    /// Waits for the next requests and returns them.
    async fn requests(&self) -> Vec<ClientRequest> {
        for _ in 0..100 {
            let sent = self.take();
            if !sent.is_empty() {
                return sent.into_iter().flatten().map(request).collect();
            }
            task::yield_now().await;
        }
        panic!("nothing was sent");
    }
}

fn request(envelope: Envelope) -> ClientRequest {
    assert_eq!(envelope.to, PROXY);
    let Message::ClientRequest(request) = envelope.message else {
        panic!("not a request: {:?}", envelope.message);
    };
    assert_eq!(envelope.from, Address::Client(request.client));
    request
}

fn response(client: ClientId, id: RequestId, body: ResponseBody) -> Envelope {
    Envelope {
        from: PROXY,
        to: Address::Client(client),
        message: Message::ClientResponse(ClientResponse { client, id, body }),
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
            config: Config::new([NodeId::new(1)].into()),
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
            RequestBody::Read { query } => ResponseBody::Found(self.store.query(&query)),
            RequestBody::StaleRead { query } => ResponseBody::FoundStale(FoundStale {
                found: self.store.query(&query),
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
        let held = self.store.pairs().find(|(key, _)| *key == b"n");
        held.map_or(0, |(_, held)| {
            std::str::from_utf8(&held.value).unwrap().parse().unwrap()
        })
    }
}

/// Responds to every request until the operation is complete.
async fn serve(pool: &Pool, wire: &Wire, server: &mut Server, ask: Ask) -> Outcome {
    let asked = pool.ask(ask);
    tokio::pin!(asked);
    for _ in 0..100 {
        for request in wire.take().into_iter().flatten().map(request) {
            pool.receive(vec![server.answer(&request)]);
        }
        tokio::select! {
            biased;
            outcome = &mut asked => return outcome,
            () = task::yield_now() => {}
        }
    }
    panic!("no outcome");
}

#[tokio::test(start_paused = true)]
async fn operations_are_answered_over_one_session() {
    let (wire, mut server) = (Wire::default(), Server::new());
    let pool = wire.pool(config(8, 0, 1));
    for version in 2..5 {
        let outcome = serve(&pool, &wire, &mut server, put("k")).await;
        let version = LogIndex::new(version);
        assert_eq!(outcome, Outcome::Answered(Answer::Written { version }));
    }
    let outcome = serve(&pool, &wire, &mut server, get("absent")).await;
    assert_eq!(outcome, Outcome::Found(Found::Value(None)));
    let busy = Load {
        sessions: 1,
        busy: 0,
        waiting: 0,
    };
    assert_eq!(pool.load(), busy);
}

#[tokio::test(start_paused = true)]
async fn operations_asked_together_leave_together() {
    let wire = Wire::default();
    let pool = wire.pool(config(64, 0, 1));
    let mut asked = JoinSet::new();
    for _ in 0..64 {
        let pool = pool.clone();
        asked.spawn(async move { pool.ask(get("k")).await });
    }
    let mut server = Server::new();
    let requests = wire.requests().await;
    assert_eq!(requests.len(), 64);
    let answers = requests.iter().map(|request| server.answer(request));
    pool.receive(answers.collect());
    while let Some(outcome) = asked.join_next().await {
        assert_eq!(outcome.unwrap(), Outcome::Found(Found::Value(None)));
    }
}

#[tokio::test(start_paused = true)]
async fn request_unanswered_is_repeated_unchanged_then_given_up() {
    let (wire, mut server) = (Wire::default(), Server::new());
    let pool = wire.pool(config(1, 0, 3));
    serve(&pool, &wire, &mut server, put("k")).await;
    let started = Instant::now();
    assert_eq!(
        pool.ask(put("k")).await,
        Outcome::Unknown(Doubt::NotConfirmed)
    );
    assert_eq!(started.elapsed().as_secs(), 3 * TIMEOUT.as_secs());
    let sent = wire.requests().await;
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|request| *request == sent[0]));

    let started = Instant::now();
    assert_eq!(pool.ask(get("k")).await, Outcome::Unavailable);
    assert_eq!(started.elapsed().as_secs(), 3 * TIMEOUT.as_secs());
    assert_eq!(pool.load().busy, 0);
}

#[tokio::test(start_paused = true)]
async fn write_without_a_session_is_certainly_not_done() {
    let wire = Wire::default();
    let pool = wire.pool(config(1, 0, 2));
    assert_eq!(pool.ask(put("k")).await, Outcome::NotDone);
}

/// Responds to every request until a future completes.
async fn serve_until<T>(
    pool: &Pool,
    wire: &Wire,
    server: &mut Server,
    done: impl Future<Output = T>,
) -> T {
    tokio::pin!(done);
    for _ in 0..1000 {
        for request in wire.take().into_iter().flatten().map(request) {
            pool.receive(vec![server.answer(&request)]);
        }
        tokio::select! {
            biased;
            done = &mut done => return done,
            () = task::yield_now() => {}
        }
    }
    panic!("not done");
}

/// Starts this number of concurrent writes.
async fn write_together(pool: &Pool, count: usize) -> Vec<Outcome> {
    let mut asked = JoinSet::new();
    for _ in 0..count {
        let pool = pool.clone();
        asked.spawn(async move { pool.ask(increment()).await });
    }
    asked.join_all().await
}

fn is_number(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered(Answer::Number { .. }))
}

#[tokio::test(start_paused = true)]
async fn sessions_are_closed_when_the_pool_is() {
    let (wire, mut server) = (Wire::default(), Server::new());
    let pool = wire.pool(config(8, 0, 1));
    // A client that only reads has no session to close.
    serve(&pool, &wire, &mut server, get("k")).await;
    serve_until(&pool, &wire, &mut server, pool.close(TIMEOUT)).await;
    assert_eq!(server.store.last_applied(), LogIndex::ZERO);

    let outcomes = write_together(&pool, 5);
    let outcomes = serve_until(&pool, &wire, &mut server, outcomes).await;
    assert!(outcomes.iter().all(is_number), "{outcomes:?}");
    serve_until(&pool, &wire, &mut server, pool.close(TIMEOUT)).await;
    assert_eq!(server.store.session_count(), 0);

    // A busy session is closed when its operation ends. The pool does not wait for a store that does
    // not respond.
    let pool = wire.pool(config(8, 0, 1));
    serve(&pool, &wire, &mut server, increment()).await;
    let busy = tokio::spawn({
        let pool = pool.clone();
        async move { pool.ask(increment()).await }
    });
    let write = wire.requests().await.remove(0);
    let started = Instant::now();
    pool.close(TIMEOUT / 4).await;
    assert_eq!(started.elapsed(), TIMEOUT / 4);
    assert_eq!(server.store.session_count(), 1);
    pool.receive(vec![server.answer(&write)]);
    assert!(is_number(&busy.await.unwrap()));
    let [close] = &wire.requests().await[..] else {
        panic!("one request");
    };
    assert!(matches!(close.body, RequestBody::CloseSession { .. }));
}

#[tokio::test(start_paused = true)]
async fn session_idle_for_long_is_renewed_before_a_write_and_only_then() {
    let (wire, mut server) = (Wire::default(), Server::new());
    let pool = wire.pool(config(1, 0, 1));
    serve(&pool, &wire, &mut server, increment()).await;
    time::advance(RENEW_AFTER / 2).await;
    serve(&pool, &wire, &mut server, increment()).await;
    let applied = server.store.last_applied().get();
    assert_eq!(applied, 3);
    // The session was evicted while it was idle.
    time::advance(RENEW_AFTER).await;
    serve(&pool, &wire, &mut server, get("k")).await;
    server.store = Store::default();
    let outcome = serve(&pool, &wire, &mut server, increment()).await;
    assert!(is_number(&outcome), "{outcome:?}");
    // Renew, open, write.
    assert_eq!(server.store.last_applied().get(), 3);
}

#[tokio::test(start_paused = true)]
async fn operations_wait_for_a_session_of_the_pool_when_the_store_opens_no_more() {
    let (wire, mut server) = (Wire::default(), Server::new());
    (server.capacity, server.window) = (3, 1 << 20);
    let pool = wire.pool(config(16, 64, 1));
    let outcomes = write_together(&pool, 40);
    let outcomes = serve_until(&pool, &wire, &mut server, outcomes).await;
    assert!(outcomes.iter().all(is_number), "{outcomes:?}");
    assert_eq!((server.number(), server.store.session_count()), (40, 3));
    assert_eq!(pool.load().busy, 0);
    // No further session is opened for a while. After that, the pool sends a new request to the store.
    let opened = server.refused;
    let outcomes = write_together(&pool, 8);
    let outcomes = serve_until(&pool, &wire, &mut server, outcomes).await;
    assert!(outcomes.iter().all(is_number));
    assert_eq!(server.refused, opened);
    time::advance(OPEN_PAUSE).await;
    let outcomes = write_together(&pool, 8);
    serve_until(&pool, &wire, &mut server, outcomes).await;
    assert!(server.refused > opened);
    // A pool without any session reports it.
    let other = wire.pool(config(4, 0, 1));
    let outcomes = write_together(&other, 4);
    let outcomes = serve_until(&other, &wire, &mut server, outcomes).await;
    assert_eq!(outcomes, [const { Outcome::SessionsInUse }; 4]);
    assert_eq!(other.load().busy, 0);
}

#[tokio::test(start_paused = true)]
async fn session_of_an_unknown_write_stays_in_use_and_the_next_write_settles_it() {
    let (wire, mut server) = (Wire::default(), Server::new());
    let pool = wire.pool(config(1, 0, 1));
    serve(&pool, &wire, &mut server, increment()).await;
    assert_eq!(
        pool.ask(increment()).await,
        Outcome::Unknown(Doubt::NotConfirmed)
    );
    let late = wire.requests().await.remove(0);
    let outcome = serve(&pool, &wire, &mut server, increment()).await;
    assert!(matches!(
        outcome,
        Outcome::Answered(Answer::Number { value: 2, .. })
    ));
    // The write with the unknown outcome arrives now, and is not applied.
    pool.receive(vec![server.answer(&late)]);
    assert_eq!((server.number(), pool.load().sessions), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn operations_over_the_sessions_wait_in_order_and_over_the_queue_are_refused() {
    let (wire, mut server) = (Wire::default(), Server::new());
    let pool = wire.pool(config(1, 2, 1));
    let mut asked = JoinSet::new();
    for key in ["a", "b", "c"] {
        let pool = pool.clone();
        asked.spawn(async move { (key, pool.ask(get(key)).await) });
        task::yield_now().await;
    }
    assert_eq!(pool.load().waiting, 2);
    assert_eq!(pool.ask(get("d")).await, Outcome::Overloaded);
    for key in ["a", "b", "c"] {
        let [request] = &wire.requests().await[..] else {
            panic!("one session, one request");
        };
        let query = Query::Get { key: key.into() };
        assert_eq!(request.body, RequestBody::Read { query });
        pool.receive(vec![server.answer(request)]);
        let (done, outcome) = asked.join_next().await.unwrap().unwrap();
        assert_eq!((done, outcome), (key, Outcome::Found(Found::Value(None))));
    }
}

#[tokio::test(start_paused = true)]
async fn abandoned_operation_is_finished_before_its_session_is_used_again() {
    let (wire, mut server) = (Wire::default(), Server::new());
    let pool = wire.pool(config(1, 1, 1));
    serve(&pool, &wire, &mut server, increment()).await;
    let abandoned = pool.ask(increment());
    assert!(time::timeout(TIMEOUT / 4, abandoned).await.is_err());
    let request = wire.requests().await.remove(0);

    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.ask(increment()).await }
    });
    while pool.load().waiting == 0 {
        task::yield_now().await;
    }
    assert!(wire.take().is_empty(), "the session is busy");
    pool.receive(vec![server.answer(&request)]);
    let request = wire.requests().await.remove(0);
    pool.receive(vec![server.answer(&request)]);
    let outcome = waiting.await.unwrap();
    assert!(matches!(
        outcome,
        Outcome::Answered(Answer::Number { value: 3, .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn write_not_sent_in_time_is_never_sent() {
    let (wire, mut server) = (Wire::default(), Server::new());
    let pool = wire.pool(config(1, 1, 2));
    let outcome = pool.ask_within(put("k"), TIMEOUT / 2).await;
    assert_eq!(outcome, Outcome::NotDone);
    // The session opens only now.
    let request = wire.requests().await.remove(0);
    pool.receive(vec![server.answer(&request)]);
    time::sleep(10 * TIMEOUT).await;
    assert!(wire.take().is_empty() && !pool.has_sent_write());
    // The session remains usable.
    let found = serve(&pool, &wire, &mut server, get("k")).await;
    assert_eq!(found, Outcome::Found(Found::Value(None)));
    let outcome = serve(&pool, &wire, &mut server, put("k")).await;
    assert!(matches!(outcome, Outcome::Answered(Answer::Written { .. })));
    assert!(pool.has_sent_write());
    // From here on the write is sent at once.
    let outcome = pool.ask_within(put("k"), TIMEOUT / 2).await;
    assert_eq!(outcome, Outcome::Unknown(Doubt::NotConfirmed));
}

#[tokio::test(start_paused = true)]
async fn abandoned_operation_that_waited_for_a_session_leaves_the_queue() {
    let wire = Wire::default();
    let pool = wire.pool(config(1, 1, 1));
    let busy = tokio::spawn({
        let pool = pool.clone();
        async move { pool.ask(get("busy")).await }
    });
    wire.requests().await;
    for _ in 0..3 {
        // It would be rejected as overloaded if the previous operation were still in the queue.
        let wait = time::timeout(TIMEOUT / 10, pool.ask(get("queued")));
        assert!(wait.await.is_err());
        assert_eq!(pool.load().waiting, 0);
    }
    assert_eq!(busy.await.unwrap(), Outcome::Unavailable);
    assert!(wire.take().is_empty(), "what left the queue was never sent");
}

#[tokio::test(start_paused = true)]
async fn message_of_no_concern_changes_nothing() {
    let (wire, mut server) = (Wire::default(), Server::new());
    let pool = wire.pool(config(1, 0, 1));
    let asked = tokio::spawn({
        let pool = pool.clone();
        async move { pool.ask(get("k")).await }
    });
    let request = wire.requests().await.remove(0);
    let answer = server.answer(&request);
    let stranger = ClientId::new(request.client.get() ^ 1);
    let other = Address::Proxy(ProxyId::new(2));
    for foreign in [
        response(stranger, request.id, ResponseBody::Unavailable),
        response(request.client, request.id.next(), ResponseBody::Unavailable),
        Envelope {
            from: other,
            ..answer.clone()
        },
        Envelope {
            to: PROXY,
            ..answer.clone()
        },
    ] {
        pool.receive(vec![foreign]);
        assert_eq!(pool.load().busy, 1);
    }
    pool.receive(vec![answer.clone(), answer]);
    assert_eq!(asked.await.unwrap(), Outcome::Found(Found::Value(None)));
}

#[tokio::test(start_paused = true)]
async fn dropped_pool_ends_its_task() {
    let wire = Wire::default();
    let pool = wire.pool(config(1, 0, 1));
    let held = Arc::downgrade(&pool.inner.shared);
    drop(pool);
    for _ in 0..100 {
        task::yield_now().await;
    }
    assert!(held.upgrade().is_none());
}
