//! The log on disk: segments of a fixed size, zeroed beforehand, filled with checksummed frames.
//!
//! `docs/storage.md` draws the bytes; `docs/adr/0010-storage.md` says why they are so. A frame
//! holds all writes that one sync makes durable, and the next frame is begun only after that sync
//! returned. So at any moment at most one frame, the last, may be torn. What cannot be read there
//! was never acknowledged and is cut away; what cannot be read anywhere else was, and the log is
//! refused.
//!
//! Lacks, on purpose: compaction (the core has no snapshots yet, so segments are only added),
//! reading while running (the core holds the log in memory), and threads of its own but for the
//! one that zeroes the next segment.

mod files;
mod format;
mod recovery;
#[cfg(test)]
mod tests;

use crate::disk::{Disk, DiskError};
pub(crate) use files::Directory;
use files::{Files, SegmentFile};
use format::{FRAME_HEADER, HEADER, SegmentHeader};
pub(crate) use format::{Identity, MAX_CLUSTER};
use model::{Durable, Write};
use std::{io, sync::Arc, thread};

/// How large a segment is made unless a frame needs more.
pub(crate) const SEGMENT_BYTES: u64 = 16 << 20;

const SPARE: &str = "spare.wal";

/// An open log, at its end.
pub(crate) struct Wal<F: Files> {
    files: Arc<F>,
    identity: Identity,
    tag: u64,
    segment_bytes: u64,
    segment: Segment<F::File>,
    next_sequence: u64,
    /// Whether the last frame is followed by its seal.
    sealed: bool,
    /// The next segment, being zeroed.
    spare: Option<thread::JoinHandle<io::Result<F::File>>>,
    buffer: Vec<u8>,
    failed: bool,
}

/// The segment that is written to.
struct Segment<H> {
    name: String,
    number: u64,
    file: H,
    size: u64,
    /// Where the next frame goes.
    offset: u64,
}

impl<F: Files> Wal<F> {
    /// Opens the log of this server and reads what it holds. Begins one, under the tag, where
    /// there is none.
    ///
    /// # Errors
    /// See [`DiskError`].
    pub(crate) fn open(
        files: F,
        identity: Identity,
        segment_bytes: u64,
        tag: u64,
    ) -> Result<(Self, Durable), DiskError> {
        let files = Arc::new(files);
        let found = recovery::recover(&*files, &identity)?;
        let durable = found.durable;
        let (tag, segment, sealed) = match found.end {
            Some(end) => (end.tag, end.segment, end.sealed),
            None => {
                let file = create(&*files, segment_bytes)?;
                let header = SegmentHeader {
                    identity: identity.clone(),
                    number: 1,
                    first_sequence: found.next_sequence,
                    size: segment_bytes,
                    tag,
                };
                (tag, begin(&*files, file, &header)?, false)
            }
        };
        let mut wal = Self {
            files,
            identity,
            tag,
            segment_bytes,
            segment,
            next_sequence: found.next_sequence,
            sealed,
            spare: None,
            buffer: Vec::new(),
            failed: false,
        };
        wal.prepare_spare();
        Ok((wal, durable))
    }

    /// Has the next segment zeroed while this one is filled.
    fn prepare_spare(&mut self) {
        let files = Arc::clone(&self.files);
        let size = self.segment_bytes;
        let spawned = thread::Builder::new()
            .name("raft-spare".into())
            .spawn(move || files.create_zeroed(SPARE, size));
        // Without a thread to spare the segment is made when it is needed.
        self.spare = spawned.ok();
    }

    fn append(&mut self, writes: &[Write]) -> Result<(), DiskError> {
        if !format::encode_frame(&mut self.buffer, self.tag, self.next_sequence, writes) {
            // Longer than a length can say. Each half is durable before the next begins.
            if writes.len() < 2 {
                let source = io::Error::other("a write of more than 4 GiB");
                return Err(DiskError::of("write", &self.segment.name, source));
            }
            let (first, second) = writes.split_at(writes.len() / 2);
            self.append(first)?;
            return self.append(second);
        }
        let length = self.buffer.len() as u64;
        // Room for a seal is kept, so that the last frame of a segment can have one too.
        if self.segment.offset + length + FRAME_HEADER as u64 > self.segment.size {
            self.roll(length)?;
        }
        let segment = &mut self.segment;
        segment
            .file
            .write_at(&self.buffer, segment.offset)
            .map_err(|source| DiskError::of("write", &segment.name, source))?;
        segment
            .file
            .sync()
            .map_err(|source| DiskError::of("sync", &segment.name, source))?;
        segment.offset += length;
        self.next_sequence += 1;
        self.sealed = false;
        Ok(())
    }

    /// Begins the next segment, with room for a frame of this length.
    fn roll(&mut self, length: u64) -> Result<(), DiskError> {
        let spare = match self.spare.take() {
            Some(thread) => match thread.join() {
                Ok(made) => Some(made.map_err(|source| DiskError::of("create", SPARE, source))?),
                Err(panic) => std::panic::resume_unwind(panic),
            },
            None => None,
        };
        let needed = HEADER as u64 + length + FRAME_HEADER as u64;
        let size = self.segment_bytes.max(needed);
        let file = match spare {
            Some(file) if needed <= self.segment_bytes => file,
            _ => create(&*self.files, size)?,
        };
        let header = SegmentHeader {
            identity: self.identity.clone(),
            number: self.segment.number + 1,
            first_sequence: self.next_sequence,
            size,
            tag: self.tag,
        };
        self.segment = begin(&*self.files, file, &header)?;
        self.prepare_spare();
        Ok(())
    }

    fn seal(&mut self) -> Result<(), DiskError> {
        if self.sealed || self.next_sequence == 1 {
            return Ok(());
        }
        let seal = format::encode_seal(self.tag, self.next_sequence - 1);
        self.segment
            .file
            .write_at(&seal, self.segment.offset)
            .map_err(|source| DiskError::of("write", &self.segment.name, source))?;
        self.sealed = true;
        Ok(())
    }

    fn guarded(
        &mut self,
        action: impl FnOnce(&mut Self) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        if self.failed {
            return Err(DiskError::Failed);
        }
        // Set first: a panic leaves as little known as an error does.
        self.failed = true;
        action(self)?;
        self.failed = false;
        Ok(())
    }
}

impl<F: Files> Disk for Wal<F> {
    fn write(&mut self, writes: &[Write]) -> Result<(), DiskError> {
        if writes.is_empty() {
            return Ok(());
        }
        self.guarded(|wal| wal.append(writes))
    }

    /// Seals the last frame, without a sync of its own: should the frame be damaged later, it
    /// will not be taken for one that was never finished.
    fn rest(&mut self) -> Result<(), DiskError> {
        self.guarded(Self::seal)
    }

    fn close(&mut self) -> Result<(), DiskError> {
        self.guarded(|wal| {
            wal.seal()?;
            wal.segment
                .file
                .sync()
                .map_err(|source| DiskError::of("sync", &wal.segment.name, source))
        })
    }
}

impl<F: Files> Drop for Wal<F> {
    fn drop(&mut self) {
        // The directory is unlocked only when nobody writes to it any more.
        if let Some(spare) = self.spare.take() {
            let _ = spare.join();
        }
    }
}

fn segment_name(number: u64) -> String {
    format!("log-{number:010}.wal")
}

fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("log-")?.strip_suffix(".wal")?;
    number.parse().ok()
}

fn create<F: Files>(files: &F, size: u64) -> Result<F::File, DiskError> {
    files
        .create_zeroed(SPARE, size)
        .map_err(|source| DiskError::of("create", SPARE, source))
}

/// Makes the spare file a segment: it has its name only once its header is durable, so that a
/// segment without a sound header is always damage.
fn begin<F: Files>(
    files: &F,
    file: F::File,
    header: &SegmentHeader,
) -> Result<Segment<F::File>, DiskError> {
    let name = segment_name(header.number);
    file.write_at(&header.encode(), 0)
        .and_then(|()| file.sync())
        .map_err(|source| DiskError::of("write", SPARE, source))?;
    files
        .rename(SPARE, &name)
        .map_err(|source| DiskError::of("create", &name, source))?;
    Ok(Segment {
        name,
        number: header.number,
        file,
        size: header.size,
        offset: HEADER as u64,
    })
}
