//! The wire format of a datagram, byte by byte: `docs/wire.md` draws it.
//!
//! A datagram is a fixed [`Header`], in plain text but authenticated, and a body of [`Frame`]s,
//! which is sealed unless the cluster runs without keys. This module encodes values and decodes
//! bytes. Deliberate omissions: sealing, trust beyond [`KeyId::allows`], and everything that
//! depends on time, such as retransmission, reassembly and expiry.
//!
//! Bytes from a peer never cause a panic, and no claimed length is trusted before the bytes are
//! present.

pub use crate::ids::BootId;
use crate::{Address, Envelope, Message, NodeId, message::RequestBody};
use alloc::{collections::BTreeSet, vec::Vec};
use bytes::{Buf, BufMut};
use core::fmt;

/// The first bytes of every datagram.
pub const MAGIC: [u8; 4] = *b"SRFT";
/// The version of the format. Datagrams of other versions are refused.
pub const VERSION: u8 = 5;
/// The size of the header in bytes.
pub const HEADER: usize = 46;
/// The size of the authentication tag that follows a sealed body, in bytes.
pub const TAG: usize = 16;
/// The size of a frame's prefix in bytes: its kind and its length.
pub const FRAME: usize = 3;
/// The number of bytes in a fragment's frame before the piece of the message.
pub const FRAGMENT: usize = 16;
/// The number of bytes in an acknowledgement's frame before the ranges.
pub const ACKNOWLEDGEMENT: usize = 16;
/// The size of a range in an acknowledgement, in bytes.
pub const RANGE: usize = 8;
/// The number of bytes in the frame of a probe.
pub const PROBE: usize = 8;
/// The number of bytes in the frame that acknowledges a probe.
pub const PROBE_ACKNOWLEDGEMENT: usize = 10;

const PADDING: u8 = 0;
const ENVELOPE: u8 = 1;
const FRAGMENT_OF_MESSAGE: u8 = 2;
const FRAGMENTS_RECEIVED: u8 = 3;
const PROBE_OF_PATH: u8 = 4;
const PROBE_RECEIVED: u8 = 5;

/// The cluster of a datagram: the 64-bit FNV-1a hash of the cluster's name.
///
/// It separates clusters that share a network or, by mistake, a key. It is not secret and proves
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(u64);

impl ClusterId {
    /// The id of the cluster with this name.
    pub fn new(name: &str) -> Self {
        Self(fnv_1a(name.bytes()))
    }

    /// The hash.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The voters in a process's configuration: the 64-bit FNV-1a hash of their numbers.
///
/// Two servers with different voters count different majorities, so neither accepts the other's
/// datagrams. Like [`ClusterId`] it detects mistakes and proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VotersDigest(u64);

impl VotersDigest {
    /// The value of a process that is configured without voters, such as a client.
    pub const NONE: Self = Self(0);

    /// The digest of these voters: over the 8 bytes of each number, big-endian, in ascending order.
    pub fn new(voters: &BTreeSet<NodeId>) -> Self {
        let hash = fnv_1a(voters.iter().flat_map(|id| id.get().to_be_bytes()));
        // 0 means that there is no digest.
        Self(hash.max(1))
    }

    /// The hash.
    pub const fn get(self) -> u64 {
        self.0
    }
}

fn fnv_1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The key that seals a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum KeyId {
    /// No key: the body is in plain text, and any sender could have written it.
    None = 0,
    /// The key that servers and proxies share.
    Cluster = 1,
    /// The key that clients hold too.
    Client = 2,
}

impl KeyId {
    /// Whether a holder of this key may send this message.
    ///
    /// The client key permits requests from clients and responses to clients, but no message from a
    /// server or proxy to another server or proxy. It does not permit to request a leadership transfer:
    /// that is up to the operators, and a transfer delays the requests of all clients.
    pub fn allows(self, envelope: &Envelope) -> bool {
        match self {
            Self::None | Self::Cluster => true,
            Self::Client => match (&envelope.message, envelope.from, envelope.to) {
                (Message::ClientRequest(request), Address::Client(_), to) => {
                    !matches!(to, Address::Client(_))
                        && !matches!(request.body, RequestBody::TransferLeadership { .. })
                }
                (Message::ClientResponse(_), from, Address::Client(_)) => {
                    !matches!(from, Address::Client(_))
                }
                _ => false,
            },
        }
    }
}

/// The fixed part of a datagram. It is not secret, but it is authenticated together with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The cluster.
    pub cluster: ClusterId,
    /// The voters that the sender was configured with; a client has none.
    pub voters: VotersDigest,
    /// The key that seals the body.
    pub key: KeyId,
    /// The sender's run.
    pub boot: BootId,
    /// The number of the datagram within that run, from 1. Numbers never repeat.
    pub sequence: u64,
}

/// The reason why a header cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// The datagram is shorter than a header.
    Short,
    /// It does not begin with [`MAGIC`].
    Magic,
    /// An unsupported version of the format.
    Version(u8),
    /// An unknown key.
    Key(u8),
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(f, "shorter than a header of {HEADER} bytes"),
            Self::Magic => write!(f, "does not begin like a datagram of ours"),
            Self::Version(version) => {
                write!(f, "of version {version} of the format, not {VERSION}")
            }
            Self::Key(key) => write!(f, "names a key of an unknown kind, {key}"),
        }
    }
}

impl Header {
    /// Encodes the header.
    pub fn encode(&self, to: &mut impl BufMut) {
        to.put_slice(&MAGIC);
        to.put_u8(VERSION);
        to.put_u8(self.key as u8);
        to.put_u64(self.cluster.0);
        to.put_u64(self.voters.0);
        to.put_u64(self.boot.started);
        to.put_u64(self.boot.random);
        to.put_u64(self.sequence);
    }

    /// Decodes the header of a datagram. The body starts at byte [`HEADER`].
    ///
    /// # Errors
    /// If the datagram is too short, has a different magic, or has another version.
    pub fn decode(datagram: &[u8]) -> Result<Self, BadHeader> {
        let mut bytes = datagram.get(..HEADER).ok_or(BadHeader::Short)?;
        if bytes.get_u32() != u32::from_be_bytes(MAGIC) {
            return Err(BadHeader::Magic);
        }
        match bytes.get_u8() {
            VERSION => {}
            other => return Err(BadHeader::Version(other)),
        }
        let key = match bytes.get_u8() {
            0 => KeyId::None,
            1 => KeyId::Cluster,
            2 => KeyId::Client,
            other => return Err(BadHeader::Key(other)),
        };
        Ok(Self {
            key,
            cluster: ClusterId(bytes.get_u64()),
            voters: VotersDigest(bytes.get_u64()),
            boot: BootId {
                started: bytes.get_u64(),
                random: bytes.get_u64(),
            },
            sequence: bytes.get_u64(),
        })
    }

    /// The nonce that seals the body: the boot and the sequence number, which together never
    /// repeat.
    pub fn nonce(&self) -> [u8; 24] {
        let mut nonce = [0; 24];
        let mut rest = &mut nonce[..];
        rest.put_u64(self.boot.started);
        rest.put_u64(self.boot.random);
        rest.put_u64(self.sequence);
        nonce
    }
}

/// A part of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A complete encoded message.
    Envelope(&'a [u8]),
    /// A piece of a message that is too large for one datagram.
    Fragment(Fragment<'a>),
    /// The ranges of a message that were received.
    Acknowledgement(Acknowledgement<'a>),
    /// A request to acknowledge this very datagram. The datagram is padded to the length under
    /// test.
    Probe(Probe),
    /// The acknowledgement of a probe.
    ProbeAcknowledgement(ProbeAcknowledgement),
}

/// A piece of an encoded message, at any position and of any length: the sender may fragment a
/// message differently while it is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// The number of the message within the sender's run.
    pub message: u64,
    /// The position of the piece in the message.
    pub offset: u32,
    /// The length of the whole message. The piece ends within it.
    pub length: u32,
    /// The piece, not empty.
    pub bytes: &'a [u8],
}

/// The ranges of a message that were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement<'a> {
    /// The number of the message within the run of this acknowledgement's receiver.
    pub message: u64,
    /// The length of the whole message.
    pub length: u32,
    /// All bytes before this one were received; `length` if all were.
    pub first: u32,
    /// Encoded ranges of further bytes after `first` that were received, in ascending order; see
    /// [`encode_range`]. The list may be incomplete.
    pub ranges: &'a [u8],
}

impl<'a> Acknowledgement<'a> {
    /// The ranges after `first`, each as its first byte and the byte after its last.
    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        self.ranges.chunks_exact(RANGE).map(|range| {
            let mut range = range;
            (range.get_u32(), range.get_u32())
        })
    }

    fn is_sound(&self) -> bool {
        if self.first > self.length || !self.ranges.len().is_multiple_of(RANGE) {
            return false;
        }
        // At least one byte is missing between `first` and the first range, and between two ranges.
        let mut end = self.first;
        self.ranges().all(|(from, to)| {
            let ascends = end < from && from < to && to <= self.length;
            end = to;
            ascends
        })
    }
}

/// Appends a range of an [`Acknowledgement`]: its first byte, and the byte after its last.
pub fn encode_range((from, to): (u32, u32), into: &mut Vec<u8>) {
    into.put_u32(from);
    into.put_u32(to);
}

/// A request to acknowledge a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The number of the probe within the sender's run.
    pub id: u64,
}

/// The acknowledgement of a [`Probe`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeAcknowledgement {
    /// The number of the probe within the run of this acknowledgement's receiver.
    pub id: u64,
    /// The received length of the datagram that carried the probe.
    pub length: u16,
}

impl Frame<'_> {
    /// The encoded size of the frame in bytes.
    pub fn length(&self) -> usize {
        FRAME
            + match self {
                Self::Envelope(bytes) => bytes.len(),
                Self::Fragment(fragment) => FRAGMENT + fragment.bytes.len(),
                Self::Acknowledgement(of) => ACKNOWLEDGEMENT + of.ranges.len(),
                Self::Probe(_) => PROBE,
                Self::ProbeAcknowledgement(_) => PROBE_ACKNOWLEDGEMENT,
            }
    }

    /// Encodes the frame.
    ///
    /// # Panics
    /// If the frame exceeds 65,535 bytes without its own [`FRAME`] prefix.
    pub fn encode(&self, to: &mut impl BufMut) {
        let length = u16::try_from(self.length() - FRAME)
            .expect("a frame is no longer than the datagram it was made for");
        match self {
            Self::Envelope(bytes) => {
                to.put_u8(ENVELOPE);
                to.put_u16(length);
                to.put_slice(bytes);
            }
            Self::Fragment(fragment) => {
                to.put_u8(FRAGMENT_OF_MESSAGE);
                to.put_u16(length);
                to.put_u64(fragment.message);
                to.put_u32(fragment.offset);
                to.put_u32(fragment.length);
                to.put_slice(fragment.bytes);
            }
            Self::Acknowledgement(of) => {
                to.put_u8(FRAGMENTS_RECEIVED);
                to.put_u16(length);
                to.put_u64(of.message);
                to.put_u32(of.length);
                to.put_u32(of.first);
                to.put_slice(of.ranges);
            }
            Self::Probe(probe) => {
                to.put_u8(PROBE_OF_PATH);
                to.put_u16(length);
                to.put_u64(probe.id);
            }
            Self::ProbeAcknowledgement(of) => {
                to.put_u8(PROBE_RECEIVED);
                to.put_u16(length);
                to.put_u64(of.id);
                to.put_u16(of.length);
            }
        }
    }
}

/// The bytes are not a valid frame. The frames before them in the body are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame;

/// The frames of a body, in order. The iterator ends after the first invalid frame.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// The frames of this body.
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    fn read(&mut self) -> Option<Frame<'a>> {
        let kind = self.rest.try_get_u8().ok()?;
        let length = usize::from(self.rest.try_get_u16().ok()?);
        let (mut contents, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        match kind {
            ENVELOPE => Some(Frame::Envelope(contents)),
            FRAGMENT_OF_MESSAGE if length > FRAGMENT => {
                let fragment = Fragment {
                    message: contents.get_u64(),
                    offset: contents.get_u32(),
                    length: contents.get_u32(),
                    bytes: contents,
                };
                let end = u64::from(fragment.offset) + fragment.bytes.len() as u64;
                (end <= u64::from(fragment.length)).then_some(Frame::Fragment(fragment))
            }
            FRAGMENTS_RECEIVED if length >= ACKNOWLEDGEMENT => {
                let of = Acknowledgement {
                    message: contents.get_u64(),
                    length: contents.get_u32(),
                    first: contents.get_u32(),
                    ranges: contents,
                };
                of.is_sound().then_some(Frame::Acknowledgement(of))
            }
            PROBE_OF_PATH if length == PROBE => Some(Frame::Probe(Probe {
                id: contents.get_u64(),
            })),
            PROBE_RECEIVED if length == PROBE_ACKNOWLEDGEMENT => {
                Some(Frame::ProbeAcknowledgement(ProbeAcknowledgement {
                    id: contents.get_u64(),
                    length: contents.get_u16(),
                }))
            }
            _ => None,
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, BadFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        // A 0 in place of a frame ends the body: the rest is padding without meaning.
        if self.rest.first().is_none_or(|kind| *kind == PADDING) {
            return None;
        }
        let frame = self.read();
        if frame.is_none() {
            self.rest = &[];
        }
        Some(frame.ok_or(BadFrame))
    }
}

/// An encoded message that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadEnvelope;

/// Appends the sender and the receiver: the first part of an encoded message. [`encode_message`]
/// appends the rest, which is the same for all receivers.
pub fn encode_addresses(from: Address, to: Address, into: &mut Vec<u8>) {
    append(&(from, to), into);
}

/// Appends the message itself: the second part of an encoded message.
pub fn encode_message(message: &Message, into: &mut Vec<u8>) {
    append(message, into);
}

fn append(value: &impl serde::Serialize, into: &mut Vec<u8>) {
    postcard::serialize_with_flavor(value, Appender(into))
        .expect("all lengths are known before serialization, and a vector accepts all bytes");
}

/// Decodes a message, which must use every byte.
///
/// # Errors
/// If the bytes are not a message, or if bytes are left over.
pub fn decode_envelope(bytes: &[u8]) -> Result<Envelope, BadEnvelope> {
    match postcard::take_from_bytes(bytes) {
        Ok((envelope, [])) => Ok(envelope),
        _ => Err(BadEnvelope),
    }
}

/// Lets postcard append to a reused vector.
struct Appender<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appender<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
