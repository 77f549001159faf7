//! Validates the `--peer` list against itself and against `--listen`: before the server starts, and
//! again whenever a name resolves to other addresses.
//!
//! A name without an address does not prevent a start, because a container's peers may start later.
//! Errors visible in the texts alone are rejected at once.

use crate::{Config, error::StartError};
use model::NodeId;
use status::{Alert, AlertKind};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{net, task::JoinSet, time};
use tracing::{info, warn};
use transport::{canonical, find_shared_address, why_unreachable};

/// The timeout of the lookups before a start.
const PATIENCE: Duration = Duration::from_secs(1);

/// Rejects a list in which two servers have the same address, or in which the address of this
/// server differs from its listen address. A server that listens at every address (`0.0.0.0`) or at any free
/// port may be reachable at another address.
pub(crate) async fn check(config: &Config) -> Result<(), StartError> {
    check_texts(config)?;
    let mut lookups = JoinSet::new();
    for (id, name) in &config.peers {
        let (id, name) = (*id, name.clone());
        lookups.spawn(async move {
            let found = time::timeout(PATIENCE, net::lookup_host(&name)).await;
            let found = found.ok().and_then(Result::ok);
            (id, found.into_iter().flatten().collect())
        });
    }
    let found: BTreeMap<NodeId, Vec<SocketAddr>> = lookups.join_all().await.into_iter().collect();
    if let Some((first, second, _)) = find_shared_address(&found) {
        return Err(StartError::SharedAddress {
            first,
            second,
            address: config.peers[&second].clone(),
        });
    }
    let (name, own) = (config.peers.get(&config.id), found.get(&config.id));
    if name.is_some_and(|name| own.is_some_and(|own| !is_own(name, own, config.listen))) {
        return Err(own_address(config));
    }
    Ok(())
}

/// The checks that need no lookup.
fn check_texts(config: &Config) -> Result<(), StartError> {
    let mut owners = BTreeMap::new();
    for (id, address) in &config.peers {
        // Host names are case-insensitive.
        if let Some(first) = owners.insert(address.to_ascii_lowercase(), *id) {
            return Err(StartError::SharedAddress {
                first,
                second: *id,
                address: address.clone(),
            });
        }
        if let Some(why) = why_unreachable(config.listen, address) {
            return Err(StartError::Unreachable {
                id: *id,
                address: address.clone(),
                why,
            });
        }
    }
    let own = config.peers.get(&config.id);
    let port = own.and_then(|own| own.rsplit_once(':')?.1.parse::<u16>().ok());
    let is_other = port.is_some_and(|port| port != config.listen.port());
    if is_fixed(config.listen) && is_other {
        return Err(own_address(config));
    }
    Ok(())
}

fn own_address(config: &Config) -> StartError {
    StartError::OwnAddress {
        id: config.id,
        address: config.peers.get(&config.id).cloned().unwrap_or_default(),
        listen: config.listen,
    }
}

/// Whether a server with this listen address is reachable only there.
pub(crate) fn is_fixed(listen: SocketAddr) -> bool {
    !listen.ip().to_canonical().is_unspecified() && listen.port() != 0
}

/// Whether a server with this listen address may be reachable by this name. `addresses` are the
/// addresses of the name on this machine; empty if they are not known yet.
fn is_own(name: &str, addresses: &[SocketAddr], listen: SocketAddr) -> bool {
    let mut addresses = addresses.iter().copied().map(canonical).peekable();
    !is_fixed(listen)
        || addresses.peek().is_none()
        || (!listen.ip().is_loopback() && is_hidden(name, addresses.clone()))
        || addresses.any(|address| address == canonical(listen))
}

/// Whether this machine maps its own name to a loopback address, as Debian's hosts file does
/// (127.0.1.1). The address that the other servers have for it is not visible here.
fn is_hidden(name: &str, mut addresses: impl Iterator<Item = SocketAddr>) -> bool {
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is_local = host == "localhost" || host.ends_with(".localhost");
    let is_number = name.parse::<SocketAddr>().is_ok();
    !is_local && !is_number && addresses.all(|address| address.ip().is_loopback())
}

/// Current problems with the addresses of the list.
#[derive(Debug, Default)]
pub(crate) struct AddressAlerts(Mutex<Vec<Alert>>);

impl AddressAlerts {
    /// The current alerts.
    pub(crate) fn get(&self) -> Vec<Alert> {
        self.lock().clone()
    }

    /// Compares the known addresses of all names, and logs new problems.
    pub(crate) fn update<'a>(
        &self,
        (own, listen): (NodeId, SocketAddr),
        names: &BTreeMap<NodeId, String>,
        found: impl Iterator<Item = (NodeId, &'a [SocketAddr])>,
    ) {
        let found = found.map(|(id, addresses)| (id, addresses.to_vec()));
        let found = found.collect::<BTreeMap<_, _>>();
        let alert = |id: NodeId, text| Alert {
            kind: AlertKind::PeerAddresses,
            node: id.get(),
            text,
        };
        let mut alerts = Vec::new();
        if let Some((first, second, address)) = find_shared_address(&found) {
            let text = format!(
                "servers {first} and {second} of the --peer list have the same address, {address}"
            );
            alerts.push(alert(second, text));
        }
        let name = names.get(&own).map_or("", String::as_str);
        if let Some(addresses) = found.get(&own)
            && !is_own(name, addresses, listen)
        {
            let text = format!(
                "the other servers reach this one at --peer {own}={name}, which is {addresses:?}, but it \
                 listens at {listen}"
            );
            alerts.push(alert(own, text));
        }
        let mut current = self.lock();
        for alert in alerts.iter().filter(|alert| !current.contains(alert)) {
            warn!(server = alert.node, "{}", alert.text);
        }
        if alerts.is_empty() && !current.is_empty() {
            info!("the addresses of the --peer list are correct again");
        }
        *current = alerts;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Alert>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            ("nobody.invalid:7101", "Nobody.invalid:7101"),
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
            ("127.0.0.1:7101", "nobody.invalid:7102", false),
            ("0.0.0.0:7101", "nobody.invalid:7102", true),
            ("127.0.0.1:0", "nobody.invalid:7102", true),
            ("0.0.0.0:7101", "10.0.0.1:17101", true),
            ("[::]:7101", "10.0.0.1:17101", true),
            ("127.0.0.1:0", "10.0.0.1:7101", true),
        ] {
            let result = checked(listen, &[(1, own), (2, "10.0.0.2:7101")]).await;
            assert_eq!(result.is_ok(), is_right, "{listen} {own}: {result:?}");
        }
    }

    #[test]
    fn name_of_a_machine_may_be_a_loopback_address_there() {
        let is_own = |name, at: &str, listen: &str| {
            is_own(name, &[at.parse().unwrap()], listen.parse().unwrap())
        };
        assert!(is_own("a:7101", "127.0.1.1:7101", "10.0.0.1:7101"));
        assert!(is_own("a.example.:7101", "[::1]:7101", "10.0.0.1:7101"));
        assert!(!is_own("a:7101", "10.0.0.2:7101", "10.0.0.1:7101"));
        // The other servers would reach themselves.
        assert!(!is_own("localhost:7101", "127.0.0.1:7101", "10.0.0.1:7101"));
        assert!(!is_own(
            "a.LocalHost.:7101",
            "127.0.0.1:7101",
            "10.0.0.1:7101"
        ));
        assert!(!is_own("127.0.1.1:7101", "127.0.1.1:7101", "10.0.0.1:7101"));
        // The other servers are on the same machine, and would reach no server.
        assert!(!is_own("a:7101", "127.0.1.1:7101", "127.0.0.1:7101"));
    }

    #[tokio::test]
    async fn addresses_that_are_never_reached_are_refused() {
        for (listen, own, other) in [
            ("127.0.0.1:7101", "127.0.0.1:7101", "127.0.0.1:0"),
            ("0.0.0.0:7101", "0.0.0.0:7101", "10.0.0.2:7101"),
            ("10.0.0.1:7101", "10.0.0.1:7101", "255.255.255.255:7101"),
            ("127.0.0.1:7101", "127.0.0.1:7101", "[::1]:7102"),
            ("[::1]:7101", "[::1]:7101", "127.0.0.1:7102"),
        ] {
            let error = checked(listen, &[(1, own), (2, other)]).await.unwrap_err();
            assert!(
                error.contains("cannot work"),
                "{listen} {own} {other}: {error}"
            );
        }
        let both = [(1, "[::1]:7101"), (2, "127.0.0.1:7102")];
        checked("[::]:7101", &both).await.unwrap();
    }

    #[test]
    fn later_addresses_are_compared_too() {
        let at = |text: &str| vec![text.parse::<SocketAddr>().unwrap()];
        let own = (NodeId::new(1), "127.0.0.1:7101".parse().unwrap());
        let names = [(own.0, "a:7101".to_owned())].into();
        let alerts = AddressAlerts::default();
        let nodes_of = |found: &[(u64, &str)]| {
            let found = Vec::from_iter(found.iter().map(|(id, text)| (NodeId::new(*id), at(text))));
            let slices = found.iter().map(|(id, at)| (*id, &at[..]));
            alerts.update(own, &names, slices);
            Vec::from_iter(alerts.get().iter().map(|alert| alert.node))
        };
        let (one, two) = ((1, "127.0.0.1:7101"), (2, "127.0.0.1:7102"));
        assert!(nodes_of(&[]).is_empty());
        assert!(nodes_of(&[one, two]).is_empty());
        assert_eq!(nodes_of(&[one, two, (3, "[::ffff:127.0.0.1]:7102")]), [3]);
        assert_eq!(nodes_of(&[(1, "10.0.0.9:7101"), two]), [1]);
        assert!(nodes_of(&[one, two]).is_empty());
    }
}
