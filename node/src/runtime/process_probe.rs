//! Probes whether the process of a silent server is gone: of the leader, or of the target of a leadership
//! transfer.
//!
//! When a process ends, its socket closes, and its system answers further datagrams with ICMP "port
//! unreachable" (RFC 1122, 4.1.3.1). The other servers therefore detect a killed or stopped leader
//! before their election timeouts expire.
//!
//! The result is only a hint. A machine that is down, or a packet filter on the path, answers
//! nothing, and the timeouts apply. A forged answer can only cause an early suspicion of a silent
//! leader: the probe is sent after two heartbeats were missed, and servers that still receive heartbeats
//! refuse their votes (thesis §4.2.3, §9.6). For the core the result is a timeout, which in the
//! model may happen at any time.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};
use transport::{LivenessProbe, Network};

/// The probe of a server, if one is in progress.
#[derive(Default)]
pub(crate) struct ProcessProbe(Option<(SocketAddr, Box<dyn LivenessProbe>)>);

impl ProcessProbe {
    /// Whether no process listens at this address, as far as is known by now. Sends a one-byte
    /// datagram there, which a live process drops. Call it repeatedly, because the ICMP answer may
    /// be delayed.
    pub(crate) fn is_unreachable(&mut self, network: &dyn Network, at: SocketAddr) -> bool {
        self.try_at(network, at).is_err_and(|error| {
            if error.kind() != ErrorKind::ConnectionRefused {
                // No socket is available, or there is no route: the result is unknown.
                self.0 = None;
            }
            error.kind() == ErrorKind::ConnectionRefused
        })
    }

    /// Discards the probe.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }

    fn try_at(&mut self, network: &dyn Network, at: SocketAddr) -> io::Result<()> {
        let probe = match self.0.take() {
            Some((same, probe)) if same == at => probe,
            _ => network.probe(at)?,
        };
        let (_, probe) = self.0.insert((at, probe));
        probe.send()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use transport::Environment;

    #[test]
    fn open_port_is_distinguished_from_closed_port() {
        let network = Environment::system().network;
        for any in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 tests IPv4 only.
            let Ok(socket) = UdpSocket::bind(any) else {
                continue;
            };
            let at = socket.local_addr().unwrap();
            let mut probe = ProcessProbe::default();
            for _ in 0..3 {
                assert!(!probe.is_unreachable(&*network, at), "{at}");
            }
            drop(socket);
            for _ in 0..3 {
                assert!(probe.is_unreachable(&*network, at), "{at}");
            }
            let _back = UdpSocket::bind(at).unwrap();
            // The pending error of the earlier probe is reported once more.
            probe.is_unreachable(&*network, at);
            assert!(!probe.is_unreachable(&*network, at), "{at}");
        }
    }
}
