//! What may leave a server before its disk is done, and what must wait. Raft §5.1 ("updated on
//! stable storage before responding"), thesis §10.2.1.

mod cluster;

use cluster::{Cluster, disk, node};
use model::{
    AppendOutcome, Event, LogIndex, Message, RequestVoteResponse, Term, Timer,
    message::{RequestBody, ResponseBody},
};

/// A vote that a crash could take back could be given twice.
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

/// A vote lost in a crash was never heard of, so the server is free to vote again.
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

/// A vote that reached the disk binds the server after a crash, though it never left: the same
/// candidate may have it again, another may not.
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

/// A candidate that could forget its candidacy could run twice in one term: nobody is asked, and
/// its own vote does not count, before the disk has it.
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

/// A candidate asks nobody before its own vote is durable, so a slow disk is no split vote: it stays in
/// its term.
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
    // Asked and not answered, it starts over.
    cluster.timeout(1);
    assert_eq!(cluster.term(1), 2);
}

/// A candidate that was overtaken by a newer term before its disk was done has a ballot in each term:
/// the one that becomes durable first speaks for its own term only.
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
    // Term 1 is durable, term 3 is not: its vote does not count, its requests do not leave.
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

/// The leader counts an acknowledgement as a copy that will not go away.
#[test]
fn append_acknowledgement_is_held_until_the_entry_is_durable() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    assert_eq!(cluster.terms(2), [1, 1]);
    assert!(cluster.between(2, 1).is_empty());
    // A heartbeat finds the entry in the log, but it is no more durable for that.
    cluster.heartbeat(1);
    cluster.deliver(1, 2);
    assert_eq!(matches_in(&cluster, 2, 1), [1]);
    cluster.sync(2);
    assert_eq!(matches_in(&cluster, 2, 1), [1, 2]);
}

/// However slow the disks of its followers are, a leader that they hear goes on leading, and commits
/// once they are done.
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

/// A read waits for a round trip and for no disk, not even beside a write that does.
#[test]
fn read_beside_a_write_waits_for_no_disk() {
    let mut cluster = leader();
    let write = cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    cluster.deliver(1, 3);
    // One read after the write, one together with another write.
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

/// While a disk stalls, however many heartbeats and read rounds arrive, what waits for it stays small:
/// one acknowledgement.
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

/// A conflict, a question for a pre-vote and a vote are about no entry that is on its way to the disk,
/// so they do not wait for it.
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

/// An acknowledgement waits for the write that brings its entries, and for none after it.
#[test]
fn append_acknowledgement_waits_for_no_later_write() {
    let mut cluster = leader();
    for _ in 0..2 {
        cluster.request(1, RequestBody::OpenSession);
        cluster.deliver(1, 2);
    }
    // A repeated request of the first entry, while the second is on its way too.
    cluster.heartbeat(1);
    cluster.network.clear();
    assert_eq!(cluster.raft(2).held(), 2);
    cluster.sync_first(2, 1);
    assert_eq!(matches_in(&cluster, 2, 1), [2]);
    cluster.sync(2);
    assert_eq!(matches_in(&cluster, 2, 1), [2, 3]);
}

/// An acknowledgement of entries long durable waits for nothing but the term it is given in.
#[test]
fn append_acknowledgement_waits_for_the_term_alone() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    let first = cluster.network[0].clone();
    cluster.deliver(1, 2);
    cluster.sync(2);
    cluster.network.clear();
    // Another entry is on its way to the disk; the late request speaks of durable ones only.
    cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    cluster.arrive(first);
    assert_eq!(matches_in(&cluster, 2, 1), [2]);

    let mut cluster = Cluster::recover(vec![disk(1, &[1]); 3], |_| {});
    cluster.elect_by(1, &[2]);
    cluster.deliver(1, 3);
    // Of term 2 nothing is durable at n3, not even the term.
    assert!(cluster.between(3, 1).is_empty());
    cluster.sync(3);
    assert_eq!(matches_in(&cluster, 3, 1), [2]);
}

/// A refusal, too, speaks of a term and a log that a crash could take back.
#[test]
fn refusal_is_held_behind_a_write_under_way() {
    let mut cluster = leader();
    cluster.timeout(3);
    cluster.sync(3);
    // n2 refuses n3 in favour of its longer log, which is not durable yet.
    cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    cluster.deliver(3, 2);
    assert!(cluster.between(2, 3).is_empty());
    cluster.sync(2);
    assert_eq!(cluster.between(2, 3).len(), 1);
    cluster.deliver(2, 3);
    assert!(!cluster.leads(3));
}

/// Thesis §10.2.1: the leader's disk works while its followers' disks do.
#[test]
fn leader_sends_entries_before_its_own_disk_has_them() {
    let mut cluster = leader();
    cluster.request(1, RequestBody::OpenSession);
    assert_eq!(cluster.raft(1).durable_index(), LogIndex::new(1));
    for other in 2..=3 {
        assert_eq!(cluster.between(1, other).len(), 1);
    }
}

/// The leader is one of the majority only when its own copy is durable.
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

/// Two of three disks have the entry, so it is committed, though the leader's is not one of them;
/// and it stays when the leader loses it.
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

/// The disk says that it has an entry, but another has taken its place in the log since. The
/// notice speaks for the entry that is gone.
#[test]
fn late_notice_is_not_credited_to_what_replaced_the_entry() {
    let mut cluster = leader();
    // n2 takes an entry of term 1 to its disk; n1 crashes and forgets that there was one.
    cluster.request(1, RequestBody::OpenSession);
    cluster.deliver(1, 2);
    cluster.crash(1);
    cluster.restart(1);
    cluster.network.clear();
    // n3 wins term 2 with n1. n2 learns of the term, and then that its entry must go.
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
    // The entry of term 1 and the term are durable; the entry of term 2 is not.
    cluster.sync_first(2, 2);
    assert_eq!(cluster.disk(2).log.len(), 2);
    assert_eq!(cluster.raft(2).durable_index(), LogIndex::new(1));
    cluster.heartbeat(3);
    cluster.deliver(3, 2);
    assert_eq!(matches_in(&cluster, 2, 3), [1]);
    cluster.sync(2);
    assert_eq!(matches_in(&cluster, 2, 3), [1, 2]);
}

/// The disk may report several writes at once, by the last of them.
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

/// n1 leads in term 1, its no-op is durable and committed everywhere.
fn leader() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster
}

/// What the acknowledgements in flight from one server to another vouch for.
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
