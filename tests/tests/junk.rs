//! Datagrams that mean nothing, in great numbers, at everyone who listens.

use harness::{Cluster, Load, NODES, judge};
use model::wire::{ClusterId, VERSION};
use rand::{Rng as _, RngExt as _, SeedableRng, rngs::SmallRng};
use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

/// So many are sent, at this rate: for ten seconds, or longer where the machine is too busy.
const NUMBER: usize = 1_000_000;
const EACH_SECOND: u64 = 100_000;
/// How many leave in one call.
const BUNCH: usize = 100;
/// How many different ones there are.
const KINDS: usize = 20_000;

#[test]
fn flood_of_junk_cluster_goes_on_serving() {
    let mut cluster = Cluster::start();
    let load = Load::start(&cluster);
    let leader = cluster.leader();
    let targets = [cluster.node_udp(leader), cluster.proxy_udp()];
    // The header of a datagram is no secret.
    let name = cluster.options().cluster;
    let headers = [0, 1, 2, 3].map(|key| header(&name, key));
    let flood = thread::spawn(move || flood(targets, &headers));
    let mut served = 0;
    while !flood.is_finished() {
        load.expect_writes(10);
        served += 10;
    }
    let (sent, took) = flood.join().expect("the flood ends by itself");
    eprintln!("  {sent} datagrams of junk in {took:.1?}, and {served} writes meanwhile");
    assert_eq!(sent, NUMBER);
    assert!(served >= 100, "{served} writes in all that time");
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

/// Sends them all, and says how many it sent and how long that took.
fn flood(targets: [SocketAddr; 2], headers: &[[u8; 14]; 4]) -> (usize, Duration) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("no port is free");
    let mut random = SmallRng::seed_from_u64(1);
    let mut bytes = [0; 200];
    let mut kinds = Vec::with_capacity(KINDS);
    for _ in 0..KINDS {
        let header = &headers[random.random_range(0..4)];
        kinds.push(junk(&mut random, header, &mut bytes).to_vec());
    }
    let targets = targets.map(socket2::SockAddr::from);
    let (begun, mut sent) = (Instant::now(), 0);
    while sent < NUMBER {
        let first = random.random_range(0..KINDS - BUNCH);
        let bunch = &kinds[first..first + BUNCH.min(NUMBER - sent)];
        sent += send(&socket, bunch, &targets[random.random_range(0..2)]);
        let due = Duration::from_micros(sent as u64 * 1_000_000 / EACH_SECOND);
        // The pace of the flood.
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    (sent, begun.elapsed())
}

/// Sends datagrams in one call, and says how many the system took.
fn send(socket: &UdpSocket, bunch: &[Vec<u8>], to: &socket2::SockAddr) -> usize {
    let mut parts: Vec<libc::iovec> = bunch
        .iter()
        .map(|bytes| libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .map(|part| {
            // SAFETY: zeros are a valid header, of a message without anything.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_name = to.as_ptr().cast_mut().cast();
            message.msg_hdr.msg_namelen = to.len();
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let count = libc::c_uint::try_from(messages.len()).expect("a bunch is small");
    // SAFETY: every header points to one part and one address, every part to bytes; all of them
    // outlive the call, which writes to nothing but the headers.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
    // One that the system does not take for now is sent again.
    usize::try_from(sent).unwrap_or(0)
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
