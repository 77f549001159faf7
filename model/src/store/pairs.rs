//! An ordered copy-on-write map: copies share their common parts, so a copy is cheap.
//!
//! The pairs lie in leaves, each behind an `Arc`. A copy of the map copies the list of leaves. A
//! change copies only the leaf that it affects, if another copy still shares that leaf, and none of
//! the values in it. A snapshot of millions of pairs is therefore immediate, and no single later
//! write pays for all of them (a server must respond to heartbeats in the meantime).
//!
//! The keys of a leaf are contiguous in memory ([`Row`]): a lookup reads a few neighboring cache
//! lines.
//!
//! The distribution of pairs over leaves depends on history and has no meaning: equality, order and
//! hash of two maps depend on their pairs alone.

use super::{Key, Versioned, pair_bytes};
use alloc::{sync::Arc, vec, vec::Vec};
use core::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::Bound,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The maximum number of pairs in a leaf.
const PAIRS: usize = 64;
/// The maximum size of a leaf's keys in bytes, unless the leaf holds one pair.
const BYTES: usize = 64 * 1024;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Pairs {
    /// For each leaf a lower bound of its keys, which is greater than all keys of the leaves before
    /// it; for the first leaf the empty key.
    bounds: Row,
    leaves: Vec<Arc<Leaf>>,
    /// The sum of [`pair_bytes`] over all pairs.
    bytes: u64,
}

#[derive(Clone, Default)]
struct Leaf {
    /// Never empty.
    keys: Row,
    /// The value of each key.
    held: Vec<Versioned>,
}

/// Keys in ascending order.
#[derive(Clone, Default)]
struct Row {
    /// The concatenated keys.
    bytes: Vec<u8>,
    /// The end of each key in `bytes`.
    ends: Vec<usize>,
}

/// The position of a key, present or not, in a map that has not changed since.
#[derive(Clone, Copy)]
pub(super) struct Position {
    leaf: usize,
    pair: Result<usize, usize>,
}

impl Row {
    fn len(&self) -> usize {
        self.ends.len()
    }

    fn start(&self, nth: usize) -> usize {
        nth.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    fn get(&self, nth: usize) -> &[u8] {
        &self.bytes[self.start(nth)..self.ends[nth]]
    }

    /// The position of a key (`Ok`), or the position where it belongs (`Err`).
    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from.midpoint(to);
            match self.get(middle).cmp(key) {
                Ordering::Less => from = middle + 1,
                Ordering::Greater => to = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(from)
    }

    fn insert(&mut self, nth: usize, key: &[u8]) {
        let start = self.start(nth);
        self.bytes.splice(start..start, key.iter().copied());
        self.ends.insert(nth, start);
        for end in &mut self.ends[nth..] {
            *end += key.len();
        }
    }

    fn remove(&mut self, nth: usize) {
        let (start, end) = (self.start(nth), self.ends.remove(nth));
        self.bytes.drain(start..end);
        for later in &mut self.ends[nth..] {
            *later -= end - start;
        }
    }

    /// Splits off the keys from this position on.
    fn split_off(&mut self, nth: usize) -> Self {
        let start = self.start(nth);
        let mut ends = self.ends.split_off(nth);
        for end in &mut ends {
            *end -= start;
        }
        let bytes = self.bytes.split_off(start);
        Self { bytes, ends }
    }
}

impl Leaf {
    fn is_full(&self) -> bool {
        self.held.len() > 1 && (self.held.len() > PAIRS || self.keys.bytes.len() > BYTES)
    }

    /// Splits off the pairs from this position on.
    fn split_off(&mut self, nth: usize) -> Self {
        Self {
            keys: self.keys.split_off(nth),
            held: self.held.split_off(nth),
        }
    }

    fn middle(&self) -> usize {
        self.held.len() / 2
    }

    fn iter_from(&self, nth: usize) -> impl Iterator<Item = (&[u8], &Versioned)> {
        let pairs = self.held[nth..].iter().enumerate();
        pairs.map(move |(position, held)| (self.keys.get(nth + position), held))
    }
}

impl Pairs {
    pub(super) fn find(&self, key: &[u8]) -> Position {
        let leaf = match self.bounds.find(key) {
            Ok(leaf) => leaf,
            Err(next) => next.saturating_sub(1),
        };
        let pair = match self.leaves.get(leaf) {
            Some(of) => of.keys.find(key),
            None => Err(0),
        };
        Position { leaf, pair }
    }

    pub(super) fn at(&self, position: Position) -> Option<&Versioned> {
        let at = position.pair.ok()?;
        Some(&self.leaves[position.leaf].held[at])
    }

    /// The size of all pairs as counted in the state, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Versioned> {
        self.at(self.find(key))
    }

    /// Sets a key at its position.
    pub(super) fn insert(&mut self, position: Position, key: &[u8], held: Versioned) {
        if self.leaves.is_empty() {
            self.bounds.insert(0, &[]);
            self.leaves.push(Arc::default());
        }
        let leaf = Arc::make_mut(&mut self.leaves[position.leaf]);
        self.bytes += pair_bytes(key.len(), held.value.len());
        let at = match position.pair {
            Ok(at) => {
                let before = core::mem::replace(&mut leaf.held[at], held);
                self.bytes -= pair_bytes(key.len(), before.value.len());
                return;
            }
            Err(at) => at,
        };
        leaf.keys.insert(at, key);
        leaf.held.insert(at, held);
        if !leaf.is_full() {
            return;
        }
        // Writes in ascending key order leave full leaves behind.
        let last = leaf.held.len() - 1;
        let mut later = vec![leaf.split_off(if at == last { last } else { leaf.middle() })];
        while leaf.is_full() {
            later.push(leaf.split_off(leaf.middle()));
        }
        let mut next = position.leaf + 1;
        while let Some(mut leaf) = later.pop() {
            if leaf.is_full() {
                later.push(leaf.split_off(leaf.middle()));
                later.push(leaf);
            } else {
                self.bounds.insert(next, leaf.keys.get(0));
                self.leaves.insert(next, Arc::new(leaf));
                next += 1;
            }
        }
    }

    /// Removes the key at a position, if there is one.
    pub(super) fn remove(&mut self, position: Position) {
        let Ok(at) = position.pair else {
            return;
        };
        let leaf = Arc::make_mut(&mut self.leaves[position.leaf]);
        let key = leaf.keys.get(at).len();
        leaf.keys.remove(at);
        let removed = leaf.held.remove(at);
        self.bytes -= pair_bytes(key, removed.value.len());
        if leaf.held.is_empty() {
            // The bound of the first remaining leaf is the empty key.
            let bound = position.leaf.max(1).min(self.leaves.len() - 1);
            self.bounds.remove(bound);
            self.leaves.remove(position.leaf);
        }
    }

    /// All pairs, in key order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Versioned)> {
        self.leaves.iter().flat_map(|leaf| leaf.iter_from(0))
    }

    /// The pairs from a key on.
    pub(super) fn from(&self, start: Bound<&Key>) -> impl Iterator<Item = (&[u8], &Versioned)> {
        let (first, mut skipped) = match start {
            Bound::Unbounded => (0, 0),
            Bound::Included(key) | Bound::Excluded(key) => {
                let Position { leaf, pair } = self.find(key);
                let past = usize::from(matches!(start, Bound::Excluded(_)));
                (leaf, pair.map_or_else(|at| at, |at| at + past))
            }
        };
        let leaves = self.leaves.get(first..).unwrap_or_default();
        leaves
            .iter()
            .flat_map(move |leaf| leaf.iter_from(core::mem::take(&mut skipped)))
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

/// Serialized as a sequence of pairs: keys are bytes, which JSON does not accept as field names.
impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq as _;

        #[derive(serde::Serialize)]
        struct Pair<'a>(#[serde(with = "serde_bytes")] &'a [u8], &'a Versioned);

        let count = self.leaves.iter().map(|leaf| leaf.held.len()).sum();
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
                    pairs.insert(pairs.find(&key), &key, held);
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
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn held(version: u64, length: usize) -> Versioned {
        Versioned {
            value: vec![version as u8; length].into(),
            version: LogIndex::new(version),
        }
    }

    impl Pairs {
        fn set(&mut self, key: &[u8], held: Versioned) {
            self.insert(self.find(key), key, held);
        }

        fn assert_sound(&self) {
            let mut last: Option<&[u8]> = None;
            let pairs = self.iter();
            let bytes = pairs.map(|(key, held)| pair_bytes(key.len(), held.value.len()));
            assert_eq!(self.bytes, bytes.sum::<u64>());
            assert_eq!(self.leaves.len(), self.bounds.len());
            for (nth, leaf) in self.leaves.iter().enumerate() {
                assert!(!leaf.held.is_empty() && !leaf.is_full());
                assert_eq!(leaf.held.len(), leaf.keys.len());
                let bound = self.bounds.get(nth);
                assert_eq!(nth == 0, bound.is_empty());
                assert!(last.is_none_or(|last| last < bound));
                for (key, _) in leaf.iter_from(0) {
                    assert!(key >= bound && last.is_none_or(|last| last < key));
                    last = Some(key);
                }
            }
        }
    }

    fn borrowed<'a>((key, held): (&'a Key, &'a Versioned)) -> (&'a [u8], &'a Versioned) {
        (key, held)
    }

    proptest! {
        /// Model-based test: the map equals the standard map after any sequence of steps, and
        /// copies taken on the way do not change.
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
                    pairs.remove(pairs.find(&key));
                    map.remove(&key);
                } else {
                    // Mostly short, so that many pairs share a leaf.
                    let length = if nth % 50 == 0 { length } else { length % 100 };
                    let new = held(nth as u64, length);
                    pairs.set(&key, new.clone());
                    map.insert(key.clone(), new);
                }
                prop_assert_eq!(pairs.get(&key), map.get(&key));
                if nth % 300 == 0 {
                    copies.push((pairs.clone(), map.clone()));
                    for start in [Bound::Included(&key), Bound::Excluded(&key), Bound::Unbounded] {
                        let expected = map.range::<Key, _>((start, Bound::Unbounded));
                        prop_assert!(pairs.from(start).eq(expected.map(borrowed)));
                    }
                }
            }
            copies.push((pairs, map));
            for (pairs, map) in &copies {
                pairs.assert_sound();
                prop_assert!(pairs.iter().eq(map.iter().map(borrowed)));
                // A map filled in key order has different leaves.
                let mut other = Pairs::default();
                for (key, value) in map {
                    other.set(key, value.clone());
                }
                other.assert_sound();
                prop_assert_eq!(pairs, &other);
                prop_assert_eq!(pairs.cmp(&other), Ordering::Equal);
                let bytes = postcard::to_allocvec(pairs).unwrap();
                prop_assert_eq!(postcard::from_bytes::<Pairs>(&bytes), Ok(other));
            }
        }
    }

    /// A leaf that becomes empty is removed at any position, and later keys find their position
    /// among the remaining leaves.
    #[test]
    fn emptied_leaves_leave_no_gap() {
        let key = |nth: u32| nth.to_be_bytes();
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            let mut pairs = Pairs::default();
            let mut map = BTreeMap::new();
            for nth in 0..900 {
                pairs.set(&key(nth), held(1, 8));
                map.insert(key(nth).to_vec(), held(1, 8));
            }
            let leaves = pairs.leaves.len();
            for third in order {
                for nth in third * 300..(third + 1) * 300 {
                    pairs.remove(pairs.find(&key(nth)));
                    map.remove(&key(nth)[..]);
                    pairs.assert_sound();
                }
                assert!(pairs.leaves.len() < leaves);
                for nth in (third * 300..(third + 1) * 300).step_by(100) {
                    pairs.set(&key(nth), held(2, 8));
                    map.insert(key(nth).to_vec(), held(2, 8));
                    pairs.assert_sound();
                }
                assert!(pairs.iter().eq(map.iter().map(borrowed)));
            }
            for nth in 0..900 {
                pairs.remove(pairs.find(&key(nth)));
            }
            assert!(pairs.leaves.is_empty() && pairs.bounds.len() == 0);
        }
    }

    /// After a copy, a write copies one leaf and none of its values, and shares all other leaves.
    #[test]
    fn write_after_a_copy_copies_one_leaf() {
        let mut pairs = Pairs::default();
        for nth in 0..10_000_u32 {
            pairs.set(&nth.to_be_bytes(), held(1, 64));
        }
        let copy = pairs.clone();
        pairs.set(&5_000_u32.to_be_bytes(), held(2, 64));
        pairs.remove(pairs.find(&7_000_u32.to_be_bytes()));
        assert!(copy.leaves.len() > 50 && copy.leaves.len() == pairs.leaves.len());
        let both = pairs.leaves.iter().zip(&copy.leaves);
        let own = both.filter(|(one, other)| !Arc::ptr_eq(one, other)).count();
        assert_eq!(own, 2);
        let values =
            |of: &Pairs| -> Vec<_> { of.iter().map(|(_, held)| held.value.as_ptr()).collect() };
        let (mut one, mut other) = (values(&pairs), values(&copy));
        other.remove(7_000);
        assert_ne!(one.remove(5_000), other.remove(5_000));
        assert_eq!(one, other);
    }
}
