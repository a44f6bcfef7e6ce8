//! The standard output, without ever waiting for its reader.

use std::io::stdout;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What a pipe that polls as writable takes at once (pipe(7), `PIPE_BUF`).
const CHUNK: usize = 4096;

/// Writes what is taken at once and drops the rest. The descriptor stays blocking: it may be
/// shared with a shell that expects that.
pub(crate) fn write(bytes: &[u8]) {
    let stdout = stdout();
    let fd = stdout.as_fd();
    for chunk in bytes.chunks(CHUNK) {
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
        let at_once = Timespec::default();
        if poll(&mut fds, Some(&at_once)) != Ok(1) {
            return;
        }
        match rustix::io::write(fd, chunk) {
            Ok(len) if len == chunk.len() => {}
            _ => return,
        }
    }
}
