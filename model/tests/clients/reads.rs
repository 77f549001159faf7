//! Linearizable and stale reads.

use crate::{
    cluster,
    cluster::{Cluster, disk, put},
    found, leader, text,
};
use model::{
    ClientId, ClientRequest, Event, FoundStale, RequestId,
    message::{RequestBody, ResponseBody},
    store::{Condition, Found, LimitError, MAX_VALUE_BYTES, Operation, Query},
};

/// A read waits until a majority has responded to a message that was sent after the read arrived.
#[test]
fn read_waits_for_a_majority() {
    let mut cluster = leader(5);
    let read = cluster.read(1, "a");
    assert_eq!(cluster.answer(read), None);
    exchange(&mut cluster, 1, 2);
    assert_eq!(cluster.answer(read), None);
    exchange(&mut cluster, 1, 3);
    assert_eq!(found(&cluster, read), None);
}

/// A cluster of one server is its own majority.
#[test]
fn read_of_a_single_server_is_answered_at_once() {
    let mut cluster = leader(1);
    let read = cluster.read(1, "a");
    assert_eq!(found(&cluster, read), None);
}

/// A new leader does not know the last commit index of its predecessors until it has committed an
/// entry of its own: the support of a majority is not sufficient.
#[test]
fn read_waits_for_the_leaders_own_entry() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    cluster.write(1, (session, 1, 1), put("a", "1"));
    for follower in 2..=3 {
        cluster.sync(1);
        exchange(&mut cluster, 1, follower);
    }
    // The write is committed, but n1 crashed before it could inform the others. n2 becomes the next
    // leader.
    assert_eq!((cluster.commit(1), cluster.commit(2)), (3, 2));
    cluster.crash(1);
    cluster.network.clear();
    cluster.elect_by(2, &[3]);
    cluster.network.clear();
    let read = cluster.read(2, "a");
    cluster.deliver(2, 3);
    assert_eq!(cluster.answer(read), None);
    cluster.settle();
    assert_eq!(found(&cluster, read).as_deref(), Some("1"));
}

/// The two conditions are separate: a rejected append confirms the round, but commits nothing.
#[test]
fn read_confirmed_by_refusals_still_waits_for_the_leaders_own_entry() {
    let mut disks = vec![disk(1, &[]); 3];
    disks[0] = disk(1, &[1, 1]);
    let mut cluster = Cluster::recover(disks, |_| {});
    cluster.elect_by(1, &[2]);
    cluster.sync(1);
    cluster.network.clear();
    let read = cluster.read(1, "a");
    cluster.deliver(1, 2);
    assert_eq!(
        cluster.in_flight()[1..],
        ["n2 -> n1 Appended t2 conflict at 2: may agree up to 0@t0 round=1"]
    );
    cluster.deliver(2, 1);
    assert_eq!(cluster.answer(read), None);
    cluster.settle();
    assert_eq!(found(&cluster, read), None);
}

/// A deposed leader that does not know about its successor answers no reads, because a majority
/// follows the successor.
#[test]
fn read_at_a_deposed_leader_is_interrupted() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    cluster.isolate(&[1]);
    cluster.elect(2);
    cluster.write(2, (session, 1, 1), put("a", "new"));
    cluster.settle();
    assert!(cluster.leads(1));
    let read = cluster.read(1, "a");
    cluster.settle();
    assert_eq!(cluster.answer(read), None);
    cluster.heal();
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(
        cluster.answer(read),
        Some(&ResponseBody::Interrupted { hint: None })
    );
}

/// An isolated server answers a stale read from its own state, and reports its applied index. It does
/// not answer a linearizable read.
#[test]
fn stale_read_is_answered_by_any_server_alone() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    cluster.write(1, (session, 1, 1), put("a", "old"));
    cluster.settle();
    cluster.heartbeat(1);
    cluster.settle();
    cluster.isolate(&[3]);
    cluster.write(1, (session, 2, 2), put("a", "new"));
    cluster.settle();
    cluster.heartbeat(1);
    cluster.settle();
    for (server, value, applied) in [(1, "new", 4), (2, "new", 4), (3, "old", 3)] {
        let read = cluster.stale_read(server, "a");
        assert_eq!(stale(&cluster, read), (Some(value.to_owned()), applied));
    }
    let read = cluster.read(3, "a");
    assert!(matches!(
        cluster.answer(read),
        Some(ResponseBody::NotLeader { .. })
    ));
    // No other server can confirm the leadership: the leader's linearizable read waits, its stale read
    // does not.
    cluster.isolate(&[1, 2, 3]);
    let read = cluster.read(1, "a");
    cluster.settle();
    assert_eq!(cluster.answer(read), None);
    let read = cluster.stale_read(1, "a");
    assert_eq!(stale(&cluster, read), (Some("new".to_owned()), 4));
}

/// A server that has just started knows no committed entry, and reports index 0.
#[test]
fn stale_read_after_a_restart_is_of_the_empty_prefix() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    cluster.write(1, (session, 1, 1), put("a", "1"));
    cluster.settle();
    cluster.crash(1);
    cluster.restart(1);
    let read = cluster.stale_read(1, "a");
    assert_eq!(stale(&cluster, read), (None, 0));
}

/// Stale reads in the same batch do not affect other requests.
#[test]
fn stale_reads_among_other_requests_leave_them_as_they_are() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    let request = |id: u64, body| ClientRequest {
        client: ClientId::new(1),
        id: RequestId::new(id),
        body,
    };
    let query = || Query::Get { key: b"a".to_vec() };
    let stale = || RequestBody::StaleRead { query: query() };
    let write = RequestBody::Write {
        session,
        sequence: 1,
        acknowledged: 1,
        operation: put("a", "1"),
    };
    let read = RequestBody::Read { query: query() };
    let others = [request(1, write), request(2, read)];
    let mut among = Vec::from(others.clone());
    among.insert(1, request(3, stale()));
    among.push(request(4, stale()));
    let of = |requests: &[ClientRequest]| {
        let requests = requests
            .iter()
            .map(|request| (cluster::CLIENT, request.clone()));
        Event::Requests(requests.collect())
    };
    let (mut plain, mut mixed) = (cluster.raft(1).clone(), cluster.raft(1).clone());
    let expected = plain.step(of(&others));
    let mut effects = mixed.step(of(&among));
    let mut answers = effects
        .sends
        .extract_if(.., |send| send.to == cluster::CLIENT);
    assert_eq!(answers.by_ref().count(), 2);
    drop(answers);
    assert_eq!((mixed, effects), (plain, expected));
}

/// A late or duplicated response to an earlier round proves nothing about the present: the follower
/// may have a new leader since.
#[test]
fn read_is_not_confirmed_by_a_late_acknowledgement_of_an_earlier_round() {
    let mut cluster = leader(3);
    let first = cluster.read(1, "a");
    cluster.deliver(1, 2);
    let late = cluster.network.last().cloned().expect("an acknowledgement");
    cluster.settle();
    assert!(cluster.answer(first).is_some());

    let second = cluster.read(1, "a");
    cluster.arrive(late);
    assert_eq!(cluster.answer(second), None);
    exchange(&mut cluster, 1, 2);
    assert!(cluster.answer(second).is_some());
}

/// A later round confirms the reads of all earlier rounds.
#[test]
fn read_is_confirmed_by_any_later_round() {
    let mut cluster = leader(3);
    let reads = [(); 3].map(|()| cluster.read(1, "a"));
    let last = cluster.take(1, 2).pop().expect("a request");
    cluster.network.clear();
    cluster.arrive(last);
    cluster.deliver(2, 1);
    for read in reads {
        assert!(cluster.answer(read).is_some());
    }
}

/// Rounds are numbered per term. The rejection of a request of an older term carries the current term,
/// so it must not contain a round number: the leader would interpret it as a round of the current
/// term.
#[test]
fn read_is_not_confirmed_by_the_refusal_of_an_older_term() {
    let mut cluster = leader(3);
    cluster.read(1, "a");
    cluster.read(1, "a");
    let old = cluster.take(1, 2).pop().expect("a request of round 2");
    cluster.network.clear();
    // n1 loses the leadership and regains it.
    cluster.elect(2);
    cluster.elect(1);
    let read = cluster.read(1, "a");
    cluster.network.clear();
    cluster.arrive(old);
    assert_eq!(cluster.in_flight(), ["n2 -> n1 Appended t3 stale term"]);
    cluster.deliver(2, 1);
    assert_eq!(cluster.answer(read), None);
    cluster.heartbeat(1);
    cluster.settle();
    assert!(cluster.answer(read).is_some());
}

/// A server that is not the leader rejects the request without any effect, and names the leader if it
/// knows it.
#[test]
fn request_to_a_follower_is_turned_away() {
    let mut cluster = leader(3);
    let write = cluster.request(2, RequestBody::OpenSession);
    let read = cluster.read(3, "a");
    let hint = cluster.raft(1).id();
    for id in [write, read] {
        let turned_away = ResponseBody::NotLeader { hint: Some(hint) };
        assert_eq!(cluster.answer(id), Some(&turned_away));
    }
    cluster.timeout(2);
    let lost = cluster.read(2, "a");
    assert_eq!(
        cluster.answer(lost),
        Some(&ResponseBody::NotLeader { hint: None })
    );
    assert_eq!(cluster.terms(2), [1]);
}

/// Every server rejects a key or a value that exceeds the limits, and no log changes.
#[test]
fn request_outside_of_the_limits_is_refused_by_every_server() {
    let mut cluster = leader(3);
    let session = cluster.open_session(1);
    let large = Operation::Put {
        key: b"a".to_vec(),
        value: vec![0; MAX_VALUE_BYTES + 1].into(),
        condition: Condition::Always,
    };
    let length = MAX_VALUE_BYTES as u64 + 1;
    for server in 1..=3 {
        let write = cluster.write(server, (session, 1, 1), large.clone());
        let empty = cluster.read(server, "");
        let stale = cluster.stale_read(server, "");
        for (id, error) in [
            (write, LimitError::ValueTooLarge { length }),
            (empty, LimitError::EmptyKey),
            (stale, LimitError::EmptyKey),
        ] {
            let refused = ResponseBody::OutsideLimits(error);
            assert_eq!(cluster.answer(id), Some(&refused));
        }
    }
    cluster.settle();
    assert_eq!(cluster.terms(1).len(), 2);
}

/// Delivers the messages in flight to a follower, and its responses.
fn exchange(cluster: &mut Cluster, leader: u64, follower: u64) {
    cluster.deliver(leader, follower);
    cluster.sync(follower);
    cluster.deliver(follower, leader);
}

/// The result of a stale read, and its applied index.
fn stale(cluster: &Cluster, read: RequestId) -> (Option<String>, u64) {
    match cluster.answer(read) {
        Some(ResponseBody::FoundStale(FoundStale {
            found: Found::Value(found),
            applied_index,
        })) => {
            let value = found.as_ref().map(|found| text(&found.value));
            (value, applied_index.get())
        }
        other => panic!("not a stale value: {other:?}"),
    }
}
