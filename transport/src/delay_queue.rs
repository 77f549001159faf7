//! Messages that the fault plan holds back, until it is time.

use crate::faults::Side;
use model::{Envelope, wire::BootId};
use std::{cmp::Ordering, collections::BinaryHeap, net::SocketAddr};
use tokio::time::Instant;

/// So many are held at most.
const CAPACITY: usize = 16_384;

/// Where a held message goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To this address, or where the receiver is.
    Out(Option<SocketAddr>),
    /// To the inbox; it came from this run of its sender, at this address.
    In(BootId, SocketAddr),
}

impl Way {
    pub(crate) const fn side(self) -> Side {
        match self {
            Self::Out(_) => Side::Send,
            Self::In(..) => Side::Receive,
        }
    }
}

/// Messages held back.
#[derive(Debug, Default)]
pub(crate) struct DelayQueue {
    heap: BinaryHeap<Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    due: Instant,
    /// Among those due at the same time, in the order they came.
    nth: u64,
    way: Way,
    envelope: Envelope,
}

impl DelayQueue {
    /// Holds this message until then. False if too many are held.
    pub(crate) fn push(&mut self, due: Instant, way: Way, envelope: Envelope) -> bool {
        if self.heap.len() >= CAPACITY {
            return false;
        }
        self.heap.push(Entry {
            due,
            nth: self.next,
            way,
            envelope,
        });
        self.next += 1;
        true
    }

    /// The next message whose time has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Way, Envelope)> {
        if self.deadline()? > now {
            return None;
        }
        let entry = self.heap.pop()?;
        Some((entry.way, entry.envelope))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.due)
    }
}

impl Ord for Entry {
    /// The greatest is the first due.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.nth).cmp(&(self.due, self.nth))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
