//! Names of commits, as Git resolves them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::{BackendError, Commit, Id, Kind, ReadError, RefName, Repo};

/// Git's shortest abbreviation of an id.
const SHORTEST: usize = 4;
/// More objects than anybody looks through to find out which one was meant.
const CANDIDATES: usize = 1000;

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
    /// It is the branch that is meant where none is named, and nothing is committed to it.
    #[error("{name} has no commit yet; make the first one")]
    NoCommitYet {
        /// The name.
        name: String,
    },
    /// Several objects' ids begin so, and not just one of them is a commit.
    #[error("{name} begins the ids of several objects; give more digits: {}", list(.ids))]
    Ambiguous {
        /// The digits.
        name: String,
        /// Commits, or where none is one other objects; at most ten.
        ids: Vec<Id>,
    },
    /// It names something else.
    #[error("{name} is a {kind}, and no commit; give a branch, a tag or a commit's id")]
    NotCommit {
        /// The name.
        name: String,
        /// What it is.
        kind: Kind,
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
    /// The commit that a text names, by Git's rules (gitrevisions(7)): a whole id, a branch, tag or
    /// remote branch, `HEAD` or `@`, what `git describe` prints (`v1-3-g1a2b3c4`), or at least four
    /// digits with which an id begins (of several objects the only commit); then any of `~3` (three
    /// first parents back), `^` (the first parent), `^2` (the second), `^{}` and `^{commit}`. Tags
    /// are followed.
    ///
    /// # Errors
    /// [`RevisionError`].
    pub fn resolve(&self, text: &str) -> Result<Commit, RevisionError> {
        let end = text.find(['~', '^']).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(end);
        let mut commit = self.named_commit(name)?;
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
            let suffix = || RevisionError::Suffix {
                name: text.to_string(),
            };
            rest = &rest[step.len_utf8()..];
            let digits = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (number, after) = rest.split_at(digits);
            let number = match number {
                "" => Ok(1),
                number => number.parse::<usize>(),
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

    fn named_commit(&self, name: &str) -> Result<Commit, RevisionError> {
        let id = self.named_id(name)?;
        match self.peel(&id) {
            Err(ReadError::WrongKind { found, .. }) => Err(RevisionError::NotCommit {
                name: name.to_string(),
                kind: found,
            }),
            result => Ok(result?),
        }
    }

    fn named_id(&self, name: &str) -> Result<Id, RevisionError> {
        let backend = self.backend();
        if let Ok(id) = name.parse::<Id>()
            && id.as_bytes().len() == self.format().id_len()
            && backend.contains(&id)?
        {
            return Ok(id);
        }
        let full = if name == "@" { "HEAD" } else { name };
        for meant in RefName::meanings(full) {
            if let Some(id) = backend.head(&meant)? {
                return Ok(id);
            }
        }
        let default = backend.default_branch()?;
        let is_default = full == "HEAD" || full == default.short() || full == default.as_str();
        if full == "HEAD"
            && let Some(id) = backend.head(&default)?
        {
            return Ok(id);
        }
        // Behind the last `-g` of what `git describe` prints, or all of it.
        let digits = match name.rsplit_once("-g") {
            Some((tag, digits)) if !tag.is_empty() => digits,
            _ => name,
        };
        let is_short = digits.len() >= SHORTEST && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let found = match is_short {
            true => self.abbreviated(&digits.to_ascii_lowercase())?,
            false => Vec::new(),
        };
        let name = name.to_string();
        match found[..] {
            [only] => Ok(only),
            [] if is_default => Err(RevisionError::NoCommitYet { name }),
            [] => Err(RevisionError::Unknown { name }),
            _ => Err(RevisionError::Ambiguous { name, ids: found }),
        }
    }

    /// The objects whose ids begin so, at most ten; of several only the commits and the tags that
    /// lead to one, if there are any.
    fn abbreviated(&self, digits: &str) -> Result<Vec<Id>, RevisionError> {
        let mut ids = self.backend().ids(digits, CANDIDATES)?;
        if ids.len() > 1 {
            let mut commits = Vec::new();
            for id in &ids {
                match self.store.peeled(*id) {
                    Ok(_) => commits.push(*id),
                    Err(ReadError::WrongKind { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if !commits.is_empty() {
                ids = commits;
            }
        }
        ids.truncate(10);
        Ok(ids)
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
            (&alloc::format!("v1-3-g{}", &id[..9]), &d),
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
        for text in [
            "none", "abc", "0000000", "main..x", "ma in", "../x", "", "-x", "~1", "^",
        ] {
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
        for text in [
            "main^{tree}",
            "main~x",
            "main^-",
            "main~99999999999999999999",
            "main^ö",
        ] {
            assert!(
                matches!(repo.resolve(text), Err(RevisionError::Suffix { .. })),
                "{text}"
            );
        }
        let tree = repo.empty_tree().id().to_string();
        assert!(matches!(
            repo.resolve(&tree),
            Err(RevisionError::NotCommit {
                kind: Kind::Tree,
                ..
            })
        ));
    }

    #[test]
    fn the_branch_that_is_meant_anyhow_has_no_commit_at_first() {
        let repo = Repo::new(Memory::new(Format::Native));
        for text in ["HEAD", "@", "main", "refs/heads/main", "@~2"] {
            assert!(
                matches!(repo.resolve(text), Err(RevisionError::NoCommitYet { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn of_several_objects_that_begin_so_the_only_commit_is_meant() {
        let backend = alloc::sync::Arc::new(Memory::new(Format::GitSha1));
        let repo = Repo::new(backend.clone());
        let info = Info::new(Signature::new("A", "a@b", 1, 0), "m\n");
        let commit = repo.commit_tree(&repo.empty_tree(), &[], &info).unwrap();
        let digits = &commit.id().to_string()[..4];
        let blobs: Vec<_> = (0u32..)
            .map(|n| crate::Object::new(Format::GitSha1, Kind::Blob, n.to_string()).unwrap())
            .filter(|blob| blob.id.begins_with(digits))
            .take(2)
            .collect();
        crate::Backend::write(&backend, &blobs).unwrap();
        assert_eq!(repo.resolve(digits).unwrap(), commit);
        let second = blobs[0].id.to_string();
        let blobs_only = (5..40)
            .map(|len| &second[..len])
            .find(|digits| !commit.id().begins_with(digits));
        assert!(matches!(
            repo.resolve(blobs_only.unwrap()),
            Err(RevisionError::NotCommit {
                kind: Kind::Blob,
                ..
            })
        ));
    }
}
