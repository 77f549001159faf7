//! Copies of a disk.

use crate::{SECOND, SERVERS, World, id};
use model::admission::{AdmissionRefusal, Notice};
use std::collections::BTreeSet;

#[test]
fn old_copy_is_refused_however_often_it_is_started() {
    for starts in [1, 2, 3, 10] {
        let mut world = World::new();
        world.settle();
        world.copy(3);
        for _ in 0..3 {
            world.restart(3);
            world.settle();
        }
        world.restore(3, starts);
        world.settle();
        for other in [1, 2] {
            assert!(!world.admits(other, 3), "{starts} starts");
            assert_eq!(world.refusal(other, 3), Some(AdmissionRefusal::OldCopy));
        }
        assert_eq!(world.suspended(3), Some(AdmissionRefusal::OldCopy));
    }
}

#[test]
fn copy_beside_the_original_does_not_count_and_learns_it() {
    for has_keys in [false, true] {
        for starts in [1, 3] {
            let mut world = World::new();
            world.has_keys = has_keys;
            world.settle();
            world.start_second(3);
            for _ in 1..starts {
                world.restart(3 + SECOND);
            }
            world.settle();
            assert!(world.all_admit_all(), "the original goes on counting");
            for other in [1, 2] {
                assert!(!world.admits(other, 3 + SECOND));
                assert!(world.servers[&3].admission.is_known());
                // Without keys it gets no response, because its address is not configured.
                let refusal = has_keys.then_some(AdmissionRefusal::Copy);
                assert_eq!(world.refusal(other, 3), refusal);
                assert_eq!(world.suspended(3 + SECOND), refusal);
                assert!(!world.servers[&(3 + SECOND)].admission.is_known());
            }
            // The original may restart.
            world.restart(3);
            world.settle();
            assert!(world.all_admit_all());
            for number in SERVERS {
                assert_eq!(world.suspended(number), None);
            }
        }
    }
}

/// The original is gone for good, and the copy is started again.
#[test]
fn copy_that_was_seen_beside_the_original_never_counts() {
    let mut world = World::new();
    world.settle();
    world.start_second(3);
    world.settle();
    let copy = world.servers.remove(&(3 + SECOND)).unwrap();
    world.servers.insert(3, copy);
    for number in [3, 1, 2, 3, 3] {
        world.restart(number);
        world.settle();
        for other in [1, 2] {
            assert!(!world.admits(other, 3));
            assert_eq!(world.refusal(other, 3), Some(AdmissionRefusal::Copy));
        }
        assert_eq!(world.suspended(3), Some(AdmissionRefusal::Copy));
        assert!(world.admits(1, 2) && world.admits(2, 1));
    }
}

/// Messages for the core prove that the admitted run is alive, even if its responses are lost.
#[test]
fn later_run_waits_while_the_admitted_one_is_active() {
    let mut world = World::new();
    world.settle();
    let original = world.servers[&3].boot;
    world.start_second(3);
    let mut place = world.sent.len() - 4;
    for _ in 0..30 {
        world.tick_with(1, [id(3)].into());
        world.tick(3 + SECOND);
        world.speak(3 + SECOND, 1);
        while place < world.sent.len() {
            if [1, 3 + SECOND].contains(&world.receiver(&world.sent[place])) {
                world.deliver(place);
            }
            place += 1;
            world.persist(1);
            world.persist(3 + SECOND);
        }
    }
    assert!(world.notices.contains(&(1, Notice::Contested(id(3)))));
    assert!(world.servers[&1].admission.is_admitted(id(3), original));
    assert!(!world.admits(1, 3 + SECOND));
}

/// Server 2 cannot reach the original and admits the copy. Server 1 can reach the original.
#[test]
fn third_server_that_admitted_a_copy_clears_nothing_and_is_corrected() {
    let mut world = World::new();
    world.settle();
    world.start_second(3);
    // The copy reaches server 2 only, and the original reaches server 1 only.
    let is_cut = |from: u64, to: u64| {
        let pair = [from.min(to), from.max(to)];
        [[2, 3], [1, 3 + SECOND], [2, 3 + SECOND]].contains(&pair) && pair != [2, 3 + SECOND]
    };
    world.settle_without(|from, to| is_cut(from, to) || [from, to].contains(&1));
    assert!(world.admits(2, 3 + SECOND), "it passes for a restart");
    assert!(world.admits(1, 3));
    world.settle_without(is_cut);
    assert!(world.admits(1, 3), "the original goes on counting");
    assert!(!world.admits(2, 3 + SECOND) && !world.admits(1, 3 + SECOND));
    assert_eq!(world.suspended(3), None);
    world.settle();
    assert!(world.all_admit_all());
    assert_eq!(world.suspended(3), None);
    assert_eq!(world.suspended(3 + SECOND), Some(AdmissionRefusal::Copy));
}

/// Server 2 admitted an old copy, which still responds, before it learned about the later starts.
#[test]
fn old_copy_does_not_turn_the_later_starts_into_copies() {
    let mut world = World::new();
    world.settle();
    world.copy(3);
    let is_cut = |from: u64, to: u64| [from, to].contains(&2);
    for _ in 0..2 {
        world.restart(3);
        world.settle_without(is_cut);
    }
    assert!(world.admits(1, 3));
    world.restore(3, 1);
    world.settle_without(|from, to| [from, to].contains(&1));
    assert!(world.admits(2, 3));
    world.settle();
    for other in [1, 2] {
        assert!(!world.admits(other, 3), "server {other}");
        let record = &world.servers[&other].disk.table[&id(3)];
        assert_eq!(record.copies, BTreeSet::new());
    }
    assert_eq!(world.suspended(3), Some(AdmissionRefusal::OldCopy));
}
