//! The serialized form of a scope in a trace, with all data that is needed to construct it again.

use model::{
    client::Invocation,
    mutant::Mutant,
    system::{Budget, Properties, Property, Reduction, Scope},
};
use serde::{Deserialize, Serialize};

/// All settings that determine the behavior of a scope. The name alone is not sufficient: the command
/// line can change bounds, and the catalog changes over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeBounds {
    /// The name of the scope.
    pub name: String,
    /// The number of servers.
    pub servers: u64,
    /// The number of terms that servers may enter.
    pub terms: u64,
    /// The budget: entries, reads, crashes and snapshots.
    pub budget: Budget,
    /// The maximum number of entries in one AppendEntries request.
    pub batch: usize,
    /// The maximum number of unacknowledged entries in flight to a follower.
    pub window: usize,
    /// Whether two writes may reach a leader at the same time.
    pub together: bool,
    /// Whether servers run a pre-vote before an election.
    pub pre_vote: bool,
    /// Whether leaders check their quorum.
    pub check_quorum: bool,
    /// Whether AppendEntries requests reach the network.
    pub append_entries: bool,
    /// Whether every log starts with a client session.
    pub with_session: bool,
    /// Whether the scope starts after an election.
    pub starts_with_leader: bool,
    /// Whether clients talk to servers directly.
    pub direct_clients: bool,
    /// Whether calls and returns are checked.
    pub tracks_operations: bool,
    /// The operations of each client.
    pub plans: Vec<Vec<Invocation>>,
    /// The number of times that a request is sent.
    pub attempts: u32,
    /// The reductions that the search used.
    pub reduction: Reductions,
    /// The only property checked; `None` if all are.
    pub only_property: Option<Property>,
}

/// The serialized form of [`Reduction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reductions {
    /// See [`Reduction::merge_syncs`].
    pub merge_syncs: bool,
    /// See [`Reduction::merge_restarts`].
    pub merge_restarts: bool,
    /// See [`Reduction::drop_dead`].
    pub drop_dead: bool,
    /// See [`Reduction::send_early`].
    pub send_early: bool,
    /// See [`Reduction::forget_hints`].
    pub forget_hints: bool,
    /// See [`Reduction::trim_appends`]. Traces of earlier versions do not have it.
    #[serde(default)]
    pub trim_appends: bool,
}

impl ScopeBounds {
    /// The serialized form of a scope. A trace stores the planted bug separately.
    pub fn from_scope(scope: &Scope) -> Self {
        // The pattern lists all fields, so that a new bound of the model cannot be forgotten here.
        let Scope {
            name,
            summary: _,
            servers,
            terms,
            budget,
            batch,
            window,
            together,
            pre_vote,
            check_quorum,
            append_entries,
            with_session,
            starts_with_leader,
            direct_clients,
            tracks_operations,
            plans,
            attempts,
            reduction,
            mutant: _,
            flaw: _,
            properties,
            expected: _,
        } = scope.clone();
        let Reduction {
            merge_syncs,
            merge_restarts,
            drop_dead,
            send_early,
            forget_hints,
            trim_appends,
        } = reduction;
        Self {
            name,
            servers,
            terms,
            budget,
            batch,
            window,
            together,
            pre_vote,
            check_quorum,
            append_entries,
            with_session,
            starts_with_leader,
            direct_clients,
            tracks_operations,
            plans,
            attempts,
            reduction: Reductions {
                merge_syncs,
                merge_restarts,
                drop_dead,
                send_early,
                forget_hints,
                trim_appends,
            },
            only_property: Property::ALL
                .iter()
                .copied()
                .find(|property| properties == Properties::only(*property)),
        }
    }

    /// The scope with a planted bug. The fields that do not affect a run (the summary, the expected
    /// witnesses) come from the catalog if it still contains the scope.
    pub fn scope(self, mutant: Option<Mutant>) -> Scope {
        let known = Scope::catalog()
            .into_iter()
            .find(|scope| scope.name == self.name);
        let mut scope = known.unwrap_or_else(|| Scope::new(&self.name, ""));
        scope.servers = self.servers;
        scope.terms = self.terms;
        scope.budget = self.budget;
        scope.batch = self.batch;
        scope.window = self.window;
        scope.together = self.together;
        scope.pre_vote = self.pre_vote;
        scope.check_quorum = self.check_quorum;
        scope.append_entries = self.append_entries;
        scope.with_session = self.with_session;
        scope.starts_with_leader = self.starts_with_leader;
        scope.direct_clients = self.direct_clients;
        scope.tracks_operations = self.tracks_operations;
        scope.plans = self.plans;
        scope.attempts = self.attempts;
        scope.reduction.merge_syncs = self.reduction.merge_syncs;
        scope.reduction.merge_restarts = self.reduction.merge_restarts;
        scope.reduction.drop_dead = self.reduction.drop_dead;
        scope.reduction.send_early = self.reduction.send_early;
        scope.reduction.forget_hints = self.reduction.forget_hints;
        scope.reduction.trim_appends = self.reduction.trim_appends;
        scope.properties = self.only_property.map_or(Properties::ALL, Properties::only);
        scope.mutant = mutant;
        scope
    }
}
