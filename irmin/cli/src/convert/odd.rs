//! What Git has and a native store does not, kept in headers of native commits, so that it comes
//! back: modes as old programs wrote them, directories without entries, and the parents of commits
//! at which a history is cut off.

use std::collections::BTreeMap;
use std::sync::Arc;

use irmin::raw::{CommitData, Mode};
use irmin::{Id, Path};

/// Modes and empty directories: lines of digits, a space and a path.
const TREE: &[u8] = b"irmin-git-tree";
/// The parents that are not here: ids with spaces between.
const PARENTS: &[u8] = b"irmin-git-parents";
/// Bytes that such a header may have.
const LONGEST: usize = 1 << 20;

/// What is odd in a directory, by names. Nothing else is in it, and nothing for naught.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Odd(pub BTreeMap<Vec<u8>, Name>);

/// What is odd of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Name {
    /// Its mode, if it is written in another way than today's, or is that of a directory that has
    /// nothing in it that a native store keeps.
    pub digits: Option<Vec<u8>>,
    /// What is odd below it.
    pub below: Arc<Odd>,
}

impl Odd {
    /// Whether there is nothing odd.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds this to the headers of a commit; what is wrong if it cannot be.
    pub fn put(&self, data: &mut CommitData) -> Result<(), &'static str> {
        let mut lines = Vec::new();
        self.lines(&mut Vec::new(), &mut lines)?;
        if !lines.is_empty() {
            data.headers.push((TREE.to_vec(), lines));
        }
        Ok(())
    }

    fn lines(&self, path: &mut Vec<u8>, lines: &mut Vec<u8>) -> Result<(), &'static str> {
        let above = path.len();
        for (name, Name { digits, below }) in &self.0 {
            path.extend((above > 0).then_some(b'/'));
            path.extend(name);
            if let Some(digits) = digits {
                // Further lines of a header begin with a space.
                lines.extend(if lines.is_empty() { &b""[..] } else { b"\n " });
                lines.extend(digits);
                lines.push(b' ');
                for &byte in path.iter() {
                    match byte {
                        b'\n' => lines.extend(b"%0a"),
                        b'%' => lines.extend(b"%25"),
                        byte => lines.push(byte),
                    }
                }
                if lines.len() > LONGEST {
                    return Err(
                        "more than 1 MiB of modes of old programs or directories without entries",
                    );
                }
            }
            below.lines(path, lines)?;
            path.truncate(above);
        }
        Ok(())
    }

    /// Takes it out of the headers of a commit again; what is wrong with them.
    pub fn take(data: &mut CommitData) -> Result<Odd, &'static str> {
        let mut odd = Odd::default();
        let Some(lines) = take(data, TREE) else {
            return Ok(odd);
        };
        for line in lines.split(|&byte| byte == b'\n') {
            let line = line.strip_prefix(b" ").unwrap_or(line);
            odd.add(line)
                .ok_or("its header of Git's modes is damaged")?;
        }
        Ok(odd)
    }

    fn add(&mut self, line: &[u8]) -> Option<()> {
        let space = line.iter().position(|&byte| byte == b' ')?;
        let (digits, mut rest) = (&line[..space], &line[space + 1..]);
        Mode::from_digits(digits)?;
        let mut path = Vec::with_capacity(rest.len());
        while let Some((&byte, more)) = rest.split_first() {
            rest = more;
            path.push(match byte {
                b'%' => {
                    let (code, more) = rest.split_at_checked(2)?;
                    rest = more;
                    match code {
                        b"0a" => b'\n',
                        b"25" => b'%',
                        _ => return None,
                    }
                }
                byte => byte,
            });
        }
        let path = Path::new(&path).ok().filter(|path| !path.is_root())?;
        let mut names = path.as_bytes().split(|&byte| byte == b'/').peekable();
        let mut at = self;
        while let Some(name) = names.next() {
            let found = at.0.entry(name.to_vec()).or_default();
            if names.peek().is_none() {
                found.digits = Some(digits.to_vec());
                return Some(());
            }
            at = Arc::make_mut(&mut found.below);
        }
        None
    }
}

/// Whether a commit has headers of this kind already.
pub fn is_in(data: &CommitData) -> bool {
    let mut names = data.headers.iter().map(|(name, _)| &name[..]);
    names.any(|name| name == TREE || name == PARENTS)
}

/// Moves the parents of a commit into a header.
pub fn put_parents(data: &mut CommitData) {
    let ids = data.parents.drain(..).map(|id| id.to_string());
    let ids = ids.collect::<Vec<_>>().join(" ");
    data.headers.push((PARENTS.to_vec(), ids.into_bytes()));
}

/// The parents that a header tells of, which it has no more then; what is wrong with it.
pub fn take_parents(data: &mut CommitData) -> Result<Option<Vec<Id>>, &'static str> {
    let Some(ids) = take(data, PARENTS) else {
        return Ok(None);
    };
    let ids = std::str::from_utf8(&ids).ok();
    let ids = ids.and_then(|ids| ids.split(' ').map(|id| id.parse().ok()).collect());
    ids.map(Some)
        .ok_or("its header of Git's parents is damaged")
}

fn take(data: &mut CommitData, name: &[u8]) -> Option<Vec<u8>> {
    let at = data.headers.iter().position(|(found, _)| found == name)?;
    Some(data.headers.remove(at).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use irmin::{Format, Kind, Signature};

    #[test]
    fn what_is_odd_comes_back_from_a_header_and_damage_is_told() {
        let who = Signature::new("A", "a@b", 1, 0);
        let mut data = CommitData {
            tree: Format::Native.id(Kind::Blob, b"").unwrap(),
            parents: Vec::new(),
            author: who.clone(),
            committer: who,
            headers: Vec::new(),
            message: None,
        };
        let mut odd = Odd::default();
        for line in [
            "100664 a\u{e9}/b%25%0a c",
            "40000 d/e",
            "040000 d",
            "100664 d.c",
        ] {
            odd.add(line.as_bytes()).unwrap();
        }
        odd.put(&mut data).unwrap();
        assert!(is_in(&data));
        let mut data = CommitData::decode(Format::Native, &data.encode()).unwrap();
        assert_eq!(Odd::take(&mut data), Ok(odd));
        assert!(!is_in(&data));
        for line in ["", "1", "9 a", "100644 ", "100644 a//b", "100644 %"] {
            data.headers = vec![(TREE.to_vec(), line.into())];
            assert!(Odd::take(&mut data).is_err(), "{line}");
        }
    }
}
