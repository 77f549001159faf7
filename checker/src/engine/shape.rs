//! How a system state is laid out in words: a process for each place, a lane for each pair that
//! talks, and one global.

use model::{Address, system::System};
use std::ops::Range;

/// The slots of a state: the processes, then the lanes by receiver, then the global.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) places: Vec<Address>,
    /// How many of them are servers; they come first.
    pub(crate) servers: usize,
    /// For each lane in the order of slots: who sends on it, and who receives.
    pub(crate) ends: Vec<(usize, usize)>,
    /// `between[from][to]`: the slot of their lane.
    between: Vec<Vec<Option<usize>>>,
    /// The slots of the lanes to each place.
    into: Vec<Range<usize>>,
}

impl Shape {
    pub(crate) fn of(system: &System) -> Self {
        let places: Vec<Address> = system
            .processes
            .iter()
            .map(model::system::Process::address)
            .collect();
        let servers = places
            .iter()
            .filter(|place| matches!(place, Address::Node(_)))
            .count();
        let mut ends = Vec::new();
        let mut between = vec![vec![None; places.len()]; places.len()];
        let mut into = Vec::new();
        for to in 0..places.len() {
            let first = places.len() + ends.len();
            for from in 0..places.len() {
                if talk(places[from], places[to]) {
                    between[from][to] = Some(places.len() + ends.len());
                    ends.push((from, to));
                }
            }
            into.push(first..places.len() + ends.len());
        }
        Self {
            places,
            servers,
            ends,
            between,
            into,
        }
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.places.len() + self.ends.len() + 1
    }

    /// The slots of the processes: their places.
    pub(crate) fn processes(&self) -> Range<usize> {
        0..self.places.len()
    }

    /// The slots of the servers.
    pub(crate) fn server_places(&self) -> Range<usize> {
        0..self.servers
    }

    /// The slots of all lanes.
    pub(crate) fn lanes(&self) -> Range<usize> {
        self.places.len()..self.global()
    }

    /// The slot of the global: the last.
    pub(crate) fn global(&self) -> usize {
        self.slots() - 1
    }

    pub(crate) fn place_of(&self, address: Address) -> Option<usize> {
        self.places.iter().position(|place| *place == address)
    }

    /// The slot of the lane between two places.
    ///
    /// # Panics
    /// If the two never talk in any scope: a message there would have nowhere to be.
    pub(crate) fn lane(&self, from: usize, to: usize) -> usize {
        self.between[from][to].unwrap_or_else(|| {
            panic!("{:?} sent to {:?}", self.places[from], self.places[to]);
        })
    }

    /// The ends of the lane in a slot.
    pub(crate) fn ends(&self, slot: usize) -> (usize, usize) {
        self.ends[slot - self.places.len()]
    }

    /// The slots of all lanes to a place.
    pub(crate) fn lanes_to(&self, to: usize) -> Range<usize> {
        self.into[to].clone()
    }

    /// A state with as many slots as the search is compiled for.
    pub(crate) fn padded<const S: usize>(&self, key: &[u32]) -> [u32; S] {
        let mut state = [0; S];
        state[..self.slots()].copy_from_slice(key);
        state
    }
}

fn talk(from: Address, to: Address) -> bool {
    use Address::{Client, Node, Proxy};
    match (from, to) {
        (Node(from), Node(to)) => from != to,
        (Node(_), Proxy(_)) | (Proxy(_), Node(_) | Client(_)) | (Client(_), Proxy(_)) => true,
        _ => false,
    }
}

/// Where each slot is when a state is stored: so many bits of one word. Ids are dense, so few bits
/// are enough; when an id no longer fits, all stored states are packed anew.
#[derive(Clone, Debug)]
pub(crate) struct Packing {
    /// Bits for ids of processes, lanes and globals.
    bits: [u32; 3],
    /// As many as the search is compiled for.
    fields: Vec<Field>,
    words: usize,
}

/// A part of a word.
#[derive(Clone, Copy, Debug)]
struct Field {
    mask: u32,
    word: u8,
    shift: u8,
}

/// Where a slot that no state has is: it holds 0.
const NOWHERE: Field = Field {
    mask: 0,
    word: 0,
    shift: 0,
};

/// Numbers of slots that the search is compiled for; a shape gets the next larger one.
macro_rules! with_slots {
    ($slots:expr, $size:ident => $body:expr) => {
        match $slots {
            0..=10 => {
                const $size: usize = 10;
                $body
            }
            11..=17 => {
                const $size: usize = 17;
                $body
            }
            18..=26 => {
                const $size: usize = 26;
                $body
            }
            slots => {
                assert!(slots <= $crate::engine::shape::MAX_SLOTS, "{slots} slots");
                const $size: usize = $crate::engine::shape::MAX_SLOTS;
                $body
            }
        }
    };
}
pub(crate) use with_slots;

/// No packed state has more words: the widest shape with every slot at 32 bits has 25. A power of
/// two, so that taking the remainder keeps an index within bounds at no cost.
pub(crate) const MAX_WORDS: usize = 32;
/// The most slots of a state: five servers, a proxy and four clients.
pub(crate) const MAX_SLOTS: usize = 50;

const PROCESS: usize = 0;
const LANE: usize = 1;
const GLOBAL: usize = 2;

impl Packing {
    pub(crate) fn new(shape: &Shape) -> Self {
        Self::with_bits(shape, [10, 10, 8])
    }

    fn with_bits(shape: &Shape, bits: [u32; 3]) -> Self {
        let mut slots: Vec<usize> = (0..shape.slots()).collect();
        let width = |slot: usize| bits[kind(shape, slot)];
        slots.sort_by_key(|slot| std::cmp::Reverse(width(*slot)));
        let mut filled: Vec<u32> = Vec::new();
        let mut fields = vec![NOWHERE; shape.slots()];
        with_slots!(shape.slots(), S => fields.resize(S, NOWHERE));
        // No slot lies in two words: each goes, the widest first, where there is room.
        for slot in slots {
            let width = width(slot);
            let fits = |filled: &u32| filled + width <= u64::BITS;
            let word = filled.iter().position(fits).unwrap_or(filled.len());
            if word == filled.len() {
                filled.push(0);
            }
            fields[slot] = Field {
                mask: u32::MAX >> (u32::BITS - width),
                word: word as u8,
                shift: filled[word] as u8,
            };
            filled[word] += width;
        }
        Self {
            bits,
            fields,
            words: filled.len(),
        }
    }

    /// The same with room for a state that did not fit.
    #[must_use]
    pub(crate) fn widened(&self, shape: &Shape, state: &[u32]) -> Self {
        let mut bits = self.bits;
        for (slot, id) in state.iter().enumerate() {
            let bits = &mut bits[kind(shape, slot)];
            while slot < shape.slots() && id.checked_shr(*bits).unwrap_or(0) != 0 {
                *bits = (*bits + 2).min(32);
            }
        }
        Self::with_bits(shape, bits)
    }

    /// How many words a state has.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Packs a state; says whether every id fitted.
    #[inline]
    pub(crate) fn pack<const S: usize>(
        &self,
        state: &[u32; S],
        words: &mut [u64; MAX_WORDS],
    ) -> bool {
        let fields: &[Field; S] = self.fields();
        words[..self.words].fill(0);
        let mut spilled = 0;
        for (id, field) in state.iter().zip(fields) {
            spilled |= id & !field.mask;
            words[usize::from(field.word) % MAX_WORDS] |= u64::from(*id) << (field.shift % 64);
        }
        spilled == 0
    }

    #[inline]
    pub(crate) fn unpack<const S: usize>(&self, words: &[u64]) -> [u32; S] {
        let fields: &[Field; S] = self.fields();
        let mut state = [0; S];
        for (id, field) in state.iter_mut().zip(fields) {
            *id = (words[usize::from(field.word)] >> (field.shift % 64)) as u32 & field.mask;
        }
        state
    }

    #[inline]
    fn fields<const S: usize>(&self) -> &[Field; S] {
        let fields = self.fields.as_slice();
        fields
            .try_into()
            .expect("the search is compiled for this shape")
    }
}

fn kind(shape: &Shape, slot: usize) -> usize {
    if slot < shape.places.len() {
        PROCESS
    } else if shape.lanes().contains(&slot) {
        LANE
    } else {
        GLOBAL
    }
}

/// Mixes the ids of a state. Used to find a state, never to identify it; it does not depend on how
/// the state is packed.
#[inline]
pub(crate) fn hash<const S: usize>(state: &[u32; S]) -> u64 {
    // Sums wait for no one another.
    let products = state.iter().zip(&FACTORS);
    let sum = products.fold(0_u64, |sum, (id, factor)| {
        sum.wrapping_add(u64::from(*id).wrapping_mul(*factor))
    });
    fold(sum ^ 0x9e37_79b9_7f4a_7c15)
}

/// An odd number for each slot, without any pattern.
const FACTORS: [u64; MAX_SLOTS] = {
    let mut factors = [0; MAX_SLOTS];
    let mut slot = 0;
    while slot < MAX_SLOTS {
        factors[slot] = fold((slot as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
        slot += 1;
    }
    factors
};

pub(crate) const fn fold(mixed: u64) -> u64 {
    let product = mixed as u128 * 0xe703_7ed1_a0b4_28db;
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::system::Scope;
    use proptest::prelude::*;

    fn shape(name: &str) -> Shape {
        let scopes = Scope::catalogue();
        let scope = scopes.iter().find(|scope| scope.name == name);
        Shape::of(&scope.expect("a scope of the catalogue").initial())
    }

    #[test]
    fn every_pair_that_talks_has_a_slot_of_its_own() {
        let shape = shape("end-to-end-reads");
        assert_eq!(shape.places.len(), 6);
        // Three servers among themselves, the proxy with each, and with two clients.
        assert_eq!(shape.ends.len(), 6 + 6 + 4);
        for slot in 6..shape.global() {
            let (from, to) = shape.ends(slot);
            assert_eq!(shape.lane(from, to), slot);
        }
    }

    fn round_trip(packing: &Packing, state: &[u32; 26]) {
        let mut words = [0; MAX_WORDS];
        assert!(packing.pack(state, &mut words));
        let read: [u32; 26] = packing.unpack(&words[..packing.words()]);
        assert_eq!(&read, state);
    }

    proptest! {
        #[test]
        fn packing_round_trips_at_any_width(
            bits in prop::array::uniform3(1_u32..=32),
            ids in prop::array::uniform26(any::<u32>()),
        ) {
            let packing = Packing::with_bits(&shape("end-to-end-reads"), bits);
            let mut state = ids;
            for (id, field) in state.iter_mut().zip(&packing.fields) {
                *id &= field.mask;
            }
            round_trip(&packing, &state);
        }

        #[test]
        fn an_id_that_does_not_fit_is_noticed_and_fits_after_widening(
            slot in 0_usize..23,
            id in 1_u32 << 10..,
        ) {
            let shape = shape("end-to-end-reads");
            let packing = Packing::new(&shape);
            let mut state = [0; 26];
            state[slot] = id;
            prop_assert!(!packing.pack(&state, &mut [0; MAX_WORDS]));
            round_trip(&packing.widened(&shape, &state), &state);
        }
    }
}
