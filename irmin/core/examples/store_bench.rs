//! What the core costs by itself, on the memory backend: medians, one line each.
//!
//! `cargo run --release -p irmin --features std --example store_bench`

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use irmin::merge::NoRule;
use irmin::{Commit, Format, Info, Memory, Path, Repo, Signature, Tree};

fn main() {
    for format in [Format::GitSha1, Format::GitSha256, Format::Native] {
        let (repo, tree) = filled(format, 10_000, |n| format!("{:02}/{:02}", n / 100, n % 100));
        commits(
            &repo,
            &tree,
            &format!("{format:?}, 100 x 100 keys"),
            10_000,
            |n| format!("{:02}/{:02}", n / 100, n % 100),
        );
    }
    for (shape, name) in [
        (
            "one directory",
            (|n| format!("{n:07}")) as fn(usize) -> String,
        ),
        ("100 x 100 x 100", |n| {
            format!("{:02}/{:02}/{:02}", n / 10_000, n / 100 % 100, n % 100)
        }),
    ] {
        let started = Instant::now();
        let (repo, tree) = filled(Format::Native, 1_000_000, name);
        println!(
            "Native, 10^6 keys, {shape}: made in one edit: {:?}",
            started.elapsed()
        );
        commits(
            &repo,
            &tree,
            &format!("Native, 10^6 keys, {shape}"),
            1_000_000,
            name,
        );
        reads(&tree, shape, name);
        merges(&tree, shape, name);
    }
    ancestors();
    watchers();
}

fn random(seed: &mut u64, limit: usize) -> usize {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize % limit
}

fn filled(format: Format, keys: usize, name: impl Fn(usize) -> String) -> (Repo, Tree) {
    let repo = Repo::with_cache(Memory::new(format), 1 << 30);
    let mut edit = repo.empty_tree().edit();
    for n in 0..keys {
        edit.set(name(n), format!("value {n:030}")).expect("sets");
    }
    let tree = edit.finish().expect("finishes");
    let commit = repo.commit_tree(&tree, &[], &info(0)).expect("commits");
    (repo, commit.tree())
}

fn info(n: usize) -> Info {
    Info::new(
        Signature::new("Ada", "ada@example.org", n as i64, 0),
        "message\n",
    )
}

fn commits(repo: &Repo, tree: &Tree, what: &str, keys: usize, name: impl Fn(usize) -> String) {
    let main = repo.branch("main").expect("a name");
    let start = repo.commit_tree(tree, &[], &info(1)).expect("commits");
    main.set_head(&start).expect("moves");
    let mut seed = 1;
    median(&format!("{what}: one-edit commit"), 20_000, |n| {
        let key = name(random(&mut seed, keys));
        main.change(&info(n), |edit| edit.set(&key, format!("other {n:030}")))
            .expect("commits");
    });
}

fn reads(tree: &Tree, shape: &str, name: impl Fn(usize) -> String) {
    let mut seed = 7;
    let names: Vec<String> = (0..200_000)
        .map(|_| name(random(&mut seed, 1_000_000)))
        .collect();
    let pass = |what| {
        median(
            &format!("Native, 10^6 keys, {shape}: random read, {what}"),
            names.len(),
            |n| {
                black_box(tree.get(&names[n]).expect("reads"));
            },
        )
    };
    pass("cold pages");
    pass("warm");
}

fn merges(tree: &Tree, shape: &str, name: impl Fn(usize) -> String) {
    let mut seed = 9;
    let mut edited = |side: &str| {
        let mut edit = tree.edit();
        for _ in 0..10 {
            edit.set(name(random(&mut seed, 1_000_000)), side.to_string())
                .expect("sets");
        }
        edit.finish().expect("finishes")
    };
    let (ours, theirs) = (edited("ours"), edited("theirs"));
    median(
        &format!("Native, 10^6 keys, {shape}: merge of 10 edits a side"),
        200,
        |_| {
            black_box(
                ours.merge(tree, &theirs, &NoRule)
                    .expect("merges")
                    .tree()
                    .expect("no conflict"),
            );
        },
    );
}

fn ancestors() {
    let repo = Repo::new(Memory::new(Format::GitSha1));
    let empty = repo.empty_tree();
    let grow = |mut tip: Commit, count: usize, start: usize| {
        for n in 0..count {
            tip = repo
                .commit_tree(&empty, &[&tip], &info(start + n))
                .expect("commits");
        }
        tip
    };
    let root = repo.commit_tree(&empty, &[], &info(0)).expect("commits");
    let trunk = grow(root, 334_000, 1);
    let (left, right) = (
        grow(trunk.clone(), 333_000, 1_000_000),
        grow(trunk.clone(), 333_000, 2_000_000),
    );
    let started = Instant::now();
    assert_eq!(repo.lcas(&left, &right).expect("finds"), [trunk.id()]);
    println!(
        "LCA, 10^6 commits, forks of 333,000: first question, reads all commits: {:?}",
        started.elapsed()
    );
    median("LCA, 10^6 commits, forks of 333,000 each", 9, |_| {
        black_box(repo.lcas(&left, &right).expect("finds"));
    });
    let forks: Vec<_> = (0..100)
        .map(|n| {
            (
                grow(left.clone(), 10, 3_000_000 + 100 * n),
                grow(left.clone(), 10, 4_000_000 + 100 * n),
            )
        })
        .collect();
    median(
        "LCA, 10^6 commits, fork 10 behind, commits not seen before",
        100,
        |n| {
            black_box(repo.lcas(&forks[n].0, &forks[n].1).expect("finds"));
        },
    );
    median("LCA, 10^6 commits, fork 10 behind, again", 100, |n| {
        black_box(repo.lcas(&forks[n].0, &forks[n].1).expect("finds"));
    });
}

/// From before a commit to each of 10,000 callbacks that it causes, while one more is stalled.
fn watchers() {
    let repo = Repo::new(Memory::new(Format::Native));
    let main = repo.branch("main").expect("a name");
    let origin = Instant::now();
    let told: Arc<Vec<AtomicU64>> = Arc::new((0..10_000).map(|_| AtomicU64::new(0)).collect());
    let (_release, stalled) = mpsc::channel::<()>();
    let stalled = main
        .watch(Path::default())
        .expect("watches")
        .on_event(move |_| {
            let _ = stalled.recv();
        });
    let callbacks: Vec<_> = (0..10_000)
        .map(|n| {
            let told = told.clone();
            main.watch(Path::default())
                .expect("watches")
                .on_event(move |_| {
                    told[n].store(origin.elapsed().as_nanos() as u64, Ordering::Release);
                })
        })
        .collect();
    let mut times = Vec::new();
    for n in 0..50 {
        told.iter()
            .for_each(|time| time.store(0, Ordering::Release));
        let started = origin.elapsed();
        main.change(&info(n), |edit| edit.set("x", n.to_string()))
            .expect("commits");
        while told.iter().any(|time| time.load(Ordering::Acquire) == 0) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let after = |time: &AtomicU64| Duration::from_nanos(time.load(Ordering::Acquire)) - started;
        times.extend(told.iter().map(after));
    }
    times.sort_unstable();
    println!(
        "10,000 watchers of one branch, one stalled: commit to callback p50 {:?}, p99 {:?}",
        times[250_000], times[495_000]
    );
    drop((callbacks, stalled));
}

fn median(what: &str, rounds: usize, mut run: impl FnMut(usize)) {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|n| {
            let started = Instant::now();
            run(n);
            started.elapsed()
        })
        .collect();
    let total: Duration = times.iter().sum();
    times.sort_unstable();
    let per_second = rounds as f64 / total.as_secs_f64();
    println!("{what}: {:?} ({per_second:.0}/s)", times[rounds / 2]);
}
