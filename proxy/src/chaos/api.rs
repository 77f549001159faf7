//! The actions of `/v1/chaos`, their validation, and their errors. `docs/http.md` has the format.

use model::{NodeId, ProxyId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, time::Duration};
use transport::PlanError;

/// The maximum duration of a fault in seconds.
const MAX_SECONDS: f64 = 86_400.0;

/// An end of a link: `1` for server 1, `"proxy"`, or `"clients"` for the UDP clients of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LinkEnd {
    /// A server.
    Node(u64),
    /// An end that is not a server.
    Named(NamedEnd),
}

/// The ends of links that are not servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedEnd {
    /// This proxy.
    Proxy,
    /// Its UDP clients.
    Clients,
}

pub(super) const PROXY: LinkEnd = LinkEnd::Named(NamedEnd::Proxy);
pub(super) const CLIENTS: LinkEnd = LinkEnd::Named(NamedEnd::Clients);

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "server {id}"),
            Self::Named(NamedEnd::Proxy) => f.write_str("the proxy"),
            Self::Named(NamedEnd::Clients) => f.write_str("its clients"),
        }
    }
}

/// The faults of one link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkFault {
    /// Drops every message.
    pub cut: bool,
    /// The probability of loss, from 0 to 1.
    pub drop: f64,
    /// The probability of duplication, from 0 to 1.
    pub duplicate: f64,
    /// The probability of reordering, from 0 to 1.
    pub reorder: f64,
    /// The minimum and maximum delay in milliseconds.
    pub delay_ms: Option<[u64; 2]>,
}

/// A fault to inject or to end. After `for_seconds`, the fault ends automatically.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs, reason = "docs/http.md has them one by one")]
pub enum Action {
    /// Replaces the faults of a link. An action without faults restores the link.
    ///
    /// The fields repeat those of [`LinkFault`]: a flattened struct would accept unknown fields, and a
    /// misspelled fault would restore the link.
    Link {
        from: LinkEnd,
        to: LinkEnd,
        /// Applies the faults to the opposite direction too.
        #[serde(default)]
        both: bool,
        #[serde(default)]
        cut: bool,
        #[serde(default)]
        drop: f64,
        #[serde(default)]
        duplicate: f64,
        #[serde(default)]
        reorder: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        delay_ms: Option<[u64; 2]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_seconds: Option<f64>,
    },
    /// Cuts all links of a server.
    Isolate {
        node: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_seconds: Option<f64>,
    },
    /// Ends the isolation of a server.
    Rejoin { node: u64 },
    /// Pauses a server, like SIGSTOP.
    Pause {
        node: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_seconds: Option<f64>,
    },
    /// Resumes a server, like SIGCONT.
    Resume { node: u64 },
    /// Kills a server, like SIGKILL.
    Kill {
        node: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        for_seconds: Option<f64>,
    },
    /// Restarts a killed server from its disk.
    Start { node: u64 },
    /// Ends all faults. A variant with braces, because serde accepts unknown fields beside a unit
    /// variant.
    Heal {},
}

impl Action {
    /// The action that ends the faults of a link in one direction.
    pub(super) fn restore_link(from: LinkEnd, to: LinkEnd) -> Self {
        Self::Link {
            from,
            to,
            both: false,
            cut: false,
            drop: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            delay_ms: None,
            for_seconds: None,
        }
    }

    /// Checks the duration and the targets of this action, and returns the duration. `None` means
    /// that the fault lasts until another action ends it.
    pub(super) fn check(&self, targets: &Targets) -> Result<Option<Duration>, ChaosError> {
        match self {
            Self::Link {
                from,
                to,
                for_seconds,
                ..
            } => {
                let duration = check_duration(*for_seconds)?;
                targets.check_link(*from, *to)?;
                Ok(duration)
            }
            Self::Isolate { node, for_seconds }
            | Self::Pause { node, for_seconds }
            | Self::Kill { node, for_seconds } => {
                let duration = check_duration(*for_seconds)?;
                targets.check_server(*node)?;
                Ok(duration)
            }
            Self::Rejoin { node } | Self::Resume { node } | Self::Start { node } => {
                targets.check_server(*node)?;
                Ok(None)
            }
            Self::Heal {} => Ok(None),
        }
    }
}

fn check_duration(seconds: Option<f64>) -> Result<Option<Duration>, ChaosError> {
    match seconds {
        None => Ok(None),
        Some(seconds) if seconds > 0.0 && seconds <= MAX_SECONDS => {
            Ok(Some(Duration::from_secs_f64(seconds)))
        }
        Some(_) => Err(ChaosError::Duration),
    }
}

/// The processes that actions can affect.
pub(super) struct Targets {
    pub(super) servers: BTreeSet<u64>,
    pub(super) proxy: ProxyId,
    /// Whether the servers run in this process.
    pub(super) are_embedded: bool,
}

impl Targets {
    pub(super) fn new(
        servers: impl Iterator<Item = NodeId>,
        proxy: ProxyId,
        are_embedded: bool,
    ) -> Self {
        Self {
            servers: servers.map(NodeId::get).collect(),
            proxy,
            are_embedded,
        }
    }

    fn check_server(&self, id: u64) -> Result<(), ChaosError> {
        if self.servers.contains(&id) {
            Ok(())
        } else {
            Err(ChaosError::NoSuchNode(id))
        }
    }

    fn check_link(&self, from: LinkEnd, to: LinkEnd) -> Result<(), ChaosError> {
        use LinkEnd::Node;
        for end in [from, to] {
            if let Node(id) = end {
                self.check_server(id)?;
            }
        }
        match (from, to) {
            (Node(a), Node(b)) if a == b => Err(ChaosError::NoSuchLink(from, to)),
            // The proxy cannot reach the socket of a server in another process.
            (Node(_), Node(_)) if !self.are_embedded => Err(ChaosError::Elsewhere),
            (Node(_), Node(_) | PROXY) | (PROXY, Node(_) | CLIENTS) | (CLIENTS, PROXY) => Ok(()),
            _ => Err(ChaosError::NoSuchLink(from, to)),
        }
    }
}

/// Why an action was rejected. A rejected action changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The server does not exist.
    #[error("there is no server {0}")]
    NoSuchNode(u64),
    /// The link does not exist.
    #[error(
        "there is no link from {0} to {1}: links go between servers, between a server and \"proxy\", and between \"proxy\" and \"clients\""
    )]
    NoSuchLink(LinkEnd, LinkEnd),
    /// The servers run in other processes.
    #[error(
        "the servers do not run in this process (--embedded): a raft-node started with --chaos has its own /chaos; pause or kill a process with the tools of its operating system"
    )]
    Elsewhere,
    /// The server is down.
    #[error("server {0} does not run: start it first")]
    Down(u64),
    /// The duration is out of range.
    #[error("for_seconds must be more than 0 and at most 86400")]
    Duration,
    /// A probability or a delay is out of range.
    #[error("{}", without_rule_number(.0))]
    LinkFault(PlanError),
    /// A server failed to start.
    #[error("{0}")]
    Start(String),
}

/// The text of a plan error. An action contains one rule, so its number in the plan means nothing to
/// the client.
fn without_rule_number(error: &PlanError) -> String {
    let text = error.to_string();
    match text.split_once(": ") {
        Some((_, problem)) => problem.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn action_with_an_unknown_field_is_refused() {
        for text in [
            r#"{"do":"dance"}"#,
            r#"{"do":"heal","node":1}"#,
            r#"{"do":"rejoin","node":1,"for_seconds":3}"#,
            r#"{"do":"link","from":1,"to":"proxy","cutt":true}"#,
            r#"{"do":"link","from":1,"to":"proxy","delay":[1,2]}"#,
            r#"{"do":"kill"}"#,
            r#"{"do":"link","from":"moon","to":1}"#,
        ] {
            assert!(serde_json::from_str::<Action>(text).is_err(), "{text}");
        }
    }
}
