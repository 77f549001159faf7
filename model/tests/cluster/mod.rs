//! A test cluster of real servers and a simulated environment: disks that sync on command, a network
//! that delivers, duplicates, reorders or loses messages on command, and crashes.
//!
//! After every step the harness checks that the step was deterministic, the server's own invariants,
//! and the properties of Raft over the whole history (`properties`). It records all events as readable lines
//! (`show`), which the scripts print and which accompany the report of a violation.

// Each test crate uses a different part of this module.
#![allow(dead_code)]

mod properties;
mod show;

use model::{
    Address, ClientId, ClientRequest, ClientResponse, Config, Durable, Entry, Envelope, Event,
    Message, NodeId, Payload, Raft, RequestId, Role, SessionId, Term, Timer, Write, WriteId,
    message::{RequestBody, ResponseBody},
    store::{Answer, Condition, Operation, Query},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The client that sends all requests.
pub(crate) const CLIENT: Address = Address::Client(ClientId::new(1));

/// Server `number`.
pub(crate) fn node(number: u64) -> NodeId {
    NodeId::new(number)
}

/// One server with its disk. The process is gone while the server is down; the disk stays.
pub(crate) struct Server {
    config: Config,
    raft: Option<Raft>,
    disk: Durable,
    /// Writes that were passed to the disk and are not durable yet.
    unsynced: VecDeque<Write>,
    timer: Option<Timer>,
}

/// The servers, the messages in flight between them, and the responses to clients.
pub(crate) struct Cluster {
    servers: BTreeMap<NodeId, Server>,
    /// The messages in flight, in the order of sending.
    pub(crate) network: Vec<Envelope>,
    /// Servers without contact to other servers. Clients still reach them.
    isolated: BTreeSet<NodeId>,
    /// The responses to clients, in order.
    pub(crate) answers: Vec<ClientResponse>,
    requests: u64,
    history: properties::History,
    /// The first violation, for tests that plant a bug.
    pub(crate) violation: Option<String>,
    /// Whether to record a violation instead of panicking.
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
        let mut config = Config::production(ids().collect());
        // The paper has neither; the tests of these features enable them.
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
            history: properties::History::default(),
            violation: None,
            expects_violation: false,
            trace: Vec::new(),
        }
    }

    // Events at a server.

    /// Steps a server and executes its effects. A server that is down takes no step.
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
        let step = properties::step(&before, raft, &effects);

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
        let violation = step
            .and(votes)
            .and_then(|()| self.history.observe(&self.servers));
        self.judge(violation);
    }

    /// The election timer of the server expires.
    pub(crate) fn timeout(&mut self, id: u64) {
        self.step(id, Event::ElectionTimeout);
    }

    /// The heartbeat timer of the server expires.
    pub(crate) fn heartbeat(&mut self, id: u64) {
        self.step(id, Event::HeartbeatTimeout);
    }

    /// The driver requests a snapshot, because the server's log is long enough.
    pub(crate) fn compact(&mut self, id: u64) {
        self.step(id, Event::Compact);
    }

    /// The oldest `count` writes of the server become durable, with one notification.
    pub(crate) fn sync_first(&mut self, id: u64, count: usize) {
        if let Some(last) = self.write_out(id, count) {
            self.step(id, Event::Persisted(last));
        }
    }

    /// All pending writes of the server become durable.
    pub(crate) fn sync(&mut self, id: u64) {
        self.sync_first(id, usize::MAX);
    }

    /// The server crashes. All writes that are not durable are lost.
    pub(crate) fn crash(&mut self, id: u64) {
        self.crash_after_writing(id, 0);
    }

    /// The server crashes after its oldest `count` writes became durable, and before the notification.
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

    /// The server restarts from its disk.
    pub(crate) fn restart(&mut self, id: u64) {
        if !self.is_up(id) {
            let server = self.server_mut(id);
            let disk = server.disk.clone();
            let raft = Raft::recover(node(id), server.config.clone(), disk);
            let line = show::recovered(&raft);
            server.raft = Some(raft);
            self.trace.push(line);
            let violation = self.history.observe(&self.servers);
            self.judge(violation);
        }
    }

    // Events in the network.

    /// An arbitrary message arrives: forged, or kept from earlier.
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

    /// A message of server `from` reaches server `to`, even if it was never sent.
    pub(crate) fn receive(&mut self, to: u64, from: u64, message: Message) {
        self.arrive(Envelope {
            from: Address::Node(node(from)),
            to: Address::Node(node(to)),
            message,
        });
    }

    /// The messages in flight on the channel from one server to another, oldest first.
    pub(crate) fn between(&self, from: u64, to: u64) -> Vec<&Message> {
        let ends = (Address::Node(node(from)), Address::Node(node(to)));
        let between = self.network.iter().filter(|e| (e.from, e.to) == ends);
        between.map(|envelope| &envelope.message).collect()
    }

    /// Delivers the messages in flight on a channel, in order.
    pub(crate) fn deliver(&mut self, from: u64, to: u64) {
        for envelope in self.take(from, to) {
            self.arrive(envelope);
        }
    }

    /// Removes the messages in flight on a channel from the network, and returns them.
    pub(crate) fn take(&mut self, from: u64, to: u64) -> Vec<Envelope> {
        let ends = (Address::Node(node(from)), Address::Node(node(to)));
        self.network
            .extract_if(.., |e| (e.from, e.to) == ends)
            .collect()
    }

    /// Isolates servers from each other and from the rest: their messages are lost on arrival.
    pub(crate) fn isolate(&mut self, ids: &[u64]) {
        self.isolated = ids.iter().copied().map(node).collect();
    }

    /// Ends all isolation.
    pub(crate) fn heal(&mut self) {
        self.isolated.clear();
    }

    /// Syncs every write and delivers every message until nothing is pending.
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

    /// Lets a server win an undisturbed election.
    pub(crate) fn elect(&mut self, id: u64) {
        self.timeout(id);
        self.settle();
        assert!(self.leads(id), "n{id} does not lead\n{}", self.story());
    }

    /// Lets a server win an election in which only these voters take part; all its other messages are
    /// lost.
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

    // Actions of clients.

    /// A client sends a request to a server.
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

    /// A client reads a key from the local state of this server.
    pub(crate) fn stale_read(&mut self, server: u64, key: &str) -> RequestId {
        let key = key.into();
        let query = Query::Get { key };
        self.request(server, RequestBody::StaleRead { query })
    }

    /// A client writes in a session; it acknowledges the responses to all sequence numbers below
    /// `acknowledged`.
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

    /// Opens a session in an undisturbed cluster.
    pub(crate) fn open_session(&mut self, server: u64) -> SessionId {
        let id = self.request(server, RequestBody::OpenSession);
        self.settle();
        match self.answer(id) {
            Some(ResponseBody::Applied(Answer::SessionOpened(session))) => *session,
            other => panic!("no session: {other:?}\n{}", self.story()),
        }
    }

    /// The response to a request, if there is one.
    pub(crate) fn answer(&self, id: RequestId) -> Option<&ResponseBody> {
        let answer = self.answers.iter().find(|response| response.id == id)?;
        Some(&answer.body)
    }

    // Queries.

    /// The server, which must be up.
    pub(crate) fn raft(&self, id: u64) -> &Raft {
        let raft = self.servers[&node(id)].raft.as_ref();
        raft.expect("the server is up")
    }

    /// Whether the server is running.
    pub(crate) fn is_up(&self, id: u64) -> bool {
        self.servers[&node(id)].raft.is_some()
    }

    /// Whether the server considers itself the leader.
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

    /// The terms of the server's log, as the paper draws it.
    pub(crate) fn terms(&self, id: u64) -> Vec<u64> {
        terms(self.raft(id).log().entries())
    }

    /// The base of the server's log: the last entry that was compacted.
    pub(crate) fn base(&self, id: u64) -> u64 {
        self.raft(id).log().base().index.get()
    }

    /// The durable state of the server.
    pub(crate) fn disk(&self, id: u64) -> &Durable {
        &self.servers[&node(id)].disk
    }

    /// The writes of the server that are not durable yet.
    pub(crate) fn unsynced(&self, id: u64) -> &VecDeque<Write> {
        &self.servers[&node(id)].unsynced
    }

    /// Takes the timer that the server armed since the last call.
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

    /// Takes the recorded events since the last call, line by line.
    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    fn story(&self) -> String {
        let mut lines = self.trace.clone();
        lines.extend(self.status());
        lines.join("\n")
    }

    fn judge(&mut self, outcome: Result<(), String>) {
        let Err(property) = outcome else {
            return;
        };
        assert!(
            self.expects_violation,
            "violated: {property}\n{}",
            self.story()
        );
        self.violation.get_or_insert(property);
    }

    fn server_mut(&mut self, id: u64) -> &mut Server {
        let server = self.servers.get_mut(&node(id));
        server.expect("a server of this cluster")
    }

    /// Moves the oldest writes to the disk. Returns the last of them, if there was any.
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

/// No-op entries of these terms: a log as the paper draws it.
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

/// Adds to the value of a key.
pub(crate) fn add(key: &str, by: i64) -> Operation {
    let key = key.into();
    Operation::Increment { key, by }
}
