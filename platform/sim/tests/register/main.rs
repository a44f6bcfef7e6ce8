//! Three hosts keep a register while frames are lost, the network falls apart and the power goes.
//! What was acknowledged stays, and nobody sees an older value than somebody has seen before.

mod replica;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use mirage_device::{Clock, Instant, Sleep, Spawn, Task};
use mirage_runtime::{Block, Entropy, Net, Runtime, Spawner, Timer};
use mirage_sim::{Faults, Machine, Sim, Weather, World, explore, search};
use mirage_smoltcp::{Keys, Smoltcp};
use replica::{HOSTS, Host, Store, Version};

/// An operation that somebody has heard the end of.
#[derive(Debug, Clone, Copy)]
struct Operation {
    began: Instant,
    ended: Instant,
    writes: bool,
    version: Version,
    value: u32,
}

type History = Rc<RefCell<Vec<Operation>>>;

/// Operations that each host carries out in each of its lives.
const OPERATIONS: u32 = 6;

async fn host(
    runtime: Runtime<Sim>,
    world: World,
    number: u8,
    life: u32,
    flushes: bool,
    history: History,
) {
    let net = Net::new(runtime.clone(), "net").unwrap();
    let block = Block::new(runtime.clone(), "disk").unwrap();
    let sleep = Timer::new(runtime.clone());
    let spawn = Spawner::new(runtime.clone());
    let keys = Keys {
        ipv4: format!("10.0.0.{number}/24"),
        ipv6: "none".into(),
        ..Keys::default()
    };
    let counters = mirage_runtime::counters(runtime.clone());
    let stack = Smoltcp::new(
        net,
        sleep.clone(),
        spawn.clone(),
        Entropy::new(runtime),
        counters,
        "stack",
        keys,
    );
    let stack = stack.await.unwrap();
    let store = Store::open(block, flushes).await.unwrap();
    let host = Host::new(number, &stack, sleep.clone(), store, life << 16);
    spawn.spawn(host.clone().serve()).detach();
    for count in 0..OPERATIONS {
        // Somebody else's turn: each host reads and writes at its own times.
        let pause = 100 + 130 * u64::from(number);
        sleep.sleep(Duration::from_millis(pause)).await;
        let began = world.now();
        let writes = (count + u32::from(number)) % 2 == 0;
        let unique = (u32::from(number) << 24) | (life << 12) | (count + 1);
        let (version, value) = if writes {
            (host.write(unique).await, unique)
        } else {
            let read = host.read().await;
            (read.version, read.value)
        };
        history.borrow_mut().push(Operation {
            began,
            ended: world.now(),
            writes,
            version,
            value,
        });
    }
    std::future::pending::<()>().await;
}

/// Three hosts, and all that goes wrong.
fn scenario(world: &World, flushes: bool) {
    let history = History::default();
    let lan = world.network("lan");
    lan.set_weather(Weather {
        latency: Duration::from_millis(1),
        jitter: Duration::from_millis(4),
        loss: 0.05,
        reordering: 0.05,
        duplication: 0.02,
        corruption: 0.01,
        ..Weather::default()
    });
    let machines: Vec<Machine> = (1..=HOSTS)
        .map(|number| {
            let disk = world.disk(&format!("disk{number}"), 4096);
            let machine = world.machine(&format!("host{number}"));
            let (history, inside) = (history.clone(), world.clone());
            let lives = std::cell::Cell::new(0);
            let machine = machine.net("net", &lan).disk("disk", &disk);
            machine.start(move |runtime| {
                lives.set(lives.get() + 1);
                let (history, world) = (history.clone(), inside.clone());
                host(runtime, world, number, lives.get(), flushes, history)
            })
        })
        .collect();
    let machines: Vec<&Machine> = machines.iter().collect();
    let faults = Faults::between(Duration::from_millis(100), Duration::from_secs(6));
    let faults = faults.partitions(&lan, 2).cuts(&machines, 3);
    let faults = faults.pauses(&machines, 1).storms(&lan, 1);
    world.plan(&faults);
    world.run_for(Duration::from_secs(6));
    // The faults are over: everybody gets on.
    let before = history.borrow().len();
    world.run_for(Duration::from_secs(6));
    let operations = history.take();
    assert!(
        operations.len() > before || before >= OPERATIONS as usize * usize::from(HOSTS),
        "nobody gets on though all faults are over"
    );
    check(&operations);
}

/// The order of the versions is one in which everything could have happened at once.
fn check(operations: &[Operation]) {
    for earlier in operations {
        for later in operations.iter().filter(|o| o.began > earlier.ended) {
            let newer = match later.writes {
                true => later.version > earlier.version,
                false => later.version >= earlier.version,
            };
            assert!(
                newer,
                "what was acknowledged is lost: {later:?} after {earlier:?}"
            );
        }
        for other in operations.iter().filter(|o| o.version == earlier.version) {
            assert_eq!(
                other.value, earlier.value,
                "one version has two values: {other:?} and {earlier:?}"
            );
        }
    }
}

#[test]
fn a_thousand_seeds_lose_nothing_that_was_acknowledged() {
    explore(0..1000, |world| scenario(world, true));
}

#[test]
fn a_host_that_acknowledges_before_it_has_flushed_is_found() {
    let found = search(0..1000, |world| scenario(world, false));
    let found = found.expect_err("what was not flushed is lost sooner or later");
    println!("{found}");
    assert!(
        found.failure.message.contains("acknowledged is lost"),
        "{found}"
    );
    let cut = |fault: &String| fault.contains("power cut");
    assert!(found.run.faults().iter().any(cut), "{found}");
}
