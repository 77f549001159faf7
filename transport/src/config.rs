//! The settings of an endpoint and their validation.

use crate::{Environment, Faults, Keys};
use model::{
    Address,
    wire::{BootId, FRAGMENT, FRAME, HEADER, TAG, VotersDigest},
};
use std::{collections::BTreeMap, io, net::SocketAddr, ops::RangeInclusive, time::UNIX_EPOCH};

/// Longer datagrams brought no gain in measurements. Also, if the system grants a small receive
/// buffer, a busy receiver drops the last of a few longer ones.
const DATAGRAM: usize = 30_000;
/// The minimum length of a path. With the longest IPv4 headers, it stays below the 576 bytes that
/// every host accepts. Datagrams of up to this length are never probed.
pub(crate) const FLOOR: usize = 508;

/// The settings of an endpoint.
#[derive(Clone, Debug)]
pub struct Config {
    /// The local address. Port 0 selects a free one.
    pub listen: SocketAddr,
    /// The name of the cluster. Datagrams of other clusters are dropped.
    pub cluster: String,
    /// The voters configured for this process. Datagrams of a process with other voters are
    /// dropped; those of a process without voters, such as a client, are accepted.
    pub voters: VotersDigest,
    /// The boot id of this run of the process. Generated when the endpoint is opened if absent.
    pub boot: Option<BootId>,
    /// The addresses of the processes with fixed addresses.
    pub peers: BTreeMap<Address, SocketAddr>,
    /// The keys that seal datagrams.
    pub keys: Keys,
    /// The fault plan for fault injection.
    pub faults: Option<Faults>,
    /// The upper bound of the datagram size, in bytes, without UDP and IP headers. Each path starts
    /// at 1,200 bytes and grows as far as its probes are acknowledged.
    pub max_datagram: usize,
    /// The maximum size of an encoded message, in bytes, sent or received.
    pub max_message: usize,
    /// The maximum size of a bulk message (a snapshot from one server to another), in bytes. At
    /// most one at a time is sent to each receiver, and one reassembled from each sender. A sender
    /// with only the client key cannot send one.
    pub max_bulk: usize,
    /// The capacity of the send queue, in bytes, for datagrams that the socket does not accept yet.
    pub send_queue: usize,
    /// The capacity of the inbox, in messages.
    pub inbox: usize,
    /// The maximum number of learned routes to processes that are not listed.
    pub learned_routes: usize,
    /// The clock, the random numbers, the network and the threads.
    pub environment: Environment,
}

impl Config {
    /// The valid range of [`Self::max_datagram`].
    pub const DATAGRAMS: RangeInclusive<usize> = FLOOR..=65_507;

    /// The maximum length of [`Self::cluster`], in bytes.
    pub const MAX_CLUSTER: usize = 255;

    /// The default of [`Self::max_datagram`].
    pub const DEFAULT_DATAGRAM: usize = DATAGRAM;

    /// Parses [`Self::max_datagram`] from a command line.
    ///
    /// # Errors
    /// If the text is not a number, or out of range.
    pub fn parse_max_datagram(text: &str) -> Result<usize, String> {
        let allowed = Self::DATAGRAMS;
        let number = text.trim().parse().ok();
        number
            .filter(|number| allowed.contains(number))
            .ok_or_else(|| {
                let (least, most) = (allowed.start(), allowed.end());
                format!("{text:?} is not a datagram size: choose {least} to {most} bytes")
            })
    }

    /// Validates a cluster name with the limit of the servers, whose logs have no room for a longer
    /// one.
    ///
    /// # Errors
    /// If the name is empty or too long.
    pub fn check_cluster(name: &str) -> Result<(), ClusterNameError> {
        match name.len() {
            1..=Self::MAX_CLUSTER => Ok(()),
            length => Err(ClusterNameError(length)),
        }
    }

    /// Creates the default settings, without peers, keys and faults.
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
            environment: Environment::system(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let allowed = Self::DATAGRAMS;
        if !allowed.contains(&self.max_datagram) {
            return Err(format!(
                "max_datagram is {}; choose {} to {} bytes",
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

/// An invalid cluster name. Holds its length, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cluster name has {0} bytes: it must have 1 to {most}", most = Config::MAX_CLUSTER)]
pub struct ClusterNameError(pub usize);

/// Generates the id of a new run of a process: the time of its start and 64 random bits.
///
/// # Errors
/// If the system provides no random bytes.
pub fn new_boot(environment: &Environment) -> io::Result<BootId> {
    let mut random = [0; 8];
    environment.entropy.fill(&mut random)?;
    let random = u64::from_ne_bytes(random);
    let since = environment.clock.calendar().duration_since(UNIX_EPOCH);
    let started = since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    });
    Ok(BootId { started, random })
}

/// The maximum body length in datagrams of this length, in bytes.
pub(crate) const fn room_in(datagram: usize) -> usize {
    datagram - HEADER - TAG
}

/// The bytes of a message in each fragment but the last, for bodies of this maximum length.
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
