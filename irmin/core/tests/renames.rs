//! Merges that follow renames, held against `git merge-tree` over random histories.

mod common;

use std::collections::BTreeSet;

use irmin::merge::{Conflict, FollowRenames, Merge, Three, files_as_git};
use irmin::{Commit, Format, Info, Memory, Mode, Repo, Signature, Tree};

use common::{Git, Random};

const DIRS: [&str; 6] = ["", "d/", "e/", "d/s/", "e/s/", "f/s/t/"];
const NAMES: [&str; 6] = ["a", "b", "x.c", "y.c", "d", "s"];

fn random_path(random: &mut Random) -> String {
    let dir = DIRS[random.below(DIRS.len())];
    format!("{dir}{}", NAMES[random.below(NAMES.len())])
}

/// Lines, most of which only files of the same kind have.
fn lines(random: &mut Random) -> Vec<String> {
    let kind = random.below(6);
    let line = |random: &mut Random| match random.below(5) {
        0 => format!("{}\n", random.below(3)),
        _ => format!("line {} of {kind}\n", random.below(9)),
    };
    (0..random.below(12)).map(|_| line(random)).collect()
}

fn edited(random: &mut Random, text: &str) -> String {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_string).collect();
    for _ in 0..1 + random.below(2) {
        let at = random.below(lines.len() + 1);
        match random.below(3) {
            0 if at < lines.len() => drop(lines.remove(at)),
            1 if at < lines.len() => lines[at] = format!("other {}\n", random.below(4)),
            _ => lines.insert(at, format!("new {}\n", random.below(4))),
        }
    }
    lines.concat()
}

/// Changes some files: edits, moves with and without an edit, moves of whole directories, removals,
/// files where directories are, modes, links, copies.
fn changed(random: &mut Random, tree: &Tree) -> Tree {
    let mut edit = tree.edit();
    for _ in 0..1 + random.below(4) {
        let now = edit.finish().unwrap();
        let files: Vec<String> = now.walk().map(|file| file.unwrap().0.to_string()).collect();
        let to = random_path(random);
        if files.is_empty() || random.below(6) == 0 {
            // What is in the way goes.
            edit.remove(to.split('/').next().unwrap()).unwrap();
            let text = lines(random).concat();
            match random.below(12) {
                0 => edit.set_mode(&to, Mode::Link, "target").unwrap(),
                1 => edit.set(&to, format!("\0{text}")).unwrap(),
                _ => edit.set(&to, text).unwrap(),
            }
            continue;
        }
        let from = files[random.below(files.len())].clone();
        let text = String::from_utf8(edit.get(&from).unwrap().unwrap().to_vec()).unwrap();
        match random.below(8) {
            0 => drop(edit.remove(&from).unwrap()),
            1 | 2 => edit.set(&from, edited(random, &text)).unwrap(),
            3 => drop(edit.set(&to, text)),
            4 => drop(edit.set_mode(&from, Mode::Executable, text)),
            5 | 6 => {
                if edit.rename(&from, &to).is_ok() && random.below(2) == 0 {
                    edit.set(&to, edited(random, &text)).unwrap();
                }
            }
            _ => {
                let dir = from.rsplit_once('/').map_or("d", |(dir, _)| dir);
                let to = ["d", "e", "g", "d/s", "g/s", "h"][random.below(6)];
                let _ = edit.rename(dir, to);
            }
        }
    }
    edit.finish().unwrap()
}

fn commit(repo: &Repo, tree: &Tree, parents: &[&Commit], n: usize) -> Commit {
    let who = Signature::new("Ada", "ada@example.org", 1_000_000 + n as i64, 60);
    repo.commit_tree(tree, parents, &Info::new(who, format!("{n}\n")))
        .unwrap()
}

fn merged(repo: &Repo, a: &Commit, b: &Commit) -> Merge {
    let names = [a, b].map(|commit| commit.id().to_string());
    let rule = FollowRenames::new(files_as_git).named(&names[0], &names[1]);
    repo.try_merge(a, b, &rule).unwrap()
}

/// Pairs of commits to merge: two branches that merge each other again and again.
fn history(random: &mut Random, repo: &Repo) -> Vec<[Commit; 2]> {
    let mut first = repo.empty_tree();
    for _ in 0..4 {
        first = changed(random, &first);
    }
    let base = commit(repo, &first, &[], 0);
    let mut tips = [1, 2].map(|n| {
        let tree = changed(random, &base.tree());
        commit(repo, &tree, &[&base], n)
    });
    let mut pairs = Vec::new();
    for round in 0..12 {
        pairs.push(tips.clone());
        let old = tips.clone();
        for side in [0, 1] {
            let (ours, theirs) = (&old[side], &old[1 - side]);
            let merge = merged(repo, ours, theirs);
            let tree = merge.tree().unwrap_or_else(|_| ours.tree());
            let tree = match random.below(3) {
                0 => tree,
                _ => changed(random, &tree),
            };
            let n = 3 + 2 * round + side;
            tips[side] = match random.below(4) {
                0 => commit(repo, &changed(random, &ours.tree()), &[ours], n),
                _ => commit(repo, &tree, &[ours, theirs], n),
            };
        }
    }
    pairs
}

/// Whether it is clean, the tree with what is in conflict, and the paths in conflict.
type Outcome = (bool, String, Vec<String>);

fn of_irmin(merge: &Merge) -> Outcome {
    let is_at_path = |one: &&Conflict| {
        let Three { base, ours, theirs } = &one.entries;
        base.is_some() || ours.is_some() || theirs.is_some()
    };
    let paths: BTreeSet<String> = merge
        .conflicts()
        .iter()
        .filter(is_at_path)
        .map(|one| one.path.to_string())
        .collect();
    let tree = merge.proposal().unwrap().id().to_string();
    (
        merge.conflicts().is_empty(),
        tree,
        paths.into_iter().collect(),
    )
}

/// The same of Git; `None` where it stops at an assertion of its own, or loses a file: of a file that
/// moves away from a directory with its renamed directory it forgets our version (a mode of zeros).
fn of_git(git: &Git, ids: &[String; 2]) -> Option<Outcome> {
    let args = ["merge-tree", "--write-tree", "-z", &ids[0], &ids[1]];
    let (text, is_clean) = git.try_run(&args, "");
    if text.contains("Assertion") {
        return None;
    }
    // The tree, then mode, id, stage and path of each version in conflict, up to an empty line.
    let mut lines = text.split('\0');
    let tree = lines.next().unwrap_or_default().to_string();
    let stages: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    if stages.iter().any(|stage| stage.starts_with("000000 ")) {
        return None;
    }
    let path = |stage: &&str| stage.split_once('\t').unwrap().1.to_string();
    let mut paths: Vec<String> = stages.iter().map(path).collect();
    paths.dedup();
    Some((is_clean, tree, paths))
}

/// Histories that cross often, of many renames. `SEED` repeats one, `RUNS` makes more, and with
/// `KEEP_GOING` all that differ are printed.
#[test]
fn git_merges_histories_with_renames_the_same() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first: u64 = number("SEED").unwrap_or(1);
    let (mut same, mut differ, mut unsound) = (0, 0, 0);
    for seed in first..first + number("RUNS").unwrap_or(4) {
        let format = match seed % 2 {
            0 => Format::GitSha256,
            _ => Format::GitSha1,
        };
        let mut random = Random(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let repo = Repo::new(Memory::new(format));
        let pairs = history(&mut random, &repo);
        let git = Git::new(format);
        git.take(&repo);
        for (round, [a, b]) in pairs.iter().enumerate() {
            let ids = [a, b].map(|commit| commit.id().to_string());
            let merge = merged(&repo, a, b);
            let ours = of_irmin(&merge);
            match of_git(&git, &ids) {
                None => unsound += 1,
                Some(theirs) if ours == theirs => same += 1,
                Some(theirs) => {
                    differ += 1;
                    let told = git
                        .try_run(&["merge-tree", "--write-tree", &ids[0], &ids[1]], "")
                        .0;
                    println!("seed {seed}, round {round}: {ours:?}, git {theirs:?}\n{told}");
                    if std::env::var("KEEP_GOING").is_err() {
                        panic!("SEED={seed} repeats it: {:#?}", merge.conflicts());
                    }
                }
            }
        }
    }
    println!("{same} merges are the same, {differ} differ, git is unsound in {unsound}");
}
