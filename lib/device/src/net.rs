use core::fmt;
use core::task::{Context, Poll};

/// An Ethernet device: frames in, frames out, without the frame check sequence.
pub trait Net: 'static {
    /// What the device is. Returns at once; never changes.
    fn info(&self) -> NetInfo;

    /// Takes the next frame from the device into `buffer`.
    ///
    /// Returns at once: `Ok(None)` when there is none. A frame comes whole or not at all. A frame
    /// longer than `buffer` is dropped and [`NetError::TooLong`] returned; the next call goes on
    /// with the frame after it. A buffer of [`NetInfo::max_frame`] bytes always suffices. The
    /// caller owns the buffer. [`NetError::Gone`] is final; no other error is.
    fn receive(&self, buffer: &mut [u8]) -> Result<Option<Received>, NetError>;

    /// Gives one frame to the device.
    ///
    /// Returns at once. `Ok` means the device took the whole frame, not that anybody received
    /// it. Frames that are taken leave in the order in which they were given. [`NetError::Full`]
    /// means it took nothing: wait with [`Net::poll_writable`] and try again, or drop the frame.
    /// [`NetError::Gone`] is final; no other error is. The caller keeps the buffer.
    fn send(&self, frame: &[u8], transmit: Transmit) -> Result<(), NetError>;

    /// Waits until [`Net::receive`] may have a frame. May complete without one. Cancel-safe.
    /// Call it only after `receive` has returned `Ok(None)`. One task may wait at a time: a
    /// later caller takes the place of an earlier one.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Waits until [`Net::send`] may have room again after it returned [`NetError::Full`]. May
    /// complete without any. Cancel-safe. One task may wait at a time, beside one in
    /// [`Net::poll_readable`].
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()>;
}

/// What a network device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetInfo {
    /// The device's own hardware address.
    pub mac: [u8; 6],
    /// The largest IP packet in bytes that may cross the link (1500 for plain Ethernet).
    pub mtu: usize,
    /// The device computes TCP and UDP checksums on request ([`Transmit::checksum`]).
    pub checksum_offload: bool,
    /// The device cuts TCP over IPv4 into segments on request.
    pub tso4: bool,
    /// The device cuts TCP over IPv6 into segments on request.
    pub tso6: bool,
    /// The longest frame in bytes that [`Net::receive`] may yield, the Ethernet header included.
    /// Larger than the MTU where the device hands over merged segments.
    pub max_frame: usize,
}

impl NetInfo {
    /// A device without any offload.
    pub const fn plain(mac: [u8; 6], mtu: usize) -> Self {
        Self {
            mac,
            mtu,
            checksum_offload: false,
            tso4: false,
            tso6: false,
            max_frame: mtu + 14,
        }
    }

    /// A device with checksum and segmentation offload both ways, frames of up to 64 KiB.
    pub const fn offloading(mac: [u8; 6], mtu: usize) -> Self {
        Self {
            mac,
            mtu,
            checksum_offload: true,
            tso4: true,
            tso6: true,
            max_frame: 65_535 + 14,
        }
    }
}

/// What the device says of a frame it handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Received {
    /// The frame's length in bytes.
    pub len: usize,
    /// The TCP or UDP checksum is known to be right, or was never computed because the frame did
    /// not cross a wire (virtio 1.2 §5.1.6.4.2: `DATA_VALID` or `NEEDS_CSUM`): do not verify it.
    pub checksum_valid: bool,
}

impl Received {
    /// A frame of `len` bytes.
    pub const fn new(len: usize, checksum_valid: bool) -> Self {
        Self {
            len,
            checksum_valid,
        }
    }
}

/// What the device shall do to a frame before it sends it. `Default` asks for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Transmit {
    /// Compute a checksum. Only where [`NetInfo::checksum_offload`].
    pub checksum: Option<ChecksumStart>,
    /// Cut into segments; needs `checksum` as well. Only where [`NetInfo::tso4`] or
    /// [`NetInfo::tso6`].
    pub segmentation: Option<Segmentation>,
}

/// A one's-complement checksum to be computed from byte `start` of the frame to its end and
/// stored at byte `start + offset`, where the pseudo-header's sum already stands (virtio 1.2
/// §5.1.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChecksumStart {
    /// First byte of the TCP or UDP header, counted from the start of the frame.
    pub start: u16,
    /// Where in that header the checksum stands: 16 for TCP, 6 for UDP.
    pub offset: u16,
}

/// A TCP segment to be cut into smaller ones, headers repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segmentation {
    /// TCP over IPv6 rather than IPv4.
    pub ipv6: bool,
    /// Bytes of Ethernet, IP and TCP header together.
    pub header_len: u16,
    /// Bytes of payload in each segment but the last.
    pub segment_size: u16,
}

/// What went wrong with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetError {
    /// The device has no room now. Not final.
    Full,
    /// The frame does not fit (the buffer when receiving, the device when sending). It was
    /// dropped. Not final.
    TooLong,
    /// The host took the device away. Final.
    Gone,
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the network device has no room; wait until it is writable",
            Self::TooLong => "the frame is too long and was dropped",
            Self::Gone => "the host took the network device away",
        })
    }
}

impl core::error::Error for NetError {}
