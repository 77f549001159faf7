//! Stage 3: the servers of the cluster, in this process or in others.

use super::FaultPlans;
use crate::{
    embedded::Embedded,
    settings::{Settings, addresses_by_server},
    status_source::Source,
};
use model::NodeId;
use std::collections::BTreeMap;
use transport::Keys;

/// The servers of the cluster.
pub(super) struct Cluster {
    /// The servers in this process, if configured.
    pub(super) embedded: Option<Embedded>,
    /// The address of each server, `HOST:PORT`.
    pub(super) addresses: BTreeMap<NodeId, String>,
    /// The status source of each server.
    pub(super) sources: BTreeMap<NodeId, Source>,
}

impl Cluster {
    /// Starts the embedded servers, or takes the addresses of the servers from the settings.
    pub(super) async fn start(
        settings: &Settings,
        keys: &Keys,
        faults: Option<&FaultPlans>,
    ) -> anyhow::Result<Self> {
        let Some(count) = settings.embedded else {
            return Self::remote(settings);
        };
        let embedded = Embedded::start(
            count,
            &settings.cluster,
            &settings.data_dir,
            keys,
            settings.max_datagram,
            faults.map(|faults| faults.servers.clone()),
            settings.state_quota,
        )
        .await?;
        Ok(Self {
            addresses: embedded.addresses(),
            sources: embedded.sources(),
            embedded: Some(embedded),
        })
    }

    fn remote(settings: &Settings) -> anyhow::Result<Self> {
        let addresses = addresses_by_server(&settings.peers, "--peer")?;
        let mut http = addresses_by_server(&settings.node_http, "--node-http")?;
        let sources = addresses.keys().map(|id| {
            let source = http.remove(id).map_or(Source::Nowhere, Source::Http);
            (*id, source)
        });
        Ok(Self {
            embedded: None,
            sources: sources.collect(),
            addresses,
        })
    }
}
