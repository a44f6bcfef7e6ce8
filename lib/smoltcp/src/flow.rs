//! TCP connections as applications hold them.

use alloc::rc::Rc;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;

use mirage_device::io::{ErrorType, Read, Write};
use mirage_device::{Flow, FlowError, FlowRead, FlowWrite};
use smoltcp::socket::tcp::{RecvError, State};

use crate::connection::{Connection, Parting};
use crate::endpoint::Work;
use crate::slots::Id;
use crate::state::Shared;

/// A TCP connection. The contract is [`Flow`]'s.
///
/// [`FlowWrite::write_vectored`] takes all its buffers before any is sent: what fits a segment
/// leaves in one.
pub struct TcpFlow {
    reader: TcpReader,
    writer: TcpWriter,
}

/// The reading half of a [`TcpFlow`]. Dropping it alone closes nothing: what the peer sends then
/// fills the receive buffer and stops there.
pub struct TcpReader(Handle);

/// The writing half of a [`TcpFlow`].
pub struct TcpWriter {
    handle: Handle,
    shut: bool,
}

/// A half's hold on its connection.
struct Handle {
    shared: Rc<Shared>,
    id: Id,
    parting: Parting,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.part(self.parting);
    }
}

impl Handle {
    /// `f` of the connection, which outlives its handles.
    fn with<R>(&self, gone: R, f: impl FnOnce(&mut Connection) -> R) -> R {
        self.shared
            .state()
            .connections
            .get_mut(self.id)
            .map_or(gone, f)
    }
}

impl TcpFlow {
    /// Takes hold of a connection.
    pub(crate) fn new(shared: &Rc<Shared>, id: Id) -> Self {
        let handle = |parting| Handle {
            shared: shared.clone(),
            id,
            parting,
        };
        Self {
            reader: TcpReader(handle(Parting::Reader(id))),
            writer: TcpWriter {
                handle: handle(Parting::Writer(id)),
                shut: false,
            },
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

impl Read for TcpReader {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FlowError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let Handle { shared, id, .. } = &self.0;
        poll_fn(|cx| {
            let mut state = shared.state();
            let Some(connection) = state.connections.get_mut(*id) else {
                return Poll::Ready(Err(FlowError::Gone));
            };
            match connection.socket().recv_slice(buffer) {
                Ok(0) => {
                    connection.socket().register_recv_waker(cx.waker());
                    Poll::Pending
                }
                Ok(len) => {
                    if connection.read(len) {
                        state.enqueue(Work::Tcp(*id));
                        shared.kick();
                    }
                    Poll::Ready(Ok(len))
                }
                Err(RecvError::Finished) => Poll::Ready(Ok(0)),
                Err(RecvError::InvalidState) => {
                    Poll::Ready(Err(connection.fate.unwrap_or(FlowError::Closed)))
                }
            }
        })
        .await
    }
}

impl FlowRead for TcpReader {}

impl Write for TcpWriter {
    async fn write(&mut self, buffer: &[u8]) -> Result<usize, FlowError> {
        self.write_vectored(&[buffer]).await
    }

    async fn flush(&mut self) -> Result<(), FlowError> {
        poll_fn(|cx| {
            self.handle
                .with(Poll::Ready(Err(FlowError::Gone)), |connection| {
                    let socket = connection.socket();
                    if socket.send_queue() == 0 {
                        return Poll::Ready(Ok(()));
                    }
                    if socket.state() == State::Closed {
                        return Poll::Ready(Err(connection.fate.unwrap_or(FlowError::Closed)));
                    }
                    socket.register_send_waker(cx.waker());
                    Poll::Pending
                })
        })
        .await
    }
}

impl FlowWrite for TcpWriter {
    async fn write_vectored(&mut self, buffers: &[&[u8]]) -> Result<usize, FlowError> {
        if self.shut {
            return Err(FlowError::Closed);
        }
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Ok(0);
        }
        let Handle { shared, id, .. } = &self.handle;
        poll_fn(|cx| {
            let mut state = shared.state();
            let Some(connection) = state.connections.get_mut(*id) else {
                return Poll::Ready(Err(FlowError::Gone));
            };
            let mut taken = 0;
            for buffer in buffers {
                match connection.socket().send_slice(buffer) {
                    Ok(len) => {
                        taken += len;
                        if len < buffer.len() {
                            break;
                        }
                    }
                    Err(_) => {
                        let fate = connection.fate.unwrap_or(FlowError::Closed);
                        return Poll::Ready(Err(fate));
                    }
                }
            }
            if taken == 0 {
                connection.socket().register_send_waker(cx.waker());
                return Poll::Pending;
            }
            state.enqueue(Work::Tcp(*id));
            shared.kick();
            Poll::Ready(Ok(taken))
        })
        .await
    }

    fn shutdown(&mut self) {
        if !core::mem::replace(&mut self.shut, true) {
            self.handle.shared.state().shutdown(self.handle.id);
            self.handle.shared.kick();
        }
    }
}

impl Read for TcpFlow {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FlowError> {
        self.reader.read(buffer).await
    }
}

impl FlowRead for TcpFlow {}

impl Write for TcpFlow {
    async fn write(&mut self, buffer: &[u8]) -> Result<usize, FlowError> {
        self.writer.write(buffer).await
    }

    async fn flush(&mut self) -> Result<(), FlowError> {
        self.writer.flush().await
    }
}

impl FlowWrite for TcpFlow {
    async fn write_vectored(&mut self, buffers: &[&[u8]]) -> Result<usize, FlowError> {
        self.writer.write_vectored(buffers).await
    }

    fn shutdown(&mut self) {
        self.writer.shutdown();
    }
}

impl Flow for TcpFlow {
    type Reader = TcpReader;
    type Writer = TcpWriter;

    fn split(self) -> (TcpReader, TcpWriter) {
        (self.reader, self.writer)
    }

    fn abort(self) {
        let Handle { shared, id, .. } = &self.reader.0;
        shared.part(Parting::Abort(*id));
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.reader
            .0
            .with(None, |connection| Some(connection.peer()))
    }

    fn local(&self) -> Option<SocketAddr> {
        self.reader
            .0
            .with(None, |connection| Some(connection.local()))
    }
}
