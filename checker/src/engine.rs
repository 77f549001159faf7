//! The built-in engine: explicit-state search over the model's transition relation, in small ids.
//!
//! There are a few thousand distinct server states for a hundred million system states. So each
//! distinct process, message, channel and history gets an id. The model's `step` runs once for each
//! distinct pair of process and event, and the tables cache its result. A system state is a handful of
//! ids and is stored exactly: no verdict depends on a hash.
//!
//! The path of a state:
//!
//! ```text
//!  frontier       a piece of the level: the numbers of states
//!     │
//!     ▼
//!  search      <──1──  visited: reads and unpacks the state
//!     │
//!     ▼
//!  successors  <──2──  step_cache: the steps, and the channels after them  <──  tables, the first time
//!     │        <──3──  canonicalization
//!     ▼
//!  visited        4: packs the successor, drops it if it is known, stores it
//! ```
//!
//! Each module receives a state once and passes its result on. Only the four numbered calls return to an
//! earlier module; a change must not add a fifth. Therefore the search loop does not see successors, and
//! only `visited` packs states, divides them into shards and locks the shards. `state_layout` and
//! `permutations` are constants of a scope and `hash` is pure, so the rule does not apply to them.
//!
//! * `interner` maps values and their orbits to ids;
//! * `tables` holds the ids and the results of local steps, for all threads;
//! * `state_layout` assigns the slots of a state vector;
//! * `permutations` applies permutations of the servers to slots;
//! * `step_cache` is the per-thread cache of the tables; it normalizes channels;
//! * `successors` is the successor function;
//! * `canonicalization` is the symmetry reduction;
//! * `visited` is the visited set, with parents: it packs states, and batches insertions by shard;
//! * `frontier` holds the states of a level, and distributes them to threads;
//! * `search` is the search loop, a parallel breadth-first search: level by level, so that the first
//!   counterexample is a shortest one. `control` has its limits and its progress, `report` its result;
//! * `obligations` checks the assumptions of the reductions after each level;
//! * `recheck` expands some states of an exhausted search again, with the readable model.

mod canonicalization;
mod control;
mod frontier;
mod hash;
mod interner;
mod obligations;
mod permutations;
mod prefetch;
mod recheck;
mod report;
mod search;
mod state_layout;
mod step_cache;
mod successors;
mod tables;
#[cfg(test)]
mod tests;
mod visited;

pub use control::{Limits, SearchProgress};
pub use obligations::Checked;
pub use recheck::{Disagreement, Recheck, Sample, recheck};
pub use report::{SearchOutcome, SearchReport, StopCause};
pub use search::{Explored, check};
pub use tables::{Sizes, Tables};
pub use visited::StateSet;
