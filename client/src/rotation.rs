//! Which of several proxies is asked.
//!
//! All endpoints are one proxy to the protocol: they are asked under one name, one at a time. This
//! is sound because a proxy may lose all of its state at any moment (see [`model::proxy`]): the
//! next endpoint is the same proxy after that, and what the last one still sends is what a slow
//! network may deliver at any time. So a session goes on through another endpoint, even in the
//! middle of a request, and keeps its promise of exactly once.
//!
//! An endpoint is left after one attempt without a useful answer: the second attempt of a request goes
//! to the next endpoint, and the silent one is tried again after all others. That it is unavailable or
//! overloaded is not useful: another endpoint may reach the servers, or have room.
//!
//! # What is left out
//! Spreading requests over several endpoints, and going back to the first.

use std::time::Duration;
use tokio::time::Instant;

/// The endpoint in use, and whether it is silent.
#[derive(Debug)]
pub(crate) struct Rotation {
    endpoints: usize,
    current: usize,
    patience: Duration,
    /// When the first request left that nothing useful came back after.
    unheard_since: Option<Instant>,
}

impl Rotation {
    /// Starts with one of so many endpoints, each of which has the time of an attempt to answer.
    pub(crate) fn new(endpoints: usize, current: usize, attempt_timeout: Duration) -> Self {
        Self {
            endpoints,
            current,
            // The timer of an attempt starts a moment before its request leaves, so two attempts may
            // leave a little less than the timeout apart.
            patience: attempt_timeout * 9 / 10,
            unheard_since: None,
        }
    }

    /// A request leaves. Says which endpoint to turn to, if the one in use is silent: the next
    /// one, or the same again if there is no other, as its name may lead elsewhere by now.
    pub(crate) fn asked(&mut self, now: Instant) -> Option<usize> {
        let since = *self.unheard_since.get_or_insert(now);
        if now.duration_since(since) < self.patience {
            return None;
        }
        self.unheard_since = Some(now);
        self.current = (self.current + 1) % self.endpoints;
        Some(self.current)
    }

    /// An answer came.
    pub(crate) fn heard(&mut self) {
        self.unheard_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: Duration = Duration::from_millis(1000);

    #[test]
    fn endpoint_is_left_after_one_attempt_without_an_answer() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut rotation = Rotation::new(2, 0, ATTEMPT);
        assert_eq!(rotation.asked(at(0)), None);
        // Another request meanwhile, and then the second attempt of the first one.
        assert_eq!(rotation.asked(at(500)), None);
        assert_eq!(rotation.asked(at(999)), Some(1));
        assert_eq!(rotation.asked(at(1500)), None);
        rotation.heard();
        // Nothing was asked for long: that is not silence.
        assert_eq!(rotation.asked(at(9000)), None);
        rotation.heard();
        assert_eq!(rotation.asked(at(10_000)), None);
        assert_eq!(rotation.asked(at(11_000)), Some(0));
        assert_eq!(rotation.asked(at(12_000)), Some(1));
    }

    #[test]
    fn only_endpoint_is_looked_up_again() {
        let start = Instant::now();
        let mut rotation = Rotation::new(1, 0, ATTEMPT);
        assert_eq!(rotation.asked(start), None);
        assert_eq!(rotation.asked(start + ATTEMPT), Some(0));
    }
}
