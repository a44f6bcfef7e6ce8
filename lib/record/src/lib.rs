//! Record and replay at the platform boundary.
//!
//! Everything that differs from one run of a unikernel to the next comes through
//! [`Platform`](mirage_device::Platform), on one thread. [`Door`] is a `Platform` around another:
//! it hands every call on and writes each answer down on a [`Tape`], or it takes the answers from
//! a tape, so that the same program does the same again. What the program gives out (console,
//! frames, blocks) is written down as length and checksum: where a run does something else than
//! its recording, replay stops at that very event and says what was expected and what came.
//!
//! ```
//! # use mirage_device::{Instant, Platform};
//! # use mirage_record::RecordingError;
//! # fn run(platform: impl Platform, same: impl Platform) -> Result<(), RecordingError> {
//! use mirage_record::{Description, Door, Memory, Recording};
//!
//! let tape = Memory::recording(&Description::default(), 1 << 20);
//! let door = Door::new(platform, Some(tape));
//! let seen = door.now();
//!
//! let file = door.tape().unwrap().to_bytes();
//! let recording = Recording::read(&file)?;
//! let again = Door::new(same, Some(Memory::replaying(&recording)));
//! assert_eq!(again.now(), seen);
//! # Ok(())
//! # }
//! ```
//!
//! A tape is bounded. It has two segments; when one is full the other begins anew, with a
//! **checkpoint**: the whole state of the program, where the tape can take one (an image's can).
//! Replay then starts from the older checkpoint. [`format`] says what stands where, byte by byte;
//! [`Recording`] reads a file that anybody may have written.
//!
//! A recording holds what the unikernel saw, keys and passwords included. Nothing here opens a
//! file, starts a thread or allocates while it records.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod begin;
mod description;
mod door;
mod event;
pub mod format;
mod outcome;
mod recording;
mod tape;
mod wire;

pub use description::Description;
pub use door::Door;
pub use event::{Event, Kind};
pub use outcome::Outcome;
pub use recording::{Events, Recording, RecordingError};
pub use tape::{Checkpoint, Memory, Tape, is_replay, resumes_at};

#[cfg(test)]
mod tests;
