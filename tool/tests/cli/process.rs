//! A real example as a sealed process: built, started by the tender, reached through the gateway.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::world::{Said, tool};

/// The tool on `examples/echo`. What it builds is kept from one run of the tests to the next.
fn echo(verb: &str) -> Command {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut tool = tool(home);
    tool.args([verb, "examples/echo"]);
    tool.env(
        "CARGO_TARGET_DIR",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("echo"),
    );
    tool
}

fn said(more: &[&str]) -> Said {
    Said::new(echo("run").args(more).output().unwrap())
}

struct Running {
    tool: Child,
    events: std::io::Lines<BufReader<ChildStdout>>,
    port: u16,
    image: i32,
}

impl Running {
    fn start() -> Self {
        let mut tool = echo("run");
        tool.args(["--json", "--publish", "0:7"])
            .stdout(Stdio::piped());
        let mut tool = tool.spawn().unwrap();
        let events = BufReader::new(tool.stdout.take().unwrap()).lines();
        let mut running = Self {
            tool,
            events,
            port: 0,
            image: 0,
        };
        running.image = running.event("started")["pid"].as_i64().unwrap() as i32;
        running.port = running.event("published")["port"].as_u64().unwrap() as u16;
        running
    }

    /// Waits for an event of this name.
    fn event(&mut self, name: &str) -> serde_json::Value {
        loop {
            let line = self.events.next().expect("more events").unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["event"] == name {
                return event;
            }
        }
    }

    fn answers(&self) -> bool {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer == "hello"
    }

    /// Watches the image's process.
    fn watch_image(&self) -> OwnedFd {
        let pid = Pid::from_raw(self.image).unwrap();
        pidfd_open(pid, PidfdFlags::empty()).unwrap()
    }
}

/// Waits until the process runs no more, whoever has to take notice of its end.
fn wait_for(process: &OwnedFd) {
    let patience = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let mut ended = [PollFd::new(process, PollFlags::IN)];
    assert_eq!(poll(&mut ended, Some(&patience)), Ok(1), "it still runs");
}

#[test]
fn an_example_serves_through_a_published_port_until_it_is_told_to_stop() {
    let mut running = Running::start();
    assert!(running.answers());
    assert!(running.event("booted")["milliseconds"].as_f64().unwrap() > 0.0);
    let image = running.watch_image();
    kill_process(Pid::from_child(&running.tool), Signal::INT).unwrap();
    assert_eq!(running.event("exited")["status"], 130);
    assert_eq!(running.tool.wait().unwrap().code(), Some(130));
    wait_for(&image);
}

#[test]
fn the_image_dies_with_the_tool_however_that_ends() {
    let mut running = Running::start();
    assert!(running.answers());
    let image = running.watch_image();
    running.tool.kill().unwrap();
    running.tool.wait().unwrap();
    wait_for(&image);
}

#[test]
fn what_is_wrong_with_the_host_is_told_before_the_start() {
    said(&["--tap", "nosuchtap0"]).failed(
        1,
        &[
            "there is no tap `nosuchtap0`",
            "ip tuntap add dev nosuchtap0 mode tap user $USER",
        ],
    );
    said(&["--tap", "lo"]).failed(1, &["the network interface `lo` is not a tap"]);
    said(&["--tap", "nett=tap0"]).failed(2, &["no network device `nett`", "did you mean `net`?"]);
    said(&["--publish", "1:7", "--tap", "tap0"]).failed(2, &["connected to a tap", "--tap"]);
    said(&["--publish", "192.0.2.1:0:7"]).failed(1, &["192.0.2.1 is not an address of this host"]);
    said(&["--", "port=http"]).failed(2, &["key `port`: `http` is not a number"]);
    said(&["--block", "disk=/dev/null"]).failed(2, &["echo has no block device"]);
}

#[test]
fn an_image_keeps_no_symbols_and_its_twin_keeps_them_for_a_debugger() {
    Said::new(echo("build").output().unwrap()).succeeded();
    let image = Path::new(env!("CARGO_TARGET_TMPDIR")).join("echo/mirage/echo");
    let (image, twin) = (
        fs::read(&image).unwrap(),
        fs::read(image.with_extension("debug")).unwrap(),
    );
    assert!(image.starts_with(b"\x7fELF"));
    assert_eq!(image[0x3c..0x3e], [0, 0], "no section headers");
    assert_ne!(twin[0x3c..0x3e], [0, 0], "they are in the unstripped twin");
    assert!(image.len() * 2 < twin.len());
}
