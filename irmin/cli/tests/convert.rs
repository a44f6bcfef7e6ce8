//! Conversions: Git to native and back, bit for bit.

mod common;

use common::{FORMATS, Place, Random, feed};

#[test]
fn a_git_repository_comes_back_from_a_native_store_with_the_same_ids() {
    for format in FORMATS {
        let place = Place::of_git(format);
        Random(31).history(&place, 60);
        place.git(&["tag", "-a", "v1", "-m", "one", "c5"]);
        place.git(&["tag", "-a", "v2", "-m", "two", "v1"]);
        // What is odd: links, modes, modules, large and empty files, headers that nobody knows.
        let large = "large ".repeat(100_000);
        let (_, blob, _) = feed(
            place.git_command(&["hash-object", "-w", "--stdin"]),
            large.as_bytes(),
        );
        let blob = blob.trim();
        let empty = place.git(&["hash-object", "-w", "--stdin"]);
        let commit = place.git(&["rev-parse", "c5"]);
        let entries = format!(
            "100755 blob {blob}\texe\n120000 blob {empty}\tlink\n160000 commit {commit}\tmodule\n100644 blob {empty}\tz.c\n"
        );
        let (_, inside, _) = feed(place.git_command(&["mktree"]), entries.as_bytes());
        let inside = inside.trim();
        let entries = format!("{entries}040000 tree {inside}\tz\n");
        let (_, tree, _) = feed(place.git_command(&["mktree"]), entries.as_bytes());
        let odd = format!(
            "tree {}\nparent {commit}\nauthor A <a@b> 12 +051800\ncommitter C <c@d> -5 -0000\nencoding ISO-8859-1\ngpgsig -----BEGIN-----\n \n abc\n -----END-----\nunknown  two\n\nno end of line \u{e9}",
            tree.trim()
        );
        let (code, odd, _) = feed(
            place.git_command(&[
                "hash-object",
                "-t",
                "commit",
                "-w",
                "--literally",
                "--stdin",
            ]),
            odd.as_bytes(),
        );
        assert_eq!(code, 0);
        place.git(&["update-ref", "refs/heads/odd", odd.trim()]);
        place.git(&["update-ref", "refs/tags/tree", inside]);
        place.git(&["update-ref", "refs/tags/file", blob]);
        place.irmin(&["convert", ".", "native"]);
        place.irmin(&[
            "convert",
            "native",
            "back",
            "--bare",
            "--format",
            &format!("git-{format}"),
        ]);
        let names = |folder: &str| place.git(&["-C", folder, "for-each-ref"]);
        assert_eq!(names("back"), names("."));
        let all = |folder: &str| place.git(&["-C", folder, "rev-list", "--objects", "--all"]);
        assert_eq!(all("back"), all("."));
        place.git(&["-C", "back", "fsck", "--full", "--connectivity-only"]);
        assert_eq!(place.irmin(&["fsck", "--repo", "native"]), "");
        // Git's order of a directory and a file beside it is another one.
        let show = |folder: &str| {
            let listed = place.irmin(&["tree", "--at", "odd", "--repo", folder]);
            let mut lines: Vec<_> = listed.lines().map(String::from).collect();
            lines.sort();
            lines
        };
        assert_eq!(show("native"), show("."));
        assert_eq!(
            place.irmin(&["get", "exe", "--at", "odd", "--repo", "native"]),
            large
        );
    }
}

#[test]
fn a_native_store_becomes_a_git_repository_and_comes_back_the_same() {
    let place = Place(tempfile::tempdir().unwrap());
    place.irmin(&["init", "n", "--format", "native"]);
    for at in 0..8 {
        place.irmin(&[
            "set",
            &format!("d{}/f{at}", at % 3),
            &"x".repeat(at * 150),
            "--repo",
            "n",
        ]);
    }
    place.irmin(&["rm", "d1/f1", "--repo", "n"]);
    for format in ["git-sha1", "git-sha256"] {
        place.irmin(&["convert", "n", format, "--bare", "--format", format]);
        place.git(&["-C", format, "fsck", "--strict"]);
        assert_eq!(
            place.git(&["-C", format, "rev-list", "--count", "main"]),
            "9"
        );
        let back = format!("back-{format}");
        place.irmin(&["convert", format, &back]);
        let head = |folder: &str| place.irmin(&["branches", "--repo", folder]);
        assert_eq!(head(&back), head("n"));
    }
}

#[test]
fn the_deepest_directories_come_back() {
    let place = Place::new("sha1", &["--bare"]);
    let path = "d/".repeat(2046) + "f";
    place.irmin(&["set", &path, "x"]);
    place.irmin(&["convert", ".", "native"]);
    assert_eq!(place.irmin(&["get", &path, "--repo", "native"]), "x");
    place.irmin(&["convert", "native", "back", "--bare"]);
    let head = |folder: &str| place.irmin(&["branches", "--repo", folder]);
    assert_eq!(head("back"), head("."));
}

/// Writes an object as it is, with git, which checks nothing.
fn write(place: &Place, kind: &str, data: &[u8]) -> String {
    let args = ["hash-object", "-t", kind, "-w", "--literally", "--stdin"];
    let (code, id, _) = feed(place.git_command(&args), data);
    assert_eq!(code, 0);
    id.trim().into()
}

/// Writes a tree of modes, names and ids, in this order.
fn write_tree(place: &Place, entries: &[(&str, &str, &str)]) -> String {
    let mut data = Vec::new();
    for (mode, name, id) in entries {
        data.extend(format!("{mode} {name}\0").bytes());
        let digits = (0..id.len() / 2).map(|at| &id[2 * at..2 * at + 2]);
        data.extend(digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()));
    }
    write(place, "tree", &data)
}

/// Converts to native and back: all ids are what they were.
fn assert_comes_back(place: &Place, format: &str) {
    place.irmin(&["convert", ".", "native"]);
    assert_eq!(place.irmin(&["fsck", "--repo", "native"]), "");
    place.irmin(&["gc", "--repo", "native"]);
    let format = format!("git-{format}");
    place.irmin(&["convert", "native", "back", "--bare", "--format", &format]);
    for args in [
        &["for-each-ref"][..],
        &["rev-list", "--objects", "--all"],
        &["log", "--all", "--raw", "--format=raw", "-t", "-c"],
    ] {
        let [here, back] = [".", "back"].map(|at| place.git(&[&["-C", at], args].concat()));
        assert_eq!(here, back, "{args:?}");
    }
    place.git(&["-C", "back", "fsck", "--full", "--connectivity-only"]);
}

#[test]
fn old_modes_and_directories_without_entries_come_back() {
    for format in FORMATS {
        let place = Place::of_git(format);
        let [x, y] = ["x", "y"].map(|text| write(&place, "blob", text.as_bytes()));
        let tree = |entries: &[(&str, &str, &str)]| write_tree(&place, entries);
        let none = tree(&[]);
        let old = tree(&[("100664", "f", &x), ("100775", "x%\n", &y)]);
        let new = tree(&[("100644", "f", &x), ("100755", "x%\n", &y)]);
        let hollow = tree(&[("40000", "a", &none), ("40000", "b", &none)]);
        let roots = [
            none.clone(),
            tree(&[("40000", "d", &none)]),
            tree(&[("100664", "d", &x), ("40000", "e", &hollow)]),
            tree(&[("40000", "d", &old), ("40000", "e", &hollow)]),
            tree(&[("40000", "d", &new), ("40000", "e", &old)]),
            // What lies in the order of directories, and what is the same but for its modes.
            tree(&[
                ("100640", "d.c", &x),
                ("040000", "d", &new),
                ("40000", "e", &none),
            ]),
            tree(&[
                ("100644", "d.c", &x),
                ("40000", "d", &new),
                ("100600", "e", &y),
            ]),
            tree(&[("40000", "d", &hollow), ("040000", "e", &hollow)]),
            hollow,
        ];
        let mut parent = String::new();
        for (at, root) in roots.iter().chain(roots.iter().rev()).enumerate() {
            let commit = format!(
                "tree {root}\n{parent}author A <a@b> {at} +0000\ncommitter A <a@b> {at} +0000\ngpgsig a\n b\n\nm\n"
            );
            let id = write(&place, "commit", commit.as_bytes());
            place.git(&["update-ref", "refs/heads/main", &id]);
            parent = format!("parent {id}\n");
        }
        assert_comes_back(&place, format);
    }
}

#[test]
fn a_history_that_is_cut_off_comes_back_as_it_is() {
    for format in FORMATS {
        let whole = Place::of_git(format);
        Random(7).history(&whole, 40);
        let url = format!("file://{}", whole.path().display());
        let place = Place(tempfile::tempdir().unwrap());
        let args = ["clone", "-q", "--depth", "4", "--no-tags", &url, "."];
        place.git(&args);
        // The one name that is not converted: it stands for another.
        place.git(&["remote", "set-head", "origin", "--delete"]);
        assert_comes_back(&place, format);
        let cut = |at: &str| {
            let text = std::fs::read_to_string(place.path().join(at)).unwrap();
            let mut lines: Vec<_> = text.lines().map(String::from).collect();
            lines.sort();
            lines
        };
        assert_eq!(cut(".git/shallow"), cut("back/shallow"));
        place.git(&["-C", "back", "fetch", "-q", "--unshallow", &url]);
        place.git(&["-C", "back", "fsck", "--strict"]);
        // Its ids are of one format only.
        let other = if format == "sha1" {
            "git-sha256"
        } else {
            "git-sha1"
        };
        let args = ["convert", "native", "other", "--bare", "--format", other];
        let (code, _, error) = place.try_irmin(&args);
        assert!(code == 3 && error.contains("other format"), "{error}");
    }
}

#[test]
fn what_would_not_come_back_is_refused_and_leaves_nothing() {
    let place = Place::of_git("sha1");
    let blob = write(&place, "blob", b"x");
    let disorder = write_tree(&place, &[("100644", "b", &blob), ("100644", "a", &blob)]);
    let fine = write_tree(&place, &[("100664", "a", &blob)]);
    let who = "author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n";
    let disorder_at = write(
        &place,
        "commit",
        format!("tree {disorder}\n{who}\n").as_bytes(),
    );
    let ours = format!("tree {fine}\n{who}irmin-git-tree 100664 a\n\n");
    let ours = write(&place, "commit", ours.as_bytes());
    for (name, id, told) in [
        ("refs/heads/main", &disorder_at, &disorder),
        ("refs/heads/main", &ours, &ours),
        // No commit is there to keep its modes.
        ("refs/tags/tree", &fine, &fine),
    ] {
        place.git(&["update-ref", name, id]);
        let (code, _, error) = place.try_irmin(&["convert", ".", "native"]);
        assert!(code == 3 && error.contains(&told[..]), "{error}");
        assert!(!place.path().join("native").exists());
        place.git(&["update-ref", "-d", name]);
    }
    let args = ["convert", ".", "x", "--format", "git-sha256"];
    assert_eq!(place.try_irmin(&args).0, 3);
    assert_eq!(place.try_irmin(&["convert", ".", "."]).0, 3);
}

#[test]
fn what_a_branch_is_called_does_no_harm_to_a_terminal() {
    let place = Place::of_git("sha1");
    place.git(&["symbolic-ref", "HEAD", "refs/heads/a\u{202e}b"]);
    place.irmin(&["set", "a", "x"]);
    let (code, _, error) = place.try_irmin(&["convert", ".", "native"]);
    assert!(code == 0 && error.contains("a\\u{202e}b was"), "{error}");
}
