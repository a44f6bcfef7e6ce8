//! Against the real git: each reads and checks what the other wrote, also while both write.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{FORMATS, append, command, delete, files, fsck, git, name, set, snapshot, try_git};
use irmin::{Backend, Expect, Id, Kind, Object};
use irmin_git::{Durability, Git, Options};

fn relaxed(at: &Path) -> Git {
    let options = Options {
        durability: Durability::Relaxed,
        ..Options::default()
    };
    Git::open_with(at, &options).unwrap()
}

/// A work tree of git's own making in this format.
fn git_init(at: &Path, format: &str) {
    let format = format!("--object-format={format}");
    git(at, &["init", "-q", "-b", "main", &format, "."]);
}

fn git_commit(at: &Path, n: usize) {
    for (file, text) in files(n) {
        fs::write(at.join(file), text).unwrap();
    }
    git(at, &["add", "-A"]);
    git(at, &["commit", "-q", "-m", &format!("git's {n}")]);
}

/// Everything that git says is in the repository is read here, with the same bytes and kind.
fn same_objects(at: &Path, store: &Git) -> usize {
    let all = git(
        at,
        &[
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objectname) %(objecttype)",
        ],
    );
    for line in all.lines() {
        let (id, kind) = line.split_once(' ').unwrap();
        let object = store.read(&id.parse().unwrap()).unwrap().expect(line);
        let theirs = command(at, &["cat-file", kind, id])
            .output()
            .unwrap()
            .stdout;
        assert_eq!(
            (object.kind.name(), &object.data[..]),
            (kind, &theirs[..]),
            "{line}"
        );
    }
    let ids: Vec<_> = all
        .lines()
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(store.ids("", usize::MAX).unwrap(), ids);
    ids.len()
}

fn same_names(at: &Path, store: &Git) {
    let theirs = git(at, &["for-each-ref", "--format=%(refname) %(objectname)"]);
    let ours: Vec<String> = store
        .heads("refs/")
        .unwrap()
        .iter()
        .map(|(name, id)| format!("{name} {id}"))
        .collect();
    assert_eq!(ours.join("\n"), theirs);
    for line in theirs.lines() {
        let (at, id) = line.split_once(' ').unwrap();
        assert_eq!(store.head(&name(at)).unwrap().unwrap().to_string(), id);
    }
}

#[test]
fn what_git_wrote_is_read_loose_packed_and_collected() {
    for (_, format) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        git_init(at, format);
        for n in 0..12 {
            git_commit(at, n);
        }
        git(at, &["tag", "-a", "-m", "a tag", "v1"]);
        git(at, &["branch", "a/b/c"]);
        git(at, &["symbolic-ref", "refs/heads/link", "refs/heads/main"]);
        let store = Git::open(at).unwrap();
        let loose = same_objects(at, &store);
        assert_eq!(store.default_branch().unwrap(), name("refs/heads/main"));
        let main = store.head(&name("refs/heads/main")).unwrap();
        assert_eq!(store.head(&name("HEAD")).unwrap(), main);
        assert_eq!(store.head(&name("refs/heads/link")).unwrap(), main);
        git(at, &["symbolic-ref", "-d", "refs/heads/link"]);
        same_names(at, &store);
        // The same value goes on while git repacks below it.
        git(
            at,
            &["repack", "-q", "-a", "-d", "--depth=50", "--window=50"],
        );
        git(at, &["pack-refs", "--all", "--prune"]);
        git(at, &["multi-pack-index", "write"]);
        assert!(same_objects(at, &store) == loose);
        same_names(at, &store);
        git_commit(at, 12);
        git(at, &["repack", "-q", "-d"]);
        git(at, &["gc", "-q", "--prune=now"]);
        same_objects(at, &store);
        same_names(at, &store);
        let fresh = Git::open(at).unwrap();
        same_objects(at, &fresh);
        same_names(at, &fresh);
    }
}

#[test]
fn what_we_wrote_passes_fsck_log_and_clone() {
    for (format, _) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let bare = folder.path().join("bare");
        let store = Git::init(&bare, format, true).unwrap();
        drop(store);
        let store = relaxed(&bare);
        let mut last = None;
        for n in 0..60 {
            last = Some(append(&store, "refs/heads/main", n));
            if n % 20 == 0 {
                fsck(&bare);
            }
        }
        let log = git(&bare, &["log", "--format=%s", "main"]);
        assert_eq!(log.lines().count(), 60);
        assert_eq!(log.lines().next(), Some("ours 59"));
        assert_eq!(
            git(&bare, &["rev-parse", "main"]),
            last.unwrap().to_string()
        );
        let tag = format!(
            "object {}\ntype commit\ntag v1\ntagger I <i@example.org> 1429538400 +0000\n\nm\n",
            last.unwrap()
        );
        let tag = Object::new(format, Kind::Tag, tag.into_bytes()).unwrap();
        store.write(std::slice::from_ref(&tag)).unwrap();
        let both = [
            set("refs/tags/v1", Expect::Missing, tag.id),
            set("refs/heads/copy", Expect::Missing, last.unwrap()),
        ];
        store.update(&both).unwrap();
        same_names(&bare, &store);
        store.flush().unwrap();
        fsck(&bare);
        let clone = folder.path().join("clone");
        let (from, to) = (bare.to_str().unwrap(), clone.to_str().unwrap());
        git(folder.path(), &["clone", "-q", "--no-local", from, to]);
        fsck(&clone);
        for (file, text) in files(59) {
            assert_eq!(fs::read_to_string(clone.join(file)).unwrap(), text);
        }
        // And back: git pushes to what is open here. (It would collect garbage after that, in a process
        // of its own.)
        git(&bare, &["config", "receive.autogc", "false"]);
        git_commit(&clone, 60);
        git(
            &clone,
            &["push", "-q", "origin", "main", "main:refs/heads/pushed"],
        );
        let pushed = git(&clone, &["rev-parse", "main"]);
        assert_eq!(
            store
                .head(&name("refs/heads/main"))
                .unwrap()
                .unwrap()
                .to_string(),
            pushed
        );
        same_objects(&bare, &store);
        git(&bare, &["gc", "-q"]);
        append(&store, "refs/heads/main", 61);
        same_names(&bare, &store);
        fsck(&bare);
    }
}

#[test]
fn a_work_tree_gets_logs_of_moves_as_git_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    git_init(at, "sha1");
    git_commit(at, 0);
    let store = relaxed(at);
    append(&store, "HEAD", 1);
    append(&store, "refs/heads/d/e", 2);
    let log = git(at, &["reflog", "HEAD"]);
    assert!(
        log.lines()
            .next()
            .unwrap()
            .ends_with("HEAD@{0}: commit: ours 1"),
        "{log}"
    );
    assert_eq!(git(at, &["reflog", "main"]).lines().count(), 2);
    assert_eq!(
        git(at, &["rev-parse", "main@{1}"]),
        git(at, &["rev-parse", "main~1"])
    );
    assert_eq!(git(at, &["reflog", "d/e"]).lines().count(), 1);
    // A name takes its log and its folders with it, so that another can take their place.
    let id = store.head(&name("refs/heads/d/e")).unwrap().unwrap();
    store.update(&[delete("refs/heads/d/e")]).unwrap();
    store
        .update(&[set("refs/heads/d", Expect::Missing, id)])
        .unwrap();
    store
        .update(&[
            delete("refs/heads/d"),
            set("refs/heads/d/f/g", Expect::Missing, id),
        ])
        .unwrap();
    store
        .update(&[
            delete("refs/heads/d/f/g"),
            set("refs/heads/d", Expect::Missing, id),
        ])
        .unwrap();
    same_names(at, &store);
    fsck(at);
    assert!(store.update(&[delete("refs/heads/none")]).is_ok());
    git(at, &["checkout", "-q", "--detach"]);
    append(&store, "HEAD", 3);
    assert_eq!(git(at, &["log", "-1", "--format=%s", "HEAD"]), "ours 3");
    assert_eq!(git(at, &["log", "-1", "--format=%s", "main"]), "ours 1");
    assert!(
        store.update(&[delete("HEAD")]).is_err(),
        "without it this is no repository"
    );
}

#[test]
fn no_commit_is_lost_when_git_and_we_commit_to_one_branch() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    git_init(at, "sha1");
    git_commit(at, 0);
    let store = relaxed(at);
    let (mut theirs, ours) = std::thread::scope(|threads| {
        let ours = threads.spawn(|| {
            (0..150)
                .map(|n| append(&store, "refs/heads/main", n))
                .collect::<Vec<_>>()
        });
        let mut theirs = Vec::new();
        let mut n = 0;
        while theirs.len() < 15 || !ours.is_finished() {
            n += 1;
            // Plumbing, with the old value: `git commit` does the same and reads it once.
            let old = git(at, &["rev-parse", "main"]);
            let new = git(
                at,
                &[
                    "commit-tree",
                    "-p",
                    &old,
                    "-m",
                    &format!("theirs {n}"),
                    &format!("{old}^{{tree}}"),
                ],
            );
            if try_git(at, &["update-ref", "refs/heads/main", &new, &old])
                .status
                .success()
            {
                theirs.push(new);
            }
            let commit = try_git(
                at,
                &[
                    "commit",
                    "-q",
                    "--allow-empty",
                    "-m",
                    &format!("commit {n}"),
                ],
            );
            if commit.status.success() {
                theirs.push(format!("commit {n}"));
            }
            if n > 400 {
                break;
            }
        }
        (theirs, ours.join().unwrap())
    });
    let log = git(at, &["log", "--format=%H %s", "main"]);
    for id in &ours {
        assert!(log.contains(&id.to_string()), "ours: {id}");
    }
    theirs.retain(|commit| !log.contains(commit.as_str()));
    assert!(theirs.is_empty(), "theirs that are lost: {theirs:?}");
    fsck(at);
}

#[test]
fn git_collects_garbage_and_reads_while_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("r");
    drop(Git::init(&at, irmin::Format::GitSha1, true).unwrap());
    let store = relaxed(&at);
    append(&store, "refs/heads/main", 0);
    let rounds = std::thread::scope(|threads| {
        let ours = threads.spawn(|| {
            for n in 1..600 {
                append(&store, "refs/heads/main", n);
            }
        });
        let mut rounds = 0;
        while !ours.is_finished() || rounds < 3 {
            rounds += 1;
            let say = |what: &str, out: std::process::Output| {
                assert!(
                    out.status.success(),
                    "{what}: {}",
                    String::from_utf8_lossy(&out.stderr)
                );
            };
            say("gc", try_git(&at, &["gc", "-q"]));
            say("log", try_git(&at, &["log", "--stat", "-30", "main"]));
            say("repack", try_git(&at, &["repack", "-q", "-a", "-d"]));
            let clone = folder.path().join(format!("c{rounds}"));
            say(
                "clone",
                try_git(
                    folder.path(),
                    &[
                        "clone",
                        "-q",
                        "--bare",
                        "--no-local",
                        at.to_str().unwrap(),
                        clone.to_str().unwrap(),
                    ],
                ),
            );
            fsck(&clone);
        }
        ours.join().unwrap();
        rounds
    });
    assert!(rounds >= 3);
    assert_eq!(git(&at, &["rev-list", "--count", "main"]), "600");
    fsck(&at);
    drop(store);
    few_packs(&at);
}

/// Beside those that linger there are never many packs.
fn few_packs(at: &Path) {
    let packs = fs::read_dir(at.join("objects/pack")).unwrap();
    let packs = packs.filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|e| e == "pack")
    });
    assert!(packs.count() < 256 + 50);
}

#[test]
fn borrowed_objects_and_further_work_trees_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two, three) = (
        folder.path().join("one"),
        folder.path().join("two"),
        folder.path().join("three"),
    );
    fs::create_dir(&one).unwrap();
    git_init(&one, "sha1");
    git_commit(&one, 0);
    git(folder.path(), &["clone", "-q", "--shared", "one", "two"]);
    let store = relaxed(&two);
    let head = store.head(&name("HEAD")).unwrap().unwrap();
    assert_eq!(store.read(&head).unwrap().unwrap().kind, Kind::Commit);
    append(&store, "HEAD", 1);
    fsck(&two);
    git(&one, &["worktree", "add", "-q", "-b", "other", "../three"]);
    let tree = relaxed(&three);
    assert_eq!(tree.default_branch().unwrap(), name("refs/heads/other"));
    append(&tree, "HEAD", 2);
    assert_eq!(git(&one, &["log", "-1", "--format=%s", "other"]), "ours 2");
    assert_eq!(
        relaxed(&one).default_branch().unwrap(),
        name("refs/heads/main")
    );
    same_names(&one, &tree);
    // A loop of lenders ends.
    fs::write(
        one.join(".git/objects/info/alternates"),
        two.join(".git/objects").to_str().unwrap(),
    )
    .unwrap();
    assert!(relaxed(&two).read(&head).unwrap().is_some());
}

#[test]
fn the_commit_graph_tells_parents_and_generations() {
    for (format, word) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        git_init(at, word);
        let store = relaxed(at);
        let mut ids = Vec::new();
        for n in 0..40 {
            ids.push(append(&store, "refs/heads/main", n));
        }
        assert!(store.commit_index().unwrap().is_none());
        git(at, &["commit-graph", "write", "--reachable", "--split"]);
        let side = snapshot(format, &ids[..1], &files(1), "side\n");
        let side_id = side.last().unwrap().id;
        let parents = [ids[39], side_id, ids[3], ids[7]];
        let octopus = snapshot(format, &parents, &files(2), "octopus\n");
        let octopus_id = octopus.last().unwrap().id;
        store.write(&side).unwrap();
        store.write(&octopus).unwrap();
        store
            .update(&[set("refs/heads/o", Expect::Missing, octopus_id)])
            .unwrap();
        git(
            at,
            &["commit-graph", "write", "--reachable", "--split=no-merge"],
        );
        for _ in 0..2 {
            let index = store.commit_index().unwrap().unwrap();
            let position = |id: &Id| index.position(id).unwrap().unwrap();
            let node = |id: &Id| {
                let mut parents = Vec::new();
                index.parents(position(id), &mut parents).unwrap();
                let parents = parents.iter().map(|at| index.id(*at).unwrap());
                (
                    index.generation(position(id)).unwrap(),
                    parents.collect::<Vec<_>>(),
                )
            };
            assert_eq!(node(&ids[0]), (1, vec![]));
            assert_eq!(index.time(position(&ids[0])).unwrap(), 1_429_538_400);
            assert_eq!(node(&ids[39]), (40, vec![ids[38]]));
            assert_eq!(node(&octopus_id), (41, parents.to_vec()));
            for id in &ids {
                let tree = git(at, &["rev-parse", &format!("{id}^{{tree}}")]);
                assert_eq!(index.tree(position(id)).unwrap().to_string(), tree.trim());
            }
            let mut at_once = Vec::new();
            let told = index.all(&mut |generation, parents| {
                at_once.push((generation, parents.to_vec()));
            });
            assert!(told.unwrap());
            let one_by_one = (0..index.len()).map(|at| {
                let mut parents = Vec::new();
                index.parents(at, &mut parents).unwrap();
                (index.generation(at).unwrap(), parents)
            });
            assert_eq!(at_once, one_by_one.collect::<Vec<_>>());
            let again = store.commit_index().unwrap().unwrap();
            assert!(Arc::ptr_eq(&index, &again), "the same while it is the same");
            // The same from one file.
            git(at, &["commit-graph", "write", "--reachable"]);
        }
        let shallow = tempfile::tempdir().unwrap();
        let from = format!("file://{}", at.display());
        git(shallow.path(), &["clone", "-q", "--depth=2", &from, "s"]);
        let store = relaxed(&shallow.path().join("s"));
        assert_eq!(store.shallow().unwrap(), [ids[38]]);
        assert!(store.commit_index().unwrap().is_none());
    }
}

#[test]
fn every_move_of_a_name_by_git_shows_in_the_generation() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    git_init(at, "sha1");
    git_commit(at, 0);
    git_commit(at, 1);
    let store = relaxed(at);
    let mut last = store.generation().unwrap();
    assert_eq!(store.generation().unwrap(), last, "nothing moved");
    for step in [
        &["branch", "x/y"][..],
        &["update-ref", "refs/heads/x/y", "HEAD~1"],
        &["update-ref", "refs/heads/x/y", "HEAD"],
        &["pack-refs", "--all"],
        &["update-ref", "refs/heads/x/y", "HEAD~1"],
        &["branch", "-D", "x/y"],
        &["symbolic-ref", "HEAD", "refs/heads/other"],
    ] {
        git(at, step);
        let now = store.generation().unwrap();
        assert_ne!(now, last, "{step:?}");
        last = now;
    }
}

#[test]
fn a_history_cut_off_and_another_default_branch_are_written_as_git_reads_them() {
    for (format, word) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        git_init(at, word);
        (0..3).for_each(|n| git_commit(at, n));
        let store = Git::open(at).unwrap();
        let head = store.head(&name("HEAD")).unwrap().unwrap();
        store.set_shallow(&[head]).unwrap();
        assert_eq!(store.shallow().unwrap(), [head]);
        assert_eq!(git(at, &["rev-list", "--count", "HEAD"]).trim(), "1");
        store.set_shallow(&[]).unwrap();
        assert_eq!(git(at, &["rev-list", "--count", "HEAD"]).trim(), "3");
        assert_eq!(
            git(at, &["rev-parse", "--is-shallow-repository"]).trim(),
            "false"
        );
        store.set_default_branch(&name("refs/heads/next")).unwrap();
        assert_eq!(git(at, &["symbolic-ref", "HEAD"]).trim(), "refs/heads/next");
        assert_eq!(store.head(&name("HEAD")).unwrap(), None, "{format:?}");
        assert!(store.set_default_branch(&name("refs/tags/x")).is_err());
    }
}

/// As a shell loop does: the packs that one process folded are left for the next.
#[test]
fn many_short_lives_leave_few_packs_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    drop(Git::init(at, irmin::Format::GitSha1, true).unwrap());
    let life = |n: i64| {
        let repo = irmin::Repo::new(relaxed(at));
        let main = repo.branch("main").unwrap();
        let who = irmin::Signature::new("A", "a@b", n, 0);
        let info = irmin::Info::new(who, "m\n");
        main.change(&info, |edit| edit.set("x", n.to_string()))
            .unwrap();
    };
    let packs = || {
        let names = fs::read_dir(at.join("objects/pack")).unwrap();
        let names = names.map(|entry| entry.unwrap().path());
        names
            .filter(|path| path.extension().is_some_and(|last| last == "pack"))
            .collect::<Vec<_>>()
    };
    (0..60).for_each(life);
    assert!(
        packs().len() <= 60 + 6,
        "what was folded is not folded again"
    );
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    for path in packs() {
        let times = fs::FileTimes::new().set_modified(long_ago);
        let pack = fs::File::open(path).unwrap();
        pack.set_times(times).unwrap();
    }
    life(60);
    assert!(packs().len() < 20, "and goes with the next life");
    assert_eq!(git(at, &["rev-list", "--count", "main"]).trim(), "61");
    git(at, &["fsck", "--strict"]);
}
