//! Processes that receive stop signals, and processes that return at another address.

use harness::{Cluster, Load, NODES, Namespace, PageServer, Place, Shape, judge, run, wait::until};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpStream},
};

/// `timeout` of coreutils and some supervisors send two signals for one request. The process still ends
/// in good order.
#[test]
fn two_signals_close_together_end_a_server_and_a_proxy_in_good_order() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    let leader = cluster.leader();
    let (code, said) = cluster.stop_with_two_signals(leader);
    assert_eq!(code, Some(0), "{said}");
    load.expect_writes(50);
    cluster.restart(leader);
    cluster.leader();
    let (code, said) = cluster.stop_proxy_with_two_signals();
    assert_eq!(code, Some(0), "{said}");
    cluster.start_proxy();
    load.expect_writes(50);
    judge::assert_sound(cluster, load);
}

/// One signal requests an orderly stop: pending operations are finished, no new operation begins, and
/// the exit code reports success.
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
    judge::assert_sound(cluster, load);
}

/// Connections with incomplete requests, more of them than the servers have file descriptors. The disk
/// needs descriptors too, and clients with complete requests are still served.
#[test]
fn idle_connections_take_neither_the_disk_nor_the_turn_of_others() {
    let few = Place {
        entry: ["prlimit", "--nofile=300:300"].map(String::from).into(),
        ..Place::default()
    };
    let cluster = Cluster::start_as(Shape {
        places: NODES.map(|id| (id, few.clone())).into(),
        // Segments are created and deleted all the time.
        settings: ["--snapshot-entries=100", "--snapshot-bytes=4000"]
            .map(String::from)
            .into(),
        ..Shape::default()
    });
    let load = Load::start(&cluster);
    let leader = cluster.leader();
    let mut idle = Vec::new();
    for _ in 0..400 {
        let mut stream = TcpStream::connect(cluster.node_http(leader)).expect("no connection");
        let half = b"GET /status HTTP/1.1\r\nHost: localhost\r\nX-";
        stream.write_all(half).expect("nothing can be said");
        idle.push(stream);
    }
    let taken = |cluster: &Cluster| cluster.metric(leader, "raft_snapshots_total{event=\"taken\"}");
    load.expect_writes(300);
    // HTTP requests, in addition to all those connections.
    let before = taken(&cluster);
    load.expect_writes(300);
    assert!(taken(&cluster) > before);
    drop(idle);
    judge::assert_sound(cluster, load);
}

/// The same in one process: the frontends of the proxy take no descriptors that the disks of its
/// servers need.
#[test]
fn idle_connections_leave_the_disks_of_an_embedded_cluster_alone() {
    let few = ["prlimit", "--nofile=400:400"].map(String::from);
    let arguments = [
        "--embedded=3",
        "--data-dir={dir}/data",
        "--listen=127.0.0.1:0",
        "--http=127.0.0.1:0",
        "--redis=off",
    ];
    let mut server = PageServer::open_within(&few, "raft-proxy", &arguments);
    let said = server.said();
    let udp = said
        .split("UDP:")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let udp = udp.expect("it says where it hears datagrams").to_owned();
    let at = server
        .origin()
        .strip_prefix("http://")
        .expect("an address")
        .to_owned();
    let idle: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut stream = TcpStream::connect(&at).expect("no connection");
            stream
                .write_all(b"GET /livez")
                .expect("nothing can be said");
            stream
        })
        .collect();
    // Each snapshot begins a file.
    until("many snapshots", || {
        let put =
            format!("--endpoints={udp} bench --clients=16 --value-size=8192 --ops=put --seconds=1");
        let put: Vec<String> = put.split(' ').map(str::to_owned).collect();
        let output = run("raft-client", &put);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        server.assert_runs();
        let said = server.said();
        assert!(!said.contains("the disk failed"), "{said}");
        (said.matches("taking a snapshot").count() >= 9).then_some(())
    });
    drop(idle);
}

/// A restarted container may return under another address, and only its name stays. Without keys,
/// datagrams from the new address prove nothing about its identity: its name must be resolved again.
#[test]
fn server_that_comes_back_elsewhere_is_found_by_its_name() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let hosts = dir.path().join("hosts");
    let is_at = |address: &str| {
        let text = format!("127.0.0.1 localhost\n{address} two.stateraft.test\n");
        // Written in place: the mount refers to this file, not to its name.
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
    // The servers find it, and it forms a majority with either of them.
    let other = if leader == 1 { 3 } else { 1 };
    cluster.kill(other);
    cluster.leader_among(&[leader, 2]);
    let committed = cluster.wait_for_status(leader).commit_index;
    cluster.kill(leader);
    cluster.restart(other);
    cluster.leader_among(&[other, 2]);
    assert!(cluster.wait_for_status(2).last_index >= committed);
    cluster.restart(leader);
    cluster.leader();
    cluster.assert_all_run();
}
