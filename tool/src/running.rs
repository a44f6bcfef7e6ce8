//! The unikernels that run: a file each, in a folder of the user's own, with what they count.
//!
//! A file is called `NAME.PID` and consists of tables of counters, the unikernel's own first and
//! then those of its gateways. Whoever runs it holds a lock on the file and removes it at the
//! end; a file without a lock was left behind by somebody who was killed, and is removed by the
//! next one who looks.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mirage_counters::{LEN, Snapshot, Table, TableError};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::param::{clock_ticks_per_second, page_size};

use crate::reserve::reserve;

/// Bytes of a table.
const TABLE: usize = LEN * 8;

/// The most tables of a file that are read.
const MOST_TABLES: usize = 64;

/// The file of a unikernel that this tool runs. Dropping it removes the file.
#[derive(Debug)]
pub struct Page {
    file: Arc<File>,
    path: PathBuf,
    name: String,
}

impl Page {
    /// Makes the file of a unikernel that is about to start, with room for the tables of so many
    /// gateways. `None` when there is no place for it: the unikernel runs without.
    pub fn new(name: &str, gateways: usize) -> Option<Self> {
        // Nobody looks at a file that starts with a dot while its maker lives.
        let hidden = format!(".{name}.{}", std::process::id());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let make = |folder: PathBuf| -> io::Result<Self> {
            let path = folder.join(&hidden);
            let file = options.open(&path)?;
            let page = Self {
                file: Arc::new(file),
                path,
                name: name.into(),
            };
            reserve(&page.file, ((1 + gateways) * TABLE) as u64)?;
            flock(&page.file, FlockOperation::LockExclusive)?;
            // The unikernel inherits it.
            fcntl_setfd(&page.file, FdFlags::empty())?;
            Ok(page)
        };
        places()
            .filter_map(|place| own(&place, true))
            .find_map(|folder| make(folder).ok())
    }

    /// The descriptor that the unikernel inherits.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// The file's length in bytes.
    pub fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |file| file.len())
    }

    /// Lets others find it: the unikernel has this number as a process.
    pub fn started(&mut self, pid: u32) {
        let path = self.path.with_file_name(format!("{}.{pid}", self.name));
        if fs::rename(&self.path, &path).is_ok() {
            self.path = path;
        }
    }

    /// Where the counters of gateway `number` go.
    pub fn gateway(&self, number: usize) -> Gateway {
        Gateway {
            file: self.file.clone(),
            place: ((1 + number) * TABLE) as u64,
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The place of a gateway's counters.
pub struct Gateway {
    file: Arc<File>,
    place: u64,
}

impl Gateway {
    /// Shows a table there. It fails only when the host is short of memory: it is tried again
    /// with the next one.
    pub fn show(&self, table: &Table) {
        let _ = self.file.write_all_at(&table.bytes(), self.place);
    }
}

/// Where the folder may be, the best place first.
fn places() -> impl Iterator<Item = PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|place| !place.is_empty());
    let user = rustix::process::geteuid().as_raw();
    let shared = PathBuf::from(format!("/tmp/mirage-{user}"));
    let own = runtime.map(|place| Path::new(&place).join("mirage"));
    own.into_iter().chain([shared])
}

/// The folder, when it is this user's alone.
fn own(folder: &Path, make: bool) -> Option<PathBuf> {
    if make {
        // It may be there already; what counts is what is there then.
        let _ = fs::DirBuilder::new().mode(0o700).create(folder);
    }
    let found = fs::symlink_metadata(folder).ok()?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    (ours && found.mode() & 0o077 == 0).then(|| folder.into())
}

/// A unikernel that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// What it and its gateways count; why that cannot be read.
    pub counters: Result<Vec<Snapshot>, TableError>,
    /// The processor time that it has used.
    pub cpu: Duration,
    /// The memory that it holds, in bytes.
    pub memory: u64,
}

/// Every unikernel of this user that runs, in the order of their names. Removes what those left
/// behind who were killed.
pub fn all() -> Vec<Running> {
    let mut found: Vec<Running> = places()
        .filter_map(|place| own(&place, false))
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| look(&entry.ok()?.path()))
        .collect();
    found.sort_by(|a, b| (&a.name, a.pid).cmp(&(&b.name, b.pid)));
    found
}

/// Reads one file; removes it when nobody holds it.
fn look(path: &Path) -> Option<Running> {
    let (name, pid) = parts(path.file_name()?)?;
    let hidden = name.starts_with('.');
    if hidden && Path::new("/proc").join(pid.to_string()).exists() {
        return None;
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) if !hidden => {}
        Ok(()) => {
            let _ = fs::remove_file(path);
            return None;
        }
        Err(_) => return None,
    }
    let mut bytes = Vec::new();
    let most = (MOST_TABLES * TABLE) as u64;
    file.take(most).read_to_end(&mut bytes).ok()?;
    let (cpu, memory) = usage(pid)?;
    Some(Running {
        name: name.into(),
        pid,
        counters: tables(&bytes),
        cpu,
        memory,
    })
}

/// `NAME.PID`; the name of an application, perhaps after a dot.
fn parts(file: &OsStr) -> Option<(&str, u32)> {
    let (name, pid) = file.to_str()?.rsplit_once('.')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let visible = name.strip_prefix('.').unwrap_or(name);
    let right = !visible.is_empty() && visible.chars().all(plain);
    right.then_some((name, pid.parse().ok()?))
}

/// The tables in a file. One that has nothing yet is left out.
fn tables(bytes: &[u8]) -> Result<Vec<Snapshot>, TableError> {
    let tables = bytes.chunks(TABLE).map(Snapshot::read);
    tables
        .filter(|table| *table != Err(TableError::NoTable))
        .collect()
}

/// The processor time and the memory of a process; see proc(5).
fn usage(pid: u32) -> Option<(Duration, u64)> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let stat = read("stat")?;
    // The name before it may be anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    let cpu = Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64);
    let statm = read("statm")?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some((cpu, pages * page_size() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_is_a_plain_name_and_a_number() {
        let parts = |text: &'static str| parts(OsStr::new(text));
        assert_eq!(parts("website.12"), Some(("website", 12)));
        assert_eq!(parts(".my-web_1.12"), Some((".my-web_1", 12)));
        for text in [
            "",
            "a",
            "a.",
            ".12",
            "..12",
            "a.b.12",
            "a b.12",
            "a.-1",
            "\x1b[2J.1",
        ] {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn every_table_of_a_file_is_read_and_an_empty_one_is_none() {
        let table = Table::new(None);
        table.counter("gateway", "c_total").add(5);
        let mut bytes = vec![0; TABLE];
        bytes.extend(table.bytes());
        let read = tables(&bytes).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].samples().map(|s| s.value).collect::<Vec<_>>(), [5]);
        assert_eq!(tables(&bytes[..TABLE]).unwrap(), []);
        bytes.truncate(bytes.len() - 1);
        assert_eq!(tables(&bytes), Err(TableError::Short(TABLE - 1)));
    }

    #[test]
    fn a_process_of_ones_own_has_a_usage() {
        let (_, memory) = usage(std::process::id()).unwrap();
        assert!(memory > 100_000, "{memory}");
        assert_eq!(usage(u32::MAX), None);
    }

    #[test]
    fn a_folder_that_others_can_enter_is_not_used() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(own(path, true), Some(path.into()));
        let link = path.join("link");
        std::os::unix::fs::symlink(path, &link).unwrap();
        assert_eq!(own(&link, true), None);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(own(path, true), None);
        assert_eq!(own(&path.join("none"), false), None);
    }
}
