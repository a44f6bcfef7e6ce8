//! Logs of where names pointed (`git reflog`).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use irmin::raw::CommitData;
use irmin::{Id, Kind, RefName};

use super::{Refs, Target};
use crate::error::{Result, io};
use crate::layout::Reflogs;
use crate::odb::Odb;

impl Refs {
    fn log_path(&self, name: &str) -> PathBuf {
        self.layout.home(name).join("logs").join(name)
    }

    /// Writes down that `name` moves, in its log and, if `HEAD` stands for it, in that of `HEAD`.
    pub(super) fn log(&self, name: &RefName, old: Option<Id>, new: &Id, odb: &Odb) -> Result<()> {
        if !self.may_log(name.as_str()) {
            return Ok(());
        }
        let logged = self.logged(name.as_str())?;
        let head = RefName::new("HEAD").expect("a good name");
        let by_head = *name != head
            && self.logged("HEAD")?
            && matches!(self.loose(&head), Ok(Some(Target::Name(target))) if target == *name);
        if !logged && !by_head {
            return Ok(());
        }
        let line = self.line(old, new, odb)?;
        if logged {
            append(&self.log_path(name.as_str()), &line)?;
        }
        if by_head {
            append(&self.log_path("HEAD"), &line)?;
        }
        Ok(())
    }

    /// Whether there are logs at all, where only those that are there are gone on with.
    fn may_log(&self, name: &str) -> bool {
        let (own, head) = (self.layout.home(name), self.layout.home("HEAD"));
        self.layout.reflogs != Reflogs::Existing
            || own.join("logs").is_dir()
            || own != head && head.join("logs").is_dir()
    }

    fn logged(&self, name: &str) -> Result<bool> {
        let usual = ["refs/heads/", "refs/remotes/", "refs/notes/"];
        let usual = name == "HEAD" || usual.iter().any(|prefix| name.starts_with(prefix));
        Ok(match self.layout.reflogs {
            Reflogs::Always => true,
            Reflogs::Usual if usual => true,
            Reflogs::Usual | Reflogs::Existing => self.log_path(name).is_file(),
        })
    }

    /// `OLD NEW WHO TIME ZONE TAB MESSAGE`: who committed, and what, taken from the commit.
    fn line(&self, old: Option<Id>, new: &Id, odb: &Odb) -> Result<Vec<u8>> {
        let seconds = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |now| now.as_secs());
        let commit = match odb.read(new)? {
            Some((Kind::Commit, data)) => CommitData::decode(self.format(), &data).ok(),
            _ => None,
        };
        let mut line = match old {
            Some(old) => old.to_hex(),
            None => vec![b'0'; 2 * self.format().id_len()],
        };
        line.push(b' ');
        line.extend(new.to_hex());
        line.push(b' ');
        match &commit {
            Some(commit) => {
                let who = &commit.committer;
                line.extend([who.name(), b" <", who.email(), b"> "].concat());
            }
            None => line.extend_from_slice(b"irmin <> "),
        }
        let subject = commit.as_ref().and_then(|commit| {
            commit
                .message
                .as_deref()?
                .split(|&byte| byte == b'\n')
                .find(|line| !line.is_empty())
        });
        line.extend(format!("{seconds} +0000\t").into_bytes());
        match subject {
            Some(subject) => line.extend([b"commit: ", subject].concat()),
            None => line.extend_from_slice(b"update"),
        }
        line.push(b'\n');
        Ok(line)
    }

    /// A name that is deleted takes its log with it.
    pub(super) fn forget_log(&self, name: &str) {
        let path = self.log_path(name);
        if fs::remove_file(&path).is_ok() {
            prune(&path, &self.layout.home(name).join("logs/refs"));
        }
    }
}

fn append(path: &Path, line: &[u8]) -> Result<()> {
    let mut attempts = 0;
    loop {
        let opened = OpenOptions::new().append(true).create(true).open(path);
        match opened {
            // One write: lines of several writers do not mix.
            Ok(mut file) => return file.write_all(line).map_err(io("append to", path)),
            Err(error) if attempts < 3 && error.kind() == io::ErrorKind::NotFound => {
                let folder = path.parent().expect("a log lies in a folder");
                fs::create_dir_all(folder).map_err(io("make", folder))?;
            }
            // The folder of logs of names that are gone.
            Err(error) if attempts < 3 && error.kind() == io::ErrorKind::IsADirectory => {
                remove_empty(path);
            }
            Err(error) => return Err(io("append to", path)(error)),
        }
        attempts += 1;
    }
}

/// Removes the folders above `path` that are empty, up to and without `root`.
pub(super) fn prune(path: &Path, root: &Path) {
    let above = path
        .ancestors()
        .skip(1)
        .take_while(|folder| folder.starts_with(root) && *folder != root);
    for folder in above {
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

/// Removes a folder in which there are only folders.
pub(super) fn remove_empty(path: &Path) {
    let mut folders = vec![path.to_path_buf()];
    let mut at = 0;
    while at < folders.len() && folders.len() < 10_000 {
        for entry in fs::read_dir(&folders[at]).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
        at += 1;
    }
    for folder in folders.iter().rev() {
        let _ = fs::remove_dir(folder);
    }
}
