//! Lowest common ancestors in a million commits, in the very repository that git sees, in memory
//! and in a pack.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use irmin::{Commit, Format, Memory, Repo};
use irmin_git::Git;
use irmin_pack::{Files, Pack};

use crate::child::{git, measured, output};
use crate::input::{count, imported, info};
use crate::measure::{Bar, Bench, milliseconds};

/// Pairs of branches whose fork is ten commits behind.
const PAIRS: usize = 160;
const BEHIND: usize = 10;

/// All rows.
pub fn measure(bench: &Bench) -> Result<()> {
    let side = bench.size(333_000, 33_300);
    let commits = bench.size(1_000_000, 100_000);
    let trunk = commits - 2 * side;
    let folder = bench.kept(&format!("lca-{commits}"), |folder| {
        imported(folder, |out| {
            let mut grow = |branch: &str, from: &str, count: usize, time: usize| {
                for n in 0..count {
                    let at = 1_429_538_400 + time + n;
                    write!(
                        out,
                        "commit refs/heads/{branch}\ncommitter Ada <ada@example.org> {at} +0000\n"
                    )?;
                    write!(out, "data {}\n{branch}\n", branch.len() + 1)?;
                    if n == 0 && !from.is_empty() {
                        writeln!(out, "from refs/heads/{from}")?;
                    }
                    writeln!(out)?;
                }
                std::io::Result::Ok(())
            };
            grow("trunk", "", trunk, 0)?;
            grow("left", "trunk", side, trunk)?;
            grow("right", "trunk", side, trunk)?;
            for n in 0..PAIRS {
                grow(&format!("a{n}"), "left", BEHIND, commits + n * 100)?;
                grow(&format!("b{n}"), "left", BEHIND, commits + n * 100 + 50)?;
            }
            Ok(())
        })?;
        output(&mut git(folder, &["commit-graph", "write", "--reachable"])).map(drop)
    })?;
    let forks = format!("LCA, {} commits, forks of {side} each", count(commits));
    let theirs = || Ok(measured(&git(&folder, &["merge-base", "left", "right"]))?.milliseconds);
    bench.row(
        &format!("{forks}, `irmin lcas`"),
        "ms",
        Bar::RatioAtMost(0.2),
        || {
            let mut command = Command::new(&bench.irmin);
            command
                .args(["lcas", "left", "right", "--repo"])
                .arg(&folder);
            Ok(measured(&command)?.milliseconds)
        },
        ("git merge-base", &mut { theirs }),
    )?;
    let near = format!("LCA, {} commits, fork {BEHIND} behind", count(commits));
    bench.row(
        &format!("{near}, `irmin lcas`"),
        "ms",
        None,
        || {
            let mut command = Command::new(&bench.irmin);
            command.args(["lcas", "a0", "b0", "--repo"]).arg(&folder);
            Ok(measured(&command)?.milliseconds)
        },
        ("git merge-base", &mut || {
            Ok(measured(&git(&folder, &["merge-base", "a0", "b0"]))?.milliseconds)
        }),
    )?;
    bench.row(
        &format!("{forks}, Git, opened for it"),
        "ms",
        Bar::RatioAtMost(0.2),
        || milliseconds(|| far(&Repo::new(Git::open(&folder)?))),
        ("git merge-base", &mut { theirs }),
    )?;
    let open = || Ok(Repo::new(Git::open(&folder)?));
    in_process(bench, "Git", &forks, &near, &open, &folder)?;
    let memory = grown(Repo::new(Memory::new(Format::GitSha1)), trunk, side)?;
    in_process(
        bench,
        "memory",
        &forks,
        &near,
        &|| Ok(memory.clone()),
        &folder,
    )?;
    drop(memory);
    let scratch = bench.disk()?;
    let at = scratch.path().join("pack");
    drop(grown(
        Repo::new(Pack::create(Files::open(&at)?, Format::Native)?),
        trunk,
        side,
    )?);
    let open = || -> Result<Repo> { Ok(Repo::new(Pack::open(Files::open(&at)?)?)) };
    bench.row(
        &format!("{forks}, pack, the first question"),
        "ms",
        Bar::RatioAtMost(0.2),
        || {
            let repo = open()?;
            milliseconds(|| far(&repo))
        },
        ("git merge-base", &mut { theirs }),
    )?;
    let pack = open()?;
    in_process(bench, "pack", &forks, &near, &|| Ok(pack.clone()), &folder)
}

/// The questions in this process, after one that brought what an open store keeps.
fn in_process(
    bench: &Bench,
    backend: &str,
    forks: &str,
    near: &str,
    open: &dyn Fn() -> Result<Repo>,
    folder: &Path,
) -> Result<()> {
    let repo = open()?;
    far(&repo)?;
    bench.row(
        &format!("{forks}, {backend}, open"),
        "ms",
        Bar::RatioAtMost(0.2),
        || milliseconds(|| far(&repo)),
        ("git merge-base", &mut || {
            Ok(measured(&git(folder, &["merge-base", "left", "right"]))?.milliseconds)
        }),
    )?;
    let mut next = 0;
    let each = PAIRS / (bench.rounds + 1);
    bench.alone(
        &format!("{near}, {backend}, commits not asked about before"),
        "ms",
        Bar::AtMost(0.05),
        || {
            let first = next % (PAIRS - each + 1);
            next = first + each;
            let pairs = (first..next)
                .map(|n| {
                    Ok((
                        head(&repo, &format!("a{n}"))?,
                        head(&repo, &format!("b{n}"))?,
                    ))
                })
                .collect::<Result<Vec<_>>>()?;
            let all = milliseconds(|| {
                for (a, b) in &pairs {
                    std::hint::black_box(repo.lcas(a, b)?);
                }
                Ok(())
            })?;
            Ok(all / each as f64)
        },
    )
}

fn far(repo: &Repo) -> Result<()> {
    let found = repo.lcas(&head(repo, "left")?, &head(repo, "right")?)?;
    ensure!(found.len() == 1, "{} common ancestors", found.len());
    Ok(())
}

fn head(repo: &Repo, branch: &str) -> Result<Commit> {
    repo.branch(branch)?.head()?.context("no commit")
}

/// The same history in another store.
fn grown(repo: Repo, trunk: usize, side: usize) -> Result<Repo> {
    let empty = repo.empty_tree();
    let grow = |branch: &str, from: Option<Commit>, count: usize, time: usize| -> Result<Commit> {
        let mut tip = from;
        for n in 0..count {
            let parents: Vec<&Commit> = tip.iter().collect();
            let mut info = info(time + n);
            info.message = format!("{branch}\n");
            let commit = repo.commit_tree(&empty, &parents, &info)?;
            tip = Some(commit);
        }
        let tip = tip.context("no commit")?;
        repo.branch(branch)?.set_head(&tip)?;
        Ok(tip)
    };
    let tip = grow("trunk", None, trunk, 0)?;
    let left = grow("left", Some(tip.clone()), side, trunk)?;
    grow("right", Some(tip), side, trunk)?;
    for n in 0..PAIRS {
        let time = trunk + 2 * side + n * 100;
        grow(&format!("a{n}"), Some(left.clone()), BEHIND, time)?;
        grow(&format!("b{n}"), Some(left.clone()), BEHIND, time + 50)?;
    }
    Ok(repo)
}
