//! Names that another process moves are noticed.

mod common;

use std::fs;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{append, git, name};
use irmin::{Backend, Format};
use irmin_git::Git;

/// Far beyond what it takes: a hook that does not come fails the test.
const LONG: Duration = Duration::from_secs(30);

fn hooked(store: &Git) -> Receiver<()> {
    let (send, receive) = channel();
    let send = Mutex::new(send);
    let is_told = store.on_change(Box::new(move || send.lock().unwrap().send(()).is_ok()));
    assert!(
        is_told,
        "the temporary folder is on a file system of this machine"
    );
    receive
}

/// Waits until the store shows what is wanted, woken by the hook only.
fn until(calls: &Receiver<()>, mut wanted: impl FnMut() -> bool) {
    while !wanted() {
        calls.recv_timeout(LONG).expect("the hook is called");
    }
}

#[test]
fn what_git_moves_is_noticed_in_files_packed_new_folders_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let store = Git::init(at, Format::GitSha1, true).unwrap();
    let first = append(&store, "refs/heads/main", 0);
    let calls = hooked(&store);
    let head = |branch: &str| store.head(&name(branch)).unwrap();
    let id = first.to_string();
    git(at, &["update-ref", "refs/heads/new", &id]);
    until(&calls, || head("refs/heads/new") == Some(first));
    git(at, &["update-ref", "refs/heads/a/b/c/d", &id]);
    until(&calls, || head("refs/heads/a/b/c/d") == Some(first));
    let generation = store.generation().unwrap();
    git(at, &["update-ref", "refs/heads/a/b/c/e", &id]);
    until(&calls, || head("refs/heads/a/b/c/e") == Some(first));
    assert_ne!(store.generation().unwrap(), generation);
    git(at, &["pack-refs", "--all"]);
    git(at, &["update-ref", "-d", "refs/heads/new"]);
    until(&calls, || head("refs/heads/new").is_none());
    git(at, &["symbolic-ref", "HEAD", "refs/heads/other"]);
    until(&calls, || {
        store.default_branch().unwrap() == name("refs/heads/other")
    });
    let other = Git::open(at).unwrap();
    let second = append(&other, "refs/heads/main", 1);
    until(&calls, || head("refs/heads/main") == Some(second));
}

#[test]
fn a_hook_goes_when_it_wants_to_and_with_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = Git::init(folder.path(), Format::GitSha1, true).unwrap();
    let (once, other) = (Arc::new(()), Arc::new(()));
    let held = once.clone();
    assert!(store.on_change(Box::new(move || {
        let _ = &held;
        false
    })));
    let calls = hooked(&store);
    append(&store, "refs/heads/main", 0);
    calls.recv_timeout(LONG).unwrap();
    assert_eq!(Arc::strong_count(&once), 1);
    let held = other.clone();
    store.on_change(Box::new(move || {
        let _ = &held;
        true
    }));
    drop(store);
    // The thread ends, and with it its end of the channel.
    while calls.recv_timeout(LONG).is_ok() {}
    while Arc::strong_count(&other) > 1 {
        std::thread::yield_now();
    }
    fs::remove_dir_all(folder.path()).unwrap();
}
