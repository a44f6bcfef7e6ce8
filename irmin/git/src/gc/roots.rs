//! What is in use besides what names lead to.

use std::fs;
use std::path::{Path, PathBuf};

use irmin::{Backend, BackendError, Id};

use crate::Git;
use crate::error::{Result, corrupt, io, optional, refused};

/// What is in use besides what names lead to: logs of names, indexes of work trees, heads of work
/// trees, grafts and what a command left for its next step. Some of it may be gone long ago.
pub(super) fn others(git: &Git) -> Result<Vec<Id>> {
    let common = &git.layout.common;
    let mut homes: Vec<PathBuf> = vec![common.clone(), git.layout.git_dir.clone()];
    let trees = common.join("worktrees");
    for home in optional(fs::read_dir(&trees))
        .map_err(io("list", &trees))?
        .into_iter()
        .flatten()
    {
        homes.push(home.map_err(io("list", &trees))?.path());
    }
    let mut roots = Vec::new();
    for home in homes {
        for entry in fs::read_dir(&home).map_err(io("list", &home))? {
            let path = entry.map_err(io("list", &home))?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name == "index" {
                index(git, &path, &mut roots)?;
            } else if name.starts_with("sharedindex.") {
                return Err(refused(format_args!(
                    "{} is a split index, which is not known here; git gc knows it",
                    path.display()
                )));
            } else if name == "HEAD"
                || name.ends_with("_HEAD")
                || matches!(&name[..], "AUTO_MERGE" | "MERGE_AUTOSTASH")
            {
                ids_in(git, &path, &mut roots)?;
            }
        }
        // A rebase that was interrupted left there what it is to put back (`--autostash`).
        for own in [
            "logs",
            "refs/bisect",
            "refs/worktree",
            "refs/rewritten",
            "rebase-apply",
            "rebase-merge",
        ] {
            every_file(&home.join(own), &mut |path| ids_in(git, path, &mut roots))?;
        }
    }
    // To git, commits have the parents that stand here.
    ids_in(git, &common.join("info/grafts"), &mut roots)?;
    let zero = vec![0; git.format().id_len()];
    roots.retain(|id| id.as_bytes() != zero);
    roots.sort_unstable();
    roots.dedup();
    Ok(roots)
}

/// Folders in one another beyond any name's length.
const MAX_NESTED: usize = 512;

fn every_file(folder: &Path, see: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let mut folders = vec![(folder.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Some(entries) = optional(fs::read_dir(&folder)).map_err(io("list", &folder))? else {
            continue;
        };
        for entry in entries {
            let entry = entry.map_err(io("list", &folder))?;
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < MAX_NESTED => {
                    folders.push((entry.path(), depth + 1));
                }
                Ok(kind) if kind.is_file() => see(&entry.path())?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// The ids among the words of a file: a `HEAD`, a log, grafts, the steps of a rebase.
fn ids_in(git: &Git, path: &Path, into: &mut Vec<Id>) -> Result<()> {
    let text = optional(fs::read(path)).map_err(io("read", path))?;
    let length = 2 * git.format().id_len();
    let text = text.unwrap_or_default();
    for word in text.split(|byte| byte.is_ascii_whitespace()) {
        if word.len() == length {
            into.extend(Id::from_hex(word));
        }
    }
    Ok(())
}

/// The contents that a work tree's index names (gitformat-index(5)).
fn index(git: &Git, path: &Path, into: &mut Vec<Id>) -> Result<()> {
    let Some(bytes) = optional(fs::read(path)).map_err(io("read", path))? else {
        return Ok(());
    };
    let found = entries(&bytes, git.format().id_len(), into);
    found.ok_or_else(|| -> BackendError { corrupt(path, "it is no index of version 2 to 4") })
}

fn entries(bytes: &[u8], id_len: usize, into: &mut Vec<Id>) -> Option<()> {
    let number = |at: usize| {
        let four = bytes.get(at..at + 4)?;
        Some(u32::from_be_bytes(four.try_into().expect("four bytes")))
    };
    let version = number(4)?;
    if bytes.get(..4)? != b"DIRC" || !(2..=4).contains(&version) {
        return None;
    }
    let mut at = 12;
    for _ in 0..number(8)? {
        let start = at;
        into.push(Id::from_bytes(bytes.get(at + 40..at + 40 + id_len)?)?);
        at += 40 + id_len;
        let flags = u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?);
        at += 2;
        if flags & 0x4000 != 0 && version >= 3 {
            at += 2;
        }
        if version == 4 {
            // How much of the last name goes, as a number of bytes with a continuation bit.
            while bytes.get(at)? & 0x80 != 0 {
                at += 1;
            }
            at += 1;
        }
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0)? + 1;
        if version < 4 {
            // Padded with one to eight NULs to a multiple of eight.
            at = start + (at - start).next_multiple_of(8);
        }
    }
    Some(())
}
