//! Stage 4: the driver, the pools of sessions, the event log and fault injection.

use super::{FaultPlans, cluster::Cluster};
use crate::{
    chaos::Chaos,
    driver::{Driver, Ending},
    event_log::EventLog,
    gauges::Gauges,
    peers,
    settings::Settings,
};
use client::pool::{Pool, PoolConfig};
use model::{
    Address, Envelope,
    proxy::ProxyConfig,
    router::{RouterConfig, Sender},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::sync::Arc;
use tokio::task::JoinHandle;
use transport::{Endpoint, Inbox};

/// The parts of a proxy behind its frontends.
pub(super) struct Services {
    /// The sessions for the operations of clients.
    pub(super) pool: Pool,
    /// A pool for the reads of the page and of readiness probes, so that the load metrics count
    /// clients only. Reads open no session.
    pub(super) uncounted: Pool,
    pub(super) gauges: Arc<Gauges>,
    pub(super) event_log: Arc<EventLog>,
    /// Fault injection, if enabled.
    pub(super) chaos: Option<Arc<Chaos>>,
    /// The endpoint, for its datagram counters.
    pub(super) endpoint: Endpoint,
    /// The steps of a shutdown. `refuse` also closes the frontends.
    pub(super) ending: Ending,
    pub(super) driver: JoinHandle<()>,
    /// The task that resolves the names of the servers.
    pub(super) resolver: JoinHandle<()>,
}

impl Services {
    pub(super) fn start(
        settings: &Settings,
        (endpoint, inbox): (Endpoint, Inbox),
        cluster: &Cluster,
        faults: Option<FaultPlans>,
        random: &mut StdRng,
    ) -> Self {
        let nodes = cluster.addresses.keys().copied().collect();
        let config = RouterConfig {
            proxy: ProxyConfig::new(nodes, settings.attempts, settings.max_in_flight),
            attempt_timeout: settings.attempt_timeout,
            sender: Sender::Proxy,
        };
        let driver = Driver::new(config, random);
        let handle = driver.handle();
        let config = PoolConfig {
            proxy: Address::Proxy(handle.id),
            is_in_process: true,
            max_sessions: settings.max_sessions,
            max_waiting: settings.max_waiting,
            // No message is lost between pool and driver, and the driver retries.
            max_attempts: 1,
            attempt_timeout: settings.patience(),
        };
        let requests = handle.clone();
        let pool = Pool::new(config.clone(), StdRng::from_rng(random), move |envelopes| {
            requests.carry(envelopes);
        });
        let requests = handle.clone();
        let uncounted = Pool::new(config, StdRng::from_rng(random), move |envelopes| {
            requests.carry_uncounted(envelopes);
        });
        let clock = Arc::clone(&settings.environment.clock);
        let event_log = Arc::new(EventLog::new(clock, random.random()));
        let chaos = faults.map(|faults| {
            Arc::new(Chaos::new(
                cluster.embedded.clone(),
                cluster.addresses.keys().copied(),
                handle.id,
                [faults.servers, faults.proxy],
                Arc::clone(&event_log),
            ))
        });
        let resolver = peers::follow(endpoint.clone(), cluster.addresses.clone());
        let ending = Ending::default();
        let receive = {
            let (pool, uncounted) = (pool.clone(), uncounted.clone());
            move |envelopes: Vec<Envelope>| {
                uncounted.receive(envelopes.clone());
                pool.receive(envelopes);
            }
        };
        let driver = driver.run(endpoint.clone(), inbox, receive, ending.clone());
        Self {
            pool,
            uncounted,
            gauges: handle.gauges,
            event_log,
            chaos,
            endpoint,
            ending,
            driver: tokio::spawn(driver),
            resolver: tokio::spawn(resolver),
        }
    }
}
