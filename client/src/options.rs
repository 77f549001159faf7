//! How a client is set up.

use std::time::Duration;
use transport::Keys;

/// The settings of a [`Client`](crate::Client).
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to ask, as `HOST:PORT`; for [`Route::Direct`] as `ID=HOST:PORT`, all servers.
    pub endpoints: Vec<String>,
    /// Who is there.
    pub route: Route,
    /// The cluster's name. Whoever belongs to another one does not hear us.
    pub cluster: String,
    /// What datagrams are sealed with. The clients' key is enough.
    pub keys: Keys,
    /// The most bytes of a datagram, without the headers of UDP and IP. The length in use follows what
    /// each path carries; this only bounds it.
    pub max_datagram: usize,
    /// How long an operation may take in all, and how long to look up an endpoint's name.
    pub timeout: Duration,
    /// After how long without an answer a request is sent again.
    pub attempt_timeout: Duration,
    /// How many operations may be in flight; each takes a session of the store.
    pub max_sessions: usize,
    /// How many more may wait for one of those.
    pub max_waiting: usize,
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
        }
    }
}

/// Whom a client asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// A proxy, and the next one after an attempt without an answer.
    #[default]
    Proxy,
    /// The servers themselves: the proxy's logic runs in this process.
    Direct,
}
