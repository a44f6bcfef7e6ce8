//! What every part does with files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use irmin::{Format, Id};
use irmin_packfile::Hasher;
use rustix::fs::{Advice, fadvise};

use crate::error::{Result, io, optional};

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None` if there is no such file.
    pub(crate) fn of(path: &Path) -> Result<Option<Stamp>> {
        let found = optional(fs::metadata(path)).map_err(io("look at", path))?;
        Ok(found.map(|found| Stamp::from(&found)))
    }

    pub(crate) fn from(found: &fs::Metadata) -> Stamp {
        Stamp {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Whether a change right after this look would surely show: file systems count time in ticks
    /// of up to two seconds, and two changes within one look the same.
    pub(crate) fn is_settled(&self) -> bool {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |now| now.as_secs() as i64);
        // A clock that went back settles nothing.
        self.modified.0 + 2 < now && self.changed.0 + 2 < now
    }
}

/// Sets the time of last modification to now. Whether that was possible.
pub(crate) fn touch(path: &Path) -> bool {
    let times = rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        },
    };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::empty()).is_ok()
}

/// Makes files, and what is in folders, survive a loss of power. What is gone is left out: somebody's
/// repack took it, and what it wrote instead it has synced.
pub(crate) fn sync(paths: &[&Path]) -> Result<()> {
    let mut open = Vec::with_capacity(paths.len());
    for &path in paths {
        if let Some(file) = optional(File::open(path)).map_err(io("open", path))? {
            // Begins to write and does not wait: a file system with a journal then commits it once
            // for all of them.
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
            open.push((path, file));
        }
    }
    for (path, file) in open {
        file.sync_all().map_err(io("sync", path))?;
    }
    Ok(())
}

/// The number that stands for a format's hash in commit-graphs and times of packs.
pub(crate) fn hash_number(format: Format) -> u8 {
    if format == Format::GitSha1 { 1 } else { 2 }
}

/// The checksum of the first `length` bytes of a file.
pub(crate) fn checksum(file: &File, length: u64, format: Format) -> io::Result<Id> {
    let mut hash = Hasher::new(format);
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    while at < length {
        let most = (buffer.len() as u64).min(length - at) as usize;
        file.read_exact_at(&mut buffer[..most], at)?;
        hash.update(&buffer[..most]);
        at += most as u64;
    }
    Ok(hash.finish())
}

/// A file under a name that nobody else uses, gone when dropped unless it is put in its place.
pub(crate) struct Temporary {
    path: Option<PathBuf>,
    file: File,
}

impl Temporary {
    /// A new file in `folder` whose name begins with `prefix`: Git's own prefixes, so that
    /// `git prune` clears away what a killed process leaves.
    pub(crate) fn new(folder: &Path, prefix: &str) -> Result<Temporary> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{prefix}{:x}_{number:x}", std::process::id()));
            let mut options = OpenOptions::new();
            match options
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o444)
                .open(&path)
            {
                Ok(file) => {
                    return Ok(Temporary {
                        path: Some(path),
                        file,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io("make", &path)(error)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.path
            .as_deref()
            .expect("it is set until the file is placed")
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(io("write", self.path()))
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn put_at(&self, bytes: &[u8], at: u64) -> Result<()> {
        let written = self.file.write_all_at(bytes, at);
        written.map_err(io("write", self.path()))
    }

    /// Forgets what is behind this place.
    pub(crate) fn cut(&self, length: u64) -> Result<()> {
        self.file.set_len(length).map_err(io("cut", self.path()))
    }

    /// Gives it a second name; an empty file where there are no links.
    pub(crate) fn link(&self, name: &Path) -> Result<()> {
        let linked = fs::hard_link(self.path(), name).or_else(|_| {
            let mut options = OpenOptions::new();
            options.append(true).create(true).open(name).map(drop)
        });
        linked.map_err(io("make", name))
    }

    /// Gives it its name, in one step.
    pub(crate) fn place(mut self, name: &Path) -> Result<()> {
        fs::rename(self.path(), name).map_err(io("make", name))?;
        self.path = None;
        Ok(())
    }
}

impl Write for Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}
