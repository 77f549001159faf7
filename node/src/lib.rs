//! A Raft server: drives the core, writes the log, and serves HTTP for operators.
//!
//! [`Node::start`] starts a server from a [`Config`]; several may run in one process. Every
//! decision of the protocol is made by [`model::Raft::step`]. This crate sends bytes, writes files,
//! measures time and draws random numbers.
//!
//! # Modules
//! `driver` owns the Raft core and is the only caller of `step`. `crew` is the event loop: two
//! threads that run the driver's turns. `waiting` is their poller. `writer` makes writes durable on
//! a `disk`, and `wal` (the write-ahead log) implements `disk`. `local` executes operations
//! requested within this process, and `timers` keeps the timers. `observe` derives logs and metrics
//! from steps, and `trace` records the steps. `tail` excerpts the end of the log for display.
//! `switch` pauses and kills a server for tests. `peers` resolves names, and `http` serves
//! operators. `metadata` stores the identity of the server in its data directory, `identities`
//! decides which peers count, and `addresses` validates the list of peers.
//!
//! # Deliberate omissions
//! Membership changes: the core has none yet. Systems other than Linux: the two threads wait by
//! `epoll`, `timerfd` and `eventfd` (`docs/adr/0014-two-threads-alike.md`).

#[cfg(not(target_os = "linux"))]
compile_error!(
    "a server needs Linux, for epoll, timerfd and eventfd; elsewhere run it in a container (docs/deploy.md), and build the checker alone: cargo test -p stateraft-model -p stateraft-model-checked -p stateraft-checker"
);

mod addresses;
mod config;
mod crew;
mod disk;
mod driver;
mod http;
mod identities;
mod knock;
mod local;
mod metadata;
mod metrics;
mod node;
mod observe;
mod pace;
mod peers;
mod switch;
mod tail;
mod timers;
mod trace;
mod vigil;
mod waiting;
mod wal;
mod writer;

pub use config::{Config, ConfigError};
pub use disk::{Disk, DiskError};
pub use identities::{Alert, AlertKind};
pub use metadata::MetadataError;
pub use node::{Counts, Failure, Glance, Node, Progress, ProposeError, StartError, Status};
pub use observe::{Happened, What};
pub use switch::Pause;
pub use tail::{Shown, TAIL};

const _: () = assert!(
    !model::mutant::COMPILED_IN,
    "a node is never built with planted bugs"
);
