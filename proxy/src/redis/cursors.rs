//! The positions of `SCAN` cursors.
//!
//! Redis identifies a position in a listing by a number; here a position is a key. So the last key of
//! each page is stored under a unique number, for a bounded number of positions.

use std::collections::BTreeMap;

const CAPACITY: usize = 4096;

/// The stored positions.
#[derive(Debug)]
pub(crate) struct Cursors {
    next: u64,
    positions: BTreeMap<u64, Vec<u8>>,
}

impl Cursors {
    /// `random` determines the first cursor, so that cursors of an earlier run or of another proxy are
    /// unlikely to match.
    pub(crate) fn new(random: u64) -> Self {
        Self {
            next: random >> 16 | 1,
            positions: BTreeMap::new(),
        }
    }

    /// Stores a position. If the table is full, it forgets the oldest position.
    pub(crate) fn remember(&mut self, after: Vec<u8>) -> u64 {
        if self.positions.len() >= CAPACITY {
            self.positions.pop_first();
        }
        let cursor = self.next;
        self.next += 1;
        self.positions.insert(cursor, after);
        cursor
    }

    /// The position of a cursor, if it is still stored. A cursor can be used repeatedly.
    pub(crate) fn find(&self, cursor: u64) -> Option<Vec<u8>> {
        self.positions.get(&cursor).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_bounded_and_the_oldest_goes() {
        let mut cursors = Cursors::new(0);
        let first = cursors.remember(b"a".to_vec());
        let second = cursors.remember(b"b".to_vec());
        for _ in 2..=CAPACITY {
            cursors.remember(b"c".to_vec());
        }
        assert_eq!(cursors.find(first), None);
        assert_eq!(cursors.find(second), Some(b"b".to_vec()));
        assert_eq!(cursors.positions.len(), CAPACITY);
        assert_ne!(first, 0, "0 is where a listing starts");
    }
}
