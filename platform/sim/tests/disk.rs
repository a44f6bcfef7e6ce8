//! What disks keep and what they lose.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use mirage_device::{Block as _, BlockError, Spawn, Task};
use mirage_runtime::{Block, Runtime, Spawner, Timer};
use mirage_sim::{Disk, Medium, Sim, World};

const SECOND: Duration = Duration::from_secs(1);

fn attached(world: &World, disk: &Disk) -> (Runtime<Sim>, Block<Sim>) {
    let (_, runtime) = world.machine("m").disk("disk", disk).runtime();
    let block = Block::new(runtime.clone(), "disk").unwrap();
    (runtime, block)
}

#[test]
fn what_was_written_is_read_and_what_was_discarded_is_zero() {
    let world = World::new(1);
    let disk = world.disk("disk", 4096);
    let (runtime, block) = attached(&world, &disk);
    runtime.block_on(async {
        block.write(512, &[&[1; 512], &[2; 1024]]).await.unwrap();
        let (mut one, mut two) = ([9; 1024], [9; 1536]);
        block.read(0, &mut [&mut one, &mut two]).await.unwrap();
        assert_eq!(
            (one[0], one[512], two[0], two[1023], two[1024]),
            (0, 1, 2, 2, 0)
        );
        block.discard(512, 512).await.unwrap();
        block.read(0, &mut [&mut one]).await.unwrap();
        assert_eq!(one, [0; 1024]);
    });
    assert_eq!(disk.read(1024, 512), [2; 512]);
    assert_eq!(disk.unflushed(), 4);
    runtime.block_on(block.flush()).unwrap();
    assert_eq!(disk.unflushed(), 0);
}

#[test]
fn a_disk_refuses_what_it_cannot_do() {
    let world = World::new(1);
    let disk = world.disk("disk", 4096).read_only();
    let (runtime, block) = attached(&world, &disk);
    assert_eq!(
        runtime.block_on(block.write(0, &[&[0; 512]])),
        Err(BlockError::ReadOnly)
    );
    let disk = world.disk("other", 8192).sector(4096).discards(None);
    let (_, runtime) = world.machine("n").disk("disk", &disk).runtime();
    let block = Block::new(runtime.clone(), "disk").unwrap();
    assert_eq!(block.info().sector, 4096);
    assert_eq!(
        runtime.block_on(block.discard(0, 4096)),
        Err(BlockError::Unsupported)
    );
    assert_eq!(
        runtime.block_on(block.write(512, &[&[0; 512]])),
        Err(BlockError::Misaligned)
    );
}

/// What the first four sectors hold after a machine has flushed ones, written twos over them and
/// lost its power.
fn after_a_cut(seed: u64) -> Vec<u8> {
    let world = World::new(seed);
    let disk = world.disk("disk", 4096);
    let machine = world.machine("m").disk("disk", &disk);
    let machine = machine.start(|runtime| async move {
        let block = Block::new(runtime.clone(), "disk").unwrap();
        block.write(0, &[&[1; 2048]]).await.unwrap();
        block.flush().await.unwrap();
        block.write(0, &[&[2; 2048]]).await.unwrap();
    });
    world.run_for(SECOND);
    assert_eq!(machine.status(), Some(0));
    assert_eq!(disk.read(0, 2048), [2; 2048]);
    machine.cut();
    let bytes = disk.read(0, 2048);
    let sectors = bytes.chunks(512);
    sectors
        .map(|sector| {
            assert!(
                sector.iter().all(|byte| *byte == sector[0]),
                "a sector is old or new, never a mixture"
            );
            sector[0]
        })
        .collect()
}

#[test]
fn a_power_cut_leaves_each_sector_old_or_new() {
    let all: BTreeSet<Vec<u8>> = (0..200).map(after_a_cut).collect();
    assert!(all.contains(&vec![1; 4]), "nothing survives");
    assert!(all.contains(&vec![2; 4]), "everything survives");
    assert!(all.len() > 10, "torn in many ways: {all:?}");
    assert!(all.iter().flatten().all(|value| matches!(value, 1 | 2)));
}

#[test]
fn a_later_write_may_survive_an_earlier_one_that_is_lost() {
    let found = (0..100).any(|seed| {
        let world = World::new(seed);
        let disk = world.disk("disk", 4096);
        let machine = world.machine("m").disk("disk", &disk);
        let machine = machine.start(|runtime| async move {
            let block = Block::new(runtime.clone(), "disk").unwrap();
            for sector in 0..2 {
                block.write(sector * 512, &[&[1; 512]]).await.unwrap();
            }
        });
        world.run_for(SECOND);
        machine.cut();
        disk.read(0, 512)[0] == 0 && disk.read(512, 512)[0] == 1
    });
    assert!(found);
}

#[test]
fn a_machine_that_is_killed_loses_nothing_that_it_wrote() {
    let world = World::new(1);
    let disk = world.disk("disk", 4096);
    let machine = world.machine("m").disk("disk", &disk);
    let machine = machine.start(|runtime| async move {
        let block = Block::new(runtime.clone(), "disk").unwrap();
        block.write(0, &[&[1; 512]]).await.unwrap();
        std::future::pending::<()>().await;
    });
    world.run_for(SECOND);
    machine.stop();
    assert_eq!(disk.read(0, 512), [1; 512]);
    machine.restart();
    world.run_for(SECOND);
    assert!(machine.is_on());
}

#[test]
fn a_flush_covers_what_had_returned_before_it_and_no_more() {
    let lost = (0..50).any(|seed| {
        let world = World::new(seed);
        let disk = world.disk("disk", 4096);
        disk.set_medium(Medium {
            jitter: Duration::ZERO,
            ..Medium::default()
        });
        let machine = world.machine("m").disk("disk", &disk);
        let machine = machine.start(|runtime| async move {
            let spawn = Spawner::new(runtime.clone());
            let other = Block::new(runtime.clone(), "disk").unwrap();
            let timer = Timer::new(runtime.clone());
            let block = Block::new(runtime, "disk").unwrap();
            block.write(0, &[&[1; 512]]).await.unwrap();
            // This write is under way when the flush begins, and returns before that does.
            let late = spawn.spawn(async move { other.write(512, &[&[1; 512]]).await });
            mirage_device::Sleep::sleep(&timer, Duration::from_micros(50)).await;
            block.flush().await.unwrap();
            late.await.unwrap();
        });
        world.run_for(SECOND);
        machine.cut();
        assert_eq!(disk.read(0, 512), [1; 512]);
        disk.read(512, 512) == [0; 512]
    });
    assert!(lost);
}

#[test]
fn operations_started_together_end_in_any_order() {
    let world = World::new(1);
    let disk = world.disk("disk", 1 << 16);
    let order = Rc::new(RefCell::new(Vec::new()));
    let kept = order.clone();
    world
        .machine("m")
        .disk("disk", &disk)
        .start(move |runtime| {
            let order = kept.clone();
            async move {
                let spawn = Spawner::new(runtime.clone());
                for sector in 0..100 {
                    let block = Block::new(runtime.clone(), "disk").unwrap();
                    let order = order.clone();
                    let task = async move {
                        block.write(sector * 512, &[&[1; 512]]).await.unwrap();
                        order.borrow_mut().push(sector);
                    };
                    spawn.spawn(task).detach();
                }
                std::future::pending::<()>().await;
            }
        });
    world.run_for(SECOND);
    let mut order = order.take();
    assert!(!order.is_sorted());
    order.sort_unstable();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
}

#[test]
fn errors_come_as_often_as_they_are_asked_for_and_room_ends() {
    let world = World::new(1);
    let disk = world.disk("disk", 1 << 16);
    let (runtime, block) = attached(&world, &disk);
    disk.set_medium(Medium {
        errors: 0.5,
        ..Medium::default()
    });
    let failed = runtime.block_on(async {
        let mut failed = 0;
        for _ in 0..200 {
            failed += usize::from(block.flush().await == Err(BlockError::Io));
        }
        failed
    });
    assert!((70..130).contains(&failed), "{failed}");
    disk.set_medium(Medium {
        room: Some(4),
        ..Medium::default()
    });
    runtime.block_on(async {
        block.write(0, &[&[1; 2048]]).await.unwrap();
        assert_eq!(
            block.write(1536, &[&[2; 1024]]).await,
            Err(BlockError::NoSpace)
        );
        block.write(0, &[&[3; 2048]]).await.unwrap();
    });
    assert_eq!(disk.read(2048, 512), [0; 512]);
}

#[test]
fn after_a_flush_that_failed_no_later_one_speaks_for_its_writes() {
    let lost = (0..50).any(|seed| {
        let world = World::new(seed);
        let disk = world.disk("disk", 4096);
        let failing = disk.clone();
        let machine = world.machine("m").disk("disk", &disk);
        let machine = machine.start(move |runtime| {
            let disk = failing.clone();
            async move {
                let block = Block::new(runtime, "disk").unwrap();
                block.write(0, &[&[1; 512]]).await.unwrap();
                disk.set_medium(Medium {
                    errors: 1.0,
                    ..Medium::default()
                });
                assert_eq!(block.flush().await, Err(BlockError::Io));
                disk.set_medium(Medium::default());
                block.flush().await.unwrap();
            }
        });
        world.run_for(SECOND);
        assert_eq!(disk.read(0, 512), [1; 512]);
        machine.cut();
        disk.read(0, 512) == [0; 512]
    });
    assert!(lost);
}

#[test]
fn a_dropped_write_is_carried_out_or_not_each_sector_by_itself() {
    let outcomes: BTreeSet<Vec<u8>> = (0..100)
        .map(|seed| {
            let world = World::new(seed);
            let disk = world.disk("disk", 4096);
            let (runtime, block) = attached(&world, &disk);
            runtime.block_on(async {
                let mut write = Box::pin(block.write(0, &[&[1; 1024]]));
                std::future::poll_fn(|cx| {
                    assert!(write.as_mut().poll(cx).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
            });
            world.run_for(SECOND);
            vec![disk.read(0, 512)[0], disk.read(512, 512)[0]]
        })
        .collect();
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
}
