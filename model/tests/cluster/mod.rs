//! A cluster of real servers for tests, and the world around it: disks that sync when they are
//! told to, a network that delivers, repeats, reorders or loses what it is told to, and crashes.
//!
//! After every step the harness checks that the step was deterministic, the server's own
//! invariants, and the laws of Raft over the whole history (`laws`). What happened is kept as
//! readable lines (`show`), which the scripts print and a broken law is reported with.

// Each test crate uses its own part of this.
#![allow(dead_code)]

mod laws;
mod show;

use model::{
    Address, ClientId, ClientRequest, ClientResponse, Config, Durable, Entry, Envelope, Event,
    Message, NodeId, Payload, Raft, RequestId, Role, SessionId, Term, Timer, Write, WriteId,
    message::{RequestBody, ResponseBody},
    store::{Answer, Condition, Operation, Query},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The client all requests come from.
pub(crate) const CLIENT: Address = Address::Client(ClientId::new(1));

/// Server `number`.
pub(crate) fn node(number: u64) -> NodeId {
    NodeId::new(number)
}

/// One server with its disk. The process is gone while it is down; the disk stays.
pub(crate) struct Server {
    config: Config,
    raft: Option<Raft>,
    disk: Durable,
    /// Handed to the disk, not yet durable.
    unsynced: VecDeque<Write>,
    timer: Option<Timer>,
}

/// The servers, the messages in flight between them, and what clients were told.
pub(crate) struct Cluster {
    servers: BTreeMap<NodeId, Server>,
    /// In flight, in the order sent.
    pub(crate) network: Vec<Envelope>,
    /// Servers that no other server hears or reaches. Clients do.
    isolated: BTreeSet<NodeId>,
    /// What clients were answered, in order.
    pub(crate) answers: Vec<ClientResponse>,
    requests: u64,
    history: laws::History,
    /// The first law that was broken, for tests that plant a bug.
    pub(crate) violation: Option<String>,
    /// Note a broken law instead of failing on it.
    pub(crate) expects_violation: bool,
    trace: Vec<String>,
}

impl Cluster {
    /// Servers 1 to `size`, with empty disks.
    pub(crate) fn new(size: usize) -> Self {
        Self::recover(vec![Durable::default(); size], |_| {})
    }

    /// Servers 1, 2, and so on, started from these disks.
    pub(crate) fn recover(disks: Vec<Durable>, configure: impl Fn(&mut Config)) -> Self {
        let ids = || (1..=disks.len() as u64).map(node);
        let mut config = Config::new(ids().collect());
        // The paper has neither; stories that are about them switch them on.
        config.pre_vote = false;
        config.check_quorum = false;
        configure(&mut config);
        let servers = ids()
            .zip(disks.iter().cloned())
            .map(|(id, disk)| {
                let server = Server {
                    config: config.clone(),
                    raft: Some(Raft::recover(id, config.clone(), disk.clone())),
                    disk,
                    unsynced: VecDeque::new(),
                    timer: None,
                };
                (id, server)
            })
            .collect();
        Self {
            servers,
            network: Vec::new(),
            isolated: BTreeSet::new(),
            answers: Vec::new(),
            requests: 0,
            history: laws::History::default(),
            violation: None,
            expects_violation: false,
            trace: Vec::new(),
        }
    }

    // What happens to a server.

    /// Steps a server and carries out the effects. A server that is down takes no step.
    pub(crate) fn step(&mut self, id: u64, event: Event) {
        let id = node(id);
        let server = self.servers.get_mut(&id).expect("a server of this cluster");
        let Some(raft) = &mut server.raft else {
            return;
        };
        self.trace.push(show::event(id, &event));
        let before = raft.clone();
        let mut twin = raft.clone();
        let effects = raft.step(event.clone());
        let repeated = twin.step(event);
        assert!(
            twin == *raft && repeated == effects,
            "the same step from the same state came out differently"
        );
        self.trace.extend(show::changes(&before, raft));
        let step = laws::step(&before, raft, &effects);

        if let Some(write) = effects.write {
            let last = raft.log().last_index();
            self.trace.push(show::write(&write, last));
            server.unsynced.push_back(write);
        }
        server.timer = effects.timers.last().copied().or(server.timer);
        let votes = self.history.sent(&effects.sends);
        for envelope in effects.sends {
            self.trace.push(format!("  {}", show::envelope(&envelope)));
            match (envelope.to, envelope.message) {
                (Address::Client(_), Message::ClientResponse(response)) => {
                    assert!(
                        self.answers.iter().all(|earlier| earlier.id != response.id),
                        "request {:?} is answered twice",
                        response.id
                    );
                    self.answers.push(response);
                }
                (to, message) => self.network.push(Envelope {
                    from: envelope.from,
                    to,
                    message,
                }),
            }
        }
        let broken = step
            .and(votes)
            .and_then(|()| self.history.observe(&self.servers));
        self.judge(broken);
    }

    /// The server's election timer runs out.
    pub(crate) fn timeout(&mut self, id: u64) {
        self.step(id, Event::ElectionTimeout);
    }

    /// The server's heartbeat timer runs out.
    pub(crate) fn heartbeat(&mut self, id: u64) {
        self.step(id, Event::HeartbeatTimeout);
    }

    /// The server's log is found to be long enough for a snapshot.
    pub(crate) fn compact(&mut self, id: u64) {
        self.step(id, Event::Compact);
    }

    /// The oldest `count` writes of the server become durable, and it is told so once.
    pub(crate) fn sync_first(&mut self, id: u64, count: usize) {
        if let Some(last) = self.write_out(id, count) {
            self.step(id, Event::Persisted(last));
        }
    }

    /// All writes the server has made so far become durable.
    pub(crate) fn sync(&mut self, id: u64) {
        self.sync_first(id, usize::MAX);
    }

    /// The server stops. What was not durable is lost.
    pub(crate) fn crash(&mut self, id: u64) {
        self.crash_after_writing(id, 0);
    }

    /// The server stops after its oldest `count` writes reached the disk, and before it was told.
    pub(crate) fn crash_after_writing(&mut self, id: u64, count: usize) {
        if self.is_up(id) {
            self.write_out(id, count);
            let server = self.server_mut(id);
            server.raft = None;
            server.timer = None;
            let lost = server.unsynced.drain(..).map(|write| write.id);
            let lost: Vec<_> = lost.map(|id| format!("{id:?}")).collect();
            self.trace.push(match lost.as_slice() {
                [] => format!("n{id} crashes"),
                lost => format!("n{id} crashes and loses {}", lost.join(", ")),
            });
        }
    }

    /// The server starts again from its disk.
    pub(crate) fn restart(&mut self, id: u64) {
        if !self.is_up(id) {
            let server = self.server_mut(id);
            let disk = server.disk.clone();
            let raft = Raft::recover(node(id), server.config.clone(), disk);
            let line = show::recovered(&raft);
            server.raft = Some(raft);
            self.trace.push(line);
            let broken = self.history.observe(&self.servers);
            self.judge(broken);
        }
    }

    // What the network does.

    /// A message arrives from nowhere in particular: made up, or kept from earlier.
    pub(crate) fn arrive(&mut self, envelope: Envelope) {
        let Address::Node(to) = envelope.to else {
            return;
        };
        let apart = match envelope.from {
            Address::Node(from) => [from, to].iter().any(|id| self.isolated.contains(id)),
            Address::Proxy(_) | Address::Client(_) => false,
        };
        if apart || self.servers[&to].raft.is_none() {
            let line = format!("{} (lost)", show::envelope(&envelope));
            self.trace.push(line);
            return;
        }
        let event = Event::Receive {
            from: envelope.from,
            message: envelope.message,
        };
        self.step(to.get(), event);
    }

    /// A message of server `from` reaches server `to`, whether or not it was ever sent.
    pub(crate) fn receive(&mut self, to: u64, from: u64, message: Message) {
        self.arrive(Envelope {
            from: Address::Node(node(from)),
            to: Address::Node(node(to)),
            message,
        });
    }

    /// The messages in flight from one server to another, oldest first.
    pub(crate) fn between(&self, from: u64, to: u64) -> Vec<&Message> {
        let ends = (Address::Node(node(from)), Address::Node(node(to)));
        let between = self.network.iter().filter(|e| (e.from, e.to) == ends);
        between.map(|envelope| &envelope.message).collect()
    }

    /// Delivers what is in flight from one server to another, in order.
    pub(crate) fn deliver(&mut self, from: u64, to: u64) {
        for envelope in self.take(from, to) {
            self.arrive(envelope);
        }
    }

    /// Takes what is in flight from one server to another off the network.
    pub(crate) fn take(&mut self, from: u64, to: u64) -> Vec<Envelope> {
        let ends = (Address::Node(node(from)), Address::Node(node(to)));
        self.network
            .extract_if(.., |e| (e.from, e.to) == ends)
            .collect()
    }

    /// Cuts servers off from each other and the rest: messages are lost on arrival.
    pub(crate) fn isolate(&mut self, ids: &[u64]) {
        self.isolated = ids.iter().copied().map(node).collect();
    }

    /// Everyone hears everyone again.
    pub(crate) fn heal(&mut self) {
        self.isolated.clear();
    }

    /// Syncs every write and delivers every message until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..1000 {
            for id in self.ids() {
                self.sync(id);
            }
            let idle = self.servers.values().all(|s| s.unsynced.is_empty());
            if idle && self.network.is_empty() {
                return;
            }
            for envelope in std::mem::take(&mut self.network) {
                self.arrive(envelope);
            }
        }
        panic!("the cluster does not come to rest\n{}", self.story());
    }

    /// Has a server win an election that nothing disturbs.
    pub(crate) fn elect(&mut self, id: u64) {
        self.timeout(id);
        self.settle();
        assert!(self.leads(id), "n{id} does not lead\n{}", self.story());
    }

    /// Has a server win an election that only these voters hear of; what else it says is lost.
    pub(crate) fn elect_by(&mut self, id: u64, voters: &[u64]) {
        self.timeout(id);
        self.sync(id);
        for voter in voters {
            self.deliver(id, *voter);
            self.sync(*voter);
        }
        let from = Address::Node(node(id));
        self.network.retain(|envelope| envelope.from != from);
        for voter in voters {
            self.deliver(*voter, id);
        }
        assert!(self.leads(id), "n{id} does not lead\n{}", self.story());
    }

    // What clients do.

    /// A client asks a server for something.
    pub(crate) fn request(&mut self, server: u64, body: RequestBody) -> RequestId {
        self.requests += 1;
        let id = RequestId::new(self.requests);
        self.arrive(Envelope {
            from: CLIENT,
            to: Address::Node(node(server)),
            message: Message::ClientRequest(ClientRequest {
                client: ClientId::new(1),
                id,
                body,
            }),
        });
        id
    }

    /// A client reads a key.
    pub(crate) fn read(&mut self, server: u64, key: &str) -> RequestId {
        let key = key.into();
        let query = Query::Get { key };
        self.request(server, RequestBody::Read { query })
    }

    /// A client reads a key as this server has it.
    pub(crate) fn stale_read(&mut self, server: u64, key: &str) -> RequestId {
        let key = key.into();
        let query = Query::Get { key };
        self.request(server, RequestBody::StaleRead { query })
    }

    /// A client writes in a session; it has the answers to all sequences below `acknowledged`.
    pub(crate) fn write(
        &mut self,
        server: u64,
        (session, sequence, acknowledged): (SessionId, u64, u64),
        operation: Operation,
    ) -> RequestId {
        let body = RequestBody::Write {
            session,
            sequence,
            acknowledged,
            operation,
        };
        self.request(server, body)
    }

    /// Opens a session in a cluster that nothing disturbs.
    pub(crate) fn open_session(&mut self, server: u64) -> SessionId {
        let id = self.request(server, RequestBody::OpenSession);
        self.settle();
        match self.answer(id) {
            Some(ResponseBody::Applied(Answer::SessionOpened(session))) => *session,
            other => panic!("no session: {other:?}\n{}", self.story()),
        }
    }

    /// What became of a request, if it was answered.
    pub(crate) fn answer(&self, id: RequestId) -> Option<&ResponseBody> {
        let answer = self.answers.iter().find(|response| response.id == id)?;
        Some(&answer.body)
    }

    // What there is to see.

    /// The server, which must be up.
    pub(crate) fn raft(&self, id: u64) -> &Raft {
        let raft = self.servers[&node(id)].raft.as_ref();
        raft.expect("the server is up")
    }

    /// Whether the server runs.
    pub(crate) fn is_up(&self, id: u64) -> bool {
        self.servers[&node(id)].raft.is_some()
    }

    /// Whether the server believes that it leads.
    pub(crate) fn leads(&self, id: u64) -> bool {
        matches!(self.raft(id).role(), Role::Leader(_))
    }

    /// The server's current term.
    pub(crate) fn term(&self, id: u64) -> u64 {
        self.raft(id).current_term().get()
    }

    /// The server's commit index.
    pub(crate) fn commit(&self, id: u64) -> u64 {
        self.raft(id).commit_index().get()
    }

    /// The terms of the server's log, the way the paper draws it.
    pub(crate) fn terms(&self, id: u64) -> Vec<u64> {
        terms(self.raft(id).log().entries())
    }

    /// Where the server's log begins: the last entry that it does not keep.
    pub(crate) fn base(&self, id: u64) -> u64 {
        self.raft(id).log().base().index.get()
    }

    /// What is durable at the server.
    pub(crate) fn disk(&self, id: u64) -> &Durable {
        &self.servers[&node(id)].disk
    }

    /// What the server handed to its disk and is not durable yet.
    pub(crate) fn unsynced(&self, id: u64) -> &VecDeque<Write> {
        &self.servers[&node(id)].unsynced
    }

    /// The timer the server armed since this was last asked.
    pub(crate) fn take_timer(&mut self, id: u64) -> Option<Timer> {
        self.server_mut(id).timer.take()
    }

    /// All servers, up or down.
    pub(crate) fn ids(&self) -> Vec<u64> {
        self.servers.keys().map(|id| id.get()).collect()
    }

    /// One line for each server.
    pub(crate) fn status(&self) -> Vec<String> {
        self.servers.iter().map(show::server).collect()
    }

    /// One line for each message in flight.
    pub(crate) fn in_flight(&self) -> Vec<String> {
        self.network.iter().map(show::envelope).collect()
    }

    /// What happened since this was last asked, line by line.
    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    fn story(&self) -> String {
        let mut lines = self.trace.clone();
        lines.extend(self.status());
        lines.join("\n")
    }

    fn judge(&mut self, outcome: Result<(), String>) {
        let Err(law) = outcome else {
            return;
        };
        assert!(
            self.expects_violation,
            "broken law: {law}\n{}",
            self.story()
        );
        self.violation.get_or_insert(law);
    }

    fn server_mut(&mut self, id: u64) -> &mut Server {
        let server = self.servers.get_mut(&node(id));
        server.expect("a server of this cluster")
    }

    /// Moves the oldest writes to the disk; the last of them, if there was any.
    fn write_out(&mut self, id: u64, count: usize) -> Option<WriteId> {
        let server = self.server_mut(id);
        let count = count.min(server.unsynced.len());
        let mut last = None;
        for write in server.unsynced.drain(..count) {
            server.disk.apply(&write);
            last = Some(write.id);
        }
        last
    }
}

/// The terms of these entries.
pub(crate) fn terms(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.term.get()).collect()
}

/// No-op entries of these terms: a log the way the paper draws it.
pub(crate) fn entries(terms: &[u64]) -> Vec<Entry> {
    let entry = |term: &u64| Entry {
        term: Term::new(*term),
        payload: Payload::Noop,
    };
    terms.iter().map(entry).collect()
}

/// A disk with this term, no vote, and a log of these terms.
pub(crate) fn disk(current_term: u64, terms: &[u64]) -> Durable {
    let mut durable = Durable {
        log: entries(terms),
        ..Durable::default()
    };
    durable.hard_state.current_term = Term::new(current_term);
    durable
}

/// Sets a key.
pub(crate) fn put(key: &str, value: &str) -> Operation {
    Operation::Put {
        key: key.into(),
        value: value.into(),
        condition: Condition::Always,
    }
}

/// Adds to a key.
pub(crate) fn add(key: &str, by: i64) -> Operation {
    let key = key.into();
    Operation::Increment { key, by }
}
