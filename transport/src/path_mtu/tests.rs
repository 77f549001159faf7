use super::*;
use proptest::prelude::*;

const LIMIT: usize = 30_000;

fn to() -> Destination {
    (([10, 0, 0, 1], 1).into(), KeyId::Cluster)
}

fn boot(started: u64) -> BootId {
    BootId { started, random: 1 }
}

/// A simulated path in virtual time, with its capacity, the MTU of its interface, and the
/// lengths sent.
struct Net {
    paths: Paths,
    now: Instant,
    /// The path loses longer datagrams.
    carries: usize,
    /// The kernel's estimate. It refuses longer datagrams.
    link: Option<usize>,
    round_trip: Duration,
    sent: Vec<usize>,
    reasons: Vec<Reason>,
}

impl Net {
    fn new(carries: usize, link: Option<usize>) -> Self {
        Self {
            paths: Paths::new(LIMIT),
            now: Instant::now(),
            carries,
            link,
            round_trip: Duration::from_millis(2),
            sent: Vec::new(),
            reasons: Vec::new(),
        }
    }

    /// Sends datagrams of the current size, with more data waiting. Returns whether they
    /// arrived.
    fn send(&mut self) -> bool {
        let length = self.paths.size(to());
        if self.paths.sent(to(), length, true, self.now) {
            self.poll(vec![to()]);
        }
        self.transmit(length)
    }

    fn transmit(&mut self, length: usize) -> bool {
        if self.link.is_some_and(|link| length > link) {
            let shorter = self.paths.refused(to(), length, self.link, self.now);
            assert!(shorter, "{length} bytes");
            self.poll(vec![to()]);
            return false;
        }
        length <= self.carries
    }

    fn poll(&mut self, due: Vec<Destination>) {
        let link = self.link;
        let probes = self.paths.poll(self.now, due, |_| link);
        let sent: Vec<_> = probes.iter().map(|of| (of.id, of.length)).collect();
        self.sent.extend(sent.iter().map(|of| of.1));
        let mut acknowledged = Vec::new();
        for (id, length) in sent {
            if self.transmit(length) {
                acknowledged.push((id, length));
            }
        }
        if !acknowledged.is_empty() {
            self.now += self.round_trip;
        }
        for (id, length) in acknowledged {
            let key = KeyId::Cluster;
            if let Some(to) = self.paths.acknowledged(key, id, length, self.now) {
                self.poll(vec![to]);
            }
        }
        self.reasons
            .extend(self.paths.changes().iter().map(|of| of.reason));
    }

    /// Advances the time, sending every 10 ms. Returns how many datagrams were lost.
    fn run(&mut self, time: Duration) -> usize {
        let end = self.now + time;
        let mut lost = 0;
        while self.now < end {
            self.now += Duration::from_millis(10);
            lost += usize::from(!self.send());
            if self.paths.deadline().is_some_and(|at| at <= self.now) {
                self.poll(Vec::new());
            }
        }
        lost
    }

    fn size(&self) -> usize {
        self.paths.size(to())
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn path_begins_at_the_base_and_takes_the_kernels_estimate_at_once() {
    for (link, size) in [
        (65_507, LIMIT),
        (8_972, 8_972),
        (1_472, 1_472),
        (1_392, 1_392),
        (1_252, 1_252),
    ] {
        let mut net = Net::new(link, Some(link));
        assert_eq!(net.size(), BASE);
        assert_eq!(net.run(SECOND / 10), 0);
        assert_eq!(net.size(), size);
        // The confirmation of the base with the floor beside it, and one probe of the estimate.
        assert_eq!(net.sent, [BASE, FLOOR, size, BASE]);
    }
}

#[test]
fn search_finds_a_bottleneck_behind_the_interface() {
    for carries in [1_252, 1_372, 1_392, 1_452, 8_000] {
        let mut net = Net::new(carries, Some(8_972));
        assert_eq!(net.run(10 * SECOND), 0, "no data is lost by a search");
        let found = net.size();
        assert!(
            found <= carries && carries - found < STEP,
            "{found} of {carries}"
        );
        assert!(!net.reasons.contains(&Reason::BlackHole));
        // The search is over: the remaining probes are confirmations.
        net.sent.clear();
        net.run(10 * SECOND);
        assert!(net.sent.iter().all(|length| *length <= found));
        assert!(net.sent.len() <= 33, "{:?}", net.sent);
    }
}

#[test]
fn search_without_an_estimate_begins_with_ethernet() {
    let mut net = Net::new(1_472, None);
    net.run(5 * SECOND);
    assert!(net.sent.contains(&ETHERNET));
    assert!((1_472 - STEP..=1_472).contains(&net.size()));
}

#[test]
fn black_hole_is_left_within_half_a_second_of_its_discovery() {
    let mut net = Net::new(1_472, Some(1_472));
    net.run(SECOND / 10);
    assert_eq!(net.size(), 1_472);
    net.carries = 1_392;
    let lost = net.run(5 * SECOND);
    assert!(net.reasons.contains(&Reason::BlackHole));
    // The interval between confirmations, plus three tries.
    assert!(lost <= 150, "{lost} datagrams lost");
    assert!(
        (1_392 - STEP..=1_392).contains(&net.size()),
        "{}",
        net.size()
    );
    assert_eq!(net.run(30 * SECOND), 0);
    // The path grows again, which the interface does not reveal. A later search finds it.
    net.carries = 1_472;
    assert_eq!(net.run(RAISE_AFTER), 0);
    assert_eq!(net.size(), 1_472);
}

#[test]
fn path_that_shrinks_at_any_moment_of_a_search_is_no_black_hole_for_long() {
    for at in 0..120 {
        let mut net = Net::new(1_392, Some(1_472));
        net.run(at * SECOND / 100);
        net.carries = 1_100;
        net.run(5 * SECOND);
        assert!(net.size() <= 1_100, "shrunk after {at}0 ms: {}", net.size());
        assert_eq!(net.run(SECOND), 0, "shrunk after {at}0 ms");
    }
    // A longer length is tested again once a minute.
    for at in 0..110 {
        let mut net = Net::new(1_392, Some(1_472));
        net.run(RAISE_AFTER - 5 * SECOND + at * SECOND / 10);
        net.carries = 1_252;
        net.run(5 * SECOND);
        assert!(net.size() <= 1_252, "shrunk at {at}: {}", net.size());
        assert_eq!(net.run(SECOND), 0, "shrunk at {at}");
    }
}

#[test]
fn memory_of_a_round_is_bounded_however_long_it_lasts() {
    let mut net = Net::new(1_472, Some(1_472));
    net.run(SECOND / 10);
    for answers in [false, true].repeat(500) {
        net.carries = if answers { FLOOR } else { 0 };
        net.run(SECOND / 20);
        let path = &net.paths.paths[&to()];
        let held = path.round.as_ref().map_or(0, |round| round.probes.len());
        assert!(held <= PROBES && net.paths.owners.len() <= PROBES);
    }
}

#[test]
fn suspicion_tests_the_path_before_the_next_confirmation() {
    let mut net = Net::new(1_472, Some(1_472));
    net.run(SECOND / 10);
    net.carries = 1_200;
    net.now += CONFIRM_AFTER / 2;
    net.sent.clear();
    assert!(net.paths.suspect(to(), net.now));
    net.poll(vec![to()]);
    assert_eq!(net.sent, [1_472, BASE, FLOOR]);
}

#[test]
fn interface_that_carries_less_takes_effect_at_once_and_so_does_one_that_carries_more() {
    let mut net = Net::new(65_508, Some(1_472));
    net.run(SECOND / 10);
    net.link = Some(1_392);
    net.run(SECOND / 50);
    assert_eq!(net.size(), 1_392);
    assert_eq!(net.reasons.last(), Some(&Reason::Kernel));
    net.link = Some(1_472);
    assert_eq!(net.run(2 * SECOND), 0);
    assert_eq!(net.size(), 1_472);
    assert!(!net.reasons.contains(&Reason::BlackHole));
}

#[test]
fn refusal_without_an_estimate_leads_to_the_base_and_then_to_the_floor() {
    let now = Instant::now();
    let mut paths = Paths::new(LIMIT);
    assert!(paths.refused(to(), 1_400, None, now));
    assert_eq!(paths.size(to()), BASE);
    assert!(paths.refused(to(), BASE, None, now));
    assert_eq!(paths.size(to()), FLOOR);
    assert!(!paths.refused(to(), FLOOR, None, now), "nothing is shorter");
}

#[test]
fn path_below_the_base_is_used_as_far_as_it_carries() {
    // First a tunnel that drops silently, then an interface with that MTU.
    for link in [Some(1_472), Some(972)] {
        let mut net = Net::new(972, link);
        net.run(10 * SECOND);
        let size = net.size();
        assert!((972 - STEP..=972).contains(&size), "{size} with {link:?}");
        assert_eq!(net.run(20 * SECOND), 0);
    }
}

#[test]
fn low_estimate_that_may_be_forged_does_not_lead_below_the_base() {
    let mut net = Net::new(1_472, Some(1_472));
    net.run(SECOND / 10);
    let paths = &mut net.paths;
    let later = net.now + CONFIRM_AFTER;
    assert!(paths.sent(to(), 1_400, false, later));
    paths.poll(later, [to()], |_| Some(524));
    assert_eq!(paths.size(to()), BASE);
}

#[test]
fn silent_receiver_costs_little_and_no_length() {
    let mut net = Net::new(LIMIT, Some(65_508));
    net.run(SECOND / 10);
    assert_eq!(net.size(), LIMIT);
    net.carries = 0;
    net.run(2 * SECOND);
    net.sent.clear();
    net.run(20 * SECOND);
    assert_eq!(net.size(), LIMIT);
    let bytes: usize = net.sent.iter().sum();
    assert!(
        bytes < 10 * LIMIT,
        "{bytes} bytes of probes: {:?}",
        net.sent
    );
    // The receiver answers again, and the length is unchanged.
    net.carries = LIMIT;
    net.run(5 * SECOND);
    assert_eq!(net.size(), LIMIT);
    assert!(!net.reasons.contains(&Reason::BlackHole));
}

#[test]
fn new_run_of_a_peer_begins_anew_and_a_replayed_one_does_not() {
    let mut net = Net::new(LIMIT, Some(65_508));
    net.run(SECOND / 10);
    net.paths.on_datagram(to(), boot(5), net.now);
    assert_eq!(net.size(), LIMIT);
    net.paths.on_datagram(to(), boot(4), net.now);
    assert_eq!(net.size(), LIMIT, "an earlier run");
    net.paths.on_datagram(to(), boot(6), net.now);
    assert_eq!(net.size(), BASE);
    let other = (([10, 0, 0, 2], 1).into(), KeyId::Cluster);
    assert_eq!(net.paths.size(other), BASE, "another address");
    net.run(SECOND / 10);
    net.paths.on_datagram(to(), boot(1), net.now + RUN_SILENCE);
    assert_eq!(net.size(), BASE, "a clock that was set back");
}

#[test]
fn acknowledgement_of_another_length_or_key_does_not_count() {
    let now = Instant::now();
    let mut paths = Paths::new(LIMIT);
    assert!(paths.sent(to(), BASE, true, now));
    let probes = paths.poll(now, [to()], |_| Some(1_472));
    let id = probes[0].id;
    assert_eq!(probes[0].length, BASE);
    assert_eq!(paths.acknowledged(KeyId::Client, id, BASE, now), None);
    assert_eq!(paths.acknowledged(KeyId::Cluster, id, BASE - 1, now), None);
    assert_eq!(paths.acknowledged(KeyId::Cluster, id + 9, BASE, now), None);
    let due = paths.acknowledged(KeyId::Cluster, id, BASE, now);
    assert_eq!(due, Some(to()), "the search follows");
}

#[test]
fn little_traffic_costs_no_probes_and_no_memory() {
    let now = Instant::now();
    let mut paths = Paths::new(LIMIT);
    for _ in 0..100 {
        assert!(!paths.sent(to(), FLOOR, false, now));
    }
    assert!(paths.paths.is_empty());
    for port in 0..2 * PATHS {
        let to = (([10, 0, 0, 1], port as u16).into(), KeyId::Client);
        assert!(paths.sent(to, BASE, false, now));
        paths.poll(now, [to], |_| None);
        assert!(paths.paths.len() <= PATHS && paths.active.len() <= PATHS);
        assert!(paths.owners.len() <= 2 * PATHS);
    }
}

#[test]
fn limit_is_never_exceeded() {
    for limit in [FLOOR, 900, BASE, 1_300, 65_507] {
        let mut net = Net::new(usize::MAX, Some(65_508));
        net.paths = Paths::new(limit);
        assert_eq!(net.size(), BASE.min(limit));
        net.run(2 * SECOND);
        assert_eq!(net.size(), limit);
        assert!(net.sent.iter().all(|length| *length <= limit));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// The length follows the path through any sequence of changes.
    #[test]
    fn length_follows_the_path(
        changes in prop::collection::vec((FLOOR + STEP..2_000_usize, prop::option::of(FLOOR + STEP..2_000_usize)), 1..5),
    ) {
        let mut net = Net::new(1_472, Some(1_472));
        for (carries, link) in changes {
            (net.carries, net.link) = (carries, link);
            net.run(RAISE_AFTER + 20 * SECOND);
            let most = carries.min(link.unwrap_or(usize::MAX)).min(LIMIT);
            prop_assert!(net.size() <= most, "{} of {most}", net.size());
            prop_assert!(most - net.size() < STEP, "{} of {most}", net.size());
            prop_assert_eq!(net.run(5 * SECOND), 0);
        }
    }
}
