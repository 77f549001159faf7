//! Backpressure, exhaustively: the driver may report it falsely, at any request and at any moment.

use super::*;
use crate::{
    NodeId,
    client::Invocation,
    message::ResponseBody,
    system::{
        System,
        properties::linearizability::{self, Call, End},
        reduction::Reduction,
        scope::{Budget, Limit, Scope},
    },
};
use alloc::collections::BTreeSet;

/// A client of one server writes two values in its session. The session is never evicted, so each value
/// is in at most one request.
struct World {
    transitions: TransitionSystem,
    /// Whether the clients are in the server's process: a request has one copy, which arrives once.
    in_process: bool,
}

/// The number of visited states, of the states in which a write was reported as not done, and of the
/// states in which a write was acknowledged.
#[derive(Debug, Default, PartialEq, Eq)]
struct Visited {
    states: usize,
    refused: usize,
    acknowledged: usize,
}

impl World {
    fn new(in_process: bool) -> Self {
        let put = |value: &str| {
            Invocation::Write(Operation::Put {
                key: KEY.to_vec(),
                value: value.into(),
                condition: Condition::Always,
            })
        };
        let scope = Scope {
            servers: 1,
            terms: 2,
            budget: Budget {
                entries: 2,
                crashes: Limit::Any,
                ..Budget::default()
            },
            starts_with_leader: true,
            with_session: true,
            direct_clients: false,
            tracks_operations: true,
            plans: vec![vec![put("a"), put("b")]],
            reduction: Reduction::NONE,
            ..Scope::new("backpressure", "writes while a disk is behind")
        };
        Self {
            transitions: TransitionSystem::new(scope),
            in_process,
        }
    }

    fn start(&self) -> System {
        let mut system = self.transitions.start();
        for process in &mut system.processes {
            if let Process::Client(client) = process {
                client.client.config.proxy = Address::Node(NodeId::new(1));
                client.client.config.is_in_process = self.in_process;
            }
        }
        system
    }

    /// All successors: those of the transition system, and those of requests under backpressure.
    fn successors(&self, system: &System) -> Vec<System> {
        let mut all = Vec::new();
        for action in self.transitions.actions(system) {
            let mut next = system.clone();
            if self.transitions.advance(&mut next, &action).is_none() {
                continue;
            }
            if let Local::Deliver { envelope, .. } = &action.local {
                self.take(&mut next, envelope);
            }
            all.push(next);
        }
        for envelope in &system.network {
            all.extend(self.refuse(system, envelope));
        }
        all
    }

    /// Within a process, a request arrives once.
    fn take(&self, system: &mut System, delivered: &Envelope) {
        if self.in_process && matches!(delivered.message, Message::ClientRequest(_)) {
            system.network.remove(delivered);
        }
    }

    /// The successor in which this request arrives under backpressure.
    fn refuse(&self, system: &System, envelope: &Envelope) -> Option<System> {
        let Message::ClientRequest(request) = &envelope.message else {
            return None;
        };
        let is_receiver = |process: &Process| process.receives_at(envelope.to);
        let index = system.processes.iter().position(is_receiver)?;
        let server = system.processes[index].server()?;
        let requests = vec![(envelope.from, request.clone())];
        let event = Event::RequestsUnderBackpressure(requests);
        server.running.as_ref()?;
        let step = self.transitions.raft_step(server, event, Vec::new());
        let step = step.expect("a request under backpressure costs nothing");
        assert_eq!(step.next, system.processes[index], "nothing is appended");
        if step.next.leads() {
            let [refusal] = &step.sent[..] else {
                panic!("one response is sent");
            };
            assert!(matches!(&refusal.message, Message::ClientResponse(response)
                    if response.id == request.id && response.body == ResponseBody::Overloaded));
        }
        let mut next = system.clone();
        next.network.extend(step.sent);
        self.take(&mut next, envelope);
        Some(next)
    }

    /// Visits every state, and checks the properties in each.
    fn visit(&self) -> Visited {
        let start = self.start();
        let mut seen = BTreeSet::from([start.encode()]);
        let mut frontier = vec![start];
        let mut visited = Visited::default();
        while let Some(system) = frontier.pop() {
            assert_eq!(system.violation, None);
            let values = values_of(&system);
            let operations = &system.history.operations;
            let mut refused = operations.iter().filter(|one| one.end == End::Refused);
            let is_in_log = |operation: &linearizability::Operation| match &operation.call {
                Call::Write(Operation::Put { value, .. }) => values.contains(&value.to_vec()),
                _ => false,
            };
            assert!(
                !refused.clone().any(is_in_log),
                "a write reported as not done is in a log"
            );
            let mut returned = operations.iter().map(|one| &one.end);
            visited.states += 1;
            visited.refused += usize::from(refused.next().is_some());
            visited.acknowledged +=
                usize::from(returned.any(|end| matches!(end, End::Returned(_))));
            for next in self.successors(&system) {
                if seen.insert(next.encode()) {
                    frontier.push(next);
                }
            }
        }
        visited
    }
}

/// The values that the writes in the logs and on the disks have.
fn values_of(system: &System) -> BTreeSet<Vec<u8>> {
    let servers = system.processes.iter().filter_map(Process::server);
    let entries = servers.flat_map(|server| {
        let running = server.running.iter();
        let in_memory = running.flat_map(|running| running.raft.log.entries());
        in_memory.chain(&server.disk.log)
    });
    let value = |entry: &Entry| match &entry.payload {
        Payload::Command(Command::Write(write)) => match &write.operation {
            Operation::Put { value, .. } => Some(value.to_vec()),
            _ => None,
        },
        _ => None,
    };
    entries.filter_map(value).collect()
}

#[test]
fn server_refuses_its_own_client_definitely() {
    let visited = World::new(true).visit();
    assert!(
        visited.refused > 0 && visited.acknowledged > 0,
        "{visited:?}"
    );
}

#[test]
fn network_makes_no_refusal_of_a_write_definite() {
    let visited = World::new(false).visit();
    assert!(
        visited.refused == 0 && visited.acknowledged > 0,
        "{visited:?}"
    );
}
