//! Signals: what was begun is removed before one ends the program.
//!
//! Only a command that makes something waits for signals; the others end at once, as programs do.

use std::convert::Infallible;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

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
        // Who collects writes a number into this once it is made.
        let is_fresh = fs::metadata(&gc).is_ok_and(|found| found.len() == 0);
        if !is_fresh && !is_locking(common) {
            break;
        }
        thread::sleep(PAUSE);
    }
    // The work goes on until it meets an error, and may have begun something more.
    while remove_temporary(common) {}
    let pid = format!("{} ", std::process::id());
    if fs::read_to_string(&gc).is_ok_and(|text| text.starts_with(&pid)) {
        let _ = fs::remove_file(gc);
    }
}

/// Removes the packs that this process has not finished: their names have its number. Whether there
/// were any.
fn remove_temporary(common: &Path) -> bool {
    let number = format!("_{:x}_", std::process::id());
    let folders = ["objects/pack", "objects/info"].map(|folder| fs::read_dir(common.join(folder)));
    let mut any = false;
    for entry in folders.into_iter().flatten().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("tmp_") && name.contains(&number) {
            any |= fs::remove_file(entry.path()).is_ok();
        }
    }
    any
}

/// Whether this process has the lock of a name open, where the system tells.
fn is_locking(common: &Path) -> bool {
    let common = fs::canonicalize(common).unwrap_or(common.into());
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten();
    open.flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|path| {
            path.starts_with(&common)
                && path.as_os_str().as_bytes().ends_with(b".lock")
                && !path.ends_with("irmin.lock")
        })
}
