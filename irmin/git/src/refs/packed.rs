//! `packed-refs`: many names in one file.

use std::path::Path;
use std::sync::Arc;

use irmin::{Format, Id};

use crate::error::{Result, corrupt, io, optional};
use crate::file::Stamp;

/// What the file says. Names are kept as bytes: one that we cannot use is written back all the same.
pub(super) struct Packed {
    stamp: Option<Stamp>,
    /// Whether the line of each tag says what it leads to (` fully-peeled`).
    peeled: bool,
    /// By name.
    pub(super) lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: Box<[u8]>,
    pub(super) id: Id,
    /// What an annotated tag leads to.
    pub(super) peeled: Option<Id>,
}

/// A name with its new id and what that leads to; `None`: the name goes.
pub(super) type NewLine<'a> = (&'a str, Option<(Id, Option<Id>)>);

impl Packed {
    /// The file, read anew only if it is another than `last`.
    pub(super) fn read_if_changed(
        path: &Path,
        format: Format,
        last: Option<&Arc<Packed>>,
    ) -> Result<Arc<Packed>> {
        let stamp = Stamp::of(path)?;
        if let Some(last) = last.filter(|last| last.stamp == stamp) {
            return Ok(last.clone());
        }
        let bytes = optional(std::fs::read(path)).map_err(io("read", path))?;
        // A look before the read: what changes in between is read again the next time.
        Packed::parse(&bytes.unwrap_or_default(), format)
            .map(|packed| Arc::new(Packed { stamp, ..packed }))
            .map_err(|line| corrupt(path, format_args!("line {line} is no name with its id")))
    }

    fn parse(bytes: &[u8], format: Format) -> std::result::Result<Packed, usize> {
        let digits = 2 * format.id_len();
        let id = |hex: &[u8]| Id::from_hex(hex).ok().filter(|_| hex.len() == digits);
        let mut packed = Packed {
            stamp: None,
            peeled: bytes.is_empty(),
            lines: Vec::new(),
        };
        let mut sorted = true;
        for (number, line) in (1usize..).zip(bytes.split_inclusive(|&byte| byte == b'\n')) {
            let line = line.strip_suffix(b"\n").ok_or(number)?;
            if line.starts_with(b"#") {
                let traits = String::from_utf8_lossy(line);
                packed.peeled |= traits.split(' ').any(|word| word == "fully-peeled");
            } else if let Some(hex) = line.strip_prefix(b"^") {
                let last = packed.lines.last_mut().ok_or(number)?;
                last.peeled = Some(id(hex).ok_or(number)?);
            } else {
                let (hex, name) = line.split_at_checked(digits).ok_or(number)?;
                let name = name
                    .strip_prefix(b" ")
                    .filter(|name| !name.is_empty())
                    .ok_or(number)?;
                let id = id(hex).ok_or(number)?;
                sorted &= packed.lines.last().is_none_or(|last| *last.name < *name);
                packed.lines.push(Line {
                    name: name.into(),
                    id,
                    peeled: None,
                });
            }
        }
        if !sorted {
            packed.lines.sort_by(|a, b| a.name.cmp(&b.name));
            // Of two lines of one name the last counts.
            packed.lines.reverse();
            packed.lines.dedup_by(|a, b| a.name == b.name);
            packed.lines.reverse();
        }
        Ok(packed)
    }

    pub(super) fn get(&self, name: &str) -> Option<Id> {
        let at = self.place(name).ok()?;
        Some(self.lines[at].id)
    }

    fn place(&self, name: &str) -> std::result::Result<usize, usize> {
        self.lines
            .binary_search_by(|line| (*line.name).cmp(name.as_bytes()))
    }

    /// The lines whose names begin so.
    pub(super) fn under(&self, prefix: &str) -> &[Line] {
        let start = self
            .lines
            .partition_point(|line| *line.name < *prefix.as_bytes());
        let rest = &self.lines[start..];
        let end = rest.partition_point(|line| line.name.starts_with(prefix.as_bytes()));
        &rest[..end]
    }

    /// The bytes of the file with these names changed (`None`: gone).
    pub(super) fn with(&self, changes: &[NewLine]) -> Vec<u8> {
        let mut lines = self.lines.clone();
        for (name, new) in changes {
            let at = lines.binary_search_by(|line| (*line.name).cmp(name.as_bytes()));
            match (at, new) {
                (Ok(at), None) => drop(lines.remove(at)),
                (Err(_), None) => {}
                (at, Some((id, peeled))) => {
                    let name = name.as_bytes().into();
                    let line = Line {
                        name,
                        id: *id,
                        peeled: *peeled,
                    };
                    match at {
                        Ok(at) => lines[at] = line,
                        Err(at) => lines.insert(at, line),
                    }
                }
            }
        }
        let peeled = if self.peeled {
            "peeled fully-peeled "
        } else {
            ""
        };
        let mut out = format!("# pack-refs with: {peeled}sorted \n").into_bytes();
        for line in lines {
            out.extend_from_slice(&line.id.to_hex());
            out.push(b' ');
            out.extend_from_slice(&line.name);
            out.push(b'\n');
            if let Some(peeled) = line.peeled.filter(|_| self.peeled) {
                out.push(b'^');
                out.extend_from_slice(&peeled.to_hex());
                out.push(b'\n');
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";
    const B: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn parse(text: &str) -> std::result::Result<Packed, usize> {
        Packed::parse(text.as_bytes(), Format::GitSha1)
    }

    #[test]
    fn names_that_did_not_change_are_written_back() {
        let text = format!(
            "# pack-refs with: peeled fully-peeled sorted \n{A} refs/heads/../odd\n{A} refs/heads/a\n{B} refs/tags/t\n^{A}\n"
        );
        let packed = parse(&text).unwrap();
        assert_eq!(packed.with(&[("refs/heads/none", None)]), text.as_bytes());
        assert_eq!(packed.get("refs/tags/t").unwrap().to_string(), B);
        assert_eq!(packed.under("refs/heads/").len(), 2);
        let b = B.parse().unwrap();
        let new = packed.with(&[("refs/heads/a", None), ("refs/heads/b", Some((b, None)))]);
        let new = parse(&String::from_utf8(new).unwrap()).unwrap();
        assert_eq!(
            (new.get("refs/heads/a"), new.get("refs/heads/b")),
            (None, Some(b))
        );
        assert_eq!(new.lines.len(), 3);
    }

    #[test]
    fn old_and_broken_files_are_told_apart() {
        let old = parse(&format!(
            "{B} refs/heads/z\n{A} refs/heads/a\n{B} refs/heads/a\n"
        ))
        .unwrap();
        assert_eq!(old.lines.len(), 2);
        assert_eq!(old.get("refs/heads/a").unwrap().to_string(), B);
        assert!(!String::from_utf8(old.with(&[])).unwrap().contains("peeled"));
        for (broken, line) in [
            (format!("{A} refs/heads/a"), 1),
            (format!("{A} refs/heads/a\n{A}\n"), 2),
            (format!("{A}  \n"), 0),
            (format!("^{A}\n"), 1),
            ("x refs/heads/a\n".into(), 1),
        ] {
            assert_eq!(parse(&broken).err().unwrap_or(0), line, "{broken}");
        }
    }
}
