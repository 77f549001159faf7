//! The settings of a server.

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
use transport::{ClusterNameError, Environment, Faults, Keys};
use web::Secret;

/// The size of a segment of the write-ahead log, in bytes, unless a frame needs more.
const SEGMENT_BYTES: u64 = 16 << 20;

/// The settings of one server. [`Config::new`] sets defaults; the fields can then be changed.
#[derive(Clone, Debug)]
pub struct Config {
    /// This server.
    pub id: NodeId,
    /// The cluster's name, at most 255 bytes. Datagrams and data directories of other clusters are
    /// rejected.
    pub cluster: String,
    /// The servers of the cluster. This one is always among them.
    pub voters: BTreeSet<NodeId>,
    /// The addresses of the other servers: `HOST:PORT`. The address of an unlisted server is
    /// learned from its datagrams if they are sealed, or set by [`crate::Node::set_peer`].
    pub peers: BTreeMap<NodeId, String>,
    /// The local address for datagrams. Port 0 selects a free one.
    pub listen: SocketAddr,
    /// The keys that seal datagrams. Without keys, any sender that reaches the socket can
    /// impersonate any process.
    pub keys: Keys,
    /// The maximum size of a datagram, in bytes, without UDP and IP headers. Each path starts at
    /// 1,200 bytes and grows as far as its probes are acknowledged.
    pub max_datagram: usize,
    /// The plan for network fault injection. With a plan here, HTTP serves `/chaos`, which reads
    /// and replaces it.
    pub faults: Option<Faults>,
    /// The address for HTTP, if it is served.
    pub http: Option<SocketAddr>,
    /// The bearer token that HTTP requests must carry, if any. `/livez` and `/readyz` need none.
    pub http_token: Option<Secret>,
    /// Host names under which HTTP clients may address this server, beside `localhost` and IP
    /// addresses. Without a token other names are refused.
    pub http_allow_host: Vec<String>,
    /// The data directory. Created if it does not exist.
    pub data_dir: PathBuf,
    /// The heartbeat interval of a leader.
    pub heartbeat: Duration,
    /// The minimum election timeout.
    pub election_min: Duration,
    /// The maximum election timeout.
    pub election_max: Duration,
    /// The file to which every step is appended, for replay.
    pub trace: Option<PathBuf>,
    /// The maximum number of concurrent operations of [`crate::Node::execute`]. Each uses a session
    /// in the replicated store.
    pub max_local: usize,
    /// The maximum number of further operations in the queue.
    pub max_waiting: usize,
    /// The timeout of such an operation.
    pub ask_timeout: Duration,
    /// The number of entries since the last snapshot after which the next one is taken. Jitter of
    /// up to a quarter keeps the servers from taking snapshots at the same time.
    pub snapshot_entries: u64,
    /// The approximate number of bytes of entries since the last snapshot after which the next one
    /// is taken, with the same jitter.
    pub snapshot_bytes: u64,
    /// The size of a log segment, in bytes.
    pub segment_bytes: u64,
    /// The busy-poll window: while a single client writes back to back, both threads of the server
    /// poll for this long before they sleep. It reduces the latency of such writes at the cost of
    /// otherwise idle processors. Zero disables it.
    pub busy_wait: Duration,
    /// The maximum number of client sessions in the cluster. The leader's setting applies.
    pub max_sessions: u32,
    /// The number of applied entries after its last use during which a session is not evicted. The
    /// leader's setting applies.
    pub session_window: u64,
    /// The maximum size of the state in bytes: keys and values, plus 32 bytes for each pair. The
    /// leader's setting applies.
    pub state_quota: u64,
    /// The clock, the random numbers, the network and the threads.
    pub environment: Environment,
    /// The duration of a disk operation, or of opening the data directory, from which on it is
    /// reported.
    pub(crate) slow_disk: Duration,
}

/// An invalid setting.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The cluster name does not fit into the log's header.
    #[error(transparent)]
    Cluster(#[from] ClusterNameError),
    /// The server could start an election before it could have received a heartbeat.
    #[error(
        "election timeout {min:?}..{max:?} is invalid with a heartbeat interval of {heartbeat:?}: the interval \
         must not be zero, the minimum must be at least twice the interval, and the maximum greater than \
         the minimum"
    )]
    Timers {
        /// The heartbeat interval.
        heartbeat: Duration,
        /// The minimum election timeout.
        min: Duration,
        /// The maximum election timeout.
        max: Duration,
    },
    /// The segments are too small.
    #[error("segments of {0} bytes are too small: at least 8192")]
    Segment(u64),
    /// A snapshot would be due after each step.
    #[error("snapshot_entries and snapshot_bytes must be at least 1")]
    NoSnapshots,
    /// No client could ever write, or the sessions would not fit into a snapshot.
    #[error("max_sessions of {0} is out of range: choose 1 to {MAX_SESSIONS}")]
    Sessions(u32),
    /// The state could exceed the size of a snapshot.
    #[error("a state quota of {0} bytes is out of range: choose 1 to {MAX_STATE_QUOTA}")]
    Quota(u64),
    /// No local operation could ever start.
    #[error("max_local must be at least 1")]
    NoLocal,
}

impl Config {
    /// The default of [`snapshot_bytes`](Self::snapshot_bytes). A quarter stays in memory behind a snapshot.
    pub const DEFAULT_SNAPSHOT_BYTES: u64 = 4 * model::Config::DEFAULT_TRAILING_BYTES as u64;

    /// Default settings for a server without peers, on a free port of the loopback interface.
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
            snapshot_bytes: Self::DEFAULT_SNAPSHOT_BYTES,
            segment_bytes: SEGMENT_BYTES,
            busy_wait: Duration::from_micros(500),
            max_sessions: model::Config::DEFAULT_MAX_SESSIONS,
            session_window: model::Config::DEFAULT_SESSION_WINDOW,
            state_quota: model::Config::DEFAULT_STATE_QUOTA,
            environment: Environment::system(),
            slow_disk: Duration::from_secs(5),
        }
    }

    /// Validates the settings, without access to files or sockets.
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
            assert!(error.contains("choose 1 to 32768"), "{error}");
        }
    }
}
