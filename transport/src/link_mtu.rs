//! The kernel's estimate of a path MTU: the MTU of the outgoing interface, or a smaller value that
//! the kernel learned.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

/// The length of the IP and UDP headers, in bytes.
const HEADERS_V4: usize = 28;
const HEADERS_V6: usize = 48;

/// The largest UDP payload that the kernel expects to reach this address from a socket bound to
/// `local`, in bytes. `None` if it has no estimate. Sends nothing.
pub(crate) fn payload(local: SocketAddr, to: SocketAddr) -> Option<usize> {
    let to = SocketAddr::new(to.ip().to_canonical(), to.port());
    let mut from = SocketAddr::new(local.ip().to_canonical(), 0);
    if from.is_ipv4() != to.is_ipv4() || from.ip().is_unspecified() {
        from = if to.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0_u16; 8], 0).into()
        };
    }
    let headers = if to.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
    mtu(from, to).ok()?.checked_sub(headers)
}

#[cfg(target_os = "linux")]
fn mtu(from: SocketAddr, to: SocketAddr) -> io::Result<usize> {
    let socket = UdpSocket::bind(from)?;
    // Looks up the route without sending a packet.
    socket.connect(to)?;
    let mtu = if to.is_ipv4() {
        rustix::net::sockopt::ip_mtu(&socket)?
    } else {
        rustix::net::sockopt::ipv6_mtu(&socket)?
    };
    usize::try_from(mtu).map_err(io::Error::other)
}

#[cfg(not(target_os = "linux"))]
fn mtu(_: SocketAddr, _: SocketAddr) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_the_mtu_of_its_interface() {
        let text = std::fs::read_to_string("/sys/class/net/lo/mtu").unwrap();
        // The length field of IP limits a packet to 65,535 bytes, even if the MTU of the interface
        // is greater.
        let mtu = text.trim().parse::<usize>().unwrap().min(65_535);
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        for local in ["127.0.0.1:5", "0.0.0.0:5", "[::]:5"] {
            let found = payload(at(local), at("127.0.0.1:9"));
            assert_eq!(found, Some(mtu - HEADERS_V4), "{local}");
        }
        let mapped = payload(at("[::]:5"), at("[::ffff:127.0.0.1]:9"));
        assert_eq!(mapped, Some(mtu - HEADERS_V4));
    }
}
