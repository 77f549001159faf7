mod in_process;

use super::*;
use crate::{ClientResponse, LogIndex, NodeId, ProxyId, store::Condition};
use alloc::collections::BTreeSet;

const ID: ClientId = ClientId::new(7);
const SESSION: SessionId = SessionId::new(2);
const PROXY: Address = Address::Proxy(ProxyId::new(1));
const WRITTEN: Answer = Answer::Written {
    version: LogIndex::new(3),
};

const NOT_CONFIRMED: Outcome = Outcome::Unknown(Unknown::NotConfirmed);

fn config(max_attempts: u32) -> ClientConfig {
    ClientConfig::new(PROXY, max_attempts)
}

fn with_session(max_attempts: u32) -> Client {
    Client::with_session(ID, config(max_attempts), SESSION)
}

fn put() -> Operation {
    Operation::Put {
        key: b"k".to_vec(),
        value: "v".into(),
        condition: Condition::Always,
    }
}

fn write() -> Event {
    Event::Invoke(Invocation::Write(put()))
}

fn get() -> Query {
    Query::Get { key: b"k".to_vec() }
}

fn read() -> Event {
    Event::Invoke(Invocation::Read(get()))
}

fn stale_read() -> Event {
    Event::Invoke(Invocation::StaleRead(get()))
}

fn found_stale() -> ResponseBody {
    ResponseBody::FoundStale(FoundStale {
        found: Found::Value(None),
        applied_index: LogIndex::new(9),
    })
}

fn response_for(client: ClientId, id: u64, body: ResponseBody) -> Message {
    Message::ClientResponse(ClientResponse {
        client,
        id: RequestId::new(id),
        body,
    })
}

fn response(id: u64, body: ResponseBody) -> Event {
    Event::Receive {
        from: PROXY,
        message: response_for(ID, id, body),
    }
}

fn applied(id: u64, answer: Answer) -> Event {
    response(id, ResponseBody::Applied(answer))
}

/// The id and the body of the one request sent together with a new timer.
#[track_caller]
fn sent(effects: Effects) -> (u64, RequestBody) {
    assert!(effects.timer && effects.outcome.is_none(), "{effects:?}");
    let [envelope] = effects.sends.try_into().unwrap();
    assert_eq!((envelope.from, envelope.to), (Address::Client(ID), PROXY));
    let Message::ClientRequest(request) = envelope.message else {
        panic!("not a request");
    };
    assert_eq!(request.client, ID);
    (request.id.get(), request.body)
}

#[track_caller]
fn outcome(effects: Effects) -> Outcome {
    assert!(effects.sends.is_empty() && !effects.timer, "{effects:?}");
    effects.outcome.unwrap()
}

fn write_body(session: SessionId, sequence: u64) -> RequestBody {
    RequestBody::Write {
        session,
        sequence,
        acknowledged: sequence,
        operation: put(),
    }
}

#[test]
fn write_without_session_opens_one_first() {
    let mut client = Client::new(ID, config(2));
    assert_eq!(sent(client.step(write())), (1, RequestBody::OpenSession));
    let effects = client.step(applied(1, Answer::SessionOpened(SESSION)));
    assert_eq!(sent(effects), (2, write_body(SESSION, 1)));
    assert_eq!(client.session(), Some(SESSION));
    // The client ignores a second session that a retried request opened.
    let other = Answer::SessionOpened(SessionId::new(9));
    let before = client.clone();
    assert_eq!(client.step(applied(1, other)), Effects::default());
    assert_eq!(client, before);
    let effects = client.step(applied(2, WRITTEN));
    assert_eq!(outcome(effects), Outcome::Done(Done::Answered(WRITTEN)));
    assert_eq!(sent(client.step(write())), (3, write_body(SESSION, 2)));
}

#[test]
fn operation_outside_of_the_limits_is_refused_at_once_and_never_sent() {
    let key = vec![b'k'; crate::store::MAX_KEY_BYTES + 1];
    let length = key.len() as u64;
    let too_large = Outcome::NotDone(NotDone::OutsideLimits(LimitError::KeyTooLarge { length }));
    let query = || Query::Get { key: key.clone() };
    let write = Operation::Increment {
        key: key.clone(),
        by: 1,
    };
    for invocation in [
        Invocation::Write(write),
        Invocation::Read(query()),
        Invocation::StaleRead(query()),
    ] {
        let mut client = Client::new(ID, config(2));
        assert_eq!(outcome(client.step(Event::Invoke(invocation))), too_large);
        assert!(client.is_idle());
    }
    // The refusal of any server is final, because all servers refuse alike.
    let mut client = with_session(2);
    client.step(super::tests::write());
    let length = 9;
    let error = LimitError::ValueTooLarge { length };
    let effects = client.step(response(1, ResponseBody::OutsideLimits(error)));
    assert_eq!(
        outcome(effects),
        Outcome::NotDone(NotDone::OutsideLimits(error))
    );
}

#[test]
fn write_retried_is_the_same_request() {
    let mut client = with_session(3);
    let first = client.step(write());
    assert_eq!(client.step(Event::Timeout), first);
    assert_eq!(client.step(Event::Timeout), first);
    // No attempts are left, and copies of the write may be anywhere.
    assert_eq!(outcome(client.step(Event::Timeout)), NOT_CONFIRMED);
    assert!(client.is_idle());
    // The next write takes a new sequence number and settles the abandoned one.
    assert_eq!(sent(client.step(write())), (2, write_body(SESSION, 2)));
}

#[test]
fn write_never_sent_is_not_done() {
    let mut client = Client::new(ID, config(2));
    let first = client.step(write());
    assert_eq!(client.step(Event::Timeout), first);
    assert_eq!(
        outcome(client.step(Event::Timeout)),
        Outcome::NotDone(NotDone::NoSession)
    );
    // No client uses the session that opens late.
    let late = client.step(applied(1, Answer::SessionOpened(SESSION)));
    assert_eq!(late, Effects::default());
    assert_eq!(sent(client.step(write())), (2, RequestBody::OpenSession));
}

#[test]
fn attempts_are_counted_for_each_request() {
    let mut client = Client::new(ID, config(2));
    client.step(write());
    client.step(Event::Timeout);
    client.step(applied(1, Answer::SessionOpened(SESSION)));
    let (id, _) = sent(client.step(Event::Timeout));
    assert_eq!(id, 2);
    assert_eq!(outcome(client.step(Event::Timeout)), NOT_CONFIRMED);
}

#[test]
fn attempts_of_zero_still_send_once() {
    let mut client = with_session(0);
    sent(client.step(write()));
    assert_eq!(outcome(client.step(Event::Timeout)), NOT_CONFIRMED);
}

#[test]
fn read_unanswered_is_unavailable() {
    let mut client = Client::new(ID, config(1));
    let query = get();
    assert_eq!(sent(client.step(read())), (1, RequestBody::Read { query }));
    assert_eq!(
        outcome(client.step(Event::Timeout)),
        Outcome::NotDone(NotDone::NoLeader)
    );
    sent(client.step(read()));
    let found = Found::Value(None);
    // The first read's result does not answer the second read, nor does the answer to a write.
    let late = ResponseBody::Found(found.clone());
    assert_eq!(client.step(response(1, late.clone())), Effects::default());
    assert_eq!(client.step(applied(2, WRITTEN)), Effects::default());
    let effects = client.step(response(2, late));
    assert_eq!(outcome(effects), Outcome::Done(Done::Found(found)));
}

#[test]
fn refusal_leaves_the_pace_to_the_timer() {
    let hint = Some(NodeId::new(1));
    for refusal in [
        ResponseBody::NotLeader { hint },
        ResponseBody::Interrupted { hint },
        ResponseBody::Unavailable,
        ResponseBody::Overloaded,
    ] {
        let mut client = with_session(2);
        client.step(write());
        let before = client.clone();
        let effects = client.step(response(1, refusal.clone()));
        assert_eq!(effects, Effects::default());
        assert_eq!(client, before);
        // After the last attempt there is nothing left to wait for, and the outcome is still
        // unknown.
        client.step(Event::Timeout);
        let effects = client.step(response(1, refusal));
        assert_eq!(outcome(effects), NOT_CONFIRMED);
    }
}

#[test]
fn write_never_applied_before_its_session_was_evicted_is_repeated_in_another() {
    let mut client = with_session(2);
    client.step(write());
    client.step(Event::Timeout);
    // The store knows every copy that was applied.
    let effects = client.step(applied(1, Answer::NotApplied));
    assert_eq!(sent(effects), (2, RequestBody::OpenSession));
    let other = SessionId::new(9);
    let effects = client.step(applied(2, Answer::SessionOpened(other)));
    assert_eq!(sent(effects), (3, write_body(other, 1)));
    assert_eq!(
        outcome(client.step(applied(3, WRITTEN))),
        Outcome::Done(Done::Answered(WRITTEN))
    );
}

#[test]
fn session_refused_is_tried_again_at_once_and_then_reported() {
    let mut settings = config(2);
    settings.max_refusals = 3;
    let mut client = Client::new(ID, settings);
    assert_eq!(sent(client.step(write())), (1, RequestBody::OpenSession));
    for id in 1..=2 {
        let effects = client.step(applied(id, Answer::SessionsInUse));
        assert_eq!(sent(effects), (id + 1, RequestBody::OpenSession));
        assert_eq!(client.session(), None);
    }
    let effects = client.step(applied(3, Answer::SessionsInUse));
    assert_eq!(outcome(effects), Outcome::NotDone(NotDone::SessionsInUse));
    // The next operation starts over.
    assert_eq!(sent(client.step(write())), (4, RequestBody::OpenSession));
    let effects = client.step(applied(4, Answer::SessionOpened(SESSION)));
    assert_eq!(sent(effects), (5, write_body(SESSION, 1)));
}

#[test]
fn session_idle_for_long_is_renewed_before_a_write_is_sent_in_it() {
    let after_idle = || Event::Invoke(Invocation::WriteAfterIdle(put()));
    let session = SESSION;
    let renew = RequestBody::RenewSession { session };
    let mut client = with_session(2);
    assert_eq!(sent(client.step(after_idle())), (1, renew.clone()));
    let effects = client.step(applied(1, Answer::SessionRenewed));
    assert_eq!(sent(effects), (2, write_body(SESSION, 1)));
    client.step(applied(2, WRITTEN));
    // The session was evicted, but no write was sent in it, so the write goes to another
    // session.
    assert_eq!(sent(client.step(after_idle())), (3, renew.clone()));
    let effects = client.step(applied(3, Answer::SessionExpired));
    assert_eq!(sent(effects), (4, RequestBody::OpenSession));
    client.step(applied(4, Answer::SessionOpened(SESSION)));
    client.step(applied(5, WRITTEN));
    // Without an answer the write was never sent.
    assert_eq!(sent(client.step(after_idle())), (6, renew));
    client.step(Event::Timeout);
    assert_eq!(
        outcome(client.step(Event::Timeout)),
        Outcome::NotDone(NotDone::NoSession)
    );
    // Without a session there is nothing to renew.
    let mut client = Client::new(ID, config(2));
    assert_eq!(
        sent(client.step(after_idle())),
        (1, RequestBody::OpenSession)
    );
}

#[test]
fn session_is_closed_when_the_store_says_so() {
    let close = || Event::Invoke(Invocation::CloseSession);
    let session = SESSION;
    let mut client = Client::new(ID, config(1));
    assert_eq!(
        outcome(client.step(close())),
        Outcome::Done(Done::SessionClosed)
    );
    let mut client = with_session(1);
    let closing = RequestBody::CloseSession { session };
    assert_eq!(sent(client.step(close())), (1, closing.clone()));
    // The session may still be open: then it still settles earlier writes.
    assert_eq!(
        outcome(client.step(Event::Timeout)),
        Outcome::NotDone(NotDone::NoLeader)
    );
    assert_eq!(client.session(), Some(SESSION));
    assert_eq!(sent(client.step(close())), (2, closing));
    let effects = client.step(applied(2, Answer::SessionClosed));
    assert_eq!(outcome(effects), Outcome::Done(Done::SessionClosed));
    assert_eq!(sent(client.step(write())), (3, RequestBody::OpenSession));
}

#[test]
fn answers_retained_without_acknowledgement_put_a_write_off() {
    let mut client = with_session(2);
    let first = client.step(write());
    let before = client.clone();
    let effects = client.step(applied(1, Answer::TooManyUnacknowledged));
    assert_eq!((effects, &client), (Effects::default(), &before));
    assert_eq!(client.step(Event::Timeout), first);
    // Another copy may still be applied.
    let effects = client.step(applied(1, Answer::TooManyUnacknowledged));
    assert_eq!(outcome(effects), NOT_CONFIRMED);
}

#[test]
fn session_lost_leaves_the_write_unknown_and_opens_another() {
    for answer in [Answer::SessionExpired, Answer::AlreadyAcknowledged] {
        let mut client = with_session(2);
        client.step(write());
        let effects = client.step(applied(1, answer));
        assert_eq!(outcome(effects), Outcome::Unknown(Unknown::Forgotten));
        assert_eq!(client.session(), None);
        assert_eq!(sent(client.step(write())), (2, RequestBody::OpenSession));
    }
}

#[test]
fn response_of_no_concern_changes_nothing() {
    let mut client = with_session(2);
    client.step(write());
    let true_answer = ResponseBody::Applied(WRITTEN);
    let forged = |from, message| Event::Receive { from, message };
    let other = ClientId::new(8);
    let server = Address::Node(NodeId::new(1));
    let before = client.clone();
    for event in [
        response(0, true_answer.clone()),
        response(2, true_answer.clone()),
        forged(server, response_for(ID, 1, true_answer.clone())),
        forged(PROXY, response_for(other, 1, true_answer)),
        response(1, ResponseBody::Found(Found::Value(None))),
        applied(1, Answer::Nothing),
        applied(1, Answer::SessionOpened(SESSION)),
        forged(PROXY, client.send().sends[0].message.clone()),
    ] {
        assert_eq!(client.step(event), Effects::default());
        assert_eq!(client, before);
    }
}

#[test]
fn stale_read_takes_stale_answers_and_only_a_stale_read_does() {
    let mut client = with_session(2);
    assert_eq!(
        sent(client.step(stale_read())),
        (1, RequestBody::StaleRead { query: get() })
    );
    let linearizable = ResponseBody::Found(Found::Value(None));
    assert_eq!(client.step(response(1, linearizable)), Effects::default());
    let Outcome::Done(Done::FoundStale(found)) = outcome(client.step(response(1, found_stale())))
    else {
        panic!("not stale");
    };
    assert_eq!(found.applied_index, LogIndex::new(9));
    for invocation in [read(), write()] {
        let mut client = with_session(2);
        client.step(invocation);
        let before = client.clone();
        assert_eq!(client.step(response(1, found_stale())), Effects::default());
        assert_eq!(client, before);
    }
    client.step(stale_read());
    sent(client.step(Event::Timeout));
    assert_eq!(
        outcome(client.step(Event::Timeout)),
        Outcome::NotDone(NotDone::NoServer)
    );
}

#[test]
fn transfer_ends_with_the_answer_of_a_leader() {
    let target = NodeId::new(3);
    let transfer = || Event::Invoke(Invocation::TransferLeadership(target));
    let aborted = NotTransferred::Aborted;
    for (body, expected) in [
        (ResponseBody::Leads, Outcome::Done(Done::Leads)),
        (
            ResponseBody::NotTransferred(aborted),
            Outcome::NotDone(NotDone::NotTransferred(aborted)),
        ),
    ] {
        let mut client = with_session(2);
        let request = RequestBody::TransferLeadership { target };
        assert_eq!(sent(client.step(transfer())), (1, request.clone()));
        // Neither a read's result nor a refusal decides.
        let found = ResponseBody::Found(Found::Value(None));
        for other in [found, ResponseBody::NotLeader { hint: None }] {
            assert_eq!(client.step(response(1, other)), Effects::default());
        }
        assert_eq!(sent(client.step(Event::Timeout)), (1, request));
        assert_eq!(outcome(client.step(response(1, body.clone()))), expected);
        // It answers nothing else.
        for invocation in [read(), write()] {
            let mut client = with_session(2);
            client.step(invocation);
            assert_eq!(client.step(response(1, body.clone())), Effects::default());
        }
    }
    let mut client = with_session(1);
    client.step(transfer());
    let unanswered = Outcome::NotDone(NotDone::NoLeader);
    assert_eq!(outcome(client.step(Event::Timeout)), unanswered);
}

#[test]
fn invoke_while_busy_and_timeout_while_idle_are_ignored() {
    let mut client = with_session(2);
    assert_eq!(client.step(Event::Timeout), Effects::default());
    client.step(read());
    let before = client.clone();
    assert_eq!(client.step(write()), Effects::default());
    assert_eq!(client, before);
}

/// Exhaustive: every event in every state, until no new state appears, for three operations.
#[test]
fn outcome_is_honest_whatever_arrives() {
    let opened = Answer::SessionOpened(SESSION);
    let bodies = [opened, WRITTEN, Answer::SessionExpired, Answer::Nothing]
        .map(ResponseBody::Applied)
        .into_iter()
        .chain([
            ResponseBody::Found(Found::Value(None)),
            ResponseBody::Unavailable,
            ResponseBody::Overloaded,
            found_stale(),
        ]);
    let mut events = vec![Event::Timeout, write(), read(), stale_read()];
    for id in 1..=6 {
        events.extend(bodies.clone().map(|body| response(id, body)));
    }
    // The client, the operations left, and the requests sent for the operation in flight.
    let mut new = vec![(Client::new(ID, config(2)), 3, Vec::new())];
    let mut seen = BTreeSet::from_iter(new.clone());
    let mut outcomes = BTreeSet::new();
    while let Some((client, left, sent)) = new.pop() {
        for event in &events {
            let (mut client, mut left, mut sent) = (client.clone(), left, sent.clone());
            if matches!(event, Event::Invoke(_)) {
                if left == 0 || !client.is_idle() {
                    continue;
                }
                left -= 1;
            }
            let effects = client.step(event.clone());
            for envelope in effects.sends {
                let Message::ClientRequest(request) = envelope.message else {
                    panic!("not a request");
                };
                sent.push(request);
            }
            assert!(sent.len() <= 4, "two requests, two attempts each");
            let mut writes = sent
                .iter()
                .filter(|request| matches!(request.body, RequestBody::Write { .. }));
            let first = writes.next();
            assert!(
                writes.all(|retry| Some(retry) == first),
                "one write, one request"
            );
            match &effects.outcome {
                None => assert_eq!(client.is_idle(), sent.is_empty()),
                Some(Outcome::NotDone(NotDone::NoSession | NotDone::Overloaded)) => {
                    assert_eq!(first, None, "sent, and so not undone");
                }
                Some(Outcome::Done(Done::Answered(_)) | Outcome::Unknown(_)) => {
                    assert!(first.is_some());
                }
                Some(
                    Outcome::NotDone(
                        NotDone::OutsideLimits(_)
                        | NotDone::SessionsInUse
                        | NotDone::QueueFull
                        | NotDone::ShuttingDown
                        | NotDone::NotLeader { .. }
                        | NotDone::NotTransferred(_),
                    )
                    | Outcome::Done(Done::SessionClosed | Done::Leads),
                ) => panic!("no event leads to this outcome"),
                // Each kind of read accepts only its own kind of result.
                Some(Outcome::Done(Done::Found(_))) => {
                    assert!(matches!(sent[0].body, RequestBody::Read { .. }));
                }
                Some(Outcome::Done(Done::FoundStale(_))) => {
                    assert!(matches!(sent[0].body, RequestBody::StaleRead { .. }));
                }
                Some(Outcome::NotDone(NotDone::NoLeader)) => {
                    assert!(matches!(sent[0].body, RequestBody::Read { .. }));
                }
                Some(Outcome::NotDone(NotDone::NoServer)) => {
                    assert!(matches!(sent[0].body, RequestBody::StaleRead { .. }));
                }
            }
            if let Some(outcome) = effects.outcome {
                assert!(client.is_idle());
                outcomes.insert(outcome);
                sent.clear();
            }
            let next = (client, left, sent);
            if seen.insert(next.clone()) {
                new.push(next);
            }
        }
    }
    assert_eq!(outcomes.len(), 9, "every outcome was reached: {outcomes:?}");
}

#[cfg(feature = "mutants")]
mod planted {
    use super::*;
    use crate::mutant::Mutant;

    fn client(mutant: Mutant) -> Client {
        let mut config = config(2);
        config.mutant = Some(mutant);
        Client::with_session(ID, config, SESSION)
    }

    #[test]
    fn retry_takes_a_new_sequence() {
        let mut client = client(Mutant::RetriesUnderNewSequence);
        client.step(write());
        let (id, body) = sent(client.step(Event::Timeout));
        assert_eq!((id, body), (1, write_body(SESSION, 2)));
    }

    #[test]
    fn giving_up_is_taken_for_not_done() {
        let mut client = client(Mutant::UnavailableTakenForNotDone);
        client.step(write());
        client.step(Event::Timeout);
        let effects = client.step(response(1, ResponseBody::Unavailable));
        assert_eq!(outcome(effects), Outcome::NotDone(NotDone::NoSession));
    }

    #[test]
    fn late_response_is_taken_for_the_answer() {
        let mut client = client(Mutant::ResponseIdNotCompared);
        client.step(write());
        client.step(applied(1, WRITTEN));
        client.step(write());
        let effects = client.step(applied(1, WRITTEN));
        assert_eq!(outcome(effects), Outcome::Done(Done::Answered(WRITTEN)));
    }
}
