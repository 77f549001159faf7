//! The availability of the cluster, derived from the last reports of the servers: pure functions.

use crate::node_problem::NodeProblem;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use status::{AlertKind, Progress, Role, Status};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// A server counts as down if its leader, or a candidate, received nothing from it for this many
/// milliseconds; four heartbeats, if they are longer.
const MAX_SILENCE_MS: u64 = 1500;

/// The availability of the cluster, as far as the proxy knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// `ok`, `no_leader`, `no_quorum`, or `unknown` if the number of available servers is unknown.
    pub state: &'static str,
    /// The number of servers.
    pub servers: usize,
    /// The number of servers that can form a quorum now, as far as is known.
    pub up: usize,
    /// The size of a majority.
    pub majority: usize,
    /// The number of further failures that the cluster tolerates; if negative, the number of missing
    /// servers.
    pub margin: i64,
    /// The leader of the newest term among the available servers.
    pub leader: Option<u64>,
    /// The term of that leader; without a leader, the newest known term.
    pub term: Option<u64>,
    /// The highest commit index that any server reported.
    pub commit_index: Option<u64>,
    /// The age of that report in milliseconds.
    pub commit_age_ms: Option<u64>,
}

/// The status that a server reports; `None` if it is not a status.
pub(super) fn parse_status(status: &Value) -> Option<Status> {
    Status::deserialize(status).ok()
}

/// The known state of one server, as input of [`Health`].
pub(super) struct ServerReport {
    pub(super) id: u64,
    /// Whether the server responds; `None` if it has no status source.
    pub(super) responds: Option<bool>,
    pub(super) is_isolated: bool,
    /// The last status that the server reported.
    pub(super) status: Option<Status>,
    /// The age of that status in milliseconds.
    pub(super) age_ms: u64,
}

impl ServerReport {
    fn term(&self) -> Option<u64> {
        self.status.as_ref().map(|status| status.term)
    }

    fn leads(&self) -> bool {
        let status = self.status.as_ref();
        self.is_active() && status.is_some_and(|status| status.role == Role::Leader)
    }

    /// Whether the server responds and takes part in the protocol. A server that lost its disk
    /// responds, but takes no part.
    fn is_active(&self) -> bool {
        let status = self.status.as_ref();
        let is_suspended = status.is_some_and(|status| status.suspended.is_some());
        self.responds == Some(true) && !self.is_isolated && !is_suspended
    }

    /// The progress of a follower, if this server leads.
    fn progress(&self, of: u64) -> Option<&Progress> {
        self.status.as_ref()?.followers.get(&of)
    }

    /// Whether this server reports that another one lost its disk. It may receive messages of that
    /// server, but of a run that it refused.
    fn reports_lost_disk(&self, of: u64) -> bool {
        let mut alerts = self.status.iter().flat_map(|status| &status.alerts);
        alerts.any(|alert| alert.kind == AlertKind::LostDisk && alert.node == of)
    }

    /// The time since this server received a message of another one, in milliseconds. Only a leader
    /// or a candidate reports it, because followers exchange messages with their leader only.
    fn silence(&self, of: u64) -> Option<u64> {
        let status = self.status.as_ref()?;
        match status.role {
            Role::Leader => Some(self.progress(of)?.silent_ms),
            Role::Candidate | Role::PreCandidate => {
                let silence = status.peer_silence_ms.get(&of)?;
                Some(silence.unwrap_or(status.uptime_seconds.saturating_mul(1000)))
            }
            Role::Follower | Role::Unknown => None,
        }
    }

    /// Whether this server received a message of another one recently, if it reports that.
    fn receives_from(&self, of: u64) -> Option<bool> {
        let heartbeat = self.status.as_ref()?.heartbeat_ms;
        let longest = MAX_SILENCE_MS.max(heartbeat.saturating_mul(4));
        self.silence(of).map(|silence| silence < longest)
    }
}

/// The servers that can form a quorum now, as far as is known. If there is a leader, these are the
/// leader and each server that sent it a message recently, that counts, and that fault injection does
/// not isolate. A response over HTTP proves nothing: datagrams of that server may not arrive. Without a
/// leader, it is the largest set of responding servers around one that exchanges messages with all
/// others.
pub(super) struct Contacts<'a> {
    leader: Option<&'a ServerReport>,
    up: BTreeSet<u64>,
    /// The number of servers about which nothing is known.
    unknown: usize,
    /// The servers that respond and are not up, and the reason.
    pub(super) silent: BTreeMap<u64, NodeProblem>,
}

impl<'a> Contacts<'a> {
    pub(super) fn new(servers: &'a [ServerReport]) -> Self {
        let leader = servers.iter().filter(|server| server.leads());
        let leader = leader.max_by_key(|server| server.term());
        match leader {
            Some(leader) => Self::with_leader(leader, servers),
            None => Self::without_leader(servers),
        }
    }

    fn with_leader(leader: &'a ServerReport, servers: &[ServerReport]) -> Self {
        let mut contacts = Self {
            leader: Some(leader),
            up: BTreeSet::from([leader.id]),
            unknown: 0,
            silent: BTreeMap::new(),
        };
        for server in servers.iter().filter(|server| server.id != leader.id) {
            let id = server.id;
            let receives = leader.receives_from(id);
            // A leader counts a server only in a run that it admitted.
            let counts = leader.progress(id).map(|progress| progress.counts);
            let is_excluded =
                server.is_isolated || (server.responds == Some(true) && !server.is_active());
            match receives {
                None if server.responds.is_none() => contacts.unknown += 1,
                _ if is_excluded => {}
                _ if counts == Some(false) && leader.reports_lost_disk(id) => {
                    contacts.explain(server, NodeProblem::NotCounted);
                }
                Some(true) | None if counts == Some(false) => {}
                None if server.is_active() => {
                    contacts.up.insert(id);
                }
                None => {}
                Some(true) => {
                    contacts.up.insert(id);
                }
                // A leader without any message of a server has not admitted it either.
                Some(false) => {
                    let seconds = leader.silence(id).unwrap_or(0) / 1000;
                    contacts.explain(server, NodeProblem::NotReceivedByLeader { seconds });
                }
            }
        }
        contacts
    }

    /// Records why a server that responds is not up.
    fn explain(&mut self, server: &ServerReport, problem: NodeProblem) {
        if server.is_active() {
            self.silent.insert(server.id, problem);
        }
    }

    fn without_leader(servers: &[ServerReport]) -> Self {
        let active = || servers.iter().filter(|server| server.is_active());
        // The receiver, the sender and the milliseconds of silence, if no messages arrive in one of
        // the two directions.
        let broken_direction = |one: &ServerReport, other: &ServerReport| {
            [(one, other), (other, one)]
                .into_iter()
                .find(|(receiver, of)| receiver.receives_from(of.id) == Some(false))
                .map(|(receiver, of)| (receiver.id, of.id, receiver.silence(of.id).unwrap_or(0)))
        };
        let group = |center: &ServerReport| {
            let reached = active()
                .filter(|one| one.id == center.id || broken_direction(center, one).is_none());
            reached.map(|server| server.id).collect::<BTreeSet<_>>()
        };
        let mut contacts = Self {
            leader: None,
            up: BTreeSet::new(),
            unknown: servers.iter().filter(|one| one.responds.is_none()).count(),
            silent: BTreeMap::new(),
        };
        let mut best = None;
        for center in active() {
            let reached = group(center);
            if reached.len() > contacts.up.len() {
                (contacts.up, best) = (reached, Some(center));
            }
        }
        let Some(center) = best else {
            return contacts;
        };
        for server in active().filter(|server| !contacts.up.contains(&server.id)) {
            let Some((receiver, of, silence)) = broken_direction(center, server) else {
                continue;
            };
            let seconds = silence / 1000;
            let problem = if receiver == server.id {
                NodeProblem::ReceivesNothing { other: of, seconds }
            } else {
                NodeProblem::NotReceived {
                    other: receiver,
                    seconds,
                }
            };
            contacts.silent.insert(server.id, problem);
        }
        contacts
    }
}

impl Health {
    pub(super) fn new(servers: &[ServerReport], contacts: &Contacts<'_>) -> Self {
        let (leader, unknown) = (contacts.leader, contacts.unknown);
        let up = contacts.up.len();
        let majority = servers.len() / 2 + 1;
        let state = match leader {
            _ if up < majority && up + unknown >= majority => "unknown",
            _ if up < majority => "no_quorum",
            None if unknown > 0 => "unknown",
            None => "no_leader",
            Some(_) => "ok",
        };
        let newest = servers.iter().filter_map(ServerReport::term).max();
        let committed = servers
            .iter()
            .filter_map(|server| {
                let index = server.status.as_ref()?.commit_index;
                Some((index, Reverse(server.age_ms)))
            })
            .max();
        Self {
            state,
            servers: servers.len(),
            up,
            majority,
            margin: up as i64 - majority as i64,
            leader: leader.map(|leader| leader.id),
            term: leader.and_then(|leader| leader.term()).or(newest),
            commit_index: committed.map(|(index, _)| index),
            commit_age_ms: committed.map(|(_, Reverse(age))| age),
        }
    }
}
