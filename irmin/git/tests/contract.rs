//! The contract of every backend, kept in a Git repository.

mod common;

use std::sync::Arc;

use common::{FORMATS, fsck};
use irmin::Backend;
use irmin_git::{Durability, Git, Options};
use tempfile::TempDir;

fn relaxed() -> Options {
    Options {
        durability: Durability::Relaxed,
        ..Options::default()
    }
}

#[test]
fn a_repository_keeps_the_contract_in_both_formats() {
    for (format, _) in FORMATS {
        for bare in [true, false] {
            for options in [Options::default(), relaxed()] {
                let mut folders: Vec<TempDir> = Vec::new();
                irmin::conformance::check(&mut || {
                    let folder = tempfile::tempdir().unwrap();
                    Git::init(folder.path(), format, bare).unwrap();
                    let store = Git::open_with(folder.path(), &options).unwrap();
                    folders.push(folder);
                    store
                });
            }
        }
    }
}

#[test]
fn what_was_flushed_is_there_for_who_opens_it_again() {
    for (format, _) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let store = Git::init(folder.path(), format, true).unwrap();
        irmin::conformance::check_reopened(store, &mut |store| {
            drop(store);
            Git::open_with(folder.path(), &relaxed()).unwrap()
        });
        fsck(folder.path());
    }
}

#[test]
fn no_update_is_lost_when_threads_and_stores_race() {
    let folder = tempfile::tempdir().unwrap();
    Git::init(folder.path(), irmin::Format::GitSha1, true).unwrap();
    let stores = [0, 1].map(|_| Arc::new(Git::open_with(folder.path(), &relaxed()).unwrap()));
    let won = std::thread::scope(|threads| {
        let racers: Vec<_> = (0..4)
            .map(|n| {
                let store = stores[n as usize % 2].clone();
                threads.spawn(move || irmin::conformance::race(&store as &dyn Backend, n, 60))
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    irmin::conformance::counted(&stores[0], won);
    fsck(folder.path());
}
