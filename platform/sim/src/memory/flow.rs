use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};

use mirage_device::io::{ErrorType, Read, Write};
use mirage_device::{Flow, FlowError, FlowRead, FlowWrite};

/// One direction of a connection.
struct Pipe {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The writer has sent its end.
    ended: bool,
    /// The reader is gone: what arrives now is answered with a reset.
    deaf: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

type Shared = Rc<RefCell<Pipe>>;

impl Pipe {
    fn shared(capacity: usize) -> Shared {
        Rc::new(RefCell::new(Self {
            bytes: VecDeque::new(),
            capacity: capacity.max(1),
            ended: false,
            deaf: false,
            reset: false,
            reader: None,
            writer: None,
        }))
    }

    fn reset(&mut self) {
        self.reset = true;
        self.bytes.clear();
        self.wake();
    }

    /// Moves what is there into `buffer`: how many bytes.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let (front, back) = self.bytes.as_slices();
        let first = front.len().min(buffer.len());
        let second = back.len().min(buffer.len() - first);
        buffer[..first].copy_from_slice(&front[..first]);
        buffer[first..first + second].copy_from_slice(&back[..second]);
        self.bytes.drain(..first + second);
        first + second
    }

    fn wake(&mut self) {
        self.reader
            .take()
            .into_iter()
            .chain(self.writer.take())
            .for_each(Waker::wake);
    }
}

/// Two ends of a connection whose buffers hold `capacity` bytes in each direction.
///
/// It behaves as TCP does where that matters to a protocol: a write that arrives after the other
/// end has been dropped resets the connection, and the reset destroys what the writer had
/// received and not yet read.
pub fn pair(capacity: usize) -> (MemoryFlow, MemoryFlow) {
    pair_between(capacity, None, None)
}

pub(crate) fn pair_between(
    capacity: usize,
    left: Option<SocketAddr>,
    right: Option<SocketAddr>,
) -> (MemoryFlow, MemoryFlow) {
    let (there, back) = (Pipe::shared(capacity), Pipe::shared(capacity));
    (
        MemoryFlow::new(&back, &there, left, right),
        MemoryFlow::new(&there, &back, right, left),
    )
}

/// One end of a connection in memory.
pub struct MemoryFlow {
    reader: MemoryReader,
    writer: MemoryWriter,
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
}

/// The reading half of a [`MemoryFlow`].
pub struct MemoryReader {
    pipe: Shared,
}

/// The writing half of a [`MemoryFlow`].
pub struct MemoryWriter {
    pipe: Shared,
    /// The opposite direction, which a reset ends too.
    opposite: Shared,
}

impl MemoryFlow {
    fn new(
        incoming: &Shared,
        outgoing: &Shared,
        local: Option<SocketAddr>,
        peer: Option<SocketAddr>,
    ) -> Self {
        let reader = MemoryReader {
            pipe: incoming.clone(),
        };
        let writer = MemoryWriter {
            pipe: outgoing.clone(),
            opposite: incoming.clone(),
        };
        Self {
            reader,
            writer,
            local,
            peer,
        }
    }
}

impl ErrorType for MemoryReader {
    type Error = FlowError;
}

impl Read for MemoryReader {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FlowError> {
        poll_fn(|context| {
            let mut pipe = self.pipe.borrow_mut();
            if pipe.reset {
                return Poll::Ready(Err(FlowError::Reset));
            }
            if pipe.bytes.is_empty() && !pipe.ended && !buffer.is_empty() {
                pipe.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
            let count = pipe.take(buffer);
            pipe.writer.take().into_iter().for_each(Waker::wake);
            Poll::Ready(Ok(count))
        })
        .await
    }
}

impl FlowRead for MemoryReader {}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        let mut pipe = self.pipe.borrow_mut();
        pipe.deaf = true;
        pipe.wake();
    }
}

impl ErrorType for MemoryWriter {
    type Error = FlowError;
}

impl Write for MemoryWriter {
    async fn write(&mut self, buffer: &[u8]) -> Result<usize, FlowError> {
        self.write_vectored(&[buffer]).await
    }

    async fn flush(&mut self) -> Result<(), FlowError> {
        if self.pipe.borrow().reset {
            Err(FlowError::Reset)
        } else {
            Ok(())
        }
    }
}

impl FlowWrite for MemoryWriter {
    async fn write_vectored(&mut self, buffers: &[&[u8]]) -> Result<usize, FlowError> {
        poll_fn(|context| {
            let mut pipe = self.pipe.borrow_mut();
            if pipe.ended {
                return Poll::Ready(Err(FlowError::Closed));
            }
            if pipe.deaf && !pipe.reset {
                pipe.reset();
                self.opposite.borrow_mut().reset();
            }
            if pipe.reset {
                return Poll::Ready(Err(FlowError::Reset));
            }
            let room = pipe.capacity - pipe.bytes.len();
            if room == 0 && buffers.iter().any(|buffer| !buffer.is_empty()) {
                pipe.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
            let before = pipe.bytes.len();
            for buffer in buffers {
                let room = pipe.capacity - pipe.bytes.len();
                pipe.bytes.extend(&buffer[..buffer.len().min(room)]);
            }
            pipe.reader.take().into_iter().for_each(Waker::wake);
            Poll::Ready(Ok(pipe.bytes.len() - before))
        })
        .await
    }

    fn shutdown(&mut self) {
        let mut pipe = self.pipe.borrow_mut();
        pipe.ended = true;
        pipe.wake();
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl ErrorType for MemoryFlow {
    type Error = FlowError;
}

impl Read for MemoryFlow {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, FlowError> {
        self.reader.read(buffer).await
    }
}

impl Write for MemoryFlow {
    async fn write(&mut self, buffer: &[u8]) -> Result<usize, FlowError> {
        self.writer.write(buffer).await
    }

    async fn flush(&mut self) -> Result<(), FlowError> {
        self.writer.flush().await
    }
}

impl FlowRead for MemoryFlow {}

impl FlowWrite for MemoryFlow {
    async fn write_vectored(&mut self, buffers: &[&[u8]]) -> Result<usize, FlowError> {
        self.writer.write_vectored(buffers).await
    }

    fn shutdown(&mut self) {
        self.writer.shutdown();
    }
}

impl Flow for MemoryFlow {
    type Reader = MemoryReader;
    type Writer = MemoryWriter;

    fn split(self) -> (MemoryReader, MemoryWriter) {
        (self.reader, self.writer)
    }

    fn abort(self) {
        self.reader.pipe.borrow_mut().reset();
        self.writer.pipe.borrow_mut().reset();
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    fn local(&self) -> Option<SocketAddr> {
        self.local
    }
}
