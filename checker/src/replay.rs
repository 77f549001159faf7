//! Judges what the servers of a running cluster recorded of themselves (`raft-node --trace`).
//!
//! A trace says of each step which event went into the core and which effects came out. Here the
//! very same core takes every step again, and the steps of all servers are put together:
//! * each step gives exactly the effects that were recorded, and keeps the always-on invariants;
//! * each run starts from what the run before it had made durable, or had begun to write;
//! * each message between servers was sent before it was received. No clock is asked: a step comes
//!   after the one before it on its server, and after the step that sent what it receives;
//! * the safety properties hold over all servers together along that order.
//!
//! * `format` reads lines;
//! * `server` is one server: its core, its disk, what is on its way there;
//! * `cause` puts the steps of all into an order that no cause contradicts;
//! * `cluster` has the laws over all servers, kept up step by step: the work is linear in the length
//!   of the traces. It judges what `model::system::history` and `laws` define on whole states;
//! * `prefixes` names log prefixes by numbers, so that logs are compared by one number.
//!
//! `docs/replay.md` describes the format and what an accepted trace proves.

mod cause;
mod cluster;
mod coverage;
mod format;
mod prefixes;
mod server;

pub use cause::{Conditions, replay};
pub(crate) use cause::{Seen, replay_watched};
pub use coverage::Coverage;
pub use format::Source;

use model::system::{Broken, Law};
use std::{fmt, sync::Arc};

/// A line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file.
    pub file: Arc<str>,
    /// The line in it, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Why traces are not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// A line cannot be read as what it should be: nothing was judged.
    #[error("{place}: {why}")]
    Unreadable {
        /// The line.
        place: Place,
        /// What is wrong with it.
        why: String,
    },
    /// What was recorded is not what a server can do, or not what the others recorded.
    #[error("{place}: {why}")]
    Disagreement {
        /// The line.
        place: Place,
        /// What contradicts what.
        why: String,
    },
    /// A law does not hold.
    #[error("{place}: {} is broken: {}", broken.law, broken.why)]
    Broken {
        /// The line of the step that broke it.
        place: Place,
        /// The law, and what broke it.
        broken: Broken,
    },
    /// A person stopped it.
    #[error("interrupted: nothing was concluded")]
    Interrupted,
}

impl Rejection {
    fn disagreement(place: &Place, why: impl Into<String>) -> Self {
        Self::Disagreement {
            place: place.clone(),
            why: why.into(),
        }
    }

    /// The law that is broken, if it is that.
    pub fn law(&self) -> Option<Law> {
        match self {
            Self::Broken { broken, .. } => Some(broken.law),
            _ => None,
        }
    }
}

/// What accepted traces hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many servers recorded something.
    pub servers: usize,
    /// How many runs, of all servers.
    pub runs: u64,
    /// How many steps.
    pub steps: u64,
    /// How many messages between servers were received.
    pub received: u64,
    /// How many different messages between servers were sent.
    pub sent: u64,
    /// How many times a server became leader.
    pub elections: u64,
    /// The highest term.
    pub highest_term: u64,
    /// How many entries were committed.
    pub committed: u64,
    /// Lines cut short by the end of a run, and left out.
    pub cut_short: Vec<Place>,
    /// The bug planted in the servers, if their configuration says so.
    pub planted: Option<String>,
    /// How much of it lies inside a world that can be exhausted.
    pub coverage: Coverage,
}
