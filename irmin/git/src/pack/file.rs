//! A pack on disk, and the entries in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use irmin::{BackendError, Format, Id, Kind};

use super::index::Index;
use super::{ID_DELTA, OFFSET_DELTA};
use crate::error::{Result, corrupt, io};
use crate::zlib::{Failed, Inflate};

/// One pack. Opened when something is looked for in it.
pub(crate) struct Pack {
    /// The path of the pack; the index lies beside it.
    pub(crate) path: PathBuf,
    /// Tells this pack from all others in caches, for the life of the process.
    pub(crate) number: u64,
    /// Whether it is in our own folder.
    pub(crate) own: bool,
    cruft: OnceLock<bool>,
    /// Whether its time was set to now, so that Git spares it.
    pub(crate) fresh: AtomicBool,
    format: Format,
    index: OnceLock<Result<Index>>,
    file: OnceLock<(File, u64)>,
}

/// What stands in a pack at some place.
pub(crate) struct Entry {
    pub(crate) base: Base,
    /// Inflated.
    pub(crate) data: Vec<u8>,
}

/// What the data of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// An object.
    Whole(Kind),
    /// A delta for the object at this offset, which is smaller than its own.
    Offset(u64),
    /// A delta for this object of the same pack.
    Id(Id),
}

impl Pack {
    /// A pack of this path; `own`: in our own folder, not one that is borrowed from.
    pub(crate) fn new(path: PathBuf, format: Format, own: bool) -> Pack {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Pack {
            path,
            own,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            cruft: OnceLock::new(),
            fresh: AtomicBool::new(false),
            format,
            index: OnceLock::new(),
            file: OnceLock::new(),
        }
    }

    /// A pack that was just written, with its index at hand.
    pub(crate) fn with_index(path: PathBuf, format: Format, index: Index) -> Pack {
        let pack = Pack {
            fresh: AtomicBool::new(true),
            ..Pack::new(path, format, true)
        };
        let _ = (pack.index.set(Ok(index)), pack.cruft.set(false));
        pack
    }

    /// The index; the same error again once it failed.
    pub(crate) fn index(&self) -> Result<&Index> {
        let open = || Index::open(&self.path.with_extension("idx"), self.format);
        let index = self.index.get_or_init(open);
        index.as_ref().map_err(BackendError::clone)
    }

    /// The open file and its length; the header and the checksum at the end fit the index.
    fn file(&self) -> Result<&(File, u64)> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let index = self.index()?;
        let failed = |what| io(what, &self.path);
        let file = File::open(&self.path).map_err(failed("open"))?;
        let length = file.metadata().map_err(failed("look at"))?.len();
        let id_len = self.format.id_len();
        if length < 12 + id_len as u64 {
            return Err(corrupt(&self.path, "it is cut off"));
        }
        let mut header = [0; 12];
        file.read_exact_at(&mut header, 0).map_err(failed("read"))?;
        if header[..4] != *b"PACK" || !matches!(header[4..8], [0, 0, 0, 2 | 3]) {
            return Err(corrupt(&self.path, "it is no pack of version 2 or 3"));
        }
        if header[8..] != index.count().to_be_bytes() {
            return Err(corrupt(
                &self.path,
                "it holds another number of objects than its index",
            ));
        }
        let mut sum = vec![0; id_len];
        file.read_exact_at(&mut sum, length - id_len as u64)
            .map_err(failed("read"))?;
        if sum != index.pack.as_bytes() {
            return Err(corrupt(
                &self.path,
                "its checksum is not the one in its index",
            ));
        }
        Ok(self.file.get_or_init(|| (file, length)))
    }

    /// Whether this is the first error of a pack that somebody has deleted: a repack moved its
    /// objects elsewhere.
    pub(crate) fn is_gone(&self) -> bool {
        self.file.get().is_none() && !self.path.exists()
    }

    /// Reads the entry at `offset`, refusing one of more than `largest` bytes.
    pub(crate) fn entry(&self, offset: u64, largest: u64) -> Result<Entry> {
        let (file, length) = self.file()?;
        let end = length - self.format.id_len() as u64;
        let damaged = |wrong: &str| corrupt(&self.path, format_args!("at {offset}: {wrong}"));
        if offset < 12 || offset >= end {
            return Err(damaged("there is no object"));
        }
        let mut at = offset;
        let mut read = |buffer: &mut [u8]| -> io::Result<usize> {
            let most = buffer.len().min((end - at) as usize);
            let got = file.read_at(&mut buffer[..most], at)?;
            at += got as u64;
            Ok(got)
        };
        let mut first = [0; 4096];
        let got = read(&mut first).map_err(io("read", &self.path))?;
        let (base, size, used) = self
            .header(&first[..got], offset)
            .ok_or_else(|| damaged("its header is broken"))?;
        // No stream is shorter than a thousandth of what it holds: a size beyond that is no size.
        if size > largest || size / 1040 > end - offset {
            return Err(damaged(&format!(
                "it says it has {size} bytes, which cannot be or is more than Options::largest_object allows"
            )));
        }
        let data = Inflate::new(read, &first[used..got])
            .rest(size as usize)
            .map_err(|failed| match failed {
                Failed::Io(error) => io("read", &self.path)(error),
                Failed::Damaged(wrong) => damaged(wrong),
            })?;
        Ok(Entry { base, data })
    }

    /// What an entry is, how many bytes it inflates to, and how many its header has.
    fn header(&self, bytes: &[u8], offset: u64) -> Option<(Base, u64, usize)> {
        let mut rest = bytes.iter().copied();
        let mut byte = rest.next()?;
        let code = byte >> 4 & 7;
        let mut size = u64::from(byte & 15);
        let mut shift = 4;
        while byte & 0x80 != 0 {
            byte = rest.next()?;
            if shift > 53 {
                return None;
            }
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
        }
        let base = match code {
            1 => Base::Whole(Kind::Commit),
            2 => Base::Whole(Kind::Tree),
            3 => Base::Whole(Kind::Blob),
            4 => Base::Whole(Kind::Tag),
            OFFSET_DELTA => {
                byte = rest.next()?;
                let mut back = u64::from(byte & 0x7f);
                while byte & 0x80 != 0 {
                    byte = rest.next()?;
                    back = (back + 1).checked_mul(128)? | u64::from(byte & 0x7f);
                }
                Base::Offset(offset.checked_sub(back).filter(|&base| base < offset)?)
            }
            ID_DELTA => {
                let at = bytes.len() - rest.len();
                let id = bytes.get(at..at + self.format.id_len())?;
                rest.nth(id.len() - 1)?;
                Base::Id(Id::from_bytes(id)?)
            }
            _ => return None,
        };
        Some((base, size, bytes.len() - rest.len()))
    }

    /// Has Git spare this pack: an object in it was written again. Once in the life of the value.
    pub(crate) fn freshen(&self) -> bool {
        self.fresh.load(Ordering::Relaxed)
            || crate::file::touch(&self.path) && {
                self.fresh.store(true, Ordering::Relaxed);
                true
            }
    }

    /// Whether it holds objects that nothing points to, kept until they are old enough to go.
    pub(crate) fn is_cruft(&self) -> bool {
        let look = || self.path.with_extension("mtimes").exists();
        *self.cruft.get_or_init(look)
    }

    /// Deletes the pack: the index first, with which it is gone for everybody.
    pub(crate) fn delete(path: &Path) {
        for extension in ["idx", "rev", "pack"] {
            let _ = std::fs::remove_file(path.with_extension(extension));
        }
    }
}
