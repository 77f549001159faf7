//! Messages that the fault plan delays, ordered by their due time.

use crate::faults::Side;
use model::{Envelope, wire::BootId};
use std::{cmp::Ordering, collections::BinaryHeap, net::SocketAddr};
use tokio::time::Instant;

/// The maximum number of delayed messages.
const CAPACITY: usize = 16_384;

/// The next action for a message that passes the fault plan, immediately or after its delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dispatch {
    /// Send it to this address, or to the address of the receiver.
    Send(Option<SocketAddr>),
    /// Deliver it to the inbox. It came from this run of its sender, at this address.
    Deliver(BootId, SocketAddr),
}

impl Dispatch {
    pub(crate) const fn side(self) -> Side {
        match self {
            Self::Send(_) => Side::Send,
            Self::Deliver(..) => Side::Receive,
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
    dispatch: Dispatch,
    envelope: Envelope,
}

impl DelayQueue {
    /// Holds a message until `due`. Returns false if the queue is full.
    pub(crate) fn push(&mut self, due: Instant, dispatch: Dispatch, envelope: Envelope) -> bool {
        if self.heap.len() >= CAPACITY {
            return false;
        }
        self.heap.push(Entry {
            due,
            nth: self.next,
            dispatch,
            envelope,
        });
        self.next += 1;
        true
    }

    /// The next message that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Dispatch, Envelope)> {
        if self.deadline()? > now {
            return None;
        }
        let entry = self.heap.pop()?;
        Some((entry.dispatch, entry.envelope))
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
