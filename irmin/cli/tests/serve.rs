//! The command as a server: over HTTP, and on standard input and output.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use common::served::Served;
use common::{Place, Random, feed};
use serde_json::Value;

#[test]
fn git_clones_and_pushes_over_http_and_a_signal_ends_the_server_well() {
    for (format, signal) in [("sha1", "TERM"), ("sha256", "INT")] {
        let place = Place::new(format, &["--bare"]);
        place.irmin(&["set", "a", "x"]);
        let mut served = Served::new(&place, &["--name", "notes"]);
        assert!(served.git().ends_with("/notes.git"));
        let clone = Place(tempfile::tempdir().unwrap());
        clone.git(&["clone", "-q", &served.git(), "."]);
        let pushed = clone.irmin(&["set", "b", "y"]);
        clone.git(&["push", "-q", "origin", "main"]);
        let api = served.at["api"].as_str().unwrap();
        let answer = Command::new("curl")
            .args(["-sf", &format!("{api}/branches/main")])
            .output();
        let answer: Value = serde_json::from_slice(&answer.unwrap().stdout).unwrap();
        assert_eq!(answer["commit"], pushed);
        assert_eq!(served.signal(signal), Some(0));
        assert_eq!(place.irmin(&["get", "b"]), "y");
        place.fsck();
    }
}

#[test]
fn nobody_changes_a_store_that_is_served_for_reading_only() {
    let place = Place::new("native", &["--bare"]);
    let first = place.irmin(&["set", "a", "x"]);
    let served = Served::new(&place, &["--read-only"]);
    let api = served.at["api"].as_str().unwrap();
    let curl = |method: &str| {
        let url = match method {
            "GET" => format!("{api}/branches/main"),
            _ => format!("{api}/branches/main?expect={first}"),
        };
        let args = [
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-X",
            method,
            &url,
        ];
        let output = Command::new("curl").args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(curl("GET"), "200");
    assert_eq!(curl("DELETE"), "403");
}

#[test]
fn tokens_say_who_may_do_what() {
    let place = Place::new("sha1", &["--bare"]);
    place.irmin(&["set", "a", "x"]);
    let token = place.irmin(&["token", "tokens", "--read", "main", "--write", "ada/*"]);
    let file = place.path().join("tokens");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(place.try_irmin(&["token", "tokens", "--write", "a*b"]).0, 2);
    let served = Served::new(&place, &["--tokens", "tokens"]);
    let clone = Place(tempfile::tempdir().unwrap());
    let url = served
        .git()
        .replace("http://", &format!("http://x:{token}@"));
    clone.git(&["clone", "-q", &url, "."]);
    clone.git(&["push", "-q", "origin", "main:ada/topic"]);
    clone.irmin(&["set", "b", "y"]);
    assert_ne!(clone.try_git(&["push", "-q", "origin", "main"]).0, 0);
    drop(served);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let (code, _, error) =
        place.try_irmin(&["serve", "--listen", "127.0.0.1:0", "--tokens", "tokens"]);
    assert!(code == 3 && error.contains("chmod 600"), "{error}");
}

#[test]
fn other_machines_are_not_let_in_by_accident() {
    let place = Place::new("sha1", &[]);
    let (code, _, error) = place.try_irmin(&["serve", "--listen", "0.0.0.0:0"]);
    assert!(code == 2 && error.contains("--tokens"), "{error}");
}

#[test]
fn git_clones_and_pushes_through_the_command_as_through_ssh() {
    let irmin = env!("CARGO_BIN_EXE_irmin");
    let (upload, receive) = (
        format!("{irmin} upload-pack"),
        format!("{irmin} receive-pack"),
    );
    for format in common::FORMATS {
        let place = Place::new(format, &["--bare"]);
        Random(8).history(&place, 40);
        let there = place.path().to_str().unwrap();
        for version in ["0", "1", "2"] {
            let clone = Place(tempfile::tempdir().unwrap());
            let version = format!("protocol.version={version}");
            clone.git(&[
                "-c",
                &version,
                "clone",
                "-q",
                "--no-local",
                "-u",
                &upload,
                there,
                ".",
            ]);
            let shown = |place: &Place| place.git(&["for-each-ref", "refs/tags"]);
            assert_eq!(shown(&clone), shown(&place));
            let pushed = clone.irmin(&["set", "new", &version]);
            clone.git(&[
                "-c",
                &version,
                "push",
                "-q",
                "--receive-pack",
                &receive,
                "origin",
                "main",
            ]);
            assert_eq!(place.git(&["rev-parse", "main"]), pushed);
        }
        place.fsck();
    }
    let place = Place::new("sha1", &[]);
    place.irmin(&["set", "a", "x"]);
    let clone = Place(tempfile::tempdir().unwrap());
    let there = place.path().to_str().unwrap();
    clone.git(&["clone", "-q", "-u", &upload, there, "."]);
    clone.irmin(&["set", "a", "y"]);
    // The files of the work tree over there would not follow.
    let (code, _, _) = clone.try_git(&["push", "-q", "--receive-pack", &receive, "origin", "main"]);
    assert_ne!(code, 0);
    let mut nobody = clone.irmin_command(&["upload-pack", "nowhere"]);
    nobody.stdin(Stdio::null());
    assert_eq!(feed(nobody, b"").0, 3);
}

#[test]
fn history_is_drawn_with_all_commits_and_names_as_xml() {
    let place = Place::of_git("sha1");
    Random(3).history(&place, 60);
    let commit = place.git(&[
        "commit-tree",
        "main^{tree}",
        "-p",
        "main",
        "-m",
        "<&>\" ]]> \u{1b}",
    ]);
    place.git(&["update-ref", "refs/heads/a<b&c", &commit]);
    let svg = place.irmin(&["svg"]);
    assert_eq!(svg.matches("<circle ").count(), 61);
    assert!(svg.contains("a&lt;b&amp;c</text>") && svg.contains(">&lt;&amp;&gt;&quot; ]]&gt;"));
    assert_eq!(
        place.irmin(&["svg", "-n", "5"]).matches("<circle ").count(),
        5
    );
    // Every element that begins ends, in order.
    let mut open = Vec::new();
    for tag in svg.split('<').skip(1) {
        let name = tag.split([' ', '>', '/']).next().unwrap();
        let (inside, _) = tag.split_once('>').unwrap();
        match tag.strip_prefix('/') {
            Some(end) => assert!(
                end.starts_with(&(open.pop().unwrap_or_default() + ">")),
                "{end}"
            ),
            None if inside.ends_with('/') => {}
            None => open.push(name.to_string()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(!svg.contains('\u{1b}'));
}
