//! Name resolution.
//!
//! The system's resolver has no bound on its time, and a caller cannot interrupt it. So each lookup
//! runs on a separate thread. Such a thread delays neither other lookups nor the exit of the process.
//! To cancel a lookup, stop waiting for it.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, ToSocketAddrs, UdpSocket},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

/// The broadcast address of the loopback interface.
const LOOPBACK_BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The maximum number of concurrent lookups.
const LOOKUPS: usize = 32;

/// Resolves `HOST:PORT` and returns all addresses in the order in which to try them. Drop the future
/// to limit the wait.
///
/// # Errors
/// If the name has no address, no resolver answers, or too many lookups are pending.
pub async fn lookup(host_port: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(at) = host_port.parse() {
        return Ok(vec![at]);
    }
    let name = host_port.to_owned();
    look_up_by(move || Ok(name.to_socket_addrs()?.collect())).await
}

async fn look_up_by(
    resolver: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);
    if UNDER_WAY.fetch_add(1, Ordering::Relaxed) >= LOOKUPS {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        return Err(io::Error::other(format!(
            "{LOOKUPS} lookups are already in progress: the resolver does not respond"
        )));
    }
    let (found, answer) = oneshot::channel();
    let looking = move || {
        let addresses = resolver().map(|addresses| in_order(addresses, refuses));
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        // The caller may have dropped the receiver.
        let _ = found.send(addresses);
    };
    let thread = thread::Builder::new().name("raft-resolve".into());
    if let Err(error) = thread.spawn(looking) {
        UNDER_WAY.fetch_sub(1, Ordering::Relaxed);
        return Err(error);
    }
    let addresses = answer.await.map_err(io::Error::other)??;
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(addresses)
}

/// Returns the first two servers that share an address. An IPv4 address and its IPv4-mapped IPv6 form
/// are the same address.
pub fn find_shared_address<K: Ord + Copy>(
    found: &BTreeMap<K, Vec<SocketAddr>>,
) -> Option<(K, K, SocketAddr)> {
    let mut owners = BTreeMap::new();
    for (id, addresses) in found {
        for address in addresses.iter().copied().map(canonical) {
            let owner = *owners.entry(address).or_insert(*id);
            if owner != *id {
                return Some((owner, *id, address));
            }
        }
    }
    None
}

/// The canonical form of an address: an IPv4-mapped IPv6 address becomes an IPv4 address.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Removes duplicates, and moves addresses without a listener to the end.
fn in_order(found: Vec<SocketAddr>, refuses: impl Fn(SocketAddr) -> bool) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for at in found {
        if !addresses.contains(&at) {
            addresses.push(at);
        }
    }
    if addresses.len() > 1 {
        addresses.sort_by_cached_key(|at| refuses(*at));
    }
    addresses
}

/// Whether a local address has no listener. A connected socket then returns an error (ICMP port
/// unreachable) at once. The probe is a datagram of one byte, which a listener drops.
fn refuses(at: SocketAddr) -> bool {
    let ask = || {
        let from = SocketAddr::new(at.ip(), 0);
        let socket = UdpSocket::bind(from)?;
        socket.connect(at)?;
        socket.set_nonblocking(true)?;
        socket.send(&[0])?;
        socket.recv(&mut [0])
    };
    at.ip().is_loopback()
        && ask().is_err_and(|error: io::Error| error.kind() != io::ErrorKind::WouldBlock)
}

/// The form of the address for a socket bound to `local`, or `None` if the socket cannot reach the
/// address.
pub(crate) fn reachable_from(local: SocketAddr, at: SocketAddr) -> Option<SocketAddr> {
    match (local, at) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_)) => Some(at),
        (SocketAddr::V6(_), SocketAddr::V4(at)) => {
            let mapped = at.ip().to_ipv6_mapped();
            Some(SocketAddrV6::new(mapped, at.port(), 0, 0).into())
        }
        (SocketAddr::V4(_), SocketAddr::V6(at)) => {
            let ip: Ipv4Addr = at.ip().to_ipv4_mapped()?;
            Some(SocketAddr::from((ip, at.port())))
        }
    }
}

/// Checks that a text is `HOST:PORT`, without name resolution. The host is a name, an IPv4 address, or
/// an IPv6 address in brackets.
///
/// # Errors
/// The expected form, as a text that follows "is not".
pub fn check_endpoint(text: &str) -> Result<(), &'static str> {
    const FORM: &str = "HOST:PORT";
    let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
    if !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(FORM);
    }
    match port.parse::<u16>() {
        Ok(0) => {
            return Err("HOST:PORT with a port from 1 to 65535: port 0 cannot be reached");
        }
        Ok(_) => {}
        Err(_) => return Err(FORM),
    }
    if host.starts_with('[') {
        return text.parse::<SocketAddrV6>().map(|_| ()).map_err(|_| FORM);
    }
    let is_odd = |c: char| "/[]=".contains(c) || c.is_whitespace() || c.is_control();
    if host.is_empty() || host.contains(is_odd) {
        return Err(FORM);
    }
    if host.contains(':') {
        return Err("HOST:PORT: put brackets around an IPv6 address, as in [fd00::2]:7101");
    }
    Ok(())
}

/// Explains why a socket at `local` can never reach `HOST:PORT`, regardless of the network. Checks the
/// port and numeric addresses, but resolves no names.
pub fn why_unreachable(local: SocketAddr, host_port: &str) -> Option<&'static str> {
    let (_, port) = host_port.rsplit_once(':')?;
    if port.parse() == Ok(0_u16) {
        return Some("port 0 cannot be reached");
    }
    let at = host_port.parse::<SocketAddr>().ok()?;
    let (from, to) = (canonical(local).ip(), canonical(at).ip());
    if to.is_unspecified() {
        Some("an unspecified address is only valid for listening")
    } else if to.is_multicast() || to == Ipv4Addr::BROADCAST || to == LOOPBACK_BROADCAST {
        Some("a multicast or broadcast address is not the address of one machine")
    } else if reachable_from(local, at).is_none() || (to.is_ipv4() && is_only_six(from)) {
        Some("its IP version differs from that of --listen: listen on [::], which supports both")
    } else {
        None
    }
}

/// Whether a socket bound to this address supports IPv6 only.
fn is_only_six(local: IpAddr) -> bool {
    local.is_ipv6() && !local.is_unspecified()
}

/// Resolves `HOST:PORT` repeatedly until a socket bound to `local` can reach at least one address.
/// Returns all reachable addresses.
pub(crate) async fn resolve(local: SocketAddr, host_port: &str) -> Vec<SocketAddr> {
    let mut pause = FIRST_PAUSE;
    loop {
        match lookup(host_port).await {
            Ok(found) => {
                let reachable = found
                    .into_iter()
                    .filter(|at| reachable_from(local, *at).is_some());
                let reachable = Vec::from_iter(reachable);
                if !reachable.is_empty() {
                    return reachable;
                }
                tracing::warn!(
                    host_port,
                    %local,
                    "the name has no address that this socket can reach; retrying"
                );
            }
            Err(error) => {
                tracing::warn!(host_port, %error, "cannot resolve the name; retrying");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_never_reached_are_known() {
        let why = |local: &str, at| why_unreachable(local.parse().unwrap(), at).is_some();
        for (local, at) in [
            ("0.0.0.0:1", "10.0.0.1:7101"),
            ("10.0.0.2:1", "10.0.0.1:7101"),
            ("10.0.0.2:1", "[::ffff:10.0.0.1]:7101"),
            ("[::]:1", "10.0.0.1:7101"),
            ("[::]:1", "[fd00::1]:7101"),
            ("[::1]:1", "[fd00::1]:7101"),
            ("[::ffff:10.0.0.2]:1", "10.0.0.1:7101"),
            ("10.0.0.2:1", "localhost:7101"),
            ("10.0.0.2:1", "no port"),
        ] {
            assert!(!why(local, at), "{local} {at}");
        }
        for (local, at) in [
            ("10.0.0.2:1", "10.0.0.1:0"),
            ("10.0.0.2:1", "localhost:0"),
            ("10.0.0.2:1", "0.0.0.0:7101"),
            ("[::]:1", "[::]:7101"),
            ("[::]:1", "[::ffff:0.0.0.0]:7101"),
            ("0.0.0.0:1", "255.255.255.255:7101"),
            ("127.0.0.1:1", "127.255.255.255:7101"),
            ("[::]:1", "[::ffff:127.255.255.255]:7101"),
            ("0.0.0.0:1", "224.0.0.1:7101"),
            ("[::]:1", "[ff02::1]:7101"),
            ("0.0.0.0:1", "[::1]:7101"),
            ("127.0.0.1:1", "[::1]:7101"),
            ("[::1]:1", "127.0.0.1:7101"),
        ] {
            assert!(why(local, at), "{local} {at}");
        }
    }

    #[test]
    fn endpoints_are_hosts_and_ports() {
        for right in [
            "10.0.0.2:7101",
            "[fd00::2]:7101",
            "[fe80::2%3]:7101",
            "a-b.example.:65535",
            "node_1:1",
            "größe:1",
        ] {
            assert_eq!(check_endpoint(right), Ok(()), "{right}");
        }
        for (wrong, says) in [
            ("::1:7000", "brackets"),
            ("fd00::2:7101", "brackets"),
            ("a:b:7000", "brackets"),
            ("host:0", "port 0"),
            ("host:00", "port 0"),
            ("a b:7000", "HOST:PORT"),
            ("a\u{1b}:7000", "HOST:PORT"),
            (":7000", "HOST:PORT"),
            ("host", "HOST:PORT"),
            ("host:", "HOST:PORT"),
            ("host:+1", "HOST:PORT"),
            ("host:99999", "HOST:PORT"),
            ("http://host:1", "HOST:PORT"),
            ("a/b:1", "HOST:PORT"),
            ("3=host:1", "HOST:PORT"),
            ("[::1:7000", "HOST:PORT"),
            ("[host]:7000", "HOST:PORT"),
            ("host]:7000", "HOST:PORT"),
            ("", "HOST:PORT"),
        ] {
            let error = check_endpoint(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_named_as_the_socket_can() {
        let (four, six) = (at("0.0.0.0:1"), at("[::]:1"));
        assert_eq!(
            reachable_from(four, at("10.0.0.1:2")),
            Some(at("10.0.0.1:2"))
        );
        assert_eq!(reachable_from(four, at("[2001:db8::1]:2")), None);
        assert_eq!(
            reachable_from(four, at("[::ffff:10.0.0.1]:2")),
            Some(at("10.0.0.1:2"))
        );
        assert_eq!(
            reachable_from(six, at("10.0.0.1:2")),
            Some(at("[::ffff:10.0.0.1]:2"))
        );
        assert_eq!(
            reachable_from(six, at("[2001:db8::1]:2")),
            Some(at("[2001:db8::1]:2"))
        );
    }

    #[tokio::test]
    async fn a_number_needs_no_looking_up() {
        let local = at("127.0.0.1:1");
        let found = resolve(local, "127.0.0.1:7101").await;
        assert_eq!(found, [at("127.0.0.1:7101")]);
    }

    #[test]
    fn addresses_at_which_nobody_listens_come_last() {
        let found = ["[::1]:5", "127.0.0.1:5", "[::1]:5", "10.0.0.1:5"].map(at);
        let ordered = in_order(found.into(), |address| address == at("[::1]:5"));
        assert_eq!(ordered, ["127.0.0.1:5", "10.0.0.1:5", "[::1]:5"].map(at));
        let open = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listens = open.local_addr().unwrap();
        assert!(!refuses(listens));
        drop(open);
        assert!(refuses(listens));
        assert!(
            !refuses(at("192.0.2.1:5")),
            "only this machine knows at once"
        );
    }

    /// The shutdown of a runtime waits for its blocking tasks, but not for a resolver thread.
    #[test]
    fn resolver_that_does_not_answer_keeps_nobody_waiting() {
        let (ended, end) = std::sync::mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let stuck = move || {
            let _ = end.recv();
            Ok(Vec::new())
        };
        let waited = runtime.block_on(async {
            tokio::time::timeout(Duration::from_millis(1), look_up_by(stuck)).await
        });
        assert!(waited.is_err());
        // This drop would never return if it waited for the resolver.
        drop(runtime);
        drop(ended);
    }
}
