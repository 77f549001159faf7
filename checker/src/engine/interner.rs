//! Small ids for large values.

use model::system::{Permutation, Relabel};
use rustc_hash::FxHashMap;
use std::{hash::Hash, sync::Arc};

/// Gives equal values equal ids, counted from 0.
#[derive(Debug)]
pub(crate) struct Interner<T> {
    values: Vec<Arc<T>>,
    ids: FxHashMap<Arc<T>, u32>,
}

impl<T: Eq + Hash> Interner<T> {
    pub(crate) fn new() -> Self {
        Self {
            values: Vec::new(),
            ids: FxHashMap::default(),
        }
    }

    pub(crate) fn find(&self, value: &T) -> Option<u32> {
        self.ids.get(value).copied()
    }

    pub(crate) fn intern(&mut self, value: T) -> u32 {
        if let Some(id) = self.ids.get(&value) {
            return *id;
        }
        let id = u32::try_from(self.values.len()).expect("fewer than 2^32 distinct parts");
        let value = Arc::new(value);
        self.values.push(Arc::clone(&value));
        self.ids.insert(value, id);
        id
    }

    pub(crate) fn value(&self, id: u32) -> &Arc<T> {
        &self.values[id as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

/// An [`Interner`] that inserts a value with its whole *orbit*: its images under all permutations.
#[derive(Debug)]
pub(crate) struct Orbits<T> {
    values: Interner<T>,
    /// For each id a row: the ids of its images, in the order of the permutations.
    rows: Vec<u32>,
    /// Whether any permutation changes any value: whether values hold server ids.
    holds_ids: bool,
}

impl<T: Eq + Hash> Orbits<T> {
    pub(crate) fn new() -> Self {
        Self {
            values: Interner::new(),
            rows: Vec::new(),
            holds_ids: false,
        }
    }

    pub(crate) fn find(&self, value: &T) -> Option<u32> {
        self.values.find(value)
    }

    /// Interns a value with its orbit.
    pub(crate) fn intern(
        &mut self,
        value: T,
        group: &PermutationGroup,
        permute: impl Fn(&T, usize) -> T,
    ) -> u32 {
        if let Some(id) = self.values.find(&value) {
            return id;
        }
        let mut row = Vec::with_capacity(group.count());
        for permutation in 1..group.count() {
            row.push(permute(&value, permutation));
        }
        let first = self.values.intern(value);
        let row: Vec<u32> = std::iter::once(first)
            .chain(row.into_iter().map(|value| self.values.intern(value)))
            .collect();
        self.holds_ids |= row.iter().any(|id| *id != first);
        // Permuting `row[a]` by b is permuting the first by "a, then b".
        let width = row.len();
        self.rows.resize(self.values.len() * width, u32::MAX);
        for (a, member) in row.iter().enumerate() {
            for b in 0..width {
                self.rows[*member as usize * width + b] = row[group.composed[a][b] as usize];
            }
        }
        first
    }

    pub(crate) fn value(&self, id: u32) -> &Arc<T> {
        self.values.value(id)
    }

    /// The images of a value under all permutations.
    pub(crate) fn row(&self, id: u32, group: &PermutationGroup) -> &[u32] {
        let width = group.count();
        &self.rows[id as usize * width..][..width]
    }

    pub(crate) fn holds_ids(&self) -> bool {
        self.holds_ids
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

/// The symmetry group of the servers; the identity is the first.
#[derive(Debug)]
pub(crate) struct PermutationGroup {
    pub(crate) all: Vec<Permutation>,
    /// `composed[a][b]` is the permutation "first a, then b".
    composed: Vec<Vec<u32>>,
}

impl PermutationGroup {
    pub(crate) fn new(servers: usize, symmetric: bool) -> Self {
        let mut all = Permutation::all(servers);
        if !symmetric {
            all.truncate(1);
        }
        let compose = |first: &Permutation, second: &Permutation| {
            let is_both = |permutation: &Permutation| {
                (0..servers)
                    .all(|index| permutation.image(index) == second.image(first.image(index)))
            };
            let found = all.iter().position(is_both);
            found.expect("permutations are closed under composition") as u32
        };
        let composed = all
            .iter()
            .map(|first| all.iter().map(|second| compose(first, second)).collect())
            .collect();
        Self { all, composed }
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// The image of a value.
    pub(crate) fn permute<T: Relabel>(&self, value: &T, permutation: usize) -> T {
        value.relabel(&self.all[permutation])
    }
}
