//! The addresses of the other servers. Their names are resolved until they have an address, every
//! second while a server is silent, and periodically even while it is not: a server may have moved
//! and still send datagrams. Without keys, datagrams from its new address are not authentic, so they
//! do not update the route to it.

use crate::{
    addresses::{self, AddressAlerts},
    node::{Inner, Node},
};
use model::NodeId;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{self, Instant},
};
use tracing::{Instrument as _, Span, debug, info, warn};

/// The interval between checks for names to resolve.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A server that was silent for this long may have moved.
const SILENT_AFTER: Duration = Duration::from_secs(5);
/// How long a resolved address is cached.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Keeps the addresses of the other servers up to date while this server lives.
pub(crate) async fn resolve(
    own: (NodeId, SocketAddr),
    names: BTreeMap<NodeId, String>,
    node: Weak<Inner>,
    alerts: Arc<AddressAlerts>,
    span: Span,
) {
    keep_resolving(own, names, node, &alerts)
        .instrument(span)
        .await;
}

async fn keep_resolving(
    (own, listen): (NodeId, SocketAddr),
    names: BTreeMap<NodeId, String>,
    node: Weak<Inner>,
    alerts: &AddressAlerts,
) {
    let mut known: BTreeMap<NodeId, (Vec<SocketAddr>, Instant)> = BTreeMap::new();
    let mut warned = BTreeSet::new();
    // Each name is resolved in its own task, so that a slow lookup does not delay the others.
    let mut lookups = JoinSet::new();
    let mut under_way = BTreeSet::new();
    let mut ticks = time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        let found = tokio::select! {
            _ = ticks.tick() => None,
            Some(found) = lookups.join_next() => Some(found),
        };
        let Some(node) = Node::upgrade(&node) else {
            return;
        };
        let Some(found) = found else {
            for (id, name) in &names {
                let is_number = name.parse::<SocketAddr>().is_ok();
                let settled = known.get(id).is_some_and(|(_, looked_up)| {
                    let recent = looked_up.elapsed() < LOOK_AGAIN_AFTER;
                    let is_active = *id == own || node.silence_of(*id) < SILENT_AFTER;
                    is_number || (recent && is_active)
                });
                let is_needed = *id != own || addresses::is_fixed(listen);
                if !is_needed || settled || !under_way.insert(*id) {
                    continue;
                }
                let (id, name, local) = (*id, name.clone(), node.local_addr());
                lookups.spawn(async move { (id, look_up(&name, local).await) });
            }
            continue;
        };
        let Ok((id, found)) = found else {
            continue;
        };
        under_way.remove(&id);
        let name = &names[&id];
        match found {
            Ok(at) if !at.is_empty() => {
                let was = known.insert(id, (at.clone(), Instant::now()));
                if was.map(|(at, _)| at).as_ref() != Some(&at) {
                    let found = known.iter().map(|(id, (at, _))| (*id, &at[..]));
                    alerts.update((own, listen), &names, found);
                    if id != own {
                        info!(peer = %id, name, addresses = ?at, "resolved peer");
                        node.set_peer_addresses(id, at).await;
                    }
                }
                warned.remove(&id);
            }
            // Log once per period without an address.
            Ok(_) if warned.insert(id) => {
                warn!(peer = %id, name, "a peer's name has no address; retrying every second");
            }
            Err(error) if warned.insert(id) => {
                warn!(peer = %id, name, %error, "cannot resolve a peer's name; retrying every second");
            }
            Ok(_) | Err(_) => debug!(peer = %id, name, "still no address"),
        }
    }
}

/// Resolves the name to the addresses that a socket at `local` can reach.
async fn look_up(name: &str, local: SocketAddr) -> std::io::Result<Vec<SocketAddr>> {
    let mut found = transport::lookup(name).await?;
    // An IPv6 socket reaches both address families.
    found.retain(|at| at.is_ipv4() || local.is_ipv6());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_out_of_reach_are_passed_over() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (four, six) = (at("127.0.0.1:1"), at("[::]:1"));
        assert_eq!(look_up("[::1]:5", four).await.unwrap(), []);
        assert_eq!(look_up("[::1]:5", six).await.unwrap(), [at("[::1]:5")]);
        assert_eq!(
            look_up("10.0.0.1:5", six).await.unwrap(),
            [at("10.0.0.1:5")]
        );
    }
}
