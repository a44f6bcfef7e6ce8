//! Names of branches and tags, by Git's rules.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;

/// The full name of something that points to an object: `HEAD`, `refs/heads/main`, `refs/tags/v1`.
///
/// A value of this type keeps the rules of `git check-ref-format`, so that it is also a safe
/// relative path: no part is empty, `.` or `..`, begins with a dot or ends in `.lock`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(Arc<str>);

impl RefName {
    /// Checks a full name: one of upper-case letters and `_` (`HEAD`), or one under `refs/`.
    ///
    /// # Errors
    /// [`RefNameError`] with the name and the rule that it breaks.
    pub fn new(name: &str) -> Result<RefName, RefNameError> {
        let wrong = |rule| {
            Err(RefNameError {
                name: name.to_string(),
                rule,
            })
        };
        if name.len() > 1024 {
            return wrong("it is longer than 1024 bytes");
        }
        let top = !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        if !top && !name.starts_with("refs/") {
            return wrong("a full name is HEAD, or begins with refs/");
        }
        if name
            .bytes()
            .any(|b| b <= b' ' || b == 0x7f || b"~^:?*[\\".contains(&b))
        {
            return wrong("it holds a space, a control character or one of ~^:?*[\\");
        }
        if name.contains("..") || name.contains("@{") {
            return wrong("it holds .. or @{");
        }
        if name.ends_with('.') {
            return wrong("it ends in a dot");
        }
        for part in name.split('/') {
            if part.is_empty() {
                return wrong("a part between slashes is empty");
            }
            if part.starts_with('.') || part.ends_with(".lock") {
                return wrong("a part begins with a dot or ends in .lock");
            }
        }
        Ok(RefName(name.into()))
    }

    /// The branch of this short name: `main` is `refs/heads/main`.
    ///
    /// # Errors
    /// [`RefNameError`], also for a short name that begins with `-` or is `HEAD`, as in Git.
    pub fn branch(short: &str) -> Result<RefName, RefNameError> {
        if short.starts_with('-') || short == "HEAD" {
            return Err(RefNameError {
                name: short.to_string(),
                rule: "a branch is not called HEAD or -something",
            });
        }
        RefName::new(&alloc::format!("refs/heads/{short}"))
    }

    /// The full names that a text may mean, best first (gitrevisions(7)): itself, then one under
    /// `refs/`, `refs/tags/`, `refs/heads/` and `refs/remotes/`, then the `HEAD` of a remote. A name
    /// that breaks the rules is left out.
    pub fn meanings(text: &str) -> impl Iterator<Item = RefName> {
        [
            ("", ""),
            ("refs/", ""),
            ("refs/tags/", ""),
            ("refs/heads/", ""),
            ("refs/remotes/", ""),
            ("refs/remotes/", "/HEAD"),
        ]
        .into_iter()
        .filter_map(move |(before, after)| {
            RefName::new(&alloc::format!("{before}{text}{after}")).ok()
        })
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without `refs/heads/`, `refs/tags/`, `refs/remotes/` or `refs/`.
    pub fn short(&self) -> &str {
        ["refs/heads/", "refs/tags/", "refs/remotes/", "refs/"]
            .iter()
            .find_map(|prefix| self.0.strip_prefix(prefix))
            .unwrap_or(&self.0)
    }
}

impl Borrow<str> for RefName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A text that is no full name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} names no branch or tag: {rule}")]
pub struct RefNameError {
    /// What was given.
    pub name: String,
    /// What is wrong with it.
    pub rule: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_the_rules_of_git_check_ref_format() {
        for good in [
            "HEAD",
            "FETCH_HEAD",
            "refs/heads/main",
            "refs/heads/a/b.c",
            "refs/tags/v1@2",
            "refs/heads/ö",
        ] {
            assert_eq!(RefName::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "main",
            "objects/pack/x",
            "refs/heads/",
            "/refs/x",
            "refs//x",
            "refs/.x",
            "refs/x.lock/y",
            "refs/x.lock",
            "refs/a..b",
            "refs/a b",
            "refs/a~",
            "refs/a\\b",
            "refs/a\n",
            "refs/a@{b",
            "refs/a.",
            "refs/../x",
            "refs/a*",
        ] {
            assert!(RefName::new(bad).is_err(), "{bad:?}");
        }
        assert!(RefName::branch("-x").is_err() && RefName::branch("HEAD").is_err());
        assert_eq!(RefName::branch("a/b").unwrap().short(), "a/b");
    }

    #[test]
    fn a_short_name_may_mean_what_git_would_look_for() {
        let meanings = |text| {
            let names = RefName::meanings(text).map(|name| name.to_string());
            names.collect::<alloc::vec::Vec<_>>()
        };
        assert_eq!(
            meanings("v1"),
            [
                "refs/v1",
                "refs/tags/v1",
                "refs/heads/v1",
                "refs/remotes/v1",
                "refs/remotes/v1/HEAD",
            ]
        );
        assert_eq!(meanings("HEAD")[..2], ["HEAD", "refs/HEAD"]);
        assert_eq!(meanings("refs/heads/main")[0], "refs/heads/main");
        for text in ["", "../x", "a b", "a..b", "/x"] {
            assert!(meanings(text).is_empty(), "{text:?}");
        }
    }
}
