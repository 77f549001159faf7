//! Log compaction: snapshots replace the beginning of a log (Raft §7).

mod cluster;

use cluster::{Cluster, add, disk, entries, node, put};
use model::{
    AppendEntriesRequest, AppendOutcome, Durable, InstallSnapshotRequest, LogIndex, Message,
    Payload, SessionId, Snapshot, Store, Term, message::ResponseBody, store::Answer,
};

/// Three servers that keep no entry below a snapshot; server 1 is the leader.
fn led(patience: u32) -> Cluster {
    let mut cluster = Cluster::recover(vec![Durable::default(); 3], |config| {
        config.trailing_bytes = 0;
        config.snapshot_patience = patience;
    });
    cluster.elect(1);
    cluster
}

/// The leader commits and compacts entries while server 3 is isolated.
fn leave_behind(cluster: &mut Cluster) -> SessionId {
    cluster.isolate(&[3]);
    let session = cluster.open_session(1);
    for sequence in 1..=3 {
        cluster.write(1, (session, sequence, sequence), put("a", "b"));
        cluster.settle();
    }
    cluster.compact(1);
    cluster.sync(1);
    assert_eq!(cluster.base(1), cluster.commit(1));
    cluster.heal();
    session
}

/// The leader probes server 3, finds that its next entry was compacted, and sends a snapshot.
fn probe(cluster: &mut Cluster) {
    cluster.heartbeat(1);
    cluster.deliver(1, 3);
    cluster.sync(3);
    cluster.deliver(3, 1);
    assert_eq!(snapshots(&cluster.between(1, 3)), 1);
}

fn snapshots(messages: &[&Message]) -> usize {
    let is_one = |message: &&&Message| matches!(message, Message::InstallSnapshotRequest(_));
    messages.iter().filter(is_one).count()
}

/// A snapshot of no-op entries with these terms.
fn of_noops(terms: &[u64]) -> Snapshot {
    let config = model::Config::production([node(1)].into());
    let mut store = Store::default();
    for _ in terms {
        store.apply(&Payload::Noop, &config);
    }
    Snapshot {
        last_included_index: LogIndex::new(terms.len() as u64),
        last_included_term: Term::new(*terms.last().expect("some entry")),
        store,
    }
}

fn install(term: u64, terms: &[u64]) -> Message {
    Message::InstallSnapshotRequest(InstallSnapshotRequest {
        term: Term::new(term),
        snapshot: of_noops(terms),
    })
}

#[test]
fn prefix_stays_until_the_snapshot_is_durable() {
    let mut cluster = led(0);
    let session = cluster.open_session(1);
    let commit = cluster.commit(1);
    cluster.compact(1);
    assert_eq!(cluster.base(1), 0);
    // No snapshot begins while another one is being written, and entries that are appended meanwhile
    // stay.
    cluster.compact(1);
    assert_eq!(cluster.unsynced(1).len(), 1);
    cluster.write(1, (session, 1, 1), put("a", "b"));
    cluster.sync_first(1, 1);
    assert_eq!(cluster.base(1), commit);
    cluster.settle();
    assert_eq!(cluster.commit(1), commit + 1);
    // There are no new entries for a snapshot.
    cluster.compact(1);
    cluster.sync(1);
    cluster.compact(1);
    assert!(cluster.unsynced(1).is_empty());
}

/// A request for a snapshot that covers no further entry, or while another is being written, changes nothing.
#[test]
fn compaction_without_a_new_entry_writes_nothing() {
    let mut cluster = led(1);
    cluster.settle();
    cluster.compact(1);
    assert_eq!(cluster.unsynced(1).len(), 1);
    cluster.compact(1);
    assert_eq!(cluster.unsynced(1).len(), 1);
    cluster.sync(1);
    cluster.compact(1);
    assert_eq!(cluster.unsynced(1).len(), 0);
}

#[test]
fn server_starts_again_from_its_snapshot() {
    let mut cluster = led(0);
    let session = cluster.open_session(1);
    cluster.write(1, (session, 1, 1), add("a", 5));
    cluster.settle();
    cluster.compact(2);
    cluster.sync(2);
    let (commit, store) = (cluster.commit(2), cluster.raft(2).store().clone());
    cluster.crash(2);
    cluster.restart(2);
    assert_eq!((cluster.base(2), cluster.commit(2)), (commit, commit));
    assert_eq!(*cluster.raft(2).store(), store);
}

#[test]
fn snapshot_lost_before_it_is_durable_changes_nothing() {
    let mut cluster = led(0);
    let log = cluster.disk(1).log.clone();
    cluster.compact(1);
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(cluster.base(1), 0);
    assert_eq!(cluster.disk(1).log, log);
}

#[test]
fn follower_behind_the_log_is_brought_up_by_a_snapshot() {
    let mut cluster = led(0);
    let session = leave_behind(&mut cluster);
    cluster.heartbeat(1);
    cluster.settle();
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.commit(3), cluster.commit(1));
    assert_eq!(cluster.base(3), cluster.base(1));
    // The snapshot contains the responses of the sessions: a repeated command is answered, not
    // applied.
    cluster.elect(3);
    let again = cluster.write(3, (session, 3, 3), put("a", "b"));
    cluster.settle();
    let answered = cluster.answer(again);
    let Some(ResponseBody::Applied(Answer::Written { version })) = answered else {
        panic!("{answered:?}");
    };
    assert!(version.get() <= cluster.base(3));
}

/// A snapshot may be large: it is not sent with each heartbeat, and heartbeats continue while it is in
/// flight.
#[test]
fn snapshot_is_sent_again_only_after_some_heartbeats() {
    let mut cluster = led(3);
    leave_behind(&mut cluster);
    let mut sent = Vec::new();
    for _ in 0..8 {
        cluster.heartbeat(1);
        let messages = cluster.between(1, 3);
        assert!(
            messages.iter().any(|message| matches!(
                message,
                Message::AppendEntriesRequest(AppendEntriesRequest { entries, .. }) if entries.is_empty()
            )),
            "a heartbeat of the usual kind"
        );
        sent.push(snapshots(&messages));
        // The heartbeat is answered, but the snapshot is lost.
        for envelope in cluster.take(1, 3) {
            if !matches!(envelope.message, Message::InstallSnapshotRequest(_)) {
                cluster.arrive(envelope);
            }
        }
        cluster.sync(3);
        cluster.deliver(3, 1);
        sent.push(snapshots(&cluster.between(1, 3)));
        cluster.take(1, 3);
    }
    let total: usize = sent.iter().sum();
    assert!((2..=4).contains(&total), "{sent:?}");
    assert!(cluster.commit(3) < cluster.base(1));
}

#[test]
fn snapshot_is_acknowledged_when_it_is_durable() {
    let mut cluster = led(0);
    leave_behind(&mut cluster);
    probe(&mut cluster);
    cluster.deliver(1, 3);
    assert_eq!(cluster.commit(3), cluster.commit(1), "in memory");
    let says_so = |message: &&Message| matches!(message, Message::InstallSnapshotResponse(_));
    assert!(!cluster.between(3, 1).iter().any(says_so));
    cluster.crash(3);
    cluster.restart(3);
    assert_eq!(cluster.base(3), 0, "nobody was told");
    cluster.heartbeat(1);
    cluster.deliver(1, 3);
    cluster.sync(3);
    assert!(cluster.between(3, 1).iter().any(says_so));
}

#[test]
fn late_snapshot_takes_nothing_back() {
    let mut cluster = led(0);
    leave_behind(&mut cluster);
    probe(&mut cluster);
    let late = cluster.take(1, 3);
    cluster.heartbeat(1);
    cluster.settle();
    for _commit_then_tell in 0..2 {
        cluster.write(1, (SessionId::new(2), 9, 1), put("a", "c"));
        cluster.settle();
        cluster.heartbeat(1);
        cluster.settle();
    }
    let before = cluster.raft(3).clone();
    for envelope in late {
        cluster.arrive(envelope);
    }
    cluster.settle();
    assert_eq!(cluster.raft(3).store(), before.store());
    assert_eq!(cluster.raft(3).log(), before.log());
    assert_eq!(cluster.raft(3).commit_index(), before.commit_index());
}

/// §7: the entries after the snapshot's last entry stay if the follower has that entry.
#[test]
fn suffix_stays_if_the_entry_agrees() {
    let disks = vec![disk(3, &[1, 1, 2, 2]), disk(3, &[1, 1]), disk(3, &[1, 1])];
    let mut cluster = Cluster::recover(disks, |config| config.trailing_bytes = 0);
    cluster.isolate(&[1]);
    cluster.elect(2);
    cluster.heal();
    cluster.receive(1, 2, install(cluster.term(2), &[1, 1]));
    assert_eq!(cluster.base(1), 0, "its own entries tell as much");
    assert_eq!(cluster.commit(1), 2);
    assert_eq!(cluster.terms(1), [1, 1, 2, 2]);
}

/// §7: otherwise the whole log is discarded.
#[test]
fn log_goes_if_the_entry_differs() {
    let mut cluster = Cluster::recover(
        vec![disk(2, &[1, 2, 2, 2]), disk(3, &[1, 3]), disk(3, &[1, 3])],
        |config| {
            config.trailing_bytes = 0;
            config.snapshot_patience = 0;
        },
    );
    cluster.isolate(&[1]);
    cluster.elect(2);
    cluster.compact(2);
    cluster.sync(2);
    let base = cluster.base(2);
    assert_eq!(base, 3);
    cluster.heal();
    for _probe_then_install in 0..3 {
        cluster.heartbeat(2);
        cluster.settle();
    }
    assert_eq!(
        cluster.raft(1).log().last_id(),
        cluster.raft(2).log().last_id()
    );
    assert_eq!(cluster.commit(1), cluster.commit(2));
    assert_eq!(cluster.disk(1).log, []);
}

/// If a request begins below the follower's base, the follower uses the entries above the base.
#[test]
fn append_from_below_the_base_brings_what_is_above_it() {
    let mut cluster = led(0);
    let session = cluster.open_session(1);
    cluster.write(1, (session, 1, 1), put("a", "b"));
    cluster.settle();
    cluster.heartbeat(1);
    cluster.settle();
    let whole = cluster.raft(1).log().clone();
    cluster.compact(2);
    cluster.sync(2);
    assert_eq!(cluster.base(2), whole.last_index().get());
    let term = cluster.raft(1).current_term();
    let mut sent = whole.entries().to_vec();
    sent.extend(entries(&[term.get()]));
    for count in 1..=sent.len() {
        let request = AppendEntriesRequest {
            term,
            prev_log_index: LogIndex::ZERO,
            prev_log_term: Term::ZERO,
            entries: sent[..count].to_vec(),
            leader_commit: LogIndex::ZERO,
            read_round: 0,
        };
        // The last of them is not in the leader's log.
        cluster.expects_violation = count == sent.len();
        cluster.receive(2, 1, Message::AppendEntriesRequest(request));
        cluster.sync(2);
        let answers = cluster.take(2, 1);
        let Some(Message::AppendEntriesResponse(response)) =
            answers.last().map(|last| &last.message)
        else {
            panic!("{answers:?}");
        };
        let match_index = LogIndex::new(count as u64);
        assert_eq!(response.outcome, AppendOutcome::Matched { match_index });
    }
    assert_eq!(cluster.raft(2).log().last_index().get(), sent.len() as u64);
}

#[test]
fn some_entries_stay_behind_a_snapshot_for_followers_a_little_behind() {
    let mut cluster = Cluster::recover(vec![Durable::default(); 3], |config| {
        config.trailing_bytes = 60;
    });
    cluster.elect(1);
    cluster.isolate(&[3]);
    let session = cluster.open_session(1);
    for sequence in 1..=5 {
        cluster.write(1, (session, sequence, 1), put("a", "b"));
        cluster.settle();
    }
    cluster.compact(1);
    cluster.sync(1);
    // Two writes of 26 bytes fit into 60 bytes.
    assert_eq!(cluster.base(1), cluster.commit(1) - 2);
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(cluster.base(1), cluster.commit(1));
}

/// A snapshot is invalid if the applied index of its store differs from the last entry that it claims
/// to cover.
#[test]
fn unsound_snapshot_is_ignored() {
    let mut cluster = led(0);
    let mut snapshot = of_noops(&[1, 1, 1]);
    for index in [0, 2, u64::MAX] {
        snapshot.last_included_index = LogIndex::new(index);
        let message = Message::InstallSnapshotRequest(InstallSnapshotRequest {
            term: Term::new(1),
            snapshot: snapshot.clone(),
        });
        let before = cluster.raft(3).clone();
        cluster.receive(3, 1, message);
        assert_eq!(*cluster.raft(3), before);
    }
}

#[test]
fn store_travels_as_bytes() {
    let mut cluster = led(0);
    let session = cluster.open_session(1);
    cluster.write(1, (session, 1, 1), put("a", "b"));
    cluster.settle();
    let store = cluster.raft(1).store();
    let bytes = postcard::to_allocvec(store).expect("it has a form in bytes");
    assert_eq!(postcard::from_bytes::<Store>(&bytes).as_ref(), Ok(store));
}
