//! The initial system of a scope.

use super::{
    Action, System,
    process::{ClientProcess, Local, Process, Running, Server},
    properties::history::History,
    scope::Usage,
    transition_system::TransitionSystem,
};
use crate::{
    Address, ClientId, Config, Durable, Entry, HardState, Message, Payload, ProxyId, Raft, Term,
    client::{Client, ClientConfig},
    proxy::{Proxy, ProxyConfig},
    store::Command,
};
use alloc::{collections::BTreeSet, vec, vec::Vec};

impl TransitionSystem {
    /// The initial system: all servers are up and the network is empty. With a session, the cluster
    /// starts as if restored from an image whose log, written in term 1, opens that session.
    pub fn initial(&self) -> System {
        let mut disk = Durable::default();
        if self.scope.with_session {
            let term = Term::new(1);
            let Config {
                max_sessions: capacity,
                session_window: window,
                ..
            } = self.scope.config();
            disk.hard_state = HardState {
                current_term: term,
                voted_for: None,
            };
            disk.log = vec![Entry {
                term,
                payload: Payload::Command(Command::OpenSession { capacity, window }),
            }];
        }
        let mut processes: Vec<Process> = self
            .scope
            .nodes()
            .map(|id| {
                Process::Server(Server {
                    id,
                    disk: disk.clone(),
                    running: Some(Running {
                        raft: Raft::recover(id, self.scope.config_of(id), disk.clone()),
                        unsynced: Vec::new(),
                    }),
                })
            })
            .collect();
        if !self.scope.plans.is_empty() {
            let id = ProxyId::new(1);
            #[cfg_attr(not(feature = "mutants"), expect(unused_mut))]
            let mut config =
                ProxyConfig::new(self.scope.nodes().collect(), self.scope.attempts, 16);
            #[cfg(feature = "mutants")]
            {
                config.mutant = self.scope.mutant;
            }
            processes.push(Process::Proxy(Proxy::new(id, config)));
            for index in 0..self.scope.plans.len() {
                let number = ClientId::new(index as u64 + 1);
                processes.push(Process::Client(ClientProcess {
                    number,
                    client: self.client(number, Address::Proxy(id)),
                    invoked: 0,
                    invoked_before: 0,
                }));
            }
        }
        let mut system = System {
            processes,
            network: BTreeSet::new(),
            spent: Usage::default(),
            history: History::default(),
            violation: None,
        };
        if self.scope.starts_with_leader
            && let Some(elected) = self.elect_first(&system)
        {
            system = elected;
        }
        system
    }

    /// Elects the first server with all votes. The messages that it sends as leader are lost. Returns
    /// `None` if the election is impossible, as with some planted bugs.
    fn elect_first(&self, system: &System) -> Option<System> {
        let mut system = system.clone();
        let first = Action {
            process: 0,
            local: Local::ElectionTimeout,
        };
        self.advance(&mut system, &first)?;
        loop {
            let after = |action: Action| {
                let is_wanted = match &action.local {
                    Local::Sync => true,
                    Local::Deliver { envelope, .. } => matches!(
                        envelope.message,
                        Message::RequestVoteRequest(_)
                            | Message::RequestVoteResponse(_)
                            | Message::PreVoteRequest(_)
                            | Message::PreVoteResponse(_)
                    ),
                    _ => false,
                };
                let mut next = system.clone();
                (is_wanted && self.advance(&mut next, &action).is_some() && next != system)
                    .then_some(next)
            };
            let Some(next) = self.actions(&system).into_iter().find_map(after) else {
                system.network.clear();
                let leads = system.processes[0].leads();
                return (leads && system.violation.is_none()).then_some(system);
            };
            system = next;
        }
    }

    /// The client process. Only the first client has the initial session of the scope.
    fn client(&self, id: ClientId, proxy: Address) -> Client {
        let mut config = ClientConfig::new(proxy, self.scope.attempts);
        config.max_refusals = self.scope.attempts;
        #[cfg(feature = "mutants")]
        {
            config.mutant = self.scope.mutant;
        }
        if self.scope.with_session && id.get() == 1 {
            return Client::with_session(id, config, self.scope.session());
        }
        Client::new(id, config)
    }
}
