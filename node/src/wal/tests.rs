//! The log against crashes at any byte, damage anywhere, and disks that refuse.

use super::{
    Directory, Disk, DiskError, Identity, SPARES, Wal,
    blocks::{BLOCK, Blocks},
    files::{Files, SegmentFile},
    format::{self, FRAME_HEADER, HEADER, LargeFrame, PIECE},
    segment_name,
};
use model::{
    Config, Durable, Entry, HardState, LogIndex, NodeId, Payload, SessionId, Snapshot, Store,
    Write, WriteId,
    store::{self, Command, Condition, Operation},
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

const SEGMENT: u64 = 8192;

/// A directory in memory that knows what was synced, and fails when told to.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    names: BTreeMap<String, usize>,
    files: Vec<Content>,
    /// Operations that change something, spares left aside: they happen on another thread.
    operations: usize,
    /// The operation that fails, and with what.
    fault: Option<(usize, io::ErrorKind)>,
    /// Whether there is no room for another file.
    full: bool,
}

#[derive(Clone, Default)]
struct Content {
    synced: Vec<u8>,
    /// Written, but not synced.
    pending: Vec<(u64, Vec<u8>)>,
}

struct Handle {
    files: Memory,
    place: usize,
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn fail_at(&self, operation: usize, kind: io::ErrorKind) {
        self.state().fault = Some((operation, kind));
    }

    fn operations(&self) -> usize {
        self.state().operations
    }

    fn count(&self) -> io::Result<()> {
        let mut state = self.state();
        state.operations += 1;
        match state.fault {
            Some((operation, kind)) if state.operations >= operation => Err(kind.into()),
            _ => Ok(()),
        }
    }

    /// What is found after a crash, when `survives` says of each byte written but not synced
    /// whether it had reached the disk. Bytes are counted over all files.
    fn crash(&self, mut survives: impl FnMut(usize) -> bool) -> Self {
        let state = self.state();
        let mut files = state.files.clone();
        let mut count = 0;
        for file in &mut files {
            for (offset, bytes) in file.pending.drain(..) {
                for (place, byte) in bytes.into_iter().enumerate() {
                    if survives(count) {
                        file.synced[offset as usize + place] = byte;
                    }
                    count += 1;
                }
            }
        }
        let state = State {
            names: state.names.clone(),
            files,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Changes what is on the disk of a segment.
    fn edit(&self, number: u64, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let place = state.names[&segment_name(number)];
        edit(&mut state.files[place].synced);
    }

    fn bytes(&self, number: u64) -> Vec<u8> {
        self.read(&segment_name(number)).unwrap()
    }
}

impl Files for Memory {
    type File = Handle;

    fn dir(&self) -> &Path {
        Path::new("memory")
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let state = self.state();
        let content = &state.files[state.names[name]];
        let mut bytes = content.synced.clone();
        for (offset, written) in &content.pending {
            bytes[*offset as usize..][..written.len()].copy_from_slice(written);
        }
        Ok(bytes)
    }

    fn read_start(&self, name: &str, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(name)?;
        bytes.truncate(length);
        Ok(bytes)
    }

    fn open(&self, name: &str) -> io::Result<Handle> {
        let place = self.state().names[name];
        let files = self.clone();
        Ok(Handle { files, place })
    }

    fn create_zeroed(&self, name: &str, size: u64) -> io::Result<Handle> {
        let mut state = self.state();
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let place = state.files.len();
        state.files.push(Content {
            synced: vec![0; size as usize],
            pending: Vec::new(),
        });
        state.names.insert(name.to_owned(), place);
        let files = self.clone();
        Ok(Handle { files, place })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.count()?;
        let mut state = self.state();
        let place = state.names.remove(from).unwrap();
        state.names.insert(to.to_owned(), place);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().names.remove(name);
        Ok(())
    }
}

impl SegmentFile for Handle {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let result = self.files.count();
        // A write that fails may still have written.
        let mut state = self.files.state();
        let content = &mut state.files[self.place];
        assert!(offset as usize + bytes.len() <= content.synced.len());
        content.pending.push((offset, bytes.to_vec()));
        result
    }

    fn sync(&self) -> io::Result<()> {
        self.files.count()?;
        let mut state = self.files.state();
        let content = &mut state.files[self.place];
        for (offset, bytes) in std::mem::take(&mut content.pending) {
            content.synced[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }
}

fn identity() -> Identity {
    Identity {
        cluster: "test".into(),
        node: 1,
    }
}

fn open<F: Files>(files: F) -> Result<(Wal<F>, Durable), DiskError> {
    Wal::open(files, identity(), SEGMENT, 0x0123_4567_89ab_cdef)
}

fn recovered(files: &Memory) -> Result<Durable, DiskError> {
    open(files.clone()).map(|(_, durable)| durable)
}

/// A write that follows what is durable: a new term, if `vote`; some entries less, some more.
fn write(durable: &Durable, vote: bool, removed: usize, added: usize, size: usize) -> Write {
    let term = durable.hard_state.current_term;
    let term = if vote { term.next() } else { term };
    let last = durable.log.len();
    let removed = removed.min(last);
    let entry = Entry {
        term,
        payload: Payload::Command(Command::from(store::Write {
            quota: u64::MAX,
            session: SessionId::new(1),
            sequence: last as u64,
            acknowledged: 0,
            operation: Operation::Put {
                key: vec![b'k'; 3],
                value: vec![b'v'; size].into(),
                condition: Condition::Always,
            },
        })),
    };
    Write {
        id: WriteId::new(1),
        hard_state: vote.then_some(HardState {
            current_term: term,
            voted_for: Some(NodeId::new(1)),
        }),
        snapshot: None,
        truncate_from: (removed > 0).then(|| {
            let kept = (last - removed) as u64;
            durable.base().index.plus(kept).next()
        }),
        append: vec![entry; added],
    }
}

/// A snapshot of what is durable up to so many entries of the log; the rest of it stays. `None` if
/// there is nothing new to put into one.
fn snapshot(durable: &Durable, covered: usize) -> Option<Write> {
    let covered = covered.min(durable.log.len());
    let last = covered.checked_sub(1)?;
    let config = Config::new([NodeId::new(1)].into());
    let mut store = match &durable.snapshot {
        Some(snapshot) => snapshot.store.clone(),
        None => Store::default(),
    };
    for entry in &durable.log[..covered] {
        let opens = Payload::Command(Command::OpenSession {
            capacity: 9,
            window: 0,
        });
        let is_first = store.last_applied() == LogIndex::ZERO;
        store.apply(if is_first { &opens } else { &entry.payload }, &config);
    }
    Some(Write {
        id: WriteId::new(1),
        hard_state: None,
        truncate_from: None,
        snapshot: Some(Snapshot {
            last_included_index: durable.base().index.plus(covered as u64),
            last_included_term: durable.log[last].term,
            store,
        }),
        append: durable.log[covered..].to_vec(),
    })
}

/// A log that began anew with a snapshot and the entry after it, in segment 2, and has three frames
/// more there, sealed; what it holds, and where those frames begin and end.
fn log_begun_anew() -> (Memory, Durable, Vec<usize>) {
    let files = Memory::default();
    let (mut wal, mut durable) = open(files.clone()).unwrap();
    for number in 0..8 {
        let next = match number {
            4 => snapshot(&durable, durable.log.len() - 1).unwrap(),
            _ => write(&durable, number == 0, 0, 1, 11),
        };
        wal.write(std::slice::from_ref(&next)).unwrap();
        durable.apply(&next);
    }
    wal.close().unwrap();
    let offsets = frames_in(&files, 2);
    assert_eq!(offsets.len(), 5);
    (files, durable, offsets)
}

/// A log of so many frames, each of one write, sealed; and what it holds after each.
fn log_of(frames: usize) -> (Memory, Vec<Durable>) {
    let files = Memory::default();
    let (mut wal, mut durable) = open(files.clone()).unwrap();
    let mut states = vec![durable.clone()];
    for number in 0..frames {
        let next = write(&durable, number % 3 == 0, number % 2, 1 + number % 3, 11);
        wal.write(std::slice::from_ref(&next)).unwrap();
        durable.apply(&next);
        states.push(durable.clone());
    }
    wal.close().unwrap();
    (files, states)
}

/// Where the frames of the first segment begin, and where they end.
fn frames_of(files: &Memory) -> Vec<usize> {
    frames_in(files, 1)
}

fn frames_in(files: &Memory, number: u64) -> Vec<usize> {
    let bytes = files.bytes(number);
    let tag = u64::from_le_bytes(bytes[48..56].try_into().unwrap());
    let mut offsets = vec![HEADER];
    let mut offset = HEADER;
    while let format::Found::Frame { next, .. } = format::read_at(&bytes, offset, tag) {
        offset = next;
        offsets.push(offset);
    }
    offsets
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
        // Bytes of the frame that are zero anyway make no difference.
        let whole = crashed.bytes(1)[..offsets[5]] == files.bytes(1)[..offsets[5]];
        let expected = &states[if whole { 5 } else { 4 }];
        assert_eq!(&recovered(&crashed).unwrap(), expected, "cut at {cut}");
        // And durably so: the next one finds nothing left to mend.
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
                // Padding means nothing.
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
    // As in a segment that was used before: frames of the same log, of earlier sequences.
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
        wal.rest().unwrap();
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

/// However it is cut, a large frame is what it would be if it were made at once.
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
        // It has failed if one of its pieces has, whatever becomes of the others.
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

#[test]
fn snapshot_takes_the_place_of_all_segments_before_it() {
    let files = Memory::default();
    let (mut wal, mut durable) = open(files.clone()).unwrap();
    for round in 0..6 {
        // Of one segment, and of several; one of them too large to be used again.
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
        // Of several, two are kept.
        let second = files.names().unwrap().contains(&SPARES[1].to_owned());
        assert_eq!(second, round > 0, "after snapshot {round}");
        assert_eq!(recovered(&files.crash(|_| false)).unwrap(), durable);
    }
    // What was used before is written over, and never taken for the log.
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
    let (files, durable, _) = log_begun_anew();
    // As if the process had ended before it removed the first.
    let (old, _) = log_of(5);
    {
        let mut state = files.state();
        let place = state.files.len();
        let content = Content {
            synced: old.bytes(1).iter().rev().copied().collect(),
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
    let (files, durable, offsets) = log_begun_anew();
    for at in 0..offsets[1] {
        for bit in 0..8 {
            let damaged = files.crash(|_| false);
            damaged.edit(2, |bytes| bytes[at] ^= 1 << bit);
            match recovered(&damaged) {
                Err(error @ DiskError::Damaged { .. }) => {
                    assert!(error.to_string().contains("wipe the directory"), "{error}");
                }
                Err(DiskError::Format { .. }) => {}
                // Padding means nothing.
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
    assert_eq!(recovered(&files).unwrap(), Durable::default());
}

#[test]
fn last_frame_behind_a_snapshot_cut_at_every_byte_is_forgotten_whole() {
    let (files, durable, offsets) = log_begun_anew();
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

/// Whatever the operation at which the process dies: what was acknowledged is there.
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
                if wal.rest().is_err() {
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
        files.fail_at(operation, io::ErrorKind::Other);
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
    // Room within a segment was taken when it was made.
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
    // The write succeeds, its sync does not.
    files.fail_at(files.operations() + 2, io::ErrorKind::Other);
    let failed = wal.write(std::slice::from_ref(&next));
    assert!(matches!(
        failed,
        Err(DiskError::Io {
            action: "write",
            ..
        })
    ));
    files.fail_at(usize::MAX, io::ErrorKind::Other);
    assert!(matches!(
        wal.write(std::slice::from_ref(&next)),
        Err(DiskError::Failed)
    ));
    assert!(matches!(wal.rest(), Err(DiskError::Failed)));
    assert!(matches!(wal.close(), Err(DiskError::Failed)));
}

#[test]
fn directory_of_another_server_cluster_or_format_is_refused() {
    let (files, _) = log_of(1);
    let with = |cluster: &str, node| {
        let identity = Identity {
            cluster: cluster.into(),
            node,
        };
        Wal::open(files.clone(), identity, SEGMENT, 1).map(|_| ())
    };
    let node = with("test", 2).unwrap_err();
    assert!(matches!(
        node,
        DiskError::OtherNode {
            found: 1,
            expected: 2,
            ..
        }
    ));
    let cluster = with("other", 1).unwrap_err();
    assert!(matches!(cluster, DiskError::OtherCluster { .. }));
    assert!(cluster.to_string().contains("\"test\""), "{cluster}");
    files.edit(1, |bytes| bytes[8] = 9);
    assert!(matches!(
        with("test", 1),
        Err(DiskError::Format { found: 9, .. })
    ));
}

#[test]
fn directory_in_use_is_refused_until_it_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er");
    let (wal, _) = open(Directory::open(&path).unwrap()).unwrap();
    let error = Directory::open(&path).unwrap_err();
    assert!(matches!(error, DiskError::InUse { .. }), "{error}");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    drop(wal);
    open(Directory::open(&path).unwrap()).unwrap();
}

#[test]
fn file_in_place_of_the_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Directory::open(file.path()).unwrap_err();
    assert!(matches!(error, DiskError::Unusable { .. }), "{error}");
}

#[test]
fn real_files_hold_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut durable = Durable::default();
    for _ in 0..3 {
        let (mut wal, found) = open(Directory::open(dir.path()).unwrap()).unwrap();
        assert_eq!(found, durable);
        for number in 0..10 {
            let next = write(&durable, number % 3 == 0, number % 2, 2, 400);
            wal.write(std::slice::from_ref(&next)).unwrap();
            durable.apply(&next);
        }
    }
    assert!(dir.path().join(segment_name(2)).exists());
    // A spare that was not finished is no obstacle.
    std::fs::write(dir.path().join(SPARES[0]), b"half").unwrap();
    let (_, found) = open(Directory::open(dir.path()).unwrap()).unwrap();
    assert_eq!(found, durable);
}

/// How a crash treats what was not synced.
#[derive(Clone, Debug)]
enum Fate {
    /// The first so many bytes reached the disk.
    Prefix(usize),
    /// Each sector did or did not, in no order.
    Sectors(Vec<bool>),
}

impl Fate {
    fn survives(&self, byte: usize) -> bool {
        match self {
            Self::Prefix(bytes) => byte < *bytes,
            Self::Sectors(sectors) => sectors[byte / 512 % sectors.len()],
        }
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        (0..3000_usize).prop_map(Fate::Prefix),
        prop::collection::vec(any::<bool>(), 1..9).prop_map(Fate::Sectors),
    ]
}

proptest! {
    /// Any writes in any batches, and crashes at any byte after the last sync: what is found is
    /// everything synced, or that and the whole batch under way.
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
            // A batch with a snapshot in it takes several syncs: each part is whole or not there.
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
                    // Written, but its sync is never done.
                    let second = files.operations() + 2;
                    files.fail_at(second, io::ErrorKind::Other);
                    prop_assert!(wal.write(&writes).is_err());
                } else {
                    wal.write(&writes).unwrap();
                    durable = begun.clone();
                    begun_since.clear();
                    if rests {
                        wal.rest().unwrap();
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

    /// Bytes of no meaning are refused or cut, never a panic.
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
