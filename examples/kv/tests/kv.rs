//! What the store answers, on a simulated disk.

use std::time::Duration;

use kv::{Error, Keys};
use mirage_counters::Table;
use mirage_http::{Client, Incoming, Outgoing};
use mirage_kit::device::{Sleep as _, Spawn as _, Stack as _, Task as _};
use mirage_runtime::{Block, Runtime, Spawner, Timer, Wall};
use mirage_sim::memory::{MemoryFlow, MemoryStack, Network};
use mirage_sim::{Disk, Medium, Sim, World};

/// A machine with the disk and a network of its own.
struct Host {
    runtime: Runtime<Sim>,
    network: Network,
}

impl Host {
    fn new(world: &World, name: &str, disk: &Disk) -> Host {
        let (_, runtime) = world.machine(name).disk("disk", disk).runtime();
        Host {
            runtime,
            network: Network::new(),
        }
    }

    fn main(&self) -> impl Future<Output = Result<(), Error>> + use<> {
        kv::main(
            Block::new(self.runtime.clone(), "disk").unwrap(),
            self.network.stack([10, 0, 0, 2].into()),
            Spawner::new(self.runtime.clone()),
            Timer::new(self.runtime.clone()),
            Wall::new(self.runtime.clone()),
            Table::new(None),
            Keys {
                port: 80,
                history: 5,
                repair: false,
            },
        )
    }

    /// Starts the store; a connection to it.
    fn serve(&self) -> Connection {
        Spawner::new(self.runtime.clone())
            .spawn(self.main())
            .detach();
        self.connect()
    }

    fn connect(&self) -> Connection {
        let timer = Timer::new(self.runtime.clone());
        let stack = self.network.stack([10, 0, 0, 3].into());
        let client = self.runtime.block_on(async {
            // Opening a small disk takes milliseconds.
            timer.sleep(Duration::from_secs(1)).await;
            let stack: &MemoryStack = &stack;
            let flow = stack.connect("10.0.0.2:80".parse().unwrap()).await.unwrap();
            Client::new(flow, timer.clone(), "10.0.0.2").unwrap()
        });
        Connection {
            runtime: self.runtime.clone(),
            client,
        }
    }
}

struct Connection {
    runtime: Runtime<Sim>,
    client: Client<MemoryFlow, Timer<Sim>>,
}

impl Connection {
    fn ask(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        content: impl AsRef<[u8]>,
    ) -> (u16, String) {
        let (status, _, content) = self.ask_for_tag(method, target, fields, content);
        (status, content)
    }

    /// The status, the `ETag` and the content.
    fn ask_for_tag(
        &mut self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        content: impl AsRef<[u8]>,
    ) -> (u16, String, String) {
        let request = Outgoing {
            method,
            target,
            fields,
        };
        let client = &mut self.client;
        self.runtime.block_on(async {
            let mut incoming = client.request(request, content.as_ref()).await.unwrap();
            let tag = incoming.fields().get("etag").unwrap_or_default().to_vec();
            let content = incoming.content().await.unwrap();
            (
                incoming.status(),
                String::from_utf8(tag).unwrap(),
                String::from_utf8(content).unwrap(),
            )
        })
    }

    fn get(&mut self, target: &str) -> (u16, String) {
        self.ask("GET", target, &[], "")
    }

    fn put(&mut self, target: &str, value: impl AsRef<[u8]>) -> u16 {
        self.ask("PUT", target, &[], value).0
    }
}

fn is(status: u16, text: &str) -> (u16, String) {
    (status, text.to_owned())
}

#[test]
fn keys_are_put_read_listed_and_deleted_and_their_history_is_told() {
    let world = World::new(1);
    let disk = world.disk("disk", 1 << 20);
    let mut kv = Host::new(&world, "kv", &disk).serve();
    assert_eq!(kv.get("/keys/a/b"), is(404, "there is no such key\n"));
    assert_eq!(kv.get("/keys/"), is(200, ""));
    assert_eq!(kv.put("/keys/a/b", "1"), 201);
    assert_eq!(disk.unflushed(), 0, "it is durable");
    assert_eq!(kv.put("/keys/a/b", "2"), 204);
    assert_eq!(kv.put("/keys/a%20c?async", "3"), 202);
    assert_eq!(kv.get("/keys/a/b"), is(200, "2"));
    assert_eq!(kv.get("/keys/"), is(200, "a/\na c\n"));
    assert_eq!(kv.get("/keys/a/"), is(200, "b\n"));
    assert_eq!(kv.get("/keys/a/b?at=main~2"), is(200, "1"));
    assert_eq!(kv.get("/keys/a/b?at=main~7").0, 400);

    let (status, log) = kv.get("/log?path=a/b");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!((status, lines.len()), (200, 2), "{log}");
    let words: Vec<&str> = lines[0].split(' ').collect();
    let [id, seconds, "PUT", "a/b"] = words[..] else {
        panic!("{log}")
    };
    assert!((1_767_225_600..1_767_225_700).contains(&seconds.parse().unwrap()));
    assert_eq!(kv.get(&format!("/keys/a/b?at={id}")), is(200, "2"));
    assert_eq!(kv.get("/log?limit=1").1.lines().count(), 1);
    assert_eq!(kv.get("/log?limit=x").0, 400);

    assert_eq!(kv.ask("DELETE", "/keys/a", &[], ""), is(204, ""));
    assert_eq!(kv.ask("DELETE", "/keys/a", &[], "").0, 404);
    assert_eq!(kv.ask("DELETE", "/keys/", &[], "").0, 404);
    assert_eq!(kv.get("/keys/"), is(200, "a c\n"));
    let (status, check) = kv.get("/check");
    assert_eq!(status, 200, "{check}");
    assert!(check.starts_with("sound: 4 changes"), "{check}");
}

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    let world = World::new(2);
    let mut kv = Host::new(&world, "kv", &world.disk("disk", 1 << 20)).serve();
    assert_eq!(kv.put("/keys/a", "1"), 201);
    for (method, target, status) in [
        ("PUT", "/keys/a/b", 409),
        ("PUT", "/keys/", 409),
        ("PUT", "/keys/x//y", 400),
        ("PUT", "/keys/x/", 400),
        ("PUT", "/keys/.git/config", 400),
        ("PUT", "/keys/..", 400),
        ("PUT", "/keys/x%0ay", 400),
        ("PUT", "/keys/x%00y", 400),
        ("DELETE", "/keys/x/", 400),
        ("POST", "/keys/a", 405),
        ("PUT", "/log", 405),
        ("GET", "/nowhere", 404),
    ] {
        let (found, text) = kv.ask(method, target, &[], "2");
        assert_eq!(found, status, "{method} {target}: {text}");
    }
    assert_eq!(kv.get("/log").1.lines().count(), 1);
}

#[test]
fn a_change_happens_only_where_its_conditions_hold() {
    let world = World::new(3);
    let mut kv = Host::new(&world, "kv", &world.disk("disk", 1 << 20)).serve();
    let new = [("If-None-Match", "*")];
    assert_eq!(kv.ask("PUT", "/keys/a", &new, "1").0, 201);
    assert_eq!(kv.ask("PUT", "/keys/a", &new, "2").0, 412);
    let (_, tag, _) = kv.ask_for_tag("GET", "/keys/a", &[], "");
    assert_eq!(
        kv.ask("GET", "/keys/a", &[("If-None-Match", &tag)], "").0,
        304
    );
    let same = [("If-Match", tag.as_str())];
    assert_eq!(kv.ask("PUT", "/keys/a", &same, "2").0, 204);
    assert_eq!(kv.ask("PUT", "/keys/a", &same, "3").0, 412);
    assert_eq!(kv.ask("DELETE", "/keys/a", &same, "").0, 412);
    assert_eq!(kv.get("/keys/a"), is(200, "2"));
}

#[test]
fn what_was_put_is_there_after_a_power_cut() {
    let world = World::new(4);
    let disk = world.disk("disk", 1 << 20);
    let (machine, runtime) = world.machine("first").disk("disk", &disk).runtime();
    let network = Network::new();
    let mut kv = Host { runtime, network }.serve();
    assert_eq!(kv.put("/keys/a", "1"), 201);
    machine.cut();
    drop(kv);
    let mut kv = Host::new(&world, "second", &disk).serve();
    assert_eq!(kv.get("/keys/a"), is(200, "1"));
}

#[test]
fn a_full_disk_forgets_history_then_refuses_values_and_goes_on_after_a_deletion() {
    let world = World::new(5);
    let disk = world.disk("disk", 1 << 20);
    let mut kv = Host::new(&world, "kv", &disk).serve();
    // Far more than the disk holds, but little at a time.
    for n in 0..300_u32 {
        let value = format!("{n:010000}");
        assert!(
            matches!(kv.put("/keys/same", value), 201 | 204),
            "change {n}"
        );
    }
    let changes = kv.get("/log?limit=1000").1.lines().count();
    assert!((5..300).contains(&changes), "{changes} changes are known");
    // Now more and more at a time.
    let put =
        |kv: &mut Connection, n: u32| kv.put(&format!("/keys/many/{n}"), format!("{n:010000}"));
    let full = (0..100).find(|n| match put(&mut kv, *n) {
        201 => false,
        507 => true,
        status => panic!("key {n}: {status}"),
    });
    let full = full.expect("the disk is full at last");
    assert!(full > 20, "{full} values fit");
    assert_eq!(put(&mut kv, full), 507, "and stays so");
    for n in 0..full {
        assert_eq!(kv.get(&format!("/keys/many/{n}")).0, 200);
        if n % 2 == 0 {
            let target = format!("/keys/many/{n}");
            assert_eq!(kv.ask("DELETE", &target, &[], "").0, 204, "key {n}");
        }
    }
    assert_eq!(put(&mut kv, full), 201, "there is room again");
    let (status, check) = kv.get("/check");
    assert_eq!(status, 200, "{check}");
    let mut again = Host::new(&world, "again", &clone(&world, &disk)).serve();
    assert_eq!(again.get("/check"), (status, check));
}

/// Another disk of the same contents.
fn clone(world: &World, disk: &Disk) -> Disk {
    let copy = world.disk("copy", 1 << 20);
    copy.write(0, &disk.read(0, 1 << 20));
    copy
}

#[test]
fn a_value_larger_than_the_disk_is_refused() {
    let world = World::new(6);
    let mut kv = Host::new(&world, "kv", &world.disk("disk", 1 << 20)).serve();
    assert_eq!(kv.put("/keys/large", vec![b'x'; 1 << 20]), 507);
    assert_eq!(kv.put("/keys/large", vec![b'x'; 300 << 10]), 201);
    assert_eq!(kv.get("/check").0, 200);
}

#[test]
fn a_disk_that_fails_is_told_and_used_again_once_it_works() {
    let world = World::new(7);
    let disk = world.disk("disk", 1 << 20);
    let mut kv = Host::new(&world, "kv", &disk).serve();
    assert_eq!(kv.put("/keys/a", "1"), 201);
    disk.set_medium(Medium {
        errors: 1.0,
        ..Medium::default()
    });
    let (status, text) = kv.ask("PUT", "/keys/a", &[], "2");
    assert_eq!(status, 503, "{text}");
    assert!(
        text.contains("may be lost, or become durable later"),
        "{text}"
    );
    assert_eq!(kv.get("/keys/a"), is(200, "2"), "reading goes on");
    disk.set_medium(Medium::default());
    world.run_for(Duration::from_secs(2));
    assert_eq!(kv.put("/keys/a", "3"), 204);
}

/// What comes until it holds this text.
async fn told(incoming: &mut Incoming<'_, MemoryFlow, Timer<Sim>>, until: &str) -> String {
    let mut text = String::new();
    while !text.contains(until) {
        let mut buffer = [0; 1000];
        let count = incoming.read(&mut buffer).await.unwrap();
        text += std::str::from_utf8(&buffer[..count]).unwrap();
    }
    text
}

#[test]
fn who_watches_is_told_of_each_key_that_changes() {
    let world = World::new(8);
    let host = Host::new(&world, "kv", &world.disk("disk", 1 << 20));
    let mut kv = host.serve();
    let mut watcher = host.connect();
    let request = Outgoing {
        method: "GET",
        target: "/watch?path=a",
        fields: &[],
    };
    let runtime = host.runtime.clone();
    let mut incoming = runtime
        .block_on(watcher.client.request(request, b""))
        .unwrap();
    let mut told = async |until: &str| told(&mut incoming, until).await;
    runtime.block_on(told(": watching\n\n"));
    assert_eq!(kv.put("/keys/b/x", "1"), 201);
    assert_eq!(kv.put("/keys/a/x", "1"), 201);
    let text = runtime.block_on(told("a/x\n\n"));
    assert!(text.starts_with("event: put\nid: "), "{text}");
    assert!(!text.contains("b/x"), "{text}");
    assert_eq!(kv.ask("DELETE", "/keys/a/x", &[], "").0, 204);
    let text = runtime.block_on(told("a/x\n\n"));
    assert!(text.starts_with("event: delete\nid: "), "{text}");
    runtime.block_on(told(":\n\n"));
}

#[test]
fn who_watches_a_key_itself_is_told_when_it_is_deleted() {
    let world = World::new(10);
    let host = Host::new(&world, "kv", &world.disk("disk", 1 << 20));
    let mut kv = host.serve();
    let mut watcher = host.connect();
    let request = Outgoing {
        method: "GET",
        target: "/watch?path=a/x",
        fields: &[],
    };
    let runtime = host.runtime.clone();
    let mut incoming = runtime
        .block_on(watcher.client.request(request, b""))
        .unwrap();
    let mut told = async |until: &str| told(&mut incoming, until).await;
    runtime.block_on(told(": watching\n\n"));
    assert_eq!(kv.put("/keys/a/x", "1"), 201);
    let text = runtime.block_on(told("a/x\n\n"));
    assert!(text.starts_with("event: put\nid: "), "{text}");
    assert_eq!(kv.ask("DELETE", "/keys/a/x", &[], "").0, 204);
    let text = runtime.block_on(told("a/x\n\n"));
    assert!(text.starts_with("event: delete\nid: "), "{text}");
}

#[test]
fn a_disk_that_holds_something_else_or_is_too_small_stops_the_start_and_stays_as_it_is() {
    let world = World::new(9);
    let photos = world.disk("photos", 1 << 20);
    photos.write(0, &[7; 4096]);
    let host = Host::new(&world, "a", &photos);
    let error = host.runtime.block_on(host.main()).unwrap_err();
    assert!(error.to_string().contains("no Irmin store"), "{error}");
    assert_eq!(photos.read(0, 4096), [7; 4096]);
    assert_eq!(photos.read(4096, 4096), [0; 4096]);
    let host = Host::new(&world, "b", &world.disk("small", 64 << 10));
    let error = host.runtime.block_on(host.main()).unwrap_err();
    assert!(error.to_string().contains("make it larger"), "{error}");
}
