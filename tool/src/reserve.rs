//! Room on the disk, taken before it is needed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// Gives an empty file `len` bytes of zeros, all of them on the disk. A unikernel that wrote into
/// its memory of a file for which there is no room would be ended for it.
pub fn reserve(file: &File, len: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        Err(Errno::OPNOTSUPP) => {
            let zeros = vec![0; 1 << 20];
            let mut at = 0;
            while at < len {
                let part = (len - at).min(zeros.len() as u64) as usize;
                file.write_all_at(zeros.get(..part).unwrap_or_default(), at)?;
                at += part as u64;
            }
            Ok(())
        }
        result => result.map_err(io::Error::from),
    }
}
