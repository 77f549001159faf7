//! Assembles a proxy from sockets, driver, pool and frontends, and shuts it down in order.

use crate::{
    chaos::Chaos,
    cluster_view::ClusterView,
    driver::{Driver, DriverConfig, Ending},
    embedded::Embedded,
    event_log::EventLog,
    gauges::{self, Gauges},
    http::{self, Http},
    kv_service::KvService,
    listen::{RESERVE, accept, room},
    metrics::Metrics,
    peers,
    redis::Redis,
    settings::{Frontend, Settings, places},
    status_source::Source,
    wire,
};
use anyhow::Context;
use client::pool::{Pool, PoolConfig};
use model::{Address, Envelope, NodeId};
use std::{collections::BTreeMap, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use transport::{Endpoint, Faults, Keys, SecretFileError, read_secret};
use web::{Secret, server::Limits, shell::Shell, site::Policy};

/// The timeout for closing the sessions during a shutdown.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);

/// A running proxy.
pub struct Server {
    /// The address of the UDP socket.
    pub udp: SocketAddr,
    /// The address of the HTTP listener, if enabled.
    pub http: Option<SocketAddr>,
    /// The address of the Redis listener, if enabled.
    pub redis: Option<SocketAddr>,
    /// The embedded servers, if configured.
    pub embedded: Option<Embedded>,
    /// The counters and gauges of the driver.
    pub gauges: Arc<Gauges>,
    /// Whether fault injection is enabled.
    pub chaos: bool,
    drain: Duration,
    pool: Pool,
    closing: CancellationToken,
    ending: Ending,
    /// The connections and other tasks that a shutdown waits for.
    tasks: TaskTracker,
    driver: JoinHandle<()>,
    follower: JoinHandle<()>,
}

impl Server {
    /// Starts a proxy. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the settings are inconsistent, a secret cannot be read, an address is in use, or an embedded
    /// server does not start.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        peers::check(settings.listen, &places(&settings.peers, "--peer")?).await?;
        let Secrets {
            token,
            node_token,
            password,
            keys,
        } = Secrets::read(&settings).await?;
        let node_token = node_token.or_else(|| token.clone());
        // Bind all addresses before anything starts.
        let http = listen(settings.http, "HTTP", "--http").await?;
        let redis = listen(settings.redis, "the Redis protocol", "--redis").await?;
        // One fault plan for the embedded servers, one for the proxy.
        let faults = settings.chaos.then(<[Faults; 2]>::default);
        let mut config = wire::config(&settings, keys.clone());
        config.keys.check_distinct()?;
        config.faults = faults.as_ref().map(|[_, at_proxy]| at_proxy.clone());
        let (endpoint, inbox) = Endpoint::bind(config)
            .await
            .map_err(|error| in_use(error, settings.listen, "clients over UDP", "--listen"))?;
        let udp = endpoint.local_addr()?;
        let embedded = match settings.embedded {
            Some(count) => {
                let (cluster, dir) = (&settings.cluster, &settings.data_dir);
                let among = faults.as_ref().map(|[among, _]| among.clone());
                let (quota, longest) = (settings.state_quota, settings.max_datagram);
                Some(Embedded::start(count, cluster, dir, &keys, longest, among, quota).await?)
            }
            None => None,
        };
        let (servers, sources) = servers(&settings, embedded.as_ref())?;

        let closing = CancellationToken::new();
        let ending = Ending {
            refuse: closing.clone(),
            end: CancellationToken::new(),
        };
        let driver = Driver::new(DriverConfig {
            nodes: servers.keys().copied().collect(),
            attempt_timeout: settings.attempt_timeout,
            max_attempts: settings.attempts,
            max_in_flight: settings.max_in_flight,
        });
        let handle = driver.handle();
        let gauges = Arc::clone(&handle.gauges);
        let config = PoolConfig {
            proxy: Address::Proxy(handle.id),
            is_in_process: true,
            max_sessions: settings.max_sessions,
            max_waiting: settings.max_waiting,
            // No message is lost between pool and driver, and the driver retries.
            max_attempts: 1,
            attempt_timeout: settings.patience(),
        };
        let carrier = handle.clone();
        let pool = Pool::new(config.clone(), move |envelopes| carrier.carry(envelopes));
        // Reads for the page and for readiness probes use a separate pool, so that the load metrics
        // count clients only. Reads open no session.
        let carrier = handle.clone();
        let watcher = Pool::new(config, move |envelopes| {
            carrier.carry_uncounted(envelopes);
        });
        let event_log = Arc::new(EventLog::new());
        let chaos = faults.map(|faults| {
            let (embedded, event_log) = (embedded.clone(), Arc::clone(&event_log));
            let servers = servers.keys().copied();
            Arc::new(Chaos::new(embedded, servers, handle.id, faults, event_log))
        });
        let follower = peers::follow(endpoint.clone(), servers);
        let follower = tokio::spawn(follower);
        let counted = endpoint.clone();
        let (answers, watched) = (pool.clone(), watcher.clone());
        let receive = move |envelopes: Vec<Envelope>| {
            watched.receive(envelopes.clone());
            answers.receive(envelopes);
        };
        let driver = tokio::spawn(driver.run(endpoint, inbox, receive, ending.clone()));

        let metrics = Arc::new(Metrics::new());
        let kv_service = KvService::new(pool.clone(), Arc::clone(&metrics), closing.clone());
        let tasks = TaskTracker::new();
        let servers = settings.embedded.unwrap_or(0);
        let room = room(settings.max_connections, servers);
        let mut server = Self {
            udp,
            http: None,
            redis: None,
            embedded,
            gauges: Arc::clone(&gauges),
            chaos: chaos.is_some(),
            drain: settings.drain,
            pool,
            closing: closing.clone(),
            ending,
            tasks: tasks.clone(),
            driver,
            follower,
        };
        if let Some(chaos) = &chaos {
            tasks.spawn(Arc::clone(chaos).run(closing.clone()));
        }
        if let Some((listener, at)) = http {
            server.http = Some(at);
            let sampler = gauges::sample(Arc::clone(&gauges), Arc::clone(&event_log));
            let sampler = closing.clone().run_until_cancelled_owned(sampler);
            tasks.spawn(async {
                let _ = sampler.await;
            });
            let uncounted = KvService::new(watcher, Arc::new(Metrics::new()), closing.clone());
            let cluster_view = ClusterView::new(
                settings.cluster.clone(),
                (kv_service.clone(), uncounted.clone()),
                Arc::clone(&gauges),
                sources,
                node_token,
                (Arc::clone(&event_log), chaos.clone()),
            );
            let cluster_view = Arc::new(cluster_view);
            tasks.spawn(Arc::clone(&cluster_view).run(closing.clone()));
            let shell = Shell {
                policy: Policy::new(settings.http_allow_host.clone(), token.is_some()),
                token,
                limits: Limits {
                    connections: room,
                    reserve: RESERVE,
                    timeout: settings.client_timeout,
                    max_body: http::MAX_BODY,
                },
                reject: http::reject,
            };
            let state = Http {
                kv_service: kv_service.clone(),
                uncounted,
                has_token: shell.token.is_some(),
                watchers: Arc::new(Semaphore::new((room / 2).max(1))),
                gauges: Arc::clone(&gauges),
                endpoint: counted,
                cluster_view,
                chaos,
            };
            let routes = http::router(state, &shell);
            let open = metrics.http_connections.clone();
            let count = move |change| {
                open.inc_by(change);
            };
            let closing = closing.clone();
            tasks.spawn(async move { shell.serve(listener, routes, count, closing).await });
        }
        if let Some((listener, at)) = redis {
            server.redis = Some(at);
            let idle = settings.idle_timeout;
            let idle = (!idle.is_zero()).then_some(idle);
            let frontend = Arc::new(Redis::new(
                kv_service,
                password,
                gauges,
                settings.client_timeout,
                idle,
                settings.evict_idle,
                room,
            ));
            let open = metrics.redis_connections.clone();
            let track = tasks.clone();
            tasks.spawn(accept(listener, open, closing, track, frontend));
        }
        Ok(server)
    }

    /// Stops the proxy: rejects new operations, finishes pending operations, and then ends, all within
    /// the configured timeout.
    pub async fn stop(self) {
        self.closing.cancel();
        self.tasks.close();
        let finish = async {
            self.tasks.wait().await;
            self.pool.close(CLOSE_PATIENCE).await;
            self.ending.end.cancel();
            let _ = self.driver.await;
        };
        if tokio::time::timeout(self.drain, finish).await.is_err() {
            tracing::warn!("some operations did not finish in time; their outcome is unknown");
        }
        self.follower.abort();
        if let Some(embedded) = &self.embedded {
            embedded.stop().await;
        }
    }

    /// Waits until a vital component fails.
    pub async fn failed(&self) -> anyhow::Error {
        match &self.embedded {
            Some(embedded) => embedded.failed().await,
            None => std::future::pending().await,
        }
    }
}

/// The secrets of the settings.
struct Secrets {
    token: Option<Secret>,
    node_token: Option<Secret>,
    password: Option<Secret>,
    keys: Keys,
}

impl Secrets {
    /// Reads the secrets from their files, each once. A file may be a pipe without a writer; the
    /// caller can drop the future meanwhile.
    async fn read(settings: &Settings) -> anyhow::Result<Self> {
        let settings = settings.clone();
        let read = move || {
            let secret = |path: &Option<PathBuf>| -> Result<Option<Secret>, SecretFileError> {
                let text = path.as_deref().map(read_secret).transpose()?;
                Ok(text.map(|text| Secret::from(&text[..])))
            };
            Ok(Self {
                token: secret(&settings.http_token_file)?,
                node_token: secret(&settings.node_http_token_file)?,
                password: secret(&settings.redis_password_file)?,
                keys: wire::keys(&settings)?,
            })
        };
        spawn_blocking(read).await?
    }
}

type Servers = (BTreeMap<NodeId, String>, BTreeMap<NodeId, Source>);

/// The addresses and the status sources of the servers.
fn servers(settings: &Settings, embedded: Option<&Embedded>) -> anyhow::Result<Servers> {
    if let Some(embedded) = embedded {
        return Ok((embedded.places(), embedded.sources()));
    }
    let peers = places(&settings.peers, "--peer")?;
    let mut http = places(&settings.node_http, "--node-http")?;
    let sources = peers.keys().map(|id| {
        let source = http.remove(id).map_or(Source::Nowhere, Source::Http);
        (*id, source)
    });
    let sources = sources.collect();
    Ok((peers, sources))
}

async fn listen(
    frontend: Frontend,
    purpose: &str,
    option: &str,
) -> anyhow::Result<Option<(TcpListener, SocketAddr)>> {
    let Some(address) = frontend.address() else {
        return Ok(None);
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| in_use(error, address, purpose, option))?;
    let at = listener.local_addr().context("a socket has no address")?;
    Ok(Some((listener, at)))
}

fn in_use(error: io::Error, address: SocketAddr, purpose: &str, option: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "cannot listen for {purpose} on {address}: {error}. Choose another address with {option}"
    )
}
