//! Where addresses come from: static, DHCP, router advertisements.

mod world;

use std::net::{IpAddr, Ipv6Addr};

use mirage_device::{Cidr, Sleep, Spawn, Stack, StackError};
use mirage_smoltcp::{Error, Keys};
use world::peer::{self, complete, ethernet, ipv4, ipv6};
use world::wire::{End, Options, wire};
use world::{World, fixed, seconds};

fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(World, End, End) -> F + 'static) {
    let world = World::new(1);
    let (left, right) = wire(&world, Options::default());
    world.run(test(world.clone(), left, right));
}

fn keys(ipv4: &str, ipv6: &str) -> Keys {
    Keys {
        ipv4: ipv4.into(),
        ipv6: ipv6.into(),
        ..Keys::default()
    }
}

fn cidrs(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn static_addresses_are_there_at_once_and_announced_before_anything_else() {
    run(|world, end, device| async move {
        let stack = world.stack(device, fixed(2)).await;
        stack.up().await;
        let expected = cidrs(&["10.0.0.2/24", "fe80::ff:fe00:2/64", "fd00::2/64"]);
        assert_eq!(stack.addresses(), expected);
        let frames = end.drain();
        // Gratuitous ARP: a broadcast request for the address itself.
        let arp = &frames[0];
        assert_eq!(arp[..6], [0xff; 6]);
        assert_eq!(arp[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        assert_eq!(
            (&arp[28..32], &arp[38..42]),
            (&[10, 0, 0, 2][..], &[10, 0, 0, 2][..])
        );
        for frame in &frames[1..3] {
            assert_eq!((frame[20], frame[21], frame[54]), (58, 255, 136));
            assert!(peer::is_complete(frame));
        }
        world.sleep(seconds(30)).await;
        assert!(!world.has_timers());
    });
}

#[test]
fn without_addresses_nothing_is_sent_and_nothing_can_be_reached() {
    run(|world, end, device| async move {
        let stack = world.stack(device, keys("none", "none")).await;
        world.sleep(seconds(30)).await;
        assert_eq!(end.drain(), [] as [Vec<u8>; 0]);
        assert_eq!(stack.addresses(), []);
        let result = stack.connect("10.0.0.1:80".parse().unwrap()).await;
        assert_eq!(result.err(), Some(StackError::Unreachable));
        assert!(world.timeout(seconds(30), stack.up()).await.is_none());
    });
}

#[test]
fn wrong_keys_and_devices_are_refused() {
    run(|world, _end, device| async move {
        let result = world.try_stack(device, keys("10.0.0.2", "auto")).await;
        let Err(Error::Key { key: "ipv4", .. }) = result else {
            panic!("accepted")
        };
        let (small, _) = wire(
            &world,
            Options {
                mtu: 500,
                ..Options::default()
            },
        );
        let result = world.try_stack(small, Keys::default()).await;
        assert_eq!(result.err(), Some(Error::Mtu(500)));
    });
}

/// What a DHCP client has sent: its message type and transaction.
fn dhcp_message(frame: &[u8]) -> Option<(u8, [u8; 4])> {
    if frame.len() < 282 || frame[12..14] != [8, 0] || frame[23] != 17 || frame[36..38] != [0, 67] {
        return None;
    }
    let options = &frame[282..];
    let at = options.windows(2).position(|window| window == [53, 1])?;
    Some((options[at + 2], frame[46..50].try_into().unwrap()))
}

/// A server's message: `kind` is 2 for an offer, 5 for an acknowledgement, 6 for a refusal.
fn dhcp_answer(kind: u8, transaction: [u8; 4], address: [u8; 4], lease: u32) -> Vec<u8> {
    let mut message = vec![2, 1, 6, 0];
    message.extend(transaction);
    message.extend([0; 8]);
    message.extend(address);
    message.extend([10, 0, 0, 1, 0, 0, 0, 0]);
    message.extend(world::wire::mac(2));
    message.extend([0; 10 + 192]);
    message.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind, 54, 4, 10, 0, 0, 1]);
    message.extend([51, 4]);
    message.extend(lease.to_be_bytes());
    message.extend([
        1, 4, 255, 255, 255, 0, 3, 4, 10, 0, 0, 1, 6, 4, 10, 0, 0, 53, 255,
    ]);
    let mut datagram = vec![0, 67, 0, 68];
    datagram.extend(((message.len() + 8) as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(message);
    let mut frame = ethernet(1, 2, 0x0800);
    frame.extend(ipv4([10, 0, 0, 1], [255; 4], 17, &datagram));
    complete(&mut frame);
    frame
}

/// Serves one client until `until` exchanges are done.
async fn dhcp_server(end: &End, address: [u8; 4], lease: u32) {
    let discover = end
        .expect(|frame| dhcp_message(frame).is_some_and(|(kind, _)| kind == 1))
        .await;
    assert!(peer::is_complete(&discover));
    end.inject(&dhcp_answer(
        2,
        dhcp_message(&discover).unwrap().1,
        address,
        lease,
    ));
    let request = end
        .expect(|frame| dhcp_message(frame).is_some_and(|(kind, _)| kind == 3))
        .await;
    end.inject(&dhcp_answer(
        5,
        dhcp_message(&request).unwrap().1,
        address,
        lease,
    ));
}

#[test]
fn a_lease_gives_address_router_and_server_and_is_renewed_until_it_is_lost() {
    run(|world, end, device| async move {
        let stack = world.stack(device, keys("dhcp", "none")).await;
        assert_eq!(stack.addresses(), []);
        dhcp_server(&end, [10, 0, 0, 2], 1000).await;
        stack.up().await;
        assert_eq!(stack.addresses(), cidrs(&["10.0.0.2/24"]));
        // The new address is announced.
        end.expect(|frame| frame[12..14] == [8, 6] && frame[38..42] == [10, 0, 0, 2])
            .await;
        // The router is known: a foreign address is tried through it.
        let connect = stack.connect("192.0.2.1:80".parse().unwrap());
        let found = world.timeout(seconds(1), connect).await;
        assert!(found.is_none());
        end.expect(|frame| frame[12..14] == [8, 6] && frame[38..42] == [10, 0, 0, 1])
            .await;
        end.inject(&peer::arp_reply(1, 2));

        // Halfway through the lease it is asked for again.
        let request = end.expect(|frame| dhcp_message(frame).is_some()).await;
        let (kind, transaction) = dhcp_message(&request).unwrap();
        assert_eq!(kind, 3);
        end.inject(&dhcp_answer(5, transaction, [10, 0, 0, 2], 1000));
        world.sleep(seconds(900)).await;
        assert_eq!(stack.addresses(), cidrs(&["10.0.0.2/24"]));
        // Nobody answers any more: the address goes.
        world.sleep(seconds(600)).await;
        assert_eq!(stack.addresses(), []);
        // And comes back with the next server.
        end.drain();
        dhcp_server(&end, [10, 0, 0, 3], 1000).await;
        stack.up().await;
        assert_eq!(stack.addresses(), cidrs(&["10.0.0.3/24"]));
    });
}

#[test]
fn an_address_that_no_host_can_have_is_not_taken_from_a_server() {
    run(|world, end, device| async move {
        let stack = world.stack(device, keys("dhcp", "none")).await;
        for address in [[0; 4], [255; 4], [224, 0, 0, 1]] {
            let client = world.clone();
            let serve = async { dhcp_server(&end, address, 100).await };
            client.timeout(seconds(8), serve).await;
            world.sleep(seconds(1)).await;
            assert_eq!(stack.addresses(), []);
        }
    });
}

#[test]
fn a_connection_on_a_lost_address_ends() {
    run(|world, end, device| async move {
        let stack = world.stack(device, keys("dhcp", "none")).await;
        dhcp_server(&end, [10, 0, 0, 2], 100).await;
        stack.up().await;
        end.inject(&peer::arp_reply(1, 2));
        let connect = {
            let stack = stack.clone();
            world.spawn(async move { stack.connect("10.0.0.1:80".parse().unwrap()).await })
        };
        let syn = end.expect(peer::is_tcp).await;
        end.inject(&peer::answer(&syn, peer::SYN | peer::ACK, b""));
        let mut flow = connect.await.unwrap();
        let read = mirage_device::io::Read::read(&mut flow, &mut [0; 9]).await;
        assert_eq!(read, Err(mirage_device::FlowError::Gone));
    });
}

/// A router advertisement from fe80::1.
fn advertisement(hops: u8, prefix: &str, lifetime: u32) -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0];
    message.extend((lifetime.min(1800) as u16).to_be_bytes());
    message.extend([0; 8]);
    message.extend([3, 4, 64, 0xc0]);
    message.extend(lifetime.to_be_bytes());
    message.extend(lifetime.to_be_bytes());
    message.extend([0; 4]);
    message.extend(prefix.parse::<Ipv6Addr>().unwrap().octets());
    // A name server (RFC 8106).
    message.extend([25, 3, 0, 0]);
    message.extend(lifetime.to_be_bytes());
    message.extend("fd00::53".parse::<Ipv6Addr>().unwrap().octets());
    let from = "fe80::1".parse::<Ipv6Addr>().unwrap().octets();
    let to = "ff02::1".parse::<Ipv6Addr>().unwrap().octets();
    let mut frame = ethernet(1, 2, 0x86dd);
    frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
    frame.extend(ipv6(from, to, 58, hops, &message));
    complete(&mut frame);
    frame
}

#[test]
fn a_router_is_asked_for_and_its_prefix_gives_an_address_as_long_as_it_lives() {
    run(|world, end, device| async move {
        let stack = world.stack(device, keys("none", "auto")).await;
        let link_local = "fe80::ff:fe00:2/64";
        assert_eq!(stack.addresses(), cidrs(&[link_local]));
        let ask = end
            .expect(|frame| frame[12..14] == [0x86, 0xdd] && frame[54] == 133)
            .await;
        assert!(peer::is_complete(&ask));
        // Forwarded or broken ones count for nothing.
        end.inject(&advertisement(64, "2001:db8:bad::", 9000));
        let mut broken = advertisement(255, "2001:db8:bad::", 9000);
        broken[80] ^= 1;
        end.inject(&broken);
        world.settle().await;
        assert_eq!(stack.addresses(), cidrs(&[link_local]));
        for cause in ["malformed", "checksum"] {
            let counter = format!("frames_dropped_total{{cause=\"{cause}\"}}");
            assert_eq!(world.count_of("none", &counter), 1, "{cause}");
        }
        end.inject(&advertisement(255, "2001:db8::", 9000));
        stack.up().await;
        assert_eq!(
            stack.addresses(),
            cidrs(&[link_local, "2001:db8::ff:fe00:2/64"])
        );
        // It is a way out, too.
        let connect = stack.connect("[2001:db8:1::1]:80".parse().unwrap());
        assert!(world.timeout(seconds(1), connect).await.is_none());
        end.expect(|frame| frame[12..14] == [0x86, 0xdd] && frame[54] == 135)
            .await;
        world.sleep(seconds(9000)).await;
        assert_eq!(stack.addresses(), cidrs(&[link_local]));
        let connect = stack.connect("[2001:db8:1::1]:80".parse().unwrap()).await;
        assert_eq!(connect.err(), Some(StackError::Unreachable));
        assert!(!world.has_timers());
    });
}

#[test]
fn an_address_that_somebody_else_wants_is_defended() {
    run(|world, end, device| async move {
        let _stack = world.stack(device, fixed(2)).await;
        end.drain();
        // A probe of duplicate address detection (RFC 4862 §5.4.2).
        let target = "fd00::2".parse::<Ipv6Addr>().unwrap().octets();
        let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
        message.extend(target);
        let to = "ff02::1:ff00:2".parse::<Ipv6Addr>().unwrap().octets();
        let mut frame = ethernet(1, 2, 0x86dd);
        frame.extend(ipv6([0; 16], to, 58, 255, &message));
        complete(&mut frame);
        end.inject(&frame);
        let answer = end
            .expect(|frame| frame[12..14] == [0x86, 0xdd] && frame[54] == 136)
            .await;
        assert_eq!(answer[62..78], target);
        assert_eq!(answer[..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert!(peer::is_complete(&answer));
    });
}

#[test]
fn a_membership_query_is_answered_and_then_there_is_rest() {
    run(|world, end, device| async move {
        let stack = world.stack(device, fixed(2)).await;
        let udp = stack.bind_udp("0.0.0.0:5353".parse().unwrap()).unwrap();
        mirage_device::Udp::join(&udp, IpAddr::from([239, 1, 1, 1])).unwrap();
        world.sleep(seconds(20)).await;
        end.drain();
        // An IGMPv2 general query with ten seconds to answer (RFC 2236 §2).
        let mut query = vec![0x11, 100, 0, 0, 0, 0, 0, 0];
        let value = world::wire::sum(&query);
        query[2..4].copy_from_slice(&value.to_be_bytes());
        let mut frame = ethernet(1, 2, 0x0800);
        frame[..6].copy_from_slice(&[1, 0, 0x5e, 0, 0, 1]);
        frame.extend(ipv4([10, 0, 0, 1], [224, 0, 0, 1], 2, &query));
        end.inject(&frame);
        let report = end
            .expect(|frame| frame[12..14] == [8, 0] && frame[23] == 2)
            .await;
        assert_eq!(report[30..34], [239, 1, 1, 1]);
        world.sleep(seconds(20)).await;
        assert!(!world.has_timers());
    });
}
