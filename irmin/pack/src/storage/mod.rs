//! Where segments lie: the engine's whole boundary to memory, files or a device.

mod device;
#[cfg(feature = "std")]
mod files;
mod ram;

use alloc::vec::Vec;

use irmin::BackendError;

pub use device::{Device, OnDevice};
#[cfg(feature = "std")]
pub use files::Files;
pub use ram::Ram;

/// A number of slots, each of which holds one segment or nothing.
///
/// The engine calls `write` and `free` from one thread at a time, and the rest from any. It never
/// writes to a slot that it freed before a `flush` has returned.
pub trait Storage: Send + Sync {
    /// The most bytes that a slot can hold: a multiple of 4096.
    fn capacity(&self) -> u64;

    /// How many slots there are; their numbers begin at 0. At most 2^20 are used.
    fn slots(&self) -> u32;

    /// The slots that may hold a segment, in any order.
    ///
    /// # Errors
    /// [`BackendError`].
    fn used(&self) -> Result<Vec<u32>, BackendError>;

    /// Reads from `offset` of a slot until `into` is full. What lies past the end of what was
    /// written reads as anything; so does a slot that is free.
    ///
    /// # Errors
    /// [`BackendError`].
    fn read(&self, slot: u32, offset: u64, into: &mut [u8]) -> Result<(), BackendError>;

    /// Writes all bytes to a slot at `offset`, over what is there. Reads see them at once; nothing is
    /// durable before a [`flush`](Storage::flush). A power cut before it, and an error, leave each
    /// sector (of at most 4096 bytes, aligned) old or new.
    ///
    /// # Errors
    /// [`BackendError::Full`] where there is no room; others as they come.
    fn write(&self, slot: u32, offset: u64, bytes: &[u8]) -> Result<(), BackendError>;

    /// Returns when all that was written and freed before the call survives a power cut; at the first
    /// call that includes whatever an earlier process wrote.
    ///
    /// # Errors
    /// [`BackendError`]: any of the writes since the last good flush may be lost.
    fn flush(&self) -> Result<(), BackendError>;

    /// Gives up a slot: the first 4096 bytes read as zero, or the slot is in use no more. Durable only
    /// after a flush.
    ///
    /// # Errors
    /// [`BackendError`].
    fn free(&self, slot: u32) -> Result<(), BackendError>;
}

impl<S: Storage + ?Sized> Storage for alloc::sync::Arc<S> {
    fn capacity(&self) -> u64 {
        (**self).capacity()
    }
    fn slots(&self) -> u32 {
        (**self).slots()
    }
    fn used(&self) -> Result<Vec<u32>, BackendError> {
        (**self).used()
    }
    fn read(&self, slot: u32, offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
        (**self).read(slot, offset, into)
    }
    fn write(&self, slot: u32, offset: u64, bytes: &[u8]) -> Result<(), BackendError> {
        (**self).write(slot, offset, bytes)
    }
    fn flush(&self) -> Result<(), BackendError> {
        (**self).flush()
    }
    fn free(&self, slot: u32) -> Result<(), BackendError> {
        (**self).free(slot)
    }
}
