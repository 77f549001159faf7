//! Clusters of real processes, for tests that kill them.
//!
//! [`Cluster`] is three servers and a proxy as processes on this machine, with keys, traces and
//! optional network faults. [`Load`] is a set of clients that use the cluster continuously and record
//! a history. [`Network`] is a cluster on a separate network with a smaller MTU than Ethernet.
//! [`Namespace`] has mounts that only the processes of a test see; [`LossyDisk`] is a disk that loses
//! all data that was not synced. [`judge`] runs the checker on the history of the clients and on the
//! traces of the servers.
//!
//! Every wait is for a condition, with a deadline ([`wait::until`]). Only one cluster runs at a time
//! in a process, and all its processes end with it.

#![allow(
    clippy::print_stderr,
    reason = "output of tests goes to the test runner"
)]

pub mod binaries;
pub mod browser;
mod cluster;
pub mod files;
pub mod http;
pub mod judge;
mod load;
mod lossy_disk;
mod namespace;
mod network;
mod page_server;
mod process;
pub mod wait;

pub use cluster::{Cluster, NODES, Place, RunningClient, Shape};
pub use load::{History, Load};
pub use lossy_disk::{HangingSyncs, LossyDisk};
pub use namespace::Namespace;
pub use network::Network;
pub use page_server::PageServer;
pub use process::run;
