//! Power cuts at any moment while clients change and read.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use kv::Keys;
use mirage_counters::Table;
use mirage_http::{Client, Outgoing};
use mirage_kit::device::{Sleep as _, Spawn as _, Stack as _, StackError, Task as _};
use mirage_runtime::{Block, Runtime, Spawner, Timer, Wall};
use mirage_sim::memory::{MemoryFlow, MemoryStack, Network};
use mirage_sim::{Medium, Sim, explore};

const CLIENTS: usize = 3;
const KEYS: u64 = 5;

/// What one client did to its own keys, in order, since a state that is known.
#[derive(Default)]
struct Known {
    /// What the keys were then.
    base: BTreeMap<u64, String>,
    /// What each change made of a key.
    changes: Vec<(u64, Option<String>)>,
    /// So many of them were acknowledged as durable.
    durable: usize,
    count: u64,
}

impl Known {
    /// The keys after so many changes.
    fn after(&self, changes: usize) -> BTreeMap<u64, String> {
        let mut state = self.base.clone();
        for (key, value) in &self.changes[..changes] {
            match value {
                Some(value) => state.insert(*key, value.clone()),
                None => state.remove(key),
            };
        }
        state
    }

    /// The store holds this: a state after some change, and no earlier one than the last that was
    /// acknowledged.
    fn found(&mut self, state: BTreeMap<u64, String>) {
        let possible = (self.durable..=self.changes.len()).any(|n| self.after(n) == state);
        assert!(
            possible,
            "{state:?} is none of the {} states since {:?}",
            self.changes.len() - self.durable,
            self.after(self.durable)
        );
        self.base = state;
        self.changes.clear();
        self.durable = 0;
    }
}

/// Numbers that depend on the seed and what they are for.
fn dice(seed: u64, what: u64) -> u64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ what.wrapping_mul(0xd134_2543_de82_ef95);
    x ^= x >> 32;
    x = x.wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ x >> 32
}

#[derive(Default)]
struct Shared {
    clients: [RefCell<Known>; CLIENTS],
    lives: Cell<u64>,
    acknowledged: Cell<u64>,
    refused: Cell<u64>,
}

type Connection = Client<MemoryFlow, Timer<Sim>>;

async fn ask(client: &mut Connection, method: &str, target: &str, content: &str) -> (u16, String) {
    let request = Outgoing {
        method,
        target,
        fields: &[],
    };
    let mut incoming = client.request(request, content.as_bytes()).await.unwrap();
    let content = incoming.content().await.unwrap();
    (incoming.status(), String::from_utf8(content).unwrap())
}

async fn connect(stack: &MemoryStack, timer: &Timer<Sim>) -> Connection {
    loop {
        match stack.connect("10.0.0.2:80".parse().unwrap()).await {
            Ok(flow) => return Client::new(flow, timer.clone(), "10.0.0.2").unwrap(),
            // It still reads its disk.
            Err(StackError::Refused) => timer.sleep(Duration::from_micros(100)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A client that checks what is there, and goes on changing its keys until the power is cut.
async fn change(mut client: Connection, number: usize, shared: Rc<Shared>, seed: u64) {
    let mut state = BTreeMap::new();
    for key in 0..KEYS {
        match ask(&mut client, "GET", &format!("/keys/{number}/{key}"), "").await {
            (200, value) => drop(state.insert(key, value)),
            (404, _) => {}
            other => panic!("{other:?}"),
        }
    }
    let known = &shared.clients[number];
    known.borrow_mut().found(state);
    loop {
        let count = known.borrow().count;
        known.borrow_mut().count += 1;
        let roll = dice(seed ^ (number as u64) << 60, count);
        let key = roll % KEYS;
        let path = format!("/keys/{number}/{key}");
        let exists = {
            let known = known.borrow();
            known.after(known.changes.len()).contains_key(&key)
        };
        let change = match roll >> 8 & 7 {
            0 if exists => None,
            _ => Some(format!(
                "{count} {}",
                "x".repeat((roll >> 16) as usize % 4000)
            )),
        };
        let fast = roll >> 12 & 3 == 0;
        let target = if fast { format!("{path}?async") } else { path };
        // From here on it may be there.
        let before = known.borrow().changes.len();
        known.borrow_mut().changes.push((key, change.clone()));
        let (status, text) = match &change {
            Some(value) => ask(&mut client, "PUT", &target, value).await,
            None => ask(&mut client, "DELETE", &target, "").await,
        };
        let mut known = known.borrow_mut();
        match status {
            201 | 204 => {
                known.durable = known.changes.len();
                shared.acknowledged.set(shared.acknowledged.get() + 1);
            }
            202 => {}
            507 => {
                known.changes.truncate(before);
                shared.refused.set(shared.refused.get() + 1);
            }
            _ => panic!("{status}: {text}"),
        }
    }
}

async fn live(runtime: Runtime<Sim>, shared: Rc<Shared>, seed: u64) {
    let network = Network::new();
    let (spawn, timer) = (Spawner::new(runtime.clone()), Timer::new(runtime.clone()));
    let main = kv::main(
        Block::new(runtime.clone(), "disk").unwrap(),
        network.stack([10, 0, 0, 2].into()),
        spawn.clone(),
        timer.clone(),
        Wall::new(runtime),
        Table::new(None),
        Keys {
            port: 80,
            history: 20,
            repair: false,
        },
    );
    spawn
        .spawn(async move { panic!("it ended: {:?}", main.await) })
        .detach();
    let stack = network.stack([10, 0, 0, 3].into());
    let mut client = connect(&stack, &timer).await;
    let (status, text) = ask(&mut client, "GET", "/check", "").await;
    assert_eq!(status, 200, "{text}");
    shared.lives.set(shared.lives.get() + 1);
    for number in 0..CLIENTS {
        let client = connect(&stack, &timer).await;
        spawn
            .spawn(change(client, number, shared.clone(), seed))
            .detach();
    }
    std::future::pending().await
}

#[test]
fn no_power_cut_takes_what_was_acknowledged_or_leaves_anything_half() {
    let totals = RefCell::new([0; 3]);
    explore(0..30, |world| {
        let disk = world.disk("disk", 1 << 20);
        let disk = match world.seed() % 2 {
            0 => disk,
            _ => disk.sector(4096),
        };
        disk.set_medium(Medium::default());
        let shared = Rc::new(Shared::default());
        let (seed, of_machine) = (world.seed(), shared.clone());
        let machine = world.machine("kv").disk("disk", &disk);
        let machine = machine.start(move |runtime| live(runtime, of_machine.clone(), seed));
        for cut in 0..8 {
            world.run_for(Duration::from_micros(dice(seed, 1 << 40 | cut) % 30_000));
            machine.cut();
            machine.restart();
        }
        world.run_for(Duration::from_millis(40));
        assert!(machine.is_on() && shared.lives.get() > 0);
        let mut totals = totals.borrow_mut();
        totals[0] += shared.lives.get();
        totals[1] += shared.acknowledged.get();
        totals[2] += shared.refused.get();
    });
    let [lives, acknowledged, refused] = totals.into_inner();
    println!("{lives} lives, {acknowledged} changes acknowledged, {refused} found no room");
    assert!(acknowledged > lives, "it did something");
}
