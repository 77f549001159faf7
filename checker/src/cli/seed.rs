//! A random seed for a command that has an option to repeat it.

use std::hash::{BuildHasher, Hasher, RandomState};

/// A random seed.
pub(crate) fn random_seed() -> u64 {
    // The keys of the standard library's hash maps are random numbers of the system.
    RandomState::new().build_hasher().finish()
}
