//! Looking up the address behind a name, for as long as it takes.

use std::{
    net::{SocketAddr, SocketAddrV6},
    time::Duration,
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The address as a socket bound to `local` must name it, if it can reach it at all.
pub(crate) fn reachable_from(local: SocketAddr, at: SocketAddr) -> Option<SocketAddr> {
    match (local, at) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) | (SocketAddr::V6(_), SocketAddr::V6(_)) => Some(at),
        (SocketAddr::V6(_), SocketAddr::V4(at)) => {
            let mapped = at.ip().to_ipv6_mapped();
            Some(SocketAddrV6::new(mapped, at.port(), 0, 0).into())
        }
        (SocketAddr::V4(_), SocketAddr::V6(at)) => {
            let ip = at.ip().to_ipv4_mapped()?;
            Some(SocketAddr::from((ip, at.port())))
        }
    }
}

/// Looks up `HOST:PORT` until there is an address that a socket bound to `local` can reach.
pub(crate) async fn resolve(local: SocketAddr, host_port: &str) -> SocketAddr {
    let mut pause = FIRST_PAUSE;
    loop {
        match tokio::net::lookup_host(host_port).await {
            Ok(found) => {
                let mut reachable = found.filter_map(|at| reachable_from(local, at));
                if let Some(at) = reachable.next() {
                    return at;
                }
                tracing::warn!(
                    host_port,
                    %local,
                    "the name has no address this socket can reach; trying again"
                );
            }
            Err(error) => {
                tracing::warn!(host_port, %error, "the name cannot be looked up; trying again");
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
    fn addresses_are_named_as_the_socket_can() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
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
        let local = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(
            resolve(local, "127.0.0.1:7101").await,
            SocketAddr::from(([127, 0, 0, 1], 7101))
        );
    }
}
