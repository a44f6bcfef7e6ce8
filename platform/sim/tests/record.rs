//! The recording of a simulated machine, repeated without its world.

use std::rc::Rc;
use std::time::Duration;

use mirage_device::{
    Block as _, Console as _, Net as _, Platform as _, Sleep as _, Transmit, Wall as _,
};
use mirage_record::{Description, Door, Memory};
use mirage_runtime::{Block, Console, Net, Runtime, Timer, Wall};
use mirage_sim::{Sim, Unikernel, Weather, World, unikernel};

type Taped = Door<Sim, Rc<Memory>>;

/// It uses everything that there is, and ends.
fn unikernel() -> Unikernel<Taped> {
    unikernel! {
        devices: [("disk", Block), ("net", Net)],
        keys: [("turns", U32, Some("50"), false, "How many frames to send")],
        main: |runtime: Runtime<Taped>, keys| async move {
            let turns = runtime.check("turns", keys.get("turns"))?;
            runtime.finish(run(&runtime, turns).await)
        },
    }
}

async fn run(runtime: &Runtime<Taped>, turns: u32) -> Result<(), &'static str> {
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
    let tape = Rc::new(Memory::recording(&Description::default(), 1 << 20));
    let recording = tape.clone();
    let machine = world
        .machine("recorded")
        .net("net", &lan)
        .disk("disk", &disk);
    let machine = machine.argument("turns=40").boot_on(
        move |sim| Door::new(sim, Some(recording.clone())),
        &unikernel(),
    );
    world.run_for(Duration::from_secs(10));
    assert_eq!(machine.status(), Some(1));
    let said = machine.console();
    assert!(said.lines().count() > 20, "{said}");
    assert!(said.ends_with("error: all turns are over\n"), "{said}");

    // The same again with `block_on`, as an image runs. The devices are there, and are not asked:
    // every answer comes from the tape.
    let empty = World::new(6);
    let (lan, disk) = (empty.network("lan"), empty.disk("disk", 4096));
    let tape = Rc::new(Memory::replaying(tape.to_bytes()));
    let machine = empty.machine("again").disk("disk", &disk).net("net", &lan);
    let (machine, runtime) = machine.runtime_on(|sim| Door::new(sim, Some(tape)));
    // The log's start.
    runtime.platform().now();
    let ended = runtime.block_on(run(&runtime, 40));
    assert_eq!(
        format!("{}error: {}\n", machine.console(), ended.unwrap_err()),
        said
    );
    assert_eq!(
        runtime.platform().outcome(),
        mirage_record::Outcome::Exited(1)
    );
    assert_eq!(empty.frames(), 0);
}
