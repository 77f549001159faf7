//! How much of a recorded run lies within the bounds of scopes that are searched to exhaustion.
//!
//! Only bounds are compared: servers, terms entered, entries of clients, reads, crashes, snapshots. That a
//! step lies within them does not say that the search took this very step: scopes start from images
//! (a session that is open, a leader that is elected), and a real cluster is told its settings. And
//! most of a long run lies beyond all bounds. What holds there was checked by replaying it, not by
//! any search.

use super::{cluster::Cluster, format::Header};
use model::{
    Event, Term,
    message::RequestBody,
    system::{Budget, Scope},
};

/// How far a run stays within the bounds of scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The scope whose bounds hold longest, if any hold at all.
    pub longest: Option<Within>,
}

/// How far a run stays within the bounds of one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    /// The scope.
    pub scope: String,
    /// Its servers.
    pub servers: u64,
    /// How many terms may be entered.
    pub terms: u64,
    /// How many entries, reads and crashes there may be.
    pub budget: Budget,
    /// How many steps came before the first that goes beyond.
    pub steps: u64,
}

/// Counts along.
pub(super) struct Tally {
    scopes: Vec<(Scope, u64)>,
    /// The highest term on any disk at the start.
    first_term: Term,
    voters: u64,
    /// How often a server started again.
    restarts: u64,
    reads: u64,
    /// How often a server was told to take a snapshot.
    snapshots: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        // Bounds of processes that are not servers say nothing here.
        let scopes = Scope::catalogue().into_iter();
        let scopes = scopes.filter(|scope| scope.plans.is_empty() && scope.append_entries);
        Self {
            scopes: scopes.map(|scope| (scope, 0)).collect(),
            first_term: Term::ZERO,
            voters: 0,
            restarts: 0,
            reads: 0,
            snapshots: 0,
        }
    }

    /// A run begins; `again` if it is not the server's first.
    pub(super) fn run(&mut self, header: &Header, again: bool) {
        self.voters = header.config.voters.len() as u64;
        self.restarts += u64::from(again);
        if !again {
            self.first_term = self.first_term.max(header.durable.hard_state.current_term);
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        self.snapshots += u64::from(*event == Event::Compact);
        let Event::Requests(requests) = event else {
            return;
        };
        let is_read = |body: &RequestBody| matches!(body, RequestBody::Read { .. });
        let reads = requests
            .iter()
            .filter(|(_, request)| is_read(&request.body));
        self.reads += reads.count() as u64;
    }

    /// After a step.
    pub(super) fn step(&mut self, cluster: &Cluster) {
        let terms = cluster
            .highest_term
            .get()
            .saturating_sub(self.first_term.get());
        for (scope, steps) in &mut self.scopes {
            let bounds = &scope.budget;
            let is_within = scope.servers == self.voters
                && terms <= scope.terms
                && cluster.client_entries() <= bounds.entries.into()
                && self.reads <= bounds.reads.into()
                && self.restarts <= bounds.crashes.into()
                && self.snapshots <= bounds.snapshots.into();
            // Nothing counted here ever falls, so these are the steps before the first beyond.
            *steps += u64::from(is_within);
        }
    }

    pub(super) fn coverage(self) -> Coverage {
        let longest = self
            .scopes
            .into_iter()
            .rev()
            .max_by_key(|(_, steps)| *steps);
        let within = |(scope, steps): (Scope, u64)| Within {
            scope: scope.name,
            servers: scope.servers,
            terms: scope.terms,
            budget: scope.budget,
            steps,
        };
        Coverage {
            longest: longest.filter(|(_, steps)| *steps > 0).map(within),
        }
    }
}
