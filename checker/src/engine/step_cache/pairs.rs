//! A set of pairs of small ids.

/// A row of bits for each first id.
#[derive(Default)]
pub(super) struct Pairs {
    rows: Vec<Vec<u64>>,
}

impl Pairs {
    #[inline]
    pub(super) fn contains(&self, one: u32, other: u32) -> bool {
        let row = self.rows.get(one as usize);
        let word = row.and_then(|row| row.get(other as usize / 64));
        word.is_some_and(|word| word >> (other % 64) & 1 != 0)
    }

    pub(super) fn insert(&mut self, one: u32, other: u32) {
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
    use std::collections::HashSet;

    proptest! {
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
