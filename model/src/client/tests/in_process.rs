//! Refusals by a proxy or server in the same process, which receives each copy at most once.

use super::*;

const NODE: Address = Address::Node(NodeId::new(1));

/// A client in the process of this proxy or server.
fn client_of(proxy: Address) -> Client {
    let mut client = with_session(2);
    client.config.proxy = proxy;
    client.config.is_in_process = true;
    client
}

/// The response to the first request.
fn response_from(from: Address, body: ResponseBody) -> Event {
    let message = response_for(ID, 1, body);
    Event::Receive { from, message }
}

#[test]
fn overload_is_definite_for_what_reached_no_server() {
    let overloaded = || response(1, ResponseBody::Overloaded);
    // The only copy was refused.
    let mut client = client_of(PROXY);
    client.step(write());
    assert_eq!(
        outcome(client.step(overloaded())),
        Outcome::NotDone(NotDone::Overloaded)
    );
    assert_eq!(sent(client.step(write())), (2, write_body(SESSION, 2)));
    // Another copy may have been forwarded.
    let mut client = client_of(PROXY);
    client.step(write());
    client.step(Event::Timeout);
    assert_eq!(outcome(client.step(overloaded())), NOT_CONFIRMED);
    // A network may deliver the refused copy again.
    let mut client = with_session(1);
    client.step(write());
    assert_eq!(outcome(client.step(overloaded())), NOT_CONFIRMED);
    // A read changes nothing, and without a session the write was never sent. Each waits for
    // its last attempt.
    for (mut client, invocation) in [
        (with_session(2), read()),
        (with_session(2), stale_read()),
        (Client::new(ID, config(2)), write()),
        (
            with_session(2),
            Event::Invoke(Invocation::WriteAfterIdle(put())),
        ),
        (with_session(2), Event::Invoke(Invocation::CloseSession)),
    ] {
        client.step(invocation);
        assert_eq!(client.step(overloaded()), Effects::default());
        client.step(Event::Timeout);
        assert_eq!(
            outcome(client.step(overloaded())),
            Outcome::NotDone(NotDone::Overloaded)
        );
    }
}

#[test]
fn server_that_does_not_lead_did_nothing() {
    let hint = Some(NodeId::new(2));
    let refusal = || response_from(NODE, ResponseBody::NotLeader { hint });
    let not_done = Outcome::NotDone(NotDone::NotLeader { hint });
    for operation in [write(), read(), Event::Invoke(Invocation::CloseSession)] {
        let mut client = client_of(NODE);
        client.step(operation);
        assert_eq!(outcome(client.step(refusal())), not_done);
    }
    // A second copy may have reached the server while it led.
    let mut client = client_of(NODE);
    client.step(write());
    client.step(Event::Timeout);
    assert_eq!(outcome(client.step(refusal())), NOT_CONFIRMED);
    // A network may deliver the refused copy again.
    let mut client = Client {
        config: ClientConfig::new(NODE, 1),
        ..client_of(NODE)
    };
    client.step(write());
    assert_eq!(outcome(client.step(refusal())), NOT_CONFIRMED);
}

#[test]
fn only_copy_that_the_store_refuses_is_repeated_in_another_session() {
    let run = |proxy, attempts| {
        let mut client = client_of(proxy);
        client.step(write());
        for _ in 1..attempts {
            client.step(Event::Timeout);
        }
        let expired = ResponseBody::Applied(Answer::SessionExpired);
        client.step(response_from(proxy, expired))
    };
    let [request] = &run(NODE, 1).sends[..] else {
        panic!("one request is sent");
    };
    let Message::ClientRequest(request) = &request.message else {
        panic!("a request is sent");
    };
    assert_eq!(request.body, RequestBody::OpenSession);
    // A proxy may have sent another copy before, as may this client.
    let forgotten = Outcome::Unknown(Unknown::Forgotten);
    assert_eq!(outcome(run(PROXY, 1)), forgotten);
    assert_eq!(outcome(run(NODE, 2)), forgotten);
}
