//! Terms and leader election.

use crate::{
    append, appended,
    cluster::{Cluster, disk, node},
    follower, leader,
};
use model::{
    AppendOutcome, Config, LogIndex, Message, RequestVoteRequest, RequestVoteResponse, Role, Term,
    Timer, message::RequestBody,
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

// Thesis §4.2.3, §9.6: leader stickiness.

/// n1 leads with PreVote and CheckQuorum, and every follower has received its heartbeat.
pub(crate) fn followed_leader(pre_vote: bool) -> Cluster {
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
            let mut config = Config::production(others.iter().map(|id| node(*id)).collect());
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

/// n1 is a candidate in term 2 and has only its own vote.
fn candidate() -> Cluster {
    let mut cluster = Cluster::recover(vec![disk(1, &[]); 3], |_| {});
    cluster.timeout(1);
    cluster.sync(1);
    cluster.network.clear();
    cluster
}

// The messages of Figure 2.

fn request_vote(term: u64, (last_index, last_term): (u64, u64)) -> Message {
    Message::RequestVoteRequest(RequestVoteRequest {
        term: Term::new(term),
        last_log_index: LogIndex::new(last_index),
        last_log_term: Term::new(last_term),
        leadership_transfer: false,
    })
}

fn vote(term: u64, vote_granted: bool) -> Message {
    Message::RequestVoteResponse(RequestVoteResponse {
        term: Term::new(term),
        vote_granted,
    })
}
