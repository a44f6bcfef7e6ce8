//! `irmin serve` on a Git repository with hooks and settings: what they say of pushes and fetches holds.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::served::Served;
use common::{Place, Random};

/// A repository with one commit, and a clone of it through the server.
struct World {
    there: Place,
    here: Place,
    served: Served,
}

impl World {
    fn new(there: Place, options: &[&str]) -> World {
        there.irmin(&["set", "a", "x"]);
        let served = Served::new(&there, options);
        let here = Place::of_git("sha1");
        here.git(&["remote", "add", "origin", &served.git()]);
        here.git(&["fetch", "-q"]);
        here.git(&["reset", "-q", "--hard", "origin/main"]);
        World {
            there,
            here,
            served,
        }
    }

    fn bare() -> World {
        World::new(Place::new("sha1", &["--bare"]), &[])
    }

    fn hook(&self, name: &str, script: &str) {
        let hooks = self.there.path().join("hooks");
        fs::create_dir_all(&hooks).unwrap();
        fs::write(hooks.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(hooks.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// Pushes with git: the exit code and what was said.
    fn push(&self, args: &[&str]) -> (i32, String) {
        let (code, out, error) = self
            .here
            .try_git(&[&["push", "--porcelain", "origin"], args].concat());
        (code, out + &error)
    }

    fn names(&self) -> String {
        self.there.git(&["for-each-ref", "--format=%(refname)"])
    }
}

#[test]
fn hooks_run_for_pushes_through_the_server_and_may_refuse_them() {
    let world = World::bare();
    world.hook(
        "pre-receive",
        "while read old new name; do echo \"sees $name\"; case $name in *bad*) exit 1;; esac; done",
    );
    world.hook("update", "case $1 in *worse*) echo no such; exit 1;; esac");
    world.hook("post-receive", "cat >>told");
    let (code, said) = world.push(&["main:bad", "main:good"]);
    assert!(
        code == 1 && said.contains("sees refs/heads/bad") && said.contains("hook declined"),
        "{said}"
    );
    assert_eq!(world.names(), "refs/heads/main");
    // More than fits into a pipe at once.
    let mut random = Random(7);
    let noise: Vec<u8> = (0..300_000).map(|_| random.below(256) as u8).collect();
    fs::write(world.here.path().join("noise"), noise).unwrap();
    world.here.git(&["add", "noise"]);
    world.here.git(&["commit", "-q", "-m", "noise"]);
    let first = world.here.git(&["rev-parse", "main"]);
    let (code, said) = world.push(&["main:worse", "main:good"]);
    assert!(code == 1 && said.contains("no such"), "{said}");
    assert_eq!(world.names(), "refs/heads/good\nrefs/heads/main");
    let told = fs::read_to_string(world.there.path().join("told")).unwrap();
    assert_eq!(
        told,
        format!("{} {first} refs/heads/good\n", "0".repeat(40))
    );
    // Our own client too; and what the server says afterwards is what is there.
    let (code, out, _) = world.here.try_irmin(&["push", "origin", "main:bad"]);
    assert!(code == 1 && out.contains("declined"), "{out}");
    world.here.irmin(&["push", "origin", "main"]);
    let again = Place(tempfile::tempdir().unwrap());
    again.git(&["clone", "-q", &world.served.git(), "."]);
    assert_eq!(
        again.git(&["rev-parse", "HEAD", "origin/good"]),
        format!("{first}\n{first}")
    );
    world.there.fsck();
}

#[test]
fn settings_of_the_repository_hold_for_pushes_through_the_server() {
    let world = World::bare();
    world.push(&["main:other"]);
    let set = |key: &str, value: &str| drop(world.there.git(&["config", key, value]));
    set("receive.denyDeletes", "true");
    let (code, said) = world.push(&[":other"]);
    assert!(code == 1 && said.contains("deletion prohibited"), "{said}");
    set("receive.denyNonFastForwards", "true");
    world.here.irmin(&["set", "b", "y"]);
    assert_eq!(world.push(&["main:other"]).0, 0);
    let (code, said) = world.push(&["+main~1:other"]);
    assert!(code == 1 && said.contains("non-fast-forward"), "{said}");
    set("receive.maxInputSize", "100");
    world.here.irmin(&["set", "c", &"noise ".repeat(1000)]);
    let (code, said) = world.push(&["main:third"]);
    assert!(code == 1 && !world.names().contains("third"), "{said}");
    set("receive.maxInputSize", "0");
    assert_eq!(world.push(&["main:third"]).0, 0);
    world.there.fsck();
    // Without git they cannot be asked, and nothing passes them.
    drop(world.served);
    let served = Served::without_git(&world.there);
    let to = ["push", &served.git(), "main:fourth"];
    let (code, out, error) = world.here.try_irmin(&to);
    assert!(
        code == 1 && out.contains("[receive]") && out.contains("not installed"),
        "{out}{error}"
    );
}

#[test]
fn files_of_a_work_tree_follow_a_push_where_the_repository_says_so() {
    let world = World::new(Place::of_git("sha1"), &[]);
    world.there.git(&["reset", "-q", "--hard"]);
    world.here.irmin(&["set", "b", "y"]);
    let (code, said) = world.push(&["main"]);
    assert!(code == 1 && said.contains("checked out"), "{said}");
    let set = ["config", "receive.denyCurrentBranch", "updateInstead"];
    world.there.git(&set);
    let (code, said) = world.push(&["main"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        fs::read_to_string(world.there.path().join("b")).unwrap(),
        "y"
    );
    assert_eq!(world.there.git(&["status", "--porcelain"]), "");
}

#[test]
fn hidden_names_are_not_told_and_not_moved() {
    let there = Place::new("sha1", &["--bare"]);
    there.irmin(&["set", "a", "x"]);
    for (name, key, rule) in [
        ("refs/internal/x", "transfer.hideRefs", "refs/internal"),
        (
            "refs/heads/draft",
            "uploadpack.hideRefs",
            "refs/heads/draft",
        ),
        ("refs/heads/kept", "receive.hideRefs", "refs/heads/kept"),
    ] {
        there.git(&["update-ref", name, "main"]);
        there.git(&["config", "--add", key, rule]);
    }
    let world = World::new(there, &[]);
    let listed = world.here.git(&["ls-remote", "origin"]);
    assert!(!listed.contains("internal") && !listed.contains("draft") && listed.contains("kept"));
    let theirs = world
        .here
        .git(&["ls-remote", world.there.path().to_str().unwrap()]);
    assert_eq!(listed, theirs);
    let irmin = format!("{} upload-pack", env!("CARGO_BIN_EXE_irmin"));
    let piped = [
        "ls-remote",
        "--upload-pack",
        &irmin,
        world.there.path().to_str().unwrap(),
    ];
    assert_eq!(world.here.git(&piped), theirs);
    let folder = world.there.path().to_str().unwrap();
    world.here.irmin(&["fetch", folder, "refs/*:refs/seen/*"]);
    let seen = world.here.git(&["for-each-ref", "refs/seen"]);
    assert!(!seen.contains("internal") && !seen.contains("draft") && seen.contains("kept"));
    for name in ["refs/internal/x", "refs/heads/kept", "refs/internal/new"] {
        let (code, said) = world.push(&[&format!("+main:{name}")]);
        assert!(code == 1 && said.contains("[remote rejected]"), "{said}");
    }
    assert_eq!(world.push(&["main:new"]).0, 0);
    let before = world.there.git(&["rev-parse", "main"]);
    assert_eq!(world.there.git(&["rev-parse", "refs/internal/x"]), before);
}

#[test]
fn tokens_and_options_of_the_server_hold_beside_hooks() {
    let there = Place::new("sha1", &["--bare"]);
    let token = there.irmin(&["token", "tokens", "--read", "*", "--write", "ada/*"]);
    there.irmin(&["set", "a", "x"]);
    let served = Served::new(&there, &["--tokens", "tokens", "--only-forwards"]);
    let here = Place::of_git("sha1");
    let url = served
        .git()
        .replace("http://", &format!("http://x:{token}@"));
    here.git(&["remote", "add", "origin", &url]);
    here.git(&["fetch", "-q"]);
    here.git(&["reset", "-q", "--hard", "origin/main"]);
    let world = World {
        there,
        here,
        served,
    };
    world.hook("post-receive", "cat >>told");
    world.here.irmin(&["set", "b", "y"]);
    let (code, said) = world.push(&["main", "main:ada/x"]);
    assert!(code == 1 && said.contains("may not write"), "{said}");
    assert_eq!(world.names(), "refs/heads/main", "git never saw it");
    assert_eq!(world.push(&["main:ada/x"]).0, 0);
    let (code, said) = world.push(&["+main~1:ada/x"]);
    assert!(code == 1 && said.contains("non-fast-forward"), "{said}");
    assert!(world.there.path().join("told").exists());
}
