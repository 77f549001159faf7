//! Pauses or kills a server for tests and demonstrations of fault tolerance: paused without
//! warning, as by SIGSTOP, or killed without cleanup, as by SIGKILL.
//!
//! While paused, the thread that holds the driver sleeps: nothing is received, no timer fires, no
//! heartbeat is sent, and datagrams queue up at the socket. A disk write in progress completes,
//! which a real SIGSTOP would delay.

use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use tokio::sync::oneshot;

/// Shared by the driver and its handles.
#[derive(Default)]
pub(crate) struct FaultSwitch {
    /// Whether a pause or kill was requested; readable without a lock.
    requested: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    killed: bool,
    /// The number of active pauses.
    paused: usize,
    /// Callers that wait until the pause takes effect.
    waiting: Vec<oneshot::Sender<()>>,
}

/// A paused server. It resumes when this is dropped.
pub struct Pause(Arc<FaultSwitch>);

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.lock().paused -= 1;
        self.0.changed.notify_all();
    }
}

impl FaultSwitch {
    /// Pauses the driver from the next turn on. The receiver completes when the driver sleeps.
    pub(crate) fn pause(self: &Arc<Self>) -> (Pause, oneshot::Receiver<()>) {
        let (asleep, falls_asleep) = oneshot::channel();
        let mut state = self.lock();
        state.paused += 1;
        state.waiting.push(asleep);
        self.requested.store(true, Relaxed);
        drop(state);
        self.changed.notify_all();
        (Pause(Arc::clone(self)), falls_asleep)
    }

    /// Ends the driver at the next turn.
    pub(crate) fn kill(&self) {
        let mut state = self.lock();
        state.killed = true;
        self.requested.store(true, Relaxed);
        drop(state);
        self.changed.notify_all();
    }

    /// Whether the server was killed.
    pub(crate) fn killed(&self) -> bool {
        self.lock().killed
    }

    /// Sleeps while paused. Returns false if the server was killed.
    pub(crate) fn pass(&self) -> bool {
        if !self.requested.load(Relaxed) {
            return true;
        }
        let mut state = self.lock();
        while state.paused > 0 && !state.killed {
            for asleep in state.waiting.drain(..) {
                let _ = asleep.send(());
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        // Written only under the lock.
        self.requested.store(state.killed, Relaxed);
        !state.killed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
