//! Permutations of the servers. The protocol does not depend on server ids, so systems that differ only
//! by a permutation of the servers behave alike (symmetry).

use super::{
    System,
    process::{Local, Process, Running, Server},
    properties::history::{History, Observation},
};
use crate::{
    Address, ClientResponse, Durable, Envelope, Message, NodeId, Raft, Role, Write,
    message::ResponseBody, proxy::Proxy,
};
use alloc::{vec, vec::Vec};

/// A permutation of the servers 1..=n.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permutation(Vec<u64>);

impl Permutation {
    /// All permutations of `count` servers, the identity first.
    pub fn all(count: usize) -> Vec<Self> {
        let mut found = Vec::new();
        let mut names: Vec<u64> = (1..=count as u64).collect();
        permute(&mut names, 0, &mut found);
        found.sort();
        found
    }

    /// The image of a server.
    pub fn node(&self, id: NodeId) -> NodeId {
        match id
            .get()
            .checked_sub(1)
            .and_then(|index| self.0.get(index as usize))
        {
            Some(name) => NodeId::new(*name),
            None => id,
        }
    }

    /// The image of an index, counted from 0.
    pub fn image(&self, index: usize) -> usize {
        self.0[index] as usize - 1
    }

    fn address(&self, address: Address) -> Address {
        match address {
            Address::Node(id) => Address::Node(self.node(id)),
            other => other,
        }
    }
}

fn permute(names: &mut Vec<u64>, fixed: usize, found: &mut Vec<Permutation>) {
    if fixed == names.len() {
        found.push(Permutation(names.clone()));
        return;
    }
    for index in fixed..names.len() {
        names.swap(fixed, index);
        permute(names, fixed + 1, found);
        names.swap(fixed, index);
    }
}

/// A value that contains server ids.
pub trait Relabel {
    /// Applies a permutation to all server ids.
    #[must_use]
    fn relabel(&self, names: &Permutation) -> Self;
}

impl Relabel for Message {
    fn relabel(&self, names: &Permutation) -> Self {
        let Self::ClientResponse(ClientResponse { client, id, body }) = self else {
            return self.clone();
        };
        let hint = |hint: &Option<NodeId>| hint.map(|id| names.node(id));
        let body = match body {
            ResponseBody::NotLeader { hint: old } => ResponseBody::NotLeader { hint: hint(old) },
            ResponseBody::Interrupted { hint: old } => {
                ResponseBody::Interrupted { hint: hint(old) }
            }
            other => other.clone(),
        };
        Self::ClientResponse(ClientResponse {
            client: *client,
            id: *id,
            body,
        })
    }
}

impl Relabel for Envelope {
    fn relabel(&self, names: &Permutation) -> Self {
        Self {
            from: names.address(self.from),
            to: names.address(self.to),
            message: self.message.relabel(names),
        }
    }
}

impl Relabel for Write {
    fn relabel(&self, names: &Permutation) -> Self {
        let mut write = self.clone();
        if let Some(hard_state) = &mut write.hard_state {
            hard_state.voted_for = hard_state.voted_for.map(|id| names.node(id));
        }
        write
    }
}

impl Relabel for Durable {
    fn relabel(&self, names: &Permutation) -> Self {
        let mut durable = self.clone();
        durable.hard_state.voted_for = durable.hard_state.voted_for.map(|id| names.node(id));
        durable
    }
}

impl Relabel for Raft {
    fn relabel(&self, names: &Permutation) -> Self {
        let mut raft = self.clone();
        raft.id = names.node(self.id);
        raft.voted_for = self.voted_for.map(|id| names.node(id));
        match &mut raft.role {
            Role::Follower { leader, .. } => *leader = leader.map(|id| names.node(id)),
            Role::PreCandidate { votes } => {
                *votes = votes.iter().map(|id| names.node(*id)).collect();
            }
            Role::Candidate(candidate) => {
                candidate.votes = candidate.votes.iter().map(|id| names.node(*id)).collect();
            }
            Role::Leader(leader) => {
                leader.followers = leader
                    .followers
                    .iter()
                    .map(|(id, progress)| (names.node(*id), *progress))
                    .collect();
                if let Some(transfer) = &mut leader.transfer {
                    transfer.target = names.node(transfer.target);
                }
                leader.recently_active = leader
                    .recently_active
                    .iter()
                    .map(|id| names.node(*id))
                    .collect();
            }
        }
        for held in &mut raft.held {
            held.envelope = held.envelope.relabel(names);
        }
        raft.sort_held();
        #[cfg(feature = "mutants")]
        {
            raft.remembered_progress = self
                .remembered_progress
                .iter()
                .map(|(id, progress)| (names.node(*id), *progress))
                .collect();
        }
        raft
    }
}

impl Relabel for Server {
    fn relabel(&self, names: &Permutation) -> Self {
        Self {
            id: names.node(self.id),
            disk: self.disk.relabel(names),
            running: self.running.as_ref().map(|running| Running {
                raft: running.raft.relabel(names),
                unsynced: running
                    .unsynced
                    .iter()
                    .map(|write| write.relabel(names))
                    .collect(),
            }),
        }
    }
}

impl Relabel for Proxy {
    fn relabel(&self, names: &Permutation) -> Self {
        let mut proxy = self.clone();
        proxy.leader = proxy.leader.map(|id| names.node(id));
        proxy.overloaded = proxy.overloaded.map(|id| names.node(id));
        for pending in proxy.in_flight.values_mut() {
            pending.awaited = pending.awaited.map(|id| names.node(id));
        }
        proxy
    }
}

impl Relabel for Process {
    fn relabel(&self, names: &Permutation) -> Self {
        match self {
            Self::Server(server) => Self::Server(server.relabel(names)),
            Self::Proxy(proxy) => Self::Proxy(proxy.relabel(names)),
            Self::Client(client) => Self::Client(client.clone()),
        }
    }
}

impl Relabel for Local {
    fn relabel(&self, names: &Permutation) -> Self {
        match self {
            Self::Deliver { envelope, ask } => Self::Deliver {
                envelope: envelope.relabel(names),
                ask: ask.map(|id| names.node(id)),
            },
            Self::ProxyTimeout { client, id, ask } => Self::ProxyTimeout {
                client: *client,
                id: *id,
                ask: names.node(*ask),
            },
            Self::TransferLeadership(target) => Self::TransferLeadership(names.node(*target)),
            other => other.clone(),
        }
    }
}

impl Relabel for History {
    fn relabel(&self, names: &Permutation) -> Self {
        let mut history = self.clone();
        for election in history.elected.values_mut() {
            election.leader = names.node(election.leader);
        }
        history
    }
}

impl Relabel for Observation {
    fn relabel(&self, names: &Permutation) -> Self {
        let mut observation = self.clone();
        if let Self::Elected { leader, .. } = &mut observation {
            *leader = names.node(*leader);
        }
        observation
    }
}

impl Relabel for System {
    fn relabel(&self, names: &Permutation) -> Self {
        let servers = self
            .processes
            .iter()
            .filter(|process| process.server().is_some())
            .count();
        let mut processes = vec![None; self.processes.len()];
        for (index, process) in self.processes.iter().enumerate() {
            let index = if index < servers {
                names.image(index)
            } else {
                index
            };
            processes[index] = Some(process.relabel(names));
        }
        Self {
            processes: processes.into_iter().flatten().collect(),
            network: self
                .network
                .iter()
                .map(|envelope| envelope.relabel(names))
                .collect(),
            spent: self.spent,
            history: self.history.relabel(names),
            violation: self.violation.clone(),
        }
    }
}
