//! Tests of the log: crashes at any byte, damage anywhere, and failing disks.

use super::{
    Directory, Disk, DiskError, Identity, RESERVE, SPARES, Wal,
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

/// A directory in memory with separate states of page cache and disk. The end of a process leaves
/// the cache unchanged; a power loss leaves only the disk.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<State>>);

#[derive(Clone, Default)]
pub(super) struct State {
    /// The names in the cache.
    names: BTreeMap<String, usize>,
    /// The names on the disk.
    synced_names: BTreeMap<String, usize>,
    /// Name changes that the next sync makes durable.
    pending_names: Vec<Vec<(String, Option<usize>)>>,
    /// Whether the directory's own name is durable.
    placed: bool,
    files: Vec<Content>,
    record: Content,
    /// The number of modifying operations. Operations on spares are not counted, because they
    /// happen on another thread.
    operations: usize,
    /// The operation at which the process fails, and how.
    fault: Option<(usize, Fault)>,
    /// Whether no further file can be created.
    full: bool,
    /// The free space in bytes; unlimited if `None`.
    room: Option<u64>,
}

/// How an operation fails. Later operations fail too: the process has ended.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// With an error. A failed sync leaves its bytes unsynced.
    Error(io::ErrorKind),
    /// A sync fails after these bytes reached the disk, and the cache marks all of its bytes as
    /// clean, as Linux does after an I/O error.
    Dropped(Fate),
}

#[derive(Clone, Default)]
struct Content {
    /// The contents in the cache.
    cached: Vec<u8>,
    /// The contents on the disk.
    synced: Vec<u8>,
    /// Writes that were not synced.
    pending: Vec<(u64, Vec<u8>)>,
}

pub(super) struct Handle {
    files: Memory,
    place: usize,
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: u64) {
        self.cached[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        self.pending.push((offset, bytes.to_vec()));
    }

    /// Ends the pending state. The bytes selected by `survives`, counted from `count`, reach the
    /// disk.
    fn settle(&mut self, count: &mut usize, mut survives: impl FnMut(usize) -> bool) {
        for (offset, bytes) in self.pending.drain(..) {
            for (place, byte) in bytes.into_iter().enumerate() {
                if survives(*count) {
                    let at = offset as usize + place;
                    self.synced.resize(self.synced.len().max(at + 1), 0);
                    self.synced[at] = byte;
                }
                *count += 1;
            }
        }
    }
}

impl State {
    /// Counts an operation. Returns its fault, if it fails.
    fn begin(&mut self) -> Result<(), Fault> {
        self.operations += 1;
        match &self.fault {
            Some((operation, fault)) if self.operations == *operation => Err(fault.clone()),
            Some((operation, _)) if self.operations > *operation => {
                Err(Fault::Error(io::ErrorKind::Other))
            }
            _ => Ok(()),
        }
    }

    fn sync(&mut self, content: impl FnOnce(&mut Self) -> &mut Content) -> io::Result<()> {
        match self.begin() {
            Ok(()) => content(self).settle(&mut 0, |_| true),
            Err(Fault::Error(kind)) => return Err(kind.into()),
            Err(Fault::Dropped(fate)) => {
                content(self).settle(&mut 0, |byte| fate.survives(byte));
                return Err(io::ErrorKind::Other.into());
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        bytes: &[u8],
        offset: u64,
        content: impl FnOnce(&mut Self) -> &mut Content,
    ) -> io::Result<()> {
        let result = self.fails();
        // A failed write may still have written its bytes.
        content(self).write(bytes, offset);
        result
    }

    fn change_names(&mut self, changes: Vec<(String, Option<usize>)>) {
        for (name, place) in &changes {
            match place {
                Some(place) => self.names.insert(name.clone(), *place),
                None => self.names.remove(name),
            };
        }
        self.pending_names.push(changes);
    }

    fn fsync_directory(&mut self) -> io::Result<()> {
        match self.begin() {
            Ok(()) => self.settle_names(|_| true),
            Err(Fault::Error(kind)) => return Err(kind.into()),
            Err(Fault::Dropped(fate)) => {
                self.settle_names(|change| fate.survives(change * 512));
                return Err(io::ErrorKind::Other.into());
            }
        }
        Ok(())
    }

    fn settle_names(&mut self, survives: impl Fn(usize) -> bool) {
        for (number, changes) in self.pending_names.drain(..).enumerate() {
            for (name, place) in changes.into_iter().filter(|_| survives(number)) {
                match place {
                    Some(place) => self.synced_names.insert(name, place),
                    None => self.synced_names.remove(&name),
                };
            }
        }
    }

    /// Counts an operation other than a sync.
    fn fails(&mut self) -> io::Result<()> {
        self.begin().map_err(|fault| match fault {
            Fault::Error(kind) => kind.into(),
            Fault::Dropped(_) => io::ErrorKind::Other.into(),
        })
    }
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn fail_at(&self, operation: usize, fault: Fault) {
        self.state().fault = Some((operation, fault));
    }

    /// Clears the fault, so that another process can use the directory. The cache is unchanged.
    pub(super) fn restart(&self) {
        self.state().fault = None;
    }

    pub(super) fn operations(&self) -> usize {
        self.state().operations
    }

    /// Whether the operation with the fault was reached.
    pub(super) fn has_failed(&self) -> bool {
        let state = self.state();
        let fault = state.fault.as_ref();
        fault.is_some_and(|(operation, _)| state.operations >= *operation)
    }

    /// The directory after a power loss. `survives` decides for each unsynced byte whether it
    /// reached the disk. Bytes are counted over all files.
    pub(super) fn crash(&self, mut survives: impl FnMut(usize) -> bool) -> Self {
        let mut state = self.state();
        if !state.placed {
            return Self::default();
        }
        // A name change counts as one sector.
        let names = Vec::from_iter((0..state.pending_names.len()).map(|n| survives(n * 512)));
        let (synced_names, pending) = (state.synced_names.clone(), state.pending_names.clone());
        state.settle_names(|number| names[number]);
        let names = std::mem::replace(&mut state.synced_names, synced_names);
        state.pending_names = pending;
        let mut files = state.files.clone();
        let mut record = state.record.clone();
        let mut count = 0;
        for file in files.iter_mut().chain([&mut record]) {
            file.settle(&mut count, &mut survives);
            file.cached.clone_from(&file.synced);
        }
        let state = State {
            synced_names: names.clone(),
            names,
            placed: true,
            files,
            record,
            ..State::default()
        };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Whether a file with this name exists.
    pub(super) fn has(&self, name: &str) -> bool {
        self.state().names.contains_key(name)
    }

    /// A copy of the directory with the same cache and disk.
    pub(super) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    /// A copy of all files that was never synced.
    pub(super) fn copied(&self) -> Self {
        let state = self.state();
        let unsynced = |content: &Content| Content {
            cached: content.cached.clone(),
            synced: Vec::new(),
            pending: vec![(0, content.cached.clone())],
        };
        let names = state.names.iter();
        let names = names.map(|(name, place)| vec![(name.clone(), Some(*place))]);
        Self(Arc::new(Mutex::new(State {
            names: state.names.clone(),
            pending_names: names.collect(),
            files: state.files.iter().map(unsynced).collect(),
            record: unsynced(&state.record),
            ..State::default()
        })))
    }

    /// Sets the contents of the lock file, durably.
    pub(super) fn set_record(&self, record: &[u8]) {
        self.state().record = Content {
            cached: record.to_vec(),
            synced: record.to_vec(),
            pending: Vec::new(),
        };
    }

    /// Edits the contents of a segment on the disk.
    fn edit(&self, number: u64, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let place = state.names[&segment_name(number)];
        let content = &mut state.files[place];
        edit(&mut content.synced);
        content.cached.clone_from(&content.synced);
    }

    fn bytes(&self, number: u64) -> Vec<u8> {
        self.read(&segment_name(number)).unwrap().to_vec()
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

    fn fsync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.fsync_directory()?;
        state.placed = true;
        Ok(())
    }

    fn read(&self, name: &str) -> io::Result<Blocks> {
        let state = self.state();
        let content = &state.files[state.names[name]];
        let mut bytes = Blocks::zeroed(content.cached.len());
        bytes.copy_from_slice(&content.cached);
        Ok(bytes)
    }

    fn read_start(&self, name: &str, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(name)?.to_vec();
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
        let zeros = vec![0; size as usize];
        state.files.push(Content {
            cached: zeros.clone(),
            synced: zeros,
            pending: Vec::new(),
        });
        state.change_names(vec![(name.to_owned(), Some(place))]);
        let files = self.clone();
        Ok(Handle { files, place })
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.state().room.is_none_or(|room| bytes <= room)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.fails()?;
        let place = state.names[from];
        state.change_names(vec![(from.to_owned(), None), (to.to_owned(), Some(place))]);
        state.fsync_directory()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().change_names(vec![(name.to_owned(), None)]);
        Ok(())
    }

    fn read_record(&self) -> io::Result<Vec<u8>> {
        Ok(self.state().record.cached.clone())
    }

    fn write_record(&self, record: &[u8], offset: usize) -> io::Result<()> {
        let mut state = self.state();
        let length = state.record.cached.len().max(offset + record.len());
        state.record.cached.resize(length, 0);
        state.write(record, offset as u64, |state| &mut state.record)?;
        state.sync(|state| &mut state.record)
    }
}

impl SegmentFile for Handle {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let place = self.place;
        let mut state = self.files.state();
        assert!(offset as usize + bytes.len() <= state.files[place].cached.len());
        state.write(bytes, offset, |state| &mut state.files[place])
    }

    fn fsync(&self) -> io::Result<()> {
        let place = self.place;
        self.files.state().sync(|state| &mut state.files[place])
    }
}

fn identity() -> Identity {
    Identity {
        cluster: "test".into(),
        node: 1,
    }
}

pub(super) fn open<F: Files>(files: F) -> Result<(Wal<F>, Durable), DiskError> {
    Wal::open(files, identity(), SEGMENT, 0x0123_4567_89ab_cdef)
}

pub(super) fn recovered(files: &Memory) -> Result<Durable, DiskError> {
    open(files.clone()).map(|(_, durable)| durable)
}

/// A write that follows the durable state: a new term if `vote` is set, with some entries removed
/// and some added.
pub(super) fn write(
    durable: &Durable,
    vote: bool,
    removed: usize,
    added: usize,
    size: usize,
) -> Write {
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

/// A snapshot of the first `covered` entries of the log; the rest of the log stays. `None` if it
/// would cover nothing new.
pub(super) fn snapshot(durable: &Durable, covered: usize) -> Option<Write> {
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

/// A log that began anew with a snapshot and the next entry, in segment 2, followed by three frames
/// and a seal; its contents; and the boundaries of those frames.
pub(super) fn log_begun_anew() -> (Memory, Durable, Vec<usize>) {
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

/// A sealed log of `frames` frames with one write each, and its contents after each frame.
pub(super) fn log_of(frames: usize) -> (Memory, Vec<Durable>) {
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

/// The boundaries of the frames in the first segment.
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
    let (files, durable, _) = log_begun_anew();
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
    let (files, durable, offsets) = log_begun_anew();
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
fn special_file_in_place_of_one_of_ours_is_refused_with_advice_that_works() {
    for name in ["metadata", "lock", "log-0000000001.wal"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let error = Directory::open(dir.path()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(name), "{text}");
        assert!(text.contains("put it back"), "{text}");
        assert!(text.contains("\"A lost disk\""), "{text}");
        assert!(!text.contains("may write to"), "{text}");
        assert!(!text.contains("remove it"), "{text}");
    }
    for name in ["metadata.new", "spare.wal"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let text = Directory::open(dir.path()).unwrap_err().to_string();
        assert!(text.contains("move it away"), "{text}");
        std::fs::remove_dir(dir.path().join(name)).unwrap();
        Directory::open(dir.path()).unwrap();
    }
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
    // An incomplete spare does not prevent a start.
    std::fs::write(dir.path().join(SPARES[0]), b"half").unwrap();
    let (_, found) = open(Directory::open(dir.path()).unwrap()).unwrap();
    assert_eq!(found, durable);
    // Nor does one if the last segment has no record and is therefore rewritten.
    for spare in SPARES {
        std::fs::write(dir.path().join(spare), b"half").unwrap();
    }
    std::fs::write(dir.path().join("lock"), format::encode_record(1)).unwrap();
    let (_, found) = open(Directory::open(dir.path()).unwrap()).unwrap();
    assert_eq!(found, durable);
}

/// The effect of a crash on unsynced bytes.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// This many bytes reached the disk, from the first one on.
    Prefix(usize),
    /// Each sector reached the disk or did not, in any order.
    Sectors(Vec<bool>),
}

impl Fate {
    pub(super) fn survives(&self, byte: usize) -> bool {
        match self {
            Self::Prefix(bytes) => byte < *bytes,
            Self::Sectors(sectors) => sectors[byte / 512 % sectors.len()],
        }
    }
}

pub(super) fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        (0..3000_usize).prop_map(Fate::Prefix),
        prop::collection::vec(any::<bool>(), 1..9).prop_map(Fate::Sectors),
    ]
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
