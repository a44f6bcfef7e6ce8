//! A pack, written object by object.

use std::io::{self, Write};

use irmin::{Format, Id, Kind};

use crate::zlib::{Deflate, Effort};
use crate::{Base, Hasher, Header, Place};

/// Writes a pack in one go, with the checksum at the end. Remembers the place of each object.
pub struct Writer<W> {
    sink: Sink<W>,
    format: Format,
    deflate: Deflate,
    /// What is to go out next.
    buffer: Vec<u8>,
    expected: u32,
    places: Vec<Place>,
}

/// What went out already.
struct Sink<W> {
    out: W,
    hash: Hasher,
    written: u64,
}

impl<W: Write> Sink<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn spill(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        self.put(buffer)?;
        buffer.clear();
        Ok(())
    }
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
            sink: Sink {
                out,
                hash: Hasher::new(format),
                written: 0,
            },
            format,
            deflate: Deflate::new(effort),
            buffer,
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

    /// What is large goes out while it is compressed: it is in memory once, as it was given.
    fn entry(&mut self, id: Id, base: Base, data: &[u8]) -> io::Result<u64> {
        let (offset, mut crc) = self.begin(base, data.len() as u64);
        let Writer {
            deflate,
            buffer,
            sink,
            ..
        } = self;
        let mut from = buffer.len();
        deflate.push_through(data, buffer, |buffer| {
            crc.update(&buffer[from..]);
            if buffer.len() > BUFFER {
                sink.spill(buffer)?;
            }
            from = buffer.len();
            Ok::<_, io::Error>(())
        })?;
        self.end(id, offset, crc);
        Ok(offset)
    }

    /// Adds an entry whose data of `size` bytes are compressed already; returns its offset.
    ///
    /// # Errors
    /// What writing gives.
    pub fn copy(&mut self, id: Id, base: Base, size: u64, stream: &[u8]) -> io::Result<u64> {
        let (offset, mut crc) = self.begin(base, size);
        crc.update(stream);
        if self.buffer.len() + stream.len() > BUFFER {
            self.sink.spill(&mut self.buffer)?;
        }
        match stream.len() > BUFFER {
            true => self.sink.put(stream)?,
            false => self.buffer.extend_from_slice(stream),
        }
        self.end(id, offset, crc);
        Ok(offset)
    }

    /// Where the next entry begins.
    pub fn offset(&self) -> u64 {
        self.sink.written + self.buffer.len() as u64
    }

    /// Begins an entry; returns its offset, and the checksum of its header.
    fn begin(&mut self, base: Base, size: u64) -> (u64, crc32fast::Hasher) {
        let (offset, start) = (self.offset(), self.buffer.len());
        Header::push(base, size, offset, &mut self.buffer);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.buffer[start..]);
        (offset, crc)
    }

    fn end(&mut self, id: Id, offset: u64, crc: crc32fast::Hasher) {
        let crc = crc.finalize();
        self.places.push(Place { id, offset, crc });
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
        let Sink {
            mut out,
            mut hash,
            written,
        } = self.sink;
        hash.update(&self.buffer);
        let sum = hash.finish();
        self.buffer.extend_from_slice(sum.as_bytes());
        out.write_all(&self.buffer)?;
        out.flush()?;
        self.places.sort_unstable_by_key(|place| place.id);
        Ok(Written {
            out,
            sum,
            length: written + self.buffer.len() as u64,
            places: self.places,
        })
    }

    /// The format of the objects.
    pub fn format(&self) -> Format {
        self.format
    }
}
