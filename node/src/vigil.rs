//! Staying awake for someone who writes alone.
//!
//! Of the time that a single write takes, a third is waking up: its client, the leader, a follower
//! and the leader again sleep in turn. With many clients somebody always is awake, and what waiting
//! threads would burn is missing elsewhere. So a server stays awake only while writes come one at a
//! time and in quick succession, which is how a client writes that waits for each answer.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// How long to stay awake. Told by whoever is at the disk, asked by all.
pub(crate) struct Vigil {
    /// How soon a write follows another, and how long the next is waited for.
    most: Duration,
    since: Instant,
    /// Nanoseconds since then: the last write that came alone, or 0.
    alone: AtomicU64,
    /// And the end of the vigil, or 0.
    end: AtomicU64,
}

impl Vigil {
    /// With zero there is none.
    pub(crate) fn new(most: Duration) -> Self {
        Self {
            most,
            since: Instant::now(),
            alone: AtomicU64::new(0),
            end: AtomicU64::new(0),
        }
    }

    /// So many entries became durable together.
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

    /// Until when to stay awake, if at all.
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

    /// A vigil, and moments in microseconds after its beginning.
    fn vigil(most: Duration) -> (Vigil, impl Fn(u64) -> Instant) {
        let vigil = Vigil::new(most);
        let since = vigil.since;
        (vigil, move |micros| since + Duration::from_micros(micros))
    }

    #[test]
    fn single_writes_in_quick_succession_keep_it_awake() {
        let (vigil, at) = vigil(MOST);
        assert_eq!(vigil.end(), None);
        vigil.note(1, at(10_000));
        assert_eq!(vigil.end(), None, "nobody knows whether another follows");
        vigil.note(1, at(10_500));
        assert_eq!(vigil.end(), Some(at(11_000)));
        // A term, a vote or a snapshot is no client's write.
        vigil.note(0, at(10_700));
        assert_eq!(vigil.end(), Some(at(11_000)));
        vigil.note(1, at(10_900));
        assert_eq!(vigil.end(), Some(at(11_400)));
    }

    #[test]
    fn writes_that_are_rare_do_not() {
        let (vigil, at) = vigil(MOST);
        for write in 1..10 {
            vigil.note(1, at(write * 501));
            assert_eq!(vigil.end(), None);
        }
    }

    #[test]
    fn writes_of_many_end_it() {
        let (vigil, at) = vigil(MOST);
        vigil.note(1, at(100));
        vigil.note(1, at(200));
        assert!(vigil.end().is_some());
        vigil.note(2, at(300));
        assert_eq!(vigil.end(), None);
        vigil.note(1, at(400));
        assert_eq!(vigil.end(), None, "it begins anew");
        vigil.note(1, at(500));
        assert!(vigil.end().is_some());
    }

    #[test]
    fn of_no_length_there_is_none() {
        let (vigil, at) = vigil(Duration::ZERO);
        for write in 1..10 {
            vigil.note(1, at(write));
            assert_eq!(vigil.end(), None);
        }
        let (endless, at) = self::vigil(Duration::MAX);
        endless.note(1, at(1));
        endless.note(1, at(u64::from(u32::MAX)));
        assert!(endless.end().is_none_or(|end| end > at(1 << 40)));
    }
}
