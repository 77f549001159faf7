//! The errors of operations. They distinguish an operation that was certainly not executed from an
//! operation with an unknown outcome.

use model::{
    NodeId,
    client::{NotDone, Unknown},
    message::NotTransferred,
};
use std::io;

/// Why an operation has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The operation was not executed and never will be. A read has no effect in any case.
    #[error("nothing was done: {0}")]
    NotDone(NotDone),
    /// The write would make the state larger than its quota. Nothing changed.
    #[error(
        "nothing was done: the state has reached its quota. Delete keys, or raise --state-quota of the servers"
    )]
    QuotaExceeded,
    /// The value of the key is not an integer. Nothing changed.
    #[error("nothing was done: the value is not a 64-bit integer")]
    NotANumber,
    /// The sum does not fit into 64 bits. Nothing changed.
    #[error("nothing was done: the sum would exceed 64 bits")]
    Overflow,
    /// The outcome of a write is unknown: it may have been executed, may still be executed, or may
    /// never be executed. It is executed at most once.
    #[error("the outcome is unknown: {0}. Read the key to find out")]
    Unknown(Unknown),
    /// No response confirms that the target of a leadership transfer leads. If the reason is
    /// [`NotDone::NoLeader`], it may lead already, or the transfer may still take place.
    #[error("server {target} is not confirmed as the leader: {reason}{}", advice(*reason))]
    NotTransferred {
        /// The server that should lead.
        target: NodeId,
        /// The reason.
        reason: NotDone,
    },
    /// The client key does not permit a leadership transfer, and this client has no cluster key.
    #[error(
        "nothing was done: the client key does not permit a leadership transfer: give the cluster key, too (--key-file)"
    )]
    NotPermitted,
    /// The response to a read does not match the request. A read has no effect.
    #[error(
        "nothing was done: the response does not match the request: the client and the cluster may have different versions"
    )]
    MismatchedRead,
    /// The response to a write does not match the request. The write was executed.
    #[error(
        "the response does not match the request: the client and the cluster may have different versions"
    )]
    Mismatch,
}

impl Error {
    /// Whether the write may have been executed, or may still be. All other errors report that the
    /// operation changed no data and never will.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Mismatch)
    }

    /// Whether no data changed because the service was unreachable, overloaded or full. A retry may
    /// succeed.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::NotDone(reason) => !matches!(reason, NotDone::OutsideLimits(_)),
            Self::NotTransferred { reason, .. } => {
                *reason != NotDone::NotTransferred(NotTransferred::NoVoter)
            }
            Self::QuotaExceeded | Self::MismatchedRead => true,
            Self::NotANumber
            | Self::Overflow
            | Self::Unknown(_)
            | Self::Mismatch
            | Self::NotPermitted => false,
        }
    }
}

/// The possible effect of a leadership transfer without a response, and how to find out.
const fn advice(reason: NotDone) -> &'static str {
    match reason {
        NotDone::NoLeader => {
            ". A transfer that has begun may still succeed: `raft-client status` shows the leader"
        }
        _ => "",
    }
}

/// Why a client could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No endpoint is given.
    #[error("no endpoint is given: name at least one as HOST:PORT")]
    NoEndpoint,
    /// The cluster name is invalid.
    #[error(transparent)]
    Cluster(#[from] transport::ClusterNameError),
    /// An endpoint has the wrong form.
    #[error("the endpoint {endpoint:?} is not {expected}")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// The expected form.
        expected: &'static str,
    },
    /// A server is listed twice.
    #[error("server {0} has two endpoints: list every server once")]
    ServerTwice(NodeId),
    /// Two servers have the same address.
    #[error(
        "servers {first} and {second} have the same endpoint {address}: every server needs its own \
         address"
    )]
    SharedAddress {
        /// The first server.
        first: NodeId,
        /// The second server.
        second: NodeId,
        /// The address, as given or as resolved.
        address: String,
    },
    /// An endpoint is an address that can never be reached.
    #[error("the endpoint {endpoint:?} cannot work: {why}")]
    Unreachable {
        /// The endpoint.
        endpoint: String,
        /// The reason.
        why: &'static str,
    },
    /// The name of an endpoint cannot be resolved.
    #[error("the endpoint {endpoint:?} cannot be found: check its name")]
    Resolve {
        /// The endpoint.
        endpoint: String,
        /// The error of the resolver.
        source: io::Error,
    },
    /// The system provides no random bytes.
    #[error("the system provides no random numbers")]
    Random(#[source] io::Error),
    /// No socket could be opened.
    #[error("no UDP socket could be opened")]
    Bind(#[source] io::Error),
}
