//! Lost entries, and messages that prove nothing.

use crate::{ACKNOWLEDGED, SERVERS, World, boot, id};
use model::{
    AppendEntriesResponse, AppendOutcome, LogIndex, Term,
    admission::{
        AdmissionRefusal, DiskId, EntryAt, Event, IdentityMessage, LogAt, Record, Request,
        Response, Standing, Table,
    },
};
use std::collections::{BTreeMap, BTreeSet};

const fn log_at(term: u64, index: u64, entry: EntryAt) -> LogAt {
    LogAt {
        term: Term::new(term),
        index: LogIndex::new(index),
        entry,
    }
}

/// Without keys, any machine can send a response that makes a leader doubt a follower.
#[test]
fn doubted_follower_is_refused_only_if_its_own_log_lacks_the_entry() {
    let term = |term| EntryAt::Term(Term::new(term));
    for (log, is_lost) in [
        (log_at(5, 10, EntryAt::Missing), true),
        (log_at(5, 10, term(3)), true),
        (log_at(5, 10, term(4)), false),
        (log_at(5, 10, EntryAt::Compacted), false),
        // A later leader may have replaced the entry, and another index was not requested.
        (log_at(6, 10, EntryAt::Missing), false),
        (log_at(5, 11, EntryAt::Missing), false),
    ] {
        let mut world = World::new();
        world.settle();
        let leader = &mut world.servers.get_mut(&1).unwrap().admission;
        leader.note_acknowledged(id(3), Some(ACKNOWLEDGED));
        world.logs.insert(3, log);
        for _ in 0..20 {
            world.step(1, Event::Doubted(id(3)));
        }
        world.settle();
        assert_eq!(world.admits(1, 3), !is_lost, "{log:?}");
        assert_eq!(world.suspended(3).is_some(), is_lost, "{log:?}");
    }
}

#[test]
fn follower_that_lost_entries_is_refused_for_good() {
    let mut world = World::new();
    world.settle();
    let response = |term, outcome| AppendEntriesResponse {
        term: Term::new(term),
        read_round: 0,
        outcome,
    };
    let conflict = |prev, term, index| AppendOutcome::Conflict {
        prev_log_index: LogIndex::new(prev),
        conflict_term: Term::new(term),
        conflict_index: LogIndex::new(index),
    };
    let leader = &mut world.servers.get_mut(&1).unwrap().admission;
    let lost = response(5, conflict(20, 3, 9));
    assert!(
        !leader.contradicts(id(3), &lost),
        "it had acknowledged nothing before this run"
    );
    leader.note_acknowledged(id(3), Some(ACKNOWLEDGED));
    for (response, proves) in [
        (lost.clone(), true),
        (response(5, conflict(20, 0, 0)), true),
        (response(5, conflict(20, 3, 10)), false),
        (response(4, conflict(20, 3, 9)), false),
        (response(6, conflict(20, 3, 9)), false),
        // A conflict after the last acknowledged entry proves nothing; a conflict at that entry is
        // proof.
        (response(5, conflict(11, 3, 10)), false),
        (response(5, conflict(10, 3, 10)), true),
        (response(5, AppendOutcome::StaleTerm), false),
        (
            response(
                5,
                AppendOutcome::Matched {
                    match_index: LogIndex::new(1),
                },
            ),
            false,
        ),
    ] {
        assert_eq!(leader.contradicts(id(3), &response), proves, "{response:?}");
    }
    // The follower's own response decides.
    world.step(1, Event::Doubted(id(3)));
    assert!(world.admits(1, 3));
    world.logs.insert(3, log_at(5, 10, EntryAt::Missing));
    world.settle();
    assert!(!world.admits(1, 3));
    world.restart(3);
    world.restart(2);
    world.settle();
    for at in [1, 2] {
        assert!(!world.admits(at, 3));
    }
    assert_eq!(world.suspended(3), Some(AdmissionRefusal::LostEntries));
    assert!(world.admits(1, 2) && world.admits(2, 1));
}

#[test]
fn strangers_and_flooding_peers_change_and_cost_little() {
    let mut world = World::new();
    world.settle();
    let before = world.servers[&1].admission.clone();
    world.receive(1, 9, boot(5), forged_response(7, Table::new()));
    assert_eq!(world.servers[&1].admission, before);
    world.tick(1);
    let sent = world.sent.len();
    for random in 0..1000 {
        let event = Event::Unadmitted {
            from: id(2),
            boot: boot(1_000_000 + random),
        };
        world.step(1, event);
    }
    assert!(world.sent.len() - sent <= 8);
}

fn forged_response(disk: u128, table: Table) -> IdentityMessage {
    IdentityMessage::Response(Response {
        nonce: 0xdead,
        disk: DiskId::new(disk),
        counter: 1,
        boots: BTreeMap::new(),
        version: u64::MAX,
        table,
        merged: u64::MAX,
        log: Some(log_at(5, 10, EntryAt::Missing)),
    })
}

/// Without keys, any machine can forge the boot of an admitted server, and replay datagrams.
#[test]
fn messages_that_were_not_requested_change_no_record() {
    let mut world = World::new();
    world.settle();
    let tables = |world: &World| SERVERS.map(|at| world.servers[&at].admission.table().clone());
    let before = tables(&world);
    let record = |disk, standing| Record {
        disk: DiskId::new(disk),
        starts: [(1, boot(9999))].into(),
        earlier: BTreeMap::new(),
        copies: BTreeSet::new(),
        standing,
    };
    let request = IdentityMessage::Request(Request {
        nonce: 0xdead,
        version: u64::MAX,
        starts: (0..1000).collect(),
        entry: Some(LogIndex::new(10)),
    });
    let mut forged = vec![request];
    for about in SERVERS {
        for record in [
            record(99, Standing::Trusted),
            record(1, Standing::LostEntries),
        ] {
            // The real disks have the ids of their servers.
            forged.push(forged_response(2, [(id(about), record)].into()));
        }
    }
    forged.push(forged_response(99, Table::new()));
    let leader = &mut world.servers.get_mut(&1).unwrap().admission;
    leader.note_acknowledged(id(2), Some(ACKNOWLEDGED));
    let real = world.servers[&2].boot;
    let repeated = world.sent.len();
    for message in forged {
        for boot in [real, boot(5)] {
            world.step(1, Event::Doubted(id(2)));
            world.receive(1, 2, boot, message.clone());
        }
    }
    for place in 0..repeated {
        world.deliver(place);
    }
    world.settle();
    assert!(world.all_admit_all());
    assert_eq!(SERVERS.map(|number| world.suspended(number)), [None; 3]);
    assert_eq!(tables(&world), before);
}

#[test]
fn forged_boots_do_not_keep_a_restarted_server_out() {
    let mut world = World::new();
    world.settle();
    world.restart(3);
    let mut place = world.sent.len();
    for random in 0..40 {
        world.tick(1);
        world.tick(3);
        world.speak(3, 1);
        while place < world.sent.len() {
            let forged = Event::Unadmitted {
                from: id(3),
                boot: boot(1_000_000 + random),
            };
            world.step(1, forged);
            world.deliver(place);
            world.persist(1);
            place += 1;
        }
    }
    assert!(world.admits(1, 3));
}
