//! The checks of Raft: exhaustive search, mutants, simulation, certificates.

pub mod bench;
pub mod catalogue;
pub mod certificate;
pub mod cli;
pub mod drill;
pub mod engine;
mod escape;
pub mod explore;
pub mod linearize;
mod lines;
pub mod machine;
pub mod progress;
pub mod replay;
mod seal;
pub mod simulate;
pub mod stateright_engine;
pub mod story;
pub mod trace;
pub mod verify;
