//! The fast search: the model's transition relation over small ids.
//!
//! There are a few thousand distinct server states where there are a hundred million system
//! states. So each distinct process, message, lane and history gets an id; the real `step` runs
//! once for each distinct (process, event), and its outcome is remembered. A system state is a
//! handful of ids, and is stored exactly: no verdict here rests on a hash.
//!
//! * `interner` gives ids to values and to all their renamings;
//! * `tables` turns values into ids and remembers local steps;
//! * `recall` is one thread's memory of the tables, by orbits, and `memory` how it is laid out;
//! * `renaming` says how a renaming of the servers moves the parts of a state;
//! * `worker` is the successor function;
//! * `shape` lays a state out in slots and packs it into words;
//! * `outbox` gathers successors on their way to `visited`;
//! * `visited` is the set of states, with their parents;
//! * `obligations` checks what the reductions assume of the protocol;
//! * `search` is the parallel breadth-first search, level by level, so that the first
//!   counterexample is a shortest one.

mod interner;
mod memory;
mod obligations;
mod outbox;
mod recall;
mod renaming;
mod search;
mod shape;
mod tables;
#[cfg(test)]
mod tests;
mod visited;
mod worker;

pub use obligations::Checked;
pub use search::{Explored, Limits, Outcome, Progress, Report, StateSet, StopCause, check};
pub use tables::{Sizes, Tables};
