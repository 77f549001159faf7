//! Recovers a log at the start, and distinguishes a torn end from damage.
//!
//! The log ends where no frame with the expected sequence can be read. The end is torn if nothing
//! after it proves that the frame was once complete. Proofs are a later frame (written only after
//! the sync of this one), a seal, and a later segment. With such a proof, the frame is damaged.
//!
//! Recovery reads from the last segment that starts with a snapshot, or from the first one. Earlier
//! segments are left over from a process that ended while it removed them; recovery removes them.
//!
//! A readable frame is not necessarily durable: the sync of the previous process may have been
//! interrupted or may have failed. The following are proven durable:
//! * a frame that is followed by a seal or a later frame: both are written only after its sync
//!   succeeded;
//! * the header of a segment, and the snapshot at its start: the segment got its name only
//!   afterwards;
//! * the name of a segment covered by the lock file's record: the record is written only after the
//!   directory was synced.
//!
//! All other data is rewritten: the last frame in place, a segment without a record as a new file.
//! This includes bytes that a failed sync left clean in the page cache, for which another sync
//! would write nothing. Files and names are synced as well, because they may be a copy that was
//! never synced.

use super::{
    Segment, create,
    files::{Files, SegmentFile},
    format::{
        self, BadHeader, Decoded, FORMAT, FRAME_HEADER, HEADER, Identity, Records, SegmentHeader,
    },
    read_records, record,
};
use crate::storage::{
    disk::DiskError,
    file_names::{SPARES, segment_name, segment_number},
};
use model::{Durable, Write};
use std::io;

/// The contents of a data directory.
pub(super) struct Recovered<H> {
    pub(super) durable: Durable,
    pub(super) next_sequence: u64,
    /// The number of the first segment that is needed.
    pub(super) oldest: u64,
    /// The size of the frame with the snapshot, in bytes.
    pub(super) snapshot_bytes: u64,
    /// The end of the log, where writing continues; `None` if there is no log.
    pub(super) end: Option<End<H>>,
}

/// The end of a log.
pub(super) struct End<H> {
    pub(super) tag: u64,
    /// Whether its last frame is sealed.
    pub(super) sealed: bool,
    pub(super) segment: Segment<H>,
}

/// Reads the log, and repairs its end. Everything returned is durable.
pub(super) fn recover<F: Files>(
    files: &F,
    identity: &Identity,
) -> Result<Recovered<F::File>, DiskError> {
    let dir = files.dir().display().to_string();
    files.fsync_directory().map_err(io_error("sync", &dir))?;
    let names = files.names().map_err(io_error("list", &dir))?;
    let all = segments_among(&names);
    let recorded = read_records(files)?;
    refuse_missing(files, &all, recorded)?;
    refuse_unrecorded(files, &all, recorded)?;
    let first = first_needed(files, &all, identity)?;
    let (gone, numbers) = all.split_at(first);
    let oldest = numbers.first().copied().unwrap_or(1);
    let mut recovered = Recovered {
        durable: Durable::default(),
        next_sequence: 1,
        oldest,
        snapshot_bytes: 0,
        end: None,
    };
    let mut reader = None;
    for (nth, number) in numbers.iter().enumerate() {
        let name = segment_name(*number);
        let file = files.open(&name).map_err(io_error("open", &name))?;
        // The file may be a copy that exists in the page cache only.
        file.fsync().map_err(io_error("sync", &name))?;
        let bytes = files.read(&name).map_err(io_error("read", &name))?;
        let damaged = |offset, what| DiskError::Damaged {
            dir: files.dir().to_owned(),
            file: name.clone(),
            offset,
            what,
        };
        let header = read_header(files, &name, &bytes, identity)?;
        let is_first = reader.is_none();
        let reader = reader.get_or_insert(Reader {
            tag: header.tag,
            durable: Durable::default(),
            next_sequence: if header.starts_with_snapshot {
                header.first_sequence
            } else {
                1
            },
        });
        let is_next = header.number == *number && *number == oldest + nth as u64;
        let is_begun = !is_first || header.starts_with_snapshot || *number == 1;
        if !is_next || !is_begun || header.tag != reader.tag {
            return Err(damaged(
                0,
                "a segment is missing, or belongs to another log",
            ));
        }
        if header.first_sequence != reader.next_sequence {
            return Err(damaged(0, "frames before this segment are missing"));
        }
        if header.size != bytes.len() as u64 {
            return Err(damaged(0, "its size differs from the size in its header"));
        }
        let frames = reader.read(&bytes).map_err(|offset| {
            damaged(
                offset as u64,
                "a write does not follow from those before it",
            )
        })?;
        if header.starts_with_snapshot && reader.durable.snapshot.is_none() {
            // The segment got its name only after its first frame was durable.
            let what = "the snapshot at its start cannot be read";
            return Err(damaged(HEADER as u64, what));
        }
        if header.starts_with_snapshot
            && let Decoded::Frame { next, .. } = format::read_at(&bytes, HEADER, reader.tag)
        {
            recovered.snapshot_bytes = (next - HEADER) as u64;
        }
        let end = frames.end;
        // A valid frame or seal of this or a later sequence lies beyond. It is written only after the sync
        // of everything before it, so this is damage, not a torn end.
        if format::find_from(&bytes, end, reader.tag, reader.next_sequence).is_some() {
            let what = "a frame cannot be read, although its write was complete";
            return Err(damaged(end as u64, what));
        }
        if nth + 1 == numbers.len() {
            let is_recorded = recorded.last() >= *number;
            let last = LastSegment { name, file, header };
            recovered.end = Some(repair_end(
                files,
                last,
                &bytes,
                reader,
                &frames,
                is_recorded,
            )?);
        }
    }
    if let Some(reader) = reader {
        recovered.durable = reader.durable;
        recovered.next_sequence = reader.next_sequence;
    }
    remove_unneeded(files, gone)?;
    Ok(recovered)
}

/// The last segment of a log.
struct LastSegment<H> {
    name: String,
    file: H,
    header: SegmentHeader,
}

/// Makes the last segment durable up to its last frame, and records its name. `is_recorded`: the lock file
/// already has a record of it.
fn repair_end<F: Files>(
    files: &F,
    last: LastSegment<F::File>,
    bytes: &[u8],
    reader: &Reader,
    frames: &Frames,
    is_recorded: bool,
) -> Result<End<F::File>, DiskError> {
    let LastSegment {
        name,
        mut file,
        header,
    } = last;
    let sealed = reader.is_sealed(bytes, frames.end);
    let used = if sealed {
        frames.end + FRAME_HEADER
    } else {
        frames.end
    };
    if is_recorded {
        let proven = match frames.last {
            _ if sealed => used,
            // The snapshot, which the name of the segment proves durable.
            HEADER if header.starts_with_snapshot => used,
            last => last,
        };
        settle(&mut file, bytes, proven, used).map_err(io_error("write", &name))?;
    } else {
        file = renew(files, &name, bytes, used)?;
    }
    record(files, header.number)?;
    Ok(End {
        tag: reader.tag,
        sealed,
        segment: Segment {
            name,
            number: header.number,
            file,
            size: header.size,
            offset: frames.end as u64,
        },
    })
}

/// Removes the segments that are no longer needed, and the spare files, which may be incomplete.
fn remove_unneeded<F: Files>(files: &F, segments: &[u64]) -> Result<(), DiskError> {
    // A spare file may have become a segment during the recovery, so the names are read again.
    let dir = files.dir().display().to_string();
    let names = files.names().map_err(io_error("list", &dir))?;
    let spares = SPARES
        .into_iter()
        .filter(|spare| names.iter().any(|name| name == spare));
    let unneeded = segments.iter().map(|number| segment_name(*number));
    for name in unneeded.chain(spares.map(str::to_owned)) {
        files.remove(&name).map_err(io_error("remove", &name))?;
    }
    Ok(())
}

/// Returns an error if the last segment that the lock file requires is missing.
fn refuse_missing<F: Files>(
    files: &F,
    numbers: &[u64],
    recorded: Records,
) -> Result<(), DiskError> {
    let required = recorded.required();
    if numbers.last().copied().unwrap_or(0) >= required {
        return Ok(());
    }
    // Unreadable records alone prove only that there was a log.
    let file = if recorded.last() == 0 {
        "every log segment".to_owned()
    } else {
        format!("log segment {}", segment_name(required))
    };
    Err(DiskError::Missing {
        dir: files.dir().to_owned(),
        file,
    })
}

/// Returns an error if no record can be read although one was written: before the first frame, and
/// before the second segment. Later segments may then be missing without a trace.
fn refuse_unrecorded<F: Files>(
    files: &F,
    numbers: &[u64],
    recorded: Records,
) -> Result<(), DiskError> {
    if recorded.last() > 0 || numbers.is_empty() {
        return Ok(());
    }
    if let [1] = numbers {
        let name = segment_name(1);
        let bytes = files.read(&name).map_err(io_error("read", &name))?;
        let frames = bytes.get(HEADER..).unwrap_or_default();
        if frames.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
    }
    Err(DiskError::Unrecorded {
        dir: files.dir().to_owned(),
    })
}

/// The index of the last segment that starts with a snapshot, or 0 if none does.
fn first_needed<F: Files>(
    files: &F,
    numbers: &[u64],
    identity: &Identity,
) -> Result<usize, DiskError> {
    for (index, number) in numbers.iter().enumerate().rev() {
        let name = segment_name(*number);
        let bytes = files
            .read_start(&name, HEADER)
            .map_err(io_error("read", &name))?;
        if read_header(files, &name, &bytes, identity)?.starts_with_snapshot {
            return Ok(index);
        }
    }
    Ok(0)
}

/// The numbers of the segments, in ascending order.
fn segments_among(names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    numbers
}

fn read_header<F: Files>(
    files: &F,
    name: &str,
    bytes: &[u8],
    identity: &Identity,
) -> Result<SegmentHeader, DiskError> {
    let dir = || files.dir().to_owned();
    let header = SegmentHeader::decode(bytes).map_err(|bad| match bad {
        BadHeader::Damaged(what) => DiskError::Damaged {
            dir: dir(),
            file: name.to_owned(),
            offset: 0,
            what,
        },
        BadHeader::Format(found) => DiskError::Format {
            file: name.to_owned(),
            found,
            expected: FORMAT,
        },
    })?;
    if header.identity.cluster != identity.cluster {
        return Err(DiskError::OtherCluster {
            dir: dir(),
            found: header.identity.cluster,
            expected: identity.cluster.clone(),
        });
    }
    if header.identity.node != identity.node {
        return Err(DiskError::OtherNode {
            dir: dir(),
            found: header.identity.node,
            expected: identity.node,
        });
    }
    Ok(header)
}

/// The state of reading a log.
struct Reader {
    tag: u64,
    durable: Durable,
    next_sequence: u64,
}

/// The positions of the frames of a segment.
struct Frames {
    /// The start of the last frame; equal to `end` if there is none.
    last: usize,
    end: usize,
}

impl Reader {
    /// Reads the frames of a segment. Returns their positions, or the offset of an invalid frame as
    /// error.
    fn read(&mut self, segment: &[u8]) -> Result<Frames, usize> {
        let mut last = HEADER;
        let mut offset = HEADER;
        while let Decoded::Frame {
            sequence,
            payload,
            next,
        } = format::read_at(segment, offset, self.tag)
        {
            if sequence != self.next_sequence {
                break;
            }
            let writes = format::decode_payload(payload).ok_or(offset)?;
            for write in &writes {
                if !follows(&self.durable, write) {
                    return Err(offset);
                }
                self.durable.apply(write);
            }
            self.next_sequence += 1;
            last = offset;
            offset = next;
        }
        Ok(Frames { last, end: offset })
    }

    /// Whether the seal of the last frame is at `end`.
    fn is_sealed(&self, segment: &[u8], end: usize) -> bool {
        let sequence = self.next_sequence - 1;
        format::read_at(segment, end, self.tag) == Decoded::Seal { sequence }
    }
}

/// Whether a write is consistent with the durable state. Its checksum was valid, so an inconsistent
/// write is the fault of a program, not of a disk.
fn follows(durable: &Durable, write: &Write) -> bool {
    let base = durable.base();
    let last = durable.last_index();
    let kept = match write.truncate_from {
        Some(index) if index <= base.index || index > last => return false,
        Some(index) => index.prev(),
        None => last,
    };
    let mut term = match kept.get() - base.index.get() {
        0 => base.term,
        count => durable.log[count as usize - 1].term,
    };
    if let Some(snapshot) = &write.snapshot {
        if !snapshot.is_sound() || snapshot.last_included_index <= base.index {
            return false;
        }
        term = snapshot.last_included_term;
    }
    let terms_rise = write.append.iter().all(|entry| {
        let rises = entry.term >= term;
        term = entry.term;
        rises
    });
    terms_rise
        && write
            .hard_state
            .is_none_or(|new| new.current_term >= durable.hard_state.current_term)
}

/// Rewrites the bytes that are not proven durable in place, zeroes the rest of a torn frame, and
/// syncs both.
fn settle<H: SegmentFile>(
    file: &mut H,
    segment: &[u8],
    proven: usize,
    used: usize,
) -> io::Result<()> {
    let (kept, rest) = segment.split_at(used.min(segment.len()));
    let torn = rest
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    if proven == used && torn == 0 {
        return Ok(());
    }
    file.write_at(&kept[proven..], proven as u64)?;
    file.write_at(&vec![0; torn], used as u64)?;
    file.fsync()
}

/// Rewrites a segment as a new file, which gets its name once it is durable.
fn renew<F: Files>(
    files: &F,
    name: &str,
    segment: &[u8],
    used: usize,
) -> Result<F::File, DiskError> {
    let spare = SPARES[0];
    let mut file = create(files, spare, segment.len() as u64)?;
    file.write_at(&segment[..used.min(segment.len())], 0)
        .and_then(|()| file.fsync())
        .map_err(io_error("write", spare))?;
    files
        .rename(spare, name)
        .map_err(io_error("create", name))?;
    Ok(file)
}

fn io_error(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> DiskError {
    move |source| DiskError::from_io(action, file, source)
}

#[cfg(test)]
mod tests;
