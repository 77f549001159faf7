//! The driver's interface to peer admission: [`model::admission`] decides which peers count, and
//! this module supplies it with clock and disk, and reports to operators.

use crate::{
    addresses::AddressAlerts, observability::metrics::Metrics, storage::disk::DiskError,
    storage::metadata::MetadataWriter,
};
use model::{
    Address, AppendEntriesResponse, Envelope, NodeId,
    admission::{
        self, Acknowledged, Admission, AdmissionRefusal, Effects, IdentityMessage, LogAt, Notice,
        SILENT_TICKS,
    },
    wire::BootId,
};
use status::{Alert, AlertKind};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::{debug, info, warn};

/// How long an alert is shown after its cause was last observed.
const SHOWN_FOR: Duration = Duration::from_secs(10);
/// Two runs of a server that are active this far apart are not explained by a restart.
const RESTART: Duration = Duration::from_secs(1);
/// The maximum number of cached source addresses of runs of other servers.
const SOURCES: usize = 64;

/// The identities of this server and its peers; see the module documentation.
pub(crate) struct Identities {
    id: NodeId,
    admission: Admission,
    keeper: MetadataWriter,
    metrics: Arc<Metrics>,
    disk: String,
    /// An admitted run with a message within this time is alive.
    incumbent: Duration,
    /// The source address of the last message of each run, for runs whose messages this module
    /// processed.
    sources: BTreeMap<(NodeId, BootId), (SocketAddr, Instant)>,
    /// The source address of the last answer of a server's recorded run, and its time.
    answered: BTreeMap<NodeId, (BootId, SocketAddr, Instant)>,
    /// The runs whose addresses the transport follows.
    followed: BTreeMap<NodeId, Option<BootId>>,
    /// When the last message of a refused run arrived.
    refused_at: BTreeMap<NodeId, Instant>,
    /// The refusals that the log already has: of each server, the last one.
    reported: BTreeMap<NodeId, (BootId, AdmissionRefusal)>,
    /// Runs that are neither admitted nor refused, of servers with an admitted run.
    contested: BTreeMap<(NodeId, BootId), Contest>,
    /// The number of dropped datagrams of other voters, and the time of the last one.
    other_voters: (u64, Option<Instant>),
    /// Problems with the addresses of the peers.
    addresses: Arc<AddressAlerts>,
}

/// A run beside the admitted run of its server. After a restart the earlier run soon falls silent.
struct Contest {
    /// When the first and the last message of this run arrived.
    since: Instant,
    last: Instant,
    /// When the last message of the admitted run arrived.
    incumbent: Instant,
    is_reported: bool,
}

/// The sender of a message.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) id: NodeId,
    pub(crate) boot: BootId,
    pub(crate) at: SocketAddr,
}

/// The driver's actions after an event.
#[derive(Default)]
pub(crate) struct Actions {
    pub(crate) sends: Vec<Envelope>,
    /// Messages for one run, with its address if it is known.
    pub(crate) direct: Vec<(Option<SocketAddr>, Envelope)>,
    /// Servers with a newly admitted run.
    pub(crate) admitted: Vec<NodeId>,
    /// The server whose recorded run answered.
    answered: Option<NodeId>,
}

impl Identities {
    pub(crate) fn new(
        id: NodeId,
        admission: Admission,
        keeper: MetadataWriter,
        metrics: Arc<Metrics>,
        disk: String,
        heartbeat: Duration,
        addresses: Arc<AddressAlerts>,
    ) -> Self {
        Self {
            id,
            admission,
            keeper,
            metrics,
            disk,
            incumbent: heartbeat * SILENT_TICKS,
            sources: BTreeMap::new(),
            answered: BTreeMap::new(),
            followed: BTreeMap::new(),
            refused_at: BTreeMap::new(),
            reported: BTreeMap::new(),
            contested: BTreeMap::new(),
            other_voters: (0, None),
            addresses,
        }
    }

    /// The identity of this server's disk.
    pub(crate) fn disk(&self) -> &str {
        &self.disk
    }

    /// Whether messages of this run may reach the core.
    pub(crate) fn is_admitted(&self, from: NodeId, boot: BootId) -> bool {
        self.admission.is_admitted(from, boot)
    }

    /// Whether a run of this server counts.
    pub(crate) fn counts(&self, id: NodeId) -> bool {
        self.admission.counts(id)
    }

    /// Whether the latest active run of this server was refused. `silence` is the time since the
    /// last message of the admitted run. `is_follower`: this server follows a leader, so its peers
    /// send it nothing and their silence is no evidence. It then needs a recent message of the
    /// refused run.
    pub(crate) fn is_lost(
        &self,
        id: NodeId,
        silence: Option<Duration>,
        is_follower: bool,
        now: Instant,
    ) -> bool {
        if self.admission.refused(id).is_none() {
            return false;
        }
        if is_follower && self.counts(id) && !self.was_refused_recently(id, now) {
            return false;
        }
        let answered = self.answered.get(&id);
        let answered = answered.map(|(_, _, at)| now.saturating_duration_since(*at));
        let shortest = silence.into_iter().chain(answered).min();
        let (Some(silence), Some(refused)) = (shortest, self.refused_at.get(&id)) else {
            return true;
        };
        let is_later = now.checked_sub(silence).is_some_and(|at| at > *refused);
        !self.counts(id) || !(is_later || silence < RESTART)
    }

    /// Whether a message of a refused run of this server arrived recently.
    fn was_refused_recently(&self, id: NodeId, now: Instant) -> bool {
        let last = self.refused_at.get(&id);
        last.is_some_and(|at| is_recent(*at, now))
    }

    /// Whether the core's messages to this server are suppressed.
    pub(crate) fn is_cut_off(&self, id: NodeId) -> bool {
        self.is_suspended() || (!self.counts(id) && self.admission.refused(id).is_some())
    }

    /// Whether this server found that it does not count.
    pub(crate) fn is_suspended(&self) -> bool {
        self.admission.suspended().is_some()
    }

    /// Whether another server counts this run, or there is no other server.
    pub(crate) fn is_known(&self) -> bool {
        self.admission.is_known()
    }

    /// The source address of the last answer of a server's recorded run.
    pub(crate) fn answered_at(&self, id: NodeId) -> Option<SocketAddr> {
        let (boot, at, _) = self.answered.get(&id)?;
        (self.admission.recorded_boot(id) == Some(*boot)).then_some(*at)
    }

    /// The servers whose followed run changed, with the new run, or `None`, and its address. The
    /// caller passes them to the transport.
    pub(crate) fn take_followed(&mut self) -> Vec<(NodeId, Option<BootId>, Option<SocketAddr>)> {
        let mut changed = Vec::new();
        for id in self.admission.peers() {
            let run = self.admission.admitted(id);
            if self.followed.insert(id, run) != Some(run) {
                let source = run.and_then(|run| self.sources.get(&(id, run)));
                changed.push((id, run, source.map(|(at, _)| *at)));
            }
        }
        changed
    }

    /// The reason why this server does not count, if it found that it does not.
    pub(crate) fn suspended(&self) -> Option<String> {
        let refusal = self.admission.suspended()?;
        Some(format!(
            "this server does not count toward a quorum: {refusal}"
        ))
    }

    /// Whether this response suggests that its sender lost entries that it had acknowledged.
    pub(crate) fn contradicts(&self, from: NodeId, response: &AppendEntriesResponse) -> bool {
        self.admission.contradicts(from, response)
    }

    /// See [`Admission::note_acknowledged`].
    pub(crate) fn note_acknowledged(&mut self, id: NodeId, acknowledged: Option<Acknowledged>) {
        self.admission.note_acknowledged(id, acknowledged);
    }

    /// Handles a message for the core from a run that is not admitted.
    pub(crate) fn unadmitted(
        &mut self,
        from: Origin,
        silence: Option<Duration>,
        now: Instant,
    ) -> Actions {
        self.observe_run(from, silence, now);
        let Origin { id, boot, .. } = from;
        self.step(admission::Event::Unadmitted { from: id, boot }, now)
    }

    /// Handles a message about identities. `log` is the state of the log at the index that a
    /// request names, `is_at_known_address` whether the message came from the address of the
    /// recorded run, and `silence` the time since the last message of the admitted run.
    pub(crate) fn receive(
        &mut self,
        from: Origin,
        message: IdentityMessage,
        log: Option<LogAt>,
        is_at_known_address: bool,
        silence: Option<Duration>,
        now: Instant,
    ) -> Actions {
        self.observe_run(from, silence, now);
        let Origin { id, boot, at } = from;
        let event = admission::Event::Receive {
            from: id,
            boot,
            message,
            is_at_known_address,
            log,
        };
        let actions = self.step(event, now);
        if actions.answered == Some(id) {
            self.answered.insert(id, (boot, at, now));
            let others = self.contested.iter_mut();
            let others = others.filter(|((of, run), _)| *of == id && *run != boot);
            for (_, contest) in others {
                contest.incumbent = now;
                contest.report(id);
            }
        }
        actions
    }

    /// Handles a response which suggests that this follower lost entries that it had acknowledged.
    pub(crate) fn doubt(&mut self, id: NodeId, now: Instant) -> Actions {
        self.step(admission::Event::Doubted(id), now)
    }

    /// Handles a heartbeat interval. `nonce` is random, `other_voters` is the total number of dropped
    /// datagrams of other voters, and `silence` returns the time since the last message of a server's
    /// admitted run.
    pub(crate) fn tick(
        &mut self,
        nonce: u64,
        other_voters: u64,
        silence: impl Fn(NodeId) -> Option<Duration>,
        now: Instant,
    ) -> Actions {
        if other_voters > self.other_voters.0 {
            self.other_voters = (other_voters, Some(now));
        }
        let is_alive = |id: &NodeId| silence(*id).is_some_and(|silence| silence < self.incumbent);
        let alive: BTreeSet<_> = self.admission.peers().filter(is_alive).collect();
        let actions = self.step(admission::Event::Tick { nonce, alive }, now);
        self.publish(now);
        actions
    }

    /// How long the current write of the table has lasted; zero if there is none.
    pub(crate) fn disk_busy_for(&self, now: Instant) -> Duration {
        self.keeper.busy_for(now)
    }

    /// Processes the report of the keeper. The only place that declares a table durable.
    pub(crate) fn take_report(&mut self, now: Instant) -> Result<Option<Actions>, DiskError> {
        let Some(report) = self.keeper.take_report() else {
            return Ok(None);
        };
        let actions = self.step(admission::Event::Persisted(report?), now);
        Ok(Some(actions))
    }

    /// Records a message of a run of a server, `silence` after the last one of the admitted run.
    fn observe_run(&mut self, origin: Origin, silence: Option<Duration>, now: Instant) {
        let Origin { id: from, boot, at } = origin;
        self.sources.insert((from, boot), (at, now));
        if self.sources.len() > SOURCES {
            let oldest = self.sources.iter().min_by_key(|(_, (_, when))| *when);
            if let Some(oldest) = oldest.map(|(run, _)| *run) {
                self.sources.remove(&oldest);
            }
        }
        let refused = self.admission.refused(from);
        if refused.is_some_and(|(of, _)| of == boot) {
            self.refused_at.insert(from, now);
            return;
        }
        if self.admission.is_admitted(from, boot) || !self.admission.counts(from) {
            return;
        }
        let new = Contest {
            since: now,
            last: now,
            incumbent: now,
            is_reported: false,
        };
        let contest = self.contested.entry((from, boot)).or_insert(new);
        if now.saturating_duration_since(contest.last) >= SHOWN_FOR {
            (contest.since, contest.is_reported) = (now, false);
        }
        contest.last = now;
        if let Some(incumbent) = silence.and_then(|silence| now.checked_sub(silence)) {
            contest.incumbent = contest.incumbent.max(incumbent);
        }
        contest.report(from);
        if self.contested.len() > SOURCES {
            let oldest = self.contested.iter().min_by_key(|(_, run)| run.last);
            if let Some(oldest) = oldest.map(|(run, _)| *run) {
                self.contested.remove(&oldest);
            }
        }
    }

    fn step(&mut self, event: admission::Event, now: Instant) -> Actions {
        let Effects {
            save,
            sends,
            direct,
            notices,
        } = self.admission.step(event);
        if let Some((version, table)) = save {
            self.keeper.save(version, table);
        }
        let addressed = direct.into_iter().map(|(boot, envelope)| {
            let run = match envelope.to {
                Address::Node(id) => Some((id, boot)),
                _ => None,
            };
            // The transport follows the admitted run, so that run needs no address.
            let run = run.filter(|(id, boot)| !self.admission.is_admitted(*id, *boot));
            let source = run.and_then(|run| self.sources.get(&run));
            (source.map(|(at, _)| *at), envelope)
        });
        let mut actions = Actions {
            sends,
            direct: addressed.collect(),
            ..Actions::default()
        };
        for notice in notices {
            self.note(notice, &mut actions, now);
        }
        actions
    }

    fn note(&mut self, notice: Notice, actions: &mut Actions, now: Instant) {
        match notice {
            Notice::Admitted(id) => {
                let disk = self.admission.table().get(&id).map(|record| record.disk);
                let disk = disk.map(|disk| disk.to_string()).unwrap_or_default();
                info!(peer = %id, disk, "admitted peer");
                self.contested.retain(|(of, _), _| *of != id);
                self.reported.remove(&id);
                actions.admitted.push(id);
            }
            Notice::Answered(id) => actions.answered = Some(id),
            Notice::Refused(id, refusal) => self.note_refused(id, refusal, now),
            Notice::Contested(id) => {
                debug!(peer = %id, "another run of this server waits until the recorded one is silent");
            }
            Notice::Suspended(peer, refusal) => {
                warn!(
                    recorded_by = %peer,
                    "this server does not count toward a quorum and takes no part: {refusal}. Keep the \
                     directory and leave this server stopped; see \"A lost disk\" in docs/deploy.md"
                );
            }
        }
        self.publish(now);
    }

    /// Handles the refusal of a run. The log gets each refusal once, and a copy once more after it
    /// was silent.
    fn note_refused(&mut self, id: NodeId, refusal: AdmissionRefusal, now: Instant) {
        let refused = self.admission.refused(id);
        let record = self.admission.table().get(&id);
        let is_refused = |run: BootId| {
            let is_copy = record.is_some_and(|of| of.copies.iter().any(|(_, copy)| *copy == run));
            is_copy || refused.is_some_and(|(of, _)| of == run)
        };
        self.contested
            .retain(|(of, run), _| *of != id || !is_refused(*run));
        let refused = refused.map(|(run, _)| (run, refusal));
        let is_reported = refused.is_some() && self.reported.get(&id).copied() == refused;
        if refusal == AdmissionRefusal::Copy {
            if !self.was_refused_recently(id, now) {
                warn!(peer = %id, "{}. Stop the later one, and leave it stopped", two_servers(id));
            }
        } else if !is_reported {
            warn!(
                peer = %id,
                "server {id} does not count toward a quorum: {refusal}. Keep its directory and \
                 leave it stopped; see \"A lost disk\" in docs/deploy.md"
            );
        }
        self.reported.extend(refused.map(|refused| (id, refused)));
        self.refused_at.insert(id, now);
    }

    fn publish(&self, now: Instant) {
        let refused = self.refused();
        let refused =
            refused.filter(|(id, _)| !self.counts(*id) || self.was_refused_recently(*id, now));
        let mut peers: BTreeSet<_> = refused.map(|(id, _)| id).collect();
        let contested = self.contested.iter();
        let contested = contested.filter(|(_, contest)| contest.is_shown(now));
        peers.extend(contested.map(|((id, _), _)| *id));
        self.metrics.refused_peers.set(peers.len() as u64);
        let suspended = u64::from(self.is_suspended());
        self.metrics.suspended.set(suspended);
    }

    /// The peers with a refused run, and the reason.
    fn refused(&self) -> impl Iterator<Item = (NodeId, AdmissionRefusal)> {
        let peers = self.admission.peers();
        peers.filter_map(|id| Some((id, self.admission.refused(id)?.1)))
    }

    /// The current conditions that need an operator's attention. The parameters are those of
    /// [`Self::is_lost`].
    pub(crate) fn alerts(
        &self,
        silence: impl Fn(NodeId) -> Option<Duration>,
        is_follower: bool,
        now: Instant,
    ) -> Vec<Alert> {
        let is_recent = |at| is_recent(at, now);
        let mut alerts = Vec::new();
        let alert = |kind, node: NodeId, text| Alert {
            kind,
            node: node.get(),
            text,
        };
        if let Some(text) = self.suspended() {
            alerts.push(alert(AlertKind::LostDisk, self.id, text));
        }
        for (id, refusal) in self.refused() {
            if self.is_lost(id, silence(id), is_follower, now) {
                let text = format!("server {id} does not count toward a quorum: {refusal}");
                alerts.push(alert(AlertKind::LostDisk, id, text));
            } else if self.was_refused_recently(id, now) {
                let text = match refusal {
                    AdmissionRefusal::Copy => two_servers(id),
                    _ => format!(
                        "two servers run as server {id}; one of them does not count: {refusal}"
                    ),
                };
                alerts.push(alert(AlertKind::DuplicateId, id, text));
            }
        }
        let contested = self.contested.iter();
        let contested = contested.filter(|(_, contest)| contest.is_shown(now));
        let contested: BTreeSet<_> = contested.map(|((id, _), _)| *id).collect();
        for id in contested {
            alerts.push(alert(AlertKind::DuplicateId, id, two_servers(id)));
        }
        if self.other_voters.1.is_some_and(is_recent) {
            let text = "datagrams arrive from processes that were configured with other voters: give \
                        the same --peer list to all servers and proxies of a cluster";
            alerts.push(alert(AlertKind::OtherVoters, self.id, text.to_owned()));
        }
        alerts.extend(self.addresses.get());
        alerts
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < SHOWN_FOR
}

fn two_servers(id: NodeId) -> String {
    format!("two servers run as server {id}; the one that was started later does not count")
}

impl Contest {
    /// Logs the conflict, once.
    fn report(&mut self, id: NodeId) {
        if self.is_real() && !self.is_reported {
            self.is_reported = true;
            warn!(peer = %id, "{}. Stop the later one, and leave it stopped", two_servers(id));
        }
    }

    /// Whether both runs were active long after the second one appeared.
    fn is_real(&self) -> bool {
        let both = self.incumbent.min(self.last);
        both.saturating_duration_since(self.since) >= RESTART
    }

    fn is_shown(&self, now: Instant) -> bool {
        self.is_real() && is_recent(self.last, now)
    }
}

#[cfg(test)]
mod tests;
