//! What a commit holds: each program reads what the other wrote.

mod common;

use common::{FORMATS, Place, feed};

#[test]
fn git_reads_what_irmin_set_and_removed() {
    for format in FORMATS {
        for options in [&[][..], &["--bare"]] {
            let place = Place::new(format, options);
            let first = place.irmin(&["set", "greeting/en", "hello"]);
            assert_eq!(place.git(&["rev-parse", "main"]), first);
            assert_eq!(
                place.git(&["cat-file", "blob", "main:greeting/en"]),
                "hello"
            );
            let (code, second, _) = feed(
                place.irmin_command(&["set", "greeting/fr", "-m", "Greet in French"]),
                b"salut\n\0",
            );
            assert_eq!(code, 0);
            assert_eq!(place.git(&["rev-parse", "main"]), second.trim());
            assert_eq!(
                place.git(&["log", "--format=%an|%ae|%cn|%ce|%s"]),
                "Ada|ada@example.org|Carl|carl@example.org|Greet in French\n\
                 Ada|ada@example.org|Carl|carl@example.org|Set greeting/en"
            );
            assert_eq!(place.git(&["cat-file", "-s", "main:greeting/fr"]), "7");
            // Nothing is different: no commit.
            assert_eq!(place.irmin(&["set", "greeting/en", "hello"]), second.trim());
            place.irmin(&["set", "other", "x", "--branch", "drafts"]);
            assert_eq!(place.git(&["rev-list", "--count", "drafts"]), "1");
            place.irmin(&["rm", "greeting/en"]);
            place.irmin(&["rm", "-r", "greeting"]);
            assert_eq!(place.git(&["ls-tree", "-r", "--name-only", "main"]), "");
            place.fsck();
        }
    }
}

#[test]
fn irmin_reads_what_git_committed() {
    for format in FORMATS {
        let place = Place::of_git(format);
        for (path, text) in [("a/b", "1\n"), ("a.c", "2\n"), ("a/ü", "3"), ("q\"\t", "4")] {
            let file = place.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        std::os::unix::fs::symlink("a.c", place.path().join("link")).unwrap();
        place.git(&["add", "-A"]);
        place.git(&["commit", "-q", "-m", "first"]);
        place.git(&["repack", "-adq"]);
        place.git(&["tag", "-a", "v1", "-m", "v1"]);
        assert_eq!(place.irmin(&["get", "a/b"]), "1");
        assert_eq!(place.irmin(&["get", "link"]), "a.c");
        assert_eq!(place.irmin(&["get", "a/ü", "--at", "v1"]), "3");
        assert_eq!(place.irmin(&["ls"]), "a.c\na/\nlink\n\"q\\\"\\t\"");
        assert_eq!(place.irmin(&["ls", "a/"]), "b\nü");
        let quoted = [
            "-c",
            "core.quotePath=false",
            "ls-tree",
            "-r",
            "--name-only",
            "main",
        ];
        assert_eq!(place.irmin(&["tree"]), place.git(&quoted));
        assert_eq!(place.irmin(&["tree", "a"]), "a/b\na/ü");
        let id = place.git(&["rev-parse", "main:a/b"]);
        assert_eq!(
            place.irmin(&["get", "a/b", "--json"]),
            format!(r#"{{"id":"{id}","mode":"100644","path":"a/b","text":"1\n"}}"#)
        );
        assert_eq!(
            place.irmin(&["ls", "a", "--json"]).lines().next().unwrap(),
            format!(r#"{{"id":"{id}","mode":"100644","name":"b"}}"#)
        );
    }
}

#[test]
fn differences_are_those_of_git() {
    let place = Place::of_git("sha1");
    common::Random(7).history(&place, 30);
    std::fs::write(place.path().join("script"), "x").unwrap();
    place.git(&["symbolic-ref", "HEAD", "refs/heads/other"]);
    place.git(&["add", "script"]);
    place.git(&["commit", "-q", "-m", "file"]);
    place.git(&["update-index", "--chmod=+x", "script"]);
    place.git(&["commit", "-q", "-m", "mode"]);
    let blob = place.git(&["rev-parse", "other:script"]);
    place.git(&[
        "update-index",
        "--cacheinfo",
        &format!("120000,{blob},script"),
    ]);
    place.git(&["commit", "-q", "-m", "link"]);
    let mut pairs: Vec<(String, String)> = (1..30)
        .map(|at| (format!("c{}", at / 2), format!("c{at}")))
        .collect();
    pairs.extend([("other~1", "other"), ("other~2", "other~1")].map(|(a, b)| (a.into(), b.into())));
    for (old, new) in pairs {
        let of_git = place.git(&[
            "-c",
            "core.quotePath=false",
            "diff",
            "--name-status",
            "--no-renames",
            &old,
            &new,
        ]);
        assert_eq!(place.irmin(&["diff", &old, &new]), of_git, "{old} {new}");
    }
    let (code, json, _) = place.try_irmin(&["diff", "other~", "other", "--json"]);
    assert_eq!(code, 0);
    assert_eq!(
        json.trim(),
        format!(
            r#"{{"new":{{"id":"{blob}","mode":"120000"}},"old":{{"id":"{blob}","mode":"100755"}},"path":"script","status":"T"}}"#
        )
    );
}

#[test]
fn what_is_not_there_or_not_right_is_told_by_the_exit_code() {
    let place = Place::new("sha1", &[]);
    let fails = |args: &[&str], wanted: i32, part: &str| {
        let (code, out, error) = place.try_irmin(args);
        assert_eq!((code, &out[..]), (wanted, ""), "{args:?}: {error}");
        assert!(error.contains(part), "{args:?}: {error}");
    };
    fails(&["get", "a"], 1, "HEAD has no commit yet");
    place.irmin(&["set", "a/b", "x"]);
    fails(&["get", "a/c"], 1, "nothing at a/c in HEAD");
    fails(&["ls", "c"], 1, "nothing at c in HEAD");
    fails(&["get", "a"], 1, "a is a directory");
    fails(&["ls", "a/b"], 1, "is no directory");
    fails(&["get", "a//b"], 2, "empty");
    fails(
        &["get", "a/b", "--at", "nobody"],
        3,
        "no branch, tag or commit is called nobody",
    );
    fails(&["set", "a", "x"], 1, "a is a directory");
    fails(&["set", "a/b/c", "x"], 1, "a/b is a file");
    fails(&["set", ".git/config", "x"], 2, "Git refuses");
    fails(&["rm", "a"], 1, "irmin rm -r");
    fails(&["rm", "a/b", "a/z"], 1, "a/z does not exist");
    assert_eq!(place.irmin(&["get", "a/b"]), "x");
    fails(&["set", "a/b", "y", "--branch", "-x"], 2, "--help");
    fails(&["set", "a/b", "y", "--branch", "x..y"], 2, "..");
    fails(&["init"], 3, "there is a repository in ./.git already");
    fails(&["nonsense"], 2, "--help");
    assert_eq!(place.git(&["rev-list", "--count", "--all"]), "1");
    place.fsck();
}

#[test]
fn no_commit_is_lost_when_several_set_at_once_and_git_commits_too() {
    let place = Place::new("sha1", &["--bare"]);
    place.irmin(&["set", "start", "x"]);
    std::thread::scope(|threads| {
        for writer in 0..3 {
            let place = &place;
            threads.spawn(move || {
                for at in 0..8 {
                    place.irmin(&["set", &format!("{writer}/{at}"), "x"]);
                }
            });
        }
        for _ in 0..8 {
            // `git update-ref` with the old value is what its own commits use.
            loop {
                let head = place.git(&["rev-parse", "main"]);
                let tree = format!("{head}^{{tree}}");
                let next = place.git(&["commit-tree", &tree, "-p", &head, "-m", "git"]);
                if place
                    .try_git(&["update-ref", "refs/heads/main", &next, &head])
                    .0
                    == 0
                {
                    break;
                }
            }
        }
    });
    assert_eq!(place.irmin(&["tree"]).lines().count(), 25);
    assert_eq!(place.git(&["rev-list", "--count", "main"]), "33");
    place.fsck();
}
