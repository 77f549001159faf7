//! A fault plan between two endpoints takes effect, and can be changed while they run.

mod pair;

use model::Envelope;
use pair::{append, bind, config, eventually, keys, node, nothing_more, receive};
use std::time::{Duration, Instant};
use transport::{Cause, Count, Delay, Endpoint, Faults, Inbox, Plan, Rule, Side, Socket};

const PATIENCE: Duration = Duration::from_secs(30);

/// Servers 1 and 2, each with its faults.
async fn pair_with(a: Option<Faults>, b: Option<Faults>) -> [(Endpoint, Inbox); 2] {
    let open = async |faults| {
        let mut config = config(keys());
        config.faults = faults;
        bind(config).await
    };
    let [a, b] = [open(a).await, open(b).await];
    a.0.set_peer(node(2), b.0.local_addr().unwrap());
    b.0.set_peer(node(1), a.0.local_addr().unwrap());
    [a, b]
}

fn plan(rules: impl Into<Vec<Rule>>) -> Plan {
    Plan {
        seed: 1,
        rules: rules.into(),
    }
}

fn numbered(many: u64) -> Vec<Envelope> {
    (0..many)
        .map(|nth| append(node(1), node(2), nth, 0))
        .collect()
}

#[tokio::test]
async fn cut_in_one_direction_leaves_the_other() {
    let cut = Rule {
        from: Some(node(1)),
        to: Some(node(2)),
        cut: true,
        ..Rule::default()
    };
    let faults = Faults::new(plan([cut])).unwrap();
    let [(a, mut a_inbox), (b, mut b_inbox)] = pair_with(Some(faults.clone()), None).await;
    a.send(numbered(10));
    assert_eq!(a.counters().dropped(Cause::Faults), 10);
    b.send(vec![append(node(2), node(1), 1, 0)]);
    receive(&mut a_inbox, 1).await;
    nothing_more(&mut b_inbox).await;
    faults.set(Plan::default()).unwrap();
    a.send(numbered(1));
    receive(&mut b_inbox, 1).await;
}

#[tokio::test]
async fn one_side_can_cut_itself_off_in_both_directions() {
    let faults = Faults::new(plan(Rule::isolate(node(2)))).unwrap();
    let [(a, mut a_inbox), (b, mut b_inbox)] = pair_with(None, Some(faults.clone())).await;
    a.send(numbered(10));
    eventually("all are dropped where they arrive", || {
        b.counters().dropped(Cause::Faults) == 10
    })
    .await;
    b.send(vec![append(node(2), node(1), 1, 0)]);
    assert_eq!(b.counters().dropped(Cause::Faults), 11);
    faults.set(Plan::default()).unwrap();
    a.send(numbered(3));
    b.send(vec![append(node(2), node(1), 2, 0)]);
    assert_eq!(receive(&mut b_inbox, 3).await.len(), 3);
    assert_eq!(
        receive(&mut a_inbox, 1).await,
        [append(node(2), node(1), 2, 0)]
    );
}

#[tokio::test]
async fn as_many_are_dropped_as_are_counted_and_the_same_in_each_run() {
    let lossy = Rule {
        drop: 0.3,
        ..Rule::default()
    };
    let mut survivors = Vec::new();
    for _ in 0..2 {
        let faults = Faults::new(plan([lossy.clone()])).unwrap();
        let [(a, _a), (_b, mut inbox)] = pair_with(Some(faults), None).await;
        a.send(numbered(1000));
        let dropped = a.counters().dropped(Cause::Faults);
        assert!((200..400).contains(&dropped), "{dropped} dropped");
        let arrived = receive(&mut inbox, 1000 - dropped as usize).await;
        nothing_more(&mut inbox).await;
        survivors.push(arrived);
    }
    assert_eq!(survivors[0], survivors[1]);
}

#[tokio::test]
async fn duplicates_arrive_twice() {
    let twice = Rule {
        duplicate: 1.0,
        ..Rule::default()
    };
    let [(a, _a), (_b, mut inbox)] = pair_with(Faults::new(plan([twice])).ok(), None).await;
    a.send(numbered(2));
    let arrived = receive(&mut inbox, 4).await;
    assert_eq!(arrived[0], arrived[1]);
    assert_eq!(arrived[2], arrived[3]);
    assert_eq!(a.counters().get(Count::DuplicatedByFaults), 2);
}

#[tokio::test(start_paused = true)]
async fn delays_are_as_long_as_configured() {
    for side in [Side::Send, Side::Receive] {
        let slow = Rule {
            side,
            delay: Some(Delay {
                min_ms: 10_000,
                max_ms: 20_000,
            }),
            ..Rule::default()
        };
        let faults = Faults::new(plan([slow])).unwrap();
        let [(a, _a), (_b, mut inbox)] = pair_with(Some(faults.clone()), Some(faults)).await;
        let start = tokio::time::Instant::now();
        a.send(numbered(20));
        let mut arrived = receive(&mut inbox, 1).await;
        assert!(start.elapsed() >= Duration::from_secs(10));
        let missing = 20 - arrived.len();
        arrived.extend(receive(&mut inbox, missing).await);
        // Applied on both sides, the delay would be twice as long: a rule applies on one side.
        assert!(start.elapsed() <= Duration::from_secs(21));
        assert_ne!(arrived, numbered(20));
        arrived.sort();
        assert_eq!(arrived, numbered(20));
    }
}

#[tokio::test(start_paused = true)]
async fn some_are_overtaken() {
    let reorder = Rule {
        reorder: 0.5,
        ..Rule::default()
    };
    let [(a, _a), (_b, mut inbox)] = pair_with(Faults::new(plan([reorder])).ok(), None).await;
    a.send(numbered(100));
    let mut arrived = receive(&mut inbox, 100).await;
    assert_ne!(arrived, numbered(100));
    arrived.sort();
    assert_eq!(arrived, numbered(100));
    let held = a.counters().get(Count::DelayedByFaults);
    assert!((20..80).contains(&held), "{held} held back");
}

/// Servers 1 and 2 with sockets that the test serves. Messages from server 1 are delayed.
fn served_by_hand(delay: Delay) -> [(Endpoint, Socket); 2] {
    let late = Rule {
        delay: Some(delay),
        ..Rule::default()
    };
    let open = |faults| {
        let mut config = config(keys());
        config.faults = faults;
        Endpoint::open(config).unwrap()
    };
    let [a, b] = [open(Some(Faults::new(plan([late])).unwrap())), open(None)];
    a.0.set_peer(node(2), b.0.local_addr().unwrap());
    b.0.set_peer(node(1), a.0.local_addr().unwrap());
    [a, b]
}

#[test]
fn socket_served_by_its_owner_sends_what_is_late_when_its_time_has_come() {
    let delay = Delay {
        min_ms: 20,
        max_ms: 30,
    };
    let [(a, a_socket), (_b, mut b_socket)] = served_by_hand(delay);
    assert_eq!(a_socket.deadline(), None);
    let begun = Instant::now();
    a.send(numbered(1));
    let due = a_socket.deadline().unwrap();
    assert!(due >= begun + Duration::from_millis(20));
    a_socket.serve_timers(due - Duration::from_millis(1));
    assert_eq!(b_socket.receive(), [], "it is not due");
    a_socket.serve_timers(due);
    assert_eq!(a_socket.deadline(), None);
    assert_eq!(until_something_arrives(&mut b_socket), numbered(1));
}

#[test]
fn large_messages_arrive_at_sockets_served_by_their_owners() {
    let delay = Delay {
        min_ms: 0,
        max_ms: 0,
    };
    let [(a, mut a_socket), (_b, mut b_socket)] = served_by_hand(delay);
    let (call, called) = std::sync::mpsc::channel();
    b_socket.set_waker(move || call.send(()).unwrap());
    let sent = vec![append(node(1), node(2), 1, 3 << 20)];
    a.send(sent.clone());
    let begun = Instant::now();
    let arrived = loop {
        let now = Instant::now();
        assert!(now < begun + PATIENCE, "the message never arrives");
        a_socket.serve_timers(now);
        b_socket.serve_timers(now);
        a_socket.receive();
        let arrived = b_socket.receive();
        if !arrived.is_empty() {
            break arrived;
        }
    };
    assert_eq!(arrived[0].envelope, sent[0]);
    assert_eq!(arrived.len(), 1);
    // A background thread decoded the message, while the owner might have been asleep.
    let call = called.recv_timeout(PATIENCE);
    call.expect("the owner is never called");
    assert!(a.counters().get(Count::FragmentsSent) > 1000);
}

fn until_something_arrives(socket: &mut Socket) -> Vec<Envelope> {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "nothing arrives");
        let arrived = socket.receive();
        if !arrived.is_empty() {
            return arrived
                .into_iter()
                .map(|message| message.envelope)
                .collect();
        }
        std::thread::yield_now();
    }
}
