//! Durable commits of sixteen writers, who share flushes, beside redb's transactions of sixteen.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use irmin::{Format, Repo};
use irmin_pack::{Files, Pack};
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use crate::commits::edit;
use crate::input::{Shape, filled, scattered, value};
use crate::measure::{Bar, Bench};

const VALUES: TableDefinition<&str, &[u8]> = TableDefinition::new("values");
const OBJECTS: TableDefinition<u64, &[u8]> = TableDefinition::new("objects");
const WRITERS: usize = 16;
/// What a commit of one edit writes in a native tree of 10^6 keys: three pages and the commit.
const COMMIT: [usize; 4] = [2000, 2000, 1000, 250];

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

/// The peer: keys and values in a redb database.
pub struct Table {
    database: Database,
    shape: Shape,
    keys: usize,
}

impl Table {
    /// Makes it with the values that the store has.
    pub fn new(at: &Path, shape: Shape, keys: usize) -> Result<Table> {
        let database = Database::create(at)?;
        let write = database.begin_write()?;
        {
            let mut table = write.open_table(VALUES)?;
            for n in 0..keys {
                table.insert(&*shape.key(n), value(n).as_bytes())?;
            }
        }
        write.commit()?;
        Ok(Table {
            database,
            shape,
            keys,
        })
    }

    /// Changes so many values in one transaction.
    pub fn put(&self, durability: Durability, grouped: usize, n: usize) -> Result<()> {
        let mut write = self.database.begin_write()?;
        write.set_durability(durability)?;
        {
            let mut table = write.open_table(VALUES)?;
            for n in n..n + grouped {
                let key = self.shape.key(scattered(n, self.keys));
                table.insert(&*key, value(self.keys + n).as_bytes())?;
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Writes what so many commits write, durable.
    fn put_objects(&self, grouped: usize, n: usize) -> Result<()> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(OBJECTS)?;
            for n in n * 4..(n + grouped) * 4 {
                // Ids are hashes: they come in no order.
                let id = scattered(n, usize::MAX) as u64;
                table.insert(id, &*vec![n as u8; COMMIT[n % 4]])?;
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Reads these keys.
    pub fn read(&self, keys: &[String]) -> Result<()> {
        let read = self.database.begin_read()?;
        let table = read.open_table(VALUES)?;
        for key in keys {
            let found = table.get(&**key)?.context("a key is lost")?;
            std::hint::black_box(found.value().to_vec());
        }
        Ok(())
    }
}
