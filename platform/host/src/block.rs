//! Block devices that are files.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use mirage_device::platform::BlockOperation;
use mirage_device::{BlockError, BlockInfo};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

const SECTOR: u32 = 512;

/// The file of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFile {
    /// The device's name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Only reading is allowed.
    pub read_only: bool,
}

/// Why a file cannot be a block device.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockFileError {
    /// It cannot be opened.
    #[error("cannot open {0}: {1}")]
    Open(PathBuf, #[source] io::Error),
    /// Its size is no whole number of sectors.
    #[error("{0} has {1} bytes, not a multiple of 512; enlarge it, for example with truncate")]
    Size(PathBuf, u64),
}

#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) name: String,
    pub(crate) info: BlockInfo,
    file: File,
    /// Where the file system cannot make holes, none is asked for again.
    can_discard: Cell<bool>,
}

impl Disk {
    pub(crate) fn open(block: BlockFile) -> Result<Self, BlockFileError> {
        let BlockFile {
            name,
            path,
            read_only,
        } = block;
        let opened = OpenOptions::new().read(true).write(!read_only).open(&path);
        // A block special file tells its length only by its end.
        let size = |file: &File| io::Seek::seek(&mut &*file, io::SeekFrom::End(0));
        let (file, size) = match opened.and_then(|file| Ok((size(&file)?, file))) {
            Ok((size, file)) => (file, size),
            Err(error) => return Err(BlockFileError::Open(path, error)),
        };
        if size % u64::from(SECTOR) != 0 {
            return Err(BlockFileError::Size(path, size));
        }
        let info = BlockInfo::new(size, SECTOR, !read_only, !read_only);
        Ok(Self {
            name,
            info,
            file,
            can_discard: Cell::new(!read_only),
        })
    }

    /// Carries the operation out. Files have no readiness: it is complete when this returns.
    pub(crate) fn operate(&self, operation: BlockOperation<'_, '_>) -> Result<(), BlockError> {
        let writes = matches!(
            operation,
            BlockOperation::Write(..) | BlockOperation::Discard(..)
        );
        if writes && !self.info.writable {
            return Err(BlockError::ReadOnly);
        }
        match operation {
            BlockOperation::Read(mut offset, buffers) => {
                for buffer in buffers {
                    self.file
                        .read_exact_at(buffer, offset)
                        .map_err(|error| failure(&error))?;
                    offset += buffer.len() as u64;
                }
                Ok(())
            }
            BlockOperation::Write(mut offset, buffers) => {
                for buffer in buffers {
                    self.file
                        .write_all_at(buffer, offset)
                        .map_err(|error| failure(&error))?;
                    offset += buffer.len() as u64;
                }
                Ok(())
            }
            BlockOperation::Flush => self.file.sync_data().map_err(|error| failure(&error)),
            BlockOperation::Discard(_, 0) => Ok(()),
            BlockOperation::Discard(..) if !self.can_discard.get() => Err(BlockError::Unsupported),
            BlockOperation::Discard(offset, len) => {
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                match fallocate(&self.file, hole, offset, len) {
                    Ok(()) => Ok(()),
                    Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                        self.can_discard.set(false);
                        Err(BlockError::Unsupported)
                    }
                    Err(error) => Err(failure(&error.into())),
                }
            }
        }
    }
}

fn failure(error: &io::Error) -> BlockError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlockError::NoSpace,
        io::ErrorKind::ReadOnlyFilesystem => BlockError::ReadOnly,
        _ => BlockError::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(size: u64, read_only: bool) -> (tempfile::NamedTempFile, Result<Disk, BlockFileError>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(size).unwrap();
        let path = file.path().to_owned();
        let disk = Disk::open(BlockFile {
            name: "disk".into(),
            path,
            read_only,
        });
        (file, disk)
    }

    #[test]
    fn what_was_written_is_read_and_what_was_discarded_reads_as_zero() {
        let (_file, disk) = disk(4096, false);
        let disk = disk.unwrap();
        disk.operate(BlockOperation::Write(512, &[&[1; 512], &[2; 1024]]))
            .unwrap();
        disk.operate(BlockOperation::Flush).unwrap();
        let (mut one, mut two) = ([0; 1024], [0; 512]);
        disk.operate(BlockOperation::Read(512, &mut [&mut one, &mut two]))
            .unwrap();
        assert_eq!(
            (one[..512].to_vec(), one[512..].to_vec()),
            (vec![1; 512], vec![2; 512])
        );
        assert_eq!(two, [2; 512]);
        match disk.operate(BlockOperation::Discard(512, 512)) {
            Ok(()) => {
                disk.operate(BlockOperation::Read(512, &mut [&mut two]))
                    .unwrap();
                assert_eq!(two, [0; 512]);
            }
            Err(error) => assert_eq!(error, BlockError::Unsupported, "no holes here"),
        }
    }

    #[test]
    fn a_read_only_disk_takes_no_writes() {
        let (_file, disk) = disk(1024, true);
        let disk = disk.unwrap();
        assert!(!disk.info.writable);
        let write = BlockOperation::Write(0, &[&[1; 512]]);
        assert_eq!(disk.operate(write), Err(BlockError::ReadOnly));
        assert_eq!(
            disk.operate(BlockOperation::Discard(0, 512)),
            Err(BlockError::ReadOnly)
        );
    }

    #[test]
    fn a_file_of_half_a_sector_is_no_disk() {
        let (_file, disk) = disk(700, false);
        assert!(
            disk.unwrap_err()
                .to_string()
                .contains("700 bytes, not a multiple of 512")
        );
    }
}
