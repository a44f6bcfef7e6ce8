//! From bytes to a request: where a head ends, and whether it may be trusted.

use core::mem::MaybeUninit;

use memchr::memchr;

use crate::fields::{Fields, alike, decimal, elements};
use crate::{Limits, Status, target};

/// Finds the end of a head without looking at any byte twice.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Scan {
    seen: usize,
    line: usize,
    lines: usize,
}

/// A line that ends in LF alone is where two implementations disagree about the end of a head.
pub(crate) const BARE_LF: &str = "a line of the head does not end in CRLF";

impl Scan {
    /// The length of the head at the start of `bytes`, when all of it is there. `bytes` must
    /// begin with what was given before.
    pub fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, &'static str> {
        while let Some(at) = bytes.get(self.seen..).and_then(|rest| memchr(b'\n', rest)) {
            let end = self.seen + at;
            if end == self.line || bytes.get(end - 1) != Some(&b'\r') {
                return Err(BARE_LF);
            }
            let empty = end == self.line + 1;
            self.seen = end + 1;
            self.line = end + 1;
            self.lines += 1;
            if empty && self.lines > 1 {
                return Ok(Some(self.seen));
            }
        }
        self.seen = bytes.len();
        Ok(None)
    }

    /// The first line has ended.
    pub fn has_line(&self) -> bool {
        self.lines > 0
    }
}

/// Why a request is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: Status,
    pub reason: &'static str,
}

const fn bad(reason: &'static str) -> Refusal {
    Refusal {
        status: Status::BAD_REQUEST,
        reason,
    }
}

/// How the end of a request's content is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Known(u64),
    Chunked,
}

/// A request without its content.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    method: &'a str,
    target: target::Target<'a>,
    host: &'a str,
    fields: Fields<'a>,
    pub(crate) length: Length,
    pub(crate) http10: bool,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
    pub(crate) asks: Asks,
}

/// Which of the fields that few requests have are there: who looks them up only then spends no
/// time on the others.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asks {
    /// Any whose name begins with `If-`.
    pub conditions: bool,
    pub range: bool,
}

impl<'a> Request<'a> {
    /// The method, for example `GET`. Case matters.
    pub const fn method(&self) -> &'a str {
        self.method
    }

    /// The path as it was sent, percent-encoded and starting with `/`; or `*` for `OPTIONS *`.
    /// It has not been normalized: it may hold `..` and empty segments.
    pub const fn path(&self) -> &'a str {
        self.target.path
    }

    /// What follows the `?` of the target, percent-encoded.
    pub const fn query(&self) -> Option<&'a str> {
        self.target.query
    }

    /// The host and port that the client asked for; empty when it named none.
    pub const fn host(&self) -> &'a str {
        self.host
    }

    /// The header fields.
    pub const fn fields(&self) -> Fields<'a> {
        self.fields
    }

    /// Reads a complete head, as [`Scan::find_end`] found it.
    pub(crate) fn parse(head: &'a [u8], limits: &Limits) -> Result<Self, Refusal> {
        // An empty line before it is none of its own (RFC 9112 §2.2).
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        let line = memchr(b'\r', head).unwrap_or(head.len());
        if line > limits.request_line {
            let reason = "the request line is too long";
            return Err(Refusal {
                status: Status::URI_TOO_LONG,
                reason,
            });
        }
        let mut space = [const { MaybeUninit::uninit() }; Limits::MOST_FIELDS];
        let space = space
            .get_mut(..limits.fields.min(Limits::MOST_FIELDS))
            .unwrap_or_default();
        let mut parsed = httparse::Request::new(&mut []);
        match parsed.parse_with_uninit_headers(head, space) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(bad("the head does not end where it should")),
            Err(error) => return Err(refusal(error, head)),
        }
        let (Some(method), Some(text), Some(minor)) = (parsed.method, parsed.path, parsed.version)
        else {
            return Err(bad("the request line is not complete"));
        };
        if method == "CONNECT" {
            let reason = "this is not a proxy";
            return Err(Refusal {
                status: Status::NOT_IMPLEMENTED,
                reason,
            });
        }
        let target = target::parse(method, text).ok_or(bad("the request target is not valid"))?;
        let mut facts = Facts::default();
        for header in parsed.headers.iter() {
            facts.take(header.name, header.value)?;
        }
        let http10 = minor == 0;
        let host = match (facts.host, http10) {
            (Some(host), _) => host,
            (None, true) => "",
            (None, false) => return Err(bad("a request must have a Host field")),
        };
        let fields = head.get(line + 2..head.len() - 2).unwrap_or_default();
        Ok(Self {
            method,
            target,
            host: target.authority.unwrap_or(host),
            fields: Fields::new(fields),
            length: facts.length(http10, limits)?,
            http10,
            keep_alive: !facts.close && (!http10 || facts.keep_alive),
            expects_continue: facts.expects_continue && !http10,
            asks: facts.asks,
        })
    }
}

fn refusal(error: httparse::Error, head: &[u8]) -> Refusal {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => Refusal {
            status: Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
            reason: "the head has too many fields",
        },
        Error::Version if speaks_another_version(head) => Refusal {
            status: Status::HTTP_VERSION_NOT_SUPPORTED,
            reason: "only HTTP/1.0 and HTTP/1.1 are spoken here",
        },
        Error::Version => bad("the protocol version is not valid"),
        Error::HeaderName => bad("a field name is not valid"),
        Error::HeaderValue => bad("a field value holds a forbidden byte"),
        Error::Token => bad("the request line holds a forbidden byte"),
        Error::NewLine | Error::Status => bad("a line of the head does not end as it should"),
    }
}

/// The request line is one, but for a version that is not ours.
fn speaks_another_version(head: &[u8]) -> bool {
    let line = head
        .get(..memchr(b'\r', head).unwrap_or(0))
        .unwrap_or_default();
    let mut parts = line.split(|&byte| byte == b' ');
    let words = [parts.next(), parts.next()];
    let version = parts
        .next()
        .and_then(|version| version.strip_prefix(b"HTTP/"));
    words
        .iter()
        .all(|word| word.is_some_and(|word| !word.is_empty()))
        && parts.next().is_none()
        && matches!(version, Some([b'0'..=b'9', b'.', b'0'..=b'9']))
}

/// What the fields say about the connection and about where the request ends.
#[derive(Default)]
struct Facts<'a> {
    host: Option<&'a str>,
    content_length: Option<u64>,
    transfer_encoding: Option<&'a [u8]>,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    asks: Asks,
}

impl<'a> Facts<'a> {
    fn take(&mut self, name: &str, value: &'a [u8]) -> Result<(), Refusal> {
        let is = |wanted: &str| alike(name.as_bytes(), wanted);
        match name.len() {
            4 if is("host") => {
                let valid = target::is_authority(value);
                let text = core::str::from_utf8(value).ok().filter(|_| valid);
                let text = text.ok_or(bad("the Host field is not valid"))?;
                if self.host.replace(text).is_some() {
                    return Err(bad("a request must have only one Host field"));
                }
            }
            14 if is("content-length") => {
                let length = decimal(value).ok_or(bad("the Content-Length field is not valid"))?;
                if self.content_length.replace(length).is_some() {
                    return Err(bad("a request must have only one Content-Length field"));
                }
            }
            17 if is("transfer-encoding") => {
                let other = self.transfer_encoding.replace(value);
                if other.is_some() {
                    return Err(bad("a request must have only one Transfer-Encoding field"));
                }
            }
            10 if is("connection") => {
                for option in elements(value) {
                    self.close |= alike(option, "close");
                    self.keep_alive |= alike(option, "keep-alive");
                }
            }
            6 if is("expect") => {
                if !alike(value, "100-continue") {
                    let reason = "this expectation is not known";
                    return Err(Refusal {
                        status: Status::EXPECTATION_FAILED,
                        reason,
                    });
                }
                self.expects_continue = true;
            }
            5 if is("range") => self.asks.range = true,
            _ => {
                self.asks.conditions |=
                    matches!(name.as_bytes(), [b'I' | b'i', b'F' | b'f', b'-', ..])
            }
        }
        Ok(())
    }

    /// RFC 9112 §6.1 and §6.3: anything that two implementations could read differently is an
    /// attempt to smuggle a second request past one of them.
    fn length(&self, http10: bool, limits: &Limits) -> Result<Length, Refusal> {
        match (self.transfer_encoding, self.content_length) {
            (Some(_), Some(_)) => Err(bad(
                "a request must not have both Transfer-Encoding and Content-Length",
            )),
            (Some(_), None) if http10 => Err(bad("HTTP/1.0 has no Transfer-Encoding")),
            (Some(coding), None) if alike(coding, "chunked") => Ok(Length::Chunked),
            (Some(coding), None) => {
                // Chunked must be there once, and last.
                let (mut codings, mut chunked, mut last) = (0, 0, false);
                for coding in elements(coding) {
                    codings += 1;
                    last = alike(coding, "chunked");
                    chunked += usize::from(last);
                }
                if last && chunked == 1 && codings > 1 {
                    let reason = "the only transfer coding spoken here is chunked";
                    return Err(Refusal {
                        status: Status::NOT_IMPLEMENTED,
                        reason,
                    });
                }
                Err(bad("the Transfer-Encoding field is not valid"))
            }
            (None, Some(length)) if length > limits.body => Err(Refusal {
                status: Status::CONTENT_TOO_LARGE,
                reason: "the content is too long",
            }),
            (None, length) => Ok(Length::Known(length.unwrap_or(0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_line_before_a_request_does_not_make_its_first_line_a_field_or_longer() {
        let head = b"\r\nGET http://a:80/x HTTP/1.1\r\nHost: a\r\n\r\n";
        let limits = Limits::default();
        let request = Request::parse(head, &limits).unwrap();
        assert!(request.fields().iter().eq([("Host", &b"a"[..])]));
        let long = alloc::format!(
            "\r\nGET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "x".repeat(limits.request_line)
        );
        let refusal = Request::parse(long.as_bytes(), &limits).unwrap_err();
        assert_eq!(refusal.status, Status::URI_TOO_LONG);
    }
}
