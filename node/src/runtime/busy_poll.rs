//! Adaptive busy polling for a single client that writes back to back.
//!
//! A third of the latency of a single write is wake-up time: its client, the leader, a follower and
//! the leader again sleep in turn. With many clients, some thread is always awake, and polling
//! threads would take CPU time from others. A server therefore polls only while writes come one at
//! a time and in quick succession, which is the pattern of a client that waits for each response.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The busy-poll window. The thread at the disk updates it; all threads read it.
pub(crate) struct BusyPoll {
    /// The maximum interval between two writes in quick succession, and the length of the window.
    most: Duration,
    since: Instant,
    /// The time of the last single write, in nanoseconds after `since`, or 0.
    alone: AtomicU64,
    /// The end of the window, in nanoseconds after `since`, or 0.
    end: AtomicU64,
}

impl BusyPoll {
    /// Creates a window of this length. Zero disables busy polling.
    pub(crate) fn new(most: Duration, now: Instant) -> Self {
        Self {
            most,
            since: now,
            alone: AtomicU64::new(0),
            end: AtomicU64::new(0),
        }
    }

    /// Records that `entries` entries became durable together.
    pub(crate) fn note(&self, entries: usize, now: Instant) {
        if entries == 0 {
            return;
        }
        let now = nanos(now.saturating_duration_since(self.since));
        let most = nanos(self.most);
        let (mut alone, mut end) = (0, 0);
        if entries == 1 {
            let last = self.alone.load(Relaxed);
            alone = now;
            if last > 0 && now.saturating_sub(last) <= most {
                end = now.saturating_add(most);
            }
        }
        self.alone.store(alone, Relaxed);
        self.end.store(end, Relaxed);
    }

    /// The end of the current busy-poll window, if there is one.
    pub(crate) fn end(&self) -> Option<Instant> {
        match self.end.load(Relaxed) {
            0 => None,
            end => self.since.checked_add(Duration::from_nanos(end)),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_micros(500);

    /// A window, and a function that maps microseconds after its creation to instants.
    fn busy_poll(most: Duration) -> (BusyPoll, impl Fn(u64) -> Instant) {
        let since = Instant::now();
        let busy_poll = BusyPoll::new(most, since);
        (busy_poll, move |micros| {
            since + Duration::from_micros(micros)
        })
    }

    #[test]
    fn single_writes_in_quick_succession_keep_it_awake() {
        let (busy_poll, at) = busy_poll(MOST);
        assert_eq!(busy_poll.end(), None);
        busy_poll.note(1, at(10_000));
        assert_eq!(busy_poll.end(), None, "another write may not follow");
        busy_poll.note(1, at(10_500));
        assert_eq!(busy_poll.end(), Some(at(11_000)));
        // A write without entries (a term, a vote or a snapshot) is not from a client.
        busy_poll.note(0, at(10_700));
        assert_eq!(busy_poll.end(), Some(at(11_000)));
        busy_poll.note(1, at(10_900));
        assert_eq!(busy_poll.end(), Some(at(11_400)));
    }

    #[test]
    fn writes_that_are_rare_do_not() {
        let (busy_poll, at) = busy_poll(MOST);
        for write in 1..10 {
            busy_poll.note(1, at(write * 501));
            assert_eq!(busy_poll.end(), None);
        }
    }

    #[test]
    fn writes_of_many_end_it() {
        let (busy_poll, at) = busy_poll(MOST);
        busy_poll.note(1, at(100));
        busy_poll.note(1, at(200));
        assert!(busy_poll.end().is_some());
        busy_poll.note(2, at(300));
        assert_eq!(busy_poll.end(), None);
        busy_poll.note(1, at(400));
        assert_eq!(busy_poll.end(), None, "it begins anew");
        busy_poll.note(1, at(500));
        assert!(busy_poll.end().is_some());
    }

    #[test]
    fn of_no_length_there_is_none() {
        let (busy_poll, at) = busy_poll(Duration::ZERO);
        for write in 1..10 {
            busy_poll.note(1, at(write));
            assert_eq!(busy_poll.end(), None);
        }
        let (endless, at) = self::busy_poll(Duration::MAX);
        endless.note(1, at(1));
        endless.note(1, at(u64::from(u32::MAX)));
        assert!(endless.end().is_none_or(|end| end > at(1 << 40)));
    }
}
