//! Git itself as the client, in all versions of its protocol.

mod common;

use std::sync::Arc;

use common::Served;
use common::git::{Place, VERSIONS, memory, set, url};
use irmin::{Format, Memory};
use irmin_serve::{Options, Store};
use serde_json::json;

/// Does the same with a store of each kind, in both of Git's formats.
fn for_all(work: impl Fn(&Served, Format)) {
    for format in [Format::GitSha1, Format::GitSha256] {
        let folder = tempfile::tempdir().unwrap();
        let git = irmin_git::Git::init(folder.path().join("git"), format, true).unwrap();
        let files = irmin_pack::Files::open(folder.path().join("pack")).unwrap();
        let pack = irmin_pack::Pack::create(files, format).unwrap();
        let stores: [Store; 3] = [Arc::new(Memory::new(format)), Arc::new(git), Arc::new(pack)];
        for store in stores {
            work(&Served::new(store, Options::default()), format);
        }
    }
}

#[test]
fn git_clones_and_fetches_in_every_version_and_format() {
    for_all(|served, _| {
        let (place, url) = (Place::new(), url(served));
        served.commit("main", set("a/b", "1"));
        for n in 0..30 {
            served.commit("main", set(&format!("d{}/x", n % 3), &n.to_string()));
        }
        let top = served.commit("topic/x", set("t", "1"));
        for version in VERSIONS {
            let version_arg = format!("protocol.version={version}");
            let dir = place.path(version);
            place.git(
                &place.path(""),
                &[
                    "-c",
                    &version_arg,
                    "clone",
                    "-q",
                    &url,
                    dir.to_str().unwrap(),
                ],
            );
            place.git(&dir, &["fsck", "--strict", "--full"]);
            assert_eq!(place.git(&dir, &["rev-list", "--count", "HEAD"]), "31");
            assert_eq!(place.git(&dir, &["rev-parse", "origin/topic/x"]), top);
            assert_eq!(
                place.git(&dir, &["symbolic-ref", "HEAD"]),
                "refs/heads/main"
            );
        }
        let new = served.commit("main", set("a/b", "2"));
        for version in VERSIONS {
            let version_arg = format!("protocol.version={version}");
            let dir = place.path(version);
            place.git(&dir, &["commit", "-q", "--allow-empty", "-m", "mine"]);
            place.git(&dir, &["-c", &version_arg, "fetch", "-q"]);
            assert_eq!(place.git(&dir, &["rev-parse", "origin/main"]), new);
            place.git(&dir, &["-c", &version_arg, "fetch", "-q"]);
            place.git(&dir, &["fsck", "--strict", "--full"]);
        }
    });
}

#[test]
fn git_pushes_names_that_are_new_forward_forced_deleted_and_all_or_none() {
    for_all(|served, format| {
        let (place, url) = (Place::new(), url(served));
        let dir = place.path("work");
        let object_format = if format == Format::GitSha1 {
            "sha1"
        } else {
            "sha256"
        };
        place.git(
            &place.path(""),
            &[
                "init",
                "-q",
                "-b",
                "main",
                "--object-format",
                object_format,
                "work",
            ],
        );
        // An empty repository is cloned and fetched from, too.
        for version in VERSIONS {
            let version_arg = format!("protocol.version={version}");
            let empty = place.path(&format!("empty{version}"));
            let output = place.run(
                &place.path(""),
                &["-c", &version_arg, "clone", &url, empty.to_str().unwrap()],
            );
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success() && said.contains("empty repository"),
                "{version}: {said}"
            );
        }
        place.git(&dir, &["remote", "add", "origin", &url]);
        std::fs::create_dir(dir.join("d")).unwrap();
        for n in 0..60 {
            std::fs::write(dir.join(format!("d/{n}")), format!("{n}\n").repeat(200)).unwrap();
        }
        place.git(&dir, &["add", "."]);
        place.git(&dir, &["commit", "-q", "-m", "one"]);
        place.git(&dir, &["tag", "-a", "v1", "-m", "first"]);
        place.git(&dir, &["push", "-q", "--follow-tags", "origin", "main"]);
        let head = |name: &str| {
            served.get(&format!("/branches/{name}")).json()["commit"]
                .as_str()
                .unwrap_or_default()
                .to_string()
        };
        let one = place.git(&dir, &["rev-parse", "HEAD"]);
        assert_eq!(head("main"), one);
        assert_eq!(
            served.get("/contents/d/7").body,
            "7\n".repeat(200).as_bytes()
        );
        assert_eq!(served.get("/commits/v1").json()["commit"], json!(one));
        for n in 0..6 {
            std::fs::write(dir.join("d/0"), format!("{n}\n").repeat(300)).unwrap();
            place.git(&dir, &["commit", "-q", "-a", "-m", "more"]);
            let version_arg = format!("protocol.version={}", n % 3);
            place.git(&dir, &["-c", &version_arg, "push", "-q", "origin", "main"]);
        }
        let top = place.git(&dir, &["rev-parse", "HEAD"]);
        assert_eq!(head("main"), top);
        // Not forwards: Git's own client refuses, and what is forced happens.
        place.git(&dir, &["checkout", "-q", "-b", "side", "HEAD~3"]);
        place.git(&dir, &["commit", "-q", "--allow-empty", "-m", "side"]);
        place.fails(&dir, &["push", "origin", "side:main"]);
        assert_eq!(head("main"), top);
        place.git(&dir, &["push", "-q", "--force", "origin", "side:main"]);
        let side = place.git(&dir, &["rev-parse", "side"]);
        assert_eq!(head("main"), side);
        place.git(
            &dir,
            &[
                "push",
                "-q",
                &format!("--force-with-lease=main:{side}"),
                "origin",
                "main:main",
            ],
        );
        assert!(
            place
                .fails(
                    &dir,
                    &[
                        "push",
                        &format!("--force-with-lease=main:{side}"),
                        "origin",
                        "side:main"
                    ]
                )
                .contains("stale info")
        );
        // All or none: deleting the current branch is refused, and so the other does not move.
        let said = place.fails(&dir, &["push", "--atomic", "origin", "side:other", ":main"]);
        assert!(
            said.contains("deletion of the current branch prohibited")
                && said.contains("atomic push failed"),
            "{said}"
        );
        assert_eq!(served.get("/branches/other").status, 404);
        place.fails(&dir, &["push", "origin", "side:other", ":main"]);
        assert_eq!((head("other"), head("main")), (side, top));
        place.git(&dir, &["push", "-q", "origin", ":other", ":v1"]);
        assert_eq!(
            (
                served.get("/branches/other").status,
                served.get("/commits/v1").status
            ),
            (404, 404)
        );
        // What came is whole: a fresh clone says so.
        place.git(&place.path(""), &["clone", "-q", &url, "fresh"]);
        place.git(&place.path("fresh"), &["fsck", "--strict", "--full"]);
        // A branch that points to no commit, and one below another.
        assert!(
            place
                .fails(&dir, &["push", "origin", "HEAD^{tree}:refs/heads/tree"])
                .contains("a branch points to a commit")
        );
        place.git(
            &dir,
            &["push", "-q", "origin", "HEAD^{tree}:refs/tags/tree"],
        );
        place.fails(&dir, &["push", "origin", "HEAD:refs/heads/main/below"]);
        place.git(&place.path("fresh"), &["fetch", "-q", "--tags"]);
    });
}

#[test]
fn a_clone_is_whole_while_others_commit() {
    let served = memory(Format::GitSha1);
    let (place, url) = (Place::new(), url(&served));
    served.commit("main", set("a", "0"));
    std::thread::scope(|threads| {
        let writer = threads
            .spawn(|| (1..150).for_each(|n| drop(served.commit("main", set("a", &n.to_string())))));
        for n in 0.. {
            let version_arg = format!("protocol.version={}", n % 3);
            let dir = format!("clone{n}");
            place.git(
                &place.path(""),
                &["-c", &version_arg, "clone", "-q", &url, &dir],
            );
            place.git(&place.path(&dir), &["fsck", "--strict", "--full"]);
            if writer.is_finished() {
                break;
            }
        }
    });
}

#[test]
fn thousands_of_names_are_listed_and_fetched() {
    let store = Arc::new(Memory::new(Format::GitSha1));
    let served = Served::new(store.clone(), Options::default());
    let (place, url) = (Place::new(), url(&served));
    let repo = irmin::Repo::new(store);
    let id = served.commit("main", set("a", "0")).parse().unwrap();
    let edits: Vec<_> = (0..5000)
        .map(|n| irmin::RefEdit {
            name: irmin::RefName::new(&format!("refs/heads/b/{n:04}")).unwrap(),
            expect: irmin::Expect::Missing,
            new: Some(id),
        })
        .collect();
    repo.update(&edits).unwrap();
    for version in VERSIONS {
        let version_arg = format!("protocol.version={version}");
        assert_eq!(
            place
                .git(
                    &place.path(""),
                    &["-c", &version_arg, "ls-remote", "-q", &url]
                )
                .lines()
                .count(),
            5002
        );
        let one = place.git(
            &place.path(""),
            &[
                "-c",
                &version_arg,
                "ls-remote",
                "-q",
                &url,
                "refs/heads/b/0007",
            ],
        );
        assert_eq!(one.lines().count(), 1);
        let dir = format!("all{version}");
        place.git(
            &place.path(""),
            &["-c", &version_arg, "clone", "-q", &url, &dir],
        );
        assert_eq!(
            place
                .git(
                    &place.path(&dir),
                    &["for-each-ref", "refs/remotes/origin/b"]
                )
                .lines()
                .count(),
            5000
        );
    }
}

#[test]
fn a_repository_with_a_work_tree_is_served_beside_git_and_keeps_its_branch() {
    let place = Place::new();
    let repository = place.path("repository");
    place.git(&place.path(""), &["init", "-q", "-b", "main", "repository"]);
    place.git(&repository, &["commit", "-q", "--allow-empty", "-m", "one"]);
    let store = Arc::new(irmin_git::Git::open(&repository).unwrap());
    let served = Served::new(
        store,
        Options {
            has_work_tree: true,
            ..Options::default()
        },
    );
    let url = url(&served);
    place.git(&place.path(""), &["clone", "-q", &url, "work"]);
    let work = place.path("work");
    place.git(&work, &["commit", "-q", "--allow-empty", "-m", "two"]);
    assert!(
        place
            .fails(&work, &["push", "origin", "main"])
            .contains("branch is currently checked out")
    );
    place.git(&work, &["push", "-q", "origin", "main:topic"]);
    assert_eq!(
        place.git(&repository, &["rev-parse", "topic"]),
        place.git(&work, &["rev-parse", "main"])
    );
    place.git(&repository, &["merge", "-q", "topic"]);
    place.git(&repository, &["gc", "-q"]);
    place.git(
        &repository,
        &["commit", "-q", "--allow-empty", "-m", "three"],
    );
    place.git(&work, &["pull", "-q", "--ff-only"]);
    assert_eq!(
        place.git(&repository, &["rev-parse", "main"]),
        place.git(&work, &["rev-parse", "main"])
    );
    place.git(&repository, &["fsck", "--strict"]);
}

#[test]
fn git_refuses_a_store_of_the_native_format_and_says_why() {
    let served = memory(Format::Native);
    served.commit("main", set("a", "0"));
    let place = Place::new();
    for version in VERSIONS {
        let version_arg = format!("protocol.version={version}");
        let said = place.fails(
            &place.path(""),
            &["-c", &version_arg, "clone", &url(&served), "native"],
        );
        assert!(said.contains("irmin"), "{said}");
    }
}
