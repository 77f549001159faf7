//! Fault injection (`--chaos`): cut, lossy or slow links, and isolated, paused or killed servers. It
//! demonstrates the fault tolerance of the protocol. Never enable it on a production cluster.
//!
//! Servers in this process (`--embedded`) accept every fault. For external servers, this proxy can
//! only affect its own traffic: its links to those servers, and its links to UDP clients. Each fault
//! can have a duration, after which it ends automatically.
//!
//! Two fault plans are in force: one is shared by the servers in this process, one applies to the
//! proxy's socket. Both are rebuilt from the set of active faults at each change.

use crate::{embedded::Embedded, event_log::EventLog};
use model::{Address, NodeId, ProxyId};
use node::Pause;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use transport::{Delay, Faults, Plan, PlanError, Rule, Side};

/// The maximum duration of a fault in seconds.
const LONGEST: f64 = 86_400.0;

/// An end of a link: `1` for server 1, `"proxy"`, or `"clients"` for the UDP clients of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum End {
    /// A server.
    Node(u64),
    /// An end that is not a server.
    Named(Name),
}

/// The ends of links that are not servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// This proxy.
    Proxy,
    /// Its UDP clients.
    Clients,
}

const PROXY: End = End::Named(Name::Proxy);
const CLIENTS: End = End::Named(Name::Clients);

/// The faults of one link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkFault {
    /// Drops every message.
    pub cut: bool,
    /// The probability of loss, from 0 to 1.
    pub drop: f64,
    /// The probability of duplication, from 0 to 1.
    pub duplicate: f64,
    /// The probability of reordering, from 0 to 1.
    pub reorder: f64,
    /// The minimum and maximum delay in milliseconds.
    pub delay_ms: Option<[u64; 2]>,
}

/// A fault to inject or to end. After `for_seconds`, the fault ends automatically.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/http.md has them one by one")]
pub enum Action {
    /// Replaces the faults of a link. An action without faults restores the link.
    ///
    /// The fields repeat those of [`LinkFault`]: a flattened struct would accept unknown fields, and a
    /// misspelled fault would restore the link.
    Link {
        from: End,
        to: End,
        /// Applies the faults to the opposite direction too.
        #[serde(default)]
        both: bool,
        #[serde(default)]
        cut: bool,
        #[serde(default)]
        drop: f64,
        #[serde(default)]
        duplicate: f64,
        #[serde(default)]
        reorder: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        delay_ms: Option<[u64; 2]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_seconds: Option<f64>,
    },
    /// Cuts all links of a server.
    Isolate {
        node: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_seconds: Option<f64>,
    },
    /// Ends the isolation of a server.
    Rejoin { node: u64 },
    /// Pauses a server, like SIGSTOP.
    Pause {
        node: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_seconds: Option<f64>,
    },
    /// Resumes a server, like SIGCONT.
    Resume { node: u64 },
    /// Kills a server, like SIGKILL.
    Kill {
        node: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_seconds: Option<f64>,
    },
    /// Restarts a killed server from its disk.
    Start { node: u64 },
    /// Ends all faults. A variant with braces, because serde accepts unknown fields beside a unit
    /// variant.
    Heal {},
}

/// Why an action was rejected. A rejected action changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The server does not exist.
    #[error("there is no server {0}")]
    NoSuchNode(u64),
    /// The link does not exist.
    #[error(
        "there is no link from {0} to {1}: links go between servers, between a server and \"proxy\", and between \"proxy\" and \"clients\""
    )]
    NoSuchLink(End, End),
    /// The servers run in other processes.
    #[error(
        "the servers do not run in this process (--embedded): a raft-node started with --chaos takes faults at its own /chaos, and a process is paused and killed by its system"
    )]
    Elsewhere,
    /// The server is down.
    #[error("server {0} does not run: start it first")]
    Down(u64),
    /// The duration is out of range.
    #[error("for_seconds must be more than 0 and at most 86400")]
    Time,
    /// A probability or a delay is out of range.
    #[error("{}", .0.to_string().split_once(": ").map_or_else(|| .0.to_string(), |(_, what)| what.to_owned()))]
    LinkFault(PlanError),
    /// A server failed to start.
    #[error("{0}")]
    Start(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "server {id}"),
            Self::Named(Name::Proxy) => f.write_str("the proxy"),
            Self::Named(Name::Clients) => f.write_str("its clients"),
        }
    }
}

/// An active fault and its end.
#[derive(Clone, Copy, Debug)]
struct Active<T> {
    what: T,
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Halted {
    Paused,
    Killed,
}

/// The set of active faults.
#[derive(Clone, Debug, Default)]
struct ActiveFaults {
    links: BTreeMap<(End, End), Active<LinkFault>>,
    isolated: BTreeMap<u64, Active<()>>,
    halted: BTreeMap<u64, Active<Halted>>,
}

/// Injects faults. See the module documentation.
pub struct Chaos {
    embedded: Option<Embedded>,
    servers: BTreeSet<u64>,
    proxy: ProxyId,
    among_servers: Faults,
    at_proxy: Faults,
    event_log: Arc<EventLog>,
    /// The paused servers. The lock also serializes actions.
    pauses: AsyncMutex<BTreeMap<u64, Pause>>,
    active: Mutex<ActiveFaults>,
    /// Notified when a fault was added or ended.
    pub(crate) changed: Notify,
    /// Notified at the same time, for the task that waits for the end of faults.
    until: Notify,
}

impl Chaos {
    /// Creates the service without any fault. The two plans are the handles with which the embedded
    /// servers and the proxy's socket were started.
    pub(crate) fn new(
        embedded: Option<Embedded>,
        servers: impl Iterator<Item = NodeId>,
        proxy: ProxyId,
        [among_servers, at_proxy]: [Faults; 2],
        event_log: Arc<EventLog>,
    ) -> Self {
        Self {
            embedded,
            servers: servers.map(NodeId::get).collect(),
            proxy,
            among_servers,
            at_proxy,
            event_log,
            pauses: AsyncMutex::default(),
            active: Mutex::default(),
            changed: Notify::new(),
            until: Notify::new(),
        }
    }

    /// Executes an action.
    ///
    /// # Errors
    /// See [`ChaosError`]; a failed action changes nothing.
    pub async fn carry_out(&self, action: Action) -> Result<(), ChaosError> {
        self.act(&action).await?;
        let told = serde_json::to_value(&action).unwrap_or_default();
        tracing::warn!(action = %told, "chaos");
        self.tell(told, false);
        Ok(())
    }

    /// Ends expired faults until `closing` is cancelled. Then resumes paused servers, so that they can
    /// stop too.
    pub(crate) async fn run(self: Arc<Self>, closing: CancellationToken) {
        let forever = async {
            loop {
                // Register before the check, so that no notification is lost.
                let changed = self.until.notified();
                let next = self.next_end();
                tokio::select! {
                    () = changed => {}
                    () = sleep_until(next) => self.end_what_is_over().await,
                }
            }
        };
        tokio::select! {
            () = forever => {}
            () = closing.cancelled() => {}
        }
        self.pauses.lock().await.clear();
    }

    /// The active faults, in the format of `docs/http.md`.
    pub fn status(&self) -> Value {
        let active = self.lock();
        let now = Instant::now();
        let left = |until: Option<Instant>| {
            until.map(|until| until.saturating_duration_since(now).as_secs_f64().ceil())
        };
        let links = active.links.iter().map(|((from, to), fault)| {
            json!({ "from": from, "to": to, "harm": fault.what, "seconds_left": left(fault.until) })
        });
        let isolated = active.isolated.iter();
        let isolated =
            isolated.map(|(id, cut)| json!({ "node": id, "seconds_left": left(cut.until) }));
        let halted = active.halted.iter().map(|(id, halted)| {
            json!({ "node": id, "how": halted.what, "seconds_left": left(halted.until) })
        });
        json!({
            "embedded": self.embedded.is_some(),
            "links": links.collect::<Vec<_>>(),
            "isolated": isolated.collect::<Vec<_>>(),
            "halted": halted.collect::<Vec<_>>(),
        })
    }

    async fn act(&self, action: &Action) -> Result<(), ChaosError> {
        let mut pauses = self.pauses.lock().await;
        match action {
            Action::Link {
                from,
                to,
                both,
                cut,
                drop,
                duplicate,
                reorder,
                delay_ms,
                for_seconds,
            } => {
                let fault = LinkFault {
                    cut: *cut,
                    drop: *drop,
                    duplicate: *duplicate,
                    reorder: *reorder,
                    delay_ms: *delay_ms,
                };
                let until = end(*for_seconds)?;
                self.check_link(*from, *to)?;
                let ways = [Some((*from, *to)), both.then_some((*to, *from))];
                let mut active = self.lock().clone();
                for way in ways.into_iter().flatten() {
                    match fault == LinkFault::default() {
                        true => active.links.remove(&way),
                        false => active.links.insert(way, Active { what: fault, until }),
                    };
                }
                self.enforce(active)?;
            }
            Action::Isolate { node, for_seconds } => {
                let until = end(*for_seconds)?;
                self.check_node(*node)?;
                let mut active = self.lock().clone();
                active.isolated.insert(*node, Active { what: (), until });
                self.enforce(active)?;
            }
            Action::Rejoin { node } => {
                self.check_node(*node)?;
                let mut active = self.lock().clone();
                active.isolated.remove(node);
                self.enforce(active)?;
            }
            Action::Pause { node, for_seconds } => {
                let until = end(*for_seconds)?;
                let pause = self.embedded(*node)?.pause(NodeId::new(*node)).await;
                pauses.insert(*node, pause.ok_or(ChaosError::Down(*node))?);
                self.halt(*node, Halted::Paused, until);
            }
            Action::Kill { node, for_seconds } => {
                let until = end(*for_seconds)?;
                self.embedded(*node)?.kill(NodeId::new(*node)).await;
                pauses.remove(node);
                self.halt(*node, Halted::Killed, until);
            }
            Action::Resume { node } | Action::Start { node } => {
                self.revive(*node, &mut pauses).await?;
            }
            Action::Heal {} => {
                let halted = self.lock().halted.clone();
                self.enforce(ActiveFaults {
                    halted: halted.clone(),
                    ..ActiveFaults::default()
                })?;
                for node in halted.into_keys() {
                    self.revive(node, &mut pauses).await?;
                }
            }
        }
        self.until.notify_one();
        self.changed.notify_waiters();
        Ok(())
    }

    fn halt(&self, node: u64, how: Halted, until: Option<Instant>) {
        let halted = Active { what: how, until };
        self.lock().halted.insert(node, halted);
    }

    /// Resumes a paused server, or restarts a killed server.
    async fn revive(&self, node: u64, pauses: &mut BTreeMap<u64, Pause>) -> Result<(), ChaosError> {
        let embedded = self.embedded(node)?;
        pauses.remove(&node);
        let again = embedded.start_again(NodeId::new(node)).await;
        again.map_err(|error| ChaosError::Start(format!("{error:#}")))?;
        self.lock().halted.remove(&node);
        Ok(())
    }

    fn embedded(&self, node: u64) -> Result<&Embedded, ChaosError> {
        if !self.servers.contains(&node) {
            return Err(ChaosError::NoSuchNode(node));
        }
        self.embedded.as_ref().ok_or(ChaosError::Elsewhere)
    }

    fn check_node(&self, node: u64) -> Result<(), ChaosError> {
        match self.servers.contains(&node) {
            true => Ok(()),
            false => Err(ChaosError::NoSuchNode(node)),
        }
    }

    fn check_link(&self, from: End, to: End) -> Result<(), ChaosError> {
        for end in [from, to] {
            if let End::Node(id) = end {
                self.check_node(id)?;
            }
        }
        match (from, to) {
            (End::Node(a), End::Node(b)) if a != b => match self.embedded {
                Some(_) => Ok(()),
                None => Err(ChaosError::Elsewhere),
            },
            (End::Node(_), PROXY) | (PROXY, End::Node(_)) | (CLIENTS, PROXY) | (PROXY, CLIENTS) => {
                Ok(())
            }
            _ => Err(ChaosError::NoSuchLink(from, to)),
        }
    }

    /// Puts the plans for a set of active faults in force.
    fn enforce(&self, active: ActiveFaults) -> Result<(), ChaosError> {
        let (servers, proxy) = (active.plan_of_servers(), self.plan_of_proxy(&active));
        let before = self.among_servers.plan();
        self.among_servers
            .set(servers)
            .map_err(ChaosError::LinkFault)?;
        if let Err(error) = self.at_proxy.set(proxy) {
            // Restore the previous plan.
            let _ = self.among_servers.set(before);
            return Err(ChaosError::LinkFault(error));
        }
        *self.lock() = active;
        Ok(())
    }

    fn plan_of_proxy(&self, active: &ActiveFaults) -> Plan {
        let mut rules = active.isolations();
        let me = Some(Address::Proxy(self.proxy));
        let mut of_clients = Vec::new();
        for ((from, to), fault) in &active.links {
            let rule = fault.what.rule();
            match (*from, *to) {
                (End::Node(id), PROXY) => rules.push(Rule {
                    from: node(id),
                    to: me,
                    side: Side::Receive,
                    ..rule
                }),
                (PROXY, End::Node(id)) => rules.push(Rule {
                    from: me,
                    to: node(id),
                    ..rule
                }),
                // Each client has its own id and may call the proxy by any id. So clients are all
                // peers that no earlier rule matches. A cut rule would affect both directions.
                (CLIENTS, PROXY) => of_clients.push(Rule {
                    side: Side::Receive,
                    ..lossy(rule)
                }),
                (PROXY, CLIENTS) => of_clients.push(lossy(rule)),
                _ => {}
            }
        }
        for id in &self.servers {
            let unharmed = |from, to, side| Rule {
                from,
                to,
                side,
                ..Rule::default()
            };
            rules.push(unharmed(node(*id), None, Side::Receive));
            rules.push(unharmed(None, node(*id), Side::Send));
        }
        rules.extend(of_clients);
        Plan { seed: 0, rules }
    }

    fn next_end(&self) -> Option<Instant> {
        let active = self.lock();
        let links = active.links.values().filter_map(|each| each.until);
        let isolated = active.isolated.values().filter_map(|each| each.until);
        let halted = active.halted.values().filter_map(|each| each.until);
        links.chain(isolated).chain(halted).min()
    }

    /// Ends expired faults.
    async fn end_what_is_over(&self) {
        let now = Instant::now();
        let over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        let mut undo = Vec::new();
        {
            let active = self.lock();
            for ((from, to), fault) in &active.links {
                if over(fault.until) {
                    undo.push(Action::Link {
                        from: *from,
                        to: *to,
                        both: false,
                        cut: false,
                        drop: 0.0,
                        duplicate: 0.0,
                        reorder: 0.0,
                        delay_ms: None,
                        for_seconds: None,
                    });
                }
            }
            for (node, cut) in &active.isolated {
                if over(cut.until) {
                    undo.push(Action::Rejoin { node: *node });
                }
            }
            for (node, halted) in &active.halted {
                if over(halted.until) {
                    undo.push(match halted.what {
                        Halted::Paused => Action::Resume { node: *node },
                        Halted::Killed => Action::Start { node: *node },
                    });
                }
            }
        }
        for action in undo {
            let told = serde_json::to_value(&action).unwrap_or_default();
            match self.act(&action).await {
                Ok(()) => self.tell(told, true),
                Err(error) => {
                    tracing::error!(action = %told, %error, "a fault could not be ended");
                    self.give_up(&action);
                }
            }
        }
    }

    /// Cancels the automatic end of a fault that could not be ended. An operator must look at it.
    fn give_up(&self, action: &Action) {
        if let Action::Start { node } | Action::Resume { node } = action
            && let Some(halted) = self.lock().halted.get_mut(node)
        {
            halted.until = None;
        }
    }

    fn tell(&self, action: Value, by_itself: bool) {
        let mut about = Map::new();
        about.insert("action".to_owned(), action);
        about.insert("by_itself".to_owned(), by_itself.into());
        self.event_log.tell("chaos", about);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ActiveFaults> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActiveFaults {
    /// The rules of isolated servers. They precede all other rules.
    fn isolations(&self) -> Vec<Rule> {
        let alone = self.isolated.keys();
        let alone = alone.map(|id| Rule::isolate(Address::Node(NodeId::new(*id))));
        alone.flatten().collect()
    }

    fn plan_of_servers(&self) -> Plan {
        let mut rules = self.isolations();
        for ((from, to), fault) in &self.links {
            if let (End::Node(from), End::Node(to)) = (from, to) {
                rules.push(Rule {
                    from: node(*from),
                    to: node(*to),
                    ..fault.what.rule()
                });
            }
        }
        Plan { seed: 0, rules }
    }
}

impl LinkFault {
    fn rule(self) -> Rule {
        Rule {
            cut: self.cut,
            drop: self.drop,
            duplicate: self.duplicate,
            reorder: self.reorder,
            delay: self
                .delay_ms
                .map(|[min_ms, max_ms]| Delay { min_ms, max_ms }),
            ..Rule::default()
        }
    }
}

/// Converts a cut, which affects both directions, to a loss of 100 % in one direction.
fn lossy(mut rule: Rule) -> Rule {
    if std::mem::take(&mut rule.cut) {
        rule.drop = 1.0;
    }
    rule
}

fn node(id: u64) -> Option<Address> {
    Some(Address::Node(NodeId::new(id)))
}

/// The time at which a fault with this duration ends.
fn end(seconds: Option<f64>) -> Result<Option<Instant>, ChaosError> {
    match seconds {
        None => Ok(None),
        Some(seconds) if seconds > 0.0 && seconds <= LONGEST => {
            Ok(Some(Instant::now() + Duration::from_secs_f64(seconds)))
        }
        Some(_) => Err(ChaosError::Time),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy for three external servers.
    fn chaos() -> Arc<Chaos> {
        let servers = (1..=3).map(NodeId::new);
        let event_log = Arc::new(EventLog::new());
        Arc::new(Chaos::new(
            None,
            servers,
            ProxyId::new(7),
            Default::default(),
            event_log,
        ))
    }

    fn action(text: &str) -> Action {
        serde_json::from_str(text).unwrap()
    }

    #[tokio::test]
    async fn link_is_harmed_in_the_direction_given_and_mended() {
        let chaos = chaos();
        let cut = action(r#"{"do": "link", "from": 1, "to": "proxy", "cut": true}"#);
        chaos.carry_out(cut).await.unwrap();
        let slow = r#"{"do":"link","from":"clients","to":"proxy","both":true,"cut":true}"#;
        chaos.carry_out(action(slow)).await.unwrap();
        let rules = chaos.at_proxy.plan().rules;
        let me = Some(Address::Proxy(ProxyId::new(7)));
        assert_eq!(
            (rules[0].from, rules[0].to, rules[0].cut),
            (node(1), me, true)
        );
        // The last two rules match the clients: all peers that the earlier rules do not match.
        let [.., to, from] = &rules[..] else {
            panic!("{rules:?}");
        };
        assert_eq!((to.from, to.to, to.side), (None, None, Side::Send));
        assert_eq!(
            (from.side, from.drop, from.cut),
            (Side::Receive, 1.0, false)
        );
        assert_eq!(rules.len(), 1 + 6 + 2);
        assert_eq!(chaos.status()["links"].as_array().unwrap().len(), 3);
        let mend = action(r#"{"do": "link", "from": 1, "to": "proxy"}"#);
        chaos.carry_out(mend).await.unwrap();
        assert_eq!(chaos.status()["links"].as_array().unwrap().len(), 2);
        chaos.carry_out(Action::Heal {}).await.unwrap();
        assert_eq!(chaos.status()["links"], json!([]));
    }

    #[tokio::test]
    async fn impossible_actions_are_refused_and_change_nothing() {
        let chaos = chaos();
        for (text, why) in [
            (r#"{"do":"isolate","node":4}"#, "there is no server 4"),
            (r#"{"do":"kill","node":1}"#, "--embedded"),
            (r#"{"do":"pause","node":1}"#, "--embedded"),
            (r#"{"do":"link","from":1,"to":2,"cut":true}"#, "--embedded"),
            (r#"{"do":"link","from":1,"to":1,"cut":true}"#, "no link"),
            (r#"{"do":"link","from":1,"to":"clients"}"#, "no link"),
            (
                r#"{"do":"link","from":1,"to":"proxy","drop":2}"#,
                "drop is a",
            ),
            (
                r#"{"do":"isolate","node":1,"for_seconds":0}"#,
                "for_seconds",
            ),
        ] {
            let error = chaos.carry_out(action(text)).await.unwrap_err();
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
        assert_eq!(chaos.status()["links"], json!([]));
        assert_eq!(chaos.status()["isolated"], json!([]));
        for text in [
            r#"{"do":"dance"}"#,
            r#"{"do":"heal","node":1}"#,
            r#"{"do":"rejoin","node":1,"for_seconds":3}"#,
            r#"{"do":"link","from":1,"to":"proxy","cutt":true}"#,
            r#"{"do":"link","from":1,"to":"proxy","delay":[1,2]}"#,
            r#"{"do":"kill"}"#,
            r#"{"do":"link","from":"moon","to":1}"#,
        ] {
            assert!(serde_json::from_str::<Action>(text).is_err(), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn fault_ends_when_its_time_is_over() {
        let chaos = chaos();
        let closing = CancellationToken::new();
        let run = tokio::spawn(Arc::clone(&chaos).run(closing.clone()));
        let isolate = r#"{"do":"isolate","node":1,"for_seconds":30}"#;
        chaos.carry_out(action(isolate)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert_eq!(
            chaos.status()["isolated"],
            json!([{"node": 1, "seconds_left": 1.0}])
        );
        let changed = chaos.changed.notified();
        tokio::time::timeout(Duration::from_secs(2), changed)
            .await
            .unwrap();
        assert_eq!(chaos.status()["isolated"], json!([]));
        let told = chaos.event_log.after(&mut Default::default()).events;
        let last = told.last().unwrap();
        assert_eq!(
            (&last.what[..], &last.about["by_itself"]),
            ("chaos", &json!(true))
        );
        closing.cancel();
        run.await.unwrap();
    }
}
