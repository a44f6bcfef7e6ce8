//! The device as smoltcp sees it: one frame in, one buffer out, checksums and segmentation left
//! to the device below where it offers that.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::num::{NonZeroU16, NonZeroUsize};

use mirage_device::{ChecksumStart, Net, NetError, NetInfo, Segmentation, Transmit};
use smoltcp::phy::{self, Checksum, DeviceCapabilities, PacketMeta};
use smoltcp::time::Instant;

use crate::checksum;
use crate::counters::{Count, Tally};
use crate::frame::{self, TCP, Transport};

/// The largest IP packet handed to a device that cuts segments: what an IPv4 length can say.
const MAX_PACKET: usize = 65_535;

/// A network device with its buffers.
pub(crate) struct Port<N> {
    net: N,
    info: NetInfo,
    tally: Rc<Tally>,
    /// The frame received last; every frame takes the place of the one before.
    received: Vec<u8>,
    received_len: usize,
    /// smoltcp has not been handed that frame yet.
    fresh: bool,
    checksum_valid: bool,
    out: Output,
}

/// The sending side, apart from the receiving one because smoltcp holds both at once.
struct Output {
    buffer: Vec<u8>,
    /// A frame the device had no room for. It goes first when there is room again.
    waiting: Vec<u8>,
    waiting_with: Transmit,
    /// Since [`Port::mark`]: frames given to the device, and frames that smoltcp could not build
    /// because a neighbour's address is not known.
    sent: usize,
    unsent: bool,
    gone: bool,
    /// See [`Port::follow`].
    highest: Option<u32>,
}

/// What the device said to an attempt to receive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    Frame,
    Nothing,
    /// A frame was lost; there may be another.
    Lost,
    Gone,
}

impl<N: Net> Port<N> {
    pub fn new(net: N, tally: Rc<Tally>) -> Self {
        let info = net.info();
        let longest = info.max_frame.max(info.mtu + frame::ETHERNET);
        let sending = if info.tso4 {
            MAX_PACKET + frame::ETHERNET
        } else {
            0
        };
        Self {
            net,
            info,
            tally,
            received: vec![0; longest],
            received_len: 0,
            fresh: false,
            checksum_valid: false,
            out: Output {
                buffer: vec![0; sending.max(info.mtu + frame::ETHERNET)],
                waiting: Vec::new(),
                waiting_with: Transmit::default(),
                sent: 0,
                unsent: false,
                gone: false,
                highest: None,
            },
        }
    }

    pub fn net(&self) -> &N {
        &self.net
    }

    pub fn info(&self) -> NetInfo {
        self.info
    }

    /// Takes the next frame from the device.
    pub fn fetch(&mut self) -> Fetched {
        match self.net.receive(&mut self.received) {
            Ok(Some(received)) => {
                self.tally.add(Count::FramesIn);
                self.received_len = received.len.min(self.received.len());
                self.checksum_valid = received.checksum_valid;
                self.fresh = true;
                Fetched::Frame
            }
            Ok(None) => Fetched::Nothing,
            Err(NetError::Gone) => {
                self.out.gone = true;
                Fetched::Gone
            }
            Err(_) => {
                self.tally.add(Count::DroppedTooLong);
                Fetched::Lost
            }
        }
    }

    /// The frame fetched last.
    pub fn frame(&self) -> &[u8] {
        self.received.get(..self.received_len).unwrap_or_default()
    }

    /// Whether that frame's transport checksum is known to be right.
    pub fn checksum_valid(&self) -> bool {
        self.checksum_valid
    }

    /// The device has no room: a frame is waiting.
    pub fn blocked(&self) -> bool {
        !self.out.waiting.is_empty()
    }

    pub fn gone(&self) -> bool {
        self.out.gone
    }

    /// Tries again to send the frame that is waiting. Whether none is left.
    pub fn unblock(&mut self) -> bool {
        if self.out.waiting.is_empty() {
            return true;
        }
        match self.net.send(&self.out.waiting, self.out.waiting_with) {
            Err(NetError::Full) => return false,
            answer => self.out.account(answer, &self.tally),
        }
        self.out.waiting.clear();
        true
    }

    /// Starts counting [`Port::sent`] and [`Port::unsent`] afresh.
    pub fn mark(&mut self) {
        self.out.sent = 0;
        self.out.unsent = false;
    }

    /// Frames sent since [`Port::mark`], requests for a neighbour's address aside.
    pub fn sent(&self) -> usize {
        self.out.sent
    }

    /// A packet could not be sent since [`Port::mark`]: its next hop is not known yet.
    pub fn unsent(&self) -> bool {
        self.out.unsent
    }

    /// What is sent from now on belongs to a connection that has sent up to `highest`, or to
    /// none. Returns how far the one before has got.
    ///
    /// When smoltcp sends again what was lost, its acknowledgements carry the sequence number it
    /// has gone back to. A peer that is further already must ignore them (RFC 9293 §3.10.7.4),
    /// and two peers that do so wait for each other for ever. They get the right number here.
    pub fn follow(&mut self, highest: Option<u32>) -> Option<u32> {
        core::mem::replace(&mut self.out.highest, highest)
    }

    /// Sends a frame of `len` bytes that `build` writes over zeros.
    pub fn emit(&mut self, len: usize, build: impl FnOnce(&mut [u8])) {
        let token = TxToken {
            port: Half::of(self),
            meta: PacketMeta::default(),
            solicited: true,
        };
        phy::TxToken::consume(token, len, build);
    }
}

impl Output {
    /// The buffer, taken out, with space for a frame of `len` bytes at its start.
    #[inline(never)]
    fn blank(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = core::mem::take(&mut self.buffer);
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        // Reserved fields that smoltcp skips must not carry bytes of an earlier frame; payload
        // is always written whole.
        let head = buffer.get_mut(..len.min(128)).unwrap_or_default();
        head.fill(0);
        buffer
    }

    fn account(&mut self, answer: Result<(), NetError>, tally: &Tally) {
        match answer {
            Ok(()) => tally.add(Count::FramesOut),
            Err(NetError::Gone) => self.gone = true,
            Err(_) => tally.add(Count::DroppedUnsendable),
        }
    }
}

/// What sending needs of a port.
struct Half<'a, N> {
    net: &'a N,
    info: &'a NetInfo,
    tally: &'a Tally,
    out: &'a mut Output,
}

impl<'a, N> Half<'a, N> {
    fn of(port: &'a mut Port<N>) -> Self {
        Half {
            net: &port.net,
            info: &port.info,
            tally: &port.tally,
            out: &mut port.out,
        }
    }
}

impl<N: Net> phy::Device for Port<N> {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a, N>;

    fn receive(&mut self, _: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        if !core::mem::take(&mut self.fresh) {
            return None;
        }
        let frame = self.received.get(..self.received_len).unwrap_or_default();
        let port = Half {
            net: &self.net,
            info: &self.info,
            tally: &self.tally,
            out: &mut self.out,
        };
        Some((
            RxToken(frame),
            TxToken {
                port,
                meta: PacketMeta::default(),
                solicited: true,
            },
        ))
    }

    #[inline(never)]
    fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
        if self.blocked() || self.out.gone {
            return None;
        }
        // Taken back when the token is consumed for anything but a request for an address.
        self.out.unsent = true;
        let port = Half::of(self);
        Some(TxToken {
            port,
            meta: PacketMeta::default(),
            solicited: false,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = phy::Medium::Ethernet;
        capabilities.max_transmission_unit = self.info.mtu + frame::ETHERNET;
        // Received checksums are verified before smoltcp sees a frame; those of TCP and UDP are
        // filled in by `TxToken::consume`.
        capabilities.checksum.ipv4 = Checksum::Tx;
        capabilities.checksum.icmpv4 = Checksum::Tx;
        capabilities.checksum.icmpv6 = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.udp = Checksum::None;
        if self.info.tso4 && self.info.checksum_offload {
            // smoltcp 0.14 drops TCP over IPv6 that is longer than the MTU: no `tcpv6`.
            // Whole segments only: a rest would be a segment of its own on the wire.
            let headers = 20 + 20;
            let segment = self.info.mtu - headers;
            let most = headers + (MAX_PACKET - headers) / segment * segment;
            capabilities.segmentation.tcpv4 = NonZeroUsize::new(most + frame::ETHERNET);
        }
        capabilities
    }
}

/// The frame fetched last.
pub(crate) struct RxToken<'a>(&'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// The right to send one frame.
pub(crate) struct TxToken<'a, N> {
    port: Half<'a, N>,
    meta: PacketMeta,
    /// An answer to a frame just received, or one of our own making.
    solicited: bool,
}

impl<N: Net> TxToken<'_, N> {
    /// Sends the first `len` bytes of `buffer`, a frame without its transport checksum.
    #[inline(never)]
    fn send(self, mut buffer: Vec<u8>, len: usize) {
        let Half {
            net,
            info,
            tally,
            out,
        } = self.port;
        let frame = buffer.get_mut(..len).unwrap_or_default();
        let transmit = match frame::transport(frame) {
            Some(transport) => {
                if let Some(highest) = &mut out.highest
                    && frame::keep_up(frame, &transport, highest)
                {
                    tally.add(Count::Retransmitted);
                }
                if frame::tcp_flags(frame, &transport) & frame::RST != 0 {
                    tally.add(Count::ResetsSent);
                }
                finish(frame, transport, info, self.meta.segmentation_offload_size)
            }
            None => Transmit::default(),
        };
        if !self.solicited && !is_solicitation(frame) {
            out.unsent = false;
            out.sent += 1;
        }
        if !out.waiting.is_empty() {
            tally.add(Count::DroppedDeviceFull);
        } else {
            match net.send(frame, transmit) {
                Err(NetError::Full) => {
                    out.waiting.extend_from_slice(frame);
                    out.waiting_with = transmit;
                }
                answer => out.account(answer, tally),
            }
        }
        out.buffer = buffer;
    }
}

impl<N: Net> phy::TxToken for TxToken<'_, N> {
    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = meta;
    }

    // Part of every place where smoltcp sends something: what is the same everywhere is not here.
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, build: F) -> R {
        let mut buffer = self.port.out.blank(len);
        let result = build(buffer.get_mut(..len).unwrap_or_default());
        self.send(buffer, len);
        result
    }
}

/// Fills in the transport checksum, or says what the device shall do about it.
fn finish(
    frame: &mut [u8],
    transport: Transport,
    info: &NetInfo,
    segment_size: Option<NonZeroU16>,
) -> Transmit {
    let offset = if transport.protocol == TCP { 16 } else { 6 };
    let at = transport.start + usize::from(offset);
    let sum = if info.checksum_offload {
        checksum::fold(transport.pseudo)
    } else {
        let payload = frame.get(transport.start..).unwrap_or_default();
        match !checksum::fold(checksum::add(transport.pseudo, payload)) {
            // To a datagram's reader zero means that there is none (RFC 768).
            0 if transport.protocol == frame::UDP => 0xffff,
            sum => sum,
        }
    };
    if let Some(field) = frame.get_mut(at..at + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    if !info.checksum_offload {
        return Transmit::default();
    }
    let header_len = || {
        let words = frame.get(transport.start + 12).map_or(5, |b| b >> 4);
        (transport.start + usize::from(words) * 4) as u16
    };
    Transmit {
        checksum: Some(ChecksumStart {
            start: transport.start as u16,
            offset,
        }),
        segmentation: segment_size.map(|size| Segmentation {
            ipv6: transport.ipv6,
            header_len: header_len(),
            segment_size: size.get(),
        }),
    }
}

/// An ARP request, or a Neighbour Solicitation (RFC 4861 §4.3).
fn is_solicitation(frame: &[u8]) -> bool {
    let kind = frame.get(12..14);
    kind == Some(&frame::ARP.to_be_bytes())
        || (kind == Some(&frame::IPV6.to_be_bytes())
            && frame.get(20) == Some(&frame::ICMPV6)
            && frame.get(54) == Some(&135))
}
