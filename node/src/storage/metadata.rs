//! The file `metadata` in a data directory. It stores the owner of the directory, the voters of the
//! first start, the identity and the starts of the disk, and the records of the peers' disks.
//! `docs/storage.md` draws the bytes.
//!
//! Each update replaces the whole file: write a temporary file, fsync it, rename it, fsync the
//! directory. So a complete version always exists. The file exists before the log does, and each start
//! is durable in it before the first datagram of that start leaves.
//!
//! After the start, only the table of peers changes. [`MetadataWriter`] writes it on background threads, so
//! that no heartbeat waits for the disk.

use crate::{
    Config, DiskError,
    storage::{
        file_names::{METADATA, NEW_METADATA, is_segment},
        wal::{self, Files},
    },
};
use model::{
    NodeId,
    admission::{DiskId, OwnDisk, Table},
    wire::BootId,
};
use rand::{RngExt as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread,
    time::{Duration, Instant},
};
use transport::{Clock, Environment, Threads};

const MAGIC: [u8; 8] = *b"RAFT-MET";
/// The version of the format.
const FORMAT: u32 = 1;
/// The length of magic, format and checksum in bytes.
const HEADER: usize = 16;
/// The number of starts that the file keeps. A peer that recorded an earlier start rejects the disk.
const STARTS: usize = 65_536;

/// Why the metadata of a directory does not permit a start.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The file cannot be read or written, or belongs to another server.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The directory was first started with other voters.
    #[error(
        "data directory {} belongs to a server of a cluster with {}, but this start names {}: start it with the \
         voters of its first start. Voters cannot be changed; to move the data to a cluster with other voters see \
         \"A lost disk\" in docs/deploy.md",
        dir.display(), numbers(stored), numbers(given)
    )]
    Voters {
        /// The directory.
        dir: PathBuf,
        /// The voters of the first start.
        stored: BTreeSet<NodeId>,
        /// The voters of this start.
        given: BTreeSet<NodeId>,
    },
    /// The directory has a log but no metadata.
    #[error(
        "data directory {} has a log but no file `metadata`: an older version wrote it, or the file was removed. \
         Run the version that wrote it, or put the file back. If it is gone, keep the directory and leave this server \
         stopped: see \"A lost disk\" in docs/deploy.md",
        dir.display()
    )]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory has metadata of earlier starts but no log.
    #[error(
        "data directory {} was in use before, but its log is gone, and with it the entries that this server acknowledged. \
         Put the files back; if they are lost, keep the directory and leave this server stopped: see \"A lost disk\" \
         in docs/deploy.md",
        dir.display()
    )]
    LogGone {
        /// The directory.
        dir: PathBuf,
    },
}

fn numbers(voters: &BTreeSet<NodeId>) -> String {
    let all: Vec<_> = voters.iter().map(NodeId::to_string).collect();
    let noun = if all.len() == 1 { "voter" } else { "voters" };
    format!("{noun} {}", all.join(", "))
}

/// The contents of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Contents {
    cluster: String,
    node: u64,
    voters: BTreeSet<NodeId>,
    disk: DiskId,
    starts: BTreeMap<u64, BootId>,
    table: Table,
}

impl Contents {
    fn encode(&self) -> Vec<u8> {
        let body = postcard::to_allocvec(self).expect("all lengths are known before serialization");
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    fn decode(dir: &Path, bytes: &[u8]) -> Result<Self, DiskError> {
        let damaged = |offset, what| DiskError::Damaged {
            dir: dir.to_owned(),
            file: METADATA.to_owned(),
            offset,
            what,
        };
        let (header, body) = bytes
            .split_first_chunk::<HEADER>()
            .ok_or_else(|| damaged(0, "it is too short"))?;
        if header[..8] != MAGIC {
            return Err(damaged(
                0,
                "it does not start with the magic number of metadata",
            ));
        }
        let word = |at: usize| {
            header[at..]
                .first_chunk()
                .map(|four| u32::from_le_bytes(*four))
        };
        match word(8) {
            Some(FORMAT) => {}
            found => {
                return Err(DiskError::Format {
                    file: METADATA.to_owned(),
                    found: found.unwrap_or_default(),
                    expected: FORMAT,
                });
            }
        }
        if word(12) != Some(crc32fast::hash(body)) {
            return Err(damaged(12, "its checksum is wrong"));
        }
        match postcard::take_from_bytes(body) {
            Ok((contents, [])) => Ok(contents),
            _ => Err(damaged(HEADER as u64, "it cannot be decoded")),
        }
    }
}

type Replace = dyn Fn(&[u8]) -> io::Result<()> + Send;

/// The metadata of a data directory that this process has locked.
pub(crate) struct Metadata {
    contents: Contents,
    /// Replaces the file. It keeps the directory open, and thus locked.
    replace: Box<Replace>,
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metadata").field(&self.contents).finish()
    }
}

impl Metadata {
    /// Reads the metadata of a directory. If the directory is new, draws the identity of its disk,
    /// and writes the metadata of a first start.
    pub(crate) fn open<F: Files>(
        files: &Arc<F>,
        config: &Config,
        random: &mut StdRng,
    ) -> Result<Self, MetadataError> {
        let dir = files.dir().to_owned();
        let failed = |action| move |source| DiskError::from_io(action, METADATA, source);
        let replace = {
            let files = Arc::clone(files);
            move |bytes: &[u8]| {
                files.create(NEW_METADATA, bytes)?;
                files.rename(NEW_METADATA, METADATA)
            }
        };
        let names = files.names().map_err(failed("list the directory of"))?;
        let has_log = names.iter().any(|name| is_segment(name));
        let mut voters = config.voters.clone();
        voters.insert(config.id);
        if !names.iter().any(|name| name == METADATA) {
            if has_log {
                return Err(MetadataError::Missing { dir });
            }
            let contents = Contents {
                cluster: config.cluster.clone(),
                node: config.id.get(),
                voters,
                disk: DiskId::new(random.random()),
                starts: BTreeMap::new(),
                table: Table::new(),
            };
            let metadata = Self {
                contents,
                replace: Box::new(replace),
            };
            metadata.write().map_err(failed("write"))?;
            return Ok(metadata);
        }
        let bytes = files.read(METADATA).map_err(failed("read"))?;
        let contents = Contents::decode(&dir, &bytes)?;
        if contents.node != config.id.get() {
            return Err(DiskError::OtherNode {
                dir,
                found: contents.node,
                expected: config.id.get(),
            }
            .into());
        }
        if contents.cluster != config.cluster {
            return Err(DiskError::OtherCluster {
                dir,
                found: contents.cluster,
                expected: config.cluster.clone(),
            }
            .into());
        }
        if contents.voters != voters {
            return Err(MetadataError::Voters {
                dir,
                stored: contents.voters,
                given: voters,
            });
        }
        // A start is stored here after `lock` has a record of the log. With such a record, recovery
        // of the log reports which segment is missing.
        if !contents.starts.is_empty() && wal::recorded(&**files)?.is_none() {
            if has_log {
                return Err(DiskError::Unrecorded { dir }.into());
            }
            return Err(MetadataError::LogGone { dir });
        }
        Ok(Self {
            contents,
            replace: Box::new(replace),
        })
    }

    /// Records a start durably.
    pub(crate) fn begin_start(&mut self, boot: BootId) -> Result<(), DiskError> {
        let starts = &mut self.contents.starts;
        let last = starts.last_key_value().map_or(0, |(counter, _)| *counter);
        starts.insert(last + 1, boot);
        while starts.len() > STARTS {
            starts.pop_first();
        }
        self.write()
            .map_err(|source| DiskError::from_io("write", METADATA, source))
    }

    /// The identity of this disk and its starts.
    pub(crate) fn own_disk(&self) -> OwnDisk {
        OwnDisk {
            disk: self.contents.disk,
            starts: self.contents.starts.clone(),
        }
    }

    /// The recorded disks of the peers.
    pub(crate) fn table(&self) -> &Table {
        &self.contents.table
    }

    fn write(&self) -> io::Result<()> {
        (self.replace)(&self.contents.encode())
    }
}

/// Writes new versions of the table, each on a background thread, one at a time. If several versions
/// are pending, it writes the latest only.
pub(crate) struct MetadataWriter {
    shared: Arc<Shared>,
    threads: Arc<dyn Threads>,
}

struct Shared {
    state: Mutex<State>,
    /// A thread has put the metadata back.
    is_free: Condvar,
    waker: Waker,
    clock: Arc<dyn Clock>,
}

struct State {
    /// `None` while a thread writes it, and for good after a failure.
    metadata: Option<Metadata>,
    next: Option<(u64, Table)>,
    /// Whether a thread has the lease.
    is_leased: bool,
    /// When the write in progress began, or the first attempt to spawn a thread for it.
    writing_since: Option<Instant>,
    report: Option<Result<u64, DiskError>>,
}

/// The exclusive right of one thread to write the metadata.
struct Lease {
    shared: Arc<Shared>,
    /// `None` after a failure.
    metadata: Option<Metadata>,
    /// Whether the thread runs. False if it could not be spawned.
    is_started: bool,
}

impl MetadataWriter {
    /// Takes over the metadata. Each report calls `waker`.
    pub(crate) fn new(metadata: Metadata, waker: Waker, environment: &Environment) -> Self {
        let state = State {
            metadata: Some(metadata),
            next: None,
            is_leased: false,
            writing_since: None,
            report: None,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                is_free: Condvar::new(),
                waker,
                clock: Arc::clone(&environment.clock),
            }),
            threads: Arc::clone(&environment.threads),
        }
    }

    /// Queues a version of the table.
    pub(crate) fn save(&self, version: u64, table: Table) {
        self.shared.lock().next = Some((version, table));
        self.begin();
    }

    /// Starts a thread that writes the queued version, unless one writes already.
    fn begin(&self) {
        let mut state = self.shared.lock();
        if state.next.is_none() || state.metadata.is_none() {
            return;
        }
        let is_retry = state.writing_since.is_some();
        state
            .writing_since
            .get_or_insert_with(|| self.shared.clock.now());
        state.is_leased = true;
        let lease = Lease {
            shared: Arc::clone(&self.shared),
            metadata: state.metadata.take(),
            is_started: false,
        };
        drop(state);
        // If no thread can be spawned, the lease ends, and the next call for a report tries again.
        let job = Box::new(move || lease.work());
        if let Err(error) = self.threads.spawn("raft-metadata", job)
            && !is_retry
        {
            tracing::warn!(%error, "cannot spawn a thread to write the metadata; retrying");
        }
    }

    /// How long the write in progress has lasted; zero if there is none.
    pub(crate) fn busy_for(&self, now: Instant) -> Duration {
        let since = self.shared.lock().writing_since;
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// The latest version that has become durable since the last call, or the error of the write.
    pub(crate) fn take_report(&self) -> Option<Result<u64, DiskError>> {
        let mut state = self.shared.lock();
        let report = state.report.take();
        let is_waiting = state.next.is_some();
        drop(state);
        if is_waiting {
            self.begin();
        }
        report
    }
}

impl Drop for MetadataWriter {
    /// Waits for the thread. After this call, this process writes nothing to the directory.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.next = None;
        while state.is_leased {
            let waited = self.shared.is_free.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        // The thread may hold the shared state a moment longer, but no longer the directory.
        state.metadata = None;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Writes the queued versions until there is none.
    fn work(mut self) {
        self.is_started = true;
        while let Some(metadata) = &mut self.metadata {
            let mut state = self.shared.lock();
            let Some((version, table)) = state.next.take() else {
                return;
            };
            state.writing_since = Some(self.shared.clock.now());
            drop(state);
            metadata.contents.table = table;
            let written = metadata
                .write()
                .map(|()| version)
                .map_err(|source| DiskError::from_io("write", METADATA, source));
            if written.is_err() {
                // After a failed write the contents of the file are unknown: see `DiskError`.
                self.metadata = None;
            }
            self.shared.lock().report = Some(written);
            self.shared.waker.wake_by_ref();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.metadata = self.metadata.take();
        state.is_leased = false;
        let mut has_news = false;
        if self.is_started {
            state.writing_since = None;
            // A version was queued when this thread was about to end.
            has_news = state.next.is_some();
        }
        if thread::panicking() {
            // The contents of the file are unknown: see `DiskError`.
            state.metadata = None;
            let source = io::Error::other("its thread panicked; see the log");
            state.report = Some(Err(DiskError::from_io("write", METADATA, source)));
            has_news = true;
        }
        drop(state);
        self.shared.is_free.notify_all();
        // A lease without a thread wakes nothing: the retry waits for the next turn of a timer.
        if has_news {
            self.shared.waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests;
