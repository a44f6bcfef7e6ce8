//! An answer, as the client receives it.

use alloc::vec::Vec;
use core::mem::MaybeUninit;
use core::ops::Range;

use mirage_device::{Flow, Sleep};

use crate::body::{self, Body, Staging};
use crate::fields::{Fields, alike, decimal, elements};
use crate::head::Length;
use crate::limits::Patience;
use crate::wire::Wire;
use crate::{Error, Limits};

/// What the head of an answer says.
pub(crate) struct Head {
    pub status: u16,
    /// The length of the status line.
    pub line: usize,
    /// `None` until the connection closes.
    pub framing: Option<Length>,
    pub keep_alive: bool,
}

impl Head {
    /// RFC 9112 §6.3, from the client's side.
    pub fn parse(head: &[u8], head_only: bool, limits: &Limits) -> Result<Self, Error> {
        let mut space = [const { MaybeUninit::uninit() }; Limits::MOST_FIELDS];
        let space = space
            .get_mut(..limits.fields.min(Limits::MOST_FIELDS))
            .unwrap_or_default();
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut parsed, head, space) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            _ => return Err(Error::Malformed("its head is not valid")),
        }
        let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(Error::Malformed("its status line is not valid"));
        };
        if !(100..600).contains(&status) {
            return Err(Error::Malformed("its status is not valid"));
        }
        let (mut length, mut coding, mut keep_alive, mut close) = (None, None, false, false);
        for field in parsed.headers.iter() {
            let is = |name: &str| alike(field.name.as_bytes(), name);
            if is("content-length") {
                let value =
                    decimal(field.value).ok_or(Error::Malformed("its length is not valid"))?;
                if length.replace(value).is_some() {
                    return Err(Error::Malformed("it has several lengths"));
                }
            } else if is("transfer-encoding") {
                if coding.replace(field.value).is_some() {
                    return Err(Error::Malformed("it has several transfer codings"));
                }
            } else if is("connection") {
                for option in elements(field.value) {
                    close |= alike(option, "close");
                    keep_alive |= alike(option, "keep-alive");
                }
            }
        }
        let framing = match (coding, length) {
            _ if head_only || status < 200 || status == 204 || status == 304 => {
                Some(Length::Known(0))
            }
            (Some(_), Some(_)) => {
                return Err(Error::Malformed(
                    "it has both a length and a transfer coding",
                ));
            }
            (Some(coding), None) if minor == 1 && alike(coding, "chunked") => Some(Length::Chunked),
            (Some(_), None) => return Err(Error::Malformed("its transfer coding is not known")),
            (None, Some(length)) => Some(Length::Known(length)),
            (None, None) => None,
        };
        let keep_alive = !close && (minor == 1 || keep_alive) && framing.is_some();
        let line = memchr::memchr(b'\n', head).map_or(head.len(), |end| end + 1);
        Ok(Self {
            status,
            line,
            framing,
            keep_alive,
        })
    }
}

/// An answer whose content is still to be read.
pub struct Incoming<'c, F, S> {
    pub(crate) status: u16,
    pub(crate) lines: &'c [u8],
    pub(crate) wire: &'c mut Wire<F, S>,
    pub(crate) body: Body,
    pub(crate) rest: &'c mut [u8],
    pub(crate) filled: &'c mut Range<usize>,
    pub(crate) reusable: &'c mut bool,
    pub(crate) stays: bool,
    pub(crate) patience: Patience,
}

impl<F: Flow, S: Sleep> Incoming<'_, F, S> {
    /// The status code, 200 to 599.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The header fields.
    pub const fn fields(&self) -> Fields<'_> {
        Fields::new(self.lines)
    }

    /// Reads the next bytes of the content; 0 at its end. Waits. Cancel-safe. The caller owns
    /// the buffer. Errors are final.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let staging = Staging {
            bytes: self.rest,
            filled: self.filled,
        };
        let count = body::read(
            &mut self.body,
            self.wire,
            staging,
            &mut self.patience,
            buffer,
        )
        .await?;
        self.note_end();
        Ok(count)
    }

    /// Reads the rest of the content, at most [`Limits::body`] bytes. Waits. Not cancel-safe.
    pub async fn content(&mut self) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            match self.read(&mut buffer).await? {
                0 => return Ok(content),
                count => content.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            }
        }
    }

    pub(crate) async fn collect(mut self) -> Result<Response, Error> {
        let content = self.content().await?;
        Ok(Response {
            status: self.status,
            lines: self.lines.to_vec(),
            content,
        })
    }

    /// The connection can be used again once the answer has been read, unless more came than
    /// was asked for.
    pub(crate) fn note_end(&mut self) {
        if self.body.is_done() {
            *self.reusable = self.stays && self.filled.start >= self.filled.end;
            *self.filled = 0..0;
        }
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    status: u16,
    lines: Vec<u8>,
    content: Vec<u8>,
}

impl Response {
    /// The status code, 200 to 599.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The header fields.
    pub fn fields(&self) -> Fields<'_> {
        Fields::new(&self.lines)
    }

    /// The content, in whatever coding `Content-Encoding` tells.
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}
