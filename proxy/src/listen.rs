//! Accepts TCP connections, so many and no more, until the proxy closes.

use prometheus_client::metrics::gauge::Gauge;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

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
