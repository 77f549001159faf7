//! Whether a silent leader's process is gone.
//!
//! A process that ended has left its socket, and the system it ran on answers a datagram to that
//! with "port unreachable" (RFC 1122, 4.1.3.1). So nobody has to wait for an election timeout to know
//! that a killed process, or one that stopped in good order, leads no more.
//!
//! It is a hint and decides nothing. A machine that is gone, or a filter on the way, answers nothing,
//! and the timeouts are waited for. A forged answer can do no more than have a silent leader doubted
//! early: who is asked only after two heartbeats failed to come, and those who still hear the leader
//! vote for nobody else (thesis §4.2.3, §9.6). For the core it is a timeout, which in the model may
//! happen at any moment.

use std::{
    io::{self, ErrorKind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// A socket apart: what the system has to say about a datagram is told to the socket that sent it,
/// in place of what was asked of that next.
#[derive(Default)]
pub(crate) struct Knock(Option<(SocketAddr, UdpSocket)>);

impl Knock {
    /// Whether nobody listens at this address, as far as is known by now. Sends a datagram there, of
    /// one byte that is dropped if somebody does; to be called again in a while, for the answer may
    /// take its time.
    pub(crate) fn finds_nobody(&mut self, at: SocketAddr) -> bool {
        self.try_at(at).is_err_and(|error| {
            if error.kind() != ErrorKind::ConnectionRefused {
                // No such socket is to be had, or no way leads there now: nothing is known.
                self.0 = None;
            }
            error.kind() == ErrorKind::ConnectionRefused
        })
    }

    /// Nothing is to be found out.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }

    fn try_at(&mut self, at: SocketAddr) -> io::Result<()> {
        let socket = match self.0.take() {
            Some((same, socket)) if same == at => socket,
            _ => {
                let any = match at {
                    SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                    SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
                };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(at)?;
                socket
            }
        };
        let (_, socket) = self.0.insert((at, socket));
        // Either call tells of what came back since, and on the same machine that is at once.
        socket.send(&[0])?;
        match socket.recv(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_is_told_from_nobody() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            // A machine without IPv6 shows the other only.
            let Ok(socket) = UdpSocket::bind(any) else {
                continue;
            };
            let at = socket.local_addr().unwrap();
            let mut knock = Knock::default();
            for _ in 0..3 {
                assert!(!knock.finds_nobody(at), "{at}");
            }
            drop(socket);
            for _ in 0..3 {
                assert!(knock.finds_nobody(at), "{at}");
            }
            let _back = UdpSocket::bind(at).unwrap();
            // What came back before is told once more.
            knock.finds_nobody(at);
            assert!(!knock.finds_nobody(at), "{at}");
        }
    }
}
