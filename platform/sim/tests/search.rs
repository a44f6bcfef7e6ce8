//! Failing runs are found, made smaller and repeated.

use std::time::Duration;

use mirage_device::{Net as _, Transmit};
use mirage_runtime::{Net, Timer};
use mirage_sim::{Cause, Faults, Machine, Weather, World, repeat, search};

const SECOND: Duration = Duration::from_secs(1);

/// Two machines that hear each other's beacons; each says the number of each that it hears.
fn beacons(world: &World) -> [Machine; 2] {
    let lan = world.network("lan");
    lan.set_weather(Weather {
        jitter: Duration::from_millis(1),
        loss: 0.02,
        ..Weather::default()
    });
    ["left", "right"].map(|name| {
        let machine = world.machine(name).net("net", &lan);
        machine.start(|runtime| async move {
            let net = Net::new(runtime.clone(), "net").unwrap();
            let timer = Timer::new(runtime.clone());
            let console = mirage_runtime::Console::new(runtime);
            let mut buffer = [0; 64];
            for number in 0..20 {
                net.send(&[number; 64], Transmit::default()).unwrap();
                mirage_device::Sleep::sleep(&timer, SECOND).await;
                while let Some(received) = net.receive(&mut buffer).unwrap() {
                    assert_eq!(received.len, 64);
                    let line = format!("{}\n", buffer[0]);
                    mirage_device::Console::write(&console, line.as_bytes());
                }
            }
        })
    })
}

#[test]
fn what_has_no_part_in_a_failure_is_left_out() {
    let scenario = |world: &World| {
        let [left, right] = beacons(world);
        let faults = Faults::between(Duration::ZERO, 20 * SECOND);
        let faults = faults.pauses(&[&left, &right], 2);
        world.plan(&faults.wall_jumps(&[&left, &right], 3));
        world.run_for(30 * SECOND);
        let heard = right.console();
        let seventh = heard.lines().any(|line| line == "7");
        assert!(seventh, "the seventh is lost");
    };
    let found = search(0..10_000, scenario).unwrap_err();
    let of_seed = found.failure.seed.to_string();
    assert_eq!(found.variable, format!("{of_seed} faults= lost=left.net#7"));
    assert!(matches!(found.failure.cause, Cause::Panic(_)));
    assert_eq!(repeat(&found.variable, scenario).unwrap(), found.run);
}

#[test]
fn a_machine_that_is_started_again_and_fails_then_is_shrunk_to_one_outage() {
    let scenario = |world: &World| {
        let lives = std::cell::Cell::new(0);
        let machine = world.machine("fragile").start(move |_| {
            lives.set(lives.get() + 1);
            let life = lives.get();
            async move {
                assert!(life < 2, "it does not survive a second start");
                std::future::pending::<()>().await;
            }
        });
        let other = world.machine("other").start(|_| std::future::pending());
        let faults = Faults::between(SECOND, 60 * SECOND).cuts(&[&machine, &other], 5);
        world.plan(&faults);
        world.run_for(60 * SECOND);
    };
    let found = search(0..100, scenario).unwrap_err();
    assert_eq!(found.failure.machine.as_deref(), Some("fragile"));
    let faults = found.run.faults();
    assert_eq!(faults.len(), 1, "{found}");
    assert!(
        faults[0].contains("power cut of machine `fragile`"),
        "{found}"
    );
    assert!(found.variable.contains("calm"), "{found}");
}

#[test]
fn a_deadlock_is_a_failure_that_repeats() {
    let scenario = |world: &World| {
        world.machine("waiter").start(|_| std::future::pending());
        world.block_on(std::future::pending::<()>());
    };
    let found = search(3..4, scenario).unwrap_err();
    assert_eq!(found.failure.cause, Cause::Deadlock);
    assert_eq!(found.variable, "3 calm");
}

#[test]
fn a_scenario_without_a_mistake_passes_for_every_seed() {
    let passed = search(0..20, |world| {
        let machines = beacons(world);
        world.run_for(25 * SECOND);
        for machine in machines {
            assert_eq!(machine.status(), Some(0));
        }
    });
    assert_eq!(passed.unwrap(), 20);
}

#[test]
fn a_name_that_no_command_could_hold_is_refused() {
    for name in ["a b", "a'b", "a\n"] {
        let refused = |make: fn(&World, &str)| {
            let world = World::new(0);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| make(&world, name))).is_err()
        };
        assert!(refused(|world, name| drop(
            world.machine(name).start(|_| async {})
        )));
        assert!(refused(|world, name| drop(world.disk(name, 512))));
        assert!(refused(|world, name| {
            let network = world.network("lan");
            drop(world.machine("a").net(name, &network));
        }));
    }
}
