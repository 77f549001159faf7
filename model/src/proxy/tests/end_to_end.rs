//! A client, a proxy and a server together.

use super::{CLIENT, ID, N1, proxy};
use crate::{
    Config, LogIndex, Raft,
    client::{self, Client, ClientConfig, Done, Invocation, Outcome},
    proxy::*,
    raft::{self, Durable},
    store::{Answer, Condition, Found, Operation, Query, Versioned},
};
use alloc::collections::VecDeque;

/// A client, a proxy and a cluster of one server, with a reliable network.
struct World {
    client: Client,
    proxy: Proxy,
    server: Raft,
    outcome: Option<Outcome>,
}

impl World {
    fn new() -> Self {
        let mut server = Raft::recover(N1, Config::production([N1].into()), Durable::default());
        let mut write = server.step(raft::Event::ElectionTimeout).write;
        while let Some(done) = write {
            write = server.step(raft::Event::Persisted(done.id)).write;
        }
        let config = ClientConfig::new(Address::Proxy(ID), 2);
        Self {
            client: Client::new(CLIENT, config),
            proxy: proxy(2),
            server,
            outcome: None,
        }
    }

    fn run(&mut self, event: client::Event) -> Option<Outcome> {
        let mut mail = VecDeque::new();
        let effects = self.client.step(event);
        self.outcome = effects.outcome;
        mail.extend(effects.sends);
        while let Some(Envelope { from, to, message }) = mail.pop_front() {
            match to {
                Address::Client(_) => {
                    let event = client::Event::Receive { from, message };
                    let effects = self.client.step(event);
                    self.outcome = effects.outcome.or(self.outcome.take());
                    mail.extend(effects.sends);
                }
                Address::Proxy(_) => {
                    let random_node = N1;
                    let effects = self.proxy.step(Event::Receive {
                        from,
                        message,
                        random_node,
                    });
                    mail.extend(effects.sends);
                }
                Address::Node(_) => {
                    let effects = self.server.step(raft::Event::Receive { from, message });
                    mail.extend(effects.sends);
                    if let Some(write) = effects.write {
                        let effects = self.server.step(raft::Event::Persisted(write.id));
                        mail.extend(effects.sends);
                    }
                }
            }
        }
        self.outcome.take()
    }
}

#[test]
fn operations_run_from_client_through_proxy_to_server_and_back() {
    let mut world = World::new();
    let key = b"k".to_vec();
    let value = crate::store::Value::from("v");
    // Entry 1 is the leader's no-op, 2 opens the session.
    let version = LogIndex::new(3);
    let put = Operation::Put {
        key: key.clone(),
        value: value.clone(),
        condition: Condition::Absent,
    };
    let outcome = world.run(client::Event::Invoke(Invocation::Write(put)));
    let written = Answer::Written { version };
    assert_eq!(outcome, Some(Outcome::Done(Done::Answered(written))));
    let outcome = world.run(client::Event::Invoke(Invocation::Read(Query::Get { key })));
    let found = Found::Value(Some(Versioned { value, version }));
    assert_eq!(outcome, Some(Outcome::Done(Done::Found(found))));
    assert_eq!(
        (world.proxy.in_flight(), world.proxy.leader()),
        (0, Some(N1))
    );
}
