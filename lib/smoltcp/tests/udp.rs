//! UDP between two stacks.

mod world;

use std::net::{IpAddr, SocketAddr};

use mirage_device::{Sleep, Spawn, Stack, StackError, Udp};
use mirage_smoltcp::Smoltcp;
use world::wire::{Options, wire};
use world::{World, fixed, pair, peer, seconds};

fn run<F: Future<Output = ()> + 'static>(
    options: Options,
    test: impl FnOnce(World, Smoltcp, Smoltcp) -> F + 'static,
) {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let (a, b) = pair(&inner, options).await;
        test(inner, a, b).await;
    });
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn datagrams_come_back_whole_over_both_families() {
    for options in [
        Options::default(),
        Options {
            offload: true,
            ..Options::default()
        },
        Options {
            offload: true,
            cut: true,
            ..Options::default()
        },
    ] {
        run(options, |world, a, b| async move {
            let server = b.bind_udp(at("[::]:7")).unwrap();
            let echo = async move {
                let mut buffer = [0; 2000];
                loop {
                    let (len, from) = server.receive(&mut buffer).await.unwrap();
                    server.send(&buffer[..len], from).await.unwrap();
                }
            };
            let _echo = world.spawn(echo);
            let client = a.bind_udp(at("[::]:0")).unwrap();
            let mut buffer = [0; 2000];
            for to in ["10.0.0.2:7", "[fd00::2]:7"] {
                for len in [0, 1, 512, 1452] {
                    client.send(&vec![9; len], at(to)).await.unwrap();
                    let answer = client.receive(&mut buffer).await;
                    assert_eq!(answer, Ok((len, at(to))));
                    assert!(buffer[..len].iter().all(|&byte| byte == 9));
                }
            }
        });
    }
}

#[test]
fn a_long_datagram_fills_a_short_buffer_and_tells_its_length() {
    run(Options::default(), |_, a, b| async move {
        let server = b.bind_udp(at("0.0.0.0:7")).unwrap();
        let client = a.bind_udp(at("0.0.0.0:0")).unwrap();
        client.send(b"abcdef", at("10.0.0.2:7")).await.unwrap();
        let mut buffer = [0; 4];
        let from = at(&format!("10.0.0.1:{}", client.local().port()));
        assert_eq!(server.receive(&mut buffer).await, Ok((6, from)));
        assert_eq!(&buffer, b"abcd");
    });
}

#[test]
fn what_cannot_be_sent_says_why() {
    run(Options::default(), |_, a, _b| async move {
        let udp = a.bind_udp(at("0.0.0.0:0")).unwrap();
        let mut results = Vec::new();
        for (len, to) in [
            (1473, "10.0.0.2:7"),
            (1472, "10.0.0.2:7"),
            (1, "0.0.0.0:7"),
            (1, "10.0.0.2:0"),
            (1, "192.0.2.1:7"),
            (1, "[fd00::2]:7"),
        ] {
            results.push(udp.send(&vec![0; len], at(to)).await);
        }
        assert_eq!(
            results,
            [
                Err(StackError::TooLong),
                Ok(()),
                Err(StackError::InvalidAddress),
                Err(StackError::InvalidAddress),
                Err(StackError::Unreachable),
                Err(StackError::Unreachable),
            ]
        );
        let taken = a.bind_udp(SocketAddr::new(at("[::]:0").ip(), udp.local().port()));
        assert_eq!(taken.err(), Some(StackError::AddressInUse));
        assert_eq!(
            a.bind_udp(at("10.0.0.2:7")).err(),
            Some(StackError::InvalidAddress)
        );
    });
}

#[test]
fn a_full_buffer_drops_and_counts() {
    run(Options::default(), |world, a, b| async move {
        let server = b.bind_udp(at("0.0.0.0:7")).unwrap();
        let client = a.bind_udp(at("0.0.0.0:0")).unwrap();
        for n in 0..100u8 {
            client.send(&[n], at("10.0.0.2:7")).await.unwrap();
        }
        world.sleep(seconds(1)).await;
        assert_eq!(world.dropped(2, "datagrams", "full"), 36);
        let mut buffer = [0; 4];
        for n in 0..64 {
            server.receive(&mut buffer).await.unwrap();
            assert_eq!(buffer[0], n);
        }
    });
}

#[test]
fn a_silent_neighbour_does_not_hold_up_the_others_for_long() {
    run(Options::default(), |world, a, b| async move {
        let server = b.bind_udp(at("0.0.0.0:7")).unwrap();
        let client = a.bind_udp(at("0.0.0.0:0")).unwrap();
        client.send(b"nobody", at("10.0.0.77:7")).await.unwrap();
        world.sleep(seconds(4)).await;
        assert_eq!(world.dropped(1, "datagrams", "no_neighbour"), 1);
        client.send(b"somebody", at("10.0.0.2:7")).await.unwrap();
        let mut buffer = [0; 10];
        let (len, _) = world
            .timeout(seconds(1), server.receive(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&buffer[..len], b"somebody");
    });
}

#[test]
fn a_group_is_heard_from_joining_to_leaving() {
    for group in ["239.1.2.3", "ff05::1234"] {
        run(Options::default(), move |world, a, b| async move {
            let group: IpAddr = group.parse().unwrap();
            let to = SocketAddr::new(group, 5353);
            let hears = b.bind_udp(at("[::]:5353")).unwrap();
            let sends = a.bind_udp(at("[::]:0")).unwrap();
            let mut buffer = [0; 10];
            for (joined, text) in [(false, b"early"), (true, b"heard"), (false, b"after")] {
                if joined {
                    hears.join(group).unwrap();
                    hears.join(group).unwrap();
                } else {
                    hears.leave(group).unwrap();
                }
                sends.send(text, to).await.unwrap();
                let got = world.timeout(seconds(1), hears.receive(&mut buffer)).await;
                assert_eq!(got.is_some(), joined, "{}", text.escape_ascii());
            }
            assert_eq!(
                hears.join("10.0.0.1".parse().unwrap()),
                Err(StackError::InvalidAddress)
            );
        });
    }
}

#[test]
fn more_groups_than_there_is_room_for_are_refused() {
    run(Options::default(), |_, a, _b| async move {
        let udp = a.bind_udp(at("0.0.0.0:7")).unwrap();
        let results: Vec<_> = (0..64)
            .map(|n| udp.join(IpAddr::from([239, 0, 0, n])))
            .collect();
        assert!(results.contains(&Ok(())) && results.contains(&Err(StackError::NoResources)));
        drop(udp);
        let udp = a.bind_udp(at("0.0.0.0:7")).unwrap();
        assert_eq!(udp.leave("239.0.0.1".parse().unwrap()), Ok(()));
    });
}

#[test]
fn nobodys_datagram_is_answered_by_icmp_and_an_echo_request_by_an_echo() {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let (end, right) = wire(&world, Options::default());
        let _stack = world.stack(right, fixed(2)).await;
        end.inject(&peer::arp_reply(1, 2));
        let mut frame = peer::ethernet(1, 2, 0x0800);
        let datagram = [0, 9, 0, 9, 0, 9, 0, 0, 42];
        frame.extend(peer::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 17, &datagram));
        peer::complete(&mut frame);
        end.inject(&frame);
        let answer = end
            .expect(|frame| frame[12..14] == [8, 0] && frame[23] == 1)
            .await;
        assert_eq!(answer[34..36], [3, 3]);
        assert!(peer::is_complete(&answer));

        let mut frame = peer::ethernet(1, 2, 0x0800);
        let echo = [8, 0, 0, 0, 1, 2, 3, 4, b'p', b'i', b'n', b'g'];
        frame.extend(peer::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 1, &echo));
        peer::complete(&mut frame);
        end.inject(&frame);
        let answer = end
            .expect(|frame| frame[12..14] == [8, 0] && frame[23] == 1)
            .await;
        assert_eq!(answer[34], 0);
        assert_eq!(&answer[38..], &echo[4..]);
        assert!(peer::is_complete(&answer));

        let own = "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let to = "fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets();
        let mut frame = peer::ethernet(1, 2, 0x86dd);
        let echo = [128, 0, 0, 0, 1, 2, 3, 4, b'p', b'i', b'n', b'g'];
        frame.extend(peer::ipv6(own, to, 58, 64, &echo));
        peer::complete(&mut frame);
        end.inject(&frame);
        // The stack asks who we are before it answers.
        let ask = end
            .expect(|frame| frame[12..14] == [0x86, 0xdd] && frame[54] == 135)
            .await;
        assert!(peer::is_complete(&ask));
        let mut advertisement = vec![136, 0, 0, 0, 0x60, 0, 0, 0];
        advertisement.extend(own);
        advertisement.extend([2, 1, 2, 0, 0, 0, 0, 1]);
        let mut reply = peer::ethernet(1, 2, 0x86dd);
        reply.extend(peer::ipv6(own, to, 58, 255, &advertisement));
        peer::complete(&mut reply);
        end.inject(&reply);
        end.inject(&frame);
        let answer = end
            .expect(|frame| frame[12..14] == [0x86, 0xdd] && frame[54] == 129)
            .await;
        assert_eq!(&answer[58..], &echo[4..]);
        assert!(peer::is_complete(&answer));
    });
}
