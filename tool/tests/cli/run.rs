//! `mirage run`: options, keys, events, exit statuses.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::world::World;

fn run(world: &World, more: &[&str]) -> crate::world::Said {
    let mut arguments = vec!["run", "app", "--on", "host"];
    arguments.extend(more);
    world.mirage(&arguments)
}

#[test]
fn the_unikernels_exit_status_becomes_the_tools() {
    let world = World::new();
    let said = run(&world, &["--", "name=Ada"]).succeeded();
    assert_eq!(said.out, "Good day, Ada\n");
    run(&world, &["--", "status=7"]).failed(7, &["Ended with status 7"]);
}

#[test]
fn wrong_options_and_keys_are_told_before_the_start() {
    let world = World::new();
    run(&world, &["--", "nam=x"]).failed(2, &["unknown key `nam`; did you mean `name`?"]);
    run(&world, &["--", "status=x"]).failed(2, &["key `status`: `x` is not a number"]);
    run(&world, &["--", "greeting.from=x"])
        .failed(2, &["read when the unikernel is built", "--set"]);
    run(&world, &["--log", "loud"]).failed(2, &["`loud` is not a level"]);
    run(&world, &["--tap", "tap0"]).failed(2, &["--tap", "--on process"]);
    run(&world, &["--block", "disk=/dev/null"]).failed(2, &["app has no block device"]);

    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let said = run(&world, &["--publish", &format!("{port}:80")]);
    let holder = format!("(process {}) holds it", std::process::id());
    said.failed(
        1,
        &[&format!("port {port} of this machine is in use"), &holder],
    );

    // A block device must be given, and its file must be there.
    world.edit("app/Cargo.toml", "main(console", "main(disk, console");
    world.edit(
        "app/src/lib.rs",
        "    console: impl",
        "    _disk: &str,\n    console: impl",
    );
    run(&world, &[]).failed(2, &["block device `disk`", "--block disk=FILE"]);
    run(&world, &["--block", "disk=none.img"])
        .failed(1, &["there is no file none.img", "truncate"]);
    run(&world, &["--block", "disk=/dev/null"]).succeeded();
}

#[test]
fn events_are_one_json_object_a_line() {
    let world = World::new();
    let said = run(&world, &["--json", "--publish", "0:80", "--", "status=3"]);
    assert_eq!(said.status, 3);
    let events: Vec<serde_json::Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let find = |name: &str| {
        let found = events.iter().find(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("{name} in {events:?}"))
    };
    assert_eq!(find("building")["name"], "app");
    assert_eq!(find("built")["fresh"], false);
    assert!(find("started")["pid"].as_u64().unwrap() > 0);
    assert_eq!(find("published")["guest"], 80);
    assert_ne!(find("published")["port"], 0);
    assert_eq!(find("console")["text"], "Good day, world");
    assert_eq!(find("booted")["sign"], "first console output");
    assert_eq!(find("exited")["status"], 3);
    assert_eq!(events.last().unwrap()["event"], "exited");
}

#[test]
fn a_signal_ends_the_unikernel_with_the_tool() {
    let world = World::new();
    run(&world, &[]).succeeded();
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut tool = world.tool("");
        tool.args(["run", "app", "--on", "host", "--json", "--", "status=9"]);
        let mut child = tool.stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = None;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines {
            let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            match event["event"].as_str().unwrap() {
                "started" => pid = event["pid"].as_i64(),
                "console" => kill_process(Pid::from_child(&child), signal).unwrap(),
                _ => {}
            }
        }
        assert_eq!(child.wait().unwrap().code(), Some(status));
        let pid = Pid::from_raw(pid.unwrap() as i32).unwrap();
        assert!(test_kill_process(pid).is_err(), "the unikernel is gone");
    }
}
