//! Stop signals (SIGINT, SIGTERM, SIGHUP): the first ends a search in an orderly way, with no claim. A
//! signal within a second of the first is the same request; a later one ends the process immediately.

use super::Exit;
use anyhow::Context;
use program::signals::{StopRank, StopRequest};
use signal_hook::{consts, low_level};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Printed by a second request.
const ENDED: &[u8] = b"ended immediately by a second signal: no claim\n";

/// Whether a stop signal was received.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Installs the signal handlers. Call it once per process.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let request = Arc::new(StopRequest::default());
        let mut signals = vec![consts::SIGINT, consts::SIGTERM];
        // `nohup` keeps a long search alive after its terminal is closed.
        if !program::signals::is_hang_up_ignored() {
            signals.push(consts::SIGHUP);
        }
        for number in signals {
            let (asked, request) = (Arc::clone(&asked), Arc::clone(&request));
            let handle = move || {
                asked.store(true, Ordering::Relaxed);
                if request.rank() == StopRank::Second {
                    end();
                }
            };
            // SAFETY: the handler is async-signal-safe: it accesses atomics, reads the clock, and calls
            // poll(2), write(2) and _exit(2).
            unsafe { low_level::register(number, handle) }
                .context("cannot install signal handlers")?;
        }
        Ok(Self(asked))
    }

    /// The flag that a stop signal sets.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Ends the process with one line on standard error. Does not wait for its reader.
fn end() -> ! {
    let mut error = libc::pollfd {
        fd: libc::STDERR_FILENO,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: `error` is one valid `pollfd`, and write(2) reads only the constant.
    unsafe {
        if libc::poll(&raw mut error, 1, 0) == 1 && error.revents & libc::POLLOUT != 0 {
            libc::write(libc::STDERR_FILENO, ENDED.as_ptr().cast(), ENDED.len());
        }
    }
    low_level::exit(Exit::Truncated.code().into())
}
