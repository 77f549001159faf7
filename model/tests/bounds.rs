//! The queues of a leader are bounded, even if its followers are slow or silent, and a rejection
//! guarantees that nothing was executed.

mod cluster;

use cluster::{Cluster, disk, put};
use model::{
    Config, Effects, Event, Message, Role, SessionId,
    message::{RequestBody, ResponseBody},
};
use std::collections::BTreeMap;

/// Server 1 leads servers that no longer respond. Its no-op is committed.
fn abandoned_leader(configure: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::recover(vec![disk(1, &[]); 3], configure);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster.isolate(&[2, 3]);
    cluster
}

/// A write of this size in bytes, in a session that need not exist.
fn write(cluster: &mut Cluster, sequence: u64, bytes: usize) -> model::RequestId {
    let session = SessionId::new(1);
    let value = "x".repeat(bytes);
    cluster.write(1, (session, sequence, 1), put("a", &value))
}

#[test]
fn leader_refuses_writes_beyond_its_bound_of_entries() {
    let mut cluster = abandoned_leader(|config| config.max_uncommitted_entries = 4);
    let accepted = [1, 2, 3, 4].map(|sequence| write(&mut cluster, sequence, 1));
    let last = cluster.raft(1).log().last_index();
    for sequence in 5..100 {
        let refused = write(&mut cluster, sequence, 1);
        assert_eq!(cluster.answer(refused), Some(&ResponseBody::Overloaded));
    }
    assert_eq!(cluster.raft(1).log().last_index(), last);
    assert!(accepted.iter().all(|id| cluster.answer(*id).is_none()));
    // The followers return: accepted entries are committed, and the leader accepts further entries.
    cluster.heal();
    cluster.heartbeat(1);
    cluster.settle();
    for id in accepted {
        assert!(matches!(cluster.answer(id), Some(ResponseBody::Applied(_))));
    }
    let again = write(&mut cluster, 5, 1);
    cluster.settle();
    assert!(matches!(
        cluster.answer(again),
        Some(ResponseBody::Applied(_))
    ));
}

#[test]
fn leader_refuses_writes_beyond_its_bound_of_bytes() {
    let mut cluster = abandoned_leader(|config| config.max_uncommitted_bytes = 1000);
    let mut sequence = 0;
    let refused = loop {
        sequence += 1;
        let id = write(&mut cluster, sequence, 100);
        if cluster.answer(id).is_some() {
            break id;
        }
    };
    assert_eq!(cluster.answer(refused), Some(&ResponseBody::Overloaded));
    assert_eq!(sequence, 9, "eight writes of 125 bytes reach the bound");
    // The next leader inherits the entries, including their size.
    let last = cluster.raft(1).log().last_index();
    cluster.heal();
    cluster.heartbeat(1);
    cluster.settle();
    cluster.isolate(&[1, 3]);
    assert_eq!(cluster.commit(1), last.get());
    let Role::Leader(leader) = cluster.raft(1).role() else {
        panic!("server 1 leads");
    };
    assert_eq!(leader.uncommitted_bytes, 0);
}

#[test]
fn new_leader_counts_the_entries_that_it_inherits() {
    let mut cluster = abandoned_leader(|config| config.max_uncommitted_entries = 4);
    for sequence in 1..=4 {
        write(&mut cluster, sequence, 100);
    }
    cluster.sync(1);
    cluster.network.clear();
    cluster.heal();
    let newer = Message::RequestVoteResponse(model::RequestVoteResponse {
        term: model::Term::new(9),
        vote_granted: false,
    });
    cluster.receive(1, 2, newer);
    cluster.elect_by(1, &[2]);
    let Role::Leader(leader) = cluster.raft(1).role() else {
        panic!("server 1 leads");
    };
    assert_eq!(leader.uncommitted_bytes, 4 * 125 + 8);
    let refused = write(&mut cluster, 5, 1);
    assert_eq!(cluster.answer(refused), Some(&ResponseBody::Overloaded));
}

#[test]
fn leader_refuses_reads_that_nobody_confirms() {
    let mut cluster = abandoned_leader(|config| config.max_pending_reads = 3);
    let accepted = [(); 3].map(|()| cluster.read(1, "a"));
    let refused = cluster.read(1, "a");
    assert_eq!(cluster.answer(refused), Some(&ResponseBody::Overloaded));
    let requests = (0..3).map(|id| {
        let query = model::store::Query::Get { key: "a".into() };
        let request = model::ClientRequest {
            client: model::ClientId::new(7),
            id: model::RequestId::new(1000 + id),
            body: RequestBody::Read { query },
        };
        (cluster::CLIENT, request)
    });
    let requests = requests.collect();
    cluster.step(1, model::Event::Requests(requests));
    assert_eq!(cluster.answers.len(), 4, "none of those that came together");
    cluster.heal();
    cluster.heartbeat(1);
    cluster.settle();
    for id in accepted {
        assert!(matches!(cluster.answer(id), Some(ResponseBody::Found(_))));
    }
}

/// The entries in flight to one follower are bounded in bytes too. Every acknowledgement frees space.
#[test]
fn bytes_in_flight_to_a_follower_are_bounded() {
    let mut cluster = Cluster::recover(vec![disk(1, &[]); 3], |config| {
        config.max_bytes_per_append = 1000;
        config.max_bytes_in_flight = 3000;
    });
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    for sequence in 1..=20 {
        write(&mut cluster, sequence, 975);
    }
    let entries = |cluster: &Cluster| {
        let sent = cluster.between(1, 2).into_iter();
        sent.map(|message| match message {
            Message::AppendEntriesRequest(request) => request.entries.len(),
            _ => 0,
        })
        .sum::<usize>()
    };
    assert_eq!(entries(&cluster), 3);
    let mut most = 0;
    while cluster.raft(2).log().last_index() < cluster.raft(1).log().last_index() {
        most = most.max(entries(&cluster));
        cluster.deliver(1, 2);
        cluster.sync(2);
        cluster.deliver(2, 1);
    }
    assert_eq!(most, 3);
    cluster.settle();
    assert_eq!(cluster.commit(1), 21);
}

/// If the disk falls behind, a leader refuses the requests that it would append to its log, and no
/// others.
#[test]
fn leader_under_backpressure_refuses_commands_and_serves_reads() {
    let client = model::ClientId::new(7);
    let key = || b"a".to_vec();
    let query = model::store::Query::Get { key: key() };
    let session = SessionId::new(1);
    let increment = |key| RequestBody::Write {
        session,
        sequence: 1,
        acknowledged: 1,
        operation: model::store::Operation::Increment { key, by: 1 },
    };
    let bodies = [
        RequestBody::Read {
            query: query.clone(),
        },
        RequestBody::OpenSession,
        increment(key()),
        RequestBody::StaleRead { query },
        RequestBody::CloseSession { session },
        // Every server rejects this request permanently.
        increment(vec![]),
        RequestBody::RenewSession { session },
    ];
    let requests = (1..).zip(bodies).map(|(id, body)| {
        let id = model::RequestId::new(id);
        (cluster::CLIENT, model::ClientRequest { client, id, body })
    });
    let requests = Vec::from_iter(requests);
    let cluster = abandoned_leader(|_| {});
    let before = cluster.raft(1).log().last_index();
    let mut leader = cluster.raft(1).clone();
    let effects = leader.step(Event::RequestsUnderBackpressure(requests.clone()));
    assert_eq!((leader.log().last_index(), &effects.write), (before, &None));
    let bodies = responses(&effects);
    let refused = bodies
        .iter()
        .filter(|(_, body)| **body == ResponseBody::Overloaded);
    assert_eq!(Vec::from_iter(refused.map(|(id, _)| *id)), [2, 3, 5, 7]);
    assert!(matches!(bodies[&4], ResponseBody::FoundStale(_)));
    assert!(matches!(bodies[&6], ResponseBody::OutsideLimits(_)));
    // The read waits for a majority.
    assert!(!bodies.contains_key(&1));
    // Without backpressure the same requests are appended, so a false report costs no safety.
    let effects = leader.step(Event::Requests(requests.clone()));
    assert!(!responses(&effects).contains_key(&2));
    assert!(leader.log().last_index() > before);
    // A follower names the leader instead.
    let mut follower = cluster.raft(2).clone();
    let effects = follower.step(Event::RequestsUnderBackpressure(requests));
    let bodies = responses(&effects);
    assert!(matches!(bodies[&2], ResponseBody::NotLeader { .. }));
    assert!(
        bodies
            .values()
            .all(|body| *body != ResponseBody::Overloaded)
    );
}

/// The responses to clients, by request.
fn responses(effects: &Effects) -> BTreeMap<u64, ResponseBody> {
    let responses = effects
        .sends
        .iter()
        .filter_map(|envelope| match &envelope.message {
            Message::ClientResponse(response) => Some((response.id.get(), response.body.clone())),
            _ => None,
        });
    responses.collect()
}
