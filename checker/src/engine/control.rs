//! The limits of a search, and its progress for other threads.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// The limits and settings of a search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The number of threads, at least one.
    pub threads: usize,
    /// Stop when there are more states than this.
    pub max_states: Option<u64>,
    /// Stop when the process holds this many bytes.
    pub max_memory: Option<u64>,
    /// Whether symmetry reduction is on: states that differ by a permutation of the servers are one.
    pub symmetry: bool,
}

/// The progress of a running search, for other threads.
#[derive(Debug, Default)]
pub struct SearchProgress {
    /// Set this to end the search after the current task.
    pub interrupt: AtomicBool,
    /// Distinct states so far.
    pub states: AtomicU64,
    /// States found and not yet expanded.
    pub frontier: AtomicU64,
    /// Levels completed.
    pub depth: AtomicU64,
    /// Bytes of visited set, parents and frontier.
    pub bytes: AtomicU64,
}
