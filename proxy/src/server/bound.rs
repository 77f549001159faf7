//! Stage 2: binds the sockets, before anything runs.

use super::FaultPlans;
use crate::{
    settings::{ListenAddress, Settings},
    wire,
};
use anyhow::Context;
use std::{io, net::SocketAddr};
use tokio::net::TcpListener;
use transport::{Endpoint, Inbox, Keys};

/// The sockets of a proxy.
pub(super) struct Bound {
    pub(super) udp: SocketAddr,
    pub(super) endpoint: (Endpoint, Inbox),
    pub(super) http: Listener,
    pub(super) redis: Listener,
}

/// The TCP listener of a frontend with its address, or `None` if the frontend is off.
pub(super) struct Listener(pub(super) Option<(TcpListener, SocketAddr)>);

impl Bound {
    pub(super) async fn bind(
        settings: &Settings,
        keys: &Keys,
        faults: Option<&FaultPlans>,
    ) -> anyhow::Result<Self> {
        let http = Listener::bind(settings.http, "HTTP", "--http").await?;
        let redis = Listener::bind(settings.redis, "the Redis protocol", "--redis").await?;
        let mut config = wire::config(settings, keys.clone());
        config.faults = faults.map(|faults| faults.proxy.clone());
        let endpoint = Endpoint::bind(config)
            .await
            .map_err(|error| in_use(error, settings.listen, "clients over UDP", "--listen"))?;
        Ok(Self {
            udp: endpoint.0.local_addr()?,
            endpoint,
            http,
            redis,
        })
    }
}

impl Listener {
    async fn bind(frontend: ListenAddress, purpose: &str, option: &str) -> anyhow::Result<Self> {
        let Some(address) = frontend.address() else {
            return Ok(Self(None));
        };
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| in_use(error, address, purpose, option))?;
        let address = listener
            .local_addr()
            .context("cannot read the address of a listening socket")?;
        Ok(Self(Some((listener, address))))
    }

    /// The actual address, which has a port even if the settings leave the choice to the system.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.0.as_ref().map(|(_, address)| *address)
    }
}

fn in_use(error: io::Error, address: SocketAddr, purpose: &str, option: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "cannot listen for {purpose} on {address}: {error}. Choose another address with {option}"
    )
}
