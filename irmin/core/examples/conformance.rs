//! The suite of every backend on the store in memory, and one transaction, merge and watch, as a
//! program that needs nothing of the system: `cargo xtask test` builds it for wasm32 too and runs it
//! in node. It panics if something does not hold.
//!
//! `cargo run -p irmin --features conformance --example conformance`

use std::sync::Arc;

use irmin::merge::files_as_git;
use irmin::{Format, Info, Memory, Path, Repo, Signature, conformance};

fn main() {
    for format in [Format::GitSha1, Format::GitSha256, Format::Native] {
        conformance::check(&mut || Arc::new(Memory::new(format)));
        whole(Repo::new(Memory::new(format)));
    }
}

/// A change on either of two branches, watched and merged.
fn whole(repo: Repo) {
    let info = |n| Info::new(Signature::new("Ada", "ada@example.org", n, 0), "m\n");
    let main = repo.branch("main").expect("a name");
    let topic = repo.branch("topic").expect("a name");
    let set = |branch: &irmin::Branch, n: i64, path: &str| {
        branch
            .change(&info(n), |edit| edit.set(path, format!("{n}")))
            .expect("commits");
    };
    set(&main, 1, "a/x");
    topic
        .set_head(&main.head().expect("reads").expect("is there"))
        .expect("moves");
    let mut watch = main.watch(Path::default()).expect("watches");
    set(&main, 2, "a/x");
    set(&topic, 3, "b/y");
    let theirs = topic.head().expect("reads").expect("is there");
    let merged = main
        .merge(&theirs, &files_as_git, &info(4))
        .expect("merges");
    let event = watch.try_next().expect("reads").expect("has moved");
    assert_eq!(event.after(), Some(&merged));
    let changed: Vec<String> = event
        .changes()
        .map(|one| one.expect("reads").path.to_string())
        .collect();
    assert_eq!(changed, ["a/x", "b/y"]);
    assert_eq!(merged.log().count(), 4);
}
