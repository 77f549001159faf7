//! A Raft server: drives the core, writes the log, and serves HTTP for operators.
//!
//! [`Node::start`] starts a server from a [`Config`]; several may run in one process. Every
//! decision of the protocol is made by [`model::Raft::step`]. This crate sends bytes, writes files,
//! measures time and draws random numbers, all through [`transport::Environment`] and the traits of
//! `storage`, so that a server can be simulated.
//!
//! # Modules
//! * `node` is the handle, `config` the settings, `peers` and `addresses` resolve and validate the list
//!   of peers, and `identities` decides which peers count.
//! * `runtime`: `driver` owns the Raft core and is the only caller of `step`. `event_loop` runs its turns
//!   on two threads, which wait in `poller` (or `busy_poll`). `timers` keeps the timers, `process_probe`
//!   detects a dead leader, `handover` holds requests during a leadership transfer, `snapshot_policy`
//!   decides when to take a snapshot, and `local` executes operations requested within this process.
//!   `fault_switch` pauses and kills a server for tests.
//! * `storage`: `writer` makes writes durable on a `disk`. `wal` (the write-ahead log) implements `disk`:
//!   `wal::files` calls fsync. `metadata` stores the identity of the server.
//! * `observability`: `events` derives logs and metrics from steps, `trace` records the steps,
//!   `log_excerpt` shows the end of the log, and `http` serves operators.
//!
//! # Deliberate omissions
//! Membership changes: the core has none yet. Systems other than Linux: the two threads wait by
//! `epoll`, `timerfd` and `eventfd` (`docs/adr/0014-two-equal-threads.md`).

#[cfg(not(target_os = "linux"))]
compile_error!(
    "a server needs Linux, for epoll, timerfd and eventfd; elsewhere run it in a container (docs/deploy.md), and build the checker alone: cargo test -p stateraft-model -p stateraft-checker"
);

mod addresses;
mod config;
mod error;
mod identities;
#[cfg(test)]
mod log_capture;
mod node;
mod observability;
mod peers;
mod runtime;
mod start;
mod storage;

pub use config::{Config, ConfigError};
pub use error::{Failure, StartError, TransferError};
pub use node::Node;
pub use observability::log_excerpt::TAIL;
pub use observability::status_query::StatusQuery;
pub use runtime::fault_switch::Pause;
pub use status::{
    Alert, AlertKind, Counts, EventKind, LogExcerptEntry, Progress, Role, ServerEvent, Status,
};
pub use storage::disk::{Disk, DiskError};
pub use storage::metadata::MetadataError;

const _: () = assert!(
    !model::mutant::COMPILED_IN,
    "a node is never built with planted bugs"
);
