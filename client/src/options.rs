//! The configuration of a client.

use std::time::Duration;
use transport::{Environment, Keys};

/// The settings of a [`Client`](crate::Client).
#[derive(Clone, Debug)]
pub struct Options {
    /// The endpoints, as `HOST:PORT`; for [`Route::Direct`] all servers as `ID=HOST:PORT`.
    pub endpoints: Vec<String>,
    /// The kind of the endpoints.
    pub route: Route,
    /// The name of the cluster. Members of other clusters ignore this client.
    pub cluster: String,
    /// The keys that seal datagrams. The clients' key is sufficient.
    pub keys: Keys,
    /// The maximum datagram size in bytes, without UDP and IP headers. Path MTU discovery chooses the
    /// actual size up to this bound.
    pub max_datagram: usize,
    /// The timeout of an operation, including all retries, and of the resolution of an endpoint's
    /// name.
    pub timeout: Duration,
    /// The timeout of one attempt; after it, the request is retransmitted.
    pub attempt_timeout: Duration,
    /// The maximum number of operations in flight; each uses a session of the store.
    pub max_sessions: usize,
    /// The maximum number of operations that are queued for a session.
    pub max_waiting: usize,
    /// The source of random numbers and sockets.
    pub environment: Environment,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoints: vec!["127.0.0.1:7000".to_owned()],
            route: Route::Proxy,
            cluster: "stateraft".to_owned(),
            keys: Keys::INSECURE,
            max_datagram: transport::Config::DEFAULT_DATAGRAM,
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_millis(500),
            max_sessions: 64,
            max_waiting: 4096,
            environment: Environment::system(),
        }
    }
}

/// The servers that a client contacts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// A proxy, and the next one after an attempt without a response.
    #[default]
    Proxy,
    /// The servers directly: the proxy's logic runs in this process.
    Direct,
}
