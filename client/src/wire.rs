//! How the endpoint is set up: the one place that knows the transport's settings.

use crate::{ConnectError, Options, Route};
use std::{io, net::SocketAddr};
use tokio::time::{Instant, timeout_at};
use transport::{Endpoint, Inbox};

/// Opens a socket to ask those at `to`, of both families where both are among them, or where another
/// endpoint may turn out to be of the other one.
pub(crate) async fn bind(
    options: &Options,
    to: &[SocketAddr],
) -> Result<(Endpoint, Inbox), ConnectError> {
    let config = |any: SocketAddr| {
        let mut config = transport::Config::new(any, options.cluster.clone());
        config.keys = options.keys.clone();
        config.max_datagram = options.max_datagram;
        config
    };
    let four = config(([0, 0, 0, 0], 0).into());
    let is_only = options.route == Route::Proxy && options.endpoints.len() == 1;
    if is_only && to.iter().all(SocketAddr::is_ipv4) {
        return Endpoint::bind(four).await.map_err(ConnectError::Bind);
    }
    let six = Endpoint::bind(config(([0_u16; 8], 0).into())).await;
    // A machine may have no IPv6 although names have such addresses.
    let bound = if six.is_err() && to.iter().any(SocketAddr::is_ipv4) {
        Endpoint::bind(four).await
    } else {
        six
    };
    bound.map_err(ConnectError::Bind)
}

/// Refuses what is not written as `HOST:PORT`, and addresses that are never reached.
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

/// Looks up `HOST:PORT`, until then at the longest: all addresses, in the order in which to try them.
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
        // A machine without IPv6 makes the best of it.
        let has_six = std::net::UdpSocket::bind("[::]:0").is_ok();
        assert_eq!(bound(&[six, four]).await, has_six);
        // The other endpoint may be reached by IPv6 only.
        let mut options = Options::default();
        options.endpoints.push("[::1]:7000".to_owned());
        let (endpoint, _) = bind(&options, &[four]).await.unwrap();
        assert_eq!(endpoint.local_addr().unwrap().is_ipv6(), has_six);
    }
}
