//! The file of a recording: made before the start, so that whatever ends is written down.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use mirage_record::{Description, Outcome, Recording, format};
use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::report::short;
use crate::reserve::reserve;
use crate::ui::{Event, Ui, size};

/// Why there can be no recording.
#[derive(Debug, Error, Diagnostic)]
pub enum Error {
    /// It is something else.
    #[error("--record: {file} exists and is not a recording; it stays as it is")]
    #[diagnostic(help("give a file that does not exist, or a recording, which is then replaced"))]
    Foreign { file: String },
    /// It is being written.
    #[error("--record: {file} is being recorded to by another unikernel")]
    #[diagnostic(help("give another file"))]
    InUse { file: String },
    /// The disk is full.
    #[error("--record: there is no room for a recording of {size} at {file}")]
    #[diagnostic(help("make room there, give another place, or a smaller --record-size"))]
    NoRoom { file: String, size: String },
    /// It is too small.
    #[error("--record-size: {size} are too little for a recording")]
    #[diagnostic(help("give it at least 1M"))]
    TooSmall { size: String },
    /// Anything else.
    #[error("--record: {file} cannot be used")]
    #[diagnostic(help("{why}"))]
    File { file: String, why: io::Error },
}

/// A recording that is being made.
pub struct Record {
    file: File,
    path: PathBuf,
}

impl Record {
    /// Makes the file, all of its `len` bytes. Only its owner may read it: what a unikernel sees
    /// is in it, secrets included.
    pub fn create(path: &Path, len: u64, description: &Description) -> Result<Self, Error> {
        let file = || short(path);
        let failed = |why| Error::File { file: file(), why };
        let head = usize::try_from(len).ok();
        let head = head.and_then(|len| description.file_head(len));
        let head = head.ok_or_else(|| Error::TooSmall { size: size(len) })?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut opened = options.mode(0o600).open(path).map_err(failed)?;
        let found = opened.metadata().map_err(failed)?;
        if !found.is_file() || found.len() > 0 && !is_recording(&mut opened).map_err(failed)? {
            return Err(Error::Foreign { file: file() });
        }
        flock(&opened, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => Error::InUse { file: file() },
            errno => failed(errno.into()),
        })?;
        let owner = Permissions::from_mode(0o600);
        opened.set_permissions(owner).map_err(failed)?;
        opened.set_len(0).map_err(failed)?;
        let made = reserve(&opened, len).and_then(|()| opened.write_all_at(&head, 0));
        if let Err(why) = made {
            drop(opened);
            let _ = fs::remove_file(path);
            let full = why.kind() == io::ErrorKind::StorageFull
                || why.kind() == io::ErrorKind::QuotaExceeded;
            return Err(match full {
                true => Error::NoRoom {
                    file: file(),
                    size: size(len),
                },
                false => failed(why),
            });
        }
        // The tender inherits it.
        fcntl_setfd(&opened, FdFlags::empty()).map_err(|errno| failed(errno.into()))?;
        Ok(Self {
            file: opened,
            path: path.into(),
        })
    }

    /// The value of the tender's option for it.
    pub fn word(&self) -> String {
        format!("fd:{}", self.file.as_raw_fd())
    }

    /// Writes down how the unikernel ended, and tells what there is now.
    pub fn finish(mut self, status: i32, ui: &Ui) {
        let status = u8::try_from(status).unwrap_or(u8::MAX);
        let (at, word) = Recording::status_word(status);
        let written = self.file.write_all_at(&word, at);
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(0));
        let read = read.and_then(|_| self.file.read_to_end(&mut bytes));
        let file = short(&self.path);
        if let Err(why) = written.and(read.map(drop)) {
            return ui.line("Recorded", &format!("{file}, which cannot be read: {why}"));
        }
        let Ok(recording) = Recording::read(&bytes) else {
            // It ended before its first event, and has said why.
            return;
        };
        // The unikernel has gone, and with it whoever would write there.
        let _ = self.file.set_len(recording.used() as u64);
        let event = Event::Recorded {
            file: &file,
            events: recording.len(),
            seconds: recording.span().as_secs_f64(),
        };
        let covers = covers(&recording);
        let text = format!("{file}: {covers}, secrets included; mirage replay {file}");
        ui.tell(&event, "Recorded", &text);
        let outcome = recording.outcome();
        let more = match outcome {
            Outcome::TooLarge { state, .. } => format!("--record-size {}", enough(state)),
            Outcome::Full { .. } => "--record-size".into(),
            _ => return,
        };
        ui.line("Warning", &format!("{outcome} ({more})"));
    }
}

/// The size of a recording with room for a state of so many bytes in each half, and for as many
/// bytes of events behind it.
fn enough(state: u64) -> String {
    let bytes = state.saturating_mul(4).max(1 << 20);
    format!("{}M", bytes.div_ceil(1 << 20).next_power_of_two())
}

/// What a recording covers, for a person.
pub fn covers(recording: &Recording<'_>) -> String {
    let which = match recording.is_whole() {
        true => "all",
        false => "the last",
    };
    let (events, seconds) = (recording.len(), recording.span().as_secs_f64());
    format!("{which} {events} events, {seconds:.3} s")
}

/// The SHA-256 of bytes in hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_recording(file: &mut File) -> io::Result<bool> {
    let mut begin = [0; 7];
    let read = file.read(&mut begin)?;
    let (name, _) = format::MAGIC.split_at(begin.len());
    Ok(begin.get(..read) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(path: &Path) -> Result<Record, Error> {
        Record::create(path, 1 << 20, &Description::default())
    }

    #[test]
    fn a_recording_is_whole_on_the_disk_and_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let _record = create(&path).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!(found.len(), 1 << 20);
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        use std::os::unix::fs::MetadataExt as _;
        assert!(found.blocks() * 512 >= 1 << 20, "{}", found.blocks());
    }

    #[test]
    fn only_a_recording_that_nobody_makes_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let first = create(&path).unwrap();
        assert!(matches!(create(&path), Err(Error::InUse { .. })));
        drop(first);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        drop(create(&path).unwrap());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        fs::write(&path, "letter").unwrap();
        assert!(matches!(create(&path), Err(Error::Foreign { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"letter");
        assert!(create(folder.path()).is_err());
        assert!(matches!(
            create(Path::new("/dev/null")),
            Err(Error::Foreign { .. })
        ));
    }

    #[test]
    fn a_recording_without_room_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let description = Description::default();
        let created = Record::create(&path, 1 << 60, &description);
        assert!(created.is_err());
        assert!(!path.exists());
        let created = Record::create(&path, 100 << 10, &description);
        assert!(matches!(created, Err(Error::TooSmall { .. })));
        assert!(!path.exists());
    }

    #[test]
    fn enough_is_twice_a_state_in_each_half() {
        assert_eq!(enough(1), "1M");
        assert_eq!(enough(4 << 20), "16M");
        assert_eq!(enough(4_521_424), "32M");
    }

    #[test]
    fn a_hash_is_sha_256() {
        // FIPS 180-4's example.
        assert_eq!(
            hash(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
