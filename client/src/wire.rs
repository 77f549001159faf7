//! The configuration of the endpoint: the only module that knows the transport's settings.

use crate::{ConnectError, Options, Route};
use std::{io, net::SocketAddr};
use tokio::time::{Instant, timeout_at};
use transport::{Endpoint, Inbox};

/// Opens a socket for the addresses `to`. The socket supports both IP families if both occur, or if
/// another endpoint may resolve to the other family.
pub(crate) async fn bind(
    options: &Options,
    to: &[SocketAddr],
) -> Result<(Endpoint, Inbox), ConnectError> {
    let config = |any: SocketAddr| {
        let mut config = transport::Config::new(any, options.cluster.clone());
        config.keys = options.keys.clone();
        config.max_datagram = options.max_datagram;
        config.environment = options.environment.clone();
        config
    };
    let four = config(([0, 0, 0, 0], 0).into());
    let is_only = options.route == Route::Proxy && options.endpoints.len() == 1;
    if is_only && to.iter().all(SocketAddr::is_ipv4) {
        return Endpoint::bind(four).await.map_err(ConnectError::Bind);
    }
    let six = Endpoint::bind(config(([0_u16; 8], 0).into())).await;
    // A machine may lack IPv6 although a name has IPv6 addresses.
    let bound = if six.is_err() && to.iter().any(SocketAddr::is_ipv4) {
        Endpoint::bind(four).await
    } else {
        six
    };
    bound.map_err(ConnectError::Bind)
}

/// Rejects endpoints that are not of the form `HOST:PORT`, and addresses that can never be reached.
pub(crate) fn check(endpoint: &str) -> Result<(), ConnectError> {
    transport::check_endpoint(endpoint).map_err(|expected| ConnectError::Endpoint {
        endpoint: endpoint.to_owned(),
        expected,
    })?;
    let any = ([0_u16; 8], 0).into();
    match transport::why_unreachable(any, endpoint) {
        Some(why) => Err(ConnectError::Unreachable {
            endpoint: endpoint.to_owned(),
            why,
        }),
        None => Ok(()),
    }
}

/// Resolves `HOST:PORT` with a deadline, and returns all addresses in the order in which to try them.
pub(crate) async fn resolve(
    endpoint: &str,
    until: Instant,
) -> Result<Vec<SocketAddr>, ConnectError> {
    check(endpoint)?;
    let found = timeout_at(until, transport::lookup(endpoint)).await;
    let silent = |_| {
        io::Error::new(
            io::ErrorKind::TimedOut,
            "the resolver does not answer in time",
        )
    };
    found
        .map_err(silent)
        .flatten()
        .map_err(|source| ConnectError::Resolve {
            endpoint: endpoint.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_reaches_all_addresses_of_a_name() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (four, six) = (at("127.0.0.1:7000"), at("[::1]:7000"));
        let bound = async |to: &[SocketAddr]| {
            let (endpoint, _) = bind(&Options::default(), to).await.unwrap();
            endpoint.local_addr().unwrap().is_ipv6()
        };
        assert!(!bound(&[four]).await);
        // Without IPv6 on this machine, IPv4 must suffice.
        let has_six = std::net::UdpSocket::bind("[::]:0").is_ok();
        assert_eq!(bound(&[six, four]).await, has_six);
        // The other endpoint may have an IPv6 address only.
        let mut options = Options::default();
        options.endpoints.push("[::1]:7000".to_owned());
        let (endpoint, _) = bind(&options, &[four]).await.unwrap();
        assert_eq!(endpoint.local_addr().unwrap().is_ipv6(), has_six);
    }
}
