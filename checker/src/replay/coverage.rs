//! The part of a recorded run that lies inside a world that a search can exhaust.
//!
//! The world is constructed for the run. It has the same number of servers with the configuration of the
//! headers, which start from empty disks, and a few terms, but no clients, crashes or snapshots. A step
//! lies *inside* under three conditions. It is a step of this world (a timer, a message from a server, a
//! write that became durable). It enters no later term. All its causes lie inside: the earlier steps of
//! its server, and the step that first sent the message it receives.
//!
//! So the steps inside, of all servers together, are closed under causality. The replay has shown that
//! each is a step of the core. Hence together they are a run of this world, up to the ids of the servers
//! and of their writes: in the model, a timer can fire and a message can arrive at any time. (A report
//! that several writes are durable equals as many consecutive syncs.) If the world is exhausted, the
//! search visited every state of this run.
//!
//! Clients are excluded because their requests contain data that no bounded world can represent: their
//! ids are random, their keys arbitrary. So the first request that a leader accepts ends the inside part
//! of that server, and its later messages end that of their receivers. (A request that a server refuses
//! because it is not the leader leaves it unchanged, and so does a stale read: such steps neither count
//! nor end the part.) For a cluster that serves clients, few steps are inside. The replay checks the
//! properties of the other steps, but no search covers them.

use super::format::Header;
use model::{Config, Durable, Event, Raft, Role, Term, message::RequestBody, system::Scope};

/// The number of terms. Two terms allow a second election, and a search of three servers exhausts them
/// in seconds.
const TERMS: u64 = 2;
/// The number of terms for more than [`FEW`] servers.
const TERMS_OF_MANY: u64 = 1;
const FEW: usize = 3;
/// The maximum number of servers for a search, because it tries all their permutations.
const MOST: u64 = 5;

/// The steps inside a world, and the bounds of this world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The number of steps inside.
    pub inside: u64,
    /// The number of terms of the world.
    pub terms: u64,
    /// The configuration of its servers; `None` if there was no step.
    pub config: Option<Config>,
}

impl Coverage {
    /// The world as a scope for a search. Returns `None` if there are too many servers.
    pub fn scope(&self) -> Option<Scope> {
        let config = self.config.as_ref()?;
        let servers = config.voters.len() as u64;
        (servers <= MOST).then(|| Scope {
            servers,
            terms: self.terms,
            batch: config.max_entries_per_append,
            window: config.max_entries_in_flight,
            pre_vote: config.pre_vote,
            check_quorum: config.check_quorum,
            ..Scope::new(
                "these-servers",
                "servers with the settings of those that ran",
            )
        })
    }
}

/// Counts the steps inside during a replay.
pub(super) struct Tally {
    /// For each server, whether all its steps are inside so far.
    inside: Vec<bool>,
    /// Whether all disks were empty at the start.
    from_nothing: bool,
    steps: u64,
    config: Option<Config>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            inside: Vec::new(),
            from_nothing: true,
            steps: 0,
            config: None,
        }
    }

    /// Begins a server's run. `again` is true if it is not the server's first run.
    pub(super) fn run(&mut self, server: usize, header: &Header, again: bool) {
        if self.inside.len() <= server {
            self.inside.resize(server + 1, true);
        }
        if again {
            self.inside[server] = false;
        } else {
            self.from_nothing &= header.durable == Durable::default();
        }
        self.config.get_or_insert_with(|| header.config.clone());
    }

    /// Counts a step of a server. `term` is the server's term after the step. `cause` is whether the
    /// message received from another server was sent inside. `changes` is false if the step cannot
    /// change the server. Returns whether the server is inside.
    pub(super) fn step(
        &mut self,
        server: usize,
        event: &Event,
        cause: Option<bool>,
        changes: bool,
        term: Term,
    ) -> bool {
        if !changes {
            return self.inside[server];
        }
        let is_in_this_world = match event {
            Event::ElectionTimeout
            | Event::HeartbeatTimeout
            | Event::QuorumTimeout
            | Event::Persisted(_) => true,
            Event::Receive { .. } => cause == Some(true),
            _ => false,
        };
        let inside = &mut self.inside[server];
        *inside &= is_in_this_world && term.get() <= terms(self.config.as_ref());
        self.steps += u64::from(*inside);
        *inside
    }

    pub(super) fn coverage(self) -> Coverage {
        Coverage {
            inside: if self.from_nothing { self.steps } else { 0 },
            terms: terms(self.config.as_ref()),
            config: self.config,
        }
    }
}

/// Whether the event can change this server: a request that the server cannot serve changes nothing.
pub(super) fn changes(raft: Option<&Raft>, event: &Event) -> bool {
    let (requests, is_under_backpressure) = match event {
        Event::Requests(requests) => (requests, false),
        Event::RequestsUnderBackpressure(requests) => (requests, true),
        _ => return true,
    };
    let changes = |body: &RequestBody| match body {
        RequestBody::StaleRead { .. } => false,
        RequestBody::Read { .. } => true,
        _ => !is_under_backpressure,
    };
    let leads = raft.is_none_or(|raft| matches!(raft.role(), Role::Leader(_)));
    leads && requests.iter().any(|(_, request)| changes(&request.body))
}

fn terms(config: Option<&Config>) -> u64 {
    match config {
        Some(config) if config.voters.len() > FEW => TERMS_OF_MANY,
        _ => TERMS,
    }
}
