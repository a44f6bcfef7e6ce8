//! What the device is asked to do, checked frame by frame.

mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use mirage_device::io::Write;
use mirage_device::{
    Listener, Net, NetError, NetInfo, Received, Segmentation, Stack, Transmit, Udp,
};
use world::wire::{End, Options, pseudo, sum, wire};
use world::{World, fixed, peer};

type Log = Rc<RefCell<Vec<(Vec<u8>, Transmit)>>>;

/// A device that notes what it is asked to send.
struct Noting(End, Log);

impl Net for Noting {
    fn info(&self) -> NetInfo {
        self.0.info()
    }
    fn receive(&self, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        self.0.receive(buffer)
    }
    fn send(&self, frame: &[u8], transmit: Transmit) -> Result<(), NetError> {
        self.0.send(frame, transmit)?;
        self.1.borrow_mut().push((frame.to_vec(), transmit));
        Ok(())
    }
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_readable(cx)
    }
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_writable(cx)
    }
}

/// Has host 1 send a megabyte and a datagram to host 2, and returns what its device was asked.
fn sent(offload: bool, to: &'static str) -> Vec<(Vec<u8>, Transmit)> {
    let world = World::new(1);
    let inner = world.clone();
    world.run(async move {
        let world = inner;
        let (left, right) = wire(
            &world,
            Options {
                offload,
                ..Options::default()
            },
        );
        let log = Log::default();
        let device = Noting(left, log.clone());
        let a = world.try_stack(device, fixed(1)).await.unwrap();
        let b = world.stack(right, fixed(2)).await;
        let mut listener = b.listen("[::]:9".parse().unwrap(), 8).unwrap();
        let udp = a.bind_udp("[::]:0".parse().unwrap()).unwrap();
        udp.send(b"datagram", to.parse().unwrap()).await.unwrap();
        let mut flow = a.connect(to.parse().unwrap()).await.unwrap();
        let mut server = listener.accept().await.unwrap();
        let reading = async move {
            let mut buffer = vec![0; 100_000];
            let mut left = 1_000_000;
            while left > 0 {
                left -= mirage_device::io::Read::read(&mut server, &mut buffer)
                    .await
                    .unwrap();
            }
        };
        let reading = mirage_device::Spawn::spawn(&world, reading);
        flow.write_all(&vec![7; 1_000_000]).await.unwrap();
        reading.await;
        world.settle().await;
        log.take()
    })
}

fn start(frame: &[u8]) -> Option<(usize, u8)> {
    match frame[12..14] {
        [0x08, 0] => Some((34, frame[23])),
        [0x86, 0xdd] => Some((54, frame[20])),
        _ => None,
    }
}

#[test]
fn without_offload_every_frame_is_complete_and_fits_the_wire() {
    for to in ["10.0.0.2:9", "[fd00::2]:9"] {
        let frames = sent(false, to);
        assert!(frames.len() > 600);
        for (frame, transmit) in frames {
            assert_eq!(transmit, Transmit::default());
            assert!(frame.len() <= 1514);
            if start(&frame).is_some() {
                assert!(peer::is_complete(&frame), "{frame:02x?}");
            }
        }
    }
}

#[test]
fn a_partial_checksum_is_the_pseudo_headers_sum_and_completes_to_the_right_one() {
    for to in ["10.0.0.2:9", "[fd00::2]:9"] {
        let (mut tcp, mut udp) = (0, 0);
        for (frame, transmit) in sent(true, to) {
            let Some((start, protocol)) = start(&frame) else {
                continue;
            };
            let offset = match protocol {
                6 => 16,
                17 => 6,
                _ => {
                    assert_eq!(transmit, Transmit::default());
                    continue;
                }
            };
            tcp += u32::from(protocol == 6);
            udp += u32::from(protocol == 17);
            let checksum = transmit.checksum.unwrap();
            assert_eq!(
                (usize::from(checksum.start), checksum.offset),
                (start, offset)
            );
            let at = start + usize::from(offset);
            let partial = u16::from_be_bytes([frame[at], frame[at + 1]]);
            assert_eq!(partial, !sum(&pseudo(&frame, start)));
            // What the device then computes is what a full computation gives.
            let mut completed = frame.clone();
            let value = sum(&completed[start..]);
            completed[at..at + 2].copy_from_slice(&value.to_be_bytes());
            assert!(peer::is_complete(&completed));
        }
        assert!(tcp > 10 && udp == 1, "{tcp} {udp}");
    }
}

#[test]
fn long_segments_tell_the_device_where_and_how_to_cut() {
    let mut longest = 0;
    for (frame, transmit) in sent(true, "10.0.0.2:9") {
        longest = longest.max(frame.len());
        if frame.len() <= 1514 {
            assert_eq!(transmit.segmentation, None);
            continue;
        }
        let total = u16::from_be_bytes([frame[16], frame[17]]);
        assert_eq!(usize::from(total), frame.len() - 14);
        assert_eq!(sum(&frame[14..34]), 0);
        let expected = Segmentation {
            ipv6: false,
            header_len: 54,
            segment_size: 1460,
        };
        assert_eq!(transmit.segmentation, Some(expected));
        assert!(transmit.checksum.is_some());
    }
    assert!(longest > 40_000, "{longest}");
}

#[test]
fn over_ipv6_nothing_is_longer_than_the_wire() {
    for (frame, transmit) in sent(true, "[fd00::2]:9") {
        assert!(frame.len() <= 1514);
        assert_eq!(transmit.segmentation, None);
    }
}
