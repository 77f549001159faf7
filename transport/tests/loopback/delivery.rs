//! Delivery, order, size and queues.

use crate::{
    pair,
    pair::{append, bind, config, eventually, key, keys, node, nothing_more, pair, receive},
};
use model::{
    Envelope, Message,
    wire::{Frame, KeyId},
};
use std::time::Duration;
use tokio::net::UdpSocket;
use transport::{Cause, Config, Count, Endpoint, Keys};

#[tokio::test]
async fn small_messages_share_datagrams_and_calls() {
    let (a, b, mut inbox) = pair(keys()).await;
    let sent: Vec<Envelope> = (0..256)
        .map(|nth| append(node(1), node(2), nth, 40))
        .collect();
    a.send(sent.clone());
    assert_eq!(receive(&mut inbox, 256).await, sent);
    let counters = a.counters();
    assert_eq!(counters.get(Count::MessagesSent), 256);
    let datagrams = counters.get(Count::DatagramsSent);
    assert!(datagrams < 30, "{datagrams} datagrams");
    assert_eq!(b.counters().get(Count::DatagramsReceived), datagrams);
    assert!(counters.get(Count::SendCalls) <= datagrams);
    assert_eq!(
        b.counters().get(Count::BytesReceived),
        counters.get(Count::BytesSent)
    );
}

/// Datagrams grow to the MTU of loopback once there is enough to fill them, for every listen
/// address, but never beyond the configured limit.
#[tokio::test]
async fn datagrams_grow_to_what_the_path_carries() {
    for (listen, limit) in [
        ([127, 0, 0, 1], 30_000),
        ([0, 0, 0, 0], 30_000),
        ([127, 0, 0, 1], 1_300),
        ([127, 0, 0, 1], 600),
    ] {
        let with = |listen: [u8; 4]| {
            let mut config = Config::new((listen, 0).into(), "test");
            config.keys = keys();
            config.max_datagram = limit;
            config
        };
        let (b, mut inbox) = bind(with([127, 0, 0, 1])).await;
        let (a, _a) = bind(with(listen)).await;
        a.set_peer(node(2), b.local_addr().unwrap());
        let envelope = append(node(1), node(2), 1, 20_000);
        assert_eq!(a.datagram_size(node(2)), limit.min(1_200));
        a.send(vec![envelope.clone()]);
        assert_eq!(receive(&mut inbox, 1).await, [envelope]);
        eventually("datagrams have the greatest length", || {
            a.datagram_size(node(2)) == limit
        })
        .await;
        let count = |of| a.counters().get(of);
        let before = count(Count::FragmentsSent);
        let envelope = append(node(1), node(2), 2, 3 << 20);
        a.send(vec![envelope.clone()]);
        assert_eq!(receive(&mut inbox, 1).await, [envelope]);
        let fragments = (count(Count::FragmentsSent) - before) as usize;
        let least = (3 << 20) / limit;
        assert!(
            (least..least + least / 4).contains(&fragments),
            "{fragments}"
        );
        let probes = count(Count::ProbesSent);
        assert!((2..100).contains(&probes), "{probes} probes");
        assert_eq!(b.counters().get(Count::ProbesSent), 0);
        assert_eq!(count(Count::BlackHoles), 0);
    }
}

#[tokio::test]
async fn messages_of_all_sizes_arrive() {
    for keys in [keys(), Keys::INSECURE] {
        let (a, b, mut inbox) = pair(keys).await;
        for length in [
            0,
            1,
            1200,
            1300,
            1329,
            1330,
            1331,
            1400,
            2700,
            30_000,
            1 << 20,
        ] {
            let envelope = append(node(1), node(2), 1, length);
            a.send(vec![envelope.clone()]);
            assert_eq!(receive(&mut inbox, 1).await, [envelope], "{length} bytes");
        }
        // The acknowledgement of the last fragments may still be in transit.
        eventually("all fragments are acknowledged", || {
            a.counters().get(Count::FragmentedMessagesDelivered)
                == b.counters().get(Count::FragmentedMessagesReceived)
        })
        .await;
        assert!(a.counters().get(Count::FragmentedMessagesDelivered) >= 4);
    }
}

/// A follower rejects entries that arrive before their predecessors. The test sends more than one
/// window holds, in one call and in several, small messages after large ones.
#[tokio::test]
async fn entries_arrive_in_the_order_in_which_they_were_sent() {
    let (a, _b, mut inbox) = pair(keys()).await;
    let lengths = [300_000, 10, 50_000, 5_000, 0, 40_000, 1];
    let sent: Vec<_> = (1..)
        .zip(lengths)
        .map(|(nth, length)| append(node(1), node(2), nth, length))
        .collect();
    let mut heartbeat = append(node(1), node(2), 9, 0);
    if let Message::AppendEntriesRequest(request) = &mut heartbeat.message {
        request.entries.clear();
    }
    a.send(sent[..3].to_vec());
    a.send(sent[3..4].to_vec());
    a.send(sent[4..].to_vec());
    a.send(vec![heartbeat.clone()]);
    let arrived = receive(&mut inbox, 8).await;
    assert!(arrived[0] == heartbeat, "a heartbeat waits for nothing");
    assert!(arrived[1..] == sent, "the order is another");
}

#[tokio::test]
async fn one_message_to_many_arrives_at_each() {
    let (a, _b, mut inbox) = pair(keys()).await;
    let at = _b.local_addr().unwrap();
    for id in 3..6 {
        a.set_peer(node(id), at);
    }
    let sent: Vec<Envelope> = (2..6).map(|id| append(node(1), node(id), 1, 100)).collect();
    a.send(sent.clone());
    assert_eq!(receive(&mut inbox, 4).await, sent);
}

#[tokio::test]
async fn full_inbox_drops_and_counts() {
    let mut small = config(keys());
    small.inbox = 10;
    let (b, mut inbox) = bind(small).await;
    let (a, _a) = bind(config(keys())).await;
    a.set_peer(node(2), b.local_addr().unwrap());
    a.send(
        (0..100)
            .map(|nth| append(node(1), node(2), nth, 0))
            .collect(),
    );
    eventually("what finds no room is counted", || {
        b.counters().dropped(Cause::InboxFull) == 90
    })
    .await;
    assert_eq!(receive(&mut inbox, 10).await.len(), 10);
    assert_eq!(b.counters().get(Count::MessagesReceived), 10);
    a.send(vec![append(node(1), node(2), 7, 0)]);
    receive(&mut inbox, 1).await;
}

#[tokio::test]
async fn too_large_message_and_unknown_receiver_are_counted() {
    let (a, _b, _inbox) = pair(keys()).await;
    a.send(vec![
        append(node(1), node(2), 1, 5 << 20),
        append(node(1), node(9), 1, 0),
    ]);
    assert_eq!(a.counters().dropped(Cause::Oversized), 1);
    assert_eq!(a.counters().dropped(Cause::NoRoute), 1);
    assert_eq!(a.counters().get(Count::MessagesSent), 0);
}

#[tokio::test]
async fn large_message_without_a_receiver_times_out_and_is_counted() {
    tokio::time::pause();
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (a, _a) = bind(config(keys())).await;
    a.set_peer(node(2), silent.local_addr().unwrap());
    // The endpoint's tasks have nothing to wait for yet: sending must wake them.
    tokio::task::yield_now().await;
    a.send(vec![append(node(1), node(2), 1, 100_000)]);
    eventually("it is given up", || {
        a.counters().dropped(Cause::GaveUp) == 1
    })
    .await;
    assert!(a.counters().get(Count::FragmentsRetransmitted) > 0);
}

#[tokio::test]
async fn inbox_ends_with_the_last_endpoint() {
    let (a, mut inbox) = bind(config(keys())).await;
    let clone = a.clone();
    drop(a);
    nothing_more(&mut inbox).await;
    drop(clone);
    assert_eq!(inbox.receive().await, None);
}

#[tokio::test]
async fn both_kinds_of_addresses_reach_a_socket_on_all() {
    let mut all = Config::new("[::]:0".parse().unwrap(), "test");
    all.keys = keys();
    // A machine without IPv6 cannot run this test.
    let Ok((b, mut inbox)) = Endpoint::bind(all).await else {
        return;
    };
    let (a, mut a_inbox) = bind(config(keys())).await;
    let port = b.local_addr().unwrap().port();
    a.set_peer(node(2), ([127, 0, 0, 1], port).into());
    b.set_peer(node(1), a.local_addr().unwrap());
    a.send(vec![append(node(1), node(2), 1, 50_000)]);
    receive(&mut inbox, 1).await;
    b.send(vec![append(node(2), node(1), 1, 50_000)]);
    receive(&mut a_inbox, 1).await;
}

/// A state of 64 MiB through a relay that loses a tenth of the datagrams each way, duplicates some
/// and reorders some. Small messages sent beside it arrive before it.
#[tokio::test]
async fn state_of_64_mib_arrives_over_a_bad_way_and_holds_nothing_up() {
    let bulk = |mut config: transport::Config| {
        config.max_bulk = 128 << 20;
        config
    };
    let (a, _) = bind(bulk(config(keys()))).await;
    let (b, mut inbox) = bind(bulk(config(keys()))).await;
    let relay = Relay::start(a.local_addr().unwrap(), b.local_addr().unwrap()).await;
    a.set_peer(node(2), relay.to_b);
    b.set_peer(node(1), relay.to_a);
    let state = pair::snapshot(node(1), node(2), 1024, 64 << 10);
    a.send(vec![state.clone(), state.clone()]);
    // The second one is refused, because one is in transit already.
    eventually("the second is refused", || {
        a.counters().dropped(Cause::FragmentQueueFull) == 1
    })
    .await;
    let (mut small, mut arrived) = (0, None);
    while arrived.is_none() {
        a.send(vec![append(node(1), node(2), small, 0)]);
        small += 1;
        tokio::select! {
            some = inbox.receive() => {
                for envelope in some.expect("the endpoint is open") {
                    match envelope.message {
                        Message::InstallSnapshotRequest(_) => arrived = Some(envelope),
                        _ => assert!(arrived.is_none()),
                    }
                }
            }
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
        assert_eq!(a.counters().dropped(Cause::GaveUp), 0);
    }
    assert!(arrived == Some(state), "it is not what was sent");
    assert!(relay.lost() > 1000, "the way was a good one");
    assert!(small > 100, "{small} small messages in all that time");
    eventually("it is known to have arrived", || {
        a.counters().get(Count::FragmentedMessagesDelivered) == 1
    })
    .await;
    assert_eq!(b.counters().get(Count::FragmentedMessagesReceived), 1);
}

#[tokio::test]
async fn state_that_is_too_large_is_refused_by_sender_and_receiver() {
    let limited = |bulk| {
        let mut config = config(keys());
        config.max_message = 100_000;
        config.max_bulk = bulk;
        config
    };
    let (a, _) = bind(limited(1 << 20)).await;
    let (b, mut inbox) = bind(limited(300_000)).await;
    a.set_peer(node(2), b.local_addr().unwrap());
    a.send(vec![pair::snapshot(node(1), node(2), 2, 1 << 20)]);
    eventually("it does not leave", || {
        a.counters().dropped(Cause::Oversized) == 1
    })
    .await;
    a.send(vec![pair::snapshot(node(1), node(2), 2, 200_000)]);
    eventually("it is not taken", || {
        b.counters().dropped(Cause::Oversized) > 0
    })
    .await;
    let fits = pair::snapshot(node(1), node(2), 2, 100_000);
    eventually("the sender gave up", || {
        a.counters().dropped(Cause::GaveUp) == 1
    })
    .await;
    a.send(vec![fits.clone()]);
    assert!(receive(&mut inbox, 1).await == [fits]);
}

/// Under the client key, an endpoint sends and reassembles no message above the normal limit.
#[tokio::test]
async fn client_key_takes_no_bulk() {
    let (server, _inbox) = bind({
        let mut config = config(keys());
        config.max_message = 5000;
        config.max_bulk = 1 << 20;
        config
    })
    .await;
    let at = server.local_addr().unwrap();
    let wire = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let piece = [0; 1000];
    let send = async |id: KeyId, key: &transport::Key, sequence: u64, index: u32| {
        let mut body = Vec::new();
        Frame::Fragment(model::wire::Fragment {
            message: 1,
            offset: index * 1000,
            length: 9000,
            bytes: &piece,
        })
        .encode(&mut body);
        let datagram = pair::seal(id, key, sequence, &body);
        wire.send_to(&datagram, at).await.unwrap();
    };
    for index in 0..8 {
        send(KeyId::Cluster, &key(1), 1 + u64::from(index), index).await;
        send(KeyId::Client, &key(2), 101 + u64::from(index), index).await;
    }
    eventually("all came", || {
        server.counters().get(Count::FragmentsReceived) == 16
    })
    .await;
    // All bulk messages under the client key were rejected.
    assert_eq!(server.counters().dropped(Cause::Oversized), 8);
}

/// A relay between two endpoints.
struct Relay {
    to_a: std::net::SocketAddr,
    to_b: std::net::SocketAddr,
    lost: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Relay {
    async fn start(a: std::net::SocketAddr, b: std::net::SocketAddr) -> Self {
        let ends = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0"));
        let [near_a, near_b] = ends;
        let near_a = std::sync::Arc::new(near_a.await.unwrap());
        let near_b = std::sync::Arc::new(near_b.await.unwrap());
        let relay = Self {
            to_b: near_a.local_addr().unwrap(),
            to_a: near_b.local_addr().unwrap(),
            lost: std::sync::Arc::default(),
        };
        for (from, to, at, seed) in [(&near_a, &near_b, b, 1), (&near_b, &near_a, a, 2)] {
            tokio::spawn(pass_on(
                std::sync::Arc::clone(from),
                std::sync::Arc::clone(to),
                at,
                seed,
                std::sync::Arc::clone(&relay.lost),
            ));
        }
        relay
    }

    fn lost(&self) -> u64 {
        self.lost.load(std::sync::atomic::Ordering::Relaxed)
    }
}

async fn pass_on(
    from: std::sync::Arc<UdpSocket>,
    to: std::sync::Arc<UdpSocket>,
    at: std::net::SocketAddr,
    seed: u64,
    lost: std::sync::Arc<std::sync::atomic::AtomicU64>,
) {
    use rand_chacha::{
        ChaCha8Rng,
        rand_core::{RngCore, SeedableRng},
    };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut buffer = vec![0; 65_536];
    let mut late: Option<Vec<u8>> = None;
    while let Ok(length) = from.recv(&mut buffer).await {
        let datagram = &buffer[..length];
        match random.next_u32() % 100 {
            0..10 => {
                lost.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                continue;
            }
            10..15 if late.is_none() => {
                late = Some(datagram.to_vec());
                continue;
            }
            15..20 => {
                let _ = to.send_to(datagram, at).await;
            }
            _ => {}
        }
        let _ = to.send_to(datagram, at).await;
        if let Some(late) = late.take() {
            let _ = to.send_to(&late, at).await;
        }
    }
}
