//! Raft as a pure function, the replicated store, and every decision of the protocol.
//!
//! This crate has no clock, randomness, socket, file, thread, async, logging or global state. Its
//! protocol part builds without std. With the feature `system` it also contains the models:
//! complete systems of these very servers, proxies and clients, a network that drops, duplicates,
//! delays and reorders messages, disks that lose writes before their fsync, and the properties that
//! the systems must satisfy.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "system", test))]
extern crate std;

pub mod admission;
pub mod client;
pub mod config;
mod identity;
pub mod ids;
pub mod invariants;
pub mod log;
pub mod message;
pub mod mutant;
pub mod proxy;
pub mod raft;
pub mod router;
pub mod session_pool;
mod snapshot;
pub mod store;
#[cfg(feature = "system")]
pub mod system;
pub mod wire;

pub use config::Config;
pub use ids::{
    Address, ClientId, EntryId, LogIndex, NodeId, ProxyId, RequestId, SessionId, Term, WriteId,
};
pub use log::{Entry, Log};
pub use message::{
    AppendEntriesRequest, AppendEntriesResponse, AppendOutcome, ClientRequest, ClientResponse,
    Envelope, FoundStale, InstallSnapshotRequest, InstallSnapshotResponse, Message, PreVoteRequest,
    PreVoteResponse, RequestVoteRequest, RequestVoteResponse, TimeoutNowRequest,
};
pub use raft::{Durable, Effects, Event, Flow, HardState, Raft, Role, Timer, Write};
pub use snapshot::Snapshot;
pub use store::{Payload, Store};
