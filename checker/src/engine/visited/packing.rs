//! The packed form of a state: its slots in 64-bit words.

use crate::engine::state_layout::{StateLayout, with_slots};

/// The maximum number of words: the widest layout with 32 bits per slot has 25. A power of two, so that
/// the remainder operation bounds an index at no cost.
pub(crate) const MAX_WORDS: usize = 32;

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
const UNUSED: Field = Field {
    mask: 0,
    word: 0,
    shift: 0,
};

impl Packing {
    /// A packing for the first ids.
    pub(crate) fn new(layout: &StateLayout) -> Self {
        Self::with_bits(layout, [10, 10, 8])
    }

    fn with_bits(layout: &StateLayout, bits: [u32; 3]) -> Self {
        let mut slots: Vec<usize> = (0..layout.slots()).collect();
        let width = |slot: usize| bits[width_index(layout, slot)];
        slots.sort_by_key(|slot| std::cmp::Reverse(width(*slot)));
        let mut filled: Vec<u32> = Vec::new();
        let mut fields = vec![UNUSED; layout.slots()];
        with_slots!(layout.slots(), S => fields.resize(S, UNUSED));
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
            let bits = &mut bits[width_index(layout, slot)];
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

    /// The ids of a packed state.
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

/// The index of a slot's width in [`Packing::bits`].
fn width_index(layout: &StateLayout, slot: usize) -> usize {
    if slot < layout.addresses.len() {
        0
    } else if layout.channels().contains(&slot) {
        1
    } else {
        2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step_guard;
    use model::system::Scope;
    use proptest::prelude::*;

    fn layout(name: &str) -> StateLayout {
        let scopes = Scope::catalog();
        let scope = scopes.iter().find(|scope| scope.name == name);
        StateLayout::new(
            &step_guard::transitions(scope.expect("a scope of the catalog").clone()).initial(),
        )
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
