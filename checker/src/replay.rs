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
//! * `server` is one server: its core, its `disk`, and its pending writes;
//! * `cause` orders the steps of all servers consistently with causality;
//! * `cluster` checks the properties over all servers, updated step by step: the work is linear in the
//!   length of the traces. It checks the properties that `model::system::properties` defines on
//!   whole states;
//! * `exactly_once` compares stores and answers with an independent evaluation of the committed entries;
//! * `refinement` maps each step to the abstract Raft, as the search does;
//! * `prefixes` maps log prefixes to numbers, so that two logs are compared by one number.
//!
//! `docs/replay.md` describes the format and the meaning of an accepted trace.

mod cause;
mod cluster;
mod coverage;
mod disk;
mod exactly_once;
mod format;
mod prefixes;
mod refinement;
mod server;

pub use crate::lines::FileLine;
pub use cause::{Conditions, replay};
pub(crate) use cause::{Seen, replay_watched};
pub use coverage::Coverage;
pub use format::{Source, Unreadable};

use crate::{digest_chain::BadDigest, escape::escaped};
use model::{
    NodeId, WriteId,
    system::{Cause, Violation},
};
use serde_json::{Value, json};

/// The reason why traces are not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// A line cannot be parsed: nothing was checked.
    #[error("{place}: {}", escaped(&why.to_string()))]
    Unreadable {
        /// The line.
        place: FileLine,
        /// The problem.
        why: Unreadable,
    },
    /// The recorded step is not a step of the server, or contradicts the traces of the other servers.
    #[error("{place}: {}", escaped(&why.to_string()))]
    Disagreement {
        /// The line.
        place: FileLine,
        /// The contradiction.
        why: Disagreement,
    },
    /// A property is violated.
    #[error("{place}: {}", ReplayStop::from(violation))]
    Violation {
        /// The line of the violating step.
        place: FileLine,
        /// The property and the cause.
        violation: Violation,
    },
    /// The replay was interrupted.
    #[error("{}", ReplayStop::ReplayInterrupted)]
    Interrupted,
}

impl Rejection {
    fn disagreement(place: &FileLine, why: Disagreement) -> Self {
        Self::Disagreement {
            place: place.clone(),
            why,
        }
    }

    /// The reason as data, in JSON.
    pub fn cause(&self) -> Value {
        match self {
            Self::Unreadable { why, .. } => json!(why),
            Self::Disagreement { why, .. } => json!(why),
            Self::Violation { violation, .. } => json!(ReplayStop::from(violation)),
            Self::Interrupted => json!(ReplayStop::ReplayInterrupted),
        }
    }

    /// The violation, if the traces are rejected for one.
    pub fn violation(&self) -> Option<&Violation> {
        match self {
            Self::Violation { violation, .. } => Some(violation),
            _ => None,
        }
    }
}

model::diagnostics! {
    /// The contradiction between a line of a trace, and the core or the other traces.
    pub enum Disagreement {
        /// The digest at the end of the line is wrong.
        WrongDigest { error: BadDigest } = "{error}";
        /// The trace does not begin with a header.
        HeaderMissing
            = "a step comes before any header: the beginning of the trace is missing";
        /// Two files are traces of one server.
        SameServer { server: NodeId, other: String }
            = "this is a trace of server {server}, and so is {other}: put the runs of a server into one file, in their order";
        /// The runs of one file are of different servers.
        OtherServer { server: NodeId, other: NodeId }
            = "this run is of server {server}, the trace is of server {other}";
        /// The server is not a voter of its own configuration.
        NotVoter { server: NodeId }
            = "server {server} is not among the voters of its configuration";
        /// The configuration is not that of the other servers.
        OtherConfiguration { other: String }
            = "the configuration is not that of {other}: it is the same on all servers";
        /// The first run starts from a disk with contents.
        UsedDisk { server: NodeId }
            = "server {server} starts from a disk that was in use: the earlier records are missing (--used-disks accepts this)";
        /// The first run starts from a snapshot.
        StartsFromSnapshot
            = "this disk begins with a snapshot, and the entries that it covers are in no trace: the trace must begin with the first run of the server";
        /// Two runs have one name.
        BootReused { boot: String }
            = "boot {boot} already identifies an earlier run: does the file contain a part of this trace twice?";
        /// The disk is not the result of the previous run.
        OtherDisk { server: NodeId }
            = "server {server} does not start from the disk of its previous run: all writes reported durable, and possibly some of the later writes, in their order";
        /// The number of the step is not the next one.
        WrongStepNumber { step: u64, recorded: u64 } = "this is step {step}, not {recorded}";
        /// The disk completes a write that is not pending.
        NoPendingWrite { write: WriteId }
            = "write {write} is reported durable, but no such write is pending";
        /// The core has another result than the record.
        OtherEffects { server: NodeId, part: String, result: String, recorded: String }
            = "server {server} has another result for this step: \"{part}\" is {result}, the trace has {recorded}";
        /// The sender of a message has no trace.
        SenderMissing { server: NodeId, other: NodeId }
            = "server {server} receives a message from server {other}, whose trace is not here: give the traces of all servers";
        /// The sender of a message did not send it.
        MessageNotSent { server: NodeId, other: NodeId }
            = "server {server} receives a message from server {other} that no step of its trace sends";
        /// The traces wait for one another.
        ReceivedBeforeSent { lines: Vec<String> }
            = "the message received here was sent only after it was received: {} wait for each other", lines.join(", ");
    }
}

model::diagnostics! {
    /// The reason why a replay ended before the end of the traces, if the line agrees with the core.
    pub enum ReplayStop {
        /// A property is violated.
        PropertyViolated { property: &'static str, cause: Box<Cause> } = "{property} is violated: {cause}";
        /// The replay was interrupted.
        ReplayInterrupted = "interrupted: no claim";
    }
}

impl From<&Violation> for ReplayStop {
    fn from(violation: &Violation) -> Self {
        Self::PropertyViolated {
            property: violation.property.name(),
            cause: violation.cause.clone(),
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
