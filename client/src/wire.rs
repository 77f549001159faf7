//! How the endpoint is set up: the one place that knows the transport's settings.

use crate::{ConnectError, Options};
use std::{io, net::SocketAddr};
use transport::{Endpoint, Inbox};

/// Opens a socket to ask those at `to`, of either family.
pub(crate) async fn bind(
    options: &Options,
    to: SocketAddr,
) -> Result<(Endpoint, Inbox), ConnectError> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let mut config = transport::Config::new(any, options.cluster.clone());
    config.keys = options.keys.clone();
    Endpoint::bind(config).await.map_err(ConnectError::Bind)
}

/// Looks up `HOST:PORT`.
pub(crate) async fn resolve(endpoint: &str) -> Result<SocketAddr, ConnectError> {
    let not_found = |source| ConnectError::Resolve {
        endpoint: endpoint.to_owned(),
        source,
    };
    if !endpoint.contains(':') {
        return Err(ConnectError::Endpoint {
            endpoint: endpoint.to_owned(),
            expected: "HOST:PORT",
        });
    }
    let mut found = tokio::net::lookup_host(endpoint).await.map_err(not_found)?;
    found
        .next()
        .ok_or_else(|| not_found(io::ErrorKind::NotFound.into()))
}
