use super::*;
use model::{ClientId, NodeId};

const CLIENT: Address = Address::Client(ClientId::new(7));
const NODE: Address = Address::Node(NodeId::new(1));

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn boot(started: u64) -> BootId {
    BootId { started, random: 5 }
}

#[test]
fn latest_datagram_of_latest_run_says_where() {
    let now = Instant::now();
    let mut routes = Routes::new(10);
    assert_eq!(routes.find(CLIENT, now), None);
    routes.observe_source(CLIENT, at(1), (boot(1), 10), true, now);
    routes.observe_source(CLIENT, at(2), (boot(1), 9), true, now);
    assert_eq!(routes.find(CLIENT, now), Some(at(1)));
    routes.observe_source(CLIENT, at(3), (boot(1), 11), true, now);
    assert_eq!(routes.find(CLIENT, now), Some(at(3)));
    routes.observe_source(CLIENT, at(4), (boot(2), 1), true, now);
    routes.observe_source(CLIENT, at(3), (boot(1), 12), true, now);
    assert_eq!(routes.find(CLIENT, now), Some(at(4)));
}

#[test]
fn forged_run_and_number_do_not_silence_anyone() {
    let now = Instant::now();
    let mut routes = Routes::new(10);
    routes.observe_source(CLIENT, at(1), (boot(1), 10), false, now);
    routes.observe_source(CLIENT, at(2), (boot(u64::MAX), u64::MAX), false, now);
    routes.observe_source(CLIENT, at(1), (boot(1), 11), false, now);
    assert_eq!(routes.find(CLIENT, now), Some(at(1)));
}

#[test]
fn clock_set_back_is_believed_after_a_silence() {
    let now = Instant::now();
    let mut routes = Routes::new(10);
    routes.observe_source(CLIENT, at(1), (boot(100), 10), true, now);
    let later = now + SILENCE;
    routes.observe_source(CLIENT, at(2), (boot(50), 1), true, later);
    assert_eq!(routes.find(CLIENT, later), Some(at(2)));
}

#[test]
fn listed_process_is_followed_only_if_it_proves_itself_and_only_while_it_speaks() {
    let now = Instant::now();
    let mut routes = Routes::new(10);
    routes.configure(NODE, vec![at(1)]);
    routes.observe_source(NODE, at(2), (boot(1), 1), false, now);
    assert_eq!(routes.find(NODE, now), Some(at(1)));
    routes.observe_source(NODE, at(2), (boot(1), 2), true, now);
    assert_eq!(routes.find(NODE, now), Some(at(2)));
    routes.configure(NODE, vec![at(1)]);
    assert_eq!(routes.find(NODE, now), Some(at(2)));
    assert_eq!(routes.find(NODE, now + LEARNED_FOR), Some(at(1)));
    routes.configure(NODE, vec![at(3)]);
    assert_eq!(routes.find(NODE, now), Some(at(3)));
}

#[test]
fn process_at_the_address_of_another_one_is_reported_once_after_a_while() {
    let other = Address::Node(NodeId::new(2));
    let start = Instant::now();
    for authentic in [false, true] {
        let mut routes = Routes::new(10);
        routes.configure(NODE, vec![at(1)]);
        routes.configure(other, vec![at(2), at(3)]);
        let mut observe = |of, port, after| {
            let now = start + after;
            let reported = routes.observe_source(of, at(port), (boot(1), 1), authentic, now);
            (reported, routes.misplaced(now))
        };
        let nothing = (None, vec![]);
        let expected = Misplaced {
            process: NODE,
            at: at(3),
            configured_for: other,
        };
        // Not reported: its own address, an unassigned address, an unlisted process, or a brief
        // mismatch.
        assert_eq!(observe(NODE, 1, Duration::ZERO), nothing);
        assert_eq!(observe(NODE, 4, Duration::ZERO), nothing);
        assert_eq!(observe(CLIENT, 3, MISPLACED), nothing);
        assert_eq!(observe(NODE, 3, Duration::ZERO), nothing);
        assert_eq!(
            observe(NODE, 3, MISPLACED),
            (Some(expected), vec![expected])
        );
        assert_eq!(observe(NODE, 3, MISPLACED), (None, vec![expected]));
        assert_eq!(observe(other, 2, MISPLACED), (None, vec![expected]));
        assert_eq!(observe(other, 2, MISPLACED + LEARNED_FOR), nothing);
        assert_eq!(observe(NODE, 3, MISPLACED + LEARNED_FOR), nothing);
        assert_eq!(observe(NODE, 1, MISPLACED * 2 + LEARNED_FOR), nothing);
    }
}

#[test]
fn later_run_diverts_nothing_unless_it_is_followed() {
    let now = Instant::now();
    let mut routes = Routes::new(10);
    routes.configure(NODE, vec![at(1), at(2)]);
    routes.follow(NODE, Some(boot(1)), None, true, now);
    routes.observe_source(NODE, at(1), (boot(1), 1), true, now);
    for port in [2, 3] {
        routes.observe_source(NODE, at(port), (boot(2), 1), true, now);
        assert_eq!(routes.find(NODE, now), Some(at(1)));
    }
    assert_eq!(routes.learned_address(NODE), Some(at(1)));
    // The configured address in use does not change either.
    assert_eq!(routes.find(NODE, now + LEARNED_FOR), Some(at(1)));
    routes.follow(NODE, Some(boot(2)), Some(at(3)), true, now);
    routes.observe_source(NODE, at(1), (boot(1), 2), true, now);
    assert_eq!(routes.find(NODE, now), Some(at(3)));
    // Without a run to follow, the configured addresses apply.
    routes.follow(NODE, None, None, true, now);
    routes.observe_source(NODE, at(3), (boot(2), 2), true, now);
    assert_eq!(routes.find(NODE, now), Some(at(1)));
    // A process without a configured address is found through the run that is followed.
    let other = Address::Node(NodeId::new(2));
    routes.follow(other, None, None, true, now);
    routes.observe_source(other, at(4), (boot(1), 1), true, now);
    assert_eq!(routes.find(other, now), None);
    routes.follow(other, Some(boot(1)), Some(at(4)), true, now);
    assert_eq!(routes.find(other, now), Some(at(4)));
}

#[test]
fn addresses_of_a_name_are_tried_in_turn_until_one_answers() {
    let start = Instant::now();
    let after = |nth: u32| start + TRY_NEXT * nth;
    for authentic in [false, true] {
        let mut routes = Routes::new(10);
        routes.configure(NODE, vec![at(1), at(2), at(3)]);
        assert_eq!(routes.find(NODE, start), Some(at(1)));
        assert_eq!(routes.find(NODE, start + TRY_NEXT / 2), Some(at(1)));
        assert_eq!(routes.find(NODE, after(1)), Some(at(2)));
        // An address without a route is skipped at once.
        routes.unreachable(at(2));
        assert_eq!(routes.find(NODE, after(1)), Some(at(3)));
        assert_eq!(routes.find(NODE, after(2)), Some(at(1)));
        // The answer from the second address was late.
        routes.observe_source(NODE, at(2), (boot(1), 1), authentic, after(2));
        for nth in 3..10 {
            assert_eq!(routes.find(NODE, after(nth)), Some(at(2)));
        }
        // The same name resolved again, in another order.
        routes.configure(NODE, vec![at(3), at(2), at(1)]);
        assert_eq!(routes.find(NODE, after(10)), Some(at(2)));
        // The process falls silent.
        let silent = after(2) + LEARNED_FOR;
        assert_eq!(routes.find(NODE, silent), Some(at(2)));
        assert_eq!(routes.find(NODE, silent + TRY_NEXT), Some(at(3)));
    }
}

#[test]
fn table_is_bounded_and_forgets_the_longest_silent() {
    let start = Instant::now();
    let mut routes = Routes::new(16);
    routes.configure(NODE, vec![at(1)]);
    let client = |nth| Address::Client(ClientId::new(nth));
    for nth in 0..1000 {
        let when = start + Duration::from_millis(nth);
        routes.observe_source(client(nth), at(2), (boot(1), nth), true, when);
        assert!(routes.routes.len() <= 17);
        assert_eq!(routes.learned_count, routes.routes.len() - 1);
    }
    assert_eq!(routes.find(NODE, start), Some(at(1)));
    assert!(routes.find(client(999), start).is_some());
    assert!(routes.find(client(983), start).is_none());
}
