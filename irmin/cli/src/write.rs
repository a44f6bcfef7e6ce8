//! `irmin set`, `rm`: commits.

use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;

use bytes::Bytes;
use irmin::{Branch, Commit, Path, WriteError};
use rustix::fs::OFlags;
use serde_json::json;

use crate::cli::{Rm, Set};
use crate::failure::{Failure, Result};
use crate::identity;
use crate::output::{Output, quoted};
use crate::place::Place;
use crate::tree::{file, path};

/// The branch of this short or full name; without one the current branch (or a `HEAD` that stands
/// for none). `@` and other names that begin with `refs/` are refused, as they mean something else
/// where a commit is named.
pub fn branch(place: &Place, name: Option<&str>) -> Result<Branch> {
    match name {
        Some(name) => {
            let short = name.strip_prefix("refs/heads/").unwrap_or(name);
            if short == "@" || short.starts_with("refs/") {
                return Err(Failure::usage(
                    format!("{name} is no branch's name"),
                    "give a short name such as main, or refs/heads/main",
                ));
            }
            Ok(place.repo.branch(short)?)
        }
        None => {
            let name = place.repo.backend().default_branch()?;
            Ok(place.repo.named(name))
        }
    }
}

/// Tells of a commit that is made, once it survives a loss of power.
pub fn done(place: &Place, branch: &Branch, commit: &Commit, out: &mut Output) -> Result<u8> {
    place.repo.flush()?;
    match out.json {
        true => out.value(&json!({
            "commit": commit.id().to_string(),
            "tree": commit.tree().id().to_string(),
            "branch": branch.name().short(),
        }))?,
        false => out.line(commit.id())?,
    }
    Ok(0)
}

/// `irmin set`.
pub fn set(place: &Place, set: &Set, out: &mut Output) -> Result<u8> {
    let path = file(&set.path)?;
    let branch = branch(place, set.commit.branch.as_deref())?;
    let message = set.commit.says.message.clone();
    let message = message.unwrap_or_else(|| format!("Set {}", quoted(path.as_bytes())));
    let info = identity::info(place, &message, set.commit.says.author.as_deref())?;
    let contents = match &set.value {
        Some(value) => Bytes::copy_from_slice(value.as_bytes()),
        None => {
            if is_closed(&std::io::stdin()) {
                return Err(Failure::usage(
                    "there is no value, and standard input is closed",
                    "give the value behind the path, or '' for an empty one",
                ));
            }
            let mut contents = Vec::new();
            std::io::stdin()
                .read_to_end(&mut contents)
                .map_err(|error| {
                    Failure::broken(format_args!("standard input cannot be read: {error}"))
                })?;
            contents.into()
        }
    };
    let commit = branch.change(&info, |edit| edit.set(&path, contents.clone()))?;
    done(place, &branch, &commit, out)
}

/// Whether nobody gave us a standard input: what is closed is opened for a program before it begins,
/// as `/dev/null` to read and write. No shell opens it so.
fn is_closed(stdin: &std::io::Stdin) -> bool {
    let device = |found: rustix::io::Result<rustix::fs::Stat>| found.map(|found| found.st_rdev);
    let is_null = device(rustix::fs::fstat(stdin)) == device(rustix::fs::stat("/dev/null"));
    let mode = rustix::fs::fcntl_getfl(stdin).map(|flags| flags & OFlags::RWMODE);
    is_null && mode == Ok(OFlags::RDWR)
}

/// `irmin rm`.
pub fn rm(place: &Place, rm: &Rm, out: &mut Output) -> Result<u8> {
    let paths = rm.paths.iter().map(|typed| path(typed));
    let paths = paths.collect::<Result<Vec<_>>>()?;
    if paths.iter().any(Path::is_root) {
        return Err(Failure::usage(
            "the path is empty",
            "name what is to be removed",
        ));
    }
    let branch = branch(place, rm.commit.branch.as_deref())?;
    let message = rm.commit.says.message.clone().unwrap_or_else(|| {
        let shown: Vec<_> = paths.iter().map(|path| quoted(path.as_bytes())).collect();
        format!("Remove {}", shown.join(", "))
    });
    let info = identity::info(place, &message, rm.commit.says.author.as_deref())?;
    let mut is_dir = None;
    let result = branch.change(&info, |edit| {
        for path in &paths {
            // A path below one that was removed already is gone.
            let is_there = edit.base().entry(path)?;
            let Some(entry) = is_there else {
                return Err(WriteError::NotFound { path: path.clone() });
            };
            if entry.is_dir() && !rm.recursive {
                is_dir = Some(path.clone());
                return Err(WriteError::DirInTheWay { path: path.clone() });
            }
            edit.remove(path)?;
        }
        Ok(())
    });
    match (result, is_dir) {
        (Err(_), Some(path)) => Err(Failure::no(
            format!("{} is a directory", quoted(path.as_bytes())),
            "`irmin rm -r` removes it with all that is below it",
        )),
        (result, _) => done(place, &branch, &result?, out),
    }
}
