//! The state of a connection: what it has received, and what it has not sent yet.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, OnceCell, RefCell};
use core::ops::Range;
use core::time::Duration;

use mirage_device::{Flow, FlowError, Sleep, Tally};

use crate::body::{self, Body, Staging};
use crate::fields::decimal_text;
use crate::head::{Length, Request};
use crate::limits::Patience;
use crate::server::Slot;
use crate::wire::Wire;
use crate::{Error, Limits, Status, date};

/// Answers of up to this many bytes are collected and leave together.
pub(crate) const BATCH: usize = 16 << 10;

/// The size that a buffer for answers starts with.
const BUFFER: usize = 2 << 10;

/// Buffers that are kept for the next answers.
const SPARE: usize = 16;

/// Content that a handler left unread is read and forgotten up to this many bytes, to keep the
/// connection; beyond, it is cheaper to close.
pub(crate) const DISCARD: u64 = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Waiting,
    Begun,
    Complete,
}

/// `Date: `, the date, and CRLF.
pub(crate) type DateLine = [u8; 37];

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
    /// Where requests and answers are counted, if anywhere.
    pub tally: OnceCell<Tally>,
}

/// What a server counts: answers stand at the first digit of their status.
pub(crate) const NAMES: [&str; 7] = [
    "requests_total",
    "responses_total{code=\"1xx\"}",
    "responses_total{code=\"2xx\"}",
    "responses_total{code=\"3xx\"}",
    "responses_total{code=\"4xx\"}",
    "responses_total{code=\"5xx\"}",
    "errors_total",
];
pub(crate) const REQUESTS: usize = 0;
pub(crate) const ERRORS: usize = 6;

impl Shared {
    pub fn new(limits: Limits, wall: Box<dyn Fn() -> Option<Duration>>) -> Self {
        Self {
            limits,
            wall,
            date: Cell::new((0, date_line(Duration::ZERO))),
            spare: RefCell::new(Vec::new()),
            tally: OnceCell::new(),
        }
    }

    pub fn count(&self, which: usize) {
        if let Some(tally) = self.tally.get() {
            tally.add(which, 1);
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

    pub fn date(&self) -> Option<DateLine> {
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
    pub body: Body,
    /// Received bytes beyond the head, as a range of the staging buffer.
    pub filled: Range<usize>,
    /// The client waits for 100 before it sends the content.
    pub expects_continue: bool,
    pub http10: bool,
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
            body: Body::new(Length::Known(0), 0, 0),
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
        self.body = Body::new(Length::Known(0), 0, 0);
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

    /// Counts the answer by its status.
    pub fn count_answer(&self) {
        self.shared.count(usize::from(self.status.code() / 100));
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
    pub async fn flush_with(&mut self, content: &[u8], end: &[u8]) -> Result<(), Error> {
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

    pub async fn read(&mut self, rest: &mut [u8], buffer: &mut [u8]) -> Result<usize, Error> {
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
        let mut scratch = [0; 256];
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
    pub fn line(&mut self, start: &str, value: &[u8]) {
        self.output.reserve(start.len() + value.len() + 2);
        self.output.extend_from_slice(start.as_bytes());
        self.output.extend_from_slice(value);
        self.output.extend_from_slice(b"\r\n");
    }

    pub fn number_line(&mut self, start: &str, number: u64) {
        self.line(start, decimal_text(number, &mut [0; 20]));
    }
}
