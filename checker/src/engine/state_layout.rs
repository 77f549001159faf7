//! The layout of a system state: a slot for each process, for each channel between a pair that
//! communicates, and for the shared part. Slots are packed into 64-bit words.

use model::{Address, system::System};
use std::ops::Range;

/// The slots of a state: the processes, then the channels by receiver, then the shared part.
#[derive(Clone, Debug)]
pub(crate) struct StateLayout {
    pub(crate) addresses: Vec<Address>,
    /// The number of servers; they come first.
    pub(crate) servers: usize,
    /// The sender and the receiver of each channel, in slot order.
    pub(crate) ends: Vec<(usize, usize)>,
    /// `between[from][to]`: the slot of their channel.
    between: Vec<Vec<Option<usize>>>,
    /// The slots of the channels to each process.
    into: Vec<Range<usize>>,
}

impl StateLayout {
    pub(crate) fn of(system: &System) -> Self {
        let addresses: Vec<Address> = system
            .processes
            .iter()
            .map(model::system::Process::address)
            .collect();
        let servers = addresses
            .iter()
            .filter(|index| matches!(index, Address::Node(_)))
            .count();
        let mut ends = Vec::new();
        let mut between = vec![vec![None; addresses.len()]; addresses.len()];
        let mut into = Vec::new();
        for to in 0..addresses.len() {
            let first = addresses.len() + ends.len();
            for from in 0..addresses.len() {
                if talk(addresses[from], addresses[to]) {
                    between[from][to] = Some(addresses.len() + ends.len());
                    ends.push((from, to));
                }
            }
            into.push(first..addresses.len() + ends.len());
        }
        Self {
            addresses,
            servers,
            ends,
            between,
            into,
        }
    }

    /// The number of slots.
    pub(crate) fn slots(&self) -> usize {
        self.addresses.len() + self.ends.len() + 1
    }

    /// The slots of the processes.
    pub(crate) fn processes(&self) -> Range<usize> {
        0..self.addresses.len()
    }

    /// The slots of the servers.
    pub(crate) fn servers_range(&self) -> Range<usize> {
        0..self.servers
    }

    /// The slots of all channels.
    pub(crate) fn channels(&self) -> Range<usize> {
        self.addresses.len()..self.shared()
    }

    /// The slot of the shared part: the last.
    pub(crate) fn shared(&self) -> usize {
        self.slots() - 1
    }

    pub(crate) fn index_of(&self, address: Address) -> Option<usize> {
        self.addresses.iter().position(|index| *index == address)
    }

    /// The slot of the channel between two processes.
    ///
    /// # Panics
    /// If the two never communicate: there is no slot for such a message.
    pub(crate) fn channel(&self, from: usize, to: usize) -> usize {
        self.between[from][to].unwrap_or_else(|| {
            panic!(
                "{:?} sent to {:?}",
                self.addresses[from], self.addresses[to]
            );
        })
    }

    /// The sender and the receiver of the channel in a slot.
    pub(crate) fn ends(&self, slot: usize) -> (usize, usize) {
        self.ends[slot - self.addresses.len()]
    }

    /// The slots of all channels to a process.
    pub(crate) fn channels_to(&self, to: usize) -> Range<usize> {
        self.into[to].clone()
    }

    /// A state padded to the number of slots that the search is compiled for.
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

/// The position of each slot in a stored state: some bits of one word. Ids are dense, so few bits
/// suffice. When an id does not fit, all stored states are packed again with more bits.
#[derive(Clone, Debug)]
pub(crate) struct Packing {
    /// Bits for ids of processes, channels and shared parts.
    bits: [u32; 3],
    /// One for each slot that the search is compiled for.
    fields: Vec<Field>,
    words: usize,
}

/// Some bits of a word.
#[derive(Clone, Copy, Debug)]
struct Field {
    mask: u32,
    word: u8,
    shift: u8,
}

/// The field of an unused slot: it holds 0.
const NOWHERE: Field = Field {
    mask: 0,
    word: 0,
    shift: 0,
};

/// The numbers of slots that the search is compiled for. A layout uses the next larger one.
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
                assert!(
                    slots <= $crate::engine::state_layout::MAX_SLOTS,
                    "{slots} slots"
                );
                const $size: usize = $crate::engine::state_layout::MAX_SLOTS;
                $body
            }
        }
    };
}
pub(crate) use with_slots;

/// The maximum number of words: the widest layout with 32 bits per slot has 25. A power of two, so that
/// the remainder operation bounds an index at no cost.
pub(crate) const MAX_WORDS: usize = 32;
/// The maximum number of slots: five servers, a proxy and four clients.
pub(crate) const MAX_SLOTS: usize = 50;

const PROCESS: usize = 0;
const CHANNEL: usize = 1;
const SHARED: usize = 2;

impl Packing {
    pub(crate) fn new(layout: &StateLayout) -> Self {
        Self::with_bits(layout, [10, 10, 8])
    }

    fn with_bits(layout: &StateLayout, bits: [u32; 3]) -> Self {
        let mut slots: Vec<usize> = (0..layout.slots()).collect();
        let width = |slot: usize| bits[kind(layout, slot)];
        slots.sort_by_key(|slot| std::cmp::Reverse(width(*slot)));
        let mut filled: Vec<u32> = Vec::new();
        let mut fields = vec![NOWHERE; layout.slots()];
        with_slots!(layout.slots(), S => fields.resize(S, NOWHERE));
        // No slot spans two words. First fit, the widest slots first.
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

    /// A packing with more bits, for a state that did not fit.
    #[must_use]
    pub(crate) fn widened(&self, layout: &StateLayout, state: &[u32]) -> Self {
        let mut bits = self.bits;
        for (slot, id) in state.iter().enumerate() {
            let bits = &mut bits[kind(layout, slot)];
            while slot < layout.slots() && id.checked_shr(*bits).unwrap_or(0) != 0 {
                *bits = (*bits + 2).min(32);
            }
        }
        Self::with_bits(layout, bits)
    }

    /// The number of words of a packed state.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Packs a state. Returns whether every id fits.
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
            .expect("the search is compiled for this layout")
    }
}

fn kind(layout: &StateLayout, slot: usize) -> usize {
    if slot < layout.addresses.len() {
        PROCESS
    } else if layout.channels().contains(&slot) {
        CHANNEL
    } else {
        SHARED
    }
}

/// The hash of a state. It locates a state in the index and never identifies it. It does not depend on
/// the packing.
#[inline]
pub(crate) fn hash<const S: usize>(state: &[u32; S]) -> u64 {
    // The products are independent, so the processor computes them in parallel.
    let products = state.iter().zip(&FACTORS);
    let sum = products.fold(0_u64, |sum, (id, factor)| {
        sum.wrapping_add(u64::from(*id).wrapping_mul(*factor))
    });
    fold(sum ^ 0x9e37_79b9_7f4a_7c15)
}

/// A pseudo-random odd factor for each slot.
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
    use model::system::{Scope, TransitionSystem};
    use proptest::prelude::*;

    fn layout(name: &str) -> StateLayout {
        let mut scopes = Scope::catalog().into_iter();
        let scope = scopes.find(|scope| scope.name == name);
        let scope = scope.expect("a scope of the catalog");
        StateLayout::of(&TransitionSystem::new(scope).initial())
    }

    #[test]
    fn every_communicating_pair_has_a_slot() {
        let layout = layout("end-to-end-reads");
        assert_eq!(layout.addresses.len(), 6);
        // Three servers among themselves, the proxy with each, and with two clients.
        assert_eq!(layout.ends.len(), 6 + 6 + 4);
        for slot in 6..layout.shared() {
            let (from, to) = layout.ends(slot);
            assert_eq!(layout.channel(from, to), slot);
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
            let packing = Packing::with_bits(&layout("end-to-end-reads"), bits);
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
            let layout = layout("end-to-end-reads");
            let packing = Packing::new(&layout);
            let mut state = [0; 26];
            state[slot] = id;
            prop_assert!(!packing.pack(&state, &mut [0; MAX_WORDS]));
            round_trip(&packing.widened(&layout, &state), &state);
        }
    }
}
