//! Time, tasks and machines.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use mirage_device::{
    Clock, Console as _, Entropy as _, EntropyError, Instant, Platform as _, Sleep, Spawn, Task,
    Wall,
};
use mirage_runtime::{Console, Entropy, Runtime, Timer};
use mirage_sim::{Sim, World, unikernel};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn sleeping_tasks_wake_in_the_order_of_their_deadlines() {
    let world = World::new(1);
    let order = Rc::new(RefCell::new(Vec::new()));
    for seconds in [3, 1, 2] {
        let (clock, order) = (world.clone(), order.clone());
        let task = async move {
            clock.sleep(Duration::from_secs(seconds)).await;
            order.borrow_mut().push((seconds, clock.now().as_nanos()));
        };
        world.spawn(task).detach();
    }
    world.run_for(5 * SECOND);
    let second = 1_000_000_000;
    assert_eq!(
        *order.borrow(),
        [(1, second), (2, 2 * second), (3, 3 * second)]
    );
}

#[test]
fn dropping_a_handle_drops_the_task() {
    let world = World::new(1);
    let witness = Rc::new(());
    let held = witness.clone();
    let task = world.spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    world.run_for(SECOND);
    assert_eq!(Rc::strong_count(&witness), 2);
    drop(task);
    assert_eq!(Rc::strong_count(&witness), 1);
}

#[test]
#[should_panic(expected = "everybody waits and nothing will ever come (at 0.000000 s of seed 7)")]
fn a_deadlock_panics_instead_of_hanging() {
    World::new(7).block_on(std::future::pending::<()>());
}

#[test]
#[should_panic(expected = "it is not done within 60.000000 s")]
fn a_world_ends_at_its_limit() {
    let world = World::new(7);
    world.set_limit(60 * SECOND);
    world.run_for(61 * SECOND);
}

#[test]
fn the_scenario_waits_for_a_condition_at_most_as_long_as_it_says() {
    let world = World::new(1);
    let count = Rc::new(Cell::new(0));
    let counter = count.clone();
    world.machine("counter").start(move |runtime| {
        let (counter, timer) = (counter.clone(), Timer::new(runtime));
        async move {
            loop {
                timer.sleep(SECOND).await;
                counter.set(counter.get() + 1);
            }
        }
    });
    assert!(world.run_until(100 * SECOND, || count.get() == 7));
    assert_eq!(world.now(), Instant::ZERO + 7 * SECOND);
    assert!(!world.run_until(3 * SECOND, || count.get() == 70));
    assert_eq!(world.now(), Instant::ZERO + 10 * SECOND);
}

#[test]
fn what_a_machine_wakes_in_another_runs_at_once() {
    let world = World::new(1);
    let (task, done) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(false)));
    let (place, flag) = (task.clone(), done.clone());
    world.machine("sleeper").start(move |_| {
        let (place, flag) = (place.clone(), flag.clone());
        async move {
            let mut woken = false;
            std::future::poll_fn(|cx| {
                *place.borrow_mut() = Some(cx.waker().clone());
                match std::mem::replace(&mut woken, true) {
                    true => std::task::Poll::Ready(()),
                    false => std::task::Poll::Pending,
                }
            })
            .await;
            flag.set(true);
        }
    });
    world.run_for(SECOND);
    let waker: Option<std::task::Waker> = task.take();
    waker.unwrap().wake();
    world.run_for(Duration::from_nanos(1));
    assert!(done.get());
}

#[test]
fn a_machine_that_is_always_busy_lets_time_pass_and_is_found_out() {
    let spin = || async {
        loop {
            let mut yielded = false;
            std::future::poll_fn(|cx| {
                cx.waker().wake_by_ref();
                match std::mem::replace(&mut yielded, true) {
                    true => std::task::Poll::Ready(()),
                    false => std::task::Poll::Pending,
                }
            })
            .await;
        }
    };
    let world = World::new(1);
    world.machine("spinner").start(move |_| {
        let spin = spin();
        async move {
            spin.await;
        }
    });
    world.run_for(SECOND / 10);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.run_for(SECOND);
    }));
    let message = outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(
        message.contains("machine `spinner` failed: it computes and never waits"),
        "{message}"
    );
}

#[test]
fn a_panic_names_the_machine_the_time_and_the_seed() {
    let world = World::new(17);
    world.machine("fragile").start(|runtime| async move {
        Timer::new(runtime).sleep(SECOND).await;
        panic!("a dropped {}", "cup");
    });
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.run_for(2 * SECOND);
    }));
    let message = outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(
        message.starts_with("machine `fragile` panicked at platform/sim/tests/time.rs:"),
        "{message}"
    );
    assert!(
        message.ends_with(": a dropped cup (at 1.000000 s of seed 17)"),
        "{message}"
    );
}

#[test]
fn a_machine_ends_with_its_status_and_can_be_started_again() {
    let world = World::new(1);
    let end = unikernel! {
        devices: [],
        keys: [("how", String, Some("well"), false, "How to end")],
        main: |runtime: Runtime<Sim>, keys| async move {
            let how: &str = runtime.check("how", keys.get("how"))?;
            log::info!("begins");
            log::debug!("hidden");
            Timer::new(runtime.clone()).sleep(Duration::from_millis(1500)).await;
            log::warn!("ends");
            match how {
                "badly" => runtime.finish(Err::<(), _>("no luck")),
                "at once" => runtime.platform().exit(7),
                "panic" => panic!("none"),
                _ => runtime.finish(()),
            }
        },
    };
    let machine = |name: &str, word: &str| {
        let machine = world.machine(name).argument(word).may_panic();
        machine.boot(&end)
    };
    let well = machine("a", "how=well");
    let badly = machine("b", "how=badly");
    let at_once = machine("c", "how=at once");
    let panic = machine("d", "how=panic");
    let wrong = machine("e", "hwo=well");
    world.run_for(SECOND);
    assert_eq!((well.status(), well.is_on()), (None, true));
    world.run_for(SECOND);
    let statuses = [&well, &badly, &at_once, &panic, &wrong].map(|machine| machine.status());
    assert_eq!(statuses, [Some(0), Some(1), Some(7), Some(101), Some(2)]);
    let log = "[0.000000] INFO  time: begins\n[1.500000] WARN  time: ends\n";
    assert_eq!(well.console(), log);
    assert_eq!(badly.console(), format!("{log}error: no luck\n"));
    assert_eq!(
        wrong.console(),
        "error: unknown key `hwo`; did you mean `how`?\n"
    );
    well.restart();
    world.run_for(2 * SECOND);
    assert_eq!(well.status(), Some(0));
    assert_eq!(well.console(), log.repeat(2));
}

#[test]
fn a_machine_that_is_stopped_drops_what_it_held() {
    let world = World::new(1);
    let held = Rc::new(());
    let given = held.clone();
    let machine = world.machine("holder").start(move |runtime| {
        let (main, task) = (given.clone(), given.clone());
        let spawn = mirage_runtime::Spawner::new(runtime);
        async move {
            let task = async move {
                let _task = task;
                std::future::pending::<()>().await;
            };
            spawn.spawn(task).detach();
            std::future::pending::<()>().await;
            drop(main);
        }
    });
    world.run_for(SECOND);
    assert_eq!(Rc::strong_count(&held), 4);
    machine.stop();
    assert_eq!(Rc::strong_count(&held), 2);
    assert_eq!((machine.is_on(), machine.status()), (false, None));
}

#[test]
fn a_suspended_machine_does_not_count_the_time() {
    let world = World::new(1);
    let machine = world.machine("ticker").start(|runtime| async move {
        let console = Console::new(runtime.clone());
        let timer = Timer::new(runtime);
        loop {
            timer.sleep(SECOND).await;
            console.write(format!("{} ", timer.now()).as_bytes());
        }
    });
    world.run_for(Duration::from_millis(2500));
    machine.pause();
    world.run_for(3600 * SECOND);
    machine.unpause();
    world.run_for(SECOND);
    assert_eq!(machine.console(), "1.000000 2.000000 3.000000 ");
}

#[test]
fn wall_clocks_jump_alone_and_random_bytes_come_when_they_are_ready() {
    let world = World::new(1);
    let start = world.wall().unwrap();
    let (machine, runtime) = world.machine("late").entropy_after(10 * SECOND).runtime();
    let wall = mirage_runtime::Wall::new(runtime.clone());
    machine.jump_wall(100 * SECOND, false);
    assert_eq!(wall.wall(), Some(start + 100 * SECOND));
    machine.jump_wall(300 * SECOND, true);
    assert_eq!(wall.wall(), Some(start - 200 * SECOND));
    assert_eq!(world.wall(), Some(start));
    let entropy = Entropy::new(runtime.clone());
    let mut bytes = [0; 13];
    assert_eq!(entropy.fill(&mut bytes), Err(EntropyError::NotReady));
    runtime.block_on(Timer::new(runtime.clone()).sleep(10 * SECOND));
    assert_eq!(entropy.fill(&mut bytes), Ok(()));
    assert!(bytes.iter().any(|byte| *byte != bytes[0]));
    let (_, none) = world.machine("none").no_entropy().runtime();
    assert_eq!(
        Entropy::new(none).fill(&mut bytes),
        Err(EntropyError::NoSource)
    );
}

#[test]
#[should_panic(expected = "machine `a`: the net device `net` is declared and not given")]
fn a_device_that_is_not_given_stops_the_start() {
    let unikernel = unikernel! {
        devices: [("net", Net)],
        keys: [],
        main: |runtime, keys| async move { runtime.finish(()) },
    };
    World::new(1).machine("a").boot(&unikernel);
}
