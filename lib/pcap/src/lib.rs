//! Writes Ethernet frames as a capture file that tshark, Wireshark and tcpdump read.
//!
//! ```
//! use std::time::Duration;
//!
//! let mut capture = mirage_pcap::Writer::new(Vec::new())?;
//! capture.write(Duration::new(1_428_580_800, 5), &[0xff; 60])?;
//! assert_eq!(capture.into_inner().len(), 24 + 16 + 60);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The format is the classic one with nanoseconds, link type Ethernet (draft-ietf-opsawg-pcap),
//! in little-endian order on every machine. Nothing is read, and no clock is asked.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::time::Duration;

/// The most bytes of a frame that are kept: more than the largest segment with its headers has.
/// What lies behind them is cut off; the record tells how long the frame was.
pub const SNAPSHOT: usize = 262_144;

/// The format with nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;

/// A capture file that is being written.
///
/// Each frame is handed to the sink in one `write_all` and nothing is kept back: with a plain
/// [`File`](std::fs::File) the capture is whole after every call, whatever becomes of the program.
/// Give it a [`BufWriter`](std::io::BufWriter) where speed counts more.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    record: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a capture: writes the file's header.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn new(mut sink: W) -> io::Result<Self> {
        let mut header = [0; 24];
        let (words, rest) = header.split_at_mut(8);
        words[..4].copy_from_slice(&MAGIC.to_le_bytes());
        words[4..6].copy_from_slice(&VERSION[0].to_le_bytes());
        words[6..].copy_from_slice(&VERSION[1].to_le_bytes());
        // Before them lie the offset of local time and the accuracy, both 0 by the format.
        rest[8..12].copy_from_slice(&(SNAPSHOT as u32).to_le_bytes());
        rest[12..].copy_from_slice(&ETHERNET.to_le_bytes());
        sink.write_all(&header)?;
        let record = Vec::new();
        Ok(Self { sink, record })
    }

    /// Adds a frame, without preamble and checksum, that was seen `at`: the time since the
    /// beginning of 1970, UTC; any other beginning does for simulated time. The format holds
    /// 2^32 - 1 seconds; a later time is written as that one.
    ///
    /// # Errors
    ///
    /// The sink's. It may then hold a part of the record: write nothing more.
    pub fn write(&mut self, at: Duration, frame: &[u8]) -> io::Result<()> {
        let kept = &frame[..frame.len().min(SNAPSHOT)];
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
        let header = [
            seconds,
            at.subsec_nanos(),
            number(kept.len()),
            number(frame.len()),
        ];
        self.record.clear();
        self.record
            .extend(header.iter().flat_map(|word| word.to_le_bytes()));
        self.record.extend_from_slice(kept);
        self.sink.write_all(&self.record)
    }

    /// Flushes the sink.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    /// Ends the capture, without flushing: yields the sink.
    pub fn into_inner(self) -> W {
        self.sink
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_a_header_and_a_record_a_frame() {
        let mut capture = Writer::new(Vec::new()).unwrap();
        capture
            .write(Duration::new(0x5526_6b00, 7), &[1, 2, 3])
            .unwrap();
        capture.write(Duration::MAX, &[]).unwrap();
        capture.flush().unwrap();
        #[rustfmt::skip]
        let expected = [
            0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
            0x00, 0x6b, 0x26, 0x55, 7, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xc9, 0x9a, 0x3b, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(capture.into_inner(), expected);
    }

    #[test]
    fn a_frame_too_long_is_cut_and_its_length_told() {
        let mut capture = Writer::new(Vec::new()).unwrap();
        capture
            .write(Duration::ZERO, &vec![0; SNAPSHOT + 1])
            .unwrap();
        let bytes = capture.into_inner();
        assert_eq!(bytes.len(), 24 + 16 + SNAPSHOT);
        assert_eq!(bytes[32..40], [0, 0, 4, 0, 1, 0, 4, 0]);
    }

    #[test]
    fn what_the_sink_refuses_is_an_error() {
        let mut room = [0; 30];
        let mut capture = Writer::new(&mut room[..]).unwrap();
        let error = capture.write(Duration::ZERO, &[0; 60]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}
