//! Datagrams that mean nothing, in great numbers, at everyone who listens.

use harness::{Cluster, Load, NODES, judge};
use model::wire::{ClusterId, VERSION};
use rand::{Rng as _, RngExt as _, SeedableRng, rngs::SmallRng};
use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

const SECONDS: u64 = 3;
const EACH_SECOND: u64 = 100_000;
/// So often a second a bunch of them leaves.
const BUNCHES: u64 = 200;

#[test]
fn flood_of_junk_cluster_goes_on_serving() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    let leader = cluster.leader();
    let targets = [cluster.node_udp(leader), cluster.proxy_udp()];
    // The header of a datagram is no secret.
    let name = cluster.options().cluster;
    let headers = [0, 1, 2, 3].map(|key| header(&name, key));
    let flood = thread::spawn(move || flood(&targets, &headers));
    while !flood.is_finished() {
        load.expect_writes(10);
    }
    let sent = flood.join().expect("the flood ends by itself");
    eprintln!("  {sent} datagrams of junk were sent in {SECONDS} seconds");
    // What arrived of it was counted, and by cause.
    for cause in CAUSES {
        let node = format!("raft_transport_total{{count=\"dropped_{cause}\"}}");
        assert!(cluster.metric(leader, &node) > 10, "{node}");
        let proxy = format!("stateraft_proxy_udp_dropped_{cause}_total");
        assert!(cluster.proxy_metric(&proxy) > 10, "{proxy}");
    }
    load.expect_writes(50);
    let history = load.finish();
    cluster.assert_all_run();
    cluster.kill_all();
    let path = history.write(cluster.dir(), "history.jsonl");
    judge::assert_linearizable(&path, 100);
    judge::assert_replays(&NODES.map(|id| cluster.trace(id)));
}

/// What becomes of junk: too short, of something else, of another version, without a seal, under a
/// key that is not known, sealed wrongly.
const CAUSES: [&str; 7] = [
    "short",
    "magic",
    "version",
    "cluster",
    "unsealed",
    "unknown_key",
    "seal",
];

/// Sends so many a second, and says how many it sent. A machine that is too busy sends fewer.
fn flood(targets: &[SocketAddr; 2], headers: &[[u8; 14]; 4]) -> u64 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("no port is free");
    let mut random = SmallRng::seed_from_u64(1);
    let mut bytes = [0; 200];
    let (begun, mut sent) = (Instant::now(), 0);
    for bunch in 1..=SECONDS * BUNCHES {
        for _ in 0..EACH_SECOND / BUNCHES {
            let header = &headers[random.random_range(0..4)];
            let junk = junk(&mut random, header, &mut bytes);
            let target = targets[random.random_range(0..2)];
            sent += u64::from(socket.send_to(junk, target).is_ok());
        }
        let due = Duration::from_micros(bunch * 1_000_000 / BUNCHES);
        if begun.elapsed() > Duration::from_secs(2 * SECONDS) {
            break;
        }
        // The pace of the flood.
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    sent
}

/// Random bytes, behind as much of a right header as chance will have it.
fn junk<'a>(random: &mut SmallRng, header: &[u8; 14], bytes: &'a mut [u8]) -> &'a [u8] {
    let bytes = &mut bytes[..random.random_range(0..200)];
    random.fill_bytes(bytes);
    // Nothing, or up to and with: what it is, the version, the key, the cluster.
    let right = [0, 4, 5, 6, 14][random.random_range(0..5)];
    if let Some(start) = bytes.get_mut(..right) {
        start.copy_from_slice(&header[..right]);
    }
    bytes
}

/// What begins every datagram; `docs/wire.md` draws it.
fn header(cluster: &str, key: u8) -> [u8; 14] {
    let mut header = *b"SRFT\0\0........";
    header[4] = VERSION;
    header[5] = key;
    header[6..].copy_from_slice(&ClusterId::of(cluster).get().to_be_bytes());
    header
}
