//! Watches, of what both programs do.

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use common::Place;
use serde_json::Value;

/// A watch that runs.
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watch {
    fn new(place: &Place, args: &[&str]) -> Watch {
        let mut child = place
            .irmin_command(&[&["watch"], args].concat())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Watch { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().into()
    }

    fn ends(mut self) {
        assert_eq!(self.line(), "");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_watch_begins_with_the_state_and_tells_every_change_after_it() {
    let place = Place::new("sha1", &[]);
    let mut watch = Watch::new(&place, &["--count", "3"]);
    let start = watch.line();
    let (start, rest) = start.split_once(' ').unwrap();
    assert_eq!(rest, "at -");
    let start: u64 = start.parse().unwrap();
    let first = place.irmin(&["set", "a/b", "x"]);
    assert_eq!(watch.line(), format!("{} - {first}", start + 1));
    assert_eq!(watch.line(), "A\ta/b");
    // Git's own moves are seen too.
    let tree = format!("{first}^{{tree}}");
    let second = place.git(&["commit-tree", &tree, "-p", &first, "-m", "same"]);
    place.git(&["update-ref", "refs/heads/main", &second]);
    assert_eq!(watch.line(), format!("{} {first} {second}", start + 2));
    place.git(&["update-ref", "-d", "refs/heads/main"]);
    assert_eq!(watch.line(), format!("{} {second} -", start + 3));
    assert_eq!(watch.line(), "D\ta/b");
    watch.ends();
}

#[test]
fn a_watch_of_a_path_tells_only_what_is_below_it() {
    let place = Place::new("sha1", &[]);
    let first = place.irmin(&["set", "a/b", "x"]);
    let mut watch = Watch::new(&place, &["main", "a", "--json", "--count", "1"]);
    let start: Value = serde_json::from_str(&watch.line()).unwrap();
    assert_eq!(start["commit"], first);
    assert_eq!(start["branch"], "main");
    place.irmin(&["set", "c", "x"]);
    let third = place.irmin(&["set", "a/b", "y"]);
    let event: Value = serde_json::from_str(&watch.line()).unwrap();
    assert_eq!(event["new"], third);
    assert_eq!(event["changes"][0]["path"], "a/b");
    assert_eq!(event["changes"][0]["status"], "M");
    assert_eq!(event["changes"].as_array().unwrap().len(), 1);
    watch.ends();
}

#[test]
fn a_watch_goes_on_where_an_earlier_one_ended() {
    let place = Place::new("sha256", &[]);
    let first = place.irmin(&["set", "a", "x"]);
    place.irmin(&["set", "a", "y"]);
    let third = place.irmin(&["set", "b", "y"]);
    let mut watch = Watch::new(&place, &["--after", &format!("7:{first}"), "--count", "2"]);
    assert_eq!(watch.line(), format!("7 at {first}"));
    assert_eq!(watch.line(), format!("8 {first} {third}"));
    assert_eq!((watch.line(), watch.line()), ("M\ta".into(), "A\tb".into()));
    let fourth = place.irmin(&["set", "b", "z"]);
    assert_eq!(watch.line(), format!("9 {third} {fourth}"));
    assert_eq!(watch.line(), "M\tb");
    watch.ends();
    let gone = format!("7:{}", "1".repeat(64));
    for (wrong, code) in [("7", 2), ("x:-", 2), ("7:abcd", 2), (&gone, 3)] {
        assert_eq!(
            place.try_irmin(&["watch", "--after", wrong]).0,
            code,
            "{wrong}"
        );
    }
}
