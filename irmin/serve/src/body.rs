//! Bodies of answers: bytes, a stream that a thread fills, or events.

use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;

/// The body of an answer.
pub(crate) enum Body {
    /// Known bytes.
    Whole(Bytes),
    /// What a thread produces. If it is dropped before its end the answer is cut off, so that no
    /// client takes a part for the whole.
    Stream(mpsc::Receiver<Piece>),
    /// Pieces made one after the other, for as long as somebody takes them.
    Made(Made),
}

/// A part of a stream.
pub(crate) enum Piece {
    Bytes(Bytes),
    /// All was sent.
    End,
}

/// How the next piece is made, and with it how the one after it is.
pub(crate) struct Made(pub(crate) Pin<Box<Making>>);

type Making = dyn Future<Output = Option<(Bytes, Made)>> + Send;

impl Body {
    pub(crate) fn empty() -> Body {
        Body::Whole(Bytes::new())
    }
}

/// Why an answer was cut off.
#[derive(Debug, thiserror::Error)]
#[error("the answer was not finished")]
pub(crate) struct CutOff;

impl HttpBody for Body {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        match &mut *self {
            Body::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Stream(pieces) => pieces.poll_recv(context).map(|piece| match piece {
                Some(Piece::Bytes(bytes)) => Some(Ok(Frame::data(bytes))),
                Some(Piece::End) => None,
                None => Some(Err(CutOff)),
            }),
            Body::Made(made) => made.0.as_mut().poll(context).map(|piece| {
                let (bytes, next) = piece?;
                *made = next;
                Some(Ok(Frame::data(bytes)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            _ => SizeHint::default(),
        }
    }
}

/// Bytes that are gathered before they are sent.
const PIECE: usize = 32 << 10;

/// The writing end of a stream, for a thread: waits while the client is behind, and fails once it is
/// gone. [`finish`](Sink::finish) ends it well.
pub(crate) struct Sink {
    to: mpsc::Sender<Piece>,
    gathered: BytesMut,
}

impl Sink {
    pub(crate) fn new() -> (Sink, Body) {
        let (to, from) = mpsc::channel(2);
        (
            Sink {
                to,
                gathered: BytesMut::new(),
            },
            Body::Stream(from),
        )
    }

    fn send(&mut self, piece: Piece) -> io::Result<()> {
        self.to
            .blocking_send(piece)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.send(Piece::End)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.put_slice(bytes);
        if self.gathered.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.gathered.is_empty() {
            true => Ok(()),
            false => {
                let piece = self.gathered.split().freeze();
                self.send(Piece::Bytes(piece))
            }
        }
    }
}
