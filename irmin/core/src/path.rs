//! Paths: names with slashes between them.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Names from the root of a tree to an entry, with `/` between them; the root itself is empty.
///
/// Names are bytes, as in Git; what is printed replaces what is no UTF-8.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<u8>);

impl Path {
    /// The longest way down from the root, in names. Git's limit (`core.maxTreeDepth`) is the same.
    pub const MAX_DEPTH: usize = 2048;

    /// Checks a path: no name is empty, and none holds NUL.
    ///
    /// # Errors
    /// [`PathError`] with the path and the rule that it breaks.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Path, PathError> {
        let path = path.as_ref();
        names(path).map(drop)?;
        Ok(Path(path.into()))
    }

    /// The names, from the root.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|name| !name.is_empty())
    }

    /// The path with its slashes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `prefix` is this path or a directory on the way to it.
    pub fn is_in(&self, prefix: &Path) -> bool {
        let rest = self.0.strip_prefix(prefix.as_bytes());
        prefix.is_root() || rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    pub(crate) fn push(&mut self, name: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
    }

    pub(crate) fn pop(&mut self) {
        let end = self.0.iter().rposition(|&b| b == b'/').unwrap_or(0);
        self.0.truncate(end);
    }

    pub(crate) fn joined(&self, name: &[u8]) -> Path {
        let mut path = Path(Vec::with_capacity(self.0.len() + 1 + name.len()));
        path.0.extend_from_slice(&self.0);
        path.push(name);
        path
    }
}

impl core::str::FromStr for Path {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Path, PathError> {
        Path::new(path)
    }
}

impl AsRef<[u8]> for Path {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

/// The checked names of a path.
pub(crate) fn names(path: &[u8]) -> Result<impl DoubleEndedIterator<Item = &[u8]>, PathError> {
    let wrong = |rule| {
        Err(PathError {
            path: String::from_utf8_lossy(path).into_owned(),
            rule,
        })
    };
    if path.contains(&0) {
        return wrong("it holds a NUL");
    }
    if !path.is_empty() && path.split(|&b| b == b'/').any(<[u8]>::is_empty) {
        return wrong("a name between slashes is empty (a path begins and ends without a slash)");
    }
    if path.iter().filter(|&&b| b == b'/').count() >= Path::MAX_DEPTH {
        return wrong("it is deeper than 2048 names");
    }
    Ok(path.split(|&b| b == b'/').filter(|name| !name.is_empty()))
}

/// Refuses names that would do harm in a checkout: what `git fsck --strict` refuses, and names longer
/// than 4096 bytes.
pub(crate) fn check_new_name(name: &[u8]) -> Result<(), PathError> {
    let wrong = |rule| {
        Err(PathError {
            path: String::from_utf8_lossy(name).into_owned(),
            rule,
        })
    };
    if name.is_empty() || name.contains(&b'/') || name.contains(&0) {
        return wrong("a name is not empty and holds no slash or NUL");
    }
    if name == b"." || name == b".." {
        return wrong("no entry is called . or ..");
    }
    if is_dot_git(name) {
        return wrong("Git refuses .git and what some file systems take for it");
    }
    if name.len() > 4096 {
        return wrong("a name is at most 4096 bytes long");
    }
    Ok(())
}

/// `.git` in any case, as NTFS (`git~1`, dots and spaces behind, streams) and HFS+ (characters that
/// are ignored) would understand it. Git's `is_ntfs_dotgit` and `is_hfs_dotgit`.
fn is_dot_git(name: &[u8]) -> bool {
    let windows = name
        .split(|&b| b == b':' || b == b'\\')
        .next()
        .unwrap_or(name);
    let end = windows
        .iter()
        .rposition(|&b| b != b'.' && b != b' ')
        .map_or(0, |at| at + 1);
    if windows[..end].eq_ignore_ascii_case(b".git") || windows[..end].eq_ignore_ascii_case(b"git~1")
    {
        return true;
    }
    let Ok(text) = core::str::from_utf8(name) else {
        return false;
    };
    let ignored = |c: char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let mut wanted = ".git".chars();
    text.chars()
        .filter(|&c| !ignored(c))
        .all(|c| wanted.next() == Some(c.to_ascii_lowercase()))
        && wanted.next().is_none()
}

/// A text that is no path here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} cannot be used as a path: {rule}")]
pub struct PathError {
    /// What was given.
    pub path: String,
    /// What is wrong with it.
    pub rule: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_no_empty_names_and_new_names_do_no_harm() {
        for good in ["", "a", "a/b", "ö/..x/.gitignore"] {
            assert!(Path::new(good).is_ok(), "{good}");
            assert!(
                Path::new(good)
                    .unwrap()
                    .names()
                    .all(|name| check_new_name(name).is_ok()),
                "{good}"
            );
        }
        for bad in ["/", "/a", "a/", "a//b", "a\0"] {
            assert!(Path::new(bad).is_err(), "{bad:?}");
        }
        for bad in [
            ".",
            "..",
            ".git",
            ".GIT",
            "git~1",
            ".git. .",
            ".git::$INDEX",
            ".g\u{200c}it",
            "a/b",
            "",
        ] {
            assert!(check_new_name(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(
            Path::new("a/".repeat(2048) + "a").is_err()
                && Path::new("a/".repeat(2047) + "a").is_ok()
        );
        let path = |text| Path::new(text).unwrap();
        assert!(
            path("a/b").is_in(&path("a"))
                && path("a/b").is_in(&path(""))
                && !path("ab").is_in(&path("a"))
        );
    }
}
