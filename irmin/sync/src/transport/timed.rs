//! Pipes on which nobody waits for ever.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// A pipe that fails when nothing goes through it for this long.
pub(super) struct Timed<P> {
    pub pipe: P,
    pub limit: Duration,
}

/// A pipe that is ready takes so many bytes at once (POSIX: `PIPE_BUF`).
const AT_ONCE: usize = 4096;

impl<P: AsFd> Timed<P> {
    fn wait(&self, flags: PollFlags) -> io::Result<()> {
        let limit = Timespec {
            tv_sec: self.limit.as_secs() as _,
            tv_nsec: self.limit.subsec_nanos() as _,
        };
        loop {
            let mut fds = [PollFd::new(&self.pipe, flags)];
            match poll(&mut fds, Some(&limit)) {
                Ok(0) => return Err(late(self.limit)),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The error of a peer that does nothing for too long.
pub(super) fn late(limit: Duration) -> io::Error {
    let seconds = limit.as_secs_f32();
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the other side did nothing for {seconds} s"),
    )
}

impl<P: AsFd + Read> Read for Timed<P> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.wait(PollFlags::IN)?;
        self.pipe.read(into)
    }
}

impl<P: AsFd + Write> Write for Timed<P> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.wait(PollFlags::OUT)?;
        self.pipe.write(&data[..data.len().min(AT_ONCE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pipe.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_on_which_nothing_comes_or_goes_is_an_error() {
        let (read, write) = io::pipe().unwrap();
        let limit = Duration::from_millis(1);
        let mut read = Timed { pipe: read, limit };
        let mut write = Timed { pipe: write, limit };
        write.write_all(b"abc").unwrap();
        let mut three = [0; 3];
        read.read_exact(&mut three).unwrap();
        assert_eq!(
            read.read(&mut three).unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        let full = write.write_all(&vec![0; 1 << 22]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::TimedOut);
    }
}
