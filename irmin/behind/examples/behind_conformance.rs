//! The suite of every backend on a store that is persisted behind, and that what was durable is there
//! when it is opened again, as a program that needs nothing of the system: `cargo xtask test` builds
//! it for wasm32 and runs it in node. It panics if something does not hold.
//!
//! `cargo run -p irmin-behind --example behind_conformance`

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use irmin::{Format, conformance};
use irmin_behind::{Behind, Driver, Options};
use mirage_device::{Block, BlockError, BlockInfo};

fn main() {
    for format in [Format::GitSha1, Format::GitSha256, Format::Native] {
        conformance::check(&mut || open(&Memory::new(), format).0);
        let disk = Memory::new();
        let (store, driver) = open(&disk, format);
        let mut driver = Some(driver);
        conformance::check_reopened(store, &mut |store| {
            if let Some(mut driver) = driver.take() {
                ready(driver.catch_up()).expect("a disk in memory");
            }
            drop(store);
            let (store, next) = open(&disk, format);
            driver = Some(next);
            store
        });
    }
}

fn open(disk: &Memory, format: Format) -> (Behind, Driver<Memory>) {
    let options = Options {
        format,
        backlog: usize::MAX,
        ..Options::default()
    };
    ready(Behind::open(disk.clone(), &options)).expect("opens")
}

/// What a future gives that never waits.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a disk in memory keeps nobody waiting"),
    }
}

/// A disk in memory.
#[derive(Clone)]
struct Memory(Rc<RefCell<Vec<u8>>>);

impl Memory {
    fn new() -> Memory {
        Memory(Rc::new(RefCell::new(vec![0; 8 << 20])))
    }
}

impl Block for Memory {
    fn info(&self) -> BlockInfo {
        BlockInfo::new(self.0.borrow().len() as u64, 512, true, true)
    }

    async fn read(&self, offset: u64, buffers: &mut [&mut [u8]]) -> Result<(), BlockError> {
        let mut at = offset as usize;
        for buffer in buffers {
            self.info().check(at as u64, buffer.len() as u64)?;
            buffer.copy_from_slice(&self.0.borrow()[at..at + buffer.len()]);
            at += buffer.len();
        }
        Ok(())
    }

    async fn write(&self, offset: u64, buffers: &[&[u8]]) -> Result<(), BlockError> {
        let mut at = offset as usize;
        for buffer in buffers {
            self.info().check(at as u64, buffer.len() as u64)?;
            self.0.borrow_mut()[at..at + buffer.len()].copy_from_slice(buffer);
            at += buffer.len();
        }
        Ok(())
    }

    async fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }

    async fn discard(&self, _: u64, _: u64) -> Result<(), BlockError> {
        Err(BlockError::Unsupported)
    }
}
