//! The sources of the status of a server.

use crate::node_problem::NodeProblem;
use futures_util::future::BoxFuture;
use node::StatusQuery;
use serde_json::Value;
use std::fmt;

/// Queries a server in this process.
type Invocation =
    dyn Fn(StatusQuery) -> BoxFuture<'static, Result<Value, NodeProblem>> + Send + Sync;

/// The status source of a server.
pub enum Source {
    /// The HTTP address of the server, `HOST:PORT`.
    Http(String),
    /// A server in this process.
    Here(Box<Invocation>),
    /// No source is configured.
    Nowhere,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(at) => write!(f, "Http({at})"),
            Self::Here(_) => f.write_str("Here"),
            Self::Nowhere => f.write_str("Nowhere"),
        }
    }
}
