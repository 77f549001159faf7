//! The Redis frontend: RESP2 and RESP3 over TCP, for existing clients and tools.
//!
//! `command` lists the supported commands. Every other command and all malformed input cause an error.
//! Each command has the semantics of Redis, with three exceptions due to strong consistency: an
//! operation may fail because the cluster is unavailable (`-TRYAGAIN`, not executed), its outcome may
//! be unknown (`-UNKNOWN`), and a command with several keys is several operations.
//!
//! # Order
//! The commands of one connection are answered in order. Pipelined commands may be executed
//! concurrently, unless two of them touch the same key and at least one writes it; see `connection`.
//!
//! # Deliberate omissions
//! Push messages, inline commands (so that a web page cannot send commands to this port with a form),
//! transactions, expiry, types other than strings, and databases other than 0.

pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod cursors;
pub(crate) mod eviction;
pub(crate) mod execute;
pub(crate) mod parse;
pub(crate) mod reply;

use crate::{gauges::Gauges, kv_service::KvService, listen::Frontend, settings::Settings};
use cursors::Cursors;
use eviction::{Evictions, Tracked};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicI64},
    time::Duration,
};
use tokio::net::TcpStream;
use web::Secret;

/// The emulated version of Redis, reported to clients that request it.
pub(crate) const REDIS_VERSION: &str = "7.0.0";

/// The shared state of all connections.
pub struct Redis {
    /// The key-value service.
    pub kv_service: KvService,
    /// The password, if one is configured.
    pub password: Option<Secret>,
    /// The source of the numbers in `INFO`.
    pub gauges: Arc<Gauges>,
    /// The timeout for a client to complete a command, or to receive replies.
    pub client_timeout: Duration,
    /// The timeout for idle connections, if configured.
    pub idle_timeout: Option<Duration>,
    pub(crate) evictions: Arc<Evictions>,
    pub(crate) cursors: Mutex<Cursors>,
    pub(crate) next_client: AtomicI64,
}

impl Redis {
    /// Creates a frontend on top of this service, with this maximum number of connections. A known
    /// client that has been idle for [`Settings::evict_idle`] may be evicted in favor of a new client.
    /// `random` determines the first cursor.
    pub fn new(
        kv_service: KvService,
        password: Option<Secret>,
        gauges: Arc<Gauges>,
        settings: &Settings,
        room: usize,
        random: u64,
    ) -> Self {
        let idle = settings.idle_timeout;
        Self {
            evictions: Evictions::new(room, settings.evict_idle),
            kv_service,
            password,
            gauges,
            client_timeout: settings.client_timeout,
            idle_timeout: (!idle.is_zero()).then_some(idle),
            cursors: Mutex::new(Cursors::new(random)),
            next_client: AtomicI64::new(1),
        }
    }
}

impl Frontend for Arc<Redis> {
    type Permit = Tracked;

    async fn enter(&self) -> Option<Tracked> {
        self.evictions.enter().await
    }

    async fn serve(&self, stream: TcpStream, from: SocketAddr, tracked: Tracked) {
        if let Err(error) = connection::serve(self, stream, tracked).await {
            tracing::debug!(%from, %error, "a Redis connection failed");
        }
    }

    async fn refuse(&self, stream: TcpStream) {
        connection::refuse(stream).await;
    }
}
