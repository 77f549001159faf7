//! Snapshots in the log.

use super::{Content, Memory, log_from_snapshot, log_of, open, recovered, snapshot, write};
use crate::storage::{
    file_names::{SPARES, segment_name},
    wal::{Disk, DiskError, files::Files},
};

#[test]
fn snapshot_takes_the_place_of_all_segments_before_it() {
    let files = Memory::default();
    let (mut wal, mut durable) = open(files.clone()).unwrap();
    for round in 0..6 {
        // Rounds with one segment and with several; one of the segments is too large to be
        // recycled.
        for number in 0..3 + 20 * (round % 2) {
            let size = if number == 9 { 20_000 } else { 300 };
            let next = write(&durable, number % 7 == 0, number % 2, 2, size);
            wal.write(std::slice::from_ref(&next)).unwrap();
            durable.apply(&next);
        }
        let next = snapshot(&durable, durable.log.len() - round).unwrap();
        wal.write(std::slice::from_ref(&next)).unwrap();
        durable.apply(&next);
        assert!(wal.snapshot_bytes() > 0);
        let segments = files.names().unwrap();
        let segments = segments
            .iter()
            .filter(|name| !SPARES.contains(&name.as_str()));
        assert_eq!(segments.count(), 1, "after snapshot {round}");
        // Of several segments, two are kept as spares.
        let second = files.names().unwrap().contains(&SPARES[1].to_owned());
        assert_eq!(second, round > 0, "after snapshot {round}");
        assert_eq!(recovered(&files.crash(|_| false)).unwrap(), durable);
    }
    // Frames in recycled segments are overwritten, and never mistaken for the log.
    for number in 0..40 {
        let next = write(&durable, false, number % 2, 2, 200);
        wal.write(std::slice::from_ref(&next)).unwrap();
        durable.apply(&next);
        assert_eq!(recovered(&files.crash(|_| false)).unwrap(), durable);
    }
}

#[test]
fn snapshot_in_a_batch_keeps_its_place() {
    let files = Memory::default();
    let (mut wal, mut durable) = open(files.clone()).unwrap();
    let mut batch = Vec::new();
    for number in 0..9 {
        let next = match number {
            2 | 5 | 6 => snapshot(&durable, 1),
            _ => Some(write(&durable, number % 3 == 0, 0, 2, 20)),
        };
        let next = next.unwrap();
        durable.apply(&next);
        batch.push(next);
    }
    wal.write(&batch).unwrap();
    assert_eq!(recovered(&files.crash(|_| false)).unwrap(), durable);
}

#[test]
fn segments_left_over_before_a_snapshot_are_removed_whatever_they_hold() {
    let (files, durable, _) = log_from_snapshot();
    // As if the process had ended before it removed the first segment.
    let (old, _) = log_of(5);
    {
        let mut state = files.state();
        let place = state.files.len();
        let bytes: Vec<u8> = old.bytes(1).iter().rev().copied().collect();
        let content = Content {
            cached: bytes.clone(),
            synced: bytes,
            pending: Vec::new(),
        };
        state.files.push(content);
        state.names.insert(segment_name(1), place);
    }
    assert_eq!(recovered(&files).unwrap(), durable);
    assert!(!files.names().unwrap().contains(&segment_name(1)));
    assert_eq!(recovered(&files).unwrap(), durable);
}

#[test]
fn damaged_snapshot_is_refused_and_never_replaced_by_nothing() {
    let (files, durable, offsets) = log_from_snapshot();
    for at in 0..offsets[1] {
        for bit in 0..8 {
            let damaged = files.crash(|_| false);
            damaged.edit(2, |bytes| bytes[at] ^= 1 << bit);
            match recovered(&damaged) {
                Err(error @ DiskError::Damaged { .. }) => {
                    assert!(error.to_string().contains("keep the directory"), "{error}");
                }
                Err(DiskError::Format { .. }) => {}
                // Padding has no meaning.
                Ok(found) => assert!(found == durable && at >= offsets[1] - 7, "byte {at}"),
                Err(error) => panic!("byte {at}, bit {bit}: {error}"),
            }
        }
    }
    for cut in (0..offsets[1] - 8).step_by(7) {
        let torn = files.crash(|_| false);
        torn.edit(2, |bytes| bytes[cut..].fill(0));
        assert!(
            matches!(recovered(&torn), Err(DiskError::Damaged { .. })),
            "cut at {cut}"
        );
    }
    files.remove(&segment_name(2)).unwrap();
    let missing = recovered(&files).unwrap_err();
    assert!(matches!(missing, DiskError::Missing { .. }), "{missing}");
}

#[test]
fn last_frame_behind_a_snapshot_cut_at_every_byte_is_forgotten_whole() {
    let (files, durable, offsets) = log_from_snapshot();
    let mut before = durable.clone();
    before.log.pop();
    for cut in offsets[3]..offsets[4] {
        let crashed = files.crash(|_| false);
        crashed.edit(2, |bytes| bytes[cut..].fill(0));
        let found = recovered(&crashed).unwrap();
        let whole = crashed.bytes(2)[..offsets[4]] == files.bytes(2)[..offsets[4]];
        assert_eq!(
            found,
            if whole { &durable } else { &before }.clone(),
            "cut at {cut}"
        );
    }
}
