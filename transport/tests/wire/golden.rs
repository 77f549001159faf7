//! Golden bytes of headers and messages.

use crate::{encoded, hex, request, vote};
use model::{
    Address, ClientId, ClientRequest, ClientResponse, Config, Envelope, FoundStale,
    InstallSnapshotRequest, InstallSnapshotResponse, LogIndex, Message, NodeId, Payload, ProxyId,
    RequestId, SessionId, Snapshot, Store, Term,
    admission::{DiskId, EntryAt, IdentityMessage, LogAt, Record, Request, Response, Standing},
    message::{NotTransferred, RequestBody, ResponseBody},
    store::{Command, Condition, Found, Operation, Query, Versioned, Write},
    wire::{
        Acknowledgement, BootId, ClusterId, Fragment, Frame, Frames, Header, KeyId, Probe,
        ProbeAcknowledgement, VotersDigest, decode_envelope, encode_range,
    },
};

#[test]
fn header_golden() {
    let header = Header {
        cluster: ClusterId::new("stateraft"),
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
            "05",
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
    assert_eq!(ClusterId::new("").get(), 0xcbf2_9ce4_8422_2325);
    assert_eq!(ClusterId::new("a").get(), 0xaf63_dc4c_8601_ec8c);
    assert_eq!(ClusterId::new("foobar").get(), 0x8594_4171_f739_67e8);
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
            // An envelope of 11 bytes: server 1 to server 300, RequestVote, term 5, 1000, term 4, no transfer.
            "01",
            "000b",
            "0001",
            "00ac02",
            "02",
            "05",
            "e807",
            "04",
            "00",
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
    let frames: Vec<_> = Frames::new(&body).collect();
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
    let config = Config::production([NodeId::new(1)].into());
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

const CLIENT: Address = Address::Client(ClientId::new(7));
const PROXY: Address = Address::Proxy(ProxyId::new(1));

fn asks(body: RequestBody) -> Envelope {
    Envelope {
        from: CLIENT,
        to: PROXY,
        message: Message::ClientRequest(ClientRequest {
            client: ClientId::new(7),
            id: RequestId::new(2),
            body,
        }),
    }
}

fn answers(body: ResponseBody) -> Envelope {
    Envelope {
        from: PROXY,
        to: CLIENT,
        message: Message::ClientResponse(ClientResponse {
            client: ClientId::new(7),
            id: RequestId::new(2),
            body,
        }),
    }
}

#[test]
fn transfer_golden() {
    let target = NodeId::new(3);
    for (envelope, golden) in [
        (
            asks(RequestBody::TransferLeadership { target }),
            "020701010607020603",
        ),
        (answers(ResponseBody::Leads), "0101020707070208"),
        (
            answers(ResponseBody::NotTransferred(NotTransferred::NoVoter)),
            "010102070707020900",
        ),
        (
            answers(ResponseBody::NotTransferred(NotTransferred::Aborted)),
            "010102070707020901",
        ),
    ] {
        assert_eq!(hex(&encoded(&envelope)), golden);
        assert_eq!(decode_envelope(&encoded(&envelope)), Ok(envelope));
    }
}

/// A stale read and its response, beside a linearizable read and its response. Each has its own
/// kind, so that they cannot be confused.
#[test]
fn stale_read_golden() {
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
