//! The Raft paper as tests: §5.1 to §5.4 sentence by sentence, and Figures 7 and 8.
//!
//! Server 1 is the server under test unless a test says otherwise. Logs are written as in the paper:
//! as the terms of their entries.

mod cluster;

use cluster::{Cluster, disk, entries, node, terms};
use model::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, Config, LogIndex, Message,
    RequestVoteRequest, RequestVoteResponse, Role, Term, Timer, message::RequestBody,
};

// §5.1: terms.

/// A server adopts a larger term from any message, request or response, and a candidate or leader then
/// becomes a follower immediately.
#[test]
fn terms_newer_term_in_any_message_makes_a_follower() {
    let messages = [
        request_vote(5, (0, 0)),
        vote(5, false),
        vote(5, true),
        append(5, (0, 0), &[], 0),
        appended(5, AppendOutcome::StaleTerm),
    ];
    for make in [follower, candidate, leader] {
        for message in messages.clone() {
            let mut cluster = make();
            cluster.receive(1, 2, message);
            let raft = cluster.raft(1);
            assert_eq!(raft.current_term(), Term::new(5));
            assert!(matches!(raft.role(), Role::Follower { .. }));
        }
    }
}

/// A request with an outdated term is rejected, and the response carries the current term.
#[test]
fn terms_request_of_older_term_is_refused_with_the_current_term() {
    for make in [follower, candidate, leader] {
        let mut cluster = make();
        let role = cluster.raft(1).role().clone();
        cluster.receive(1, 2, request_vote(1, (9, 1)));
        cluster.receive(1, 2, append(1, (0, 0), &[1], 1));
        assert_eq!(
            cluster.between(1, 2),
            [&vote(2, false), &appended(2, AppendOutcome::StaleTerm)]
        );
        assert_eq!(cluster.raft(1).role(), &role);
        assert_eq!(cluster.term(1), 2);
    }
}

/// A response from an older term is ignored: the vote was cast in another election.
#[test]
fn terms_vote_of_older_term_is_not_counted() {
    let mut cluster = candidate();
    cluster.receive(1, 2, vote(1, true));
    assert!(!cluster.leads(1));
    cluster.receive(1, 2, vote(2, true));
    assert!(cluster.leads(1));
}

/// Servers retry unanswered requests only.
#[test]
fn terms_candidate_repeats_unanswered_requests_only() {
    let mut cluster = Cluster::new(5);
    cluster.timeout(1);
    cluster.sync(1);
    cluster.network.clear();
    cluster.receive(1, 2, vote(1, true));
    cluster.heartbeat(1);
    assert_eq!(cluster.between(1, 2).len(), 0);
    for silent in 3..=5 {
        assert_eq!(cluster.between(1, silent), [&request_vote(1, (0, 0))]);
    }
}

// §5.2: leader election.

/// Servers start as followers, in any term.
#[test]
fn election_server_starts_as_follower() {
    let cluster = Cluster::recover(vec![disk(7, &[1, 7]); 3], |_| {});
    let raft = cluster.raft(1);
    assert!(matches!(raft.role(), Role::Follower { leader: None, .. }));
    assert_eq!(raft.current_term(), Term::new(7));
    assert_eq!(raft.commit_index(), LogIndex::ZERO);
}

/// A server remains a follower as long as it receives valid RPCs from a leader, or grants its vote to
/// a candidate: only these events reset its election timer.
#[test]
fn election_timer_is_armed_anew_only_by_a_leader_or_a_granted_vote() {
    let cases = [
        (append(2, (0, 0), &[], 0), true),
        (append(1, (0, 0), &[], 0), false),
        (request_vote(2, (1, 1)), true),
        (request_vote(2, (0, 0)), false),
        (request_vote(3, (0, 0)), false),
    ];
    for (message, put_off) in cases {
        let mut cluster = Cluster::recover(vec![disk(2, &[1]); 3], |_| {});
        cluster.receive(1, 2, message);
        let armed = cluster.take_timer(1);
        assert_eq!(armed, put_off.then_some(Timer::Election));
    }
}

/// To begin an election, a follower increments its term, becomes a candidate, votes for itself, and
/// sends RequestVote RPCs to all other servers in parallel.
#[test]
fn election_timeout_starts_a_candidacy() {
    let mut cluster = Cluster::recover(vec![disk(3, &[1, 3]); 5], |_| {});
    cluster.timeout(1);
    let raft = cluster.raft(1);
    assert!(matches!(raft.role(), Role::Candidate(_)));
    assert_eq!(raft.current_term(), Term::new(4));
    assert_eq!(raft.voted_for(), Some(node(1)));
    assert_eq!(cluster.take_timer(1), Some(Timer::Election));
    cluster.sync(1);
    for other in 2..=5 {
        assert_eq!(cluster.between(1, other), [&request_vote(4, (2, 3))]);
    }
}

/// A candidate wins with votes from a majority of the full cluster in the same term, including its own
/// vote; refusals change nothing.
#[test]
fn election_candidate_wins_with_a_majority() {
    for size in 1..=7 {
        for grants in 0..size as u64 {
            let mut cluster = Cluster::new(size);
            cluster.timeout(1);
            cluster.sync(1);
            for other in 2..=size as u64 {
                cluster.receive(1, other, vote(1, other <= grants + 1));
            }
            let wins = 2 * (grants as usize + 1) > size;
            assert_eq!(cluster.leads(1), wins, "{grants} of {size}");
        }
    }
}

/// A candidate counts servers, not messages: a duplicated vote counts once.
#[test]
fn election_repeated_vote_counts_once() {
    let mut cluster = Cluster::new(4);
    cluster.timeout(1);
    cluster.sync(1);
    for _ in 0..3 {
        cluster.receive(1, 2, vote(1, true));
    }
    assert!(!cluster.leads(1));
    cluster.receive(1, 3, vote(1, true));
    assert!(cluster.leads(1));
}

/// Each server votes for at most one candidate per term, first come, first served; in a new term it
/// may vote again.
#[test]
fn election_vote_goes_to_the_first_who_asks() {
    let mut cluster = Cluster::new(3);
    for (from, term, granted) in [(2, 1, true), (3, 1, false), (2, 1, true), (3, 2, true)] {
        cluster.receive(1, from, request_vote(term, (0, 0)));
        cluster.sync(1);
        let answers = cluster.take(1, from);
        assert_eq!(answers[0].message, vote(term, granted));
        assert_eq!(answers.len(), 1);
    }
}

/// A candidate has voted for itself, and so has a leader, so neither votes for another candidate in
/// its term.
#[test]
fn election_candidate_and_leader_refuse_rivals_of_their_term() {
    for make in [candidate, leader] {
        let mut cluster = make();
        cluster.receive(1, 2, request_vote(2, (9, 2)));
        assert_eq!(cluster.between(1, 2), [&vote(2, false)]);
    }
}

/// A new leader sends heartbeats at once, to establish its authority and to prevent new elections.
#[test]
fn election_winner_announces_itself_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.timeout(1);
    cluster.sync(1);
    cluster.network.clear();
    cluster.take_timer(1);
    cluster.receive(1, 2, vote(1, true));
    assert_eq!(cluster.take_timer(1), Some(Timer::Heartbeat));
    for other in 2..=3 {
        let announced = append(1, (0, 0), &[1], 0);
        assert_eq!(cluster.between(1, other), [&announced]);
    }
}

/// A leader sends heartbeats repeatedly; a follower sends none.
#[test]
fn election_heartbeats_come_from_the_leader() {
    let mut cluster = leader();
    cluster.heartbeat(1);
    assert_eq!(cluster.take_timer(1), Some(Timer::Heartbeat));
    for other in 2..=3 {
        assert_eq!(cluster.between(1, other), [&append(2, (1, 2), &[], 1)]);
    }
    cluster.network.clear();
    cluster.heartbeat(2);
    assert!(cluster.network.is_empty());
}

/// A candidate recognizes a leader of its own term or a later one and becomes a follower; it ignores a
/// leader of an earlier term.
#[test]
fn election_candidate_recognizes_a_leader_of_its_term() {
    for (term, recognized) in [(1, false), (2, true), (3, true)] {
        let mut cluster = candidate();
        cluster.receive(1, 3, append(term, (0, 0), &[], 0));
        let follows = matches!(cluster.raft(1).role(), Role::Follower { leader: Some(id), .. } if *id == node(3));
        assert_eq!(follows, recognized, "term {term}");
    }
}

/// If no candidate wins, each candidate times out and starts a new election in a new term.
#[test]
fn election_split_vote_is_settled_in_a_new_term() {
    let mut cluster = Cluster::new(4);
    cluster.timeout(1);
    cluster.timeout(2);
    cluster.sync(1);
    cluster.sync(2);
    cluster.deliver(1, 3);
    cluster.deliver(2, 4);
    cluster.settle();
    assert!(!cluster.leads(1) && !cluster.leads(2));
    cluster.elect(1);
    assert_eq!(cluster.term(1), 2);
}

// §5.3: log replication.

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

// Thesis §4.2.3, §9.6: leader stickiness.

/// n1 leads with PreVote and CheckQuorum, and every follower has received its heartbeat.
fn followed_leader(pre_vote: bool) -> Cluster {
    let mut cluster = Cluster::recover(vec![disk(1, &[]); 3], |config| {
        config.pre_vote = pre_vote;
        config.check_quorum = true;
    });
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster
}

/// A leader that requests votes has stepped down: servers that still follow it do not refuse it for
/// the sake of its own leadership. They refuse every other candidate.
#[test]
fn stickiness_does_not_hold_against_the_leader_itself() {
    for pre_vote in [true, false] {
        let mut cluster = followed_leader(pre_vote);
        for _ in 0..2 {
            cluster.step(1, model::Event::QuorumTimeout);
        }
        assert!(!cluster.leads(1));
        cluster.elect(1);

        let mut cluster = followed_leader(pre_vote);
        let term = cluster.term(1);
        cluster.timeout(2);
        cluster.settle();
        cluster.heartbeat(2);
        cluster.settle();
        assert!(!cluster.leads(2), "n3 hears n1");
        assert_eq!(cluster.term(3), term);
    }
}

/// A server that is not among its voters neither campaigns nor counts itself (etcd: `promotable`).
#[test]
fn server_outside_its_voters_does_not_campaign() {
    for pre_vote in [true, false] {
        for others in [vec![], vec![2], vec![2, 3]] {
            let mut config = Config::new(others.iter().map(|id| node(*id)).collect());
            config.pre_vote = pre_vote;
            let mut raft = model::Raft::recover(node(1), config, disk(1, &[1]));
            let before = raft.clone();
            for _ in 0..2 {
                let effects = raft.step(model::Event::ElectionTimeout);
                assert_eq!(effects, model::Effects::default());
            }
            assert_eq!(raft, before);
        }
    }
}

// §5.4.1: election restriction.

/// A voter refuses a candidate whose log is less up-to-date than its own. The log with the later last
/// term is more up-to-date; if the terms are equal, the longer log is.
#[test]
fn restriction_vote_goes_to_a_log_at_least_as_up_to_date() {
    let cases = [
        // The voter's log, the candidate's last (index, term), granted.
        (&[][..], (0, 0), true),
        (&[1], (0, 0), false),
        (&[1], (1, 1), true),
        (&[1], (2, 1), true),
        (&[1, 1], (1, 1), false),
        (&[1, 1], (1, 2), true),
        (&[1, 2], (3, 1), false),
        (&[1, 2], (u64::MAX, 1), false),
        (&[1, 2], (2, 2), true),
        (&[1, 2], (1, 3), true),
    ];
    for (log, last, granted) in cases {
        let mut cluster = Cluster::recover(vec![disk(3, log); 3], |_| {});
        cluster.receive(1, 2, request_vote(3, last));
        cluster.sync(1);
        assert_eq!(
            cluster.between(1, 2),
            [&vote(3, granted)],
            "{log:?} {last:?}"
        );
    }
}

/// A candidate needs a majority, and each committed entry is on at least one server of that majority.
/// So a candidate without a committed entry cannot win.
#[test]
fn restriction_candidate_without_a_committed_entry_cannot_win() {
    let mut cluster = leader();
    cluster.isolate(&[3]);
    cluster.request(1, RequestBody::OpenSession);
    cluster.settle();
    cluster.heal();
    cluster.timeout(3);
    cluster.settle();
    assert!(!cluster.leads(3));
    cluster.elect(2);
    cluster.heartbeat(2);
    cluster.settle();
    assert_eq!(cluster.terms(3), [2, 2, 4]);
    assert_eq!(cluster.commit(3), 3);
}

// §5.4.2: committing entries from previous terms.

/// Figure 8, (a) to (d): an entry of an older term on a majority of servers is not thereby committed,
/// because it can still be replaced.
///
/// Deviation: our leaders begin with a no-op. So n2, which is probed with the end of the new leader's
/// log, gets the no-op of term 4 as well.
#[test]
fn figure_8_older_term_on_a_majority_can_still_be_replaced() {
    let mut cluster = figure_8_c(|_| {});
    assert_eq!(cluster.terms(3), [1, 2]);
    assert_eq!(
        cluster.commit(1),
        0,
        "2 of term 2 is on a majority, yet not committed"
    );
    figure_8_d(&mut cluster);
    for id in cluster.ids() {
        assert_eq!(cluster.terms(id), [1, 3, 5], "n{id}");
    }
}

/// Figure 8, (e): as soon as an entry of the leader's own term is on a majority, this entry and all
/// preceding entries are committed, and the other log can never win again.
#[test]
fn figure_8_own_term_on_a_majority_commits_what_came_before() {
    let mut cluster = figure_8_c(|_| {});
    cluster.deliver(1, 3);
    cluster.sync(3);
    cluster.deliver(3, 1);
    assert_eq!(cluster.terms(3), [1, 2, 4]);
    assert_eq!(cluster.commit(1), 3);
    cluster.crash(1);
    cluster.network.clear();
    cluster.restart(5);
    for _ in 0..3 {
        cluster.timeout(5);
        cluster.settle();
        assert!(!cluster.leads(5));
    }
    cluster.elect(2);
    assert_eq!(cluster.terms(5), [1, 2, 4, 7]);
}

/// Figure 8 again, with the bug that the paper warns about: counting replicas commits the entry of
/// term 2, and then the leader of term 5 lacks it.
#[cfg(feature = "mutants")]
#[test]
fn figure_8_counting_an_older_term_loses_a_committed_entry() {
    let mut cluster = figure_8_c(|config| {
        config.mutant = Some(model::mutant::Mutant::CommitsOlderTermByCounting);
    });
    assert_eq!(cluster.commit(1), 2);
    assert_eq!(cluster.violation, None);
    cluster.expects_violation = true;
    figure_8_d(&mut cluster);
    assert_eq!(cluster.violation.as_deref(), Some("Leader Completeness"));
}

// Initial states.

/// n1 follows no leader in term 2, with an empty log.
fn follower() -> Cluster {
    Cluster::recover(vec![disk(2, &[]); 3], |_| {})
}

/// n1 is a candidate in term 2 and has only its own vote.
fn candidate() -> Cluster {
    let mut cluster = Cluster::recover(vec![disk(1, &[]); 3], |_| {});
    cluster.timeout(1);
    cluster.sync(1);
    cluster.network.clear();
    cluster
}

/// n1 leads in term 2, its no-op is committed, and all servers know that.
fn leader() -> Cluster {
    let mut cluster = Cluster::recover(vec![disk(1, &[]); 3], |_| {});
    cluster.elect(1);
    cluster.heartbeat(1);
    cluster.settle();
    cluster
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

/// Figure 8 up to (c). Each append carries one entry, so that n1 can send n3 the entry of term 2
/// without the next entry.
fn figure_8_c(configure: impl Fn(&mut Config)) -> Cluster {
    let mut cluster = Cluster::recover(vec![disk(1, &[1]); 5], |config| {
        config.max_entries_per_append = 1;
        configure(config);
    });
    // (a) n1 leads in term 2 and replicates its entry to n2 only.
    cluster.elect_by(1, &[2, 3, 4, 5]);
    cluster.deliver(1, 2);
    cluster.sync(2);
    assert_eq!(cluster.terms(2), [1, 2]);
    // (b) n1 crashes; n5 wins term 3 with n3 and n4, and accepts another entry.
    cluster.sync(1);
    cluster.crash(1);
    cluster.elect_by(5, &[3, 4]);
    cluster.sync(5);
    assert_eq!(cluster.terms(5), [1, 3]);
    // (c) n5 crashes; n1 restarts, wins term 4 with n2 and n3, and continues replication. It was down
    // during term 3, so its first attempt is in term 3.
    cluster.crash(5);
    cluster.restart(1);
    cluster.timeout(1);
    cluster.sync(1);
    cluster.elect_by(1, &[2, 3]);
    cluster.sync(1);
    cluster.deliver(1, 2);
    for _probe_then_entry in 0..2 {
        cluster.deliver(1, 3);
        cluster.sync(3);
        cluster.sync(2);
        cluster.deliver(3, 1);
        cluster.deliver(2, 1);
    }
    assert_eq!(cluster.terms(1), [1, 2, 4]);
    assert_eq!(cluster.terms(3), [1, 2]);
    cluster
}

/// Figure 8 (d): n1 crashes again, and n5 wins with the votes of n3 and n4.
fn figure_8_d(cluster: &mut Cluster) {
    cluster.crash(1);
    cluster.restart(5);
    cluster.network.clear();
    // n5 was down during term 4, in which n3 has voted already.
    cluster.timeout(5);
    cluster.settle();
    assert!(!cluster.leads(5));
    cluster.elect(5);
    cluster.restart(1);
    cluster.heartbeat(5);
    cluster.settle();
}

/// The last entry that leader n1 knows to be durable at a follower.
fn match_index(cluster: &Cluster, follower: u64) -> u64 {
    let Role::Leader(leader) = cluster.raft(1).role() else {
        panic!("n1 leads");
    };
    leader.followers[&node(follower)].match_index.get()
}

// The messages of Figure 2.

fn request_vote(term: u64, (last_index, last_term): (u64, u64)) -> Message {
    Message::RequestVoteRequest(RequestVoteRequest {
        term: Term::new(term),
        last_log_index: LogIndex::new(last_index),
        last_log_term: Term::new(last_term),
    })
}

fn vote(term: u64, vote_granted: bool) -> Message {
    Message::RequestVoteResponse(RequestVoteResponse {
        term: Term::new(term),
        vote_granted,
    })
}

fn append(term: u64, (index, prev_term): (u64, u64), new: &[u64], commit: u64) -> Message {
    Message::AppendEntriesRequest(AppendEntriesRequest {
        term: Term::new(term),
        prev_log_index: LogIndex::new(index),
        prev_log_term: Term::new(prev_term),
        entries: entries(new),
        leader_commit: LogIndex::new(commit),
        read_round: 0,
    })
}

fn appended(term: u64, outcome: AppendOutcome) -> Message {
    Message::AppendEntriesResponse(AppendEntriesResponse {
        term: Term::new(term),
        read_round: 0,
        outcome,
    })
}
