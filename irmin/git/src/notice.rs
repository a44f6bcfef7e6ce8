//! Noticing that another process moved a name, by inotify(7).

use std::collections::HashMap;
use std::fs;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use irmin::Hook;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::layout::Layout;

/// A thread that sleeps until a file of a name changes; ends with the value.
pub(crate) struct Notice {
    hooks: Arc<Mutex<Vec<Hook>>>,
    stop: Arc<OwnedFd>,
}

/// File systems where changes by other machines, or by who serves the files, go unnoticed: NFS, SMB,
/// CIFS, SMB2, FUSE, 9P, Ceph, AFS, Coda (statfs(2)).
const DISTANT: [i64; 9] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x5346_414f,
    0x7375_7245,
];
/// Moves within this time are told together.
const TOGETHER: Duration = Duration::from_millis(1);
/// How often the hooks are called while a folder cannot be watched: there are limits.
const BLIND: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
/// Folders in one another beyond any name's length.
const MAX_NESTED: usize = 512;

impl Notice {
    /// Begins to look; `None` where changes cannot be noticed.
    pub(crate) fn begin(layout: &Arc<Layout>) -> Option<Notice> {
        let kind = rustix::fs::statfs(&layout.common).ok()?.f_type;
        if DISTANT.contains(&(kind as i64 & 0xffff_ffff)) {
            return None;
        }
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let mut folders = Folders {
            inotify,
            layout: layout.clone(),
            known: HashMap::new(),
        };
        if !folders.watch_all() {
            return None;
        }
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).ok()?);
        let hooks: Arc<Mutex<Vec<Hook>>> = Arc::default();
        let (mine, until) = (hooks.clone(), stop.clone());
        let thread = thread::Builder::new().name("irmin-notice".into());
        thread.spawn(move || folders.run(&mine, &until)).ok()?;
        Some(Notice { hooks, stop })
    }

    pub(crate) fn add(&self, hook: Hook) {
        self.hooks.lock().expect(UNPOISONED).push(hook);
    }
}

const UNPOISONED: &str = "no thread panics while it holds this lock";

impl Drop for Notice {
    fn drop(&mut self) {
        // Not joined: a hook may be what drops the last one.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }
}

/// The folders in which names lie.
struct Folders {
    inotify: OwnedFd,
    layout: Arc<Layout>,
    /// By the number of the watch; whether every file in it is a name.
    known: HashMap<i32, (PathBuf, bool)>,
}

impl Folders {
    /// Watches everything; whether that was possible.
    fn watch_all(&mut self) -> bool {
        let layout = self.layout.clone();
        let mut whole = self.watch(&layout.common, false) & self.watch(&layout.git_dir, false);
        whole &= self.watch_below(&layout.common.join("refs"));
        if layout.common != layout.git_dir {
            whole &= self.watch_below(&layout.git_dir.join("refs"));
        }
        whole
    }

    fn watch(&mut self, folder: &Path, names: bool) -> bool {
        let flags = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(&self.inotify, folder, flags) {
            Ok(number) => {
                self.known.insert(number, (folder.into(), names));
                true
            }
            // Gone already: then nothing is in it.
            Err(Errno::NOENT | Errno::NOTDIR) => true,
            Err(_) => false,
        }
    }

    /// Watches a folder of names and those in it.
    fn watch_below(&mut self, folder: &Path) -> bool {
        let mut whole = true;
        let mut folders = vec![(folder.to_path_buf(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            // First watched, then listed: what comes in between is seen twice.
            whole &= self.watch(&folder, true);
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if depth < MAX_NESTED && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push((entry.path(), depth + 1));
                }
            }
        }
        whole
    }

    fn run(mut self, hooks: &Mutex<Vec<Hook>>, stop: &OwnedFd) {
        let mut whole = true;
        loop {
            let mut ready = [
                PollFd::new(&self.inotify, PollFlags::IN),
                PollFd::new(stop, PollFlags::IN),
            ];
            match poll(&mut ready, (!whole).then_some(&BLIND)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            if !ready[1].revents().is_empty() {
                return;
            }
            let mut moved = !whole;
            if !ready[0].revents().is_empty() {
                thread::sleep(TOGETHER);
                let Ok((seen, all)) = self.read() else {
                    return;
                };
                moved |= seen;
                whole = all && (whole || self.watch_all());
            }
            if moved {
                // Not under the lock: a hook may lead to another being added.
                let mut called = std::mem::take(&mut *hooks.lock().expect(UNPOISONED));
                called.retain(|hook| hook());
                hooks.lock().expect(UNPOISONED).append(&mut called);
            }
        }
    }

    /// Takes in all events at hand: whether a name may have moved, and whether all new folders are
    /// watched.
    fn read(&mut self) -> Result<(bool, bool), Errno> {
        let (mut moved, mut whole) = (false, true);
        let mut new = Vec::new();
        let mut lost = false;
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                lost = true;
            }
            if event.events().contains(ReadFlags::IGNORED) {
                self.known.remove(&event.wd());
                continue;
            }
            let Some((folder, names)) = self.known.get(&event.wd()) else {
                continue;
            };
            let name = event.file_name().map(|name| name.to_string_lossy());
            let name = name.unwrap_or_default();
            if event.events().contains(ReadFlags::ISDIR) {
                if *names {
                    new.push(folder.join(&*name));
                }
            } else if *names {
                moved |= !name.ends_with(".lock");
            } else {
                moved |= matches!(&*name, "HEAD" | "packed-refs" | "shallow");
            }
        }
        for folder in new {
            moved = true;
            whole &= self.watch_below(&folder);
        }
        if lost {
            moved = true;
            whole &= self.watch_all();
        }
        Ok((moved, whole))
    }
}
