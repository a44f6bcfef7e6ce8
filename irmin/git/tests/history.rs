//! Questions about history, held against `git`, in repositories whose history is long.

mod common;

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use common::{command, git};
use irmin::{Commit, Repo};
use irmin_git::Git;

/// xorshift64*: a run is repeated by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

/// Commits in some lines that are merged now and then, each on a branch `cN`; the last commits of the
/// lines are on branches too.
fn history(at: &Path, random: &mut Random, commits: usize) {
    git(at, &["init", "-q", "--bare", "."]);
    let mut child = command(at, &["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufWriter::new(child.stdin.take().unwrap());
    let mut lines: Vec<usize> = Vec::new();
    for n in 1..=commits {
        // Times go back here and there.
        let time = 1_429_538_400 + n * 60 - random.below(200);
        let which = random.below(4);
        writeln!(out, "commit refs/heads/c{}", n % 50).unwrap();
        writeln!(out, "mark :{n}\ncommitter A <a@example.org> {time} +0000").unwrap();
        writeln!(out, "data 2\n{}", n % 10).unwrap();
        if which < lines.len() {
            writeln!(out, "from :{}", lines[which]).unwrap();
            let mut others = lines.clone();
            others.swap_remove(which);
            let merged = match random.below(40) {
                0 => 1,
                1 => 2,
                _ => 0,
            };
            let merged = merged.min(others.len());
            others[..merged]
                .iter()
                .for_each(|other| writeln!(out, "merge :{other}").unwrap());
            lines[which] = n;
        } else {
            if let Some(other) = lines.first() {
                writeln!(out, "from :{other}").unwrap();
            }
            lines.push(n);
        }
        writeln!(out).unwrap();
    }
    drop(out);
    assert!(child.wait().unwrap().success());
}

fn commit(repo: &Repo, name: &str) -> Commit {
    repo.resolve(name).unwrap()
}

#[test]
fn common_ancestors_in_a_long_history_are_those_of_git() {
    let seed = 14;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut random = Random(seed);
    history(at, &mut random, 4000);
    let mut pairs: Vec<[String; 2]> = Vec::new();
    for _ in 0..24 {
        pairs.push([0, 1].map(|_| format!("c{}~{}", random.below(50), random.below(300))));
    }
    let answers = |args: &[&str]| -> Vec<Vec<String>> {
        let answer = |[a, b]: &[String; 2]| {
            let found = git(at, &[args, &["merge-base", "--all", a, b]].concat());
            let mut found: Vec<String> = found.lines().map(Into::into).collect();
            found.sort();
            found
        };
        pairs.iter().map(answer).collect()
    };
    let wanted = answers(&[]);
    let check = |wanted: &[Vec<String>], what: &str| {
        // Kept open, so that later questions find what the first ones put in order.
        let repo = Repo::new(Git::open(at).unwrap());
        for ([a, b], wanted) in pairs.iter().zip(wanted) {
            let found = repo.lcas(&commit(&repo, a), &commit(&repo, b)).unwrap();
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, *wanted, "seed {seed}, {what}: {a} {b}");
        }
    };
    check(&wanted, "without a graph");
    let old = git(at, &["rev-parse", "c7"]);
    // A graph of some; a chain of it and the rest; one file.
    let write = [
        "commit-graph",
        "write",
        "--split=no-merge",
        "--stdin-commits",
    ];
    let mut child = command(at, &write).stdin(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{old}").unwrap();
    assert!(child.wait().unwrap().success());
    check(&wanted, "with a graph of some");
    git(
        at,
        &["commit-graph", "write", "--reachable", "--split=no-merge"],
    );
    check(&wanted, "with a chain");
    Git::open(at).unwrap().write_commit_graph().unwrap();
    check(&wanted, "with our graph");
    // What replaces a commit is not followed, as git does it when told so.
    git(at, &["replace", "--graft", "c7~50", "c9~100"]);
    check(
        &answers(&["--no-replace-objects"]),
        "with a replaced commit",
    );
}
