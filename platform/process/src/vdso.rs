//! Functions that the kernel lends to a process: the vDSO is a shared library in its memory.

use core::slice;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const SYMBOL: usize = 24;
const PAGE: usize = 4096;

/// Types of program headers.
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;

/// Tags of the dynamic section (gABI; `DT_GNU_HASH` is a GNU extension).
const STRINGS: u64 = 5;
const SYMBOLS: u64 = 6;
const GNU_HASH: u64 = 0x6fff_fef5;

/// The address of a function of the vDSO that lies at `base` (auxiliary value `AT_SYSINFO_EHDR`).
///
/// # Safety
///
/// A vDSO does lie there, or `base` is 0.
pub(crate) unsafe fn function(base: usize, name: &[u8]) -> Option<usize> {
    if base == 0 {
        return None;
    }
    // SAFETY: the kernel maps whole pages, so the first one is there.
    let page = unsafe { slice::from_raw_parts(base as *const u8, PAGE) };
    let len = loaded_len(page)?;
    // SAFETY: the kernel mapped as much as the program header says.
    let image = unsafe { slice::from_raw_parts(base as *const u8, len) };
    base.checked_add(find(image, name)?)
}

/// The length of the one segment that is loaded, which starts with the header.
fn loaded_len(page: &[u8]) -> Option<usize> {
    let (header, offset) = program_headers(page)?.find(|(header, _)| kind(header) == Some(LOAD))?;
    let len = usize::try_from(word(header, 40)?).ok()?;
    (offset == 0).then_some(len)
}

/// The offset of a function in the loaded image.
///
/// Every offset below is the image's own; nothing is taken at its word.
fn find(image: &[u8], name: &[u8]) -> Option<usize> {
    let (header, offset) =
        program_headers(image)?.find(|(header, _)| kind(header) == Some(DYNAMIC))?;
    let len = usize::try_from(word(header, 40)?).ok()?;
    let dynamic = image.get(offset..offset.checked_add(len)?)?;
    let entry = |tag| {
        let found = dynamic
            .chunks_exact(16)
            .find(|entry| word(entry, 0) == Some(tag))?;
        image.get(usize::try_from(word(found, 8)?).ok()?..)
    };
    let (symbols, strings, table) = (entry(SYMBOLS)?, entry(STRINGS)?, entry(GNU_HASH)?);

    // The GNU hash table: four words, a Bloom filter of 64-bit words, the buckets, the chains.
    let [buckets, first, filter] = [0, 4, 8].map(|at| half(table, at).map(|n| n as usize));
    let (buckets, first, filter) = (buckets?, first?, filter?);
    let table = table.get(16..)?.get(filter.checked_mul(8)?..)?;
    let hash = gnu_hash(name);
    let bucket = (hash as usize).checked_rem(buckets)?;
    let chains = table.get(buckets.checked_mul(4)?..)?;
    let mut index = half(table, bucket.checked_mul(4)?)? as usize;
    // Ends: the chains do, at the latest with the image.
    loop {
        let link = half(chains, index.checked_sub(first)?.checked_mul(4)?)?;
        if link | 1 == hash | 1 {
            let symbol = symbols.get(index.checked_mul(SYMBOL)?..)?;
            let text = strings.get(half(symbol, 0)? as usize..)?;
            if text
                .strip_prefix(name)
                .is_some_and(|rest| rest.first() == Some(&0))
            {
                let value = usize::try_from(word(symbol, 8)?).ok()?;
                return (value < image.len()).then_some(value);
            }
        }
        if link & 1 == 1 {
            return None;
        }
        index += 1;
    }
}

/// The program headers, each with its offset in the loaded image.
fn program_headers(image: &[u8]) -> Option<impl Iterator<Item = (&[u8], usize)>> {
    if image.get(..6)? != b"\x7fELF\x02\x01" || image.len() < HEADER {
        return None;
    }
    let count = u16::from_le_bytes(image.get(56..58)?.try_into().ok()?);
    let headers = image.get(usize::try_from(word(image, 32)?).ok()?..)?;
    let headers = headers.chunks_exact(PROGRAM_HEADER).take(count.into());
    Some(headers.filter_map(|header| Some((header, usize::try_from(word(header, 16)?).ok()?))))
}

fn kind(program_header: &[u8]) -> Option<u32> {
    half(program_header, 0)
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, &byte| {
        hash.wrapping_mul(33).wrapping_add(byte.into())
    })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// This process's own vDSO.
    fn vdso() -> Vec<u8> {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.ends_with("[vdso]")).unwrap();
        let (start, rest) = line.split_once('-').unwrap();
        let (end, _) = rest.split_once(' ').unwrap();
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        // SAFETY: the kernel says that these pages are mapped.
        unsafe { slice::from_raw_parts(start as *const u8, end - start) }.to_vec()
    }

    #[test]
    fn the_functions_of_the_real_vdso_are_found() {
        let image = vdso();
        let len = loaded_len(&image).unwrap();
        assert!(len <= image.len());
        let clock = find(&image[..len], b"__vdso_clock_gettime").unwrap();
        let time = find(&image[..len], b"__vdso_time").unwrap();
        assert!(clock != 0 && time != 0 && clock != time);
        assert_eq!(find(&image[..len], b"__vdso_clock_gettim"), None);
        assert_eq!(find(&image[..len], b"__vdso_clock_gettimes"), None);
    }

    #[test]
    fn what_is_no_elf_file_has_no_functions() {
        assert_eq!(find(&[], b"f"), None);
        assert_eq!(find(&[0; 4096], b"f"), None);
        assert_eq!(loaded_len(&[0; 4096]), None);
    }

    proptest! {
        #[test]
        fn a_vdso_with_bytes_changed_or_missing_never_panics(
            changes in proptest::collection::vec((0usize..2048, any::<u8>()), 1..20),
            len in 0usize..8192,
        ) {
            let mut image = vdso();
            for (at, byte) in changes {
                image[at] = byte;
            }
            image.truncate(len);
            let _ = loaded_len(&image);
            if let Some(offset) = find(&image, b"__vdso_clock_gettime") {
                prop_assert!(offset < image.len());
            }
        }
    }
}
