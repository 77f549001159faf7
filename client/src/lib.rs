//! The client library of a cluster: sessions, operations, outcomes.
//!
//! [`model::client`] decides which requests a client sends, and interprets the responses. This crate
//! adds the IO: many concurrent sessions ([`pool`]), one socket for all of them ([`Client`]), and
//! functions that return a value instead of a message ([`KeyValue`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use client::KeyValue as _;
//!
//! let client = client::Client::connect(client::Options {
//!     endpoints: vec!["127.0.0.1:7000".to_owned()],
//!     ..client::Options::default()
//! })
//! .await?;
//! let version = client.put("greeting", "hello").await?;
//! let found = client.get("greeting").await?;
//! assert_eq!(found.map(|found| found.version), Some(version));
//! # Ok(())
//! # }
//! ```

mod connection;
mod error;
mod kv;
mod options;
pub mod pool;
pub mod recorded;
mod rotation;
mod wire;

pub use connection::{CLOSE_PATIENCE, Client};
pub use error::{ConnectError, Error};
pub use kv::{KeyValue, Number, Stale, Written};
pub use options::{Options, Route};
pub use transport::{Environment, Key, Keys};
