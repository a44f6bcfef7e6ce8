//! Watches as server-sent events, taken by the real curl.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::Served;
use irmin::{Format, Memory};
use irmin_serve::{Limits, Options};
use serde_json::{Value, json};

/// A watch under way.
struct Watching {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Watching {
    fn new(served: &Served, query: &str, args: &[&str]) -> Watching {
        let mut command = Command::new("curl");
        command
            .args(["-sSN", "--max-time", "60"])
            .args(args)
            .arg(format!("{}/api/v1/watch?{query}", served.url));
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl can be run");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watching { child, lines }
    }

    fn line(&mut self) -> Option<String> {
        self.lines.next().map(|line| line.unwrap())
    }

    /// The next event; comments are passed over.
    fn next(&mut self) -> Event {
        let mut event = Event {
            name: String::new(),
            id: String::new(),
            data: Value::Null,
        };
        loop {
            let line = self.line().expect("the stream goes on");
            match line.split_once(": ") {
                Some(("event", name)) => event.name = name.into(),
                Some(("id", id)) => event.id = id.into(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && !event.name.is_empty() => return event,
                _ => {}
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set(path: &str, text: &str) -> Value {
    json!([{ "op": "set", "path": path, "text": text }])
}

#[test]
fn a_watch_begins_with_a_snapshot_tells_each_change_below_its_path_and_resumes() {
    let served = Served::memory(Format::GitSha1);
    let mut all = Watching::new(&served, "branch=main", &[]);
    let start = all.next();
    assert_eq!(
        (
            start.name.as_str(),
            start.id.as_str(),
            &start.data["commit"]
        ),
        ("snapshot", "-", &Value::Null)
    );
    let mut inside = Watching::new(&served, "branch=main&prefix=in", &[]);
    assert_eq!(inside.next().data["entry"], Value::Null);
    let first = served.commit("main", set("out", "1"));
    let event = all.next();
    assert_eq!((event.name.as_str(), &event.id), ("change", &first));
    assert_eq!(
        (&event.data["before"], &event.data["changes"][0]["path"]),
        (&Value::Null, &json!("out"))
    );
    let second = served.commit("main", set("in/x", "2"));
    assert_eq!(all.next().data["before"], json!(first));
    let event = inside.next();
    assert_eq!(
        (&event.id, event.data["changes"].as_array().unwrap().len()),
        (&second, 1),
        "the first was not told"
    );
    assert_eq!(event.data["changes"][0]["path"], "in/x");
    let third = served.commit("main", json!([{ "op": "remove", "path": "in/x" }, { "op": "set", "path": "in", "text": "a file now" }]));
    let event = inside.next();
    let paths: Vec<_> = event.data["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["path"].clone())
        .collect();
    assert_eq!(
        (&event.id, paths),
        (&third, vec![json!("in"), json!("in/x")])
    );
    assert_eq!(all.next().id, third);
    // A client that was away is told what it missed as one change, and then goes on.
    let mut back = Watching::new(
        &served,
        "branch=main",
        &["-H", &format!("Last-Event-ID: {first}")],
    );
    let event = back.next();
    assert_eq!((&event.data["before"], &event.id), (&json!(first), &third));
    let mut same = Watching::new(
        &served,
        "branch=main&prefix=out",
        &["-H", &format!("Last-Event-ID: {first}")],
    );
    let mut lost = Watching::new(
        &served,
        "branch=main",
        &["-H", &format!("Last-Event-ID: {}", "0".repeat(40))],
    );
    assert_eq!(
        lost.next().name,
        "snapshot",
        "an id that is not here begins anew"
    );
    assert_eq!(same.line().as_deref(), Some(":"), "nothing was missed");
    let fourth = served.commit("main", set("out", "4"));
    for watch in [&mut all, &mut back, &mut same, &mut lost] {
        assert_eq!(watch.next().id, fourth);
    }
    served.curl(
        &format!("/api/v1/branches/main?expect={fourth}"),
        &["-X", "DELETE"],
    );
    let event = all.next();
    assert_eq!(
        (event.id.as_str(), &event.data["after"]),
        ("-", &Value::Null)
    );
    let bad = served.curl("/api/v1/watch?branch=main", &["-H", "Last-Event-ID: 5"]);
    assert_eq!(bad.status, 400);
}

#[test]
fn a_client_that_reads_nothing_delays_nobody_and_an_idle_one_hears_that_it_is_alive() {
    let limits = Limits {
        heartbeat: Duration::from_millis(50),
        ..Limits::default()
    };
    let served = Served::new(
        Arc::new(Memory::new(Format::Native)),
        Options {
            limits,
            ..Options::default()
        },
    );
    let mut stalled = TcpStream::connect(served.url.strip_prefix("http://").unwrap()).unwrap();
    stalled
        .write_all(b"GET /api/v1/watch?branch=main HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut watch = Watching::new(&served, "branch=main", &[]);
    assert_eq!(watch.next().name, "snapshot");
    let mut head = String::new();
    for n in 0..30 {
        // Some 200 KB of changes each: more than sockets hold.
        let edits: Vec<_> = (0..1000).map(|k| json!({ "op": "set", "path": format!("{k}/{}", "x".repeat(150)), "text": n.to_string() })).collect();
        head = served.commit("main", edits.into());
    }
    loop {
        let event = watch.next();
        if event.id == head {
            assert_eq!(
                (
                    event.data["changes"].as_array().unwrap().len(),
                    &event.data["more"]
                ),
                (1000, &json!(false))
            );
            break;
        }
    }
    assert_eq!(
        (watch.line().as_deref(), watch.line().as_deref()),
        (Some(":"), Some(""))
    );
}

#[test]
fn a_watch_ends_with_the_server() {
    let served = Served::memory(Format::GitSha256);
    let mut watch = Watching::new(&served, "", &[]);
    assert_eq!(watch.next().data["branch"], "main");
    drop(served);
    assert_eq!(watch.line(), None);
    assert!(watch.child.wait().unwrap().success(), "it came to its end");
}

#[test]
fn what_git_itself_moves_is_told_too() {
    let folder = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(folder.path())
            .args(["-c", "user.name=A", "-c", "user.email=a@b"])
            .args(args);
        let output = command
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_string()
    };
    git(&["init", "-q", "-b", "main"]);
    let store = irmin_git::Git::open(folder.path()).unwrap();
    let served = Served::new(Arc::new(store), Options::default());
    let mut watch = Watching::new(&served, "branch=main", &[]);
    assert_eq!(watch.next().id, "-");
    git(&["commit", "-q", "--allow-empty", "-m", "one"]);
    assert_eq!(watch.next().id, git(&["rev-parse", "HEAD"]));
}
