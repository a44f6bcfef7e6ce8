//! What the core computes, held against what `git` computes from the same objects.

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use irmin::merge::{Conflict, Why, files_as_git};
use irmin::{Commit, Entry, Format, Info, Memory, Mode, Path, Repo, Signature, Tree};

use common::{Git, Random, seeds};

const NAMES: [&str; 5] = ["a", "a.c", "a0", "b", "ü"];

fn random_path(random: &mut Random) -> String {
    let depth = 1 + random.below(3);
    (0..depth)
        .map(|_| NAMES[random.below(NAMES.len())])
        .collect::<Vec<_>>()
        .join("/")
}

/// Changes some files: lines of text, modes, files that become directories and back.
fn changed(random: &mut Random, tree: &Tree) -> Tree {
    let mut edit = tree.edit();
    for _ in 0..1 + random.below(4) {
        let path = random_path(random);
        if random.below(4) == 0 {
            edit.remove(&path).unwrap();
            continue;
        }
        let fresh = || {
            (1..10)
                .map(|n| {
                    format!(
                        "{path} {n}
"
                    )
                })
                .collect::<String>()
                .into()
        };
        let text = edit.get(&path).unwrap().unwrap_or_else(fresh);
        let mut lines: Vec<String> = String::from_utf8(text.to_vec())
            .unwrap()
            .lines()
            .map(str::to_string)
            .collect();
        let at = random.below(lines.len() + 1);
        if random.below(3) == 0 && at < lines.len() {
            lines.remove(at);
        } else {
            lines.insert(at, format!("{path} line {}", random.below(50)));
        }
        let mode = if random.below(9) == 0 {
            Mode::Executable
        } else {
            edit.mode(&path).unwrap().unwrap_or(Mode::File)
        };
        // A file or directory in the way is left alone.
        let _ = edit.set_mode(&path, mode, lines.join("\n") + "\n");
    }
    edit.finish().unwrap()
}

fn commit(repo: &Repo, tree: &Tree, parents: &[&Commit], n: usize) -> Commit {
    let who = Signature::new("Ada", "ada@example.org", 1_000_000 + n as i64, 60);
    repo.commit_tree(tree, parents, &Info::new(who, format!("{n}\n")))
        .unwrap()
}

/// A history with merges: each commit changes one of the last few, or merges two.
fn history(random: &mut Random, repo: &Repo, length: usize) -> Vec<Commit> {
    let mut commits = vec![commit(repo, &changed(random, &repo.empty_tree()), &[], 0)];
    while commits.len() < length {
        let n = commits.len();
        let [a, b] = [0, 1].map(|_| commits[n - 1 - random.below(n.min(6))].clone());
        let merged = match random.below(3) {
            0 if a != b => repo.try_merge(&a, &b, &files_as_git).unwrap().tree().ok(),
            _ => None,
        };
        commits.push(match merged {
            Some(tree) => commit(repo, &changed(random, &tree), &[&a, &b], n),
            None => commit(repo, &changed(random, &a.tree()), &[&a], n),
        });
    }
    commits
}

#[test]
fn git_computes_the_same_ids_ancestors_merges_and_logs() {
    for (seed, format) in [
        (1, Format::GitSha1),
        (2, Format::GitSha256),
        (3, Format::GitSha1),
    ] {
        let mut random = Random(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let repo = Repo::new(Memory::new(format));
        let commits = history(&mut random, &repo, 40);
        let git = Git::new(format);
        git.take(&repo);
        let head = commits.last().unwrap().id().to_string();
        git.run(&["update-ref", "refs/heads/main", &head], "");
        git.run(&["fsck", "--strict", "--no-dangling"], "");
        for round in 0..25 {
            let [a, b] = [0, 1].map(|_| &commits[random.below(commits.len())]);
            let [a_hex, b_hex] = [a, b].map(|commit| commit.id().to_string());
            let what = format!("seed {seed}, round {round}: {a_hex} {b_hex}");

            let ours: BTreeSet<String> = repo
                .lcas(a, b)
                .unwrap()
                .iter()
                .map(ToString::to_string)
                .collect();
            let theirs = git.run(&["merge-base", "--all", &a_hex, &b_hex], "");
            assert_eq!(ours, theirs.lines().map(str::to_string).collect(), "{what}");
            merges_as_git(&repo, &git, [a, b], &what);

            let log: Vec<String> = a
                .log()
                .map(|commit| commit.unwrap().id().to_string())
                .collect();
            assert_eq!(
                log,
                git.run(&["log", "--format=%H", &a_hex], "")
                    .lines()
                    .collect::<Vec<_>>(),
                "{what}"
            );
            let path = random_path(&mut random);
            let log = a.log_of(Path::new(&path).unwrap());
            let log: Vec<String> = log.map(|commit| commit.unwrap().id().to_string()).collect();
            let theirs = git.run(&["log", "--format=%H", &a_hex, "--", &path], "");
            assert_eq!(log, theirs.lines().collect::<Vec<_>>(), "{what} {path}");

            let ours: BTreeSet<String> = a
                .tree()
                .diff(&b.tree())
                .map(|one| one.unwrap().path.to_string())
                .collect();
            let theirs = git.run(
                &[
                    "diff-tree",
                    "-r",
                    "-z",
                    "--name-only",
                    "--no-renames",
                    &a_hex,
                    &b_hex,
                ],
                "",
            );
            let theirs = theirs
                .split('\0')
                .filter(|path| !path.is_empty())
                .map(str::to_string)
                .collect();
            assert_eq!(ours, theirs, "{what}");
        }
    }
}

/// Tree (of a clean merge) and conflicting paths, as `git merge-tree` has them.
fn merge_tree(git: &Git, a: &str, b: &str) -> Merged {
    let args = ["merge-tree", "--write-tree", "--no-messages", "--name-only"];
    let (text, is_clean) = git.try_run(&[&args[..], &["-z", a, b]].concat(), "");
    let mut lines = text.split('\0');
    let tree = lines.next().unwrap_or_default().to_string();
    let paths = lines.filter(|path| !path.is_empty());
    (
        is_clean.then_some(tree),
        paths.map(str::to_string).collect(),
    )
}

type Merged = (Option<String>, BTreeSet<String>);

/// The same tree, or conflicts at the same paths.
fn merges_as_git(repo: &Repo, git: &Git, [a, b]: [&Commit; 2], what: &str) {
    let merge = repo.try_merge(a, b, &files_as_git).unwrap();
    let [a, b] = [a, b].map(|commit| commit.id().to_string());
    // Git puts a file that is in a directory's way beside it, under a name with the side's.
    let beside = |conflict: &Conflict| match &conflict.why {
        Why::FileAndDirectory => {
            let is_dir = |entry: &Option<Entry>| entry.as_ref().is_some_and(Entry::is_dir);
            let side = if is_dir(&conflict.entries.ours) {
                &b
            } else {
                &a
            };
            format!("{}~{side}", conflict.path)
        }
        _ => conflict.path.to_string(),
    };
    let tree = merge.tree().ok().map(|tree| tree.id().to_string());
    let paths = merge.conflicts().iter().map(beside).collect();
    let ours = (tree, paths);
    let theirs = merge_tree(git, &a, &b);
    if ours == theirs {
        return;
    }
    // Git cannot be kept from looking for renames: it takes a file that a merge of common ancestors
    // put beside a directory, and that a side has where it was, for renamed (and may then even stop
    // at an assertion of its own).
    let (told, _) = git.try_run(&["merge-tree", "--write-tree", &a, &b], "");
    let mut base = merge.base().walk().map(|file| file.unwrap().0.to_string());
    assert!(
        base.any(|path| path.contains(BESIDE))
            || told.contains(BESIDE)
            || told.contains("process_renames: Assertion"),
        "{what}: {ours:?}, and git has {theirs:?}: {:#?}",
        merge.conflicts()
    );
}

const BESIDE: &str = "~Temporary merge branch";

/// Histories that cross often, so that most pairs have several common ancestors, and these again.
/// `SEED` repeats one and `RUNS` makes more.
#[test]
fn git_merges_histories_that_cross_the_same() {
    for seed in seeds(4) {
        let format = match seed % 2 {
            0 => Format::GitSha256,
            _ => Format::GitSha1,
        };
        let mut random = Random(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let repo = Repo::new(Memory::new(format));
        let base = commit(&repo, &changed(&mut random, &repo.empty_tree()), &[], 0);
        let mut tips = [1, 2].map(|n| {
            let tree = changed(&mut random, &base.tree());
            commit(&repo, &tree, &[&base], n)
        });
        let mut pairs = Vec::new();
        for round in 0..12 {
            pairs.push(tips.clone());
            // Each merges the other as it was, its own way where they are in conflict.
            let old = tips.clone();
            for side in [0, 1] {
                let (ours, theirs) = (&old[side], &old[1 - side]);
                let merge = repo.try_merge(ours, theirs, &files_as_git).unwrap();
                let tree = merge.tree().unwrap_or_else(|_| ours.tree());
                let tree = match random.below(3) {
                    0 => tree,
                    _ => changed(&mut random, &tree),
                };
                let n = 3 + 2 * round + side;
                tips[side] = match random.below(4) {
                    0 => commit(&repo, &changed(&mut random, &ours.tree()), &[ours], n),
                    _ => commit(&repo, &tree, &[ours, theirs], n),
                };
            }
        }
        let git = Git::new(format);
        git.take(&repo);
        for (round, [a, b]) in pairs.iter().enumerate() {
            let bases = repo.lcas(a, b).unwrap().len();
            let what = format!("seed {seed}, round {round}, {bases} bases");
            merges_as_git(&repo, &git, [a, b], &what);
        }
    }
}

#[test]
fn git_writes_the_same_tree_and_commit() {
    let repo = Repo::new(Memory::new(Format::GitSha1));
    let git = Git::new(Format::GitSha1);
    let mut edit = repo.empty_tree().edit();
    for (path, text) in [("f", "file\n"), ("d/g", "other\n"), ("d.x", "third\n")] {
        edit.set(path, text).unwrap();
    }
    let tree = edit.finish().unwrap();
    let blob = |text| {
        git.run(&["hash-object", "-w", "--stdin"], text)
            .trim()
            .to_string()
    };
    let inner = git.run(
        &["mktree"],
        &format!("100644 blob {}\tg\n", blob("other\n")),
    );
    let listing = format!(
        "100644 blob {}\tf\n040000 tree {}\td\n100644 blob {}\td.x\n",
        blob("file\n"),
        inner.trim(),
        blob("third\n")
    );
    assert_eq!(git.run(&["mktree"], &listing).trim(), tree.id().to_string());
    let commit = commit(&repo, &tree, &[], 0);
    let who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
    let output = Command::new("git")
        .args(who)
        .args(["commit-tree", &tree.id().to_string()])
        .current_dir(git.dir())
        .env("GIT_AUTHOR_DATE", "@1000000 +0100")
        .env("GIT_COMMITTER_DATE", "@1000000 +0100")
        .stdin({
            std::fs::write(git.dir().join("message"), "0\n").unwrap();
            std::fs::File::open(git.dir().join("message")).unwrap()
        })
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim(),
        commit.id().to_string()
    );
}
