//! A view of the cluster: the status that each server reports, and some keys.
//!
//! While an observer is connected, the view is refreshed twice a second and after each change.
//! Otherwise only the servers are polled, every ten seconds and after each change of the leader. Their
//! events go into the [`EventLog`] for late observers. Servers keep their events with timestamps for a
//! while, so the poll can be slow. The view marks a server that does not respond. If the keys cannot
//! be read now, it shows the keys of the last read.

use crate::{
    chaos::Chaos, event_log::EventLog, fetch, gauges::Gauges, http::kv, kv_service::KvService,
    status_source::Source,
};
use futures_util::{FutureExt, future::join_all};
use model::NodeId;
use node::{StatusQuery, TAIL};
use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use web::Secret;

/// The number of keys in the view, and the maximum length of each value.
const KEYS: u32 = 25;
const VALUE: usize = 120;
/// The timeout of a refresh. After it, the view shows the last known state.
const PATIENCE: Duration = Duration::from_millis(400);
/// The maximum age of fresh keys. Older keys are marked as stale.
const FRESH: Duration = Duration::from_secs(3);
const UNSEEN: Duration = Duration::from_secs(10);
const SEEN: Duration = Duration::from_millis(500);
/// The number of missed responses after which a server counts as unreachable. One late response may
/// only indicate load.
const SILENCES: u32 = 2;
/// Changes arrive in bursts; one refresh covers a burst.
const SETTLE: Duration = Duration::from_millis(100);
/// A server counts as down if its leader, or a candidate, did not hear it for this many milliseconds;
/// four heartbeats, if they are longer.
const SILENT: u64 = 1500;

/// The state of the cluster.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The name of the cluster.
    pub cluster: String,
    /// This proxy.
    pub proxy: ProxyStatus,
    /// Whether the cluster is available.
    pub health: Health,
    /// The servers, in order.
    pub nodes: Vec<NodeStatus>,
    /// The active faults; absent without `--chaos`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chaos: Option<Value>,
    /// Some keys.
    pub keys: Keys,
}

/// The availability of the cluster, as far as the proxy knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `ok`, `no_leader`, `no_quorum`, or `unknown` if the number of available servers is unknown.
    pub state: &'static str,
    /// The number of servers.
    pub servers: usize,
    /// The number of servers that can form a quorum now, as far as is known.
    pub up: usize,
    /// The size of a majority.
    pub majority: usize,
    /// The number of further failures that the cluster tolerates; if negative, the number of missing
    /// servers.
    pub margin: i64,
    /// The leader of the newest term among the available servers.
    pub leader: Option<u64>,
    /// The term of that leader; without a leader, the newest known term.
    pub term: Option<u64>,
    /// The highest commit index that any server reported.
    pub commit_index: Option<u64>,
    /// The age of that report in milliseconds.
    pub commit_age_ms: Option<u64>,
}

/// The known state of one server, as input of [`Health`].
struct Known {
    id: u64,
    /// Whether the server responds; `None` if it has no status source.
    answers: Option<bool>,
    is_isolated: bool,
    /// The last status that the server reported.
    said: Option<Value>,
    age_ms: u64,
}

impl Known {
    fn number(&self, name: &str) -> Option<u64> {
        self.said.as_ref()?.get(name)?.as_u64()
    }

    fn role(&self) -> Option<&str> {
        self.said.as_ref()?.get("role")?.as_str()
    }

    /// Whether the server responds and takes part in the protocol. A server that lost its disk
    /// responds, but takes no part.
    fn is_active(&self) -> bool {
        let suspended = self.said.as_ref().and_then(|said| said.get("suspended"));
        let is_suspended = suspended.is_some_and(|reason| !reason.is_null());
        self.answers == Some(true) && !self.is_isolated && !is_suspended
    }

    /// The progress of a follower, if this server leads.
    fn progress(&self, of: u64) -> Option<&Value> {
        self.said.as_ref()?.get("followers")?.get(of.to_string())
    }

    /// Whether this server reports that another one lost its disk. It may hear that server, but in a
    /// run that it refused.
    fn reports_lost_disk(&self, of: u64) -> bool {
        let alerts = self
            .said
            .as_ref()
            .and_then(|said| said["alerts"].as_array());
        let mut alerts = alerts.into_iter().flatten();
        alerts.any(|alert| alert["kind"] == "lost_disk" && alert["node"] == of)
    }

    /// The time since this server heard another one, in milliseconds. Only a leader or a candidate
    /// knows it, because followers exchange messages with their leader only.
    fn silence(&self, of: u64) -> Option<u64> {
        match self.role()? {
            "leader" => self.progress(of)?.get("silent_ms")?.as_u64(),
            "candidate" | "pre-candidate" => {
                let heard = self.said.as_ref()?.get("peer_silence_ms")?;
                let silence = heard.get(of.to_string())?.as_u64();
                silence.or_else(|| Some(self.number("uptime_seconds")? * 1000))
            }
            _ => None,
        }
    }

    /// Whether this server heard another one recently, if it can know that.
    fn hears(&self, of: u64) -> Option<bool> {
        let longest = SILENT.max(4 * self.number("heartbeat_ms").unwrap_or(0));
        self.silence(of).map(|silence| silence < longest)
    }
}

/// The servers that can form a quorum now, as far as is known. If there is a leader, these are the
/// leader and each server that it heard recently, that counts, and that fault injection does not
/// isolate. A response over HTTP proves nothing: the other servers may not hear that server. Without
/// a leader, it is the largest set of responding servers around one that hears all others and is
/// heard by them.
struct Contacts<'a> {
    leader: Option<&'a Known>,
    up: BTreeSet<u64>,
    /// The number of servers about which nothing is known.
    unknown: usize,
    /// The servers that respond, but that the leader or the other servers do not hear, and a
    /// description.
    silent: BTreeMap<u64, String>,
}

impl<'a> Contacts<'a> {
    fn of(servers: &'a [Known]) -> Self {
        let leads = |server: &&Known| server.is_active() && server.role() == Some("leader");
        let leader = servers.iter().filter(leads);
        let leader = leader.max_by_key(|server| server.number("term"));
        match leader {
            Some(leader) => Self::with_leader(leader, servers),
            None => Self::without_leader(servers),
        }
    }

    fn with_leader(leader: &'a Known, servers: &[Known]) -> Self {
        let mut contacts = Self {
            leader: Some(leader),
            up: BTreeSet::from([leader.id]),
            unknown: 0,
            silent: BTreeMap::new(),
        };
        for server in servers.iter().filter(|server| server.id != leader.id) {
            let id = server.id;
            let hears = leader.hears(id);
            // A leader counts a server only in a run that it admitted.
            let counts = leader
                .progress(id)
                .and_then(|of| of.get("counts")?.as_bool());
            let is_excluded =
                server.is_isolated || (server.answers == Some(true) && !server.is_active());
            match hears {
                None if server.answers.is_none() => contacts.unknown += 1,
                _ if is_excluded => {}
                _ if counts == Some(false) && leader.reports_lost_disk(id) => {
                    let why = "answers HTTP, but does not count toward a quorum: see the alerts";
                    contacts.explain(server, why.to_owned());
                }
                Some(true) | None if counts == Some(false) => {}
                None if server.is_active() => {
                    contacts.up.insert(id);
                }
                None => {}
                Some(true) => {
                    contacts.up.insert(id);
                }
                // A leader that never heard a server has not admitted it either.
                Some(false) => {
                    let seconds = leader.silence(id).unwrap_or(0) / 1000;
                    let why =
                        format!("answers HTTP, but the leader has not heard it for {seconds} s");
                    contacts.explain(server, why);
                }
            }
        }
        contacts
    }

    /// Records why a server that responds is not up.
    fn explain(&mut self, server: &Known, why: String) {
        if server.is_active() {
            self.silent.insert(server.id, why);
        }
    }

    fn without_leader(servers: &[Known]) -> Self {
        let active = || servers.iter().filter(|server| server.is_active());
        // The one of the two that does not hear the other one, if any, and for how long.
        let break_between = |one: &Known, other: &Known| {
            [(one, other), (other, one)]
                .into_iter()
                .find(|(hearer, of)| hearer.hears(of.id) == Some(false))
                .map(|(hearer, of)| (hearer.id, of.id, hearer.silence(of.id).unwrap_or(0)))
        };
        let group = |center: &Known| {
            let reached =
                active().filter(|one| one.id == center.id || break_between(center, one).is_none());
            reached.map(|server| server.id).collect::<BTreeSet<_>>()
        };
        let mut contacts = Self {
            leader: None,
            up: BTreeSet::new(),
            unknown: servers.iter().filter(|one| one.answers.is_none()).count(),
            silent: BTreeMap::new(),
        };
        let mut best = None;
        for center in active() {
            let reached = group(center);
            if reached.len() > contacts.up.len() {
                (contacts.up, best) = (reached, Some(center));
            }
        }
        let Some(center) = best else {
            return contacts;
        };
        for server in active().filter(|server| !contacts.up.contains(&server.id)) {
            let Some((hearer, of, silence)) = break_between(center, server) else {
                continue;
            };
            let seconds = silence / 1000;
            let why = if hearer == server.id {
                format!("answers HTTP, but it has not heard server {of} for {seconds} s")
            } else {
                format!("answers HTTP, but server {hearer} has not heard it for {seconds} s")
            };
            contacts.silent.insert(server.id, why);
        }
        contacts
    }
}

impl Health {
    fn new(servers: &[Known], contacts: &Contacts<'_>) -> Self {
        let (leader, unknown) = (contacts.leader, contacts.unknown);
        let up = contacts.up.len();
        let majority = servers.len() / 2 + 1;
        let state = match leader {
            _ if up < majority && up + unknown >= majority => "unknown",
            _ if up < majority => "no_quorum",
            None if unknown > 0 => "unknown",
            None => "no_leader",
            Some(_) => "ok",
        };
        let newest = servers.iter().filter_map(|one| one.number("term")).max();
        let committed = servers
            .iter()
            .filter_map(|server| {
                let index = server.number("commit_index")?;
                Some((index, std::cmp::Reverse(server.age_ms)))
            })
            .max();
        Self {
            state,
            servers: servers.len(),
            up,
            majority,
            margin: up as i64 - majority as i64,
            leader: leader.map(|leader| leader.id),
            term: leader.and_then(|leader| leader.number("term")).or(newest),
            commit_index: committed.map(|(index, _)| index),
            commit_age_ms: committed.map(|(_, std::cmp::Reverse(age))| age),
        }
    }
}

/// The state of this proxy.
#[derive(Clone, Debug, Serialize)]
pub struct ProxyStatus {
    /// Its version.
    pub version: &'static str,
    /// The uptime in seconds.
    pub uptime_seconds: u64,
    /// The believed leader.
    pub leader: Option<u64>,
    /// The number of requests in flight.
    pub requests_in_flight: u64,
    /// The number of requests since the start.
    pub requests_total: u64,
}

/// The state of a server.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    /// The id of the server.
    pub id: u64,
    /// The status that the server reports; absent if it does not respond.
    pub status: Option<Value>,
    /// Why there is no status, or why a server with a status is not up.
    pub problem: Option<String>,
    /// The last reported status, if the server does not respond now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Value>,
    /// The age of that status in milliseconds.
    pub age_ms: Option<u64>,
}

/// A sample of the keys, in order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Keys {
    /// The first keys. Long values are truncated and marked `cut`.
    pub items: Vec<Map<String, Value>>,
    /// Whether more keys exist.
    pub more: bool,
    /// Whether the keys were read recently.
    pub fresh: bool,
}

/// The keys of the last read.
#[derive(Debug, Default)]
struct KnownKeys {
    keys: Keys,
    read: Option<Instant>,
}

/// Queries the state of the cluster for observers.
pub struct ClusterView {
    cluster: String,
    kv_service: KvService,
    /// The service for reading the keys. Its reads do not count as load.
    reader: KvService,
    gauges: Arc<Gauges>,
    nodes: BTreeMap<NodeId, Source>,
    node_token: Option<Secret>,
    chaos: Option<Arc<Chaos>>,
    event_log: Arc<EventLog>,
    /// The servers' state from earlier refreshes.
    acquaintances: Mutex<Acquaintances>,
    keys: Arc<Mutex<KnownKeys>>,
    /// Whether a read of the keys is in progress.
    reading: Arc<AtomicBool>,
    shown: watch::Sender<Arc<str>>,
    looked_on: Notify,
}

/// The servers' state from earlier refreshes.
#[derive(Debug, Default)]
struct Acquaintances {
    servers: BTreeMap<NodeId, KnownServer>,
    leader: Option<u64>,
}

/// The state of one server from earlier refreshes.
#[derive(Debug, Default)]
struct KnownServer {
    boot: String,
    /// The number of its last event in the history.
    told: u64,
    silences: u32,
    /// The last status that it reported, and the time of the report.
    last: Option<(Value, Instant)>,
}

impl ClusterView {
    /// Creates a view of these servers.
    pub fn new(
        cluster: String,
        (kv_service, reader): (KvService, KvService),
        gauges: Arc<Gauges>,
        nodes: BTreeMap<NodeId, Source>,
        node_token: Option<Secret>,
        (event_log, chaos): (Arc<EventLog>, Option<Arc<Chaos>>),
    ) -> Self {
        Self {
            cluster,
            kv_service,
            reader,
            gauges,
            nodes,
            node_token,
            chaos,
            event_log,
            acquaintances: Mutex::default(),
            keys: Arc::default(),
            reading: Arc::default(),
            shown: watch::Sender::new(Arc::from("")),
            looked_on: Notify::new(),
        }
    }

    /// The recent history.
    pub fn event_log(&self) -> &Arc<EventLog> {
        &self.event_log
    }

    /// Subscribes to the view: a receiver of [`Status`] as JSON after each refresh. The first value
    /// may be stale.
    pub fn look_on(&self) -> watch::Receiver<Arc<str>> {
        let receiver = self.shown.subscribe();
        self.looked_on.notify_one();
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
                if self.shown.receiver_count() == 0 {
                    self.look().await;
                    tokio::select! {
                        () = changed => {}
                        () = chaos => {}
                        () = self.looked_on.notified() => {}
                        () = tokio::time::sleep(self.until_next()) => {}
                    }
                    continue;
                }
                let status = self.status().await;
                if let Ok(json) = serde_json::to_string(&status) {
                    self.shown.send_replace(json.into());
                }
                tokio::time::sleep(SETTLE).await;
                tokio::select! {
                    () = written => {}
                    () = changed => {}
                    () = chaos => {}
                    () = self.looked_on.notified() => {}
                    () = tokio::time::sleep(SEEN - SETTLE) => {}
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
    fn until_next(&self) -> Duration {
        let known = self.acquaintances();
        let is_late = |known: &KnownServer| (1..SILENCES).contains(&known.silences);
        if known.servers.values().any(is_late) {
            SEEN
        } else {
            UNSEEN
        }
    }

    /// Returns the current state.
    pub async fn status(&self) -> Status {
        let (mut nodes, keys) = futures_util::join!(self.look(), self.keys());
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
        let known = nodes.iter().map(|node| Known {
            id: node.id,
            answers: match self.nodes.get(&NodeId::new(node.id)) {
                Some(Source::Nowhere) | None => None,
                Some(_) => Some(node.status.is_some()),
            },
            is_isolated: is_isolated(node.id),
            said: node.status.clone().or_else(|| node.last.clone()),
            age_ms: node.age_ms.unwrap_or(0),
        });
        let known = known.collect::<Vec<_>>();
        let mut contacts = Contacts::of(&known);
        for node in nodes {
            node.problem = node.problem.take().or(contacts.silent.remove(&node.id));
        }
        Health::new(&known, &contacts)
    }

    /// Polls all servers, and adds new events to the history.
    async fn look(&self) -> Vec<NodeStatus> {
        let asked = self.nodes.iter().map(|(id, source)| {
            let known = self.acquaintances();
            let since = known.servers.get(id).map_or(0, |known| known.told);
            drop(known);
            let glance = StatusQuery {
                entries: TAIL,
                since,
            };
            self.node(*id, source, glance)
        });
        let nodes = join_all(asked.collect::<Vec<_>>()).await;
        let leader = self.gauges.leader().map(NodeId::get);
        let mut known = self.acquaintances();
        if leader != known.leader {
            known.leader = leader;
            let about = Map::from_iter([("node".to_owned(), leader.into())]);
            self.event_log.tell("proxy_follows", about);
        }
        nodes
    }

    /// Processes the result of one poll: moves the server's events from the status to the history, and
    /// records when the server becomes unreachable or returns.
    fn note(&self, id: NodeId, told: &mut Result<Value, String>) {
        let mut known = self.acquaintances();
        let known = known.servers.entry(id).or_default();
        let of = || Map::from_iter([("node".to_owned(), id.get().into())]);
        let status = match told {
            Ok(Value::Object(status)) => status,
            Ok(_) => return,
            Err(problem) => {
                known.silences += 1;
                if known.silences == SILENCES {
                    let mut about = of();
                    about.insert("problem".to_owned(), problem.clone().into());
                    self.event_log.tell("unreachable", about);
                }
                return;
            }
        };
        if std::mem::take(&mut known.silences) >= SILENCES {
            self.event_log.tell("back", of());
        }
        let boot = status.get("boot").and_then(Value::as_str).unwrap_or("");
        if boot != known.boot {
            boot.clone_into(&mut known.boot);
            // After a restart, the numbers of events begin again at 1. The poll requested events after
            // a number of the previous run, so its result may lack the first events: the next poll
            // returns all of them.
            known.told = 0;
            let first = status
                .get("events")
                .and_then(|events| events.get(0)?.get("id"));
            if first != Some(&Value::from(1)) {
                status.remove("events");
                return;
            }
        }
        let Some(Value::Array(events)) = status.remove("events") else {
            return;
        };
        for event in events {
            let Value::Object(mut event) = event else {
                continue;
            };
            let number = |name: &str, event: &mut Map<String, Value>| {
                event.remove(name).and_then(|value| value.as_u64())
            };
            let (Some(number), Some(at)) = (number("id", &mut event), number("at", &mut event))
            else {
                continue;
            };
            let Some(Value::String(what)) = event.remove("what") else {
                continue;
            };
            // Two concurrent polls return the same events.
            if number > known.told {
                known.told = number;
                if let Some(other) = event.remove("node") {
                    event.insert("other".to_owned(), other);
                }
                event.insert("node".to_owned(), id.get().into());
                self.event_log.tell_of(at, &what, event);
            }
        }
    }

    fn acquaintances(&self) -> MutexGuard<'_, Acquaintances> {
        let known = &self.acquaintances;
        known.lock().unwrap_or_else(PoisonError::into_inner)
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

    async fn node(&self, id: NodeId, source: &Source, glance: StatusQuery) -> NodeStatus {
        let asked = async {
            match source {
                Source::Here(ask) => ask(glance).await,
                Source::Http(at) => {
                    let StatusQuery { entries, since } = glance;
                    let path = format!("/status?entries={entries}&since={since}");
                    fetch::json(at, &path, self.node_token.as_ref()).await
                }
                Source::Nowhere => Err(format!(
                    "its HTTP address is not given: --node-http {id}=HOST:PORT"
                )),
            }
        };
        let mut told = tokio::time::timeout(PATIENCE, asked.boxed())
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()));
        if !matches!(source, Source::Nowhere) {
            self.note(id, &mut told);
        }
        let (status, problem) = match told {
            Ok(status) => (Some(status), None),
            Err(problem) => (None, Some(problem)),
        };
        let mut known = self.acquaintances();
        let known = known.servers.entry(id).or_default();
        let last = match &status {
            Some(status) => {
                known.last = Some((status.clone(), Instant::now()));
                None
            }
            None => known.last.as_ref().map(|(last, _)| last.clone()),
        };
        let age = known.last.as_ref().map(|(_, at)| at.elapsed());
        NodeStatus {
            id: id.get(),
            status,
            problem,
            last,
            age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Returns the current keys, or the keys of the last read if the cluster does not respond in time.
    /// Only one read is in progress at a time, because reads would pile up while the cluster is down.
    async fn keys(&self) -> Keys {
        if !self.reading.swap(true, Relaxed) {
            let (kv_service, known) = (self.reader.clone(), Arc::clone(&self.keys));
            let reading = Arc::clone(&self.reading);
            let read = tokio::spawn(async move {
                if let Ok(page) = kv_service.scan(Vec::new(), None, KEYS).await {
                    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.keys = Keys::new(&page);
                    known.read = Some(Instant::now());
                }
                reading.store(false, Relaxed);
            });
            // After a timeout or an error, the keys of the last read are used.
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
            let mut value = &found.value[..whole.min(VALUE)];
            if whole > VALUE
                && let Err(error) = str::from_utf8(value)
                && error.error_len().is_none()
            {
                // The truncation may split a character; the text before it is valid.
                value = &value[..error.valid_up_to()];
            }
            let mut item = kv::pair(key, value, found.version);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        driver::{Driver, DriverConfig},
        metrics::Metrics,
    };
    use client::pool::{Pool, PoolConfig};
    use model::Address;
    use std::sync::atomic::AtomicU64;

    /// A view of one server that counts the polls and responds while `is_up`.
    fn cluster_view(asked: &Arc<AtomicU64>, is_up: &Arc<AtomicBool>) -> ClusterView {
        let driver = Driver::new(DriverConfig {
            nodes: [NodeId::new(1)].into(),
            attempt_timeout: PATIENCE,
            max_attempts: 1,
            max_in_flight: 1,
        });
        let handle = driver.handle();
        let config = PoolConfig {
            proxy: Address::Proxy(handle.id),
            is_in_process: true,
            max_sessions: 1,
            max_waiting: 1,
            max_attempts: 1,
            attempt_timeout: PATIENCE,
        };
        let pool = Pool::new(config, |_| {});
        let kv_service = KvService::new(pool, Arc::new(Metrics::new()), CancellationToken::new());
        let (asked, is_up) = (Arc::clone(asked), Arc::clone(is_up));
        let ask = move |_| {
            asked.fetch_add(1, Relaxed);
            let up = is_up.load(Relaxed);
            async move {
                if up {
                    Ok(Value::Object(Map::new()))
                } else {
                    Err("gone".to_owned())
                }
            }
            .boxed()
        };
        let sources = BTreeMap::from([(NodeId::new(1), Source::Here(Box::new(ask)))]);
        let event_log = (Arc::new(EventLog::new()), None);
        let desks = (kv_service.clone(), kv_service);
        ClusterView::new(
            "test".into(),
            desks,
            handle.gauges,
            sources,
            None,
            event_log,
        )
    }

    fn health(servers: &[Known]) -> Health {
        Health::new(servers, &Contacts::of(servers))
    }

    /// A server that leads, follows, or does not respond.
    fn known(id: u64, answers: Option<bool>, role: &str, index: u64) -> Known {
        Known {
            id,
            answers,
            is_isolated: false,
            said: Some(serde_json::json!({"role": role, "term": 7, "commit_index": index})),
            age_ms: if answers == Some(true) { 0 } else { 5000 },
        }
    }

    #[test]
    fn health_counts_who_is_up_and_keeps_the_last_known_commit_index() {
        let mut servers = vec![
            known(1, Some(true), "leader", 90),
            known(2, Some(true), "follower", 89),
            known(3, Some(false), "follower", 80),
        ];
        let told = health(&servers);
        assert_eq!((told.state, told.up, told.margin), ("ok", 2, 0));
        assert_eq!((told.leader, told.commit_index), (Some(1), Some(90)));
        assert_eq!(told.commit_age_ms, Some(0));
        // An isolated leader does not count as available.
        servers[0].is_isolated = true;
        let told = health(&servers);
        assert_eq!((told.state, told.up, told.margin), ("no_quorum", 1, -1));
        assert_eq!((told.leader, told.term), (None, Some(7)));
        servers[0] = known(1, Some(false), "leader", 90);
        let told = health(&servers);
        assert_eq!(told.state, "no_quorum");
        assert_eq!(
            (told.commit_index, told.commit_age_ms),
            (Some(90), Some(5000))
        );
        servers[2].answers = Some(true);
        assert_eq!(health(&servers).state, "no_leader");
    }

    #[test]
    fn server_that_cannot_be_asked_is_up_if_its_leader_hears_it() {
        let mut servers = vec![
            known(1, Some(true), "leader", 90),
            known(2, None, "", 0),
            known(3, None, "", 0),
        ];
        assert_eq!(health(&servers).state, "unknown");
        servers[0].said = Some(serde_json::json!({
            "role": "leader", "term": 7, "commit_index": 90,
            "followers": {"2": {"silent_ms": 20}, "3": {"silent_ms": 90_000}},
        }));
        let told = health(&servers);
        assert_eq!((told.state, told.up, told.margin), ("ok", 2, 0));
    }

    /// A partition, another key or another cluster name: HTTP works, and the datagrams do not arrive.
    #[test]
    fn server_that_answers_http_is_up_only_if_its_leader_hears_it() {
        let mut servers = vec![
            known(1, Some(true), "leader", 90),
            known(2, Some(true), "follower", 90),
            known(3, Some(true), "follower", 0),
        ];
        let leads = |silent: [u64; 2]| {
            Some(serde_json::json!({
                "role": "leader", "term": 7, "commit_index": 90, "heartbeat_ms": 100,
                "followers": {"2": {"silent_ms": silent[0], "counts": true},
                              "3": {"silent_ms": silent[1], "counts": true}},
            }))
        };
        servers[0].said = leads([20, 12_300]);
        let told = health(&servers);
        assert_eq!((told.state, told.up, told.margin), ("ok", 2, 0));
        let why = "answers HTTP, but the leader has not heard it for 12 s";
        let silent = Contacts::of(&servers).silent;
        assert_eq!(silent, BTreeMap::from([(3, why.to_owned())]));
        // The leader never heard server 3, so it did not admit it.
        let said = servers[0].said.as_mut().unwrap();
        said["followers"]["3"]["counts"] = false.into();
        let silent = Contacts::of(&servers).silent;
        assert_eq!(silent, BTreeMap::from([(3, why.to_owned())]));
        // A server that lost its disk sends messages, but its present run does not count.
        let said = servers[0].said.as_mut().unwrap();
        said["alerts"] = serde_json::json!([{"kind": "lost_disk", "node": 3, "text": ""}]);
        let silent = Contacts::of(&servers).silent;
        assert!(silent[&3].contains("does not count"), "{silent:?}");
        assert_eq!(health(&servers).up, 2);
        // The leader hears server 2, whose HTTP does not respond.
        servers[1].answers = Some(false);
        assert_eq!(health(&servers).up, 2);
        servers[0].said = leads([2000, 12_300]);
        let told = health(&servers);
        assert_eq!((told.state, told.up, told.margin), ("no_quorum", 1, -1));
        // With rare heartbeats, a server is silent for longer.
        servers[0].said.as_mut().unwrap()["heartbeat_ms"] = 1000.into();
        assert_eq!(health(&servers).state, "ok");
    }

    #[test]
    fn servers_without_a_leader_that_do_not_hear_each_other_are_no_quorum() {
        let seeks = |id: u64, heard: &[(u64, Option<u64>)]| {
            let heard: BTreeMap<_, _> = heard.iter().copied().collect();
            let said = serde_json::json!({
                "role": "pre-candidate", "term": 7, "commit_index": 90, "heartbeat_ms": 100,
                "uptime_seconds": 60, "peer_silence_ms": heard,
            });
            Known {
                said: Some(said),
                ..known(id, Some(true), "", 0)
            }
        };
        let mut servers = vec![
            seeks(1, &[(2, Some(12_300)), (3, Some(9000))]),
            seeks(2, &[(1, None), (3, Some(9000))]),
            known(3, Some(false), "leader", 90),
        ];
        let told = health(&servers);
        assert_eq!((told.state, told.up, told.margin), ("no_quorum", 1, -1));
        let why = "answers HTTP, but server 1 has not heard it for 12 s";
        let silent = Contacts::of(&servers).silent;
        assert_eq!(silent, BTreeMap::from([(2, why.to_owned())]));
        // One direction is not enough for an election.
        servers[0] = seeks(1, &[(2, Some(20)), (3, Some(9000))]);
        assert_eq!(health(&servers).state, "no_quorum");
        servers[1] = seeks(2, &[(1, Some(30)), (3, Some(9000))]);
        let told = health(&servers);
        assert_eq!((told.state, told.up, told.margin), ("no_leader", 2, 0));
        // A follower does not know whom it could hear.
        servers[1] = known(2, Some(true), "follower", 90);
        assert_eq!(health(&servers).state, "no_leader");
    }

    #[test]
    fn server_without_its_disk_answers_and_does_not_count() {
        let mut servers = vec![
            known(1, Some(true), "leader", 90),
            known(2, Some(true), "follower", 89),
            known(3, Some(true), "follower", 0),
        ];
        assert_eq!(health(&servers).margin, 1);
        // The leader does not count server 3, and server 3 may not know that yet.
        servers[0].said = Some(serde_json::json!({
            "role": "leader", "term": 7, "commit_index": 90,
            "followers": {"2": {"silent_ms": 20, "counts": true},
                          "3": {"silent_ms": 20, "counts": false}},
        }));
        let told = health(&servers);
        assert_eq!((told.state, told.up, told.margin), ("ok", 2, 0));
        // Now server 3 knows it, and there is no leader.
        servers[0].answers = Some(false);
        servers[2].said = Some(serde_json::json!({
            "role": "follower", "term": 7, "commit_index": 0, "suspended": "another disk",
        }));
        let told = health(&servers);
        assert_eq!((told.state, told.up, told.margin), ("no_quorum", 1, -1));
        // The server's own claim to lead has no effect.
        servers[2].said = Some(serde_json::json!({
            "role": "leader", "term": 8, "commit_index": 0, "suspended": "another disk",
        }));
        assert_eq!(health(&servers).leader, None);
        servers[2].said = Some(serde_json::json!({
            "role": "follower", "term": 7, "commit_index": 0, "suspended": null,
        }));
        assert_eq!(health(&servers).up, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn servers_are_asked_rarely_while_nobody_looks_and_at_once_when_somebody_does() {
        let (asked, is_up) = (Arc::default(), Arc::new(AtomicBool::new(true)));
        let cluster_view = Arc::new(cluster_view(&asked, &is_up));
        let closing = CancellationToken::new();
        let running = tokio::spawn(Arc::clone(&cluster_view).run(closing.clone()));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let unseen = asked.swap(0, Relaxed);
        assert!((5..=7).contains(&unseen), "{unseen} times in a minute");

        // The history reports the failure after at most two polls.
        is_up.store(false, Relaxed);
        tokio::time::sleep(UNSEEN + SEEN * 2).await;
        let news = cluster_view
            .event_log()
            .after(&mut crate::event_log::Place::default());
        let told = news
            .events
            .iter()
            .filter(|event| event.what == "unreachable");
        assert_eq!(told.count(), 1);

        asked.store(0, Relaxed);
        let mut looking = cluster_view.look_on();
        looking.changed().await.expect("it goes on");
        assert_eq!(asked.load(Relaxed), 1);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let seen = asked.load(Relaxed);
        assert!(seen >= 10, "{seen} times in ten seconds");
        closing.cancel();
        running.await.expect("it ends");
    }
}
