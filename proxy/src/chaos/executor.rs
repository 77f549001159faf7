//! Applies actions to the fault plans of the transport and to the embedded servers, and ends expired
//! faults.

use super::{
    active::{ActiveFaults, Halted},
    api::{Action, ChaosError, LinkFault, Targets},
    plan::{proxy_plan, server_plan},
};
use crate::{embedded::Embedded, event_log::EventLog};
use model::{NodeId, ProxyId};
use node::Pause;
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use transport::Faults;

/// Injects faults. See the module documentation of [`chaos`](super).
pub struct Chaos {
    embedded: Option<Embedded>,
    targets: Targets,
    /// The plan that the embedded servers share.
    server_faults: Faults,
    /// The plan of the proxy's socket.
    proxy_faults: Faults,
    event_log: Arc<EventLog>,
    /// The paused servers. The lock also serializes actions.
    pauses: AsyncMutex<BTreeMap<u64, Pause>>,
    active: Mutex<ActiveFaults>,
    /// Notified when a fault was added or ended.
    pub(crate) changed: Notify,
    /// Notified at the same time, for the task that ends expired faults.
    expiry_changed: Notify,
}

impl Chaos {
    /// Creates the service without any fault. The two plans are the handles with which the embedded
    /// servers and the proxy's socket were started.
    pub(crate) fn new(
        embedded: Option<Embedded>,
        servers: impl Iterator<Item = NodeId>,
        proxy: ProxyId,
        [server_faults, proxy_faults]: [Faults; 2],
        event_log: Arc<EventLog>,
    ) -> Self {
        Self {
            targets: Targets::new(servers, proxy, embedded.is_some()),
            embedded,
            server_faults,
            proxy_faults,
            event_log,
            pauses: AsyncMutex::default(),
            active: Mutex::default(),
            changed: Notify::new(),
            expiry_changed: Notify::new(),
        }
    }

    /// Executes an action.
    ///
    /// # Errors
    /// See [`ChaosError`]; a rejected action changes nothing.
    pub async fn execute(&self, action: Action) -> Result<(), ChaosError> {
        self.apply(&action).await?;
        let action = serde_json::to_value(&action).unwrap_or_default();
        tracing::warn!(%action, "fault injection");
        self.record(action, false);
        Ok(())
    }

    /// Ends expired faults until `closing` is cancelled. Then resumes paused servers, so that they can
    /// stop too.
    pub(crate) async fn run(self: Arc<Self>, closing: CancellationToken) {
        let forever = async {
            loop {
                // Register before the check, so that no notification is lost.
                let changed = self.expiry_changed.notified();
                let expiry = self.active().next_expiry();
                tokio::select! {
                    () = changed => {}
                    () = sleep_until(expiry) => self.end_expired().await,
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
        self.active()
            .to_json(Instant::now(), self.embedded.is_some())
    }

    async fn apply(&self, action: &Action) -> Result<(), ChaosError> {
        let mut pauses = self.pauses.lock().await;
        let duration = action.check(&self.targets)?;
        let until = duration.map(|duration| Instant::now() + duration);
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
                for_seconds: _,
            } => {
                let fault = LinkFault {
                    cut: *cut,
                    drop: *drop,
                    duplicate: *duplicate,
                    reorder: *reorder,
                    delay_ms: *delay_ms,
                };
                let mut active = self.active().clone();
                active.set_link(*from, *to, fault, until);
                if *both {
                    active.set_link(*to, *from, fault, until);
                }
                self.enforce(active)?;
            }
            Action::Isolate { node, .. } => {
                let mut active = self.active().clone();
                active.isolate(*node, until);
                self.enforce(active)?;
            }
            Action::Rejoin { node } => {
                let mut active = self.active().clone();
                active.isolated.remove(node);
                self.enforce(active)?;
            }
            Action::Pause { node, .. } => {
                let pause = self.embedded()?.pause(NodeId::new(*node)).await;
                pauses.insert(*node, pause.ok_or(ChaosError::Down(*node))?);
                self.active().halt(*node, Halted::Paused, until);
            }
            Action::Kill { node, .. } => {
                self.embedded()?.kill(NodeId::new(*node)).await;
                pauses.remove(node);
                self.active().halt(*node, Halted::Killed, until);
            }
            Action::Resume { node } | Action::Start { node } => {
                self.revive(*node, &mut pauses).await?;
            }
            Action::Heal {} => {
                let halts = self.active().halts_only();
                self.enforce(halts.clone())?;
                for node in halts.halted.into_keys() {
                    self.revive(node, &mut pauses).await?;
                }
            }
        }
        self.expiry_changed.notify_one();
        self.changed.notify_waiters();
        Ok(())
    }

    /// Resumes a paused server, or restarts a killed server.
    async fn revive(&self, node: u64, pauses: &mut BTreeMap<u64, Pause>) -> Result<(), ChaosError> {
        let embedded = self.embedded()?;
        pauses.remove(&node);
        let started = embedded.start_again(NodeId::new(node)).await;
        started.map_err(|error| ChaosError::Start(format!("{error:#}")))?;
        self.active().halted.remove(&node);
        Ok(())
    }

    fn embedded(&self) -> Result<&Embedded, ChaosError> {
        self.embedded.as_ref().ok_or(ChaosError::Elsewhere)
    }

    /// Puts the plans for a set of active faults in force. Changes nothing if a plan is rejected.
    fn enforce(&self, active: ActiveFaults) -> Result<(), ChaosError> {
        let before = self.server_faults.plan();
        self.server_faults
            .set(server_plan(&active))
            .map_err(ChaosError::LinkFault)?;
        if let Err(error) = self.proxy_faults.set(proxy_plan(&active, &self.targets)) {
            // The previous plan was accepted once, so this cannot fail.
            let _ = self.server_faults.set(before);
            return Err(ChaosError::LinkFault(error));
        }
        *self.active() = active;
        Ok(())
    }

    /// Ends expired faults.
    async fn end_expired(&self) {
        let ends = self.active().ends_of_expired(Instant::now());
        for action in ends {
            let json = serde_json::to_value(&action).unwrap_or_default();
            match self.apply(&action).await {
                Ok(()) => self.record(json, true),
                Err(error) => {
                    tracing::error!(action = %json, %error, "cannot end an expired fault; it stays until an operator ends it");
                    self.cancel_expiry(&action);
                }
            }
        }
    }

    /// Cancels the automatic end of a fault that could not be ended, because another attempt would
    /// fail in the same way.
    fn cancel_expiry(&self, action: &Action) {
        if let Action::Start { node } | Action::Resume { node } = action
            && let Some(halted) = self.active().halted.get_mut(node)
        {
            halted.until = None;
        }
    }

    fn record(&self, action: Value, has_expired: bool) {
        let mut about = Map::new();
        about.insert("action".to_owned(), action);
        about.insert("by_itself".to_owned(), has_expired.into());
        self.event_log.record("chaos", about);
    }

    fn active(&self) -> MutexGuard<'_, ActiveFaults> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
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
    use serde_json::json;
    use std::time::Duration;
    use transport::Environment;

    /// A proxy for three external servers.
    fn chaos() -> Arc<Chaos> {
        let servers = (1..=3).map(NodeId::new);
        let event_log = Arc::new(EventLog::new(Environment::system().clock, 1));
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
    async fn link_fault_is_added_and_ended() {
        let chaos = chaos();
        let cut = action(r#"{"do": "link", "from": 1, "to": "proxy", "cut": true}"#);
        chaos.execute(cut).await.unwrap();
        let both = r#"{"do":"link","from":"clients","to":"proxy","both":true,"cut":true}"#;
        chaos.execute(action(both)).await.unwrap();
        assert_eq!(chaos.proxy_faults.plan().rules.len(), 1 + 6 + 2);
        assert_eq!(chaos.status()["links"].as_array().unwrap().len(), 3);
        let restore = action(r#"{"do": "link", "from": 1, "to": "proxy"}"#);
        chaos.execute(restore).await.unwrap();
        assert_eq!(chaos.status()["links"].as_array().unwrap().len(), 2);
        chaos.execute(Action::Heal {}).await.unwrap();
        assert_eq!(chaos.status()["links"], json!([]));
    }

    #[tokio::test]
    async fn impossible_action_is_refused_and_changes_nothing() {
        let chaos = chaos();
        for (text, problem) in [
            (r#"{"do":"isolate","node":4}"#, "there is no server 4"),
            (r#"{"do":"kill","node":1}"#, "--embedded"),
            (r#"{"do":"pause","node":1}"#, "--embedded"),
            (r#"{"do":"link","from":1,"to":2,"cut":true}"#, "--embedded"),
            (r#"{"do":"link","from":1,"to":1,"cut":true}"#, "no link"),
            (r#"{"do":"link","from":1,"to":"clients"}"#, "no link"),
            (
                r#"{"do":"link","from":1,"to":"proxy","drop":2}"#,
                "drop must be a probability",
            ),
            (
                r#"{"do":"isolate","node":1,"for_seconds":0}"#,
                "for_seconds",
            ),
        ] {
            let error = chaos.execute(action(text)).await.unwrap_err();
            assert!(error.to_string().contains(problem), "{text}: {error}");
        }
        assert_eq!(chaos.status()["links"], json!([]));
        assert_eq!(chaos.status()["isolated"], json!([]));
    }

    #[tokio::test(start_paused = true)]
    async fn fault_ends_after_its_duration() {
        let chaos = chaos();
        let closing = CancellationToken::new();
        let run = tokio::spawn(Arc::clone(&chaos).run(closing.clone()));
        let isolate = r#"{"do":"isolate","node":1,"for_seconds":30}"#;
        chaos.execute(action(isolate)).await.unwrap();
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
        let unread = chaos.event_log.after(&mut Default::default()).events;
        let last = unread.last().unwrap();
        assert_eq!(
            (&last.what[..], &last.about["by_itself"]),
            ("chaos", &json!(true))
        );
        closing.cancel();
        run.await.unwrap();
    }
}
