//! The errors of operations. They distinguish an operation that was certainly not executed from an
//! operation with an unknown outcome.

use model::{NodeId, store::LimitError};
use std::{io, time::Duration};

/// Why an operation has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No server executed the operation in time. It was not executed and never will be; a read has no
    /// effect in any case.
    #[error(
        "nothing was done: no server carried it out within {0:?}. Is there a proxy at the endpoint, and a majority of the servers up? Are cluster name and key the right ones?"
    )]
    Unavailable(Duration),
    /// Too many operations are queued in this client. The operation was not executed and never will
    /// be.
    #[error(
        "nothing was done: {0} operations wait for a session of this client already. Ask for less at once, or raise max_sessions"
    )]
    Overloaded(usize),
    /// The cluster or the proxy is overloaded. The operation was not executed and never will be.
    #[error(
        "nothing was done: the cluster is overloaded, or the proxy has as many requests in flight as it accepts. Try again in a moment, or with fewer requests at once"
    )]
    ClusterOverloaded,
    /// A key or a value exceeds the limits. The operation was not executed and never will be.
    #[error("nothing was done: {0}")]
    OutsideLimits(LimitError),
    /// The cluster opens no session for this client, because other clients use all sessions. The write
    /// was not executed and never will be.
    #[error(
        "nothing was done: all client sessions of the cluster are in use. Close clients or lower their concurrency, or raise --max-sessions of the servers"
    )]
    SessionsInUse,
    /// The write would make the state larger than its quota. Nothing changed.
    #[error(
        "nothing was done: the state has reached its quota. Delete keys, or raise --state-quota of the servers"
    )]
    QuotaExceeded,
    /// The outcome of a write is unknown: it may have been executed, may still be executed, or may
    /// never be executed. It is executed at most once.
    #[error(
        "the outcome is unknown: no leader confirmed the write within {0:?}. It may have been carried out, or may yet be, at most once. Read the key to find out"
    )]
    Unknown(Duration),
    /// The cluster no longer has the session or the response of the write. If the write was not
    /// executed before, it never will be.
    #[error(
        "the outcome is unknown: the cluster answered that it no longer has the session of the write. The write may have been carried out before that, at most once. Read the key to find out"
    )]
    Forgotten,
    /// The value of the key is not an integer, or the sum would overflow. Nothing changed.
    #[error(
        "nothing was done: the key holds no whole number of 64 bits, or would not after adding"
    )]
    NotANumber,
    /// The response does not match the request. A write was executed.
    #[error(
        "the answer does not fit the question: client and cluster are perhaps of different versions"
    )]
    Mismatch,
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
        "the endpoints of servers {first} and {second} are one address, {address}: every server has \
         an address of its own"
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
