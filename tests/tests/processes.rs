//! Processes that are asked to end, and processes that come back elsewhere.

use harness::{Cluster, Load, NODES, Namespace, Place, Shape, judge};
use std::{collections::BTreeMap, fs, net::Ipv4Addr};

/// A second signal is for who has no time: the process ends at once. The others go on, and nothing
/// that was acknowledged is lost.
#[test]
fn second_signal_ends_a_server_and_a_proxy_at_once() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    let leader = cluster.leader();
    let (code, said) = cluster.stop_at_once(leader);
    // Which of the two came second is theirs to say.
    assert!(matches!(code, Some(130 | 143)), "{code:?}: {said}");
    assert!(said.contains("ends at once"), "{said}");
    load.expect_writes(50);
    cluster.restart(leader);
    cluster.leader();
    let (code, said) = cluster.stop_proxy_at_once();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("stopped at once"), "{said}");
    cluster.start_proxy();
    load.expect_writes(50);
    finish(cluster, load);
}

/// One signal is a request: what is under way is finished, nothing new is begun, and the exit code
/// says that all is well.
#[test]
fn first_signal_ends_a_proxy_and_servers_in_good_order() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    for _ in 0..3 {
        assert_eq!(cluster.stop_proxy(), Some(0));
        cluster.start_proxy();
        load.expect_writes(50);
        let leader = cluster.leader();
        cluster.stop(leader);
        load.expect_writes(50);
        cluster.restart(leader);
        cluster.leader();
    }
    finish(cluster, load);
}

fn finish(mut cluster: Cluster, load: Load) {
    let history = load.finish();
    cluster.leader();
    cluster.assert_all_run();
    cluster.kill_all();
    let path = history.write(cluster.dir(), "history.jsonl");
    judge::assert_linearizable(&path, 100);
    judge::assert_replays(&cluster.traces());
}

/// A container that restarts may come back under another address, and only its name stays. Without
/// keys nothing that it says from there is proof of where it is: its name has to be looked up again.
#[test]
fn server_that_comes_back_elsewhere_is_found_by_its_name() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let hosts = dir.path().join("hosts");
    let is_at = |address: &str| {
        let text = format!("127.0.0.1 localhost\n{address} two.stateraft.test\n");
        // Written in place: what is mounted is this file, not its name.
        fs::write(&hosts, text).expect("a file of hosts can be written");
    };
    is_at("127.0.0.2");
    namespace.shell(&format!("mount --bind {} /etc/hosts", hosts.display()));
    let known = namespace.shell("getent hosts two.stateraft.test");
    assert!(
        known.starts_with("127.0.0.2"),
        "names are not looked up in /etc/hosts: {known}"
    );
    let place = |ip: Option<Ipv4Addr>| Place {
        entry: namespace.entry(),
        ip,
        ..Place::default()
    };
    let first = Ipv4Addr::new(127, 0, 0, 2);
    let mut cluster = Cluster::start_as(Shape {
        places: BTreeMap::from(NODES.map(|id| (id, place((id == 2).then_some(first))))),
        proxy_entry: namespace.entry(),
        names: BTreeMap::from([(2, "two.stateraft.test".to_owned())]),
        without_keys: true,
        ..Shape::default()
    });
    let leader = cluster.leader();
    cluster.catches_up(2, leader);
    cluster.kill(2);
    let leader = cluster.leader_among(&[1, 3]);
    is_at("127.0.0.3");
    cluster.place(2, place(Some(Ipv4Addr::new(127, 0, 0, 3))));
    cluster.restart(2);
    cluster.catches_up(2, leader);
    // They find it so well that it makes up a majority with either of them.
    let other = if leader == 1 { 3 } else { 1 };
    cluster.kill(other);
    cluster.leader_among(&[leader, 2]);
    let committed = cluster.number(leader, "commit_index");
    cluster.kill(leader);
    cluster.restart(other);
    cluster.leader_among(&[other, 2]);
    assert!(cluster.number(2, "last_index") >= committed);
    cluster.restart(leader);
    cluster.leader();
    cluster.assert_all_run();
}
