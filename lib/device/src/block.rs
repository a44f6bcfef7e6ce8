use core::fmt;

/// A block device: numbered bytes in sectors, durable when flushed.
///
/// Offsets and lengths are in bytes and must be multiples of [`BlockInfo::sector`]: anything else
/// is [`BlockError::Misaligned`]. A range that reaches past the end is
/// [`BlockError::OutOfRange`]. After either nothing was done. No error is final: a later
/// operation is carried out. Operations started together may be carried out in any order; one
/// that has returned is seen by all later.
pub trait Block: 'static {
    /// What the device is. Returns at once; never changes.
    fn info(&self) -> BlockInfo;

    /// Reads from `offset` into `buffers`, one after the other.
    ///
    /// Waits until they are full. On `Ok` every buffer is full: there is no short read.
    /// Cancel-safe; the buffers' content is then unspecified, as it is after an error. The caller
    /// owns the buffers.
    async fn read(&self, offset: u64, buffers: &mut [&mut [u8]]) -> Result<(), BlockError>;

    /// Writes `buffers`, one after the other, from `offset`.
    ///
    /// Waits until the device has taken them. On `Ok` later reads see all of it, but nothing is
    /// durable before [`Block::flush`] returns. Dropping the future, an error or a power cut
    /// leave each sector either old or new, never a mixture; which ones were written is
    /// unspecified. The caller keeps the buffers. [`BlockError::ReadOnly`] where the device is
    /// not [`BlockInfo::writable`]; nothing was done then.
    async fn write(&self, offset: u64, buffers: &[&[u8]]) -> Result<(), BlockError>;

    /// Waits until every write and discard that returned before this call is durable. Durable
    /// bytes are there after a power cut, as long as nothing is written over them. Dropping the
    /// future loses nothing but the knowledge. After an error it is unknown which of those writes
    /// are durable, and a later `Ok` says nothing about them.
    async fn flush(&self) -> Result<(), BlockError>;

    /// Tells the device that `len` bytes from `offset` are no longer needed.
    ///
    /// Waits until the device knows. On `Ok` they read as zero where
    /// [`BlockInfo::discard_zeroes`], as anything otherwise. Dropping the future leaves it open
    /// which of them are discarded; no other byte changes. Durable only after [`Block::flush`].
    /// [`BlockError::Unsupported`] where the device cannot, [`BlockError::ReadOnly`] where it is
    /// not writable; nothing was done then.
    async fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError>;
}

/// What a block device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockInfo {
    /// Its size in bytes, a multiple of `sector`.
    pub size: u64,
    /// The unit of offsets and lengths in bytes: a power of two.
    pub sector: u32,
    /// Writes are allowed.
    pub writable: bool,
    /// Discarded bytes read as zero.
    pub discard_zeroes: bool,
}

impl BlockInfo {
    /// A device of `size` bytes in sectors of `sector` bytes.
    pub const fn new(size: u64, sector: u32, writable: bool, discard_zeroes: bool) -> Self {
        Self {
            size,
            sector,
            writable,
            discard_zeroes,
        }
    }

    /// Checks that `len` bytes at `offset` are whole sectors inside the device.
    pub fn check(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        let sector = u64::from(self.sector);
        if !offset.is_multiple_of(sector) || !len.is_multiple_of(sector) {
            return Err(BlockError::Misaligned);
        }
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(BlockError::OutOfRange),
        }
    }
}

/// What went wrong with a block operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockError {
    /// Offset or length is not a multiple of the sector size. Nothing was done. Not final.
    Misaligned,
    /// The range reaches past the end of the device. Nothing was done. Not final.
    OutOfRange,
    /// The device is read-only. Nothing was done. Not final.
    ReadOnly,
    /// The device cannot do this at all. Nothing was done. Not final.
    Unsupported,
    /// The host has no space left for the write. Not final.
    NoSpace,
    /// The host reports a failure of the medium. Not final: other sectors may still work.
    Io,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misaligned => "the offset or length is not a multiple of the sector size",
            Self::OutOfRange => "the range reaches past the end of the block device",
            Self::ReadOnly => "the block device is read-only",
            Self::Unsupported => "the block device does not support this operation",
            Self::NoSpace => "the host has no space left for this block device",
            Self::Io => "the host reports an input/output error of the block device",
        })
    }
}

impl core::error::Error for BlockError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_whole_sectors_inside_the_device() {
        let info = BlockInfo::new(4096, 512, true, false);
        assert_eq!(info.check(0, 4096), Ok(()));
        assert_eq!(info.check(4096, 0), Ok(()));
        assert_eq!(info.check(1, 512), Err(BlockError::Misaligned));
        assert_eq!(info.check(0, 511), Err(BlockError::Misaligned));
        assert_eq!(info.check(3584, 1024), Err(BlockError::OutOfRange));
        assert_eq!(info.check(u64::MAX - 511, 512), Err(BlockError::OutOfRange));
    }
}
