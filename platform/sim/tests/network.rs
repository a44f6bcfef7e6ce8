//! Frames, and what happens to them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use mirage_device::{Net as _, NetError, Received, Transmit};
use mirage_runtime::{Net, Runtime, Timer};
use mirage_sim::{Machine, Network, Sim, Weather, World};

const MILLISECOND: Duration = Duration::from_millis(1);

type Seen = Rc<RefCell<Vec<(u64, Vec<u8>)>>>;

/// A machine that writes down what it receives, with the time.
fn listener(world: &World, name: &str, network: &Network) -> (Machine, Seen) {
    let seen = Seen::default();
    let kept = seen.clone();
    let machine = world.machine(name).net("net", network);
    let machine = machine.start(move |runtime| {
        let (kept, timer) = (kept.clone(), Timer::new(runtime.clone()));
        async move {
            let net = Net::new(runtime, "net").unwrap();
            let mut buffer = vec![0; net.info().max_frame];
            loop {
                while let Some(received) = net.receive(&mut buffer).unwrap() {
                    let now = mirage_device::Clock::now(&timer).as_nanos();
                    let frame = buffer[..received.len].to_vec();
                    kept.borrow_mut().push((now, frame));
                }
                std::future::poll_fn(|cx| net.poll_readable(cx)).await;
            }
        }
    });
    (machine, seen)
}

/// A device of the scenario's own.
fn sender(world: &World, name: &str, network: &Network) -> (Machine, Runtime<Sim>, Net<Sim>) {
    let (machine, runtime) = world.machine(name).net("net", network).runtime();
    let net = Net::new(runtime.clone(), "net").unwrap();
    (machine, runtime, net)
}

fn frame(number: u32) -> Vec<u8> {
    let mut frame = vec![0xff; 64];
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame
}

fn numbers(seen: &Seen) -> Vec<u32> {
    let number =
        |(_, frame): &(u64, Vec<u8>)| u32::from_be_bytes(frame[14..18].try_into().unwrap());
    seen.borrow().iter().map(number).collect()
}

fn send_all(net: &Net<Sim>, count: u32) {
    for number in 0..count {
        net.send(&frame(number), Transmit::default()).unwrap();
    }
}

#[test]
fn a_frame_takes_its_time_and_reaches_whom_it_is_for() {
    let world = World::new(1);
    let lan = world.network("lan");
    let (_, a) = listener(&world, "a", &lan);
    let (_, b) = listener(&world, "b", &lan);
    let (_, c) = listener(&world, "c", &world.network("other"));
    let (_, _, net) = sender(&world, "sender", &lan);
    net.send(&[0xff; 60], Transmit::default()).unwrap();
    let (_, _, to) = sender(&world, "third", &lan);
    let mut unicast = [7; 60];
    unicast[..6].copy_from_slice(&to.info().mac);
    net.send(&unicast, Transmit::default()).unwrap();
    world.run_for(MILLISECOND);
    let expected = [(100_000, vec![0xff; 60])];
    assert_eq!(*a.borrow(), expected);
    assert_eq!(*b.borrow(), expected);
    assert!(c.borrow().is_empty());
    let mut buffer = [0; 1514];
    assert_eq!(to.receive(&mut buffer), Ok(Some(Received::new(60, false))));
    assert_eq!(&buffer[..60], &unicast);
    assert_eq!(to.receive(&mut buffer), Ok(None));
    assert_eq!(world.frames(), 3, "the two listeners', and the third's");
}

#[test]
fn too_long_is_refused_and_a_short_buffer_loses_one_frame() {
    let world = World::new(1);
    let lan = world.network("lan").mtu(600);
    let (_, _, a) = sender(&world, "a", &lan);
    let (_, _, b) = sender(&world, "b", &lan);
    assert_eq!(a.info().mtu, 600);
    assert_eq!(
        a.send(&[0xff; 615], Transmit::default()),
        Err(NetError::TooLong)
    );
    a.send(&[0xff; 614], Transmit::default()).unwrap();
    a.send(&[0xff; 20], Transmit::default()).unwrap();
    world.run_for(MILLISECOND);
    let mut buffer = [0; 100];
    assert_eq!(b.receive(&mut buffer), Err(NetError::TooLong));
    assert_eq!(b.receive(&mut buffer), Ok(Some(Received::new(20, false))));
}

#[test]
fn a_narrow_link_is_full_and_tells_when_there_is_room() {
    let world = World::new(1);
    let lan = world.network("lan");
    lan.set_weather(Weather {
        // A frame of 64 bytes takes 704 bits.
        bandwidth: Some(704_000),
        ..Weather::default()
    });
    let (_, seen) = listener(&world, "listener", &lan);
    let (_, runtime, net) = sender(&world, "sender", &lan);
    let mut sent = 0;
    runtime.block_on(async {
        while sent < 1000 {
            match net.send(&frame(sent), Transmit::default()) {
                Ok(()) => sent += 1,
                Err(error) => {
                    assert_eq!(error, NetError::Full);
                    std::future::poll_fn(|cx| net.poll_writable(cx)).await;
                }
            }
        }
    });
    world.run_for(Duration::from_secs(2));
    assert_eq!(numbers(&seen), (0..1000).collect::<Vec<_>>());
    let times: Vec<u64> = seen.borrow().iter().map(|(at, _)| *at).collect();
    assert_eq!(times[0], 1_100_000);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000));
}

/// What arrives of a thousand frames in this weather: numbers, and how many are damaged.
fn through(seed: u64, weather: Weather) -> (Vec<u32>, usize) {
    let world = World::new(seed);
    let lan = world.network("lan");
    lan.set_weather(weather);
    let (_, seen) = listener(&world, "listener", &lan);
    let (_, _, net) = sender(&world, "sender", &lan);
    for number in 0..1000 {
        net.send(&frame(number), Transmit::default()).unwrap();
        world.run_for(MILLISECOND / 20);
    }
    world.run_for(Duration::from_secs(1));
    let whole: BTreeSet<Vec<u8>> = (0..1000).map(frame).collect();
    let damaged = seen
        .borrow()
        .iter()
        .filter(|(_, frame)| !whole.contains(frame))
        .count();
    (numbers(&seen), damaged)
}

#[test]
fn each_kind_of_weather_does_what_it_says_and_the_same_for_one_seed() {
    let calm = Weather::default();
    let all: Vec<u32> = (0..1000).collect();
    assert_eq!(through(1, calm), (all.clone(), 0));

    let lossy = Weather { loss: 0.2, ..calm };
    let (some, _) = through(1, lossy);
    assert!((750..850).contains(&some.len()), "{}", some.len());
    assert!(some.is_sorted());
    assert_eq!(through(1, lossy).0, some);
    assert_ne!(through(2, lossy).0, some);

    let doubling = Weather {
        duplication: 0.2,
        ..calm
    };
    let (more, _) = through(1, doubling);
    assert!((1150..1250).contains(&more.len()), "{}", more.len());

    let damaging = Weather {
        corruption: 0.2,
        ..calm
    };
    let (_, damaged) = through(1, damaging);
    assert!((150..250).contains(&damaged), "{damaged}");

    let reordering = Weather {
        reordering: 0.2,
        ..calm
    };
    let (mut mixed, _) = through(1, reordering);
    assert!(!mixed.is_sorted());
    mixed.sort_unstable();
    assert_eq!(mixed, all);

    let jittery = Weather {
        jitter: 10 * MILLISECOND,
        ..calm
    };
    assert_eq!(through(1, jittery).0, all, "jitter keeps the order");
}

#[test]
fn a_partition_loses_what_crosses_it_until_it_is_healed() {
    let world = World::new(1);
    let lan = world.network("lan");
    let (a, at_a) = listener(&world, "a", &lan);
    let (_, at_b) = listener(&world, "b", &lan);
    let (sender, _, net) = sender(&world, "sender", &lan);
    net.send(&frame(0), Transmit::default()).unwrap();
    lan.partition(&[&[&a], &[&sender]]);
    net.send(&frame(1), Transmit::default()).unwrap();
    world.run_for(MILLISECOND);
    assert!(at_a.borrow().is_empty() && at_b.borrow().is_empty());
    lan.partition(&[&[&a, &sender]]);
    net.send(&frame(2), Transmit::default()).unwrap();
    world.run_for(MILLISECOND);
    lan.heal();
    net.send(&frame(3), Transmit::default()).unwrap();
    world.run_for(MILLISECOND);
    assert_eq!((numbers(&at_a), numbers(&at_b)), (vec![2, 3], vec![3]));
}

#[test]
fn a_pulled_cable_loses_frames_and_a_device_that_is_taken_away_is_gone() {
    let world = World::new(1);
    let lan = world.network("lan");
    let (a, at_a) = listener(&world, "a", &lan);
    let (sender, runtime, net) = sender(&world, "sender", &lan);
    a.set_link("net", false);
    send_all(&net, 1);
    world.run_for(MILLISECOND);
    a.set_link("net", true);
    sender.set_link("net", false);
    send_all(&net, 1);
    world.run_for(MILLISECOND);
    sender.set_link("net", true);
    assert!(at_a.borrow().is_empty());
    let mut buffer = [0; 1514];
    assert_eq!(net.receive(&mut buffer), Ok(None));
    world.at(mirage_device::Clock::now(&world) + MILLISECOND, move |_| {
        sender.unplug("net");
    });
    runtime.block_on(std::future::poll_fn(|cx| net.poll_readable(cx)));
    assert_eq!(net.receive(&mut buffer), Err(NetError::Gone));
    assert_eq!(
        net.send(&frame(1), Transmit::default()),
        Err(NetError::Gone)
    );
}

#[test]
fn what_one_fault_does_to_a_frame_does_not_depend_on_the_others() {
    let lossy = Weather {
        loss: 0.2,
        ..Weather::default()
    };
    let both = Weather {
        duplication: 0.3,
        ..lossy
    };
    let lost = |weather| {
        let (seen, _) = through(5, weather);
        let seen: BTreeSet<u32> = seen.into_iter().collect();
        (0..1000).filter(|n| !seen.contains(n)).collect::<Vec<_>>()
    };
    assert_eq!(lost(lossy), lost(both));
}

#[test]
fn captures_hold_what_was_sent_and_what_one_machine_saw() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(1);
    let lan = world.network("lan");
    let (a, seen) = listener(&world, "a", &lan);
    let (_, _, net) = sender(&world, "sender", &lan);
    let (all, some) = (folder.path().join("lan.pcap"), folder.path().join("a.pcap"));
    lan.pcap(&all).unwrap();
    a.pcap("net", &some).unwrap();
    lan.set_weather(Weather {
        loss: 0.5,
        ..Weather::default()
    });
    send_all(&net, 100);
    world.run_for(MILLISECOND);
    let len = |path| std::fs::metadata(path).unwrap().len();
    assert_eq!(len(&all), 24 + 100 * (16 + 64));
    assert_eq!(len(&some), 24 + seen.borrow().len() as u64 * (16 + 64));
    assert!(lan.pcap(folder.path().join("none/lan.pcap")).is_err());
}
