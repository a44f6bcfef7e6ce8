//! Segments side by side on a device of fixed size.

use alloc::vec;
use alloc::vec::Vec;

use irmin::BackendError;

use super::Storage;
use crate::format::MAX_SLOTS;

/// A device of sectors, as `mirage_device::Block` has it, but synchronous.
pub trait Device: Send + Sync {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// The unit of offsets and lengths: a power of two, at most 4096.
    fn sector(&self) -> usize;

    /// Fills `into` from `offset`.
    ///
    /// # Errors
    /// [`BackendError`].
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), BackendError>;

    /// Writes whole sectors. Before a flush a power cut leaves each old or new, never a mixture.
    ///
    /// # Errors
    /// [`BackendError`]; each sector is then old or new.
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), BackendError>;

    /// Returns when every write that returned before is durable.
    ///
    /// # Errors
    /// [`BackendError`].
    fn flush(&self) -> Result<(), BackendError>;
}

/// Slots of one size, one after the other on a [`Device`].
pub struct OnDevice<D> {
    device: D,
    segment: u64,
}

impl<D: Device> OnDevice<D> {
    /// Divides the device into slots of `segment` bytes, each time it is opened the same.
    ///
    /// # Panics
    /// If `segment` is no multiple of 4096, or the device's sector is no power of two up to 4096.
    pub fn new(device: D, segment: u64) -> OnDevice<D> {
        assert!(
            segment > 0 && segment.is_multiple_of(4096),
            "a segment is a multiple of 4096 bytes"
        );
        let sector = device.sector();
        assert!(
            sector.is_power_of_two() && sector <= 4096,
            "a sector is a power of two up to 4096 bytes"
        );
        OnDevice { device, segment }
    }

    /// The sectors that cover these bytes: where they begin and how long they are.
    fn cover(&self, slot: u32, offset: u64, len: usize) -> (u64, u64, usize) {
        let sector = self.device.sector() as u64;
        let at = u64::from(slot) * self.segment + offset;
        let from = at - at % sector;
        let to = (at + len as u64).next_multiple_of(sector);
        (at, from, (to - from) as usize)
    }
}

impl<D: Device> Storage for OnDevice<D> {
    fn capacity(&self) -> u64 {
        self.segment
    }

    fn slots(&self) -> u32 {
        (self.device.size() / self.segment).min(u64::from(MAX_SLOTS)) as u32
    }

    fn used(&self) -> Result<Vec<u32>, BackendError> {
        Ok((0..self.slots()).collect())
    }

    fn read(&self, slot: u32, offset: u64, into: &mut [u8]) -> Result<(), BackendError> {
        let (at, from, len) = self.cover(slot, offset, into.len());
        if at == from && len == into.len() {
            return self.device.read(from, into);
        }
        let mut sectors = vec![0; len];
        self.device.read(from, &mut sectors)?;
        let skip = (at - from) as usize;
        into.copy_from_slice(&sectors[skip..skip + into.len()]);
        Ok(())
    }

    fn write(&self, slot: u32, offset: u64, bytes: &[u8]) -> Result<(), BackendError> {
        let (at, from, len) = self.cover(slot, offset, bytes.len());
        if at == from && len == bytes.len() {
            return self.device.write(from, bytes);
        }
        let sector = self.device.sector();
        let mut sectors = vec![0; len];
        self.device.read(from, &mut sectors[..sector])?;
        if len > sector {
            self.device
                .read(from + (len - sector) as u64, &mut sectors[len - sector..])?;
        }
        let skip = (at - from) as usize;
        sectors[skip..skip + bytes.len()].copy_from_slice(bytes);
        self.device.write(from, &sectors)
    }

    fn flush(&self) -> Result<(), BackendError> {
        self.device.flush()
    }

    fn free(&self, slot: u32) -> Result<(), BackendError> {
        self.write(slot, 0, &[0; 4096])
    }
}
