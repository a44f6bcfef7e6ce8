//! Lock files, as Git makes them: who can make `NAME.lock` may change `NAME`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use irmin::BackendError;

use crate::error::{Result, corrupt, io};

/// The lock on one file. Dropped, it is given up and nothing has changed.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
    held: bool,
}

/// How long another writer's lock is waited for. Git gives up sooner (0.1 s for a name, 1 s for
/// `packed-refs`); it also holds no lock for long.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a lock was not taken.
#[derive(Debug)]
pub(crate) enum NoLock {
    /// A file stands where a folder is needed.
    FileInTheWay,
    Failed(BackendError),
}

impl NoLock {
    /// What to tell of a file whose folder is always there.
    pub(crate) fn error(self, target: &Path) -> BackendError {
        match self {
            NoLock::Failed(error) => error,
            NoLock::FileInTheWay => corrupt(target, "a file stands where its folder should be"),
        }
    }
}

impl Lock {
    /// Locks `target`, making the folders above it.
    pub(crate) fn take(target: &Path) -> std::result::Result<Lock, NoLock> {
        let mut path = target.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let begun = Instant::now();
        let mut pause = Duration::from_micros(50);
        let mut folders_made = 0;
        loop {
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(Lock {
                        file,
                        path,
                        held: true,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if begun.elapsed() > PATIENCE {
                        let what = path.display().to_string();
                        return Err(NoLock::Failed(BackendError::Locked { what }));
                    }
                    thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(10));
                }
                // Somebody may clear away empty folders while we make them.
                Err(error) if error.kind() == io::ErrorKind::NotFound && folders_made < 10 => {
                    folders_made += 1;
                    let folder = path.parent().expect("a lock lies in a folder");
                    match fs::create_dir_all(folder) {
                        Err(error)
                            if matches!(
                                error.kind(),
                                io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
                            ) =>
                        {
                            return Err(NoLock::FileInTheWay);
                        }
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(NoLock::Failed(io("make", folder)(error)));
                        }
                        _ => {}
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                    return Err(NoLock::FileInTheWay);
                }
                Err(error) => return Err(NoLock::Failed(io("make", &path)(error))),
            }
        }
    }

    /// Writes what the file will hold.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(io("write", &self.path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts what was written in the file's place, in one step, and gives the lock up.
    ///
    /// `over`: there is a file already, and what was written is not on the disk. The two are exchanged:
    /// ext4 takes a rename over a file as a wish to have the new one written at once, which costs more
    /// than all the rest.
    pub(crate) fn commit(&mut self, target: &Path, over: bool) -> io::Result<()> {
        if over && exchange(&self.path, target) {
            // The lock holds the old value now, and is given up when dropped.
            return Ok(());
        }
        fs::rename(&self.path, target)?;
        self.held = false;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn exchange(new: &Path, old: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> bool {
    false
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.held {
            let _ = fs::remove_file(&self.path);
        }
    }
}
