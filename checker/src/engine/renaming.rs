//! How renaming the servers moves the slots of a state.

use super::tables::Tables;

/// The most servers.
pub(crate) const MAX_SERVERS: usize = model::system::scope::MAX_SERVERS as usize;

/// The renamings that a search identifies, the identity first.
pub(crate) struct Renaming {
    /// For each name, where each server's place goes.
    places: Vec<Vec<usize>>,
    /// For each name, where each slot goes.
    slots: Vec<Vec<usize>>,
    /// Names by the order of places that they bring about ([`Self::code`]).
    by_code: Vec<usize>,
}

impl Renaming {
    pub(crate) fn new(tables: &Tables) -> Self {
        let shape = tables.shape();
        let places: Vec<Vec<usize>> = tables
            .names()
            .all
            .iter()
            .map(|name| (0..shape.servers).map(|place| name.place(place)).collect())
            .collect();
        let slots = places
            .iter()
            .map(|moved| {
                let to = |place: usize| moved.get(place).copied().unwrap_or(place);
                let processes = (0..shape.places.len()).map(to);
                let ends = shape.ends.iter();
                let lanes = ends.map(|&(from, receiver)| shape.lane(to(from), to(receiver)));
                let global = std::iter::once(shape.global());
                processes.chain(lanes).chain(global).collect()
            })
            .collect();
        let mut by_code = vec![usize::MAX; MAX_SERVERS.pow(MAX_SERVERS as u32)];
        for (name, moved) in places.iter().enumerate() {
            // Who comes first, who second, ...
            let mut order = [0; MAX_SERVERS];
            for (place, to) in moved.iter().enumerate() {
                order[*to] = place;
            }
            by_code[Self::code(&order[..moved.len()])] = name;
        }
        Self {
            places,
            slots,
            by_code,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// Where a name moves each slot.
    pub(crate) fn slots(&self, name: usize) -> &[usize] {
        &self.slots[name]
    }

    fn code(order: &[usize]) -> usize {
        order
            .iter()
            .fold(0, |code, place| code * MAX_SERVERS + place)
    }

    /// A name that sorts the servers by their keys, and whether some keys are equal.
    #[inline]
    pub(crate) fn sorting(&self, keys: &[u64]) -> (usize, bool) {
        let mut order = [0; MAX_SERVERS];
        let order = &mut order[..keys.len()];
        for place in 0..keys.len() {
            let mut at = place;
            while at > 0 && keys[order[at - 1]] > keys[place] {
                order[at] = order[at - 1];
                at -= 1;
            }
            order[at] = place;
        }
        let is_tied = order.windows(2).any(|pair| keys[pair[0]] == keys[pair[1]]);
        (self.by_code[Self::code(order)], is_tied)
    }

    /// Whether a name sorts the servers by their keys.
    pub(crate) fn sorts(&self, name: usize, keys: &[u64]) -> bool {
        let mut sorted = [0_u64; MAX_SERVERS];
        for (place, key) in keys.iter().enumerate() {
            sorted[self.places[name][place]] = *key;
        }
        sorted[..keys.len()].is_sorted()
    }
}
