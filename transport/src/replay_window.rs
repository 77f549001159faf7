//! Anti-replay protection for one peer session: a sliding window over the sequence numbers received
//! (as in RFC 4303 §3.4.3).
//!
//! Duplicates, and datagrams older than the window, are dropped. The protocol tolerates both. The
//! window saves the work, and keeps an attacker from replaying recorded datagrams indefinitely.

const WORDS: usize = 32;
/// The width of the window: how far a sequence number may lag behind the latest one.
const WIDTH: u64 = WORDS as u64 * 64;

/// The last [`WIDTH`] sequence numbers, one bit each.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplayWindow {
    latest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Records this number. Returns false if it is a duplicate or older than the window.
    pub(crate) fn take(&mut self, sequence: u64) -> bool {
        if sequence > self.latest {
            // The bits in between belong to numbers that left the window: clear them for the new
            // ones.
            let from = self.latest + 1;
            if sequence - self.latest >= WIDTH {
                self.seen = [0; WORDS];
            } else {
                for between in from..=sequence {
                    *self.word(between) &= !bit(between);
                }
            }
            self.latest = sequence;
        } else if self.latest - sequence >= WIDTH {
            return false;
        }
        let word = self.word(sequence);
        let new = *word & bit(sequence) == 0;
        *word |= bit(sequence);
        new
    }

    fn word(&mut self, sequence: u64) -> &mut u64 {
        &mut self.seen[(sequence / 64) as usize % WORDS]
    }
}

const fn bit(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_number_is_taken_once_if_it_is_recent(
            steps in prop::collection::vec(prop_oneof![0..50_u64, 0..3000_u64, 0..100_000_u64], 1..400)
        ) {
            let mut window = ReplayWindow::default();
            let mut taken = BTreeSet::new();
            let mut latest = 0;
            for (nth, step) in steps.into_iter().enumerate() {
                // Alternate between numbers ahead of the latest and behind it.
                let sequence = if nth % 2 == 0 { latest + step } else { u64::saturating_sub(latest, step) };
                if sequence == 0 {
                    continue;
                }
                let recent = sequence > latest || latest - sequence < WIDTH;
                prop_assert_eq!(window.take(sequence), recent && taken.insert(sequence));
                latest = latest.max(sequence);
            }
        }
    }

    #[test]
    fn the_last_number_there_is_does_no_harm() {
        let mut window = ReplayWindow::default();
        assert!(window.take(u64::MAX));
        assert!(!window.take(u64::MAX));
        assert!(!window.take(1));
        assert!(window.take(u64::MAX - 1));
    }
}
