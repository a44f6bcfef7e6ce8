//! One request and its answer.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use mirage_device::{Flow, Sleep};

use crate::chunked::SizeLine;
use crate::fields::{is_framing, is_sendable};
use crate::head::Request;
use crate::link::{BATCH, DISCARD, Link, Progress};
use crate::{Error, Status};

/// What answers requests.
pub trait Handler: 'static {
    /// `handle` never waits for anything but the exchange itself. Then the answers to requests
    /// that arrived together leave together; otherwise what has been answered is sent before the
    /// next request is looked at.
    const AT_ONCE: bool = false;

    /// Answers one request.
    ///
    /// May wait; is dropped when the connection is. [`Exchange::answer`] leads to the [`Done`]
    /// that must be returned. Returning an error ends the connection: with an answer that fits
    /// the error when none has begun, by a reset when one has, so that nobody takes the part for
    /// the whole.
    async fn handle(
        &self,
        request: &Request<'_>,
        exchange: Exchange<'_, impl Flow, impl Sleep>,
    ) -> Result<Done, Error>;
}

/// The proof that a request has been answered.
#[derive(Debug)]
pub struct Done(());

/// A request's content on its way in, and the answer on its way out.
pub struct Exchange<'c, F, S> {
    link: &'c mut Link<F, S>,
    /// The connection's buffer beyond the head.
    rest: &'c mut [u8],
}

impl<'c, F: Flow, S: Sleep> Exchange<'c, F, S> {
    pub(crate) const fn new(link: &'c mut Link<F, S>, rest: &'c mut [u8]) -> Self {
        Self { link, rest }
    }

    /// Reads the next bytes of the request's content; 0 at its end.
    ///
    /// Waits. Cancel-safe: a dropped read has taken no byte. The caller owns the buffer. The
    /// first call lets a client that asked for it begin to send (RFC 9110 §10.1.1). Errors are
    /// final.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.link.read(self.rest, buffer).await
    }

    /// Reads the rest of the request's content, at most [`Limits::body`](crate::Limits::body) bytes. Waits. Not
    /// cancel-safe: what a dropped call has read is lost.
    pub async fn content(&mut self) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let count = self.read(&mut buffer).await?;
            if count == 0 {
                return Ok(content);
            }
            content.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
    }

    /// The client's address. Returns at once.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.link.wire.flow.peer()
    }

    /// The wall clock's time since 1970, where there is one. Returns at once.
    pub fn wall(&self) -> Option<Duration> {
        self.link.shared.wall()
    }

    /// Begins the answer. Returns at once; nothing is sent before [`Answer::send`] or
    /// [`Answer::stream`].
    pub fn answer(self, status: Status) -> Answer<'c, F, S> {
        let Self { link, rest } = self;
        let start = link.output.len();
        match status.line() {
            Some(line) => link.output.extend_from_slice(line.as_bytes()),
            None => {
                link.number_line("HTTP/1.1 ", u64::from(status.code()));
                // The space before a reason is there even when the reason is not.
                link.output.truncate(link.output.len() - 2);
                link.output.extend_from_slice(b" \r\n");
            }
        }
        if let Some(date) = link.shared.date() {
            link.output.extend_from_slice(&date);
        }
        link.status = status;
        Answer {
            link,
            rest,
            status,
            start,
            sendable: true,
        }
    }
}

/// An answer's head while it is written.
#[must_use = "an answer is sent by `send` or `stream`"]
pub struct Answer<'c, F, S> {
    link: &'c mut Link<F, S>,
    rest: &'c mut [u8],
    status: Status,
    /// Where this answer starts in the output.
    start: usize,
    sendable: bool,
}

impl<'c, F: Flow, S: Sleep> Answer<'c, F, S> {
    /// Adds a field. Returns at once.
    ///
    /// A name or value that would break the head, or a field that frames the message
    /// (`Content-Length`, `Transfer-Encoding`, `Connection`), makes sending fail with
    /// [`Error::Field`]. `Date` is there already where there is a wall clock.
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.sendable &= is_sendable(name, value) && !is_framing(name);
        self.link.output.extend_from_slice(name.as_bytes());
        self.link.line(": ", value);
        self
    }

    /// As [`Answer::field`] for a line that is known to be good; `start` is name, colon, space.
    pub(crate) fn trusted(self, start: &str, value: &[u8]) -> Self {
        self.link.line(start, value);
        self
    }

    /// As [`Answer::trusted`] for a value in two parts that ends in a quotation mark.
    pub(crate) fn quoted(self, start: &str, parts: [&str; 2]) -> Self {
        self.link.output.extend_from_slice(start.as_bytes());
        self.link.output.extend_from_slice(parts[0].as_bytes());
        self.link.line(parts[1], b"\"");
        self
    }

    /// Completes the answer with this content.
    ///
    /// Waits only when there is more to send than is collected for one write. Not cancel-safe.
    /// `Ok` means taken, not sent. After HEAD, and with a status that has none, the content is
    /// not sent.
    pub async fn send(mut self, content: impl AsRef<[u8]>) -> Result<Done, Error> {
        let content = content.as_ref();
        if !self.status.is_bodiless() {
            self.link
                .number_line("Content-Length: ", content.len() as u64);
        }
        self.finish_head()?;
        self.link.progress = Progress::Complete;
        if self.status.is_bodiless() || self.link.head_only {
            return Ok(Done(()));
        }
        if self.link.output.len() + content.len() <= BATCH {
            self.link.output.extend_from_slice(content);
        } else {
            self.link.progress = Progress::Begun;
            self.link.flush_with(content, &[]).await?;
            self.link.progress = Progress::Complete;
        }
        Ok(Done(()))
    }

    /// Goes on with content that comes bit by bit: `length` bytes, or as many as it gets.
    /// Returns at once. Content of unknown length is chunked; a client of HTTP/1.0 gets it until
    /// the connection closes.
    pub fn stream(mut self, length: Option<u64>) -> Result<Stream<'c, F, S>, Error> {
        let silent = self.status.is_bodiless() || self.link.head_only;
        let framing = match length {
            _ if self.status.is_bodiless() => Outgoing::Known(length.unwrap_or(0)),
            Some(length) => {
                self.link.number_line("Content-Length: ", length);
                Outgoing::Known(length)
            }
            None if self.link.http10 => {
                self.link.keep_alive = false;
                Outgoing::UntilClose
            }
            None => {
                self.link
                    .output
                    .extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                Outgoing::Chunked
            }
        };
        self.finish_head()?;
        self.link.progress = Progress::Begun;
        Ok(Stream {
            link: self.link,
            rest: self.rest,
            framing,
            silent,
        })
    }

    fn finish_head(&mut self) -> Result<(), Error> {
        let link = &mut *self.link;
        if link.progress != Progress::Waiting {
            link.output.truncate(self.start);
            return Err(Error::Answered);
        }
        if !self.sendable {
            link.output.truncate(self.start);
            return Err(Error::Field);
        }
        // A client that still waits for 100 may now send its content or leave it out: the next
        // request could not be told from it.
        let unread = link.body.left().is_some_and(|left| left > DISCARD);
        link.keep_alive &= !unread && !link.expects_continue && !link.slot.is_closing();
        if !link.keep_alive {
            link.output.extend_from_slice(b"Connection: close\r\n\r\n");
        } else if link.http10 {
            link.output
                .extend_from_slice(b"Connection: keep-alive\r\n\r\n");
        } else {
            link.output.extend_from_slice(b"\r\n");
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outgoing {
    /// So many bytes are still to be written.
    Known(u64),
    Chunked,
    UntilClose,
}

/// An answer's content while it is written. Dropping it unfinished resets the connection.
#[must_use = "an answer is completed by `finish`"]
pub struct Stream<'c, F, S> {
    link: &'c mut Link<F, S>,
    rest: &'c mut [u8],
    framing: Outgoing,
    /// The content is counted and not sent.
    silent: bool,
}

impl<F: Flow, S: Sleep> Stream<'_, F, S> {
    /// Writes all of `bytes`, sending them now, and the head with the first of them.
    ///
    /// Waits until the flow has taken them. Not cancel-safe. The caller keeps the buffer. Errors
    /// are final; [`Error::Length`] when that is more than was announced.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Outgoing::Known(left) = &mut self.framing {
            *left = left.checked_sub(bytes.len() as u64).ok_or(Error::Length)?;
        }
        if self.silent || bytes.is_empty() {
            return Ok(());
        }
        if self.framing != Outgoing::Chunked {
            return self.link.flush_with(bytes, &[]).await;
        }
        let size = SizeLine::new(bytes.len());
        self.link.output.extend_from_slice(size.as_bytes());
        self.link.flush_with(bytes, b"\r\n").await
    }

    /// Reads the next bytes of the request's content, as [`Exchange::read`].
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.link.read(self.rest, buffer).await
    }

    /// Sends what has been written so far, the head included, without waiting for more content.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.link.flush().await
    }

    /// Completes the answer. Returns at once; [`Error::Length`] when bytes are missing.
    pub fn finish(self) -> Result<Done, Error> {
        match self.framing {
            Outgoing::Known(left) if left > 0 && !self.silent => return Err(Error::Length),
            Outgoing::Chunked if !self.silent => {
                self.link.output.extend_from_slice(b"0\r\n\r\n");
            }
            _ => {}
        }
        self.link.progress = Progress::Complete;
        Ok(Done(()))
    }
}
