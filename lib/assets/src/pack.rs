//! Packs a folder into one file. Runs on the developer's machine.
//!
//! The same folder gives the same bytes on every machine: paths are sorted, times and owners
//! are left out, and entity tags are hashes of the contents.
//!
//! Names that begin with a dot are left out: `.git` and `.env` must never be served. The one
//! exception is `.well-known` at the top (RFC 8615), whose files exist to be served.

use core::fmt;
use std::borrow::ToOwned;
use std::collections::BTreeMap;
use std::format;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec;
use std::vec::Vec;

use sha2::{Digest, Sha256};

use crate::format::{ENTRY, HEADER, MAGIC, SLOT, VERSION, hash};
use crate::media;

/// A shorter file is sent in one packet with its header anyway.
const LEAST: usize = 200;

/// Bytes of the content's SHA-256 that make the entity tag.
const TAG: usize = 12;

/// Packs the folder `from` into the file `out`.
pub fn pack(from: &Path, out: &Path) -> Result<(), PackError> {
    let sealed = seal(from)?;
    fs::write(out, sealed).map_err(|error| PackError::Write(out.to_owned(), error))
}

/// Packs the folder `from`: the bytes that [`pack`] writes.
pub fn seal(from: &Path) -> Result<Vec<u8>, PackError> {
    let metadata = fs::metadata(from).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => PackError::Missing(from.to_owned()),
        _ => PackError::Read(from.to_owned(), error),
    })?;
    if !metadata.is_dir() {
        return Err(PackError::NotAFolder(from.to_owned()));
    }
    let root = fs::canonicalize(from).map_err(|error| PackError::Read(from.to_owned(), error))?;
    let mut walk = Walk {
        root: root.clone(),
        files: BTreeMap::new(),
    };
    walk.folder(from, "", &mut vec![root])?;
    if walk.files.is_empty() {
        return Err(PackError::Empty(from.to_owned()));
    }
    let mut entries = Vec::with_capacity(walk.files.len());
    for (path, file) in walk.files {
        let content = fs::read(&file).map_err(|error| PackError::Read(file.clone(), error))?;
        entries.push(Entry::new(path, content));
    }
    write(&entries).ok_or_else(|| PackError::TooLarge(from.to_owned()))
}

/// The regular files of a folder by their paths in it.
struct Walk {
    root: PathBuf,
    files: BTreeMap<String, PathBuf>,
}

impl Walk {
    /// `inside` are the real paths of this folder and of those around it.
    fn folder(
        &mut self,
        folder: &Path,
        prefix: &str,
        inside: &mut Vec<PathBuf>,
    ) -> Result<(), PackError> {
        let unreadable = |error| PackError::Read(folder.to_owned(), error);
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let place = entry.path();
            let name = entry.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| PackError::Name(place.clone()))?;
            let served = prefix.is_empty() && name == ".well-known";
            if name.starts_with('.') && !served {
                continue;
            }
            let path = format!("{prefix}{name}");
            let unreadable = |error| PackError::Read(place.clone(), error);
            let real = fs::canonicalize(&place).map_err(unreadable)?;
            if !real.starts_with(&self.root) {
                return Err(PackError::Outside(place.clone(), real));
            }
            let metadata = fs::metadata(&place).map_err(unreadable)?;
            if metadata.is_dir() {
                if inside.contains(&real) {
                    return Err(PackError::Loop(place.clone(), real));
                }
                inside.push(real);
                self.folder(&place, &format!("{path}/"), inside)?;
                inside.pop();
            } else if metadata.is_file() {
                self.files.insert(path, place);
            } else {
                return Err(PackError::Special(place.clone()));
            }
        }
        Ok(())
    }
}

struct Entry {
    path: String,
    media_type: &'static str,
    etag: String,
    content: Vec<u8>,
    gzip: Vec<u8>,
}

impl Entry {
    fn new(path: String, content: Vec<u8>) -> Self {
        let (media_type, is_text) = media::of(&path);
        let digest = Sha256::digest(&content);
        let etag = digest
            .iter()
            .take(TAG)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let gzip = if is_text {
            compress(&content)
        } else {
            Vec::new()
        };
        Self {
            path,
            media_type,
            etag,
            content,
            gzip,
        }
    }
}

/// The gzip of `content`, or nothing where it saves less than a tenth.
fn compress(content: &[u8]) -> Vec<u8> {
    if content.len() <= LEAST {
        return Vec::new();
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let gzip = encoder
        .write_all(content)
        .and_then(|()| encoder.finish())
        .unwrap_or_default();
    if gzip.len() <= content.len() - content.len() / 10 {
        gzip
    } else {
        Vec::new()
    }
}

/// The file that holds `entries`, which are sorted; `None` when it would not fit 32 bits.
fn write(entries: &[Entry]) -> Option<Vec<u8>> {
    let count = u32::try_from(entries.len()).ok()?;
    let slots = entries.len().checked_mul(2)?.checked_next_power_of_two()?;
    let index = slots
        .checked_mul(SLOT)?
        .checked_add(entries.len().checked_mul(ENTRY)?)?;
    let mut data = Data {
        start: HEADER.checked_add(index)?,
        bytes: Vec::new(),
        texts: BTreeMap::new(),
    };
    let mut records = Vec::with_capacity(entries.len() * ENTRY);
    let mut table = vec![(0_u32, 0_u32); slots];
    for (number, entry) in (1..).zip(entries) {
        let texts =
            [entry.path.as_str(), entry.media_type, &entry.etag].map(|text| data.text(text));
        let contents = [&entry.content, &entry.gzip].map(|bytes| data.add(bytes));
        for place in texts.into_iter().chain(contents) {
            let (start, length) = place?;
            records.extend(start.to_le_bytes());
            records.extend(length.to_le_bytes());
        }
        let hash = hash(entry.path.as_bytes());
        let mut slot = hash as usize % slots;
        while table[slot].1 != 0 {
            slot = (slot + 1) % slots;
        }
        table[slot] = (hash, number);
    }
    let length = u32::try_from(data.start.checked_add(data.bytes.len())?).ok()?;
    let mut file = Vec::with_capacity(length as usize);
    file.extend(MAGIC);
    for number in [VERSION, count, u32::try_from(slots).ok()?, length] {
        file.extend(number.to_le_bytes());
    }
    for (hash, entry) in table {
        file.extend(hash.to_le_bytes());
        file.extend(entry.to_le_bytes());
    }
    file.extend(records);
    file.extend(data.bytes);
    Some(file)
}

/// The last part of the file while it grows.
struct Data<'e> {
    start: usize,
    bytes: Vec<u8>,
    /// Short texts that are there already: media types repeat, and so do tags of equal files.
    texts: BTreeMap<&'e str, (u32, u32)>,
}

impl<'e> Data<'e> {
    fn text(&mut self, text: &'e str) -> Option<(u32, u32)> {
        if let Some(place) = self.texts.get(text) {
            return Some(*place);
        }
        let place = self.add(text.as_bytes())?;
        self.texts.insert(text, place);
        Some(place)
    }

    /// Where `bytes` lie now: offset and length.
    fn add(&mut self, bytes: &[u8]) -> Option<(u32, u32)> {
        let start = u32::try_from(self.start.checked_add(self.bytes.len())?).ok()?;
        self.bytes.extend(bytes);
        Some((start, u32::try_from(bytes.len()).ok()?))
    }
}

/// Why a folder could not be packed.
#[derive(Debug)]
#[non_exhaustive]
pub enum PackError {
    /// The folder does not exist.
    Missing(PathBuf),
    /// It is a file.
    NotAFolder(PathBuf),
    /// There is nothing in it to serve.
    Empty(PathBuf),
    /// The link at the first path leads to the second, which is outside the folder.
    Outside(PathBuf, PathBuf),
    /// The link at the first path leads back to the second, a folder that it is in.
    Loop(PathBuf, PathBuf),
    /// Neither a file nor a folder.
    Special(PathBuf),
    /// The name is not UTF-8.
    Name(PathBuf),
    /// The files together are larger than 4 GiB.
    TooLarge(PathBuf),
    /// A file or folder cannot be read.
    Read(PathBuf, io::Error),
    /// The packed file cannot be written.
    Write(PathBuf, io::Error),
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => write!(
                f,
                "there is no folder {}: create it, or name another one",
                path.display()
            ),
            Self::NotAFolder(path) => {
                write!(
                    f,
                    "{} is not a folder: name the folder that it is in",
                    path.display()
                )
            }
            Self::Empty(path) => write!(
                f,
                "there is nothing to serve in {}: put a file into it (names that begin with a \
                 dot are left out)",
                path.display()
            ),
            Self::Outside(link, target) => write!(
                f,
                "{} leads to {}, outside the folder: replace the link by a copy",
                link.display(),
                target.display()
            ),
            Self::Loop(link, target) => write!(
                f,
                "{} leads back to {}, which it is in: remove the link",
                link.display(),
                target.display()
            ),
            Self::Special(path) => {
                write!(
                    f,
                    "{} is neither a file nor a folder: remove it",
                    path.display()
                )
            }
            Self::Name(path) => {
                write!(f, "the name of {} is not UTF-8: rename it", path.display())
            }
            Self::TooLarge(path) => write!(
                f,
                "the files in {} are larger than 4 GiB together: serve the large ones from a \
                 block device",
                path.display()
            ),
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for PackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, error) | Self::Write(_, error) => Some(error),
            _ => None,
        }
    }
}
