//! Logs and metrics of steps. The core produces neither: this module derives them from the event,
//! the effects, and the server before and after.

use crate::observability::metrics::Metrics;
use model::{
    Address, AppendOutcome, Effects, Event, LogIndex, Message, NodeId, Raft, Term,
    message::ResponseBody,
};
use status::{EventKind, Role, ServerEvent};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Instant, UNIX_EPOCH},
};
use tracing::{debug, info, trace};
use transport::Clock;

/// The maximum number of appends timed until their commit at once. Further ones are not timed.
const TIMED: usize = 4096;
/// The number of recent events kept for status queries.
const KEPT: usize = 64;

/// Observes the steps of one server.
pub(crate) struct Observer {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    noted: LastSeen,
    /// The last entry of each append made as leader, and the time of the append.
    uncommitted: VecDeque<(LogIndex, Instant)>,
    happened: VecDeque<ServerEvent>,
}

/// The information about an event that is needed after the step.
#[derive(Clone, Copy)]
pub(crate) enum StepKind {
    Heartbeat,
    Acknowledged(NodeId),
    Requests,
    RequestsUnderBackpressure,
    Compacts,
    Other,
}

struct LastSeen {
    role: Role,
    leader: Option<NodeId>,
    term: Term,
    voted_for: Option<NodeId>,
    commit_index: LogIndex,
}

impl LastSeen {
    fn from_raft(raft: &Raft) -> Self {
        Self {
            role: raft.role().into(),
            leader: leader_of(raft),
            term: raft.current_term(),
            voted_for: raft.voted_for(),
            commit_index: raft.commit_index(),
        }
    }
}

/// The current leader, as far as this server knows.
pub(crate) fn leader_of(raft: &Raft) -> Option<NodeId> {
    if matches!(raft.role(), model::Role::Leader(_)) {
        return Some(raft.id());
    }
    match raft.role() {
        model::Role::Follower { leader, .. } => *leader,
        _ => None,
    }
}

impl Observer {
    pub(crate) fn new(raft: &Raft, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        let noted = LastSeen::from_raft(raft);
        metrics.role(noted.role, noted.role);
        let mut observer = Self {
            metrics,
            clock,
            noted,
            uncommitted: VecDeque::new(),
            happened: VecDeque::new(),
        };
        let (term, last) = (raft.current_term(), raft.log().last_index());
        observer.record(EventKind::Started, term, None, Some(last));
        observer
    }

    /// The recorded events after the event with this number.
    pub(crate) fn happened(&self, since: u64) -> Vec<ServerEvent> {
        let since = self.happened.iter().filter(|each| each.id > since);
        since.cloned().collect()
    }

    fn record(
        &mut self,
        what: EventKind,
        term: Term,
        node: Option<NodeId>,
        index: Option<LogIndex>,
    ) {
        let id = self.happened.back().map_or(0, |last| last.id) + 1;
        let at = self
            .clock
            .calendar()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
        if self.happened.len() >= KEPT {
            self.happened.pop_front();
        }
        self.happened.push_back(ServerEvent {
            id,
            at,
            term: term.get(),
            what,
            node: node.map(NodeId::get),
            index: index.map(LogIndex::get),
        });
    }

    /// Records an event before its step.
    pub(crate) fn before(&self, event: &Event) -> StepKind {
        self.metrics.steps.inc();
        match event {
            Event::Receive {
                from: Address::Node(from),
                message,
            } => self.received(*from, message),
            Event::Requests(requests) => {
                self.metrics.requests.inc_by(requests.len() as u64);
                StepKind::Requests
            }
            Event::RequestsUnderBackpressure(requests) => {
                self.metrics.requests.inc_by(requests.len() as u64);
                StepKind::RequestsUnderBackpressure
            }
            Event::HeartbeatTimeout => StepKind::Heartbeat,
            Event::Compact => StepKind::Compacts,
            Event::ElectionTimeout if self.noted.role != Role::Leader => {
                debug!(term = %self.noted.term, role = %self.noted.role, "election timeout without contact from a leader");
                StepKind::Other
            }
            _ => StepKind::Other,
        }
    }

    fn received(&self, from: NodeId, message: &Message) -> StepKind {
        match message {
            Message::AppendEntriesRequest(request) if request.entries.is_empty() => {
                self.metrics
                    .heartbeats
                    .get_or_create(&[("direction", "in")])
                    .inc();
                trace!(leader = %from, term = %request.term, commit = %request.leader_commit, "heartbeat received");
                StepKind::Other
            }
            Message::AppendEntriesRequest(request) => {
                self.metrics
                    .appends
                    .get_or_create(&[("direction", "in")])
                    .inc();
                trace!(leader = %from, term = %request.term, entries = request.entries.len(), "entries received");
                StepKind::Other
            }
            Message::AppendEntriesResponse(response) => {
                if let AppendOutcome::Conflict { conflict_index, .. } = &response.outcome {
                    debug!(follower = %from, conflict = %conflict_index, "a follower's log differs");
                }
                StepKind::Acknowledged(from)
            }
            Message::RequestVoteRequest(request) => {
                debug!(candidate = %from, term = %request.term, last = %request.last_log_index, "received a vote request");
                StepKind::Other
            }
            Message::PreVoteRequest(request) => {
                debug!(candidate = %from, next_term = %request.next_term, last = %request.last_log_index, "received a pre-vote request");
                StepKind::Other
            }
            Message::PreVoteResponse(response) if self.noted.role == Role::PreCandidate => {
                debug!(voter = %from, next_term = %response.next_term, granted = response.vote_granted, "received a pre-vote response");
                StepKind::Other
            }
            Message::RequestVoteResponse(response) if self.noted.role == Role::Candidate => {
                debug!(voter = %from, term = %response.term, granted = response.vote_granted, "received a vote response");
                StepKind::Other
            }
            _ => StepKind::Other,
        }
    }

    /// Records the results of a step.
    pub(crate) fn after(&mut self, kind: StepKind, raft: &Raft, effects: &Effects) {
        self.note_roles(raft);
        self.note_log(kind, raft, effects);
        match kind {
            StepKind::Heartbeat => self.note_heartbeat(raft, effects),
            StepKind::Acknowledged(from) => note_progress(from, raft),
            StepKind::RequestsUnderBackpressure => self.note_refusals(effects),
            StepKind::Requests | StepKind::Compacts | StepKind::Other => {}
        }
    }

    /// Records changes of term, vote, role and leader.
    fn note_roles(&mut self, raft: &Raft) {
        let noted = LastSeen::from_raft(raft);
        if noted.term != self.noted.term {
            self.metrics.term.set(noted.term.get());
            info!(from = %self.noted.term, to = %noted.term, "the term changed");
        }
        if (noted.term, noted.voted_for) != (self.noted.term, self.noted.voted_for)
            && let Some(candidate) = noted.voted_for
        {
            if candidate == raft.id() {
                self.metrics.elections.inc();
                info!(term = %noted.term, "starting election");
                self.record(EventKind::BecameCandidate, noted.term, None, None);
            } else {
                info!(term = %noted.term, %candidate, "voted");
                self.record(EventKind::Voted, noted.term, Some(candidate), None);
            }
        }
        if noted.role != self.noted.role {
            self.metrics.role(self.noted.role, noted.role);
            info!(term = %noted.term, from = %self.noted.role, to = %noted.role, "the role changed");
            self.uncommitted.clear();
            if noted.role == Role::Leader {
                self.metrics.leaderships.inc();
                self.record(EventKind::BecameLeader, noted.term, None, None);
            }
            if noted.role == Role::PreCandidate {
                self.record(EventKind::StartedPreVote, noted.term, None, None);
            }
            if self.noted.role == Role::Leader {
                self.record(EventKind::SteppedDown, noted.term, None, None);
            }
        }
        if noted.leader != self.noted.leader
            && let Some(leader) = noted.leader
        {
            info!(term = %noted.term, %leader, "found the leader");
            if leader != raft.id() {
                self.record(EventKind::BecameFollower, noted.term, Some(leader), None);
            }
        }
        if noted.commit_index != self.noted.commit_index {
            trace!(commit = %noted.commit_index, "committed");
            self.note_committed(noted.commit_index);
        }
        self.noted = noted;
    }

    /// Counts the requests that were refused because the disk is behind.
    fn note_refusals(&self, effects: &Effects) {
        let refusals = effects.sends.iter().filter(|envelope| {
            matches!(&envelope.message, Message::ClientResponse(response)
                if response.body == ResponseBody::Overloaded)
        });
        let count = refusals.count();
        self.metrics.refused("disk-behind", count);
    }

    fn note_committed(&mut self, commit_index: LogIndex) {
        let mut now = None;
        while let Some((index, appended)) = self.uncommitted.front().copied()
            && index <= commit_index
        {
            let now = *now.get_or_insert_with(|| self.clock.now());
            self.metrics
                .committed(now.saturating_duration_since(appended));
            self.uncommitted.pop_front();
        }
    }

    fn note_log(&mut self, kind: StepKind, raft: &Raft, effects: &Effects) {
        let sent = effects
            .sends
            .iter()
            .filter(|envelope| matches!(envelope.message, Message::InstallSnapshotRequest(_)));
        for envelope in sent {
            self.metrics.snapshot("sent");
            info!(to = %envelope.to, up_to = %raft.commit_index(), "sending a snapshot: the missing entries are no longer in the log");
        }
        let Some(write) = &effects.write else {
            return;
        };
        if let Some(snapshot) = &write.snapshot {
            let up_to = snapshot.last_included_index;
            if matches!(kind, StepKind::Compacts) {
                self.metrics.snapshot("taken");
                info!(%up_to, "taking a snapshot");
            } else {
                self.metrics.snapshot("installed");
                info!(%up_to, "installing a snapshot from the leader");
            }
            return;
        }
        if let Some(index) = write.truncate_from {
            info!(from = %index, "replacing uncommitted entries with the leader's");
            self.record(
                EventKind::TruncatedLog,
                raft.current_term(),
                None,
                Some(index),
            );
        }
        if write.append.is_empty() {
            return;
        }
        let last = raft.log().last_index();
        self.metrics.appended(write.append.len());
        debug!(entries = write.append.len(), %last, "entries appended");
        if self.noted.role == Role::Leader && self.uncommitted.len() < TIMED {
            self.uncommitted.push_back((last, self.clock.now()));
        }
    }

    fn note_heartbeat(&self, raft: &Raft, effects: &Effects) {
        if effects.sends.is_empty() {
            return;
        }
        if self.noted.role == Role::Leader {
            self.metrics
                .heartbeats
                .get_or_create(&[("direction", "out")])
                .inc_by(effects.sends.len() as u64);
            debug!(term = %raft.current_term(), followers = effects.sends.len(), commit = %raft.commit_index(), "heartbeats sent");
        } else {
            debug!(term = %raft.current_term(), "retransmitting vote requests");
        }
    }
}

fn note_progress(from: NodeId, raft: &Raft) {
    if tracing::enabled!(tracing::Level::DEBUG)
        && let model::Role::Leader(leader) = raft.role()
        && let Some(progress) = leader.followers.get(&from)
    {
        debug!(follower = %from, matched = %progress.match_index, next = %progress.next_index, last = %raft.log().last_index(), "replication");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_capture::LogCapture;
    use model::{Config, Durable};
    use tracing::Level;

    #[test]
    fn server_without_a_majority_logs_each_election_once() {
        let config = Config::production([1, 2, 3].map(NodeId::new).into());
        let mut raft = Raft::recover(NodeId::new(1), config, Durable::default());
        let mut observer = Observer::new(
            &raft,
            Arc::new(Metrics::new()),
            transport::Environment::system().clock,
        );
        let mut step = |event: Event| {
            let kind = observer.before(&event);
            let effects = raft.step(event);
            observer.after(kind, &raft, &effects);
            effects.sends.len()
        };
        let logged = LogCapture::during(Level::INFO, || {
            step(Event::QuorumTimeout);
            step(Event::ElectionTimeout);
        });
        assert!(!logged.is_empty());
        let mut sent = 0;
        let logged = LogCapture::during(Level::INFO, || {
            for _ in 0..20 {
                sent += step(Event::HeartbeatTimeout);
            }
        });
        assert_eq!(sent, 40, "the votes are requested again");
        assert_eq!(logged, Vec::<String>::new());
    }
}
