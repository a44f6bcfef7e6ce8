//! A request of the JSON interface, read.

use bytes::Bytes;
use hyper::Method;
use irmin::{Commit, Id, Path, RefName};
use serde::de::DeserializeOwned;

use crate::answer::Problem;
use crate::shared::Shared;
use crate::tokens::Access;

/// A request: what follows `/api/v1/`, who asks, and for what.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) access: &'a Access,
    pub(crate) method: Method,
    /// The first part of the path, and the rest with its escapes undone.
    pub(crate) what: &'a str,
    pub(crate) rest: Vec<u8>,
    pub(crate) query: Query,
    pub(crate) body: Bytes,
}

impl Call<'_> {
    /// The body as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Problem::wrong(
                format!("the body is not what is expected: {error}"),
                DOCUMENTED,
            )
        })
    }

    /// The rest of the URL as a path in a tree.
    pub(crate) fn path(&self) -> Result<Path, Problem> {
        Ok(Path::new(&self.rest)?)
    }

    /// The branch that the rest of the URL names.
    pub(crate) fn branch_name(&self) -> Result<RefName, Problem> {
        let name = std::str::from_utf8(&self.rest);
        self.branch(name.map_err(|_| Problem::wrong("the branch's name is not UTF-8", DOCUMENTED))?)
    }

    /// A branch that may be read.
    pub(crate) fn branch(&self, name: &str) -> Result<RefName, Problem> {
        let branch = RefName::branch(name)?;
        match self.access.may_read(&branch) {
            true => Ok(branch),
            false => Err(unknown(name)),
        }
    }

    /// A branch that may be written.
    pub(crate) fn writable(&self, name: &str) -> Result<RefName, Problem> {
        let branch = RefName::branch(name)?;
        if self.access.may_write(&branch) {
            return Ok(branch);
        }
        let problem = Problem::forbidden(
            format!("this token may not write {name}"),
            "use a token with this branch among those that it writes",
        );
        Err(problem)
    }

    /// The commit that a query parameter names; without one that of the default branch.
    pub(crate) fn commit_at(&self, key: &str) -> Result<Commit, Problem> {
        self.commit(self.query.text(key)?.unwrap_or("HEAD"))
    }

    /// The commit that a text names, if it may be read.
    ///
    /// Who may not read every name can say a name that is readable, or a whole id of a commit that is
    /// in the history of one, and behind either `~` and `^`. All else is answered as if it did not
    /// exist.
    pub(crate) fn commit(&self, text: &str) -> Result<Commit, Problem> {
        let repo = &self.shared.repo;
        if self.access.reads_all() {
            return Ok(repo.resolve(text)?);
        }
        let end = text.find(['~', '^']).unwrap_or(text.len());
        let (name, steps) = text.split_at(end);
        let length = 2 * repo.format().id_len();
        if let Ok(id) = name.parse::<Id>()
            && name.len() == length
        {
            if !self.is_readable(&id)? {
                return Err(unknown(text));
            }
        } else {
            let found = self.readable_name(name)?.ok_or_else(|| unknown(text))?;
            return Ok(repo.resolve(&format!("{found}{steps}"))?);
        }
        Ok(repo.resolve(text)?)
    }

    /// What the first readable name that Git would look for points to.
    fn readable_name(&self, name: &str) -> Result<Option<Id>, Problem> {
        let backend = self.shared.repo.backend();
        let default = backend.default_branch()?;
        let name = if matches!(name, "HEAD" | "@") {
            default.as_str()
        } else {
            name
        };
        for full in RefName::meanings(name) {
            if self.access.may_read(&full)
                && let Some(id) = backend.head(&full)?
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Whether the commit is in the history of a name that may be read.
    pub(crate) fn is_readable(&self, id: &Id) -> Result<bool, Problem> {
        is_readable(self.shared, self.access, id)
    }
}

/// Whether the commit is in the history of a name that may be read.
pub(crate) fn is_readable(shared: &Shared, access: &Access, id: &Id) -> Result<bool, Problem> {
    let repo = &shared.repo;
    if access.reads_all() {
        return Ok(repo.backend().contains(id)?);
    }
    let mut heads = repo.backend().heads("")?;
    heads.retain(|(name, _)| access.may_read(name));
    if heads.iter().any(|(_, head)| head == id) {
        return Ok(true);
    }
    // An id that is no commit here is not asked for in histories.
    let Ok(commit) = repo.commit(id) else {
        return Ok(false);
    };
    let mut asked = std::collections::HashSet::new();
    for (name, head) in heads {
        if asked.insert(head)
            && let Some(head) = repo.named(name).head()?
            && head.has_ancestor(&commit)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) const DOCUMENTED: &str = "see the documentation of irmin-serve, or GET /api/v1";

/// What is not there, or not for this token: nobody learns which.
pub(crate) fn unknown(name: &str) -> Problem {
    Problem::absent(
        format!(
            "{name:?} is no branch, tag or commit here, or none that may be read with this token"
        ),
        "GET /api/v1/branches lists the branches",
    )
}

/// What follows the `?`.
pub(crate) struct Query(Vec<(String, Vec<u8>)>);

impl Query {
    pub(crate) fn new(text: &str) -> Result<Query, Problem> {
        let part = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = unescaped(&value.replace('+', " "))?;
            Ok((key.to_string(), value))
        };
        text.split('&')
            .filter(|part| !part.is_empty())
            .map(part)
            .collect::<Result<_, _>>()
            .map(Query)
    }

    /// Refuses other parameters than these, and one that is there twice.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        for (at, (key, _)) in self.0.iter().enumerate() {
            if !known.contains(&key.as_str()) {
                let known = if known.is_empty() {
                    "none".into()
                } else {
                    known.join(", ")
                };
                return Err(Problem::wrong(
                    format!("there is no parameter {key:?} here"),
                    format!("known: {known}"),
                ));
            }
            if self.0[..at].iter().any(|(other, _)| other == key) {
                return Err(Problem::wrong(
                    format!("the parameter {key} is there twice"),
                    "give it once",
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn bytes(&self, key: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_slice())
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Problem> {
        let text = self.bytes(key).map(std::str::from_utf8).transpose();
        text.map_err(|_| Problem::wrong(format!("the parameter {key} is not UTF-8"), DOCUMENTED))
    }

    pub(crate) fn needed(&self, key: &str) -> Result<&str, Problem> {
        self.text(key)?
            .ok_or_else(|| Problem::wrong(format!("the parameter {key} is missing"), DOCUMENTED))
    }

    /// A path; the root if it is not given.
    pub(crate) fn path(&self, key: &str) -> Result<Path, Problem> {
        Ok(Path::new(self.bytes(key).unwrap_or_default())?)
    }

    /// How many at most; without a limit all.
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.text("limit")? else {
            return Ok(usize::MAX);
        };
        text.parse().map_err(|_| {
            Problem::wrong(
                format!("the limit {text:?} is no number"),
                "such as limit=100",
            )
        })
    }
}

/// Undoes `%2F` and its like: any bytes can be written so.
pub(crate) fn unescaped(text: &str) -> Result<Vec<u8>, Problem> {
    irmin_sync::unescaped(text).ok_or_else(|| {
        Problem::wrong(
            "a % in the URL is not followed by two hexadecimal digits",
            "write % itself as %25",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_stand_for_any_byte_and_half_ones_are_refused() {
        assert_eq!(unescaped("a%2fb%FF%00+").unwrap(), b"a/b\xff\0+");
        for bad in ["%", "%1", "%zz", "a%2"] {
            assert!(unescaped(bad).is_err(), "{bad}");
        }
        let query = Query::new("a=1+2&b&c=%26%3d").unwrap();
        assert_eq!(query.bytes("a"), Some(&b"1 2"[..]));
        assert_eq!(query.bytes("b"), Some(&b""[..]));
        assert_eq!(query.text("c").unwrap(), Some("&="));
        assert!(query.only(&["a", "b", "c"]).is_ok() && query.only(&["a", "b"]).is_err());
        assert!(Query::new("a=1&a=2").unwrap().only(&["a"]).is_err());
    }
}
