//! The platform boundary: the one door between a unikernel and the machine that runs it.
//!
//! A platform hands out what its host gives it and knows no protocol. Everything that differs
//! from one run to the next (time, random bytes, frames, blocks) comes through [`Platform`], on
//! one thread, and [`Platform::wait`] is the only call that waits. A run is therefore
//! determined by what came through here: it can be simulated, recorded and replayed.

use core::sync::atomic::AtomicU64;
use core::task::Poll;
use core::time::Duration;

use crate::{BlockError, BlockInfo, EntropyError, Instant, NetError, NetInfo, Received, Transmit};

/// The most devices one unikernel can have: one bit each in [`Ready`], one to spare.
pub const MAX_DEVICES: usize = 63;

/// The number of an attached device, its place in [`Platform::devices`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub u8);

/// What kind of host resource a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// Frames: a tap, a virtio network device.
    Net,
    /// Sectors: a file, a virtio block device.
    Block,
}

/// An attached device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceEntry<'a> {
    /// The name the unikernel's description gives it.
    pub name: &'a str,
    /// What it is.
    pub kind: DeviceKind,
}

/// Which devices became ready. An edge, not a level: see [`Platform::wait`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready {
    /// Bit `n`: device `n` may have input, or completed an operation.
    pub input: u64,
    /// Bit `n`: device `n` may have room for output again.
    pub output: u64,
}

/// A pending block operation, owned by whoever started it.
#[derive(Debug, Default)]
pub struct Ticket(
    /// For the platform's own use; zero before the operation has started.
    pub u64,
);

/// A block operation. Buffers are borrowed for each call of [`Platform::block`] only.
#[derive(Debug)]
pub enum BlockOperation<'a, 'b> {
    /// Fill the buffers from this offset.
    Read(u64, &'a mut [&'b mut [u8]]),
    /// Store the buffers from this offset.
    Write(u64, &'a [&'b [u8]]),
    /// Make every completed write durable.
    Flush,
    /// Give up this many bytes from this offset.
    Discard(u64, u64),
}

/// What runs a unikernel. Every method but [`Platform::wait`] returns at once.
///
/// The methods take `&self`: a platform is shared by the handles of its devices, on one thread.
/// A [`DeviceId`] that [`Platform::devices`] does not list, or lists with another kind, is a
/// programming error and panics.
pub trait Platform: 'static {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The wall clock: time since 1970 UTC, `None` where there is no such clock.
    fn wall(&self) -> Option<Duration>;

    /// Fills the buffer with bytes fit for keys, whole, or fails.
    fn entropy(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;

    /// Writes to the console, best effort.
    fn console(&self, bytes: &[u8]);

    /// The words after the image's name on its command line, in order.
    fn arguments(&self) -> impl Iterator<Item = &str>;

    /// The attached devices, in the order of their [`DeviceId`]s. At most [`MAX_DEVICES`].
    fn devices(&self) -> impl Iterator<Item = DeviceEntry<'_>>;

    /// What a network device is.
    fn net_info(&self, device: DeviceId) -> NetInfo;

    /// As [`Net::receive`](crate::Net::receive).
    fn net_receive(
        &self,
        device: DeviceId,
        buffer: &mut [u8],
    ) -> Result<Option<Received>, NetError>;

    /// As [`Net::send`](crate::Net::send).
    fn net_send(&self, device: DeviceId, frame: &[u8], transmit: Transmit) -> Result<(), NetError>;

    /// What a block device is.
    fn block_info(&self, device: DeviceId) -> BlockInfo;

    /// Starts an operation, or asks after one that was started.
    ///
    /// The first call with a new ticket starts it. `Pending`: the device will be in
    /// [`Ready::input`]; call again with the same ticket and the same operation. The range has
    /// been checked against [`BlockInfo::check`] by the caller. A write's bytes are taken in the
    /// first call.
    fn block(
        &self,
        device: DeviceId,
        ticket: &mut Ticket,
        operation: BlockOperation<'_, '_>,
    ) -> Poll<Result<(), BlockError>>;

    /// Forgets an operation that is pending. It may still be carried out.
    fn block_abandon(&self, device: DeviceId, ticket: Ticket) {
        let _ = (device, ticket);
    }

    /// Memory in which the unikernel's [`Counters`](crate::Counters) are shown to whoever looks
    /// at it while it runs, laid out as [`mirage_counters`] says. The same at each call; `None`
    /// where nobody looks. It is no input: it is written and never read.
    fn counters(&self) -> Option<&'static [AtomicU64]> {
        None
    }

    /// Waits until a device becomes ready or the clock shows `deadline`, whichever is first;
    /// for ever without either. With a deadline in the past it only asks.
    ///
    /// A device is reported when it *becomes* ready: after `net_receive` has answered `None`, or
    /// `net_send` has answered [`NetError::Full`], the next frame or the next room is reported
    /// once. It may be reported without being ready. May return early with nothing.
    fn wait(&self, deadline: Option<Instant>) -> Ready;

    /// Ends the unikernel with this exit status. Does not return.
    fn exit(&self, status: u8) -> !;
}
