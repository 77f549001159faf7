//! The permutations of components, by id.

use super::UNKNOWN;

/// For each id a row with its permutations; loaded on first use.
pub(super) struct Rows {
    width: usize,
    rows: Vec<u32>,
}

impl Rows {
    pub(super) fn new(width: usize) -> Self {
        Self {
            width,
            rows: Vec::new(),
        }
    }

    #[inline]
    /// A row.
    pub(super) fn get(&mut self, id: u32, load: impl FnOnce() -> Vec<u32>) -> &[u32] {
        self.at(id, 0, load);
        let index = id as usize * self.width;
        &self.rows[index..index + self.width]
    }

    /// One element of a row.
    #[inline]
    pub(super) fn at(
        &mut self,
        id: u32,
        permutation: usize,
        load: impl FnOnce() -> Vec<u32>,
    ) -> u32 {
        let index = id as usize * self.width;
        match self.rows.get(index + permutation) {
            Some(known) if *known != UNKNOWN => *known,
            _ => self.load(index, &load())[permutation],
        }
    }

    #[cold]
    fn load(&mut self, index: usize, row: &[u32]) -> &[u32] {
        if index >= self.rows.len() {
            self.rows.resize(index + self.width, UNKNOWN);
        }
        let known = &mut self.rows[index..index + self.width];
        known.copy_from_slice(row);
        known
    }
}
