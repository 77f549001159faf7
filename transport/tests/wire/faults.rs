//! Bytes that are not messages, and random messages.

use crate::{encoded, hex, request, vote};
use model::{
    Address, ClientId, ClientRequest, ClientResponse, Envelope, Message, NodeId, ProxyId,
    RequestId,
    message::{RequestBody, ResponseBody},
    wire::{
        Acknowledgement, BadFrame, BadHeader, BootId, ClusterId, Fragment, Frame, Frames, Header,
        KeyId, Probe, ProbeAcknowledgement, VotersDigest, decode_envelope, encode_range,
    },
};
use proptest::prelude::*;

#[test]
fn header_faults_are_distinguished() {
    let header = Header {
        cluster: ClusterId::new("a"),
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
fn frames_that_contradict_themselves_are_bad() {
    let bad = |body: &[u8]| {
        let frames: Vec<_> = Frames::new(body).collect();
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
    assert!(Frames::new(&fragment(0, 1, b"x")).all(|frame| frame.is_ok()));
    assert!(Frames::new(&fragment(2, 4, b"xy")).all(|frame| frame.is_ok()));
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
            Frames::new(&good).all(|frame| frame.is_ok()),
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
    let transfer = |from, to| Envelope {
        from,
        to,
        message: Message::ClientRequest(ClientRequest {
            client: ClientId::new(7),
            id: RequestId::new(2),
            body: RequestBody::TransferLeadership {
                target: NodeId::new(1),
            },
        }),
    };
    let client = Address::Client(ClientId::new(7));
    let proxy = Address::Proxy(ProxyId::new(1));
    let node = Address::Node(NodeId::new(1));
    for (envelope, allowed) in [
        (transfer(client, proxy), false),
        (transfer(client, node), false),
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
        let read: usize = Frames::new(&bytes).flatten().map(|frame| frame.length()).sum();
        prop_assert!(read <= bytes.len());
    }

    #[test]
    fn bytes_after_a_good_header_are_read_without_panic(
        kind in 0..7_u8,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut body = vec![kind, 0, bytes.len() as u8];
        body.extend(&bytes);
        for frame in Frames::new(&body).flatten() {
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
        let read: Vec<_> = Frames::new(&body).collect();
        prop_assert_eq!(read, written);
    }
}
