//! Events without an effect. No scope contains them: no correct process sends these messages, and the models
//! omit timers that change nothing.

use crate::cluster::{Cluster, disk, entries, node};
use model::{
    Address, AppendEntriesRequest, ClientId, ClientRequest, ClientResponse, Durable, Effects,
    Event, InstallSnapshotRequest, InstallSnapshotResponse, LogIndex, Message, Payload,
    PreVoteRequest, Raft, RequestId, RequestVoteRequest, Role, Snapshot, Store, Term,
    TimeoutNowRequest,
    message::{RequestBody, ResponseBody},
};

/// Requires that an event changes nothing, and returns no effect.
fn assert_ignored(raft: &Raft, event: Event) {
    let mut stepped = raft.clone();
    let effects = stepped.step(event.clone());
    assert_eq!((&stepped, effects), (raft, Effects::default()), "{event:?}");
}

fn receive(from: u64, message: Message) -> Event {
    let from = Address::Node(node(from));
    Event::Receive { from, message }
}

/// Server 1 of three leads, with CheckQuorum, and no other server has acknowledged an entry.
fn leader() -> Cluster {
    let disks = vec![disk(1, &[1, 1]); 3];
    let mut cluster = Cluster::recover(disks, |config| config.check_quorum = true);
    cluster.elect_by(1, &[2]);
    cluster
}

fn append(term: Term) -> Message {
    Message::AppendEntriesRequest(AppendEntriesRequest {
        term,
        prev_log_index: LogIndex::ZERO,
        prev_log_term: Term::ZERO,
        entries: entries(&[1]),
        leader_commit: LogIndex::ZERO,
        read_round: 0,
    })
}

#[test]
fn misrouted_messages_are_dropped() {
    let cluster = leader();
    let leader = cluster.raft(1);
    let (client, id) = (ClientId::new(7), RequestId::new(1));
    let request = Message::ClientRequest(ClientRequest {
        client,
        id,
        body: RequestBody::OpenSession,
    });
    let response = Message::ClientResponse(ClientResponse {
        client,
        id,
        body: ResponseBody::Unavailable,
    });
    for message in [request, response.clone()] {
        assert_ignored(leader, receive(2, message));
    }
    let newer = append(Term::new(9));
    for message in [newer.clone(), response] {
        let from = Address::Client(client);
        assert_ignored(leader, Event::Receive { from, message });
    }
    // From itself, and from a server outside the configuration.
    for from in [1, 9] {
        assert_ignored(leader, receive(from, newer.clone()));
    }
}

/// The receiver follows a leader, so it ignores the elections of a server that is too many terms ahead.
#[test]
fn election_far_ahead_is_ignored() {
    let cluster = leader();
    let (last_log_index, last_log_term) = (LogIndex::new(9), Term::new(9));
    let vote = Message::RequestVoteRequest(RequestVoteRequest {
        term: Term::LAST,
        last_log_index,
        last_log_term,
        leadership_transfer: false,
    });
    let pre_vote = Message::PreVoteRequest(PreVoteRequest {
        next_term: Term::LAST,
        last_log_index,
        last_log_term,
    });
    for message in [vote, pre_vote] {
        assert_ignored(cluster.raft(1), receive(3, message));
    }
}

/// Election Safety excludes a second leader of a term, so only a forged message claims to be from one.
#[test]
fn second_leader_of_a_term_is_ignored() {
    let cluster = leader();
    let leader = cluster.raft(1);
    let term = leader.current_term();
    let config = leader.config();
    let mut store = Store::default();
    store.apply(&Payload::Noop, config);
    let install = Message::InstallSnapshotRequest(InstallSnapshotRequest {
        term,
        snapshot: Snapshot {
            last_included_index: LogIndex::new(1),
            last_included_term: Term::new(1),
            store,
        },
    });
    for message in [append(term), install] {
        assert!(!leader.is_impossible(&message), "{message:?}");
        assert_ignored(leader, receive(2, message));
    }
}

#[test]
fn acknowledged_snapshot_beyond_the_log_is_ignored() {
    let mut cluster = leader();
    let Role::Leader(before) = cluster.raft(1).role().clone() else {
        panic!("server 1 leads");
    };
    let beyond = cluster.raft(1).log().last_index().next();
    let response = InstallSnapshotResponse {
        term: cluster.raft(1).current_term(),
        match_index: beyond,
    };
    cluster.receive(1, 2, Message::InstallSnapshotResponse(response));
    let Role::Leader(after) = cluster.raft(1).role() else {
        panic!("server 1 leads");
    };
    assert_eq!(after.followers, before.followers);
    // The response still shows that server 2 follows this leader (CheckQuorum).
    assert_eq!(Vec::from_iter(&after.recently_active), [&node(2)]);
}

#[test]
fn timer_of_another_role_changes_nothing() {
    let cluster = leader();
    assert_ignored(cluster.raft(1), Event::ElectionTimeout);
    assert_ignored(cluster.raft(2), Event::HeartbeatTimeout);
    for pre_vote in [false, true] {
        let mut cluster = Cluster::recover(vec![disk(1, &[1]); 3], |config| {
            config.check_quorum = true;
            config.pre_vote = pre_vote;
        });
        cluster.timeout(1);
        let is_pre_candidate = matches!(cluster.raft(1).role(), Role::PreCandidate { .. });
        assert_eq!(is_pre_candidate, pre_vote);
        assert_ignored(cluster.raft(1), Event::QuorumTimeout);
    }
}

/// A leader without CheckQuorum does not step down, although no server responds.
#[test]
fn quorum_timer_without_check_quorum_changes_nothing() {
    let mut cluster = Cluster::new(3);
    cluster.elect_by(1, &[2]);
    assert_ignored(cluster.raft(1), Event::QuorumTimeout);
}

/// No term follows the last one, so no election can.
#[test]
fn server_in_the_last_term_does_not_campaign() {
    for pre_vote in [false, true] {
        let disks: Vec<Durable> = vec![disk(u64::MAX, &[1]); 3];
        let cluster = Cluster::recover(disks, |config| config.pre_vote = pre_vote);
        assert_ignored(cluster.raft(1), Event::ElectionTimeout);
    }
}

/// A leader sends TimeoutNow only to followers in its own term. A leader or candidate receives it only if
/// it is forged or delayed.
#[test]
fn timeout_now_concerns_followers() {
    let leading = leader();
    let mut campaigning = Cluster::recover(vec![disk(1, &[1]); 3], |_| {});
    campaigning.timeout(1);
    for raft in [leading.raft(1), campaigning.raft(1)] {
        for term in [1, 2, 9] {
            let term = Term::new(term);
            let request = Message::TimeoutNowRequest(TimeoutNowRequest { term });
            assert_ignored(raft, receive(2, request));
        }
    }
}
