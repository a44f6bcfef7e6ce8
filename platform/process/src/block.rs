use mirage_device::platform::BlockOperation;
use mirage_device::{BlockError, BlockInfo};

use crate::syscall::{Errno, Fd, fdatasync, pread, punch_hole, pwrite};

/// A file.
pub(crate) struct Block {
    fd: Fd,
    info: BlockInfo,
    discard: bool,
}

impl Block {
    pub(crate) fn new(fd: Fd, info: BlockInfo, discard: bool) -> Self {
        Self { fd, info, discard }
    }

    pub(crate) fn info(&self) -> BlockInfo {
        self.info
    }

    /// Carries an operation out. A file answers at once, or as soon as the host's disk does.
    pub(crate) fn operate(&self, operation: BlockOperation<'_, '_>) -> Result<(), BlockError> {
        match operation {
            BlockOperation::Read(mut offset, buffers) => {
                for buffer in buffers {
                    self.read(offset, buffer)?;
                    offset += buffer.len() as u64;
                }
                Ok(())
            }
            _ if !self.info.writable && !matches!(operation, BlockOperation::Flush) => {
                Err(BlockError::ReadOnly)
            }
            BlockOperation::Write(mut offset, buffers) => {
                for buffer in buffers {
                    self.write(offset, buffer)?;
                    offset += buffer.len() as u64;
                }
                Ok(())
            }
            // Nothing was written to what is read-only: everything is durable.
            BlockOperation::Flush if !self.info.writable => Ok(()),
            BlockOperation::Flush => fdatasync(self.fd).map_err(error),
            BlockOperation::Discard(..) if !self.discard => Err(BlockError::Unsupported),
            BlockOperation::Discard(_, 0) => Ok(()),
            BlockOperation::Discard(offset, len) => punch_hole(self.fd, offset, len).map_err(error),
        }
    }

    fn read(&self, mut offset: u64, mut buffer: &mut [u8]) -> Result<(), BlockError> {
        while !buffer.is_empty() {
            match pread(self.fd, buffer, offset) {
                // The file has become shorter behind our back.
                Ok(0) => return Err(BlockError::Io),
                Ok(len) => {
                    buffer = buffer.get_mut(len..).unwrap_or_default();
                    offset += len as u64;
                }
                Err(errno) => return Err(error(errno)),
            }
        }
        Ok(())
    }

    fn write(&self, mut offset: u64, mut bytes: &[u8]) -> Result<(), BlockError> {
        while !bytes.is_empty() {
            match pwrite(self.fd, bytes, offset) {
                Ok(0) => return Err(BlockError::Io),
                Ok(len) => {
                    bytes = bytes.get(len..).unwrap_or_default();
                    offset += len as u64;
                }
                Err(errno) => return Err(error(errno)),
            }
        }
        Ok(())
    }
}

fn error(errno: Errno) -> BlockError {
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => BlockError::NoSpace,
        Errno::ROFS => BlockError::ReadOnly,
        Errno::OPNOTSUPP => BlockError::Unsupported,
        _ => BlockError::Io,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    fn device(len: u64, writable: bool, discard: bool) -> (Block, File) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        let info = BlockInfo::new(len, 512, writable, discard);
        (Block::new(file.as_raw_fd() as Fd, info, discard), file)
    }

    fn read(block: &Block, offset: u64, len: usize) -> Result<std::vec::Vec<u8>, BlockError> {
        let mut bytes = std::vec![0xff; len];
        let (a, b) = bytes.split_at_mut(len / 2);
        block.operate(BlockOperation::Read(offset, &mut [a, b]))?;
        Ok(bytes)
    }

    #[test]
    fn buffers_are_written_and_read_one_after_the_other() {
        let (block, _file) = device(4096, true, true);
        let write = BlockOperation::Write(1024, &[&[1; 512], &[2; 512]]);
        assert_eq!(block.operate(write), Ok(()));
        assert_eq!(block.operate(BlockOperation::Flush), Ok(()));
        let bytes = read(&block, 512, 2048).unwrap();
        assert_eq!(bytes, [[0; 512], [1; 512], [2; 512], [0; 512]].concat());
    }

    #[test]
    fn discarded_bytes_read_as_zeros_and_the_size_stays() {
        let (block, file) = device(1 << 16, true, true);
        block
            .operate(BlockOperation::Write(0, &[&[7; 1 << 16]]))
            .unwrap();
        assert_eq!(block.operate(BlockOperation::Discard(4096, 8192)), Ok(()));
        assert_eq!(block.operate(BlockOperation::Discard(4096, 0)), Ok(()));
        assert_eq!(read(&block, 4096, 8192).unwrap(), [0; 8192]);
        assert_eq!(read(&block, 12288, 512).unwrap(), [7; 512]);
        assert_eq!(file.metadata().unwrap().len(), 1 << 16);
    }

    #[test]
    fn a_device_that_cannot_discard_or_write_says_so() {
        let (block, _file) = device(4096, true, false);
        let discard = || BlockOperation::Discard(0, 512);
        assert_eq!(block.operate(discard()), Err(BlockError::Unsupported));
        let (block, _file) = device(4096, false, false);
        assert_eq!(block.operate(discard()), Err(BlockError::ReadOnly));
        let write = BlockOperation::Write(0, &[&[1; 512]]);
        assert_eq!(block.operate(write), Err(BlockError::ReadOnly));
        assert_eq!(block.operate(BlockOperation::Flush), Ok(()));
        assert_eq!(read(&block, 0, 512).unwrap(), [0; 512]);
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error_not_zeros() {
        let (block, file) = device(4096, true, true);
        file.set_len(1000).unwrap();
        assert_eq!(read(&block, 512, 1024), Err(BlockError::Io));
    }

    #[test]
    fn a_host_without_space_is_told_from_a_broken_one() {
        let (mut block, _file) = device(4096, true, true);
        let full = File::options().write(true).open("/dev/full").unwrap();
        block.fd = full.as_raw_fd() as Fd;
        let write = || BlockOperation::Write(0, &[&[1; 512]]);
        assert_eq!(block.operate(write()), Err(BlockError::NoSpace));
        drop(full);
        block.fd = u32::MAX;
        assert_eq!(block.operate(write()), Err(BlockError::Io));
    }
}
