//! Git's packets: four hexadecimal digits of length, then the bytes (gitprotocol-common(5)).
//!
//! Nothing here reads further than the packet that was asked for, so that a pack may follow on the
//! same stream. Give a buffered stream: a packet is two small reads.

mod bands;
mod write;

use std::io::{self, Read};

pub use bands::Bands;
pub use write::{BandWriter, Writer};

use crate::text::quote;

/// The most bytes that a packet holds, its length not counted.
pub const MAX_DATA: usize = 65516;

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// Bytes; text mostly ends in a line end, see [`text`](Packet::text).
    Data(&'a [u8]),
    /// `0000`: the end of a list or a message.
    Flush,
    /// `0001`: the end of a section of a message, in version 2.
    Delimiter,
    /// `0002`: the end of a whole answer, where requests stand alone.
    ResponseEnd,
}

impl<'a> Packet<'a> {
    /// The bytes without the line end that may follow them; `None` for a special packet.
    pub fn text(&self) -> Option<&'a [u8]> {
        match self {
            Packet::Data(data) => Some(data.strip_suffix(b"\n").unwrap_or(data)),
            _ => None,
        }
    }
}

/// Reads packets from a stream.
pub struct Reader<R> {
    inner: R,
    buffer: Vec<u8>,
    budget: u64,
}

impl<R: Read> Reader<R> {
    /// Reads from this stream, without a limit on all packets together.
    pub fn new(inner: R) -> Reader<R> {
        Reader {
            inner,
            buffer: Vec::new(),
            budget: u64::MAX,
        }
    }

    /// From now on at most so many bytes are read before [`PacketError::TooMuch`].
    pub fn set_budget(&mut self, bytes: u64) {
        self.budget = bytes;
    }

    /// The stream. Nothing but the packets read so far has been taken from it.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The stream, to read what is no packet.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Reads a packet. Waits for the stream.
    ///
    /// # Errors
    /// [`PacketError`]; `Ended` if the stream ends where a packet could begin.
    pub fn read(&mut self) -> Result<Packet<'_>, PacketError> {
        let mut head = [0; 4];
        let mut filled = 0;
        while filled < 4 {
            match self.inner.read(&mut head[filled..]) {
                Ok(0) if filled == 0 => return Err(PacketError::Ended),
                Ok(0) => return Err(PacketError::Cut),
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PacketError::Io(error)),
            }
        }
        let length = head.iter().try_fold(0, |sum, &digit| {
            Some(sum << 4 | char::from(digit).to_digit(16)?)
        });
        let length = match length {
            Some(0) => return Ok(Packet::Flush),
            Some(1) => return Ok(Packet::Delimiter),
            Some(2) => return Ok(Packet::ResponseEnd),
            Some(length @ 4..) if length as usize <= MAX_DATA + 4 => length as usize - 4,
            _ => {
                // A page of a web server, or a greeting of a shell: show how it goes on.
                let mut more = Vec::from(head);
                let _ = self.inner.by_ref().take(60).read_to_end(&mut more);
                return Err(PacketError::NoPacket {
                    found: quote(&more),
                });
            }
        };
        self.budget = self
            .budget
            .checked_sub(length as u64 + 4)
            .ok_or(PacketError::TooMuch)?;
        self.buffer.resize(length, 0);
        self.inner
            .read_exact(&mut self.buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => PacketError::Cut,
                _ => PacketError::Io(error),
            })?;
        Ok(Packet::Data(&self.buffer))
    }

    /// Reads a packet as [`read`](Reader::read) does; one that begins with `ERR ` is the other side's
    /// last word.
    ///
    /// # Errors
    /// [`PacketError`]; `Remote` for an `ERR `.
    pub fn read_said(&mut self) -> Result<Packet<'_>, PacketError> {
        match self.read()? {
            Packet::Data(data) if data.starts_with(b"ERR ") => Err(PacketError::Remote {
                said: crate::text::clean(&data[4..], 2000),
            }),
            // The borrow of the packet that was looked at ends here.
            Packet::Data(_) => Ok(Packet::Data(&self.buffer)),
            Packet::Flush => Ok(Packet::Flush),
            Packet::Delimiter => Ok(Packet::Delimiter),
            Packet::ResponseEnd => Ok(Packet::ResponseEnd),
        }
    }
}

/// A stream that holds no packet where one is due.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The stream ended between two packets.
    #[error("the other side ended the connection before it was done")]
    Ended,
    /// The stream ended in the middle of a packet.
    #[error("the connection ended in the middle of a packet")]
    Cut,
    /// What came has no length, or one that no packet has.
    #[error("the other side does not speak Git's protocol: it says {found:?}")]
    NoPacket {
        /// How it begins.
        found: String,
    },
    /// More came than is taken of such a message.
    #[error("the other side's message has no end; the limit for it is passed")]
    TooMuch,
    /// The other side says why it ends here.
    #[error("the other side says: {said}")]
    Remote {
        /// Its words, without control characters.
        said: String,
    },
    /// The stream failed.
    #[error("the connection failed: {0}")]
    Io(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_one_by_one_and_what_follows_stays_on_the_stream() {
        let mut reader = Reader::new(&b"0006a\n0004000000010002000bfoobar\nPACK"[..]);
        assert_eq!(reader.read().unwrap().text(), Some(&b"a"[..]));
        assert_eq!(reader.read().unwrap(), Packet::Data(b""));
        assert_eq!(reader.read().unwrap(), Packet::Flush);
        assert_eq!(reader.read().unwrap(), Packet::Delimiter);
        assert_eq!(reader.read().unwrap(), Packet::ResponseEnd);
        assert_eq!(reader.read().unwrap(), Packet::Data(b"foobar\n"));
        assert_eq!(reader.into_inner(), b"PACK");
    }

    #[test]
    fn what_is_no_packet_is_an_error_that_shows_it() {
        let error = |bytes: &[u8]| Reader::new(bytes).read().unwrap_err();
        assert!(matches!(error(b""), PacketError::Ended));
        assert!(matches!(error(b"00"), PacketError::Cut));
        assert!(matches!(error(b"0009abc"), PacketError::Cut));
        for bad in ["0003", "fff1x", "ffff", "00-1", "+004", "<html>\x1b[2J"] {
            let error = error(bad.as_bytes());
            assert!(matches!(error, PacketError::NoPacket { .. }), "{bad}");
            assert!(!error.to_string().contains('\x1b'));
        }
        let mut reader = Reader::new(&b"0010ERR no\x1b[1m way"[..]);
        assert_eq!(
            reader.read_said().unwrap_err().to_string(),
            "the other side says: no [1m w"
        );
    }

    #[test]
    fn a_budget_ends_a_message_without_end() {
        let endless = b"0008abcd".repeat(100);
        let mut reader = Reader::new(&endless[..]);
        reader.set_budget(80);
        for _ in 0..10 {
            reader.read().unwrap();
        }
        assert!(matches!(reader.read(), Err(PacketError::TooMuch)));
    }
}
