//! Damaged stores: no panic, no other bytes, and what is whole is saved.

mod disk;

use std::collections::BTreeMap;

use disk::{Dice, Disk};
use irmin::{Backend, BackendError, Expect, Format, Id, Kind, Object, RefEdit, RefName};
use irmin_pack::{Device, MIN_SEGMENT, OnDevice, Pack};

const DISK: usize = 10 * MIN_SEGMENT as usize;

/// A flushed store of a few segments: its objects and names.
fn sample(seed: u64) -> (Disk, BTreeMap<Id, Object>, BTreeMap<RefName, Id>) {
    let disk = Disk::new(DISK, seed);
    let mut dice = Dice(seed);
    let store = Pack::create_with(
        OnDevice::new(disk.clone(), MIN_SEGMENT),
        Format::Native,
        MIN_SEGMENT,
    )
    .unwrap();
    let mut objects = BTreeMap::new();
    let mut heads = BTreeMap::new();
    for n in 0..100u64 {
        let len = [40, 2000, 20_000][dice.below(3).min(dice.below(3)) as usize];
        let data: Vec<u8> = (0..dice.below(len)).map(|at| (at * n) as u8).collect();
        let object = Object::new(Format::Native, Kind::Blob, data).unwrap();
        store.write(std::slice::from_ref(&object)).unwrap();
        if n % 3 == 0 {
            let name = RefName::branch(&format!("b{}", n % 7)).unwrap();
            store.update(&[set(&name, object.id)]).unwrap();
            heads.insert(name, object.id);
        }
        objects.insert(object.id, object);
    }
    store.flush().unwrap();
    drop(store);
    // The note that dropping leaves, which needs no flush of its own.
    Device::flush(&disk).unwrap();
    (disk, objects, heads)
}

fn set(name: &RefName, id: Id) -> RefEdit {
    RefEdit {
        name: name.clone(),
        expect: Expect::Any,
        new: Some(id),
    }
}

fn open(disk: &Disk) -> Result<Pack<OnDevice<Disk>>, BackendError> {
    Pack::open(OnDevice::new(disk.clone(), MIN_SEGMENT))
}

#[test]
fn a_sound_store_is_reported_sound() {
    let (disk, objects, _) = sample(1);
    let report = open(&disk).unwrap().check().unwrap();
    assert!(
        report.is_sound() && report.incomplete.is_empty(),
        "{report:?}"
    );
    assert_eq!(report.objects, objects.len() as u64);
    assert!(report.segments >= 3, "{report:?}");
}

#[test]
fn any_damage_is_noticed_and_the_rest_is_saved() {
    let runs: u64 = std::env::var("RUNS").map_or(100, |runs| runs.parse().unwrap());
    let first: u64 = std::env::var("SEED").map_or(1, |seed| seed.parse().unwrap());
    for seed in first..first + runs {
        println!("SEED={seed}");
        let (disk, objects, heads) = sample(seed % 5);
        let mut dice = Dice(seed);
        // The last record says how far the store was durable; without it damage may be a torn end.
        let end = disk.end();
        let mut noted = true;
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(4 * MIN_SEGMENT) as usize;
            let len = [1, 8, 512, 9000][dice.below(4) as usize];
            println!("{len} bytes at {at}, end {end}");
            noted &= at + len < end - 64 || at > end;
            // Without a header and its copy there is no segment.
            noted &= (at..at + len).all(|at| at as u64 % MIN_SEGMENT >= 8192);
            let how = dice.below(3);
            disk.damage(at, |bytes| {
                for byte in &mut bytes[..len] {
                    match how {
                        0 => *byte ^= 1 << dice.below(8),
                        1 => *byte = 0,
                        _ => *byte = dice.next() as u8,
                    }
                }
            });
        }
        if let Ok(store) = open(&disk) {
            let found: BTreeMap<_, _> = store.heads("").unwrap().into_iter().collect();
            assert!(found == heads || !noted);
            for (id, object) in &objects {
                match store.read(id) {
                    Ok(Some(found)) => assert_eq!(found, *object),
                    Ok(None) | Err(BackendError::Corrupt { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
            store.check().unwrap();
        }
        let looked =
            Pack::inspect(OnDevice::new(disk.clone(), MIN_SEGMENT)).map(|(left, report)| {
                assert!(matches!(left.write(&[]), Err(BackendError::Refused { .. })));
                let read = |id| left.read(id).ok().flatten();
                (objects.keys().filter_map(read).count(), report)
            });
        let (store, report) = match Pack::repair(OnDevice::new(disk.clone(), MIN_SEGMENT)) {
            Ok(repaired) => repaired,
            // Every header gone, or one that is another store's.
            Err(error) => {
                println!("{error}");
                assert!(looked.is_err());
                continue;
            }
        };
        let (left, found) = looked.unwrap();
        assert_eq!(found, report);
        assert!(report.to_string().contains("\n") || report.is_sound());
        let mut lost = 0;
        for (id, object) in &objects {
            match store.read(id).unwrap() {
                Some(found) => assert_eq!(found, *object),
                None => lost += 1,
            }
        }
        assert!(left == objects.len() - lost);
        println!("{lost} lost, {} places damaged", report.damage.len());
        for (name, id) in store.heads("").unwrap() {
            assert!(
                objects.contains_key(&id),
                "{name} is an object that was written"
            );
        }
        // What was lost can be written again, and then all is well for who opens it next.
        let all: Vec<Object> = objects.values().cloned().collect();
        store.write(&all).unwrap();
        store.flush().unwrap();
        drop(store);
        let store = open(&disk).unwrap();
        for (id, object) in &objects {
            assert_eq!(store.read(id).unwrap().as_ref(), Some(object));
        }
        let report = store.check().unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
}

#[test]
fn a_damaged_object_is_an_error_and_heals_when_written_again() {
    let (disk, objects, _) = sample(2);
    let store = open(&disk).unwrap();
    disk.damage(8192, |bytes| bytes[..30_000].fill(7));
    let is_damaged = |id: &&Id| matches!(store.read(id), Err(BackendError::Corrupt { .. }));
    let damaged: Vec<&Id> = objects.keys().filter(is_damaged).collect();
    assert!(!damaged.is_empty());
    for id in damaged {
        store.write(std::slice::from_ref(&objects[id])).unwrap();
        assert_eq!(store.read(id).unwrap().as_ref(), Some(&objects[id]));
    }
}

#[test]
fn what_was_flushed_is_never_cut_off_as_a_torn_end() {
    let object = Object::new(Format::Native, Kind::Blob, &b"later"[..]).unwrap();
    let slots = DISK / MIN_SEGMENT as usize;
    let mut refused = 0;
    for slot in 0..slots {
        let (disk, ..) = sample(3);
        let store = open(&disk).unwrap();
        store.write(std::slice::from_ref(&object)).unwrap();
        store.flush().unwrap();
        drop(store);
        Device::flush(&disk).unwrap();
        disk.damage(slot * MIN_SEGMENT as usize + 8300, |bytes| {
            bytes[..64].fill(9)
        });
        match open(&disk) {
            Ok(store) => assert!(store.contains(&object.id).unwrap()),
            Err(BackendError::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "the segment that is written to was among them");
}

#[test]
fn one_damaged_sector_of_a_header_loses_nothing() {
    for slot in 0..DISK / MIN_SEGMENT as usize {
        for sector in [0, 4096] {
            let (disk, objects, heads) = sample(4);
            let at = slot * MIN_SEGMENT as usize + sector;
            disk.damage(at, |bytes| bytes[..4096].fill(1));
            let store = open(&disk).unwrap_or_else(|_| {
                let storage = OnDevice::new(disk.clone(), MIN_SEGMENT);
                Pack::repair(storage).unwrap().0
            });
            for (id, object) in &objects {
                assert_eq!(store.read(id).unwrap().as_ref(), Some(object));
            }
            let found: BTreeMap<_, _> = store.heads("").unwrap().into_iter().collect();
            assert_eq!(found, heads);
        }
    }
}

#[test]
fn what_looks_like_records_inside_an_object_is_none() {
    let disk = Disk::new(DISK, 1);
    let storage = || OnDevice::new(disk.clone(), MIN_SEGMENT);
    let store = Pack::create_with(storage(), Format::Native, MIN_SEGMENT).unwrap();
    let [first, second] = [&b"first"[..], b"second"]
        .map(|data| Object::new(Format::Native, Kind::Blob, data).unwrap());
    let name = RefName::branch("main").unwrap();
    store.write(&[first.clone(), second.clone()]).unwrap();
    store.update(&[set(&name, first.id)]).unwrap();
    store.flush().unwrap();
    let mut moves = vec![0; disk.end().next_multiple_of(512) - 8192];
    Device::read(&disk, 8192, &mut moves).unwrap();
    store.update(&[set(&name, second.id)]).unwrap();
    // A copy of the store's own log, kept in the store, and then damaged where it begins.
    let copy = Object::new(Format::Native, Kind::Blob, moves).unwrap();
    store.write(std::slice::from_ref(&copy)).unwrap();
    store.flush().unwrap();
    drop(store);
    Device::flush(&disk).unwrap();
    let end = disk.end();
    let mut all = vec![0; DISK];
    Device::read(&disk, 0, &mut all).unwrap();
    let at = all
        .windows(32)
        .position(|id| id == copy.id.as_bytes())
        .unwrap();
    assert!(at < end);
    disk.damage(at, |bytes| bytes[0] ^= 1);
    let (store, report) = Pack::repair(storage()).unwrap();
    assert!(!report.is_sound());
    assert_eq!(store.head(&name).unwrap(), Some(second.id));
    assert_eq!(store.read(&copy.id).unwrap(), None);
}

#[test]
fn what_is_no_store_is_refused() {
    for fill in [0, 0xff, 0xa5] {
        let disk = Disk::new(DISK, 1);
        disk.damage(0, |bytes| bytes.fill(fill));
        assert!(matches!(open(&disk), Err(BackendError::Refused { .. })));
    }
    let (disk, ..) = sample(1);
    let again = Pack::create_with(
        OnDevice::new(disk, MIN_SEGMENT),
        Format::Native,
        MIN_SEGMENT,
    );
    assert!(matches!(again, Err(BackendError::Refused { .. })));
}
