//! The processes of a system, and the events of a single process.

use super::{
    client_run::{self, process_address},
    properties::{Violation, history::Observation},
    refinement::AbstractAction,
    scope::Usage,
    witness::{Witness, Witnesses},
};
use crate::{
    Address, ClientId, Durable, Entry, EntryId, Envelope, NodeId, Raft, RequestId, Role, Timer,
    Write, client::Client, proxy::Proxy,
};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// One process of a system.
#[allow(clippy::large_enum_variant, reason = "most processes are servers")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Process {
    /// A Raft server with its disk.
    Server(Server),
    /// A proxy.
    Proxy(Proxy),
    /// A client with its remaining operations.
    Client(ClientProcess),
}

/// A server, its disk, and the writes between them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Server {
    /// The server id.
    pub id: NodeId,
    /// The durable state, which survives a crash.
    pub disk: Durable,
    /// The volatile state, which a crash loses; `None` while the server is down.
    pub running: Option<Running>,
}

/// The volatile state of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Running {
    /// The Raft server.
    pub raft: Raft,
    /// Pending writes that are not yet durable, in order.
    pub unsynced: Vec<Write>,
}

/// A client and its plan. A crash ends the current run of the client, and the next run continues the
/// plan with the operation after the last one invoked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientProcess {
    /// The number of the process, from 1: the id of the client in its first run.
    pub number: ClientId,
    /// The client in its current run.
    pub client: Client,
    /// The number of operations of its plan that it has invoked.
    pub invoked: u64,
    /// The number of operations that it had invoked when the current run started.
    pub invoked_before: u64,
}

impl ClientProcess {
    /// The id of the client in its current run.
    ///
    /// A deployed client draws a new id at each start. Here the id derives from the number of the
    /// process and from the operations invoked before the run, so that the number of ids is finite.
    /// Two runs with the same id do not occur: an earlier run with this id would have invoked nothing,
    /// and so sent nothing.
    pub(super) fn run_id(&self) -> ClientId {
        client_run::id(self.number, self.invoked_before)
    }
}

/// An event at one process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Local {
    /// A message is delivered.
    Deliver {
        /// The message. It stays in the network and can be delivered again.
        envelope: Envelope,
        /// For a proxy: the server drawn by the driver, which the proxy uses if it knows no better one.
        ask: Option<NodeId>,
    },
    /// The election timer fires.
    ElectionTimeout,
    /// The heartbeat timer fires.
    HeartbeatTimeout,
    /// The quorum timer fires.
    QuorumTimeout,
    /// A direct client sends a write to this server.
    Propose,
    /// Two direct clients each send a write to this server at the same time, and, if operations
    /// are recorded, another one sends a read.
    ProposeTogether,
    /// A direct client sends a read to this server.
    Read,
    /// The oldest pending write becomes durable.
    Sync,
    /// The process loses all state that is not on its disk. If restarts are merged, a server also
    /// restarts immediately: until it acts, no other process can observe the difference. Clients and
    /// proxies have no disk, and always restart immediately.
    Crash,
    /// The server restarts from its disk.
    Restart,
    /// A client invokes the next operation of its plan.
    Invoke,
    /// A client's request timer fires.
    ClientTimeout,
    /// A proxy's timer for one request fires.
    ProxyTimeout {
        /// The client.
        client: ClientId,
        /// The request of the client.
        id: RequestId,
        /// The server that the driver drew.
        ask: NodeId,
    },
    /// The driver decides that the log is long enough for a snapshot.
    Compact,
    /// The driver requests a leadership transfer to this server.
    TransferLeadership(NodeId),
}

/// The result of an event at one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalStep {
    /// The process after the step.
    pub next: Process,
    /// The messages sent to other processes of the system.
    pub sent: Vec<Envelope>,
    /// The timers that a server armed. In the models, an armed timer can fire at any time.
    pub timers: Vec<Timer>,
    /// The observations for the properties.
    pub observed: Vec<Observation>,
    /// The cost of the step in the scope's budget.
    pub cost: Usage,
    /// The witnesses reached.
    pub witnesses: Witnesses,
    /// The actions of the abstract Raft that the step is mapped to.
    pub actions: Vec<AbstractAction>,
    /// The property that the step violates.
    pub violation: Option<Violation>,
}

impl LocalStep {
    pub(super) fn new(next: Process) -> Self {
        Self {
            next,
            sent: Vec::new(),
            timers: Vec::new(),
            observed: Vec::new(),
            cost: Usage::default(),
            witnesses: Witnesses::default(),
            actions: Vec::new(),
            violation: None,
        }
    }

    pub(super) fn record_verdict(&mut self, verdict: Result<(), Violation>) {
        if let Err(violation) = verdict {
            self.violation.get_or_insert(violation);
        }
    }

    /// Whether the step only sends. Such a step can be taken at any time, and repeatedly. A crash does
    /// not only send, even one that changes nothing.
    pub fn only_sends(&self, process: &Process) -> bool {
        self.observed.is_empty()
            && self.violation.is_none()
            && self.cost == Usage::default()
            && !self.is_crash()
            && self.next == *process
    }

    /// Whether the step is a crash of a server. A crash of a client or a proxy does not count: it takes
    /// back no state of a server.
    pub fn is_crash(&self) -> bool {
        self.witnesses.contains(Witness::Crashed)
    }
}

impl Process {
    /// The address of the process, which stays the same across restarts.
    pub fn address(&self) -> Address {
        match self {
            Self::Server(server) => Address::Node(server.id),
            Self::Proxy(proxy) => Address::Proxy(proxy.id()),
            Self::Client(process) => Address::Client(process.number),
        }
    }

    /// Whether messages to this address reach the process, in its current run or an earlier one.
    pub fn receives_at(&self, address: Address) -> bool {
        process_address(address) == self.address()
    }

    /// The server; `None` if the process is not a server.
    pub fn server(&self) -> Option<&Server> {
        match self {
            Self::Server(server) => Some(server),
            Self::Proxy(_) | Self::Client(_) => None,
        }
    }

    /// Whether the process is a server and the leader.
    pub(super) fn leads(&self) -> bool {
        let running = self.server().and_then(|server| server.running.as_ref());
        running.is_some_and(|running| matches!(running.raft.role, Role::Leader(_)))
    }
}

impl Server {
    /// The retained log: the log in memory if the server is up, the log on disk if it is down.
    pub fn log(&self) -> &[Entry] {
        match &self.running {
            Some(running) => running.raft.log.entries(),
            None => &self.disk.log,
        }
    }

    /// The entry before the first retained entry.
    pub fn base(&self) -> EntryId {
        match &self.running {
            Some(running) => running.raft.log.base(),
            None => self.disk.base(),
        }
    }
}

/// The direct client that writes.
pub(super) const DIRECT_WRITER: ClientId = ClientId::new(8);
/// The direct client that reads.
pub(super) const DIRECT_READER: ClientId = ClientId::new(9);
