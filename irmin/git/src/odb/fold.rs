//! Folding small packs into larger ones, so that there are never many.
//!
//! A commit makes a pack of its own, which costs two files; twelve packs of a size are folded into one
//! of the next size. An object is written again about four times in its life, and there are fewer
//! than fifty packs, from where on `git gc --auto` begins to work; more for the tenths of a second in
//! which a large fold goes on beside thousands of commits a second.
//!
//! Git reads beside us: it lists the packs, then opens one, and if that is gone lists once more. Listing
//! is no single moment, so that a list may lack the new pack and name one that was folded into it. What
//! was folded is therefore deleted [`GRACE`] later, by the next process if this one ends before; and while
//! `git gc` is at work nothing is.

use std::collections::{HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use irmin::Id;
use irmin_packfile::zlib::Effort;

use super::write::Writing;
use super::{Odb, UNPOISONED};
use crate::error::{Result, io};
use crate::file;
use crate::gc::ABANDONED;
use crate::pack::{Gather, Pack, Writer};

/// So many packs of one size are folded.
const MANY: usize = 12;
/// Sizes, in objects: below the first, below the second, and so on. Larger packs are left alone.
const SIZES: [u32; 4] = [48, 576, 6912, 82_944];
/// With so many of one size, who writes waits for the thread that folds.
const TOO_MANY: usize = 16 * MANY;
/// Packs beyond this many bytes are left alone: rewriting them is `git gc`'s decision.
const LARGEST: u64 = 64 << 20;
/// How long a pack stays after it was folded into another.
const GRACE: Duration = Duration::from_secs(2);
/// At most so many stay: at thousands of commits a second they are all gone after some 50 ms, and Git
/// lists its packs in a few.
const LINGERING: usize = 256;
/// How long a pack stays at least when the store is closed. Those that are younger stay for who opens
/// it the next time.
const CLOSING: Duration = Duration::from_millis(100);
/// At most so many stay while `git gc` is at work.
const DURING_GC: usize = 4096;
/// A pack whose objects are in another.
pub(super) struct Replaced {
    path: PathBuf,
    extensions: &'static [&'static str],
    since: Instant,
}

impl Odb {
    /// Waits until no process folds, and keeps all from it while the value lives.
    pub(crate) fn lock_folding(&self) -> Result<File> {
        let file = self.fold_lock()?;
        file.lock().map_err(io("lock", &self.fold_lock))?;
        Ok(file)
    }

    fn fold_lock(&self) -> Result<File> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).open(&self.fold_lock);
        file.map_err(io("open", &self.fold_lock))
    }

    /// Has a thread fold what there is too much of. Returns at once, unless packs come faster than
    /// they are folded.
    pub(super) fn fold_soon(&self) {
        let packs = self.packs();
        let sizes = self.by_size(&packs);
        let Some(most) = sizes
            .iter()
            .map(Vec::len)
            .max()
            .filter(|&most| most >= MANY)
        else {
            return;
        };
        if !self.may_fold {
            return;
        }
        let mut folding = self.folding.lock().expect(UNPOISONED);
        if folding.as_ref().is_some_and(|thread| !thread.is_finished()) && most < TOO_MANY {
            return;
        }
        join(folding.take());
        let Some(this) = self.this.upgrade() else {
            return;
        };
        let thread = thread::Builder::new().name("irmin-fold".into());
        match thread.spawn(move || this.fold_all()) {
            Ok(thread) => *folding = Some(thread),
            Err(_) => self.fold_all(),
        }
    }

    fn fold_all(&self) {
        // The objects are here, whether or not folding goes well; if not, the next write tries again.
        while let Ok(true) = self.fold() {}
    }

    /// Our own packs, by size.
    fn by_size<'a>(&self, packs: &'a [Arc<Pack>]) -> [Vec<&'a Arc<Pack>>; SIZES.len()] {
        let mut by_size: [Vec<&Arc<Pack>>; SIZES.len()] = Default::default();
        for pack in packs.iter().filter(|pack| pack.own) {
            let Ok(index) = pack.index() else { continue };
            if let Some(size) = SIZES.iter().position(|&size| index.count() < size) {
                by_size[size].push(pack);
            }
        }
        by_size
    }

    /// Folds if there are many packs of one size. Whether it did.
    fn fold(&self) -> Result<bool> {
        let packs = self.packs();
        let by_size = self.by_size(&packs);
        let Some(largest) = by_size.iter().rposition(|packs| packs.len() >= MANY) else {
            return Ok(false);
        };
        // One process at a time folds; the lock goes with the process.
        let lock = self.fold_lock()?;
        if lock.try_lock().is_err() {
            return Ok(false);
        }
        if self.pack_folder().join("multi-pack-index").exists() {
            // It names packs that must stay until it is written anew, which is git's to do.
            return Ok(false);
        }
        let is_free = |pack: &&Arc<Pack>| {
            let is_beside = |last: &&str| pack.path.with_extension(last).exists();
            !(pack.marks().iter()).any(is_beside)
                && (self.is_pending(pack) || !is_beside(&"keep"))
                && pack
                    .path
                    .metadata()
                    .is_ok_and(|found| found.len() <= LARGEST)
        };
        let is_small = |pack: &&Arc<Pack>| {
            let mut small = by_size[..=largest].iter().flatten();
            small.any(|small| Arc::ptr_eq(small, pack))
        };
        let small = packs.iter().filter(is_small).filter(is_free);
        let (over, folded): (Vec<_>, Vec<_>) = small
            .map(|pack| {
                let is_known = |other: &&Arc<Pack>| !self.is_pending(pack) && !other.is_cruft();
                (pack, whole_in(pack, &packs).filter(is_known))
            })
            .partition(|(_, other)| other.is_some());
        let old = over.iter().filter(|(_, other)| other.is_some_and(is_old));
        let old: Vec<Arc<Pack>> = old.map(|(pack, _)| (*pack).clone()).collect();
        if !old.is_empty() && !self.is_collecting() {
            self.forget(&old);
        }
        let folded: Vec<&Arc<Pack>> = folded.into_iter().map(|(pack, _)| pack).collect();
        if folded.len() < MANY {
            return Ok(false);
        }
        // Only what stays for a while is worth being squeezed.
        self.fold_into_one(&folded, largest > 1)
    }

    fn fold_into_one(&self, folded: &[&Arc<Pack>], squeeze: bool) -> Result<bool> {
        let mut seen: HashSet<Id> = HashSet::new();
        let mut objects = Vec::new();
        for pack in folded {
            let mut places = pack.index()?.all().collect::<Result<Vec<_>>>()?;
            places.retain(|(id, _)| seen.insert(*id));
            places.sort_unstable_by_key(|(_, offset)| *offset);
            objects.extend(places.into_iter().map(|(id, offset)| (pack, id, offset)));
        }
        let effort = if squeeze {
            Effort::Usual
        } else {
            Effort::Stored
        };
        let folder = self.pack_folder();
        let writer = Writer::new(&folder, self.format, objects.len(), effort)?;
        let mut gather = Gather::new(self.format, writer);
        // What is small is folded because it is new, and new is what the next edit reads.
        let mut kept = Vec::new();
        for (pack, id, offset) in objects {
            let (kind, data) = match self.object(pack, offset, &id) {
                Ok(object) => object,
                // Damaged, or somebody repacks right now: they stay as they are.
                Err(_) => return Ok(false),
            };
            gather.push(id, kind, &data)?;
            if !squeeze {
                kept.push((id, kind, data));
            }
        }
        let finished = gather.into_writer().finish()?;
        // What survives a loss of power today must do so afterwards.
        let is_durable = |writing: &Writing| {
            let mut packs = folded.iter();
            packs.any(|pack| !writing.unsynced.contains(&pack.path))
        };
        let synced = is_durable(&self.writing.lock().expect(UNPOISONED));
        if synced {
            finished.sync()?;
        }
        let mut guard = self.writing.lock().expect(UNPOISONED);
        let writing = &mut *guard;
        let durable = is_durable(writing);
        if durable && !synced {
            finished.sync()?;
        }
        let pending = (folded.iter()).any(|pack| writing.pending.contains(&pack.path));
        let built = finished.place(pending)?;
        if durable {
            file::sync(&[&folder])?;
        } else {
            writing.unsynced.insert(built.pack.path.clone());
        }
        for (id, kind, data) in &kept {
            if let Some(offset) = built.offset(id) {
                self.keep(&built.pack, offset, *kind, data, true);
            }
        }
        let since = Instant::now();
        let mut replaced: HashSet<PathBuf> = HashSet::new();
        for pack in folded.iter().filter(|pack| !pack.is_at(&built.pack.path)) {
            writing.unsynced.remove(&pack.path);
            replaced.insert(pack.path.clone());
            writing.replaced.push_back(Replaced {
                path: pack.path.clone(),
                extensions: pack.extensions(),
                since,
            });
        }
        if pending {
            writing.pending.fold(&replaced, &built.pack.path);
        }
        self.add(built, &replaced);
        let due = self.due(writing);
        drop(guard);
        due.iter().for_each(|replaced| self.delete(replaced));
        Ok(true)
    }

    /// Deletes packs whose objects have long been in others.
    fn forget(&self, old: &[Arc<Pack>]) {
        let mut packs = self.packs.write().expect(UNPOISONED);
        let stays = |pack: &&Arc<Pack>| !old.iter().any(|old| Arc::ptr_eq(old, pack));
        packs.list = Arc::new(packs.list.iter().filter(stays).cloned().collect());
        drop(packs);
        for pack in old {
            Pack::delete(&pack.path, pack.extensions());
        }
    }

    pub(super) fn is_pending(&self, pack: &Pack) -> bool {
        let writing = self.writing.lock().expect(UNPOISONED);
        writing.pending.contains(&pack.path)
    }

    /// Packs that lingered long enough, not to be found in `replaced` any more.
    fn due(&self, writing: &mut Writing) -> Vec<Replaced> {
        let replaced = &mut writing.replaced;
        let is_due = |replaced: &VecDeque<Replaced>| {
            let first = replaced.front();
            first.is_some_and(|first| first.since.elapsed() >= GRACE) || replaced.len() > LINGERING
        };
        if !is_due(replaced) || replaced.len() < DURING_GC && self.is_collecting() {
            return Vec::new();
        }
        let mut due = Vec::new();
        while is_due(replaced)
            && let Some(first) = replaced.pop_front()
        {
            due.push(first);
        }
        due
    }

    /// Whether `git gc` or `git maintenance` is at work: it has listed the packs and gives up if one
    /// of them is gone.
    fn is_collecting(&self) -> bool {
        let own = &self.folders[0];
        let locks = [own.with_file_name("gc.pid"), own.join("maintenance.lock")];
        locks.iter().any(|lock| {
            let since = lock.metadata().and_then(|found| found.modified());
            // What is older was left behind: so Git itself decides.
            since.is_ok_and(|since| since.elapsed().is_ok_and(|age| age < ABANDONED))
        })
    }

    fn delete(&self, replaced: &Replaced) {
        Pack::delete(&replaced.path, replaced.extensions);
        let mut packs = self.packs.write().expect(UNPOISONED);
        packs.replaced.remove(&replaced.path);
    }

    /// Deletes the packs that linger, for who collects garbage.
    pub(super) fn delete_lingering(&self) {
        let mut writing = self.writing.lock().expect(UNPOISONED);
        for replaced in std::mem::take(&mut writing.replaced) {
            self.delete(&replaced);
        }
    }

    /// Deletes the packs that lingered long enough, for who closes the store.
    pub(crate) fn close(&self) {
        if let Ok(mut folding) = self.folding.lock() {
            join(folding.take());
        }
        let Ok(mut writing) = self.writing.lock() else {
            return;
        };
        writing.pending.release_all();
        if !self.is_collecting() {
            while let Some(first) = writing.replaced.pop_front()
                && first.since.elapsed() >= CLOSING
            {
                self.delete(&first);
            }
        }
    }
}

/// The pack that this one was folded into by a process that has ended since.
fn whole_in<'a>(pack: &Pack, packs: &'a [Arc<Pack>]) -> Option<&'a Arc<Pack>> {
    let index = pack.index().ok()?;
    packs.iter().filter(|other| other.own).find(|other| {
        let is_larger = other
            .index()
            .is_ok_and(|other| other.count() > index.count());
        is_larger && index.all().all(|id| id.is_ok_and(|(id, _)| other.has(&id)))
    })
}

/// Whether everybody who lists the packs has it on the list.
fn is_old(pack: &Arc<Pack>) -> bool {
    let since = pack.path.metadata().and_then(|found| found.modified());
    since.is_ok_and(|since| since.elapsed().is_ok_and(|age| age >= GRACE))
}

fn join(thread: Option<JoinHandle<()>>) {
    // It holds no lock while it may panic, and what it does can be done by the next.
    drop(thread.map(JoinHandle::join));
}
