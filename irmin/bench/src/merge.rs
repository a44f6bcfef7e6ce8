//! Merges of ten edits a side in a million keys.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use irmin::merge::{FollowRenames, files_as_git};
use irmin::{Commit, Format, Repo};
use irmin_git::{Durability, Git, Options};
use irmin_pack::{Files, Pack};

use crate::child::{git, measured, output};
use crate::input::{Shape, filled, info, scattered, value};
use crate::measure::{Bar, Bench, milliseconds};

const EDITS: usize = 10;

/// All rows.
pub fn measure(bench: &Bench) -> Result<()> {
    let keys = bench.size(1_000_000, 100_000);
    for (shape, word) in [(Shape::Cube, "cube"), (Shape::Flat, "flat")] {
        let folder = bench.kept(&format!("merge-{word}-{keys}"), |folder| {
            drop(Git::init(folder, Format::GitSha1, true)?);
            let repo = Repo::new(relaxed(folder)?);
            let main = filled(&repo, shape, keys)?;
            let base = main.head()?.context("no commit")?;
            for (n, branch) in ["ours", "theirs"].into_iter().enumerate() {
                repo.branch(branch)?
                    .set_head(&edited(&repo, &base, shape, keys, n)?)?;
            }
            repo.flush()?;
            drop((main, repo));
            // git at its best: one pack.
            output(&mut git(folder, &["gc", "--quiet"])).map(drop)
        })?;
        let scratch = bench.disk()?;
        let what = format!("merge, {EDITS} edits a side, {}", shape.shown(keys));
        let mut theirs = || {
            let command = git(&folder, &["merge-tree", "--write-tree", "ours", "theirs"]);
            Ok(measured(&command)?.milliseconds)
        };
        let pack = Pack::create(Files::open(scratch.path().join("pack"))?, Format::Native)?;
        let repo = Repo::new(pack);
        filled(&repo, shape, keys)?;
        let mut next = 0;
        bench.row(
            &format!("{what}, pack"),
            "ms",
            Bar::RatioAtMost(0.02),
            || merged(&repo, shape, keys, &mut next),
            ("git merge-tree", &mut theirs),
        )?;
        drop(repo);
        let repo = Repo::new(relaxed(&folder)?);
        bench.row(
            &format!("{what}, Git, the same repository"),
            "ms",
            None,
            || {
                let (ours, theirs) = (repo.branch("ours")?.head()?, repo.branch("theirs")?.head()?);
                let (ours, theirs) = (ours.context("no commit")?, theirs.context("no commit")?);
                milliseconds(|| {
                    std::hint::black_box(repo.try_merge(&ours, &theirs, &as_git())?.tree()?);
                    Ok(())
                })
            },
            ("git merge-tree", &mut theirs),
        )?;
        bench.row(
            &format!("{what}, `irmin merge --dry-run`"),
            "ms",
            None,
            || {
                let mut command = Command::new(&bench.irmin);
                command
                    .args(["merge", "--dry-run", "ours", "theirs", "--repo"])
                    .arg(&folder);
                Ok(measured(&command)?.milliseconds)
            },
            ("git merge-tree", &mut theirs),
        )?;
    }
    Ok(())
}

/// The rule that does all that Git does.
fn as_git() -> impl irmin::merge::Rule {
    FollowRenames::new(files_as_git)
}

/// One merge of two commits that were not merged before: looking for the base, merging, and writing
/// the tree, as `git merge-tree --write-tree` does.
fn merged(repo: &Repo, shape: Shape, keys: usize, next: &mut usize) -> Result<f64> {
    let base = repo.branch("main")?.head()?.context("no commit")?;
    let ours = edited(repo, &base, shape, keys, *next)?;
    let theirs = edited(repo, &base, shape, keys, *next + 1)?;
    *next += 2;
    milliseconds(|| {
        std::hint::black_box(repo.try_merge(&ours, &theirs, &as_git())?.tree()?);
        Ok(())
    })
}

/// A commit on `base` with edits that no other `n` has.
fn edited(repo: &Repo, base: &Commit, shape: Shape, keys: usize, n: usize) -> Result<Commit> {
    let mut edit = base.tree().edit();
    for n in n * EDITS..(n + 1) * EDITS {
        // Even numbers and odd ones, so that two that follow each other share no key.
        let key = scattered(n, keys / 2) * 2 + n / EDITS % 2;
        edit.set(shape.key(key), value(keys + n))?;
    }
    Ok(repo.commit_tree(&edit.finish()?, &[base], &info(1 + n))?)
}

fn relaxed(folder: &Path) -> Result<Git> {
    let durability = Durability::Relaxed;
    Ok(Git::open_with(
        folder,
        &Options {
            durability,
            ..Options::default()
        },
    )?)
}
