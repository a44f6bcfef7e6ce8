//! A platform for this crate's own tests: time moves only when everybody waits.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::task::Poll;
use core::time::Duration;

use mirage_device::platform::{BlockOperation, DeviceEntry, DeviceId, DeviceKind, Ready, Ticket};
use mirage_device::{
    BlockError, BlockInfo, EntropyError, Instant, NetError, NetInfo, Platform, Received, Transmit,
};

/// One loop-back network device named `net` and one block device named `disk` whose operations
/// complete one wait later.
#[derive(Default)]
pub(crate) struct Simple {
    now: Cell<u64>,
    frames: RefCell<VecDeque<Vec<u8>>>,
    arrived: Cell<bool>,
    /// How often the network device was asked for a frame.
    pub(crate) asked: Cell<usize>,
    pub(crate) disk: RefCell<Vec<u8>>,
    tickets: Cell<u64>,
    completed: Cell<u64>,
    pub(crate) abandoned: Cell<usize>,
    pub(crate) console: RefCell<Vec<Vec<u8>>>,
}

impl Platform for Simple {
    fn now(&self) -> Instant {
        // Looking at the clock takes a microsecond: a busy loop sees time pass too.
        self.now.set(self.now.get() + 1_000);
        Instant::from_nanos(self.now.get())
    }

    fn wall(&self) -> Option<Duration> {
        None
    }

    fn entropy(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        buffer.fill(4);
        Ok(())
    }

    fn console(&self, bytes: &[u8]) {
        self.console.borrow_mut().push(bytes.to_vec());
    }

    fn arguments(&self) -> impl Iterator<Item = &str> {
        core::iter::empty()
    }

    fn devices(&self) -> impl Iterator<Item = DeviceEntry<'_>> {
        [
            DeviceEntry {
                name: "net",
                kind: DeviceKind::Net,
            },
            DeviceEntry {
                name: "disk",
                kind: DeviceKind::Block,
            },
        ]
        .into_iter()
    }

    fn net_info(&self, _: DeviceId) -> NetInfo {
        NetInfo::plain([2; 6], 1500)
    }

    fn net_receive(&self, _: DeviceId, buffer: &mut [u8]) -> Result<Option<Received>, NetError> {
        self.asked.set(self.asked.get() + 1);
        let Some(frame) = self.frames.borrow_mut().pop_front() else {
            return Ok(None);
        };
        let room = buffer.get_mut(..frame.len()).ok_or(NetError::TooLong)?;
        room.copy_from_slice(&frame);
        Ok(Some(Received::new(frame.len(), false)))
    }

    fn net_send(&self, _: DeviceId, frame: &[u8], _: Transmit) -> Result<(), NetError> {
        self.frames.borrow_mut().push_back(frame.to_vec());
        self.arrived.set(true);
        Ok(())
    }

    fn block_info(&self, _: DeviceId) -> BlockInfo {
        BlockInfo::new(self.disk.borrow().len() as u64, 512, true, true)
    }

    fn block(
        &self,
        _: DeviceId,
        ticket: &mut Ticket,
        operation: BlockOperation<'_, '_>,
    ) -> Poll<Result<(), BlockError>> {
        let mut disk = self.disk.borrow_mut();
        if ticket.0 == 0 {
            self.tickets.set(self.tickets.get() + 1);
            ticket.0 = self.tickets.get();
            if let BlockOperation::Write(offset, buffers) = operation {
                let bytes = buffers.concat();
                disk[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
            }
            return Poll::Pending;
        }
        if ticket.0 > self.completed.get() {
            return Poll::Pending;
        }
        if let BlockOperation::Read(mut offset, buffers) = operation {
            for buffer in buffers {
                buffer.copy_from_slice(&disk[offset as usize..][..buffer.len()]);
                offset += buffer.len() as u64;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn block_abandon(&self, _: DeviceId, _: Ticket) {
        self.abandoned.set(self.abandoned.get() + 1);
    }

    fn wait(&self, deadline: Option<Instant>) -> Ready {
        let mut input = u64::from(self.arrived.take());
        if self.completed.get() < self.tickets.get() {
            self.completed.set(self.tickets.get());
            input |= 2;
        }
        match deadline {
            Some(deadline) if input == 0 => self.now.set(self.now.get().max(deadline.as_nanos())),
            None if input == 0 => panic!("everybody waits and nothing will ever come"),
            _ => {}
        }
        Ready { input, output: 0 }
    }

    fn exit(&self, status: u8) -> ! {
        panic!("exit with status {status}")
    }
}

/// Lets every other task run once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    core::future::poll_fn(|cx| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

mod tests {
    use super::*;
    use crate::{Block, Net, Runtime, Spawner};
    use mirage_device::{Block as _, Net as _, Spawn};

    #[test]
    fn a_frame_that_arrives_after_receive_said_none_is_not_missed() {
        let runtime = Runtime::new(Simple::default());
        let net = Net::new(runtime.clone(), "net").unwrap();
        runtime.block_on(async {
            let mut buffer = [0; 64];
            for n in 0..3_u8 {
                assert_eq!(net.receive(&mut buffer), Ok(None));
                net.send(&[n; 20], Transmit::default()).unwrap();
                core::future::poll_fn(|cx| net.poll_readable(cx)).await;
                assert_eq!(net.receive(&mut buffer), Ok(Some(Received::new(20, false))));
                assert_eq!(buffer[0], n);
            }
        });
    }

    #[test]
    fn a_device_that_was_not_given_is_named() {
        let runtime = Runtime::new(Simple::default());
        let error = Net::new(runtime, "uplink").err().unwrap();
        assert_eq!(
            alloc::format!("{error}"),
            "no network device named `uplink` was given at the start"
        );
    }

    #[test]
    fn block_operations_complete_and_two_tasks_may_wait_for_one_device() {
        let runtime = Runtime::new(Simple::default());
        *runtime.platform().disk.borrow_mut() = alloc::vec![0; 4096];
        let spawn = Spawner::new(runtime.clone());
        runtime.block_on(async {
            let (one, two) = (
                Block::new(runtime.clone(), "disk").unwrap(),
                Block::new(runtime.clone(), "disk").unwrap(),
            );
            let first = spawn.spawn(async move { one.write(0, &[&[1; 512], &[2; 512]]).await });
            let second = spawn.spawn(async move { two.write(1024, &[&[3; 512]]).await });
            assert_eq!((first.await, second.await), (Ok(()), Ok(())));
            let disk = Block::new(runtime.clone(), "disk").unwrap();
            let (mut a, mut b) = ([0; 512], [0; 1024]);
            disk.read(0, &mut [&mut a, &mut b]).await.unwrap();
            assert_eq!((a[0], b[0], b[512]), (1, 2, 3));
            assert_eq!(
                disk.read(4096, &mut [&mut a]).await,
                Err(BlockError::OutOfRange)
            );
            assert_eq!(disk.write(7, &[&a]).await, Err(BlockError::Misaligned));
            disk.flush().await.unwrap();
            assert_eq!(runtime.platform().abandoned.get(), 0);
        });
    }

    #[test]
    fn a_dropped_block_operation_is_abandoned() {
        let runtime = Runtime::new(Simple::default());
        *runtime.platform().disk.borrow_mut() = alloc::vec![0; 4096];
        runtime.block_on(async {
            let disk = Block::new(runtime.clone(), "disk").unwrap();
            let mut flush = alloc::boxed::Box::pin(disk.flush());
            core::future::poll_fn(|cx| {
                assert!(flush.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            drop(flush);
            assert_eq!(runtime.platform().abandoned.get(), 1);
        });
    }
}
