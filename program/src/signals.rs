//! The signals that request an orderly stop: SIGINT (Ctrl-C), SIGTERM (`kill`, supervisors,
//! containers) and SIGHUP (closed terminal).
//!
//! `nohup` and `setsid -f` start a program with SIGHUP ignored, so that it outlives its terminal. An
//! ignored SIGHUP stays ignored.
//!
//! One request may arrive as several signals: `timeout` of coreutils signals its child and then the
//! process group of the child. [`StopRequest`] combines them. Only a later signal is a second request,
//! which ends a program immediately.

use std::{
    fmt, io,
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    HangUp,
}

impl StopSignal {
    /// The exit code after immediate termination by this signal: 128 plus the signal number.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::HangUp => 129,
        }
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::HangUp => "SIGHUP",
        })
    }
}

/// Tells second requests to stop from further signals of the first request.
#[derive(Debug, Default)]
pub struct StopRequest {
    /// The time of the first signal; 0 if there was none.
    first: AtomicU64,
}

/// The meaning of a stop signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopRank {
    /// The first request.
    First,
    /// A further signal of the first request.
    Same,
    /// A second request.
    Second,
}

impl StopRequest {
    /// A signal this soon after the first one belongs to the same request.
    pub const WINDOW: Duration = Duration::from_secs(1);

    /// The meaning of a signal that arrives now. Async-signal-safe.
    pub fn rank(&self) -> StopRank {
        self.rank_at(monotonic_time())
    }

    fn rank_at(&self, now: Duration) -> StopRank {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(1);
        let order = Ordering::Relaxed;
        match self.first.compare_exchange(0, now, order, order) {
            Ok(_) => StopRank::First,
            Err(first) if u128::from(now.saturating_sub(first)) < Self::WINDOW.as_nanos() => {
                StopRank::Same
            }
            Err(_) => StopRank::Second,
        }
    }
}

/// The time since the system started.
fn monotonic_time() -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the call only writes the time, into memory of the right type; all zeros are a valid
    // `timespec`, so a failed call leaves a valid value as well.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, time.as_mut_ptr());
        time.assume_init()
    };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Receives stop signals.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
    request: StopRequest,
}

impl StopSignals {
    /// Installs the handlers. From then on no signal is lost: [`Self::next`] also returns a signal
    /// that arrived before the call.
    ///
    /// # Errors
    /// If a handler cannot be installed.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: if is_hang_up_ignored() {
                None
            } else {
                Some(signal(SignalKind::hangup())?)
            },
            request: StopRequest::default(),
        })
    }

    /// The next request to stop, by its first signal.
    pub async fn next(&mut self) -> StopSignal {
        loop {
            let signal = self.receive().await;
            if self.request.rank() != StopRank::Same {
                return signal;
            }
        }
    }

    async fn receive(&mut self) -> StopSignal {
        let hang_up = async {
            match &mut self.hang_up {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => StopSignal::Interrupt,
            _ = self.terminate.recv() => StopSignal::Terminate,
            _ = hang_up => StopSignal::HangUp,
        }
    }
}

/// Whether the program was started with SIGHUP ignored.
pub fn is_hang_up_ignored() -> bool {
    let mut current = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only writes the current action into memory of the correct
    // type. A zeroed `sigaction` is valid, so the value is valid after a failed call as well.
    let current = unsafe {
        libc::sigaction(libc::SIGHUP, ptr::null(), current.as_mut_ptr());
        current.assume_init()
    };
    current.sa_sigaction == libc::SIG_IGN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_close_to_the_first_are_one_request() {
        let request = StopRequest::default();
        let at = |millis| request.rank_at(Duration::from_millis(millis));
        assert_eq!(at(5_000), StopRank::First);
        assert_eq!(at(5_000), StopRank::Same);
        assert_eq!(at(5_999), StopRank::Same);
        assert_eq!(at(6_000), StopRank::Second);
        assert_eq!(at(6_001), StopRank::Second);
    }

    #[test]
    fn clock_advances() {
        let before = monotonic_time();
        while monotonic_time() == before {
            std::thread::yield_now();
        }
        assert!(monotonic_time() > before);
    }

    #[tokio::test]
    async fn two_kinds_of_signal_at_once_stop_a_program_once() {
        let mut signals = StopSignals::install().expect("handlers");
        let raise = |number| {
            // SAFETY: raise(3) has no preconditions, and both signals have handlers.
            assert_eq!(unsafe { libc::raise(number) }, 0);
        };
        raise(libc::SIGTERM);
        raise(libc::SIGINT);
        signals.next().await;
        let soon = Duration::from_millis(100);
        let second = tokio::time::timeout(soon, signals.next()).await;
        assert!(second.is_err(), "{second:?}");
        tokio::time::sleep(StopRequest::WINDOW).await;
        raise(libc::SIGINT);
        assert_eq!(signals.next().await, StopSignal::Interrupt);
    }
}
