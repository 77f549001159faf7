//! How an endpoint is set up, and which settings cannot be.

use crate::{Faults, Keys};
use model::{
    Address,
    wire::{CHUNK, FRAME, HEADER, TAG},
};
use std::{collections::BTreeMap, net::SocketAddr};

/// Every path carries this much, but for the odd tunnel within a tunnel: 1,448 bytes with the
/// headers of UDP and IPv6, of the 1,500 of Ethernet.
const DATAGRAM: usize = 1_400;
/// Longer ones gained nothing, and of a few of them the last finds no room with a receiver that is
/// busy, where the system grants it little.
const LOOPBACK_DATAGRAM: usize = 30_000;
const DATAGRAMS: std::ops::RangeInclusive<usize> = 576..=65_507;

/// How an endpoint is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The cluster: datagrams of another one are dropped.
    pub cluster: String,
    /// Where the processes with fixed addresses are.
    pub peers: BTreeMap<Address, SocketAddr>,
    /// What datagrams are sealed with.
    pub keys: Keys,
    /// What goes wrong on purpose.
    pub faults: Option<Faults>,
    /// The most bytes of a datagram, UDP's and IP's headers not counted. Datagrams are never cut up
    /// on their way, so a longer one than the path carries is lost.
    pub max_datagram: usize,
    /// The same for a socket that listens at a loopback address, and so reaches nothing beyond its
    /// machine. Used if the system is seen to carry that much when the socket is opened.
    pub max_loopback_datagram: usize,
    /// The most bytes of an encoded message, sent or received.
    pub max_message: usize,
    /// The same for the state of a server on its way to another, of which one at a time is sent to
    /// each receiver, and one taken of each sender. Nobody with the client key alone may send one.
    pub max_bulk: usize,
    /// The most bytes that wait while the socket takes no more.
    pub send_queue: usize,
    /// The most messages that wait in the inbox.
    pub inbox: usize,
    /// The most processes that are remembered without being listed.
    pub learned_routes: usize,
}

impl Config {
    /// Without peers, keys and faults.
    pub fn new(listen: SocketAddr, cluster: impl Into<String>) -> Self {
        Self {
            listen,
            cluster: cluster.into(),
            peers: BTreeMap::new(),
            keys: Keys::INSECURE,
            faults: None,
            max_datagram: DATAGRAM,
            max_loopback_datagram: LOOPBACK_DATAGRAM,
            max_message: 4 << 20,
            max_bulk: 0,
            send_queue: 4 << 20,
            inbox: 65_536,
            learned_routes: 65_536,
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, value) in [
            ("max_datagram", self.max_datagram),
            ("max_loopback_datagram", self.max_loopback_datagram),
        ] {
            if !DATAGRAMS.contains(&value) {
                return Err(format!(
                    "{name} is {value}; a datagram has {} to {} bytes",
                    DATAGRAMS.start(),
                    DATAGRAMS.end()
                ));
            }
        }
        let shorter = self.max_datagram.min(self.max_loopback_datagram);
        let most = chunk_in(room_in(shorter)).saturating_mul(u32::MAX as usize);
        for (name, value) in [
            ("max_message", self.max_message),
            ("max_bulk", self.max_bulk),
        ] {
            if value > most {
                return Err(format!(
                    "{name} is {value}; in datagrams of {shorter} bytes no message has more than {most}"
                ));
            }
        }
        Ok(())
    }
}

/// The most bytes of a body, in datagrams of at most this length.
pub(crate) const fn room_in(datagram: usize) -> usize {
    datagram - HEADER - TAG
}

/// The bytes of a message in each chunk but the last, where a body has at most this length.
pub(crate) const fn chunk_in(room: usize) -> usize {
    room - FRAME - CHUNK
}
