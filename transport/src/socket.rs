//! A socket served by its owner's own loop, where every change of task or thread counts.
//!
//! Lacks, on purpose: waiting. The owner learns from the system when the socket can be read, from
//! [`Socket::is_congested`] whether to look when it can be written to again, and from
//! [`Socket::deadline`] when to come back whatever happens.

use crate::{
    counters::Cause,
    endpoint::{Received, Shared},
    inbound::Reader,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Instant,
};

/// How often the system is asked for more before others get a turn.
const CALLS: usize = 4;

/// Receives, and sends what could not be sent at once. The socket closes when this and the last
/// clone of its [`crate::Endpoint`] are gone.
pub struct Socket {
    shared: Arc<Shared>,
    reader: Reader,
}

impl Socket {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let reader = Reader::new(&shared);
        Self { shared, reader }
    }

    /// Says how the owner is woken, from any thread, when something is there that did not come of a
    /// call here: a large message was read apart, or encoded. To be called once.
    pub fn set_waker(&self, call: impl Fn() + Send + Sync + 'static) {
        self.shared.set_waker(Box::new(call));
    }

    /// The messages that arrived, perhaps none. Never waits. More may be there: the system says so
    /// when asked whether the socket can be read.
    pub fn receive(&mut self) -> Vec<Received> {
        let (socket, state) = self.shared.socket();
        for _ in 0..CALLS {
            match self.reader.receive(state, socket.into()) {
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

    /// Sends what waited for the socket, and what waited for its time and is due.
    pub fn serve_timers(&self, now: Instant) {
        if self.shared.is_queued() {
            self.shared.flush();
        }
        if self.shared.due().is_some_and(|due| due.into_std() <= now) {
            self.shared.tick(now.into());
            self.shared.set_alarm();
        }
    }

    /// When [`Self::serve_timers`] has something to do at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.shared.due().map(tokio::time::Instant::into_std)
    }

    /// Whether something waits until the socket can be written to.
    pub fn is_congested(&self) -> bool {
        self.shared.is_queued()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.socket().0.as_fd()
    }
}
