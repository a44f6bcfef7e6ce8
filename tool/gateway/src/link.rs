//! The socket pair: one virtio network header and one Ethernet frame a message.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use smoltcp::wire::{
    ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, IpVersion,
};

use crate::address::GATEWAY_MAC;
use crate::counters::Counters;

/// `struct virtio_net_hdr` without `num_buffers` (virtio 1.2 §5.1.6).
const VNET_HEADER: usize = 10;
/// `VIRTIO_NET_HDR_F_DATA_VALID`: memory does not flip bits, checksums are neither computed nor
/// looked at on this link.
const DATA_VALID: u8 = 2;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const ETHERNET_HEADER: usize = 14;
/// The longest message: header, Ethernet header, and the longest IPv4 packet.
pub(crate) const MAX_MESSAGE: usize = VNET_HEADER + ETHERNET_HEADER + 65_535;
/// The largest packet that would cross an Ethernet; a larger one is a TCP segment to be cut.
const ETHERNET_MTU: usize = 1500;
/// Frames kept while the guest does not read; what exceeds them is dropped and counted.
const MAX_WAITING: usize = 256;

/// The pair is closed on the other side: the guest has ended.
#[derive(Debug)]
pub(crate) struct Closed;

pub(crate) struct Link {
    fd: OwnedFd,
    /// The message being built; its allocation serves the next.
    message: Vec<u8>,
    waiting: VecDeque<Vec<u8>>,
    closed: bool,
    pub(crate) guest: EthernetAddress,
    pub(crate) counters: Counters,
}

impl Link {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        // A large segment is charged with its pages; the kernel clamps this to what it allows.
        rustix::net::sockopt::set_socket_send_buffer_size(&fd, 4 << 20)?;
        Ok(Self {
            fd,
            message: Vec::with_capacity(MAX_MESSAGE),
            waiting: VecDeque::new(),
            closed: false,
            guest: EthernetAddress::BROADCAST,
            counters: Counters::default(),
        })
    }

    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The next frame's place in `buffer`; `None` when there is none now.
    pub(crate) fn receive<'a>(&mut self, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>, Closed> {
        loop {
            let len = match recv(&self.fd, &mut *buffer, RecvFlags::TRUNC) {
                Ok((_, len)) => len,
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(_) => return Err(Closed),
            };
            if len == 0 && self.hung_up() {
                return Err(Closed);
            }
            self.counters.received += 1;
            if len > buffer.len() || len < VNET_HEADER + ETHERNET_HEADER {
                self.counters.malformed += 1;
                continue;
            }
            return Ok(buffer.get(VNET_HEADER..len));
        }
    }

    /// An empty message and the end of the pair read the same.
    fn hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let now = rustix::event::Timespec::default();
        poll(&mut fds, Some(&now)).is_ok()
            && fds.iter().any(|fd| fd.revents().contains(PollFlags::HUP))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The guest has not read what was sent last: [`Link::flush`] when it is writable.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) {
        while let Some(message) = self.waiting.front() {
            match send(self.fd.as_fd(), message, SendFlags::NOSIGNAL) {
                Ok(_) => {
                    self.counters.sent += 1;
                    self.waiting.pop_front();
                }
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    self.closed = true;
                    self.waiting.clear();
                }
            }
        }
    }

    /// Sends an IP packet of `len` bytes that `fill` writes. A TCP segment longer than a frame of
    /// an Ethernet says in how many bytes of payload a wire would cut it.
    pub(crate) fn send_ip<R>(
        &mut self,
        destination: EthernetAddress,
        len: usize,
        segment: Option<u16>,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        self.start(destination, len);
        let (header, frame) = self.message.split_at_mut(VNET_HEADER);
        let mut frame = EthernetFrame::new_unchecked(frame);
        let result = fill(frame.payload_mut());
        let ipv6 = IpVersion::of_packet(frame.payload_mut()) == Ok(IpVersion::Ipv6);
        frame.set_ethertype(if ipv6 {
            EthernetProtocol::Ipv6
        } else {
            EthernetProtocol::Ipv4
        });
        if len > ETHERNET_MTU
            && let Some(segment) = segment
        {
            header[1] = if ipv6 { GSO_TCPV6 } else { GSO_TCPV4 };
            header[4..6].copy_from_slice(&segment.to_ne_bytes());
        }
        self.dispatch();
        result
    }

    /// Sends an ARP packet for IPv4 over Ethernet.
    pub(crate) fn send_arp(&mut self, destination: EthernetAddress, arp: ArpRepr) {
        self.start(destination, arp.buffer_len());
        let mut frame = EthernetFrame::new_unchecked(&mut self.message[VNET_HEADER..]);
        frame.set_ethertype(EthernetProtocol::Arp);
        arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
        self.dispatch();
    }

    fn start(&mut self, destination: EthernetAddress, len: usize) {
        self.message.clear();
        self.message.resize(VNET_HEADER + ETHERNET_HEADER + len, 0);
        self.message[0] = DATA_VALID;
        let mut frame = EthernetFrame::new_unchecked(&mut self.message[VNET_HEADER..]);
        frame.set_src_addr(GATEWAY_MAC);
        frame.set_dst_addr(destination);
    }

    fn dispatch(&mut self) {
        if self.waiting.is_empty() {
            match send(self.fd.as_fd(), &self.message, SendFlags::NOSIGNAL) {
                Ok(_) => self.counters.sent += 1,
                Err(Errno::AGAIN) => self.waiting.push_back(self.message.clone()),
                Err(_) => self.closed = true,
            }
        } else if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(self.message.clone());
        } else {
            self.counters.link_full += 1;
        }
    }
}
