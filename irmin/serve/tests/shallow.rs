//! Shallow clones, compared with what git's own server gives.

mod common;

use std::process::Command;

use common::git::{Place, VERSIONS, memory, url};
use irmin::Format;
use serde_json::json;

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
