//! The operating system as the [environment](crate::environment) of a process.

use crate::{
    environment::{Clock, DatagramSocket, Entropy, Environment, LivenessProbe, Network, Threads},
    key::KeyError,
    link_mtu,
};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::{
    io::{self, ErrorKind, IoSliceMut},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard},
    task::{Context, Poll, ready},
    thread,
    time::{Instant, SystemTime},
};
use tokio::io::Interest;

/// The socket buffer size requested from the system, in bytes, for each direction. The system may
/// grant less.
const SOCKET_BUFFER: usize = 4 << 20;

/// The operating system.
#[derive(Debug)]
struct System;

impl Environment {
    /// The operating system.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(System),
            entropy: Arc::new(System),
            network: Arc::new(System),
            threads: Arc::new(System),
        }
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock for System {
    /// Tokio's clock, so that it stands still in a runtime whose clock is paused. Without tokio's
    /// feature `test-util` it is the system's clock.
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn calendar(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl Entropy for System {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(|error| io::Error::other(KeyError::Random(error)))
    }
}

impl Network for System {
    fn bind(&self, listen: SocketAddr) -> io::Result<Box<dyn DatagramSocket>> {
        Ok(Box::new(SystemSocket::bind(listen)?))
    }

    fn path_payload(&self, local: SocketAddr, to: SocketAddr) -> Option<usize> {
        link_mtu::payload(local, to)
    }

    fn probe(&self, at: SocketAddr) -> io::Result<Box<dyn LivenessProbe>> {
        let any = match at {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        socket.connect(at)?;
        Ok(Box::new(ConnectedSocket(socket)))
    }
}

/// The system reports the ICMP error of a datagram to the socket that sent it, as the result of its
/// next operation.
#[derive(Debug)]
struct ConnectedSocket(UdpSocket);

impl LivenessProbe for ConnectedSocket {
    fn send(&self) -> io::Result<()> {
        // Either call reports an ICMP error received since then; on the same machine it arrives at
        // once.
        self.0.send(&[0])?;
        match self.0.recv(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

impl Threads for System {
    fn spawn(&self, name: &str, job: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        thread::Builder::new().name(name.into()).spawn(job)?;
        Ok(())
    }
}

/// A UDP socket of the operating system.
#[derive(Debug)]
struct SystemSocket {
    socket: UdpSocket,
    /// The state for receiving.
    receiving: UdpSocketState,
    /// The state for sending. It caches that the system refuses batches, and that finding may be
    /// wrong.
    sending: RwLock<UdpSocketState>,
    /// The same socket in the runtime, once it is registered.
    registered: OnceLock<tokio::net::UdpSocket>,
}

impl SystemSocket {
    fn bind(listen: SocketAddr) -> io::Result<Self> {
        let socket = open(listen)?;
        let receiving = UdpSocketState::new((&socket).into())?;
        let _ = receiving.set_send_buffer_size((&socket).into(), SOCKET_BUFFER);
        let _ = receiving.set_recv_buffer_size((&socket).into(), SOCKET_BUFFER);
        let sending = RwLock::new(UdpSocketState::new((&socket).into())?);
        Ok(Self {
            socket,
            receiving,
            sending,
            registered: OnceLock::new(),
        })
    }

    fn sending(&self) -> RwLockReadGuard<'_, UdpSocketState> {
        self.sending.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn registered(&self) -> io::Result<&tokio::net::UdpSocket> {
        let registered = self.registered.get();
        registered.ok_or_else(|| io::Error::other("the socket is not registered"))
    }
}

impl DatagramSocket for SystemSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_segments(&self) -> usize {
        self.sending().max_gso_segments()
    }

    fn send(&self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: Some(segment),
            src_ip: None,
        };
        let send = || self.sending().try_send((&self.socket).into(), &transmit);
        let mut sent = None;
        if let Some(socket) = self.registered.get() {
            // Reports a full socket to the runtime, so that it waits for writability.
            let _ = socket.try_io(Interest::WRITABLE, || {
                let result = send();
                let is_full = |error: &io::Error| error.kind() == ErrorKind::WouldBlock;
                let is_full = result.as_ref().is_err_and(is_full);
                sent = Some(result);
                if is_full {
                    return Err(ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
        }
        // The runtime calls the function only if it believes that the socket is writable.
        sent.unwrap_or_else(send)
    }

    fn reset_segments(&self) {
        if let Ok(state) = UdpSocketState::new((&self.socket).into()) {
            let sending = self.sending.write();
            *sending.unwrap_or_else(PoisonError::into_inner) = state;
        }
    }

    fn receive(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        self.receiving.recv((&self.socket).into(), buffers, metas)
    }

    fn register(&self) -> io::Result<()> {
        let socket = tokio::net::UdpSocket::from_std(self.socket.try_clone()?)?;
        // A second registration changes nothing.
        let _ = self.registered.set(socket);
        Ok(())
    }

    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let socket = self.registered()?;
        loop {
            ready!(socket.poll_recv_ready(context))?;
            match socket.try_io(Interest::READABLE, || self.receive(buffers, metas)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.registered()?.poll_send_ready(context)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
}

fn open(listen: SocketAddr) -> io::Result<UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(listen),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if listen.is_ipv6() {
        // [::] accepts IPv4 as well, regardless of the system's default.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into()).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on UDP {listen}: {error}"),
        )
    })?;
    Ok(socket.into())
}
