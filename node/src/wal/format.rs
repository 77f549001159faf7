//! The bytes of the log, as `docs/storage.md` draws them: segment headers, frames and seals.
//!
//! Reading never trusts a length before the checksum over it was seen to hold, and never panics.

use super::blocks::{BLOCK, Blocks};
use model::Write;
use postcard::ser_flavors::{Flavor, Size};
use std::io;

/// The version of the format this program reads and writes.
pub(crate) const FORMAT: u32 = 3;
/// How long a segment's header is: one page, so that frames never share a page with it.
pub(crate) const HEADER: usize = 4096;
/// How long a frame's header is, and a whole seal.
pub(crate) const FRAME_HEADER: usize = 24;
/// The longest name a cluster may have.
pub(crate) const MAX_CLUSTER: usize = transport::Config::MAX_CLUSTER;

const MAGIC: [u8; 8] = *b"RAFT-WAL";
/// Frames begin at multiples of this.
const ALIGNMENT: usize = 8;

/// Whose log this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: String,
    pub(crate) node: u64,
}

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) identity: Identity,
    /// Segments are numbered from 1, without a gap.
    pub(crate) number: u64,
    /// The sequence of its first frame.
    pub(crate) first_sequence: u64,
    /// The size of the file in bytes.
    pub(crate) size: u64,
    /// Drawn at random when the log was begun, and part of every frame: no bytes that a client
    /// chose, and no bytes of another log, can pass for a frame of this one.
    pub(crate) tag: u64,
    /// Whether its first frame is a snapshot and all that follows it, so that no earlier segment
    /// is needed.
    pub(crate) begins_anew: bool,
}

/// Where the header says whether the segment begins anew: behind the longest name.
const BEGINS_ANEW: usize = 320;

/// Why a header cannot be read.
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
        bytes[BEGINS_ANEW] = self.begins_anew.into();
        let checksum = header_checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(file: &[u8]) -> Result<Self, BadHeader> {
        let bytes = file
            .get(..HEADER)
            .ok_or(BadHeader::Damaged("it is too short to have a header"))?;
        if bytes[..8] != MAGIC {
            return Err(BadHeader::Damaged("it does not begin as a log does"));
        }
        // Before the checksum, which another format may compute otherwise.
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
            begins_anew: match bytes[BEGINS_ANEW] {
                0 => false,
                1 => true,
                _ => return Err(BadHeader::Damaged("it begins in no way that is known")),
            },
        })
    }
}

/// What the lock file begins with once there is a log.
const RECORD_MAGIC: [u8; 8] = *b"RAFT-END";
/// How long a record is.
const RECORD: usize = 24;

/// The lock file's record: the log has a segment of this number, whose name is durable.
pub(crate) fn encode_record(segment: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&RECORD_MAGIC);
    record[8..16].copy_from_slice(&segment.to_le_bytes());
    let checksum = crc32fast::hash(&record[..16]);
    record[16..20].copy_from_slice(&checksum.to_le_bytes());
    record
}

/// The number of the last segment, as recorded. `None` if no log was ever begun; 0, which is no
/// segment's number, if one was and the record cannot be read.
pub(crate) fn decode_record(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let sound = bytes.get(..RECORD).filter(|record| {
        record[..8] == RECORD_MAGIC && u32_at(record, 16) == crc32fast::hash(&record[..16])
    });
    Some(sound.map_or(0, |record| u64_at(record, 8)))
}

fn header_checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..12]);
    hasher.update(&bytes[16..HEADER]);
    hasher.finalize()
}

/// What was found at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A whole frame.
    Frame {
        sequence: u64,
        payload: &'a [u8],
        /// Where the next one would begin.
        next: usize,
    },
    /// The note that the frame of this sequence is durable.
    Seal { sequence: u64 },
    /// Nothing that was ever finished.
    Nothing,
}

/// Reads what is at `offset`, which must be aligned.
pub(crate) fn read_at(segment: &[u8], offset: usize, tag: u64) -> Found<'_> {
    let Some(header) = segment
        .get(offset..)
        .and_then(|rest| rest.get(..FRAME_HEADER))
    else {
        return Found::Nothing;
    };
    if u64_at(header, 0) != tag {
        return Found::Nothing;
    }
    let sequence = u64_at(header, 8);
    let length = u32_at(header, 16) as usize;
    let start = offset + FRAME_HEADER;
    let Some(payload) = segment.get(start..).and_then(|rest| rest.get(..length)) else {
        return Found::Nothing;
    };
    if u32_at(header, 20) != frame_checksum(&header[..20], payload) {
        return Found::Nothing;
    }
    if length == 0 {
        return Found::Seal { sequence };
    }
    Found::Frame {
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
            Found::Frame { sequence: of, .. } | Found::Seal { sequence: of } => of >= sequence,
            Found::Nothing => false,
        })
}

/// Adds a frame of these writes to an empty `buffer`.
///
/// Returns false, with nothing useful in the buffer, if they are too long for one frame.
pub(crate) fn encode_frame(buffer: &mut Blocks, tag: u64, sequence: u64, writes: &[Write]) -> bool {
    buffer.extend(&[0; FRAME_HEADER]);
    postcard::serialize_with_flavor(writes, &mut *buffer)
        .expect("what is written has known lengths");
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

/// A frame that may be as large as a server's whole state, and is never in memory as a whole.
pub(crate) struct LargeFrame<'a> {
    write: &'a Write,
    tag: u64,
    sequence: u64,
    length: u32,
}

/// So much of a large frame is written at a time.
pub(crate) const PIECE: usize = 64 * BLOCK;

impl<'a> LargeFrame<'a> {
    /// The frame of one write. None if that is too long for a frame.
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

    /// How many bytes it takes.
    pub(crate) fn size(&self) -> u64 {
        (FRAME_HEADER as u64 + u64::from(self.length)).next_multiple_of(ALIGNMENT as u64)
    }

    /// Writes it, piece by piece, the first one last: it has the checksum. Each call says where its
    /// bytes are in the frame, at a multiple of [`BLOCK`]; only the last piece may have no whole
    /// number of blocks.
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
        written.expect("what is written has known lengths");
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

/// Passes on what postcard makes whenever a piece is full, but for the first piece and the last.
struct Pieces<'a> {
    /// None until it is full.
    first: Option<Blocks>,
    buffer: Blocks,
    /// Where the buffer begins in the frame.
    at: u64,
    /// Of what is in no buffer any more, and of the first piece.
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

/// The note that the frame of this sequence is durable.
pub(crate) fn encode_seal(tag: u64, sequence: u64) -> [u8; FRAME_HEADER] {
    let mut seal = [0; FRAME_HEADER];
    seal[..8].copy_from_slice(&tag.to_le_bytes());
    seal[8..16].copy_from_slice(&sequence.to_le_bytes());
    let checksum = frame_checksum(&seal[..20], &[]);
    seal[20..24].copy_from_slice(&checksum.to_le_bytes());
    seal
}

/// The writes of a frame.
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
