//! Keys, routes and datagrams that are dropped.

use crate::{
    pair,
    pair::{
        append, bind, client, config, datagram, eventually, key, keys, node, nothing_more, pair,
        proxy, receive, request,
    },
};
use model::{
    ClientId, ClientResponse, Envelope, LogIndex, Message, NodeId, RequestId,
    message::ResponseBody,
    wire::{Frame, HEADER, KeyId, VotersDigest},
};
use tokio::net::UdpSocket;
use transport::{Cause, Count, Endpoint, Keys};

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
async fn responses_go_to_the_source_of_the_last_datagram() {
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
    eventually("the first datagram from the new address arrives", || {
        a.counters().get(Count::MessagesReceived) == 1
    })
    .await;
    let envelope = append(node(1), node(2), 2, 0);
    a.send(vec![envelope.clone()]);
    assert_eq!(receive(&mut moved_inbox, 1).await, [envelope]);
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
