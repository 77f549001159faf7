//! Permutations of the servers, applied to the slots of a state.

use super::tables::Tables;

/// The maximum number of servers.
pub(crate) const MAX_SERVERS: usize = model::system::scope::MAX_SERVERS as usize;

/// The permutations of the symmetry group; the identity is the first.
pub(crate) struct SlotPermutations {
    /// For each permutation, the image of each process index. Only servers move.
    indexes: Vec<u8>,
    /// The number of processes.
    width: usize,
    /// For each permutation, its inverse.
    inverse: Vec<usize>,
    /// For each permutation, the image of each slot.
    slots: Vec<Vec<u8>>,
    /// The permutation that sorts keys with this [`code`].
    by_code: Vec<usize>,
}

impl SlotPermutations {
    pub(crate) fn new(tables: &Tables) -> Self {
        let layout = tables.layout();
        let permutations = tables.permutations().all.iter();
        let indexes: Vec<Vec<usize>> = permutations
            .map(|permutation| {
                let servers = (0..layout.servers).map(|index| permutation.image(index));
                servers
                    .chain(layout.servers..layout.addresses.len())
                    .collect()
            })
            .collect();
        let inverse = indexes
            .iter()
            .map(|moved: &Vec<usize>| {
                let undoes = |other: &Vec<usize>| (0..moved.len()).all(|at| other[moved[at]] == at);
                let found = indexes.iter().position(undoes);
                found.expect("permutations are closed under inversion")
            })
            .collect();
        let slots = indexes
            .iter()
            .map(|moved| {
                let to = |index: usize| moved[index];
                let processes = (0..layout.addresses.len()).map(to);
                let ends = layout.ends.iter();
                let channels = ends.map(|&(from, receiver)| layout.channel(to(from), to(receiver)));
                let shared = std::iter::once(layout.shared());
                let slots = processes.chain(channels).chain(shared);
                slots.map(|slot| slot as u8).collect()
            })
            .collect();
        let mut by_code = vec![usize::MAX; 1 << PAIRS];
        for (permutation, moved) in indexes.iter().enumerate() {
            // A permutation sorts the keys that are ordered like its own images.
            let keys = moved[..layout.servers].iter().map(|to| *to as u64);
            let (code, _) = code(&keys.collect::<Vec<u64>>());
            by_code[code] = permutation;
        }
        Self {
            width: layout.addresses.len(),
            indexes: indexes.into_iter().flatten().map(|to| to as u8).collect(),
            inverse,
            slots,
            by_code,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    /// The image of a process index.
    #[inline]
    pub(crate) fn image(&self, permutation: usize, index: usize) -> usize {
        usize::from(self.indexes[permutation * self.width + index])
    }

    /// The inverse permutation.
    #[inline]
    pub(crate) fn inverse(&self, permutation: usize) -> usize {
        self.inverse[permutation]
    }

    /// The images of all slots.
    pub(crate) fn slots(&self, permutation: usize) -> &[u8] {
        &self.slots[permutation]
    }

    /// The permutation that sorts the servers by their keys, and whether some keys are equal. With equal
    /// keys it is not unique, so the caller must not use it.
    #[inline]
    pub(crate) fn sorting(&self, keys: &[u64]) -> (usize, bool) {
        let (code, is_tied) = code(keys);
        (self.by_code[code], is_tied)
    }

    /// Whether a permutation sorts the servers by their keys.
    pub(crate) fn sorts(&self, permutation: usize, keys: &[u64]) -> bool {
        let mut sorted = [0_u64; MAX_SERVERS];
        for (index, key) in keys.iter().enumerate() {
            sorted[self.image(permutation, index)] = *key;
        }
        sorted[..keys.len()].is_sorted()
    }
}

/// The maximum number of pairs of servers.
const PAIRS: usize = MAX_SERVERS * (MAX_SERVERS - 1) / 2;

/// One bit for each pair of keys (whether the first is greater), and whether any two keys are equal.
#[inline]
fn code(keys: &[u64]) -> (usize, bool) {
    let (mut code, mut bit, mut is_tied) = (0, 0, false);
    for (index, key) in keys.iter().enumerate() {
        for later in &keys[index + 1..] {
            code |= usize::from(key > later) << bit;
            bit += 1;
            is_tied |= key == later;
        }
    }
    (code, is_tied)
}
