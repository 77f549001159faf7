//! The messages that a server may send before its writes are durable, and the messages that must wait.
//! Raft §5.1 ("updated on stable storage before responding"), thesis §10.2.1.

mod cluster;

use cluster::{Cluster, disk, node};
use model::{
    AppendOutcome, Event, LogIndex, Message, RequestVoteResponse, Term, Timer,
    message::{RequestBody, ResponseBody},
};

/// If a crash could revoke a vote, the server could vote twice in a term.
#[test]
fn vote_is_held_until_it_is_durable() {
    let mut cluster = Cluster::new(3);
    cluster.timeout(1);
    cluster.sync(1);
    cluster.deliver(1, 2);
    assert_eq!(cluster.raft(2).voted_for(), Some(node(1)));
    assert!(cluster.between(2, 1).is_empty());
    cluster.sync(2);
    cluster.deliver(2, 1);
    assert!(cluster.leads(1));
}

/// A vote that is lost in a crash was never sent, so the server is free to vote again.
#[test]
fn vote_lost_in_a_crash_was_never_sent() {
    let mut cluster = Cluster::new(3);
    for candidate in [1, 3] {
        cluster.timeout(candidate);
        cluster.sync(candidate);
    }
    cluster.deliver(1, 2);
    cluster.crash(2);
    cluster.restart(2);
    assert_eq!(cluster.raft(2).voted_for(), None);
    cluster.deliver(3, 2);
    cluster.settle();
    assert!(cluster.leads(3) && !cluster.leads(1));
}

/// A durable vote binds the server after a crash, even if the response was never sent: the same
/// candidate may get it again, another candidate may not.
#[test]
fn vote_on_disk_survives_a_crash() {
    let mut cluster = Cluster::new(3);
    for candidate in [1, 3] {
        cluster.timeout(candidate);
        cluster.sync(candidate);
    }
    cluster.deliver(1, 2);
    cluster.crash_after_writing(2, 1);
    cluster.restart(2);
    cluster.deliver(3, 2);
    cluster.deliver(2, 3);
    assert!(!cluster.leads(3));
    cluster.heartbeat(1);
    cluster.deliver(1, 2);
    cluster.deliver(2, 1);
    assert!(cluster.leads(1));
}

/// A server that could forget its candidacy could be a candidate twice in one term. So before the
/// candidacy is durable, it sends no requests, and its own vote does not count.
#[test]
fn candidacy_is_held_until_it_is_durable() {
    let mut alone = Cluster::new(1);
    alone.timeout(1);
    assert!(!alone.leads(1));
    alone.sync(1);
    assert!(alone.leads(1));

    let mut cluster = Cluster::new(3);
    cluster.timeout(1);
    cluster.heartbeat(1);
    assert!(cluster.network.is_empty());
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(cluster.term(1), 0);
    cluster.timeout(1);
    cluster.sync(1);
    assert_eq!(cluster.between(1, 2).len(), 1);
}

/// A candidate sends no requests before its own vote is durable. So a slow disk is not a split vote:
/// the candidate stays in its term.
#[test]
fn candidate_with_a_slow_disk_stays_in_its_term() {
    let mut cluster = Cluster::new(3);
    cluster.timeout(1);
    for _ in 0..3 {
        cluster.take_timer(1);
        cluster.timeout(1);
        assert_eq!((cluster.term(1), cluster.unsynced(1).len()), (1, 1));
        assert_eq!(cluster.take_timer(1), Some(Timer::Election));
    }
    cluster.sync(1);
    assert_eq!(cluster.between(1, 2).len(), 1);
    // After requests without a response, it starts a new election.
    cluster.timeout(1);
    assert_eq!(cluster.term(1), 2);
}

/// A candidate that adopts a newer term before its write is durable has a candidacy in each term. The
/// write that becomes durable first counts for its own term only.
#[test]
fn candidacy_of_an_older_term_does_not_count_in_a_newer_one() {
    let mut cluster = Cluster::new(3);
    cluster.timeout(1);
    let overtaken = RequestVoteResponse {
        term: Term::new(2),
        vote_granted: false,
    };
    cluster.receive(1, 3, Message::RequestVoteResponse(overtaken));
    cluster.timeout(1);
    // Term 1 is durable, term 3 is not: the own vote does not count, and the requests are not sent.
    cluster.sync_first(1, 1);
    assert_eq!(
        cluster.in_flight(),
        [
            "n1 -> n2 RequestVote t1 last=0@t0",
            "n1 -> n3 RequestVote t1 last=0@t0"
        ]
    );
    cluster.deliver(1, 2);
    cluster.sync(2);
    cluster.deliver(2, 1);
    assert!(!cluster.leads(1));
    cluster.settle();
    assert!(cluster.leads(1));
    assert_eq!(cluster.term(1), 3);
}

/// For the leader, an acknowledgement means a durable copy.
#[test]
fn append_acknowledgement_is_held_until_the_entry_is_durable() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    assert_eq!(cluster.terms(2), [1, 1]);
    assert!(cluster.between(2, 1).is_empty());
    // A heartbeat finds the entry in the log, but the entry is still not durable.
    cluster.heartbeat(1);
    cluster.deliver(1, 2);
    assert_eq!(matches_in(&cluster, 2, 1), [1]);
    cluster.sync(2);
    assert_eq!(matches_in(&cluster, 2, 1), [1, 2]);
}

/// Regardless of the speed of its followers' disks, a leader with recent contact to them stays leader,
/// and commits when the disks are done.
#[test]
fn leader_stays_while_the_disks_of_its_followers_stall() {
    let mut cluster = Cluster::recover(vec![disk(1, &[]); 3], |config| {
        config.pre_vote = true;
        config.check_quorum = true;
    });
    cluster.elect(1);
    let term = cluster.term(1);
    let write = cluster.request(1, RequestBody::OpenSession);
    for _ in 0..20 {
        cluster.heartbeat(1);
        for envelope in std::mem::take(&mut cluster.network) {
            cluster.arrive(envelope);
        }
        for envelope in std::mem::take(&mut cluster.network) {
            cluster.arrive(envelope);
        }
        for id in cluster.ids() {
            cluster.step(id, Event::QuorumTimeout);
        }
        assert!(cluster.leads(1) && cluster.term(1) == term);
    }
    assert_eq!(cluster.answer(write), None);
    cluster.settle();
    assert!(matches!(
        cluster.answer(write),
        Some(ResponseBody::Applied(_))
    ));
}

/// A read waits for a round trip and not for a disk, even beside a write that does.
#[test]
fn read_beside_a_write_waits_for_no_disk() {
    let mut cluster = leader();
    let write = cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    cluster.deliver(1, 3);
    // One read after the write, and one together with another write.
    let read = cluster.read(1, "a");
    cluster.deliver(1, 2);
    cluster.deliver(2, 1);
    assert!(matches!(cluster.answer(read), Some(ResponseBody::Found(_))));
    assert_eq!(cluster.answer(write), None);
    assert_eq!(cluster.commit(1), 1);
    cluster.settle();
    assert!(matches!(
        cluster.answer(write),
        Some(ResponseBody::Applied(_))
    ));
}

/// While a disk stalls, the messages that wait for it stay few, regardless of the number of heartbeats
/// and read rounds: one acknowledgement.
#[test]
fn messages_held_for_a_stalled_disk_stay_few() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    let entries = cluster.between(1, 2)[0].clone();
    for round in 0..1000 {
        cluster.receive(2, 1, entries.clone());
        if round % 2 == 0 {
            cluster.read(1, "a");
        }
        cluster.heartbeat(1);
        cluster.deliver(1, 2);
        assert_eq!(cluster.raft(2).held(), 1);
        cluster.network.clear();
    }
    cluster.sync(2);
    assert_eq!(matches_in(&cluster, 2, 1), [2]);
}

/// A conflict, a pre-vote request and a pre-vote concern no entry that is being written, so they do
/// not wait for it.
#[test]
fn messages_that_acknowledge_no_entry_wait_for_none() {
    for pre_vote in [false, true] {
        let mut cluster = Cluster::recover(vec![disk(1, &[]); 3], |config| {
            config.pre_vote = pre_vote;
        });
        cluster.elect(1);
        cluster.heartbeat(1);
        cluster.settle();
        cluster.request(1, RequestBody::OpenSession);
        cluster.deliver(1, 2);
        assert!(cluster.raft(2).is_writing());
        // The conflict.
        let message = Message::AppendEntriesRequest(model::AppendEntriesRequest {
            term: cluster.raft(1).current_term(),
            prev_log_index: LogIndex::new(9),
            prev_log_term: cluster.raft(1).current_term(),
            entries: Vec::new(),
            leader_commit: LogIndex::ZERO,
            read_round: 0,
        });
        cluster.receive(2, 1, message);
        assert_eq!(cluster.between(2, 1).len(), 1, "a conflict");
        if pre_vote {
            cluster.timeout(2);
            assert_eq!(cluster.between(2, 3).len(), 1, "a pre-vote request");
        }
    }
}

/// An acknowledgement waits for the write of its own entries, and for no later write.
#[test]
fn append_acknowledgement_waits_for_no_later_write() {
    let mut cluster = leader();
    for _ in 0..2 {
        cluster.request(1, RequestBody::OpenSession);
        cluster.deliver(1, 2);
    }
    // A repeated request with the first entry, while the second entry is being written too.
    cluster.heartbeat(1);
    cluster.network.clear();
    assert_eq!(cluster.raft(2).held(), 2);
    cluster.sync_first(2, 1);
    assert_eq!(matches_in(&cluster, 2, 1), [2]);
    cluster.sync(2);
    assert_eq!(matches_in(&cluster, 2, 1), [2, 3]);
}

/// An acknowledgement of durable entries waits only until its term is durable.
#[test]
fn append_acknowledgement_waits_for_the_term_alone() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    let first = cluster.network[0].clone();
    cluster.deliver(1, 2);
    cluster.sync(2);
    cluster.network.clear();
    // Another entry is being written; the late request concerns durable entries only.
    cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    cluster.arrive(first);
    assert_eq!(matches_in(&cluster, 2, 1), [2]);

    let mut cluster = Cluster::recover(vec![disk(1, &[1]); 3], |_| {});
    cluster.elect_by(1, &[2]);
    cluster.deliver(1, 3);
    // Nothing of term 2 is durable at n3, not even the term.
    assert!(cluster.between(3, 1).is_empty());
    cluster.sync(3);
    assert_eq!(matches_in(&cluster, 3, 1), [2]);
}

/// A refusal also reveals a term and a log that a crash could revoke.
#[test]
fn refusal_is_held_behind_a_write_under_way() {
    let mut cluster = leader();
    cluster.timeout(3);
    cluster.sync(3);
    // n2 refuses n3 because of its longer log, which is not durable yet.
    cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    cluster.deliver(3, 2);
    assert!(cluster.between(2, 3).is_empty());
    cluster.sync(2);
    assert_eq!(cluster.between(2, 3).len(), 1);
    cluster.deliver(2, 3);
    assert!(!cluster.leads(3));
}

/// Thesis §10.2.1: the leader writes to its disk in parallel with its followers.
#[test]
fn leader_sends_entries_before_its_own_disk_has_them() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    assert_eq!(cluster.raft(1).durable_index(), LogIndex::new(1));
    for other in 2..=3 {
        assert_eq!(cluster.between(1, other).len(), 1);
    }
}

/// The leader counts itself in the majority only after its own copy is durable.
#[test]
fn leader_counts_itself_once_durable() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    cluster.sync(2);
    cluster.deliver(2, 1);
    assert_eq!(cluster.commit(1), 1);
    cluster.sync(1);
    assert_eq!(cluster.commit(1), 2);
}

/// Two of three disks have the entry, so it is committed, although the leader's disk lacks it; and it
/// stays committed if the leader loses it.
#[test]
fn entry_is_committed_by_two_followers_without_the_leaders_disk() {
    let mut cluster = leader();
    let id = cluster.request(1, RequestBody::OpenSession);
    for follower in 2..=3 {
        cluster.deliver(1, follower);
        cluster.sync(follower);
        cluster.deliver(follower, 1);
    }
    assert_eq!(cluster.commit(1), 2);
    assert_eq!(cluster.raft(1).durable_index(), LogIndex::new(1));
    assert!(cluster.answer(id).is_some());
    cluster.crash(1);
    cluster.restart(1);
    assert_eq!(cluster.terms(1), [1]);
    cluster.timeout(1);
    cluster.settle();
    assert!(!cluster.leads(1));
    cluster.elect(2);
    assert_eq!(cluster.terms(1), [1, 1, 3]);
    assert_eq!(cluster.commit(2), 3);
}

/// A disk reports an entry as durable, but another entry has replaced it in the log since. The report
/// applies to the replaced entry only.
#[test]
fn late_notice_is_not_credited_to_what_replaced_the_entry() {
    let mut cluster = leader();
    // n2 writes an entry of term 1; n1 crashes and loses that entry.
    cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    cluster.crash(1);
    cluster.restart(1);
    cluster.network.clear();
    // n3 wins term 2 with n1. n2 receives the new term, and then the entry that replaces its own.
    cluster.timeout(3);
    cluster.sync(3);
    cluster.deliver(3, 2);
    cluster.deliver(3, 1);
    cluster.sync(1);
    cluster.deliver(1, 3);
    assert!(cluster.leads(3));
    cluster.deliver(3, 2);
    assert_eq!(cluster.terms(2), [1, 2]);
    assert_eq!(cluster.unsynced(2).len(), 3);
    // The entry of term 1 and the new term are durable; the entry of term 2 is not.
    cluster.sync_first(2, 2);
    assert_eq!(cluster.disk(2).log.len(), 2);
    assert_eq!(cluster.raft(2).durable_index(), LogIndex::new(1));
    cluster.heartbeat(3);
    cluster.deliver(3, 2);
    assert_eq!(matches_in(&cluster, 2, 3), [1]);
    cluster.sync(2);
    assert_eq!(matches_in(&cluster, 2, 3), [1, 2]);
}

/// The disk may report several writes at once, by reporting the last of them.
#[test]
fn one_notice_covers_every_write_before() {
    let mut cluster = leader();
    for _ in 0..3 {
        cluster.request(1, RequestBody::OpenSession);
        cluster.deliver(1, 2);
    }
    assert_eq!(cluster.unsynced(2).len(), 3);
    cluster.sync_first(2, 2);
    assert_eq!(matches_in(&cluster, 2, 1), [2, 3]);
    assert_eq!(cluster.raft(2).durable_index(), LogIndex::new(3));
    cluster.sync_first(2, 1);
    assert_eq!(matches_in(&cluster, 2, 1), [2, 3, 4]);
    assert!(!cluster.raft(2).is_writing());
}

/// n1 leads in term 1, its no-op is durable and committed at all servers.
fn leader() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster
}

/// The match indexes of the acknowledgements in flight on a channel.
fn matches_in(cluster: &Cluster, from: u64, to: u64) -> Vec<u64> {
    let between = cluster.between(from, to).into_iter();
    let matched = between.filter_map(|message| match message {
        Message::AppendEntriesResponse(response) => match response.outcome {
            AppendOutcome::Matched { match_index } => Some(match_index.get()),
            _ => None,
        },
        _ => None,
    });
    matched.collect()
}
