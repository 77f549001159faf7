//! The start of a server: opens its directory, its log and its sockets, and starts its threads.

use crate::{
    addresses::{self, AddressAlerts},
    config::Config,
    error::{Failure, StartError},
    identities::Identities,
    node::{Ended, Inner, Node, WakeOnDrop},
    observability::{http, metrics::Metrics, trace::Trace},
    peers,
    runtime::{
        busy_poll::BusyPoll,
        driver::{Command, Driver, Liveness, Parts},
        event_loop::EventLoop,
        fault_switch::FaultSwitch,
        local::Local,
        poller::Poller,
        snapshot_policy::SnapshotPolicy,
        timers::Timers,
    },
    storage::{
        disk::{Disk, DiskError},
        metadata::{Keeper, Metadata},
        wal::{Directory, Files, Identity, Wal},
        writer::Writer,
    },
};
use model::{
    Durable, Raft,
    admission::Admission,
    wire::{BootId, VotersDigest},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    io,
    net::SocketAddr,
    num::NonZero,
    sync::Arc,
    task::Waker,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot, watch},
    time,
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

impl Node {
    /// Starts a server: reads its log, opens its sockets, and waits for a leader as a follower.
    /// Call it within a tokio runtime, which serves HTTP and resolves names; the server itself runs
    /// on threads of its own.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        Self::start_with(config, open_wal).await
    }

    /// Starts a server on a disk supplied by the caller. `open` is called on the server's own
    /// thread.
    pub(crate) async fn start_with(
        config: Config,
        open: impl OpenDisk<Directory> + Send + 'static,
    ) -> Result<Self, StartError> {
        addresses::check(&config).await?;
        let http = match config.http {
            Some(address) => Some(listen_http(address).await?),
            None => None,
        };
        let access = http::Access {
            token: config.http_token.clone(),
            policy: Policy::new(config.http_allow_host.clone(), config.http_token.is_some()),
            faults: config.faults.clone(),
        };
        let names = config.peers.clone();
        let (id, listen) = (config.id, config.listen);
        let alerts = Arc::<AddressAlerts>::default();
        let for_driver = Arc::clone(&alerts);
        let span = move || tracing::info_span!("node", %id);
        let slow_disk = config.slow_disk;
        let (started, mut starting) = oneshot::channel();
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
        let begun = Instant::now();
        let started = match time::timeout(slow_disk, &mut starting).await {
            Ok(started) => started,
            Err(_) => {
                tracing::warn!(
                    node = %id,
                    seconds = slow_disk.as_secs(),
                    "opening the data directory is slow: the log is large or the disk does not respond; check the disk and the kernel's log"
                );
                let started = starting.await;
                let seconds = begun.elapsed().as_secs();
                tracing::info!(node = %id, seconds, "the data directory is open");
                started
            }
        };
        let started = started
            .map_err(|_| StartError::Thread(io::Error::other("it panicked: see the log")))??;
        let inner = Arc::new(Inner {
            id,
            commands: started.commands,
            waker: WakeOnDrop(started.waker),
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
    open: impl OpenDisk<Directory>,
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
    open: impl OpenDisk<Directory>,
    alerts: Arc<AddressAlerts>,
) -> Result<(EventLoop, Started), StartError> {
    tracing::info!(directory = %config.data_dir.display(), "opening the data directory");
    let files = Arc::new(Directory::open(&config.data_dir)?);
    let failed = |error: rustix::io::Errno| listen_error(config, error.into());
    let poller = Poller::new().map_err(failed)?;
    let (driver, started) = build(config, files, open, alerts, poller.waker())?;
    let socket = driver.descriptor();
    let socket = socket.ok_or_else(|| listen_error(config, io::ErrorKind::Unsupported.into()))?;
    poller.add(socket).map_err(failed)?;
    Ok((EventLoop::new(driver, poller), started))
}

/// Opens the disk of a server on these files, and recovers its contents.
pub(crate) trait OpenDisk<F: Files>:
    FnOnce(&Config, Arc<F>, &mut StdRng) -> Result<(Box<dyn Disk>, Durable), DiskError>
{
}

impl<F: Files, O> OpenDisk<F> for O where
    O: FnOnce(&Config, Arc<F>, &mut StdRng) -> Result<(Box<dyn Disk>, Durable), DiskError>
{
}

fn open_wal<F: Files>(
    config: &Config,
    files: Arc<F>,
    random: &mut StdRng,
) -> Result<(Box<dyn Disk>, Durable), DiskError> {
    let identity = Identity {
        cluster: config.cluster.clone(),
        node: config.id.get(),
    };
    let threads = Arc::clone(&config.environment.threads);
    let (bytes, tag) = (config.segment_bytes, random.random());
    let (wal, durable) = Wal::open(files, identity, bytes, tag, threads)?;
    Ok((Box::new(wal), durable))
}

/// Builds a server on these files, in the environment of `config`. The caller runs its driver, at
/// the latest at [`Driver::deadline`] and after a call of `waker`.
fn build<F: Files>(
    config: &Config,
    files: Arc<F>,
    open: impl OpenDisk<F>,
    alerts: Arc<AddressAlerts>,
    waker: Waker,
) -> Result<(Driver, Started), StartError> {
    let environment = &config.environment;
    let clock = || Arc::clone(&environment.clock);
    let mut random = StdRng::from_seed(environment.seed().map_err(StartError::Random)?);
    let mut metadata = Metadata::open(&files, config, &mut random)?;
    let (disk, durable) = open(config, files, &mut random)?;
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
    let boot_id = new_boot(environment).map_err(StartError::Random)?;
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
    let (endpoint, socket) = Endpoint::open(transport_config(config, boot_id))
        .map_err(|error| listen_error(config, error))?;
    let to_wake = waker.clone();
    socket.set_waker(move || to_wake.wake_by_ref());
    let address = endpoint.local_addr().unwrap_or(config.listen);
    // The start must be durable before this run sends its first datagram.
    metadata.begin_start(boot_id)?;
    let metrics = Arc::new(Metrics::new());
    let own_disk = metadata.own_disk();
    let disk_id = own_disk.disk.to_string();
    let admission = Admission::new(config.id, &voters, own_disk, metadata.table().clone());
    let keeper = Keeper::new(metadata, waker.clone(), environment);
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
    let liveness = Arc::new(Liveness::new(others, clock()));
    metrics.snapshot_limit_bytes.set(MAX_STATE as u64);
    // On a single processor, busy polling would block the threads whose results it waits for.
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let busy_wait = match processors {
        1 => Duration::ZERO,
        _ => config.busy_wait,
    };
    let busy_poll = BusyPoll::new(busy_wait, environment.clock.now());
    let writer = Arc::new(Writer::new(disk, busy_poll, Arc::clone(&metrics), clock()));
    let (command, commands) = mpsc::channel(COMMANDS);
    let logged = durable.log.iter().map(|entry| entry.payload.size() as u64);
    let snapshot_policy = SnapshotPolicy::new(
        config.snapshot_entries,
        config.snapshot_bytes,
        logged.sum(),
        &mut random,
    );
    let raft = Raft::recover(config.id, model_config, durable);
    let fault_switch = Arc::<FaultSwitch>::default();
    let started = Started {
        commands: command,
        waker,
        address,
        liveness: Arc::clone(&liveness),
        metrics: Arc::clone(&metrics),
        fault_switch: Arc::clone(&fault_switch),
    };
    let driver = Driver::new(Parts {
        local: Local::new(
            config.id,
            config.max_local,
            config.max_waiting,
            config.ask_timeout,
            &mut random,
            environment.clock.now(),
        ),
        timers: Timers::new(
            config.heartbeat,
            config.election_min,
            config.election_max,
            environment.clock.now(),
            &mut random,
        ),
        environment: environment.clone(),
        crash_report_path: config
            .data_dir
            .join(format!("violated-invariant-{boot:016x}.json")),
        boot,
        identities,
        fault_switch,
        snapshot_policy,
        slow_disk: config.slow_disk,
        raft,
        endpoint,
        socket,
        writer,
        commands,
        metrics,
        liveness,
        trace,
        random,
    });
    Ok((driver, started))
}

fn listen_error(config: &Config, source: io::Error) -> StartError {
    StartError::Listen {
        address: config.listen,
        purpose: "datagrams",
        source,
    }
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
    transport.environment = config.environment.clone();
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
mod tests;
