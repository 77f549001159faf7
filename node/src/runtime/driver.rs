//! The driver: owns the Raft core, feeds it events, and executes its effects, one turn at a time.
//!
//! [`Driver::step`] contains the only call of [`Raft::step`], and [`Driver::persisted`] is the only
//! place that reports a write as durable to the core. Events that arrive during a turn are batched
//! into the next one: client requests become one event, messages are sent together, and one sync
//! makes all writes durable.
//!
//! The [event loop](crate::runtime::event_loop) decides which thread runs a turn. No turn waits for the
//! log on disk. Two writes to other files are part of a turn: `--trace` appends each step to the trace
//! before its effects are executed, and a violated invariant writes a crash report.

mod status_report;
mod stopping;

use crate::{
    error::{Failure, TransferError},
    identities::{self, Identities, Origin},
    observability::events::{self, Observer},
    observability::metrics::Metrics,
    observability::status_query::StatusQuery,
    observability::trace::TraceWriter,
    runtime::fault_switch::FaultSwitch,
    runtime::handover::{Handover, TransferReply},
    runtime::local::{Local, Reply},
    runtime::poller::Wakeup,
    runtime::process_probe::ProcessProbe,
    runtime::snapshot_policy::SnapshotPolicy,
    runtime::timers::Timers,
    storage::disk::write_durably,
    storage::writer::Writer,
};
use model::{
    Address, AppendEntriesResponse, ClientRequest, Effects, Envelope, Event, Message, NodeId, Raft,
    Role, WriteId,
    admission::{Acknowledged, IdentityMessage, LogAt},
    client::{Invocation, NotDone, Outcome},
    invariants::{self, Watermarks},
    message::RequestBody,
};
use rand::{RngExt as _, rngs::StdRng};
use status::Status;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::fd::BorrowedFd,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use stopping::Stopping;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};
use transport::{Cause, Clock, Endpoint, Environment, Received, Socket, canonical};

/// A server that was silent for this long gets no snapshots.
const SILENT: Duration = Duration::from_secs(5);
/// The maximum number of commands per turn.
const COMMANDS: usize = 1024;

/// Commands from the handle to the driver.
pub(crate) enum DriverCommand {
    /// Execute an operation.
    Execute {
        invocation: Invocation,
        reply: Reply,
    },
    /// Return the status of the server.
    Status(StatusQuery, oneshot::Sender<Status>),
    /// Use the endpoint.
    Endpoint(Box<dyn FnOnce(&Endpoint) + Send>),
    /// Transfer the leadership to this server.
    TransferLeadership {
        target: NodeId,
        reply: TransferReply,
    },
    /// Finish operations in progress, reject new ones, and end.
    Stop,
    /// Lose the server's state before its next step, which the invariants must detect.
    #[cfg(test)]
    LoseMemory,
}

/// The liveness data that the driver publishes while it runs.
pub(crate) struct Liveness {
    clock: Arc<dyn Clock>,
    started: Instant,
    /// When the last turn ended, in milliseconds since the start.
    turned: AtomicU64,
    /// When the last message of each server arrived, in the same unit; 0 for never.
    last_message: BTreeMap<NodeId, AtomicU64>,
}

impl Liveness {
    pub(crate) fn new(others: impl Iterator<Item = NodeId>, clock: Arc<dyn Clock>) -> Self {
        Self {
            started: clock.now(),
            clock,
            turned: AtomicU64::new(0),
            last_message: others.map(|id| (id, AtomicU64::new(0))).collect(),
        }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.started)
    }

    /// The time since the last turn. The heartbeat timer causes turns even when nothing else
    /// happens.
    pub(crate) fn since_turn(&self) -> Duration {
        let turned = Duration::from_millis(self.turned.load(Relaxed));
        self.uptime().saturating_sub(turned)
    }

    /// The time since the last message of a server, or since the start if there was none.
    pub(crate) fn since_message(&self, id: NodeId) -> Duration {
        let last = self
            .last_message
            .get(&id)
            .map_or(0, |last| last.load(Relaxed));
        self.uptime().saturating_sub(Duration::from_millis(last))
    }

    /// The time since the last message of a server, if there was one.
    fn silence(&self, id: NodeId) -> Option<Duration> {
        let last = self.last_message.get(&id)?.load(Relaxed);
        (last > 0).then(|| self.since_message(id))
    }

    fn millis(&self, now: Instant) -> u64 {
        let millis = now.saturating_duration_since(self.started).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX)
    }
}

/// The parts that the start of a server hands to the driver.
pub(crate) struct Parts {
    pub(crate) environment: Environment,
    /// The generator of this run.
    pub(crate) random: StdRng,
    pub(crate) raft: Raft,
    pub(crate) endpoint: Endpoint,
    pub(crate) socket: Socket,
    pub(crate) writer: Arc<Writer>,
    pub(crate) commands: mpsc::Receiver<DriverCommand>,
    pub(crate) local: Local,
    pub(crate) timers: Timers,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) trace: Option<TraceWriter>,
    /// The path of the crash report, written when an invariant is violated.
    pub(crate) crash_report_path: PathBuf,
    /// The random id of this run.
    pub(crate) boot: u64,
    pub(crate) identities: Identities,
    pub(crate) fault_switch: Arc<FaultSwitch>,
    pub(crate) snapshot_policy: SnapshotPolicy,
    /// See [`crate::Config::slow_disk`].
    pub(crate) slow_disk: Duration,
}

/// The driver; see the module documentation.
pub(crate) struct Driver {
    environment: Environment,
    random: StdRng,
    raft: Raft,
    endpoint: Endpoint,
    socket: Socket,
    writer: Arc<Writer>,
    commands: mpsc::Receiver<DriverCommand>,
    local: Local,
    timers: Timers,
    leader_probe: ProcessProbe,
    /// Probes the target of a leadership transfer.
    target_probe: ProcessProbe,
    handover: Handover,
    /// The progress of the stop, once it is requested.
    stopping: Option<Stopping>,
    observer: Observer,
    metrics: Arc<Metrics>,
    liveness: Arc<Liveness>,
    trace: Option<TraceWriter>,
    crash_report_path: PathBuf,
    buffers: TurnBuffers,
    boot: u64,
    identities: Identities,
    fault_switch: Arc<FaultSwitch>,
    snapshot_policy: SnapshotPolicy,
    armed: ArmedWakeups,
    /// Whether the log already reported that the disk is behind.
    disk_behind: bool,
    slow_disk: Duration,
    /// When the disk operation that the log reported as slow began.
    slow_since: Option<Instant>,
    /// The result, once the driver has ended.
    outcome: Option<Result<(), Failure>>,
    #[cfg(test)]
    loses_memory: bool,
}

/// The wake-ups that are armed in epoll.
#[derive(Default)]
pub(crate) struct ArmedWakeups {
    /// When the timer fires or fired.
    clock: Option<Instant>,
    /// Whether epoll reports that the socket is writable.
    to_write: bool,
}

/// The wake-ups to arm before the event loop waits.
#[derive(Default)]
pub(crate) struct WakeupsToArm {
    /// Whether to listen to the socket anew, and if so, whether a writable socket is an event.
    pub(crate) listen: Option<bool>,
    /// The time until the timer fires, if it is set anew.
    pub(crate) timer: Option<Duration>,
}

/// The scope of a turn.
#[derive(Clone, Copy)]
pub(crate) enum TurnScope {
    /// All events.
    Everything(Wakeup),
    /// Only the report of the disk. Timers are excluded, because a datagram of the leader may be
    /// waiting unread.
    Reports,
}

/// The buffers of a turn.
#[derive(Default)]
pub(crate) struct TurnBuffers {
    messages: Vec<Received>,
    /// Whether the peers were requested to identify themselves.
    greeted: bool,
    commands: Vec<DriverCommand>,
    requests: Vec<(Address, ClientRequest)>,
    sends: Vec<Envelope>,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            environment,
            random,
            raft,
            endpoint,
            socket,
            writer,
            commands,
            local,
            timers,
            metrics,
            liveness,
            trace,
            crash_report_path,
            boot,
            identities,
            fault_switch,
            snapshot_policy,
            slow_disk,
        } = parts;
        Self {
            observer: Observer::new(&raft, Arc::clone(&metrics), Arc::clone(&environment.clock)),
            environment,
            random,
            leader_probe: ProcessProbe::default(),
            target_probe: ProcessProbe::default(),
            handover: Handover::default(),
            stopping: None,
            buffers: TurnBuffers::default(),
            armed: ArmedWakeups::default(),
            disk_behind: false,
            slow_disk,
            slow_since: None,
            outcome: None,
            #[cfg(test)]
            loses_memory: false,
            raft,
            endpoint,
            socket,
            writer,
            commands,
            local,
            timers,
            metrics,
            liveness,
            trace,
            crash_report_path,
            boot,
            identities,
            fault_switch,
            snapshot_policy,
        }
    }

    #[cfg(test)]
    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The writer, which both threads of the event loop use.
    pub(crate) fn writer(&self) -> &Arc<Writer> {
        &self.writer
    }

    /// Runs one turn. Does nothing once the driver has ended.
    pub(crate) fn turn(&mut self, scope: TurnScope) {
        if self.has_ended() {
            return;
        }
        if matches!(scope, TurnScope::Everything(_)) {
            self.gather();
        }
        if !self.fault_switch.pass() {
            self.writer.abandon();
            self.outcome = Some(Ok(()));
            return;
        }
        if let Err(failure) = self.take_up(scope) {
            return self.fail(failure);
        }
        if self.is_ready_to_end(self.now()) {
            self.outcome = Some(Ok(()));
        }
    }

    /// Whether the driver has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.outcome.is_some()
    }

    /// Ends the driver with a failure.
    pub(crate) fn fail(&mut self, failure: Failure) {
        if !matches!(self.outcome, Some(Err(_))) {
            self.outcome = Some(Err(failure));
        }
    }

    /// Closes the disk, unless the server was killed: pending writes are written first. Returns the
    /// result.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let now = self.now();
        self.local.refuse_waiting(now);
        let outcome = self.outcome.take().unwrap_or(Ok(()));
        if self.fault_switch.killed() {
            self.writer.abandon();
            return outcome;
        }
        // A sync may have failed while the driver ended.
        let closed = self.writer.close().map_err(Failure::Disk);
        outcome.and(closed)
    }

    /// Collects the waiting datagrams and commands.
    fn gather(&mut self) {
        self.socket.serve_timers(self.now());
        self.buffers.messages = self.socket.receive();
        while self.buffers.commands.len() < COMMANDS {
            match self.commands.try_recv() {
                Ok(command) => self.buffers.commands.push(command),
                Err(mpsc::error::TryRecvError::Empty) => break,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    // All handles were dropped.
                    if self.stopping.is_none() {
                        self.buffers.commands.push(DriverCommand::Stop);
                    }
                    break;
                }
            }
        }
    }

    fn take_up(&mut self, scope: TurnScope) -> Result<(), Failure> {
        self.metrics.turns.inc();
        let now = self.now();
        if let Some(report) = self.writer.take_report() {
            self.persisted(report.map_err(Failure::Disk)?)?;
        }
        if let Some(actions) = self.identities.take_report(now).map_err(Failure::Disk)? {
            self.carry_out_identities(actions);
        }
        if !std::mem::replace(&mut self.buffers.greeted, true) {
            self.tick_identities(now);
        }
        self.take_messages(now)?;
        self.take_commands(now)?;
        if matches!(scope, TurnScope::Everything(_)) {
            // Timers are processed after messages: if a message of the leader has arrived, the
            // server must not start an election, however late this thread was scheduled.
            self.take_timers(now)?;
        }
        self.note_disk(now);
        self.advance_handover(now)?;
        // Responses to local operations may produce new requests in the same turn.
        while !self.buffers.requests.is_empty() {
            self.take_requests()?;
        }
        let last = self.metrics.snapshot_bytes.get();
        if self.snapshot_policy.is_due(&self.raft, last) && !self.writer.is_behind() {
            self.snapshot_policy.begin(0, &mut self.random);
            self.step(Event::Compact)?;
        }
        if !self.buffers.sends.is_empty() {
            self.endpoint.send(std::mem::take(&mut self.buffers.sends));
        }
        self.publish(now);
        Ok(())
    }

    /// The time of the next turn at the latest.
    pub(crate) fn deadline(&self) -> Instant {
        let timers = self.timers.next();
        self.socket.deadline().map_or(timers, |at| at.min(timers))
    }

    /// The descriptor of the socket, if it is a socket of the system.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.socket.descriptor()
    }

    /// The wake-ups that the event loop must arm before it waits.
    pub(crate) fn prepare_to_wait(&mut self, scope: TurnScope) -> WakeupsToArm {
        let mut wakeups = WakeupsToArm::default();
        let to_write = self.socket.is_congested();
        let is_disarmed = matches!(scope, TurnScope::Everything(Wakeup::Socket));
        if is_disarmed || to_write != self.armed.to_write {
            self.armed.to_write = to_write;
            wakeups.listen = Some(to_write);
        }
        let (due, now) = (self.deadline(), self.now());
        // Timers are postponed far more often than they fire. The timer is therefore never moved to
        // a later time, and may fire once too early.
        if self.armed.clock.is_none_or(|at| due < at || at <= now) {
            self.armed.clock = Some(due);
            wakeups.timer = Some(due.saturating_duration_since(now));
        }
        wakeups
    }

    fn now(&self) -> Instant {
        self.environment.clock.now()
    }

    /// The only place that reports a write as durable to the core.
    fn persisted(&mut self, id: WriteId) -> Result<(), Failure> {
        self.step(Event::Persisted(id))
    }

    fn take_messages(&mut self, now: Instant) -> Result<(), Failure> {
        let millis = self.liveness.millis(now);
        let mut messages = std::mem::take(&mut self.buffers.messages);
        for Received { envelope, boot, at } in messages.drain(..) {
            let Envelope { from, to, message } = envelope;
            if to != Address::Node(self.raft.id()) {
                let own = self.raft.id();
                let about = format_args!(
                    "{from} at {at} sent a message for {to} to this server, {own}: {from} has this \
                     address for {to} in its --peer or --endpoints list"
                );
                let counters = self.endpoint.counters();
                counters.drop(Cause::Misdirected, 1, about);
                continue;
            }
            if let Address::Node(id) = from {
                if let Message::Identity(message) = message {
                    self.take_identity(Origin { id, boot, at }, message, now);
                    continue;
                }
                if !self.is_admitted(Origin { id, boot, at }, &message, now) {
                    continue;
                }
                if let Some(last) = self.liveness.last_message.get(&id) {
                    last.store(millis.max(1), Relaxed);
                }
            }
            if self.raft.is_impossible(&message) {
                // The core would drop it too. Dropping it here counts it.
                self.metrics.dropped("impossible", 1);
                continue;
            }
            match message {
                Message::ClientRequest(request) if !matches!(from, Address::Node(_)) => {
                    if let Some(stopping) = &mut self.stopping {
                        stopping.note_request(now);
                    }
                    self.buffers.requests.push((from, request));
                }
                Message::AppendEntriesRequest(request)
                    if !request.entries.is_empty() && self.writer.is_behind() =>
                {
                    // Treated as lost: the leader resends it.
                    self.metrics.dropped("disk-behind", 1);
                }
                Message::InstallSnapshotRequest(_) if self.writer.is_behind() => {
                    self.metrics.dropped("disk-behind", 1);
                }
                message => self.step(Event::Receive { from, message })?,
            }
        }
        // Keeps the allocation for the next turn.
        self.buffers.messages = messages;
        Ok(())
    }

    /// Whether the core may receive this message of a server. If not, the sender is requested to
    /// identify itself.
    fn is_admitted(&mut self, from: Origin, message: &Message, now: Instant) -> bool {
        let Origin { id, boot, .. } = from;
        if !self.identities.is_admitted(id, boot) {
            self.metrics.dropped("not-admitted", 1);
            let silence = self.liveness.silence(id);
            let actions = self.identities.unadmitted(from, silence, now);
            self.carry_out_identities(actions);
            return false;
        }
        if let Message::AppendEntriesResponse(response) = message {
            return !self.is_doubtful(id, response, now);
        }
        true
    }

    /// Whether this response suggests that the follower lost entries that it had acknowledged. If
    /// so, the follower is requested to prove that it still has them.
    fn is_doubtful(&mut self, id: NodeId, response: &AppendEntriesResponse, now: Instant) -> bool {
        let is_doubtful = self.identities.contradicts(id, response);
        if is_doubtful {
            self.metrics.dropped("doubtful", 1);
            let actions = self.identities.doubt(id, now);
            self.carry_out_identities(actions);
        }
        is_doubtful
    }

    fn take_identity(&mut self, from: Origin, message: IdentityMessage, now: Instant) {
        let silence = self.liveness.silence(from.id);
        let is_known = self.is_at_known_address(from);
        let entry = match &message {
            IdentityMessage::Request(request) => request.entry,
            IdentityMessage::Response(_) => None,
        };
        let term = self.raft.current_term();
        let log = entry.map(|index| LogAt::new(self.raft.log(), term, index));
        let actions = self
            .identities
            .receive(from, message, log, is_known, silence, now);
        self.carry_out_identities(actions);
    }

    /// Whether this is the address of the recorded run of a server: the source address of its last
    /// datagram, or its only configured address if none was received since the start. Without keys,
    /// the source address of its last answer with a nonce counts instead.
    fn is_at_known_address(&self, Origin { id, at, .. }: Origin) -> bool {
        let of = Address::Node(id);
        let learned = self.endpoint.learned_address(of);
        let learned = learned.filter(|_| self.endpoint.is_authentic());
        let known = learned.or_else(|| self.identities.answered_at(id));
        let known = known.or_else(|| match self.endpoint.configured_addresses(of)[..] {
            [only] => Some(only),
            _ => None,
        });
        known.is_some_and(|known| canonical(known) == canonical(at))
    }

    fn tick_identities(&mut self, now: Instant) {
        let other_voters = self.endpoint.counters().dropped(Cause::Voters);
        let silence = |id| self.liveness.silence(id);
        let nonce = self.random.random();
        let actions = self.identities.tick(nonce, other_voters, silence, now);
        self.carry_out_identities(actions);
    }

    fn carry_out_identities(&mut self, actions: identities::Actions) {
        for id in actions.admitted {
            let acknowledged = match self.raft.role() {
                Role::Leader(leader) => leader.followers.get(&id),
                _ => None,
            };
            let term = self.raft.current_term();
            let acknowledged = acknowledged.map(|progress| Acknowledged {
                term,
                index: progress.match_index,
                entry: self.raft.log().term_at(progress.match_index),
            });
            self.identities.note_acknowledged(id, acknowledged);
        }
        let known = actions.sends.into_iter();
        // A peer's address may become known later, and the request is repeated then. A nonce must
        // not be sent to an address that any process could have claimed.
        let known = known.filter(|envelope| self.endpoint.has_trusted_route(envelope.to));
        self.buffers.sends.extend(known);
        for (at, envelope) in actions.direct {
            match at {
                Some(at) if self.is_trusted(envelope.to, at) => {
                    self.endpoint.send_to(at, vec![envelope]);
                }
                _ if self.endpoint.has_trusted_route(envelope.to) => {
                    self.buffers.sends.push(envelope);
                }
                _ => {}
            }
        }
        for (id, run, at) in self.identities.take_followed() {
            self.endpoint.follow(Address::Node(id), run, at);
        }
    }

    /// Whether no other process can have claimed this address for the server.
    fn is_trusted(&self, of: Address, at: SocketAddr) -> bool {
        self.endpoint.is_authentic()
            || self
                .endpoint
                .configured_addresses(of)
                .iter()
                .any(|known| canonical(*known) == canonical(at))
    }

    fn take_commands(&mut self, now: Instant) -> Result<(), Failure> {
        let mut commands = std::mem::take(&mut self.buffers.commands);
        for command in commands.drain(..) {
            match command {
                DriverCommand::Execute { reply, .. } if self.stopping.is_some() => {
                    let _ = reply.send(Outcome::NotDone(NotDone::ShuttingDown));
                }
                DriverCommand::Execute { invocation, reply } => {
                    self.local
                        .execute(invocation, reply, now, &mut self.buffers.requests);
                }
                DriverCommand::Status(query, reply) => {
                    let _ = reply.send(self.status(query));
                }
                DriverCommand::Endpoint(action) => action(&self.endpoint),
                #[cfg(test)]
                DriverCommand::LoseMemory => self.loses_memory = true,
                DriverCommand::TransferLeadership { target, reply } => {
                    self.transfer_on_request(target, reply, now)?;
                }
                DriverCommand::Stop => {
                    self.local.refuse_waiting(now);
                    self.stopping.get_or_insert_with(|| Stopping::new(now));
                }
            }
        }
        self.buffers.commands = commands;
        Ok(())
    }

    /// Transfers the leadership for a caller, who waits for the outcome.
    fn transfer_on_request(
        &mut self,
        target: NodeId,
        reply: TransferReply,
        now: Instant,
    ) -> Result<(), Failure> {
        let (reply, other) = match self.handover.join(target, reply) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let leader = events::leader_of(&self.raft);
        let refusal = if let Some(other) = other {
            Err(TransferError::InProgress(other))
        } else if leader != Some(self.raft.id()) {
            Err(TransferError::NotLeader { leader })
        } else if target == self.raft.id() {
            Ok(())
        } else if self.identities.is_suspended() {
            Err(TransferError::Suspended)
        } else if !self.raft.may_transfer_to(target) {
            Err(TransferError::NotVoter(target))
        } else {
            self.transfer_to(target, now)?;
            // A transfer to this target is in progress.
            let _ = self.handover.join(target, reply);
            return Ok(());
        };
        // The caller may have dropped its future.
        let _ = reply.send(refusal);
        Ok(())
    }

    /// Starts the leadership transfer that a client requests. The request is then held, and the core answers
    /// it once the outcome is known.
    fn start_requested_transfer(&mut self, now: Instant) -> Result<(), Failure> {
        let arrived = &self.buffers.requests;
        let target = arrived.iter().find_map(|(_, request)| match request.body {
            RequestBody::TransferLeadership { target } => Some(target),
            _ => None,
        });
        match target {
            Some(target)
                if !self.handover.is_in_progress()
                    && !self.identities.is_suspended()
                    && self.raft.may_transfer_to(target) =>
            {
                self.transfer_to(target, now)
            }
            _ => Ok(()),
        }
    }

    fn transfer_to(&mut self, target: NodeId, now: Instant) -> Result<(), Failure> {
        info!(%target, "transferring the leadership");
        let term = self.raft.current_term();
        // The core aborts a transfer within one election timeout. The election that the target has
        // started by then may need another one.
        let deadline = now + self.timers.election_max() * 2;
        self.handover.start(target, term, deadline);
        self.step(Event::TransferLeadership(target))
    }

    /// Notes the outcome of a transfer, continues the stop of the server, and releases the requests that
    /// waited for the outcome.
    fn advance_handover(&mut self, now: Instant) -> Result<(), Failure> {
        if let Some((target, outcome)) = self.handover.conclude(&self.raft, now) {
            match &outcome {
                Ok(()) => info!(%target, "transferred the leadership"),
                Err(error) => warn!(%error, "the leadership transfer failed"),
            }
            self.metrics.transferred(outcome.is_ok());
            if let Some(stopping) = &mut self.stopping {
                stopping.note_outcome(outcome.is_ok(), now);
            }
        }
        self.hand_over_before_end(now)?;
        // Before the held requests: one of them has just had its transfer.
        self.start_requested_transfer(now)?;
        let mut released = self.handover.release();
        released.append(&mut self.buffers.requests);
        self.buffers.requests = released;
        Ok(())
    }

    fn take_timers(&mut self, now: Instant) -> Result<(), Failure> {
        if self.timers.take_heartbeat(now) {
            self.local.expire(now, &mut self.buffers.requests);
            self.writer.tick();
            self.tick_identities(now);
            if !self.identities.is_suspended() {
                self.step(Event::HeartbeatTimeout)?;
                self.look_for_leader(now)?;
                self.look_for_target()?;
            }
        }
        // A suspended leader receives no messages, so its quorum timeout makes it step down.
        let is_suspended = self.identities.is_suspended();
        let takes_quorum = !is_suspended || matches!(self.raft.role(), Role::Leader(_));
        if self.timers.take_quorum(now) && takes_quorum {
            self.step(Event::QuorumTimeout)?;
        }
        if self.timers.take_election(now) && !is_suspended {
            self.step(Event::ElectionTimeout)?;
        }
        Ok(())
    }

    /// Detects that the leader is silent because its process is gone. Then the server need not wait
    /// for the full election timeout, nor refuse its vote to others for the leader's sake.
    fn look_for_leader(&mut self, now: Instant) -> Result<(), Failure> {
        let leader = events::leader_of(&self.raft).filter(|id| *id != self.raft.id());
        let silent = leader.filter(|id| self.timers.is_silence(self.liveness.since_message(*id)));
        let Some(leader) = silent else {
            self.leader_probe.forget();
            return Ok(());
        };
        let at = self.endpoint.route_to(Address::Node(leader));
        let network = &*self.environment.network;
        if at.is_some_and(|at| self.leader_probe.is_unreachable(network, at))
            && self.timers.hasten_election(now, &mut self.random)
        {
            info!(%leader, "the leader is silent and its port is unreachable");
            self.metrics.leaders_gone.inc();
            self.step(Event::QuorumTimeout)?;
        }
        Ok(())
    }

    /// Detects that the target of a leadership transfer is silent because its process is gone. Then the
    /// transfer need not wait for the election timeout that aborts it.
    fn look_for_target(&mut self) -> Result<(), Failure> {
        let silent = self
            .handover
            .target()
            .filter(|_| matches!(self.raft.role(), Role::Leader(_)))
            .filter(|id| self.timers.is_silence(self.liveness.since_message(*id)));
        let Some(target) = silent else {
            self.target_probe.forget();
            return Ok(());
        };
        let at = self.endpoint.route_to(Address::Node(target));
        let network = &*self.environment.network;
        if at.is_some_and(|at| self.target_probe.is_unreachable(network, at)) {
            info!(%target, "the target of the transfer is silent and its port is unreachable");
            self.step(Event::ElectionTimeout)?;
        }
        Ok(())
    }

    fn take_requests(&mut self) -> Result<(), Failure> {
        let requests = std::mem::take(&mut self.buffers.requests);
        let requests = self.handover.hold(requests);
        if requests.is_empty() {
            return Ok(());
        }
        // The only place that reports backpressure to the core. A false report costs availability,
        // and no safety: the core never relies on the speed of the disk.
        self.step(if self.writer.is_behind() {
            Event::RequestsUnderBackpressure(requests)
        } else {
            Event::Requests(requests)
        })
    }

    /// Logs when the disk hangs or falls behind, and when it has caught up.
    fn note_disk(&mut self, now: Instant) {
        let busy = self.writer.busy_for(now);
        let busy = busy.max(self.identities.disk_busy_for(now));
        self.metrics.disk_busy.set(busy.as_secs());
        let is_slow = busy >= self.slow_disk;
        if is_slow && self.slow_since.is_none() {
            self.slow_since = now.checked_sub(busy);
            warn!(
                seconds = busy.as_secs(),
                "a disk write has been in progress for a long time: check the disk and the kernel's log"
            );
        } else if !is_slow && let Some(since) = self.slow_since.take() {
            let seconds = now.saturating_duration_since(since).as_secs();
            info!(seconds, "the disk responds again");
        }
        let backlog = self.writer.backlog();
        if !self.disk_behind && self.writer.is_behind() {
            self.disk_behind = true;
            warn!(
                backlog,
                "the disk is too slow: as leader, this server refuses writes and still serves reads"
            );
        } else if self.disk_behind && self.writer.has_caught_up() {
            self.disk_behind = false;
            info!(backlog, "the disk has caught up");
        }
    }

    /// The only call of the core.
    fn step(&mut self, event: Event) -> Result<(), Failure> {
        let before = Watermarks::new(&self.raft);
        #[cfg(test)]
        if self.loses_memory {
            let config = self.raft.config().clone();
            self.raft = Raft::recover(self.raft.id(), config, model::Durable::default());
        }
        let kind = self.observer.before(&event);
        let recorded = self.trace.as_ref().map(|_| event.clone());
        let effects = self.raft.step(event);
        if let (Some(trace), Some(event)) = (&mut self.trace, recorded) {
            trace.add(&event, &effects).map_err(Failure::Trace)?;
        }
        if let Err(invariant) = invariants::check(before, &self.raft, &effects) {
            return Err(self.write_crash_report(invariant.to_string(), &effects));
        }
        self.observer.after(kind, &self.raft, &effects);
        self.timers
            .note_role(self.raft.role(), self.raft.current_term());
        self.carry_out(effects);
        Ok(())
    }

    fn carry_out(&mut self, effects: Effects) {
        if let Some(write) = effects.write {
            if write.snapshot.is_none() {
                let sizes = write.append.iter().map(|entry| entry.payload.size() as u64);
                self.snapshot_policy.growth += sizes.sum::<u64>();
            }
            self.writer.write(write);
        }
        for timer in effects.timers {
            let now = self.now();
            self.timers.arm(timer, now, &mut self.random);
        }
        for envelope in effects.sends {
            if let Address::Node(id) = envelope.to
                && self.identities.is_cut_off(id)
            {
                // Treated as lost.
                self.metrics.dropped("refused", 1);
            } else if self.is_too_much(&envelope) {
                // Treated as lost: the leader sends another one later.
                self.metrics.dropped("silent", 1);
            } else if self.local.owns(envelope.to) {
                let now = self.now();
                self.local
                    .receive(envelope, now, &mut self.buffers.requests);
            } else {
                self.buffers.sends.push(envelope);
            }
        }
    }

    /// Whether this is a snapshot for a server that is silent and may be gone.
    fn is_too_much(&self, envelope: &Envelope) -> bool {
        let Envelope { to, message, .. } = envelope;
        match (to, message) {
            (Address::Node(id), Message::InstallSnapshotRequest(_)) => {
                self.liveness.since_message(*id) > SILENT || !self.identities.counts(*id)
            }
            _ => false,
        }
    }

    /// Writes a crash report about a violated invariant.
    fn write_crash_report(&self, invariant: String, effects: &Effects) -> Failure {
        let body =
            serde_json::json!({ "invariant": invariant, "server": self.raft, "effects": effects });
        let report = match write_durably(&self.crash_report_path, body.to_string().as_bytes()) {
            Ok(()) => format!("see {}", self.crash_report_path.display()),
            Err(error) => format!(
                "and {} cannot be written: {error}",
                self.crash_report_path.display()
            ),
        };
        Failure::InvariantViolated { invariant, report }
    }

    fn publish(&self, now: Instant) {
        let metrics = &self.metrics;
        metrics.term.set(self.raft.current_term().get());
        let store = self.raft.store();
        metrics.state_bytes.set(store.state_bytes());
        metrics
            .state_quota_bytes
            .set(self.raft.config().state_quota);
        metrics.sessions.set(store.session_count() as u64);
        metrics.commit_index.set(self.raft.commit_index().get());
        metrics.last_index.set(self.raft.log().last_index().get());
        metrics.snapshot_index.set(self.raft.snapshot_index().get());
        let kept = self.raft.log().entries().len();
        metrics.log_entries.set(kept as u64);
        metrics.durable_index.set(self.raft.durable_index().get());
        metrics.disk_backlog.set(self.writer.backlog() as u64);
        metrics.local_waiting.set(self.local.queued() as u64);
        self.liveness
            .turned
            .store(self.liveness.millis(now), Relaxed);
    }
}
