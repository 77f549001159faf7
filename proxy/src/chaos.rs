//! What goes wrong on purpose (`--chaos`): links cut, lossy or slow, servers isolated, paused or
//! killed. For seeing what the protocol bears, never for a cluster that matters.
//!
//! Servers of this process (`--embedded`) can be struck in every way. Of servers that run
//! elsewhere, only what passes this proxy can: its own links to them, and to its clients over UDP.
//! Any fault may be given a time after which it ends by itself.
//!
//! Two plans of faults are in force, one shared by the servers of this process and one for the
//! proxy's socket; both are made anew from what is active whenever that changes.

use crate::{embedded::Embedded, history::History};
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

/// The longest time a fault may be given.
const LONGEST: f64 = 86_400.0;

/// An end of a link: `1` for server 1, `"proxy"`, or `"clients"`, those of the proxy over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum End {
    /// A server.
    Node(u64),
    /// One that has a name.
    Named(Name),
}

/// The ends of links that are no servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// This proxy.
    Proxy,
    /// Its clients over UDP.
    Clients,
}

const PROXY: End = End::Named(Name::Proxy);
const CLIENTS: End = End::Named(Name::Clients);

/// What becomes of the messages of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Harm {
    /// Nothing comes through.
    pub cut: bool,
    /// How likely a message is lost, from 0 to 1.
    pub drop: f64,
    /// How likely it comes twice.
    pub duplicate: f64,
    /// How likely others overtake it.
    pub reorder: f64,
    /// How long it is held back, in milliseconds, from and to.
    pub delay_ms: Option<[u64; 2]>,
}

/// What to do. `for_seconds` ends it by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/http.md has them one by one")]
pub enum Action {
    /// Harms a link, in the way given and no other; no harm mends it. The fields are those of [`Harm`]:
    /// a flattened struct would accept unknown fields, and a misspelled harm would mend the link.
    Link {
        from: End,
        to: End,
        /// The other direction too.
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
    /// Cuts a server off from everyone.
    Isolate {
        node: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_seconds: Option<f64>,
    },
    /// Ends that.
    Rejoin { node: u64 },
    /// As SIGSTOP.
    Pause {
        node: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_seconds: Option<f64>,
    },
    /// As SIGCONT.
    Resume { node: u64 },
    /// As SIGKILL.
    Kill {
        node: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_seconds: Option<f64>,
    },
    /// Starts a killed server again, with what its disk holds.
    Start { node: u64 },
    /// Ends everything. With braces, because unknown fields beside a unit variant are not refused.
    Heal {},
}

/// Why an action was not carried out. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// There is no such server.
    #[error("there is no server {0}")]
    NoSuchNode(u64),
    /// A link that is none.
    #[error(
        "there is no link from {0} to {1}: links go between servers, between a server and \"proxy\", and between \"proxy\" and \"clients\""
    )]
    NoSuchLink(End, End),
    /// Servers that run elsewhere.
    #[error(
        "the servers do not run in this process (--embedded): a raft-node started with --chaos takes faults at its own /chaos, and a process is paused and killed by its system"
    )]
    Elsewhere,
    /// It is down.
    #[error("server {0} does not run: start it first")]
    Down(u64),
    /// Not a time.
    #[error("for_seconds must be more than 0 and at most 86400")]
    Time,
    /// Not a probability or delay.
    #[error("{}", .0.to_string().split_once(": ").map_or_else(|| .0.to_string(), |(_, what)| what.to_owned()))]
    Harm(PlanError),
    /// A server did not start.
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

/// Something active, and until when.
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

/// What is active.
#[derive(Clone, Debug, Default)]
struct Faulty {
    links: BTreeMap<(End, End), Active<Harm>>,
    isolated: BTreeMap<u64, Active<()>>,
    halted: BTreeMap<u64, Active<Halted>>,
}

/// See the module.
pub struct Chaos {
    embedded: Option<Embedded>,
    servers: BTreeSet<u64>,
    proxy: ProxyId,
    among_servers: Faults,
    at_proxy: Faults,
    history: Arc<History>,
    /// One action at a time; and the servers that sleep.
    pauses: AsyncMutex<BTreeMap<u64, Pause>>,
    active: Mutex<Faulty>,
    /// Told when something active was added or ended.
    pub(crate) changed: Notify,
    /// The same, for the one that waits for faults to end.
    until: Notify,
}

impl Chaos {
    /// Without any fault. The two plans are those the servers of this process and the proxy's
    /// socket were started with.
    pub(crate) fn new(
        embedded: Option<Embedded>,
        servers: impl Iterator<Item = NodeId>,
        proxy: ProxyId,
        [among_servers, at_proxy]: [Faults; 2],
        history: Arc<History>,
    ) -> Self {
        Self {
            embedded,
            servers: servers.map(NodeId::get).collect(),
            proxy,
            among_servers,
            at_proxy,
            history,
            pauses: AsyncMutex::default(),
            active: Mutex::default(),
            changed: Notify::new(),
            until: Notify::new(),
        }
    }

    /// Carries out an action.
    ///
    /// # Errors
    /// See [`ChaosError`]; nothing was changed then.
    pub async fn carry_out(&self, action: Action) -> Result<(), ChaosError> {
        self.act(&action).await?;
        let told = serde_json::to_value(&action).unwrap_or_default();
        tracing::warn!(action = %told, "chaos");
        self.tell(told, false);
        Ok(())
    }

    /// Ends what has had its time, until `closing`; then lets go of servers that sleep, so that
    /// they can end too.
    pub(crate) async fn run(self: Arc<Self>, closing: CancellationToken) {
        let forever = async {
            loop {
                // Before looking, so that nothing falls between.
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

    /// What is active, as `docs/http.md` says.
    pub fn status(&self) -> Value {
        let active = self.lock();
        let now = Instant::now();
        let left = |until: Option<Instant>| {
            until.map(|until| until.saturating_duration_since(now).as_secs_f64().ceil())
        };
        let links = active.links.iter().map(|((from, to), harm)| {
            json!({ "from": from, "to": to, "harm": harm.what, "seconds_left": left(harm.until) })
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
                let harm = Harm {
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
                    match harm == Harm::default() {
                        true => active.links.remove(&way),
                        false => active.links.insert(way, Active { what: harm, until }),
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
                self.enforce(Faulty {
                    halted: halted.clone(),
                    ..Faulty::default()
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

    /// Lets a server go on, or starts it again.
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

    /// Puts plans of what shall be active in force.
    fn enforce(&self, active: Faulty) -> Result<(), ChaosError> {
        let (servers, proxy) = (active.plan_of_servers(), self.plan_of_proxy(&active));
        let before = self.among_servers.plan();
        self.among_servers.set(servers).map_err(ChaosError::Harm)?;
        if let Err(error) = self.at_proxy.set(proxy) {
            // What was in force is in force again.
            let _ = self.among_servers.set(before);
            return Err(ChaosError::Harm(error));
        }
        *self.lock() = active;
        Ok(())
    }

    fn plan_of_proxy(&self, active: &Faulty) -> Plan {
        let mut rules = active.isolations();
        let me = Some(Address::Proxy(self.proxy));
        let mut of_clients = Vec::new();
        for ((from, to), harm) in &active.links {
            let rule = harm.what.rule();
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
                // Clients have names of their own, and call the proxy by any: they are those that
                // no rule before names. A cut would strike both directions.
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

    /// Undoes what has had its time.
    async fn end_what_is_over(&self) {
        let now = Instant::now();
        let over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        let mut undo = Vec::new();
        {
            let active = self.lock();
            for ((from, to), harm) in &active.links {
                if over(harm.until) {
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

    /// Leaves what could not be ended as it is, for someone to look at.
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
        self.history.tell("chaos", about);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Faulty> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Faulty {
    /// Before all other rules.
    fn isolations(&self) -> Vec<Rule> {
        let alone = self.isolated.keys();
        let alone = alone.map(|id| Rule::isolate(Address::Node(NodeId::new(*id))));
        alone.flatten().collect()
    }

    fn plan_of_servers(&self) -> Plan {
        let mut rules = self.isolations();
        for ((from, to), harm) in &self.links {
            if let (End::Node(from), End::Node(to)) = (from, to) {
                rules.push(Rule {
                    from: node(*from),
                    to: node(*to),
                    ..harm.what.rule()
                });
            }
        }
        Plan { seed: 0, rules }
    }
}

impl Harm {
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

/// The same harm, to one direction alone.
fn lossy(mut rule: Rule) -> Rule {
    if std::mem::take(&mut rule.cut) {
        rule.drop = 1.0;
    }
    rule
}

fn node(id: u64) -> Option<Address> {
    Some(Address::Node(NodeId::new(id)))
}

/// When something ends that is given so many seconds.
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

    /// A proxy of three servers that run elsewhere.
    fn chaos() -> Arc<Chaos> {
        let servers = (1..=3).map(NodeId::new);
        let history = Arc::new(History::new());
        Arc::new(Chaos::new(
            None,
            servers,
            ProxyId::new(7),
            Default::default(),
            history,
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
        // The clients are everyone the rules before do not name.
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
        let told = chaos.history.after(&mut Default::default()).events;
        let last = told.last().unwrap();
        assert_eq!(
            (&last.what[..], &last.about["by_itself"]),
            ("chaos", &json!(true))
        );
        closing.cancel();
        run.await.unwrap();
    }
}
