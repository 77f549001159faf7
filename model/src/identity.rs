//! Disk identities, their records, and the messages that exchange both.
//!
//! [`crate::admission`] uses them to decide which runs of a server count.

use crate::{Log, LogIndex, NodeId, Term, ids::BootId};
use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The identity of a disk: 128 bits drawn at random at its first start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiskId(u128);

impl DiskId {
    /// The identity with these bits.
    pub const fn new(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "disk {self}")
    }
}

/// The record of a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The disk.
    pub disk: DiskId,
    /// Starts on that disk by their counters. Only the latest one, once the peer has proved the
    /// others.
    pub starts: BTreeMap<u64, BootId>,
    /// The latest earlier starts in the list of the last start.
    pub earlier: BTreeMap<u64, BootId>,
    /// Starts on copies of that disk: the run before them was alive after they began.
    pub copies: BTreeSet<(u64, BootId)>,
    /// Whether that disk can be trusted.
    pub standing: Standing,
}

/// Whether a recorded disk can be trusted. Every value except [`Self::Trusted`] is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// There is no evidence against it.
    Trusted,
    /// Two disks were recorded under this id.
    TwoDisks,
    /// Two boots were recorded for one start: the disk was copied.
    Forked,
    /// It lacks entries that it had acknowledged.
    LostEntries,
}

/// The records that a server has of its peers.
pub type Table = BTreeMap<NodeId, Record>;

/// A message about identities between servers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IdentityMessage {
    /// A server requests the identity and the table of a peer.
    Request(Request),
    /// The response.
    Response(Response),
}

/// A server requests the identity and the table of a peer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Request {
    /// A random number that the response repeats.
    pub nonce: u64,
    /// The version of the sender's table, in this run of the sender.
    pub version: u64,
    /// The starts of the receiver that the sender has recorded.
    pub starts: BTreeSet<u64>,
    /// An index of the receiver's log; the sender doubts that the receiver still has the entry.
    pub entry: Option<LogIndex>,
}

/// A server identifies its disk and shares its table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Response {
    /// The nonce of the request.
    pub nonce: u64,
    /// The disk of the sender.
    pub disk: DiskId,
    /// The counter of the sender's present start. The datagram names its boot.
    pub counter: u64,
    /// The boots in the sender's list for the starts that the request named, and for its latest
    /// starts.
    pub boots: BTreeMap<u64, Option<BootId>>,
    /// The version of the sender's table, in this run of the sender.
    pub version: u64,
    /// All records of the sender, including the one of the receiver.
    pub table: Table,
    /// The last version of the receiver's table that the sender has merged; 0 if none.
    pub merged: u64,
    /// The state of the sender's log at the requested index.
    pub log: Option<LogAt>,
}

/// The state of a server's log at one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogAt {
    /// The server's current term.
    pub term: Term,
    /// The index.
    pub index: LogIndex,
    /// The entry at the index.
    pub entry: EntryAt,
}

/// An entry of a log, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntryAt {
    /// The log ends before the index.
    Missing,
    /// The term of the entry.
    Term(Term),
    /// A snapshot covers the entry.
    Compacted,
}

impl LogAt {
    /// The state of this log at `index`, on a server in `term`.
    pub fn new(log: &Log, term: Term, index: LogIndex) -> Self {
        let entry = match log.term_at(index) {
            Some(term) => EntryAt::Term(term),
            None if index > log.last_index() => EntryAt::Missing,
            None => EntryAt::Compacted,
        };
        Self { term, index, entry }
    }
}
