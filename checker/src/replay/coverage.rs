//! How much of a recorded run lies inside a world that a search can exhaust.
//!
//! The world is made for the run: as many servers, with the very settings of the headers, that start
//! from empty disks; a few terms; no clients, no crashes, no snapshots. A step lies *inside* if it is
//! one that this world has (a timer, a message from a server, a write that became durable), enters no
//! later term, and everything that caused it lies inside: what its server did before, and the step
//! that first sent what it receives.
//!
//! So the steps inside, of all servers together, are closed under cause. The replay has shown of each
//! that it is what the core does, hence together they are a run of this world, up to the names of
//! the servers and of their writes: the model lets timers fire and messages arrive whenever they
//! like. (A report that several writes are durable is as many syncs one after the other.) If the
//! world is exhausted, every state that this run went through was visited.
//!
//! Clients are left out because what they ask is data that no bounded world can hold: their numbers
//! are drawn at random, their keys are their own. So the first request that a leader takes ends what
//! lies inside there, and what it sends after that takes others along. (What a server that does not
//! lead refuses leaves it as it was, and so do stale reads: such steps count for nothing and end
//! nothing.) Of a cluster that serves, few steps are inside. What holds in the others was checked by
//! replaying them, not by any search.

use super::format::Header;
use model::{Config, Durable, Event, Raft, Role, Term, message::RequestBody, system::Scope};

/// How many terms may be entered. Two make a second election, which a search of three servers can
/// exhaust in seconds.
const TERMS: u64 = 2;
/// The same where there are more than [`FEW`].
const TERMS_OF_MANY: u64 = 1;
const FEW: usize = 3;
/// More servers than this are never searched: all their permutations are tried.
const MOST: u64 = 5;

/// The steps inside a world, and what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// How many steps lie inside.
    pub inside: u64,
    /// How many terms may be entered there.
    pub terms: u64,
    /// The settings of its servers; none if there was no step.
    pub config: Option<Config>,
}

impl Coverage {
    /// The world, to be searched. `None` if no search takes so many servers.
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

/// Counts along.
pub(super) struct Tally {
    /// Which servers have taken no step outside.
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

    /// A server's run begins; `again` if it is not its first.
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

    /// A step of a server that left it in this term, or changed nothing. `cause` says of what it
    /// received from another server whether that was sent inside. Returns whether the server is
    /// inside.
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

/// Whether this can change anything in this server: not if it is asked for what it does not do.
pub(super) fn changes(raft: Option<&Raft>, event: &Event) -> bool {
    let Event::Requests(requests) = event else {
        return true;
    };
    let is_stale = |body: &RequestBody| matches!(body, RequestBody::StaleRead { .. });
    let leads = raft.is_none_or(|raft| matches!(raft.role(), Role::Leader(_)));
    leads && !requests.iter().all(|(_, request)| is_stale(&request.body))
}

fn terms(config: Option<&Config>) -> u64 {
    match config {
        Some(config) if config.voters.len() > FEW => TERMS_OF_MANY,
        _ => TERMS,
    }
}
