use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use mirage_device::{AddressFamily, Flow, Sleep, Stack, StackError};

use crate::body::Body;
use crate::chunked::SizeLine;
use crate::fields::{decimal_text, is_framing, is_sendable, is_token_byte};
use crate::head::Scan;
use crate::incoming::{Head, Incoming, Response};
use crate::limits::Patience;
use crate::wire::{Wait, Wire};
use crate::{Error, Limits, target};

/// Time to wait for one address to answer before the next one is tried.
const CONNECT: Duration = Duration::from_secs(10);

/// Room beyond an answer's head to take the chunked coding off in.
const STAGING: usize = 1 << 10;

/// Interim answers (RFC 9110 §15.2) that may precede the final one.
const INTERIM: usize = 8;

/// The client's end of one connection: one request at a time, several after each other.
pub struct Client<F, S> {
    wire: Wire<F, S>,
    host: String,
    limits: Limits,
    buffer: Vec<u8>,
    /// Received and not used yet.
    filled: Range<usize>,
    /// The last answer was read to its end and another request may follow.
    reusable: bool,
}

/// A request to send. Its content, where it has one, is sent with its length.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// The method, for example `GET`.
    pub method: &'a str,
    /// The target in origin-form: path and query, percent-encoded, starting with `/`.
    pub target: &'a str,
    /// Fields beside `Host` and those that frame the message, which are not allowed here.
    pub fields: &'a [(&'a str, &'a str)],
}

/// Fetches `http://HOST[:PORT]/...` over a connection of its own.
///
/// Waits. Dropping the future closes the connection. Redirections are not followed.
pub async fn get(
    stack: &impl Stack,
    sleep: &impl Sleep,
    url: &str,
) -> Result<Response, ClientError> {
    let plain = url
        .get(..7)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
    let parsed = target::parse("GET", url)
        .filter(|_| plain)
        .ok_or(ClientError::Url)?;
    let authority = parsed.authority.ok_or(ClientError::Url)?;
    let bracket = authority.rfind(']').unwrap_or(0);
    let (name, port) = match authority.get(bracket..).and_then(|rest| rest.rfind(':')) {
        Some(at) => (
            authority.get(..bracket + at),
            authority.get(bracket + at + 1..),
        ),
        None => (Some(authority), None),
    };
    let name = name
        .filter(|name| !name.is_empty())
        .ok_or(ClientError::Url)?;
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => port.parse().map_err(|_| ClientError::Url)?,
        None => 80,
    };
    let flow = connect(stack, sleep, name, port).await?;
    let mut client = Client::new(flow, sleep.clone(), authority)?;
    let start = url.get(7 + authority.len()..).unwrap_or_default();
    let request = match start.strip_prefix('?') {
        None if start.is_empty() => client.get("/").await,
        None => client.get(start).await,
        Some(_) => client.get(&alloc::format!("/{start}")).await,
    };
    Ok(request?)
}

async fn connect<T: Stack>(
    stack: &T,
    sleep: &impl Sleep,
    name: &str,
    port: u16,
) -> Result<T::Flow, StackError> {
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let mut last = StackError::NameNotFound;
    for address in stack.resolve(name, AddressFamily::Any).await? {
        let attempt = stack.connect(SocketAddr::new(address, port));
        match sleep.timeout(CONNECT, attempt).await {
            Some(Ok(flow)) => return Ok(flow),
            Some(Err(error)) => last = error,
            None => last = StackError::TimedOut,
        }
    }
    Err(last)
}

impl<F: Flow, S: Sleep> Client<F, S> {
    /// A client on a connection to `host`, which is what the `Host` field will say.
    pub fn new(flow: F, sleep: S, host: &str) -> Result<Self, Error> {
        Self::with_limits(flow, sleep, host, Limits::default())
    }

    /// A client with these limits: [`Limits::idle`] is the time until an answer begins,
    /// [`Limits::body`] what [`Incoming::content`] reads at most.
    pub fn with_limits(flow: F, sleep: S, host: &str, limits: Limits) -> Result<Self, Error> {
        if !target::is_authority(host.as_bytes()) {
            return Err(Error::Field);
        }
        Ok(Self {
            wire: Wire::new(flow, sleep),
            host: host.to_owned(),
            limits,
            buffer: vec![0; 2 * STAGING],
            filled: 0..0,
            reusable: true,
        })
    }

    /// Connects to `port` of `host`, a name or an address, trying its addresses in order. Waits.
    /// Dropping the future abandons the attempt.
    pub async fn connect(
        stack: &impl Stack<Flow = F>,
        sleep: S,
        host: &str,
        port: u16,
    ) -> Result<Self, ClientError> {
        let flow = connect(stack, &sleep, host, port).await?;
        let shown = match (host.contains(':') && !host.starts_with('['), port) {
            (false, 80) => host.to_owned(),
            (false, _) => alloc::format!("{host}:{port}"),
            (true, 80) => alloc::format!("[{host}]"),
            (true, _) => alloc::format!("[{host}]:{port}"),
        };
        Ok(Self::new(flow, sleep, &shown)?)
    }

    /// Another request may be sent on this connection.
    pub const fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// Gets `target` and reads the whole answer. Waits. Not cancel-safe: after a dropped call
    /// the connection is of no further use.
    pub async fn get(&mut self, target: &str) -> Result<Response, Error> {
        self.request(
            Outgoing {
                method: "GET",
                target,
                fields: &[],
            },
            &[],
        )
        .await?
        .collect()
        .await
    }

    /// Sends a request and waits for the head of its answer. Not cancel-safe. The caller keeps
    /// the content.
    pub async fn request(
        &mut self,
        request: Outgoing<'_>,
        content: &[u8],
    ) -> Result<Incoming<'_, F, S>, Error> {
        let mut upload = self.upload(request, Some(content.len() as u64))?;
        upload.write(content).await?;
        upload.finish().await
    }

    /// Begins a request whose content comes bit by bit: `length` bytes, or, chunked, as many as
    /// it gets. Returns at once.
    pub fn upload(
        &mut self,
        request: Outgoing<'_>,
        length: Option<u64>,
    ) -> Result<Upload<'_, F, S>, Error> {
        let Outgoing {
            method,
            target,
            fields,
        } = request;
        let token = !method.is_empty() && method.bytes().all(is_token_byte);
        let valid = |(name, value): &(&str, &str)| {
            is_sendable(name, value.as_bytes())
                && !is_framing(name)
                && !name.eq_ignore_ascii_case("host")
        };
        let known = target::parse(method, target).is_some_and(|target| target.authority.is_none());
        if !token || !known || !fields.iter().all(valid) {
            return Err(Error::Field);
        }
        if !core::mem::replace(&mut self.reusable, false) {
            return Err(Error::Answered);
        }
        let mut head = Vec::with_capacity(256);
        let mut line = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
        line(&[
            method.as_bytes(),
            b" ",
            target.as_bytes(),
            b" HTTP/1.1\r\nHost: ",
        ]);
        line(&[self.host.as_bytes(), b"\r\n"]);
        for (name, value) in fields {
            line(&[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
        match length {
            // Methods that define no content announce none (RFC 9110 §8.6).
            Some(0) if matches!(method, "GET" | "HEAD" | "DELETE" | "OPTIONS" | "TRACE") => {}
            Some(length) => {
                line(&[
                    b"Content-Length: ",
                    decimal_text(length, &mut [0; 20]),
                    b"\r\n",
                ]);
            }
            None => line(&[b"Transfer-Encoding: chunked\r\n"]),
        }
        line(&[b"\r\n"]);
        let patience = Patience::new(self.limits.send);
        let head_only = method == "HEAD";
        Ok(Upload {
            client: self,
            output: head,
            left: length,
            patience,
            head_only,
        })
    }

    /// Waits for the final answer: its head's length, and what the head says.
    async fn answer(&mut self, head_only: bool) -> Result<(usize, Head), Error> {
        for _ in 0..INTERIM {
            let length = self.head().await?;
            let bytes = self.buffer.get(self.filled.clone()).unwrap_or_default();
            let head = Head::parse(
                bytes.get(..length).unwrap_or_default(),
                head_only,
                &self.limits,
            )?;
            if head.status >= 200 {
                return Ok((length, head));
            }
            if head.status == 101 {
                return Err(Error::Malformed(
                    "it switched protocols without being asked to",
                ));
            }
            self.filled.start += length;
        }
        Err(Error::Malformed("it sent interim answers without end"))
    }

    async fn head(&mut self) -> Result<usize, Error> {
        let mut scan = Scan::default();
        let mut deadline = self.wire.now() + self.limits.idle;
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        let mut begun = false;
        loop {
            let received = self.buffer.get(..self.filled.end).unwrap_or_default();
            match scan.find_end(received).map_err(Error::Malformed)? {
                Some(length) if length <= self.limits.head => return Ok(length),
                None if received.len() <= self.limits.head => {}
                _ => return Err(Error::Malformed("its head is too long")),
            }
            if !begun && !received.is_empty() {
                begun = true;
                deadline = self.wire.now() + self.limits.head_time;
            }
            if self.filled.end == self.buffer.len() {
                self.buffer.resize(2 * self.filled.end, 0);
            }
            let space = self.buffer.get_mut(self.filled.end..).unwrap_or_default();
            let count = self.wire.read(space, Wait::Until(deadline)).await?;
            if count == 0 {
                return Err(Error::Ended);
            }
            self.filled.end += count;
        }
    }
}

/// A request's content while it is written.
#[must_use = "a request is completed by `finish`"]
pub struct Upload<'c, F, S> {
    client: &'c mut Client<F, S>,
    /// The head, until it has been sent with the first bytes.
    output: Vec<u8>,
    /// Announced and not written; `None` when chunked.
    left: Option<u64>,
    patience: Patience,
    head_only: bool,
}

impl<'c, F: Flow, S: Sleep> Upload<'c, F, S> {
    /// Writes all of `bytes`. Waits until the flow has taken them. Not cancel-safe. The caller
    /// keeps the buffer. [`Error::Length`] when that is more than was announced.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut end: &[u8] = b"";
        match &mut self.left {
            Some(left) => *left = left.checked_sub(bytes.len() as u64).ok_or(Error::Length)?,
            None if bytes.is_empty() => return Ok(()),
            None => {
                self.output
                    .extend_from_slice(SizeLine::new(bytes.len()).as_bytes());
                end = b"\r\n";
            }
        }
        self.client
            .wire
            .send_all([&self.output, bytes, end], &mut self.patience)
            .await?;
        self.output.clear();
        Ok(())
    }

    /// Completes the request and waits for the head of its answer. [`Error::Length`] when bytes
    /// are missing.
    pub async fn finish(mut self) -> Result<Incoming<'c, F, S>, Error> {
        match self.left {
            Some(0) => {}
            Some(_) => return Err(Error::Length),
            None => self.output.extend_from_slice(b"0\r\n\r\n"),
        }
        self.client
            .wire
            .send_all([&self.output, &[], &[]], &mut self.patience)
            .await?;
        let (length, head) = self.client.answer(self.head_only).await?;
        let Client {
            wire,
            limits,
            buffer,
            filled,
            reusable,
            ..
        } = self.client;
        let head_end = filled.start + length;
        if buffer.len() < head_end + STAGING {
            buffer.resize(head_end + STAGING, 0);
        }
        let body = match head.framing {
            Some(length) => Body::new(length, limits.body, limits.head),
            None => Body::until_close(limits.body),
        };
        let end = filled.end - head_end;
        let (lines, rest) = buffer.split_at_mut(head_end);
        let lines = lines.get(filled.start + head.line..).unwrap_or_default();
        *filled = 0..end;
        let mut incoming = Incoming {
            status: head.status,
            lines: lines
                .get(..lines.len().saturating_sub(2))
                .unwrap_or_default(),
            wire,
            body,
            rest,
            filled,
            reusable,
            stays: head.keep_alive,
            patience: Patience::new(limits.receive),
        };
        incoming.note_end();
        Ok(incoming)
    }
}

/// Why something could not be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The address is not `http://HOST[:PORT]/...`.
    Url,
    /// There is no connection to the host.
    Stack(StackError),
    /// The exchange failed.
    Http(Error),
}

impl From<StackError> for ClientError {
    fn from(error: StackError) -> Self {
        Self::Stack(error)
    }
}

impl From<Error> for ClientError {
    fn from(error: Error) -> Self {
        Self::Http(error)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("the address is not of the form http://HOST[:PORT]/..."),
            Self::Stack(error) => error.fmt(f),
            Self::Http(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ClientError {}
