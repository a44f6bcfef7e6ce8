//! Our client against the real git: its servers as programs, over ssh, HTTP and TCP, and our own server
//! between two stores of this process.

mod common;

use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use common::cgi::Cgi;
use common::{FORMATS, change, fsck, git, head, more, name, names, origin};
use irmin::{Backend, Format};
use irmin_git::Git;
use irmin_sync::transport::{Local, Program, Settings};
use irmin_sync::{
    CloneOptions, Depth, FetchOptions, PushOptions, PushStatus, RefStatus, Refspec, Remote,
    SyncError, Tags,
};

const WAYS: [&str; 5] = ["program", "ssh", "http", "git", "local"];

/// The ways to one repository.
struct Ways {
    folder: tempfile::TempDir,
    cgi: Cgi,
    daemon: std::net::SocketAddr,
}

impl Ways {
    fn new(word: &str) -> Ways {
        let folder = tempfile::tempdir().unwrap();
        origin(&folder.path().join("o.git"), word);
        // An ssh that goes nowhere: it drops options and the host, and runs the command here.
        let script = "#!/bin/sh\nwhile [ $# -gt 1 ]; do shift; done\nexec sh -c \"$1\"\n";
        let ssh = folder.path().join("ssh");
        std::fs::write(&ssh, script).unwrap();
        std::fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).unwrap();
        let cgi = Cgi::serve(folder.path(), None);
        let daemon = common::cgi::daemon(folder.path());
        Ways {
            folder,
            cgi,
            daemon,
        }
    }

    fn origin(&self) -> std::path::PathBuf {
        self.folder.path().join("o.git")
    }

    fn remote(&self, way: &str, version: u8) -> Remote {
        let path = self.origin();
        let mut settings = Settings::default();
        let mut remote = match way {
            "program" => Remote::over(Program::git(path, &settings)),
            "ssh" => {
                settings.ssh_command = Some(self.folder.path().join("ssh").display().to_string());
                Remote::at(&format!("ssh://ada@host:22{}", path.display()), &settings).unwrap()
            }
            "http" => Remote::at(&self.cgi.url("o.git"), &settings).unwrap(),
            "git" => Remote::at(&format!("git://{}/o.git", self.daemon), &settings).unwrap(),
            "local" => Remote::at(path.to_str().unwrap(), &settings).unwrap(),
            _ => panic!("no way"),
        };
        remote.set_version(version);
        remote
    }

    fn clone(&self, way: &str, version: u8, at: &str, options: CloneOptions<'_>) -> Arc<Git> {
        let at = self.folder.path().join(at);
        let init = |format| Git::init(&at, format, true);
        let cloned = self.remote(way, version).clone_to(init, options);
        Arc::new(
            cloned
                .unwrap_or_else(|error| panic!("{way} {version}: {error}"))
                .store,
        )
    }
}

/// All three for SHA-1; the other format is the same in each but for the length of an id.
fn versions(format: Format) -> std::ops::Range<u8> {
    if format == Format::GitSha1 {
        0..3
    } else {
        2..3
    }
}

fn tracking() -> Vec<Refspec> {
    vec![Refspec::tracking("origin").unwrap()]
}

/// Theirs are ours, under `refs/remotes/origin`, with the tags.
fn same_names(origin: &Path, ours: &Path) {
    let theirs = names(origin, "refs/heads").replace("refs/heads/", "refs/remotes/origin/");
    assert_eq!(names(ours, "refs/remotes"), theirs);
    assert_eq!(names(ours, "refs/tags"), names(origin, "refs/tags"));
}

#[test]
fn clones_fetches_and_pushes_are_those_of_git_by_every_way_and_version() {
    for (format, word) in FORMATS {
        let ways = Ways::new(word);
        let origin = ways.origin();
        let mut n = 100;
        for way in WAYS {
            for version in versions(format) {
                let context = format!("{way} {version} {word}");
                let at = format!("{way}{version}");
                let store = ways.clone(way, version, &at, CloneOptions::default());
                let path = ways.folder.path().join(&at);
                assert_eq!(store.format(), format);
                fsck(&path);
                same_names(&origin, &path);
                assert_eq!(git(&path, &["symbolic-ref", "HEAD"]), "refs/heads/trunk");
                assert_eq!(
                    git(&path, &["rev-parse", "HEAD"]),
                    git(&origin, &["rev-parse", "HEAD"])
                );

                // Only what is new comes.
                let before = git(&origin, &["rev-parse", "trunk"]);
                n += 1;
                more(&origin, n);
                let range = format!("{before}..trunk");
                let new = git(&origin, &["rev-list", "--objects", &range])
                    .lines()
                    .count();
                let mut remote = ways.remote(way, version);
                let fetched = remote
                    .fetch(&*store, FetchOptions::new(tracking()))
                    .unwrap();
                assert_eq!(fetched.taken.unwrap().objects as usize, new, "{context}");
                assert_eq!(
                    fetched
                        .moves
                        .iter()
                        .filter(|one| one.status == RefStatus::Forwards)
                        .count(),
                    1
                );
                let again = remote
                    .fetch(&*store, FetchOptions::new(tracking()))
                    .unwrap();
                assert!(
                    again.taken.is_none()
                        && again
                            .moves
                            .iter()
                            .all(|one| one.status == RefStatus::UpToDate)
                );
                fsck(&path);
                same_names(&origin, &path);

                // And only what is new goes.
                let mine = format!("mine/{way}{version}");
                git(&path, &["branch", &mine, "refs/remotes/origin/trunk"]);
                let id = change(&store, &mine, n as i64);
                let options = PushOptions {
                    refspecs: vec![mine.parse().unwrap()],
                    tracking: tracking(),
                    ..PushOptions::default()
                };
                let pushed = remote.push(&*store, options).unwrap();
                assert!(pushed.is_complete(), "{context}: {pushed:?}");
                assert_eq!(pushed.given.unwrap().objects, 4, "{context}");
                assert_eq!(git(&origin, &["rev-parse", &mine]), id.to_string());
                assert_eq!(
                    head(&*store, &format!("refs/remotes/origin/{mine}")),
                    Some(id)
                );
                fsck(&origin);
            }
        }
    }
}

#[test]
fn pushes_that_would_lose_commits_are_values_and_leases_compare() {
    for way in WAYS {
        let ways = Ways::new("sha1");
        let origin = ways.origin();
        let store = ways.clone(way, 2, "c", CloneOptions::default());
        let mut remote = ways.remote(way, 2);
        let mut push = |specs: &[&str], leases: &[(&str, Option<irmin::Id>)], atomic| {
            let options = PushOptions {
                refspecs: specs.iter().map(|spec| spec.parse().unwrap()).collect(),
                leases: leases.iter().map(|(at, id)| (name(at), *id)).collect(),
                atomic,
                ..PushOptions::default()
            };
            let pushed = remote.push(&*store, options).unwrap();
            pushed
                .names
                .into_iter()
                .map(|one| one.status)
                .collect::<Vec<_>>()
        };
        let old = head(&*store, "refs/remotes/origin/trunk");
        change(&store, "trunk", 1);
        more(&origin, 50);
        let theirs = git(&origin, &["rev-parse", "trunk"]);
        assert_eq!(push(&["trunk"], &[], false), [PushStatus::NotForwards]);
        change(&store, "other", 2);
        let both = push(&["trunk", "other"], &[], true);
        assert_eq!(both, [PushStatus::NotForwards, PushStatus::NotTried]);
        assert_eq!(push(&["trunk", "other"], &[], false)[1], PushStatus::Done);
        let lease = [("refs/heads/trunk", old)];
        assert_eq!(push(&["trunk"], &lease, false), [PushStatus::Stale]);
        assert_eq!(git(&origin, &["rev-parse", "trunk"]), theirs);
        let lease = [("refs/heads/trunk", Some(theirs.parse().unwrap()))];
        assert_eq!(push(&["trunk"], &lease, false), [PushStatus::Done]);
        assert_eq!(push(&["trunk"], &[], false), [PushStatus::UpToDate]);
        assert_eq!(
            push(
                &[
                    "refs/remotes/origin/side/one:refs/heads/trunk2",
                    "refs/remotes/origin/side/one:refs/heads/s"
                ],
                &[],
                true
            )
            .len(),
            2
        );
        assert_eq!(
            push(&[":other", ":refs/heads/none"], &[], false),
            [PushStatus::Done, PushStatus::UpToDate]
        );
        assert!(!names(&origin, "refs/heads").contains("other"));
        // A tag stays unless it is forced.
        git(
            &ways.folder.path().join("c"),
            &["tag", "-f", "light", "trunk"],
        );
        assert_eq!(push(&["light"], &[], false), [PushStatus::TagStays]);
        assert_eq!(push(&["+light"], &[], false), [PushStatus::Done]);
        fsck(&origin);
    }
}

#[test]
fn a_hook_that_declines_is_told_with_its_words() {
    for way in WAYS {
        let ways = Ways::new("sha1");
        let hook = ways.origin().join("hooks/update");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(
            &hook,
            "#!/bin/sh\necho no entry >&2\ntest $1 != refs/heads/bad\n",
        )
        .unwrap();
        std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).unwrap();
        let store = ways.clone(way, 2, "c", CloneOptions::default());
        change(&store, "bad", 1);
        change(&store, "good", 2);
        let mut said = Vec::new();
        let mut progress = |progress: irmin_sync::Progress<'_>| {
            if let irmin_sync::Progress::Remote(line) = progress {
                said.push(line.to_string());
            }
        };
        let options = PushOptions {
            refspecs: vec!["bad".parse().unwrap(), "good".parse().unwrap()],
            progress: Some(&mut progress),
            ..PushOptions::default()
        };
        let pushed = ways.remote(way, 2).push(&*store, options).unwrap();
        let statuses: Vec<_> = pushed.names.into_iter().map(|one| one.status).collect();
        assert_eq!(
            statuses,
            [
                PushStatus::Rejected("hook declined".into()),
                PushStatus::Done
            ]
        );
        assert!(said.iter().any(|line| line == "no entry"), "{said:?}");
    }
}

#[test]
fn what_a_repository_says_of_pushes_holds_by_every_way() {
    for way in WAYS {
        let ways = Ways::new("sha1");
        let origin = ways.origin();
        let store = ways.clone(way, 2, "c", CloneOptions::default());
        let push = |spec: &str| {
            let options = PushOptions {
                refspecs: vec![spec.parse().unwrap()],
                ..PushOptions::default()
            };
            let pushed = ways.remote(way, 2).push(&*store, options).unwrap();
            pushed.names[0].status.clone()
        };
        let told = |status, why: &str| match status {
            PushStatus::Rejected(said) => assert!(said.contains(why), "{way}: {said}"),
            other => panic!("{way}: {other:?}"),
        };
        git(&origin, &["config", "receive.denyDeletes", "true"]);
        git(&origin, &["config", "receive.denyNonFastForwards", "true"]);
        told(push(":refs/heads/side/one"), "deletion prohibited");
        let back = "+refs/remotes/origin/side/one:refs/heads/trunk";
        told(push(back), "non-fast-forward");
        git(&origin, &["config", "core.bare", "false"]);
        change(&store, "trunk", 1);
        told(push("trunk"), "currently checked out");
        git(&origin, &["config", "receive.denyCurrentBranch", "ignore"]);
        assert_eq!(push("trunk"), PushStatus::Done, "{way}");
        // Hooks that lie elsewhere.
        let hooks = ways.folder.path().join("elsewhere");
        std::fs::create_dir(&hooks).unwrap();
        std::fs::write(hooks.join("pre-receive"), "#!/bin/sh\nexit 1\n").unwrap();
        let run = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(hooks.join("pre-receive"), run).unwrap();
        git(
            &origin,
            &["config", "core.hooksPath", hooks.to_str().unwrap()],
        );
        told(push("trunk:other"), "hook declined");
        fsck(&origin);
    }
}

#[test]
fn histories_are_cut_off_deepened_and_made_whole() {
    let some = |n| NonZeroU32::new(n).unwrap();
    for (format, word) in FORMATS {
        let ways = Ways::new(word);
        let origin = ways.origin();
        for way in WAYS {
            for version in versions(format) {
                let at = format!("{way}{version}");
                let path = ways.folder.path().join(&at);
                let options = CloneOptions {
                    depth: Depth::At(some(2)),
                    single_branch: true,
                    ..CloneOptions::default()
                };
                let store = ways.clone(way, version, &at, options);
                let count = || git(&path, &["rev-list", "--count", "refs/remotes/origin/trunk"]);
                let twin = ways.folder.path().join("twin");
                let _ = std::fs::remove_dir_all(&twin);
                let url = format!("file://{}", origin.display());
                git(
                    ways.folder.path(),
                    &["clone", "-q", "--bare", "--depth=2", &url, "twin"],
                );
                let shallow = |at: &Path| {
                    let text = std::fs::read_to_string(at.join("shallow")).unwrap_or_default();
                    let mut lines: Vec<String> = text.lines().map(Into::into).collect();
                    lines.sort();
                    lines
                };
                assert_eq!(shallow(&path), shallow(&twin), "{at}");
                assert_eq!(count(), git(&twin, &["rev-list", "--count", "trunk"]));
                fsck(&path);
                let fetch = |depth| {
                    let spec = "+refs/heads/trunk:refs/remotes/origin/trunk";
                    let options = FetchOptions {
                        depth,
                        ..FetchOptions::new(vec![spec.parse().unwrap()])
                    };
                    ways.remote(way, version).fetch(&*store, options).unwrap();
                    fsck(&path);
                };
                fetch(Depth::More(some(2)));
                git(&twin, &["fetch", "-q", "--deepen=2", "origin", "trunk"]);
                assert_eq!(shallow(&path), shallow(&twin), "{at}: deepened");
                fetch(Depth::AsIs);
                // What was made here goes out of a history that is cut off, too.
                git(&path, &["branch", "-f", &at, "refs/remotes/origin/trunk"]);
                change(&store, &at, 7);
                let options = PushOptions {
                    refspecs: vec![format!("+{at}").parse().unwrap()],
                    ..PushOptions::default()
                };
                let pushed = ways.remote(way, version).push(&*store, options).unwrap();
                assert!(pushed.is_complete(), "{at}: {pushed:?}");
                fetch(Depth::Whole);
                assert_eq!(
                    count(),
                    git(&origin, &["rev-list", "--count", "trunk"]),
                    "{at}"
                );
                assert!(shallow(&path).is_empty());
            }
        }
        fsck(&origin);
    }
}

#[test]
fn an_end_of_history_that_only_a_tag_leads_to_is_deepened_too() {
    let some = |n| NonZeroU32::new(n).unwrap();
    let ways = Ways::new("sha1");
    let (origin, work) = (ways.origin(), ways.origin().with_extension("work"));
    git(&work, &["checkout", "-q", "--detach", "trunk~3"]);
    (30..34).for_each(|n| common::commit(&work, n));
    git(&work, &["tag", "aside"]);
    git(&work, &["push", "-q", "origin", "aside"]);
    for way in WAYS {
        for version in versions(Format::GitSha1) {
            let at = format!("{way}{version}");
            let path = ways.folder.path().join(&at);
            let options = CloneOptions {
                tags: Tags::No,
                ..CloneOptions::default()
            };
            let store = ways.clone(way, version, &at, options);
            let fetch = |depth, spec: &str| {
                let options = FetchOptions {
                    depth,
                    tags: Tags::No,
                    ..FetchOptions::new(vec![spec.parse().unwrap()])
                };
                ways.remote(way, version).fetch(&*store, options).unwrap();
                fsck(&path);
                git(&path, &["rev-list", "--count", "aside"])
            };
            let trunk = "refs/heads/trunk:refs/remotes/origin/trunk";
            let aside = "refs/tags/aside:refs/tags/aside";
            assert_eq!(fetch(Depth::At(some(1)), aside), "1", "{at}");
            assert_eq!(fetch(Depth::More(some(2)), trunk), "3", "{at}");
            let all = git(&origin, &["rev-list", "--count", "aside"]);
            assert_eq!(fetch(Depth::Whole, trunk), all, "{at}");
            assert!(store.shallow().unwrap().is_empty(), "{at}");
        }
    }
}

#[test]
fn tags_come_along_as_asked_and_names_go_when_their_sources_do() {
    let ways = Ways::new("sha1");
    let origin = ways.origin();
    for way in WAYS {
        let store = ways.clone(
            way,
            2,
            &format!("all-{way}"),
            CloneOptions {
                tags: Tags::No,
                ..CloneOptions::default()
            },
        );
        assert!(store.heads("refs/tags/").unwrap().is_empty());
        let fetch = |tags, prune, specs: Vec<Refspec>| {
            let options = FetchOptions {
                tags,
                prune,
                ..FetchOptions::new(specs)
            };
            ways.remote(way, 2).fetch(&*store, options)
        };
        // Tags that lead to what is here come though nothing else does.
        fetch(Tags::Follow, false, tracking()).unwrap();
        assert_eq!(store.heads("refs/tags/").unwrap().len(), 2, "{way}");
        git(&origin, &["branch", "gone", "trunk"]);
        git(&origin, &["tag", "elsewhere", "trunk^{tree}"]);
        fetch(Tags::All, false, tracking()).unwrap();
        assert!(head(&*store, "refs/remotes/origin/gone").is_some());
        assert!(head(&*store, "refs/tags/elsewhere").is_some());
        git(&origin, &["branch", "-D", "gone"]);
        git(&origin, &["tag", "-d", "elsewhere"]);
        let pruned = fetch(Tags::Follow, true, tracking()).unwrap();
        assert_eq!(
            pruned
                .moves
                .iter()
                .filter(|one| one.status == RefStatus::Pruned)
                .count(),
            1
        );
        assert!(head(&*store, "refs/remotes/origin/gone").is_none());
        // One name, an id, and none.
        let specs = vec![
            "side/one:refs/x/one".parse().unwrap(),
            git(&origin, &["rev-parse", "trunk~3"]).parse().unwrap(),
        ];
        assert_eq!(fetch(Tags::Follow, false, specs).unwrap().heads.len(), 2);
        assert!(head(&*store, "refs/x/one").is_some());
        let error = fetch(Tags::Follow, false, vec!["nowhere".parse().unwrap()]).unwrap_err();
        assert!(matches!(error, SyncError::NoSuchName { .. }), "{error}");
        // Without a plus, what would lose commits stays.
        let moved = vec!["side/one:refs/remotes/origin/trunk".parse().unwrap()];
        let fetched = fetch(Tags::Follow, false, moved).unwrap();
        assert_eq!(fetched.moves[0].status, RefStatus::NotForwards);
    }
}

#[test]
fn an_empty_repository_is_cloned_and_pushed_to() {
    for (format, word) in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("e.git");
        common::init(&empty, word, true);
        let cgi = Cgi::serve(folder.path(), None);
        let at = |way: &str| match way {
            "http" => Remote::at(&cgi.url("e.git"), &Settings::default()).unwrap(),
            "program" => Remote::over(Program::git(&empty, &Settings::default())),
            _ => Remote::at(empty.to_str().unwrap(), &Settings::default()).unwrap(),
        };
        for way in ["http", "program", "local"] {
            let path = folder.path().join(way);
            let cloned = at(way)
                .clone_to(
                    |format| Git::init(&path, format, true),
                    CloneOptions::default(),
                )
                .unwrap();
            assert_eq!(cloned.store.format(), format);
            assert_eq!(
                cloned.branch,
                Some(name("refs/heads/trunk")),
                "{way}: unborn"
            );
            let store = Arc::new(cloned.store);
            let id = change(&store, way, 3);
            let options = PushOptions {
                refspecs: vec![way.parse().unwrap()],
                ..PushOptions::default()
            };
            assert!(at(way).push(&*store, options).unwrap().is_complete());
            assert_eq!(git(&empty, &["rev-parse", way]), id.to_string());
            git(&empty, &["update-ref", "-d", &format!("refs/heads/{way}")]);
        }
    }
}

#[test]
fn http_servers_redirect_ask_who_we_are_and_are_told_from_web_pages() {
    let folder = tempfile::tempdir().unwrap();
    origin(&folder.path().join("o.git"), "sha1");
    let open = Cgi::serve(folder.path(), None);
    let settings = Settings::default();
    let ls =
        |url: &str, settings: &Settings| Remote::at(url, settings).unwrap().ls(&["refs/heads/"]);
    let mut moved = Remote::at(&open.url("moved/o.git"), &settings).unwrap();
    assert_eq!(moved.ls(&["refs/heads/"]).unwrap().names.len(), 2);
    assert_eq!(
        moved.url(),
        open.url("o.git"),
        "the next request goes there at once"
    );
    let said = |url: &str| ls(url, &settings).unwrap_err().to_string();
    assert!(said(&open.url("page/x")).contains("text/html"));
    assert!(said(&open.url("none.git")).contains("404"));

    // `ada:secret`
    let closed = Cgi::serve(folder.path(), Some("YWRhOnNlY3JldA=="));
    let error = ls(&closed.url("o.git"), &settings).unwrap_err();
    assert!(matches!(
        error,
        SyncError::Unauthorized { given: false, .. }
    ));
    let in_url = closed.url("o.git").replace("http://", "http://ada:secret@");
    assert_eq!(ls(&in_url, &settings).unwrap().names.len(), 2);
    let wrong = closed.url("o.git").replace("http://", "http://ada:wrong@");
    let error = ls(&wrong, &settings).unwrap_err();
    assert!(
        matches!(error, SyncError::Unauthorized { given: true, .. })
            && !error.to_string().contains("wrong@")
    );
    let asking = Settings {
        ask: Some(Arc::new(|url: &str, user: Option<&str>| {
            assert!(url.ends_with("/o.git") && user == Some("ada"));
            Some(irmin_sync::transport::Credentials::Basic {
                user: "ada".into(),
                password: "secret".into(),
            })
        })),
        ..Settings::default()
    };
    let as_ada = closed.url("o.git").replace("http://", "http://ada@");
    let at = folder.path().join("c");
    Remote::at(&as_ada, &asking)
        .unwrap()
        .clone_to(
            |format| Git::init(&at, format, true),
            CloneOptions::default(),
        )
        .unwrap();
    fsck(&at);
}

#[test]
fn large_pushes_over_http_go_in_pieces_and_long_questions_compressed() {
    let ways = Ways::new("sha1");
    let store = ways.clone("http", 2, "c", CloneOptions::default());
    let repo = irmin::Repo::new(store.clone());
    let mut noise = 1u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1);
        (noise >> 56) as u8
    })
    .take(3 << 20)
    .collect();
    repo.branch("big")
        .unwrap()
        .change(&common::info(1), |edit| edit.set("noise", bytes.clone()))
        .unwrap();
    for n in 0..100 {
        change(&store, "long", n);
    }
    ways.cgi.log();
    let options = PushOptions {
        refspecs: vec!["big".parse().unwrap()],
        ..PushOptions::default()
    };
    assert!(
        ways.remote("http", 2)
            .push(&*store, options)
            .unwrap()
            .is_complete()
    );
    fsck(&ways.origin());
    assert!(
        ways.cgi
            .log()
            .iter()
            .any(|line| line.starts_with("POST") && line.ends_with("chunked"))
    );
    more(&ways.origin(), 77);
    ways.remote("http", 2)
        .fetch(&*store, FetchOptions::new(tracking()))
        .unwrap();
    assert!(
        ways.cgi
            .log()
            .iter()
            .any(|line| line.starts_with("POST") && line.ends_with("gzip"))
    );
}

#[test]
fn our_own_stores_copy_from_each_other_in_every_format() {
    use irmin::{Memory, Repo};
    for format in [Format::GitSha1, Format::GitSha256, Format::Native] {
        let theirs = Arc::new(Memory::new(format));
        let repo = Repo::new(theirs.clone());
        let main = repo.branch("main").unwrap();
        let set = |n: i64| {
            main.change(&common::info(n), |edit| {
                edit.set(format!("a/{}", n % 90), "x".repeat(900 + n as usize))
            })
            .unwrap()
        };
        (0..120).for_each(|n| drop(set(n)));
        let policy = irmin_sync::server::Policy::default();
        let mut remote = Remote::over(Local::new("theirs", theirs.clone(), policy));
        let cloned = remote
            .clone_to(
                |format| Ok(Arc::new(Memory::new(format))),
                CloneOptions::default(),
            )
            .unwrap();
        let ours = cloned.store;
        assert_eq!(cloned.branch, Some(name("refs/heads/main")));
        assert_eq!(
            (ours.len(), head(&*ours, "refs/heads/main")),
            (theirs.len(), head(&*theirs, "refs/heads/main"))
        );
        set(500);
        let fetched = remote.fetch(&*ours, FetchOptions::new(tracking())).unwrap();
        // In the native format a directory may be several pages.
        let came = fetched.taken.unwrap().objects;
        assert!(
            (4..=6).contains(&came),
            "{format:?}: {came} are more than one path"
        );
        // And back.
        let mine = Repo::new(ours.clone());
        mine.branch("mine")
            .unwrap()
            .change(&common::info(1), |edit| edit.set("mine", "y".repeat(999)))
            .unwrap();
        let options = PushOptions {
            refspecs: vec!["mine".parse().unwrap()],
            ..PushOptions::default()
        };
        assert!(remote.push(&*ours, options).unwrap().is_complete());
        assert_eq!(
            head(&*theirs, "refs/heads/mine"),
            head(&*ours, "refs/heads/mine")
        );
        // Another format is refused on both ways.
        let other = Memory::new(if format == Format::GitSha1 {
            Format::Native
        } else {
            Format::GitSha1
        });
        let error = remote
            .fetch(&other, FetchOptions::new(tracking()))
            .unwrap_err();
        assert!(matches!(error, SyncError::Format { .. }), "{error}");
        let error = remote
            .push(
                &other,
                PushOptions {
                    refspecs: vec!["+refs/heads/*".parse().unwrap()],
                    ..PushOptions::default()
                },
            )
            .unwrap_err();
        assert!(matches!(error, SyncError::Format { .. }), "{error}");
    }
}

#[test]
fn fetches_and_pushes_go_on_while_git_writes_at_the_other_end() {
    for way in ["http", "local"] {
        let ways = Ways::new("sha1");
        let origin = ways.origin();
        let store = ways.clone(way, 2, "c", CloneOptions::default());
        let mut mine = Vec::new();
        std::thread::scope(|threads| {
            let git = threads.spawn(|| (200..206).for_each(|n| more(&origin, n)));
            while !git.is_finished() || mine.is_empty() {
                let mut remote = ways.remote(way, 2);
                remote
                    .fetch(&*store, FetchOptions::new(tracking()))
                    .unwrap();
                mine.push(change(&store, "mine", mine.len() as i64));
                let options = PushOptions {
                    refspecs: vec!["mine".parse().unwrap()],
                    ..PushOptions::default()
                };
                assert!(remote.push(&*store, options).unwrap().is_complete());
            }
        });
        ways.remote(way, 2)
            .fetch(&*store, FetchOptions::new(tracking()))
            .unwrap();
        let path = ways.folder.path().join("c");
        [&origin, &path].into_iter().for_each(|at| fsck(at));
        same_names(&origin, &path);
        let count = git(&origin, &["rev-list", "--count", "mine"]);
        assert_eq!(count, mine.len().to_string(), "{way}: none is lost");
    }
}
