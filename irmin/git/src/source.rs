//! The bytes of a file that does not change, such as an index.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// Read in blocks when they are first looked at, and kept: no system call the second time, and who
/// looks for one thing in a large file reads a few blocks of it.
pub(crate) struct Source {
    /// Where it begins in the file.
    start: u64,
    length: u64,
    file: Option<Arc<File>>,
    blocks: Box<[OnceLock<Bytes>]>,
    block: u64,
}

const BLOCK: u64 = 16 << 10;

impl Source {
    pub(crate) fn open(path: &Path) -> io::Result<Source> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Source::of(Arc::new(file), 0, length, BLOCK))
    }

    fn of(file: Arc<File>, start: u64, length: u64, block: u64) -> Source {
        let blocks = (0..length.div_ceil(block)).map(|_| OnceLock::new());
        Source {
            start,
            length,
            file: Some(file),
            blocks: blocks.collect(),
            block,
        }
    }

    /// A part of it, which must lie inside, with blocks of its own of `block` bytes.
    pub(crate) fn part(&self, start: u64, length: u64, block: u64) -> Source {
        match &self.file {
            Some(file) => Source::of(file.clone(), self.start + start, length, block),
            None => {
                let bytes = self.read(start, length as usize).unwrap_or_default();
                Source::memory(bytes.into())
            }
        }
    }

    /// Bytes that are at hand.
    pub(crate) fn memory(bytes: Vec<u8>) -> Source {
        let length = bytes.len() as u64;
        Source {
            start: 0,
            length,
            file: None,
            blocks: [OnceLock::from(Bytes::from(bytes))].into(),
            block: length.max(1),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    fn block(&self, at: u64) -> io::Result<&Bytes> {
        let number = at / self.block;
        let slot = &self.blocks[number as usize];
        if let Some(block) = slot.get() {
            return Ok(block);
        }
        let start = number * self.block;
        let mut bytes = vec![0; self.block.min(self.length - start) as usize];
        let file = self.file.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
        file.read_exact_at(&mut bytes, self.start + start)?;
        Ok(slot.get_or_init(|| bytes.into()))
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// A block, as it is kept; one that was not read before is read into `spare` and not kept.
    pub(crate) fn pass<'a>(&'a self, number: u64, spare: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        if let Some(block) = self.blocks[number as usize].get() {
            return Ok(block);
        }
        let start = number * self.block;
        spare.resize(self.block.min(self.length - start) as usize, 0);
        let file = self.file.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
        file.read_exact_at(spare, self.start + start)?;
        Ok(spare)
    }

    /// Fills `out` with the bytes from `at` on; an error of kind `UnexpectedEof` if there are not so many.
    pub(crate) fn fill(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.inside(at, out.len())?;
        let (mut at, mut rest) = (at, out);
        while !rest.is_empty() {
            let block = &self.block(at)?[(at % self.block) as usize..];
            let length = block.len().min(rest.len());
            rest[..length].copy_from_slice(&block[..length]);
            rest = &mut rest[length..];
            at += length as u64;
        }
        Ok(())
    }

    /// These bytes; an error of kind `UnexpectedEof` if there are not so many.
    pub(crate) fn read(&self, at: u64, length: usize) -> io::Result<Bytes> {
        self.inside(at, length)?;
        let from = (at % self.block) as usize;
        if length > 0 && from + length <= self.block as usize {
            return Ok(self.block(at)?.slice(from..from + length));
        }
        let mut bytes = vec![0; length];
        self.fill(at, &mut bytes)?;
        Ok(bytes.into())
    }

    /// These bytes, which lie in one block.
    pub(crate) fn borrow(&self, at: u64, length: usize) -> io::Result<&[u8]> {
        self.inside(at, length)?;
        let from = (at % self.block) as usize;
        let bytes = self.block(at)?.get(from..from + length);
        bytes.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub(crate) fn u32(&self, at: u64) -> io::Result<u32> {
        let mut four = [0; 4];
        self.fill(at, &mut four)?;
        Ok(u32::from_be_bytes(four))
    }

    fn inside(&self, at: u64, length: usize) -> io::Result<()> {
        match at.checked_add(length as u64) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_the_same_by_blocks_and_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let bytes: Vec<u8> = (0..200_003u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        std::fs::write(&path, &bytes).unwrap();
        for source in [Source::open(&path).unwrap(), Source::memory(bytes.clone())] {
            for at in [0, 1, 16_382, 16_384, 131_071, 199_999, 200_003] {
                for length in [0, 1, 4, 70_000, 200_003] {
                    let whole = bytes.get(at..at + length);
                    let read = source.read(at as u64, length).ok();
                    assert_eq!(read.as_deref(), whole);
                }
            }
            assert!(source.u32(200_000).is_err() && source.u32(u64::MAX).is_err());
            let part = source.part(1000, 100_000, 4000);
            for at in [0, 40, 3960, 99_960] {
                assert_eq!(
                    part.borrow(at as u64, 40).unwrap(),
                    &bytes[1000 + at..][..40]
                );
            }
            assert!(part.borrow(99_961, 40).is_err());
        }
    }
}
