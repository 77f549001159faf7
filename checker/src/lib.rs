//! Everything that judges Raft: exhaustive search, mutants, simulation, certificates.

pub mod engine;
pub mod machine;
