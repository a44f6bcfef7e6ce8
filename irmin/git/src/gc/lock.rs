//! `gc.pid`: one collection at a time, ours or Git's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use irmin::BackendError;

use crate::error::{Result, io};
use crate::lock;

/// Held while this process collects.
pub(super) struct Lock {
    path: PathBuf,
    /// Who holds it: number and machine.
    text: String,
}

/// When a lock means nothing any more, as in Git.
pub(crate) const ABANDONED: Duration = Duration::from_secs(12 * 60 * 60);

impl Lock {
    /// As Git does: who has `gc.pid.lock` looks whether somebody collects, and if not `gc.pid` names him
    /// from one moment to the next.
    pub(super) fn take(common: &Path) -> Result<Lock> {
        let path = common.join("gc.pid");
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        let mut file = lock::Lock::take(&path).map_err(|no| no.error(&path))?;
        if is_held(&path, &host) {
            return Err(BackendError::Locked {
                what: path.display().to_string(),
            });
        }
        let text = format!("{} {host}", std::process::id());
        file.write(text.as_bytes())?;
        file.commit(&path, false).map_err(io("make", &path))?;
        Ok(Lock { path, text })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // `git gc --force` takes it from whoever has it.
        if fs::read_to_string(&self.path).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether who took it is at work: a process of this machine that is there, or one of another that took
/// it less than half a day ago. What names nobody holds nobody back.
fn is_held(path: &Path, host: &str) -> bool {
    let since = path.metadata().and_then(|found| found.modified());
    if since.is_ok_and(|since| since.elapsed().is_ok_and(|age| age > ABANDONED)) {
        return false;
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    match text.trim_end().split_once(' ') {
        Some((pid, of)) if pid.parse::<u32>().is_ok() => {
            of != host || Path::new("/proc").join(pid).exists()
        }
        _ => false,
    }
}
