//! Fault injection (`--chaos`): cut, lossy or slow links, and isolated, paused or killed servers. It
//! demonstrates the fault tolerance of the protocol. Never enable it on a production cluster.
//!
//! Servers in this process (`--embedded`) accept every fault. For external servers, this proxy can
//! only affect its own traffic: its links to those servers, and its links to UDP clients. Each fault
//! can have a duration, after which it ends automatically.
//!
//! Two fault plans are in force: one is shared by the servers in this process, one applies to the
//! proxy's socket. Both are rebuilt from the set of active faults at each change.
//!
//! ```text
//!   POST /v1/chaos ──► api: Action ──► executor: Chaos ──► plan ──► transport: link faults
//!                                        │   ▲    │
//!                                        ▼   │    └──► embedded servers: pause, kill, restart
//!                             active: ActiveFaults
//!                             (status; expired faults become actions again)
//! ```

mod active;
mod api;
mod executor;
mod plan;

pub use api::{Action, ChaosError, LinkEnd, LinkFault, NamedEnd};
pub use executor::Chaos;
