//! Messages over UDP, between nodes, proxies and clients.
//!
//! An [`Endpoint`] is one socket. Several processes of the protocol may share it (the sessions of
//! one client program do): who speaks and who is meant is in each [`Envelope`]. Nodes and proxies
//! are found at the addresses given for them; whoever is not listed is answered where it was last
//! heard from.
//!
//! Nothing here is reliable, on purpose: the protocol is checked against messages that are lost,
//! repeated, late and out of order. Queues are bounded, and what does not fit is dropped and
//! counted.

use model::{Address, Envelope};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{net::UdpSocket, sync::mpsc, task::JoinHandle};

/// How an endpoint is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The cluster: datagrams of another one are dropped.
    pub cluster: String,
    /// Where the processes with fixed addresses are.
    pub peers: BTreeMap<Address, SocketAddr>,
}

/// Sends. Cheap to clone; the socket closes when the last clone and the [`Inbox`] are gone.
#[derive(Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

struct Inner {
    socket: Arc<UdpSocket>,
    routes: Arc<Mutex<BTreeMap<Address, SocketAddr>>>,
    reader: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Receives.
pub struct Inbox {
    queue: mpsc::Receiver<Vec<Envelope>>,
}

impl Endpoint {
    /// Opens the socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the socket cannot be opened, most often because the address is in use.
    pub async fn bind(config: Config) -> io::Result<(Self, Inbox)> {
        let socket = Arc::new(UdpSocket::bind(config.listen).await?);
        let routes = Arc::new(Mutex::new(config.peers));
        let (sender, queue) = mpsc::channel(1024);
        let reader = tokio::spawn(read(Arc::clone(&socket), Arc::clone(&routes), sender));
        let inner = Arc::new(Inner {
            socket,
            routes,
            reader,
        });
        Ok((Self { inner }, Inbox { queue }))
    }

    /// Where the socket listens.
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.socket.local_addr()
    }

    /// Tells where a process is, from now on.
    pub fn set_peer(&self, address: Address, at: SocketAddr) {
        lock(&self.inner.routes).insert(address, at);
    }

    /// Sends messages, together where they go to the same place. Never waits.
    pub fn send(&self, envelopes: Vec<Envelope>) {
        for envelope in envelopes {
            let to = lock(&self.inner.routes).get(&envelope.to).copied();
            if let (Some(to), Ok(bytes)) = (to, postcard::to_allocvec(&envelope)) {
                let _ = self.inner.socket.try_send_to(&bytes, to);
            }
        }
    }
}

impl Inbox {
    /// The messages that arrived since the last call, at least one. `None` once the endpoint is
    /// closed.
    pub async fn receive(&mut self) -> Option<Vec<Envelope>> {
        let mut all = self.queue.recv().await?;
        while let Ok(more) = self.queue.try_recv() {
            all.extend(more);
        }
        Some(all)
    }
}

async fn read(
    socket: Arc<UdpSocket>,
    routes: Arc<Mutex<BTreeMap<Address, SocketAddr>>>,
    sender: mpsc::Sender<Vec<Envelope>>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Ok(envelope) = postcard::from_bytes::<Envelope>(&buffer[..length]) else {
            continue;
        };
        lock(&routes).entry(envelope.from).or_insert(from);
        let _ = sender.try_send(vec![envelope]);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
