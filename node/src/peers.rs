//! Where the other servers are: names are looked up until they are found, and again when a server
//! is not heard of, for it may have moved.

use crate::driver::Pulse;
use model::{Address, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{net, time};
use tracing::{debug, info, warn};
use transport::Endpoint;

/// How often to look whether there is anything to look up.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A server not heard of for so long may have moved.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// Keeps the addresses of the others up to date, for ever.
pub(crate) async fn resolve(
    own: NodeId,
    names: BTreeMap<NodeId, String>,
    endpoint: Endpoint,
    pulse: Arc<Pulse>,
) {
    let mut known: BTreeMap<NodeId, SocketAddr> = BTreeMap::new();
    let mut complained = BTreeSet::new();
    let mut ticks = time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (id, name) in &names {
            let settled = known.contains_key(id) && pulse.since_heard(*id) < SILENT_AFTER;
            if *id == own || settled {
                continue;
            }
            match look_up(name).await {
                Ok(Some(at)) => {
                    if known.insert(*id, at) != Some(at) {
                        info!(peer = %id, name, address = %at, "a peer has an address");
                        endpoint.set_peer(Address::Node(*id), at);
                    }
                    complained.remove(id);
                }
                // Once for each time it goes missing.
                Ok(None) if complained.insert(*id) => {
                    warn!(peer = %id, name, "a peer's name has no address; it is looked up again every second");
                }
                Err(error) if complained.insert(*id) => {
                    warn!(peer = %id, name, %error, "a peer's name cannot be looked up; it is tried again every second");
                }
                Ok(None) | Err(_) => debug!(peer = %id, name, "still no address"),
            }
        }
    }
}

async fn look_up(name: &str) -> std::io::Result<Option<SocketAddr>> {
    Ok(net::lookup_host(name).await?.next())
}
