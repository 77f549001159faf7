//! The addresses of the servers. Host names are resolved repeatedly, because a restarted container may
//! have a new address. No two servers may share an address: requests for one server would go to the
//! other.

use futures_util::future::join_all;
use model::{Address, NodeId};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time;
use transport::{Endpoint, find_shared_address, why_unreachable};

const AGAIN: Duration = Duration::from_secs(10);
/// The timeout of the lookups before a start.
const PATIENCE: Duration = Duration::from_secs(1);

/// Rejects host names of two servers that resolve to the same address, and addresses that a socket at
/// `listen` can never reach. Skips a name that has no address yet.
///
/// # Errors
/// If two servers share an address, or a server is unreachable.
pub async fn check(listen: SocketAddr, names: &BTreeMap<NodeId, String>) -> anyhow::Result<()> {
    for (id, name) in names {
        if let Some(why) = why_unreachable(listen, name) {
            anyhow::bail!("--peer {id}={name} cannot work: {why}");
        }
    }
    let lookups = names.iter().map(async |(id, name)| {
        let found = time::timeout(PATIENCE, transport::lookup(name)).await;
        (*id, found.ok().and_then(Result::ok).unwrap_or_default())
    });
    let found = join_all(lookups).await.into_iter().collect();
    match find_shared_address(&found) {
        Some(shared) => anyhow::bail!("{}", describe(shared)),
        None => Ok(()),
    }
}

fn describe((first, second, address): (NodeId, NodeId, SocketAddr)) -> String {
    format!(
        "--peer gives servers {first} and {second} the same address, {address}: give every server \
         its own address"
    )
}

/// Resolves the servers' names and passes the addresses to the endpoint, until the future is dropped.
/// Numeric addresses are passed once.
pub async fn follow(endpoint: Endpoint, names: BTreeMap<NodeId, String>) {
    let found = Found::default();
    let names = names
        .into_iter()
        .map(|(id, name)| one(&endpoint, &found, id, name));
    join_all(names).await;
}

async fn one(endpoint: &Endpoint, all: &Found, id: NodeId, name: String) {
    let mut known = None;
    loop {
        let at = endpoint.resolve(&name).await;
        endpoint.set_peer_addresses(Address::Node(id), &at);
        if known.as_ref() != Some(&at)
            && let Some(shared) = all.add(id, at.clone())
        {
            tracing::warn!("{}", describe(shared));
        }
        if name.parse::<SocketAddr>().is_ok() {
            return;
        }
        if known.as_ref() != Some(&at) {
            tracing::info!(server = %id, name, addresses = ?at, "resolved server address");
            known = Some(at);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The known addresses of all servers.
#[derive(Debug, Default)]
struct Found(Mutex<BTreeMap<NodeId, Vec<SocketAddr>>>);

impl Found {
    /// Adds the addresses of a server. Returns an address that two servers share, if there is one.
    fn add(&self, id: NodeId, at: Vec<SocketAddr>) -> Option<(NodeId, NodeId, SocketAddr)> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.insert(id, at);
        find_shared_address(&found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn checked(addresses: &[&str]) -> Result<(), String> {
        let names = (1..)
            .map(NodeId::new)
            .zip(addresses.iter().map(|at| (*at).to_owned()));
        check("127.0.0.1:7000".parse().unwrap(), &names.collect())
            .await
            .map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn one_address_of_two_servers_is_refused() {
        for second in [
            "127.0.0.1:7101",
            "[::ffff:127.0.0.1]:7101",
            "localhost:7101",
        ] {
            let error = checked(&["127.0.0.1:7101", second]).await.unwrap_err();
            assert!(error.contains("servers 1 and 2"), "{second}: {error}");
        }
        for second in ["127.0.0.1:7102", "127.0.0.2:7101", "nobody.invalid:7101"] {
            checked(&["127.0.0.1:7101", second]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn addresses_that_are_never_reached_are_refused() {
        for at in ["127.0.0.1:0", "0.0.0.0:7101", "[::1]:7101"] {
            let error = checked(&[at]).await.unwrap_err();
            assert!(error.contains("cannot work"), "{at}: {error}");
        }
    }

    #[test]
    fn later_addresses_are_compared_too() {
        let at = |text: &str| vec![text.parse().unwrap()];
        let (one, two) = (NodeId::new(1), NodeId::new(2));
        let found = Found::default();
        assert_eq!(found.add(one, at("10.0.0.1:7101")), None);
        assert_eq!(found.add(two, at("10.0.0.2:7101")), None);
        let shared = (one, two, "10.0.0.1:7101".parse().unwrap());
        assert_eq!(found.add(two, at("10.0.0.1:7101")), Some(shared));
    }
}
