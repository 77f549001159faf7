//! Networks with a smaller MTU than Ethernet, such as tunnels, and networks whose MTU changes while a
//! cluster runs: all features work as on Ethernet.

use client::{Client, KeyValue as _};
use harness::{Network, wait::until};
use std::{future::Future, time::Duration};

const HEADERS: u64 = 28;

/// Runs a client in the network namespace of this thread.
fn with_client<T>(network: &Network, run: impl AsyncFnOnce(&Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let options = network.options();
    runtime.block_on(async {
        let client = Client::connect(options).await.expect("a client");
        run(&client).await
    })
}

fn value(length: usize) -> Vec<u8> {
    (0..length).map(|nth| (nth * 7 % 251) as u8).collect()
}

async fn put(client: &Client, key: &str, length: usize) {
    let put = client.put(key.as_bytes(), value(length)).await;
    put.unwrap_or_else(|error| panic!("put of {length} bytes: {error}"));
}

async fn found<T, E: std::fmt::Display>(what: &str, of: impl Future<Output = Result<T, E>>) -> T {
    of.await.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// The typical uses of a cluster, on links with this MTU.
fn everything_works(mtu: u32) {
    let mut network = Network::start(mtu);
    let most = u64::from(mtu) - HEADERS;
    with_client(&network, async |client| {
        for length in [1_100, 1_250, 1_300, 1_400, 1_500, 5_000, 100_000] {
            put(client, "large", length).await;
            let read = found("get", client.get(&b"large"[..])).await;
            assert!(read.is_some_and(|read| read.value.as_ref() == value(length)));
        }
        for nth in 0..40 {
            put(client, &format!("scan/{nth:02}"), 100).await;
        }
        let page = found("scan", client.scan(&b"scan/"[..], None, 100)).await;
        assert_eq!(page.pairs.len(), 40);
    });
    // A loaded cluster keeps its leader, and datagrams are as long as the links permit.
    let (leader, term) = network.leader();
    let line = "-o json bench --clients 64 --value-size 64 --ops put --seconds 2 --warm-up 100ms";
    network.client(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(network.leader(), (leader, term), "{}", network.log(leader));
    let follower = if leader == 1 { 2 } else { 1 };
    until("datagrams as long as the link carries", || {
        with_client(&network, async |client| put(client, "more", 20_000).await);
        (network.datagram_bytes(leader, follower) == most).then_some(())
    });
    assert_eq!(
        network.metric(leader, "raft_transport_total{count=\"black_holes\"}"),
        0
    );
    // A follower that missed many small writes returns.
    network.stop(follower);
    with_client(&network, async |client| {
        for nth in 0..60 {
            put(client, &format!("missed/{nth}"), 40).await;
        }
    });
    network.restart(follower);
    network.catches_up(follower, leader);
}

#[test]
fn cluster_works_on_ethernet() {
    everything_works(1_500);
}

#[test]
fn cluster_works_in_a_tunnel_of_1420_bytes() {
    everything_works(1_420);
}

#[test]
fn cluster_works_in_a_tunnel_of_1280_bytes() {
    everything_works(1_280);
}

/// Below the initial datagram size of a path.
#[test]
fn cluster_works_on_links_of_1000_bytes() {
    everything_works(1_000);
}

/// The MTU of all interfaces decreases while clients write, and increases again.
#[test]
fn cluster_follows_interfaces_that_carry_less_and_more() {
    let network = Network::start(1_500);
    let (leader, term) = network.leader();
    let follower = if leader == 1 { 2 } else { 1 };
    with_client(&network, async |client| {
        for mtu in [1_500, 1_280, 1_420, 1_500, 9_000] {
            for id in 1..=4 {
                network.set_mtu(id, mtu);
            }
            for nth in 0..50 {
                put(client, &format!("key/{nth}"), 1_000 + 40 * nth).await;
            }
            let most = u64::from(mtu) - HEADERS;
            let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
            while network.datagram_bytes(leader, follower) != most {
                put(client, "more", 20_000).await;
                let size = network.datagram_bytes(leader, follower);
                assert!(tokio::time::Instant::now() < deadline, "{size} of {most}");
            }
        }
    });
    assert_eq!(network.leader(), (leader, term));
    let count =
        |name: &str| network.metric(leader, &format!("raft_transport_total{{count=\"{name}\"}}"));
    assert_eq!(count("dropped_send_failed") + count("dropped_too_long"), 0);
    assert!(count("probes_acknowledged") > 0);
}

/// The path to one server silently drops packets above its MTU, like a tunnel on the path.
#[test]
fn cluster_leaves_a_black_hole() {
    let network = Network::start(1_500);
    let (leader, term) = network.leader();
    let follower = if leader == 1 { 2 } else { 1 };
    until("datagrams as long as the link carries", || {
        with_client(&network, async |client| put(client, "more", 20_000).await);
        (network.datagram_bytes(leader, follower) == 1_500 - HEADERS).then_some(())
    });
    let before = network.metric(leader, "raft_transport_total{count=\"black_holes\"}");
    network.set_port_mtu(follower, 1_300);
    // The path to the leader drops them, too.
    network.set_port_mtu(leader, 1_300);
    with_client(&network, async |client| {
        for nth in 0..40 {
            put(client, &format!("key/{nth}"), 1_000 + 100 * nth).await;
        }
    });
    until("shorter datagrams", || {
        with_client(&network, async |client| put(client, "more", 20_000).await);
        let size = network.datagram_bytes(leader, follower);
        (size <= 1_300 - HEADERS).then_some(())
    });
    assert!(network.metric(leader, "raft_transport_total{count=\"black_holes\"}") > before);
    network.catches_up(follower, leader);
    assert_eq!(network.leader(), (leader, term));
}
