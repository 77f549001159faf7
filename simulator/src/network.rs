//! Sockets in memory. Each datagram is lost, duplicated and delayed at random.

use crate::{Simulation, State, lock};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind, IoSliceMut},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    task::{Context, Poll, Waker},
    time::Duration,
};
use transport::{DatagramSocket, LivenessProbe, Network, RecvMeta, canonical};

/// The source of datagrams from sockets that are bound to an unspecified address.
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 255, 0, 1));
/// The first port that the network assigns to a socket without one.
const FIRST_PORT: u16 = 10_000;
/// The largest payload of a UDP datagram over IPv4, in bytes.
const LONGEST: usize = 65_507;

/// The behavior of the network for each datagram.
#[derive(Clone, Debug)]
pub struct Link {
    /// The shortest and the longest time in transit. Datagrams overtake one another if these
    /// differ.
    pub delay: [Duration; 2],
    /// Of how many datagrams, on average, one is lost. 0 loses none.
    pub loses_one_of: u64,
    /// Of how many datagrams, on average, one arrives twice. 0 duplicates none.
    pub duplicates_one_of: u64,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: [Duration::from_micros(100); 2],
            loses_one_of: 0,
            duplicates_one_of: 0,
        }
    }
}

/// The sockets, and the datagrams in transit.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    pub(crate) link: Link,
    sockets: BTreeMap<SocketAddr, Received>,
    /// By arrival time, and in the order of sending.
    in_transit: BTreeMap<(Duration, u64), InTransit>,
    sent: u64,
}

#[derive(Debug)]
struct InTransit {
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// The datagrams that arrived at a socket, with their senders.
#[derive(Debug, Default)]
struct Received {
    datagrams: VecDeque<(SocketAddr, Vec<u8>)>,
    waker: Option<Waker>,
}

impl Datagrams {
    pub(crate) fn next_arrival(&self) -> Option<Duration> {
        self.in_transit.keys().next().map(|(at, _)| *at)
    }

    /// Delivers the datagrams that have arrived by now, and returns whether a bound socket received
    /// one. Datagrams for an unbound address are lost.
    pub(crate) fn deliver(&mut self, now: Duration) -> bool {
        let mut has_arrivals = false;
        while let Some(next) = self.in_transit.first_entry()
            && next.key().0 <= now
        {
            let InTransit { from, to, bytes } = next.remove();
            if let Some(socket) = self.sockets.get_mut(&to) {
                socket.datagrams.push_back((from, bytes));
                if let Some(waker) = socket.waker.take() {
                    waker.wake();
                }
                has_arrivals = true;
            }
        }
        has_arrivals
    }
}

impl State {
    fn happens(&mut self, one_of: u64) -> bool {
        one_of > 0 && self.below(one_of) == 0
    }

    fn send(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Link {
            delay: [least, most],
            loses_one_of,
            duplicates_one_of,
        } = self.datagrams.link;
        if self.happens(loses_one_of) {
            return;
        }
        let copies = 1 + u64::from(self.happens(duplicates_one_of));
        for _ in 0..copies {
            let spread = u64::try_from((most - least).as_nanos()).unwrap_or(u64::MAX);
            let more = self.below(spread.saturating_add(1));
            let at = now + least + Duration::from_nanos(more);
            let bytes = bytes.to_vec();
            let datagram = InTransit { from, to, bytes };
            let datagrams = &mut self.datagrams;
            datagrams.in_transit.insert((at, datagrams.sent), datagram);
            datagrams.sent += 1;
        }
    }
}

impl Network for Simulation {
    fn bind(&self, listen: SocketAddr) -> io::Result<Box<dyn DatagramSocket>> {
        let mut state = self.lock();
        let sockets = &mut state.datagrams.sockets;
        let ip = if listen.ip().is_unspecified() {
            HOST
        } else {
            listen.ip().to_canonical()
        };
        let ports = match listen.port() {
            0 => FIRST_PORT..=u16::MAX,
            port => port..=port,
        };
        let mut free = ports.map(|port| SocketAddr::new(ip, port));
        let at = free.find(|at| !sockets.contains_key(at));
        let at = at.ok_or(ErrorKind::AddrInUse)?;
        sockets.insert(at, Received::default());
        Ok(Box::new(SimulatedSocket {
            at,
            local: SocketAddr::new(listen.ip(), at.port()),
            simulation: self.clone(),
        }))
    }

    fn path_payload(&self, _: SocketAddr, _: SocketAddr) -> Option<usize> {
        Some(LONGEST)
    }

    fn probe(&self, at: SocketAddr) -> io::Result<Box<dyn LivenessProbe>> {
        let simulation = self.clone();
        Ok(Box::new(SimulatedProbe { at, simulation }))
    }
}

/// Detects at once whether an address is bound.
#[derive(Debug)]
struct SimulatedProbe {
    at: SocketAddr,
    simulation: Simulation,
}

impl LivenessProbe for SimulatedProbe {
    fn send(&self) -> io::Result<()> {
        let state = self.simulation.lock();
        let is_bound = state.datagrams.sockets.contains_key(&self.at);
        is_bound
            .then_some(())
            .ok_or(ErrorKind::ConnectionRefused.into())
    }
}

/// A socket in memory. Its address is free again once it is dropped.
#[derive(Debug)]
struct SimulatedSocket {
    /// The source of its datagrams.
    at: SocketAddr,
    /// The same port, with the address that was bound.
    local: SocketAddr,
    simulation: Simulation,
}

impl Drop for SimulatedSocket {
    fn drop(&mut self) {
        self.simulation.lock().datagrams.sockets.remove(&self.at);
    }
}

impl DatagramSocket for SimulatedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn send(&self, to: SocketAddr, bytes: &[u8], segment: usize) -> io::Result<()> {
        let now = self.simulation.elapsed();
        let mut state = self.simulation.lock();
        for datagram in bytes.chunks(segment.max(1)) {
            state.send(now, self.at, canonical(to), datagram);
        }
        drop(state);
        self.simulation.shared.sent.notify_one();
        Ok(())
    }

    fn receive(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> io::Result<usize> {
        let mut state = self.simulation.lock();
        let received = state.datagrams.sockets.get_mut(&self.at);
        let received = received.ok_or(ErrorKind::NotConnected)?;
        let mut filled = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let Some((from, bytes)) = received.datagrams.pop_front() else {
                break;
            };
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            (meta.addr, meta.len, meta.stride) = (from, length, length);
            filled += 1;
        }
        match filled {
            0 => Err(ErrorKind::WouldBlock.into()),
            filled => Ok(filled),
        }
    }

    fn poll_receive(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        match self.receive(buffers, metas) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let mut state = lock(&self.simulation.shared.state);
                if let Some(received) = state.datagrams.sockets.get_mut(&self.at) {
                    received.waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
