//! Voters, empty disks and copies of disks.

use crate::{Cluster, dropped, get, poll, store};
use client::KeyValue as _;
use model::NodeId;
use node::{AlertKind, Config, Failure, MetadataError, Node, Role, StartError};
use std::{fs, path::Path, time::Duration};
use tempfile::TempDir;
use transport::{Key, Keys};

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[tokio::test]
async fn start_with_other_voters_is_refused_and_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let with = |voters: &[u64]| {
        let mut config = Config::new(NodeId::new(1), "test", dir.path());
        config.voters = voters.iter().copied().map(NodeId::new).collect();
        config
    };
    let node = Node::start(with(&[1])).await.unwrap();
    poll("a put", async || store(&node).put("a", "value").await.ok()).await;
    node.stop().await.unwrap();
    for voters in [&[1, 2, 3][..], &[1, 2], &[1, 2, 3, 4, 5]] {
        let error = Node::start(with(voters)).await.map(|_| ()).unwrap_err();
        let is_right = matches!(error, StartError::Metadata(MetadataError::Voters { .. }));
        assert!(is_right, "{error}");
    }
    let node = Node::start(with(&[1])).await.unwrap();
    let found = poll("a read", async || store(&node).get("a").await.ok()).await;
    assert!(found.is_some());
}

/// A new server with another list of voters neither becomes leader nor disturbs the others.
#[tokio::test]
async fn new_server_with_other_voters_is_rejected_and_reported() {
    let mut cluster = Cluster::start().await;
    cluster.settle().await;
    cluster.put("a").await;
    cluster.stop(2).await;
    cluster.wipe(2);
    let mut config = cluster.config(2);
    config.voters = [2, 3].map(NodeId::new).into();
    cluster.nodes[2] = Some(Node::start(config).await.unwrap());
    cluster.introduce().await;
    for place in [1, 2] {
        poll("an alert about other voters", async || {
            let alerts = cluster.status(place).await.alerts;
            let mut alerts = alerts.into_iter();
            alerts.find(|alert| alert.kind == AlertKind::OtherVoters)
        })
        .await;
        let metrics = cluster.node(place).metrics().await;
        let line = "raft_transport_total{count=\"dropped_voters\"} ";
        let count = metrics
            .lines()
            .find_map(|text| text.strip_prefix(line))
            .unwrap();
        assert_ne!(count, "0");
    }
    cluster.leader_among(&[0, 1]).await;
    cluster.put("b").await;
    let status = cluster.status(2).await;
    assert_eq!((status.commit_index, status.leader), (0, None));
    assert!(cluster.running().all(|node| !node.has_ended()));
}

/// A follower is configured with the addresses of the other two servers exchanged.
#[tokio::test]
async fn exchanged_addresses_are_reported() {
    for keys in [Keys::INSECURE, sealed()] {
        let has_keys = keys.cluster.is_some();
        let cluster = Cluster::start_with(keys).await;
        let leader = cluster.settle().await;
        let (wrong, third) = ((leader + 1) % 3, (leader + 2) % 3);
        let (node, others) = (cluster.node(wrong), [leader, third]);
        for (of, at) in others.into_iter().zip([third, leader]) {
            let at = cluster.node(at).local_addr();
            node.set_peer(cluster.node(of).id(), at).await;
        }
        let alert = poll("an alert", async || {
            let mut alerts = cluster.status(wrong).await.alerts.into_iter();
            alerts.find(|alert| alert.kind == AlertKind::PeerAddresses)
        })
        .await;
        assert!(
            alert.text.contains("the configured address of"),
            "{}",
            alert.text
        );
        if has_keys {
            // With keys, the routes follow the source addresses of datagrams, so no message is lost.
            cluster.settle().await;
            continue;
        }
        let line = "raft_transport_total{count=\"dropped_misdirected\"} ";
        poll("misdirected messages", async || {
            let metrics = cluster.node(third).metrics().await;
            let count = metrics.lines().find_map(|text| text.strip_prefix(line))?;
            (count != "0").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn server_with_an_empty_disk_is_not_counted_and_is_seen() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.settle().await;
    cluster.put("a").await;
    let (lost, third) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.stop(lost).await;
    cluster.wipe(lost);
    cluster.start_node(lost).await;
    cluster.is_refused(lost, leader).await;
    let (code, text) = get(cluster.node(lost), "/readyz").await;
    assert_eq!(code, 503);
    assert!(text.contains("[-] identity"), "{text}");
    assert_eq!(get(cluster.node(lost), "/livez").await.0, 200);
    let metrics = cluster.node(lost).metrics().await;
    assert!(metrics.contains("raft_suspended 1"), "{metrics}");
    let metrics = cluster.node(leader).metrics().await;
    assert!(metrics.contains("raft_refused_peers 1"), "{metrics}");
    let (_, text) = get(cluster.node(leader), "/status").await;
    assert!(text.contains("\"kind\":\"lost_disk\""), "{text}");
    // The other two servers are a majority.
    cluster.put("b").await;
    assert_eq!(cluster.status(lost).await.last_index, 0);
    // One of them alone is not.
    let leader = cluster.leader_among(&[leader, third]).await;
    let other = 3 - leader - lost;
    cluster.stop(other).await;
    poll("the leader to step down", async || {
        let refused = store(cluster.node(leader)).put("c", "value").await;
        assert!(
            refused.is_err(),
            "a majority that is none acknowledged a write"
        );
        (cluster.status(leader).await.role != Role::Leader).then_some(())
    })
    .await;
    cluster.start_node(other).await;
    cluster.put("d").await;
    assert!(cluster.has("a").await && cluster.has("b").await);
}

#[tokio::test]
async fn whole_cluster_restarted_with_one_empty_disk_counts_the_others() {
    let mut cluster = Cluster::start().await;
    cluster.settle().await;
    cluster.put("a").await;
    for place in 0..3 {
        cluster.stop(place).await;
    }
    cluster.wipe(0);
    // Start the empty server first: it alone could be queried.
    for place in 0..3 {
        cluster.start_node(place).await;
    }
    cluster.leader_among(&[1, 2]).await;
    cluster.is_refused(0, 1).await;
    cluster.is_refused(0, 2).await;
    assert!(cluster.has("a").await);
    cluster.put("b").await;
    assert_eq!(cluster.status(0).await.last_index, 0);
}

#[tokio::test]
async fn old_copy_of_a_disk_is_not_counted_however_often_it_was_started() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.settle().await;
    let lost = (leader + 1) % 3;
    cluster.stop(lost).await;
    let old = TempDir::new().unwrap();
    copy(cluster.dirs[lost].path(), old.path());
    for number in 0..3 {
        cluster.start_node(lost).await;
        cluster.settle().await;
        cluster.put(&format!("key {number}")).await;
        cluster.stop(lost).await;
    }
    cluster.wipe(lost);
    copy(old.path(), cluster.dirs[lost].path());
    // No other server receives datagrams of these starts.
    for _ in 0..5 {
        Node::start(cluster.config(lost))
            .await
            .unwrap()
            .stop()
            .await
            .unwrap();
    }
    cluster.start_node(lost).await;
    let others: Vec<_> = (0..3).filter(|place| *place != lost).collect();
    let leader = cluster.leader_among(&others).await;
    cluster.is_refused(lost, leader).await;
    cluster.put("more").await;
    assert!(cluster.status(lost).await.last_index < cluster.status(leader).await.last_index);
}

/// A copy that is made and restored within one start has the same identity as the disk. It is
/// detected by the log entries that it lacks.
#[tokio::test]
async fn copy_within_one_start_is_found_by_what_it_lacks() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.settle().await;
    let lost = (leader + 1) % 3;
    let old = TempDir::new().unwrap();
    copy(cluster.dirs[lost].path(), old.path());
    for number in 0..10 {
        cluster.put(&format!("key {number}")).await;
    }
    assert_eq!(cluster.settle().await, leader, "the leader is to stay");
    cluster.kill(lost).await;
    cluster.wipe(lost);
    copy(old.path(), cluster.dirs[lost].path());
    cluster.start_node(lost).await;
    cluster.is_refused(lost, leader).await;
    let text = cluster.status(lost).await.suspended.unwrap();
    assert!(
        text.contains("lacks entries that it had acknowledged"),
        "{text}"
    );
    // Permanently, under any leader.
    for place in 0..3 {
        cluster.stop(place).await;
    }
    for place in 0..3 {
        cluster.start_node(place).await;
    }
    let others: Vec<_> = (0..3).filter(|place| *place != lost).collect();
    let leader = cluster.leader_among(&others).await;
    cluster.is_refused(lost, leader).await;
    cluster.put("more").await;
}

fn sealed() -> Keys {
    let key = || Some(Key::generate().unwrap());
    Keys {
        cluster: key(),
        client: key(),
    }
}

/// A copy of the directory of a running server is started at another address.
#[tokio::test]
async fn two_servers_with_one_number_are_reported_and_the_original_counts() {
    for (keys, is_restarted) in [
        (Keys::INSECURE, false),
        (sealed(), false),
        (Keys::INSECURE, true),
        (sealed(), true),
    ] {
        let has_keys = keys.cluster.is_some();
        println!("with keys: {has_keys}, original restarted: {is_restarted}");
        let mut cluster = Cluster::start_with(keys).await;
        let leader = cluster.settle().await;
        cluster.put("before").await;
        let (twice, third) = ((leader + 1) % 3, (leader + 2) % 3);
        let dir = TempDir::new().unwrap();
        if is_restarted {
            cluster.stop(twice).await;
        }
        copy(cluster.dirs[twice].path(), dir.path());
        if is_restarted {
            cluster.start_node(twice).await;
            assert_eq!(cluster.settle().await, leader, "the leader is to stay");
        }
        let second = cluster.start_second(twice, &dir).await;
        let copied = second.status().await.unwrap().commit_index;
        let alert = poll("an alert about two servers", async || {
            let mut all = Vec::new();
            for place in 0..3 {
                all.extend(cluster.status(place).await.alerts);
            }
            let mut all = all.into_iter();
            let twice = twice as u64 + 1;
            all.find(|alert| alert.kind == AlertKind::DuplicateId && alert.node == twice)
        })
        .await;
        assert!(
            is_restarted
                || alert
                    .text
                    .contains("the one that was started later does not count"),
            "{}",
            alert.text
        );
        poll("a metric", async || {
            let mut all = String::new();
            for place in [leader, third] {
                all += &cluster.node(place).metrics().await;
            }
            all.contains("raft_refused_peers 1").then_some(())
        })
        .await;
        for number in 0..20 {
            cluster.put(&format!("key {number}")).await;
        }
        cluster.expect_counted(twice, leader).await;
        // Without the third server, the original is part of the majority.
        cluster.stop(third).await;
        cluster.put("a").await;
        cluster.expect_counted(twice, leader).await;
        // A server that received no message of the original in its present run counts it too.
        cluster.start_node(third).await;
        cluster.tell_second(&second).await;
        let leader = cluster.settle().await;
        if leader != twice {
            let other = 3 - leader - twice;
            cluster.stop(leader).await;
            let leader = cluster.leader_among(&[twice, other]).await;
            cluster.put("b").await;
            cluster.expect_counted(twice, leader).await;
        }
        let (code, text) = get(&second, "/readyz").await;
        assert_eq!(code, 503);
        assert!(text.contains("[-] identity"), "{text}");
        let status = second.status().await.unwrap();
        assert_eq!(status.commit_index, copied, "no message reached its core");
        assert_eq!(status.suspended.is_some(), has_keys);
        let metrics = second.metrics().await;
        let suspended = format!("raft_suspended {}", u64::from(has_keys));
        assert!(metrics.contains(&suspended), "{metrics}");
        second.stop().await.unwrap();
        assert!(cluster.has("a").await);
    }
}

/// The original has ended, and the copy lacks entries that it acknowledged since.
#[tokio::test]
async fn copy_that_was_seen_beside_the_original_does_not_replace_it() {
    let mut cluster = Cluster::start_with(sealed()).await;
    let leader = cluster.settle().await;
    let twice = (leader + 1) % 3;
    let dir = TempDir::new().unwrap();
    copy(cluster.dirs[twice].path(), dir.path());
    let second = cluster.start_second(twice, &dir).await;
    poll("the copy to be suspended", async || {
        second.status().await.unwrap().suspended
    })
    .await;
    cluster.put("a").await;
    cluster.stop(twice).await;
    second.stop().await.unwrap();
    cluster.dirs[twice] = dir;
    for _ in 0..2 {
        let node = Node::start(cluster.config(twice)).await.unwrap();
        // Its first request must reach the leader: a server that another one suspended sends none.
        let observer = cluster.node(leader);
        node.set_peer(observer.id(), observer.local_addr()).await;
        cluster.nodes[twice] = Some(node);
        cluster.is_refused(twice, leader).await;
        cluster.introduce().await;
        let text = cluster.status(twice).await.suspended.unwrap();
        assert!(text.contains("a copy of the disk"), "{text}");
        cluster.stop(twice).await;
    }
    cluster.put("b").await;
}

/// A suspended server sends nothing to its peers' cores, even if it was a pre-candidate.
#[tokio::test]
async fn server_that_is_suspended_before_an_election_takes_no_more_steps() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.settle().await;
    let lost = (leader + 1) % 3;
    cluster.stop(lost).await;
    cluster.wipe(lost);
    let node = Node::start(cluster.config(lost)).await.unwrap();
    poll("it to ask for votes", async || {
        let status = node.status().await.unwrap();
        (status.role == Role::PreCandidate).then_some(())
    })
    .await;
    cluster.nodes[lost] = Some(node);
    cluster.introduce().await;
    cluster.is_refused(lost, leader).await;
    assert_eq!(cluster.status(lost).await.role, Role::PreCandidate);
    let before = dropped(&cluster.node(lost).metrics().await, "refused");
    // The leader measures the time since the last message of the server.
    let silence = async || {
        let followers = cluster.status(leader).await.followers;
        Duration::from_millis(followers[&(lost as u64 + 1)].silent_ms)
    };
    let until = silence().await + 10 * cluster.config(lost).heartbeat;
    poll("ten heartbeat intervals", async || {
        (silence().await >= until).then_some(())
    })
    .await;
    let after = dropped(&cluster.node(lost).metrics().await, "refused");
    assert_eq!(after, before, "messages of a server that takes no part");
}

/// If the record of a peer cannot be written, the server must not rely on it.
#[tokio::test]
async fn server_that_cannot_record_its_peers_stops() {
    let mut cluster = Cluster {
        dirs: (0..3).map(|_| TempDir::new().unwrap()).collect(),
        nodes: vec![None, None, None],
        keys: Keys::INSECURE,
    };
    cluster.start_node(0).await;
    poll("the directory to be removed", async || {
        // The server may create a file meanwhile.
        fs::remove_dir_all(cluster.dirs[0].path()).ok()
    })
    .await;
    cluster.start_node(1).await;
    let failure = cluster.node(0).ended().await.unwrap_err();
    assert!(matches!(*failure, Failure::Disk(_)), "{failure}");
    fs::create_dir(cluster.dirs[0].path()).unwrap();
}
