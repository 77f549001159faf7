//! The built-in engine: explicit-state search over the model's transition relation, in small ids.
//!
//! There are a few thousand distinct server states for a hundred million system states. So each
//! distinct process, message, channel and history gets an id. The model's `step` runs once for each
//! distinct pair of process and event, and the tables cache its result. A system state is a handful of
//! ids and is stored exactly: no verdict depends on a hash.
//!
//! ```text
//! search (levels, threads, limits) ──> successors ──> successor_buffer ──> visited
//!    │                                     │                                (states, parents)
//!    └──> obligations                      └──> step_cache (per thread) ──> tables (shared)
//! ```
//!
//! * `interner` maps values and their orbits to ids;
//! * `tables` holds the ids and the results of local steps, for all threads;
//! * `step_cache` is the per-thread cache of the tables, `channel_cache` its data structures;
//! * `permutations` applies permutations of the servers to the slots of a state;
//! * `successors` is the successor function, with canonicalization;
//! * `state_layout` assigns slots and packs a state into words;
//! * `successor_buffer` drops recent duplicates and batches the rest by shard;
//! * `visited` is the visited set, with parents;
//! * `obligations` checks the assumptions of the reductions;
//! * `search` is the parallel breadth-first search: level by level, so that the first counterexample
//!   is a shortest one.

mod channel_cache;
mod interner;
mod obligations;
mod permutations;
mod search;
mod state_layout;
mod step_cache;
mod successor_buffer;
mod successors;
mod tables;
#[cfg(test)]
mod tests;
mod visited;

pub use obligations::Checked;
pub use search::{Explored, Limits, Outcome, Report, SearchProgress, StateSet, StopCause, check};
pub use tables::{Sizes, Tables};
