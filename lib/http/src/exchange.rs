//! One request and its answer.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use mirage_device::{Flow, FlowError, Sleep};

use crate::body::{self, Body, Staging};
use crate::chunked::SizeLine;
use crate::fields::{is_framing, is_sendable};
use crate::head::Request;
use crate::limits::Patience;
use crate::server::Slot;
use crate::wire::Wire;
use crate::{Error, Limits, Status, date};

/// Answers of up to this many bytes are collected and leave together.
const BATCH: usize = 16 << 10;

/// The size that a buffer for answers starts with.
const BUFFER: usize = 2 << 10;

/// Buffers that are kept for the next answers.
const SPARE: usize = 16;

/// Content that a handler left unread is read and forgotten up to this many bytes, to keep the
/// connection; beyond, it is cheaper to close.
const DISCARD: u64 = 64 << 10;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Waiting,
    Begun,
    Complete,
}

/// `Date: `, the date, and CRLF.
type DateLine = [u8; 37];

fn date_line(time: Duration) -> DateLine {
    let mut line = *b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    let text = date::format(time);
    line.iter_mut()
        .skip(6)
        .zip(text)
        .for_each(|(to, from)| *to = from);
    line
}

/// What all connections of a server share.
pub(crate) struct Shared {
    pub limits: Limits,
    wall: Box<dyn Fn() -> Option<Duration>>,
    /// The `Date` line of this second since 1970.
    date: Cell<(u64, DateLine)>,
    /// Buffers for answers: a connection holds one only while it has something to say.
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Shared {
    pub fn new(limits: Limits, wall: Box<dyn Fn() -> Option<Duration>>) -> Self {
        Self {
            limits,
            wall,
            date: Cell::new((0, date_line(Duration::ZERO))),
            spare: RefCell::new(Vec::new()),
        }
    }

    pub fn wall(&self) -> Option<Duration> {
        (self.wall)()
    }

    fn take_buffer(&self) -> Vec<u8> {
        self.spare
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(BUFFER))
    }

    fn give_buffer(&self, buffer: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE && buffer.capacity() <= 2 * BATCH {
            spare.push(buffer);
        }
    }

    fn date(&self) -> Option<DateLine> {
        let time = self.wall()?;
        let (second, text) = self.date.get();
        if second == time.as_secs() {
            return Some(text);
        }
        let text = date_line(time);
        self.date.set((time.as_secs(), text));
        Some(text)
    }
}

/// The state of a connection during one exchange.
pub(crate) struct Link<F, S> {
    pub wire: Wire<F, S>,
    pub shared: Rc<Shared>,
    pub slot: Slot,
    /// Answers that have not been written yet, but for the first `sent` bytes.
    pub output: Vec<u8>,
    sent: usize,
    /// A write was given up half way: nothing that is written now could be understood.
    broken: bool,
    /// The connection stays open after this exchange.
    pub keep_alive: bool,
    pub progress: Progress,
    pub status: Status,
    body: Body,
    /// Received bytes beyond the head, as a range of the staging buffer.
    pub filled: Range<usize>,
    /// The client waits for 100 before it sends the content.
    expects_continue: bool,
    http10: bool,
    pub head_only: bool,
    receive: Patience,
    send: Patience,
}

impl<F: Flow, S: Sleep> Link<F, S> {
    pub fn new(wire: Wire<F, S>, shared: Rc<Shared>, slot: Slot) -> Self {
        Self {
            wire,
            slot,
            output: Vec::new(),
            sent: 0,
            broken: false,
            keep_alive: false,
            progress: Progress::Waiting,
            status: Status::OK,
            body: Body::new(crate::head::Length::Known(0), 0, 0),
            filled: 0..0,
            expects_continue: false,
            http10: false,
            head_only: false,
            receive: Patience::new(shared.limits.receive),
            send: Patience::new(shared.limits.send),
            shared,
        }
    }

    /// Gets ready for the answer to `request`; `filled` bytes of what follows it are there.
    pub fn begin(&mut self, request: &Request<'_>, filled: Range<usize>) {
        self.take_buffer();
        let limits = &self.shared.limits;
        self.progress = Progress::Waiting;
        self.keep_alive = request.keep_alive;
        self.body = Body::new(request.length, limits.body, limits.head);
        // A client that sent the beginning without waiting does not wait for the rest either.
        self.expects_continue =
            request.expects_continue && filled.start >= filled.end && !self.body.is_done();
        self.filled = filled;
        self.http10 = request.http10;
        self.head_only = request.method() == "HEAD";
        self.receive = Patience::new(limits.receive);
        self.send = Patience::new(limits.send);
    }

    /// Gets ready for an answer to something that was not a request.
    pub fn begin_refusal(&mut self) {
        self.take_buffer();
        self.progress = Progress::Waiting;
        self.keep_alive = false;
        self.body = Body::new(crate::head::Length::Known(0), 0, 0);
        self.expects_continue = false;
        self.http10 = false;
        self.send = Patience::new(self.shared.limits.send);
    }

    fn take_buffer(&mut self) {
        if self.output.capacity() == 0 {
            self.output = self.shared.take_buffer();
        }
    }

    /// Nothing is left to be sent: somebody else can use the buffer.
    pub fn give_buffer(&mut self) {
        if self.output.is_empty() {
            self.shared.give_buffer(core::mem::take(&mut self.output));
        }
    }

    /// The answer is complete and everything up to it can still be sent.
    pub fn is_answered(&self) -> bool {
        self.progress == Progress::Complete && !self.broken
    }

    /// Nothing of the answer has been given out: another one can take its place.
    pub fn is_unanswered(&self) -> bool {
        self.progress == Progress::Waiting && !self.broken
    }

    /// Writes out every answer that is ready. Cancel-safe.
    pub async fn flush(&mut self) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Flow(FlowError::Closed));
        }
        while let Some(unsent @ [_, ..]) = self.output.get(self.sent..) {
            self.sent += self.wire.send(&[unsent], &mut self.send).await?;
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }

    /// As [`Link::flush`], and `content` and `end` after it. Not cancel-safe.
    async fn flush_with(&mut self, content: &[u8], end: &[u8]) -> Result<(), Error> {
        if core::mem::replace(&mut self.broken, true) {
            return Err(Error::Flow(FlowError::Closed));
        }
        let unsent = self.output.get(self.sent..).unwrap_or_default();
        self.wire
            .send_all([unsent, content, end], &mut self.send)
            .await?;
        self.output.clear();
        self.sent = 0;
        self.broken = false;
        Ok(())
    }

    async fn read(&mut self, rest: &mut [u8], buffer: &mut [u8]) -> Result<usize, Error> {
        if self.body.is_done() {
            return Ok(0);
        }
        if self.filled.start >= self.filled.end {
            if core::mem::take(&mut self.expects_continue) && self.progress == Progress::Waiting {
                self.output
                    .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            self.flush().await?;
        }
        let staging = Staging {
            bytes: rest,
            filled: &mut self.filled,
        };
        body::read(
            &mut self.body,
            &mut self.wire,
            staging,
            &mut self.receive,
            buffer,
        )
        .await
    }

    /// Reads and forgets what the handler left of the content; false when that would take too
    /// long.
    pub async fn discard(&mut self, rest: &mut [u8]) -> Result<bool, Error> {
        let mut scratch = [0; 512];
        let mut count = 0;
        while !self.body.is_done() {
            if count > DISCARD || self.expects_continue {
                return Ok(false);
            }
            count += self.read(rest, &mut scratch).await? as u64;
        }
        Ok(true)
    }

    /// Appends a whole line; `start` is what stands before the value.
    fn line(&mut self, start: &str, value: &[u8]) {
        self.output.reserve(start.len() + value.len() + 2);
        self.output.extend_from_slice(start.as_bytes());
        self.output.extend_from_slice(value);
        self.output.extend_from_slice(b"\r\n");
    }

    fn number_line(&mut self, start: &str, number: u64) {
        self.line(start, decimal(number, &mut [0; 20]));
    }
}

/// The decimal digits of `number`, at the end of `space`.
pub(crate) fn decimal(mut number: u64, space: &mut [u8; 20]) -> &[u8] {
    let mut start = space.len();
    for place in space.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    space.get(start..).unwrap_or_default()
}

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

    /// Reads the rest of the request's content, at most [`Limits::body`] bytes. Waits. Not
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
