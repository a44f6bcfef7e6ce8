//! How similar two files are, as Git estimates it: by how many bytes stand in pieces that both have.

use alloc::vec::Vec;

/// Equal files. Half of it makes a rename (`diff.renames`' 50 %).
pub(super) const ALIKE: u32 = 60_000;

/// A piece ends with its line, or after so many bytes.
const PIECE_MAX: u32 = 64;
/// Pieces are told apart by a number below this prime.
const NUMBERS: u32 = 107_927;
/// How far is looked for a NUL to tell that a file is no text.
const LOOKED_AT: usize = 8000;

/// A file by its pieces.
pub(super) struct Pieces {
    size: u64,
    /// The numbers of its pieces in order, each once, and how many bytes stand in such pieces.
    bytes: Vec<(u32, u32)>,
}

impl Pieces {
    pub(super) fn new(contents: &[u8]) -> Pieces {
        let is_text = !contents[..contents.len().min(LOOKED_AT)].contains(&0);
        let mut pieces = Vec::new();
        let (mut low, mut high, mut length) = (0u32, 0u32, 0u32);
        let number = |low: u32, high: u32| low.wrapping_add(high.wrapping_mul(0x61)) % NUMBERS;
        for (at, &byte) in contents.iter().enumerate() {
            // A text may have been written with another end of line.
            if is_text && byte == b'\r' && contents.get(at + 1) == Some(&b'\n') {
                continue;
            }
            let old_low = low;
            low = ((low << 7) ^ (high >> 25)).wrapping_add(u32::from(byte));
            high = (high << 7) ^ (old_low >> 25);
            length += 1;
            if length == PIECE_MAX || byte == b'\n' {
                pieces.push((number(low, high), length));
                (low, high, length) = (0, 0, 0);
                // So that a large file takes no more room than it has different pieces.
                if pieces.len() > 2 * NUMBERS as usize {
                    join(&mut pieces);
                }
            }
        }
        if length > 0 {
            pieces.push((number(low, high), length));
        }
        join(&mut pieces);
        pieces.shrink_to_fit();
        Pieces {
            size: contents.len() as u64,
            bytes: pieces,
        }
    }

    /// How many pieces there are to compare.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the sizes allow a similarity of so much.
    pub(super) fn may_be(&self, least: u32, new: &Pieces) -> bool {
        let (longer, shorter) = (self.size.max(new.size), self.size.min(new.size));
        let all = u64::from(ALIKE);
        longer > 0 && longer * (all - u64::from(least)) >= (longer - shorter) * all
    }

    /// From 0 to [`ALIKE`].
    pub(super) fn similarity(&self, new: &Pieces) -> u32 {
        let longer = self.size.max(new.size).max(1);
        let mut common = 0u64;
        let mut others = new.bytes.iter().peekable();
        for (number, bytes) in &self.bytes {
            while others.next_if(|other| other.0 < *number).is_some() {}
            if let Some(other) = others.next_if(|other| other.0 == *number) {
                common += u64::from(*bytes.min(&other.1));
            }
        }
        // In no more pieces than the longer one has bytes.
        (common * u64::from(ALIKE) / longer) as u32
    }
}

/// Sorts pieces and adds up those with the same number.
fn join(pieces: &mut Vec<(u32, u32)>) {
    pieces.sort_unstable();
    pieces.dedup_by(|next, last| {
        let is_same = next.0 == last.0;
        if is_same {
            last.1 = last.1.saturating_add(next.1);
        }
        is_same
    });
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    /// As `git diff --find-renames` prints it.
    fn percent(old: &str, new: &str) -> u32 {
        let [old, new] = [old, new].map(|text| Pieces::new(text.as_bytes()));
        match old.may_be(ALIKE / 2, &new) {
            true => old.similarity(&new) * 100 / ALIKE,
            false => 0,
        }
    }

    #[test]
    fn files_are_as_similar_as_they_have_bytes_in_common_lines() {
        assert_eq!(percent("one\ntwo\n", "one\ntwo\n"), 100);
        assert_eq!(percent("one\ntwo\n", "two\none\n"), 100);
        assert_eq!(percent("one\ntwo\n", "one\nsix\n"), 50);
        assert_eq!(percent("one\r\ntwo\r\n", "one\ntwo\n"), 80);
        assert_eq!(
            percent("one\n", "one\ntwo\nsix\n"),
            0,
            "three times as long"
        );
        assert_eq!(percent("", ""), 0);
        let long: Vec<String> = (0..250_000).map(|n| alloc::format!("{n}\n")).collect();
        assert_eq!(percent(&long.concat(), &long[1000..].concat()), 99);
    }
}
