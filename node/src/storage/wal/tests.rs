//! Tests of the log: crashes at any byte, damage anywhere, and failing disks.

mod directory;
mod failures;
mod log;
mod snapshots;

use super::{
    Disk, DiskError, Identity, Wal,
    blocks::Blocks,
    files::{Files, SegmentFile},
    format::{self, HEADER},
};
use crate::storage::file_names::segment_name;
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
use transport::Environment;

const SEGMENT: u64 = 8192;

/// A directory in memory with separate states of page cache and disk. The end of a process leaves
/// the cache unchanged; a power loss leaves only the disk.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

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

pub(crate) struct Handle {
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
    pub(crate) fn crash(&self, mut survives: impl FnMut(usize) -> bool) -> Self {
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
    let threads = Environment::system().threads;
    let tag = 0x0123_4567_89ab_cdef;
    Wal::open(Arc::new(files), identity(), SEGMENT, tag, threads)
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
    let config = Config::production([NodeId::new(1)].into());
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

/// A log that starts with a snapshot and the next entry, in segment 2, followed by three frames
/// and a seal; its contents; and the boundaries of those frames.
pub(super) fn log_from_snapshot() -> (Memory, Durable, Vec<usize>) {
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

fn frames_in(files: &Memory, number: u64) -> Vec<usize> {
    let bytes = files.bytes(number);
    let tag = u64::from_le_bytes(bytes[48..56].try_into().unwrap());
    let mut offsets = vec![HEADER];
    let mut offset = HEADER;
    while let format::Decoded::Frame { next, .. } = format::read_at(&bytes, offset, tag) {
        offset = next;
        offsets.push(offset);
    }
    offsets
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
