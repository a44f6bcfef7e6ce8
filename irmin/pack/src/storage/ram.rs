//! Segments in memory.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use irmin::BackendError;

use super::Storage;
use crate::format::MAX_SEGMENT;
use crate::sync::RwLock;

/// Slots in memory that grow as they are written, gone with the value; `flush` does nothing.
#[derive(Default)]
pub struct Ram {
    slots: RwLock<BTreeMap<u32, Vec<u8>>>,
}

impl Storage for Ram {
    fn capacity(&self) -> u64 {
        MAX_SEGMENT
    }

    fn slots(&self) -> u32 {
        u32::MAX
    }

    fn used(&self) -> Result<Vec<u32>, BackendError> {
        Ok(self.slots.read().keys().copied().collect())
    }

    fn read(&self, slot: u32, offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
        let slots = self.slots.read();
        let bytes = slots.get(&slot).map_or(&[][..], Vec::as_slice);
        let bytes = bytes.get(offset as usize..).unwrap_or_default();
        let len = bytes.len().min(into.len());
        into[..len].copy_from_slice(&bytes[..len]);
        into[len..].fill(0);
        Ok(())
    }

    fn write(&self, slot: u32, offset: u64, bytes: &[u8]) -> Result<(), BackendError> {
        let mut slots = self.slots.write();
        let to = slots.entry(slot).or_default();
        let end = offset as usize + bytes.len();
        if to.len() < end {
            to.resize(end, 0);
        }
        to[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn free(&self, slot: u32) -> Result<(), BackendError> {
        self.slots.write().remove(&slot);
        Ok(())
    }
}
