//! `upload-pack`: what answers clone and fetch.

use std::io::{BufReader, Read, Write};

use super::negotiate::Request;
use super::{
    BYTES_MAX, Bands, Host, LINES_MAX, Out, ServerError, Session, Version, fetch, id, refused,
    send, tell,
};
use crate::pktline::{Packet, PacketError, Reader, Writer};

/// Answers a client that was told the names ([`advertise`](super::advertise)): one request, or a whole
/// conversation. Waits for what the client says.
///
/// # Errors
/// [`ServerError`]. The client was told, if it is still there.
pub fn upload_pack(
    host: &Host<'_>,
    version: Version,
    session: Session,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), ServerError> {
    let mut out = Writer::new(out);
    let mut lines = Lines::new(input);
    let result = match version {
        Version::V2 => fetch::commands(host, session, &mut lines, &mut out),
        _ => first_versions(host, session, &mut lines, &mut out),
    };
    tell(result, &mut out)
}

/// Versions 0 and 1 (gitprotocol-pack(5)).
fn first_versions(
    host: &Host<'_>,
    session: Session,
    lines: &mut Lines<'_>,
    out: &mut Out<'_>,
) -> Result<(), ServerError> {
    let mut request = Request::new(host)?;
    while let Some(line) = lines.next()? {
        let text = match line.split_once(' ') {
            // Behind the first want stands what the client can do.
            Some(("want", rest)) if request.wants.is_empty() => {
                let (wanted, options) = rest.split_once(' ').unwrap_or((rest, ""));
                request.options = options.split(' ').map(Into::into).collect();
                format!("want {wanted}")
            }
            _ => line.clone(),
        };
        if !request.line(host, &text)? {
            return refused(format!("{line:?} is not understood here"));
        }
    }
    if request.wants.is_empty() {
        return Ok(());
    }
    if request.has("deepen-relative") {
        request.depth.is_relative = true;
    }
    request.check(host)?;
    let cut = request.cut(host)?;
    if request.depth.is_asked() {
        fetch::write_cut(&cut, out)?;
        out.flush_packet()?;
        out.flush()?;
    }
    if !negotiate(host, session, &mut request, lines, out)? {
        return Ok(());
    }
    send::send(host, &request, &cut, Bands::of(&request.options), out)
}

/// Finds out what both have. `false`: the client comes again, or wants no pack.
fn negotiate(
    host: &Host<'_>,
    session: Session,
    request: &mut Request,
    lines: &mut Lines<'_>,
    out: &mut Out<'_>,
) -> Result<bool, ServerError> {
    let is_detailed = request.has("multi_ack_detailed");
    let is_multi = is_detailed || request.has("multi_ack");
    let (mut got_common, mut got_other, mut is_ready) = (false, false, false);
    let mut last = None;
    loop {
        let Some(line) = lines.next_or_end()? else {
            // It wanted to know the depth, and asks again.
            return match session {
                Session::Stateless => Ok(false),
                Session::Stateful => Err(ServerError::Ended),
            };
        };
        match line.as_deref() {
            None => {
                if is_detailed && got_common && !got_other && request.is_ready(host)? {
                    is_ready = true;
                    ack(last, " ready", out)?;
                }
                if request.commons.is_empty() || is_multi {
                    out.line(format_args!("NAK"))?;
                }
                if is_ready && request.has("no-done") {
                    ack(last, "", out)?;
                    return Ok(true);
                }
                out.flush()?;
                if session == Session::Stateless {
                    return Ok(false);
                }
                (got_common, got_other) = (false, false);
            }
            Some("done") => {
                match last {
                    Some(_) if is_multi => ack(last, "", out)?,
                    Some(_) => {}
                    None => out.line(format_args!("NAK"))?,
                }
                return Ok(true);
            }
            Some(line) => {
                let Some(have) = line.strip_prefix("have ") else {
                    return refused(format!("{line:?} is not understood here"));
                };
                let have = id(host, have)?;
                if !request.have(host, &[have])?.is_empty() {
                    got_common = true;
                    last = Some(have);
                    match (is_detailed, is_multi) {
                        (true, _) => ack(last, " common", out)?,
                        (_, true) => ack(last, " continue", out)?,
                        _ if request.commons.len() == 1 => ack(last, "", out)?,
                        _ => {}
                    }
                } else {
                    got_other = true;
                    if is_multi && request.is_ready(host)? {
                        is_ready |= is_detailed;
                        ack(
                            Some(have),
                            if is_detailed { " ready" } else { " continue" },
                            out,
                        )?;
                    }
                }
            }
        }
    }
}

fn ack(id: Option<irmin::Id>, how: &str, out: &mut Out<'_>) -> Result<(), ServerError> {
    match id {
        Some(id) => Ok(out.line(format_args!("ACK {id}{how}"))?),
        None => Ok(()),
    }
}

/// A client's lines, counted.
pub(super) struct Lines<'a> {
    from: Reader<BufReader<&'a mut dyn Read>>,
    left: usize,
}

/// A packet of a request.
pub(super) enum Line {
    Text(String),
    Flush,
    Delimiter,
}

impl<'a> Lines<'a> {
    pub(super) fn new(from: &'a mut dyn Read) -> Lines<'a> {
        let mut lines = Lines {
            from: Reader::new(BufReader::new(from)),
            left: 0,
        };
        lines.restart();
        lines
    }

    /// Counts anew: a request begins.
    pub(super) fn restart(&mut self) {
        self.left = LINES_MAX;
        self.from.set_budget(BYTES_MAX);
    }

    /// The next packet, without its line end; `None` at the end of the input.
    pub(super) fn packet(&mut self) -> Result<Option<Line>, ServerError> {
        let Some(left) = self.left.checked_sub(1) else {
            return refused(format!("a request has at most {LINES_MAX} lines"));
        };
        self.left = left;
        let packet = match self.from.read() {
            Err(PacketError::Ended) => return Ok(None),
            packet => packet?,
        };
        match packet {
            Packet::Flush => Ok(Some(Line::Flush)),
            Packet::Delimiter => Ok(Some(Line::Delimiter)),
            Packet::ResponseEnd => refused("the end of an answer has no meaning here"),
            Packet::Data(_) => match std::str::from_utf8(packet.text().unwrap_or_default()) {
                Ok(text) => Ok(Some(Line::Text(text.into()))),
                Err(_) => refused("a line is not UTF-8"),
            },
        }
    }

    /// The next line; inside, `None` for a flush. `None` at the end of the input.
    fn next_or_end(&mut self) -> Result<Option<Option<String>>, ServerError> {
        match self.packet()? {
            None => Ok(None),
            Some(Line::Flush) => Ok(Some(None)),
            Some(Line::Text(text)) => Ok(Some(Some(text))),
            Some(Line::Delimiter) => refused("a delimiter has no meaning here"),
        }
    }

    /// The next line; `None` for a flush or the end.
    pub(super) fn next(&mut self) -> Result<Option<String>, ServerError> {
        Ok(self.next_or_end()?.flatten())
    }

    /// What follows the lines.
    pub(super) fn rest(&mut self) -> &mut dyn Read {
        self.from.get_mut()
    }
}
