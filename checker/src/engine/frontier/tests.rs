use super::*;
use std::collections::HashSet;

fn level(states: u32, threads: usize) -> Level {
    let mut frontier = Frontier::default();
    (0..states).for_each(|number| frontier.push(&[0], &[], 0, number));
    Level::new(frontier, threads)
}

#[test]
fn every_state_of_a_level_is_taken_once() {
    for (states, threads) in [(1, 1), (1, 3), (300, 2), (10_000, 2), (10_001, 3)] {
        let level = level(states, threads);
        let taken = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (level, taken) = (&level, &taken);
                scope.spawn(move || {
                    while let Some(positions) = level.take(thread) {
                        assert!(!positions.is_empty());
                        taken.lock().extend(positions);
                    }
                });
            }
        });
        let mut taken = taken.into_inner();
        taken.sort_unstable();
        assert!(taken.into_iter().eq(0..states as usize));
        assert_eq!(level.into_unexpanded().len(), 0);
    }
}

#[test]
fn states_that_no_thread_took_are_left() {
    let level = level(10_000, 2);
    let mut found: HashSet<u32> = HashSet::new();
    // The second thread finishes its share and takes from the first one's.
    for thread in [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] {
        let positions = level.take(thread).expect("there is more");
        found.extend(level.frontier.numbers(positions));
    }
    let left = level.into_unexpanded();
    found.extend(left.numbers(0..left.len()));
    assert_eq!((found.len(), left.len() > 0), (10_000, true));
}
