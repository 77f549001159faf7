//! An ordered map of which a copy costs little: what two copies have in common they share.
//!
//! The pairs lie in leaves, each behind an `Arc` of its own. A copy of the map copies the list of its
//! leaves; a change copies the one leaf it falls into, if somebody else still holds that. So a
//! snapshot of millions of pairs is taken in a moment, and no single write after it pays for all of
//! them (a server has heartbeats to answer meanwhile).
//!
//! How the pairs are spread over leaves follows from what happened, and says nothing: two maps are
//! equal, ordered and hashed by their pairs alone.

use super::{Key, Versioned};
use alloc::{collections::BTreeMap, sync::Arc, vec, vec::Vec};
use core::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    mem,
    ops::Bound,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most pairs of a leaf,
const PAIRS: usize = 128;
/// and the most bytes, unless it is one pair.
const BYTES: usize = 64 * 1024;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Pairs {
    /// By a key that none of a leaf is less than, and that all of those before it are less than.
    leaves: BTreeMap<Key, Arc<Leaf>>,
}

#[derive(Clone, Default)]
struct Leaf {
    /// In the order of their keys; never none.
    pairs: Vec<(Key, Versioned)>,
    bytes: usize,
}

impl Leaf {
    fn place(&self, key: &Key) -> Result<usize, usize> {
        self.pairs.binary_search_by(|(held, _)| held.cmp(key))
    }

    fn is_full(&self) -> bool {
        self.pairs.len() > 1 && (self.pairs.len() > PAIRS || self.bytes > BYTES)
    }

    /// Takes out what comes from this place on.
    fn split(&mut self, at: usize) -> Self {
        let pairs = self.pairs.split_off(at);
        let bytes = pairs.iter().map(size).sum();
        self.bytes -= bytes;
        Self { pairs, bytes }
    }

    fn middle(&self) -> usize {
        self.pairs.len() / 2
    }
}

fn size((key, held): &(Key, Versioned)) -> usize {
    key.len() + held.value.len()
}

impl Pairs {
    pub(super) fn get(&self, key: &Key) -> Option<&Versioned> {
        let (_, leaf) = self.leaves.range::<Key, _>(..=key).next_back()?;
        let place = leaf.place(key).ok()?;
        Some(&leaf.pairs[place].1)
    }

    pub(super) fn insert(&mut self, key: Key, held: Versioned) {
        let Some((_, leaf)) = self.leaves.range_mut::<Key, _>(..=&key).next_back() else {
            // Less than all there are, and so is nothing.
            let pair = (key, held);
            let bytes = size(&pair);
            let pairs = vec![pair];
            self.leaves
                .insert(Key::new(), Arc::new(Leaf { pairs, bytes }));
            return;
        };
        let leaf = Arc::make_mut(leaf);
        let place = leaf.place(&key);
        match place {
            Ok(place) => {
                let value = &mut leaf.pairs[place].1;
                leaf.bytes += held.value.len();
                leaf.bytes -= mem::replace(value, held).value.len();
            }
            Err(place) => {
                let pair = (key, held);
                leaf.bytes += size(&pair);
                leaf.pairs.insert(place, pair);
            }
        }
        if !leaf.is_full() {
            return;
        }
        // Of what is written in the order of keys, full leaves are left behind.
        let last = leaf.pairs.len() - 1;
        let at = if place == Err(last) {
            last
        } else {
            leaf.middle()
        };
        let mut later = vec![leaf.split(at)];
        while leaf.is_full() {
            later.push(leaf.split(leaf.middle()));
        }
        while let Some(mut leaf) = later.pop() {
            if leaf.is_full() {
                later.push(leaf.split(leaf.middle()));
                later.push(leaf);
            } else {
                let bound = leaf.pairs[0].0.clone();
                self.leaves.insert(bound, Arc::new(leaf));
            }
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let Some((bound, leaf)) = self.leaves.range_mut::<Key, _>(..=key).next_back() else {
            return;
        };
        let Ok(place) = leaf.place(key) else {
            return;
        };
        let leaf = Arc::make_mut(leaf);
        let pair = leaf.pairs.remove(place);
        leaf.bytes -= size(&pair);
        if leaf.pairs.is_empty() {
            let bound = bound.clone();
            self.leaves.remove(&bound);
        }
    }

    /// All pairs, in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Versioned)> {
        self.leaves.values().flat_map(|leaf| in_leaf(leaf))
    }

    /// Those from a key on.
    pub(super) fn from<'a>(
        &'a self,
        start: Bound<&'a Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Versioned)> {
        let (Bound::Included(key) | Bound::Excluded(key)) = start else {
            return self.leaves_from(None).skip_while(is_before(start));
        };
        let first = self.leaves.range::<Key, _>(..=key).next_back();
        self.leaves_from(first.map(|(bound, _)| bound))
            .skip_while(is_before(start))
    }

    fn leaves_from<'a>(
        &'a self,
        bound: Option<&'a Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Versioned)> {
        let start = bound.map_or(Bound::Unbounded, Bound::Included);
        self.leaves
            .range::<Key, _>((start, Bound::Unbounded))
            .flat_map(|(_, leaf)| in_leaf(leaf))
    }
}

fn in_leaf(leaf: &Leaf) -> impl Iterator<Item = (&Key, &Versioned)> {
    leaf.pairs.iter().map(|(key, held)| (key, held))
}

fn is_before<'a>(start: Bound<&'a Key>) -> impl Fn(&(&Key, &Versioned)) -> bool + use<'a> {
    move |(key, _)| match start {
        Bound::Included(start) => *key < start,
        Bound::Excluded(start) => *key <= start,
        Bound::Unbounded => false,
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl PartialEq for Pairs {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Pairs {}

impl PartialOrd for Pairs {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pairs {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl Hash for Pairs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut count = 0_usize;
        for pair in self.iter() {
            pair.hash(state);
            count += 1;
        }
        count.hash(state);
    }
}

/// As the row of its pairs: keys that are bytes are no names of fields, as JSON wants them.
impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq as _;

        #[derive(serde::Serialize)]
        struct Pair<'a>(#[serde(with = "serde_bytes")] &'a Key, &'a Versioned);

        let count = self.leaves.values().map(|leaf| leaf.pairs.len()).sum();
        let mut row = serializer.serialize_seq(Some(count))?;
        for (key, held) in self.iter() {
            row.serialize_element(&Pair(key, held))?;
        }
        row.end()
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Pair(#[serde(with = "serde_bytes")] Key, Versioned);

        struct Row;

        impl<'de> serde::de::Visitor<'de> for Row {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row of pairs")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut row: A,
            ) -> Result<Pairs, A::Error> {
                let mut pairs = Pairs::default();
                while let Some(Pair(key, held)) = row.next_element()? {
                    pairs.insert(key, held);
                }
                Ok(pairs)
            }
        }

        deserializer.deserialize_seq(Row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogIndex;
    use proptest::prelude::*;

    fn held(version: u64, length: usize) -> Versioned {
        Versioned {
            value: vec![version as u8; length],
            version: LogIndex::new(version),
        }
    }

    impl Pairs {
        fn assert_sound(&self) {
            let mut last: Option<&Key> = None;
            for (bound, leaf) in &self.leaves {
                assert!(!leaf.pairs.is_empty() && !leaf.is_full());
                assert_eq!(leaf.bytes, leaf.pairs.iter().map(size).sum::<usize>());
                assert!(last.is_none_or(|last| last < bound));
                for (key, _) in &leaf.pairs {
                    assert!(key >= bound && last.is_none_or(|last| last < key));
                    last = Some(key);
                }
            }
        }
    }

    proptest! {
        /// Whatever is done, it holds what the standard map holds, and copies taken on the way stay
        /// what they were.
        #[test]
        fn it_is_the_standard_map(
            steps in prop::collection::vec(
                (0..4_u8, prop::collection::vec(0..3_u8, 0..7), 0..40_000_usize), 0..1500
            ),
        ) {
            let (mut pairs, mut map) = (Pairs::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (nth, (what, key, length)) in steps.into_iter().enumerate() {
                if what == 0 {
                    pairs.remove(&key);
                    map.remove(&key);
                } else {
                    // Mostly short, so that many share a leaf.
                    let length = if nth % 50 == 0 { length } else { length % 100 };
                    let new = held(nth as u64, length);
                    pairs.insert(key.clone(), new.clone());
                    map.insert(key.clone(), new);
                }
                prop_assert_eq!(pairs.get(&key), map.get(&key));
                if nth % 300 == 0 {
                    copies.push((pairs.clone(), map.clone()));
                    for start in [Bound::Included(&key), Bound::Excluded(&key), Bound::Unbounded] {
                        let expected = map.range::<Key, _>((start, Bound::Unbounded));
                        prop_assert!(pairs.from(start).eq(expected));
                    }
                }
            }
            copies.push((pairs, map));
            for (pairs, map) in copies {
                pairs.assert_sound();
                prop_assert!(pairs.iter().eq(map.iter()));
                // Filled in order, its leaves are others.
                let mut other = Pairs::default();
                for (key, value) in map {
                    other.insert(key, value);
                }
                other.assert_sound();
                prop_assert_eq!(&pairs, &other);
                prop_assert_eq!(pairs.cmp(&other), Ordering::Equal);
                let bytes = postcard::to_allocvec(&pairs).unwrap();
                prop_assert_eq!(postcard::from_bytes::<Pairs>(&bytes), Ok(pairs));
            }
        }
    }

    /// After a copy, a write copies one leaf and shares all others.
    #[test]
    fn write_after_a_copy_copies_one_leaf() {
        let mut pairs = Pairs::default();
        for nth in 0..10_000_u32 {
            pairs.insert(nth.to_be_bytes().to_vec(), held(1, 64));
        }
        let copy = pairs.clone();
        pairs.insert(5_000_u32.to_be_bytes().to_vec(), held(2, 64));
        pairs.remove(&7_000_u32.to_be_bytes().to_vec());
        let shared = |(key, leaf): &(&Key, &Arc<Leaf>)| {
            copy.leaves
                .get(*key)
                .is_some_and(|of| Arc::ptr_eq(of, leaf))
        };
        assert!(copy.leaves.len() > 50);
        let own = pairs.leaves.iter().filter(|leaf| !shared(leaf)).count();
        assert_eq!(own, 2);
    }
}
