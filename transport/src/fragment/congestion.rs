//! Congestion control and retransmission timeouts for the fragments to one receiver.
//!
//! The window counts fragments in flight. It doubles per round trip in slow start, then grows by one, and
//! halves on a loss, as in TCP (RFC 5681). The retransmission timeout follows RFC 6298. A loss is answered
//! once per window: [`Congestion::on_loss`] ignores fragments sent before the last reduction.

use std::time::Duration;

pub(super) const INITIAL_WINDOW: usize = 32;
/// A smaller window has too few fragments in flight to detect a loss by reordering, so that each loss
/// would cost a timeout.
const MIN_WINDOW: usize = 16;
const MAX_WINDOW: usize = 128;
/// The maximum number of bytes in flight. A busy receiver buffers about this much where the operating
/// system grants it a small socket buffer.
const MAX_BYTES_IN_FLIGHT: usize = 256 << 10;
const INITIAL_RTO: Duration = Duration::from_millis(100);
const MIN_RTO: Duration = Duration::from_millis(20);
const MAX_RTO: Duration = Duration::from_secs(1);

/// The congestion window and the round-trip time of one receiver.
#[derive(Debug)]
pub(super) struct Congestion {
    window: usize,
    slow_start_threshold: usize,
    /// Fragments acknowledged since the window last grew, in congestion avoidance.
    acknowledged: usize,
    /// The number of the first fragment that was sent after the last reduction.
    recovery_end: u64,
    round_trip: Option<RoundTrip>,
    /// Timeouts in a row.
    timeouts: u32,
}

/// The smoothed round-trip time and its variation.
#[derive(Clone, Copy, Debug)]
struct RoundTrip {
    smoothed: Duration,
    variation: Duration,
}

impl Congestion {
    pub(super) const fn new() -> Self {
        Self {
            window: INITIAL_WINDOW,
            slow_start_threshold: MAX_WINDOW,
            acknowledged: 0,
            recovery_end: 0,
            round_trip: None,
            timeouts: 0,
        }
    }

    /// The maximum number of fragments of `size` bytes in flight.
    pub(super) fn window(&self, size: usize) -> usize {
        self.window.min((MAX_BYTES_IN_FLIGHT / size).max(1))
    }

    /// The retransmission timeout, with exponential backoff.
    pub(super) fn retransmission_timeout(&self) -> Duration {
        let base = self.round_trip.map_or(INITIAL_RTO, |of| {
            (of.smoothed + of.variation * 4).max(MIN_RTO)
        });
        (base * 2_u32.pow(self.timeouts.min(6))).min(MAX_RTO)
    }

    /// `count` fragments were acknowledged. `sample` is the round-trip time of one that was sent once: a
    /// retransmitted fragment does not show which copy arrived (Karn's algorithm).
    pub(super) fn on_acknowledged(&mut self, count: usize, sample: Option<Duration>) {
        self.timeouts = 0;
        if let Some(sample) = sample {
            self.measure(sample);
        }
        if self.window < self.slow_start_threshold {
            self.window += count;
        } else {
            self.acknowledged += count;
            if self.acknowledged >= self.window {
                self.acknowledged = 0;
                self.window += 1;
            }
        }
        self.window = self.window.min(MAX_WINDOW);
    }

    /// Fragment `lost` was lost. `next` is the number of the next fragment.
    pub(super) fn on_loss(&mut self, lost: u64, next: u64) {
        if lost >= self.recovery_end {
            self.reduce(next);
        }
    }

    /// The oldest fragment timed out.
    pub(super) fn on_timeout(&mut self, next: u64) {
        self.timeouts += 1;
        self.reduce(next);
    }

    /// Fragments were too long for the path, which is no sign of congestion.
    pub(super) fn on_refragmented(&mut self) {
        self.timeouts = 0;
    }

    fn reduce(&mut self, next: u64) {
        self.window = (self.window / 2).max(MIN_WINDOW);
        self.slow_start_threshold = self.window;
        self.acknowledged = 0;
        self.recovery_end = next;
    }

    fn measure(&mut self, sample: Duration) {
        self.round_trip = Some(match self.round_trip {
            None => RoundTrip {
                smoothed: sample,
                variation: sample / 2,
            },
            Some(RoundTrip {
                smoothed,
                variation,
            }) => RoundTrip {
                variation: (variation * 3 + smoothed.abs_diff(sample)) / 4,
                smoothed: (smoothed * 7 + sample) / 8,
            },
        });
    }
}
