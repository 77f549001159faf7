//! Random runs.

use crate::{SECOND, SERVERS, World, id};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Deliver(prop::sample::Index),
    Last(u64),
    Persist(u64),
    Tick(u64, bool),
    Speak(u64, u64),
    Restart(u64),
    Wipe(u64),
    Copy(u64),
    Restore(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let server = || 1..=3_u64;
    prop_oneof![
        12 => any::<prop::sample::Index>().prop_map(Op::Deliver),
        20 => (1..12_u64).prop_map(Op::Last),
        8 => server().prop_map(Op::Persist),
        6 => (server(), any::<bool>()).prop_map(|(number, alive)| Op::Tick(number, alive)),
        4 => (server(), server()).prop_map(|(from, to)| Op::Speak(from, to)),
        3 => server().prop_map(Op::Restart),
        1 => server().prop_map(Op::Wipe),
        1 => server().prop_map(Op::Copy),
        1 => (server(), 1..6_u64).prop_map(|(number, starts)| Op::Restore(number, starts)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// [`World::judge`] checks after each step.
    #[test]
    fn impostor_is_never_admitted_by_whoever_recorded_more(ops in prop::collection::vec(op(), 0..300)) {
        let mut world = World::new();
        for op in ops {
            match op {
                Op::Deliver(at) => world.deliver(at.index(world.sent.len())),
                Op::Last(back) => {
                    let place = world.sent.len().saturating_sub(back as usize);
                    world.deliver(place.min(world.sent.len() - 1));
                }
                Op::Persist(number) => world.persist(number),
                Op::Tick(number, alive) => {
                    let alive = SERVERS.map(id).into_iter().filter(|_| alive);
                    world.tick_with(number, alive.collect());
                }
                Op::Speak(from, to) => world.speak(from, to),
                Op::Restart(number) => world.restart(number),
                Op::Wipe(number) => world.wipe(number),
                Op::Copy(number) => world.copy(number),
                Op::Restore(number, starts) => world.restore(number, starts),
            }
        }
        world.settle();
    }

    /// Without disk losses all servers count in the end, regardless of network faults and restarts.
    #[test]
    fn honest_servers_are_all_admitted_in_the_end(ops in prop::collection::vec(op(), 0..200)) {
        let mut world = World::new();
        for op in ops {
            match op {
                Op::Deliver(at) => world.deliver(at.index(world.sent.len())),
                Op::Last(back) => {
                    let place = world.sent.len().saturating_sub(back as usize);
                    world.deliver(place.min(world.sent.len() - 1));
                }
                Op::Persist(number) => world.persist(number),
                Op::Tick(number, alive) => {
                    let alive = SERVERS.map(id).into_iter().filter(|_| alive);
                    world.tick_with(number, alive.collect());
                }
                Op::Speak(from, to) => world.speak(from, to),
                Op::Restart(number) | Op::Restore(number, _) => world.restart(number),
                Op::Wipe(_) | Op::Copy(_) => {}
            }
        }
        world.settle();
        prop_assert!(world.all_admit_all());
        for number in SERVERS {
            prop_assert_eq!(world.suspended(number), None);
        }
    }

    /// Originals and copies of their disks run at the same time. Messages are late, duplicated and
    /// reordered, and servers restart at any time. Only the originals count, provided that they
    /// respond within each interval.
    #[test]
    fn originals_count_and_copies_do_not(
        ops in prop::collection::vec((0..8_u8, 1..=3_u64, any::<prop::sample::Index>()), 0..120),
        has_keys in any::<bool>(),
    ) {
        let mut world = World::new();
        world.has_keys = has_keys;
        world.settle();
        let mut done = world.sent.len();
        for (op, number, index) in ops {
            let second = number + SECOND;
            match op {
                0 => world.start_second(number),
                1 if world.servers.contains_key(&second) => world.restart(second),
                2 => world.restart(number),
                3 if world.servers.contains_key(&second) => {
                    world.tick(second);
                    for to in SERVERS {
                        world.speak(second, to);
                    }
                }
                4 | 5 => {
                    let place = index.index(world.sent.len());
                    let sent = world.sent[place].clone();
                    if sent.at > SECOND || world.receiver(&sent) > SECOND {
                        world.deliver(place);
                    }
                }
                _ => {
                    world.tick(number);
                    for to in SERVERS {
                        world.speak(number, to);
                    }
                }
            }
            // The originals reach each other.
            while done < world.sent.len() {
                let sent = world.sent[done].clone();
                if sent.at < SECOND && world.receiver(&sent) < SECOND {
                    world.deliver(done);
                }
                done += 1;
                for at in world.all_places() {
                    world.persist(at);
                }
            }
            world.expect_originals()?;
        }
        world.settle();
        world.expect_originals()?;
        prop_assert!(world.all_admit_all());
    }
}
