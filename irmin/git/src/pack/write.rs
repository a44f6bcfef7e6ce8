//! New packs.

use std::path::{Path, PathBuf};

use irmin::{Format, Id, Kind};

use super::index::{self, Index, Place};
use super::{OFFSET_DELTA, Pack};
use crate::error::{Result, refused};
use crate::file::{self, Source, Temporary};
use crate::hash::Hasher;
use crate::zlib::{Deflate, Effort};

/// Writes a pack, object by object, then its index. Nobody sees anything of it before
/// [`finish`](Writer::finish).
pub(crate) struct Writer {
    format: Format,
    folder: PathBuf,
    file: Temporary,
    hash: Hasher,
    deflate: Deflate,
    buffer: Vec<u8>,
    /// How much went to the file already.
    written: u64,
    expected: u32,
    places: Vec<Place>,
}

/// A pack that was written.
pub(crate) struct Built {
    pub(crate) pack: Pack,
    /// By id.
    places: Vec<Place>,
}

impl Built {
    /// Where the object is.
    pub(crate) fn offset(&self, id: &Id) -> Option<u64> {
        let at = self
            .places
            .binary_search_by_key(id, |place| place.id)
            .ok()?;
        Some(self.places[at].offset)
    }
}

const BUFFER: usize = 256 << 10;

impl Writer {
    /// A pack for `folder` that will have so many objects.
    pub(crate) fn new(
        folder: &Path,
        format: Format,
        count: usize,
        effort: Effort,
    ) -> Result<Writer> {
        let expected = u32::try_from(count)
            .map_err(|_| refused(format_args!("{count} objects are too many for one pack")))?;
        let mut buffer = Vec::with_capacity(16 << 10);
        buffer.extend_from_slice(b"PACK\0\0\0\x02");
        buffer.extend_from_slice(&expected.to_be_bytes());
        Ok(Writer {
            format,
            folder: folder.into(),
            file: Temporary::new(folder, "tmp_pack_")?,
            hash: Hasher::new(format),
            deflate: Deflate::new(effort),
            buffer,
            written: 0,
            expected,
            places: Vec::with_capacity(count),
        })
    }

    /// Adds an object; returns its offset.
    pub(crate) fn whole(&mut self, id: Id, kind: Kind, data: &[u8]) -> Result<u64> {
        self.entry(id, super::number(kind), None, data)
    }

    /// Adds an object as a delta for the one at `base`, an offset in this pack.
    pub(crate) fn delta(&mut self, id: Id, base: u64, delta: &[u8]) -> Result<u64> {
        self.entry(id, OFFSET_DELTA, Some(base), delta)
    }

    fn entry(&mut self, id: Id, code: u8, base: Option<u64>, data: &[u8]) -> Result<u64> {
        let (start, offset) = (self.buffer.len(), self.written + self.buffer.len() as u64);
        let mut size = data.len();
        let mut byte = code << 4 | (size & 15) as u8;
        size >>= 4;
        while size > 0 {
            self.buffer.push(byte | 0x80);
            byte = (size & 0x7f) as u8;
            size >>= 7;
        }
        self.buffer.push(byte);
        if let Some(base) = base {
            push_distance(offset - base, &mut self.buffer);
        }
        self.deflate.push(data, &mut self.buffer);
        let crc = crc32fast::hash(&self.buffer[start..]);
        self.places.push(Place { id, offset, crc });
        if self.buffer.len() > BUFFER {
            self.spill()?;
        }
        Ok(offset)
    }

    fn spill(&mut self) -> Result<()> {
        self.hash.update(&self.buffer);
        self.file.write(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Puts the pack in its place, then the index, with which it is there for everybody. `sync`:
    /// only when both would survive a loss of power (the folder is the caller's). `keep`: with a mark
    /// beside it that says it is not to be deleted.
    pub(crate) fn finish(mut self, sync: bool, keep: bool) -> Result<Built> {
        assert_eq!(
            self.places.len(),
            self.expected as usize,
            "as many as were announced"
        );
        self.hash.update(&self.buffer);
        let hash = std::mem::replace(&mut self.hash, Hasher::new(self.format));
        let sum = hash.finish();
        self.buffer.extend_from_slice(sum.as_bytes());
        self.file.write(&self.buffer)?;
        self.places.sort_unstable_by_key(|place| place.id);
        let index = index::encode(self.format, &self.places, &sum);
        let mut index_file = Temporary::new(&self.folder, "tmp_idx_")?;
        index_file.write(&index)?;
        if sync {
            file::sync(&[self.file.path(), index_file.path()])?;
        }
        let path = self.folder.join(format!("pack-{sum}.pack"));
        let index_path = path.with_extension("idx");
        if keep {
            self.file.link(&path.with_extension("keep"))?;
        }
        self.file.place(&path)?;
        index_file.place(&index_path)?;
        let index = Index::new(&index_path, Source::Memory(index.into()), self.format)?;
        Ok(Built {
            places: self.places,
            pack: Pack::with_index(path, self.format, index),
        })
    }
}

/// A distance as packs write it: seven bits a byte, the highest first, each step one more.
fn push_distance(mut back: u64, out: &mut Vec<u8>) {
    let mut bytes = [0; 10];
    let mut at = bytes.len() - 1;
    bytes[at] = (back & 0x7f) as u8;
    back >>= 7;
    while back > 0 {
        back -= 1;
        at -= 1;
        bytes[at] = 0x80 | (back & 0x7f) as u8;
        back >>= 7;
    }
    out.extend_from_slice(&bytes[at..]);
}
