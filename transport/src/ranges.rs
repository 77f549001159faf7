//! The received bytes of a message: ranges that neither overlap nor touch.

use std::collections::BTreeMap;

/// A set of byte positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    /// The start of each range, and its exclusive end.
    ranges: BTreeMap<u32, u32>,
}

impl Ranges {
    /// Adds the bytes from `from` up to, not including, `to`. Returns how many are new.
    pub(crate) fn insert(&mut self, mut from: u32, mut to: u32) -> u32 {
        if from >= to {
            return 0;
        }
        let mut new = to - from;
        let touching = self.ranges.range(..=to).rev();
        let touching: Vec<(u32, u32)> = touching
            .map(|(start, end)| (*start, *end))
            .take_while(|(_, end)| *end >= from)
            .collect();
        for (start, end) in touching {
            new -= end.min(to).saturating_sub(start.max(from));
            from = from.min(start);
            to = to.max(end);
            self.ranges.remove(&start);
        }
        self.ranges.insert(from, to);
        new
    }

    /// Removes the bytes before `position`, and the range that contains it. Returns the end of that
    /// range, or `position` if there is none.
    pub(crate) fn advance(&mut self, position: u32) -> u32 {
        let mut position = position;
        while let Some(first) = self.ranges.first_entry()
            && *first.key() <= position
        {
            position = position.max(first.remove());
        }
        position
    }

    /// The first range of missing bytes between two positions.
    pub(crate) fn gap(&self, from: u32, to: u32) -> Option<(u32, u32)> {
        let before = self.ranges.range(..=from).next_back();
        let from = before.map_or(from, |(_, end)| from.max(*end));
        let next = self.ranges.range(from..).next().map(|(start, _)| *start);
        let to = next.map_or(to, |next| to.min(next));
        (from < to).then_some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn ranges_are_the_set_of_their_bytes(
            pieces in prop::collection::vec((0..60_u32, 0..12_u32), 0..20),
            done in 0..60_u32,
            (from, length) in (0..60_u32, 0..30_u32),
        ) {
            let mut ranges = Ranges::default();
            let mut bytes = BTreeSet::new();
            for (start, length) in pieces {
                let before = bytes.len();
                bytes.extend(start..start + length);
                prop_assert_eq!(ranges.insert(start, start + length) as usize, bytes.len() - before);
            }
            let missing: Vec<u32> = (from..from + length).filter(|at| !bytes.contains(at)).collect();
            let gap = missing.first().map(|first| {
                let run = missing.iter().zip(*first..).take_while(|(at, nth)| *at == nth).count();
                (*first, first + run as u32)
            });
            prop_assert_eq!(ranges.gap(from, from + length), gap);
            let mut next = done;
            while bytes.contains(&next) {
                next += 1;
            }
            prop_assert_eq!(ranges.advance(done), next);
            prop_assert!(ranges.ranges.keys().all(|start| *start > next));
        }
    }
}
