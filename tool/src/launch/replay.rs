//! `mirage replay`: the same image on what was recorded.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use miette::{Diagnostic, IntoDiagnostic as _, Report, WrapErr as _};
use mirage_record::{Outcome, Recording, RecordingError, format};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{pread, pwrite};
use thiserror::Error;

use super::record::{covers, hash};
use super::session::Session;
use super::tender::Tender;
use crate::build;
use crate::cli::{Application, On, Replay, Settings};
use crate::report::{plain_text, short};
use crate::ui::{Event, Ui};

/// Why a recording is not repeated, or not to its end.
#[derive(Debug, Error, Diagnostic)]
enum Error {
    #[error("{file} cannot be read")]
    #[diagnostic(help("{why}"))]
    File { file: String, why: io::Error },
    #[error("{file} cannot be repeated: {why}")]
    #[diagnostic(help("make one: mirage run --record FILE"))]
    NotOne { file: String, why: RecordingError },
    #[error("the image that was recorded cannot be read: {file}")]
    #[diagnostic(help("its SHA-256 is {hash}; give it: mirage replay FILE --image PATH ({why})"))]
    NoImage {
        file: String,
        hash: String,
        why: io::Error,
    },
    #[error("the recording is not of the image {file}")]
    #[diagnostic(help(
        "it needs the one whose SHA-256 is {needed}, this one's is {found}; build the sources \
         that were recorded, or give that image: mirage replay FILE --image PATH"
    ))]
    OtherImage {
        file: String,
        needed: String,
        found: String,
    },
    #[error("the recording does not say which image it is of")]
    #[diagnostic(help(
        "{platform} has none; give the image of the same application: mirage replay FILE --image PATH"
    ))]
    Unnamed { platform: String },
    #[error("{outcome}")]
    #[diagnostic(help(
        "the image took something that does not come through the platform boundary, or the file \
         was changed"
    ))]
    Diverged { outcome: Outcome },
}

/// The status of a unikernel that was killed, where nobody has seen it.
const KILLED: u8 = 137;

/// The statuses after SIGHUP, SIGINT and SIGTERM to this tool. An image ends with none by itself.
const STOPPED: [u8; 3] = [129, 130, 143];

/// Repeats a recording; yields the exit status that the unikernel ended with.
pub fn run(replay: &Replay, ui: &Ui) -> Result<ExitCode, Report> {
    let file = short(&replay.file);
    let bytes = fs::read(&replay.file).map_err(|why| Error::File {
        file: file.clone(),
        why,
    })?;
    let recording = Recording::read(&bytes).map_err(|why| Error::NotOne { file, why })?;
    let description = recording.description();
    let image = image(replay, &recording, ui)?;

    let mut copy = recording.replay(replay.debug.gdb.is_some());
    let tape = memory(&copy).into_diagnostic()?;
    let tender = Tender::new()
        .into_diagnostic()
        .wrap_err("the tender could not be laid down in memory")?;
    let mut command = tender.command();
    command.arg("--memory").arg(description.memory.to_string());
    let counters = (description.counters > 0).then(|| zeros(description.counters));
    if let Some(counters) = counters.transpose().into_diagnostic()? {
        let number = counters.as_raw_fd();
        command.arg("--counters").arg(format!("fd:{number}"));
        // Open until this program ends.
        std::mem::forget(counters);
    }
    let number = tape.as_raw_fd();
    command.arg("--replay").arg(format!("fd:{number}"));
    command.arg(&image);

    let watch = replay.debug.watch(&image, ui)?;
    let session = Session::start(&description.name, command, Some(watch), ui)?;
    let status = session.wait(ui)?;
    // The image has left in the first page how it ended.
    let head = copy.get_mut(..format::PAGE).unwrap_or_default();
    pread(&tape, head, 0).into_diagnostic()?;
    let outcome = Outcome::read(copy.as_slice());
    conclude(&recording, outcome, status, ui)
}

/// Says how it ended, and whether as recorded.
fn conclude(
    recording: &Recording<'_>,
    outcome: Outcome,
    status: i32,
    ui: &Ui,
) -> Result<ExitCode, Report> {
    let covers = covers(recording);
    let recorded = recording.status();
    let (status, end) = match outcome {
        Outcome::Diverged { .. } | Outcome::Corrupt { .. } => {
            return Err(Error::Diverged { outcome }.into());
        }
        Outcome::UsedUp { .. } => {
            let status = recorded.unwrap_or(KILLED);
            let end = match (recording.outcome(), recorded) {
                (early @ (Outcome::Full { .. } | Outcome::TooLarge { .. }), _) => early.to_string(),
                (_, Some(_)) => {
                    format!("here the recording ends: it was ended, with status {status}")
                }
                (_, None) => "here the recording ends, and nobody has seen how it went on".into(),
            };
            (status, end)
        }
        _ => {
            let status = u8::try_from(status).unwrap_or(u8::MAX);
            let end = match recorded {
                _ if outcome == Outcome::Open && STOPPED.contains(&status) => {
                    format!("you ended it, perhaps before its end, with status {status}")
                }
                None => format!("it ended with status {status}"),
                Some(recorded) if recorded != status => {
                    format!("it ended with status {status}; when it was recorded, with {recorded}")
                }
                Some(_) => format!("it ended as recorded, with status {status}"),
            };
            (status, end)
        }
    };
    let event = Event::Replayed {
        events: recording.len(),
        seconds: recording.span().as_secs_f64(),
        status,
        end: &end,
    };
    ui.tell(&event, "Replayed", &format!("{covers}; {end}"));
    Ok(ExitCode::from(status))
}

/// The image that was recorded: the one that is given, or where it was.
fn image(replay: &Replay, recording: &Recording<'_>, ui: &Ui) -> Result<PathBuf, Report> {
    let description = recording.description();
    let path = match &replay.image {
        Some(path) if path.is_dir() || path.ends_with("Cargo.toml") => {
            let application = Application {
                path: Some(path.clone()),
                on: On::Process,
            };
            build::build(&application, &Settings { set: Vec::new() }, ui)?.product
        }
        Some(file) => file.clone(),
        None if description.image.is_empty() => {
            return Err(Error::Unnamed {
                platform: plain_text(&description.platform),
            }
            .into());
        }
        None => PathBuf::from(&description.path),
    };
    // A recording may come from a stranger, who can name what has no end.
    let found = fs::metadata(&path).and_then(|found| match found.is_file() {
        true => fs::read(&path),
        false => Err(io::Error::other("it is not a file")),
    });
    let bytes = found.map_err(|why| Error::NoImage {
        file: short(&path),
        hash: plain_text(&description.image),
        why,
    })?;
    let found = hash(&bytes);
    if !description.image.is_empty() && found != description.image {
        return Err(Error::OtherImage {
            file: short(&path),
            needed: plain_text(&description.image),
            found,
        }
        .into());
    }
    // A path without a folder would be looked for elsewhere.
    path.canonicalize().into_diagnostic()
}

/// Memory with these bytes, which the tender inherits.
fn memory(bytes: &[u8]) -> rustix::io::Result<OwnedFd> {
    let file = zeros(bytes.len() as u64)?;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        at += pwrite(&file, rest, at as u64)?;
    }
    Ok(file)
}

/// Zeros in memory that the tender inherits.
fn zeros(len: u64) -> rustix::io::Result<OwnedFd> {
    let file = memfd_create("mirage-replay", MemfdFlags::empty())?;
    ftruncate(file.as_fd(), len)?;
    Ok(file)
}
