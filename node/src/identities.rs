//! Which peers count, as the driver sees it: [`model::admission`] decides, and this module brings it
//! what it needs of clock and disk, and tells people.

use crate::{addresses::AddressAlerts, disk::DiskError, metadata::Keeper, metrics::Metrics};
use model::{
    AppendEntriesResponse, Envelope, NodeId,
    admission::{Acknowledged, Admission, Effects, Event, IdentityMessage, LogAt, Notice, Refusal},
    wire::BootId,
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::{debug, info, warn};

/// An alert is shown for so long after its cause was last seen.
const SHOWN_FOR: Duration = Duration::from_secs(10);
/// Two runs of a server that are heard of so far apart are no restart.
const RESTART: Duration = Duration::from_secs(1);

/// Something that an operator has to see to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// What kind of thing.
    pub kind: AlertKind,
    /// The server it is about.
    pub node: u64,
    /// What is wrong, for people.
    pub text: String,
}

/// What an operator has to see to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A server returned without its disk, or with an old copy of it, and does not count.
    LostDisk,
    /// Two servers run under one number.
    DuplicateNumber,
    /// Datagrams arrive from processes that were configured with other voters.
    OtherVoters,
    /// A name in the `--peer` list has the address of another server, or one at which this server does
    /// not listen.
    PeerAddresses,
}

/// See the module.
pub(crate) struct Identities {
    id: NodeId,
    admission: Admission,
    keeper: Keeper,
    metrics: Arc<Metrics>,
    disk: String,
    /// For how long the admitted run of a server must have been silent before another is admitted.
    incumbent: Duration,
    /// When a run that was refused was last heard of.
    refused_heard: BTreeMap<NodeId, Instant>,
    /// Servers of which two runs were heard of.
    contested: BTreeMap<NodeId, Contest>,
    /// How many datagrams of other voters were dropped, and when the last was.
    other_voters: (u64, Option<Instant>),
    /// What is wrong with the addresses of the peers.
    addresses: Arc<AddressAlerts>,
}

/// Two runs of one server. After a restart the earlier one is soon silent.
struct Contest {
    /// When the run that is not admitted was first heard of, and last.
    since: Instant,
    last: Instant,
    /// When the admitted run was last heard of.
    incumbent: Instant,
    is_reported: bool,
}

/// What the driver does after an event.
#[derive(Default)]
pub(crate) struct Turn {
    pub(crate) sends: Vec<Envelope>,
    /// Servers of which a run counts from now on.
    pub(crate) admitted: Vec<NodeId>,
}

impl Identities {
    pub(crate) fn new(
        id: NodeId,
        admission: Admission,
        keeper: Keeper,
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
            incumbent: heartbeat * 5,
            refused_heard: BTreeMap::new(),
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

    /// Whether the run of this server that was heard of last was refused. `silence`: how long ago the
    /// admitted run was heard of.
    pub(crate) fn is_lost(&self, id: NodeId, silence: Option<Duration>, now: Instant) -> bool {
        if self.admission.refused(id).is_none() {
            return false;
        }
        let (Some(silence), Some(refused)) = (silence, self.refused_heard.get(&id)) else {
            return true;
        };
        let is_later = now.checked_sub(silence).is_some_and(|at| at > *refused);
        !self.counts(id) || !(is_later || silence < RESTART)
    }

    /// Whether nothing of the core is to be sent to this server.
    pub(crate) fn is_cut_off(&self, id: NodeId) -> bool {
        self.is_suspended() || (!self.counts(id) && self.admission.refused(id).is_some())
    }

    /// Whether this server found that it does not count.
    pub(crate) fn is_suspended(&self) -> bool {
        self.admission.suspended().is_some()
    }

    /// Why this server does not count, if it found that it does not.
    pub(crate) fn suspended(&self) -> Option<String> {
        let refusal = self.admission.suspended()?;
        Some(format!(
            "this server does not count toward a quorum: {refusal}"
        ))
    }

    /// Whether this response suggests that its sender lost what it had acknowledged.
    pub(crate) fn contradicts(&self, from: NodeId, response: &AppendEntriesResponse) -> bool {
        self.admission.contradicts(from, response)
    }

    /// See [`Admission::note_acknowledged`].
    pub(crate) fn note_acknowledged(&mut self, id: NodeId, acknowledged: Option<Acknowledged>) {
        self.admission.note_acknowledged(id, acknowledged);
    }

    /// A message for the core arrived from a run that is not admitted.
    pub(crate) fn unadmitted(
        &mut self,
        (from, boot): (NodeId, BootId),
        silence: Option<Duration>,
        now: Instant,
    ) -> Turn {
        self.hear((from, boot), silence, now);
        self.step(Event::Unadmitted { from, boot }, now)
    }

    /// A message about identities arrived. `log`: the state of the log at the index that a request
    /// names. `silence`: how long ago the admitted run was heard of.
    pub(crate) fn receive(
        &mut self,
        (from, boot): (NodeId, BootId),
        message: IdentityMessage,
        log: Option<LogAt>,
        silence: Option<Duration>,
        now: Instant,
    ) -> Turn {
        self.hear((from, boot), silence, now);
        let is_incumbent_alive = silence.is_some_and(|silence| silence < self.incumbent);
        let event = Event::Receive {
            from,
            boot,
            message,
            is_incumbent_alive,
            log,
        };
        self.step(event, now)
    }

    /// A response suggests that this follower lost what it had acknowledged.
    pub(crate) fn doubt(&mut self, id: NodeId, now: Instant) -> Turn {
        self.step(Event::Doubted(id), now)
    }

    /// A heartbeat interval went by. `other_voters`: how many datagrams of other voters were dropped
    /// so far.
    pub(crate) fn tick(&mut self, other_voters: u64, now: Instant) -> Turn {
        if other_voters > self.other_voters.0 {
            self.other_voters = (other_voters, Some(now));
        }
        let nonce = rand::random();
        self.step(Event::Tick { nonce }, now)
    }

    /// What has become durable since the last call. The only place that declares a table durable.
    pub(crate) fn take_report(&mut self, now: Instant) -> Result<Option<Turn>, DiskError> {
        let Some(report) = self.keeper.take_report() else {
            return Ok(None);
        };
        let turn = self.step(Event::Persisted(report?), now);
        Ok(Some(turn))
    }

    /// Notes that a run of a server was heard of, `silence` after the admitted one.
    fn hear(&mut self, (from, boot): (NodeId, BootId), silence: Option<Duration>, now: Instant) {
        let refused = self.admission.refused(from);
        if refused.is_some_and(|(of, _)| of == boot) {
            self.refused_heard.insert(from, now);
            return;
        }
        let Some(silence) = silence else {
            return;
        };
        if self.admission.is_admitted(from, boot) || !self.admission.counts(from) {
            return;
        }
        let incumbent = now.checked_sub(silence).unwrap_or(now);
        let new = Contest {
            since: now,
            last: now,
            incumbent,
            is_reported: false,
        };
        let contest = self.contested.entry(from).or_insert(new);
        if now.saturating_duration_since(contest.last) >= SHOWN_FOR {
            (contest.since, contest.is_reported) = (now, false);
        }
        (contest.last, contest.incumbent) = (now, incumbent);
        if contest.is_real() && !contest.is_reported {
            contest.is_reported = true;
            warn!(
                peer = %from,
                "two servers run as server {from}; the second one does not count. Stop one of them"
            );
        }
    }

    fn step(&mut self, event: Event, now: Instant) -> Turn {
        let Effects {
            save,
            sends,
            notices,
        } = self.admission.step(event);
        if let Some((version, table)) = save {
            self.keeper.save(version, table);
        }
        let mut turn = Turn {
            sends,
            admitted: Vec::new(),
        };
        for notice in notices {
            self.note(notice, &mut turn, now);
        }
        turn
    }

    fn note(&mut self, notice: Notice, turn: &mut Turn, now: Instant) {
        match notice {
            Notice::Admitted(id) => {
                let disk = self.admission.table().get(&id).map(|record| record.disk);
                let disk = disk.map(|disk| disk.to_string()).unwrap_or_default();
                info!(peer = %id, disk, "admitted peer");
                self.contested.remove(&id);
                turn.admitted.push(id);
            }
            Notice::Refused(id, refusal) => {
                warn!(
                    peer = %id,
                    "server {id} does not count toward a quorum: {refusal}. Keep its directory and \
                     leave it stopped; see \"A lost disk\" in docs/deploy.md"
                );
                self.refused_heard.insert(id, now);
            }
            Notice::TwoRuns(id) => {
                debug!(peer = %id, "another run of this server waits until the admitted one is silent");
            }
            Notice::Suspended(peer, refusal) => {
                warn!(
                    recorded_by = %peer,
                    "this server does not count toward a quorum and takes no part: {refusal}. Keep the \
                     directory and leave this server stopped; see \"A lost disk\" in docs/deploy.md"
                );
            }
        }
        let refused = self.refused().count();
        self.metrics.refused_peers.set(refused as u64);
        let suspended = u64::from(self.is_suspended());
        self.metrics.suspended.set(suspended);
    }

    /// The peers of which no run counts, and why.
    fn refused(&self) -> impl Iterator<Item = (NodeId, Refusal)> {
        let peers = self.admission.peers();
        peers.filter_map(|id| Some((id, self.admission.refused(id)?.1)))
    }

    /// What an operator has to see to now.
    pub(crate) fn alerts(
        &self,
        silence: impl Fn(NodeId) -> Option<Duration>,
        now: Instant,
    ) -> Vec<Alert> {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < SHOWN_FOR;
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
            if self.is_lost(id, silence(id), now) {
                let text = format!("server {id} does not count toward a quorum: {refusal}");
                alerts.push(alert(AlertKind::LostDisk, id, text));
            } else if self.refused_heard.get(&id).copied().is_some_and(is_recent) {
                let text = format!(
                    "two servers run as server {id}; one of them does not count: {refusal}"
                );
                alerts.push(alert(AlertKind::DuplicateNumber, id, text));
            }
        }
        for (id, contest) in &self.contested {
            if contest.is_real() && is_recent(contest.last) {
                let text = format!("two servers run as server {id}; the second one does not count");
                alerts.push(alert(AlertKind::DuplicateNumber, *id, text));
            }
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

impl Contest {
    /// Whether the admitted run was heard of long after the other one.
    fn is_real(&self) -> bool {
        self.incumbent.saturating_duration_since(self.since) >= RESTART
    }
}
