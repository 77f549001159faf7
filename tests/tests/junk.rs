//! Large numbers of meaningless datagrams, sent to every listener.

use harness::{Cluster, Load, NODES, judge};
use model::wire::{ClusterId, VERSION};
use rand::{Rng as _, RngExt as _, SeedableRng, rngs::SmallRng};
use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

/// The number of datagrams. They are sent at this rate for ten seconds, or longer on a busy machine.
const NUMBER: usize = 1_000_000;
const EACH_SECOND: u64 = 100_000;
/// The number of datagrams per system call, all of the same length; the system accepts no larger
/// batch.
const BUNCH: usize = 64;
/// The number of different batches.
const KINDS: usize = 1_000;
const LONGEST: usize = 200;

#[test]
fn flood_of_junk_cluster_goes_on_serving() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    let leader = cluster.leader();
    let targets = [cluster.node_udp(leader), cluster.proxy_udp()];
    // The header of a datagram is not secret.
    let name = cluster.options().cluster;
    let headers = [0, 1, 2, 3].map(|key| header(&name, key));
    let flood = thread::spawn(move || flood(targets, &headers));
    let mut served = 0;
    while !flood.is_finished() {
        load.expect_writes(10);
        served += 10;
    }
    let (sent, took) = flood.join().expect("the flood ends by itself");
    let rate = sent as f64 / took.as_secs_f64();
    eprintln!(
        "  {sent} datagrams of junk in {took:.1?}, {rate:.0} a second; {served} writes meanwhile"
    );
    assert_eq!(sent, NUMBER);
    assert!(served >= 100, "{served} writes in all that time");
    // The received datagrams were counted, by cause.
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

/// The causes of rejection: too short, another protocol, another version, unsealed, an unknown key, an
/// invalid seal.
const CAUSES: [&str; 7] = [
    "short",
    "magic",
    "version",
    "cluster",
    "unsealed",
    "unknown_key",
    "seal",
];

/// Sends all datagrams. Returns their number and the duration.
fn flood(targets: [SocketAddr; 2], headers: &[[u8; 14]; 4]) -> (usize, Duration) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("no port is free");
    let mut random = SmallRng::seed_from_u64(1);
    let bunches: Vec<(usize, Vec<u8>)> = (0..KINDS).map(|_| bunch(&mut random, headers)).collect();
    let (begun, mut sent) = (Instant::now(), 0);
    while sent < NUMBER {
        let (length, bytes) = &bunches[random.random_range(0..KINDS)];
        let many = BUNCH.min(NUMBER - sent);
        let target = targets[random.random_range(0..2)];
        sent += send(&socket, &bytes[..many * length], *length, target);
        let due = Duration::from_micros(sent as u64 * 1_000_000 / EACH_SECOND);
        // The rate of the flood.
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    (sent, begun.elapsed())
}

/// Sends datagrams of this length in one call; the kernel splits the buffer (UDP segmentation
/// offload). Returns the number of accepted datagrams.
fn send(socket: &UdpSocket, bytes: &[u8], length: usize, to: SocketAddr) -> usize {
    let size = libc::c_int::try_from(length).expect("a datagram is small");
    // SAFETY: the option is an int, and is read before the call returns.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            std::ptr::from_ref(&size).cast(),
            size_of_val(&size) as libc::socklen_t,
        )
    };
    let error = std::io::Error::last_os_error();
    assert_eq!(set, 0, "the system cuts no datagrams apart: {error}");
    // Datagrams that the kernel does not accept now are sent again.
    socket.send_to(bytes, to).unwrap_or(0) / length
}

/// A batch of datagrams of one length.
fn bunch(random: &mut SmallRng, headers: &[[u8; 14]; 4]) -> (usize, Vec<u8>) {
    let length = random.random_range(1..LONGEST);
    let mut bytes = vec![0; BUNCH * length];
    for datagram in bytes.chunks_mut(length) {
        let header = &headers[random.random_range(0..4)];
        junk(random, header, datagram);
    }
    (length, bytes)
}

/// Random bytes after a valid header prefix of random length.
fn junk(random: &mut SmallRng, header: &[u8; 14], bytes: &mut [u8]) {
    random.fill_bytes(bytes);
    // Nothing, or up to and including: magic, version, key, cluster.
    let right = [0, 4, 5, 6, 14][random.random_range(0..5)];
    if let Some(start) = bytes.get_mut(..right) {
        start.copy_from_slice(&header[..right]);
    }
}

/// The header of every datagram; see `docs/wire.md`.
fn header(cluster: &str, key: u8) -> [u8; 14] {
    let mut header = *b"SRFT\0\0........";
    header[4] = VERSION;
    header[5] = key;
    header[6..].copy_from_slice(&ClusterId::new(cluster).get().to_be_bytes());
    header
}
