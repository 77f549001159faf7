//! The wire format, byte by byte, as `docs/wire.md` draws it, and the handling of malformed bytes.

use model::{
    Address, ClientId, ClientRequest, ClientResponse, Config, Envelope, FoundStale,
    InstallSnapshotRequest, InstallSnapshotResponse, LogIndex, Message, NodeId, Payload, ProxyId,
    RequestId, RequestVoteRequest, SessionId, Snapshot, Store, Term,
    admission::{DiskId, EntryAt, IdentityMessage, LogAt, Record, Request, Response, Standing},
    message::{RequestBody, ResponseBody},
    store::{Command, Condition, Found, Operation, Query, Versioned, Write},
    wire::{
        Acknowledgement, BadFrame, BadHeader, BootId, ClusterId, Fragment, Frame, Frames, Header,
        KeyId, Probe, ProbeAcknowledgement, VotersDigest, decode_envelope, encode_addresses,
        encode_message, encode_range,
    },
};
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn encoded(envelope: &Envelope) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_addresses(envelope.from, envelope.to, &mut bytes);
    encode_message(&envelope.message, &mut bytes);
    bytes
}

fn vote() -> Envelope {
    Envelope {
        from: Address::Node(NodeId::new(1)),
        to: Address::Node(NodeId::new(300)),
        message: Message::RequestVoteRequest(RequestVoteRequest {
            term: Term::new(5),
            last_log_index: LogIndex::new(1000),
            last_log_term: Term::new(4),
        }),
    }
}

fn request(value: &[u8]) -> Envelope {
    Envelope {
        from: Address::Client(ClientId::new(7)),
        to: Address::Proxy(ProxyId::new(1)),
        message: Message::ClientRequest(ClientRequest {
            client: ClientId::new(7),
            id: RequestId::new(2),
            body: RequestBody::Write {
                session: model::SessionId::new(9),
                sequence: 3,
                acknowledged: 3,
                operation: Operation::Put {
                    key: b"k".to_vec(),
                    value: value.into(),
                    condition: Condition::Always,
                },
            },
        }),
    }
}

#[test]
fn header_golden() {
    let header = Header {
        cluster: ClusterId::of("stateraft"),
        voters: VotersDigest::new(&[1, 2, 3].map(NodeId::new).into()),
        key: KeyId::Cluster,
        boot: BootId {
            started: 0x0102_0304_0506_0708,
            random: 0x1112_1314_1516_1718,
        },
        sequence: 0x21_2223,
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    assert_eq!(
        hex(&bytes),
        [
            "53524654",
            "04",
            "01",
            "75c670d2788c09b5",
            "0c2654236a2e0585",
            "0102030405060708",
            "1112131415161718",
            "0000000000212223",
        ]
        .concat()
    );
    assert_eq!(Header::decode(&bytes), Ok(header));
    assert_eq!(hex(&header.nonce()), hex(&bytes[22..]));
}

#[test]
fn cluster_id_is_fnv_1a() {
    // From the list of FNV test vectors.
    assert_eq!(ClusterId::of("").get(), 0xcbf2_9ce4_8422_2325);
    assert_eq!(ClusterId::of("a").get(), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(ClusterId::of("foobar").get(), 0x8594_4171_f739_67e8);
}

#[test]
fn voters_digest_is_fnv_1a_and_never_none() {
    let digest = |ids: &[u64]| VotersDigest::new(&ids.iter().copied().map(NodeId::new).collect());
    assert_eq!(digest(&[]).get(), 0xcbf2_9ce4_8422_2325);
    assert_eq!(digest(&[3, 1, 2]), digest(&[1, 2, 3]));
    let all = [
        digest(&[1]),
        digest(&[1, 2]),
        digest(&[1, 2, 3]),
        digest(&[1, 2, 4]),
    ];
    for (place, one) in all.iter().enumerate() {
        assert_ne!(*one, VotersDigest::NONE);
        assert!(!all[place + 1..].contains(one));
    }
}

#[test]
fn header_faults_are_told_apart() {
    let header = Header {
        cluster: ClusterId::of("a"),
        voters: VotersDigest::NONE,
        key: KeyId::None,
        boot: BootId {
            started: 1,
            random: 2,
        },
        sequence: 3,
    };
    let mut good = Vec::new();
    header.encode(&mut good);
    let changed = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        Header::decode(&bytes)
    };
    assert_eq!(Header::decode(&good[..45]), Err(BadHeader::Short));
    assert_eq!(changed(0, b'X'), Err(BadHeader::Magic));
    assert_eq!(changed(4, 1), Err(BadHeader::Version(1)));
    assert_eq!(changed(5, 3), Err(BadHeader::Key(3)));
}

#[test]
fn body_golden() {
    let envelope = encoded(&vote());
    let mut ranges = Vec::new();
    for range in [(5, 6), (11, 20)] {
        encode_range(range, &mut ranges);
    }
    let mut body = Vec::new();
    for frame in [
        Frame::Envelope(&envelope),
        Frame::Fragment(Fragment {
            message: 0x0102,
            offset: 3,
            length: 10,
            bytes: b"piece",
        }),
        Frame::Acknowledgement(Acknowledgement {
            message: 0x0102,
            length: 20,
            first: 2,
            ranges: &ranges,
        }),
        Frame::Probe(Probe { id: 0x0304 }),
        Frame::ProbeAcknowledgement(ProbeAcknowledgement {
            id: 0x0304,
            length: 1472,
        }),
    ] {
        let before = body.len();
        frame.encode(&mut body);
        assert_eq!(body.len() - before, frame.length());
    }
    body.extend([0; 4]);
    assert_eq!(
        hex(&body),
        [
            // An envelope of 10 bytes: server 1 to server 300, RequestVote, term 5, 1000, term 4.
            "01",
            "000a",
            "0001",
            "00ac02",
            "02",
            "05",
            "e807",
            "04",
            // A fragment: message 0x102, from byte 3 of 10.
            "02",
            "0015",
            "0000000000000102",
            "00000003",
            "0000000a",
            "7069656365",
            // An acknowledgement: of that message, 20 bytes long, all before byte 2, byte 5, and
            // from byte 11 to the end.
            "03",
            "0020",
            "0000000000000102",
            "00000014",
            "00000002",
            "0000000500000006",
            "0000000b00000014",
            // A probe, and its acknowledgement: a datagram of 1,472 bytes.
            "04",
            "0008",
            "0000000000000304",
            "05",
            "000a",
            "0000000000000304",
            "05c0",
            // Padding.
            "00000000",
        ]
        .concat()
    );
    let frames: Vec<_> = Frames::of(&body).collect();
    assert_eq!(frames.len(), 5);
    assert_eq!(frames[0], Ok(Frame::Envelope(&envelope)));
    assert_eq!(decode_envelope(&envelope), Ok(vote()));
    let Ok(Frame::Acknowledgement(of)) = frames[2] else {
        panic!("an acknowledgement");
    };
    assert!(of.ranges().eq([(5, 6), (11, 20)]));
}

/// A snapshot up to entry 2, of term 4: a session was opened, and it set `k` to `v`.
fn snapshot() -> Snapshot {
    let config = Config::new([NodeId::new(1)].into());
    let mut store = Store::default();
    let write = Command::from(Write {
        quota: u64::MAX,
        session: SessionId::new(1),
        sequence: 1,
        acknowledged: 0,
        operation: Operation::Put {
            key: b"k".to_vec(),
            value: "v".into(),
            condition: Condition::Always,
        },
    });
    for command in [
        Command::OpenSession {
            capacity: 4,
            window: 0,
        },
        write,
    ] {
        store.apply(&Payload::Command(command), &config);
    }
    Snapshot {
        last_included_index: LogIndex::new(2),
        last_included_term: Term::new(4),
        store,
    }
}

#[test]
fn snapshot_golden() {
    let term = Term::new(5);
    let golden = |message: Message, expected: &[&str]| {
        let envelope = Envelope { message, ..vote() };
        let bytes = encoded(&envelope);
        assert_eq!(hex(&bytes), ["0001", "00ac02", &expected.concat()].concat());
        assert_eq!(decode_envelope(&bytes), Ok(envelope));
    };
    let request = InstallSnapshotRequest {
        term,
        snapshot: snapshot(),
    };
    golden(
        Message::InstallSnapshotRequest(request),
        &[
            // Term 5; up to entry 2 of term 4.
            "08", "05", "02", "04", // One pair: k, v, written by entry 2.
            "01", "016b", "0176", "02",
            // One session, 1: acknowledged below 1; one answer, to 1: written by entry 2; last used
            // by entry 2.
            "01", "01", "01", "01", "01", "0202", "02",
            // No session was evicted, no opening refused. Applied up to entry 2.
            "00", "00", "02",
        ],
    );
    let response = InstallSnapshotResponse {
        term,
        match_index: LogIndex::new(2),
    };
    golden(
        Message::InstallSnapshotResponse(response),
        &["09", "05", "02"],
    );
}

#[test]
fn client_request_golden() {
    assert_eq!(
        hex(&encoded(&request(b"vw"))),
        "020701010607020109030300016b02767700"
    );
}

/// A stale read and its response, beside a linearizable read and its response. Each has its own
/// kind, so that they cannot be confused.
#[test]
fn stale_read_golden() {
    let (client, proxy) = (
        Address::Client(ClientId::new(7)),
        Address::Proxy(ProxyId::new(1)),
    );
    let asks = |body| Envelope {
        from: client,
        to: proxy,
        message: Message::ClientRequest(ClientRequest {
            client: ClientId::new(7),
            id: RequestId::new(2),
            body,
        }),
    };
    let answers = |body| Envelope {
        from: proxy,
        to: client,
        message: Message::ClientResponse(ClientResponse {
            client: ClientId::new(7),
            id: RequestId::new(2),
            body,
        }),
    };
    let query = || Query::Get { key: b"k".to_vec() };
    let found = || {
        Found::Value(Some(Versioned {
            value: "vw".into(),
            version: LogIndex::new(300),
        }))
    };
    let stale = FoundStale {
        found: found(),
        applied_index: LogIndex::new(1000),
    };
    for (envelope, golden) in [
        (
            asks(RequestBody::Read { query: query() }),
            "020701010607020200016b",
        ),
        (
            asks(RequestBody::StaleRead { query: query() }),
            "020701010607020300016b",
        ),
        (
            answers(ResponseBody::Found(found())),
            "01010207070702010001027677ac02",
        ),
        (
            answers(ResponseBody::FoundStale(stale)),
            "01010207070702050001027677ac02e807",
        ),
    ] {
        assert_eq!(hex(&encoded(&envelope)), golden);
        assert_eq!(decode_envelope(&encoded(&envelope)), Ok(envelope));
    }
}

#[test]
fn identity_messages_golden() {
    let boot = |random| BootId {
        started: 300,
        random,
    };
    let envelope = |from, to, message| Envelope {
        from: Address::Node(NodeId::new(from)),
        to: Address::Node(NodeId::new(to)),
        message: Message::Identity(message),
    };
    let record = Record {
        disk: DiskId::new(5),
        starts: [(3, boot(7))].into(),
        earlier: [(2, boot(6))].into(),
        copies: [(3, boot(8))].into(),
        standing: Standing::Trusted,
    };
    let request = IdentityMessage::Request(Request {
        nonce: 300,
        version: 2,
        starts: [3].into(),
        entry: Some(LogIndex::new(9)),
    });
    let response = IdentityMessage::Response(Response {
        nonce: 300,
        disk: DiskId::new(5),
        counter: 4,
        boots: [(3, Some(boot(7)))].into(),
        version: 6,
        table: [(NodeId::new(1), record)].into(),
        merged: 2,
        log: Some(LogAt {
            term: Term::new(8),
            index: LogIndex::new(9),
            entry: EntryAt::Term(Term::new(7)),
        }),
    });
    for (envelope, golden) in [
        (envelope(1, 2, request), "000100020a00ac020201030109"),
        (
            envelope(2, 1, response),
            "000200010a01ac020504010301ac0207060101050103ac02070102ac02060103ac020800020108090107",
        ),
    ] {
        assert_eq!(hex(&encoded(&envelope)), golden);
        assert_eq!(decode_envelope(&encoded(&envelope)), Ok(envelope));
    }
}

#[test]
fn frames_that_contradict_themselves_are_bad() {
    let bad = |body: &[u8]| {
        let frames: Vec<_> = Frames::of(body).collect();
        assert_eq!(frames, [Err(BadFrame)], "{}", hex(body));
    };
    // An unknown kind, a length beyond the end, a missing length.
    bad(&[9, 0, 1, 0]);
    bad(&[1, 0, 2, 0]);
    bad(&[1, 0]);
    let fragment = |offset: u8, length: u8, piece: &[u8]| {
        let mut body = vec![2, 0, 16 + piece.len() as u8, 0, 0, 0, 0, 0, 0, 0, 1];
        body.extend([0, 0, 0, offset, 0, 0, 0, length]);
        body.extend(piece);
        body
    };
    assert!(Frames::of(&fragment(0, 1, b"x")).all(|frame| frame.is_ok()));
    assert!(Frames::of(&fragment(2, 4, b"xy")).all(|frame| frame.is_ok()));
    bad(&fragment(0, 1, b""));
    bad(&fragment(3, 4, b"xy"));
    bad(&fragment(1, 1, b"x"));
    bad(&fragment(0, 0, b"x"));
    // A position that does not fit in 32 bits.
    let mut far = fragment(0, 0, b"xy");
    far[11..19].fill(0xff);
    bad(&far);
    let acknowledgement = |length: u8, first: u8, ranges: &[(u32, u32)]| {
        let mut body = vec![3, 0, 16 + 8 * ranges.len() as u8, 0, 0, 0, 0, 0, 0, 0, 1];
        body.extend([0, 0, 0, length, 0, 0, 0, first]);
        for range in ranges {
            encode_range(*range, &mut body);
        }
        body
    };
    for good in [
        acknowledgement(9, 9, &[]),
        acknowledgement(9, 0, &[]),
        acknowledgement(9, 0, &[(8, 9)]),
        acknowledgement(9, 3, &[(4, 5), (6, 9)]),
    ] {
        assert!(
            Frames::of(&good).all(|frame| frame.is_ok()),
            "{}",
            hex(&good)
        );
    }
    // More bytes than the message has; ranges that are empty, touch, overlap, go back or too far;
    // half of a range.
    bad(&acknowledgement(9, 10, &[]));
    bad(&acknowledgement(9, 0, &[(3, 3)]));
    bad(&acknowledgement(9, 3, &[(3, 5)]));
    bad(&acknowledgement(9, 0, &[(3, 5), (5, 7)]));
    bad(&acknowledgement(9, 0, &[(5, 7), (2, 3)]));
    bad(&acknowledgement(9, 0, &[(5, 10)]));
    let mut half = acknowledgement(9, 0, &[(3, 5)]);
    half[2] -= 4;
    half.truncate(half.len() - 4);
    bad(&half);
    // Probes have a fixed length, and so have their acknowledgements.
    bad(&[4, 0, 7, 0, 0, 0, 0, 0, 0, 1]);
    bad(&[5, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn client_key_speaks_for_clients_and_to_clients_only() {
    let response = |from, to| Envelope {
        from,
        to,
        message: Message::ClientResponse(ClientResponse {
            client: ClientId::new(7),
            id: RequestId::new(2),
            body: ResponseBody::Unavailable,
        }),
    };
    let asks = |from, to| Envelope {
        from,
        to,
        ..request(b"")
    };
    let client = Address::Client(ClientId::new(7));
    let proxy = Address::Proxy(ProxyId::new(1));
    let node = Address::Node(NodeId::new(1));
    for (envelope, allowed) in [
        (asks(client, proxy), true),
        (asks(client, node), true),
        (asks(client, client), false),
        (asks(proxy, node), false),
        (asks(node, proxy), false),
        (response(proxy, client), true),
        (response(node, client), true),
        (response(client, client), false),
        (response(client, node), false),
        (response(node, proxy), false),
        (vote(), false),
        (
            Envelope {
                from: client,
                ..vote()
            },
            false,
        ),
        (
            Envelope {
                to: client,
                ..vote()
            },
            false,
        ),
    ] {
        assert_eq!(KeyId::Client.allows(&envelope), allowed, "{envelope:?}");
        assert!(KeyId::Cluster.allows(&envelope));
        assert!(KeyId::None.allows(&envelope));
    }
}

#[test]
fn bytes_behind_a_message_are_refused() {
    let mut bytes = encoded(&vote());
    assert!(decode_envelope(&bytes).is_ok());
    bytes.push(0);
    assert!(decode_envelope(&bytes).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Header::decode(&bytes);
        let _ = decode_envelope(&bytes);
        let read: usize = Frames::of(&bytes).flatten().map(|frame| frame.length()).sum();
        prop_assert!(read <= bytes.len());
    }

    #[test]
    fn bytes_after_a_good_header_are_read_without_panic(
        kind in 0..7_u8,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut body = vec![kind, 0, bytes.len() as u8];
        body.extend(&bytes);
        for frame in Frames::of(&body).flatten() {
            if let Frame::Acknowledgement(of) = frame {
                prop_assert!(of.ranges().all(|(from, to)| of.first < from && to <= of.length));
            }
        }
    }

    #[test]
    fn messages_come_back_and_changed_ones_do_no_harm(
        value in prop::collection::vec(any::<u8>(), 0..300),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let envelope = request(&value);
        let mut bytes = encoded(&envelope);
        prop_assert_eq!(decode_envelope(&bytes), Ok(envelope));
        prop_assert!(decode_envelope(&bytes[..cut.index(bytes.len())]).is_err());
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = decode_envelope(&bytes);
    }

    #[test]
    fn frames_come_back(
        pieces in prop::collection::vec(
            (any::<u64>(), 0..100_u32, prop::collection::vec(any::<u8>(), 1..100)), 0..10
        ),
    ) {
        let mut body = Vec::new();
        let mut written = Vec::new();
        let ranges: Vec<Vec<u8>> = pieces.iter().map(|(_, index, _)| {
            let mut ranges = Vec::new();
            encode_range((index + 2, index + 5), &mut ranges);
            ranges
        }).collect();
        for (nth, (message, index, bytes)) in pieces.iter().enumerate() {
            let length = index + u32::try_from(bytes.len()).unwrap();
            for frame in [
                Frame::Envelope(bytes),
                Frame::Fragment(Fragment { message: *message, offset: *index, length, bytes }),
                Frame::Acknowledgement(Acknowledgement {
                    message: *message,
                    length: index + 9,
                    first: *index,
                    ranges: &ranges[nth],
                }),
                Frame::Probe(Probe { id: *message }),
                Frame::ProbeAcknowledgement(ProbeAcknowledgement { id: *message, length: 7 }),
            ] {
                frame.encode(&mut body);
                written.push(Ok(frame));
            }
        }
        let read: Vec<_> = Frames::of(&body).collect();
        prop_assert_eq!(read, written);
    }
}
