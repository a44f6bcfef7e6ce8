//! A power cut at any write, with any of the unflushed sectors lost, takes nothing that was flushed
//! and leaves nothing half.

mod disk;

use std::collections::{BTreeMap, BTreeSet};

use disk::{Dice, Disk};
use irmin::raw::CommitData;
use irmin::{
    Backend, BackendError, Expect, Format, Id, Kind, Object, RefEdit, RefName, UpdateError,
};
use irmin_pack::{MIN_SEGMENT, OnDevice, Pack};

type Store = Pack<OnDevice<Disk>>;
type Heads = BTreeMap<RefName, Id>;

/// What a store may hold.
struct Model {
    /// The names after each update since the last flush, the first of them durable.
    states: Vec<Heads>,
    /// What the names would be had the update that failed last gone through.
    maybe: Option<Heads>,
    /// Every object ever written, and what the store promised of it.
    objects: BTreeMap<Id, (Object, Promise)>,
    numbers: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Promise {
    Nothing,
    Written,
    Durable,
}

impl Model {
    fn new() -> Model {
        Model {
            states: vec![Heads::new()],
            maybe: None,
            objects: BTreeMap::new(),
            numbers: 0,
        }
    }

    /// A new object: bytes, or now and then a tree of objects that are here.
    fn object(&mut self, dice: &mut Dice) -> Object {
        self.numbers += 1;
        let here = self.here(|_| true);
        if dice.below(6) == 0 && !here.is_empty() {
            let data: Vec<u8> = (0..1 + dice.below(6))
                .flat_map(|_| {
                    here[dice.below(here.len() as u64) as usize]
                        .as_bytes()
                        .to_vec()
                })
                .collect();
            return Object::new(Format::Native, Kind::Tree, data).unwrap();
        }
        let len = [10, 300, 3000, 9000, 40_000][dice.below(5).min(dice.below(5)) as usize];
        let mut data = vec![self.numbers as u8; dice.below(len) as usize];
        data.extend_from_slice(&self.numbers.to_le_bytes());
        Object::new(Format::Native, Kind::Blob, data).unwrap()
    }

    /// The objects of some kinds that are here.
    fn here(&self, of: impl Fn(Kind) -> bool) -> Vec<Id> {
        let objects = self.objects.values();
        objects
            .filter(|(object, promise)| *promise != Promise::Nothing && of(object.kind))
            .map(|(object, _)| object.id)
            .collect()
    }

    /// A few commits, each behind one of them or others that are here. Collections compress what is
    /// behind a commit, and the index of commits grows.
    fn commits(&mut self, dice: &mut Dice) -> Vec<Object> {
        let trees = self.here(|kind| kind != Kind::Commit);
        let mut commits = self.here(|kind| kind == Kind::Commit);
        let mut new = Vec::new();
        if trees.is_empty() {
            return new;
        }
        for _ in 0..1 + dice.below(40) {
            self.numbers += 1;
            let count = dice.below(9).saturating_sub(6).max(1) as usize;
            let mut parents: Vec<Id> = Vec::new();
            for n in 0..count.min(commits.len()) {
                let near = [1, 1, 3, commits.len() as u64][dice.below(4) as usize];
                let back = (n as u64 + dice.below(near)) as usize % commits.len();
                parents.push(commits[commits.len() - 1 - back]);
            }
            parents.dedup();
            let tree = &trees[dice.below(trees.len() as u64) as usize];
            let commit = disk::commit(Format::Native, tree, &parents, self.numbers);
            commits.push(commit.id);
            new.push(commit);
        }
        new
    }

    fn wrote(&mut self, object: Object, result: &Result<(), BackendError>) {
        let promise = match result {
            Ok(()) => Promise::Written,
            Err(_) => Promise::Nothing,
        };
        self.objects.insert(object.id, (object, promise));
    }

    /// Does something at random; returns whether the store still works.
    fn step(&mut self, store: &Store, dice: &mut Dice) -> bool {
        match dice.below(13) {
            0..3 => {
                let mut objects: Vec<Object> =
                    (0..dice.below(4)).map(|_| self.object(dice)).collect();
                if dice.below(3) == 0 {
                    // In any order: who clones writes children first.
                    objects = self.commits(dice);
                    if dice.below(2) == 0 {
                        objects.reverse();
                    }
                }
                let written = store.write(&objects);
                for object in objects {
                    self.wrote(object, &written);
                }
                works(written)
            }
            3..8 => {
                let mut objects = Vec::new();
                if dice.below(2) == 0 {
                    objects = self.commits(dice);
                }
                if objects.is_empty() {
                    objects.push(self.object(dice));
                }
                let written = store.write(&objects);
                for object in &objects {
                    self.wrote(object.clone(), &written);
                }
                if written.is_err() {
                    return works(written);
                }
                let object = objects.pop().unwrap();
                let edits: Vec<RefEdit> = (0..1 + dice.below(2))
                    .map(|n| RefEdit {
                        name: RefName::branch(&format!("{n}-{}", dice.below(5))).unwrap(),
                        expect: Expect::Any,
                        new: (dice.below(5) > 0).then_some(object.id),
                    })
                    .collect();
                let mut after = self.states.last().unwrap().clone();
                for edit in &edits {
                    match edit.new {
                        Some(id) => after.insert(edit.name.clone(), id),
                        None => after.remove(&edit.name),
                    };
                }
                match store.update(&edits) {
                    Ok(()) => {
                        self.states.push(after);
                        self.maybe = None;
                        true
                    }
                    Err(UpdateError::Backend(error)) => {
                        self.maybe = Some(after);
                        works(Err(error))
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            8 if dice.below(2) == 0 => {
                self.check_index(store);
                true
            }
            8 => self.write_again(store, dice),
            9..11 => {
                let kept = self.closure(self.states.last().unwrap().values());
                for (id, (_, promise)) in &mut self.objects {
                    if !kept.contains(id) {
                        *promise = Promise::Nothing;
                    }
                }
                works(store.collect_with(&mut references).map(drop))
            }
            _ => match store.flush() {
                Ok(()) => {
                    self.states.drain(..self.states.len() - 1);
                    for (_, promise) in self.objects.values_mut() {
                        if *promise == Promise::Written {
                            *promise = Promise::Durable;
                        }
                    }
                    true
                }
                Err(error) => works(Err(error)),
            },
        }
    }

    /// Writes something that may or may not be here, with all that it needs.
    fn write_again(&mut self, store: &Store, dice: &mut Dice) -> bool {
        let all: Vec<Id> = self.objects.keys().copied().collect();
        if all.is_empty() {
            return true;
        }
        let closure = self.closure([&all[dice.below(all.len() as u64) as usize]]);
        let objects: Vec<Object> = closure
            .iter()
            .map(|id| self.objects[id].0.clone())
            .collect();
        let written = store.write(&objects);
        if written.is_ok() {
            for object in &objects {
                let promise = &mut self.objects.get_mut(&object.id).unwrap().1;
                if *promise == Promise::Nothing {
                    *promise = Promise::Written;
                }
                assert!(store.contains(&object.id).unwrap());
            }
        }
        works(written)
    }

    /// These and all that they lead to.
    fn closure<'a>(&self, ids: impl IntoIterator<Item = &'a Id>) -> BTreeSet<Id> {
        let mut todo: Vec<Id> = ids.into_iter().copied().collect();
        let mut found = BTreeSet::new();
        while let Some(id) = todo.pop() {
            if found.insert(id) {
                references(&self.objects[&id].0, &mut todo).unwrap();
            }
        }
        found
    }

    /// The index of commits agrees with all commits there ever were.
    fn check_index(&self, store: &Store) {
        let parents = |id: &Id| {
            let data = &self.objects[id].0.data;
            Some(CommitData::decode_links(Format::Native, data).unwrap().1)
        };
        disk::check_index(store, &parents);
    }

    /// Checks a store after a power cut.
    fn check(&self, store: &Store) -> Heads {
        self.check_index(store);
        let report = store.check().unwrap();
        assert!(report.is_sound(), "{report:?}");
        assert!(store.damage_at_open().is_empty());
        let heads: Heads = store.heads("").unwrap().into_iter().collect();
        assert!(
            self.states
                .iter()
                .chain(&self.maybe)
                .any(|state| *state == heads),
            "the names are those after some update that was not flushed, or the last that was:\n{heads:?}\n{:?}",
            self.states
        );
        for id in self.closure(heads.values()) {
            assert!(
                store.read(&id).unwrap().is_some(),
                "no name leads to nothing"
            );
        }
        for (id, (object, promise)) in &self.objects {
            match store.read(id).unwrap() {
                Some(found) => assert_eq!(found, *object),
                None => assert!(*promise != Promise::Durable, "{id} was flushed"),
            }
        }
        heads
    }

    fn go_on(&mut self, store: &Store, heads: Heads) {
        self.states = vec![heads];
        self.maybe = None;
        // What is here with all that it leads to; that comes first in the stack's way back.
        let mut whole: BTreeMap<Id, bool> = BTreeMap::new();
        let mut todo: Vec<Id> = self.objects.keys().copied().collect();
        while let Some(id) = todo.pop() {
            let mut into = Vec::new();
            references(&self.objects[&id].0, &mut into).unwrap();
            let unknown: Vec<Id> = into
                .iter()
                .filter(|id| !whole.contains_key(id))
                .copied()
                .collect();
            if unknown.is_empty() {
                let is_whole = store.contains(&id).unwrap() && into.iter().all(|id| whole[id]);
                whole.insert(id, is_whole);
            } else {
                todo.push(id);
                todo.extend(unknown);
            }
        }
        for (id, (_, promise)) in &mut self.objects {
            let whole = whole[id];
            if *promise != Promise::Durable {
                *promise = match whole {
                    true => Promise::Written,
                    false => Promise::Nothing,
                };
            }
        }
    }
}

fn references(object: &Object, into: &mut Vec<Id>) -> Result<(), BackendError> {
    if object.kind == Kind::Commit {
        let (tree, parents) = CommitData::decode_links(Format::Native, &object.data).unwrap();
        into.push(tree);
        into.extend(parents);
    }
    if object.kind == Kind::Tree {
        into.extend(object.data.chunks(32).map(|id| Id::from_bytes(id).unwrap()));
    }
    Ok(())
}

/// Whether the store may be used on: a full disk is no reason to stop.
fn works(result: Result<(), BackendError>) -> bool {
    match result {
        Ok(()) | Err(BackendError::Full { .. }) => true,
        Err(_) => false,
    }
}

fn create(disk: &Disk) -> Result<Store, BackendError> {
    Pack::create_with(
        OnDevice::new(disk.clone(), MIN_SEGMENT),
        Format::Native,
        MIN_SEGMENT,
    )
}

fn open(disk: &Disk) -> Store {
    Pack::open(OnDevice::new(disk.clone(), MIN_SEGMENT)).unwrap()
}

const DISK: usize = 12 * MIN_SEGMENT as usize;

/// Runs `steps` of a seed until the power goes at a write, or to the end.
fn run(seed: u64, steps: u64, cut_at: Option<u64>) -> (Disk, Model, bool) {
    let disk = Disk::new(DISK, seed);
    if let Some(write) = cut_at {
        disk.cut_at(write);
    }
    let mut model = Model::new();
    let mut dice = Dice(seed);
    let Ok(store) = create(&disk) else {
        return (disk, model, false);
    };
    for _ in 0..steps {
        if !model.step(&store, &mut dice) {
            break;
        }
    }
    (disk, model, true)
}

#[test]
fn a_cut_at_every_write_with_every_subset_of_sectors_loses_nothing_flushed() {
    for seed in 0..2 {
        let (disk, _, _) = run(seed, 30, None);
        for write in 0..disk.writes() {
            let (disk, model, created) = run(seed, 30, Some(write));
            let uncertain = disk.uncertain();
            let subsets = 1u64 << uncertain.min(7);
            for subset in 0..subsets {
                let left = match uncertain {
                    0..8 => disk.with_subset(subset),
                    _ => disk.after_cut(subset),
                };
                println!("seed {seed}, write {write}, subset {subset} of {uncertain} sectors");
                if created {
                    model.check(&open(&left));
                } else if let Err(error) = create(&left) {
                    assert!(matches!(error, BackendError::Refused { .. }), "{error}");
                    open(&left);
                }
                if uncertain >= 8 && subset > 40 {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_store_survives_one_cut_after_the_other() {
    let first: u64 = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let runs: u64 = std::env::var("RUNS").map_or(50, |runs| runs.parse().unwrap());
    for seed in first..first + runs {
        println!("SEED={seed}");
        let mut dice = Dice(seed);
        let mut disk = Disk::new(DISK, seed);
        let mut model = Model::new();
        let mut store = create(&disk).unwrap();
        for life in 0..8 {
            println!("life {life}");
            disk.cut_at(disk.writes() + dice.below(60));
            disk.full_in([0, 0, 12][dice.below(3) as usize]);
            for _ in 0..60 {
                if !model.step(&store, &mut dice) {
                    break;
                }
            }
            drop(store);
            disk = disk.after_cut(dice.next());
            store = open(&disk);
            let heads = model.check(&store);
            model.go_on(&store, heads);
        }
    }
}
