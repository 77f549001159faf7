//! What the cluster looks like from here: the servers, as they tell of themselves, and some keys.
//!
//! Looked up only while somebody looks on, once a second and when something changed. A server
//! that does not answer is shown as such; keys that cannot be read now are shown as they were.

use crate::{desk::Desk, driver::Gauges, fetch, http::kv, secret::Secret};
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use model::NodeId;
use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How many keys are shown, and how much of each value.
const KEYS: u32 = 25;
const VALUE: usize = 120;
/// What has not come by then is shown as it was.
const PATIENCE: Duration = Duration::from_millis(400);
/// Keys read longer ago than this are said to be old.
const FRESH: Duration = Duration::from_secs(3);
const INTERVAL: Duration = Duration::from_secs(1);
/// Changes come in crowds, and are shown together.
const SETTLE: Duration = Duration::from_millis(100);

/// Where the state of a server is found.
pub enum Source {
    /// At its HTTP address, `HOST:PORT`.
    Http(String),
    /// In this process.
    Here(Box<dyn Fn() -> BoxFuture<'static, Result<Value, String>> + Send + Sync>),
    /// Nobody said where.
    Nowhere,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(at) => write!(f, "Http({at})"),
            Self::Here(_) => f.write_str("Here"),
            Self::Nowhere => f.write_str("Nowhere"),
        }
    }
}

/// The state of everything.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// This proxy.
    pub proxy: ProxyStatus,
    /// The servers, in order.
    pub nodes: Vec<NodeStatus>,
    /// Some keys.
    pub keys: Keys,
}

/// This proxy.
#[derive(Clone, Debug, Serialize)]
pub struct ProxyStatus {
    /// Its version.
    pub version: &'static str,
    /// Since when it runs.
    pub uptime_seconds: u64,
    /// The server it believes leads.
    pub leader: Option<u64>,
    /// Requests that wait for a server.
    pub requests_in_flight: u64,
    /// Requests that arrived since the start.
    pub requests_total: u64,
}

/// A server.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    /// Which.
    pub id: u64,
    /// What it says of itself, nothing if it does not answer.
    pub status: Option<Value>,
    /// Why nothing is known of it.
    pub problem: Option<String>,
}

/// Some keys, in order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Keys {
    /// The first of them. Long values are cut, and marked `cut`.
    pub items: Vec<Map<String, Value>>,
    /// Whether there are more.
    pub more: bool,
    /// Whether they could be read just now.
    pub fresh: bool,
}

/// The keys as they were last read.
#[derive(Debug, Default)]
struct Known {
    keys: Keys,
    read: Option<Instant>,
}

/// Looks up the state for those who look on.
pub struct Overview {
    cluster: String,
    desk: Desk,
    gauges: Arc<Gauges>,
    nodes: BTreeMap<NodeId, Source>,
    node_token: Option<Secret>,
    keys: Arc<Mutex<Known>>,
    /// Whether the keys are being read.
    reading: Arc<AtomicBool>,
    shown: watch::Sender<Arc<str>>,
    looked_on: Notify,
}

impl Overview {
    /// An overview of these servers.
    pub fn new(
        cluster: String,
        desk: Desk,
        gauges: Arc<Gauges>,
        nodes: BTreeMap<NodeId, Source>,
        node_token: Option<Secret>,
    ) -> Self {
        Self {
            cluster,
            desk,
            gauges,
            nodes,
            node_token,
            keys: Arc::default(),
            reading: Arc::default(),
            shown: watch::Sender::new(Arc::from("")),
            looked_on: Notify::new(),
        }
    }

    /// From now on, whenever there is something new: [`Status`] as JSON. The first may be old.
    pub fn look_on(&self) -> watch::Receiver<Arc<str>> {
        let receiver = self.shown.subscribe();
        self.looked_on.notify_one();
        receiver
    }

    /// Keeps those who look on informed, until `closing`.
    pub async fn run(self: Arc<Self>, closing: CancellationToken) {
        let forever = async {
            loop {
                if self.shown.receiver_count() == 0 {
                    self.looked_on.notified().await;
                }
                // Asked for before looking, so that no change falls between.
                let (written, changed) = (self.desk.written(), &self.gauges.changed);
                let (written, changed) = (written.notified(), changed.notified());
                let status = self.status().await;
                if let Ok(json) = serde_json::to_string(&status) {
                    self.shown.send_replace(json.into());
                }
                tokio::time::sleep(SETTLE).await;
                tokio::select! {
                    () = written => {}
                    () = changed => {}
                    () = self.looked_on.notified() => {}
                    () = tokio::time::sleep(INTERVAL - SETTLE) => {}
                }
            }
        };
        tokio::select! {
            () = forever => {}
            () = closing.cancelled() => {}
        }
    }

    /// The state now.
    pub async fn status(&self) -> Status {
        let nodes = join_all(self.nodes.iter().map(|(id, source)| self.node(*id, source)));
        let (nodes, keys) = futures_util::join!(nodes, self.keys());
        Status {
            cluster: self.cluster.clone(),
            proxy: self.proxy(),
            nodes,
            keys,
        }
    }

    fn proxy(&self) -> ProxyStatus {
        let gauges = &self.gauges;
        ProxyStatus {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: gauges.uptime().as_secs(),
            leader: gauges.leader().map(NodeId::get),
            requests_in_flight: gauges.in_flight.load(Relaxed),
            requests_total: gauges.requests_udp.load(Relaxed) + gauges.requests_doors.load(Relaxed),
        }
    }

    async fn node(&self, id: NodeId, source: &Source) -> NodeStatus {
        let asked = async {
            match source {
                Source::Here(ask) => ask().await,
                Source::Http(at) => fetch::json(at, "/status", self.node_token.as_ref()).await,
                Source::Nowhere => Err(format!(
                    "its HTTP address is not given: --node-http {id}=HOST:PORT"
                )),
            }
        };
        let told = tokio::time::timeout(PATIENCE, asked.boxed())
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let (status, problem) = match told {
            Ok(status) => (Some(status), None),
            Err(problem) => (None, Some(problem)),
        };
        NodeStatus {
            id: id.get(),
            status,
            problem,
        }
    }

    /// The keys as they are, or as they last were if the cluster does not answer at once. One
    /// reading at a time: while the cluster is down they would pile up.
    async fn keys(&self) -> Keys {
        if !self.reading.swap(true, Relaxed) {
            let (desk, known) = (self.desk.clone(), Arc::clone(&self.keys));
            let reading = Arc::clone(&self.reading);
            let read = tokio::spawn(async move {
                if let Ok(page) = desk.scan(Vec::new(), None, KEYS).await {
                    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.keys = Keys::new(&page);
                    known.read = Some(Instant::now());
                }
                reading.store(false, Relaxed);
            });
            // Late or failed, what is known is what is told.
            let _ = tokio::time::timeout(PATIENCE, read).await;
        }
        let known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.read.is_some_and(|read| read.elapsed() < FRESH);
        Keys {
            fresh,
            ..known.keys.clone()
        }
    }
}

impl Keys {
    fn new(page: &model::store::Page) -> Self {
        let items = page.pairs.iter().map(|(key, found)| {
            let whole = found.value.len();
            let mut found = found.clone();
            found.value.truncate(VALUE);
            if whole > VALUE
                && let Err(error) = str::from_utf8(&found.value)
                && error.error_len().is_none()
            {
                // Cut within a character: what is before it is still text.
                found.value.truncate(error.valid_up_to());
            }
            let mut item = kv::pair(key, &found);
            if whole > VALUE {
                item.insert("cut".to_owned(), whole.into());
            }
            item
        });
        Self {
            items: items.collect(),
            more: page.more,
            fresh: false,
        }
    }
}
