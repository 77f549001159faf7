//! Frames and segments.

use super::{Memory, frames_in, log_of, open, recovered, write};
use crate::storage::{
    file_names::{SPARES, segment_name},
    wal::{
        Disk, DiskError,
        blocks::{BLOCK, Blocks},
        files::Files,
        format::{self, FRAME_HEADER, LargeFrame, PIECE},
    },
};
use model::Durable;
use std::io;

/// The boundaries of the frames in the first segment.
fn frames_of(files: &Memory) -> Vec<usize> {
    frames_in(files, 1)
}

#[test]
fn log_reopened_holds_everything() {
    let (files, states) = log_of(20);
    assert_eq!(recovered(&files).unwrap(), states[20]);
}

#[test]
fn last_frame_cut_at_every_byte_is_forgotten_whole() {
    let (files, states) = log_of(5);
    let offsets = frames_of(&files);
    for cut in offsets[4]..offsets[5] {
        let crashed = files.crash(|_| false);
        crashed.edit(1, |bytes| bytes[cut..].fill(0));
        // Trailing bytes of the frame that are zero make no difference.
        let whole = crashed.bytes(1)[..offsets[5]] == files.bytes(1)[..offsets[5]];
        let expected = &states[if whole { 5 } else { 4 }];
        assert_eq!(&recovered(&crashed).unwrap(), expected, "cut at {cut}");
        // The repair is durable: the next recovery finds nothing to repair.
        let rest = &crashed.bytes(1)[offsets[if whole { 5 } else { 4 }]..];
        assert!(rest.iter().all(|byte| *byte == 0), "cut at {cut}");
        assert_eq!(&recovered(&crashed).unwrap(), expected, "cut at {cut}");
    }
}

#[test]
fn log_goes_on_after_a_torn_end() {
    let (files, states) = log_of(5);
    let offsets = frames_of(&files);
    files.edit(1, |bytes| bytes[offsets[5] - 9..].fill(0));
    let (mut wal, mut durable) = open(files.clone()).unwrap();
    assert_eq!(durable, states[4]);
    let next = write(&durable, true, 0, 1, 3);
    wal.write(std::slice::from_ref(&next)).unwrap();
    durable.apply(&next);
    drop(wal);
    assert_eq!(recovered(&files.crash(|_| false)).unwrap(), durable);
}

#[test]
fn bit_flipped_before_the_last_frame_is_refused() {
    let (files, states) = log_of(6);
    let offsets = frames_of(&files);
    for at in 0..offsets[5] {
        for bit in 0..8 {
            let damaged = files.crash(|_| false);
            damaged.edit(1, |bytes| bytes[at] ^= 1 << bit);
            match recovered(&damaged) {
                Err(DiskError::Damaged { .. } | DiskError::Format { .. }) => {}
                // Padding has no meaning.
                Ok(durable) => {
                    assert_eq!(durable, states[6], "byte {at}, bit {bit}");
                    let next = offsets.iter().find(|offset| **offset > at).unwrap();
                    assert!(at >= next - 7, "byte {at}, bit {bit} went unnoticed");
                }
                Err(error) => panic!("byte {at}, bit {bit}: {error}"),
            }
        }
    }
}

#[test]
fn bit_flipped_in_the_last_frame_is_refused_if_it_was_sealed() {
    let (files, states) = log_of(6);
    let offsets = frames_of(&files);
    for at in offsets[5]..offsets[6] {
        let damaged = files.crash(|_| false);
        damaged.edit(1, |bytes| bytes[at] ^= 1);
        match recovered(&damaged) {
            Err(DiskError::Damaged { offset, .. }) => assert_eq!(offset, offsets[5] as u64),
            Ok(durable) => assert!(durable == states[6] && at >= offsets[6] - 7, "byte {at}"),
            Err(error) => panic!("byte {at}: {error}"),
        }
        let unsealed = damaged.crash(|_| false);
        unsealed.edit(1, |bytes| bytes[offsets[6]..][..FRAME_HEADER].fill(0));
        let durable = recovered(&unsealed).unwrap();
        assert!(durable == states[5] || durable == states[6], "byte {at}");
    }
}

#[test]
fn stale_frames_behind_the_end_are_not_taken_for_the_log() {
    let (files, states) = log_of(6);
    let offsets = frames_of(&files);
    // As in a recycled segment: frames of the same log with earlier sequences.
    files.edit(1, |bytes| {
        let stale = bytes[offsets[1]..offsets[3]].to_vec();
        bytes[offsets[6]..][..stale.len()].copy_from_slice(&stale);
    });
    assert_eq!(recovered(&files).unwrap(), states[6]);
}

#[test]
fn segments_follow_one_another_and_grow_for_a_large_write() {
    let files = Memory::default();
    let (mut wal, mut durable) = open(files.clone()).unwrap();
    for number in 0..60 {
        let size = if number == 30 { 50_000 } else { 300 };
        let next = write(&durable, number % 7 == 0, number % 2, 2, size);
        wal.write(std::slice::from_ref(&next)).unwrap();
        wal.on_idle().unwrap();
        durable.apply(&next);
    }
    drop(wal);
    files.remove(SPARES[0]).unwrap();
    let segments = files.names().unwrap().len();
    assert!(segments > 5, "{segments} segments");
    assert_eq!(recovered(&files.crash(|_| false)).unwrap(), durable);
    for number in 1..segments as u64 {
        let missing = files.crash(|_| false);
        missing.remove(&segment_name(number)).unwrap();
        assert!(
            matches!(recovered(&missing), Err(DiskError::Damaged { .. })),
            "without segment {number}"
        );
        let shorter = files.crash(|_| false);
        shorter.edit(number, |bytes| bytes.truncate(bytes.len() - 1));
        assert!(
            matches!(recovered(&shorter), Err(DiskError::Damaged { .. })),
            "with a shorter segment {number}"
        );
    }
}

/// However a large frame is split into pieces, its bytes equal those of the frame made at once.
#[test]
fn large_frame_has_the_bytes_of_any_other() {
    let (tag, sequence) = (0x1234_5678_9abc_def0, 77);
    let sizes = [PIECE, 2 * PIECE].map(|size| size - 90..size + 10);
    for size in sizes.into_iter().flatten().chain([0, 10, 5 * PIECE + 3]) {
        let write = write(&Durable::default(), true, 0, 1, size);
        let mut whole = Blocks::default();
        let of_one = std::slice::from_ref(&write);
        assert!(format::encode_frame(&mut whole, tag, sequence, of_one));
        let frame = LargeFrame::new(tag, sequence, &write).unwrap();
        assert_eq!(frame.size(), whole.len() as u64);
        let mut made = vec![0xee; whole.len()];
        let mut calls = 0;
        let take = |bytes: &mut Blocks, offset: u64| {
            calls += 1;
            let end = offset as usize + bytes.len();
            assert!(offset.is_multiple_of(BLOCK as u64));
            assert!(end == whole.len() || bytes.len().is_multiple_of(BLOCK));
            made[offset as usize..end].copy_from_slice(bytes);
            Ok(())
        };
        frame.write(take).unwrap();
        assert!(made == whole[..], "with a value of {size} bytes");
        assert!(calls > size / PIECE, "{calls} calls for {size} bytes");
        // The whole write fails if any piece fails.
        for failing in 0..calls {
            let mut call = 0;
            let fail = |_: &mut Blocks, _| {
                call += 1;
                if call == failing + 1 {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                Ok(())
            };
            let error = frame.write(fail).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }
}
