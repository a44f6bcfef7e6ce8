//! A connection that ends when its client does not take what is sent.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a client has to send or take within the time it is given.
pub(crate) const LEAST: usize = 4 << 10;

/// Writes fail with `TimedOut` once a client took less than [`LEAST`] bytes for so long, although more
/// were there.
pub(crate) struct Paced<T> {
    inner: T,
    patience: Duration,
    /// Since when bytes wait, as the time at which patience ends.
    waiting: Option<Pin<Box<Sleep>>>,
    taken: usize,
}

impl<T> Paced<T> {
    pub(crate) fn new(inner: T, patience: Duration) -> Paced<T> {
        Paced {
            inner,
            patience,
            waiting: None,
            taken: 0,
        }
    }

    fn paced<R>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if result.is_ready() {
            return result;
        }
        let patience = self.patience;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn took(&mut self, count: usize) {
        self.taken += count;
        if self.taken >= LEAST {
            self.waiting = None;
            self.taken = 0;
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &result {
            self.took(*count);
        }
        self.paced(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(context);
        if let Poll::Ready(Ok(())) = &result {
            // Nothing waits any more.
            self.waiting = None;
            self.taken = 0;
        }
        self.paced(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(context);
        self.paced(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(count)) = &result {
            self.took(*count);
        }
        self.paced(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
