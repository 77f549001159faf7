//! A timer queue: it returns the expired timers and the next deadline.
//!
//! A key identifies a timer. The timer's action (a task, a callback) is not stored here: the owner
//! sleeps until the first deadline and then processes the expired timers. The size of the queue is the
//! number of armed timers, independent of its history.

use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// A set of timers, at most one per key.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    deadlines: BTreeMap<K, Instant>,
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            deadlines: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Clone + Ord> Timers<K> {
    /// Arms a timer, and replaces the timer of the same key.
    pub(crate) fn arm(&mut self, key: K, deadline: Instant) {
        if let Some(before) = self.deadlines.insert(key.clone(), deadline) {
            self.order.remove(&(before, key.clone()));
        }
        self.order.insert((deadline, key));
    }

    /// Disarms a timer, if it is armed.
    pub(crate) fn disarm(&mut self, key: &K) {
        if let Some(deadline) = self.deadlines.remove(key) {
            self.order.remove(&(deadline, key.clone()));
        }
    }

    /// The deadline of the first timer.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(deadline, _)| *deadline)
    }

    /// Disarms and returns the first timer, if it has expired.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.deadlines.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timer_fires_once_at_its_last_deadline_and_not_after_disarming() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        timers.arm('a', after(1));
        timers.arm('b', after(2));
        timers.arm('c', after(2));
        timers.arm('a', after(3));
        timers.disarm(&'c');
        assert_eq!(timers.next(), Some(after(2)));
        assert_eq!(timers.pop_due(after(1)), None);
        assert_eq!(timers.pop_due(after(2)), Some('b'));
        assert_eq!(timers.pop_due(after(2)), None);
        assert_eq!(timers.pop_due(after(9)), Some('a'));
        assert_eq!((timers.next(), timers.pop_due(after(9))), (None, None));
        assert!(timers.deadlines.is_empty());
    }
}
