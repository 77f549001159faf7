//! The configuration of endpoints: the only module that knows the transport's settings.

use crate::settings::Settings;
use model::{NodeId, wire::VotersDigest};
use std::path::PathBuf;
use transport::{Config, Key, KeyError, Keys};

/// The configuration of an endpoint. The addresses of the servers are set later.
pub(crate) fn config(settings: &Settings, keys: Keys) -> Config {
    let mut config = Config::new(settings.listen, &settings.cluster);
    config.keys = keys;
    config.max_datagram = settings.max_datagram;
    config.environment = settings.environment.clone();
    // The digest excludes servers that were configured with other voters: they belong to another
    // cluster.
    let embedded = (1..=settings.embedded.unwrap_or(0)).map(NodeId::new);
    let voters = settings.peers.iter().map(|peer| peer.id);
    config.voters = VotersDigest::new(&voters.chain(embedded).collect());
    config
}

/// Reads the keys from their files.
pub(crate) fn keys(settings: &Settings) -> Result<Keys, KeyError> {
    let read = |path: &Option<PathBuf>| path.as_ref().map(Key::read).transpose();
    Ok(Keys {
        cluster: read(&settings.key_file)?,
        client: read(&settings.client_key_file)?,
    })
}

/// An endpoint on any free port of the loopback interface, without keys.
#[cfg(test)]
pub(crate) async fn loopback() -> (transport::Endpoint, transport::Inbox) {
    let config = Config::new(std::net::SocketAddr::from(([127, 0, 0, 1], 0)), "test");
    transport::Endpoint::bind(config).await.unwrap()
}
