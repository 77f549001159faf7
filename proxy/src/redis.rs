//! The Redis door: RESP2 and RESP3 over TCP, for the clients and tools people already have.
//!
//! What is served is listed in `command`; everything else is answered with an error, as is
//! whatever cannot be read. Every command means what it means in Redis, with three differences
//! that a strongly consistent store makes: an operation may fail because the cluster is not
//! available (`-TRYAGAIN`, nothing was done), its outcome may be unknown (`-UNKNOWN`), and a
//! command with several keys is several operations, not one.
//!
//! # Order
//! The commands of one connection are answered in order. Those that arrived together may be
//! carried out at the same time, as long as no two of them touch the same key unless both only
//! read it; see `connection`.
//!
//! # What is left out
//! Push messages, inline commands (so that a web page cannot send commands to this port by a form),
//! transactions, expiry, types other than strings, and databases other than 0.

pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod cursors;
pub(crate) mod eviction;
pub(crate) mod execute;
pub(crate) mod parse;
pub(crate) mod reply;

use crate::{desk::Desk, driver::Gauges, listen::Door};
use cursors::Cursors;
use eviction::Evictions;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicI64},
    time::Duration,
};
use tokio::net::TcpStream;
use web::Secret;

/// The version of Redis whose replies are imitated, for clients that ask.
pub(crate) const REDIS_VERSION: &str = "7.0.0";

/// What all connections of the door share.
pub struct Redis {
    /// Where operations go.
    pub desk: Desk,
    /// The password, if one is needed.
    pub password: Option<Secret>,
    /// What `INFO` tells.
    pub gauges: Arc<Gauges>,
    /// How long a client may take to send a command it has begun, or to take replies.
    pub client_timeout: Duration,
    /// How long a connection may be idle, if that is bounded.
    pub idle_timeout: Option<Duration>,
    pub(crate) evictions: Arc<Evictions>,
    pub(crate) cursors: Mutex<Cursors>,
    pub(crate) next_client: AtomicI64,
}

impl Redis {
    /// A door before this desk, with room for so many connections. A known client that has been idle
    /// for `evict_idle` may have to make room for a new one.
    pub fn new(
        desk: Desk,
        password: Option<Secret>,
        gauges: Arc<Gauges>,
        client_timeout: Duration,
        idle_timeout: Option<Duration>,
        evict_idle: Duration,
        room: usize,
    ) -> Self {
        Self {
            // Half of the connections stay for clients that are known.
            evictions: Evictions::new((room / 2).max(1), evict_idle),
            desk,
            password,
            gauges,
            client_timeout,
            idle_timeout,
            cursors: Mutex::default(),
            next_client: AtomicI64::new(1),
        }
    }
}

impl Door for Arc<Redis> {
    async fn serve(&self, stream: TcpStream, from: SocketAddr) {
        let tracked = self.evictions.enter();
        if let Err(error) = connection::serve(self, stream, tracked).await {
            tracing::debug!(%from, %error, "a Redis connection broke");
        }
    }

    fn make_room(&self) -> bool {
        self.evictions.make_room()
    }

    async fn refuse(&self, stream: TcpStream) {
        connection::refuse(stream).await;
    }
}
