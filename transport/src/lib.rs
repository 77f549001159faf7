//! Messages over UDP, between nodes, proxies and clients.
//!
//! An [`Endpoint`] is one socket. Several processes of the protocol may share it (the sessions of
//! one client program do): who speaks and who is meant is in each [`model::Envelope`]. Nodes and
//! proxies are found at the addresses given for them; whoever is not listed is answered where it was
//! last heard from.
//!
//! Datagrams are sealed with a key of the cluster, or with another that lets clients ask and be
//! answered, and no more. Small messages share a datagram, large ones travel in fragments that are
//! acknowledged and repeated. What the bytes mean is fixed in [`model::wire`] and drawn in
//! `docs/wire.md`. The length of datagrams follows what each path carries (path MTU discovery).
//!
//! Nothing here is reliable, on purpose: the protocol is checked against messages that are lost,
//! repeated, late and out of order. Fragments are repeated only since a message of a thousand pieces
//! would hardly ever arrive otherwise. Queues are bounded, sending never waits, and what does not
//! fit is dropped and counted by its cause ([`Cause`]). [`Faults`] make the network as bad as
//! wanted.
//!
//! Lacks, on purpose: streams, order, flow control between processes, discovery, and keys that
//! change while a process runs.

mod config;
mod counters;
mod delay_queue;
mod endpoint;
mod faults;
mod fragment;
mod inbound;
mod key;
mod link_mtu;
mod outbound;
mod pack;
mod path_mtu;
mod peer_sessions;
mod queue;
mod ranges;
mod replay_window;
mod resolve;
mod routes;
mod seal;
mod secret_file;
mod socket;

pub use config::{ClusterNameError, Config, new_boot};
pub use counters::{Cause, Count, Counters};
pub use endpoint::{Endpoint, Inbox, Received};
pub use faults::{Delay, Faults, Plan, PlanError, Rule, Side};
pub use key::{Key, KeyError, KeyTextError, Keys};
pub use resolve::{canonical, check_endpoint, find_shared_address, lookup, why_unreachable};
pub use routes::Misplaced;
pub use secret_file::{SecretFileError, read_secret};
pub use socket::Socket;
