//! Operations over a network that loses, duplicates and reorders messages.

use super::{TIMEOUT, World, get, increment, number};
use crate::{session_pool::*, store::Command};
use alloc::format;
use proptest::prelude::*;

/// A choice of the network or of a caller.
#[derive(Clone, Debug)]
enum Choice {
    Submit {
        is_read: bool,
    },
    Abandon(prop::sample::Index),
    /// A request arrives, and may arrive again.
    Request {
        at: prop::sample::Index,
        is_repeated: bool,
    },
    LoseRequest(prop::sample::Index),
    /// A response arrives, and may arrive again.
    Response {
        at: prop::sample::Index,
        is_repeated: bool,
    },
    LoseResponse(prop::sample::Index),
    Elapse {
        quarters: u32,
    },
    EvictSessions,
    Close,
}

fn choice() -> impl Strategy<Value = Choice> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        6 => any::<bool>().prop_map(|is_read| Choice::Submit { is_read }),
        1 => at().prop_map(Choice::Abandon),
        12 => (at(), any::<bool>())
            .prop_map(|(at, is_repeated)| Choice::Request { at, is_repeated }),
        2 => at().prop_map(Choice::LoseRequest),
        12 => (at(), any::<bool>())
            .prop_map(|(at, is_repeated)| Choice::Response { at, is_repeated }),
        2 => at().prop_map(Choice::LoseResponse),
        3 => (1..30_u32).prop_map(|quarters| Choice::Elapse { quarters }),
        1 => Just(Choice::EvictSessions),
        1 => Just(Choice::Close),
    ]
}

fn take<T: Clone>(queue: &mut Vec<T>, at: prop::sample::Index, is_repeated: bool) -> Option<T> {
    if queue.is_empty() {
        return None;
    }
    let at = at.index(queue.len());
    Some(match is_repeated {
        true => queue[at].clone(),
        false => queue.swap_remove(at),
    })
}

proptest! {
    /// Messages are lost, duplicated, late and reordered, callers give up, and sessions are
    /// evicted: every operation has exactly one outcome. The counter contains each answered
    /// increment once, each unknown increment at most once, and no increment that was not done.
    #[test]
    fn outcomes_are_honest_over_a_bad_network(choices in prop::collection::vec(choice(), 1..300)) {
        let mut world = World::new(3, 4, 3);
        (world.server.capacity, world.server.window) = (4, 2);
        let mut responses = Vec::new();
        let mut writes = Vec::new();
        for choice in choices {
            match choice {
                Choice::Submit { is_read: true } => {
                    world.submit(get("n"));
                }
                Choice::Submit { is_read: false } => writes.push(world.submit(increment())),
                Choice::Abandon(at) if world.tickets > 0 => {
                    let ticket = Ticket(at.index(world.tickets as usize) as u64 + 1);
                    world.step(Event::Abandon(ticket));
                }
                Choice::Abandon(_) => {}
                Choice::Request { at, is_repeated } => {
                    if let Some(request) = take(&mut world.sent, at, is_repeated) {
                        responses.push(world.server.answer(&request));
                    }
                }
                Choice::LoseRequest(at) => drop(take(&mut world.sent, at, false)),
                Choice::Response { at, is_repeated } => {
                    if let Some(response) = take(&mut responses, at, is_repeated) {
                        world.step(Event::Receive(response));
                    }
                }
                Choice::LoseResponse(at) => drop(take(&mut responses, at, false)),
                Choice::Elapse { quarters } => world.elapse(TIMEOUT / 4 * quarters),
                Choice::EvictSessions => {
                    // Other clients open sessions, as many as the table has places.
                    for _ in 0..4 {
                        let (capacity, window) = (4, 0);
                        world.server.apply(Command::OpenSession { capacity, window });
                    }
                }
                Choice::Close => world.step(Event::Close),
            }
            let load = world.pool.load();
            prop_assert!(load.sessions <= 3 && load.waiting <= 4 + 3, "{load:?}");
        }
        // Without any response each operation ends.
        world.elapse(1000 * TIMEOUT);
        prop_assert_eq!(world.outcomes.len() as u64, world.tickets);
        prop_assert_eq!((world.pool.load().busy, world.pool.load().waiting), (0, 0));
        prop_assert_eq!(world.pool.next_timeout(), None);
        // Late requests arrive.
        for request in mem::take(&mut world.sent) {
            world.server.answer(&request);
        }
        let (mut values, mut unknown) = (BTreeSet::new(), 0);
        for ticket in &writes {
            match &world.outcomes[ticket] {
                Outcome::Unknown(_) => unknown += 1,
                Outcome::NotDone(_) => {}
                done => {
                    let value = number(done).expect("an increment");
                    prop_assert!(values.insert(value), "two increments made {value}");
                }
            }
        }
        let (done, number) = (values.len() as i64, world.server.number());
        prop_assert!(
            (done..=done + unknown).contains(&number),
            "{}",
            format!("{done} increments were done, {unknown} are unknown, and {number} count")
        );
    }
}
