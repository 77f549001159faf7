//! Where each `SCAN` left off.
//!
//! Redis names a place in a listing by a number; here a place is a key. So the last key of each
//! page is remembered under a number of its own, for as many places as there is room.

use std::collections::BTreeMap;

const CAPACITY: usize = 4096;

/// The places that are remembered.
#[derive(Debug)]
pub(crate) struct Cursors {
    next: u64,
    places: BTreeMap<u64, Vec<u8>>,
}

impl Default for Cursors {
    fn default() -> Self {
        Self {
            // Of a former run, or of another proxy, no number is likely to be met here.
            next: rand::random::<u64>() >> 16 | 1,
            places: BTreeMap::new(),
        }
    }
}

impl Cursors {
    /// Remembers a place; the oldest is forgotten if there is no room.
    pub(crate) fn remember(&mut self, after: Vec<u8>) -> u64 {
        if self.places.len() >= CAPACITY {
            self.places.pop_first();
        }
        let cursor = self.next;
        self.next += 1;
        self.places.insert(cursor, after);
        cursor
    }

    /// The place, if it is remembered. It may be gone to again.
    pub(crate) fn find(&self, cursor: u64) -> Option<Vec<u8>> {
        self.places.get(&cursor).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_the_oldest_goes() {
        let mut cursors = Cursors::default();
        let first = cursors.remember(b"a".to_vec());
        let second = cursors.remember(b"b".to_vec());
        for _ in 2..=CAPACITY {
            cursors.remember(b"c".to_vec());
        }
        assert_eq!(cursors.find(first), None);
        assert_eq!(cursors.find(second), Some(b"b".to_vec()));
        assert_eq!(cursors.places.len(), CAPACITY);
        assert_ne!(first, 0, "0 is where a listing starts");
    }
}
