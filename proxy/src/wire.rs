//! How endpoints are set up: the one place that knows the transport's settings.

use crate::settings::Settings;
use std::net::SocketAddr;

pub(crate) type Keys = ();

/// An endpoint's settings. Where the servers are is told later.
pub(crate) fn config(settings: &Settings) -> anyhow::Result<transport::Config> {
    keys(settings)?;
    Ok(plain(settings.listen, &settings.cluster))
}

/// The keys, from their files.
pub(crate) fn keys(_settings: &Settings) -> anyhow::Result<Keys> {
    Ok(())
}

fn plain(listen: SocketAddr, cluster: &str) -> transport::Config {
    transport::Config::new(listen, cluster)
}

/// An endpoint on any free port of the loopback interface, without keys.
#[cfg(test)]
pub(crate) async fn loopback() -> (transport::Endpoint, transport::Inbox) {
    let config = plain(SocketAddr::from(([127, 0, 0, 1], 0)), "test");
    transport::Endpoint::bind(config).await.unwrap()
}
