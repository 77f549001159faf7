//! Endpoints that exchange messages over loopback: delivery, rejection, and the counters of each
//! cause.

mod pair;

use model::{
    ClientId, ClientResponse, Envelope, LogIndex, Message, NodeId, RequestId,
    message::ResponseBody,
    wire::{Frame, HEADER, KeyId, VotersDigest},
};
use pair::{
    append, bind, client, config, datagram, eventually, key, keys, node, nothing_more, pair, proxy,
    receive, request,
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

/// Without keys, any sender can forge a sequence number. A forged one must not make later datagrams
/// look old.
#[tokio::test]
async fn forged_number_does_not_silence_a_peer_without_keys() {
    let (a, b, mut inbox) = pair(Keys::INSECURE).await;
    let wire = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = b.local_addr().unwrap();
    // Record a datagram of the peer, and change its sequence number.
    a.set_peer(node(2), wire.local_addr().unwrap());
    a.send(vec![append(node(1), node(2), 1, 0)]);
    let mut forged = datagram(&wire).await;
    forged[30..38].fill(0xff);
    wire.send_to(&forged, at).await.unwrap();
    receive(&mut inbox, 1).await;
    a.set_peer(node(2), at);
    let sent: Vec<_> = (2..10)
        .map(|nth| append(node(1), node(2), nth, 0))
        .collect();
    for envelope in &sent {
        a.send(vec![envelope.clone()]);
    }
    assert_eq!(receive(&mut inbox, 8).await, sent);
    assert_eq!(b.counters().dropped(Cause::Replayed), 0);
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
async fn client_is_answered_where_it_was_heard() {
    let server_keys = keys();
    let client_keys = Keys {
        cluster: None,
        ..server_keys.clone()
    };
    let (server, mut server_inbox) = bind(config(server_keys)).await;
    let (user, mut user_inbox) = bind(config(client_keys)).await;
    user.set_peer(proxy(1), server.local_addr().unwrap());
    let ask = request(client(7), proxy(1));
    user.send(vec![ask.clone()]);
    assert_eq!(receive(&mut server_inbox, 1).await, [ask]);
    // Large enough for fragments, which the client key permits too.
    let answer = Envelope {
        from: proxy(1),
        to: client(7),
        message: Message::ClientResponse(ClientResponse {
            client: ClientId::new(7),
            id: RequestId::new(1),
            body: ResponseBody::Found(model::store::Found::Value(Some(model::store::Versioned {
                value: vec![3; 50_000].into(),
                version: LogIndex::new(4),
            }))),
        }),
    };
    server.send(vec![answer.clone()]);
    assert_eq!(receive(&mut user_inbox, 1).await, [answer]);
    // The address of a client that never sent a datagram is unknown.
    server.send(vec![Envelope {
        to: client(8),
        ..request(proxy(1), client(8))
    }]);
    assert_eq!(server.counters().dropped(Cause::NoKey), 1);
}

#[tokio::test]
async fn client_key_cannot_speak_for_a_node() {
    let (server, mut inbox) = bind(config(keys())).await;
    let at = server.local_addr().unwrap();
    // The sender in this crate refuses to send such messages, so the test forges the datagram.
    let forger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let body = {
        let mut encoded = Vec::new();
        model::wire::encode_addresses(node(1), node(2), &mut encoded);
        model::wire::encode_message(&append(node(1), node(2), 1, 0).message, &mut encoded);
        let mut body = Vec::new();
        Frame::Envelope(&encoded).encode(&mut body);
        body
    };
    let forged = pair::seal(KeyId::Client, &key(2), 1, &body);
    forger.send_to(&forged, at).await.unwrap();
    eventually("the forged message is refused", || {
        server.counters().dropped(Cause::Forbidden) == 1
    })
    .await;
    // The message does not arrive in fragments either.
    let fragments: Vec<u8> = body[3..]
        .chunks(10)
        .enumerate()
        .flat_map(|(index, bytes)| {
            let mut fragment = Vec::new();
            Frame::Fragment(model::wire::Fragment {
                message: 1,
                offset: index as u32 * 10,
                length: body.len() as u32 - 3,
                bytes,
            })
            .encode(&mut fragment);
            fragment
        })
        .collect();
    let forged = pair::seal(KeyId::Client, &key(2), 2, &fragments);
    forger.send_to(&forged, at).await.unwrap();
    eventually("the forged fragments are refused", || {
        server.counters().dropped(Cause::Forbidden) == 2
    })
    .await;
    // The same bytes under the cluster key are a valid message.
    let good = pair::seal(KeyId::Cluster, &key(1), 3, &body);
    forger.send_to(&good, at).await.unwrap();
    assert_eq!(receive(&mut inbox, 1).await[0].from, node(1));
    nothing_more(&mut inbox).await;
}

/// Servers that count different majorities must not exchange messages. Clients have no voters, and
/// a process without voters cannot send as a server.
#[tokio::test]
async fn datagrams_of_other_voters_are_dropped_and_counted() {
    for keys in [keys(), Keys::INSECURE] {
        let voters =
            |ids: &[u64]| VotersDigest::new(&ids.iter().map(|id| NodeId::new(*id)).collect());
        let with = |voters| {
            let mut config = config(keys.clone());
            config.voters = voters;
            config
        };
        let (server, mut inbox) = bind(with(voters(&[1, 2, 3]))).await;
        let at = server.local_addr().unwrap();
        let (other, _other) = bind(with(voters(&[1, 2]))).await;
        let (none, _none) = bind(with(VotersDigest::NONE)).await;
        let (same, _same) = bind(with(voters(&[3, 2, 1]))).await;
        for endpoint in [&other, &none, &same] {
            endpoint.set_peer(node(2), at);
        }
        let client = client(7);
        other.send(vec![
            append(node(1), node(2), 1, 10),
            request(client, node(2)),
        ]);
        none.send(vec![append(node(1), node(2), 1, 10)]);
        none.send(vec![request(client, node(2))]);
        assert_eq!(receive(&mut inbox, 1).await, [request(client, node(2))]);
        same.send(vec![append(node(1), node(2), 1, 10)]);
        assert_eq!(
            receive(&mut inbox, 1).await,
            [append(node(1), node(2), 1, 10)]
        );
        // Under two keys the two messages of `other` are two datagrams.
        let dropped = if keys.client.is_some() { 3 } else { 2 };
        eventually("the others are counted", || {
            server.counters().dropped(Cause::Voters) == dropped
        })
        .await;
        nothing_more(&mut inbox).await;
    }
}

/// Attacks by replaying datagrams, and mistakes of an operator.
#[tokio::test]
async fn what_is_wrong_is_counted_by_its_cause_and_dropped() {
    let (server, mut inbox) = bind(config(keys())).await;
    let at = server.local_addr().unwrap();
    let wire = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (a, _a) = bind(config(keys())).await;
    a.set_peer(node(2), wire.local_addr().unwrap());
    a.send(vec![append(node(1), node(2), 1, 10)]);
    let good = datagram(&wire).await;
    let length = good.len();

    let changed = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        bytes
    };
    let mut expected = std::collections::BTreeMap::new();
    let mut wrong = vec![
        (Cause::Short, vec![]),
        (Cause::Short, good[..HEADER - 1].to_vec()),
        (Cause::Short, good[..HEADER + 15].to_vec()),
        (Cause::Magic, changed(0, b'X')),
        (Cause::Version, changed(4, 77)),
        (Cause::UnknownKey, changed(5, 9)),
        (Cause::Unsealed, changed(5, 0)),
        (Cause::Seal, changed(5, 2)),
        (Cause::Cluster, changed(6, good[6] ^ 1)),
        (Cause::Seal, changed(14, good[14] ^ 1)),
        (Cause::Seal, changed(38, good[38] ^ 1)),
        (Cause::Seal, changed(length - 1, good[length - 1] ^ 1)),
        (Cause::Seal, good[..length - 1].to_vec()),
        (Cause::Seal, [&good[..], &[0]].concat()),
        (Cause::Seal, pair::seal(KeyId::Cluster, &key(9), 50, b"")),
    ];
    let sealed = |sequence, body: &[u8]| pair::seal(KeyId::Cluster, &key(1), sequence, body);
    let mut fragment = Vec::new();
    Frame::Fragment(model::wire::Fragment {
        message: 1,
        offset: 0,
        length: 9,
        bytes: b"12345",
    })
    .encode(&mut fragment);
    let mut contradicting = fragment.clone();
    contradicting[18] = 8;
    let mut oversized = fragment.clone();
    oversized[10] = 9;
    oversized[15] = 0xff;
    wrong.extend([
        (Cause::Frame, sealed(1, &[9, 0, 0])),
        (Cause::Frame, sealed(2, &fragment[..fragment.len() - 1])),
        (Cause::Frame, sealed(3, &fragment[..10])),
        (Cause::Message, sealed(4, &[1, 0, 2, 0xff, 0xff])),
        (
            Cause::Fragment,
            sealed(6, &[&fragment[..], &contradicting].concat()),
        ),
        (Cause::Oversized, sealed(7, &oversized)),
        (Cause::Replayed, sealed(7, b"")),
    ]);
    for (cause, bytes) in wrong {
        *expected.entry(cause).or_insert(0) += 1;
        wire.send_to(&bytes, at).await.unwrap();
        eventually(&format!("{cause:?} is counted"), || {
            server.counters().dropped(cause) == expected[&cause]
        })
        .await;
    }
    for cause in Cause::ALL {
        let counted = server.counters().dropped(*cause);
        assert_eq!(
            counted,
            expected.get(cause).copied().unwrap_or(0),
            "{cause:?}"
        );
    }
    assert_eq!(server.counters().get(Count::MessagesReceived), 0);
    // The datagram itself is valid, once.
    wire.send_to(&good, at).await.unwrap();
    assert_eq!(receive(&mut inbox, 1).await.len(), 1);
    wire.send_to(&good, at).await.unwrap();
    eventually("the replay is refused", || {
        server.counters().dropped(Cause::Replayed) == 2
    })
    .await;
    nothing_more(&mut inbox).await;
}

/// Counts the warnings of this thread.
#[derive(Clone, Default)]
struct Warnings(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, of: &tracing::Metadata<'_>) -> bool {
        *of.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Servers probe a silent leader with one byte.
#[tokio::test]
async fn liveness_probe_is_counted_without_a_warning() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let (server, _inbox) = bind(config(keys())).await;
    let at = server.local_addr().unwrap();
    let wire = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for (bytes, warned) in [(&[0][..], 0), (&[1], 1)] {
        let before = server.counters().dropped(Cause::Short);
        wire.send_to(bytes, at).await.unwrap();
        eventually("the datagram is counted", || {
            server.counters().dropped(Cause::Short) == before + 1
        })
        .await;
        let logged = warnings.0.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(logged, warned, "{bytes:?}");
    }
}

#[tokio::test]
async fn sealed_and_insecure_do_not_mix() {
    let (insecure, mut inbox) = bind(config(Keys::INSECURE)).await;
    let (sealed, _sealed) = bind(config(keys())).await;
    sealed.set_peer(node(2), insecure.local_addr().unwrap());
    sealed.send(vec![append(node(1), node(2), 1, 0)]);
    eventually("the sealed datagram is refused", || {
        insecure.counters().dropped(Cause::Sealed) == 1
    })
    .await;
    nothing_more(&mut inbox).await;
}

#[tokio::test]
async fn recorded_datagram_redirects_no_route() {
    let (server, mut inbox) = bind(config(keys())).await;
    let at = server.local_addr().unwrap();
    let (thief, honest) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
    );
    let mut body = Vec::new();
    let mut encoded = Vec::new();
    let ask = request(client(7), node(1));
    model::wire::encode_addresses(ask.from, ask.to, &mut encoded);
    model::wire::encode_message(&ask.message, &mut encoded);
    Frame::Envelope(&encoded).encode(&mut body);
    // The attacker delays datagram 1, and sends it after datagram 2.
    let first = pair::seal(KeyId::Client, &key(2), 1, &body);
    let second = pair::seal(KeyId::Client, &key(2), 2, &body);
    honest.send_to(&second, at).await.unwrap();
    receive(&mut inbox, 1).await;
    thief.send_to(&first, at).await.unwrap();
    receive(&mut inbox, 1).await;
    server.send(vec![Envelope {
        from: node(1),
        to: client(7),
        message: Message::ClientResponse(ClientResponse {
            client: ClientId::new(7),
            id: RequestId::new(1),
            body: ResponseBody::Unavailable,
        }),
    }]);
    assert!(datagram(&honest).await.len() > HEADER);
    assert!(thief.try_recv(&mut [0; 2000]).is_err());
}

#[tokio::test]
async fn listed_node_that_moved_is_followed() {
    let (a, b, inbox) = pair(keys()).await;
    let (moved, mut moved_inbox) = bind(config(keys())).await;
    moved.set_peer(node(1), a.local_addr().unwrap());
    drop((b, inbox));
    moved.send(vec![append(node(2), node(1), 1, 0)]);
    eventually("the first word from the new address is heard", || {
        a.counters().get(Count::MessagesReceived) == 1
    })
    .await;
    let envelope = append(node(1), node(2), 2, 0);
    a.send(vec![envelope.clone()]);
    assert_eq!(receive(&mut moved_inbox, 1).await, [envelope]);
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
async fn large_message_to_nobody_is_given_up_and_counted() {
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
    assert!(a.counters().get(Count::FragmentsRepeated) > 0);
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
async fn impossible_settings_and_taken_addresses_are_named() {
    let (a, _a) = bind(config(keys())).await;
    let at = a.local_addr().unwrap();
    let mut taken = config(keys());
    taken.listen = at;
    let error = Endpoint::bind(taken).await.err().unwrap();
    assert!(error.to_string().contains(&at.to_string()), "{error}");
    let mut tiny = config(keys());
    tiny.max_datagram = 100;
    let error = Endpoint::bind(tiny).await.err().unwrap();
    assert!(error.to_string().contains("max_datagram"), "{error}");
    let mut long = config(keys());
    long.max_datagram = 65_508;
    let error = Endpoint::bind(long).await.err().unwrap();
    assert!(error.to_string().contains("65507"), "{error}");
    let mut huge = config(keys());
    huge.max_message = 1 << 50;
    let error = Endpoint::bind(huge).await.err().unwrap();
    assert!(error.to_string().contains("max_message"), "{error}");
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
