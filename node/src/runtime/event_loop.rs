//! The event loop of a server: two equal threads, and the state that they share.
//!
//! The thread that receives an event locks the driver, runs one turn, and unlocks it. If that turn
//! queued a write and the disk is free, the thread writes and syncs it. The other thread serves
//! datagrams and timers meanwhile, however long the disk takes. After a sync the thread runs a turn
//! at once for the newly durable writes. On the path of a write through a server, no thread
//! therefore waits for another to wake up: the thread that receives an entry writes it, syncs, and
//! sends the acknowledgement.
//!
//! # Invariants
//! * There is one disk, so at most one of the two threads waits for it, and it does so without the
//!   driver. The thread that serves datagrams and timers never waits for the disk.
//! * Every report of the disk is processed: by the thread that used the disk or, if the driver is
//!   locked at that moment, by the thread that holds it, before it goes to sleep.
//! * When one of the threads ends, for any reason, so does the other.

use crate::{
    error::Failure,
    runtime::driver::{Driver, TurnScope, WakeupsToArm},
    runtime::poller::{Poller, Wakeup},
    storage::writer::Writer,
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

/// The event loop; see the module documentation.
pub(crate) struct EventLoop {
    driver: Mutex<Driver>,
    writer: Arc<Writer>,
    poller: Poller,
    stopped: AtomicBool,
}

/// Ends the other thread together with this one, even if this one panics.
struct StopTogether<'a>(&'a EventLoop);

impl Drop for StopTogether<'_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Relaxed);
        self.0.poller.waker().wake();
    }
}

impl EventLoop {
    pub(crate) fn new(driver: Driver, poller: Poller) -> Self {
        Self {
            writer: Arc::clone(driver.writer()),
            driver: Mutex::new(driver),
            poller,
            stopped: AtomicBool::new(false),
        }
    }

    /// Runs until the driver stops, or until something fails. It spawns the second thread and uses
    /// the calling thread as the first.
    pub(crate) fn run(self, second: thread::Builder) -> Result<(), Failure> {
        if let Ok(driver) = self.driver.lock() {
            // Arms epoll for the socket and sets the timer.
            self.take_turns(driver, TurnScope::Everything(Wakeup::Socket));
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
        let _stop_together = StopTogether(self);
        while !self.stopped.load(Relaxed) {
            let wakeup = self.poller.wait(self.writer.busy_poll.end());
            // The lock is poisoned only if the other thread panicked.
            let Ok(mut driver) = self.driver.lock() else {
                return;
            };
            match wakeup {
                Ok(wakeup) => self.take_turns(driver, TurnScope::Everything(wakeup)),
                Err(error) => return driver.fail(Failure::System(error.into())),
            }
            if let Some(lease) = self.writer.begin() {
                self.writer.work(lease, || self.take_up_report());
            }
        }
    }

    /// Runs a turn for the disk's report, unless the other thread holds the driver: that thread
    /// then processes the report.
    fn take_up_report(&self) {
        fence(SeqCst);
        if let Ok(driver) = self.driver.try_lock() {
            self.take_turns(driver, TurnScope::Reports);
        }
    }

    /// Arms the poller for the socket and the next timer.
    fn arm(&self, driver: &mut Driver, scope: TurnScope) {
        let WakeupsToArm { listen, timer } = driver.prepare_to_wait(scope);
        let mut armed = Ok(());
        if let (Some(to_write), Some(socket)) = (listen, driver.descriptor()) {
            armed = self.poller.listen(socket, to_write);
        }
        if let Some(after) = timer {
            armed = armed.and_then(|()| self.poller.arm_timer(after));
        }
        if let Err(error) = armed {
            driver.fail(Failure::System(error.into()));
        }
    }

    fn take_turns<'a>(&'a self, mut driver: MutexGuard<'a, Driver>, mut scope: TurnScope) {
        loop {
            driver.turn(scope);
            self.arm(&mut driver, scope);
            if driver.has_ended() {
                self.stopped.store(true, Relaxed);
                return self.poller.waker().wake();
            }
            drop(driver);
            // A report that arrived meanwhile found the driver locked. Either this thread sees the
            // report here, or the reporting thread finds the driver unlocked: the two fences
            // guarantee it.
            fence(SeqCst);
            if !self.writer.has_report() {
                return;
            }
            let Ok(again) = self.driver.try_lock() else {
                return;
            };
            driver = again;
            scope = TurnScope::Reports;
        }
    }
}
