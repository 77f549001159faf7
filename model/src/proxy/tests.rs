mod end_to_end;

use super::*;
use crate::{
    LogIndex,
    message::{FoundStale, NotTransferred},
    store::{Answer, Found, LimitError, Operation, Query},
};
use alloc::vec;

const ID: ProxyId = ProxyId::new(1);

const CLIENT: ClientId = ClientId::new(7);

const N1: NodeId = NodeId::new(1);

const N2: NodeId = NodeId::new(2);

const N3: NodeId = NodeId::new(3);

const STRANGER: NodeId = NodeId::new(9);

fn proxy(max_attempts: u32) -> Proxy {
    let config = ProxyConfig::new([N1, N2, N3].into(), max_attempts, 2);
    Proxy::new(ID, config)
}

fn request(id: u64) -> ClientRequest {
    ClientRequest {
        client: CLIENT,
        id: RequestId::new(id),
        body: RequestBody::OpenSession,
    }
}

fn write_request(id: u64) -> ClientRequest {
    let body = RequestBody::Write {
        session: crate::SessionId::new(1),
        sequence: 1,
        acknowledged: 1,
        operation: Operation::Increment {
            key: b"n".to_vec(),
            by: 1,
        },
    };
    ClientRequest {
        body,
        ..request(id)
    }
}

fn stale_request(id: u64) -> ClientRequest {
    let query = Query::Get { key: b"k".to_vec() };
    let body = RequestBody::StaleRead { query };
    ClientRequest {
        body,
        ..request(id)
    }
}

/// The client sends a stale read; the driver drew `random_node`.
fn send_stale_read(proxy: &mut Proxy, id: u64, random_node: NodeId) -> Effects {
    proxy.step(Event::Receive {
        from: Address::Client(CLIENT),
        message: Message::ClientRequest(stale_request(id)),
        random_node,
    })
}

fn stale_sent(id: u64, to: NodeId) -> Effects {
    let mut effects = sent(id, to);
    effects.sends[0].message = Message::ClientRequest(stale_request(id));
    effects
}

fn found_stale() -> ResponseBody {
    ResponseBody::FoundStale(FoundStale {
        found: Found::Value(None),
        applied_index: LogIndex::new(9),
    })
}

/// The client sends a request; the driver drew `random_node`.
fn send_request(proxy: &mut Proxy, id: u64, random_node: NodeId) -> Effects {
    proxy.step(Event::Receive {
        from: Address::Client(CLIENT),
        message: Message::ClientRequest(request(id)),
        random_node,
    })
}

/// A server responds; the driver drew `STRANGER`, which must not receive a message.
fn answers(proxy: &mut Proxy, from: NodeId, id: u64, body: ResponseBody) -> Effects {
    proxy.step(Event::Receive {
        from: Address::Node(from),
        message: response(id, body),
        random_node: STRANGER,
    })
}

fn timeout(proxy: &mut Proxy, id: u64, random_node: NodeId) -> Effects {
    proxy.step(Event::Timeout {
        client: CLIENT,
        id: RequestId::new(id),
        random_node,
    })
}

fn response(id: u64, body: ResponseBody) -> Message {
    Message::ClientResponse(ClientResponse {
        client: CLIENT,
        id: RequestId::new(id),
        body,
    })
}

fn applied() -> ResponseBody {
    ResponseBody::Applied(Answer::Written {
        version: LogIndex::new(3),
    })
}

fn not_leader(hint: Option<NodeId>) -> ResponseBody {
    ResponseBody::NotLeader { hint }
}

fn sent(id: u64, to: NodeId) -> Effects {
    Effects {
        sends: vec![Envelope {
            from: Address::Proxy(ID),
            to: Address::Node(to),
            message: Message::ClientRequest(request(id)),
        }],
        timers: vec![(CLIENT, RequestId::new(id))],
    }
}

fn responded(id: u64, body: ResponseBody) -> Effects {
    Effects {
        sends: vec![Envelope {
            from: Address::Proxy(ID),
            to: Address::Client(CLIENT),
            message: response(id, body),
        }],
        timers: vec![],
    }
}

#[test]
fn request_goes_to_the_drawn_server_then_to_the_one_that_answered() {
    let mut proxy = proxy(3);
    assert_eq!(send_request(&mut proxy, 1, N2), sent(1, N2));
    let effects = answers(&mut proxy, N2, 1, applied());
    assert_eq!(effects, responded(1, applied()));
    assert_eq!((proxy.leader(), proxy.in_flight()), (Some(N2), 0));
    assert_eq!(send_request(&mut proxy, 2, N1), sent(2, N2));
    // Reads find the leader too.
    let found = ResponseBody::Found(Found::Value(None));
    let effects = answers(&mut proxy, N2, 2, found.clone());
    assert_eq!(effects, responded(2, found));
}

#[test]
fn request_repeated_in_flight_is_absorbed() {
    let mut proxy = proxy(3);
    send_request(&mut proxy, 1, N1);
    let before = proxy.clone();
    assert_eq!(send_request(&mut proxy, 1, N2), Effects::default());
    assert_eq!(proxy, before);
    // Once the request is finished, a late copy is forwarded again, as before.
    answers(&mut proxy, N1, 1, applied());
    let idle = proxy.clone();
    assert_eq!(send_request(&mut proxy, 1, N1), sent(1, N1));
    answers(&mut proxy, N1, 1, applied());
    assert_eq!(proxy, idle);
}

#[test]
fn refusal_with_hint_is_followed_at_once() {
    let mut proxy = proxy(3);
    send_request(&mut proxy, 1, N1);
    let refusal = not_leader(Some(N2));
    assert_eq!(answers(&mut proxy, N1, 1, refusal.clone()), sent(1, N2));
    assert_eq!(proxy.leader(), Some(N2));
    // A duplicate of the refusal has no effect.
    let before = proxy.clone();
    assert_eq!(answers(&mut proxy, N1, 1, refusal), Effects::default());
    assert_eq!(proxy, before);
    let interrupted = ResponseBody::Interrupted { hint: Some(N3) };
    assert_eq!(answers(&mut proxy, N2, 1, interrupted), sent(1, N3));
    // No attempts are left, but the hint still updates the cached leader.
    let effects = answers(&mut proxy, N3, 1, not_leader(Some(N1)));
    assert_eq!(effects, responded(1, ResponseBody::Unavailable));
    assert_eq!((proxy.leader(), proxy.in_flight()), (Some(N1), 0));
}

#[test]
fn refusal_without_usable_hint_waits_for_the_timer() {
    for hint in [None, Some(N1), Some(STRANGER)] {
        let mut proxy = proxy(2);
        send_request(&mut proxy, 1, N1);
        let effects = answers(&mut proxy, N1, 1, not_leader(hint));
        assert_eq!(effects, Effects::default());
        assert_eq!(proxy.leader(), None);
        assert_eq!(timeout(&mut proxy, 1, N3), sent(1, N3));
        let effects = answers(&mut proxy, N3, 1, not_leader(None));
        assert_eq!(effects, responded(1, ResponseBody::Unavailable));
    }
}

#[test]
fn overloaded_leader_is_asked_again_when_the_timer_runs_out() {
    let mut proxy = proxy(2);
    send_request(&mut proxy, 1, N1);
    let effects = answers(&mut proxy, N1, 1, ResponseBody::Overloaded);
    assert_eq!((effects, proxy.leader()), (Effects::default(), Some(N1)));
    // A duplicate has no effect, nor has a response of another server.
    let before = proxy.clone();
    for from in [N1, N2] {
        let effects = answers(&mut proxy, from, 1, ResponseBody::Overloaded);
        assert_eq!((effects, &proxy), (Effects::default(), &before));
    }
    assert_eq!(timeout(&mut proxy, 1, N3), sent(1, N1));
    let effects = answers(&mut proxy, N1, 1, ResponseBody::Overloaded);
    assert_eq!(effects, responded(1, ResponseBody::Overloaded));
    assert_eq!((proxy.leader(), proxy.in_flight()), (Some(N1), 0));
}

#[test]
fn answer_to_a_transfer_is_forwarded() {
    for body in [
        ResponseBody::Leads,
        ResponseBody::NotTransferred(NotTransferred::NoVoter),
    ] {
        let mut proxy = proxy(3);
        let effects = proxy.step(Event::Receive {
            from: Address::Client(CLIENT),
            message: Message::ClientRequest(ClientRequest {
                client: CLIENT,
                id: RequestId::new(1),
                body: RequestBody::TransferLeadership { target: N2 },
            }),
            random_node: N1,
        });
        assert_eq!(effects.sends[0].to, Address::Node(N1));
        let hint = ResponseBody::NotLeader { hint: Some(N2) };
        let effects = answers(&mut proxy, N1, 1, hint);
        assert_eq!(effects.sends[0].to, Address::Node(N2));
        let effects = answers(&mut proxy, N2, 1, body.clone());
        assert_eq!(effects, responded(1, body));
        assert_eq!((proxy.leader(), proxy.in_flight()), (Some(N2), 0));
    }
}

/// Refused copies of a write may arrive again, so its outcome is never a definite refusal.
#[test]
fn write_that_was_sent_never_ends_as_overloaded() {
    let mut proxy = proxy(2);
    let write = write_request(1);
    let effects = proxy.step(Event::Receive {
        from: Address::Client(CLIENT),
        message: Message::ClientRequest(write),
        random_node: N1,
    });
    assert_eq!(effects.sends.len(), 1);
    answers(&mut proxy, N1, 1, ResponseBody::Overloaded);
    timeout(&mut proxy, 1, N3);
    let effects = answers(&mut proxy, N1, 1, ResponseBody::Overloaded);
    assert_eq!(effects, responded(1, ResponseBody::Unavailable));
}

#[test]
fn one_command_at_a_time_probes_an_overloaded_leader_and_others_are_never_sent() {
    let mut proxy = Proxy::new(ID, ProxyConfig::new([N1, N2, N3].into(), 9, 9));
    send_request(&mut proxy, 1, N1);
    answers(&mut proxy, N1, 1, ResponseBody::Overloaded);
    let before = proxy.clone();
    assert_eq!(
        send_request(&mut proxy, 2, N2),
        responded(2, ResponseBody::Overloaded)
    );
    assert_eq!(proxy, before);
    // Reads need no room in the log.
    let query = Query::Get { key: b"k".to_vec() };
    let read = ClientRequest {
        body: RequestBody::Read { query },
        ..request(3)
    };
    let effects = proxy.step(Event::Receive {
        from: Address::Client(CLIENT),
        message: Message::ClientRequest(read),
        random_node: N2,
    });
    assert_eq!(effects.sends[0].to, Address::Node(N1));
    assert_eq!(send_stale_read(&mut proxy, 4, N2), stale_sent(4, N2));
    // A served read does not show that writes are accepted.
    answers(&mut proxy, N1, 3, ResponseBody::Found(Found::Value(None)));
    assert_eq!(
        send_request(&mut proxy, 2, N2),
        responded(2, ResponseBody::Overloaded)
    );
    // One applied command ends the overload.
    let mut recovered = proxy.clone();
    timeout(&mut recovered, 1, N3);
    answers(&mut recovered, N1, 1, applied());
    assert_eq!(send_request(&mut recovered, 2, N2), sent(2, N1));
    assert_eq!(send_request(&mut recovered, 5, N2), sent(5, N1));
    // So does another leader, and the silence of this one.
    let mut replaced = proxy.clone();
    timeout(&mut replaced, 1, N3);
    answers(&mut replaced, N1, 1, not_leader(Some(N2)));
    assert_eq!(send_request(&mut replaced, 2, N3), sent(2, N2));
    answers(&mut replaced, N2, 1, not_leader(Some(N1)));
    assert_eq!(send_request(&mut replaced, 5, N3), sent(5, N1));
    let mut silent = proxy.clone();
    timeout(&mut silent, 1, N3);
    timeout(&mut silent, 1, N3);
    assert_eq!(send_request(&mut silent, 2, N2), sent(2, N2));
    // Without a command in flight the next command probes.
    let mut idle = proxy;
    idle.in_flight.remove(&(CLIENT, RequestId::new(1)));
    assert_eq!(send_request(&mut idle, 2, N2), sent(2, N1));
    assert_eq!(
        send_request(&mut idle, 5, N2),
        responded(5, ResponseBody::Overloaded)
    );
}

#[test]
fn refusal_without_hint_leaves_a_belief_in_another() {
    let mut proxy = proxy(3);
    send_request(&mut proxy, 1, N1);
    send_request(&mut proxy, 2, N2);
    answers(&mut proxy, N2, 2, applied());
    assert_eq!(answers(&mut proxy, N1, 1, not_leader(None)), sent(1, N2));
    assert_eq!(proxy.leader(), Some(N2));
    // The cached leader itself refuses without a hint: no leader is known.
    let effects = answers(&mut proxy, N2, 1, not_leader(None));
    assert_eq!((effects, proxy.leader()), (Effects::default(), None));
}

#[test]
fn silence_ends_the_belief_and_then_the_request() {
    let mut proxy = proxy(3);
    send_request(&mut proxy, 1, N1);
    answers(&mut proxy, N1, 1, applied());
    assert_eq!(send_request(&mut proxy, 2, N3), sent(2, N1));
    assert_eq!(timeout(&mut proxy, 2, N3), sent(2, N3));
    assert_eq!(proxy.leader(), None);
    assert_eq!(timeout(&mut proxy, 2, N2), sent(2, N2));
    let effects = timeout(&mut proxy, 2, N1);
    assert_eq!(effects, responded(2, ResponseBody::Unavailable));
    assert_eq!(timeout(&mut proxy, 2, N1), Effects::default());
}

#[test]
fn timeout_of_a_refused_request_keeps_the_belief() {
    let mut proxy = proxy(3);
    send_request(&mut proxy, 1, N1);
    answers(&mut proxy, N1, 1, not_leader(None));
    // In the meantime the same server was elected and answered another request.
    send_request(&mut proxy, 2, N1);
    answers(&mut proxy, N1, 2, applied());
    assert_eq!(timeout(&mut proxy, 1, N3), sent(1, N1));
    assert_eq!(proxy.leader(), Some(N1));
}

#[test]
fn answer_to_an_earlier_attempt_is_the_answer() {
    let mut proxy = proxy(3);
    send_request(&mut proxy, 1, N1);
    timeout(&mut proxy, 1, N2);
    // A late refusal by the first server is not a refusal by the second.
    let effects = answers(&mut proxy, N1, 1, not_leader(Some(N3)));
    assert_eq!((effects, proxy.leader()), (Effects::default(), None));
    let effects = answers(&mut proxy, N1, 1, applied());
    assert_eq!(effects, responded(1, applied()));
    // The late response of the second server answers no request.
    let before = proxy.clone();
    assert_eq!(answers(&mut proxy, N2, 1, applied()), Effects::default());
    assert_eq!(proxy, before);
}

#[test]
fn request_over_capacity_is_refused_and_never_sent() {
    let mut proxy = proxy(1);
    send_request(&mut proxy, 1, N1);
    send_request(&mut proxy, 2, N1);
    let before = proxy.clone();
    let effects = send_request(&mut proxy, 3, N1);
    assert_eq!(effects, responded(3, ResponseBody::Overloaded));
    // A duplicate of a request in flight is not over the limit.
    assert_eq!(send_request(&mut proxy, 2, N1), Effects::default());
    assert_eq!(proxy, before);
    answers(&mut proxy, N1, 1, applied());
    assert_eq!(send_request(&mut proxy, 3, N1), sent(3, N1));
}

#[test]
fn request_outside_of_the_limits_is_refused_and_never_sent() {
    let mut proxy = proxy(3);
    let query = Query::Get { key: vec![] };
    let before = proxy.clone();
    for body in [
        RequestBody::Read {
            query: query.clone(),
        },
        RequestBody::StaleRead { query },
    ] {
        let effects = proxy.step(Event::Receive {
            from: Address::Client(CLIENT),
            message: Message::ClientRequest(ClientRequest { body, ..request(1) }),
            random_node: N1,
        });
        let refused = ResponseBody::OutsideLimits(LimitError::EmptyKey);
        assert_eq!(effects, responded(1, refused));
        assert_eq!(proxy, before);
    }
    // The refusal of any server ends the request too, leader or not.
    let refused = ResponseBody::OutsideLimits(LimitError::ValueTooLarge { length: 9 });
    send_request(&mut proxy, 1, N1);
    let effects = answers(&mut proxy, N1, 1, refused.clone());
    assert_eq!(effects, responded(1, refused.clone()));
    send_stale_read(&mut proxy, 2, N1);
    let effects = answers(&mut proxy, N1, 2, refused.clone());
    assert_eq!(effects, responded(2, refused));
    assert_eq!(proxy, before);
}

#[test]
fn message_of_no_concern_changes_nothing() {
    let mut proxy = proxy(3);
    send_request(&mut proxy, 1, N1);
    let before = proxy.clone();
    let other = Address::Client(ClientId::new(8));
    for (from, message) in [
        (Address::Node(STRANGER), response(1, applied())),
        (Address::Proxy(ProxyId::new(2)), response(1, applied())),
        (Address::Client(CLIENT), response(1, applied())),
        (Address::Node(N1), response(2, applied())),
        (Address::Node(N1), response(1, ResponseBody::Unavailable)),
        (other, Message::ClientRequest(request(2))),
        (Address::Node(N1), Message::ClientRequest(request(2))),
    ] {
        let random_node = N1;
        let effects = proxy.step(Event::Receive {
            from,
            message,
            random_node,
        });
        assert_eq!(effects, Effects::default());
        assert_eq!(proxy, before);
    }
    assert_eq!(timeout(&mut proxy, 2, N2), Effects::default());
    assert_eq!(proxy, before);
}

#[test]
fn stale_read_goes_to_anyone_and_says_nothing_about_who_leads() {
    let mut proxy = proxy(3);
    send_request(&mut proxy, 1, N1);
    answers(&mut proxy, N1, 1, applied());
    // The request goes to the drawn server, not to the leader; after a timeout to another one,
    // drawn or not.
    assert_eq!(send_stale_read(&mut proxy, 2, N2), stale_sent(2, N2));
    assert_eq!(timeout(&mut proxy, 2, N2), stale_sent(2, N3));
    assert_eq!(timeout(&mut proxy, 2, N1), stale_sent(2, N1));
    assert_eq!(proxy.leader(), Some(N1));
    let effects = answers(&mut proxy, N2, 2, found_stale());
    assert_eq!(effects, responded(2, found_stale()));
    assert_eq!((proxy.leader(), proxy.in_flight()), (Some(N1), 0));
    // The first server follows the last.
    send_stale_read(&mut proxy, 3, N3);
    assert_eq!(timeout(&mut proxy, 3, N3), stale_sent(3, N1));
    timeout(&mut proxy, 3, N2);
    let effects = timeout(&mut proxy, 3, N2);
    assert_eq!(effects, responded(3, ResponseBody::Unavailable));
    assert_eq!(proxy.leader(), Some(N1), "its silence was not looked at");
}

#[test]
fn stale_and_linearizable_answers_are_never_mixed_up() {
    let mut proxy = proxy(3);
    send_request(&mut proxy, 1, N1);
    send_stale_read(&mut proxy, 2, N1);
    let before = proxy.clone();
    for (id, body) in [
        (1, found_stale()),
        (2, ResponseBody::Found(Found::Value(None))),
        (2, applied()),
        (2, not_leader(Some(N2))),
        (2, ResponseBody::Interrupted { hint: None }),
    ] {
        assert_eq!(answers(&mut proxy, N1, id, body), Effects::default());
        assert_eq!(proxy, before);
    }
}

/// Exhaustive: every event in every state, until no new state appears.
#[test]
fn state_stays_within_its_bounds_whatever_arrives() {
    let bodies = [None, Some(N1), Some(N2), Some(STRANGER)]
        .into_iter()
        .flat_map(|hint| [not_leader(hint), ResponseBody::Interrupted { hint }])
        .chain([
            applied(),
            ResponseBody::Unavailable,
            ResponseBody::Overloaded,
        ]);
    let mut events = Vec::new();
    for (random_node, id) in [N1, N2, N3]
        .into_iter()
        .flat_map(|random_node| [1, 2, 3].map(|id| (random_node, id)))
    {
        let message = Message::ClientRequest(request(id));
        let from = Address::Client(CLIENT);
        events.push(Event::Receive {
            from,
            message,
            random_node,
        });
        let (client, id) = (CLIENT, RequestId::new(id));
        events.push(Event::Timeout {
            client,
            id,
            random_node,
        });
        for body in bodies.clone() {
            let (message, from) = (response(id.get(), body), Address::Node(random_node));
            events.push(Event::Receive {
                from,
                message,
                random_node,
            });
        }
    }
    let mut seen = BTreeSet::from([proxy(2)]);
    let mut new = Vec::from_iter(seen.clone());
    while let Some(state) = new.pop() {
        for event in &events {
            let mut next = state.clone();
            let effects = next.step(event.clone());
            assert!(next.in_flight() <= 2, "capacity");
            assert!(effects.sends.len() <= 1, "one step, one message");
            assert!(next.leader.is_none_or(|id| next.config.nodes.contains(&id)));
            for (key, pending) in &next.in_flight {
                assert!((1..=2).contains(&pending.attempts), "attempts");
                let was = state.in_flight.get(key).map_or(0, |was| was.attempts);
                let armed = effects.timers.contains(key);
                assert_eq!(
                    pending.attempts,
                    was + u32::from(armed),
                    "a timer for each send"
                );
            }
            for key in state
                .in_flight
                .keys()
                .filter(|key| !next.in_flight.contains_key(key))
            {
                let [envelope] = &effects.sends[..] else {
                    panic!("a request ended without a response");
                };
                assert_eq!(envelope.to, Address::Client(key.0));
            }
            if seen.insert(next.clone()) {
                new.push(next);
            }
        }
    }
    // Each of three requests is absent, or in flight to one of three servers, or waits (except
    // after the last attempt), and at most two are present; with each cached leader, and with
    // each server or none overloaded.
    let pending = (3 + 1) + 3;
    assert!(seen.len() <= 4 * 4 * (1 + 3 * pending + 3 * pending * pending));
    assert!(seen.len() > 100, "{}", seen.len());
}
