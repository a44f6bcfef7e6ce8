//! Who only reads sees all that the writer acknowledged, in its order, whatever is collected meanwhile.

mod disk;

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use disk::{Dice, Disk};
use irmin::{
    Backend, BackendError, Expect, Format, Id, Info, Kind, Object, Path, RefEdit, RefName, Repo,
    Signature, UpdateError,
};
use irmin_pack::{Files, MIN_SEGMENT, OnDevice, Pack, Ram};

const DIRECTORY: &str = "IRMIN_PACK_READERS_TEST";

fn collect<S: irmin_pack::Storage>(pack: &Pack<S>) {
    pack.collect().unwrap();
}

fn info(n: u64) -> Info {
    let who = Signature::new("Ada", "ada@example.org", n as i64, 0);
    Info::new(who, format!("Edit {n}"))
}

/// All that names lead to is there for the reader.
fn check(reader: &Pack<Arc<Ram>>) -> usize {
    let heads = reader.heads("").unwrap();
    let mut todo: Vec<Id> = heads.iter().map(|head| head.1).collect();
    let mut seen = std::collections::BTreeSet::new();
    while let Some(id) = todo.pop() {
        if seen.insert(id) {
            let object = reader.read(&id).unwrap().expect("a name leads to it");
            irmin::references(Format::Native, &object, &|_| false, &mut todo).unwrap();
        }
    }
    seen.len()
}

#[test]
fn a_reader_sees_each_step_of_a_writer_that_collects_and_begins_anew() {
    let first: u64 = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let runs: u64 = std::env::var("RUNS").map_or(6, |runs| runs.parse().unwrap());
    for seed in first..first + runs {
        println!("SEED={seed}");
        let mut dice = Dice(seed);
        let ram = Arc::new(Ram::default());
        let pack = Pack::create_with(ram.clone(), Format::Native, MIN_SEGMENT).unwrap();
        let mut pack = Arc::new(pack);
        let reader = Pack::open_read(ram.clone()).unwrap();
        // Looks now and then only.
        let late = Pack::open_read(ram.clone()).unwrap();
        let mut repo = Repo::new(pack.clone());
        for n in 0..250 {
            let generation = reader.generation().unwrap();
            let before = pack.heads("").unwrap();
            match dice.below(20) {
                0 => collect(&pack),
                1 => pack.flush().unwrap(),
                2 => {
                    drop(repo);
                    drop(pack);
                    pack = Arc::new(Pack::open(ram.clone()).unwrap());
                    repo = Repo::new(pack.clone());
                }
                3 => {
                    let branch = repo.branch("other").unwrap();
                    if let Some(head) = branch.head().unwrap() {
                        branch.delete(&head).unwrap();
                    }
                }
                _ => {
                    let name = ["main", "main", "other"][dice.below(3) as usize];
                    let path = format!("dir{}/key{}", dice.below(5), dice.below(30));
                    let value = format!("value {n}").repeat(1 + dice.below(200) as usize);
                    let change = repo.branch(name).unwrap();
                    change
                        .change(&info(n), |tree| tree.set(&path, value.clone()))
                        .unwrap();
                }
            }
            let now = pack.heads("").unwrap();
            let moved = reader.generation().unwrap() != generation;
            assert!(moved || now == before, "a move shows in the generation");
            assert_eq!(reader.heads("").unwrap(), now);
            if dice.below(10) == 0 {
                check(&reader);
                disk::check_index(&reader, &|id| disk::parents(&*pack, id));
            }
            if dice.below(60) == 0 {
                assert_eq!(late.heads("").unwrap(), now);
                check(&late);
                disk::check_index(&late, &|id| disk::parents(&*pack, id));
            }
        }
        assert_eq!(check(&late), check(&reader));
        collect(&pack);
        let rows = disk::check_index(&*pack, &|id| disk::parents(&*pack, id));
        assert_eq!(
            disk::check_index(&reader, &|id| disk::parents(&*pack, id)),
            rows
        );
        assert!(rows > 50);
        assert!(late.check().unwrap().is_sound());
    }
}

#[test]
fn a_reader_forgets_what_a_write_that_failed_left_behind() {
    let first: u64 = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    let runs: u64 = std::env::var("RUNS").map_or(10, |runs| runs.parse().unwrap());
    for seed in first..first + runs {
        println!("SEED={seed}");
        let mut dice = Dice(seed);
        let disk = Disk::new(16 * MIN_SEGMENT as usize, seed);
        let storage = || OnDevice::new(disk.clone(), MIN_SEGMENT);
        let writer = Pack::create_with(storage(), Format::Native, MIN_SEGMENT).unwrap();
        let reader = Pack::open_read(storage()).unwrap();
        let step = |n: u64, dice: &mut Dice| -> Result<(), UpdateError> {
            let data = vec![n as u8; dice.below(3000) as usize];
            let object = Object::new(Format::Native, Kind::Blob, data).unwrap();
            writer.write(std::slice::from_ref(&object))?;
            let edit = RefEdit {
                name: RefName::branch(&format!("b{}", dice.below(6))).unwrap(),
                expect: Expect::Any,
                new: Some(object.id),
            };
            writer.update(&[edit])
        };
        for n in 0..120 {
            // Some of the sectors of a write that finds the disk full arrive all the same.
            disk.full_in(3);
            for _ in 0..dice.below(4) {
                let _ = step(n, &mut dice);
                if dice.below(2) == 0 {
                    let _ = reader.heads("");
                }
            }
            if dice.below(8) == 0 {
                let _ = writer.collect_with(&mut |_, _| Ok(()));
            }
            disk.full_in(0);
            if step(n, &mut dice).is_err() {
                writer.collect_with(&mut |_, _| Ok(())).unwrap();
                writer.collect_with(&mut |_, _| Ok(())).unwrap();
                step(n, &mut dice).unwrap();
            }
            assert_eq!(reader.heads("").unwrap(), writer.heads("").unwrap());
            for (_, id) in reader.heads("").unwrap() {
                assert!(reader.read(&id).unwrap().is_some());
            }
        }
    }
}

#[test]
fn a_reader_writes_nothing() {
    let ram = Arc::new(Ram::default());
    assert!(matches!(
        Pack::open_read(ram.clone()),
        Err(BackendError::Refused { .. })
    ));
    let writer = Pack::create(ram.clone(), Format::Native).unwrap();
    let reader = Pack::open_read(ram).unwrap();
    let object = Object::new(Format::Native, Kind::Blob, &b"x"[..]).unwrap();
    let refused = |error| matches!(error, BackendError::Refused { .. });
    assert!(
        reader
            .write(std::slice::from_ref(&object))
            .is_err_and(refused)
    );
    assert!(!reader.contains(&object.id).unwrap());
    writer.write(std::slice::from_ref(&object)).unwrap();
    assert!(reader.contains(&object.id).unwrap());
    let edit = RefEdit {
        name: RefName::branch("main").unwrap(),
        expect: Expect::Missing,
        new: Some(object.id),
    };
    assert!(matches!(
        reader.update(&[edit]),
        Err(UpdateError::Backend(BackendError::Refused { .. }))
    ));
    assert!(reader.collect_with(&mut |_, _| Ok(())).is_err_and(refused));
    reader.flush().unwrap();
}

/// What the other process does; nothing when run as a test.
#[test]
fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return;
    };
    let pack = Arc::new(Pack::open(Files::open(directory).unwrap()).unwrap());
    let repo = Repo::new(pack.clone());
    let main = repo.branch("main").unwrap();
    for n in 0.. {
        let pad = format!("pad/{}", n % 50);
        main.change(&info(n), |tree| {
            tree.set("n", n.to_string())?;
            tree.set(&pad, "x".repeat(400))
        })
        .unwrap();
        if n % 60 == 59 {
            collect(&pack);
        }
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn another_process_reads_and_watches_while_one_writes_and_is_named_by_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    drop(Pack::create_with(Files::open(at).unwrap(), Format::Native, MIN_SEGMENT).unwrap());
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(DIRECTORY, at)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let child = Killed(child);
    let reader = Arc::new(Pack::open_read(Files::open_read(at).unwrap()).unwrap());
    let repo = Repo::new(reader.clone());
    let main = repo.branch("main").unwrap();
    let mut watch = main.watch(Path::new("n").unwrap()).unwrap();
    let mut last = -1i64;
    let mut told = 0;
    while last < 400 {
        if let Some(head) = main.head().unwrap() {
            let tree = head.tree();
            let n: i64 = tree.value("n").unwrap().unwrap();
            assert!(n >= last, "names never go back");
            assert!(tree.walk().all(|entry| entry.is_ok()));
            if n % 20 == 0 {
                assert_eq!(head.log().map(Result::unwrap).count() as i64, n + 1);
            }
            last = n;
        }
        repo.poll_watches().unwrap();
        while let Some(event) = watch.try_next().unwrap() {
            assert!(event.after().is_some());
            told += 1;
        }
    }
    let error = Files::open(at).err().unwrap();
    let holder = format!("process {}", child.0.id());
    assert!(error.to_string().contains(&holder), "{error}");
    assert!(told > 0);
    drop(child);
    let before = reader.heads("").unwrap();
    let store = Pack::open(Files::open(at).unwrap()).unwrap();
    assert_eq!(store.heads("").unwrap(), before);
    assert!(reader.check().unwrap().is_sound());
}
