//! The clients that a command opens. Their sessions are closed when the command ends: after its
//! completion, at a timeout, or at a signal.

use client::{Client, ConnectError, Options};
use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::task::JoinSet;

/// The list of open clients. Clones share the list.
#[derive(Clone, Default)]
pub(crate) struct Clients(Arc<Mutex<Vec<Client>>>);

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} clients", self.lock().len())
    }
}

impl Clients {
    pub(crate) async fn connect(&self, options: Options) -> Result<Client, ConnectError> {
        let client = Client::connect(options).await?;
        self.lock().push(client.clone());
        Ok(client)
    }

    /// Whether any of the clients ever sent a write.
    pub(crate) fn have_sent_write(&self) -> bool {
        self.lock().iter().any(Client::has_sent_write)
    }

    /// Closes the sessions of all clients, and waits at most `patience` for the responses. A busy
    /// client finishes its operation first.
    pub(crate) async fn close(&self, patience: Duration) {
        let mut closing = JoinSet::new();
        for client in mem::take(&mut *self.lock()) {
            closing.spawn(async move { client.close_within(patience).await });
        }
        while closing.join_next().await.is_some() {}
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Client>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
