//! Forged datagrams.

use crate::{Cluster, dropped, poll};
use model::{
    Address, AppendEntriesResponse, AppendOutcome, Envelope, LogIndex, Message, NodeId, Term,
    admission::{
        DiskId, EntryAt, IdentityMessage, LogAt, Record, Request, Response, Standing, Table,
    },
    wire::{BootId, VotersDigest},
};
use node::Node;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};
use transport::Endpoint;

/// An attacker without keys that can reach the sockets and has seen one datagram of each server.
struct Forger {
    endpoint: Endpoint,
    from: NodeId,
    to: NodeId,
}

impl Forger {
    async fn new(from: NodeId, boot: BootId, to: &Node) -> Self {
        let mut config = transport::Config::new(SocketAddr::from(([127, 0, 0, 1], 0)), "test");
        config.voters = VotersDigest::new(&(1..=3).map(NodeId::new).collect());
        config.boot = Some(boot);
        config.peers = [(Address::Node(to.id()), to.local_addr())].into();
        let (endpoint, _) = Endpoint::bind(config).await.unwrap();
        Self {
            endpoint,
            from,
            to: to.id(),
        }
    }

    fn send(&self, message: Message) {
        self.endpoint.send(vec![Envelope {
            from: Address::Node(self.from),
            to: Address::Node(self.to),
            message,
        }]);
    }

    /// Sends every claim that could make a server stop counting.
    fn send_identities(&self) {
        let record = |standing| Record {
            disk: DiskId::new(99),
            starts: [(
                1,
                BootId {
                    started: 1,
                    random: 1,
                },
            )]
            .into(),
            earlier: BTreeMap::new(),
            copies: BTreeSet::new(),
            standing,
        };
        let request = Request {
            nonce: 1,
            version: u64::MAX,
            starts: (0..100).collect(),
            entry: Some(LogIndex::new(1)),
        };
        self.send(Message::Identity(IdentityMessage::Request(request)));
        for standing in [Standing::Trusted, Standing::LostEntries] {
            let table = Table::from([1, 2, 3].map(|id| (NodeId::new(id), record(standing))));
            let response = Response {
                nonce: 1,
                disk: DiskId::new(99),
                counter: 100,
                boots: [(1, None)].into(),
                version: u64::MAX,
                table,
                merged: u64::MAX,
                log: Some(LogAt {
                    term: Term::new(1),
                    index: LogIndex::new(1),
                    entry: EntryAt::Missing,
                }),
            };
            self.send(Message::Identity(IdentityMessage::Response(response)));
        }
    }

    /// Claims to be a follower whose log is empty.
    fn send_conflict(&self, term: u64) {
        self.send(Message::AppendEntriesResponse(AppendEntriesResponse {
            term: Term::new(term),
            read_round: 0,
            outcome: AppendOutcome::Conflict {
                prev_log_index: LogIndex::new(1),
                conflict_term: Term::ZERO,
                conflict_index: LogIndex::ZERO,
            },
        }));
    }
}

/// Without keys, every datagram reveals a boot id, and an attacker can write it into any datagram.
/// No such datagram suspends a server or makes a peer stop counting, now or after a restart.
#[tokio::test]
async fn forged_datagrams_silence_nobody_without_keys() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.settle().await;
    let (follower, third) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.put("a").await;
    for (from, to) in [(leader, follower), (follower, leader)] {
        let boot = cluster.boot_of(from, to).await;
        let (from, at) = (cluster.node(from).id(), cluster.node(to));
        let before = dropped(&at.metrics().await, "not-admitted");
        let forger = Forger::new(from, boot, at).await;
        let stranger = BootId {
            started: boot.started + 1,
            random: 1,
        };
        let other = Forger::new(from, stranger, at).await;
        forger.send_identities();
        other.send_identities();
        // The identity messages were received before this one.
        other.send_conflict(1);
        poll("the last forged datagram", async || {
            let metrics = at.metrics().await;
            (dropped(&metrics, "not-admitted") > before).then_some(())
        })
        .await;
    }
    cluster.stop(third).await;
    cluster.expect_all_counted([leader, follower]).await;
    // An attacker may also know which entries a restarted follower had acknowledged.
    cluster.start_node(third).await;
    let leader = cluster.settle().await;
    let (follower, third) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.kill(follower).await;
    cluster.start_node(follower).await;
    assert_eq!(cluster.settle().await, leader, "the leader is to stay");
    let boot = cluster.boot_of(follower, leader).await;
    let at = cluster.node(leader);
    let forger = Forger::new(cluster.node(follower).id(), boot, at).await;
    let term = cluster.status(leader).await.term;
    poll("a forged conflict to be doubted", async || {
        forger.send_conflict(term);
        let metrics = at.metrics().await;
        (dropped(&metrics, "doubtful") > 0).then_some(())
    })
    .await;
    cluster.stop(third).await;
    cluster.expect_all_counted([leader, follower]).await;
    for place in [leader, follower] {
        cluster.stop(place).await;
    }
    for place in [leader, follower] {
        cluster.start_node(place).await;
    }
    cluster.expect_all_counted([leader, follower]).await;
}
