//! Why there is no answer. The one distinction that matters: was the operation certainly not
//! carried out, or does nobody know?

use model::{NodeId, store::LimitError};
use std::{io, time::Duration};

/// Why an operation has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No server carried it out in time. The operation was not carried out and never will be; a read
    /// changes nothing anyway.
    #[error(
        "nothing was done: no server carried it out within {0:?}. Is there a proxy at the endpoint, and a majority of the servers up? Are cluster name and key the right ones?"
    )]
    Unavailable(Duration),
    /// Too many operations wait in this client. It was not carried out and never will be.
    #[error(
        "nothing was done: {0} operations wait for a session of this client already. Ask for less at once, or raise max_sessions"
    )]
    Overloaded(usize),
    /// The cluster or the proxy has too much to do. The operation was not carried out and never will be.
    #[error(
        "nothing was done: the cluster is overloaded, or the proxy has as many requests in flight as it accepts. Try again in a moment, or with fewer requests at once"
    )]
    ClusterOverloaded,
    /// A key or a value is outside of the limits. The operation was not carried out and never will
    /// be.
    #[error("nothing was done: {0}")]
    OutsideLimits(LimitError),
    /// The cluster opens no session for this client, because all sessions are in use by others. The
    /// write was not carried out and never will be.
    #[error(
        "nothing was done: all client sessions of the cluster are in use. Close clients or lower their concurrency, or raise --max-sessions of the servers"
    )]
    SessionsInUse,
    /// The write would make the state larger than its quota. Nothing changed.
    #[error(
        "nothing was done: the state has reached its quota. Delete keys, or raise --state-quota of the servers"
    )]
    QuotaExceeded,
    /// A write that may have been carried out, or may yet be, or never will; once at the most.
    #[error(
        "the outcome is unknown: no leader confirmed the write within {0:?}. It may have been carried out, or may yet be, at most once. Read the key to find out"
    )]
    Unknown(Duration),
    /// A write whose session or answer the cluster no longer has. If it was not carried out by now, it
    /// never will be.
    #[error(
        "the outcome is unknown: the cluster answered that it no longer has the session of the write. The write may have been carried out before that, at most once. Read the key to find out"
    )]
    Forgotten,
    /// The key to be incremented holds no number, or the sum would be too large. Nothing changed.
    #[error(
        "nothing was done: the key holds no whole number of 64 bits, or would not after adding"
    )]
    NotANumber,
    /// The answer does not fit the question. If it was a write, it was carried out.
    #[error(
        "the answer does not fit the question: client and cluster are perhaps of different versions"
    )]
    Mismatch,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No endpoint is given.
    #[error("no endpoint is given: name at least one as HOST:PORT")]
    NoEndpoint,
    /// A name that no cluster can have.
    #[error(transparent)]
    Cluster(#[from] transport::ClusterNameError),
    /// An endpoint is not written as it should be.
    #[error("the endpoint {endpoint:?} is not {expected}")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// How it should look.
        expected: &'static str,
    },
    /// A server is listed twice.
    #[error("server {0} has two endpoints: list every server once")]
    ServerTwice(NodeId),
    /// Two servers have one address.
    #[error(
        "the endpoints of servers {first} and {second} are one address, {address}: every server has \
         an address of its own"
    )]
    SharedAddress {
        /// The first server.
        first: NodeId,
        /// The second server.
        second: NodeId,
        /// The address, as it was given or resolved.
        address: String,
    },
    /// An endpoint is an address that is never reached.
    #[error("the endpoint {endpoint:?} cannot work: {why}")]
    Unreachable {
        /// What was given.
        endpoint: String,
        /// The reason.
        why: &'static str,
    },
    /// An endpoint's name leads nowhere.
    #[error("the endpoint {endpoint:?} cannot be found: check its name")]
    Resolve {
        /// What was given.
        endpoint: String,
        /// What the system said.
        source: io::Error,
    },
    /// No socket could be opened.
    #[error("no UDP socket could be opened")]
    Bind(#[source] io::Error),
}
