//! Rules: how contents are merged that both sides changed.

use alloc::string::String;

use bytes::Bytes;

use super::Three;
use crate::Path;

/// How files are merged that both sides changed, and changed differently.
///
/// Closures are rules, and so is what [`typed`](super::typed()) makes of a [`Merger`](super::Merger). Where one side changed a file
/// and the other did not, or both did the same, no rule is asked.
pub trait Rule {
    /// The merged contents; `None` removes the file. A side that is `None` has no such file.
    ///
    /// # Errors
    /// [`Refused`] makes it a conflict.
    fn merge(&self, path: &Path, contents: Three<Option<&Bytes>>)
    -> Result<Option<Bytes>, Refused>;

    /// Whether files that a side renamed are followed, and what the two sides are then called; a rule
    /// does not follow any unless it is wrapped in [`FollowRenames`].
    fn renames(&self) -> Option<[&str; 2]> {
        None
    }
}

/// A rule that also follows renames, as `git merge` does.
///
/// What one side changed in a file is merged into it where the other side renamed it to, and what one
/// side added to a directory that the other side renamed is in conflict where it should probably be.
/// Renames are found as Git finds them: an added file is a removed one if their contents are the same,
/// or else if at least half of their lines are; with more than 7000 files to compare on either side
/// only the former are looked for. They are looked for only where a side removed a file that the other
/// one changed or removed too, or a directory that the other one added to; a merge of anything else
/// takes no more time.
///
/// The conflicts and the tree are those of `git merge-tree --write-tree`. A file that has to stand
/// beside something else is called `PATH~SIDE`, and the rule is asked only about files that both sides
/// have. As in Git it may matter which side is ours: where both added the same file, and one of them by
/// renaming another file to it that the other one changed, ours is taken.
///
/// ```
/// use irmin::merge::{FollowRenames, files_as_git};
/// use irmin::{Format, Memory, Repo};
///
/// let repo = Repo::new(Memory::new(Format::GitSha1));
/// let mut edit = repo.empty_tree().edit();
/// edit.set("old", "one\ntwo\nthree\nfour\n")?;
/// let base = edit.finish()?;
/// edit.rename("old", "new")?;
/// let ours = edit.finish()?;
/// let mut edit = base.edit();
/// edit.set("old", "one\ntwo\nthree\n4\n")?;
/// let theirs = edit.finish()?;
///
/// let rule = FollowRenames::new(files_as_git);
/// let merged = ours.merge(&base, &theirs, &rule)?.tree()?;
/// assert_eq!(merged.get("new")?.unwrap(), "one\ntwo\nthree\n4\n");
/// assert_eq!(merged.get("old")?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FollowRenames<'a, R> {
    rule: R,
    names: [&'a str; 2],
}

impl<R: Rule> FollowRenames<'static, R> {
    /// Merges by this rule, and calls the sides `ours` and `theirs`.
    pub fn new(rule: R) -> FollowRenames<'static, R> {
        FollowRenames {
            rule,
            names: ["ours", "theirs"],
        }
    }
}

impl<R: Rule> FollowRenames<'_, R> {
    /// The same with these names for the two sides.
    pub fn named<'a>(self, ours: &'a str, theirs: &'a str) -> FollowRenames<'a, R> {
        FollowRenames {
            rule: self.rule,
            names: [ours, theirs],
        }
    }
}

impl<R: Rule> Rule for FollowRenames<'_, R> {
    fn merge(
        &self,
        path: &Path,
        contents: Three<Option<&Bytes>>,
    ) -> Result<Option<Bytes>, Refused> {
        self.rule.merge(path, contents)
    }

    fn renames(&self) -> Option<[&str; 2]> {
        Some(self.names)
    }
}

impl<F: Fn(&Path, Three<Option<&Bytes>>) -> Result<Option<Bytes>, Refused>> Rule for F {
    fn merge(
        &self,
        path: &Path,
        contents: Three<Option<&Bytes>>,
    ) -> Result<Option<Bytes>, Refused> {
        self(path, contents)
    }
}

/// The rule that merges nothing: what both changed is a conflict.
pub struct NoRule;

impl Rule for NoRule {
    fn merge(&self, _: &Path, _: Three<Option<&Bytes>>) -> Result<Option<Bytes>, Refused> {
        Err(Refused::new("both sides changed it"))
    }
}

/// A merge function that found no common value, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Refused {
    /// For the person who has to decide.
    pub why: String,
    pub(super) is_of_lines: bool,
}

impl Refused {
    /// A refusal for this reason.
    pub fn new(why: impl Into<String>) -> Refused {
        Refused {
            why: why.into(),
            is_of_lines: false,
        }
    }

    /// A refusal because lines of the file, as a text, are in conflict: where common ancestors are
    /// merged these lines are marked as Git marks them, and else the file is as in their own base.
    pub fn of_lines(why: impl Into<String>) -> Refused {
        Refused {
            why: why.into(),
            is_of_lines: true,
        }
    }

    /// The same, of a part that has this name.
    pub fn inside(self, name: &str) -> Refused {
        Refused {
            why: alloc::format!("{name}: {}", self.why),
            is_of_lines: false,
        }
    }

    /// The same, of a part of the file.
    pub(super) fn of_part(self) -> Refused {
        Refused {
            is_of_lines: false,
            ..self
        }
    }
}
