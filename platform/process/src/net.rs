use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use mirage_device::{NetError, NetInfo, Received, Transmit};

use crate::syscall::{Errno, Fd, readv, writev};

/// A `virtio_net_hdr` (virtio 1.2 §5.1.6, legacy: without `num_buffers`, native byte order).
const HEADER: usize = 10;
const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;

/// A tap, or one end of a socket pair.
pub(crate) struct Net {
    fd: Fd,
    info: NetInfo,
    /// Takes frames for buffers that are shorter than the longest frame. The kernel cuts a frame
    /// that does not fit without a word, and no caller shall take such a frame for a whole one.
    spare: RefCell<Vec<u8>>,
}

impl Net {
    pub(crate) fn new(fd: Fd, info: NetInfo) -> Self {
        Self {
            fd,
            info,
            spare: RefCell::default(),
        }
    }

    pub(crate) fn info(&self) -> NetInfo {
        self.info
    }

    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        if buffer.len() >= self.info.max_frame {
            return self.read(buffer);
        }
        let mut spare = self.spare.borrow_mut();
        if spare.is_empty() {
            *spare = vec![0; self.info.max_frame];
        }
        let Some(received) = self.read(&mut spare)? else {
            return Ok(None);
        };
        let place = buffer.get_mut(..received.len).ok_or(NetError::TooLong)?;
        let frame = spare.get(..received.len).ok_or(NetError::TooLong)?;
        place.copy_from_slice(frame);
        Ok(Some(received))
    }

    fn read(&self, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        let mut header = [0; HEADER];
        loop {
            return match readv(self.fd, &mut header, buffer) {
                // The other end of the pair was closed.
                Ok(0) => Err(NetError::Gone),
                // Not even a header: no frame at all.
                Ok(len) if len <= HEADER => continue,
                Ok(len) => {
                    let valid = header[0] & (NEEDS_CSUM | DATA_VALID) != 0;
                    Ok(Some(Received::new(len - HEADER, valid)))
                }
                Err(Errno::AGAIN) => Ok(None),
                Err(Errno::BADFD | Errno::CONNRESET | Errno::NOTCONN) => Err(NetError::Gone),
                // The interface is down, or the host is short of memory: no frame now.
                Err(_) => Ok(None),
            };
        }
    }

    pub(crate) fn send(&self, frame: &[u8], transmit: Transmit) -> Result<(), NetError> {
        match writev(self.fd, &header(transmit), frame) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN) => Err(NetError::Full),
            Err(Errno::MSGSIZE) => Err(NetError::TooLong),
            Err(Errno::BADFD | Errno::CONNRESET | Errno::NOTCONN | Errno::PIPE) => {
                Err(NetError::Gone)
            }
            // The interface is down, or the host is short of memory: the frame is lost, as
            // frames may be. `Full` would wait for room that nobody will announce.
            Err(_) => Ok(()),
        }
    }
}

fn header(transmit: Transmit) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    if let Some(checksum) = transmit.checksum {
        header[0] = NEEDS_CSUM;
        header[6..8].copy_from_slice(&checksum.start.to_ne_bytes());
        header[8..10].copy_from_slice(&checksum.offset.to_ne_bytes());
    }
    if let Some(segmentation) = transmit.segmentation {
        header[1] = if segmentation.ipv6 {
            GSO_TCPV6
        } else {
            GSO_TCPV4
        };
        header[2..4].copy_from_slice(&segmentation.header_len.to_ne_bytes());
        header[4..6].copy_from_slice(&segmentation.segment_size.to_ne_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::os::fd::{AsRawFd, OwnedFd};

    use mirage_device::{ChecksumStart, Segmentation};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    const INFO: NetInfo = NetInfo::plain([2, 0, 0, 0, 0, 1], 1500);

    /// A device, its own end, and the host's end.
    fn pair() -> (Net, OwnedFd, OwnedFd) {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        (Net::new(ours.as_raw_fd() as Fd, INFO), ours, theirs)
    }

    fn deliver(theirs: &OwnedFd, flags: u8, frame: &[u8]) {
        let mut message = vec![flags, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend(frame);
        rustix::io::write(theirs, &message).unwrap();
    }

    #[test]
    fn a_frame_arrives_whole_with_what_is_known_of_its_checksum() {
        let (net, _ours, theirs) = pair();
        let mut buffer = [0; 1514];
        assert_eq!(net.receive(&mut buffer), Ok(None));
        for (flags, valid) in [(0, false), (NEEDS_CSUM, true), (DATA_VALID, true)] {
            deliver(&theirs, flags, &[7; 1514]);
            assert_eq!(
                net.receive(&mut buffer),
                Ok(Some(Received::new(1514, valid)))
            );
            assert_eq!(buffer, [7; 1514]);
        }
        assert_eq!(net.receive(&mut buffer), Ok(None));
    }

    #[test]
    fn a_frame_longer_than_the_buffer_is_dropped_and_the_next_one_is_not() {
        let (net, _ours, theirs) = pair();
        let mut buffer = [0; 100];
        deliver(&theirs, 0, &[1; 101]);
        deliver(&theirs, 0, &[2; 100]);
        assert_eq!(net.receive(&mut buffer), Err(NetError::TooLong));
        assert_eq!(
            net.receive(&mut buffer),
            Ok(Some(Received::new(100, false)))
        );
        assert_eq!(buffer, [2; 100]);
    }

    #[test]
    fn a_message_without_a_frame_is_passed_over() {
        let (net, _ours, theirs) = pair();
        rustix::io::write(&theirs, b"short").unwrap();
        deliver(&theirs, 0, b"");
        deliver(&theirs, 0, b"frame");
        let mut buffer = [0; 1514];
        assert_eq!(net.receive(&mut buffer), Ok(Some(Received::new(5, false))));
    }

    #[test]
    fn a_frame_leaves_with_the_header_that_asks_for_its_offload() {
        let (net, _ours, theirs) = pair();
        let transmit = Transmit {
            checksum: Some(ChecksumStart {
                start: 34,
                offset: 16,
            }),
            segmentation: Some(Segmentation {
                ipv6: false,
                header_len: 54,
                segment_size: 1460,
            }),
        };
        let mut ipv6 = transmit;
        ipv6.segmentation = ipv6.segmentation.map(|s| Segmentation { ipv6: true, ..s });
        for (transmit, kind) in [(transmit, GSO_TCPV4), (ipv6, GSO_TCPV6)] {
            net.send(b"frame", transmit).unwrap();
            let mut message = [0; 64];
            let len = rustix::io::read(&theirs, &mut message).unwrap();
            let words = [54_u16, 1460, 34, 16].map(u16::to_ne_bytes).concat();
            assert_eq!(message[..2], [NEEDS_CSUM, kind]);
            assert_eq!(message[2..10], words);
            assert_eq!(&message[10..len], b"frame");
        }
        net.send(b"plain", Transmit::default()).unwrap();
        let mut message = [1; 64];
        let len = rustix::io::read(&theirs, &mut message).unwrap();
        assert_eq!(&message[..len], b"\0\0\0\0\0\0\0\0\0\0plain");
    }

    #[test]
    fn a_device_without_room_is_full_and_takes_nothing() {
        let (net, _ours, theirs) = pair();
        let mut sent = 0;
        while net.send(&[0; 1000], Transmit::default()).is_ok() {
            sent += 1;
        }
        assert_eq!(
            net.send(&[0; 1000], Transmit::default()),
            Err(NetError::Full)
        );
        let mut message = [0; 2000];
        while rustix::io::read(&theirs, &mut message) == Ok(1010) {
            sent -= 1;
        }
        assert_eq!(sent, 0);
    }

    #[test]
    fn a_device_whose_host_is_gone_says_so() {
        let (net, _ours, theirs) = pair();
        drop(theirs);
        assert_eq!(net.receive(&mut [0; 2000]), Err(NetError::Gone));
        assert_eq!(net.send(b"frame", Transmit::default()), Err(NetError::Gone));
    }
}
