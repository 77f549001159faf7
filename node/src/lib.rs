//! A Raft server: drives the core, writes the log, answers HTTP for operators.
//!
//! [`Node::start`] makes one from a [`Config`]; several may live in one process. Every decision of
//! the protocol is made by [`model::Raft::step`]; this crate carries bytes, writes files, keeps
//! time and draws random numbers.
//!
//! # What is where
//! `driver` owns the server and is the only caller of `step`. The `crew` is the two threads that
//! have it take turns, `waiting` what they wait for. `writer` makes writes durable, on a `disk`,
//! which is a `wal`. `local` has the operations asked of this process,
//! `timers` the timers. `observe` derives logs and metrics from steps; `trace` records them;
//! `tail` cuts the log's end down to what is shown. `switch` pauses and kills, on purpose.
//! `peers` looks up names, `http` answers operators. `metadata` keeps what the data directory says
//! about its server, `identities` which peers count, `addresses` checks the list of peers.
//!
//! # What is left out
//! Changes of membership: the core has none yet. Systems that are not Linux: the two threads wait by
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
