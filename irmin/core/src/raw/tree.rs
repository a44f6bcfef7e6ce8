//! Git's trees.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{Malformed, malformed};
use crate::{Format, Id, Kind};

/// What an entry of a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A file.
    File,
    /// A file that can be executed.
    Executable,
    /// A symbolic link; the blob is its target.
    Link,
    /// A commit of another repository (a Git submodule).
    Module,
    /// A directory.
    Dir,
}

impl Mode {
    /// The digits with which Git writes it.
    pub fn digits(self) -> &'static str {
        match self {
            Mode::File => "100644",
            Mode::Executable => "100755",
            Mode::Link => "120000",
            Mode::Module => "160000",
            Mode::Dir => "40000",
        }
    }

    /// What these octal digits mean, by the rules of Git's `canon_mode`: old trees hold modes such
    /// as `100664` and `040000`. `None` if they are no mode.
    pub fn from_digits(digits: &[u8]) -> Option<Mode> {
        if digits.is_empty() || digits.len() > 7 {
            return None;
        }
        let mode = digits.iter().try_fold(0u32, |mode, &digit| {
            (b'0'..=b'7')
                .contains(&digit)
                .then(|| mode << 3 | u32::from(digit - b'0'))
        })?;
        match mode & 0o170_000 {
            0o100_000 => Some(if mode & 0o100 != 0 {
                Mode::Executable
            } else {
                Mode::File
            }),
            0o120_000 => Some(Mode::Link),
            0o040_000 => Some(Mode::Dir),
            0o160_000 => Some(Mode::Module),
            _ => None,
        }
    }
}

/// One entry of a Git tree, as it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeEntry<'a> {
    /// What it is.
    pub mode: Mode,
    /// The name: any bytes but NUL and `/`.
    pub name: &'a [u8],
    /// The object.
    pub id: Id,
    /// The whole entry, verbatim: digits, space, name, NUL, id.
    pub bytes: &'a [u8],
}

/// Reads the entries of a tree one after the other. Checks each, not their order.
pub struct TreeEntries<'a> {
    rest: &'a [u8],
    id_len: usize,
}

impl<'a> TreeEntries<'a> {
    /// The entries of this tree.
    pub fn new(format: Format, data: &'a [u8]) -> TreeEntries<'a> {
        TreeEntries {
            rest: data,
            id_len: format.id_len(),
        }
    }

    fn entry(&mut self) -> Result<TreeEntry<'a>, Malformed> {
        let rest = self.rest;
        // At most seven digits: no search through the whole tree.
        let Some(space) = rest.iter().take(8).position(|&b| b == b' ') else {
            return malformed(Kind::Tree, "an entry has no mode");
        };
        let Some(mode) = Mode::from_digits(&rest[..space]) else {
            return malformed(Kind::Tree, "an entry's mode is none that Git knows");
        };
        let name_on = &rest[space + 1..];
        let Some(nul) = name_on.iter().position(|&b| b == 0) else {
            return malformed(Kind::Tree, "an entry's name has no end");
        };
        let name = &name_on[..nul];
        if name.is_empty() || name.contains(&b'/') {
            return malformed(Kind::Tree, "an entry's name is empty or holds a slash");
        }
        let end = space + 1 + nul + 1 + self.id_len;
        let Some(id) = rest.get(end - self.id_len..end).and_then(Id::from_bytes) else {
            return malformed(Kind::Tree, "its last entry is cut off");
        };
        self.rest = &rest[end..];
        Ok(TreeEntry {
            mode,
            name,
            id,
            bytes: &rest[..end],
        })
    }
}

impl<'a> Iterator for TreeEntries<'a> {
    type Item = Result<TreeEntry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

/// Git's order in a tree: by the bytes of the name, a directory's as if it ended in `/`.
pub fn git_order(a: &[u8], a_is_dir: bool, b: &[u8], b_is_dir: bool) -> Ordering {
    let common = a.len().min(b.len());
    let after = |name: &[u8], is_dir: bool| {
        name.get(common)
            .copied()
            .unwrap_or(if is_dir { b'/' } else { 0 })
    };
    a[..common]
        .cmp(&b[..common])
        .then_with(|| after(a, a_is_dir).cmp(&after(b, b_is_dir)))
        .then(a.len().cmp(&b.len()))
}

/// Appends an entry to a tree's bytes. Entries must come in [`git_order`].
pub fn push_entry(into: &mut Vec<u8>, mode: Mode, name: &[u8], id: &Id) {
    into.extend_from_slice(mode.digits().as_bytes());
    into.push(b' ');
    into.extend_from_slice(name);
    into.push(0);
    into.extend_from_slice(id.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_modes_are_understood_and_kept() {
        let id = Format::GitSha1.id(Kind::Blob, b"").unwrap();
        let mut tree = Vec::new();
        for (digits, mode) in [
            ("100644", Mode::File),
            ("100664", Mode::File),
            ("100775", Mode::Executable),
            ("040000", Mode::Dir),
            ("40000", Mode::Dir),
            ("120000", Mode::Link),
            ("160000", Mode::Module),
        ] {
            tree.extend_from_slice(digits.as_bytes());
            tree.extend_from_slice(b" n\0");
            tree.extend_from_slice(id.as_bytes());
            let last = TreeEntries::new(Format::GitSha1, &tree)
                .last()
                .unwrap()
                .unwrap();
            assert_eq!((last.mode, last.name, last.id), (mode, &b"n"[..], id));
            assert!(last.bytes.starts_with(digits.as_bytes()));
        }
        for cut in 1..28 {
            assert!(
                TreeEntries::new(Format::GitSha1, &tree[..cut]).any(|entry| entry.is_err())
                    || cut == 27
            );
        }
        assert!(
            TreeEntries::new(Format::GitSha1, b"777777777 ")
                .next()
                .unwrap()
                .is_err()
        );
    }

    #[test]
    fn a_directory_sorts_as_if_its_name_ended_in_a_slash() {
        assert_eq!(git_order(b"a", true, b"a.c", false), Ordering::Greater);
        assert_eq!(git_order(b"a", false, b"a.c", false), Ordering::Less);
        assert_eq!(git_order(b"a", true, b"a0", false), Ordering::Less);
        assert_eq!(git_order(b"a", true, b"a", false), Ordering::Greater);
        assert_eq!(git_order(b"ab", true, b"a", true), Ordering::Greater);
    }
}
