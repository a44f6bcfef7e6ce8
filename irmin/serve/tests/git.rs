//! Git itself as the client, in all versions of its protocol.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use common::Served;
use irmin::{Format, Memory};
use irmin_serve::{Options, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

const VERSIONS: [&str; 3] = ["0", "1", "2"];

/// A folder with nobody's configuration but what is given.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, dir: &Path, args: &[&str]) -> Output {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(dir)
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("HOME", self.folder.path());
        for (key, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "Ada"),
            ("GIT_AUTHOR_EMAIL", "ada@example.org"),
            ("GIT_COMMITTER_NAME", "Ada"),
            ("GIT_COMMITTER_EMAIL", "ada@example.org"),
            ("LC_ALL", "C"),
        ] {
            command.env(key, value);
        }
        command.output().expect("git can be run")
    }

    /// Runs git where it must succeed.
    fn git(&self, dir: &Path, args: &[&str]) -> String {
        let output = self.run(dir, args);
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    /// Runs git where it must fail, and gives what it says.
    fn fails(&self, dir: &Path, args: &[&str]) -> String {
        let output = self.run(dir, args);
        assert!(!output.status.success(), "git {args:?} should fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn set(path: &str, text: &str) -> Value {
    json!([{ "op": "set", "path": path, "text": text }])
}

fn url(served: &Served) -> String {
    format!("{}/store.git", served.url)
}

fn memory(format: Format) -> Served {
    Served::new(Arc::new(Memory::new(format)) as Store, Options::default())
}

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
fn histories_are_cut_deepened_and_made_whole_again() {
    let served = memory(Format::GitSha1);
    let (place, url) = (Place::new(), url(&served));
    let work = place.path("work");
    place.git(&place.path(""), &["init", "-q", "-b", "main", "work"]);
    for n in 0..12 {
        std::fs::write(work.join("f"), format!("{n}\n")).unwrap();
        place.git(&work, &["add", "."]);
        let date = format!("{} +0000", 1_000_000_000 + n * 86_400);
        let mut command = Command::new("git");
        command.arg("-C").arg(&work).args([
            "-c",
            "user.name=A",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "-m",
            "m",
        ]);
        assert!(
            command
                .env("GIT_AUTHOR_DATE", &date)
                .env("GIT_COMMITTER_DATE", &date)
                .status()
                .unwrap()
                .success()
        );
        if n == 5 {
            place.git(&work, &["tag", "-a", "v5", "-m", "t"]);
            place.git(&work, &["branch", "old"]);
        }
        if n == 8 {
            // A side branch that is merged.
            place.git(&work, &["checkout", "-q", "-b", "side", "HEAD~2"]);
            place.git(&work, &["commit", "-q", "--allow-empty", "-m", "side"]);
            place.git(&work, &["checkout", "-q", "main"]);
            place.git(&work, &["merge", "-q", "-m", "merge", "side"]);
        }
    }
    place.git(&work, &["push", "-q", &url, "--all"]);
    place.git(&work, &["push", "-q", &url, "--tags"]);
    // A bare repository of git's own tells what each of these means.
    place.git(
        &place.path(""),
        &["clone", "-q", "--mirror", "work", "mirror.git"],
    );
    let peer = format!("file://{}", place.path("mirror.git").display());
    for version in VERSIONS {
        let version_arg = format!("protocol.version={version}");
        let both = |name: &str, args: &[&str], steps: &[&[&str]]| {
            let mut seen = Vec::new();
            for (who, url) in [("ours", &url), ("git", &peer)] {
                let dir = place.path(&format!("{name}-{version}-{who}"));
                let mut all = vec!["-c", &version_arg, "clone", "-q"];
                all.extend(args);
                all.extend([url.as_str(), dir.to_str().unwrap()]);
                place.git(&place.path(""), &all);
                let look = || {
                    place.git(&dir, &["fsck", "--full", "--strict"]);
                    let mut shallow: Vec<String> =
                        std::fs::read_to_string(dir.join(".git/shallow"))
                            .unwrap_or_default()
                            .lines()
                            .map(Into::into)
                            .collect();
                    shallow.sort();
                    (
                        place
                            .git(
                                &dir,
                                &["rev-list", "--all", "--objects", "--no-object-names"],
                            )
                            .lines()
                            .count(),
                        place.git(&dir, &["for-each-ref"]),
                        shallow,
                    )
                };
                let mut states = vec![look()];
                for step in steps {
                    let mut all = vec!["-c", version_arg.as_str()];
                    all.extend(*step);
                    place.git(&dir, &all);
                    states.push(look());
                }
                seen.push(states);
            }
            assert_eq!(seen[0], seen[1], "{name} {version}");
        };
        both(
            "depth",
            &["--depth", "1"],
            &[
                &["fetch", "-q", "--depth", "4"],
                &["fetch", "-q", "--deepen", "2"],
                &["fetch", "-q", "--unshallow"],
            ],
        );
        both(
            "all",
            &["--depth", "3", "--no-single-branch"],
            &[&["fetch", "-q", "--deepen", "1"], &["fetch", "-q"]],
        );
        both(
            "since",
            &["--shallow-since=2001-09-15"],
            &[&["fetch", "-q", "--shallow-since=2001-09-12"]],
        );
        both(
            "not",
            &["--shallow-exclude=old"],
            &[
                &["fetch", "-q", "--shallow-exclude=v5"],
                &["fetch", "-q", "--unshallow"],
            ],
        );
        both(
            "tags",
            &["--single-branch", "--branch", "v5"],
            &[&["fetch", "-q", "origin", "main"]],
        );
    }
    // From a cut history: what goes on is taken.
    place.git(
        &place.path(""),
        &["clone", "-q", "--depth", "1", &url, "shallow"],
    );
    let shallow = place.path("shallow");
    place.git(&shallow, &["commit", "-q", "--allow-empty", "-m", "on"]);
    place.git(&shallow, &["push", "-q", "origin", "main"]);
    assert_eq!(
        served.get("/commits/main").json()["commit"],
        json!(place.git(&shallow, &["rev-parse", "HEAD"]))
    );
    // Of a cut history the server lacks what is before: refused, and told why.
    let empty = memory(Format::GitSha1);
    let said = place.fails(
        &shallow,
        &["push", &format!("{}/store.git", empty.url), "main"],
    );
    assert!(said.contains("missing necessary objects"), "{said}");
    assert_eq!(empty.get("/branches/main").status, 404);
}

#[test]
fn tokens_hide_names_and_guard_pushes_from_git_too() {
    let tokens = "root-token-0123456789 write=*\nada-token-01234567890 read=main write=ada/*\nread-token-0123456789 read=*\n";
    let tokens = irmin_serve::Tokens::parse(tokens).unwrap();
    let served = Served::new(
        Arc::new(Memory::new(Format::GitSha1)),
        Options {
            tokens: Some(tokens),
            ..Options::default()
        },
    );
    let (place, url) = (Place::new(), url(&served));
    let as_who = |token: &str| format!("http.extraHeader=Authorization: Bearer {token}");
    let (root, ada, reader) = (
        as_who("root-token-0123456789"),
        as_who("ada-token-01234567890"),
        as_who("read-token-0123456789"),
    );
    let work = place.path("work");
    place.git(&place.path(""), &["init", "-q", "-b", "main", "work"]);
    place.git(&work, &["commit", "-q", "--allow-empty", "-m", "one"]);
    place.git(&work, &["commit", "-q", "--allow-empty", "-m", "secret"]);
    place.git(
        &work,
        &[
            "-c",
            &root,
            "push",
            "-q",
            &url,
            "main~1:refs/heads/main",
            "main:refs/heads/secret",
            "main:refs/tags/hidden",
        ],
    );
    let secret = place.git(&work, &["rev-parse", "main"]);
    assert!(
        place
            .fails(&work, &["ls-remote", &url])
            .contains("could not read Username"),
        "git is asked for a password"
    );
    let with_password = url.replace("http://", "http://ada:ada-token-01234567890@");
    for version in VERSIONS {
        let version_arg = format!("protocol.version={version}");
        let names = place.git(
            &work,
            &["-c", &version_arg, "ls-remote", "-q", &with_password],
        );
        let names: Vec<&str> = names
            .lines()
            .filter_map(|line| line.split('\t').nth(1))
            .collect();
        assert_eq!(names, ["HEAD", "refs/heads/main"]);
        let dir = format!("ada{version}");
        place.git(
            &place.path(""),
            &["-c", &version_arg, "-c", &ada, "clone", "-q", &url, &dir],
        );
        // By id neither: not what is here, not what is not.
        for id in [secret.as_str(), &"1".repeat(40)] {
            let said = place.fails(
                &place.path(&dir),
                &["-c", &version_arg, "-c", &ada, "fetch", &url, id],
            );
            assert!(said.contains(&format!("not our ref {id}")), "{said}");
        }
        place.git(
            &place.path(&dir),
            &[
                "-c",
                &version_arg,
                "-c",
                &reader,
                "fetch",
                "-q",
                &url,
                &secret,
            ],
        );
    }
    let mine = place.path("ada2");
    place.git(&mine, &["commit", "-q", "--allow-empty", "-m", "mine"]);
    place.git(
        &mine,
        &["-c", &ada, "push", "-q", &url, "HEAD:refs/heads/ada/notes"],
    );
    assert!(
        place
            .fails(&mine, &["-c", &ada, "push", &url, "HEAD:refs/heads/main"])
            .contains("this token may not write it")
    );
    assert!(
        place
            .fails(
                &mine,
                &[
                    "-c",
                    &ada,
                    "push",
                    "--force",
                    &url,
                    "HEAD:refs/heads/secret"
                ]
            )
            .contains("not among the names")
    );
    place.fails(&mine, &["-c", &reader, "push", &url, "HEAD:refs/heads/x"]);
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

#[test]
fn bodies_that_are_cut_swell_or_are_of_another_kind_do_no_harm() {
    let limits = irmin_serve::Limits {
        body: 1 << 20,
        pack: 1 << 20,
        ..Default::default()
    };
    let served = Served::new(
        Arc::new(Memory::new(Format::GitSha1)),
        Options {
            limits,
            ..Options::default()
        },
    );
    let main = served.commit("main", set("a", "0"));
    let ask = |service: &str, args: &[&str], body: Vec<u8>| {
        let kind = format!("Content-Type: application/x-{service}-request");
        let mut all = vec!["-X", "POST", "-H", &kind, "--data-binary", "@-"];
        all.extend(args);
        served.curl_with(&format!("/store.git/{service}"), &all, body)
    };
    let gzip = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packed, bytes).unwrap();
        packed.finish().unwrap()
    };
    let request = format!("0032want {main}\n00000009done\n").into_bytes();
    let packed = ["-H", "Content-Encoding: gzip"];
    assert!(
        ask("git-upload-pack", &[], request.clone())
            .text()
            .contains("PACK")
    );
    assert!(
        ask("git-upload-pack", &packed, gzip(&request))
            .text()
            .contains("PACK")
    );
    // A thousand bytes that unpack to a million lines.
    let bomb = [
        format!("0032want {main}\n0000").as_bytes(),
        &format!("0032have {}\n", "1".repeat(40))
            .into_bytes()
            .repeat(1 << 20),
    ]
    .concat();
    let answer = ask("git-upload-pack", &packed, gzip(&bomb));
    assert!(
        answer.status == 200 && answer.text().contains("larger than this server takes"),
        "{:?}",
        answer.text()
    );
    let zeros = [
        format!(
            "0099{} {main} refs/heads/x\0report-status0000",
            "0".repeat(40)
        )
        .as_bytes(),
        &vec![0; 2 << 20],
    ]
    .concat();
    assert!(
        !ask("git-receive-pack", &[], zeros)
            .text()
            .contains("ok refs")
    );
    for cut in [1, 5, 40, request.len() - 1] {
        let answer = ask(
            "git-upload-pack",
            &packed,
            gzip(&request)[..cut.min(30)].to_vec(),
        );
        assert!(!answer.text().contains("PACK"));
        ask("git-upload-pack", &[], request[..cut].to_vec());
    }
    for (path, args, status) in [
        ("/store.git/info/refs", &[][..], 403),
        ("/store.git/info/refs?service=git-other", &[], 403),
        ("/store.git/../../etc/passwd", &[], 404),
        ("/store.git/objects/info/packs", &[], 404),
        ("/store.git/HEAD", &[], 404),
        ("/other.git/info/refs?service=git-upload-pack", &[], 404),
        ("/store.git/git-upload-pack", &[], 405),
        ("/store.git/git-upload-pack", &["-d", "x"], 415),
        (
            "/store.git/git-upload-pack",
            &[
                "-d",
                "x",
                "-H",
                "Content-Type: application/x-git-upload-pack-request",
                "-H",
                "Content-Encoding: br",
            ],
            415,
        ),
    ] {
        assert_eq!(served.curl(path, args).status, status, "{path} {args:?}");
    }
    assert_eq!(served.get("/branches").lines().len(), 1, "and it goes on");
}
