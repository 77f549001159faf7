//! How renaming the servers moves the slots of a state.

use super::tables::Tables;

/// The most servers.
pub(crate) const MAX_SERVERS: usize = model::system::scope::MAX_SERVERS as usize;

/// The renamings that a search identifies, the identity first.
pub(crate) struct Renaming {
    /// For each name, where each place goes, one name after the other. Only servers move.
    places: Vec<u8>,
    /// How many places there are.
    width: usize,
    /// For each name, the one that undoes it.
    inverse: Vec<usize>,
    /// For each name, where each slot goes.
    slots: Vec<Vec<u8>>,
    /// Names by the order of keys that they sort ([`code`]).
    by_code: Vec<usize>,
}

impl Renaming {
    pub(crate) fn new(tables: &Tables) -> Self {
        let shape = tables.shape();
        let names = tables.names().all.iter();
        let places: Vec<Vec<usize>> = names
            .map(|name| {
                let servers = (0..shape.servers).map(|place| name.place(place));
                servers.chain(shape.servers..shape.places.len()).collect()
            })
            .collect();
        let inverse = places
            .iter()
            .map(|moved: &Vec<usize>| {
                let undoes = |other: &Vec<usize>| (0..moved.len()).all(|at| other[moved[at]] == at);
                let found = places.iter().position(undoes);
                found.expect("permutations are closed under inversion")
            })
            .collect();
        let slots = places
            .iter()
            .map(|moved| {
                let to = |place: usize| moved[place];
                let processes = (0..shape.places.len()).map(to);
                let ends = shape.ends.iter();
                let lanes = ends.map(|&(from, receiver)| shape.lane(to(from), to(receiver)));
                let global = std::iter::once(shape.global());
                let slots = processes.chain(lanes).chain(global);
                slots.map(|slot| slot as u8).collect()
            })
            .collect();
        let mut by_code = vec![usize::MAX; 1 << PAIRS];
        for (name, moved) in places.iter().enumerate() {
            // It sorts keys that are in the order of where it moves the servers.
            let keys = moved[..shape.servers].iter().map(|to| *to as u64);
            let (code, _) = code(&keys.collect::<Vec<u64>>());
            by_code[code] = name;
        }
        Self {
            width: shape.places.len(),
            places: places.into_iter().flatten().map(|to| to as u8).collect(),
            inverse,
            slots,
            by_code,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Where a name moves a place.
    #[inline]
    pub(crate) fn place(&self, name: usize, place: usize) -> usize {
        usize::from(self.places[name * self.width + place])
    }

    /// The name that undoes another.
    #[inline]
    pub(crate) fn inverse(&self, name: usize) -> usize {
        self.inverse[name]
    }

    /// Where a name moves each slot.
    pub(crate) fn slots(&self, name: usize) -> &[u8] {
        &self.slots[name]
    }

    /// A name that sorts the servers by their keys, and whether some keys are equal. The name is
    /// good only if none are.
    #[inline]
    pub(crate) fn sorting(&self, keys: &[u64]) -> (usize, bool) {
        let (code, is_tied) = code(keys);
        (self.by_code[code], is_tied)
    }

    /// Whether a name sorts the servers by their keys.
    pub(crate) fn sorts(&self, name: usize, keys: &[u64]) -> bool {
        let mut sorted = [0_u64; MAX_SERVERS];
        for (place, key) in keys.iter().enumerate() {
            sorted[self.place(name, place)] = *key;
        }
        sorted[..keys.len()].is_sorted()
    }
}

/// How many pairs of servers there may be.
const PAIRS: usize = MAX_SERVERS * (MAX_SERVERS - 1) / 2;

/// Of each pair of keys whether the first is the greater, as bits, and whether some are equal.
#[inline]
fn code(keys: &[u64]) -> (usize, bool) {
    let (mut code, mut bit, mut is_tied) = (0, 0, false);
    for (place, key) in keys.iter().enumerate() {
        for later in &keys[place + 1..] {
            code |= usize::from(key > later) << bit;
            bit += 1;
            is_tied |= key == later;
        }
    }
    (code, is_tied)
}
