//! What a hostile network sends: nothing of it may stop the stack.

mod world;

use std::net::Ipv6Addr;

use mirage_device::io::{Read, Write};
use mirage_device::{Listener, Sleep, Spawn, Stack, Task, Udp};
use mirage_smoltcp::{Keys, Smoltcp};
use world::peer::{self, ACK, FIN, RST, SYN, complete, ethernet, ipv4, ipv6};
use world::wire::{End, Options, wire};
use world::{Random, World, fixed, seconds};

fn address(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().unwrap().octets()
}

fn over_ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(1, 2, 0x0800);
    frame.extend(ipv4([10, 0, 0, 1], [10, 0, 0, 2], protocol, payload));
    complete(&mut frame);
    frame
}

fn over_ipv6(protocol: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(1, 2, 0x86dd);
    frame.extend(ipv6(
        address("fe80::1"),
        address("fd00::2"),
        protocol,
        hops,
        payload,
    ));
    complete(&mut frame);
    frame
}

/// A SYN with every option, some of them wrong.
fn options(random: &mut Random) -> Vec<u8> {
    let mut segment = peer::tcp(random.next() as u16, 7, random.next() as u32, 0, SYN, b"");
    let all: [&[u8]; 8] = [
        &[2, 4, 5, 0xb4],
        &[2, 4, 0, 0],
        &[3, 3, 255],
        &[4, 2],
        &[8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        &[5, 26, 1, 2, 3, 4],
        &[99, 0],
        &[1],
    ];
    for _ in 0..random.below(6) {
        segment.extend_from_slice(all[random.below(all.len())]);
    }
    while !segment.len().is_multiple_of(4) {
        segment.push(random.below(3) as u8);
    }
    segment.truncate(60);
    segment[12] = ((segment.len() / 4) as u8) << 4;
    segment
}

/// A frame of some kind, more or less as it should be.
fn frame(random: &mut Random) -> Vec<u8> {
    let port = [7, 53, 68, 80, 5353][random.below(5)];
    let datagram = |to: u16, payload: &[u8]| {
        let mut datagram = vec![0, 67];
        datagram.extend(to.to_be_bytes());
        datagram.extend(((payload.len() + 8) as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        datagram
    };
    let noise: Vec<u8> = (0..random.below(400))
        .map(|_| random.next() as u8)
        .collect();
    let flags = [SYN, ACK, RST, FIN | ACK, SYN | ACK, SYN | FIN, 0xff, 0][random.below(8)];
    let tcp = peer::tcp(
        random.below(4) as u16 + 1,
        7,
        random.next() as u32,
        random.next() as u32,
        flags,
        &noise,
    );
    let mut nd = vec![[133, 134, 135, 136, 137, 130][random.below(6)], 0, 0, 0];
    nd.extend(&noise[..noise.len().min(80)]);
    match random.below(14) {
        0 => over_ipv4(6, &options(random)),
        1 => over_ipv4(6, &tcp),
        2 => over_ipv6(6, 64, &options(random)),
        3 => over_ipv6(6, 64, &tcp),
        4 => over_ipv4(17, &datagram(port, &noise)),
        5 => over_ipv6(17, 64, &datagram(port, &noise)),
        6 => over_ipv4(1, &[&[8, 0, 0, 0][..], &noise].concat()),
        7 => over_ipv6(58, 255, &[&[128, 0, 0, 0][..], &noise].concat()),
        8 => over_ipv6(58, 255, &nd),
        9 => {
            let mut arp = peer::arp_reply(random.below(9) as u8, 2);
            arp[21] = random.below(4) as u8;
            arp
        }
        10 => over_ipv4(2, &[0x11, 100, 0, 0, 0, 0, 0, 0]),
        11 => {
            // A hop-by-hop header before something.
            let mut payload = vec![[6, 17, 58, 0, 44][random.below(5)], random.below(3) as u8];
            payload.extend([5, 2, 0, 0, 1, 0]);
            payload.extend(&tcp);
            over_ipv6(0, 64, &payload)
        }
        12 => {
            let mut fragment = over_ipv4(17, &datagram(port, &noise));
            fragment[20] = random.next() as u8 & 0x3f;
            fragment[21] = random.next() as u8;
            fragment
        }
        _ => {
            let kind = [0x0800, 0x0806, 0x86dd, 0x8100, 0xffff][random.below(5)];
            [ethernet(1, 2, kind), noise].concat()
        }
    }
}

/// Spoils a frame in some ways, and sometimes puts its checksums right again.
fn spoil(random: &mut Random, frame: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        let at = random.below(frame.len().max(1));
        match random.below(5) {
            0 => frame.truncate(at),
            1 => frame.extend((0..random.below(100)).map(|n| n as u8)),
            2 if at < frame.len() => frame[at] ^= 1 << random.below(8),
            3 if at < frame.len() => frame[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            // Lengths, header lengths, protocols: where it hurts.
            _ => {
                let at = [14, 16, 17, 18, 19, 20, 21, 23, 38, 39, 46, 54, 55, 66][random.below(14)];
                if let Some(byte) = frame.get_mut(at) {
                    *byte = random.next() as u8;
                }
            }
        }
    }
    if random.below(2) == 0 && frame.len() >= 80 {
        if frame[12..14] == [8, 0] && frame[14] & 15 >= 5 {
            let end = 14 + usize::from(frame[14] & 15) * 4;
            if end + 20 <= frame.len() {
                frame[24..26].fill(0);
                let value = world::wire::sum(&frame[14..end]);
                frame[24..26].copy_from_slice(&value.to_be_bytes());
                complete(frame);
            }
        } else if frame[12..14] == [0x86, 0xdd] {
            complete(frame);
        }
    }
}

/// A stack that echoes TCP on port 7 and UDP on port 5353, and a wire to it.
async fn victim(world: &World, keys: Keys) -> (Smoltcp, End) {
    let options = Options {
        room: 1 << 20,
        ..Options::default()
    };
    let (end, device) = wire(world, options);
    let stack = world.stack(device, keys).await;
    let mut listener = stack.listen("[::]:7".parse().unwrap(), 16).unwrap();
    let tasks = world.clone();
    let serve = async move {
        while let Ok(mut flow) = listener.accept().await {
            let job = async move {
                let mut buffer = [0; 500];
                while let Ok(len @ 1..) = flow.read(&mut buffer).await {
                    if flow.write_all(&buffer[..len]).await.is_err() {
                        return;
                    }
                }
            };
            tasks.spawn(job).detach();
        }
    };
    world.spawn(serve).detach();
    let udp = stack.bind_udp("[::]:5353".parse().unwrap()).unwrap();
    let echo = async move {
        let mut buffer = [0; 2000];
        loop {
            let (len, from) = udp.receive(&mut buffer).await.unwrap();
            let _ = udp.send(&buffer[..len], from).await;
        }
    };
    world.spawn(echo).detach();
    (stack, end)
}

#[test]
fn random_and_spoilt_frames_never_stop_the_stack() {
    for seed in 0..60 {
        println!("seed {seed}");
        let world = World::new(seed);
        let inner = world.clone();
        world.run(async move {
            let world = inner;
            let keys = if seed % 2 == 0 {
                fixed(2)
            } else {
                Keys::default()
            };
            let learns = seed % 2 == 1;
            let name = keys.ipv4.clone();
            let (_stack, end) = victim(&world, keys).await;
            let mut random = Random::new(seed);
            for round in 0..2000 {
                let mut bytes = frame(&mut random);
                if random.below(3) > 0 {
                    spoil(&mut random, &mut bytes);
                }
                end.inject(&bytes);
                if round % 50 == 0 {
                    // What it answers is thrown back at it, changed a little.
                    world.sleep(std::time::Duration::from_millis(300)).await;
                    for mut answer in end.drain() {
                        if let Some((to, from)) = answer.split_at_mut_checked(6) {
                            to.swap_with_slice(&mut from[..6]);
                        }
                        spoil(&mut random, &mut answer);
                        end.inject(&answer);
                    }
                }
            }
            world.sleep(seconds(200)).await;
            let count = |counter: &str| world.count_of(&name, counter);
            assert!(count("frames_received_total") >= 2000);
            let dropped = ["malformed", "checksum", "fragment", "not_for_us"]
                .map(|cause| count(&format!("frames_dropped_total{{cause=\"{cause}\"}}")));
            assert!(dropped.iter().sum::<u64>() > 100, "{dropped:?}");
            if learns {
                return;
            }
            // It still serves.
            end.drain();
            end.inject(&peer::arp_reply(1, 2));
            end.inject(&peer::segment(1, 2, (999, 7), 1, 0, SYN));
            let answer = end
                .expect(|frame| peer::is_tcp(frame) && peer::see(frame).to == 999)
                .await;
            assert_eq!(peer::see(&answer).flags, SYN | ACK);
            end.inject(&peer::answer(&answer, ACK, b""));
            end.inject(&peer::answer(&answer, ACK, b"alive?"));
            let echo = end
                .expect(|frame| peer::is_tcp(frame) && peer::see(frame).len > 0)
                .await;
            assert_eq!(&echo[54..], b"alive?");
        });
    }
}

#[test]
fn every_truncation_of_every_kind_of_frame_is_harmless() {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let (_stack, end) = victim(&world, fixed(2)).await;
        let mut random = Random::new(3);
        let mut sent = 0;
        for _ in 0..60 {
            let whole = frame(&mut random);
            for len in 0..whole.len() {
                end.inject(&whole[..len]);
                sent += 1;
            }
            world.settle().await;
            end.drain();
        }
        assert_eq!(world.count(2, "frames_received_total"), sent);
    });
}

#[test]
fn each_kind_of_drop_has_its_counter() {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let (_stack, end) = victim(&world, fixed(2)).await;
        let good = over_ipv4(6, &peer::tcp(1, 7, 1, 0, SYN, b""));
        let mut checksum = good.clone();
        checksum[50] ^= 1;
        let mut header = good.clone();
        header[24] ^= 1;
        let mut fragment = over_ipv4(17, &[0, 1, 0, 2, 0, 8, 0, 0]);
        fragment[20] = 0x20;
        fragment[24..26].fill(0);
        let value = world::wire::sum(&fragment[14..34]);
        fragment[24..26].copy_from_slice(&value.to_be_bytes());
        let mut stranger = good.clone();
        stranger[5] = 99;
        for frame in [
            &good[..40],
            &good[..20],
            &checksum,
            &header,
            &fragment,
            &stranger,
        ] {
            end.inject(frame);
        }
        end.inject(&over_ipv6(44, 64, &[6, 0, 0, 1, 0, 0, 0, 0]));
        end.inject(&vec![2; 3000]);
        world.settle().await;
        for (cause, count) in [
            ("malformed", 2),
            ("checksum", 2),
            ("fragment", 2),
            ("not_for_us", 1),
            ("too_long", 1),
        ] {
            assert_eq!(world.dropped(2, "frames", cause), count, "{cause}");
        }
        assert_eq!(world.count(2, "frames_received_total"), 7);
    });
}

#[test]
fn a_reset_is_only_heeded_inside_the_window() {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let (_stack, end) = victim(&world, fixed(2)).await;
        end.inject(&peer::arp_reply(1, 2));
        end.inject(&peer::segment(1, 2, (999, 7), 1, 0, SYN));
        let answer = end.expect(peer::is_tcp).await;
        end.inject(&peer::answer(&answer, ACK, b""));
        let seen = peer::see(&answer);
        for seq in [seen.ack.wrapping_sub(1), seen.ack.wrapping_add(1 << 30)] {
            end.inject(&peer::segment(1, 2, (999, 7), seq, 0, RST));
        }
        end.inject(&peer::answer(&answer, ACK, b"alive?"));
        let echo = end
            .expect(|frame| peer::is_tcp(frame) && peer::see(frame).len > 0)
            .await;
        assert_eq!(&echo[54..], b"alive?");
    });
}
