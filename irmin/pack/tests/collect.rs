//! Garbage goes while others write; what they write and what names lead to stays.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use irmin::{Backend, BackendError, Expect, Format, Id, Kind, Object, RefEdit, RefName};
use irmin_pack::{Files, MIN_SEGMENT, Pack, Ram, Storage};

/// A tree here is a list of ids.
fn references(object: &Object, into: &mut Vec<Id>) -> Result<(), BackendError> {
    into.extend(object.data.chunks(32).map(|id| Id::from_bytes(id).unwrap()));
    Ok(())
}

fn blob(text: String) -> Object {
    Object::new(Format::Native, Kind::Blob, text.into_bytes()).unwrap()
}

fn tree(of: &[Id]) -> Object {
    let data: Vec<u8> = of.iter().flat_map(|id| id.as_bytes()).copied().collect();
    Object::new(Format::Native, Kind::Tree, data).unwrap()
}

fn point<S: Storage>(store: &Pack<S>, name: &str, to: Option<Id>) {
    let edit = RefEdit {
        name: RefName::branch(name).unwrap(),
        expect: Expect::Any,
        new: to,
    };
    store.update(&[edit]).unwrap();
}

#[test]
fn two_collections_leave_what_names_lead_to_and_give_the_rest_back() {
    let directory = tempfile::tempdir().unwrap();
    let files = Files::open(directory.path()).unwrap();
    let store = Pack::create_with(files, Format::Native, MIN_SEGMENT).unwrap();
    let kept = blob("kept".repeat(5000));
    let root = tree(&[kept.id]);
    for n in 0..200 {
        store.write(&[blob(format!("{n}").repeat(500))]).unwrap();
        if n == 100 {
            store.write(&[kept.clone(), root.clone()]).unwrap();
            point(&store, "main", Some(root.id));
        }
    }
    let before = store.storage().used().unwrap().len();
    let young = store.collect_with(&mut references).unwrap();
    assert_eq!(young.objects, 0, "all of it may still be about to be used");
    let old = store.collect_with(&mut references).unwrap();
    assert_eq!(old.objects, 200);
    let after = store.storage().used().unwrap().len();
    assert!(before > 5 && after <= 2, "{before} segments, then {after}");
    drop(store);
    let store = Pack::open(Files::open(directory.path()).unwrap()).unwrap();
    assert_eq!(store.read(&kept.id).unwrap(), Some(kept));
    assert!(store.check().unwrap().is_sound());
}

#[test]
fn a_missing_object_stops_a_collection_before_anything_is_dropped() {
    let store = Pack::create_with(Ram::default(), Format::Native, MIN_SEGMENT).unwrap();
    let garbage = blob("garbage".into());
    let root = tree(&[blob("not written".into()).id]);
    store.write(&[garbage.clone(), root.clone()]).unwrap();
    point(&store, "main", Some(root.id));
    for _ in 0..3 {
        let error = store.collect_with(&mut references).unwrap_err();
        assert!(matches!(error, BackendError::Corrupt { .. }), "{error}");
    }
    assert!(store.contains(&garbage.id).unwrap());
}

#[test]
fn writers_lose_nothing_while_garbage_is_collected() {
    let store = Pack::create_with(Ram::default(), Format::Native, MIN_SEGMENT).unwrap();
    const WRITERS: usize = 3;
    let commits: [AtomicU64; WRITERS] = Default::default();
    let stop = AtomicBool::new(false);
    let (store, stop, commits) = (&store, &stop, &commits);
    std::thread::scope(|threads| {
        for (writer, count) in commits.iter().enumerate() {
            threads.spawn(move || {
                let name = format!("w{writer}");
                let mut kept: Vec<Id> = Vec::new();
                for n in 0.. {
                    // Some contents come again after they were garbage; some are large.
                    let size = if n % 17 == 0 { 3000 } else { 30 };
                    let new = blob(format!("{writer} {}", n % 40).repeat(size));
                    kept.push(new.id);
                    if kept.len() > 20 {
                        kept.remove(n % 20);
                    }
                    let root = tree(&kept);
                    store.write(&[new, root.clone()]).unwrap();
                    point(store, &name, Some(root.id));
                    for id in &kept {
                        assert!(store.read(id).unwrap().is_some(), "{id} of {name}");
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
        }
        let mut dropped = 0;
        let mut freed = 0;
        for _ in 0..60 {
            // Each writer has finished what it began before the last collection.
            let seen: Vec<u64> = commits.iter().map(|n| n.load(Ordering::SeqCst)).collect();
            while commits
                .iter()
                .zip(&seen)
                .any(|(now, then)| now.load(Ordering::SeqCst) < then + 2)
            {
                std::thread::yield_now();
            }
            let done = store.collect_with(&mut references).unwrap();
            dropped += done.objects;
            freed += done.segments;
        }
        stop.store(true, Ordering::SeqCst);
        assert!(
            dropped > 0 && freed > 0,
            "{dropped} objects, {freed} segments"
        );
    });
    let report = store.check().unwrap();
    assert!(report.is_sound(), "{report:?}");
}
