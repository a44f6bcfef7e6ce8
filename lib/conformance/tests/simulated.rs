//! The devices of simulated machines keep their contracts: the applications that check the
//! devices of a process and of the host run here unchanged, and the power is cut too.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mirage_assets::{Sealed, pack};
use mirage_conformance as conformance;
use mirage_device::{Clock, Instant, Stack};
use mirage_runtime::{Block, Console, Entropy, Failure, Net, Runtime, Spawner, Timer, Wall};
use mirage_sim::{Machine, Medium, Sim, Unikernel, Weather, World, unikernel};
use mirage_smoltcp::{Keys, Smoltcp};

/// More time than a suite takes, were every wait of it in vain.
const LONG: Duration = Duration::from_secs(3_600);
/// The world's wall clock at its start: 2026-01-01.
const NEW_YEAR: u64 = 1_767_225_600;

/// The stack of host `number` on this network device.
async fn stack(runtime: &Runtime<Sim>, net: &'static str, number: u8) -> Result<Smoltcp, Failure> {
    let keys = Keys {
        ipv4: format!("10.0.0.{number}/24"),
        ipv6: format!("fd00::{number}/64"),
        ..Keys::default()
    };
    let stack = Smoltcp::new(
        runtime.check(net, Net::new(runtime.clone(), net))?,
        Timer::new(runtime.clone()),
        Spawner::new(runtime.clone()),
        Entropy::new(runtime.clone()),
        mirage_runtime::counters(runtime.clone()),
        net,
        keys,
    );
    runtime.check(net, stack.await)
}

/// The application of every device but the network's, as the tool generates it.
fn devices() -> Unikernel {
    let site = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../xtask/images/conformance/site"
    );
    let sealed: &'static [u8] = pack::seal(site.as_ref()).unwrap().leak();
    unikernel! {
        devices: [("stack.net", Net), ("peer.net", Net), ("disk", Block)],
        keys: [],
        main: move |runtime, keys| async move {
            let timer = || Timer::new(runtime.clone());
            let near = stack(&runtime, "stack.net", 1).await?;
            let far = stack(&runtime, "peer.net", 2).await?;
            let disk = runtime.check("disk", Block::new(runtime.clone(), "disk"))?;
            let assets = runtime.check("assets", Sealed::new(sealed))?;
            let since = timer().now().as_nanos() / 1_000_000_000;
            let keys = ::conformance::Keys {
                now: Some(NEW_YEAR + since),
                name: None,
                address: None,
                multicast: true,
            };
            let outcome = ::conformance::main(
                Console::new(runtime.clone()),
                timer(),
                timer(),
                Wall::new(runtime.clone()),
                Entropy::new(runtime.clone()),
                Spawner::new(runtime.clone()),
                mirage_runtime::counters(runtime.clone()),
                near,
                far,
                disk,
                assets,
                keys,
            )
            .await;
            runtime.finish(outcome)
        },
    }
}

/// Lets the machine run to its end. What it found broken is the panic.
fn kept(world: &World, machine: &Machine) {
    let ended = world.run_until(LONG, || machine.status().is_some());
    let console = machine.console();
    assert!(
        ended && machine.status() == Some(0),
        "seed {}:\n{console}",
        world.seed()
    );
    assert!(console.contains(" passed, 0 failed, "), "{console}");
}

/// What may differ between runs without anything being lost.
fn weathers() -> [Weather; 2] {
    [
        Weather::default(),
        Weather {
            latency: Duration::from_millis(1),
            bandwidth: Some(100_000_000),
            ..Weather::default()
        },
    ]
}

#[test]
fn every_device_of_a_simulated_machine() {
    let devices = devices();
    for (seed, weather) in (1..).zip(weathers()) {
        let world = World::new(seed);
        let lan = world.network("lan");
        lan.set_weather(weather);
        let disk = world.disk("disk", 1 << 20);
        let machine = world
            .machine("devices")
            .net("stack.net", &lan)
            .net("peer.net", &lan);
        let machine = machine.disk("disk", &disk).boot(&devices);
        kept(&world, &machine);
        conformance::console::seen(machine.console().as_bytes()).assert();
    }
}

#[test]
fn the_network_devices_of_a_simulated_machine() {
    for (seed, weather) in (1..).zip(weathers()) {
        let wire = unikernel! {
            devices: [("near", Net), ("far", Net)],
            keys: [],
            main: |runtime, keys| async move {
                let near = runtime.check("near", Net::new(runtime.clone(), "near"))?;
                let far = runtime.check("far", Net::new(runtime.clone(), "far"))?;
                let console = Console::new(runtime.clone());
                let timer = Timer::new(runtime.clone());
                runtime.finish(::wire::main(console, timer, near, far).await)
            },
        };
        let world = World::new(seed);
        let lan = world.network("lan");
        lan.set_weather(weather);
        let machine = world
            .machine("wire")
            .net("near", &lan)
            .net("far", &lan)
            .boot(&wire);
        kept(&world, &machine);
        if weather.bandwidth.is_some() {
            let console = machine.console();
            assert!(
                !console.contains("n/a"),
                "such a device is full at times:\n{console}"
            );
        }
    }
}

#[test]
fn a_simulated_disk_whose_power_is_cut() {
    for seed in 0..20 {
        let world = World::new(seed);
        let disk = world
            .disk("disk", 1 << 20)
            .sector(if seed % 2 == 0 { 512 } else { 4096 });
        disk.set_medium(Medium {
            jitter: Duration::from_millis(1),
            ..Medium::default()
        });
        let boots = Rc::new(Cell::new(0));
        let machine = world
            .machine("disk")
            .disk("disk", &disk)
            .start(move |runtime| {
                boots.set(boots.get() + 1);
                let boot = boots.get();
                async move {
                    let disk = Block::new(runtime.clone(), "disk").unwrap();
                    let timer = Timer::new(runtime.clone());
                    if boot == 1 {
                        conformance::block::check(&disk, &timer).await.assert();
                        conformance::block::before_cut(&disk, &timer).await.unwrap();
                        std::future::pending::<()>().await;
                    }
                    conformance::block::after_cut(&disk, &timer).await.assert();
                }
            });
        world.run_for(Duration::from_secs(60));
        assert_eq!(
            machine.status(),
            None,
            "seed {seed}:\n{}",
            machine.console()
        );
        machine.cut();
        machine.restart();
        world.run_for(Duration::from_secs(60));
        assert_eq!(
            machine.status(),
            Some(0),
            "seed {seed}:\n{}",
            machine.console()
        );
    }
}

#[test]
fn a_simulated_disk_that_is_read_only_and_one_that_cannot_discard() {
    let world = World::new(1);
    let disks = [
        world.disk("fixed", 1 << 20).read_only(),
        world.disk("plain", 1 << 20).discards(None),
        world.disk("careless", 1 << 20).discards(Some(false)),
    ];
    for (number, disk) in disks.iter().enumerate() {
        let machine = world
            .machine(&format!("machine{number}"))
            .disk("disk", disk);
        let (_, runtime) = machine.runtime();
        let block = Block::new(runtime.clone(), "disk").unwrap();
        let timer = Timer::new(runtime.clone());
        runtime
            .block_on(conformance::block::check(&block, &timer))
            .assert();
    }
}

#[test]
fn a_source_of_random_bytes_that_is_not_ready_yet_or_never() {
    let world = World::new(1);
    let early = world.machine("early").entropy_after(LONG).runtime();
    let never = world.machine("never").no_entropy().runtime();
    for (_, runtime) in [early, never] {
        let entropy = Entropy::new(runtime.clone());
        let timer = Timer::new(runtime.clone());
        let report = runtime.block_on(conformance::entropy::check(&entropy, &timer));
        report.assert();
        let looked = |(sentence, verdict): (&conformance::Sentence, &conformance::Verdict)| {
            *sentence == conformance::entropy::NOT_FINAL && *verdict == conformance::Verdict::Passed
        };
        assert!(report.entries().any(looked), "{report}");
    }
}

#[test]
fn what_is_left_of_a_network_that_is_taken_away() {
    let world = World::new(1);
    let lan = world.network("lan");
    let (machine, runtime) = world.machine("bare").net("net", &lan).runtime();
    let net = Net::new(runtime.clone(), "net").unwrap();
    let timer = Timer::new(runtime.clone());
    world.at(Instant::from_nanos(1_000_000), move |_| {
        machine.unplug("net")
    });
    let report = runtime.block_on(conformance::net::after_unplug(&net, &timer));
    report.assert();

    let (machine, runtime) = world.machine("stack").net("net", &lan).runtime();
    let stack = runtime.block_on(stack(&runtime, "net", 1)).unwrap();
    let any = "[::]:0".parse().unwrap();
    let (mut listener, udp) = (stack.listen(any, 4).unwrap(), stack.bind_udp(any).unwrap());
    let timer = Timer::new(runtime.clone());
    let soon = timer.now() + Duration::from_millis(1);
    world.at(soon, move |_| machine.unplug("net"));
    runtime.block_on(async {
        conformance::listener::after_unplug(&mut listener, &timer)
            .await
            .assert();
        conformance::udp::after_unplug(&udp, &timer).await.assert();
    });
}
