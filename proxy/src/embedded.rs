//! An embedded cluster for experiments on one machine: real servers, real datagrams over loopback,
//! real logs on disk, all in this process.
//!
//! A killed server keeps its address and its data directory, and can be restarted.

use crate::{node_problem::NodeProblem, status_source::Source};
use anyhow::Context;
use futures_util::{
    FutureExt,
    future::{join_all, select_all},
};
use model::NodeId;
use node::{Node, Pause};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;
use transport::{Faults, Keys};

/// The embedded servers. Cheap to clone.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    /// The configuration of each server, with its actual address.
    configs: BTreeMap<NodeId, node::Config>,
    nodes: Mutex<BTreeMap<NodeId, Node>>,
    /// Notified when a server was replaced by a new instance.
    changed: Notify,
}

impl Embedded {
    /// Starts `count` servers that know each other's addresses. Their logs are in `data_dir/node-1`
    /// and so on.
    ///
    /// # Errors
    /// If a directory cannot be used, most often because another process uses it. The servers that have
    /// started are stopped then.
    pub(crate) async fn start(
        count: u64,
        cluster: &str,
        data_dir: &Path,
        keys: &Keys,
        max_datagram: usize,
        faults: Option<Faults>,
        state_quota: u64,
    ) -> anyhow::Result<Self> {
        let voters: Vec<_> = (1..=count).map(NodeId::new).collect();
        let mut configs = BTreeMap::new();
        let mut nodes = BTreeMap::new();
        for id in &voters {
            let directory = data_dir.join(format!("node-{id}"));
            let mut config = node::Config::new(*id, cluster, &directory);
            config.voters = voters.iter().copied().collect();
            config.keys = keys.clone();
            config.max_datagram = max_datagram;
            config.faults.clone_from(&faults);
            config.state_quota = state_quota;
            config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            match begin(config.clone()).await {
                Ok(node) => {
                    config.listen = node.local_addr();
                    nodes.insert(*id, node);
                    configs.insert(*id, config);
                }
                Err(error) => {
                    // A dropped server stops asynchronously, and would keep its directory locked
                    // beyond the return of the error.
                    for node in nodes.into_values().rev() {
                        let _ = node.stop().await;
                    }
                    return Err(error);
                }
            }
        }
        let embedded = Self {
            inner: Arc::new(Inner {
                configs,
                nodes: Mutex::new(nodes),
                changed: Notify::new(),
            }),
        };
        for id in &voters {
            embedded.introduce(*id).await;
        }
        Ok(embedded)
    }

    /// Configures the addresses of all other servers at one server. The other servers already know its
    /// address, or learn it from its first datagram.
    async fn introduce(&self, id: NodeId) {
        let Some(node) = self.node(id) else { return };
        for (other, config) in &self.inner.configs {
            if *other != id {
                node.set_peer(*other, config.listen).await;
            }
        }
    }

    /// The addresses of the servers.
    pub fn addresses(&self) -> BTreeMap<NodeId, String> {
        let configs = self.inner.configs.iter();
        configs
            .map(|(id, config)| (*id, config.listen.to_string()))
            .collect()
    }

    /// The status sources of the servers.
    pub fn sources(&self) -> BTreeMap<NodeId, Source> {
        let sources = self.inner.configs.keys().map(|id| {
            let (embedded, id) = (self.clone(), *id);
            let ask = move |query| {
                let node = embedded.node(id);
                async move {
                    let status = match node {
                        Some(node) => node.query_status(query).await,
                        None => None,
                    };
                    match status {
                        Some(status) => {
                            Ok(serde_json::to_value(status).expect("a status has a form in JSON"))
                        }
                        None => Err(NodeProblem::Stopped),
                    }
                }
                .boxed()
            };
            (id, Source::Here(Box::new(ask)))
        });
        sources.collect()
    }

    /// Stops one server in an orderly way. For tests.
    pub async fn stop_one(&self, id: NodeId) {
        if let Some(node) = self.node(id) {
            let _ = node.stop().await;
        }
    }

    /// Pauses one server, like SIGSTOP, until the returned guard is dropped. Returns `None` if it is
    /// not running.
    pub(crate) async fn pause(&self, id: NodeId) -> Option<Pause> {
        self.node(id)?.pause().await
    }

    /// Kills one server, like SIGKILL.
    pub(crate) async fn kill(&self, id: NodeId) {
        if let Some(node) = self.node(id) {
            let _ = node.kill().await;
        }
    }

    /// Restarts one stopped or killed server. Does nothing if it is running.
    ///
    /// # Errors
    /// See [`Self::start`].
    pub(crate) async fn start_again(&self, id: NodeId) -> anyhow::Result<()> {
        let Some(config) = self.inner.configs.get(&id) else {
            return Ok(());
        };
        if self.node(id).is_some_and(|node| !node.has_ended()) {
            return Ok(());
        }
        let node = begin(config.clone()).await?;
        self.lock().insert(id, node);
        self.inner.changed.notify_waiters();
        self.introduce(id).await;
        Ok(())
    }

    /// Waits until one server stops without a request to stop.
    pub async fn failed(&self) -> anyhow::Error {
        loop {
            let changed = self.inner.changed.notified();
            let nodes = self.lock().clone();
            let ends = nodes.into_iter().map(|(id, node)| {
                async move {
                    match node.ended().await {
                        Ok(()) => std::future::pending().await,
                        Err(failure) => anyhow::Error::new(failure).context(format!("server {id}")),
                    }
                }
                .boxed()
            });
            tokio::select! {
                (failure, ..) = select_all(ends) => return failure,
                () = changed => {}
            }
        }
    }

    /// Stops all servers.
    pub async fn stop(&self) {
        let nodes = self.lock().clone();
        join_all(nodes.values().map(Node::stop)).await;
    }

    fn node(&self, id: NodeId) -> Option<Node> {
        self.lock().get(&id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Node>> {
        let nodes = &self.inner.nodes;
        nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn begin(config: node::Config) -> anyhow::Result<Node> {
    let (id, directory) = (config.id, config.data_dir.clone());
    Node::start(config).await.with_context(|| {
        format!(
            "cannot start server {id} with its log in {} (--data-dir sets the directory)",
            directory.display()
        )
    })
}
