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
    Git::open(at)
        .unwrap()
        .write_commit_graph(&mut |_| ())
        .unwrap();
    check(&wanted, "with our graph");
    // What replaces a commit is not followed, as git does it when told so.
    git(at, &["replace", "--graft", "c7~50", "c9~100"]);
    check(
        &answers(&["--no-replace-objects"]),
        "with a replaced commit",
    );
}

/// Files and directories that change, become one another and go, in lines that are merged. Returns the
/// paths.
fn files(at: &Path, random: &mut Random, commits: usize) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for dir in ["", "a/", "a/b/", "a/b/c/", "d/", "ü/"] {
        paths.extend(["x", "y", "ß z"].map(|name| format!("{dir}{name}")));
    }
    let mut child = command(at, &["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufWriter::new(child.stdin.take().unwrap());
    let mut last = [0; 3];
    for n in 1..=commits {
        let (time, line) = (1_429_538_400 + n * 60, random.below(3));
        let first = n <= 3;
        let line = if first { n - 1 } else { line };
        writeln!(out, "commit refs/heads/line{line}").unwrap();
        writeln!(out, "mark :{n}\ncommitter A <a@example.org> {time} +0000").unwrap();
        writeln!(out, "data 2\n{}", n % 10).unwrap();
        if !first && random.below(12) == 0 {
            writeln!(out, "merge :{}", last[(line + 1) % 3]).unwrap();
        }
        last[line] = n;
        for _ in 0..random.below(4) {
            let path = &paths[random.below(paths.len())];
            match random.below(9) {
                0 => writeln!(out, "D {path}"),
                // A directory becomes a file, and with the next change below it one again.
                1 if random.below(3) == 0 => {
                    let dir = ["a", "a/b", "d"][random.below(3)];
                    writeln!(out, "M 100644 inline {dir}\ndata 2\n{}", n % 7)
                }
                2 => writeln!(out, "M 100755 inline {path}\ndata 2\n{}", n % 3),
                _ => writeln!(out, "M 100644 inline {path}\ndata 2\n{}", n % 3),
            }
            .unwrap();
        }
        if n == 70 {
            // More than filters tell.
            for k in 0..600 {
                writeln!(out, "M 100644 inline many/{k}\ndata 2\n{}", k % 5).unwrap();
            }
        }
        writeln!(out).unwrap();
    }
    drop(out);
    assert!(child.wait().unwrap().success());
    git(at, &["symbolic-ref", "HEAD", "refs/heads/line0"]);
    let more = [
        "a",
        "a/b",
        "a/b/c",
        "d",
        "ü",
        "many",
        "many/7",
        "none/at/all",
    ];
    paths.extend(more.map(Into::into));
    paths
}

#[test]
fn logs_of_paths_are_those_of_git_with_filters_of_changed_paths_and_without() {
    for (_, word) in common::FORMATS {
        let seed = 15;
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        git(at, &["init", "-q", "--bare", "--object-format", word, "."]);
        let paths = files(at, &mut Random(seed), 150);
        let wanted: Vec<String> = paths
            .iter()
            .map(|path| git(at, &["log", "--format=%H", "line0", "--", path]))
            .collect();
        assert!(wanted.iter().filter(|log| log.lines().count() > 3).count() > 10);
        let pairs: Vec<String> = paths
            .windows(2)
            .map(|pair| {
                git(
                    at,
                    &["log", "--format=%H", "line0", "--", &pair[0], &pair[1]],
                )
            })
            .collect();
        let check = |what: &str| {
            let repo = Repo::new(Git::open(at).unwrap());
            let head = commit(&repo, "line0");
            for (path, wanted) in paths.iter().zip(&wanted) {
                let log = head.log_of(irmin::Path::new(path).unwrap());
                let ids = log.map(|one| one.unwrap().id().to_string());
                let found = ids.collect::<Vec<_>>().join("\n");
                assert_eq!(found, *wanted, "seed {seed}, {what}: {path}");
            }
            let all: Vec<_> = (paths.iter())
                .map(|path| irmin::Path::new(path).unwrap())
                .collect();
            let modified = head.last_modified(&all).unwrap();
            for ((path, wanted), found) in paths.iter().zip(&wanted).zip(modified) {
                let found = found.map(|one| one.id().to_string()).unwrap_or_default();
                let wanted = wanted.lines().next().unwrap_or_default();
                assert_eq!(found, wanted, "seed {seed}, {what}: last {path}");
            }
            for (pair, wanted) in all.windows(2).zip(&pairs) {
                let log = head.log_of_any(pair.iter().cloned());
                let ids = log.map(|one| one.unwrap().id().to_string());
                let found = ids.collect::<Vec<_>>().join("\n");
                assert_eq!(found, *wanted, "seed {seed}, {what}: {pair:?}");
            }
            repo
        };
        let graph = at.join("objects/info/commit-graph");
        check("without a graph");
        git(at, &["commit-graph", "write", "--reachable"]);
        check("without filters");
        for version in ["1", "2"] {
            let version = format!("commitGraph.changedPathsVersion={version}");
            let write = ["commit-graph", "write", "--reachable", "--changed-paths"];
            std::fs::remove_file(&graph).unwrap();
            git(at, &[&["-c", &version][..], &write].concat());
            check(&version);
            // Ours is the same, whether filters are there to be taken or not.
            let theirs = std::fs::read(&graph).unwrap();
            Git::open(at)
                .unwrap()
                .write_commit_graph(&mut |_| ())
                .unwrap();
            assert!(std::fs::read(&graph).unwrap() == theirs, "{version}");
            std::fs::remove_file(&graph).unwrap();
            let [name, value] = [0, 1].map(|part| version.split('=').nth(part).unwrap());
            git(at, &["config", name, value]);
            Git::open(at)
                .unwrap()
                .write_commit_graph(&mut |_| ())
                .unwrap();
            assert!(std::fs::read(&graph).unwrap() == theirs, "{version}");
            // Filters of the other version are not used.
            git(at, &["config", name, if value == "1" { "2" } else { "1" }]);
            check("with filters that the configuration forbids");
            git(at, &["config", "--unset", name]);
        }
        // A chain of two files, the older without filters.
        std::fs::remove_file(&graph).unwrap();
        let split = ["commit-graph", "write", "--split=no-merge"];
        let mut child = command(at, &[&split[..], &["--stdin-commits"]].concat())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(
            child.stdin.take().unwrap(),
            "{}",
            git(at, &["rev-parse", "line1~9"])
        )
        .unwrap();
        assert!(child.wait().unwrap().success());
        git(
            at,
            &[&split[..], &["--reachable", "--changed-paths"]].concat(),
        );
        check("with a chain");
        git(at, &["config", "commitGraph.readChangedPaths", "false"]);
        let store = Git::open(at).unwrap();
        store.write_commit_graph(&mut |_| ()).unwrap();
        let bytes = std::fs::read(&graph).unwrap();
        assert!(
            !bytes.windows(4).any(|word| word == b"BIDX"),
            "they are not wanted"
        );
    }
}

#[test]
fn damaged_filters_of_changed_paths_are_not_used_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    git(at, &["init", "-q", "--bare", "."]);
    let paths = files(at, &mut Random(16), 60);
    Git::open(at)
        .unwrap()
        .write_commit_graph(&mut |_| ())
        .unwrap();
    let graph = at.join("objects/info/commit-graph");
    let sound = std::fs::read(&graph).unwrap();
    let place = |name: &[u8]| {
        let row = sound.windows(4).position(|four| four == name).unwrap();
        u64::from_be_bytes(sound[row + 4..row + 12].try_into().unwrap()) as usize
    };
    let (ends, data) = (place(b"BIDX"), place(b"BDAT"));
    let log = || {
        let repo = Repo::new(Git::open(at).unwrap());
        let head = commit(&repo, "line0");
        let log = head.log_of(irmin::Path::new(&paths[4]).unwrap());
        log.map(|one| one.map(|one| one.id().to_string()))
            .collect::<Result<Vec<_>, _>>()
            .unwrap()
    };
    let wanted = log();
    let write = |bytes: &[u8]| {
        let _ = std::fs::remove_file(&graph);
        std::fs::write(&graph, bytes).unwrap();
    };
    // Kinds that are not known, and ends that are none.
    for (from, to) in [(data, data + 4), (data + 4, data + 8), (ends, data)] {
        for filler in [0, 0xff] {
            let mut broken = sound.clone();
            broken[from..to].fill(filler);
            write(&broken);
            assert_eq!(log(), wanted, "{from} {filler}");
        }
    }
    // What is not told of is found when the repository is checked.
    let problems = || {
        let report = Git::open(at).unwrap().check(&mut |_| ()).unwrap();
        report.problems.join("\n")
    };
    let mut broken = sound[..sound.len() - 20].to_vec();
    broken[data + 12..].fill(0);
    irmin_packfile::Hasher::seal(irmin::Format::GitSha1, &mut broken);
    write(&broken);
    assert!(problems().contains("the commit-graph says something else"));
    write(&sound);
    assert_eq!(problems(), "");
    for at in (ends..sound.len()).step_by(7) {
        let mut broken = sound.clone();
        broken[at] ^= 0x81;
        write(&broken);
        log();
    }
}
