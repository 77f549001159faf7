//! A whole cluster in this process, to try things out: real servers, real datagrams over loopback,
//! real logs on disk. Only the machine is one.

use crate::overview::Source;
use anyhow::Context;
use futures_util::{FutureExt, future::join_all};
use model::NodeId;
use node::Node;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};
use transport::Keys;

/// The servers of this process.
pub struct Embedded {
    nodes: BTreeMap<NodeId, Node>,
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
    ) -> anyhow::Result<Self> {
        let voters: Vec<_> = (1..=count).map(NodeId::new).collect();
        let mut nodes = BTreeMap::new();
        for id in &voters {
            let directory = data_dir.join(format!("node-{id}"));
            let mut config = node::Config::new(*id, cluster, &directory);
            config.voters = voters.iter().copied().collect();
            config.keys = keys.clone();
            config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let node = Node::start(config).await.with_context(|| {
                format!(
                    "cannot start server {id} with its log in {} (--data-dir says where)",
                    directory.display()
                )
            })?;
            nodes.insert(*id, node);
        }
        for (id, node) in &nodes {
            for (other, at) in &nodes {
                if other != id {
                    node.set_peer(*other, at.local_addr()).await;
                }
            }
        }
        Ok(Self { nodes })
    }

    /// Where they listen.
    pub fn places(&self) -> BTreeMap<NodeId, String> {
        let places = self.nodes.iter();
        places
            .map(|(id, node)| (*id, node.local_addr().to_string()))
            .collect()
    }

    /// Where their state is found.
    pub fn sources(&self) -> BTreeMap<NodeId, Source> {
        let sources = self.nodes.iter().map(|(id, node)| {
            let node = node.clone();
            let ask = move || {
                let node = node.clone();
                async move {
                    match node.status().await {
                        Some(status) => serde_json::to_value(status).map_err(|e| e.to_string()),
                        None => Err("the server has stopped".to_owned()),
                    }
                }
                .boxed()
            };
            (*id, Source::Here(Box::new(ask)))
        });
        sources.collect()
    }

    /// Stops one of them, as a crash of its machine would. For tests.
    pub async fn stop_one(&self, id: NodeId) {
        if let Some(node) = self.nodes.get(&id) {
            let _ = node.stop().await;
        }
    }

    /// Waits until one stops that nobody told to.
    pub async fn failed(&self) -> anyhow::Error {
        let ends = self.nodes.iter().map(|(id, node)| {
            async move {
                match node.ended().await {
                    Ok(()) => std::future::pending().await,
                    Err(failure) => anyhow::Error::new(failure).context(format!("server {id}")),
                }
            }
            .boxed()
        });
        futures_util::future::select_all(ends).await.0
    }

    /// Stops all of them.
    pub async fn stop(&self) {
        join_all(self.nodes.values().map(Node::stop)).await;
    }
}
