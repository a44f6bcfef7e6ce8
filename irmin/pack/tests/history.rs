//! History that a collection compressed is read as before.

mod disk;

use std::sync::Arc;

use disk::{Dice, Disk};
use irmin::{Backend, BackendError, Commit, Format, Id, Info, Object, RefName, Repo, Signature};
use irmin_pack::{MIN_SEGMENT, OnDevice, Pack, Ram, Storage};

type Store = Arc<Pack<Arc<Ram>>>;

fn create(format: Format, segment: u64) -> (Arc<Ram>, Store) {
    let ram = Arc::new(Ram::default());
    let pack = Pack::create_with(ram.clone(), format, segment).unwrap();
    (ram, Arc::new(pack))
}

fn collect<S: Storage>(pack: &Arc<Pack<S>>) -> irmin_pack::Collected {
    pack.collect().unwrap()
}

fn info(n: u64) -> Info {
    let who = Signature::new("Ada", "ada@example.org", n as i64, 0);
    Info::new(who, format!("Edit {n}"))
}

/// Commits with an edit each, to `to`; now and then one on a second branch.
fn commits(repo: &Repo, dice: &mut Dice, from: u64, to: u64) {
    for n in from..to {
        let name = ["main", "other"][(dice.below(10) == 0) as usize];
        let branch = repo.branch(name).unwrap();
        let path = format!("dir{}/key{:02}", dice.below(8), dice.below(40));
        let value = format!("value {n}").repeat(1 + dice.below(4) as usize);
        branch
            .change(&info(n), |tree| tree.set(&path, value.clone()))
            .unwrap();
    }
}

/// All objects that names lead to.
fn reachable<S: Storage>(pack: &Arc<Pack<S>>) -> Vec<Object> {
    let mut todo: Vec<Id> = pack.heads("").unwrap().iter().map(|head| head.1).collect();
    let mut seen = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    while let Some(id) = todo.pop() {
        if seen.insert(id) {
            let object = pack.read(&id).unwrap().expect("it is reachable");
            assert_eq!(pack.format().id(object.kind, &object.data), Ok(id));
            irmin::references(pack.format(), &object, &|_| false, &mut todo).unwrap();
            found.push(object);
        }
    }
    found
}

fn bytes(ram: &Ram, segment: u64) -> u64 {
    ram.used().unwrap().len() as u64 * segment
}

#[test]
fn compressed_history_is_read_bit_for_bit_in_every_format() {
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    for format in [Format::Native, Format::GitSha1, Format::GitSha256] {
        let (ram, pack) = create(format, MIN_SEGMENT);
        let repo = Repo::new(pack.clone());
        let mut dice = Dice(seed);
        for round in 0..4 {
            commits(&repo, &mut dice, round * 100, round * 100 + 100);
            let before = reachable(&pack);
            let full = bytes(&ram, MIN_SEGMENT);
            collect(&pack);
            let collected = collect(&pack);
            assert!(collected.packed > 100, "{collected:?}");
            assert!(bytes(&ram, MIN_SEGMENT) <= full);
            for object in &before {
                assert_eq!(pack.read(&object.id).unwrap().as_ref(), Some(object));
                assert!(pack.contains(&object.id).unwrap());
            }
            let digits = before[7].id.to_string();
            assert_eq!(pack.ids(&digits[..12], 9).unwrap(), [before[7].id]);
            assert_eq!(reachable(&pack).len(), before.len());
            let report = pack.check().unwrap();
            assert!(
                report.is_sound() && report.incomplete.is_empty(),
                "{report:?}"
            );
        }
        let before = reachable(&pack);
        drop((repo, pack));
        let pack = Arc::new(Pack::open(ram).unwrap());
        assert_eq!(reachable(&pack), before);
        assert!(pack.check().unwrap().is_sound());
    }
}

#[test]
fn what_the_heads_hold_is_not_compressed_and_garbage_in_blocks_goes() {
    let (ram, pack) = create(Format::Native, MIN_SEGMENT);
    let repo = Repo::new(pack.clone());
    commits(&repo, &mut Dice(5), 0, 300);
    collect(&pack);
    collect(&pack);
    let main = repo.branch("main").unwrap();
    let old: Vec<Commit> = main
        .head()
        .unwrap()
        .unwrap()
        .log()
        .map(Result::unwrap)
        .collect();
    // History is cut off: what was compressed of it is in nobody's way.
    let last = &old[0];
    let alone = repo
        .branch("alone")
        .unwrap()
        .change(&info(1000), |tree| tree.set_dir("", &last.tree()))
        .unwrap();
    main.delete(last).unwrap();
    let other = repo.branch("other").unwrap();
    other.delete(&other.head().unwrap().unwrap()).unwrap();
    let full = bytes(&ram, MIN_SEGMENT);
    collect(&pack);
    let collected = collect(&pack);
    assert!(collected.objects + pack.len() as u64 > 600, "{collected:?}");
    assert!(bytes(&ram, MIN_SEGMENT) < full);
    assert_eq!(alone.tree().walk().count(), last.tree().walk().count());
    assert!(pack.read(&old[50].id()).unwrap().is_none());
    assert!(pack.check().unwrap().is_sound());
}

#[test]
fn damage_to_blocks_is_noticed_and_what_is_whole_is_saved() {
    let runs: u64 = std::env::var("RUNS").map_or(30, |runs| runs.parse().unwrap());
    let first: u64 = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    for seed in first..first + runs {
        println!("SEED={seed}");
        let mut dice = Dice(seed);
        let disk = Disk::new(30 * MIN_SEGMENT as usize, seed);
        let storage = || OnDevice::new(disk.clone(), MIN_SEGMENT);
        let pack = Pack::create_with(storage(), Format::Native, MIN_SEGMENT).unwrap();
        let pack = Arc::new(pack);
        let repo = Repo::new(pack.clone());
        commits(&repo, &mut dice, 0, 150);
        collect(&pack);
        assert!(collect(&pack).packed > 100);
        let objects = reachable(&pack);
        drop((repo, pack));
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(disk.end() as u64) as usize;
            let len = [1, 8, 512][dice.below(3) as usize];
            disk.damage(at, |bytes| {
                for byte in bytes.iter_mut().take(len) {
                    *byte ^= dice.next() as u8;
                }
            });
        }
        if let Ok(pack) = Pack::open(storage()) {
            for object in &objects {
                match pack.read(&object.id) {
                    Ok(Some(found)) => assert_eq!(found, *object),
                    Ok(None) | Err(BackendError::Corrupt { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            pack.check().unwrap();
        }
        let Ok((pack, report)) = Pack::repair(storage()) else {
            continue;
        };
        let lost: Vec<Object> = objects
            .iter()
            .filter(|object| pack.read(&object.id).unwrap().is_none())
            .cloned()
            .collect();
        println!("{} lost, {} damaged", lost.len(), report.damage.len());
        pack.write(&lost).unwrap();
        pack.flush().unwrap();
        let pack = Arc::new(pack);
        if pack
            .head(&RefName::branch("main").unwrap())
            .unwrap()
            .is_some()
        {
            collect(&pack);
            collect(&pack);
        }
        drop(pack);
        let pack = Pack::open(storage()).unwrap();
        let report = pack.check().unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
}
