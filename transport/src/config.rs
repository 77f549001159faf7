//! How an endpoint is set up, and which settings cannot be.

use crate::{Faults, KeyError, Keys};
use model::{
    Address,
    wire::{BootId, FRAGMENT, FRAME, HEADER, TAG, VotersDigest},
};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    ops::RangeInclusive,
    time::{SystemTime, UNIX_EPOCH},
};

/// Longer ones gained nothing, and of a few of them the last finds no room with a receiver that is
/// busy, where the system grants it little.
const DATAGRAM: usize = 30_000;
/// The least length that a path may be reduced to: with the longest headers of IPv4, less than the
/// 576 bytes that every host accepts. Datagrams of up to this length are never probed.
pub(crate) const FLOOR: usize = 508;

/// How an endpoint is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The cluster: datagrams of another one are dropped.
    pub cluster: String,
    /// The voters that this process was configured with. Datagrams of a process with other voters
    /// are dropped; those of a process without voters, such as a client, are accepted.
    pub voters: VotersDigest,
    /// This run of the process; drawn when the endpoint is opened if it is not given.
    pub boot: Option<BootId>,
    /// Where the processes with fixed addresses are.
    pub peers: BTreeMap<Address, SocketAddr>,
    /// What datagrams are sealed with.
    pub keys: Keys,
    /// What goes wrong on purpose.
    pub faults: Option<Faults>,
    /// The most bytes of a datagram, without the headers of UDP and IP: an upper bound. Each path
    /// begins at 1,200 bytes and grows as far as probes get through.
    pub max_datagram: usize,
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
    /// What [`Self::max_datagram`] may be.
    pub const DATAGRAMS: RangeInclusive<usize> = FLOOR..=65_507;

    /// The most bytes of [`Self::cluster`].
    pub const MAX_CLUSTER: usize = 255;

    /// What [`Self::max_datagram`] is unless it is set.
    pub const DEFAULT_DATAGRAM: usize = DATAGRAM;

    /// Reads [`Self::max_datagram`] from a command line.
    ///
    /// # Errors
    /// If it is no number, or out of range.
    pub fn parse_max_datagram(text: &str) -> Result<usize, String> {
        let allowed = Self::DATAGRAMS;
        let number = text.trim().parse().ok();
        number
            .filter(|number| allowed.contains(number))
            .ok_or_else(|| {
                let (least, most) = (allowed.start(), allowed.end());
                format!(
                    "{text:?} is not a length of datagrams: choose from {least} to {most} bytes"
                )
            })
    }

    /// Checks [`Self::cluster`] as servers do, whose logs have no room for a longer name.
    ///
    /// # Errors
    /// If no server has this name.
    pub fn check_cluster(name: &str) -> Result<(), ClusterNameError> {
        match name.len() {
            1..=Self::MAX_CLUSTER => Ok(()),
            length => Err(ClusterNameError(length)),
        }
    }

    /// Without peers, keys and faults.
    pub fn new(listen: SocketAddr, cluster: impl Into<String>) -> Self {
        Self {
            listen,
            cluster: cluster.into(),
            voters: VotersDigest::NONE,
            boot: None,
            peers: BTreeMap::new(),
            keys: Keys::INSECURE,
            faults: None,
            max_datagram: DATAGRAM,
            max_message: 4 << 20,
            max_bulk: 0,
            send_queue: 4 << 20,
            inbox: 65_536,
            learned_routes: 65_536,
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let allowed = Self::DATAGRAMS;
        if !allowed.contains(&self.max_datagram) {
            return Err(format!(
                "max_datagram is {}; choose a length from {} to {} bytes",
                self.max_datagram,
                allowed.start(),
                allowed.end()
            ));
        }
        let most = u32::MAX as usize;
        for (name, value) in [
            ("max_message", self.max_message),
            ("max_bulk", self.max_bulk),
        ] {
            if value > most {
                return Err(format!(
                    "{name} is {value}; at most {most} bytes are allowed"
                ));
            }
        }
        Ok(())
    }
}

/// A name that no cluster can have. Holds its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cluster's name has {0} bytes: at most {most} are allowed, and at least 1", most = Config::MAX_CLUSTER)]
pub struct ClusterNameError(pub usize);

/// Names a new run of a process: the time of its start and 64 random bits.
///
/// # Errors
/// If the system provides no random bytes.
pub fn new_boot() -> Result<BootId, KeyError> {
    let random = getrandom::u64().map_err(KeyError::Random)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let started = since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    });
    Ok(BootId { started, random })
}

/// The most bytes of a body, in datagrams of at most this length.
pub(crate) const fn room_in(datagram: usize) -> usize {
    datagram - HEADER - TAG
}

/// The bytes of a message in each fragment but the last, where a body has at most this length.
pub(crate) const fn fragment_in(room: usize) -> usize {
    room - FRAME - FRAGMENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_datagrams_is_within_what_udp_carries() {
        for (text, read) in [
            ("508", Some(508)),
            (" 1400 ", Some(1_400)),
            ("65507", Some(65_507)),
            ("507", None),
            ("65508", None),
            ("-1", None),
            ("", None),
            ("1400B", None),
        ] {
            assert_eq!(Config::parse_max_datagram(text).ok(), read, "{text}");
        }
        let error = Config::parse_max_datagram("9").unwrap_err();
        assert!(error.contains("508 to 65507"), "{error}");
    }
}
