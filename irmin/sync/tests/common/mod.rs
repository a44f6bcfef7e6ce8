//! What the tests share: the real `git`, repositories of its making, and its HTTP server.
#![allow(dead_code)]

pub mod cgi;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use irmin::{Backend, Format, Info, RefName, Repo, Signature};
use irmin_git::Git;

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

/// Runs `git`, which must succeed; returns what it printed, without the last line end.
pub fn git(at: &Path, args: &[&str]) -> String {
    let output: Output = command(at, args).output().expect("git is installed");
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
    let output = command(at, &["fsck", "--strict", "--full", "--no-dangling"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && !said.contains("error") && !said.contains("warning"),
        "{}{said}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// All names under a prefix with their ids, as git says them.
pub fn names(at: &Path, prefix: &str) -> String {
    git(
        at,
        &["for-each-ref", "--format=%(objectname) %(refname)", prefix],
    )
}

pub fn init(at: &Path, word: &str, bare: bool) {
    fs::create_dir_all(at).unwrap();
    let format = format!("--object-format={word}");
    let mut args = vec!["init", "-q", "-b", "trunk", &format, "."];
    if bare {
        args.insert(1, "--bare");
    }
    git(at, &args);
    git(at, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    git(at, &["config", "http.receivepack", "true"]);
}

/// Commits with git's own commands in a work tree.
pub fn commit(at: &Path, n: usize) {
    let dir = at.join(format!("d{}", n % 5));
    fs::create_dir_all(&dir).unwrap();
    let text: String = (0..200)
        .map(|line| format!("{line} {}\n", line % (n + 1)))
        .collect();
    fs::write(dir.join(format!("f{}", n % 7)), text).unwrap();
    fs::write(at.join("README"), format!("{n}\n")).unwrap();
    git(at, &["add", "-A"]);
    git(at, &["commit", "-q", "-m", &format!("git's {n}")]);
}

/// A bare repository with some history: two branches, a merge, tags of both kinds; and its work tree
/// beside it. Made once, and then copied.
pub fn origin(at: &Path, word: &str) {
    static MADE: Mutex<BTreeMap<String, tempfile::TempDir>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let pattern = made.entry(word.into()).or_insert_with(|| {
        let folder = tempfile::tempdir().unwrap();
        make_origin(&folder.path().join("o.git"), word);
        folder
    });
    for (from, to) in [
        ("o.git", at.to_path_buf()),
        ("o.work", at.with_extension("work")),
    ] {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(pattern.path().join(from))
            .arg(&to)
            .status();
        assert!(copied.unwrap().success());
    }
    git(
        &at.with_extension("work"),
        &["remote", "set-url", "origin", at.to_str().unwrap()],
    );
}

fn make_origin(at: &Path, word: &str) {
    let work = at.with_extension("work");
    init(&work, word, false);
    (0..12).for_each(|n| commit(&work, n));
    git(&work, &["tag", "light"]);
    git(&work, &["tag", "-a", "-m", "a tag", "v1"]);
    git(&work, &["checkout", "-q", "-b", "side/one", "HEAD~4"]);
    (20..24).for_each(|n| commit(&work, n));
    git(&work, &["checkout", "-q", "trunk"]);
    git(
        &work,
        &["merge", "-q", "-X", "ours", "-m", "merge", "side/one~2"],
    );
    init(at, word, true);
    let url = at.to_str().unwrap();
    git(&work, &["push", "-q", "--mirror", url]);
    git(&work, &["remote", "add", "origin", url]);
    fsck(at);
}

/// Git itself commits to a branch of the bare repository, through its work tree.
pub fn more(at: &Path, n: usize) {
    let work = at.with_extension("work");
    git(&work, &["pull", "-q", "--no-rebase", "origin", "trunk"]);
    commit(&work, n);
    git(&work, &["push", "-q", "origin", "trunk"]);
}

pub fn info(n: i64) -> Info {
    Info::new(
        Signature::new("Ada", "ada@example.org", 2_000_000_000 + n, 0),
        format!("ours {n}\n"),
    )
}

/// We commit to a branch.
pub fn change(store: &std::sync::Arc<Git>, branch: &str, n: i64) -> irmin::Id {
    let repo = Repo::new(store.clone());
    let branch = repo.branch(branch).unwrap();
    let changed = branch.change(&info(n), |edit| {
        edit.set(format!("ours/{}", n % 3), format!("{n}\n").repeat(100))
    });
    changed.unwrap().id()
}

pub fn name(name: &str) -> RefName {
    RefName::new(name).unwrap()
}

pub fn head(store: &dyn Backend, of: &str) -> Option<irmin::Id> {
    store.head(&name(of)).unwrap()
}
