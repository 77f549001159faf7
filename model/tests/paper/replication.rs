//! Log replication, and how a leader finds the point at which a follower's log matches (Figure 7).

use crate::{
    append, appended,
    cluster::{Cluster, disk, node, terms},
    leader,
};
use model::{AppendOutcome, LogIndex, Message, Role, Term, message::RequestBody};

/// The leader appends the command to its log, with its term, and sends it to all followers in
/// parallel.
#[test]
fn replication_command_is_appended_and_sent_to_all() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    assert_eq!(cluster.terms(1), [2, 2]);
    for other in 2..=3 {
        let Message::AppendEntriesRequest(sent) = cluster.between(1, other)[0] else {
            panic!("the leader sends entries");
        };
        assert_eq!(sent.prev_log_index, LogIndex::new(1));
        assert_eq!(sent.prev_log_term, Term::new(2));
        assert_eq!(sent.entries, cluster.raft(1).log().entries()[1..]);
    }
}

/// An entry is committed, and the client gets a response, only after a majority stores it.
#[test]
fn replication_entry_is_committed_when_a_majority_stores_it() {
    for size in 1..=7 {
        let mut cluster = Cluster::new(size);
        cluster.elect(1);
        let id = cluster.request(1, RequestBody::OpenSession);
        for stored in 1..=size as u64 {
            cluster.deliver(1, stored);
            cluster.sync(stored);
            cluster.deliver(stored, 1);
            let committed = 2 * stored as usize > size;
            assert_eq!(cluster.commit(1), 1 + u64::from(committed));
            assert_eq!(cluster.answer(id).is_some(), committed);
        }
    }
}

/// Committing an entry commits all preceding entries, including entries of earlier leaders.
#[test]
fn replication_commitment_covers_everything_before() {
    for inherited in [&[][..], &[1], &[1, 1, 2], &[2, 3]] {
        let mut disks = vec![disk(3, &[]); 3];
        disks[0] = disk(3, inherited);
        let mut cluster = Cluster::recover(disks, |_| {});
        cluster.elect(1);
        assert_eq!(cluster.commit(1), inherited.len() as u64 + 1);
    }
}

/// A follower applies committed entries in log order. Its commit index never exceeds the last entry
/// that the message confirms: later entries in its log may differ from the leader's log.
#[test]
fn replication_follower_commits_what_the_leader_vouches_for() {
    let cases = [
        // prev, entries, leader's commit index, commit index after.
        ((0, 0), &[][..], 3, 0),
        ((1, 1), &[], 3, 1),
        ((1, 1), &[1], 3, 2),
        ((1, 1), &[1], 1, 1),
        ((2, 1), &[2], 3, 3),
        ((2, 1), &[2, 2], 3, 3),
    ];
    for (prev, terms, leader_commit, expected) in cases {
        let mut cluster = Cluster::recover(vec![disk(2, &[1, 1]); 3], |_| {});
        cluster.receive(1, 2, append(2, prev, terms, leader_commit));
        assert_eq!(cluster.commit(1), expected);
        let applied = cluster.raft(1).store().last_applied();
        assert_eq!(applied, LogIndex::new(expected));
    }
}

/// The leader retries indefinitely until every follower has stored every entry.
#[test]
fn replication_leader_retries_until_stored() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    let lost = cluster.take(1, 3);
    cluster.settle();
    // The leader assumes that its messages arrive, until the follower's response shows a gap.
    cluster.heartbeat(1);
    cluster.deliver(1, 3);
    cluster.deliver(3, 1);
    for _ in 0..3 {
        // The entries are lost again. The heartbeat repeats the probe without entries, and its
        // response triggers their retransmission.
        let retried = cluster.take(1, 3);
        cluster.heartbeat(1);
        assert_eq!(cluster.between(1, 3), [&append(2, (1, 2), &[], 1)]);
        cluster.deliver(1, 3);
        cluster.deliver(3, 1);
        let again = cluster.between(1, 3);
        let (
            Message::AppendEntriesRequest(lost),
            Message::AppendEntriesRequest(retried),
            Message::AppendEntriesRequest(again),
        ) = (&lost[0].message, &retried[0].message, again[0])
        else {
            panic!("the leader sends entries");
        };
        assert_eq!(
            (&retried.entries, &again.entries),
            (&lost.entries, &lost.entries)
        );
        // The leader assumes that its messages arrive; the next heartbeat reveals the loss.
        cluster.take(1, 3);
        cluster.heartbeat(1);
        cluster.deliver(1, 3);
        cluster.deliver(3, 1);
    }
    cluster.settle();
    cluster.heartbeat(1);
    assert_eq!(cluster.between(1, 3), [&append(2, (2, 2), &[], 2)]);
}

/// A probe carries entries only once. While a follower is silent, heartbeats repeat the probe without
/// entries: otherwise a dead follower would receive a full message with each heartbeat.
#[test]
fn replication_unanswered_probe_is_repeated_without_entries() {
    for window in [0, 8192] {
        let log = [1; 100];
        let mut cluster = Cluster::recover(vec![disk(1, &log); 3], |config| {
            config.max_entries_in_flight = window;
        });
        let sent = |cluster: &mut Cluster| {
            let sent = cluster.take(1, 3).into_iter();
            let entries = sent.map(|envelope| match envelope.message {
                Message::AppendEntriesRequest(request) => request.entries.len(),
                _ => 0,
            });
            Vec::from_iter(entries)
        };
        cluster.elect_by(1, &[2]);
        assert_eq!(sent(&mut cluster), [1]);
        for _ in 0..3 {
            cluster.deliver(1, 2);
            cluster.sync(2);
            cluster.deliver(2, 1);
            cluster.request(1, RequestBody::OpenSession);
            cluster.heartbeat(1);
            assert_eq!(sent(&mut cluster), [0]);
        }
        // After the response to such a probe, the leader sends all missing entries.
        cluster.heartbeat(1);
        cluster.deliver(1, 3);
        cluster.sync(3);
        cluster.deliver(3, 1);
        assert_eq!(sent(&mut cluster), [4]);
    }
}

/// Without pipelining, the leader sends a new entry at once to a follower that has all preceding
/// entries.
#[test]
fn replication_new_entry_is_sent_at_once_without_a_pipeline() {
    let mut cluster = Cluster::recover(vec![disk(1, &[]); 3], |config| {
        config.max_entries_in_flight = 0;
    });
    cluster.elect(1);
    cluster.request(1, RequestBody::OpenSession);
    assert_eq!(cluster.between(1, 3).len(), 1);
    // The next entry waits for the response.
    cluster.request(1, RequestBody::OpenSession);
    assert_eq!(cluster.between(1, 3).len(), 1);
    cluster.settle();
    assert_eq!(cluster.commit(1), 3);
}

/// A minority of slow servers does not delay the rest.
#[test]
fn replication_slow_follower_delays_nobody() {
    let mut cluster = leader();
    cluster.isolate(&[3]);
    cluster.request(1, RequestBody::OpenSession);
    cluster.settle();
    assert_eq!((cluster.commit(1), cluster.commit(3)), (2, 1));
    cluster.heal();
    cluster.heartbeat(1);
    cluster.settle();
    assert_eq!(cluster.commit(3), 2);
}

/// A follower rejects new entries if it lacks the preceding entry, identified by index and term. Its
/// response contains a hint for the leader's next attempt.
#[test]
fn replication_consistency_check_compares_the_entry_before() {
    let conflict = |prev, term, index| AppendOutcome::Conflict {
        prev_log_index: LogIndex::new(prev),
        conflict_term: Term::new(term),
        conflict_index: LogIndex::new(index),
    };
    let matched = |index| AppendOutcome::Matched {
        match_index: LogIndex::new(index),
    };
    let cases = [
        ((0, 0), matched(0)),
        ((1, 1), matched(1)),
        ((3, 2), matched(3)),
        ((3, 1), conflict(3, 1, 1)),
        ((1, 2), conflict(1, 1, 1)),
        ((4, 2), conflict(4, 2, 3)),
        ((9, 3), conflict(9, 2, 3)),
        ((9, 1), conflict(9, 1, 1)),
        ((u64::MAX, 3), conflict(u64::MAX, 2, 3)),
    ];
    for (prev, outcome) in cases {
        let mut cluster = Cluster::recover(vec![disk(3, &[1, 2, 2]); 3], |_| {});
        cluster.receive(1, 2, append(3, prev, &[], 0));
        assert_eq!(cluster.between(1, 2), [&appended(3, outcome)], "{prev:?}");
    }
}

/// A conflicting entry is removed with all entries that follow it. Matching entries stay, and the
/// follower writes the changes only.
#[test]
fn replication_conflicting_suffix_is_replaced() {
    let cases = [
        // prev, entries, the resulting log, the first removed index, the number of written entries.
        ((2, 2), &[3][..], &[1, 2, 3][..], None, 1),
        ((1, 1), &[3, 4], &[1, 3, 4], Some(2), 2),
        ((0, 0), &[1], &[1, 2], None, 0),
        ((0, 0), &[3], &[3], Some(1), 1),
        ((0, 0), &[1, 2, 4], &[1, 2, 4], None, 1),
        ((0, 0), &[1, 4], &[1, 4], Some(2), 1),
    ];
    for (prev, new, log, removed, written) in cases {
        let mut cluster = Cluster::recover(vec![disk(4, &[1, 2]); 3], |_| {});
        cluster.receive(1, 2, append(4, prev, new, 0));
        assert_eq!(cluster.terms(1), log);
        let write = cluster.unsynced(1).front();
        assert_eq!(
            write.and_then(|w| w.truncate_from),
            removed.map(LogIndex::new)
        );
        assert_eq!(write.map_or(0, |w| w.append.len()), written);
        cluster.sync(1);
        assert_eq!(terms(&cluster.disk(1).log), log);
    }
}

/// Requests are idempotent: a late or duplicated request removes no later entry.
#[test]
fn replication_late_and_repeated_requests_change_nothing() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    let early = cluster.take(1, 2);
    cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    cluster.deliver(2, 1);
    cluster.deliver(1, 2);
    cluster.sync(2);
    let log = cluster.terms(2);
    assert_eq!(log, [2, 2, 2]);
    for envelope in early.iter().chain(&early).cloned() {
        cluster.arrive(envelope);
    }
    assert_eq!(cluster.terms(2), log);
    assert!(cluster.unsynced(2).is_empty());
    // The late request covers two entries only, and the response acknowledges only these two.
    let acknowledged = AppendOutcome::Matched {
        match_index: LogIndex::new(2),
    };
    assert_eq!(
        cluster.between(2, 1)[1..],
        [
            &appended(2, acknowledged.clone()),
            &appended(2, acknowledged)
        ]
    );
}

/// A new leader assumes nothing about its followers (Figure 2: match_index is reinitialized after
/// election). An acknowledgement of its earlier leadership has no effect, because it concerns entries
/// that may have been removed since.
#[test]
fn replication_new_leadership_forgets_earlier_acknowledgements() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    cluster.sync(2);
    let earlier = cluster.network.last().cloned();
    cluster.settle();
    assert_eq!([2, 3].map(|id| match_index(&cluster, id)), [2, 2]);
    cluster.elect(2);
    cluster.elect_by(1, &[3]);
    assert_eq!([2, 3].map(|id| match_index(&cluster, id)), [0, 0]);
    cluster.arrive(earlier.expect("an acknowledgement of term 2"));
    assert_eq!(match_index(&cluster, 2), 0);
    cluster.settle();
    assert_eq!([2, 3].map(|id| match_index(&cluster, id)), [4, 4]);
}

/// Figure 7: the logs that a leader of term 8 may find. The leader makes all of them agree with its
/// own log, and removes none of its own entries.
#[test]
fn figure_7_leader_brings_all_logs_to_agree() {
    for batch in [1, 2, 64] {
        let mut cluster = Cluster::recover(figure_7(), |config| {
            config.max_entries_per_append = batch;
        });
        cluster.elect(1);
        let log = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8];
        for id in cluster.ids() {
            assert_eq!(cluster.terms(id), log, "n{id}");
        }
        assert_eq!(cluster.commit(1), 11);
    }
}

/// A refusal skips the follower's entries of later terms, and the leader's next probe skips the
/// leader's. So one round trip settles every case of the figure.
#[test]
fn figure_7_backtracking_takes_one_refusal() {
    let mut cluster = Cluster::recover(figure_7(), |_| {});
    cluster.elect(1);
    let trace = cluster.take_trace();
    let refusals = |follower| {
        let arrived = format!("n{follower} -> n1 Appended t8 conflict");
        trace
            .iter()
            .filter(|line| line.starts_with(&arrived))
            .count()
    };
    // (a) and (b) end early; (c) and (d) have additional entries; (e) ends early and conflicts in term
    // 4; (f) conflicts in terms 3 and 2.
    assert_eq!([2, 3, 4, 5, 6, 7].map(refusals), [1, 1, 0, 0, 1, 1]);
}

/// The cases of etcd's `TestFastLogRejection`: the leader's log, the follower's log, the hint in the
/// refusal, and the entry before the next attempt, each as (index, term). etcd needs one refusal for
/// each case except its last two. In the first of these, the example in `stepLeader`, etcd needs one
/// refusal more only if its attempt at (1, 2) fails. The second cannot occur here: its follower has
/// compacted uncommitted entries.
#[test]
fn backtracking_takes_no_more_refusals_than_etcd() {
    type Entry = (u64, u64);
    let cases: [(&[u64], &[u64], Entry, Entry); 8] = [
        (
            &[1, 2, 2, 4, 4, 4, 4],
            &[1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3],
            (7, 3),
            (3, 2),
        ),
        (
            &[1, 2, 2, 3, 4, 4, 4, 5],
            &[1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3],
            (8, 3),
            (4, 3),
        ),
        (&[1, 1, 1, 1], &[1, 2, 2, 4], (1, 1), (1, 1)),
        (&[1, 1, 1, 1, 1, 1], &[1, 2, 2, 4], (1, 1), (1, 1)),
        (&[1, 1, 1, 1], &[1, 2, 2, 4, 4, 4], (1, 1), (1, 1)),
        (&[1, 1, 1, 4, 5], &[1, 1, 1, 4], (4, 4), (4, 4)),
        (
            &[2, 5, 5, 5, 5, 5, 5, 5, 5],
            &[2, 4, 4, 4, 4, 4],
            (6, 4),
            (1, 2),
        ),
        (&[2, 2, 2, 2, 2], &[2, 4, 4, 4, 4, 4, 4, 4], (1, 2), (1, 2)),
    ];
    for (leader, follower, hint, next) in cases {
        let mut cluster = Cluster::recover(
            vec![disk(6, leader), disk(6, leader), disk(6, follower)],
            |_| {},
        );
        cluster.elect_by(1, &[2]);
        cluster.heartbeat(1);
        cluster.deliver(1, 3);
        cluster.sync(3);
        let refusals = cluster.between(3, 1);
        let [Message::AppendEntriesResponse(refusal)] = refusals[..] else {
            panic!("{leader:?} {follower:?}: {refusals:?}");
        };
        let (index, term) = hint;
        let expected = AppendOutcome::Conflict {
            prev_log_index: LogIndex::new(leader.len() as u64),
            conflict_term: Term::new(term),
            conflict_index: LogIndex::new(index),
        };
        assert_eq!(refusal.outcome, expected, "{leader:?} {follower:?}");
        cluster.deliver(3, 1);
        let attempts = cluster.between(1, 3);
        let [Message::AppendEntriesRequest(attempt)] = attempts[..] else {
            panic!("{leader:?} {follower:?}: {attempts:?}");
        };
        let found = (attempt.prev_log_index.get(), attempt.prev_log_term.get());
        assert_eq!(found, next, "{leader:?} {follower:?}");
        cluster.deliver(1, 3);
        cluster.sync(3);
        cluster.deliver(3, 1);
        assert_eq!(cluster.terms(3)[..leader.len()], *leader);
    }
}

/// The number of refusals until two logs agree. It is one, regardless of the number of terms that the
/// leader or the follower lacks.
#[test]
fn backtracking_skips_all_terms_that_the_other_log_lacks() {
    for count in [10, 100, 1000] {
        let apart = Vec::from_iter(std::iter::once(1).chain(2..2 + count));
        let short = vec![1];
        let newest = [&[1][..], &[count + 2; 40]].concat();
        let ends_old = [&[1][..], &[2; 40]].concat();
        for (leader, follower, expected) in [
            (&newest, &apart, 1),
            (&apart, &short, 1),
            (&apart, &ends_old, 1),
        ] {
            let mut cluster = Cluster::recover(
                vec![
                    disk(count + 3, leader),
                    disk(count + 3, leader),
                    disk(count + 3, follower),
                ],
                |_| {},
            );
            cluster.elect_by(1, &[2]);
            cluster.take_trace();
            cluster.heartbeat(1);
            for _ in 0..10 {
                cluster.deliver(1, 3);
                cluster.sync(3);
                cluster.deliver(3, 1);
            }
            let trace = cluster.take_trace();
            let refusals = trace
                .iter()
                .filter(|line| line.starts_with("n3 -> n1 Appended") && line.contains("conflict"))
                .count();
            assert_eq!(refusals, expected, "{count} terms");
            assert_eq!(cluster.terms(3)[..leader.len()], leader[..]);
        }
    }
}

/// A hint at the follower's commit index always agrees. So a leader that cannot know the follower's
/// uncommitted terms finds the position in one round trip.
#[test]
fn backtracking_never_goes_below_what_is_committed() {
    let mut cluster = Cluster::recover(vec![disk(9, &[1, 2, 3, 4, 5]); 3], |_| {});
    cluster.receive(1, 2, append(9, (3, 3), &[], 3));
    cluster.network.clear();
    cluster.receive(1, 2, append(9, (5, 2), &[], 3));
    let expected = AppendOutcome::Conflict {
        prev_log_index: LogIndex::new(5),
        conflict_term: Term::new(3),
        conflict_index: LogIndex::new(3),
    };
    assert_eq!(cluster.between(1, 2), [&appended(9, expected)]);
}

/// n1 is the leader at the top of Figure 7 before its election, n2 to n7 are (a) to (f).
fn figure_7() -> Vec<model::Durable> {
    [
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6][..],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 1, 4],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 1, 4, 4, 4, 4],
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
    ]
    .map(|log| disk(7, log))
    .into()
}

/// The last entry that leader n1 knows to be durable at a follower.
fn match_index(cluster: &Cluster, follower: u64) -> u64 {
    let Role::Leader(leader) = cluster.raft(1).role() else {
        panic!("n1 leads");
    };
    leader.followers[&node(follower)].match_index.get()
}
