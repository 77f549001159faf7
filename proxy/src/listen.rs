//! Accepts a bounded number of TCP connections until the proxy shuts down.

use prometheus_client::metrics::gauge::Gauge;
use socket2::SockRef;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use web::server::BACKLOG;

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

/// How a frontend serves and rejects connections.
pub(crate) trait Frontend: Clone + Send + 'static {
    /// The permit of a connection, which counts among the connections of the frontend.
    type Permit: Send;
    /// Waits for a permit, or returns `None` if the connection must be rejected.
    fn enter(&self) -> impl Future<Output = Option<Self::Permit>> + Send;
    /// Serves one connection until it ends.
    fn serve(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        permit: Self::Permit,
    ) -> impl Future<Output = ()> + Send;
    /// Reports to a client that all connections are in use.
    fn refuse(&self, stream: TcpStream) -> impl Future<Output = ()> + Send;
}

/// Accepts connections until `closing` is cancelled. A task of `tasks` serves each connection. A
/// connection without a permit is rejected with an error.
pub(crate) async fn accept(
    listener: TcpListener,
    open: Gauge,
    closing: CancellationToken,
    tasks: TaskTracker,
    frontend: impl Frontend,
) {
    // The standard library requests 128. The system may grant less.
    let _ = SockRef::from(&listener).listen(BACKLOG);
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if web::server::is_client_error(&error) => continue,
            Err(error) => {
                // Most often no file descriptor is left. An immediate retry would only burn CPU time.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        // Meanwhile the backlog keeps further connections.
        let permit = tokio::select! {
            permit = frontend.enter() => permit,
            () = closing.cancelled() => return,
        };
        match permit {
            Some(permit) => {
                let (open, frontend) = (open.clone(), frontend.clone());
                open.inc();
                tasks.spawn(async move {
                    frontend.serve(stream, from, permit).await;
                    open.dec();
                });
            }
            None => {
                tracing::debug!(%from, "refused a connection: all are in use");
                if let Ok(refusing) = Arc::clone(&refusals).try_acquire_owned() {
                    let frontend = frontend.clone();
                    tasks.spawn(async move {
                        let refused = frontend.refuse(stream);
                        let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refused).await;
                        drop(refusing);
                    });
                }
            }
        }
    }
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
