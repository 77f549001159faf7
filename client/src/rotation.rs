//! The choice between several proxies.
//!
//! All endpoints are one proxy to the protocol: the client uses one id for all, and one endpoint at a
//! time. This is sound because a proxy may lose all of its state at any moment (see [`model::proxy`]):
//! the next endpoint is the same proxy after such a loss, and late messages of the previous endpoint
//! are messages that a slow network may deliver at any time. So a session continues through another
//! endpoint, even in the middle of a request, and keeps its exactly-once guarantee.
//!
//! The client leaves an endpoint after one attempt without a useful response: the second attempt of a
//! request goes to the next endpoint, and the silent endpoint gets its turn again after all others.
//! The responses "unavailable" and "overloaded" are not useful: another endpoint may reach the
//! servers, or have capacity.
//!
//! # Deliberate omissions
//! Load balancing over several endpoints, and a return to the first endpoint.

use std::time::Duration;
use tokio::time::Instant;

/// The endpoint in use, and whether it is silent.
#[derive(Debug)]
pub(crate) struct Rotation {
    endpoints: usize,
    current: usize,
    patience: Duration,
    /// The departure of the first request after the last useful response.
    silent_since: Option<Instant>,
}

impl Rotation {
    /// Starts with endpoint `current`. Each endpoint has the time of one attempt to respond.
    pub(crate) fn new(endpoints: usize, current: usize, attempt_timeout: Duration) -> Self {
        Self {
            endpoints,
            current,
            // The timer of an attempt starts slightly before its request leaves, so the interval
            // between two attempts may be a little shorter than the timeout.
            patience: attempt_timeout * 9 / 10,
            silent_since: None,
        }
    }

    /// Records that a request leaves. If the endpoint in use is silent, returns the next endpoint. If
    /// there is only one endpoint, returns it again, because its name may resolve to another address
    /// by now.
    pub(crate) fn on_send(&mut self, now: Instant) -> Option<usize> {
        let since = *self.silent_since.get_or_insert(now);
        if now.duration_since(since) < self.patience {
            return None;
        }
        self.silent_since = Some(now);
        self.current = (self.current + 1) % self.endpoints;
        Some(self.current)
    }

    /// Records a useful response.
    pub(crate) fn on_response(&mut self) {
        self.silent_since = None;
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
        assert_eq!(rotation.on_send(at(0)), None);
        // Another request in between, and then the second attempt of the first request.
        assert_eq!(rotation.on_send(at(500)), None);
        assert_eq!(rotation.on_send(at(999)), Some(1));
        assert_eq!(rotation.on_send(at(1500)), None);
        rotation.on_response();
        // A long time without requests is not silence.
        assert_eq!(rotation.on_send(at(9000)), None);
        rotation.on_response();
        assert_eq!(rotation.on_send(at(10_000)), None);
        assert_eq!(rotation.on_send(at(11_000)), Some(0));
        assert_eq!(rotation.on_send(at(12_000)), Some(1));
    }

    #[test]
    fn only_endpoint_is_looked_up_again() {
        let start = Instant::now();
        let mut rotation = Rotation::new(1, 0, ATTEMPT);
        assert_eq!(rotation.on_send(start), None);
        assert_eq!(rotation.on_send(start + ATTEMPT), Some(0));
    }
}
