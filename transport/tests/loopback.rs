//! Endpoints that talk over loopback: what arrives, what is refused, and what it is counted under.

mod pair;

use model::{
    ClientId, ClientResponse, Envelope, LogIndex, Message, RequestId,
    message::ResponseBody,
    wire::{Frame, HEADER, KeyId},
};
use pair::{
    append, bind, client, config, eventually, key, keys, node, nothing_more, pair, proxy, receive,
    request,
};
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
    assert!(datagrams < 20, "{datagrams} datagrams");
    assert_eq!(b.counters().get(Count::DatagramsReceived), datagrams);
    assert!(counters.get(Count::SendCalls) <= datagrams);
    assert_eq!(
        b.counters().get(Count::BytesReceived),
        counters.get(Count::BytesSent)
    );
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
        // Word of the last chunks may still be on its way.
        eventually("all chunks are acknowledged", || {
            a.counters().get(Count::ChunkedMessagesDelivered)
                == b.counters().get(Count::ChunkedMessagesReceived)
        })
        .await;
        assert!(a.counters().get(Count::ChunkedMessagesDelivered) >= 4);
    }
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
    // Large enough for chunks, which the client key carries too.
    let answer = Envelope {
        from: proxy(1),
        to: client(7),
        message: Message::ClientResponse(ClientResponse {
            client: ClientId::new(7),
            id: RequestId::new(1),
            body: ResponseBody::Found(model::store::Found::Value(Some(model::store::Versioned {
                value: vec![3; 50_000],
                version: LogIndex::new(4),
            }))),
        }),
    };
    server.send(vec![answer.clone()]);
    assert_eq!(receive(&mut user_inbox, 1).await, [answer]);
    // Of a client never heard of, nobody knows where it is.
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
    // The sender below refuses to say such things, so the datagram is forged by hand.
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
    // Nor does it arrive in pieces.
    let chunks: Vec<u8> = body[3..]
        .chunks(10)
        .enumerate()
        .flat_map(|(index, bytes)| {
            let mut chunk = Vec::new();
            Frame::Chunk(model::wire::Chunk {
                message: 1,
                index: index as u16,
                count: (body.len() - 3).div_ceil(10) as u16,
                bytes,
            })
            .encode(&mut chunk);
            chunk
        })
        .collect();
    let forged = pair::seal(KeyId::Client, &key(2), 2, &chunks);
    forger.send_to(&forged, at).await.unwrap();
    eventually("the forged chunks are refused", || {
        server.counters().dropped(Cause::Forbidden) == 2
    })
    .await;
    // The same bytes under the cluster key are a message.
    let good = pair::seal(KeyId::Cluster, &key(1), 3, &body);
    forger.send_to(&good, at).await.unwrap();
    assert_eq!(receive(&mut inbox, 1).await[0].from, node(1));
    nothing_more(&mut inbox).await;
}

/// What a recorder of datagrams can do, and what a careless operator.
#[tokio::test]
async fn what_is_wrong_is_counted_by_its_cause_and_dropped() {
    let (server, mut inbox) = bind(config(keys())).await;
    let at = server.local_addr().unwrap();
    let wire = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (a, _a) = bind(config(keys())).await;
    a.set_peer(node(2), wire.local_addr().unwrap());
    a.send(vec![append(node(1), node(2), 1, 10)]);
    let mut good = vec![0; 2000];
    let length = wire.recv(&mut good).await.unwrap();
    good.truncate(length);

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
        (Cause::Seal, changed(30, good[30] ^ 1)),
        (Cause::Seal, changed(length - 1, good[length - 1] ^ 1)),
        (Cause::Seal, good[..length - 1].to_vec()),
        (Cause::Seal, [&good[..], &[0]].concat()),
        (Cause::Seal, pair::seal(KeyId::Cluster, &key(9), 50, b"")),
    ];
    let sealed = |sequence, body: &[u8]| pair::seal(KeyId::Cluster, &key(1), sequence, body);
    let mut chunk = Vec::new();
    Frame::Chunk(model::wire::Chunk {
        message: 1,
        index: 0,
        count: 5,
        bytes: b"12345",
    })
    .encode(&mut chunk);
    let mut contradicting = chunk.clone();
    contradicting[14] = 6;
    let mut oversized = chunk.clone();
    oversized[10] = 9;
    oversized[13] = 0xff;
    wrong.extend([
        (Cause::Frame, sealed(1, &[9, 0, 0])),
        (Cause::Frame, sealed(2, &chunk[..chunk.len() - 1])),
        (Cause::Frame, sealed(3, &chunk[..10])),
        (Cause::Message, sealed(4, &[1, 0, 2, 0xff, 0xff])),
        (
            Cause::Chunk,
            sealed(6, &[&chunk[..], &contradicting].concat()),
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
    // The datagram itself is good, once.
    wire.send_to(&good, at).await.unwrap();
    assert_eq!(receive(&mut inbox, 1).await.len(), 1);
    wire.send_to(&good, at).await.unwrap();
    eventually("the replay is refused", || {
        server.counters().dropped(Cause::Replayed) == 2
    })
    .await;
    nothing_more(&mut inbox).await;
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
    // The thief kept datagram 1 from arriving, and sends it once 2 has.
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
    let mut buffer = [0; 2000];
    let answer = honest.recv(&mut buffer).await.unwrap();
    assert!(answer > HEADER);
    assert!(thief.try_recv(&mut buffer).is_err());
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
    a.send(vec![append(node(1), node(2), 1, 100_000)]);
    eventually("it is given up", || {
        a.counters().dropped(Cause::GaveUp) == 1
    })
    .await;
    assert!(a.counters().get(Count::ChunksRepeated) > 0);
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
    let mut huge = config(keys());
    huge.max_message = 1 << 30;
    let error = Endpoint::bind(huge).await.err().unwrap();
    assert!(error.to_string().contains("max_message"), "{error}");
}

#[tokio::test]
async fn both_kinds_of_addresses_reach_a_socket_on_all() {
    let mut all = Config::new("[::]:0".parse().unwrap(), "test");
    all.keys = keys();
    // A machine without IPv6 cannot show this.
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
