//! Every kind of storage keeps the contract of a backend.

use irmin::{Format, conformance};
use irmin_pack::{Files, MIN_SEGMENT, Pack, Ram};

#[test]
fn memory_keeps_the_contract_in_every_format() {
    for format in [Format::GitSha1, Format::GitSha256, Format::Native] {
        conformance::check(&mut || Pack::create(Ram::default(), format).unwrap());
    }
}

#[test]
fn small_segments_keep_the_contract() {
    conformance::check(&mut || {
        Pack::create_with(Ram::default(), Format::Native, MIN_SEGMENT).unwrap()
    });
}

#[test]
fn files_keep_the_contract_and_what_was_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let mut n = 0;
    conformance::check(&mut || {
        n += 1;
        let files = Files::open(directory.path().join(n.to_string())).unwrap();
        Pack::create_with(files, Format::Native, MIN_SEGMENT).unwrap()
    });
    let path = directory.path().join("kept");
    let store = Pack::create(Files::open(&path).unwrap(), Format::GitSha1).unwrap();
    conformance::check_reopened(store, &mut |store| {
        drop(store);
        Pack::open(Files::open(&path).unwrap()).unwrap()
    });
}

#[test]
fn a_second_opening_is_locked_out() {
    let directory = tempfile::tempdir().unwrap();
    let _store = Pack::create(Files::open(directory.path()).unwrap(), Format::Native).unwrap();
    let error = Files::open(directory.path()).err().unwrap();
    assert!(
        matches!(error, irmin::BackendError::Locked { .. }),
        "{error}"
    );
}

#[test]
fn no_update_is_lost_when_threads_race() {
    let store = Pack::create_with(Ram::default(), Format::Native, MIN_SEGMENT).unwrap();
    let won = std::thread::scope(|threads| {
        let store = &store;
        let racers: Vec<_> = (0..4)
            .map(|n| threads.spawn(move || conformance::race(store, n, 200)))
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    conformance::counted(&store, won);
}
