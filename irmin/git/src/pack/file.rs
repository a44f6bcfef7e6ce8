//! A pack on disk, and the entries in it.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use irmin::{BackendError, Format, Id};
use irmin_packfile::zlib::{Deflate, Effort, Inflate};
use irmin_packfile::{Base, Header, Parsed};

use super::index::Index;
use super::windows::{WINDOW, Windows};
use crate::error::{Result, corrupt, io};

/// One pack. Opened when something is looked for in it.
pub(crate) struct Pack {
    /// The path of the pack; the index lies beside it.
    pub(crate) path: PathBuf,
    /// Tells this pack from all others in caches, for the life of the process.
    pub(crate) number: u64,
    /// Whether it is in our own folder.
    pub(crate) own: bool,
    /// Whether this process made it: only its index lies beside it.
    is_made_here: bool,
    cruft: OnceLock<bool>,
    /// Whether its time was set to now, so that Git spares it.
    pub(crate) fresh: AtomicBool,
    format: Format,
    index: OnceLock<Result<Index>>,
    file: OnceLock<(File, u64)>,
}

/// How a stream begins that nobody took pains with (RFC 1950 §2.2).
const STORED: [u8; 2] = [0x78, 0x01];
/// Fewer bytes are not worth being compressed.
const WORTH: u64 = 64;

/// What stands in a pack at some place.
pub(crate) struct Entry {
    pub(crate) base: Base,
    /// Inflated.
    pub(crate) data: Vec<u8>,
}

impl Pack {
    /// A pack of this path; `own`: in our own folder, not one that is borrowed from.
    pub(crate) fn new(path: PathBuf, format: Format, own: bool) -> Pack {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Pack {
            path,
            own,
            is_made_here: false,
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
            is_made_here: true,
            fresh: AtomicBool::new(true),
            ..Pack::new(path, format, true)
        };
        let _ = (pack.index.set(Ok(index)), pack.cruft.set(false));
        pack
    }

    /// Whether this is its path, byte by byte, which is much faster than name by name.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        self.path.as_os_str() == path.as_os_str()
    }

    /// The index; the same error again once it failed.
    pub(crate) fn index(&self) -> Result<&Index> {
        let open = || Index::open(&self.path.with_extension("idx"), self.format);
        let index = self.index.get_or_init(open);
        index.as_ref().map_err(BackendError::clone)
    }

    /// Whether its index has this object; not if it cannot be read.
    pub(crate) fn has(&self, id: &Id) -> bool {
        self.index()
            .is_ok_and(|index| matches!(index.find(id), Ok(Some(_))))
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

    /// Reads the entry at `offset`, through `windows`, refusing one of more than `largest` bytes.
    pub(crate) fn entry(&self, offset: u64, largest: u64, windows: &Windows) -> Result<Entry> {
        let (file, length) = self.file()?;
        let end = length - self.format.id_len() as u64;
        let damaged = |wrong: &str| corrupt(&self.path, format_args!("at {offset}: {wrong}"));
        if offset < 12 || offset >= end {
            return Err(damaged("there is no object"));
        }
        let mut stream = Stream::new(file, offset, end);
        stream.windows = Some((windows, self.number));
        inflate(stream, &self.path, offset..end, self.format, largest)
    }

    /// Where the entries end.
    pub(crate) fn end(&self) -> Result<u64> {
        Ok(self.file()?.1 - self.format.id_len() as u64)
    }

    /// What the entry at `offset` is, which ends at `end`, as it says; and whether it is plain.
    pub(crate) fn header(&self, offset: u64, end: u64) -> Result<(Header, bool)> {
        let (file, _) = self.file()?;
        let mut first = [0; 64];
        let most = first.len().min(end.saturating_sub(offset) as usize);
        let read = file.read_exact_at(&mut first[..most], offset);
        read.map_err(io("read", &self.path))?;
        match Header::parse(&first[..most], offset, self.format) {
            Parsed::Header(header) => {
                let length = end.saturating_sub(offset + header.length as u64);
                let is_plain = is_plain(&header, &first[header.length..most], length);
                Ok((header, is_plain))
            }
            _ => Err(corrupt(
                &self.path,
                format_args!("at {offset}: its header is broken"),
            )),
        }
    }

    /// The compressed bytes of the entry of this id that lies here, and how many they inflate to; `None`
    /// if they are not what the index says.
    pub(crate) fn stream(&self, id: &Id, range: Range<u64>) -> Result<Option<(u64, Vec<u8>)>> {
        let (file, _) = self.file()?;
        let length = range.end.saturating_sub(range.start) as usize;
        let mut bytes = vec![0; length];
        let read = file.read_exact_at(&mut bytes, range.start);
        read.map_err(io("read", &self.path))?;
        if self.index()?.crc(id)? != Some(crc32fast::hash(&bytes)) {
            return Ok(None);
        }
        let Parsed::Header(header) = Header::parse(&bytes, range.start, self.format) else {
            return Ok(None);
        };
        bytes.drain(..header.length);
        if is_plain(&header, &bytes, bytes.len() as u64) {
            let inflated = Inflate::new(&bytes[..]).rest(header.size as usize);
            let Ok(data) = inflated else { return Ok(None) };
            bytes.clear();
            Deflate::new(Effort::Usual).push(&data, &mut bytes);
        }
        Ok(Some((header.size, bytes)))
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

    /// The files of the pack: the index first, with which it is gone for everybody. To ask for one that
    /// is not there holds up who makes files in the folder.
    pub(crate) fn extensions(&self) -> &'static [&'static str] {
        match self.is_made_here {
            true => &["idx", "pack"],
            false => &["idx", "rev", "bitmap", "pack", "mtimes"],
        }
    }

    /// The endings of what may lie beside it and says that it is not to be rewritten.
    pub(crate) fn marks(&self) -> &'static [&'static str] {
        match self.is_made_here {
            true => &[],
            false => &["promisor", "mtimes", "bitmap"],
        }
    }

    /// Deletes these files of the pack.
    pub(crate) fn delete(path: &Path, extensions: &[&str]) {
        for extension in extensions {
            let _ = std::fs::remove_file(path.with_extension(extension));
        }
    }
}

/// Whether an entry with a stream of this beginning and length was stored as it is, to be compressed when
/// it is worth it. Another stream that is longer than what is in it was compressed in vain.
fn is_plain(header: &Header, stream: &[u8], length: u64) -> bool {
    length > header.size && header.size > WORTH && stream.starts_with(&STORED)
}

/// Reads the entry that begins where `range` does and ends in it, refusing one of more than `largest`
/// bytes.
pub(crate) fn read_entry(
    file: &File,
    path: &Path,
    range: Range<u64>,
    format: Format,
    largest: u64,
) -> Result<Entry> {
    let stream = Stream::new(file, range.start, range.end);
    inflate(stream, path, range, format, largest)
}

fn inflate(
    mut stream: Stream<'_>,
    path: &Path,
    range: Range<u64>,
    format: Format,
    largest: u64,
) -> Result<Entry> {
    let Range { start, end } = range;
    let damaged = |wrong: &str| corrupt(path, format_args!("at {start}: {wrong}"));
    let first = stream.fill_buf().map_err(io("read", path))?;
    let Parsed::Header(header) = Header::parse(first, start, format) else {
        return Err(damaged("its header is broken"));
    };
    stream.consume(header.length);
    let size = header.size;
    // No stream is shorter than a thousandth of what it holds: a size beyond that is no size.
    if size > largest || size / 1040 > end - start {
        return Err(damaged(&format!(
            "it says it has {size} bytes, which cannot be or is more than Options::largest_object allows"
        )));
    }
    let inflated = Inflate::new(stream).rest(size as usize);
    let data = inflated.map_err(|failed| match failed.wrong() {
        Err(error) => io("read", path)(error),
        Ok(wrong) => damaged(wrong),
    })?;
    Ok(Entry {
        base: header.base,
        data,
    })
}

/// So many bytes are read from a file at once where no window is worth it.
const PIECE: u64 = 4096;

/// The bytes of a file from one place to another.
struct Stream<'a> {
    file: &'a File,
    at: u64,
    end: u64,
    /// Where parts of this pack, of this number, may be at hand.
    windows: Option<(&'a Windows, u64)>,
    window: Option<Bytes>,
    /// What was read from the file itself.
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

impl Stream<'_> {
    fn new(file: &File, at: u64, end: u64) -> Stream<'_> {
        Stream {
            file,
            at,
            end,
            windows: None,
            window: None,
            buffer: Vec::new(),
            from: 0,
            to: 0,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        if let Some((windows, pack)) = self.windows {
            self.window = windows.at(pack, self.at, self.file, self.end);
            if let Some(window) = &self.window {
                (self.from, self.to) = ((self.at % WINDOW) as usize, window.len());
                self.at += (self.to - self.from) as u64;
                return Ok(());
            }
        }
        (self.from, self.to) = (0, 0);
        let most = PIECE.min(self.end - self.at) as usize;
        self.buffer.resize(most, 0);
        self.to = self.file.read_at(&mut self.buffer, self.at)?;
        self.at += self.to as u64;
        Ok(())
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Stream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.from == self.to && self.at < self.end {
            self.refill()?;
        }
        let bytes = self.window.as_deref().unwrap_or(&self.buffer);
        Ok(&bytes[self.from..self.to])
    }

    fn consume(&mut self, length: usize) {
        self.from += length;
    }
}

#[cfg(test)]
mod tests {
    use irmin::{Kind, Object};

    use super::*;
    use crate::pack::Writer;

    #[test]
    fn only_what_was_stored_without_pains_is_compressed_when_it_is_copied() {
        let format = Format::GitSha1;
        // xorshift64: nothing makes it shorter.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let noise: Vec<u8> = (0..50_000)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        for (data, effort, is_copied) in [
            (&noise[..], Effort::Usual, true),
            (&[7; 1000][..], Effort::Stored, false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let object = Object::new(format, Kind::Blob, data.to_vec()).unwrap();
            let mut writer = Writer::new(folder.path(), format, 1, effort).unwrap();
            let offset = writer.whole(object.id, Kind::Blob, data).unwrap();
            let pack = writer.finish().unwrap().place(false).unwrap().pack;
            let end = pack.end().unwrap();
            assert_eq!(pack.header(offset, end).unwrap().1, !is_copied);
            let (size, stream) = pack.stream(&object.id, offset..end).unwrap().unwrap();
            assert_eq!(size as usize, data.len());
            assert_eq!(Inflate::new(&stream[..]).rest(data.len()).unwrap(), data);
            let lies = std::fs::read(&pack.path).unwrap();
            let lies = &lies[..end as usize];
            assert_eq!(lies.ends_with(&stream), is_copied);
            // Both are longer than what is in them.
            assert!(lies.len() - offset as usize > data.len());
        }
    }
}
