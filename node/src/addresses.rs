//! The `--peer` list against itself and against `--listen`, before anything is started.
//!
//! Names that cannot be looked up yet are passed over: a container's peers may start later.

use crate::{Config, node::StartError};
use model::NodeId;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use tokio::{net, task::JoinSet, time};

/// How long names are looked up before a start.
const PATIENCE: Duration = Duration::from_secs(1);

/// Refuses a list in which two servers have one address, or this server another one than it listens
/// at. A server that listens at every address (`0.0.0.0`) or at any free port may be reached by
/// another one.
pub(crate) async fn check(config: &Config) -> Result<(), StartError> {
    let mut lookups = JoinSet::new();
    for (id, name) in &config.peers {
        let (id, name) = (*id, name.clone());
        lookups.spawn(async move {
            let found = time::timeout(PATIENCE, net::lookup_host(&name)).await;
            let found = found.ok().and_then(Result::ok);
            (id, found.into_iter().flatten().map(canonical).collect())
        });
    }
    let found: BTreeMap<NodeId, Vec<SocketAddr>> = lookups.join_all().await.into_iter().collect();
    for (id, addresses) in &found {
        for (other, theirs) in found.range(..id) {
            let is_shared = addresses.iter().any(|address| theirs.contains(address));
            if is_shared || config.peers[id] == config.peers[other] {
                return Err(StartError::SharedAddress {
                    first: *other,
                    second: *id,
                    address: config.peers[id].clone(),
                });
            }
        }
    }
    let listen = canonical(config.listen);
    if listen.ip().is_unspecified() || listen.port() == 0 {
        return Ok(());
    }
    match (found.get(&config.id), config.peers.get(&config.id)) {
        (Some(addresses), Some(name)) if !addresses.is_empty() && !addresses.contains(&listen) => {
            Err(StartError::OwnAddress {
                id: config.id,
                address: name.clone(),
                listen: config.listen,
            })
        }
        _ => Ok(()),
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn checked(listen: &str, peers: &[(u64, &str)]) -> Result<(), String> {
        let mut config = Config::new(NodeId::new(1), "test", "nowhere");
        config.listen = listen.parse().unwrap();
        let peers = peers
            .iter()
            .map(|(id, at)| (NodeId::new(*id), (*at).to_owned()));
        config.peers = peers.collect();
        check(&config).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn one_address_listed_twice_is_refused() {
        for (first, second) in [
            ("127.0.0.1:7101", "127.0.0.1:7101"),
            ("127.0.0.1:7101", "[::ffff:127.0.0.1]:7101"),
            ("127.0.0.1:7101", "localhost:7101"),
            ("nobody.invalid:7101", "nobody.invalid:7101"),
        ] {
            let peers = [(1, "127.0.0.1:7100"), (2, first), (3, second)];
            let error = checked("127.0.0.1:7100", &peers).await.unwrap_err();
            assert!(
                error.contains("servers 2 and 3"),
                "{first} {second}: {error}"
            );
        }
        let apart = [
            (1, "127.0.0.1:7100"),
            (2, "127.0.0.1:7101"),
            (3, "127.0.0.2:7101"),
        ];
        checked("127.0.0.1:7100", &apart).await.unwrap();
    }

    #[tokio::test]
    async fn own_entry_must_be_where_it_listens_unless_that_is_everywhere() {
        for (listen, own, is_right) in [
            ("127.0.0.1:7101", "127.0.0.1:7101", true),
            ("127.0.0.1:7101", "localhost:7101", true),
            ("127.0.0.1:7101", "127.0.0.1:7102", false),
            ("127.0.0.1:7101", "10.0.0.1:7101", false),
            ("127.0.0.1:7101", "nobody.invalid:7101", true),
            ("0.0.0.0:7101", "10.0.0.1:17101", true),
            ("[::]:7101", "10.0.0.1:17101", true),
            ("127.0.0.1:0", "10.0.0.1:7101", true),
        ] {
            let result = checked(listen, &[(1, own), (2, "10.0.0.2:7101")]).await;
            assert_eq!(result.is_ok(), is_right, "{listen} {own}: {result:?}");
        }
    }
}
