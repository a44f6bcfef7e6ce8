//! Collecting garbage, checking and the commit-graph, against the real git in both formats.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use common::{FORMATS, append, files, fsck, git, name, set, snapshot, try_git};
use irmin::raw::{Mode, push_entry};
use irmin::{Backend, BackendError, Expect, Format, Kind, Object};
use irmin_git::{GcOptions, Git, Report};
use tempfile::TempDir;

fn history(format: Format, commits: usize) -> (TempDir, Git) {
    let folder = tempfile::tempdir().unwrap();
    let store = Git::init(folder.path(), format, true).unwrap();
    for n in 0..commits {
        append(&store, "refs/heads/main", n);
    }
    (folder, store)
}

fn now() -> GcOptions<'static> {
    GcOptions {
        prune: Some(Duration::ZERO),
        progress: None,
    }
}

fn in_packs(at: &Path, extension: &str) -> usize {
    let files = fs::read_dir(at.join("objects/pack")).unwrap();
    files
        .filter(|file| {
            let path = file.as_ref().unwrap().path();
            path.extension().is_some_and(|last| last == extension)
        })
        .count()
}

/// Makes everything that is here look old.
fn age(at: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
    let mut folders = vec![at.join("objects")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let file = fs::File::open(&path).unwrap();
                file.set_modified(then).unwrap();
            }
        }
    }
}

fn check(store: &Git) -> Report {
    store.check(&mut |_| ()).unwrap()
}

#[test]
fn all_goes_to_one_pack_and_git_finds_nothing_wrong() {
    for (format, _) in FORMATS {
        let (folder, store) = history(format, 100);
        let at = folder.path();
        // Some of git's own, alone in files, and packs of git.
        git(at, &["config", "gc.auto", "0"]);
        let tree = git(at, &["rev-parse", "main^{tree}"]);
        let ours = git(at, &["commit-tree", "-p", "main", "-m", "by git", &tree]);
        git(at, &["update-ref", "refs/heads/other", &ours]);
        git(at, &["tag", "-a", "-m", "t", "v1", "other"]);
        let before = git(at, &["rev-list", "--objects", "--all"]);
        let done = store.gc(GcOptions::default()).unwrap();
        assert_eq!(done.objects as usize, before.lines().count());
        assert_eq!((done.dropped, done.kept, done.commits), (0, 0, 101));
        assert_eq!((in_packs(at, "pack"), in_packs(at, "idx")), (1, 1));
        assert_eq!(git(at, &["count-objects"]), "0 objects, 0 kilobytes");
        fsck(at);
        git(at, &["commit-graph", "verify"]);
        assert_eq!(git(at, &["rev-list", "--objects", "--all"]), before);
        assert_eq!(check(&store).problems, [""; 0]);
        // Nothing to do, and it goes on from here.
        let again = store.gc(GcOptions::default()).unwrap();
        assert_eq!((again.objects, again.packs), (done.objects, 0));
        append(&store, "refs/heads/main", 100);
        fsck(at);
        assert!(!at.join("gc.pid").exists());
    }
}

#[test]
fn what_lay_alone_becomes_deltas_that_take_about_what_gits_take() {
    for (format, word) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("ours");
        let init = format!("--object-format={word}");
        git(folder.path(), &["init", "-q", "-b", "main", &init, "ours"]);
        let mut lines: Vec<String> = (0..400u64)
            .map(|n| format!("line {n}: {:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
            .collect();
        for n in 0..40 {
            lines[n * 37 % 400] = format!("changed by {n}");
            lines.insert(n * 11 % 400, format!("new in {n}"));
            fs::write(at.join("text"), lines.join("\n")).unwrap();
            fs::write(at.join(format!("f{n}")), format!("{n}")).unwrap();
            git(&at, &["add", "-A"]);
            git(&at, &["commit", "-q", "-m", &format!("{n}")]);
        }
        let size = |at: &Path| -> u64 {
            let packs = fs::read_dir(at.join("objects/pack")).unwrap();
            let packs = packs.map(|file| file.unwrap().path());
            let packs = packs.filter(|path| path.extension().is_some_and(|last| last == "pack"));
            packs.map(|path| path.metadata().unwrap().len()).sum()
        };
        git(folder.path(), &["clone", "-q", "--bare", "ours", "theirs"]);
        let theirs = folder.path().join("theirs");
        git(&theirs, &["repack", "-q", "-a", "-d", "-f"]);
        let store = Git::open(&at).unwrap();
        assert_eq!(store.format(), format);
        store.gc(GcOptions::default()).unwrap();
        let (ours, theirs) = (size(&at.join(".git")), size(&theirs));
        assert!(ours * 4 <= theirs * 5, "{ours} bytes, and git's {theirs}");
        fsck(&at);
    }
}

#[test]
fn what_nothing_leads_to_stays_two_weeks_and_what_it_leads_to_with_it() {
    for (format, _) in FORMATS {
        let (folder, store) = history(format, 30);
        let at = folder.path();
        let lost = append(&store, "refs/heads/lost", 1000);
        let blob = Object::new(format, Kind::Blob, &b"never led to\n"[..]).unwrap();
        store.write(std::slice::from_ref(&blob)).unwrap();
        let loose = git(at, &["hash-object", "-w", "config"]);
        let edit = irmin::RefEdit {
            name: name("refs/heads/lost"),
            expect: Expect::Is(lost),
            new: None,
        };
        store.update(&[edit]).unwrap();
        let done = store.gc(GcOptions::default()).unwrap();
        assert!(done.kept > 3 && done.dropped == 0, "{done:?}");
        assert_eq!(in_packs(at, "mtimes"), 1);
        assert!(store.contains(&lost).unwrap() && store.contains(&blob.id).unwrap());
        fsck(at);
        // Git itself reads the times: it keeps them too.
        git(at, &["gc", "-q"]);
        assert_eq!(git(at, &["cat-file", "-t", &lost.to_string()]), "commit");
        git(at, &["cat-file", "-t", &loose]);
        let store = Git::open(at).unwrap();
        let again = store.gc(GcOptions::default()).unwrap();
        assert_eq!((again.kept, again.dropped), (done.kept, 0));
        let gone = store.gc(now()).unwrap();
        assert_eq!((gone.kept, gone.dropped), (0, done.kept));
        assert!(!store.contains(&lost).unwrap() && !store.contains(&blob.id).unwrap());
        assert_eq!(in_packs(at, "mtimes"), 0);
        fsck(at);
        assert_eq!(check(&store).problems, [""; 0]);
    }
}

#[test]
fn what_killed_writers_left_goes_when_it_is_old() {
    let (folder, store) = history(Format::GitSha1, 3);
    let at = folder.path();
    let left = [
        "pack/tmp_pack_1_2",
        "pack/tmp_idx_1_2",
        "tmp_obj_x",
        "info/tmp_graph_1_2",
    ];
    let left = left.map(|name| at.join("objects").join(name));
    for path in &left {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "half").unwrap();
    }
    store.gc(GcOptions::default()).unwrap();
    assert!(left.iter().all(|path| path.exists()));
    age(at, 15);
    store.gc(GcOptions::default()).unwrap();
    assert!(!left.iter().any(|path| path.exists()));
    fsck(at);
}

#[test]
fn old_garbage_that_is_written_again_stays() {
    for (format, _) in FORMATS {
        let (folder, store) = history(format, 5);
        let at = folder.path();
        let objects = snapshot(format, &[], &files(77), "later\n");
        store.write(&objects).unwrap();
        drop(store);
        age(at, 30);
        let store = Git::open(at).unwrap();
        // Who writes them again finds them here, and says so by the file's time.
        store.write(&objects).unwrap();
        store.gc(GcOptions::default()).unwrap();
        let head = objects.last().unwrap().id;
        store
            .update(&[set("refs/heads/later", Expect::Missing, head)])
            .unwrap();
        fsck(at);
        drop(store);
        age(at, 30);
        let store = Git::open(at).unwrap();
        assert_eq!(store.gc(GcOptions::default()).unwrap().dropped, 0);
        fsck(at);
    }
}

#[test]
fn logs_and_indexes_of_work_trees_keep_what_they_name() {
    for (_, label) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        git(at, &["init", "-q", "-b", "main", "--object-format", label]);
        for (n, version) in ["2", "4"].into_iter().enumerate() {
            fs::write(at.join(format!("file{n}")), format!("committed {n}\n")).unwrap();
            git(at, &["add", "."]);
            git(at, &["commit", "-q", "-m", "m"]);
            git(at, &["commit", "-q", "--amend", "-m", "once more"]);
            fs::create_dir_all(at.join("long/path")).unwrap();
            fs::write(
                at.join(format!("long/path/staged{n}")),
                format!("staged {n}\n"),
            )
            .unwrap();
            git(at, &["add", "."]);
            git(at, &["update-index", "--index-version", version]);
            git(
                at,
                &[
                    "worktree",
                    "add",
                    "-q",
                    "--detach",
                    &format!("../{}-{n}", at.file_name().unwrap().to_str().unwrap()),
                ],
            );
            let store = Git::open(at).unwrap();
            let done = store.gc(now()).unwrap();
            assert_eq!(done.dropped, 0, "{label} {version}");
            git(at, &["cat-file", "-e", &format!(":long/path/staged{n}")]);
            git(at, &["cat-file", "-e", "main@{1}"]);
            fsck(at);
            let other =
                at.with_file_name(format!("{}-{n}", at.file_name().unwrap().to_str().unwrap()));
            git(&other, &["status", "--short"]);
            fs::remove_dir_all(other).unwrap();
        }
    }
}

#[test]
fn grafts_and_a_rebase_that_was_interrupted_keep_what_they_name() {
    for (_, label) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        git(at, &["init", "-q", "-b", "main", "--object-format", label]);
        git(at, &["config", "core.logAllRefUpdates", "false"]);
        let commit = |contents: &str| {
            fs::write(at.join("file"), contents).unwrap();
            fs::write(at.join("other"), "committed\n").unwrap();
            git(at, &["add", "."]);
            git(at, &["commit", "-q", "-m", contents]);
        };
        commit("base");
        git(at, &["branch", "side"]);
        commit("ours");
        git(at, &["checkout", "-q", "side"]);
        commit("theirs");
        // No name leads to the parent that it is given.
        let tree = git(at, &["rev-parse", "main^{tree}"]);
        let lost = git(at, &["commit-tree", "-m", "lost", &tree]);
        let base = git(at, &["rev-parse", "main~1"]);
        fs::create_dir_all(at.join(".git/info")).unwrap();
        fs::write(at.join(".git/info/grafts"), format!("{base} {lost}\n")).unwrap();
        fs::write(at.join("other"), "not committed\n").unwrap();
        assert!(
            !try_git(at, &["rebase", "-q", "--autostash", "main"])
                .status
                .success()
        );
        assert_eq!(fs::read(at.join("other")).unwrap(), b"committed\n");
        let store = Git::open(at).unwrap();
        store.gc(now()).unwrap();
        assert_eq!(git(at, &["rev-list", "--count", "main"]), "3", "{label}");
        git(at, &["rebase", "--abort"]);
        assert_eq!(fs::read(at.join("other")).unwrap(), b"not committed\n");
        fsck(at);
    }
}

#[test]
fn one_collection_at_a_time_and_locks_of_the_dead_mean_nothing() {
    let (folder, store) = history(Format::GitSha1, 3);
    let lock = folder.path().join("gc.pid");
    let host = Command::new("uname").arg("-n").output().unwrap().stdout;
    let host = String::from_utf8(host).unwrap();
    fs::write(&lock, format!("{} {host}", std::process::id())).unwrap();
    assert!(matches!(
        store.gc(GcOptions::default()),
        Err(BackendError::Locked { .. })
    ));
    assert!(!try_git(folder.path(), &["gc"]).status.success());
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    // Neither who is no more nor nobody at all, which a process leaves that is killed while it writes.
    for left in [format!("{} {host}", child.id()), String::new(), "x".into()] {
        fs::write(&lock, left).unwrap();
        store.gc(GcOptions::default()).unwrap();
        assert!(!lock.exists());
    }
    // Who is about to begin has this one, git too; it is waited for.
    let beginning = lock.with_extension("pid.lock");
    fs::write(&beginning, "").unwrap();
    let error = store.gc(GcOptions::default()).unwrap_err();
    assert!(matches!(error, BackendError::Locked { .. }), "{error}");
    assert!(!try_git(folder.path(), &["gc"]).status.success());
    fs::remove_file(beginning).unwrap();
    store.gc(GcOptions::default()).unwrap();
}

#[test]
fn a_repository_that_lacks_something_loses_nothing_more() {
    let (folder, store) = history(Format::GitSha1, 20);
    store.gc(GcOptions::default()).unwrap();
    let at = folder.path();
    // Everything alone in files, one of which goes.
    let pack = fs::read_dir(at.join("objects/pack")).unwrap();
    let pack = pack
        .map(|file| file.unwrap().path())
        .find(|path| path.extension().is_some_and(|last| last == "pack"))
        .unwrap();
    let moved = at.join("moved.pack");
    fs::rename(&pack, &moved).unwrap();
    fs::remove_file(pack.with_extension("idx")).unwrap();
    let status = Command::new("git")
        .arg("-C")
        .arg(at)
        .args(["unpack-objects", "-q"])
        .stdin(fs::File::open(&moved).unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    let tree = git(at, &["rev-parse", "main~7^{tree}"]);
    fs::remove_file(at.join("objects").join(&tree[..2]).join(&tree[2..])).unwrap();
    let store = Git::open(at).unwrap();
    let before = git(at, &["count-objects"]);
    let error = store.gc(now()).unwrap_err();
    assert!(
        matches!(error, BackendError::Corrupt { .. }) && error.to_string().contains(&tree),
        "{error}"
    );
    assert_eq!(git(at, &["count-objects"]), before);
    let report = check(&store);
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert!(report.problems[0].contains(&tree));
}

#[test]
fn writers_and_git_lose_nothing_beside_a_collection() {
    let (folder, store) = history(Format::GitSha1, 10);
    let at = folder.path();
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|which| {
                let store = &store;
                scope.spawn(move || {
                    let branch = format!("refs/heads/b{which}");
                    for n in 0..60 {
                        append(store, &branch, n);
                    }
                })
            })
            .collect();
        let by_git = scope.spawn(|| {
            for n in 0..10 {
                let tree = git(at, &["rev-parse", "main^{tree}"]);
                let new = git(at, &["commit-tree", "-m", &format!("git {n}"), &tree]);
                git(at, &["update-ref", &format!("refs/heads/git{n}"), &new]);
            }
        });
        let other = Git::open(at).unwrap();
        while !by_git.is_finished() || !writers.iter().all(|writer| writer.is_finished()) {
            other.gc(GcOptions::default()).unwrap();
        }
    });
    store.gc(GcOptions::default()).unwrap();
    fsck(at);
    assert_eq!(git(at, &["rev-list", "--count", "--all"]), "70");
}

#[test]
fn what_is_wrong_is_found_as_git_finds_it() {
    for (format, _) in FORMATS {
        let (folder, store) = history(format, 3);
        let at = folder.path();
        let blob = Object::new(format, Kind::Blob, &b"x"[..]).unwrap();
        let tree = |entries: &[(&str, Mode)]| {
            let mut data = Vec::new();
            for (file, mode) in entries {
                push_entry(&mut data, *mode, file.as_bytes(), &blob.id);
            }
            Object::new(format, Kind::Tree, data).unwrap()
        };
        store.write(std::slice::from_ref(&blob)).unwrap();
        assert_eq!(check(&store).problems, [""; 0]);
        for (entries, what) in [
            (vec![(".git", Mode::File)], "hasDotgit"),
            (vec![("..", Mode::File)], "hasDotdot"),
            (vec![("b", Mode::File), ("a", Mode::File)], "treeNotSorted"),
            (
                vec![("a", Mode::File), ("a", Mode::File)],
                "duplicateEntries",
            ),
        ] {
            let tree = tree(&entries);
            store.write(std::slice::from_ref(&tree)).unwrap();
            let found = check(&store).problems;
            let text = tree.id.to_string();
            assert!(
                found.iter().any(|problem| problem.contains(&text)),
                "{what}: {found:?}"
            );
            let theirs = try_git(at, &["fsck", "--strict"]);
            assert!(String::from_utf8_lossy(&theirs.stderr).contains(what));
        }
        let store = Git::open(at).unwrap();
        // A directory that is no directory, and something that is not there.
        let nowhere = Object::new(format, Kind::Blob, &b"nowhere"[..]).unwrap();
        let mut data = Vec::new();
        push_entry(&mut data, Mode::File, b"gone", &nowhere.id);
        let lacking = Object::new(format, Kind::Tree, data).unwrap();
        let mut data = Vec::new();
        push_entry(&mut data, Mode::Dir, b"dir", &blob.id);
        let wrong = Object::new(format, Kind::Tree, data).unwrap();
        store.write(&[lacking, wrong]).unwrap();
        let found = check(&store).problems.join("\n");
        assert!(
            found.contains(&format!("blob {} is missing", nowhere.id)),
            "{found}"
        );
        assert!(
            found.contains(&format!("refers to {} as a tree", blob.id))
                || found.contains("is a tree to one"),
            "{found}"
        );
    }
}

#[test]
fn a_changed_bit_anywhere_in_a_pack_is_found() {
    let (folder, store) = history(Format::GitSha1, 20);
    store.gc(GcOptions::default()).unwrap();
    let files = fs::read_dir(folder.path().join("objects/pack")).unwrap();
    for file in files.map(|file| file.unwrap().path()) {
        let bytes = fs::read(&file).unwrap();
        for at in (8..bytes.len()).step_by(bytes.len() / 20) {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            fs::remove_file(&file).unwrap();
            fs::write(&file, changed).unwrap();
            let store = Git::open(folder.path()).unwrap();
            let report = check(&store);
            assert!(!report.problems.is_empty(), "{file:?} at {at}");
        }
        fs::remove_file(&file).unwrap();
        fs::write(&file, &bytes).unwrap();
    }
}

#[test]
fn a_commit_graph_of_ours_is_one_of_gits() {
    for (format, _) in FORMATS {
        let (folder, store) = history(format, 40);
        let at = folder.path();
        // A merge of five, a root at the beginning of time, and clocks that go back.
        let tree = git(at, &["rev-parse", "main^{tree}"]);
        let mut args = vec!["commit-tree", "-m", "octopus", &tree];
        let parents: Vec<String> = (0..5).map(|n| format!("main~{n}")).collect();
        parents
            .iter()
            .for_each(|parent| args.extend(["-p", parent]));
        let mut octopus = common::command(at, &args);
        octopus.env("GIT_COMMITTER_DATE", "@100 +0000");
        let octopus = String::from_utf8(octopus.output().unwrap().stdout).unwrap();
        git(at, &["update-ref", "refs/heads/octopus", octopus.trim()]);
        let mut root = common::command(at, &["commit-tree", "-m", "root", &tree]);
        root.env("GIT_COMMITTER_DATE", "@0 +0000");
        let root = String::from_utf8(root.output().unwrap().stdout).unwrap();
        git(at, &["update-ref", "refs/heads/root", root.trim()]);
        git(at, &["tag", "-a", "-m", "t", "v1", "octopus"]);
        assert_eq!(store.write_commit_graph(&mut |_| ()).unwrap(), 42);
        git(at, &["commit-graph", "verify"]);
        let ours = fs::read(at.join("objects/info/commit-graph")).unwrap();
        fs::remove_file(at.join("objects/info/commit-graph")).unwrap();
        git(
            at,
            &["commit-graph", "write", "--reachable", "--changed-paths"],
        );
        assert_eq!(
            ours,
            fs::read(at.join("objects/info/commit-graph")).unwrap()
        );
        // In place of a chain.
        fs::remove_file(at.join("objects/info/commit-graph")).unwrap();
        git(at, &["commit-graph", "write", "--reachable", "--split"]);
        store.write_commit_graph(&mut |_| ()).unwrap();
        assert!(
            !at.join("objects/info/commit-graphs/commit-graph-chain")
                .exists()
        );
        git(at, &["commit-graph", "verify"]);
        assert_eq!(store.commit_index().unwrap().unwrap().len(), 42);
        assert_eq!(check(&store).problems, [""; 0]);
        // Cut off, there is none.
        let commit = store.head(&name("refs/heads/main")).unwrap().unwrap();
        store.set_shallow(&[commit]).unwrap();
        assert_eq!(store.write_commit_graph(&mut |_| ()).unwrap(), 0);
    }
}
