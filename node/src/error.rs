//! The errors of a server: it did not start, or it failed.

use crate::{
    config::ConfigError,
    storage::{disk::DiskError, metadata::MetadataError},
};
use model::NodeId;
use std::{io, net::SocketAddr, path::PathBuf};

/// The reason why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings are invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The data directory does not belong to this server of this cluster.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// Two servers of the list have the same address.
    #[error(
        "servers {first} and {second} have the same address in the --peer list, {address}: give each server its own address"
    )]
    SharedAddress {
        /// The first server.
        first: NodeId,
        /// The second server.
        second: NodeId,
        /// The address.
        address: String,
    },
    /// An entry of the list has an unreachable address.
    #[error("--peer {id}={address} cannot work: {why}")]
    Unreachable {
        /// The server of the entry.
        id: NodeId,
        /// The address.
        address: String,
        /// The reason.
        why: &'static str,
    },
    /// The other servers would send to an address at which this server does not listen.
    #[error(
        "--peer {id}={address} is the address at which the other servers reach this one, but it listens at {listen}: \
         set both to the same address, or listen on 0.0.0.0 if the network translates addresses"
    )]
    OwnAddress {
        /// This server.
        id: NodeId,
        /// Its entry in the list.
        address: String,
        /// Its listen address.
        listen: SocketAddr,
    },
    /// The system provides no random bytes, which unique ids need.
    #[error("the system provides no random bytes")]
    Random(#[source] io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {purpose}: is another process using it?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The purpose of the address.
        purpose: &'static str,
        /// The error from the system.
        source: io::Error,
    },
    /// The trace cannot be written.
    #[error("cannot write the trace to {}", path.display())]
    Trace {
        /// The path of the trace.
        path: PathBuf,
        /// The error from the system.
        source: io::Error,
    },
    /// The system cannot create a thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// The reason why a leadership transfer did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This server does not lead.
    #[error("this server does not lead{}", leader.map(|id| format!(": server {id} does")).unwrap_or_default())]
    NotLeader {
        /// The leader, if this server knows it.
        leader: Option<NodeId>,
    },
    /// The target is no other voter of the cluster.
    #[error("server {0} is not another server of this cluster")]
    NotVoter(NodeId),
    /// This server does not count, so it neither leads for long nor transfers its leadership.
    #[error("this server is suspended: its id is recorded with another disk")]
    Suspended,
    /// A transfer to another server is in progress.
    #[error("a leadership transfer to server {0} is in progress")]
    InProgress(NodeId),
    /// The target did not take over in time. This server still leads.
    #[error(
        "server {target} did not take over in time, so this server still leads: \
         check that server {target} runs and is reachable"
    )]
    Aborted {
        /// The target.
        target: NodeId,
    },
    /// Another server was elected.
    #[error("server {leader} was elected instead of server {target}")]
    OtherLeader {
        /// The target.
        target: NodeId,
        /// The new leader.
        leader: NodeId,
    },
    /// This server no longer leads, and knows no other leader yet.
    #[error("no leader was elected after the transfer to server {target} began")]
    NoLeader {
        /// The target.
        target: NodeId,
    },
    /// This server has stopped.
    #[error("this server has stopped")]
    Stopped,
}

/// The reason why a server stopped on its own.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An invariant of the protocol was violated: a bug that may already have cost safety.
    #[error(
        "an invariant of the protocol is violated: {invariant}. The server stops immediately; {report}"
    )]
    InvariantViolated {
        /// The violated invariant.
        invariant: String,
        /// The location of the crash report.
        report: String,
    },
    /// The disk failed.
    #[error(
        "the disk failed, so the server stops: it must not acknowledge data that is not durable"
    )]
    Disk(#[source] DiskError),
    /// The trace can no longer be written.
    #[error("writing the trace failed, so the server stops: a trace with a gap cannot be replayed")]
    Trace(#[source] io::Error),
    /// A system call failed that a server depends on.
    #[error("cannot spawn a thread, or polling the socket failed")]
    System(#[source] io::Error),
    /// One of the server's threads panicked.
    #[error("a thread of the server panicked, which is a bug; see the log")]
    Panicked,
}
