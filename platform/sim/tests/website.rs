//! A unikernel's own main function, unchanged, on TCP/IP stacks over simulated frames.

use std::time::Duration;

use mirage_assets::{Sealed, pack};
use mirage_device::Sleep;
use mirage_sim::{Machine, Network, Unikernel, Weather, World, unikernel};
use mirage_smoltcp::{Keys, Smoltcp};

/// The website as the tool generates it, but for its assets, which are sealed at the start.
fn website() -> Unikernel {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("index.html"), "hello").unwrap();
    let sealed: &'static [u8] = pack::seal(folder.path()).unwrap().leak();
    unikernel! {
        devices: [("net", Net)],
        keys: [
            ("port", U16, Some("80"), false, "TCP port to serve on"),
            ("stack.ipv4", String, Some("dhcp"), false, "IPv4 address"),
        ],
        main: move |runtime, keys| async move {
            let net = mirage_runtime::Net::new(runtime.clone(), "net");
            let net = runtime.check("net", net)?;
            let sleep = mirage_runtime::Timer::new(runtime.clone());
            let spawn = mirage_runtime::Spawner::new(runtime.clone());
            let entropy = mirage_runtime::Entropy::new(runtime.clone());
            let stack_keys = Keys {
                ipv4: runtime.check("stack.ipv4", keys.get("stack.ipv4"))?,
                ..Keys::default()
            };
            let counters = mirage_runtime::counters(runtime.clone());
            let table = counters.clone();
            let (sleep_, spawn_) = (sleep.clone(), spawn.clone());
            let stack = Smoltcp::new(net, sleep_, spawn_, entropy, counters, "stack", stack_keys);
            let stack = runtime.check("stack", stack.await)?;
            let wall = mirage_runtime::Wall::new(runtime.clone());
            let assets = runtime.check("assets", Sealed::new(sealed))?;
            let keys = website::Keys {
                port: runtime.check("port", keys.get("port"))?,
            };
            let outcome = website::main(stack, spawn, sleep, wall, assets, table, keys).await;
            runtime.finish(outcome)
        },
    }
}

/// A machine that fetches the page so many times, and ends.
fn client(world: &World, number: u8, lan: &Network, times: usize) -> Machine {
    let machine = world.machine(&format!("client{number}"));
    machine.net("net", lan).start(move |runtime| async move {
        let net = mirage_runtime::Net::new(runtime.clone(), "net").unwrap();
        let sleep = mirage_runtime::Timer::new(runtime.clone());
        let spawn = mirage_runtime::Spawner::new(runtime.clone());
        let entropy = mirage_runtime::Entropy::new(runtime.clone());
        let keys = Keys {
            ipv4: format!("10.0.0.{number}/24"),
            ..Keys::default()
        };
        let counters = mirage_runtime::counters(runtime.clone());
        let stack = Smoltcp::new(net, sleep.clone(), spawn, entropy, counters, "stack", keys);
        let stack = stack.await.unwrap();
        // The stack knows 32 neighbours at a time.
        Sleep::sleep(&sleep, Duration::from_millis(100 * u64::from(number))).await;
        for _ in 0..times {
            let page = mirage_http::get(&stack, &sleep, "http://10.0.0.1/").await;
            assert_eq!(page.unwrap().content(), b"hello");
        }
    })
}

fn world(seed: u64, clients: u8, weather: Weather) -> (World, Vec<Machine>) {
    let world = World::new(seed);
    let lan = world.network("lan");
    lan.set_weather(weather);
    let server = world.machine("website").net("net", &lan);
    server.argument("stack.ipv4=10.0.0.1/24").boot(&website());
    let clients = (2..2 + clients).map(|n| client(&world, n, &lan, 3));
    let clients = clients.collect();
    (world, clients)
}

#[test]
fn a_website_serves_over_a_network_that_loses_reorders_and_damages_frames() {
    let (world, clients) = world(1, 3, Weather::STORM);
    let done = || clients.iter().all(|client| client.status() == Some(0));
    assert!(world.run_until(Duration::from_secs(600), done));
}

#[test]
fn one_seed_gives_one_run_whatever_was_run_before() {
    let trace = |seed| {
        let (world, _clients) = world(seed, 2, Weather::STORM);
        world.run_for(Duration::from_secs(30));
        (world.trace(), world.frames())
    };
    let first = trace(1);
    let other = trace(2);
    assert_ne!(first, other);
    assert_eq!(trace(1), first);
    assert_eq!(trace(2), other);
}

#[test]
fn a_day_of_an_idle_website_is_short() {
    let (world, _) = world(1, 0, Weather::default());
    let before = std::time::Instant::now();
    world.run_for(Duration::from_secs(86_400));
    println!("a day took {:?}", before.elapsed());
    assert!(world.frames() < 100, "nobody else is there");
}

#[test]
fn two_hundred_and_fifty_machines_share_a_network() {
    let (world, clients) = world(1, 250, Weather::default());
    let done = || clients.iter().all(|client| client.status() == Some(0));
    assert!(world.run_until(Duration::from_secs(90), done));
}
