//! `gc.pid`: one collection at a time, ours or Git's.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use irmin::BackendError;

use crate::error::{Result, io};

pub(super) struct Lock(PathBuf);

/// When a lock means nothing any more, as in Git.
pub(crate) const ABANDONED: Duration = Duration::from_secs(12 * 60 * 60);

impl Lock {
    pub(super) fn take(common: &Path) -> Result<Lock> {
        let path = common.join("gc.pid");
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        for _ in 0..2 {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    let text = format!("{} {host}", std::process::id());
                    let lock = Lock(path);
                    file.write_all(text.as_bytes())
                        .map_err(io("write", &lock.0))?;
                    return Ok(lock);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !is_left_behind(&path, &host) {
                        break;
                    }
                    let _ = fs::remove_file(&path);
                }
                Err(error) => return Err(io("make", &path)(error)),
            }
        }
        Err(BackendError::Locked {
            what: path.display().to_string(),
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether who took it is gone: a process of this machine that is no more, or half a day ago.
fn is_left_behind(path: &Path, host: &str) -> bool {
    let since = path.metadata().and_then(|found| found.modified());
    if since.is_ok_and(|since| since.elapsed().is_ok_and(|age| age > ABANDONED)) {
        return true;
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    match text.trim_end().split_once(' ') {
        Some((pid, of)) if of == host && pid.parse::<u32>().is_ok() => {
            !Path::new("/proc").join(pid).exists()
        }
        _ => false,
    }
}
