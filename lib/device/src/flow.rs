use core::fmt;
use core::net::SocketAddr;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};

/// The reading half of a flow, or a whole one.
///
/// [`Read::read`] waits until at least one byte is there and copies what is there, at most the
/// buffer. `Ok(0)` for a buffer that is not empty means that the peer has closed its sending
/// side and everything it sent has been read; every later read says the same. For an empty buffer
/// it is `Ok(0)` at once. Cancel-safe: a dropped read has taken no byte. The caller owns the
/// buffer. An error is final for reading: what had not been read is lost.
pub trait FlowRead: Read<Error = FlowError> + ErrorType<Error = FlowError> + 'static {}

/// The writing half of a flow, or a whole one.
///
/// [`Write::write`] waits until at least one byte fits into the send buffer, copies what fits
/// and returns how much. For an empty buffer it is `Ok(0)` at once. Cancel-safe: a dropped write
/// has taken no byte. The caller keeps the buffer. `Ok` means taken, not sent and not received.
/// An error is final for writing.
///
/// [`Write::flush`] waits until every byte taken so far has been acknowledged by the peer's
/// stack. It does not mean that the peer's application has read them. Cancel-safe: a dropped
/// flush has lost no byte. Bytes are sent without a flush too: nothing is held back for later.
pub trait FlowWrite: Write<Error = FlowError> + ErrorType<Error = FlowError> + 'static {
    /// As [`Write::write`] for several buffers, one after the other, as if they were one: a
    /// header and a body may leave in the same segment. Returns how many bytes in all were taken,
    /// always the first of them. Cancel-safe: a dropped call has taken no byte.
    async fn write_vectored(&mut self, buffers: &[&[u8]]) -> Result<usize, FlowError> {
        match buffers.iter().find(|b| !b.is_empty()) {
            Some(first) => self.write(first).await,
            None => Ok(0),
        }
    }

    /// Closes this side: the peer reads everything written so far and then the end. Reading goes
    /// on. Returns at once; sending goes on behind. Later writes fail with
    /// [`FlowError::Closed`]. A second call does nothing.
    fn shutdown(&mut self);
}

/// A connected byte stream, reliable and in order, with half-close: TCP, a pipe, TLS, vchan.
///
/// Dropping a flow closes both sides in order: what was written is still delivered. To throw the
/// connection away use [`Flow::abort`].
pub trait Flow: FlowRead + FlowWrite {
    /// The reading half.
    type Reader: FlowRead;
    /// The writing half. Dropping it does what [`FlowWrite::shutdown`] does.
    type Writer: FlowWrite;

    /// Two halves that different tasks may own and wait on at the same time. Returns at once. The
    /// connection ends when both halves are dropped.
    fn split(self) -> (Self::Reader, Self::Writer);

    /// Throws the connection away: the peer sees a reset, unsent bytes are lost. Returns at once.
    fn abort(self);

    /// The other end's address, where flows of this kind have one. Returns at once.
    fn peer(&self) -> Option<SocketAddr>;

    /// This end's address, where flows of this kind have one. Returns at once.
    fn local(&self) -> Option<SocketAddr>;
}

/// Why a flow no longer works. All are final for the direction that reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowError {
    /// The peer, or something on the way, reset the connection. Bytes written before may or may
    /// not have arrived.
    Reset,
    /// The peer did not answer for so long that the stack gave up.
    TimedOut,
    /// This side was closed before: writing after a shutdown.
    Closed,
    /// The stack or device below went away.
    Gone,
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "the connection was reset by the peer",
            Self::TimedOut => "the peer stopped answering",
            Self::Closed => "this side of the connection is closed already",
            Self::Gone => "the network below the connection went away",
        })
    }
}

impl core::error::Error for FlowError {}

impl embedded_io_async::Error for FlowError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Reset => ErrorKind::ConnectionReset,
            Self::TimedOut => ErrorKind::TimedOut,
            Self::Closed => ErrorKind::BrokenPipe,
            Self::Gone => ErrorKind::NotConnected,
        }
    }
}
