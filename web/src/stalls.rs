//! A stream that fails when its peer stops reading or is gone.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep, sleep_until},
};

/// The minimum number of bytes that a peer must receive within the timeout, unless fewer are pending.
const PROGRESS: usize = 32 * 1024;

/// A peer that has closed its sending side may wait for the response, or may be gone: TCP cannot
/// distinguish the two cases. If no byte of the response is sent for this long, the peer counts as
/// gone.
const HALF_CLOSED: Duration = Duration::from_secs(2);

/// The maximum number of bytes that are discarded at the end of a connection.
const LINGER_BYTES: usize = 8 << 20;

/// A stream with access to received bytes without consuming them.
pub(crate) trait Peek {
    /// The number of available bytes, at most one; 0 at the end of the stream.
    fn poll_peek_one(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>>;
}

impl Peek for TcpStream {
    fn poll_peek_one(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_peek(context, &mut ReadBuf::new(&mut [0]))
    }
}

/// The state of the closing phase, which lasts until the peer closes too.
struct Linger {
    deadline: Pin<Box<Sleep>>,
    /// The number of bytes that may still be discarded.
    left: usize,
}

/// A stream whose writes fail with `TimedOut` if the peer received less than [`PROGRESS`] bytes within
/// the timeout. A peer that receives a byte now and then fails like a peer that receives nothing.
pub(crate) struct Stalls<S, F> {
    stream: S,
    timeout: Duration,
    /// Armed while bytes are pending.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The number of bytes sent since the deadline was armed.
    taken: usize,
    /// Armed while the peer has closed its sending side and no byte is sent to it.
    half_closed: Option<Pin<Box<Sleep>>>,
    /// Set after the sending side was closed.
    linger: Option<Linger>,
    /// Called after all pending bytes were written.
    on_flush: F,
}

impl<S, F> Stalls<S, F> {
    pub(crate) fn new(stream: S, timeout: Duration, on_flush: F) -> Self {
        Self {
            stream,
            timeout,
            deadline: None,
            taken: 0,
            half_closed: None,
            linger: None,
            on_flush,
        }
    }

    fn after_write(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(count)) => {
                self.half_closed = None;
                self.taken += count;
                if self.taken >= PROGRESS {
                    self.deadline = None;
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if self.deadline.is_none() {
                    self.taken = 0;
                }
                let at = Instant::now() + self.timeout;
                let deadline = self
                    .deadline
                    .get_or_insert_with(|| Box::pin(sleep_until(at)));
                match deadline.as_mut().poll(context) {
                    Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

impl<S: Peek, F> Stalls<S, F> {
    /// Fails if the peer is gone. Hyper does not read while a request is in progress.
    fn check_peer(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.stream.poll_peek_one(context) {
            Poll::Ready(Ok(0)) => {}
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Ready(Ok(_)) | Poll::Pending => return Ok(()),
        }
        let half_closed = self
            .half_closed
            .get_or_insert_with(|| Box::pin(sleep(HALF_CLOSED)));
        match half_closed.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin, F> Stalls<S, F> {
    /// Discards received bytes until the peer closes, up to the bounds.
    fn discard(
        stream: &mut S,
        linger: &mut Linger,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while linger.left > 0 && linger.deadline.as_mut().poll(context).is_pending() {
            let mut unread = [MaybeUninit::uninit(); 8 * 1024];
            let mut unread = ReadBuf::uninit(&mut unread);
            // After an error no data can be lost.
            let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut unread));
            if read.is_err() || unread.filled().is_empty() {
                break;
            }
            linger.left = linger.left.saturating_sub(unread.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> AsyncRead for Stalls<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Peek + Unpin, F: FnMut() + Unpin> AsyncWrite for Stalls<S, F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.after_write(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Hyper calls this after it has handed over all its bytes.
        self.deadline = None;
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        (self.on_flush)();
        // Hyper flushes at each poll, so the check runs regularly.
        Poll::Ready(self.check_peer(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
        }
        // Closing a socket with unread input resets the connection. The peer could lose the response
        // to a request whose body was not read.
        let linger = this.linger.get_or_insert_with(|| Linger {
            deadline: Box::pin(sleep(this.timeout)),
            left: LINGER_BYTES,
        });
        Self::discard(&mut this.stream, linger, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    impl Peek for DuplexStream {
        fn poll_peek_one(&self, _context: &mut Context<'_>) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    /// Sends a megabyte to a peer that receives `taken` bytes in each tenth of the timeout.
    async fn send(taken: usize) -> io::Result<()> {
        let (one, mut other) = duplex(1024);
        let timeout = Duration::from_secs(10);
        let mut one = Stalls::new(one, timeout, || {});
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; taken];
            while taken > 0 && other.read_exact(&mut buffer).await.is_ok() {
                tokio::time::sleep(timeout / 10).await;
            }
            std::future::pending::<()>().await;
        });
        let sent = one.write_all(&vec![0; 1 << 20]).await;
        reader.abort();
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn peer_that_takes_too_little_is_given_up() {
        for taken in [0, 1, 1000] {
            let error = send(taken).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{taken}");
        }
        send(8 * 1024).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_anything_to_send_does_not_count() {
        let (one, mut other) = duplex(1024);
        let mut one = Stalls::new(one, Duration::from_secs(10), || {});
        for _ in 0..3 {
            let mut buffer = [0; 2048];
            let (sent, read) = tokio::join!(
                async {
                    one.write_all(&[0; 2048]).await?;
                    one.flush().await
                },
                other.read_exact(&mut buffer)
            );
            sent.unwrap();
            read.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    }
}
