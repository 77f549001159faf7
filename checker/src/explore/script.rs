//! Writes a walk as a golden script. `model/tests/scripts.rs` runs such scripts on its own servers, with
//! disks that sync only on command, and a network that removes a message when it is delivered. The
//! script is ready to paste: it ends with the expected state of every server.
//!
//! The walk is executed again with every sync and every restart as a step of its own. The messages in
//! flight on each channel between two servers are kept as in the script's network: in the order sent,
//! duplicates included. A message that is delivered again later stays in flight (`repeat`). The order is
//! that of the core itself, which runs beside the model: the model brings held messages into a normal
//! form, so it may release them in another order.
//!
//! Scripts do not support clients and proxies as processes, planted bugs, PreVote and CheckQuorum, or
//! two requests in one step. A walk with any of these cannot be written as a script.

use super::walk::Walk;
use crate::{explain, step_guard, trace};
use model::{
    Address, ClientId, ClientRequest, Config, Durable, Entry, Envelope, Event, LogIndex, Message,
    NodeId, Payload, Raft, RequestId, Role, SessionId, Write,
    message::RequestBody,
    store::{Command, Condition, Operation, Query},
    system::{Action, Local, Process, Reduction, Scope, Server, System, TransitionSystem},
};
use std::collections::{BTreeMap, VecDeque};

model::diagnostics! {
    /// The reason why a walk cannot be written as a script.
    pub(super) enum NoScript {
        /// The scope has clients and a proxy.
        WithClients
            = "a walk with clients and a proxy cannot be a golden script: scripts have only servers. Export it as a trace";
        /// A bug is planted.
        WithMutant
            = "a walk with a planted bug cannot be a golden script: scripts run the core without bugs. Export it as a trace";
        /// The scope has PreVote or CheckQuorum.
        WithQuorumChecks
            = "a walk with PreVote or CheckQuorum cannot be a golden script: scripts run without them. Export it as a trace";
        /// Requests arrive together, or servers have different settings.
        WithOtherRequests
            = "a walk through a scope with requests that arrive together, or with servers of different settings, cannot be a golden script. Export it as a trace";
        /// A step of the walk cannot be written.
        AtStep { step: usize, reason: Box<NoScript> } = "step {step} of the walk: {reason}";
        /// The script does not reach the initial state of the scope.
        StartDiffers = "a script cannot express the election at the start of this scope";
        /// The separate steps have another result than the merged step.
        SplitDiffers
            = "split into separate steps, this step has another result: a script cannot express this walk";
        /// The process is not a server.
        NotServer = "scripts have only servers";
        /// The server is down.
        ServerDown = "the server is down";
        /// Scripts have no such command.
        NoCommand { action: String } = "scripts have no command for this: {action}. Export the walk as a trace";
        /// A separate step is impossible.
        SplitImpossible = "split into separate steps, it cannot happen";
        /// The core sends other messages than the model.
        SendsDiffer = "the core does not send the messages of the model";
        /// The message is not in flight.
        NotInFlight = "split into separate steps, the message is not in flight";
        /// No process has this address.
        NoAddress = "no process has this address";
    }
}

type Result<T> = std::result::Result<T, NoScript>;

/// Requires a condition of a script.
fn ensure(is_met: bool, reason: NoScript) -> Result<()> {
    if is_met { Ok(()) } else { Err(reason) }
}

/// The script of a walk.
///
/// # Errors
/// The reason why no script is possible.
pub(super) fn script(walk: &Walk) -> Result<String> {
    let scope = &walk.world.scope;
    ensure(scope.plans.is_empty(), NoScript::WithClients)?;
    ensure(scope.mutant.is_none(), NoScript::WithMutant)?;
    ensure(
        !scope.pre_vote && !scope.check_quorum,
        NoScript::WithQuorumChecks,
    )?;
    ensure(
        !scope.together && !scope.mixed_settings,
        NoScript::WithOtherRequests,
    )?;
    let mut writer = Writer::new(scope, walk)?;
    for (index, step) in walk.steps.iter().enumerate() {
        writer.comment(&step.text);
        match &step.local {
            Some(local) => {
                let written = writer.step(step.process, local, &step.after);
                written.map_err(|reason| NoScript::AtStep {
                    step: index + 1,
                    reason: Box::new(reason),
                })?;
            }
            None => writer.line("# It simply never arrives."),
        }
    }
    Ok(writer.finish())
}

/// A server outside the model.
struct Core {
    id: NodeId,
    raft: Option<Raft>,
    disk: Durable,
    unsynced: VecDeque<Write>,
}

struct Writer {
    text: String,
    fine: TransitionSystem,
    system: System,
    /// The same servers as the script runs them.
    cores: Vec<Core>,
    /// Messages in flight from one server to another, in the order sent.
    flight: BTreeMap<(Address, Address), Vec<Envelope>>,
    /// Later deliveries.
    later: Vec<Envelope>,
}

impl Core {
    /// Executes an event. Returns the messages sent to servers, in order.
    fn step(&mut self, local: &Local, config: Config) -> Vec<Envelope> {
        let event = match local {
            Local::ElectionTimeout => Event::ElectionTimeout,
            Local::HeartbeatTimeout => Event::HeartbeatTimeout,
            Local::QuorumTimeout => Event::QuorumTimeout,
            Local::Compact => Event::Compact,
            Local::TransferLeadership(target) => Event::TransferLeadership(*target),
            Local::Deliver { envelope, .. } => Event::Receive {
                from: envelope.from,
                message: envelope.message.clone(),
            },
            Local::Sync => {
                let Some(write) = self.unsynced.pop_front() else {
                    return Vec::new();
                };
                self.disk.apply(&write);
                Event::Persisted(write.id)
            }
            Local::Crash => {
                self.unsynced.clear();
                self.raft = None;
                return Vec::new();
            }
            Local::Restart => {
                let disk = self.disk.clone();
                self.raft = step_guard::recover(self.id, config, disk, None).ok();
                return Vec::new();
            }
            Local::Propose => self.request(|term, index| RequestBody::Write {
                session: SessionId::new(1),
                sequence: term * 100 + index,
                acknowledged: 0,
                operation: Operation::Put {
                    key: b"x".to_vec(),
                    value: format!("t{term}i{index}").into(),
                    condition: Condition::Always,
                },
            }),
            Local::Read => self.request(|_, _| RequestBody::Read {
                query: Query::Get { key: b"x".to_vec() },
            }),
            Local::ProposeTogether
            | Local::Invoke
            | Local::ClientTimeout
            | Local::ProxyTimeout { .. } => return Vec::new(),
        };
        let Some(raft) = &mut self.raft else {
            return Vec::new();
        };
        // The same step of the model reports a panic.
        let Ok(effects) = step_guard::step(raft, event, None) else {
            return Vec::new();
        };
        self.unsynced.extend(effects.write);
        let to_servers = |envelope: &Envelope| matches!(envelope.to, Address::Node(_));
        effects.sends.into_iter().filter(to_servers).collect()
    }

    /// A client request with the values of the model's clients: a write derives from its term and index.
    fn request(&self, body: impl FnOnce(u64, u64) -> RequestBody) -> Event {
        let (term, index) = self.raft.as_ref().map_or((0, 0), |raft| {
            let next = raft.log().last_index().next();
            (raft.current_term().get(), next.get())
        });
        let client = ClientId::new(1);
        Event::Receive {
            from: Address::Client(client),
            message: Message::ClientRequest(ClientRequest {
                client,
                id: RequestId::new(term * 100 + index),
                body: body(term, index),
            }),
        }
    }
}

impl Writer {
    fn new(scope: &Scope, walk: &Walk) -> Result<Self> {
        let mut fine = trace::real_network(scope);
        fine.reduction = Reduction::NONE;
        // The script's network carries AppendEntries requests, even if the scope does not.
        fine.append_entries = true;
        fine.starts_with_leader = false;
        let fine = step_guard::transitions(fine);
        let mut later: Vec<Envelope> = walk.steps.iter().filter_map(delivered).collect();
        later.reverse();
        let system = fine.start();
        let logs: Vec<&str> = system
            .processes
            .iter()
            .map(|_| if scope.with_session { "1o" } else { "none" })
            .collect();
        let mut text = format!(
            "# A walk through the scope {:?}, step by step.\n\nlogs {} batch={} window={}\n---\nok\n\n",
            scope.name,
            logs.join(" "),
            scope.batch,
            scope.window
        );
        if !scope.with_session {
            text = text.replace(
                &format!("logs {}", logs.join(" ")),
                &format!("cluster {}", scope.servers),
            );
        }
        let servers = system.processes.iter().filter_map(Process::server);
        let cores = servers
            .map(|server| Core {
                id: server.id,
                raft: step_guard::recover(
                    server.id,
                    fine.scope().config_of(server.id),
                    server.disk.clone(),
                    None,
                )
                .ok(),
                disk: server.disk.clone(),
                unsynced: VecDeque::new(),
            })
            .collect();
        let mut writer = Self {
            text,
            fine,
            system,
            cores,
            flight: BTreeMap::new(),
            later,
        };
        if scope.starts_with_leader {
            writer.elect_first(walk)?;
        }
        Ok(writer)
    }

    /// Server 1 wins an election without faults. Its messages as leader are lost.
    fn elect_first(&mut self, walk: &Walk) -> Result<()> {
        self.comment("server 1 is elected; all other messages are lost");
        self.happen(0, &Local::ElectionTimeout)?;
        self.sync_all()?;
        loop {
            let vote = self.flight.values().flatten().find(|envelope| {
                matches!(
                    envelope.message,
                    Message::RequestVoteRequest(_) | Message::RequestVoteResponse(_)
                )
            });
            let Some(envelope) = vote.cloned() else {
                break;
            };
            let index = self.index_of(envelope.to)?;
            self.happen(
                index,
                &Local::Deliver {
                    envelope,
                    ask: None,
                },
            )?;
            self.sync_all()?;
        }
        self.line("(lose_all)");
        self.flight.clear();
        for (one, start) in self.system.processes.iter().zip(walk.start()) {
            ensure(looks_like(one, start), NoScript::StartDiffers)?;
        }
        Ok(())
    }

    fn sync_all(&mut self) -> Result<()> {
        for index in 0..self.system.processes.len() {
            while unsynced(&self.system.processes[index]) > 0 {
                self.happen(index, &Local::Sync)?;
            }
        }
        Ok(())
    }

    /// A step of the walk, with the syncs and the restart that it includes.
    fn step(&mut self, index: usize, local: &Local, after: &Process) -> Result<()> {
        self.happen(index, local)?;
        let is_up = |process: &Process| {
            let server = process.server();
            server.is_some_and(|server| server.running.is_some())
        };
        if is_up(after) && !is_up(&self.system.processes[index]) {
            self.happen(index, &Local::Restart)?;
        }
        while unsynced(&self.system.processes[index]) > unsynced(after) {
            self.happen(index, &Local::Sync)?;
        }
        ensure(
            looks_like(&self.system.processes[index], after),
            NoScript::SplitDiffers,
        )
    }

    /// One step of the script.
    fn happen(&mut self, index: usize, local: &Local) -> Result<()> {
        let process = &self.system.processes[index];
        let server = process.server().ok_or(NoScript::NotServer)?;
        let id = server.id;
        let line = match local {
            Local::ElectionTimeout => format!("(timeout n{id})"),
            Local::HeartbeatTimeout => format!("(heartbeat n{id})"),
            Local::Sync => format!("(sync n{id} writes=1)"),
            Local::Crash => format!("(crash n{id})"),
            Local::Restart => format!("(restart n{id})"),
            Local::Read => format!("(read n{id} x)"),
            Local::Propose => {
                let running = server.running.as_ref().ok_or(NoScript::ServerDown)?;
                let term = running.raft.current_term().get();
                let index = running.raft.log().last_index().next().get();
                format!("(put n{id} s1/{} x t{term}i{index})", term * 100 + index)
            }
            Local::Deliver { envelope, .. } => self.deliver(envelope)?,
            Local::QuorumTimeout
            | Local::Compact
            | Local::TransferLeadership(_)
            | Local::ProposeTogether
            | Local::Invoke
            | Local::ClientTimeout
            | Local::ProxyTimeout { .. } => {
                let action = Action {
                    process: index,
                    local: local.clone(),
                };
                return Err(NoScript::NoCommand {
                    action: explain::describe_action(&action, &self.system),
                });
            }
        };
        self.line(&line);
        let process = &self.system.processes[index];
        let step = self
            .fine
            .local_step(process, local)
            .ok_or(NoScript::SplitImpossible)?;
        self.system.processes[index] = step.next;
        let config = self.fine.scope().config();
        let sent = self.cores[index].step(local, config);
        let sorted = |mut sent: Vec<Envelope>| {
            sent.sort();
            sent
        };
        ensure(
            sorted(sent.clone()) == sorted(step.sent),
            NoScript::SendsDiffer,
        )?;
        for envelope in sent {
            let way = (envelope.from, envelope.to);
            self.flight.entry(way).or_default().push(envelope);
        }
        Ok(())
    }

    fn deliver(&mut self, envelope: &Envelope) -> Result<String> {
        if self.later.last() == Some(envelope) {
            self.later.pop();
        }
        let stays = self.later.contains(envelope);
        let flight = self.flight.entry((envelope.from, envelope.to)).or_default();
        let index = flight.iter().position(|other| other == envelope);
        let index = index.ok_or(NoScript::NotInFlight)?;
        if !stays {
            flight.remove(index);
        }
        let name = |address: Address| match address {
            Address::Node(id) => Ok(format!("n{id}")),
            Address::Proxy(_) | Address::Client(_) => Err(NoScript::NotServer),
        };
        let (from, to) = (name(envelope.from)?, name(envelope.to)?);
        let verb = if stays { "repeat" } else { "deliver" };
        Ok(format!("({verb} {from} {to} nth={})", index + 1))
    }

    fn index_of(&self, address: Address) -> Result<usize> {
        let mut processes = self.system.processes.iter();
        let index = processes.position(|process| process.address() == address);
        index.ok_or(NoScript::NoAddress)
    }

    fn comment(&mut self, text: &str) {
        let mut text = text.to_owned();
        if let Some(first) = text.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        self.line(&format!("# {text}."));
    }

    fn line(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }

    fn finish(mut self) -> String {
        self.line("status");
        self.line("---");
        let servers = self.system.processes.iter().filter_map(Process::server);
        let lines: Vec<String> = servers.map(status).collect();
        for line in lines {
            self.line(&line);
        }
        self.text
    }
}

fn delivered(step: &super::walk::WalkStep) -> Option<Envelope> {
    match step.local.as_ref()? {
        Local::Deliver { envelope, .. } => Some(envelope.clone()),
        _ => None,
    }
}

fn unsynced(process: &Process) -> usize {
    let running = process.server().and_then(|server| server.running.as_ref());
    running.map_or(0, |running| running.unsynced.len())
}

/// Whether two servers are equal except for the leader hint, which the scope may forget.
fn looks_like(one: &Process, other: &Process) -> bool {
    let seen = |process: &Process| {
        let server = process.server()?;
        let running = server.running.as_ref().map(|running| {
            let raft = &running.raft;
            (
                (raft.current_term(), raft.voted_for(), raft.commit_index()),
                raft.log().entries().to_vec(),
                std::mem::discriminant(raft.role()),
                running.unsynced.len(),
            )
        });
        Some((server.disk.clone(), running))
    };
    seen(one) == seen(other)
}

/// A server in the format of the scripts' `status`.
fn status(server: &Server) -> String {
    let id = server.id;
    let Some(running) = &server.running else {
        return format!(
            "n{id} down t{} log {}",
            server.disk.hard_state.current_term,
            log(&server.disk.log)
        );
    };
    let raft = &running.raft;
    let unsynced = match running.unsynced.len() {
        0 => String::new(),
        _ => format!(" durable {}", raft.durable_index()),
    };
    format!(
        "n{id} {} log {} commit {}{unsynced}",
        role(raft),
        log(raft.log().entries()),
        raft.commit_index()
    )
}

fn role(raft: &Raft) -> String {
    let term = raft.current_term();
    match raft.role() {
        Role::Follower { leader: None, .. } => format!("follower t{term}"),
        Role::Follower {
            leader: Some(id), ..
        } => format!("follower t{term} of n{id}"),
        Role::PreCandidate { .. } => format!("pre-candidate t{term}"),
        Role::Candidate(_) => format!("candidate t{term}"),
        Role::Leader(_) => format!("leader t{term}"),
    }
}

fn log(log: &[Entry]) -> String {
    let entry = |(index, entry): (usize, &Entry)| {
        let id = format!("{}@t{}", LogIndex::new(index as u64 + 1), entry.term);
        match &entry.payload {
            Payload::Noop => format!("{id} noop"),
            Payload::Command(Command::OpenSession { .. }) => format!("{id} open session"),
            Payload::Command(Command::CloseSession { session }) => {
                format!("{id} close session {session}")
            }
            Payload::Command(Command::RenewSession { session }) => {
                format!("{id} renew session {session}")
            }
            Payload::Command(Command::Write(write)) => {
                let what = match &write.operation {
                    Operation::Put { key, value, .. } => format!("{}={}", text(key), text(value)),
                    Operation::Delete { key, .. } => format!("delete {}", text(key)),
                    Operation::Increment { key, by } => format!("{}{by:+}", text(key)),
                };
                format!("{id} s{}/{} {what}", write.session, write.sequence)
            }
        }
    };
    let entries: Vec<String> = log.iter().enumerate().map(entry).collect();
    format!("[{}]", entries.join(", "))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
