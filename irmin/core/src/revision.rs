//! Names of commits, as Git resolves them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::{BackendError, Commit, Id, Kind, ReadError, RefName, Repo};

/// A text that names no commit.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevisionError {
    /// No branch, tag or commit is called so.
    #[error("{name:?} is no branch, tag or commit here")]
    Unknown {
        /// The name.
        name: String,
    },
    /// Several commits' ids begin so.
    #[error("{name} begins the ids of several commits; give more digits: {}", list(.ids))]
    Ambiguous {
        /// The digits.
        name: String,
        /// The commits, at most ten.
        ids: Vec<Id>,
    },
    /// `~` or `^` goes beyond the first commit, or to a parent that is not there.
    #[error("{name}: {commit} has no parent number {number}")]
    NoParent {
        /// The whole text.
        name: String,
        /// The commit without that parent.
        commit: Id,
        /// Which parent, from 1.
        number: usize,
    },
    /// What stands behind the name has no meaning here.
    #[error("{name}: what stands after the name is not understood; ~3, ^ and ^2 are")]
    Suffix {
        /// The whole text.
        name: String,
    },
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<BackendError> for RevisionError {
    fn from(error: BackendError) -> RevisionError {
        RevisionError::Read(error.into())
    }
}

fn list(ids: &[Id]) -> String {
    ids.iter().map(Id::to_string).collect::<Vec<_>>().join(" ")
}

impl Repo {
    /// The commit that a text names, by Git's rules: an id, a branch, tag or remote branch, `HEAD` or
    /// `@`, or at least four digits with which the id of one commit begins; then any of `~3` (three
    /// first parents back), `^` (the first parent), `^2` (the second) and `^{commit}`.
    ///
    /// # Errors
    /// [`RevisionError`].
    pub fn resolve(&self, text: &str) -> Result<Commit, RevisionError> {
        let end = text.find(['~', '^']).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(end);
        let mut commit = Commit::peel(&self.store, self.named_id(name)?)?;
        let parent = |commit: &Commit, number: usize| -> Result<Commit, RevisionError> {
            let id = commit
                .parents()
                .get(number - 1)
                .ok_or_else(|| RevisionError::NoParent {
                    name: text.to_string(),
                    commit: commit.id(),
                    number,
                })?;
            Ok(self.commit(id)?)
        };
        while let Some(step) = rest.chars().next() {
            if let Some(after) = rest.strip_prefix("^{commit}").or(rest.strip_prefix("^{}")) {
                rest = after;
                continue;
            }
            rest = &rest[1..];
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            let number = match number {
                "" => Ok(1),
                number => number.parse::<usize>(),
            };
            let suffix = || RevisionError::Suffix {
                name: text.to_string(),
            };
            let number = number.map_err(|_| suffix())?;
            rest = after;
            match (step, number) {
                ('~', number) => {
                    for _ in 0..number {
                        commit = parent(&commit, 1)?;
                    }
                }
                ('^', 0) => {}
                ('^', number) => commit = parent(&commit, number)?,
                _ => return Err(suffix()),
            }
        }
        Ok(commit)
    }

    fn named_id(&self, name: &str) -> Result<Id, RevisionError> {
        let backend = self.backend();
        let unknown = || RevisionError::Unknown {
            name: name.to_string(),
        };
        if let Ok(id) = name.parse::<Id>()
            && id.as_bytes().len() == self.format().id_len()
            && backend.contains(&id)?
        {
            return Ok(id);
        }
        let name = if name == "@" { "HEAD" } else { name };
        for (before, after) in [
            ("", ""),
            ("refs/", ""),
            ("refs/tags/", ""),
            ("refs/heads/", ""),
            ("refs/remotes/", ""),
            ("refs/remotes/", "/HEAD"),
        ] {
            let Ok(full) = RefName::new(&alloc::format!("{before}{name}{after}")) else {
                continue;
            };
            if let Some(id) = backend.head(&full)? {
                return Ok(id);
            }
        }
        if name == "HEAD" {
            return backend
                .head(&backend.default_branch()?)?
                .ok_or_else(unknown);
        }
        if name.len() < 4 || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let mut commits = Vec::new();
        for id in backend.ids(&name.to_ascii_lowercase(), 1000)? {
            let object = backend.read(&id)?;
            if object.is_some_and(|object| matches!(object.kind, Kind::Commit | Kind::Tag)) {
                commits.push(id);
            }
        }
        commits.truncate(10);
        match commits[..] {
            [] => Err(unknown()),
            [only] => Ok(only),
            _ => Err(RevisionError::Ambiguous {
                name: name.to_string(),
                ids: commits,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Expect, Format, Info, Memory, RefEdit, Signature};

    #[test]
    fn commits_are_named_as_in_git() {
        let repo = Repo::new(Memory::new(Format::GitSha1));
        let commit = |n: i64, parents: &[&Commit]| {
            let info = Info::new(Signature::new("A", "a@b", n, 0), "m\n");
            repo.commit_tree(&repo.empty_tree(), parents, &info)
                .unwrap()
        };
        let (a, b) = (commit(1, &[]), commit(2, &[]));
        let c = commit(3, &[&a, &b]);
        let d = commit(4, &[&c]);
        for (name, to) in [
            ("refs/heads/main", &d),
            ("refs/tags/v1", &c),
            ("refs/remotes/origin/main", &b),
        ] {
            let name = RefName::new(name).unwrap();
            repo.update(&[RefEdit {
                name,
                expect: Expect::Any,
                new: Some(to.id()),
            }])
            .unwrap();
        }
        let id = d.id().to_string();
        for (text, expected) in [
            ("main", &d),
            ("HEAD", &d),
            ("@", &d),
            ("heads/main", &d),
            ("refs/heads/main", &d),
            ("v1", &c),
            ("origin/main", &b),
            (&id, &d),
            (&id[..12], &d),
            ("main~1", &c),
            ("main~", &c),
            ("main^", &c),
            ("main~2", &a),
            ("main^^2", &b),
            ("v1^1", &a),
            ("main^{commit}~2^0", &a),
            ("@~1^2", &b),
        ] {
            assert_eq!(&repo.resolve(text).unwrap(), expected, "{text}");
        }
        for text in ["none", "abc", "0000000", "main..x", "ma in", "../x", ""] {
            let result = repo.resolve(text);
            assert!(
                matches!(result, Err(RevisionError::Unknown { .. })),
                "{text}"
            );
        }
        assert!(matches!(
            repo.resolve("main~3"),
            Err(RevisionError::NoParent { number: 1, .. })
        ));
        assert!(matches!(
            repo.resolve("v1^3"),
            Err(RevisionError::NoParent { number: 3, .. })
        ));
        for text in ["main^{tree}", "main~x", "main^-"] {
            assert!(
                matches!(repo.resolve(text), Err(RevisionError::Suffix { .. })),
                "{text}"
            );
        }
    }
}
