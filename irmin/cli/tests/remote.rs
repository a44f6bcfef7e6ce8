//! Clones, fetches, pulls and pushes, between the command and git.

mod common;

use common::{FORMATS, Place, Random};

fn empty() -> Place {
    Place(tempfile::tempdir().unwrap())
}

fn path(place: &Place) -> String {
    place.path().to_str().unwrap().into()
}

/// A repository of git with a history, and a clone of it by `irmin`.
fn cloned(format: &str, options: &[&str]) -> (Place, Place) {
    let there = Place::of_git(format);
    Random(11).history(&there, 40);
    there.git(&["tag", "-a", "v1", "-m", "one", "c5"]);
    let here = empty();
    here.irmin(&[&["clone", &path(&there), "."], options].concat());
    (there, here)
}

#[test]
fn a_clone_holds_all_and_git_goes_on_with_it() {
    for format in FORMATS {
        let (there, here) = cloned(format, &[]);
        here.fsck();
        let main = there.git(&["rev-parse", "main"]);
        for name in ["main", "origin/main", "HEAD"] {
            assert_eq!(here.git(&["rev-parse", name]), main);
        }
        let tags = |place: &Place| place.git(&["for-each-ref", "refs/tags"]);
        assert_eq!(tags(&here), tags(&there));
        assert_eq!(here.git(&["rev-parse", "--is-bare-repository"]), "true");
        assert_eq!(
            here.git(&["config", "remote.origin.fetch"]),
            "+refs/heads/*:refs/remotes/origin/*"
        );
        assert_eq!(
            here.git(&["config", "branch.main.merge"]),
            "refs/heads/main"
        );
        // With an index of commits, changed paths included, that Git finds sound.
        here.git(&["commit-graph", "verify"]);
        let graph = std::fs::read(here.path().join("objects/info/commit-graph")).unwrap();
        assert!(graph.windows(4).any(|word| word == b"BDAT"));
        // Git's own commands find the remote.
        let new = there.irmin(&["set", "new", "x"]);
        here.git(&["fetch", "-q"]);
        assert_eq!(here.git(&["rev-parse", "origin/main"]), new);
    }
}

#[test]
fn a_clone_has_the_name_and_the_names_that_were_asked_for() {
    let there = Place::of_git("sha1");
    Random(2).history(&there, 10);
    let url = path(&there);
    let here = empty();
    let (code, out, _) = here.try_irmin(&["clone", &format!("{url}/.git"), "a"]);
    assert!(code == 0 && out.starts_with("cloned into "), "{out}");
    assert_eq!(here.try_irmin(&["clone", &url, "a"]).0, 3);
    here.irmin(&["clone", "--mirror", &url, "m"]);
    let names = |folder: &str| here.git(&["-C", folder, "for-each-ref"]);
    assert_eq!(names("m"), there.git(&["for-each-ref"]));
    here.irmin(&["clone", "--bare", "--no-tags", &url, "b"]);
    assert_eq!(names("b").lines().count(), 1);
    here.irmin(&["clone", "--depth", "1", &format!("file://{url}"), "s"]);
    assert_eq!(here.git(&["-C", "s", "rev-list", "--count", "main"]), "1");
    assert_eq!(
        here.git(&["-C", "s", "rev-parse", "--is-shallow-repository"]),
        "true"
    );
    here.irmin(&["fetch", "--unshallow", "--repo", "s"]);
    let count = there.git(&["rev-list", "--count", "main"]);
    assert_eq!(here.git(&["-C", "s", "rev-list", "--count", "main"]), count);
    let (code, _, error) = here.try_irmin(&["clone", "/nowhere/at/all", "x"]);
    assert!(code == 3 && error.contains("nothing at"), "{error}");
    assert!(!here.path().join("x").exists());
}

#[test]
fn a_fetch_tells_what_it_made_moved_and_removed() {
    let (there, here) = cloned("sha1", &[]);
    let old = there.git(&["rev-parse", "main"]);
    there.git(&["branch", "topic", "c3"]);
    let new = there.irmin(&["set", "x", "y"]);
    let told = here.irmin(&["fetch"]);
    let topic = there.git(&["rev-parse", "c3"]);
    assert_eq!(
        told,
        format!(
            "forwards refs/remotes/origin/main {old} {new}\nmade refs/remotes/origin/topic - {topic}"
        )
    );
    assert_eq!(here.irmin(&["fetch"]), "");
    there.git(&["branch", "-D", "topic"]);
    assert_eq!(here.irmin(&["fetch", "--all"]), "");
    assert_eq!(
        here.irmin(&["fetch", "--prune"]),
        format!("pruned refs/remotes/origin/topic {topic} -")
    );
    // What would lose commits stays, unless it may.
    there.git(&["update-ref", "refs/heads/main", "c1"]);
    let (code, out, _) = here.try_irmin(&[
        "fetch",
        "origin",
        "refs/heads/main:refs/remotes/origin/main",
    ]);
    assert!(code == 1 && out.starts_with("stays "), "{out}");
    assert!(
        here.irmin(&["fetch", "--json"])
            .contains("\"status\":\"forced\"")
    );
    let (code, _, error) = here.try_irmin(&["fetch", "origin", "nothing"]);
    assert_eq!(code, 1, "{error}");
    let (code, _, error) = here.try_irmin(&["fetch", "nobody"]);
    assert!(code == 3 && error.contains("no remote nobody"), "{error}");
}

#[test]
fn a_pull_merges_or_tells_the_conflicts() {
    let (there, here) = cloned("sha1", &[]);
    let theirs = there.irmin(&["set", "new/there", "x"]);
    assert!(here.irmin(&["pull"]).ends_with(&theirs));
    there.irmin(&["set", "new/there", "y"]);
    here.irmin(&["set", "new/here", "z"]);
    here.irmin(&["pull"]);
    assert_eq!(
        here.git(&["log", "-1", "--format=%s"]),
        format!("Merge branch 'main' of {}", path(&there))
    );
    assert_eq!(here.irmin(&["ls", "new"]), "here\nthere");
    here.fsck();
    let before = here.irmin(&["set", "both", "a"]);
    there.irmin(&["set", "both", "b"]);
    let (code, out, _) = here.try_irmin(&["pull", "origin", "main"]);
    assert!(code == 1 && out.ends_with("\nboth\n"), "{out}");
    assert_eq!(here.git(&["rev-parse", "main"]), before);
    let other = Place::new("sha1", &[]);
    other.irmin(&["pull", &path(&there)]);
    assert_eq!(other.irmin(&["get", "both"]), "b");
    // A branch may follow another one here, wherever the command runs.
    other.irmin(&["branches", "--create", "topic"]);
    let next = other.irmin(&["set", "both", "c"]);
    other.git(&["config", "branch.topic.remote", "."]);
    other.git(&["config", "branch.topic.merge", "refs/heads/main"]);
    let repo = path(&other);
    let pulled = here.irmin(&["pull", "--repo", &repo, "--branch", "topic"]);
    assert!(pulled.ends_with(&next), "{pulled}");
    assert_eq!(
        here.irmin(&["get", "both", "--at", "topic@{u}", "--repo", &repo]),
        "c"
    );
}

#[test]
fn a_push_moves_what_may_move_and_says_what_may_not() {
    let there = Place::new("sha1", &["--bare"]);
    let here = Place::of_git("sha1");
    Random(6).history(&here, 30);
    let url = path(&there);
    here.git(&["remote", "add", "origin", &url]);
    assert!(here.irmin(&["push"]).starts_with("made refs/heads/main - "));
    assert_eq!(
        here.git(&["rev-parse", "origin/main"]),
        here.git(&["rev-parse", "main"])
    );
    assert_eq!(here.irmin(&["push"]), "");
    here.irmin(&["push", "--tags", "origin", "main:other"]);
    there.fsck();
    assert_eq!(
        there.git(&["rev-parse", "other", "c4"]),
        here.git(&["rev-parse", "main", "c4"])
    );
    assert!(
        here.irmin(&["push", "--delete", "origin", "other"])
            .starts_with("deleted ")
    );
    let (code, _, error) = here.try_irmin(&["push", "--delete", "origin", "other"]);
    assert!(code == 1 && error.contains("no other"), "{error}");
    here.irmin(&["push", "origin", "main~1:refs/heads/earlier"]);
    assert_eq!(
        there.git(&["rev-parse", "earlier"]),
        here.git(&["rev-parse", "main~1"])
    );
    // Somebody else moves it.
    let theirs = there.irmin(&["set", "theirs", "x"]);
    here.irmin(&["set", "ours", "x"]);
    let (code, out, _) = here.try_irmin(&["push"]);
    assert!(
        code == 1 && out.starts_with("refused refs/heads/main "),
        "{out}"
    );
    let (code, out, _) = here.try_irmin(&["push", "--force-with-lease"]);
    assert!(
        code == 1 && out.contains("not where it was fetched"),
        "{out}"
    );
    here.irmin(&["fetch"]);
    assert!(
        here.irmin(&["push", "--force-with-lease"])
            .starts_with("moved ")
    );
    let lease = format!("--force-with-lease=main:{theirs}");
    assert_eq!(
        here.try_irmin(&["push", &lease, "origin", "c3:refs/heads/main"])
            .0,
        1
    );
    here.irmin(&["push", "--force", "origin", "c3:refs/heads/main"]);
    assert_eq!(
        there.git(&["rev-parse", "main"]),
        here.git(&["rev-parse", "c3"])
    );
    there.irmin(&["branches", "--create", "gone"]);
    here.git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    here.irmin(&["push", "--mirror"]);
    let names = |place: &Place| place.git(&["for-each-ref", "refs/heads", "refs/tags"]);
    assert_eq!(names(&there), names(&here));
    there.fsck();
}

#[test]
fn hooks_and_settings_of_a_folder_hold_and_without_git_nothing_passes_them() {
    let there = Place::of_git("sha1");
    let here = Place::new("sha1", &[]);
    here.irmin(&["set", "a", "x"]);
    let url = path(&there);
    let no_git = |command: &[&str]| {
        let mut irmin = here.irmin_command(command);
        let output = irmin.env("PATH", "").output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), error)
    };
    let (code, error) = no_git(&["push", &url, "main:first"]);
    assert_eq!(code, Some(0), "{error}");
    there.git(&["config", "receive.denyDeletes", "true"]);
    let (code, error) = no_git(&["push", &url, "main:second"]);
    assert!(
        code == Some(3) && error.contains("git") && error.contains("[receive]"),
        "{error}"
    );
    let (code, out, _) = here.try_irmin(&["push", "--delete", &url, "first"]);
    assert!(code == 1 && out.contains("deletion prohibited"), "{out}");
    let irmin = env!("CARGO_BIN_EXE_irmin");
    let program = format!("--receive-pack={irmin} receive-pack");
    let (code, _, error) = here.try_git(&["push", &program, &url, ":refs/heads/first"]);
    assert!(
        code == 1 && error.contains("deletion prohibited"),
        "{error}"
    );
    let served = no_git(&["receive-pack", &url]);
    assert!(served.0 == Some(3) && served.1.contains("install git"));
}

#[test]
fn native_stores_clone_fetch_and_push_among_themselves() {
    let there = Place::new("native", &["--bare"]);
    let first = there.irmin(&["set", "a/b", "x"]);
    there.irmin(&["set", "big", &"large ".repeat(10_000), "--branch", "topic"]);
    let here = empty();
    here.irmin(&["clone", &path(&there), "n"]);
    assert_eq!(here.irmin(&["get", "a/b", "--repo", "n"]), "x");
    assert_eq!(
        here.irmin(&["log", "--json", "-n", "1", "origin/topic", "--repo", "n"])
            .matches("\"parents\":[]")
            .count(),
        1
    );
    let second = here.irmin(&["set", "c", "y", "--repo", "n"]);
    let told = here.irmin(&["push", "--repo", "n"]);
    assert_eq!(told, format!("moved refs/heads/main {first} {second}"));
    let third = there.irmin(&["set", "d", "z"]);
    assert!(here.irmin(&["pull", "--repo", "n"]).ends_with(&third));
    assert_eq!(here.irmin(&["fsck", "--repo", "n"]), "");
    assert_eq!(there.irmin(&["fsck"]), "");
    let git = Place::new("sha1", &[]);
    let (code, _, error) = git.try_irmin(&["fetch", &path(&there)]);
    assert!(code == 3 && error.contains("irmin convert"), "{error}");
}

/// Two clones of a repository of git with these names, one for each program.
fn twins(there: &Place) -> [Place; 2] {
    [(); 2].map(|()| {
        let here = Place::of_git("sha1");
        here.git(&["remote", "add", "origin", &path(there)]);
        here.git(&["remote", "add", "other", &format!("{}/.git/", path(there))]);
        here
    })
}

#[test]
fn what_was_fetched_last_is_noted_byte_for_byte_as_git_notes_it() {
    let there = Place::of_git("sha1");
    Random(3).history(&there, 30);
    there.git(&["branch", "topic", "c3"]);
    there.git(&["branch", "a/b", "c20"]);
    there.git(&["tag", "-a", "v1", "-m", "one", "c5"]);
    there.git(&["tag", "of-a-tree", "c5^{tree}"]);
    there.git(&["update-ref", "refs/notes/x", "c2"]);
    there.git(&["update-ref", "refs/remotes/up/main", "c2"]);
    let main = there.git(&["rev-parse", "main"]);
    for (settings, commands) in [
        // Nothing is configured to be merged.
        (
            &[][..],
            &[
                &["fetch"][..],
                &["fetch"],
                &["fetch", "--all"],
                &["fetch", "other"],
                &["fetch", "--tags"],
                &["fetch", "origin", "topic", "a/b"],
                &["fetch", "origin", "topic", "--tags"],
                &["fetch", "origin", "refs/heads/*:refs/x/*", "v1"],
                &["fetch", "origin", &main],
                &[
                    "fetch",
                    "origin",
                    "HEAD",
                    "refs/notes/x",
                    "refs/remotes/up/main",
                    "of-a-tree",
                ],
                &["fetch", "origin", "@"],
                &["fetch", &path(&there)],
                &["fetch", &path(&there), "main:refs/heads/x", "c7"],
            ][..],
        ),
        (
            &[
                ["branch.main.remote", "origin"],
                ["branch.main.merge", "refs/heads/topic"],
            ],
            &[
                &["fetch"],
                &["fetch", "other"],
                &["fetch", "origin", "main"],
            ],
        ),
        (
            &[["remote.origin.fetch", "refs/heads/topic:refs/heads/topic"]],
            &[&["fetch"], &["fetch", "--no-tags", "origin", "main"]],
        ),
    ] {
        let [ours, theirs] = twins(&there);
        for [key, value] in settings {
            for place in [&ours, &theirs] {
                place.git(&["config", key, value]);
            }
        }
        for command in commands {
            let (code, out, error) = ours.try_irmin(command);
            assert!(code == 0, "{command:?} {out}{error}");
            theirs.git(command);
            let read = |place: &Place| {
                std::fs::read_to_string(place.path().join(".git/FETCH_HEAD")).unwrap()
            };
            assert_eq!(read(&ours), read(&theirs), "{settings:?} {command:?}");
            let names = |place: &Place| place.git(&["for-each-ref"]);
            assert_eq!(names(&ours), names(&theirs), "{settings:?} {command:?}");
        }
        if settings.is_empty() {
            assert_eq!(
                ours.irmin(&["log", "-n", "1", "FETCH_HEAD", "--json"]),
                ours.irmin(&["log", "-n", "1", &main, "--json"])
            );
        }
    }
    // A fetch that fails leaves none that is out of date.
    let [ours, _] = twins(&there);
    ours.irmin(&["fetch"]);
    assert_eq!(ours.try_irmin(&["fetch", "origin", "nothing"]).0, 1);
    let left = std::fs::read_to_string(ours.path().join(".git/FETCH_HEAD"));
    assert_eq!(left.unwrap(), "");
}

#[test]
fn a_push_can_say_where_the_branch_goes_and_comes_from_from_now_on() {
    let there = Place::new("sha1", &["--bare"]);
    let [ours, theirs] = twins(&there);
    let config = |place: &Place| std::fs::read_to_string(place.path().join(".git/config")).unwrap();
    Random(8).history(&ours, 12);
    theirs.git(&[
        "fetch",
        "-q",
        &path(&ours),
        "refs/*:refs/*",
        "--update-head-ok",
    ]);
    for place in [&ours, &theirs] {
        place.git(&["branch", "topic", "c4"]);
        place.git(&["config", "branch.topic.remote", "nobody"]);
        place.git(&["remote", "set-url", "other", &format!("{}/", path(&there))]);
    }
    for command in [
        &["push", "-u", "origin", "main"][..],
        &["push", "--set-upstream", "origin", "topic:refs/heads/other"],
        &[
            "push",
            "-u",
            "origin",
            "main:refs/tags/no",
            "c3:refs/heads/third",
        ],
        &["push", "-u", "other", "HEAD"],
    ] {
        ours.try_irmin(command);
        theirs.git(command);
        assert_eq!(config(&ours), config(&theirs), "{command:?}");
    }
    ours.irmin(&["push", "-u", "origin", "HEAD"]);
    // What is configured is used, and known to revisions.
    let first = ours.git(&["rev-parse", "main"]);
    let next = ours.irmin(&["set", "x", "y"]);
    assert_eq!(
        ours.irmin(&["push"]),
        format!("moved refs/heads/main {first} {next}")
    );
    let id = |name: &str| {
        let log = ours.irmin(&["log", "-n", "1", name, "--json"]);
        let at = log.find("\"commit\":\"").expect("a commit") + 10;
        log[at..at + 40].to_string()
    };
    for name in ["@{u}", "main@{upstream}", "@{U}~1", "@{push}", "HEAD@{u}^"] {
        assert_eq!(id(name), ours.git(&["rev-parse", name]), "{name}");
    }
    assert_eq!(id("topic@{u}"), ours.git(&["rev-parse", "origin/other"]));
    let (code, _, error) = ours.try_irmin(&["log", "c3@{u}"]);
    assert!(code == 3 && error.contains("push -u"), "{error}");
    // Somebody goes on there, and a merge of what was fetched is called as git calls it.
    let last = there.irmin(&["set", "z", "z"]);
    ours.irmin(&["fetch"]);
    ours.irmin(&["set", "v", "v"]);
    ours.irmin(&["merge", "@{u}"]);
    assert_eq!(
        ours.git(&["log", "-1", "--format=%s %P"])
            .split_once(" 'origin/main' ")
            .unwrap()
            .0,
        "Merge remote-tracking branch"
    );
    assert_eq!(ours.git(&["rev-parse", "main^2"]), last);
}

#[test]
fn sources_of_a_push_are_those_of_git_and_short_targets_too() {
    let there = [
        Place::new("sha1", &["--bare"]),
        Place::new("sha1", &["--bare"]),
    ];
    let here = Place::of_git("sha1");
    Random(5).history(&here, 20);
    here.git(&["tag", "-a", "v1", "-m", "one", "c5"]);
    here.git(&["update-ref", "refs/remotes/origin/x", "c7"]);
    let commit = here.git(&["rev-parse", "main~2"]);
    let tag = here.git(&["rev-parse", "v1"]);
    let urls = [path(&there[0]), path(&there[1])];
    let names = |place: &Place| place.git(&["for-each-ref"]);
    for (spec, is_done) in [
        ("main~1:main", false),
        ("main~1:refs/heads/main", true),
        ("main~1:new", false),
        ("main~1:main", true),
        ("@:main", true),
        ("@", true),
        ("HEAD^{tree}:refs/tags/tree", true),
        ("main^{tree}:new", false),
        ("main^{tree}:refs/heads/new", false),
        (&format!("{}:refs/heads/short", &commit[..9]), true),
        (&format!("{}:refs/tags/short", &tag[..8]), true),
        (&format!("{}:short2", &commit[..9]), false),
        (&commit[..9], false),
        ("main:branch", true),
        ("c3:tag", true),
        ("origin/x:x", false),
        ("origin/x:refs/heads/x", true),
        ("nothing:refs/heads/x", false),
    ] {
        let (code, _, error) = here.try_irmin(&["push", &urls[0], spec]);
        assert_eq!(code == 0, is_done, "{spec}: {error}");
        let (code, _, error) = here.try_git(&["push", &urls[1], spec]);
        assert_eq!(code == 0, is_done, "git {spec}: {error}");
        assert_eq!(names(&there[0]), names(&there[1]), "{spec}");
    }
    // Detached, it is no branch that is pushed.
    here.git(&["checkout", "-q", "--detach", "c2"]);
    for spec in ["HEAD", "HEAD:fourth"] {
        assert_ne!(here.try_irmin(&["push", &urls[0], spec]).0, 0);
        assert_ne!(here.try_git(&["push", &urls[1], spec]).0, 0);
    }
}
