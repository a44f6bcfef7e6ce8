//! A pack, read entry by entry as it comes.

use std::io::{self, BufRead, Read};

use irmin::{Format, Id};

use crate::zlib::{Failed, Inflate};
use crate::{Base, Hasher, Header, Limits, PackError, Parsed};

/// Reads a pack from a stream, once, from its beginning to its end.
///
/// Never waits for a byte beyond the end of the pack, though it takes what has come with it.
pub struct Reader<R> {
    input: Input<R>,
    format: Format,
    limits: Limits,
    count: u32,
    left: u32,
    /// Inflated bytes so far.
    total: u64,
}

/// One entry.
#[derive(Debug)]
pub struct Entry {
    /// Where it begins.
    pub offset: u64,
    /// What its data are.
    pub base: Base,
    /// The CRC-32 of its bytes in the pack.
    pub crc: u32,
}

impl<R: Read> Reader<R> {
    /// Reads the head of a pack.
    ///
    /// # Errors
    /// [`PackError`]: it is none, or has more objects than `limits` allow.
    pub fn new(source: R, format: Format, limits: Limits) -> Result<Reader<R>, PackError> {
        let mut input = Input::new(source, format);
        let head = input.exact(12)?;
        if head[..4] != *b"PACK" || !matches!(head[4..8], [0, 0, 0, 2 | 3]) {
            let wrong = "it is no pack of version 2 or 3";
            return Err(PackError::Damaged { offset: 0, wrong });
        }
        let count = u32::from_be_bytes(head[8..12].try_into().expect("four bytes"));
        if count > limits.objects {
            let most = limits.objects;
            return Err(PackError::TooLarge {
                what: format!("it has {count} objects, and the limit is {most}"),
            });
        }
        Ok(Reader {
            input,
            format,
            limits,
            count,
            left: count,
            total: 0,
        })
    }

    /// How many objects it says it has.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes of the pack were read so far.
    pub fn offset(&self) -> u64 {
        self.input.offset()
    }

    /// The next entry, with its data put in place of what `data` held; `None` after the last one,
    /// whose checksum was right.
    ///
    /// # Errors
    /// [`PackError`]; then there is no next one.
    pub fn next(&mut self, data: &mut Vec<u8>) -> Result<Option<Entry>, PackError> {
        data.clear();
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let offset = self.input.offset();
        self.input.mark();
        let header = self.header(offset)?;
        let size = header.size;
        if size > self.limits.object {
            let most = self.limits.object;
            return Err(PackError::TooLarge {
                what: format!("an object of {size} bytes is in it, and the limit is {most}"),
            });
        }
        self.total = self.total.saturating_add(size);
        if self.total > self.limits.total {
            let most = self.limits.total;
            return Err(PackError::TooLarge {
                what: format!("its objects have more than {most} bytes, which is the limit"),
            });
        }
        let inflated = Inflate::new(&mut self.input).rest_into(size as usize, data);
        inflated.map_err(|failed| match failed {
            Failed::Io(error) => PackError::Read(error),
            Failed::Cut => self.input.cut(),
            Failed::Damaged(wrong) => PackError::Damaged { offset, wrong },
        })?;
        let crc = self.input.crc();
        if self.left == 0 {
            self.end()?;
        }
        Ok(Some(Entry {
            offset,
            base: header.base,
            crc,
        }))
    }

    fn header(&mut self, offset: u64) -> Result<Header, PackError> {
        loop {
            match Header::parse(self.input.at_hand(), offset, self.format) {
                Parsed::Header(header) => {
                    self.input.consume(header.length);
                    return Ok(header);
                }
                Parsed::Short => self.input.more()?,
                Parsed::Broken => {
                    let wrong = "its head is no entry's";
                    return Err(PackError::Damaged { offset, wrong });
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), PackError> {
        let offset = self.input.offset();
        let sum = self.input.sum();
        if self.input.exact(self.format.id_len())? != sum.as_bytes() {
            let wrong = "its checksum is another";
            return Err(PackError::Damaged { offset, wrong });
        }
        Ok(())
    }

    /// The checksum and the length of the pack, when the last entry was read.
    ///
    /// # Errors
    /// [`PackError`] if a pack without entries has a wrong checksum.
    ///
    /// # Panics
    /// If entries are left.
    pub fn finish(mut self) -> Result<(Id, u64), PackError> {
        assert_eq!(self.left, 0, "all entries were read");
        if self.count == 0 {
            self.end()?;
        }
        Ok((self.input.last, self.input.offset()))
    }
}

/// What comes, counted and hashed.
struct Input<R> {
    source: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// What came before the buffer.
    before: u64,
    hash: Hasher,
    format: Format,
    hashed: usize,
    crc: crc32fast::Hasher,
    crc_from: usize,
    last: Id,
}

const BUFFER: usize = 64 << 10;

impl<R: Read> Input<R> {
    fn new(source: R, format: Format) -> Input<R> {
        Input {
            source,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            before: 0,
            hash: Hasher::new(format),
            format,
            hashed: 0,
            crc: crc32fast::Hasher::new(),
            crc_from: 0,
            last: Id::from_bytes(&[0; 32][..format.id_len()]).expect("20 or 32 bytes"),
        }
    }

    fn offset(&self) -> u64 {
        self.before + self.start as u64
    }

    fn cut(&self) -> PackError {
        PackError::Cut {
            offset: self.before + self.end as u64,
        }
    }

    fn at_hand(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Takes what was consumed into the checksums.
    fn settle(&mut self) {
        self.hash.update(&self.buffer[self.hashed..self.start]);
        self.hashed = self.start;
        self.crc.update(&self.buffer[self.crc_from..self.start]);
        self.crc_from = self.start;
    }

    /// Reads on, keeping what is at hand. Whether anything came.
    fn read_on(&mut self) -> io::Result<bool> {
        self.settle();
        self.buffer.copy_within(self.start..self.end, 0);
        self.before += self.start as u64;
        self.end -= self.start;
        (self.start, self.hashed, self.crc_from) = (0, 0, 0);
        loop {
            match self.source.read(&mut self.buffer[self.end..]) {
                Ok(got) => {
                    self.end += got;
                    return Ok(got > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn more(&mut self) -> Result<(), PackError> {
        match self.read_on() {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.cut()),
            Err(error) => Err(PackError::Read(error)),
        }
    }

    /// Consumes so many bytes, which fit the buffer.
    fn exact(&mut self, length: usize) -> Result<&[u8], PackError> {
        while self.at_hand().len() < length {
            self.more()?;
        }
        self.start += length;
        Ok(&self.buffer[self.start - length..self.start])
    }

    /// An entry begins.
    fn mark(&mut self) {
        self.settle();
        self.crc = crc32fast::Hasher::new();
    }

    /// The checksum of the entry that ends here.
    fn crc(&mut self) -> u32 {
        self.settle();
        self.crc.clone().finalize()
    }

    /// The checksum of all before here.
    fn sum(&mut self) -> Id {
        self.settle();
        let hash = std::mem::replace(&mut self.hash, Hasher::new(self.format));
        self.last = hash.finish();
        self.last
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let length = bytes.len().min(out.len());
        out[..length].copy_from_slice(&bytes[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.read_on()?;
        }
        Ok(self.at_hand())
    }

    fn consume(&mut self, length: usize) {
        self.start += length;
    }
}
