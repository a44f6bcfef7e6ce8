//! Measures the engine against redb, turn by turn in one run, and prints medians.
//!
//! `cargo run --release -p irmin-pack --example pack_bench [-- KEYS [trees]]`; with `trees` only whole
//! commits through `Repo`.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use irmin::{Backend, Expect, Format, Id, Info, Kind, Object, RefEdit, RefName, Repo, Signature};
use irmin_pack::{Files, Pack};
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

const OBJECTS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("objects");
const NAMES: TableDefinition<&str, &[u8]> = TableDefinition::new("names");
const ROUNDS: usize = 5;
const WRITERS: u64 = 16;
/// A one-edit commit in a native tree of 10^6 keys: three pages and the commit.
const COMMIT: [usize; 4] = [2000, 2000, 1000, 250];

fn main() {
    let keys: u64 = std::env::args()
        .nth(1)
        .map_or(1_000_000, |keys| keys.parse().expect("a number of keys"));
    let directory = tempfile::tempdir_in(".").expect("a directory here");
    if std::env::args().nth(2).as_deref() == Some("trees") {
        return trees(directory.path(), keys);
    }
    let pack = Pack::create(
        Files::open(directory.path().join("pack")).expect("opens"),
        Format::Native,
    )
    .expect("creates");
    let redb = Database::create(directory.path().join("redb")).expect("creates");

    let mut table = Rows::default();
    let begun = Instant::now();
    for from in (0..keys).step_by(1000) {
        let batch: Vec<Object> = (from..keys.min(from + 1000))
            .map(|n| object(n, 100))
            .collect();
        pack.write(&batch).expect("writes");
    }
    let ours = rate(keys, begun);
    let begun = Instant::now();
    for from in (0..keys).step_by(1000) {
        let mut batch = redb.begin_write().expect("begins");
        batch.set_durability(Durability::None).expect("sets");
        {
            let mut objects = batch.open_table(OBJECTS).expect("opens");
            for n in from..keys.min(from + 1000) {
                let object = object(n, 100);
                objects
                    .insert(object.id.as_bytes(), &object.data[..])
                    .expect("inserts");
            }
        }
        batch.commit().expect("commits");
    }
    table.add(
        "objects of 100 bytes written/s, batches of 1000",
        ours,
        rate(keys, begun),
    );
    pack.flush().expect("flushes");
    redb.begin_write()
        .expect("begins")
        .commit()
        .expect("commits");

    for round in 0..ROUNDS as u64 {
        table.add(
            "random reads/s, warm",
            read_ours(&pack, keys, round),
            read_redb(&redb, keys, round),
        );
        let next = AtomicU64::new(keys * 10 + round * 1_000_000);
        table.add(
            "commits/s, one writer, no flush",
            commits(1, Duration::from_millis(1000), |_| {
                commit_ours(&pack, &next, false)
            }),
            commits(1, Duration::from_millis(1000), |_| {
                commit_redb(&redb, &next, Durability::None, 1)
            }),
        );
        table.add(
            "moves of one name/s, no flush",
            moves(&pack),
            commits(1, Duration::from_millis(500), |_| {
                move_redb(&redb, Durability::None)
            }),
        );
        table.add(
            "durable commits/s, 16 writers (redb: 16 a transaction)",
            commits(WRITERS, Duration::from_millis(1500), |_| {
                commit_ours(&pack, &next, true)
            }),
            WRITERS as f64
                * commits(1, Duration::from_millis(1500), |_| {
                    commit_redb(&redb, &next, Durability::Immediate, WRITERS)
                }),
        );
        table.add(
            "durable commits/s, one writer",
            commits(1, Duration::from_millis(1000), |_| {
                commit_ours(&pack, &next, true)
            }),
            commits(1, Duration::from_millis(1000), |_| {
                commit_redb(&redb, &next, Durability::Immediate, 1)
            }),
        );
    }
    table.print();
    let objects = pack.len();
    drop(pack);
    let begun = Instant::now();
    let pack =
        Pack::open(Files::open(directory.path().join("pack")).expect("opens")).expect("opens");
    println!(
        "opening {objects} objects, {} MB: {:.0} ms",
        size(&directory.path().join("pack")) / 1_000_000,
        begun.elapsed().as_secs_f64() * 1000.0
    );
    let begun = Instant::now();
    let collected = pack.collect(&mut |_, _| Ok(())).expect("collects");
    println!(
        "collecting: {} objects, {} segments, {:.0} ms; {} MB left (redb {} MB)",
        collected.objects,
        collected.segments,
        begun.elapsed().as_secs_f64() * 1000.0,
        size(&directory.path().join("pack")) / 1_000_000,
        size(directory.path()) / 1_000_000,
    );
    drop(pack);
    trees(directory.path(), keys);
}

/// Whole commits of one edit through `Repo`, into native trees of so many keys: one directory, and
/// three levels of a hundred or so names each.
fn trees(directory: &Path, keys: u64) {
    let wide = (keys as f64).cbrt().ceil() as u64;
    tree(&directory.join("flat"), keys, "one directory", |n| {
        format!("key/{n:08}")
    });
    tree(&directory.join("deep"), keys, "three levels", |n| {
        format!("{}/{}/{}", n / wide / wide, n / wide % wide, n % wide)
    });
}

fn tree(at: &Path, keys: u64, layout: &str, path: impl Fn(u64) -> String + Sync) {
    let pack = Pack::create(Files::open(at).expect("opens"), Format::Native).expect("creates");
    let repo = Repo::new(pack);
    let main = repo.branch("main").expect("a name");
    let info = Info::new(
        Signature::new("Ada", "ada@example.org", 1_429_538_400, 0),
        "Edit",
    );
    let key = |n: u64| path(n.wrapping_mul(0xd134_2543_de82_ef95) % keys);
    let begun = Instant::now();
    main.change(&info, |tree| {
        (0..keys).try_for_each(|n| tree.set(path(n), n.to_string()))
    })
    .expect("commits");
    println!(
        "a tree of {keys} keys, {layout}: {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let edit = |n: u64| {
        main.change(&info, |tree| tree.set(key(n), format!("edit {n}")))
            .expect("commits");
    };
    let mut rates: Vec<f64> = (0..ROUNDS as u64)
        .map(|round| commits(1, Duration::from_millis(1500), |n| edit(round << 32 | n)))
        .collect();
    println!(
        "one-edit commits/s into it, no flush: {:.0}",
        median(&mut rates)
    );
    let head = main.tree().expect("reads");
    let mut rates: Vec<f64> = (0..ROUNDS as u64)
        .map(|round| {
            let begun = Instant::now();
            for n in 0..200_000 {
                let path = key(n + (round << 32));
                assert!(head.get(path).expect("reads").is_some());
            }
            rate(200_000, begun)
        })
        .collect();
    println!("random reads/s in it: {:.0}", median(&mut rates));
}

/// Object `n`: bytes that differ, and an id that costs no hashing, which is the tree's business.
fn object(n: u64, len: usize) -> Object {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut id = [0; 32];
    for eight in id.chunks_mut(8) {
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        eight.copy_from_slice(&(state ^ (state >> 31)).to_le_bytes());
    }
    Object {
        id: Id::from_bytes(&id).expect("32 bytes"),
        kind: Kind::Blob,
        data: vec![n as u8; len].into(),
    }
}

fn name() -> RefName {
    RefName::branch("main").expect("a name")
}

fn read_ours(pack: &Pack<Files>, keys: u64, round: u64) -> f64 {
    let begun = Instant::now();
    for n in 0..200_000 {
        let id = object(pick(n, round, keys), 0).id;
        assert!(pack.read(&id).expect("reads").is_some());
    }
    rate(200_000, begun)
}

fn read_redb(redb: &Database, keys: u64, round: u64) -> f64 {
    let begun = Instant::now();
    let read = redb.begin_read().expect("begins");
    let objects = read.open_table(OBJECTS).expect("opens");
    for n in 0..200_000 {
        let id = object(pick(n, round, keys), 0).id;
        let found = objects
            .get(id.as_bytes())
            .expect("reads")
            .expect("is there");
        std::hint::black_box(found.value().to_vec());
    }
    rate(200_000, begun)
}

fn pick(n: u64, round: u64, keys: u64) -> u64 {
    (n + round * 7_777_777).wrapping_mul(0xd134_2543_de82_ef95) % keys
}

fn commit_ours(pack: &Pack<Files>, next: &AtomicU64, durable: bool) {
    let objects = COMMIT.map(|len| object(next.fetch_add(1, Ordering::Relaxed), len));
    pack.write(&objects).expect("writes");
    let edit = RefEdit {
        name: name(),
        expect: Expect::Any,
        new: Some(objects[3].id),
    };
    pack.update(&[edit]).expect("updates");
    if durable {
        pack.flush().expect("flushes");
    }
}

fn commit_redb(redb: &Database, next: &AtomicU64, durability: Durability, grouped: u64) {
    let mut write = redb.begin_write().expect("begins");
    write.set_durability(durability).expect("sets");
    {
        let mut table = write.open_table(OBJECTS).expect("opens");
        let mut names = write.open_table(NAMES).expect("opens");
        for _ in 0..grouped {
            let objects = COMMIT.map(|len| object(next.fetch_add(1, Ordering::Relaxed), len));
            for object in &objects {
                table
                    .insert(object.id.as_bytes(), &object.data[..])
                    .expect("inserts");
            }
            names
                .insert("refs/heads/main", objects[3].id.as_bytes())
                .expect("inserts");
        }
    }
    write.commit().expect("commits");
}

fn moves(pack: &Pack<Files>) -> f64 {
    let ids = [object(1, 0).id, object(2, 0).id];
    commits(1, Duration::from_millis(500), |n| {
        let edit = RefEdit {
            name: name(),
            expect: Expect::Any,
            new: Some(ids[n as usize % 2]),
        };
        pack.update(&[edit]).expect("updates");
    })
}

fn move_redb(redb: &Database, durability: Durability) {
    let mut write = redb.begin_write().expect("begins");
    write.set_durability(durability).expect("sets");
    write
        .open_table(NAMES)
        .expect("opens")
        .insert("refs/heads/main", &[0; 32][..])
        .expect("inserts");
    write.commit().expect("commits");
}

/// How often `writers` threads do something, together, a second.
fn commits(writers: u64, time: Duration, work: impl Fn(u64) + Sync) -> f64 {
    let begun = Instant::now();
    let done: u64 = std::thread::scope(|threads| {
        let work = &work;
        let threads: Vec<_> = (0..writers)
            .map(|_| {
                threads.spawn(move || {
                    let mut done = 0;
                    while begun.elapsed() < time {
                        work(done);
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("works"))
            .sum()
    });
    rate(done, begun)
}

fn rate(done: u64, begun: Instant) -> f64 {
    done as f64 / begun.elapsed().as_secs_f64()
}

fn size(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).expect("lists");
    entries
        .map(|entry| entry.expect("lists").metadata().expect("is there").len())
        .sum()
}

/// What was measured, in the order of first mention.
#[derive(Default)]
struct Rows(Vec<(&'static str, Vec<f64>, Vec<f64>)>);

impl Rows {
    fn add(&mut self, what: &'static str, ours: f64, redb: f64) {
        match self.0.iter_mut().find(|row| row.0 == what) {
            Some(row) => {
                row.1.push(ours);
                row.2.push(redb);
            }
            None => self.0.push((what, vec![ours], vec![redb])),
        }
    }

    fn print(&mut self) {
        println!(
            "{:58} {:>10} {:>10} {:>7}",
            "", "irmin-pack", "redb", "ratio"
        );
        for (what, ours, redb) in &mut self.0 {
            let (ours, redb) = (median(ours), median(redb));
            println!("{what:58} {ours:10.0} {redb:10.0} {:6.2}x", ours / redb);
        }
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
