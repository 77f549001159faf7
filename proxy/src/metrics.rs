//! The counters of the frontends, in the text format of Prometheus.

use crate::gauges::Gauges;
use model::{
    Address,
    client::{Invocation, Outcome},
    store::{Operation, Query},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use transport::Endpoint;

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Verb {
    Get,
    Scan,
    Put,
    Delete,
    Increment,
}

impl Verb {
    /// The kind of an invocation; `None` if it is no operation on keys.
    pub(crate) fn from_invocation(invocation: &Invocation) -> Option<Self> {
        Some(match invocation {
            Invocation::Read(query) | Invocation::StaleRead(query) => match query {
                Query::Get { .. } => Self::Get,
                Query::Scan { .. } => Self::Scan,
            },
            Invocation::Write(operation) | Invocation::WriteAfterIdle(operation) => match operation
            {
                Operation::Put { .. } => Self::Put,
                Operation::Delete { .. } => Self::Delete,
                Operation::Increment { .. } => Self::Increment,
            },
            Invocation::CloseSession | Invocation::TransferLeadership(_) => return None,
        })
    }
}

/// The names of the kinds, by index.
const VERBS: [&str; 5] = ["get", "scan", "put", "delete", "increment"];

/// The names of the outcomes, by index.
const OUTCOMES: [&str; 3] = ["answered", "not_done", "unknown"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FrontendLabel {
    frontend: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// The counters of the frontends.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// One counter for each kind and outcome, found by index: an operation requires no map lookup.
    operations: [[Counter; 3]; 5],
    seconds: [Histogram; 5],
    /// Open HTTP connections.
    pub http_connections: Gauge,
    /// Open Redis connections.
    pub redis_connections: Gauge,
    /// Connections closed because of a protocol error.
    pub redis_protocol_errors: Counter,
}

impl Metrics {
    /// Creates all counters at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("stateraft_proxy");
        let build = Family::<Build, Gauge>::default();
        let version = env!("CARGO_PKG_VERSION");
        build.get_or_create_owned(&Build { version }).set(1);
        registry.register("build", "The version that runs", build);
        let operations = Family::<Labels, Counter>::default();
        let counters = VERBS.map(|operation| {
            OUTCOMES.map(|outcome| operations.get_or_create_owned(&Labels { operation, outcome }))
        });
        registry.register(
            "operations",
            "Operations of the HTTP and Redis frontends, by outcome",
            operations,
        );
        let durations = Family::<VerbLabel, Histogram>::new_with_constructor(|| {
            // From the latency of a local response to more than the duration of an election.
            Histogram::new([
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
                10.0,
            ])
        });
        let seconds =
            VERBS.map(|operation| durations.get_or_create_owned(&VerbLabel { operation }));
        registry.register(
            "operation_seconds",
            "Duration of operations of the HTTP and Redis frontends",
            durations,
        );
        let connections = Family::<FrontendLabel, Gauge>::default();
        let http_connections = connections.get_or_create_owned(&FrontendLabel { frontend: "http" });
        let redis_connections =
            connections.get_or_create_owned(&FrontendLabel { frontend: "redis" });
        registry.register("connections", "Connections that are open", connections);
        let redis_protocol_errors = Counter::default();
        registry.register(
            "redis_protocol_errors",
            "Redis connections closed after a protocol error",
            redis_protocol_errors.clone(),
        );
        Self {
            registry,
            operations: counters,
            seconds,
            http_connections,
            redis_connections,
            redis_protocol_errors,
        }
    }

    pub(crate) fn operation(&self, verb: Verb, outcome: &Outcome, took: Duration) {
        let index = match outcome {
            Outcome::Done(_) => 0,
            Outcome::NotDone(_) => 1,
            Outcome::Unknown(_) => 2,
        };
        self.operations[verb as usize][index].inc();
        self.seconds[verb as usize].observe(took.as_secs_f64());
    }

    /// Encodes all metrics, including those of the driver and the socket.
    ///
    /// # Errors
    /// None in practice: the text is written to memory.
    pub fn encode(&self, gauges: &Gauges, endpoint: &Endpoint) -> Result<String, fmt::Error> {
        use fmt::Write as _;
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        // Insert the driver's own numbers before the end mark.
        text.truncate(text.len() - "# EOF\n".len());
        let value = |number: &AtomicU64| number.load(Relaxed);
        let leader = gauges.leader().map_or(0, model::NodeId::get);
        let in_flight = value(&gauges.in_flight);
        for (name, help, number) in [
            ("in_flight", "Requests waiting for a server", in_flight),
            ("leader", "The server believed to lead, 0 for none", leader),
        ] {
            writeln!(text, "# HELP stateraft_proxy_{name} {help}.")?;
            writeln!(text, "# TYPE stateraft_proxy_{name} gauge")?;
            writeln!(text, "stateraft_proxy_{name} {number}")?;
        }
        for (name, help, number) in [
            (
                "sends",
                "Requests sent to servers, retries too",
                value(&gauges.sends),
            ),
            (
                "attempt_timeouts",
                "Requests a server did not answer in time",
                value(&gauges.timeouts),
            ),
            (
                "unavailable",
                "Requests given up or refused",
                value(&gauges.unavailable),
            ),
        ] {
            writeln!(text, "# HELP stateraft_proxy_{name} {help}.")?;
            writeln!(text, "# TYPE stateraft_proxy_{name} counter")?;
            writeln!(text, "stateraft_proxy_{name}_total {number}")?;
        }
        writeln!(
            text,
            "# HELP stateraft_proxy_requests Requests that arrived."
        )?;
        writeln!(text, "# TYPE stateraft_proxy_requests counter")?;
        for (from, number) in [
            ("udp", value(&gauges.requests_udp)),
            ("frontends", value(&gauges.requests_frontends)),
        ] {
            writeln!(
                text,
                "stateraft_proxy_requests_total{{from=\"{from}\"}} {number}"
            )?;
        }
        for (name, number) in endpoint.counters().iter() {
            writeln!(text, "# TYPE stateraft_proxy_udp_{name} counter")?;
            writeln!(text, "stateraft_proxy_udp_{name}_total {number}")?;
        }
        let help = "The greatest length of a datagram to a server at present.";
        writeln!(text, "# HELP stateraft_proxy_datagram_bytes {help}")?;
        writeln!(text, "# TYPE stateraft_proxy_datagram_bytes gauge")?;
        for (peer, size) in endpoint.datagram_sizes() {
            if let Address::Node(id) = peer {
                writeln!(
                    text,
                    "stateraft_proxy_datagram_bytes{{server=\"{id}\"}} {size}"
                )?;
            }
        }
        text.push_str("# EOF\n");
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabel {
    operation: &'static str,
}
