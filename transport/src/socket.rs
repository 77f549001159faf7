//! A socket served from its owner's event loop, for owners that cannot afford a switch of task or
//! thread.
//!
//! Deliberate omission: waiting. The owner polls the socket for readability, and for writability
//! while [`Socket::is_congested`] returns true, and returns at [`Socket::deadline`] at the latest.

use crate::{counters::Cause, inbound::Reader, queue::Received, shared::Shared};
use std::{io, os::fd::BorrowedFd, sync::Arc, time::Instant};

/// The maximum number of receive calls before other work gets a turn.
const CALLS: usize = 4;

/// Receives messages, and sends those that could not be sent at once. The socket closes when this
/// value and the last clone of its [`crate::Endpoint`] are dropped.
pub struct Socket {
    shared: Arc<Shared>,
    reader: Reader,
}

impl Socket {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let reader = Reader::new(&shared);
        Self { shared, reader }
    }

    /// Sets the function that wakes the owner, from any thread, when a background thread finished
    /// decoding or encoding a large message. Call it once.
    pub fn set_waker(&self, waker: impl Fn() + Send + Sync + 'static) {
        self.shared.set_waker(Box::new(waker));
    }

    /// The messages received, perhaps none. Never blocks. More may wait at the socket: poll it for
    /// readability.
    pub fn receive(&mut self) -> Vec<Received> {
        for _ in 0..CALLS {
            match self.reader.receive(&*self.shared.socket) {
                Ok(filled) => {
                    self.reader.process(&self.shared, filled);
                    if !Reader::is_full(filled) {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    let counters = &self.shared.counters;
                    counters.drop(Cause::ReceiveFailed, 1, format_args!("{error}"));
                    break;
                }
            }
        }
        self.shared.take_arrived()
    }

    /// Sends the queued batches, and runs the timers that are due.
    pub fn serve_timers(&self, now: Instant) {
        if self.shared.is_queued() {
            self.shared.flush();
        }
        if self.shared.due().is_some_and(|due| due.into_std() <= now) {
            self.shared.tick(now.into());
            self.shared.set_alarm();
        }
    }

    /// The time of the next call of [`Self::serve_timers`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.shared.due().map(tokio::time::Instant::into_std)
    }

    /// Whether a batch waits until the socket is writable.
    pub fn is_congested(&self) -> bool {
        self.shared.is_queued()
    }

    /// The descriptor to poll. `None` if the [environment](crate::Environment) has no sockets of
    /// the system.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.shared.socket.descriptor()
    }
}
