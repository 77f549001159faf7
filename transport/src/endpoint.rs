//! One UDP socket and the code that serves it. Two tasks serve an [`Endpoint`]: the first reads,
//! and the second sends queued batches and runs timers. Alternatively the owner serves a [`Socket`]
//! from its own event loop.

use crate::{
    Config, Counters,
    counters::Cause,
    inbound::Reader,
    resolve,
    routes::Misplaced,
    shared::{Shared, lock},
    socket::Socket,
};
use model::{Address, Envelope, wire::BootId};
use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// How long reading pauses after the system returned an error.
const READ_PAUSE: Duration = Duration::from_millis(10);

/// The sending half. Cheap to clone. Dropping the last clone ends the [`Inbox`] and closes the
/// socket.
#[derive(Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    /// Empty if the owner serves the socket.
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        lock(&self.shared.arrivals.arrived).close();
        self.shared.arrivals.arrival.notify_one();
    }
}

/// The receiving half.
pub struct Inbox {
    shared: Arc<Shared>,
}

impl Endpoint {
    /// Opens the socket. Call it within a tokio runtime.
    ///
    /// # Errors
    /// If a setting is invalid, or the socket cannot be opened, most often because the address is
    /// in use.
    pub async fn bind(config: Config) -> io::Result<(Self, Inbox)> {
        let shared = Arc::new(Shared::new(config)?);
        shared.socket.register()?;
        let tasks = vec![
            tokio::spawn(read(Arc::clone(&shared))),
            tokio::spawn(serve_timers(Arc::clone(&shared))),
        ];
        let inbox = Inbox {
            shared: Arc::clone(&shared),
        };
        let inner = Arc::new(Inner { shared, tasks });
        Ok((Self { inner }, inbox))
    }

    /// Opens the socket for an owner that serves it: the owner polls it for readiness and runs its
    /// timers. Needs no runtime.
    ///
    /// # Errors
    /// See [`Self::bind`].
    pub fn open(config: Config) -> io::Result<(Self, Socket)> {
        let shared = Arc::new(Shared::new(config)?);
        let socket = Socket::new(Arc::clone(&shared));
        let tasks = Vec::new();
        let inner = Arc::new(Inner { shared, tasks });
        Ok((Self { inner }, socket))
    }

    /// The local address of the socket.
    ///
    /// # Errors
    /// If the system cannot return it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.shared.socket.local_addr()
    }

    /// Configures the address of a process. Repeating the same address has no effect.
    pub fn set_peer(&self, address: Address, at: SocketAddr) {
        self.set_peer_addresses(address, &[at]);
    }

    /// Configures several addresses of a process. Messages go to each address in turn, in this
    /// order and cyclically, until one answers.
    pub fn set_peer_addresses(&self, address: Address, at: &[SocketAddr]) {
        self.inner.shared.configure(address, at);
    }

    /// The address to which messages for a process are sent, if it is known.
    pub fn route_to(&self, address: Address) -> Option<SocketAddr> {
        let shared = &self.inner.shared;
        lock(&shared.routes).find(address, shared.now())
    }

    /// Whether messages to a process go to a configured address, or to an address learned from a
    /// datagram under a key. Without keys, any sender can impersonate a process that has no
    /// configured address.
    pub fn has_trusted_route(&self, address: Address) -> bool {
        let shared = &self.inner.shared;
        let mut routes = lock(&shared.routes);
        let is_insecure = shared.config.keys.are_insecure();
        if is_insecure && !routes.is_listed(address) {
            return false;
        }
        routes.find(address, shared.now()).is_some()
    }

    /// Restricts learning of a process's address to the datagrams of this run, or of no run if
    /// `run` is `None`. `at` is the address of that run, if a datagram from it was received. Before
    /// the first call, the latest run is followed.
    pub fn follow(&self, address: Address, run: Option<BootId>, at: Option<SocketAddr>) {
        let is_authentic = self.is_authentic();
        let shared = &self.inner.shared;
        lock(&shared.routes).follow(address, run, at, is_authentic, shared.now());
    }

    /// Whether datagrams between servers are sealed, so that no other process can forge their
    /// contents.
    pub fn is_authentic(&self) -> bool {
        !self.inner.shared.config.keys.are_insecure()
    }

    /// The source address of the last datagram from a process, if its address is learned from
    /// datagrams.
    pub fn learned_address(&self, address: Address) -> Option<SocketAddr> {
        lock(&self.inner.shared.routes).learned_address(address)
    }

    /// The configured addresses of a process.
    pub fn configured_addresses(&self, address: Address) -> Vec<SocketAddr> {
        lock(&self.inner.shared.routes).configured(address).to_vec()
    }

    /// The maximum datagram size to this process, in bytes, according to the current path MTU
    /// estimate.
    pub fn datagram_size(&self, address: Address) -> usize {
        let at = self.route_to(address);
        lock(&self.inner.shared.transmission.paths).size_to(at)
    }

    /// The maximum datagram size to each process with a configured address.
    pub fn datagram_sizes(&self) -> Vec<(Address, usize)> {
        let listed = lock(&self.inner.shared.routes).listed().to_vec();
        let with_size = |address| (address, self.datagram_size(address));
        listed.into_iter().map(with_size).collect()
    }

    /// Resolves `HOST:PORT` until the result has addresses that this socket can reach. Container
    /// names appear late, so it retries without limit: apply a timeout, or run it in a task.
    pub async fn resolve(&self, host_port: &str) -> Vec<SocketAddr> {
        resolve::resolve(self.inner.shared.local, host_port).await
    }

    /// Sends messages, batching those for the same destination. Never blocks: messages that the
    /// socket cannot accept now are queued, and dropped if the queue is full.
    pub fn send(&self, envelopes: Vec<Envelope>) {
        self.inner.shared.send(envelopes, None);
    }

    /// Sends messages to this address, ignoring the routes of their receivers.
    pub fn send_to(&self, at: SocketAddr, envelopes: Vec<Envelope>) {
        self.inner.shared.send(envelopes, Some(at));
    }

    /// The listed processes whose datagrams come from the configured address of another process.
    /// The configured list is wrong.
    pub fn misplaced(&self) -> Vec<Misplaced> {
        let shared = &self.inner.shared;
        lock(&shared.routes).misplaced(shared.now())
    }

    /// The counters of messages sent, received and dropped.
    pub fn counters(&self) -> &Counters {
        &self.inner.shared.counters
    }
}

impl Inbox {
    /// Returns the messages received since the last call, at least one, or `None` once the endpoint
    /// is closed. Cancel safe: no message is lost if the future is dropped.
    pub async fn receive(&mut self) -> Option<Vec<Envelope>> {
        loop {
            let all = lock(&self.shared.arrivals.arrived).take()?;
            if !all.is_empty() {
                return Some(all.into_iter().map(|message| message.envelope).collect());
            }
            self.shared.arrivals.arrival.notified().await;
        }
    }
}

/// The first task: reads datagrams from the socket for as long as the endpoint lives.
async fn read(shared: Arc<Shared>) {
    let mut reader = Reader::new(&shared);
    loop {
        let received = poll_fn(|context| reader.poll_receive(context, &*shared.socket));
        match received.await {
            Ok(calls) => reader.process(&shared, calls),
            Err(error) => {
                shared
                    .counters
                    .drop(Cause::ReceiveFailed, 1, format_args!("{error}"));
                tokio::time::sleep(READ_PAUSE).await;
            }
        }
    }
}

/// The second task: sends queued batches and runs timers.
async fn serve_timers(shared: Arc<Shared>) {
    loop {
        let due = shared.set_alarm();
        let queued = shared.is_queued();
        let alarm = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // A fixed order, so that a simulation can repeat a run. The wake-up is last: each pass reads
            // the alarm and the queue anyway.
            biased;
            () = alarm => shared.tick(shared.now()),
            writable = poll_fn(|context| shared.socket.poll_writable(context)), if queued => {
                if writable.is_ok() {
                    shared.flush();
                }
                // The socket may stay writable: give other tasks a turn.
                tokio::task::yield_now().await;
            }
            () = shared.delays.wake.notified() => {}
        }
    }
}
