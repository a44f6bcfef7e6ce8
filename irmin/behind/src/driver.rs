//! What brings the image's changes to the device.

use alloc::sync::Arc;
use core::future::poll_fn;
use core::task::Poll;

use irmin::BackendError;
use mirage_device::{Block, BlockError};

use crate::image::{Batch, Image};

/// Persists what a [`Behind`](crate::Behind) changes. There is one for each store; dropping it ends
/// that, and whoever waits for durability is told.
pub struct Driver<B: Block> {
    disk: B,
    image: Arc<Image>,
    /// A write has begun and not ended.
    writing: bool,
}

impl<B: Block> Driver<B> {
    pub(crate) fn new(disk: B, image: Arc<Image>) -> Driver<B> {
        Driver {
            disk,
            image,
            writing: false,
        }
    }

    /// Persists changes as they come, until the device fails; returns why.
    ///
    /// Waits. Nothing is lost by a failure: what is not known to be durable stays in memory, and is
    /// written again, from its barrier on, by the next call, which the caller makes when it thinks
    /// fit (after [`BackendError::Full`] for instance, when the host may have room again). Until
    /// then who waits for durability gets the error.
    ///
    /// The future may be dropped while it waits for changes: the next call goes on. Dropped in the
    /// middle of a write, which the device may still carry out after a later one, it is the end:
    /// each call returns [`BackendError::Refused`] until the store is opened again.
    pub async fn run(&mut self) -> BackendError {
        self.image.begin();
        loop {
            let image = &self.image;
            let batch = poll_fn(|context| match image.next(context) {
                Some(batch) => Poll::Ready(batch),
                None => Poll::Pending,
            });
            let batch = batch.await;
            if let Err(error) = self.persist(&batch).await {
                return error;
            }
        }
    }

    /// Persists what has changed until now, and returns: at the end of a program for instance.
    ///
    /// Waits. It may be dropped as [`run`](Driver::run) may.
    ///
    /// # Errors
    /// Why the device failed, as [`run`](Driver::run) returns it.
    pub async fn catch_up(&mut self) -> Result<(), BackendError> {
        self.image.begin();
        loop {
            let image = &self.image;
            let next = poll_fn(|context| Poll::Ready(image.next(context))).await;
            let Some(batch) = next else { return Ok(()) };
            self.persist(&batch).await?;
        }
    }

    async fn persist(&mut self, batch: &Batch) -> Result<(), BackendError> {
        let done = match self.writing {
            true => Err(BackendError::Refused {
                what: "to write: the driver was dropped in the middle of a write, which the block device may still carry out; open the store again".into(),
            }),
            false => {
                self.writing = true;
                let done = self.write(batch).await;
                self.writing = false;
                done
            }
        };
        match &done {
            Ok(()) => self.image.persisted(),
            Err(error) => self.image.failed(error.clone()),
        }
        done
    }

    async fn write(&mut self, batch: &Batch) -> Result<(), BackendError> {
        for (offset, bytes) in &batch.runs {
            let written = self.disk.write(*offset, &[bytes]).await;
            written.map_err(|error| failure("write to", error))?;
        }
        let flushed = self.disk.flush().await;
        flushed.map_err(|error| failure("flush", error))
    }
}

impl<B: Block> Drop for Driver<B> {
    fn drop(&mut self) {
        self.image.abandon();
    }
}

pub fn failure(what: &str, error: BlockError) -> BackendError {
    match error {
        BlockError::NoSpace => BackendError::Full {
            what: alloc::format!("{error}"),
        },
        _ => BackendError::Io {
            what: alloc::format!("cannot {what} the block device"),
            source: Arc::new(error),
        },
    }
}
