//! Packs whose objects no name leads to yet.
//!
//! `git repack -a -d` lists the packs, then follows the names, then deletes the packs that it listed: a
//! pack written before, and pointed to after, would be lost. A file `.keep` beside a pack says that it
//! is not to be deleted; Git itself marks what it receives so until the names have moved. Here it is a
//! second link to the pack, which costs one call, and which tells our marks from others'.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// The packs that are marked, the oldest first.
#[derive(Default)]
pub(super) struct Pending(Vec<Marked>);

pub(super) struct Marked {
    pack: PathBuf,
    /// Who wrote what is in it and has not moved a name since.
    writers: HashSet<ThreadId>,
    since: Instant,
}

/// What no name led to for so long is garbage.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);
/// A mark of this age was left by a process that was killed.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

impl Pending {
    /// This thread wrote a pack, which is marked.
    pub(super) fn push(&mut self, pack: PathBuf) {
        let writers = HashSet::from([thread::current().id()]);
        self.mark(pack, writers);
        let forgotten = |first: &Marked| first.since.elapsed() > FORGOTTEN;
        if self.0.first().is_some_and(forgotten) {
            unmark(&self.0.remove(0).pack);
        }
    }

    fn mark(&mut self, pack: PathBuf, writers: HashSet<ThreadId>) {
        let since = Instant::now();
        self.0.push(Marked {
            pack,
            writers,
            since,
        });
    }

    pub(super) fn contains(&self, pack: &Path) -> bool {
        let name = pack.as_os_str();
        self.0.iter().any(|marked| marked.pack.as_os_str() == name)
    }

    /// Marked packs were folded into `new`, which is marked too.
    pub(super) fn fold(&mut self, folded: &HashSet<PathBuf>, new: &Path) {
        let mut writers = HashSet::new();
        self.0.retain(|marked| {
            let stays = !folded.contains(&marked.pack);
            if !stays {
                unmark(&marked.pack);
                writers.extend(&marked.writers);
            }
            stays
        });
        self.mark(new.into(), writers);
    }

    /// This thread moved a name: what it wrote before is led to.
    pub(super) fn release(&mut self) {
        let this = thread::current().id();
        self.0.retain_mut(|marked| {
            marked.writers.remove(&this);
            let stays = !marked.writers.is_empty();
            if !stays {
                unmark(&marked.pack);
            }
            stays
        });
    }

    /// Nobody moves a name any more.
    pub(super) fn release_all(&mut self) {
        self.0.drain(..).for_each(|marked| unmark(&marked.pack));
    }
}

fn unmark(pack: &Path) {
    let _ = fs::remove_file(pack.with_extension("keep"));
}

/// Removes the marks that killed processes left: ours, and old.
pub(super) fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|last| last == "keep")
            && let (Ok(mark), Ok(pack)) = (
                path.symlink_metadata(),
                path.with_extension("pack").symlink_metadata(),
            )
            && (mark.dev(), mark.ino()) == (pack.dev(), pack.ino())
            && mark
                .modified()
                .is_ok_and(|since| since.elapsed().is_ok_and(|age| age > ABANDONED))
        {
            let _ = fs::remove_file(path);
        }
    }
}
