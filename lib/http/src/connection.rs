//! One connection, from its first byte to its last.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;

use mirage_device::{Flow, Instant, Sleep};

use crate::exchange::{Exchange, Handler};
use crate::head::{Refusal, Request, Scan};
use crate::link::{ERRORS, Link, REQUESTS, Shared};
use crate::server::Slot;
use crate::wire::{Wait, Wire};
use crate::{Error, Status};

/// The buffer that a connection starts with; it grows as heads need it.
const BUFFER: usize = 1 << 10;

/// Room beyond the head to take the chunked coding off in.
const STAGING: usize = 256;

/// Answers are written out when so many bytes of them have been collected.
const FULL: usize = 12 << 10;

/// Bytes that a peer may still send while we wait for it to read the last answer.
const LINGER: usize = 256 << 10;

struct Connection<F, S> {
    link: Link<F, S>,
    buffer: Vec<u8>,
    /// `buffer[start..end]` has been received and not used yet.
    start: usize,
    end: usize,
}

/// Why no request follows.
enum End {
    /// The peer has closed or has been idle for too long, or was told that this is the end.
    Quiet,
    /// An idle connection must go, now.
    Evicted,
    Refused(Refusal),
    Failed(Error),
}

/// Serves `flow` to its end.
pub(crate) async fn run<F: Flow, S: Sleep, H: Handler>(
    flow: F,
    sleep: S,
    shared: Rc<Shared>,
    slot: Slot,
    handler: &H,
) {
    let link = Link::new(Wire::new(flow, sleep), shared, slot);
    let mut connection = Connection {
        link,
        buffer: vec![0; BUFFER],
        start: 0,
        end: 0,
    };
    match connection.serve(handler).await {
        End::Quiet => {}
        End::Refused(refusal) => connection.refuse(refusal).await,
        End::Evicted => return,
        End::Failed(error) => {
            log::debug!("connection ended: {error}");
            connection.link.shared.count(ERRORS);
            return connection.link.wire.flow.abort();
        }
    }
    connection.close().await;
}

impl<F: Flow, S: Sleep> Connection<F, S> {
    async fn serve<H: Handler>(&mut self, handler: &H) -> End {
        loop {
            let head = match self.next_head().await {
                Ok(head) => head,
                Err(end) => return end,
            };
            match self.exchange(head, handler).await {
                Ok(true) => {}
                Ok(false) => return End::Quiet,
                Err(end) => return end,
            }
        }
    }

    /// Answers the request whose head has this length; false when it was the last one.
    async fn exchange<H: Handler>(&mut self, length: usize, handler: &H) -> Result<bool, End> {
        let head_end = self.start + length;
        let shared = self.link.shared.clone();
        if self.buffer.len() < head_end + STAGING {
            self.buffer.resize(head_end + STAGING, 0);
        }
        let (head, rest) = self.buffer.split_at_mut(head_end);
        let head = head.get(self.start..).unwrap_or_default();
        let request = Request::parse(head, &shared.limits).map_err(End::Refused)?;
        shared.count(REQUESTS);
        self.link.begin(&request, 0..self.end - head_end);
        if !H::AT_ONCE {
            self.link.flush().await.map_err(End::Failed)?;
        }
        let result = handler
            .handle(&request, Exchange::new(&mut self.link, rest))
            .await;
        if log::log_enabled!(log::Level::Debug) {
            let (method, path, status) = (request.method(), request.path(), self.link.status);
            log::debug!("{method} {path}: {status}");
        }
        match result {
            Ok(_) if self.link.is_answered() => self.link.count_answer(),
            Ok(_) => return Err(End::Failed(Error::Answered)),
            Err(error) => return Err(self.failed(error)),
        }
        let mut stay = self.link.keep_alive;
        if stay {
            stay = match self.link.discard(rest).await {
                Ok(all) => all,
                Err(Error::Malformed(_) | Error::TooLarge | Error::TimedOut) => false,
                Err(error) => return Err(End::Failed(error)),
            };
        }
        self.start = head_end + self.link.filled.start;
        self.end = head_end + self.link.filled.end;
        Ok(stay)
    }

    /// What becomes of the connection when a handler has failed.
    fn failed(&self, error: Error) -> End {
        match error.status() {
            Some(status) if self.link.is_unanswered() => {
                let reason = match error {
                    Error::Malformed(how) => how,
                    Error::TimedOut => "the content came too slowly",
                    Error::TooLarge => "the content is too long",
                    _ => {
                        log::error!("a request was not answered: {error}");
                        "the server failed to answer"
                    }
                };
                End::Refused(Refusal { status, reason })
            }
            _ => End::Failed(error),
        }
    }

    /// Waits for a complete head: its length.
    async fn next_head(&mut self) -> Result<usize, End> {
        let mut scan = Scan::default();
        self.link.head_only = false;
        let mut deadline = None;
        loop {
            let received = self.buffer.get(self.start..self.end).unwrap_or_default();
            // An empty line before a request is left over from the one before (RFC 9112 §2.2).
            let found = scan.find_end(received).map_err(|reason| {
                let status = Status::BAD_REQUEST;
                End::Refused(Refusal { status, reason })
            })?;
            let received = received.len();
            let limits = &self.link.shared.limits;
            let line_too_long = !scan.has_line() && received > limits.request_line;
            if found.unwrap_or(received) > limits.head || line_too_long {
                return Err(End::Refused(self.too_long(scan.has_line())));
            }
            if found.is_none() || self.link.output.len() >= FULL {
                self.link.flush().await.map_err(End::Failed)?;
            }
            if let Some(length) = found {
                return Ok(length);
            }
            self.make_room();
            if received > 0 && deadline.is_none() {
                deadline = Some(self.link.wire.now() + self.link.shared.limits.head_time);
            }
            self.end += self.receive(deadline).await?;
        }
    }

    fn too_long(&self, has_line: bool) -> Refusal {
        match has_line {
            true => Refusal {
                status: Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
                reason: "the head is too long",
            },
            false => Refusal {
                status: Status::URI_TOO_LONG,
                reason: "the request line is too long",
            },
        }
    }

    /// Moves what is left to the front of the buffer, and sees that there is space behind it.
    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > 4 * BUFFER {
                self.buffer = vec![0; BUFFER];
            }
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            let most = self.link.shared.limits.head.max(BUFFER) + 1;
            self.buffer
                .resize((2 * self.buffer.len()).min(most).max(self.end + 1), 0);
        }
    }

    /// Waits for the next bytes of a head: until `deadline`, or, for the first ones, as long as
    /// the connection may be idle.
    async fn receive(&mut self, deadline: Option<Instant>) -> Result<usize, End> {
        if deadline.is_none() {
            // An idle connection holds no memory for answers.
            self.link.give_buffer();
        }
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        let wait = match deadline {
            Some(deadline) => Wait::Until(deadline),
            None => Wait::Idle(self.link.shared.limits.idle, &self.link.slot),
        };
        let read = self.link.wire.read(space, wait).await;
        self.link.slot.busy();
        match read {
            Ok(0) => Err(End::Quiet),
            Ok(count) => Ok(count),
            Err(Error::TimedOut) if deadline.is_none() => Err(End::Quiet),
            Err(Error::TimedOut) => Err(End::Refused(Refusal {
                status: Status::REQUEST_TIMEOUT,
                reason: "the head came too slowly",
            })),
            Err(Error::Ended) => Err(End::Evicted),
            Err(error) => Err(End::Failed(error)),
        }
    }

    /// Tells the peer why it is not served. Its connection ends with that.
    async fn refuse(&mut self, refusal: Refusal) {
        log::debug!("refused with {}: {}", refusal.status, refusal.reason);
        self.link.begin_refusal();
        let text = alloc::format!("{}: {}\n", refusal.status, refusal.reason);
        let answer = Exchange::new(&mut self.link, &mut []).answer(refusal.status);
        let answer = answer.trusted("Content-Type: ", b"text/plain; charset=utf-8");
        // It fits the output and is written in `close`.
        let _sent = answer.send(text).await;
        self.link.count_answer();
    }

    /// Closes so that the peer can read the last answer: a reset, which is what data for a
    /// closed connection is answered with, would destroy it (RFC 9112 §9.6).
    async fn close(mut self) {
        if self.link.flush().await.is_err() {
            return self.link.wire.flow.abort();
        }
        let wire = &mut self.link.wire;
        wire.flow.shutdown();
        let deadline = Wait::Until(wire.now() + self.link.shared.limits.linger);
        let mut count = 0;
        while count < LINGER {
            match wire.read(&mut self.buffer, deadline).await {
                Ok(0) | Err(_) => return,
                Ok(more) => count += more,
            }
        }
    }
}
