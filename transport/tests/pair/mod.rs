//! Two endpoints on loopback, messages to send between them, and forged datagrams.

#![allow(dead_code, unreachable_pub)]

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use model::{
    Address, AppendEntriesRequest, ClientId, ClientRequest, Entry, Envelope, LogIndex, Message,
    NodeId, Payload, ProxyId, RequestId, SessionId, Term,
    message::RequestBody,
    store::{Command, Condition, Operation, Write},
    wire::{BootId, ClusterId, Header, KeyId, VotersDigest},
};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use transport::{Config, Endpoint, Inbox, Key, Keys};

/// The timeout after which a test fails. Normal operation is much faster.
const DEADLINE: Duration = Duration::from_secs(30);

pub fn node(id: u64) -> Address {
    Address::Node(NodeId::new(id))
}

pub fn proxy(id: u64) -> Address {
    Address::Proxy(ProxyId::new(id))
}

pub fn client(id: u64) -> Address {
    Address::Client(ClientId::new(id))
}

pub fn key(number: u8) -> Key {
    let text = format!("stateraft-key-1:{}", format!("{number:02x}").repeat(32));
    text.parse().unwrap()
}

/// The keys of a server.
pub fn keys() -> Keys {
    Keys {
        cluster: Some(key(1)),
        client: Some(key(2)),
    }
}

pub fn config(keys: Keys) -> Config {
    let mut config = Config::new(([127, 0, 0, 1], 0).into(), "test");
    config.keys = keys;
    // As over a real network.
    config.max_datagram = 1_400;
    config
}

pub async fn bind(config: Config) -> (Endpoint, Inbox) {
    Endpoint::bind(config).await.unwrap()
}

/// Servers 1 and 2, which have each other's address, and the inbox of server 2.
pub async fn pair(keys: Keys) -> (Endpoint, Endpoint, Inbox) {
    let (a, _) = bind(config(keys.clone())).await;
    let (b, inbox) = bind(config(keys)).await;
    a.set_peer(node(2), b.local_addr().unwrap());
    b.set_peer(node(1), a.local_addr().unwrap());
    (a, b, inbox)
}

/// An AppendEntries request with one entry of about this length.
pub fn append(from: Address, to: Address, nth: u64, length: usize) -> Envelope {
    let write = Write {
        quota: u64::MAX,
        session: SessionId::new(1),
        sequence: nth,
        acknowledged: nth,
        operation: Operation::Put {
            key: b"key".to_vec(),
            value: (0..length).map(|place| (place % 251) as u8).collect(),
            condition: Condition::Always,
        },
    };
    Envelope {
        from,
        to,
        message: Message::AppendEntriesRequest(AppendEntriesRequest {
            term: Term::new(3),
            prev_log_index: LogIndex::new(nth),
            prev_log_term: Term::new(3),
            entries: vec![Entry {
                term: Term::new(3),
                payload: Payload::Command(Command::from(write)),
            }],
            leader_commit: LogIndex::new(nth),
            read_round: 0,
        }),
    }
}

/// A snapshot of a server with `many` values of this length.
pub fn snapshot(from: Address, to: Address, many: usize, length: usize) -> Envelope {
    let config = model::Config::production([NodeId::new(1)].into());
    let mut store = model::Store::default();
    store.apply(
        &Payload::Command(Command::OpenSession {
            capacity: 1,
            window: 0,
        }),
        &config,
    );
    for nth in 0..many {
        let write = Write {
            quota: u64::MAX,
            session: SessionId::new(1),
            sequence: nth as u64 + 1,
            acknowledged: nth as u64 + 1,
            operation: Operation::Put {
                key: format!("key {nth}").into_bytes(),
                value: (0..length).map(|place| (place * nth % 251) as u8).collect(),
                condition: Condition::Always,
            },
        };
        store.apply(&Payload::Command(Command::from(write)), &config);
    }
    Envelope {
        from,
        to,
        message: Message::InstallSnapshotRequest(model::InstallSnapshotRequest {
            term: Term::new(3),
            snapshot: model::Snapshot {
                last_included_index: store.last_applied(),
                last_included_term: Term::new(2),
                store,
            },
        }),
    }
}

pub fn request(from: Address, to: Address) -> Envelope {
    Envelope {
        from,
        to,
        message: Message::ClientRequest(ClientRequest {
            client: ClientId::new(7),
            id: RequestId::new(1),
            body: RequestBody::OpenSession,
        }),
    }
}

/// A datagram in the wire format, sealed without the code of the crate.
pub fn seal(key_id: KeyId, key: &Key, sequence: u64, body: &[u8]) -> Vec<u8> {
    let header = Header {
        cluster: ClusterId::new("test"),
        voters: VotersDigest::NONE,
        key: key_id,
        boot: BootId {
            started: 1,
            random: 2,
        },
        sequence,
    };
    let text = key.to_text();
    let digits = text.strip_prefix("stateraft-key-1:").unwrap().as_bytes();
    let mut secret = [0; 32];
    for (byte, pair) in secret.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    }
    let mut datagram = Vec::new();
    header.encode(&mut datagram);
    let mut sealed = body.to_vec();
    let tag = XChaCha20Poly1305::new(&secret.into())
        .encrypt_inout_detached(
            &XNonce::from(header.nonce()),
            &datagram,
            (&mut sealed[..]).into(),
        )
        .unwrap();
    datagram.extend(sealed);
    datagram.extend(tag);
    datagram
}

/// Waits for `many` messages, in any number of calls.
pub async fn receive(inbox: &mut Inbox, many: usize) -> Vec<Envelope> {
    let start = Instant::now();
    let mut all = Vec::new();
    while all.len() < many {
        // Not tokio's clock, which may be paused.
        assert!(
            start.elapsed() < DEADLINE,
            "{} of {many} arrived",
            all.len()
        );
        tokio::select! {
            some = inbox.receive() => all.extend(some.expect("the endpoint is open")),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    all
}

/// Asserts that the inbox is empty now.
pub async fn nothing_more(inbox: &mut Inbox) {
    tokio::select! {
        biased;
        some = inbox.receive() => panic!("nothing should have arrived, but {some:?}"),
        () = tokio::task::yield_now() => {}
    }
}

/// Waits for a datagram.
pub async fn datagram(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let received = tokio::time::timeout(DEADLINE, socket.recv(&mut buffer)).await;
    let length = received.expect("a datagram arrives").unwrap();
    buffer.truncate(length);
    buffer
}

/// Waits until the condition holds.
pub async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
