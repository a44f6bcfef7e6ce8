use core::future::poll_fn;
use core::task::Poll;

use mirage_device::platform::{BlockOperation, DeviceId, DeviceKind, Ticket};
use mirage_device::{BlockError, BlockInfo, Platform};

use crate::devices::find;
use crate::readiness::Direction;
use crate::{MissingDevice, Runtime};

/// One of the platform's block devices.
pub struct Block<P> {
    runtime: Runtime<P>,
    device: DeviceId,
}

impl<P: Platform> Block<P> {
    /// The block device that was given under this name. Returns at once.
    pub fn new(runtime: Runtime<P>, name: &'static str) -> Result<Self, MissingDevice> {
        let device = find(&runtime, name, DeviceKind::Block)?;
        Ok(Self { runtime, device })
    }

    /// Carries an operation out. `operation` is asked for anew at each poll, as its buffers are
    /// lent to the platform for one call only.
    async fn carry_out(
        &self,
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
        self.info()
            .check(offset, total(buffers.iter().map(|b| b.len()))?)?;
        self.carry_out(|platform, device, ticket| {
            platform.block(device, ticket, BlockOperation::Read(offset, buffers))
        })
        .await
    }

    async fn write(&self, offset: u64, buffers: &[&[u8]]) -> Result<(), BlockError> {
        self.writable()?
            .check(offset, total(buffers.iter().map(|b| b.len()))?)?;
        self.carry_out(|platform, device, ticket| {
            platform.block(device, ticket, BlockOperation::Write(offset, buffers))
        })
        .await
    }

    async fn flush(&self) -> Result<(), BlockError> {
        self.carry_out(|platform, device, ticket| {
            platform.block(device, ticket, BlockOperation::Flush)
        })
        .await
    }

    async fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        self.writable()?.check(offset, len)?;
        self.carry_out(|platform, device, ticket| {
            platform.block(device, ticket, BlockOperation::Discard(offset, len))
        })
        .await
    }
}
