//! The write-ahead log (WAL): segments of a fixed size, zeroed beforehand, filled with checksummed
//! frames.
//!
//! `docs/storage.md` draws the bytes, and `docs/adr/0010-storage.md` gives the reasons. A frame
//! contains all writes that one sync makes durable, and the next frame is started only after that
//! sync returned. At any time at most one frame, the last, may therefore be torn. If the last frame
//! cannot be read, it was never acknowledged, and recovery truncates it. If any other frame cannot
//! be read, acknowledged data is damaged, and the log is rejected.
//!
//! At a start, the data read may exist in the page cache only: the previous process may have been
//! killed during its sync, or its sync may have failed, after which the pages are clean but the
//! disk is not up to date. [`recovery`] therefore rewrites and syncs all data without proof of a
//! finished sync, before the core receives any of it.
//!
//! A snapshot stands at the start of a segment of its own, together with the term, the vote and the
//! retained part of the log. That segment gets its name only once all of this is durable. From then
//! on no earlier segment is needed, and they are removed. At any time either the old log or the new
//! one can therefore be read, and a snapshot in a named segment is never torn.
//!
//! Deliberate omissions: reads while running (the core keeps the log in memory), and threads other
//! than the one that zeroes the next segment.

mod blocks;
mod files;
mod format;
mod recovery;
#[cfg(test)]
mod tests;

use crate::storage::{
    disk::{Disk, DiskError},
    file_names::{LOCK, SPARES, segment_name},
};
use blocks::Blocks;
use files::SegmentFile;
pub(crate) use files::{Directory, Files};
pub(crate) use format::Identity;
use format::{FRAME_HEADER, HEADER, LargeFrame, Records, SegmentHeader};
use model::{Durable, HardState, Write};
use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
};
use transport::Threads;
#[cfg(test)]
pub(crate) use {format::encode_record, tests::Memory};

/// The free space, in bytes, that spare files leave for the other files of the directory, mainly
/// for the next version of `metadata`.
const RESERVE: u64 = 4 << 20;
/// The maximum capacity of the buffer that is kept between frames, in bytes.
const SPARE_BUFFER: usize = 1 << 20;

/// An open log, positioned at its end.
pub(crate) struct Wal<F: Files> {
    files: Arc<F>,
    threads: Arc<dyn Threads>,
    identity: Identity,
    tag: u64,
    segment_bytes: u64,
    segment: Segment<F::File>,
    next_sequence: u64,
    /// Whether a seal follows the last frame.
    sealed: bool,
    /// The number of the first existing segment.
    oldest: u64,
    /// The term and the vote, as recorded in the log.
    hard_state: HardState,
    /// The size of the frame with the last snapshot, in bytes.
    snapshot_bytes: u64,
    /// The spare files; the first one is used next.
    spares: VecDeque<Spare<F::File>>,
    /// The previous segment, which was full when the current one was started.
    previous: Option<Segment<F::File>>,
    buffer: Blocks,
    failed: bool,
}

/// A spare file for a segment.
struct Spare<H> {
    name: &'static str,
    made: Made<H>,
}

enum Made<H> {
    /// A thread zeroes the file.
    Zeroing(Receiver<io::Result<H>>),
    /// A recycled segment. Its old frames have sequences that lie far back.
    Used(H),
}

/// The segment that is being written.
struct Segment<H> {
    name: String,
    number: u64,
    file: H,
    size: u64,
    /// The position of the next frame.
    offset: u64,
}

impl<F: Files> Wal<F> {
    /// Opens the log of this server and recovers its contents. Creates a log with this tag if there
    /// is none.
    ///
    /// # Errors
    /// See [`DiskError`].
    pub(crate) fn open(
        files: Arc<F>,
        identity: Identity,
        segment_bytes: u64,
        tag: u64,
        threads: Arc<dyn Threads>,
    ) -> Result<(Self, Durable), DiskError> {
        let found = recovery::recover(&*files, &identity)?;
        let durable = found.durable;
        let mut oldest = found.oldest;
        let (tag, segment, sealed) = match found.end {
            Some(end) => (end.tag, end.segment, end.sealed),
            None => {
                let file = create(&*files, SPARES[0], segment_bytes)?;
                let header = SegmentHeader {
                    identity: identity.clone(),
                    number: 1,
                    first_sequence: found.next_sequence,
                    size: segment_bytes,
                    tag,
                    starts_with_snapshot: false,
                };
                oldest = 1;
                (
                    tag,
                    begin(&*files, (SPARES[0], file), &header, None)?,
                    false,
                )
            }
        };
        let mut wal = Self {
            files,
            threads,
            identity,
            tag,
            segment_bytes,
            segment,
            next_sequence: found.next_sequence,
            sealed,
            oldest,
            hard_state: durable.hard_state,
            snapshot_bytes: found.snapshot_bytes,
            spares: VecDeque::new(),
            previous: None,
            buffer: Blocks::default(),
            failed: false,
        };
        wal.prepare_spare();
        Ok((wal, durable))
    }

    /// Starts zeroing the next segment in the background, if there is no spare and enough space.
    /// Otherwise the segment is created when it is needed.
    fn prepare_spare(&mut self) {
        let size = self.segment_bytes;
        if !self.spares.is_empty() || !self.files.has_room(size + RESERVE) {
            return;
        }
        let name = SPARES[0];
        let files = Arc::clone(&self.files);
        let (report, zeroing) = sync_channel(1);
        let job = move || {
            let file = files.create_zeroed(name, size);
            // The receiver of the report may unlock the directory.
            drop(files);
            let _ = report.send(file);
        };
        // If no thread can be spawned, the segment is created when it is needed.
        if self.threads.spawn("raft-spare", Box::new(job)).is_ok() {
            let made = Made::Zeroing(zeroing);
            self.spares.push_back(Spare { name, made });
        }
    }

    /// Makes writes durable. A snapshot starts a segment; the writes before and after it are
    /// appended as usual.
    fn write_all(&mut self, mut writes: &[Write]) -> Result<(), DiskError> {
        while let Some(index) = writes.iter().position(|write| write.snapshot.is_some()) {
            let (before, rest) = writes.split_at(index);
            if !before.is_empty() {
                self.append(before)?;
            }
            self.begin_with_snapshot(&rest[0])?;
            writes = &rest[1..];
        }
        if writes.is_empty() {
            return Ok(());
        }
        self.append(writes)
    }

    fn append(&mut self, writes: &[Write]) -> Result<(), DiskError> {
        self.buffer.begin(self.segment.offset);
        if !format::encode_frame(&mut self.buffer, self.tag, self.next_sequence, writes) {
            // Too long for the length field. The first half is durable before the second is
            // written.
            if writes.len() < 2 {
                let what = "a write of more than 4 GiB";
                return Err(DiskError::TooLarge { what });
            }
            let (first, second) = writes.split_at(writes.len() / 2);
            self.append(first)?;
            return self.append(second);
        }
        let length = self.buffer.len() as u64;
        // Reserves room for a seal, so that the last frame of a segment can have one too.
        if self.segment.offset + length + FRAME_HEADER as u64 > self.segment.size {
            self.roll(length)?;
        }
        let segment = &mut self.segment;
        segment
            .file
            .write_durable(&mut self.buffer, segment.offset)
            .map_err(|source| DiskError::from_io("write", &segment.name, source))?;
        segment.offset += length;
        if self.buffer.room() > SPARE_BUFFER {
            self.buffer = Blocks::default();
        }
        self.next_sequence += 1;
        self.sealed = false;
        let mut votes = writes.iter().filter_map(|write| write.hard_state);
        self.hard_state = votes.next_back().unwrap_or(self.hard_state);
        Ok(())
    }

    /// Starts a segment with a snapshot, which needs no earlier segment, and releases the earlier
    /// ones.
    fn begin_with_snapshot(&mut self, write: &Write) -> Result<(), DiskError> {
        let whole = Write {
            hard_state: Some(write.hard_state.unwrap_or(self.hard_state)),
            truncate_from: None,
            ..write.clone()
        };
        let Some(frame) = LargeFrame::new(self.tag, self.next_sequence, &whole) else {
            let what = "a snapshot of more than 4 GiB";
            return Err(DiskError::TooLarge { what });
        };
        let (spare, size) = self.next_file(frame.size())?;
        let header = self.next_header(size, true);
        let segment = begin(&*self.files, spare, &header, Some(&frame))?;
        let last = std::mem::replace(&mut self.segment, segment);
        self.next_sequence += 1;
        self.sealed = false;
        self.hard_state = whole.hard_state.unwrap_or_default();
        self.snapshot_bytes = frame.size();
        self.release_segments(last)
    }

    /// Removes the segments before the current one, and recycles some of them. `last` is the latest
    /// of them.
    fn release_segments(&mut self, last: Segment<F::File>) -> Result<(), DiskError> {
        let known = self.previous.take().into_iter().chain([last]);
        let mut known: Vec<_> = known.collect();
        for number in self.oldest..self.segment.number {
            let free = SPARES
                .into_iter()
                .filter(|_| self.files.has_room(RESERVE))
                .find(|name| self.spares.iter().all(|spare| spare.name != *name));
            let again = known
                .extract_if(.., |segment| segment.number == number)
                .find(|segment| segment.size == self.segment_bytes);
            let name = segment_name(number);
            if let (Some(segment), Some(spare)) = (again, free) {
                self.files
                    .rename(&name, spare)
                    .map_err(|source| DiskError::from_io("rename", &name, source))?;
                self.spares.push_back(Spare {
                    name: spare,
                    made: Made::Used(segment.file),
                });
            } else {
                // No fsync of the directory: if the name reappears after a crash, the segment precedes the
                // last one that starts with a snapshot, and recovery removes it.
                self.files
                    .remove(&name)
                    .map_err(|source| DiskError::from_io("remove", &name, source))?;
            }
        }
        self.oldest = self.segment.number;
        self.prepare_spare();
        Ok(())
    }

    /// Starts the next segment, with room for a frame of this length.
    fn roll(&mut self, length: u64) -> Result<(), DiskError> {
        let (spare, size) = self.next_file(length)?;
        let header = self.next_header(size, false);
        let next = begin(&*self.files, spare, &header, None)?;
        self.previous = Some(std::mem::replace(&mut self.segment, next));
        self.prepare_spare();
        Ok(())
    }

    /// The file of the next segment with its spare name, with room for a frame of this length, and
    /// its size.
    fn next_file(&mut self, length: u64) -> Result<((&'static str, F::File), u64), DiskError> {
        let needed = HEADER as u64 + length + FRAME_HEADER as u64;
        let size = self.segment_bytes.max(needed);
        let Some(Spare { name, made }) = self.spares.pop_front() else {
            let name = SPARES[0];
            return Ok(((name, create(&*self.files, name, size)?), size));
        };
        let file = match made {
            Made::Zeroing(report) => report
                .recv()
                .unwrap_or_else(|_| Err(io::Error::other("its thread panicked; see the log")))
                .map_err(|source| DiskError::from_io("create", name, source))?,
            Made::Used(file) => file,
        };
        let file = if size == self.segment_bytes {
            file
        } else {
            create(&*self.files, name, size)?
        };
        Ok(((name, file), size))
    }

    fn next_header(&self, size: u64, starts_with_snapshot: bool) -> SegmentHeader {
        SegmentHeader {
            identity: self.identity.clone(),
            number: self.segment.number + 1,
            first_sequence: self.next_sequence,
            size,
            tag: self.tag,
            starts_with_snapshot,
        }
    }

    fn seal(&mut self) -> Result<(), DiskError> {
        if self.sealed || self.next_sequence == 1 {
            return Ok(());
        }
        self.buffer.begin(self.segment.offset);
        let seal = format::encode_seal(self.tag, self.next_sequence - 1);
        self.buffer.extend(&seal);
        self.segment
            .file
            .write(&mut self.buffer, self.segment.offset)
            .map_err(|source| DiskError::from_io("write", &self.segment.name, source))?;
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
        // Set first: after a panic the disk's contents are as unknown as after an error.
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
        self.guarded(|wal| wal.write_all(writes))
    }

    fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes
    }

    /// Seals the last frame, without an additional sync. If the frame is damaged later, recovery
    /// does not mistake it for a torn one.
    fn on_idle(&mut self) -> Result<(), DiskError> {
        self.guarded(Self::seal)
    }

    fn close(&mut self) -> Result<(), DiskError> {
        self.guarded(|wal| {
            wal.seal()?;
            wal.segment
                .file
                .fsync()
                .map_err(|source| DiskError::from_io("sync", &wal.segment.name, source))
        })
    }
}

impl<F: Files> Drop for Wal<F> {
    fn drop(&mut self) {
        // The directory must stay locked until the background thread has finished writing.
        for spare in self.spares.drain(..) {
            if let Made::Zeroing(report) = spare.made {
                let _ = report.recv();
            }
        }
    }
}

fn create<F: Files>(files: &F, name: &str, size: u64) -> Result<F::File, DiskError> {
    files
        .create_zeroed(name, size)
        .map_err(|source| DiskError::from_io("create", name, source))
}

/// Records durably in the lock file that the name of this segment is durable.
fn record<F: Files>(files: &F, number: u64) -> Result<(), DiskError> {
    let offset = read_records(files)?.offset_for(number);
    files
        .write_record(&format::encode_record(number), offset)
        .map_err(|source| DiskError::from_io("write", LOCK, source))
}

fn read_records<F: Files>(files: &F) -> Result<Records, DiskError> {
    let bytes = files.read_record();
    let bytes = bytes.map_err(|source| DiskError::from_io("read", LOCK, source))?;
    Ok(Records::decode(&bytes))
}

/// The number of the last segment that `lock` records; `None` if no record is readable.
pub(crate) fn recorded<F: Files>(files: &F) -> Result<Option<u64>, DiskError> {
    let last = read_records(files)?.last();
    Ok((last > 0).then_some(last))
}

/// Turns a spare file into a segment, with `frame` in it if given. The file gets its name only once
/// its header and that frame are durable, so a segment without them is always damaged. No other
/// frame is written to it before its number is recorded, so the removal of a segment is detected.
fn begin<F: Files>(
    files: &F,
    (spare, mut file): (&str, F::File),
    header: &SegmentHeader,
    frame: Option<&LargeFrame<'_>>,
) -> Result<Segment<F::File>, DiskError> {
    let name = segment_name(header.number);
    let first = HEADER as u64;
    frame
        .map_or(Ok(()), |frame| {
            frame.write(|bytes, offset| file.write(bytes, first + offset))
        })
        .and_then(|()| file.write_at(&header.encode(), 0))
        .and_then(|()| file.fsync())
        .map_err(|source| DiskError::from_io("write", spare, source))?;
    files
        .rename(spare, &name)
        .map_err(|source| DiskError::from_io("create", &name, source))?;
    record(files, header.number)?;
    Ok(Segment {
        name,
        number: header.number,
        file,
        size: header.size,
        offset: first + frame.map_or(0, LargeFrame::size),
    })
}
