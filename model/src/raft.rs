//! One Raft server as a pure step function.
//!
//! [`Raft::step`] takes one [`Event`] (a message, a timer, a write that became durable) and returns
//! the [`Effects`] the driver must carry out. Nothing here reads a clock, a socket, a disk or a
//! random number: the driver does, and so does the model checker, with this very code.
//!
//! # The contract of effects
//! * [`Effects::write`] is to be written to stable storage, after all writes before it. When it is
//!   durable the driver steps [`Event::Persisted`]; it may report several at once by the last.
//! * [`Effects::sends`] are free to leave at once, before, after or while the write happens. What
//!   must not leave before the write is durable is not in there: the server itself holds it back
//!   until `Persisted` arrives, and no longer than its content requires. Responses and requests for
//!   votes wait for the write of the term and the vote that they speak of. Acknowledgements wait for
//!   the entries or the snapshot too; a heartbeat is answered with the index that is durable now.
//!   Nothing else waits: neither a leader's AppendEntries (thesis §10.2.1: its own disk works in
//!   parallel) nor the answers to clients, which follow from commitment and so from what a majority
//!   holds.
//! * [`Effects::timers`] says which timers to arm anew; the driver draws the durations. A server that
//!   just started has its election timer armed, and its heartbeat timer repeats all the time.
//!
//! A crash loses the whole value. [`Raft::recover`] makes the next one from what was durable.
//!
//! # What is where
//! `election` has terms and votes (§5.1, §5.2, §5.4.1), `quorum` what keeps elections rare (thesis
//! §4.2.3, §6.2, §9.6), `replication` the log and the commit rule (§5.3, §5.4.2), `requests` what
//! clients ask (§8, thesis §6.3, §6.4), `snapshots` how the log stays short (§7), `durability` the
//! writes and what waits for them, `impossible` the messages that no correct server sends.
//!
//! # What is left out
//! Leader leases, leadership transfer and membership changes.

mod durability;
mod election;
mod impossible;
mod quorum;
mod replication;
mod requests;
mod snapshots;

pub use durability::{Durable, HardState, Write};
pub use snapshots::Snapshot;

use crate::{
    Address, AppendEntriesRequest, ClientId, ClientRequest, ClientResponse, Config, Envelope, Log,
    LogIndex, Message, NodeId, RequestId, Store, Term, WriteId,
    message::{RequestVoteResponse, ResponseBody},
    store::Query,
};
use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec,
    vec::Vec,
};
use durability::{Held, Pending};
use serde::{Deserialize, Serialize};

/// Something that happens to a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// A message arrived. It may be late, repeated or out of order.
    Receive {
        /// Who sent it.
        from: Address,
        /// What it says.
        message: Message,
    },
    /// The election timer ran out.
    ElectionTimeout,
    /// The heartbeat timer ran out.
    HeartbeatTimeout,
    /// The quorum timer ran out.
    QuorumTimeout,
    /// Requests of clients that arrived together. They become one write and one round of messages.
    Requests(Vec<(Address, ClientRequest)>),
    /// This write, and every one before it, is durable.
    Persisted(WriteId),
    /// The driver finds that the log has grown long enough for a snapshot.
    Compact,
}

/// What the driver must do after a step. See the module's contract.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// What to make durable, after all earlier writes.
    pub write: Option<Write>,
    /// What may leave now.
    pub sends: Vec<Envelope>,
    /// The timers to arm anew.
    pub timers: Vec<Timer>,
}

/// The timers a server has. The heartbeat timer runs beside the election timer, and does nothing
/// on a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// Fires after a randomized time without a leader (§5.2). A leader ignores it.
    Election,
    /// Fires regularly: on leaders to show that they live, on candidates to repeat requests that
    /// were not answered (§5.1). A follower ignores it.
    Heartbeat,
    /// Fires after the least time an election timer may take: on a leader to see whether a majority
    /// answered meanwhile, on a follower to note that its leader has been silent so long.
    Quorum,
}

/// What a server is, with what only that role has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Follows the leader of its term, if it knows one.
    Follower {
        /// The leader of the current term, once heard of.
        leader: Option<NodeId>,
        /// Whether that leader was heard from since the quorum timer was armed; always false
        /// without [`Config::check_quorum`].
        heard: bool,
    },
    /// Asks whether it could win an election (thesis §9.6). It has not left its term yet.
    PreCandidate {
        /// Who would vote for it, itself included.
        votes: BTreeSet<NodeId>,
    },
    /// Asks for votes.
    Candidate(Candidate),
    /// Leads.
    Leader(Leader),
}

impl Role {
    fn follower(leader: Option<NodeId>) -> Self {
        let heard = false;
        Self::Follower { leader, heard }
    }
}

/// What only a candidate has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// Who granted its vote; the candidate itself once its vote is durable.
    pub votes: BTreeSet<NodeId>,
    /// The write that makes the candidate's own vote durable.
    pub ballot: WriteId,
    /// Votes counted twice, if that bug is planted.
    #[cfg(feature = "mutants")]
    pub repeated_votes: usize,
}

/// What only a leader has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Leader {
    /// How far each other server is.
    pub followers: BTreeMap<NodeId, Progress>,
    /// How many bytes the entries take that are not committed ([`crate::Payload::size`]).
    pub uncommitted_bytes: usize,
    /// The index of this leader's no-op, its first entry.
    pub first_index: LogIndex,
    /// Who waits for which entry to be applied.
    pub writes: BTreeMap<LogIndex, Waiter>,
    /// Who waits for which read round.
    pub reads: Vec<PendingRead>,
    /// The last read round begun.
    pub read_round: u64,
    /// Who answered since the quorum timer was armed; empty without [`Config::check_quorum`].
    pub heard: BTreeSet<NodeId>,
}

/// How far a follower is, as its leader knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Progress {
    /// The next entry to send (Figure 2).
    pub next_index: LogIndex,
    /// The last entry known to be durable there (Figure 2).
    pub match_index: LogIndex,
    /// The last read round it answered.
    pub read_round: u64,
    /// How entries are sent to it.
    pub flow: Flow,
    /// How many entries may be on their way to it.
    pub window: usize,
    /// How many bytes the entries in the pipeline take; 0 while it is probed.
    pub bytes_in_flight: usize,
    /// How many heartbeats are to pass before it may be sent a snapshot again.
    pub snapshot_pause: u32,
}

/// How entries are sent to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Flow {
    /// Where the logs agree is not known, or something got lost. `next_index` stays until the
    /// follower answers; what is sent from there is sent again with each heartbeat.
    Probe,
    /// One message follows another without waiting for answers: `next_index` is past what was sent.
    Pipeline,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Waiter {
    /// Where the answer goes.
    pub address: Address,
    /// The client that asked.
    pub client: ClientId,
    /// Which of its requests.
    pub id: RequestId,
}

/// A linearizable read under way (thesis §6.4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PendingRead {
    /// Who asked.
    pub waiter: Waiter,
    /// What it asked.
    pub query: Query,
    /// The store must have applied this entry first.
    pub read_index: LogIndex,
    /// A majority must have answered this round first.
    pub round: u64,
}

/// A server. See the module.
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
    /// The longest prefix of `log` that is durable.
    pub(crate) durable_index: LogIndex,
    /// How far the last snapshot reaches that was taken or installed, durable or not.
    pub(crate) snapshot_index: LogIndex,
    pub(crate) last_write: WriteId,
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) held: VecDeque<Held>,
    /// The `match_index` of an earlier leadership, if that bug is planted.
    #[cfg(feature = "mutants")]
    pub(crate) remembered_matches: BTreeMap<NodeId, LogIndex>,
    /// A snapshot that follows its place in the log, if that bug is planted.
    #[cfg(feature = "mutants")]
    pub(crate) late_snapshot: Option<Snapshot>,
    /// Who waited for which entry of an earlier leadership, if that bug is planted.
    #[cfg(feature = "mutants")]
    pub(crate) remembered_writes: BTreeMap<LogIndex, Waiter>,
}

impl Raft {
    /// A server that starts, or starts again, with what was durable.
    pub fn recover(id: NodeId, config: Config, durable: Durable) -> Self {
        let wiped = crate::mutant::planted!(config, RejoinsWithWipedDisk);
        let durable = if wiped { Durable::default() } else { durable };
        let log = Log::after(durable.base(), durable.log);
        let store = durable.snapshot.map(|snapshot| snapshot.store);
        let store = store.unwrap_or_default();
        Self {
            id,
            config,
            current_term: durable.hard_state.current_term,
            voted_for: durable.hard_state.voted_for,
            durable_index: log.last_index(),
            snapshot_index: log.base().index,
            // What a snapshot covers was committed when it was taken.
            commit_index: log.base().index,
            log,
            role: Role::follower(None),
            store,
            last_write: WriteId::default(),
            pending: VecDeque::new(),
            held: VecDeque::new(),
            #[cfg(feature = "mutants")]
            remembered_matches: BTreeMap::new(),
            #[cfg(feature = "mutants")]
            late_snapshot: None,
            #[cfg(feature = "mutants")]
            remembered_writes: BTreeMap::new(),
        }
    }

    /// Takes one event and says what to do about it.
    pub fn step(&mut self, event: Event) -> Effects {
        let mut turn = Turn::default();
        match event {
            Event::Receive { from, message } => self.receive(from, message, &mut turn),
            Event::ElectionTimeout => self.election_timeout(&mut turn),
            Event::HeartbeatTimeout => self.heartbeat_timeout(&mut turn),
            Event::QuorumTimeout => self.quorum_timeout(&mut turn),
            Event::Requests(requests) => self.handle_client_requests(requests, &mut turn),
            Event::Persisted(write) => self.persisted(write, &mut turn),
            Event::Compact => self.compact(&mut turn),
        }
        self.finish(turn)
    }

    /// This server's name.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The latest term this server has seen (Figure 2).
    pub fn current_term(&self) -> Term {
        self.current_term
    }

    /// Who got this server's vote in the current term (Figure 2).
    pub fn voted_for(&self) -> Option<NodeId> {
        self.voted_for
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The highest entry known to be committed (Figure 2). All up to it are applied.
    pub fn commit_index(&self) -> LogIndex {
        self.commit_index
    }

    /// The last entry of the log's durable prefix.
    pub fn durable_index(&self) -> LogIndex {
        self.durable_index
    }

    /// How far the last snapshot reaches, durable or on its way to the disk.
    pub fn snapshot_index(&self) -> LogIndex {
        self.snapshot_index
    }

    /// What the server is.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// The replicated state machine.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How many messages wait for a write to be durable.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether a write is on its way to the disk.
    pub fn is_writing(&self) -> bool {
        !self.pending.is_empty()
    }

    fn receive(&mut self, from: Address, message: Message, turn: &mut Turn) {
        match (from, message) {
            (Address::Node(from), message) if from != self.id => {
                if !self.config.voters.contains(&from) || self.is_impossible(&message) {
                    return;
                }
                if message.sender_term() > self.current_term.farthest() {
                    self.approach_term(&message, turn);
                    return;
                }
                match message {
                    Message::PreVoteRequest(request) => {
                        self.handle_pre_vote_request(from, &request, turn);
                    }
                    Message::PreVoteResponse(response) => {
                        self.handle_pre_vote_response(from, &response, turn);
                    }
                    Message::RequestVoteRequest(request) => {
                        self.handle_request_vote_request(from, &request, turn);
                    }
                    Message::RequestVoteResponse(response) => {
                        self.handle_request_vote_response(from, &response, turn);
                    }
                    Message::AppendEntriesRequest(request) => {
                        self.handle_append_entries_request(from, request, turn);
                    }
                    Message::AppendEntriesResponse(response) => {
                        self.handle_append_entries_response(from, &response, turn);
                    }
                    Message::InstallSnapshotRequest(request) => {
                        self.handle_install_snapshot_request(from, request, turn);
                    }
                    Message::InstallSnapshotResponse(response) => {
                        self.handle_install_snapshot_response(from, &response, turn);
                    }
                    // Servers ask nothing of one another as clients, and the driver decides with
                    // `admission` whose messages arrive here.
                    Message::ClientRequest(_)
                    | Message::ClientResponse(_)
                    | Message::Identity(_) => {}
                }
            }
            (Address::Proxy(_) | Address::Client(_), Message::ClientRequest(request)) => {
                self.handle_client_requests(vec![(from, request)], turn);
            }
            // Nobody sends these here; a forged or misrouted message is nothing to act on.
            _ => {}
        }
    }

    /// A term above our own makes a follower of anyone (Figure 2, rules for all servers).
    fn observe_term(&mut self, term: Term, turn: &mut Turn) {
        if term > self.current_term {
            self.become_follower(term, None, turn);
        }
    }

    /// Raises the term toward that of a message which is too far ahead, and drops the message. The
    /// sender repeats it, so a server that was away for so long still catches up.
    fn approach_term(&mut self, message: &Message, turn: &mut Turn) {
        let is_ignored = match message {
            Message::PreVoteRequest(_) => true,
            Message::RequestVoteRequest(_) => self.sticks_to_leader(),
            _ => false,
        };
        if !is_ignored {
            self.become_follower(self.current_term.farthest(), None, turn);
        }
    }

    fn become_follower(&mut self, term: Term, leader: Option<NodeId>, turn: &mut Turn) {
        if term > self.current_term {
            self.current_term = term;
            if !crate::mutant::planted!(self.config, VoteKeptAcrossTerms) {
                self.voted_for = None;
            }
            turn.hard_state = true;
            if crate::mutant::planted!(self.config, StaysLeaderInNewTerm)
                && matches!(self.role, Role::Leader(_))
            {
                return;
            }
        }
        if let Role::Leader(old) = &mut self.role {
            #[cfg(feature = "mutants")]
            if crate::mutant::planted!(self.config, WaitersOutliveTheLead) {
                self.remembered_writes = core::mem::take(&mut old.writes);
            }
            // No later: at their places there may soon be entries of other leaders.
            let waiting: Vec<_> = core::mem::take(&mut old.writes)
                .into_values()
                .chain(old.reads.drain(..).map(|read| read.waiter))
                .collect();
            #[cfg(feature = "mutants")]
            if crate::mutant::planted!(self.config, MatchIndexSurvivesReElection) {
                self.remembered_matches = old
                    .followers
                    .iter()
                    .map(|(id, progress)| (*id, progress.match_index))
                    .collect();
            }
            let is_told = !crate::mutant::planted!(self.config, LostLeadNotTold);
            for waiter in waiting.into_iter().filter(|_| is_told) {
                turn.respond(waiter, ResponseBody::Interrupted { hint: leader });
            }
        }
        // Whoever led or ran must now listen for a leader; a follower's timer already runs.
        if !matches!(self.role, Role::Follower { .. }) {
            turn.arm(Timer::Election);
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

/// What one step gathers before its effects are settled: which sends are free is known only when
/// it is known whether the step wrote anything.
#[derive(Default)]
struct Turn {
    hard_state: bool,
    truncate_from: Option<LogIndex>,
    snapshot: Option<Snapshot>,
    append_from: Option<LogIndex>,
    sends: Vec<(Address, Message, Release)>,
    timers: Vec<Timer>,
}

/// When a message may leave.
enum Release {
    /// At once.
    Now,
    /// When the term and the vote are durable.
    AfterTerm,
    /// When the term, the vote and the log up to this entry are durable.
    AfterEntries(LogIndex),
}

impl Turn {
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
