//! The properties of two servers.

use super::{Cause, Properties, Property, Violation};
use crate::{Log, LogIndex, NodeId, Role, Term, system::process::Server};
use alloc::collections::BTreeMap;

/// The parts of a server that the properties of two servers depend on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facet {
    id: NodeId,
    log: Log,
    durable_log: Log,
    durable_term: Term,
    /// The leader's term and the `match_index` of each follower; `None` if the server is not the leader.
    leads: Option<(Term, BTreeMap<NodeId, LogIndex>)>,
    /// The server that the leader asked to start an election.
    transfers_to: Option<NodeId>,
}

impl Facet {
    /// The facet of a server.
    pub fn new(server: &Server) -> Self {
        let raft = server.running.as_ref().map(|running| &running.raft);
        let leads = raft.and_then(|raft| match &raft.role {
            Role::Leader(leader) => {
                let believed = leader.followers.iter();
                let believed = believed.map(|(id, progress)| (*id, progress.match_index));
                Some((raft.current_term, believed.collect()))
            }
            _ => None,
        });
        let transfers_to = raft.and_then(|raft| match &raft.role {
            Role::Leader(leader) => leader.transfer.filter(|transfer| transfer.is_requested),
            _ => None,
        });
        Self {
            id: server.id,
            log: Log::after(server.base(), server.log().to_vec()),
            durable_log: Log::after(server.disk.base(), server.disk.log.clone()),
            durable_term: server.disk.hard_state.current_term,
            leads,
            transfers_to: transfers_to.map(|transfer| transfer.target),
        }
    }
}

/// Checks two servers against each other.
pub fn check_pair(one: &Facet, other: &Facet, properties: Properties) -> Result<(), Violation> {
    for (a, b) in [(one, other), (other, one)] {
        if let Some((term, believed)) = &a.leads
            && b.durable_term == *term
            && let Some(match_index) = believed.get(&b.id)
        {
            let held = a.log.agrees(&b.durable_log, *match_index);
            properties.require(Property::MatchIsDurable, held, || {
                Cause::MatchIndexNotDurable {
                    server: a.id,
                    other: b.id,
                    index: *match_index,
                }
            })?;
        }
    }
    for (a, b) in [(one, other), (other, one)] {
        // A leader of a newer term may have removed entries since.
        let is_target = a.transfers_to == Some(b.id)
            && a.leads
                .as_ref()
                .is_some_and(|(term, _)| b.durable_term <= *term);
        if is_target {
            let index = a.log.last_index();
            let is_complete = a.log.agrees(&b.durable_log, index);
            properties.require(Property::TransferTargetIsComplete, is_complete, || {
                Cause::TransferTargetIncomplete {
                    server: a.id,
                    other: b.id,
                    index,
                }
            })?;
        }
    }
    let (a, b) = (&one.log, &other.log);
    let first = a.base().index.max(b.base().index).get();
    let last = a.last_index().min(b.last_index()).get();
    let same_term = |index: &u64| {
        let index = LogIndex::new(*index);
        a.term_at(index) == b.term_at(index)
    };
    let agree_from = (first..=last).rev().find(same_term).unwrap_or_default();
    let agree_from = LogIndex::new(agree_from);
    properties.require(Property::LogMatching, a.agrees(b, agree_from), || {
        Cause::LogsDiffer {
            server: one.id,
            other: other.id,
            index: agree_from,
        }
    })
}
