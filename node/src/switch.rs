//! Stopping a server the way a system stops a process: paused without warning, as by SIGSTOP, or
//! killed without a last word, as by SIGKILL. For showing and testing what the others bear.
//!
//! While paused whoever has the driver sleeps: nothing is received, no timer fires, no heartbeat
//! leaves; datagrams pile up at the socket. What was begun at the disk is finished, which a real
//! SIGSTOP would put off.

use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use tokio::sync::oneshot;

/// Shared by the driver and those who hold handles to it.
#[derive(Default)]
pub(crate) struct Switch {
    /// Whether there is anything to look at, to be asked without a lock.
    told: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    killed: bool,
    /// How many hold it paused.
    paused: usize,
    /// Who waits for it to be so.
    waiting: Vec<oneshot::Sender<()>>,
}

/// A server that is paused. It goes on when this is dropped.
pub struct Pause(Arc<Switch>);

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.lock().paused -= 1;
        self.0.changed.notify_all();
    }
}

impl Switch {
    /// From the next turn on the driver sleeps. The receiver hears when it does.
    pub(crate) fn pause(self: &Arc<Self>) -> (Pause, oneshot::Receiver<()>) {
        let (asleep, falls_asleep) = oneshot::channel();
        let mut state = self.lock();
        state.paused += 1;
        state.waiting.push(asleep);
        self.told.store(true, Relaxed);
        drop(state);
        self.changed.notify_all();
        (Pause(Arc::clone(self)), falls_asleep)
    }

    /// From the next turn on the driver is no more.
    pub(crate) fn kill(&self) {
        let mut state = self.lock();
        state.killed = true;
        self.told.store(true, Relaxed);
        drop(state);
        self.changed.notify_all();
    }

    /// Whether it was killed.
    pub(crate) fn killed(&self) -> bool {
        self.lock().killed
    }

    /// Sleeps while paused. Whether to go on: not if killed.
    pub(crate) fn pass(&self) -> bool {
        if !self.told.load(Relaxed) {
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
        // Set and cleared under the lock only.
        self.told.store(state.killed, Relaxed);
        !state.killed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
