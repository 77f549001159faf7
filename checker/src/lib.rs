//! The checks of Raft: exhaustive search, mutants, simulation, certificates.

pub mod bench;
pub mod catalog;
pub mod certificate;
pub mod cli;
mod default_scopes;
mod digest_chain;
pub mod engine;
mod escape;
pub mod expected_counts;
pub mod explain;
pub mod explore;
mod interrupted;
pub mod linearize;
mod lines;
pub mod machine;
mod plural;
pub mod progress;
pub mod replay;
pub mod simulate;
pub mod solver;
pub mod stateright_engine;
pub mod step_guard;
pub mod timed;
pub mod trace;
pub mod verify;

pub use interrupted::Interrupted;
