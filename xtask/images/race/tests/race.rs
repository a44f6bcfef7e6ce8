//! The mistake is found by a search, made smaller, and repeated as often as one likes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use mirage_kit::device::io::{Read, Write};
use mirage_kit::device::{Sleep, Stack};
use mirage_runtime::{Entropy, Net, Runtime, Spawner, Timer};
use mirage_sim::{Network, Sim, Unikernel, Weather, World, repeat, search, unikernel};
use mirage_smoltcp::{Keys, Smoltcp};

/// The shop as the tool generates it.
fn shop() -> Unikernel {
    unikernel! {
        devices: [("net", Net)],
        keys: [
            ("port", U16, Some("80"), false, "TCP port to sell on"),
            ("stock", U32, Some("1"), false, "How many items there are"),
            ("stack.ipv4", String, Some("dhcp"), false, "IPv4 address"),
        ],
        main: |runtime, keys| async move {
            let net = Net::new(runtime.clone(), "net");
            let net = runtime.check("net", net)?;
            let sleep = Timer::new(runtime.clone());
            let spawn = Spawner::new(runtime.clone());
            let entropy = Entropy::new(runtime.clone());
            let stack_keys = Keys {
                ipv4: runtime.check("stack.ipv4", keys.get("stack.ipv4"))?,
                ..Keys::default()
            };
            let counters = mirage_runtime::counters(runtime.clone());
            let spawn_ = spawn.clone();
            let stack = Smoltcp::new(net, sleep, spawn_, entropy, counters, "stack", stack_keys);
            let stack = runtime.check("stack", stack.await)?;
            let keys = race::Keys {
                port: runtime.check("port", keys.get("port"))?,
                stock: runtime.check("stock", keys.get("stock"))?,
            };
            let outcome = race::main(stack, spawn, keys).await;
            runtime.finish(outcome)
        },
    }
}

/// A customer who comes after so many milliseconds, and answers at once.
fn customer(world: &World, name: &str, number: u8, lan: &Network, after: u64) {
    let machine = world.machine(name).net("net", lan);
    machine.start(move |runtime| buy(runtime, number, Duration::from_millis(after)));
}

async fn buy(runtime: Runtime<Sim>, number: u8, after: Duration) {
    let net = Net::new(runtime.clone(), "net").unwrap();
    let sleep = Timer::new(runtime.clone());
    let spawn = Spawner::new(runtime.clone());
    let keys = Keys {
        ipv4: format!("10.0.0.{number}/24"),
        ..Keys::default()
    };
    let (counters, entropy) = (
        mirage_runtime::counters(runtime.clone()),
        Entropy::new(runtime),
    );
    let stack = Smoltcp::new(net, sleep.clone(), spawn, entropy, counters, "stack", keys);
    let stack = stack.await.unwrap();
    sleep.sleep(after).await;
    let Ok(mut flow) = stack.connect("10.0.0.1:80".parse().unwrap()).await else {
        return;
    };
    let mut answer = [0; 6];
    if flow.write_all(b"buy\n").await.is_ok()
        && flow.read_exact(&mut answer).await.is_ok()
        && answer == *b"sure?\n"
    {
        let _ = flow.write_all(b"yes\n").await;
        let _ = flow.read_exact(&mut answer).await;
    }
}

/// Two customers, a second apart, on a network that now and then loses or delays a frame.
fn scenario(world: &World) {
    let lan = world.network("lan");
    lan.set_weather(Weather {
        latency: Duration::from_millis(5),
        jitter: Duration::from_millis(5),
        loss: 0.01,
        reordering: 0.02,
        ..Weather::default()
    });
    let mut machine = world.machine("shop").net("net", &lan);
    // A test of the whole system reads them: at last they are those of the run that is reported.
    if let Some(folder) = std::env::var_os("RACE_FILES").map(PathBuf::from) {
        lan.pcap(folder.join("lan.pcap")).unwrap();
        machine = machine.record(folder.join("shop.recording"));
    }
    machine.argument("stack.ipv4=10.0.0.1/24").boot(&shop());
    customer(world, "ann", 2, &lan, 1000);
    customer(world, "bob", 3, &lan, 1500);
    world.run_for(Duration::from_secs(20));
}

#[test]
fn a_seeded_search_finds_the_mistake_and_its_command_repeats_it_a_hundred_times() {
    let start = Instant::now();
    let found = search(0..100_000, scenario).expect_err("the shop has a mistake");
    println!("found in {:?}:\n{found}", start.elapsed());
    assert!(found.failure.message.contains("not there"), "{found}");
    let repeated = std::env::var_os("MIRAGE_SIM").is_some();
    assert!(
        found.passed > 0 || repeated,
        "it shows at the wrong times only"
    );
    assert!(found.run.faults().len() <= 3, "it was made small");
    assert_eq!(
        found.command,
        format!(
            "MIRAGE_SIM='{}' cargo test -p race --test race \
             a_seeded_search_finds_the_mistake_and_its_command_repeats_it_a_hundred_times -- --exact",
            found.variable
        )
    );
    for _ in 0..100 {
        let run = repeat(&found.variable, scenario).unwrap();
        assert_eq!(run, found.run);
    }
}
