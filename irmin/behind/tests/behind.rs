//! The store behind which a simulated disk follows.

use std::time::Duration;

use irmin::{Backend, BackendError, Branch, Format, Info, Repo, Signature, conformance};
use irmin_behind::{Behind, Driver, LEAST_SIZE, OpenError, Options};
use mirage_runtime::{Block, Runtime};
use mirage_sim::{Disk, Medium, Sim, World};
use std::sync::Arc;

const SIZE: u64 = 4 << 20;

/// A machine with the disk.
fn machine(world: &World, name: &str, disk: &Disk) -> Runtime<Sim> {
    world.machine(name).disk("disk", disk).runtime().1
}

type Opened = Result<(Behind, Driver<Block<Sim>>), OpenError>;

fn open(runtime: &Runtime<Sim>, options: &Options) -> Opened {
    let block = Block::new(runtime.clone(), "disk").unwrap();
    runtime.block_on(Behind::open(block, options))
}

fn info() -> Info {
    Info::new(Signature::new("Ada", "ada@example.org", 1, 0), "Change")
}

fn main_branch(store: &Arc<Behind>) -> Branch {
    Repo::new(store.clone()).branch("main").unwrap()
}

#[test]
fn it_keeps_the_contract_of_a_backend() {
    for format in [Format::GitSha1, Format::GitSha256, Format::Native] {
        let mut n = 0;
        let world = World::new(1);
        // Nobody persists anything here: a driver that is dropped changes nothing in memory.
        conformance::check(&mut || {
            n += 1;
            let disk = world.disk(&format!("disk{n}"), 64 << 20);
            let runtime = machine(&world, &format!("m{n}"), &disk);
            let options = Options {
                format,
                backlog: usize::MAX,
                ..Options::default()
            };
            open(&runtime, &options).unwrap().0
        });
    }
}

#[test]
fn a_store_that_was_persisted_is_the_same_when_it_is_opened_again() {
    let world = World::new(2);
    let disk = world.disk("disk", 64 << 20);
    let (machine, runtime) = world.machine("first").disk("disk", &disk).runtime();
    let options = Options {
        backlog: usize::MAX,
        ..Options::default()
    };
    let (store, driver) = open(&runtime, &options).unwrap();
    let mut running = Some((machine, runtime, driver));
    let mut n = 0;
    conformance::check_reopened(store, &mut |store| {
        if let Some((machine, runtime, mut driver)) = running.take() {
            runtime.block_on(driver.catch_up()).unwrap();
            drop(store);
            machine.stop();
        }
        n += 1;
        let machine = world.machine(&format!("again{n}"));
        let (machine, runtime) = machine.disk("disk", &disk).runtime();
        let (store, driver) = open(&runtime, &options).unwrap();
        running = Some((machine, runtime, driver));
        store
    });
}

#[test]
fn the_index_of_commits_is_persisted_too() {
    let world = World::new(3);
    let disk = world.disk("disk", SIZE);
    let (machine, runtime) = world.machine("first").disk("disk", &disk).runtime();
    let (store, mut driver) = open(&runtime, &Options::default()).unwrap();
    let store = Arc::new(store);
    let main = main_branch(&store);
    let change = |n: u32| {
        let changed = main.change(&info(), |edit| edit.set("n", n.to_string()));
        runtime.block_on(driver.catch_up()).unwrap();
        changed.unwrap()
    };
    let last = (0..450).map(change).last().unwrap();
    machine.stop();
    let (_, runtime) = world.machine("again").disk("disk", &disk).runtime();
    let (store, _driver) = open(&runtime, &Options::default()).unwrap();
    let store = Arc::new(store);
    let index = store.commit_index().unwrap().expect("it was persisted");
    assert!((400..=450).contains(&index.len()), "{}", index.len());
    let head = main_branch(&store).head().unwrap().unwrap();
    assert_eq!(head.id(), last.id());
    assert_eq!(head.log().count(), 450);
}

#[test]
fn durable_waits_for_the_device_and_flush_does_not() {
    let world = World::new(3);
    let disk = world.disk("disk", SIZE);
    let runtime = machine(&world, "m", &disk);
    let (store, mut driver) = open(&runtime, &Options::default()).unwrap();
    let store = Arc::new(store);
    main_branch(&store)
        .change(&info(), |edit| edit.set("a", "1"))
        .unwrap();
    store.flush().unwrap();
    assert!(store.backlog() > 0, "it waits to be persisted");
    let now = std::pin::pin!(store.durable());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(now.poll(&mut context).is_pending());
    runtime.block_on(driver.catch_up()).unwrap();
    assert_eq!((store.backlog(), disk.unflushed()), (0, 0));
    runtime.block_on(store.durable()).unwrap();
}

#[test]
fn what_waits_is_bounded_and_room_comes_back() {
    let world = World::new(4);
    let disk = world.disk("disk", 16 << 20);
    let runtime = machine(&world, "m", &disk);
    let options = Options {
        backlog: 256 << 10,
        ..Options::default()
    };
    let (store, mut driver) = open(&runtime, &options).unwrap();
    let store = Arc::new(store);
    let main = main_branch(&store);
    let value = |n: u8| vec![n; 40 << 10];
    let refused = (0..100).find(|n| {
        let set = main.change(&info(), |edit| edit.set("big", value(*n)));
        set.is_err_and(|error| error.to_string().contains("wait for room"))
    });
    assert!(
        (3..8).contains(&refused.expect("a bound")),
        "refused at {refused:?}"
    );
    runtime.block_on(driver.catch_up()).unwrap();
    runtime.block_on(store.room()).unwrap();
    main.change(&info(), |edit| edit.set("big", value(200)))
        .unwrap();
}

#[test]
fn who_waits_is_told_when_nobody_drives() {
    let world = World::new(5);
    let disk = world.disk("disk", SIZE);
    let runtime = machine(&world, "m", &disk);
    let (store, driver) = open(&runtime, &Options::default()).unwrap();
    let store = Arc::new(store);
    drop(driver);
    main_branch(&store)
        .change(&info(), |edit| edit.set("a", "1"))
        .unwrap();
    let error = runtime.block_on(store.durable()).unwrap_err();
    assert!(error.to_string().contains("driver"), "{error}");
}

#[test]
fn a_driver_may_be_dropped_while_it_waits_and_not_while_it_writes() {
    let world = World::new(12);
    let disk = world.disk("disk", SIZE);
    let runtime = machine(&world, "m", &disk);
    let (store, mut driver) = open(&runtime, &Options::default()).unwrap();
    let store = Arc::new(store);
    let change = |value: &'static str| {
        main_branch(&store)
            .change(&info(), |edit| edit.set("a", value))
            .unwrap();
    };
    let begin = |driver: &mut Driver<_>| {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::pin!(driver.run()).poll(&mut context).is_pending());
    };
    begin(&mut driver);
    change("1");
    runtime.block_on(driver.catch_up()).unwrap();
    change("2");
    begin(&mut driver);
    let error = runtime.block_on(driver.catch_up()).unwrap_err();
    assert!(
        error.to_string().contains("open the store again"),
        "{error}"
    );
    assert!(runtime.block_on(store.durable()).is_err());
    // What was written may or may not be there.
    let (again, _driver) = open(&runtime, &Options::default()).unwrap();
    let tree = main_branch(&Arc::new(again)).tree().unwrap();
    assert!(
        ["1", "2"]
            .map(Into::into)
            .contains(&tree.get("a").unwrap().unwrap())
    );
}

#[test]
fn a_device_without_room_is_told_and_what_waits_is_written_once_it_has_some() {
    let world = World::new(6);
    let disk = world.disk("disk", SIZE);
    let runtime = machine(&world, "m", &disk);
    let (store, mut driver) = open(&runtime, &Options::default()).unwrap();
    let store = Arc::new(store);
    let full = Medium {
        room: Some(40),
        ..Medium::default()
    };
    disk.set_medium(full);
    main_branch(&store)
        .change(&info(), |edit| edit.set("a", vec![7; 100 << 10]))
        .unwrap();
    let error = runtime.block_on(driver.run());
    assert!(matches!(error, BackendError::Full { .. }), "{error}");
    assert!(runtime.block_on(store.durable()).is_err());
    disk.set_medium(Medium::default());
    runtime.block_on(driver.catch_up()).unwrap();
    runtime.block_on(store.durable()).unwrap();
}

#[test]
fn a_disk_that_holds_something_else_is_refused_and_left_alone() {
    let world = World::new(7);
    let disk = world.disk("disk", SIZE);
    disk.write(64 << 10, &[1; 512]);
    let before = disk.read(0, SIZE as usize);
    let runtime = machine(&world, "m", &disk);
    let error = open(&runtime, &Options::default()).err().unwrap();
    assert!(
        matches!(error, OpenError::Foreign { offset: 65536 }),
        "{error}"
    );
    assert_eq!(disk.read(0, SIZE as usize), before);
}

#[test]
fn a_disk_that_is_too_small_or_read_only_is_refused() {
    let world = World::new(8);
    let small = world.disk("small", LEAST_SIZE - 512);
    let error = open(&machine(&world, "s", &small), &Options::default());
    assert!(matches!(error, Err(OpenError::TooSmall { .. })));
    let fixed = world.disk("fixed", SIZE).read_only();
    let error = open(&machine(&world, "f", &fixed), &Options::default());
    assert!(matches!(error, Err(OpenError::ReadOnly)));
    let least = world.disk("least", LEAST_SIZE);
    open(&machine(&world, "l", &least), &Options::default()).unwrap();
}

#[test]
fn a_disk_that_grew_keeps_its_store() {
    let world = World::new(9);
    let disk = world.disk("disk", SIZE);
    let runtime = machine(&world, "m", &disk);
    let (store, mut driver) = open(&runtime, &Options::default()).unwrap();
    let store = Arc::new(store);
    main_branch(&store)
        .change(&info(), |edit| edit.set("a", "1"))
        .unwrap();
    runtime.block_on(driver.catch_up()).unwrap();
    let large = world.disk("large", 8 * SIZE);
    large.write(0, &disk.read(0, SIZE as usize));
    let runtime = machine(&world, "n", &large);
    let (again, _driver) = open(&runtime, &Options::default()).unwrap();
    assert_eq!(again.segment_size(), store.segment_size());
    let again = Arc::new(again);
    let tree = main_branch(&again).tree().unwrap();
    assert_eq!(tree.get("a").unwrap().unwrap(), "1");
}

#[test]
fn damage_is_refused_until_repair_is_asked_for() {
    let world = World::new(10);
    let disk = world.disk("disk", SIZE);
    let runtime = machine(&world, "m", &disk);
    let (store, mut driver) = open(&runtime, &Options::default()).unwrap();
    let store = Arc::new(store);
    for n in 0..40 {
        main_branch(&store)
            .change(&info(), |edit| {
                edit.set(format!("key{n}"), vec![n; 20 << 10])
            })
            .unwrap();
        runtime.block_on(driver.catch_up()).unwrap();
    }
    // Everything of the first segment behind its headers.
    let len = store.segment_size() as usize - 8192;
    disk.write(8192, &vec![0xee; len]);
    let block = Block::new(runtime.clone(), "disk").unwrap();
    match runtime.block_on(Behind::open(block, &Options::default())) {
        Err(OpenError::Store(BackendError::Corrupt { .. })) => {}
        // A sealed segment is read when it is asked for: the damage is found then.
        Ok((store, _)) => assert!(!store.check().unwrap().damage.is_empty()),
        Err(error) => panic!("{error}"),
    }
    let block = Block::new(runtime.clone(), "disk").unwrap();
    let options = Options {
        repair: true,
        ..Options::default()
    };
    let opened = runtime.block_on(Behind::open_reporting(block, &options));
    let (store, _driver, report) = opened.unwrap();
    assert!(!report.damage.is_empty());
    let store = Arc::new(store);
    assert_eq!(store.check().unwrap().damage, []);
    let tree = main_branch(&store).tree().unwrap();
    assert_eq!(tree.get("key39").unwrap().unwrap(), vec![39; 20 << 10]);
}

#[test]
fn a_deadline_of_virtual_time_passes_without_waiting() {
    // The tests above never sleep; a day of an idle driver costs nothing either.
    let world = World::new(11);
    let disk = world.disk("disk", SIZE);
    let machine = world.machine("m").disk("disk", &disk);
    let machine = machine.start(|runtime| async move {
        let block = Block::new(runtime.clone(), "disk").unwrap();
        let (_store, mut driver) = Behind::open(block, &Options::default()).await.unwrap();
        driver.run().await;
    });
    world.run_for(Duration::from_secs(86_400));
    assert!(machine.is_on(), "it waits for what there is to persist");
}
