//! Messages over UDP, between nodes, proxies and clients.
//!
//! An [`Endpoint`] is one socket. Several processes of the protocol may share it, as the sessions
//! of one client program do: each [`model::Envelope`] names its sender and its receiver. Nodes and
//! proxies have configured addresses. Messages to an unlisted process go to the source address of its
//! latest datagram.
//!
//! Datagrams are sealed with a key of the cluster, or with a client key, which permits requests and
//! responses only. Small messages share a datagram. Large ones are split into fragments that are
//! acknowledged and retransmitted. [`model::wire`] defines the format, and `docs/wire.md` draws it.
//! The size of datagrams follows the capacity of each path (path MTU discovery).
//!
//! Delivery is unreliable on purpose: the protocol is checked against messages that are lost,
//! duplicated, late and reordered. Fragments are retransmitted only because a message of a thousand
//! fragments would hardly ever arrive otherwise. Queues are bounded, and sending never blocks:
//! messages that do not fit are dropped and counted by cause ([`Cause`]). [`Faults`] inject network
//! faults.
//!
//! Deliberate omissions: streams, ordering, flow control between processes, discovery, and key
//! rotation while a process runs.

mod config;
mod counters;
mod delay_queue;
mod endpoint;
pub mod environment;
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
mod shared;
mod socket;
mod system;

pub use config::{ClusterNameError, Config, new_boot};
pub use counters::{Cause, Count, Counters};
pub use endpoint::{Endpoint, Inbox};
pub use environment::{
    Clock, DatagramSocket, Entropy, Environment, LivenessProbe, Network, Threads,
};
pub use faults::{Delay, Faults, Plan, PlanError, Rule, Side};
pub use key::{Key, KeyError, KeyPairError, KeyTextError, Keys, check_key_files};
pub use queue::Received;
pub use quinn_udp::RecvMeta;
pub use resolve::{canonical, check_endpoint, find_shared_address, lookup, why_unreachable};
pub use routes::Misplaced;
pub use secret_file::{SecretFileError, read_secret};
pub use socket::Socket;
