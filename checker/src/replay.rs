//! Checks the traces that the servers of a running cluster recorded (`raft-node --trace`).
//!
//! For each step, a trace contains the event that went into the core and the effects that came out. The
//! replay executes every step again with the same core, and combines the steps of all servers:
//! * each step gives exactly the recorded effects, and keeps the always-on invariants;
//! * each run starts from the state that the previous run had made durable, or had begun to write;
//! * each message between servers was sent before it was received. Clocks are not used: a step comes
//!   after the previous step of its server, and after the step that sent the message it receives;
//! * the safety properties hold over all servers together along that order.
//!
//! * `format` reads lines;
//! * `server` is one server: its core, its disk, and its pending writes;
//! * `cause` orders the steps of all servers consistently with causality;
//! * `cluster` checks the properties over all servers, updated step by step: the work is linear in the
//!   length of the traces. It checks the properties that `model::system::properties` defines on
//!   whole states;
//! * `prefixes` maps log prefixes to numbers, so that two logs are compared by one number.
//!
//! `docs/replay.md` describes the format and the meaning of an accepted trace.

mod cause;
mod cluster;
mod coverage;
mod format;
mod prefixes;
mod server;

pub use crate::lines::FileLine;
pub use cause::{Conditions, replay};
pub(crate) use cause::{Seen, replay_watched};
pub use coverage::Coverage;
pub use format::Source;

use crate::escape::escaped;
use model::system::Violation;

/// The reason why traces are not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// A line cannot be parsed: nothing was checked.
    #[error("{place}: {}", escaped(why))]
    Unreadable {
        /// The line.
        place: FileLine,
        /// The problem.
        why: String,
    },
    /// The recorded step is not a step of the server, or contradicts the traces of the other servers.
    #[error("{place}: {}", escaped(why))]
    Disagreement {
        /// The line.
        place: FileLine,
        /// The contradiction.
        why: String,
    },
    /// A property is violated.
    #[error("{place}: {} is broken: {}", broken.property, broken.cause)]
    Violation {
        /// The line of the violating step.
        place: FileLine,
        /// The property and the cause.
        broken: Violation,
    },
    /// The replay was interrupted.
    #[error("interrupted: nothing was concluded")]
    Interrupted,
}

impl Rejection {
    fn disagreement(place: &FileLine, why: impl Into<String>) -> Self {
        Self::Disagreement {
            place: place.clone(),
            why: why.into(),
        }
    }

    /// The violation, if the traces are rejected for one.
    pub fn violation(&self) -> Option<&Violation> {
        match self {
            Self::Violation { broken, .. } => Some(broken),
            _ => None,
        }
    }
}

/// The contents of accepted traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// The number of servers with a trace.
    pub servers: usize,
    /// The number of runs of all servers.
    pub runs: u64,
    /// The number of steps.
    pub steps: u64,
    /// The number of messages received from servers.
    pub received: u64,
    /// The number of distinct messages sent to servers.
    pub sent: u64,
    /// The number of times a server became leader.
    pub elections: u64,
    /// The highest term.
    pub highest_term: u64,
    /// The number of entries committed.
    pub committed: u64,
    /// Lines truncated by the end of a run, and skipped.
    pub cut_short: Vec<FileLine>,
    /// The bug planted in the servers, if their configuration contains one.
    pub planted: Option<String>,
    /// The part of the run inside a world that can be exhausted.
    pub coverage: Coverage,
}
