//! Hashes of states and ids. A hash locates a state or orders states. It never identifies one.

use super::state_layout::MAX_SLOTS;

/// The hash of a state. It does not depend on the packing.
#[inline]
pub(crate) fn hash<const S: usize>(state: &[u32; S]) -> u64 {
    // The products are independent, so the processor computes them in parallel.
    let products = state.iter().zip(&FACTORS);
    let sum = products.fold(0_u64, |sum, (id, factor)| {
        sum.wrapping_add(u64::from(*id).wrapping_mul(*factor))
    });
    mix(sum)
}

/// Mixes the bits of a value; 0 too.
pub(crate) const fn mix(value: u64) -> u64 {
    fold(value ^ GOLDEN)
}

/// Mixes the bits of a value other than 0.
pub(crate) const fn fold(value: u64) -> u64 {
    let product = value as u128 * 0xe703_7ed1_a0b4_28db;
    (product as u64) ^ ((product >> 64) as u64)
}

/// The fraction of the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A pseudo-random odd factor for each slot.
const FACTORS: [u64; MAX_SLOTS] = {
    let mut factors = [0; MAX_SLOTS];
    let mut slot = 0;
    while slot < MAX_SLOTS {
        factors[slot] = fold((slot as u64 + 1).wrapping_mul(GOLDEN)) | 1;
        slot += 1;
    }
    factors
};
