//! An image without what only a debugger reads.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const HEADER: usize = 64;

/// Writes `from` to `to` without symbols, debug information and section headers: what a program
/// header loads or names stays, byte for byte, where it is.
///
/// # Errors
///
/// `InvalidData` when `from` is not a 64-bit little-endian ELF file.
pub fn strip(from: &Path, to: &Path) -> io::Result<()> {
    let bytes = fs::read(from)?;
    let stripped = stripped(bytes).ok_or_else(|| {
        let why = format!("{} is not an ELF file of this machine", from.display());
        io::Error::new(io::ErrorKind::InvalidData, why)
    })?;
    replace(to, |new| {
        fs::write(new, stripped)?;
        fs::set_permissions(new, fs::metadata(from)?.permissions())
    })
}

/// Puts a file made by `make` in the place of `to`, at once: a running product keeps its own, and
/// of several tools that do this at a time the last one's stays.
pub fn replace(to: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let new = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?
        .into_temp_path();
    make(&new)?;
    new.persist(to)?;
    Ok(())
}

fn stripped(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let magic = b"\x7fELF\x02\x01";
    let header = bytes
        .get(..HEADER)
        .filter(|header| header.starts_with(magic))?;
    let table = usize::try_from(u64::from_le_bytes(array(header, 0x20)?)).ok()?;
    let entry = usize::from(u16::from_le_bytes(array(header, 0x36)?));
    let count = usize::from(u16::from_le_bytes(array(header, 0x38)?));
    let mut end = table.checked_add(entry.checked_mul(count)?)?;
    for at in 0..count {
        let from = table.checked_add(at.checked_mul(entry)?)?;
        let header = bytes.get(from..from.checked_add(entry)?)?;
        let offset = u64::from_le_bytes(array(header, 0x08)?);
        let size = u64::from_le_bytes(array(header, 0x20)?);
        end = end.max(usize::try_from(offset.checked_add(size)?).ok()?);
    }
    if end > bytes.len() {
        return None;
    }
    bytes.truncate(end);
    // e_shoff, and e_shentsize, e_shnum and e_shstrndx: no section headers.
    bytes.get_mut(0x28..0x30)?.fill(0);
    bytes.get_mut(0x3a..0x40)?.fill(0);
    Some(bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, one program header that loads `loaded` bytes, and `rest` bytes after it.
    fn elf(loaded: usize, rest: usize) -> Vec<u8> {
        let mut bytes = vec![0xaa; HEADER + 56 + loaded + rest];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[0x20..0x28].copy_from_slice(&64_u64.to_le_bytes());
        bytes[0x36..0x38].copy_from_slice(&56_u16.to_le_bytes());
        bytes[0x38..0x3a].copy_from_slice(&1_u16.to_le_bytes());
        bytes[HEADER + 0x08..][..8].copy_from_slice(&120_u64.to_le_bytes());
        bytes[HEADER + 0x20..][..8].copy_from_slice(&(loaded as u64).to_le_bytes());
        bytes
    }

    #[test]
    fn many_tools_at_a_time_may_replace_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("product");
        let make = |new: &Path| fs::write(new, [7; 5000]);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..50).for_each(|_| replace(&to, make).unwrap()));
            }
        });
        assert_eq!(fs::read(&to).unwrap(), [7; 5000]);
        let error = replace(&to, |_| Err(io::ErrorKind::StorageFull.into()));
        assert!(error.is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_loaded_stays_and_the_rest_goes() {
        let stripped = stripped(elf(100, 50)).unwrap();
        assert_eq!(stripped.len(), HEADER + 56 + 100);
        assert_eq!(stripped[0x28..0x30], [0; 8]);
        assert_eq!(stripped[0x3a..0x40], [0; 6]);
        assert_eq!(stripped[120..], [0xaa; 100]);
    }

    #[test]
    fn a_file_that_is_cut_off_or_no_elf_is_refused() {
        let whole = elf(100, 0);
        for len in 0..whole.len() {
            assert_eq!(super::stripped(whole[..len].to_vec()), None, "{len}");
        }
        assert_eq!(super::stripped(vec![0; 200]), None);
    }

    proptest::proptest! {
        #[test]
        fn what_program_headers_name_stays_where_it_is(
            segments in proptest::collection::vec((0..500_u64, 0..500_u64), 0..5),
            length in 64..900_usize,
            noise in proptest::collection::vec((0..900_usize, proptest::num::u8::ANY), 0..4),
        ) {
            let mut bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            bytes[0x20..0x28].copy_from_slice(&64_u64.to_le_bytes());
            bytes[0x36..0x38].copy_from_slice(&56_u16.to_le_bytes());
            bytes[0x38..0x3a].copy_from_slice(&(segments.len() as u16).to_le_bytes());
            for (entry, (offset, size)) in bytes[64..].chunks_exact_mut(56).zip(&segments) {
                entry[0x08..0x10].copy_from_slice(&offset.to_le_bytes());
                entry[0x20..0x28].copy_from_slice(&size.to_le_bytes());
            }
            for (at, byte) in noise {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if let Some(stripped) = stripped(bytes.clone()) {
                let sections = |at: &usize| (0x28..0x30).contains(at) || (0x3a..0x40).contains(at);
                for at in (0..stripped.len()).filter(|at| !sections(at)) {
                    assert_eq!(stripped[at], bytes[at], "byte {at}");
                }
                let field = |at: usize, len: usize| {
                    let bytes = stripped[at..at + len].iter().rev();
                    bytes.fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)) as usize
                };
                let (table, entry, count) = (field(0x20, 8), field(0x36, 2), field(0x38, 2));
                for at in (0..count).map(|number| table + number * entry) {
                    assert!(field(at + 0x08, 8) + field(at + 0x20, 8) <= stripped.len());
                }
                assert_eq!(super::stripped(stripped.clone()), Some(stripped));
            }
        }
    }
}
