//! The handle of a running server.

use crate::{
    error::{Failure, TransferError},
    observability::{metrics::Metrics, status_query::StatusQuery},
    runtime::{
        driver::{DriverCommand, Liveness},
        fault_switch::{FaultSwitch, Pause},
    },
};
use model::{
    Address, NodeId,
    client::{Invocation, NotDone, Outcome, Unknown},
};
use status::Status;
use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
    task::Waker,
    time::Duration,
};
use tokio::{
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinSet,
};
use transport::Endpoint;

/// A running server. Cheap to clone. It stops on request or, asynchronously, when the last handle
/// is dropped.
#[derive(Clone)]
pub struct Node {
    pub(crate) inner: Arc<Inner>,
}

/// The state that the handles share.
pub(crate) struct Inner {
    pub(crate) id: NodeId,
    pub(crate) commands: mpsc::Sender<DriverCommand>,
    /// Dropped after the commands, so that the server notices that all handles are gone.
    pub(crate) waker: WakeOnDrop,
    pub(crate) ended: watch::Receiver<Option<Ended>>,
    pub(crate) address: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) fault_switch: Arc<FaultSwitch>,
    /// Tasks that serve HTTP and resolve names. Aborted when dropped.
    pub(crate) helpers: Mutex<JoinSet<()>>,
}

/// Wakes the server when it is dropped.
pub(crate) struct WakeOnDrop(pub(crate) Waker);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake_by_ref();
    }
}

pub(crate) type Ended = Result<(), Arc<Failure>>;

impl Node {
    /// The id of this server.
    pub fn id(&self) -> NodeId {
        self.inner.id
    }

    /// The local address for datagrams.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.address
    }

    /// The address of the HTTP server, if it is served.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.inner.http
    }

    /// Sets the address of another server.
    pub async fn set_peer(&self, id: NodeId, at: SocketAddr) {
        self.set_peer_addresses(id, vec![at]).await;
    }

    /// Sets several addresses of another server, which are tried in turn.
    pub(crate) async fn set_peer_addresses(&self, id: NodeId, at: Vec<SocketAddr>) {
        let configure = move |endpoint: &Endpoint| {
            endpoint.set_peer_addresses(Address::Node(id), &at);
        };
        self.with_endpoint(configure).await;
    }

    /// Runs an action on the endpoint, which only the driver holds. Returns `None` once the server
    /// has stopped.
    pub(crate) async fn with_endpoint<T: Send + 'static>(
        &self,
        action: impl FnOnce(&Endpoint) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let action = Box::new(move |endpoint: &Endpoint| {
            let _ = reply.send(action(endpoint));
        });
        self.command(DriverCommand::Endpoint(action)).await?;
        answer.await.ok()
    }

    /// Executes an operation and returns its outcome. A write is executed exactly once; after 5 s
    /// without a write, it first renews its session, which costs one more entry of the log. A
    /// linearizable read needs a majority of the servers; a stale read needs only this one.
    ///
    /// `|invocation| node.execute(invocation)` is a `client::KeyValue`, which has a function for each
    /// operation.
    ///
    /// The outcome is `NotDone(NotLeader)` if this server does not lead. This is also the outcome of a
    /// leadership transfer that succeeds: use [`Self::transfer_leadership`]. The outcome of a read is never
    /// unknown. Dropping the future abandons the wait, not the operation.
    pub async fn execute(&self, invocation: Invocation) -> Outcome {
        let is_write = matches!(
            invocation,
            Invocation::Write(_) | Invocation::WriteAfterIdle(_)
        );
        let (reply, outcome) = oneshot::channel();
        let command = DriverCommand::Execute { invocation, reply };
        match self.inner.commands.try_send(command) {
            Ok(()) => self.inner.waker.0.wake_by_ref(),
            Err(mpsc::error::TrySendError::Full(_)) => return Outcome::NotDone(NotDone::QueueFull),
            Err(mpsc::error::TrySendError::Closed(_)) => {
                return Outcome::NotDone(NotDone::ShuttingDown);
            }
        }
        // A server that stops drops the channel, and may have executed a write before.
        outcome.await.unwrap_or(if is_write {
            Outcome::Unknown(Unknown::NotConfirmed)
        } else {
            Outcome::NotDone(NotDone::ShuttingDown)
        })
    }

    /// Transfers the leadership from this server to another one (thesis §3.10). Returns once that server
    /// leads, or at once if the target is this server and it leads.
    ///
    /// Until then this server executes the pending operations and holds new ones. It answers those with the new
    /// leader as a hint; after an aborted transfer it executes them. So a transfer fails no operation of
    /// a client or proxy, and delays them by a few round trips. Dropping the future abandons the
    /// wait, not the transfer.
    ///
    /// # Errors
    /// If this server does not lead, the target is not another voter, another transfer is in progress, or
    /// the target does not take over within an election timeout.
    pub async fn transfer_leadership(&self, target: NodeId) -> Result<(), TransferError> {
        let (reply, outcome) = oneshot::channel();
        let command = DriverCommand::TransferLeadership { target, reply };
        self.command(command).await.ok_or(TransferError::Stopped)?;
        outcome.await.unwrap_or(Err(TransferError::Stopped))
    }

    /// The status of the server, without log entries and events; `None` once it has stopped.
    pub async fn status(&self) -> Option<Status> {
        self.query_status(StatusQuery::BRIEF).await
    }

    /// The status of the server, with the end of its log and its recent events; `None` once it has
    /// stopped.
    pub async fn query_status(&self, query: StatusQuery) -> Option<Status> {
        let (reply, answer) = oneshot::channel();
        self.command(DriverCommand::Status(query, reply)).await?;
        answer.await.ok()
    }

    /// Sends a command to the driver. `None` once the server has stopped.
    pub(crate) async fn command(&self, command: DriverCommand) -> Option<()> {
        self.inner.commands.send(command).await.ok()?;
        self.inner.waker.0.wake_by_ref();
        Some(())
    }

    /// Pauses the server, as SIGSTOP would, until the returned value is dropped: it receives
    /// nothing, no timer fires, and it sends no responses. `None` if it has stopped.
    pub async fn pause(&self) -> Option<Pause> {
        let (pause, asleep) = self.inner.fault_switch.pause();
        self.wake();
        let mut ended = self.inner.ended.clone();
        tokio::select! {
            _ = asleep => Some(pause),
            _ = ended.wait_for(Option::is_some) => None,
        }
    }

    /// Kills the server, as SIGKILL would: operations in progress are not finished, nothing further
    /// is written, and clients are not notified. When this returns, its addresses and its directory
    /// are free.
    ///
    /// # Errors
    /// If the server had failed before.
    pub async fn kill(&self) -> Result<(), Arc<Failure>> {
        self.inner.fault_switch.kill();
        self.wake();
        let ended = self.ended().await;
        self.inner.helpers.lock().await.shutdown().await;
        ended
    }

    /// Makes the driver run another turn.
    fn wake(&self) {
        let nothing = DriverCommand::Endpoint(Box::new(|_| {}));
        // If the queue is full, a turn follows anyway; if it is closed, none ever will.
        let _ = self.inner.commands.try_send(nothing);
        self.inner.waker.0.wake_by_ref();
    }

    /// The time since the server's last turn. It has a turn at every heartbeat interval, as leader
    /// or not: a much longer time means that it is stuck.
    pub fn idle_for(&self) -> Duration {
        self.inner.liveness.since_turn()
    }

    /// The time since the last message of another server, or since the start if there was none.
    pub(crate) fn silence_of(&self, id: NodeId) -> Duration {
        self.inner.liveness.since_message(id)
    }

    /// The metrics, in the Prometheus text format.
    pub async fn metrics(&self) -> String {
        let transport = self
            .with_endpoint(|endpoint| {
                let counters = Vec::from_iter(endpoint.counters().iter());
                (counters, endpoint.datagram_sizes())
            })
            .await;
        let (counters, sizes) = transport.unwrap_or_default();
        self.inner.metrics.encode(&counters, &sizes)
    }

    /// Stops the server: rejects new operations, finishes those in progress, and ends. A leader first
    /// transfers its leadership to the most up-to-date server that responds. When this returns, its
    /// addresses and its directory are free.
    ///
    /// # Errors
    /// If the server had failed before, or failed now.
    pub async fn stop(&self) -> Result<(), Arc<Failure>> {
        // Returns `None` if the server has already ended.
        self.command(DriverCommand::Stop).await;
        let ended = self.ended().await;
        self.inner.helpers.lock().await.shutdown().await;
        ended
    }

    /// Waits until the server has stopped, for any reason.
    ///
    /// # Errors
    /// The failure, if the server stopped on its own.
    pub async fn ended(&self) -> Result<(), Arc<Failure>> {
        let mut ended = self.inner.ended.clone();
        match ended.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(result)) => result.clone(),
            Ok(None) | Err(_) => Err(Arc::new(Failure::Panicked)),
        }
    }

    /// The handle, if other handles keep the server running.
    pub(crate) fn upgrade(inner: &Weak<Inner>) -> Option<Self> {
        let inner = inner.upgrade()?;
        Some(Self { inner })
    }

    /// Whether the server has stopped.
    pub fn has_ended(&self) -> bool {
        self.inner.ended.borrow().is_some()
    }
}
