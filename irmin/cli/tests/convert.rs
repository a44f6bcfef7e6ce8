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

#[test]
fn what_would_not_come_back_is_refused_and_leaves_nothing() {
    let place = Place::of_git("sha1");
    let blob = place.git(&["hash-object", "-w", "--stdin"]);
    let bytes: Vec<u8> = (0..20)
        .map(|at| u8::from_str_radix(&blob[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let tree = [&b"100664 old\0"[..], &bytes].concat();
    let (code, tree, _) = feed(
        place.git_command(&["hash-object", "-t", "tree", "-w", "--literally", "--stdin"]),
        &tree,
    );
    assert_eq!(code, 0);
    let commit = place.git(&["commit-tree", tree.trim(), "-m", "m"]);
    place.git(&["update-ref", "refs/heads/main", &commit]);
    let (code, _, error) = place.try_irmin(&["convert", ".", "native"]);
    assert!(code == 3 && error.contains(tree.trim()), "{error}");
    assert!(!place.path().join("native").exists());
    assert_eq!(
        place
            .try_irmin(&["convert", ".", "x", "--format", "git-sha256"])
            .0,
        3
    );
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
