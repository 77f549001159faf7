//! What a server is told when it starts.

use crate::wal;
use model::{
    NodeId,
    store::{MAX_SESSIONS, MAX_STATE_QUOTA},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};
use transport::{ClusterNameError, Faults, Keys};
use web::Secret;

/// The settings of one server. Made by [`Config::new`]; the fields are then set as wished.
#[derive(Clone, Debug)]
pub struct Config {
    /// This server.
    pub id: NodeId,
    /// The cluster's name, at most 255 bytes. Servers of another one are not understood, nor is
    /// their data directory.
    pub cluster: String,
    /// The servers of the cluster. This one is always among them.
    pub voters: BTreeSet<NodeId>,
    /// Where the other servers are: `HOST:PORT`. The address of one that is not listed is learned from
    /// its datagrams if they are sealed, or set by [`crate::Node::set_peer`].
    pub peers: BTreeMap<NodeId, String>,
    /// Where to listen for datagrams. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// What datagrams are sealed with. Without keys, anyone who reaches the socket can speak for
    /// anyone.
    pub keys: Keys,
    /// The most bytes of a datagram, without the headers of UDP and IP. Each path begins at 1,200 and
    /// grows as far as probes get through.
    pub max_datagram: usize,
    /// What goes wrong on the network on purpose. With a plan here, HTTP serves `/chaos`, where it
    /// is read and changed.
    pub faults: Option<Faults>,
    /// Where to serve HTTP for operators, if at all.
    pub http: Option<SocketAddr>,
    /// The bearer token that HTTP requests must carry, if any. `/livez` and `/readyz` need none.
    pub http_token: Option<Secret>,
    /// Names by which clients may call this server over HTTP, beside `localhost` and IP addresses.
    /// Without a token other names are refused.
    pub http_allow_host: Vec<String>,
    /// Where the log is kept. Made if it does not exist.
    pub data_dir: PathBuf,
    /// How often a leader shows that it lives.
    pub heartbeat: Duration,
    /// How long a follower waits for a leader, at least.
    pub election_min: Duration,
    /// How long a follower waits for a leader, at most.
    pub election_max: Duration,
    /// Where to write every step, for replay. Added to what is there.
    pub trace: Option<PathBuf>,
    /// How many operations [`crate::Node::propose`] and [`crate::Node::read`] have under way at
    /// once. Each takes a session in the replicated store.
    pub max_local: usize,
    /// How many more may wait for their turn.
    pub max_waiting: usize,
    /// How long such an operation may take.
    pub ask_timeout: Duration,
    /// A snapshot is taken when the log has grown by so many entries since the last, or a quarter
    /// more or less: not by all servers at once.
    pub snapshot_entries: u64,
    /// A snapshot is taken when the log has grown by so many bytes since the last,
    /// likewise, roughly.
    pub snapshot_bytes: u64,
    /// How large the segments of the log are.
    pub segment_bytes: u64,
    /// While writes come one at a time and so soon one after the other, both threads of the server
    /// wait awake for the next, as long as this and no longer. It makes such writes quicker, at the
    /// cost of processors that would otherwise be idle. Zero: never.
    pub busy_wait: Duration,
    /// The most client sessions that the cluster keeps. The leader's setting counts.
    pub max_sessions: u32,
    /// For how many applied entries after its last use a session is not evicted. The leader's setting
    /// counts.
    pub session_window: u64,
    /// How many bytes of keys and values, with 32 for each pair, the state may have. The leader's
    /// setting counts.
    pub state_quota: u64,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A name that does not fit into the log's header.
    #[error(transparent)]
    Cluster(#[from] ClusterNameError),
    /// A server that would run for office before it could have heard of a leader.
    #[error(
        "an election timeout of {min:?} to {max:?} does not go with a heartbeat every {heartbeat:?}: \
         the least must be at least twice the heartbeat, and the most longer than the least"
    )]
    Timers {
        /// The heartbeat interval.
        heartbeat: Duration,
        /// The least election timeout.
        min: Duration,
        /// The greatest.
        max: Duration,
    },
    /// Too small to hold anything.
    #[error("segments of {0} bytes are too small: at least 8192")]
    Segment(u64),
    /// A snapshot with each step.
    #[error("snapshot_entries and snapshot_bytes must be at least 1")]
    NoSnapshots,
    /// No client could ever write, or the sessions would not fit a snapshot.
    #[error("max_sessions of {0} is out of range: give 1 to {MAX_SESSIONS}")]
    Sessions(u32),
    /// A state that no snapshot could carry to a follower.
    #[error("a state quota of {0} bytes is out of range: give 1 to {MAX_STATE_QUOTA}")]
    Quota(u64),
    /// Nothing could ever be asked.
    #[error("max_local must be at least 1")]
    NoLocal,
}

impl Config {
    /// A server with no peers, listening on any free port of the loopback interface.
    pub fn new(id: NodeId, cluster: impl Into<String>, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            id,
            cluster: cluster.into(),
            voters: BTreeSet::from([id]),
            peers: BTreeMap::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            keys: Keys::INSECURE,
            max_datagram: transport::Config::DEFAULT_DATAGRAM,
            faults: None,
            http: None,
            http_token: None,
            http_allow_host: Vec::new(),
            data_dir: data_dir.into(),
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(1000),
            election_max: Duration::from_millis(2000),
            trace: None,
            max_local: 256,
            max_waiting: 4096,
            ask_timeout: Duration::from_secs(5),
            snapshot_entries: 10_000,
            snapshot_bytes: 4 << 20,
            segment_bytes: wal::SEGMENT_BYTES,
            busy_wait: Duration::from_micros(500),
            max_sessions: 1024,
            session_window: 16 * 1024,
            state_quota: 512 << 20,
        }
    }

    /// Checks what can be checked without touching the world.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        transport::Config::check_cluster(&self.cluster)?;
        if self.heartbeat.is_zero()
            || self.election_min < self.heartbeat * 2
            || self.election_max <= self.election_min
        {
            return Err(ConfigError::Timers {
                heartbeat: self.heartbeat,
                min: self.election_min,
                max: self.election_max,
            });
        }
        if self.segment_bytes < 8192 {
            return Err(ConfigError::Segment(self.segment_bytes));
        }
        if self.snapshot_entries == 0 || self.snapshot_bytes == 0 {
            return Err(ConfigError::NoSnapshots);
        }
        if self.max_sessions == 0 || self.max_sessions > MAX_SESSIONS {
            return Err(ConfigError::Sessions(self.max_sessions));
        }
        if self.state_quota == 0 || self.state_quota > MAX_STATE_QUOTA {
            return Err(ConfigError::Quota(self.state_quota));
        }
        if self.max_local == 0 {
            return Err(ConfigError::NoLocal);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_that_would_not_fit_a_snapshot_are_refused() {
        let mut config = Config::new(NodeId::new(1), "test", "data");
        for sessions in [1, MAX_SESSIONS] {
            config.max_sessions = sessions;
            assert!(config.check().is_ok());
        }
        for sessions in [0, MAX_SESSIONS + 1, u32::MAX] {
            config.max_sessions = sessions;
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains("give 1 to 32768"), "{error}");
        }
    }
}
