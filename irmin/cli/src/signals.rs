//! Signals: what was begun is removed before one ends the program.
//!
//! Only a command that makes something waits for signals; the others end at once, as programs do.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, readlinkat, unlinkat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

/// What is not finished yet, in this process.
static BEGUN: Mutex<Vec<Begun>> = Mutex::new(Vec::new());
/// Whether a signal ends the program right now.
static ENDS: AtomicBool = AtomicBool::new(false);
/// How often a lock that is held, or a folder that is still being filled, is looked at again.
const TRIES: u32 = 400;
const PAUSE: Duration = Duration::from_millis(5);

/// What goes if the program is told to end.
#[derive(Clone, PartialEq, Eq)]
pub enum Begun {
    /// A file, or a folder with all in it.
    Whole(PathBuf),
    /// All that is in a folder.
    Inside(PathBuf),
    /// What is temporary in a Git repository: the folder that work trees share.
    InGit(PathBuf),
}

/// Until this is dropped, what was begun goes if the program is told to end.
pub struct Guard(Begun);

/// A file that would be larger than is allowed (`ulimit -f`) is an error of writing, not the end.
pub fn ignore_file_limit() {
    // A handler, as children are not to ignore it too.
    let _ = flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}

/// Begins something: from now on SIGINT, SIGTERM and SIGHUP remove it and then end the program as
/// they do others.
pub fn begin(begun: Begun) -> Guard {
    let Ok((guard, ())) = begin_by(begun, || Ok::<_, Infallible>(()));
    guard
}

/// The same of what is made just now, if it can be made.
pub fn begin_by<T, E>(begun: Begun, make: impl FnOnce() -> Result<T, E>) -> Result<(Guard, T), E> {
    static WAITS: Once = Once::new();
    WAITS.call_once(|| {
        // Where none can be waited for, they end the program as they did.
        if let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) {
            thread::spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    end(signal);
                }
            });
        }
    });
    // No signal ends the program between the two.
    let mut list = list();
    let made = make()?;
    list.push(begun.clone());
    Ok((Guard(begun), made))
}

/// Does not come back if a signal ends the program: an error is one of what was removed then.
pub fn let_end() {
    while ENDS.load(Ordering::Acquire) {
        thread::park();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut list = list();
        if let Some(at) = list.iter().position(|begun| *begun == self.0) {
            list.swap_remove(at);
        }
    }
}

fn list() -> std::sync::MutexGuard<'static, Vec<Begun>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(signal: i32) {
    // Kept to the end: nothing is finished any more.
    let list = list();
    ENDS.store(true, Ordering::Release);
    for begun in list.iter() {
        match begun {
            Begun::Whole(path) => remove(path),
            Begun::Inside(folder) => clear(folder),
            Begun::InGit(common) => tidy(common),
        }
    }
    let _ = low_level::emulate_default_handler(signal);
}

/// Removes it for good: the work goes on until it meets an error.
fn remove(path: &Path) {
    for _ in 0..TRIES {
        let _ = match path.is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        };
        if path.symlink_metadata().is_err() {
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// Removes all that is in a folder.
pub fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        remove(&entry.path());
    }
}

/// Waits until no name is locked, which is not for long, and removes what this process has not
/// finished.
fn tidy(common: &Path) {
    let gc = common.join("gc.pid");
    for _ in 0..TRIES {
        // Who begins to collect puts it in its place right now.
        match common.join("gc.pid.lock").exists() {
            true => thread::sleep(PAUSE),
            false => break,
        }
    }
    let pid = format!("{} ", std::process::id());
    let is_collecting = fs::read_to_string(&gc).is_ok_and(|text| text.starts_with(&pid));
    let folders = ["objects/pack", "objects/info"].map(|folder| File::open(common.join(folder)));
    let mut folders: Vec<(File, Dir)> = folders.into_iter().flatten().filter_map(entries).collect();
    let mut open = File::open("/proc/self/fd").ok().and_then(entries);
    let common = fs::canonicalize(common).unwrap_or(common.into());
    // The work goes on meanwhile: from here on it opens and makes no file, and soon meets an error.
    let limit = Rlimit {
        current: Some(0),
        ..getrlimit(Resource::Nofile)
    };
    let _ = setrlimit(Resource::Nofile, limit);
    for _ in 0..TRIES {
        thread::sleep(PAUSE);
        let is_locking = |open: &mut (File, Dir)| is_locking(&common, open);
        if !open.as_mut().is_some_and(is_locking) {
            break;
        }
    }
    folders.iter_mut().for_each(remove_temporary);
    if is_collecting {
        let _ = fs::remove_file(gc);
    }
}

/// A folder with what is in it, to be read without another file being opened.
fn entries(folder: File) -> Option<(File, Dir)> {
    let entries = Dir::read_from(&folder).ok()?;
    Some((folder, entries))
}

/// Removes the packs that this process has not finished: their names have its number.
fn remove_temporary((folder, entries): &mut (File, Dir)) {
    let number = format!("_{:x}_", std::process::id());
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy();
        if name.starts_with("tmp_") && name.contains(&number) {
            let _ = unlinkat(&*folder, entry.file_name(), AtFlags::empty());
        }
    }
}

/// Whether this process has the lock of a name open, where the system tells.
fn is_locking(common: &Path, (folder, open): &mut (File, Dir)) -> bool {
    open.rewind();
    let paths = open.flatten().filter_map(|entry| {
        let path = readlinkat(&*folder, entry.file_name(), Vec::new()).ok()?;
        Some(PathBuf::from(OsString::from_vec(path.into_bytes())))
    });
    let is_lock = |path: PathBuf| {
        path.starts_with(common)
            && path.extension().is_some_and(|last| last == "lock")
            && !path.ends_with("irmin.lock")
    };
    paths.into_iter().any(is_lock)
}
