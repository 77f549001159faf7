//! An abstract Raft that is proved safe for any number of servers, terms and entries.
//!
//! [`protocol`] defines the protocol once, as formulas: axioms, actions, an inductive invariant of 21
//! lemmas, and the safety properties that follow. Two forms are derived from it. [`smt`] writes the proof
//! for a solver, and explicit states and steps as ground facts, so that the solver checks the second form.
//! [`evaluation`] executes the actions and evaluates the lemmas over finite sets. [`mutation`] has wrong
//! variants of the protocol, which the proof must reject. `docs/proof.md` explains the proof.

pub mod evaluation;
pub mod formula;
pub mod mutation;
pub mod protocol;
pub mod signature;
pub mod smt;
mod vocabulary;

pub use evaluation::{Evaluator, Facts, Universe};
pub use mutation::{Mutation, Outcome};
pub use protocol::Protocol;
