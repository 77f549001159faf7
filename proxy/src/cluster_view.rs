//! A view of the cluster: the status that each server reports, and some keys.
//!
//! While an observer is connected, the view is refreshed twice a second and after each change.
//! Otherwise only the servers are polled, every ten seconds and after each change of the leader. Their
//! events go into the [`EventLog`] for late observers. Servers keep their events with timestamps for a
//! while, so the poll can be slow. The view marks a server that does not respond. If the keys cannot
//! be read now, it shows the keys of the last read.
//!
//! ```text
//!   poll ──► known_server (new events) ──► event log
//!     └────► health ──┐
//!   keys ─────────────┴──► status: JSON for observers
//! ```
//!
//! `known_server` and `health` are pure.

mod health;
mod keys;
mod known_server;
mod poll;
mod status;
#[cfg(test)]
mod tests;

pub use health::Health;
pub use status::{Keys, NodeStatus, ProxyStatus, Status};

use crate::{
    chaos::Chaos, event_log::EventLog, gauges::Gauges, kv_service::KvService, status_source::Source,
};
use health::{Contacts, ServerReport, parse_status};
use keys::KeySampler;
use model::NodeId;
use poll::Poller;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use web::Secret;

/// The timeout of a refresh. After it, the view shows the last known state.
const PATIENCE: Duration = Duration::from_millis(400);
/// The interval between polls without observers.
const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// The interval between refreshes for observers.
const REFRESH_INTERVAL: Duration = Duration::from_millis(500);
/// The number of missed responses after which a server counts as unreachable. One late response may
/// only indicate load.
const MISSES: u32 = 2;
/// Changes arrive in bursts; one refresh covers a burst.
const SETTLE: Duration = Duration::from_millis(100);

/// Queries the state of the cluster for observers.
pub struct ClusterView {
    cluster: String,
    kv_service: KvService,
    gauges: Arc<Gauges>,
    chaos: Option<Arc<Chaos>>,
    event_log: Arc<EventLog>,
    poller: Poller,
    keys: KeySampler,
    /// The leader that the event log contains.
    recorded_leader: Mutex<Option<NodeId>>,
    states: watch::Sender<Arc<str>>,
    /// Notified when an observer subscribes.
    subscribed: Notify,
}

impl ClusterView {
    /// Creates a view of these servers. The second service reads the keys; its reads do not count as
    /// load.
    pub fn new(
        cluster: String,
        (kv_service, uncounted): (KvService, KvService),
        gauges: Arc<Gauges>,
        sources: BTreeMap<NodeId, Source>,
        node_token: Option<Secret>,
        (event_log, chaos): (Arc<EventLog>, Option<Arc<Chaos>>),
    ) -> Self {
        Self {
            cluster,
            kv_service,
            gauges,
            chaos,
            poller: Poller::new(sources, node_token, Arc::clone(&event_log)),
            event_log,
            keys: KeySampler::new(uncounted),
            recorded_leader: Mutex::default(),
            states: watch::Sender::new(Arc::from("")),
            subscribed: Notify::new(),
        }
    }

    /// The event log.
    pub fn event_log(&self) -> &Arc<EventLog> {
        &self.event_log
    }

    /// Subscribes to the view: a receiver of [`Status`] as JSON after each refresh. The first value
    /// may be stale.
    pub fn subscribe(&self) -> watch::Receiver<Arc<str>> {
        let receiver = self.states.subscribe();
        self.subscribed.notify_one();
        receiver
    }

    /// Refreshes the view for its observers until `closing` is cancelled.
    pub async fn run(self: Arc<Self>, closing: CancellationToken) {
        let forever = async {
            loop {
                // Register before the refresh, so that no notification is lost.
                let (written, changed) = (self.kv_service.written(), &self.gauges.changed);
                let (written, changed) = (written.notified(), changed.notified());
                let chaos = async {
                    match &self.chaos {
                        Some(chaos) => chaos.changed.notified().await,
                        None => std::future::pending().await,
                    }
                };
                if self.states.receiver_count() == 0 {
                    self.poll().await;
                    tokio::select! {
                        () = changed => {}
                        () = chaos => {}
                        () = self.subscribed.notified() => {}
                        () = tokio::time::sleep(self.poll_interval()) => {}
                    }
                    continue;
                }
                let status = self.status().await;
                if let Ok(json) = serde_json::to_string(&status) {
                    self.states.send_replace(json.into());
                }
                tokio::time::sleep(SETTLE).await;
                tokio::select! {
                    () = written => {}
                    () = changed => {}
                    () = chaos => {}
                    () = self.subscribed.notified() => {}
                    () = tokio::time::sleep(REFRESH_INTERVAL - SETTLE) => {}
                }
            }
        };
        tokio::select! {
            () = forever => {}
            () = closing.cancelled() => {}
        }
    }

    /// The interval between polls of the servers without observers. After one missed response, the
    /// next poll follows soon, so that the history has the correct time of the failure.
    fn poll_interval(&self) -> Duration {
        if self.poller.is_any_late() {
            REFRESH_INTERVAL
        } else {
            POLL_INTERVAL
        }
    }

    /// Returns the current state.
    pub async fn status(&self) -> Status {
        let (mut nodes, keys) = futures_util::join!(self.poll(), self.keys.sample());
        let chaos = self.chaos.as_ref().map(|chaos| chaos.status());
        Status {
            cluster: self.cluster.clone(),
            proxy: self.proxy(),
            health: self.health(&mut nodes, chaos.as_ref()),
            nodes,
            chaos,
            keys,
        }
    }

    /// Computes the health, and adds to `nodes` why a server that responds is not up.
    fn health(&self, nodes: &mut [NodeStatus], chaos: Option<&Value>) -> Health {
        let isolated = chaos.and_then(|chaos| chaos["isolated"].as_array());
        let is_isolated = |id: u64| {
            let mut all = isolated.into_iter().flatten();
            all.any(|one| one["node"] == id)
        };
        let reports = nodes.iter().map(|node| ServerReport {
            id: node.id,
            responds: self
                .poller
                .has_source(NodeId::new(node.id))
                .then_some(node.status.is_some()),
            is_isolated: is_isolated(node.id),
            status: node
                .status
                .as_ref()
                .or(node.last.as_ref())
                .and_then(parse_status),
            age_ms: node.age_ms.unwrap_or(0),
        });
        let reports = reports.collect::<Vec<_>>();
        let mut contacts = Contacts::new(&reports);
        for node in nodes {
            let problem = std::mem::take(&mut node.problem);
            node.problem = problem.or(contacts.silent.remove(&node.id));
        }
        Health::new(&reports, &contacts)
    }

    /// Polls all servers, and adds a change of the leader to the event log.
    async fn poll(&self) -> Vec<NodeStatus> {
        let nodes = self.poller.poll().await;
        let leader = self.gauges.leader();
        let mut recorded = self
            .recorded_leader
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if leader != *recorded {
            *recorded = leader;
            let id = leader.map(NodeId::get);
            let about = Map::from_iter([("node".to_owned(), id.into())]);
            self.event_log.record("proxy_follows", about);
        }
        nodes
    }

    fn proxy(&self) -> ProxyStatus {
        let gauges = &self.gauges;
        ProxyStatus {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: gauges.uptime().as_secs(),
            leader: gauges.leader().map(NodeId::get),
            requests_in_flight: gauges.in_flight.load(Relaxed),
            requests_total: gauges.requests_udp.load(Relaxed)
                + gauges.requests_frontends.load(Relaxed),
        }
    }
}
