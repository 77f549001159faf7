//! Fills the [`Status`] of a server from the parts of the driver.

use super::Driver;
use crate::observability::{events, log_excerpt, status_query::StatusQuery};
use model::{Address, Flow, NodeId, Role};
use status::{Alert, AlertKind, Counts, Progress, Status};
use std::collections::BTreeMap;
use transport::{Cause, Count};

impl Driver {
    /// The status of the server at this level of detail.
    pub(super) fn status(&self, query: StatusQuery) -> Status {
        let raft = &self.raft;
        let last_index = raft.log().last_index().get();
        let mut votes = Vec::new();
        let mut followers = BTreeMap::new();
        let mut waiting = 0;
        match raft.role() {
            Role::Follower { .. } => {}
            Role::PreCandidate { votes: of } => votes.extend(of.iter().map(|id| id.get())),
            Role::Candidate(candidate) => votes.extend(candidate.votes.iter().map(|id| id.get())),
            Role::Leader(leader) => {
                waiting = leader.writes.len() + leader.reads.len();
                followers.extend(leader.followers.iter().map(|(id, progress)| {
                    let silent = self.liveness.since_message(*id).as_millis();
                    let progress = Progress {
                        match_index: progress.match_index.get(),
                        next_index: progress.next_index.get(),
                        lag: last_index.saturating_sub(progress.match_index.get()),
                        flow: match progress.flow {
                            Flow::Probe => status::Flow::Probe,
                            Flow::Pipeline => status::Flow::Pipeline,
                        },
                        window: progress.window,
                        silent_ms: u64::try_from(silent).unwrap_or(u64::MAX),
                        counts: self.counts(*id),
                    };
                    (id.get(), progress)
                }));
            }
        }
        let silence = |id: &NodeId| {
            let silence = self.liveness.silence(*id);
            let silence = silence.and_then(|silence| u64::try_from(silence.as_millis()).ok());
            (id.get(), silence)
        };
        let (log_start, log) = log_excerpt::excerpt(raft.log(), query.entries);
        Status {
            id: raft.id().get(),
            role: raft.role().into(),
            term: raft.current_term().get(),
            leader: events::leader_of(raft).map(NodeId::get),
            commit_index: raft.commit_index().get(),
            last_index,
            snapshot_index: raft.snapshot_index().get(),
            durable_index: raft.durable_index().get(),
            applied_index: raft.store().last_applied().get(),
            state_bytes: raft.store().state_bytes(),
            sessions: raft.store().session_count(),
            voters: raft.config().voters.iter().map(|id| id.get()).collect(),
            followers,
            heartbeat_ms: u64::try_from(self.timers.heartbeat().as_millis()).unwrap_or(u64::MAX),
            peer_silence_ms: raft
                .config()
                .voters
                .iter()
                .filter(|id| **id != raft.id())
                .map(silence)
                .collect(),
            syncs: self.metrics.syncs(),
            uptime_seconds: self.liveness.uptime().as_secs(),
            boot: format!("{:016x}", self.boot),
            disk: self.identities.disk().to_owned(),
            suspended: self.identities.suspended(),
            is_known: self.identities.is_known(),
            alerts: self.alerts(),
            voted_for: raft.voted_for().map(NodeId::get),
            votes,
            first_index: raft.log().base().index.next().get(),
            waiting,
            counts: self.counted(),
            log_start: log_start.get(),
            log,
            events: self.observer.happened(query.since),
        }
    }

    /// The current conditions that need an operator's attention.
    fn alerts(&self) -> Vec<Alert> {
        let silence = |id| self.liveness.silence(id);
        let now = self.now();
        let mut alerts = self.identities.alerts(silence, self.is_follower(), now);
        alerts.extend(self.endpoint.misplaced().iter().filter_map(|misplaced| {
            let Address::Node(id) = misplaced.process else {
                return None;
            };
            Some(Alert {
                kind: AlertKind::PeerAddresses,
                node: id.get(),
                text: misplaced.to_string(),
            })
        }));
        if let Some(since) = self.slow_since {
            let seconds = now.saturating_duration_since(since).as_secs();
            alerts.push(Alert {
                kind: AlertKind::SlowDisk,
                node: self.raft.id().get(),
                text: format!("a write has been in progress for {seconds} s"),
            });
        }
        alerts
    }

    /// Whether a server counts toward a quorum, as far as is known.
    fn counts(&self, id: NodeId) -> bool {
        let (silence, now) = (self.liveness.silence(id), self.now());
        let is_lost = self
            .identities
            .is_lost(id, silence, self.is_follower(), now);
        self.identities.counts(id) && !is_lost
    }

    /// Whether this server follows another one.
    fn is_follower(&self) -> bool {
        events::leader_of(&self.raft).is_some_and(|leader| leader != self.raft.id())
    }

    fn counted(&self) -> Counts {
        let counters = self.endpoint.counters();
        Counts {
            messages_in: counters.get(Count::MessagesReceived),
            messages_out: counters.get(Count::MessagesSent),
            dropped: Cause::ALL.iter().map(|of| counters.dropped(*of)).sum(),
            dropped_by_faults: counters.dropped(Cause::Faults),
            ..self.metrics.counts()
        }
    }
}
