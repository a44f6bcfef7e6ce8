//! What the tests share: the real `git`, and commits made by hand.
#![allow(dead_code)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use irmin::raw::{CommitData, Mode, Signature, push_entry};
use irmin::{Backend, Expect, Format, Id, Kind, Object, RefEdit, RefName};

pub const FORMATS: [(Format, &str); 2] = [(Format::GitSha1, "sha1"), (Format::GitSha256, "sha256")];

/// A command of `git` that no configuration of this machine touches.
pub fn command(at: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false", "-C"])
        .arg(at)
        .args(args)
        .stdin(Stdio::null())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_AUTHOR_NAME", "G")
        .env("GIT_AUTHOR_EMAIL", "g@example.org")
        .env("GIT_COMMITTER_NAME", "G")
        .env("GIT_COMMITTER_EMAIL", "g@example.org");
    command
}

pub fn try_git(at: &Path, args: &[&str]) -> Output {
    command(at, args).output().expect("git is installed")
}

/// Runs `git`, which must succeed; returns what it printed, without the last line end.
pub fn git(at: &Path, args: &[&str]) -> String {
    let output = try_git(at, args);
    assert!(
        output.status.success(),
        "git {args:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim_end().into()
}

/// `git fsck`, to which nothing may be wrong.
pub fn fsck(at: &Path) {
    let output = try_git(at, &["fsck", "--strict", "--full", "--no-dangling"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && !said.contains("error") && !said.contains("warning"),
        "{}{said}",
        String::from_utf8_lossy(&output.stdout)
    );
}

pub fn name(name: &str) -> RefName {
    RefName::new(name).unwrap()
}

pub fn set(at: &str, expect: Expect, new: Id) -> RefEdit {
    RefEdit {
        name: name(at),
        expect,
        new: Some(new),
    }
}

pub fn delete(at: &str) -> RefEdit {
    RefEdit {
        name: name(at),
        expect: Expect::Any,
        new: None,
    }
}

/// A directory of files, a commit of it, and all their objects: blobs, tree, commit.
pub fn snapshot(
    format: Format,
    parents: &[Id],
    files: &[(String, String)],
    message: &str,
) -> Vec<Object> {
    let mut objects = Vec::new();
    let mut tree = Vec::new();
    for (file, text) in files {
        let blob = Object::new(format, Kind::Blob, text.clone().into_bytes()).unwrap();
        push_entry(&mut tree, Mode::File, file.as_bytes(), &blob.id);
        objects.push(blob);
    }
    let tree = Object::new(format, Kind::Tree, tree).unwrap();
    objects.push(tree.clone());
    objects.push(commit(format, tree.id, parents, message));
    objects
}

pub fn commit(format: Format, tree: Id, parents: &[Id], message: &str) -> Object {
    let who = Signature::new("I", "i@example.org", 1_429_538_400, 120);
    let data = CommitData {
        tree,
        parents: parents.into(),
        author: who.clone(),
        committer: who,
        headers: vec![],
        message: Some(message.into()),
    };
    Object::new(format, Kind::Commit, data.encode()).unwrap()
}

/// The files `f0` to `f9`, where file `n % 10` says `n`.
pub fn files(n: usize) -> Vec<(String, String)> {
    (0..10)
        .map(|at| {
            let last = n.checked_sub((n + 10 - at) % 10).unwrap_or(at + 1000);
            (
                format!("f{at}"),
                format!("file {at} at {last}\n").repeat(20),
            )
        })
        .collect()
}

/// Adds one commit to a branch, trying again when somebody else was faster; returns its id.
pub fn append(store: &dyn Backend, branch: &str, n: usize) -> Id {
    loop {
        let head = store.head(&name(branch)).unwrap();
        let objects = snapshot(
            store.format(),
            head.as_slice(),
            &files(n),
            &format!("ours {n}\n"),
        );
        store.write(&objects).unwrap();
        let id = objects.last().unwrap().id;
        match store.update(&[set(branch, head.into(), id)]) {
            Ok(()) => return id,
            Err(irmin::UpdateError::Moved { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
