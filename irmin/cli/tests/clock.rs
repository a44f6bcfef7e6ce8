//! A clock that goes back, and one that jumps ahead: what commits say of time decides nothing.

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use common::{Place, ended};

/// Sets a path at that time; the id of the commit.
fn set(place: &Place, path: &str, value: &str, branch: &str, seconds: i64) -> String {
    let mut command = place.irmin_command(&["set", path, value, "--branch", branch]);
    let date = format!("@{seconds} +0000");
    command.env("GIT_AUTHOR_DATE", &date);
    command.env("GIT_COMMITTER_DATE", &date);
    let (code, out, error) = ended(command);
    assert_eq!((code, &error[..]), (0, ""));
    out.trim().into()
}

/// Times of commits one after the other: back by an hour each, to 1970, and far ahead, as far as a
/// commit-graph tells them (34 bits).
const TIMES: [i64; 8] = [
    1_429_524_000,
    1_429_520_400,
    1_429_516_800,
    0,
    4_102_444_800,
    1,
    16_000_000_000,
    1_429_524_000,
];

#[test]
fn history_is_what_commits_lead_to_whatever_their_clocks_said() {
    for format in ["sha1", "sha256", "native"] {
        let place = Place::new(format, &[]);
        let mut main = Vec::new();
        for (at, seconds) in TIMES.into_iter().enumerate() {
            if at == 3 {
                place.irmin(&["branches", "--create", "topic"]);
            }
            main.push(set(&place, "a", &at.to_string(), "main", seconds));
        }
        // The other side is older than what it begins at, and newer than all of main.
        for (at, seconds) in [5, 9_000_000_000, 7].into_iter().enumerate() {
            set(&place, "b", &at.to_string(), "topic", seconds);
        }
        assert_eq!(place.irmin(&["lcas", "main", "topic"]), main[2]);
        assert_eq!(place.irmin(&["lcas", "topic", "main~1"]), main[2]);
        let log = place.irmin(&["log", "main", "--json"]);
        let log = log.lines().map(|line| {
            let commit: serde_json::Value = serde_json::from_str(line).unwrap();
            commit["commit"].as_str().unwrap().to_string()
        });
        assert!(log.eq(main.iter().rev().cloned()), "{format}");
        let changed = place.irmin(&["log", "topic", "-n", "1", "--", "a"]);
        assert!(changed.starts_with(&format!("commit {}", main[2])));
        let merged = place.irmin(&["merge", "topic"]);
        assert_eq!(
            place.irmin(&["lcas", "main", "topic"]),
            place.irmin(&["lcas", "topic", "topic"])
        );
        assert!(place.irmin(&["ls", "-l"]).contains(&main[7][..10]));
        place.irmin(&["gc"]);
        assert_eq!(place.irmin(&["fsck"]), "");
        // No commit is thrown away for its age.
        let log = place.irmin(&["log", "--json"]);
        assert_eq!(log.lines().count(), TIMES.len() + 4);
        if format != "native" {
            place.fsck();
            assert_eq!(place.git(&["rev-parse", "main"]), merged);
            assert_eq!(place.git(&["merge-base", "main~1", "topic"]), main[2]);
            assert_eq!(place.git(&["rev-list", "--count", "main"]), "12");
        }
    }
}

#[test]
fn collections_keep_what_is_new_by_the_files_not_by_the_commits() {
    let place = Place::new("sha1", &[]);
    set(&place, "a", "x", "main", 5);
    let gone = set(&place, "b", "y", "gone", 5);
    place.irmin(&["branches", "--delete", "gone", "--force"]);
    place.irmin(&["gc"]);
    assert_eq!(place.git(&["cat-file", "-t", &gone]), "commit");
}

#[test]
fn a_watch_tells_of_commits_that_are_older_than_those_before() {
    let place = Place::new("sha1", &[]);
    set(&place, "a", "x", "main", TIMES[0]);
    let args = ["watch", "main", "--count", "2"];
    let mut command = place.irmin_command(&args);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    for seconds in [TIMES[3], TIMES[4]] {
        let id = set(&place, "a", &seconds.to_string(), "main", seconds);
        assert!(lines.next().unwrap().unwrap().ends_with(&id));
        assert_eq!(lines.next().unwrap().unwrap(), "M\ta");
    }
    assert!(child.wait().unwrap().success());
}
