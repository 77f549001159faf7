//! Two bounded queues: batches that wait for the socket, and messages that wait for whoever takes
//! them out.

use crate::{endpoint::Received, pack::Batch};
use std::{collections::VecDeque, mem};

/// Batches that wait until the socket takes more.
#[derive(Debug)]
pub(crate) struct SendQueue {
    batches: VecDeque<Batch>,
    bytes: usize,
    capacity: usize,
}

impl SendQueue {
    /// Holds this many bytes.
    pub(crate) const fn new(capacity: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            bytes: 0,
            capacity,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Adds a batch at the end, or gives it back if there is no room.
    pub(crate) fn push(&mut self, batch: Batch) -> Result<(), Batch> {
        if self.bytes + batch.bytes.len() > self.capacity {
            return Err(batch);
        }
        self.bytes += batch.bytes.len();
        self.batches.push_back(batch);
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.bytes.len();
        Some(batch)
    }

    /// Puts back what was popped and could not be sent.
    pub(crate) fn put_back(&mut self, batch: Batch) {
        self.bytes += batch.bytes.len();
        self.batches.push_front(batch);
    }
}

/// Messages that arrived and were not taken out yet.
#[derive(Debug)]
pub(crate) struct Arrived {
    messages: Vec<Received>,
    /// What they were encoded.
    bytes: usize,
    messages_capacity: usize,
    bytes_capacity: usize,
    /// Whether a message is among them that alone takes much of that.
    bulk: bool,
    closed: bool,
}

impl Arrived {
    pub(crate) const fn new(messages_capacity: usize, bytes_capacity: usize) -> Self {
        Self {
            messages: Vec::new(),
            bytes: 0,
            messages_capacity,
            bytes_capacity,
            bulk: false,
            closed: false,
        }
    }

    /// Adds a message that took so many bytes. False if there is no room. For one that takes more
    /// than a quarter of the bytes there may be, there is always room, but for one such.
    pub(crate) fn push(&mut self, message: Received, bytes: usize) -> bool {
        let bulk = bytes > self.bytes_capacity / 4;
        let fits = if bulk {
            !self.bulk
        } else {
            self.bytes + bytes <= self.bytes_capacity
        };
        let room = fits && self.messages.len() < self.messages_capacity;
        if room {
            self.bulk |= bulk;
            self.bytes += if bulk { 0 } else { bytes };
            self.messages.push(message);
        }
        room
    }

    /// Takes everything out. `None` if there is nothing, and never will be.
    pub(crate) fn take(&mut self) -> Option<Vec<Received>> {
        self.bytes = 0;
        self.bulk = false;
        let all = mem::take(&mut self.messages);
        (!all.is_empty() || !self.closed).then_some(all)
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(length: usize) -> Batch {
        Batch {
            to: (([127, 0, 0, 1], 1).into(), model::wire::KeyId::None),
            bytes: vec![0; length],
            segment: length,
        }
    }

    #[test]
    fn what_does_not_fit_comes_back() {
        let mut queue = SendQueue::new(100);
        assert!(queue.push(batch(60)).is_ok());
        assert!(queue.push(batch(41)).is_err());
        assert!(queue.push(batch(40)).is_ok());
        let first = queue.pop().unwrap();
        assert_eq!(first.bytes.len(), 60);
        queue.put_back(first);
        assert!(queue.push(batch(1)).is_err());
        assert_eq!(queue.pop().unwrap().bytes.len(), 60);
        assert_eq!(queue.pop().unwrap().bytes.len(), 40);
        assert!(queue.is_empty());
        assert!(queue.push(batch(100)).is_ok());
    }
}
