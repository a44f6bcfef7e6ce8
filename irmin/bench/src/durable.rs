//! Durable commits of sixteen writers, who share flushes, beside redb's transactions of sixteen.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use irmin::{Format, Repo};
use irmin_pack::{Files, Pack};
use redb::Durability;

use crate::commits::edit;
use crate::input::{Shape, filled};
use crate::measure::{Bar, Bench};
use crate::table::Table;

const WRITERS: usize = 16;

/// All rows.
pub fn measure(bench: &Bench) -> Result<()> {
    let (keys, shape) = (bench.size(1_000_000, 100_000), Shape::Flat);
    let time = Duration::from_millis(bench.size(1500, 400) as u64);
    let folder = bench.disk()?;
    let pack = Pack::create(Files::open(folder.path().join("pack"))?, Format::Native)?;
    let repo = Repo::new(pack);
    let main = filled(&repo, shape, keys)?;
    let head = main.head()?.context("no commit")?;
    let branches = (0..WRITERS)
        .map(|n| {
            let branch = repo.branch(&format!("writer-{n}"))?;
            branch.set_head(&head)?;
            Ok(branch)
        })
        .collect::<Result<Vec<_>>>()?;
    let table = Table::new(&folder.path().join("redb"), shape, keys)?;
    let next = AtomicUsize::new(0);
    let mut ours = || {
        let begun = Instant::now();
        let work = |branch: &irmin::Branch| -> Result<usize> {
            let mut done = 0;
            while begun.elapsed() < time {
                edit(branch, shape, keys, next.fetch_add(1, Ordering::Relaxed))?;
                repo.flush()?;
                done += 1;
            }
            Ok(done)
        };
        let done: Result<Vec<usize>> = std::thread::scope(|scope| {
            let start = |branch| scope.spawn(move || work(branch));
            let threads: Vec<_> = branches.iter().map(start).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Result<usize>>| {
                thread.join().expect("a writer does not panic")
            };
            threads.into_iter().map(join).collect()
        });
        Ok(done?.iter().sum::<usize>() as f64 / begun.elapsed().as_secs_f64())
    };
    let theirs = |put: &mut dyn FnMut(usize) -> Result<()>| {
        let (begun, mut done) = (Instant::now(), 0);
        while begun.elapsed() < time {
            put(next.fetch_add(WRITERS, Ordering::Relaxed))?;
            done += WRITERS;
        }
        Ok(done as f64 / begun.elapsed().as_secs_f64())
    };
    let name = format!(
        "one-edit commits, pack, {}, durable, 16 writers",
        shape.shown(keys)
    );
    bench.row(
        &name,
        "commits/s",
        Bar::RatioAtLeast(0.5),
        &mut ours,
        ("redb, 16 values a transaction", &mut || {
            theirs(&mut |n| table.put(Durability::Immediate, WRITERS, n))
        }),
    )?;
    bench.row(
        &name,
        "commits/s",
        None,
        &mut ours,
        ("redb, the objects of 16 commits", &mut || {
            theirs(&mut |n| table.put_objects(WRITERS, n))
        }),
    )
}
