//! Accepts TCP connections, so many and no more, until the proxy closes.

use prometheus_client::metrics::gauge::Gauge;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What is left for everything that is no connection of a door: sockets, pages, and of each server
/// in this process its log and its spare.
const DESCRIPTORS_BESIDE: u64 = 64;
const DESCRIPTORS_PER_SERVER: u64 = 32;

/// How many connections each of two doors may take, of those asked for: files of servers in this
/// process must not want for descriptors, or their disks would fail. Takes as many descriptors as the
/// system allows.
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
            "the limit of open files (ulimit -n) leaves each door fewer connections than --max-connections"
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

/// Accepts until `closing`; each connection is served by a task of `tasks`. Who comes while
/// `room` connections are open waits in the queue of the listening socket.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    room: usize,
    open: Gauge,
    closing: CancellationToken,
    tasks: TaskTracker,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(room));
    loop {
        let accepted = tokio::select! {
            accepted = one(&listener, &room) => accepted,
            () = closing.cancelled() => return,
        };
        match accepted {
            Ok((stream, from, permit)) => {
                let (open, serving) = (open.clone(), serve(stream, from));
                open.inc();
                tasks.spawn(async move {
                    serving.await;
                    open.dec();
                    drop(permit);
                });
            }
            Err(error) if broken_before_accepted(&error) => {}
            Err(error) => {
                // Most often no file descriptor is left. Trying again at once would only burn.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn one(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, from) = listener.accept().await?;
    Ok((stream, from, permit))
}

fn broken_before_accepted(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn doors_leave_descriptors_to_disks() {
        assert_eq!(share(1024, 3, 1 << 20), 1024);
        assert_eq!(share(1024, 3, 1024), 432);
        assert_eq!(share(100, 0, 1024), 100);
        assert_eq!(share(1024, 5, 100), 1);
    }
}
