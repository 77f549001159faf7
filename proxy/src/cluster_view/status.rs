//! The status of the cluster, as `/v1/status` and `/v1/events` present it.

use super::health::Health;
use crate::node_problem::NodeProblem;
use serde::Serialize;
use serde_json::{Map, Value};

/// The state of the cluster.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The name of the cluster.
    pub cluster: String,
    /// This proxy.
    pub proxy: ProxyStatus,
    /// Whether the cluster is available.
    pub health: Health,
    /// The servers, in order.
    pub nodes: Vec<NodeStatus>,
    /// The active faults; absent without `--chaos`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chaos: Option<Value>,
    /// Some keys.
    pub keys: Keys,
}

/// The state of this proxy.
#[derive(Clone, Debug, Serialize)]
pub struct ProxyStatus {
    /// Its version.
    pub version: &'static str,
    /// The uptime in seconds.
    pub uptime_seconds: u64,
    /// The believed leader.
    pub leader: Option<u64>,
    /// The number of requests in flight.
    pub requests_in_flight: u64,
    /// The number of requests since the start.
    pub requests_total: u64,
}

/// The state of a server.
#[derive(Clone, Debug, Serialize)]
pub struct NodeStatus {
    /// The id of the server.
    pub id: u64,
    /// The status that the server reports; absent if it does not respond.
    pub status: Option<Value>,
    /// Why there is no status, or why a server with a status is not up.
    #[serde(flatten)]
    pub problem: DescribedProblem,
    /// The last reported status, if the server does not respond now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Value>,
    /// The age of that status in milliseconds.
    pub age_ms: Option<u64>,
}

/// A problem in JSON: `problem` is a sentence, `cause` the same as data; both are null without a problem.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DescribedProblem {
    problem: Option<String>,
    cause: Option<NodeProblem>,
}

impl From<Option<NodeProblem>> for DescribedProblem {
    fn from(cause: Option<NodeProblem>) -> Self {
        Self {
            problem: cause.as_ref().map(ToString::to_string),
            cause,
        }
    }
}

impl DescribedProblem {
    /// Adds a problem if there is none yet.
    pub(super) fn or(self, other: Option<NodeProblem>) -> Self {
        self.cause.or(other).into()
    }
}

/// A sample of the keys, in order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Keys {
    /// The first keys. Long values are truncated and marked `cut`.
    pub items: Vec<Map<String, Value>>,
    /// Whether more keys exist.
    pub more: bool,
    /// Whether the keys were read recently.
    pub fresh: bool,
}
