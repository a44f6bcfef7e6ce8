//! Three streams on one: data, progress, and a last word (gitprotocol-pack(5), "side-band").

use std::io::{self, Read};

use super::{Packet, PacketError, Reader};
use crate::text::clean;

/// Reads the data of a stream of bands, up to its flush packet.
///
/// What comes on the progress band is handed to a function line by line, without control characters
/// (a line ends with a line end or a carriage return: the next one replaces it); an error on the third band is this stream's error ([`PacketError::Remote`] inside the
/// [`io::Error`]).
pub struct Bands<'a, R> {
    reader: &'a mut Reader<R>,
    progress: &'a mut dyn FnMut(&str),
    /// What is left of the last packet stands at the end of the reader's buffer.
    left: usize,
    line: Vec<u8>,
    done: bool,
}

/// A line of progress is cut here.
const LONGEST_LINE: usize = 1000;

impl<'a, R: Read> Bands<'a, R> {
    /// Reads the data that comes on this reader.
    pub fn new(reader: &'a mut Reader<R>, progress: &'a mut dyn FnMut(&str)) -> Bands<'a, R> {
        Bands {
            reader,
            progress,
            left: 0,
            line: Vec::new(),
            done: false,
        }
    }

    /// Whether the flush packet that ends the bands has come.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Reads on until there is data. `false` at the end.
    fn fill(&mut self) -> Result<bool, PacketError> {
        while self.left == 0 && !self.done {
            match self.reader.read()? {
                Packet::Data([1, data @ ..]) => self.left = data.len(),
                Packet::Data([2, text @ ..]) => {
                    for &byte in text {
                        if byte == b'\n' || byte == b'\r' || self.line.len() == LONGEST_LINE {
                            say(&mut self.line, self.progress);
                        }
                        self.line.push(byte);
                    }
                }
                Packet::Data([3, text @ ..]) => {
                    return Err(PacketError::Remote {
                        said: clean(text, 2000),
                    });
                }
                Packet::Data(data) => {
                    return Err(PacketError::NoPacket {
                        found: crate::text::quote(data),
                    });
                }
                // Some servers end with the end of the response.
                Packet::Flush | Packet::ResponseEnd => self.done = true,
                Packet::Delimiter => {
                    return Err(PacketError::NoPacket {
                        found: "0001".into(),
                    });
                }
            }
        }
        if self.done {
            say(&mut self.line, self.progress);
        }
        Ok(!self.done)
    }
}

/// Hands a line on, if there is something in it.
fn say(line: &mut Vec<u8>, progress: &mut dyn FnMut(&str)) {
    let text = clean(line, LONGEST_LINE);
    if !text.trim().is_empty() {
        progress(text.trim_matches('\n'));
    }
    line.clear();
}

impl<R: Read> Read for Bands<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || !self.fill().map_err(PacketError::into_io)? {
            return Ok(0);
        }
        let data = &self.reader.buffer[self.reader.buffer.len() - self.left..];
        let taken = data.len().min(into.len());
        into[..taken].copy_from_slice(&data[..taken]);
        self.left -= taken;
        Ok(taken)
    }
}

impl PacketError {
    /// The error as one of a stream.
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            PacketError::Io(error) => error,
            error => io::Error::other(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_progress_and_last_words_come_apart() {
        let stream = b"0008\x01abc000a\x02\x1b[1m\r0006\x01d0007\x02xy00000009\x01next";
        let mut reader = Reader::new(&stream[..]);
        let mut said = Vec::new();
        let mut progress = |text: &str| said.push(text.to_string());
        let mut bands = Bands::new(&mut reader, &mut progress);
        let mut data = String::new();
        bands.read_to_string(&mut data).unwrap();
        assert!(bands.is_done());
        assert_eq!((data.as_str(), said.join("|")), ("abcd", " [1m| xy".into()));
        assert_eq!(reader.read().unwrap(), Packet::Data(b"\x01next"));

        let fails = |stream: &[u8]| {
            let mut reader = Reader::new(stream);
            let mut silent = |_: &str| {};
            let mut bands = Bands::new(&mut reader, &mut silent);
            bands.read_to_end(&mut Vec::new()).unwrap_err()
        };
        let error = fails(b"0008\x01abc000a\x03fatal");
        assert_eq!(error.to_string(), "the other side says: fatal");
        for cut in [
            &b"0008\x01abc"[..],
            b"0008\x01ab",
            b"0004",
            b"0005\x04",
            b"0001",
        ] {
            assert_eq!(fails(cut).kind(), io::ErrorKind::Other);
        }
    }
}
