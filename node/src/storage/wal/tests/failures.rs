//! Crashes, full disks and failed operations.

use super::{Fault, Memory, SEGMENT, fate, log_of, open, recovered, snapshot, write};
use crate::storage::{
    file_names::SPARES,
    wal::{Directory, Disk, DiskError, RESERVE, files::Files},
};
use model::{Durable, Write};
use proptest::prelude::*;
use std::io;

/// No crash at any operation loses acknowledged data.
#[test]
fn crash_at_every_operation_loses_nothing_acknowledged() {
    let run = |files: &Memory| {
        let mut acknowledged = Durable::default();
        let mut begun = Durable::default();
        if let Ok((mut wal, _)) = open(files.clone()) {
            for number in 0..12 {
                let next = match number {
                    3 | 9 => snapshot(&acknowledged, acknowledged.log.len() - 1),
                    4 => snapshot(&acknowledged, acknowledged.log.len()),
                    _ => Some(write(&acknowledged, number % 3 == 0, number % 2, 2, 400)),
                };
                let next = next.unwrap();
                begun = acknowledged.clone();
                begun.apply(&next);
                if wal.write(std::slice::from_ref(&next)).is_err() {
                    break;
                }
                acknowledged = begun.clone();
                if wal.on_idle().is_err() {
                    break;
                }
            }
        }
        (acknowledged, begun)
    };
    let files = Memory::default();
    run(&files);
    let operations = files.operations();
    assert!(operations > 30, "{operations} operations");
    for operation in 1..=operations {
        let files = Memory::default();
        files.fail_at(operation, Fault::Error(io::ErrorKind::Other));
        let (acknowledged, begun) = run(&files);
        for part in [0, 1, 13, 24, 200, usize::MAX] {
            let durable = recovered(&files.crash(|byte| byte < part)).unwrap();
            assert!(
                durable == acknowledged || durable == begun,
                "operation {operation}, {part} bytes"
            );
        }
    }
}

/// Spare files must not take the last free bytes, which `metadata.new` needs.
#[test]
fn spare_is_prepared_only_if_a_reserve_remains_free() {
    let files = Memory::default();
    for (room, has_spare) in [
        (SEGMENT + RESERVE, true),
        (SEGMENT + RESERVE - 1, false),
        (RESERVE, false),
    ] {
        files.state().room = Some(room);
        drop(open(files.clone()).unwrap());
        assert_eq!(files.has(SPARES[0]), has_spare, "{room} bytes");
    }
    // Segments are created when they are needed, and recycled only if the reserve remains.
    let (mut wal, mut durable) = open(files.clone()).unwrap();
    for (room, has_spare) in [(RESERVE - 1, false), (RESERVE, true)] {
        files.state().room = Some(room);
        for _ in 0..30 {
            let next = write(&durable, false, 0, 1, 500);
            wal.write(std::slice::from_ref(&next)).unwrap();
            durable.apply(&next);
            assert!(!files.has(SPARES[0]));
        }
        let next = snapshot(&durable, durable.log.len()).unwrap();
        wal.write(std::slice::from_ref(&next)).unwrap();
        durable.apply(&next);
        assert_eq!(files.has(SPARES[0]), has_spare, "{room} bytes");
    }
    drop(wal);
    assert_eq!(recovered(&files).unwrap(), durable);
}

#[test]
fn room_of_a_real_directory_is_limited() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::open(dir.path()).unwrap();
    assert!(directory.has_room(0));
    assert!(!directory.has_room(u64::MAX));
}

#[test]
fn disk_full_is_said_and_loses_nothing() {
    let files = Memory::default();
    let (mut wal, mut durable) = open(files.clone()).unwrap();
    files.state().full = true;
    let error = loop {
        let next = write(&durable, false, 0, 1, 500);
        match wal.write(std::slice::from_ref(&next)) {
            Ok(()) => durable.apply(&next),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, DiskError::Full { .. }), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
    // The space of a segment was allocated when it was created.
    assert!(durable.log.len() > 5, "{} entries", durable.log.len());
    let next = write(&durable, false, 0, 1, 1);
    assert!(matches!(wal.write(&[next]), Err(DiskError::Failed)));
    drop(wal);
    assert_eq!(recovered(&files.crash(|_| false)).unwrap(), durable);
}

#[test]
fn disk_that_failed_a_sync_is_never_used_again() {
    let files = Memory::default();
    let (mut wal, durable) = open(files.clone()).unwrap();
    let next = write(&durable, true, 0, 1, 1);
    // The write succeeds, but its sync fails.
    files.fail_at(files.operations() + 2, Fault::Error(io::ErrorKind::Other));
    let failed = wal.write(std::slice::from_ref(&next));
    assert!(matches!(
        failed,
        Err(DiskError::Io {
            action: "write",
            ..
        })
    ));
    files.restart();
    assert!(matches!(
        wal.write(std::slice::from_ref(&next)),
        Err(DiskError::Failed)
    ));
    assert!(matches!(wal.on_idle(), Err(DiskError::Failed)));
    assert!(matches!(wal.close(), Err(DiskError::Failed)));
}

proptest! {
    /// For any writes in any batches and a crash at any byte after the last sync, recovery finds
    /// all synced data, perhaps together with the whole batch in progress.
    #[test]
    fn crashes_at_any_byte_leave_all_that_was_synced(
        rounds in prop::collection::vec(
            (
                prop::collection::vec(
                    prop::collection::vec(
                        (any::<bool>(), 0..4_usize, 0..4_usize, 0..700_usize, 0..6_usize),
                        1..4,
                    ),
                    1..8,
                ),
                fate(),
                any::<bool>(),
            ),
            1..5,
        ),
    ) {
        let mut files = Memory::default();
        let mut durable = Durable::default();
        for (batches, fate, rests) in rounds {
            let (mut wal, found) = open(files.clone()).unwrap();
            prop_assert_eq!(&found, &durable);
            let mut begun = durable.clone();
            // A batch with a snapshot takes several syncs: each part is either complete or absent.
            let mut begun_since = Vec::new();
            for (place, batch) in batches.iter().enumerate() {
                let writes: Vec<Write> = batch
                    .iter()
                    .map(|(vote, removed, added, size, covers)| {
                        let covering = (*covers < 2)
                            .then(|| snapshot(&begun, begun.log.len().saturating_sub(*covers)))
                            .flatten();
                        let next = covering
                            .unwrap_or_else(|| write(&begun, *vote, *removed, *added, *size));
                        begun.apply(&next);
                        begun_since.push(begun.clone());
                        next
                    })
                    .collect();
                if place + 1 == batches.len() {
                    // The write completes, but its sync fails.
                    let second = files.operations() + 2;
                    files.fail_at(second, Fault::Error(io::ErrorKind::Other));
                    prop_assert!(wal.write(&writes).is_err());
                } else {
                    wal.write(&writes).unwrap();
                    durable = begun.clone();
                    begun_since.clear();
                    if rests {
                        wal.on_idle().unwrap();
                    }
                }
            }
            drop(wal);
            files = files.crash(|byte| fate.survives(byte));
            let found = recovered(&files).unwrap();
            prop_assert!(found == durable || begun_since.contains(&found), "{fate:?}");
            durable = found;
        }
    }

    /// Garbage is rejected or truncated, and never causes a panic.
    #[test]
    fn garbage_in_a_segment_never_panics(
        at in 0..SEGMENT as usize,
        garbage in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let (files, _) = log_of(4);
        files.edit(1, |bytes| {
            let end = (at + garbage.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&garbage[..end - at]);
        });
        let _ = recovered(&files);
    }
}
