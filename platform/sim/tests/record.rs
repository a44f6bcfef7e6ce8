//! The recording of a simulated machine, repeated without its world.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use mirage_device::platform::{BlockOperation, DeviceEntry, DeviceId, Ready, Ticket};
use mirage_device::{
    Block as _, BlockError, BlockInfo, Console as _, EntropyError, Instant, Net as _, NetError,
    NetInfo, Platform, Received, Sleep as _, Transmit, Wall as _,
};
use mirage_record::{Door, Memory, Outcome, Recording};
use mirage_runtime::{Block, Console, Net, Runtime, Timer, Wall};
use mirage_sim::{Unikernel, Weather, World, unikernel};

/// It uses everything that there is, and ends.
fn unikernel() -> Unikernel {
    unikernel! {
        devices: [("disk", Block), ("net", Net)],
        keys: [("turns", U32, Some("50"), false, "How many frames to send")],
        main: |runtime, keys| async move {
            let turns = runtime.check("turns", keys.get("turns"))?;
            runtime.finish(run(&runtime, turns).await)
        },
    }
}

async fn run<P: Platform>(runtime: &Runtime<P>, turns: u32) -> Result<(), &'static str> {
    let net = Net::new(runtime.clone(), "net").unwrap();
    let disk = Block::new(runtime.clone(), "disk").unwrap();
    let (console, timer) = (Console::new(runtime.clone()), Timer::new(runtime.clone()));
    let wall = Wall::new(runtime.clone());
    let mut buffer = vec![0; net.info().max_frame];
    for turn in 0..turns {
        let frame = [turn as u8; 64];
        let frame = [&[0xff; 6][..], &frame[6..]].concat();
        net.send(&frame, Transmit::default()).unwrap();
        disk.write(512 * u64::from(turn % 8), &[&[turn as u8; 512]])
            .await
            .unwrap();
        timer.sleep(Duration::from_millis(3)).await;
        while let Some(received) = net.receive(&mut buffer).unwrap() {
            let text = format!("{turn} {} {:?}\n", buffer[received.len - 1], wall.wall());
            console.write(text.as_bytes());
        }
    }
    Err("all turns are over")
}

#[test]
fn a_simulated_machine_makes_the_calls_that_it_makes_under_block_on() {
    let world = World::new(5);
    let lan = world.network("lan");
    lan.set_weather(Weather::STORM);
    let disk = world.disk("disk", 4096);
    world
        .machine("other")
        .net("net", &lan)
        .start(|runtime| async move {
            let net = Net::new(runtime.clone(), "net").unwrap();
            let timer = Timer::new(runtime);
            for count in 0..100 {
                net.send(&[[0xff; 6], [count; 6]].concat(), Transmit::default())
                    .unwrap();
                timer.sleep(Duration::from_millis(2)).await;
            }
        });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording");
    let machine = world
        .machine("recorded")
        .net("net", &lan)
        .disk("disk", &disk);
    let machine = machine
        .argument("turns=40")
        .record(&file)
        .boot(&unikernel());
    world.run_for(Duration::from_secs(10));
    assert_eq!(machine.status(), Some(1));
    let said = machine.console();
    assert!(said.lines().count() > 20, "{said}");

    // The same again with `block_on`, as an image runs: every answer comes from the tape.
    let nothing = Nothing::default();
    let console = nothing.0.clone();
    let file = std::fs::read(&file).unwrap();
    let recording = Recording::read(&file).unwrap();
    assert_eq!(recording.outcome(), Outcome::Exited(1));
    let tape = Memory::replaying(&recording);
    let runtime = Runtime::new(Door::new(nothing, Some(tape)));
    // The log's start.
    runtime.platform().now();
    let ended = runtime.block_on(run(&runtime, 40));
    let ended = format!("error: {}\n", ended.unwrap_err());
    runtime.platform().console(ended.as_bytes());
    // Nothing was other than recorded; the end itself is not made here.
    assert_eq!(runtime.platform().outcome(), Outcome::Open);
    assert_eq!(String::from_utf8_lossy(&console.borrow()), said);
}

/// A platform that has a console and must not be asked for anything.
#[derive(Default)]
struct Nothing(Rc<RefCell<Vec<u8>>>);

impl Platform for Nothing {
    fn now(&self) -> Instant {
        unreachable!()
    }

    fn wall(&self) -> Option<Duration> {
        unreachable!()
    }

    fn entropy(&self, _: &mut [u8]) -> Result<(), EntropyError> {
        unreachable!()
    }

    fn console(&self, bytes: &[u8]) {
        self.0.borrow_mut().extend_from_slice(bytes);
    }

    fn arguments(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    fn devices(&self) -> impl Iterator<Item = DeviceEntry<'_>> {
        std::iter::empty()
    }

    fn net_info(&self, _: DeviceId) -> NetInfo {
        unreachable!()
    }

    fn net_receive(&self, _: DeviceId, _: &mut [u8]) -> Result<Option<Received>, NetError> {
        unreachable!()
    }

    fn net_send(&self, _: DeviceId, _: &[u8], _: Transmit) -> Result<(), NetError> {
        unreachable!()
    }

    fn block_info(&self, _: DeviceId) -> BlockInfo {
        unreachable!()
    }

    fn block(
        &self,
        _: DeviceId,
        _: &mut Ticket,
        _: BlockOperation<'_, '_>,
    ) -> Poll<Result<(), BlockError>> {
        unreachable!()
    }

    fn wait(&self, _: Option<Instant>) -> Ready {
        unreachable!()
    }

    fn exit(&self, status: u8) -> ! {
        panic!("status {status}")
    }
}
