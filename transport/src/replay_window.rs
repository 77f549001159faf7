//! Which datagrams of one sender's run were received: a sliding window over their numbers.
//!
//! A datagram received before is dropped, and so is one so old that nobody remembers. The protocol
//! would bear both; this spares it the work, and keeps whoever records datagrams from sending them
//! again for ever.

const WORDS: usize = 32;
/// How far behind the latest datagram one may be.
const WIDTH: u64 = WORDS as u64 * 64;

/// The last [`WIDTH`] numbers, a bit each.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplayWindow {
    latest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Notes this number. False if it was there before or is too old to tell.
    pub(crate) fn take(&mut self, sequence: u64) -> bool {
        if sequence > self.latest {
            // The bits in between stand for numbers too old by now: clear them for the new ones.
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
                // Forwards and backwards from the latest, in turn.
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
