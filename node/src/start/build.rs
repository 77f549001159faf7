//! Assembles the driver of a server in the environment of its configuration. Starts no thread.

use crate::{
    addresses::AddressAlerts,
    config::Config,
    error::StartError,
    identities::Identities,
    observability::{metrics::Metrics, trace::TraceWriter},
    runtime::{
        busy_poll::BusyPoll,
        driver::{Driver, DriverCommand, Liveness, Parts},
        fault_switch::FaultSwitch,
        local::Local,
        snapshot_policy::SnapshotPolicy,
        timers::Timers,
    },
    storage::{
        disk::{Disk, DiskError},
        metadata::{Metadata, MetadataWriter},
        wal::{Files, Identity, Wal},
        writer::Writer,
    },
};
use model::{
    Durable, NodeId, Raft,
    admission::Admission,
    wire::{BootId, VotersDigest},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::BTreeSet, io, net::SocketAddr, num::NonZero, sync::Arc, task::Waker, thread,
    time::Duration,
};
use tokio::sync::mpsc;
use transport::{Endpoint, new_boot};

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

/// The values that the server's thread returns once it runs.
pub(super) struct Started {
    pub(super) commands: mpsc::Sender<DriverCommand>,
    pub(super) waker: Waker,
    pub(super) address: SocketAddr,
    pub(super) liveness: Arc<Liveness>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) fault_switch: Arc<FaultSwitch>,
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

/// Opens the write-ahead log of a server: the [`OpenDisk`] of production.
pub(super) fn open_wal<F: Files>(
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
pub(super) fn build<F: Files>(
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
    let model_config = core_config(config, voters.clone());
    tracing::info!(
        cluster = config.cluster,
        voters = ?voters,
        term = %durable.hard_state.current_term,
        entries = durable.log.len(),
        snapshot = %durable.base().index,
        "starting"
    );
    let boot_id = new_boot(environment).map_err(StartError::Random)?;
    let boot = boot_id.random;
    let trace = begin_trace(config, boot, &model_config, &durable)?;
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
    let keeper = MetadataWriter::new(metadata, waker.clone(), environment);
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
    let busy_poll = BusyPoll::new(busy_wait(config), environment.clock.now());
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

pub(super) fn listen_error(config: &Config, source: io::Error) -> StartError {
    StartError::Listen {
        address: config.listen,
        purpose: "datagrams",
        source,
    }
}

/// The settings of the Raft core.
fn core_config(config: &Config, voters: BTreeSet<NodeId>) -> model::Config {
    let mut core = model::Config::production(voters);
    // The log in memory is hardly longer than these bytes and the growth between snapshots.
    core.trailing_bytes = usize::try_from(config.snapshot_bytes / 4).unwrap_or(usize::MAX);
    core.max_sessions = config.max_sessions;
    core.session_window = config.session_window;
    core.state_quota = config.state_quota;
    core
}

/// Starts the trace of this run, if one is configured.
fn begin_trace(
    config: &Config,
    boot: u64,
    core: &model::Config,
    durable: &Durable,
) -> Result<Option<TraceWriter>, StartError> {
    let Some(path) = &config.trace else {
        return Ok(None);
    };
    let trace = TraceWriter::begin(path, config.id, boot, core, durable);
    let trace = trace.map_err(|source| StartError::Trace {
        path: path.clone(),
        source,
    })?;
    Ok(Some(trace))
}

/// The busy-poll window. On a single processor, busy polling would block the threads whose results it
/// waits for.
fn busy_wait(config: &Config) -> Duration {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    if processors == 1 {
        Duration::ZERO
    } else {
        config.busy_wait
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The scopes of the checker start from these settings.
    #[test]
    fn default_settings_of_the_core_are_those_of_the_checker() {
        let voters = BTreeSet::from([1, 2, 3].map(NodeId::new));
        let config = Config::new(NodeId::new(1), "test", "unused");
        let production = model::Config::production(voters.clone());
        assert_eq!(core_config(&config, voters), production);
    }
}
