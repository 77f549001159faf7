use super::*;
use crate::{
    ClientRequest, ClientResponse,
    message::RequestBody,
    store::{Found, Query},
};
use alloc::{collections::BTreeSet, vec};
use proptest::prelude::*;

const PROXY: ProxyId = ProxyId::new(100);
const CALLED: ProxyId = ProxyId::new(1);
const CLIENT: ClientId = ClientId::new(7);
const N1: NodeId = NodeId::new(1);
const N2: NodeId = NodeId::new(2);
const TIMEOUT: Duration = Duration::from_secs(1);

fn router(sender: Sender, max_attempts: u32, max_in_flight: usize) -> Router {
    let config = RouterConfig {
        proxy: ProxyConfig::new([N1, N2].into(), max_attempts, max_in_flight),
        attempt_timeout: TIMEOUT,
        sender,
    };
    Router::new(PROXY, config)
}

fn request(id: u64, to: ProxyId) -> Envelope {
    Envelope {
        from: Address::Client(CLIENT),
        to: Address::Proxy(to),
        message: Message::ClientRequest(ClientRequest {
            client: CLIENT,
            id: RequestId::new(id),
            body: RequestBody::Read {
                query: Query::Get { key: b"k".to_vec() },
            },
        }),
    }
}

fn response(id: u64, from: Address, to: Address, body: ResponseBody) -> Envelope {
    Envelope {
        from,
        to,
        message: Message::ClientResponse(ClientResponse {
            client: CLIENT,
            id: RequestId::new(id),
            body,
        }),
    }
}

fn found() -> ResponseBody {
    ResponseBody::Found(Found::Value(None))
}

/// A request of a client in this process.
fn local(id: u64) -> Event {
    Event::Requests {
        envelopes: vec![request(id, PROXY)],
        is_internal: false,
    }
}

/// The response of server 1 to the proxy.
fn answer(id: u64) -> Event {
    let envelope = response(id, Address::Node(N1), Address::Proxy(PROXY), found());
    Event::Datagrams(vec![envelope])
}

fn completed(origin: Origin, took: Duration, is_given_up: bool) -> Completed {
    Completed {
        origin,
        kind: RequestKind::Get,
        took,
        is_given_up,
    }
}

#[test]
fn response_goes_to_the_source_of_the_request() {
    let mut router = router(Sender::Proxy, 3, 10);
    let internal = Event::Requests {
        envelopes: vec![request(2, PROXY)],
        is_internal: true,
    };
    let network = Event::Datagrams(vec![request(3, CALLED)]);
    for (event, received) in [(local(1), 1), (internal, 0), (network, 1)] {
        let effects = router.step(Duration::ZERO, 0, event);
        assert_eq!((effects.received, effects.sent), (received, 1));
        assert_eq!(effects.sends[0].from, Address::Proxy(PROXY));
    }
    let client = Address::Client(CLIENT);
    for (id, origin, from) in [
        (1, Origin::Local, PROXY),
        (2, Origin::Internal, PROXY),
        (3, Origin::Network(CALLED), CALLED),
    ] {
        let effects = router.step(TIMEOUT / 2, 0, answer(id));
        let back = vec![response(id, Address::Proxy(from), client, found())];
        let (sends, responses) = match origin {
            Origin::Network(_) => (back, vec![]),
            _ => (vec![], back),
        };
        assert_eq!((effects.sends, effects.responses), (sends, responses));
        assert_eq!(effects.completed, [completed(origin, TIMEOUT / 2, false)]);
        assert!(effects.has_answer);
    }
    assert_eq!((router.in_flight(), router.next_timeout()), (0, None));
}

#[test]
fn retransmission_over_another_way_changes_nothing() {
    let mut router = router(Sender::Proxy, 3, 10);
    router.step(
        Duration::ZERO,
        0,
        Event::Datagrams(vec![request(1, CALLED)]),
    );
    let again = Event::Datagrams(vec![request(1, ProxyId::new(2))]);
    let effects = router.step(TIMEOUT / 2, 0, again);
    assert_eq!((effects.received, effects.sent), (1, 0));
    assert_eq!(router.next_timeout(), Some(TIMEOUT));
    let effects = router.step(TIMEOUT / 2, 0, answer(1));
    assert_eq!(effects.sends[0].from, Address::Proxy(CALLED));
}

#[test]
fn request_unanswered_is_sent_again_and_then_given_up() {
    let mut router = router(Sender::Proxy, 3, 10);
    router.step(Duration::ZERO, 0, local(1));
    for attempt in 1..3 {
        assert_eq!(router.next_timeout(), Some(TIMEOUT * attempt));
        let effects = router.step(TIMEOUT * attempt, 0, Event::Timeout);
        assert_eq!((effects.timed_out, effects.sent), (1, 1));
    }
    let early = router.step(3 * TIMEOUT - TIMEOUT / 2, 0, Event::Timeout);
    assert_eq!(early, Effects::default());
    let effects = router.step(3 * TIMEOUT, 0, Event::Timeout);
    let given_up = completed(Origin::Local, 3 * TIMEOUT, true);
    assert_eq!((effects.timed_out, effects.completed), (1, vec![given_up]));
    assert_eq!((router.in_flight(), router.next_timeout()), (0, None));
}

#[test]
fn request_beyond_the_bound_is_refused_at_once() {
    let mut router = router(Sender::Proxy, 3, 2);
    let envelopes = (1..=3).map(|id| request(id, PROXY)).collect();
    let requests = Event::Requests {
        envelopes,
        is_internal: false,
    };
    let effects = router.step(Duration::ZERO, 0, requests);
    assert_eq!((effects.sent, effects.responses.len()), (2, 1));
    let refused = completed(Origin::Local, Duration::ZERO, true);
    assert_eq!(effects.completed, [refused]);
    assert_eq!(router.in_flight(), 2);
}

#[test]
fn draining_router_ignores_the_network_and_finishes_its_requests() {
    let mut router = router(Sender::Proxy, 3, 10);
    router.step(
        Duration::ZERO,
        0,
        Event::Datagrams(vec![request(1, CALLED)]),
    );
    router.step(Duration::ZERO, 0, Event::Drain);
    assert!(router.is_draining());
    let late = Event::Datagrams(vec![request(2, CALLED)]);
    assert_eq!(router.step(Duration::ZERO, 0, late), Effects::default());
    // An operation of a frontend may consist of several requests.
    assert_eq!(router.step(Duration::ZERO, 0, local(3)).sent, 1);
    for id in [1, 3] {
        router.step(Duration::ZERO, 0, answer(id));
    }
    assert_eq!(router.in_flight(), 0);
}

#[test]
fn requests_of_one_step_go_to_different_servers() {
    let envelopes = vec![request(1, CALLED), request(2, CALLED)];
    for random in [0, 1, u64::MAX] {
        let mut router = router(Sender::Proxy, 3, 10);
        let datagrams = Event::Datagrams(envelopes.clone());
        let effects = router.step(Duration::ZERO, random, datagrams);
        let to: BTreeSet<_> = effects.sends.iter().map(|sent| sent.to).collect();
        assert_eq!(to, [Address::Node(N1), Address::Node(N2)].into());
    }
}

#[test]
fn client_without_a_proxy_sends_under_its_own_id() {
    let mut router = router(Sender::Client, 3, 10);
    let client = Address::Client(CLIENT);
    let effects = router.step(Duration::ZERO, 0, local(1));
    let [sent] = &effects.sends[..] else {
        panic!("one request: {effects:?}");
    };
    assert_eq!(sent.from, client);
    let first = sent.to;
    // The network may answer, and must not send requests under the id of a client.
    let forged = Event::Datagrams(vec![request(2, PROXY)]);
    assert_eq!(router.step(Duration::ZERO, 0, forged), Effects::default());
    // The first server names the other one as leader.
    let other = if first == Address::Node(N1) { N2 } else { N1 };
    let hint = ResponseBody::NotLeader { hint: Some(other) };
    let refusal = Event::Datagrams(vec![response(1, first, client, hint)]);
    let effects = router.step(Duration::ZERO, 0, refusal);
    let [sent] = &effects.sends[..] else {
        panic!("one request: {effects:?}");
    };
    assert_eq!((sent.from, sent.to), (client, Address::Node(other)));
    let found_there = Event::Datagrams(vec![response(1, sent.to, client, found())]);
    let effects = router.step(Duration::ZERO, 0, found_there);
    let back = response(1, Address::Proxy(PROXY), client, found());
    assert_eq!(effects.responses, [back]);
    assert_eq!(router.next_timeout(), None);
}

proptest! {
    /// For every sequence of events, each request has one response, at the latest after its last
    /// attempt, and an answered request leaves no timer.
    #[test]
    fn each_request_has_one_response(
        choices in prop::collection::vec((0..5_u8, 1..12_u64, any::<u64>()), 1..200),
    ) {
        let mut router = router(Sender::Proxy, 3, 4);
        let mut now = Duration::ZERO;
        let mut open = BTreeSet::new();
        for (choice, id, random) in choices {
            let refuse = ResponseBody::NotLeader { hint: Some(N2) };
            let event = match choice {
                0 => {
                    open.insert(id);
                    local(id)
                }
                1 => answer(id),
                2 => {
                    let (from, to) = (Address::Node(N1), Address::Proxy(PROXY));
                    Event::Datagrams(vec![response(id, from, to, refuse)])
                }
                3 => Event::Timeout,
                _ => {
                    now += TIMEOUT / 4 * (id as u32);
                    Event::Timeout
                }
            };
            let effects = router.step(now, random, event);
            for envelope in effects.responses {
                let Message::ClientResponse(response) = envelope.message else {
                    panic!("not a response: {envelope:?}");
                };
                prop_assert!(open.remove(&response.id.get()), "a second response");
            }
            prop_assert_eq!(open.len(), router.in_flight());
            prop_assert_eq!(router.next_timeout().is_some(), router.in_flight() > 0);
        }
        while let Some(next) = router.next_timeout() {
            let effects = router.step(next, 0, Event::Timeout);
            prop_assert!(effects.timed_out > 0, "the timeout is exact");
        }
        prop_assert_eq!(router.in_flight(), 0);
    }
}
