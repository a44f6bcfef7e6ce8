//! `--pcap`: stands between an image and its network, and writes down the frames that pass.
//!
//! A frame's checksum is often left for a network card that there is not, and a frame can be a
//! large segment that one would have cut: it is written as it passes.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use miette::Diagnostic;
use mirage_pcap::Writer;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, read, write};
use rustix::net::{Shutdown, shutdown};
use thiserror::Error;

use crate::ui::say;

/// The legacy virtio_net_hdr before every frame.
const HEADER: usize = 10;
/// The longest message: it, the Ethernet header with a tag, and the longest IP packet.
const LONGEST: usize = HEADER + 18 + 65_535;

/// Why frames cannot be written down.
#[derive(Debug, Error, Diagnostic)]
#[error("--pcap: {} cannot be written: {why}", path.display())]
#[diagnostic(help("give a file in a folder that you may write to"))]
pub struct CaptureError {
    path: PathBuf,
    why: io::Error,
}

/// A file of frames.
#[derive(Clone)]
pub struct Capture(Arc<Mutex<Option<Writer<File>>>>);

impl Capture {
    /// Begins the file; one that was there is overwritten. Only its owner may read it.
    pub fn new(path: &Path) -> Result<Self, CaptureError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let open = || {
            let file = options.open(path)?;
            if file.metadata()?.is_file() {
                // It may have been there, open to others.
                file.set_permissions(Permissions::from_mode(0o600))?;
            }
            Writer::new(file)
        };
        let writer = open().map_err(|why| CaptureError {
            path: path.into(),
            why,
        })?;
        Ok(Self(Arc::new(Mutex::new(Some(writer)))))
    }

    /// The file for one of `devices` network devices: `path` where there is one, else
    /// `path.DEVICE`, as the format does not tell them apart.
    pub fn of_device(path: &Path, device: &str, devices: usize) -> Result<Self, CaptureError> {
        if devices == 1 {
            Self::new(path)
        } else {
            Self::new(&path.with_added_extension(device))
        }
    }

    /// Lets what one end sends come out of the other, in both directions, until one is closed.
    /// Both ends are of messages, a virtio header and a frame each.
    pub fn stand_between(self, image: OwnedFd, network: OwnedFd) {
        let (image, network) = (Arc::new(image), Arc::new(network));
        for (from, to) in [(Arc::clone(&image), Arc::clone(&network)), (network, image)] {
            let capture = self.clone();
            thread::spawn(move || {
                capture.pass(&from, &to);
                // A gateway sees that the image has ended; a tap cannot be told.
                let _ = shutdown(&to, Shutdown::Both);
            });
        }
    }

    fn pass(&self, from: &OwnedFd, to: &OwnedFd) {
        let mut message = vec![0; LONGEST];
        loop {
            let message = match read(from, &mut message) {
                Ok(0) => return,
                Ok(len) => message.get(..len).unwrap_or_default(),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => match wait(from, PollFlags::IN) {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                Err(_) => return,
            };
            self.note(message.get(HEADER..).unwrap_or_default());
            loop {
                match write(to, message) {
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) if wait(to, PollFlags::OUT).is_ok() => {}
                    Err(Errno::PIPE | Errno::CONNRESET | Errno::BADF) => return,
                    // What the network refuses, it refuses: a tap that is down, a frame too long.
                    _ => break,
                }
            }
        }
    }

    fn note(&self, frame: &[u8]) {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let at: Duration = at.unwrap_or_default();
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = writer.as_mut()
            && let Err(error) = open.write(at, frame)
        {
            // The file ends here; the unikernel goes on.
            say(&format!("no more frames are written down: {error}\n"));
            *writer = None;
        }
    }
}

fn wait(end: impl AsFd, flags: PollFlags) -> rustix::io::Result<()> {
    match poll(&mut [PollFd::new(&end, flags)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::process::pair;

    #[test]
    fn frames_pass_both_ways_and_are_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frames");
        let (image, one) = pair().unwrap();
        let (network, other) = pair().unwrap();
        let capture = Capture::new(&path).unwrap();
        capture.stand_between(one, other);
        let mut message = [7; HEADER + 3];
        let mut buffer = [0; 100];
        for (from, to) in [(&image, &network), (&network, &image)] {
            write(from, &message).unwrap();
            wait(to, PollFlags::IN).unwrap();
            assert_eq!(read(to, &mut buffer), Ok(message.len()));
            assert_eq!(buffer[..message.len()], message);
            message[HEADER] += 1;
        }
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 24 + 2 * (16 + 3));
        assert_eq!(bytes[24 + 16..][..3], [7; 3]);
        assert!(bytes.ends_with(&[8, 7, 7]));
    }

    #[test]
    fn a_file_that_was_open_to_others_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frames");
        std::fs::write(&path, "what was there").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        Capture::new(&path).unwrap();
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!(
            (found.len(), found.permissions().mode() & 0o777),
            (24, 0o600)
        );
        Capture::new(Path::new("/dev/null")).unwrap();
    }

    #[test]
    fn several_devices_have_a_file_each() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pcap");
        Capture::of_device(&path, "net", 1).unwrap();
        assert!(path.exists());
        Capture::of_device(&path, "up", 2).unwrap();
        assert!(folder.path().join("x.pcap.up").exists());
        let error = Capture::new(&folder.path().join("none/x")).err().unwrap();
        assert!(error.to_string().starts_with("--pcap: "), "{error}");
    }
}
