use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use mirage_device::io::{ErrorType, Read, Write};
use mirage_device::{Flow, FlowError, FlowRead, FlowWrite, Sleep as _, Tally};
use mirage_runtime::Timer;
use rustix::io::{Errno, IoSlice, writev};
use rustix::net::{RecvFlags, SendFlags, Shutdown, getpeername, getsockname, recv, send, shutdown};

use crate::error;
use crate::socket::Socket;
use crate::stack::{BYTES_RECEIVED, BYTES_SENT};

/// Most buffers that the kernel takes at once (`UIO_MAXIOV` is 1024).
const MAX_BUFFERS: usize = 64;
/// How often a flush asks whether the peer has acknowledged, at first and at most: the kernel
/// tells nobody when it has.
const FLUSH: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(20));
/// Bytes that nobody will read are taken from the kernel up to this before it closes a socket:
/// closing with bytes unread resets, and a reset overtakes what the peer has not read yet.
const DISCARD: usize = 1 << 20;

/// The connection behind a flow and its halves.
struct Connection {
    socket: Socket,
    tally: Rc<Tally>,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    /// The peer's end has been read.
    ended: Cell<bool>,
    /// Why the connection broke. The kernel tells it once, to whoever asks first, and reading
    /// then looks as if the peer had closed in order.
    broken: Cell<Option<FlowError>>,
}

impl Connection {
    async fn read(&self, buffer: &mut [u8]) -> Result<usize, FlowError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let Socket { fd, source, .. } = &self.socket;
        let wanted = buffer.len();
        let read = std::future::poll_fn(|cx| {
            source
                .input
                .poll(cx, || recv(fd, &mut *buffer, RecvFlags::empty()))
        });
        let (_, len) = read.await.map_err(|error| self.failure(error))?;
        debug_assert!(len <= wanted);
        match self.broken.get() {
            Some(error) if len == 0 && !self.ended.get() => return Err(error),
            _ if len == 0 => self.ended.set(true),
            _ => self.tally.add(BYTES_RECEIVED, len as u64),
        }
        Ok(len)
    }

    /// What the kernel says, in the interface's words and for all times.
    fn failure(&self, error: Errno) -> FlowError {
        let failure = self.broken.get().unwrap_or(error::flow(error));
        self.broken.set(Some(failure));
        failure
    }

    async fn write(
        &self,
        mut operation: impl FnMut() -> Result<usize, Errno>,
    ) -> Result<usize, FlowError> {
        let output = &self.socket.source.output;
        let written = std::future::poll_fn(|cx| output.poll(cx, &mut operation)).await;
        let len = written.map_err(|error| self.failure(error))?;
        self.tally.add(BYTES_SENT, len as u64);
        Ok(len)
    }

    async fn flush(&self) -> Result<(), FlowError> {
        let timer = Timer::new(self.socket.runtime.clone());
        let (mut delay, most) = FLUSH;
        while unacknowledged(&self.socket.fd).map_err(|error| self.failure(error))? > 0 {
            timer.sleep(delay).await;
            delay = (delay * 2).min(most);
        }
        // A connection that broke has nothing unacknowledged any more either.
        match rustix::net::sockopt::socket_error(&self.socket.fd) {
            Ok(Ok(())) => self.broken.get().map_or(Ok(()), Err),
            Ok(Err(error)) | Err(error) => Err(self.failure(error)),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let fd = &self.socket.fd;
        let _ = shutdown(fd, Shutdown::Write);
        let (mut discarded, mut buffer) = (0, [0; 16 << 10]);
        while discarded < DISCARD {
            match recv(fd, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, 0)) | Err(_) => return,
                Ok((_, len)) => discarded += len,
            }
        }
    }
}

/// Bytes written that the peer's stack has not acknowledged (`SIOCOUTQ`, tcp(7)).
#[allow(unsafe_code)]
fn unacknowledged(fd: impl AsFd) -> Result<u32, Errno> {
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: this request writes one int, as the type says; see tcp(7) and asm/ioctls.h.
    let bytes: i32 =
        unsafe { rustix::ioctl::ioctl(fd, rustix::ioctl::Getter::<SIOCOUTQ, i32>::new())? };
    Ok(u32::try_from(bytes).unwrap_or(0))
}

/// A TCP connection of the host's kernel.
pub struct TcpFlow {
    connection: Rc<Connection>,
    writer: Sending,
}

/// The reading half of a [`TcpFlow`].
pub struct TcpReader(Rc<Connection>);

/// The writing half of a [`TcpFlow`]. Dropping it shuts it down.
pub struct TcpWriter {
    connection: Rc<Connection>,
    sending: Sending,
}

/// Whether this side still sends.
#[derive(Default)]
struct Sending {
    closed: bool,
}

impl Sending {
    fn check(&self) -> Result<(), FlowError> {
        if self.closed {
            Err(FlowError::Closed)
        } else {
            Ok(())
        }
    }

    async fn write(&self, connection: &Connection, bytes: &[u8]) -> Result<usize, FlowError> {
        self.check()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let fd = &connection.socket.fd;
        connection
            .write(|| send(fd, bytes, SendFlags::NOSIGNAL))
            .await
    }

    async fn write_vectored(
        &self,
        connection: &Connection,
        buffers: &[&[u8]],
    ) -> Result<usize, FlowError> {
        self.check()?;
        let slices: Vec<IoSlice<'_>> = buffers
            .iter()
            .filter(|buffer| !buffer.is_empty())
            .take(MAX_BUFFERS)
            .map(|buffer| IoSlice::new(buffer))
            .collect();
        if slices.is_empty() {
            return Ok(0);
        }
        // A Rust program ignores SIGPIPE from its start.
        connection
            .write(|| writev(&connection.socket.fd, &slices))
            .await
    }

    fn shutdown(&mut self, connection: &Connection) {
        if !std::mem::replace(&mut self.closed, true) {
            // It fails when the connection has gone: then reading tells.
            let _ = shutdown(&connection.socket.fd, Shutdown::Write);
        }
    }
}

impl TcpFlow {
    /// Takes over a connected socket.
    pub(crate) fn new(socket: Socket, tally: Rc<Tally>) -> Self {
        // Nothing is held back for later, says the contract of a flow.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&socket.fd, true);
        let peer = getpeername(&socket.fd)
            .ok()
            .flatten()
            .and_then(crate::stack::address);
        let local = getsockname(&socket.fd).ok().and_then(crate::stack::address);
        let connection = Rc::new(Connection {
            socket,
            tally,
            peer,
            local,
            ended: Cell::default(),
            broken: Cell::default(),
        });
        Self {
            connection,
            writer: Sending::default(),
        }
    }
}

impl ErrorType for TcpFlow {
    type Error = FlowError;
}

impl ErrorType for TcpReader {
    type Error = FlowError;
}

impl ErrorType for TcpWriter {
    type Error = FlowError;
}

impl Read for TcpFlow {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FlowError> {
        self.connection.read(buffer).await
    }
}

impl Read for TcpReader {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FlowError> {
        self.0.read(buffer).await
    }
}

impl Write for TcpFlow {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, FlowError> {
        self.writer.write(&self.connection, bytes).await
    }

    async fn flush(&mut self) -> Result<(), FlowError> {
        self.connection.flush().await
    }
}

impl Write for TcpWriter {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, FlowError> {
        self.sending.write(&self.connection, bytes).await
    }

    async fn flush(&mut self) -> Result<(), FlowError> {
        self.connection.flush().await
    }
}

impl FlowRead for TcpFlow {}
impl FlowRead for TcpReader {}

impl FlowWrite for TcpFlow {
    async fn write_vectored(&mut self, buffers: &[&[u8]]) -> Result<usize, FlowError> {
        self.writer.write_vectored(&self.connection, buffers).await
    }

    fn shutdown(&mut self) {
        self.writer.shutdown(&self.connection);
    }
}

impl FlowWrite for TcpWriter {
    async fn write_vectored(&mut self, buffers: &[&[u8]]) -> Result<usize, FlowError> {
        self.sending.write_vectored(&self.connection, buffers).await
    }

    fn shutdown(&mut self) {
        self.sending.shutdown(&self.connection);
    }
}

impl Drop for TcpWriter {
    fn drop(&mut self) {
        self.sending.shutdown(&self.connection);
    }
}

impl Flow for TcpFlow {
    type Reader = TcpReader;
    type Writer = TcpWriter;

    fn split(self) -> (TcpReader, TcpWriter) {
        let Self { connection, writer } = self;
        (
            TcpReader(connection.clone()),
            TcpWriter {
                connection,
                sending: writer,
            },
        )
    }

    fn abort(self) {
        // Dissolving the connection resets it and throws away what was not sent.
        let _ = rustix::net::connect_unspec(&self.connection.socket.fd);
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.connection.peer
    }

    fn local(&self) -> Option<SocketAddr> {
        self.connection.local
    }
}
