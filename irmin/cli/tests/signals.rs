//! What ends a command before it is done: signals, limits, full disks, other writers.

mod common;

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{Place, feed};

/// A repository with a file that takes a while, as it does not shrink.
fn large(bytes: usize) -> Place {
    let place = Place::of_git("sha1");
    let mut random = common::Random(77);
    let contents: Vec<u8> = (0..bytes).map(|_| random.below(256) as u8).collect();
    let (code, _, error) = feed(place.irmin_command(&["set", "large"]), &contents);
    assert_eq!(code, 0, "{error}");
    place
}

/// All files below a folder, and folders that hold none.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        // The one stays where it was used once; the other says, as git's, that nothing was fetched.
        if path.ends_with("irmin.lock") || path.ends_with("FETCH_HEAD") {
            continue;
        }
        match path.is_dir() && fs::read_dir(&path).unwrap().next().is_some() {
            true => found.extend(files(&path)),
            false => found.push(path.to_string_lossy().into_owned()),
        }
    }
    found.sort();
    found
}

/// That a folder holds what it held before.
fn assert_same(folder: &Path, before: &[String], after: &str) {
    let now = files(folder);
    let new: Vec<_> = now.iter().filter(|file| !before.contains(file)).collect();
    let gone: Vec<_> = before.iter().filter(|file| !now.contains(file)).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "{after} made {new:?} and removed {gone:?}"
    );
}

/// Waits until this is so, or the command has ended.
fn wait_for(child: &mut Child, mut is_so: impl FnMut() -> bool) {
    while !is_so() && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_limit_of_file_size_is_an_error_and_leaves_nothing() {
    let place = large(1 << 20);
    let there = place.path().to_str().unwrap().to_string();
    let bundle = tempfile::tempdir().unwrap();
    let bundle = bundle.path().join("b.bundle");
    let bundle = bundle.to_str().unwrap();
    place.irmin(&["export", bundle]);
    let before = files(place.path());
    let other = Place::new("sha1", &[]);
    let others = files(other.path());
    let limited = |place: &Place, args: &[&str], input: &[u8]| {
        let mut shell = place.command("sh");
        shell.args(["-c", "ulimit -f 64; exec \"$@\"", "sh"]);
        shell.arg(env!("CARGO_BIN_EXE_irmin")).args(args);
        feed(shell, input)
    };
    for args in [
        &["convert", ".", "native"][..],
        &["convert", ".", "native", "--bare"],
        &["clone", ".", "clone"],
        &["export", "x.bundle"],
        &["gc"],
    ] {
        let (code, out, error) = limited(&place, args, b"");
        assert_eq!((code, &out[..]), (3, ""), "{args:?}: {error}");
        assert!(error.contains("File too large"), "{args:?}: {error}");
        assert_same(place.path(), &before, args[0]);
    }
    for args in [&["import", bundle][..], &["fetch", &there, "main:x"]] {
        let (code, out, error) = limited(&other, args, b"");
        assert_eq!((code, &out[..]), (3, ""), "{args:?}: {error}");
        assert!(error.contains("File too large"), "{args:?}: {error}");
        assert_same(other.path(), &others, args[0]);
    }
    let (code, _, error) = limited(&other, &["set", "x", &"y".repeat(10)], b"");
    assert_eq!(code, 0, "{error}");
    place.fsck();
}

#[test]
fn a_signal_removes_what_was_begun() {
    let place = large(6 << 20);
    let there = place.path().to_str().unwrap().to_string();
    let elsewhere = tempfile::tempdir().unwrap();
    let bundle = elsewhere.path().join("b.bundle");
    let bundle = bundle.to_str().unwrap();
    place.irmin(&["export", bundle]);
    let before = files(place.path());
    let mut stopped = 0;
    for (at, args) in [
        &["convert", ".", "new"][..],
        &["convert", ".", "new", "--bare"],
        &["clone", ".", "new"],
        &["export", "new.bundle"],
        &["gc"],
        &["import", bundle],
        &["fetch", &there, "main:x"],
    ]
    .iter()
    .enumerate()
    {
        let other = Place::new("sha1", &[]);
        let place = match args[0] {
            "import" | "fetch" => &other,
            _ => &place,
        };
        let before = match args[0] {
            "import" | "fetch" => files(other.path()),
            _ => before.clone(),
        };
        let (name, number) = [("INT", 2), ("TERM", 15), ("HUP", 1)][at % 3];
        let mut child = place.irmin_command(args);
        let mut child = child.stdout(Stdio::null()).spawn().unwrap();
        wait_for(&mut child, || files(place.path()) != before);
        signal(&child, name);
        let status = child.wait().unwrap();
        // It may have been done already.
        if status.signal() == Some(number) {
            stopped += 1;
            assert_same(place.path(), &before, args[0]);
        } else {
            assert_eq!(status.code(), Some(0), "{args:?}");
            return;
        }
    }
    assert!(stopped > 0);
    place.fsck();
}

#[test]
fn what_a_killed_run_left_is_told_of() {
    let place = large(6 << 20);
    for args in [&["clone", ".", "new"][..], &["convert", ".", "new"]] {
        let new = place.path().join("new");
        let mut child = place.irmin_command(args);
        let mut child = child.stdout(Stdio::null()).spawn().unwrap();
        wait_for(&mut child, || files(&new).len() > 1);
        // While it runs, and after it was killed.
        let (code, _, error) = place.try_irmin(args);
        assert_eq!(code, 3, "{error}");
        child.kill().unwrap();
        if child.wait().unwrap().signal() == Some(9) {
            assert!(error.contains("another program is making"), "{error}");
            let (code, _, error) = place.try_irmin(args);
            assert_eq!(code, 3, "{error}");
            assert!(
                error.contains("killed") && error.contains("rm -r new"),
                "{error}"
            );
        }
        fs::remove_dir_all(&new).unwrap();
        place.irmin(args);
        assert!(!new.join("irmin-unfinished").exists());
        fs::remove_dir_all(&new).unwrap();
    }
    // What is left of a bundle is written over, unless somebody writes it.
    let part = place.path().join("x.part");
    fs::write(&part, "x".repeat(100)).unwrap();
    let held = File::open(&part).unwrap();
    held.lock().unwrap();
    let (code, _, error) = place.try_irmin(&["export", "x"]);
    assert!(code == 3 && error.contains("another program"), "{error}");
    drop(held);
    place.irmin(&["export", "x"]);
    place.git(&["bundle", "verify", "x"]);
    assert!(!part.exists());
}
