//! Data that the core has seen is never lost. The tests kill processes at every operation, fail
//! syncs and drop their bytes, and cut the power at any time, including during recovery.

use crate::storage::disk::Disk as _;
use crate::storage::file_names::{SPARES, segment_name};
use crate::storage::wal::{
    DiskError, Wal,
    blocks::BLOCK,
    files::Files as _,
    format::{RECORDS, encode_record},
    tests::{
        Fate, Fault, Memory, fate, log_from_snapshot, log_of, open, recovered, snapshot, write,
    },
};
use model::{Durable, Write};
use proptest::prelude::*;
use std::io;

/// The server's process is killed.
const KILLED: Fault = Fault::Error(io::ErrorKind::Other);
/// No unsynced byte reaches the disk.
const NOTHING: Fate = Fate::Prefix(0);
/// All unsynced bytes reach the disk.
const ALL: Fate = Fate::Prefix(usize::MAX);

/// A server, and its core's knowledge of the disk.
struct Server {
    files: Memory,
    /// The state that the core saw last, or that was reported durable to it.
    seen: Durable,
    /// Later states that recovery may find instead, because their writes were started since.
    begun: Vec<Durable>,
}

impl Server {
    fn new() -> Self {
        Self {
            files: Memory::default(),
            seen: Durable::default(),
            begun: Vec::new(),
        }
    }

    fn copy(&self) -> Self {
        Self {
            files: self.files.copy(),
            seen: self.seen.clone(),
            begun: self.begun.clone(),
        }
    }

    /// Makes an operation fail: the nth from now, counted from 1.
    fn fail_at(&self, operation: usize, fault: Fault) {
        self.files
            .fail_at(self.files.operations() + operation, fault);
    }

    /// Starts the server, and checks the state that its core sees. `None` if it fails as intended.
    fn start(&mut self, scenario: &str) -> Option<Wal<Memory>> {
        match open(self.files.clone()) {
            Ok((wal, found)) => {
                assert!(
                    found == self.seen || self.begun.contains(&found),
                    "{scenario}: found {found:?}, but the core saw {:?}",
                    self.seen
                );
                self.seen = found;
                self.begun.clear();
                Some(wal)
            }
            Err(error) => {
                assert!(self.files.has_failed(), "{scenario}: {error}");
                None
            }
        }
    }

    /// Writes a batch. Returns whether it was reported durable to the core.
    fn write(&mut self, wal: &mut Wal<Memory>, batch: &[Write]) -> bool {
        let mut state = self.seen.clone();
        for write in batch {
            state.apply(write);
            self.begun.push(state.clone());
        }
        let durable = wal.write(batch).is_ok();
        if durable {
            self.seen = state;
            self.begun.clear();
        }
        durable
    }

    fn lose_power(&mut self, fate: &Fate) {
        self.files = self.files.crash(|byte| fate.survives(byte));
    }

    /// Starts the server twice without faults, with a power loss in between.
    fn expect_to_last(&mut self, scenario: &str) {
        self.files.restart();
        let wal = self.start(scenario);
        drop(wal.expect("nothing fails"));
        self.lose_power(&NOTHING);
        let wal = self.start(scenario);
        drop(wal.expect("nothing fails"));
    }
}

/// One write to a log with earlier writes.
fn next_write(server: &Server, is_vote: bool) -> Write {
    let entries = usize::from(!is_vote);
    write(&server.seen, is_vote, 0, entries, 40)
}

/// A server with some writes, whose process ends with this fault in the sync of another write.
fn ended_in_a_sync(is_vote: bool, fault: Fault) -> Server {
    let mut server = Server::new();
    let mut wal = server.start("first start").unwrap();
    for number in 0..4 {
        let next = write(&server.seen, number == 0, 0, 1, 40);
        assert!(server.write(&mut wal, &[next]));
    }
    let next = next_write(&server, is_vote);
    // The write completes, but its sync fails.
    server.fail_at(2, fault);
    assert!(!server.write(&mut wal, &[next]));
    drop(wal);
    server.files.restart();
    server
}

/// After the process was killed, the write is in the page cache, and the next process reads it
/// there. Its core acknowledges the write without writing it again, and the write survives a power
/// loss.
#[test]
fn write_found_in_the_cache_alone_is_durable_before_the_core_sees_it() {
    for is_vote in [false, true] {
        for fault in [KILLED, Fault::Dropped(NOTHING)] {
            let mut server = ended_in_a_sync(is_vote, fault.clone());
            let scenario = format!("vote: {is_vote}, {fault:?}");
            let unsynced = server.begun[0].clone();
            drop(server.start(&scenario).unwrap());
            assert_eq!(server.seen, unsynced, "{scenario}: the cache has it");
            server.lose_power(&NOTHING);
            drop(server.start(&scenario).unwrap());
            assert_eq!(server.seen, unsynced, "{scenario}");
        }
    }
}

/// A write that is not in the page cache either is never seen.
#[test]
fn write_lost_before_the_next_start_is_never_seen() {
    for is_vote in [false, true] {
        for fault in [KILLED, Fault::Dropped(NOTHING)] {
            let mut server = ended_in_a_sync(is_vote, fault);
            let before = server.seen.clone();
            server.lose_power(&NOTHING);
            server.expect_to_last("lost at once");
            assert_eq!(server.seen, before);
        }
    }
}

/// A failed recovery passes nothing to the core, and the next recovery repeats all of it.
#[test]
fn recovery_whose_sync_fails_is_done_again_whole() {
    let mut server = ended_in_a_sync(false, Fault::Dropped(NOTHING));
    let mut failed = 0;
    for operation in 1.. {
        server.fail_at(operation, Fault::Dropped(NOTHING));
        let opened = server.start("with a failing sync").is_some();
        server.files.restart();
        if opened {
            break;
        }
        failed += 1;
    }
    assert!(failed >= 6, "{failed} operations can fail");
    server.expect_to_last("after failing syncs");
    assert_eq!(server.seen.log.len(), 5);
}

/// The sync of the directory fails, so the name of the snapshot's segment is only in the page
/// cache.
#[test]
fn snapshot_whose_name_was_never_synced_is_durable_before_the_core_sees_it() {
    for fault in [KILLED, Fault::Dropped(NOTHING)] {
        let mut server = Server::new();
        let mut wal = server.start("first start").unwrap();
        for _ in 0..4 {
            let next = write(&server.seen, false, 0, 1, 40);
            assert!(server.write(&mut wal, &[next]));
        }
        let next = snapshot(&server.seen, 3).unwrap();
        // The operations: frame, header, sync, rename, and the directory's sync.
        server.fail_at(5, fault);
        assert!(!server.write(&mut wal, &[next]));
        drop(wal);
        server.expect_to_last("a name that was not synced");
        assert!(server.seen.snapshot.is_some(), "its name was in the cache");
    }
}

/// The batches of a short life: votes, entries, a full segment, snapshots.
fn batch(server: &Server, number: usize) -> Vec<Write> {
    let seen = &server.seen;
    if number % 4 == 3
        && let Some(snapshot) = snapshot(seen, seen.log.len().saturating_sub(1))
    {
        return vec![snapshot];
    }
    let size = [30, 900, 2_500][number % 3];
    let first = write(seen, number.is_multiple_of(2), number % 2, 1, size);
    if number % 5 != 4 {
        return vec![first];
    }
    let mut after = seen.clone();
    after.apply(&first);
    vec![first, write(&after, false, 0, 2, 20)]
}

/// Writes these batches until one fails.
fn live(server: &mut Server, mut wal: Wal<Memory>, batches: std::ops::Range<usize>) {
    for number in batches {
        let batch = batch(server, number);
        let sealed = number % 3 != 1;
        if !server.write(&mut wal, &batch) || (sealed && wal.on_idle().is_err()) {
            return;
        }
    }
}

/// A first life that ends at each of its operations, in each way. A second life that ends at each
/// operation of its recovery and soon after, by the end of its process or by a power loss.
#[test]
fn second_crash_at_any_moment_of_the_recovery_loses_nothing_seen() {
    let whole = {
        let mut server = Server::new();
        let wal = server.start("first start").unwrap();
        live(&mut server, wal, 0..9);
        server.files.operations()
    };
    assert!(whole > 50, "{whole} operations");
    let half = Fate::Sectors(vec![true, false]);
    let mut scenarios = 0;
    for first in 1..=whole {
        for fault in [
            KILLED,
            Fault::Dropped(NOTHING),
            Fault::Dropped(half.clone()),
        ] {
            let mut server = Server::new();
            server.fail_at(first, fault.clone());
            if let Some(wal) = server.start("first start") {
                live(&mut server, wal, 0..9);
            }
            server.files.restart();
            for second in 1..=12 {
                for again in [KILLED, Fault::Dropped(NOTHING)] {
                    let mut server = server.copy();
                    server.fail_at(second, again.clone());
                    let scenario = format!("{first} {fault:?}, then {second} {again:?}");
                    if let Some(wal) = server.start(&scenario) {
                        live(&mut server, wal, 9..12);
                    }
                    server.files.restart();
                    for fate in [None, Some(&NOTHING), Some(&ALL), Some(&half)] {
                        let mut server = server.copy();
                        if let Some(fate) = fate {
                            server.lose_power(fate);
                        }
                        server.expect_to_last(&format!("{scenario}, power: {fate:?}"));
                        scenarios += 1;
                    }
                }
            }
        }
    }
    assert!(scenarios > 10_000, "{scenarios} scenarios");
}

#[test]
fn only_segment_that_was_removed_is_missed() {
    for (files, number) in [(log_of(3).0, 1), (log_from_snapshot().0, 2)] {
        files.remove(&segment_name(number)).unwrap();
        assert!(files.has(SPARES[0]), "the spare is there");
        for _ in 0..2 {
            let error = recovered(&files).unwrap_err();
            assert!(matches!(error, DiskError::Missing { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(&segment_name(number)), "{text}");
        }
        // A damaged record still proves that there was a log.
        for length in [1, 8, 23, 24] {
            files.set_record(&[b"x", &encode_record(number)[1..length]].concat());
            let error = recovered(&files).unwrap_err();
            assert!(matches!(error, DiskError::Missing { .. }), "{error}");
        }
    }
}

#[test]
fn last_of_several_segments_that_was_removed_is_missed() {
    let mut server = Server::new();
    let mut wal = server.start("first start").unwrap();
    while !server.files.has(&segment_name(3)) {
        let next = write(&server.seen, false, 0, 1, 900);
        assert!(server.write(&mut wal, &[next]));
    }
    drop(wal);
    server.files.remove(&segment_name(3)).unwrap();
    let error = recovered(&server.files).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("log-0000000003.wal is missing"), "{text}");
    server.files.remove(&segment_name(2)).unwrap();
    assert!(recovered(&server.files).is_err());
}

#[test]
fn copy_of_a_directory_that_nobody_synced_is_durable_once_the_server_started() {
    let mut server = Server::new();
    let mut wal = server.start("first start").unwrap();
    while !server.files.has(&segment_name(4)) {
        let next = write(&server.seen, false, 0, 1, 900);
        assert!(server.write(&mut wal, &[next]));
    }
    drop(wal);
    server.files = server.files.copied();
    server.expect_to_last("a copy");
}

/// Without a readable record, a missing last segment would not be noticed.
#[test]
fn log_without_its_record_is_refused() {
    let two = log_from_snapshot().0;
    for files in [log_of(6).0, log_of(1).0, two] {
        for record in [&b""[..], b"RAFT-END", &encode_record(0), &[0; RECORDS]] {
            files.set_record(record);
            for _ in 0..2 {
                let error = recovered(&files).unwrap_err();
                assert!(matches!(error, DiskError::Unrecorded { .. }), "{error}");
            }
        }
    }
    // A torn record proves that the segment after the other record exists.
    let (files, states) = log_of(6);
    let mut records = vec![0; RECORDS];
    records[..24].copy_from_slice(&encode_record(1));
    records[BLOCK] = 1;
    files.set_record(&records);
    let text = recovered(&files).unwrap_err().to_string();
    assert!(text.contains("log-0000000002.wal is missing"), "{text}");
    files.set_record(&encode_record(1));
    assert_eq!(recovered(&files).unwrap(), states[6]);
}

/// A crash during a start without any earlier write leaves a usable directory, even if the record
/// is torn.
#[test]
fn crash_at_any_operation_of_the_first_start_leaves_a_usable_directory() {
    let torn = (1..28).map(Fate::Prefix).chain([NOTHING, ALL]);
    let torn = Vec::from_iter(torn);
    let whole = {
        let mut server = Server::new();
        drop(server.start("first start").unwrap());
        server.files.operations()
    };
    for operation in 1..=whole {
        for fate in &torn {
            for fault in [KILLED, Fault::Dropped(fate.clone())] {
                let mut server = Server::new();
                server.fail_at(operation, fault.clone());
                let scenario = format!("{operation} {fault:?}, {fate:?}");
                assert!(server.start(&scenario).is_none(), "{scenario}");
                server.files.restart();
                for is_powered in [true, false] {
                    let mut server = server.copy();
                    if !is_powered {
                        server.lose_power(fate);
                    }
                    server.expect_to_last(&scenario);
                }
            }
        }
    }
}

/// A crash while the record of a new segment is written leaves the record of the segment before.
#[test]
fn torn_record_of_a_new_segment_is_no_loss() {
    for last in 2..5 {
        for kept in 0..24 {
            let mut server = Server::new();
            let mut wal = server.start("first start").unwrap();
            // The last operations of a new segment are the write and the sync of its record. A
            // write of the log takes two operations.
            loop {
                let mut copy = server.copy();
                let (mut trial, _) = open(copy.files.clone()).unwrap();
                let next = write(&server.seen, false, 0, 1, 900);
                let before = copy.files.operations();
                assert!(copy.write(&mut trial, std::slice::from_ref(&next)));
                drop(trial);
                if copy.files.has(&segment_name(last)) {
                    let sync_of_record = copy.files.operations() - before - 2;
                    server.fail_at(sync_of_record, Fault::Dropped(Fate::Prefix(kept)));
                    assert!(!server.write(&mut wal, &[next]));
                    break;
                }
                assert!(server.write(&mut wal, &[next]));
            }
            drop(wal);
            let scenario = format!("segment {last}, {kept} bytes");
            assert!(server.files.has(&segment_name(last)), "{scenario}");
            server.lose_power(&NOTHING);
            server.expect_to_last(&scenario);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any sequence of lives, each with any batches and an end at any operation, perhaps followed
    /// by a power loss that keeps any subset of the unsynced bytes.
    #[test]
    fn any_crashes_one_after_another_lose_nothing_seen(
        lives in prop::collection::vec(
            (
                prop::collection::vec(
                    prop::collection::vec(
                        (any::<bool>(), 0..4_usize, 0..4_usize, 0..1500_usize, 0..6_usize),
                        1..4,
                    ),
                    0..6,
                ),
                any::<bool>(),
                prop::option::of((1..40_usize, prop::option::of(fate()))),
                prop::option::of(fate()),
            ),
            1..9,
        ),
    ) {
        let mut server = Server::new();
        for (batches, seals, end, power) in lives {
            if let Some((operation, dropped)) = end {
                server.fail_at(operation, dropped.map_or(KILLED, Fault::Dropped));
            }
            if let Some(mut wal) = server.start("a life") {
                for shapes in batches {
                    let mut state = server.seen.clone();
                    let batch: Vec<Write> = shapes
                        .into_iter()
                        .map(|(vote, removed, added, size, covers)| {
                            let covering = (covers < 2)
                                .then(|| snapshot(&state, state.log.len().saturating_sub(covers)))
                                .flatten();
                            let next = covering
                                .unwrap_or_else(|| write(&state, vote, removed, added, size));
                            state.apply(&next);
                            next
                        })
                        .collect();
                    if !server.write(&mut wal, &batch) || (seals && wal.on_idle().is_err()) {
                        break;
                    }
                }
            }
            server.files.restart();
            if let Some(fate) = power {
                server.lose_power(&fate);
            }
        }
        server.expect_to_last("at last");
    }
}
