use super::*;

fn key(byte: &str) -> Option<Key> {
    format!("stateraft-key-1:{}", byte.repeat(32)).parse().ok()
}

fn sealer(cluster: Option<Key>, client: Option<Key>) -> Sealer {
    sealer_of_run(2, cluster, client)
}

fn sealer_of_run(random: u64, cluster: Option<Key>, client: Option<Key>) -> Sealer {
    let boot = BootId { started: 1, random };
    Sealer {
        cluster: ClusterId::new("stateraft"),
        voters: VotersDigest::NONE,
        boot,
        sequence: AtomicU64::new(1),
        cluster_cipher: cluster.map(|key| Cipher::new(&key, boot)),
        client_cipher: client.map(|key| Cipher::new(&key, boot)),
    }
}

/// A datagram with the body "body".
fn datagram(sealer: &Sealer, key: KeyId) -> Vec<u8> {
    let mut bytes = vec![0; Sealer::overhead(key) + 4];
    bytes[HEADER..HEADER + 4].copy_from_slice(b"body");
    sealer.seal(key, &mut bytes);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn cause(sealer: &Sealer, datagram: &[u8]) -> Option<Cause> {
    sealer.unseal(&mut datagram.to_owned()).err()
}

#[test]
fn sealed_datagram_golden() {
    let sealer = sealer(key("01"), None);
    let bytes = datagram(&sealer, KeyId::Cluster);
    assert_eq!(
        hex(&bytes[HEADER..]),
        "36e881f109d0a1af84868947a5c0ffdb6c1d4d47"
    );
    let mut opened = bytes.clone();
    let (header, body) = sealer.unseal(&mut opened).unwrap();
    assert_eq!(body, b"body");
    assert_eq!((header.key, header.sequence), (KeyId::Cluster, 1));
    // The next datagram uses another nonce.
    assert_ne!(datagram(&sealer, KeyId::Cluster)[HEADER..], bytes[HEADER..]);
}

#[test]
fn every_changed_bit_is_noticed() {
    let sealer = sealer(key("01"), key("02"));
    let bytes = datagram(&sealer, KeyId::Cluster);
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << bit;
            assert!(
                cause(&sealer, &changed).is_some(),
                "byte {place}, bit {bit}"
            );
        }
    }
    for length in 0..bytes.len() {
        assert!(cause(&sealer, &bytes[..length]).is_some(), "{length} bytes");
    }
}

/// Datagrams of a run are opened whether its subkey is cached or derived. Forged ones are not,
/// and they leave the cache unchanged.
#[test]
fn many_runs_are_distinguished() {
    let receiver = sealer(key("01"), key("02"));
    let runs = 3 * OTHERS as u64;
    let sent = |run| {
        let sender = sealer_of_run(run, key("01"), key("02"));
        [KeyId::Cluster, KeyId::Client].map(|key| datagram(&sender, key))
    };
    let all: Vec<_> = (10..10 + runs).map(sent).collect();
    for round in 0..3 {
        for datagrams in all.iter().skip(round).step_by(1 + round) {
            for bytes in datagrams {
                assert_eq!(cause(&receiver, bytes), None);
            }
        }
    }
    let remembered = || {
        let others = receiver.cluster_cipher.as_ref().unwrap().others.lock();
        let others: Vec<_> = others.unwrap().iter().map(|(run, _)| *run).collect();
        others
    };
    let before = remembered();
    assert_eq!(before.len(), OTHERS);
    let stranger = sealer_of_run(7, key("03"), None);
    for _ in 0..OTHERS {
        let forged = datagram(&stranger, KeyId::Cluster);
        assert_eq!(cause(&receiver, &forged), Some(Cause::Seal));
    }
    assert_eq!(remembered(), before);
}

#[test]
fn each_fault_has_its_cause() {
    let both = sealer(key("01"), key("02"));
    let cluster = sealer(key("01"), None);
    let client = sealer(None, key("02"));
    let other = sealer(key("03"), None);
    let none = sealer(None, None);
    let elsewhere = Sealer::new(
        "elsewhere",
        VotersDigest::NONE,
        BootId {
            started: 1,
            random: 2,
        },
        &Keys::INSECURE,
    );

    let under_cluster = datagram(&both, KeyId::Cluster);
    let under_client = datagram(&both, KeyId::Client);
    let in_clear = datagram(&none, KeyId::None);
    assert_eq!(cause(&cluster, &under_cluster), None);
    assert_eq!(cause(&client, &under_client), None);
    assert_eq!(cause(&none, &in_clear), None);
    assert_eq!(cause(&client, &under_cluster), Some(Cause::UnknownKey));
    assert_eq!(cause(&cluster, &under_client), Some(Cause::UnknownKey));
    assert_eq!(cause(&other, &under_cluster), Some(Cause::Seal));
    assert_eq!(cause(&cluster, &in_clear), Some(Cause::Unsealed));
    assert_eq!(cause(&none, &under_cluster), Some(Cause::Sealed));
    assert_eq!(cause(&elsewhere, &in_clear), Some(Cause::Cluster));
    assert_eq!(
        cause(&cluster, &under_cluster[..HEADER + TAG - 1]),
        Some(Cause::Short)
    );
    // The key id in the header is authenticated: changing it breaks the seal.
    let mut disguised = under_client.clone();
    disguised[5] = KeyId::Cluster as u8;
    assert_eq!(cause(&both, &disguised), Some(Cause::Seal));
}

#[test]
fn each_message_goes_under_the_least_key_that_may_say_it() {
    use model::{ClientId, ClientRequest, Message, NodeId, ProxyId, RequestId};
    let ask = |from, to| Envelope {
        from,
        to,
        message: Message::ClientRequest(ClientRequest {
            client: ClientId::new(1),
            id: RequestId::new(1),
            body: model::message::RequestBody::OpenSession,
        }),
    };
    let of_client = ask(
        Address::Client(ClientId::new(1)),
        Address::Node(NodeId::new(1)),
    );
    let of_proxy = ask(
        Address::Proxy(ProxyId::new(1)),
        Address::Node(NodeId::new(1)),
    );
    let both = sealer(key("01"), key("02"));
    assert_eq!(both.key_for(&of_client), Some(KeyId::Client));
    assert_eq!(both.key_for(&of_proxy), Some(KeyId::Cluster));
    let cluster = sealer(key("01"), None);
    assert_eq!(cluster.key_for(&of_client), Some(KeyId::Cluster));
    let client = sealer(None, key("02"));
    assert_eq!(client.key_for(&of_client), Some(KeyId::Client));
    assert_eq!(client.key_for(&of_proxy), None);
    let none = sealer(None, None);
    assert_eq!(none.key_for(&of_proxy), Some(KeyId::None));
    // The client key does not permit it.
    let mut transfer = of_client;
    if let Message::ClientRequest(request) = &mut transfer.message {
        let target = NodeId::new(2);
        request.body = model::message::RequestBody::TransferLeadership { target };
    }
    assert_eq!(both.key_for(&transfer), Some(KeyId::Cluster));
    assert_eq!(cluster.key_for(&transfer), Some(KeyId::Cluster));
    assert_eq!(client.key_for(&transfer), None);
    assert_eq!(none.key_for(&transfer), Some(KeyId::None));
    // No key makes up for a wrong sender or receiver.
    let to_client = Envelope {
        to: Address::Client(ClientId::new(2)),
        ..transfer
    };
    assert_eq!(both.key_for(&to_client), None);
}
