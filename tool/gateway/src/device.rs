//! The link as a device of the TCP engine: packets without Ethernet.

use std::num::{NonZeroU16, NonZeroUsize};

use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, PacketMeta, RxToken,
    TxToken,
};
use smoltcp::time::Instant;

use crate::link::Link;

/// Lengths that the link carries. The engine is told of no smaller MTU: it would refuse to hand
/// over a large IPv6 segment, and its peer's MSS limits what stays one packet anyway.
const MTU: usize = 65_535;
/// Bytes of payload in a segment that a link of 1500 bytes would carry, IPv6 and options allowed
/// for: what the header names where the engine names nothing.
const DEFAULT_SEGMENT: u16 = 1428;

/// The link with at most one received packet.
pub(crate) struct PacketDevice<'a> {
    pub(crate) packet: Option<&'a [u8]>,
    pub(crate) link: &'a mut Link,
}

impl Device for PacketDevice<'_> {
    type RxToken<'a>
        = Packet<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Sender<'a>
    where
        Self: 'a;

    fn receive(&mut self, _now: Instant) -> Option<(Packet<'_>, Sender<'_>)> {
        let packet = self.packet.take()?;
        Some((
            Packet(packet),
            Sender {
                link: self.link,
                segment: None,
            },
        ))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sender<'_>> {
        if self.link.is_blocked() {
            return None;
        }
        Some(Sender {
            link: self.link,
            segment: None,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::ignored();
        // Offload covers TCP and UDP alone: a guest may look at the others.
        checksum.ipv4 = Checksum::Tx;
        checksum.icmpv4 = Checksum::Tx;
        checksum.icmpv6 = Checksum::Tx;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities.checksum = checksum;
        capabilities.segmentation.tcpv4 = NonZeroUsize::new(MTU);
        capabilities.segmentation.tcpv6 = NonZeroUsize::new(MTU);
        capabilities
    }
}

pub(crate) struct Packet<'a>(&'a [u8]);

impl RxToken for Packet<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

pub(crate) struct Sender<'a> {
    link: &'a mut Link,
    segment: Option<NonZeroU16>,
}

impl TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let guest = self.link.guest;
        let segment = self.segment.map_or(DEFAULT_SEGMENT, NonZeroU16::get);
        self.link.send_ip(guest, len, Some(segment), f)
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta.segmentation_offload_size;
    }
}
