//! Two bounded queues: batches that wait for the socket, and received messages that wait for their
//! consumer.

use crate::pack::Batch;
use model::{Envelope, wire::BootId};
use std::{collections::VecDeque, mem, net::SocketAddr};

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub envelope: Envelope,
    /// The run (one execution of a process) that sent it.
    pub boot: BootId,
    /// The address from which it was sent.
    pub at: SocketAddr,
}

/// Batches that wait until the socket accepts more.
#[derive(Debug)]
pub(crate) struct SendQueue {
    batches: VecDeque<Batch>,
    bytes: usize,
    capacity: usize,
}

impl SendQueue {
    /// Creates a queue with a capacity in bytes.
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

    /// Adds a batch at the end, or returns it if there is no room.
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

    /// Puts back a popped batch that could not be sent.
    pub(crate) fn put_back(&mut self, batch: Batch) {
        self.bytes += batch.bytes.len();
        self.batches.push_front(batch);
    }
}

/// Received messages that were not taken out yet.
#[derive(Debug)]
pub(crate) struct Arrived {
    messages: Vec<Received>,
    /// The sum of their encoded lengths, not counting a bulk message.
    bytes: usize,
    messages_capacity: usize,
    bytes_capacity: usize,
    /// Whether the queue holds a bulk message: one of more than a quarter of `bytes_capacity`.
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

    /// Adds a message with its encoded length. Returns false if there is no room. A bulk message
    /// (more than a quarter of the byte capacity) does not count toward that capacity, but the
    /// queue holds only one.
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

    /// Takes all messages out. Returns `None` if there are none and the queue is closed.
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
