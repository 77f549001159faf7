//! The end of a server on request. A leader transfers its leadership first, so that the others need not
//! wait for its silence, and no client has to wonder about the outcome of its operation.

use super::{Driver, Failure};
use model::{NodeId, Role};
use std::{
    cmp::Reverse,
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// How long a stopping server waits for operations in progress.
const LINGER: Duration = Duration::from_secs(2);
/// The number of servers that a stopping leader tries to transfer its leadership to.
const MOST_TARGETS: usize = 2;

/// The progress of the stop.
pub(super) struct Stopping {
    /// The latest time to end.
    by: Instant,
    /// The targets of leadership transfers so far.
    tried: BTreeSet<NodeId>,
    /// Whether another server took over.
    handed_over: bool,
    /// When the last request of another process arrived, or the transfer succeeded.
    last_request: Instant,
}

impl Stopping {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            by: now + LINGER,
            tried: BTreeSet::new(),
            handed_over: false,
            last_request: now,
        }
    }

    pub(super) const fn note_request(&mut self, now: Instant) {
        self.last_request = now;
    }

    pub(super) fn note_outcome(&mut self, is_done: bool, now: Instant) {
        self.handed_over |= is_done;
        self.last_request = now;
        if is_done {
            self.by = self.by.min(now + LINGER);
        }
    }
}

impl Driver {
    /// Starts a leadership transfer if this server stops and still leads.
    pub(super) fn hand_over_before_end(&mut self, now: Instant) -> Result<(), Failure> {
        let Some(stopping) = &self.stopping else {
            return Ok(());
        };
        if self.handover.is_in_progress() || stopping.tried.len() >= MOST_TARGETS {
            return Ok(());
        }
        let Some(target) = self.best_successor(&stopping.tried) else {
            return Ok(());
        };
        if let Some(stopping) = &mut self.stopping {
            stopping.tried.insert(target);
            // Includes the search for the new leader.
            stopping.by = now + self.timers.election_max() * 2 + LINGER;
        }
        self.transfer_to(target, now)
    }

    /// The follower with the longest log known to be durable, among those that respond. `None` on a server
    /// that does not lead.
    fn best_successor(&self, tried: &BTreeSet<NodeId>) -> Option<NodeId> {
        let Role::Leader(leader) = self.raft.role() else {
            return None;
        };
        if self.identities.is_suspended() {
            return None;
        }
        let responds = |id: NodeId| {
            let silence = self.liveness.silence(id);
            silence.is_some_and(|silence| !self.timers.is_silence(silence))
        };
        let candidates = leader.followers.iter().filter(|(id, _)| {
            !tried.contains(id) && self.identities.counts(**id) && responds(**id)
        });
        let best = candidates.max_by_key(|(id, progress)| (progress.match_index, Reverse(**id)));
        best.map(|(id, _)| *id)
    }

    /// Whether this server stops and has finished. After a transfer it continues to name the new leader
    /// until clients and proxies have been quiet for a heartbeat interval.
    pub(super) fn is_ready_to_end(&self, now: Instant) -> bool {
        let Some(stopping) = &self.stopping else {
            return false;
        };
        let is_quiet = !stopping.handed_over
            || now.saturating_duration_since(stopping.last_request) >= self.timers.heartbeat();
        let is_finished = self.local.is_idle()
            && !self.raft.is_writing()
            && !self.handover.is_in_progress()
            && is_quiet;
        is_finished || now >= stopping.by
    }
}
