//! The common layer of all HTTP listeners of Stateraft: node, proxy and checker.
//!
//! [`shell`] combines the parts: each program gives it routes, a policy, a token and limits. [`server`]
//! accepts connections and bounds their number and their time. [`site`] rejects requests that a browser
//! sends on behalf of a foreign page, by the headers `Host`, `Origin` and `Sec-Fetch-Site`. [`body`]
//! reads request bodies with a bound on size and time. [`preconditions`] and [`negotiate`] parse the
//! headers of RFC 9110 that the routes need; [`Secret`] is a token.
//!
//! A [`Rejection`] is data; each program renders it in the format of its own API.
//!
//! Deliberate omissions: routes, sessions, cookies, TLS, CORS. Pages of other origins never get
//! access.

pub mod body;
pub mod negotiate;
pub mod preconditions;
mod rejection;
mod response;
mod secret;
pub mod server;
pub mod shell;
pub mod site;
mod stalls;

pub use rejection::{Reject, Rejection};
pub use response::closing;
pub use secret::Secret;
