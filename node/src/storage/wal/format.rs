//! The byte format of the log, as `docs/storage.md` draws it: segment headers, frames and seals.
//!
//! Decoding never trusts a length before its checksum is verified, and never panics.

use super::blocks::{BLOCK, Blocks};
use model::Write;
use postcard::ser_flavors::{Flavor, Size};
use std::io;

/// The format version of this program.
pub(crate) const FORMAT: u32 = 3;
/// The length of a segment header: one page, so that frames never share a page with it.
pub(crate) const HEADER: usize = 4096;
/// The length of a frame header, and of a seal.
pub(crate) const FRAME_HEADER: usize = 24;
/// The maximum length of a cluster name, in bytes.
pub(crate) const MAX_CLUSTER: usize = transport::Config::MAX_CLUSTER;

const MAGIC: [u8; 8] = *b"RAFT-WAL";
/// The alignment of frames.
const ALIGNMENT: usize = 8;

/// The owner of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: String,
    pub(crate) node: u64,
}

/// The header of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) identity: Identity,
    /// The number of the segment, from 1, without gaps.
    pub(crate) number: u64,
    /// The sequence of its first frame.
    pub(crate) first_sequence: u64,
    /// The size of the file in bytes.
    pub(crate) size: u64,
    /// Random, drawn when the log was created, and part of every frame: neither bytes chosen by a
    /// client nor bytes of another log can be mistaken for a frame of this one.
    pub(crate) tag: u64,
    /// Whether its first frame is a snapshot with the state that follows it, so that no earlier
    /// segment is needed.
    pub(crate) starts_with_snapshot: bool,
}

/// The offset of the `starts_with_snapshot` flag: behind the longest cluster name.
const STARTS_WITH_SNAPSHOT: usize = 320;

/// The reason why a header cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    Damaged(&'static str),
    Format(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let cluster = self.identity.cluster.as_bytes();
        assert!(cluster.len() <= MAX_CLUSTER, "the cluster's name fits");
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for number in [
            self.identity.node,
            self.number,
            self.first_sequence,
            self.size,
            self.tag,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&(cluster.len() as u64).to_le_bytes());
        bytes.extend_from_slice(cluster);
        bytes.resize(HEADER, 0);
        bytes[STARTS_WITH_SNAPSHOT] = self.starts_with_snapshot.into();
        let checksum = header_checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(file: &[u8]) -> Result<Self, BadHeader> {
        let bytes = file
            .get(..HEADER)
            .ok_or(BadHeader::Damaged("it is too short to have a header"))?;
        if bytes[..8] != MAGIC {
            return Err(BadHeader::Damaged(
                "it does not start with the magic number of a log",
            ));
        }
        // Checked before the checksum, which another format may compute differently.
        let format = u32_at(bytes, 8);
        if format != FORMAT {
            return Err(BadHeader::Format(format));
        }
        if u32_at(bytes, 12) != header_checksum(bytes) {
            return Err(BadHeader::Damaged("the checksum of its header is wrong"));
        }
        let cluster = usize::try_from(u64_at(bytes, 56))
            .ok()
            .filter(|length| *length <= MAX_CLUSTER)
            .and_then(|length| std::str::from_utf8(&bytes[64..64 + length]).ok())
            .ok_or(BadHeader::Damaged("its cluster has no readable name"))?;
        Ok(Self {
            identity: Identity {
                cluster: cluster.to_owned(),
                node: u64_at(bytes, 16),
            },
            number: u64_at(bytes, 24),
            first_sequence: u64_at(bytes, 32),
            size: u64_at(bytes, 40),
            tag: u64_at(bytes, 48),
            starts_with_snapshot: match bytes[STARTS_WITH_SNAPSHOT] {
                0 => false,
                1 => true,
                _ => return Err(BadHeader::Damaged("its header has an invalid flag")),
            },
        })
    }
}

/// The magic bytes of a record in the lock file.
const RECORD_MAGIC: [u8; 8] = *b"RAFT-END";
/// The length of a record.
const RECORD: usize = 24;
/// The offsets of the two records. They alternate, in separate blocks, so that a crash during the
/// write of one leaves the other readable.
const RECORD_OFFSETS: [usize; 2] = [0, BLOCK];
/// The length of the part of the lock file that contains the records.
pub(crate) const RECORDS: usize = BLOCK + RECORD;

/// A record in the lock file: a segment with this number exists, and its name is durable.
pub(crate) fn encode_record(segment: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&RECORD_MAGIC);
    record[8..16].copy_from_slice(&segment.to_le_bytes());
    let checksum = crc32fast::hash(&record[..16]);
    record[16..20].copy_from_slice(&checksum.to_le_bytes());
    record
}

/// The contents of the lock file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records {
    /// The number in each record; 0 if it is empty or unreadable.
    numbers: [u64; 2],
    has_unreadable: bool,
}

impl Records {
    pub(crate) fn decode(file: &[u8]) -> Self {
        let mut records = Self::default();
        for (number, offset) in records.numbers.iter_mut().zip(RECORD_OFFSETS) {
            let found = file.get(offset..).unwrap_or_default();
            let mut record = [0; RECORD];
            let length = found.len().min(RECORD);
            record[..length].copy_from_slice(&found[..length]);
            if record[..8] == RECORD_MAGIC && u32_at(&record, 16) == crc32fast::hash(&record[..16])
            {
                *number = u64_at(&record, 8);
            }
            records.has_unreadable |= *number == 0 && record != [0; RECORD];
        }
        records
    }

    /// The last segment whose name is proven durable; 0 if no record is readable.
    pub(crate) fn last(self) -> u64 {
        self.numbers[0].max(self.numbers[1])
    }

    /// The last segment that must exist. A segment gets its name before its record is written, so
    /// an unreadable record proves that there is one more.
    pub(crate) fn required(self) -> u64 {
        self.last() + u64::from(self.has_unreadable)
    }

    /// The offset at which the record of this segment is written. The readable record of another
    /// segment with the highest number is never overwritten.
    pub(crate) fn offset_for(self, segment: u64) -> usize {
        let [first, second] = self.numbers;
        let is_second = second == segment || (first != segment && second < first);
        RECORD_OFFSETS[usize::from(is_second)]
    }
}

fn header_checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..HEADER]);
    hasher.finalize()
}

/// The result of decoding at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decoded<'a> {
    /// A complete frame.
    Frame {
        sequence: u64,
        payload: &'a [u8],
        /// The offset of the next frame.
        next: usize,
    },
    /// A seal: the frame of this sequence is durable.
    Seal { sequence: u64 },
    /// No complete frame or seal.
    Nothing,
}

/// Decodes the frame or seal at `offset`, which must be aligned.
pub(crate) fn read_at(segment: &[u8], offset: usize, tag: u64) -> Decoded<'_> {
    let Some(header) = segment
        .get(offset..)
        .and_then(|rest| rest.get(..FRAME_HEADER))
    else {
        return Decoded::Nothing;
    };
    if u64_at(header, 0) != tag {
        return Decoded::Nothing;
    }
    let sequence = u64_at(header, 8);
    let length = u32_at(header, 16) as usize;
    let start = offset + FRAME_HEADER;
    let Some(payload) = segment.get(start..).and_then(|rest| rest.get(..length)) else {
        return Decoded::Nothing;
    };
    if u32_at(header, 20) != frame_checksum(&header[..20], payload) {
        return Decoded::Nothing;
    }
    if length == 0 {
        return Decoded::Seal { sequence };
    }
    Decoded::Frame {
        sequence,
        payload,
        next: aligned(start + length),
    }
}

/// The first frame or seal at or after `offset` whose sequence is at least `sequence`.
pub(crate) fn find_from(segment: &[u8], offset: usize, tag: u64, sequence: u64) -> Option<usize> {
    (aligned(offset)..segment.len())
        .step_by(ALIGNMENT)
        .find(|at| match read_at(segment, *at, tag) {
            Decoded::Frame { sequence: of, .. } | Decoded::Seal { sequence: of } => of >= sequence,
            Decoded::Nothing => false,
        })
}

/// Adds a frame with these writes to an empty `buffer`.
///
/// Returns false if they are too long for one frame. The contents of the buffer are then
/// unspecified.
pub(crate) fn encode_frame(buffer: &mut Blocks, tag: u64, sequence: u64, writes: &[Write]) -> bool {
    buffer.extend(&[0; FRAME_HEADER]);
    postcard::serialize_with_flavor(writes, &mut *buffer)
        .expect("all lengths are known before serialization");
    let Ok(length) = u32::try_from(buffer.len() - FRAME_HEADER) else {
        return false;
    };
    let mut header = unchecked_header(tag, sequence, length);
    let checksum = frame_checksum(&header[..20], &buffer[FRAME_HEADER..]);
    header[20..].copy_from_slice(&checksum.to_le_bytes());
    buffer[..FRAME_HEADER].copy_from_slice(&header);
    buffer.pad(ALIGNMENT);
    true
}

/// A frame that may be as large as a server's whole state. It is never in memory as a whole.
pub(crate) struct LargeFrame<'a> {
    write: &'a Write,
    tag: u64,
    sequence: u64,
    length: u32,
}

/// The size of the pieces in which a large frame is written.
pub(crate) const PIECE: usize = 64 * BLOCK;

impl<'a> LargeFrame<'a> {
    /// The frame of one write. `None` if the write is too long for a frame.
    pub(crate) fn new(tag: u64, sequence: u64, write: &'a Write) -> Option<Self> {
        let length = postcard::serialize_with_flavor(&[write][..], Size::default());
        let length = u32::try_from(length.ok()?).ok()?;
        Some(Self {
            write,
            tag,
            sequence,
            length,
        })
    }

    /// The length of the frame, in bytes.
    pub(crate) fn size(&self) -> u64 {
        (FRAME_HEADER as u64 + u64::from(self.length)).next_multiple_of(ALIGNMENT as u64)
    }

    /// Writes the frame piece by piece. The first piece is written last, because it contains the
    /// checksum. Each call passes the offset of its bytes in the frame, a multiple of [`BLOCK`];
    /// only the last piece may be shorter than a whole number of blocks.
    pub(crate) fn write(
        &self,
        mut to: impl FnMut(&mut Blocks, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut header = unchecked_header(self.tag, self.sequence, self.length);
        let mut pieces = Pieces {
            first: None,
            buffer: Blocks::with_room(PIECE),
            at: 0,
            checksum: crc32fast::Hasher::new(),
            to: &mut to,
            failed: None,
        };
        pieces.buffer.extend(&header);
        pieces.checksum.update(&header[..20]);
        let written = postcard::serialize_with_flavor(&[self.write][..], &mut pieces);
        if let Some(error) = pieces.failed {
            return Err(error);
        }
        written.expect("all lengths are known before serialization");
        let Pieces {
            first,
            buffer: mut last,
            at,
            mut checksum,
            ..
        } = pieces;
        let length = last.len();
        let expected = FRAME_HEADER as u64 + u64::from(self.length);
        assert_eq!(at + length as u64, expected, "a write is as long as it was");
        last.pad(ALIGNMENT);
        let mut first = if let Some(first) = first {
            checksum.update(&last[..length]);
            to(&mut last, at)?;
            first
        } else {
            checksum.update(&last[FRAME_HEADER..length]);
            last
        };
        header[20..].copy_from_slice(&checksum.finalize().to_le_bytes());
        first[..FRAME_HEADER].copy_from_slice(&header);
        to(&mut first, 0)
    }
}

fn unchecked_header(tag: u64, sequence: u64, length: u32) -> [u8; FRAME_HEADER] {
    let mut header = [0; FRAME_HEADER];
    header[..8].copy_from_slice(&tag.to_le_bytes());
    header[8..16].copy_from_slice(&sequence.to_le_bytes());
    header[16..20].copy_from_slice(&length.to_le_bytes());
    header
}

/// A serializer that emits each piece when it is full, except for the first and the last one.
struct Pieces<'a> {
    /// `None` until the first piece is full.
    first: Option<Blocks>,
    buffer: Blocks,
    /// The offset of the buffer in the frame.
    at: u64,
    /// The checksum of the first piece and of all pieces emitted so far.
    checksum: crc32fast::Hasher,
    to: &'a mut dyn FnMut(&mut Blocks, u64) -> io::Result<()>,
    failed: Option<io::Error>,
}

impl Pieces<'_> {
    fn next(&mut self) -> postcard::Result<()> {
        if self.first.is_none() {
            self.checksum.update(&self.buffer[FRAME_HEADER..]);
            let next = Blocks::with_room(PIECE);
            self.first = Some(std::mem::replace(&mut self.buffer, next));
        } else {
            self.checksum.update(&self.buffer);
            if let Err(error) = (self.to)(&mut self.buffer, self.at) {
                self.failed = Some(error);
                return Err(postcard::Error::SerializeBufferFull);
            }
            self.buffer.begin(0);
        }
        self.at += PIECE as u64;
        Ok(())
    }
}

impl Flavor for &mut Pieces<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, mut data: &[u8]) -> postcard::Result<()> {
        while let Some((part, rest)) = data.split_at_checked(PIECE - self.buffer.len()) {
            self.buffer.extend(part);
            self.next()?;
            data = rest;
        }
        self.buffer.extend(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.try_extend(&[data])
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// A seal: the proof that the frame of this sequence is durable.
pub(crate) fn encode_seal(tag: u64, sequence: u64) -> [u8; FRAME_HEADER] {
    let mut seal = [0; FRAME_HEADER];
    seal[..8].copy_from_slice(&tag.to_le_bytes());
    seal[8..16].copy_from_slice(&sequence.to_le_bytes());
    let checksum = frame_checksum(&seal[..20], &[]);
    seal[20..24].copy_from_slice(&checksum.to_le_bytes());
    seal
}

/// Decodes the writes of a frame.
pub(crate) fn decode_payload(payload: &[u8]) -> Option<Vec<Write>> {
    let (writes, rest) = postcard::take_from_bytes(payload).ok()?;
    rest.is_empty().then_some(writes)
}

fn frame_checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

fn aligned(offset: usize) -> usize {
    offset.next_multiple_of(ALIGNMENT)
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(number)
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(number)
}
