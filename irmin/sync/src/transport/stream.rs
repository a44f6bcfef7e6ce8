//! A conversation over a stream in each direction.

use std::io::{self, BufReader, BufWriter, Read, Write};

use super::{Connection, WriteRequest};
use crate::error::SyncError;

/// A conversation over two streams: what the server says, and what it is told. Both end with it.
pub struct Stream<'a> {
    // Dropped in this order: the server sees that nobody writes or reads any more, then it is waited for.
    write: Option<BufWriter<Box<dyn Write + 'a>>>,
    read: BufReader<Box<dyn Read + 'a>>,
    /// What lives as long as the conversation.
    held: Option<Box<dyn Peer + 'a>>,
}

/// The other end of a stream, as far as we are in charge of it.
pub(super) trait Peer {
    /// Why it ended without a word, if that is known.
    fn last_words(&mut self) -> Option<String>;
    /// Waits until it has gone.
    fn wait(&mut self);
}

impl<'a> Stream<'a> {
    /// A conversation over these two streams. They do the waiting, and so the time limits.
    pub fn new(read: impl Read + 'a, write: impl Write + 'a) -> Stream<'a> {
        Stream {
            write: Some(BufWriter::with_capacity(1 << 16, Box::new(write))),
            read: BufReader::with_capacity(1 << 16, Box::new(read)),
            held: None,
        }
    }

    /// Keeps something until the conversation is over, and then drops it.
    #[cfg_attr(not(feature = "transports"), allow(dead_code))]
    pub(super) fn holding(mut self, held: impl Peer + 'a) -> Stream<'a> {
        self.held = Some(Box::new(held));
        self
    }
}

/// So much is read of a server that has nothing left to say.
const MOST_AFTER_ALL: u64 = 16 << 20;

impl Connection for Stream<'_> {
    fn is_stateless(&self) -> bool {
        false
    }

    fn greeting(&mut self) -> Result<Box<dyn Read + '_>, SyncError> {
        use std::io::BufRead;
        let nothing = match self.read.fill_buf() {
            Ok(first) => first.is_empty(),
            Err(error) => {
                self.write = None;
                let said = self.held.as_mut().and_then(|peer| peer.last_words());
                return Err(match said {
                    Some(said) => SyncError::Connect(format!("{error}; it says: {said}")),
                    None => SyncError::Connect(format!("the server says nothing: {error}")),
                });
            }
        };
        if nothing && let Some(said) = self.held.as_mut().and_then(|peer| peer.last_words()) {
            return Err(SyncError::Connect(said));
        }
        Ok(Box::new(&mut self.read))
    }

    fn request(&mut self, write: &mut WriteRequest<'_>) -> Result<Box<dyn Read + '_>, SyncError> {
        let Some(out) = &mut self.write else {
            return Err(SyncError::Send(io::ErrorKind::BrokenPipe.into()));
        };
        match write(out).and_then(|()| Ok(out.flush()?)) {
            Ok(()) => {}
            // It has gone, and may have said why.
            Err(SyncError::Send(error)) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(Box::new(&mut self.read))
    }

    fn finish(mut self: Box<Self>) -> Result<(), SyncError> {
        self.write = None;
        // A hook may still run at the other end, and want to tell of it.
        let rest = (&mut self.read).take(MOST_AFTER_ALL);
        let ended = io::copy(&mut { rest }, &mut io::sink()).is_ok();
        if ended && let Some(peer) = &mut self.held {
            peer.wait();
        }
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}
