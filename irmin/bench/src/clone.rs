//! A clone of a whole repository, then its log by path.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::child::{Usage, git, measured, output};
use crate::input::{count, imported, scattered};
use crate::measure::{Bar, Bench, print};

/// Time and memory of both, in the same rounds.
pub fn measure(bench: &Bench) -> Result<()> {
    let source = match &bench.repository {
        Some(path) => path.canonicalize().context("no repository to clone")?,
        None => synthetic(bench)?,
    };
    let paths = paths(&source, bench.size(100, 10))?;
    let commits: usize = output(&mut git(&source, &["rev-list", "--count", "HEAD"]))?
        .trim()
        .parse()?;
    let mut rows: [[Vec<Usage>; 2]; 2] = Default::default();
    // Each round takes long.
    for round in 0..=bench.rounds.min(5) {
        let folder = bench.disk()?;
        let (ours, theirs) = (folder.path().join("ours"), folder.path().join("git"));
        let url = format!("file://{}", source.display());
        let mut clone = Command::new(&bench.irmin);
        clone.args(["clone", "--bare", &url]).arg(&ours);
        let clones = [clone, {
            let mut clone = git(folder.path(), &["clone", "--quiet", "--bare", &url]);
            clone.arg(&theirs);
            clone
        }];
        let logs = [
            |at: &Path, path: &str, irmin: &Path| {
                let mut log = Command::new(irmin);
                log.arg("log").arg("--repo").arg(at).args(["--", path]);
                log
            },
            |at: &Path, path: &str, _: &Path| git(at, &["log", "--", path]),
        ];
        for (side, at) in [&ours, &theirs].into_iter().enumerate() {
            let clone = measured(&clones[side])?;
            let mut log = Usage::default();
            for path in &paths {
                let one = measured(&logs[side](at, path, &bench.irmin))?;
                log.milliseconds += one.milliseconds;
                log.megabytes = log.megabytes.max(one.megabytes);
            }
            // The first round only warms.
            if round > 0 {
                rows[0][side].push(clone);
                rows[1][side].push(log);
            }
        }
    }
    let names = [
        format!("clone of {} commits, Git", count(commits)),
        format!(
            "log by path of {} paths, {} commits, Git",
            paths.len(),
            count(commits)
        ),
    ];
    for (name, [ours, theirs]) in names.iter().zip(&rows) {
        for (what, unit, of) in [
            (
                "time",
                "s",
                (|usage| usage.milliseconds / 1e3) as fn(&Usage) -> f64,
            ),
            ("memory", "MB", |usage| usage.megabytes),
        ] {
            let ours: Vec<f64> = ours.iter().map(of).collect();
            let theirs = theirs.iter().map(of).collect();
            let bar = Some(Bar::RatioAtMost(1.2));
            print(
                &format!("{name}, {what}"),
                unit,
                bar,
                &ours,
                Some(("git", theirs)),
            );
        }
    }
    Ok(())
}

/// Paths all over the last commit.
fn paths(source: &Path, count: usize) -> Result<Vec<String>> {
    let files = output(&mut git(
        source,
        &["ls-tree", "-r", "-z", "--name-only", "HEAD"],
    ))?;
    let files: Vec<&str> = files.split_terminator('\0').collect();
    ensure!(!files.is_empty(), "{} has no files", source.display());
    let mut chosen = BTreeSet::new();
    for n in 0..count * 4 {
        if chosen.len() < count {
            chosen.insert(files[scattered(n, files.len())].to_string());
        }
    }
    Ok(chosen.into_iter().collect())
}

/// A history of edits of lines in texts: a few files change much, most seldom, and now and then a
/// branch is merged.
fn synthetic(bench: &Bench) -> Result<PathBuf> {
    const WORDS: [&str; 16] = [
        "store", "branch", "merge", "watch", "commit", "tree", "page", "name", "value", "reads",
        "writes", "waits", "before", "after", "which", "never",
    ];
    let commits = bench.size(12_000, 2_000);
    let files = bench.size(1_500, 300);
    bench.kept(&format!("clone-{commits}"), |folder| {
        let line = |n: usize| {
            let words: Vec<_> = (0..4 + scattered(n, 6))
                .map(|word| WORDS[scattered(n * 31 + word, WORDS.len())])
                .collect();
            words.join(" ")
        };
        let mut texts: Vec<Vec<String>> = (0..files)
            .map(|file| {
                (0..20 + scattered(file, 200))
                    .map(|n| line(file * 1000 + n))
                    .collect()
            })
            .collect();
        let path = |file: usize| format!("part{:02}/area{}/text{file:04}.txt", file % 30, file % 7);
        imported(folder, |out| {
            let mut seed = 0;
            let mut random = |limit: usize| {
                seed += 1;
                scattered(seed, limit)
            };
            for n in 0..commits {
                let at = 1_429_538_400 + n * 3600;
                let merge = n > 100 && n % 20 == 0;
                let branch = if n % 20 == 19 && n > 100 {
                    "topic"
                } else {
                    "main"
                };
                write!(
                    out,
                    "commit refs/heads/{branch}\ncommitter Ada <ada@example.org> {at} +0000\n"
                )?;
                let message = format!("Edit {n}: {}\n", line(n * 7));
                write!(out, "data {}\n{message}\n", message.len())?;
                if branch == "topic" {
                    writeln!(out, "from refs/heads/main")?;
                }
                if merge {
                    writeln!(out, "merge refs/heads/topic")?;
                }
                let changed: Vec<usize> = match n {
                    0 => (0..files).collect(),
                    _ => (0..1 + random(3))
                        .map(|_| {
                            // The first ones most.
                            let limit = 1 + random(files);
                            random(limit)
                        })
                        .collect(),
                };
                for file in changed {
                    let text = &mut texts[file];
                    if n > 0 {
                        for _ in 0..1 + random(5) {
                            let place = random(text.len());
                            match random(3) {
                                0 => text.insert(place, line(n * 13 + place)),
                                1 if text.len() > 10 => drop(text.remove(place)),
                                _ => text[place] = line(n * 17 + place),
                            }
                        }
                    }
                    let text = text.join("\n") + "\n";
                    write!(
                        out,
                        "M 100644 inline {}\ndata {}\n{text}\n",
                        path(file),
                        text.len()
                    )?;
                }
                writeln!(out)?;
            }
            Ok(())
        })?;
        output(&mut git(
            folder,
            &["symbolic-ref", "HEAD", "refs/heads/main"],
        ))?;
        output(&mut git(folder, &["gc", "--quiet"])).map(drop)
    })
}
