//! What one thread remembers of the tables, laid out so that states with the same processes find
//! what they need close together: by receiver and sender first, then by lane, then by post.

use super::tables::Facts;
use smallvec::SmallVec;

/// Posts to several places, by their id.
pub(crate) type Bundle = u32;

/// No posts.
pub(crate) const NOTHING: Bundle = 0;

/// Not known yet.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// A part of an arena.
#[derive(Clone, Copy, Default)]
pub(crate) struct Range {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

impl Range {
    pub(crate) fn numbers(self) -> std::ops::Range<usize> {
        self.first as usize..(self.first + self.count) as usize
    }
}

/// A process that listens to one sender: what is known of the lanes between them.
#[derive(Default)]
pub(crate) struct Ear {
    /// A hash table; its length is a power of two, or 0.
    lanes: Vec<Heard>,
    len: usize,
}

/// A lane and the facts that decide with it, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneKey(u32);

impl LaneKey {
    #[inline]
    pub(crate) fn new(lane: u32, facts: Facts) -> Self {
        assert!(lane < 1 << 30, "more lanes than a key can tell apart");
        Self(lane << 2 | u32::from(facts.settled) << 1 | u32::from(facts.calm))
    }

    pub(crate) fn lane(self) -> u32 {
        self.0 >> 2
    }

    pub(crate) fn facts(self) -> Facts {
        Facts {
            settled: self.0 & 2 != 0,
            calm: self.0 & 1 != 0,
        }
    }
}

/// What is known of a lane and its receiver.
#[derive(Clone, Copy)]
pub(crate) struct Heard {
    key: LaneKey,
    /// The lane after the receiver has just come into this state, [`UNKNOWN`] until it is needed.
    pub(crate) entered: u32,
    /// What is sent early then.
    pub(crate) early: Bundle,
    /// The number of the lane's cell, [`UNKNOWN`] until it is needed.
    pub(crate) cell: u32,
}

const VACANT: Heard = Heard {
    key: LaneKey(UNKNOWN),
    entered: UNKNOWN,
    early: NOTHING,
    cell: UNKNOWN,
};

impl Ear {
    /// What is known of a lane.
    #[inline]
    pub(crate) fn heard(&mut self, key: LaneKey) -> &mut Heard {
        let mut mask = self.lanes.len().wrapping_sub(1);
        let mut place = Self::hash(key) & mask;
        loop {
            match self.lanes.get(place) {
                Some(heard) if heard.key == key => break,
                Some(heard) if heard.key != VACANT.key => place = (place + 1) & mask,
                _ => {
                    place = self.insert(key);
                    mask = self.lanes.len() - 1;
                    break;
                }
            }
        }
        &mut self.lanes[place & mask]
    }

    #[cold]
    fn insert(&mut self, key: LaneKey) -> usize {
        if self.len * 2 >= self.lanes.len() {
            let larger = vec![VACANT; (self.lanes.len() * 2).max(4)];
            for heard in std::mem::replace(&mut self.lanes, larger) {
                if heard.key != VACANT.key {
                    let place = self.vacancy(heard.key);
                    self.lanes[place] = heard;
                }
            }
        }
        self.len += 1;
        let place = self.vacancy(key);
        self.lanes[place].key = key;
        place
    }

    fn vacancy(&self, key: LaneKey) -> usize {
        let mask = self.lanes.len() - 1;
        let mut place = Self::hash(key) & mask;
        while self.lanes[place].key != VACANT.key {
            place = (place + 1) & mask;
        }
        place
    }

    fn hash(key: LaneKey) -> usize {
        (key.0.wrapping_mul(0x9e37_79b1) >> 8) as usize
    }
}

/// A tidied lane with its receiver.
#[repr(align(64))]
pub(crate) struct Cell {
    /// Who hears it.
    pub(crate) ear: u32,
    /// The lane, and under which facts.
    pub(crate) key: LaneKey,
    /// What the messages of the lane can bring about; `None` until it is needed.
    pub(crate) steps: Option<Range>,
    /// How many of their deliveries only send.
    pub(crate) early_count: u32,
    /// What becomes of the lane when more messages come to it: (post, lane, early).
    pub(crate) added: SmallVec<[(u32, u32, Bundle); 2]>,
}

/// Pairs of small ids.
#[derive(Default)]
pub(crate) struct Pairs {
    rows: Vec<Vec<u64>>,
}

impl Pairs {
    #[inline]
    pub(crate) fn contains(&self, one: u32, other: u32) -> bool {
        let row = self.rows.get(one as usize);
        let word = row.and_then(|row| row.get(other as usize / 64));
        word.is_some_and(|word| word >> (other % 64) & 1 != 0)
    }

    pub(crate) fn insert(&mut self, one: u32, other: u32) {
        let (one, word) = (one as usize, other as usize / 64);
        if one >= self.rows.len() {
            self.rows.resize_with(one + 1, Vec::new);
        }
        let row = &mut self.rows[one];
        if word >= row.len() {
            row.resize(word + 1, 0);
        }
        row[word] |= 1 << (other % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    proptest! {
        #[test]
        fn an_ear_tells_lanes_and_facts_apart(
            lanes in prop::collection::vec((0_u32..300, any::<bool>(), any::<bool>()), 2000),
        ) {
            let mut ear = Ear::default();
            let mut plain = HashMap::new();
            for (number, (lane, settled, calm)) in lanes.into_iter().enumerate() {
                let key = LaneKey::new(lane, Facts { settled, calm });
                prop_assert_eq!((key.lane(), key.facts()), (lane, Facts { settled, calm }));
                let heard = ear.heard(key);
                let expected = plain.entry((lane, settled, calm)).or_insert(UNKNOWN);
                prop_assert_eq!(heard.entered, *expected);
                (heard.entered, *expected) = (number as u32, number as u32);
            }
            prop_assert_eq!(ear.len, plain.len());
        }

        #[test]
        fn pairs_agree_with_the_standard_set(
            pairs in prop::collection::vec((0_u32..200, 0_u32..200), 500),
        ) {
            let (mut set, mut plain) = (Pairs::default(), HashSet::new());
            for (one, other) in pairs {
                prop_assert_eq!(set.contains(one, other), plain.contains(&(one, other)));
                set.insert(one, other);
                plain.insert((one, other));
            }
        }
    }
}
