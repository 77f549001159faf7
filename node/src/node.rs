//! A running server, and its handle.

use crate::{
    addresses::{self, AddressAlerts},
    config::{Config, ConfigError},
    identities::{Alert, Identities},
    observability::events::{Observer, ServerEvent},
    observability::http,
    observability::log_excerpt::{LogExcerptEntry, TAIL},
    observability::metrics::Metrics,
    observability::trace::Trace,
    peers,
    runtime::busy_poll::BusyPoll,
    runtime::driver::{ArmedWakeups, Command, Driver, Liveness, TurnBuffers},
    runtime::event_loop::EventLoop,
    runtime::fault_switch::{FaultSwitch, Pause},
    runtime::leader_probe::LeaderProbe,
    runtime::local::Local,
    runtime::poller::{Poller, Waker},
    runtime::snapshot_policy::SnapshotPolicy,
    runtime::timers::Timers,
    storage::disk::{Disk, DiskError},
    storage::metadata::{Keeper, Metadata, MetadataError},
    storage::wal::{Directory, Identity, Wal},
    storage::writer::Writer,
};
use model::{
    Address, Durable, FoundStale, NodeId, Raft,
    admission::Admission,
    client::{Ask, Outcome},
    store::{Answer, Found, LimitError, Operation, Query},
    wire::{BootId, VotersDigest},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    num::NonZero,
    path::PathBuf,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinSet,
};
use transport::{Endpoint, new_boot};
use web::site::Policy;

/// The maximum size of a message between servers, in bytes, except snapshots.
const MAX_MESSAGE: usize = 12 << 20;
/// The maximum size of a state sent to or received from another server, in bytes.
const MAX_STATE: usize = 1 << 30;
const _: () = assert!(
    model::store::MAX_ENCODED_STATE < MAX_STATE as u64,
    "every state fits a snapshot that can be sent"
);
/// The capacity of the driver's command queue.
const COMMANDS: usize = 4096;

/// The reason why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The data directory does not belong to this server of this cluster.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Two servers of the list have the same address.
    #[error(
        "servers {first} and {second} have the same address in the --peer list, {address}: give each server its own"
    )]
    SharedAddress {
        /// The first server.
        first: NodeId,
        /// The second server.
        second: NodeId,
        /// The address.
        address: String,
    },
    /// An entry of the list has an unreachable address.
    #[error("--peer {id}={address} cannot work: {why}")]
    Unreachable {
        /// The server of the entry.
        id: NodeId,
        /// The address.
        address: String,
        /// The reason.
        why: &'static str,
    },
    /// The other servers would send to an address at which this server does not listen.
    #[error(
        "--peer {id}={address} says where the other servers reach this one, but it listens at {listen}: \
         make --listen and the entry the same, or listen at 0.0.0.0 if the address is translated on the way"
    )]
    OwnAddress {
        /// This server.
        id: NodeId,
        /// Its entry in the list.
        address: String,
        /// Its listen address.
        listen: SocketAddr,
    },
    /// The system provides no random bytes, which unique ids need.
    #[error("the system provides no random bytes")]
    Random(#[source] io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {purpose}: is another process using it?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The purpose of the address.
        purpose: &'static str,
        /// The error from the system.
        source: io::Error,
    },
    /// The trace cannot be written.
    #[error("cannot write the trace to {}", path.display())]
    Trace {
        /// The path of the trace.
        path: PathBuf,
        /// The error from the system.
        source: io::Error,
    },
    /// The system cannot create a thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// The reason why a server stopped on its own.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An invariant of the protocol was violated: a bug that may already have cost safety.
    #[error(
        "a law of the protocol was broken: {law}. The server stops rather than go on; {report}"
    )]
    LawBroken {
        /// The violated invariant.
        law: String,
        /// The location of the crash report.
        report: String,
    },
    /// The disk failed.
    #[error("the disk failed, and the server stops: what is not on it must not be acknowledged")]
    Disk(#[source] DiskError),
    /// The trace can no longer be written.
    #[error("the trace cannot be written any more, and a trace with a gap is worth nothing")]
    Trace(#[source] io::Error),
    /// A system call failed that a server depends on.
    #[error(
        "the system has no thread to give, or does not say any more what happens to the socket"
    )]
    System(#[source] io::Error),
    /// One of the server's threads panicked.
    #[error("the driver panicked: a bug, see the log")]
    Panicked,
}

/// The reason why an operation was not executed, or why its outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Nothing was done. Send it to the leader.
    #[error("this server does not lead; nothing was done")]
    NotLeader {
        /// The leader, as far as is known.
        leader: Option<NodeId>,
    },
    /// Nothing was done: the queue is full.
    #[error("too many operations wait; nothing was done")]
    Overloaded,
    /// Nothing was done: all client sessions of the cluster are in use.
    #[error("all client sessions of the cluster are in use; nothing was done")]
    SessionsInUse,
    /// Nothing was done: a key or a value exceeds the limits.
    #[error("{0}; nothing was done")]
    OutsideLimits(LimitError),
    /// Nothing was done: the cluster did not respond in time.
    #[error("the cluster did not answer in time; nothing was done")]
    Unavailable,
    /// Nothing was done: the session was evicted to make room for others. Retry.
    #[error("the session had expired; nothing was done, and asking again opens another")]
    SessionExpired,
    /// The write may have taken effect, may still do so, or never will; at most once.
    #[error("the outcome is unknown: the operation may have been carried out, or may yet be, once")]
    Unknown,
    /// The server has stopped. A write in progress may have taken effect, or may still do so.
    #[error("the server has stopped; what was under way may have been carried out")]
    Stopped,
}

/// The status of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its id.
    pub id: u64,
    /// `leader`, `candidate`, `pre-candidate` or `follower`.
    pub role: &'static str,
    /// The current term.
    pub term: u64,
    /// The current leader, as far as it knows.
    pub leader: Option<u64>,
    /// The last entry known to be committed.
    pub commit_index: u64,
    /// The last entry of its log.
    pub last_index: u64,
    /// The last entry that its last snapshot covers; 0 if there is none.
    pub snapshot_index: u64,
    /// The last entry of its log that is durable on its disk.
    pub durable_index: u64,
    /// The last entry applied to its store.
    pub applied_index: u64,
    /// The size of its state in bytes: keys and values, plus 32 bytes for each pair.
    pub state_bytes: u64,
    /// The number of open client sessions.
    pub sessions: usize,
    /// The servers of the cluster.
    pub voters: BTreeSet<u64>,
    /// The replication progress of each follower, if it is the leader.
    pub followers: BTreeMap<u64, Progress>,
    /// The number of disk syncs since it started.
    pub syncs: u64,
    /// The time since it started, in seconds.
    pub uptime_seconds: u64,
    /// The id of this run, drawn at random at the start.
    pub boot: String,
    /// The identity of its disk, drawn at random at the first start.
    pub disk: String,
    /// The reason why it does not count toward a quorum and takes no part, if that is so.
    pub suspended: Option<String>,
    /// Whether another server counts this run of the server, or there is no other server.
    pub is_known: bool,
    /// Conditions that need an operator's attention.
    pub alerts: Vec<Alert>,
    /// The candidate that received its vote in the current term.
    pub voted_for: Option<u64>,
    /// The servers that granted it their votes, if it is a candidate.
    pub votes: Vec<u64>,
    /// The first entry that its log retains; if the log is empty, the index of the next entry.
    pub first_index: u64,
    /// The number of requests that wait for its response, if it is the leader.
    pub poller: usize,
    /// Its counters since it started.
    pub counts: Counts,
    /// The index of the first entry of `log`.
    pub log_start: u64,
    /// The last entries of its log, as many as requested.
    pub log: Vec<LogExcerptEntry>,
    /// Its recent events, as many as requested.
    pub events: Vec<ServerEvent>,
}

/// Counters of a server since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it, and docs/http.md")]
pub struct Counts {
    pub messages_in: u64,
    pub messages_out: u64,
    pub dropped: u64,
    pub dropped_by_faults: u64,
    pub heartbeats_in: u64,
    pub heartbeats_out: u64,
    pub entries_appended: u64,
    pub elections: u64,
    pub leaderships: u64,
    pub steps: u64,
    pub fsyncs: u64,
}

/// The level of detail of a status query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusQuery {
    /// The number of last log entries to show, at most [`TAIL`].
    pub entries: usize,
    /// Only events after the one with this number are shown.
    pub since: u64,
}

impl StatusQuery {
    /// Neither entries nor events.
    pub const BRIEF: Self = Self {
        entries: 0,
        since: u64::MAX,
    };
}

impl Default for StatusQuery {
    fn default() -> Self {
        Self {
            entries: TAIL,
            since: 0,
        }
    }
}

/// The replication progress of a follower, as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The last entry known to be durable on the follower.
    pub match_index: u64,
    /// The next entry to send.
    pub next_index: u64,
    /// The number of entries that the follower did not acknowledge yet.
    pub lag: u64,
    /// How entries are sent to it: `probe`, one message at a time, or `pipeline`.
    pub flow: &'static str,
    /// The maximum number of entries in transit to it.
    pub window: usize,
    /// The time since its last message, in milliseconds.
    pub silent_ms: u64,
    /// Whether it counts toward a quorum: its current run was admitted by its disk identity.
    pub counts: bool,
}

/// A running server. Cheap to clone. It stops on request or, asynchronously, when the last handle
/// is dropped.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

/// The state that the handles share.
pub(crate) struct Inner {
    id: NodeId,
    commands: mpsc::Sender<Command>,
    /// Dropped after the commands, so that the server notices that all handles are gone.
    waker: RungAtTheEnd,
    ended: watch::Receiver<Option<Ended>>,
    address: SocketAddr,
    http: Option<SocketAddr>,
    liveness: Arc<Liveness>,
    metrics: Arc<Metrics>,
    fault_switch: Arc<FaultSwitch>,
    /// Tasks that serve HTTP and resolve names. Aborted when dropped.
    helpers: Mutex<JoinSet<()>>,
}

struct RungAtTheEnd(Waker);

impl Drop for RungAtTheEnd {
    fn drop(&mut self) {
        self.0.wake();
    }
}

type Ended = Result<(), Arc<Failure>>;

impl Node {
    /// Starts a server: reads its log, opens its sockets, and waits for a leader as a follower.
    /// Call it within a tokio runtime, which serves HTTP and resolves names; the server itself runs
    /// on threads of its own.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let open = |config: &Config, directory: Directory| {
            let identity = Identity {
                cluster: config.cluster.clone(),
                node: config.id.get(),
            };
            let tag = rand::random();
            let (wal, durable) = Wal::open(directory, identity, config.segment_bytes, tag)?;
            Ok((Box::new(wal) as Box<dyn Disk>, durable))
        };
        Self::start_with(config, open).await
    }

    /// Starts a server on a disk supplied by the caller. `open` is called on the server's own
    /// thread.
    async fn start_with(
        config: Config,
        open: impl FnOnce(&Config, Directory) -> Result<(Box<dyn Disk>, Durable), DiskError>
        + Send
        + 'static,
    ) -> Result<Self, StartError> {
        addresses::check(&config).await?;
        let http = match config.http {
            Some(address) => Some(listen_http(address).await?),
            None => None,
        };
        let access = http::Access {
            token: config.http_token.clone(),
            policy: Arc::new(Policy::new(
                config.http_allow_host.clone(),
                config.http_token.is_some(),
            )),
            faults: config.faults.clone(),
        };
        let names = config.peers.clone();
        let (id, listen) = (config.id, config.listen);
        let alerts = Arc::<AddressAlerts>::default();
        let for_driver = Arc::clone(&alerts);
        let span = move || tracing::info_span!("node", %id);
        let (started, starting) = oneshot::channel();
        let (end, ended) = watch::channel(None);
        thread::Builder::new()
            .name(format!("raft-{id}"))
            .spawn(move || {
                let _ending = Ending(end.clone());
                let span = span();
                let _entered = span.enter();
                let result = drive(config, open, for_driver, started);
                if let Some(result) = result {
                    end.send_replace(Some(result.map_err(Arc::new)));
                }
            })
            .map_err(StartError::Thread)?;
        let started = starting
            .await
            .map_err(|_| StartError::Thread(io::Error::other("it panicked: see the log")))??;
        let inner = Arc::new(Inner {
            id,
            commands: started.commands,
            waker: RungAtTheEnd(started.waker),
            ended,
            address: started.address,
            http: http.as_ref().map(|(_, address)| *address),
            liveness: started.liveness,
            metrics: started.metrics,
            fault_switch: started.fault_switch,
            helpers: Mutex::default(),
        });
        // The helper tasks hold no handle: they must not keep the server running.
        let weak = Arc::downgrade(&inner);
        let mut helpers = inner.helpers.lock().await;
        let own = (id, listen);
        helpers.spawn(peers::resolve(own, names, weak.clone(), alerts, span()));
        if let Some((listener, _)) = http {
            helpers.spawn(http::serve(listener, weak, access));
        }
        drop(helpers);
        Ok(Self { inner })
    }

    /// The id of this server.
    pub fn id(&self) -> NodeId {
        self.inner.id
    }

    /// The local address for datagrams.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.address
    }

    /// The address of the HTTP server, if it is served.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.inner.http
    }

    /// Sets the address of another server.
    pub async fn set_peer(&self, id: NodeId, at: SocketAddr) {
        self.set_peer_addresses(id, vec![at]).await;
    }

    /// Sets several addresses of another server, which are tried in turn.
    pub(crate) async fn set_peer_addresses(&self, id: NodeId, at: Vec<SocketAddr>) {
        let tell = move |endpoint: &Endpoint| {
            endpoint.set_peer_addresses(Address::Node(id), &at);
        };
        self.with_endpoint(tell).await;
    }

    /// BecameCandidate an action on the endpoint, which only the driver holds. Returns `None` once the server
    /// has stopped.
    pub(crate) async fn with_endpoint<T: Send + 'static>(
        &self,
        action: impl FnOnce(&Endpoint) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let action = Box::new(move |endpoint: &Endpoint| {
            let _ = reply.send(action(endpoint));
        });
        self.command(Command::Endpoint(action)).await?;
        answer.await.ok()
    }

    /// Executes a write exactly once, and returns the store's answer.
    ///
    /// Dropping the future abandons the wait, not the operation.
    ///
    /// # Errors
    /// See [`ProposeError`]: only `Unknown` and `Stopped` leave the outcome open.
    pub async fn propose(&self, operation: Operation) -> Result<Answer, ProposeError> {
        match self.ask(Ask::Write(operation)).await? {
            Outcome::Answered(answer) => Ok(answer),
            _ => Err(ProposeError::Unknown),
        }
    }

    /// Executes a linearizable read.
    ///
    /// # Errors
    /// See [`ProposeError`]. A read changes nothing.
    pub async fn read(&self, query: Query) -> Result<Found, ProposeError> {
        match self.ask(Ask::Read(query)).await? {
            Outcome::Found(found) => Ok(found),
            _ => Err(ProposeError::Unavailable),
        }
    }

    /// Reads the state that this server has applied, without a leader or a majority. The result may be
    /// old, but it is the state after a prefix of the log. The last entry of this prefix is returned.
    ///
    /// # Errors
    /// See [`ProposeError`]. A read changes nothing.
    pub async fn read_stale(&self, query: Query) -> Result<FoundStale, ProposeError> {
        match self.ask(Ask::StaleRead(query)).await? {
            Outcome::FoundStale(found) => Ok(found),
            _ => Err(ProposeError::Unavailable),
        }
    }

    async fn ask(&self, ask: Ask) -> Result<Outcome, ProposeError> {
        let (reply, answer) = oneshot::channel();
        match self.inner.commands.try_send(Command::Ask { ask, reply }) {
            Ok(()) => {
                self.inner.waker.0.wake();
                answer.await.unwrap_or(Err(ProposeError::Stopped))
            }
            Err(mpsc::error::TrySendError::Full(_)) => Err(ProposeError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ProposeError::Stopped),
        }
    }

    /// The status of the server, without log entries and events; `None` once it has stopped.
    pub async fn status(&self) -> Option<Status> {
        self.look(StatusQuery::BRIEF).await
    }

    /// The status of the server, with the end of its log and its recent events; `None` once it has
    /// stopped.
    pub async fn look(&self, query: StatusQuery) -> Option<Status> {
        let (reply, answer) = oneshot::channel();
        self.command(Command::Status(query, reply)).await?;
        answer.await.ok()
    }

    /// Sends a command to the driver. `None` once the server has stopped.
    async fn command(&self, command: Command) -> Option<()> {
        self.inner.commands.send(command).await.ok()?;
        self.inner.waker.0.wake();
        Some(())
    }

    /// Pauses the server, as SIGSTOP would, until the returned value is dropped: it receives
    /// nothing, no timer fires, and it sends no responses. `None` if it has stopped.
    pub async fn pause(&self) -> Option<Pause> {
        let (pause, asleep) = self.inner.fault_switch.pause();
        self.wake();
        let mut ended = self.inner.ended.clone();
        tokio::select! {
            _ = asleep => Some(pause),
            _ = ended.wait_for(Option::is_some) => None,
        }
    }

    /// Kills the server, as SIGKILL would: operations in progress are not finished, nothing further
    /// is written, and clients are not notified. When this returns, its addresses and its directory
    /// are free.
    ///
    /// # Errors
    /// If the server had failed before.
    pub async fn kill(&self) -> Result<(), Arc<Failure>> {
        self.inner.fault_switch.kill();
        self.wake();
        let ended = self.ended().await;
        self.inner.helpers.lock().await.shutdown().await;
        ended
    }

    /// Makes the driver run another turn.
    fn wake(&self) {
        let nothing = Command::Endpoint(Box::new(|_| {}));
        // If the queue is full, a turn follows anyway; if it is closed, none ever will.
        let _ = self.inner.commands.try_send(nothing);
        self.inner.waker.0.wake();
    }

    /// The time since the server's last turn. It has a turn at every heartbeat interval, as leader
    /// or not: a much longer time means that it is stuck.
    pub fn idle_for(&self) -> Duration {
        self.inner.liveness.since_turn()
    }

    /// The time since the last message of another server, or since the start if there was none.
    pub(crate) fn silence_of(&self, id: NodeId) -> Duration {
        self.inner.liveness.since_heard(id)
    }

    /// The metrics, in the Prometheus text format.
    pub async fn metrics(&self) -> String {
        let transport = self
            .with_endpoint(|endpoint| {
                let counters = Vec::from_iter(endpoint.counters().iter());
                (counters, endpoint.datagram_sizes())
            })
            .await;
        let (counters, sizes) = transport.unwrap_or_default();
        self.inner.metrics.encode(&counters, &sizes)
    }

    /// Stops the server: rejects new operations, finishes those in progress, and ends. When this
    /// returns, its addresses and its directory are free.
    ///
    /// # Errors
    /// If the server had failed before, or failed now.
    pub async fn stop(&self) -> Result<(), Arc<Failure>> {
        // Returns `None` if the server has already ended.
        self.command(Command::Stop).await;
        let ended = self.ended().await;
        self.inner.helpers.lock().await.shutdown().await;
        ended
    }

    /// Waits until the server has stopped, for any reason.
    ///
    /// # Errors
    /// The failure, if the server stopped on its own.
    pub async fn ended(&self) -> Result<(), Arc<Failure>> {
        let mut ended = self.inner.ended.clone();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(result)) => result.clone(),
            Ok(None) | Err(_) => Err(Arc::new(Failure::Panicked)),
        }
    }

    /// The handle, if other handles keep the server running.
    pub(crate) fn upgrade(inner: &Weak<Inner>) -> Option<Self> {
        let inner = inner.upgrade()?;
        Some(Self { inner })
    }

    /// Whether the server has stopped.
    pub fn has_ended(&self) -> bool {
        self.inner.ended.borrow().is_some()
    }
}

/// The values that the server's thread returns once it runs.
struct Started {
    commands: mpsc::Sender<Command>,
    waker: Waker,
    address: SocketAddr,
    liveness: Arc<Liveness>,
    metrics: Arc<Metrics>,
    fault_switch: Arc<FaultSwitch>,
}

/// Reports that the thread ended, even after a panic.
struct Ending(watch::Sender<Option<Ended>>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.send_if_modified(|ended| {
            let unexpected = ended.is_none();
            if unexpected {
                *ended = Some(Err(Arc::new(Failure::Panicked)));
            }
            unexpected
        });
    }
}

/// The main function of the server's thread. `None` if the server did not start.
fn drive(
    config: Config,
    open: impl FnOnce(&Config, Directory) -> Result<(Box<dyn Disk>, Durable), DiskError>,
    alerts: Arc<AddressAlerts>,
    started: oneshot::Sender<Result<Started, StartError>>,
) -> Option<Result<(), Failure>> {
    let (event_loop, handed_out) = match prepare(&config, open, alerts) {
        Ok(prepared) => prepared,
        Err(error) => {
            let _ = started.send(Err(error));
            return None;
        }
    };
    if started.send(Ok(handed_out)).is_err() {
        // The caller dropped the future of the start.
        return None;
    }
    let second = thread::Builder::new().name(format!("raft-{}-b", config.id));
    Some(event_loop.run(second))
}

fn prepare(
    config: &Config,
    open: impl FnOnce(&Config, Directory) -> Result<(Box<dyn Disk>, Durable), DiskError>,
    alerts: Arc<AddressAlerts>,
) -> Result<(EventLoop, Started), StartError> {
    let directory = Directory::open(&config.data_dir)?;
    let mut metadata = Metadata::open(&directory, config)?;
    let (disk, durable) = open(config, directory)?;
    let mut voters = config.voters.clone();
    voters.insert(config.id);
    let mut model_config = model::Config::new(voters.clone());
    // The log in memory is hardly longer than these bytes and the growth between snapshots.
    model_config.trailing_bytes = usize::try_from(config.snapshot_bytes / 4).unwrap_or(usize::MAX);
    model_config.max_sessions = config.max_sessions;
    model_config.session_window = config.session_window;
    model_config.state_quota = config.state_quota;
    tracing::info!(
        cluster = config.cluster,
        voters = ?voters,
        term = %durable.hard_state.current_term,
        entries = durable.log.len(),
        snapshot = %durable.base().index,
        "starts"
    );
    let boot_id = new_boot().map_err(|error| StartError::Random(io::Error::other(error)))?;
    let boot = boot_id.random;
    let trace = match &config.trace {
        Some(path) => {
            let trace = Trace::begin(path, config.id, boot, &model_config, &durable);
            Some(trace.map_err(|source| StartError::Trace {
                path: path.clone(),
                source,
            })?)
        }
        None => None,
    };
    let failed = |source| StartError::Listen {
        address: config.listen,
        purpose: "datagrams",
        source,
    };
    let (endpoint, socket) = Endpoint::open(transport_config(config, boot_id)).map_err(failed)?;
    let poller = Poller::new(&socket).map_err(|error| failed(error.into()))?;
    let waker = poller.waker();
    socket.set_waker(move || waker.wake());
    let address = endpoint.local_addr().unwrap_or(config.listen);
    // The start must be durable before this run sends its first datagram.
    metadata.begin_start(boot_id)?;
    let metrics = Arc::new(Metrics::new());
    let own_disk = metadata.own_disk();
    let disk_id = own_disk.disk.to_string();
    let admission = Admission::new(config.id, &voters, own_disk, metadata.table().clone());
    let keeper = Keeper::start(metadata, poller.waker()).map_err(StartError::Thread)?;
    let identities = Identities::new(
        config.id,
        admission,
        keeper,
        Arc::clone(&metrics),
        disk_id,
        config.heartbeat,
        alerts,
    );
    let others = voters.into_iter().filter(|id| *id != config.id);
    let liveness = Arc::new(Liveness::new(others));
    metrics.snapshot_limit_bytes.set(MAX_STATE as u64);
    // On a single processor, busy polling would block the threads whose results it waits for.
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let busy_poll = BusyPoll::new(match processors {
        1 => Duration::ZERO,
        _ => config.busy_wait,
    });
    let writer = Arc::new(Writer::new(disk, busy_poll, Arc::clone(&metrics)));
    let (command, commands) = mpsc::channel(COMMANDS);
    let logged = durable.log.iter().map(|entry| entry.payload.size() as u64);
    let snapshot_policy =
        SnapshotPolicy::new(config.snapshot_entries, config.snapshot_bytes, logged.sum());
    let raft = Raft::recover(config.id, model_config, durable);
    let fault_switch = Arc::<FaultSwitch>::default();
    let started = Started {
        commands: command,
        waker: poller.waker(),
        address,
        liveness: Arc::clone(&liveness),
        metrics: Arc::clone(&metrics),
        fault_switch: Arc::clone(&fault_switch),
    };
    let driver = Driver {
        observer: Observer::new(&raft, Arc::clone(&metrics)),
        local: Local::new(
            config.id,
            config.max_local,
            config.max_waiting,
            config.ask_timeout,
        ),
        leader_probe: LeaderProbe::default(),
        timers: Timers::new(config.heartbeat, config.election_min, config.election_max),
        crash_report_path: config.data_dir.join(format!("broken-law-{boot:016x}.json")),
        buffers: TurnBuffers::default(),
        boot,
        identities,
        fault_switch,
        snapshot_policy,
        armed: ArmedWakeups::default(),
        disk_behind: false,
        outcome: None,
        #[cfg(test)]
        loses_memory: false,
        raft,
        endpoint,
        socket,
        writer,
        commands,
        metrics,
        liveness,
        trace,
    };
    Ok((EventLoop::new(driver, poller), started))
}

fn transport_config(config: &Config, boot: BootId) -> transport::Config {
    let mut transport = transport::Config::new(config.listen, config.cluster.clone());
    let mut voters = config.voters.clone();
    voters.insert(config.id);
    transport.voters = VotersDigest::new(&voters);
    transport.boot = Some(boot);
    transport.keys = config.keys.clone();
    transport.max_datagram = config.max_datagram;
    transport.max_message = MAX_MESSAGE;
    transport.max_bulk = MAX_STATE;
    transport.faults = config.faults.clone();
    transport
}

async fn listen_http(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen {
        address,
        purpose: "HTTP",
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Write;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A disk that fails at its nth write.
    struct Breaking(usize);

    impl Disk for Breaking {
        fn write(&mut self, _: &[Write]) -> Result<(), DiskError> {
            self.0 -= 1;
            if self.0 == 0 {
                let source = io::Error::from(io::ErrorKind::StorageFull);
                return Err(DiskError::of("write", "log", source));
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn failing_disk_stops_the_server_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(NodeId::new(1), "test", dir.path());
        config.heartbeat = Duration::from_millis(10);
        config.election_min = Duration::from_millis(20);
        config.election_max = Duration::from_millis(40);
        let open = |_: &Config, _: Directory| -> Result<(Box<dyn Disk>, Durable), DiskError> {
            Ok((Box::new(Breaking(3)), Durable::default()))
        };
        let node = Node::start_with(config, open).await.unwrap();
        // The writes: its vote, its no-op entry, and then the client session for this operation.
        let operation = Operation::Increment {
            key: b"n".to_vec(),
            by: 1,
        };
        let failure = loop {
            tokio::select! {
                ended = node.ended() => break ended.unwrap_err(),
                _ = node.propose(operation.clone()) => tokio::task::yield_now().await,
            }
        };
        let Failure::Disk(DiskError::Full { .. }) = &*failure else {
            panic!("{failure}");
        };
        assert_eq!(
            node.propose(operation).await,
            Err(ProposeError::Stopped),
            "nothing is acknowledged any more"
        );
        assert!(node.stop().await.is_err());
    }

    /// A disk whose writes block, from the third on, until the other end is dropped.
    struct Stuck {
        writes: usize,
        reached: std::sync::mpsc::Sender<()>,
        released: std::sync::mpsc::Receiver<()>,
    }

    impl Disk for Stuck {
        fn write(&mut self, _: &[Write]) -> Result<(), DiskError> {
            self.writes += 1;
            if self.writes >= 3 {
                let _ = self.reached.send(());
                let _ = self.released.recv();
            }
            Ok(())
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn timers_and_questions_are_served_while_the_disk_hangs() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(NodeId::new(1), "test", dir.path());
        config.heartbeat = Duration::from_millis(10);
        config.election_min = Duration::from_millis(20);
        config.election_max = Duration::from_millis(40);
        let (reached, reach) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel();
        let disk = Stuck {
            writes: 0,
            reached,
            released,
        };
        let open = |_: &Config, _: Directory| -> Result<(Box<dyn Disk>, Durable), DiskError> {
            Ok((Box::new(disk), Durable::default()))
        };
        let node = Node::start_with(config, open).await.unwrap();
        let operation = Operation::Increment {
            key: b"n".to_vec(),
            by: 1,
        };
        let asking = tokio::spawn({
            let (node, operation) = (node.clone(), operation.clone());
            async move {
                loop {
                    match node.propose(operation.clone()).await {
                        Err(ProposeError::NotLeader { .. }) => tokio::task::yield_now().await,
                        done => return done,
                    }
                }
            }
        });
        tokio::task::spawn_blocking(move || reach.recv_timeout(PATIENCE).unwrap())
            .await
            .unwrap();
        let served = async {
            let before = node.status().await.unwrap();
            // No client sends a request: the heartbeat timer causes the turns.
            let turns = || node.inner.metrics.turns.get();
            let from = turns();
            while turns() < from + 3 {
                tokio::task::yield_now().await;
            }
            (before, node.status().await.unwrap())
        };
        let served = tokio::time::timeout(PATIENCE, served).await;
        let (before, after) = served.expect("the driver waits for the disk");
        assert_eq!(before.syncs, after.syncs, "the disk hangs");
        assert!(!asking.is_finished());
        drop(release);
        asking.await.unwrap().unwrap();
        node.stop().await.unwrap();
    }

    /// A disk whose writes block while its gate is closed.
    struct Gated(Arc<Gate>);

    #[derive(Default)]
    struct Gate {
        is_blocked: std::sync::Mutex<bool>,
        opened: std::sync::Condvar,
        poller: std::sync::atomic::AtomicUsize,
    }

    impl Gate {
        fn set(&self, is_blocked: bool) {
            *self.is_blocked.lock().unwrap() = is_blocked;
            self.opened.notify_all();
        }

        fn poller(&self) -> usize {
            self.poller.load(std::sync::atomic::Ordering::SeqCst)
        }
    }

    impl Disk for Gated {
        fn write(&mut self, _: &[Write]) -> Result<(), DiskError> {
            use std::sync::atomic::Ordering::SeqCst;
            self.0.poller.fetch_add(1, SeqCst);
            let is_blocked = self.0.is_blocked.lock().unwrap();
            drop(self.0.opened.wait_while(is_blocked, |blocked| *blocked));
            self.0.poller.fetch_sub(1, SeqCst);
            Ok(())
        }
    }

    /// Three servers with these disks, and the leader, which has committed a write.
    async fn three_servers(dir: &std::path::Path, gates: [&Arc<Gate>; 3]) -> (Vec<Node>, Node) {
        let mut nodes = Vec::new();
        for (id, gate) in (1..).zip(gates) {
            let mut config = Config::new(NodeId::new(id), "test", dir.join(id.to_string()));
            config.voters = (1..=3).map(NodeId::new).collect();
            config.heartbeat = Duration::from_millis(20);
            config.election_min = Duration::from_millis(400);
            config.election_max = Duration::from_millis(800);
            let disk = Gated(Arc::clone(gate));
            let open = |_: &Config, _: Directory| -> Result<(Box<dyn Disk>, Durable), DiskError> {
                Ok((Box::new(disk), Durable::default()))
            };
            nodes.push(Node::start_with(config, open).await.unwrap());
        }
        for (one, other) in (0..9).map(|pair| (pair / 3, pair % 3)) {
            if one != other {
                let at = nodes[other].local_addr();
                nodes[one].set_peer(nodes[other].id(), at).await;
            }
        }
        let leader = tokio::time::timeout(PATIENCE, async {
            loop {
                for node in &nodes {
                    if node.propose(increment()).await.is_ok() {
                        return node.clone();
                    }
                }
                tokio::task::yield_now().await;
            }
        });
        let leader = leader.await.expect("a leader commits");
        (nodes, leader)
    }

    fn increment() -> Operation {
        Operation::Increment {
            key: b"n".to_vec(),
            by: 1,
        }
    }

    /// A leader whose own disk is stuck commits on the disks of its followers, up to a limit of its
    /// backlog. Beyond that it refuses writes as overloaded. Reads need no disk.
    #[tokio::test(flavor = "multi_thread")]
    async fn leader_whose_disk_is_far_behind_refuses_writes_and_answers_reads() {
        let dir = tempfile::tempdir().unwrap();
        let gates = [(); 3].map(|()| Arc::new(Gate::default()));
        let (nodes, leader) = three_servers(dir.path(), gates.each_ref()).await;
        let elected = leader.status().await.unwrap();
        let gate = &gates[usize::try_from(leader.id().get()).unwrap() - 1];
        gate.set(true);
        let filled = tokio::time::timeout(PATIENCE, async {
            loop {
                let put = Operation::Put {
                    key: b"large".to_vec(),
                    value: vec![0; model::store::MAX_VALUE_BYTES].into(),
                    condition: model::store::Condition::Always,
                };
                if let Err(refused) = leader.propose(put).await {
                    return refused;
                }
            }
        });
        assert_eq!(filled.await, Ok(ProposeError::Overloaded));
        assert_eq!(
            leader.propose(increment()).await,
            Err(ProposeError::Overloaded)
        );
        let query = || Query::Get { key: b"n".to_vec() };
        leader.read(query()).await.expect("a read needs no disk");
        let stale = leader.read_stale(query()).await;
        stale.expect("a stale read needs no disk");
        let status = leader.status().await.unwrap();
        assert_eq!((status.role, status.term), (elected.role, elected.term));
        gate.set(false);
        let caught_up = async {
            while let Err(refused) = leader.propose(increment()).await {
                assert_eq!(refused, ProposeError::Overloaded);
                tokio::task::yield_now().await;
            }
        };
        let caught_up = tokio::time::timeout(PATIENCE, caught_up).await;
        caught_up.expect("writes are accepted once the disk has caught up");
        for node in nodes {
            node.stop().await.unwrap();
        }
    }

    /// However slow all disks are, an elected leader stays leader, and reads are answered beside a
    /// write that waits for a disk.
    #[tokio::test(flavor = "multi_thread")]
    async fn leader_stays_and_answers_reads_while_every_disk_is_blocked() {
        let dir = tempfile::tempdir().unwrap();
        let gate = Arc::new(Gate::default());
        let (nodes, leader) = three_servers(dir.path(), [&gate; 3]).await;
        let elected = leader.status().await.unwrap();

        gate.set(true);
        let writing = tokio::spawn({
            let leader = leader.clone();
            async move { leader.propose(increment()).await }
        });
        let blocked = async {
            while gate.poller() < 3 {
                tokio::task::yield_now().await;
            }
            // Many times longer than a leader leads without a quorum.
            let until = tokio::time::Instant::now() + 10 * Duration::from_millis(400);
            while tokio::time::Instant::now() < until {
                let query = Query::Get { key: b"n".to_vec() };
                leader.read(query).await.expect("a read waits for no disk");
            }
            leader.status().await.unwrap()
        };
        let status = tokio::time::timeout(PATIENCE, blocked).await;
        let status = status.expect("reads are answered while every disk is blocked");
        assert_eq!((status.role, status.term), (elected.role, elected.term));
        assert!(!writing.is_finished(), "no disk made it durable");
        gate.set(false);
        writing.await.unwrap().expect("the write commits");
        for node in nodes {
            node.stop().await.unwrap();
        }
    }
}

#[cfg(test)]
mod invariant_tests {
    use super::*;
    use std::{os::unix::fs::PermissionsExt as _, time::Duration};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const DEADLINE: Duration = Duration::from_secs(60);

    async fn livez(at: SocketAddr) -> String {
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let request = format!("GET /livez HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn broken_invariant_stops_the_server_and_leaves_a_report() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(NodeId::new(1), "test", dir.path());
        config.listen = "127.0.0.1:0".parse().unwrap();
        config.http = Some("127.0.0.1:0".parse().unwrap());
        let node = Node::start(config).await.unwrap();
        let http = node.http_addr().unwrap();
        let committed = async {
            while node
                .status()
                .await
                .is_none_or(|status| status.commit_index == 0)
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, committed).await.unwrap();
        node.command(Command::LoseMemory).await.unwrap();
        let ended = tokio::time::timeout(DEADLINE, node.ended()).await;
        let failure = ended.unwrap().unwrap_err();
        assert!(matches!(*failure, Failure::LawBroken { .. }), "{failure}");
        let names = std::fs::read_dir(dir.path()).unwrap();
        let report = names
            .map(|entry| entry.unwrap().path())
            .find(|path| {
                let name = path.file_name().unwrap().to_string_lossy();
                name.starts_with("broken-law-")
            })
            .unwrap();
        let mode = report.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "a report holds keys and values");
        let report: serde_json::Value =
            serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
        assert_eq!(report["server"]["current_term"], 0);
        assert!(report["law"].is_string(), "{report}");
        let answer = livez(http).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
}
