//! Disk identities, restarts and empty disks.

use crate::{ACKNOWLEDGED, SECOND, SERVERS, Sent, World, boot, id};
use model::{
    Address, Envelope, Message,
    admission::{
        AdmissionRefusal, DiskId, Event, IdentityMessage, Notice, Record, SILENT_TICKS, Standing,
    },
};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn fresh_servers_admit_one_another_and_restarts_are_admitted_again() {
    let mut world = World::new();
    world.settle();
    assert!(world.all_admit_all());
    for number in [1, 2, 1, 3] {
        world.restart(number);
        assert!(!world.all_admit_all());
        world.settle();
        assert!(world.all_admit_all());
    }
    for number in SERVERS {
        world.restart(number);
    }
    world.settle();
    assert!(world.all_admit_all());
    // No further message is sent.
    let sent = world.sent.len();
    for number in SERVERS {
        for _ in 0..100 {
            world.tick(number);
        }
    }
    assert_eq!(world.sent.len(), sent);
}

#[test]
fn identity_counts_only_once_it_is_durable() {
    let mut world = World::new();
    for place in 0..world.sent.len() {
        world.deliver(place);
    }
    for place in 0..world.sent.len() {
        world.deliver(place);
    }
    assert!(world.servers[&1].saving.is_some());
    assert!(!world.admits(1, 2) && !world.admits(1, 3));
    world.persist(1);
    assert!(world.admits(1, 2) != world.admits(1, 3), "the first of two");
    world.persist(1);
    assert!(world.admits(1, 2) && world.admits(1, 3));
}

/// The driver must never report a table as durable too early: this test shows the consequence.
#[test]
fn identity_reported_durable_too_early_lets_a_lost_disk_count() {
    for lies in [false, true] {
        let mut world = World::new();
        world.lies = lies;
        // The others learn about server 3, and lose power before the record is on their disks.
        for place in 0..world.sent.len() {
            world.deliver(place);
        }
        for place in 0..world.sent.len() {
            world.deliver(place);
        }
        assert_eq!(
            world.admits(1, 3),
            lies,
            "it counts only if it was reported"
        );
        world.restart(1);
        world.restart(2);
        world.sent.clear();
        world.start_empty(3);
        world.settle();
        let counted_both = lies && world.admits(1, 3);
        assert_eq!(counted_both, lies, "two disks of server 3 have counted");
    }
}

#[test]
fn server_with_an_empty_disk_is_refused_and_learns_it() {
    let mut world = World::new();
    world.settle();
    world.wipe(3);
    world.settle();
    for other in [1, 2] {
        assert!(!world.admits(other, 3));
        assert_eq!(world.refusal(other, 3), Some(AdmissionRefusal::OtherDisk));
    }
    assert_eq!(world.suspended(3), Some(AdmissionRefusal::OtherDisk));
    assert!(world.admits(1, 2) && world.admits(2, 1));
    // The same if all servers restart.
    for number in SERVERS {
        world.restart(number);
    }
    world.settle();
    assert_eq!(world.suspended(3), Some(AdmissionRefusal::OtherDisk));
    assert!(world.admits(1, 2) && world.admits(2, 1));
}

#[test]
fn right_disk_counts_again_after_a_start_without_it() {
    let mut world = World::new();
    world.settle();
    let disk = world.servers[&3].disk.clone();
    world.wipe(3);
    world.settle();
    assert!(!world.admits(1, 3));
    world.start(3, disk, 3);
    world.settle();
    assert!(world.all_admit_all());
}

#[test]
fn server_learns_of_a_peers_disk_from_others() {
    let mut world = World::new();
    // Server 2 receives nothing from server 3, and server 1 receives from both.
    let heard = |envelope: &Envelope| {
        !matches!(
            (envelope.from, envelope.to),
            (Address::Node(from), Address::Node(to))
                if [from.get(), to.get()] == [2, 3] || [from.get(), to.get()] == [3, 2]
        )
    };
    let mut place = 0;
    for _ in 0..20 {
        for number in SERVERS {
            world.tick(number);
        }
        while place < world.sent.len() {
            if heard(&world.sent[place].envelope) {
                world.deliver(place);
            }
            place += 1;
            for number in SERVERS {
                world.persist(number);
            }
        }
    }
    assert!(world.servers[&2].disk.table.contains_key(&id(3)));
    // Server 1 is gone, and server 3 returns with an empty disk.
    world.wipe(3);
    world.sent.clear();
    for _ in 0..20 {
        for number in [2, 3] {
            world.tick(number);
        }
        for place in 0..world.sent.len() {
            if heard_by(&world.sent[place].envelope, [2, 3]) {
                world.deliver(place);
                world.persist(2);
                world.persist(3);
            }
        }
    }
    assert!(!world.admits(2, 3));
    assert_eq!(world.suspended(3), Some(AdmissionRefusal::OtherDisk));
}

fn heard_by(envelope: &Envelope, servers: [u64; 2]) -> bool {
    matches!(envelope.to, Address::Node(to) if servers.contains(&to.get()))
}

#[test]
fn restart_at_another_address_counts_once_the_earlier_run_is_silent() {
    let mut world = World::new();
    world.settle();
    // The process at the configured address is gone.
    let old = world.servers[&3].boot;
    let place = world.sent.len();
    world.start_second(3);
    let is_gone = |world: &World, place: usize| world.receiver(&world.sent[place]) == 3;
    let mut place = place;
    for interval in 0..20 {
        for at in [1, 2, 3 + SECOND] {
            world.tick(at);
        }
        for to in [1, 2] {
            world.speak(3 + SECOND, to);
        }
        while place < world.sent.len() {
            if !is_gone(&world, place) {
                world.deliver(place);
            }
            place += 1;
            for at in [1, 2, 3 + SECOND] {
                world.persist(at);
            }
        }
        for other in [1, 2] {
            let is_admitted = world.admits(other, 3 + SECOND);
            assert!(
                is_admitted || interval <= SILENT_TICKS + 1,
                "interval {interval}"
            );
            assert!(
                !is_admitted || interval >= SILENT_TICKS,
                "interval {interval}"
            );
            let is_old = world.servers[&other].admission.is_admitted(id(3), old);
            assert!(is_old || interval >= SILENT_TICKS);
        }
    }
    assert_eq!(world.suspended(3 + SECOND), None);
    assert!(world.servers[&(3 + SECOND)].admission.is_known());
}

/// The response of a run arrives after the admission of its successor.
#[test]
fn late_response_of_an_ended_run_refuses_nobody() {
    let mut world = World::new();
    world.settle();
    let old = world.servers[&3].boot;
    let is_response = |sent: &Sent| {
        sent.from == old
            && matches!(
                sent.envelope.message,
                Message::Identity(IdentityMessage::Response(_))
            )
    };
    let before = world.sent.len();
    let leader = &mut world.servers.get_mut(&1).unwrap().admission;
    leader.note_acknowledged(id(3), Some(ACKNOWLEDGED));
    world.tick(1);
    world.step(1, Event::Doubted(id(3)));
    for place in before..world.sent.len() {
        if world.receiver(&world.sent[place]) == 3 {
            world.deliver(place);
        }
    }
    let late: Vec<_> = (before..world.sent.len())
        .filter(|at| is_response(&world.sent[*at]))
        .collect();
    assert!(!late.is_empty());
    world.restart(3);
    let mut place = world.sent.len() - 2;
    world.notices.clear();
    // In one interval: the successor is admitted, and receives another request.
    for _ in 0..100 {
        world.speak(3, 1);
        while place < world.sent.len() {
            world.deliver(place);
            place += 1;
            world.persist(1);
            for late in &late {
                world.deliver(*late);
            }
        }
    }
    assert!(world.admits(1, 3));
    let refused = world
        .notices
        .iter()
        .find(|(_, notice)| matches!(notice, Notice::Refused(..)));
    assert_eq!(refused, None);
}

#[test]
fn number_with_two_disks_counts_nowhere() {
    let mut world = World::new();
    world.settle();
    // Server 2 is new, and has recorded another disk of server 3 than server 1 has.
    let other = Record {
        disk: DiskId::new(99),
        starts: [(1, boot(9999))].into(),
        earlier: BTreeMap::new(),
        copies: BTreeSet::new(),
        standing: Standing::Trusted,
    };
    let mut disk = world.servers[&2].disk.clone();
    disk.table.insert(id(3), other);
    world.start(2, disk, 2);
    world.settle();
    for at in [1, 2] {
        assert!(!world.admits(at, 3));
        let record = &world.servers[&at].disk.table[&id(3)];
        assert_eq!(record.standing, Standing::TwoDisks);
    }
    assert!(world.suspended(3).is_some());
    assert!(world.admits(1, 2) && world.admits(2, 1));
}
