//! Reads a log whole, and tells a torn end from damage.
//!
//! The end of the log is where no frame of the expected sequence can be read. It is a torn end if
//! nothing after it proves that the frame was once finished: neither a later frame (begun only
//! after the sync of this one) nor a seal, nor a later segment. With such proof it is damage.

use super::{
    SPARE, Segment,
    files::{Files, SegmentFile},
    format::{self, BadHeader, FORMAT, FRAME_HEADER, Found, HEADER, Identity, SegmentHeader},
    segment_name, segment_number,
};
use crate::disk::DiskError;
use model::{Durable, Term, Write};
use std::io;

/// What a directory holds.
pub(super) struct Recovered<H> {
    pub(super) durable: Durable,
    pub(super) next_sequence: u64,
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
    let numbers = segments_of(files)?;
    let mut recovered = Recovered {
        durable: Durable::default(),
        next_sequence: 1,
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
        let reader = reader.get_or_insert(Reader {
            tag: header.tag,
            durable: Durable::default(),
            next_sequence: 1,
        });
        if header.number != *number || *number != place as u64 + 1 || header.tag != reader.tag {
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
        if format::find_from(&bytes, end, reader.tag, reader.next_sequence).is_some() {
            let what = "a frame cannot be read, though it was finished";
            return Err(damaged(end as u64, what));
        }
        if place + 1 == numbers.len() {
            let file = files.open(&name).map_err(io_error("open", &name))?;
            let sealed = reader.is_sealed(&bytes, end);
            let used = if sealed { end + FRAME_HEADER } else { end };
            clean(&file, &bytes, used).map_err(io_error("write", &name))?;
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
    Ok(recovered)
}

/// The numbers of the segments, in order. A spare left over is removed: it may not be whole.
fn segments_of<F: Files>(files: &F) -> Result<Vec<u64>, DiskError> {
    let dir = files.dir().display().to_string();
    let names = files.names().map_err(io_error("list", &dir))?;
    if names.iter().any(|name| name == SPARE) {
        files.remove(SPARE).map_err(io_error("remove", SPARE))?;
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
    let last = durable.log.len() as u64;
    let kept = match write.truncate_from {
        Some(index) if index.get() == 0 || index.get() > last => return false,
        Some(index) => index.get() - 1,
        None => last,
    };
    let mut term = match kept.checked_sub(1) {
        Some(place) => durable.log[place as usize].term,
        None => Term::ZERO,
    };
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
fn clean<H: SegmentFile>(file: &H, segment: &[u8], used: usize) -> io::Result<()> {
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
