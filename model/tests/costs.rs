//! The cost of the protocol in messages and round trips. A change that increases a cost fails here.

mod cluster;

use cluster::{Cluster, disk};
use model::{Message, message::RequestBody};

/// Delivers all messages and syncs all disks, round trip by round trip. Returns the number of
/// messages.
fn settle(cluster: &mut Cluster) -> usize {
    let mut count = 0;
    loop {
        for id in cluster.ids() {
            cluster.sync(id);
        }
        if cluster.network.is_empty() {
            return count;
        }
        for envelope in std::mem::take(&mut cluster.network) {
            count += 1;
            cluster.arrive(envelope);
        }
    }
}

/// Server 1 leads three servers, with PreVote and CheckQuorum.
fn leader() -> (Cluster, usize) {
    let mut cluster = Cluster::recover(vec![disk(1, &[]); 3], |config| {
        config.pre_vote = true;
        config.check_quorum = true;
    });
    cluster.timeout(1);
    let count = settle(&mut cluster);
    assert!(cluster.leads(1));
    (cluster, count)
}

/// Pre-votes, votes and the no-op: each is sent to two servers and answered.
#[test]
fn election_takes_twelve_messages() {
    assert_eq!(leader().1, 12);
}

/// Each entry is sent to each follower once and acknowledged once. No message is sent only to announce
/// its commitment.
#[test]
fn entries_take_four_messages_alone_and_a_hundredth_of_it_together() {
    let (mut cluster, _) = leader();
    let mut count = 0;
    for _ in 0..100 {
        cluster.request(1, RequestBody::OpenSession);
        count += settle(&mut cluster);
    }
    assert_eq!(count, 400);

    let requests = (0..100).map(|id| {
        let request = model::ClientRequest {
            client: model::ClientId::new(7),
            id: model::RequestId::new(1000 + id),
            body: RequestBody::OpenSession,
        };
        (cluster::CLIENT, request)
    });
    let requests = requests.collect();
    cluster.step(1, model::Event::Requests(requests));
    assert_eq!(settle(&mut cluster), 4);
}

/// A heartbeat is two requests and two responses.
#[test]
fn idle_cluster_exchanges_four_messages_each_heartbeat() {
    let (mut cluster, _) = leader();
    for _ in 0..10 {
        cluster.heartbeat(1);
        assert_eq!(settle(&mut cluster), 4);
    }
}

/// A follower that lacks 10,000 entries has them after six round trips; each entry is sent once.
#[test]
fn ten_thousand_entries_take_six_round_trips() {
    let log = vec![1; 10_000];
    let mut cluster = Cluster::recover(vec![disk(1, &log), disk(1, &log), disk(1, &[])], |_| {});
    cluster.elect_by(1, &[2]);
    cluster.sync(1);
    cluster.heartbeat(1);
    let (mut round_trips, mut entries) = (0, 0);
    while cluster.raft(3).log().last_index() < cluster.raft(1).log().last_index() {
        let sent = cluster.between(1, 3).into_iter();
        entries += sent
            .map(|message| match message {
                Message::AppendEntriesRequest(request) => request.entries.len(),
                _ => 0,
            })
            .sum::<usize>();
        cluster.deliver(1, 3);
        cluster.sync(3);
        cluster.deliver(3, 1);
        round_trips += 1;
    }
    // The leader's first entry is sent twice: also with the first probe, which is rejected.
    assert_eq!((round_trips, entries), (6, 10_002));
}
