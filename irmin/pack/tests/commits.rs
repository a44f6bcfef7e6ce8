//! The index of commits: it says what the commits say, is there when the store is opened again, and
//! whatever happens to it changes no answer.

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use disk::{Dice, Disk, check_index};
use irmin::{Backend, BackendError, Expect, Format, Id, Kind, Object, RefEdit, RefName, Repo};
use irmin_pack::{Device, MIN_SEGMENT, OnDevice, Pack, Ram, Storage};

const FORMATS: [Format; 3] = [Format::Native, Format::GitSha1, Format::GitSha256];

/// Memory that counts how often it is read.
#[derive(Default)]
struct Counting {
    ram: Ram,
    reads: AtomicU64,
}

impl Counting {
    fn reads(&self) -> u64 {
        self.reads.swap(0, Ordering::Relaxed)
    }
}

impl Storage for Counting {
    fn capacity(&self) -> u64 {
        self.ram.capacity()
    }
    fn slots(&self) -> u32 {
        self.ram.slots()
    }
    fn used(&self) -> Result<Vec<u32>, BackendError> {
        self.ram.used()
    }
    fn read(&self, slot: u32, offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.ram.read(slot, offset, into)
    }
    fn write(&self, slot: u32, offset: u64, bytes: &[u8]) -> Result<(), BackendError> {
        self.ram.write(slot, offset, bytes)
    }
    fn flush(&self) -> Result<(), BackendError> {
        self.ram.flush()
    }
    fn free(&self, slot: u32) -> Result<(), BackendError> {
        self.ram.free(slot)
    }
}

type Store = Pack<Arc<Counting>>;

/// A history: the commits, with the parents of each.
struct History {
    format: Format,
    tree: Object,
    commits: Vec<Id>,
    parents: BTreeMap<Id, Vec<Id>>,
}

impl History {
    fn new(format: Format) -> History {
        let tree = Object::new(format, Kind::Tree, irmin::raw::empty_tree(format));
        History {
            format,
            tree: tree.unwrap(),
            commits: Vec::new(),
            parents: BTreeMap::new(),
        }
    }

    /// Makes commits behind those that are there, most behind the last, some merges of several.
    fn grow(&mut self, dice: &mut Dice, count: usize) -> Vec<Object> {
        let mut objects = vec![self.tree.clone()];
        for _ in 0..count {
            let merged = [1, 1, 1, 1, 1, 2, 2, 5][dice.below(8) as usize];
            let mut parents = Vec::new();
            for _ in 0..merged {
                let far = [1, 1, 1, 4, 40][dice.below(5) as usize];
                let back = if parents.is_empty() {
                    1 + far / 40
                } else {
                    far
                };
                let back = back.min(self.commits.len());
                if back > 0 {
                    let back = 1 + dice.below(back as u64) as usize;
                    parents.push(self.commits[self.commits.len() - back]);
                }
            }
            parents.dedup();
            let n = self.commits.len() as u64;
            let commit = disk::commit(self.format, &self.tree.id, &parents, n);
            self.parents.insert(commit.id, parents);
            self.commits.push(commit.id);
            objects.push(commit);
        }
        objects
    }

    fn check(&self, store: &dyn Backend) -> u32 {
        check_index(store, &|id| Some(self.parents[id].clone()))
    }
}

fn point(store: &dyn Backend, name: &str, id: Option<Id>) {
    let edit = RefEdit {
        name: RefName::new(name).unwrap(),
        expect: Expect::Any,
        new: id,
    };
    store.update(&[edit]).unwrap();
}

/// Writes them in an order of its own, and lets names lead to all that nothing is behind.
fn write(store: &dyn Backend, history: &History, mut objects: Vec<Object>, reversed: bool) {
    if reversed {
        objects.reverse();
    }
    for some in objects.chunks(50) {
        store.write(some).unwrap();
    }
    let mut heads: Vec<Id> = history.commits.clone();
    let before: BTreeSet<Id> = history.parents.values().flatten().copied().collect();
    heads.retain(|id| !before.contains(id));
    let edits = heads.iter().enumerate().map(|(n, id)| RefEdit {
        name: RefName::branch(&n.to_string()).unwrap(),
        expect: Expect::Any,
        new: Some(*id),
    });
    let edits = edits.collect::<Vec<_>>();
    store.update(&edits).unwrap();
}

fn create(format: Format) -> (Arc<Counting>, Store) {
    let ram = Arc::new(Counting::default());
    let store = Pack::create_with(ram.clone(), format, MIN_SEGMENT).unwrap();
    (ram, store)
}

#[test]
fn it_says_what_the_commits_say_and_is_extended_as_they_come() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    for format in FORMATS {
        let mut dice = Dice(seed);
        let mut history = History::new(format);
        let (ram, store) = create(format);
        let reader = Pack::open_read(ram.clone()).unwrap();
        assert!(store.commit_index().unwrap().is_none());
        let mut known = 0;
        for round in 0..6 {
            let objects = history.grow(&mut dice, 300);
            write(&store, &history, objects, round % 2 == 0);
            let rows = history.check(&store);
            assert!(rows > known, "{rows} rows after {known}");
            assert_eq!(history.check(&reader), rows);
            known = rows;
        }
        let same = (store.commit_index().unwrap(), store.commit_index().unwrap());
        assert!(Arc::ptr_eq(&same.0.unwrap(), &same.1.unwrap()));
        // A tag of a tag leads to commits too.
        let objects = history.grow(&mut dice, 1);
        store.write(&objects).unwrap();
        let tag = |of: &Id, kind| {
            let text = format!("object {of}\ntype {kind}\ntag t\ntagger A <a@b> 1 +0000\n\nt\n");
            Object::new(format, Kind::Tag, text.into_bytes()).unwrap()
        };
        let first = tag(history.commits.last().unwrap(), "commit");
        let second = tag(&first.id, "tag");
        store.write(&[first, second.clone()]).unwrap();
        point(&store, "refs/tags/t", Some(second.id));
        let objects = history.grow(&mut dice, 300);
        write(&store, &history, objects, false);
        store.collect().unwrap();
        assert!(history.check(&store) as usize > history.commits.len() - 300);
        assert!(store.check().unwrap().is_sound());
        drop(store);
        let store = Pack::open(ram).unwrap();
        assert!(history.check(&store) as usize > history.commits.len() - 300);
    }
}

#[test]
fn the_first_question_about_far_history_reads_no_commits() {
    let mut history = History::new(Format::Native);
    let mut dice = Dice(3);
    let (ram, store) = create(Format::Native);
    for _ in 0..10 {
        let objects = history.grow(&mut dice, 500);
        write(&store, &history, objects, false);
    }
    let (first, last) = (history.commits[0], *history.commits.last().unwrap());
    let ask = |store: Store| {
        let repo = Repo::new(store);
        let (first, last) = (repo.commit(&first).unwrap(), repo.commit(&last).unwrap());
        assert!(last.has_ancestor(&first).unwrap());
        assert_eq!(repo.lcas(&first, &last).unwrap(), [first.id()]);
    };
    drop(store);
    let store = Pack::open(ram.clone()).unwrap();
    ram.reads();
    ask(store);
    let reads = ram.reads();
    assert!(reads < 700, "{reads} reads for 5000 commits");
    ask(Pack::open_read(ram.clone()).unwrap());
}

#[test]
fn rows_of_commits_that_are_gone_go_when_they_are_most_of_it() {
    let mut dice = Dice(4);
    let (ram, store) = create(Format::Native);
    let mut all = History::new(Format::Native);
    let mut most = 0;
    for n in 0..12 {
        // Nothing of what was before is kept.
        let mut history = History::new(Format::Native);
        let root = disk::commit(Format::Native, &history.tree.id, &[], 1000 + n);
        history.parents.insert(root.id, Vec::new());
        history.commits.push(root.id);
        let mut objects = vec![root];
        objects.extend(history.grow(&mut dice, 200));
        for (name, _) in store.heads("").unwrap() {
            point(&store, name.as_str(), None);
        }
        write(&store, &history, objects, false);
        all.parents.extend(history.parents);
        store.collect().unwrap();
        store.collect().unwrap();
        let rows = all.check(&store);
        most = most.max(rows);
        assert!(store.check().unwrap().is_sound());
    }
    assert!((200..700).contains(&most), "{most} rows for 200 commits");
    drop(store);
    let store = Pack::open(ram).unwrap();
    assert!(all.check(&store) >= 200);
}

#[test]
fn damage_to_it_changes_no_answer_and_it_is_made_anew() {
    let first: u64 = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let runs: u64 = std::env::var("RUNS").map_or(20, |runs| runs.parse().unwrap());
    let mut history = History::new(Format::Native);
    let mut dice = Dice(9);
    let disk = Disk::new(24 * MIN_SEGMENT as usize, 1);
    let storage = |disk: &Disk| OnDevice::new(disk.clone(), MIN_SEGMENT);
    let store = Pack::create_with(storage(&disk), Format::Native, MIN_SEGMENT).unwrap();
    for _ in 0..5 {
        let objects = history.grow(&mut dice, 250);
        write(&store, &history, objects, false);
    }
    store.flush().unwrap();
    let whole = history.check(&store);
    assert!(whole > 1000);
    drop(store);
    Device::flush(&disk).unwrap();
    let mut bytes = vec![0; disk.end().next_multiple_of(512)];
    Device::read(&disk, 0, &mut bytes).unwrap();
    // Records of kind 6 with nothing where others have an id.
    let is_chapter = |at: &usize| {
        let head = &bytes[*at..at + 64];
        at % MIN_SEGMENT as usize >= 8192 && head[16] == 6 && head[18] == 0 && head[32..] == [0; 32]
    };
    let chapters: Vec<usize> = (0..bytes.len() - 64)
        .step_by(8)
        .filter(is_chapter)
        .collect();
    assert!(chapters.len() >= 5, "{chapters:?}");
    for seed in first..first + runs {
        println!("SEED={seed}");
        let mut dice = Dice(seed);
        let damaged = disk.after_cut(0);
        for _ in 0..1 + dice.below(2) {
            let chapter = chapters[dice.below(chapters.len() as u64) as usize];
            let len = u32::from_le_bytes(bytes[chapter + 4..chapter + 8].try_into().unwrap());
            let at = chapter + dice.below(64 + u64::from(len)) as usize;
            damaged.damage(at, |bytes| bytes[0] ^= 1 << dice.below(8));
        }
        let Ok(reader) = Pack::open_read(storage(&damaged)) else {
            // It is in the part that is read at opening.
            continue;
        };
        assert!(!reader.check().unwrap().is_sound());
        let rows = history.check(&reader);
        assert!(rows < whole);
        let store = Pack::open(storage(&damaged)).unwrap();
        assert!(history.check(&store) >= rows);
        let (store, report) = {
            drop(store);
            Pack::repair(storage(&damaged)).unwrap()
        };
        assert!(!report.is_sound());
        let now = history.check(&store);
        assert!(
            now >= whole,
            "{now} of {whole} rows; before the repair {rows}:\n{report}"
        );
        store.flush().unwrap();
        drop(store);
        let store = Pack::open(storage(&damaged)).unwrap();
        let now = history.check(&store);
        assert!(
            now >= whole,
            "{now} of {whole} rows; before the repair {rows}:\n{report}"
        );
        let report = store.check().unwrap();
        assert!(report.is_sound(), "{report}");
    }
}

#[test]
fn commits_behind_one_that_is_missing_are_not_looked_through_again_and_again() {
    let (ram, store) = create(Format::Native);
    let mut history = History::new(Format::Native);
    // It is written never.
    let missing = disk::commit(Format::Native, &history.tree.id, &[], 1000);
    store.write(std::slice::from_ref(&history.tree)).unwrap();
    let mut last = missing.id;
    ram.reads();
    for n in 0..3000 {
        let commit = disk::commit(Format::Native, &history.tree.id, &[last], n);
        last = commit.id;
        store.write(&[commit]).unwrap();
        point(&store, "refs/heads/main", Some(last));
    }
    let reads = ram.reads();
    assert!(reads < 3 * 3000, "{reads} reads");
    assert!(store.commit_index().unwrap().is_none());
    // Once it is here all of them are listed.
    history.parents.insert(missing.id, Vec::new());
    store.write(&[missing]).unwrap();
    let objects = history.grow(&mut Dice(1), 1);
    write(&store, &history, objects, false);
    store.collect().unwrap();
    assert!(store.commit_index().unwrap().unwrap().len() > 3000);
}
