//! Messages that the fault plan delays, ordered by their due time.

use crate::faults::Side;
use model::{Envelope, wire::BootId};
use std::{cmp::Ordering, collections::BinaryHeap, net::SocketAddr};
use tokio::time::Instant;

/// The maximum number of delayed messages.
const CAPACITY: usize = 16_384;

/// The next step of a delayed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Send it to this address, or to the address of the receiver.
    Out(Option<SocketAddr>),
    /// Deliver it to the inbox. It came from this run of its sender, at this address.
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

/// The delayed messages.
#[derive(Debug, Default)]
pub(crate) struct DelayQueue {
    heap: BinaryHeap<Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    due: Instant,
    /// Breaks ties between equal due times: first in, first out.
    nth: u64,
    way: Way,
    envelope: Envelope,
}

impl DelayQueue {
    /// Holds a message until `due`. Returns false if the queue is full.
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

    /// The next message that is due.
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
    /// The greatest entry is the earliest one, because `BinaryHeap` is a max-heap.
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
