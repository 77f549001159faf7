//! Congestion control and retransmission timeouts for the fragments to one receiver.
//!
//! The window counts fragments in flight. As in RFC 5681, it doubles per round trip in slow start, then
//! grows by one per window of acknowledged fragments, and halves on a loss. A loss reduces it once per
//! window: [`Congestion::on_loss`] ignores fragments sent before the last reduction (RFC 9002 §7.3.2). The
//! smoothed round-trip time, its variation and the doubling of the timeout follow RFC 6298.
//!
//! Deviations, with their reasons:
//! * The window starts at 32 fragments (RFC 5681: at most 4 segments), so that a message of up to 32
//!   fragments is sent at once. A second limit, [`MAX_BYTES_IN_FLIGHT`], applies to long fragments.
//! * The window stays at 16 fragments or more, for the reason at [`MIN_WINDOW`]. A timeout therefore halves
//!   it too, where RFC 5681 reduces it to one segment. The doubling of the timeout limits the load on a path
//!   that delivers nothing.
//! * A reduction halves the window, where RFC 5681 halves the data in flight. [`MAX_WINDOW`] bounds an unused
//!   window.
//! * The timeout starts at 100 ms and stays between 20 ms and 1 s (RFC 6298: 1 s, at least 1 s, and a limit
//!   of at least 60 s). The round trips of a cluster are far below 1 s. With a timeout of at least 1 s, few
//!   attempts would fit into [`super::GIVE_UP_AFTER`], after which a message without progress is dropped.
//! * Each fragment has its own timeout, and all expired ones are retransmitted. RFC 6298 restarts one timer
//!   with each acknowledgement and retransmits the earliest segment. Acknowledgements list up to
//!   [`super::MAX_RANGES`] ranges, so most missing fragments are known.
//! * Each acknowledgement of a fragment ends the doubling, even without a sample (RFC 9002 §6.2.1), where
//!   RFC 6298 waits for a sample: the path delivers again. A new fragmentation ends the doubling too: the
//!   path was too narrow, not congested.

use std::time::Duration;

pub(super) const INITIAL_WINDOW: usize = 32;
/// A smaller window has too few fragments in flight to detect a loss by reordering, so that each loss
/// would cost a timeout.
const MIN_WINDOW: usize = 16;
const MAX_WINDOW: usize = 128;
/// The maximum number of bytes in flight. A busy receiver buffers about this much where the operating
/// system grants it a small socket buffer.
const MAX_BYTES_IN_FLIGHT: usize = 256 << 10;
/// The timeout before the first sample of the round-trip time.
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
        let base = self.round_trip.map_or(INITIAL_RTO, |round_trip| {
            (round_trip.smoothed + round_trip.variation * 4).max(MIN_RTO)
        });
        (base * 2_u32.pow(self.timeouts.min(6))).min(MAX_RTO)
    }

    /// Records the acknowledgement of `count` fragments. `sample` is the round-trip time of the last of them,
    /// or `None` if it was a retransmission: then the acknowledged copy is unknown (Karn's algorithm).
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

    /// Records the loss of fragments up to number `lost`. `next` is the number of the next fragment.
    pub(super) fn on_loss(&mut self, lost: u64, next: u64) {
        if lost >= self.recovery_end {
            self.reduce(next);
        }
    }

    /// Records that the oldest fragment timed out.
    pub(super) fn on_timeout(&mut self, next: u64) {
        self.timeouts += 1;
        self.reduce(next);
    }

    /// Records that fragments were too long for the path, which is not a sign of congestion.
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
