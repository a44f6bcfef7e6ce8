use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;

use mirage_gateway::{Config, GATEWAY_V4, GATEWAY_V6, GUEST_V4, Gateway, Protocol, Publish};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown,
    socketpair,
};

use crate::input::Input;
use crate::packet::{self, Checksums, Mac, Seen};

const GUEST: Mac = [2, 0, 0, 0xaa, 0xbb, 0xcc];
const GATEWAY: Mac = [0x52, 0x55, 10, 0, 2, 2];
const HEADER: usize = 10;

/// The gateway among frames of any kind from its guest, a client at a published port, and a name
/// server that answers anything: every frame it sends is well-formed, every message it gets is
/// counted, and it answers to the end. Nothing leaves this machine's loopback interface.
pub fn gateway(input: &[u8]) {
    let mut input = Input::new(input);
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .expect("a pair");
    let resolver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    resolver.set_nonblocking(true).expect("a socket");
    let address = resolver.local_addr().expect("an address");
    let host = (Ipv4Addr::LOCALHOST, 0).into();
    let gateway = Gateway::bind(Config {
        publish: [(7, Protocol::Tcp), (9, Protocol::Udp)]
            .map(|(guest, protocol)| Publish {
                host,
                guest,
                protocol,
            })
            .into(),
        resolvers: Some(vec![address]),
        ..Config::default()
    })
    .expect("free ports");
    let published: Vec<Publish> = gateway.published().collect();
    // Names over TCP, too.
    let names = TcpListener::bind(address).ok();
    let thread = std::thread::spawn(move || gateway.run(theirs, |_| {}));

    let mut guest = Guest {
        fd: ours,
        sent: 0,
        received: 0,
        barriers: 0,
        last: None,
    };
    let client = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut streams: Vec<TcpStream> = Vec::new();
    for _ in 0..32 {
        if input.is_empty() {
            break;
        }
        match input.below(10) {
            0 => guest.message(input.counted()),
            1 => {
                let kind = [0x0800, 0x0806, 0x86dd, 0x8100][input.below(4)];
                let frame = [&packet::ethernet(GUEST, GATEWAY, kind), input.counted()].concat();
                guest.frame(frame);
            }
            2 => {
                let protocol = input.byte();
                guest.ipv4(protocol, input.counted());
            }
            3 => {
                let (protocol, hops) = (input.byte(), [255, 64][input.below(2)]);
                let own = "fd00::f".parse().unwrap_or(GATEWAY_V6);
                let from = [own, "fe80::f".parse().unwrap_or(own)][input.below(2)];
                let to = (GATEWAY, GATEWAY_V6);
                guest.frame(packet::ipv6(
                    (GUEST, from),
                    to,
                    protocol,
                    hops,
                    input.counted(),
                ));
            }
            4 => {
                let ports = (u16::from(input.byte()) + 1, [53, 7, 80][input.below(3)]);
                let (flags, seq) = (input.byte(), input.half());
                guest.ipv4(
                    6,
                    &packet::segment(ports, seq.into(), 0, flags, input.counted()),
                );
            }
            5 => {
                let (flags, near) = (input.byte(), [input.byte(), input.byte()]);
                let [seq, ack] = near.map(|byte| i32::from(byte.cast_signed()) as u32);
                if let Some(seen) = guest.last {
                    let payload = input.counted();
                    let stations = (GUEST, GATEWAY);
                    guest.frame(packet::answer(&seen, stations, flags, (seq, ack), payload));
                }
            }
            6 => {
                let ports = (u16::from(input.byte()) + 1, [53, 67, 9, 1][input.below(4)]);
                guest.ipv4(17, &packet::datagram(ports, input.counted()));
            }
            7 => {
                // A client connects and says something; another has something to say already.
                match streams.last_mut().filter(|_| input.byte() & 1 == 0) {
                    Some(stream) => drop(stream.write(input.counted())),
                    None => {
                        let stream = TcpStream::connect(published[0].host).expect("a connection");
                        stream.set_nonblocking(true).expect("a socket");
                        streams.push(stream);
                    }
                }
            }
            8 => drop(client.send_to(input.counted(), published[1].host)),
            _ => {
                // The name server answers whoever has asked.
                let mut question = [0; 2000];
                while let Ok((count, from)) = resolver.recv_from(&mut question) {
                    let number = count.min(2 * input.below(2));
                    let answer = [&question[..number], input.counted()].concat();
                    let _ = resolver.send_to(&answer, from);
                }
            }
        }
        guest.catch_up();
        for stream in &mut streams {
            let _ = stream.read(&mut [0; 4096]);
        }
    }
    guest.catch_up();
    shutdown(&guest.fd, Shutdown::Both).expect("a pair");
    let counters = thread
        .join()
        .expect("the gateway's thread")
        .expect("no error of the host");
    assert_eq!(counters.received, guest.sent, "{counters}");
    assert!(counters.sent >= guest.received, "{counters}");
    drop(names);
}

struct Guest {
    fd: OwnedFd,
    sent: u64,
    received: u64,
    barriers: u16,
    last: Option<Seen>,
}

impl Guest {
    fn ipv4(&mut self, protocol: u8, payload: &[u8]) {
        let (from, to) = ((GUEST, GUEST_V4), (GATEWAY, GATEWAY_V4));
        self.frame(packet::ipv4(from, to, protocol, payload));
    }

    fn frame(&mut self, frame: Vec<u8>) {
        self.message(&[&[0; HEADER], &frame[..]].concat());
    }

    /// Sends a message, its packet turned to the gateway wherever it would have gone.
    fn message(&mut self, message: &[u8]) {
        let mut message = message.to_vec();
        if let Some(frame) = message.get_mut(HEADER..) {
            let kind = frame.get(12..14).map(|kind| [kind[0], kind[1]]);
            match kind {
                Some([8, 0]) => turn(frame, 30, &GATEWAY_V4.octets()),
                Some([0x86, 0xdd]) => turn(frame, 38, &GATEWAY_V6.octets()),
                _ => {}
            }
        }
        send(&self.fd, &message, SendFlags::NOSIGNAL).expect("a gateway that reads");
        self.sent += 1;
    }

    /// Asks for the gateway's address and takes every frame until the answer: then everything
    /// that was sent has been dealt with.
    fn catch_up(&mut self) {
        self.barriers += 1;
        let [high, low] = self.barriers.to_be_bytes();
        let asker = Ipv4Addr::new(10, 9, high, low);
        self.frame(packet::arp(1, (GUEST, asker), (GATEWAY, GATEWAY_V4)));
        loop {
            let frame = self.receive();
            if frame[12..14] == [8, 6] && frame[38..42] == asker.octets() {
                return;
            }
        }
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let patience = Timespec {
            tv_sec: 20,
            tv_nsec: 0,
        };
        // The fuzzer has a clock whose signal interrupts.
        let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&patience)));
        assert_eq!(ready, Ok(1), "the gateway does not answer");
        let mut message = vec![0; 70_000];
        let (_, count) = recv(&self.fd, &mut message[..], RecvFlags::empty()).expect("a message");
        self.received += 1;
        let frame = &message[HEADER..count];
        if let Some(seen) = packet::judge(frame, GATEWAY, Checksums::NotTcp) {
            self.last = Some(seen);
        }
        frame.to_vec()
    }
}

fn turn(frame: &mut [u8], at: usize, to: &[u8]) {
    if let Some(place) = frame.get_mut(at..at + to.len()) {
        place.copy_from_slice(to);
    }
}
