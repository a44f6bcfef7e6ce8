//! Git's filters of changed paths (gitformat-commit-graph(5), the chunks BIDX and BDAT): of each commit
//! some bits by which most paths are known not to differ from what they are in its first parent.

use std::collections::HashSet;
use std::io;

use bytes::Bytes;
use irmin::PathKey;

use crate::config::Config;
use crate::source::Source;

/// How filters are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// 1 or 2: how bytes over 127 count.
    pub(crate) version: u32,
    /// How many bits are set for a path.
    pub(crate) hashes: u32,
    /// How many bits there are for each path.
    pub(crate) bits: u32,
}

impl Settings {
    /// What Git takes unless it is told otherwise.
    pub(crate) const USUAL: Settings = Settings {
        version: 1,
        hashes: 7,
        bits: 10,
    };
}

/// A commit that changes more is said to change everything.
pub(crate) const MOST_PATHS: usize = 512;
/// More bits for a path than anybody sets.
const MOST_HASHES: u32 = 64;
/// A longer filter is not looked at.
const MOST_BYTES: u32 = 64 << 10;
const HEADER: u64 = 12;

/// The only version of filters that the configuration allows (`commitGraph.changedPathsVersion`,
/// `commitGraph.readChangedPaths`): 0 for none, `None` for all.
pub(crate) fn version_wanted(config: &Config) -> Option<u32> {
    let wanted = config.get("commitgraph.changedpathsversion");
    match wanted.and_then(|version| version.parse::<i32>().ok()) {
        Some(version) => u32::try_from(version).ok(),
        None => (config.bool("commitgraph.readchangedpaths") == Some(false)).then_some(0),
    }
}

/// The filters of one file.
pub(crate) struct Filters {
    pub(crate) settings: Settings,
    /// Where each one ends.
    ends: Source,
    data: Source,
}

impl Filters {
    /// Filters of so many commits, from the chunks' places and lengths; `None` if they are of a kind
    /// that is not known here, or the chunks do not fit: as in Git they are not used then.
    pub(crate) fn new(
        file: &Source,
        ends: (u64, u64),
        data: (u64, u64),
        count: u32,
    ) -> Option<Filters> {
        if ends.1 != 4 * u64::from(count) || data.1 < HEADER {
            return None;
        }
        let number = |at| file.u32(data.0 + at).ok();
        let settings = Settings {
            version: number(0)?,
            hashes: number(4)?,
            bits: number(8)?,
        };
        let is_known =
            matches!(settings.version, 1 | 2) && (1..=MOST_HASHES).contains(&settings.hashes);
        is_known.then(|| Filters {
            settings,
            ends: file.part(ends.0, ends.1, BLOCK),
            data: file.part(data.0 + HEADER, data.1 - HEADER, BLOCK),
        })
    }

    /// The filter of the commit of this row; `None` if there is none that can be used.
    pub(crate) fn get(&self, row: u32) -> io::Result<Option<Bytes>> {
        let start = match row.checked_sub(1) {
            Some(before) => self.ends.u32(4 * u64::from(before))?,
            None => 0,
        };
        let length = self.ends.u32(4 * u64::from(row))?.checked_sub(start);
        let Some(length) = length.filter(|length| (1..=MOST_BYTES).contains(length)) else {
            return Ok(None);
        };
        if u64::from(start) + u64::from(length) > self.data.len() {
            return Ok(None);
        }
        self.data.read(u64::from(start), length as usize).map(Some)
    }

    /// Whether the commit of this row may have changed what stands at a path.
    pub(crate) fn may_change(&self, row: u32, key: &PathKey) -> io::Result<bool> {
        let Some(filter) = self.get(row)? else {
            return Ok(true);
        };
        // A path changes together with all directories that it is in.
        let mut names = key.0.iter();
        Ok(names.all(|name| is_in(&filter, *name, self.settings)))
    }
}

const BLOCK: u64 = 16 << 10;

/// The bits of a name in a filter of so many bytes.
fn bits(name: u64, hashes: u32, bytes: usize) -> impl Iterator<Item = (usize, u8)> {
    let (first, step) = ((name >> 32) as u32, name as u32);
    (0..hashes).map(move |n| {
        let hash = first.wrapping_add(n.wrapping_mul(step));
        let at = u64::from(hash) % (bytes as u64 * 8);
        ((at / 8) as usize, 1 << (at % 8))
    })
}

/// The two hashes of a path.
fn hash(path: &[u8], version: u32) -> u64 {
    let [first, step] = [0x293a_e76f, 0x7e64_6e2c].map(|seed| murmur3(seed, path, version));
    u64::from(first) << 32 | u64::from(step)
}

/// What finds a path, and all directories it is in, in filters; `None` if they do not tell. Bytes over
/// 127 count differently in filters of version 1 from machine to machine.
pub(crate) fn key(path: &[u8], version: u32) -> Option<PathKey> {
    if path.is_empty() || (version == 1 && !path.is_ascii()) {
        return None;
    }
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    let dirs = slashes.map(|(at, _)| &path[..at]);
    Some(PathKey(
        std::iter::once(path)
            .chain(dirs)
            .map(|path| hash(path, version))
            .collect(),
    ))
}

/// MurmurHash3 of 32 bits. In version 1 bytes are signed, as `char` is on most machines.
fn murmur3(seed: u32, data: &[u8], version: u32) -> u32 {
    let byte = |byte: u8| match version {
        1 => byte as i8 as u32,
        _ => u32::from(byte),
    };
    let mixed = |number: u32| {
        number
            .wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    };
    let mut hash = seed;
    let mut fours = data.chunks_exact(4);
    for four in &mut fours {
        let number = byte(four[0]) | byte(four[1]) << 8 | byte(four[2]) << 16 | byte(four[3]) << 24;
        hash = (hash ^ mixed(number))
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    let rest = fours.remainder();
    if !rest.is_empty() {
        let number = rest
            .iter()
            .rev()
            .fold(0, |number: u32, last| number << 8 ^ byte(*last));
        hash ^= mixed(number);
    }
    hash ^= data.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// Appends the filter of a commit that changed these paths, and the directories they are in, which are
/// among them; `None`: too many to tell.
pub(crate) fn push(paths: Option<&HashSet<Vec<u8>>>, settings: Settings, out: &mut Vec<u8>) {
    let Some(paths) = paths else {
        return out.push(0xff);
    };
    let start = out.len();
    let bytes = (paths.len() * settings.bits as usize).div_ceil(8).max(1);
    out.resize(start + bytes, 0);
    for path in paths {
        let name = hash(path, settings.version);
        bits(name, settings.hashes, bytes).for_each(|(at, bit)| out[start + at] |= bit);
    }
}

/// Whether a filter tells of all these paths; `None` for any path.
pub(crate) fn tells(filter: &[u8], paths: Option<&HashSet<Vec<u8>>>, settings: Settings) -> bool {
    let Some(paths) = paths else {
        return filter.iter().all(|byte| *byte == 0xff);
    };
    paths
        .iter()
        .all(|path| is_in(filter, hash(path, settings.version), settings))
}

/// Whether a filter may tell of a name.
fn is_in(filter: &[u8], name: u64, settings: Settings) -> bool {
    bits(name, settings.hashes, filter.len()).all(|(at, bit)| filter[at] & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_git() {
        // From Git's own tests (t0095-bloom).
        for (text, expected) in [
            (&b""[..], 0),
            (b"Hello world!", 0x627b_0c2c),
            (b"The quick brown fox jumps over the lazy dog", 0x2e4f_f723),
            (b"\x99\xaa\xbb\xcc\xdd\xee\xff", 0xa183_ccfd),
        ] {
            assert_eq!(murmur3(0, text, 2), expected);
            assert_eq!(murmur3(0, text, 1) == expected, text.is_ascii());
        }
        let mut filter = Vec::new();
        let paths = HashSet::from([b"file.txt".to_vec()]);
        push(Some(&paths), Settings::USUAL, &mut filter);
        assert_eq!(filter, [0xa5, 0x4a]);
    }
}
