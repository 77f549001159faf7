//! Admission of servers by disk identity.
//!
//! Raft counts servers by id and relies on the durable state of each: its votes and the entries
//! that it acknowledged. A server that returns under its id with an empty disk, or with an old
//! copy of its disk, breaks that premise, and two majorities need no longer intersect. Therefore
//! every disk has an identity, drawn at random at its first start, and a counter of its starts.
//! Each server records the identities of its peers durably, and the core receives the messages of
//! one run of a peer (a *boot*, named in every datagram) only after that run was **admitted**.
//!
//! # The handshake
//! A receiver that meets an unknown boot of a peer sends a [`Request`]. The [`Response`] carries
//! the peer's disk, the counter of its present start, and the boots that the peer's own list of
//! starts has for the recorded counters. The receiver admits the boot if
//! * the disk is the recorded one, or none is recorded (trust on first use);
//! * the start is later than every recorded one, or is itself the recorded one;
//! * the peer's list agrees with the boots recorded for earlier starts. An old copy of a disk that
//!   was restarted until its counter is high enough fails here: its list names other boots;
//! * the peer's list names no boot that is recorded as a copy.
//!
//! # Two live runs of one disk
//! A later start is a restart of the recorded run, or it runs on a copy of its disk that was
//! started while the recorded run is alive. A process holds its directory until it ends. So if the
//! later run has proved itself, and the recorded run then answers a nonce drawn after that, the
//! later run is on a copy. Therefore a later start is admitted at once only from the address of the
//! recorded run, since a port has one owner. From another address it must wait: this server
//! requests an answer from the recorded run at its own address, and admits the later run after
//! [`SILENT_TICKS`] intervals without a message of the recorded run. If the recorded run answers,
//! the boot of the later run is recorded as a copy. That boot never counts, nor does any later
//! start whose list names it. The recorded run keeps counting throughout.
//!
//! A later start that another server recorded is treated the same way: it neither clears nor adds a
//! record until the recorded run has been silent for that long.
//!
//! The new record is durable before the boot counts ([`Event::Persisted`]). Responses carry the
//! whole table, so that a server learns the identities of peers that it has never met. A request
//! names the version of its sender's table; a peer that has not merged that version requests the
//! table in turn. Requests are retransmitted until the peer has merged the present version.
//!
//! # Evidence
//! Every request carries a random nonce. It goes to the address of the admitted run, or to that of
//! the run that it challenges ([`Effects::direct`]); without cluster keys always to a configured
//! address. A response is used only once, and only if it repeats the nonce of an outstanding
//! request to that peer. Outstanding nonces are void once a later start is recorded or proven, so a
//! late response of an ended run proves nothing. A request changes no record; it can only cause a
//! request in turn. Without cluster keys, any sender can write the id and the boot of a server
//! into a datagram. Even then, an unsolicited datagram neither suspends a server nor invalidates a
//! record. An attacker who can read the requests can still forge the responses; only keys prevent
//! that.
//!
//! # Refusal
//! A boot that fails is refused: none of its messages reaches the core, so it gives no vote and no
//! acknowledgement, and no server follows it. A record itself can become invalid, permanently: if
//! two disks of one id were recorded, if two boots are recorded for one start, or if a follower
//! lacks entries that it had acknowledged. A response to AppendEntries that suggests the last case
//! ([`Admission::contradicts`]) makes the leader request the follower's log state at that index;
//! the follower's own response decides. A server suspends itself if an admitted peer has a
//! different record of its id.
//!
//! # Limits of detection
//! * A disk that is lost before any running server recorded it: a majority that contains the server
//!   has `f` other members of `2f + 1`, so no rule lets that majority write, and another majority
//!   of returning servers read, in all cases (`docs/adr/0021-disk-identity.md`).
//! * A copy that is started while the original does not answer for [`SILENT_TICKS`] intervals,
//!   because it stopped, stalls or is cut off: no server has seen both alive, so the copy passes
//!   for a restart.
//! * A copy that is made and restored within one start, by the counter alone. The leader of the
//!   same term detects the entries that the copy lacks.
//!
//! Deliberate omission: a clock. The driver calls [`Event::Tick`] at a regular interval.

pub use crate::identity::{
    DiskId, EntryAt, IdentityMessage, LogAt, Record, Request, Response, Standing, Table,
};
use crate::{
    Address, AppendEntriesResponse, AppendOutcome, Envelope, LogIndex, Message, NodeId, Term,
    ids::BootId,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The maximum number of starts per server in a record.
const RECORDED_STARTS: usize = 4;
/// The maximum number of starts retained as proven by a run.
const PROVEN_STARTS: usize = 16;
/// The maximum number of messages to one peer between two ticks.
const SENDS_PER_TICK: u32 = 8;
/// The maximum number of copies of one disk in a record.
const RECORDED_COPIES: usize = 4;
/// The number of heartbeat intervals without an answer after which a recorded run has ended, if a
/// later start of its disk requests admission.
pub const SILENT_TICKS: u32 = 5;
/// The difference between consecutive nonces of one tick; odd, so that they differ.
const NONCE_STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// The maximum number of ticks between two requests to a silent peer (backoff limit).
const LONGEST_PAUSE: u32 = 10;
/// The number of unanswered requests after which a run counts as gone. If it is not, its next
/// message is challenged.
const MOST_UNANSWERED: u32 = 20;

/// A server's knowledge of its own disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnDisk {
    /// The identity of the disk.
    pub disk: DiskId,
    /// The starts on the disk by their counters, from 1; the last one is the present start.
    pub starts: BTreeMap<u64, BootId>,
}

/// The last entry that earlier runs of a follower acknowledged to a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The term of the leader.
    pub term: Term,
    /// The index of the entry.
    pub index: LogIndex,
    /// The term of the entry, if the leader still has it.
    pub entry: Option<Term>,
}

impl Acknowledged {
    /// Whether this state of the follower's log proves that the entry was lost. Within the term of
    /// one leader a follower never removes an entry that it acknowledged.
    fn is_lost(self, at: LogAt) -> bool {
        let is_other = match at.entry {
            EntryAt::Missing => true,
            EntryAt::Term(term) => self.entry.is_some_and(|entry| entry != term),
            EntryAt::Compacted => false,
        };
        (at.term, at.index) == (self.term, self.index) && is_other
    }
}

/// The reason why a run of a server does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AdmissionRefusal {
    /// Another disk is recorded under its id.
    OtherDisk,
    /// Its disk is an old copy: a later start of it is recorded, or another boot for one of its
    /// starts.
    OldCopy,
    /// Two disks are recorded under its id.
    TwoDisks,
    /// Its disk was copied, and both copies were started.
    Forked,
    /// It lacks entries that it had acknowledged.
    LostEntries,
    /// It was started on a copy of a disk whose server was alive.
    Copy,
}

impl Standing {
    const fn refusal(self) -> Option<AdmissionRefusal> {
        match self {
            Self::Trusted => None,
            Self::TwoDisks => Some(AdmissionRefusal::TwoDisks),
            Self::Forked => Some(AdmissionRefusal::Forked),
            Self::LostEntries => Some(AdmissionRefusal::LostEntries),
        }
    }
}

impl fmt::Display for AdmissionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherDisk => "its id is recorded with another disk",
            Self::OldCopy => "its disk is an old copy: a later start of that disk is recorded",
            Self::TwoDisks => "two disks are recorded under its id",
            Self::Forked => "its disk was copied, and both copies were started",
            Self::LostEntries => "it lacks entries that it had acknowledged",
            Self::Copy => "it was started on a copy of the disk while the original was running",
        })
    }
}

/// An input of the step function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message for the core arrived from a run that is not admitted.
    Unadmitted {
        /// The sender.
        from: NodeId,
        /// The sender's run.
        boot: BootId,
    },
    /// A message about identities was received. It may be delayed, duplicated or reordered.
    Receive {
        /// The sender.
        from: NodeId,
        /// The sender's run.
        boot: BootId,
        /// The message.
        message: IdentityMessage,
        /// Whether it came from the address of the recorded run. If its run is a different one, the
        /// recorded run has ended: a port has one owner.
        is_at_known_address: bool,
        /// The state of this server's log at the index that a request names.
        log: Option<LogAt>,
    },
    /// This version of the table and every earlier version are durable.
    Persisted(u64),
    /// One heartbeat interval has elapsed.
    Tick {
        /// A random number, for the requests until the next tick.
        nonce: u64,
        /// The servers whose admitted run sent a message within [`SILENT_TICKS`] intervals.
        alive: BTreeSet<NodeId>,
    },
    /// A response suggests that this follower lacks entries that it had acknowledged
    /// ([`Admission::contradicts`]). The follower must prove that it has them.
    Doubted(NodeId),
}

/// The work that a step leaves to the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// A version of the table to make durable; it replaces earlier versions.
    pub save: Option<(u64, Table)>,
    /// The messages that may leave now.
    pub sends: Vec<Envelope>,
    /// Messages to one run of a server, at the address of the last message from this run. If any
    /// sender can write the id of a server into a datagram, they go to its configured address
    /// instead.
    pub direct: Vec<(BootId, Envelope)>,
    /// Events for the operator.
    pub notices: Vec<Notice>,
}

/// An event for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A run of this server counts from now on.
    Admitted(NodeId),
    /// A run of this server does not count.
    Refused(NodeId, AdmissionRefusal),
    /// Another run of this server proved itself. It is admitted if the recorded run stays silent.
    Contested(NodeId),
    /// The recorded run of this server answered a request.
    Answered(NodeId),
    /// The table of that peer shows that this server does not count.
    Suspended(NodeId, AdmissionRefusal),
}

/// Decides which runs of the servers count. See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    id: NodeId,
    own: OwnDisk,
    table: Table,
    version: u64,
    durable: u64,
    /// The base of the nonces of new requests; none before the first tick.
    nonce: Option<u64>,
    /// The number of nonces derived from it.
    drawn: u64,
    peers: BTreeMap<NodeId, Peer>,
    suspended: Option<AdmissionRefusal>,
}

/// The knowledge of a peer in this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Peer {
    /// The run that counts.
    admitted: Option<BootId>,
    /// The run that counts as soon as this version of the table is durable.
    admitting: Option<(BootId, u64)>,
    /// The run, different from the recorded one, that must prove itself.
    challenged: Option<BootId>,
    /// Whether the admitted run must prove earlier starts or an entry.
    is_questioned: bool,
    /// Starts after the recorded run, while that run may be alive.
    contest: Option<Contest>,
    /// The latest refused run.
    refused: Option<(BootId, AdmissionRefusal)>,
    /// Earlier starts that the admitted run proved to be its own.
    proven: BTreeMap<u64, BootId>,
    /// The nonce of the unanswered requests to its address.
    nonce: Option<u64>,
    /// The nonce of the unanswered requests to the challenged run.
    challenge: Option<u64>,
    /// The table, with its version, of a run that is not admitted yet.
    unmerged: Option<(BootId, u64, Table)>,
    /// The latest merged version of the admitted run's table.
    merged: u64,
    /// The version of this server's table that the peer has merged.
    merged_ours: u64,
    /// Whether it counts this server, according to its last response.
    counts_us: bool,
    /// The last entry that it had acknowledged in this term when its present run was admitted.
    acknowledged: Option<Acknowledged>,
    /// Whether it must prove that it still has that entry.
    doubted: bool,
    /// `wait`: the ticks until the next request; `pause`: the backoff, its next value.
    wait: u32,
    pause: u32,
    /// The number of requests since the challenged run last answered.
    unanswered: u32,
    /// The number of messages sent since the last tick.
    sent: u32,
}

/// Starts of a server after the recorded one. They count once the recorded run was silent for
/// [`SILENT_TICKS`] intervals; they are copies if it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Contest {
    /// Starts that other servers recorded.
    claims: BTreeSet<(u64, BootId)>,
    /// A run that proved itself.
    contender: Option<(BootId, Response)>,
    /// The number of intervals without a message of the recorded run.
    silent: u32,
}

impl Admission {
    /// Creates the admission of the peers of server `id`, after a start on `own` with a durable
    /// `table`.
    ///
    /// # Panics
    /// If the own disk has no start.
    pub fn new(id: NodeId, voters: &BTreeSet<NodeId>, own: OwnDisk, table: Table) -> Self {
        assert!(!own.starts.is_empty(), "the present start is in the list");
        // An answer to an earlier start never passes for an answer to this start.
        let version = (own.present().0 << 32) + 1;
        let others = voters.iter().filter(|other| **other != id);
        let peers = others.map(|other| {
            // The recorded run may still be running, and then has nothing to prove.
            let admitted = table.get(other).and_then(Record::proven_boot);
            let peer = Peer {
                admitted,
                ..Peer::default()
            };
            (*other, peer)
        });
        Self {
            id,
            own,
            peers: peers.collect(),
            table,
            version,
            durable: version,
            nonce: None,
            drawn: 0,
            suspended: None,
        }
    }

    /// Whether messages of this run of a server may reach the core.
    pub fn is_admitted(&self, from: NodeId, boot: BootId) -> bool {
        let peer = self.peers.get(&from);
        self.suspended.is_none() && peer.is_some_and(|peer| peer.admitted == Some(boot))
    }

    /// Whether a run of this server counts, so that messages to it are useful.
    pub fn counts(&self, id: NodeId) -> bool {
        self.suspended.is_none()
            && self
                .peers
                .get(&id)
                .is_some_and(|peer| peer.admitted.is_some())
    }

    /// Whether another server counts this run, or there is no other server.
    pub fn is_known(&self) -> bool {
        self.peers.is_empty() || self.peers.values().any(|peer| peer.counts_us)
    }

    /// The run of a server that counts.
    pub fn admitted(&self, id: NodeId) -> Option<BootId> {
        let peer = self.peers.get(&id)?;
        peer.admitted.filter(|_| self.suspended.is_none())
    }

    /// The reason why this server does not count, if it found that it does not.
    pub fn suspended(&self) -> Option<AdmissionRefusal> {
        self.suspended
    }

    /// The latest refused run of this server, if none was admitted since.
    pub fn refused(&self, id: NodeId) -> Option<(BootId, AdmissionRefusal)> {
        self.peers.get(&id)?.refused
    }

    /// The other servers.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> {
        self.peers.keys().copied()
    }

    /// The records of all peers.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Notes the last entry that a peer had acknowledged in this term when its present run was
    /// admitted; `None` if this server is not the leader.
    pub fn note_acknowledged(&mut self, id: NodeId, acknowledged: Option<Acknowledged>) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.acknowledged = acknowledged;
        }
    }

    /// Whether this response, if the admitted run sent it, proves that it lost entries that an
    /// earlier run had acknowledged in the same term.
    ///
    /// In the term of one leader a follower never removes an entry that it acknowledged, and a
    /// restart keeps durable entries. So its log is at least that long and matches the leader's up
    /// to that entry. Responses of the same run are not compared: an early conflict may arrive
    /// late.
    pub fn contradicts(&self, from: NodeId, response: &AppendEntriesResponse) -> bool {
        let peer = self.peers.get(&from);
        let Some(Acknowledged { term, index, .. }) = peer.and_then(|peer| peer.acknowledged) else {
            return false;
        };
        let AppendOutcome::Conflict {
            prev_log_index,
            conflict_index,
            ..
        } = response.outcome
        else {
            return false;
        };
        // The acknowledged entry has no later term than the entries that follow it in the leader's
        // log, so a follower that has it never hints at an earlier one.
        let lacks = conflict_index < index || prev_log_index <= index;
        response.term == term && index > LogIndex::ZERO && lacks
    }

    /// Handles one event and returns its effects.
    pub fn step(&mut self, event: Event) -> Effects {
        let mut effects = Effects::default();
        let version = self.version;
        match event {
            Event::Unadmitted { from, boot } => self.unadmitted(from, boot, &mut effects),
            Event::Receive {
                from,
                boot,
                message: IdentityMessage::Request(request),
                log,
                ..
            } => self.handle_request(from, boot, &request, log, &mut effects),
            Event::Receive {
                from,
                boot,
                message: IdentityMessage::Response(response),
                is_at_known_address,
                ..
            } => self.handle_response(from, boot, response, is_at_known_address, &mut effects),
            Event::Persisted(version) => self.persisted(version, &mut effects),
            Event::Tick { nonce, alive } => {
                (self.nonce, self.drawn) = (Some(nonce), 0);
                self.tick(&alive, &mut effects);
            }
            Event::Doubted(id) => self.doubt(id, &mut effects),
        }
        if self.version != version {
            effects.save = Some((self.version, self.table.clone()));
        }
        effects
    }

    fn unadmitted(&mut self, from: NodeId, boot: BootId, effects: &mut Effects) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let is_settled =
            peer.admitted == Some(boot) || peer.admitting.is_some_and(|(of, _)| of == boot);
        if self.suspended.is_some() || is_settled {
            return;
        }
        // A refused run is notified again, because it may not have received the refusal.
        if !peer.refuses(boot) && peer.challenged != Some(boot) {
            peer.challenged = Some(boot);
            peer.unanswered = 0;
        }
        self.send_challenge(from, boot, effects);
    }

    /// Responds to a request. Its sender may be forged, so the only consequence is a request in
    /// turn.
    fn handle_request(
        &mut self,
        from: NodeId,
        boot: BootId,
        request: &Request,
        log: Option<LogAt>,
        effects: &mut Effects,
    ) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let starts = request.starts.iter().rev().take(2 * RECORDED_STARTS);
        let boots = starts.map(|counter| (*counter, self.own.starts.get(counter).copied()));
        let latest = self.own.starts.iter().rev().take(RECORDED_STARTS + 1);
        let latest = latest.map(|(counter, boot)| (*counter, Some(*boot)));
        let boots = boots.chain(latest);
        let (counter, _) = self.own.present();
        let is_current = peer.admitted == Some(boot);
        let response = IdentityMessage::Response(Response {
            nonce: request.nonce,
            disk: self.own.disk,
            counter,
            boots: boots.collect(),
            version: self.version,
            table: self.table.clone(),
            merged: if is_current { peer.merged } else { 0 },
            log: log.filter(|log| request.entry == Some(log.index)),
        });
        if peer.sent < SENDS_PER_TICK {
            peer.sent += 1;
            effects
                .direct
                .push((boot, envelope(self.id, from, response)));
        }
        let is_news = request.version > peer.merged && self.suspended.is_none();
        if !is_current && !peer.refuses(boot) {
            self.unadmitted(from, boot, effects);
        } else if is_current && is_news {
            self.send_request(from, effects);
        }
    }

    /// The records of a received table that concern voters, each reduced to the maximum size of a
    /// record.
    fn sound(&self, table: Table) -> Table {
        let known = table.into_iter().filter(|(id, record)| {
            (self.peers.contains_key(id) || *id == self.id) && !record.starts.is_empty()
        });
        let short = known.map(|(id, mut record)| {
            record.truncate();
            while record.starts.len() > RECORDED_STARTS {
                record.starts.pop_first();
            }
            (id, record)
        });
        short.collect()
    }

    fn handle_response(
        &mut self,
        from: NodeId,
        boot: BootId,
        response: Response,
        is_at_known_address: bool,
        effects: &mut Effects,
    ) {
        let recorded = self.recorded_boot(from);
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        if self.suspended.is_some() {
            return;
        }
        let nonce = Some(response.nonce);
        if peer.nonce == nonce {
            peer.nonce = None;
        } else if peer.challenge == nonce {
            peer.challenge = None;
        } else {
            // The response is late, a duplicate or forged.
            return self.unadmitted(from, boot, effects);
        }
        peer.unanswered = 0;
        let is_admitted = peer.admitted == Some(boot);
        let none = BTreeMap::new();
        let proven = if is_admitted { &peer.proven } else { &none };
        let verified = match self.table.get(&from) {
            None => Ok(Some(BTreeMap::new())),
            Some(record) => verify(record, proven, boot, &response),
        };
        let proven = match verified {
            Err(refusal) => return self.refuse(from, boot, refusal, effects),
            // A record has changed since the request.
            Ok(None) if recorded == Some(boot) => return self.send_request(from, effects),
            Ok(None) => return self.send_challenge(from, boot, effects),
            Ok(Some(proven)) => proven,
        };
        peer.challenged.take_if(|challenged| *challenged == boot);
        if recorded == Some(boot) {
            effects.notices.push(Notice::Answered(from));
            if let Some(contest) = peer.contest.take() {
                // The nonce was drawn after the later starts began.
                self.record_copies(from, contest, effects);
            }
        } else if recorded.is_some() && !is_at_known_address {
            return self.contend(from, boot, response, effects);
        } else if let Some(contest) = &mut peer.contest {
            // The recorded run has ended: starts that other servers recorded since then count.
            contest.contender = Some((boot, response));
            return self.end_contest(from, effects);
        }
        self.accept(from, boot, response, proven, effects);
    }

    /// Handles a run at another address that proved a later start than the recorded one.
    fn contend(&mut self, id: NodeId, boot: BootId, response: Response, effects: &mut Effects) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let contest = peer.contest.get_or_insert_default();
        if contest.contender.is_none() {
            contest.contender = Some((boot, response));
            effects.notices.push(Notice::Contested(id));
            self.probe(id, effects);
        }
    }

    /// Requests an answer from the recorded run, with a new nonce.
    fn probe(&mut self, id: NodeId, effects: &mut Effects) {
        if let Some(peer) = self.peers.get_mut(&id) {
            (peer.nonce, peer.challenge) = (None, None);
            self.send_request(id, effects);
        }
    }

    /// Records later starts as copies: the recorded run is alive, so they are on copies of its
    /// disk.
    fn record_copies(&mut self, id: NodeId, contest: Contest, effects: &mut Effects) {
        let Some(record) = self.table.get_mut(&id) else {
            return;
        };
        let contender = contest.contender;
        let proven = contender.map(|(boot, response)| (response.counter, boot));
        let mut copies = contest.claims;
        copies.extend(proven);
        let boots: Vec<_> = copies.iter().map(|(_, boot)| *boot).collect();
        record.copies.append(&mut copies);
        record.truncate();
        self.version += 1;
        for boot in boots {
            self.refuse(id, boot, AdmissionRefusal::Copy, effects);
        }
    }

    /// Ends a contest after the recorded run was silent for long enough: the later starts are
    /// restarts.
    fn end_contest(&mut self, id: NodeId, effects: &mut Effects) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(contest) = peer.contest.take() else {
            return;
        };
        if let Some(record) = self.table.get_mut(&id)
            && !contest.claims.is_empty()
        {
            let before = record.starts.clone();
            record.earlier.extend(before);
            for (counter, boot) in contest.claims {
                if *record.starts.entry(counter).or_insert(boot) != boot {
                    record.standing = record.standing.max(Standing::Forked);
                }
            }
            record.shorten();
            (peer.admitted, peer.admitting) = (None, None);
            (peer.nonce, peer.challenge) = (None, None);
            self.version += 1;
            let last = record.starts.values().next_back().copied();
            if let (Some(refusal), Some(last)) = (record.standing.refusal(), last) {
                return self.condemn(id, last, refusal, effects);
            }
        }
        let Some((boot, response)) = contest.contender else {
            return;
        };
        let verified = match self.table.get(&id) {
            None => Ok(Some(BTreeMap::new())),
            Some(record) => verify(record, &BTreeMap::new(), boot, &response),
        };
        match verified {
            Err(refusal) => self.refuse(id, boot, refusal, effects),
            Ok(None) => self.unadmitted(id, boot, effects),
            Ok(Some(proven)) => self.accept(id, boot, response, proven, effects),
        }
    }

    /// Accepts a run that proved that it may count. `proven`: the starts that it proved to be its
    /// own.
    fn accept(
        &mut self,
        from: NodeId,
        boot: BootId,
        response: Response,
        proven: BTreeMap<u64, BootId>,
        effects: &mut Effects,
    ) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        let is_admitted = peer.admitted == Some(boot);
        let is_admitting = peer.admitting.is_some_and(|(of, _)| of == boot);
        let is_new = !is_admitted && !is_admitting;
        if is_new {
            // The last recorded run no longer counts.
            peer.admitted = None;
            peer.proven.clear();
            (peer.merged_ours, peer.merged) = (0, 0);
            peer.admitting = Some((boot, self.version + 1));
            // Responses of ended runs count as late after this point.
            (peer.nonce, peer.challenge) = (None, None);
            peer.contest = None;
        }
        peer.counts_us = response.merged > 0;
        peer.merged_ours = peer.merged_ours.max(response.merged.min(self.version));
        peer.is_questioned = false;
        peer.proven.extend(proven);
        while peer.proven.len() > PROVEN_STARTS {
            peer.proven.pop_first();
        }
        let old = self.table.get(&from);
        let mut record = Record {
            disk: response.disk,
            starts: [(response.counter, boot)].into(),
            earlier: old.map(|old| old.earlier.clone()).unwrap_or_default(),
            copies: old.map(|old| old.copies.clone()).unwrap_or_default(),
            standing: Standing::Trusted,
        };
        record
            .earlier
            .extend(old.into_iter().flat_map(|old| &old.starts));
        let named = response
            .boots
            .iter()
            .filter_map(|(counter, boot)| Some((*counter, (*boot)?)));
        record.earlier.extend(named);
        record
            .earlier
            .retain(|counter, _| *counter < response.counter);
        record.truncate();
        if is_new || old != Some(&record) {
            self.table.insert(from, record);
            self.version += 1;
        }
        if is_admitted && peer.doubted {
            match response.log {
                Some(log) if peer.acknowledged.is_some_and(|entry| entry.is_lost(log)) => {
                    return self.lost_entries(from, effects);
                }
                Some(_) => peer.doubted = false,
                // The request was sent before the doubt.
                None => peer.is_questioned = true,
            }
        }
        let table = self.sound(response.table);
        if is_admitted {
            self.merge(from, response.version, table, effects);
        } else if let Some(peer) = self.peers.get_mut(&from) {
            peer.unmerged = Some((boot, response.version, table));
        }
    }

    fn refuse(
        &mut self,
        id: NodeId,
        boot: BootId,
        refusal: AdmissionRefusal,
        effects: &mut Effects,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.refused = Some((boot, refusal));
        if peer.challenged == Some(boot) {
            peer.challenged = None;
        }
        if peer.admitted == Some(boot) {
            peer.admitted = None;
        }
        peer.admitting.take_if(|(of, _)| *of == boot);
        peer.unmerged.take_if(|(of, _, _)| *of == boot);
        let has_admitted = peer.admitted.is_some();
        effects.notices.push(Notice::Refused(id, refusal));
        // That run requests the table in turn, which contains the reason.
        self.send_challenge(id, boot, effects);
        if has_admitted {
            // The notice to the operator depends on whether the admitted run is alive.
            self.send_request(id, effects);
        }
    }

    fn persisted(&mut self, version: u64, effects: &mut Effects) {
        self.durable = self.durable.max(version);
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            let Some(peer) = self.peers.get_mut(&id) else {
                continue;
            };
            if let Some((boot, of)) = peer.admitting
                && of <= self.durable
            {
                peer.admitting = None;
                let record = self.table.get(&id);
                if record.and_then(Record::last_trusted_boot) == Some(boot) {
                    peer.admitted = Some(boot);
                    peer.refused = None;
                    peer.acknowledged = None;
                    peer.doubted = false;
                    effects.notices.push(Notice::Admitted(id));
                    if let Some((of, version, table)) = peer.unmerged.take()
                        && of == boot
                    {
                        self.merge(id, version, table, effects);
                    }
                }
            }
        }
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            if self.peers[&id].merged_ours < self.durable {
                self.send_request(id, effects);
            }
        }
    }

    /// Merges the table of an admitted peer.
    fn merge(&mut self, from: NodeId, version: u64, table: Table, effects: &mut Effects) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.merged = peer.merged.max(version);
        }
        for (id, record) in table {
            if id == self.id {
                self.compare_with_own(from, &record, effects);
            } else {
                self.merge_record(id, record, effects);
            }
        }
    }

    fn compare_with_own(&mut self, from: NodeId, record: &Record, effects: &mut Effects) {
        let (present, _) = self.own.present();
        let is_own = |counter: &u64, boot: &BootId| self.own.starts.get(counter) == Some(boot);
        let is_copy = record
            .copies
            .iter()
            .any(|(counter, boot)| is_own(counter, boot));
        // A later start that follows the present one is on a copy of this disk: this run is alive.
        let recorded = record.earlier.get(&present);
        let knows_present = recorded.is_some_and(|boot| is_own(&present, boot));
        let is_explained = |(counter, boot): (&u64, &BootId)| {
            is_own(counter, boot) || (knows_present && *counter > present)
        };
        let refusal = match record.standing.refusal() {
            Some(refusal) => refusal,
            None if record.disk != self.own.disk => AdmissionRefusal::OtherDisk,
            None if is_copy => AdmissionRefusal::Copy,
            None if !record.starts.iter().all(is_explained) => AdmissionRefusal::OldCopy,
            None => return,
        };
        if self.suspended.is_none() {
            self.suspended = Some(refusal);
            effects.notices.push(Notice::Suspended(from, refusal));
        }
    }

    fn merge_record(&mut self, id: NodeId, theirs: Record, effects: &mut Effects) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(ours) = self.table.get_mut(&id) else {
            // The sender has verified the record, or trusts it on first use, as this server would.
            let boot = theirs.proven_boot();
            peer.admitting = boot.map(|boot| (boot, self.version + 1));
            self.table.insert(id, theirs);
            self.version += 1;
            return;
        };
        let mut merged = ours.clone();
        let mut claims = BTreeSet::new();
        if theirs.disk != ours.disk {
            merged.standing = Standing::TwoDisks;
        } else {
            merged.standing = ours.standing.max(theirs.standing);
            merged.copies.extend(theirs.copies);
            merged.remove_copies();
            let last = merged
                .starts
                .last_key_value()
                .map(|(last, boot)| (*last, *boot));
            let their_last = theirs
                .starts
                .last_key_value()
                .map(|(last, boot)| (*last, *boot));
            // Only a later start whose list names the recorded run can be on a copy of its disk.
            // Otherwise the recorded run itself may be on an old copy.
            let descends =
                last.is_some_and(|(last, boot)| theirs.earlier.get(&last) == Some(&boot));
            if last == their_last {
                for (counter, boot) in &theirs.earlier {
                    merged.earlier.entry(*counter).or_insert(*boot);
                }
            }
            for (counter, boot) in theirs.starts {
                if merged.copies.contains(&(counter, boot)) {
                    continue;
                }
                let known = merged.starts.get(&counter);
                let known = known.or_else(|| peer.proven.get(&counter));
                match known.or_else(|| merged.earlier.get(&counter)) {
                    Some(known) if *known == boot => {}
                    Some(_) => merged.standing = merged.standing.max(Standing::Forked),
                    // The recorded run may be alive.
                    None if descends && last.is_some_and(|(last, _)| counter > last) => {
                        claims.insert((counter, boot));
                    }
                    None if last.is_none_or(|(last, _)| counter > last) => {
                        merged.starts.insert(counter, boot);
                        merged.earlier.clone_from(&theirs.earlier);
                        // A later run exists, so this one has ended or never counted.
                        (peer.admitted, peer.admitting) = (None, None);
                        (peer.nonce, peer.challenge) = (None, None);
                        peer.contest = None;
                    }
                    None => {
                        merged.starts.insert(counter, boot);
                        // The admitted run must still prove an earlier start.
                        peer.is_questioned = peer.admitted.is_some();
                    }
                }
            }
            if merged.starts.is_empty() {
                // The admitted run was a copy: the start before it counts again.
                merged.starts.extend(merged.earlier.pop_last());
            }
            merged.shorten();
        }
        // An untrusted record is final, so there is nothing to add.
        if ours.standing != Standing::Trusted {
            return;
        }
        let has_changed = merged != *ours;
        let refusal = merged.standing.refusal();
        let boot = merged.starts.values().next_back().copied();
        let copies = merged.copies.clone();
        let ended = ours.last_trusted_boot();
        *ours = merged;
        if has_changed {
            self.version += 1;
        }
        if let (Some(refusal), Some(boot)) = (refusal, boot) {
            return self.condemn(id, boot, refusal, effects);
        }
        let is_copy = |boot: BootId| copies.iter().any(|(_, copy)| *copy == boot);
        if let Some(contest) = &mut peer.contest {
            contest.claims.retain(|claim| !copies.contains(claim));
            contest.contender.take_if(|(boot, _)| is_copy(*boot));
            if contest.claims.is_empty() && contest.contender.is_none() {
                peer.contest = None;
            }
        }
        if let Some(copy) = ended.filter(|ended| is_copy(*ended)) {
            (peer.nonce, peer.challenge) = (None, None);
            peer.proven.clear();
            return self.refuse(id, copy, AdmissionRefusal::Copy, effects);
        }
        if peer.is_questioned {
            self.send_request(id, effects);
        }
        self.contest_claims(id, claims, effects);
    }

    /// Contests later starts that another server recorded. They are recorded here unless the
    /// recorded run answers.
    fn contest_claims(
        &mut self,
        id: NodeId,
        claims: BTreeSet<(u64, BootId)>,
        effects: &mut Effects,
    ) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let known = peer.contest.as_ref().map(|contest| &contest.claims);
        let is_new = claims
            .iter()
            .any(|claim| known.is_none_or(|known| !known.contains(claim)));
        if is_new {
            let contest = peer.contest.get_or_insert_default();
            contest.claims.extend(claims);
            while contest.claims.len() > RECORDED_STARTS {
                contest.claims.pop_first();
            }
            contest.silent = 0;
            self.probe(id, effects);
        }
    }

    /// Stops counting all runs of a server, permanently.
    fn condemn(
        &mut self,
        id: NodeId,
        last: BootId,
        refusal: AdmissionRefusal,
        effects: &mut Effects,
    ) {
        if let Some(peer) = self.peers.get_mut(&id) {
            let boot = peer.admitted.unwrap_or(last);
            peer.admitted = None;
            peer.admitting = None;
            self.refuse(id, boot, refusal, effects);
        }
    }

    fn doubt(&mut self, id: NodeId, effects: &mut Effects) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.doubted = peer.admitted.is_some();
        if !peer.is_questioned && peer.doubted {
            peer.is_questioned = true;
            // A request in flight does not name the entry.
            peer.nonce = None;
            self.send_request(id, effects);
        }
    }

    fn lost_entries(&mut self, id: NodeId, effects: &mut Effects) {
        let Some(record) = self.table.get_mut(&id) else {
            return;
        };
        if record.standing == Standing::Trusted {
            record.standing = Standing::LostEntries;
            let last = record.starts.values().next_back().copied();
            self.version += 1;
            if let Some(last) = last {
                self.condemn(id, last, AdmissionRefusal::LostEntries, effects);
            }
        }
    }

    fn tick(&mut self, alive: &BTreeSet<NodeId>, effects: &mut Effects) {
        for peer in self.peers.values_mut() {
            peer.sent = 0;
        }
        if self.suspended.is_some() {
            return;
        }
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.tick_contest(id, alive.contains(&id), effects);
            self.repeat_requests(id, effects);
        }
    }

    fn tick_contest(&mut self, id: NodeId, is_alive: bool, effects: &mut Effects) {
        let Some(contest) = self
            .peers
            .get_mut(&id)
            .and_then(|peer| peer.contest.as_mut())
        else {
            return;
        };
        contest.silent = if is_alive { 0 } else { contest.silent + 1 };
        if contest.silent > SILENT_TICKS {
            self.end_contest(id, effects);
        } else {
            self.send_request(id, effects);
        }
    }

    fn repeat_requests(&mut self, id: NodeId, effects: &mut Effects) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let record = self.table.get(&id);
        let has_unproven = record.is_some_and(|record| record.starts.len() > 1);
        peer.is_questioned = peer.admitted.is_some() && (peer.is_questioned || has_unproven);
        let is_refused = peer.admitted.is_none() && peer.refused.is_some();
        let must_merge = peer.merged_ours < self.durable && !is_refused;
        if !must_merge && !peer.is_questioned && peer.challenged.is_none() {
            (peer.wait, peer.pause) = (0, 0);
            return;
        }
        if peer.wait > 0 {
            peer.wait -= 1;
            return;
        }
        if peer.challenged.is_some() {
            peer.unanswered += 1;
            if peer.unanswered > MOST_UNANSWERED {
                peer.challenged = None;
            }
        }
        peer.pause = (2 * peer.pause).clamp(1, LONGEST_PAUSE);
        peer.wait = peer.pause;
        let challenged = peer.challenged;
        if must_merge || peer.is_questioned {
            self.send_request(id, effects);
        }
        if let Some(boot) = challenged {
            self.send_challenge(id, boot, effects);
        }
    }

    /// Sends a request to the address of the recorded run.
    fn send_request(&mut self, to: NodeId, effects: &mut Effects) {
        let Some(peer) = self.peers.get(&to) else {
            return;
        };
        let outstanding = peer.nonce;
        if let Some((nonce, request)) = self.request(to, outstanding)
            && !effects.sends.contains(&request)
            && let Some(peer) = self.peers.get_mut(&to)
        {
            peer.nonce = Some(nonce);
            peer.sent += 1;
            effects.sends.push(request);
        }
    }

    /// Sends a request to the address of this run.
    fn send_challenge(&mut self, to: NodeId, boot: BootId, effects: &mut Effects) {
        let Some(peer) = self.peers.get(&to) else {
            return;
        };
        let outstanding = peer.challenge;
        if let Some((nonce, request)) = self.request(to, outstanding)
            && !effects.direct.contains(&(boot, request.clone()))
            && let Some(peer) = self.peers.get_mut(&to)
        {
            peer.challenge = Some(nonce);
            peer.sent += 1;
            effects.direct.push((boot, request));
        }
    }

    /// Creates a request, unless the limit per tick is reached. It repeats the outstanding nonce,
    /// so that a response to an earlier request remains usable.
    fn request(&mut self, to: NodeId, outstanding: Option<u64>) -> Option<(u64, Envelope)> {
        let peer = self.peers.get(&to)?;
        if peer.sent >= SENDS_PER_TICK {
            return None;
        }
        let nonce = match outstanding {
            Some(nonce) => nonce,
            None => {
                // A used nonce is not drawn again before the next tick.
                self.drawn += 1;
                let step = self.drawn.wrapping_mul(NONCE_STEP);
                self.nonce?.wrapping_add(step)
            }
        };
        let record = self.table.get(&to);
        let starts = record.map(Record::questions).unwrap_or_default();
        let doubted = peer.acknowledged.filter(|_| peer.doubted);
        let request = Request {
            nonce,
            version: self.version,
            starts,
            entry: doubted.map(|acknowledged| acknowledged.index),
        };
        let request = IdentityMessage::Request(request);
        Some((nonce, envelope(self.id, to, request)))
    }

    /// The last recorded run of a server.
    pub fn recorded_boot(&self, id: NodeId) -> Option<BootId> {
        self.table.get(&id)?.last_trusted_boot()
    }
}

impl OwnDisk {
    fn present(&self) -> (u64, BootId) {
        let last = self.starts.last_key_value();
        let (counter, boot) = last.expect("the present start is in the list");
        (*counter, *boot)
    }
}

impl Record {
    /// The run that has nothing to prove.
    fn proven_boot(&self) -> Option<BootId> {
        (self.starts.len() == 1)
            .then(|| self.last_trusted_boot())
            .flatten()
    }

    /// The starts that a run has to name.
    fn questions(&self) -> BTreeSet<u64> {
        let copies = self.copies.iter().map(|(counter, _)| *counter);
        self.starts.keys().copied().chain(copies).collect()
    }

    fn remove_copies(&mut self) {
        let Self {
            starts,
            earlier,
            copies,
            ..
        } = self;
        for of in [starts, earlier] {
            of.retain(|counter, boot| !copies.contains(&(*counter, *boot)));
        }
    }

    /// Bounds the earlier starts and the copies: the latest stay.
    fn truncate(&mut self) {
        while self.earlier.len() > RECORDED_STARTS {
            self.earlier.pop_first();
        }
        while self.copies.len() > RECORDED_COPIES {
            self.copies.pop_first();
        }
    }

    /// Bounds all parts of the record.
    fn shorten(&mut self) {
        self.truncate();
        while self.starts.len() > RECORDED_STARTS {
            // The first start, which this server verified, and the latest ones are the best
            // evidence.
            let second = self.starts.keys().nth(1).copied().unwrap_or_default();
            self.starts.remove(&second);
        }
    }

    fn last_trusted_boot(&self) -> Option<BootId> {
        let (_, boot) = self.starts.last_key_value()?;
        (self.standing == Standing::Trusted).then_some(*boot)
    }
}

impl Peer {
    fn refuses(&self, boot: BootId) -> bool {
        self.refused.is_some_and(|(of, _)| of == boot)
    }
}

/// Compares a response with the record. Returns the starts that the run proved to be its own, or
/// `None` if the request did not name all of them.
fn verify(
    record: &Record,
    proven: &BTreeMap<u64, BootId>,
    boot: BootId,
    response: &Response,
) -> Result<Option<BTreeMap<u64, BootId>>, AdmissionRefusal> {
    if let Some(refusal) = record.standing.refusal() {
        return Err(refusal);
    }
    if record.disk != response.disk {
        return Err(AdmissionRefusal::OtherDisk);
    }
    let own = |counter: &u64| {
        if *counter == response.counter {
            Some(Some(boot))
        } else if *counter > response.counter {
            Some(None)
        } else if let Some(known) = proven.get(counter) {
            Some(Some(*known))
        } else {
            response.boots.get(counter).copied()
        }
    };
    let mut shown = BTreeMap::new();
    let mut is_whole = true;
    for (counter, copy) in &record.copies {
        match own(counter) {
            Some(Some(own)) if own == *copy => return Err(AdmissionRefusal::Copy),
            Some(_) => {}
            None => is_whole = false,
        }
    }
    for (counter, recorded) in &record.starts {
        match own(counter) {
            Some(own) if own == Some(*recorded) => {
                shown.insert(*counter, *recorded);
            }
            Some(_) => return Err(AdmissionRefusal::OldCopy),
            None => is_whole = false,
        }
    }
    Ok(is_whole.then_some(shown))
}

fn envelope(from: NodeId, to: NodeId, message: IdentityMessage) -> Envelope {
    Envelope {
        from: Address::Node(from),
        to: Address::Node(to),
        message: Message::Identity(message),
    }
}
