//! One file a segment, in one directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{format, string::String, vec::Vec};

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
use irmin::BackendError;

use super::Storage;
use crate::format::{MAX_SEGMENT, MAX_SLOTS};
use crate::sync::{Mutex, RwLock};

/// A directory of files `00000000.seg`, `00000001.seg`, ..., and a `lock` that one process, whose number
/// is in it, holds as long as the value lives. Who only reads takes no lock.
pub struct Files {
    path: PathBuf,
    open: RwLock<HashMap<u32, Arc<Slot>>>,
    dirty: Mutex<Dirty>,
    /// Locked while open; the system unlocks it however the process ends. `None`: for reading only.
    lock: Option<File>,
}

struct Slot {
    file: File,
    /// Device and number: another file of this name is another segment.
    identity: (u64, u64),
    /// Its length.
    end: AtomicU64,
}

/// A file that is written in small pieces grows by so many zeros at once: the file system takes a piece
/// in half the time where there are pages for it, and a flush that changes no length too.
const GROWTH: usize = 256 << 10;

impl Slot {
    fn new(file: File) -> io::Result<Arc<Slot>> {
        let metadata = file.metadata()?;
        Ok(Arc::new(Slot {
            file,
            identity: (metadata.dev(), metadata.ino()),
            end: AtomicU64::new(metadata.len()),
        }))
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let length = self.end.load(Ordering::Relaxed);
        if end > length && length > 0 && bytes.len() < GROWTH / 4 {
            // Without room for zeros it grows by what is written.
            if self.file.write_all_at(&[0; GROWTH], length).is_ok() {
                self.end.store(length + GROWTH as u64, Ordering::Relaxed);
            }
        }
        self.file.write_all_at(bytes, offset)?;
        self.end.fetch_max(end, Ordering::Relaxed);
        Ok(())
    }
}

struct Dirty {
    files: HashSet<u32>,
    /// A file came or went.
    directory: bool,
}

impl Files {
    /// Opens the directory, or makes it.
    ///
    /// # Errors
    /// [`BackendError::Locked`] if another process, or another value, has it open for writing, with the
    /// number of that process; `Io` otherwise.
    pub fn open(path: impl AsRef<Path>) -> Result<Files, BackendError> {
        let path = path.as_ref().to_path_buf();
        fs::create_dir_all(&path).map_err(|error| failed("making the directory", &path, error))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|error| failed("opening", &lock_path, error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => BackendError::Locked {
                what: format!("{} (open in {})", path.display(), holder(&lock_path)),
            },
            TryLockError::Error(error) => failed("locking", &lock_path, error),
        })?;
        // For people, and for the message above: the lock holds without it.
        let _ = lock
            .set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()));
        let open = list(&path, true)?;
        let dirty = Dirty {
            files: open.keys().copied().collect(),
            directory: true,
        };
        Ok(Files {
            path,
            open: RwLock::new(open),
            dirty: Mutex::new(dirty),
            lock: Some(lock),
        })
    }

    /// Opens the directory for reading, for [`Pack::open_read`](crate::Pack::open_read), whoever writes
    /// to it meanwhile.
    ///
    /// # Errors
    /// [`BackendError::Io`], also if there is no such directory.
    pub fn open_read(path: impl AsRef<Path>) -> Result<Files, BackendError> {
        let path = path.as_ref().to_path_buf();
        Ok(Files {
            open: RwLock::new(list(&path, false)?),
            path,
            dirty: Mutex::new(Dirty {
                files: HashSet::new(),
                directory: false,
            }),
            lock: None,
        })
    }

    /// Refuses what is opened for reading.
    fn check_writable(&self) -> Result<(), BackendError> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(BackendError::Refused {
                what: format!(
                    "to write to {}: it is open for reading",
                    self.path.display()
                ),
            }),
        }
    }

    fn file_path(&self, slot: u32) -> PathBuf {
        self.path.join(format!("{slot:08}.seg"))
    }

    fn slot(&self, slot: u32) -> Option<Arc<Slot>> {
        self.open.read().get(&slot).cloned()
    }

    fn create(&self, slot: u32) -> Result<Arc<Slot>, BackendError> {
        let path = self.file_path(slot);
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| failed("making", &path, error))?;
        let file = Slot::new(file).map_err(|error| failed("measuring", &path, error))?;
        self.open.write().insert(slot, file.clone());
        self.dirty.lock().directory = true;
        Ok(file)
    }

    fn sync(&self, dirty: &Dirty) -> Result<(), BackendError> {
        for slot in &dirty.files {
            if let Some(file) = self.slot(*slot) {
                file.file
                    .sync_data()
                    .map_err(|error| failed("flushing", &self.file_path(*slot), error))?;
            }
        }
        if dirty.directory {
            File::open(&self.path)
                .and_then(|directory| directory.sync_all())
                .map_err(|error| failed("flushing", &self.path, error))?;
        }
        Ok(())
    }
}

impl Storage for Files {
    fn capacity(&self) -> u64 {
        MAX_SEGMENT
    }

    fn slots(&self) -> u32 {
        MAX_SLOTS
    }

    fn used(&self) -> Result<Vec<u32>, BackendError> {
        if self.lock.is_none() {
            // A segment that went stays open until what is in it was read elsewhere.
            let mut open = self.open.write();
            let now = list(&self.path, false)?;
            open.retain(|slot, _| now.contains_key(slot));
            for (slot, file) in now {
                match open.entry(slot) {
                    Entry::Occupied(old) if old.get().identity == file.identity => {}
                    entry => drop(entry.insert(file)),
                }
            }
        }
        Ok(self.open.read().keys().copied().collect())
    }

    fn read(&self, slot: u32, offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
        let mut done = 0;
        if let Some(file) = self.slot(slot) {
            while done < into.len() {
                match file.file.read_at(&mut into[done..], offset + done as u64) {
                    Ok(0) => break,
                    Ok(read) => done += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(failed("reading", &self.file_path(slot), error)),
                }
            }
        }
        into[done..].fill(0);
        Ok(())
    }

    fn write(&self, slot: u32, offset: u64, bytes: &[u8]) -> Result<(), BackendError> {
        self.check_writable()?;
        let file = match self.slot(slot) {
            Some(file) => file,
            None => self.create(slot)?,
        };
        self.dirty.lock().files.insert(slot);
        file.write(offset, bytes)
            .map_err(|error| failed("writing", &self.file_path(slot), error))
    }

    fn flush(&self) -> Result<(), BackendError> {
        let dirty = core::mem::replace(
            &mut *self.dirty.lock(),
            Dirty {
                files: HashSet::new(),
                directory: false,
            },
        );
        let result = self.sync(&dirty);
        if result.is_err() {
            let mut again = self.dirty.lock();
            again.files.extend(dirty.files);
            again.directory |= dirty.directory;
        }
        result
    }

    fn free(&self, slot: u32) -> Result<(), BackendError> {
        self.check_writable()?;
        if self.open.write().remove(&slot).is_some() {
            let path = self.file_path(slot);
            self.dirty.lock().directory = true;
            fs::remove_file(&path).map_err(|error| failed("removing", &path, error))?;
        }
        Ok(())
    }
}

/// The files of segments in a directory.
fn list(path: &Path, write: bool) -> Result<HashMap<u32, Arc<Slot>>, BackendError> {
    let listed = fs::read_dir(path).map_err(|error| failed("listing", path, error))?;
    let mut open = HashMap::new();
    for entry in listed {
        let entry = entry.map_err(|error| failed("listing", path, error))?;
        let name = entry.file_name();
        let slot = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        let slot = slot.filter(|digits| digits.len() == 8);
        let Some(slot) = slot.and_then(|digits| digits.parse::<u32>().ok()) else {
            continue;
        };
        let at = entry.path();
        let file = match OpenOptions::new().read(true).write(write).open(&at) {
            // Whoever writes may have collected it just now.
            Err(error) if !write && error.kind() == io::ErrorKind::NotFound => continue,
            file => file.map_err(|error| failed("opening", &at, error))?,
        };
        let file = Slot::new(file).map_err(|error| failed("measuring", &at, error))?;
        open.insert(slot, file);
    }
    Ok(open)
}

/// Who has a lock, for people.
fn holder(lock: &Path) -> String {
    let text = fs::read_to_string(lock).unwrap_or_default();
    match text.trim().parse::<u32>() {
        Ok(process) => format!("process {process}"),
        Err(_) => "another program".into(),
    }
}

fn failed(doing: &str, path: &Path, error: io::Error) -> BackendError {
    let what: String = format!("{doing} {}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BackendError::Full {
            what: format!("{what}; make room and try again"),
        },
        _ => BackendError::Io {
            what,
            source: Arc::new(error),
        },
    }
}
