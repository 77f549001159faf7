//! Clusters of real processes, for tests that kill them.
//!
//! [`Cluster`] is three servers and a proxy on this machine, each a process of its own, with keys,
//! traces and, on request, faults of the network. [`Load`] is clients that use it all the while
//! and write down what they saw. [`Network`] is a cluster on a network of its own, which may carry
//! less than Ethernet does. [`Namespace`] has disks and files that only a test's own processes
//! see; [`LossyDisk`] is a disk that forgets what was not synced. [`judge`] has the checker say
//! whether that can be: what clients
//! saw, and what the servers did.
//!
//! Every wait is for a condition, with a deadline ([`wait::until`]). Clusters run one at a time in
//! a process, and all that they started ends with them.

#![allow(
    clippy::print_stderr,
    reason = "output of tests goes to the test runner"
)]

pub mod binaries;
pub mod browser;
mod cluster;
mod door;
pub mod files;
pub mod http;
pub mod judge;
mod load;
mod lossy_disk;
mod namespace;
mod network;
mod process;
pub mod wait;

pub use cluster::{Cluster, NODES, Place, RunningClient, Shape};
pub use door::Door;
pub use load::{History, Load};
pub use lossy_disk::{HangingSyncs, LossyDisk};
pub use namespace::Namespace;
pub use network::Network;
pub use process::run;
