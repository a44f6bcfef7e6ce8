//! The tender: its bytes are a part of this tool.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;

static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tender"));

/// The tender as a file in memory.
pub struct Tender(OwnedFd);

impl Tender {
    /// Lays it down. Returns at once.
    pub fn new() -> io::Result<Self> {
        let create = |flags| memfd_create("mirage-tender", MemfdFlags::CLOEXEC | flags);
        // Kernels before 6.3 do not know the flag, and need none.
        let file = match create(MemfdFlags::EXEC) {
            Err(Errno::INVAL) => create(MemfdFlags::empty()),
            file => file,
        }?;
        let mut file = File::from(file);
        file.write_all(BYTES)?;
        Ok(Self(file.into()))
    }

    /// The command that executes it, for a session that watches: it begins when the session does,
    /// and however this tool ends, the image ends with it.
    pub fn command(&self) -> Command {
        let mut command = Command::new(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        command.arg0("mirage-tender").arg("--hold");
        command.arg("--parent").arg(std::process::id().to_string());
        command
    }
}
