//! Three streams on one: data, progress, and a last word (gitprotocol-pack(5), "side-band").

use std::io::{self, Read};

use super::{Packet, PacketError, Reader};
use crate::text::clean;

/// Reads the data of a stream of bands, up to its flush packet.
///
/// What comes on the progress band is handed to a function line by line, without control characters.
/// A line that ends with a carriage return is replaced by the next: of several in a packet only the
/// last is handed on. A stream whose progress has no end is [`PacketError::TooMuch`], and an error on
/// the third band [`PacketError::Remote`], each inside the [`io::Error`].
pub struct Bands<'a, R> {
    reader: &'a mut Reader<R>,
    progress: &'a mut dyn FnMut(&str),
    /// What is left of the last packet stands at the end of the reader's buffer.
    left: usize,
    line: Vec<u8>,
    /// How many bytes that are no data may still come.
    budget: usize,
    done: bool,
}

/// A line of progress is cut here.
const LONGEST_LINE: usize = 1000;
/// So many bytes of progress may come: a day of what Git's servers say, and what hooks print.
const MOST_PROGRESS: usize = 16 << 20;
/// What a line and a packet count beyond their bytes.
const EACH_COSTS: usize = 100;

impl<'a, R: Read> Bands<'a, R> {
    /// Reads the data that comes on this reader.
    pub fn new(reader: &'a mut Reader<R>, progress: &'a mut dyn FnMut(&str)) -> Bands<'a, R> {
        Bands {
            reader,
            progress,
            left: 0,
            line: Vec::new(),
            budget: MOST_PROGRESS,
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
                Packet::Data([1, data @ ..]) if !data.is_empty() => self.left = data.len(),
                // A sign of life.
                Packet::Data([1]) => spend(&mut self.budget, EACH_COSTS)?,
                Packet::Data([2, text @ ..]) => {
                    spend(&mut self.budget, text.len() + EACH_COSTS)?;
                    let mut passing = Vec::new();
                    for &byte in text {
                        match byte {
                            b'\r' => passing = std::mem::take(&mut self.line),
                            b'\n' => {
                                passing.clear();
                                say(&mut self.line, &mut self.budget, self.progress)?;
                            }
                            _ if self.line.len() == LONGEST_LINE => {
                                say(&mut self.line, &mut self.budget, self.progress)?;
                                self.line.push(byte);
                            }
                            _ => self.line.push(byte),
                        }
                    }
                    say(&mut passing, &mut self.budget, self.progress)?;
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
            say(&mut self.line, &mut self.budget, self.progress)?;
        }
        Ok(!self.done)
    }
}

fn spend(budget: &mut usize, bytes: usize) -> Result<(), PacketError> {
    *budget = budget.checked_sub(bytes).ok_or(PacketError::TooMuch)?;
    Ok(())
}

/// Hands a line on, if there is something in it.
fn say(
    line: &mut Vec<u8>,
    budget: &mut usize,
    progress: &mut dyn FnMut(&str),
) -> Result<(), PacketError> {
    let text = clean(line, LONGEST_LINE);
    line.clear();
    if !text.trim().is_empty() {
        spend(budget, EACH_COSTS)?;
        progress(&text);
    }
    Ok(())
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
        assert_eq!((data.as_str(), said.join("|")), ("abcd", " [1m|xy".into()));
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

    /// How many lines are handed on of this packet, repeated so often, and how it ends.
    fn repeated(packet: &[u8], times: usize) -> (Vec<String>, io::Result<usize>) {
        let stream = [&packet.repeat(times)[..], b"0000"].concat();
        let mut reader = Reader::new(&stream[..]);
        let mut said = Vec::new();
        let mut progress = |text: &str| said.push(text.to_string());
        let read = Bands::new(&mut reader, &mut progress).read(&mut [0; 8]);
        (said, read)
    }

    #[test]
    fn of_lines_that_replace_each_other_the_last_of_a_packet_is_told() {
        let (said, read) = repeated(b"0012\x02 1%\r 2%\r 3%\rx", 2);
        assert_eq!((said.join("|"), read.unwrap()), (" 3%| 3%|x".into(), 0));
        let (said, _) = repeated(b"000e\x0250%\rdone\n", 1);
        assert_eq!(said, ["done"]);
    }

    #[test]
    fn progress_without_end_is_an_error() {
        for endless in [&b"0007\x02a\n"[..], b"0006\x02\n", b"0005\x02", b"0005\x01"] {
            let (said, read) = repeated(endless, MOST_PROGRESS / EACH_COSTS + 1);
            let error = read.unwrap_err();
            assert!(error.to_string().contains("no end"), "{error}");
            assert!(said.len() <= MOST_PROGRESS / EACH_COSTS);
            assert!(repeated(endless, 50_000).1.is_ok());
        }
    }
}
