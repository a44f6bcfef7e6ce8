//! Power cuts at any moment, of a disk that tears, reorders and fails.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use irmin::{Branch, Info, Repo, Signature};
use irmin_behind::{Behind, Driver, OpenError, Options};
use mirage_device::{Sleep as _, Spawn as _, Task as _};
use mirage_runtime::{Block, Runtime, Spawner, Timer};
use mirage_sim::{Medium, Sim, World, explore};

const KEYS: u64 = 7;

/// What was tried, and what of it was acknowledged as durable: the number of the last change.
#[derive(Default)]
struct Known {
    tried: Cell<u64>,
    durable: Cell<u64>,
    lives: Cell<u64>,
}

/// Numbers that depend on the seed and what they are for.
fn dice(seed: u64, what: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what.wrapping_mul(0xd134_2543_de82_ef95);
    x ^= x >> 32;
    x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ x >> 32
}

fn value(n: u64) -> String {
    format!("{n} {}", "x".repeat((dice(0, n) % 3000) as usize))
}

fn number(text: &[u8]) -> u64 {
    let digits = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

/// The store is what it was after some change, and no earlier one than the last that was durable.
fn check(main: &Branch, known: &Known) -> u64 {
    let tree = main.tree().unwrap();
    let count = tree.get("count").unwrap().map_or(0, |text| number(&text));
    let range = known.durable.get()..=known.tried.get();
    assert!(range.contains(&count), "{count} is not in {range:?}");
    for key in 0..KEYS {
        let last = (1..=count).rev().find(|n| n % KEYS == key);
        let found = tree.get(format!("keys/{key}")).unwrap();
        let found = found.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
        assert_eq!(found, last.map(value), "key {key} after {count} changes");
    }
    count
}

async fn open(runtime: &Runtime<Sim>) -> (Behind, Driver<Block<Sim>>) {
    loop {
        let block = Block::new(runtime.clone(), "disk").unwrap();
        match Behind::open(block, &Options::default()).await {
            Ok(opened) => return opened,
            // The disk failed; it may not the next time.
            Err(OpenError::Read { .. }) => {}
            Err(OpenError::Store(irmin::BackendError::Io { .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn live(runtime: Runtime<Sim>, known: Rc<Known>, seed: u64) {
    let timer = Timer::new(runtime.clone());
    let (store, mut driver) = open(&runtime).await;
    let pause = timer.clone();
    let drive = async move {
        loop {
            driver.run().await;
            pause.sleep(Duration::from_micros(50)).await;
        }
    };
    Spawner::new(runtime.clone()).spawn(drive).detach();
    let store = Arc::new(store);
    let main = Repo::new(store.clone()).branch("main").unwrap();
    let mut count = check(&main, &known);
    let report = store.check().unwrap();
    assert!(report.is_sound(), "{report}");
    let who = Signature::new("Ada", "ada@example.org", 1, 0);
    let life = known.lives.replace(known.lives.get() + 1);
    for step in 0.. {
        let roll = dice(seed ^ life << 32, step);
        if roll.is_multiple_of(23) {
            store.collect().unwrap();
        }
        count += 1;
        known.tried.set(known.tried.get().max(count));
        let changed = main.change(&Info::new(who.clone(), "Change"), |edit| {
            edit.set("count", count.to_string())?;
            edit.set(format!("keys/{}", count % KEYS), value(count))
        });
        match changed {
            Ok(_) => {}
            // History fills the disk in the end.
            Err(error) if error.to_string().contains("full") => return,
            Err(error) => panic!("{error}"),
        }
        match roll >> 8 & 3 {
            0 if store.durable().await.is_ok() => {
                known.durable.set(known.durable.get().max(count));
            }
            1 => timer.sleep(Duration::from_micros(roll >> 16 & 0xff)).await,
            _ => {}
        }
    }
}

fn scenario(world: &World, errors: f64) {
    let disk = world.disk("disk", 4 << 20);
    let disk = match world.seed() % 2 {
        0 => disk,
        _ => disk.sector(4096),
    };
    disk.set_medium(Medium {
        errors,
        ..Medium::default()
    });
    let known = Rc::new(Known::default());
    let (seed, shared) = (world.seed(), known.clone());
    let machine = world.machine("store").disk("disk", &disk);
    let machine = machine.start(move |runtime| live(runtime, shared.clone(), seed));
    for cut in 0..6 {
        world.run_for(Duration::from_micros(dice(seed, 1000 + cut) % 20_000));
        machine.cut();
        machine.restart();
    }
    disk.set_medium(Medium::default());
    world.run_for(Duration::from_millis(20));
    assert!(known.durable.get() > 0, "something became durable");
}

#[test]
fn a_power_cut_leaves_a_state_that_was_and_loses_nothing_durable() {
    explore(0..30, |world| scenario(world, 0.0));
}

#[test]
fn so_does_one_of_a_disk_that_fails_now_and_then() {
    explore(1000..1020, |world| scenario(world, 0.02));
}
