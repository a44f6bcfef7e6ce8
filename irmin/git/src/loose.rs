//! Objects that lie alone in a file. Read only: new objects go into packs.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use irmin::{Format, Id, Kind};
use irmin_packfile::Hasher;
use irmin_packfile::zlib::{Failed, Inflate};

use crate::error::{Result, corrupt, io, is_absent, optional, refused};

pub(crate) fn path_of(objects: &Path, id: &Id) -> PathBuf {
    let hex = id.to_string();
    objects.join(&hex[..2]).join(&hex[2..])
}

pub(crate) fn contains(objects: &Path, id: &Id) -> Result<bool> {
    let path = path_of(objects, id);
    let found = optional(path.metadata()).map_err(io("look at", &path))?;
    Ok(found.is_some_and(|found| found.is_file()))
}

/// The object; `None` if it does not lie here. `largest`: what is refused to be read into memory.
pub(crate) fn read(
    objects: &Path,
    format: Format,
    id: &Id,
    largest: u64,
) -> Result<Option<(Kind, Bytes)>> {
    let path = path_of(objects, id);
    let Some(file) = optional(File::open(&path)).map_err(io("open", &path))? else {
        return Ok(None);
    };
    let failed = |failed: Failed| match failed.wrong() {
        Err(error) if is_absent(&error) => corrupt(&path, "it is no file"),
        Err(error) => io("read", &path)(error),
        Ok(wrong) => corrupt(&path, wrong),
    };
    let mut stream = Inflate::new(BufReader::with_capacity(4096, file));
    let header = stream.until_nul(32).map_err(failed)?;
    let (kind, size) =
        parse_header(&header).ok_or_else(|| corrupt(&path, "its header is no object's"))?;
    if size > largest {
        return Err(too_large(id, size, largest));
    }
    let data = stream.rest(size as usize).map_err(failed)?;
    if !Hasher::is(format, id, kind, &data) {
        return Err(corrupt(&path, "its bytes have another id"));
    }
    Ok(Some((kind, data.into())))
}

fn parse_header(header: &[u8]) -> Option<(Kind, u64)> {
    let space = header.iter().position(|&byte| byte == b' ')?;
    let digits = &header[space + 1..];
    let sound = digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits[0] != b'0');
    let size = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((Kind::from_name(&header[..space])?, size)).filter(|_| sound)
}

pub(crate) fn too_large(id: &Id, size: u64, largest: u64) -> irmin::BackendError {
    refused(format_args!(
        "object {id} has {size} bytes, more than the {largest} that Options::largest_object allows"
    ))
}

/// Appends the ids that begin with these lower-case digits.
pub(crate) fn ids(objects: &Path, format: Format, prefix: &str, into: &mut Vec<Id>) -> Result<()> {
    for first in 0..=255u8 {
        let first = format!("{first:02x}");
        if !first.starts_with(&prefix[..prefix.len().min(2)]) {
            continue;
        }
        let folder = objects.join(&first);
        let Some(entries) = optional(fs::read_dir(&folder)).map_err(io("list", &folder))? else {
            continue;
        };
        for entry in entries {
            let name = entry.map_err(io("list", &folder))?.file_name();
            let hex = [first.as_bytes(), name.as_encoded_bytes()].concat();
            let id = Id::from_hex(&hex)
                .ok()
                .filter(|id| id.as_bytes().len() == format.id_len());
            into.extend(id.filter(|id| id.begins_with(prefix)));
        }
    }
    Ok(())
}

/// Marks the file as just used, so that `git prune` leaves it for its two weeks of grace. Whether
/// there was one.
pub(crate) fn freshen(objects: &Path, id: &Id) -> bool {
    crate::file::touch(&path_of(objects, id))
}
