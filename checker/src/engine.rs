//! The fast search: the model's transition relation over small ids.
//!
//! There are a few thousand distinct server states where there are a hundred million system
//! states. So each distinct process, message, inbox and history gets an id; the real `step` runs
//! once for each distinct (process, event), and its outcome is remembered. A system state is a
//! handful of ids, and is stored exactly: no verdict here rests on a hash.
//!
//! * `tables` turns values into ids and remembers local steps;
//! * `worker` is one thread's copy of what it needs of the tables, and the successor function;
//! * `visited` is the set of states, with their parents;
//! * `search` is the parallel breadth-first search, level by level, so that the first
//!   counterexample is a shortest one.

mod search;
mod tables;
mod visited;
mod worker;

pub use search::{Explored, Limits, Outcome, Progress, Report, StateSet, StopCause, check};
pub use tables::{Sizes, Tables};
