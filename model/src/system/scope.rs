//! Scopes: named, bounded configurations whose state spaces are finite.
//!
//! The depth of the search is not limited. Terms, client entries and reads have bounds, and their use
//! is part of the state. Crashes and snapshots are unbounded, have a bound, or are disabled. Messages
//! are unbounded: none is ever removed, so each can be lost, delayed, duplicated or reordered. A scope
//! is exhausted when the frontier is empty.

mod bound_value;
mod bounds;
mod budget;
mod catalog;
mod feature;

pub use bound_value::BoundValue;
pub use bounds::{BOUNDS, Bound, MAX_BUDGET, MAX_SERVERS, MAX_TERMS};
pub use budget::{Budget, Limit, Usage};
pub use feature::Feature;

use super::{properties::Properties, reduction::Reduction, witness::Witness};
use crate::{ClientId, NodeId, SessionId, Term, client::Invocation, store::MAX_STATE_QUOTA};
use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// A bounded configuration. Its serialized form is the scope of a trace: all fields on which the
/// transitions depend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The name on the command line.
    pub name: String,
    /// The purpose, in a sentence.
    #[serde(skip)]
    pub summary: &'static str,
    /// The number of servers.
    pub servers: u64,
    /// The number of terms that servers may enter.
    pub terms: u64,
    /// The budget.
    pub budget: Budget,
    /// The maximum number of entries in one AppendEntries request.
    pub batch: usize,
    /// The maximum number of unacknowledged entries in flight to a follower. 0 means one message at a
    /// time.
    pub window: usize,
    /// Whether two writes, and a read if operations are recorded, may reach a leader at the same time.
    pub together: bool,
    /// Whether servers run a pre-vote before an election (PreVote).
    pub pre_vote: bool,
    /// Whether leaders check that a majority responds, and followers ignore candidates while they
    /// receive messages of a leader (CheckQuorum).
    pub check_quorum: bool,
    /// The maximum size of the entries that stay in memory behind a snapshot, in bytes
    /// ([`crate::Payload::size`]). Traces of earlier versions do not have it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub trailing_bytes: usize,
    /// The maximum number of sessions in the store. `None`: one less than the number of clients, but at
    /// least 1, if clients open sessions; otherwise the number of production.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Whether the first server has other settings than the other servers: a state quota of 0, so that as
    /// leader it refuses writes that enlarge the state. Traces omit it if it is false.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub mixed_settings: bool,
    /// The maximum size of the pairs in the store, in bytes. `None`: the number of production.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_quota: Option<u64>,
    /// Whether AppendEntries requests reach the network. If not, servers only elect leaders.
    pub append_entries: bool,
    /// Whether the cluster starts with a client session in every log, opened in term 1.
    pub with_session: bool,
    /// Whether the scope starts after an election: the first server is the leader of the first term, and
    /// all other messages are lost.
    pub starts_with_leader: bool,
    /// Whether clients talk to servers directly and are not processes.
    pub direct_clients: bool,
    /// Whether calls and returns are recorded and checked for linearizability.
    pub tracks_operations: bool,
    /// The operations of each client process, in order.
    pub plans: Vec<Vec<Invocation>>,
    /// The number of times that a client sends a request, and that a proxy forwards it.
    pub attempts: u32,
    /// The reductions that are enabled.
    pub reduction: Reduction,
    /// The bug to plant. A trace stores it separately.
    #[cfg(feature = "mutants")]
    #[serde(skip)]
    pub mutant: Option<crate::mutant::Mutant>,
    /// The wrong reduction to plant.
    #[cfg(feature = "mutants")]
    #[serde(skip)]
    pub flaw: Option<super::flaw::Flaw>,
    /// The properties to check.
    #[serde(rename = "only_property")]
    pub properties: Properties,
    /// The witnesses that the search must reach for the scope to pass.
    #[serde(skip)]
    pub expected: Vec<Witness>,
}

crate::diagnostics! {
    /// A scope with bounds that the encoding or the checker cannot use.
    pub enum BadBound {
        /// A bound exceeds its limits.
        BoundOutOfRange { bound: &'static str, value: u64, min: u64, max: u64 }
            = "{bound} {value} is out of range: give {min} to {max}";
        /// A bound that must be a number is `any`.
        BoundNeedsNumber { bound: &'static str, min: u64, max: u64 }
            = "{bound} cannot be any: give a number from {min} to {max}";
        /// The scope merges syncs, and a server can reveal a write before it is durable.
        SyncsNotMergeable
            = "syncs cannot be merged with snapshots, with reads beside a window or batches of requests, or with crashes beside clients, a window or PreVote: a server can then reveal a write before it is durable";
        /// Operations are recorded where servers have different settings.
        MixedSettingsWithOperations
            = "operations cannot be recorded where servers have different settings: they are judged by one state quota";
        /// Servers with different settings crash.
        MixedSettingsWithCrashes
            = "servers with different settings cannot crash in a scope: give --crashes 0";
        /// A bound of clients and proxies in a scope that contains none.
        BoundNeedsClients { bound: &'static str }
            = "{bound} has no effect without client processes: choose a scope that contains them, such as restarts";
    }
}

impl BadBound {
    fn within(bound: &'static str, value: u64, min: u64, max: u64) -> Result<(), Self> {
        if (min..=max).contains(&value) {
            return Ok(());
        }
        Err(Self::BoundOutOfRange {
            bound,
            value,
            min,
            max,
        })
    }
}

impl Scope {
    /// A scope of three servers with minimum values for all other settings.
    pub fn new(name: &str, summary: &'static str) -> Self {
        Self {
            name: name.into(),
            summary,
            servers: 3,
            terms: 1,
            budget: Budget::default(),
            batch: 64,
            window: 0,
            together: false,
            pre_vote: false,
            check_quorum: false,
            trailing_bytes: 0,
            max_sessions: None,
            mixed_settings: false,
            state_quota: None,
            append_entries: true,
            with_session: false,
            starts_with_leader: false,
            direct_clients: true,
            tracks_operations: false,
            plans: Vec::new(),
            attempts: 1,
            reduction: Reduction::ALL,
            #[cfg(feature = "mutants")]
            mutant: None,
            #[cfg(feature = "mutants")]
            flaw: None,
            properties: Properties::ALL,
            expected: Vec::new(),
        }
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// The bound that is out of range, with its range.
    pub fn validate(&self) -> Result<(), BadBound> {
        for bound in BOUNDS {
            bound.check(bound.value(self))?;
        }
        BadBound::within("window", self.window as u64, 0, 1024)?;
        BadBound::within("trailing bytes", self.trailing_bytes as u64, 0, 1 << 20)?;
        BadBound::within("sessions", self.max_sessions.unwrap_or(1).into(), 1, 8)?;
        let quota = self.state_quota.unwrap_or(MAX_STATE_QUOTA);
        BadBound::within("state quota", quota, 1, MAX_STATE_QUOTA)?;
        BadBound::within("clients", self.plans.len() as u64, 0, 4)?;
        if self.reduction.merge_syncs && !self.may_merge_syncs() {
            return Err(BadBound::SyncsNotMergeable);
        }
        // The sequential specification of the operations has one quota.
        if self.mixed_settings && self.tracks_operations {
            return Err(BadBound::MixedSettingsWithOperations);
        }
        // A restart takes the settings from the id of the server. A permutation of the servers changes
        // the id, so symmetry reduction would unite states with different successors.
        if self.mixed_settings && !self.budget.crashes.is_never() {
            return Err(BadBound::MixedSettingsWithCrashes);
        }
        if self.plans.is_empty() {
            let budget = &self.budget;
            for (bound, has_effect) in [
                ("client-crashes", !budget.client_crashes.is_never()),
                ("proxy-crashes", !budget.proxy_crashes.is_never()),
            ] {
                if has_effect {
                    return Err(BadBound::BoundNeedsClients { bound });
                }
            }
        }
        Ok(())
    }

    /// Whether a write that no other process can observe may become durable immediately
    /// (`Reduction::merge_syncs`). It may not if the server can reveal the write in a message before it
    /// is durable:
    /// * With clients and crashes: a server's response to a client does not wait for the disk. A crash
    ///   can take back the term of a hint that a client has received.
    /// * With PreVote and crashes: a pre-vote request contains the last entry in memory.
    /// * With a window and crashes: a follower's response to a heartbeat at a pending entry reveals that
    ///   entry. With reads, the response also carries a read round, and it was not shown that another
    ///   response has the same index and the same round.
    /// * With reads beside writes in one event: the entries carry a read round, so the follower's response
    ///   leaves before the entries are durable.
    /// * With snapshots: a leader sends a heartbeat only at the last entry of its snapshot. While a
    ///   follower installs that snapshot, or while entries of an older leader are pending, it can send
    ///   acknowledgments that it sends at no other time.
    pub fn may_merge_syncs(&self) -> bool {
        let is_hidden = self.plans.is_empty() && self.window == 0 && !self.pre_vote;
        (is_hidden || self.budget.crashes.is_never())
            && (self.budget.reads == 0 || (self.window == 0 && !self.together))
            && self.budget.snapshots.is_never()
    }

    /// Whether a message that was dropped as [`Relevance::TermOnly`](super::Relevance::TermOnly) can have
    /// an effect again, or a message that was trimmed is kept whole when it arrives again. This is the
    /// case if a server can be down, or its term or entries can be not yet durable. The messages that
    /// other servers can send at any time are then delivered to it again.
    pub fn remembers_again(&self) -> bool {
        let reduction = self.reduction;
        let removes = reduction.send_early && (reduction.drop_dead || reduction.trim_appends);
        // A deposed leader answers its waiting clients at once, so the write of its new term is not
        // merged. While it is pending, a request of an older term counts again. One request of each
        // sender is kept, so this matters only if a third server can send another one: a request of
        // another older term, or a pre-vote request beside a vote request.
        let deposed_leader_pends = self.servers > 2
            && (self.terms > 2 || self.pre_vote)
            && (self.budget.entries > 0 || self.budget.reads > 0);
        removes && (!reduction.is_term_final_at_once() || deposed_leader_pends)
    }

    /// The ids of the servers.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + Clone + use<> {
        (1..=self.servers).map(NodeId::new)
    }

    /// The last term that servers can enter.
    pub fn last_term(&self) -> Term {
        Term::new(self.terms + u64::from(self.with_session))
    }

    /// Whether clients without an initial session write.
    fn opens_sessions(&self) -> bool {
        let without = self.plans.iter().skip(usize::from(self.with_session));
        let writes = |invocation: &Invocation| {
            matches!(
                invocation,
                Invocation::Write(_) | Invocation::WriteAfterIdle(_)
            )
        };
        without.flatten().any(writes)
    }

    /// The maximum size of the pairs in the store, in bytes.
    pub fn quota(&self) -> u64 {
        self.config().state_quota
    }

    /// The session that clients use if the scope starts with a session.
    pub fn session(&self) -> SessionId {
        SessionId::new(1)
    }

    /// The operations of a client.
    pub fn plan(&self, client: ClientId) -> &[Invocation] {
        let index = client.get().checked_sub(1);
        index
            .and_then(|index| self.plans.get(index as usize))
            .map_or(&[], Vec::as_slice)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
