//! Accepts a bounded number of TCP connections until the proxy shuts down.

use prometheus_client::metrics::gauge::Gauge;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// File descriptors reserved for purposes other than frontend connections, such as sockets and pages.
/// `DESCRIPTORS_PER_SERVER` covers the log and the spare segment of each server in this process.
const DESCRIPTORS_BESIDE: u64 = 64 + RESERVE as u64 + REFUSALS as u64;
const DESCRIPTORS_PER_SERVER: u64 = 32;
/// Additional HTTP connections for health checks.
pub(crate) const RESERVE: usize = 16;

/// The number of connections for each of two frontends, at most `asked`. The limit leaves enough
/// descriptors for the files of servers in this process; otherwise their disks would fail. Raises the
/// descriptor limit as far as the system allows.
pub(crate) fn room(asked: usize, servers: u64) -> usize {
    let Ok(limit) = rlimit::increase_nofile_limit(u64::MAX) else {
        return asked;
    };
    let room = share(asked, servers, limit);
    if room < asked {
        tracing::warn!(
            limit,
            asked,
            room,
            "the limit of open files (ulimit -n) leaves each frontend fewer connections than --max-connections"
        );
    }
    room
}

fn share(asked: usize, servers: u64, limit: u64) -> usize {
    let beside = DESCRIPTORS_BESIDE + DESCRIPTORS_PER_SERVER * servers;
    let left = limit.saturating_sub(beside) / 2;
    asked
        .min(usize::try_from(left).unwrap_or(usize::MAX))
        .max(1)
}

/// The maximum number of connections that are being rejected concurrently. Further connections are
/// closed without an error message.
const REFUSALS: usize = 64;
/// The timeout for sending the error to a rejected client.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// The timeout for the close of an evicted connection.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(1);

/// How a frontend serves and rejects connections.
pub(crate) trait Frontend: Clone + Send + 'static {
    /// Serves one connection until it ends.
    fn serve(&self, stream: TcpStream, from: SocketAddr) -> impl Future<Output = ()> + Send;
    /// Evicts a connection in favor of a new one, if possible. Returns whether it did.
    fn make_room(&self) -> bool;
    /// Reports to a client that all connections are in use.
    fn refuse(&self, stream: TcpStream) -> impl Future<Output = ()> + Send;
}

/// Accepts connections until `closing` is cancelled. A task of `tasks` serves each connection. A
/// connection beyond `room` is rejected with an error, unless an eviction makes room for it.
pub(crate) async fn accept(
    listener: TcpListener,
    room: usize,
    open: Gauge,
    closing: CancellationToken,
    tasks: TaskTracker,
    frontend: impl Frontend,
) {
    let room = Arc::new(Semaphore::new(room));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => return,
        };
        match accepted {
            Ok((stream, from)) => match permit(&room, &frontend).await {
                Some(permit) => {
                    let (open, frontend) = (open.clone(), frontend.clone());
                    open.inc();
                    tasks.spawn(async move {
                        frontend.serve(stream, from).await;
                        open.dec();
                        drop(permit);
                    });
                }
                None => {
                    tracing::debug!(%from, "a connection is refused: all are taken");
                    if let Ok(refusing) = Arc::clone(&refusals).try_acquire_owned() {
                        let frontend = frontend.clone();
                        tasks.spawn(async move {
                            let refused = frontend.refuse(stream);
                            let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refused).await;
                            drop(refusing);
                        });
                    }
                }
            },
            Err(error) if web::server::is_of_the_connection(&error) => {}
            Err(error) => {
                // Most often no file descriptor is left. An immediate retry would only burn CPU time.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn permit(room: &Arc<Semaphore>, frontend: &impl Frontend) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(room).try_acquire_owned() {
        return Some(permit);
    }
    if !frontend.make_room() {
        return None;
    }
    let permit = Arc::clone(room).acquire_owned();
    tokio::time::timeout(EVICTION_TIMEOUT, permit)
        .await
        .ok()?
        .ok()
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn frontends_leave_descriptors_to_disks() {
        assert_eq!(share(1024, 3, 1 << 20), 1024);
        assert_eq!(share(1024, 3, 1024), 392);
        assert_eq!(share(100, 0, 1024), 100);
        assert_eq!(share(1024, 5, 100), 1);
    }
}
