//! Leadership transfer (thesis §3.10).

use crate::{
    cluster::{Cluster, node, put},
    elections::followed_leader,
    leader,
};
use model::{
    Event, Message, Role, Term, TimeoutNowRequest, Timer,
    message::{RequestBody, ResponseBody},
};

fn transfer(cluster: &mut Cluster, from: u64, target: u64) {
    cluster.step(from, Event::TransferLeadership(node(target)));
}

fn timeout_now(term: u64) -> Message {
    Message::TimeoutNowRequest(TimeoutNowRequest {
        term: Term::new(term),
    })
}

/// The target leads in the next term, although the other servers have a live leader and run PreVote.
#[test]
fn target_leads_without_a_timeout() {
    for mut cluster in [leader(), followed_leader(true)] {
        transfer(&mut cluster, 1, 3);
        assert_eq!(cluster.between(1, 3), [&timeout_now(2)]);
        cluster.settle();
        assert!(cluster.leads(3));
        assert_eq!(cluster.term(3), 3);
        assert!(matches!(cluster.raft(1).role(), Role::Follower { .. }));
    }
}

/// TimeoutNow waits until the target has every entry on its disk, and until every entry is committed.
#[test]
fn timeout_now_waits_for_the_whole_log() {
    let mut cluster = leader();
    let session = cluster.open_session(1);
    cluster.isolate(&[3]);
    cluster.write(1, (session, 1, 1), put("k", "v"));
    cluster.settle();
    cluster.heal();
    transfer(&mut cluster, 1, 3);
    assert!(!cluster.between(1, 3).contains(&&timeout_now(2)));
    cluster.heartbeat(1);
    cluster.deliver(1, 3);
    cluster.deliver(3, 1);
    cluster.deliver(1, 3);
    // The entry is in memory, and its write is not durable.
    assert!(!cluster.unsynced(3).is_empty());
    assert!(!cluster.between(1, 3).contains(&&timeout_now(2)));
    cluster.settle();
    assert!(cluster.leads(3));
    assert_eq!(cluster.terms(3), [2, 2, 2, 3]);
}

/// The leader answers its pending requests first, and sends new ones to the target.
#[test]
fn no_request_is_interrupted() {
    let mut cluster = leader();
    let session = cluster.open_session(1);
    let write = cluster.write(1, (session, 1, 1), put("k", "v"));
    let read = cluster.read(1, "k");
    transfer(&mut cluster, 1, 2);
    let late = cluster.request(1, RequestBody::OpenSession);
    let hint = Some(node(2));
    assert_eq!(
        cluster.answer(late),
        Some(&ResponseBody::NotLeader { hint })
    );
    cluster.settle();
    assert!(cluster.leads(2));
    assert!(matches!(
        cluster.answer(write),
        Some(ResponseBody::Applied(_))
    ));
    assert!(matches!(cluster.answer(read), Some(ResponseBody::Found(_))));
}

/// A leader whose target does not respond accepts requests again after an election timeout.
#[test]
fn transfer_to_a_silent_server_is_aborted() {
    let mut cluster = leader();
    cluster.isolate(&[3]);
    transfer(&mut cluster, 1, 3);
    assert_eq!(cluster.take_timer(1), Some(Timer::Election));
    // Heartbeats repeat TimeoutNow, which may have been lost.
    cluster.heartbeat(1);
    assert!(!cluster.raft(1).may_transfer_to(node(2)));
    cluster.timeout(1);
    assert!(cluster.raft(1).may_transfer_to(node(2)));
    let id = cluster.request(1, RequestBody::OpenSession);
    cluster.settle();
    assert!(matches!(cluster.answer(id), Some(ResponseBody::Applied(_))));
}

/// A delayed TimeoutNow of an older term has no effect.
#[test]
fn timeout_now_of_an_older_term_is_ignored() {
    let mut cluster = leader();
    cluster.receive(2, 3, timeout_now(1));
    assert_eq!(cluster.term(2), 2);
    assert!(matches!(cluster.raft(2).role(), Role::Follower { .. }));
}

/// Only another voter can be the target, and only a leader without a transfer in progress starts one.
#[test]
fn transfer_needs_a_leader_and_another_voter() {
    let mut cluster = leader();
    for (server, target) in [(1, 1), (1, 9), (2, 3)] {
        assert!(!cluster.raft(server).may_transfer_to(node(target)));
        transfer(&mut cluster, server, target);
        assert!(cluster.in_flight().is_empty());
    }
    transfer(&mut cluster, 1, 3);
    transfer(&mut cluster, 1, 2);
    assert!(cluster.between(1, 2).is_empty());
}
