use std::net::SocketAddr;
use std::time::Duration;

use mirage_device::io::{Read, Write};
use mirage_device::{Listener, Sleep, Spawn, Stack, Task, Udp};
use mirage_sim::World;
use mirage_smoltcp::{Keys, Smoltcp};

use crate::input::Input;
use crate::lan::{self, Lan, OUR_V4, OUR_V6, OURS, THEIR_V4, THEIR_V6, THEIRS};
use crate::packet::{self, ACK, SYN, Seen};

/// The TCP port and the UDP port that echo.
const TCP: u16 = 7;
const UDP: u16 = 5353;

/// A TCP/IP stack among frames of any kind, on simulated time: every frame it sends is
/// well-formed, every frame it gets is counted, and at the end it still serves.
pub fn stack(input: &[u8]) {
    let mut input = Input::new(input);
    let flags = input.byte();
    let simulation = World::new(0);
    let lan = Lan::new(flags & 2 != 0);
    let learns = flags & 1 != 0;
    let keys = if learns {
        Keys::default()
    } else {
        lan::fixed()
    };
    let stack = lan.stack(&simulation, keys);
    serve(&simulation, &stack);

    let mut last: (Vec<u8>, Option<Seen>) = (vec![0; 64], None);
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        step(&mut input, &simulation, &stack, &lan, &last);
        pass(&simulation, Duration::from_micros(10));
        for (frame, seen) in lan.drain() {
            last = (frame, seen.or(last.1));
        }
    }
    pass(&simulation, Duration::from_secs(200));
    lan.drain();
    assert_eq!(lan.received(), lan.injected.get());
    if !learns {
        lives(&simulation, &lan);
    }
    simulation.runtime().clear();
}

fn pass(simulation: &World, time: Duration) {
    simulation.block_on(simulation.sleep(time));
}

fn step(
    input: &mut Input<'_>,
    simulation: &World,
    stack: &Smoltcp,
    lan: &Lan,
    last: &(Vec<u8>, Option<Seen>),
) {
    let v4 = ((THEIRS, THEIR_V4), (OURS, OUR_V4));
    let v6 = ((THEIRS, THEIR_V6), (OURS, OUR_V6));
    match input.below(12) {
        0 => lan.inject(input.counted()),
        1 => {
            let kind = [0x0800, 0x0806, 0x86dd, 0x8100][input.below(4)];
            lan.inject(&[&packet::ethernet(THEIRS, OURS, kind), input.counted()].concat());
        }
        2 => {
            let protocol = input.byte();
            lan.inject(&packet::ipv4(v4.0, v4.1, protocol, input.counted()));
        }
        3 => {
            let (protocol, hops) = (input.byte(), [255, 64, 1][input.below(3)]);
            let link_local = "fe80::1".parse().unwrap_or(THEIR_V6);
            let from = [link_local, THEIR_V6, std::net::Ipv6Addr::UNSPECIFIED][input.below(3)];
            lan.inject(&packet::ipv6(
                (THEIRS, from),
                v6.1,
                protocol,
                hops,
                input.counted(),
            ));
        }
        4 => {
            let (port, flags, seq) = (u16::from(input.byte()) + 1, input.byte(), input.half());
            let tcp = packet::segment((port, TCP), seq.into(), 0, flags, input.counted());
            lan.inject(&packet::ipv4(v4.0, v4.1, 6, &tcp));
        }
        5 | 6 => {
            let (flags, near) = (input.byte(), [input.byte(), input.byte()]);
            let [seq, ack] = near.map(|byte| i32::from(byte.cast_signed()) as u32);
            if let Some(seen) = &last.1 {
                let payload = input.counted();
                let frame = packet::answer(seen, (THEIRS, OURS), flags, (seq, ack), payload);
                lan.inject(&frame);
            }
        }
        7 => {
            let ports = (u16::from(input.byte()), [UDP, 68, 53, 9][input.below(4)]);
            let udp = packet::datagram(ports, input.counted());
            lan.inject(&packet::ipv4(v4.0, v4.1, 17, &udp));
        }
        8 => pass(simulation, Duration::from_micros(1 << (input.byte() % 28))),
        9 => {
            // What it sent comes back, changed a little.
            let mut frame = last.0.clone();
            frame[..12].rotate_left(6);
            for _ in 0..input.below(4) {
                let at = input.below(frame.len());
                frame[at] = input.byte();
            }
            if input.byte() & 1 == 0 {
                packet::complete(&mut frame);
            }
            lan.inject(&frame);
        }
        10 => lan.inject(&packet::arp(input.half() & 3, v4.0, v4.1)),
        _ => {
            let remote = SocketAddr::new(THEIR_V4.into(), u16::from(input.byte()) + 1);
            // A connection of ours: whatever becomes of it, it ends within its timeout.
            let clock = simulation.clone();
            let mut connecting = Box::pin(stack.connect(remote));
            let content = input.counted().to_vec();
            simulation.block_on(async {
                let connected = clock
                    .timeout(Duration::from_micros(5), &mut connecting)
                    .await;
                if let Some(Ok(mut flow)) = connected {
                    let _ = clock
                        .timeout(Duration::from_secs(1), flow.write_all(&content))
                        .await;
                }
            });
        }
    }
}

fn serve(simulation: &World, stack: &Smoltcp) {
    let local = |port| SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), port);
    let mut listener = stack.listen(local(TCP), 16).expect("a port");
    let tasks = simulation.clone();
    let accept = async move {
        while let Ok(mut flow) = listener.accept().await {
            let echo = async move {
                let mut buffer = [0; 500];
                while let Ok(count @ 1..) = flow.read(&mut buffer).await {
                    if flow.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            };
            tasks.spawn(echo).detach();
        }
    };
    simulation.spawn(accept).detach();
    let udp = stack.bind_udp(local(UDP)).expect("a port");
    let echo = async move {
        let mut buffer = [0; 2000];
        while let Ok((count, from)) = udp.receive(&mut buffer).await {
            let count = count.min(buffer.len());
            let _ = udp.send(&buffer[..count], from).await;
        }
    };
    simulation.spawn(echo).detach();
}

/// A connection is accepted and echoes.
fn lives(simulation: &World, lan: &Lan) {
    let wait = |wanted: &dyn Fn(&Seen) -> bool| {
        for _ in 0..100 {
            pass(simulation, Duration::from_millis(100));
            let seen = lan.drain().into_iter().filter_map(|(_, seen)| seen);
            if let Some(seen) = seen
                .filter(|seen| seen.to.1 == 999)
                .find(|seen| wanted(seen))
            {
                return seen;
            }
        }
        panic!("the stack no longer serves");
    };
    let stations = (THEIRS, OURS);
    let (theirs, ours) = ((THEIRS, THEIR_V4), (OURS, OUR_V4));
    lan.inject(&packet::arp(2, theirs, ours));
    let syn = packet::segment((999, TCP), 1, 0, SYN, b"");
    lan.inject(&packet::ipv4(theirs, ours, 6, &syn));
    let answer = wait(&|seen| seen.flags == SYN | ACK && seen.ack == 2);
    lan.inject(&packet::answer(&answer, stations, ACK, (0, 0), b"alive?"));
    wait(&|seen| seen.length == 6 && seen.ack == 8);
}
