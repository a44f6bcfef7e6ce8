//! Merges, held against `git merge-tree` and `git merge`.

mod common;

use std::collections::BTreeSet;

use common::{FORMATS, Place, Random, feed};

#[test]
fn a_tried_merge_gives_the_tree_or_the_conflicts_of_git() {
    let (mut clean, mut torn) = (0, 0);
    for (format, seed) in [("sha1", 31), ("sha256", 32)] {
        let place = Place::of_git(format);
        let mut random = Random(seed);
        random.history(&place, 60);
        let before = place.git(&["for-each-ref"]);
        for round in 0..40 {
            let [a, b] = [0, 1].map(|_| format!("c{}", random.below(60)));
            let what = format!("seed {seed}, round {round}: {a} {b}");
            let (code, out, error) = place.try_irmin(&["merge", "--dry-run", &a, &b]);
            let (wanted, text, _) = place.try_git(&[
                "-c",
                "core.quotePath=false",
                "merge-tree",
                "--write-tree",
                "--no-messages",
                "--name-only",
                &a,
                &b,
            ]);
            assert_eq!(code, wanted, "{what}: {out}{error}{text}");
            if code == 0 {
                clean += 1;
                assert_eq!(out, text, "{what}");
            } else {
                torn += 1;
                let paths: BTreeSet<_> = text.lines().skip(1).collect();
                assert_eq!(out.lines().collect::<BTreeSet<_>>(), paths, "{what}");
            }
        }
        assert_eq!(place.git(&["for-each-ref"]), before);
    }
    assert!(clean > 10 && torn > 10, "{clean} clean, {torn} torn");
}

#[test]
fn a_file_in_a_directorys_way_is_named_as_git_names_it() {
    for (name, is_taken) in [("topic", false), ("to/pic", true)] {
        let place = Place::new("sha1", &[]);
        for path in ["d/same", "d/changed", "d/e/changed"] {
            place.irmin(&["set", path, "before"]);
        }
        place.git(&["branch", name]);
        for path in ["d/changed", "d/e/changed", "d/new"] {
            place.irmin(&["set", path, "after"]);
        }
        if is_taken {
            place.irmin(&["set", "d~to_pic", "taken"]);
        }
        place.irmin(&["rm", "-r", "d", "--branch", name]);
        place.irmin(&["set", "d", "file", "--branch", name]);
        for (ours, theirs) in [("main", name), (name, "main")] {
            let (code, out, error) = place.try_irmin(&["merge", "--dry-run", ours, theirs]);
            let (wanted, text, _) = place.try_git(&[
                "merge-tree",
                "--write-tree",
                "--no-messages",
                "--name-only",
                ours,
                theirs,
            ]);
            assert_eq!((code, wanted), (1, 1), "{error}");
            let paths: Vec<_> = text.lines().skip(1).collect();
            assert_eq!(out.lines().collect::<Vec<_>>(), paths);
        }
    }
}

#[test]
fn renamed_files_are_merged_where_they_are_now() {
    let text = |changed: usize| -> String {
        let line = |n| {
            if n == changed {
                "changed\n".into()
            } else {
                format!("line {n}\n")
            }
        };
        (0..9).map(line).collect()
    };
    for format in FORMATS {
        let place = Place::new(format, &[]);
        let set = |path: &str, text: &str, branch| {
            let command = place.irmin_command(&["set", path, "--branch", branch]);
            assert_eq!(feed(command, text.as_bytes()).0, 0);
        };
        for path in ["kept", "gone", "both", "d/x", "d/y"] {
            set(path, &format!("{path}\n{}", text(99)), "main");
        }
        place.git(&["branch", "topic"]);
        // A file moved and changed, and changed on the other side too.
        set("new", &format!("kept\n{}", text(1)), "main");
        place.irmin(&["rm", "kept"]);
        set("kept", &format!("kept\n{}", text(7)), "topic");
        let compare = || {
            let (code, out, _) = place.try_irmin(&["merge", "--dry-run", "main", "topic"]);
            let args = ["merge-tree", "--write-tree", "--no-messages", "--name-only"];
            let (wanted, text, _) = place.try_git(&[&args[..], &["main", "topic"]].concat());
            let skipped = usize::from(code == 1);
            let wanted_lines: Vec<_> = text.lines().skip(skipped).collect();
            assert_eq!(
                (code, out.lines().collect::<Vec<_>>()),
                (wanted, wanted_lines)
            );
            code
        };
        assert_eq!(compare(), 0);
        // A directory moved, and something new in it on the other side.
        for name in ["x", "y"] {
            set(
                &format!("e/{name}"),
                &format!("d/{name}\n{}", text(99)),
                "main",
            );
        }
        place.irmin(&["rm", "-r", "d"]);
        set("d/z", "new\n", "topic");
        assert_eq!(compare(), 1);
        let (_, out, _) = place.try_irmin(&["merge", "--dry-run", "main", "topic"]);
        assert_eq!(out, "e/z\n");
        // Renamed here and removed there, and renamed to two names.
        set("elsewhere", &format!("gone\n{}", text(99)), "main");
        place.irmin(&["rm", "gone"]);
        place.irmin(&["rm", "gone", "--branch", "topic"]);
        for (name, branch) in [("one", "main"), ("two", "topic")] {
            set(name, &format!("both\n{}", text(99)), branch);
            place.irmin(&["rm", "both", "--branch", branch]);
        }
        assert_eq!(compare(), 1);
    }
}

/// `main` and `topic` with these texts, from a common one.
fn forked(format: &str, base: &[u8], ours: &[u8], theirs: &[u8]) -> Place {
    let place = Place::new(format, &[]);
    let set = |text: &[u8], branch| {
        let command = place.irmin_command(&["set", "f", "--branch", branch]);
        assert_eq!(feed(command, text).0, 0);
    };
    set(base, "main");
    place.git(&["branch", "topic"]);
    set(ours, "main");
    set(theirs, "topic");
    place
}

const BASE: &[u8] = b"1\n2\n3\n4\n5\n";

#[test]
fn a_merge_is_committed_as_git_would() {
    for format in FORMATS {
        let place = forked(format, BASE, b"one\n2\n3\n4\n5\n", b"1\n2\n3\n4\nfive\n");
        let [ours, theirs] = ["main", "topic"].map(|name| place.git(&["rev-parse", name]));
        let tree = place.irmin(&["merge", "--dry-run", "main", "topic"]);
        let commit = place.irmin(&["merge", "topic"]);
        assert_eq!(
            place.git(&["log", "-n1", "--format=%H %T %P|%s|%an|%cn", "main"]),
            format!("{commit} {tree} {ours} {theirs}|Merge branch 'topic'|Ada|Carl")
        );
        assert_eq!(
            place.git(&["cat-file", "blob", "main:f"]),
            "one\n2\n3\n4\nfive"
        );
        // What is merged already changes nothing; the other way round it goes forwards.
        assert_eq!(place.irmin(&["merge", "topic"]), commit);
        assert_eq!(place.irmin(&["merge", "main", "--branch", "topic"]), commit);
        assert_eq!(place.git(&["rev-parse", "topic"]), commit);
        place.fsck();
    }
}

#[test]
fn a_conflict_leaves_the_branch_and_exits_with_1() {
    let place = forked("sha1", BASE, b"one\n2\n", b"eins\n2\n");
    let before = place.git(&["for-each-ref"]);
    assert_eq!(
        place.try_irmin(&["merge", "topic"]),
        (1, "f\n".into(), "".into())
    );
    assert_eq!(place.git(&["for-each-ref"]), before);
    let (code, out, _) = place.try_irmin(&["merge", "--dry-run", "main", "topic", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &value["path"]), (1, &"f".into()));
    for (side, name) in [("base", "main~"), ("ours", "main"), ("theirs", "topic")] {
        let id = place.git(&["rev-parse", &format!("{name}:f")]);
        assert_eq!(value[side]["id"], id, "{side}");
    }
    // Git resolves it, and irmin goes on from there.
    place.git(&["checkout", "-q", "-f", "main"]);
    assert_eq!(place.try_git(&["merge", "-q", "topic"]).0, 1);
    std::fs::write(place.path().join("f"), "both\n").unwrap();
    place.git(&["commit", "-q", "-a", "-m", "resolved"]);
    assert_eq!(place.irmin(&["get", "f"]), "both");
    let id = place.git(&["rev-parse", "main"]);
    assert_eq!(place.irmin(&["merge", "topic"]), id);
}

#[test]
fn what_is_no_text_is_not_merged_by_lines() {
    let place = forked(
        "sha1",
        b"1\n2\n3\n4\n5\n\0",
        b"one\n2\n3\n4\n5\n\0",
        b"1\n2\n3\n4\nfive\n\0",
    );
    assert_eq!(
        place.try_irmin(&["merge", "topic"]),
        (1, "f\n".into(), "".into())
    );
    assert_eq!(
        place
            .try_git(&["merge-tree", "--write-tree", "main", "topic"])
            .0,
        1
    );
}

#[test]
fn a_merge_that_is_typed_wrong_says_how() {
    let place = forked("sha1", BASE, b"a\n", BASE);
    for args in [
        &["merge", "--dry-run", "topic"][..],
        &["merge", "main", "topic"],
        &["merge", "--dry-run", "main", "topic", "--branch", "x"],
        &["merge"],
    ] {
        let (code, out, error) = place.try_irmin(args);
        assert_eq!((code, &out[..]), (2, ""), "{args:?}: {error}");
    }
    assert_eq!(place.try_irmin(&["merge", "nobody"]).0, 3);
    assert_eq!(place.try_irmin(&["merge", "main", "--branch", "new"]).0, 3);
}
