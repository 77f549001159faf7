//! The front door of a cluster: clients in, leader out.
//!
//! A shell around [`model::proxy::Proxy`], which finds the leader and knows when to ask again;
//! here are the sockets, the clock and the doors. Requests come over UDP from clients of the
//! cluster's own kind, and from two doors for what people already have: HTTP with JSON
//! ([`http`]) and the Redis protocol ([`redis`]). Behind the doors is a pool of sessions
//! ([`client::pool`]), so that what comes through them is carried out exactly once as well.
//!
//! ```text
//!   curl, browser ──► http ──┐
//!                            ├─► desk ─► pool of sessions ─┐
//!   redis-cli ──────► redis ─┘                             ├─► driver (model::proxy) ─► servers
//!   UDP clients ───────────────────────────────────────────┘
//! ```
//!
//! Nothing is kept here that must survive. Whether an operation was carried out is decided by the
//! servers' log alone, and an outcome that is not known is said to be unknown.

pub mod chaos;
pub mod desk;
pub mod driver;
pub mod embedded;
mod fetch;
pub mod health;
pub mod history;
pub mod http;
mod listen;
pub mod load;
pub mod metrics;
pub mod overview;
pub mod peers;
pub mod redis;
pub mod server;
pub mod settings;
mod wire;

const _: () = assert!(
    !model::mutant::COMPILED_IN,
    "a proxy is never built with planted bugs"
);
