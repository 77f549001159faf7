//! A whole cluster in this process, to try things out: real servers, real datagrams over loopback,
//! real logs on disk. Only the machine is one.
//!
//! A server that was killed keeps its address and its directory, and can be started again.

use crate::overview::Source;
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

/// The servers of this process. Cheap to clone.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    /// How each is started, with the address it got.
    configs: BTreeMap<NodeId, node::Config>,
    nodes: Mutex<BTreeMap<NodeId, Node>>,
    /// Told when another server runs under a name.
    changed: Notify,
}

impl Embedded {
    /// Starts `count` servers that know each other, with their logs in `data_dir/node-1` and so on.
    ///
    /// # Errors
    /// If a directory cannot be used, most often because another process uses it.
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
            let node = begin(config.clone()).await?;
            config.listen = node.local_addr();
            nodes.insert(*id, node);
            configs.insert(*id, config);
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

    /// Tells a server where the others are. They know, or learn it when it speaks.
    async fn introduce(&self, id: NodeId) {
        let Some(node) = self.node(id) else { return };
        for (other, config) in &self.inner.configs {
            if *other != id {
                node.set_peer(*other, config.listen).await;
            }
        }
    }

    /// Where they listen.
    pub fn places(&self) -> BTreeMap<NodeId, String> {
        let places = self.inner.configs.iter();
        places
            .map(|(id, config)| (*id, config.listen.to_string()))
            .collect()
    }

    /// Where their state is found.
    pub fn sources(&self) -> BTreeMap<NodeId, Source> {
        let sources = self.inner.configs.keys().map(|id| {
            let (embedded, id) = (self.clone(), *id);
            let ask = move |glance| {
                let node = embedded.node(id);
                async move {
                    let status = match node {
                        Some(node) => node.look(glance).await,
                        None => None,
                    };
                    match status {
                        Some(status) => serde_json::to_value(status).map_err(|e| e.to_string()),
                        None => Err("the server has stopped".to_owned()),
                    }
                }
                .boxed()
            };
            (id, Source::Here(Box::new(ask)))
        });
        sources.collect()
    }

    /// Stops one of them, as an operator would. For tests.
    pub async fn stop_one(&self, id: NodeId) {
        if let Some(node) = self.node(id) {
            let _ = node.stop().await;
        }
    }

    /// Pauses one, as SIGSTOP would, until what is returned is dropped; `None` if it does not run.
    pub(crate) async fn pause(&self, id: NodeId) -> Option<Pause> {
        self.node(id)?.pause().await
    }

    /// Kills one, as SIGKILL would.
    pub(crate) async fn kill(&self, id: NodeId) {
        if let Some(node) = self.node(id) {
            let _ = node.kill().await;
        }
    }

    /// Starts one again that was stopped or killed. Does nothing if it runs.
    ///
    /// # Errors
    /// As [`Self::start`].
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

    /// Waits until one stops that nobody told to.
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

    /// Stops all of them.
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
            "cannot start server {id} with its log in {} (--data-dir says where)",
            directory.display()
        )
    })
}
