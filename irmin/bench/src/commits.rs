//! Commits of one edit, one after the other.

use anyhow::Result;
use irmin::{Branch, Format, Repo};
use irmin_git::{Durability, Git, Options};
use irmin_pack::{Files, Pack};

use crate::input::{Shape, filled, info, scattered, value};
use crate::libgit2::Libgit2;
use crate::measure::{Bar, Bench, rate};
use crate::table::Table;

/// The Git backend beside libgit2, in memory and on the disk, with and without syncing.
pub fn git(bench: &Bench) -> Result<()> {
    const KEYS: usize = 10_000;
    for durable in [false, true] {
        for (place, folder) in [("tmpfs", bench.memory()?), ("disk", bench.disk()?)] {
            let commits = match (durable, place) {
                (true, "disk") => bench.size(100, 20),
                _ => bench.size(1000, 200),
            };
            let at = folder.path().join("ours");
            drop(Git::init(&at, Format::GitSha1, true)?);
            let durability = if durable {
                Durability::Ordered
            } else {
                Durability::Relaxed
            };
            let options = Options {
                durability,
                ..Options::default()
            };
            let repo = Repo::new(Git::open_with(&at, &options)?);
            let main = filled(&repo, Shape::Square, KEYS)?;
            let mut theirs = Libgit2::new(&folder.path().join("libgit2"), durable, KEYS)?;
            let (mut ours_done, mut theirs_done) = (0, 0);
            let how = if durable { "each durable" } else { "no sync" };
            bench.row(
                &format!(
                    "one-edit commits, Git, {}, {place}, {how}",
                    Shape::Square.shown(KEYS)
                ),
                "commits/s",
                Bar::RatioAtLeast(5.0),
                || {
                    rate(commits, |_| {
                        ours_done += 1;
                        edit(&main, Shape::Square, KEYS, ours_done)?;
                        if durable {
                            repo.flush()?;
                        }
                        Ok(())
                    })
                },
                ("libgit2, loose", &mut || {
                    rate(commits, |_| {
                        theirs_done += 1;
                        theirs.commit(theirs_done)
                    })
                }),
            )?;
        }
    }
    Ok(())
}

/// The pack backend with a million keys, nothing flushed.
pub fn pack(bench: &Bench) -> Result<()> {
    let keys = bench.size(1_000_000, 100_000);
    let commits = bench.size(20_000, 5_000);
    for shape in [Shape::Flat, Shape::Cube] {
        let folder = bench.disk()?;
        let pack = Pack::create(Files::open(folder.path().join("pack"))?, Format::Native)?;
        let repo = Repo::new(pack);
        let main = filled(&repo, shape, keys)?;
        let table = Table::new(&folder.path().join("redb"), shape, keys)?;
        let (mut ours_done, mut theirs_done) = (0, 0);
        bench.row(
            &format!("one-edit commits, pack, {}, no sync", shape.shown(keys)),
            "commits/s",
            Bar::AtLeast(30_000.0),
            || {
                rate(commits, |_| {
                    ours_done += 1;
                    edit(&main, shape, keys, ours_done)
                })
            },
            ("redb, a value each", &mut || {
                rate(commits, |_| {
                    theirs_done += 1;
                    table.put(redb::Durability::None, 1, theirs_done)
                })
            }),
        )?;
    }
    Ok(())
}

/// Commit `n` of one edit.
pub fn edit(branch: &Branch, shape: Shape, keys: usize, n: usize) -> Result<()> {
    let key = shape.key(scattered(n, keys));
    branch.change(&info(n), |edit| edit.set(&key, value(keys + n)))?;
    Ok(())
}
