//! The connection's bytes, held back while requests pile up, and cut off at will.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of requests that may wait in one connection before no more is read from it. A client that
/// prefetches a file of 8 GiB, requesting 32 kiB at a time, has 8 MB of requests under way at once, as
/// paramiko does.
///
/// Held back is the stream of bytes, below SSH. On a channel this cannot be done: `russh` opens a
/// channel's window again as data comes, and a channel whose receiver does not keep up stops the whole
/// connection, with the messages that would open the window for the answers in it: a deadlock.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Decides whether a connection's bytes may pass.
#[derive(Debug, Default)]
pub(super) struct Backpressure(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting_bytes: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Backpressure {
    /// More bytes of requests wait.
    pub(super) fn add(&self, bytes: usize) {
        self.state().waiting_bytes += bytes;
    }

    /// Fewer bytes of requests wait.
    pub(super) fn sub(&self, bytes: usize) {
        let mut state = self.state();
        let was_full = state.is_full();
        state.waiting_bytes = state.waiting_bytes.saturating_sub(bytes);
        if was_full && !state.is_full() {
            wake(&mut state.reader);
        }
    }

    /// Whether nothing is read because too much waits.
    pub(super) fn is_full(&self) -> bool {
        self.state().is_full()
    }

    /// Lets nothing pass any more, in either direction.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        wake(&mut state.reader);
        wake(&mut state.writer);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is complete in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.waiting_bytes >= WAITING_BYTES_MAX
    }

    fn check(&self) -> Result<()> {
        if self.closed { Err(Error::new(ErrorKind::ConnectionAborted, "closed")) } else { Ok(()) }
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// A stream that passes a backpressure.
pub(super) struct Throttled<S> {
    pub(super) stream: S,
    pub(super) backpressure: Arc<Backpressure>,
}

impl<S> Throttled<S> {
    fn poll_open(&self, context: &Context<'_>) -> Poll<Result<()>> {
        let mut state = self.backpressure.state();
        state.check()?;
        state.writer = Some(context.waker().clone());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Throttled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        {
            let mut state = self.backpressure.state();
            state.check()?;
            state.reader = Some(context.waker().clone());
            if state.is_full() {
                return Poll::Pending;
            }
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Throttled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        ready!(self.poll_open(context))?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_open(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_open(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn nothing_is_read_while_too_much_waits() {
        let backpressure = Arc::new(Backpressure::default());
        let (ours, mut theirs) = tokio::io::duplex(100);
        let mut ours = Throttled { stream: ours, backpressure: Arc::clone(&backpressure) };
        backpressure.add(WAITING_BYTES_MAX);
        theirs.write_all(b"x").await.unwrap();
        let reading = tokio::spawn(async move { ours.read_u8().await });
        yield_now().await;
        assert!(backpressure.is_full() && !reading.is_finished());
        backpressure.sub(1);
        assert_eq!(reading.await.unwrap().unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_closed_gate_ends_reads_and_writes_that_wait() {
        let backpressure = Arc::new(Backpressure::default());
        let (ours, _theirs) = tokio::io::duplex(1);
        let (mut reader, mut writer) =
            tokio::io::split(Throttled { stream: ours, backpressure: Arc::clone(&backpressure) });
        let reading = tokio::spawn(async move { reader.read_u8().await });
        let writing = tokio::spawn(async move { writer.write_all(b"too long").await });
        yield_now().await;
        backpressure.close();
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::ConnectionAborted);
    }
}
