//! A pack, written object by object.

use std::io::{self, Write};

use irmin::{Format, Id, Kind};

use crate::zlib::{Deflate, Effort};
use crate::{Base, Hasher, Header, Place};

/// Writes a pack in one go, with the checksum at the end. Remembers the place of each object.
pub struct Writer<W> {
    out: W,
    format: Format,
    hash: Hasher,
    deflate: Deflate,
    buffer: Vec<u8>,
    /// How much went out already.
    written: u64,
    expected: u32,
    places: Vec<Place>,
}

/// A pack that was written.
pub struct Written<W> {
    /// What it was written to.
    pub out: W,
    /// Its checksum, which is at its end too.
    pub sum: Id,
    /// How many bytes it has.
    pub length: u64,
    /// Its objects, by id.
    pub places: Vec<Place>,
}

const BUFFER: usize = 256 << 10;

impl<W: Write> Writer<W> {
    /// A pack of so many objects. `effort`: how what is added is compressed.
    pub fn new(out: W, format: Format, count: u32, effort: Effort) -> Writer<W> {
        let mut buffer = Vec::with_capacity(16 << 10);
        buffer.extend_from_slice(b"PACK\0\0\0\x02");
        buffer.extend_from_slice(&count.to_be_bytes());
        Writer {
            out,
            format,
            hash: Hasher::new(format),
            deflate: Deflate::new(effort),
            buffer,
            written: 0,
            expected: count,
            places: Vec::with_capacity((count as usize).min(1 << 16)),
        }
    }

    /// Adds an object; returns its offset.
    ///
    /// # Errors
    /// What writing gives.
    pub fn whole(&mut self, id: Id, kind: Kind, data: &[u8]) -> io::Result<u64> {
        self.entry(id, Base::Whole(kind), data)
    }

    /// Adds an object as a delta for `base`; returns its offset.
    ///
    /// # Errors
    /// What writing gives.
    pub fn delta(&mut self, id: Id, base: Base, delta: &[u8]) -> io::Result<u64> {
        self.entry(id, base, delta)
    }

    fn entry(&mut self, id: Id, base: Base, data: &[u8]) -> io::Result<u64> {
        let start = self.begin(base, data.len() as u64);
        self.deflate.push(data, &mut self.buffer);
        self.end(id, start)
    }

    /// Adds an entry whose data of `size` bytes are compressed already; returns its offset.
    ///
    /// # Errors
    /// What writing gives.
    pub fn copy(&mut self, id: Id, base: Base, size: u64, stream: &[u8]) -> io::Result<u64> {
        let start = self.begin(base, size);
        self.buffer.extend_from_slice(stream);
        self.end(id, start)
    }

    /// Where the next entry begins.
    pub fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn begin(&mut self, base: Base, size: u64) -> usize {
        let start = self.buffer.len();
        Header::push(base, size, self.offset(), &mut self.buffer);
        start
    }

    fn end(&mut self, id: Id, start: usize) -> io::Result<u64> {
        let crc = crc32fast::hash(&self.buffer[start..]);
        let offset = self.written + start as u64;
        self.places.push(Place { id, offset, crc });
        if self.buffer.len() > BUFFER {
            self.spill()?;
        }
        Ok(offset)
    }

    fn spill(&mut self) -> io::Result<()> {
        self.hash.update(&self.buffer);
        self.out.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the end and flushes.
    ///
    /// # Errors
    /// What writing gives.
    ///
    /// # Panics
    /// If another number of objects was added than announced.
    pub fn finish(mut self) -> io::Result<Written<W>> {
        let added = self.places.len();
        assert_eq!(added, self.expected as usize, "as many as were announced");
        self.hash.update(&self.buffer);
        let sum = self.hash.finish();
        self.buffer.extend_from_slice(sum.as_bytes());
        self.out.write_all(&self.buffer)?;
        self.out.flush()?;
        self.places.sort_unstable_by_key(|place| place.id);
        Ok(Written {
            out: self.out,
            sum,
            length: self.written + self.buffer.len() as u64,
            places: self.places,
        })
    }

    /// The format of the objects.
    pub fn format(&self) -> Format {
        self.format
    }
}
