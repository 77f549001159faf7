//! The two threads of a server, alike, and what they share.
//!
//! Whoever of them is told that something happened takes the driver, has it take a turn, and gives
//! it back. If that turn left something to write and nobody is at the disk, the thread goes there
//! itself, and the other one sees to datagrams and timers meanwhile, for as long as the disk may
//! take; back from a sync, it has the driver take up at once what that made possible. So on the way
//! of a write through a server no thread waits for another to wake up: who receives an entry writes
//! it, syncs, and sends the acknowledgement.
//!
//! # Invariants
//! * There is one disk, so at most one of the two waits for it, without the driver; whoever sees to
//!   datagrams and timers never does.
//! * What the disk reports is taken up by someone: by whoever was at the disk, or, if the driver is
//!   taken just then, by whoever has it, before going to sleep.
//! * When one of the threads ends, for whatever reason, so does the other.

use crate::{
    driver::{Driver, Look},
    node::Failure,
    waiting::{Waiting, Woken},
    writer::Writer,
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Relaxed, SeqCst},
            fence,
        },
    },
    thread,
};

/// See the module.
pub(crate) struct Crew {
    driver: Mutex<Driver>,
    writer: Arc<Writer>,
    waiting: Waiting,
    over: AtomicBool,
}

/// Ends the other thread with this one, even if this one panics.
struct Together<'a>(&'a Crew);

impl Drop for Together<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
        self.0.waiting.bell().ring();
    }
}

impl Crew {
    pub(crate) fn new(driver: Driver, waiting: Waiting) -> Self {
        Self {
            writer: Arc::clone(&driver.writer),
            driver: Mutex::new(driver),
            waiting,
            over: AtomicBool::new(false),
        }
    }

    /// Works until the driver is told to stop, or until something breaks. The second thread comes
    /// on top of the one that calls this.
    pub(crate) fn run(self, second: thread::Builder) -> Result<(), Failure> {
        if let Ok(driver) = self.driver.lock() {
            // The socket is listened to from here on, and the clock is set.
            self.take_turns(driver, Look::Everything(Woken::Socket));
        }
        let span = tracing::Span::current();
        let spawned = thread::scope(|scope| {
            let second = second.spawn_scoped(scope, || span.in_scope(|| self.work()))?;
            self.work();
            match second.join() {
                Ok(()) => Ok(()),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        let driver = self.driver.into_inner();
        let mut driver = driver.unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = spawned {
            driver.fail(Failure::System(error));
        }
        driver.finish()
    }

    fn work(&self) {
        let _together = Together(self);
        while !self.over.load(Relaxed) {
            let woken = self.waiting.wait(self.writer.vigil.end());
            // Not to be had only if the other thread panicked.
            let Ok(mut driver) = self.driver.lock() else {
                return;
            };
            match woken {
                Ok(woken) => self.take_turns(driver, Look::Everything(woken)),
                Err(error) => return driver.fail(Failure::System(error.into())),
            }
            if let Some(shift) = self.writer.begin() {
                self.writer.work(shift, || self.take_up_report());
            }
        }
    }

    /// Has the driver take up what the disk reports, unless the other thread has the driver: then
    /// that one does.
    fn take_up_report(&self) {
        fence(SeqCst);
        if let Ok(driver) = self.driver.try_lock() {
            self.take_turns(driver, Look::Reports);
        }
    }

    fn take_turns<'a>(&'a self, mut driver: MutexGuard<'a, Driver>, mut look: Look) {
        loop {
            driver.turn(look);
            driver.prepare_to_wait(look, &self.waiting);
            if driver.has_ended() {
                self.over.store(true, Relaxed);
                return self.waiting.bell().ring();
            }
            drop(driver);
            // A report that came meanwhile found the driver taken. Either it is seen here, or
            // whoever brings it finds the driver free: the fences here and there see to that.
            fence(SeqCst);
            if !self.writer.has_report() {
                return;
            }
            let Ok(again) = self.driver.try_lock() else {
                return;
            };
            driver = again;
            look = Look::Reports;
        }
    }
}
