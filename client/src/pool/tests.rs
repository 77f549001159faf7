//! Tests of the driver: its task, its clock and its callers. The decisions of the pool are tested in
//! [`model::session_pool`].

use super::*;
use model::{
    Address, ClientRequest, ClientResponse, Config, LogIndex, Message, NodeId, Payload, ProxyId,
    client::{Done, NotDone},
    message::{RequestBody, ResponseBody},
    store::{Answer, Command, Condition, Found, Operation, Query, Store, Write},
};
use rand::SeedableRng as _;
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

fn put(key: &str) -> Invocation {
    Invocation::Write(Operation::Put {
        key: key.into(),
        value: "v".into(),
        condition: Condition::Always,
    })
}

fn get(key: &str) -> Invocation {
    Invocation::Read(Query::Get { key: key.into() })
}

fn found_nothing() -> Outcome {
    Outcome::Done(Done::Found(Found::Value(None)))
}

/// The batches that a pool has sent and the test has not read yet.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Vec<Vec<Envelope>>>>);

impl Wire {
    fn pool(&self, config: PoolConfig) -> Pool {
        let wire = self.clone();
        Pool::new(config, StdRng::seed_from_u64(1), move |envelopes| {
            assert!(!envelopes.is_empty(), "an empty batch");
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

/// A store that responds at once.
#[derive(Default)]
struct Server {
    store: Store,
}

impl Server {
    fn answer(&mut self, request: &ClientRequest) -> Envelope {
        let body = match request.body.clone() {
            RequestBody::TransferLeadership { .. } => ResponseBody::Leads,
            RequestBody::OpenSession => self.apply(Command::OpenSession {
                capacity: 1000,
                window: 0,
            }),
            RequestBody::CloseSession { session } => self.apply(Command::CloseSession { session }),
            RequestBody::RenewSession { session } => self.apply(Command::RenewSession { session }),
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
                let config = Config::production([NodeId::new(1)].into());
                ResponseBody::Found(self.store.query(&query, &config))
            }
            RequestBody::StaleRead { .. } => panic!("no test reads stale data"),
        };
        Envelope {
            from: PROXY,
            to: Address::Client(request.client),
            message: Message::ClientResponse(ClientResponse {
                client: request.client,
                id: request.id,
                body,
            }),
        }
    }

    fn apply(&mut self, command: Command) -> ResponseBody {
        let config = Config::production([NodeId::new(1)].into());
        ResponseBody::Applied(self.store.apply(&Payload::Command(command), &config))
    }
}

/// Responds to every request until the operation is complete.
async fn serve(pool: &Pool, wire: &Wire, server: &mut Server, invocation: Invocation) -> Outcome {
    let operation = pool.execute(invocation);
    tokio::pin!(operation);
    for _ in 0..100 {
        for request in wire.take().into_iter().flatten().map(request) {
            pool.receive(vec![server.answer(&request)]);
        }
        tokio::select! {
            biased;
            outcome = &mut operation => return outcome,
            () = task::yield_now() => {}
        }
    }
    panic!("no outcome");
}

#[tokio::test(start_paused = true)]
async fn operation_is_answered() {
    let (wire, mut server) = (Wire::default(), Server::default());
    let pool = wire.pool(config(8, 0, 1));
    let version = LogIndex::new(2);
    let written = Outcome::Done(Done::Answered(Answer::Written { version }));
    assert_eq!(serve(&pool, &wire, &mut server, put("k")).await, written);
    assert_eq!((pool.load().sessions, pool.load().busy), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn concurrent_operations_leave_together() {
    let wire = Wire::default();
    let pool = wire.pool(config(64, 0, 1));
    let mut operations = JoinSet::new();
    for _ in 0..64 {
        let pool = pool.clone();
        operations.spawn(async move { pool.execute(get("k")).await });
    }
    let mut server = Server::default();
    let requests = wire.requests().await;
    assert_eq!(requests.len(), 64);
    let answers = requests.iter().map(|request| server.answer(request));
    pool.receive(answers.collect());
    while let Some(outcome) = operations.join_next().await {
        assert_eq!(outcome.unwrap(), found_nothing());
    }
}

#[tokio::test(start_paused = true)]
async fn request_unanswered_is_repeated_until_the_last_attempt_times_out() {
    let wire = Wire::default();
    let pool = wire.pool(config(1, 0, 3));
    let started = Instant::now();
    let outcome = pool.execute(get("k")).await;
    assert_eq!(outcome, Outcome::NotDone(NotDone::NoLeader));
    assert_eq!(started.elapsed().as_secs(), 3 * TIMEOUT.as_secs());
    assert_eq!(wire.requests().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn operation_beyond_the_queue_is_refused() {
    let wire = Wire::default();
    let pool = wire.pool(config(1, 0, 1));
    let busy = tokio::spawn({
        let pool = pool.clone();
        async move { pool.execute(get("k")).await }
    });
    wire.requests().await;
    let outcome = pool.execute(get("k")).await;
    assert_eq!(outcome, Outcome::NotDone(NotDone::QueueFull));
    busy.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_the_store_and_no_longer_than_its_patience() {
    let (wire, mut server) = (Wire::default(), Server::default());
    let pool = wire.pool(config(8, 0, 1));
    serve(&pool, &wire, &mut server, put("k")).await;
    let close = pool.close(TIMEOUT);
    tokio::pin!(close);
    loop {
        for request in wire.take().into_iter().flatten().map(request) {
            pool.receive(vec![server.answer(&request)]);
        }
        tokio::select! {
            biased;
            () = &mut close => break,
            () = task::yield_now() => {}
        }
    }
    assert_eq!(server.store.session_count(), 0);

    serve(&pool, &wire, &mut server, put("k")).await;
    let started = Instant::now();
    pool.close(TIMEOUT / 4).await;
    assert_eq!(started.elapsed(), TIMEOUT / 4);
}

#[tokio::test(start_paused = true)]
async fn outcome_within_a_limit_shows_whether_the_write_was_sent() {
    let (wire, mut server) = (Wire::default(), Server::default());
    let pool = wire.pool(config(1, 1, 2));
    let outcome = pool.execute_within(put("k"), TIMEOUT / 2).await;
    assert_eq!(outcome, Outcome::NotDone(NotDone::NoSession));
    let open = wire.requests().await.remove(0);
    pool.receive(vec![server.answer(&open)]);
    time::sleep(3 * TIMEOUT).await;
    assert!(wire.take().is_empty() && !pool.has_sent_write());
    // From here on the write is sent at once.
    let outcome = pool.execute_within(put("k"), TIMEOUT / 2).await;
    assert_eq!(outcome, Outcome::Unknown(Unknown::NotConfirmed));
    assert!(pool.has_sent_write());
}

#[tokio::test(start_paused = true)]
async fn dropped_operation_leaves_the_queue() {
    let wire = Wire::default();
    let pool = wire.pool(config(1, 1, 1));
    let busy = tokio::spawn({
        let pool = pool.clone();
        async move { pool.execute(get("busy")).await }
    });
    wire.requests().await;
    for _ in 0..3 {
        // It would be rejected if the previous operation were still in the queue.
        let wait = time::timeout(TIMEOUT / 10, pool.execute(get("queued")));
        assert!(wait.await.is_err());
        assert_eq!(pool.load().waiting, 0);
    }
    busy.await.unwrap();
    assert!(wire.take().is_empty(), "a dropped operation was sent");
}

#[tokio::test(start_paused = true)]
async fn dropped_pool_ends_its_task() {
    let wire = Wire::default();
    let pool = wire.pool(config(1, 0, 1));
    let shared = Arc::downgrade(&pool.inner.shared);
    drop(pool);
    for _ in 0..100 {
        task::yield_now().await;
    }
    assert!(shared.upgrade().is_none());
}
