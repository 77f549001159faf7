//! Where servers are, by name: names are looked up again and again, as a container that restarts
//! may come back with another address.

use futures_util::future::join_all;
use model::{Address, NodeId};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use transport::Endpoint;

const AGAIN: Duration = Duration::from_secs(10);

/// Tells the endpoint where the servers are, as long as it is not cancelled. Addresses written as
/// numbers are told once.
pub async fn follow(endpoint: Endpoint, names: BTreeMap<NodeId, String>) {
    let names = names.into_iter().map(|(id, name)| one(&endpoint, id, name));
    join_all(names).await;
}

async fn one(endpoint: &Endpoint, id: NodeId, name: String) {
    let mut known = None;
    loop {
        let at = endpoint.resolve(&name).await;
        endpoint.set_peer_addresses(Address::Node(id), &at);
        if name.parse::<SocketAddr>().is_ok() {
            return;
        }
        if known.as_ref() != Some(&at) {
            tracing::info!(server = %id, name, addresses = ?at, "server found");
            known = Some(at);
        }
        tokio::time::sleep(AGAIN).await;
    }
}
