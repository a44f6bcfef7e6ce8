//! A request's body: small ones go at once, large ones as they are written.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;
use ureq::http::Response;
use ureq::typestate::WithBody;
use ureq::{Body, RequestBuilder, SendBody};

use crate::error::SyncError;

type Answer = Result<Response<Body>, ureq::Error>;

/// Up to here a body goes in one piece, with its length.
const SMALL: usize = 1 << 20;
/// From here on a small body is compressed, as Git does.
const WORTH_COMPRESSING: usize = 1024;
/// So many pieces of 64 KiB wait between who writes and the network.
const WAITING: usize = 4;
const PIECE: usize = 64 << 10;

/// A body that is written.
pub(super) struct Request<F> {
    post: F,
    buffer: Vec<u8>,
    /// Where a large body goes.
    streaming: Option<Streaming>,
}

struct Streaming {
    /// `None` ends the body; without it, it was broken off.
    pieces: SyncSender<Option<Vec<u8>>>,
    thread: JoinHandle<Answer>,
}

impl<F: Fn() -> RequestBuilder<WithBody>> Request<F> {
    pub fn new(post: F) -> Request<F> {
        Request {
            post,
            buffer: Vec::new(),
            streaming: None,
        }
    }

    /// The answer and, if it was small, the body: or why it was not written.
    pub fn finish(
        self,
        written: Result<(), SyncError>,
    ) -> Result<(Answer, Option<Vec<u8>>), SyncError> {
        let Some(streaming) = self.streaming else {
            written?;
            return Ok((send((self.post)(), &self.buffer), Some(self.buffer)));
        };
        match written {
            Ok(()) => drop(streaming.pieces.send(None)),
            // The server answered before it had everything: its answer says more.
            Err(SyncError::Send(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => {
                drop(streaming.pieces);
                let _ = streaming.thread.join();
                return Err(error);
            }
        }
        let answer = streaming.thread.join();
        Ok((answer.expect("sending does not panic"), None))
    }

    fn send_piece(&mut self) -> io::Result<()> {
        let piece = std::mem::take(&mut self.buffer);
        let streaming = self.streaming.get_or_insert_with(|| {
            let (pieces, receiver) = sync_channel(WAITING);
            let request = (self.post)();
            let reader = Pieces {
                receiver,
                piece: Vec::new(),
                at: 0,
                done: false,
            };
            let thread =
                std::thread::spawn(move || request.send(SendBody::from_owned_reader(reader)));
            Streaming { pieces, thread }
        });
        streaming
            .pieces
            .send(Some(piece))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// Sends a small body.
pub(super) fn send(request: RequestBuilder<WithBody>, body: &[u8]) -> Answer {
    if body.len() < WORTH_COMPRESSING {
        return request.send(body);
    }
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = packed.write_all(body).and_then(|()| packed.finish());
    let packed = packed.expect("memory takes everything");
    request.header("Content-Encoding", "gzip").send(&packed[..])
}

impl<F: Fn() -> RequestBuilder<WithBody>> Write for Request<F> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let most = if self.streaming.is_some() {
            PIECE
        } else {
            SMALL
        };
        if self.buffer.len() >= most {
            self.send_piece()?;
        }
        let taken = data.len().min(most - self.buffer.len().min(most));
        self.buffer.extend_from_slice(&data[..taken]);
        Ok(taken)
    }

    /// Only a body that goes in pieces is sent on.
    fn flush(&mut self) -> io::Result<()> {
        if self.streaming.is_some() && !self.buffer.is_empty() {
            self.send_piece()?;
        }
        Ok(())
    }
}

/// The other end of the channel.
struct Pieces {
    receiver: Receiver<Option<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    done: bool,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.done {
            match self.receiver.recv() {
                Ok(Some(piece)) => (self.piece, self.at) = (piece, 0),
                Ok(None) => self.done = true,
                Err(_) => return Err(io::Error::other("the request was broken off")),
            }
        }
        let taken = into.len().min(self.piece.len() - self.at);
        into[..taken].copy_from_slice(&self.piece[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}
