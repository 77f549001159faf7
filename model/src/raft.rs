//! One Raft server as a pure step function.
//!
//! [`Raft::step`] takes one [`Event`] (a received message, a timeout, a durable write) and returns
//! the [`Effects`] that the driver must carry out. This module reads no clock, socket, disk or
//! random number. The driver does, and so does the model checker, which runs this very code.
//!
//! # The contract of effects
//! * The driver writes [`Effects::write`] to stable storage, after all earlier writes. Once the
//!   write is durable (fsync returned), the driver steps [`Event::Persisted`]. One event may report
//!   several writes by the number of the last.
//! * The driver may send [`Effects::sends`] at once: before, during or after the write. Messages
//!   that must not leave before a write is durable are not in there. The server itself holds them
//!   back until `Persisted` arrives, and no longer than their content requires. Responses and vote
//!   requests wait until the term and the vote that they carry are durable. Acknowledgements also
//!   wait for the entries or the snapshot; the response to a heartbeat reports the index that is
//!   durable now. No other message waits. A leader's AppendEntries requests leave at once (thesis
//!   §10.2.1: the leader's disk works in parallel). So do responses to clients: they follow from
//!   commitment, and so from entries that a majority holds.
//! * [`Effects::timers`] lists the timers to rearm; the driver draws the durations. The election
//!   timer of a server that just started is armed, and the heartbeat timer repeats all the time.
//!
//! A crash loses the whole value. [`Raft::recover`] builds the next one from durable state.
//!
//! # Modules
//! * `election`: timeouts and candidates (§5.2)
//! * `vote`: who gets a vote, and how votes are counted (§5.2, §5.4.1)
//! * `quorum`: PreVote, CheckQuorum and leader stickiness (thesis §4.2.3, §6.2, §9.6)
//! * `replication`: log replication and the commit rule (§5.3, §5.4.2)
//! * `transfer`: leadership transfer (thesis §3.10)
//! * `requests`: client requests (§8, thesis §6.3, §6.4)
//! * `snapshots`: log compaction (§7)
//! * `durability`: writes, and the messages that wait for them
//! * `impossible`: messages that no correct server sends
//! * `planted`: the longer parts of planted bugs, in checker builds only
//!
//! # Omissions
//! Leader leases and membership changes.

mod durability;
mod election;
mod impossible;
#[cfg(feature = "mutants")]
mod planted;
mod quorum;
mod replication;
mod requests;
mod snapshots;
mod transfer;
mod vote;

pub use durability::{Durable, HardState, Write};

use crate::{
    Address, AppendEntriesRequest, ClientId, ClientRequest, ClientResponse, Config, Envelope, Log,
    LogIndex, Message, NodeId, RequestId, Snapshot, Store, Term, WriteId,
    message::{RequestVoteResponse, ResponseBody},
    store::Query,
};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec,
    vec::Vec,
};
use durability::{HeldMessage, Pending};
use serde::{Deserialize, Serialize};

/// An input of the step function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// A message was received. It may be delayed, duplicated or reordered.
    Receive {
        /// The sender.
        from: Address,
        /// The message.
        message: Message,
    },
    /// The election timeout elapsed.
    ElectionTimeout,
    /// The heartbeat interval elapsed.
    HeartbeatTimeout,
    /// The quorum timer fired.
    QuorumTimeout,
    /// Client requests that arrived together. They share one write and one round of messages.
    Requests(Vec<(Address, ClientRequest)>),
    /// The same while the driver applies backpressure, because its disk is behind. A leader refuses
    /// the requests that need a log entry ([`ResponseBody::Overloaded`]) and serves reads, which
    /// need no disk.
    RequestsUnderBackpressure(Vec<(Address, ClientRequest)>),
    /// This write and every earlier write are durable.
    Persisted(WriteId),
    /// The driver requests log compaction: the log is long enough for a snapshot.
    Compact,
    /// The driver requests that this leader hands its leadership over to another server. Any other
    /// server ignores it, and so does a leader whose earlier transfer is in progress.
    TransferLeadership(NodeId),
}

/// The work that a step leaves to the driver. See the module's contract.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// The write to make durable, after all earlier writes.
    pub write: Option<Write>,
    /// The messages that may leave now.
    pub sends: Vec<Envelope>,
    /// The timers to rearm.
    pub timers: Vec<Timer>,
}

/// The timers of a server. The heartbeat timer runs beside the election timer and has no effect on
/// a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// The election timeout: fires after a randomized time without a leader (§5.2). A leader aborts
    /// its leadership transfer, and otherwise ignores it.
    Election,
    /// Fires at a fixed interval. A leader sends heartbeats; a candidate retries its unanswered
    /// vote requests (§5.1). A follower ignores it.
    Heartbeat,
    /// Fires after the minimum election timeout. A leader checks whether a majority responded in
    /// the meantime (CheckQuorum). A follower notes that its leader was silent for that long.
    Quorum,
}

/// The role of a server, with the state that only this role has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Follows the leader of its term, if the leader is known.
    Follower {
        /// The leader of the current term, once known.
        leader: Option<NodeId>,
        /// Whether a message of that leader arrived since the quorum timer was armed; always false
        /// without [`Config::check_quorum`].
        recently_active: bool,
    },
    /// Requests pre-votes, to learn whether it could win an election (PreVote, thesis §9.6). It
    /// has not incremented its term yet.
    PreCandidate {
        /// The servers that granted their pre-vote, including this one.
        votes: BTreeSet<NodeId>,
    },
    /// Requests votes.
    Candidate(Candidate),
    /// Leads its term.
    Leader(Leader),
}

impl Role {
    fn follower(leader: Option<NodeId>) -> Self {
        let recently_active = false;
        Self::Follower {
            leader,
            recently_active,
        }
    }
}

/// The state of a candidate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// The servers that granted their vote; includes the candidate once its own vote is durable.
    pub votes: BTreeSet<NodeId>,
    /// The write that makes the candidate's own vote durable.
    pub vote_write: WriteId,
    /// Whether the leader of the previous term told this server to start the election.
    pub leadership_transfer: bool,
    /// Votes counted twice, if that bug is planted.
    #[cfg(feature = "mutants")]
    pub repeated_votes: usize,
}

/// The state of a leader.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Leader {
    /// The replication progress of each other server.
    pub followers: BTreeMap<NodeId, Progress>,
    /// The size of the uncommitted entries in bytes ([`crate::Payload::size`]).
    pub uncommitted_bytes: usize,
    /// The index of this leader's no-op, its first entry.
    pub first_index: LogIndex,
    /// The clients that wait for an entry to be applied, by log index.
    pub writes: BTreeMap<LogIndex, Waiter>,
    /// The reads that wait for their read round.
    pub reads: Vec<PendingRead>,
    /// The latest read round.
    pub read_round: u64,
    /// The servers that responded since the quorum timer was armed; empty without
    /// [`Config::check_quorum`].
    pub recently_active: BTreeSet<NodeId>,
    /// The leadership transfer in progress.
    pub transfer: Option<Transfer>,
}

/// A leadership transfer in progress (thesis §3.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Transfer {
    /// The server that should lead next (etcd: `leadTransferee`).
    pub target: NodeId,
    /// Whether TimeoutNow was sent. From then on, heartbeats repeat it.
    pub is_requested: bool,
}

/// The replication progress of a follower, as its leader knows it (etcd: `Progress`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Progress {
    /// The next entry to send (Figure 2).
    pub next_index: LogIndex,
    /// The last entry known to be durable on the follower (Figure 2).
    pub match_index: LogIndex,
    /// The latest read round that the follower responded to.
    pub read_round: u64,
    /// The way entries are sent to the follower.
    pub flow: Flow,
    /// The maximum number of entries in flight to the follower.
    pub window: usize,
    /// The size of the entries in flight in bytes; 0 while the follower is probed.
    pub bytes_in_flight: usize,
    /// The number of heartbeats before the leader may retransmit a snapshot.
    pub snapshot_pause: u32,
}

/// The flow control state of a follower (etcd: `StateProbe`, `StateReplicate`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Flow {
    /// The point where the logs agree is unknown, or a message was lost. `next_index` stays until
    /// the follower responds; every heartbeat repeats the probe from there.
    Probe,
    /// Messages follow one another without waiting for responses: `next_index` is past the last
    /// entry sent.
    Pipeline,
}

/// A client that waits for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Waiter {
    /// The address to respond to.
    pub address: Address,
    /// The client that sent the request.
    pub client: ClientId,
    /// The number of the request.
    pub id: RequestId,
}

/// A linearizable read in progress (ReadIndex, thesis §6.4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PendingRead {
    /// The client that sent the read.
    pub waiter: Waiter,
    /// The query.
    pub query: Query,
    /// The read waits until the store has applied this entry.
    pub read_index: LogIndex,
    /// The read waits until a majority has responded to this round.
    pub round: u64,
}

/// A Raft server. See the module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Raft {
    pub(crate) id: NodeId,
    pub(crate) config: Config,
    pub(crate) current_term: Term,
    pub(crate) voted_for: Option<NodeId>,
    pub(crate) log: Log,
    pub(crate) commit_index: LogIndex,
    pub(crate) role: Role,
    pub(crate) store: Store,
    /// The last entry of the longest durable prefix of `log`.
    pub(crate) durable_index: LogIndex,
    /// The last entry of the latest snapshot that was taken or installed, durable or not.
    pub(crate) snapshot_index: LogIndex,
    pub(crate) last_write: WriteId,
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) held: VecDeque<HeldMessage>,
    /// The progress of the followers in an earlier leadership, if such a bug is planted.
    #[cfg(feature = "mutants")]
    pub(crate) remembered_progress: BTreeMap<NodeId, Progress>,
    /// A snapshot that is written after the log prefix is removed, if that bug is planted.
    #[cfg(feature = "mutants")]
    pub(crate) late_snapshot: Option<Snapshot>,
    /// The clients that waited for entries of an earlier leadership, if that bug is planted.
    #[cfg(feature = "mutants")]
    pub(crate) remembered_writes: BTreeMap<LogIndex, Waiter>,
}

impl Raft {
    /// Starts or restarts a server from its durable state.
    pub fn recover(id: NodeId, config: Config, durable: Durable) -> Self {
        let wiped = crate::mutant::planted!(config, RejoinsWithWipedDisk);
        let durable = if wiped { Durable::default() } else { durable };
        let log = Log::after(durable.base(), durable.log);
        let forgets = crate::mutant::planted!(config, RestartForgetsSnapshot);
        let snapshot = durable.snapshot.filter(|_| !forgets);
        let store = snapshot.map(|snapshot| snapshot.store);
        let store = store.unwrap_or_default();
        Self {
            id,
            config,
            current_term: durable.hard_state.current_term,
            voted_for: durable.hard_state.voted_for,
            durable_index: log.last_index(),
            snapshot_index: log.base().index,
            // Entries that a snapshot covers were committed when it was taken.
            commit_index: log.base().index,
            log,
            role: Role::follower(None),
            store,
            last_write: WriteId::default(),
            pending: VecDeque::new(),
            held: VecDeque::new(),
            #[cfg(feature = "mutants")]
            remembered_progress: BTreeMap::new(),
            #[cfg(feature = "mutants")]
            late_snapshot: None,
            #[cfg(feature = "mutants")]
            remembered_writes: BTreeMap::new(),
        }
    }

    /// Handles one event and returns its effects.
    pub fn step(&mut self, event: Event) -> Effects {
        let mut buffer = StepBuffer::default();
        match event {
            Event::Receive { from, message } => self.receive(from, message, &mut buffer),
            Event::ElectionTimeout => self.election_timeout(&mut buffer),
            Event::HeartbeatTimeout => self.heartbeat_timeout(&mut buffer),
            Event::QuorumTimeout => self.quorum_timeout(&mut buffer),
            Event::Requests(requests) => self.handle_client_requests(requests, false, &mut buffer),
            // The models have no slow disk that calls for backpressure. Executed by the test
            // `bounds::leader_under_backpressure_refuses_commands_and_serves_reads`.
            Event::RequestsUnderBackpressure(requests) => {
                self.handle_client_requests(requests, true, &mut buffer);
            }
            Event::Persisted(write) => self.persisted(write, &mut buffer),
            Event::Compact => self.compact(&mut buffer),
            Event::TransferLeadership(target) => self.transfer_leadership(target, &mut buffer),
        }
        self.advance_transfer(&mut buffer);
        self.take_effects(buffer)
    }

    /// This server's id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The latest term this server has seen (Figure 2).
    pub fn current_term(&self) -> Term {
        self.current_term
    }

    /// The candidate that received this server's vote in the current term (Figure 2).
    pub fn voted_for(&self) -> Option<NodeId> {
        self.voted_for
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The highest entry known to be committed (Figure 2). All entries up to it are applied.
    pub fn commit_index(&self) -> LogIndex {
        self.commit_index
    }

    /// The last entry of the log's durable prefix.
    pub fn durable_index(&self) -> LogIndex {
        self.durable_index
    }

    /// The last entry of the latest snapshot, durable or still being written.
    pub fn snapshot_index(&self) -> LogIndex {
        self.snapshot_index
    }

    /// The current role.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The replicated state machine.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The number of messages that wait for a write to become durable.
    // For drivers and tests; executed by the test
    // `durability::messages_held_for_a_stalled_disk_stay_few`.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether a write is in progress.
    // For drivers and tests; executed by the test
    // `durability::messages_that_acknowledge_no_entry_wait_for_none`.
    pub fn is_writing(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Dispatches a received message. Drops messages of servers outside the configuration and
    /// messages that no correct server sends.
    fn receive(&mut self, from: Address, message: Message, buffer: &mut StepBuffer) {
        match (from, message) {
            (Address::Node(from), message) if from != self.id => {
                if !self.config.voters.contains(&from) || self.is_impossible(&message) {
                    return;
                }
                // No scope has as many terms. Executed by the test
                // `step::garbage::server_far_behind_catches_up_with_the_term`.
                if message.sender_term() > self.current_term.farthest() {
                    self.approach_term(&message, buffer);
                    return;
                }
                match message {
                    Message::PreVoteRequest(request) => {
                        self.handle_pre_vote_request(from, &request, buffer);
                    }
                    Message::PreVoteResponse(response) => {
                        self.handle_pre_vote_response(from, &response, buffer);
                    }
                    Message::RequestVoteRequest(request) => {
                        self.handle_request_vote_request(from, &request, buffer);
                    }
                    Message::RequestVoteResponse(response) => {
                        self.handle_request_vote_response(from, &response, buffer);
                    }
                    Message::AppendEntriesRequest(request) => {
                        self.handle_append_entries_request(from, request, buffer);
                    }
                    Message::AppendEntriesResponse(response) => {
                        self.handle_append_entries_response(from, &response, buffer);
                    }
                    Message::InstallSnapshotRequest(request) => {
                        self.handle_install_snapshot_request(from, request, buffer);
                    }
                    Message::InstallSnapshotResponse(response) => {
                        self.handle_install_snapshot_response(from, &response, buffer);
                    }
                    Message::TimeoutNowRequest(request) => {
                        #[cfg(feature = "mutants")]
                        if self.obey_planted_transfer(from, &request, buffer) {
                            return;
                        }
                        self.handle_timeout_now_request(&request, buffer);
                    }
                    // Servers send no client messages to each other, and `admission` in the driver
                    // decides which senders' messages arrive here. A misrouted message, executed by
                    // the test `step::ignored::misrouted_messages_are_dropped`.
                    Message::ClientRequest(_)
                    | Message::ClientResponse(_)
                    | Message::Identity(_) => {}
                }
            }
            (Address::Proxy(_) | Address::Client(_), Message::ClientRequest(request)) => {
                self.handle_client_requests(vec![(from, request)], false, buffer);
            }
            // No correct sender addresses these here; a forged or misrouted message has no effect.
            // Executed by the test `step::ignored::misrouted_messages_are_dropped`.
            _ => {}
        }
    }

    /// A message with a newer term turns any server into a follower (Figure 2, rules for all
    /// servers).
    fn observe_term(&mut self, term: Term, buffer: &mut StepBuffer) {
        if term > self.current_term {
            self.become_follower(term, None, buffer);
        }
    }

    /// Raises the term toward that of a message whose term is too far ahead, and drops the message.
    /// The sender retransmits, so a server that was away for that long still catches up.
    // Executed by the tests `step::garbage::server_far_behind_catches_up_with_the_term` and
    // `step::ignored::election_far_ahead_is_ignored`.
    fn approach_term(&mut self, message: &Message, buffer: &mut StepBuffer) {
        match message {
            // Executed by the test `step::ignored::election_far_ahead_is_ignored`.
            Message::PreVoteRequest(_) => {}
            // Executed by the test `step::ignored::election_far_ahead_is_ignored`.
            Message::RequestVoteRequest(_) if self.sticks_to_leader() => {}
            _ => self.become_follower(self.current_term.farthest(), None, buffer),
        }
    }

    /// Becomes a follower, in a new term if `term` is newer. A leader that steps down responds
    /// `Interrupted` to its pending requests.
    fn become_follower(&mut self, term: Term, leader: Option<NodeId>, buffer: &mut StepBuffer) {
        if term > self.current_term {
            self.current_term = term;
            if !crate::mutant::planted!(self.config, VoteKeptAcrossTerms) {
                self.voted_for = None;
            }
            if !crate::mutant::planted!(self.config, NewerTermNotPersisted) {
                buffer.hard_state = true;
            }
            if crate::mutant::planted!(self.config, StaysLeaderInNewTerm)
                && matches!(self.role, Role::Leader(_))
            {
                return;
            }
        } else if crate::mutant::planted!(self.config, VoteForgottenInSameTerm) {
            self.voted_for = None;
        }
        #[cfg(feature = "mutants")]
        self.answer_requests_of_lost_leadership(buffer);
        if let Role::Leader(old) = &mut self.role {
            #[cfg(feature = "mutants")]
            if crate::mutant::planted!(self.config, WaitersOutliveTheLead) {
                self.remembered_writes = core::mem::take(&mut old.writes);
            }
            // Respond now: entries of other leaders may soon occupy these log positions.
            let waiting: Vec<_> = core::mem::take(&mut old.writes)
                .into_values()
                .chain(old.reads.drain(..).map(|read| read.waiter))
                .collect();
            #[cfg(feature = "mutants")]
            if crate::mutant::planted!(self.config, MatchIndexSurvivesReElection)
                || crate::mutant::planted!(self.config, NextIndexSurvivesReElection)
            {
                self.remembered_progress = core::mem::take(&mut old.followers);
            }
            let is_reported = !crate::mutant::planted!(self.config, LostLeadershipNotReported);
            for waiter in waiting.into_iter().filter(|_| is_reported) {
                buffer.respond(waiter, ResponseBody::Interrupted { hint: leader });
            }
        }
        // A former leader or candidate arms its election timer; the timer of a follower already
        // runs.
        if !matches!(self.role, Role::Follower { .. }) {
            buffer.arm(Timer::Election);
        }
        self.role = Role::follower(leader);
    }

    /// Whether this server is one of its own voters. Only then does it campaign and count itself
    /// (etcd: `promotable`).
    fn is_voter(&self) -> bool {
        self.config.voters.contains(&self.id)
    }

    fn others(&self) -> impl Iterator<Item = NodeId> + use<'_> {
        self.config
            .voters
            .iter()
            .copied()
            .filter(|id| *id != self.id)
    }
}

/// The intermediate results of one step. The messages that may leave are known only after the step,
/// when it is known whether the step wrote anything.
#[derive(Default)]
struct StepBuffer {
    hard_state: bool,
    truncate_from: Option<LogIndex>,
    snapshot: Option<Snapshot>,
    append_from: Option<LogIndex>,
    sends: Vec<(Address, Message, Release)>,
    timers: Vec<Timer>,
}

/// The condition under which a message may leave.
enum Release {
    /// At once.
    Now,
    /// Once the term and the vote are durable.
    AfterTerm,
    /// Once the term, the vote and the log up to this entry are durable.
    AfterEntries(LogIndex),
}

impl StepBuffer {
    fn arm(&mut self, timer: Timer) {
        if !self.timers.contains(&timer) {
            self.timers.push(timer);
        }
    }

    fn send(&mut self, to: NodeId, message: Message) {
        self.sends.push((Address::Node(to), message, Release::Now));
    }

    fn send_after_term(&mut self, to: NodeId, message: Message) {
        self.sends
            .push((Address::Node(to), message, Release::AfterTerm));
    }

    fn send_after_entries(&mut self, to: NodeId, message: Message, last: LogIndex) {
        self.sends
            .push((Address::Node(to), message, Release::AfterEntries(last)));
    }

    fn respond(&mut self, to: Waiter, body: ResponseBody) {
        let response = Message::ClientResponse(ClientResponse {
            client: to.client,
            id: to.id,
            body,
        });
        self.sends.push((to.address, response, Release::Now));
    }
}
