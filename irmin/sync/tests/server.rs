//! The server's engines in one conversation, as over ssh: git's own client comes over `git://`, whose
//! first packet says what it wants. And clients that mean no good.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use irmin::{
    Backend as _, Expect, Format, Id, Info, Kind, Memory, Object, RefEdit, RefName, Repo, Signature,
};
use irmin_sync::pktline::{Packet, Reader, Writer};
use irmin_sync::server::{
    Host, Open, Policy, ServerError, Service, Session, Version, converse, receive_pack, upload_pack,
};

fn with_host<T>(store: &Arc<Memory>, policy: Policy, work: impl FnOnce(&Host<'_>) -> T) -> T {
    let repo = Repo::new(store.clone());
    work(&Host {
        repo: &repo,
        store,
        gate: &Open,
        policy,
    })
}

/// Serves a store as `git daemon` does, for as long as the work takes.
fn daemon(store: &Arc<Memory>, policy: Policy, work: impl FnOnce(&str)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for client in listener.incoming() {
                if done.load(Ordering::SeqCst) {
                    break;
                }
                with_host(store, policy, |host| answer(host, client.unwrap()));
            }
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            work(&format!("git://{address}/x"))
        }));
        done.store(true, Ordering::SeqCst);
        TcpStream::connect(address).unwrap();
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    });
}

fn answer(host: &Host<'_>, mut client: TcpStream) {
    let mut input = client.try_clone().unwrap();
    let first = match Reader::new(&mut input).read().unwrap() {
        Packet::Data(data) => String::from_utf8(data.to_vec()).unwrap(),
        _ => panic!("no request"),
    };
    let (service, rest) = first.split_once(' ').unwrap();
    let service = Service::from_name(service).unwrap();
    let version = Version::from_text(
        rest.split('\0')
            .find(|part| part.starts_with("version="))
            .unwrap_or_default(),
    );
    // That a client goes away is its right.
    let _ = converse(host, service, version, &mut input, &mut client);
}

fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(dir)
        .args(args)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", dir)
        .env("LC_ALL", "C");
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "Ada")
            .env(format!("GIT_{who}_EMAIL"), "ada@example.org");
    }
    command.output().expect("git can be run")
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, args);
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

fn commit(repo: &Repo, branch: &str, path: &str, text: &str) -> Id {
    let info = Info::new(
        Signature::new("Ada", "ada@example.org", 1_429_538_400, 0),
        "m\n",
    );
    let branch = repo.branch(branch).unwrap();
    branch
        .change(&info, |edit| edit.set(path, text.to_string()))
        .unwrap()
        .id()
}

#[test]
fn git_clones_fetches_and_pushes_in_one_conversation_in_every_version() {
    for format in [Format::GitSha1, Format::GitSha256] {
        let store = Arc::new(Memory::new(format));
        let repo = Repo::new(store.clone());
        for n in 0..40 {
            commit(&repo, "main", &format!("d{}/f", n % 5), &n.to_string());
        }
        let folder = tempfile::tempdir().unwrap();
        daemon(&store, Policy::default(), |url| {
            for version in ["0", "1", "2"] {
                let with = format!("protocol.version={version}");
                let dir = folder.path().join(version);
                git(folder.path(), &["-c", &with, "clone", "-q", url, version]);
                git(&dir, &["fsck", "--strict", "--full"]);
                // Many commits of its own, so that what both have is found in several rounds.
                let old = git(&dir, &["rev-parse", "HEAD"]);
                for _ in 0..60 {
                    git(&dir, &["commit", "-q", "--allow-empty", "-m", "mine"]);
                }
                git(
                    &dir,
                    &["push", "-q", url, &format!("HEAD:refs/heads/mine{version}")],
                );
                let new = commit(&repo, "main", "new", version);
                git(&dir, &["-c", &with, "fetch", "-q"]);
                assert_eq!(git(&dir, &["rev-parse", "origin/main"]), new.to_string());
                assert_ne!(old, new.to_string());
                git(&dir, &["-c", &with, "fetch", "-q", "--depth", "2"]);
                git(&dir, &["-c", &with, "fetch", "-q", "--unshallow"]);
                git(&dir, &["fsck", "--strict", "--full"]);
            }
        });
    }
}

#[test]
fn a_checked_out_branch_and_one_that_only_goes_forwards_are_left_alone() {
    let store = Arc::new(Memory::new(Format::GitSha1));
    let repo = Repo::new(store.clone());
    commit(&repo, "main", "f", "1");
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy {
        has_work_tree: true,
        only_forwards: true,
    };
    daemon(&store, policy, |url| {
        let dir = folder.path().join("work");
        git(folder.path(), &["clone", "-q", url, "work"]);
        git(&dir, &["commit", "-q", "--allow-empty", "-m", "mine"]);
        let said = |args: &[&str]| String::from_utf8_lossy(&run(&dir, args).stderr).into_owned();
        assert!(said(&["push", "origin", "HEAD:main"]).contains("branch is currently checked out"));
        git(&dir, &["push", "-q", "origin", "HEAD:topic"]);
        git(
            &dir,
            &["commit", "-q", "--amend", "--allow-empty", "-m", "other"],
        );
        assert!(said(&["push", "--force", "origin", "HEAD:topic"]).contains("non-fast-forward"));
    });
}

/// A store with a commit, and one that no name leads to.
fn two_commits() -> (Arc<Memory>, Id, Id) {
    let store = Arc::new(Memory::new(Format::GitSha1));
    let repo = Repo::new(store.clone());
    let hidden = commit(&repo, "hidden", "secret", "s");
    let main = commit(&repo, "main", "f", "1");
    let name = RefName::branch("hidden").unwrap();
    repo.update(&[RefEdit {
        name,
        expect: Expect::Any,
        new: None,
    }])
    .unwrap();
    (store, main, hidden)
}

/// Everything that the server answers to these bytes, and how it ended.
fn upload(
    store: &Arc<Memory>,
    version: Version,
    input: &[u8],
) -> (Vec<u8>, Result<(), ServerError>) {
    let mut out = Vec::new();
    let result = with_host(store, Policy::default(), |host| {
        upload_pack(host, version, Session::Stateless, &mut &*input, &mut out)
    });
    (out, result)
}

fn lines(lines: &[&str]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for line in lines {
        match *line {
            "0000" => writer.flush_packet().unwrap(),
            "0001" => writer.delimiter().unwrap(),
            line => writer.line(format_args!("{line}")).unwrap(),
        }
    }
    writer.into_inner()
}

#[test]
fn what_no_name_leads_to_is_not_given_away() {
    let (store, main, hidden) = two_commits();
    let tree = Repo::new(store.clone()).commit(&main).unwrap().tree().id();
    for (want, is_given) in [(main, true), (hidden, false), (tree, false)] {
        let want = format!("want {want}");
        for (version, request) in [
            (Version::V0, lines(&[&want, "0000", "done"])),
            (
                Version::V2,
                lines(&["command=fetch", "0001", &want, "done", "0000"]),
            ),
        ] {
            let (out, result) = upload(&store, version, &request);
            let has_pack = out.windows(4).any(|bytes| bytes == b"PACK");
            assert_eq!(
                (has_pack, result.is_ok()),
                (is_given, is_given),
                "{want} {version:?}"
            );
            assert!(is_given || String::from_utf8_lossy(&out).contains("ERR not our ref"));
        }
    }
}

#[test]
fn an_end_of_history_that_is_not_in_what_is_wanted_leads_to_nothing() {
    let (store, main, hidden) = two_commits();
    let [want, end] = [format!("want {main}"), format!("shallow {hidden}")];
    for depth in ["deepen 2147483647", "deepen 3", "deepen-since 1"] {
        let request = ["command=fetch", "0001", &want, &end, depth, "done", "0000"];
        let (out, result) = upload(&store, Version::V2, &lines(&request));
        result.unwrap();
        assert!(
            !String::from_utf8_lossy(&out).contains("unshallow"),
            "{depth}"
        );
    }
}

#[test]
fn what_is_no_request_is_answered_with_an_error_or_nothing() {
    let (store, main, _) = two_commits();
    let want = format!("want {main}");
    for (version, request) in [
        (Version::V0, b"zzzz".to_vec()),
        (Version::V0, b"0005".to_vec()),
        (Version::V0, lines(&["want x", "0000"])),
        (Version::V0, lines(&[&want, "what", "0000"])),
        (Version::V0, lines(&[&want, "deepen -1", "0000"])),
        (Version::V0, lines(&[&want, "deepen-since x", "0000"])),
        (Version::V0, lines(&[&want, "0000", "0001"])),
        (Version::V0, lines(&[&want, "0000", "have me"])),
        (Version::V2, lines(&["command=none", "0000"])),
        (
            Version::V2,
            lines(&["command=fetch", "0001", "0001", "0000"]),
        ),
        (
            Version::V2,
            lines(&[
                "command=fetch",
                "object-format=sha256",
                "0001",
                &want,
                "done",
                "0000",
            ]),
        ),
        (
            Version::V2,
            lines(&[
                "command=fetch",
                "0001",
                &want,
                "filter blob:none",
                "done",
                "0000",
            ]),
        ),
        (
            Version::V2,
            lines(&[
                "command=fetch",
                "0001",
                &want,
                "deepen-since 99999999999",
                "done",
                "0000",
            ]),
        ),
        (Version::V2, lines(&["command=fetch", "0001", &want])),
        (Version::V2, b"0011command=\xff\xfe\xfd\xfc\n0000".to_vec()),
    ] {
        let (out, result) = upload(&store, version, &request);
        assert!(result.is_err(), "{}", String::from_utf8_lossy(&request));
        assert!(!out.windows(4).any(|bytes| bytes == b"PACK"));
    }
    // Cut off anywhere: an end, and no panic.
    let whole = lines(&[
        "command=fetch",
        "0001",
        &want,
        "deepen 1",
        "have 0000000000000000000000000000000000000001",
        "done",
        "0000",
    ]);
    for end in 0..whole.len() {
        let (out, _) = upload(&store, Version::V2, &whole[..end]);
        assert!(!out.windows(4).any(|bytes| bytes == b"PACK"));
    }
}

#[test]
fn haves_without_end_are_refused() {
    /// Says the same again and again.
    struct Endless<'a>(&'a [u8], usize);
    impl Read for Endless<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let from = &self.0[self.1..];
            let taken = from.len().min(into.len());
            into[..taken].copy_from_slice(&from[..taken]);
            self.1 = (self.1 + taken) % self.0.len();
            Ok(taken)
        }
    }
    let (store, main, _) = two_commits();
    let start = lines(&[&format!("want {main} multi_ack_detailed"), "0000"]);
    let have = lines(&["have 0000000000000000000000000000000000000001"]);
    let mut out = Vec::new();
    let mut input = start.as_slice().chain(Endless(&have, 0));
    let result = with_host(&store, Policy::default(), |host| {
        upload_pack(host, Version::V0, Session::Stateful, &mut input, &mut out)
    });
    assert!(matches!(result, Err(ServerError::Request { .. })));
}

/// What is said to a push of these bytes.
fn push(store: &Arc<Memory>, moves: &[&str], pack: &[u8]) -> String {
    let mut request = lines(moves);
    request.extend_from_slice(b"0000");
    request.extend_from_slice(pack);
    let mut out = Vec::new();
    let result = with_host(store, Policy::default(), |host| {
        receive_pack(host, &mut request.as_slice(), &mut out)
    });
    format!("{} {result:?}", String::from_utf8_lossy(&out))
}

/// A pack of these objects, made by git.
fn pack(objects: &[Object]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "-q", "--bare", "."]);
    let mut names = String::new();
    for object in objects {
        let mut child = Command::new("git")
            .arg("-C")
            .arg(folder.path())
            .args([
                "hash-object",
                "-t",
                object.kind.name(),
                "-w",
                "--stdin",
                "--literally",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&object.data).unwrap();
        assert!(child.wait().unwrap().success());
        names += &format!("{}\n", object.id);
    }
    let mut child = Command::new("git")
        .arg("-C")
        .arg(folder.path())
        .args(["pack-objects", "-q", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(names.as_bytes())
        .unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn a_push_that_is_corrupt_incomplete_or_harmful_moves_nothing() {
    let format = Format::GitSha1;
    let object = |kind, data: Vec<u8>| Object::new(format, kind, data).unwrap();
    let commit_of = |tree: Id, parent: Option<Id>| {
        let parent = parent
            .map(|id| format!("parent {id}\n"))
            .unwrap_or_default();
        object(
            Kind::Commit,
            format!(
                "tree {tree}\n{parent}author A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nm\n"
            )
            .into(),
        )
    };
    let entry = |name: &str, id: Id| [b"100644 ", name.as_bytes(), b"\0", id.as_bytes()].concat();
    let blob = object(Kind::Blob, b"x".to_vec());
    let tree = object(Kind::Tree, entry("f", blob.id));
    let whole = commit_of(tree.id, None);
    let (absent, zero) = (Id::from_bytes(&[7; 20]).unwrap(), "0".repeat(40));
    let good = pack(&[blob.clone(), tree.clone(), whole.clone()]);
    let harmful = object(Kind::Tree, entry(".git", blob.id));
    let harmful_commit = commit_of(harmful.id, None);
    let twice = object(
        Kind::Tree,
        [entry("f", blob.id), entry("f", blob.id)].concat(),
    );
    let twice_commit = commit_of(twice.id, None);
    let orphan = commit_of(tree.id, Some(absent));
    for (new, pack, expected) in [
        (
            whole.id,
            pack(&[tree.clone(), whole.clone()]),
            "missing necessary objects",
        ),
        (
            orphan.id,
            pack(&[blob.clone(), tree.clone(), orphan.clone()]),
            "missing necessary objects",
        ),
        (absent, good.clone(), "not sent"),
        (
            harmful_commit.id,
            pack(&[blob.clone(), harmful, harmful_commit]),
            ".git",
        ),
        (
            twice_commit.id,
            pack(&[blob.clone(), twice, twice_commit]),
            "in order",
        ),
        (blob.id, good.clone(), "a branch points to a commit"),
        (whole.id, Vec::new(), "unpack the pack"),
        (whole.id, good[..good.len() - 1].to_vec(), "unpack the pack"),
        (whole.id, good[..good.len() / 2].to_vec(), "unpack the pack"),
        (
            whole.id,
            [&good[..20], &[0; 40]].concat(),
            "unpack the pack",
        ),
    ] {
        let store = Arc::new(Memory::new(format));
        let said = push(
            &store,
            &[&format!("{zero} {new} refs/heads/x\0report-status")],
            &pack,
        );
        assert!(
            said.contains(expected) && said.contains("ng refs/heads/x"),
            "{expected}: {said}"
        );
        assert_eq!(store.heads("").unwrap(), []);
    }
    // Of several names only those move behind which all is well.
    let store = Arc::new(Memory::new(format));
    let said = push(
        &store,
        &[
            &format!("{zero} {} refs/heads/x\0report-status", orphan.id),
            &format!("{zero} {} refs/heads/y", whole.id),
        ],
        &pack(&[blob.clone(), tree.clone(), whole.clone(), orphan.clone()]),
    );
    assert!(
        said.contains("ng refs/heads/x missing necessary objects")
            && said.contains("ok refs/heads/y"),
        "{said}"
    );
    assert_eq!(store.heads("").unwrap().len(), 1);
    // Names that are none, or that are elsewhere than the client believes.
    let store = Arc::new(Memory::new(format));
    for name in [
        "HEAD",
        "refs/heads/../../x",
        "refs/heads/x.lock",
        "objects/x",
        "refs/heads/a b",
    ] {
        let said = push(
            &store,
            &[&format!("{zero} {} {name}\0report-status", whole.id)],
            &good,
        );
        assert!(said.contains("funny refname"), "{name}: {said}");
    }
    // One that fills a line by itself is told too.
    let long = "x".repeat(65_516 - "\n".len() - 82 - "\0report-status".len());
    let said = push(
        &store,
        &[&format!("{zero} {} {long}\0report-status", whole.id)],
        &good,
    );
    assert!(
        said.contains("unpack ok") && said.contains(&format!("ng {long} funny refname")),
        "{}",
        &said[said.len().saturating_sub(300)..]
    );
    let said = push(
        &store,
        &[&format!(
            "{absent} {} refs/heads/x\0report-status",
            whole.id
        )],
        &good,
    );
    assert!(said.contains("it is gone"), "{said}");
    assert_eq!(store.heads("").unwrap(), []);
    let said = push(
        &store,
        &[&format!("{zero} {} refs/heads/x\0report-status", whole.id)],
        &good,
    );
    assert!(
        said.contains("unpack ok") && said.contains("ok refs/heads/x"),
        "{said}"
    );
    let said = push(&store, &["what is this"], &good);
    assert!(said.contains("ERR"), "{said}");
}
