use core::future::poll_fn;
use core::task::Poll;

use mirage_device::platform::{BlockOperation, DeviceId, DeviceKind, Ticket};
use mirage_device::{BlockError, BlockInfo, Platform, Tally};

use crate::devices::find;
use crate::readiness::Direction;
use crate::{MissingDevice, Runtime};

/// One of the platform's block devices.
pub struct Block<P> {
    runtime: Runtime<P>,
    device: DeviceId,
    tally: Tally,
}

const READS: usize = 0;
const BYTES_READ: usize = 1;
const WRITES: usize = 2;
const BYTES_WRITTEN: usize = 3;
const FLUSHES: usize = 4;
const DISCARDS: usize = 5;
const ERRORS: usize = 6;
const NAMES: [&str; 7] = [
    "operations_total{kind=\"read\"}",
    "bytes_read_total",
    "operations_total{kind=\"write\"}",
    "bytes_written_total",
    "operations_total{kind=\"flush\"}",
    "operations_total{kind=\"discard\"}",
    "errors_total",
];

impl<P: Platform> Block<P> {
    /// The block device that was given under this name. Returns at once.
    pub fn new(runtime: Runtime<P>, name: &'static str) -> Result<Self, MissingDevice> {
        let device = find(&runtime, name, DeviceKind::Block)?;
        let tally = runtime.0.counters.table.tally(name, &NAMES);
        Ok(Self {
            runtime,
            device,
            tally,
        })
    }

    /// Carries an operation out, and counts it once it is done; one that was refused before it
    /// began is not counted. `operation` is asked for anew at each poll, as its buffers are
    /// lent to the platform for one call only.
    async fn carry_out(
        &self,
        count: usize,
        mut step: impl FnMut(&P, DeviceId, &mut Ticket) -> Poll<Result<(), BlockError>>,
    ) -> Result<(), BlockError> {
        let mut pending = Pending {
            block: self,
            ticket: Some(Ticket::default()),
        };
        let result = poll_fn(|cx| {
            let Some(ticket) = &mut pending.ticket else {
                return Poll::Pending;
            };
            let poll = step(self.runtime.platform(), self.device, ticket);
            if poll.is_pending() {
                self.runtime
                    .0
                    .readiness
                    .borrow_mut()
                    .share(self.device, Direction::Input, cx);
            }
            poll
        })
        .await;
        pending.ticket = None;
        match result {
            Ok(()) => self.tally.add(count, 1),
            Err(_) => self.tally.add(ERRORS, 1),
        }
        result
    }

    fn writable(&self) -> Result<BlockInfo, BlockError> {
        let info = self.runtime.platform().block_info(self.device);
        if info.writable {
            Ok(info)
        } else {
            Err(BlockError::ReadOnly)
        }
    }
}

/// Abandons an operation whose future is dropped before it is done.
struct Pending<'a, P: Platform> {
    block: &'a Block<P>,
    ticket: Option<Ticket>,
}

impl<P: Platform> Drop for Pending<'_, P> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.block
                .runtime
                .platform()
                .block_abandon(self.block.device, ticket);
        }
    }
}

fn total(mut lengths: impl Iterator<Item = usize>) -> Result<u64, BlockError> {
    lengths
        .try_fold(0_u64, |sum, len| sum.checked_add(len as u64))
        .ok_or(BlockError::OutOfRange)
}

impl<P: Platform> mirage_device::Block for Block<P> {
    fn info(&self) -> BlockInfo {
        self.runtime.platform().block_info(self.device)
    }

    async fn read(&self, offset: u64, buffers: &mut [&mut [u8]]) -> Result<(), BlockError> {
        let len = total(buffers.iter().map(|b| b.len()))?;
        self.info().check(offset, len)?;
        self.carry_out(READS, |platform, device, ticket| {
            platform.block(device, ticket, BlockOperation::Read(offset, buffers))
        })
        .await?;
        self.tally.add(BYTES_READ, len);
        Ok(())
    }

    async fn write(&self, offset: u64, buffers: &[&[u8]]) -> Result<(), BlockError> {
        let len = total(buffers.iter().map(|b| b.len()))?;
        self.writable()?.check(offset, len)?;
        self.carry_out(WRITES, |platform, device, ticket| {
            platform.block(device, ticket, BlockOperation::Write(offset, buffers))
        })
        .await?;
        self.tally.add(BYTES_WRITTEN, len);
        Ok(())
    }

    async fn flush(&self) -> Result<(), BlockError> {
        self.carry_out(FLUSHES, |platform, device, ticket| {
            platform.block(device, ticket, BlockOperation::Flush)
        })
        .await
    }

    async fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.writable()?.check(offset, len)?;
        self.carry_out(DISCARDS, |platform, device, ticket| {
            platform.block(device, ticket, BlockOperation::Discard(offset, len))
        })
        .await
    }
}
