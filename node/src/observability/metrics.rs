//! Metrics for operators. Values are atomics: updating one never waits for a reader.

use model::Address;
use prometheus_client::{
    encoding::text,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use status::{Counts, Role};
use std::{sync::atomic::AtomicU64, time::Duration};

type Labels = [(&'static str, &'static str); 1];
type Number = Gauge<u64, AtomicU64>;

/// The metrics of one server.
pub(crate) struct Metrics {
    registry: Registry,
    role: Family<Labels, Gauge>,
    pub(crate) term: Number,
    pub(crate) commit_index: Number,
    pub(crate) last_index: Number,
    pub(crate) durable_index: Number,
    pub(crate) snapshot_index: Number,
    pub(crate) log_entries: Number,
    pub(crate) snapshot_bytes: Number,
    pub(crate) snapshot_limit_bytes: Number,
    pub(crate) state_bytes: Number,
    pub(crate) state_quota_bytes: Number,
    pub(crate) sessions: Number,
    pub(crate) snapshots: Family<Labels, Counter>,
    pub(crate) disk_backlog: Number,
    /// How long the current disk operation has lasted, in whole seconds.
    pub(crate) disk_busy: Number,
    pub(crate) suspended: Number,
    pub(crate) refused_peers: Number,
    pub(crate) local_waiting: Number,
    pub(crate) elections: Counter,
    pub(crate) leaderships: Counter,
    transfers: Family<Labels, Counter>,
    pub(crate) leaders_gone: Counter,
    pub(crate) steps: Counter,
    pub(crate) turns: Counter,
    pub(crate) requests: Counter,
    pub(crate) heartbeats: Family<Labels, Counter>,
    pub(crate) appends: Family<Labels, Counter>,
    entries: Counter,
    syncs: Counter,
    writes: Counter,
    sync_seconds: Histogram,
    commit_seconds: Histogram,
    drops: Family<Labels, Counter>,
    refusals: Family<Labels, Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.000_05, 2.0, 16));
        let mut metrics = Self {
            registry: Registry::default(),
            role: Family::default(),
            term: Number::default(),
            commit_index: Number::default(),
            last_index: Number::default(),
            durable_index: Number::default(),
            snapshot_index: Number::default(),
            log_entries: Number::default(),
            snapshot_bytes: Number::default(),
            snapshot_limit_bytes: Number::default(),
            state_bytes: Number::default(),
            state_quota_bytes: Number::default(),
            sessions: Number::default(),
            snapshots: Family::default(),
            disk_backlog: Number::default(),
            disk_busy: Number::default(),
            suspended: Number::default(),
            refused_peers: Number::default(),
            local_waiting: Number::default(),
            elections: Counter::default(),
            leaderships: Counter::default(),
            transfers: Family::default(),
            leaders_gone: Counter::default(),
            steps: Counter::default(),
            turns: Counter::default(),
            requests: Counter::default(),
            heartbeats: Family::default(),
            appends: Family::default(),
            entries: Counter::default(),
            syncs: Counter::default(),
            writes: Counter::default(),
            sync_seconds: seconds(),
            commit_seconds: seconds(),
            drops: Family::default(),
            refusals: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = self.registry.sub_registry_with_prefix("raft");
        registry.register(
            "role",
            "1 for the current role of the server, 0 for others",
            self.role.clone(),
        );
        for (name, help, gauge) in [
            ("term", "Current term", &self.term),
            (
                "commit_index",
                "Last entry known to be committed and applied",
                &self.commit_index,
            ),
            ("last_index", "Last entry of the log", &self.last_index),
            (
                "durable_index",
                "Last entry of the log that is on this server's disk",
                &self.durable_index,
            ),
            (
                "snapshot_index",
                "Last entry covered by the last snapshot",
                &self.snapshot_index,
            ),
            (
                "log_entries",
                "Entries of the log in memory",
                &self.log_entries,
            ),
            (
                "snapshot_bytes",
                "Bytes of the last snapshot on the disk",
                &self.snapshot_bytes,
            ),
            (
                "snapshot_limit_bytes",
                "Maximum size in bytes of a snapshot that can be sent to another server",
                &self.snapshot_limit_bytes,
            ),
            (
                "state_bytes",
                "Bytes of keys and values in the state, plus 32 for each pair",
                &self.state_bytes,
            ),
            (
                "state_quota_bytes",
                "Maximum size of the state in bytes while this server leads",
                &self.state_quota_bytes,
            ),
            ("sessions", "Open client sessions", &self.sessions),
            (
                "suspended",
                "1 if this server does not count: its id is recorded with another disk",
                &self.suspended,
            ),
            (
                "refused_peers",
                "Peers that returned without their disk or with an old copy, or run twice",
                &self.refused_peers,
            ),
            (
                "disk_backlog_bytes",
                "Approximate number of bytes queued for the disk",
                &self.disk_backlog,
            ),
            (
                "disk_busy_seconds",
                "Duration of the current disk operation so far; 0 if there is none",
                &self.disk_busy,
            ),
            (
                "local_waiting",
                "Local operations in the queue",
                &self.local_waiting,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        for (name, help, counter) in [
            (
                "elections",
                "Elections that this server started",
                &self.elections,
            ),
            (
                "leaderships",
                "Elections that this server won",
                &self.leaderships,
            ),
            (
                "leaders_gone",
                "Times that the port of a silent leader was found unreachable",
                &self.leaders_gone,
            ),
            ("steps", "Steps of the core", &self.steps),
            ("turns", "Turns of the driver", &self.turns),
            (
                "client_requests",
                "Requests of clients and proxies",
                &self.requests,
            ),
            (
                "entries_appended",
                "Entries added to the log",
                &self.entries,
            ),
            ("syncs", "Syncs of the disk", &self.syncs),
            ("writes", "Writes made durable", &self.writes),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, family) in [
            (
                "heartbeats",
                "AppendEntries without entries",
                &self.heartbeats,
            ),
            ("appends", "AppendEntries with entries", &self.appends),
            (
                "snapshots",
                "Snapshots taken, installed and sent",
                &self.snapshots,
            ),
            (
                "dropped",
                "Messages dropped by the driver, by cause",
                &self.drops,
            ),
            (
                "leadership_transfers",
                "Leadership transfers that this server started and that ended, by result",
                &self.transfers,
            ),
            (
                "requests_refused",
                "Client requests refused by the driver, by cause",
                &self.refusals,
            ),
        ] {
            registry.register(name, help, family.clone());
        }
        registry.register_with_unit(
            "sync",
            "Duration of a write and its sync",
            Unit::Seconds,
            self.sync_seconds.clone(),
        );
        registry.register_with_unit(
            "commit",
            "Time from the leader's append of an entry to its commit",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
    }

    /// Records a sync that made `writes` writes durable.
    pub(crate) fn synced(&self, took: Duration, writes: usize) {
        self.syncs.inc();
        self.writes.inc_by(writes as u64);
        self.sync_seconds.observe(took.as_secs_f64());
    }

    /// Records that a snapshot was taken, installed or sent.
    pub(crate) fn snapshot(&self, what: &'static str) {
        self.snapshots.get_or_create(&[("event", what)]).inc();
    }

    /// The number of syncs.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.get()
    }

    /// The counters that the status includes.
    pub(crate) fn counts(&self) -> Counts {
        let heartbeats = |direction| {
            self.heartbeats
                .get_or_create(&[("direction", direction)])
                .get()
        };
        Counts {
            heartbeats_in: heartbeats("in"),
            heartbeats_out: heartbeats("out"),
            entries_appended: self.entries.get(),
            elections: self.elections.get(),
            leaderships: self.leaderships.get(),
            steps: self.steps.get(),
            fsyncs: self.syncs.get(),
            ..Counts::default()
        }
    }

    /// Records entries appended to the log.
    pub(crate) fn appended(&self, entries: usize) {
        self.entries.inc_by(entries as u64);
    }

    /// Records the time from append to commit of an entry.
    pub(crate) fn committed(&self, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// Records dropped messages.
    pub(crate) fn dropped(&self, cause: &'static str, count: usize) {
        self.drops
            .get_or_create(&[("cause", cause)])
            .inc_by(count as u64);
    }

    /// Records refused client requests.
    pub(crate) fn refused(&self, cause: &'static str, count: usize) {
        self.refusals
            .get_or_create(&[("cause", cause)])
            .inc_by(count as u64);
    }

    /// Records the end of a leadership transfer that this server started.
    pub(crate) fn transferred(&self, is_done: bool) {
        let result = if is_done { "done" } else { "failed" };
        self.transfers.get_or_create(&[("result", result)]).inc();
    }

    /// Records a change of role.
    pub(crate) fn role(&self, left: Role, taken: Role) {
        self.role.get_or_create(&[("role", left.name())]).set(0);
        self.role.get_or_create(&[("role", taken.name())]).set(1);
    }

    /// All metrics, including the transport's counters, in the Prometheus text format.
    pub(crate) fn encode(
        &self,
        transport: &[(String, u64)],
        datagrams: &[(Address, usize)],
    ) -> String {
        let mut text = String::new();
        // Writing to memory cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        let end = text.trim_end_matches("# EOF\n").len();
        text.truncate(end);
        text += "# HELP raft_transport Counters of the transport, by name.\n\
                 # TYPE raft_transport counter\n";
        for (name, count) in transport {
            text += &format!("raft_transport_total{{count=\"{name}\"}} {count}\n");
        }
        text += "# HELP raft_datagram_bytes Current maximum size of a datagram to a peer, in bytes.\n\
                 # TYPE raft_datagram_bytes gauge\n";
        for (peer, size) in datagrams {
            if let Address::Node(peer) = peer {
                text += &format!("raft_datagram_bytes{{peer=\"{peer}\"}} {size}\n");
            }
        }
        text + "# EOF\n"
    }
}
