//! The proxy of a cluster: clients connect to the proxy, and the proxy finds the leader.
//!
//! This crate is the IO layer around [`model::router::Router`], which contains a
//! [`model::proxy::Proxy`]: the proxy finds the leader and decides when to retry, the router knows the
//! way back to each client. This crate contains the sockets, the clock and the frontends. Requests arrive over UDP
//! from native clients, and through two frontends for standard tools: HTTP with JSON ([`http`]) and
//! the Redis protocol ([`redis`]). Behind the frontends is a pool of sessions ([`client::pool`]), so
//! that their operations are executed exactly once as well.
//!
//! ```text
//!   curl, browser ──► http ──┐
//!                            ├─► kv_service ─► pool of sessions ─┐
//!   redis-cli ──────► redis ─┘                                   ├─► driver (Router) ─► servers
//!   UDP clients ─────────────────────────────────────────────────┘
//! ```
//!
//! The proxy keeps no durable state. The servers' log alone decides whether an operation was executed.
//! If the proxy does not know the outcome, it reports the outcome as unknown.

pub mod chaos;
pub mod cluster_view;
pub mod driver;
pub mod embedded;
pub mod event_log;
mod fetch;
pub mod gauges;
pub mod health;
pub mod http;
pub mod kv_service;
mod listen;
pub mod metrics;
pub mod node_problem;
pub mod peers;
pub mod redis;
pub mod server;
pub mod settings;
pub mod status_source;
pub mod throughput;
mod wire;

const _: () = assert!(
    !model::mutant::COMPILED_IN,
    "a proxy is never built with planted bugs"
);
