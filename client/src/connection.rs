//! A client library: one socket, many concurrent operations. [`KeyValue`] has the operations.
//!
//! # Time
//! Every operation ends within [`Options::timeout`] plus 5 %. A request without a response is
//! retransmitted after [`Options::attempt_timeout`], through the same session, as often as the timeout
//! permits.
//!
//! # Several endpoints
//! With several proxies, the client uses one at a time, and moves to the next one after an attempt
//! without a response. [`crate::rotation`] explains why a session may move. With [`Route::Direct`] the
//! endpoints are the servers, and a [`Router`] in this process finds the leader, as a proxy would.
//!
//! # Deliberate omissions
//! Encryption keys, queues and packets: the transport owns them.

use crate::{
    ConnectError, Error, KeyValue, Options, Route,
    pool::{Load, Pool, PoolConfig},
    rotation::Rotation,
    wire,
};
use futures_util::{FutureExt as _, StreamExt as _, future::join_all, stream::FuturesUnordered};
use model::{
    Address, Envelope, Message, NodeId, ProxyId,
    client::{Done, Invocation, Outcome},
    proxy::ProxyConfig,
    router::{Event, Router, RouterConfig, Sender},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinHandle, time};
use transport::{Endpoint, Inbox};

/// The id of every proxy: a client identifies a proxy by its address only.
const PROXY: Address = Address::Proxy(ProxyId::new(1));
/// The id of the proxy in this process, for [`Route::Direct`]. It never leaves the process.
const LOCAL_PROXY: ProxyId = ProxyId::new(0);
/// The timeout for resolving a proxy's name while a client runs.
const RESOLVE_AGAIN: Duration = Duration::from_secs(10);
/// The time for preferred names to resolve after another name has resolved. The delay is longer than
/// the one of RFC 8305, because the names differ and not only their address families.
const RESOLUTION_DELAY: Duration = Duration::from_millis(250);

/// The time that a close waits for its response. The network rarely loses a request that was sent.
pub const CLOSE_PATIENCE: Duration = Duration::from_millis(100);

/// A client of a cluster. Cheap to clone; its socket closes when the last clone is dropped. Call
/// [`Client::close`] before that: the cluster keeps an unclosed session until other clients need its
/// slot.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    timeout: Duration,
    /// Whether its keys permit a leadership transfer.
    may_transfer: bool,
    task: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// Opens a socket. Sends nothing before the first operation.
    ///
    /// # Errors
    /// If the cluster name is invalid, an endpoint cannot be resolved, a key cannot be read, or no
    /// socket can be opened. An unresponsive endpoint causes no error here, only in the operations.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time and IO enabled.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        transport::Config::check_cluster(&options.cluster)?;
        let timeout = options.timeout;
        let may_transfer = options.keys.cluster.is_some() || options.keys.client.is_none();
        let seed = options.environment.seed().map_err(ConnectError::Random)?;
        let random = StdRng::from_seed(seed);
        let (pool, task) = match options.route {
            Route::Proxy => connect_to_proxy(options, random).await?,
            Route::Direct => connect_to_servers(options, random).await?,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                pool,
                timeout,
                may_transfer,
                task,
            }),
        })
    }

    /// Closes the sessions of this client, so that other clients can use their slots. Waits only
    /// briefly for the responses: the requests are sent, and the cluster closes the sessions even if
    /// the responses are lost.
    pub async fn close(&self) {
        self.close_within(CLOSE_PATIENCE).await;
    }

    /// Closes the sessions of this client, as [`Self::close`] does, and waits at most `patience` for
    /// the responses. Busy sessions are closed after their operations.
    pub async fn close_within(&self, patience: Duration) {
        self.inner.pool.close(patience).await;
    }

    /// Whether this client ever sent a write. Without, an operation whose future was dropped has no
    /// effect and never will.
    pub fn has_sent_write(&self) -> bool {
        self.inner.pool.has_sent_write()
    }

    /// The current load of this client.
    pub fn load(&self) -> Load {
        self.inner.pool.load()
    }
}

impl Client {
    /// Transfers the leadership to a server (thesis §3.10). Returns once it leads. No operation of a
    /// client fails because of a transfer. A cluster with a client key accepts the request only
    /// under the cluster key.
    ///
    /// # Errors
    /// [`Error::NotTransferred`] with the reason, or [`Error::NotPermitted`].
    pub async fn transfer_leadership(&self, target: NodeId) -> Result<(), Error> {
        if !self.inner.may_transfer {
            return Err(Error::NotPermitted);
        }
        match self.execute(Invocation::TransferLeadership(target)).await {
            Outcome::Done(Done::Leads) => Ok(()),
            Outcome::NotDone(reason) => Err(Error::NotTransferred { target, reason }),
            Outcome::Done(_) | Outcome::Unknown(_) => Err(Error::MismatchedRead),
        }
    }
}

impl KeyValue for Client {
    async fn execute(&self, invocation: Invocation) -> Outcome {
        let timeout = self.inner.timeout;
        // Longer than all attempts of one request. So the client can distinguish a write that was
        // never sent, because no session could be opened, from a write that was sent.
        let limit = timeout + timeout / 20;
        self.inner.pool.execute_within(invocation, limit).await
    }
}

/// The number of attempts within the timeout.
fn attempts(options: &Options) -> u32 {
    let attempt = options.attempt_timeout.as_secs_f64().max(0.001);
    // The cast saturates, so an out-of-range value becomes the nearest valid number.
    ((options.timeout.as_secs_f64() / attempt).ceil() as u32).max(1)
}

async fn connect_to_proxy(
    options: Options,
    random: StdRng,
) -> Result<(Pool, JoinHandle<()>), ConnectError> {
    let (first, at) = resolve_first(&options).await?;
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
            let next = lock(&rotation).on_send(time::Instant::now());
            match next {
                // This attempt must go to another endpoint, because it may be the last one.
                Some(next) if endpoints.len() > 1 => {
                    redirect(&endpoint, &endpoints[next], envelopes);
                }
                Some(next) => {
                    redirect(&endpoint, &endpoints[next], Vec::new());
                    endpoint.send(envelopes);
                }
                None => endpoint.send(envelopes),
            }
        }
    };
    let pool = Pool::new(config, random, carry);
    let task = tokio::spawn(receive_from_proxy(pool.clone(), inbox, rotation));
    Ok((pool, task))
}

/// Returns an endpoint whose name resolves, by its index, with its addresses. All lookups begin at
/// once. After the first result, earlier endpoints have [`RESOLUTION_DELAY`] to resolve as well.
async fn resolve_first(options: &Options) -> Result<(usize, Vec<SocketAddr>), ConnectError> {
    let endpoints = &options.endpoints;
    endpoints.iter().try_for_each(|at| wire::check(at))?;
    let until = time::Instant::now() + options.timeout;
    let lookups = endpoints
        .iter()
        .map(|endpoint| wire::resolve(endpoint, until));
    first_in_order(lookups)
        .await
        .unwrap_or(Err(ConnectError::NoEndpoint))
}

/// Runs all lookups concurrently. Returns the first one in order that succeeds, by its index, among
/// those that succeed within [`RESOLUTION_DELAY`] after the first success. If all fail, returns the
/// error of the first one. Returns `None` if there is no lookup.
async fn first_in_order<T, E>(
    lookups: impl IntoIterator<Item = impl Future<Output = Result<T, E>>>,
) -> Option<Result<(usize, T), E>> {
    let mut pending: FuturesUnordered<_> = lookups
        .into_iter()
        .enumerate()
        .map(|(index, lookup)| lookup.map(move |result| (index, result)))
        .collect();
    let mut is_pending = vec![true; pending.len()];
    let (mut found, mut failed, mut deadline) = (None, None, None);
    loop {
        // Later endpoints cannot replace this one.
        if let Some((index, _)) = &found
            && !is_pending[..*index].contains(&true)
        {
            break;
        }
        let next = match deadline {
            Some(deadline) => time::timeout_at(deadline, pending.next())
                .await
                .unwrap_or(None),
            None => pending.next().await,
        };
        let Some((index, result)) = next else {
            break;
        };
        is_pending[index] = false;
        match result {
            Ok(at) if found.as_ref().is_none_or(|(best, _)| index < *best) => {
                deadline.get_or_insert_with(|| time::Instant::now() + RESOLUTION_DELAY);
                found = Some((index, at));
            }
            Err(error) if failed.as_ref().is_none_or(|(first, _)| index < *first) => {
                failed = Some((index, error));
            }
            _ => {}
        }
    }
    let failed = failed.map(|(_, error)| Err(error));
    found.map(Ok).or(failed)
}

/// Redirects requests to `there`, beginning with these envelopes. During the name lookup, and if it
/// fails, requests go to the previous address.
fn redirect(endpoint: &Endpoint, there: &str, envelopes: Vec<Envelope>) {
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

async fn receive_from_proxy(pool: Pool, mut inbox: Inbox, rotation: Arc<Mutex<Rotation>>) {
    while let Some(envelopes) = inbox.receive().await {
        if envelopes.iter().any(is_useful) {
            lock(&rotation).on_response();
        }
        pool.receive(envelopes);
    }
}

fn is_useful(envelope: &Envelope) -> bool {
    match &envelope.message {
        Message::ClientResponse(response) => !response.body.is_given_up(),
        _ => false,
    }
}

/// Resolves the addresses of the servers. A server whose name does not resolve, for example because it
/// is stopped, gets no address; it is an error if no name resolves. Rejects duplicate servers, and an
/// address of two servers: requests for one server would go to the other.
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
    // An unresponsive lookup leaves time for the operation.
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

async fn connect_to_servers(
    options: Options,
    mut random: StdRng,
) -> Result<(Pool, JoinHandle<()>), ConnectError> {
    let servers = resolve_servers(&options).await?;
    let all = Vec::from_iter(servers.values().flatten().copied());
    let (endpoint, inbox) = wire::bind(&options, &all).await?;
    for (id, at) in &servers {
        endpoint.set_peer_addresses(Address::Node(*id), at);
    }
    let nodes = BTreeSet::from_iter(servers.keys().copied());
    // Requests that the clients have given up remain in flight for a while.
    let max_in_flight = options.max_sessions.saturating_mul(4).max(16);
    let router = Router::new(
        LOCAL_PROXY,
        RouterConfig {
            proxy: ProxyConfig::new(nodes, attempts(&options), max_in_flight),
            attempt_timeout: options.attempt_timeout,
            sender: Sender::Client,
        },
    );
    let (requests, queue) = mpsc::unbounded_channel();
    // The queue to the router loses nothing, so the client sends each request once, and the router
    // performs all retries.
    let config = PoolConfig {
        proxy: Address::Proxy(LOCAL_PROXY),
        is_in_process: true,
        max_sessions: options.max_sessions,
        max_waiting: options.max_waiting,
        max_attempts: 1,
        attempt_timeout: options.timeout,
    };
    let for_pool = StdRng::from_rng(&mut random);
    let pool = Pool::new(config, for_pool, move |envelopes| {
        // Each session has at most one request in the queue, which bounds it. The queue is closed only
        // at the end.
        let _ = requests.send(envelopes);
    });
    let task = drive_router(router, random, pool.clone(), queue, (endpoint, inbox));
    let task = tokio::spawn(task);
    Ok((pool, task))
}

/// Drives the router of a client without a proxy.
async fn drive_router(
    mut router: Router,
    mut random: StdRng,
    pool: Pool,
    mut queue: mpsc::UnboundedReceiver<Vec<Envelope>>,
    (endpoint, mut inbox): (Endpoint, Inbox),
) {
    let start = time::Instant::now();
    let sleep = time::sleep(Duration::ZERO);
    tokio::pin!(sleep);
    loop {
        let next = router.next_timeout().map(|next| start + next);
        if let Some(next) = next
            && (sleep.is_elapsed() || next < sleep.deadline())
        {
            sleep.as_mut().reset(next);
        }
        let event = tokio::select! {
            // A fixed order, so that a simulation can repeat a run. The timers and the requests of
            // the sessions in this process are bounded, so the network gets its turn.
            biased;
            () = &mut sleep, if next.is_some() => Some(Event::Timeout),
            requests = queue.recv() => requests.map(|envelopes| Event::Requests {
                envelopes,
                is_internal: false,
            }),
            arrived = inbox.receive() => arrived.map(Event::Datagrams),
        };
        let Some(event) = event else {
            return;
        };
        let effects = router.step(start.elapsed(), random.random(), event);
        if !effects.sends.is_empty() {
            endpoint.send(effects.sends);
        }
        if !effects.responses.is_empty() {
            pool.receive(effects.responses);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lookup that ends after this number of milliseconds.
    async fn lookup(millis: u64, result: Result<char, char>) -> Result<char, char> {
        time::sleep(Duration::from_millis(millis)).await;
        result
    }

    #[tokio::test(start_paused = true)]
    async fn unresponsive_name_delays_the_others_only_briefly() {
        let never = 3_600_000;
        for (lookups, expected, after) in [
            (vec![(0, Ok('a')), (0, Ok('b'))], Some(Ok((0, 'a'))), 0),
            (
                vec![(never, Ok('a')), (0, Ok('b'))],
                Some(Ok((1, 'b'))),
                250,
            ),
            (vec![(200, Ok('a')), (10, Ok('b'))], Some(Ok((0, 'a'))), 200),
            (
                vec![(never, Ok('a')), (200, Ok('b')), (10, Ok('c'))],
                Some(Ok((1, 'b'))),
                260,
            ),
            (vec![(10, Err('a')), (20, Ok('b'))], Some(Ok((1, 'b'))), 20),
            (vec![(20, Err('a')), (10, Err('b'))], Some(Err('a')), 20),
            (vec![], None, 0),
        ] {
            let begun = time::Instant::now();
            let futures = lookups
                .into_iter()
                .map(|(millis, result)| lookup(millis, result));
            assert_eq!(first_in_order(futures).await, expected);
            let took = begun.elapsed().as_millis();
            // Timers have a resolution of one millisecond.
            assert!((after..=after + 2).contains(&took), "{expected:?}: {took}");
        }
    }
}
