//! Reads a log whole, and tells a torn end from damage.
//!
//! The end of the log is where no frame of the expected sequence can be read. It is a torn end if
//! nothing after it proves that the frame was once finished: neither a later frame (begun only
//! after the sync of this one) nor a seal, nor a later segment. With such proof it is damage.
//!
//! Reading begins with the last segment that begins anew, or with the first of all. Segments before
//! it are left over from a process that ended while it removed them, and are removed.

use super::{
    SPARES, Segment,
    files::{Files, SegmentFile},
    format::{self, BadHeader, FORMAT, FRAME_HEADER, Found, HEADER, Identity, SegmentHeader},
    segment_name, segment_number,
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

/// Reads the log, and makes its end clean, durably.
pub(super) fn recover<F: Files>(
    files: &F,
    identity: &Identity,
) -> Result<Recovered<F::File>, DiskError> {
    let all = segments_of(files)?;
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
        let end = reader
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
        if format::find_from(&bytes, end, reader.tag, reader.next_sequence).is_some() {
            let what = "a frame cannot be read, though it was finished";
            return Err(damaged(end as u64, what));
        }
        if place + 1 == numbers.len() {
            let mut file = files.open(&name).map_err(io_error("open", &name))?;
            let sealed = reader.is_sealed(&bytes, end);
            let used = if sealed { end + FRAME_HEADER } else { end };
            clean(&mut file, &bytes, used).map_err(io_error("write", &name))?;
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
    for number in gone {
        let name = segment_name(*number);
        files.remove(&name).map_err(io_error("remove", &name))?;
    }
    Ok(recovered)
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

/// The numbers of the segments, in order. Spares left over are removed: one may not be whole.
fn segments_of<F: Files>(files: &F) -> Result<Vec<u64>, DiskError> {
    let dir = files.dir().display().to_string();
    let names = files.names().map_err(io_error("list", &dir))?;
    for spare in SPARES {
        if names.iter().any(|name| name == spare) {
            files.remove(spare).map_err(io_error("remove", spare))?;
        }
    }
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| segment_number(name))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
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

impl Reader {
    /// Reads the frames of a segment. Returns where they end, or the offset of one that makes no
    /// sense.
    fn read(&mut self, segment: &[u8]) -> Result<usize, usize> {
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
            offset = next;
        }
        Ok(offset)
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

/// Zeroes what is left of an unfinished frame.
fn clean<H: SegmentFile>(file: &mut H, segment: &[u8], used: usize) -> io::Result<()> {
    let rest = &segment[used.min(segment.len())..];
    let Some(last) = rest.iter().rposition(|byte| *byte != 0) else {
        return Ok(());
    };
    file.write_at(&vec![0; last + 1], used as u64)?;
    file.sync()
}

fn io_error(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> DiskError {
    move |source| DiskError::of(action, file, source)
}
