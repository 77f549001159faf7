//! Leadership transfers that this server started: their outcomes, and the requests that wait for them.
//!
//! A leader that transfers its leadership refuses requests, and its successor needs a few round trips
//! until it leads. A client that is refused in between would find no leader. So this module holds the
//! requests until the outcome is known: then the core answers them with the new leader as the hint, or
//! executes them after an aborted transfer. For the protocol they are requests that a slow network
//! delivers late.

use crate::{error::TransferError, observability::events::leader_of};
use model::{
    Address, ClientRequest, NodeId, Raft, Role, Term, message::RequestBody, store::Operation,
};
use std::time::Instant;
use tokio::sync::oneshot;

/// The maximum number of requests held, and of bytes of their keys and values. Further ones are not held.
const MOST_HELD: usize = 1024;
const MOST_HELD_BYTES: usize = 16 << 20;

/// The channel for the outcome of a transfer.
pub(crate) type TransferReply = oneshot::Sender<Result<(), TransferError>>;

/// The transfer in progress, if any.
#[derive(Default)]
pub(crate) struct Handover {
    transfer: Option<Started>,
    held: Vec<(Address, ClientRequest)>,
    held_bytes: usize,
}

struct Started {
    target: NodeId,
    /// The term that this server leads.
    term: Term,
    /// When the search for the new leader ends. The core aborts a transfer earlier.
    deadline: Instant,
    replies: Vec<TransferReply>,
}

impl Handover {
    /// The target of the transfer in progress.
    pub(crate) fn target(&self) -> Option<NodeId> {
        self.transfer.as_ref().map(|started| started.target)
    }

    /// Whether the outcome of a transfer is not yet known.
    pub(crate) fn is_in_progress(&self) -> bool {
        self.transfer.is_some()
    }

    /// Records that the core of this leader started a transfer. The outcome is known by the deadline.
    pub(crate) fn start(&mut self, target: NodeId, term: Term, deadline: Instant) {
        self.transfer = Some(Started {
            target,
            term,
            deadline,
            replies: Vec::new(),
        });
    }

    /// Waits for the outcome of the transfer in progress, if it has this target. Otherwise returns the
    /// reply, and the target of the transfer in progress.
    pub(crate) fn join(
        &mut self,
        target: NodeId,
        reply: TransferReply,
    ) -> Result<(), (TransferReply, Option<NodeId>)> {
        match &mut self.transfer {
            Some(started) if started.target == target => {
                started.replies.push(reply);
                Ok(())
            }
            other => Err((reply, other.as_ref().map(|started| started.target))),
        }
    }

    /// Ends the transfer if its outcome is known, and returns its target and the outcome.
    pub(crate) fn conclude(
        &mut self,
        raft: &Raft,
        now: Instant,
    ) -> Option<(NodeId, Result<(), TransferError>)> {
        let outcome = outcome(self.transfer.as_ref()?, raft, now)?;
        let started = self.transfer.take()?;
        for reply in started.replies {
            // The caller may have dropped its future.
            let _ = reply.send(outcome.clone());
        }
        Some((started.target, outcome))
    }

    /// Holds requests while a transfer is in progress. Returns the rest: stale reads, because every server
    /// answers them, and requests beyond the bounds.
    pub(crate) fn hold(
        &mut self,
        requests: Vec<(Address, ClientRequest)>,
    ) -> Vec<(Address, ClientRequest)> {
        if self.transfer.is_none() {
            return requests;
        }
        let mut rest = Vec::new();
        for (from, request) in requests {
            let needs_leader = !matches!(request.body, RequestBody::StaleRead { .. });
            let bytes = self.held_bytes + size_of_write(&request);
            let has_room = self.held.len() < MOST_HELD && bytes <= MOST_HELD_BYTES;
            if needs_leader && has_room {
                self.held_bytes = bytes;
                self.held.push((from, request));
            } else {
                rest.push((from, request));
            }
        }
        rest
    }

    /// The held requests, once no transfer is in progress.
    pub(crate) fn release(&mut self) -> Vec<(Address, ClientRequest)> {
        match self.transfer {
            None => {
                self.held_bytes = 0;
                std::mem::take(&mut self.held)
            }
            Some(_) => Vec::new(),
        }
    }
}

/// The bytes of the key and the value of a put, the only large request.
fn size_of_write(request: &ClientRequest) -> usize {
    match &request.body {
        RequestBody::Write {
            operation: Operation::Put { key, value, .. },
            ..
        } => key.len() + value.len(),
        _ => 0,
    }
}

/// The outcome of a transfer. `None` if it is not yet known.
fn outcome(started: &Started, raft: &Raft, now: Instant) -> Option<Result<(), TransferError>> {
    let target = started.target;
    if let Role::Leader(leader) = raft.role()
        && raft.current_term() == started.term
    {
        return match leader.transfer {
            Some(_) => None,
            None => Some(Err(TransferError::Aborted { target })),
        };
    }
    match leader_of(raft) {
        Some(leader) if leader == target => Some(Ok(())),
        Some(leader) => Some(Err(TransferError::OtherLeader { target, leader })),
        None if now >= started.deadline => Some(Err(TransferError::NoLeader { target })),
        None => None,
    }
}

#[cfg(test)]
mod tests;
