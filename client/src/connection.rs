//! A client for programs: one socket, many operations at once, each a function.
//!
//! # Time
//! Every operation ends within [`Options::timeout`], or a twentieth later. A request without an
//! answer is sent again after [`Options::attempt_timeout`], through the same session, as often as
//! fits.
//!
//! # Several endpoints
//! With several proxies one is used at a time, and the next one after an attempt without an answer;
//! see [`crate::rotation`] for why a session may move. With [`Route::Direct`] the endpoints are the
//! servers, and [`crate::direct`] finds the leader.
//!
//! # What is left out
//! Encryption keys, queues and packets: the transport's.

use crate::{
    ConnectError, Error, Options, Route,
    direct::{self, Direct, Out},
    pool::{Load, Outcome, Pool, PoolConfig},
    rotation::Rotation,
    wire,
};
use futures_util::future::join_all;
use model::{
    Address, Envelope, FoundStale, LogIndex, Message, NodeId, ProxyId,
    client::{Ask, Doubt},
    message::ResponseBody,
    proxy::ProxyConfig,
    store::{
        Answer, Condition, Found, Key, MAX_SCAN_BYTES, Operation, Page, Query, Value, Versioned,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinHandle, time};
use transport::{Endpoint, Inbox};

/// The name every proxy is called by: it is known by where it is.
const PROXY: Address = Address::Proxy(ProxyId::new(1));
/// How long looking up a proxy's name may take once a client runs.
const RESOLVE_AGAIN: Duration = Duration::from_secs(10);

/// How long closing waits for its answer. A request that was sent is rarely lost.
pub const CLOSE_PATIENCE: Duration = Duration::from_millis(100);

/// A client of a cluster. Cheap to clone; its socket closes when the last clone is gone. Call
/// [`Client::close`] before that: the cluster keeps a session that is not closed until others need its
/// place.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    timeout: Duration,
    max_waiting: usize,
    task: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What became of a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It took effect.
    Done {
        /// The version it made.
        version: LogIndex,
    },
    /// The condition did not hold, and nothing changed.
    ConditionFailed {
        /// The version the key had, `None` if absent.
        found: Option<LogIndex>,
    },
}

/// What one server had when it was asked, which may be old: what the log up to some entry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale<T> {
    /// What it had.
    pub found: T,
    /// The last entry it had applied; 0 if none, as right after it started. Of two answers the one
    /// with the greater index is the newer one.
    pub applied_index: LogIndex,
}

/// What became of an increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// What the key holds now.
    pub value: i64,
    /// The version that was made.
    pub version: LogIndex,
}

impl Client {
    /// Opens a socket. Nothing is sent before the first operation.
    ///
    /// # Errors
    /// If no cluster can have this name, an endpoint cannot be found, a key cannot be read or no socket can be opened. That
    /// nobody answers shows in the operations.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time and IO enabled.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        transport::Config::check_cluster(&options.cluster)?;
        let (timeout, max_waiting) = (options.timeout, options.max_waiting);
        let (pool, task) = match options.route {
            Route::Proxy => connect_to_proxy(options).await?,
            Route::Direct => connect_to_servers(options).await?,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                timeout,
                max_waiting,
                task,
            }),
        })
    }

    /// Reads a key, linearizably.
    ///
    /// # Errors
    /// See [`Error`]; a read is never unknown.
    pub async fn get(&self, key: impl Into<Key>) -> Result<Option<Versioned>, Error> {
        let key = key.into();
        match self.ask(Ask::Read(Query::Get { key })).await? {
            Done::Found(Found::Value(value)) => Ok(value),
            _ => Err(Error::Mismatch),
        }
    }

    /// Reads a key as any one server has it, whether or not a majority can be reached. The value may
    /// be old, and older than one read before; it is never one that was not committed.
    ///
    /// # Errors
    /// See [`Error`]; a read is never unknown.
    pub async fn get_stale(&self, key: impl Into<Key>) -> Result<Stale<Option<Versioned>>, Error> {
        let key = key.into();
        match self.ask_stale(Query::Get { key }).await? {
            Stale {
                found: Found::Value(found),
                applied_index,
            } => Ok(Stale {
                found,
                applied_index,
            }),
            _ => Err(Error::Mismatch),
        }
    }

    /// Lists keys with a prefix in order, linearizably: those after `after`, at most `limit`,
    /// and no more than fit into an answer. [`Page::more`] says whether that was all; if not, the
    /// next page is the one after the last key of this one.
    ///
    /// # Errors
    /// See [`Error`]; a read is never unknown.
    pub async fn scan(
        &self,
        prefix: impl Into<Key>,
        after: Option<Key>,
        limit: u32,
    ) -> Result<Page, Error> {
        let query = Query::Scan {
            prefix: prefix.into(),
            after,
            limit,
            bytes: MAX_SCAN_BYTES,
        };
        match self.ask(Ask::Read(query)).await? {
            Done::Found(Found::Pairs(page)) => Ok(page),
            _ => Err(Error::Mismatch),
        }
    }

    /// Lists keys with a prefix in order, as any one server has them: see [`Self::get_stale`].
    ///
    /// # Errors
    /// See [`Error`]; a read is never unknown.
    pub async fn scan_stale(
        &self,
        prefix: impl Into<Key>,
        after: Option<Key>,
        limit: u32,
    ) -> Result<Stale<Page>, Error> {
        let query = Query::Scan {
            prefix: prefix.into(),
            after,
            limit,
            bytes: MAX_SCAN_BYTES,
        };
        match self.ask_stale(query).await? {
            Stale {
                found: Found::Pairs(found),
                applied_index,
            } => Ok(Stale {
                found,
                applied_index,
            }),
            _ => Err(Error::Mismatch),
        }
    }

    /// Sets a key. Returns the version it made.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn put(
        &self,
        key: impl Into<Key>,
        value: impl Into<Value>,
    ) -> Result<LogIndex, Error> {
        match self.cas(key, value, Condition::Always).await? {
            Written::Done { version } => Ok(version),
            Written::ConditionFailed { .. } => Err(Error::Mismatch),
        }
    }

    /// Sets a key if a condition holds.
    ///
    /// # Errors
    /// See [`Error`]. That the condition does not hold is none.
    pub async fn cas(
        &self,
        key: impl Into<Key>,
        value: impl Into<Value>,
        condition: Condition,
    ) -> Result<Written, Error> {
        self.write(Operation::Put {
            key: key.into(),
            value: value.into(),
            condition,
        })
        .await
    }

    /// Removes a key if a condition holds.
    ///
    /// # Errors
    /// See [`Error`]. That the condition does not hold is none.
    pub async fn delete(
        &self,
        key: impl Into<Key>,
        condition: Condition,
    ) -> Result<Written, Error> {
        let key = key.into();
        self.write(Operation::Delete { key, condition }).await
    }

    /// Adds to the decimal number a key holds; an absent key counts as 0.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn increment(&self, key: impl Into<Key>, by: i64) -> Result<Number, Error> {
        let key = key.into();
        let operation = Operation::Increment { key, by };
        match self.ask(Ask::Write(operation)).await? {
            Done::Answered(Answer::Number { value, version }) => Ok(Number { value, version }),
            Done::Answered(Answer::NotANumber | Answer::Overflow) => Err(Error::NotANumber),
            Done::Answered(Answer::QuotaExceeded) => Err(Error::QuotaExceeded),
            _ => Err(Error::Mismatch),
        }
    }

    /// Closes the sessions of this client, so that others can use their places. Waits for the answer
    /// for a moment only: the requests are sent, and the cluster closes the sessions whether or not
    /// this client hears of it.
    pub async fn close(&self) {
        self.close_within(CLOSE_PATIENCE).await;
    }

    /// Closes the sessions of this client, as [`Self::close`] does, and waits for the answers for
    /// `patience` at most. Sessions that are busy are closed after their operations.
    pub async fn close_within(&self, patience: Duration) {
        self.inner.pool.close(patience).await;
    }

    /// How busy this client is.
    pub fn load(&self) -> Load {
        self.inner.pool.load()
    }

    async fn write(&self, operation: Operation) -> Result<Written, Error> {
        match self.ask(Ask::Write(operation)).await? {
            Done::Answered(Answer::Written { version }) => Ok(Written::Done { version }),
            Done::Answered(Answer::ConditionFailed { found }) => {
                Ok(Written::ConditionFailed { found })
            }
            Done::Answered(Answer::QuotaExceeded) => Err(Error::QuotaExceeded),
            _ => Err(Error::Mismatch),
        }
    }

    async fn ask_stale(&self, query: Query) -> Result<Stale<Found>, Error> {
        match self.ask(Ask::StaleRead(query)).await? {
            Done::FoundStale(FoundStale {
                found,
                applied_index,
            }) => Ok(Stale {
                found,
                applied_index,
            }),
            _ => Err(Error::Mismatch),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Done, Error> {
        let timeout = self.inner.timeout;
        let is_write = matches!(ask, Ask::Write(_));
        // Longer than the attempts of one request, so that a write that never left because no
        // session could be opened is told from one that did.
        let limit = timeout + timeout / 20;
        match time::timeout(limit, self.inner.pool.ask(ask)).await {
            Ok(Outcome::Answered(answer)) => Ok(Done::Answered(answer)),
            Ok(Outcome::Found(found)) => Ok(Done::Found(found)),
            Ok(Outcome::FoundStale(found)) => Ok(Done::FoundStale(found)),
            Ok(Outcome::NotDone | Outcome::Unavailable) => Err(Error::Unavailable(timeout)),
            Ok(Outcome::OutsideLimits(error)) => Err(Error::OutsideLimits(error)),
            Ok(Outcome::Overloaded) => Err(Error::Overloaded(self.inner.max_waiting)),
            Ok(Outcome::SessionsInUse) => Err(Error::SessionsInUse),
            Ok(Outcome::ClusterOverloaded) => Err(Error::ClusterOverloaded),
            Ok(Outcome::Closed) => Err(Error::Mismatch),
            Ok(Outcome::Unknown(Doubt::NotConfirmed)) => Err(Error::Unknown(timeout)),
            Ok(Outcome::Unknown(Doubt::Forgotten)) => Err(Error::Forgotten),
            Err(_) if is_write => Err(Error::Unknown(timeout)),
            Err(_) => Err(Error::Unavailable(timeout)),
        }
    }
}

/// An answer.
enum Done {
    Answered(Answer),
    Found(Found),
    FoundStale(FoundStale),
}

/// How many attempts fit into the time.
fn attempts(options: &Options) -> u32 {
    let attempt = options.attempt_timeout.as_secs_f64().max(0.001);
    // Out of range becomes the nearest number that is not.
    ((options.timeout.as_secs_f64() / attempt).ceil() as u32).max(1)
}

async fn connect_to_proxy(options: Options) -> Result<(Pool, JoinHandle<()>), ConnectError> {
    let (first, at) = first_found(&options).await?;
    let (endpoint, inbox) = wire::bind(&options, &at).await?;
    endpoint.set_peer_addresses(PROXY, &at);
    let attempt_timeout = options.timeout / attempts(&options);
    let config = PoolConfig {
        proxy: PROXY,
        is_in_process: false,
        max_sessions: options.max_sessions,
        max_waiting: options.max_waiting,
        max_attempts: attempts(&options),
        attempt_timeout,
    };
    let endpoints = options.endpoints;
    let rotation = Rotation::new(endpoints.len(), first, attempt_timeout);
    let rotation = Arc::new(Mutex::new(rotation));
    let carry = {
        let rotation = Arc::clone(&rotation);
        move |envelopes| {
            let next = lock(&rotation).asked(time::Instant::now());
            match next {
                // Another endpoint must get this attempt, as no other attempt may be left.
                Some(next) if endpoints.len() > 1 => {
                    turn_to(&endpoint, &endpoints[next], envelopes);
                }
                Some(next) => {
                    turn_to(&endpoint, &endpoints[next], Vec::new());
                    endpoint.send(envelopes);
                }
                None => endpoint.send(envelopes),
            }
        }
    };
    let pool = Pool::new(config, carry);
    let task = tokio::spawn(hear_proxy(pool.clone(), inbox, rotation));
    Ok((pool, task))
}

/// The first endpoint whose name has addresses, by its position. Each lookup has an equal share of the
/// time, so that one name that no resolver answers for leaves time for the others.
async fn first_found(options: &Options) -> Result<(usize, Vec<SocketAddr>), ConnectError> {
    let endpoints = &options.endpoints;
    endpoints.iter().try_for_each(|at| wire::check(at))?;
    let share = options.timeout / u32::try_from(endpoints.len().max(1)).unwrap_or(u32::MAX);
    let mut until = time::Instant::now();
    let mut first_error = None;
    for (position, endpoint) in endpoints.iter().enumerate() {
        until += share;
        match wire::resolve(endpoint, until).await {
            Ok(at) => return Ok((position, at)),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or(ConnectError::NoEndpoint))
}

/// Sends requests to `there` from now on, these first. While a name is looked up, and if the lookup
/// fails, requests go to the previous address.
fn turn_to(endpoint: &Endpoint, there: &str, envelopes: Vec<Envelope>) {
    if let Ok(at) = there.parse() {
        endpoint.set_peer_addresses(PROXY, &[at]);
        return endpoint.send(envelopes);
    }
    let (endpoint, there) = (endpoint.clone(), there.to_owned());
    tokio::spawn(async move {
        let until = time::Instant::now() + RESOLVE_AGAIN;
        if let Ok(at) = wire::resolve(&there, until).await {
            endpoint.set_peer_addresses(PROXY, &at);
        }
        endpoint.send(envelopes);
    });
}

async fn hear_proxy(pool: Pool, mut inbox: Inbox, rotation: Arc<Mutex<Rotation>>) {
    while let Some(envelopes) = inbox.receive().await {
        if envelopes.iter().any(is_useful) {
            lock(&rotation).heard();
        }
        pool.receive(envelopes);
    }
}

fn is_useful(envelope: &Envelope) -> bool {
    match &envelope.message {
        Message::ClientResponse(response) => !matches!(
            response.body,
            ResponseBody::Unavailable | ResponseBody::Overloaded
        ),
        _ => false,
    }
}

/// The addresses of the servers; none of a server whose name has none, as when it is stopped, unless
/// that is so for all of them. Refuses a server that is listed twice, and an address of two servers:
/// requests for one would go to the other.
async fn resolve_servers(
    options: &Options,
) -> Result<BTreeMap<NodeId, Vec<SocketAddr>>, ConnectError> {
    let (mut names, mut texts) = (BTreeMap::new(), BTreeMap::new());
    for endpoint in &options.endpoints {
        let named = endpoint.split_once('=');
        let Some((id, at)) = named.and_then(|(id, at)| Some((id.parse().ok()?, at))) else {
            return Err(ConnectError::Endpoint {
                endpoint: endpoint.clone(),
                expected: "ID=HOST:PORT, as asking servers directly needs",
            });
        };
        let id = NodeId::new(id);
        if names.insert(id, at).is_some() {
            return Err(ConnectError::ServerTwice(id));
        }
        if let Some(first) = texts.insert(at.to_ascii_lowercase(), id) {
            return Err(ConnectError::SharedAddress {
                first,
                second: id,
                address: at.to_owned(),
            });
        }
    }
    if names.is_empty() {
        return Err(ConnectError::NoEndpoint);
    }
    names.values().try_for_each(|at| wire::check(at))?;
    // A name that no resolver answers for leaves time for the operation.
    let patience = match names.len() {
        1 => options.timeout,
        _ => options.timeout / 2,
    };
    let until = time::Instant::now() + patience;
    let lookups = names
        .into_iter()
        .map(async |(id, at)| (id, wire::resolve(at, until).await));
    let (mut servers, mut first_error) = (BTreeMap::new(), None);
    for (id, found) in join_all(lookups).await {
        let at = found.unwrap_or_else(|error| {
            first_error.get_or_insert(error);
            Vec::new()
        });
        servers.insert(id, at);
    }
    if let Some(error) = first_error
        && servers.values().all(Vec::is_empty)
    {
        return Err(error);
    }
    if let Some((first, second, address)) = transport::find_shared_address(&servers) {
        return Err(ConnectError::SharedAddress {
            first,
            second,
            address: address.to_string(),
        });
    }
    Ok(servers)
}

async fn connect_to_servers(options: Options) -> Result<(Pool, JoinHandle<()>), ConnectError> {
    let servers = resolve_servers(&options).await?;
    let all = Vec::from_iter(servers.values().flatten().copied());
    let (endpoint, inbox) = wire::bind(&options, &all).await?;
    for (id, at) in &servers {
        endpoint.set_peer_addresses(Address::Node(*id), at);
    }
    let config = ProxyConfig {
        nodes: BTreeSet::from_iter(servers.keys().copied()),
        max_attempts: attempts(&options),
        // Those given up by the clients are still in flight for a while.
        max_in_flight: options.max_sessions.saturating_mul(4).max(16),
    };
    let direct = Direct::new(config, options.attempt_timeout);
    let (requests, queue) = mpsc::unbounded_channel();
    let config = PoolConfig {
        proxy: direct::NAME,
        is_in_process: true,
        max_sessions: options.max_sessions,
        max_waiting: options.max_waiting,
        max_attempts: 1,
        attempt_timeout: options.timeout,
    };
    let pool = Pool::new(config, move |envelopes| {
        // One request of each session at a time bounds the queue; it is closed only at the end.
        let _ = requests.send(envelopes);
    });
    let task = tokio::spawn(ask_servers(direct, pool.clone(), queue, endpoint, inbox));
    Ok((pool, task))
}

async fn ask_servers(
    mut direct: Direct,
    pool: Pool,
    mut queue: mpsc::UnboundedReceiver<Vec<Envelope>>,
    endpoint: Endpoint,
    mut inbox: Inbox,
) {
    let sleep = time::sleep(Duration::ZERO);
    tokio::pin!(sleep);
    loop {
        let next = direct.next_timer();
        if let Some(next) = next
            && (sleep.is_elapsed() || next < sleep.deadline())
        {
            sleep.as_mut().reset(next);
        }
        let arrived = tokio::select! {
            requests = queue.recv() => requests,
            arrived = inbox.receive() => arrived.map(direct::only_answers),
            () = &mut sleep, if next.is_some() => Some(Vec::new()),
        };
        let Some(arrived) = arrived else {
            return;
        };
        let (mut out, now) = (Out::default(), time::Instant::now());
        direct.receive(arrived, now, &mut out);
        direct.run_timers(now, &mut out);
        if !out.servers.is_empty() {
            endpoint.send(mem::take(&mut out.servers));
        }
        if !out.clients.is_empty() {
            pool.receive(mem::take(&mut out.clients));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
