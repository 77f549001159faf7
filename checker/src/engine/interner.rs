//! Small ids for large values.

use model::system::{Relabel, Relabelling};
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

/// An [`Interner`] that knows all renamings of each value: an *orbit* is interned as a whole.
#[derive(Debug)]
pub(crate) struct Orbits<T> {
    values: Interner<T>,
    /// For each id a row: the ids of its renamings, in the order of the names.
    rows: Vec<u32>,
    /// Whether any value has another name than its own.
    has_names: bool,
}

impl<T: Eq + Hash> Orbits<T> {
    pub(crate) fn new() -> Self {
        Self {
            values: Interner::new(),
            rows: Vec::new(),
            has_names: false,
        }
    }

    pub(crate) fn find(&self, value: &T) -> Option<u32> {
        self.values.find(value)
    }

    /// Interns a value with its renamings.
    pub(crate) fn intern(
        &mut self,
        value: T,
        names: &Names,
        rename: impl Fn(&T, usize) -> T,
    ) -> u32 {
        if let Some(id) = self.values.find(&value) {
            return id;
        }
        let mut row = Vec::with_capacity(names.count());
        for name in 1..names.count() {
            row.push(rename(&value, name));
        }
        let first = self.values.intern(value);
        let row: Vec<u32> = std::iter::once(first)
            .chain(row.into_iter().map(|value| self.values.intern(value)))
            .collect();
        self.has_names |= row.iter().any(|id| *id != first);
        // Renaming `row[a]` by b is renaming the first by "a, then b".
        let width = row.len();
        self.rows.resize(self.values.len() * width, u32::MAX);
        for (a, member) in row.iter().enumerate() {
            for b in 0..width {
                self.rows[*member as usize * width + b] = row[names.composed[a][b] as usize];
            }
        }
        first
    }

    pub(crate) fn value(&self, id: u32) -> &Arc<T> {
        self.values.value(id)
    }

    /// The renamings of a value.
    pub(crate) fn row(&self, id: u32, names: &Names) -> &[u32] {
        let width = names.count();
        &self.rows[id as usize * width..][..width]
    }

    pub(crate) fn has_names(&self) -> bool {
        self.has_names
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

/// The renamings of the servers that a search identifies; the identity is the first.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) all: Vec<Relabelling>,
    /// `composed[a][b]` is the renaming "first a, then b".
    composed: Vec<Vec<u32>>,
}

impl Names {
    pub(crate) fn new(servers: usize, symmetric: bool) -> Self {
        let mut all = Relabelling::all(servers);
        if !symmetric {
            all.truncate(1);
        }
        let compose = |first: &Relabelling, second: &Relabelling| {
            let is_both = |name: &Relabelling| {
                (0..servers).all(|place| name.place(place) == second.place(first.place(place)))
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

    /// A value renamed, where it is a plain one.
    pub(crate) fn rename<T: Relabel>(&self, value: &T, name: usize) -> T {
        value.relabel(&self.all[name])
    }
}
