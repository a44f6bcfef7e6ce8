//! Wrong block devices.

use std::cell::RefCell;

use mirage_conformance::block;
use mirage_device::{Block, BlockError, BlockInfo};

use crate::rigs::{Disk, caught, run, turn};

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Carries a write out after the one that follows it.
    ReordersWrites,
    /// Leaves the end of the last buffer as it was.
    ShortRead,
    /// Says that a write is durable before it is.
    FlushesLater,
    /// Writes half a sector, and the other half only when it was not dropped.
    Tears,
    /// Takes offsets in the middle of a sector.
    Misaligned,
    /// Writes what is inside the device, and then says that the range is not.
    HalfInside,
    /// Writes to the sector in whose middle the range begins, and then says that it does.
    RoundsDown,
    /// Fills several buffers from the start of the device.
    GathersFromStart,
    /// Never completes a read that was not complete at once.
    LostWakeUp,
    /// Discards one sector more.
    DiscardsMore,
}

struct Wrong {
    disk: Disk,
    fault: Fault,
    late: RefCell<Option<(u64, Vec<u8>)>>,
}

impl Block for Wrong {
    fn info(&self) -> BlockInfo {
        self.disk.info()
    }

    async fn read(&self, offset: u64, buffers: &mut [&mut [u8]]) -> Result<(), BlockError> {
        match self.fault {
            Fault::Misaligned => {
                if let Err(BlockError::Misaligned) =
                    self.disk.check(offset, buffers.iter().map(|b| b.len()))
                {
                    return Ok(());
                }
                self.disk.read(offset, buffers).await
            }
            Fault::GathersFromStart if buffers.len() > 1 => self.disk.read(0, buffers).await,
            Fault::LostWakeUp => {
                self.disk.check(offset, buffers.iter().map(|b| b.len()))?;
                std::future::pending().await
            }
            Fault::ShortRead => {
                let last = buffers
                    .last()
                    .map(|buffer| buffer[buffer.len().saturating_sub(64)..].to_vec());
                self.disk.read(offset, buffers).await?;
                if let (Some(buffer), Some(last)) = (buffers.last_mut(), last)
                    && buffer.len() >= 2048
                {
                    let from = buffer.len() - last.len();
                    buffer[from..].copy_from_slice(&last);
                }
                Ok(())
            }
            _ => self.disk.read(offset, buffers).await,
        }
    }

    async fn write(&self, offset: u64, buffers: &[&[u8]]) -> Result<(), BlockError> {
        match self.fault {
            Fault::ReordersWrites if buffers.concat().first() == Some(&b'e') => {
                self.disk.check(offset, buffers.iter().map(|b| b.len()))?;
                self.late.replace(Some((offset, buffers.concat())));
                Ok(())
            }
            Fault::ReordersWrites => {
                self.disk.write(offset, buffers).await?;
                match self.late.take() {
                    Some((offset, bytes)) => self.disk.write(offset, &[&bytes]).await,
                    None => Ok(()),
                }
            }
            Fault::Tears => {
                self.disk.check(offset, buffers.iter().map(|b| b.len()))?;
                let bytes = buffers.concat();
                let (at, half) = (offset as usize, bytes.len() / 2 / 512 * 512 + 256);
                let half = half.min(bytes.len());
                self.disk.volatile.borrow_mut()[at..at + half].copy_from_slice(&bytes[..half]);
                turn().await;
                self.disk.write(offset, buffers).await
            }
            Fault::RoundsDown if offset < 512 => {
                let wrong = self.disk.check(offset, buffers.iter().map(|b| b.len()));
                if wrong == Err(BlockError::Misaligned) {
                    self.disk.write(0, &[&[0xee; 512]]).await?;
                }
                self.disk.write(offset, buffers).await
            }
            Fault::HalfInside => {
                let len: u64 = buffers.iter().map(|b| b.len() as u64).sum();
                if self.disk.info.check(offset, len) == Err(BlockError::OutOfRange)
                    && offset < self.disk.info.size
                {
                    let inside = (self.disk.info.size - offset) as usize;
                    self.disk
                        .write(offset, &[&buffers.concat()[..inside]])
                        .await?;
                }
                self.disk.write(offset, buffers).await
            }
            _ => self.disk.write(offset, buffers).await,
        }
    }

    async fn flush(&self) -> Result<(), BlockError> {
        match self.fault {
            Fault::FlushesLater => Ok(()),
            _ => self.disk.flush().await,
        }
    }

    async fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        let more = if self.fault == Fault::DiscardsMore {
            512
        } else {
            0
        };
        match self.disk.info.check(offset, len + more) {
            Ok(()) => self.disk.discard(offset, len + more).await,
            Err(_) => self.disk.discard(offset, len).await,
        }
    }
}

#[test]
fn a_block_device_that_is_wrong_in_one_thing() {
    for (fault, sentence) in [
        (Fault::ReordersWrites, block::LATER_SEES),
        (Fault::ShortRead, block::NO_SHORT_READ),
        (Fault::FlushesLater, block::FLUSH_WAITS),
        (Fault::Tears, block::OLD_OR_NEW),
        (Fault::Misaligned, block::MISALIGNED),
        (Fault::HalfInside, block::NOTHING_DONE),
        (Fault::RoundsDown, block::NOTHING_DONE),
        (Fault::GathersFromStart, block::READS),
        (Fault::LostWakeUp, block::READ_WAITS),
        (Fault::DiscardsMore, block::DISCARD_DROPPED),
    ] {
        let report = run(async |s| {
            let disk = Disk::new(true);
            let wrong = Wrong {
                disk: disk.clone(),
                fault,
                late: RefCell::default(),
            };
            let mut report = block::check(&wrong, &s).await;
            if fault != Fault::LostWakeUp {
                block::before_cut(&wrong, &s).await.unwrap();
                disk.cut_power();
                report.append(block::after_cut(&wrong, &s).await);
            }
            report
        });
        caught(&report, sentence);
    }
}
