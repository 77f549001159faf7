//! Reads a log whole, and tells a torn end from damage.
//!
//! The end of the log is where no frame of the expected sequence can be read. It is a torn end if
//! nothing after it proves that the frame was once finished: neither a later frame (begun only
//! after the sync of this one) nor a seal, nor a later segment. With such proof it is damage.
//!
//! Reading begins with the last segment that begins anew, or with the first of all. Segments before
//! it are left over from a process that ended while it removed them, and are removed.
//!
//! A sound frame was read, but it is not durable for that reason: the sync of the process before may
//! not have finished, or may have failed. These are proven durable:
//! * a frame with a seal or a later frame behind it: either is written only after its sync succeeded;
//! * the header of a segment, and the snapshot that it begins with: it has its name only since then;
//! * the name of a segment that the lock file's record covers: it is written only after the directory
//!   was synced.
//!
//! Whatever else was read is written again: the last frame in place, a segment without a record as a
//! new file. That includes bytes that a failed sync left clean in the cache, where another sync
//! finds nothing to do. Files and names are synced as well, for they may be a copy that never was.

use super::{
    LOCK, SPARES, Segment, create,
    files::{Files, SegmentFile},
    format::{self, BadHeader, FORMAT, FRAME_HEADER, Found, HEADER, Identity, SegmentHeader},
    record, segment_name, segment_number,
};
use crate::disk::DiskError;
use model::{Durable, Write};
use std::io;

/// What a directory holds.
pub(super) struct Recovered<H> {
    pub(super) durable: Durable,
    pub(super) next_sequence: u64,
    /// The first segment that is needed.
    pub(super) oldest: u64,
    /// How many bytes the snapshot takes, with what followed it at first.
    pub(super) snapshot_bytes: u64,
    /// Where to go on, if there is a log.
    pub(super) end: Option<End<H>>,
}

/// Where a log ends.
pub(super) struct End<H> {
    pub(super) tag: u64,
    /// Whether its last frame has its seal.
    pub(super) sealed: bool,
    pub(super) segment: Segment<H>,
}

/// Reads the log, and makes its end clean. All that is returned is durable.
pub(super) fn recover<F: Files>(
    files: &F,
    identity: &Identity,
) -> Result<Recovered<F::File>, DiskError> {
    let dir = files.dir().display().to_string();
    files.sync_names().map_err(io_error("sync", &dir))?;
    let names = files.names().map_err(io_error("list", &dir))?;
    let all = segments_among(&names);
    let recorded = files.read_record().map_err(io_error("read", LOCK))?;
    let recorded = format::decode_record(&recorded);
    refuse_missing(files, &all, recorded)?;
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
    for (place, number) in numbers.iter().enumerate() {
        let name = segment_name(*number);
        let mut file = files.open(&name).map_err(io_error("open", &name))?;
        file.sync().map_err(io_error("sync", &name))?;
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
            next_sequence: if header.begins_anew {
                header.first_sequence
            } else {
                1
            },
        });
        let is_next = header.number == *number && *number == oldest + place as u64;
        let is_begun = !is_first || header.begins_anew || *number == 1;
        if !is_next || !is_begun || header.tag != reader.tag {
            return Err(damaged(0, "a segment is missing, or is not of this log"));
        }
        if header.first_sequence != reader.next_sequence {
            return Err(damaged(0, "frames before this segment are missing"));
        }
        if header.size != bytes.len() as u64 {
            return Err(damaged(0, "its size is not the one it was made with"));
        }
        let frames = reader
            .read(&bytes)
            .map_err(|offset| damaged(offset as u64, "a write cannot follow those before it"))?;
        if header.begins_anew && reader.durable.snapshot.is_none() {
            // It had no name before its first frame was durable.
            let what = "the snapshot that it begins with cannot be read";
            return Err(damaged(HEADER as u64, what));
        }
        if header.begins_anew
            && let Found::Frame { next, .. } = format::read_at(&bytes, HEADER, reader.tag)
        {
            recovered.snapshot_bytes = (next - HEADER) as u64;
        }
        let end = frames.end;
        if format::find_from(&bytes, end, reader.tag, reader.next_sequence).is_some() {
            let what = "a frame cannot be read, though it was finished";
            return Err(damaged(end as u64, what));
        }
        if place + 1 == numbers.len() {
            let sealed = reader.is_sealed(&bytes, end);
            let used = if sealed { end + FRAME_HEADER } else { end };
            if recorded.is_none_or(|recorded| recorded < *number) {
                file = renew(files, &name, &bytes, used)?;
            } else {
                let proven = match frames.last {
                    _ if sealed => used,
                    // The snapshot, which is proven by the segment's name.
                    HEADER if header.begins_anew => used,
                    last => last,
                };
                settle(&mut file, &bytes, proven, used).map_err(io_error("write", &name))?;
            }
            record(files, *number)?;
            recovered.end = Some(End {
                tag: reader.tag,
                sealed,
                segment: Segment {
                    name,
                    number: *number,
                    file,
                    size: header.size,
                    offset: end as u64,
                },
            });
        }
    }
    if let Some(reader) = reader {
        recovered.durable = reader.durable;
        recovered.next_sequence = reader.next_sequence;
    }
    // Spares may not be whole. One may have become a segment since `names` was read.
    let names = files.names().map_err(io_error("list", &dir))?;
    let spares = SPARES
        .into_iter()
        .filter(|spare| names.iter().any(|name| name == spare));
    let gone = gone.iter().map(|number| segment_name(*number));
    for name in gone.chain(spares.map(str::to_owned)) {
        files.remove(&name).map_err(io_error("remove", &name))?;
    }
    Ok(recovered)
}

/// Whether the last segment that the lock file names is there, or a later one.
fn refuse_missing<F: Files>(
    files: &F,
    numbers: &[u64],
    recorded: Option<u64>,
) -> Result<(), DiskError> {
    let last = numbers.last().copied();
    if recorded.is_none_or(|recorded| last.is_some_and(|last| last >= recorded)) {
        return Ok(());
    }
    // Of an unreadable record only that there was a log is known.
    let file = recorded.filter(|number| *number > 0).map_or_else(
        || "every log segment".to_owned(),
        |number| format!("log segment {}", segment_name(number)),
    );
    Err(DiskError::Missing {
        dir: files.dir().to_owned(),
        file,
    })
}

/// The place of the last segment that needs none before it; of the first if none says so.
fn first_needed<F: Files>(
    files: &F,
    numbers: &[u64],
    identity: &Identity,
) -> Result<usize, DiskError> {
    for (place, number) in numbers.iter().enumerate().rev() {
        let name = segment_name(*number);
        let bytes = files
            .read_start(&name, HEADER)
            .map_err(io_error("read", &name))?;
        if read_header(files, &name, &bytes, identity)?.begins_anew {
            return Ok(place);
        }
    }
    Ok(0)
}

/// The numbers of the segments, in order.
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

/// What was read so far.
struct Reader {
    tag: u64,
    durable: Durable,
    next_sequence: u64,
}

/// Where the frames of a segment are.
struct Frames {
    /// Where the last one begins; their end if there is none.
    last: usize,
    end: usize,
}

impl Reader {
    /// Reads the frames of a segment. Returns where they are, or the offset of one that makes no
    /// sense.
    fn read(&mut self, segment: &[u8]) -> Result<Frames, usize> {
        let mut last = HEADER;
        let mut offset = HEADER;
        while let Found::Frame {
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
        format::read_at(segment, end, self.tag) == Found::Seal { sequence }
    }
}

/// Whether a write can come after what is durable already. The checksum held, so anything else is
/// the work of a program, not of a disk.
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

/// Writes what is not proven durable again, with the same bytes in the same place, zeroes what is left
/// of an unfinished frame, and syncs both.
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
    file.sync()
}

/// Writes a segment again as a new file, which takes its name once it is durable.
fn renew<F: Files>(
    files: &F,
    name: &str,
    segment: &[u8],
    used: usize,
) -> Result<F::File, DiskError> {
    let spare = SPARES[0];
    let mut file = create(files, spare, segment.len() as u64)?;
    file.write_at(&segment[..used.min(segment.len())], 0)
        .and_then(|()| file.sync())
        .map_err(io_error("write", spare))?;
    files
        .rename(spare, name)
        .map_err(io_error("create", name))?;
    Ok(file)
}

fn io_error(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> DiskError {
    move |source| DiskError::of(action, file, source)
}
