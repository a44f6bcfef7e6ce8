//! Packets, written.

use std::fmt::Arguments;
use std::io::{self, Write};

use super::MAX_DATA;

/// Writes packets to a stream.
pub struct Writer<W> {
    inner: W,
}

impl<W: Write> Writer<W> {
    /// Writes to this stream.
    pub fn new(inner: W) -> Writer<W> {
        Writer { inner }
    }

    /// The stream, to write what is no packet.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// The stream. Everything has been written to it.
    pub fn into_inner(self) -> W {
        self.inner
    }

    /// A packet of these bytes.
    ///
    /// # Errors
    /// `InvalidInput` for more than [`MAX_DATA`] bytes; else those of the stream.
    pub fn data(&mut self, data: &[u8]) -> io::Result<()> {
        if data.len() > MAX_DATA {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a packet holds at most 65516 bytes",
            ));
        }
        write!(self.inner, "{:04x}", data.len() + 4)?;
        self.inner.write_all(data)
    }

    /// A packet of a line: the text with a line end.
    ///
    /// # Errors
    /// As [`data`](Writer::data).
    pub fn line(&mut self, text: Arguments<'_>) -> io::Result<()> {
        self.data(format!("{text}\n").as_bytes())
    }

    /// The packet `0000`.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn flush_packet(&mut self) -> io::Result<()> {
        self.inner.write_all(b"0000")
    }

    /// The packet `0001`.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn delimiter(&mut self) -> io::Result<()> {
        self.inner.write_all(b"0001")
    }

    /// The packet `0002`.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn response_end(&mut self) -> io::Result<()> {
        self.inner.write_all(b"0002")
    }

    /// These bytes on a band (1 data, 2 progress, 3 a fatal error), in as many packets as they need.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn band(&mut self, band: u8, data: &[u8]) -> io::Result<()> {
        for part in data.chunks(MAX_DATA - 1) {
            write!(self.inner, "{:04x}", part.len() + 5)?;
            self.inner.write_all(&[band])?;
            self.inner.write_all(part)?;
        }
        Ok(())
    }

    /// Says why everything ends here, where no bands are in use.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn error(&mut self, why: &str) -> io::Result<()> {
        let why = &why.as_bytes()[..why.len().min(2000)];
        self.data(&[b"ERR ", why].concat())
    }

    /// Sends what the stream has buffered.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Puts what is written on one band, in packets as large as they may be. [`flush`](Write::flush) sends
/// what is left.
pub struct BandWriter<'a, W> {
    to: &'a mut Writer<W>,
    band: u8,
    largest: usize,
    buffer: Vec<u8>,
}

impl<'a, W: Write> BandWriter<'a, W> {
    /// Writes to this band. `wide`: packets of 65520 bytes (`side-band-64k`), else of 1000 (`side-band`).
    pub fn new(to: &'a mut Writer<W>, band: u8, wide: bool) -> BandWriter<'a, W> {
        BandWriter {
            to,
            band,
            largest: if wide { MAX_DATA - 1 } else { 995 },
            buffer: Vec::new(),
        }
    }

    /// A message on another band, between two packets of this one.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn aside(&mut self, band: u8, text: &[u8]) -> io::Result<()> {
        for part in text.chunks(self.largest) {
            self.to.band(band, part)?;
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.to.band(self.band, &self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}

impl<W: Write> Write for BandWriter<'_, W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == self.largest {
            self.send()?;
        }
        let taken = data.len().min(self.largest - self.buffer.len());
        self.buffer.extend_from_slice(&data[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_written_as_git_writes_them() {
        let mut writer = Writer::new(Vec::new());
        writer.line(format_args!("want {}", 1)).unwrap();
        writer.flush_packet().unwrap();
        writer.delimiter().unwrap();
        writer.response_end().unwrap();
        writer.band(2, b"hi").unwrap();
        writer.error("no").unwrap();
        assert_eq!(
            writer.into_inner(),
            b"000bwant 1\n0000000100020007\x02hi000aERR no"
        );
        assert!(Writer::new(Vec::new()).data(&[0; MAX_DATA + 1]).is_err());
    }

    #[test]
    fn a_band_is_cut_into_packets_that_fit() {
        let mut writer = Writer::new(Vec::new());
        let mut band = BandWriter::new(&mut writer, 1, false);
        band.write_all(&[b'x'; 1000]).unwrap();
        band.aside(2, b"!").unwrap();
        band.flush().unwrap();
        let all = writer.into_inner();
        assert!(all.starts_with(b"03e8\x01xxx") && all.ends_with(b"000a\x01xxxxx"));
        assert_eq!(all.len(), 1000 + 6 + 10);
    }
}
