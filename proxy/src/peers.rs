//! Where servers are, by name: names are looked up again and again, as a container that restarts
//! may come back with another address.

use model::{Address, NodeId};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};
use tokio::net::lookup_host;
use transport::Endpoint;

const AGAIN: Duration = Duration::from_secs(10);
/// While a name is not known at all.
const SOON: Duration = Duration::from_secs(1);

/// Tells the endpoint where the servers are, as long as it is not cancelled. Addresses written as
/// numbers are told once. An address of the kind the endpoint's socket has is preferred.
pub async fn follow(endpoint: Endpoint, names: BTreeMap<NodeId, String>, ipv4: bool) {
    let mut names: Vec<(NodeId, String, Option<SocketAddr>)> = names
        .into_iter()
        .map(|(id, name)| (id, name, None))
        .collect();
    names.retain(|(id, name, _)| match name.parse() {
        Ok(at) => {
            endpoint.set_peer(Address::Node(*id), at);
            false
        }
        Err(_) => true,
    });
    while !names.is_empty() {
        let mut unknown = false;
        for (id, name, known) in &mut names {
            match lookup_host(&*name).await {
                Ok(found) => {
                    let found: Vec<_> = found.collect();
                    let fitting = found.iter().find(|at| at.is_ipv4() == ipv4);
                    let Some(at) = fitting.or(found.first()).copied() else {
                        continue;
                    };
                    if *known != Some(at) {
                        tracing::info!(server = %id, name, address = %at, "server found");
                        endpoint.set_peer(Address::Node(*id), at);
                        *known = Some(at);
                    }
                }
                // A server that is down may have no name either.
                Err(error) if known.is_none() => {
                    tracing::warn!(server = %id, name, %error, "server not found, looking again");
                    unknown = true;
                }
                Err(_) => {}
            }
        }
        tokio::time::sleep(if unknown { SOON } else { AGAIN }).await;
    }
}
